//! One key of a shard, under the shard's exclusive lock: every event of the key's slot, and what it does to the key's entry.
//!
//! Decides nothing that the slot decides. Invariant: a change of the slot and what it asks of the store are one step.

mod listed;
mod pushed;

use std::task::Waker;
use std::time::Duration;

use super::{After, Cell, Standing, State};
use crate::bugs::{self, Bug};
use crate::clock::{Tick, has_come_by};
use crate::coalesce::Flight;
use crate::doubt::{DoubtPlace, DoubtTicket, Settlement};
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Layout, SharedKey, Times};
use crate::layers::{Layer, Over, Shown};
use crate::listener::{EventKind, Whose};
use crate::memory::table::Held;
use crate::moves::Watching;
use crate::prepare::Ticket;
use crate::slot::{Answer, Base, Change, Fence, LoadEnd, PermitId, Slot, Turn};
use crate::source::Condition;
use crate::sync::Arc;
use crate::tags::Running;
use crate::windows::Stale;

/// How a push stands to what is held of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PushStanding {
    /// It is newer than what is held, which the origin confirmed then.
    News { confirmed: Tick },
    /// What is held is as new.
    Old,
    /// Neither can be told, or something goes on that it might be older than.
    Unsure,
}

/// What the shard knows of one key, under its exclusive lock.
pub(crate) struct AtKey<'a, L: Layout> {
    engine: &'a Engine<L>,
    state: &'a mut State<L>,
    hash: u64,
    key: &'a L::Key,
    /// Where the key's cell lies, if there is one: here alone cells come and go while the lock is held.
    cell: Option<usize>,
    /// What the cheap clock said once the lock was held, which is for less than that may be behind.
    recent: Tick,
    /// Writes of an earlier process may still land.
    unsure: bool,
    after: &'a mut After<L>,
}

impl<'a, L: Layout> AtKey<'a, L> {
    pub(crate) fn new(
        engine: &'a Engine<L>,
        state: &'a mut State<L>,
        hash: u64,
        key: &'a L::Key,
        after: &'a mut After<L>,
    ) -> Self {
        state.meet(engine, hash);
        let cell = state.slots.find_bucket_index(hash, |cell| cell.is_of(hash, key));
        Self { recent: engine.clock.recent(), engine, state, hash, key, cell, unsure: false, after }
    }

    pub(crate) fn tick(&mut self) {
        let engine = self.engine;
        self.unsure = !self.has_come(engine.lifetimes.unsure_until);
        let due = self.cell().map_or(Tick::NEVER, |cell| cell.slot.next_tick());
        if due != Tick::NEVER && self.has_come(due) {
            let now = engine.clock.now();
            self.change(|slot| slot.tick(now, &engine.rules));
        }
        if engine.listener.is_some() {
            let now = engine.clock.now();
            if self.resident().is_some_and(|stored| stored.header().expires_now(now)) {
                self.note(EventKind::Expired);
            }
        }
        if engine.lifetimes.keep_expired.is_some()
            && self.resident().is_some_and(|stored| self.has_come(engine.lifetimes.gone(stored.header().expires())))
        {
            let key = self.key;
            let same = |other: &L::Key| L::same_key(other, key);
            self.state.store.remove(self.hash, same, &engine.budget, &mut self.after.left);
        }
    }

