//! The breaker: what is asked no more when it fails too often.
//!
//! Closed, it counts the attempts of a sliding window. Once enough of them have failed it opens, and refuses all for a
//! while. Then it lets a single probe through: the origin that answers it closes the breaker, one that does not opens it
//! again. Pure arithmetic over ticks, under one lock that is held for moments.
//!
//! Invariant: what an attempt came to counts only in the state that let it through; of probes, one is out at most.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wtcache::{Clock, Tick};

use crate::report;

/// Parts of the window. What is older than a whole window is forgotten a part at a time.
const PARTS: u64 = 10;

/// When the breaker of a source opens, and for how long. For [`HttpSourceBuilder::breaker`](crate::HttpSourceBuilder::breaker).
///
/// An attempt has failed if it brought no answer (it could not connect, the connection broke, its time was up), or one
/// with a status of 5xx or 408. Refusals (other 4xx) show an origin that works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breaker {
    /// How far back attempts count. Default 10 s.
    pub window: Duration,
    /// How many attempts in the window it takes to judge. Default 20.
    pub calls: u32,
    /// It opens when this share of them, in percent, has failed. Default 50.
    pub failures_percent: u32,
    /// How long it stays open before it lets a probe through. Default 5 s.
    pub open_for: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        let (window, open_for) = (Duration::from_secs(10), Duration::from_secs(5));
        Self { window, calls: 20, failures_percent: 50, open_for }
    }
}

impl Breaker {
    /// One with all defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with another [`Breaker::window`].
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The same with another [`Breaker::calls`].
    #[must_use]
    pub fn calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self
    }

    /// The same with another [`Breaker::failures_percent`].
    #[must_use]
    pub fn failures_percent(mut self, percent: u32) -> Self {
        self.failures_percent = percent;
        self
    }

    /// The same with another [`Breaker::open_for`].
    #[must_use]
    pub fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }
}

/// What the breaker of a source does: see [`HttpSource::stats`](crate::HttpSource::stats).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Every attempt goes to the origin.
    Closed,
    /// None does.
    Open,
    /// It was open for its time: the next attempt is a probe, or one is under way and all others are refused.
    HalfOpen,
}

/// That an attempt was let through, and by which state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    epoch: u64,
}

/// The breaker at work.
pub(crate) struct Fuse {
    options: Breaker,
    /// What events call the origin.
    origin: Arc<str>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// Moves with the phase.
    epoch: u64,
    window: Window,
    openings: u64,
    probes: u64,
}

#[derive(Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Tick },
    Probing,
}

impl State {
    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
        self.window.clear();
    }
}

impl Fuse {
    pub(crate) fn new(options: Breaker, origin: Arc<str>) -> Self {
        let window = Window::new(options.window);
        let state = State { phase: Phase::Closed, epoch: 0, window, openings: 0, probes: 0 };
        Self { options, origin, state: Mutex::new(state) }
    }

    /// Whether an attempt would be refused now, and for how long as far as is known. Lets nobody through.
    pub(crate) fn refuses(&self, clock: &dyn Clock) -> Option<Duration> {
        refused(self.state().phase, clock)
    }

    /// Lets an attempt through, or says for how long none is, as far as is known.
    pub(crate) fn pass(&self, clock: &dyn Clock) -> Result<Pass, Duration> {
        let mut state = self.state();
        if let Some(wait) = refused(state.phase, clock) {
            return Err(wait);
        }
        if let Phase::Open { .. } = state.phase {
            state.turn(Phase::Probing);
            state.probes += 1;
        }
        Ok(Pass { epoch: state.epoch })
    }

    /// What became of an attempt that was let through. Each is told once.
    pub(crate) fn told(&self, pass: Pass, failed: bool, clock: &dyn Clock) {
        let mut state = self.state();
        if pass.epoch != state.epoch {
            return;
        }
        let now = clock.now();
        match state.phase {
            Phase::Closed => {
                state.window.note(now, failed);
                let (calls, failures) = state.window.counts(now);
                let options = &self.options;
                if failed
                    && calls >= u64::from(options.calls)
                    && failures * 100 >= calls * u64::from(options.failures_percent)
                {
                    state.openings += 1;
                    state.turn(Phase::Open { until: now.after(options.open_for) });
                    drop(state);
                    report::opened(&self.origin, failures, calls);
                }
            }
            Phase::Probing if failed => {
                state.turn(Phase::Open { until: now.after(self.options.open_for) });
                drop(state);
                report::still_open(&self.origin);
            }
            Phase::Probing => {
                state.turn(Phase::Closed);
                drop(state);
                report::closed(&self.origin);
            }
            // Whoever is let through from there makes it probing.
            Phase::Open { .. } => {}
        }
    }

