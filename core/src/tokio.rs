//! The tokio driver: the same stories as the blocking calls, for tasks.
//!
//! Hits are answered on the spot; calls of the source have a place in a bounded pool, and run on its blocking threads, or as tasks where the
//! source is async; those who wait hold wakers, no threads. Invariant: a call of the source, once begun, runs to its end whatever becomes of the task that asked for it: dropping a
//! future never abandons a sent write.

mod pool;

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::tokio::runtime::Handle;

use crate::cache::CacheOf;
use crate::clock::Timer;
use crate::commit::{Prepared, Written};
use crate::create::{Create, CreateError, Created};
use crate::doubt::{DoubtTicket, InDoubt, Sending};
use crate::drive::{Next, Spawned, Story, next};
use crate::entry::{Entry, Layout, Lookup};
use crate::error::{LoadError, NotSent, ReplayError, WriteError};
use crate::get::{GetMany, Read};
use crate::nesting::Scope;
use crate::options::{Builder, Call};
use crate::prepare::TakeTurn;
use crate::put::{Change, Expect, NoUpdate, Put, Write};
use crate::source::{AnySource, Failure, SourceError};
use crate::sync::Arc;
use crate::transaction::{Transacted, Transaction};

use pool::Refused;

pub use crate::source::{AsyncSource, AsyncWriteCx};
pub use pool::{Carried, Pool};

/// The call with the source calls that this thread is inside of: its own call of the source runs in another thread.
fn carried(call: &Call) -> Call {
    Call { scope: Scope::carried(call.scope.as_ref()), ..call.clone() }
}

/// An async handle on a cache. It shares everything with the blocking handles: calls of both may be mixed.
///
/// # Cancellation
/// Dropping a future before it is ready is safe at any time; each method says what becomes of its work. A load goes on for
/// those who wait for it, a write that has not been sent is not sent, and one that was sent runs on to its outcome. Where the
/// call runs as a task (the source is async) and its runtime is shut down, a sent write is in doubt and a load is given up.
///
/// # Threads
/// Any task may use it, on any runtime with time enabled. A call of a blocking source blocks a thread of the runtime's blocking
/// pool; one of an async source is a task, and blocks none. What waits holds no thread.
pub struct AsyncCache<L: Layout> {
    cache: CacheOf<L>,
    pool: Pool,
}

impl<L: Layout> Clone for AsyncCache<L> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), pool: self.pool.clone() }
    }
}

impl<L: Layout> CacheOf<L> {
    /// Begins to build a cache over an async source, whose calls are awaited on `runtime`: a tokio runtime with time enabled, that lives
    /// as long as the cache is used.
    ///
    /// [`CacheOf::on_tokio`] gives the handle for tasks. The blocking one may be used too, from threads that run no tasks; the cache's own
    /// threads (refreshes, the auditor) do the same. It waits on the runtime, so one of a current thread has to be run meanwhile.
    ///
    /// # Panics
    /// The calls of the *blocking* handle panic where this thread runs tasks of a runtime (tokio does not let it wait there), before
    /// anything was sent or a turn was taken. Hits do not, nor what never calls the source.
    pub fn builder_async(source: impl AsyncSource<L>, runtime: &Handle) -> Builder<L> {
        Builder::new(AnySource::Async(Arc::new(source), runtime.clone()))
    }

    /// An async handle whose source calls have their places in `pool`. Its calls need a tokio runtime with time enabled.
    #[must_use]
    pub fn on_tokio(&self, pool: &Pool) -> AsyncCache<L> {
        AsyncCache { cache: self.clone(), pool: pool.clone() }
    }
}

impl<L: Layout> AsyncCache<L> {
    /// The blocking handle, for what never waits: `peek`, `invalidate`, `pushed`, `find`, `stats`, `settle`, `doubts`, `put_optimistic` and its
    /// kin, whose handles are futures. (So are [`InDoubt::settle`] and [`Transaction::start`].) Its `close` waits for sent writes: call it where a thread may block, or with no timeout.
    #[must_use]
    pub fn blocking(&self) -> &CacheOf<L> {
        &self.cache
    }

