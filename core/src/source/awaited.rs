//! Async sources: what a program implements where its client of the origin is async.
//!
//! The trait is that of [`Source`](super::Source) with futures; behind it stands one that can be boxed. Invariant: a future of the source's ends with
//! its call: at its deadline it is dropped.

use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::any::{NoAnswer, caught};
use super::{
    Condition, Confirmed, CreateCx, Declared, IdempotencyKey, LoadCx, Loaded, Made, Outcome, SourceError, WriteCx,
};
use crate::clock::{Clock, Tick, Timer};
use crate::entry::{Entry, Layout};
use crate::error::LoadError;
use crate::nesting::Scope;

/// The adapter to an origin for one cache, where calls of the origin are awaited: the async sibling of [`Source`](super::Source),
/// for [`CacheOf::builder_async`](crate::CacheOf::builder_async).
///
/// `get` is required; a source that does not write keeps the default `put` and `delete`, which refuse. All methods may be written
/// as `async fn`.
///
/// # Cancellation
/// A call goes on when the future of the caller who asked for it is dropped. The cache drops a call's future at the deadline of its context,
/// wherever it waits then: a load has failed, a write is in doubt. So does the runtime when it shuts down. What the source
/// spawned must not send anything after that.
///
/// # Threads
/// Called from many tasks at once, on the runtime that the cache was given. For one key, at most one write is under way; loads may overlap it.
/// A call must not block its thread: within it, use [`AsyncCache`](crate::tokio::AsyncCache), not the blocking handle, whose calls panic
/// there if they are no hits.
///
/// It loads one record with one request: there is no sibling of [`LoadMany`](super::LoadMany), and
/// [`get_many`](crate::tokio::AsyncCache::get_many) loads one key after the other.
///
/// # Example
/// ```
/// use std::collections::HashMap;
/// use tokio::sync::Mutex;
/// use wtcache::tokio::{AsyncSource, AsyncWriteCx, Pool};
/// use wtcache::{Cache, Call, Confirmed, LoadCx, Loaded, Outcome, Record, SourceError, Typed};
///
/// type Stock = Typed<String, u32>;
///
/// #[derive(Default)]
/// struct Shelf(Mutex<HashMap<String, u32>>);
///
/// impl AsyncSource<Stock> for Shelf {
///     async fn get(&self, key: &String, _: &LoadCx<'_, Stock>) -> Result<Loaded<u32>, SourceError> {
///         Ok(self.0.lock().await.get(key).map_or(Loaded::Absent, |n| Loaded::Found(Record::new(*n))))
///     }
///     async fn put(&self, key: &String, value: &u32, _: &AsyncWriteCx<'_, Stock>) -> Outcome<Confirmed<u32>> {
///         self.0.lock().await.insert(key.clone(), *value);
///         Outcome::Applied(Confirmed::Record(Record::new(*value)))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// let cache = Cache::builder_async(Shelf::default(), runtime.handle()).build()?.on_tokio(&Pool::new(64, 1_000));
/// runtime.block_on(async {
///     cache.put("bolts", 5, &Call::new()).await?;
///     assert_eq!(cache.get("bolts").await?.map(|entry| *entry), Some(5));
///     Ok(())
/// })
/// # }
/// ```
pub trait AsyncSource<L: Layout>: Send + Sync + 'static {
    /// Asks the origin for the record of `key`: see [`Source::get`](super::Source::get).
    ///
    /// # Errors
    /// The origin could not be asked, or gave no usable answer. Nothing is cached then.
    fn get(
        &self,
        key: &L::Key,
        cx: &LoadCx<'_, L>,
    ) -> impl Future<Output = Result<Loaded<L::Value>, SourceError>> + Send;

    /// Sends `value` to the origin as the record of `key`: see [`Source::put`](super::Source::put).
    fn put(
        &self,
        _key: &L::Key,
        _value: &L::View,
        _cx: &AsyncWriteCx<'_, L>,
    ) -> impl Future<Output = Outcome<Confirmed<L::Value>>> + Send {
        ready(Outcome::never_put())
    }

    /// Removes the record of `key` at the origin: see [`Source::delete`](super::Source::delete).
    fn delete(&self, _key: &L::Key, _cx: &AsyncWriteCx<'_, L>) -> impl Future<Output = Outcome<()>> + Send {
        ready(Outcome::never_deleted())
    }

    /// Has the origin make a record whose key it names itself: see [`Source::create`](super::Source::create).
    fn create(&self, _value: &L::View, _cx: &CreateCx<'_>) -> impl Future<Output = Outcome<Made<L>>> + Send {
        ready(Outcome::never_created())
    }

    /// What is known of the origin. Asked once, when the cache is built.
    fn declared(&self) -> Declared {
        Declared::default()
    }
}

/// What an async source is told about a write: a [`WriteCx`](super::WriteCx) that is awaited where that one blocks.
pub struct AsyncWriteCx<'a, L: Layout>(Told<'a, L>);

enum Told<'a, L: Layout> {
    ByCache(&'a WriteCx<'a, L>),
    Alone(Box<WriteCx<'a, L>>),
}

