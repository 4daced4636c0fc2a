//! B5: what a listener is told, in which order, and what it may do.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod common;
mod shelf;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use common::{WINDOW, World, not_sent, secs, within, world_with};
use shelf::within_ten_seconds;
use wtcache::{Builder, Cache, EventKind, NotSent, Settlement};
use wtcache_testkit::{Does, Op, Script, When};

use EventKind::{
    Deleted, Dropped, Evicted, Expired, InDoubt, Invalidated, Put, RefusedStale, Retained, Settled, TooHeavy,
};

const LOADED: EventKind = Retained { absent: false };
const KEPT: EventKind = Put { kept: true };
const NOT_KEPT: EventKind = Put { kept: false };

type Told = (String, u64, EventKind);

/// What was told so far.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Told>>>);

impl Ear {
    fn all(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }

    /// What was told since the last time, key and kind.
    fn news(&self) -> Vec<(String, EventKind)> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().map(|(key, _, kind)| (key, kind)).collect()
    }

    /// What was told of one key, in the order of the numbers.
    fn in_order(&self, key: &str) -> Vec<(u64, EventKind)> {
        let mut told: Vec<_> =
            self.all().into_iter().filter(|(of, ..)| of == key).map(|(_, sequence, kind)| (sequence, kind)).collect();
        told.sort_unstable_by_key(|(sequence, _)| *sequence);
        told
    }
}

fn of(key: &str, kinds: &[EventKind]) -> Vec<(String, EventKind)> {
    kinds.iter().map(|kind| (key.to_owned(), *kind)).collect()
}

fn listened(options: impl FnOnce(Builder<common::Texts>) -> Builder<common::Texts>) -> (World, Ear) {
    listened_over(Script::new(), options)
}

fn listened_over(
    script: Script,
    options: impl FnOnce(Builder<common::Texts>) -> Builder<common::Texts>,
) -> (World, Ear) {
    let ear = Ear::default();
    let heard = ear.clone();
    let world = world_with(script, |builder| {
        options(builder).listener(move |event| {
            heard.0.lock().unwrap().push((event.key.clone(), event.sequence, event.kind));
        })
    });
    (world, ear)
}

/// A way to the cache for its own listener, that does not keep it alive.
#[derive(Clone, Default)]
struct Back(Arc<Mutex<Weak<Cache<String, String>>>>);

impl Back {
    fn cache(&self) -> Option<Arc<Cache<String, String>>> {
        self.0.lock().unwrap().upgrade()
    }
}

/// A world whose listener is given the cache.
fn calling_back(
    options: impl FnOnce(Builder<common::Texts>) -> Builder<common::Texts>,
    listener: impl Fn(&Cache<String, String>, &str, EventKind) + Send + Sync + 'static,
) -> (World, Ear, Arc<Cache<String, String>>) {
    let (ear, back) = (Ear::default(), Back::default());
    let (heard, way) = (ear.clone(), back.clone());
    let world = world_with(Script::new(), |builder| {
        options(builder).listener(move |event| {
            heard.0.lock().unwrap().push((event.key.clone(), event.sequence, event.kind));
            if let Some(cache) = way.cache() {
                listener(&cache, event.key, event.kind);
            }
        })
    });
    let cache = Arc::new(world.cache.clone());
    *back.0.lock().unwrap() = Arc::downgrade(&cache);
    (world, ear, cache)
}

#[test]
fn b5_loads_and_writes_are_told_as_what_they_left() {
    let (world, ear) = listened(|builder| builder);
    world.script.set("a", "1");
    let _ = world.get("a");
    let _ = world.get("b");
    assert_eq!(ear.news(), [of("a", &[LOADED]), of("b", &[Retained { absent: true }])].concat());
    let _ = (world.get("a"), world.peek("b"));
    assert_eq!(ear.news(), [], "a hit is no event");
    world.put("a", "2").unwrap();
    world.script.next(Op::Put, "a", Does::Unseen);
    world.put("a", "3").unwrap();
    world.cache.delete("a").unwrap();
    assert_eq!(ear.news(), of("a", &[KEPT, NOT_KEPT, Deleted { kept: false }]));
    world.script.next(Op::Put, "a", Does::Reject);
    assert!(world.put("a", "4").is_err());
    world.script.next(Op::Get, "a", Does::Fail);
    assert!(world.cache.get("a").is_err());
    assert_eq!(ear.news(), [], "nothing has happened");
    world.script.next(Op::Put, "a", Does::RejectStale);
    assert!(world.put("a", "5").is_err());
    world.cache.invalidate("a");
    assert_eq!(ear.news(), of("a", &[RefusedStale, Invalidated]));
}

