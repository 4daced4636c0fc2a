//! Chapter 3 of the contract: writing through. The permits have their own file.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use common::*;
use wtcache::{
    Cache, Call, Change, Condition, Failure, How, InDoubtWrites, Lifetime, LoadError, NotSent, Rows, Scope,
    SourceError, Version,
};
use wtcache_testkit::{Does, Op, Script, When, spawn};

fn version(text: &str) -> Version {
    Version::new(text).expect("a short version")
}

// --- P1: commit

#[test]
fn p1_nothing_is_visible_before_the_origin_confirmed() {
    let w = world();
    for when in [When::Before, When::After] {
        w.cache.invalidate("k");
        let gate = w.script.hold(Op::Put, "k", when);
        let writer = w.start(|cache| cache.put("k", "one".to_owned()).map(drop));
        gate.wait_arrived();
        assert_eq!(w.peek("k"), None);
        gate.release();
        writer.join().expect("applied");
        assert_eq!(w.peek("k").as_deref(), Some("one"));
    }
}

#[test]
fn p1_a_commit_moves_index_rows_and_absent_marks_with_the_value() {
    let by_value = |_: &String, value: &String, rows: &mut Rows| rows.add(0, value.as_bytes());
    let w = world_with(Script::new(), |b| b.indexes(["value"], by_value));
    let found = |value: &str| w.cache.find("value", value.as_bytes()).expect("it is named").entries.len();
    assert_eq!(w.get("k"), None);
    w.seed("k", "one");
    assert_eq!((found("one"), found("two")), (1, 0));
    w.seed("k", "two");
    assert_eq!((found("one"), found("two")), (0, 1));
    w.script.next(Op::Put, "k", Does::Reject);
    let _ = rejected(w.put("k", "three"));
    assert_eq!((found("two"), found("three")), (1, 0));
    let _doubt = w.doubt("k", "four", Does::Stray);
    assert_eq!((found("two"), found("four")), (0, 0));
}

#[test]
fn p1_an_invalidated_write_commits_as_unknown() {
    for when in [When::Before, When::After] {
        let w = world();
        w.seed("k", "old");
        let gate = w.script.hold(Op::Put, "k", when);
        let writer = w.start(|cache| cache.put("k", "ours".to_owned()).map(|written| written.kept));
        gate.wait_arrived();
        w.cache.invalidate("k");
        gate.release();
        assert!(!writer.join().expect("it was applied"));
        w.script.set("k", "what was said");
        assert_eq!(w.peek("k"), None);
        w.assert_settled("k");
    }
}

#[test]
fn p1_an_invalidation_before_the_send_does_not_spoil_the_commit() {
    let w = world();
    let prepared = w.cache.prepare("k", &Call::new()).expect("free");
    w.cache.invalidate("k");
    let sent = prepared.send().expect("in time");
    assert!(sent.commit(Some(wtcache::Record::new("one".to_owned()))).kept);
    assert_eq!(w.peek("k").as_deref(), Some("one"));
}

#[test]
fn p1_a_write_in_flight_while_a_doubt_settles_commits_as_unknown() {
    let w = world();
    let _doubt = w.doubt("k", "stray", Does::Stray);
    w.clock.advance(secs(8));
    let gate = w.script.hold(Op::Put, "k", When::After);
    let writer = w.start(|cache| cache.put("k", "ours".to_owned()).map(|written| written.kept));
    gate.wait_arrived();
    assert_eq!(w.script.land(), 1);
    w.clock.advance(secs(2));
    assert_eq!(w.cache.stats().in_doubt, 0, "the window has passed");
    gate.release();
    assert!(!writer.join().expect("it was applied"), "the stray landed after it");
    w.assert_settled("k");
    assert_eq!(w.get("k").as_deref(), Some("stray"));
}

#[test]
fn p1_a_record_that_is_not_kept_takes_the_place_of_the_older_one() {
    let w = world();
    w.seed("k", "old");
    w.script.next(Op::Put, "k", Does::For(Lifetime::NotKept));
    let written = w.cache.put("k", "new".to_owned()).expect("applied");
    assert_eq!(written.entry.map(|e| e.value().clone()).as_deref(), Some("new"));
    assert!(!written.kept);
    assert_eq!(w.peek("k"), None);
}

