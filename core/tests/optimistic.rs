//! Writes that are shown before the origin has confirmed them: promises of chapter 5.

mod common;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::*;
use wtcache::{
    Cache, Call, Change, EventKind, How, LoadError, NotSent, Optimistic, PendingWrite, Settlement, WriteError, Written,
};
use wtcache_testkit::{Does, Op, Script, When, spawn};

/// By the manual clock: longer than anything in these tests.
const LONG: Duration = Duration::from_secs(3_600);

type Outcome = Result<Written<Texts>, WriteError<Texts>>;

impl World {
    fn set(&self, key: &str, value: &str) -> PendingWrite<Texts> {
        self.cache.put_optimistic(key, value.to_owned()).expect("admitted")
    }

    /// Appends to what is there.
    fn append(&self, key: &str, text: &'static str) -> PendingWrite<Texts> {
        let merge = move |old: Option<&String>| Some(old.map_or(String::new(), String::clone) + text);
        self.cache.merge_optimistic(key, merge).expect("admitted")
    }

    #[track_caller]
    fn confirmed(&self, key: &str) -> Option<String> {
        text(self.cache.get_confirmed(key))
    }

    #[track_caller]
    fn assert_shows(&self, key: &str, visible: Option<&str>, confirmed: Option<&str>) {
        assert_eq!(self.get(key).as_deref(), visible, "visible");
        assert_eq!(self.confirmed(key).as_deref(), confirmed, "confirmed");
    }
}

/// The outcome, waited for on a thread that is joined within a bound.
#[track_caller]
fn outcome(pending: PendingWrite<Texts>) -> Outcome {
    spawn(move || pending.wait()).join()
}

#[track_caller]
fn applied(pending: PendingWrite<Texts>) -> Option<String> {
    outcome(pending).expect("applied").entry.map(|entry| entry.value().clone())
}

// --- what is shown

#[test]
fn o1_a_pending_value_is_shown_at_once_and_marked_and_confirmed_reads_do_not_show_it() {
    let w = world();
    w.seed("k", "1");
    let gate = w.script.hold(Op::Put, "k", When::Before);
    let since = w.cache.now();
    let pending = w.set("k", "2");
    let read = w.cache.read("k", &Call::new()).expect("pending");
    assert_eq!(read.how, How::Pending);
    let entry = read.entry.expect("a value");
    assert_eq!((entry.value().as_str(), entry.pending_since()), ("2", Some(since)));
    assert_eq!((entry.version(), w.cache.stats().pending), (None, 1));
    assert_eq!(w.peek("k").as_deref(), Some("2"));
    let many = w.cache.read_many(["k"], &Call::new()).remove(0).expect("pending");
    assert_eq!((many.entry.expect("a value").value().as_str(), many.how), ("2", How::Pending));
    let confirmed = w.cache.read_confirmed("k", &Call::new()).expect("resident");
    assert_eq!(confirmed.how, How::Hit);
    let confirmed = confirmed.entry.expect("a value");
    assert_eq!((confirmed.value().as_str(), confirmed.pending_since()), ("1", None));
    gate.wait_arrived();
    w.assert_shows("k", Some("2"), Some("1"));
    gate.release();
    assert_eq!(applied(pending).as_deref(), Some("2"));
    w.assert_shows("k", Some("2"), Some("2"));
    let entry = w.cache.peek("k").expect("resident");
    assert_eq!((entry.pending_since(), w.cache.stats().pending, w.loads("k")), (None, 0, 0));
}

#[test]
fn o1_a_pending_delete_shows_no_record_and_a_refused_one_shows_it_again() {
    let w = world();
    w.seed("k", "1");
    let gate = w.script.hold(Op::Delete, "k", When::Before);
    w.script.next(Op::Delete, "k", Does::Reject);
    let pending = w.cache.delete_optimistic("k").expect("admitted");
    assert_eq!(w.cache.read("k", &Call::new()).expect("pending").how, How::Pending);
    w.assert_shows("k", None, Some("1"));
    gate.release();
    rejected(outcome(pending));
    w.assert_shows("k", Some("1"), Some("1"));
    let pending = w.cache.delete_optimistic("k").expect("admitted");
    assert_eq!(applied(pending), None);
    w.assert_shows("k", None, None);
}

