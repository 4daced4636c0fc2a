//! The secondary index moves with the entry, in one step.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use shelf::{Answer, SECOND, Shelf, seed};
use wtcache::{Cache, Rows};
use wtcache_testkit::{Dice, ManualClock};

const WINDOW: Duration = Duration::from_secs(10);

/// Finds a number under each of its decimal digits in `digit`, and under its parity in `parity`.
fn digits(_: &u32, value: &u64, rows: &mut Rows) {
    for digit in value.to_string().bytes() {
        rows.add(0, &[digit]);
    }
    rows.add(1, if value.is_multiple_of(2) { b"even" } else { b"odd" });
}

fn indexed(shelf: &Shelf<u32, u64>, clock: &ManualClock, capacity: u64) -> Cache<u32, u64> {
    let cache = Cache::builder(shelf.clone()).clock(clock.shared()).clean_start(true).capacity(capacity);
    cache.indexes(["digit", "parity"], digits).build().unwrap()
}

fn keys(cache: &Cache<u32, u64>, index: &str, value: &str) -> BTreeSet<u32> {
    let found = cache.find(index, value.as_bytes()).unwrap();
    let keys: BTreeSet<u32> = found.entries.iter().map(|entry| *entry.key()).collect();
    assert_eq!(keys.len(), found.entries.len(), "a key is found once");
    keys
}

fn set<const N: usize>(keys: [u32; N]) -> BTreeSet<u32> {
    BTreeSet::from(keys)
}

#[test]
fn p1_an_entry_is_found_under_each_of_its_values() {
    let (clock, shelf) = (ManualClock::new(), Shelf::of([(1, 123), (2, 34), (3, 33)]));
    let cache = indexed(&shelf, &clock, 100);
    assert_eq!(keys(&cache, "digit", "3"), set([]), "what is not resident is not found");
    for key in 1..=3 {
        cache.get(&key).unwrap();
    }
    assert_eq!(keys(&cache, "digit", "1"), set([1]));
    assert_eq!(keys(&cache, "digit", "3"), set([1, 2, 3]));
    assert_eq!(keys(&cache, "parity", "odd"), set([1, 3]));
    assert_eq!(keys(&cache, "parity", "3"), set([]), "indexes are apart");
    assert!(cache.find("hue", b"3").is_none());
}

#[test]
fn p1_the_index_follows_put_and_replacement() {
    let (clock, shelf) = (ManualClock::new(), Shelf::new());
    let cache = indexed(&shelf, &clock, 100);
    cache.put(&1, 12).unwrap();
    assert_eq!(keys(&cache, "digit", "2"), set([1]));
    cache.put(&1, 23).unwrap();
    assert_eq!(keys(&cache, "digit", "1"), set([]));
    assert_eq!(keys(&cache, "digit", "2"), set([1]));
    assert_eq!(keys(&cache, "digit", "3"), set([1]));
    assert_eq!(cache.find("digit", b"2").unwrap().entries[0].value(), &23);
}

#[test]
fn p1_the_index_forgets_with_the_entry() {
    let (clock, shelf) = (ManualClock::new(), Shelf::new());
    let cache = indexed(&shelf, &clock, 100);
    for key in 1..=6 {
        cache.put(&key, 7).unwrap();
    }
    cache.delete(&1).unwrap();
    cache.invalidate(&2);
    shelf.answer(Answer::UnknownLost);
    assert!(cache.put(&3, 8).is_err());
    shelf.answer(Answer::RejectStale);
    assert!(cache.put(&4, 8).is_err());
    shelf.answer(Answer::Reject);
    assert!(cache.put(&5, 8).is_err());
    assert_eq!(keys(&cache, "digit", "7"), set([5, 6]), "deleted, invalidated, in doubt, out of date; refused stays");
    shelf.answer(Answer::ApplyUnseen);
    cache.put(&6, 8).unwrap();
    assert_eq!(keys(&cache, "digit", "7"), set([5]));
    assert_eq!(keys(&cache, "digit", "8"), set([]));
}

#[test]
fn p1_the_index_forgets_what_is_evicted() {
    let (clock, shelf) = (ManualClock::new(), Shelf::new());
    let cache = indexed(&shelf, &clock, 5);
    for key in 0..100 {
        cache.put(&key, 7).unwrap();
    }
    let resident: BTreeSet<u32> = (0..100).filter(|key| cache.peek(key).is_some()).collect();
    assert_eq!(keys(&cache, "digit", "7"), resident);
    assert_eq!(resident.len(), 5);
}

#[test]
fn f1_what_is_expired_is_counted_and_not_found() {
    let (clock, shelf) = (ManualClock::new(), Shelf::new());
    let cache = indexed(&shelf, &clock, 100);
    shelf.lifetime(wtcache::Lifetime::For(SECOND));
    cache.put(&1, 7).unwrap();
    shelf.lifetime(wtcache::Lifetime::For(2 * SECOND));
    cache.put(&2, 7).unwrap();
    clock.advance(SECOND);
    assert_eq!(keys(&cache, "digit", "7"), set([2]));
    let found = cache.find("digit", b"7").unwrap();
    assert_eq!(found.expired, 1);
    assert_eq!(found.expired_keys.iter().map(|expired| *expired.key()).collect::<Vec<_>>(), [1], "to be loaded again");
}

