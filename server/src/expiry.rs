//! `@expiresAt`: how long a record lives yet, by what it says itself.
//!
//! The wall clock is looked at when a record comes here, or is confirmed; the rest of its time is counted by the cache's clock, which does not jump. Invariant:
//! a record with a time in it is never given a longer life than the time says then.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// How long the record lives yet at `now`; zero if it has ended. `None`: it does not say.
pub(crate) fn left(name: &str, value: &[u8], now: SystemTime) -> Option<Duration> {
    // What was checked on its way in is JSON; should it not be, it says nothing.
    let record: Map<String, Value> = serde_json::from_slice(value).ok()?;
    let millis = record.get(name)?.as_f64()?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Longer than any clock runs is for ever; before 1970 is long ago.
    let end = Duration::try_from_secs_f64((millis / 1e3).max(0.0)).unwrap_or(Duration::MAX);
    Some(end.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_what_is_left_is_counted_from_now_and_never_less_than_nothing() {
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
        let of = |value: &str| left("end", format!("{{\"end\":{value}}}").as_bytes(), now);
        for (value, millis) in [
            ("1700000001500", 1500),
            ("1.7000000015e12", 1500),
            ("1700000000000", 0),
            ("1699999999999", 0),
            ("0", 0),
            ("-5", 0),
            ("-9007199254740992", 0),
        ] {
            assert_eq!(of(value).map(|left| left.as_millis()), Some(millis), "{value}");
        }
        assert!(of("9007199254740992").is_some_and(|left| left > Duration::from_secs(1 << 42)));
        assert!(of("1e300").is_some_and(|left| left > Duration::from_secs(1 << 42)));
        for none in ["null", "true", "\"1\""] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(left("other", b"{\"end\":1}", now), None);
        assert_eq!(left("end", b"[", now), None);
    }
}
