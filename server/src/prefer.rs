//! What a client prefers (RFC 7240): to be answered before the origin is, at once or once it has waited for so long.
//!
//! Invariant: what is not understood is passed over, as the RFC has it, and nothing in it makes a request wrong.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The header that says which preferences were followed.
pub(crate) const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// `respond-async`, with the `wait` beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RespondAsync {
    /// So many seconds the client waits for the plain answer first.
    pub(crate) wait_seconds: u64,
}

impl RespondAsync {
    /// What the headers ask for; `None`: a plain answer.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
        let (mut asked, mut wait) = (false, None);
        for (name, value) in lines.flat_map(|line| parts(line, ',')).map(preference) {
            // §2: of a preference that is given twice, the first counts.
            if name.eq_ignore_ascii_case("respond-async") {
                asked = true;
            } else if name.eq_ignore_ascii_case("wait") {
                wait = wait.or(Some(value));
            }
        }
        let digits = wait.filter(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()));
        // More digits than that are as good as for ever: the write's own deadline ends it.
        let wait_seconds = digits.map_or(0, |digits| digits.parse().unwrap_or(u64::MAX));
        asked.then_some(Self { wait_seconds })
    }

    /// How long the client waits for the plain answer; `None`: not at all.
    pub(crate) fn wait(self) -> Option<Duration> {
        (self.wait_seconds > 0).then(|| Duration::from_secs(self.wait_seconds))
    }
}

impl fmt::Display for RespondAsync {
    /// As it was followed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wait_seconds {
            0 => f.write_str("respond-async"),
            seconds => write!(f, "respond-async, wait={seconds}"),
        }
    }
}

/// The parts of a line between `separator`s; one within quotes separates nothing, and a backslash there takes the next character as it is.
pub(crate) fn parts(line: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |c| {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
        c == separator && !quoted
    })
}

/// The name and the value of a preference, without its parameters. No value and an empty one are the same (§2).
pub(crate) fn preference(text: &str) -> (&str, &str) {
    let first = parts(text, ';').next().unwrap_or_default();
    let (name, value) = first.split_once('=').unwrap_or((first, ""));
    let value = value.trim();
    (name.trim(), value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// `None`: a plain answer; else the seconds to wait.
    fn of(lines: &[&'static str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, HeaderValue::from_static(line));
        }
        RespondAsync::of(&headers).map(|asked| asked.wait_seconds)
    }

    #[test]
    fn a_preference_is_found_as_the_rfc_writes_it() {
        for line in [
            "respond-async",
            "Respond-ASYNC",
            " respond-async ",
            "respond-async=\"\"",
            "respond-async; foo=\"a,b\"",
            "return=minimal, respond-async",
            "handling=lenient;a;b=\"\\\", x\",\trespond-async",
            ", ,respond-async,",
        ] {
            assert_eq!(of(&[line]), Some(0), "{line}");
        }
        assert_eq!(of(&["return=minimal", "respond-async"]), Some(0), "a header may be repeated");
        for line in [
            "",
            "return=minimal",
            "respond",
            "respond-asyncs",
            "foo=\"respond-async\"",
            "foo=\"a, respond-async\"",
            "a;respond-async",
        ] {
            assert_eq!(of(&[line]), None, "{line}");
        }
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_time_to_wait_is_whole_seconds_and_the_first_one_counts() {
        assert_eq!(of(&["respond-async, wait=10"]), Some(10));
        assert_eq!(of(&["WAIT = \"7\" ; x", "respond-async"]), Some(7));
        assert_eq!(of(&["wait=1, respond-async, wait=2"]), Some(1));
        assert_eq!(of(&["respond-async, wait=99999999999999999999"]), Some(u64::MAX));
        for odd in ["wait", "wait=", "wait=1.5", "wait=-1", "wait=soon", "wait=0"] {
            assert_eq!(of(&["respond-async", odd]), Some(0), "{odd}");
        }
        assert_eq!(of(&["wait=10"]), None);
    }

    #[test]
    fn what_was_followed_is_said_in_the_same_words() {
        assert_eq!(RespondAsync { wait_seconds: 0 }.to_string(), "respond-async");
        assert_eq!(RespondAsync { wait_seconds: 5 }.to_string(), "respond-async, wait=5");
    }
}
