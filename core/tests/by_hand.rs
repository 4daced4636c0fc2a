//! Chapters 1 and 4 of the contract, A3 and D3: doubts that are settled by a replay, or by the word of the program.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use wtcache::{
    Change, Condition, Expect, Failure, InDoubt, InDoubtWrites, Lifetime, NotSent, ReplayError, Settlement,
    SourceError, Version, Written,
};
use wtcache_testkit::{Does, Op, Script, When};

/// A world whose origin honours idempotency keys, or does not.
fn keyed_world(honoured: bool) -> World {
    let script = Script::new();
    script.declare(|declared| declared.honours_idempotency = honoured);
    world_with(script, |b| b)
}

fn replay(doubt: &InDoubt<Texts>) -> Result<Written<Texts>, ReplayError<Texts>> {
    doubt.replay(&within(secs(5)))
}

#[track_caller]
fn applied(result: Result<Written<Texts>, ReplayError<Texts>>) -> bool {
    result.expect("applied").kept
}

#[track_caller]
fn still_in_doubt(result: Result<Written<Texts>, ReplayError<Texts>>) -> InDoubt<Texts> {
    match result {
        Err(ReplayError::InDoubt(doubt)) => doubt,
        Err(other) => panic!("not in doubt: {other}"),
        Ok(_) => panic!("not in doubt: applied"),
    }
}

// --- D3: replay

#[test]
fn d3_a_replay_under_an_honoured_key_settles_and_shows_the_record() {
    for does in [Does::Unknown, Does::ApplyThenUnknown, Does::Stray] {
        let w = keyed_world(true);
        w.seed("k", "old");
        let doubt = w.doubt("k", "new", does);
        assert_eq!((doubt.outcome(), doubt.key().as_str()), (None, "k"));
        assert!(applied(replay(&doubt)));
        assert_eq!(doubt.outcome(), Some(Settlement::Applied));
        assert_eq!((w.peek("k").as_deref(), w.cache.stats().in_doubt), (Some("new"), 0));
        assert_eq!(w.script.land(), 0, "the origin knows the first send by its key");
        w.assert_settled("k");
        let [first, second] = &w.script.log()[1..3] else { panic!("two sends") };
        assert_eq!((&first.value, &first.idempotency_key), (&second.value, &second.idempotency_key));
        assert_eq!(first.idempotency_key.as_deref(), Some(doubt.idempotency_key().to_string().as_str()));
    }
}

#[test]
fn d3_a_replay_settles_nothing_unless_the_key_is_honoured() {
    let w = keyed_world(false);
    let doubt = w.doubt("k", "one", Does::Stray);
    assert!(!applied(replay(&doubt)), "said to be applied, and not retained");
    assert_eq!((doubt.outcome(), w.cache.stats().in_doubt), (None, 1));
    w.put("k", "two").expect("applied");
    w.assert_not_retained("k");
    assert_eq!(w.script.land(), 1, "the first send lands all the same");
    assert_eq!(w.get("k").as_deref(), Some("one"));
    // Refused, it says nothing of the first send either.
    w.script.next(Op::Put, "k", Does::Reject);
    let again = still_in_doubt(replay(&doubt));
    assert_eq!((again.cause().code(), again.outcome()), (Some(422), None));
    w.clock.advance(WINDOW);
    assert_eq!((doubt.outcome(), again.outcome()), (Some(Settlement::Over), Some(Settlement::Over)));
    w.assert_settled("k");
}

#[test]
fn d3_a_replay_that_is_refused_settles_the_write_as_not_applied() {
    for does in [Does::Reject, Does::RejectStale] {
        let w = keyed_world(true);
        w.script.set("k", "old");
        let doubt = w.doubt("k", "new", Does::Stray);
        w.script.next(Op::Put, "k", does);
        let refused = replay(&doubt).map(drop).expect_err("refused");
        assert!(matches!(refused, ReplayError::Rejected(_)) && !refused.may_be_applied(), "{refused}");
        assert_eq!((doubt.outcome(), w.cache.stats().in_doubt), (Some(Settlement::NotApplied), 0));
        assert_eq!(w.script.land(), 0);
        w.assert_settled("k");
    }
}

