//! Transactions whose steps write the tables of other caches: promises of chapter 6.

mod common;

use common::*;
use wtcache::{
    Failure, NotSent, Outcome, Rejection, SourceError, Step, StepCx, StepDone, StepEnd, Transacted, UndoEnd,
};
use wtcache_testkit::{Does, Op};

type Answer = Outcome<StepDone<Texts>>;

/// Puts `text` as the record of `k` in another table.
fn puts(table: &World, text: &'static str) -> impl FnOnce(&StepCx<'_>) -> Answer + Send + use<> {
    let cache = table.cache.clone();
    move |cx| match cache.put_with("k", text.to_owned(), &cx.call()) {
        Ok(_) => Outcome::Applied(StepDone::new()),
        Err(error) => error.into_outcome(),
    }
}

fn refuses() -> Step<Texts> {
    Step::call(|_| Outcome::Rejected(Rejection::new(SourceError::new(Failure::Refused, "no funds"))))
}

fn tables() -> [World; 2] {
    let tables = [world(), world()];
    tables.iter().for_each(|table| table.seed("k", "1"));
    tables
}

#[test]
fn t2_what_a_step_wrote_in_another_table_is_undone_there_with_the_rest() {
    let [own, other] = tables();
    let step = |text| Step::call(puts(&other, text)).undo(puts(&other, "undone"));
    let first = own.cache.transaction().step(step("2")).step(Step::put("k", "2".to_owned()));
    assert!(first.run().is_committed());
    assert_eq!((own.peek("k").as_deref(), other.peek("k").as_deref()), (Some("2"), Some("2")));
    let put = Step::put("k", "3".to_owned()).undo_put("k", "undone".to_owned());
    let ended = own.cache.transaction().step(step("3")).step(put).step(refuses()).run();
    assert!(matches!(ended, Transacted::RolledBack(_)), "{ended:?}");
    assert_eq!((own.peek("k").as_deref(), other.peek("k").as_deref()), (Some("undone"), Some("undone")));
    assert_eq!(other.script.applied("k"), ["1", "2", "3", "undone"]);
}

#[test]
fn t2_another_table_that_refuses_rolls_all_back_and_says_why() {
    let [own, other] = tables();
    let run = || {
        let update = own.cache.transaction().update("k", "2".to_owned());
        let Transacted::RolledBack(report) = update.step(Step::call(puts(&other, "2")).writes("k")).run() else {
            panic!("nothing was applied")
        };
        let Some(StepEnd::Rejected(rejection)) = report.steps.into_iter().next() else { panic!("it was refused") };
        assert_eq!((own.peek("k").as_deref(), other.script.truth("k").as_deref()), (Some("1"), Some("1")));
        rejection
    };
    // Of the other table's record it says that it is out of date; of ours, nothing.
    other.script.next(Op::Put, "k", Does::RejectStale);
    let rejection = run();
    assert_eq!((rejection.error.failure(), rejection.stale_base), (Failure::Refused, false));
    assert_eq!(other.peek("k"), None);
    // What was not sent is refused as well.
    let _ = other.cache.close(secs(0));
    let rejection = run();
    assert!(rejection.error.to_string().contains(&NotSent::Closed.to_string()), "{}", rejection.error);
}

#[test]
fn t2_where_another_table_is_in_doubt_so_is_the_transaction() {
    let [own, other] = tables();
    other.script.next(Op::Put, "k", Does::Unknown);
    let put = Step::put("k", "2".to_owned()).undo_put("k", "undone".to_owned());
    let ended = own.cache.transaction().step(put).step(Step::call(puts(&other, "2"))).run();
    let Transacted::InDoubt { steps, doubts, .. } = ended else { panic!("{ended:?}") };
    assert!(matches!(steps[0], StepEnd::Applied { undo: UndoEnd::NotRun, .. }) && doubts.is_empty());
    assert_eq!((own.cache.stats().in_doubt, other.cache.stats().in_doubt), (0, 1));
    assert_eq!((own.peek("k"), other.peek("k")), (None, None));
}
