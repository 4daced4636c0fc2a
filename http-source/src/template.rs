//! The URL template, and the URL of a key, or of several.
//!
//! Invariant: a key is a part of exactly one path segment, or of one value in the query. Everything in it but the unreserved
//! characters of RFC 3986 (2.3) is percent-encoded, so that no key changes host, path or query, nor what else stands there; the few
//! keys that a URL cannot carry as a segment are refused.

use std::fmt;

use ureq::http::Uri;
use ureq::http::uri::{Authority, Parts, PathAndQuery, Scheme};
use wtcache::{Failure, SourceError};

use crate::builder::BuildError;

/// The place of a record's key.
const HOLE: &str = "{id}";

/// The place of the keys of a batch.
const LIST_HOLE: &str = "{ids}";

/// Path and query of one request; the head of a request must fit the connection's buffer.
const MAX_TARGET_BYTES: usize = 6 * 1024;

/// A URL with a place for the key.
#[derive(Clone)]
pub(crate) struct Template {
    scheme: Scheme,
    authority: Authority,
    /// Path and query up to the key, from the first slash.
    before: String,
    /// The rest of both.
    after: String,
    /// The key stands in the query.
    in_query: bool,
}

impl Template {
    pub(crate) fn parse(template: &str) -> Result<Self, BuildError> {
        Self::with_hole(template, HOLE).map_err(BuildError::Url)
    }

    /// Of a batch: `{ids}` stands where its keys go.
    pub(crate) fn of_list(template: &str) -> Result<Self, String> {
        Self::with_hole(template, LIST_HOLE)
    }

    /// Without a hole: what it is filled with is nothing.
    pub(crate) fn whole(url: &str) -> Result<Self, String> {
        Self::with_hole(url, "")
    }

    fn with_hole(template: &str, hole: &str) -> Result<Self, String> {
        if let Some((at, c)) = template.char_indices().find(|(_, c)| !c.is_ascii_graphic()) {
            return Err(format!("{c:?} at byte {at} is not allowed; percent-encode it"));
        }
        let (scheme, rest) = match template.split_once("://") {
            Some((s, rest)) if s.eq_ignore_ascii_case("http") => (Scheme::HTTP, rest),
            Some((s, rest)) if s.eq_ignore_ascii_case("https") => (Scheme::HTTPS, rest),
            Some((s, _)) => return Err(format!("the scheme {s:?} is not http or https")),
            None => return Err(format!("it must be absolute, such as http://host/items/{hole}")),
        };
        if rest.contains('#') {
            return Err("a fragment (#) is never sent; leave it out".into());
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = parse_authority(authority, hole)?;
        let path = tail.split_once('?').map_or(tail, |(path, _)| path);
        let parts = if hole.is_empty() { Some((tail, "")) } else { tail.split_once(hole) };
        let Some((before, after)) = parts else {
            let what = if hole == HOLE { "the key" } else { "the keys" };
            return Err(format!("it has no {hole} for {what}, in path or query"));
        };
        if !hole.is_empty() && after.contains(hole) {
            return Err(format!("it has {hole} more than once"));
        }
        if before.contains(['{', '}']) || after.contains(['{', '}']) {
            let whose = if hole.is_empty() { "" } else { " that is not of " };
            return Err(format!("it has a brace{whose}{hole}"));
        }
        if let Some(segment) =
            path.split('/').find(|s| matches!(&*s.replace("%2e", ".").replace("%2E", "."), "." | ".."))
        {
            return Err(format!("the path segment {segment:?} would be normalised away"));
        }
        // RFC 9110, 4.2.3: an empty path is sent as a slash.
        let root = if path.is_empty() { "/" } else { "" };
        let in_query = before.contains('?');
        let template = Self { scheme, authority, before: format!("{root}{before}"), after: after.to_owned(), in_query };
        if template.before.len() + template.after.len() > MAX_TARGET_BYTES / 4 {
            return Err(format!("it is longer than {} bytes", MAX_TARGET_BYTES / 4));
        }
        match template.filled(if hole.is_empty() { "" } else { "x" }) {
            Ok(_) => Ok(template),
            Err(e) => Err(format!("it is no URL: {}", e.message())),
        }
    }

    /// The URL of `key`.
    pub(crate) fn uri(&self, key: &[u8]) -> Result<Uri, SourceError> {
        let invalid = |why: String| SourceError::new(Failure::Invalid, why);
        if key.is_empty() || !self.in_query && matches!(key, b"." | b"..") {
            return Err(invalid(format!("the key {:?} cannot be a part of the URL", key.escape_ascii().to_string())));
        }
        let encoded = encoded(key);
        if !self.has_room(encoded.len()) {
            return Err(invalid(format!("a key of {} bytes is too long for a URL", key.len())));
        }
        self.filled(&encoded)
    }

    /// The key whose URL this is, absolute or as it stands to `asked`, a URL of the same host without a hole. The query that is the same in the
    /// URLs of all records may be missing.
    pub(crate) fn key_of(&self, location: &str, asked: &Self) -> Option<Vec<u8>> {
        let target = match asked.resolved(location)? {
            Resolved::Whole(url) => {
                let uri: Uri = url.parse().ok()?;
                let (scheme, authority) = (uri.scheme()?, uri.authority()?);
                let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
                let same_place = authority.host().eq_ignore_ascii_case(self.host())
                    && authority.port_u16().unwrap_or(default) == self.port();
                if *scheme != self.scheme || !same_place {
                    return None;
                }
                uri.path_and_query()?.as_str().to_owned()
            }
            Resolved::Target(target) => target,
        };
        let rest = target.strip_prefix(&self.before)?;
        let without_query = || rest.strip_suffix(self.after.split_once('?')?.0);
        let encoded = rest.strip_suffix(&self.after).or_else(without_query)?;
        let ends = if self.in_query { ['&', '#', '='] } else { ['/', '?', '#'] };
        if encoded.contains(ends) { None } else { decoded(encoded).filter(|key| self.uri(key).is_ok()) }
    }

    /// What a reference in an answer to a request of this URL, which has no hole, refers to (RFC 3986, 5.2). `None`: it is no reference to
    /// a resource behind HTTP.
    fn resolved(&self, reference: &str) -> Option<Resolved> {
        let first = reference.split(['/', '?', '#']).next().unwrap_or_default();
        if first.contains(':') {
            return reference.contains("://").then(|| Resolved::Whole(reference.to_owned()));
        }
        if reference.starts_with("//") {
            return Some(Resolved::Whole(format!("{}:{reference}", self.scheme)));
        }
        let (path, query) = reference.split_at(reference.find(['?', '#']).unwrap_or(reference.len()));
        let own = self.before.split_once('?').map_or(&*self.before, |(path, _)| path);
        let path = match path {
            "" => own.to_owned(),
            path if path.starts_with('/') => without_dots(path),
            path => without_dots(&format!("{}/{path}", own.rsplit_once('/').map_or("", |(folder, _)| folder))),
        };
        Some(Resolved::Target(path + query))
    }

    /// Whether that many bytes can stand in the hole.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.before.len() + bytes + self.after.len() <= MAX_TARGET_BYTES
    }

