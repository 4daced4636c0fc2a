//! The locks, and what happens under them.
//!
//! | rank | lock | guards |
//! | --- | --- | --- |
//! | 0 | `Engine::sweep` | that one sweep for overdue slots runs at a time |
//! | 1 | `Shard::state` (striped) | the entries and slots of the keys that hash there |
//! | 2 | a flight's, a ticket's, a doubt's own state; the engine's lingering loads; the memory of tags | who waits for it; what was invalidated |
//!
//! A thread holds one shard's lock at a time and takes no lock of rank 1 inside it; but a reader of many keys, and a transaction, take those
//! of all their shards, in the shards' order. Where other shards have to make room for what was admitted to one, their locks are taken one
//! by one after its own was released. Nothing of the program's runs under either, but `Eq` of a key: what is to be woken or dropped goes into
//! [`After`], which is finished once the lock is released.
//! Invariants: while a key's slot is in doubt, or its base is unknown, the store holds no entry that a hit could serve; while writes
//! are pending above an entry, no hit serves it as it is.

mod at_key;
mod at_keys;
mod forget;
mod lone;
mod lone_load;

use std::collections::VecDeque;
use std::task::Waker;

use hashbrown::HashTable;

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::coalesce::Flight;
use crate::doubt::{DoubtPlace, DoubtTicket};
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Layout, SharedKey};
use crate::layers::{Layer, Layers, Shown};
use crate::listener::{self, EventKind, Noted, Whose};
use crate::memory::lock::{Reading, StripedLock, Writing};
use crate::memory::table::Held;
use crate::metrics::Event;
use crate::options::InDoubtWrites;
use crate::prepare::Ticket;
use crate::slot::{Base, Change, Doubt, PermitId, Slot, Turn};
use crate::store::{Few, Left, Store};
use crate::sync::{Arc, AtomicU64, Ordering};

pub(crate) use at_key::{AtKey, PushStanding};
pub(crate) use at_keys::AtKeys;
use lone::{AtHand, Lone};
pub(crate) use lone::{Laid, NotedKey};
pub(crate) use lone_load::LoneEnd;
use lone_load::LoneLoads;

pub(crate) struct Shard<L: Layout> {
    state: StripedLock<State<L>>,
    /// The number of the last event of a key that hashes here.
    events: AtomicU64,
}

pub(crate) struct State<L: Layout> {
    pub(crate) store: Store<L>,
    slots: HashTable<Cell<L>>,
    /// Writes that nobody has met.
    lone: Vec<Lone<L>>,
    loads: LoneLoads<L>,
    at_hand: AtHand,
    /// How often a transaction on a key of this shard became visible, began to send, or ended.
    pub(crate) transactions: u64,
}

/// A key with something going on.
pub(crate) struct Cell<L: Layout> {
    hash: u64,
    /// Shared, so that a listing of doubts, or an event, holds it beyond the lock without a clone.
    pub(crate) key: SharedKey<L>,
    pub(crate) slot: Slot,
    /// The attached load, if the slot has one.
    flight: Option<Arc<Flight<L>>>,
    /// Writers that wait for the turn, in arrival order.
    pub(crate) queue: VecDeque<Arc<Ticket>>,
    /// Present exactly while the slot is in doubt.
    doubt: Option<(Arc<DoubtTicket>, DoubtPlace)>,
    /// Present exactly while the turn is taken: the place of the doubt that the write may leave.
    reserved: Option<DoubtPlace>,
    /// Who has the turn.
    holder: Option<PermitId>,
    /// The pending writes, of those that have the turn or wait in the queue: present exactly while there are any, and boxed, for most keys
    /// never have one.
    layers: Option<Box<Layers<L>>>,
    /// The latest version that was pushed since the write that is out was sent.
    pushed: Option<Box<[u8]>>,
    /// The holder of the turn is a transaction that has all its turns: it may have written a part of what it shows together.
    in_transaction: bool,
    /// Who waits for the end of that transaction.
    waiting: Vec<Waker>,
}

