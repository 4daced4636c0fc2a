//! Forgetting many keys of a shard at once: under its lock, in one step for all of them.
//!
//! What is in flight for a key that is meant is treated as if the key alone were invalidated. Invariant: what a shard held of the
//! keys meant is gone when its lock is released, and nothing that was in flight for them then is retained.

use super::{After, State};
use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::engine::Engine;
use crate::entry::Layout;
use crate::entry::sealed::Stored;
use crate::listener::{EventKind, Whose};
use crate::pattern::Keys;

impl<L: Layout> State<L> {
    /// Says how many entries went.
    pub(crate) fn invalidate_keys(
        &mut self,
        engine: &Engine<L>,
        keys: &Keys<'_, L>,
        now: Tick,
        after: &mut After<L>,
    ) -> usize {
        self.tick_all(engine, now, after);
        let before = self.store.len();
        let meant = self.store.of_keys(keys);
        for cell in &mut self.slots {
            let key = L::key(&cell.key);
            if keys.has(key) && !bugs::has(Bug::PatternSparesCallsInFlight) {
                let has_record = self.store.find(cell.hash, |other| L::same_key(other, key)).is_some();
                let change = cell.slot.invalidated();
                cell.apply(change, &mut self.store, engine, after);
                // Else it is told of the record.
                if !has_record {
                    cell.note(EventKind::Invalidated, engine, after);
                }
            }
        }
        self.forget_all(meant, engine, now, after);
        self.drop_idle(after);
        before - self.store.len()
    }

    /// Says how many entries went.
    pub(crate) fn invalidate_tag(&mut self, engine: &Engine<L>, tag: &[u8], now: Tick, after: &mut After<L>) -> usize {
        self.tick_all(engine, now, after);
        let before = self.store.len();
        let tagged: Vec<L::Stored> = self.store.index().find_tag(tag).cloned().collect();
        for stored in &tagged {
            let hash = stored.header().hash;
            if let Some(cell) = self.slots.find_mut(hash, |cell| cell.is_of(hash, stored.key())) {
                let change = cell.slot.invalidated();
                cell.apply(change, &mut self.store, engine, after);
            }
        }
        self.forget_all(tagged, engine, now, after);
        self.drop_idle(after);
        before - self.store.len()
    }

    fn forget_all(&mut self, meant: Vec<L::Stored>, engine: &Engine<L>, now: Tick, after: &mut After<L>) {
        for stored in meant {
            let hash = stored.header().hash;
            let whose = || Whose::Record(stored.clone());
            if engine.listener.is_some() && stored.header().expires_now(now) {
                after.note(engine, hash, EventKind::Expired, whose);
            }
            after.note(engine, hash, EventKind::Invalidated, whose);
            engine.moves.moved(hash);
            self.store.remove_stored(&stored, &engine.budget, &mut after.left);
            // Nor is this handle dropped under the lock.
            after.left.records.push(stored);
        }
    }

    fn drop_idle(&mut self, after: &mut After<L>) {
        for cell in self.slots.extract_if(|cell| cell.is_idle()) {
            after.cells.push(cell);
        }
    }
}
