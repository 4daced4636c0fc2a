//! B1: which entries go for room, and how the parts of a cache share it.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;

use shelf::{Fns, Shelf, seed};
use wtcache::{Builder, Cache, EventKind, Loaded, Record, Typed};
use wtcache_testkit::Dice;

type Numbers = Typed<u32, u64>;

/// A value weighs as much as it says.
fn weighed(builder: Builder<Numbers>) -> Builder<Numbers> {
    builder.weigher(|_: &u32, value: Option<&u64>| value.copied().unwrap_or(1))
}

/// A cache over such a shelf, in so many parts.
fn shelved(capacity: u64, shards: usize) -> Cache<u32, u64> {
    weighed(Cache::builder(Shelf::<u32, u64>::new())).capacity(capacity).shards(shards).build().unwrap()
}

/// A weight for a key, always the same: 1 to 4,096, as many in each octave.
fn spread(key: u32) -> u64 {
    let draw = Dice::new(u64::from(key)).throw();
    let octave = 1 << (draw % 12);
    octave + (draw >> 8) % octave
}

/// Reads keys of which few are read often, of all weights, and gives the share that were hits.
fn hits(capacity: u64, shards: usize, keys: u64) -> f64 {
    const READS: u64 = 50_000;
    let source = Fns::<Numbers>::get(|key, _| Ok(Loaded::Found(Record::new(spread(*key)))));
    let cache = weighed(Cache::builder(source)).capacity(capacity).shards(shards).seed(1).build().unwrap();
    let mut dice = Dice::new(7);
    for _ in 0..READS {
        // Squared twice: the first thousandth of the keys is read a sixth of the time.
        let share = (dice.throw() >> 11) as f64 / (1u64 << 53) as f64;
        cache.get(&((share.powi(4) * keys as f64) as u32)).unwrap();
    }
    1.0 - cache.stats().loads as f64 / READS as f64
}

#[test]
fn b1_a_cache_of_many_parts_has_as_many_hits_as_one_of_one() {
    let all: u64 = (0..50_000).map(spread).sum();
    for room in [20, 100] {
        let (one, many) = (hits(all / room, 1, 50_000), hits(all / room, 16, 50_000));
        assert!(many > one - 0.03, "room for 1/{room}: {many} of all were hits, {one} in one part");
    }
}

#[test]
fn b1_a_record_heavier_than_its_parts_share_takes_the_room_of_the_others() {
    let cache = shelved(1_000, 8);
    for key in 0..1_000 {
        cache.put(&key, 1).unwrap();
    }
    assert_eq!(cache.stats().evicted, 0, "there was room for all");
    assert!(cache.put(&2_000, 600).unwrap().kept);
    let stats = cache.stats();
    assert_eq!((stats.weight, stats.entries, stats.evicted), (1_000, 401, 600));
    assert_eq!(cache.peek(&2_000).map(|entry| *entry), Some(600));
    // As heavy as the cache.
    assert!(cache.put(&2_001, 1_000).unwrap().kept);
    let stats = cache.stats();
    assert_eq!((stats.weight, stats.entries), (1_000, 1));
    assert_eq!(cache.peek(&2_001).map(|entry| *entry), Some(1_000));
}

#[test]
fn b1_a_record_that_grows_beyond_its_parts_share_is_kept_too() {
    let cache = shelved(1_000, 8);
    for key in 0..1_000 {
        cache.put(&key, 1).unwrap();
    }
    assert!(cache.put(&7, 1_000).unwrap().kept);
    assert_eq!((cache.stats().weight, cache.stats().entries), (1_000, 1));
    assert_eq!(cache.peek(&7).map(|entry| *entry), Some(1_000));
}

#[test]
fn b1_where_all_are_read_alike_the_light_ones_stay() {
    let cache = shelved(20_000, 1);
    let weight = |key: u32| if key.is_multiple_of(2) { 10 } else { 1_000 };
    // 1,010 would fit twenty times; all need 101,000.
    for round in 0..10 {
        let mut hits = 0;
        for key in 0..200 {
            match cache.peek(&key) {
                Some(_) => hits += 1,
                None => drop(cache.put(&key, weight(key)).unwrap()),
            }
            let _ = cache.get(&key).unwrap();
        }
        assert!(round < 2 || hits >= 100, "round {round}: {hits} of 200");
    }
    assert!((0..200).step_by(2).all(|key| cache.peek(&key).is_some()), "they need a twentieth of the room");
}

#[test]
fn b1_a_heavy_record_stays_that_is_read_often() {
    let cache = shelved(2_000, 1);
    cache.put(&0, 200).unwrap();
    for key in 1..5_000 {
        cache.put(&key, 10).unwrap();
        // A tenth of the room, twenty times what the others weigh, and every second call.
        cache.get(&0).unwrap();
    }
    assert_eq!(cache.stats().loads, 0, "it was there all the time");
}

#[test]
fn b1_what_weighs_nothing_takes_no_room() {
    let cache = shelved(10, 4);
    for key in 0..10 {
        cache.put(&key, 1).unwrap();
    }
    for key in 100..200 {
        cache.put(&key, 0).unwrap();
    }
    assert_eq!((cache.stats().evicted, cache.stats().entries, cache.stats().weight), (0, 110, 10));
    // Nor does it stand in the way of what needs room.
    assert!(cache.put(&1_000, 10).unwrap().kept);
    assert!(cache.peek(&1_000).is_some());
    assert_eq!(cache.stats().weight, 10);
}

/// What was told of each key last, by its number.
type Last = HashMap<u32, (u64, EventKind)>;

#[test]
fn b5_what_goes_in_other_parts_is_told_counted_and_numbered_with_its_own_key() {
    const CAPACITY: u64 = 500;
    let seed = seed();
    println!("WTCACHE_SEED={seed}");
    let told: Arc<Mutex<(Last, u64)>> = Arc::default();
    let heard = Arc::clone(&told);
    let cache = weighed(Cache::builder(Shelf::<u32, u64>::new())).capacity(CAPACITY).shards(8).listener(move |event| {
        let mut told = heard.lock().unwrap();
        told.1 += u64::from(event.kind == EventKind::Evicted);
        let last = told.0.entry(*event.key).or_insert((event.sequence, event.kind));
        if event.sequence > last.0 {
            *last = (event.sequence, event.kind);
        }
    });
    let cache = cache.build().unwrap();
    thread::scope(|scope| {
        for n in 0..3 {
            let cache = &cache;
            scope.spawn(move || {
                let mut dice = Dice::new(seed.wrapping_add(n));
                for _ in 0..3_000 {
                    let weight = if dice.below(10) == 0 { 100 + dice.below(CAPACITY - 99) } else { dice.below(5) };
                    cache.put(&(dice.below(300) as u32), weight).unwrap();
                }
            });
        }
    });
    let (last, evicted) = &*told.lock().unwrap();
    let stats = cache.stats();
    assert_eq!(*evicted, stats.evicted);
    assert!(stats.weight <= CAPACITY, "{}", stats.weight);
    for (key, (number, kind)) in last {
        assert_eq!(cache.peek(key).is_some(), *kind == EventKind::Put { kept: true }, "{key}: {number} {kind:?}");
    }
}