/// How an entry stands that the origin was asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// A hit gives it.
    Served,
    /// A write of its key is out.
    Busy,
    /// It is not the key's record any more, has expired, or was confirmed by the origin meanwhile.
    Gone,
}

/// What is left to do once the lock is released.
pub(crate) struct After<L: Layout> {
    left: Left<L>,
    wakers: Vec<Waker>,
    cells: Few<Cell<L>>,
    layers: Vec<Layer<L>>,
    events: Vec<Noted<L>>,
    /// What was admitted though its shard had no room for it: others are to make it, before this is finished.
    pub(crate) newcomer: Option<L::Stored>,
}

impl<L: Layout> Default for After<L> {
    fn default() -> Self {
        Self {
            left: Left::default(),
            wakers: Vec::new(),
            cells: Few::None,
            layers: Vec::new(),
            events: Vec::new(),
            newcomer: None,
        }
    }
}

impl<L: Layout> After<L> {
    /// What left, and what was admitted though its shard had no room for it.
    pub(crate) fn of(left: Left<L>, newcomer: L::Stored) -> Self {
        Self { left, newcomer: Some(newcomer), ..Self::default() }
    }

    /// Notes an event, if somebody listens. Called under the shard's exclusive lock.
    fn note(&mut self, engine: &Engine<L>, hash: u64, kind: EventKind, whose: impl FnOnce() -> Whose<L>) {
        if engine.listener.is_some() {
            let sequence = engine.shard(hash).next_event();
            self.events.push(Noted { hash, whose: whose(), sequence, kind });
        }
    }

    /// Notes those that were evicted after the first `before`, if somebody listens. Called under the exclusive lock of their shard.
    fn note_evicted(&mut self, engine: &Engine<L>, before: usize) {
        if engine.listener.is_some() {
            for stored in self.left.evicted.iter().skip(before) {
                let hash = stored.header().hash;
                let sequence = engine.shard(hash).next_event();
                let whose = Whose::Record(stored.clone());
                self.events.push(Noted { hash, whose, sequence, kind: EventKind::Evicted });
            }
        }
    }

    /// Wakes and tells; what is left is to be dropped. No lock may be held. `asked`: the key of the call, if it has one.
    pub(crate) fn finish(&mut self, engine: &Engine<L>, asked: Option<&L::Key>) {
        let evicted = self.left.evicted.len() as u64;
        if evicted > 0 {
            engine.counters.add(Event::Evicted, evicted);
        }
        for waker in std::mem::take(&mut self.wakers) {
            waker.wake();
        }
        if !self.events.is_empty() {
            listener::tell(engine, std::mem::take(&mut self.events), asked);
        }
    }
}

impl<L: Layout> Shard<L> {
    pub(crate) fn new(store: Store<L>, threads: usize) -> Self {
        let state = State {
            store,
            slots: HashTable::new(),
            lone: Vec::new(),
            loads: LoneLoads::new(),
            at_hand: AtHand::new(),
            transactions: 0,
        };
        Self { state: StripedLock::new(state, threads), events: AtomicU64::new(0) }
    }

    /// A number for the next event of a key. Taken under the exclusive lock, so that numbers follow what they number.
    pub(crate) fn next_event(&self) -> u64 {
        // Relaxed: the lock orders it.
        self.events.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn read(&self) -> Reading<'_, State<L>> {
        self.state.read()
    }

    /// The same, if nobody has to be waited for.
    pub(crate) fn try_read(&self) -> Option<Reading<'_, State<L>>> {
        self.state.try_read()
    }

    pub(crate) fn write(&self) -> Writing<'_, State<L>> {
        self.state.write()
    }
}

