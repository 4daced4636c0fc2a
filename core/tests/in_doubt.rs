//! Chapter 4 of the contract: in doubt.

mod common;
mod shelf;

use common::*;
use shelf::{Fns, broken};
use wtcache::{
    Cache, Call, Change, Failure, How, InDoubtWrites, Loaded, NotSent, Outcome, Record, Rows, Settlement, SourceError,
    Typed,
};
use wtcache_testkit::{Does, ManualClock, Op, Script, When};

fn ours(value: &str) -> Option<Record<String>> {
    Some(Record::new(value.to_owned()))
}

fn put(value: &str) -> impl FnOnce(Option<&wtcache::Entry<Texts>>) -> Result<Change<String>, SourceError> {
    let value = value.to_owned();
    move |_| Ok(Change::Put(value))
}

// --- D1: at once

#[test]
fn d1_an_unknown_write_takes_entry_rows_and_absent_mark_at_once() {
    let by_value = |_: &String, value: &String, rows: &mut Rows| rows.add(0, value.as_bytes());
    let w = world_with(Script::new(), |b| b.indexes(["value"], by_value));
    w.seed("k", "old");
    let _doubt = w.doubt("k", "new", Does::Stray);
    assert_eq!(w.peek("k"), None);
    assert!(w.cache.find("value", b"old").expect("it is named").entries.is_empty());
    assert_eq!(w.get("none"), None);
    let _doubt = w.doubt("none", "new", Does::Stray);
    let before = w.loads("none");
    assert_eq!(w.get("none"), None);
    assert_eq!(w.loads("none"), before + 1, "the absent mark is gone");
    assert_eq!(w.cache.stats().in_doubt, 2);
}

#[test]
fn d1_a_delete_can_be_in_doubt_too() {
    let w = world();
    w.seed("k", "old");
    w.script.next(Op::Delete, "k", Does::Stray);
    let _doubt = in_doubt(w.cache.delete("k"));
    assert_eq!(w.get("k").as_deref(), Some("old"));
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k"), None);
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

// --- D2: until it is settled

#[test]
fn d2_reads_in_doubt_go_to_the_source_coalesced_and_are_not_retained() {
    let w = world();
    let _doubt = w.doubt("k", "one", Does::ApplyThenUnknown);
    w.assert_not_retained("k");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.read("k", &Call::new()));
    gate.wait_arrived();
    let before = w.loads("k");
    let waiter = w.until_it_waits(|cache| cache.read("k", &Call::new()));
    gate.release();
    let (leader, waiter) = (leader.join().expect("loaded"), waiter.join().expect("loaded"));
    assert_eq!((leader.how, waiter.how), (How::Loaded { kept: false }, How::Joined));
    assert_eq!((w.loads("k"), w.peek("k")), (before, None));
}

#[test]
fn d2_a_stray_that_lands_in_the_window_is_seen_by_the_next_read() {
    let w = world();
    w.seed("k", "old");
    let _doubt = w.doubt("k", "stray", Does::Stray);
    assert_eq!(w.get("k").as_deref(), Some("old"));
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("stray"));
}

#[test]
fn d2_an_applied_write_does_not_end_the_doubt() {
    let w = world();
    let _doubt = w.doubt("k", "stray", Does::Stray);
    let written = w.cache.put("k", "new".to_owned()).expect("applied, and said so");
    assert_eq!(written.entry.map(|e| e.value().clone()).as_deref(), Some("new"));
    assert!(!written.kept);
    assert_eq!((w.peek("k"), w.cache.stats().in_doubt), (None, 1));
    assert_eq!(w.get("k").as_deref(), Some("new"));
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("stray"), "the earlier write landed after it");
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

#[test]
fn d2_a_rejected_write_does_not_end_the_doubt() {
    for does in [Does::Reject, Does::RejectStale] {
        let w = world();
        let _doubt = w.doubt("k", "stray", Does::Stray);
        w.script.next(Op::Put, "k", does);
        let _ = rejected(w.put("k", "new"));
        w.assert_not_retained("k");
        assert_eq!(w.script.land(), 1);
        assert_eq!(w.get("k").as_deref(), Some("stray"));
    }
}

