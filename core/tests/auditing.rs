//! The auditor: what it finds, what it does not take for a finding, and what it leaves alone.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod common;
mod shelf;

use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use common::{Texts, World, secs, text, within, world_with};
use shelf::Fns;
use wtcache::{
    Alarm, Audit, Builder, ByteCache, Cache, Clock, EventKind, Loaded, NotSent, Record, Stats, Tick, Typed, Version,
};
use wtcache_testkit::{Does, ManualClock, Op, Script, When};

/// A world that is audited once a second of its clock.
fn audited(options: impl FnOnce(Builder<Texts>) -> Builder<Texts>) -> World {
    let world = world_with(Script::new(), |builder| options(builder).audit(Audit::new()));
    asleep(&world.clock, 1);
    world
}

/// Waits until the auditor sleeps for the `nth` time.
#[track_caller]
fn asleep(clock: &ManualClock, nth: usize) {
    assert!(clock.wait_for_alarms(nth), "the auditor does not come to rest");
}

/// Time goes on, and the auditor makes its check.
#[track_caller]
fn pass(clock: &ManualClock, time: Duration) {
    let before = clock.alarms_ever_set();
    clock.advance(time);
    asleep(clock, before + 1);
}

fn found(stats: &Stats) -> [u64; 3] {
    [stats.differs_1s, stats.differs_10s, stats.differs_60s]
}

impl World {
    #[track_caller]
    fn found_after(&self, seconds: u64) -> [u64; 3] {
        for _ in 0..seconds {
            pass(&self.clock, secs(1));
        }
        found(&self.cache.stats())
    }

    /// An outside writer has changed "k", and the auditor has seen that once.
    #[track_caller]
    fn suspected(&self) {
        self.seed("k", "ours");
        self.script.set("k", "theirs");
        assert_eq!(self.found_after(1), [0, 0, 0]);
        assert_eq!(self.cache.stats().audits, 1);
    }

    /// The next time the auditor asks about "k", this happens while it does, on another thread.
    fn while_it_asks(&self, work: impl FnOnce(&Cache<String, String>) + Send + 'static) {
        let cache = self.cache.clone();
        let run = move || {
            thread::spawn(move || work(&cache)).join().unwrap();
        };
        self.script.next(Op::Get, "k", Does::Run(Box::new(run)));
    }
}

#[test]
fn audit_an_outside_write_is_found_after_1_10_and_60_seconds() {
    let world = audited(|builder| builder);
    world.suspected();
    let mut changes = Vec::new();
    let mut before = [0, 0, 0];
    for second in 1..=70 {
        let now = world.found_after(1);
        if now != before {
            changes.push((second, now));
            before = now;
        }
    }
    assert_eq!(changes, [(1, [1, 0, 0]), (10, [1, 1, 0]), (60, [1, 1, 1])]);
    let stats = world.cache.stats();
    assert_eq!((stats.audits, stats.audits_failed, stats.loads), (4, 0, 0));
}

#[test]
fn audit_what_it_sees_is_neither_retained_nor_given_to_readers() {
    let world = audited(|builder| builder);
    world.suspected();
    let _ = world.found_after(15);
    assert_eq!(world.get("k").as_deref(), Some("ours"));
    assert_eq!(world.peek("k").as_deref(), Some("ours"));
    assert_eq!(world.cache.stats().loads, 0);
}

#[test]
fn audit_a_record_where_an_absence_is_remembered_is_found_and_an_absence_where_a_record_is() {
    let world = audited(|builder| builder.negative_lifetime(secs(1000)));
    assert_eq!(world.get("k"), None);
    world.script.set("k", "theirs");
    assert_eq!(world.found_after(2), [1, 0, 0]);

    let world = audited(|builder| builder);
    world.seed("k", "ours");
    world.script.remove("k");
    assert_eq!(world.found_after(2), [1, 0, 0]);
}

