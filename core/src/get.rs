//! The story of a read: lookup → coalesce → load → commit.
//!
//! A hit is answered on the spot. A miss joins the load that is attached to the key, or leads one; what a load brings is
//! retained only if the fence did not move while it ran. A reader that was moved twice is given its load's value, and in
//! the same step what is here is forgotten, so that nobody sees older values after it.
//! Invariant: a value is returned only if no write or invalidation that ended before the read began is newer.

mod alone;
mod load;
mod many;
mod refresh;
mod visible;
mod wants;

use std::task::Waker;

use crate::clock::Tick;
use crate::coalesce::{Based, Flight, News, Seat};
use crate::drive::{Step, Story};
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout, Lookup, SharedKey};
use crate::error::LoadError;
use crate::layers::Shown;
use crate::metrics::Event;
use crate::nesting::{DEEPEST, Nesting, Scope};
use crate::options::Call;
use crate::source::Failure;
use crate::store::Store;
use crate::sync::{Arc, Door};
use crate::windows::Stale;

pub(crate) use alone::get_now;
#[cfg(feature = "tokio")]
pub(crate) use load::Existing;
pub(crate) use load::{LoadCall, LoadReply, OwnLoad, existing};
pub(crate) use many::GetMany;
pub(crate) use wants::Wants;

use load::{Role, give_up};

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
    /// From a resident record that has expired, or does not do for this call: served while it is refreshed, or in place of an error.
    /// [`Entry::stale_for`] says for how long.
    Stale,
    /// Pending writes have a part in it, above a resident record, a load, or nothing: the origin has confirmed no such answer.
    /// [`Entry::pending_since`] says since when.
    Pending,
}

/// What was resident of a key, and not given, when a read asked its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed {
    /// Nothing, or the origin was not asked.
    Nothing,
    /// A record, or a remembered absence, that had expired.
    Expired,
    /// One that is fresh, but does not do for this call: [`Call::max_age`], [`Call::min_fresh`].
    Fresh,
}

/// A read's answer, with where it came from.
#[non_exhaustive]
pub struct Read<L: Layout> {
    /// The record; `None` where the origin has none.
    pub entry: Option<Entry<L>>,
    /// Where it came from.
    pub how: How,
    /// Where it came from a load: what was passed over for that.
    pub passed: Passed,
}

impl<L: Layout> Read<L> {
    fn new(entry: Option<Entry<L>>, how: How) -> Self {
        Self { entry, how, passed: Passed::Nothing }
    }
}

/// The answer of a resident record or absent mark, if one may be served, or of what is pending. Takes no exclusive lock and calls
/// no source.
pub(crate) fn peek<L: Layout, Q: Lookup<L> + ?Sized>(
    engine: &Engine<L>,
    hash: u64,
    key: &Q,
) -> Option<Option<Entry<L>>> {
    match fresh(engine, hash, key) {
        Some(stored) => Some(counted(engine, stored)),
        None => visible::hit(engine, hash, key).map(|read| read.entry),
    }
}

/// The same for a reader: what is about to expire is refreshed in the background, if the options say so. `confirmed`: what is pending
/// is not shown.
#[inline]
pub(crate) fn hit<L: Layout, Q: Lookup<L> + ?Sized>(
    engine: &Arc<Engine<L>>,
    hash: u64,
    key: &Q,
    confirmed: bool,
    wants: &Wants,
) -> Option<Read<L>> {
    let Some(stored) = fresh(engine, hash, key) else {
        return if confirmed { None } else { visible::hit(engine, hash, key) };
    };
    if !wants.takes_any() {
        let now = engine.clock.now();
        if !wants.takes(stored.header(), wants.oldest(now), now) {
            return None;
        }
    }
    refresh::ask(engine, hash, &stored, || Arc::new(key.to_key()));
    Some(Read::new(counted(engine, stored), How::Hit))
}

/// The resident record that has expired, if this call takes it all the same and nothing is pending above it. It is refreshed as that of
/// a hit is.
pub(crate) fn stale<L: Layout>(
    engine: &Arc<Engine<L>>,
    hash: u64,
    key: SharedKey<L>,
    wants: &Wants,
) -> Option<Read<L>> {
    wants.max_stale?;
    let now = engine.clock.now();
    let stored = engine.at_key(hash, L::key(&key), |at| {
        // One that is fresh, and does not do for this call, is no stale one.
        if at.shown().is_some() || at.fresh().is_some() {
            return None;
        }
        let does = |stored: &L::Stored| stored.header().since() >= wants.oldest(now);
        let stored = at.stale(Stale::WhileRevalidate, wants.max_stale).map(|stored| stored.clone()).filter(does)?;
        Store::<L>::touch(&stored);
        Some(stored)
    })?;
    refresh::ask(engine, hash, &stored, || key);
    engine.counters.count(Event::Stale);
    Some(Read::new(Entry::of(stored), How::Stale))
}

