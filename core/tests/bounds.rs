//! Chapter 9 of the contract: bounds and life.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use shelf::{Answer, Fns, SECOND, Shelf, broken, seed, within_ten_seconds};
use wtcache::{
    ByteCache, Bytes, Cache, Call, Change, Confirmed, How, InDoubtWrites, LoadError, Loaded, NotSent, Outcome, Record,
    Typed, WriteError,
};
use wtcache_testkit::{Dice, ManualClock};

type Numbers = Typed<u32, u64>;

/// A cache in which a value weighs as much as it says.
fn weighed(shelf: &Shelf<u32, u64>, capacity: u64, shards: usize) -> Cache<u32, u64> {
    let weigh = |_: &u32, value: Option<&u64>| value.copied().unwrap_or(1);
    Cache::builder(shelf.clone()).capacity(capacity).shards(shards).weigher(weigh).build().unwrap()
}

#[test]
fn b1_weight_is_within_capacity_when_a_call_has_returned() {
    const HEAVIEST: u64 = 60;
    let seed = seed();
    println!("WTCACHE_SEED={seed}");
    let mut dice = Dice::new(seed);
    let cache = weighed(&Shelf::new(), 100, 4);
    let mut most = 0;
    for _ in 0..5_000 {
        let key = dice.below(200) as u32;
        match dice.below(10) {
            0 => drop(cache.delete(&key)),
            1 => cache.invalidate(&key),
            2 => drop(cache.get(&key)),
            _ => drop(cache.put(&key, 1 + dice.below(HEAVIEST))),
        }
        let weight = cache.stats().weight;
        assert!(weight <= 100, "{weight}");
        most = most.max(weight);
    }
    assert!(most > 90, "it is used, too: {most}");
}