    /// See [`CacheOf::get`]. Dropped, as [`AsyncCache::read`].
    ///
    /// # Errors
    /// As there, and [`LoadError::Overloaded`] where the pool's queue is full.
    pub async fn get<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> Result<Option<Entry<L>>, LoadError> {
        self.read(key, &Call::new()).await.map(|read| read.entry)
    }

    /// See [`CacheOf::read`]. Dropped while its load waits for a place in the pool, another reader that waits for it leads; after
    /// that the load runs on to its end, for those who wait and for the cache to keep.
    ///
    /// # Errors
    /// As [`AsyncCache::get`].
    pub async fn read<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Read<L>, LoadError> {
        let hash = self.cache.engine().hash(key);
        if let Some(read) = self.cache.hit((hash, key), &call.wants)? {
            return Ok(read);
        }
        let mut story = self.cache.get_story((hash, key), &carried(call), false);
        match self.drive(&mut story).await {
            Ok(result) => result,
            Err(refused) => Err(refused.into()),
        }
    }

    /// See [`CacheOf::read_confirmed`]. Dropped, as [`AsyncCache::read`].
    ///
    /// # Errors
    /// As [`AsyncCache::get`].
    pub async fn read_confirmed<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Read<L>, LoadError> {
        let hash = self.cache.engine().hash(key);
        if let Some(read) = self.cache.confirmed_hit((hash, key), &call.wants)? {
            return Ok(read);
        }
        let mut story = self.cache.get_story((hash, key), &carried(call), true);
        match self.drive(&mut story).await {
            Ok(result) => result,
            Err(refused) => Err(refused.into()),
        }
    }

    /// See [`Transaction::run`]; the transaction is of this cache. Dropped while it waits for its turns or for a place in the pool,
    /// nothing is sent, and the turns pass on; after that its steps run on to their end, and the cache shows what comes of them.
    ///
    /// Where the pool's queue is full, it is [`Transacted::RolledBack`] with [`NotSent::Overloaded`]. Where its runtime dropped it half-way
    /// (the source is async, and the runtime is shut down) it is [`Transacted::InDoubt`] without an account of its steps.
    pub async fn transact(&self, transaction: Transaction<L>) -> Transacted<L> {
        let mut story = transaction.carried().story(None);
        match self.drive(&mut story).await {
            Ok(ended) => ended,
            Err(Refused::Full) => Transacted::not_sent(NotSent::Overloaded),
            Err(Refused::Late) => Transacted::not_sent(NotSent::Deadline),
            Err(Refused::Lost) => Transacted::lost("the source's runtime dropped the transaction: it was shut down"),
            Err(Refused::Panicked(message)) => Transacted::lost(&format!("a panic between its steps: {message}")),
        }
    }

