//! Chapter 8 of the contract: freshness.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shelf::{Fns, SECOND, Shelf};
use wtcache::{Cache, Call, Change, Confirmed, How, Lifetime, Loaded, Outcome, Record, Typed, Written};
use wtcache_testkit::ManualClock;

type Shop = Shelf<u32, u64>;

fn shop(clock: &ManualClock, lifetime: Duration) -> (Shop, Cache<u32, u64>) {
    let shelf = Shop::of([(1, 10)]);
    let cache = Cache::builder(shelf.clone()).clock(clock.shared()).clean_start(true).lifetime(lifetime);
    (shelf, cache.build().unwrap())
}

#[test]
fn f1_the_caches_lifetime_holds_where_the_record_says_none() {
    let clock = ManualClock::new();
    let (_, cache) = shop(&clock, 60 * SECOND);
    let entry = cache.get(&1).unwrap().unwrap();
    assert_eq!(entry.remaining(cache.now()), 60 * SECOND);
    clock.advance(60 * SECOND - Duration::from_nanos(1));
    assert_eq!(cache.peek(&1).map(|e| *e), Some(10));
    clock.advance(Duration::from_nanos(1));
    assert!(cache.peek(&1).is_none(), "expired at its last tick, not after it");
}

#[test]
fn f1_the_records_lifetime_goes_before_the_caches() {
    for own in [5 * SECOND, 500 * SECOND] {
        let clock = ManualClock::new();
        let (shelf, cache) = shop(&clock, 60 * SECOND);
        shelf.lifetime(Lifetime::For(own));
        assert_eq!(cache.get(&1).unwrap().unwrap().remaining(cache.now()), own);
        cache.put(&2, 20).unwrap();
        clock.advance(own - Duration::from_nanos(1));
        assert!(cache.peek(&1).is_some() && cache.peek(&2).is_some());
        clock.advance(Duration::from_nanos(1));
        assert!(cache.peek(&1).is_none() && cache.peek(&2).is_none());
    }
}

#[test]
fn f1_a_writes_own_lifetime_holds_where_the_record_says_none() {
    let clock = ManualClock::new();
    let (shelf, cache) = shop(&clock, 60 * SECOND);
    let short = Call::new().lifetime(Lifetime::For(5 * SECOND));
    let left = |written: Written<Typed<u32, u64>>| written.entry.unwrap().remaining(cache.now());
    assert_eq!(left(cache.put_with(&1, 11, &short).unwrap()), 5 * SECOND);
    assert_eq!(left(cache.update_with(&1, |_| Ok(Change::Put(12)), &short).unwrap()), 5 * SECOND);
    assert_eq!(left(cache.prepare(&1, &short).unwrap().send().unwrap().commit(Some(Record::new(13)))), 5 * SECOND);
    assert_eq!(left(cache.put_optimistic_with(&1, 14, &short).unwrap().wait().unwrap()), 5 * SECOND);
    let not_kept = cache.put_with(&1, 15, &Call::new().lifetime(Lifetime::NotKept)).unwrap();
    assert!(!not_kept.kept && cache.peek(&1).is_none());
    // It is the write's: what is loaded, and the next write, have the cache's.
    assert_eq!(cache.read(&1, &short).unwrap().entry.unwrap().remaining(cache.now()), 60 * SECOND);
    assert_eq!(left(cache.put(&1, 16).unwrap()), 60 * SECOND);
    // The origin knows better.
    shelf.lifetime(Lifetime::For(500 * SECOND));
    assert_eq!(left(cache.put_with(&1, 17, &short).unwrap()), 500 * SECOND);
}

#[test]
fn f1_without_any_lifetime_an_entry_does_not_expire() {
    let clock = ManualClock::new();
    let cache = Cache::builder(Shop::of([(1, 10)])).clock(clock.shared()).clean_start(true).build().unwrap();
    cache.get(&1).unwrap();
    clock.advance(Duration::from_secs(86_400 * 365 * 100));
    assert!(cache.peek(&1).is_some());
}

#[test]
fn f1_a_lifetime_counts_from_the_start_of_the_request() {
    let clock = ManualClock::new();
    let (in_get, in_put) = (clock.clone(), clock.clone());
    let source = Fns::<Typed<u32, u64>>::get(move |_, _| {
        in_get.advance(2 * SECOND);
        Ok(Loaded::Found(Record::new(1).lifetime(Lifetime::For(5 * SECOND))))
    })
    .put(move |_, value, _| {
        in_put.advance(2 * SECOND);
        Outcome::Applied(Confirmed::Record(Record::new(*value).lifetime(Lifetime::For(5 * SECOND))))
    });
    let cache = Cache::builder(source).clock(clock.shared()).clean_start(true).build().unwrap();
    let begun = cache.now();
    let loaded = cache.get(&1).unwrap().unwrap();
    assert_eq!((loaded.since(), loaded.remaining(cache.now())), (begun, 3 * SECOND));
    let begun = cache.now();
    let written = cache.put(&2, 7).unwrap().entry.unwrap();
    assert_eq!((written.since(), written.remaining(cache.now())), (begun, 3 * SECOND));
}

