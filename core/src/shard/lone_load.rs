//! A load that nobody joins: a short note, and its key has neither cell nor flight.
//!
//! Most loads find a key of which nothing is resident and nothing goes on, and end before anybody else comes to it. Such a load leaves a note, and
//! takes it back in the step that retains what it brought. Whoever else comes to the key meanwhile, or looks through all cells, first makes the
//! note a cell with a flight ([`State::meet`]), which is joined and detached as any; the note keeps that flight for its leader, and
//! is nobody else's business any more.
//! Invariants: a key has a cell, the note of a write, or the note of a load that nobody has met, and never two of these; of the key of such a
//! load nothing is resident; each note is taken back by its leader.

use super::{Cell, State};
use crate::clock::{Tick, has_come_by};
use crate::coalesce::Flight;
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Layout, SharedKey};
use crate::store::Left;
use crate::sync::Arc;

/// Whoever comes to a key looks at all notes of its shard, so that they are to be few: what is more is a load as any.
const MOST: usize = 64;

/// The notes of a shard.
pub(super) struct LoneLoads<L: Layout> {
    notes: Vec<Note<L>>,
    /// The number of the last one.
    last: u64,
}

struct Note<L: Layout> {
    number: u64,
    hash: u64,
    load: Load<L>,
}

enum Load<L: Layout> {
    Unmet { key: NotedKey<L>, began: Tick, deadline: Tick },
    Met(Arc<Flight<L>>),
}

enum NotedKey<L: Layout> {
    Shared(SharedKey<L>),
    /// Where owning it, and dropping it, runs no code of the program's.
    Own(L::OwnedKey),
}

/// How a lone load ended.
pub(crate) enum LoneEnd<L: Layout> {
    /// As one. `kept`: what it brought is resident now.
    Alone { kept: bool },
    /// Somebody met it, or there is more to its end: it is a load as any now, with this flight, and has not ended.
    Met(Arc<Flight<L>>),
}

impl<L: Layout> LoneLoads<L> {
    pub(super) fn new() -> Self {
        Self { notes: Vec::new(), last: 0 }
    }

    /// A load that nobody has met has a key with this hash.
    pub(super) fn has(&self, hash: u64) -> bool {
        self.unmet(|note| note.hash == hash).is_some()
    }

    fn unmet(&self, is_meant: impl Fn(&Note<L>) -> bool) -> Option<usize> {
        self.notes.iter().position(|note| is_meant(note) && matches!(note.load, Load::Unmet { .. }))
    }

    fn take(&mut self, number: u64) -> Load<L> {
        let place = self.notes.iter().position(|note| note.number == number).expect("its leader takes it, once");
        self.notes.swap_remove(place).load
    }
}

impl<L: Layout> State<L> {
    /// A load begins of a key of which nothing is resident and nothing goes on; gives the number of its note. `shared`: the key as one to be held,
    /// where owning it may run code of the program's. `None`: there is more to it, and nothing was done.
    pub(crate) fn load_alone(
        &mut self,
        (hash, key): (u64, &L::Key),
        shared: Option<&SharedKey<L>>,
        (began, deadline): (Tick, Tick),
    ) -> Option<u64> {
        let is_key = |other: &L::Key| L::same_key(other, key);
        if self.loads.notes.len() >= MOST || !self.is_quiet(hash) || self.store.find(hash, is_key).is_some() {
            return None;
        }
        let key = shared.map_or_else(|| NotedKey::Own(L::own(key)), |shared| NotedKey::Shared(Arc::clone(shared)));
        self.loads.last += 1;
        let number = self.loads.last;
        self.loads.notes.push(Note { number, hash, load: Load::Unmet { key, began, deadline } });
        Some(number)
    }

    /// The leader of the load has what it brought, and whether that may be kept; or nothing. If nobody met it, `stored` becomes the record of its key in this
    /// step. What is given back beside is to be dropped once no lock is held.
    pub(crate) fn end_lone_load(
        &mut self,
        engine: &Engine<L>,
        number: u64,
        brought: Option<(&L::Stored, bool)>,
        left: &mut Left<L>,
    ) -> (LoneEnd<L>, impl Sized + use<L>) {
        let note = self.loads.take(number);
        let Load::Unmet { key, began, deadline } = note else {
            let Load::Met(flight) = note else { unreachable!("it is one or the other") };
            return (LoneEnd::Met(flight), None);
        };
        let mut kept = false;
        if let Some((stored, keep)) = brought {
            let has_come = |at| has_come_by(&*engine.clock, at, engine.clock.recent());
            // Creates and listings that are out are told of it, as of every move of a key.
            let told = engine.moves.is_watched();
            if told || engine.is_closed() || (keep && has_come(stored.header().expires())) {
                let hash = stored.header().hash;
                return (LoneEnd::Met(self.make_load(engine, hash, key, (began, deadline))), None);
            }
            // A tag that was invalidated since it began either met it, or has yet to come by, and finds the record then.
            kept = keep && self.store.admit(stored, &engine.budget, left);
        }
        (LoneEnd::Alone { kept }, Some(key))
    }

    /// Somebody comes to the keys with this hash.
    pub(super) fn meet_load(&mut self, engine: &Engine<L>, hash: u64) {
        if let Some(place) = self.loads.unmet(|note| note.hash == hash) {
            self.meet_load_at(engine, place);
        }
    }

    /// Somebody looks through all cells.
    pub(super) fn meet_all_loads(&mut self, engine: &Engine<L>) {
        while let Some(place) = self.loads.unmet(|_| true) {
            self.meet_load_at(engine, place);
        }
    }

    #[cold]
    fn meet_load_at(&mut self, engine: &Engine<L>, place: usize) {
        let Note { number, hash, load } = self.loads.notes.swap_remove(place);
        let Load::Unmet { key, began, deadline } = load else {
            unreachable!("it was looked for as one that nobody met")
        };
        let flight = self.make_load(engine, hash, key, (began, deadline));
        self.loads.notes.push(Note { number, hash, load: Load::Met(flight) });
    }

    #[cold]
    fn make_load(
        &mut self,
        engine: &Engine<L>,
        hash: u64,
        key: NotedKey<L>,
        (began, deadline): (Tick, Tick),
    ) -> Arc<Flight<L>> {
        let key = match key {
            NotedKey::Shared(key) => key,
            NotedKey::Own(key) => Arc::new(key),
        };
        let flight = Arc::new(Flight::new(engine.new_fence(), began, deadline));
        let mut cell = Cell::new(hash, key);
        cell.slot.load_begins(flight.fence);
        cell.flight = Some(Arc::clone(&flight));
        self.slots.insert_unique(hash, cell, |cell| cell.hash);
        flight
    }
}