#[test]
fn p1_a_record_whose_lifetime_passed_during_the_write_is_not_kept() {
    let w = world();
    w.seed("k", "old");
    w.script.next(Op::Put, "k", Does::For(Lifetime::For(secs(1))));
    let gate = w.script.hold(Op::Put, "k", When::After);
    let writer = w.start(|cache| cache.put("k", "new".to_owned()).map(|written| written.kept));
    gate.wait_arrived();
    w.clock.advance(secs(1));
    gate.release();
    assert!(!writer.join().expect("applied"));
    assert_eq!((w.peek("k"), w.cache.stats().entries), (None, 0));
}

#[test]
fn p1_a_panic_of_the_weigher_costs_the_entry_and_nothing_else() {
    let weigh = |_: &String, value: Option<&String>| {
        assert!(value.is_none_or(|value| value != "unlucky"), "scripted");
        1
    };
    let w = world_with(Script::new(), |b| b.weigher(weigh));
    w.seed("k", "old");
    let written = w.cache.put("k", "unlucky".to_owned()).expect("applied");
    assert!(!written.kept);
    assert_eq!((w.peek("k"), w.cache.stats().extractors_panicked), (None, 1));
    assert_eq!(w.cache.stats().in_doubt, 0);
}

// --- P2: rejection

#[test]
fn p2_a_rejected_write_leaves_the_base_as_it_was() {
    let w = world();
    w.seed("k", "old");
    w.script.next(Op::Put, "k", Does::Reject);
    assert_eq!(rejected(w.put("k", "new")).error.code(), Some(422));
    w.script.next(Op::Delete, "k", Does::Reject);
    assert_eq!(rejected(w.cache.delete("k")).error.code(), Some(422));
    assert_eq!(w.peek("k").as_deref(), Some("old"));
    assert_eq!(w.get("none"), None);
    w.script.next(Op::Put, "none", Does::Reject);
    let _ = rejected(w.put("none", "new"));
    assert_eq!((w.get("none"), w.loads("none")), (None, 1));
}

#[test]
fn p2_a_rejection_that_proves_the_base_stale_drops_it() {
    for op in [Op::Put, Op::Delete] {
        let w = world();
        w.seed("k", "old");
        w.script.set("k", "newer");
        w.script.next(op, "k", Does::RejectStale);
        let rejection = match op {
            Op::Put => rejected(w.put("k", "ours")),
            _ => rejected(w.cache.delete("k")),
        };
        assert_eq!((rejection.stale_base, rejection.error.code()), (true, Some(409)));
        assert_eq!(w.peek("k"), None);
        w.assert_settled("k");
    }
}

// --- P3: turns

#[test]
fn p1_a_put_that_is_answered_late_is_not_kept_though_nobody_came_by() {
    let w = world();
    w.seed("k", "old");
    let gate = w.script.hold(Op::Put, "k", When::After);
    let late = w.start(|cache| cache.put_with("k", "new".to_owned(), &within(secs(5))));
    gate.wait_arrived();
    w.clock.advance(secs(5));
    gate.release();
    assert!(!late.join().expect("applied").kept);
    assert_eq!(w.peek("k"), None);
    w.assert_settled("k");
}

#[test]
fn a3_an_overdue_put_is_counted_in_doubt_though_nobody_came_by() {
    let w = world();
    w.seed("k", "old");
    // After this look at all keys none is due until the put is.
    assert_eq!(w.cache.stats().writes_open, 0);
    let gate = w.script.hold(Op::Put, "k", When::After);
    let late = w.start(|cache| cache.put_with("k", "new".to_owned(), &within(secs(5))));
    gate.wait_arrived();
    w.clock.advance(secs(5));
    let stats = w.cache.stats();
    assert_eq!((stats.writes_open, stats.in_doubt), (0, 1));
    gate.release();
    assert!(!late.join().expect("applied").kept);
    w.assert_settled("k");
}