#[test]
fn o1_a_pending_put_needs_no_base_and_calls_no_load() {
    let w = world();
    w.script.set("k", "1");
    let gate = w.script.hold(Op::Put, "k", When::Before);
    let pending = w.set("k", "2");
    assert_eq!((w.get("k").as_deref(), w.loads("k")), (Some("2"), 0));
    w.assert_shows("k", Some("2"), Some("1"));
    gate.release();
    applied(pending).expect("a record");
}

#[test]
fn o1_one_load_serves_a_reader_of_what_is_shown_and_one_of_what_is_confirmed() {
    let w = world();
    w.script.set("k", "a");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let first = w.append("k", "b");
    held.wait_arrived();
    // The base was read within the turn, and not retained.
    let before = w.loads("k");
    let load = w.script.hold(Op::Get, "k", When::Before);
    let shown = w.start(|cache| text(cache.get("k")));
    load.wait_arrived();
    let confirmed = w.until_it_waits(|cache| text(cache.get_confirmed("k")));
    let joined = w.until_it_waits(|cache| text(cache.get("k")));
    load.release();
    assert_eq!(shown.join().as_deref(), Some("ab"));
    assert_eq!(confirmed.join().as_deref(), Some("a"));
    assert_eq!(joined.join().as_deref(), Some("ab"));
    assert_eq!(w.loads("k"), before + 1);
    w.assert_shows("k", Some("ab"), Some("a"));
    held.release();
    assert_eq!(applied(first).as_deref(), Some("ab"));
}

// --- operations, and their ends

#[test]
fn o2_a_rejected_write_leaves_what_was_written_above_it() {
    let w = world();
    w.seed("k", "1");
    let (a_held, b_held) = (w.script.hold(Op::Put, "k", When::Before), w.script.hold(Op::Put, "k", When::Before));
    w.script.next(Op::Put, "k", Does::Reject);
    let (a, b) = (w.set("k", "2"), w.set("k", "3"));
    a_held.wait_arrived();
    w.assert_shows("k", Some("3"), Some("1"));
    a_held.release();
    rejected(outcome(a));
    b_held.wait_arrived();
    w.assert_shows("k", Some("3"), Some("1"));
    b_held.release();
    assert_eq!(applied(b).as_deref(), Some("3"));
    w.assert_shows("k", Some("3"), Some("3"));
    assert_eq!(w.script.applied("k"), ["1", "3"], "never 2");
}

#[test]
fn o2_of_two_pending_puts_the_later_leaves_and_the_earlier_is_shown() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let (a, b) = (w.set("k", "2"), w.set("k", "3"));
    held.wait_arrived();
    assert!(b.cancel(), "it waits for its turn");
    assert!(matches!(not_sent(outcome(b)), NotSent::Cancelled));
    w.assert_shows("k", Some("2"), Some("1"));
    assert!(!a.cancel(), "it has its turn");
    held.release();
    assert_eq!(applied(a).as_deref(), Some("2"));
    w.seed("k", "4");
    assert_eq!(w.script.applied("k"), ["1", "2", "4"]);
}

#[test]
fn o2_a_refused_merge_leaves_the_base_that_has_come_meanwhile() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::Before);
    w.script.next(Op::Put, "k", Does::Reject);
    let pending = w.append("k", "x");
    w.assert_shows("k", Some("1x"), Some("1"));
    w.script.set("k", "2");
    w.cache.invalidate("k");
    assert_eq!(w.confirmed("k").as_deref(), Some("2"));
    held.release();
    rejected(outcome(pending));
    w.assert_shows("k", Some("2"), Some("2"));
}

