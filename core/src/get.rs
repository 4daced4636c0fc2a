//! The story of a read: lookup → coalesce → load → commit.
//!
//! A hit is answered on the spot. A miss joins the load that is attached to the key, or leads one; what a load brings is
//! retained only if the fence did not move while it ran. A reader that was moved twice is given its load's value, and in
//! the same step what is here is forgotten, so that nobody sees older values after it.
//! Invariant: a value is returned only if no write or invalidation that ended before the read began is newer.

mod many;
mod refresh;

use std::pin::pin;
use std::task::Waker;

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::coalesce::{Flight, News, Seat};
#[cfg(feature = "tokio")]
use crate::drive::Spawned;
use crate::drive::{SourceCall, Step, Story};
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout, Lookup, Times};
use crate::error::LoadError;
use crate::metrics::Event;
use crate::nesting::{self, DEEPEST, Nesting, Scope};
use crate::options::Call;
use crate::slot::{Answer, LoadEnd};
use crate::source::{Failure, LoadCx, Loaded, SourceError};
use crate::store::Store;
use crate::sync::Arc;
use crate::tags::Running;

pub(crate) use many::GetMany;

/// Where a read's answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// From a resident record, or a remembered absence: the source was not called.
    Hit,
    /// From a load that this call led. `kept`: the next read is a hit, until it expires.
    Loaded {
        /// The answer was retained.
        kept: bool,
    },
    /// From a load that another call led.
    Joined,
    /// From a resident record that has expired: served while it is refreshed, or in place of an error.
    /// [`Entry::stale_for`] says for how long.
    Stale,
}

/// A read's answer, with where it came from.
#[non_exhaustive]
pub struct Read<L: Layout> {
    /// The record; `None` where the origin has none.
    pub entry: Option<Entry<L>>,
    /// Where it came from.
    pub how: How,
}

/// The answer of a resident record or absent mark, if one may be served. Takes no exclusive lock and calls nothing.
pub(crate) fn peek<L: Layout, Q: Lookup<L> + ?Sized>(
    engine: &Engine<L>,
    hash: u64,
    key: &Q,
) -> Option<Option<Entry<L>>> {
    fresh(engine, hash, key).map(|(stored, _)| counted(engine, stored))
}

/// The same for a reader: what is about to expire is refreshed in the background, if the options say so.
pub(crate) fn hit<L: Layout, Q: Lookup<L> + ?Sized>(
    engine: &Arc<Engine<L>>,
    hash: u64,
    key: &Q,
) -> Option<Option<Entry<L>>> {
    let (stored, now) = fresh(engine, hash, key)?;
    refresh::ask(engine, hash, &stored, now, || key.to_key());
    Some(counted(engine, stored))
}

/// The resident record that may be served, and when that was found out.
fn fresh<L: Layout, Q: Lookup<L> + ?Sized>(engine: &Engine<L>, hash: u64, key: &Q) -> Option<(L::Stored, Tick)> {
    let state = engine.shard(hash).read();
    let stored = state.store.find(hash, |other| key.is_key(other))?;
    let until = stored.header().serve_until();
    // What has no end needs no look at the clock.
    let now = if until == Tick::NEVER { Tick::ZERO } else { engine.clock.now() };
    if until <= now {
        return None;
    }
    Store::<L>::touch(stored);
    Some((stored.clone(), now))
}

/// A hit, counted.
fn counted<L: Layout>(engine: &Engine<L>, stored: L::Stored) -> Option<Entry<L>> {
    let entry = Entry::of(stored);
    engine.counters.count(if entry.is_some() { Event::Hit } else { Event::AbsentHit });
    entry
}

type GetStep<L> = Step<LoadCall<L>, Result<Read<L>, LoadError>>;

/// A read that was not a hit at once.
pub(crate) struct Get<L: Layout> {
    engine: Arc<Engine<L>>,
    hash: u64,
    key: L::OwnedKey,
    deadline: Tick,
    nesting: Nesting,
    scope: Option<Scope>,
    /// The fence moved under a load of this reader before.
    moved: bool,
    joined: Option<(Arc<Flight<L>>, Option<Seat>)>,
    reply: Option<LoadReply<L>>,
}

impl<L: Layout> Get<L> {
    pub(crate) fn new(engine: &Arc<Engine<L>>, hash: u64, key: L::OwnedKey, call: &Call) -> Self {
        Self {
            hash,
            key,
            deadline: engine.deadline_of(call),
            nesting: Nesting::of(engine.frame(hash), call.scope.as_ref()),
            scope: call.scope.clone(),
            moved: false,
            joined: None,
            reply: None,
            engine: Arc::clone(engine),
        }
    }