#[test]
fn d1_an_overdue_write_hides_its_entry_from_the_index() {
    let (clock, shelf) = (ManualClock::new(), Shelf::new());
    let cache = indexed(&shelf, &clock, 100);
    cache.put(&1, 7).unwrap();
    let sent = cache.prepare(&1, &wtcache::Call::new().deadline(SECOND)).unwrap().send().unwrap();
    assert_eq!(keys(&cache, "digit", "7"), set([1]), "the old base, while the write is out");
    clock.advance(SECOND);
    assert_eq!(keys(&cache, "digit", "7"), set([]), "from its deadline on it is in doubt");
    drop(sent);
}

#[test]
fn p1_a_value_given_twice_counts_once_and_an_entry_may_have_none() {
    let cache = Cache::builder(Shelf::<u32, u64>::new()).indexes(["tag"], |_, value, rows| {
        for _ in 0..*value {
            rows.add(0, b"");
        }
    });
    let cache = cache.build().unwrap();
    cache.put(&1, 2).unwrap();
    cache.put(&2, 0).unwrap();
    assert_eq!(keys(&cache, "tag", ""), set([1]));
    cache.put(&1, 0).unwrap();
    assert_eq!(keys(&cache, "tag", ""), set([]));
}

#[test]
fn p1_no_reader_finds_an_entry_under_a_value_that_it_does_not_have() {
    let clock = ManualClock::new();
    let cache = indexed(&Shelf::new(), &clock, 3);
    let seed = seed();
    println!("WTCACHE_SEED={seed}");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice::new(seed);
            for _ in 0..20_000 {
                let key = dice.below(4) as u32;
                if dice.below(8) == 0 {
                    cache.invalidate(&key);
                } else {
                    cache.put(&key, [11, 22, 12][dice.below(3) as usize]).unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            for digit in ["1", "2"] {
                for entry in cache.find("digit", digit.as_bytes()).unwrap().entries {
                    assert!(entry.value().to_string().contains(digit), "{entry:?} under {digit}");
                }
            }
        }
    });
}

#[derive(Clone, Debug)]
enum Op {
    Put(u32, u64),
    PutUnseen(u32, u64),
    PutRefused(u32, u64),
    PutInDoubt(u32, u64),
    Delete(u32),
    Get(u32),
    Invalidate(u32),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (key, value) = (0..6u32, 0..100u64);
    prop_oneof![
        6 => (key.clone(), value.clone()).prop_map(|(k, v)| Op::Put(k, v)),
        1 => (key.clone(), value.clone()).prop_map(|(k, v)| Op::PutUnseen(k, v)),
        1 => (key.clone(), value.clone()).prop_map(|(k, v)| Op::PutRefused(k, v)),
        1 => (key.clone(), value).prop_map(|(k, v)| Op::PutInDoubt(k, v)),
        2 => key.clone().prop_map(Op::Delete),
        4 => key.clone().prop_map(Op::Get),
        2 => key.prop_map(Op::Invalidate),
        2 => (1..6u64).prop_map(Op::Pass),
    ]
}

/// What should be resident: a value with its end, and until when a key is in doubt.
#[derive(Default)]
struct Model {
    now: u64,
    entries: BTreeMap<u32, (u64, u64)>,
    doubts: BTreeMap<u32, u64>,
}

const LIFETIME: u64 = 7;

impl Model {
    fn take(&mut self, key: u32, value: u64) {
        match self.doubts.contains_key(&key) {
            true => self.entries.remove(&key),
            false => self.entries.insert(key, (value, self.now + LIFETIME)),
        };
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let now = self.now;
        self.entries.retain(|_, (_, end)| *end > now);
        self.doubts.retain(|_, end| *end > now);
    }

