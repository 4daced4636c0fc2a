//! The promises over an async source: its calls are tasks, no thread is held for them, and dropping a future changes nothing of that.
//!
//! Most tests run on a runtime of one thread, where whatever blocks would end them all.
#![cfg(feature = "tokio")]

#[path = "../common/mod.rs"]
mod common;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::tokio::runtime::{Builder as RuntimeBuilder, Handle};
use common::{Texts, WINDOW, in_doubt, not_sent, rejected, secs, text, within};
use world::{Does, Origin, ask, done, drop_future, runtime, soon, world, world_with};
use wtcache::tokio::{AsyncSource, AsyncWriteCx, Pool};
use wtcache::{
    Audit, Builder, Cache, Call, Change, Condition, CreateError, Expect, Failure, How, LoadCx, LoadError, Loaded,
    NotSent, Outcome, Record, Settlement, SourceError, WriteCx, WriteError,
};

// --- reading

#[::tokio::test]
async fn g2_a_thousand_tasks_of_one_thread_share_one_load() {
    let w = world();
    w.origin.set("k", "one");
    let gate = w.origin.hold("get k");
    let tasks: Vec<_> = (0..1_000).map(|_| w.read("k", Call::new())).collect();
    gate.arrived().await;
    gate.release();
    for task in tasks {
        assert_eq!(done(task).await.expect("loaded").as_deref(), Some("one"));
    }
    assert_eq!(w.origin.calls("get k"), 1);
    let hit = soon(w.cache.read("k", &Call::new())).await.expect("resident");
    assert_eq!(hit.how, How::Hit);
}

#[::tokio::test]
async fn g5_what_was_applied_is_read_and_what_was_deleted_is_not() {
    let w = world();
    w.seed("k", "one").await;
    assert_eq!(text(soon(w.cache.get("k")).await).as_deref(), Some("one"));
    w.seed("k", "two").await;
    assert_eq!(w.origin.calls("get k"), 0);
    soon(w.cache.delete("k", &Call::new())).await.map(drop).expect("applied");
    assert_eq!(text(soon(w.cache.get("k")).await), None);
    assert_eq!(w.origin.truth("k"), None);
}

#[::tokio::test]
async fn g4_a_load_that_was_overtaken_by_a_write_is_not_returned() {
    let w = world();
    w.origin.set("k", "old");
    let gate = w.origin.hold("get k");
    let reader = w.read("k", Call::new());
    gate.arrived().await;
    w.seed("k", "new").await;
    w.origin.set("k", "as the load saw it");
    gate.release();
    assert_eq!(done(reader).await.expect("read").as_deref(), Some("new"));
}

#[::tokio::test]
async fn g7_the_load_of_a_dropped_leader_goes_on_for_its_waiters() {
    let w = world();
    w.origin.set("k", "one");
    let gate = w.origin.hold("get k");
    let leader = w.read("k", Call::new());
    gate.arrived().await;
    let mut waiter = Box::pin(w.cache.get("k"));
    assert!(ask(&mut waiter).is_pending());
    drop_future(leader).await;
    gate.release();
    assert_eq!(text(soon(waiter).await).as_deref(), Some("one"));
    assert_eq!((w.origin.calls("get k"), w.origin.dropped()), (1, 0));
}

#[::tokio::test]
async fn g7_a_panic_is_the_leaders_own_and_a_waiter_takes_over() {
    let w = world();
    w.origin.set("k", "one");
    w.origin.next("get k", Does::Panic);
    // The task of the call runs when both have asked.
    let (mut leader, mut waiter) = (Box::pin(w.cache.get("k")), Box::pin(w.cache.get("k")));
    assert!(ask(&mut leader).is_pending() && ask(&mut waiter).is_pending());
    assert!(matches!(soon(leader).await.err(), Some(LoadError::Panicked(message)) if message == "scripted"));
    assert_eq!(text(soon(waiter).await).as_deref(), Some("one"));
}