impl<'a, L: Layout> AsyncWriteCx<'a, L> {
    fn cx(&self) -> &WriteCx<'a, L> {
        match &self.0 {
            Told::ByCache(cx) => cx,
            Told::Alone(cx) => cx,
        }
    }

    /// See [`WriteCx::remaining`](super::WriteCx::remaining). When it is over, the call's future is dropped.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.cx().remaining()
    }

    /// See [`WriteCx::idempotency_key`](super::WriteCx::idempotency_key).
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        self.cx().idempotency_key()
    }

    /// See [`WriteCx::condition`](super::WriteCx::condition).
    #[must_use]
    pub fn condition(&self) -> Option<&Condition> {
        self.cx().condition()
    }

    /// See [`WriteCx::replaced`](super::WriteCx::replaced).
    #[must_use]
    pub fn replaced(&self) -> Option<&Entry<L>> {
        self.cx().replaced()
    }

    /// See [`WriteCx::existing`](super::WriteCx::existing). Dropped, its load ends there.
    ///
    /// # Errors
    /// The record is not resident and could not be loaded. Nothing has been sent.
    pub async fn existing(&self) -> Result<Option<Entry<L>>, LoadError> {
        match self.cx().existing {
            Some(existing) => existing.awaited().await,
            None => Ok(None),
        }
    }

    /// See [`WriteCx::leaves_stray`](super::WriteCx::leaves_stray).
    pub fn leaves_stray(&self) {
        self.cx().leaves_stray();
    }

    /// The calls that this one is part of, to be passed on with [`Call::within`](crate::Call::within) by a source that uses the cache
    /// from another task. What this call itself awaits is known without it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.cx().scope()
    }
}

impl<L: Layout> AsyncWriteCx<'static, L> {
    /// A context outside any cache, for tests of a source: without an existing record.
    #[must_use]
    pub fn alone(remaining: Duration, condition: Option<Condition>) -> Self {
        Self(Told::Alone(Box::new(WriteCx::alone(remaining, condition))))
    }
}

/// A future of a source's, on the heap.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An async source whose type is not known. What the source does before its first await is done when the future is polled.
pub(crate) trait ErasedSource<L: Layout>: Send + Sync {
    fn get<'a>(&'a self, key: &'a L::Key, cx: &'a LoadCx<'a, L>) -> Boxed<'a, Result<Loaded<L::Value>, SourceError>>;

    fn put<'a>(
        &'a self,
        key: &'a L::Key,
        value: &'a L::View,
        cx: &'a WriteCx<'a, L>,
    ) -> Boxed<'a, Outcome<Confirmed<L::Value>>>;

    fn delete<'a>(&'a self, key: &'a L::Key, cx: &'a WriteCx<'a, L>) -> Boxed<'a, Outcome<()>>;

    fn create<'a>(&'a self, value: &'a L::View, cx: &'a CreateCx<'a>) -> Boxed<'a, Outcome<Made<L>>>;

    fn declared(&self) -> Declared;
}

impl<L: Layout, S: AsyncSource<L>> ErasedSource<L> for S {
    fn get<'a>(&'a self, key: &'a L::Key, cx: &'a LoadCx<'a, L>) -> Boxed<'a, Result<Loaded<L::Value>, SourceError>> {
        Box::pin(async move { AsyncSource::get(self, key, cx).await })
    }

    fn put<'a>(
        &'a self,
        key: &'a L::Key,
        value: &'a L::View,
        cx: &'a WriteCx<'a, L>,
    ) -> Boxed<'a, Outcome<Confirmed<L::Value>>> {
        Box::pin(async move { AsyncSource::put(self, key, value, &AsyncWriteCx(Told::ByCache(cx))).await })
    }

    fn delete<'a>(&'a self, key: &'a L::Key, cx: &'a WriteCx<'a, L>) -> Boxed<'a, Outcome<()>> {
        Box::pin(async move { AsyncSource::delete(self, key, &AsyncWriteCx(Told::ByCache(cx))).await })
    }

    fn create<'a>(&'a self, value: &'a L::View, cx: &'a CreateCx<'a>) -> Boxed<'a, Outcome<Made<L>>> {
        Box::pin(async move { AsyncSource::create(self, value, cx).await })
    }

    fn declared(&self) -> Declared {
        AsyncSource::declared(self)
    }
}

/// A call of an async source: ready with its answer, its panic, or at its deadline.
pub(crate) struct Awaited<'a, T> {
    /// `None` once it has ended.
    call: Option<Boxed<'a, T>>,
    clock: &'a dyn Clock,
    deadline: Tick,
    timer: Timer,
}

impl<'a, T> Awaited<'a, T> {
    pub(crate) fn new(call: Boxed<'a, T>, clock: &'a dyn Clock, deadline: Tick) -> Self {
        Self { call: Some(call), clock, deadline, timer: Timer::new() }
    }
}

impl<T> Future for Awaited<'_, T> {
    type Output = Result<T, NoAnswer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { call, clock, deadline, timer } = &mut *self;
        let running = call.as_mut().expect("not polled after its end");
        // Not asked once more: it might send something.
        let polled = if clock.now() < *deadline { caught(|| running.as_mut().poll(cx)) } else { Err(NoAnswer::Late) };
        let ended = match polled {
            Ok(Poll::Pending) => return timer.wait(*clock, *deadline, cx),
            Ok(Poll::Ready(answer)) => Ok(answer),
            Err(why) => Err(why),
        };
        // Its drop is the source's code too.
        Poll::Ready(caught(|| drop(call.take())).and(ended))
    }
}
