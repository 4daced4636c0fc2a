//! Writes that are shown before the origin has confirmed them: how they are admitted, and the handle that tells how they ended.
//!
//! A pending write is an ordinary write with a turn of its own, which nobody waits for: its first step is made by the caller, and
//! puts an operation above the key's base; the cache's own threads do the rest. Invariant: it is shown from that step on to the one
//! in which it is applied, refused, in doubt or given up, and leaves no trace there that it did not leave at the origin.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::cache::CacheOf;
use crate::clock::{Clock, Tick};
use crate::commit::Written;
use crate::doubt::Sending;
use crate::drive::{Parker, SourceCall, Step, Story, finish};
use crate::engine::Engine;
use crate::entry::{Entry, Layout, Lookup, SharedKey};
use crate::error::{LoadError, NotSent, WriteError};
use crate::get::Read;
use crate::layers::{Merge, Op};
use crate::metrics::Event;
use crate::options::Call;
use crate::prepare::Ticket;
use crate::put::{Change, Put, Write, too_large};
use crate::settler::{Task, Work};
use crate::source::{SourceError, panic_message};
use crate::sync::{Arc, Mutex, Weak};

/// How a pending write ended: see [`Pending`].
pub type PendingWrite<L> = Pending<Result<Written<L>, WriteError<L>>>;

/// Something that is shown and has not ended: the handle to wait for its outcome, by [`wait`](Pending::wait) in a thread or, being a
/// future, in a task of any runtime. Dropping it changes nothing.
///
/// # Threads
/// All methods may be called from any thread at once.
#[must_use = "its outcome says whether what was shown has become so; dropped, nobody learns it"]
pub struct Pending<T> {
    promise: Arc<Promise<T>>,
    clock: Arc<dyn Clock>,
    cancel: Box<dyn Fn() -> bool + Send + Sync>,
}

impl<T> Pending<T> {
    pub(crate) fn new(
        promise: &Arc<Promise<T>>,
        clock: &Arc<dyn Clock>,
        cancel: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { promise: Arc::clone(promise), clock: Arc::clone(clock), cancel: Box::new(cancel) }
    }

    /// Waits for the outcome. It comes with the deadline at the latest, but for a blocking source that does not keep it. Blocks the
    /// thread: in a task, await the handle.
    #[must_use]
    pub fn wait(mut self) -> T {
        let parker = Parker::new();
        loop {
            if let Poll::Ready(outcome) = Pin::new(&mut self).poll(&mut Context::from_waker(parker.waker())) {
                return outcome;
            }
            parker.park_until(&*self.clock, Tick::NEVER);
        }
    }

    /// Waits for the outcome, for `timeout` at most. True if it is there.
    #[must_use]
    pub fn wait_for(&self, timeout: Duration) -> bool {
        let end = self.clock.now().after(timeout);
        let parker = Parker::new();
        loop {
            if self.promise.is_kept_or_wakes(parker.waker()) {
                return true;
            }
            if self.clock.now() >= end {
                self.promise.leave(parker.waker());
                return false;
            }
            parker.park_until(&*self.clock, end);
        }
    }

    /// The outcome is there. Never waits.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.promise.state.lock().outcome.is_some()
    }

    /// Takes it back while it waits for its turn, so that it is as if it had never been; the outcome is
    /// [`NotSent::Cancelled`]. False: it has its turn already, or has ended, and goes on as it would. Never waits.
    #[must_use = "false: it was not taken back"]
    pub fn cancel(&self) -> bool {
        (self.cancel)()
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    /// # Panics
    /// It was polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.promise.poll(cx.waker())
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("has_ended", &self.has_ended()).finish_non_exhaustive()
    }
}

/// An outcome that is yet to come. Its lock is a leaf.
pub(crate) struct Promise<T> {
    state: Mutex<PromiseState<T>>,
}

struct PromiseState<T> {
    outcome: Option<T>,
    taken: bool,
    wakers: Vec<Waker>,
}

