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
use crate::engine::Engine;
use crate::entry::{Layout, SharedKey};
use crate::slot::PermitId;
use crate::source::{Condition, IdempotencyKey, SourceError};
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, Weak};

/// What became of a write in doubt, once that is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// It was applied, and nothing of it is under way any more.
    Applied,
    /// It was not applied, and never will be.
    NotApplied,
    /// Nothing of it is under way any more. Whether it was applied is not known: a read shows what is there.
    Over,
}

/// A write whose outcome nobody knows: the handle to wait for the end of the doubt, to [send it again](InDoubt::replay), or to
/// [settle it by hand](InDoubt::settle). Dropping it changes nothing; while it is held, so is the value that was to be
/// written.
///
/// It does not keep its cache alive, so that an error value may be kept for as long as one likes. Once the last handle on the cache is
/// gone, it is to this one as if it had been closed: nothing is sent again ([`NotSent::Closed`](crate::NotSent::Closed)), and
/// what it tells of the write goes by what was known then, and by the clock.
///
/// # Threads
/// All methods may be called from any thread at once. Clones are handles on the same write.
pub struct InDoubt<L: Layout> {
    ticket: Arc<DoubtTicket>,
    cause: SourceError,
    write: Arc<Doubted<L>>,
}

impl<L: Layout> Clone for InDoubt<L> {
    fn clone(&self) -> Self {
        Self { ticket: Arc::clone(&self.ticket), cause: self.cause.clone(), write: Arc::clone(&self.write) }
    }
}

/// What a write sends.
pub(crate) enum Sending<L: Layout> {
    Put(L::Value),
    Delete,
}

/// A write that ended unknown, with what it takes to send it again. All handles on it share this.
pub(crate) struct Doubted<L: Layout> {
    engine: Weak<Engine<L>>,
    pub(crate) hash: u64,
    pub(crate) key: SharedKey<L>,
    /// The permit of its first send, and when that was. What a replay is told may be as old.
    pub(crate) permit: PermitId,
    pub(crate) since: Tick,
    pub(crate) idempotency_key: IdempotencyKey,
    pub(crate) condition: Option<Condition>,
    /// `None` where the program did the sending.
    pub(crate) sending: Option<Sending<L>>,
    became: Mutex<Option<Settlement>>,
}

impl<L: Layout> Doubted<L> {
    pub(crate) fn new(
        (engine, hash, key): (&Arc<Engine<L>>, u64, SharedKey<L>),
        (permit, since, idempotency_key): (PermitId, Tick, IdempotencyKey),
        condition: Option<Condition>,
        sending: Option<Sending<L>>,
    ) -> Self {
        let (engine, became) = (Arc::downgrade(engine), Mutex::new(None));
        Self { engine, hash, key, permit, since, idempotency_key, condition, sending, became }
    }

    /// The cache that sent it, if that is still there.
    pub(crate) fn engine(&self) -> Option<Arc<Engine<L>>> {
        self.engine.upgrade()
    }

    /// What is known of it from now on. Told before the doubt ends, so that whoever waited for that finds it.
    pub(crate) fn became(&self, settlement: Settlement) {
        *self.became.lock() = Some(settlement);
    }
}

impl<L: Layout> InDoubt<L> {
    pub(crate) fn new(ticket: Arc<DoubtTicket>, cause: SourceError, write: Arc<Doubted<L>>) -> Self {
        Self { ticket, cause, write }
    }

    pub(crate) fn write(&self) -> &Arc<Doubted<L>> {
        &self.write
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn ticket(&self) -> &DoubtTicket {
        &self.ticket
    }

    /// Why the outcome is not known.
    #[must_use]
    pub fn cause(&self) -> &SourceError {
        &self.cause
    }

    /// The key of the write.
    #[must_use]
    pub fn key(&self) -> &L::Key {
        L::key(&self.write.key)
    }

    /// The idempotency key under which every send of the write goes out.
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        self.write.idempotency_key
    }