#[test]
fn b1_weight_is_beyond_capacity_only_by_what_calls_are_putting_in() {
    const WRITERS: u64 = 3;
    const HEAVIEST: u64 = 40;
    let seed = seed();
    println!("WTCACHE_SEED={seed}");
    let cache = weighed(&Shelf::new(), 50, 2);
    let over = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let cache = cache.clone();
                scope.spawn(move || {
                    let mut dice = Dice::new(seed.wrapping_add(n));
                    for _ in 0..20_000 {
                        drop(cache.put(&(dice.below(20) as u32), HEAVIEST - dice.below(3)));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                if cache.stats().weight > 50 + WRITERS * HEAVIEST {
                    over.store(true, Ordering::Relaxed);
                }
            }
        });
        let ends: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        for end in ends {
            end.unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
    assert!(!over.load(Ordering::Relaxed), "the weight was seen beyond capacity and an entry a writer");
    assert!(cache.stats().weight <= 50, "all have returned");
}

#[test]
fn b1_nothing_is_evicted_while_there_is_room_and_no_more_than_is_needed() {
    let seed = seed();
    println!("WTCACHE_SEED={seed}");
    let mut dice = Dice::new(seed);
    let cache = weighed(&Shelf::new(), 1_000, 1);
    for _ in 0..5_000 {
        let (key, weight) = (dice.below(500) as u32, dice.below(10));
        let before = cache.stats();
        let old = cache.peek(&key).map_or(0, |entry| *entry);
        cache.put(&key, weight).unwrap();
        let after = cache.stats();
        let wanted = before.weight - old + weight;
        if wanted <= 1_000 {
            assert_eq!((after.evicted, after.weight), (before.evicted, wanted));
        } else {
            assert!(after.evicted > before.evicted && after.weight <= 1_000);
            assert!(after.weight + 9 > 1_000, "the last one evicted was needed");
        }
    }
}

#[test]
fn b1_what_is_read_again_and_again_outlives_a_scan() {
    let cache = weighed(&Shelf::new(), 100, 1);
    let hot = 0..10;
    for key in hot.clone() {
        cache.put(&key, 1).unwrap();
    }
    for key in 100..2_000 {
        if key % 50 == 0 {
            assert!(hot.clone().all(|key| cache.peek(&key).is_some()), "at {key}");
        }
        cache.put(&key, 1).unwrap();
    }
}

#[test]
fn b1_the_sum_of_weights_is_what_is_resident() {
    let cache = weighed(&Shelf::new(), 1_000, 4);
    for key in 0..40 {
        cache.put(&key, 1 + u64::from(key)).unwrap();
    }
    for key in 0..20 {
        cache.put(&key, 2).unwrap();
    }
    let resident: u64 = (0..40).filter_map(|key| cache.peek(&key)).map(|entry| *entry).sum();
    assert_eq!(cache.stats().weight, resident);
    for key in 0..40 {
        cache.invalidate(&key);
    }
    assert_eq!((cache.stats().weight, cache.stats().entries), (0, 0));
}

#[test]
fn b1_a_value_too_heavy_to_keep_removes_the_older_entry() {
    let shelf = Shelf::new();
    let cache = weighed(&shelf, 100, 1);
    assert!(cache.put(&1, 100).unwrap().kept, "as heavy as the cache");
    assert!(!cache.put(&1, 101).unwrap().kept);
    assert!(cache.peek(&1).is_none());
    assert_eq!(cache.read(&1, &Call::new()).unwrap().how, How::Loaded { kept: false });
    assert_eq!(cache.stats().weight, 0);
    // So does one that is loaded.
    let clock = ManualClock::new();
    let weigh = |_: &u32, value: Option<&u64>| value.copied().unwrap_or(1);
    let cache = Cache::builder(shelf.clone()).capacity(100).weigher(weigh).clock(clock.shared()).lifetime(SECOND);
    let cache = cache.build().unwrap();
    shelf.set(1, 5);
    cache.get(&1).unwrap();
    clock.advance(SECOND);
    shelf.set(1, 101);
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(101));
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn b1_a_value_heavier_than_a_weight_can_be_told_is_not_kept() {
    let shelf = Shelf::new();
    let cache = weighed(&shelf, u64::MAX, 1);
    assert!(cache.put(&1, u64::from(u32::MAX)).unwrap().kept);
    assert!(!cache.put(&1, u64::from(u32::MAX) + 1).unwrap().kept);
    assert!(cache.peek(&1).is_none());
}

#[test]
fn b1_bytes_weigh_what_they_take_their_version_included() {
    let source = Fns::<Bytes>::get(|_, _| {
        let version = wtcache::Version::new([b'v'; 10_000]).unwrap();
        Ok(Loaded::Found(Record::new(vec![0; 20_000]).version(version)))
    });
    let cache = ByteCache::builder(source).build().unwrap();
    cache.get(&[b'k'; 1_000]).unwrap();
    let weight = cache.stats().weight;
    assert!((31_000..31_300).contains(&weight), "{weight}");
}

#[test]
fn b2_writes_that_wait_for_a_turn_are_bounded() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let cache = Cache::builder(Shelf::<u32, u64>::new()).turn_queue(2).clock(clock.shared()).build().unwrap();
        let turn = cache.prepare(&1, &Call::new()).unwrap();
        thread::scope(|scope| {
            let cache = &cache;
            let waiting: Vec<_> = (0..2).map(|n| scope.spawn(move || cache.put(&1, n).map(|w| w.kept))).collect();
            assert!(clock.wait_for_alarms(2));
            assert!(matches!(cache.put(&1, 9), Err(WriteError::NotSent(NotSent::QueueFull))));
            cache.put(&2, 9).unwrap();
            turn.abort();
            for writer in waiting {
                assert!(writer.join().unwrap().unwrap());
            }
        });
    });
}

