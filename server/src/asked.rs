//! What a client asks of the caches on its way (RFC 9111 §5.2.1, RFC 5861): the directives of a read's Cache-Control.
//!
//! Invariant: what is not understood is passed over; what is understood and wrong is read to the side of asking the origin, and nothing
//! in it makes a request wrong.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use wtcache::Call;

use crate::prefer::{parts, preference};

/// As good as for ever (RFC 9111 §1.2.2 asks for no less than 2^31 s).
const LONGEST: Duration = Duration::from_secs(1 << 31);

/// A read's directives; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    max_age: Option<Duration>,
    min_fresh: Option<Duration>,
    max_stale: Option<Duration>,
    stale_if_error: Option<Duration>,
    no_cache: bool,
    no_store: bool,
    must_revalidate: bool,
    /// The origin is not to be asked.
    pub(crate) only_if_cached: bool,
}

impl Asked {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            return asked;
        }
        let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
        for (name, value) in lines.flat_map(|line| parts(line, ',')).map(preference) {
            asked.add(name, value);
        }
        asked
    }

    /// Of a directive that is given twice the first counts (§4.2.1).
    fn add(&mut self, name: &str, value: &str) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("max-age") {
            self.max_age = self.max_age.or(Some(seconds(value).unwrap_or(Duration::ZERO)));
        } else if is("min-fresh") {
            self.min_fresh = self.min_fresh.or(Some(seconds(value).unwrap_or(LONGEST)));
        } else if is("max-stale") {
            self.max_stale = self.max_stale.or(Some(seconds_or_any(value)));
        } else if is("stale-if-error") {
            self.stale_if_error = self.stale_if_error.or(Some(seconds_or_any(value)));
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        }
    }

    /// Whether it says how fresh, or how stale, a record may be.
    pub(crate) fn is_of_freshness(&self) -> bool {
        self.no_cache || self.max_age.is_some() || self.min_fresh.is_some() || self.max_stale.is_some()
    }

    /// In the cache's words.
    pub(crate) fn call(&self) -> Call {
        let mut call = Call::new();
        if *self == Self::default() {
            return call;
        }
        let anew = self.no_cache.then_some(Duration::ZERO);
        if let Some(age) = anew.or(self.max_age) {
            call = call.max_age(age);
        }
        if let Some(left) = self.min_fresh {
            call = call.min_fresh(left);
        }
        let never = self.must_revalidate.then_some(Duration::ZERO);
        if let Some(window) = never.or(self.max_stale) {
            call = call.max_stale(window);
        }
        // Who wants what the origin says now is given nothing in its place, unless it says so itself.
        if let Some(window) = never.or(self.stale_if_error).or(anew) {
            call = call.stale_if_error(window);
        }
        if self.no_store { call.not_kept() } else { call }
    }
}

/// Whole seconds; more digits than a number has are as good as for ever.
fn seconds(value: &str) -> Option<Duration> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST))
}

/// Without a value, any time; what is none is no leave.
fn seconds_or_any(value: &str) -> Duration {
    if value.is_empty() { LONGEST } else { seconds(value).unwrap_or(Duration::ZERO) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> Asked {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        Asked::of(&headers)
    }

    fn secs(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn f5_directives_are_found_as_the_rfc_writes_them() {
        let none = Asked::default();
        assert_eq!(of(&[]), none);
        for unknown in
            ["", ",", "max-ages=3", "private", "no-transform", "x=\"no-cache\"", "x=\"a, no-cache\"", "s-maxage=1"]
        {
            assert_eq!(of(&[unknown]), none, "{unknown}");
        }
        assert_eq!(of(&["max-age=5"]).max_age, secs(5));
        assert_eq!(of(&["Max-Age=\"5\" , MIN-FRESH=7"]), Asked { max_age: secs(5), min_fresh: secs(7), ..none });
        assert_eq!(
            of(&["no-store", "no-cache,must-revalidate"]),
            Asked { no_store: true, no_cache: true, must_revalidate: true, ..none }
        );
        assert!(of(&["max-stale, only-if-cached"]).only_if_cached);
        assert_eq!(
            of(&["max-stale, stale-if-error=9"]),
            Asked { max_stale: Some(LONGEST), stale_if_error: secs(9), ..none }
        );
    }

    #[test]
    fn f2_without_a_word_of_it_no_cache_takes_nothing_in_place_of_an_error() {
        let (said, zero) = (|line| format!("{:?}", of(&[line]).call()), Duration::ZERO);
        assert_eq!(said("no-cache"), format!("{:?}", Call::new().max_age(zero).stale_if_error(zero)));
        let window = Duration::from_secs(5);
        let both = Call::new().max_age(zero).stale_if_error(window);
        assert_eq!(said("no-cache, stale-if-error=5"), format!("{both:?}"));
        assert_eq!(said("max-age=5"), format!("{:?}", Call::new().max_age(window)));
    }

    #[test]
    fn f5_the_first_of_two_counts_and_what_is_wrong_asks_the_origin() {
        assert_eq!(of(&["max-age=5, max-age=9"]).max_age, secs(5));
        for wrong in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=soon"] {
            assert_eq!(of(&[wrong]).max_age, secs(0), "{wrong}");
        }
        assert_eq!(of(&["min-fresh=x"]).min_fresh, Some(LONGEST));
        assert_eq!(of(&["max-stale=x, stale-if-error=x"]).max_stale, secs(0));
        assert_eq!(of(&["stale-if-error=-1"]).stale_if_error, secs(0));
        assert_eq!(of(&["max-age=99999999999999999999999"]).max_age, Some(LONGEST));
        assert_eq!(of(&["max-age=18446744073709551615"]).max_age, Some(LONGEST));
    }
}