#[test]
fn o3_an_unknown_write_leaves_a_doubt_and_a_put_above_it_is_shown() {
    let w = world();
    w.seed("k", "1");
    let (a_held, b_held) = (w.script.hold(Op::Put, "k", When::Before), w.script.hold(Op::Put, "k", When::Before));
    w.script.next(Op::Put, "k", Does::ApplyThenUnknown);
    let (a, b) = (w.set("k", "2"), w.set("k", "3"));
    a_held.release();
    let doubt = in_doubt(outcome(a));
    b_held.wait_arrived();
    assert_eq!(w.get("k").as_deref(), Some("3"));
    let before = w.loads("k");
    assert_eq!(w.confirmed("k").as_deref(), Some("2"), "as the origin says");
    assert_eq!(w.confirmed("k").as_deref(), Some("2"));
    assert_eq!(w.loads("k"), before + 2, "asked each time, and not kept");
    b_held.release();
    assert_eq!(applied(b).as_deref(), Some("3"));
    assert!(doubt.settle(Settlement::Applied));
    w.assert_settled("k");
}

#[test]
fn o3_a_pending_merge_above_a_doubt_is_applied_to_loads_that_are_not_kept() {
    let w = world();
    w.seed("k", "1");
    let (a_held, b_held) = (w.script.hold(Op::Put, "k", When::Before), w.script.hold(Op::Put, "k", When::Before));
    w.script.next(Op::Put, "k", Does::Stray);
    let (a, b) = (w.set("k", "2"), w.append("k", "x"));
    a_held.release();
    in_doubt(outcome(a));
    b_held.wait_arrived();
    let before = w.loads("k");
    w.assert_shows("k", Some("1x"), Some("1"));
    assert_eq!(w.script.land(), 1);
    w.assert_shows("k", Some("2x"), Some("2"));
    assert_eq!(w.loads("k"), before + 4);
    b_held.release();
    applied(b).expect("a record");
}

#[test]
fn o5_what_is_sent_is_made_of_the_base_within_the_turn() {
    let w = world();
    w.seed("k", "a");
    let (a_held, b_held) = (w.script.hold(Op::Put, "k", When::Before), w.script.hold(Op::Put, "k", When::Before));
    w.script.next(Op::Put, "k", Does::Reject);
    let (a, b) = (w.append("k", "b"), w.append("k", "c"));
    w.assert_shows("k", Some("abc"), Some("a"));
    a_held.release();
    rejected(outcome(a));
    w.assert_shows("k", Some("ac"), Some("a"));
    b_held.release();
    assert_eq!(applied(b).as_deref(), Some("ac"));
    w.assert_shows("k", Some("ac"), Some("ac"));
}

#[test]
fn o5_a_merge_is_folded_anew_where_the_base_has_changed() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let pending = w.append("k", "x");
    held.wait_arrived();
    w.assert_shows("k", Some("1x"), Some("1"));
    w.script.set("k", "2");
    w.cache.invalidate("k");
    for _ in 0..2 {
        w.assert_shows("k", Some("2x"), Some("2"));
    }
    held.release();
    applied(pending).expect("a record");
}

#[test]
fn o5_a_merge_above_a_pending_put_is_shown_above_it_and_sent_above_the_base() {
    let w = world();
    w.seed("k", "a");
    let held = w.script.hold(Op::Put, "k", When::Before);
    w.script.next(Op::Put, "k", Does::Reject);
    let since = w.cache.now();
    let a = w.set("k", "z");
    w.clock.advance(secs(1));
    let b = w.append("k", "y");
    let entry = w.cache.get("k").expect("pending").expect("a value");
    assert_eq!((entry.value().as_str(), entry.pending_since()), ("zy", Some(since)), "since the older of them");
    held.release();
    rejected(outcome(a));
    assert_eq!(applied(b).as_deref(), Some("ay"));
}

#[test]
fn o5_a_merge_that_gives_nothing_deletes() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Delete, "k", When::Before);
    let pending = w.cache.merge_optimistic("k", |_| None).expect("admitted");
    w.assert_shows("k", None, Some("1"));
    held.release();
    assert_eq!(applied(pending), None);
    assert_eq!(w.script.truth("k"), None);
    let pending = w.cache.merge_optimistic("k", |_| None).expect("admitted");
    outcome(pending).expect("nothing to do");
    assert_eq!(w.script.calls(Op::Delete, "k"), 1);
}