#[test]
fn p3_writers_of_a_key_take_turns_in_arrival_order() {
    let w = world();
    let holder = w.cache.prepare("k", &Call::new()).expect("free");
    let names = ["one", "two", "three", "four"];
    let writers: Vec<_> =
        names.map(|name| w.until_it_waits(move |cache| cache.put("k", name.to_owned()).map(drop))).into();
    holder.abort();
    for writer in writers {
        writer.join().expect("applied");
    }
    assert_eq!(w.script.applied("k"), names);
    assert_eq!(w.peek("k"), w.script.truth("k"));
}

#[test]
fn p3_a_write_is_not_sent_before_the_one_before_it_has_ended() {
    for does in [Does::Well, Does::Reject, Does::Unknown, Does::Panic] {
        let w = world();
        w.script.next(Op::Put, "k", does);
        let gate = w.script.hold(Op::Put, "k", When::After);
        let first = w.start(|cache| cache.put("k", "one".to_owned()).map(drop));
        gate.wait_arrived();
        let second = w.until_it_waits(|cache| cache.put("k", "two".to_owned()).map(drop));
        assert_eq!(w.script.calls(Op::Put, "k"), 1);
        gate.release();
        let _ = first.join();
        second.join().expect("applied");
        assert_eq!(w.script.truth("k").as_deref(), Some("two"));
    }
}

#[test]
fn p3_one_that_leaves_the_queue_delays_nobody() {
    let w = world();
    let holder = w.cache.prepare("k", &within(secs(60))).expect("free");
    let leaves = w.until_it_waits(|cache| cache.put_with("k", "gone".to_owned(), &within(secs(1))).map(drop));
    let stays = w.until_it_waits(|cache| cache.put_with("k", "here".to_owned(), &within(secs(60))).map(drop));
    w.clock.advance(secs(1));
    assert!(matches!(not_sent(leaves.join()), NotSent::Deadline));
    holder.abort();
    stays.join().expect("applied");
    assert_eq!(w.script.applied("k"), ["here"]);
}

#[test]
fn p3_the_next_in_the_queue_goes_at_the_deadline_of_whoever_holds_the_turn() {
    // Each waits for the turn of the first, whose deadline is far; the second is granted the turn and sits on it.
    let w = world();
    let first = w.cache.prepare("k", &within(secs(100))).expect("free");
    let second = w.until_it_waits(|cache| cache.prepare("k", &within(secs(50))));
    let third = w.until_it_waits(|cache| cache.put_with("k", "three".to_owned(), &within(secs(70))).map(drop));
    let fourth = w.until_it_waits(|cache| cache.put_with("k", "four".to_owned(), &within(secs(90))).map(drop));
    first.abort();
    let second = second.join().expect("granted");
    w.clock.advance(secs(50));
    third.join().expect("the turn was free from 50 s on");
    fourth.join().expect("applied");
    assert!(matches!(second.send(), Err(NotSent::Deadline)));
    assert_eq!(w.script.applied("k"), ["three", "four"]);
}

#[test]
fn p3_the_next_goes_at_the_holders_deadline_though_one_between_them_left() {
    let w = world();
    let first = w.cache.prepare("k", &within(secs(100))).expect("free");
    let second = w.until_it_waits(|cache| cache.prepare("k", &within(secs(50))));
    let between = w.until_it_waits(|cache| cache.prepare("k", &within(secs(20))).map(drop));
    let last = w.until_it_waits(|cache| cache.put_with("k", "last".to_owned(), &within(secs(70))).map(drop));
    first.abort();
    let _second = second.join().expect("granted");
    let alarms = w.clock.alarms_ever_set();
    w.clock.advance(secs(20));
    assert!(between.join().is_err());
    assert!(w.clock.wait_for_alarms(alarms + 1), "the last one waits for the second's deadline now");
    w.clock.advance(secs(30));
    last.join().expect("the turn was free from 50 s on");
}

// --- P4: deletes

#[test]
fn p4_an_unconditional_delete_of_nothing_is_applied() {
    let w = world();
    w.cache.delete("k").expect("applied");
    assert_eq!(w.script.log()[0].condition, None);
    w.assert_settled("k");
}

