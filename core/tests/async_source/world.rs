//! What the tests of async sources play with: an origin in memory whose calls are awaited, and a cache over it.
//!
//! Invariant: nothing here blocks a thread.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::tokio::runtime::{Builder as RuntimeBuilder, Handle, Runtime};
use ::tokio::sync::Semaphore;
use ::tokio::task::JoinHandle;
use wtcache::tokio::{AsyncCache, AsyncSource, AsyncWriteCx, Pool};
use wtcache::{
    Builder, Cache, Call, Confirmed, CreateCx, Declared, Failure, LoadCx, LoadError, Loaded, Made, Outcome, Record,
    Rejection, SourceError, WriteError,
};
use wtcache_testkit::ManualClock;

use super::common::{Texts, WINDOW, text};

/// Where a call of the source waits, awaited on both sides.
#[derive(Clone)]
pub(crate) struct Gate(Arc<(Semaphore, Semaphore)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    pub(crate) async fn arrived(&self) {
        soon(self.0.0.acquire()).await.expect("never closed").forget();
    }

    pub(crate) fn release(&self) {
        self.0.1.add_permits(1);
    }

    pub(crate) async fn pass(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.expect("never closed").forget();
    }
}

#[derive(Clone)]
pub(crate) enum Does {
    /// Waits there, and does well.
    Hold(Gate),
    Panic,
    /// Has no answer, ever.
    Hang(Gate),
    Reject,
    Unknown,
    /// Reads "other" through the cache, and tries to write the key that it serves.
    Nest,
    /// Asks for the existing record, and stores that and the value.
    Append,
    /// Asks the cache for what it is asked for.
    AskItself,
}

/// An origin in memory.
#[derive(Clone, Default)]
pub(crate) struct Origin(Arc<Inner>);

#[derive(Default)]
struct Inner {
    records: Mutex<HashMap<String, String>>,
    next: Mutex<HashMap<String, VecDeque<Does>>>,
    calls: Mutex<Vec<String>>,
    dropped: Mutex<usize>,
    cache: OnceLock<AsyncCache<Texts>>,
    nested: Mutex<Vec<String>>,
    honours_idempotency: bool,
}

/// Counts the calls that ended without an answer.
struct Ends<'a>(&'a Inner, bool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if !self.1 {
            *lock(&self.0.dropped) += 1;
        }
    }
}

impl Origin {
    pub(crate) fn that_honours_idempotency() -> Self {
        Self(Arc::new(Inner { honours_idempotency: true, ..Inner::default() }))
    }

    /// What became of nested calls.
    pub(crate) fn nested(&self) -> Vec<String> {
        lock(&self.0.nested).clone()
    }

    /// What the next call of this kind does: "get k", "put k", "delete k".
    pub(crate) fn next(&self, call: &str, does: Does) {
        lock(&self.0.next).entry(call.to_owned()).or_default().push_back(does);
    }

    pub(crate) fn hold(&self, call: &str) -> Gate {
        let gate = Gate::new();
        self.next(call, Does::Hold(gate.clone()));
        gate
    }

    pub(crate) fn hang(&self, call: &str) -> Gate {
        let gate = Gate::new();
        self.next(call, Does::Hang(gate.clone()));
        gate
    }

    pub(crate) fn set(&self, key: &str, value: &str) {
        lock(&self.0.records).insert(key.to_owned(), value.to_owned());
    }

    pub(crate) fn truth(&self, key: &str) -> Option<String> {
        lock(&self.0.records).get(key).cloned()
    }

    pub(crate) fn calls(&self, call: &str) -> usize {
        lock(&self.0.calls).iter().filter(|other| *other == call).count()
    }

    pub(crate) fn all_calls(&self) -> Vec<String> {
        lock(&self.0.calls).clone()
    }

    pub(crate) fn dropped(&self) -> usize {
        *lock(&self.0.dropped)
    }

    pub(crate) fn cache(&self) -> &AsyncCache<Texts> {
        self.0.cache.get().expect("set before any call")
    }

    /// Does what is next, up to what the call itself is about.
    pub(crate) async fn begins(&self, call: String) -> Option<Does> {
        lock(&self.0.calls).push(call.clone());
        let does = lock(&self.0.next).get_mut(&call).and_then(VecDeque::pop_front);
        match &does {
            Some(Does::Hold(gate)) => gate.pass().await,
            Some(Does::Panic) => panic!("scripted"),
            Some(Does::Hang(gate)) => {
                gate.0.0.add_permits(1);
                pending::<()>().await;
            }
            _ => {}
        }
        does
    }

    pub(crate) async fn write(&self, call: String, key: &str, value: Option<String>) -> Outcome<()> {
        let mut ends = Ends(&self.0, false);
        let does = self.begins(call).await;
        ends.1 = true;
        let failed = |failure| SourceError::new(failure, "scripted");
        match does {
            Some(Does::Reject) => return Outcome::Rejected(Rejection::new(failed(Failure::Refused)).of_all_sends()),
            Some(Does::Unknown) => return Outcome::Unknown(failed(Failure::Broken)),
            Some(Does::Nest) => {
                let nested = self.cache().put(key, "nested".to_owned(), &Call::new()).await;
                lock(&self.0.nested).push(format!("{:?}", nested.map(drop)));
            }
            _ => {}
        }
        let mut records = lock(&self.0.records);
        match value {
            Some(value) => records.insert(key.to_owned(), value),
            None => records.remove(key),
        };
        Outcome::Applied(())
    }
}