    /// Asks the load that this reader waits for.
    fn ask(&mut self, waker: &Waker) -> Option<GetStep<L>> {
        let (flight, seat) = self.joined.as_mut()?;
        match flight.poll(self.moved, self.engine.load_queue, waker, seat) {
            News::Answer(answer) => return Some(Step::Done(answer.map(|entry| Read { entry, how: How::Joined }))),
            News::Closed => return Some(Step::Done(Err(LoadError::Closed))),
            News::Full => return Some(Step::Done(Err(LoadError::Overloaded))),
            News::Moved => self.moved = true,
            News::GivenUp => {}
            News::Wait => {
                let now = self.engine.clock.now();
                if now >= self.deadline {
                    return Some(Step::Done(Err(LoadError::Deadline)));
                }
                if now < flight.deadline {
                    return Some(Step::Wait(self.deadline.min(flight.deadline)));
                }
                if give_up(&self.engine, self.hash, L::key(&self.key), flight) {
                    self.engine.counters.count(Event::TakenOver);
                }
            }
        }
        self.joined = None;
        None
    }

    /// Looks again: the entry that is here now, the load to join, or a load to lead.
    fn look(&mut self) -> Option<GetStep<L>> {
        let engine = &self.engine;
        let now = engine.clock.now();
        if engine.is_closed() {
            return Some(Step::Done(Err(LoadError::Closed)));
        }
        if now >= self.deadline {
            return Some(Step::Done(Err(LoadError::Deadline)));
        }
        let nested = self.nesting.is_nested();
        if self.nesting.depth >= DEEPEST {
            return Some(Step::Done(Err(LoadError::TooDeep)));
        }
        // Made before the load is attached: a clone of the key is the program's code.
        let mut call = self.call();
        let mut spare = Some(self.key.clone());
        let flight = Arc::new(Flight::new(engine.new_fence(), self.deadline));
        let moved = self.moved;
        let found = engine.at_key(self.hash, L::key(&self.key), |at| {
            if engine.is_closed() {
                return Found::Closed;
            }
            if let Some(stored) = at.fresh(now) {
                Store::<L>::touch(stored);
                return Found::Fresh(stored.clone());
            }
            if nested {
                return Found::Nested;
            }
            if let Some(stored) = at.stale(now, engine.lifetimes.stale_while_revalidate) {
                Store::<L>::touch(stored);
                return Found::Stale(stored.clone());
            }
            if let Some(attached) = at.attached_flight() {
                if moved {
                    attached.note_moved_reader();
                }
                return Found::Attached(attached);
            }
            if moved {
                flight.note_moved_reader();
            }
            let replaced = at.resident().cloned();
            at.load_begins(Arc::clone(&flight), &mut spare);
            Found::Lead(replaced)
        });
        match found {
            Found::Closed => Some(Step::Done(Err(LoadError::Closed))),
            Found::Fresh(stored) => Some(Step::Done(Ok(Read { entry: counted(engine, stored), how: How::Hit }))),
            Found::Stale(stored) => {
                refresh::ask(engine, self.hash, &stored, now, || self.key.clone());
                Some(Step::Done(Ok(self.stale(stored))))
            }
            Found::Attached(attached) => {
                engine.counters.count(Event::Joined);
                self.joined = Some((attached, None));
                None
            }
            Found::Nested => {
                call.role = Some(Role::Alone);
                Some(Step::Call(call))
            }
            Found::Lead(replaced) => {
                let replaced = replaced.and_then(Entry::of);
                call.role = Some(Role::Leader { flight, replaced, moved });
                Some(Step::Call(call))
            }
        }
    }

    fn stale(&self, stored: L::Stored) -> Read<L> {
        self.engine.counters.count(Event::Stale);
        Read { entry: Entry::of(stored), how: How::Stale }
    }

