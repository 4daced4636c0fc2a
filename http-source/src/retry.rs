//! When a call is attempted again, and after what pause: pure tables and arithmetic.
//!
//! Invariant (A2, D4 of the contract): a write is attempted again only where the attempt before it is proved not applied,
//! or where a second send cannot be applied beside the first. Which statuses are worth it: 408, 425, 429 and 5xx.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wtcache::{Condition, Declared, Failure, SourceError};

/// How often, and when, a source attempts a call again. For [`HttpSourceBuilder::retries`](crate::HttpSourceBuilder::retries).
///
/// Always within the call's one deadline: a pause that would outlast it is not begun. The pause before the n-th retry is
/// picked at random from zero to `base` · 2ⁿ⁻¹, but no more than `cap` (full jitter). Where the origin said Retry-After,
/// that comes on top. A waiting call holds its thread, but no place among the requests at the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retries {
    /// How often a load is attempted again: where it could not connect, the connection broke before an answer, its
    /// `attempt_timeout` was up, or the answer was 408, 425, 429 or 5xx. Default 2.
    pub loads: u32,
    /// How often a write is attempted again. Default 0. One of which nothing was sent, or that the origin turned away (425,
    /// 429), may always be. One that was sent and not answered, or answered with 408 or 5xx, only where the origin is declared
    /// to [honour idempotency](crate::HttpSourceBuilder::honours_idempotency), or where the write is conditional on a version, and
    /// the origin is declared to honour preconditions and never to reuse versions; else it is in doubt at once.
    pub writes: u32,
    /// The most that the first pause takes. Default 50 ms.
    pub base: Duration,
    /// The most that any pause takes, without the origin's Retry-After. Default 1 s.
    pub cap: Duration,
    /// So many retries the source may add to its traffic, in percent of its calls: a storm of retries ends there. Default
    /// 20.
    pub budget_percent: u32,
    /// So many retries are possible beside that, before any traffic and after a quiet while. Default 10.
    pub burst: u32,
    /// The longest that an attempt may take which is not the last one allowed; the last one has all that is left. Only
    /// attempts that may be followed by another are cut short. Default: none, so that an attempt has all that is left.
    pub attempt_timeout: Option<Duration>,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            loads: 2,
            writes: 0,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(1),
            budget_percent: 20,
            burst: 10,
            attempt_timeout: None,
        }
    }
}

impl Retries {
    /// Those by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// None: each call is one attempt.
    #[must_use]
    pub fn none() -> Self {
        Self { loads: 0, writes: 0, ..Self::default() }
    }

    /// The same with another [`Retries::loads`].
    #[must_use]
    pub fn loads(mut self, times: u32) -> Self {
        self.loads = times;
        self
    }

    /// The same with another [`Retries::writes`].
    #[must_use]
    pub fn writes(mut self, times: u32) -> Self {
        self.writes = times;
        self
    }

    /// The same with another [`Retries::base`] and [`Retries::cap`].
    #[must_use]
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        (self.base, self.cap) = (base, cap);
        self
    }

    /// The same with another [`Retries::budget_percent`] and [`Retries::burst`].
    #[must_use]
    pub fn budget(mut self, percent: u32, burst: u32) -> Self {
        (self.budget_percent, self.burst) = (percent, burst);
        self
    }

    /// The same with an [`Retries::attempt_timeout`].
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// The pause after attempt number `attempt`, from 1. `chance`: any number; each is as likely.
    pub(crate) fn pause(&self, attempt: u32, chance: u64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(63);
        let most = u64::try_from(self.base.as_nanos()).unwrap_or(u64::MAX).saturating_mul(1 << doublings);
        let most = most.min(u64::try_from(self.cap.as_nanos()).unwrap_or(u64::MAX));
        // The upper half of the product: from 0 to `most`, all alike.
        Duration::from_nanos(((u128::from(chance) * (u128::from(most) + 1)) >> 64) as u64)
    }
}

