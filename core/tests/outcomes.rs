//! Chapter 1 of the contract: the three outcomes of a write.

mod common;

use std::error::Error;

use common::*;
use wtcache::{Cache, Failure, Lifetime, LoadError, NotSent, SourceError, WriteError};
use wtcache_testkit::{Does, Op, Script, When};

// --- A1: three outcomes

#[test]
fn a1_an_applied_write_commits_the_origins_record_with_version_and_lifetime() {
    let w = world();
    w.script.next(Op::Put, "k", Does::For(Lifetime::For(secs(7))));
    let written = w.cache.put("k", "one".to_owned()).expect("applied");
    assert!(written.kept);
    let entry = w.cache.peek("k").expect("resident");
    assert_eq!((entry.value().as_str(), entry.version()), ("one", Some(&b"v1"[..])));
    assert_eq!(entry.remaining(w.cache.now()), secs(7));
    assert_eq!(written.entry.map(|e| e.value().clone()).as_deref(), Some("one"));
    assert_eq!(w.loads("k"), 0);
}

#[test]
fn a1_what_was_sent_is_believed_only_of_a_source_that_stores_verbatim() {
    for verbatim in [true, false] {
        let script = Script::new();
        script.declare(|declared| declared.stores_verbatim = verbatim);
        let w = world_with(script, |b| b);
        w.script.next(Op::Put, "k", Does::AsSent);
        let written = w.cache.put("k", "one".to_owned()).expect("applied");
        assert_eq!((written.kept, written.entry.is_some()), (verbatim, verbatim));
        assert_eq!(w.peek("k").is_some(), verbatim);
        assert_eq!(w.get("k").as_deref(), Some("one"));
        assert_eq!(w.loads("k"), usize::from(!verbatim));
    }
}

#[test]
fn a1_an_applied_write_that_was_not_seen_leaves_the_base_unknown_and_no_doubt() {
    let w = world();
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::Unseen);
    let written = w.cache.put("k", "two".to_owned()).expect("applied");
    assert!(written.entry.is_none() && !written.kept);
    assert_eq!(w.peek("k"), None);
    w.assert_settled("k");
}

#[test]
fn a1_an_unknown_write_is_never_told_as_rejected() {
    for does in [Does::Unknown, Does::ApplyThenUnknown, Does::Stray, Does::Panic] {
        let w = world();
        w.seed("k", "one");
        let doubt = w.doubt("k", "two", does);
        assert_eq!(doubt.settles_in(), WINDOW);
        assert_eq!(w.peek("k"), None);
        assert_eq!(w.cache.stats().writes_unknown, 1);
        assert_eq!(w.cache.stats().writes_rejected, 0);
    }
}

// --- A2: what proves a rejection

#[test]
fn a2_a_panic_of_the_source_is_unknown() {
    let w = world();
    let doubt = w.doubt("k", "one", Does::Panic);
    assert!(doubt.cause().message().contains("scripted"), "{doubt}");
    w.assert_not_retained("k");
}

#[test]
fn a2_a_panic_in_a_delete_is_unknown() {
    let w = world();
    w.seed("k", "one");
    w.script.next(Op::Delete, "k", Does::Panic);
    let _ = in_doubt(w.cache.delete("k"));
    assert_eq!(w.peek("k"), None);
}

#[test]
fn a2_a_deadline_in_the_queue_is_not_sent() {
    let w = world();
    let holder = w.cache.prepare("k", &within(secs(60))).expect("the turn is free");
    let waiter = w.until_it_waits(|cache| cache.put_with("k", "one".to_owned(), &within(secs(2))));
    w.clock.advance(secs(2));
    assert!(matches!(not_sent(waiter.join()), NotSent::Deadline));
    assert_eq!(w.script.log(), []);
    holder.abort();
    w.seed("k", "two");
}

#[test]
fn a2_a_full_queue_is_not_sent() {
    let w = world_with(Script::new(), |b| b.turn_queue(1));
    let holder = w.cache.prepare("k", &within(secs(60))).expect("the turn is free");
    let waiter = w.until_it_waits(|cache| cache.put("k", "one".to_owned()).map(drop));
    assert!(matches!(not_sent(w.put("k", "two")), NotSent::QueueFull));
    holder.abort();
    waiter.join().expect("applied");
    assert_eq!(w.script.applied("k"), ["one"]);
}