#[test]
fn f1_an_answer_that_outlived_itself_on_the_way_is_returned_and_not_served_again() {
    let clock = ManualClock::new();
    let in_get = clock.clone();
    let source = Fns::<Typed<u32, u64>>::get(move |_, _| {
        in_get.advance(2 * SECOND);
        Ok(Loaded::Found(Record::new(1).lifetime(Lifetime::For(SECOND))))
    });
    let cache = Cache::builder(source).clock(clock.shared()).clean_start(true).build().unwrap();
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(1));
    assert!(cache.peek(&1).is_none());
    assert_eq!(cache.stats().loads, 1);
    cache.get(&1).unwrap();
    assert_eq!(cache.stats().loads, 2);
}

#[test]
fn f1_what_is_expired_is_loaded_anew_and_never_served() {
    let clock = ManualClock::new();
    let (shelf, cache) = shop(&clock, SECOND);
    cache.get(&1).unwrap();
    shelf.set(1, 11);
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(10), "fresh: a hit");
    clock.advance(SECOND);
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(11));
    shelf.state().records.clear();
    clock.advance(SECOND);
    assert!(cache.get(&1).unwrap().is_none());
}

#[test]
fn f1_a_failed_load_does_not_bring_an_expired_entry_back() {
    let clock = ManualClock::new();
    let calls = AtomicU32::new(0);
    let source = Fns::<Typed<u32, u64>>::get(move |_, _| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(Loaded::Found(Record::new(1))),
        _ => Err(shelf::broken()),
    });
    let cache = Cache::builder(source).clock(clock.shared()).clean_start(true).lifetime(SECOND).build().unwrap();
    cache.get(&1).unwrap();
    clock.advance(SECOND);
    assert!(cache.get(&1).is_err());
    assert!(cache.peek(&1).is_none());
}

#[test]
fn f1_a_record_that_is_not_to_be_kept_still_removes_the_older_entry() {
    for lifetime in [Lifetime::NotKept, Lifetime::For(Duration::ZERO)] {
        let clock = ManualClock::new();
        let (shelf, cache) = shop(&clock, 60 * SECOND);
        cache.put(&1, 1).unwrap();
        shelf.lifetime(lifetime);
        let written = cache.put(&1, 2).unwrap();
        assert!(!written.kept);
        assert_eq!(written.entry.map(|e| *e), Some(2));
        assert!(cache.peek(&1).is_none());
        let read = cache.read(&1, &Call::new()).unwrap();
        assert_eq!(read.how, How::Loaded { kept: false });
        assert_eq!(read.entry.map(|e| *e), Some(2));
        assert_eq!(cache.stats().entries, 0);
    }
}

#[test]
fn f1_a_load_that_is_not_to_be_kept_removes_the_expired_entry() {
    let clock = ManualClock::new();
    let (shelf, cache) = shop(&clock, SECOND);
    cache.get(&1).unwrap();
    clock.advance(SECOND);
    shelf.lifetime(Lifetime::NotKept);
    cache.get(&1).unwrap();
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn f1_unchanged_renews_the_entry_and_keeps_its_value() {
    let clock = ManualClock::new();
    let source = Fns::<Typed<u32, u64>>::get(|_, cx| match cx.replaced() {
        None => Ok(Loaded::Found(Record::new(7))),
        Some(replaced) => {
            assert_eq!(**replaced, 7);
            Ok(Loaded::Unchanged(Lifetime::For(5 * SECOND)))
        }
    });
    let cache = Cache::builder(source).clock(clock.shared()).clean_start(true).lifetime(SECOND).build().unwrap();
    let first = cache.get(&1).unwrap().unwrap();
    clock.advance(SECOND);
    let renewed = cache.get(&1).unwrap().unwrap();
    assert!(std::ptr::eq(first.value(), renewed.value()), "the same record");
    assert_eq!(renewed.since(), cache.now());
    assert_eq!(renewed.remaining(cache.now()), 5 * SECOND);
    clock.advance(5 * SECOND - Duration::from_nanos(1));
    assert!(cache.peek(&1).is_some());
    clock.advance(Duration::from_nanos(1));
    assert!(cache.peek(&1).is_none());
}

#[test]
fn f1_unchanged_that_is_not_to_be_kept_removes_the_entry() {
    let clock = ManualClock::new();
    let source = Fns::<Typed<u32, u64>>::get(|_, cx| match cx.replaced() {
        None => Ok(Loaded::Found(Record::new(7))),
        Some(_) => Ok(Loaded::Unchanged(Lifetime::NotKept)),
    });
    let cache = Cache::builder(source).clock(clock.shared()).clean_start(true).lifetime(SECOND).build().unwrap();
    cache.get(&1).unwrap();
    clock.advance(SECOND);
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(7));
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn f1_unchanged_without_anything_offered_is_a_failure_of_the_source() {
    let source = Fns::<Typed<u32, u64>>::get(|_, _| Ok(Loaded::Unchanged(Lifetime::Default)));
    let cache = Cache::builder(source).build().unwrap();
    assert!(matches!(cache.get(&1), Err(wtcache::LoadError::Source(_))));
    assert_eq!(cache.stats().entries, 0);
}

/// The entry was renewed before the load's fence was asked: between the two, and for good where the load was detached,
/// hits went beyond the deadline of a write that was out.
#[test]
fn unchanged_from_a_detached_load_renews_nothing() {
    let clock = ManualClock::new();
    let answers = AtomicU32::new(0);
    let here = Arc::new(std::sync::OnceLock::<Cache<u32, u64>>::new());
    let inside = Arc::clone(&here);
    let source = Fns::<Typed<u32, u64>>::get(move |_, _| match answers.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(Loaded::Found(Record::new(7))),
        _ => {
            // The fence moves, while a handle on the entry is out.
            inside.get().unwrap().invalidate(&1);
            Ok(Loaded::Unchanged(Lifetime::For(100 * SECOND)))
        }
    });
    let cache = Cache::builder(source).clock(clock.shared()).clean_start(true).lifetime(SECOND).build().unwrap();
    here.set(cache.clone()).ok().unwrap();
    let held = cache.get(&1).unwrap().unwrap();
    clock.advance(SECOND);
    let _ = cache.get(&1);
    assert_eq!(held.remaining(cache.now()), Duration::ZERO, "a load that is not retained renews nothing");
}

