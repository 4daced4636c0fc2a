//! The story of a write: turn → prepare → source → commit | reject | in doubt.
//!
//! Put, delete, update and the replay of one of them are one story: they differ in what is sent once the turn is held. Invariant: nothing is visible here before
//! the origin confirmed it, and a write that was sent ends in one of the three outcomes, whatever happens to the caller.

#[cfg(feature = "tokio")]
use std::pin::Pin;
use std::pin::pin;
use std::task::Waker;

use crate::bugs::{self, Bug};
use crate::commit::{Prepared, Sent, Written};
use crate::doubt::{Doubted, Sending, Settlement};
#[cfg(feature = "tokio")]
use crate::drive::Spawned;
use crate::drive::{SourceCall, Step, Story, finish};
use crate::engine::Engine;
use crate::entry::{Entry, Layout, SharedKey, Version};
use crate::error::{LoadError, NotSent, Unmet, WriteError};
use crate::get::{self, OwnLoad};
use crate::layers::{Op, PendingPlace};
use crate::metrics::Event;
use crate::nesting::{self, Scope};
use crate::options::{Call, InDoubtWrites};
use crate::prepare::{TakeTurn, Ticket, TurnStep};
use crate::source::{
    Condition, Confirmed, Existing, Failure, IdempotencyKey, NoAnswer, Outcome, Record, Rejection, SourceError, WriteCx,
};
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

/// What a program expects of the existing record, for its write to go out: see [`put_if`](crate::CacheOf::put_if).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// There is no record.
    Absent,
    /// There is a record, whatever its version.
    Exists,
    /// The record has one of these versions. A record without a version has none of them.
    AnyOf(Vec<Version>),
}

impl Expect {
    /// The record has this version.
    #[must_use]
    pub fn version(version: Version) -> Self {
        Self::AnyOf(vec![version])
    }

    /// What goes on to the origin where it holds of the existing record. Of several versions that is the record's own: another
    /// may be yet to come, and a write that can be applied to that is not settled by what becomes of this one.
    fn of<L: Layout>(&self, existing: Option<&Entry<L>>) -> Option<Condition> {
        match (self, existing) {
            (Self::Absent, None) => Some(Condition::Absent),
            (Self::Exists, Some(_)) => Some(Condition::Exists),
            (Self::AnyOf(versions), Some(entry)) => {
                let found = versions.iter().find(|version| entry.version() == Some(version.as_bytes()));
                found.cloned().map(Condition::Version)
            }
            _ => None,
        }
    }
}

/// What is to be written, once the turn is held.
pub(crate) enum Write<L: Layout, F> {
    Send(Sending<L>),
    SendIf(Sending<L>, Expect),
    Update(F),
    Replay(Arc<Doubted<L>>),
}

impl<L: Layout, F> Write<L, F> {
    /// The bytes of a value that no entry can hold.
    fn too_large(&self) -> Option<usize> {
        match self {
            Self::Send(Sending::Put(value)) | Self::SendIf(Sending::Put(value), _) => too_large::<L>(value),
            _ => None,
        }
    }
}

pub(crate) fn too_large<L: Layout>(value: &L::Value) -> Option<usize> {
    let len = L::value_len(value);
    u32::try_from(len).is_err().then_some(len)
}

/// The closure of an `update` that is none.
pub(crate) type NoUpdate<L> = fn(Option<&Entry<L>>) -> Result<Change<<L as Layout>::Value>, SourceError>;

/// A write on its way.
pub(crate) struct Put<L: Layout, F> {
    engine: Arc<Engine<L>>,
    turn: TakeTurn<L>,
    write: Option<Write<L, F>>,
    scope: Option<Scope>,
    reply: Option<Result<Written<L>, WriteError<L>>>,
}