impl<T> Promise<T> {
    pub(crate) fn new() -> Arc<Self> {
        let state = PromiseState { outcome: None, taken: false, wakers: Vec::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// The first outcome is the one.
    pub(crate) fn keep(&self, outcome: T) {
        let wakers = {
            let mut state = self.state.lock();
            if state.outcome.is_some() || state.taken {
                return;
            }
            state.outcome = Some(outcome);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, waker: &Waker) -> Poll<T> {
        let mut state = self.state.lock();
        assert!(!state.taken, "its outcome was taken before");
        match state.outcome.take() {
            Some(outcome) => {
                state.taken = true;
                Poll::Ready(outcome)
            }
            None => {
                state.leave_waker(waker);
                Poll::Pending
            }
        }
    }

    fn is_kept_or_wakes(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.outcome.is_some() {
            return true;
        }
        state.leave_waker(waker);
        false
    }

    /// Nobody waits with this waker any more.
    fn leave(&self, waker: &Waker) {
        let mut state = self.state.lock();
        let place = state.wakers.iter().position(|other| other.will_wake(waker));
        let left = place.map(|place| state.wakers.swap_remove(place));
        drop(state);
        drop(left);
    }
}

impl<T> PromiseState<T> {
    fn leave_waker(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|other| other.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }
}

/// What an optimistic write does within its turn, where that depends on the existing record.
type Update<L> =
    Box<dyn FnOnce(Option<&Entry<L>>) -> Result<Change<<L as Layout>::Value>, SourceError> + Send + 'static>;

impl<L: Layout> CacheOf<L> {
    /// The record of `key` as the origin confirmed it: from the cache, else from the origin, whatever is pending above it.
    ///
    /// # Errors
    /// As [`CacheOf::get`].
    pub fn get_confirmed<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> Result<Option<Entry<L>>, LoadError> {
        self.read_confirmed(key, &Call::new()).map(|read| read.entry)
    }

    /// [`CacheOf::get_confirmed`] with options of its own, and with where the answer came from.
    ///
    /// # Errors
    /// As `get_confirmed`.
    pub fn read_confirmed<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Read<L>, LoadError> {
        let key = (self.engine().hash(key), key);
        match self.confirmed_hit(key, &call.wants)? {
            Some(read) => Ok(read),
            None => self.miss(key, call, true),
        }
    }

    /// Shows `value` as the record of `key` at once, and writes it to the origin in the background, in its turn among all writes of the
    /// key. What is shown is the pending writes applied in order to what the origin confirmed: if the origin
    /// refuses this one, it is as if it had never been, and later writes of anyone stay.
    ///
    /// Neither waits nor calls the source. [`CacheOf::get`] and its kin show what is pending ([`Entry::pending_since`]);
    /// [`CacheOf::get_confirmed`], [`CacheOf::update`] and the existing record that a source asks for never do. Where
    /// its outcome is not known, the key is in doubt as after any write, and other pending writes are shown above what the origin says
    /// then. The bounds are those of [`Builder::optimistic`](crate::Builder::optimistic).
    ///
    /// # Errors
    /// It was not admitted; nothing has changed. The outcome of a write that was comes from the handle.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, Confirmed, LoadCx, Loaded, Outcome, Record, Source, SourceError, Typed, WriteCx};
    /// # struct Shop;
    /// # impl Source<Typed<String, u32>> for Shop {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(1)))
    /// #     }
    /// #     fn put(&self, _: &String, value: &u32, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<Confirmed<u32>> {
    /// #         Outcome::Applied(Confirmed::Record(Record::new(*value)))
    /// #     }
    /// # }
    /// # let cache = Cache::builder(Shop).build()?;
    /// let pending = cache.put_optimistic("bolts", 5)?;
    /// assert_eq!(cache.get("bolts")?.map(|entry| *entry), Some(5));
    /// let written = pending.wait()?;
    /// assert!(written.entry.is_some_and(|entry| entry.pending_since().is_none()), "the origin's own record");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_optimistic<Q: Lookup<L> + ?Sized>(&self, key: &Q, value: L::Value) -> Result<PendingWrite<L>, NotSent>
    where
        L::Value: Clone,
    {
        self.put_optimistic_with(key, value, &Call::new())
    }

    /// [`CacheOf::put_optimistic`] with options of its own. The deadline is that of the write: its wait for the turn, and the source's
    /// work.
    ///
    /// # Errors
    /// As `put_optimistic`.
    pub fn put_optimistic_with<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        value: L::Value,
        call: &Call,
    ) -> Result<PendingWrite<L>, NotSent>
    where
        L::Value: Clone,
    {
        if let Some(len) = too_large::<L>(&value) {
            return Err(NotSent::ValueTooLarge(len));
        }
        let key = Key::of(self, key)?;
        let weight = key.weigh(Some(L::view(&value)))?;
        let shown = key.engine.pending_record(key.hash, L::key(&key.key), Some(value.clone()), key.now);
        key.admit(Op::Set(shown), weight, Write::Send(Sending::Put(value)), call)
    }

    /// Shows at once that there is no record of `key`, and deletes it at the origin in the background: see
    /// [`CacheOf::put_optimistic`].
    ///
    /// # Errors
    /// As `put_optimistic`.
    pub fn delete_optimistic<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> Result<PendingWrite<L>, NotSent> {
        self.delete_optimistic_with(key, &Call::new())
    }

    /// [`CacheOf::delete_optimistic`] with options of its own.
    ///
    /// # Errors
    /// As `put_optimistic`.
    pub fn delete_optimistic_with<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        call: &Call,
    ) -> Result<PendingWrite<L>, NotSent> {
        let key = Key::of(self, key)?;
        let weight = key.weigh(None)?;
        let shown = key.engine.pending_record(key.hash, L::key(&key.key), None, key.now);
        key.admit(Op::Set(shown), weight, Write::Send(Sending::Delete), call)
    }

    /// Shows at once what `merge` makes of the record of `key`, or that there is none where it gives `None`; in the background, in the
    /// write's turn, `merge` is given what the origin confirmed, and what it makes of that is sent (as by [`CacheOf::update`]). See
    /// [`CacheOf::put_optimistic`].
    ///
    /// `merge` is given the value, or `None` where there is no record. It has to be pure: it is run again whenever what is
    /// beneath it has changed, by any reader, with no lock held. Where it panics, a read is answered as if the
    /// write were not pending, which then ends unsent.
    ///
    /// # Errors
    /// As `put_optimistic`. It weighs as a record without a value.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, Confirmed, LoadCx, Loaded, Outcome, Record, Source, SourceError, Typed, WriteCx};
    /// # struct Shop;
    /// # impl Source<Typed<String, u32>> for Shop {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(10)))
    /// #     }
    /// #     fn put(&self, _: &String, value: &u32, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<Confirmed<u32>> {
    /// #         Outcome::Applied(Confirmed::Record(Record::new(*value)))
    /// #     }
    /// # }
    /// # let cache = Cache::builder(Shop).build()?;
    /// cache.get("bolts")?;
    /// let sold = cache.merge_optimistic("bolts", |left| left.map(|left| left - 3))?;
    /// assert_eq!(cache.get("bolts")?.map(|entry| *entry), Some(7));
    /// assert_eq!(sold.wait()?.entry.map(|entry| *entry), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge_optimistic<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        merge: impl Fn(Option<&L::View>) -> Option<L::Value> + Send + Sync + 'static,
    ) -> Result<PendingWrite<L>, NotSent> {
        self.merge_optimistic_with(key, merge, &Call::new())
    }