#[test]
fn d3_a_replay_that_was_throttled_settles_nothing() {
    let w = keyed_world(true);
    w.script.set("k", "old");
    let doubt = w.doubt("k", "new", Does::Stray);
    w.clock.advance(secs(4));
    w.script.next(Op::Put, "k", Does::Throttle);
    let again = still_in_doubt(replay(&doubt));
    assert_eq!(again.cause().retry_after(), Some(secs(1)));
    assert_eq!((again.outcome(), again.settles_in()), (None, secs(6)), "a definite answer starts no window");
    w.assert_not_retained("k");
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("new"));
    assert!(applied(replay(&again)), "the handle of the error can do what the first one can");
    w.assert_settled("k");
}

#[test]
fn d3_a_replay_that_was_not_sent_settles_nothing() {
    let w = keyed_world(true);
    let doubt = w.doubt("k", "new", Does::Stray);
    let turn = w.cache.prepare("k", &within(secs(60))).expect("free");
    let waits = {
        let doubt = doubt.clone();
        w.until_it_waits(move |_| doubt.replay(&within(secs(1))).map(drop))
    };
    w.clock.advance(secs(1));
    let late = waits.join().expect_err("too late");
    assert!(matches!(late, ReplayError::NotSent(NotSent::Deadline)) && late.may_be_applied(), "{late}");
    turn.abort();
    assert_eq!((doubt.outcome(), w.script.calls(Op::Put, "k"), w.cache.stats().in_doubt), (None, 1, 1));
    assert_eq!(w.script.land(), 1);
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

#[test]
fn d3_a_replay_settles_its_own_write_only() {
    let w = keyed_world(true);
    let first = w.doubt("k", "one", Does::ApplyThenUnknown);
    let second = w.doubt("k", "two", Does::Stray);
    assert!(!applied(replay(&first)));
    assert_eq!((first.outcome(), second.outcome()), (Some(Settlement::Applied), None));
    assert_eq!(w.cache.stats().in_doubt, 1);
    w.assert_not_retained("k");
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("two"));
    assert!(!applied(replay(&second)), "the other may have landed after it");
    assert_eq!(second.outcome(), Some(Settlement::Applied));
    w.assert_settled("k");
}

/// The origin answers a replay as it answered the first send, though much may have happened since.
#[test]
fn d3_an_old_answer_is_not_shown() {
    let w = keyed_world(true);
    let doubt = w.doubt("k", "one", Does::ApplyThenUnknown);
    w.put("k", "two").expect("applied");
    let written = replay(&doubt).expect("it was applied, then");
    assert_eq!((written.kept, written.entry.map(|e| e.value().clone()).as_deref()), (false, Some("one")));
    assert_eq!((w.cache.stats().in_doubt, w.peek("k")), (0, None));
    assert_eq!(w.get("k").as_deref(), Some("two"));
    w.assert_settled("k");
}

#[test]
fn d3_an_old_answer_is_not_shown_after_an_invalidation_either() {
    for before_the_verdict in [true, false] {
        let w = keyed_world(true);
        let gate = w.script.hold(Op::Put, "k", When::After);
        w.script.next(Op::Put, "k", Does::ApplyThenUnknown);
        let writer = w.start(|cache| cache.put("k", "one".to_owned()).map(drop));
        gate.wait_arrived();
        let outside = || {
            w.script.set("k", "outside");
            w.cache.invalidate("k");
        };
        if before_the_verdict {
            outside();
        }
        gate.release();
        let doubt = in_doubt(writer.join());
        if !before_the_verdict {
            outside();
        }
        assert!(!applied(replay(&doubt)));
        assert_eq!(w.peek("k"), None);
        w.assert_settled("k");
    }
}

/// What the origin answers a replay may be as old as the first send, and its lifetime counts from there.
#[test]
fn f1_the_lifetime_of_a_replayed_record_counts_from_the_first_send() {
    let w = keyed_world(true);
    let doubt = w.doubt("k", "one", Does::Unknown);
    w.clock.advance(secs(4));
    w.script.next(Op::Put, "k", Does::For(Lifetime::For(secs(9))));
    assert!(applied(replay(&doubt)));
    w.clock.advance(secs(5) - Duration::from_nanos(1));
    assert_eq!(w.peek("k").as_deref(), Some("one"));
    w.clock.advance(Duration::from_nanos(1));
    assert_eq!(w.peek("k"), None);
}