#[test]
fn d2_an_invalidation_does_not_end_the_doubt_but_detaches_its_load() {
    let w = world();
    let _doubt = w.doubt("k", "stray", Does::Stray);
    w.script.set("k", "old");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    w.script.set("k", "new");
    w.cache.invalidate("k");
    gate.release();
    assert_eq!(text(reader.join()).as_deref(), Some("new"));
    w.assert_not_retained("k");
}

#[test]
fn d2_an_aborted_write_does_not_end_the_doubt() {
    let w = world();
    let _doubt = w.doubt("k", "stray", Does::Stray);
    w.cache.prepare("k", &Call::new()).expect("the turn is free").abort();
    w.assert_not_retained("k");
    assert_eq!(w.cache.stats().in_doubt, 1);
}

// --- D2: writes that wait

fn waiting_world() -> World {
    world_with(Script::new(), |b| b.in_doubt_writes(InDoubtWrites::Wait))
}

#[test]
fn d2_a_write_held_back_is_refused_at_once_with_the_time_to_wait() {
    let w = waiting_world();
    let _doubt = w.doubt("k", "lost", Does::Unknown);
    w.clock.advance(secs(4));
    let refused = not_sent(w.put("k", "new"));
    assert!(matches!(refused, NotSent::HeldBack { retry_after } if retry_after == secs(6)), "{refused}");
    let refused = not_sent(w.cache.put_with("k", "new".to_owned(), &within(secs(6))));
    assert!(matches!(refused, NotSent::HeldBack { .. }), "at its deadline is too late: {refused}");
    assert_eq!(w.script.calls(Op::Put, "k"), 1);
}

#[test]
fn d2_a_write_held_back_goes_out_when_the_doubt_ends_within_its_deadline() {
    let w = waiting_world();
    let _doubt = w.doubt("k", "lost", Does::Unknown);
    let writer =
        w.until_it_waits(|cache| cache.put_with("k", "new".to_owned(), &within(secs(60))).map(|written| written.kept));
    assert_eq!(w.script.calls(Op::Put, "k"), 1);
    w.clock.advance(WINDOW);
    assert!(writer.join().expect("applied"));
    assert_eq!(w.peek("k").as_deref(), Some("new"));
}

#[test]
fn d2_a_write_held_back_is_refused_when_the_doubt_is_prolonged_beyond_its_deadline() {
    let w = waiting_world();
    let sent = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
    let waiter = w.until_it_waits(|cache| cache.put_with("k", "new".to_owned(), &within(secs(8))).map(drop));
    drop(sent);
    let refused = not_sent(waiter.join());
    assert!(matches!(refused, NotSent::HeldBack { retry_after } if retry_after == WINDOW), "{refused}");
}

#[test]
fn d2_a_write_held_back_goes_out_when_a_late_answer_ends_the_doubt() {
    let w = waiting_world();
    let sent = w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time");
    w.clock.advance(secs(1));
    let writer = w.until_it_waits(|cache| cache.put_with("k", "new".to_owned(), &within(secs(60))).map(drop));
    sent.reject(false);
    writer.join().expect("the doubt is over");
    assert_eq!(w.peek("k").as_deref(), Some("new"));
}

#[test]
fn d2_a_write_held_back_yields_its_turn_to_conditional_ones() {
    let script = Script::new();
    script.declare(|declared| declared.honours_preconditions = true);
    let w = world_with(script, |b| b.in_doubt_writes(InDoubtWrites::Wait));
    w.seed("k", "one");
    let _doubt = w.doubt("k", "lost", Does::Unknown);
    let held = w.until_it_waits(|cache| cache.put_with("k", "held".to_owned(), &within(secs(60))).map(drop));
    w.cache.update("k", put("conditional")).map(drop).expect("it goes first");
    assert_eq!(w.script.truth("k").as_deref(), Some("conditional"));
    w.clock.advance(WINDOW);
    held.join().expect("applied");
    assert_eq!(w.script.truth("k").as_deref(), Some("held"));
}

