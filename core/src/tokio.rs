//! The tokio driver: the same stories as the blocking calls, for tasks.
//!
//! Hits are answered on the spot; calls of the source run on a bounded pool of blocking threads; those who wait hold
//! wakers, no threads. Invariant: a call of the source, once begun, runs to its end whatever becomes of the task that asked for it: dropping a
//! future never abandons a sent write.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::tokio::sync::Semaphore;

use crate::cache::CacheOf;
use crate::clock::{Alarm, Clock, Tick};
use crate::commit::Written;
use crate::doubt::{DoubtTicket, InDoubt, Sending};
use crate::drive::{SourceCall, Step, Story, at_once};
use crate::entry::{Entry, Layout, Lookup};
use crate::error::{LoadError, NotSent, ReplayError, WriteError};
use crate::get::{GetMany, Read, panic_message};
use crate::nesting::Scope;
use crate::options::Call;
use crate::put::{Change, Expect, NoUpdate, Put, Write};
use crate::source::SourceError;
use crate::sync::task::{Sleep, on_a_thread, sleep};
use crate::sync::{Arc, AtomicUsize, Ordering};

/// Where calls of a source run: so many at once, so many waiting. Shared by the caches that it is given to.
///
/// Its threads are those of the runtime's blocking pool.
#[derive(Clone)]
pub struct Pool(Arc<PoolInner>);

struct PoolInner {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Pool {
    /// A pool that runs up to `at_once` calls and lets `most_waiting` more wait for a place.
    ///
    /// # Panics
    /// If `at_once` is zero or larger than a semaphore takes.
    #[must_use]
    pub fn new(at_once: usize, most_waiting: usize) -> Self {
        assert!(at_once > 0, "a pool of no places runs nothing");
        Self(Arc::new(PoolInner {
            places: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
            most_waiting,
        }))
    }

    /// Runs a call of the source to its end. One that finds the queue full, that gets no place before its deadline, or
    /// whose future is dropped while it waits, is dropped without being run.
    async fn run<C>(&self, call: C, clock: &dyn Clock) -> Result<C::Reply, Refused>
    where
        C: SourceCall + Send + 'static,
        C::Reply: Send + 'static,
    {
        let place = match Arc::clone(&self.0.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let _seat = Seat::take(&self.0).ok_or(Refused::Full)?;
                let until = call.deadline();
                let mut free = pin!(Arc::clone(&self.0.places).acquire_owned());
                let mut timer = None;
                poll_fn(|cx| match free.as_mut().poll(cx) {
                    Poll::Ready(place) => Poll::Ready(place.map_err(|_| Refused::Full)),
                    Poll::Pending if clock.now() >= until => Poll::Ready(Err(Refused::Late)),
                    Poll::Pending => arm(clock, until, &mut timer, cx),
                })
                .await?
            }
        };
        let work = move || {
            let reply = at_once(call.run());
            drop(place);
            reply
        };
        on_a_thread(work).await.map_err(|panic| match panic {
            Some(panic) => Refused::Panicked(panic_message(&*panic)),
            // The runtime is being shut down, and the call was dropped without being run.
            None => Refused::Full,
        })
    }
}

/// The call with the source calls that this thread is inside of: its own call of the source runs in another thread.
fn carried(call: &Call) -> Call {
    Call { scope: Scope::carried(call.scope.as_ref()), ..call.clone() }
}

/// Arranges that the task is polled again at `until`, and waits.
fn arm<T>(clock: &dyn Clock, until: Tick, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<T> {
    if let Alarm::After(duration) = clock.alarm(until, cx.waker()) {
        let mut sleep = Box::pin(sleep(duration));
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        *timer = Some(sleep);
    }
    Poll::Pending
}

enum Refused {
    Full,
    Late,
    Panicked(String),
}

impl From<Refused> for LoadError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Overloaded,
            Refused::Late => Self::Deadline,
            Refused::Panicked(message) => Self::Panicked(message),
        }
    }
}

/// A place in the pool's queue.
struct Seat<'a>(&'a PoolInner);

impl<'a> Seat<'a> {
    fn take(pool: &'a PoolInner) -> Option<Self> {
        // Relaxed: a counter that guards no other memory.
        let more = |waiting| (waiting < pool.most_waiting).then_some(waiting + 1);
        pool.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(pool))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An async handle on a cache. It shares everything with the blocking handles: calls of both may be mixed.
///
/// Dropping a future before it is ready is safe at any time: a load goes on for those who wait for it, a write that has not
/// been sent is not sent, and one that was sent runs on to its outcome.
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
    /// An async handle whose source calls run in `pool`. Its calls need a tokio runtime with time enabled.
    #[must_use]
    pub fn on_tokio(&self, pool: &Pool) -> AsyncCache<L> {
        AsyncCache { cache: self.clone(), pool: pool.clone() }
    }
}

