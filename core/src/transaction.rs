//! Updates of several keys that are shown together, with the steps at the origin and elsewhere that make them so.
//!
//! The story of a transaction: turns of all keys → steps → undoing, where one is refused → its end, in one step for all keys. What a
//! step is, is in `step`, how turns are taken in `turns`, how steps run and what their outcomes mean in `run`, and what the program is told
//! in `report`. Invariant: nobody sees a part of a transaction that is committed or rolled back.

mod report;
mod run;
mod step;
mod turns;

use std::pin::pin;
use std::task::Waker;
use std::time::Duration;

use crate::cache::CacheOf;
use crate::clock::Tick;
#[cfg(feature = "tokio")]
use crate::drive::Spawned;
use crate::drive::{SourceCall, Step as StoryStep, Story};
use crate::engine::Engine;
use crate::entry::{Layout, Lookup};
use crate::error::{NotSent, WriteError};
use crate::invalidate;
use crate::layers::{NewLayer, Op};
use crate::nesting::{self, Scope};
use crate::options::{Call, LONGEST_DEADLINE};
use crate::pattern::{KeyBytes, Keys, Pattern, PatternError};
use crate::pending::{Pending, settle};
use crate::source::{Lifetime, Record};
use crate::sync::Arc;

pub use report::{Report, StepEnd, StepValue, Transacted, UndoEnd};
pub use step::{Step, StepCx, StepDone, Wrote};

use run::Run;
use step::{Action, Planned, Undo};
use turns::{Seats, TakeTurns, TurnsStep};

/// What is forgotten once the steps have been applied.
type Forget<L> = Box<dyn FnOnce(&Engine<L>) + Send>;

/// Updates of several keys, with the steps that make them so: begun by [`CacheOf::transaction`].
///
/// Its keys are those of its updates and steps. It takes the turns of all of them at once, runs its steps one after the other, and shows
/// all its updates in one step, to [`CacheOf::get_many`] too. Where a step is refused, the ones before it are undone, the last
/// one first, as far as they say how. What is shown then, [`Transacted`] tells.
///
/// # Example
/// ```
/// # use wtcache::{ByteCache, Confirmed, Bytes, LoadCx, Loaded, Outcome, Record, Source, SourceError, Step, StepDone, WriteCx};
/// # struct Database;
/// # impl Source<Bytes> for Database {
/// #     fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
/// #         Ok(Loaded::Absent)
/// #     }
/// #     fn put(&self, _: &[u8], value: &[u8], _: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
/// #         Outcome::Applied(Confirmed::Record(Record::new(value.to_vec())))
/// #     }
/// # }
/// # let cache = ByteCache::builder(Database).build()?;
/// let ended = cache
///     .transaction()
///     .step(Step::put("org:123", b"plan: team".to_vec()).undo_put("org:123", b"plan: free".to_vec()))
///     .step(Step::call(|cx| {
///         // … the payment, within cx.remaining(), under cx.idempotency_key() …
///         Outcome::Applied(StepDone::new())
///     }))
///     .invalidate_pattern("org:123:*")?
///     .run();
/// assert!(ended.is_committed());
/// assert_eq!(cache.peek("org:123").expect("resident").value(), b"plan: team");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it is run by `run` or `start`"]
pub struct Transaction<L: Layout> {
    cache: CacheOf<L>,
    keys: Vec<(u64, L::OwnedKey)>,
    /// What is to be shown of each key, where that is not what a step puts.
    updates: Vec<Option<Wrote<L::Value>>>,
    steps: Vec<Planned<L>>,
    forgets: Vec<Forget<L>>,
    call: Call,
    undo_deadline: Option<Duration>,
}

impl<L: Layout> CacheOf<L> {
    /// Begins to describe a transaction. Nothing happens before it is [run](Transaction::run) or [started](Transaction::start).
    pub fn transaction(&self) -> Transaction<L> {
        Transaction {
            cache: self.clone(),
            keys: Vec::new(),
            updates: Vec::new(),
            steps: Vec::new(),
            forgets: Vec::new(),
            call: Call::new(),
            undo_deadline: None,
        }
    }
}

impl<L: Layout> Transaction<L> {
    /// `value` is to be shown as the record of `key`. Where no step writes the key, it is kept as it is once all steps have been applied:
    /// a cache beside an origin that only the steps know.
    pub fn update<Q: Lookup<L> + ?Sized>(self, key: &Q, value: L::Value) -> Self {
        self.update_for(key, value, Lifetime::Default)
    }

    /// The same with a lifetime of its own. What the source puts of `key` in a step has it, too, where the source says nothing of it.
    pub fn update_for<Q: Lookup<L> + ?Sized>(mut self, key: &Q, value: L::Value, lifetime: Lifetime) -> Self {
        let number = self.number(key.to_key());
        self.updates[number] = Some(Wrote::Record(Record::new(value).lifetime(lifetime)));
        self
    }

