//! The windows in which a record may be served stale, as its source gave them, in the four bytes that a header has for them.
//!
//! Each is a whole number of milliseconds below half a minute, and above that a floating-point number of seconds: eleven bits of
//! mantissa, four of exponent. Pure arithmetic. Invariant: what is kept of a window is never longer than what was given.

use std::time::Duration;

use crate::source::Windows;

/// Says that a number is one of seconds; else it is one of milliseconds.
const IN_SECONDS: u16 = 1 << 15;
const MANTISSA_BITS: u32 = 11;
const MANTISSA: u16 = (1 << MANTISSA_BITS) - 1;

/// The cache's options say how long it is.
const UNSAID: u16 = u16::MAX;

/// The longest that can be told: some two years.
const LONGEST: u16 = UNSAID - 1;

/// Why a record is served stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    WhileRevalidate,
    IfError,
}

/// The windows that a record's source gave it, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnWindows(u32);

impl OwnWindows {
    /// The cache's options say all.
    pub(crate) const UNSAID: Self = Self(u32::MAX);

    pub(crate) fn of(windows: &Windows) -> Self {
        Self(u32::from(packed(windows.while_revalidate)) << 16 | u32::from(packed(windows.if_error)))
    }

    /// `None`: the cache's options say.
    pub(crate) fn get(self, stale: Stale) -> Option<Duration> {
        unpacked(match stale {
            Stale::WhileRevalidate => (self.0 >> 16) as u16,
            Stale::IfError => self.0 as u16,
        })
    }

    /// The same as a source gives them.
    pub(crate) fn with_fresh(self, fresh: Option<Duration>) -> Windows {
        let (while_revalidate, if_error) = (self.get(Stale::WhileRevalidate), self.get(Stale::IfError));
        Windows { fresh, while_revalidate, if_error }
    }

    pub(crate) const fn to_bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

fn packed(window: Option<Duration>) -> u16 {
    let Some(window) = window else { return UNSAID };
    if let Ok(ms) = u16::try_from(window.as_millis())
        && ms < IN_SECONDS
    {
        return ms;
    }
    let seconds = window.as_secs();
    let exponent = (u64::BITS - seconds.leading_zeros()).saturating_sub(MANTISSA_BITS);
    let mantissa = (seconds >> exponent) as u16;
    if exponent > 15 { LONGEST } else { (IN_SECONDS | (exponent as u16) << MANTISSA_BITS | mantissa).min(LONGEST) }
}

fn unpacked(packed: u16) -> Option<Duration> {
    if packed == UNSAID {
        return None;
    }
    if packed < IN_SECONDS {
        return Some(Duration::from_millis(packed.into()));
    }
    let exponent = (packed & !IN_SECONDS) >> MANTISSA_BITS;
    Some(Duration::from_secs(u64::from(packed & MANTISSA) << exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(window: Duration) -> Duration {
        let windows = OwnWindows::of(&Windows { if_error: Some(window), ..Windows::default() });
        assert_eq!(windows.get(Stale::WhileRevalidate), None);
        windows.get(Stale::IfError).expect("it was given")
    }

    #[test]
    fn f2_a_window_is_kept_and_never_longer_than_it_was_given() {
        for ms in 0..1 << 15 {
            assert_eq!(kept(Duration::from_millis(ms)), Duration::from_millis(ms));
        }
        for seconds in (0..2048).chain([3600, 86_400]) {
            assert_eq!(kept(Duration::from_secs(seconds)), Duration::from_secs(seconds));
        }
        for seconds in (2048..1 << 18).chain((0..15).map(|n| 2047 << n)).chain((11..26).map(|n| (1 << n) - 1)) {
            let given = Duration::from_secs(seconds);
            let kept = kept(given);
            assert!(kept <= given && kept >= given.mul_f64(0.999), "{given:?}: {kept:?}");
        }
        assert_eq!(kept(Duration::from_nanos(1_999_999)), Duration::from_millis(1));
        assert_eq!(kept(Duration::from_millis(33_900)), Duration::from_secs(33));
        for endless in [Duration::MAX, Duration::from_secs(2047 << 15), Duration::from_secs(1 << 26)] {
            assert_eq!(kept(endless), Duration::from_secs(2046 << 15));
        }
    }

    #[test]
    fn f2_each_window_is_its_own_and_the_options_where_none_was_given() {
        let (three, seven) = (Some(Duration::from_secs(3)), Some(Duration::from_secs(7)));
        let both = Windows { fresh: None, while_revalidate: three, if_error: seven };
        for windows in [both, Windows { if_error: None, ..both }, Windows { while_revalidate: None, ..both }] {
            let kept = OwnWindows::from_bits(OwnWindows::of(&windows).to_bits());
            assert_eq!(kept.with_fresh(None), windows);
        }
        assert_eq!(OwnWindows::of(&Windows::default()), OwnWindows::UNSAID);
    }
}