    /// What is here may be given in place of some errors, for a while. A refusal of the origin's is an answer of its own.
    fn unless_stale(&self, error: LoadError) -> Result<Read<L>, LoadError> {
        let engine = &self.engine;
        let window = engine.lifetimes.stale_if_error;
        let may_be_stale = match &error {
            LoadError::Source(error) => !matches!(error.failure(), Failure::Refused | Failure::Invalid),
            LoadError::Deadline | LoadError::Panicked(_) => true,
            _ => false,
        };
        if window.is_zero() || !may_be_stale || self.nesting.is_nested() {
            return Err(error);
        }
        let now = engine.clock.now();
        let found = engine.at_key(self.hash, L::key(&self.key), |at| match at.fresh(now) {
            Some(stored) => Some((stored.clone(), true)),
            None => at.stale(now, window).map(|stored| (stored.clone(), false)),
        });
        match found {
            Some((stored, true)) => Ok(Read { entry: counted(engine, stored), how: How::Hit }),
            Some((stored, false)) => Ok(self.stale(stored)),
            None => Err(error),
        }
    }

    fn go_on(&mut self, waker: &Waker) -> GetStep<L> {
        if let Some(len) = self.engine.too_long(&self.key) {
            return Step::Done(Err(LoadError::KeyTooLong(len)));
        }
        loop {
            match self.reply.take() {
                Some(LoadReply::Done(result)) => return Step::Done(result),
                Some(LoadReply::Moved) => self.moved = true,
                None => {}
            }
            if let Some(step) = self.ask(waker) {
                return step;
            }
            // Having joined a load, the next round asks it.
            if let Some(step) = self.look() {
                return step;
            }
        }
    }

    /// A call that has no role yet.
    fn call(&self) -> LoadCall<L> {
        LoadCall {
            engine: Arc::clone(&self.engine),
            hash: self.hash,
            key: self.key.clone(),
            deadline: self.deadline,
            scope: self.scope.clone(),
            role: None,
        }
    }
}

enum Found<L: Layout> {
    Closed,
    Fresh(L::Stored),
    Stale(L::Stored),
    Attached(Arc<Flight<L>>),
    Lead(Option<L::Stored>),
    Nested,
}

impl<L: Layout> Story for Get<L> {
    type Call = LoadCall<L>;
    type Output = Result<Read<L>, LoadError>;

    fn step(&mut self, waker: &Waker) -> Step<LoadCall<L>, Self::Output> {
        match self.go_on(waker) {
            Step::Done(Err(error)) => Step::Done(self.unless_stale(error)),
            step => step,
        }
    }

    fn resume(&mut self, reply: LoadReply<L>) {
        self.reply = Some(reply);
    }
}

/// Who no longer waits gives its seat back.
impl<L: Layout> Drop for Get<L> {
    fn drop(&mut self) {
        if let Some((flight, Some(seat))) = self.joined.take() {
            flight.leave(seat);
        }
    }
}

/// A call of `Source::get`, on behalf of one reader or of all who wait. Dropped without being run, it lets another lead.
pub(crate) struct LoadCall<L: Layout> {
    engine: Arc<Engine<L>>,
    hash: u64,
    key: L::OwnedKey,
    deadline: Tick,
    scope: Option<Scope>,
    role: Option<Role<L>>,
}

enum Role<L: Layout> {
    /// `moved`: the leader was moved before.
    Leader { flight: Arc<Flight<L>>, replaced: Option<Entry<L>>, moved: bool },
    /// A nested read's own load.
    Alone,
}

pub(crate) enum LoadReply<L: Layout> {
    Done(Result<Read<L>, LoadError>),
    /// The fence moved meanwhile: the reader looks again.
    Moved,
}

impl<L: Layout> SourceCall for LoadCall<L> {
    type Reply = LoadReply<L>;

    async fn run(mut self) -> LoadReply<L> {
        match self.role.take() {
            Some(Role::Leader { flight, replaced, moved }) => self.lead(&flight, replaced.as_ref(), moved).await,
            Some(Role::Alone) | None => {
                let own = OwnLoad { engine: &self.engine, hash: self.hash, key: &self.key, deadline: self.deadline };
                let result = own.load(self.scope.as_ref()).await;
                LoadReply::Done(result.map(|entry| Read { entry, how: How::Loaded { kept: false } }))
            }
        }
    }

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick {
        self.deadline
    }

    #[cfg(feature = "tokio")]
    fn is_nested(&self) -> bool {
        self.scope.is_some()
    }
}

#[cfg(feature = "tokio")]
impl<L: Layout> Spawned for LoadCall<L> {
    fn spawned(self) -> impl Future<Output = Self::Reply> + Send + 'static {
        self.run()
    }
}

