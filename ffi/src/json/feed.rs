//! How the origin tells of its changes, from JSON.

use wtcache_http_source::WhileCutOff;

use super::{At, refuse};
use crate::arguments::Refused;
use crate::feed::HttpSubscribe;

pub(super) fn load(subscribe: &mut HttpSubscribe, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.subscribe.url" => subscribe.url = Some(at.text()?),
            "http.subscribe.kind" => {
                subscribe.poll = Some(match at.value().as_str() {
                    Some("sse") => false,
                    Some("poll") => true,
                    _ => return Err(at.is_no_word("\"sse\" or \"poll\"")),
                });
            }
            "http.subscribe.resumes" => subscribe.resumes = Some(at.flag()?),
            "http.subscribe.silence_ms" => subscribe.silence = Some(at.millis()?),
            "http.subscribe.while_cut_off" => subscribe.while_cut_off = Some(while_cut_off(&at)?),
            "http.subscribe.max_event_bytes" => subscribe.max_event_bytes = Some(at.whole()?),
            "http.subscribe.cursor" => subscribe.cursor = Some(at.text()?),
            "http.subscribe.poll_every_ms" => subscribe.poll_every = Some(at.millis()?),
            "http.subscribe.form" => form(subscribe, &at)?,
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

fn while_cut_off(at: &At) -> Result<WhileCutOff, Refused> {
    if at.value().as_str() == Some("serve") {
        return Ok(WhileCutOff::Serve);
    }
    let wanted = "\"serve\", or {\"forget_after_ms\": …}";
    if !at.is_object() {
        return Err(at.is_no_word(wanted));
    }
    let mut after = None;
    for at in at.members()? {
        match at.path.as_str() {
            "http.subscribe.while_cut_off.forget_after_ms" => after = Some(at.millis()?),
            _ => return Err(at.unknown()),
        }
    }
    let after = after.ok_or_else(|| refuse(format!("{}: is not {wanted}", at.path)))?;
    Ok(WhileCutOff::Forget { after })
}

fn form(subscribe: &mut HttpSubscribe, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.subscribe.form.op" => subscribe.form.op = at.text()?,
            "http.subscribe.form.key" => subscribe.form.key = at.text()?,
            "http.subscribe.form.record" => subscribe.form.record = at.text()?,
            "http.subscribe.form.version" => subscribe.form.version = at.text()?,
            "http.subscribe.form.version_as" => subscribe.form.version_as = at.text()?,
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}
