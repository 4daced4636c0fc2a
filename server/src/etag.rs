//! Entity tags (RFC 9110 §8.8.3): the origin's where it is a strong one, else one of ours over the record.
//!
//! A weak tag of the origin is not shown: what is served is these bytes and no others, and by a strong tag a client can make its writes
//! conditional. What is pending has a tag that is weak and no record's: it says whether a client has seen just that, and no write can be made
//! conditional by it. Invariant: a tag of what the origin confirmed is strong; two records of a key with the same tag of ours are the
//! same bytes, but for a collision of 128 bits.

use std::hash::{DefaultHasher, Hasher};

use axum::http::HeaderValue;
use axum::http::header::GetAll;
use wtcache::{Bytes, Entry};

/// The tag of a record.
pub(crate) fn of(entry: &Entry<Bytes>) -> HeaderValue {
    if entry.pending_since().is_some() {
        return of_pending(entry.value());
    }
    let strong = entry.version().filter(|version| version.starts_with(b"\"") && is_tag(version));
    let given = strong.and_then(|version| HeaderValue::from_bytes(version).ok());
    given.unwrap_or_else(|| over(entry.value()))
}

/// The tag of what pending writes make.
pub(crate) fn of_pending(value: &[u8]) -> HeaderValue {
    quoted(b"W/\"pending-", value)
}

fn over(value: &[u8]) -> HeaderValue {
    quoted(b"\"", value)
}

/// The sums of a value as 32 hexadecimal digits, behind this and before a quote.
fn quoted(before: &[u8], value: &[u8]) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const SUMS: usize = 32;
    let mut text = [b'"'; 48];
    let end = before.len() + SUMS;
    text[..before.len()].copy_from_slice(before);
    let [first, second] = sums(value).map(u64::to_be_bytes);
    for (digits, byte) in text[before.len()..end].chunks_exact_mut(2).zip(first.into_iter().chain(second)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xf)];
    }
    HeaderValue::from_bytes(&text[..=end]).expect("plain ASCII in quotes")
}

/// Two SipHash sums of bytes, so that a tag needs no state and is the same in every process of one build. The bytes are gone through once: the
/// second is over one byte more, as the longer output of SipHash is drawn from the same state once more.
fn sums(value: &[u8]) -> [u64; 2] {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    let first = hasher.finish();
    hasher.write_u8(0xdd);
    [first, hasher.finish()]
}

/// If-None-Match holds a tag that is this one, by the weak comparison that RFC 9110 §13.1.2 asks for.
pub(crate) fn none_match(lines: GetAll<'_, HeaderValue>, tag: &HeaderValue) -> bool {
    lines.iter().any(|line| list(line.as_bytes()).any(|theirs| theirs == b"*" || is_weakly(theirs, tag)))
}

/// The weak comparison of RFC 9110 §8.8.3.2.
pub(crate) fn is_weakly(theirs: &[u8], ours: &HeaderValue) -> bool {
    opaque(theirs) == opaque(ours.as_bytes())
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The strong comparison of RFC 9110 §8.8.3.2: a weak tag is never the same. Ours is one where it is of what is pending.
pub(crate) fn is_strongly(theirs: &[u8], ours: &HeaderValue) -> bool {
    theirs == ours.as_bytes() && !theirs.starts_with(b"W/")
}

/// Whether this is one entity tag, weak or strong.
pub(crate) fn is_tag(tag: &[u8]) -> bool {
    let quoted = tag.strip_prefix(b"W/").unwrap_or(tag);
    let inner = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.is_some_and(|inner| inner.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..=0xff)))
}

/// The members of a list of tags. A comma within quotes belongs to its tag.
pub(crate) fn list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::http::header::IF_NONE_MATCH;

    use super::*;

    fn matches(line: &'static str, tag: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static(line));
        none_match(headers.get_all(IF_NONE_MATCH), &HeaderValue::from_static(tag))
    }

    #[test]
    fn lists_stars_and_weak_tags_match_as_the_rfc_says() {
        assert!(matches("\"r1\"", "\"r1\""));
        assert!(matches("\"r0\", \"r1\"", "\"r1\""));
        assert!(matches("*", "\"r1\""));
        assert!(matches("W/\"r1\"", "\"r1\""));
        assert!(matches("\"a,b\",\"r1\"", "\"a,b\""));
        assert!(matches("W/\"r1\"", "W/\"r1\""));
        assert!(matches("\"r1\"", "W/\"r1\""));
        assert!(!matches("\"r2\"", "\"r1\""));
        assert!(!matches("\"a", "\"r1\""));
        assert!(!matches("", "\"r1\""));
    }

    #[test]
    fn a_tag_of_ours_is_a_quoted_string_that_tells_records_apart() {
        let (a, b) = (over(b"a"), over(b"b"));
        assert_ne!(a, b);
        assert_eq!(a, over(b"a"));
        assert_eq!(a.as_bytes().len(), 34);
    }

    #[test]
    fn o1_the_tag_of_what_is_pending_is_that_of_no_record() {
        let (pending, record) = (of_pending(b"a"), over(b"a"));
        assert!(is_tag(pending.as_bytes()) && pending.as_bytes().starts_with(b"W/"));
        assert!(!is_weakly(pending.as_bytes(), &record) && !is_strongly(pending.as_bytes(), &record));
        assert!(is_weakly(pending.as_bytes(), &of_pending(b"a")) && !is_weakly(pending.as_bytes(), &of_pending(b"b")));
    }
}
