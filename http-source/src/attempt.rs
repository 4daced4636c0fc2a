//! An attempt: one exchange with the origin, from its admission to what it came to; and the row of attempts that a call
//! is made of.
//!
//! Owns what all calls of a source share on their way out: gate, breaker, retry budget, counts and clock.
//! Invariants: an attempt holds its place at the gate from before its first byte to the end of its answer, and tells the
//! breaker and the counts once what it came to; no attempt and no pause begins after the call's deadline.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use wtcache::{Clock, Failure, SourceError, Tick};

use crate::breaker::{Fuse, Pass};
use crate::call::{Call, Reuse};
use crate::classify::{self, Unanswered};
use crate::gate::{Gate, NoPlace, Place};
use crate::retry::{Budget, Retries};
use crate::stats::{BreakerStats, Class, Counts, SourceStats, count};
use crate::{report, wait};

/// Why the source did not ask the origin at all: the cause of the [`SourceError`]. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotTried {
    /// As many calls waited for others to end as may: see [`HttpSourceBuilder::max_queued`](crate::HttpSourceBuilder::max_queued).
    QueueFull,
    /// The breaker is open: too many of the last attempts failed.
    BreakerOpen,
}

impl fmt::Display for NotTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueueFull => "nothing was sent: too many calls wait for the origin already",
            Self::BreakerOpen => "nothing was sent: the origin failed too often, and is left alone for a while",
        })
    }
}

impl Error for NotTried {}

impl NotTried {
    fn error(self, retry_after: Option<Duration>) -> SourceError {
        let error = SourceError::new(Failure::Unreachable, self.to_string()).with_cause(self);
        match retry_after {
            Some(after) => error.with_retry_after(after),
            None => error,
        }
    }
}

/// What the calls of a source share.
pub(crate) struct Traffic {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gate: Gate,
    pub(crate) fuse: Option<Fuse>,
    pub(crate) retries: Retries,
    budget: Budget,
    counts: Counts,
    chance: AtomicU64,
}

impl Traffic {
    pub(crate) fn new(clock: Arc<dyn Clock>, gate: Gate, fuse: Option<Fuse>, retries: Retries) -> Self {
        let budget = Budget::new(retries.budget_percent, retries.burst);
        let chance = AtomicU64::new(RandomState::new().hash_one(0));
        Self { clock, gate, fuse, retries, budget, counts: Counts::default(), chance }
    }

    /// The attempts of a call that has `left` to go and may be attempted `again` so many times.
    ///
    /// # Errors
    /// No time is left.
    pub(crate) fn attempts(&self, left: Duration, again: u32) -> Result<Attempts<'_>, SourceError> {
        if left.is_zero() {
            return Err(out_of_time("the deadline had passed before anything was sent"));
        }
        Ok(Attempts { traffic: self, end: self.clock.now().after(left), begun: 0, again })
    }

    pub(crate) fn stats(&self) -> SourceStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        let (in_flight, queued) = self.gate.crowd();
        let breaker = self.fuse.as_ref().map(|fuse| {
            let (state, openings, probes) = fuse.seen(&*self.clock);
            BreakerStats { state, openings, probes }
        });
        SourceStats {
            attempts: of(&counts.attempts),
            retries: of(&counts.retries),
            retries_over_budget: of(&counts.over_budget),
            // Before the sum that they are part of.
            redirected: of(&counts.redirected),
            answered: of(&counts.answered),
            refused: of(&counts.refused),
            failed: of(&counts.failed),
            broken: of(&counts.broken),
            timed_out: of(&counts.timed_out),
            unreachable: of(&counts.unreachable),
            queue_full: of(&counts.queue_full),
            queue_timed_out: of(&counts.queue_timed_out),
            breaker_refused: of(&counts.breaker_refused),
            credentials_renewed: 0,
            durations: counts.durations.seen(),
            connections_made: 0,
            connections: 0,
            in_flight,
            queued,
            breaker,
        }
    }

    /// A number that nobody foresees (splitmix64).
    fn random(&self) -> u64 {
        let mut z = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn refused_by_breaker(&self, wait: Duration) -> SourceError {
        count(&self.counts.breaker_refused);
        // Of a probe under way nobody knows when it ends.
        NotTried::BreakerOpen.error((!wait.is_zero()).then_some(wait))
    }
}

fn out_of_time(words: &str) -> SourceError {
    SourceError::new(Failure::TimedOut, words)
}

/// The attempts of one call: one deadline, divided among them and the pauses between.
pub(crate) struct Attempts<'a> {
    traffic: &'a Traffic,
    end: Tick,
    begun: u32,
    /// How many more there may be after the one that is begun.
    again: u32,
}