#[::tokio::test]
async fn g7_a_load_without_an_answer_is_dropped_at_its_deadline_and_a_waiter_takes_over() {
    let w = world();
    w.origin.set("k", "one");
    let gate = w.origin.hang("get k");
    let leader = w.read("k", within(secs(2)));
    gate.arrived().await;
    let call = within(secs(9));
    let mut waiter = Box::pin(w.cache.read("k", &call));
    assert!(ask(&mut waiter).is_pending());
    assert_eq!(w.origin.dropped(), 0);
    w.clock.advance(secs(2));
    assert!(matches!(done(leader).await.err(), Some(LoadError::Deadline)));
    assert_eq!(w.origin.dropped(), 1, "the future of the source is gone");
    assert_eq!(soon(waiter).await.expect("loaded").how, How::Loaded { kept: true });
    assert_eq!(w.peek("k").as_deref(), Some("one"));
}

#[::tokio::test]
async fn g10_many_keys_are_loaded_one_after_the_other_and_each_has_its_answer() {
    let w = world();
    w.origin.set("a", "one");
    w.origin.set("b", "two");
    w.origin.next("get c", Does::Panic);
    let answers = soon(w.cache.get_many(["a", "b", "c", "a"], &Call::new())).await;
    let texts: Vec<_> =
        answers.iter().map(|a| a.as_ref().ok().map(|r| r.entry.as_ref().map(|e| e.value().as_str()))).collect();
    assert_eq!(texts, [Some(Some("one")), Some(Some("two")), None, Some(Some("one"))]);
    assert_eq!(w.origin.all_calls(), ["get a", "get b", "get c"]);
}

// --- writing

#[::tokio::test]
async fn a2_a_write_dropped_after_its_send_is_applied_and_visible() {
    let w = world();
    w.seed("k", "old").await;
    let gate = w.origin.hold("put k");
    let writer = w.put("k", "new", Call::new());
    gate.arrived().await;
    drop_future(writer).await;
    assert_eq!(w.peek("k").as_deref(), Some("old"));
    let call = Call::new();
    let mut next = Box::pin(w.cache.prepare("k", &call));
    assert!(ask(&mut next).is_pending(), "it holds the turn to its end");
    gate.release();
    soon(next).await.expect("granted").abort();
    assert_eq!((w.peek("k"), w.origin.truth("k")), (Some("new".to_owned()), Some("new".to_owned())));
    assert_eq!(w.origin.dropped(), 0);
}

#[::tokio::test]
async fn a2_a_write_dropped_before_its_turn_is_not_sent() {
    let w = world();
    let turn = soon(w.cache.prepare("k", &Call::new())).await.expect("free");
    let call = Call::new();
    let mut dropped = Box::pin(w.cache.put("k", "dropped".to_owned(), &call));
    let mut stays = Box::pin(w.cache.put("k", "stays".to_owned(), &call));
    assert!(ask(&mut dropped).is_pending() && ask(&mut stays).is_pending());
    drop(dropped);
    turn.abort();
    soon(stays).await.map(drop).expect("applied");
    assert_eq!(w.origin.all_calls(), ["put k"]);
}

#[::tokio::test]
async fn a1_each_outcome_reaches_the_caller() {
    let w = world();
    w.seed("k", "old").await;
    w.origin.next("put k", Does::Reject);
    rejected(soon(w.cache.put("k", "refused".to_owned(), &Call::new())).await);
    assert_eq!(w.peek("k").as_deref(), Some("old"));
    for does in [Does::Unknown, Does::Panic] {
        w.origin.next("put k", does);
        let doubt = in_doubt(soon(w.cache.put("k", "new".to_owned(), &Call::new())).await);
        assert_eq!((w.peek("k"), doubt.settles_in()), (None, WINDOW));
    }
}