#[test]
fn d2_writers_held_back_keep_their_order() {
    let w = waiting_world();
    let _doubt = w.doubt("k", "lost", Does::Unknown);
    let writers = ["one", "two", "three"]
        .map(|name| w.until_it_waits(move |cache| cache.put_with("k", name.to_owned(), &within(secs(60))).map(drop)));
    w.clock.advance(WINDOW);
    for writer in writers {
        writer.join().expect("applied");
    }
    assert_eq!(w.script.applied("k"), ["one", "two", "three"]);
}

// --- D3: the window

#[test]
fn d3_a_doubt_ends_with_the_settle_window_and_not_before() {
    let script = Script::new();
    script.declare(|declared| declared.settle_window = secs(3));
    let w = world_with(script, |b| b);
    let doubt = w.doubt("k", "stray", Does::Stray);
    w.clock.advance(secs(3) - std::time::Duration::from_nanos(1));
    w.assert_not_retained("k");
    assert_eq!(w.script.land(), 1);
    w.clock.advance(std::time::Duration::from_nanos(1));
    assert!(doubt.settles_in().is_zero());
    w.assert_settled("k");
}

/// Whoever comes by late does not make it longer.
#[test]
fn d3_how_long_doubts_lasted_is_counted_once_they_are_over() {
    let w = world();
    let counted = || (w.cache.stats().doubts_settled, w.cache.stats().doubt_millis);
    w.doubt("by time", "1", Does::Unknown);
    let told = w.doubt("by word", "1", Does::Unknown);
    w.clock.advance(secs(4));
    assert_eq!(counted(), (0, 0));
    assert!(told.settle(Settlement::NotApplied));
    assert_eq!(counted(), (1, 4_000));
    w.clock.advance(secs(60));
    w.get("by time");
    assert_eq!(counted(), (2, 14_000));
}

#[test]
fn d3_the_window_counts_from_the_latest_unknown_verdict() {
    let w = world();
    let first = w.doubt("k", "one", Does::Unknown);
    w.clock.advance(secs(6));
    let second = w.doubt("k", "two", Does::Stray);
    assert_eq!((first.settles_in(), second.settles_in()), (WINDOW, WINDOW));
    w.clock.advance(secs(6));
    w.assert_not_retained("k");
    assert_eq!(w.script.land(), 1);
    w.clock.advance(secs(4));
    w.assert_settled("k");
}

#[test]
fn d3_a_definite_answer_starts_no_window() {
    for does in [Does::Well, Does::Reject] {
        let w = world();
        let doubt = w.doubt("k", "one", Does::Unknown);
        w.clock.advance(secs(6));
        w.script.next(Op::Put, "k", does);
        let _ = w.put("k", "two");
        assert_eq!(doubt.settles_in(), secs(4));
        w.clock.advance(secs(4));
        w.assert_settled("k");
    }
}

#[test]
fn d3_the_window_of_a_write_that_outlived_its_deadline_counts_from_the_deadline() {
    let w = world();
    let sent = w.cache.prepare("k", &within(secs(2))).expect("free").send().expect("in time");
    w.clock.advance(secs(11));
    assert_eq!(w.cache.stats().in_doubt, 1);
    w.clock.advance(secs(1));
    assert_eq!(w.cache.stats().in_doubt, 0);
    drop(sent);
    w.assert_settled("k");
}