    /// The URL with this text in the hole, as it stands.
    pub(crate) fn filled(&self, text: &str) -> Result<Uri, SourceError> {
        let invalid = |why: String| SourceError::new(Failure::Invalid, why);
        let target = format!("{}{text}{}", self.before, self.after);
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        let target = PathAndQuery::from_maybe_shared(target.into_bytes()).map_err(|e| invalid(e.to_string()))?;
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).map_err(|e| invalid(e.to_string()))
    }

    /// The URL of a template without a hole, with this text added to its query.
    pub(crate) fn with_query(&self, query: &str) -> Result<Uri, SourceError> {
        let behind = match (query.is_empty(), self.before.split_once('?')) {
            (true, _) => String::new(),
            (false, None) => format!("?{query}"),
            (false, Some((_, ""))) => query.to_owned(),
            (false, Some(_)) => format!("&{query}"),
        };
        self.filled(&behind)
    }

    /// Another URL of the same host: a path with or without a query, or the whole URL.
    pub(crate) fn beside(&self, url: &str) -> Result<Uri, String> {
        if let Some((at, c)) = url.char_indices().find(|(_, c)| !c.is_ascii_graphic() || *c == '#') {
            return Err(format!("{c:?} at byte {at} is not allowed"));
        }
        let own = format!("{}://{}", self.scheme, self.authority);
        let whole = if url.starts_with('/') { format!("{own}{url}") } else { url.to_owned() };
        let uri: Uri = whole.parse().map_err(|e| format!("it is no URL: {e}"))?;
        let same_scheme = uri.scheme() == Some(&self.scheme);
        let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
        let same_host = uri.host().is_some_and(|host| host.eq_ignore_ascii_case(self.host()));
        if !(same_scheme && same_host && port(&uri) == self.port()) {
            return Err(format!("it is not at {own}, where the source's headers may be sent to; a path is enough"));
        }
        if whole.contains('@') || url.len() > MAX_TARGET_BYTES / 4 {
            return Err(format!("it has an @, or more than {} bytes", MAX_TARGET_BYTES / 4));
        }
        Ok(uri)
    }

    /// Requests of both go to the same place.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.port() == other.port() && self.host().eq_ignore_ascii_case(other.host())
    }

    /// The hole is in the query.
    pub(crate) fn is_in_query(&self) -> bool {
        self.in_query
    }

    /// As it stands in the URL: an IPv6 literal is in brackets.
    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    /// Scheme and authority.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }
}

/// Scheme and authority only: a path or query may hold a token.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

