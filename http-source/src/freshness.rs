//! How long an answer says that its record may be served (RFC 9111), for a source that asks the origin.
//!
//! A cache inside one program is a private cache: `s-maxage`, `private` and `proxy-revalidate` say nothing to it.
//! Invariant: what cannot be understood is stale (RFC 9111, 4.2.1), never fresh.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, HeaderName, header};
use wtcache::Lifetime;

/// Who says how long a record may be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// The cache's options. `Cache-Control` and `Expires` are ignored: many JSON servers send `no-cache` on everything.
    #[default]
    Table,
    /// The origin, where its answer says so; else the cache's options. Its `no-cache` and `no-store` mean not retained.
    Origin,
}

/// The largest time that is told apart (RFC 9111, 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

/// The lifetime that an answer with these headers gives its record.
pub(crate) fn lifetime(freshness: Freshness, headers: &HeaderMap, now: SystemTime) -> Lifetime {
    if freshness == Freshness::Table {
        return Lifetime::Default;
    }
    let control = Control::of(headers);
    // RFC 9111, 4.1: a Vary of `*` matches no later request.
    if control.not_kept || list(headers, header::VARY).any(|member| member == "*") {
        return Lifetime::NotKept;
    }
    // RFC 9111, 4.2.1: max-age counts before Expires.
    let said = match control.max_age {
        Some(seconds) => Some(seconds),
        None => expires(headers, now),
    };
    match said {
        None => Lifetime::Default,
        Some(seconds) => match seconds.saturating_sub(age(headers)) {
            0 => Lifetime::NotKept,
            left => Lifetime::For(Duration::from_secs(left)),
        },
    }
}

#[derive(Default)]
struct Control {
    not_kept: bool,
    /// The smallest of those given; zero for one that is no number.
    max_age: Option<u64>,
}

impl Control {
    fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            for directive in directives(value.as_bytes()) {
                let (name, argument) = match directive.iter().position(|b| *b == b'=') {
                    Some(at) => (directive[..at].trim_ascii(), Some(directive[at + 1..].trim_ascii())),
                    None => (directive, None),
                };
                // RFC 9111, 5.2.2.4: a no-cache that names fields may be taken for one that names none.
                if name.eq_ignore_ascii_case(b"no-cache") || name.eq_ignore_ascii_case(b"no-store") {
                    control.not_kept = true;
                } else if name.eq_ignore_ascii_case(b"max-age") {
                    let seconds = argument.and_then(|a| seconds(unquoted(a))).unwrap_or(0);
                    control.max_age = Some(control.max_age.map_or(seconds, |least| least.min(seconds)));
                }
            }
        }
        control
    }
}

/// The members of a comma-separated list; a comma in a quoted string does not separate (RFC 9110, 5.6.1 and 5.6.4).
fn directives(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value
        .split(move |byte| {
            if escaped {
                escaped = false;
            } else if quoted && *byte == b'\\' {
                escaped = true;
            } else if *byte == b'"' {
                quoted = !quoted;
            }
            *byte == b',' && !quoted
        })
        .map(<[u8]>::trim_ascii)
        .filter(|directive| !directive.is_empty())
}

/// RFC 9111, 5.2: an argument is taken in both forms, token and quoted string.
fn unquoted(argument: &[u8]) -> &[u8] {
    argument.strip_prefix(b"\"").and_then(|a| a.strip_suffix(b"\"")).unwrap_or(argument)
}

/// RFC 9111, 1.2.2: digits only; too many of them mean a very long time.
pub(crate) fn seconds(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')));
    Some(value.min(MAX_SECONDS))
}

/// Seconds from Date to Expires (RFC 9111, 4.2.1 and 5.3); zero for a value that is no date, as `0` is.
fn expires(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let mut least = None;
    for value in headers.get_all(header::EXPIRES) {
        let until = date(value.as_bytes()).and_then(|at| at.duration_since(sent(headers, now)).ok());
        let seconds = until.map_or(0, |d| d.as_secs()).min(MAX_SECONDS);
        least = Some(least.map_or(seconds, |l: u64| l.min(seconds)));
    }
    least
}

/// When the answer was made; now, where it does not say (RFC 9110, 6.6.1).
fn sent(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    headers.get(header::DATE).and_then(|value| date(value.as_bytes())).unwrap_or(now)
}

/// RFC 9111, 5.1: what is no number is ignored. Of several, the largest.
fn age(headers: &HeaderMap) -> u64 {
    list(headers, header::AGE).filter_map(|a| seconds(a.as_bytes())).max().unwrap_or(0)
}

/// When the origin may be asked again: seconds, or a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.as_bytes().trim_ascii();
    if let Some(seconds) = seconds(value) {
        return Some(Duration::from_secs(seconds));
    }
    let at = date(value)?;
    let wait = at.duration_since(sent(headers, now)).unwrap_or_default();
    Some(wait.min(Duration::from_secs(MAX_SECONDS)))
}

fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()
}

fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_PLUS_60: &str = "Sun, 06 Nov 1994 08:50:37 GMT";

    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn headers(lines: Lines<'_>) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn now() -> SystemTime {
        httpdate::parse_http_date(DATE).unwrap()
    }

    const fn secs(n: u64) -> Lifetime {
        Lifetime::For(Duration::from_secs(n))
    }

    #[test]
    fn f1_lifetime_by_headers() {
        use Lifetime::{Default, NotKept};
        let rows: &[(Lines<'_>, Lifetime)] = &[
            (&[], Default),
            (&[("cache-control", "")], Default),
            (&[("cache-control", "public, must-revalidate")], Default),
            (&[("cache-control", "max-age=60")], secs(60)),
            (&[("cache-control", "MAX-AGE=60")], secs(60)),
            (&[("cache-control", "max-age=\"60\"")], secs(60)),
            (&[("cache-control", " , ,max-age = 60 ,")], secs(60)),
            (&[("cache-control", "max-age=60, max-age=30")], secs(30)),
            (&[("cache-control", "max-age=60"), ("cache-control", "max-age=20")], secs(20)),
            (&[("cache-control", "max-age=0")], NotKept),
            (&[("cache-control", "max-age")], NotKept),
            (&[("cache-control", "max-age=")], NotKept),
            (&[("cache-control", "max-age=soon")], NotKept),
            (&[("cache-control", "max-age=-1")], NotKept),
            (&[("cache-control", "max-age=1.5")], NotKept),
            (&[("cache-control", "max-age=+60")], NotKept),
            (&[("cache-control", "max-age=60, max-age=x")], NotKept),
            (&[("cache-control", "max-age=99999999999999999999999")], secs(MAX_SECONDS)),
            (&[("cache-control", "s-maxage=60")], Default),
            (&[("cache-control", "s-maxage=0, max-age=60")], secs(60)),
            (&[("cache-control", "private, max-age=60")], secs(60)),
            (&[("cache-control", "no-store")], NotKept),
            (&[("cache-control", "No-Cache")], NotKept),
            (&[("cache-control", "no-cache=\"set-cookie\", max-age=60")], NotKept),
            (&[("cache-control", "max-age=60, no-store")], NotKept),
            (&[("cache-control", "max-age=60"), ("cache-control", "no-store")], NotKept),
            (&[("cache-control", "ext=\"no-store, max-age=1\", max-age=60")], secs(60)),
            (&[("cache-control", "ext=\"a\\\", no-store\", max-age=60")], secs(60)),
            (&[("cache-control", "x-no-store, max-age=60")], secs(60)),
            (&[("cache-control", "max-age=60"), ("age", "20")], secs(40)),
            (&[("cache-control", "max-age=60"), ("age", "60")], NotKept),
            (&[("cache-control", "max-age=60"), ("age", "600")], NotKept),
            (&[("cache-control", "max-age=60"), ("age", "young")], secs(60)),
            (&[("cache-control", "max-age=60"), ("age", "10, 20")], secs(40)),
            (&[("expires", DATE_PLUS_60), ("date", DATE)], secs(60)),
            (&[("expires", DATE_PLUS_60)], secs(60)),
            (&[("expires", DATE_PLUS_60), ("date", DATE), ("age", "50")], secs(10)),
            (&[("expires", DATE), ("date", DATE_PLUS_60)], NotKept),
            (&[("expires", DATE), ("date", DATE)], NotKept),
            (&[("expires", "0"), ("date", DATE)], NotKept),
            (&[("expires", "never"), ("date", DATE)], NotKept),
            (&[("expires", DATE_PLUS_60), ("expires", "0"), ("date", DATE)], NotKept),
            (&[("expires", "0"), ("cache-control", "max-age=60")], secs(60)),
            (&[("expires", DATE_PLUS_60), ("cache-control", "max-age=x")], NotKept),
            (&[("vary", "accept"), ("cache-control", "max-age=60")], secs(60)),
            (&[("vary", "accept, *"), ("cache-control", "max-age=60")], NotKept),
            (&[("pragma", "no-cache")], Default),
        ];
        for (lines, want) in rows {
            assert_eq!(lifetime(Freshness::Origin, &headers(lines), now()), *want, "{lines:?}");
            assert_eq!(lifetime(Freshness::Table, &headers(lines), now()), Default, "{lines:?}");
        }
    }

    #[test]
    fn retry_after_by_value() {
        let rows: &[(Lines<'_>, Option<u64>)] = &[
            (&[], None),
            (&[("retry-after", "7")], Some(7)),
            (&[("retry-after", DATE_PLUS_60)], Some(60)),
            (&[("retry-after", DATE_PLUS_60), ("date", DATE_PLUS_60)], Some(0)),
            (&[("retry-after", DATE), ("date", DATE_PLUS_60)], Some(0)),
            (&[("retry-after", "99999999999999999999999")], Some(MAX_SECONDS)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-1")], None),
        ];
        for (lines, want) in rows {
            assert_eq!(retry_after(&headers(lines), now()).map(|d| d.as_secs()), *want, "{lines:?}");
        }
    }
}