#[test]
fn d3_a_load_that_began_in_the_doubt_is_not_retained_after_it() {
    // "A doubt ends without moving the fence."
    let w = world();
    w.seed("k", "old");
    let _doubt = w.doubt("k", "stray", Does::Stray);
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.read("k", &within(secs(60))));
    gate.wait_arrived();
    assert_eq!(w.script.land(), 1);
    w.clock.advance(WINDOW);
    gate.release();
    let read = reader.join().expect("loaded").entry;
    assert_eq!(read.map(|e| e.value().clone()).as_deref(), Some("stray"));
    w.assert_settled("k");
}

// --- D3: late answers

#[test]
fn d3_a_late_definite_answer_settles_the_doubt() {
    for applied in [true, false] {
        let w = world();
        w.seed("k", "old");
        let does = if applied { Does::Well } else { Does::Reject };
        w.script.next(Op::Put, "k", does);
        let gate = w.script.hold(Op::Put, "k", When::After);
        let writer = w.start(|cache| cache.put_with("k", "new".to_owned(), &within(secs(2))).map(|put| put.kept));
        gate.wait_arrived();
        w.clock.advance(secs(2));
        assert_eq!((w.peek("k"), w.cache.stats().in_doubt), (None, 1));
        gate.release();
        match writer.join() {
            Ok(kept) => assert!(applied && !kept),
            Err(error) => assert!(!applied && !error.may_be_applied()),
        }
        assert_eq!(w.peek("k"), None, "it may have been overtaken");
        w.assert_settled("k");
    }
}