#[::tokio::test]
async fn p9_a_create_runs_on_though_nobody_waits_for_it_and_ends_unknown_at_its_deadline() {
    let w = world();
    let create = |value: &'static str, call: Call| {
        let cache = w.cache.clone();
        ::tokio::spawn(async move { cache.create(value.to_owned(), &call).await.map(|created| created.key) })
    };
    assert_eq!(done(create("one", Call::new())).await.expect("applied").as_deref(), Some("made"));
    assert_eq!(w.peek("made").as_deref(), Some("one"));

    let gate = w.origin.hold("create");
    let dropped = create("two", Call::new());
    gate.arrived().await;
    drop_future(dropped).await;
    gate.release();
    while w.peek("made").as_deref() != Some("two") {
        ::tokio::task::yield_now().await;
    }

    let gate = w.origin.hang("create");
    let late = create("three", within(secs(2)));
    gate.arrived().await;
    w.clock.advance(secs(2));
    match done(late).await {
        Err(CreateError::Unknown(cause)) => assert_eq!(cause.failure(), Failure::TimedOut),
        other => panic!("{other:?}"),
    }
    let stats = w.cache.blocking().stats();
    assert_eq!((stats.in_doubt, stats.writes_unknown, w.origin.dropped()), (0, 1, 1));
    w.origin.next("create", Does::Panic);
    assert!(matches!(done(create("four", Call::new())).await, Err(CreateError::Unknown(_))));
    let late = done(create("five", within(secs(0)))).await;
    assert!(matches!(late, Err(CreateError::NotSent(NotSent::Deadline))));
}

#[::tokio::test]
async fn d1_a_write_without_an_answer_is_in_doubt_at_its_deadline() {
    let w = world();
    w.seed("k", "old").await;
    let gate = w.origin.hang("put k");
    let writer = w.put("k", "new", within(secs(2)));
    gate.arrived().await;
    assert_eq!(w.peek("k").as_deref(), Some("old"));
    w.clock.advance(secs(2));
    let doubt = in_doubt(done(writer).await);
    assert_eq!(doubt.cause().failure(), Failure::TimedOut);
    assert_eq!(w.origin.dropped(), 1, "the future of the source is gone");
    assert_eq!((w.peek("k"), w.cache.blocking().stats().in_doubt), (None, 1));
    // The window runs from the deadline.
    assert_eq!(doubt.settles_in(), WINDOW);
    w.clock.advance(WINDOW);
    assert!(soon(w.cache.wait(&doubt, secs(0))).await);
    assert_eq!(w.cache.blocking().stats().in_doubt, 0);
}

#[::tokio::test]
async fn d3_a_call_is_not_polled_past_its_deadline_and_sends_nothing_then() {
    let w = world();
    let gate = w.origin.hold("put k");
    let writer = w.put("k", "new", within(secs(2)));
    gate.arrived().await;
    // Both before the call's task runs again.
    w.clock.advance(secs(2));
    gate.release();
    let _doubt = in_doubt(done(writer).await);
    assert_eq!((w.origin.truth("k"), w.origin.dropped()), (None, 1));
}

#[::tokio::test]
async fn p3_tasks_take_turns_in_arrival_order() {
    let w = world();
    let gate = w.origin.hold("put k");
    let first = w.put("k", "0", Call::new());
    gate.arrived().await;
    let call = Call::new();
    let mut others: Vec<_> = (1..100).map(|n| Box::pin(w.cache.put("k", n.to_string(), &call))).collect();
    others.iter_mut().for_each(|other| assert!(ask(other).is_pending()));
    gate.release();
    assert!(done(first).await.expect("applied"));
    for (n, other) in (1..100).zip(others) {
        assert_eq!(soon(other).await.expect("applied").entry.expect("the record").value(), &n.to_string());
    }
    assert_eq!((w.peek("k").as_deref(), w.origin.calls("put k")), (Some("99"), 100));
}

#[::tokio::test]
async fn p6_updates_of_many_tasks_lose_nothing() {
    let w = world();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let cache = w.cache.clone();
            let add = |now: Option<&wtcache::Entry<Texts>>| {
                Ok(Change::Put(now.map_or(String::new(), |e| e.value().clone()) + "+"))
            };
            ::tokio::spawn(async move { cache.update("k", add, &Call::new()).await.map(drop) })
        })
        .collect();
    for task in tasks {
        done(task).await.expect("applied");
    }
    assert_eq!(w.origin.truth("k").map(|value| value.len()), Some(50));
    let panics = soon(w.cache.update("k", |_| panic!("scripted"), &Call::new())).await;
    assert!(matches!(not_sent(panics), NotSent::Panicked(message) if message == "scripted"));
    w.assert_untouched("k");
}

