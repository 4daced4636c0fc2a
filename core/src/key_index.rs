//! The entries of a shard in the order of their keys' bytes, where the options ask for it.
//!
//! It is changed in the same step as the table of entries, under the shard's exclusive lock, and compares bytes only.
//! Invariant: it holds exactly the resident entries, absent marks included.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use crate::entry::Layout;
use crate::entry::sealed::Stored;

/// How a key is seen as bytes.
pub(crate) type ToBytes<L> = fn(&<L as Layout>::Key) -> &[u8];

pub(crate) struct KeyIndex<L: Layout> {
    bytes: ToBytes<L>,
    entries: BTreeSet<ByKey<L>>,
}

struct ByKey<L: Layout> {
    stored: L::Stored,
    bytes: ToBytes<L>,
}

impl<L: Layout> Borrow<[u8]> for ByKey<L> {
    fn borrow(&self) -> &[u8] {
        (self.bytes)(self.stored.key())
    }
}

impl<L: Layout> Ord for ByKey<L> {
    fn cmp(&self, other: &Self) -> Ordering {
        Borrow::<[u8]>::borrow(self).cmp(other.borrow())
    }
}

impl<L: Layout> PartialOrd for ByKey<L> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<L: Layout> PartialEq for ByKey<L> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<L: Layout> Eq for ByKey<L> {}

impl<L: Layout> KeyIndex<L> {
    pub(crate) fn new(bytes: ToBytes<L>) -> Self {
        Self { bytes, entries: BTreeSet::new() }
    }

    /// `stored` has just become resident. The caller keeps a handle on what it replaced, so that nothing of the program's is
    /// dropped here; so in `remove`.
    pub(crate) fn add(&mut self, stored: &L::Stored) {
        self.entries.replace(ByKey { stored: stored.clone(), bytes: self.bytes });
    }

    pub(crate) fn remove(&mut self, stored: &L::Stored) {
        self.entries.remove((self.bytes)(stored.key()));
    }

    /// The entries whose keys begin with `head`.
    pub(crate) fn with_head<'a>(&'a self, head: &'a [u8]) -> impl Iterator<Item = &'a L::Stored> {
        self.entries
            .range::<[u8], _>((Bound::Included(head), Bound::Unbounded))
            .take_while(move |entry| Borrow::<[u8]>::borrow(*entry).starts_with(head))
            .map(|entry| &entry.stored)
    }
}
