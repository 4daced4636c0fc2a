//! `Cache-Control` as a private cache reads it (RFC 9111, 5.2.2; RFC 5861).
//!
//! Invariant: what cannot be understood counts as the shortest time that could be meant, never as a longer one; of several
//! values of one directive, the smallest counts.

use std::time::Duration;

use ureq::http::{HeaderMap, header};

/// The largest time that is told apart (RFC 9111, 1.2.2).
pub(crate) const MAX_SECONDS: u64 = 1 << 31;

/// The directives of an answer that say something to a private cache.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    /// Never stale, whatever the windows are.
    pub(crate) must_revalidate: bool,
    /// Times in seconds; zero for what is no number.
    pub(crate) max_age: Option<u64>,
    pub(crate) while_revalidate: Option<u64>,
    pub(crate) if_error: Option<u64>,
}

impl Control {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            directives(value.as_bytes()).for_each(|directive| control.take(directive));
        }
        control
    }

    fn take(&mut self, directive: &[u8]) {
        let (name, argument) = match directive.iter().position(|b| *b == b'=') {
            Some(at) => (&directive[..at], Some(&directive[at + 1..])),
            None => (directive, None),
        };
        let is = |wanted: &str| name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes());
        // A space around the sign is no part of the grammar (RFC 9111, 5.2), so that the argument is none.
        let spaced = name != name.trim_ascii();
        let time = || argument.filter(|_| !spaced).and_then(|a| seconds(unquoted(a))).unwrap_or(0);
        let shorten = |kept: &mut Option<u64>| *kept = Some(kept.map_or_else(time, |least| least.min(time())));
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            // RFC 9111, 5.2.2.4: one that names fields may be taken for one that names none.
            self.no_cache = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("max-age") {
            shorten(&mut self.max_age);
        } else if is("stale-while-revalidate") {
            shorten(&mut self.while_revalidate);
        } else if is("stale-if-error") {
            shorten(&mut self.if_error);
        }
    }

    /// The windows in which the record may be served stale whose lifetime ended `late` seconds ago: while it is refreshed, and in place
    /// of an error. `None`: the cache's options say, which count from now on, and so only where it ends now.
    pub(crate) fn windows(&self, late: u64) -> (Option<Duration>, Option<Duration>) {
        if self.must_revalidate || self.no_cache {
            return (Some(Duration::ZERO), Some(Duration::ZERO));
        }
        let left = |window: Option<u64>| match window {
            None if late == 0 => None,
            window => Some(Duration::from_secs(window.unwrap_or(0).saturating_sub(late))),
        };
        (left(self.while_revalidate), left(self.if_error))
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