impl<L: Layout> State<L> {
    /// The keys with something going on.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &Cell<L>> {
        self.slots.iter()
    }

    /// Writes that are out.
    pub(crate) fn sent(&self) -> usize {
        self.slots.iter().filter(|cell| cell.is_sent()).count() + self.lone.len()
    }

    /// Makes room for what was admitted to another shard; see [`Store::give_room`].
    pub(crate) fn give_room(&mut self, newcomer: &L::Stored, engine: &Engine<L>, after: &mut After<L>) {
        let before = after.left.evicted.len();
        self.store.give_room(newcomer, &engine.budget, &mut after.left);
        after.note_evicted(engine, before);
    }

    /// Brings every slot up to `now`; gives the tick at which time will next change one.
    pub(crate) fn tick_all(&mut self, engine: &Engine<L>, now: Tick, after: &mut After<L>) -> Tick {
        let mut next = Tick::NEVER;
        let mut idle = Vec::new();
        self.meet_all(engine);
        for cell in &mut self.slots {
            let change = cell.slot.tick(now, &engine.rules);
            if change != Change::default() {
                cell.apply(change, &mut self.store, engine, after);
            }
            if cell.is_idle() { idle.push(cell.hash) } else { next = next.min(cell.slot.next_tick()) }
        }
        for hash in idle {
            while let Ok(found) = self.slots.find_entry(hash, |cell| cell.hash == hash && cell.is_idle()) {
                after.cells.push(found.remove().0);
            }
        }
        next
    }

    /// Ends everything that waits, but for pending writes: the cache is closed. Unsent writes are aborted by their holders.
    pub(crate) fn close_all(&mut self, engine: &Engine<L>, after: &mut After<L>) {
        // A close waits for those that it can count.
        self.meet_all(engine);
        for cell in &mut self.slots {
            if let Some(flight) = cell.flight.take() {
                cell.slot.load_taken_over(flight.fence);
                after.wakers.append(&mut flight.close());
            }
            let queue = std::mem::take(&mut cell.queue).into_iter();
            let (pending, others): (VecDeque<_>, VecDeque<_>) = queue.partition(|ticket| ticket.is_pending);
            cell.queue = pending;
            after.wakers.extend(others.iter().filter_map(|ticket| ticket.close()));
            after.wakers.append(&mut cell.waiting);
        }
        self.store.clear(&engine.budget, &mut after.left);
    }

    /// Rolls back the pending writes that wait for their turns. Gives their keys, each once.
    pub(crate) fn close_pending(&mut self, engine: &Engine<L>, after: &mut After<L>) -> Vec<SharedKey<L>> {
        let mut keys = Vec::new();
        for cell in &mut self.slots {
            let tickets: Vec<_> = cell.queue.drain(..).collect();
            if !tickets.is_empty() {
                keys.push(Arc::clone(&cell.key));
            }
            for ticket in tickets {
                cell.drop_layer(ticket.permit, true, engine, after);
                after.wakers.extend(ticket.close());
            }
        }
        keys
    }

    /// The record of a key, if it is resident and fresh: what the origin confirmed, covered or not. `has_come` says whether a tick has;
    /// so below.
    pub(crate) fn fresh(
        &self,
        hash: u64,
        is_key: impl Fn(&L::Key) -> bool,
        has_come: impl Fn(Tick) -> bool,
    ) -> Option<Held<'_, L::Stored>> {
        self.store.find(hash, is_key).filter(|stored| !has_come(self.fresh_until(stored)))
    }

    /// Until when a resident record may be served as what the origin confirmed.
    pub(crate) fn fresh_until(&self, stored: &L::Stored) -> Tick {
        let header = stored.header();
        if !header.is_covered() {
            return header.serve_until();
        }
        let cell = self.slots.find(header.hash, |cell| cell.is_of(header.hash, stored.key()));
        header.expires().min(cell.map_or(Tick::NEVER, |cell| cell.slot.hits_end()))
    }

    /// What pending writes make of a key; `None` where there are none.
    pub(crate) fn shown(
        &self,
        hash: u64,
        is_key: impl Fn(&L::Key) -> bool,
        has_come: impl Fn(Tick) -> bool,
    ) -> Option<Shown<L>> {
        let cell = self.slots.find(hash, |cell| cell.hash == hash && is_key(L::key(&cell.key)))?;
        let layers = cell.layers.as_ref()?;
        if has_come(cell.slot.next_tick()) {
            return Some(Shown::Late);
        }
        let base = self.fresh(hash, is_key, has_come);
        if let Some(base) = &base {
            Store::<L>::touch(base);
        }
        layers.shown(base.as_deref())
    }

    /// A transaction that has all its turns has that of the key.
    pub(crate) fn is_in_transaction(&self, hash: u64, is_key: impl Fn(&L::Key) -> bool) -> bool {
        let cell = self.slots.find(hash, |cell| cell.hash == hash && is_key(L::key(&cell.key)));
        cell.is_some_and(|cell| cell.in_transaction)
    }

    /// Takes every slot out. What is sent still ends by itself; it finds nothing to do here.
    pub(crate) fn drain_cells(&mut self, engine: &Engine<L>) -> impl Iterator<Item = Cell<L>> + use<L> {
        self.meet_all(engine);
        std::mem::take(&mut self.slots).into_iter()
    }
}