#[test]
fn b5_a_remembered_delete_is_told_as_kept() {
    let (world, ear) = listened(|builder| builder.absent_after_delete(true));
    world.cache.delete("a").unwrap();
    assert_eq!(ear.news(), of("a", &[Deleted { kept: true }]));
}

#[test]
fn b5_a_doubt_is_told_from_its_begin_to_its_end() {
    let (world, ear) = listened(|builder| builder);
    world.seed("a", "1");
    let _ = ear.news();
    let doubt = world.doubt("a", "2", Does::ApplyThenUnknown);
    let until = world.cache.now().after(WINDOW);
    assert_eq!(ear.news(), of("a", &[InDoubt { until }]));
    world.clock.advance(secs(4));
    drop(world.doubt("a", "3", Does::Unknown));
    let until = until.after(secs(4));
    assert_eq!(ear.news(), of("a", &[InDoubt { until }]), "prolonged");
    let _ = world.get("a");
    assert_eq!(ear.news(), [], "what is loaded is not retained");
    world.clock.advance(WINDOW);
    assert!(doubt.wait(Duration::ZERO));
    assert_eq!(ear.news(), [], "nobody came by");
    let _ = world.get("a");
    assert_eq!(ear.news(), of("a", &[Settled, LOADED]));
}

#[test]
fn b5_a_doubt_that_a_replay_or_the_program_settles_is_told_with_what_the_write_left() {
    let script = Script::new();
    script.declare(|declared| declared.honours_idempotency = true);
    let (world, ear) = listened_over(script, |builder| builder);
    let begun = InDoubt { until: world.cache.now().after(WINDOW) };
    let doubt = world.doubt("a", "1", Does::Unknown);
    doubt.replay(&within(secs(5))).map(drop).unwrap();
    assert_eq!(ear.news(), of("a", &[begun, Settled, KEPT]));
    let doubt = world.doubt("a", "2", Does::Unknown);
    world.script.next(Op::Put, "a", Does::RejectStale);
    assert!(doubt.replay(&within(secs(5))).is_err());
    assert_eq!(ear.news(), of("a", &[begun, Settled, RefusedStale]));
    let (first, _second) = (world.doubt("a", "3", Does::Unknown), world.doubt("a", "4", Does::Unknown));
    assert!(!first.settle(Settlement::NotApplied));
    assert_eq!(ear.news(), of("a", &[begun, begun]), "the other may still land");
    assert!(world.cache.settle("a", Settlement::Over));
    assert_eq!(ear.news(), of("a", &[Settled]));
}

#[test]
fn b5_what_a_sweep_finds_is_told_with_its_own_key() {
    let (world, ear) = listened(|builder| builder);
    let sent = world.cache.prepare("a", &within(secs(1))).unwrap().send().unwrap();
    let until = world.cache.now().after(secs(1)).after(WINDOW);
    world.clock.advance(secs(1));
    let _ = world.cache.stats();
    assert_eq!(ear.news(), of("a", &[InDoubt { until }]));
    world.clock.advance(WINDOW);
    let _ = world.cache.stats();
    assert_eq!(ear.news(), of("a", &[Settled]));
    sent.commit(None);
    assert_eq!(ear.news(), of("a", &[NOT_KEPT]), "late");
}

#[test]
fn b5_an_expiry_is_told_once_and_by_who_comes_by() {
    let (world, ear) = listened(|builder| builder.lifetime(secs(10)));
    world.script.set("a", "1");
    let _ = world.get("a");
    let _ = ear.news();
    world.clock.advance(secs(10));
    assert_eq!(world.peek("a"), None);
    assert_eq!(ear.news(), [], "a look is not enough");
    for _ in 0..2 {
        world.script.next(Op::Get, "a", Does::Fail);
        assert!(world.cache.get("a").is_err());
    }
    assert_eq!(ear.news(), of("a", &[Expired]));
    world.script.next(Op::Get, "a", Does::Unchanged);
    let _ = world.get("a");
    assert_eq!(ear.news(), of("a", &[LOADED]), "confirmed");
    world.clock.advance(secs(10));
    world.put("a", "2").unwrap();
    assert_eq!(ear.news(), of("a", &[Expired, KEPT]), "another lifetime, another expiry");
}