impl<'a> Attempts<'a> {
    /// Begins the next attempt. `cut`: it may be cut short, for the next one to have time.
    ///
    /// # Errors
    /// Nothing was sent of this attempt, and nothing will be.
    pub(crate) fn begin(&mut self, reuse: Reuse, cut: bool) -> Result<Attempt<'a>, SourceError> {
        let traffic = self.traffic;
        let clock = &*traffic.clock;
        // Before the queue too, so that nobody waits in order to be refused.
        if let Some(wait) = traffic.fuse.as_ref().and_then(|fuse| fuse.refuses(clock)) {
            return Err(traffic.refused_by_breaker(wait));
        }
        let place = traffic.gate.enter(clock, self.end).map_err(|why| match why {
            NoPlace::Full => {
                count(&traffic.counts.queue_full);
                NotTried::QueueFull.error(None)
            }
            NoPlace::TimedOut => {
                count(&traffic.counts.queue_timed_out);
                out_of_time("the deadline passed before anything was sent, while the call waited for others to end")
            }
        })?;
        let mut left = self.end.since(clock.now());
        if left.is_zero() {
            return Err(out_of_time("the deadline passed before anything was sent"));
        }
        if cut && self.again > 0 {
            left = traffic.retries.attempt_timeout.map_or(left, |timeout| timeout.min(left));
        }
        let pass = match &traffic.fuse {
            Some(fuse) => Some(fuse.pass(clock).map_err(|wait| traffic.refused_by_breaker(wait))?),
            None => None,
        };
        count(&traffic.counts.attempts);
        if self.begun == 0 {
            traffic.budget.earn();
        } else {
            count(&traffic.counts.retries);
        }
        self.begun += 1;
        report::attempt(self.begun);
        let begun = Instant::now();
        let call = Call::begin(begun + left, reuse);
        Ok(Attempt { call, traffic, pass, begun, asked: SystemTime::now(), came_to: Class::Broken, _place: place })
    }

    /// Whether there is to be another attempt: then the pause before it is over. `after`: what the origin asked for.
    ///
    /// The attempt before must have ended: what waits holds no place.
    pub(crate) fn again(&mut self, after: Option<Duration>) -> bool {
        let traffic = self.traffic;
        let clock = &*traffic.clock;
        if self.again == 0 || traffic.fuse.as_ref().is_some_and(|fuse| fuse.refuses(clock).is_some()) {
            return false;
        }
        let pause = traffic.retries.pause(self.begun, traffic.random()).saturating_add(after.unwrap_or_default());
        let at = clock.now().after(pause);
        if at >= self.end {
            return false;
        }
        if !traffic.budget.spend() {
            count(&traffic.counts.over_budget);
            report::over_budget();
            return false;
        }
        self.again -= 1;
        report::retry(self.begun, pause);
        wait::until(clock, at);
        true
    }

    /// The time that is left to the call.
    pub(crate) fn left(&self) -> Duration {
        self.end.since(self.traffic.clock.now())
    }

    /// Whether [`Attempts::again`] may say so.
    pub(crate) fn may_go_on(&self) -> bool {
        self.again > 0
    }
}

/// One attempt, under way in this thread until it is dropped.
pub(crate) struct Attempt<'a> {
    call: Call,
    traffic: &'a Traffic,
    pass: Option<Pass>,
    begun: Instant,
    asked: SystemTime,
    came_to: Class,
    _place: Place<'a>,
}

impl Attempt<'_> {
    /// When it began, by the clock that the dates of its answer are held against.
    pub(crate) fn asked(&self) -> SystemTime {
        self.asked
    }

    /// The origin answered with this status.
    pub(crate) fn answered(&mut self, status: u16) {
        self.came_to = Class::of_status(status);
    }

    /// There is no whole answer: what the transport's count proves.
    pub(crate) fn unanswered(&mut self) -> Unanswered {
        let seen = self.call.seen();
        let unanswered = classify::unanswered(seen.offered, Instant::now() >= seen.deadline);
        let (Unanswered::NotSent(failure) | Unanswered::Sent(failure)) = unanswered;
        self.came_to = Class::of_failure(failure);
        unanswered
    }

    /// The request went out on a kept connection that was dead, as far as can be seen, and there is time for another.
    pub(crate) fn met_a_dead_connection(&self) -> bool {
        let seen = self.call.seen();
        seen.reused && !seen.answered && Instant::now() < seen.deadline
    }

    /// Begins the exchange once more, on a new connection.
    pub(crate) fn anew(&mut self) {
        self.call.anew(Reuse::Never);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.traffic.counts.ended(self.came_to, self.begun.elapsed());
        if let (Some(fuse), Some(pass)) = (&self.traffic.fuse, self.pass) {
            fuse.told(pass, self.came_to.is_failure(), &*self.traffic.clock);
        }
    }
}