impl<L: Layout> Cell<L> {
    fn new(hash: u64, key: SharedKey<L>) -> Self {
        Self {
            hash,
            key,
            slot: Slot::default(),
            flight: None,
            queue: VecDeque::new(),
            doubt: None,
            reserved: None,
            holder: None,
            layers: None,
            pushed: None,
            in_transaction: false,
            waiting: Vec::new(),
        }
    }

    fn is_of(&self, hash: u64, key: &L::Key) -> bool {
        self.hash == hash && L::same_key(L::key(&self.key), key)
    }

    fn is_idle(&self) -> bool {
        self.slot.is_idle() && self.queue.is_empty()
    }

    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.slot.turn(), Turn::Sent { .. })
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// The key's doubt, and how many sends it is about.
    pub(crate) fn in_doubt(&self) -> Option<(&DoubtTicket, usize)> {
        let (ticket, _) = self.doubt.as_ref()?;
        Some((ticket, self.slot.doubt().map_or(0, Doubt::unsettled)))
    }

    /// Does what a change of the slot asks of the store and of those who wait.
    fn apply(&mut self, change: Change, store: &mut Store<L>, engine: &Engine<L>, after: &mut After<L>) {
        let key = L::key(&self.key);
        if change.base != Base::Keep || change.settled {
            engine.moves.moved(self.hash);
        }
        let stays = bugs::has(Bug::CoveredBaseOutlivesDoubt) && change.doubted && self.layers.is_some();
        if change.base == Base::Forget && !stays {
            store.remove(self.hash, |other| L::same_key(other, key), &engine.budget, &mut after.left);
        }
        if change.detached
            && let Some(flight) = self.flight.take()
        {
            engine.counters.count(Event::LoadDetached);
            if flight.has_moved_reader() {
                engine.note_lingering(&flight);
            }
            after.wakers.append(&mut flight.detach());
        }
        if change.settled
            && let Some((ticket, _)) = self.doubt.take()
        {
            engine.counters.count(Event::DoubtSettled);
            engine.counters.add(Event::DoubtMillis, u64::try_from(ticket.lasted().as_millis()).unwrap_or(u64::MAX));
            after.wakers.append(&mut ticket.settle());
            self.note(EventKind::Settled, engine, after);
        }
        if change.doubted {
            self.doubted(engine, after);
        }
        if change.passed {
            self.reserved = None;
            self.in_transaction = false;
            after.wakers.append(&mut self.waiting);
            if let Some((ticket, _)) = &self.doubt {
                ticket.write_ended();
            }
            if let Some(write) = self.holder.take() {
                let restores = bugs::has(Bug::PendingRestoresOldBase) && change.base == Base::Keep;
                let before = self.layers.as_ref().filter(|_| restores).and_then(|layers| layers.folded_base());
                self.drop_layer(write, !change.doubted, engine, after);
                if let Some(before) = before {
                    store.admit(&before, &engine.budget, &mut after.left);
                }
            }
            // Else nothing is here, or what takes its place is fitted then.
            if change.base == Base::Keep {
                self.fit(store);
            }
        }
        if change.passed || change.settled {
            self.grant(engine, after);
        }
    }

    /// Says in the resident record until when hits of it are served.
    fn fit(&self, store: &Store<L>) {
        let key = L::key(&self.key);
        if let Some(stored) = store.find(self.hash, |other| L::same_key(other, key)) {
            self.fit_record(&stored);
        }
    }

    fn fit_record(&self, stored: &L::Stored) {
        if self.layers.is_none() { stored.header().cap(self.slot.hits_end()) } else { stored.header().cover() }
    }

    /// A write is not pending any more; false if it was not. `unapplied`: it leaves without having been applied.
    fn drop_layer(&mut self, write: PermitId, unapplied: bool, engine: &Engine<L>, after: &mut After<L>) -> bool {
        let Some(layers) = &mut self.layers else { return false };
        if unapplied && bugs::has(Bug::PendingTakesLaterAlong) {
            after.layers.append(&mut layers.take_later(write));
        }
        let Some((layer, gone)) = layers.remove(write, engine.new_number()) else { return false };
        if layers.is_empty() {
            self.layers = None;
        }
        if unapplied && bugs::has(Bug::PendingPlaceLost) {
            std::mem::forget(layer);
        } else {
            after.layers.push(layer);
        }
        gone.into_iter().flatten().for_each(|record| after.left.records.push(record));
        if unapplied {
            engine.counters.count(Event::RolledBack);
            self.note(EventKind::RolledBack, engine, after);
        }
        true
    }

    fn doubted(&mut self, engine: &Engine<L>, after: &mut After<L>) {
        let until = self.slot.doubt().map_or(Tick::NEVER, |doubt| doubt.until);
        match &self.doubt {
            Some((ticket, _)) => ticket.prolong(until),
            None => {
                let place = self.reserved.take().expect("a write holds a place from before its send");
                // Its window begins with it, though it may be noticed later.
                let since = until.before(engine.rules.settle_window);
                self.doubt = Some((Arc::new(DoubtTicket::new(Arc::clone(&engine.clock), since, until)), place));
            }
        }
        engine.note_tick(until);
        self.note(EventKind::InDoubt { until }, engine, after);
        if engine.in_doubt_writes == InDoubtWrites::Wait {
            // Those that the doubt holds back find out whether it ends in time for them.
            after.wakers.extend(self.queue.iter().filter_map(|ticket| ticket.nudge()));
        }
    }

    fn note(&self, kind: EventKind, engine: &Engine<L>, after: &mut After<L>) {
        after.note(engine, self.hash, kind, || Whose::Slot(Arc::clone(&self.key)));
    }

    /// Gives the free turn to the first writer that may have it.
    fn grant(&mut self, engine: &Engine<L>, after: &mut After<L>) {
        if !self.slot.turn_is_free() {
            return;
        }
        let Some(ticket) = self.next().and_then(|next| self.queue.remove(next)) else { return };
        self.slot.prepare(ticket.permit, ticket.deadline);
        self.holder = Some(ticket.permit);
        engine.note_tick(ticket.deadline);
        let (waker, place) = ticket.grant();
        self.reserved = place;
        after.wakers.extend(waker);
        self.next_watches(after);
    }

    /// Where in the queue the first writer stands that may have the turn.
    fn next(&self) -> Option<usize> {
        let in_doubt = self.slot.doubt().is_some();
        self.queue.iter().position(|ticket| !(in_doubt && ticket.yields_to_doubt))
    }

    /// The next in the queue comes by when time changes the state: at the holder's deadline nobody else may.
    fn next_watches(&self, after: &mut After<L>) {
        if let Some(ticket) = self.next().map(|next| &self.queue[next]) {
            after.wakers.extend(ticket.nudge_before(self.slot.next_tick()));
        }
    }
}