impl<L: Layout> LoadCall<L> {
    async fn lead(&self, flight: &Arc<Flight<L>>, replaced: Option<&Entry<L>>, moved: bool) -> LoadReply<L> {
        let guard = Leading { call: self, flight };
        let own = OwnLoad { engine: &self.engine, hash: self.hash, key: &self.key, deadline: self.deadline };
        let asked = own.ask(replaced, self.scope.as_ref()).await;
        guard.ends(&own, moved, asked)
    }
}

impl<L: Layout> Drop for LoadCall<L> {
    fn drop(&mut self) {
        if let Some(Role::Leader { flight, .. }) = &self.role {
            give_up(&self.engine, self.hash, L::key(&self.key), flight);
        }
    }
}

/// Gives the load up when dropped: also when something unwinds.
struct Leading<'a, L: Layout> {
    call: &'a LoadCall<L>,
    flight: &'a Flight<L>,
}

impl<L: Layout> Leading<'_, L> {
    fn ends(self, own: &OwnLoad<'_, L>, moved: bool, asked: Result<Asked<L>, LoadError>) -> LoadReply<L> {
        // The leader's own lateness or panic is not shared: dropped, the guard lets a waiter take over.
        match asked {
            Err(error @ (LoadError::Panicked(_) | LoadError::Deadline)) => return LoadReply::Done(Err(error)),
            Err(error) if own.is_late() => return LoadReply::Done(Err(error)),
            _ => {}
        }
        let flight = self.flight;
        std::mem::forget(self);
        own.ends(flight, moved, asked)
    }
}

impl<L: Layout> Drop for Leading<'_, L> {
    fn drop(&mut self) {
        give_up(&self.call.engine, self.call.hash, L::key(&self.call.key), self.flight);
    }
}

/// Detaches a load for good, so that a waiter leads one of its own. True if it was attached until now.
fn give_up<L: Layout>(engine: &Engine<L>, hash: u64, key: &L::Key, flight: &Flight<L>) -> bool {
    let attached = engine.at_key(hash, key, |at| at.load_taken_over(flight.fence));
    for waker in flight.give_up() {
        waker.wake();
    }
    attached
}

/// The existing record of a key, from inside its turn: the resident one, else a load of its own.
pub(crate) async fn existing<L: Layout>(own: &OwnLoad<'_, L>) -> Result<Option<Entry<L>>, LoadError> {
    let engine = own.engine;
    let now = engine.clock.now();
    let fresh = engine.at_key(own.hash, L::key(own.key), |at| at.fresh(now).cloned());
    match fresh {
        Some(stored) => Ok(Entry::of(stored)),
        None => own.load(None).await,
    }
}

/// [`existing`] as a call of its own, for whoever holds the turn.
#[cfg(feature = "tokio")]
pub(crate) struct Existing<L: Layout> {
    pub(crate) engine: Arc<Engine<L>>,
    pub(crate) hash: u64,
    pub(crate) key: L::OwnedKey,
    pub(crate) deadline: Tick,
    pub(crate) scope: Option<Scope>,
}

#[cfg(feature = "tokio")]
impl<L: Layout> SourceCall for Existing<L> {
    type Reply = Result<Option<Entry<L>>, LoadError>;

    async fn run(self) -> Self::Reply {
        let own = OwnLoad { engine: &self.engine, hash: self.hash, key: &self.key, deadline: self.deadline };
        nesting::within(&[], self.scope.as_ref(), existing(&own)).await
    }

    fn deadline(&self) -> Tick {
        self.deadline
    }

    #[cfg(feature = "tokio")]
    fn is_nested(&self) -> bool {
        self.scope.is_some()
    }
}

#[cfg(feature = "tokio")]
impl<L: Layout> Spawned for Existing<L> {
    fn spawned(self) -> impl Future<Output = Self::Reply> + Send + 'static {
        self.run()
    }
}

/// One call of `Source::get`.
pub(crate) struct OwnLoad<'a, L: Layout> {
    pub(crate) engine: &'a Arc<Engine<L>>,
    pub(crate) hash: u64,
    pub(crate) key: &'a L::OwnedKey,
    pub(crate) deadline: Tick,
}

/// What the source found, and when it was asked.
struct Asked<L: Layout> {
    /// `None` is an absent mark to be made.
    stored: Option<L::Stored>,
    keep: bool,
    /// The new times of a resident record that is unchanged.
    renewed: Option<Times>,
    /// What tags were invalidated since, for as long as the load counts as in flight.
    running: Running,
}

