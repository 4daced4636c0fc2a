//! The headers of a request: those configured, checked when the source is built, and those of one call.
//!
//! Invariant: a configured value shows in no error and no `Debug` output; nothing in a call's headers can end its line.

use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, HeaderValue, header};
use wtcache::{Condition, Failure, IdempotencyKey, SourceError, Version};

use crate::builder::BuildError;
use crate::freshness;

/// All configured headers together. The head of a request must fit the connection's buffer.
const MAX_CONFIGURED_BYTES: usize = 8 * 1024;

/// What the source itself sends or must not be sent, since it would change what an answer means.
const REFUSED: [HeaderName; 18] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::ACCEPT_ENCODING,
    header::CONTENT_ENCODING,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    HeaderName::from_static("keep-alive"),
    IDEMPOTENCY_KEY,
];

/// Under which a write's key goes out by default.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What every request of a source carries.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    /// For requests without a body.
    bare: HeaderMap,
    /// For those with one.
    with_body: HeaderMap,
}

/// The name of a header that may be configured.
pub(crate) fn name(name: &str) -> Result<HeaderName, BuildError> {
    let refuse = |why: &str| BuildError::Header { name: name.escape_debug().to_string(), why: why.to_owned() };
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("the name is no token"))?;
    if REFUSED.contains(&parsed) {
        return Err(refuse("the source sets it itself, or it would change what an answer means"));
    }
    Ok(parsed)
}

impl Headers {
    pub(crate) fn new(configured: &[(String, String)]) -> Result<Self, BuildError> {
        let mut map = HeaderMap::new();
        for (name, value) in configured {
            let refuse = |why: &str| BuildError::Header { name: name.escape_debug().to_string(), why: why.to_owned() };
            let parsed = self::name(name)?;
            if value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
                return Err(refuse("the value has a line break in it"));
            }
            let mut parsed_value =
                HeaderValue::from_str(value).map_err(|_| refuse("the value has a byte no header may have"))?;
            parsed_value.set_sensitive(true);
            map.append(parsed, parsed_value);
        }
        let total: usize = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if total > MAX_CONFIGURED_BYTES {
            let message = format!("{total} bytes are more than the {MAX_CONFIGURED_BYTES} that are taken");
            return Err(BuildError::Option { option: "header", message });
        }
        let mut or_else = |name: HeaderName, value: &'static str| {
            map.entry(name).or_insert(HeaderValue::from_static(value));
        };
        or_else(header::ACCEPT, "application/json");
        or_else(header::USER_AGENT, concat!("wtcache/", env!("CARGO_PKG_VERSION")));
        let mut with_body = map.clone();
        with_body.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        map.remove(header::CONTENT_TYPE);
        Ok(Self { bare: map, with_body })
    }

    /// The header under which writes carry their key, if it can be that one.
    pub(crate) fn idempotency(&self, name: &str) -> Result<HeaderName, BuildError> {
        let refuse = |message: &str| BuildError::Option { option: "idempotency_header", message: message.to_owned() };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("the name is no token"))?;
        if parsed != IDEMPOTENCY_KEY && REFUSED.contains(&parsed) {
            return Err(refuse("the header has another meaning"));
        }
        if self.with_body.contains_key(&parsed) {
            return Err(refuse("the header is sent with another value already"));
        }
        Ok(parsed)
    }

    pub(crate) fn bare(&self) -> HeaderMap {
        self.bare.clone()
    }

    /// Every load carries this header, with one value: configured, a default, or the client's own.
    pub(crate) fn is_constant(&self, name: &HeaderName) -> bool {
        self.bare.contains_key(name) || matches!(*name, header::HOST | header::ACCEPT_ENCODING)
    }

    pub(crate) fn with_body(&self) -> HeaderMap {
        self.with_body.clone()
    }
}

fn invalid(why: &str) -> SourceError {
    SourceError::new(Failure::Invalid, why)
}