#[test]
fn c0_what_a_replay_is_told_of_the_first_window_ends_with_it() {
    let script = Script::new();
    script.declare(|declared| declared.honours_idempotency = true);
    let w = world_with(script, |b| b.clean_start(false));
    w.clock.advance(secs(9));
    let doubt = w.doubt("k", "one", Does::ApplyThenUnknown);
    // A stray of the earlier process.
    w.script.set("k", "stray");
    w.clock.advance(secs(1));
    assert!(!applied(replay(&doubt)));
    assert_eq!(w.peek("k"), None);
    w.assert_settled("k");
}

#[test]
fn d3_a_replay_that_ends_unknown_starts_the_window_anew() {
    for honoured in [false, true] {
        let w = keyed_world(honoured);
        let doubt = w.doubt("k", "one", Does::Unknown);
        w.clock.advance(secs(6));
        w.script.next(Op::Put, "k", Does::Stray);
        let again = still_in_doubt(replay(&doubt));
        assert_eq!((doubt.settles_in(), again.settles_in()), (WINDOW, WINDOW));
        let listed = w.cache.doubts(10);
        assert_eq!(listed.iter().map(|of| of.unsettled).collect::<Vec<_>>(), [2]);
        w.clock.advance(secs(6));
        w.assert_not_retained("k");
        if honoured {
            assert!(applied(replay(&again)), "the answer settles both sends: they are one write");
        } else {
            assert_eq!(w.script.land(), 1);
            w.clock.advance(secs(4));
        }
        w.assert_settled("k");
    }
}

#[test]
fn d3_a_replay_after_the_doubt_was_over_is_a_write_whose_answer_may_be_old() {
    let w = keyed_world(true);
    let doubt = w.doubt("k", "one", Does::ApplyThenUnknown);
    w.clock.advance(WINDOW);
    assert_eq!(doubt.outcome(), Some(Settlement::Over));
    w.seed("k", "two");
    assert!(!applied(replay(&doubt)));
    assert_eq!((doubt.outcome(), w.peek("k")), (Some(Settlement::Applied), None));
    w.assert_settled("k");
    // And one that ends unknown begins another doubt.
    w.script.next(Op::Put, "k", Does::Unknown);
    let again = still_in_doubt(replay(&doubt));
    assert_eq!((again.settles_in(), w.cache.stats().in_doubt), (WINDOW, 1));
    assert!(!applied(replay(&again)), "what was told between the two is not known to it");
    w.assert_settled("k");
}

#[test]
fn d3_a_late_answer_to_a_replay_settles_as_one_in_time() {
    for (does, became) in [(Does::Well, Settlement::Applied), (Does::Reject, Settlement::NotApplied)] {
        let w = keyed_world(true);
        let doubt = w.doubt("k", "one", Does::Unknown);
        w.script.next(Op::Put, "k", does);
        let gate = w.script.hold(Op::Put, "k", When::After);
        let replayed = {
            let doubt = doubt.clone();
            w.start(move |_| doubt.replay(&within(secs(2))).map(|written| written.kept).unwrap_or(false))
        };
        gate.wait_arrived();
        w.clock.advance(secs(2));
        assert_eq!(w.cache.stats().writes_open, 0, "overdue");
        gate.release();
        assert!(!replayed.join());
        assert_eq!((doubt.outcome(), w.cache.stats().in_doubt), (Some(became), 0));
        w.assert_settled("k");
    }
}

#[test]
fn d3_a_replay_waits_for_its_turn_and_not_for_the_doubt() {
    let script = Script::new();
    script.declare(|declared| declared.honours_idempotency = true);
    let w = world_with(script, |b| b.in_doubt_writes(InDoubtWrites::Wait));
    let doubt = w.doubt("k", "one", Does::Stray);
    let held = w.until_it_waits(|cache| cache.put_with("k", "two".to_owned(), &within(secs(60))).map(drop));
    let turn = w.cache.prepare("k", &within(secs(1)));
    assert!(matches!(turn, Err(NotSent::HeldBack { .. })), "permits are held back too");
    assert!(applied(replay(&doubt)));
    held.join().expect("the doubt is over");
    assert_eq!(w.script.truth("k").as_deref(), Some("two"));
}