#[test]
fn audit_what_is_the_same_is_no_finding() {
    let world = audited(|builder| builder.negative_lifetime(secs(1000)));
    world.seed("k", "ours");
    assert_eq!(world.get("none"), None);
    // Written again from outside: another version of the same value.
    world.script.set("k", "ours");
    assert_eq!(world.found_after(30), [0, 0, 0]);
    assert_eq!((world.cache.stats().audits, world.cache.stats().audits_failed), (30, 0));
    assert!(world.loads("k") > 0 && world.loads("none") > 1, "both were asked about");
}

#[test]
fn audit_the_resident_entry_is_offered_so_that_the_origin_can_say_unchanged() {
    let world = audited(|builder| builder);
    world.suspected();
    world.script.next(Op::Get, "k", Does::Unchanged);
    assert_eq!(world.found_after(1), [0, 0, 0], "by the origin's own word");
    let offered: Vec<_> = world.script.log().into_iter().filter(|seen| seen.op == Op::Get).collect();
    assert_eq!(offered.len(), 2);
    for seen in offered {
        assert_eq!((seen.replaced.as_deref(), seen.remaining), (Some("v1"), secs(5)));
    }
}

#[test]
fn audit_a_difference_that_passes_is_no_finding() {
    let world = audited(|builder| builder);
    world.suspected();
    world.script.set("k", "ours");
    assert_eq!(world.found_after(20), [0, 0, 0]);
    world.script.set("k", "theirs");
    assert_eq!(world.found_after(1), [0, 0, 0], "it begins anew");
    assert_eq!(world.found_after(1), [1, 0, 0]);
}

/// The permit's own I/O has reached the origin, and its answer has not come.
#[test]
fn audit_a_write_in_flight_is_no_finding() {
    let world = audited(|builder| builder.negative_lifetime(secs(1000)));
    world.seed("k", "old");
    let sent = world.cache.prepare("k", &within(secs(100))).unwrap().send().unwrap();
    world.script.set("k", "new");
    assert_eq!(world.found_after(20), [0, 0, 0]);
    assert_eq!(world.peek("k").as_deref(), Some("old"), "hits see the old base");
    sent.commit(Some(Record::new("new".to_owned())));
    assert_eq!(world.found_after(20), [0, 0, 0]);
}

#[test]
fn audit_a_write_that_begins_meanwhile_is_no_finding() {
    let world = audited(|builder| builder);
    world.suspected();
    let sent = Arc::new(Mutex::new(None));
    let permit = Arc::clone(&sent);
    world.while_it_asks(move |cache| {
        *permit.lock().unwrap() = Some(cache.prepare("k", &within(secs(3))).unwrap().send().unwrap());
    });
    assert_eq!(world.found_after(2), [0, 0, 0]);
    sent.lock().unwrap().take().unwrap().reject(false);
    assert_eq!(world.found_after(2), [1, 0, 0], "it was refused, and the difference is there yet");
}

#[test]
fn audit_what_goes_or_is_replaced_meanwhile_is_no_finding() {
    let meanwhile: [fn(&Cache<String, String>); 4] = [
        |cache| cache.invalidate("k"),
        |cache| drop(cache.put("k", "ours too".to_owned())),
        |cache| drop(cache.delete("k")),
        // Takes the only place.
        |cache| drop(cache.put("other", "x".to_owned())),
    ];
    for work in meanwhile {
        let world = audited(|builder| builder.capacity(1).shards(1));
        world.suspected();
        world.while_it_asks(work);
        assert_eq!(world.found_after(1), [0, 0, 0]);
        assert_eq!(world.cache.stats().audits, 2);
        assert_eq!(world.found_after(15), [0, 0, 0]);
    }
}

#[test]
fn audit_a_doubt_is_no_finding() {
    let world = audited(|builder| builder);
    world.suspected();
    world.script.next(Op::Put, "k", Does::Unknown);
    world.while_it_asks(|cache| assert!(cache.put("k", "ours too".to_owned()).is_err()));
    assert_eq!(world.found_after(15), [0, 0, 0]);
}

#[test]
fn audit_an_entry_that_expires_meanwhile_is_no_finding() {
    let world = audited(|builder| builder.lifetime(secs(5)));
    world.suspected();
    assert_eq!(world.found_after(10), [1, 0, 0], "it expired before the 10 s were over");
}