    /// How long until the key's doubt ends by itself; zero when it is settled. A later write of the key that ends unknown
    /// prolongs it.
    #[must_use]
    pub fn settles_in(&self) -> Duration {
        self.ticket.settles_in()
    }

    /// What became of the write; `None` while it may still be under way. Calls nothing and never waits.
    #[must_use]
    pub fn outcome(&self) -> Option<Settlement> {
        let became = *self.write.became.lock();
        became.or_else(|| self.ticket.outcome())
    }

    /// Waits until the key's doubt is settled, for `timeout` at most. True if it is settled: then [`InDoubt::outcome`] says what
    /// is known of this write.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.ticket.wait(timeout)
    }
}

impl<L: Layout> fmt::Debug for InDoubt<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InDoubt").field("cause", &self.cause).field("settles_in", &self.settles_in()).finish()
    }
}

impl<L: Layout> fmt::Display for InDoubt<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the outcome is not known: {}", self.cause)
    }
}

impl<L: Layout> Error for InDoubt<L> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// What the slot and the handles of one doubt share.
pub(crate) struct DoubtTicket {
    clock: Arc<dyn Clock>,
    /// When the doubt began.
    pub(crate) since: Tick,
    state: Mutex<TicketState>,
}

struct TicketState {
    until: Tick,
    /// The deadline of a write that is out, and how long the doubt lasts if it is met.
    write_out: Option<(Tick, Tick)>,
    settled: bool,
    /// What the program told of all its writes.
    told: Option<Settlement>,
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
    pub(crate) fn new(clock: Arc<dyn Clock>, since: Tick, until: Tick) -> Self {
        let state = TicketState { until, write_out: None, settled: false, told: None, wakers: Vec::new() };
        Self { clock, since, state: Mutex::new(state) }
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

    /// The program is about to settle it, and says what became of its writes.
    pub(crate) fn tell(&self, settlement: Settlement) {
        self.state.lock().told = Some(settlement);
    }

    /// How long it lasted: it is over now, or was when its time had come.
    pub(crate) fn lasted(&self) -> Duration {
        let now = self.clock.now();
        self.state.lock().until(now).min(now).since(self.since)
    }

    /// Marks it settled. The wakers are given back, to be woken once no lock is held.
    pub(crate) fn settle(&self) -> Vec<Waker> {
        let mut state = self.state.lock();
        state.settled = true;
        std::mem::take(&mut state.wakers)
    }

    fn wait(&self, timeout: Duration) -> bool {
        let end = self.clock.now().after(timeout);
        let parker = Parker::new();
        loop {
            let Poll::Pending = self.poll(&mut Context::from_waker(parker.waker())) else { return true };
            if self.clock.now() >= end {
                self.leave(parker.waker());
                return false;
            }
            parker.park_until(&*self.clock, end.min(self.until()));
        }
    }

    fn outcome(&self) -> Option<Settlement> {
        let now = self.clock.now();
        let state = self.state.lock();
        let over = state.settled || now >= state.until(now);
        over.then(|| state.told.unwrap_or(Settlement::Over))
    }

    pub(crate) fn until(&self) -> Tick {
        let now = self.clock.now();
        self.state.lock().until(now)
    }

    fn settles_in(&self) -> Duration {
        let now = self.clock.now();
        let state = self.state.lock();
        if state.settled { Duration::ZERO } else { state.until(now).since(now) }
    }

    /// Nobody waits with this waker any more.
    pub(crate) fn leave(&self, waker: &Waker) {
        let mut state = self.state.lock();
        let place = state.wakers.iter().position(|other| other.will_wake(waker));
        let left = place.map(|place| state.wakers.swap_remove(place));
        drop(state);
        drop(left);
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
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

    #[test]
    fn waiting_again_and_again_leaves_no_wakers() {
        let clock = Arc::new(SystemClock::new());
        let since = clock.now();
        let ticket = DoubtTicket::new(clock, since, since.after(Duration::from_secs(3600)));
        for _ in 0..100 {
            assert!(!ticket.wait(Duration::ZERO));
        }
        assert_eq!(ticket.state.lock().wakers.len(), 0);
    }
}
