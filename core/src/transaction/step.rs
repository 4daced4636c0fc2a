//! What a step of a transaction is: how it is declared, what it is told, and what it says that it did.
//!
//! Says nothing of when a step runs, nor of what becomes of its keys: see `run`. Invariant: a planned step names its keys, each once,
//! by their places among those of the transaction.

use std::any::Any;
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::entry::{Entry, Layout, Lookup};
use crate::nesting::Scope;
use crate::options::{Call, LONGEST_DEADLINE};
use crate::put::Change;
use crate::source::{IdempotencyKey, Outcome, Record, SourceError};

/// A step of the program's own.
pub(super) type Does<L> = Box<dyn FnOnce(&StepCx<'_>) -> Outcome<StepDone<L>> + Send>;

/// What a step makes of the record that is there.
pub(super) type Makes<L> =
    Box<dyn FnOnce(Option<&Entry<L>>) -> Result<Change<<L as Layout>::Value>, SourceError> + Send>;

/// What undoes a change of the record that was there.
pub(super) type Unmakes<L> = Box<dyn FnOnce(Option<&Entry<L>>) -> Change<<L as Layout>::Value> + Send>;

/// What a step is told.
pub struct StepCx<'a> {
    pub(super) clock: &'a dyn Clock,
    pub(super) deadline: Tick,
    pub(super) idempotency_key: IdempotencyKey,
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

    /// The options of a call of another cache, made as a part of the step: its time, its key, the calls that it is part of. A transaction is
    /// of one cache; this is how its steps write the tables of others, which show what they wrote by themselves: at once, and
    /// not together with the transaction's keys.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{ByteCache, Bytes, Confirmed, LoadCx, Loaded, Outcome, Record, Source, SourceError, Step, StepDone, WriteCx};
    /// # struct Table;
    /// # impl Source<Bytes> for Table {
    /// #     fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
    /// #         Ok(Loaded::Absent)
    /// #     }
    /// #     fn put(&self, _: &[u8], value: &[u8], _: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
    /// #         Outcome::Applied(Confirmed::Record(Record::new(value.to_vec())))
    /// #     }
    /// # }
    /// # let (organisations, invoices) = (ByteCache::builder(Table).build()?, ByteCache::builder(Table).build()?);
    /// let (bills, unbills) = (invoices.clone(), invoices.clone());
    /// let bill = Step::call(move |cx| match bills.put_with("2026-11", b"30 EUR".to_vec(), &cx.call()) {
    ///     Ok(_) => Outcome::Applied(StepDone::new()),
    ///     Err(error) => error.into_outcome(),
    /// });
    /// let bill = bill.undo(move |cx| match unbills.delete_with("2026-11", &cx.call()) {
    ///     Ok(_) => Outcome::Applied(StepDone::new()),
    ///     Err(error) => error.into_outcome(),
    /// });
    /// let ended = organisations.transaction().step(bill).step(Step::put("org:123", b"plan: team".to_vec())).run();
    /// assert!(ended.is_committed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call(&self) -> Call {
        Call::new().deadline(self.remaining()).idempotency_key(self.idempotency_key).within(&self.scope())
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
    pub(super) records: Vec<(L::OwnedKey, Wrote<L::Value>)>,
    pub(super) value: Option<Box<dyn Any + Send>>,
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

    /// A value for whoever asked for the transaction: see [`StepEnd::Applied`](super::StepEnd::Applied).
    #[must_use]
    pub fn value(mut self, value: impl Any + Send) -> Self {
        self.value = Some(Box::new(value));
        self
    }
}

/// What is done.
pub(super) enum Action<L: Layout> {
    Put(L::Value),
    Delete,
    Update(Makes<L>),
    Call(Does<L>),
}

/// How a planned step is undone.
pub(super) enum Undo<L: Layout> {
    Nothing,
    /// With the keys that it writes, by their places among those of the transaction.
    By(Action<L>, Vec<usize>),
    /// By a write of the step's key, made of the record that its change was made of.
    Of(Unmakes<L>),
}