#[test]
fn b5_what_goes_for_room_is_told_by_its_key() {
    let (world, ear) = listened(|builder| builder.capacity(1).shards(1));
    world.seed("a", "1");
    world.seed("b", "1");
    let told = ear.news();
    assert_eq!(told, [of("a", &[KEPT, Evicted]), of("b", &[KEPT])].concat());
    assert_eq!(world.cache.stats().evicted, 1);
}

#[test]
fn b5_what_is_too_heavy_to_be_resident_is_told() {
    let weigh = |_: &String, value: Option<&String>| match value.map(String::as_str) {
        Some("heavy") => 11,
        Some("beyond") => 1 << 32,
        _ => 1,
    };
    let (world, ear) = listened(move |builder| builder.capacity(10).weigher(weigh));
    world.seed("a", "1");
    let _ = ear.news();
    world.put("a", "heavy").unwrap();
    world.put("a", "beyond").unwrap();
    let _ = world.get("a");
    assert_eq!(ear.news(), of("a", &[TooHeavy, NOT_KEPT, TooHeavy, NOT_KEPT, TooHeavy]));
    assert_eq!(world.peek("a"), None);
}

#[test]
fn b5_an_entry_that_goes_for_a_later_answer_is_told() {
    let (world, ear) = listened(|builder| builder.lifetime(secs(10)));
    world.seed("a", "1");
    let _ = ear.news();
    world.clock.advance(secs(10));
    world.script.next(Op::Get, "a", Does::For(wtcache::Lifetime::NotKept));
    let _ = world.get("a");
    assert_eq!(ear.news(), of("a", &[Expired, Dropped]));
    // So does one whose later answer a nested read was given.
    let _ = world.get("a");
    world.clock.advance(secs(10));
    let _ = ear.news();
    let cache = world.cache.clone();
    world.script.next(Op::Get, "b", Does::Run(Box::new(move || drop(cache.get("a")))));
    let _ = world.get("b");
    assert_eq!(ear.news(), [of("a", &[Expired, Dropped]), of("b", &[Retained { absent: true }])].concat());
}

/// Told late and numbered then, the load would come after the invalidation that dropped it.
#[test]
fn b5_numbers_say_what_came_first_not_what_was_told_first() {
    let (world, ear, _cache) = calling_back(
        |builder| builder.capacity(1).shards(1),
        |cache, _, kind| {
            // "b" is resident already, which is told next.
            if kind == Evicted {
                cache.invalidate("b");
            }
        },
    );
    world.script.set("b", "1");
    world.seed("a", "1");
    let _ = world.get("b");
    assert_eq!(world.peek("b"), None);
    let told: Vec<_> = ear.all().into_iter().filter(|(key, ..)| key == "b").map(|(.., kind)| kind).collect();
    assert_eq!(told, [Invalidated, LOADED], "told the wrong way round");
    let in_order: Vec<_> = ear.in_order("b").into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(in_order, [LOADED, Invalidated]);
}

#[test]
fn b5_the_last_number_of_a_key_tells_what_is_resident_whoever_told_it() {
    for _ in 0..20 {
        let (world, ear) = listened(|builder| builder.shards(1));
        world.script.set("a", "1");
        thread::scope(|scope| {
            for n in 0..3 {
                let cache = &world.cache;
                scope.spawn(move || {
                    for round in 0..50 {
                        match (n + round) % 3 {
                            0 => drop(cache.get("a")),
                            1 => cache.invalidate("a"),
                            _ => drop(cache.put("a", round.to_string())),
                        }
                    }
                });
            }
        });
        let told = ear.in_order("a");
        let numbers: HashSet<_> = told.iter().map(|(sequence, _)| sequence).collect();
        assert_eq!(numbers.len(), told.len(), "a number is given once");
        let resident = match told.last().unwrap().1 {
            Retained { .. } | Put { kept: true } => true,
            Put { kept: false } | Invalidated | Dropped => false,
            other => panic!("{other:?}"),
        };
        assert_eq!(world.peek("a").is_some(), resident, "{told:?}");
    }
}

#[test]
fn b5_what_is_told_holds_already() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let saw = Arc::clone(&seen);
    let (world, _, _cache) = calling_back(
        |builder| builder,
        move |cache, key, _| saw.lock().unwrap().push(cache.peek(key).map(|entry| entry.value().clone())),
    );
    world.script.set("a", "1");
    let _ = world.get("a");
    world.put("a", "2").unwrap();
    world.cache.invalidate("a");
    drop(world.doubt("a", "3", Does::Unknown));
    assert_eq!(*seen.lock().unwrap(), [Some("1".into()), Some("2".into()), None, None]);
}

