//! Taking the turn of a key: writers of a key go one after the other, in the order they came.
//!
//! A story of its own: it ends with the permit, or with the reason why nothing may be sent. Invariant: a ticket that was granted
//! the turn and is not used gives it back.

use std::convert::Infallible;
use std::task::Waker;

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::commit::{self, Permit, Prepared};
use crate::doubt::{DoubtPlace, InDoubt};
use crate::drive::{SourceCall, Step, Story};
use crate::engine::Engine;
use crate::entry::{Layout, SharedKey};
use crate::error::NotSent;
use crate::layers::{Layer, Op, PendingPlace};
use crate::nesting::Nesting;
use crate::options::{Call, InDoubtWrites};
use crate::slot::PermitId;
use crate::source::{IdempotencyKey, Lifetime, SourceError};
use crate::sync::{Arc, Mutex};

/// A writer in the queue of a key.
pub(crate) struct Ticket {
    pub(crate) permit: PermitId,
    pub(crate) deadline: Tick,
    /// While the key is in doubt, others go first.
    pub(crate) yields_to_doubt: bool,
    /// Of a pending write: it is settled also while the cache closes.
    pub(crate) is_pending: bool,
    state: Mutex<TicketState>,
}

struct TicketState {
    phase: Phase,
    waker: Option<Waker>,
    place: Option<DoubtPlace>,
    /// Its owner comes by at this tick at the latest.
    wakes_at: Tick,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Waiting,
    Granted,
    Closed,
    Cancelled,
}

impl Ticket {
    pub(crate) fn new(
        (permit, deadline): (PermitId, Tick),
        yields_to_doubt: bool,
        is_pending: bool,
        (waker, place, wakes_at): (&Waker, Option<DoubtPlace>, Tick),
    ) -> Arc<Self> {
        let state = TicketState { phase: Phase::Waiting, waker: Some(waker.clone()), place, wakes_at };
        Arc::new(Self { permit, deadline, yields_to_doubt, is_pending, state: Mutex::new(state) })
    }

    /// Its owner comes by at this tick at the latest.
    pub(crate) fn comes_by(&self, at: Tick) {
        self.state.lock().wakes_at = at;
    }

    /// It has the turn. The waker is to be woken once no lock is held.
    pub(crate) fn grant(&self) -> (Option<Waker>, Option<DoubtPlace>) {
        let mut state = self.state.lock();
        state.phase = Phase::Granted;
        (state.waker.take(), state.place.take())
    }

    pub(crate) fn close(&self) -> Option<Waker> {
        self.end(Phase::Closed)
    }

    /// The program took its write back; it is not in the queue any more.
    pub(crate) fn cancel(&self) -> Option<Waker> {
        self.end(Phase::Cancelled)
    }

    fn end(&self, phase: Phase) -> Option<Waker> {
        let mut state = self.state.lock();
        state.phase = phase;
        state.waker.take()
    }

    /// Something changed that it has to look at.
    pub(crate) fn nudge(&self) -> Option<Waker> {
        self.state.lock().waker.take()
    }

    /// Time will change something at `at`, and its owner is to come by then.
    pub(crate) fn nudge_before(&self, at: Tick) -> Option<Waker> {
        let mut state = self.state.lock();
        if at < state.wakes_at { state.waker.take() } else { None }
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Phase {
        let mut state = self.state.lock();
        let phase = state.phase;
        let before = if phase == Phase::Waiting { state.waker.replace(waker.clone()) } else { None };
        // A waker's drop is somebody else's code.
        drop(state);
        drop(before);
        phase
    }
}

/// How far a writer came.
pub(crate) enum TurnStep<L: Layout> {
    Ready(Result<Prepared<L>, NotSent>),
    Wait(Tick),
}

/// A writer on its way to its turn.
pub(crate) struct TakeTurn<L: Layout> {
    engine: Arc<Engine<L>>,
    hash: u64,
    key: SharedKey<L>,
    begun: Tick,
    deadline: Tick,
    nesting: Nesting,
    yields_to_doubt: bool,
    permit: PermitId,
    idempotency_key: IdempotencyKey,
    lifetime: Lifetime,
    ticket: Option<Arc<Ticket>>,
    is_pending: bool,
    /// What is shown from the step on in which it enters the queue.
    layer: Option<(Op<L>, PendingPlace)>,
    /// The permit that it ended with.
    granted: Option<PermitId>,
}

impl<L: Layout> TakeTurn<L> {
    /// `conditional`: the write will go out with a condition that the origin honours.
    pub(crate) fn new(engine: &Arc<Engine<L>>, hash: u64, key: SharedKey<L>, call: &Call, conditional: bool) -> Self {
        let (permit, begun) = (engine.new_permit(), engine.clock.now());
        Self {
            hash,
            key,
            begun,
            deadline: engine.deadline_of(call, begun),
            nesting: Nesting::of(engine.frame(hash), call.scope.as_ref()),
            yields_to_doubt: engine.in_doubt_writes == InDoubtWrites::Wait && !conditional,
            idempotency_key: call.idempotency_key.unwrap_or_else(|| engine.idempotency_key(permit)),
            lifetime: call.lifetime,
            permit,
            ticket: None,
            is_pending: false,
            layer: None,
            granted: None,
            engine: Arc::clone(engine),
        }
    }