#[test]
fn b2_doubts_are_bounded_and_settled_ones_free_their_places_without_a_call_of_their_keys() {
    let clock = ManualClock::new();
    let shelf = Shelf::<u32, u64>::of([(3, 3)]);
    let cache = Cache::builder(shelf.clone()).most_doubts(2).clock(clock.shared()).build().unwrap();
    shelf.answer(Answer::UnknownLost);
    for key in [1, 2] {
        assert!(matches!(cache.put(&key, 0), Err(WriteError::InDoubt(_))));
    }
    shelf.answer(Answer::Apply);
    assert!(matches!(cache.put(&3, 0), Err(WriteError::NotSent(NotSent::TooManyDoubts))));
    assert!(matches!(cache.prepare(&3, &Call::new()), Err(NotSent::TooManyDoubts)));
    assert_eq!(cache.get(&3).unwrap().map(|e| *e), Some(3), "reads go on");
    assert_eq!(cache.stats().in_doubt, 2);
    clock.advance(10 * SECOND);
    cache.put(&3, 4).unwrap();
    assert_eq!(cache.stats().in_doubt, 0);
}

/// The sweep for settled doubts was due when a doubt ended, but nothing made it due when a sent write's deadline passed:
/// with nothing else in doubt, the place was never free again.
#[test]
fn b2_a_write_that_never_ends_frees_its_place_after_deadline_and_window() {
    let clock = ManualClock::new();
    let shelf = Shelf::<u32, u64>::new();
    let cache = Cache::builder(shelf.clone()).most_doubts(1).clock(clock.shared()).build().unwrap();
    assert_eq!(cache.stats().in_doubt, 0, "a sweep that finds nothing");
    let hung = cache.prepare(&1, &Call::new().deadline(5 * SECOND)).unwrap().send().unwrap();
    assert!(matches!(cache.put(&2, 0), Err(WriteError::NotSent(NotSent::TooManyDoubts))));
    clock.advance(15 * SECOND - Duration::from_nanos(1));
    assert!(matches!(cache.put(&2, 0), Err(WriteError::NotSent(NotSent::TooManyDoubts))));
    clock.advance(Duration::from_nanos(1));
    cache.put(&2, 0).unwrap();
    drop(hung);
}

/// A doubt that began while a sweep was under way was forgotten by it: no sweep came for it.
#[test]
fn b2_a_doubt_that_begins_during_a_sweep_frees_its_place() {
    struct Value(Option<Box<dyn FnOnce() + Send + Sync>>);
    impl Drop for Value {
        fn drop(&mut self) {
            if let Some(work) = self.0.take() {
                work();
            }
        }
    }
    let clock = ManualClock::new();
    let here = Arc::new(OnceLock::<Cache<u32, Value>>::new());
    let inside = Arc::clone(&here);
    let source = Fns::<Typed<u32, Value>>::get(move |_, _| {
        let cache = inside.get().unwrap().clone();
        let work = move || assert!(matches!(cache.put(&2, Value(None)), Err(WriteError::InDoubt(_))));
        Ok(Loaded::Found(Record::new(Value(Some(Box::new(work))))))
    })
    .put(|key, _, _| match key {
        2 => Outcome::Unknown(broken()),
        _ => Outcome::Applied(Confirmed::Unseen),
    });
    let cache = Cache::builder(source).most_doubts(1).shards(1).clock(clock.shared()).clean_start(true);
    let cache = cache.build().unwrap();
    here.set(cache.clone()).ok().unwrap();
    let hung = cache.prepare(&1, &Call::new().deadline(SECOND)).unwrap().send().unwrap();
    cache.get(&1).unwrap();
    clock.advance(11 * SECOND);
    // The sweep ends the overdue write and its doubt; dropping the entry leaves a new doubt, of another key.
    let _ = cache.stats();
    assert!(matches!(cache.put(&3, Value(None)), Err(WriteError::NotSent(NotSent::TooManyDoubts))));
    clock.advance(10 * SECOND);
    cache.put(&3, Value(None)).unwrap();
    drop(hung);
}