#[test]
fn d3_a_late_answer_does_not_settle_the_doubt_of_another_send() {
    let w = world();
    let a = w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time");
    w.clock.advance(secs(1));
    let _doubt = w.doubt("k", "stray", Does::Stray);
    drop(a.commit(ours("a")));
    assert_eq!(w.cache.stats().in_doubt, 1);
    assert_eq!(w.script.land(), 1);
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

#[test]
fn d3_the_last_late_answer_of_several_settles_the_doubt() {
    let w = world();
    let a = w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time");
    w.clock.advance(secs(1));
    let b = w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time");
    w.clock.advance(secs(1));
    b.reject(false);
    assert_eq!(w.cache.stats().in_doubt, 1);
    a.reject(false);
    w.assert_settled("k");
}

#[test]
fn d3_a_late_answer_after_the_window_drops_what_was_loaded_since() {
    for applied in [true, false] {
        let w = world();
        w.script.set("k", "old");
        let sent = w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time");
        w.clock.advance(secs(1) + WINDOW);
        assert_eq!(w.get("k").as_deref(), Some("old"));
        assert_eq!(w.peek("k").as_deref(), Some("old"));
        w.script.set("k", "new");
        if applied {
            drop(sent.commit(ours("new")));
        } else {
            sent.reject(true);
        }
        assert_eq!(w.peek("k"), None);
        w.assert_settled("k");
    }
}

#[test]
fn d3_a_late_answer_detaches_the_load_beside_it_and_spoils_the_write_in_flight() {
    let w = world();
    w.script.set("k", "old");
    let late = w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time");
    w.clock.advance(secs(1));
    let in_flight = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    w.script.set("k", "late");
    drop(late.commit(ours("late")));
    gate.release();
    assert_eq!(text(reader.join()).as_deref(), Some("late"));
    assert!(!in_flight.commit(ours("in flight")).kept, "the late one may have landed after it");
}

#[test]
fn d3_a_late_answer_after_the_window_does_the_same() {
    let w = world();
    w.script.set("k", "old");
    let late = w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time");
    w.clock.advance(secs(1) + WINDOW);
    let in_flight = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    assert_eq!(w.cache.stats().in_doubt, 0);
    w.script.set("k", "late");
    drop(late.commit(ours("late")));
    gate.release();
    assert_eq!(text(reader.join()).as_deref(), Some("late"));
    assert!(!in_flight.commit(ours("in flight")).kept, "nobody knows which of them came last");
    w.assert_settled("k");
}

#[test]
fn d3_a_late_unknown_after_the_window_is_settled_at_once() {
    let w = world();
    let sent = w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time");
    w.clock.advance(secs(1) + WINDOW);
    assert_eq!(w.cache.stats().in_doubt, 0);
    let doubt = sent.in_doubt(SourceError::new(Failure::TimedOut, "late"));
    assert!(doubt.settles_in().is_zero() && doubt.wait(secs(0)));
    w.assert_settled("k");
}

#[test]
fn d3_a_doubt_handle_does_not_end_before_the_overdue_write_that_prolongs_it() {
    let w = world();
    let doubt = w.doubt("k", "one", Does::Unknown);
    let sent = w.cache.prepare("k", &within(secs(9))).expect("free").send().expect("in time");
    // Nobody comes by the key between the deadline of the second write and the end of the first one's window.
    w.clock.advance(WINDOW);
    let told = doubt.settles_in();
    assert_eq!(w.cache.stats().in_doubt, 1);
    assert_eq!((told, doubt.settles_in()), (secs(9), secs(9)));
    drop(sent);
}

#[test]
fn d3_more_unsettled_sends_than_are_told_apart_are_settled_by_time_only() {
    let w = world();
    let mut late = Vec::new();
    for _ in 0..17 {
        late.push(w.cache.prepare("k", &within(secs(1))).expect("free").send().expect("in time"));
        w.clock.advance(secs(1));
    }
    for sent in late {
        sent.reject(false);
        assert_eq!(w.cache.stats().in_doubt, 1);
    }
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

// --- D3: conditions

#[test]
fn d3_a_conditional_write_settles_doubts_of_conditional_sends_only() {
    for (declared, conditional, settles) in [(true, true, true), (true, false, false), (false, true, false)] {
        let script = Script::new();
        script.declare(|d| {
            d.honours_preconditions = true;
            d.versions_never_reused = declared;
        });
        let w = world_with(script, |b| b);
        w.seed("k", "one");
        w.script.next(Op::Put, "k", Does::Stray);
        let _doubt =
            if conditional { in_doubt(w.cache.update("k", put("stray"))) } else { in_doubt(w.put("k", "stray")) };
        let kept = w.cache.update("k", put("two")).expect("applied").kept;
        assert_eq!((kept, w.cache.stats().in_doubt == 0), (settles, settles), "{declared} {conditional}");
        assert_eq!(w.script.land(), usize::from(!conditional), "a stray on a gone version cannot land");
        w.clock.advance(WINDOW);
        w.assert_settled("k");
    }
}

#[test]
fn d3_a_load_that_shows_another_version_settles_a_conditional_doubt() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::ApplyThenUnknown);
    let doubt = in_doubt(w.cache.update("k", put("two")));
    assert_eq!(w.get("k").as_deref(), Some("two"));
    assert!(doubt.settles_in().is_zero());
    w.assert_settled("k");
}

#[test]
fn d3_a_load_that_shows_the_same_version_settles_nothing() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::Stray);
    let _doubt = in_doubt(w.cache.update("k", put("stray")));
    w.assert_not_retained("k");
    assert_eq!(w.cache.stats().in_doubt, 1);
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("stray"));
    w.assert_settled("k");
}

#[test]
fn d3_another_version_settles_nothing_where_versions_may_come_again() {
    let script = Script::new();
    script.declare(|declared| declared.honours_preconditions = true);
    let w = world_with(script, |b| b);
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::Unknown);
    let doubt = in_doubt(w.cache.update("k", put("two")));
    w.script.set("k", "three");
    assert_eq!(w.get("k").as_deref(), Some("three"));
    assert_eq!(doubt.settles_in(), WINDOW);
    w.assert_not_retained("k");
}

#[test]
fn d3_a_record_that_is_gone_settles_a_doubt_conditional_on_its_version() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::Stray);
    let _doubt = in_doubt(w.cache.update("k", put("stray")));
    w.script.remove("k");
    assert_eq!(w.get("k"), None);
    assert_eq!((w.cache.stats().in_doubt, w.script.land()), (0, 0));
    w.assert_settled("k");
}

