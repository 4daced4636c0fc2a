//! What is pending, and transactions, from tasks: the tokio driver.
#![cfg(feature = "tokio")]

mod common;

use std::time::Duration;

use common::*;
use wtcache::tokio::Pool;
use wtcache::{Call, NotSent, Outcome, Step, StepDone, Transacted, WriteError};
use wtcache_testkit::{Does, Op, When};

async fn soon<T>(future: impl Future<Output = T>) -> T {
    ::tokio::time::timeout(Duration::from_secs(10), future).await.expect("it ends")
}

#[::tokio::test]
async fn o1_a_pending_write_is_left_and_awaited_by_a_task_and_confirmed_reads_do_not_show_it() {
    let w = world();
    w.seed("k", "1");
    let cache = w.cache.on_tokio(&Pool::new(2, 2));
    let held = w.script.hold(Op::Put, "k", When::Before);
    let pending = cache.blocking().put_optimistic("k", "2".to_owned()).expect("admitted");
    let shown = soon(cache.get("k")).await.expect("pending").expect("a value");
    assert_eq!(shown.value(), "2");
    cache.blocking().invalidate("k");
    let confirmed = soon(cache.read_confirmed("k", &Call::new())).await.expect("loaded").entry.expect("a value");
    assert_eq!((confirmed.value().as_str(), confirmed.pending_since()), ("1", None));
    let again = soon(cache.read_confirmed("k", &Call::new())).await.expect("resident").entry.expect("a value");
    assert_eq!((again.value().as_str(), w.loads("k")), ("1", 1));
    held.release();
    assert!(soon(pending).await.is_ok());
}

#[::tokio::test]
async fn t2_a_transaction_is_run_by_a_task_and_runs_on_when_that_goes() {
    let w = world();
    let cache = w.cache.on_tokio(&Pool::new(1, 1));
    let both = |text: &str| {
        let step = |key| Step::put(key, text.to_owned());
        w.cache.transaction().step(step("a")).step(step("b"))
    };
    assert!(soon(cache.transact(both("1"))).await.is_committed());
    assert_eq!((w.peek("a").as_deref(), w.peek("b").as_deref()), (Some("1"), Some("1")));
    w.script.next(Op::Put, "a", Does::Reject);
    assert!(matches!(soon(cache.transact(both("2"))).await, Transacted::RolledBack(_)));
    let held = w.script.hold(Op::Put, "b", When::Before);
    let (runs, transaction) = (cache.clone(), both("3"));
    let task = ::tokio::spawn(async move { runs.transact(transaction).await });
    soon(::tokio::task::spawn_blocking(move || {
        held.wait_arrived();
        held
    }))
    .await
    .map(|held| {
        task.abort();
        held.release();
    })
    .expect("it is at the origin");
    while w.peek("b").as_deref() != Some("3") {
        ::tokio::task::yield_now().await;
    }
    assert_eq!(w.peek("a").as_deref(), Some("3"));
}

#[::tokio::test]
async fn b2_where_the_pool_is_full_a_transaction_leaves_no_trace() {
    let w = world();
    let cache = w.cache.on_tokio(&Pool::new(1, 0));
    let held = w.script.hold(Op::Put, "other", When::Before);
    let first = cache.clone();
    let first = ::tokio::spawn(async move { first.put("other", "1".to_owned(), &Call::new()).await.is_ok() });
    let held = soon(::tokio::task::spawn_blocking(move || {
        held.wait_arrived();
        held
    }));
    let held = held.await.expect("it is at the origin");
    let step = Step::call(|_| Outcome::Applied(StepDone::new()));
    let ended = soon(cache.transact(w.cache.transaction().step(step.writes("k")))).await;
    let Transacted::RolledBack(report) = ended else { panic!("{ended:?}") };
    assert!(matches!(report.cause, WriteError::NotSent(NotSent::Overloaded)));
    held.release();
    assert!(soon(first).await.expect("no panic"));
    w.seed("k", "its turn is free");
}
