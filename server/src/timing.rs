//! Server-Timing: how long a read took here, and how long of that it waited for the origin.
//!
//! Invariant: saying so costs a read of a resident record no look at the clock of its own, and nothing is allocated for it.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};

use crate::answer::header;

pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

const PREFIX: &[u8; 12] = b"cache;dur=0.";

/// `cache;dur=0.00` to `cache;dur=0.99`, for what takes less than a millisecond.
static BELOW_A_MILLISECOND: [[u8; PREFIX.len() + 2]; 100] = {
    let mut all = [[b'0'; PREFIX.len() + 2]; 100];
    let mut n: u8 = 0;
    while n < 100 {
        let text = &mut all[n as usize];
        let mut at = 0;
        while at < PREFIX.len() {
            text[at] = PREFIX[at];
            at += 1;
        }
        text[at] = b'0' + n / 10;
        text[at + 1] = b'0' + n % 10;
        n += 1;
    }
    all
};

/// What the header says of a read that took so long, and of that waited for the origin for so long; `None`: not at all. The origin's milliseconds
/// are none of the cache's.
pub(crate) fn value(all: Duration, origin: Option<Duration>) -> HeaderValue {
    let own = all.saturating_sub(origin.unwrap_or_default());
    let known = BELOW_A_MILLISECOND.get(usize::try_from(own.as_micros() / 10).unwrap_or(usize::MAX));
    match (known.and_then(|text| std::str::from_utf8(text).ok()), origin) {
        (Some(known), None) => HeaderValue::from_static(known),
        (_, None) => header(&format!("cache;dur={:.2}", millis(own))),
        (_, Some(origin)) => header(&format!("cache;dur={:.2}, origin;dur={:.2}", millis(own), millis(origin))),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_milliseconds() {
        let says = |all: u64, origin: Option<u64>| {
            value(Duration::from_micros(all), origin.map(Duration::from_micros)).to_str().unwrap_or_default().to_owned()
        };
        assert_eq!(says(0, None), "cache;dur=0.00");
        assert_eq!(says(57, None), "cache;dur=0.05");
        assert_eq!(says(999, None), "cache;dur=0.99");
        assert_eq!(says(1_000, None), "cache;dur=1.00");
        assert_eq!(says(12_345, None), "cache;dur=12.35");
        assert_eq!(says(2_500, Some(2_000)), "cache;dur=0.50, origin;dur=2.00");
        assert_eq!(says(1_000, Some(2_000)), "cache;dur=0.00, origin;dur=2.00");
    }
}