#[test]
fn a2_no_place_for_a_doubt_is_not_sent() {
    let w = world_with(Script::new(), |b| b.most_doubts(1));
    let _doubt = w.doubt("k", "one", Does::Unknown);
    assert!(matches!(not_sent(w.put("other", "two")), NotSent::TooManyDoubts));
    w.clock.advance(WINDOW);
    w.put("other", "three").expect("the place is free again");
}

#[test]
fn a2_a_place_held_by_a_permit_past_its_deadline_is_free_again() {
    let w = world_with(Script::new(), |b| b.most_doubts(1));
    for _ in 0..3 {
        let held = w.cache.prepare("k", &within(secs(1))).expect("a place is free");
        assert!(matches!(not_sent(w.put("other", "one")), NotSent::TooManyDoubts));
        w.clock.advance(secs(1));
        w.put("other", "two").expect("the permit is over");
        assert!(matches!(held.send(), Err(NotSent::Deadline)));
    }
}

#[test]
fn a2_a_deadline_of_zero_sends_nothing() {
    let w = world();
    let put = w.cache.put_with("k", "one".to_owned(), &within(secs(0)));
    assert!(matches!(not_sent(put), NotSent::Deadline));
    assert!(matches!(not_sent(w.cache.delete_with("k", &within(secs(0)))), NotSent::Deadline));
    let read = w.cache.read("k", &within(secs(0)));
    assert!(matches!(read.err(), Some(LoadError::Deadline)));
    assert_eq!(w.script.log(), []);
}

#[test]
fn a2_a_write_that_left_a_stray_is_rejected_by_no_refusal() {
    for honoured in [false, true] {
        let script = Script::new();
        script.declare(|declared| declared.honours_idempotency = honoured);
        let w = world_with(script, |b| b);
        w.seed("k", "one");
        w.script.next(Op::Put, "k", Does::AfterStray(Box::new(Does::Reject)));
        let result = w.put("k", "two");
        if honoured {
            let _ = rejected(result);
            assert_eq!(w.peek("k").as_deref(), Some("one"));
        } else {
            let _ = in_doubt(result);
            w.assert_not_retained("k");
            assert_eq!(w.script.land(), 1);
            w.clock.advance(WINDOW);
            w.assert_settled("k");
        }
    }
}

#[test]
fn a2_after_the_send_a_caller_that_goes_away_changes_nothing() {
    let w = world();
    let gate = w.script.hold(Op::Put, "k", When::Before);
    let caller = w.start(|cache| cache.put("k", "one".to_owned()).map(drop));
    gate.wait_arrived();
    drop(caller);
    // The next in the queue is granted the turn once the first is over.
    let next = w.until_it_waits(|cache| {
        cache
            .update("k", |now| {
                assert_eq!(now.map(|e| e.value().as_str()), Some("one"));
                Ok(wtcache::Change::Keep)
            })
            .map(drop)
    });
    gate.release();
    next.join().expect("nothing to send");
    assert_eq!(w.peek("k").as_deref(), Some("one"));
}

#[test]
fn a2_a_source_that_refuses_by_its_own_check_is_rejected() {
    struct ReadOnly;
    impl wtcache::Source<Texts> for ReadOnly {
        fn get(&self, _: &String, _: &wtcache::LoadCx<'_, Texts>) -> Result<wtcache::Loaded<String>, SourceError> {
            Ok(wtcache::Loaded::Absent)
        }
    }
    let cache: Cache<String, String> = Cache::builder(ReadOnly).build().expect("defaults");
    assert_eq!(rejected(cache.put("k", "one".to_owned())).error.failure(), Failure::Invalid);
    assert_eq!(rejected(cache.delete("k")).error.failure(), Failure::Invalid);
    assert_eq!(cache.stats().in_doubt, 0);
}

// --- A3: what an error says

#[test]
fn a3_every_error_of_a_write_says_which_of_the_three_is_true() {
    let w = world();
    w.script.next(Op::Put, "k", Does::Reject);
    let refused = w.put("k", "one").expect_err("refused");
    assert!(!refused.may_be_applied() && refused.to_string().starts_with("not applied"), "{refused}");
    let unsent = w.cache.put_with("k", "one".to_owned(), &within(secs(0))).map(drop).expect_err("too late");
    assert!(!unsent.may_be_applied() && unsent.to_string().starts_with("not applied"), "{unsent}");
    w.script.next(Op::Put, "k", Does::Unknown);
    let unknown = w.put("k", "one").expect_err("unknown");
    assert!(unknown.may_be_applied() && unknown.to_string().starts_with("in doubt"), "{unknown}");
    for error in [refused, unknown] {
        let source = error.source().and_then(|cause| cause.downcast_ref::<SourceError>());
        assert!(source.is_some(), "the source's own error is kept: {error}");
    }
}

