//! Updates of several keys that are shown together: promises of chapter 6.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use wtcache::{
    Cache, Call, Failure, How, Lifetime, LoadError, NotSent, Outcome, Record, Rejection, Settlement, SourceError, Step,
    StepDone, StepEnd, StepValue, Transacted, UndoEnd, WriteError, Wrote,
};
use wtcache_testkit::{Does, Op, Script, When, spawn};

const LONG: Duration = Duration::from_secs(3_600);

fn value(text: &str) -> String {
    text.to_owned()
}

fn put(key: &str, text: &str) -> Step<Texts> {
    Step::put(key, value(text))
}

fn refuses() -> Step<Texts> {
    Step::call(|_| Outcome::Rejected(Rejection::new(SourceError::new(Failure::Refused, "no funds"))))
}

fn knows_not() -> Step<Texts> {
    Step::call(|_| Outcome::Unknown(SourceError::new(Failure::Broken, "no answer")))
}

/// A step that is applied, and what it is known by.
fn counts(count: &Arc<AtomicUsize>) -> impl FnOnce(&wtcache::StepCx<'_>) -> Outcome<StepDone<Texts>> + Send + use<> {
    let count = Arc::clone(count);
    move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Outcome::Applied(StepDone::new())
    }
}

fn pair(cache: &Cache<String, String>) -> [Option<String>; 2] {
    let mut answers = cache.get_many(["a", "b"]).into_iter().map(text);
    [answers.next().expect("two"), answers.next().expect("two")]
}

fn both(text: &str) -> [Option<String>; 2] {
    [Some(value(text)), Some(value(text))]
}

fn seeded() -> World {
    let w = world();
    w.seed("a", "1");
    w.seed("b", "1");
    w
}

// --- committed

#[test]
fn t2_nothing_is_shown_before_all_steps_are_applied_and_then_all_is() {
    let w = seeded();
    let held = w.script.hold(Op::Put, "b", When::After);
    let runs = w.start(|cache| cache.transaction().step(put("a", "2")).step(put("b", "2")).run());
    held.wait_arrived();
    assert_eq!(pair(&w.cache), both("1"), "the origin has both by now");
    assert_eq!(w.script.truth("b").as_deref(), Some("2"));
    held.release();
    let Transacted::Committed(steps) = runs.join() else { panic!("all was applied") };
    assert_eq!(pair(&w.cache), both("2"));
    assert_eq!((w.loads("a"), w.loads("b")), (0, 0));
    let entry = |end: &StepEnd<Texts>| match end {
        StepEnd::Applied { value: StepValue::Entry(entry), .. } => entry.value().clone(),
        other => panic!("no record: {other:?}"),
    };
    assert_eq!(steps.iter().map(entry).collect::<Vec<_>>(), ["2", "2"]);
}

#[test]
fn t2_a_step_of_the_programs_own_says_what_it_left_of_the_keys_that_it_declared() {
    let w = world();
    w.script.set("unseen", "at the origin");
    w.seed("deleted", "1");
    w.seed("undeclared", "1");
    let work = Step::call(|cx| {
        assert_eq!(cx.remaining(), secs(5));
        let record = Record::new(value("made")).lifetime(Lifetime::For(secs(7)));
        Outcome::Applied(
            StepDone::new()
                .wrote("record", Wrote::Record(record))
                .wrote("sent", Wrote::AsSent)
                .wrote("deleted", Wrote::Deleted)
                .wrote("undeclared", Wrote::AsSent)
                .value(42_u32),
        )
    });
    let work = work.writes("record").writes("sent").writes("deleted").writes("unseen");
    let ended = w
        .cache
        .transaction()
        .update("unseen", value("never"))
        .update_for("sent", value("sent"), Lifetime::For(secs(9)))
        .update("free", value("free"))
        .step(work)
        .run();
    let Transacted::Committed(mut steps) = ended else { panic!("{ended:?}") };
    let Some(StepEnd::Applied { value: StepValue::Value(given), .. }) = steps.pop() else { panic!("a value") };
    assert_eq!(given.downcast_ref::<u32>(), Some(&42));
    for (key, text, lifetime) in [("record", "made", Some(7)), ("sent", "sent", Some(9)), ("free", "free", None)] {
        let entry = w.cache.peek(key).expect("resident");
        assert_eq!(entry.value(), text);
        let lives = lifetime.map_or(wtcache::Tick::NEVER, |lives| w.cache.now().after(secs(lives)));
        assert_eq!(entry.expires(), lives, "{key}");
    }
    for key in ["unseen", "deleted", "undeclared"] {
        assert!(w.cache.peek(key).is_none(), "{key}");
    }
    assert_eq!(w.get("unseen").as_deref(), Some("at the origin"));
}