#[::tokio::test]
async fn p6_conditions_are_checked_in_the_turn_on_what_is_loaded_then() {
    let w = world();
    let call = Call::new();
    soon(w.cache.put_if("k", "one".to_owned(), Expect::Absent, &call)).await.map(drop).expect("applied");
    let unmet = soon(w.cache.put_if("k", "two".to_owned(), Expect::Absent, &call)).await;
    assert!(matches!(unmet, Err(WriteError::Unmet(_))));
    soon(w.cache.delete_if("k", Expect::Exists, &call)).await.map(drop).expect("applied");
    assert_eq!(w.origin.all_calls(), ["get k", "put k", "delete k"]);
}

#[::tokio::test]
async fn p7_a_permit_is_awaited_and_its_exits_never_wait() {
    let w = world();
    w.origin.set("k", "one");
    let call = Call::new();
    let first = soon(w.cache.prepare("k", &call)).await.expect("free");
    assert_eq!(text(soon(w.cache.existing(&first)).await).as_deref(), Some("one"));
    let (mut dropped, mut second) = (Box::pin(w.cache.prepare("k", &call)), Box::pin(w.cache.prepare("k", &call)));
    assert!(ask(&mut dropped).is_pending() && ask(&mut second).is_pending());
    drop(dropped);
    first.send().expect("in time").commit(Some(Record::new("two".to_owned())));
    let second = soon(second).await.expect("granted");
    assert_eq!(text(soon(w.cache.existing(&second)).await).as_deref(), Some("two"));
    drop(second);
    w.assert_untouched("k");
    assert_eq!(w.origin.all_calls(), ["get k"]);
}

#[::tokio::test]
async fn d3_a_replay_settles_the_doubt() {
    let origin = Origin::that_honours_idempotency();
    let w = world_with(origin, &Handle::current(), &Pool::new(4, 4), |builder| builder);
    w.origin.next("put k", Does::Unknown);
    let doubt = in_doubt(soon(w.cache.put("k", "one".to_owned(), &Call::new())).await);
    soon(w.cache.replay(&doubt, &Call::new())).await.map(drop).expect("applied");
    assert_eq!((doubt.outcome(), w.peek("k").as_deref()), (Some(Settlement::Applied), Some("one")));
}

// --- nested calls

#[::tokio::test]
async fn p5_a_source_awaits_its_own_cache() {
    // One place, and nobody may wait for it: what is nested needs none.
    let w = world_with(Origin::default(), &Handle::current(), &Pool::new(1, 0), |builder| builder);
    w.origin.set("k", "one");
    w.origin.set("other", "two");
    w.origin.next("get k", Does::Nest);
    assert_eq!(text(soon(w.cache.get("k")).await).as_deref(), Some("one"));
    w.origin.next("put k", Does::Nest);
    w.seed("k", "new").await;
    let nested = w.origin.nested();
    assert_eq!(nested, ["Some(\"two\") Err(NotSent(Reentrant))", "Err(NotSent(Reentrant))"]);
}

#[::tokio::test]
async fn p5_what_a_call_is_inside_of_does_not_leak_to_other_tasks_of_its_thread() {
    let w = world();
    let gate = w.origin.hold("put k");
    let writer = w.put("k", "one", Call::new());
    gate.arrived().await;
    // The source of "k" is pending on this very thread. A nested write would be refused.
    let call = Call::new();
    let mut other = Box::pin(w.cache.put("k", "two".to_owned(), &call));
    assert!(ask(&mut other).is_pending(), "it waits for its turn");
    gate.release();
    assert!(done(writer).await.expect("applied"));
    soon(other).await.map(drop).expect("applied");
    assert_eq!(w.origin.truth("k").as_deref(), Some("two"));
}

#[::tokio::test]
async fn p5_the_existing_record_is_awaited_inside_a_write() {
    let w = world();
    w.origin.set("k", "one");
    w.origin.next("put k", Does::Append);
    soon(w.cache.put("k", "+two".to_owned(), &Call::new())).await.map(drop).expect("applied");
    assert_eq!((w.origin.truth("k").as_deref(), w.peek("k").as_deref()), (Some("one+two"), Some("one+two")));
    assert_eq!(w.origin.all_calls(), ["get k", "put k"]);
}