    /// [`CacheOf::merge_optimistic`] with options of its own.
    ///
    /// # Errors
    /// As `merge_optimistic`.
    pub fn merge_optimistic_with<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        merge: impl Fn(Option<&L::View>) -> Option<L::Value> + Send + Sync + 'static,
        call: &Call,
    ) -> Result<PendingWrite<L>, NotSent> {
        self.try_merge_optimistic_with(key, move |existing| Ok(merge(existing)), None, call)
    }

    /// [`CacheOf::merge_optimistic_with`] for a merge that may refuse what is there: where it gives an error, a read is answered as if
    /// the write were not pending, and the write, where that comes of what its turn finds, ends [`WriteError::Rejected`] with that error,
    /// unsent. `weighs_as`: it weighs as a record with this value; for a merge that holds something of size.
    ///
    /// # Errors
    /// As `put_optimistic`.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, Call, Confirmed, Failure, LoadCx, Loaded, Outcome, Record, Source, SourceError, Typed, WriteCx, WriteError};
    /// # struct Shop;
    /// # impl Source<Typed<String, u32>> for Shop {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(2)))
    /// #     }
    /// #     fn put(&self, _: &String, value: &u32, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<Confirmed<u32>> {
    /// #         Outcome::Applied(Confirmed::Record(Record::new(*value)))
    /// #     }
    /// # }
    /// # let cache = Cache::builder(Shop).build()?;
    /// let sell = |left: Option<&u32>| match left.and_then(|left| left.checked_sub(3)) {
    ///     Some(left) => Ok(Some(left)),
    ///     None => Err(SourceError::new(Failure::Invalid, "fewer than three are left")),
    /// };
    /// let sold = cache.try_merge_optimistic_with("bolts", sell, None, &Call::new())?;
    /// assert_eq!(cache.get("bolts")?.map(|entry| *entry), Some(2));
    /// assert!(matches!(sold.wait(), Err(WriteError::Rejected(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_merge_optimistic_with<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        merge: impl Fn(Option<&L::View>) -> Result<Option<L::Value>, SourceError> + Send + Sync + 'static,
        weighs_as: Option<&L::View>,
        call: &Call,
    ) -> Result<PendingWrite<L>, NotSent> {
        let key = Key::of(self, key)?;
        let weight = key.weigh(weighs_as)?;
        let merge: Merge<L> = Arc::new(merge);
        let shown = Op::Merge(Arc::clone(&merge), key.now);
        let update: Update<L> = Box::new(move |existing| {
            Ok(match (merge(existing.map(Entry::value))?, existing) {
                (Some(value), _) => Change::Put(value),
                (None, Some(_)) => Change::Delete,
                (None, None) => Change::Keep,
            })
        });
        key.admit(shown, weight, Write::Update(update), call)
    }
}