    /// Its state, how often it opened, and how many probes it let through.
    pub(crate) fn seen(&self, clock: &dyn Clock) -> (BreakerState, u64, u64) {
        let state = self.state();
        let shown = match state.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } if clock.now() < until => BreakerState::Open,
            Phase::Open { .. } | Phase::Probing => BreakerState::HalfOpen,
        };
        (shown, state.openings, state.probes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn refused(phase: Phase, clock: &dyn Clock) -> Option<Duration> {
    match phase {
        Phase::Closed => None,
        Phase::Open { until } => {
            let left = until.since(clock.now());
            (!left.is_zero()).then_some(left)
        }
        Phase::Probing => Some(Duration::ZERO),
    }
}

/// Attempts and failures of the latest while, in parts.
struct Window {
    part: Duration,
    /// The number of the part since the clock's start, attempts, failures.
    parts: [(u64, u64, u64); PARTS as usize],
}

impl Window {
    fn new(whole: Duration) -> Self {
        let part = (whole / PARTS as u32).max(Duration::from_nanos(1));
        Self { part, parts: [(0, 0, 0); PARTS as usize] }
    }

    fn number(&self, now: Tick) -> u64 {
        // A window is a day at most.
        now.as_nanos() / self.part.as_nanos() as u64
    }

    fn note(&mut self, now: Tick, failed: bool) {
        let number = self.number(now);
        let part = &mut self.parts[(number % PARTS) as usize];
        if part.0 != number {
            *part = (number, 0, 0);
        }
        part.1 += 1;
        part.2 += u64::from(failed);
    }

    fn counts(&self, now: Tick) -> (u64, u64) {
        let number = self.number(now);
        let recent = self.parts.iter().filter(|part| part.0 + PARTS > number);
        recent.fold((0, 0), |sum, part| (sum.0 + part.1, sum.1 + part.2))
    }

    fn clear(&mut self) {
        self.parts = [(0, 0, 0); PARTS as usize];
    }
}

#[cfg(test)]
mod tests {
    use wtcache_testkit::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn setup() -> (Fuse, ManualClock) {
        (Fuse::new(Breaker::new().calls(4).open_for(5 * SECOND), "origin".into()), ManualClock::new())
    }

    /// An attempt that begins and ends now.
    fn attempt(fuse: &Fuse, clock: &ManualClock, failed: bool) {
        let pass = fuse.pass(clock).expect("it is let through");
        fuse.told(pass, failed, clock);
    }

    fn state(fuse: &Fuse, clock: &ManualClock) -> BreakerState {
        fuse.seen(clock).0
    }

    fn opened() -> (Fuse, ManualClock) {
        let (fuse, clock) = setup();
        for _ in 0..4 {
            attempt(&fuse, &clock, true);
        }
        assert_eq!(fuse.seen(&clock), (BreakerState::Open, 1, 0));
        (fuse, clock)
    }

    #[test]
    fn it_opens_at_the_rate_and_not_before_there_are_enough_calls() {
        let (fuse, clock) = setup();
        for _ in 0..3 {
            attempt(&fuse, &clock, true);
        }
        assert_eq!(state(&fuse, &clock), BreakerState::Closed, "three of three, but four are needed");
        let (fuse, clock) = setup();
        for failed in [false, false, false, true, true] {
            attempt(&fuse, &clock, failed);
        }
        assert_eq!(state(&fuse, &clock), BreakerState::Closed, "two of five");
        attempt(&fuse, &clock, true);
        assert_eq!(state(&fuse, &clock), BreakerState::Open, "three of six");
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let (fuse, clock) = setup();
        for _ in 0..3 {
            attempt(&fuse, &clock, true);
        }
        clock.advance(10 * SECOND);
        attempt(&fuse, &clock, true);
        assert_eq!(state(&fuse, &clock), BreakerState::Closed);
        clock.advance(8 * SECOND);
        for _ in 0..3 {
            attempt(&fuse, &clock, true);
        }
        assert_eq!(state(&fuse, &clock), BreakerState::Open, "the one of 8 s ago counts");
    }

    #[test]
    fn open_it_says_for_how_long_and_lets_nobody_through() {
        let (fuse, clock) = opened();
        clock.advance(2 * SECOND);
        assert_eq!(fuse.pass(&clock).err(), Some(3 * SECOND));
        assert_eq!(fuse.refuses(&clock), Some(3 * SECOND));
    }

    #[test]
    fn half_open_it_lets_a_single_probe_through() {
        let (fuse, clock) = opened();
        clock.advance(5 * SECOND);
        assert_eq!(fuse.seen(&clock), (BreakerState::HalfOpen, 1, 0));
        assert_eq!(fuse.refuses(&clock), None);
        let probe = fuse.pass(&clock).expect("the probe");
        assert!(fuse.pass(&clock).is_err(), "one at a time");
        fuse.told(probe, true, &clock);
        assert_eq!(fuse.seen(&clock), (BreakerState::Open, 1, 1), "a probe that fails is no new opening");
        assert_eq!(fuse.pass(&clock).err(), Some(5 * SECOND));
        clock.advance(5 * SECOND);
        attempt(&fuse, &clock, false);
        assert_eq!(fuse.seen(&clock), (BreakerState::Closed, 1, 2));
        attempt(&fuse, &clock, true);
        assert_eq!(state(&fuse, &clock), BreakerState::Closed, "it counts from none again");
    }

    #[test]
    fn an_attempt_of_an_earlier_state_says_nothing() {
        let (fuse, clock) = setup();
        let slow = fuse.pass(&clock).expect("closed");
        for _ in 0..4 {
            attempt(&fuse, &clock, true);
        }
        fuse.told(slow, false, &clock);
        assert_eq!(state(&fuse, &clock), BreakerState::Open);
        clock.advance(5 * SECOND);
        let probe = fuse.pass(&clock).expect("the probe");
        fuse.told(slow, false, &clock);
        assert!(fuse.pass(&clock).is_err(), "the probe is still out");
        fuse.told(probe, false, &clock);
        assert_eq!(state(&fuse, &clock), BreakerState::Closed);
    }
}