    /// A pending write: shown from its first step on, which is the only one that a caller waits for.
    pub(crate) fn pending(mut self, call: &Call, op: Op<L>, place: PendingPlace) -> Self {
        self.deadline = self.engine.settle_deadline_of(call, self.begun);
        (self.is_pending, self.layer) = (true, Some((op, place)));
        // Pending writes of a key keep their order, whatever their conditions.
        self.yields_to_doubt = self.engine.in_doubt_writes == InDoubtWrites::Wait;
        self
    }

    /// Its place in the queue, while it waits there.
    pub(crate) fn ticket(&self) -> Option<&Arc<Ticket>> {
        self.ticket.as_ref()
    }

    pub(crate) fn step(&mut self, waker: &Waker) -> TurnStep<L> {
        let Some(ticket) = self.ticket.clone() else {
            return match self.arrive(waker) {
                Ok(step) => step,
                Err(why) => TurnStep::Ready(Err(why)),
            };
        };
        loop {
            match ticket.poll(waker) {
                Phase::Granted => {
                    self.ticket = None;
                    return TurnStep::Ready(Ok(Prepared::new(self.permit(ticket.permit))));
                }
                Phase::Closed => return self.give_up(&ticket, NotSent::Closed),
                Phase::Cancelled => return self.give_up(&ticket, NotSent::Cancelled),
                Phase::Waiting => {}
            }
            let now = self.engine.clock.now();
            if now >= self.deadline {
                return self.give_up(&ticket, NotSent::Deadline);
            }
            // Brings the slot up to the present, which may be what grants the turn.
            let (yields, deadline) = (self.yields_to_doubt, self.deadline);
            let (doubt_until, wakes_at) = self.engine.at_key(self.hash, L::key(&self.key), |at| {
                let Some(cell) = at.cell() else { return (None, deadline) };
                let wakes_at = deadline.min(cell.slot.next_tick());
                ticket.comes_by(wakes_at);
                (cell.slot.doubt().filter(|_| yields).map(|doubt| doubt.until), wakes_at)
            });
            if let Some(until) = doubt_until.filter(|until| *until >= self.deadline) {
                return self.give_up(&ticket, NotSent::HeldBack { retry_after: until.since(now) });
            }
            if ticket.poll(waker) == Phase::Waiting {
                return TurnStep::Wait(wakes_at);
            }
        }
    }

