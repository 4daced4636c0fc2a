//! Steps of transactions that are made of the record that is there: promises of chapters 4 and 6.

mod common;

use common::*;
use wtcache::{
    Change, Entry, Failure, NotSent, Outcome, Rejection, SourceError, Step, StepEnd, StepValue, Transacted, UndoEnd,
};
use wtcache_testkit::{Does, Op};

type Existing<'a> = Option<&'a Entry<Texts>>;

/// Puts `text` behind what is there.
fn appends(key: &str, text: &'static str) -> Step<Texts> {
    Step::update(key, move |existing: Existing<'_>| {
        Ok(Change::Put(existing.map_or_else(String::new, |entry| entry.value().clone()) + text))
    })
}

fn restores(was: Existing<'_>) -> Change<String> {
    was.map_or(Change::Delete, |entry| Change::Put(entry.value().clone()))
}

fn refuses() -> Step<Texts> {
    Step::call(|_| Outcome::Rejected(Rejection::new(SourceError::new(Failure::Refused, "no funds"))))
}

#[test]
fn t2_an_update_is_made_of_the_record_that_is_there_be_it_resident_or_loaded() {
    let w = world();
    w.seed("a", "1");
    w.script.set("b", "1");
    let run = w.cache.transaction().step(appends("a", "2")).step(appends("b", "2")).step(appends("c", "2"));
    let Transacted::Committed(steps) = run.run() else { panic!("all was applied") };
    let text = |end: &StepEnd<Texts>| match end {
        StepEnd::Applied { value: StepValue::Entry(entry), .. } => entry.value().clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(steps.iter().map(text).collect::<Vec<_>>(), ["12", "12", "2"]);
    assert_eq!(
        (w.peek("a").as_deref(), w.peek("b").as_deref(), w.peek("c").as_deref()),
        (Some("12"), Some("12"), Some("2"))
    );
    assert_eq!((w.loads("a"), w.loads("b"), w.loads("c")), (0, 1, 1));
}

/// What an earlier step has written is not shown yet, so that the resident record is another one.
#[test]
fn t2_an_update_of_a_key_that_an_earlier_step_has_written_sees_what_that_one_left() {
    let w = world();
    w.seed("a", "1");
    assert!(w.cache.transaction().step(appends("a", "2")).step(appends("a", "3")).run().is_committed());
    assert_eq!((w.peek("a").as_deref(), w.script.truth("a").as_deref()), (Some("123"), Some("123")));
}

#[test]
fn t2_what_an_update_refuses_was_not_sent_and_the_steps_before_it_are_undone() {
    let w = world();
    w.seed("a", "1");
    w.seed("b", "1");
    let error = || SourceError::new(Failure::Invalid, "below zero");
    let run = w.cache.transaction().step(appends("a", "2").undo_of(restores));
    let Transacted::RolledBack(report) = run.step(Step::update("b", move |_| Err(error()))).run() else { panic!() };
    assert!(matches!(&report.steps[0], StepEnd::Applied { undo: UndoEnd::Applied, .. }), "{:?}", report.steps);
    assert!(matches!(&report.steps[1], StepEnd::Rejected(why) if why.error.message() == "below zero"));
    assert_eq!((w.peek("a").as_deref(), w.script.truth("a").as_deref()), (Some("1"), Some("1")));
    assert_eq!((w.peek("b").as_deref(), w.script.calls(Op::Put, "b")), (Some("1"), 1), "the seed's own");
}

#[test]
fn t2_a_panic_in_an_update_was_not_sent() {
    let w = world();
    w.seed("a", "1");
    let Transacted::RolledBack(report) = w.cache.transaction().step(Step::update("a", |_| panic!("oh"))).run() else {
        panic!("nothing was sent")
    };
    assert!(matches!(&report.steps[0], StepEnd::NotSent(NotSent::Panicked(why)) if why == "oh"), "{:?}", report.steps);
    assert_eq!((w.peek("a").as_deref(), w.cache.stats().in_doubt), (Some("1"), 0));
}

#[test]
fn t2_undoing_an_update_restores_what_was_there_or_that_there_was_nothing() {
    let w = world();
    w.seed("a", "1");
    let run = w.cache.transaction().step(appends("a", "2").undo_of(restores)).step(appends("b", "2").undo_of(restores));
    let ended = run.step(refuses()).run();
    assert!(matches!(ended, Transacted::RolledBack(_)), "{ended:?}");
    assert_eq!((w.script.truth("a").as_deref(), w.script.truth("b")), (Some("1"), None));
    assert_eq!(w.peek("a").as_deref(), Some("1"));
    // Undoing that fails is told, and so is that something stands.
    let run = w.cache.transaction().step(appends("a", "2").undo_of(|_| panic!("oh"))).step(refuses());
    let Transacted::Partial(report) = run.run() else { panic!("the first step stands") };
    assert!(matches!(&report.steps[0], StepEnd::Applied { undo: UndoEnd::Rejected(_), .. }), "{:?}", report.steps);
    assert_eq!(w.script.truth("a").as_deref(), Some("12"));
}

#[test]
fn t2_an_update_that_keeps_what_is_there_sends_nothing_and_has_nothing_to_undo() {
    let w = world();
    w.seed("a", "1");
    let keeps = || Step::update("a", |_| Ok(Change::Keep));
    assert!(w.cache.transaction().step(keeps()).run().is_committed());
    let ended = w.cache.transaction().step(keeps()).step(refuses()).run();
    assert!(matches!(ended, Transacted::RolledBack(_)), "{ended:?}");
    assert_eq!((w.peek("a").as_deref(), w.script.calls(Op::Put, "a")), (Some("1"), 1), "the seed's own");
}

/// P6: where the origin honours it, what is sent is conditional on the record that the update was given; a replay as well.
#[test]
fn p6_an_update_goes_out_on_the_record_that_it_was_given() {
    let w = conditional_world();
    w.seed("a", "1");
    w.script.set("a", "past us");
    let Transacted::RolledBack(report) = w.cache.transaction().step(appends("a", "2")).run() else { panic!() };
    assert!(matches!(&report.steps[0], StepEnd::Rejected(why) if why.stale_base), "{:?}", report.steps);
    assert_eq!((w.peek("a"), w.script.truth("a").as_deref()), (None, Some("past us")));

    w.script.next(Op::Put, "a", Does::Unknown);
    let Transacted::InDoubt { doubts, .. } = w.cache.transaction().step(appends("a", "2")).run() else { panic!() };
    w.script.set("a", "past us again");
    let replayed = doubts[0].replay(&wtcache::Call::new());
    assert!(replayed.is_err(), "the record is another one");
    assert_eq!(w.script.truth("a").as_deref(), Some("past us again"));
}
