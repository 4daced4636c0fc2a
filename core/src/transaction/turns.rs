//! Taking the turns of many keys in one step, and giving them back in one.
//!
//! Whoever enters a key's queue enters those of all its keys under the locks of all their shards: of two transactions that share
//! keys, the first is before the second in each of them, whatever order they name them in. So no two wait for each other.
//! Invariant: a transaction that ends, however it ends, holds and awaits no turn any more.

use std::task::Waker;

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::commit::end_send;
use crate::engine::Engine;
use crate::entry::{Layout, SharedKey};
use crate::error::NotSent;
use crate::layers::{Layer, NewLayer};
use crate::nesting::{Frame, Nesting, Scope};
use crate::options::InDoubtWrites;
use crate::prepare::{Phase, Ticket};
use crate::shard::{AtKey, AtKeys};
use crate::slot::PermitId;
use crate::sync::{Arc, Ordering};

/// A key of a transaction.
pub(super) struct Seat<L: Layout> {
    pub(super) hash: u64,
    pub(super) key: SharedKey<L>,
    pub(super) permit: PermitId,
    /// Where it waits for the turn; `None` once it has it.
    ticket: Option<Arc<Ticket>>,
    /// What is shown of it from the beginning.
    layer: Option<NewLayer<L>>,
    pub(super) sent: bool,
}

/// The keys of a transaction, each once. Dropped, what was sent is in doubt and what was not leaves no trace.
pub(super) struct Seats<L: Layout> {
    pub(super) engine: Arc<Engine<L>>,
    pub(super) list: Vec<Seat<L>>,
    /// Until when the turns are held.
    pub(super) holds_until: Tick,
    entered: bool,
    begun: bool,
    /// A send is counted that has to end.
    pub(super) counted: bool,
    is_pending: bool,
}

impl<L: Layout> Seats<L> {
    /// `layers`: what is shown of the keys, for a transaction that is visible from its begin.
    pub(super) fn new(
        engine: &Arc<Engine<L>>,
        keys: Vec<(u64, L::OwnedKey)>,
        holds_until: Tick,
        layers: Option<Vec<Option<NewLayer<L>>>>,
    ) -> Self {
        let is_pending = layers.is_some();
        let layers = layers.into_iter().flatten().chain(std::iter::repeat_with(|| None));
        let seat = |((hash, key), layer)| {
            let permit = engine.new_permit();
            Seat { hash, key: Arc::new(key), permit, ticket: None, layer, sent: false }
        };
        let list = keys.into_iter().zip(layers).map(seat).collect();
        Self { engine: Arc::clone(engine), list, holds_until, entered: false, begun: false, counted: false, is_pending }
    }

    pub(super) fn frames(&self) -> Vec<Frame> {
        self.list.iter().map(|seat| self.engine.frame(seat.hash)).collect()
    }

