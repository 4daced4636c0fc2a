//! How a table's origin is reached, from the tree.

use std::path::PathBuf;

use wtcache_http_source::{Proxy, Secret};

use super::super::value::{self, Value, Wrong};
use super::super::wire::{OriginAuth, OriginTls, WireConfig};
use super::super::yaml::{Kind, Node};
use super::{Fields, Reader};
use crate::diagnostic::Position;

/// The keys of an origin that are read here.
pub(super) const KNOWN: [&str; 4] = ["compression", "tls", "proxy", "auth"];

const AUTH_HINT: &str =
    "write one: auth: { bearer: \"${TOKEN}\" }, or auth: { basic: { user: me, password: { file: /run/secrets/pw } } }";

impl Reader<'_> {
    pub(super) fn wire(&mut self, fields: Fields<'_>, wire: &mut WireConfig) {
        self.set(fields, "compression", &mut wire.compression, |value| value::flag(value).map(Some));
        if let Some((_, node)) = fields.get("tls") {
            self.origin_tls(node, &mut wire.tls);
        }
        let environment = self.environment;
        self.set(fields, "proxy", &mut wire.proxy, |value| match value.text.as_str() {
            "none" => Ok(Proxy::none()),
            "environment" => Ok(Proxy::of_variables(environment)),
            url if url.contains("://") => Ok(Proxy::at(url)),
            _ => Err(Wrong {
                message: format!("\"{}\" is no proxy", value.shown),
                hint: Some("write none, environment, or a URL: http://proxy.internal:3128".to_owned()),
            }),
        });
        if let Some((key, node)) = fields.get("auth") {
            wire.auth = self.origin_auth(key.at, node);
        }
    }

    fn origin_tls(&mut self, node: &Node, tls: &mut OriginTls) {
        let Some(fields) = self.fields("tls", node, &["roots", "system_roots", "certificate", "key"]) else { return };
        self.set(fields, "roots", &mut tls.roots, |value| path(value).map(Some));
        self.set(fields, "system_roots", &mut tls.system_roots, value::flag);
        let (mut certificate, mut key) = (PathBuf::new(), PathBuf::new());
        self.set(fields, "certificate", &mut certificate, path);
        self.set(fields, "key", &mut key, path);
        match (fields.get("certificate"), fields.get("key")) {
            (Some(_), Some(_)) => tls.client = Some((certificate, key)),
            (None, None) => {}
            (one, other) => {
                let (name, _) = one.or(other).expect("one of both is there");
                let message = "tls: certificate and key go together";
                self.add(name.at, message, Some("both may be the same file"));
            }
        }
    }

    fn origin_auth(&mut self, at: Position, node: &Node) -> Option<OriginAuth> {
        let fields = self.fields("auth", node, &["bearer", "basic"])?;
        match (fields.get("bearer"), fields.get("basic")) {
            (Some((_, token)), None) => self.secret("bearer", token, value::header_value).map(OriginAuth::Bearer),
            (None, Some((key, node))) => {
                let fields = self.fields("basic", node, &["user", "password"])?;
                let (Some((_, user)), Some((_, password))) = (fields.get("user"), fields.get("password")) else {
                    self.add(key.at, "basic lacks a user or a password", Some(AUTH_HINT));
                    return None;
                };
                let mut name = String::new();
                self.text("user", user, &mut name, |value| match value.text.contains(':') {
                    true => Err(Wrong { message: "a user's name has no colon".to_owned(), hint: None }),
                    false => Ok(value.text.clone()),
                });
                let password = self.secret("password", password, |value| Ok(value.text.clone()))?;
                Some(OriginAuth::Basic { user: name, password })
            }
            _ => {
                self.add(at, "auth: one of bearer and basic is expected", Some(AUTH_HINT));
                None
            }
        }
    }

    /// A text that nobody is to see, or `file` and where it stands.
    pub(super) fn secret(
        &mut self,
        key: &str,
        node: &Node,
        read: impl Fn(&Value) -> Result<String, Wrong>,
    ) -> Option<Secret> {
        if let Kind::Map(_) = node.kind {
            let fields = self.fields(key, node, &["file"])?;
            let Some((_, node)) = fields.get("file") else {
                self.add(node.at, &format!("{key} lacks a file"), Some("write: { file: /run/secrets/token }"));
                return None;
            };
            let mut found = None;
            self.text("file", node, &mut found, |value| path(value).map(Some));
            return found.map(Secret::file);
        }
        let mut found = None;
        self.text(key, node, &mut found, |value| read(value).map(Some));
        found.map(Secret::text)
    }
}

fn path(value: &Value) -> Result<PathBuf, Wrong> {
    match value.text.as_str() {
        "" => Err(Wrong { message: "the path is empty".to_owned(), hint: Some("write the path of a file".to_owned()) }),
        path => Ok(path.into()),
    }
}