#[test]
fn audit_an_entry_that_the_origin_has_confirmed_meanwhile_is_no_finding() {
    let world = world_with(Script::new(), |builder| builder.lifetime(secs(5)).audit(Audit::new().every(secs(10))));
    asleep(&world.clock, 1);
    world.clock.advance(secs(9));
    world.seed("k", "ours");
    world.script.set("k", "theirs");
    pass(&world.clock, secs(1));
    // The auditor sleeps while it expires, and while a reader's load is answered that it is still the origin's.
    world.clock.advance(secs(6));
    world.script.next(Op::Get, "k", Does::Unchanged);
    assert_eq!(text(world.cache.get("k")).as_deref(), Some("ours"));
    pass(&world.clock, secs(4));
    let stats = world.cache.stats();
    assert_eq!((stats.audits, found(&stats)), (2, [0, 0, 0]), "a new difference, seen once");
}

#[test]
fn audit_a_call_of_its_own_is_nested_like_any_other() {
    let world = audited(|builder| builder);
    world.seed("k", "ours");
    let (cache, result) = (world.cache.clone(), Arc::new(Mutex::new(None)));
    let put = Arc::clone(&result);
    let run = move || *put.lock().unwrap() = Some(cache.put("k", "from within".to_owned()));
    world.script.next(Op::Get, "k", Does::Run(Box::new(run)));
    pass(&world.clock, secs(1));
    let refused = common::not_sent(result.lock().unwrap().take().unwrap());
    assert!(matches!(refused, NotSent::Reentrant), "{refused}");
}

#[test]
fn audit_off_asks_nothing() {
    let world = common::world();
    world.seed("k", "ours");
    world.script.set("k", "theirs");
    let log = world.script.log().len();
    for _ in 0..100 {
        world.clock.advance(secs(1));
    }
    assert_eq!(world.clock.alarms_ever_set(), 0, "nobody waits for time");
    assert_eq!((world.script.log().len(), world.cache.stats().audits), (log, 0));
}

#[test]
fn audit_the_budget_is_held() {
    let world = audited(|builder| builder);
    for n in 0..20 {
        world.seed(&format!("k{n}"), "ours");
    }
    for n in 0..20 {
        world.script.set(&format!("k{n}"), "theirs");
    }
    for turn in 1..=100 {
        pass(&world.clock, secs(1));
        assert!(world.cache.stats().audits <= turn);
    }
    let before = world.cache.stats().audits;
    assert!(before >= 60, "it is used, too: {before}");
    pass(&world.clock, secs(30));
    assert!(world.cache.stats().audits <= before + 1, "what was missed is not made up for");
}

/// A clock that notes for how long it is to wake somebody.
#[derive(Clone)]
struct Noting(ManualClock, Arc<Mutex<Vec<Duration>>>);

impl Clock for Noting {
    fn now(&self) -> Tick {
        self.0.now()
    }

    fn alarm(&self, at: Tick, waker: &Waker) -> Alarm {
        self.1.lock().unwrap().push(at.since(self.now()));
        self.0.alarm(at, waker)
    }
}

#[test]
fn audit_sleeps_for_the_whole_of_its_interval() {
    let (script, clock) = (Script::new(), ManualClock::new());
    let noting = Noting(clock.clone(), Arc::default());
    let every = Duration::from_millis(250);
    let cache = Cache::builder(script.clone()).clock(Arc::new(noting.clone())).audit(Audit::new().every(every));
    let cache: Cache<String, String> = cache.build().unwrap();
    asleep(&clock, 1);
    cache.put("k", "ours".to_owned()).unwrap();
    for _ in 0..5 {
        pass(&clock, every);
    }
    assert_eq!(script.calls(Op::Get, "k"), 5);
    assert_eq!(*noting.1.lock().unwrap(), [every; 6]);
}