#[test]
fn o5_update_and_the_source_are_told_of_the_base_and_not_of_what_is_pending() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let pending = w.set("k", "2");
    held.wait_arrived();
    let seen = Arc::new(Mutex::new(None));
    let sees = Arc::clone(&seen);
    let update = w.until_it_waits(move |cache| {
        let written = cache.update("k", |existing| {
            *sees.lock().expect("not poisoned") = existing.map(|entry| entry.value().clone());
            Ok(Change::Put("3".to_owned()))
        });
        written.map(drop).map_err(|error| error.to_string())
    });
    let last = w.set("k", "4");
    held.release();
    applied(pending).expect("a record");
    update.join().expect("applied");
    applied(last).expect("a record");
    assert_eq!(seen.lock().expect("not poisoned").as_deref(), Some("2"), "confirmed by then, and not 4");
    assert_eq!(w.script.truth("k").as_deref(), Some("4"));
}

#[test]
fn o5_a_merge_that_panics_is_as_if_it_were_not_there_and_ends_unsent() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let first = w.set("k", "2");
    let broken = w.cache.merge_optimistic("k", |_| panic!("broken")).expect("admitted");
    let last = w.append("k", "x");
    w.assert_shows("k", Some("2x"), Some("1"));
    assert!(w.cache.stats().merges_panicked > 0);
    held.release();
    applied(first).expect("a record");
    assert!(matches!(not_sent(outcome(broken)), NotSent::Panicked(message) if message == "broken"));
    assert_eq!(applied(last).as_deref(), Some("2x"));
    w.assert_shows("k", Some("2x"), Some("2x"));
}

/// P3: one order for all.
#[test]
fn o2_pending_and_other_writes_take_turns_in_the_order_they_came() {
    let w = world();
    let held = w.script.hold(Op::Put, "k", When::Before);
    let first = w.set("k", "1");
    held.wait_arrived();
    let through = w.until_it_waits(|cache| cache.put("k", "2".to_owned()).map(drop).is_ok());
    let last = w.set("k", "3");
    assert_eq!(w.get("k").as_deref(), Some("3"));
    held.release();
    applied(first).expect("a record");
    assert!(through.join());
    applied(last).expect("a record");
    assert_eq!(w.script.applied("k"), ["1", "2", "3"]);
    w.assert_shows("k", Some("3"), Some("3"));
}

#[test]
fn b3_eviction_expiry_and_invalidation_leave_what_is_pending() {
    let w = world_with(Script::new(), |builder| builder.capacity(1).shards(1).lifetime(secs(60)));
    let long = Call::new().deadline(LONG);
    w.script.set("k", "1");
    assert_eq!(w.get("k").as_deref(), Some("1"));
    let held = w.script.hold(Op::Put, "k", When::Before);
    let merge = |old: Option<&String>| Some(old.map_or(String::new(), String::clone) + "x");
    let pending = w.cache.merge_optimistic_with("k", merge, &long).expect("admitted");
    held.wait_arrived();
    w.assert_shows("k", Some("1x"), Some("1"));
    w.seed("other", "evicts it");
    w.assert_shows("k", Some("1x"), Some("1"));
    let before = w.loads("k");
    w.clock.advance(secs(61));
    w.assert_shows("k", Some("1x"), Some("1"));
    assert_eq!(w.loads("k"), before + 1, "it had expired");
    w.cache.invalidate("k");
    w.assert_shows("k", Some("1x"), Some("1"));
    assert_eq!(w.loads("k"), before + 2);
    held.release();
    assert_eq!(applied(pending).as_deref(), Some("1x"));
}

#[test]
fn f2_nothing_stale_is_served_beneath_what_is_pending() {
    let w = world_with(Script::new(), |builder| {
        builder.lifetime(secs(1)).stale_while_revalidate(LONG).stale_if_error(LONG).deadline(LONG)
    });
    w.script.set("k", "1");
    assert_eq!(w.get("k").as_deref(), Some("1"));
    let held = w.script.hold(Op::Put, "k", When::Before);
    let pending = w.append("k", "x");
    held.wait_arrived();
    w.clock.advance(secs(2));
    w.script.next(Op::Get, "k", Does::Fail);
    assert!(matches!(w.cache.get("k"), Err(LoadError::Source(_))));
    w.script.set("k", "2");
    assert_eq!(w.get("k").as_deref(), Some("2x"));
    held.release();
    applied(pending).expect("a record");
}

