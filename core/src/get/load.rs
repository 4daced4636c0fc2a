//! One call of `Source::get`: led for all who wait, or made for one caller alone; and what becomes of its answer.
//!
//! Invariant: a load that was led ends once: committed and told, or given up so that a waiter leads one of its own.

use std::pin::pin;

use super::How;
use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::coalesce::{Based, Flight};
use crate::drive::SourceCall;
#[cfg(feature = "tokio")]
use crate::drive::Spawned;
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout, SharedKey, Times};
use crate::error::LoadError;
use crate::metrics::Event;
use crate::nesting::{self, DEEPEST, Nesting, Scope};
use crate::shard::AtKey;
use crate::slot::{Answer, LoadEnd};
use crate::source::{Failure, Lifetime, LoadCx, Loaded, Source, SourceError, load_now};
use crate::sync::Arc;
use crate::tags::Running;

/// A call of `Source::get`, on behalf of one reader or of all who wait. Dropped without being run, it lets another lead.
pub(crate) struct LoadCall<L: Layout> {
    pub(super) engine: Arc<Engine<L>>,
    pub(super) hash: u64,
    pub(super) key: SharedKey<L>,
    pub(super) deadline: Tick,
    pub(super) scope: Option<Scope>,
    /// What it brings may be retained.
    pub(super) keep: bool,
    pub(super) role: Option<Role<L>>,
}

pub(super) enum Role<L: Layout> {
    /// `moved`: the leader was moved before, and takes what the load found also if that is detached.
    Leader { flight: Arc<Flight<L>>, replaced: Option<Entry<L>>, moved: bool },
    /// A nested read's own load.
    Alone,
}

pub(crate) enum LoadReply<L: Layout> {
    Done(Result<(Based<L>, How), LoadError>),
    /// The fence moved meanwhile: the reader looks again.
    Moved,
}

impl<L: Layout> SourceCall for LoadCall<L> {
    type Reply = LoadReply<L>;

