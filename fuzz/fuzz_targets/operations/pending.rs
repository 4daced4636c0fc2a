//! Writes that are left pending (chapter 5): they stand at a gate of the source's until the program says what becomes of them.
//!
//! The cache settles them on threads of its own. So that one thread at a time does anything all the same, whoever leaves or settles a write waits
//! until the key's first one stands at the gate, and its source call goes on only while the program waits for its end. Invariant: while no
//! operation is under way, each key's first pending write is at the gate, and the others wait for its turn.

use std::thread::yield_now;
use std::time::{Duration, Instant};

use wtcache::{Call, How, LoadError, NotSent, PendingWrite, WriteError};

use crate::input::{KEYS, Left, What, WriteDoes};
use crate::judge::Before;
use crate::truth::Record;
use crate::world::{Bytes, World, idempotency_key, number, value};

/// More of one key find nothing that as many do not find.
const MOST: usize = 6;
/// In true time.
const HANGS_AFTER: Duration = Duration::from_secs(20);

/// A pending write.
pub(crate) struct Above {
    left: Left,
    before: Before,
    handle: PendingWrite<Bytes>,
}

/// What a merge makes of a record: another one for each.
fn merged(own: u64, of: Record) -> u64 {
    own << 32 | of.map_or(0, |number| 1 + ((number ^ number >> 32) & 0x7fff_ffff))
}

impl Above {
    /// What it makes of what is beneath it.
    fn over(&self, beneath: Record) -> Record {
        match self.left {
            Left::Put => Some(self.before.number),
            Left::Delete => None,
            Left::Merge => Some(merged(self.before.number, beneath)),
        }
    }
}

impl World {
    pub(crate) fn is_pending(&self, key: usize) -> bool {
        !self.at().above[key].is_empty()
    }

    pub(crate) fn leave(&self, key: usize, left: Left) {
        let before = {
            let mut state = self.at();
            // A permit of the program's: what is left would wait for it, and for its end by time. With writes that wait, for doubts.
            let waits = state.above[key].is_empty() && state.truth.turn_is_held(key);
            if self.options.writes_wait || waits || state.above[key].len() >= MOST {
                return;
            }
            // What a merge loads in its turn has no script of its own.
            state.loads.clear();
            drop(state);
            self.before(key)
        };
        self.at().left.insert(before.send);
        let call = Call::new().idempotency_key(idempotency_key(before.send));
        let (cache, bytes, own) = (self.cache(), [key as u8], before.number);
        let admitted = match left {
            Left::Put => cache.put_optimistic_with(&bytes, value(own), &call),
            Left::Delete => cache.delete_optimistic_with(&bytes, &call),
            Left::Merge => {
                let merge = move |old: Option<&[u8]>| Some(value(merged(own, old.map(number))));
                cache.merge_optimistic_with(&bytes, merge, &call)
            }
        };
        let handle = admitted.expect("O2: nothing keeps it from being admitted");
        self.at().above[key].push_back(Above { left, before, handle });
        self.arrives(key);
        self.shows(key);
    }

    /// Waits until the first pending write of the key is at the gate.
    fn arrives(&self, key: usize) {
        self.wait_for(|world| {
            let state = world.at();
            let Some(first) = state.above[key].front() else { return true };
            assert!(!first.handle.has_ended(), "O2: a pending write of key {key} ended before it was sent");
            state.arrived[key] == Some(first.before.send)
        });
    }

    fn wait_for(&self, is_there: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_there(self) {
            assert!(begun.elapsed() < HANGS_AFTER, "P3: a pending write does not get on");
            yield_now();
        }
    }

    /// In the source: a pending write waits until the program says what becomes of it.
    pub(crate) fn stands_at_the_gate(&self, key: usize, write: u64) -> Option<WriteDoes> {
        let mut state = self.at();
        if !state.left.contains(&write) {
            return None;
        }
        state.arrived[key] = Some(write);
        loop {
            if let Some(does) = state.answers[key].take() {
                // Sent again later, it is a write like any.
                state.left.remove(&write);
                state.arrived[key] = None;
                return Some(does);
            }
            state = self.moves.wait(state).expect("never poisoned");
        }
    }