#[test]
fn d3_another_version_does_not_settle_a_doubt_that_is_conditional_on_absence() {
    // Absence comes again, other than a version: after a delete the stray may land.
    let w = conditional_world();
    w.script.next(Op::Put, "k", Does::Stray);
    let _doubt = in_doubt(w.cache.update("k", put("stray")));
    w.script.set("k", "another");
    assert_eq!(w.get("k").as_deref(), Some("another"));
    w.cache.delete("k").expect("applied");
    assert_eq!(w.get("k"), None);
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("stray"));
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

#[test]
fn d3_an_applied_conditional_write_does_not_settle_a_doubt_that_is_conditional_on_absence() {
    let w = conditional_world();
    w.script.next(Op::Put, "k", Does::Stray);
    let _doubt = in_doubt(w.cache.update("k", put("stray")));
    w.cache.update("k", put("created")).map(drop).expect("applied");
    w.cache.update("k", |_| Ok(Change::Delete)).map(drop).expect("applied");
    assert_eq!(w.get("k"), None);
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("stray"));
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

// --- D4: strays of a source that retries

#[test]
fn d4_a_write_applied_after_an_unknown_send_stays_in_doubt_unless_the_origin_honours_its_key() {
    for honoured in [false, true] {
        let script = Script::new();
        script.declare(|declared| declared.honours_idempotency = honoured);
        let w = world_with(script, |b| b);
        w.script.next(Op::Put, "k", Does::AfterStray(Box::new(Does::Well)));
        let written = w.cache.put("k", "one".to_owned()).expect("applied, and said so");
        assert_eq!((written.kept, w.cache.stats().in_doubt == 0), (honoured, honoured));
        assert_eq!(written.entry.map(|e| e.value().clone()).as_deref(), Some("one"));
        if !honoured {
            w.put("k", "two").expect("applied");
            w.assert_not_retained("k");
            assert_eq!(w.script.land(), 1);
            assert_eq!(w.get("k").as_deref(), Some("one"));
            w.clock.advance(WINDOW);
            w.assert_settled("k");
        }
    }
}

#[test]
fn d4_a_delete_applied_after_an_unknown_send_stays_in_doubt() {
    let w = world_with(Script::new(), |b| b.absent_after_delete(true));
    w.seed("k", "one");
    w.script.next(Op::Delete, "k", Does::AfterStray(Box::new(Does::Well)));
    w.cache.delete("k").map(drop).expect("applied");
    assert_eq!(w.cache.stats().in_doubt, 1);
    w.assert_not_retained("k");
}

#[test]
fn d4_a_late_applied_after_an_unknown_send_does_not_settle_the_doubt() {
    let w = world();
    w.script.next(Op::Put, "k", Does::AfterStray(Box::new(Does::Well)));
    let gate = w.script.hold(Op::Put, "k", When::After);
    let writer = w.start(|cache| cache.put_with("k", "one".to_owned(), &within(secs(2))).map(|put| put.kept));
    gate.wait_arrived();
    w.clock.advance(secs(2));
    assert_eq!(w.cache.stats().in_doubt, 1);
    gate.release();
    assert!(!writer.join().expect("applied, and said so"));
    w.script.set("k", "outside");
    w.assert_not_retained("k");
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("one"), "the first send landed");
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

#[test]
fn d4_what_the_doubt_needs_was_reserved_before_the_send() {
    let w = world_with(Script::new(), |b| b.most_doubts(2));
    for round in 0..3 {
        let a = w.cache.prepare("a", &Call::new()).expect("free").send().expect("in time");
        let b = w.cache.prepare("b", &Call::new()).expect("free").send().expect("in time");
        assert!(matches!(not_sent(w.put("c", "none left")), NotSent::TooManyDoubts), "round {round}");
        drop((a, b));
        assert_eq!(w.cache.stats().in_doubt, 2);
        w.clock.advance(WINDOW);
    }
    w.put("c", "one").expect("applied");
}