#[test]
fn audit_asks_one_at_a_time_and_disturbs_nobody() {
    let world = audited(|builder| builder);
    world.seed("k", "ours");
    let gate = world.script.hold(Op::Get, "k", When::Before);
    let alarms = world.clock.alarms_ever_set();
    world.clock.advance(secs(1));
    gate.wait_arrived();
    world.clock.advance(secs(3));
    assert_eq!(world.cache.stats().audits, 1);
    assert_eq!(world.get("k").as_deref(), Some("ours"), "a hit");
    world.cache.invalidate("k");
    // A load of its own, not the auditor's.
    assert_eq!(world.get("k").as_deref(), Some("ours"));
    world.put("k", "ours too").unwrap();
    gate.release();
    asleep(&world.clock, alarms + 1);
    let stats = world.cache.stats();
    assert_eq!(
        (stats.audits, stats.loads, stats.joined, found(&stats)),
        (2, 1, 0, [0, 0, 0]),
        "the second when the first was over"
    );
}

#[test]
fn audit_a_failure_a_panic_and_a_late_answer_are_counted_and_are_no_finding() {
    let world = audited(|builder| builder);
    world.suspected();
    world.script.next(Op::Get, "k", Does::Fail);
    assert_eq!(world.found_after(1), [0, 0, 0]);
    assert_eq!(world.cache.stats().audits_failed, 1);
    world.script.next(Op::Get, "k", Does::Panic);
    assert_eq!(world.found_after(1), [0, 0, 0]);
    assert_eq!(world.cache.stats().audits_failed, 2);
    let clock = world.clock.clone();
    world.script.next(Op::Get, "k", Does::Run(Box::new(move || clock.advance(secs(5)))));
    pass(&world.clock, secs(1));
    let stats = world.cache.stats();
    assert_eq!((stats.audits, stats.audits_failed, found(&stats)), (4, 3, [0, 0, 0]));
    assert_eq!(world.found_after(1), [1, 0, 0], "it goes on");
}

#[test]
fn audit_a_panic_of_the_comparison_is_contained() {
    let panics = |_: &String, _: &String| -> bool { std::panic::resume_unwind(Box::new("no comparison")) };
    let world = world_with(Script::new(), |builder| builder.audit_by(Audit::new(), panics));
    asleep(&world.clock, 1);
    world.seed("k", "ours");
    assert_eq!(world.found_after(3), [0, 0, 0]);
    assert_eq!((world.cache.stats().audits, world.cache.stats().audits_failed), (3, 3));
}

#[test]
fn audit_its_finding_is_told_with_the_key() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let world = audited(|builder| {
        builder.listener(move |event| {
            if let EventKind::Differs { longer_than } = event.kind {
                heard.lock().unwrap().push((event.key.clone(), event.sequence, longer_than));
            }
        })
    });
    world.seed("other", "ours");
    world.seed("k", "ours");
    world.script.set("k", "theirs");
    let _ = world.found_after(200);
    let told = told.lock().unwrap().clone();
    let spans: Vec<_> = told.iter().map(|(key, _, span)| (key.as_str(), *span)).collect();
    assert_eq!(spans, [("k", secs(1)), ("k", secs(10)), ("k", secs(60))]);
    assert!(told.is_sorted_by_key(|(_, sequence, _)| *sequence));
    assert_eq!(found(&world.cache.stats()), [1, 1, 1], "one entry counts once");
}

#[test]
fn audit_what_a_listener_does_about_a_finding_is_done() {
    let back = Arc::new(Mutex::new(None::<Cache<String, String>>));
    let cache = Arc::clone(&back);
    let world = audited(|builder| {
        builder.listener(move |event| {
            if let EventKind::Differs { .. } = event.kind {
                cache.lock().unwrap().clone().unwrap().invalidate(event.key);
            }
        })
    });
    *back.lock().unwrap() = Some(world.cache.clone());
    world.suspected();
    assert_eq!(world.found_after(1), [1, 0, 0]);
    assert_eq!(world.get("k").as_deref(), Some("theirs"));
    assert_eq!(world.found_after(70), [1, 0, 0]);
    *back.lock().unwrap() = None;
}

