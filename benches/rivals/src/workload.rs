//! What is measured: which keys, how much room, how many threads, reads and writes.
//!
//! Invariant: a workload draws the same keys in the same order for every cache, and in every run.

use std::sync::Arc;

use wtcache_benches::{KEY_BYTES, Key, VALUE_BYTES, key, zipf};

use crate::cache::{Kind, Origin, Rival, Room, Values, Weigh, spread_size};

const SKEW: f64 = 0.99;
const SEED: u64 = 1;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) what: What,
    /// How many different keys there are.
    pub(crate) keys: usize,
    pub(crate) threads: usize,
}

/// What the threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Reads of one resident key.
    Hot,
    /// Reads of resident keys.
    Hits,
    /// Reads with room for a tenth of the keys; a miss is loaded and kept.
    Tenth,
    /// Writes of resident keys.
    Overwrite,
    /// 95 reads and 5 writes of resident keys.
    Mixed,
    /// Reads of values from 16 bytes to 64 KiB, with room for a tenth of all bytes.
    Bytes,
}

impl Workload {
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let mut all = vec![Self { what: What::Hot, keys: 1, threads: 2 }];
        let (small, large): (usize, &[usize]) = if quick { (10_000, &[]) } else { (100_000, &[1_000_000]) };
        for what in [What::Hits, What::Tenth, What::Overwrite, What::Mixed, What::Bytes] {
            // A million keys of up to 64 KiB would need gigabytes.
            let large = if what == What::Bytes { &[] } else { large };
            for keys in [small].iter().chain(large) {
                all.extend([1, 2].map(|threads| Self { what, keys: *keys, threads }));
            }
        }
        all
    }

    pub(crate) fn name(self) -> String {
        let what = match self.what {
            What::Hot => "hits of one key",
            What::Hits => "hits",
            What::Tenth => "room for 10 %",
            What::Overwrite => "overwriting puts",
            What::Mixed => "95 gets, 5 puts",
            What::Bytes => "16 B to 64 KiB, room for 10 %",
        };
        let keys = match self.keys {
            1 => String::new(),
            keys if keys % 1_000_000 == 0 => format!(", {}M keys", keys / 1_000_000),
            keys => format!(", {}k keys", keys / 1_000),
        };
        let threads = if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        format!("{what}{keys}, {threads}")
    }

    /// The keys as they come, one after the other.
    pub(crate) fn drawn(self, count: usize) -> Vec<Key> {
        zipf(self.keys, SKEW, count, SEED)
    }

    /// The cache, with what is resident before anything is measured, and its origin: all keys, or, where there is no room for
    /// them, what reading `drawn` leaves.
    pub(crate) fn open(self, kind: Kind, drawn: &[Key]) -> Option<(Box<dyn Rival>, Arc<Origin>)> {
        let resident = !matches!(self.what, What::Tenth | What::Bytes);
        let values = if self.what == What::Bytes { Values::Spread } else { Values::Even };
        let room = match self.what {
            What::Tenth => Room::entries(self.keys / 10),
            What::Bytes => {
                let total: usize = (0..self.keys as u64).map(|n| KEY_BYTES + spread_size(&key(n))).sum();
                Room { capacity: total as u64 / 10, weigh: Weigh::Bytes, entries: self.keys / 10 }
            }
            // Twice what is needed: no cache divides its keys so evenly among its parts that all fit where there is room for just them.
            _ => Room::entries(self.keys.max(100) * 2),
        };
        let origin = Origin::new(values);
        let cache = kind.open(room, &origin)?;
        if resident {
            for n in 0..self.keys as u64 {
                cache.get(&key(n));
            }
        } else {
            self.play(&*cache, drawn.iter().copied());
        }
        Some((cache, origin))
    }

    /// Runs the next of `drawn` on `cache`: what one thread does in a round.
    pub(crate) fn play(self, cache: &dyn Rival, drawn: impl Iterator<Item = Key>) -> u64 {
        let value = [8; VALUE_BYTES];
        // Every how many operations one is a write.
        let put_every = match self.what {
            What::Overwrite => 1,
            What::Mixed => 20,
            _ => usize::MAX,
        };
        let (mut until_put, mut sum) = (put_every, 0);
        for key in drawn {
            until_put -= 1;
            if until_put == 0 {
                cache.put(&key, &value);
                until_put = put_every;
            } else {
                sum += u64::from(cache.get(&key));
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Notes what it is asked for.
    #[derive(Default)]
    struct Noted(Mutex<(usize, usize)>);

    impl Rival for Noted {
        fn get(&self, _: &[u8]) -> u8 {
            self.0.lock().unwrap().0 += 1;
            3
        }

        fn put(&self, _: &[u8], value: &[u8]) {
            assert_eq!(value.len(), VALUE_BYTES);
            self.0.lock().unwrap().1 += 1;
        }

        fn entries(&self) -> u64 {
            0
        }
    }

    #[test]
    fn reads_and_writes_come_in_the_shares_that_are_told() {
        for (what, expected) in [(What::Hits, (1_000, 0)), (What::Overwrite, (0, 1_000)), (What::Mixed, (950, 50))] {
            let noted = Noted::default();
            let workload = Workload { what, keys: 100, threads: 1 };
            let sum = workload.play(&noted, workload.drawn(1_000).into_iter());
            assert_eq!(*noted.0.lock().unwrap(), expected, "{what:?}");
            assert_eq!(sum, 3 * expected.0 as u64);
        }
    }

    #[test]
    fn where_only_hits_are_measured_nothing_is_loaded() {
        for kind in Kind::TIMED {
            for what in [What::Hot, What::Hits, What::Mixed] {
                let workload = Workload { what, keys: 2_000, threads: 1 };
                let drawn = workload.drawn(5_000);
                let (cache, origin) = workload.open(kind, &drawn).unwrap();
                assert_eq!(origin.loads(), 2_000);
                workload.play(&*cache, drawn.into_iter());
                assert_eq!(origin.loads(), 2_000, "{} {what:?}", kind.name());
            }
        }
    }
}