#[test]
fn d3_a_delete_and_a_condition_are_replayed_as_they_were() {
    let script = Script::new();
    script.declare(|declared| {
        declared.honours_idempotency = true;
        declared.honours_preconditions = true;
        declared.versions_never_reused = true;
    });
    let w = world_with(script, |b| b.absent_after_delete(true));
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::ApplyThenUnknown);
    let doubt = in_doubt(w.cache.update("k", |_| Ok(Change::Put("two".to_owned()))));
    assert!(applied(replay(&doubt)), "answered as the first send was, though the version is gone");
    w.script.next(Op::Delete, "k", Does::Stray);
    let doubt = in_doubt(w.cache.delete_if("k", Expect::Exists));
    let loads = w.loads("k");
    applied(replay(&doubt));
    assert_eq!((w.get("k"), w.script.truth("k"), w.script.land()), (None, None, 0));
    let writes: Vec<_> = w.script.log().into_iter().filter(|seen| seen.op != Op::Get).collect();
    assert_eq!((&writes[1].condition, &writes[3].condition), (&writes[2].condition, &writes[4].condition));
    assert!(writes[1].condition.is_some() && writes[3].condition.is_some());
    assert_eq!(w.loads("k"), loads, "the absence was kept");
}

/// The origin may answer a replay from memory: that it was applied says nothing of the version that is there now.
#[test]
fn d3_a_replay_on_a_version_settles_no_other_write() {
    let script = Script::new();
    script.declare(|declared| {
        declared.honours_idempotency = true;
        declared.honours_preconditions = true;
        declared.versions_never_reused = true;
    });
    let w = world_with(script, |b| b);
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::ApplyThenUnknown);
    let first = in_doubt(w.cache.update("k", |_| Ok(Change::Put("two".to_owned()))));
    w.script.next(Op::Put, "k", Does::Stray);
    // Of the version that the first one made: all sends in doubt are on versions now.
    let second = in_doubt(w.cache.update("k", |_| Ok(Change::Put("stray".to_owned()))));
    assert!(!applied(replay(&first)));
    assert_eq!((w.cache.stats().in_doubt, second.outcome()), (1, None));
    let conditions: Vec<_> = w.script.log().into_iter().filter_map(|seen| seen.condition).collect();
    assert_eq!(conditions, ["v1", "v2", "v1"].map(|v| Condition::Version(Version::new(v).expect("short"))));
    assert_eq!(w.script.land(), 1, "the record still has the version that it was sent on");
    assert_eq!(w.get("k").as_deref(), Some("stray"));
}

#[test]
fn a3_a_write_that_the_program_sent_itself_is_settled_and_not_replayed() {
    let w = keyed_world(true);
    let sent = w.cache.prepare("k", &within(secs(2))).expect("free").send().expect("in time");
    let doubt = sent.in_doubt(SourceError::new(Failure::Broken, "no answer"));
    let not_ours = replay(&doubt).map(drop).expect_err("it has nothing to send");
    assert!(matches!(not_ours, ReplayError::NotSent(NotSent::NotOurs)), "{not_ours}");
    assert!(doubt.settle(Settlement::Applied));
    assert_eq!(doubt.outcome(), Some(Settlement::Applied));
    w.assert_settled("k");
}

#[test]
fn a3_a_replay_on_a_closed_cache_is_not_sent() {
    let w = keyed_world(true);
    let doubt = w.doubt("k", "one", Does::Unknown);
    w.cache.close(secs(0));
    let closed = replay(&doubt).map(drop).expect_err("closed");
    assert!(matches!(closed, ReplayError::NotSent(NotSent::Closed)), "{closed}");
    assert!(!w.cache.settle("k", Settlement::Over), "a closed cache keeps no account");
}

