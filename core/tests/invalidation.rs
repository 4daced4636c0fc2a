//! Chapter 7 of the contract, for keys.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;

use shelf::{Answer, Fns, SECOND, Shelf, within_ten_seconds};
use wtcache::{Cache, Call, Confirmed, How, Loaded, Outcome, Record, Typed};
use wtcache_testkit::ManualClock;

type Numbers = Typed<u32, u64>;

#[test]
fn i1_no_read_after_it_gives_what_was_cached_before() {
    let shelf = Shelf::<u32, u64>::of([(1, 1), (2, 2)]);
    let cache = Cache::builder(shelf.clone()).clean_start(true).build().unwrap();
    for key in [1, 2, 3] {
        cache.get(&key).unwrap();
    }
    let held = cache.get(&1).unwrap().unwrap();
    shelf.set(1, 10);
    shelf.set(2, 20);
    shelf.set(3, 30);
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(1), "nobody told it");
    cache.invalidate(&1);
    assert!(cache.peek(&1).is_none());
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(10));
    cache.invalidate(&3);
    assert_eq!(cache.get(&3).unwrap().map(|e| *e), Some(30), "an absence is forgotten, too");
    assert_eq!(cache.peek(&2).map(|e| *e), Some(2), "another key stays");
    assert_eq!(*held, 1, "and a value handed out is unchanged");
    assert_eq!(cache.stats().invalidated, 2);
}

#[test]
fn i1_what_is_not_there_can_be_invalidated() {
    let cache = Cache::builder(Shelf::<u32, u64>::of([(1, 1)])).clean_start(true).build().unwrap();
    cache.invalidate(&1);
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(1));
    assert!(cache.peek(&1).is_some());
}

/// A source that counts its loads as values and stops in the first one.
fn first_load_stops(gate: &Arc<Barrier>) -> Fns<Numbers> {
    let (gate, loads) = (Arc::clone(gate), AtomicU64::new(0));
    Fns::get(move |_, _| {
        let value = loads.fetch_add(1, Ordering::Relaxed);
        if value == 0 {
            gate.wait();
            gate.wait();
        }
        Ok(Loaded::Found(Record::new(value)))
    })
}

#[test]
fn i1_a_load_in_flight_is_neither_returned_nor_retained() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let gate = Arc::new(Barrier::new(2));
        let cache = Cache::builder(first_load_stops(&gate)).clock(clock.shared()).clean_start(true).build().unwrap();
        thread::scope(|scope| {
            let leader = scope.spawn(|| cache.read(&1, &Call::new()).unwrap());
            gate.wait();
            let waiter = scope.spawn(|| cache.get(&1).unwrap().map(|e| *e));
            assert!(clock.wait_for_alarms(1));
            cache.invalidate(&1);
            // A reader that starts now does not join it, and has its answer while the old load still runs.
            assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(1));
            assert_eq!(waiter.join().unwrap(), Some(1), "nor does one that waited for it");
            gate.wait();
            let read = leader.join().unwrap();
            assert_eq!((read.entry.map(|e| *e), read.how), (Some(1), How::Hit));
        });
        assert_eq!(cache.peek(&1).map(|e| *e), Some(1));
        assert_eq!((cache.stats().loads, cache.stats().loads_detached), (2, 1));
    });
}

#[test]
fn i1_a_load_in_flight_is_not_retained_where_something_else_goes_on() {
    within_ten_seconds(|| {
        // With a turn held the key has a state of its own, in which the older load is known for what it is.
        let gate = Arc::new(Barrier::new(2));
        let cache = Cache::builder(first_load_stops(&gate)).clean_start(true).build().unwrap();
        thread::scope(|scope| {
            let leader = scope.spawn(|| cache.get(&1).unwrap().map(|e| *e));
            gate.wait();
            let turn = cache.prepare(&1, &Call::new()).unwrap();
            cache.invalidate(&1);
            gate.wait();
            assert_eq!(leader.join().unwrap(), Some(1), "it looks again");
            turn.abort();
        });
        assert_eq!(cache.peek(&1).map(|e| *e), Some(1));
    });
}