/// The index knows what is confirmed.
#[test]
fn o1_find_gives_the_confirmed_record() {
    let w = world_with(Script::new(), |builder| {
        builder.indexes(["value"], |_, value: &String, rows| rows.add(0, value.as_bytes()))
    });
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let pending = w.set("k", "2");
    let found = |value: &[u8]| {
        let found = w.cache.find("value", value).expect("an index");
        (found.entries.len(), found.expired)
    };
    assert_eq!((found(b"1"), found(b"2")), ((1, 0), (0, 0)));
    held.release();
    applied(pending).expect("a record");
    assert_eq!((found(b"1"), found(b"2")), ((0, 0), (1, 0)));
}

// --- bounds

#[test]
fn o4_the_number_and_the_weight_of_pending_writes_are_bounded() {
    let optimistic = Optimistic::new().most(2).weight(110);
    let script = Script::new();
    let w = world_with(script, |builder| {
        builder.optimistic(optimistic).weigher(|_, value| value.map_or(1, |value| value.len() as u64))
    });
    let held = w.script.hold(Op::Put, "k", When::Before);
    let refused = |text: &str| w.cache.put_optimistic("k", text.to_owned()).map(drop);
    assert!(matches!(refused(&"x".repeat(111)), Err(NotSent::TooManyPending)), "too heavy");
    assert_eq!((w.peek("k"), w.cache.stats().pending), (None, 0));
    let first = w.set("k", &"x".repeat(99));
    let second = w.set("k", "y");
    assert!(matches!(refused("z"), Err(NotSent::TooManyPending)), "too many");
    assert_eq!((w.peek("k").as_deref(), w.cache.stats().pending), (Some("y"), 2));
    held.release();
    applied(first).expect("a record");
    applied(second).expect("a record");
    applied(w.set("k", "z")).expect("there is room again");
}

#[test]
fn b2_one_that_waits_beyond_its_deadline_is_rolled_back_by_itself() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let first = w.cache.put_optimistic_with("k", "2".to_owned(), &Call::new().deadline(LONG)).expect("admitted");
    held.wait_arrived();
    let second = w.cache.put_optimistic_with("k", "3".to_owned(), &Call::new().deadline(secs(2))).expect("admitted");
    w.assert_shows("k", Some("3"), Some("1"));
    w.clock.advance(secs(3));
    // Nobody comes by the key.
    assert!(matches!(not_sent(outcome(second)), NotSent::Deadline));
    w.assert_shows("k", Some("2"), Some("1"));
    assert_eq!(w.cache.stats().rolled_back, 1);
    held.release();
    applied(first).expect("a record");
}

#[test]
fn b2_a_deadline_is_noticed_though_all_threads_that_have_begun_are_busy() {
    let w = world();
    let held = ["a", "b"].map(|key| w.script.hold(Op::Put, key, When::Before));
    let begins =
        |key: &str, deadline| w.cache.put_optimistic_with(key, "1".to_owned(), &within(deadline)).expect("admitted");
    let _first = begins("a", LONG);
    held[0].wait_arrived();
    let waits = begins("a", secs(2));
    let _other = begins("b", LONG);
    held[1].wait_arrived();
    w.clock.advance(secs(3));
    assert!(matches!(not_sent(outcome(waits)), NotSent::Deadline));
    held.into_iter().for_each(wtcache_testkit::Gate::release);
}

#[test]
fn o3_a_sent_one_that_passes_its_deadline_is_in_doubt() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::After);
    let pending = w.set("k", "2");
    held.wait_arrived();
    assert_eq!(w.get("k").as_deref(), Some("2"));
    w.clock.advance(secs(6));
    w.script.set("k", "the origin's");
    w.assert_shows("k", Some("the origin's"), Some("the origin's"));
    assert_eq!((w.cache.stats().in_doubt, w.cache.stats().pending), (1, 0));
    held.release();
    applied(pending).expect("a late answer");
    assert_eq!(w.cache.stats().in_doubt, 0);
}

