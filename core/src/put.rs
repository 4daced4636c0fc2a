//! The story of a write: turn → prepare → source → commit | reject | in doubt.
//!
//! Put, delete and update are one story: they differ in what is sent once the turn is held. Invariant: nothing is visible here before
//! the origin confirmed it, and a write that was sent ends in one of the three outcomes, whatever happens to the caller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::bugs::{self, Bug};
use crate::commit::{Prepared, Sent, Written, panicked};
use crate::drive::{SourceCall, Step, Story};
use crate::engine::Engine;
use crate::entry::{Entry, Layout, Version};
use crate::error::{LoadError, NotSent, WriteError};
use crate::get::{self, OwnLoad, panic_message};
use crate::metrics::Event;
use crate::nesting::{self, Scope};
use crate::options::{Call, InDoubtWrites};
use crate::prepare::{TakeTurn, TurnStep};
use crate::source::{Condition, Confirmed, Existing, Outcome, Record, Rejection, SourceError, WriteCx};
use crate::sync::{Arc, AtomicBool, Ordering};

/// What an `update` makes of the existing record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<V> {
    /// This becomes the record.
    Put(V),
    /// The record goes.
    Delete,
    /// Everything stays as it is; nothing is sent.
    Keep,
}

/// What is to be written, once the turn is held.
pub(crate) enum Write<L: Layout, F> {
    Put(L::Value),
    Delete,
    Update(F),
}

/// The closure of an `update` that is none.
pub(crate) type NoUpdate<L> = fn(Option<&Entry<L>>) -> Result<Change<<L as Layout>::Value>, SourceError>;

/// A write on its way.
pub(crate) struct Put<L: Layout, F> {
    engine: Arc<Engine<L>>,
    turn: TakeTurn<L>,
    write: Option<Write<L, F>>,
    scope: Option<Scope>,
    reply: Option<Result<Written<L>, WriteError>>,
}

impl<L: Layout, F> Put<L, F> {
    pub(crate) fn new(engine: &Arc<Engine<L>>, hash: u64, key: L::OwnedKey, write: Write<L, F>, call: &Call) -> Self {
        let conditional = matches!(write, Write::Update(_)) && engine.declared.honours_preconditions;
        Self {
            turn: TakeTurn::new(engine, hash, key, call, conditional),
            write: Some(write),
            scope: call.scope.clone(),
            reply: None,
            engine: Arc::clone(engine),
        }
    }
}

impl<L, F> Story for Put<L, F>
where
    L: Layout,
    F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError>,
{
    type Call = WriteCall<L, F>;
    type Output = Result<Written<L>, WriteError>;

    fn step(&mut self, waker: &Waker) -> Step<WriteCall<L, F>, Self::Output> {
        if let Some(reply) = self.reply.take() {
            return Step::Done(reply);
        }
        if let Some(Write::Put(value)) = &self.write
            && let len = L::value_len(value)
            && u32::try_from(len).is_err()
        {
            return Step::Done(Err(self.not_sent(NotSent::ValueTooLarge(len))));
        }
        match self.turn.step(waker) {
            TurnStep::Wait(until) => Step::Wait(until),
            TurnStep::Ready(Err(why)) => Step::Done(Err(self.not_sent(why))),
            TurnStep::Ready(Ok(prepared)) => {
                let write = self.write.take().expect("the turn is held once");
                Step::Call(WriteCall { engine: Arc::clone(&self.engine), prepared, write, scope: self.scope.take() })
            }
        }
    }

    fn resume(&mut self, reply: Result<Written<L>, WriteError>) {
        self.reply = Some(reply);
    }
}

impl<L: Layout, F> Put<L, F> {
    fn not_sent(&self, why: NotSent) -> WriteError {
        self.engine.counters.count(Event::NotSent);
        WriteError::NotSent(why)
    }
}

/// What happens within the turn. Dropped without being run, nothing was sent and the turn passes on.
pub(crate) struct WriteCall<L: Layout, F> {
    engine: Arc<Engine<L>>,
    prepared: Prepared<L>,
    write: Write<L, F>,
    scope: Option<Scope>,
}

impl<L, F> SourceCall for WriteCall<L, F>
where
    L: Layout,
    F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError>,
{
    type Reply = Result<Written<L>, WriteError>;

    fn run(self) -> Self::Reply {
        let Self { engine, prepared, write, scope } = self;
        let _inside = nesting::enter(engine.frame(prepared.hash()), scope.as_ref());
        let result = match write {
            Write::Put(value) => put(&engine, prepared, value, None),
            Write::Delete => delete(&engine, prepared, None),
            Write::Update(f) => update(&engine, prepared, f),
        };
        if let Err(WriteError::NotSent(_)) = &result {
            engine.counters.count(Event::NotSent);
        }
        result
    }

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> crate::clock::Tick {
        self.prepared.deadline()
    }
}

