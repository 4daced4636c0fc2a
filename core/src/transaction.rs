//! Updates of several keys that are shown together, with the steps at the origin and elsewhere that make them so.
//!
//! The story of a transaction: turns of all keys → steps → undoing, where one is refused → its end, in one step for all keys. How
//! turns are taken is in `turns`, how steps run and what their outcomes mean in `steps`. Invariant: nobody sees a part of a
//! transaction that is committed or rolled back.

mod steps;
mod turns;

use std::any::Any;
use std::fmt;
use std::pin::pin;
use std::task::Waker;
use std::time::Duration;

use crate::cache::CacheOf;
use crate::clock::{Clock, Tick};
use crate::doubt::InDoubt;
#[cfg(feature = "tokio")]
use crate::drive::Spawned;
use crate::drive::{SourceCall, Step as StoryStep, Story};
use crate::engine::Engine;
use crate::entry::{Entry, Layout, Lookup};
use crate::error::{NotSent, WriteError};
use crate::invalidate;
use crate::layers::{NewLayer, Op};
use crate::nesting::{self, Scope};
use crate::options::{Call, LONGEST_DEADLINE};
use crate::pattern::{KeyBytes, Keys, Pattern, PatternError};
use crate::pending::{Pending, settle};
use crate::source::{Failure, IdempotencyKey, Lifetime, Outcome, Record, Rejection, SourceError};
use crate::sync::Arc;

use steps::Run;
use turns::{Seats, TakeTurns, TurnsStep};

/// A step of the program's own.
type Does<L> = Box<dyn FnOnce(&StepCx<'_>) -> Outcome<StepDone<L>> + Send>;

/// What is forgotten once the steps have been applied.
type Forget<L> = Box<dyn FnOnce(&Engine<L>) + Send>;

/// What a step is told.
pub struct StepCx<'a> {
    clock: &'a dyn Clock,
    deadline: Tick,
    idempotency_key: IdempotencyKey,
}

impl StepCx<'_> {
    /// How long the step may still take. Zero when its deadline has passed: then nothing may be sent any more.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.since(self.clock.now())
    }

    /// The key under which what the step does should go out. Undoing it has one of its own.
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        self.idempotency_key
    }

    /// The calls that this one is part of: see [`LoadCx::scope`](crate::LoadCx::scope).
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::current()
    }
}

/// What a step of the program's own has left of a key that it declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrote<V> {
    /// This record, as it now stands at the origin.
    Record(Record<V>),
    /// What the transaction shows of the key, exactly.
    AsSent,
    /// No record.
    Deleted,
    /// Something that is not known: the next read asks the origin.
    Unseen,
}

/// What a step of the program's own says that was applied. A declared key that it says nothing of is [`Wrote::Unseen`].
pub struct StepDone<L: Layout> {
    records: Vec<(L::OwnedKey, Wrote<L::Value>)>,
    value: Option<Box<dyn Any + Send>>,
}

impl<L: Layout> Default for StepDone<L> {
    fn default() -> Self {
        Self { records: Vec::new(), value: None }
    }
}

impl<L: Layout> StepDone<L> {
    /// Applied, with nothing to say.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It has left this of `key`. A key that the step did not [declare](Step::writes) is invalidated: nobody had its turn.
    #[must_use]
    pub fn wrote<Q: Lookup<L> + ?Sized>(mut self, key: &Q, wrote: Wrote<L::Value>) -> Self {
        self.records.push((key.to_key(), wrote));
        self
    }

    /// A value for whoever asked for the transaction: see [`StepEnd::Applied`].
    #[must_use]
    pub fn value(mut self, value: impl Any + Send) -> Self {
        self.value = Some(Box::new(value));
        self
    }
}

enum Action<L: Layout> {
    Put(L::Value),
    Delete,
    Call(Does<L>),
}

enum Undo<L: Layout> {
    Nothing,
    /// With the keys that it writes, by their places among those of the transaction.
    By(Action<L>, Vec<usize>),
}

/// How a step is undone, as it was declared.
enum Undoing<L: Layout> {
    Nothing,
    Call(Does<L>),
    Put(L::OwnedKey, L::Value),
    Delete(L::OwnedKey),
}

/// A step of a [`Transaction`]: a write by the cache's own source, or any work of the program's.
#[must_use = "a step does something in a transaction only"]
pub struct Step<L: Layout> {
    action: Action<L>,
    /// The key of a write by the source; else the declared ones.
    keys: Vec<L::OwnedKey>,
    undo: Option<Undoing<L>>,
    undo_unknown: bool,
    deadline: Option<Duration>,
}

impl<L: Layout> Step<L> {
    fn new(action: Action<L>, keys: Vec<L::OwnedKey>) -> Self {
        Self { action, keys, undo: None, undo_unknown: false, deadline: None }
    }