    async fn run(mut self) -> LoadReply<L> {
        match self.role.take() {
            Some(Role::Leader { flight, replaced, moved }) => self.lead(&flight, replaced.as_ref(), moved).await,
            Some(Role::Alone) | None => {
                let own =
                    OwnLoad { engine: &self.engine, hash: self.hash, key: L::key(&self.key), deadline: self.deadline };
                let result = own.load_beneath_pending(self.scope.as_ref()).await;
                LoadReply::Done(result.map(|based| (based, How::Loaded { kept: false })))
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
        let own = OwnLoad { engine: &self.engine, hash: self.hash, key: L::key(&self.key), deadline: self.deadline };
        let guard = Leading { engine: own.engine, hash: own.hash, key: own.key, flight };
        let asked = own.ask(replaced, self.scope.as_ref()).await;
        guard.ends(&own, moved, asked.map(|asked| asked.kept_if(self.keep)))
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
pub(super) struct Leading<'a, L: Layout> {
    pub(super) engine: &'a Engine<L>,
    pub(super) hash: u64,
    pub(super) key: &'a L::Key,
    pub(super) flight: &'a Flight<L>,
}

impl<L: Layout> Leading<'_, L> {
    pub(super) fn ends(self, own: &OwnLoad<'_, L>, moved: bool, asked: Result<Asked<L>, LoadError>) -> LoadReply<L> {
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
        give_up(self.engine, self.hash, self.key, self.flight);
    }
}

/// Detaches a load for good, so that a waiter leads one of its own. True if it was attached until now.
pub(super) fn give_up<L: Layout>(engine: &Engine<L>, hash: u64, key: &L::Key, flight: &Flight<L>) -> bool {
    let attached = engine.at_key(hash, key, |at| at.load_taken_over(flight.fence));
    for waker in flight.give_up() {
        waker.wake();
    }
    attached
}

/// The existing record of a key, from inside its turn: the resident one, else a load of its own.
pub(crate) async fn existing<L: Layout>(own: &OwnLoad<'_, L>) -> Result<Option<Entry<L>>, LoadError> {
    let engine = own.engine;
    let fresh = engine.at_key(own.hash, own.key, |at| at.fresh().map(|stored| stored.clone()));
    match fresh {
        Some(stored) => Ok(Entry::of(stored)),
        None => own.load(None).await.map(|based| based.entry),
    }
}

/// [`existing`] as a call of its own, for whoever holds the turn.
#[cfg(feature = "tokio")]
pub(crate) struct Existing<L: Layout> {
    pub(crate) engine: Arc<Engine<L>>,
    pub(crate) hash: u64,
    pub(crate) key: SharedKey<L>,
    pub(crate) deadline: Tick,
    pub(crate) scope: Option<Scope>,
}

#[cfg(feature = "tokio")]
impl<L: Layout> SourceCall for Existing<L> {
    type Reply = Result<Option<Entry<L>>, LoadError>;

    async fn run(self) -> Self::Reply {
        let own = OwnLoad { engine: &self.engine, hash: self.hash, key: L::key(&self.key), deadline: self.deadline };
        nesting::within(&[], self.scope.as_ref(), existing(&own)).await
    }

    fn deadline(&self) -> Tick {
        self.deadline
    }

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
    pub(crate) key: &'a L::Key,
    pub(crate) deadline: Tick,
}

/// What the source found, and when it was asked.
pub(super) struct Asked<L: Layout> {
    /// `None` is an absent mark to be made.
    pub(super) stored: Option<L::Stored>,
    keep: bool,
    /// The new times of a resident record that is unchanged.
    renewed: Option<Times>,
    /// For the tags that were invalidated since.
    running: Running,
}

impl<L: Layout> Asked<L> {
    /// Where the call says so, it is not kept.
    pub(super) fn kept_if(self, keep: bool) -> Self {
        if keep { self } else { Self { keep: false, renewed: None, ..self } }
    }

    /// What may become the key's record, and whether it may be kept.
    pub(super) fn brought(&self) -> Option<(&L::Stored, bool)> {
        self.stored.as_ref().map(|stored| (stored, self.keep))
    }
}

impl<L: Layout> OwnLoad<'_, L> {
    /// A load that nobody joins and that is not retained: what is here is forgotten in the step that returns it.
    async fn load(&self, scope: Option<&Scope>) -> Result<Based<L>, LoadError> {
        self.load_and_look(scope, |_| ()).await.map(|(based, ())| based)
    }

    /// The same, with a look at the key in the step that returns it.
    async fn load_and_look<T>(
        &self,
        scope: Option<&Scope>,
        look: impl FnOnce(&mut AtKey<'_, L>) -> T,
    ) -> Result<(Based<L>, T), LoadError> {
        if Nesting::of(self.engine.frame(self.hash), scope).depth >= DEEPEST {
            return Err(LoadError::TooDeep);
        }
        let asked = self.ask(None, scope).await?;
        let (over, seen) = self.engine.at_key(self.hash, self.key, |at| {
            at.returned_unretained();
            (at.over(), look(at))
        });
        Ok((Based { entry: asked.stored.and_then(Entry::of), over }, seen))
    }

    /// What the origin has now, whatever is here, for who has written the key and not shown it yet.
    pub(crate) async fn anew(&self) -> Result<Option<Entry<L>>, LoadError> {
        self.load(None).await.map(|based| based.entry)
    }

    /// The same for a reader who is shown what is pending: again, where a write that was pending is not any more, since what was found
    /// may lack it.
    async fn load_beneath_pending(&self, scope: Option<&Scope>) -> Result<Based<L>, LoadError> {
        loop {
            let before = self.engine.at_key(self.hash, self.key, |at| at.pending());
            let (based, now) = self.load_and_look(scope, |at| at.pending()).await?;
            if before.iter().all(|write| now.contains(write)) {
                return Ok(based);
            }
        }
    }

    fn is_late(&self) -> bool {
        self.engine.has_come(self.deadline)
    }

    /// Calls the source. An answer that comes after the deadline is none.
    async fn ask(&self, replaced: Option<&Entry<L>>, scope: Option<&Scope>) -> Result<Asked<L>, LoadError> {
        let engine = self.engine;
        let since = engine.clock.now();
        if since >= self.deadline {
            return Err(LoadError::Deadline);
        }
        engine.counters.count(Event::Load);
        let running = engine.tags.begins();
        let cx = LoadCx { clock: &*engine.clock, deadline: self.deadline, replaced };
        // To the end of this function: the weigher, the extractor and the key's clone must not wait for this load either.
        let asked = pin!(async {
            let answer = engine.source.get(self.key, &cx).await;
            self.made(answer, replaced, since, running)
        });
        nesting::within(&[engine.frame(self.hash)], scope, asked).await
    }

    /// The same of a blocking source, in this thread, asked at `since`, which is before the deadline. It is offered nothing.
    pub(super) fn ask_now(
        &self,
        source: &dyn Source<L>,
        since: Tick,
        scope: Option<&Scope>,
    ) -> Result<Asked<L>, LoadError> {
        let engine = self.engine;
        engine.counters.count(Event::Load);
        let running = engine.tags.begins();
        let cx = LoadCx { clock: &*engine.clock, deadline: self.deadline, replaced: None };
        // To the end of this function, as in `ask`.
        let _inside = nesting::enter(engine.frame(self.hash), scope);
        self.made(load_now(source, self.key, &cx), None, since, running)
    }

    /// Makes a record of what the source answered.
    pub(super) fn made(
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
            (Loaded::Absent, _) => engine.absent(self.hash, self.key, Lifetime::Default, since),
            (Loaded::AbsentFor(lifetime), _) => engine.absent(self.hash, self.key, lifetime, since),
            (Loaded::Unchanged(lifetime), Some(entry)) => {
                renewed = engine.renewed(since, lifetime, entry.stored());
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
        let (end, kept, over) = engine.at_key(self.hash, self.key, |at| {
            let (end, kept) = at.load_ends(flight, answer, stored.as_ref(), renewed, keep, running);
            (end, kept, at.over())
        });
        let result = match error {
            Some(error) => Err(error),
            None => Ok(Based { entry: stored.and_then(Entry::of), over }),
        };
        let detached = end == LoadEnd::Detached;
        flight.end(result.clone(), detached);
        if detached && !moved && !bugs::has(Bug::DetachedLoadReturned) {
            return LoadReply::Moved;
        }
        LoadReply::Done(result.map(|based| (based, How::Loaded { kept })))
    }
}