/// How a step is undone, as it was declared.
enum Undoing<L: Layout> {
    Nothing,
    Call(Does<L>),
    Of(Unmakes<L>),
    Put(L::OwnedKey, L::Value),
    Delete(L::OwnedKey),
}

/// A step of a [`Transaction`](super::Transaction): a write by the cache's own source, or any work of the program's.
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

    /// The cache's source writes what `f` makes of the existing record, as [`CacheOf::update`](crate::CacheOf::update): `f` is called once,
    /// in the key's turn, with the resident record, or else the one loaded then. An error of it, or a panic, stops the transaction and is
    /// [`StepEnd::Rejected`](super::StepEnd::Rejected), or `NotSent`: nothing of this step was sent. With [`Change::Keep`] the step is
    /// applied without a write. What is written goes out on the condition that the record is still that one, where the source declares
    /// `honours_preconditions`. A key that an earlier step has written is loaded anew.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{ByteCache, Bytes, Change, Confirmed, Entry, LoadCx, Loaded, Outcome, Record, Source, SourceError, Step, WriteCx};
    /// # struct Counters;
    /// # impl Source<Bytes> for Counters {
    /// #     fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
    /// #         Ok(Loaded::Absent)
    /// #     }
    /// #     fn put(&self, _: &[u8], value: &[u8], _: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
    /// #         Outcome::Applied(Confirmed::Record(Record::new(value.to_vec())))
    /// #     }
    /// # }
    /// # let cache = ByteCache::builder(Counters).build()?;
    /// let appends = |existing: Option<&Entry<Bytes>>| {
    ///     let mut value = existing.map_or_else(Vec::new, |entry| entry.value().to_vec());
    ///     value.push(b'x');
    ///     Ok(Change::Put(value))
    /// };
    /// // Undone, what was there stands again.
    /// let restores = |was: Option<&Entry<Bytes>>| was.map_or(Change::Delete, |entry| Change::Put(entry.value().to_vec()));
    /// let ended = cache.transaction().step(Step::update("a", appends).undo_of(restores)).run();
    /// assert!(ended.is_committed());
    /// assert_eq!(cache.peek("a").expect("resident").value(), b"x");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update<Q: Lookup<L> + ?Sized>(
        key: &Q,
        f: impl FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError> + Send + 'static,
    ) -> Self {
        Self::new(Action::Update(Box::new(f)), vec![key.to_key()])
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

    /// The same for an [`update`](Step::update): `undo` is called, where it comes to that, with the record that the update was given, and
    /// the cache's source writes what it makes of it. Of any other step it is nothing that could be done, and counts as not declared.
    pub fn undo_of(mut self, undo: impl FnOnce(Option<&Entry<L>>) -> Change<L::Value> + Send + 'static) -> Self {
        self.undo = Some(Undoing::Of(Box::new(undo)));
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

    /// The same with places in the stead of keys; `number` gives the place of a key.
    pub(super) fn planned(self, mut number: impl FnMut(L::OwnedKey) -> usize) -> Planned<L> {
        let Self { action, keys, undo, undo_unknown, deadline } = self;
        let mut numbers: Vec<usize> = keys.into_iter().map(&mut number).collect();
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
            Undoing::Of(undo) => Undo::Of(undo),
            Undoing::Call(call) => Undo::By(Action::Call(call), numbers.clone()),
            Undoing::Put(key, value) => Undo::By(Action::Put(value), vec![number(key)]),
            Undoing::Delete(key) => Undo::By(Action::Delete, vec![number(key)]),
        });
        Planned { action, undo, undo_unknown, deadline, keys: numbers }
    }
}

/// A step with its keys by their places among those of the transaction.
pub(super) struct Planned<L: Layout> {
    pub(super) action: Action<L>,
    pub(super) undo: Option<Undo<L>>,
    pub(super) undo_unknown: bool,
    pub(super) deadline: Option<Duration>,
    pub(super) keys: Vec<usize>,
}