#[test]
fn a3_the_sources_error_comes_back_unchanged() {
    let w = world();
    w.script.next(Op::Put, "k", Does::Reject);
    let rejection = rejected(w.put("k", "one"));
    assert_eq!((rejection.error.code(), rejection.error.failure()), (Some(422), Failure::Refused));
    assert!(!rejection.stale_base);
}

#[test]
fn a3_a_doubt_can_be_waited_for() {
    let w = world();
    let Err(WriteError::InDoubt(doubt)) = ({
        w.script.next(Op::Put, "k", Does::Unknown);
        w.put("k", "one")
    }) else {
        panic!("in doubt")
    };
    assert!(!doubt.wait(secs(0)), "it has not settled");
    let waiting = doubt.clone();
    let waiter = w.until_it_waits(move |_| waiting.wait(secs(60)));
    w.clock.advance(WINDOW);
    assert!(waiter.join(), "it has settled");
    assert!(doubt.settles_in().is_zero());
}

#[test]
fn a3_waiting_for_a_doubt_ends_with_its_own_time() {
    let w = world();
    let doubt = w.doubt("k", "one", Does::Unknown);
    let waiting = doubt.clone();
    let waiter = w.until_it_waits(move |_| waiting.wait(secs(3)));
    w.clock.advance(secs(3));
    assert!(!waiter.join());
    assert_eq!(doubt.settles_in(), WINDOW - secs(3));
}

/// What an error says, and what each of its causes says.
fn told(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect()
}

#[test]
fn a3_an_error_is_told_in_words_and_leads_to_its_cause() {
    let full = SourceError::new(Failure::Failed, "the disk is full");
    let load = LoadError::Source(full.clone());
    assert_eq!(told(&load), ["the origin gave no record: the disk is full", "the disk is full"]);
    assert_eq!(told(&LoadError::Deadline), ["the deadline passed before the record was loaded"]);
    let unread = told(&NotSent::Unread(load));
    assert_eq!(unread[0], "the existing record could not be read: the origin gave no record: the disk is full");
    assert_eq!(unread[1..], ["the origin gave no record: the disk is full", "the disk is full"]);
    assert_eq!(told(&NotSent::Closed), ["the cache is closed"]);
    let caused = SourceError::new(Failure::Refused, "not now").with_cause(full).with_retry_after(secs(3));
    assert_eq!(told(&caused), ["not now", "the disk is full"]);
    assert_eq!((caused.retry_after(), caused.code()), (Some(secs(3)), None));
    let w = world();
    let doubt = w.doubt("k", "one", Does::Unknown);
    assert_eq!(told(&doubt), ["the outcome is not known: unknown", "unknown"]);
    let shown = format!("{doubt:?}");
    assert!(shown.contains("Broken") && shown.contains("settles_in: 10s"), "{shown}");
}

#[test]
fn a1_each_outcome_is_counted() {
    let w = world();
    w.script.next(Op::Put, "k", Does::Well);
    for _ in 0..2 {
        w.script.next(Op::Put, "k", Does::Reject);
    }
    for _ in 0..3 {
        w.script.next(Op::Put, "k", Does::Unknown);
    }
    let failed = (0..6).filter(|_| w.put("k", "one").is_err()).count();
    assert_eq!(failed, 5);
    for _ in 0..4 {
        let _late = not_sent(w.cache.put_with("k", "one".to_owned(), &within(secs(0))));
    }
    w.script.next(Op::Get, "other", Does::Fail);
    assert!(w.cache.get("other").is_err() && w.cache.get("other").is_ok());
    let stats = w.cache.stats();
    let writes = (stats.writes_applied, stats.writes_rejected, stats.writes_unknown, stats.writes_not_sent);
    assert_eq!(writes, (1, 2, 3, 4));
    assert_eq!((stats.loads, stats.loads_failed), (2, 1));
}