/// A shard keeps the place of the last write that nobody met for the next one: it is given up to whoever needs it.
#[test]
fn b2_a_place_that_no_write_holds_is_free_whichever_shard_had_it() {
    let shelf = Shelf::<u32, u64>::new();
    let cache = Cache::builder(shelf.clone()).most_doubts(1).shards(16).build().unwrap();
    for key in 0..64 {
        cache.put(&key, 1).unwrap();
        cache.prepare(&(key + 1_000), &Call::new()).unwrap().abort();
    }
    for key in 0..64 {
        cache.put(&key, 2).unwrap();
        cache.update(&key, |_| Ok(Change::Put(3))).unwrap();
    }
    assert_eq!(cache.stats().writes_applied, 3 * 64);
}

#[test]
fn b2_a_doubt_that_nobody_came_by_since_keeps_no_key() {
    let clock = ManualClock::new();
    let source = Fns::<Typed<Arc<str>, u64>>::get(|_, _| Ok(Loaded::Absent)).put(|_, _, _| Outcome::Unknown(broken()));
    let cache = Cache::builder(source).clock(clock.shared()).build().unwrap();
    let name: Arc<str> = "k".into();
    assert!(matches!(cache.put(&name, 1), Err(WriteError::InDoubt(_))));
    assert_eq!((cache.stats().in_doubt, Arc::strong_count(&name)), (1, 2));
    clock.advance(10 * SECOND);
    assert_eq!((cache.stats().in_doubt, Arc::strong_count(&name)), (0, 1));
}

#[test]
fn b2_keys_of_bytes_are_bounded() {
    let source = Fns::<Bytes>::get(|_, _| Ok(Loaded::Absent));
    let cache = ByteCache::builder(source).longest_key(8).build().unwrap();
    assert!(matches!(cache.get("123456789"), Err(LoadError::KeyTooLong(9))));
    assert!(cache.peek("123456789").is_none());
    let put = cache.put("123456789", vec![]);
    assert!(matches!(put, Err(WriteError::NotSent(NotSent::KeyTooLong(9)))));
    assert!(matches!(cache.delete("123456789"), Err(WriteError::NotSent(NotSent::KeyTooLong(9)))));
    assert!(matches!(cache.prepare("123456789", &Call::new()), Err(NotSent::KeyTooLong(9))));
    assert!(cache.get("12345678").unwrap().is_none());
    assert_eq!(cache.stats().loads, 1);
}

#[test]
fn b2_reads_nested_in_the_source_are_bounded() {
    let here = Arc::new(OnceLock::<Cache<u32, u64>>::new());
    let inside = Arc::clone(&here);
    let deepest = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&deepest);
    let source = Fns::<Numbers>::get(move |key, _| {
        seen.fetch_max(*key as usize, Ordering::Relaxed);
        match inside.get().unwrap().get(&(key + 1)) {
            Err(LoadError::TooDeep) => Ok(Loaded::Found(Record::new(u64::from(*key)))),
            other => Ok(Loaded::Found(Record::new(*other.unwrap().unwrap()))),
        }
    });
    let cache = Cache::builder(source).build().unwrap();
    here.set(cache.clone()).ok().unwrap();
    let value = within_ten_seconds(move || cache.get(&1).unwrap().map(|e| *e));
    assert_eq!((value, deepest.load(Ordering::Relaxed)), (Some(16), 16));
}

#[test]
fn b3_eviction_keeps_the_bookkeeping_of_a_write_in_flight() {
    let shelf = Shelf::<u32, u64>::of([(1, 1)]);
    let cache = Cache::builder(shelf.clone()).capacity(1).shards(1).build().unwrap();
    cache.get(&1).unwrap();
    let sent = cache.prepare(&1, &Call::new()).unwrap().send().unwrap();
    cache.put(&2, 2).unwrap();
    assert!(cache.peek(&1).is_none() && cache.peek(&2).is_some(), "evicted");
    assert_eq!(cache.stats().writes_open, 1);
    assert!(sent.commit(Some(Record::new(5))).kept);
    assert_eq!(cache.peek(&1).map(|e| *e), Some(5));
}

