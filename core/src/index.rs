//! The secondary index of a shard: from an attribute's value, or a tag, to the entries that have it.
//!
//! Rows are extracted before the shard's lock is taken, travel in the entry's header, and are added and removed in
//! the same step as the entry, under the shard's exclusive lock.
//! Invariant: the index holds exactly the rows of the resident entries; an absent mark has none. Where it is ordered, it knows the order of
//! exactly the values that its rows have.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::ops::Bound;

use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;

use crate::entry::Layout;
use crate::entry::sealed::Stored;

/// The attribute values of one entry, as an extractor gives them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rows(Vec<(u32, Box<[u8]>)>);

/// The number of the index of tags. No index of the program's has it: theirs have 16 bits.
const TAGS: u32 = 1 << 16;

impl Rows {
    /// The entry is found under `value` in the index of number `index` (in the order they were named to the builder). One
    /// entry may have several values in an index, or none; the same value twice counts once. A number that no index has takes
    /// memory and is never found.
    pub fn add(&mut self, index: u16, value: &[u8]) {
        self.add_row(index.into(), value);
    }

    pub(crate) fn add_tag(&mut self, tag: &[u8]) {
        self.add_row(TAGS, tag);
    }

    fn add_row(&mut self, index: u32, value: &[u8]) {
        if !self.0.iter().any(|(i, v)| *i == index && &**v == value) {
            self.0.push((index, value.into()));
        }
    }

    pub(crate) fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(|(index, _)| *index == TAGS).map(|(_, tag)| &**tag)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Row<S> {
    hash: u64,
    index: u32,
    value: Box<[u8]>,
    entries: HashTable<S>,
}

pub(crate) struct Index<L: Layout> {
    rows: HashTable<Row<L::Stored>>,
    /// The values of each index of the program's, by its number; empty where the options do not ask for them.
    ordered: Vec<BTreeSet<Box<[u8]>>>,
    seed: SeedableRandomState,
}

impl<L: Layout> Index<L> {
    /// `ordered`: of so many indexes the values are kept in order, too.
    pub(crate) fn new(seed: SeedableRandomState, ordered: usize) -> Self {
        Self { rows: HashTable::new(), ordered: (0..ordered).map(|_| BTreeSet::new()).collect(), seed }
    }

    /// Adds the rows of an entry that has just become resident.
    #[inline]
    pub(crate) fn add(&mut self, stored: &L::Stored) {
        if let Some(rows) = stored.rows() {
            self.add_rows(stored, rows);
        }
    }

    fn add_rows(&mut self, stored: &L::Stored, rows: &Rows) {
        for (index, value) in &rows.0 {
            let hash = self.seed.hash_one((index, value));
            let row = self
                .rows
                .entry(hash, |row| row.index == *index && row.value == *value, |row| row.hash)
                .or_insert_with(|| Row { hash, index: *index, value: value.clone(), entries: HashTable::new() })
                .into_mut();
            if row.entries.is_empty()
                && let Some(values) = of(&mut self.ordered, *index)
            {
                values.insert(value.clone());
            }
            row.entries.insert_unique(stored.header().hash, stored.clone(), |s| s.header().hash);
        }
    }

    /// Removes the rows of an entry that is about to go. The caller keeps a handle on it, so that nothing of the program's
    /// is dropped here.
    #[inline]
    pub(crate) fn remove(&mut self, stored: &L::Stored) {
        if let Some(rows) = stored.rows() {
            self.remove_rows(stored, rows);
        }
    }

    fn remove_rows(&mut self, stored: &L::Stored, rows: &Rows) {
        for (index, value) in &rows.0 {
            let hash = self.seed.hash_one((index, value));
            let found = self.rows.find_entry(hash, |row| row.index == *index && row.value == *value);
            let Ok(mut row) = found else { continue };
            if let Ok(entry) = row.get_mut().entries.find_entry(stored.header().hash, |s| s.same(stored)) {
                entry.remove();
            }
            if row.get().entries.is_empty() {
                row.remove();
                if let Some(values) = of(&mut self.ordered, *index) {
                    values.remove(value);
                }
            }
        }
    }

    pub(crate) fn find(&self, index: u16, value: &[u8]) -> impl Iterator<Item = &L::Stored> {
        self.row(index.into(), value)
    }

    /// By the values within these bounds, one after the other; nothing where the index is not ordered.
    pub(crate) fn find_between<'i>(
        &'i self,
        index: u16,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl Iterator<Item = &'i L::Stored> {
        let values = self.ordered.get(usize::from(index)).filter(|_| !is_nothing(from, to));
        let values = values.into_iter().flat_map(move |values| values.range::<[u8], _>((from, to)));
        values.flat_map(move |value| {
            let mut row = self.row(index.into(), value).peekable();
            debug_assert!(row.peek().is_some(), "a value without a row");
            row
        })
    }

    pub(crate) fn find_tag(&self, tag: &[u8]) -> impl Iterator<Item = &L::Stored> {
        self.row(TAGS, tag)
    }

    fn row(&self, index: u32, value: &[u8]) -> impl Iterator<Item = &L::Stored> {
        let hash = self.seed.hash_one((&index, value));
        self.rows
            .find(hash, |row| row.index == index && &*row.value == value)
            .into_iter()
            .flat_map(|row| row.entries.iter())
    }
}

/// Where the values of an index are, if they are kept in order.
fn of(ordered: &mut [BTreeSet<Box<[u8]>>], index: u32) -> Option<&mut BTreeSet<Box<[u8]>>> {
    ordered.get_mut(usize::try_from(index).ok()?)
}

/// Whether no value can lie between these.
fn is_nothing(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
        _ => false,
    }
}
