//! I3: what the origin tells of its changes by itself.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod common;
mod shelf;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use shelf::{Fns, SECOND};
use wtcache::{
    Builder, Cache, Call, Confirmed, EventKind, How, Lifetime, Loaded, Outcome, PushEnd, Pushed, Record, Settlement,
    SourceError, Typed, Version, VersionOrder,
};
use wtcache_testkit::ManualClock;

type Numbers = Typed<u32, u64>;

const KEY: u32 = 1;

fn version(number: u64) -> Version {
    Version::new(format!("\"r{number}\"")).unwrap()
}

/// A record whose value is its version.
fn record(number: u64) -> Record<u64> {
    Record::new(number).version(version(number))
}

fn put(number: u64) -> Pushed<u64> {
    Pushed::Put(record(number))
}

/// A cache over an origin whose record is of this version, and never changes.
fn holding(number: u64, options: impl FnOnce(Builder<Numbers>) -> Builder<Numbers>) -> Cache<u32, u64> {
    let source = Fns::get(move |_, _| Ok(Loaded::Found(record(number))))
        .declared(|declared| declared.version_order = VersionOrder::Number);
    let cache = options(Cache::builder(source).clean_start(true)).build().unwrap();
    assert_eq!(cache.get(&KEY).unwrap().map(|entry| *entry), Some(number));
    cache
}

fn held(cache: &Cache<u32, u64>) -> Option<u64> {
    cache.peek(&KEY).map(|entry| *entry)
}

#[test]
fn i3_a_newer_record_is_taken_and_an_older_one_changes_nothing() {
    let cache = holding(5, |builder| builder);
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Taken);
    assert_eq!(held(&cache), Some(6));
    for late in [5, 6, 1] {
        assert_eq!(cache.pushed(&KEY, put(late)), PushEnd::PassedOver, "{late}");
        assert_eq!(cache.pushed(&KEY, Pushed::Delete(Some(version(late)))), PushEnd::PassedOver, "{late}");
        assert_eq!(cache.pushed(&KEY, Pushed::Changed(Some(version(late)))), PushEnd::PassedOver, "{late}");
    }
    assert_eq!(held(&cache), Some(6));
    assert_eq!(cache.stats().invalidated, 0);
    assert_eq!(cache.pushed(&KEY, put(10)), PushEnd::Taken, "ten is more than six, though not by its first byte");
    assert_eq!((held(&cache), cache.stats().loads), (Some(10), 1));
}

#[test]
fn i3_what_cannot_be_compared_invalidates() {
    let unversioned = Pushed::Put(Record::new(9));
    let weak = Pushed::Put(Record::new(9).version(Version::new("W/\"r9\"").unwrap()));
    for pushed in [unversioned, weak, Pushed::Delete(None), Pushed::Changed(None), Pushed::Changed(Some(version(9)))] {
        let cache = holding(5, |builder| builder);
        assert_eq!(cache.pushed(&KEY, pushed.clone()), PushEnd::Invalidated, "{pushed:?}");
        assert_eq!((held(&cache), cache.stats().invalidated), (None, 1), "{pushed:?}");
    }
    // Of an origin whose versions have no order, every push is a change and no more.
    let cache = Cache::builder(Fns::<Numbers>::get(|_, _| Ok(Loaded::Found(record(5))))).clean_start(true);
    let cache = cache.build().unwrap();
    cache.get(&KEY).unwrap();
    assert_eq!(cache.pushed(&KEY, put(4)), PushEnd::Invalidated);
    assert_eq!(held(&cache), None);
}

#[test]
fn i3_a_push_brings_back_nothing_that_is_not_held() {
    let cache = holding(5, |builder| builder);
    assert_eq!(cache.pushed(&2, put(6)), PushEnd::Invalidated);
    assert!(cache.peek(&2).is_none(), "it may have been deleted since");
    let absent = Fns::<Numbers>::get(|_, _| Ok(Loaded::Absent)).declared(|d| d.version_order = VersionOrder::Number);
    let cache = Cache::builder(absent).clean_start(true).build().unwrap();
    assert!(cache.get(&KEY).unwrap().is_none());
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Invalidated);
    assert_eq!(cache.read(&KEY, &Call::new()).unwrap().how, How::Loaded { kept: true }, "the absence is not believed");
}

#[test]
fn i3_a_delete_that_is_newer_leaves_an_absence() {
    let clock = ManualClock::new();
    let cache = holding(5, |builder| builder.clock(clock.shared()).negative_lifetime(SECOND));
    assert_eq!(cache.pushed(&KEY, Pushed::Delete(Some(version(6)))), PushEnd::Taken);
    let read = cache.read(&KEY, &Call::new()).unwrap();
    assert!(read.entry.is_none() && read.how == How::Hit);
    clock.advance(SECOND);
    assert_eq!(cache.get(&KEY).unwrap().map(|entry| *entry), Some(5), "for the negative lifetime");
}

