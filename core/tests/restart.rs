//! Chapter 10 of the contract, without a durable tier: a restart knows nothing of earlier doubts.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use shelf::{Fns, SECOND, Shelf};
use wtcache::{Cache, Call, Confirmed, Lifetime, Loaded, Outcome, Record, Tick, Typed};
use wtcache_testkit::ManualClock;

const NANO: Duration = Duration::from_nanos(1);

fn source(window: Duration) -> Fns<Typed<u32, u64>> {
    Fns::get(|key, _| if *key == 404 { Ok(Loaded::Absent) } else { Ok(Loaded::Found(Record::new(1))) })
        .put(|_, value, _| Outcome::Applied(Confirmed::Record(Record::new(*value))))
        .declared(|declared| declared.settle_window = window)
}

#[test]
fn c0_what_is_loaded_or_written_in_the_first_settle_window_ends_with_it() {
    let clock = ManualClock::new();
    let cache = Cache::builder(source(4 * SECOND)).clock(clock.shared()).negative_lifetime(60 * SECOND);
    let cache = cache.build().unwrap();
    clock.advance(4 * SECOND - NANO);
    assert_eq!(cache.get(&1).unwrap().unwrap().remaining(cache.now()), NANO);
    assert!(cache.put(&2, 2).unwrap().kept);
    assert!(cache.get(&404).unwrap().is_none());
    assert!(cache.peek(&1).is_some() && cache.peek(&2).is_some());
    clock.advance(NANO);
    assert!(cache.peek(&1).is_none() && cache.peek(&2).is_none());
    let before = cache.stats().loads;
    assert!(cache.get(&404).unwrap().is_none());
    assert_eq!(cache.stats().loads, before + 1, "nor is an absence believed longer");
}

#[test]
fn c0_what_began_after_the_window_lives_its_own_life() {
    let clock = ManualClock::new();
    let cache = Cache::builder(source(4 * SECOND)).clock(clock.shared()).build().unwrap();
    clock.advance(4 * SECOND);
    assert_eq!(cache.get(&1).unwrap().unwrap().expires(), Tick::NEVER);
}

#[test]
fn c0_a_load_that_began_in_the_window_and_ended_after_it_is_not_served_again() {
    let clock = ManualClock::new();
    let slow = clock.clone();
    let source = Fns::<Typed<u32, u64>>::get(move |_, _| {
        slow.advance(2 * SECOND);
        Ok(Loaded::Found(Record::new(1)))
    })
    .declared(|declared| declared.settle_window = SECOND);
    let cache = Cache::builder(source).clock(clock.shared()).build().unwrap();
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(1));
    assert!(cache.peek(&1).is_none());
}

#[test]
fn c0_a_lifetime_that_ends_before_the_window_is_not_lengthened() {
    let clock = ManualClock::new();
    let shelf = Shelf::<u32, u64>::of([(1, 1)]);
    shelf.lifetime(Lifetime::For(2 * SECOND));
    let cache = Cache::builder(shelf).clock(clock.shared()).build().unwrap();
    assert_eq!(cache.get(&1).unwrap().unwrap().remaining(cache.now()), 2 * SECOND);
}

#[test]
fn c0_a_clean_start_is_believed_at_once() {
    let clock = ManualClock::new();
    let cache = Cache::builder(source(4 * SECOND)).clock(clock.shared()).clean_start(true).build().unwrap();
    assert_eq!(cache.get(&1).unwrap().unwrap().expires(), Tick::NEVER);
}

/// The value after a write of 8, `age` after the start, during which a reader was given the origin's 1.
fn after_a_load_during_a_write(clean_start: bool, age: Duration) -> Option<u64> {
    let clock = ManualClock::new();
    let cache = Cache::builder(source(4 * SECOND)).clock(clock.shared()).clean_start(clean_start).build().unwrap();
    clock.advance(age);
    let sent = cache.prepare(&1, &Call::new()).unwrap().send().unwrap();
    assert_eq!(cache.get(&1).unwrap().map(|entry| *entry), Some(1));
    sent.commit(Some(Record::new(8)));
    cache.peek(&1).map(|entry| *entry)
}

#[test]
fn c0_a_load_given_out_during_a_write_may_be_newer_than_it() {
    assert_eq!(after_a_load_during_a_write(false, Duration::ZERO), None);
    assert_eq!(after_a_load_during_a_write(true, Duration::ZERO), Some(8));
    // The window's end is not in it.
    assert_eq!(after_a_load_during_a_write(false, 4 * SECOND), Some(8));
}

/// An earlier cache of the same origin may have had a longer window than this one.
#[test]
fn c0_strays_of_an_earlier_cache_may_land_for_as_long_as_is_said() {
    for (said, window) in [(9 * SECOND, 9), (SECOND, 4)] {
        let clock = ManualClock::new();
        let cache = Cache::builder(source(4 * SECOND)).clock(clock.shared()).stray_window(said).build().unwrap();
        assert_eq!(cache.get(&1).unwrap().unwrap().remaining(cache.now()), window * SECOND);
    }
    let clean = Cache::builder(source(4 * SECOND)).stray_window(9 * SECOND).clean_start(true).build().unwrap();
    assert_eq!(clean.get(&1).unwrap().unwrap().expires(), Tick::NEVER);
}

/// B4: who is to take the place of a cache waits until what was sent through it has an outcome.
#[test]
fn b4_who_drains_waits_for_the_writes_that_are_out() {
    let (arrives, arrived) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let origin = source(4 * SECOND).put(move |_, value, _| {
        arrives.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Outcome::Applied(Confirmed::Record(Record::new(*value)))
    });
    let cache = Cache::builder(origin).build().unwrap();
    assert!(cache.drain(Duration::ZERO), "nothing is out");
    thread::scope(|scope| {
        let put = scope.spawn(|| cache.put(&1, 1));
        arrived.recv().unwrap();
        assert!(!cache.drain(Duration::ZERO));
        let drained = scope.spawn(|| cache.drain(20 * SECOND));
        release.send(()).unwrap();
        assert!(put.join().unwrap().is_ok() && drained.join().unwrap());
    });
    assert_eq!(cache.get(&1).unwrap().as_deref(), Some(&1), "it goes on");
}