#[test]
fn p4_a_conditional_delete_of_nothing_is_a_conflict() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.remove("k");
    let rejection = rejected(w.cache.update("k", |_| Ok(Change::Delete)));
    assert!(rejection.stale_base);
    assert_eq!(w.get("k"), None);
    assert_eq!(w.loads("k"), 1);
}

#[test]
fn p4_after_an_applied_delete_the_next_read_asks_the_origin() {
    for remembered in [false, true] {
        let w = world_with(Script::new(), |b| b.absent_after_delete(remembered));
        w.seed("k", "one");
        w.cache.delete("k").expect("applied");
        assert_eq!(w.cache.stats().in_doubt, 0);
        assert_eq!(w.get("k"), None);
        assert_eq!(w.loads("k"), usize::from(!remembered));
        assert_eq!(w.get("k"), None);
        assert_eq!(w.loads("k"), usize::from(!remembered));
    }
}

#[test]
fn p4_an_absence_is_not_remembered_of_a_delete_that_was_invalidated() {
    let w = world_with(Script::new(), |b| b.absent_after_delete(true));
    w.seed("k", "one");
    let gate = w.script.hold(Op::Delete, "k", When::After);
    let writer = w.start(|cache| cache.delete("k").map(drop));
    gate.wait_arrived();
    w.script.set("k", "again");
    w.cache.invalidate("k");
    gate.release();
    writer.join().expect("applied");
    assert_eq!(w.get("k").as_deref(), Some("again"));
}

// --- P5: within

#[test]
fn p5_the_existing_record_can_be_asked_for_inside_a_write() {
    for resident in [true, false] {
        let w = world();
        w.script.set("k", "old");
        if resident {
            let _ = w.get("k");
        }
        w.script.next(Op::Put, "k", Does::AskExisting);
        w.seed("k", "new");
        let put = w.script.log().into_iter().find(|seen| seen.op == Op::Put).expect("it was put");
        assert_eq!(put.existing, Some(Some("old".to_owned())));
        assert_eq!(put.replaced.is_some(), resident);
        assert_eq!(w.loads("k"), 1);
    }
}

/// A script that runs `work` with the cache inside the next `op` on "k", with what came of it.
#[track_caller]
fn inside<T: Send + 'static>(
    w: &World,
    op: Op,
    work: impl FnOnce(&Cache<String, String>) -> T + Send + 'static,
) -> std::sync::mpsc::Receiver<T> {
    let (send, receive) = std::sync::mpsc::channel();
    let cache = w.cache.clone();
    let run = move || send.send(work(&cache)).expect("the test listens");
    w.script.next(op, "k", Does::Run(Box::new(run)));
    receive
}

/// A write that the nested calls run in, on a thread that is joined within a bound: what waits for itself fails the test.
#[track_caller]
fn outer(w: &World) {
    w.start(|cache| cache.put("k", "outer".to_owned()).map(drop)).join().expect("applied");
}

#[test]
fn p5_a_nested_read_waits_for_no_turn_and_no_load() {
    let w = world();
    w.script.set("k", "old");
    w.script.set("other", "there");
    let gate = w.script.hold(Op::Get, "other", When::Before);
    let leader = w.start(|cache| cache.get("other").map(drop));
    gate.wait_arrived();
    let read = inside(&w, Op::Put, |cache| {
        let other = cache.read("other", &Call::new()).expect("loaded");
        (text(cache.get("k")), other.how, other.entry.map(|e| e.value().clone()))
    });
    outer(&w);
    let (same, how, other) = read.recv().expect("it ran");
    assert_eq!((same.as_deref(), other.as_deref()), (Some("old"), Some("there")));
    assert_eq!(how, How::Loaded { kept: false });
    assert_eq!(w.peek("other"), None, "a load of one's own is not retained");
    gate.release();
    leader.join().expect("loaded");
}

#[test]
fn p5_a_nested_load_moves_the_fence_of_the_load_beside_it() {
    let w = world();
    w.script.set("other", "one");
    let gate = w.script.hold(Op::Get, "other", When::After);
    let early = w.start(|cache| cache.get("other"));
    gate.wait_arrived();
    w.script.set("other", "two");
    let read = inside(&w, Op::Put, |cache| text(cache.get("other")));
    outer(&w);
    assert_eq!(read.recv().expect("it ran").as_deref(), Some("two"));
    gate.release();
    assert_eq!(text(early.join()).as_deref(), Some("two"), "two was seen: one may not be seen after it");
}

