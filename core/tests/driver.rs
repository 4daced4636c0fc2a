//! The promises of reading and writing that a driver could break, on the tokio driver.
#![cfg(feature = "tokio")]

mod common;

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ::tokio::runtime::Handle;
use ::tokio::task::JoinHandle;
use common::*;
use wtcache::tokio::{AsyncCache, Pool};
use wtcache::{
    Cache, Call, Change, Confirmed, How, LoadCx, LoadError, Loaded, NotSent, Outcome, Read, Record, Source,
    SourceError, WriteCx, WriteError,
};
use wtcache_testkit::{Does, Gate, Op, When};

type Reading = JoinHandle<Result<Read<Texts>, LoadError>>;
type Writing = JoinHandle<Result<bool, WriteError>>;

/// A world with an async handle; the tasks run beside the test.
struct Async {
    w: World,
    cache: AsyncCache<Texts>,
}

fn on_pool(at_once: usize, most_waiting: usize) -> Async {
    let w = world();
    let cache = w.cache.on_tokio(&Pool::new(at_once, most_waiting));
    Async { w, cache }
}

/// Awaits within a bound of real time.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    ::tokio::time::timeout(Duration::from_secs(10), future).await.expect("it ends")
}

/// The result of a task that ran to its end.
async fn done<T>(task: JoinHandle<T>) -> T {
    soon(task).await.expect("no panic in the task")
}

/// Drops the task's future.
async fn drop_future<T>(task: JoinHandle<T>) {
    task.abort();
    let ended = soon(task).await;
    assert!(ended.is_err_and(|error| error.is_cancelled()), "it was dropped before its end");
}

impl Async {
    fn read(&self, key: &'static str, call: Call) -> Reading {
        let cache = self.cache.clone();
        ::tokio::spawn(async move { cache.read(key, &call).await })
    }

    fn put(&self, key: &'static str, value: &'static str, call: Call) -> Writing {
        let cache = self.cache.clone();
        ::tokio::spawn(async move { cache.put(key, value.to_owned(), &call).await.map(|written| written.kept) })
    }

    /// Starts a task, and waits until it waits.
    #[track_caller]
    fn until_it_waits<T>(&self, start: impl FnOnce(&Self) -> T) -> T {
        let alarms = self.w.clock.alarms_ever_set();
        let started = start(self);
        assert!(self.w.clock.wait_for_alarms(alarms + 1), "it does not wait");
        started
    }

    /// Takes a place of the pool with a load of "busy", until the gate is released.
    fn occupy(&self) -> (Reading, Gate) {
        let gate = self.w.script.hold(Op::Get, "busy", When::Before);
        let reading = self.read("busy", within(secs(600)));
        gate.wait_arrived();
        (reading, gate)
    }
}

fn value(read: Result<Read<Texts>, LoadError>) -> Option<String> {
    text(read.map(|read| read.entry))
}