/// A key that is to be written.
struct Key<'a, L: Layout> {
    engine: &'a Arc<Engine<L>>,
    hash: u64,
    key: SharedKey<L>,
    now: Tick,
}

impl<'a, L: Layout> Key<'a, L> {
    fn of<Q: Lookup<L> + ?Sized>(cache: &'a CacheOf<L>, key: &Q) -> Result<Self, NotSent> {
        let engine = cache.engine();
        let (hash, key, now) = (engine.hash(key), Arc::new(key.to_key()), engine.clock.now());
        match engine.too_long(L::key(&key)) {
            Some(len) => Err(NotSent::KeyTooLong(len)),
            None => Ok(Self { engine, hash, key, now }),
        }
    }

    fn weigh(&self, value: Option<&L::View>) -> Result<u64, NotSent> {
        self.engine.pending_weight(L::key(&self.key), value).ok_or(NotSent::TooManyPending)
    }

    fn admit(
        self,
        op: Op<L>,
        weight: u64,
        write: Write<L, Update<L>>,
        call: &Call,
    ) -> Result<PendingWrite<L>, NotSent> {
        let Self { engine, hash, key, .. } = self;
        let refused = |why| {
            engine.counters.count(Event::NotSent);
            Err(why)
        };
        let Some(place) = engine.pending.take(weight) else { return refused(NotSent::TooManyPending) };
        let story = Put::new(engine, hash, Arc::clone(&key), write, call).pending(call, op, place);
        let mut ticket = None;
        let promised = settle_as(
            engine,
            story,
            |story, message| Err(story.panicked(message)),
            |story| {
                ticket = story.ticket().map(Arc::clone);
            },
        )?;
        match promised {
            Ok(promise) => {
                let cancel = cancel(Arc::downgrade(engine), (hash, key), ticket, Arc::clone(&promise));
                Ok(Pending::new(&promise, &engine.clock, cancel))
            }
            Err(Err(WriteError::NotSent(why))) => Err(why),
            Err(_) => unreachable!("nothing was sent yet"),
        }
    }
}

