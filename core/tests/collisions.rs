//! Keys whose hashes are the same are keys of their own.
//!
//! The hash is seeded, so that nobody can choose such keys; a `Hash` that says little makes them all the same.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::hash::{Hash, Hasher};

use shelf::{Answer, SECOND, Shelf};
use wtcache::{Cache, Call, How, WriteError};
use wtcache_testkit::ManualClock;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key(u32);

impl Hash for Key {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

fn world() -> (ManualClock, Shelf<Key, u64>, Cache<Key, u64>) {
    let (clock, shelf) = (ManualClock::new(), Shelf::new());
    let builder = Cache::builder(shelf.clone()).clock(clock.shared()).clean_start(true);
    let cache = builder.indexes(["all"], |_, _, rows| rows.add(0, b"")).build().unwrap();
    (clock, shelf, cache)
}

/// Leaves the key in doubt.
fn doubt(shelf: &Shelf<Key, u64>, cache: &Cache<Key, u64>, key: u32) {
    shelf.answer(Answer::UnknownLost);
    assert!(matches!(cache.put(&Key(key), 0), Err(WriteError::InDoubt(_))));
    shelf.answer(Answer::Apply);
}

#[test]
fn g5_each_key_has_its_own_value() {
    let (_, _, cache) = world();
    for key in 0..20 {
        cache.put(&Key(key), 100 + u64::from(key)).unwrap();
    }
    let value = |key| cache.peek(&Key(key)).map(|entry| *entry);
    assert!((0..20).all(|key| value(key) == Some(100 + u64::from(key))));
    cache.delete(&Key(3)).unwrap();
    cache.invalidate(&Key(4));
    assert_eq!((2..6).map(value).collect::<Vec<_>>(), [Some(102), None, None, Some(105)]);
    assert_eq!((cache.stats().entries, cache.find("all", b"").unwrap().entries.len()), (18, 18));
}

#[test]
fn d1_a_doubt_is_of_its_own_key() {
    let (clock, shelf, cache) = world();
    doubt(&shelf, &cache, 1);
    shelf.set(Key(2), 20);
    assert_eq!(cache.read(&Key(2), &Call::new()).unwrap().how, How::Loaded { kept: true });
    assert!(cache.prepare(&Key(1), &Call::new()).unwrap().send().is_ok(), "and in doubt again");
    clock.advance(SECOND);
    doubt(&shelf, &cache, 3);
    assert_eq!(cache.stats().in_doubt, 2);
    // One is settled by time alone, while the other goes on.
    clock.advance(9 * SECOND);
    assert_eq!(cache.stats().in_doubt, 1);
    assert_eq!(cache.read(&Key(3), &Call::new()).unwrap().how, How::Loaded { kept: false });
    assert_eq!(cache.read(&Key(1), &Call::new()).unwrap().how, How::Loaded { kept: true });
}