#[test]
fn p5_a_nested_write_of_the_same_key_is_reentrant() {
    for op in [Op::Put, Op::Get, Op::Delete] {
        let w = world();
        let nested = inside(&w, op, |cache| {
            let put = not_sent(cache.put("k", "nested".to_owned()));
            let delete = not_sent(cache.delete("k"));
            let update = not_sent(cache.update("k", |_| Ok(Change::Delete)));
            let prepare = cache.prepare("k", &Call::new()).err();
            [Some(put), Some(delete), Some(update), prepare]
        });
        let calls = w.start(move |cache| match op {
            Op::Put => drop(cache.put("k", "outer".to_owned())),
            Op::Get => drop(cache.get("k")),
            Op::Delete => drop(cache.delete("k")),
        });
        let () = calls.join();
        for refused in nested.recv().expect("it ran") {
            assert!(matches!(refused, Some(NotSent::Reentrant)), "{refused:?}");
        }
        assert!(w.script.log().iter().all(|seen| seen.value.as_deref() != Some("nested")));
    }
}

#[test]
fn p5_a_nested_write_inside_an_update_closure_is_reentrant_and_reads_do_not_wait() {
    let w = world();
    w.seed("k", "one");
    let cache = w.cache.clone();
    let closure = move |now: Option<&wtcache::Entry<Texts>>| {
        assert!(matches!(not_sent(cache.put("k", "nested".to_owned())), NotSent::Reentrant));
        assert_eq!(text(cache.get("k")).as_deref(), now.map(|e| e.value().as_str()));
        cache.put("other", "beside".to_owned()).map(drop).expect("its turn is free");
        Ok(Change::Put("two".to_owned()))
    };
    let update = w.start(|cache| cache.update("k", closure).map(drop)).join();
    update.expect("applied");
    assert_eq!((w.peek("k").as_deref(), w.peek("other").as_deref()), (Some("two"), Some("beside")));
}

#[test]
fn p5_a_nested_write_of_another_key_is_tried_once() {
    let w = world();
    let holder = w.cache.prepare("other", &Call::new()).expect("free");
    let nested = inside(&w, Op::Put, |cache| cache.put("other", "nested".to_owned()).map(drop));
    outer(&w);
    assert!(matches!(not_sent(nested.recv().expect("it ran")), NotSent::Busy));
    holder.abort();
    let nested = inside(&w, Op::Put, |cache| cache.put("other", "nested".to_owned()).map(drop));
    outer(&w);
    nested.recv().expect("it ran").expect("the turn is free");
    assert_eq!(w.peek("other").as_deref(), Some("nested"));
}

#[test]
fn p5_writes_that_nest_crosswise_do_not_wait_for_each_other() {
    let w = world();
    let (k, other) = (w.script.hold(Op::Put, "k", When::Before), w.script.hold(Op::Put, "other", When::Before));
    let from_k = inside(&w, Op::Put, |cache| cache.put("other", "from k".to_owned()).map(drop));
    let (send, from_other) = std::sync::mpsc::channel();
    let cache = w.cache.clone();
    let run = move || send.send(cache.put("k", "from other".to_owned()).map(drop)).expect("the test listens");
    w.script.next(Op::Put, "other", Does::Run(Box::new(run)));
    let a = w.start(|cache| cache.put("k", "a".to_owned()).map(drop));
    let b = w.start(|cache| cache.put("other", "b".to_owned()).map(drop));
    k.wait_arrived();
    other.wait_arrived();
    k.release();
    assert!(matches!(not_sent(from_k.recv().expect("it ran")), NotSent::Busy));
    other.release();
    a.join().expect("applied");
    b.join().expect("applied");
    let _ = from_other.recv().expect("it ran");
}