/// G8: what waits for a turn holds no thread.
#[test]
fn g8_a_slow_key_holds_one_thread_however_many_of_its_writes_are_pending() {
    let w = world_with(Script::new(), |builder| builder.optimistic(Optimistic::new().threads(2)));
    let held = w.script.hold(Op::Put, "slow", When::Before);
    let slow: Vec<_> = (0..10).map(|n| w.set("slow", &n.to_string())).collect();
    held.wait_arrived();
    for n in 0..5 {
        assert_eq!(applied(w.set("other", &n.to_string())), Some(n.to_string()));
    }
    held.release();
    slow.into_iter().for_each(|pending| drop(applied(pending)));
    assert_eq!(w.script.truth("slow").as_deref(), Some("9"));
}

#[test]
fn p5_a_pending_write_of_another_key_may_be_left_by_a_source_call_and_waits_for_nobody() {
    let w = world();
    let held = w.script.hold(Op::Put, "other", When::Before);
    let first = w.set("other", "1");
    held.wait_arrived();
    let (cache, second) = (w.cache.clone(), Arc::new(Mutex::new(None)));
    let leaves = Arc::clone(&second);
    let work = move || {
        let same = cache.put_optimistic("k", "no".to_owned());
        assert!(matches!(same, Err(NotSent::Reentrant)));
        *leaves.lock().expect("not poisoned") = Some(cache.put_optimistic("other", "2".to_owned()).expect("admitted"));
    };
    w.script.next(Op::Put, "k", Does::Run(Box::new(work)));
    w.put("k", "1").expect("applied");
    assert_eq!(w.peek("other").as_deref(), Some("2"));
    held.release();
    applied(first).expect("a record");
    let second = second.lock().expect("not poisoned").take().expect("left");
    assert_eq!(applied(second).as_deref(), Some("2"));
}

// --- the handle, the listener, the end

struct Flag(Mutex<bool>);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        *self.0.lock().expect("not poisoned") = true;
    }
}