/// Waits until `count` handles on the clock are left: the cache has one, and its auditor another.
#[track_caller]
fn handles_left(clock: &Arc<dyn Clock>, count: usize) {
    let late = Instant::now() + secs(10);
    while Arc::strong_count(clock) != count {
        assert!(Instant::now() < late, "the auditor has not ended");
        thread::yield_now();
    }
}

#[test]
fn audit_ends_with_close_and_with_the_last_handle() {
    for closes in [true, false] {
        let (script, time) = (Script::new(), ManualClock::new());
        let clock = time.shared();
        let cache = Cache::builder(script.clone()).clock(Arc::clone(&clock)).audit(Audit::new());
        let cache: Cache<String, String> = cache.build().unwrap();
        asleep(&time, 1);
        cache.put("k", "ours".to_owned()).unwrap();
        if closes {
            cache.close(Duration::ZERO);
            handles_left(&clock, 2);
        } else {
            let other = cache.clone();
            drop(cache);
            pass(&time, secs(1));
            assert_eq!(script.calls(Op::Get, "k"), 1, "one handle is enough");
            drop(other);
            handles_left(&clock, 1);
        }
        let asked = script.log().len();
        time.advance(secs(100));
        assert_eq!(script.log().len(), asked);
    }
}

#[test]
fn audit_ends_after_the_call_that_is_under_way_when_the_last_handle_goes() {
    let (script, time) = (Script::new(), ManualClock::new());
    let clock = time.shared();
    let cache = Cache::builder(script.clone()).clock(Arc::clone(&clock)).audit(Audit::new());
    let cache: Cache<String, String> = cache.build().unwrap();
    asleep(&time, 1);
    cache.put("k", "ours".to_owned()).unwrap();
    let gate = script.hold(Op::Get, "k", When::Before);
    time.advance(secs(1));
    gate.wait_arrived();
    drop(cache);
    gate.release();
    handles_left(&clock, 1);
}

#[test]
fn audit_equal_versions_decide_only_where_none_is_used_twice() {
    for (declared, expected) in [(true, [0, 0, 0]), (false, [1, 0, 0])] {
        let counter = Mutex::new(0);
        let source = Fns::<Typed<u32, u64>>::get(move |_, _| {
            let mut calls = counter.lock().unwrap();
            *calls += 1;
            // Another text of the same version each time, as where a time stamp is written into it.
            Ok(Loaded::Found(Record::new(*calls).version(Version::new("v").unwrap())))
        });
        let source = source.declared(|of| of.versions_never_reused = declared);
        let clock = ManualClock::new();
        let cache = Cache::builder(source).clock(clock.shared()).clean_start(true).audit(Audit::new()).build().unwrap();
        asleep(&clock, 1);
        let _ = cache.get(&1).unwrap();
        pass(&clock, secs(1));
        pass(&clock, secs(1));
        assert_eq!((cache.stats().audits, found(&cache.stats())), (2, expected));
    }
}

#[test]
fn audit_bytes_are_compared_as_bytes() {
    let (script, clock) = (Script::new(), ManualClock::new());
    let cache = ByteCache::builder(script.clone()).clock(clock.shared()).clean_start(true).audit(Audit::new());
    let cache = cache.build().unwrap();
    asleep(&clock, 1);
    cache.put("k", b"ours".to_vec()).unwrap();
    pass(&clock, secs(2));
    pass(&clock, secs(1));
    assert_eq!(found(&cache.stats()), [0, 0, 0]);
    script.set("k", "ours ");
    pass(&clock, secs(1));
    pass(&clock, secs(1));
    assert_eq!(found(&cache.stats()), [1, 0, 0]);
}

#[test]
fn audit_reaches_every_entry_in_time() {
    let world = audited(|builder| builder.shards(4));
    for n in 0..40 {
        world.seed(&n.to_string(), "ours");
    }
    // Most places are empty now.
    for n in 8..40 {
        world.cache.invalidate(&n.to_string());
    }
    let mut turns = 0;
    while !(0..8).all(|n| world.loads(&n.to_string()) > 0) {
        pass(&world.clock, secs(1));
        turns += 1;
        assert!(turns < 2_000, "some entries are never asked about");
    }
}