    /// See [`CacheOf::read_many`]. Dropped, the request that it has begun goes on for those who wait for its keys, and no further
    /// one begins.
    ///
    /// For a key whose load found the pool's queue full, the error is [`LoadError::Overloaded`].
    pub async fn get_many<'q, Q: Lookup<L> + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
        call: &Call,
    ) -> Vec<Result<Read<L>, LoadError>> {
        let story = self.cache.get_many_story(keys, &carried(call));
        self.drive_many(story).await
    }

    async fn drive_many(&self, mut story: GetMany<L>) -> Vec<Result<Read<L>, LoadError>> {
        let clock = &*self.cache.engine().clock;
        loop {
            match next(&mut story, clock).await {
                Next::Done(answers) => return answers,
                Next::Call(calls) => match self.run(calls).await {
                    Ok(replies) => story.resume(replies),
                    Err(refused) => story.refused(&refused.into()),
                },
            }
        }
    }

    /// See [`CacheOf::put_many_with`]. Dropped, a write that was sent runs on to its outcome, and those that were not begun never
    /// are.
    ///
    /// For a write that found the pool's queue full, the error is [`NotSent::Overloaded`].
    pub async fn put_many<'q, Q: Lookup<L> + ?Sized + 'q>(
        &self,
        records: impl IntoIterator<Item = (&'q Q, L::Value)>,
        call: &Call,
    ) -> Vec<Result<Written<L>, WriteError<L>>> {
        let stories = self.cache.put_stories(records, &carried(call));
        let mut outcomes = Vec::with_capacity(stories.len());
        for story in stories {
            outcomes.push(self.write(story).await);
        }
        outcomes
    }

    /// See [`CacheOf::put_with`]. Dropped while it waits for its turn or for a place in the pool, nothing is sent, and the turn
    /// passes on; after that the write runs on to its outcome, and the cache shows what comes of it. A doubt that it leaves is in
    /// [`CacheOf::doubts`].
    ///
    /// # Errors
    /// As there, and [`NotSent::Overloaded`] where the pool's queue is full.
    pub async fn put<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        value: L::Value,
        call: &Call,
    ) -> Result<Written<L>, WriteError<L>> {
        self.write(self.cache.put_story::<Q, NoUpdate<L>>(key, Write::Send(Sending::Put(value)), &carried(call))).await
    }

    /// See [`CacheOf::delete_with`]. Dropped, as [`AsyncCache::put`].
    ///
    /// # Errors
    /// As [`AsyncCache::put`].
    pub async fn delete<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Written<L>, WriteError<L>> {
        self.write(self.cache.put_story::<Q, NoUpdate<L>>(key, Write::Send(Sending::Delete), &carried(call))).await
    }

    /// See [`CacheOf::put_if_with`]. Dropped while it waits for its turn or for a place in the pool, nothing is read or sent; after
    /// that the read of the existing record, the check and the write run on to their outcome.
    ///
    /// # Errors
    /// As there, and [`NotSent::Overloaded`] where the pool's queue is full.
    pub async fn put_if<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        value: L::Value,
        expect: Expect,
        call: &Call,
    ) -> Result<Written<L>, WriteError<L>> {
        let write = Write::SendIf(Sending::Put(value), expect);
        self.write(self.cache.put_story::<Q, NoUpdate<L>>(key, write, &carried(call))).await
    }

    /// See [`CacheOf::delete_if_with`]. Dropped, as [`AsyncCache::put_if`].
    ///
    /// # Errors
    /// As `put_if`.
    pub async fn delete_if<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        expect: Expect,
        call: &Call,
    ) -> Result<Written<L>, WriteError<L>> {
        let write = Write::SendIf(Sending::Delete, expect);
        self.write(self.cache.put_story::<Q, NoUpdate<L>>(key, write, &carried(call))).await
    }

    /// See [`CacheOf::create_with`]. Dropped while it waits for a place in the pool, nothing is sent; after that it runs on, and the cache
    /// retains what comes of it.
    ///
    /// # Errors
    /// As there, and [`NotSent::Overloaded`] where the pool's queue is full.
    pub async fn create(&self, value: L::Value, call: &Call) -> Result<Created<L>, CreateError> {
        let mut story = Create::new(self.cache.engine(), value, &carried(call));
        let lost = |words: String| CreateError::Unknown(SourceError::new(Failure::Broken, words));
        match self.drive(&mut story).await {
            Ok(result) => result,
            Err(Refused::Full) => Err(NotSent::Overloaded.into()),
            Err(Refused::Late) => Err(NotSent::Deadline.into()),
            Err(Refused::Lost) => Err(lost("the source's runtime dropped the create: it was shut down".to_owned())),
            Err(Refused::Panicked(message)) => Err(lost(format!("a panic after the send: {message}"))),
        }
    }

    /// See [`CacheOf::prepare`]. Dropped, it leaves the queue, or gives the turn back. The permit's exits never wait; for the existing
    /// record use [`AsyncCache::existing`].
    ///
    /// # Errors
    /// As there.
    pub async fn prepare<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Prepared<L>, NotSent> {
        let engine = self.cache.engine();
        let mut story = TakeTurn::new(engine, engine.hash(key), Arc::new(key.to_key()), &carried(call), false);
        match next(&mut story, &*engine.clock).await {
            Next::Done(turn) => turn,
            Next::Call(never) => match never {},
        }
    }

    /// See [`Prepared::existing`]; the permit is of this cache. Dropped, a load that has begun runs to its end, for nobody.
    ///
    /// # Errors
    /// As there, and [`LoadError::Overloaded`] where the pool's queue is full.
    pub async fn existing(&self, prepared: &Prepared<L>) -> Result<Option<Entry<L>>, LoadError> {
        self.run(prepared.reading(Scope::carried(None))).await?
    }

    /// See [`InDoubt::replay`]; the handle is of this cache. Dropped while it waits for its turn or for a place in the pool, nothing
    /// is sent again; after that the replay runs on, and settles what its answer settles: [`InDoubt::outcome`] tells.
    ///
    /// # Errors
    /// As there, and [`NotSent::Overloaded`] where the pool's queue is full.
    pub async fn replay(&self, doubt: &InDoubt<L>, call: &Call) -> Result<Written<L>, ReplayError<L>> {
        let engine = doubt.engine()?;
        self.write(doubt.replay_story(&engine, &carried(call))).await.map_err(ReplayError::of)
    }

    /// See [`InDoubt::wait`]; the handle is of this cache. Dropped, it changes nothing, and leaves no waker behind.
    pub async fn wait(&self, doubt: &InDoubt<L>, timeout: Duration) -> bool {
        let clock = &*self.cache.engine().clock;
        let end = clock.now().after(timeout);
        let mut seat = WaitsFor { ticket: doubt.ticket(), waker: None };
        let mut timer = Timer::new();
        poll_fn(|cx| {
            if seat.poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            if clock.now() >= end { Poll::Ready(false) } else { timer.wait(clock, end.min(seat.ticket.until()), cx) }
        })
        .await
    }

    /// See [`CacheOf::update_with`]. The closure runs where the source is called: on a thread of the pool, or over an async source in
    /// a task, where it must not block. Dropped while it waits for its turn or for a place in the pool, the closure is not called and
    /// nothing is sent; after that read, closure and write run on to their outcome.
    ///
    /// # Errors
    /// As [`AsyncCache::put`], and [`NotSent::Panicked`] where the closure panicked.
    pub async fn update<Q, F>(&self, key: &Q, f: F, call: &Call) -> Result<Written<L>, WriteError<L>>
    where
        Q: Lookup<L> + ?Sized,
        F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError> + Send + 'static,
    {
        self.write(self.cache.put_story(key, Write::Update(f), &carried(call))).await
    }

    async fn write<F>(&self, mut story: Put<L, F>) -> Result<Written<L>, WriteError<L>>
    where
        F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError> + Send + 'static,
    {
        match self.drive(&mut story).await {
            Ok(result) => result,
            Err(Refused::Full) => Err(NotSent::Overloaded.into()),
            Err(Refused::Late) => Err(NotSent::Deadline.into()),
            Err(Refused::Lost) => Err(story.lost()),
            // A panic of the source is an outcome, and does not get here.
            Err(Refused::Panicked(message)) => Err(story.panicked(message)),
        }
    }

    async fn drive<S: Story<Call: Spawned>>(&self, story: &mut S) -> Result<S::Output, Refused> {
        let clock = &*self.cache.engine().clock;
        loop {
            match next(story, clock).await {
                Next::Done(output) => return Ok(output),
                Next::Call(call) => story.resume(self.run(call).await?),
            }
        }
    }

    async fn run<C: Spawned>(&self, call: C) -> Result<C::Reply, Refused> {
        let engine = self.cache.engine();
        self.pool.run(call, &*engine.clock, engine.source.runtime()).await
    }
}

/// A task that waits for the end of a doubt; it leaves with it.
struct WaitsFor<'a> {
    ticket: &'a DoubtTicket,
    waker: Option<Waker>,
}

impl WaitsFor<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(before) = self.waker.replace(cx.waker().clone()).filter(|before| !before.will_wake(cx.waker())) {
            self.ticket.leave(&before);
        }
        self.ticket.poll(cx)
    }
}

impl Drop for WaitsFor<'_> {
    fn drop(&mut self) {
        if let Some(waker) = &self.waker {
            self.ticket.leave(waker);
        }
    }
}