    /// The cache's source puts `value` as the record of `key`.
    pub fn put<Q: Lookup<L> + ?Sized>(key: &Q, value: L::Value) -> Self {
        Self::new(Action::Put(value), vec![key.to_key()])
    }

    /// The cache's source deletes the record of `key`.
    pub fn delete<Q: Lookup<L> + ?Sized>(key: &Q) -> Self {
        Self::new(Action::Delete, vec![key.to_key()])
    }

    /// The program does something: at the origin, or anywhere. It answers as a source does: [`Outcome::Rejected`] is a claim that nothing of
    /// it was done, or will be; a panic counts as [`Outcome::Unknown`]. It must end by its deadline, which nobody enforces, and may
    /// block its thread but in a task: over an async source, transactions of an `AsyncCache` run as tasks.
    pub fn call(run: impl FnOnce(&StepCx<'_>) -> Outcome<StepDone<L>> + Send + 'static) -> Self {
        Self::new(Action::Call(Box::new(run)), Vec::new())
    }

    /// Declares that it writes the record of `key`.
    pub fn writes<Q: Lookup<L> + ?Sized>(mut self, key: &Q) -> Self {
        self.keys.push(key.to_key());
        self
    }

    /// Where a later step is refused, this undoes it. It may write what the step may write, and answers alike.
    pub fn undo(mut self, undo: impl FnOnce(&StepCx<'_>) -> Outcome<StepDone<L>> + Send + 'static) -> Self {
        self.undo = Some(Undoing::Call(Box::new(undo)));
        self
    }

    /// The same: the cache's source puts `value` as the record of `key`.
    pub fn undo_put<Q: Lookup<L> + ?Sized>(mut self, key: &Q, value: L::Value) -> Self {
        self.undo = Some(Undoing::Put(key.to_key(), value));
        self
    }

    /// The same: the cache's source deletes the record of `key`.
    pub fn undo_delete<Q: Lookup<L> + ?Sized>(mut self, key: &Q) -> Self {
        self.undo = Some(Undoing::Delete(key.to_key()));
        self
    }

    /// It leaves nothing that would have to be undone.
    pub fn undo_nothing(mut self) -> Self {
        self.undo = Some(Undoing::Nothing);
        self
    }

    /// It is undone also where the outcome of a step, this one or a later one, is not known.
    pub fn undo_if_unknown(mut self) -> Self {
        self.undo_unknown = true;
        self
    }

    /// How long it may take; the transaction's deadline holds as well.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline.min(LONGEST_DEADLINE));
        self
    }
}

/// A step with its keys by their places among those of the transaction.
struct Planned<L: Layout> {
    action: Action<L>,
    undo: Option<Undo<L>>,
    undo_unknown: bool,
    deadline: Option<Duration>,
    keys: Vec<usize>,
}

/// What came of a step.
#[non_exhaustive]
pub enum StepEnd<L: Layout> {
    /// An earlier one stopped the transaction.
    NotRun,
    /// It was applied.
    Applied {
        /// What it gave.
        value: StepValue<L>,
        /// What came of undoing it, where a later step stopped the transaction.
        undo: UndoEnd,
    },
    /// It certainly was not applied, and will not be. This stopped the transaction.
    Rejected(Rejection),
    /// It was not begun, for this reason. This stopped the transaction.
    NotSent(NotSent),
    /// Nobody can know. This stopped the transaction.
    Unknown {
        /// Why not.
        cause: SourceError,
        /// What came of undoing it.
        undo: UndoEnd,
    },
}

/// What a step gave that was applied.
#[non_exhaustive]
pub enum StepValue<L: Layout> {
    /// Nothing.
    Nothing,
    /// Of a put by the source: the record of its key, as it was confirmed last in the transaction.
    Entry(Entry<L>),
    /// Of the program's own step: [`StepDone::value`].
    Value(Box<dyn Any + Send>),
}

/// What came of undoing a step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UndoEnd {
    /// It was not undone: nothing was declared for this case, or there was no need.
    NotRun,
    /// It was undone.
    Applied,
    /// It certainly was not undone.
    Rejected(Rejection),
    /// It was not begun, for this reason.
    NotSent(NotSent),
    /// Nobody can know.
    Unknown(SourceError),
}

/// How a transaction was stopped, and what came of each step.
#[non_exhaustive]
pub struct Report<L: Layout> {
    /// What stopped it: a refusal, or [`WriteError::NotSent`].
    pub cause: WriteError<L>,
    /// One for each step, in their order.
    pub steps: Vec<StepEnd<L>>,
    /// Of keys that undoing left in doubt.
    pub doubts: Vec<InDoubt<L>>,
}