    /// The origin answers the write at the gate.
    pub(crate) fn settle_pending(&self, key: usize, does: WriteDoes) {
        {
            let mut state = self.at();
            if state.above[key].is_empty() {
                return;
            }
            state.answers[key] = Some(does);
            self.moves.notify_all();
        }
        self.wait_for(|world| world.at().above[key].front().is_some_and(|first| first.handle.has_ended()));
        let Above { left, before, handle } = self.at().above[key].pop_front().expect("it was there just now");
        self.arrives(key);
        let sent = self.at().sent.get(&before.send).copied();
        if let (Left::Merge, Some((record, _))) = (left, sent) {
            let made = self.at().truth.was_ever(key, before.since, |base| record == Some(merged(before.number, base)));
            assert!(made, "O5: key {key}: {record:?} was sent, which is made of no base since {:?}", before.since);
        }
        let what = if left == Left::Delete { What::Delete } else { What::Put };
        self.wrote(key, &before, what, handle.wait());
        self.shows(key);
    }

    /// Takes one back: not the first, which has its turn.
    pub(crate) fn cancel(&self, key: usize, place: u8) {
        let taken = {
            let mut state = self.at();
            let places = state.above[key].len();
            if places == 0 {
                return;
            }
            let place = usize::from(place) % places;
            state.above[key].remove(place).map(|above| (above, place))
        };
        let Some((above, place)) = taken else { return };
        let is_cancelled = above.handle.cancel();
        assert_eq!(is_cancelled, place > 0, "O2: key {key}, place {place}");
        let mut state = self.at();
        if !is_cancelled {
            return state.above[key].push_front(above);
        }
        state.left.remove(&above.before.send);
        state.cancelled += 1;
        drop(state);
        let ended = above.handle.wait().map(drop);
        assert!(matches!(ended, Err(WriteError::NotSent(NotSent::Cancelled))), "O2: key {key}: {ended:?}");
        self.shows(key);
    }

    /// O1, O2: what is here is the base with the pending writes above it, or nothing.
    pub(crate) fn shows(&self, key: usize) {
        if !self.is_pending(key) {
            return;
        }
        let since = self.at().truth.reader_begins(key);
        if let Some(entry) = self.cache().peek(&[key as u8]) {
            assert!(entry.pending_since().is_some(), "O1: key {key} is pending, and not marked");
            self.is_shown(key, Some(number(entry.value())), since);
        }
    }

    pub(crate) fn get_pending(&self, key: usize) {
        let (since, scripted) = {
            let state = self.at();
            (state.truth.reader_begins(key), !state.loads.is_empty())
        };
        match self.cache().read(&[key as u8], &Call::new()) {
            Ok(read) => {
                assert_eq!(read.how, How::Pending, "O1: key {key}");
                self.is_shown(key, read.entry.map(|entry| number(entry.value())), since);
            }
            Err(LoadError::Source(_) | LoadError::Panicked(_) | LoadError::Deadline) if scripted => {}
            Err(error) => panic!("key {key} could not be read for no reason: {error}"),
        }
    }

    fn is_shown(&self, key: usize, record: Record, since: crate::truth::Since) {
        let state = self.at();
        let made = |base| state.above[key].iter().fold(base, |beneath, above| above.over(beneath)) == record;
        let is_right = state.truth.was_ever(key, since, made);
        assert!(is_right, "O1, O2: key {key} is shown as {record:?}, which its pending writes make of no base");
    }

    /// At the end all that is left is applied.
    pub(crate) fn settle_all(&self) {
        for key in 0..KEYS {
            while self.is_pending(key) {
                self.settle_pending(key, WriteDoes::HONEST);
            }
        }
    }
}
