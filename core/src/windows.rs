//! The windows in which a record may be served stale, as its source gave them, in the four bytes that a header has for them.
//!
//! Each is a floating-point number of milliseconds: eleven bits of mantissa, five of exponent. Pure arithmetic.
//! Invariant: what is kept of a window is never longer than what was given, and shorter by less than one part in a thousand, or
//! than a millisecond.

use std::time::Duration;

use crate::source::Windows;

const MANTISSA_BITS: u32 = 11;
const MANTISSA: u16 = (1 << MANTISSA_BITS) - 1;

/// The cache's options say how long it is.
const UNSAID: u16 = u16::MAX;

/// The longest that can be told: some 139 years.
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
    let ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let shift = (u64::BITS - ms.leading_zeros()).saturating_sub(MANTISSA_BITS);
    let mantissa = (ms >> shift) as u16;
    if shift > 31 { LONGEST } else { ((shift as u16) << MANTISSA_BITS | mantissa).min(LONGEST) }
}

fn unpacked(packed: u16) -> Option<Duration> {
    let ms = u64::from(packed & MANTISSA) << (packed >> MANTISSA_BITS);
    (packed != UNSAID).then(|| Duration::from_millis(ms))
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
        for ms in (0..70_000).chain((0..31).map(|n| 2047u64 << n)).chain((11..40).map(|n| (1 << n) - 1)) {
            let given = Duration::from_millis(ms);
            let kept = kept(given);
            assert!(kept <= given && kept >= given.mul_f64(0.999), "{given:?}: {kept:?}");
        }
        for seconds in [1, 5, 30, 60, 120] {
            assert_eq!(kept(Duration::from_secs(seconds)), Duration::from_secs(seconds));
        }
        assert_eq!(kept(Duration::from_nanos(1_999_999)), Duration::from_millis(1));
        assert_eq!(kept(Duration::MAX), Duration::from_millis(2046 << 31));
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