#[test]
fn p5_a_nested_write_held_back_by_a_doubt_does_not_wait() {
    let w = world_with(Script::new(), |b| b.in_doubt_writes(InDoubtWrites::Wait));
    w.script.next(Op::Put, "other", Does::Unknown);
    let _ = in_doubt(w.put("other", "lost"));
    let nested = inside(&w, Op::Put, |cache| cache.put_with("other", "nested".to_owned(), &within(secs(60))).map(drop));
    outer(&w);
    let refused = not_sent(nested.recv().expect("it ran"));
    assert!(matches!(refused, NotSent::HeldBack { retry_after } if retry_after == WINDOW), "{refused}");
}

#[test]
fn p5_nesting_is_known_by_the_scope_that_was_passed_on() {
    let w = world();
    let holder = w.cache.prepare("other", &Call::new()).expect("free");
    let nested = inside(&w, Op::Put, |cache| {
        let (cache, scope) = (cache.clone(), Scope::current());
        spawn(move || {
            let call = Call::new().within(&scope);
            let same = not_sent(cache.put_with("k", "nested".to_owned(), &call));
            let other = not_sent(cache.put_with("other", "nested".to_owned(), &call));
            let read = cache.read("k", &call).expect("loaded").how;
            (same, other, read)
        })
        .join()
    });
    outer(&w);
    let (same, other, read) = nested.recv().expect("it ran");
    assert!(matches!((same, other), (NotSent::Reentrant, NotSent::Busy)));
    assert_eq!(read, How::Loaded { kept: false });
    holder.abort();
}

#[test]
fn p5_a_source_that_asks_for_itself_is_stopped() {
    let w = world();
    let mut deepest = Vec::new();
    for _ in 0..20 {
        deepest.push(inside(&w, Op::Get, |cache| cache.get("k").map(drop)));
    }
    assert_eq!(text(w.start(|cache| cache.get("k")).join()), None);
    let told: Vec<_> = deepest.iter().filter_map(|read| read.try_recv().ok()).collect();
    assert!(told.iter().any(|read| matches!(read, Err(LoadError::TooDeep))));
}

#[test]
fn p5_a_weigher_that_reads_the_key_that_is_loaded_does_not_wait_for_itself() {
    let place: Arc<Mutex<Option<Cache<String, String>>>> = Arc::default();
    let uses = Arc::clone(&place);
    let weigh = move |key: &String, _: Option<&String>| {
        // Once: what it loads is weighed too.
        let cache = uses.lock().expect("no panic inside").take();
        if let Some(cache) = cache {
            assert_eq!(text(cache.get(key)).as_deref(), Some("one"));
        }
        1
    };
    let w = world_with(Script::new(), |b| b.weigher(weigh));
    w.script.set("k", "one");
    *place.lock().expect("no panic inside") = Some(w.cache.clone());
    assert_eq!(text(w.start(|cache| cache.get("k")).join()).as_deref(), Some("one"));
    assert_eq!(w.cache.stats().extractors_panicked, 0);
}

#[test]
fn p5_a_call_inside_one_cache_is_nested_in_no_other() {
    let (a, b) = (world(), world());
    let beside = b.cache.clone();
    let run = move || beside.put("k", "beside".to_owned()).map(drop).expect("another cache");
    a.script.next(Op::Put, "k", Does::Run(Box::new(run)));
    outer(&a);
    assert_eq!(b.peek("k").as_deref(), Some("beside"));
}

// --- P6: update

#[test]
fn p6_no_update_is_lost_between_writers_of_the_process() {
    let w = world();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            w.start(|cache| {
                for _ in 0..5 {
                    let added = cache.update("k", |now| {
                        let count: u32 = now.map_or(0, |e| e.value().parse().expect("a number"));
                        Ok(Change::Put((count + 1).to_string()))
                    });
                    added.expect("applied");
                }
            })
        })
        .collect();
    for writer in writers {
        let () = writer.join();
    }
    assert_eq!(w.script.truth("k").as_deref(), Some("40"));
    assert_eq!(w.peek("k").as_deref(), Some("40"));
}