fn put<L: Layout>(
    engine: &Engine<L>,
    prepared: Prepared<L>,
    value: L::Value,
    condition: Option<Condition>,
) -> Result<Written<L>, WriteError> {
    let sent = prepared.send_if(condition.clone())?;
    let (outcome, stray) = call_source(engine, &sent, condition, |key, cx| engine.source.put(key, L::view(&value), cx));
    ends(sent, outcome, stray, |sent, confirmed, stray| {
        let record = match confirmed {
            Confirmed::Record(record) => Some(record),
            Confirmed::AsSent { version, lifetime } if engine.declared.stores_verbatim => {
                Some(Record { value, version, lifetime, tags: Vec::new() })
            }
            Confirmed::AsSent { .. } | Confirmed::Unseen => None,
        };
        sent.applied(record, stray)
    })
}

fn delete<L: Layout>(
    engine: &Engine<L>,
    prepared: Prepared<L>,
    condition: Option<Condition>,
) -> Result<Written<L>, WriteError> {
    let sent = prepared.send_if(condition.clone())?;
    let (outcome, stray) = call_source(engine, &sent, condition, |key, cx| engine.source.delete(key, cx));
    ends(sent, outcome, stray, |sent, (), stray| sent.deleted(stray))
}

/// Reads, applies the program's closure and writes, all within the turn.
fn update<L: Layout>(
    engine: &Engine<L>,
    prepared: Prepared<L>,
    f: impl FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError>,
) -> Result<Written<L>, WriteError> {
    let existing = prepared.existing().map_err(NotSent::Unread)?;
    let change = f(existing.as_ref()).map_err(|error| WriteError::Rejected(Rejection::new(error)))?;
    let condition = if engine.declared.honours_preconditions { condition_on(existing.as_ref()) } else { None };
    if condition.is_none()
        && engine.declared.honours_preconditions
        && !matches!(change, Change::Keep)
        && engine.in_doubt_writes == InDoubtWrites::Wait
        && let Some(retry_after) = prepared.in_doubt_for()
    {
        // It took the turn as a conditional write, but the record has no version to make it one.
        return Err(NotSent::HeldBack { retry_after }.into());
    }
    match change {
        Change::Put(value) if u32::try_from(L::value_len(&value)).is_err() => {
            Err(NotSent::ValueTooLarge(L::value_len(&value)).into())
        }
        Change::Put(value) => put(engine, prepared, value, condition),
        Change::Delete => delete(engine, prepared, condition),
        Change::Keep => Ok(Written { kept: prepared.is_resident(), entry: existing }),
    }
}

/// That the record is still the one that was read, as far as it can be told.
fn condition_on<L: Layout>(existing: Option<&Entry<L>>) -> Option<Condition> {
    match existing {
        None => Some(Condition::Absent),
        Some(entry) => entry.version().and_then(Version::new).map(Condition::Version),
    }
}

/// Calls the source for a sent write. A panic of it is no outcome.
fn call_source<L: Layout, T>(
    engine: &Engine<L>,
    sent: &Sent<L>,
    condition: Option<Condition>,
    call: impl FnOnce(&L::Key, &WriteCx<'_, L>) -> Outcome<T>,
) -> (Outcome<T>, bool) {
    let own = sent.own_load();
    let cx = WriteCx {
        clock: &*engine.clock,
        deadline: sent.deadline(),
        idempotency_key: sent.idempotency_key(),
        condition,
        replaced: sent.replaced(),
        existing: Some(&own),
        stray: AtomicBool::new(false),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| call(L::key(own.key), &cx)))
        .unwrap_or_else(|panic| Outcome::Unknown(panicked(&panic_message(&*panic))));
    // A stray under the same idempotency key is the same write, where the origin honours the key.
    let stray = cx.stray.load(Ordering::Relaxed) && !engine.declared.honours_idempotency;
    (outcome, stray)
}

/// The three exits.
fn ends<L: Layout, T>(
    sent: Sent<L>,
    outcome: Outcome<T>,
    stray: bool,
    commit: impl FnOnce(Sent<L>, T, bool) -> Written<L>,
) -> Result<Written<L>, WriteError> {
    match outcome {
        Outcome::Applied(confirmed) => Ok(commit(sent, confirmed, stray)),
        // With an earlier send unsettled, a refusal proves nothing.
        Outcome::Rejected(rejection) if stray && !bugs::has(Bug::RefusedResendIsRejected) => {
            Err(WriteError::InDoubt(sent.in_doubt(rejection.error)))
        }
        Outcome::Rejected(rejection) => {
            sent.reject(rejection.stale_base);
            Err(WriteError::Rejected(rejection))
        }
        Outcome::Unknown(error) if bugs::has(Bug::UnknownTreatedAsRejected) => {
            sent.reject(false);
            Err(WriteError::Rejected(Rejection::new(error)))
        }
        Outcome::Unknown(error) => Err(WriteError::InDoubt(sent.in_doubt(error))),
    }
}

impl<L: Layout> Existing<L> for OwnLoad<'_, L> {
    fn existing(&self) -> Result<Option<Entry<L>>, LoadError> {
        get::existing(self)
    }
}
