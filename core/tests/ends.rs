//! Chapter 8 of the contract: how long what has expired is kept, and records that say themselves when they end.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shelf::{Fns, SECOND, broken};
use wtcache::{
    Builder, Cache, Call, Confirmed, How, Lifetime, LoadCx, Loaded, Outcome, Record, Typed, Version, Windows,
};
use wtcache_testkit::ManualClock;

type Records = Typed<u32, u64>;

/// What the origin says of each record: its value, which is the second of its end (0: none), the lifetime it gives, and whether it fails. What it was offered is
/// kept.
struct Origin {
    value: Mutex<u64>,
    lifetime: Mutex<Lifetime>,
    fails: Mutex<bool>,
    offered: Mutex<Vec<bool>>,
}

impl Origin {
    fn new(value: u64) -> Arc<Self> {
        let lifetime = Mutex::new(Lifetime::Default);
        Arc::new(Self { value: Mutex::new(value), lifetime, fails: Mutex::default(), offered: Mutex::default() })
    }

    fn source(self: &Arc<Self>) -> Fns<Records> {
        let (gets, puts) = (Arc::clone(self), Arc::clone(self));
        Fns::get(move |_, cx: &LoadCx<'_, Records>| {
            gets.offered.lock().unwrap().push(cx.replaced().is_some());
            let (value, lifetime) = (*gets.value.lock().unwrap(), *gets.lifetime.lock().unwrap());
            if *gets.fails.lock().unwrap() {
                return Err(broken());
            }
            if cx.replaced().is_some_and(|entry| *entry.value() == value) {
                return Ok(Loaded::Unchanged(lifetime));
            }
            Ok(Loaded::Found(Record::new(value).version(Version::new("v").unwrap()).lifetime(lifetime)))
        })
        .put(move |_, value, _| {
            *puts.value.lock().unwrap() = *value;
            Outcome::Applied(Confirmed::Record(Record::new(*value)))
        })
    }

    fn offered(&self) -> Vec<bool> {
        std::mem::take(&mut *self.offered.lock().unwrap())
    }
}

fn cache(
    origin: &Arc<Origin>,
    clock: &ManualClock,
    options: impl FnOnce(Builder<Records>) -> Builder<Records>,
) -> Cache<u32, u64> {
    let builder = Cache::builder(origin.source()).clock(clock.shared()).clean_start(true).lifetime(60 * SECOND);
    options(builder).build().unwrap()
}

/// The record of 1, with how it came.
fn read(cache: &Cache<u32, u64>, call: &Call) -> Option<(u64, How)> {
    let read = cache.read(&1, call).ok()?;
    read.entry.map(|entry| (*entry.value(), read.how))
}

const LED: How = How::Loaded { kept: true };

/// F1, F2: until then it is offered to the origin and served where the origin fails; then it is as if it were not there.
#[test]
fn f2_what_expired_longer_ago_than_it_is_kept_is_not_there() {
    for (late, there) in [(Duration::from_nanos(1), true), (Duration::ZERO, false)] {
        let (origin, clock) = (Origin::new(7), ManualClock::new());
        let cache = cache(&origin, &clock, |b| {
            b.keep_expired(30 * SECOND).indexes(["value"], |_, value, rows| rows.add(0, &value.to_be_bytes()))
        });
        let find = |cache: &Cache<u32, u64>| cache.find("value", &7_u64.to_be_bytes()).unwrap().expired;
        read(&cache, &Call::new()).unwrap();
        clock.advance(90 * SECOND - late);
        assert_eq!(find(&cache), usize::from(there));
        *origin.fails.lock().unwrap() = true;
        let any = Call::new().stale_if_error(3600 * SECOND);
        assert_eq!(read(&cache, &any), there.then_some((7, How::Stale)));
        *origin.fails.lock().unwrap() = false;
        assert_eq!(read(&cache, &Call::new()), Some((7, LED)));
        assert_eq!(origin.offered(), [false, there, there], "{late:?}");
    }
}

/// F1: what the call of its key finds so is gone, with its weight.
#[test]
fn b1_what_is_not_kept_any_more_goes_with_the_next_call_of_its_key() {
    let (origin, clock) = (Origin::new(7), ManualClock::new());
    let cache = cache(&origin, &clock, |b| b.keep_expired(Duration::ZERO));
    read(&cache, &Call::new()).unwrap();
    clock.advance(60 * SECOND);
    assert_eq!(cache.stats().entries, 1, "nothing looks for it");
    *origin.fails.lock().unwrap() = true;
    assert_eq!(read(&cache, &Call::new()), None);
    assert_eq!((cache.stats().entries, cache.stats().weight), (0, 0));
}

/// The value of a record is its end, in seconds from now.
fn ending(builder: Builder<Records>, clock: &ManualClock) -> Builder<Records> {
    let clock = clock.shared();
    let start = clock.now();
    builder.own_end(move |_, end| (*end > 0).then(|| start.after(Duration::from_secs(*end)).since(clock.now())))
}