/// Whether a status says that another attempt may fare better.
pub(crate) fn passes(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// Whether a load that came to this may be attempted again.
pub(crate) fn of_load(error: &SourceError) -> bool {
    match error.code() {
        Some(code) => u16::try_from(code).is_ok_and(passes),
        None => matches!(error.failure(), Failure::Unreachable | Failure::TimedOut | Failure::Broken),
    }
}

/// Whether a write that the origin answered with this may be attempted again. `safe`: see [`second_send_is_safe`].
pub(crate) fn of_write(status: u16, safe: bool) -> bool {
    // Turned away: the origin did not look at the write.
    matches!(status, 425 | 429) || safe && passes(status)
}

/// Whether a write may be sent again while an earlier send of it may still be applied.
///
/// Either the origin knows both for one write, or the first that is applied makes the condition of the other fail. A
/// condition on absence or existence comes true again, and so is none of those.
pub(crate) fn second_send_is_safe(declared: &Declared, condition: Option<&Condition>) -> bool {
    let on_a_version = matches!(condition, Some(Condition::Version(_)));
    declared.honours_idempotency || declared.honours_preconditions && declared.versions_never_reused && on_a_version
}

/// What retries there may be beside the traffic: a bucket into which each call puts a part of a token.
pub(crate) struct Budget {
    /// In hundredths of a token.
    tokens: AtomicU64,
    per_call: u64,
    most: u64,
}

/// One retry.
const TOKEN: u64 = 100;

impl Budget {
    pub(crate) fn new(percent: u32, burst: u32) -> Self {
        let first = u64::from(burst) * TOKEN;
        // Room for one at least, or no retry would ever be possible.
        Self { tokens: AtomicU64::new(first), per_call: percent.into(), most: first.max(TOKEN) }
    }

    /// A call began.
    pub(crate) fn earn(&self) {
        // Relaxed, here and below: the count guards nothing but itself.
        let earned = |tokens: u64| (tokens < self.most).then(|| (tokens + self.per_call).min(self.most));
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }

    /// Takes what a retry costs; false where there is not as much.
    pub(crate) fn spend(&self) -> bool {
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| tokens.checked_sub(TOKEN)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use wtcache::Version;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_with_full_jitter() {
        let ms = Duration::from_millis;
        let retries = Retries::new().backoff(ms(50), ms(300));
        for (attempt, most) in [(1, 50), (2, 100), (3, 200), (4, 300), (5, 300), (64, 300), (u32::MAX, 300)] {
            assert_eq!(retries.pause(attempt, 0), Duration::ZERO, "{attempt}");
            assert_eq!(retries.pause(attempt, u64::MAX), ms(most), "{attempt}");
            let half = retries.pause(attempt, 1 << 63);
            assert!(half >= ms(most) / 2 && half <= ms(most) / 2 + Duration::from_nanos(1), "{attempt}: {half:?}");
        }
        let endless = Retries::new().backoff(Duration::MAX, Duration::MAX);
        assert!(endless.pause(9, u64::MAX) > Duration::from_secs(1 << 32), "nothing overflows");
    }

    #[test]
    fn b2_retries_are_a_fraction_of_the_traffic() {
        let budget = Budget::new(20, 3);
        assert_eq!((0..9).filter(|_| budget.spend()).count(), 3, "the burst, and no traffic yet");
        for _ in 0..4 {
            budget.earn();
        }
        assert!(!budget.spend(), "four calls earn less than one retry");
        budget.earn();
        assert!(budget.spend() && !budget.spend(), "five earn one");
        for _ in 0..1_000 {
            budget.earn();
        }
        assert_eq!((0..9).filter(|_| budget.spend()).count(), 3, "what is not spent is kept up to the burst");
        let none = Budget::new(0, 0);
        none.earn();
        assert!(!none.spend());
        let slow = Budget::new(1, 0);
        for _ in 0..100 {
            assert!(!slow.spend());
            slow.earn();
        }
        assert!(slow.spend(), "without a burst too");
    }

    #[test]
    fn d4_which_answers_to_a_write_are_followed_by_another_send() {
        for status in 0..=1000 {
            let turned_away = matches!(status, 425 | 429);
            assert_eq!(of_write(status, false), turned_away, "{status}");
            let failed = matches!(status, 408 | 500..=599);
            assert_eq!(of_write(status, true), turned_away || failed, "{status}");
        }
    }

    #[test]
    fn d4_a_second_send_needs_a_declaration_of_the_origin() {
        let version = Condition::Version(Version::new("\"1\"").unwrap());
        let declared = |idempotency, preconditions, versions| {
            let mut declared = Declared::default();
            declared.honours_idempotency = idempotency;
            declared.honours_preconditions = preconditions;
            declared.versions_never_reused = versions;
            declared
        };
        for condition in [None, Some(&version), Some(&Condition::Absent), Some(&Condition::Exists)] {
            assert!(!second_send_is_safe(&declared(false, false, false), condition));
            assert!(!second_send_is_safe(&declared(false, true, false), condition));
            assert!(!second_send_is_safe(&declared(false, false, true), condition));
            assert!(second_send_is_safe(&declared(true, false, false), condition));
            let on_a_version = condition == Some(&version);
            assert_eq!(second_send_is_safe(&declared(false, true, true), condition), on_a_version);
        }
    }
}