#[test]
fn f1_what_a_step_puts_lives_as_long_as_the_update_of_its_key_says() {
    let w = seeded();
    let shown = w.cache.transaction().update_for("a", value("2"), Lifetime::For(secs(9)));
    assert!(shown.step(put("a", "2")).step(put("b", "2")).run().is_committed());
    let expires = |key| w.cache.peek(key).expect("resident").expires();
    assert_eq!(expires("a"), w.cache.now().after(secs(9)));
    assert_eq!(expires("b"), wtcache::Tick::NEVER);
}

#[test]
fn t2_of_several_writes_of_a_key_the_last_one_counts() {
    let w = seeded();
    let ended = w.cache.transaction().step(put("a", "2")).step(put("a", "3")).step(Step::delete("b")).run();
    assert!(ended.is_committed());
    assert_eq!((w.peek("a").as_deref(), w.peek("b")), (Some("3"), None));
    assert_eq!((w.script.truth("a").as_deref(), w.script.truth("b")), (Some("3"), None));
}

// --- refused

#[test]
fn t2_a_step_that_is_refused_before_any_was_applied_leaves_all_as_it_was() {
    let w = seeded();
    w.script.next(Op::Put, "a", Does::Reject);
    let ran = Arc::new(AtomicUsize::new(0));
    let transaction = w.cache.transaction().step(put("a", "2").undo_put("a", value("no"))).step(put("b", "2"));
    let ended = transaction.step(Step::call(counts(&ran))).run();
    let Transacted::RolledBack(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(&report.cause, WriteError::Rejected(why) if why.error.code() == Some(422)));
    assert!(matches!(report.steps[..], [StepEnd::Rejected(_), StepEnd::NotRun, StepEnd::NotRun]));
    assert_eq!((pair(&w.cache), ran.load(Ordering::Relaxed)), (both("1"), 0));
    assert_eq!((w.script.calls(Op::Put, "a"), w.script.calls(Op::Put, "b")), (2, 1));
    assert_eq!((w.loads("a"), w.loads("b")), (0, 0));
    w.seed("a", "3");
}

/// Not the old entry: undoing is a write like any other, and the origin says what it left.
#[test]
fn t2_where_a_later_step_is_refused_a_key_shows_what_undoing_confirmed() {
    let w = seeded();
    let undone = Arc::new(AtomicUsize::new(0));
    let ended = w
        .cache
        .transaction()
        .step(put("a", "2").undo_put("a", value("1'")))
        .step(Step::call(|_| Outcome::Applied(StepDone::new())).undo(counts(&undone)))
        .step(refuses())
        .update("b", value("2"))
        .run();
    let Transacted::RolledBack(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(
        report.steps[..],
        [
            StepEnd::Applied { undo: UndoEnd::Applied, .. },
            StepEnd::Applied { undo: UndoEnd::Applied, .. },
            StepEnd::Rejected(_)
        ]
    ));
    assert_eq!((w.peek("a").as_deref(), w.peek("b").as_deref()), (Some("1'"), Some("1")));
    assert_eq!((w.script.applied("a"), undone.load(Ordering::Relaxed)), (vec![value("1"), value("2"), value("1'")], 1));
}

#[test]
fn t2_steps_are_undone_last_first() {
    let w = world();
    let order: Arc<Mutex<Vec<u32>>> = Arc::default();
    let mut transaction = w.cache.transaction();
    for number in 0..3 {
        let undoes = Arc::clone(&order);
        transaction = transaction.step(Step::call(|_| Outcome::Applied(StepDone::new())).undo(move |_| {
            undoes.lock().expect("not poisoned").push(number);
            Outcome::Applied(StepDone::new())
        }));
    }
    assert!(matches!(transaction.step(refuses()).run(), Transacted::RolledBack(_)));
    assert_eq!(*order.lock().expect("not poisoned"), [2, 1, 0]);
}