    fn find(&self, digit: &str) -> BTreeSet<u32> {
        self.entries.iter().filter(|(_, (value, _))| value.to_string().contains(digit)).map(|(key, _)| *key).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p1_find_equals_a_model_after_every_operation(ops in prop::collection::vec(op(), 1..80)) {
        let clock = ManualClock::new();
        let shelf = Shelf::<u32, u64>::new();
        shelf.lifetime(wtcache::Lifetime::For(Duration::from_secs(LIFETIME)));
        let cache = indexed(&shelf, &clock, 100);
        let mut model = Model::default();
        for op in &ops {
            match *op {
                Op::Put(key, value) => {
                    shelf.answer(Answer::Apply);
                    cache.put(&key, value).unwrap();
                    model.take(key, value);
                }
                Op::PutUnseen(key, value) => {
                    shelf.answer(Answer::ApplyUnseen);
                    cache.put(&key, value).unwrap();
                    model.entries.remove(&key);
                }
                Op::PutRefused(key, value) => {
                    shelf.answer(Answer::Reject);
                    prop_assert!(cache.put(&key, value).is_err());
                }
                Op::PutInDoubt(key, value) => {
                    shelf.answer(Answer::UnknownLost);
                    prop_assert!(cache.put(&key, value).is_err());
                    model.entries.remove(&key);
                    model.doubts.insert(key, model.now + WINDOW.as_secs());
                }
                Op::Delete(key) => {
                    shelf.answer(Answer::Apply);
                    cache.delete(&key).unwrap();
                    model.entries.remove(&key);
                }
                Op::Get(key) => {
                    let got = cache.get(&key).unwrap().map(|e| *e);
                    prop_assert_eq!(got, shelf.state().records.get(&key).copied());
                    if let Some(value) = got && !model.entries.contains_key(&key) {
                        model.take(key, value);
                    }
                }
                Op::Invalidate(key) => {
                    cache.invalidate(&key);
                    model.entries.remove(&key);
                }
                Op::Pass(seconds) => {
                    clock.advance(Duration::from_secs(seconds));
                    model.pass(seconds);
                }
            }
            for digit in ["0", "3", "7"] {
                prop_assert_eq!(keys(&cache, "digit", digit), model.find(digit));
            }
        }
    }
}

fn between(cache: &Cache<u32, u64>, index: &str, from: Bound<&[u8]>, to: Bound<&[u8]>) -> BTreeSet<u32> {
    cache.find_between(index, from, to).unwrap().entries.iter().map(|entry| *entry.key()).collect()
}

#[test]
fn p1_an_ordered_index_finds_what_lies_between_two_values() {
    let (clock, shelf) = (ManualClock::new(), Shelf::new());
    let cache = Cache::builder(shelf.clone()).clock(clock.shared()).clean_start(true).capacity(100);
    let cache = cache.indexes(["digit", "parity"], digits).ordered_indexes(true).build().unwrap();
    for (key, value) in [(1, 1), (2, 23), (3, 3), (4, 4), (5, 44)] {
        cache.put(&key, value).unwrap();
    }
    for (from, to, expected) in [
        (Unbounded, Unbounded, vec![1, 2, 3, 4, 5]),
        (Included("2"), Unbounded, vec![2, 3, 4, 5]),
        (Excluded("3"), Unbounded, vec![4, 5]),
        (Unbounded, Excluded("3"), vec![1, 2]),
        (Unbounded, Included("3"), vec![1, 2, 3]),
        (Excluded("1"), Excluded("4"), vec![2, 3]),
        (Included("3"), Included("3"), vec![2, 3]),
        (Included("3"), Excluded("3"), vec![]),
        (Excluded("3"), Excluded("3"), vec![]),
        (Excluded("3"), Included("3"), vec![]),
        (Included("4"), Included("1"), vec![]),
        (Included("5"), Unbounded, vec![]),
    ] {
        let found = between(&cache, "digit", from.map(str::as_bytes), to.map(str::as_bytes));
        assert_eq!(found, BTreeSet::from_iter(expected), "{from:?} {to:?}");
    }
    assert_eq!(cache.find_between("digit", Included(b"2"), Included(b"3")).unwrap().entries.len(), 3, "key 2 by both");
    assert_eq!(between(&cache, "parity", Included(b"f"), Unbounded), set([1, 2, 3]), "indexes are apart");
    // As entries come and go, so do the values.
    cache.put(&4, 7).unwrap();
    cache.invalidate(&5);
    assert_eq!(between(&cache, "digit", Included(b"4"), Unbounded), set([4]));
    cache.invalidate(&4);
    assert_eq!(between(&cache, "digit", Included(b"4"), Unbounded), set([]));
    cache.put(&6, 9).unwrap();
    assert_eq!(between(&cache, "digit", Included(b"4"), Unbounded), set([6]));
    assert!(cache.find_between("hue", Unbounded, Unbounded).is_none());
    let plain = indexed(&shelf, &clock, 100);
    assert!(plain.find_between("digit", Unbounded, Unbounded).is_none(), "nobody asked for an order");
}

#[test]
fn p1_an_ordered_index_tells_what_has_expired() {
    let (clock, shelf) = (ManualClock::new(), Shelf::of([(1, 1), (2, 2)]));
    let cache = Cache::builder(shelf).clock(clock.shared()).clean_start(true).capacity(100).lifetime(SECOND);
    let cache = cache.indexes(["digit", "parity"], digits).ordered_indexes(true).build().unwrap();
    cache.get(&1).unwrap();
    clock.advance(SECOND);
    cache.get(&2).unwrap();
    let found = cache.find_between("digit", Unbounded, Unbounded).unwrap();
    assert_eq!((found.entries.len(), found.expired, *found.expired_keys[0].key()), (1, 1, 1));
}