#[test]
fn b3_eviction_keeps_what_makes_a_write_in_flight_dirty() {
    let cache = Cache::builder(Shelf::<u32, u64>::new()).capacity(1).shards(1).build().unwrap();
    cache.put(&1, 1).unwrap();
    let sent = cache.prepare(&1, &Call::new()).unwrap().send().unwrap();
    cache.invalidate(&1);
    for key in 2..10 {
        cache.put(&key, 2).unwrap();
    }
    assert!(!sent.commit(Some(Record::new(5))).kept);
    assert!(cache.peek(&1).is_none());
}

#[test]
fn b3_eviction_keeps_a_doubt() {
    let clock = ManualClock::new();
    let shelf = Shelf::<u32, u64>::of([(1, 1)]);
    let cache = Cache::builder(shelf.clone()).capacity(1).shards(1).clock(clock.shared()).build().unwrap();
    shelf.answer(Answer::UnknownLost);
    assert!(cache.put(&1, 5).is_err());
    shelf.answer(Answer::Apply);
    for key in 2..10 {
        cache.put(&key, 2).unwrap();
    }
    assert_eq!(cache.stats().in_doubt, 1);
    assert_eq!(cache.read(&1, &Call::new()).unwrap().how, How::Loaded { kept: false });
    clock.advance(10 * SECOND);
    assert_eq!(cache.read(&1, &Call::new()).unwrap().how, How::Loaded { kept: true });
}

/// A source whose calls stop at a gate: the test meets them going in and lets them out.
fn gated(gate: &Arc<Barrier>) -> Fns<Numbers> {
    let (get, put) = (Arc::clone(gate), Arc::clone(gate));
    let stop = |gate: &Barrier| {
        gate.wait();
        gate.wait();
    };
    Fns::get(move |_, _| {
        stop(&get);
        Ok(Loaded::Found(Record::new(1)))
    })
    .put(move |_, value, _| {
        stop(&put);
        Outcome::Applied(Confirmed::Record(Record::new(*value)))
    })
}

#[test]
fn b4_after_close_no_call_begins() {
    let shelf = Shelf::<u32, u64>::of([(1, 1)]);
    let cache = Cache::builder(shelf.clone()).indexes(["all"], |_, _, rows| rows.add(0, b"")).build().unwrap();
    cache.get(&1).unwrap();
    let prepared = cache.prepare(&1, &Call::new()).unwrap();
    let report = cache.close(Duration::ZERO);
    assert_eq!((report.unfinished, report.in_doubt), (vec![], vec![]));
    assert!(matches!(cache.get(&1), Err(LoadError::Closed)));
    assert!(cache.peek(&1).is_none());
    assert!(matches!(cache.put(&1, 2), Err(WriteError::NotSent(NotSent::Closed))));
    assert!(matches!(cache.delete(&1), Err(WriteError::NotSent(NotSent::Closed))));
    let update = cache.update(&1, |_| Ok(Change::Put(3)));
    assert!(matches!(update, Err(WriteError::NotSent(NotSent::Closed))));
    assert!(matches!(cache.prepare(&1, &Call::new()), Err(NotSent::Closed)));
    assert!(matches!(prepared.send(), Err(NotSent::Closed)), "what was not sent does not go out");
    assert!(cache.find("all", b"").unwrap().entries.is_empty());
    cache.invalidate(&1);
    assert_eq!((cache.stats().entries, cache.stats().weight), (0, 0));
    assert_eq!((shelf.gets(), shelf.state().writes), (1, 0));
}

#[test]
fn b4_close_tells_those_who_wait_for_a_load() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let gate = Arc::new(Barrier::new(2));
        let cache = Cache::builder(gated(&gate)).clock(clock.shared()).build().unwrap();
        thread::scope(|scope| {
            let leader = scope.spawn(|| cache.get(&1));
            gate.wait();
            let waiter = scope.spawn(|| cache.get(&1));
            assert!(clock.wait_for_alarms(1));
            cache.close(Duration::ZERO);
            assert!(matches!(waiter.join().unwrap(), Err(LoadError::Closed)));
            gate.wait();
            assert!(matches!(leader.join().unwrap(), Err(LoadError::Closed)));
        });
        assert_eq!(cache.stats().entries, 0);
    });
}

