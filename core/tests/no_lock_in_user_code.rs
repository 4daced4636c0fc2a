//! P8: no lock is held while the program's code runs. Each piece of it calls back into the cache, for another key and for
//! keys of the same shard, with calls that take the shard's lock shared and exclusive. A lock held would deadlock, which
//! fails the test after ten seconds. `Eq` of a key is the one exception.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use shelf::{Fns, SECOND, broken, within_ten_seconds};
use wtcache::{Cache, Call, Change, Confirmed, Loaded, Outcome, Record, Typed};
use wtcache_testkit::ManualClock;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Calls the cache back, and counts from where it was called.
#[derive(Default)]
struct Hook {
    cache: OnceLock<Cache<Key, Value>>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

impl Hook {
    fn call(self: &Arc<Self>, from: &'static str) {
        let Some(cache) = self.cache.get() else { return };
        // What the calls back call in turn goes no further.
        if INSIDE.replace(true) {
            return;
        }
        *self.calls.lock().unwrap().entry(from).or_default() += 1;
        for id in [1, 90, 91] {
            let key = Key { id, hook: Arc::clone(self) };
            let _ = cache.peek(&key);
            let _ = cache.get(&key);
            let _ = cache.get_many([&key, &key]);
            cache.invalidate_tag("none has it");
            let _ = cache.prepare(&key, &Call::new().deadline(Duration::ZERO));
            let _ = cache.find("all", b"");
            let _ = cache.stats();
        }
        cache.invalidate(&Key { id: 91, hook: Arc::clone(self) });
        INSIDE.set(false);
    }
}

struct Key {
    id: u32,
    hook: Arc<Hook>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hook.call("hash");
        self.id.hash(state);
    }
}

impl Clone for Key {
    fn clone(&self) -> Self {
        self.hook.call("clone of a key");
        Self { id: self.id, hook: Arc::clone(&self.hook) }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.hook.call("drop of a key");
    }
}

struct Value(u32, Arc<Hook>);

impl Drop for Value {
    fn drop(&mut self) {
        self.1.call("drop of a value");
    }
}

/// A cache in one shard, all of whose program calls back.
fn hooked(clock: &ManualClock, capacity: u64) -> (Arc<Hook>, Cache<Key, Value>) {
    hooked_in(clock, capacity, 1)
}

/// The same in more of them.
fn hooked_in(clock: &ManualClock, capacity: u64, shards: usize) -> (Arc<Hook>, Cache<Key, Value>) {
    let hook = Arc::new(Hook::default());
    let in_get = Arc::clone(&hook);
    let (in_put, in_delete) = (Arc::clone(&hook), Arc::clone(&hook));
    let (in_weigher, in_extractor) = (Arc::clone(&hook), Arc::clone(&hook));
    let in_listener = Arc::clone(&hook);
    let source = Fns::<Typed<Key, Value>>::get(move |key, _| {
        in_get.call("get");
        Ok(match key.id {
            7 => Loaded::Absent,
            id => Loaded::Found(Record::new(Value(id, Arc::clone(&in_get)))),
        })
    })
    .put(move |_, value, cx| {
        in_put.call("put");
        let _ = cx.existing();
        match value.0 {
            666 => Outcome::Unknown(broken()),
            n => Outcome::Applied(Confirmed::Record(Record::new(Value(n, Arc::clone(&in_put))))),
        }
    })
    .delete(move |_, _| {
        in_delete.call("delete");
        Outcome::Applied(())
    });
    let cache = Cache::builder(source)
        .clock(clock.shared())
        .lifetime(5 * SECOND)
        .capacity(capacity)
        .shards(shards)
        .weigher(move |_, _| {
            in_weigher.call("weigher");
            1
        })
        .indexes(["all"], move |_, _, rows| {
            in_extractor.call("extractor");
            rows.add(0, b"");
        })
        .listener(move |_| in_listener.call("listener"))
        .build()
        .unwrap();
    hook.cache.set(cache.clone()).ok().unwrap();
    (hook, cache)
}

