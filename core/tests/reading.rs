//! Chapter 2 of the contract: reading.

mod common;

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use common::*;
use wtcache::{Cache, Call, How, Lifetime, LoadCx, LoadError, Loaded, Record, Source, SourceError, Typed};
use wtcache_testkit::{Does, HourlyClock, ManualClock, Op, Script, When, spawn};

/// A key whose comparisons wait, once it is armed, until two of them are made at once.
#[derive(Clone)]
struct Meeting(Arc<Place>);

#[derive(Default)]
struct Place {
    met: std::sync::Mutex<(bool, usize)>,
    changed: std::sync::Condvar,
}

impl PartialEq for Meeting {
    fn eq(&self, _: &Self) -> bool {
        let mut met = self.0.met.lock().expect("no panic inside");
        if met.0 {
            met.1 += 1;
            self.0.changed.notify_all();
            let alone = |met: &mut (bool, usize)| met.1 < 2;
            let (_met, late) =
                self.0.changed.wait_timeout_while(met, Duration::from_secs(10), alone).expect("no panic");
            assert!(!late.timed_out(), "nobody else compares meanwhile");
        }
        true
    }
}

impl Eq for Meeting {}

impl Hash for Meeting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        0.hash(state);
    }
}

struct One;

impl Source<Typed<Meeting, u32>> for One {
    fn get(&self, _: &Meeting, _: &LoadCx<'_, Typed<Meeting, u32>>) -> Result<Loaded<u32>, SourceError> {
        Ok(Loaded::Found(Record::new(1)))
    }
}

// --- G1: hits

#[test]
fn g1_a_hit_calls_no_source() {
    let w = world();
    w.script.set("k", "one");
    assert_eq!(w.get("k").as_deref(), Some("one"));
    let read = w.cache.read("k", &Call::new()).expect("resident");
    assert_eq!((read.how, w.loads("k")), (How::Hit, 1));
    assert_eq!(w.get("none"), None);
    assert_eq!(w.get("none"), None);
    assert_eq!(w.loads("none"), 1, "absence is remembered");
    assert_eq!((w.cache.stats().hits, w.cache.stats().absent_hits), (1, 1));
}

#[test]
fn g1_two_hits_of_a_key_run_at_once() {
    let cache: Cache<Meeting, u32> = Cache::builder(One).build().expect("defaults");
    let key = Meeting(Arc::default());
    let _ = cache.get(&key).expect("loaded");
    key.0.met.lock().expect("no panic inside").0 = true;
    let hits: Vec<_> = (0..2)
        .map(|_| (cache.clone(), key.clone()))
        .map(|(cache, key)| spawn(move || cache.peek(&key).is_some()))
        .collect();
    for hit in hits {
        assert!(hit.join());
    }
}

// --- G2: one load

#[test]
fn g2_concurrent_misses_make_one_load_and_share_its_value_absence_or_error() {
    for (does, value) in [(Does::Well, Ok(Some("one"))), (Does::Absent, Ok(None)), (Does::Fail, Err(Some(500)))] {
        let w = world();
        w.script.set("k", "one");
        w.script.next(Op::Get, "k", does);
        let gate = w.script.hold(Op::Get, "k", When::After);
        let leader = w.start(|cache| cache.get("k"));
        gate.wait_arrived();
        let waiters: Vec<_> = (0..3).map(|_| w.until_it_waits(|cache| cache.read("k", &Call::new()))).collect();
        gate.release();
        let told = |result: Result<Option<wtcache::Entry<Texts>>, LoadError>| match result {
            Ok(entry) => Ok(entry.map(|entry| entry.value().clone())),
            Err(LoadError::Source(error)) => Err(error.code()),
            Err(other) => panic!("{other}"),
        };
        let value = value.map(|value| value.map(str::to_owned));
        assert_eq!(told(leader.join()), value);
        for waiter in waiters {
            let read = waiter.join();
            assert!(read.as_ref().map_or(true, |read| read.how == How::Joined));
            assert_eq!(told(read.map(|read| read.entry)), value);
        }
        assert_eq!((w.loads("k"), w.cache.stats().joined), (1, 3));
    }
}

