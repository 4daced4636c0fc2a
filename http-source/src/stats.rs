//! What a source counts, and the snapshot of it.
//!
//! Invariant: every attempt that was begun is in flight, or counted in exactly one class.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wtcache::Failure;

use crate::breaker::BreakerState;
use crate::durations::{AttemptDurations, Durations};

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Answered,
    /// With 3xx, the 304 of what is unchanged among them.
    Redirected,
    Refused,
    /// It asks for another attempt: the request did not come through in its time.
    Late,
    Failed,
    Broken,
    TimedOut,
    Unreachable,
}

impl Class {
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Answered,
            300..=399 => Self::Redirected,
            408 => Self::Late,
            400..=499 => Self::Refused,
            500..=599 => Self::Failed,
            _ => Self::Broken,
        }
    }

    /// Of an attempt without a whole answer.
    pub(crate) fn of_failure(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut => Self::TimedOut,
            Failure::Unreachable => Self::Unreachable,
            _ => Self::Broken,
        }
    }

    /// It speaks against the origin.
    pub(crate) fn is_failure(self) -> bool {
        !matches!(self, Self::Answered | Self::Redirected | Self::Refused)
    }
}

/// The counts. Relaxed throughout: they are for information.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) attempts: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) over_budget: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) redirected: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) unreachable: AtomicU64,
    pub(crate) queue_full: AtomicU64,
    pub(crate) queue_timed_out: AtomicU64,
    pub(crate) breaker_refused: AtomicU64,
    pub(crate) durations: Durations,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(crate) fn ended(&self, class: Class, took: Duration) {
        self.durations.count(took);
        count(match class {
            Class::Answered | Class::Redirected => &self.answered,
            Class::Refused | Class::Late => &self.refused,
            Class::Failed => &self.failed,
            Class::Broken => &self.broken,
            Class::TimedOut => &self.timed_out,
            Class::Unreachable => &self.unreachable,
        });
        // After the sum that it is part of.
        if class == Class::Redirected {
            count(&self.redirected);
        }
    }
}

/// What an [`HttpSource`](crate::HttpSource) did so far, and what it is doing. Each number is exact; taken one after the other, they
/// may be of different moments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStats {
    /// Attempts begun: those of calls that were attempted again, each for itself.
    pub attempts: u64,
    /// Of these, retries.
    pub retries: u64,
    /// Retries that were not made, since the budget had none left.
    pub retries_over_budget: u64,
    /// Attempts that were answered with a status below 400.
    pub answered: u64,
    /// Of these, with 3xx: 304 for what is unchanged, and redirects.
    pub redirected: u64,
    /// With 4xx.
    pub refused: u64,
    /// With 5xx.
    pub failed: u64,
    /// Attempts whose connection broke after something was sent, or whose answer was none of HTTP's.
    pub broken: u64,
    /// Those whose time was up before the whole answer had come.
    pub timed_out: u64,
    /// Those that did not come to be sent: no name, no connection, no TLS.
    pub unreachable: u64,
    /// Calls refused here, since as many waited as may.
    pub queue_full: u64,
    /// Calls whose deadline passed while they waited here.
    pub queue_timed_out: u64,
    /// Calls refused here by the breaker.
    pub breaker_refused: u64,
    /// How often credentials in files were read again after a 401, and found to be others.
    pub credentials_renewed: u64,
    /// How long attempts took.
    pub durations: AttemptDurations,
    /// Connections made, those to a proxy among them.
    pub connections_made: u64,
    /// Connections open now, in use or kept. One that the origin has closed is seen when it is to be used again.
    pub connections: usize,
    /// Attempts under way now.
    pub in_flight: usize,
    /// Calls that wait for others to end.
    pub queued: usize,
    /// The breaker; `None` where there is none.
    pub breaker: Option<BreakerStats>,
}

impl SourceStats {
    /// The counts of two sources that followed each other, of which `later` is the one in use: it says where the breaker stands.
    #[must_use]
    pub fn followed_by(self, later: Self) -> Self {
        let breaker = later.breaker.map(|later| BreakerStats {
            openings: later.openings + self.breaker.as_ref().map_or(0, |earlier| earlier.openings),
            probes: later.probes + self.breaker.as_ref().map_or(0, |earlier| earlier.probes),
            ..later
        });
        Self {
            attempts: self.attempts + later.attempts,
            retries: self.retries + later.retries,
            retries_over_budget: self.retries_over_budget + later.retries_over_budget,
            answered: self.answered + later.answered,
            redirected: self.redirected + later.redirected,
            refused: self.refused + later.refused,
            failed: self.failed + later.failed,
            broken: self.broken + later.broken,
            timed_out: self.timed_out + later.timed_out,
            unreachable: self.unreachable + later.unreachable,
            queue_full: self.queue_full + later.queue_full,
            queue_timed_out: self.queue_timed_out + later.queue_timed_out,
            breaker_refused: self.breaker_refused + later.breaker_refused,
            credentials_renewed: self.credentials_renewed + later.credentials_renewed,
            durations: self.durations.and(later.durations),
            connections_made: self.connections_made + later.connections_made,
            connections: self.connections + later.connections,
            in_flight: self.in_flight + later.in_flight,
            queued: self.queued + later.queued,
            breaker,
        }
    }

    /// The same without what is under way: what stays of a source that is in use no more.
    #[must_use]
    pub fn ended(self) -> Self {
        Self { connections: 0, in_flight: 0, queued: 0, ..self }
    }
}

/// Of the breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerStats {
    /// What it does now.
    pub state: BreakerState,
    /// How often it opened, failed probes not counted.
    pub openings: u64,
    /// How many probes it let through.
    pub probes: u64,
}
