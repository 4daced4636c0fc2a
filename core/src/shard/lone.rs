//! A write that nobody meets: its turn is a short note, and its key has no cell.
//!
//! Most writes find a key with nothing going on, and end before anybody else comes to it. Such a write takes the turn and counts as sent in
//! one step, which leaves a note, and takes the note back in the step that commits it. Whoever else comes to the key meanwhile, or looks
//! through all cells, first makes the note a cell ([`State::meet`]), and finds what would have been there without this file.
//! Invariants: a key has a note or a cell, never both; a note stands for a slot that is sent, not dirty, without a condition or a doubt, in a
//! cell without a load, a queue or pending writes.

use super::{Cell, State};
use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::doubt::DoubtPlace;
use crate::entry::sealed::Stored;
use crate::entry::{Layout, SharedKey};
use crate::slot::{self, PermitId};

/// The note of a write that nobody has met.
pub(crate) struct Lone<L: Layout> {
    pub(crate) hash: u64,
    pub(crate) key: SharedKey<L>,
    pub(crate) permit: PermitId,
    pub(crate) deadline: Tick,
    /// Of the doubt that it may leave.
    pub(crate) place: DoubtPlace,
}

impl<L: Layout> State<L> {
    /// Nothing goes on for a key with this hash.
    pub(crate) fn is_quiet(&self, hash: u64) -> bool {
        let is_of_hash = |cell: &Cell<L>| cell.hash == hash;
        (self.slots.is_empty() || self.slots.find(hash, is_of_hash).is_none())
            && self.lone.iter().all(|lone| lone.hash != hash)
    }

    /// The write takes the turn of a quiet key, and counts as sent from now on. Gives the resident record, if there is one.
    pub(crate) fn send_lone(&mut self, lone: Lone<L>) -> Option<L::Stored> {
        debug_assert!(self.is_quiet(lone.hash), "whoever comes second makes a cell");
        let resident = self.store.find(lone.hash, |other| L::same_key(other, L::key(&lone.key))).map(|stored| {
            stored.header().cap(slot::sent_hits_end(lone.deadline));
            stored.clone()
        });
        if !bugs::has(Bug::TurnReleasedBeforeCommit) {
            self.lone.push(lone);
        }
        resident
    }

    /// Takes the note of a write back. `None` where somebody met the write.
    pub(super) fn take_lone(&mut self, permit: PermitId) -> Option<Lone<L>> {
        let place = self.lone.iter().position(|lone| lone.permit == permit)?;
        Some(self.lone.swap_remove(place))
    }

    /// Somebody comes to the keys with this hash.
    pub(crate) fn meet(&mut self, hash: u64) {
        if let Some(place) = self.lone.iter().position(|lone| lone.hash == hash) {
            let lone = self.lone.swap_remove(place);
            self.make_cell(lone);
        }
    }

    /// Somebody looks through all cells.
    pub(crate) fn meet_all(&mut self) {
        while let Some(lone) = self.lone.pop() {
            self.make_cell(lone);
        }
    }

    pub(super) fn make_cell(&mut self, Lone { hash, key, permit, deadline, place }: Lone<L>) {
        let mut cell = Cell::new(hash, key);
        cell.slot.prepare(permit, deadline);
        let sent = cell.slot.send(permit, None, None);
        debug_assert!(sent, "it has just been prepared");
        (cell.reserved, cell.holder) = (Some(place), Some(permit));
        self.slots.insert_unique(hash, cell, |cell| cell.hash);
    }
}