#[test]
fn g2_a_thousand_threads_share_one_load() {
    const WAITERS: usize = 1_000;
    let w = world();
    w.script.set("k", "one");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    let alarms = w.clock.alarms_ever_set();
    let waiters: Vec<_> = (0..WAITERS).map(|_| w.start(|cache| cache.read("k", &Call::new()))).collect();
    assert!(w.clock.wait_for_alarms(alarms + WAITERS), "not all of them wait");
    gate.release();
    assert_eq!(text(leader.join()).as_deref(), Some("one"));
    for waiter in waiters {
        let read = waiter.join();
        assert_eq!(read.as_ref().ok().map(|read| read.how), Some(How::Joined));
        assert_eq!(text(read.map(|read| read.entry)).as_deref(), Some("one"));
    }
    assert_eq!((w.loads("k"), w.cache.stats().joined), (1, WAITERS as u64));
}

#[test]
fn g2_threads_that_sleep_by_the_systems_time_are_told_of_the_end_of_a_load_of_a_move_and_of_the_close() {
    type Event = (&'static str, fn(&World), bool);
    let events: [Event; 3] = [
        ("its end", |_| {}, true),
        ("a move", |w| w.cache.invalidate("k"), true),
        ("the close", |w| drop(w.cache.close(Duration::ZERO)), false),
    ];
    for ((what, event, served), crowd) in events.into_iter().flat_map(|event| [(event, 1), (event, 20)]) {
        let clock = ManualClock::new();
        let hourly = Arc::new(HourlyClock(clock.clone()));
        let w = World { clock, ..world_with(Script::new(), |builder| builder.clock(hourly)) };
        w.script.set("k", "one");
        let gate = w.script.hold(Op::Get, "k", When::After);
        let leader = w.start(|cache| cache.get("k"));
        gate.wait_arrived();
        let waiters: Vec<_> = (0..crowd).map(|_| w.until_it_waits(|cache| cache.get("k"))).collect();
        event(&w);
        let (waits, not) = if what == "its end" { (waiters, Vec::new()) } else { (Vec::new(), waiters) };
        for waiter in not {
            assert_eq!(waiter.join().is_ok(), served, "{what}");
        }
        gate.release();
        for waiter in waits {
            assert_eq!(text(waiter.join()).as_deref(), Some("one"), "{what}");
        }
        assert_eq!(leader.join().is_ok(), served, "{what}");
    }
}

#[test]
fn g2_a_failed_load_is_not_retained() {
    let w = world();
    w.script.set("k", "one");
    w.script.next(Op::Get, "k", Does::Fail);
    assert!(matches!(w.cache.get("k").err(), Some(LoadError::Source(_))));
    assert_eq!(w.get("k").as_deref(), Some("one"));
}

// --- G3 and G4: the fence

/// A load that has read "old" ends after `event`, while the truth is "new": nobody may be given "old", now or later.
#[track_caller]
fn moves_the_fence(what: &str, w: &World, event: impl FnOnce(&World)) {
    let gate = w.script.hold(Op::Get, "k", When::After);
    let early = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    let detached = w.cache.stats().loads_detached;
    event(w);
    assert_eq!(w.cache.stats().loads_detached, detached + 1, "{what}: the load is detached");
    let truth = w.script.truth("k");
    let later = w.start(|cache| cache.get("k"));
    assert_eq!(text(later.join()), truth, "{what}: a reader that starts after it");
    gate.release();
    assert_eq!(text(early.join()), truth, "{what}: the reader that was moved");
    assert_eq!(w.get("k"), truth, "{what}: what was retained");
}

#[test]
fn g3_a_reader_after_an_invalidation_never_gets_a_load_that_began_before_it() {
    let w = world();
    w.script.set("k", "old");
    moves_the_fence("invalidate", &w, |w| {
        w.script.set("k", "new");
        w.cache.invalidate("k");
    });
}

#[test]
fn g3_a_reader_after_an_ended_write_never_gets_a_load_that_began_before_that() {
    type Event = (&'static str, Op, fn() -> Does);
    let events: [Event; 8] = [
        ("Applied", Op::Put, || Does::Well),
        ("Applied, unseen", Op::Put, || Does::Unseen),
        ("Applied, not kept", Op::Put, || Does::For(Lifetime::NotKept)),
        ("Applied, with a stray", Op::Put, || Does::AfterStray(Box::new(Does::Well))),
        ("Unknown, applied", Op::Put, || Does::ApplyThenUnknown),
        ("Unknown", Op::Put, || Does::Unknown),
        ("deleted", Op::Delete, || Does::Well),
        ("Rejected, stale base", Op::Put, || Does::RejectStale),
    ];
    for (what, op, does) in events {
        let w = world();
        w.script.set("k", "old");
        w.script.next(op, "k", does());
        moves_the_fence(what, &w, |w| {
            let _ = match op {
                Op::Delete => w.cache.delete("k").map(drop),
                _ => w.put("k", "new"),
            };
        });
    }
}

#[test]
fn g3_a_load_that_began_while_a_write_was_out_does_not_outlive_its_commit() {
    // "The fence moves at admission only": the load begins after the send, reads old, and ends after the commit.
    let w = world();
    w.script.set("k", "old");
    let put = w.script.hold(Op::Put, "k", When::Before);
    let writer = w.start(|cache| cache.put("k", "new".to_owned()).map(drop));
    put.wait_arrived();
    moves_the_fence("commit", &w, |_| {
        put.release();
        writer.join().expect("applied");
    });
    assert_eq!(w.peek("k").as_deref(), Some("new"));
}

#[test]
fn g3_a_plain_rejection_leaves_the_load_attached() {
    let w = world();
    w.script.set("k", "one");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    w.script.next(Op::Put, "k", Does::Reject);
    let _ = rejected(w.put("k", "two"));
    let waiter = w.until_it_waits(|cache| cache.get("k"));
    gate.release();
    assert_eq!(text(reader.join()).as_deref(), Some("one"));
    assert_eq!(text(waiter.join()).as_deref(), Some("one"));
    assert_eq!((w.loads("k"), w.peek("k").as_deref()), (1, Some("one")));
}

#[test]
fn g3_an_aborted_write_leaves_the_load_attached() {
    let w = world();
    w.script.set("k", "one");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    w.cache.prepare("k", &Call::new()).expect("the turn is free").abort();
    gate.release();
    assert_eq!(text(reader.join()).as_deref(), Some("one"));
    assert_eq!((w.loads("k"), w.peek("k").as_deref()), (1, Some("one")));
}

#[test]
fn g4_a_late_load_after_a_delete_is_not_retained() {
    let w = world();
    w.script.set("k", "old");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    w.cache.delete("k").expect("applied");
    gate.release();
    assert_eq!(text(reader.join()), None);
    assert_eq!(w.peek("k"), None);
    assert_eq!(w.get("k"), None);
}

#[test]
fn g4_a_moved_reader_takes_the_entry_that_is_there_now() {
    let w = world();
    w.script.set("k", "old");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.read("k", &Call::new()));
    gate.wait_arrived();
    w.seed("k", "new");
    gate.release();
    let read = reader.join().expect("resident");
    assert_eq!((read.how, read.entry.map(|e| e.value().clone()).as_deref()), (How::Hit, Some("new")));
    assert_eq!(w.loads("k"), 1);
}

#[test]
fn g4_the_waiters_of_a_detached_load_do_not_wait_for_its_end() {
    let w = world();
    w.script.set("k", "old");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    let waiter = w.until_it_waits(|cache| cache.get("k"));
    w.seed("k", "new");
    assert_eq!(text(waiter.join()).as_deref(), Some("new"));
    gate.release();
    assert_eq!(text(leader.join()).as_deref(), Some("new"));
}

#[test]
fn g4_a_reader_moved_twice_is_given_its_loads_value_and_the_entry_goes_in_the_same_step() {
    let w = world();
    w.script.set("k", "one");
    let first = w.script.hold(Op::Get, "k", When::After);
    let second = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.read("k", &Call::new()));
    first.wait_arrived();
    w.script.set("k", "two");
    w.cache.invalidate("k");
    first.release();
    second.wait_arrived();
    w.seed("k", "three");
    second.release();
    let read = reader.join().expect("loaded");
    assert_eq!(read.how, How::Loaded { kept: false });
    assert_eq!(read.entry.map(|e| e.value().clone()).as_deref(), Some("two"));
    assert_eq!(w.peek("k"), None, "else: seen two, then three, though three was here before");
    w.assert_settled("k");
}