#[test]
fn b5_a_panic_of_the_listener_is_contained_and_counted() {
    let (world, ear, _cache) = calling_back(
        |builder| builder.capacity(1).shards(1),
        |_, _, _| std::panic::resume_unwind(Box::new("a listener that panics")),
    );
    world.seed("a", "1");
    world.seed("b", "1");
    assert_eq!(ear.news().len(), 3, "the next one is told");
    drop(world.doubt("b", "2", Does::Panic));
    assert_eq!(world.cache.stats().listener_panicked, 4);
    assert_eq!(world.get("a").as_deref(), Some("1"), "the cache goes on");
}

#[test]
fn b5_a_listener_that_reads_waits_for_no_load() {
    let reading = Arc::new(Mutex::new(None));
    let handle = Arc::clone(&reading);
    let script = Arc::new(Mutex::new(None::<Script>));
    let scripted = Arc::clone(&script);
    let read = Arc::new(Mutex::new(None));
    let gave = Arc::clone(&read);
    let (world, _, _cache) = calling_back(
        |builder| builder,
        move |cache, key, kind| {
            if kind == Invalidated {
                // Another reader leads a load, and is held in it.
                let gate = scripted.lock().unwrap().as_ref().unwrap().hold(Op::Get, key, When::Before);
                let (other, of) = (cache.clone(), key.to_owned());
                *handle.lock().unwrap() = Some(wtcache_testkit::spawn(move || common::text(other.get(&of))));
                gate.wait_arrived();
                *gave.lock().unwrap() = Some(common::text(cache.get(key)));
                gate.release();
            }
        },
    );
    *script.lock().unwrap() = Some(world.script.clone());
    world.script.set("a", "1");
    // Outside of any call of the source.
    let () = world.start(|cache| cache.invalidate("a")).join();
    assert_eq!(read.lock().unwrap().take(), Some(Some("1".to_owned())));
    let reader = reading.lock().unwrap().take().unwrap();
    assert_eq!(reader.join().as_deref(), Some("1"));
    assert_eq!(world.loads("a"), 3, "it was moved by the listener's own load, and loaded again");
}

#[test]
fn b5_a_listener_that_writes_is_refused_its_own_key_and_never_waits_for_another() {
    let results = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&results);
    let (world, ear, _cache) = calling_back(
        |builder| builder,
        move |cache, key, _| {
            if key == "a" {
                let mut results = noted.lock().unwrap();
                for other in ["a", "taken", "free"] {
                    results.push(cache.put(other, "from within".to_owned()).map(|written| written.kept));
                }
            }
        },
    );
    let _taken = world.cache.prepare("taken", &within(secs(100))).unwrap();
    // Outside of any call of the source.
    let () = world.start(|cache| cache.invalidate("a")).join();
    let [own, taken, free] = <[_; 3]>::try_from(std::mem::take(&mut *results.lock().unwrap())).unwrap();
    assert!(matches!(not_sent(own), NotSent::Reentrant));
    assert!(matches!(not_sent(taken), NotSent::Busy));
    assert!(free.unwrap());
    assert_eq!(ear.news(), [of("a", &[Invalidated]), of("free", &[KEPT])].concat());
}

#[test]
fn b5_a_listener_that_makes_events_of_events_comes_to_an_end() {
    let (told, untold) = within_ten_seconds(|| {
        let (world, ear, _cache) = calling_back(|builder| builder, |cache, key, _| cache.invalidate(key));
        world.cache.invalidate("a");
        (ear.news().len(), world.cache.stats().events_untold)
    });
    assert_eq!((told, untold), (16, 1));
}

#[test]
fn b5_after_close_the_ends_of_sent_writes_are_told_and_no_entries() {
    let (world, ear) = listened(|builder| builder);
    world.seed("a", "1");
    let sent = world.cache.prepare("b", &within(secs(100))).unwrap().send().unwrap();
    let unknown = world.cache.prepare("c", &within(secs(100))).unwrap().send().unwrap();
    let _ = ear.news();
    world.cache.close(Duration::ZERO);
    assert_eq!(ear.news(), []);
    sent.commit(None);
    drop(unknown);
    assert_eq!(ear.news(), of("b", &[NOT_KEPT]));
}