#[test]
fn b4_close_tells_those_who_wait_for_a_turn() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let cache = Cache::builder(Shelf::<u32, u64>::new()).clock(clock.shared()).build().unwrap();
        let turn = cache.prepare(&1, &Call::new()).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| cache.put(&1, 1));
            assert!(clock.wait_for_alarms(1));
            cache.close(Duration::ZERO);
            assert!(matches!(waiter.join().unwrap(), Err(WriteError::NotSent(NotSent::Closed))));
        });
        turn.abort();
    });
}

#[test]
fn b4_close_tells_those_whom_a_doubt_holds_back() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let shelf = Shelf::<u32, u64>::new();
        let cache = Cache::builder(shelf.clone()).in_doubt_writes(InDoubtWrites::Wait).clock(clock.shared());
        let cache = cache.deadline(60 * SECOND).build().unwrap();
        shelf.answer(Answer::UnknownLost);
        assert!(cache.put(&1, 0).is_err());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| cache.put(&1, 1));
            assert!(clock.wait_for_alarms(1));
            assert_eq!(cache.close(Duration::ZERO).in_doubt, [1]);
            assert!(matches!(waiter.join().unwrap(), Err(WriteError::NotSent(NotSent::Closed))));
        });
    });
}

#[test]
fn b4_close_waits_for_sent_writes() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let gate = Arc::new(Barrier::new(2));
        let cache = Cache::builder(gated(&gate)).clock(clock.shared()).build().unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| cache.put(&1, 7));
            gate.wait();
            let closer = scope.spawn(|| cache.close(5 * SECOND));
            assert!(clock.wait_for_alarms(1), "close waits");
            gate.wait();
            let written = writer.join().unwrap().unwrap();
            assert_eq!((written.entry.map(|e| *e), written.kept), (Some(7), false));
            let report = closer.join().unwrap();
            assert_eq!((report.unfinished, report.in_doubt), (vec![], vec![]));
        });
    });
}

#[test]
fn b4_close_reports_by_key_what_is_left() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let gate = Arc::new(Barrier::new(2));
        let source = gated(&gate).delete(|_, _| Outcome::Unknown(broken()));
        let cache = Cache::builder(source).clock(clock.shared()).build().unwrap();
        assert!(cache.delete(&2).is_err());
        // After this look at all keys none is due until the write is.
        assert_eq!(cache.stats().in_doubt, 1);
        thread::scope(|scope| {
            let writer = scope.spawn(|| cache.put(&1, 7));
            gate.wait();
            assert_eq!(cache.stats().writes_open, 1);
            // Before the write's own deadline: after it, the write is in doubt.
            let closer = scope.spawn(|| cache.close(4 * SECOND));
            assert!(clock.wait_for_alarms(1));
            clock.advance(4 * SECOND - Duration::from_nanos(1));
            assert!(!closer.is_finished());
            clock.advance(Duration::from_nanos(1));
            let report = closer.join().unwrap();
            assert_eq!((report.unfinished, report.in_doubt), (vec![1], vec![2]));
            gate.wait();
            let written = writer.join().unwrap().unwrap();
            assert!(!written.kept, "it runs on to its outcome, which nobody shows");
        });
        assert_eq!(cache.stats().entries, 0);
    });
}

#[test]
fn b4_values_handed_out_stay_valid_and_unchanged() {
    let shelf = Shelf::<u32, String>::of([(1, "one".to_owned())]);
    let cache = Cache::builder(shelf).capacity(1).shards(1).build().unwrap();
    let held = cache.get(&1).unwrap().unwrap();
    cache.put(&1, "two".to_owned()).unwrap();
    cache.put(&2, "three".to_owned()).unwrap();
    cache.invalidate(&1);
    cache.close(Duration::ZERO);
    drop(cache);
    assert_eq!((held.key(), held.value().as_str()), (&1, "one"));
}

