//! Many keys at once, under the exclusive locks of all their shards: what a transaction does in one step.
//!
//! The locks are taken in the shards' order, as a reader of many keys does, so that nobody waits in a circle. Invariant: nobody sees one
//! of the keys changed and another not yet.

use super::{After, AtKey, State};
use crate::engine::Engine;
use crate::entry::Layout;
use crate::memory::lock::Writing;

/// What the shards know of some keys.
pub(crate) struct AtKeys<'a, L: Layout> {
    engine: &'a Engine<L>,
    keys: &'a [(u64, &'a L::Key)],
    /// By the numbers of their shards, in order.
    states: Vec<(usize, Writing<'a, State<L>>)>,
    /// One a key, so that each event has its own.
    afters: &'a mut [After<L>],
}

impl<'a, L: Layout> AtKeys<'a, L> {
    /// Each key is given once, brought up to the present.
    pub(crate) fn new(engine: &'a Engine<L>, keys: &'a [(u64, &'a L::Key)], afters: &'a mut [After<L>]) -> Self {
        let mut numbers: Vec<usize> = keys.iter().map(|(hash, _)| engine.shard_number(*hash)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let states = numbers.into_iter().map(|number| (number, engine.shards()[number].write())).collect();
        let mut at_keys = Self { engine, keys, states, afters };
        at_keys.each(|_, at| at.tick());
        at_keys
    }

    pub(crate) fn at<T>(&mut self, number: usize, work: impl FnOnce(&mut AtKey<'_, L>) -> T) -> T {
        let (hash, key) = self.keys[number];
        let shard = self.engine.shard_number(hash);
        let place =
            self.states.binary_search_by_key(&shard, |(number, _)| *number).expect("the shard of each key is here");
        work(&mut AtKey::new(self.engine, &mut self.states[place].1, hash, key, &mut self.afters[number]))
    }

    pub(crate) fn each(&mut self, mut work: impl FnMut(usize, &mut AtKey<'_, L>)) {
        for number in 0..self.keys.len() {
            self.at(number, |at| work(number, at));
        }
    }

    /// A transaction on the keys becomes visible, begins to send, or ends.
    pub(crate) fn count_transaction(&mut self) {
        for (_, state) in &mut self.states {
            state.transactions += 1;
        }
    }

    /// Gives back the cells in which nothing goes on any more, and then the locks.
    pub(crate) fn leave(mut self) {
        self.each(|_, at| at.leave());
    }
}
