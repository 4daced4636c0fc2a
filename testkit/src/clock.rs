//! A clock that moves only when it is told to, and that a test can wait at.
//!
//! Invariant: time never goes back, and who is due when it moves is woken before `advance` returns.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wtcache::{Alarm, Clock, RECENT_LAG, Tick};

/// A clock in the hand of a test. Clones are the same clock.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    set: Condvar,
}

#[derive(Default)]
struct State {
    now: Tick,
    alarms: Vec<(Tick, Waker)>,
    ever_set: usize,
}

impl ManualClock {
    /// A clock that stands at one second.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self::default();
        clock.advance(Duration::from_secs(1));
        clock
    }

    /// The same clock as the cache takes it.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Clock> {
        Arc::new(self.clone())
    }

    /// Moves time on and wakes those who are due.
    pub fn advance(&self, by: Duration) {
        let due: Vec<Waker> = {
            let mut state = self.0.state.lock();
            state.now = state.now.after(by);
            let now = state.now;
            state.alarms.extract_if(.., |(at, _)| *at <= now).map(|(_, waker)| waker).collect()
        };
        for waker in due {
            waker.wake();
        }
    }

    /// How many alarms were set so far: whoever waits with a deadline sets one.
    #[must_use]
    pub fn alarms_ever_set(&self) -> usize {
        self.0.state.lock().ever_set
    }

    /// Waits until `count` alarms were set since the clock was made. False after ten seconds of real time: something else
    /// is wrong.
    #[must_use]
    pub fn wait_for_alarms(&self, count: usize) -> bool {
        let mut state = self.0.state.lock();
        let late = |state: &mut State| state.ever_set < count;
        !self.0.set.wait_while_for(&mut state, late, Duration::from_secs(10)).timed_out()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Tick {
        self.0.state.lock().now
    }

    /// As far behind as a clock may be: what the cache promises holds all the same.
    fn recent(&self) -> Tick {
        self.now().before(RECENT_LAG - Duration::from_nanos(1))
    }

    fn alarm(&self, at: Tick, waker: &Waker) -> Alarm {
        let mut state = self.0.state.lock();
        if at <= state.now {
            return Alarm::After(Duration::ZERO);
        }
        state.alarms.push((at, waker.clone()));
        state.ever_set += 1;
        self.0.set.notify_all();
        Alarm::Set
    }
}

/// A manual clock whose waiters sleep as they do by the system's: for real time, of which an hour is as good as for ever, and not until its
/// ticks. They count as [`ManualClock::wait_for_alarms`] counts.
pub struct HourlyClock(pub ManualClock);

impl Clock for HourlyClock {
    fn now(&self) -> Tick {
        self.0.now()
    }

    fn recent(&self) -> Tick {
        self.0.recent()
    }

    fn alarm(&self, at: Tick, waker: &Waker) -> Alarm {
        match self.0.alarm(at, waker) {
            Alarm::Set => Alarm::After(Duration::from_secs(3600)),
            due => due,
        }
    }
}