#[test]
fn p8_the_programs_code_may_call_the_cache_from_anywhere() {
    let calls = within_ten_seconds(|| {
        let clock = ManualClock::new();
        // So small that entries come and go.
        let (hook, cache) = hooked(&clock, 2);
        let key = |id| Key { id, hook: Arc::clone(&hook) };
        let value = |n| Value(n, Arc::clone(&hook));
        for round in 0..3 {
            for id in 1..8 {
                cache.get(&key(id)).unwrap();
                cache.put(&key(id), value(round)).unwrap();
                let _ = cache.peek(&key(id));
                cache.update(&key(id), |_| Ok(Change::Put(value(round)))).unwrap();
                cache.invalidate(&key(id));
                cache.get(&key(id)).unwrap();
            }
            assert!(cache.put(&key(1), value(666)).is_err());
            cache.delete(&key(2)).unwrap();
            let overdue = cache.prepare(&key(3), &Call::new().deadline(SECOND)).unwrap().send().unwrap();
            clock.advance(20 * SECOND);
            let _ = cache.stats();
            drop(overdue);
            drop(cache.prepare(&key(4), &Call::new()).unwrap());
            cache.prepare(&key(4), &Call::new()).unwrap().send().unwrap().reject(true);
            cache.get(&key(5)).unwrap();
        }
        cache.close(Duration::ZERO);
        hook.calls.lock().unwrap().clone()
    });
    let from: Vec<_> = calls.keys().copied().collect();
    let all = [
        "clone of a key",
        "delete",
        "drop of a key",
        "drop of a value",
        "extractor",
        "get",
        "hash",
        "listener",
        "put",
        "weigher",
    ];
    assert_eq!(from, all, "{calls:?}");
}

#[test]
fn p8_what_goes_in_other_parts_of_the_cache_may_call_it() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let (hook, cache) = hooked_in(&clock, 2, 4);
        let key = |id| Key { id, hook: Arc::clone(&hook) };
        for round in 0..20 {
            for id in 1..7 {
                cache.put(&key(id), Value(round, Arc::clone(&hook))).unwrap();
                cache.get(&key(id + 10)).unwrap();
            }
        }
        assert!(cache.stats().evicted > 200 && cache.stats().weight <= 2, "{:?}", cache.stats());
    });
}

#[test]
fn p8_an_update_may_call_the_cache() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let (hook, cache) = hooked(&clock, 100);
        let key = |id| Key { id, hook: Arc::clone(&hook) };
        let written = cache.update(&key(1), |existing| {
            assert_eq!(existing.map(|e| e.0), Some(1));
            assert_eq!(cache.get(&key(1)).unwrap().map(|e| e.0), Some(1));
            assert!(cache.put(&key(2), Value(2, Arc::clone(&hook))).is_ok());
            let own = cache.put(&key(1), Value(3, Arc::clone(&hook)));
            assert!(matches!(own, Err(wtcache::WriteError::NotSent(wtcache::NotSent::Reentrant))));
            Ok(Change::Put(Value(4, Arc::clone(&hook))))
        });
        assert_eq!(written.unwrap().entry.map(|e| e.0), Some(4));
    });
}

#[test]
fn p8_a_value_whose_last_handle_the_cache_drops_may_call_it() {
    within_ten_seconds(|| {
        let clock = ManualClock::new();
        let (hook, cache) = hooked(&clock, 100);
        let key = |id| Key { id, hook: Arc::clone(&hook) };
        for id in [5, 6] {
            let sent = cache.prepare(&key(id), &Call::new()).unwrap().send().unwrap();
            // What is loaded now is in no permit's hands when the record takes its place, or the delete removes it.
            cache.get(&key(id)).unwrap();
            let drops = || hook.calls.lock().unwrap().get("drop of a value").copied().unwrap_or(0);
            let before = drops();
            match id {
                5 => drop(sent.commit(Some(Record::new(Value(9, Arc::clone(&hook)))))),
                _ => drop(sent.commit_deleted()),
            }
            assert!(drops() > before);
        }
    });
}

/// They ran while the load was attached, but a read from inside did not know that it was nested: it joined the load that it
/// was part of.
#[test]
fn p5_a_weigher_and_an_extractor_may_read_the_key_that_is_being_loaded() {
    within_ten_seconds(|| {
        let here = Arc::new(OnceLock::<Cache<u32, u64>>::new());
        let read = |here: &OnceLock<Cache<u32, u64>>, key: &u32| {
            if !INSIDE.replace(true) {
                assert!(here.get().unwrap().get(key).is_ok());
                INSIDE.set(false);
            }
        };
        let (in_weigher, in_extractor) = (Arc::clone(&here), Arc::clone(&here));
        let source = Fns::<Typed<u32, u64>>::get(|_, _| Ok(Loaded::Found(Record::new(1))));
        let cache = Cache::builder(source).clock(ManualClock::new().shared());
        let cache = cache.weigher(move |key, _| {
            read(&in_weigher, key);
            1
        });
        let cache = cache.indexes(["all"], move |key, _, _| read(&in_extractor, key)).build().unwrap();
        here.set(cache.clone()).ok().unwrap();
        assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(1));
        assert!(cache.put(&1, 2).is_ok());
        assert_eq!(cache.stats().extractors_panicked, 0);
    });
}