#[test]
fn b5_the_key_of_an_event_is_not_cloned_under_a_lock() {
    /// A key whose clone looks at the cache.
    #[derive(PartialEq, Eq, Hash)]
    struct Key(u32);
    static HERE: Mutex<Option<Cache<Key, u32>>> = Mutex::new(None);
    static DEEP: AtomicBool = AtomicBool::new(false);
    impl Clone for Key {
        fn clone(&self) -> Self {
            let cache = HERE.lock().unwrap().clone();
            if let Some(cache) = cache
                && !DEEP.swap(true, Ordering::Relaxed)
            {
                cache.invalidate(&Key(self.0 + 100));
                DEEP.store(false, Ordering::Relaxed);
            }
            Self(self.0)
        }
    }
    within_ten_seconds(|| {
        let source = shelf::Fns::<wtcache::Typed<Key, u32>>::get(|_, _| Ok(wtcache::Loaded::Absent));
        let source = source.put(|_, _, _| wtcache::Outcome::Unknown(shelf::broken()));
        let clock = wtcache_testkit::ManualClock::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let cache = Cache::builder(source).clock(clock.shared()).capacity(1).shards(1);
        let cache = cache.listener(move |event| heard.lock().unwrap().push(event.key.0)).build().unwrap();
        *HERE.lock().unwrap() = Some(cache.clone());
        let _ = (cache.get(&Key(1)), cache.get(&Key(2)));
        assert!(cache.put(&Key(3), 0).is_err());
        clock.advance(secs(100));
        let _ = cache.stats();
        let report = cache.close(Duration::ZERO);
        assert_eq!(report.in_doubt.len(), 0);
        *HERE.lock().unwrap() = None;
        let told: HashSet<u32> = told.lock().unwrap().iter().copied().collect();
        assert!([1, 2, 3].iter().all(|key| told.contains(key)), "{told:?}");
    });
}

#[test]
fn b5_forgetting_many_is_told_of_each_key_once() {
    let (world, ear) = listened(|builder| builder.tags(|_, _, tags| tags.add("t")).lifetime(secs(10)));
    let taken = |key: &str| world.cache.prepare(key, &within(secs(100))).unwrap();
    // One has a record, one has a record and something going on, one has the latter alone.
    let _taken = [taken("k:2"), taken("k:3")];
    let every = |keys: &[&str], kinds: &[EventKind]| keys.iter().flat_map(|key| of(key, kinds)).collect::<Vec<_>>();
    let forgotten = |forget: &dyn Fn()| {
        for key in ["k:1", "k:2", "other"] {
            world.script.set(key, "1");
            assert_eq!(world.get(key).as_deref(), Some("1"));
        }
        ear.news();
        forget();
        let mut news = ear.news();
        // Stable: what is told of one key keeps its order.
        news.sort_by(|a, b| a.0.cmp(&b.0));
        news
    };
    let prefix = || assert_eq!(world.cache.invalidate_prefix("k:").entries, 2);
    assert_eq!(forgotten(&prefix), every(&["k:1", "k:2", "k:3"], &[Invalidated]));
    let tag = || assert_eq!(world.cache.invalidate_tag("t").entries, 3);
    assert_eq!(forgotten(&tag), every(&["k:1", "k:2", "other"], &[Invalidated]));
    let late = || {
        world.clock.advance(secs(10));
        prefix();
    };
    let expected = [every(&["k:1", "k:2"], &[Expired, Invalidated]), of("k:3", &[Invalidated])].concat();
    assert_eq!(forgotten(&late), expected);
}

#[test]
fn b5_a_refresh_is_told_as_the_load_that_it_is() {
    let (world, ear) = listened(|builder| builder.lifetime(secs(10)).stale_while_revalidate(secs(5)).refreshers(1, 1));
    world.script.set("a", "1");
    world.get("a");
    world.clock.advance(secs(12));
    let gate = world.script.hold(Op::Get, "a", When::After);
    assert_eq!(world.get("a").as_deref(), Some("1"), "stale");
    gate.wait_arrived();
    assert_eq!(ear.news(), of("a", &[LOADED, Expired]));
    // Beyond the window readers join the refresh, and are answered once it was told.
    world.clock.advance(secs(3));
    let joined = world.until_it_waits(|cache| cache.get("a"));
    gate.release();
    assert_eq!(common::text(joined.join()).as_deref(), Some("1"));
    assert_eq!(ear.news(), of("a", &[LOADED]));
}