impl<L: Layout, F> Put<L, F> {
    pub(crate) fn new(engine: &Arc<Engine<L>>, hash: u64, key: SharedKey<L>, write: Write<L, F>, call: &Call) -> Self {
        let conditional = match &write {
            Write::Send(_) => false,
            Write::SendIf(..) | Write::Update(_) => engine.declared.honours_preconditions,
            // It is about the doubt itself.
            Write::Replay(_) => true,
        };
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
    type Output = Result<Written<L>, WriteError<L>>;

    fn step(&mut self, waker: &Waker) -> Step<WriteCall<L, F>, Self::Output> {
        if let Some(reply) = self.reply.take() {
            return Step::Done(reply);
        }
        if let Some(len) = self.write.as_ref().and_then(Write::too_large) {
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

    fn resume(&mut self, reply: Result<Written<L>, WriteError<L>>) {
        self.reply = Some(reply);
    }
}

impl<L: Layout, F> Put<L, F> {
    /// What became of the call that its driver was given is not known: its runtime dropped it half-way, sent or not.
    #[cfg(feature = "tokio")]
    pub(crate) fn lost(&self) -> WriteError<L> {
        let cause = SourceError::new(Failure::Broken, "the source's runtime dropped the write: it was shut down");
        WriteError::InDoubt(self.turn.lost(cause))
    }

    /// The call that its driver was given panicked: in the closure of an update, before anything was sent, or after the send, in what is
    /// neither the source's nor ours (a runtime without timers).
    pub(crate) fn panicked(&self, message: String) -> WriteError<L> {
        if self.turn.left_a_doubt() {
            let cause = SourceError::new(Failure::Failed, format!("a panic after the send: {message}"));
            return WriteError::InDoubt(self.turn.lost(cause));
        }
        WriteError::NotSent(NotSent::Panicked(message))
    }

    /// The same, shown from its first step on.
    pub(crate) fn pending(self, call: &Call, op: Op<L>, place: PendingPlace) -> Self {
        // What it is settled in is no part of the caller's own calls.
        Self { turn: self.turn.pending(call, op, place), scope: None, ..self }
    }

    /// Its place in the queue, while it waits there.
    pub(crate) fn ticket(&self) -> Option<&Arc<Ticket>> {
        self.turn.ticket()
    }

    fn not_sent(&self, why: NotSent) -> WriteError<L> {
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
    type Reply = Result<Written<L>, WriteError<L>>;

    async fn run(self) -> Self::Reply {
        let Self { engine, prepared, write, scope } = self;
        let served = [engine.frame(prepared.hash())];
        let written = pin!(async {
            match write {
                Write::Send(sending) => send(&engine, prepared, sending, None).await,
                Write::SendIf(sending, expect) => send_if(&engine, prepared, sending, &expect).await,
                Write::Update(f) => update(&engine, prepared, f).await,
                Write::Replay(write) => replay(&engine, prepared, &write).await,
            }
        });
        let result = nesting::within(&served, scope.as_ref(), written).await;
        if let Err(WriteError::NotSent(_) | WriteError::Unmet(_)) = &result {
            engine.counters.count(Event::NotSent);
        }
        result
    }

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> crate::clock::Tick {
        self.prepared.deadline()
    }

    #[cfg(feature = "tokio")]
    fn is_nested(&self) -> bool {
        self.scope.is_some()
    }
}

#[cfg(feature = "tokio")]
impl<L, F> Spawned for WriteCall<L, F>
where
    L: Layout,
    F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError> + Send + 'static,
{
    fn spawned(self) -> impl Future<Output = Self::Reply> + Send + 'static {
        self.run()
    }
}

async fn send<L: Layout>(
    engine: &Engine<L>,
    prepared: Prepared<L>,
    sending: Sending<L>,
    condition: Option<Condition>,
) -> Result<Written<L>, WriteError<L>> {
    let sent = prepared.send_as(condition.clone(), None)?;
    end(engine, sent, sending, condition).await
}

/// Calls the source for what was sent, and ends it by the answer.
async fn end<L: Layout>(
    engine: &Engine<L>,
    sent: Sent<L>,
    sending: Sending<L>,
    condition: Option<Condition>,
) -> Result<Written<L>, WriteError<L>> {
    let (outcome, stray) = Told::of(&sent, condition.clone()).call_source(&sending).await;
    conclude(engine, sent, sending, condition, outcome, stray)
}

/// Ends what was sent by the source's answer. `stray`: an earlier send of it, by the source, may still land.
pub(crate) fn conclude<L: Layout>(
    engine: &Engine<L>,
    sent: Sent<L>,
    sending: Sending<L>,
    condition: Option<Condition>,
    outcome: Outcome<Done<L::Value>>,
    stray: bool,
) -> Result<Written<L>, WriteError<L>> {
    match outcome {
        Outcome::Applied(Done::Deleted) => Ok(sent.deleted(stray)),
        Outcome::Applied(done) => {
            let value = if let Sending::Put(value) = sending { Some(value) } else { None };
            Ok(sent.applied(done.record(engine, value), stray))
        }
        // With an earlier send unsettled, a refusal proves nothing, unless it is about that one too.
        Outcome::Rejected(rejection) if proves_nothing(engine, &rejection, stray) => {
            Err(WriteError::InDoubt(sent.doubted(rejection.error, Some(sending), condition)))
        }
        Outcome::Rejected(rejection) => {
            let _ = sent.refused(rejection.stale_base, rejection.all_sends);
            Err(WriteError::Rejected(rejection))
        }
        Outcome::Unknown(error) if bugs::has(Bug::UnknownTreatedAsRejected) => {
            sent.reject(false);
            Err(WriteError::Rejected(Rejection::new(error)))
        }
        Outcome::Unknown(error) => Err(WriteError::InDoubt(sent.doubted(error, Some(sending), condition))),
    }
}

/// Sends it if what the program expects holds of the existing record.
async fn send_if<L: Layout>(
    engine: &Engine<L>,
    prepared: Prepared<L>,
    sending: Sending<L>,
    expect: &Expect,
) -> Result<Written<L>, WriteError<L>> {
    let existing = prepared.read().await.map_err(NotSent::Unread)?;
    match expect.of(existing.as_ref()) {
        Some(condition) => {
            let condition = engine.declared.honours_preconditions.then_some(condition);
            send(engine, prepared, sending, condition).await
        }
        None if bugs::has(Bug::UnmetIsSent) => send(engine, prepared, sending, None).await,
        None => Err(WriteError::Unmet(Unmet { existing })),
    }
}

/// Sends a write in doubt once more, just as it was. Only where the origin honours its idempotency key does the answer say
/// what became of the sends before.
async fn replay<L: Layout>(
    engine: &Engine<L>,
    prepared: Prepared<L>,
    write: &Arc<Doubted<L>>,
) -> Result<Written<L>, WriteError<L>> {
    let Some(sending) = &write.sending else { return Err(NotSent::NotOurs.into()) };
    let condition = write.condition.clone();
    let sent = prepared.send_as(condition.clone(), Some(write))?;
    let (outcome, stray) = Told::of(&sent, condition).call_source(sending).await;
    let keys_settle = engine.rules.keys_settle;
    match outcome {
        Outcome::Applied(done) => {
            if keys_settle {
                write.became(Settlement::Applied);
            }
            Ok(match done {
                Done::Deleted => sent.deleted(stray),
                Done::Put(Confirmed::Record(record)) => sent.applied(Some(record), stray),
                // The value stays with the handle.
                Done::Put(Confirmed::AsSent { .. } | Confirmed::Unseen) => sent.applied(None, stray),
            })
        }
        Outcome::Rejected(rejection) if proves_nothing(engine, &rejection, stray) => {
            Err(WriteError::InDoubt(sent.doubted_again(rejection.error, write)))
        }
        Outcome::Rejected(rejection) if keys_settle && rejection.all_sends => {
            write.became(Settlement::NotApplied);
            let _ = sent.refused(rejection.stale_base, true);
            Err(WriteError::Rejected(rejection))
        }
        Outcome::Rejected(rejection) => Err(WriteError::InDoubt(sent.turned_away(rejection, write))),
        Outcome::Unknown(error) => Err(WriteError::InDoubt(sent.doubted_again(error, write))),
    }
}

/// Reads, applies the program's closure and writes, all within the turn.
async fn update<L: Layout>(
    engine: &Engine<L>,
    prepared: Prepared<L>,
    f: impl FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError>,
) -> Result<Written<L>, WriteError<L>> {
    let existing = prepared.read().await.map_err(NotSent::Unread)?;
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
        Change::Put(value) => match too_large::<L>(&value) {
            Some(len) => Err(NotSent::ValueTooLarge(len).into()),
            None => send(engine, prepared, Sending::Put(value), condition).await,
        },
        Change::Delete => send(engine, prepared, Sending::Delete, condition).await,
        Change::Keep => Ok(Written { kept: prepared.is_resident(), entry: existing }),
    }
}

/// That the record is still the one that was read, as far as it can be told.
pub(crate) fn condition_on<L: Layout>(existing: Option<&Entry<L>>) -> Option<Condition> {
    match existing {
        None => Some(Condition::Absent),
        Some(entry) => entry.version().and_then(Version::new).map(Condition::Version),
    }
}

/// What the source confirmed of a write.
pub(crate) enum Done<V> {
    Put(Confirmed<V>),
    Deleted,
}

impl<V> Done<V> {
    /// The record that is known of an applied put, as far as the source may be believed.
    pub(crate) fn record<L: Layout<Value = V>>(self, engine: &Engine<L>, sent: Option<V>) -> Option<Record<V>> {
        match (self, sent) {
            (Self::Put(done), Some(value)) => confirmed(engine, done, value),
            (Self::Put(Confirmed::Record(record)), None) => Some(record),
            _ => None,
        }
    }
}

/// The same of a put whose value is at hand.
#[inline]
pub(crate) fn confirmed<L: Layout>(
    engine: &Engine<L>,
    done: Confirmed<L::Value>,
    sent: L::Value,
) -> Option<Record<L::Value>> {
    match done {
        Confirmed::Record(record) => Some(record),
        Confirmed::AsSent { version, lifetime } if engine.declared.stores_verbatim => {
            Some(Record { value: sent, version, lifetime, tags: Vec::new() })
        }
        Confirmed::AsSent { .. } | Confirmed::Unseen => None,
    }
}

/// What a source is told of a write, beside what is written.
pub(crate) struct Told<'a, L: Layout> {
    pub(crate) own: OwnLoad<'a, L>,
    pub(crate) idempotency_key: IdempotencyKey,
    pub(crate) condition: Option<Condition>,
    pub(crate) replaced: Option<&'a Entry<L>>,
}

impl<'a, L: Layout> Told<'a, L> {
    fn of(sent: &'a Sent<L>, condition: Option<Condition>) -> Self {
        let (idempotency_key, replaced) = (sent.idempotency_key(), sent.replaced());
        Self { own: sent.own_load(), idempotency_key, condition, replaced }
    }