/// The resident record, if it may be served and nothing else is to be done or waited for: no lock, no refresh, nothing pending.
pub(crate) fn glance<L: Layout, Q: Lookup<L> + ?Sized>(engine: &Engine<L>, hash: u64, key: &Q) -> Option<Entry<L>> {
    let entry = {
        let state = engine.shard(hash).try_read()?;
        let stored = state.store.find(hash, |other| key.is_key(other))?;
        let header = stored.header();
        if engine.has_come(header.serve_until()) || engine.has_come(header.refresh()) {
            return None;
        }
        let entry = Entry::of(stored.clone())?;
        Store::<L>::touch(&stored);
        entry
    };
    engine.counters.count(Event::Hit);
    Some(entry)
}

/// The resident record that may be served.
fn fresh<L: Layout, Q: Lookup<L> + ?Sized>(engine: &Engine<L>, hash: u64, key: &Q) -> Option<L::Stored> {
    let state = engine.shard(hash).read();
    let stored = state.store.find(hash, |other| key.is_key(other))?;
    if engine.has_come(stored.header().serve_until()) {
        return None;
    }
    Store::<L>::touch(&stored);
    Some(stored.clone())
}

/// A hit, counted.
fn counted<L: Layout>(engine: &Engine<L>, stored: L::Stored) -> Option<Entry<L>> {
    let entry = Entry::of(stored);
    engine.counters.count(if entry.is_some() { Event::Hit } else { Event::AbsentHit });
    entry
}

/// Whether a reader is given what a load found that was detached: it was `moved` before, and misses nothing that was pending then.
fn takes_detached<L: Layout>(moved: bool, confirmed: bool, flight: &Flight<L>) -> bool {
    moved && (confirmed || !flight.is_beneath_pending())
}

type GetStep<L> = Step<LoadCall<L>, Result<Read<L>, LoadError>>;

/// A read that was not a hit at once.
pub(crate) struct Get<L: Layout> {
    engine: Arc<Engine<L>>,
    hash: u64,
    key: SharedKey<L>,
    deadline: Tick,
    nesting: Nesting,
    scope: Option<Scope>,
    /// What is pending is not shown.
    confirmed: bool,
    wants: Wants,
    /// The start of the oldest request whose answer will do.
    oldest: Tick,
    passed: Passed,
    /// The fence moved under a load of this reader before.
    moved: bool,
    joined: Option<(Arc<Flight<L>>, Option<Seat>)>,
    reply: Option<LoadReply<L>>,
}

impl<L: Layout> Get<L> {
    /// `confirmed`: it is blind to what is pending.
    pub(crate) fn new(engine: &Arc<Engine<L>>, hash: u64, key: SharedKey<L>, call: &Call, confirmed: bool) -> Self {
        let now = engine.clock.now();
        Self {
            hash,
            key,
            deadline: engine.deadline_of(call, now),
            nesting: Nesting::of(engine.frame(hash), call.scope.as_ref()),
            scope: call.scope.clone(),
            confirmed,
            wants: call.wants,
            oldest: call.wants.oldest(now),
            passed: Passed::Nothing,
            moved: false,
            joined: None,
            reply: None,
            engine: Arc::clone(engine),
        }
    }

    /// What a load brought, with what is pending above it.
    fn show(&self, based: Based<L>, how: How) -> Read<L> {
        if self.confirmed {
            return Read::new(based.entry, how);
        }
        visible::over_load(&self.engine, (self.hash, &self.key), based, how)
    }