#[test]
fn i1_a_reader_moved_twice_is_given_its_load_and_nothing_is_retained() {
    within_ten_seconds(|| {
        let here = Arc::new(OnceLock::<Cache<u32, u64>>::new());
        let (inside, loads) = (Arc::clone(&here), AtomicU64::new(0));
        let source = Fns::<Numbers>::get(move |_, _| {
            inside.get().unwrap().invalidate(&1);
            Ok(Loaded::Found(Record::new(loads.fetch_add(1, Ordering::Relaxed))))
        });
        let cache = Cache::builder(source).clean_start(true).build().unwrap();
        here.set(cache.clone()).ok().unwrap();
        let read = cache.read(&1, &Call::new()).unwrap();
        assert_eq!((read.entry.map(|e| *e), read.how), (Some(1), How::Loaded { kept: false }));
        assert!(cache.peek(&1).is_none());
    });
}

#[test]
fn i1_a_write_in_flight_is_applied_and_not_retained() {
    within_ten_seconds(|| {
        let gate = Arc::new(Barrier::new(2));
        let stop = Arc::clone(&gate);
        let source = Fns::<Numbers>::get(|_, _| Ok(Loaded::Found(Record::new(99)))).put(move |_, value, _| {
            stop.wait();
            stop.wait();
            Outcome::Applied(Confirmed::Record(Record::new(*value)))
        });
        let cache = Cache::builder(source).clean_start(true).build().unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| cache.put(&1, 5).unwrap());
            gate.wait();
            cache.invalidate(&1);
            // A load between the two is older than the write or newer: nobody knows, so it goes as well.
            assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(99));
            gate.wait();
            let written = writer.join().unwrap();
            assert_eq!((written.entry.map(|e| *e), written.kept), (Some(5), false));
        });
        assert!(cache.peek(&1).is_none());
    });
}

#[test]
fn i1_a_write_sent_after_it_is_retained() {
    let cache = Cache::builder(Shelf::<u32, u64>::of([(1, 1)])).clean_start(true).build().unwrap();
    let prepared = cache.prepare(&1, &Call::new()).unwrap();
    cache.invalidate(&1);
    let sent = prepared.send().unwrap();
    assert!(sent.commit(Some(Record::new(2))).kept);
    assert_eq!(cache.peek(&1).map(|e| *e), Some(2));
}

#[test]
fn i1_doubts_stay() {
    let clock = ManualClock::new();
    let shelf = Shelf::<u32, u64>::of([(1, 1)]);
    let cache = Cache::builder(shelf.clone()).clock(clock.shared()).clean_start(true).build().unwrap();
    shelf.answer(Answer::UnknownLost);
    assert!(cache.put(&1, 2).is_err());
    shelf.answer(Answer::Apply);
    cache.invalidate(&1);
    assert_eq!(cache.stats().in_doubt, 1);
    assert_eq!(cache.read(&1, &Call::new()).unwrap().how, How::Loaded { kept: false });
    assert!(!cache.put(&1, 3).unwrap().kept);
    clock.advance(10 * SECOND);
    assert_eq!(cache.read(&1, &Call::new()).unwrap().how, How::Loaded { kept: true });
}

#[test]
fn i1_a_turn_is_kept_through_it() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let cache = Cache::builder(Shelf::<u32, u64>::new()).clock(clock.shared()).clean_start(true).build().unwrap();
        let prepared = cache.prepare(&1, &Call::new()).unwrap();
        cache.invalidate(&1);
        thread::scope(|scope| {
            let other = scope.spawn(|| cache.put(&1, 2).unwrap());
            assert!(clock.wait_for_alarms(1), "the next writer waits");
            prepared.send().unwrap().commit(Some(Record::new(1)));
            assert!(other.join().unwrap().kept);
        });
        assert_eq!(cache.peek(&1).map(|e| *e), Some(2));
    });
}