/// Adds the validator of a load. One that cannot be sent is left out: the load is then a plain one.
pub(crate) fn add_validator(headers: &mut HeaderMap, version: Option<&[u8]>) -> bool {
    let name = match version {
        Some(version) if is_version(version) => header::IF_NONE_MATCH,
        Some(version) if freshness::date(version).is_some() => header::IF_MODIFIED_SINCE,
        _ => return false,
    };
    let value = version.and_then(|v| HeaderValue::from_bytes(v).ok());
    let added = value.is_some();
    if let Some(value) = value {
        headers.insert(name, value);
    }
    added
}

/// What confirms a version says that it is another one (RFC 9111, 4.3.4): it must not be used. Compared weakly.
pub(crate) fn names_another(headers: &HeaderMap, offered: Option<&[u8]>) -> bool {
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let is_other = |tag: &HeaderValue| offered.is_some_and(|offered| opaque(tag.as_bytes()) != opaque(offered));
    offered.is_some_and(is_version) && headers.get_all(header::ETAG).iter().any(is_other)
}

/// Adds the precondition of a write, or says why it cannot be asked for: then nothing may be sent.
pub(crate) fn add_condition(headers: &mut HeaderMap, condition: Option<&Condition>) -> Result<(), SourceError> {
    match condition {
        None => {}
        Some(Condition::Absent) => {
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Some(Condition::Exists) => {
            headers.insert(header::IF_MATCH, HeaderValue::from_static("*"));
        }
        Some(Condition::Version(version)) => {
            let bytes = version.as_bytes();
            // RFC 9110, 13.1.1: If-Match compares strongly, so a weak one never matches.
            if bytes.starts_with(b"W/") {
                return Err(invalid("the version is a weak ETag, on which a write cannot be conditional"));
            }
            if !is_version(bytes) {
                return Err(invalid("the version is no ETag, so that a write cannot be conditional on it"));
            }
            let value = HeaderValue::from_bytes(bytes).map_err(|_| invalid("the version cannot be sent as an ETag"))?;
            headers.insert(header::IF_MATCH, value);
        }
        Some(_) => return Err(invalid("this source does not know the condition that the write carries")),
    }
    Ok(())
}

/// Under its own name the key is a string of structured fields (RFC 8941, 3.3.3), as draft-ietf-httpapi-idempotency-key-header has it; under
/// another one it is what it is.
pub(crate) fn add_idempotency_key(headers: &mut HeaderMap, name: &HeaderName, key: IdempotencyKey) {
    let text = if *name == IDEMPOTENCY_KEY { format!("\"{key}\"") } else { key.to_string() };
    headers.insert(name, HeaderValue::from_str(&text).expect("an idempotency key is hexadecimal"));
}

/// The version that an answer gives its record: its ETag, or, `by_date`, its Last-Modified where it has no ETag.
pub(crate) fn version(headers: &HeaderMap, by_date: bool) -> Option<Version> {
    if headers.contains_key(header::ETAG) || !by_date {
        return etag(headers);
    }
    let mut dates = headers.get_all(header::LAST_MODIFIED).iter();
    let modified = dates.next()?.as_bytes();
    let at = freshness::date(modified)?;
    let sent = freshness::date(headers.get(header::DATE)?.as_bytes())?;
    // RFC 9110, 8.8.2.2: only what was made in a later second than the last change tells it from the next one.
    let is_strong = sent.duration_since(at).is_ok_and(|age| age >= Duration::from_secs(1));
    if dates.next().is_some() || !is_strong { None } else { Version::new(modified) }
}

/// The ETag; none where there are two, or one that could not be sent back.
pub(crate) fn etag(headers: &HeaderMap) -> Option<Version> {
    let mut tags = headers.get_all(header::ETAG).iter();
    let tag = tags.next()?.as_bytes();
    if tags.next().is_some() || !is_version(tag) {
        return None;
    }
    Version::new(tag)
}

/// An entity tag (RFC 9110, 8.8.3), or the bare word that some servers send for one. Never `*` or a list, which would
/// mean something else in a condition.
pub(crate) fn is_version(tag: &[u8]) -> bool {
    const MAX_BYTES: usize = 1024;
    let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
    let quoted = opaque.len() >= 2 && opaque.starts_with(b"\"") && opaque.ends_with(b"\"");
    let inner = if quoted { &opaque[1..opaque.len() - 1] } else { opaque };
    let etagc = |b: &u8| matches!(b, 0x21 | 0x23..=0x7e | 0x80..=0xff);
    tag.len() <= MAX_BYTES
        && inner.iter().all(etagc)
        && (quoted || !inner.is_empty() && !inner.iter().any(|b| matches!(b, b',' | b'*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_by_etag() {
        let rows: [(&str, bool); 14] = [
            ("\"1\"", true),
            ("W/\"1\"", true),
            ("\"\"", true),
            ("\"a,b\"", true),
            ("\"*\"", true),
            ("v1", true),
            ("*", false),
            ("W/", false),
            ("", false),
            ("a,b", false),
            ("\"a\", \"b\"", false),
            ("\"a", false),
            ("a b", false),
            ("\"", false),
        ];
        for (tag, taken) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::ETAG, HeaderValue::from_str(tag).unwrap());
            assert_eq!(version(&headers, true).is_some(), taken, "{tag}");
        }
    }

    #[test]
    fn two_etags_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::ETAG, HeaderValue::from_static("\"1\""));
        headers.append(header::ETAG, HeaderValue::from_static("\"2\""));
        assert_eq!(version(&headers, true), None);
    }

    #[test]
    fn a_date_is_a_version_only_where_asked_for_without_an_etag_and_of_an_earlier_second() {
        const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        const LATER: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:38 GMT");
        for (lines, taken) in [
            (&[MODIFIED, LATER] as &[_], true),
            (&[MODIFIED, ("date", MODIFIED.1)], false),
            (&[MODIFIED], false),
            (&[("last-modified", "yesterday"), LATER], false),
            (&[MODIFIED, MODIFIED, LATER], false),
            (&[MODIFIED, LATER, ("etag", "a, b")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let want = taken.then(|| Version::new(MODIFIED.1).unwrap());
            assert_eq!(version(&headers, true), want, "{lines:?}");
            assert_eq!(version(&headers, false), None, "{lines:?}");
        }
    }

    #[test]
    fn a_condition_that_cannot_be_asked_for_is_refused() {
        for tag in ["W/\"1\"", "Sun, 06 Nov 1994 08:49:37 GMT", "*", "a, b", "\"a\", \"b\"", "\"1\"\r\nx: y"] {
            let mut headers = HeaderMap::new();
            let condition = Condition::Version(Version::new(tag).unwrap());
            let error = add_condition(&mut headers, Some(&condition)).unwrap_err();
            assert_eq!(error.failure(), Failure::Invalid, "{tag}");
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn configured_values_show_in_no_debug_output() {
        let headers = Headers::new(&[("Authorization".into(), "s3cret".into())]).unwrap();
        assert!(!format!("{headers:?} {:?} {:?}", headers.bare(), headers.with_body()).contains("s3cret"));
    }

    #[test]
    fn defaults_give_way_to_what_is_configured() {
        let headers =
            Headers::new(&[("accept".into(), "text/plain".into()), ("CONTENT-type".into(), "a/b".into())]).unwrap();
        assert_eq!(headers.bare()[header::ACCEPT], "text/plain");
        assert!(!headers.bare().contains_key(header::CONTENT_TYPE));
        assert_eq!(headers.with_body()[header::CONTENT_TYPE], "a/b");
        assert!(headers.bare()[header::USER_AGENT].to_str().unwrap().starts_with("wtcache/"));
    }
}
