//! How an HTTP origin is reached, from JSON.

use wtcache_http_source::{Proxy, Secret};

use super::{At, refuse};
use crate::arguments::Refused;
use crate::wire::{Auth, Wire};

/// Sets what `at` names, if it is of these members.
pub(super) fn load(wire: &mut Wire, at: &At) -> Result<bool, Refused> {
    match at.path.as_str() {
        "http.compression" => wire.compression = Some(at.flag()?),
        "http.tls" => tls(wire, at)?,
        "http.proxy" => {
            wire.proxy = Some(match at.text()?.as_str() {
                "none" => Proxy::none(),
                "environment" => Proxy::environment(),
                url if url.contains("://") => Proxy::at(url),
                _ => return Err(refuse("http.proxy: is neither \"none\", nor \"environment\", nor a URL")),
            });
        }
        "http.auth" => wire.auth = Some(auth(at)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn tls(wire: &mut Wire, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.tls.roots" => wire.roots = Some(at.text()?),
            "http.tls.system_roots" => wire.system_roots = Some(at.flag()?),
            "http.tls.certificate" => wire.certificate = Some(at.text()?),
            "http.tls.key" => wire.key = Some(at.text()?),
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

fn auth(object: &At) -> Result<Auth, Refused> {
    let mut found = None;
    for at in object.members()? {
        let one = match at.path.as_str() {
            "http.auth.bearer" => Auth::Bearer(at.secret()?),
            "http.auth.basic" => {
                let (mut user, mut password) = (None, None);
                for at in at.members()? {
                    match at.path.as_str() {
                        "http.auth.basic.user" => user = Some(at.text()?),
                        "http.auth.basic.password" => password = Some(at.secret()?),
                        _ => return Err(at.unknown()),
                    }
                }
                let (Some(user), Some(password)) = (user, password) else {
                    return Err(refuse("http.auth.basic: lacks user or password"));
                };
                Auth::Basic(user, password)
            }
            _ => return Err(at.unknown()),
        };
        if found.replace(one).is_some() {
            return Err(refuse("http.auth: holds bearer and basic, of which one is sent"));
        }
    }
    found.ok_or_else(|| refuse("http.auth: holds neither bearer nor basic"))
}

impl At {
    pub(super) fn is_object(&self) -> bool {
        self.raw.get().starts_with('{')
    }

    /// A text, or an object with the `file` or the variable of the `environment` that it stands in.
    pub(super) fn secret(&self) -> Result<Secret, Refused> {
        if !self.is_object() {
            return self.text().map(Secret::text);
        }
        let members = self.members()?;
        let [member] = members.as_slice() else {
            return Err(refuse(format!("{}: is an object without one member, file or environment", self.path)));
        };
        match &member.path[self.path.len()..] {
            ".file" => member.text().map(Secret::file),
            ".environment" => member.text().map(Secret::environment),
            _ => Err(member.unknown()),
        }
    }
}
