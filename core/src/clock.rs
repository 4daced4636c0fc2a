//! Time: ticks, the clock trait, and the system's clock.
//!
//! Every instant in the crate is a [`Tick`] of the cache's clock; nothing else asks the system for the time.
//! Invariant: a clock never goes back.

#[cfg(feature = "tokio")]
use std::pin::Pin;
use std::task::Waker;
#[cfg(feature = "tokio")]
use std::task::{Context, Poll};
use std::time::Duration;
#[cfg(any(test, not(target_os = "linux")))]
use std::time::Instant;

#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};

#[cfg(feature = "tokio")]
use crate::sync::task::{Sleep, sleep};

/// A point in time: nanoseconds since the clock's own start. Comparable within one clock only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(u64);

impl Tick {
    /// The clock's start.
    pub const ZERO: Self = Self(0);
    /// Later than every instant a clock will reach (about 584 years).
    pub const NEVER: Self = Self(u64::MAX);

    /// The tick `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This tick and `duration` more; [`Tick::NEVER`] where that is past the end.
    #[must_use]
    #[inline]
    pub fn after(self, duration: Duration) -> Self {
        self.after_nanos(nanos(duration))
    }

    pub(crate) fn after_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// This tick and `duration` less; [`Tick::ZERO`] where that is before the start. [`Tick::NEVER`] stays that.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        if self == Self::NEVER {
            return self;
        }
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// How long after `earlier` this tick is; zero when it is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// In 64 bits; as many as there are where that is too few.
#[inline]
fn nanos(duration: Duration) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    duration.as_secs().saturating_mul(SECOND).saturating_add(duration.subsec_nanos().into())
}

/// How a wait until some tick is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// The caller sleeps this long at most, in real time, and then asks for the time again.
    After(Duration),
    /// The clock keeps the waker and wakes it at that tick; the caller sleeps until it is woken.
    Set,
}

/// By how much [`Clock::recent`] may be behind [`Clock::now`].
pub const RECENT_LAG: Duration = Duration::from_millis(250);

/// Whether the tick `at` has come. Asks the cheap clock first.
pub(crate) fn has_come(clock: &dyn Clock, at: Tick) -> bool {
    at != Tick::NEVER && has_come_by(clock, at, clock.recent())
}

/// [`has_come`], for who knows what [`Clock::recent`] has just said.
pub(crate) fn has_come_by(clock: &dyn Clock, at: Tick, recent: Tick) -> bool {
    at <= recent || (at <= recent.after(RECENT_LAG) && at <= clock.now())
}

/// The source of time. The default is [`SystemClock`]; a test puts in one that it moves by hand.
///
/// # Threads
/// All methods may be called from any thread at once, also while the cache serves other calls. They are called under the
/// cache's locks, and must not call it.
pub trait Clock: Send + Sync + 'static {
    /// The present tick. Never earlier than one it gave before.
    fn now(&self) -> Tick;

    /// A tick that is cheaper to come by than [`Clock::now`]: not later than that, and behind it by less than [`RECENT_LAG`]. The cache
    /// asks for `now` only where that could make a difference.
    fn recent(&self) -> Tick {
        self.now()
    }

    /// Arranges that a waiter with `waker` learns of tick `at`. It may be woken early or twice.
    fn alarm(&self, at: Tick, waker: &Waker) -> Alarm;
}

/// What wakes a task that waits for a tick. Dropped, it does not.
#[cfg(feature = "tokio")]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

#[cfg(feature = "tokio")]
impl Timer {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// Arranges that the task is polled again at `until`, and waits.
    pub(crate) fn wait<T>(&mut self, clock: &dyn Clock, until: Tick, cx: &mut Context<'_>) -> Poll<T> {
        if let Alarm::After(duration) = clock.alarm(until, cx.waker()) {
            let mut sleep = Box::pin(sleep(duration));
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.0 = Some(sleep);
        }
        Poll::Pending
    }
}

/// The system's monotonic clock, counted from when this value was made.
///
/// Where the system keeps a coarse one beside it (Linux), [`Clock::recent`] reads that. It moves with the system's timer, every 1 to
/// 10 ms. Assumed: while a thread of the program runs, the timer does not stand still for as long as [`RECENT_LAG`].
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    #[cfg(not(target_os = "linux"))]
    start: Instant,
    #[cfg(target_os = "linux")]
    linux: Linux,
}

/// The system's two monotonic clocks, which count alike, from when this value was made.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
struct Linux {
    start: u64,
}

#[cfg(target_os = "linux")]
impl Linux {
    fn new() -> Self {
        // From the exact one: the coarse one may stand before it, and would then seem to be ahead.
        Self { start: Self::nanos(ClockId::Monotonic) }
    }

    fn tick(self, clock: ClockId) -> Tick {
        Tick(Self::nanos(clock).saturating_sub(self.start))
    }

    fn nanos(clock: ClockId) -> u64 {
        let time = clock_gettime(clock);
        // Neither is negative, by the system's word.
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            #[cfg(not(target_os = "linux"))]
            start: Instant::now(),
            #[cfg(target_os = "linux")]
            linux: Linux::new(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[cfg(not(target_os = "linux"))]
    fn now(&self) -> Tick {
        Tick::ZERO.after(self.start.elapsed())
    }

    #[cfg(target_os = "linux")]
    fn now(&self) -> Tick {
        self.linux.tick(ClockId::Monotonic)
    }

    #[cfg(target_os = "linux")]
    fn recent(&self) -> Tick {
        self.linux.tick(ClockId::MonotonicCoarse)
    }

    fn alarm(&self, at: Tick, _waker: &Waker) -> Alarm {
        Alarm::After(at.since(self.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_clock_counts_from_when_it_was_made() {
        let before = Instant::now();
        let clock = SystemClock::new();
        let first = clock.now();
        while clock.now() == first {
            assert!(before.elapsed() < Duration::from_secs(10), "it stands still");
        }
        let now = clock.now();
        assert!(now > first && now.since(Tick::ZERO) <= before.elapsed());
    }

    #[test]
    fn ticks_saturate_at_both_ends() {
        assert_eq!(Tick::from_nanos(5).after(Duration::MAX), Tick::NEVER);
        assert_eq!(Tick::from_nanos(5).since(Tick::from_nanos(9)), Duration::ZERO);
        assert_eq!(Tick::from_nanos(9).since(Tick::from_nanos(5)), Duration::from_nanos(4));
    }
}