#[::tokio::test]
async fn p5_a_source_that_asks_for_itself_is_refused_at_sixteen() {
    let w = world();
    w.origin.set("k", "one");
    w.origin.next("get k", Does::AskItself);
    assert_eq!(text(soon(w.cache.get("k")).await).as_deref(), Some("one"));
    let nested = w.origin.nested();
    assert_eq!((nested.len(), nested[0].as_str()), (16, "Err(TooDeep)"));
    assert!(nested[1..].iter().all(|read| read == "Ok(())"));
}

// --- bounds and life

#[::tokio::test]
async fn g8_the_pool_bounds_the_calls_and_holds_no_thread_for_them() {
    let runtime = Handle::current();
    let w = world_with(Origin::default(), &runtime, &Pool::new(1, 1), |builder| builder);
    let gate = w.origin.hold("get busy");
    let busy = w.read("busy", within(secs(600)));
    gate.arrived().await;
    let call = within(secs(2));
    let mut waits = Box::pin(w.cache.read("k", &call));
    assert!(ask(&mut waits).is_pending());
    let full = soon(w.cache.put("other", "one".to_owned(), &Call::new())).await;
    assert!(matches!(not_sent(full), NotSent::Overloaded));
    w.clock.advance(secs(2));
    assert!(matches!(soon(waits).await.err(), Some(LoadError::Deadline)));
    gate.release();
    assert_eq!(done(busy).await.expect("loaded"), None);
    w.seed("other", "two").await;
    assert_eq!(w.origin.all_calls(), ["get busy", "put other"]);
}

#[test]
fn g8_no_blocking_thread_is_used() {
    let runtime =
        RuntimeBuilder::new_current_thread().enable_time().max_blocking_threads(1).build().expect("a runtime");
    let (release, held) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let hog = ::tokio::task::spawn_blocking(move || held.recv());
        let w = world();
        w.seed("k", "one").await;
        w.cache.blocking().invalidate("k");
        assert_eq!(text(soon(w.cache.get("k")).await).as_deref(), Some("one"));
        release.send(()).expect("it is held");
        done(hog).await.expect("released");
    });
}

#[::tokio::test]
async fn b4_close_waits_for_a_sent_write_of_a_task() {
    let w = world();
    let gate = w.origin.hold("put k");
    let writer = w.put("k", "one", Call::new());
    gate.arrived().await;
    let (cache, alarms) = (w.cache.blocking().clone(), w.clock.alarms_ever_set());
    let closing = wtcache_testkit::spawn(move || cache.close(secs(3)));
    assert!(w.clock.wait_for_alarms(alarms + 1), "it waits for the write");
    assert!(matches!(w.cache.get("k").await.err(), Some(LoadError::Closed)));
    gate.release();
    done(writer).await.map(drop).expect("applied");
    let report = closing.join();
    assert_eq!((report.unfinished.len(), report.in_doubt.len()), (0, 0));
}

#[test]
fn a1_a_runtime_that_shuts_down_leaves_a_sent_write_in_doubt_and_gives_a_load_up() {
    let (home, others) = (runtime(), runtime());
    let w = world_with(Origin::default(), others.handle(), &Pool::new(8, 8), |builder| builder);
    w.origin.set("l", "one");
    let (put, get) = (w.origin.hold("put k"), w.origin.hold("get l"));
    home.block_on(async {
        let (writer, reader) = (w.put("k", "one", Call::new()), w.read("l", Call::new()));
        put.arrived().await;
        get.arrived().await;
        others.shutdown_background();
        let doubt = in_doubt(done(writer).await);
        assert_eq!(doubt.settles_in(), WINDOW);
        assert!(matches!(done(reader).await.err(), Some(LoadError::Source(_))));
        assert_eq!((w.origin.dropped(), w.cache.blocking().stats().in_doubt), (2, 1));
        // The load is given up, and the turn is free; but there is no runtime for the next call.
        assert!(matches!(soon(w.cache.get("l")).await.err(), Some(LoadError::Overloaded)));
        let put = soon(w.cache.put("m", "one".to_owned(), &Call::new())).await;
        assert!(matches!(not_sent(put), NotSent::Overloaded));
        w.assert_turn_is_free("k");
    });
}