impl<L: Layout> AsyncCache<L> {
    /// The blocking handle, for what never waits: `peek`, `invalidate`, `find`, `stats`.
    #[must_use]
    pub fn blocking(&self) -> &CacheOf<L> {
        &self.cache
    }

    /// See [`CacheOf::get`].
    ///
    /// # Errors
    /// As there, and [`LoadError::Overloaded`] where the pool's queue is full.
    pub async fn get<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> Result<Option<Entry<L>>, LoadError> {
        self.read(key, &Call::new()).await.map(|read| read.entry)
    }

    /// See [`CacheOf::read`].
    ///
    /// # Errors
    /// As [`AsyncCache::get`].
    pub async fn read<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Read<L>, LoadError> {
        if let Some(read) = self.cache.hit(key)? {
            return Ok(read);
        }
        let story = self.cache.get_story(key, &carried(call));
        match self.drive(story).await {
            Ok(result) => result,
            Err(refused) => Err(refused.into()),
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
                Next::Call(calls) => match self.pool.run(calls, clock).await {
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

    /// See [`CacheOf::put_with`].
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

    /// See [`CacheOf::delete_with`].
    ///
    /// # Errors
    /// As [`AsyncCache::put`].
    pub async fn delete<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Written<L>, WriteError<L>> {
        self.write(self.cache.put_story::<Q, NoUpdate<L>>(key, Write::Send(Sending::Delete), &carried(call))).await
    }

    /// See [`CacheOf::put_if_with`]. Dropped before the source is called, nothing is sent; after that it runs on to its outcome.
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

    /// See [`InDoubt::replay`]; the handle is of this cache. Dropped before the source is called, nothing is sent again; after that
    /// the replay runs on, and settles what its answer settles: [`InDoubt::outcome`] tells.
    ///
    /// # Errors
    /// As there, and [`NotSent::Overloaded`] where the pool's queue is full.
    pub async fn replay(&self, doubt: &InDoubt<L>, call: &Call) -> Result<Written<L>, ReplayError<L>> {
        self.write(doubt.replay_story(&carried(call))).await.map_err(ReplayError::of)
    }

    /// See [`InDoubt::wait`]; the handle is of this cache. Dropped, it changes nothing.
    pub async fn wait(&self, doubt: &InDoubt<L>, timeout: Duration) -> bool {
        let clock = &*self.cache.engine().clock;
        let end = clock.now().after(timeout);
        let mut seat = WaitsFor { ticket: doubt.ticket(), waker: None };
        let mut timer = None;
        poll_fn(|cx| {
            if seat.poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            if clock.now() >= end {
                Poll::Ready(false)
            } else {
                arm(clock, end.min(seat.ticket.until()), &mut timer, cx)
            }
        })
        .await
    }

    /// See [`CacheOf::update_with`]. The closure runs in the pool.
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

    async fn write<F>(&self, story: Put<L, F>) -> Result<Written<L>, WriteError<L>>
    where
        F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError> + Send + 'static,
    {
        match self.drive(story).await {
            Ok(result) => result,
            Err(Refused::Full) => Err(NotSent::Overloaded.into()),
            Err(Refused::Late) => Err(NotSent::Deadline.into()),
            // A panic of the source is an outcome; what gets here is the closure's, before anything was sent.
            Err(Refused::Panicked(message)) => Err(NotSent::Panicked(message).into()),
        }
    }

    async fn drive<S>(&self, mut story: S) -> Result<S::Output, Refused>
    where
        S: Story,
        S::Call: Send + 'static,
        <S::Call as SourceCall>::Reply: Send + 'static,
    {
        let clock = &*self.cache.engine().clock;
        loop {
            match next(&mut story, clock).await {
                Next::Done(output) => return Ok(output),
                Next::Call(call) => story.resume(self.pool.run(call, clock).await?),
            }
        }
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

/// Steps a story until it does not wait.
async fn next<S: Story>(story: &mut S, clock: &dyn Clock) -> Next<S::Call, S::Output> {
    let mut timer = None;
    poll_fn(|cx| match story.step(cx.waker()) {
        Step::Done(output) => Poll::Ready(Next::Done(output)),
        Step::Call(call) => Poll::Ready(Next::Call(call)),
        Step::Wait(until) => arm(clock, until, &mut timer, cx),
    })
    .await
}

/// What a story comes to when it does not wait.
enum Next<C, O> {
    Done(O),
    Call(C),
}
