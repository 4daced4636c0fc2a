//! Taking the turn of a key: writers of a key go one after the other, in the order they came.
//!
//! A story of its own: it ends with the permit, or with the reason why nothing may be sent. Invariant: a ticket that was granted
//! the turn and is not used gives it back.

use std::convert::Infallible;
use std::task::Waker;

use crate::clock::Tick;
#[cfg(feature = "tokio")]
use crate::commit;
use crate::commit::{Leaving, Permit, Prepared, Sent};
use crate::doubt::DoubtPlace;
#[cfg(feature = "tokio")]
use crate::doubt::InDoubt;
use crate::drive::{SourceCall, Step, Story};
use crate::engine::Engine;
use crate::entry::{Layout, SharedKey};
use crate::error::NotSent;
use crate::nesting::Nesting;
use crate::options::{Call, InDoubtWrites};
use crate::slot::PermitId;
use crate::source::IdempotencyKey;
#[cfg(feature = "tokio")]
use crate::source::SourceError;
use crate::sync::{Arc, Mutex};

/// A writer in the queue of a key.
pub(crate) struct Ticket {
    pub(crate) permit: PermitId,
    pub(crate) deadline: Tick,
    /// While the key is in doubt, others go first.
    pub(crate) yields_to_doubt: bool,
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
enum Phase {
    Waiting,
    Granted,
    Closed,
}

impl Ticket {
    /// It has the turn. The waker is to be woken once no lock is held.
    pub(crate) fn grant(&self) -> (Option<Waker>, Option<DoubtPlace>) {
        let mut state = self.state.lock();
        state.phase = Phase::Granted;
        (state.waker.take(), state.place.take())
    }

    pub(crate) fn close(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        state.phase = Phase::Closed;
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

    fn poll(&self, waker: &Waker) -> Phase {
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
    Ready(Result<Held<L>, NotSent>),
    Wait(Tick),
}

/// The turn that a writer was given.
pub(crate) enum Held<L: Layout> {
    Prepared(Prepared<L>),
    /// Its write counts as sent already: the same step began both.
    Sent(Sent<L>),
}

impl<L: Layout> Held<L> {
    /// The turn of a writer that has something to do before it sends.
    pub(crate) fn prepared(self) -> Prepared<L> {
        match self {
            Self::Prepared(prepared) => prepared,
            Self::Sent(_) => unreachable!("only a writer that was told to sends at once"),
        }
    }
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
    /// Where the turn is free, the write counts as sent in the step that takes it.
    sends_at_once: bool,
    ticket: Option<Arc<Ticket>>,
    /// The permit that it ended with.
    #[cfg(feature = "tokio")]
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
            permit,
            sends_at_once: false,
            ticket: None,
            #[cfg(feature = "tokio")]
            granted: None,
            engine: Arc::clone(engine),
        }
    }

    /// For an unconditional write whose source is called in the same breath, by this thread: nothing comes between turn and send.
    pub(crate) fn send_at_once(&mut self) {
        self.sends_at_once = true;
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
                    return TurnStep::Ready(Ok(Held::Prepared(Prepared::new(self.permit(ticket.permit)))));
                }
                Phase::Closed => return self.give_up(&ticket, NotSent::Closed),
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
                ticket.state.lock().wakes_at = wakes_at;
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
        if let Some(len) = engine.too_long(&self.key) {
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
        let (deadline, yields) = (self.deadline, self.yields_to_doubt);
        let begun = self.begun;
        let send = self.sends_at_once.then(|| engine.tags.begins());
        let arrival = engine.at_key(self.hash, L::key(&self.key), |at| {
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
                    return Ok(match send {
                        None => Arrival::Prepared,
                        Some(running) => Arrival::Sent(Leaving::now(at, (permit, begun), None, None, running)?),
                    });
                }
                _ => {}
            }
            if self.nesting.is_nested() {
                return Err(NotSent::Busy);
            }
            if cell.queue.len() >= engine.turn_queue {
                return Err(NotSent::QueueFull);
            }
            let wakes_at = deadline.min(cell.slot.next_tick());
            let state =
                TicketState { phase: Phase::Waiting, waker: Some(waker.clone()), place: place.take(), wakes_at };
            let ticket = Arc::new(Ticket { permit, deadline, yields_to_doubt: yields, state: Mutex::new(state) });
            cell.queue.push_back(Arc::clone(&ticket));
            Ok(Arrival::Waits(ticket, wakes_at))
        })?;
        Ok(match arrival {
            Arrival::Prepared => TurnStep::Ready(Ok(Held::Prepared(Prepared::new(self.permit(permit))))),
            Arrival::Sent(leaving) => TurnStep::Ready(Ok(Held::Sent(Sent::new(self.permit(permit), leaving)))),
            Arrival::Waits(ticket, wakes_at) => {
                self.ticket = Some(ticket);
                TurnStep::Wait(wakes_at)
            }
        })
    }

    /// Its write was sent, and nobody knows what became of it.
    #[cfg(feature = "tokio")]
    pub(crate) fn left_a_doubt(&self) -> bool {
        self.granted.is_some_and(|permit| commit::is_in_doubt(&self.engine, self.hash, L::key(&self.key), permit))
    }

    /// What is to be said of its write, where nobody knows what became of the permit.
    #[cfg(feature = "tokio")]
    pub(crate) fn lost(&self, cause: SourceError) -> InDoubt<L> {
        let permit = self.granted.expect("the turn was taken");
        commit::lost((&self.engine, self.hash, &self.key), (permit, self.idempotency_key), cause)
    }

    fn permit(&mut self, id: PermitId) -> Permit<L> {
        #[cfg(feature = "tokio")]
        {
            self.granted = Some(id);
        }
        Permit {
            engine: Arc::clone(&self.engine),
            hash: self.hash,
            key: Arc::clone(&self.key),
            id,
            deadline: self.deadline,
            idempotency_key: self.idempotency_key,
        }
    }

    fn give_up(&mut self, ticket: &Arc<Ticket>, why: NotSent) -> TurnStep<L> {
        self.ticket = None;
        self.engine.at_key(self.hash, L::key(&self.key), |at| at.leave_queue(ticket));
        TurnStep::Ready(Err(why))
    }
}

/// What a writer finds that comes to its key.
enum Arrival<L: Layout> {
    Prepared,
    Sent(Leaving<L>),
    Waits(Arc<Ticket>, Tick),
}

/// Taking the turn alone, for a program that does its own I/O.
impl<L: Layout> Story for TakeTurn<L> {
    type Call = NoCall;
    type Output = Result<Prepared<L>, NotSent>;

    fn step(&mut self, waker: &Waker) -> Step<NoCall, Self::Output> {
        match TakeTurn::step(self, waker) {
            TurnStep::Ready(held) => Step::Done(held.map(Held::prepared)),
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
