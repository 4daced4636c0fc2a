//! Which keys have moved while answers are awaited that tell of keys nobody knows yet.
//!
//! A create learns its key from its answer, and a listing its keys. What was written, invalidated or settled of such a key since the request
//! may be newer than what the answer brings, and may have left no trace by then. So while these are out, the keys that move are remembered, by their hashes; without, a move costs one atomic
//! read. Lock rank: below the shard's lock, and no other lock is taken inside. Invariant: whoever asks under a key's lock is told of every
//! move of the key since its request began, or that too many were to remember.

use std::collections::VecDeque;

use crate::bugs::{self, Bug};
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// As many moves are remembered.
const MOST: usize = 4096;

pub(crate) struct Moves {
    /// Creates and listings that are out.
    open: AtomicUsize,
    /// Of these, the creates.
    creates: AtomicUsize,
    latest: Mutex<Latest>,
}

#[derive(Default)]
struct Latest {
    /// How many there were.
    told: u64,
    /// Of these, the last one that was of keys that cannot be listed.
    of_many: u64,
    hashes: VecDeque<u64>,
}

/// A create or a listing that is out. Dropped, it is not any more.
pub(crate) struct Watching<'a> {
    moves: &'a Moves,
    since: u64,
    creates: bool,
}

impl Moves {
    pub(crate) fn new() -> Self {
        Self { open: AtomicUsize::new(0), creates: AtomicUsize::new(0), latest: Mutex::new(Latest::default()) }
    }

    /// A create is about to be sent.
    pub(crate) fn create_begins(&self) -> Watching<'_> {
        // SeqCst: as in `begins`.
        self.creates.fetch_add(1, Ordering::SeqCst);
        let mut watching = self.begins();
        watching.creates = true;
        watching
    }

    /// The origin is about to be asked for a list.
    pub(crate) fn begins(&self) -> Watching<'_> {
        // SeqCst, here and in `is_watched`: a move that does not see this one was made before it, and so before its send.
        self.open.fetch_add(1, Ordering::SeqCst);
        Watching { moves: self, since: self.latest.lock().told, creates: false }
    }

    /// Creates are out.
    pub(crate) fn is_creating(&self) -> bool {
        self.creates.load(Ordering::SeqCst) > 0
    }

    /// Creates or listings are out.
    pub(crate) fn is_watched(&self) -> bool {
        self.open.load(Ordering::SeqCst) > 0
    }

    /// What is known of a key has changed. Called under the exclusive lock of its shard.
    pub(crate) fn moved(&self, hash: u64) {
        if self.is_watched() {
            let mut latest = self.latest.lock();
            latest.told += 1;
            if latest.hashes.len() == MOST {
                latest.hashes.pop_front();
            }
            latest.hashes.push_back(hash);
        }
    }

    /// Keys are invalidated that may not be here: before those that are here go.
    pub(crate) fn many_moved(&self) {
        if self.is_watched() {
            let mut latest = self.latest.lock();
            latest.told += 1;
            latest.of_many = latest.told;
            latest.hashes.clear();
        }
    }
}

impl Watching<'_> {
    /// Something was learnt of the key since, or may have been. Asked under the exclusive lock of its shard.
    pub(crate) fn is_overtaken(&self, hash: u64) -> bool {
        if bugs::has(Bug::OvertakenIsRetained) {
            return false;
        }
        let latest = self.moves.latest.lock();
        if latest.of_many > self.since {
            return true;
        }
        let unseen = usize::try_from(latest.told - self.since).unwrap_or(usize::MAX);
        // Those that were told before the last one of many are not in the list, and were not since.
        match latest.hashes.len().checked_sub(unseen) {
            Some(seen) => latest.hashes.iter().skip(seen).any(|moved| *moved == hash),
            None => true,
        }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        if self.creates {
            self.moves.creates.fetch_sub(1, Ordering::SeqCst);
        }
        let before = self.moves.open.fetch_sub(1, Ordering::SeqCst);
        if before == 1 {
            let gone = std::mem::take(&mut self.moves.latest.lock().hashes);
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_overtaken_by_what_moved_since_it_began() {
        let moves = Moves::new();
        moves.moved(1);
        let older = moves.begins();
        moves.moved(2);
        let younger = moves.begins();
        moves.moved(3);
        let overtaken = |request: &Watching<'_>| [1, 2, 3].map(|hash| request.is_overtaken(hash));
        assert_eq!((overtaken(&older), overtaken(&younger)), ([false, true, true], [false, false, true]));
        moves.many_moved();
        let youngest = moves.begins();
        assert_eq!((overtaken(&older), overtaken(&younger), overtaken(&youngest)), ([true; 3], [true; 3], [false; 3]));
    }

    #[test]
    fn what_is_too_much_to_remember_overtakes_all_that_are_out() {
        let moves = Moves::new();
        let older = moves.begins();
        (0..=MOST as u64).for_each(|hash| moves.moved(hash));
        let younger = moves.begins();
        moves.moved(7);
        assert!(older.is_overtaken(u64::MAX));
        assert_eq!((younger.is_overtaken(7), younger.is_overtaken(8)), (true, false));
        assert_eq!(moves.latest.lock().hashes.len(), MOST);
    }

    #[test]
    fn nothing_is_remembered_for_nobody() {
        let moves = Moves::new();
        let first = moves.begins();
        moves.moved(1);
        drop(first);
        moves.moved(2);
        moves.many_moved();
        assert!(moves.latest.lock().hashes.is_empty());
        let later = moves.begins();
        assert_eq!([1, 2].map(|hash| later.is_overtaken(hash)), [false; 2]);
        moves.moved(2);
        assert_eq!([1, 2].map(|hash| later.is_overtaken(hash)), [false, true]);
    }
}
