//! A write that nobody meets: its turn is a short note, and its key has no cell.
//!
//! Most writes find a key with nothing going on, and end before anybody else comes to it. Such a write takes the turn and counts as sent in
//! one step, which leaves a note, and takes the note back in the step that commits it. Whoever else comes to the key meanwhile, or looks
//! through all cells, first makes the note a cell ([`State::meet`]), and finds what would have been there without this file; only then does the
//! write count among the engine's open sends. What such writes need of the engine's shared counters, a shard keeps at hand for the next.
//! Invariants: a key has a note or a cell, never both; a note stands for a slot that is sent, not dirty, without a condition or a doubt, in a
//! cell without a load, a queue or pending writes.

use std::ops::Range;

use super::{Cell, State};
use crate::bugs::{self, Bug};
use crate::clock::{Tick, has_come_by};
use crate::doubt::DoubtPlace;
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Layout, SharedKey};
use crate::memory::lent::Lent;
use crate::memory::table::Place;
use crate::slot::{self, PermitId};
use crate::store::Left;
use crate::sync::{Arc, Ordering};

/// Permits that a shard takes at once.
const PERMITS: u64 = 64;

/// The note of a write that nobody has met.
pub(crate) struct Lone<L: Layout> {
    hash: u64,
    key: NotedKey<L>,
    permit: PermitId,
    deadline: Tick,
    /// Of the doubt that it may leave.
    place: DoubtPlace,
}

/// A record that is resident, and where it lies until the store changes.
pub(crate) type Laid<L> = (Place, <L as Layout>::Stored);

/// How a note has its key: lent by the writer, who waits for nobody, but ends no sooner than the note.
pub(crate) enum NotedKey<L: Layout> {
    Shared(Lent<SharedKey<L>>),
    /// Only where owning it runs no code of the program's.
    Plain(Lent<L::Key>),
}

impl<L: Layout> NotedKey<L> {
    /// As it is held by who may outlive the writer.
    fn shared(&self) -> SharedKey<L> {
        match self {
            Self::Shared(key) => Arc::clone(key.get()),
            Self::Plain(key) => Arc::new(L::own(key.get())),
        }
    }
}

/// What a shard has for its next lone write.
pub(super) struct AtHand {
    /// Given back by the last one. The engine has it taken away where places are short.
    place: Option<DoubtPlace>,
    permits: Range<u64>,
    /// Lone writes that ended Applied.
    applied: u64,
}

impl AtHand {
    pub(super) fn new() -> Self {
        Self { place: None, permits: 0..0, applied: 0 }
    }

    fn permit<L: Layout>(&mut self, engine: &Engine<L>) -> PermitId {
        let next = self.permits.next().unwrap_or_else(|| {
            let first = engine.next_ids(PERMITS);
            self.permits = first + 1..first + PERMITS;
            first
        });
        PermitId(next)
    }
}

impl<L: Layout> State<L> {
    /// Nothing goes on for a key with this hash.
    pub(super) fn is_quiet(&self, hash: u64) -> bool {
        let is_of_hash = |cell: &Cell<L>| cell.hash == hash;
        (self.slots.is_empty() || self.slots.find(hash, is_of_hash).is_none())
            && self.lone.iter().all(|lone| lone.hash != hash)
            && !self.loads.has(hash)
    }

    /// A write takes the turn of a key with nothing going on, and counts as sent from now on. Gives its permit, and the resident record and where it
    /// lies, if there is one. `None`: something goes on, or there is no place at hand for a doubt.
    pub(crate) fn send_lone(
        &mut self,
        engine: &Engine<L>,
        (hash, key): (u64, &L::Key),
        noted: NotedKey<L>,
        deadline: Tick,
    ) -> Option<(PermitId, Option<Laid<L>>)> {
        if !self.is_quiet(hash) {
            return None;
        }
        let place = self.at_hand.place.take().or_else(|| engine.place_at_once())?;
        let permit = self.at_hand.permit(engine);
        let found = self.store.look_up(hash, |other| L::same_key(other, key));
        let resident = found.map(|(place, stored)| {
            stored.header().cap(slot::sent_hits_end(deadline));
            (place, stored.clone())
        });
        if bugs::has(Bug::TurnReleasedBeforeCommit) {
            engine.open_sends.fetch_add(1, Ordering::AcqRel);
        } else {
            self.lone.push(Lone { hash, key: noted, permit, deadline, place });
        }
        engine.note_tick(deadline);
        Some((permit, resident))
    }

    /// Makes `stored`, which a lone write was applied with, the record of its key; `known` is where that lay at the send, and which it was. Says whether it
    /// is resident now. `None`: somebody met the write, it is late, or there is more to it, and nothing was done but that it is a cell now.
    pub(crate) fn lone_applied(
        &mut self,
        engine: &Engine<L>,
        permit: PermitId,
        known: Option<(Place, &L::Stored)>,
        stored: &mut L::Stored,
        left: &mut Left<L>,
    ) -> Option<bool> {
        let recent = engine.clock.recent();
        let number = self.lone.iter().position(|lone| lone.permit == permit)?;
        let has_come = |at| has_come_by(&*engine.clock, at, recent);
        // Creates and listings that are out are told of it, as of every move of a key.
        let told = engine.moves.is_watched();
        let late = has_come(self.lone[number].deadline) || has_come(stored.header().expires());
        if told || late || engine.is_closed() || bugs::has(Bug::AbsentMarkSurvivesWrite) {
            self.meet_one(engine, number);
            return None;
        }
        // A tag that was invalidated since the send either met it, or has yet to come by, and finds the record then.
        let handle = stored.twin();
        // The note is there until this is done: should a key's comparison unwind, the write is in doubt like any other.
        let kept = self.store.admit_at(known, (stored, handle), &engine.budget, left);
        let Lone { place, .. } = self.lone.swap_remove(number);
        self.at_hand.applied += 1;
        self.at_hand.place = Some(place);
        Some(kept)
    }

    /// Lone writes that ended Applied, of all that there were.
    pub(crate) fn applied_alone(&self) -> u64 {
        self.at_hand.applied
    }

    /// The place for a doubt that is kept for the next lone write.
    pub(crate) fn take_spare_place(&mut self) -> Option<DoubtPlace> {
        self.at_hand.place.take()
    }

    /// Somebody comes to the keys with this hash.
    pub(crate) fn meet(&mut self, engine: &Engine<L>, hash: u64) {
        self.meet_load(engine, hash);
        if let Some(number) = self.lone.iter().position(|lone| lone.hash == hash) {
            self.meet_one(engine, number);
        }
    }

    /// Somebody looks through all cells.
    pub(crate) fn meet_all(&mut self, engine: &Engine<L>) {
        self.meet_all_loads(engine);
        while !self.lone.is_empty() {
            self.meet_one(engine, 0);
        }
    }

    /// Makes a note a cell.
    #[cold]
    fn meet_one(&mut self, engine: &Engine<L>, number: usize) {
        let Lone { hash, key, permit, deadline, place } = self.lone.swap_remove(number);
        let mut cell = Cell::new(hash, key.shared());
        cell.slot.prepare(permit, deadline);
        let sent = cell.slot.send(permit, None, None);
        debug_assert!(sent, "it has just been prepared");
        (cell.reserved, cell.holder) = (Some(place), Some(permit));
        self.slots.insert_unique(hash, cell, |cell| cell.hash);
        engine.open_sends.fetch_add(1, Ordering::AcqRel);
    }
}