    /// There is to be no record of `key`: as [`Transaction::update`].
    pub fn remove<Q: Lookup<L> + ?Sized>(mut self, key: &Q) -> Self {
        let number = self.number(key.to_key());
        self.updates[number] = Some(Wrote::Deleted);
        self
    }

    /// A further step. What a put or delete by the source writes is an update, too.
    pub fn step(mut self, step: Step<L>) -> Self {
        let planned = step.planned(|key| self.number(key));
        self.steps.push(planned);
        self
    }

    /// Once its steps have been applied, or may have been, all records with `tag` are forgotten: see
    /// [`CacheOf::invalidate_tag`]. If nothing was, they stay.
    pub fn invalidate_tag(mut self, tag: impl AsRef<[u8]>) -> Self {
        let tag = tag.as_ref().to_vec();
        self.forgets.push(Box::new(move |engine| {
            invalidate::invalidate_tag(engine, &tag);
        }));
        self
    }

    /// How long it may take, the wait for its turns included; undoing has a time of its own. Default: that of a write.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.call = self.call.deadline(deadline);
        self
    }

    /// It is part of the source call that `scope` came from: see [`Call::within`].
    pub fn within(mut self, scope: &Scope) -> Self {
        self.call = self.call.within(scope);
        self
    }

    /// How long undoing may take beyond the deadline: for so long the turns are held. Default: [`Builder::deadline`](crate::Builder::deadline)
    /// where a step says how it is undone, else nothing.
    pub fn undo_deadline(mut self, deadline: Duration) -> Self {
        self.undo_deadline = Some(deadline.min(LONGEST_DEADLINE));
        self
    }

    /// Runs it in this thread, and shows its updates once all steps have been applied.
    ///
    /// # Panics
    /// The source is async, and this thread runs tasks: as all blocking calls.
    pub fn run(self) -> Transacted<L> {
        let cache = self.cache.clone();
        cache.run(self.story(None))
    }

    /// Shows its updates at once, all in one step, and runs it in the background. What it shows leaves as it came. A step that only
    /// declares a key shows nothing of it. Otherwise as [`CacheOf::put_optimistic`]; it cannot be taken back.
    ///
    /// # Errors
    /// It was not admitted; nothing has changed.
    pub fn start(self) -> Result<Pending<Transacted<L>>, NotSent>
    where
        L::Value: Clone,
    {
        let engine = Arc::clone(self.cache.engine());
        let layers = self.layers(&engine)?;
        let panicked = |_: &Transact<L>, message| Transacted::lost(&format!("a panic between its steps: {message}"));
        match settle(&engine, self.story(Some(layers)), panicked)? {
            Ok(promise) => Ok(Pending::new(&promise, &engine.clock, || false)),
            Err(Transacted::RolledBack(Report { cause: WriteError::NotSent(why), .. })) => Err(why),
            Err(_) => unreachable!("nothing was sent yet"),
        }
    }

    /// What is shown of each key from the beginning.
    fn layers(&self, engine: &Engine<L>) -> Result<Vec<Option<NewLayer<L>>>, NotSent>
    where
        L::Value: Clone,
    {
        let now = engine.clock.now();
        let mut layers = Vec::with_capacity(self.keys.len());
        for (number, (hash, key)) in self.keys.iter().enumerate() {
            if let Some(len) = engine.too_long(L::key(key)) {
                return Err(NotSent::KeyTooLong(len));
            }
            let step = self.steps.iter().rev().filter(|step| step.keys.first() == Some(&number));
            let written = step.filter_map(|step| match &step.action {
                Action::Put(value) => Some(Some(value)),
                Action::Delete => Some(None),
                // What an update makes is known in its turn.
                Action::Update(_) | Action::Call(_) => None,
            });
            let shown = match (&self.updates[number], written.into_iter().next()) {
                (Some(Wrote::Record(record)), _) => Some(Some(&record.value)),
                (Some(_), _) => Some(None),
                (None, written) => written,
            };
            let Some(value) = shown else {
                layers.push(None);
                continue;
            };
            let weight = engine.pending_weight(L::key(key), value.map(L::view)).ok_or(NotSent::TooManyPending)?;
            let place = engine.pending.take(weight).ok_or(NotSent::TooManyPending)?;
            let stored = engine.pending_record(*hash, L::key(key), value.cloned(), now);
            layers.push(Some((Op::Set(stored), place)));
        }
        Ok(layers)
    }

    pub(crate) fn story(self, layers: Option<Vec<Option<NewLayer<L>>>>) -> Transact<L> {
        let Self { cache, keys, updates, steps, forgets, call, undo_deadline } = self;
        let engine = cache.engine();
        let now = engine.clock.now();
        let deadline =
            if layers.is_some() { engine.settle_deadline_of(&call, now) } else { engine.deadline_of(&call, now) };
        let undone = steps.iter().any(|step| matches!(step.undo, Some(Undo::By(..) | Undo::Of(_))));
        let undo_deadline = undo_deadline.or(undone.then(|| engine.deadline())).unwrap_or(Duration::ZERO);
        // What it is settled in is no part of the caller's own calls.
        let inner = if layers.is_some() { None } else { call.scope.clone() };
        let seats = Seats::new(engine, keys, deadline.after(undo_deadline), layers);
        Transact {
            turns: TakeTurns::new(seats, deadline, call.scope),
            body: Some(Body { updates, steps, forgets, deadline, scope: inner }),
            reply: None,
        }
    }

    /// It goes on in another thread, as a part of what this one is inside of.
    #[cfg(feature = "tokio")]
    pub(crate) fn carried(mut self) -> Self {
        self.call.scope = Scope::carried(self.call.scope.as_ref());
        self
    }

    /// The place of a key among those of the transaction.
    fn number(&mut self, key: L::OwnedKey) -> usize {
        let hash = self.cache.engine().hash_key(L::key(&key));
        let is_key = |(other, own): &(u64, L::OwnedKey)| *other == hash && L::same_key(L::key(own), L::key(&key));
        if let Some(number) = self.keys.iter().position(is_key) {
            return number;
        }
        self.keys.push((hash, key));
        self.updates.push(None);
        self.keys.len() - 1
    }
}