#[test]
fn g4_a_reader_moved_twice_moves_the_fence() {
    let w = world();
    w.script.set("k", "one");
    let gates = [(); 3].map(|()| w.script.hold(Op::Get, "k", When::After));
    let [first, second, third] = gates;
    let reader = w.start(|cache| cache.get("k"));
    first.wait_arrived();
    w.cache.invalidate("k");
    first.release();
    second.wait_arrived();
    w.cache.invalidate("k");
    let other = w.start(|cache| cache.get("k"));
    third.wait_arrived();
    second.release();
    assert_eq!(text(reader.join()).as_deref(), Some("one"));
    // The third load began before the value was returned: its result is older than what was seen.
    assert_eq!(w.peek("k"), None);
    w.script.set("k", "two");
    third.release();
    assert_eq!(text(other.join()).as_deref(), Some("two"));
    assert_eq!(w.loads("k"), 4);
}

#[test]
fn g4_a_waiter_moved_twice_is_given_the_value_of_the_load_it_joined() {
    let w = world();
    w.script.set("k", "one");
    let gates = [(); 3].map(|()| w.script.hold(Op::Get, "k", When::After));
    let [first, second, third] = gates;
    let leader = w.start(|cache| cache.get("k"));
    first.wait_arrived();
    w.cache.invalidate("k");
    let other = w.start(|cache| cache.get("k"));
    second.wait_arrived();
    // Moved once, the first reader joins the second load.
    let alarms = w.clock.alarms_ever_set();
    first.release();
    assert!(w.clock.wait_for_alarms(alarms + 1));
    w.cache.invalidate("k");
    let late = w.start(|cache| cache.get("k"));
    third.wait_arrived();
    second.release();
    assert_eq!(text(leader.join()).as_deref(), Some("one"));
    third.release();
    // Both were moved once, and load again: one leads, the other may join.
    assert_eq!(text(other.join()).as_deref(), Some("one"));
    assert_eq!(text(late.join()).as_deref(), Some("one"));
    assert_eq!(w.cache.stats().loads_detached, 3);
    w.assert_settled("k");
}