    /// Runs `work` on all keys in one step, with the seats at hand.
    pub(super) fn at_all<T>(&mut self, work: impl FnOnce(&mut [Seat<L>], &mut AtKeys<'_, L>) -> T) -> T {
        let mut list = std::mem::take(&mut self.list);
        // Out of the seats, which `work` changes: references into a list of their own.
        let keys: Vec<(u64, SharedKey<L>)> = list.iter().map(|seat| (seat.hash, Arc::clone(&seat.key))).collect();
        let keys: Vec<(u64, &L::Key)> = keys.iter().map(|(hash, key)| (*hash, L::key(key))).collect();
        let result = self.engine.at_keys(&keys, |at| work(&mut list, at));
        self.list = list;
        result
    }

    /// Gives up all turns and places in queues, in one step.
    fn leave(&mut self) {
        if !std::mem::take(&mut self.entered) {
            return;
        }
        let until = self.engine.clock.now().after(self.engine.rules.settle_window);
        let (begun, is_pending) = (self.begun, self.is_pending);
        self.at_all(|list, at| {
            at.each(|number, at| {
                let seat = &mut list[number];
                match seat.ticket.take() {
                    Some(ticket) => at.leave_queue(&ticket),
                    None if seat.sent => drop(at.unknown(seat.permit, until)),
                    None => at.abort(seat.permit),
                }
            });
            if begun || is_pending {
                at.count_transaction();
            }
        });
    }

    /// The transaction ends otherwise: nothing is left to give up.
    pub(super) fn ended(&mut self) {
        self.entered = false;
        if std::mem::take(&mut self.counted) {
            end_send(&self.engine);
        }
    }

    /// It has all its turns, and is about to begin.
    pub(super) fn begin(&mut self) -> Result<(), NotSent> {
        let (engine, is_pending) = (Arc::clone(&self.engine), self.is_pending);
        let begins = self.at_all(|list, at| {
            if engine.is_closed() && !is_pending {
                return Err(NotSent::Closed);
            }
            let mut held = true;
            at.each(|number, at| held &= at.is_prepared(list[number].permit));
            if !held {
                return Err(if engine.is_closed() { NotSent::Closed } else { NotSent::Deadline });
            }
            at.each(|_, at| at.transaction_runs());
            at.count_transaction();
            Ok(())
        });
        self.begun = begins.is_ok();
        begins
    }

    /// A write of this key is about to leave. It keeps the turn to the end, however often it is written.
    pub(super) fn send(&mut self, number: usize) -> Result<(), NotSent> {
        let seat = &mut self.list[number];
        if seat.sent {
            return Ok(());
        }
        let sent = self.engine.at_key(seat.hash, L::key(&seat.key), |at| at.send(seat.permit, None, None).is_some());
        if !sent {
            return Err(NotSent::Deadline);
        }
        seat.sent = true;
        if !std::mem::replace(&mut self.counted, true) {
            self.engine.open_sends.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

impl<L: Layout> Drop for Seats<L> {
    fn drop(&mut self) {
        self.leave();
        self.ended();
    }
}

/// How far a transaction came.
pub(super) enum TurnsStep<L: Layout> {
    Ready(Result<Seats<L>, NotSent>),
    Wait(Tick),
}

/// A transaction on its way to its turns.
pub(super) struct TakeTurns<L: Layout> {
    seats: Option<Seats<L>>,
    /// Until when it waits for them.
    deadline: Tick,
    scope: Option<Scope>,
}

impl<L: Layout> TakeTurns<L> {
    pub(super) fn new(seats: Seats<L>, deadline: Tick, scope: Option<Scope>) -> Self {
        Self { seats: Some(seats), deadline, scope }
    }

    pub(super) fn step(&mut self, waker: &Waker) -> TurnsStep<L> {
        let mut seats = self.seats.take().expect("it is over once it is ready");
        match self.go_on(&mut seats, waker) {
            Ok(Some(until)) => {
                self.seats = Some(seats);
                TurnsStep::Wait(until)
            }
            Ok(None) => TurnsStep::Ready(Ok(seats)),
            // Dropped, the seats give up what they have.
            Err(why) => TurnsStep::Ready(Err(why)),
        }
    }

    /// `None`: it has all turns.
    fn go_on(&self, seats: &mut Seats<L>, waker: &Waker) -> Result<Option<Tick>, NotSent> {
        if !seats.entered {
            self.enter(seats, waker)?;
        }
        let engine = Arc::clone(&seats.engine);
        let mut until = Tick::NEVER;
        for seat in &mut seats.list {
            let Some(ticket) = seat.ticket.clone() else { continue };
            // Brings the slot up to the present, which may be what grants the turn.
            let yields = ticket.yields_to_doubt;
            let (doubt_until, wakes_at) = engine.at_key(seat.hash, L::key(&seat.key), |at| {
                let Some(cell) = at.cell() else { return (None, self.deadline) };
                let wakes_at = self.deadline.min(cell.slot.next_tick());
                ticket.comes_by(wakes_at);
                (cell.slot.doubt().filter(|_| yields).map(|doubt| doubt.until), wakes_at)
            });
            match ticket.poll(waker) {
                Phase::Granted => seat.ticket = None,
                Phase::Closed => return Err(NotSent::Closed),
                Phase::Cancelled => return Err(NotSent::Cancelled),
                Phase::Waiting => {
                    if let Some(held) = doubt_until.filter(|held| *held >= self.deadline) {
                        return Err(NotSent::HeldBack { retry_after: held.since(engine.clock.now()) });
                    }
                    until = until.min(wakes_at);
                }
            }
        }
        match until {
            Tick::NEVER => Ok(None),
            _ if engine.clock.now() >= self.deadline => Err(NotSent::Deadline),
            until => Ok(Some(until)),
        }
    }

    /// The first step: all queues at once, or none.
    fn enter(&self, seats: &mut Seats<L>, waker: &Waker) -> Result<(), NotSent> {
        let engine = Arc::clone(&seats.engine);
        let is_pending = seats.is_pending;
        let mut nested = false;
        for seat in &seats.list {
            if let Some(len) = engine.too_long(L::key(&seat.key)) {
                return Err(NotSent::KeyTooLong(len));
            }
            let nesting = Nesting::of(engine.frame(seat.hash), self.scope.as_ref());
            if nesting.same_key {
                return Err(NotSent::Reentrant);
            }
            nested |= nesting.is_nested();
        }
        let now = engine.clock.now();
        if now >= self.deadline {
            return Err(NotSent::Deadline);
        }
        let mut places = Vec::with_capacity(seats.list.len());
        for _ in &seats.list {
            places.push(engine.take_place().ok_or(NotSent::TooManyDoubts)?);
        }
        let yields = engine.in_doubt_writes == InDoubtWrites::Wait;
        let (deadline, holds_until) = (self.deadline, seats.holds_until);
        let mut enter = |seat: &mut Seat<L>, at: &mut AtKey<'_, L>| {
            let place = places.pop().expect("one a key");
            let cell = at.open(&seat.key);
            let held = yields && cell.slot.doubt().is_some();
            if cell.slot.turn_is_free() && !held {
                at.prepare(seat.permit, holds_until, place);
            } else {
                let wakes_at = deadline.min(cell.slot.next_tick());
                let ticket =
                    Ticket::new((seat.permit, holds_until), yields, is_pending, (waker, Some(place), wakes_at));
                cell.queue.push_back(Arc::clone(&ticket));
                seat.ticket = Some(ticket);
            }
            if let Some((op, place)) = seat.layer.take() {
                at.add_layer(Layer { write: seat.permit, op, _place: place });
            }
        };
        seats.at_all(|list, at| {
            if engine.is_closed() {
                return Err(NotSent::Closed);
            }
            for number in 0..list.len() {
                at.at(number, |at| {
                    let Some(cell) = at.cell() else { return Ok(()) };
                    let held = cell.slot.doubt().filter(|_| yields).map(|doubt| doubt.until);
                    match held {
                        Some(until) if until >= deadline || nested => {
                            Err(NotSent::HeldBack { retry_after: until.since(now) })
                        }
                        None if cell.slot.turn_is_free() => Ok(()),
                        _ if nested && !is_pending => Err(NotSent::Busy),
                        _ if cell.queue.len() >= engine.turn_queue => Err(NotSent::QueueFull),
                        _ => Ok(()),
                    }
                })?;
            }
            if !bugs::has(Bug::TurnsTakenOneByOne) {
                at.each(|number, at| enter(&mut list[number], at));
            }
            if is_pending {
                at.count_transaction();
            }
            Ok(())
        })?;
        if bugs::has(Bug::TurnsTakenOneByOne) {
            for seat in &mut seats.list {
                let key = Arc::clone(&seat.key);
                engine.at_key(seat.hash, L::key(&key), |at| enter(seat, at));
            }
        }
        seats.entered = true;
        Ok(())
    }
}