#[test]
fn a1_a_panic_after_the_send_is_unknown_wherever_it_comes_from() {
    // Without timers, tokio panics where the cache arranges to be woken at the deadline.
    let (home, no_timers) =
        (runtime(), RuntimeBuilder::new_multi_thread().worker_threads(1).build().expect("a runtime"));
    let origin = Origin::default();
    let cache =
        Cache::builder_async(origin.clone(), no_timers.handle()).build().expect("options").on_tokio(&Pool::new(4, 4));
    let _gate = origin.hold("put k");
    let _doubt = in_doubt(home.block_on(async { soon(cache.put("k", "one".to_owned(), &Call::new())).await }));
    assert_eq!(cache.blocking().stats().in_doubt, 1);
}

// --- the blocking handle

#[test]
fn a1_the_blocking_handle_does_all_that_it_does_over_an_async_source() {
    let runtime = runtime();
    let w = world_with(Origin::default(), runtime.handle(), &Pool::new(4, 4), |builder| builder);
    let cache = w.cache.blocking();
    w.origin.set("k", "one");
    assert_eq!(text(cache.get("k")).as_deref(), Some("one"));
    cache.put("k", "two".to_owned()).map(drop).expect("applied");
    let add = |now: Option<&wtcache::Entry<Texts>>| Ok(Change::Put(format!("{}+", now.map_or("", |e| e.value()))));
    cache.update("k", add).map(drop).expect("applied");
    assert_eq!(w.origin.truth("k").as_deref(), Some("two+"));
    w.origin.next("put k", Does::Append);
    cache.put("k", "+".to_owned()).map(drop).expect("applied");
    assert_eq!(w.peek("k").as_deref(), Some("two++"));
    cache.invalidate("k");
    let turn = cache.prepare("k", &Call::new()).expect("free");
    assert_eq!(text(turn.existing()).as_deref(), Some("two++"));
    drop(turn);
    let answers = cache.get_many(["k", "none"]);
    assert!(matches!(&answers[..], [Ok(Some(_)), Ok(None)]));
    w.origin.next("put k", Does::Panic);
    let doubt = in_doubt(cache.put("k", "three".to_owned()));
    cache.invalidate("k");
    assert!(doubt.replay(&Call::new()).is_ok());
    w.origin.next("get l", Does::Nest);
    assert_eq!(text(cache.get("l")), None);
    assert_eq!(w.origin.nested(), ["None Err(NotSent(Reentrant))"]);
}

#[test]
fn d1_a_blocking_write_without_an_answer_is_in_doubt_at_its_deadline() {
    let runtime = runtime();
    let w = world_with(Origin::default(), runtime.handle(), &Pool::new(4, 4), |builder| builder);
    let gate = w.origin.hang("put k");
    let (cache, clock) = (w.cache.blocking().clone(), w.clock.clone());
    let alarms = clock.alarms_ever_set();
    let writer = wtcache_testkit::spawn(move || cache.put_with("k", "one".to_owned(), &within(secs(2))).map(drop));
    runtime.block_on(gate.arrived());
    assert!(clock.wait_for_alarms(alarms + 1), "it waits to its deadline");
    clock.advance(secs(2));
    let doubt = in_doubt(writer.join());
    assert_eq!((doubt.settles_in(), w.origin.dropped()), (WINDOW, 1));
}