impl AsyncSource<Texts> for Origin {
    async fn get(&self, key: &String, _: &LoadCx<'_, Texts>) -> Result<Loaded<String>, SourceError> {
        let mut ends = Ends(&self.0, false);
        let does = self.begins(format!("get {key}")).await;
        match does {
            Some(Does::Nest) => {
                let read = text(self.cache().get("other").await);
                let wrote = self.cache().put(key, "nested".to_owned(), &Call::new()).await.map(drop);
                lock(&self.0.nested).push(format!("{read:?} {wrote:?}"));
            }
            Some(Does::AskItself) => {
                self.next(&format!("get {key}"), Does::AskItself);
                let read = self.cache().get(key).await.map(drop);
                if read.is_err() {
                    lock(&self.0.next).clear();
                }
                lock(&self.0.nested).push(format!("{read:?}"));
            }
            _ => {}
        }
        ends.1 = true;
        Ok(self.truth(key).map_or(Loaded::Absent, |value| Loaded::Found(Record::new(value))))
    }

    async fn put(&self, key: &String, value: &String, cx: &AsyncWriteCx<'_, Texts>) -> Outcome<Confirmed<String>> {
        let call = format!("put {key}");
        let appends = matches!(lock(&self.0.next).get(&call).and_then(VecDeque::front), Some(Does::Append));
        let before = if appends { text(cx.existing().await) } else { None };
        let value = before.unwrap_or_default() + value;
        match self.write(call, key, Some(value.clone())).await {
            Outcome::Applied(()) => Outcome::Applied(Confirmed::Record(Record::new(value))),
            Outcome::Rejected(rejection) => Outcome::Rejected(rejection),
            Outcome::Unknown(error) => Outcome::Unknown(error),
        }
    }

    async fn create(&self, value: &String, _: &CreateCx<'_>) -> Outcome<Made<Texts>> {
        let key = "made".to_owned();
        self.write("create".to_owned(), &key, Some(value.clone())).await.map(|()| {
            let confirmed = Confirmed::Record(Record::new(value.clone()));
            Made::Known { key, confirmed }
        })
    }

    async fn delete(&self, key: &String, _: &AsyncWriteCx<'_, Texts>) -> Outcome<()> {
        self.write(format!("delete {key}"), key, None).await
    }

    fn declared(&self) -> Declared {
        let mut declared = Declared::default();
        declared.settle_window = WINDOW;
        declared.honours_idempotency = self.0.honours_idempotency;
        declared
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

/// A cache over an async origin, on this runtime.
pub(crate) struct World {
    pub(crate) origin: Origin,
    pub(crate) clock: ManualClock,
    pub(crate) cache: AsyncCache<Texts>,
}

pub(crate) fn world() -> World {
    world_with(Origin::default(), &Handle::current(), &Pool::new(64, 1024), |builder| builder)
}

pub(crate) fn world_with(
    origin: Origin,
    runtime: &Handle,
    pool: &Pool,
    options: impl FnOnce(Builder<Texts>) -> Builder<Texts>,
) -> World {
    let clock = ManualClock::new();
    let builder = Cache::builder_async(origin.clone(), runtime).clock(clock.shared()).clean_start(true);
    let cache = options(builder).build().expect("the options make sense").on_tokio(pool);
    assert!(origin.0.cache.set(cache.clone()).is_ok());
    World { origin, clock, cache }
}

/// Awaits within a bound of real time.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    ::tokio::time::timeout(Duration::from_secs(20), future).await.expect("it ends")
}

pub(crate) async fn done<T>(task: JoinHandle<T>) -> T {
    soon(task).await.expect("no panic in the task")
}

/// Asks a future once.
pub(crate) fn ask<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Drops the task's future.
pub(crate) async fn drop_future<T>(task: JoinHandle<T>) {
    task.abort();
    assert!(soon(task).await.is_err_and(|error| error.is_cancelled()), "it was dropped before its end");
}

pub(crate) type Reading = JoinHandle<Result<Option<String>, LoadError>>;
pub(crate) type Writing = JoinHandle<Result<bool, WriteError<Texts>>>;

impl World {
    pub(crate) fn read(&self, key: &'static str, call: Call) -> Reading {
        let cache = self.cache.clone();
        ::tokio::spawn(async move { cache.read(key, &call).await.map(|read| read.entry.map(|e| e.value().clone())) })
    }

    pub(crate) fn put(&self, key: &'static str, value: &'static str, call: Call) -> Writing {
        let cache = self.cache.clone();
        ::tokio::spawn(async move { cache.put(key, value.to_owned(), &call).await.map(|written| written.kept) })
    }

    pub(crate) async fn seed(&self, key: &str, value: &str) {
        soon(self.cache.put(key, value.to_owned(), &Call::new())).await.map(drop).expect("applied");
        assert_eq!(self.peek(key).as_deref(), Some(value));
    }

    pub(crate) fn peek(&self, key: &str) -> Option<String> {
        self.cache.blocking().peek(key).map(|entry| entry.value().clone())
    }

    pub(crate) fn assert_turn_is_free(&self, key: &str) {
        let call = Call::new();
        let mut turn = Box::pin(self.cache.prepare(key, &call));
        assert!(matches!(ask(&mut turn), Poll::Ready(Ok(_))), "the turn is free");
    }

    /// No turn is held, nothing is in doubt.
    pub(crate) fn assert_untouched(&self, key: &str) {
        assert_eq!(self.cache.blocking().stats().in_doubt, 0);
        self.assert_turn_is_free(key);
    }
}

pub(crate) fn runtime() -> Runtime {
    RuntimeBuilder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime")
}