/// A key whose clones panic once the countdown is over.
struct Fragile(u32, Arc<AtomicI64>);

impl Fragile {
    fn new(id: u32, countdown: &Arc<AtomicI64>) -> Self {
        Self(id, Arc::clone(countdown))
    }
}

impl PartialEq for Fragile {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Fragile {}

impl Hash for Fragile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(self.1.fetch_sub(1, Ordering::Relaxed) != 0, "fragile");
        Self(self.0, Arc::clone(&self.1))
    }
}

#[test]
fn p7_a_key_whose_clone_panics_leaves_no_turn_and_no_load_behind() {
    within_ten_seconds(|| {
        for nth in 0..12 {
            let source = Fns::<Typed<Fragile, u32>>::get(|_, _| Ok(Loaded::Found(Record::new(1))));
            // The clock stands still: what waits for a deadline waits for good.
            let cache = Cache::builder(source).clock(ManualClock::new().shared()).shards(1).build().unwrap();
            let countdown = Arc::new(AtomicI64::new(-1));
            let key = |id| Fragile::new(id, &countdown);
            for call in [
                &(|| drop(cache.get(&key(1)))) as &dyn Fn(),
                &|| drop(cache.put(&key(2), 2)),
                &|| drop(cache.update(&key(3), |_| Ok(Change::Put(3)))),
                &|| drop(cache.prepare(&key(4), &Call::new())),
            ] {
                countdown.store(nth, Ordering::Relaxed);
                let _ = catch_unwind(AssertUnwindSafe(call));
                countdown.store(-1, Ordering::Relaxed);
            }
            for id in 1..5 {
                assert!(cache.get(&key(id)).is_ok());
                assert!(cache.put(&key(id), 5).is_ok());
            }
            assert_eq!(cache.stats().writes_open, 0);
        }
    });
}

#[cfg(feature = "tokio")]
mod wakers {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread;

    use super::*;
    use wtcache::tokio::Pool;

    /// Calls the cache when it is woken.
    struct CallsBack(Cache<u32, u64>, AtomicUsize);

    impl Wake for CallsBack {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::SeqCst);
            for key in [1, 2] {
                let _ = self.0.peek(&key);
                let _ = self.0.prepare(&key, &Call::new().deadline(Duration::ZERO));
                let _ = self.0.stats();
            }
            self.0.invalidate(&3);
        }
    }

    #[test]
    fn p8_a_waker_may_call_the_cache() {
        within_ten_seconds(|| {
            let clock = ManualClock::new();
            let gate = Arc::new(Barrier::new(2));
            let stop = Arc::clone(&gate);
            let source = Fns::<Typed<u32, u64>>::get(move |_, _| {
                stop.wait();
                stop.wait();
                Ok(Loaded::Found(Record::new(1)))
            });
            let cache = Cache::builder(source).shards(1).clock(clock.shared()).build().unwrap();
            let calls = Arc::new(CallsBack(cache.clone(), AtomicUsize::new(0)));
            let waker = Waker::from(Arc::clone(&calls));
            let mut cx = Context::from_waker(&waker);
            let tasks = cache.on_tokio(&Pool::new(1, 1));

            // One who waits for a load.
            thread::scope(|scope| {
                let leader = scope.spawn(|| cache.get(&1).unwrap());
                gate.wait();
                let call = Call::new();
                let mut read = pin!(tasks.read(&1, &call));
                assert!(read.as_mut().poll(&mut cx).is_pending());
                gate.wait();
                leader.join().unwrap();
                assert_eq!(calls.1.load(Ordering::SeqCst), 1);
                assert!(matches!(read.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
            });

            // One who waits for a load that is detached, one who waits for a turn, one whom close tells.
            thread::scope(|scope| {
                let leader = scope.spawn(|| cache.get(&2));
                gate.wait();
                let call = Call::new();
                let mut read = pin!(tasks.read(&2, &call));
                assert!(read.as_mut().poll(&mut cx).is_pending());
                cache.invalidate(&2);
                assert_eq!(calls.1.load(Ordering::SeqCst), 2);

                let turn = cache.prepare(&5, &call).unwrap();
                let mut put = pin!(tasks.put(&5, 5, &call));
                let mut later = pin!(tasks.put(&5, 6, &call));
                assert!(put.as_mut().poll(&mut cx).is_pending());
                assert!(later.as_mut().poll(&mut cx).is_pending());
                turn.abort();
                assert_eq!(calls.1.load(Ordering::SeqCst), 3);
                cache.close(Duration::ZERO);
                assert_eq!(calls.1.load(Ordering::SeqCst), 4);
                gate.wait();
                assert!(leader.join().unwrap().is_err());
            });
        });
    }
}