#[test]
fn g4_a_detached_load_that_fails_is_loaded_again() {
    let w = world();
    w.script.set("k", "one");
    w.script.next(Op::Get, "k", Does::Fail);
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    w.cache.invalidate("k");
    gate.release();
    assert_eq!(text(reader.join()).as_deref(), Some("one"));
}

// --- G5, G6: beside writes

#[test]
fn g5_a_read_after_an_applied_write_gives_it() {
    for kept in [true, false] {
        let w = world();
        w.seed("k", "old");
        if !kept {
            w.script.next(Op::Put, "k", Does::Unseen);
        }
        w.put("k", "new").expect("applied");
        assert_eq!(w.get("k").as_deref(), Some("new"));
        assert_eq!(w.loads("k"), usize::from(!kept));
    }
}

#[test]
fn g6_hits_see_the_old_base_while_a_write_is_in_flight() {
    for when in [When::Before, When::After] {
        let w = world();
        w.seed("k", "old");
        let gate = w.script.hold(Op::Put, "k", when);
        let writer = w.start(|cache| cache.put("k", "new".to_owned()).map(drop));
        gate.wait_arrived();
        assert_eq!(w.get("k").as_deref(), Some("old"));
        assert_eq!(w.loads("k"), 0);
        gate.release();
        writer.join().expect("applied");
        assert_eq!(w.peek("k").as_deref(), Some("new"));
    }
}

#[test]
fn g6_misses_beside_a_write_in_flight_make_one_load_which_is_retained() {
    let w = world();
    w.script.set("k", "old");
    let put = w.script.hold(Op::Put, "k", When::Before);
    let writer = w.start(|cache| cache.put("k", "new".to_owned()).map(drop));
    put.wait_arrived();
    let get = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.get("k"));
    get.wait_arrived();
    let waiter = w.until_it_waits(|cache| cache.get("k"));
    get.release();
    assert_eq!(text(leader.join()).as_deref(), Some("old"));
    assert_eq!(text(waiter.join()).as_deref(), Some("old"));
    assert_eq!(w.peek("k").as_deref(), Some("old"));
    assert_eq!(w.loads("k"), 1);
    put.release();
    writer.join().expect("applied");
    assert_eq!(w.peek("k").as_deref(), Some("new"));
}

#[test]
fn g6_a_load_retained_beside_a_write_is_served_to_the_writes_deadline_only() {
    for resident_before in [true, false] {
        let w = world();
        w.script.set("k", "old");
        if resident_before {
            let _ = w.get("k");
        }
        let sent = w.cache.prepare("k", &within(secs(3))).expect("free").send().expect("in time");
        assert_eq!(w.get("k").as_deref(), Some("old"));
        assert_eq!(w.peek("k").as_deref(), Some("old"));
        w.clock.advance(secs(3));
        assert_eq!(w.peek("k"), None, "from its deadline on, a sent write is in doubt");
        w.assert_not_retained("k");
        drop(sent);
    }
}