    /// The first step: takes the turn if it is free, else a place in the queue.
    fn arrive(&mut self, waker: &Waker) -> Result<TurnStep<L>, NotSent> {
        let engine = &self.engine;
        if let Some(len) = engine.too_long(L::key(&self.key)) {
            return Err(NotSent::KeyTooLong(len));
        }
        if self.nesting.same_key {
            return Err(NotSent::Reentrant);
        }
        if engine.has_come(self.deadline) {
            return Err(NotSent::Deadline);
        }
        let mut place = Some(engine.take_place().ok_or(NotSent::TooManyDoubts)?);
        let permit = self.permit;
        let (deadline, yields, is_pending) = (self.deadline, self.yields_to_doubt, self.is_pending);
        let mut layer = self.layer.take().map(|(op, place)| Layer { write: permit, op, _place: place });
        let queued = engine.at_key(self.hash, L::key(&self.key), |at| {
            if engine.is_closed() {
                return Err(NotSent::Closed);
            }
            let cell = at.open(&self.key);
            let held_until = cell.slot.doubt().filter(|_| yields).map(|doubt| doubt.until);
            match held_until {
                Some(until) if until >= deadline || self.nesting.is_nested() => {
                    return Err(NotSent::HeldBack { retry_after: until.since(engine.clock.now()) });
                }
                None if cell.slot.turn_is_free() => {
                    at.prepare(permit, deadline, place.take().expect("taken above"));
                    if let Some(layer) = layer.take() {
                        at.add_layer(layer);
                    }
                    return Ok(None);
                }
                _ => {}
            }
            if self.nesting.is_nested() && !is_pending {
                return Err(NotSent::Busy);
            }
            if cell.queue.len() >= engine.turn_queue {
                return Err(NotSent::QueueFull);
            }
            let wakes_at = deadline.min(cell.slot.next_tick());
            let ticket = Ticket::new((permit, deadline), yields, is_pending, (waker, place.take(), wakes_at));
            if is_pending && bugs::has(Bug::PendingOutOfOrder) {
                cell.queue.push_front(Arc::clone(&ticket));
            } else {
                cell.queue.push_back(Arc::clone(&ticket));
            }
            if let Some(layer) = layer.take() {
                at.add_layer(layer);
            }
            Ok(Some((ticket, wakes_at)))
        })?;
        Ok(match queued {
            None => TurnStep::Ready(Ok(Prepared::new(self.permit(permit)))),
            Some((ticket, wakes_at)) => {
                self.ticket = Some(ticket);
                TurnStep::Wait(wakes_at)
            }
        })
    }

    /// Its write was sent, and nobody knows what became of it.
    pub(crate) fn left_a_doubt(&self) -> bool {
        self.granted.is_some_and(|permit| commit::is_in_doubt(&self.engine, self.hash, L::key(&self.key), permit))
    }

    /// What is to be said of its write, where nobody knows what became of the permit.
    pub(crate) fn lost(&self, cause: SourceError) -> InDoubt<L> {
        let permit = self.granted.expect("the turn was taken");
        commit::lost((&self.engine, self.hash, &self.key), (permit, self.idempotency_key), cause)
    }

    fn permit(&mut self, id: PermitId) -> Permit<L> {
        self.granted = Some(id);
        Permit {
            engine: Arc::clone(&self.engine),
            hash: self.hash,
            key: Arc::clone(&self.key),
            id,
            deadline: self.deadline,
            idempotency_key: self.idempotency_key,
            lifetime: self.lifetime,
            is_pending: self.is_pending,
        }
    }

    fn give_up(&mut self, ticket: &Arc<Ticket>, why: NotSent) -> TurnStep<L> {
        self.ticket = None;
        self.engine.at_key(self.hash, L::key(&self.key), |at| at.leave_queue(ticket));
        TurnStep::Ready(Err(why))
    }
}

/// Taking the turn alone, for a program that does its own I/O.
impl<L: Layout> Story for TakeTurn<L> {
    type Call = NoCall;
    type Output = Result<Prepared<L>, NotSent>;

    fn step(&mut self, waker: &Waker) -> Step<NoCall, Self::Output> {
        match TakeTurn::step(self, waker) {
            TurnStep::Ready(held) => Step::Done(held),
            TurnStep::Wait(until) => Step::Wait(until),
        }
    }

    fn resume(&mut self, reply: Infallible) {
        match reply {}
    }
}

/// A call that never comes about.
pub(crate) enum NoCall {}

impl SourceCall for NoCall {
    type Reply = Infallible;

    async fn run(self) -> Infallible {
        match self {}
    }

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick {
        match *self {}
    }

    #[cfg(feature = "tokio")]
    fn is_nested(&self) -> bool {
        match *self {}
    }
}

impl<L: Layout> Drop for TakeTurn<L> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.engine.at_key(self.hash, L::key(&self.key), |at| at.leave_queue(&ticket));
        }
    }
}