/// The promise of an outcome, or the outcome where the first step was the last.
pub(crate) type Admitted<T> = Result<Result<Arc<Promise<T>>, T>, NotSent>;

/// Makes the first step of a story in this thread, which admits it, and has the rest done in the background. `panicked`: what is said
/// where a call of it panics.
pub(crate) fn settle<L: Layout, S>(
    engine: &Arc<Engine<L>>,
    story: S,
    panicked: fn(&S, String) -> S::Output,
) -> Admitted<S::Output>
where
    S: Story<Output: Send, Call: Send> + Send + 'static,
{
    settle_as(engine, story, panicked, |_| {})
}

/// The same, with a look at the story after its first step.
fn settle_as<L: Layout, S>(
    engine: &Arc<Engine<L>>,
    mut story: S,
    panicked: fn(&S, String) -> S::Output,
    look: impl FnOnce(&S),
) -> Admitted<S::Output>
where
    S: Story<Output: Send, Call: Send> + Send + 'static,
{
    let Ok(task) = engine.settler.task(&engine.clock) else { return Err(NotSent::Overloaded) };
    let (call, until) = match story.step(&task.waker()) {
        Step::Done(outcome) => return Ok(Err(outcome)),
        Step::Call(call) => (Some(call), None),
        Step::Wait(until) => (None, Some(until)),
    };
    look(&story);
    let promise = Promise::new();
    let kept = Arc::clone(&promise);
    Task::goes_on(&task, Box::new(Settle { engine: Arc::clone(engine), story, call, promise, panicked }), until);
    Ok(Ok(kept))
}

/// Takes a write back that still waits for its turn.
fn cancel<L: Layout>(
    engine: Weak<Engine<L>>,
    (hash, key): (u64, SharedKey<L>),
    ticket: Option<Arc<Ticket>>,
    promise: Arc<Promise<Result<Written<L>, WriteError<L>>>>,
) -> impl Fn() -> bool + Send + Sync {
    move || {
        let (Some(engine), Some(ticket)) = (engine.upgrade(), &ticket) else { return false };
        let waits = engine.at_key(hash, L::key(&key), |at| {
            let waits = at.cell().is_some_and(|cell| cell.queue.iter().any(|other| Arc::ptr_eq(other, ticket)));
            if waits && bugs::has(Bug::CancelledIsSent) {
                at.drop_layer(ticket.permit, true);
            } else if waits {
                at.leave_queue(ticket);
            }
            waits
        });
        if waits {
            // Told here: the threads that settle may all be busy.
            promise.keep(Err(WriteError::NotSent(NotSent::Cancelled)));
            if !bugs::has(Bug::CancelledIsSent)
                && let Some(waker) = ticket.cancel()
            {
                waker.wake();
            }
        }
        waits
    }
}

/// Something pending on its way to its end.
struct Settle<L: Layout, S: Story> {
    engine: Arc<Engine<L>>,
    story: S,
    call: Option<S::Call>,
    promise: Arc<Promise<S::Output>>,
    panicked: fn(&S, String) -> S::Output,
}

impl<L, S> Work for Settle<L, S>
where
    L: Layout,
    S: Story<Output: Send, Call: Send> + Send,
{
    fn go_on(&mut self, waker: &Waker) -> Option<Tick> {
        let outcome = match catch_unwind(AssertUnwindSafe(|| self.step(waker))) {
            Ok(Ok(until)) => return Some(until),
            Ok(Err(outcome)) => outcome,
            Err(panic) => (self.panicked)(&self.story, panic_message(&*panic)),
        };
        self.promise.keep(outcome);
        self.engine.wake_closers();
        None
    }
}

impl<L: Layout, S: Story> Settle<L, S> {
    /// Until when it waits, or how it ended.
    fn step(&mut self, waker: &Waker) -> Result<Tick, S::Output> {
        loop {
            if let Some(call) = self.call.take() {
                let reply = finish(call.run(), self.engine.source.runtime());
                self.story.resume(reply);
            }
            match self.story.step(waker) {
                Step::Done(outcome) => return Err(outcome),
                Step::Wait(until) => return Ok(until),
                Step::Call(call) => self.call = Some(call),
            }
        }
    }
}