#[test]
fn t2_what_is_not_undone_is_told_and_its_key_shows_what_the_origin_has() {
    let w = seeded();
    let ended = w.cache.transaction().step(put("a", "2")).step(refuses()).run();
    let Transacted::Partial(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(report.steps[0], StepEnd::Applied { undo: UndoEnd::NotRun, .. }));
    assert_eq!((w.peek("a").as_deref(), w.script.truth("a").as_deref()), (Some("2"), Some("2")));
    w.script.next(Op::Put, "a", Does::Well);
    w.script.next(Op::Put, "a", Does::Reject);
    let ended = w.cache.transaction().step(put("a", "3").undo_put("a", value("2'"))).step(refuses()).run();
    let Transacted::Partial(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(report.steps[0], StepEnd::Applied { undo: UndoEnd::Rejected(_), .. }));
    assert_eq!(w.peek("a").as_deref(), Some("3"));
    // One that left a key unseen: it is asked for.
    w.script.next(Op::Put, "a", Does::Unseen);
    assert!(matches!(w.cache.transaction().step(put("a", "4")).step(refuses()).run(), Transacted::Partial(_)));
    assert_eq!((w.peek("a"), w.get("a").as_deref()), (None, Some("4")));
}

#[test]
fn t2_a_refusal_that_proves_the_base_stale_drops_it() {
    let w = seeded();
    w.script.next(Op::Put, "a", Does::RejectStale);
    w.script.set("a", "someone else's");
    assert!(matches!(w.cache.transaction().step(put("a", "2")).run(), Transacted::RolledBack(_)));
    assert_eq!((w.peek("a"), w.peek("b").as_deref()), (None, Some("1")));
}

#[test]
fn t2_undoing_that_is_not_known_leaves_a_doubt() {
    let w = seeded();
    w.script.next(Op::Put, "a", Does::Well);
    w.script.next(Op::Put, "a", Does::Stray);
    let ended = w.cache.transaction().step(put("a", "2").undo_put("a", value("1'"))).step(refuses()).run();
    let Transacted::Partial(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(report.steps[0], StepEnd::Applied { undo: UndoEnd::Unknown(_), .. }));
    assert_eq!((report.doubts.len(), report.doubts[0].key().as_str()), (1, "a"));
    w.assert_not_retained("a");
}

// --- in doubt

#[test]
fn t2_after_an_unknown_step_what_was_written_is_asked_for_and_nothing_is_undone_unless_it_says_so() {
    let w = seeded();
    w.seed("c", "1");
    let undone = Arc::new(AtomicUsize::new(0));
    let ended = w
        .cache
        .transaction()
        .update("c", value("2"))
        .step(put("a", "2").undo_put("a", value("1'")))
        .step(Step::call(|_| Outcome::Applied(StepDone::new())).undo(counts(&undone)).undo_if_unknown())
        .step(knows_not().writes("b"))
        .step(put("c", "3"))
        .run();
    let Transacted::InDoubt { steps, doubts, cause } = ended else { panic!("{ended:?}") };
    assert_eq!(cause.message(), "no answer");
    assert!(matches!(
        steps[..],
        [
            StepEnd::Applied { undo: UndoEnd::NotRun, .. },
            StepEnd::Applied { undo: UndoEnd::Applied, .. },
            StepEnd::Unknown { undo: UndoEnd::NotRun, .. },
            StepEnd::NotRun
        ]
    ));
    assert_eq!(undone.load(Ordering::Relaxed), 1);
    assert_eq!((w.peek("a"), w.peek("b"), w.peek("c").as_deref()), (None, None, Some("1")));
    assert_eq!(w.cache.stats().in_doubt, 1);
    assert_eq!(w.get("a").as_deref(), Some("2"));
    w.assert_not_retained("b");
    assert_eq!((doubts.len(), doubts[0].key().as_str()), (1, "b"));
    assert!(doubts[0].settle(Settlement::NotApplied));
    w.assert_settled("b");
}