impl<L: Layout> Report<L> {
    fn not_run(cause: WriteError<L>, steps: usize) -> Self {
        Self { cause, steps: (0..steps).map(|_| StepEnd::NotRun).collect(), doubts: Vec::new() }
    }
}

/// How a transaction ended.
#[must_use = "only one of the four means that it was done"]
#[non_exhaustive]
pub enum Transacted<L: Layout> {
    /// All steps were applied: its keys show what they confirmed.
    Committed(Vec<StepEnd<L>>),
    /// Nothing of it stands: no step was applied, or all that were are undone. Keys that nothing wrote are as they were; the others
    /// show what undoing confirmed.
    RolledBack(Report<L>),
    /// A step was refused after others had been applied that are not all undone. The keys that were written show what was confirmed of
    /// them last, or are asked for; never what the cache held before.
    Partial(Report<L>),
    /// The outcome of a step is not known. The keys that it writes are in doubt, those that other steps wrote are asked for, and the rest
    /// is as it was.
    InDoubt {
        /// Why it is not known.
        cause: SourceError,
        /// One for each step, in their order.
        steps: Vec<StepEnd<L>>,
        /// A handle for each key in doubt.
        doubts: Vec<InDoubt<L>>,
    },
}

impl<L: Layout> Transacted<L> {
    /// All steps were applied.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        matches!(self, Self::Committed(_))
    }

    /// It was not begun.
    #[cfg(feature = "tokio")]
    pub(crate) fn not_sent(why: NotSent) -> Self {
        Self::RolledBack(Report::not_run(WriteError::NotSent(why), 0))
    }

    /// It was dropped half-way; what was sent is in doubt.
    pub(crate) fn lost(message: &str) -> Self {
        let cause = SourceError::new(Failure::Broken, message);
        Self::InDoubt { cause, steps: Vec::new(), doubts: Vec::new() }
    }

    /// What came of each step, in their order.
    #[must_use]
    pub fn steps(&self) -> &[StepEnd<L>] {
        match self {
            Self::Committed(steps) | Self::InDoubt { steps, .. } => steps,
            Self::RolledBack(report) | Self::Partial(report) => &report.steps,
        }
    }
}

impl<L: Layout> fmt::Debug for StepEnd<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun => f.write_str("NotRun"),
            Self::Applied { undo, .. } => f.debug_struct("Applied").field("undo", undo).finish_non_exhaustive(),
            Self::Rejected(rejection) => f.debug_tuple("Rejected").field(rejection).finish(),
            Self::NotSent(why) => f.debug_tuple("NotSent").field(why).finish(),
            Self::Unknown { cause, undo } => {
                f.debug_struct("Unknown").field("cause", cause).field("undo", undo).finish()
            }
        }
    }
}

impl<L: Layout> fmt::Debug for Transacted<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, cause): (_, Option<&dyn fmt::Debug>) = match self {
            Self::Committed(_) => ("Committed", None),
            Self::RolledBack(report) => ("RolledBack", Some(&report.cause)),
            Self::Partial(report) => ("Partial", Some(&report.cause)),
            Self::InDoubt { cause, .. } => ("InDoubt", Some(cause)),
        };
        f.debug_struct(name).field("cause", &cause).field("steps", &self.steps()).finish()
    }
}

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

    /// The same with a lifetime of its own.
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
        let Step { action, keys, undo, undo_unknown, deadline } = step;
        let mut numbers: Vec<usize> = keys.into_iter().map(|key| self.number(key)).collect();
        // One turn a key, however often it is named.
        let mut seen = Vec::with_capacity(numbers.len());
        numbers.retain(|number| {
            !seen.contains(number) && {
                seen.push(*number);
                true
            }
        });
        let undo = undo.map(|undo| match undo {
            Undoing::Nothing => Undo::Nothing,
            Undoing::Call(call) => Undo::By(Action::Call(call), numbers.clone()),
            Undoing::Put(key, value) => Undo::By(Action::Put(value), vec![self.number(key)]),
            Undoing::Delete(key) => Undo::By(Action::Delete, vec![self.number(key)]),
        });
        self.steps.push(Planned { action, undo, undo_unknown, deadline, keys: numbers });
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
            if let Some(len) = engine.too_long(key) {
                return Err(NotSent::KeyTooLong(len));
            }
            let step = self.steps.iter().rev().filter(|step| step.keys.first() == Some(&number));
            let written = step.filter_map(|step| match &step.action {
                Action::Put(value) => Some(Some(value)),
                Action::Delete => Some(None),
                Action::Call(_) => None,
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
            let stored = engine.pending_record(*hash, key, value.cloned(), now);
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
        let undone = steps.iter().any(|step| matches!(step.undo, Some(Undo::By(..))));
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