fn parse_authority(text: &str, hole: &str) -> Result<Authority, String> {
    if text.contains('@') {
        return Err("user and password do not belong in it; set a header".into());
    }
    if text.contains(['{', '}']) {
        let what = if hole.is_empty() { "a brace" } else { hole };
        return Err(format!("{what} must be in the path, not in the host"));
    }
    let authority: Authority = text.parse().map_err(|_| format!("{text:?} is no host and port"))?;
    if authority.host().is_empty() {
        return Err("it has no host".into());
    }
    let port = &text[authority.host().len()..];
    if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(format!("the port in {text:?} is none of 1 to 65535"));
    }
    Ok(authority)
}

/// What a reference refers to.
enum Resolved {
    /// A URL with its scheme and host.
    Whole(String),
    /// A path, and what stands behind it, of the same host.
    Target(String),
}

/// A path that begins with a slash, without its segments `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // What ends in them is a folder.
                if segments.peek().is_none() {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The bytes of percent-encoded text.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut key = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        key.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
                u8::from_str_radix(std::str::from_utf8(&digits).ok().filter(|_| is_hex)?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(key)
}

/// A key as it stands in a URL.
pub(crate) fn encoded(key: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut into = String::with_capacity(key.len() * 3);
    for &byte in key {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    into
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_that_are_refused_say_why() {
        let rows = [
            ("", "absolute"),
            ("/items/{id}", "absolute"),
            ("host/items/{id}", "absolute"),
            ("ftp://h/{id}", "scheme"),
            ("http:///{id}", "no host"),
            ("http://:80/{id}", "host"),
            ("http://h:/{id}", "port"),
            ("http://h:0/{id}", "port"),
            ("http://h:65536/{id}", "port"),
            ("http://h:x/{id}", "port"),
            ("http://u:p@h/{id}", "password"),
            ("http://{id}/x", "not in the host"),
            ("http://h", "no {id}"),
            ("http://h/items", "no {id}"),
            ("http://h/items?id={key}", "no {id}"),
            ("http://h/items?id={id}&x={y}", "brace"),
            ("http://h/{id}?x={id}", "more than once"),
            ("http://h/a/../b?x={id}", "normalised"),
            ("http://h/{id}/{id}", "more than once"),
            ("http://h/{id}/{key}", "brace"),
            ("http://h/{id}#top", "fragment"),
            ("http://h/#{id}", "fragment"),
            ("http://h/a/../{id}", "normalised"),
            ("http://h/%2e/{id}", "normalised"),
            ("http://h/{id} x", "not allowed"),
            ("http://h/{id}\r\nx: y", "not allowed"),
            ("http://hö/{id}", "not allowed"),
        ];
        for (template, why) in rows {
            let error = Template::parse(template).unwrap_err().to_string();
            assert!(error.contains(why), "{template:?}: {error}");
        }
    }

    #[test]
    fn keys_become_one_segment() {
        let template = Template::parse("HTTP://[::1]:8080/v1/{id}.json?full=1").unwrap();
        assert_eq!((template.host(), template.port()), ("[::1]", 8080));
        let rows: [(&[u8], &str); 7] = [
            (b"a-Z_0.9~", "a-Z_0.9~"),
            (b"a/b", "a%2Fb"),
            (b"../x", "..%2Fx"),
            (b"a?b#c%d", "a%3Fb%23c%25d"),
            (b"...", "..."),
            (b"\r\nx: y", "%0D%0Ax%3A%20y"),
            (b"\x00\xff\xc3\xa4", "%00%FF%C3%A4"),
        ];
        for (key, encoded) in rows {
            let uri = template.uri(key).unwrap().to_string();
            assert_eq!(uri, format!("http://[::1]:8080/v1/{encoded}.json?full=1"));
        }
    }

    #[test]
    fn keys_become_one_value_of_the_query() {
        let rows: [(&[u8], &str); 6] = [
            (b"a-Z_0.9~", "a-Z_0.9~"),
            (b".", "."),
            (b"..", ".."),
            (b"a&b=c+d;e", "a%26b%3Dc%2Bd%3Be"),
            (b"a b/c?d#e%20", "a%20b%2Fc%3Fd%23e%2520"),
            (b"\x00\xff,()\"", "%00%FF%2C%28%29%22"),
        ];
        for (template, before, after) in [
            ("http://h/v1/items?id=eq.{id}&select=*", "http://h/v1/items?id=eq.", "&select=*"),
            ("http://h?{id}", "http://h/?", ""),
        ] {
            let template = Template::parse(template).unwrap();
            for (key, encoded) in rows {
                assert_eq!(template.uri(key).unwrap().to_string(), format!("{before}{encoded}{after}"));
            }
            assert_eq!(template.uri(b"").unwrap_err().failure(), Failure::Invalid);
        }
    }

    #[test]
    fn keys_that_are_no_segment_are_refused() {
        let template = Template::parse("https://h/{id}").unwrap();
        assert_eq!(template.port(), 443);
        let long = vec![b'/'; MAX_TARGET_BYTES];
        for key in [&b""[..], b".", b"..", &long] {
            assert_eq!(template.uri(key).unwrap_err().failure(), Failure::Invalid);
        }
    }
}