impl<L: Layout> OwnLoad<'_, L> {
    /// A load that nobody joins and that is not retained: what is here is forgotten in the step that returns it.
    async fn load(&self, scope: Option<&Scope>) -> Result<Option<Entry<L>>, LoadError> {
        if Nesting::of(self.engine.frame(self.hash), scope).depth >= DEEPEST {
            return Err(LoadError::TooDeep);
        }
        let asked = self.ask(None, scope).await?;
        self.engine.at_key(self.hash, L::key(self.key), |at| at.returned_unretained());
        Ok(asked.stored.and_then(Entry::of))
    }

    fn is_late(&self) -> bool {
        self.engine.clock.now() >= self.deadline
    }

    /// Calls the source. An answer that comes after the deadline is none.
    async fn ask(&self, replaced: Option<&Entry<L>>, scope: Option<&Scope>) -> Result<Asked<L>, LoadError> {
        let engine = self.engine;
        let key = L::key(self.key);
        let since = engine.clock.now();
        if since >= self.deadline {
            return Err(LoadError::Deadline);
        }
        engine.counters.count(Event::Load);
        let running = engine.tags.begins();
        let cx = LoadCx { clock: &*engine.clock, deadline: self.deadline, replaced };
        // To the end of this function: the weigher, the extractor and the key's clone must not wait for this load either.
        let asked = pin!(async {
            let answer = engine.source.get(key, &cx).await;
            self.made(answer, replaced, since, running)
        });
        nesting::within(&[engine.frame(self.hash)], scope, asked).await
    }

    /// Makes a record of what the source answered.
    fn made(
        &self,
        answer: Result<Loaded<L::Value>, LoadError>,
        replaced: Option<&Entry<L>>,
        since: Tick,
        running: Running,
    ) -> Result<Asked<L>, LoadError> {
        let engine = self.engine;
        let failed = |error| {
            engine.counters.count(Event::LoadFailed);
            Err(error)
        };
        let loaded = match answer {
            Ok(_) if self.is_late() => return failed(LoadError::Deadline),
            Ok(loaded) => loaded,
            Err(error) => return failed(error),
        };
        let mut renewed = None;
        let (stored, keep) = match (loaded, replaced) {
            (Loaded::Found(record), _) => {
                let len = L::value_len(&record.value);
                if u32::try_from(len).is_err() {
                    let error = SourceError::new(
                        Failure::Broken,
                        format!("a record of {len} bytes is larger than an entry can be"),
                    );
                    return failed(LoadError::Source(error));
                }
                engine.record(self.hash, self.key, record, since)
            }
            (Loaded::Absent, _) => engine.absent(self.hash, self.key, since),
            (Loaded::Unchanged(lifetime), Some(entry)) => {
                renewed = engine.renewed(since, lifetime);
                (entry.stored().clone(), renewed.is_some())
            }
            (Loaded::Unchanged(_), None) => {
                let error =
                    SourceError::new(Failure::Broken, "the source answered Unchanged, but it was offered nothing");
                return failed(LoadError::Source(error));
            }
        };
        Ok(Asked { stored: Some(stored), keep, renewed, running })
    }

    /// The load that this reader led has ended: commit it if the fence held, and tell those who wait.
    fn ends(&self, flight: &Flight<L>, moved: bool, asked: Result<Asked<L>, LoadError>) -> LoadReply<L> {
        let engine = self.engine;
        let (stored, keep, renewed, running, error) = match asked {
            Ok(asked) => (asked.stored, asked.keep, asked.renewed, Some(asked.running), None),
            Err(error) => (None, false, None, None, Some(error)),
        };
        let answer = match &stored {
            Some(stored) if stored.value().is_some() => Answer::Version(stored.version()),
            Some(_) => Answer::Absent,
            None => Answer::Failed,
        };
        let (end, kept) = engine.at_key(self.hash, L::key(self.key), |at| {
            at.load_ends(flight, answer, stored.as_ref(), renewed, keep, running.as_ref())
        });
        drop(running);
        let result = match error {
            Some(error) => Err(error),
            None => Ok(stored.and_then(Entry::of)),
        };
        let detached = end == LoadEnd::Detached;
        for waker in flight.end(result.clone(), detached) {
            waker.wake();
        }
        if detached && !moved && !bugs::has(Bug::DetachedLoadReturned) {
            return LoadReply::Moved;
        }
        LoadReply::Done(result.map(|entry| Read { entry, how: How::Loaded { kept } }))
    }
}