/// A source that stops in its first load and its first put.
fn stops(stop: &Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>) -> Fns<Numbers> {
    let (in_get, in_put) = (Arc::clone(stop), Arc::clone(stop));
    Fns::get(move |_, _| {
        if let Some(stop) = in_get.get() {
            stop();
        }
        Ok(Loaded::Found(record(5)))
    })
    .put(move |_, value, _| {
        if let Some(stop) = in_put.get() {
            stop();
        }
        Outcome::Applied(Confirmed::Record(record(*value)))
    })
    .declared(|declared| declared.version_order = VersionOrder::Number)
}

#[test]
fn i3_a_load_in_flight_does_not_overwrite_what_was_pushed() {
    let stop: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>> = Arc::default();
    let clock = ManualClock::new();
    let builder = Cache::builder(stops(&stop)).clock(clock.shared()).clean_start(true);
    let cache = builder.lifetime(SECOND).stale_if_error(60 * SECOND).build().unwrap();
    cache.get(&KEY).unwrap();
    clock.advance(2 * SECOND);
    let (inner, told) = (cache.clone(), Mutex::new(Vec::new()));
    stop.set(Box::new(move || {
        let mut told = told.lock().unwrap();
        if told.is_empty() {
            told.push(inner.pushed(&KEY, put(6)));
            assert_eq!(told[..], [PushEnd::Taken]);
        }
    }))
    .ok();
    // The load began before the push, and brings what was before it.
    assert_eq!(cache.get(&KEY).unwrap().map(|entry| *entry), Some(6));
    assert_eq!(held(&cache), Some(6));
    assert_eq!(cache.stats().loads_detached, 1);
}

#[test]
fn i3_a_push_while_a_write_is_out_leaves_nothing_to_be_shown() {
    let stop: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>> = Arc::default();
    let cache = Cache::builder(stops(&stop)).clean_start(true).build().unwrap();
    cache.get(&KEY).unwrap();
    let inner = cache.clone();
    stop.set(Box::new(move || {
        // Also of what is held: a load may have brought it after the write was applied.
        assert_eq!(inner.pushed(&KEY, put(8)), PushEnd::Invalidated);
        assert_eq!(inner.pushed(&KEY, put(7)), PushEnd::Invalidated);
    }))
    .ok();
    let written = cache.put(&KEY, 7).unwrap();
    assert!(!written.kept);
    assert_eq!(held(&cache), None);
    assert!(cache.put(&KEY, 8).unwrap().kept, "its own version is as new as what was pushed");
    assert!(cache.put(&KEY, 9).unwrap().kept);
    assert_eq!(held(&cache), Some(9));
}

#[test]
fn i3_a_load_beside_a_write_may_be_newer_than_it_and_the_push_says_so() {
    let cache = holding(5, |builder| builder);
    let sent = cache.prepare(&KEY, &Call::new()).unwrap().send().unwrap();
    // The write was applied as version 4; then somebody wrote 5, which is held, and is told now.
    assert_eq!(cache.pushed(&KEY, put(5)), PushEnd::Invalidated);
    assert!(!sent.commit(Some(record(4))).kept);
    assert_eq!(held(&cache), None);
}

#[test]
fn i3_an_unversioned_push_or_record_leaves_nothing_of_a_write() {
    for (pushed, confirmed) in [(Pushed::Changed(None), record(6)), (put(6), Record::new(6))] {
        let cache = holding(5, |builder| builder);
        let sent = cache.prepare(&KEY, &Call::new()).unwrap().send().unwrap();
        assert_eq!(cache.pushed(&KEY, pushed), PushEnd::Invalidated);
        assert!(!sent.commit(Some(confirmed)).kept);
        let sent = cache.prepare(&KEY, &Call::new()).unwrap().send().unwrap();
        assert!(sent.commit(Some(record(7))).kept, "the next write is not held back by it");
    }
}

#[test]
fn i3_a_push_neither_ends_a_doubt_nor_is_retained_in_one() {
    let cache = holding(5, |builder| builder);
    let sent = cache.prepare(&KEY, &Call::new()).unwrap().send().unwrap();
    let doubt = sent.in_doubt(SourceError::new(wtcache::Failure::Broken, "no answer"));
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Invalidated);
    assert_eq!((held(&cache), cache.stats().in_doubt), (None, 1));
    assert!(doubt.outcome().is_none());
    assert!(cache.settle(&KEY, Settlement::Over));
}