    /// Calls the source for a sent write, and says whether an earlier send of it, by the source, may still land.
    pub(crate) async fn call_source(self, sending: &Sending<L>) -> (Outcome<Done<L::Value>>, bool) {
        let Self { own, idempotency_key, condition, replaced } = self;
        let engine = own.engine;
        let cx = WriteCx {
            clock: &*engine.clock,
            deadline: own.deadline,
            idempotency_key,
            condition,
            replaced,
            existing: Some(&own),
            stray: AtomicBool::new(false),
        };
        let key = own.key;
        let outcome = match sending {
            Sending::Put(value) => engine.source.put(key, L::view(value), &cx).await.map(Done::Put),
            Sending::Delete => engine.source.delete(key, &cx).await.map(|()| Done::Deleted),
        };
        judged(engine, outcome, cx.stray.load(Ordering::Relaxed))
    }
}

/// What a source answered, and whether the stray that it told of may still land.
pub(crate) fn judged<L: Layout, T>(engine: &Engine<L>, outcome: Outcome<T>, stray: bool) -> (Outcome<T>, bool) {
    match outcome {
        // A stray under the same idempotency key is the same write, where the origin honours the key.
        Outcome::Applied(_) => (outcome, stray && !engine.rules.keys_settle),
        _ => (outcome, stray),
    }
}

/// How a write ended whose source gave this answer, or none.
pub(crate) fn outcome<T>(answer: Result<Outcome<T>, NoAnswer>) -> Outcome<T> {
    answer.unwrap_or_else(|why| Outcome::Unknown(why.cause()))
}

/// The refusal of a write that left a stray.
pub(crate) fn proves_nothing<L: Layout>(engine: &Engine<L>, rejection: &Rejection, stray: bool) -> bool {
    stray && !(engine.rules.keys_settle && rejection.all_sends) && !bugs::has(Bug::RefusedResendIsRejected)
}

impl<L: Layout> Existing<L> for OwnLoad<'_, L> {
    fn existing(&self) -> Result<Option<Entry<L>>, LoadError> {
        finish(get::existing(self), self.engine.source.runtime())
    }

    #[cfg(feature = "tokio")]
    fn awaited(&self) -> Pin<Box<dyn Future<Output = Result<Option<Entry<L>>, LoadError>> + Send + '_>> {
        Box::pin(get::existing(self))
    }
}
