//! At rest, what is resident is the truth: two threads do what they like, and each resident entry is compared with the
//! origin once they are done.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use shelf::{Shelf, seed};
use wtcache::{Cache, Change};
use wtcache_testkit::Dice;

const KEYS: u64 = 50;

fn act(cache: &Cache<u32, u64>, dice: &mut Dice) {
    let key = dice.below(KEYS) as u32;
    match dice.below(10) {
        0..4 => drop(cache.get(&key).unwrap()),
        4..6 => drop(cache.put(&key, dice.throw()).unwrap()),
        6 => drop(cache.delete(&key).unwrap()),
        7 => cache.invalidate(&key),
        8 => {
            let add = |old: Option<&wtcache::Entry<_>>| Ok(Change::Put(old.map_or(0u64, |e| **e).wrapping_add(1)));
            drop(cache.update(&key, add).unwrap());
        }
        _ => drop(cache.peek(&key)),
    }
}

#[test]
fn at_rest_every_resident_entry_is_the_origins() {
    let first = seed();
    let begun = Instant::now();
    let mut seed = first;
    while begun.elapsed() < Duration::from_secs(2) {
        seed = seed.wrapping_add(1);
        println!("WTCACHE_SEED={seed}");
        let shelf = Shelf::new();
        let cache = Cache::builder(shelf.clone()).capacity(20).shards(2).absent_after_delete(seed.is_multiple_of(2));
        let cache = cache.clean_start(true).build().unwrap();
        thread::scope(|scope| {
            let actors: Vec<_> = (0..2)
                .map(|n| {
                    let mut dice = Dice::new(seed ^ (n << 32));
                    let cache = &cache;
                    scope.spawn(move || (0..500).for_each(|_| act(cache, &mut dice)))
                })
                .collect();
            for actor in actors {
                actor.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
        });
        let truth = shelf.state().records.clone();
        let mut resident = 0;
        for key in 0..KEYS as u32 {
            if let Some(entry) = cache.peek(&key) {
                assert_eq!(Some(&*entry), truth.get(&key), "key {key}");
                resident += 1;
            }
        }
        let stats = cache.stats();
        assert!(resident <= stats.entries && stats.entries == stats.weight && stats.weight <= 22, "{stats:?}");
        assert_eq!((stats.in_doubt, stats.writes_open), (0, 0));
        // A remembered absence is the truth as well: none of these reads may find other than the origin has.
        for key in 0..KEYS as u32 {
            assert_eq!(cache.get(&key).unwrap().map(|e| *e), truth.get(&key).copied(), "key {key}");
        }
    }
}

#[test]
fn no_update_of_two_threads_is_lost() {
    let shelf = Shelf::<u32, u64>::new();
    let cache = Cache::builder(shelf.clone()).capacity(2).shards(1).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0..2_000u32 {
                    let add = |old: Option<&wtcache::Entry<_>>| Ok(Change::Put(old.map_or(0, |e| **e) + 1));
                    cache.update(&(n % 4), add).unwrap();
                    if n % 8 == 0 {
                        cache.invalidate(&(n % 4));
                    }
                }
            });
        }
    });
    assert_eq!(shelf.state().records.values().sum::<u64>(), 4_000);
}