#[test]
fn g6_an_entry_is_served_beyond_the_deadline_of_a_write_that_was_rejected() {
    let w = world();
    w.seed("k", "old");
    let sent = w.cache.prepare("k", &within(secs(3))).expect("free").send().expect("in time");
    sent.reject(false);
    w.clock.advance(secs(60));
    assert_eq!(w.peek("k").as_deref(), Some("old"));
}

#[test]
fn g6_an_entry_that_expires_beside_a_write_is_loaded_again() {
    let w = world();
    w.script.next(Op::Put, "k", Does::For(Lifetime::For(secs(1))));
    w.seed("k", "old");
    let gate = w.script.hold(Op::Put, "k", When::Before);
    let writer = w.start(|cache| cache.put("k", "new".to_owned()).map(drop));
    gate.wait_arrived();
    w.clock.advance(secs(1));
    assert_eq!(w.get("k").as_deref(), Some("old"));
    assert_eq!(w.loads("k"), 1);
    gate.release();
    writer.join().expect("applied");
    assert_eq!(w.peek("k").as_deref(), Some("new"));
}

#[test]
fn g6_an_entry_evicted_beside_a_write_is_committed_all_the_same() {
    let w = world_with(Script::new(), |b| b.capacity(1).shards(1));
    w.seed("k", "old");
    let gate = w.script.hold(Op::Put, "k", When::Before);
    let writer = w.start(|cache| cache.put("k", "new".to_owned()).map(drop));
    gate.wait_arrived();
    w.seed("other", "room");
    assert_eq!(w.peek("k"), None);
    gate.release();
    writer.join().expect("applied");
    assert_eq!(w.get("k").as_deref(), Some("new"));
}

// --- G7: leaders

#[test]
fn g7_a_waiter_takes_over_at_the_leaders_deadline_and_the_late_result_is_discarded() {
    let w = world();
    w.script.set("k", "one");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.read("k", &within(secs(2))));
    gate.wait_arrived();
    let waiters: Vec<_> = (0..3).map(|_| w.until_it_waits(|cache| cache.read("k", &within(secs(9))))).collect();
    w.script.set("k", "two");
    w.clock.advance(secs(2));
    for waiter in waiters {
        let read = waiter.join().expect("loaded").entry;
        assert_eq!(read.map(|e| e.value().clone()).as_deref(), Some("two"));
    }
    assert_eq!(w.loads("k"), 2);
    gate.release();
    assert!(matches!(leader.join().err(), Some(LoadError::Deadline)), "also for itself");
    assert_eq!(w.peek("k").as_deref(), Some("two"));
    assert_eq!(w.cache.stats().loads_taken_over, 1);
}

#[test]
fn g7_a_late_leader_that_nobody_waited_for_retains_nothing() {
    let w = world();
    w.script.set("k", "one");
    for does in [Does::Well, Does::Fail] {
        w.script.next(Op::Get, "k", does);
        let gate = w.script.hold(Op::Get, "k", When::After);
        let leader = w.start(|cache| cache.read("k", &within(secs(2))));
        gate.wait_arrived();
        w.clock.advance(secs(2));
        gate.release();
        assert!(leader.join().is_err());
        assert_eq!(w.peek("k"), None);
    }
    assert_eq!(w.get("k").as_deref(), Some("one"));
}

#[test]
fn g7_a_reader_that_finds_an_overdue_load_takes_over() {
    let w = world();
    w.script.set("k", "one");
    let gate = w.script.hold(Op::Get, "k", When::Before);
    let leader = w.start(|cache| cache.read("k", &within(secs(2))));
    gate.wait_arrived();
    w.clock.advance(secs(2));
    assert_eq!(w.get("k").as_deref(), Some("one"));
    gate.release();
    assert!(leader.join().is_err());
}

#[test]
fn g7_a_leaders_panic_is_its_own() {
    let w = world();
    w.script.set("k", "one");
    w.script.next(Op::Get, "k", Does::Panic);
    let gate = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    let waiter = w.until_it_waits(|cache| cache.get("k"));
    gate.release();
    assert!(matches!(leader.join().err(), Some(LoadError::Panicked(message)) if message == "scripted"));
    assert_eq!(text(waiter.join()).as_deref(), Some("one"));
    assert_eq!(w.loads("k"), 2);
}