#[test]
fn t2_an_unknown_write_of_the_source_can_be_sent_again() {
    let script = Script::new();
    script.declare(|declared| declared.honours_idempotency = true);
    let w = world_with(script, |builder| builder);
    w.script.next(Op::Put, "a", Does::Unknown);
    let ended = w.cache.transaction().step(put("a", "2")).run();
    let Transacted::InDoubt { doubts, .. } = ended else { panic!("{ended:?}") };
    doubts[0].replay(&Call::new()).expect("applied");
    assert_eq!(doubts[0].outcome(), Some(Settlement::Applied));
    assert_eq!((w.peek("a").as_deref(), w.cache.stats().in_doubt), (Some("2"), 0));
}

#[test]
fn a2_a_panic_of_a_step_is_unknown() {
    let w = seeded();
    let ended = w.cache.transaction().step(Step::call(|_| panic!("broken")).writes("a")).run();
    let Transacted::InDoubt { cause, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(cause.message(), "the step panicked: broken");
    assert_eq!((w.peek("a"), w.cache.stats().in_doubt), (None, 1));
}

#[test]
fn d4_a_stray_of_the_source_leaves_its_key_in_doubt_though_all_was_applied() {
    let w = seeded();
    w.script.next(Op::Put, "a", Does::AfterStray(Box::new(Does::Well)));
    assert!(w.cache.transaction().step(put("a", "2")).step(put("b", "2")).run().is_committed());
    assert_eq!((w.peek("a"), w.peek("b").as_deref(), w.cache.stats().in_doubt), (None, Some("2"), 1));
}

#[test]
fn p7_what_is_out_at_the_deadline_is_in_doubt_and_a_late_answer_ends_that() {
    let w = seeded();
    let held = w.script.hold(Op::Put, "a", When::After);
    let runs = w.start(|cache| cache.transaction().step(put("a", "2")).step(put("b", "2")).run());
    held.wait_arrived();
    w.clock.advance(secs(6));
    assert_eq!((w.get("a").as_deref(), w.cache.stats().in_doubt), (Some("2"), 1));
    held.release();
    let ended = runs.join();
    let Transacted::Partial(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(report.steps[1], StepEnd::NotSent(NotSent::Deadline)));
    assert_eq!((w.cache.stats().in_doubt, w.peek("b").as_deref()), (0, Some("1")));
    w.assert_settled("a");
}

#[test]
fn t2_undoing_has_time_of_its_own() {
    let w = seeded();
    let held = w.script.hold(Op::Put, "b", When::Before);
    w.script.next(Op::Put, "b", Does::Reject);
    let runs = w.start(|cache| {
        let first = put("a", "2").undo_put("a", value("1'"));
        cache.transaction().step(first).step(put("b", "2")).undo_deadline(secs(3)).run()
    });
    held.wait_arrived();
    w.clock.advance(secs(6));
    held.release();
    let ended = runs.join();
    assert!(matches!(ended, Transacted::RolledBack(_)), "{ended:?}");
    assert_eq!((w.peek("a").as_deref(), w.cache.stats().in_doubt), (Some("1'"), 0));
    let log = w.script.log();
    let left = log.iter().rfind(|call| call.op == Op::Put).expect("undone").remaining;
    assert_eq!(left, secs(2));
}

// --- turns

#[test]
fn t3_transactions_that_share_keys_in_opposite_orders_never_wait_in_a_circle() {
    let w = world_with(Script::new(), |builder| builder.shards(8));
    let runs: Vec<_> = (0..4)
        .map(|number| {
            w.start(move |cache| {
                for round in 0..50 {
                    let text = format!("{number}.{round}");
                    let keys = if number % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
                    let transaction = cache.transaction().step(put(keys[0], &text)).step(put(keys[1], &text));
                    assert!(transaction.run().is_committed());
                    let [a, b] = pair(&cache);
                    assert_eq!(a, b, "seen in part");
                }
            })
        })
        .collect();
    runs.into_iter().for_each(wtcache_testkit::Running::join);
    assert_eq!(pair(&w.cache)[0], w.script.truth("b"));
}

#[test]
fn t3_a_transaction_and_writes_take_turns_in_the_order_they_came() {
    let w = seeded();
    let held = w.script.hold(Op::Put, "b", When::Before);
    let first = w.start(|cache| cache.put("b", value("2")).is_ok());
    held.wait_arrived();
    let second = w.until_it_waits(|cache| cache.transaction().step(put("a", "3")).step(put("b", "3")).run());
    // It holds the turn of `a` from when it came.
    let third = w.until_it_waits(|cache| cache.put("a", value("4")).is_ok());
    assert_eq!(w.script.calls(Op::Put, "a"), 1);
    held.release();
    assert!(first.join() && second.join().is_committed() && third.join());
    assert_eq!(
        (w.script.applied("a"), w.script.applied("b")),
        (vec![value("1"), value("3"), value("4")], vec![value("1"), value("2"), value("3")])
    );
}

#[test]
fn b2_one_that_does_not_get_its_turns_in_time_leaves_no_trace() {
    let w = seeded();
    let held = w.script.hold(Op::Put, "b", When::Before);
    let first = w.start(|cache| cache.put_with("b", value("2"), &Call::new().deadline(LONG)).is_ok());
    held.wait_arrived();
    let second = w.until_it_waits(|cache| cache.transaction().step(put("a", "3")).step(put("b", "3")).run());
    w.clock.advance(secs(6));
    let ended = second.join();
    let Transacted::RolledBack(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(report.cause, WriteError::NotSent(NotSent::Deadline)));
    w.seed("a", "4");
    held.release();
    assert!(first.join());
    w.seed("b", "5");
}

#[test]
fn p5_within_a_source_call_it_is_tried_once_and_refused_for_the_key_that_is_served() {
    let w = seeded();
    let cache = w.cache.clone();
    let work = move || {
        let why = |ended| match ended {
            Transacted::RolledBack(report) => match report.cause {
                WriteError::NotSent(why) => why,
                other => panic!("{other}"),
            },
            other => panic!("{other:?}"),
        };
        let same = cache.transaction().step(put("a", "no")).step(put("b", "no")).run();
        assert!(matches!(why(same), NotSent::Reentrant));
        let prepared = cache.prepare("b", &Call::new()).expect("free");
        let taken = cache.transaction().step(put("b", "no")).run();
        assert!(matches!(why(taken), NotSent::Busy));
        prepared.abort();
        assert!(cache.transaction().step(put("b", "2")).run().is_committed());
    };
    w.script.next(Op::Put, "a", Does::Run(Box::new(work)));
    w.put("a", "2").expect("applied");
    assert_eq!(pair(&w.cache), both("2"));
    // And a step is such a call itself.
    let cache = w.cache.clone();
    let step = Step::call(move |_| {
        assert!(matches!(cache.put("a", value("no")), Err(WriteError::NotSent(NotSent::Reentrant))));
        Outcome::Applied(StepDone::new())
    });
    assert!(w.cache.transaction().step(step.writes("a").writes("b")).run().is_committed());
}

#[test]
fn b4_after_close_none_begins() {
    let w = seeded();
    let _ = w.cache.close(Duration::ZERO);
    let ended = w.cache.transaction().step(put("a", "2")).run();
    let Transacted::RolledBack(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(report.cause, WriteError::NotSent(NotSent::Closed)));
    assert!(matches!(w.cache.transaction().step(put("a", "2")).start(), Err(NotSent::Closed)));
    assert_eq!(w.script.calls(Op::Put, "a"), 1);
}

// --- readers

#[test]
fn t1_get_many_waits_for_a_transaction_on_a_key_that_it_must_load() {
    let w = world();
    w.seed("a", "1");
    w.script.set("b", "1");
    let held = w.script.hold(Op::Put, "a", When::Before);
    let runs = w.start(|cache| cache.transaction().step(put("b", "2")).step(put("a", "2")).run());
    held.wait_arrived();
    // A single read does not: it promises nothing of the other.
    assert_eq!(w.get("b").as_deref(), Some("2"));
    assert!(w.peek("b").is_none(), "and what it read is not kept");
    let reads = w.until_it_waits(|cache| pair(&cache));
    held.release();
    assert!(runs.join().is_committed());
    assert_eq!(reads.join(), both("2"));
    assert_eq!(w.loads("b"), 1);
}

#[test]
fn t1_get_many_whose_wait_is_too_long_gives_what_is_here_and_says_so_of_the_rest() {
    let w = world();
    w.seed("a", "1");
    w.script.set("b", "1");
    let held = w.script.hold(Op::Put, "a", When::Before);
    let runs = w.start(|cache| cache.transaction().step(put("b", "2")).step(put("a", "2")).deadline(LONG).run());
    held.wait_arrived();
    let reads = w.until_it_waits(|cache| cache.get_many(["a", "b"]));
    w.clock.advance(secs(6));
    let answers = reads.join();
    assert_eq!(text(answers[0].clone()).as_deref(), Some("1"));
    assert!(matches!(answers[1], Err(LoadError::Deadline)));
    held.release();
    assert!(runs.join().is_committed());
}

#[test]
fn t1_get_many_that_loads_beside_a_transaction_begins_anew() {
    let w = world();
    w.seed("a", "1");
    w.script.set("b", "1");
    // While it loads `b`, having taken `a`.
    let load = w.script.hold(Op::Get, "b", When::Before);
    let reads = w.start(|cache| pair(&cache));
    load.wait_arrived();
    assert!(w.cache.transaction().step(put("a", "2")).step(put("b", "2")).run().is_committed());
    load.release();
    assert_eq!(reads.join(), both("2"));
}

#[test]
fn t1_where_a_transaction_comes_whenever_it_has_loaded_it_says_so() {
    // Nothing that is loaded is kept.
    let w = world_with(Script::new(), |builder| builder.shards(1).lifetime(Duration::ZERO));
    w.script.set("a", "0");
    w.script.set("c", "0");
    for round in 0..20 {
        let cache = w.cache.clone();
        let work = move || {
            let text = round.to_string();
            assert!(cache.transaction().step(put("a", &text)).step(put("b", &text)).run().is_committed());
        };
        w.script.next(Op::Get, "c", Does::Run(Box::new(work)));
    }
    for answer in w.cache.get_many(["a", "c"]) {
        assert!(matches!(answer, Err(LoadError::Contended)));
    }
    assert_eq!((w.loads("a"), w.loads("c")), (9, 9));
}

/// A load that ends in a transaction may be of its midst.
#[test]
fn t1_what_is_loaded_in_a_transaction_is_not_kept_nor_is_what_ends_after_it() {
    let w = world();
    w.script.set("a", "1");
    w.script.set("b", "1");
    let (load, held) = (w.script.hold(Op::Get, "a", When::After), w.script.hold(Op::Put, "b", When::Before));
    w.script.next(Op::Put, "b", Does::Reject);
    let runs =
        w.start(|cache| cache.transaction().step(put("a", "2").undo_put("a", value("1'"))).step(put("b", "2")).run());
    held.wait_arrived();
    let reads = w.start(|cache| text(cache.get("a")));
    load.wait_arrived();
    held.release();
    assert!(matches!(runs.join(), Transacted::RolledBack(_)));
    load.release();
    assert_eq!(reads.join().as_deref(), Some("1'"), "not 2, which it had loaded");
    assert_eq!(w.peek("a").as_deref(), Some("1'"));
}

// --- visible from the begin

#[test]
fn t1_one_that_is_started_is_shown_at_once_and_whole_and_leaves_so() {
    let w = seeded();
    w.seed("c", "1");
    let held = w.script.hold(Op::Put, "b", When::Before);
    w.script.next(Op::Put, "b", Does::Reject);
    let first = put("a", "2").undo_put("a", value("1'"));
    let pending = w.cache.transaction().step(first).step(put("b", "2")).update("c", value("2")).start();
    let pending = pending.expect("admitted");
    assert_eq!((pair(&w.cache), w.peek("c").as_deref()), (both("2"), Some("2")));
    assert_eq!(w.cache.read("c", &Call::new()).expect("pending").how, How::Pending);
    held.wait_arrived();
    assert_eq!(pair(&w.cache), both("2"));
    assert_eq!(text(w.cache.get_confirmed("a")).as_deref(), Some("1"), "though the first step is applied");
    held.release();
    let ended = spawn(move || pending.wait()).join();
    assert!(matches!(ended, Transacted::RolledBack(_)), "{ended:?}");
    assert_eq!(pair(&w.cache), [Some(value("1'")), Some(value("1"))]);
    assert_eq!((w.peek("c").as_deref(), w.cache.stats().pending), (Some("1"), 0));
}

#[test]
fn t1_one_that_is_started_commits_what_the_origin_confirmed() {
    let w = seeded();
    let pending = w.cache.transaction().step(put("a", "2")).step(put("b", "2")).start().expect("admitted");
    assert_eq!(pair(&w.cache), both("2"));
    assert!(spawn(move || pending.wait()).join().is_committed());
    let entries = w.cache.get_many(["a", "b"]).into_iter().map(|read| read.expect("resident").expect("a value"));
    assert!(entries.into_iter().all(|entry| entry.value() == "2" && entry.pending_since().is_none()));
}

#[test]
fn t1_get_many_sees_all_of_one_that_is_started_while_it_loads() {
    let w = world();
    w.seed("a", "1");
    w.script.set("b", "1");
    let (load, held) = (w.script.hold(Op::Get, "b", When::Before), w.script.hold(Op::Put, "a", When::Before));
    let reads = w.start(|cache| pair(&cache));
    load.wait_arrived();
    let pending = w.cache.transaction().step(put("a", "2")).step(put("b", "2")).start().expect("admitted");
    held.wait_arrived();
    load.release();
    assert_eq!(reads.join(), both("2"));
    held.release();
    assert!(spawn(move || pending.wait()).join().is_committed());
}

/// It needs no load: also where the settle window of an earlier write has just passed, which nobody has noticed yet.
#[test]
fn t1_get_many_does_not_wait_for_one_that_is_shown_when_a_doubt_of_its_key_ends() {
    let w = seeded();
    let doubt = w.doubt("a", "2", Does::Unknown);
    let held = w.script.hold(Op::Put, "b", When::Before);
    let transaction = w.cache.transaction().step(put("b", "3")).step(put("a", "3")).deadline(LONG);
    let pending = transaction.start().expect("admitted");
    held.wait_arrived();
    w.clock.advance(WINDOW);
    assert_eq!(w.start(|cache| pair(&cache)).join(), both("3"));
    drop(doubt);
    held.release();
    assert!(spawn(move || pending.wait()).join().is_committed());
}

// --- invalidation

#[test]
fn t4_patterns_and_tags_take_effect_when_steps_were_applied_or_may_have_been_and_not_when_refused() {
    let tags = |_: &String, value: &String, tags: &mut wtcache::Tags<'_>| tags.add(value);
    let w = world_with(Script::new(), |builder| builder.tags(tags));
    let seed = || {
        for (key, value) in [("org:1:users", "x"), ("org:2:users", "x"), ("user:7:orgs", "x"), ("other", "tagged")] {
            w.seed(key, value);
        }
    };
    let transaction = || {
        let transaction = w.cache.transaction().invalidate_pattern("org:1:*").expect("a pattern");
        transaction.invalidate_prefix("user:").invalidate_tag("tagged")
    };
    let left = || ["org:1:users", "org:2:users", "user:7:orgs", "other"].map(|key| w.peek(key).is_some());
    seed();
    assert!(matches!(transaction().step(refuses()).run(), Transacted::RolledBack(_)));
    assert_eq!(left(), [true; 4]);
    assert!(matches!(transaction().step(put("k", "1")).step(refuses()).run(), Transacted::Partial(_)));
    assert_eq!(left(), [false, true, false, false]);
    seed();
    assert!(matches!(transaction().step(knows_not()).run(), Transacted::InDoubt { .. }));
    assert_eq!(left(), [false, true, false, false]);
    seed();
    assert!(transaction().step(put("k", "2")).run().is_committed());
    assert_eq!((left(), w.peek("k").as_deref()), ([false, true, false, false], Some("2")));
    assert!(w.cache.transaction().invalidate_pattern("\\x").is_err());
}

#[test]
fn i1_a_key_that_is_invalidated_while_the_steps_run_is_asked_for_afterwards() {
    let w = seeded();
    let held = w.script.hold(Op::Put, "b", When::After);
    let runs = w
        .start(|cache| cache.transaction().step(put("a", "2")).step(put("b", "2")).update("c", value("as sent")).run());
    held.wait_arrived();
    for key in ["a", "b", "c"] {
        w.cache.invalidate(key);
    }
    held.release();
    assert!(runs.join().is_committed());
    assert_eq!(["a", "b", "c"].map(|key| w.peek(key)), [None, None, None]);
}
