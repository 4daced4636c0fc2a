//! The keys of a table about changes: those that its origin tells, and those that it tells itself.

use super::{Node, Reader, choice};
use crate::config::value::{self, Value, Wrong};
use crate::config::{ChangesConfig, FeedKind, SharedSecret, SubscribeConfig};
use crate::diagnostic::Position;

impl Reader<'_> {
    pub(super) fn subscribe(&mut self, at: Position, node: &Node, subscribe: &mut Option<SubscribeConfig>) {
        let known = ["url", "kind", "resumes", "silence", "while_cut_off", "max_event", "cursor", "poll_every"];
        let Some(fields) = self.fields("subscribe", node, &known) else { return };
        let mut read = SubscribeConfig::new("");
        if fields.get("url").is_none() {
            self.add(
                at,
                "subscribe lacks a url",
                Some("write where the origin tells of changes: url: /items/_changes"),
            );
        }
        self.set(fields, "url", &mut read.url, feed_url);
        self.set(fields, "kind", &mut read.kind, |value| {
            choice(value, &[("sse", FeedKind::Sse), ("poll", FeedKind::Poll)])
        });
        self.set(fields, "resumes", &mut read.resumes, value::flag);
        self.set(fields, "silence", &mut read.silence, value::deadline);
        self.set(fields, "while_cut_off", &mut read.forget_after, |value| match value.text.as_str() {
            "serve" => Ok(None),
            _ => value::deadline(value).map(Some).map_err(|error| Wrong {
                hint: Some("write serve, or after how long all is forgotten: 5s".to_owned()),
                ..error
            }),
        });
        self.set(fields, "max_event", &mut read.max_event_bytes, |value| match value::size(value)? {
            bytes if bytes >= 1024 => Ok(bytes),
            _ => Err(wrong("1KiB is the least", "write a size: 1MiB")),
        });
        self.set(fields, "cursor", &mut read.cursor, |value| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            match value.text.as_str() {
                name if !name.is_empty() && name.bytes().all(is_plain) => Ok(name.to_owned()),
                _ => Err(wrong("letters, digits and - . _ ~ are taken", "write a name: cursor")),
            }
        });
        self.set(fields, "poll_every", &mut read.poll_every, value::deadline);
        for name in ["cursor", "poll_every"] {
            if let (Some((key, _)), FeedKind::Sse) = (fields.get(name), read.kind) {
                self.add(key.at, &format!("{name}: a stream is not polled"), Some("leave it out, or write kind: poll"));
            }
        }
        if let (Some((key, _)), FeedKind::Poll) = (fields.get("resumes"), read.kind) {
            self.add(key.at, "resumes: a poll goes on by its cursor", Some("leave resumes out, or write kind: sse"));
        }
        *subscribe = Some(read);
    }

    pub(super) fn changes(&mut self, node: &Node, changes: &mut ChangesConfig) {
        let known = ["op", "key", "record", "version", "version_as", "secret", "signature_header"];
        let Some(fields) = self.fields("changes", node, &known) else { return };
        let names = [
            ("op", &mut changes.op),
            ("key", &mut changes.key),
            ("record", &mut changes.record),
            ("version", &mut changes.version),
        ];
        for (name, target) in names {
            self.set(fields, name, target, |value| match value.text.as_str() {
                "" => Err(wrong("the name of a member is missing", "write a name: op")),
                name => Ok(name.to_owned()),
            });
        }
        self.set(fields, "version_as", &mut changes.version_as, |value| {
            match value.text.matches("{version}").count() {
                1 => Ok(value.text.clone()),
                _ => Err(wrong("it has {version} once", "write how the ETag has it: '\"r{version}\"'")),
            }
        });
        self.set(fields, "secret", &mut changes.secret, |value| match value.text.len() {
            16.. => Ok(Some(SharedSecret(value.text.clone()))),
            _ => Err(wrong("16 bytes are the least", "make one: openssl rand -hex 32")),
        });
        self.set(fields, "signature_header", &mut changes.signature_header, value::header);
    }
}

/// A path, or a whole URL. Whether it is of the origin's host, the source says.
fn feed_url(value: &Value) -> Result<String, Wrong> {
    let url = &value.text;
    let is_whole = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    if !(url.starts_with('/') || is_whole) {
        return Err(wrong("neither a path nor a URL", "write a path of the origin's: /items/_changes"));
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(wrong("a character that a URL cannot hold", "percent-encode it"));
    }
    Ok(url.clone())
}

fn wrong(message: &str, hint: &str) -> Wrong {
    Wrong { message: message.to_owned(), hint: Some(hint.to_owned()) }
}