#[test]
fn p6_an_update_that_keeps_sends_nothing() {
    let w = world();
    w.script.set("k", "one");
    let written = w.cache.update("k", |_| Ok(Change::Keep)).expect("nothing to do");
    assert!(!written.kept && w.peek("k").is_none(), "what an update had to load is retained by its write only");
    assert_eq!(written.entry.map(|e| e.value().clone()).as_deref(), Some("one"));
    assert_eq!(w.script.calls(Op::Put, "k"), 0);
    w.seed("k", "two");
    assert!(w.cache.update("k", |_| Ok(Change::Keep)).expect("nothing to do").kept);
}

#[test]
fn p6_an_error_or_panic_of_the_closure_sends_nothing_and_passes_the_turn() {
    let w = world();
    w.seed("k", "one");
    let refused = w.cache.update("k", |_| Err(SourceError::new(Failure::Invalid, "not so")));
    assert_eq!(rejected(refused).error.message(), "not so");
    let panic = catch_unwind(AssertUnwindSafe(|| w.cache.update("k", |_| panic!("scripted")).map(drop)));
    assert!(panic.is_err());
    assert_eq!((w.script.calls(Op::Put, "k"), w.peek("k").as_deref()), (1, Some("one")));
    w.seed("k", "two");
}

#[test]
fn p6_an_update_whose_record_cannot_be_read_sends_nothing() {
    let w = world();
    for does in [Does::Fail, Does::Panic] {
        w.script.next(Op::Get, "k", does);
        let unread = not_sent(w.cache.update("k", |_| Ok(Change::Delete)));
        assert!(matches!(unread, NotSent::Unread(_)), "{unread}");
    }
    w.seed("k", "one");
}

#[test]
fn p6_a_precondition_is_passed_on_only_where_it_is_honoured() {
    for honoured in [true, false] {
        let script = Script::new();
        script.declare(|declared| declared.honours_preconditions = honoured);
        let w = world_with(script, |b| b);
        let put = |value: &str| {
            let value = value.to_owned();
            w.cache.update("k", move |_| Ok(Change::Put(value))).map(drop)
        };
        put("one").expect("applied");
        put("two").expect("applied");
        w.cache.update("k", |_| Ok(Change::Delete)).map(drop).expect("applied");
        let conditions: Vec<_> =
            w.script.log().into_iter().filter(|seen| seen.op != Op::Get).map(|seen| seen.condition).collect();
        if honoured {
            let one = Some(Condition::Version(version("v1")));
            let two = Some(Condition::Version(version("v2")));
            assert_eq!(conditions, [Some(Condition::Absent), one, two]);
        } else {
            assert_eq!(conditions, [None, None, None]);
        }
    }
}

#[test]
fn p6_an_update_over_a_record_that_changed_elsewhere_is_a_conflict() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.set("k", "elsewhere");
    let add = |now: Option<&wtcache::Entry<Texts>>| {
        Ok(Change::Put(format!("{}+ours", now.map_or("", |e| e.value().as_str()))))
    };
    assert!(rejected(w.cache.update("k", add)).stale_base);
    assert_eq!(w.peek("k"), None);
    w.cache.update("k", add).expect("applied, on what it loads now");
    assert_eq!(w.script.truth("k").as_deref(), Some("elsewhere+ours"));
}

#[test]
fn p6_every_write_has_an_idempotency_key_of_its_own() {
    let w = world();
    w.put("k", "one").expect("applied");
    w.put("k", "two").expect("applied");
    let call = Call::new().idempotency_key(wtcache::IdempotencyKey::from_bits(7));
    w.cache.put_with("k", "three".to_owned(), &call).map(drop).expect("applied");
    let keys: Vec<_> = w.script.log().into_iter().filter_map(|seen| seen.idempotency_key).collect();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[2], format!("{:032x}", 7));
}

#[test]
fn p6_idempotency_keys_of_two_caches_differ_in_either_half() {
    let [one, two] = [world(), world()].map(|w| {
        w.put("k", "one").expect("applied");
        let key = w.script.log().pop().and_then(|seen| seen.idempotency_key).expect("a write has one");
        (key[..16].to_owned(), key[16..].to_owned())
    });
    assert!(one.0 != two.0 && one.1 != two.1, "{one:?} {two:?}");
}