#[::tokio::test]
async fn a2_a_blocking_call_in_a_task_panics_before_anything_has_happened() {
    let w = world();
    w.seed("hit", "one").await;
    let cache = w.cache.blocking();
    assert_eq!(text(cache.get("hit")).as_deref(), Some("one"), "a hit waits for nothing");
    let calls = w.origin.all_calls().len();
    let calls_that_block: [&dyn Fn(); 5] = [
        &|| drop(cache.get("k")),
        &|| drop(cache.put("k", "one".to_owned())),
        &|| drop(cache.delete("k")),
        &|| drop(cache.update("k", |_| Ok(Change::Keep))),
        &|| drop(cache.get_many(["k"])),
    ];
    for call in calls_that_block {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        w.assert_untouched("k");
    }
    assert_eq!(w.origin.all_calls().len(), calls);
    // Where threads may block, they may.
    let cache = cache.clone();
    done(::tokio::task::spawn_blocking(move || cache.put("k", "one".to_owned()).map(drop))).await.expect("applied");
}

// --- what runs in the background

#[test]
fn f4_a_refresh_awaits_the_source_on_its_runtime() {
    let runtime = runtime();
    let stale = |builder: Builder<Texts>| builder.lifetime(secs(10)).stale_while_revalidate(secs(2));
    let w = world_with(Origin::default(), runtime.handle(), &Pool::new(4, 4), stale);
    w.origin.set("k", "one");
    let cache = w.cache.blocking();
    assert_eq!(text(cache.get("k")).as_deref(), Some("one"));
    w.origin.set("k", "two");
    w.clock.advance(secs(11));
    let gate = w.origin.hold("get k");
    let read = runtime.block_on(w.cache.read("k", &Call::new())).expect("stale");
    assert_eq!(read.how, How::Stale);
    runtime.block_on(gate.arrived());
    // Past the window a reader joins it.
    w.clock.advance(secs(3));
    let call = Call::new();
    let mut joins = Box::pin(w.cache.read("k", &call));
    assert!(ask(&mut joins).is_pending());
    gate.release();
    assert_eq!(runtime.block_on(soon(joins)).expect("refreshed").how, How::Joined);
    assert_eq!((w.peek("k").as_deref(), w.origin.calls("get k")), (Some("two"), 2));
}

#[test]
fn b5_the_auditor_awaits_the_source_on_its_runtime() {
    let runtime = runtime();
    let audited = |builder: Builder<Texts>| builder.audit(Audit::new().every(secs(1)));
    let w = world_with(Origin::default(), runtime.handle(), &Pool::new(4, 4), audited);
    assert!(w.clock.wait_for_alarms(1), "the auditor counts its interval from when it came to rest");
    runtime.block_on(w.seed("k", "one"));
    let gate = w.origin.hold("get k");
    w.clock.advance(secs(2));
    runtime.block_on(gate.arrived());
    let alarms = w.clock.alarms_ever_set();
    gate.release();
    assert!(w.clock.wait_for_alarms(alarms + 1), "it sleeps again");
    let stats = w.cache.blocking().stats();
    assert_eq!((stats.audits, stats.audits_failed), (1, 0));
}

// --- contexts

#[::tokio::test]
async fn a_context_outside_any_cache_serves_the_test_of_a_source() {
    let origin = Origin::default();
    let cx = AsyncWriteCx::alone(secs(5), Some(Condition::Exists));
    assert!(matches!(origin.put(&"k".to_owned(), &"one".to_owned(), &cx).await, Outcome::Applied(_)));
    assert_eq!((cx.condition(), cx.remaining() <= secs(5)), (Some(&Condition::Exists), true));
    assert!(cx.existing().await.expect("nothing to ask").is_none() && cx.replaced().is_none());
    let _blocking: WriteCx<'_, Texts> = WriteCx::alone(secs(5), None);
}

/// A source that only reads.
struct Reads;

impl AsyncSource<Texts> for Reads {
    async fn get(&self, _: &String, _: &LoadCx<'_, Texts>) -> Result<Loaded<String>, SourceError> {
        Ok(Loaded::Absent)
    }
}

#[::tokio::test]
async fn a2_a_source_that_does_not_write_refuses() {
    let cache = Cache::builder_async(Reads, &Handle::current()).build().expect("options").on_tokio(&Pool::new(1, 1));
    for refused in
        [soon(cache.put("k", "one".to_owned(), &Call::new())).await, soon(cache.delete("k", &Call::new())).await]
    {
        assert_eq!(rejected(refused).error.failure(), Failure::Invalid);
    }
}