// --- as the handle tells it

#[test]
fn d3_a_write_that_is_out_prolongs_the_doubt_from_its_deadline_on() {
    let w = world();
    let doubt = w.doubt("k", "one", Does::Unknown);
    let sent = w.cache.prepare("k", &within(secs(5))).expect("free").send().expect("in time");
    assert_eq!(doubt.settles_in(), WINDOW);
    w.clock.advance(secs(4));
    assert_eq!(doubt.settles_in(), WINDOW - secs(4));
    w.clock.advance(secs(1));
    assert_eq!(doubt.settles_in(), WINDOW);
    drop(sent);
}

#[test]
fn d3_a_write_that_ended_in_time_or_is_due_later_does_not_prolong_the_doubt() {
    let w = world();
    let doubt = w.doubt("k", "one", Does::Unknown);
    w.cache.prepare("k", &within(secs(5))).expect("free").send().expect("in time").reject(false);
    w.clock.advance(secs(6));
    assert_eq!(doubt.settles_in(), WINDOW - secs(6));
    let sent = w.cache.prepare("k", &within(secs(7))).expect("free").send().expect("in time");
    w.clock.advance(secs(4));
    assert!(doubt.settles_in().is_zero());
    w.clock.advance(secs(3));
    assert!(doubt.settles_in().is_zero(), "the write is in a doubt of its own");
    assert_eq!(w.cache.stats().in_doubt, 1);
    drop(sent);
}

#[test]
fn d3_a_write_that_is_due_as_the_doubt_ends_prolongs_it_for_handle_and_key_alike() {
    let w = world();
    let doubt = w.doubt("k", "one", Does::Unknown);
    let sent = w.cache.prepare("k", &within(WINDOW)).expect("free").send().expect("in time");
    w.clock.advance(WINDOW);
    assert_eq!(doubt.settles_in(), WINDOW, "before anybody comes by");
    assert_eq!((w.cache.stats().in_doubt, doubt.settles_in()), (1, WINDOW));
    drop(sent);
}

#[test]
fn d3_who_waits_is_woken_when_an_answer_settles_the_doubt() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::Unknown);
    let doubt = in_doubt(w.cache.update("k", put("two")));
    let waiter = w.until_it_waits(move |_| doubt.wait(secs(60)));
    w.script.set("k", "three");
    assert_eq!(w.get("k").as_deref(), Some("three"));
    assert!(waiter.join(), "it has settled");
}

/// A cache whose key 1 is in doubt. The origin honours conditions, but gives no versions to make one of.
fn unversioned(in_doubt_writes: InDoubtWrites) -> (ManualClock, Cache<u32, u64>) {
    let clock = ManualClock::new();
    let source = Fns::<Typed<u32, u64>>::get(|_, _| Ok(Loaded::Found(Record::new(1))))
        .put(|_, _, _| Outcome::Unknown(broken()))
        .declared(|declared| declared.honours_preconditions = true);
    let builder = Cache::builder(source).clock(clock.shared()).clean_start(true).in_doubt_writes(in_doubt_writes);
    let cache = builder.build().expect("options that make sense");
    let _doubt = in_doubt(cache.put(&1, 2));
    (clock, cache)
}

#[test]
fn d2_an_update_of_a_record_without_version_is_held_back_like_any_unconditional_write() {
    let (clock, cache) = unversioned(InDoubtWrites::Wait);
    clock.advance(secs(3));
    let held = not_sent(cache.update(&1, |_| Ok(Change::Put(3))));
    assert!(matches!(held, NotSent::HeldBack { retry_after } if retry_after == WINDOW - secs(3)), "{held}");
    assert!(cache.update(&1, |_| Ok(Change::Keep)).is_ok(), "it sends nothing");
    let (_, cache) = unversioned(InDoubtWrites::Send);
    let _sent = in_doubt(cache.update(&1, |_| Ok(Change::Put(3))));
}
