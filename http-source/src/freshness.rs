//! How long an answer says that its record may be served (RFC 9111), for a source that asks the origin.
//!
//! A cache inside one program is a private cache: `s-maxage`, `private` and `proxy-revalidate` say nothing to it. All times count
//! from the start of the request, as the cache counts them, so that the delay of the answer (RFC 9111, 4.2.3) is in them.
//! Invariant: what cannot be understood is stale (RFC 9111, 4.2.1), never fresh.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, HeaderName, header};
use wtcache::{Lifetime, Windows};

use crate::cache_control::{Control, MAX_SECONDS, seconds};

/// Who says how long a record may be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// The cache's options. `Cache-Control` and `Expires` are ignored: many JSON servers send `no-cache` on everything.
    #[default]
    Table,
    /// The origin, where its answer says so; else the cache's options. What it calls `no-store` is not retained. What it calls
    /// `no-cache`, or says to vary by more than headers that all requests of this source carry alike, is retained only where it has a
    /// validator, and asked for each time. What is expired from the start likewise, or where it may be served stale: `stale-while-revalidate` and `stale-if-error` go before the windows
    /// of the cache's options, and `must-revalidate` forbids both.
    Origin,
}

/// A lifetime for answers that say when their record was last modified, and not how long it is fresh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heuristic {
    /// Of the time that the record had then been as it is.
    pub(crate) share: f64,
    pub(crate) longest: Duration,
}

/// How lifetimes are read from answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) freshness: Freshness,
    pub(crate) heuristic: Option<Heuristic>,
}

impl Policy {
    /// The lifetime that an answer with these headers gives its record. It was asked for at `asked`; `is_constant` says of a
    /// header of the request whether all requests of the source have the same.
    pub(crate) fn lifetime(
        &self,
        headers: &HeaderMap,
        asked: SystemTime,
        is_constant: impl Fn(&HeaderName) -> bool,
    ) -> Lifetime {
        if self.freshness == Freshness::Table {
            return Lifetime::Default;
        }
        let mut control = Control::of(headers);
        if control.no_store {
            return Lifetime::NotKept;
        }
        // RFC 9111, 4.1: what may not be meant for the next request is not used without asking, and so like no-cache.
        control.no_cache |= !is_of_this_source(headers, is_constant);
        // RFC 9111, 4.2.1: no-cache before max-age, that before Expires, and anything said before what is guessed.
        let said = if control.no_cache {
            Some(0)
        } else {
            control.max_age.or_else(|| expires(headers, asked)).or_else(|| self.guessed(headers, asked))
        };
        let age = age(headers, asked);
        let left = said.map(|said| Duration::from_secs(said.saturating_sub(age)));
        let late = said.map_or(0, |said| age.saturating_sub(said));
        match (left, control.windows(late)) {
            (None, (None, None)) => Lifetime::Default,
            (Some(left), (None, None)) => Lifetime::For(left),
            (fresh, (while_revalidate, if_error)) => Lifetime::With(Windows { fresh, while_revalidate, if_error }),
        }
    }

    /// The same of an answer that says that the record is unchanged. What it leaves out stands as it was said before (RFC 9111,
    /// 4.3.4).
    pub(crate) fn of_unchanged(
        &self,
        headers: &HeaderMap,
        asked: SystemTime,
        is_constant: impl Fn(&HeaderName) -> bool,
    ) -> Lifetime {
        let says = headers.contains_key(header::CACHE_CONTROL) || headers.contains_key(header::EXPIRES);
        if self.freshness == Freshness::Table || says || !is_of_this_source(headers, &is_constant) {
            return self.lifetime(headers, asked, is_constant);
        }
        Lifetime::AsBefore(Duration::from_secs(age(headers, asked)))
    }

    /// RFC 9111, 4.2.2.
    fn guessed(&self, headers: &HeaderMap, asked: SystemTime) -> Option<u64> {
        let heuristic = self.heuristic?;
        let modified = date(headers.get(header::LAST_MODIFIED)?.as_bytes())?;
        let unchanged_for = sent(headers, asked).duration_since(modified).ok()?;
        let guess = Duration::try_from_secs_f64(unchanged_for.as_secs_f64() * heuristic.share).unwrap_or(Duration::MAX);
        Some(guess.min(heuristic.longest).as_secs())
    }
}

