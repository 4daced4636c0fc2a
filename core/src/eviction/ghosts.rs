//! What is remembered of entries that were evicted before their first hit.
//!
//! Invariant: what is in the set is in the order, too, and both are bounded by what their owner says.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// Entries that were evicted from the small queue, oldest first; as many as entries are resident. Known by half of their hash: one
/// that is taken for another is promoted by mistake, which is rare and does no harm.
pub(super) struct Ghosts {
    pub(super) order: VecDeque<u32>,
    pub(super) set: HashTable<u32>,
}

impl Ghosts {
    pub(super) fn new() -> Self {
        Self { order: VecDeque::new(), set: HashTable::new() }
    }

    /// What is remembered of a hash: bits that choose no shard.
    pub(super) fn trace(hash: u64) -> u32 {
        hash as u32
    }

    /// Spreads a trace over all bits that a table looks at.
    fn spread(trace: u32) -> u64 {
        u64::from(trace).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    pub(super) fn add(&mut self, hash: u64, most: usize) {
        let trace = Self::trace(hash);
        if !self.has(trace) {
            self.set.insert_unique(Self::spread(trace), trace, |trace| Self::spread(*trace));
            self.order.push_back(trace);
        }
        while self.order.len() > most.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.forget(oldest);
            }
        }
    }

    /// True if the hash was remembered. Its place in the order stays until it comes to the front.
    pub(super) fn remove(&mut self, hash: u64) -> bool {
        self.forget(Self::trace(hash))
    }

    pub(super) fn has(&self, trace: u32) -> bool {
        self.set.find(Self::spread(trace), |other| *other == trace).is_some()
    }

    fn forget(&mut self, trace: u32) -> bool {
        self.set.find_entry(Self::spread(trace), |other| *other == trace).map(|found| found.remove()).is_ok()
    }
}