#[test]
fn b4_closing_twice_is_closing_once() {
    let clock = ManualClock::new();
    let shelf = Shelf::<u32, u64>::new();
    let cache = Cache::builder(shelf.clone()).clock(clock.shared()).build().unwrap();
    shelf.answer(Answer::UnknownLost);
    assert!(cache.put(&1, 0).is_err());
    assert_eq!(cache.close(SECOND).in_doubt, [1]);
    let again = cache.clone().close(SECOND);
    assert_eq!((again.unfinished, again.in_doubt), (vec![], vec![]));
}

#[test]
fn b5_a_panic_of_the_weigher_is_contained_and_counted() {
    let shelf = Shelf::<u32, u64>::of([(1, 1)]);
    let weigh = |_: &u32, value: Option<&u64>| match value {
        Some(13) => panic!("unlucky"),
        _ => 1,
    };
    let cache = Cache::builder(shelf.clone()).weigher(weigh).build().unwrap();
    cache.get(&1).unwrap();
    let written = cache.put(&1, 13).unwrap();
    assert_eq!((written.entry.map(|e| *e), written.kept), (Some(13), false), "applied all the same");
    assert!(cache.peek(&1).is_none(), "and the older entry goes");
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(13));
    let stats = cache.stats();
    assert_eq!((stats.extractors_panicked, stats.entries, stats.weight), (2, 0, 0));
    cache.put(&1, 14).unwrap();
    assert_eq!(cache.peek(&1).map(|e| *e), Some(14));
}

#[test]
fn b5_a_panic_of_the_extractor_is_contained_and_counted() {
    let shelf = Shelf::<u32, u64>::new();
    let extract = |_: &u32, value: &u64, rows: &mut wtcache::Rows| {
        rows.add(0, b"all");
        assert!(*value != 13, "unlucky");
    };
    let cache = Cache::builder(shelf.clone()).indexes(["all"], extract).build().unwrap();
    cache.put(&1, 12).unwrap();
    assert!(!cache.put(&1, 13).unwrap().kept);
    assert!(cache.find("all", b"all").unwrap().entries.is_empty());
    assert_eq!(cache.stats().extractors_panicked, 1);
    assert!(cache.put(&1, 14).unwrap().kept);
    assert_eq!(cache.find("all", b"all").unwrap().entries.len(), 1);
}

/// What a put replaces or makes go may be dropped by it: should that unwind, the write has ended all the same.
#[test]
fn b5_a_panic_of_what_goes_leaves_no_write_open() {
    struct Value(Arc<AtomicBool>);
    impl Drop for Value {
        fn drop(&mut self) {
            if self.0.swap(false, Ordering::Relaxed) {
                resume_unwind(Box::new("scripted"));
            }
        }
    }
    // Of the values that are kept; those that are sent are others.
    let armed = Arc::new(AtomicBool::new(false));
    let kept = Arc::clone(&armed);
    let source = Fns::<Typed<u32, Value>>::get(|_, _| Ok(Loaded::Absent))
        .put(move |_, _, _| Outcome::Applied(Confirmed::Record(Record::new(Value(Arc::clone(&kept))))));
    let cache = Cache::builder(source).capacity(1).shards(1).build().unwrap();
    let put = |key: u32| {
        let sent = Value(Arc::default());
        catch_unwind(AssertUnwindSafe(|| drop(cache.put(&key, sent).unwrap()))).is_ok()
    };
    assert!(put(1) && put(2));
    armed.store(true, Ordering::Relaxed);
    assert!(!put(3));
    let stats = cache.stats();
    assert_eq!((stats.in_doubt, stats.entries), (0, 1), "the origin applied it: {stats:?}");
    assert!(cache.drain(Duration::ZERO), "none is out");
    assert!(put(4) && cache.drain(Duration::ZERO));
}