impl<L: KeyBytes> Transaction<L> {
    /// Once its steps have been applied, or may have been, all keys that match `pattern` are forgotten: see
    /// [`CacheOf::invalidate_pattern`]. If nothing was, they stay.
    ///
    /// # Errors
    /// It is no pattern.
    pub fn invalidate_pattern(mut self, pattern: impl AsRef<[u8]>) -> Result<Self, PatternError> {
        let pattern = Pattern::parse(pattern.as_ref())?;
        self.forgets.push(Box::new(move |engine| {
            invalidate::invalidate_keys(engine, &Keys::matching(&pattern, engine.separator));
        }));
        Ok(self)
    }

    /// The same for all keys that begin with `prefix`.
    pub fn invalidate_prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref().to_vec();
        self.forgets.push(Box::new(move |engine| {
            invalidate::invalidate_keys(engine, &Keys::with_prefix(&prefix));
        }));
        self
    }
}

/// A transaction on its way.
pub(crate) struct Transact<L: Layout> {
    turns: TakeTurns<L>,
    body: Option<Body<L>>,
    reply: Option<Transacted<L>>,
}

/// What happens once all turns are held.
struct Body<L: Layout> {
    updates: Vec<Option<Wrote<L::Value>>>,
    steps: Vec<Planned<L>>,
    forgets: Vec<Forget<L>>,
    deadline: Tick,
    scope: Option<Scope>,
}

impl<L: Layout> Story for Transact<L> {
    type Call = RunCall<L>;
    type Output = Transacted<L>;

    fn step(&mut self, waker: &Waker) -> StoryStep<RunCall<L>, Transacted<L>> {
        if let Some(reply) = self.reply.take() {
            return StoryStep::Done(reply);
        }
        match self.turns.step(waker) {
            TurnsStep::Wait(until) => StoryStep::Wait(until),
            TurnsStep::Ready(Ok(seats)) => {
                let body = self.body.take().expect("the turns are held once");
                StoryStep::Call(RunCall { seats, body })
            }
            TurnsStep::Ready(Err(why)) => {
                let steps = self.body.as_ref().map_or(0, |body| body.steps.len());
                StoryStep::Done(Transacted::RolledBack(Report::not_run(WriteError::NotSent(why), steps)))
            }
        }
    }

    fn resume(&mut self, reply: Transacted<L>) {
        self.reply = Some(reply);
    }
}

/// The steps, within the turns. Dropped without being run, nothing was sent and the turns pass on; half-way, what was sent is in doubt.
pub(crate) struct RunCall<L: Layout> {
    seats: Seats<L>,
    body: Body<L>,
}

impl<L: Layout> SourceCall for RunCall<L> {
    type Reply = Transacted<L>;

    async fn run(self) -> Transacted<L> {
        let Self { seats, body } = self;
        let Body { updates, steps, forgets, deadline, scope } = body;
        let served = seats.frames();
        let work = pin!(Run::new(seats, updates, deadline).finish(steps, forgets));
        nesting::within(&served, scope.as_ref(), work).await
    }

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick {
        self.body.deadline
    }

    #[cfg(feature = "tokio")]
    fn is_nested(&self) -> bool {
        self.body.scope.is_some()
    }
}

#[cfg(feature = "tokio")]
impl<L: Layout> Spawned for RunCall<L> {
    fn spawned(self) -> impl Future<Output = Self::Reply> + Send + 'static {
        self.run()
    }
}