    pub(crate) fn engine(&self) -> &'a Engine<L> {
        self.engine
    }

    /// Whether `at` has come.
    fn has_come(&self, at: Tick) -> bool {
        has_come_by(&*self.engine.clock, at, self.recent)
    }

    /// Notes an event of this key, if somebody listens.
    pub(crate) fn note(&mut self, kind: EventKind) {
        self.after.note(self.engine, self.hash, kind, || Whose::Asked);
    }

    /// Gives back the cell if nothing goes on any more.
    pub(crate) fn leave(&mut self) {
        if self.cell().is_some_and(|cell| cell.is_idle())
            && let Some(Ok(found)) = self.cell.take().map(|place| self.state.slots.get_bucket_entry(place))
        {
            self.after.cells.push(found.remove().0);
        }
    }

    /// The key's cell, if something goes on.
    pub(crate) fn cell(&mut self) -> Option<&mut Cell<L>> {
        self.cell.and_then(|place| self.state.slots.get_bucket_mut(place))
    }

    /// The key's cell, made anew if there is none.
    pub(crate) fn open(&mut self, owned: &SharedKey<L>) -> &mut Cell<L> {
        let place = match self.cell {
            Some(place) => place,
            None => {
                let cell = Cell::new(self.hash, Arc::clone(owned));
                self.state.slots.insert_unique(self.hash, cell, |cell| cell.hash).bucket_index()
            }
        };
        self.cell = Some(place);
        self.state.slots.get_bucket_mut(place).expect("it was there, or has just been put there")
    }

    /// The record that is here and fresh: what the origin confirmed, whatever is pending above it.
    pub(crate) fn fresh(&self) -> Option<Held<'_, L::Stored>> {
        self.state.fresh(self.hash, |other| L::same_key(other, self.key), |at| self.has_come(at))
    }

    /// The record that has expired, but may be served now for this reason, to a call that asked for this window. One that is in doubt, was invalidated or was
    /// written is not here any more.
    pub(crate) fn stale(&self, why: Stale, asked: Option<Duration>) -> Option<Held<'_, L::Stored>> {
        self.resident().filter(|stored| self.may_be_stale(stored, why, asked))
    }

    /// The record may be served now for this reason, should it have expired.
    fn may_be_stale(&self, stored: &L::Stored, why: Stale, asked: Option<Duration>) -> bool {
        let (lifetimes, header) = (&self.engine.lifetimes, stored.header());
        let window = lifetimes.window(header.windows(), why, asked);
        let until = lifetimes.stale_until(header.since(), header.expires(), window);
        !stored.is_absent() && !self.has_come(until)
    }

    /// The record can be served, or is one of those that are kept only to be offered to the origin.
    fn is_of_use(&self, stored: &L::Stored) -> bool {
        let header = stored.header();
        let is_offered = || stored.version().is_some() && header.expires() == header.since();
        !self.has_come(header.expires())
            || is_offered()
            || self.may_be_stale(stored, Stale::WhileRevalidate, None)
            || self.may_be_stale(stored, Stale::IfError, None)
    }

    /// The record that is here, fresh or not.
    pub(crate) fn resident(&self) -> Option<Held<'_, L::Stored>> {
        self.state.store.find(self.hash, |other| L::same_key(other, self.key))
    }

    // --- pending writes

    /// What pending writes make of the key; `None` where there are none.
    pub(crate) fn shown(&mut self) -> Option<Shown<L>> {
        loop {
            let is_key = |other: &L::Key| L::same_key(other, self.key);
            match self.state.shown(self.hash, is_key, |at| self.has_come(at)) {
                // The turn has passed on to a write that is late as well, or time went on while the lock was held.
                Some(Shown::Late) => self.tick(),
                shown => return shown,
            }
        }
    }

    /// What is pending is to be folded over an answer of the origin's that ends its load now.
    pub(crate) fn over(&mut self) -> Option<Arc<Over<L>>> {
        self.cell().and_then(|cell| cell.layers.as_ref().map(|layers| layers.over()))
    }

    /// The pending writes, by their permits.
    pub(crate) fn pending(&mut self) -> Vec<PermitId> {
        self.cell().and_then(|cell| cell.layers.as_ref()).map_or_else(Vec::new, |layers| layers.writes())
    }

    /// Adds a pending write, whose ticket has the turn or is the last in the queue.
    pub(crate) fn add_layer(&mut self, layer: Layer<L>) {
        let number = self.engine.new_number();
        let Some(cell) = self.cell() else { return };
        let gone = cell.layers.get_or_insert_default().add(layer, number);
        gone.into_iter().flatten().for_each(|record| self.after.left.records.push(record));
        self.note(EventKind::Pending);
        self.fit();
    }

    /// Keeps what came of a fold, for reads to come.
    pub(crate) fn keep_fold(&mut self, over: &Over<L>, base: L::Stored, shows: L::Stored) {
        let gone = match self.cell().and_then(|cell| cell.layers.as_mut()) {
            Some(layers) => layers.keep(over, base, shows),
            None => [Some(base), Some(shows)],
        };
        gone.into_iter().flatten().for_each(|record| self.after.left.records.push(record));
    }

    /// Says in the resident record until when hits of it are served.
    fn fit(&mut self) {
        if let Some(cell) = self.cell.and_then(|place| self.state.slots.get_bucket(place)) {
            cell.fit(&self.state.store);
        }
    }

    /// A write is not pending any more, if it was.
    pub(crate) fn drop_layer(&mut self, write: PermitId, unapplied: bool) {
        if let Some(cell) = self.cell.and_then(|place| self.state.slots.get_bucket_mut(place))
            && cell.drop_layer(write, unapplied, self.engine, self.after)
        {
            cell.fit(&self.state.store);
        }
    }

    // --- loads

    pub(crate) fn attached_flight(&mut self) -> Option<Arc<Flight<L>>> {
        self.cell().and_then(|cell| cell.flight.clone())
    }

    pub(crate) fn load_begins(&mut self, flight: Arc<Flight<L>>, owned: &SharedKey<L>) {
        let cell = self.open(owned);
        cell.slot.load_begins(flight.fence);
        if cell.layers.is_some() {
            flight.note_pending();
        }
        cell.flight = Some(flight);
    }

    /// A load ended. If it may be kept, `stored` becomes the key's record, with its times `renewed` where it is the one that
    /// was here, or the older one goes where `keep` is false. What was invalidated by a tag since the load began counts as
    /// invalidated now. Says what becomes of it, and whether it is resident.
    pub(crate) fn load_ends(
        &mut self,
        flight: &Flight<L>,
        answer: Answer<'_>,
        stored: Option<&L::Stored>,
        renewed: Option<Times>,
        keep: bool,
        running: Option<Running>,
    ) -> (LoadEnd, bool) {
        let rules = self.engine.rules;
        let held = self.listened_and_held();
        let mut end = LoadEnd::Detached;
        let fence = flight.fence;
        if let (Some(stored), Some(running)) = (stored, running)
            && self.cell().is_some_and(|cell| cell.slot.is_attached(fence))
            && self.engine.tags.is_against::<L>(running, stored)
        {
            self.invalidate();
        }
        let change = self.change(|slot| {
            let (how, change) = slot.load_ends(fence, answer, &rules);
            end = how;
            change
        });
        if answer != Answer::Failed {
            self.given_out();
        }
        match end {
            LoadEnd::Detached => {
                if answer != Answer::Failed && flight.has_moved_reader() && !bugs::has(Bug::ReturnedLoadLeavesEntry) {
                    self.returned_unretained();
                }
                return (end, false);
            }
            LoadEnd::Kept | LoadEnd::Returned => {
                if let Some(cell) = self.cell() {
                    cell.flight = None;
                }
            }
        }
        // It may show a part of what a transaction shows together.
        let in_part = self.cell().is_some_and(|cell| cell.in_transaction) && !bugs::has(Bug::LoadKeptInTransaction);
        let kept = change.base == Base::Take
            && !in_part
            && stored.is_some_and(|stored| {
                if let Some(times) = renewed {
                    stored.header().renew(times);
                }
                self.take(stored, keep)
            });
        match stored {
            Some(stored) if kept => self.note(EventKind::Retained { absent: stored.is_absent() }),
            _ if held && self.resident().is_none() => self.note(EventKind::Dropped),
            _ => {}
        }
        (end, kept)
    }

    /// A load is given up, so that another may lead.
    pub(crate) fn load_taken_over(&mut self, fence: Fence) -> bool {
        let Some(cell) = self.cell() else { return false };
        let attached = cell.slot.load_taken_over(fence);
        if attached {
            cell.flight = None;
        }
        attached
    }

    /// A value is returned that is not retained.
    pub(crate) fn returned_unretained(&mut self) {
        let held = self.listened_and_held();
        self.change(Slot::returned_unretained);
        self.given_out();
        self.forget();
        if held {
            self.note(EventKind::Dropped);
        }
    }

    /// A reader is given what the origin said just now. While a write of an earlier process may still land, or the origin may be making a record
    /// for a create, that may be newer than a write that is out.
    fn given_out(&mut self) {
        if (self.unsure || self.engine.moves.is_creating())
            && let Some(cell) = self.cell()
        {
            cell.slot.mark_dirty();
        }
    }

    // --- writes

    pub(crate) fn prepare(&mut self, permit: PermitId, deadline: Tick, place: DoubtPlace) {
        if let Some(cell) = self.cell() {
            cell.slot.prepare(permit, deadline);
            cell.reserved = Some(place);
            cell.holder = Some(permit);
        }
        self.engine.note_tick(deadline);
    }

    /// Gives the resident record of the key on success, `None` within if there is none.
    pub(crate) fn send(
        &mut self,
        permit: PermitId,
        condition: Option<Condition>,
        replays: Option<PermitId>,
    ) -> Option<Option<L::Stored>> {
        let window = self.engine.rules.settle_window;
        let cell = self.cell()?;
        if !cell.slot.send(permit, condition, replays) {
            return None;
        }
        cell.pushed = None;
        let end = cell.slot.hits_end();
        if let Some((ticket, _)) = &cell.doubt {
            ticket.write_sent(end, end.after(window));
        }
        let covered = cell.layers.is_some();
        let resident = self.resident().map(|stored| {
            if !covered {
                stored.header().cap(end);
            }
            stored.clone()
        });
        if bugs::has(Bug::TurnReleasedBeforeCommit) {
            let _ = self.rejected(permit, false, false);
        }
        Some(resident)
    }

    pub(crate) fn abort(&mut self, permit: PermitId) {
        self.change(|slot| slot.abort(permit));
    }

    /// Says whether `stored` is resident now.
    pub(crate) fn applied(
        &mut self,
        permit: PermitId,
        stored: Option<&L::Stored>,
        keep: bool,
        stray_until: Option<Tick>,
        running: Running,
    ) -> bool {
        let rules = self.engine.rules;
        if bugs::has(Bug::TurnReleasedBeforeCommit) {
            self.returned_unretained();
            return stored.is_some_and(|stored| self.take(stored, keep));
        }
        if self.cell().is_none() {
            // Its turn and its doubt are over: what it applied may be newer than what is here.
            self.forget();
            return false;
        }
        if stored.is_some_and(|stored| self.engine.tags.is_against::<L>(running, stored))
            && let Some(cell) = self.cell()
        {
            cell.slot.mark_dirty();
        }
        if self.is_behind_push(stored)
            && let Some(cell) = self.cell()
        {
            cell.slot.mark_dirty();
        }
        // In one step with what becomes of the base.
        let rolls_back = bugs::has(Bug::AppliedPendingRollsBack)
            && self.cell().is_some_and(|cell| cell.holder == Some(permit) && cell.layers.is_some());
        if self.cell().is_some_and(|cell| cell.holder == Some(permit)) {
            self.drop_layer(permit, false);
        }
        let change = self.change(|slot| slot.applied(permit, stored.is_some(), stray_until, &rules));
        change.base == Base::Take && !rolls_back && stored.is_some_and(|stored| self.take(stored, keep))
    }

    /// The origin has made the key's record, by a write that had no key before; `creating` knows what came by the key since its send. Says
    /// whether `stored` is resident now.
    pub(crate) fn created(
        &mut self,
        stored: Option<&L::Stored>,
        keep: bool,
        creating: &Watching<'_>,
        running: Running,
    ) -> bool {
        let told = stored.is_some_and(|stored| self.engine.tags.is_against::<L>(running, stored));
        // It may show a part of what a transaction shows together.
        let in_part = self.cell().is_some_and(|cell| cell.in_transaction);
        let newest = !told && !in_part && !creating.is_overtaken(self.hash);
        let takes = match self.cell() {
            None => newest,
            Some(_) => self.change(|slot| slot.created(stored.is_some(), newest)).base == Base::Take,
        };
        match stored.filter(|_| takes) {
            Some(stored) => self.take(stored, keep),
            None => {
                self.forget();
                false
            }
        }
    }

    /// The doubt that the key is in now; so below.
    pub(crate) fn rejected(&mut self, permit: PermitId, stale_base: bool, all_sends: bool) -> Option<Arc<DoubtTicket>> {
        let rules = self.engine.rules;
        if self.cell().is_none() && stale_base {
            self.forget();
        }
        self.change(|slot| slot.rejected(permit, stale_base, all_sends, &rules));
        if stale_base {
            self.note(EventKind::RefusedStale);
        }
        self.doubt()
    }

    pub(crate) fn unknown(&mut self, permit: PermitId, until: Tick) -> Option<Arc<DoubtTicket>> {
        self.change(|slot| slot.unknown(permit, until));
        self.doubt()
    }

    pub(crate) fn doubt(&mut self) -> Option<Arc<DoubtTicket>> {
        self.cell().and_then(|cell| cell.doubt.as_ref()).map(|(ticket, _)| Arc::clone(ticket))
    }

    pub(crate) fn leave_queue(&mut self, ticket: &Arc<Ticket>) {
        if let Some(cell) = self.cell() {
            cell.queue.retain(|other| !Arc::ptr_eq(other, ticket));
        }
        self.abort(ticket.permit);
        if self.cell().is_some_and(|cell| cell.holder != Some(ticket.permit)) {
            self.drop_layer(ticket.permit, true);
        }
        if let Some(cell) = self.cell.and_then(|place| self.state.slots.get_bucket(place)) {
            cell.next_watches(self.after);
        }
    }

    // --- transactions

    /// The permit holds the turn, and nothing was sent.
    pub(crate) fn is_prepared(&mut self, permit: PermitId) -> bool {
        let is_mine = |turn: &Turn| matches!(turn, Turn::Prepared { permit: holder, .. } if *holder == permit);
        self.cell().is_some_and(|cell| is_mine(cell.slot.turn()))
    }

    /// The transaction that holds the turn has all its turns.
    pub(crate) fn transaction_runs(&mut self) {
        if let Some(cell) = self.cell() {
            cell.in_transaction = true;
        }
    }

    /// Leaves a waker for the end of the transaction that runs on the key; says when time changes its state. `None`: none runs, or what is
    /// pending can be shown without a load.
    pub(crate) fn wait_for_transaction(&mut self, waker: &Waker) -> Option<Tick> {
        if matches!(self.shown(), Some(Shown::Is(_) | Shown::Fold(..))) {
            return None;
        }
        let cell = self.cell().filter(|cell| cell.in_transaction)?;
        if !cell.waiting.iter().any(|other| other.will_wake(waker)) {
            cell.waiting.push(waker.clone());
        }
        Some(cell.slot.next_tick())
    }

    // --- from outside

    /// No send of this write can land any more. True: nor can any other in doubt.
    pub(crate) fn settle_write(&mut self, write: PermitId) -> bool {
        self.change(|slot| slot.settled_by_hand(Some(write)));
        self.doubt().is_none()
    }

    /// No write in doubt can land any more. False: none was in doubt.
    pub(crate) fn settle(&mut self, settlement: Settlement) -> bool {
        let Some(ticket) = self.doubt() else { return false };
        ticket.tell(settlement);
        self.change(|slot| slot.settled_by_hand(None));
        true
    }

    pub(crate) fn invalidate(&mut self) {
        self.change(Slot::invalidated);
        if bugs::has(Bug::StaleServedAfterInvalidation)
            && let Some(stored) = self.resident()
        {
            let now = self.engine.clock.now();
            return stored.header().renew(Times::until(now, now));
        }
        self.forget();
        self.note(EventKind::Invalidated);
    }

    /// How the entry stands whose own request began at `since`, now that the origin was asked about it.
    pub(crate) fn standing(&mut self, stored: &L::Stored, since: Tick) -> Standing {
        let now = self.engine.clock.now();
        let header = stored.header();
        let is_resident = self.resident().is_some_and(|resident| resident.same(stored));
        if !is_resident || header.since() != since || header.expires() <= now {
            return Standing::Gone;
        }
        let busy = self.cell().is_some_and(|cell| cell.is_sent() || cell.is_in_doubt());
        let busy = busy && !bugs::has(Bug::AuditForgetsWrites);
        if busy || header.serve_until() <= now { Standing::Busy } else { Standing::Served }
    }

    // --- steps

    fn change(&mut self, event: impl FnOnce(&mut Slot) -> Change) -> Change {
        let Some(cell) = self.cell.and_then(|place| self.state.slots.get_bucket_mut(place)) else {
            return Change::default();
        };
        let change = event(&mut cell.slot);
        if change != Change::default() {
            cell.apply(change, &mut self.state.store, self.engine, self.after);
        }
        change
    }

    /// Something is resident, and somebody wants to know when it goes.
    fn listened_and_held(&self) -> bool {
        self.engine.listener.is_some() && self.resident().is_some()
    }

    fn forget(&mut self) {
        let key = self.key;
        let same = |other: &L::Key| L::same_key(other, key);
        self.engine.moves.moved(self.hash);
        self.state.store.remove(self.hash, same, &self.engine.budget, &mut self.after.left);
    }

    /// Makes `stored` the key's record; if it is not to be kept, or its lifetime has passed meanwhile, the older one goes all
    /// the same.
    fn take(&mut self, stored: &L::Stored, keep: bool) -> bool {
        if !keep || self.engine.is_closed() || !self.is_of_use(stored) {
            if !keep && stored.header().is_beyond_weight() {
                self.note(EventKind::TooHeavy);
            }
            self.forget();
            return false;
        }
        if bugs::has(Bug::AbsentMarkSurvivesWrite) && self.resident().is_some_and(|old| old.is_absent()) {
            return false;
        }
        let before = self.after.left.evicted.len();
        self.engine.moves.moved(self.hash);
        let kept = self.state.store.admit(stored, &self.engine.budget, &mut self.after.left);
        if !kept {
            self.note(EventKind::TooHeavy);
        }
        self.after.note_evicted(self.engine, before);
        if kept && self.engine.budget.is_over() {
            self.after.newcomer = Some(stored.clone());
        }
        if kept && let Some(cell) = self.cell() {
            cell.fit_record(stored);
        }
        kept
    }
}