    /// Asks the load that this reader waits for.
    fn ask(&mut self, waker: &Waker) -> Option<GetStep<L>> {
        let (flight, seat) = self.joined.as_mut()?;
        let takes_detached = takes_detached(self.moved, self.confirmed, flight);
        match flight.poll(takes_detached, self.engine.load_queue, waker, seat) {
            // It began too early for this reader, who waited for its end only so that there is one load at a time.
            News::Answer(_) if flight.began < self.oldest => {}
            News::Answer(answer) => return Some(Step::Done(answer.map(|based| self.show(based, How::Joined)))),
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
        if engine.is_closed() {
            return Some(Step::Done(Err(LoadError::Closed)));
        }
        if engine.has_come(self.deadline) {
            return Some(Step::Done(Err(LoadError::Deadline)));
        }
        let nested = self.nesting.is_nested();
        if self.nesting.depth >= DEEPEST {
            return Some(Step::Done(Err(LoadError::TooDeep)));
        }
        let mut call = self.call();
        let now = engine.clock.now();
        let flight = Arc::new(Flight::new(engine.new_fence(), now, self.deadline));
        let (moved, confirmed) = (self.moved, self.confirmed);
        let (wants, oldest, passed) = (self.wants, self.oldest, &mut self.passed);
        let takes_detached = |flight: &Flight<L>| takes_detached(moved, confirmed, flight);
        let found = engine.at_key(self.hash, L::key(&self.key), |at| {
            if engine.is_closed() {
                return Found::Closed;
            }
            let shown = if confirmed { None } else { at.shown() };
            let is_layered = shown.is_some();
            if let Some(shown @ (Shown::Is(_) | Shown::Fold(..))) = shown {
                return Found::Shown(shown);
            }
            let fresh = at.fresh();
            if let Some(stored) = &fresh
                && (wants.takes_any() || wants.takes(stored.header(), oldest, now))
            {
                Store::<L>::touch(stored);
                return Found::Fresh(L::Stored::clone(stored));
            }
            *passed = match fresh {
                Some(_) => Passed::Fresh,
                None if at.resident().is_some() => Passed::Expired,
                None => Passed::Nothing,
            };
            if nested {
                return Found::Nested;
            }
            let does =
                |stored: &L::Stored| !is_layered && *passed == Passed::Expired && stored.header().since() >= oldest;
            if let Some(stored) = at.stale(Stale::WhileRevalidate, wants.max_stale).filter(|stored| does(stored)) {
                Store::<L>::touch(&stored);
                return Found::Stale(stored.clone());
            }
            if let Some(attached) = at.attached_flight() {
                if takes_detached(&attached) {
                    attached.note_moved_reader();
                }
                return Found::Attached(attached);
            }
            let replaced = at.resident().map(|stored| stored.clone());
            at.load_begins(Arc::clone(&flight), &self.key);
            if takes_detached(&flight) {
                flight.note_moved_reader();
            }
            Found::Lead(replaced)
        });
        match found {
            Found::Closed => Some(Step::Done(Err(LoadError::Closed))),
            Found::Fresh(stored) => Some(Step::Done(Ok(Read::new(counted(engine, stored), How::Hit)))),
            Found::Shown(shown) => {
                let read = visible::answer(engine, self.hash, || Arc::clone(&self.key), shown);
                Some(Step::Done(Ok(read.expect("no load is needed for it"))))
            }
            Found::Stale(stored) => {
                refresh::ask(engine, self.hash, &stored, || Arc::clone(&self.key));
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
                let moved = takes_detached(&flight);
                call.role = Some(Role::Leader { flight, replaced, moved });
                Some(Step::Call(call))
            }
        }
    }

    fn stale(&self, stored: L::Stored) -> Read<L> {
        self.engine.counters.count(Event::Stale);
        Read::new(Entry::of(stored), How::Stale)
    }

    /// What is here may be given in place of some errors, for a while. A refusal of the origin's is an answer of its own.
    fn unless_stale(&self, error: LoadError) -> Result<Read<L>, LoadError> {
        let engine = &self.engine;
        let may_be_stale = match &error {
            LoadError::Source(error) => !matches!(error.failure(), Failure::Refused | Failure::Invalid),
            LoadError::Deadline | LoadError::Panicked(_) => true,
            _ => false,
        };
        if !may_be_stale || self.nesting.is_nested() {
            return Err(error);
        }
        let (confirmed, wants, oldest, now) = (self.confirmed, self.wants, self.oldest, engine.clock.now());
        let found = engine.at_key(self.hash, L::key(&self.key), |at| {
            if !confirmed && at.shown().is_some() {
                // Nothing stale beneath what is pending.
                return None;
            }
            let asked = wants.stale_if_error;
            let window = |stored: &L::Stored| engine.lifetimes.window(stored.header().windows(), Stale::IfError, asked);
            match at.fresh() {
                Some(stored) if wants.takes_any() || wants.takes(stored.header(), oldest, now) => {
                    (!window(&stored).is_zero()).then(|| (stored.clone(), true))
                }
                _ => at
                    .stale(Stale::IfError, asked)
                    .filter(|stored| wants.takes_if_error(stored.header(), window(stored), now))
                    .map(|stored| (stored.clone(), false)),
            }
        });
        match found {
            Some((stored, true)) => Ok(Read::new(counted(engine, stored), How::Hit)),
            Some((stored, false)) => Ok(self.stale(stored)),
            None => Err(error),
        }
    }

    fn go_on(&mut self, waker: &Waker) -> GetStep<L> {
        if let Some(len) = self.engine.too_long(L::key(&self.key)) {
            return Step::Done(Err(LoadError::KeyTooLong(len)));
        }
        loop {
            match self.reply.take() {
                Some(LoadReply::Done(result)) => return Step::Done(result.map(|(based, how)| self.show(based, how))),
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
            key: Arc::clone(&self.key),
            deadline: self.deadline,
            scope: self.scope.clone(),
            keep: !self.wants.not_kept,
            role: None,
        }
    }
}

enum Found<L: Layout> {
    Closed,
    Fresh(L::Stored),
    /// By pending writes, without a load.
    Shown(Shown<L>),
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
            Step::Done(Ok(mut read)) => {
                if matches!(read.how, How::Loaded { .. } | How::Joined) {
                    read.passed = self.passed;
                }
                Step::Done(Ok(read))
            }
            step => step,
        }
    }

    fn resume(&mut self, reply: LoadReply<L>) {
        self.reply = Some(reply);
    }

    fn door(&self) -> Option<Door<'_>> {
        let (flight, seat) = self.joined.as_ref()?;
        Some(flight.door(seat.as_ref()?))
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