#[test]
fn i3_pending_writes_stay_above_what_is_pushed() {
    let cache = holding(5, |builder| builder);
    let turn = cache.prepare(&KEY, &Call::new()).unwrap();
    let pending = cache.put_optimistic(&KEY, 100).unwrap();
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Taken, "nothing was sent yet");
    assert_eq!(cache.get(&KEY).unwrap().map(|entry| *entry), Some(100));
    assert_eq!(cache.get_confirmed(&KEY).unwrap().map(|entry| *entry), Some(6));
    assert!(pending.cancel());
    assert_eq!(cache.get(&KEY).unwrap().map(|entry| *entry), Some(6), "as if it had never been admitted");
    drop(turn);
}

#[test]
fn i3_f1_a_lifetime_counts_from_the_push_and_the_confirmation_from_before() {
    let clock = ManualClock::new();
    let cache = holding(5, |builder| builder.clock(clock.shared()).lifetime(10 * SECOND));
    let loaded = cache.now();
    clock.advance(8 * SECOND);
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Taken);
    let entry = cache.peek(&KEY).unwrap();
    assert_eq!(entry.since(), loaded, "the origin may have said so right after the load");
    assert_eq!(entry.remaining(cache.now()), 10 * SECOND);
    // F5: who wants it to be confirmed within the last second is given a load.
    let asks = Call::new().max_age(SECOND);
    assert_eq!(cache.read(&KEY, &asks).unwrap().how, How::Loaded { kept: true });
    // One of its own counts from the confirmation, so that a later "unchanged" cannot stretch it.
    clock.advance(4 * SECOND);
    let own = record(7).lifetime(Lifetime::For(6 * SECOND));
    assert_eq!(cache.pushed(&KEY, Pushed::Put(own)), PushEnd::Taken);
    assert_eq!(cache.peek(&KEY).unwrap().remaining(cache.now()), 2 * SECOND);
}

#[test]
fn i1_a_tag_invalidated_between_the_look_and_the_taking_holds() {
    let inner: Arc<OnceLock<Cache<u32, u64>>> = Arc::default();
    let back = Arc::clone(&inner);
    let cache = holding(5, |builder| {
        builder.tags(move |_, value, tags| {
            if *value == 6 {
                tags.add("east");
                back.get().map(|cache| cache.invalidate_tag("east"));
            }
        })
    });
    inner.set(cache.clone()).ok();
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Invalidated);
    assert_eq!(held(&cache), None);
}

#[test]
fn i3_b1_what_is_not_kept_takes_the_older_record_along() {
    let cache = holding(5, |builder| builder.weigher(|_, value| if value == Some(&6) { 1 << 40 } else { 1 }));
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Invalidated);
    assert_eq!(held(&cache), None);
    let cache = holding(5, |builder| builder);
    assert_eq!(cache.pushed(&KEY, Pushed::Put(record(6).lifetime(Lifetime::NotKept))), PushEnd::Invalidated);
    assert_eq!(held(&cache), None);
}

#[test]
fn c0_what_is_pushed_in_the_first_window_ends_with_it() {
    let clock = ManualClock::new();
    let cache = holding(5, |builder| builder.clock(clock.shared()).clean_start(false));
    clock.advance(9 * SECOND);
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Taken);
    clock.advance(SECOND);
    assert_eq!(held(&cache), None);
}

#[test]
fn b4_a_closed_cache_holds_nothing() {
    let cache = holding(5, |builder| builder);
    cache.close(Duration::ZERO);
    assert_eq!(cache.pushed(&KEY, put(6)), PushEnd::Invalidated);
    assert_eq!(held(&cache), None);
}

#[test]
fn b5_a_push_is_told() {
    let told: Arc<Mutex<Vec<(u64, EventKind)>>> = Arc::default();
    let heard = Arc::clone(&told);
    let cache = holding(5, |b| b.listener(move |event| heard.lock().unwrap().push((event.sequence, event.kind))));
    told.lock().unwrap().clear();
    cache.pushed(&KEY, put(6));
    cache.pushed(&KEY, put(6));
    cache.pushed(&KEY, Pushed::Delete(Some(version(7))));
    cache.pushed(&KEY, put(8));
    let told = std::mem::take(&mut *told.lock().unwrap());
    let kinds: Vec<EventKind> = told.iter().map(|(_, kind)| *kind).collect();
    let pushed = |absent| EventKind::Pushed { absent };
    assert_eq!(kinds, [pushed(false), pushed(true), EventKind::Invalidated]);
    assert!(told.is_sorted_by_key(|(sequence, _)| *sequence));
}