// --- reading

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_tasks_and_threads_share_one_load() {
    for leader_is_a_task in [true, false] {
        let a = on_pool(4, 4);
        a.w.script.set("k", "one");
        let gate = a.w.script.hold(Op::Get, "k", When::After);
        let task = leader_is_a_task.then(|| a.read("k", Call::new()));
        let thread = (!leader_is_a_task).then(|| a.w.start(|cache| cache.get("k")));
        gate.wait_arrived();
        let waiting_task = a.until_it_waits(|a| a.read("k", Call::new()));
        let waiting_thread = a.w.until_it_waits(|cache| cache.get("k"));
        gate.release();
        let read = done(waiting_task).await;
        assert_eq!(read.as_ref().ok().map(|read| read.how), Some(How::Joined));
        assert_eq!(value(read).as_deref(), Some("one"));
        assert_eq!(text(waiting_thread.join()).as_deref(), Some("one"));
        if let Some(task) = task {
            assert_eq!(value(done(task).await).as_deref(), Some("one"));
        }
        if let Some(thread) = thread {
            assert_eq!(text(thread.join()).as_deref(), Some("one"));
        }
        assert_eq!(a.w.loads("k"), 1);
        let hit = soon(a.cache.read("k", &Call::new())).await.expect("resident");
        assert_eq!(hit.how, How::Hit);
    }
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_moved_task_takes_the_entry_that_is_there_now() {
    let a = on_pool(4, 4);
    a.w.script.set("k", "old");
    let gate = a.w.script.hold(Op::Get, "k", When::After);
    let leader = a.read("k", Call::new());
    gate.wait_arrived();
    let waiter = a.until_it_waits(|a| a.read("k", Call::new()));
    soon(a.cache.put("k", "new".to_owned(), &Call::new())).await.map(drop).expect("applied");
    assert_eq!(value(done(waiter).await).as_deref(), Some("new"));
    gate.release();
    assert_eq!(value(done(leader).await).as_deref(), Some("new"));
    assert_eq!(a.w.peek("k").as_deref(), Some("new"));
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_a_task_takes_over_at_the_leaders_deadline() {
    let a = on_pool(4, 4);
    a.w.script.set("k", "one");
    let gate = a.w.script.hold(Op::Get, "k", When::After);
    let leader = a.read("k", within(secs(2)));
    gate.wait_arrived();
    let waiter = a.until_it_waits(|a| a.read("k", within(secs(9))));
    a.w.script.set("k", "two");
    a.w.clock.advance(secs(2));
    assert_eq!(value(done(waiter).await).as_deref(), Some("two"));
    gate.release();
    assert!(matches!(done(leader).await.err(), Some(LoadError::Deadline)));
    assert_eq!(a.w.peek("k").as_deref(), Some("two"));
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_the_load_of_a_dropped_leader_goes_on_for_its_waiters() {
    let a = on_pool(4, 4);
    a.w.script.set("k", "one");
    let gate = a.w.script.hold(Op::Get, "k", When::Before);
    let leader = a.read("k", Call::new());
    gate.wait_arrived();
    let waiter = a.until_it_waits(|a| a.read("k", Call::new()));
    drop_future(leader).await;
    gate.release();
    assert_eq!(value(done(waiter).await).as_deref(), Some("one"));
    assert_eq!((a.w.loads("k"), a.w.peek("k").as_deref()), (1, Some("one")));
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_a_leader_dropped_before_its_call_lets_a_waiter_lead() {
    let a = on_pool(1, 4);
    a.w.script.set("k", "one");
    let (busy, gate) = a.occupy();
    let leader = a.until_it_waits(|a| a.read("k", Call::new()));
    let waiter = a.until_it_waits(|a| a.read("k", Call::new()));
    drop_future(leader).await;
    gate.release();
    let read = done(waiter).await.expect("loaded");
    assert_eq!(read.how, How::Loaded { kept: true });
    assert_eq!(a.w.loads("k"), 1);
    assert!(done(busy).await.is_ok());
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_a_dropped_waiter_is_missed_by_nobody() {
    let a = on_pool(4, 4);
    a.w.script.set("k", "one");
    let gate = a.w.script.hold(Op::Get, "k", When::Before);
    let leader = a.read("k", Call::new());
    gate.wait_arrived();
    let dropped = a.until_it_waits(|a| a.read("k", Call::new()));
    let stays = a.until_it_waits(|a| a.read("k", Call::new()));
    drop_future(dropped).await;
    gate.release();
    assert_eq!(value(done(leader).await).as_deref(), Some("one"));
    assert_eq!(value(done(stays).await).as_deref(), Some("one"));
}

// --- writing

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_a_write_dropped_in_the_queue_is_not_sent_and_delays_nobody() {
    let a = on_pool(4, 4);
    let holder = a.w.cache.prepare("k", &Call::new()).expect("free");
    let dropped = a.until_it_waits(|a| a.put("k", "dropped", Call::new()));
    let stays = a.until_it_waits(|a| a.put("k", "stays", Call::new()));
    drop_future(dropped).await;
    holder.abort();
    assert!(done(stays).await.expect("applied"));
    assert_eq!(a.w.script.applied("k"), ["stays"]);
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_a_write_dropped_before_its_send_is_not_sent_and_passes_the_turn() {
    let a = on_pool(1, 4);
    let (busy, gate) = a.occupy();
    let dropped = a.until_it_waits(|a| a.put("k", "dropped", Call::new()));
    let stays = a.w.until_it_waits(|cache| cache.put("k", "stays".to_owned()).map(drop));
    drop_future(dropped).await;
    stays.join().expect("applied");
    assert_eq!(a.w.script.applied("k"), ["stays"]);
    gate.release();
    assert!(done(busy).await.is_ok());
    assert_eq!(a.w.script.calls(Op::Put, "k"), 1);
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_a_write_dropped_after_its_send_runs_on_to_its_outcome() {
    for does in [Does::Well, Does::Reject, Does::Unknown] {
        let a = on_pool(4, 4);
        a.w.seed("k", "old");
        let (value, doubts) = match does {
            Does::Well => (Some("new"), 0),
            Does::Reject => (Some("old"), 0),
            _ => (None, 1),
        };
        a.w.script.next(Op::Put, "k", does);
        let gate = a.w.script.hold(Op::Put, "k", When::Before);
        let writer = a.put("k", "new", Call::new());
        gate.wait_arrived();
        drop_future(writer).await;
        // It holds the turn to its end.
        let next = a.w.until_it_waits(|cache| cache.prepare("k", &Call::new()));
        gate.release();
        next.join().expect("granted").abort();
        assert_eq!((a.w.peek("k").as_deref(), a.w.cache.stats().in_doubt), (value, doubts));
    }
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_a_panic_of_the_source_in_the_pool_is_unknown() {
    let a = on_pool(1, 0);
    a.w.script.next(Op::Put, "k", Does::Panic);
    let _doubt = in_doubt(soon(a.cache.put("k", "one".to_owned(), &Call::new())).await);
    a.w.script.next(Op::Get, "k", Does::Panic);
    let read = soon(a.cache.get("k")).await;
    assert!(matches!(read.err(), Some(LoadError::Panicked(_))));
    // The place is free again.
    assert_eq!(text(soon(a.cache.get("k")).await), None);
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_tasks_take_turns_in_arrival_order() {
    let a = on_pool(4, 4);
    let holder = a.w.cache.prepare("k", &Call::new()).expect("free");
    let names = ["one", "two", "three"];
    let writers = names.map(|name| a.until_it_waits(|a| a.put("k", name, Call::new())));
    holder.abort();
    for writer in writers {
        let _kept = done(writer).await.expect("applied");
    }
    assert_eq!(a.w.script.applied("k"), names);
    assert_eq!(a.w.peek("k").as_deref(), Some("three"));
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_the_closure_of_an_update_runs_in_the_pool_and_its_panic_sends_nothing() {
    let a = on_pool(2, 2);
    a.w.seed("k", "one");
    let call = Call::new();
    let added = a.cache.update("k", |now| Ok(Change::Put(format!("{}+", now.map_or("", |e| e.value())))), &call);
    soon(added).await.map(drop).expect("applied");
    assert_eq!(a.w.peek("k").as_deref(), Some("one+"));
    let panics = a.cache.update("k", |_| panic!("scripted"), &call);
    let told = not_sent(soon(panics).await);
    assert!(matches!(&told, NotSent::Panicked(message) if message == "scripted"), "{told}");
    soon(a.cache.delete("k", &Call::new())).await.map(drop).expect("the turn is free");
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_a_task_that_takes_the_turn_of_an_overdue_write_is_woken_at_its_deadline() {
    let a = on_pool(4, 4);
    let sent = a.w.cache.prepare("k", &within(secs(2))).expect("free").send().expect("in time");
    let writer = a.until_it_waits(|a| a.put("k", "new", within(secs(60))));
    a.w.clock.advance(secs(2));
    assert!(!done(writer).await.expect("applied"), "the key is in doubt");
    drop(sent);
}

// --- the pool's bound

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_full_pool_is_an_error_and_nothing_was_sent() {
    let a = on_pool(1, 1);
    a.w.script.set("k", "one");
    let (busy, gate) = a.occupy();
    let waits = a.until_it_waits(|a| a.read("k", Call::new()));
    let read = soon(a.cache.get("other")).await;
    assert!(matches!(read.err(), Some(LoadError::Overloaded)));
    let put = soon(a.cache.put("other", "one".to_owned(), &Call::new())).await;
    assert!(matches!(not_sent(put), NotSent::Overloaded));
    assert_eq!((a.w.script.calls(Op::Get, "other"), a.w.script.calls(Op::Put, "other")), (0, 0));
    gate.release();
    assert_eq!(value(done(waits).await).as_deref(), Some("one"));
    assert!(done(busy).await.is_ok());
    soon(a.cache.put("other", "two".to_owned(), &Call::new())).await.map(drop).expect("turn and place are free");
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_leader_that_gets_no_place_in_time_gives_way_to_a_waiter() {
    let a = on_pool(1, 2);
    a.w.script.set("k", "one");
    let (busy, gate) = a.occupy();
    let leader = a.until_it_waits(|a| a.read("k", within(secs(2))));
    let waiter = a.until_it_waits(|a| a.read("k", within(secs(60))));
    a.w.clock.advance(secs(2));
    assert!(matches!(done(leader).await.err(), Some(LoadError::Deadline)));
    gate.release();
    assert_eq!(value(done(waiter).await).as_deref(), Some("one"));
    assert!(done(busy).await.is_ok());
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_call_waits_for_a_place_to_its_deadline_only() {
    let a = on_pool(1, 4);
    let (busy, gate) = a.occupy();
    let read = a.until_it_waits(|a| a.read("k", within(secs(2))));
    let put = a.until_it_waits(|a| a.put("other", "one", within(secs(2))));
    a.w.clock.advance(secs(2));
    assert!(matches!(done(read).await.err(), Some(LoadError::Deadline)));
    assert!(matches!(not_sent(done(put).await), NotSent::Deadline));
    gate.release();
    assert!(done(busy).await.is_ok());
    assert_eq!((a.w.loads("k"), a.w.script.calls(Op::Put, "other")), (0, 0));
    assert!(a.w.cache.prepare("other", &Call::new()).is_ok());
}

// --- nested calls

/// The source of "a" writes "b" on the driver, whose source, on another thread of the pool, writes "a".
#[derive(Clone, Default)]
struct Around {
    cache: Arc<OnceLock<AsyncCache<Texts>>>,
    inner: Arc<Mutex<Option<Result<(), WriteError>>>>,
}

impl Source<Texts> for Around {
    fn get(&self, key: &String, _: &LoadCx<'_, Texts>) -> Result<Loaded<String>, SourceError> {
        let cache = self.cache.get().expect("set before any call");
        if key == "a" {
            let nested = Handle::current().block_on(cache.put("b", "one".to_owned(), &Call::new()));
            nested.map(drop).expect("another key's turn is free");
        }
        Ok(Loaded::Absent)
    }

    fn put(&self, key: &String, value: &String, _: &WriteCx<'_, Texts>) -> Outcome<Confirmed<String>> {
        let cache = self.cache.get().expect("set before any call");
        if key == "b" {
            let result = cache.blocking().put("a", "two".to_owned()).map(drop);
            *self.inner.lock().expect("nobody panics with it") = Some(result);
        }
        Outcome::Applied(Confirmed::Record(Record::new(value.clone())))
    }
}

#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_nested_call_on_the_pool_knows_what_it_is_nested_in() {
    let source = Around::default();
    let cache = Cache::builder(source.clone()).build().expect("the options make sense").on_tokio(&Pool::new(4, 4));
    assert!(source.cache.set(cache.clone()).is_ok());
    assert!(soon(cache.get("a")).await.expect("absent").is_none());
    let inner = source.inner.lock().expect("nobody panicked with it").take();
    let refused = matches!(inner, Some(Err(WriteError::NotSent(NotSent::Reentrant))));
    assert!(refused, "a write of the key whose load is being served: {inner:?}");
}
