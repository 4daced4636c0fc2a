//! Tags of records, and what is remembered of a tag's invalidation.
//!
//! What a load or write in flight will bring has tags that nobody knows yet. So the latest invalidated tags are remembered, and held
//! against what calls bring that began before them. A call costs one atomic read; only a record with tags is looked up. Lock rank: below
//! the shard's lock, and no other lock is taken inside. Invariant: whoever asks is told of every tag invalidated since it began, or that too many
//! were to remember.

use std::collections::VecDeque;

use crate::bugs::{self, Bug};
use crate::entry::Layout;
use crate::entry::sealed::Stored;
use crate::index::Rows;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Takes the tags of a record: see [`Builder::tags`](crate::Builder::tags).
pub struct Tags<'a>(&'a mut Rows);

impl<'a> Tags<'a> {
    pub(crate) fn new(rows: &'a mut Rows) -> Self {
        Self(rows)
    }

    /// The record has this tag. The same twice counts once.
    pub fn add(&mut self, tag: impl AsRef<[u8]>) {
        self.0.add_tag(tag.as_ref());
    }
}

/// The latest invalidations of tags, numbered in their order.
pub(crate) struct TagMemory {
    most: usize,
    /// How many there were. Grows under the lock; a call that begins reads it without.
    told: AtomicU64,
    latest: Mutex<VecDeque<Box<[u8]>>>,
}

impl TagMemory {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, told: AtomicU64::new(0), latest: Mutex::new(VecDeque::new()) }
    }

    /// A load is about to ask the origin, or a write to be sent.
    pub(crate) fn begins(&self) -> Running {
        // Acquire: the origin is asked after this, and so sees what was done there before the invalidations that are counted here. Pairs
        // with the release in `invalidated`.
        Running { since: self.told.load(Ordering::Acquire) }
    }

    /// `tag` is invalidated: before the entries that have it go, so that what becomes resident after that was held against it.
    pub(crate) fn invalidated(&self, tag: &[u8]) {
        let forgotten = {
            let mut latest = self.latest.lock();
            latest.push_back(tag.into());
            self.told.fetch_add(1, Ordering::Release);
            if latest.len() > self.most { latest.pop_front() } else { None }
        };
        drop(forgotten);
    }

    /// A tag of the record was invalidated since the call began, or may have been.
    pub(crate) fn is_against<L: Layout>(&self, call: Running, stored: &L::Stored) -> bool {
        let Some(rows) = stored.rows() else { return false };
        let mut tags = rows.tags().peekable();
        if tags.peek().is_none() || bugs::has(Bug::TagForgetsCallsInFlight) {
            return false;
        }
        let latest = self.latest.lock();
        // Relaxed: it grows under this lock.
        let unseen = self.told.load(Ordering::Relaxed) - call.since;
        let Some(seen) = usize::try_from(unseen).ok().and_then(|unseen| latest.len().checked_sub(unseen)) else {
            return true;
        };
        tags.any(|tag| latest.iter().skip(seen).any(|told| **told == *tag))
    }
}

/// A call that runs, known by how many invalidations were told when it began.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    since: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;
    use crate::entry::{Bytes, Header, Times};

    fn tagged(tags: &[&str]) -> <Bytes as Layout>::Stored {
        let mut rows = Rows::default();
        tags.iter().for_each(|tag| rows.add_tag(tag.as_bytes()));
        let times = Times::until(Tick::ZERO, Tick::NEVER);
        let header = Header::new(1, times, 1);
        <<Bytes as Layout>::Stored as Stored<Bytes>>::store(header, Some(Box::new(rows)), b"k", Some(Vec::new()), None)
    }

    #[test]
    fn a_tag_is_held_against_older_calls_only() {
        let memory = TagMemory::new(8);
        memory.invalidated(b"a");
        let older = memory.begins();
        memory.invalidated(b"a");
        let younger = memory.begins();
        memory.invalidated(b"b");
        let against = |call, tags: &[&str]| memory.is_against::<Bytes>(call, &tagged(tags));
        assert_eq!((against(older, &["a"]), against(younger, &["a"])), (true, false));
        assert_eq!((against(older, &["b"]), against(younger, &["b"])), (true, true));
        assert!(!against(older, &["c"]));
        assert!(against(older, &["c", "b"]));
    }

    #[test]
    fn what_is_too_much_to_remember_is_held_against_all_that_run_and_have_tags() {
        for most in 0..3 {
            let memory = TagMemory::new(most);
            let older = memory.begins();
            for tag in ["a", "b", "c"] {
                memory.invalidated(tag.as_bytes());
            }
            let against = |call, tags: &[&str]| memory.is_against::<Bytes>(call, &tagged(tags));
            assert!(against(older, &["z"]));
            assert!(!against(older, &[]), "what has no tag is no one's");
            let younger = memory.begins();
            assert!(["a", "c", "z"].iter().all(|tag| !against(younger, &[tag])));
            memory.invalidated(b"z");
            assert_eq!((against(younger, &["z"]), against(younger, &["a"])), (true, most == 0));
            assert_eq!(memory.latest.lock().len(), most);
        }
    }
}
