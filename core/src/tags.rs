//! Tags of records, and what is remembered of a tag's invalidation.
//!
//! What a load or write in flight will bring has tags that nobody knows yet. So an invalidated tag is remembered for as long as
//! a call runs that began before it, and held against what the call brings. Lock rank: below the shard's lock, and no other lock
//! is taken inside. Invariant: whoever asks is told of every tag invalidated since it began, or that too many were to remember.

use std::collections::VecDeque;

use crate::bugs::{self, Bug};
use crate::entry::Layout;
use crate::entry::sealed::Stored;
use crate::index::Rows;
use crate::sync::{Arc, Mutex};

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

/// The invalidations of tags that calls in flight have not seen.
pub(crate) struct TagMemory {
    most: usize,
    state: Mutex<State>,
}

struct State {
    /// The number of the oldest invalidation that is remembered. A call that began before it and still runs is one of those of
    /// which nothing is retained, since what was told meanwhile was too much to remember.
    first: u64,
    told: VecDeque<Box<[u8]>>,
    /// How many calls run that began just before the invalidation of the same place in `told`, and last those since the latest.
    running: VecDeque<usize>,
}

impl TagMemory {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let state = State { first: 0, told: VecDeque::new(), running: VecDeque::from([0]) };
        Arc::new(Self { most, state: Mutex::new(state) })
    }

    /// A load is about to ask the origin, or a write to be sent.
    pub(crate) fn begins(self: &Arc<Self>) -> Running {
        let mut state = self.state.lock();
        let since = state.first + state.told.len() as u64;
        *state.running.back_mut().expect("one more place than invalidations") += 1;
        Running { memory: Arc::clone(self), since }
    }

    /// `tag` is invalidated: before the entries that have it go, so that what becomes resident after that was held against it.
    pub(crate) fn invalidated(&self, tag: &[u8]) {
        let mut state = self.state.lock();
        if state.running.iter().all(|calls| *calls == 0) {
            return;
        }
        if state.told.len() < self.most {
            state.told.push_back(tag.into());
            state.running.push_back(0);
        } else {
            state.first += state.told.len() as u64 + 1;
            state.told.clear();
            state.running = VecDeque::from([0]);
        }
    }
}

/// A call that runs. Dropped, it has ended.
pub(crate) struct Running {
    memory: Arc<TagMemory>,
    since: u64,
}

impl Running {
    /// A tag of the record was invalidated since the call began, or may have been.
    pub(crate) fn is_against<L: Layout>(&self, stored: &L::Stored) -> bool {
        let Some(rows) = stored.header().rows() else { return false };
        let mut tags = rows.tags().peekable();
        if tags.peek().is_none() || bugs::has(Bug::TagForgetsCallsInFlight) {
            return false;
        }
        let state = self.memory.state.lock();
        let Some(seen) = self.since.checked_sub(state.first) else { return true };
        let unseen = state.told.iter().skip(usize::try_from(seen).unwrap_or(usize::MAX));
        let unseen: Vec<&[u8]> = unseen.map(|tag| &**tag).collect();
        tags.any(|tag| unseen.contains(&tag))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.memory.state.lock();
        // Without a place, nobody counts it any more.
        let Some(place) = self.since.checked_sub(state.first).and_then(|place| usize::try_from(place).ok()) else {
            return;
        };
        state.running[place] -= 1;
        while !state.told.is_empty() && state.running.front() == Some(&0) {
            state.told.pop_front();
            state.running.pop_front();
            state.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;
    use crate::entry::{Bytes, Header, Times};

    fn tagged(tags: &[&str]) -> <Bytes as Layout>::Stored {
        let mut rows = Rows::default();
        tags.iter().for_each(|tag| rows.add_tag(tag.as_bytes()));
        let times = Times { since: Tick::ZERO, expires: Tick::NEVER, refresh: Tick::NEVER };
        let header = Header::new(1, times, 1, Some(Box::new(rows)));
        <<Bytes as Layout>::Stored as Stored<Bytes>>::store(header, &Box::from(&b"k"[..]), Some(Vec::new()), None)
    }

    #[test]
    fn a_tag_is_held_against_older_calls_only_and_forgotten_with_the_last() {
        let memory = TagMemory::new(8);
        memory.invalidated(b"a");
        assert!(memory.state.lock().told.is_empty(), "nothing runs");
        let older = memory.begins();
        memory.invalidated(b"a");
        let younger = memory.begins();
        memory.invalidated(b"b");
        let against = |call: &Running, tag| call.is_against::<Bytes>(&tagged(&[tag]));
        assert_eq!((against(&older, "a"), against(&younger, "a")), (true, false));
        assert_eq!((against(&older, "b"), against(&younger, "b")), (true, true));
        assert!(!against(&older, "c"));
        assert!(older.is_against::<Bytes>(&tagged(&["c", "b"])));
        drop(younger);
        assert_eq!(memory.state.lock().told.len(), 2, "the older one still runs");
        drop(older);
        let state = memory.state.lock();
        assert_eq!((state.told.len(), state.running.iter().sum::<usize>()), (0, 0));
    }

    #[test]
    fn what_is_too_much_to_remember_is_held_against_all_that_run_and_have_tags() {
        let memory = TagMemory::new(2);
        let older = memory.begins();
        for tag in ["a", "b", "c"] {
            memory.invalidated(tag.as_bytes());
        }
        assert!(older.is_against::<Bytes>(&tagged(&["z"])));
        assert!(!older.is_against::<Bytes>(&tagged(&[])), "what has no tag is no one's");
        let younger = memory.begins();
        assert!(!younger.is_against::<Bytes>(&tagged(&["a", "c", "z"])));
        memory.invalidated(b"z");
        assert!(younger.is_against::<Bytes>(&tagged(&["z"])));
        drop(older);
        drop(younger);
        assert!(memory.state.lock().told.is_empty());
    }
}