/// An error value may be kept for long, and a cache that the program let go must not stay for it.
#[test]
fn b4_the_handle_of_a_doubt_keeps_no_cache_alive() {
    let held = Arc::new(());
    let alive = Arc::downgrade(&held);
    let weigher = move |_: &String, _: Option<&String>| u64::from(Arc::strong_count(&held) > 0);
    let script = Script::new();
    script.declare(|declared| declared.honours_idempotency = true);
    let w = world_with(script, |b| b.weigher(weigher));
    let [settled, waited] = ["a", "b"].map(|key| w.doubt(key, "one", Does::Unknown));
    let World { cache, clock, script } = w;
    assert!(alive.upgrade().is_some());
    drop(cache);
    assert!(alive.upgrade().is_none(), "what the cache owned is gone");
    let closed = replay(&settled).map(drop).expect_err("the cache is gone");
    assert!(matches!(closed, ReplayError::NotSent(NotSent::Closed)) && closed.may_be_applied(), "{closed}");
    assert_eq!(script.calls(Op::Put, "a"), 1);
    assert!(settled.settle(Settlement::NotApplied));
    assert_eq!((settled.outcome(), waited.outcome()), (Some(Settlement::NotApplied), None));
    assert_eq!((waited.settles_in(), waited.key().as_str()), (WINDOW, "b"));
    clock.advance(WINDOW);
    assert!(waited.wait(secs(0)));
    assert_eq!(waited.outcome(), Some(Settlement::Over));
}

// --- D4: what a refusal says of an earlier send

#[test]
fn a2_a_resend_that_is_throttled_proves_nothing_though_the_key_is_honoured() {
    let w = keyed_world(true);
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::AfterStray(Box::new(Does::Throttle)));
    let _doubt = in_doubt(w.put("k", "two"));
    assert_eq!(w.peek("k"), None);
    assert_eq!(w.script.land(), 1);
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

// --- D3: the word of the program

#[test]
fn d3_a_doubt_settled_by_hand_moves_the_fence() {
    for one in [false, true] {
        let w = world();
        w.script.set("k", "old");
        let doubt = w.doubt("k", "new", Does::Stray);
        let gate = w.script.hold(Op::Get, "k", When::After);
        let reader = w.start(|cache| cache.get("k"));
        gate.wait_arrived();
        assert_eq!(w.script.land(), 1);
        assert!(if one { doubt.settle(Settlement::Applied) } else { w.cache.settle("k", Settlement::Applied) });
        gate.release();
        assert_eq!(text(reader.join()).as_deref(), Some("new"), "it looks again");
        assert_eq!(doubt.outcome(), Some(Settlement::Applied));
        w.assert_settled("k");
    }
}

#[test]
fn d3_a_doubt_settled_by_hand_spoils_the_write_in_flight() {
    let w = world();
    let _doubt = w.doubt("k", "stray", Does::Stray);
    let gate = w.script.hold(Op::Put, "k", When::After);
    let writer = w.start(|cache| cache.put("k", "two".to_owned()).map(|written| written.kept));
    gate.wait_arrived();
    assert_eq!(w.script.land(), 1);
    assert!(w.cache.settle("k", Settlement::Over));
    gate.release();
    assert!(!writer.join().expect("applied"), "the stray landed after it");
    w.assert_settled("k");
}

#[test]
fn d3_settling_one_write_leaves_the_doubt_of_another() {
    let w = world();
    let first = w.doubt("k", "one", Does::Unknown);
    let second = w.doubt("k", "two", Does::Stray);
    assert!(!first.settle(Settlement::NotApplied));
    assert_eq!((first.outcome(), second.outcome()), (Some(Settlement::NotApplied), None));
    w.assert_not_retained("k");
    assert_eq!(w.script.land(), 1);
    assert!(second.settle(Settlement::Applied));
    w.assert_settled("k");
}

/// Found by the interleavings: the reader joined a load that began before the write landed.
#[test]
fn d3_settling_one_write_of_several_detaches_the_load_beside_it() {
    let w = world();
    w.script.set("k", "old");
    let stray = w.doubt("k", "new", Does::Stray);
    let _other = w.doubt("k", "lost", Does::Unknown);
    let gate = w.script.hold(Op::Get, "k", When::After);
    let reader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    assert_eq!(w.script.land(), 1);
    assert!(!stray.settle(Settlement::Applied));
    let after = w.start(|cache| cache.get("k"));
    assert_eq!(text(after.join()).as_deref(), Some("new"), "it began after the write was known to be applied");
    gate.release();
    assert_eq!(text(reader.join()).as_deref(), Some("new"));
}

