//! Which format a client wants (RFC 9110 §12.5.1).
//!
//! Invariant: the most specific range decides what an offer is worth, the greatest worth wins, and among the same the first offer. A
//! member of the list that is not understood is passed over, as the RFC has it for unknown ranges.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};

use super::{OFFERS, Offer};
use crate::problem::Problem;

/// What is to be answered with.
///
/// # Errors
/// 406: none of the offers will do.
pub(super) fn chosen(headers: &HeaderMap) -> Result<Offer, Problem> {
    let mut lines = headers.get_all(ACCEPT).iter().peekable();
    let first = OFFERS[0];
    match lines.peek() {
        None => return Ok(first),
        Some(line) if line.as_bytes() == b"*/*" || line.as_bytes() == first.kind.as_bytes() => {
            if headers.get_all(ACCEPT).iter().count() == 1 {
                return Ok(first);
            }
        }
        Some(_) => {}
    }
    let text: Vec<String> = lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect();
    let ranges: Vec<Range> = text.iter().flat_map(|line| line.split(',')).filter_map(Range::of).collect();
    let worth = |offer: &Offer| {
        let matching = ranges.iter().filter(|range| range.specific(offer.kind).is_some());
        matching.max_by_key(|range| range.specific(offer.kind)).map_or(0, |range| range.worth)
    };
    // Of those that are worth the same, `max_by_key` takes the last.
    let best = OFFERS.into_iter().rev().max_by_key(worth).filter(|offer| worth(offer) > 0);
    best.ok_or_else(|| {
        let kinds: Vec<&str> = OFFERS.iter().map(|offer| offer.kind).collect();
        Problem::new(StatusCode::NOT_ACCEPTABLE, format!("this can be had as {}", kinds.join(", ")))
    })
}

/// A member of Accept.
struct Range {
    kind: String,
    /// In thousandths.
    worth: u16,
}

impl Range {
    fn of(member: &str) -> Option<Self> {
        let mut parts = member.split(';').map(str::trim);
        let kind = parts.next()?.to_ascii_lowercase();
        kind.split_once('/').filter(|(kind, of)| !kind.is_empty() && !of.is_empty())?;
        let mut worth = 1000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                worth = thousandths(value.trim())?;
            }
        }
        Some(Self { kind, worth })
    }

    /// How closely it names the offer: not at all, as anything, by its first half, whole.
    fn specific(&self, kind: &str) -> Option<u8> {
        let half = self.kind.strip_suffix("/*");
        match half {
            Some("*") => Some(0),
            Some(half) => kind.split('/').next().filter(|first| *first == half).map(|_| 1),
            None => (self.kind == kind).then_some(2),
        }
    }
}

/// A weight of RFC 9110 §12.4.2: from 0 to 1, of three digits behind the point at most.
pub(super) fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn kind(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for line in accept.split('\n') {
            headers.append(ACCEPT, HeaderValue::from_str(line).unwrap());
        }
        chosen(&headers).ok().map(|offer| offer.kind)
    }

    #[test]
    #[allow(clippy::unwrap_used, reason = "tests")]
    fn the_format_is_what_the_rfc_says_that_the_client_wants() {
        assert_eq!(chosen(&HeaderMap::new()).unwrap_or(OFFERS[4]).kind, "application/json");
        for (accept, expected) in [
            ("*/*", Some("application/json")),
            ("application/*", Some("application/json")),
            ("application/cbor", Some("application/cbor")),
            ("APPLICATION/CBOR", Some("application/cbor")),
            ("application/x-msgpack", Some("application/x-msgpack")),
            ("text/*", Some("text/csv")),
            ("application/json;q=0.5, application/cbor", Some("application/cbor")),
            ("application/cbor;q=0.5, application/json;q=0.5", Some("application/json")),
            ("*/*, application/json;q=0.9", Some("application/cbor")),
            ("*/*;q=0.1, text/csv;q=0.2", Some("text/csv")),
            ("application/json;q=0, */*", Some("application/cbor")),
            ("application/*;q=0, */*;q=0.001", Some("text/csv")),
            ("application/json; charset=utf-8", Some("application/json")),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some("application/json")),
            ("text/html\napplication/cbor", Some("application/cbor")),
            ("*/*\napplication/cbor", Some("application/json")),
            ("text/html", None),
            ("application/json;q=0", None),
            ("*/*;q=0", None),
            ("application/json;q=2", None),
            ("application/json;q=0.1234", None),
            ("nonsense, text/csv", Some("text/csv")),
            ("", None),
        ] {
            assert_eq!(kind(accept), expected, "{accept}");
        }
    }
}