/// F1: the earlier of the two, however the record came here.
#[test]
fn f1_a_record_ends_when_it_says_or_earlier() {
    for (value, end) in [(20, 20), (70, 60), (0, 60)] {
        for put in [false, true] {
            let (origin, clock) = (Origin::new(value), ManualClock::new());
            let cache = cache(&origin, &clock, |b| ending(b, &clock));
            if put {
                cache.put(&1, value).unwrap();
            } else {
                read(&cache, &Call::new()).unwrap();
            }
            clock.advance(end * SECOND - Duration::from_nanos(1));
            assert!(cache.peek(&1).is_some(), "{value}");
            clock.advance(Duration::from_nanos(1));
            assert!(cache.peek(&1).is_none(), "{value}");
        }
    }
}

/// F1: one that has ended is for who waits for it.
#[test]
fn f1_a_record_that_has_ended_is_given_and_not_kept() {
    let (origin, clock) = (Origin::new(20), ManualClock::new());
    let cache = cache(&origin, &clock, |b| ending(b, &clock));
    clock.advance(20 * SECOND);
    assert_eq!(read(&cache, &Call::new()), Some((20, How::Loaded { kept: false })));
    assert!(!cache.put(&1, 20).unwrap().kept);
    assert_eq!(cache.stats().entries, 0);
}

/// F1: confirmed unchanged, it ends when it did, whatever lifetime comes with the word.
#[test]
fn f1_a_record_that_is_confirmed_ends_no_later() {
    for lifetime in [Lifetime::Default, Lifetime::For(90 * SECOND), Lifetime::AsBefore(Duration::ZERO)] {
        let (origin, clock) = (Origin::new(50), ManualClock::new());
        let cache = cache(&origin, &clock, |b| ending(b, &clock).lifetime(30 * SECOND));
        read(&cache, &Call::new()).unwrap();
        *origin.lifetime.lock().unwrap() = lifetime;
        clock.advance(30 * SECOND);
        assert_eq!(read(&cache, &Call::new()), Some((50, LED)));
        clock.advance(20 * SECOND - Duration::from_nanos(1));
        assert!(cache.peek(&1).is_some());
        clock.advance(Duration::from_nanos(1));
        assert!(cache.peek(&1).is_none(), "{lifetime:?}");
        // Confirmed once more, it has ended.
        assert_eq!(read(&cache, &Call::new()), Some((50, How::Loaded { kept: false })));
        assert_eq!(origin.offered(), [false, true, true]);
    }
}

/// F2: nobody is given it after its end: not by the cache's windows, the source's, or a call's.
#[test]
fn f2_a_record_with_an_end_is_not_served_stale() {
    let windows = Windows { fresh: None, while_revalidate: Some(500 * SECOND), if_error: Some(500 * SECOND) };
    for (lifetime, own) in [(Lifetime::Default, 20), (Lifetime::With(windows), 20), (Lifetime::Default, 0)] {
        let (origin, clock) = (Origin::new(own), ManualClock::new());
        *origin.lifetime.lock().unwrap() = lifetime;
        let cache = cache(&origin, &clock, |b| ending(b, &clock).stale_if_error(500 * SECOND));
        read(&cache, &Call::new()).unwrap();
        clock.advance(60 * SECOND);
        *origin.fails.lock().unwrap() = true;
        let any = Call::new().max_stale(500 * SECOND).stale_if_error(500 * SECOND);
        for call in [Call::new(), any] {
            assert_eq!(read(&cache, &call).is_some(), own == 0, "{lifetime:?} {own}");
        }
    }
}

/// F2: but where what has expired is not kept to its end anyway.
#[test]
fn f2_a_record_whose_end_is_far_is_stale_as_others_are() {
    for (own, stale) in [(90, true), (89, false)] {
        let (origin, clock) = (Origin::new(own), ManualClock::new());
        let cache = cache(&origin, &clock, |b| ending(b, &clock).stale_if_error(30 * SECOND).keep_expired(30 * SECOND));
        read(&cache, &Call::new()).unwrap();
        clock.advance(90 * SECOND - Duration::from_nanos(1));
        *origin.fails.lock().unwrap() = true;
        assert_eq!(read(&cache, &Call::new()), stale.then_some((own, How::Stale)), "{own}");
        clock.advance(Duration::from_nanos(1));
        assert_eq!(read(&cache, &Call::new().stale_if_error(500 * SECOND)), None);
    }
}

#[test]
fn a_record_whose_end_panics_is_given_and_not_kept() {
    let (origin, clock) = (Origin::new(7), ManualClock::new());
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let cache = cache(&origin, &clock, |b| {
        b.own_end(move |_, _| {
            assert!(
                counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2),
                "a function that panics each other time"
            );
            None
        })
    });
    assert_eq!(read(&cache, &Call::new()), Some((7, LED)));
    clock.advance(60 * SECOND);
    assert_eq!(read(&cache, &Call::new()), Some((7, How::Loaded { kept: false })), "confirmed unchanged");
    assert_eq!((cache.stats().entries, cache.stats().extractors_panicked), (0, 1));
}