#[test]
fn d3_settling_twice_or_what_is_not_in_doubt_changes_nothing() {
    let w = world();
    assert!(!w.cache.settle("k", Settlement::Over));
    let doubt = w.doubt("k", "one", Does::Unknown);
    assert!(w.cache.settle("k", Settlement::NotApplied));
    assert!(!w.cache.settle("k", Settlement::Applied));
    assert_eq!(doubt.outcome(), Some(Settlement::NotApplied));
    w.seed("k", "two");
    assert!(doubt.settle(Settlement::NotApplied), "it is in no doubt");
    assert_eq!(w.peek("k").as_deref(), Some("two"));
}

#[test]
fn d3_settling_by_hand_lets_writers_go_that_were_held_back() {
    let w = world_with(Script::new(), |b| b.in_doubt_writes(InDoubtWrites::Wait));
    let _doubt = w.doubt("k", "lost", Does::Unknown);
    let held = w.until_it_waits(|cache| cache.put_with("k", "new".to_owned(), &within(secs(60))).map(|put| put.kept));
    assert!(w.cache.settle("k", Settlement::NotApplied));
    assert!(held.join().expect("applied"));
    w.assert_settled("k");
}

#[test]
fn a3_who_waits_on_a_doubt_learns_what_became_of_the_write() {
    type Settles = fn(&World, &InDoubt<Texts>);
    let cases: [(Settles, Settlement); 4] = [
        (|w, _| assert!(w.cache.settle("k", Settlement::Applied)), Settlement::Applied),
        (|_, doubt| assert!(doubt.settle(Settlement::NotApplied)), Settlement::NotApplied),
        (|_, doubt| assert!(applied(replay(doubt))), Settlement::Applied),
        (|w, _| w.clock.advance(WINDOW), Settlement::Over),
    ];
    for (settle, became) in cases {
        let w = keyed_world(true);
        let doubt = w.doubt("k", "one", Does::Unknown);
        let waits = {
            let doubt = doubt.clone();
            w.until_it_waits(move |_| (doubt.wait(secs(60)), doubt.outcome()))
        };
        settle(&w, &doubt);
        assert_eq!(waits.join(), (true, Some(became)));
    }
}

// --- the listing

#[test]
fn a3_doubts_are_listed_by_key_since_when_and_until_when() {
    let w = world();
    assert_eq!(w.cache.doubts(10), []);
    let _a = w.doubt("a", "one", Does::Unknown);
    let begun = w.cache.now();
    w.clock.advance(secs(3));
    let _a = w.doubt("a", "two", Does::Unknown);
    // Overdue, and nobody comes by.
    let sent = w.cache.prepare("b", &within(secs(2))).expect("free").send().expect("in time");
    w.clock.advance(secs(4));
    let mut listed = w.cache.doubts(10);
    listed.sort_by(|a, b| a.key.cmp(&b.key));
    let [a, b] = &listed[..] else { panic!("{listed:?}") };
    let second = begun.after(secs(3));
    assert_eq!((a.key.as_str(), a.since, a.until, a.unsettled), ("a", begun, second.after(WINDOW), 2));
    let overdue = second.after(secs(2));
    assert_eq!((b.key.as_str(), b.since, b.until, b.unsettled), ("b", overdue, overdue.after(WINDOW), 1));
    drop(sent);
    w.clock.advance(WINDOW);
    assert_eq!(w.cache.doubts(10), []);
}

#[test]
fn b2_a_listing_of_doubts_is_as_long_as_asked_for_at_most() {
    let w = world();
    for n in 0..20 {
        let _doubt = w.doubt(&format!("k{n}"), "one", Does::Unknown);
    }
    for most in [0, 1, 7, 20] {
        let listed = w.cache.doubts(most);
        let keys: std::collections::HashSet<_> = listed.iter().map(|of| of.key.clone()).collect();
        assert_eq!(keys.len(), most);
    }
    assert_eq!(w.cache.doubts(usize::MAX).len(), 20);
}