#[test]
fn f4_absence_is_remembered_for_the_negative_lifetime() {
    let clock = ManualClock::new();
    let shelf = Shop::new();
    let cache = Cache::builder(shelf.clone()).clock(clock.shared()).clean_start(true).negative_lifetime(3 * SECOND);
    let cache = cache.lifetime(100 * SECOND).build().unwrap();
    for _ in 0..5 {
        assert!(cache.get(&1).unwrap().is_none());
    }
    assert_eq!(shelf.gets(), 1);
    shelf.set(1, 10);
    clock.advance(3 * SECOND - Duration::from_nanos(1));
    assert!(cache.get(&1).unwrap().is_none());
    clock.advance(Duration::from_nanos(1));
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(10));
    assert_eq!((shelf.gets(), cache.stats().absent_hits), (2, 5));
}

#[test]
fn f4_a_negative_lifetime_of_zero_remembers_no_absence() {
    let shelf = Shop::new();
    let cache = Cache::builder(shelf.clone()).negative_lifetime(Duration::ZERO).build().unwrap();
    for _ in 0..3 {
        assert!(cache.get(&1).unwrap().is_none());
    }
    assert_eq!((shelf.gets(), cache.stats().entries), (3, 0));
}

#[test]
fn f4_absence_after_a_delete_is_remembered_where_asked_for() {
    let clock = ManualClock::new();
    for remembered in [false, true] {
        let shelf = Shop::of([(1, 10)]);
        let cache = Cache::builder(shelf.clone()).clock(clock.shared()).clean_start(true);
        let cache = cache.absent_after_delete(remembered).negative_lifetime(2 * SECOND).build().unwrap();
        assert_eq!(cache.delete(&1).unwrap().kept, remembered);
        assert!(cache.get(&1).unwrap().is_none());
        assert_eq!(shelf.gets(), usize::from(!remembered));
        clock.advance(2 * SECOND);
        assert!(cache.get(&1).unwrap().is_none());
        assert_eq!(shelf.gets(), 1 + usize::from(!remembered));
    }
}

fn jittered(seed: Option<u64>) -> Vec<Duration> {
    let clock = ManualClock::new();
    let cache = Cache::builder(Shop::new()).clock(clock.shared()).clean_start(true).lifetime(100 * SECOND).jitter(0.25);
    let cache = if let Some(seed) = seed { cache.seed(seed) } else { cache }.build().unwrap();
    (0..200).map(|key| cache.put(&key, 0).unwrap().entry.unwrap().remaining(cache.now())).collect()
}

#[test]
fn f4_jitter_only_shortens_and_by_its_share_at_most() {
    let lives = jittered(None);
    assert!(lives.iter().all(|life| *life <= 100 * SECOND && *life >= 75 * SECOND), "{lives:?}");
    let spread = lives.iter().max().unwrap().abs_diff(*lives.iter().min().unwrap());
    assert!(spread > 20 * SECOND, "two hundred lifetimes lie apart: {spread:?}");
}

#[test]
fn f4_jitter_is_the_same_again_with_the_same_seed() {
    assert_eq!(jittered(Some(7)), jittered(Some(7)));
    assert_ne!(jittered(Some(7)), jittered(Some(8)));
}

#[test]
fn f4_time_is_the_injected_clocks() {
    let clock = ManualClock::new();
    let (_, cache) = shop(&clock, SECOND);
    assert_eq!(cache.now(), wtcache::Tick::ZERO.after(SECOND));
    clock.advance(5 * SECOND);
    assert_eq!(cache.now(), wtcache::Tick::ZERO.after(6 * SECOND));
}
