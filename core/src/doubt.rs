//! A doubt as the program sees it: the handle to wait on, and the count of places for doubts.
//!
//! The slot decides when a doubt begins, is prolonged and ends; this file only tells those who wait.
//! Invariant: a ticket that is settled never becomes unsettled again.

use std::error::Error;
use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::drive::Parker;
use crate::source::SourceError;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};

/// A write whose outcome nobody knows. Waiting on it tells when the key is no longer in doubt; what then is true, a read
/// shows. Dropping it changes nothing.
#[derive(Clone)]
pub struct InDoubt {
    ticket: Arc<DoubtTicket>,
    cause: SourceError,
}

impl InDoubt {
    pub(crate) fn new(ticket: Arc<DoubtTicket>, cause: SourceError) -> Self {
        Self { ticket, cause }
    }

    /// Why the outcome is not known.
    #[must_use]
    pub fn cause(&self) -> &SourceError {
        &self.cause
    }

    /// How long until the doubt ends by itself; zero when it is settled. A later write of the key that ends unknown
    /// prolongs it.
    #[must_use]
    pub fn settles_in(&self) -> Duration {
        self.ticket.settles_in()
    }

    /// Waits until the doubt is settled, for `timeout` at most. True if it is settled.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let clock = &self.ticket.clock;
        let end = clock.now().after(timeout);
        let parker = Parker::new();
        loop {
            let Poll::Pending = self.ticket.poll(&mut Context::from_waker(parker.waker())) else { return true };
            if clock.now() >= end {
                self.ticket.leave(parker.waker());
                return false;
            }
            parker.park_until(&**clock, end.min(self.ticket.until()));
        }
    }
}

impl fmt::Debug for InDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InDoubt").field("cause", &self.cause).field("settles_in", &self.settles_in()).finish()
    }
}

impl fmt::Display for InDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the outcome is not known: {}", self.cause)
    }
}

impl Error for InDoubt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// What the slot and the handles of one doubt share.
pub(crate) struct DoubtTicket {
    clock: Arc<dyn Clock>,
    state: Mutex<TicketState>,
}

struct TicketState {
    until: Tick,
    /// The deadline of a write that is out, and how long the doubt lasts if it is met.
    write_out: Option<(Tick, Tick)>,
    settled: bool,
    wakers: Vec<Waker>,
}

impl TicketState {
    /// The doubt's end as it stands at `now`: the slot is told of a deadline only when somebody comes by.
    fn until(&self, now: Tick) -> Tick {
        match self.write_out {
            Some((deadline, until)) if deadline <= now && deadline <= self.until => until.max(self.until),
            _ => self.until,
        }
    }
}

impl DoubtTicket {
    pub(crate) fn new(clock: Arc<dyn Clock>, until: Tick) -> Self {
        Self { clock, state: Mutex::new(TicketState { until, write_out: None, settled: false, wakers: Vec::new() }) }
    }

    pub(crate) fn prolong(&self, until: Tick) {
        let mut state = self.state.lock();
        state.until = state.until.max(until);
    }

    /// A write of the key was sent: not ended by `deadline`, it prolongs the doubt to `until`.
    pub(crate) fn write_sent(&self, deadline: Tick, until: Tick) {
        self.state.lock().write_out = Some((deadline, until));
    }

    pub(crate) fn write_ended(&self) {
        self.state.lock().write_out = None;
    }

    /// Marks it settled. The wakers are given back, to be woken once no lock is held.
    pub(crate) fn settle(&self) -> Vec<Waker> {
        let mut state = self.state.lock();
        state.settled = true;
        std::mem::take(&mut state.wakers)
    }

    fn until(&self) -> Tick {
        let now = self.clock.now();
        self.state.lock().until(now)
    }

    fn settles_in(&self) -> Duration {
        let now = self.clock.now();
        let state = self.state.lock();
        if state.settled { Duration::ZERO } else { state.until(now).since(now) }
    }

    /// Nobody waits with this waker any more.
    fn leave(&self, waker: &Waker) {
        let mut state = self.state.lock();
        let place = state.wakers.iter().position(|other| other.will_wake(waker));
        let left = place.map(|place| state.wakers.swap_remove(place));
        drop(state);
        drop(left);
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.settled || now >= state.until(now) {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// How many keys may be in doubt. Every write takes a place before it can be sent, so that a doubt cannot fail for want
/// of one.
pub(crate) struct DoubtPlaces {
    limit: usize,
    taken: AtomicUsize,
}

impl DoubtPlaces {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }

    pub(crate) fn take(self: &Arc<Self>) -> Option<DoubtPlace> {
        // Relaxed: a counter that guards no other memory.
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < self.limit).then_some(taken + 1))
            .ok()
            .map(|_| DoubtPlace(Arc::clone(self)))
    }
}

/// A place for one doubt, given back when dropped.
pub(crate) struct DoubtPlace(Arc<DoubtPlaces>);

impl Drop for DoubtPlace {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::source::Failure;

    #[test]
    fn waiting_again_and_again_leaves_no_wakers() {
        let clock = Arc::new(SystemClock::new());
        let until = clock.now().after(Duration::from_secs(3600));
        let ticket = Arc::new(DoubtTicket::new(clock, until));
        let doubt = InDoubt::new(Arc::clone(&ticket), SourceError::new(Failure::Broken, "broken"));
        for _ in 0..100 {
            assert!(!doubt.wait(Duration::ZERO));
        }
        assert_eq!(ticket.state.lock().wakers.len(), 0);
    }
}