/// Every later request of this source would be given this answer: it varies by nothing, or by headers of the request that are the same
/// in all of them (RFC 9111, 4.1).
fn is_of_this_source(headers: &HeaderMap, is_constant: impl Fn(&HeaderName) -> bool) -> bool {
    let members = headers.get_all(header::VARY).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    // A star is a token, but never one of those headers.
    members
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
        .all(|member| HeaderName::from_bytes(member).is_ok_and(|name| is_constant(&name)))
}

/// Seconds from Date to Expires (RFC 9111, 4.2.1 and 5.3); zero for a value that is no date, as `0` is.
fn expires(headers: &HeaderMap, asked: SystemTime) -> Option<u64> {
    let mut least = None;
    for value in headers.get_all(header::EXPIRES) {
        let until = date(value.as_bytes()).and_then(|at| at.duration_since(sent(headers, asked)).ok());
        let seconds = until.map_or(0, |d| d.as_secs()).min(MAX_SECONDS);
        least = Some(least.map_or(seconds, |l: u64| l.min(seconds)));
    }
    least
}

/// When the answer was made; now, where it does not say (RFC 9110, 6.6.1).
fn sent(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    headers.get(header::DATE).and_then(|value| date(value.as_bytes())).unwrap_or(now)
}

/// Seconds that the record was old when it was asked for (RFC 9111, 4.2.3): what Age says, or by how much Date is earlier, whichever is
/// more. The delay of the answer is not added, since what is counted from the request has it already.
fn age(headers: &HeaderMap, asked: SystemTime) -> u64 {
    // RFC 9111, 5.1: what is no number is ignored. Of several, the largest.
    let told = list(headers, header::AGE).filter_map(|a| seconds(a.as_bytes())).max().unwrap_or(0);
    let apparent = asked.duration_since(sent(headers, asked)).map_or(0, |age| age.as_secs());
    told.max(apparent)
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

/// A date in any of the three forms of RFC 9110, 5.6.7.
pub(crate) fn date(value: &[u8]) -> Option<SystemTime> {
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
    const DATE_MINUS_20: &str = "Sun, 06 Nov 1994 08:49:17 GMT";

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

    const OVER: Lifetime = secs(0);

    /// Of an origin that is asked, where all requests have one `Accept`.
    const ORIGIN: Policy = Policy { freshness: Freshness::Origin, heuristic: None };

    fn of(policy: &Policy, lines: Lines<'_>) -> Lifetime {
        policy.lifetime(&headers(lines), now(), |name| name == header::ACCEPT)
    }

    const fn with(fresh: Option<u64>, while_revalidate: Option<u64>, if_error: Option<u64>) -> Lifetime {
        const fn time(seconds: Option<u64>) -> Option<Duration> {
            match seconds {
                Some(seconds) => Some(Duration::from_secs(seconds)),
                None => None,
            }
        }
        Lifetime::With(Windows {
            fresh: time(fresh),
            while_revalidate: time(while_revalidate),
            if_error: time(if_error),
        })
    }

    /// Not fresh, and never stale.
    const NO_CACHE: Lifetime = with(Some(0), Some(0), Some(0));

    #[test]
    fn f1_lifetime_by_headers() {
        use Lifetime::{Default, NotKept};
        let rows: &[(Lines<'_>, Lifetime)] = &[
            (&[], Default),
            (&[("cache-control", "")], Default),
            (&[("cache-control", "public")], Default),
            (&[("cache-control", "max-age=60")], secs(60)),
            (&[("cache-control", "MAX-AGE=60")], secs(60)),
            (&[("cache-control", "max-age=\"60\"")], secs(60)),
            (&[("cache-control", " , ,max-age=60 ,")], secs(60)),
            (&[("cache-control", "max-age =60")], OVER),
            (&[("cache-control", "max-age= 60")], OVER),
            (&[("cache-control", "max-age='60'")], OVER),
            (&[("cache-control", "max-age=60, max-age=30")], secs(30)),
            (&[("cache-control", "max-age=60"), ("cache-control", "max-age=20")], secs(20)),
            (&[("cache-control", "max-age=0")], OVER),
            (&[("cache-control", "max-age")], OVER),
            (&[("cache-control", "max-age=")], OVER),
            (&[("cache-control", "max-age=soon")], OVER),
            (&[("cache-control", "max-age=-1")], OVER),
            (&[("cache-control", "max-age=1.5")], OVER),
            (&[("cache-control", "max-age=+60")], OVER),
            (&[("cache-control", "max-age=60, max-age=x")], OVER),
            (&[("cache-control", "max-age=99999999999999999999999")], secs(MAX_SECONDS)),
            (&[("cache-control", "s-maxage=60")], Default),
            (&[("cache-control", "s-maxage=0, max-age=60")], secs(60)),
            (&[("cache-control", "private, max-age=60")], secs(60)),
            (&[("cache-control", "no-store")], NotKept),
            (&[("cache-control", "No-Cache")], NO_CACHE),
            (&[("cache-control", "no-cache=\"set-cookie\", max-age=60")], NO_CACHE),
            (&[("cache-control", "max-age=60, no-store")], NotKept),
            (&[("cache-control", "max-age=60"), ("cache-control", "no-store")], NotKept),
            (&[("cache-control", "ext=\"no-store, max-age=1\", max-age=60")], secs(60)),
            (&[("cache-control", "ext=\"a\\\", no-store\", max-age=60")], secs(60)),
            (&[("cache-control", "x-no-store, max-age=60")], secs(60)),
            (&[("cache-control", "max-age=60"), ("age", "20")], secs(40)),
            (&[("cache-control", "max-age=60"), ("age", "60")], OVER),
            (&[("cache-control", "max-age=60"), ("age", "600")], NO_CACHE),
            (&[("cache-control", "max-age=60"), ("age", "young")], secs(60)),
            (&[("cache-control", "max-age=60"), ("age", "10, 20")], secs(40)),
            (&[("expires", DATE_PLUS_60), ("date", DATE)], secs(60)),
            (&[("expires", DATE_PLUS_60)], secs(60)),
            (&[("expires", DATE_PLUS_60), ("date", DATE), ("age", "50")], secs(10)),
            (&[("cache-control", "max-age=60"), ("date", DATE_MINUS_20)], secs(40)),
            (&[("cache-control", "max-age=60"), ("date", DATE_MINUS_20), ("age", "30")], secs(30)),
            (&[("cache-control", "max-age=60"), ("date", DATE_MINUS_20), ("age", "10")], secs(40)),
            (&[("cache-control", "max-age=60"), ("date", DATE_PLUS_60)], secs(60)),
            (&[("cache-control", "max-age=60"), ("date", "today")], secs(60)),
            (&[("expires", DATE_PLUS_60), ("date", DATE_MINUS_20)], secs(60)),
            (&[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")], secs(60)),
            (&[("expires", "Sun Nov  6 08:50:37 1994")], secs(60)),
            (&[("last-modified", DATE_MINUS_20)], Default),
            (&[("expires", DATE), ("date", DATE_PLUS_60)], OVER),
            (&[("expires", DATE), ("date", DATE)], OVER),
            (&[("expires", "0"), ("date", DATE)], OVER),
            (&[("expires", "never"), ("date", DATE)], OVER),
            (&[("expires", DATE_PLUS_60), ("expires", "0"), ("date", DATE)], OVER),
            (&[("expires", "0"), ("cache-control", "max-age=60")], secs(60)),
            (&[("expires", DATE_PLUS_60), ("cache-control", "max-age=x")], OVER),
            (&[("vary", "accept"), ("cache-control", "max-age=60")], secs(60)),
            (&[("vary", "accept, *"), ("cache-control", "max-age=60")], NO_CACHE),
            (&[("pragma", "no-cache")], Default),
        ];
        for (lines, want) in rows {
            assert_eq!(of(&ORIGIN, lines), *want, "{lines:?}");
            assert_eq!(of(&Policy::default(), lines), Default, "{lines:?}");
        }
    }

    #[test]
    fn f1_what_varies_by_more_than_all_requests_have_in_common_is_never_fresh() {
        let fresh = ("cache-control", "max-age=60");
        for (vary, kept) in [
            ("accept", true),
            ("", true),
            (" Accept , , ACCEPT", true),
            ("*", false),
            ("accept, *", false),
            ("accept, accept-language", false),
            ("cookie", false),
            ("accept language", false),
            ("acc\u{e9}pt", false),
        ] {
            let want = if kept { secs(60) } else { NO_CACHE };
            assert_eq!(of(&ORIGIN, &[fresh, ("vary", vary)]), want, "{vary}");
            assert_eq!(of(&ORIGIN, &[("vary", "accept"), fresh, ("vary", vary)]), want, "{vary}");
        }
    }

    #[test]
    fn f2_windows_by_headers() {
        let rows: &[(&str, Lines<'_>, Lifetime)] = &[
            ("max-age=60, stale-while-revalidate=30", &[], with(Some(60), Some(30), None)),
            ("max-age=60, stale-if-error=30", &[], with(Some(60), None, Some(30))),
            ("Stale-If-Error=\"30\", STALE-WHILE-REVALIDATE=20", &[], with(None, Some(20), Some(30))),
            ("max-age=0, stale-while-revalidate=30", &[], with(Some(0), Some(30), None)),
            ("max-age=60, stale-if-error=30, stale-if-error=10", &[], with(Some(60), None, Some(10))),
            ("max-age=60, stale-if-error=x", &[], with(Some(60), None, Some(0))),
            ("max-age=60, stale-if-error", &[], with(Some(60), None, Some(0))),
            ("max-age=60, stale-if-error =30", &[], with(Some(60), None, Some(0))),
            ("max-age=60, stale-while-revalidate=30", &[("age", "70")], with(Some(0), Some(20), Some(0))),
            ("max-age=60, stale-while-revalidate=30", &[("age", "100")], NO_CACHE),
            ("max-age=60, must-revalidate", &[], with(Some(60), Some(0), Some(0))),
            ("must-revalidate", &[], with(None, Some(0), Some(0))),
            ("max-age=60, must-revalidate, stale-if-error=30", &[], with(Some(60), Some(0), Some(0))),
            ("no-cache, stale-while-revalidate=30", &[], NO_CACHE),
            ("no-store, stale-while-revalidate=30", &[], Lifetime::NotKept),
            ("max-age=60, proxy-revalidate, s-maxage=1", &[], secs(60)),
        ];
        for (control, lines, want) in rows {
            let lines: Vec<_> = [("cache-control", *control)].into_iter().chain(lines.iter().copied()).collect();
            assert_eq!(of(&ORIGIN, &lines), *want, "{lines:?}");
        }
    }

    #[test]
    fn f1_a_lifetime_is_guessed_only_where_asked_for_and_nothing_is_said() {
        let guessing = Policy { heuristic: Some(Heuristic { share: 0.5, longest: Duration::from_secs(8) }), ..ORIGIN };
        let patient = Policy { heuristic: Some(Heuristic { share: 0.5, longest: Duration::from_secs(100) }), ..ORIGIN };
        let modified = ("last-modified", DATE_MINUS_20);
        for (lines, want) in [
            (&[modified] as Lines<'_>, secs(10)),
            (&[modified, ("date", DATE)], secs(10)),
            (&[modified, ("age", "4")], secs(6)),
            (&[modified, ("cache-control", "must-revalidate")], with(Some(10), Some(0), Some(0))),
            (&[modified, ("cache-control", "max-age=1")], secs(1)),
            (&[modified, ("expires", "0")], OVER),
            (&[modified, ("cache-control", "no-cache")], NO_CACHE),
            (&[("last-modified", DATE_PLUS_60)], Lifetime::Default),
            (&[("last-modified", "long ago")], Lifetime::Default),
            (&[], Lifetime::Default),
        ] {
            assert_eq!(of(&patient, lines), want, "{lines:?}");
        }
        assert_eq!(of(&guessing, &[modified]), secs(8), "the longest");
    }

    #[test]
    fn f1_what_a_304_leaves_out_stands_as_it_was() {
        let as_before = |seconds| Lifetime::AsBefore(Duration::from_secs(seconds));
        for (lines, want) in [
            (&[] as Lines<'_>, as_before(0)),
            (&[("age", "5"), ("last-modified", DATE_MINUS_20)], as_before(5)),
            (&[("vary", "accept")], as_before(0)),
            (&[("vary", "cookie")], NO_CACHE),
            (&[("cache-control", "max-age=60"), ("age", "5")], secs(55)),
            (&[("cache-control", "public")], Lifetime::Default),
            (&[("expires", DATE_PLUS_60)], secs(60)),
        ] {
            let of = |policy: Policy| policy.of_unchanged(&headers(lines), now(), |name| name == header::ACCEPT);
            assert_eq!(of(ORIGIN), want, "{lines:?}");
            assert_eq!(of(Policy::default()), Lifetime::Default, "{lines:?}");
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