#[test]
fn g7_a_waiters_own_deadline_ends_its_wait_only() {
    let w = world();
    w.script.set("k", "one");
    let gate = w.script.hold(Op::Get, "k", When::Before);
    let leader = w.start(|cache| cache.read("k", &within(secs(9))));
    gate.wait_arrived();
    let waiter = w.until_it_waits(|cache| cache.read("k", &within(secs(2))));
    w.clock.advance(secs(2));
    assert!(matches!(waiter.join().err(), Some(LoadError::Deadline)));
    gate.release();
    assert!(leader.join().is_ok());
    assert_eq!((w.loads("k"), w.peek("k").as_deref()), (1, Some("one")));
}

#[test]
fn g7_the_deadline_that_a_source_is_told_is_always_finite() {
    let w = world();
    let _ = w.cache.read("k", &within(Duration::MAX));
    let _ = w.cache.put_with("k", "one".to_owned(), &within(Duration::MAX));
    let _ = w.get("other");
    let told: Vec<Duration> = w.script.log().iter().map(|seen| seen.remaining).collect();
    assert_eq!(told, [secs(86_400), secs(86_400), secs(5)]);
}

// --- G8, G9

#[test]
fn g8_a_slow_key_delays_no_other() {
    let w = world_with(Script::new(), |b| b.shards(1));
    w.script.set("other", "here");
    let get = w.script.hold(Op::Get, "slow", When::Before);
    let put = w.script.hold(Op::Put, "slower", When::Before);
    let slow = w.start(|cache| cache.get("slow").map(drop));
    let slower = w.start(|cache| cache.put("slower", "one".to_owned()).map(drop));
    get.wait_arrived();
    put.wait_arrived();
    assert_eq!(w.get("other").as_deref(), Some("here"));
    w.seed("other", "there");
    w.cache.delete("other").expect("applied");
    w.cache.invalidate("other");
    get.release();
    put.release();
    slow.join().expect("loaded");
    slower.join().expect("applied");
}

#[test]
fn g9_peek_never_calls_the_source_and_never_waits() {
    let w = world();
    w.script.next(Op::Put, "k", Does::For(Lifetime::For(secs(1))));
    assert_eq!(w.peek("k"), None);
    w.seed("k", "one");
    w.clock.advance(secs(1));
    assert_eq!(w.peek("k"), None, "it has expired");
    let gate = w.script.hold(Op::Get, "k", When::Before);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    assert_eq!(w.peek("k"), None);
    gate.release();
    let _ = reader.join();
    assert_eq!(w.peek("k").as_deref(), Some("one"));
    let _ = w.cache.close(secs(0));
    assert_eq!(w.peek("k"), None);
}

// --- what a load replaces

#[test]
fn g4_an_unchanged_record_is_renewed_only_by_a_load_that_held_its_fence() {
    let w = world();
    w.script.next(Op::Put, "k", Does::For(Lifetime::For(secs(1))));
    w.seed("k", "one");
    w.clock.advance(secs(1));
    w.script.next(Op::Get, "k", Does::Unchanged);
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    assert_eq!(w.script.log()[1].replaced.as_deref(), Some("v1"));
    w.script.set("k", "two");
    w.cache.invalidate("k");
    gate.release();
    assert_eq!(text(reader.join()).as_deref(), Some("two"));
    w.assert_settled("k");
}

#[test]
fn g4_an_unchanged_record_lives_on_without_a_load() {
    let w = world_with(Script::new(), |b| b.lifetime(secs(1)));
    w.seed("k", "one");
    w.clock.advance(secs(1));
    w.script.next(Op::Get, "k", Does::Unchanged);
    assert_eq!(w.get("k").as_deref(), Some("one"));
    assert_eq!(w.peek("k").as_deref(), Some("one"));
    w.clock.advance(secs(1));
    assert_eq!(w.peek("k"), None);
}

#[test]
fn g5_a_value_too_heavy_to_keep_does_not_leave_the_older_one() {
    for by_load in [true, false] {
        let weigh = |_: &String, value: Option<&String>| value.map_or(1, |value| value.len() as u64);
        let w = world_with(Script::new(), |b| b.capacity(10).shards(1).weigher(weigh));
        w.seed("k", "one");
        if by_load {
            w.cache.invalidate("k");
            w.script.set("k", "far too heavy to be kept");
            let _ = w.get("k");
        } else {
            let written = w.cache.put("k", "far too heavy to be kept".to_owned()).expect("applied");
            assert!(!written.kept);
        }
        assert_eq!(w.peek("k"), None);
        assert_eq!(w.get("k").as_deref(), Some("far too heavy to be kept"));
    }
}