#[test]
fn a3_the_handle_is_waited_for_by_threads_and_by_tasks_and_tells_of_refusals_unchanged() {
    let w = world();
    let held = w.script.hold(Op::Put, "k", When::Before);
    w.script.next(Op::Put, "k", Does::Reject);
    let pending = w.set("k", "1");
    held.wait_arrived();
    assert!(!pending.has_ended() && !pending.wait_for(Duration::ZERO));
    let flag = Arc::new(Flag(Mutex::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(pending);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    held.release();
    while !future.has_ended() {
        std::thread::yield_now();
    }
    let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) else {
        panic!("it has ended");
    };
    let rejection = rejected(outcome);
    assert_eq!((rejection.error.message(), rejection.error.code()), ("refused", Some(422)));
}

#[test]
fn a3_a_waiter_is_woken_by_the_end() {
    let w = world();
    let held = w.script.hold(Op::Put, "k", When::Before);
    let pending = w.set("k", "1");
    held.wait_arrived();
    let waits = w.until_it_waits(move |_| pending.wait_for(LONG));
    held.release();
    assert!(waits.join());
}

#[test]
fn b5_a_listener_hears_of_what_is_pending_and_how_it_ends() {
    let heard: Arc<Mutex<Vec<(u64, EventKind)>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let w = world_with(Script::new(), |builder| {
        builder.listener(move |event| {
            hears.lock().expect("not poisoned").push((event.sequence, event.kind));
        })
    });
    applied(w.set("k", "1")).expect("a record");
    w.script.next(Op::Put, "k", Does::Reject);
    rejected(outcome(w.set("k", "2")));
    w.script.next(Op::Put, "k", Does::Unknown);
    let until = w.cache.now().after(WINDOW);
    in_doubt(outcome(w.set("k", "3")));
    let mut heard = heard.lock().expect("not poisoned").clone();
    heard.sort_unstable_by_key(|(sequence, _)| *sequence);
    let kinds: Vec<EventKind> = heard.into_iter().map(|(_, kind)| kind).collect();
    let pending = EventKind::Pending;
    let put = EventKind::Put { kept: true };
    assert_eq!(kinds, [pending, put, pending, EventKind::RolledBack, pending, EventKind::InDoubt { until }]);
}

#[test]
fn g9_what_was_beneath_the_only_one_is_a_hit_once_that_was_taken_back_though_another_has_the_turn() {
    let w = world();
    w.seed("k", "1");
    let prepared = w.cache.prepare("k", &Call::new()).expect("free");
    let pending = w.set("k", "2");
    assert_eq!(w.peek("k").as_deref(), Some("2"));
    assert!(pending.cancel());
    assert_eq!(w.peek("k").as_deref(), Some("1"));
    prepared.abort();
    assert_eq!(w.peek("k").as_deref(), Some("1"));
}

#[test]
fn b4_close_waits_for_what_is_pending() {
    let w = world();
    let held = w.script.hold(Op::Put, "k", When::Before);
    let pending = [w.set("k", "1"), w.set("k", "2")];
    held.wait_arrived();
    let closing = w.start(|cache| cache.close(LONG));
    while w.peek("k").is_some() {
        std::thread::yield_now();
    }
    assert!(matches!(w.cache.put_optimistic("k", "3".to_owned()), Err(NotSent::Closed)));
    held.release();
    let report = closing.join();
    assert_eq!((report.unfinished.len(), report.rolled_back.len()), (0, 0));
    pending.into_iter().for_each(|pending| drop(applied(pending)));
    assert_eq!(w.script.applied("k"), ["1", "2"]);
}

#[test]
fn b4_close_waits_for_what_has_not_been_sent_yet() {
    let w = world();
    let prepared = w.cache.prepare("k", &Call::new()).expect("free");
    let pending = w.set("k", "1");
    let closing = w.start(|cache| cache.close(LONG));
    while w.peek("k").is_some() {
        std::thread::yield_now();
    }
    // It has every chance to end too early.
    for _ in 0..1_000 {
        std::thread::yield_now();
    }
    prepared.abort();
    assert!(closing.join().rolled_back.is_empty());
    assert_eq!(applied(pending).as_deref(), Some("1"));
}

#[test]
fn b4_close_reports_what_it_left_pending() {
    let w = world();
    let held = w.script.hold(Op::Put, "k", When::Before);
    let (sent, waits) = (w.set("k", "1"), w.set("k", "2"));
    held.wait_arrived();
    let report = w.cache.close(Duration::ZERO);
    assert_eq!(report.unfinished, ["k"]);
    assert_eq!(report.rolled_back, ["k"]);
    assert!(matches!(not_sent(outcome(waits)), NotSent::Closed));
    held.release();
    applied(sent).expect("it ran on");
    assert_eq!(w.script.applied("k"), ["1"]);
}

/// What was admitted is settled, though nobody holds a handle on the cache any more.
#[test]
fn o2_what_is_pending_outlives_the_last_handle() {
    let World { script, cache, .. } = world();
    let held = script.hold(Op::Put, "k", When::Before);
    let pending = [cache.put_optimistic("k", "1".to_owned()), cache.put_optimistic("k", "2".to_owned())];
    drop(cache);
    held.release();
    for pending in pending {
        applied(pending.expect("admitted"));
    }
    assert_eq!(script.applied("k"), ["1", "2"]);
}

/// P8, O5: a merge function may do with the cache what it likes.
#[test]
fn p8_merge_functions_run_under_no_lock() {
    let w = world_with(Script::new(), |builder| builder.shards(1));
    w.seed("k", "1");
    w.seed("other", "o");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let cache: Cache<String, String> = w.cache.clone();
    let merge = move |old: Option<&String>| {
        let other = cache.get("other").expect("resident").expect("a value");
        cache.invalidate("third");
        Some(old.map_or(String::new(), String::clone) + other.value())
    };
    let pending = w.cache.merge_optimistic("k", merge).expect("admitted");
    assert_eq!(w.start(|cache| text(cache.get("k"))).join().as_deref(), Some("1o"));
    assert_eq!(w.start(|cache| cache.get_many(["k", "other"]).len()).join(), 2);
    held.release();
    assert_eq!(applied(pending).as_deref(), Some("1o"));
}
