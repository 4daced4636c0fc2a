//! The two permits of a write, and their exits.
//!
//! [`Prepared`] holds the key's turn; nothing was sent, and dropping it leaves no trace. [`Sent`] says that the write may have
//! left; it ends by commit, reject or in doubt, and dropping it is in doubt. Consuming methods make any other exit impossible.
//! Invariant: a permit ends once, and its end and what the store shows change in one step.

use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::doubt::{DoubtTicket, Doubted, InDoubt, Sending};
use crate::drive::finish;
use crate::engine::Engine;
use crate::entry::{Entry, Layout, SharedKey};
use crate::error::{LoadError, NotSent};
use crate::get::{self, OwnLoad};
use crate::listener::EventKind;
use crate::metrics::Event;
#[cfg(feature = "tokio")]
use crate::nesting::Scope;
use crate::shard::AtKey;
use crate::slot::PermitId;
use crate::source::{Condition, IdempotencyKey, Lifetime, Record, Rejection, SourceError};
use crate::sync::{Arc, Ordering};
use crate::tags::Running;

/// What an applied write left.
#[non_exhaustive]
pub struct Written<L: Layout> {
    /// The record that the origin confirmed; `None` after a delete, or where the origin applied the write and its record was
    /// not seen.
    pub entry: Option<Entry<L>>,
    /// The cache serves it now. False where it is too heavy, has no lifetime, or the key was invalidated or in doubt
    /// meanwhile: the next read asks the origin.
    pub kept: bool,
}

pub(crate) struct Permit<L: Layout> {
    pub(crate) engine: Arc<Engine<L>>,
    pub(crate) hash: u64,
    pub(crate) key: SharedKey<L>,
    pub(crate) id: PermitId,
    pub(crate) deadline: Tick,
    pub(crate) idempotency_key: IdempotencyKey,
    /// Of a record that says nothing of its own.
    pub(crate) lifetime: Lifetime,
    /// Of a pending write: it is sent also while the cache closes.
    pub(crate) is_pending: bool,
}

impl<L: Layout> Permit<L> {
    fn key(&self) -> &L::Key {
        L::key(&self.key)
    }
}

/// A write that has its turn and was not sent. Until its deadline no other write of the key goes out; then it is
/// aborted.
///
/// # Example
/// ```
/// # use wtcache::{Cache, Call, LoadCx, Loaded, Record, Source, SourceError, Typed};
/// # struct None_;
/// # impl Source<Typed<String, u32>> for None_ {
/// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
/// #         Ok(Loaded::Absent)
/// #     }
/// # }
/// # let cache = Cache::builder(None_).build()?;
/// let prepared = cache.prepare("bolts", &Call::new())?;
/// let sent = prepared.send()?;
/// // … the program does its own I/O, and the origin confirms:
/// sent.commit(Some(Record::new(7)));
/// assert_eq!(cache.peek("bolts").map(|entry| *entry.value()), Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it aborts the write"]
pub struct Prepared<L: Layout>(Option<Permit<L>>);

impl<L: Layout> Prepared<L> {
    pub(crate) fn new(permit: Permit<L>) -> Self {
        Self(Some(permit))
    }

    /// The existing record: the resident one, else loaded from the origin now. Blocks the thread while it is loaded: in a task use
    /// `AsyncCache::existing` (feature `tokio`).
    ///
    /// # Errors
    /// It is not resident and could not be loaded. The turn is still held.
    ///
    /// # Panics
    /// The source is async, and this thread runs tasks: as all blocking calls. The turn is still held.
    pub fn existing(&self) -> Result<Option<Entry<L>>, LoadError> {
        finish(self.read(), self.permit().engine.source.runtime())
    }

    /// See [`Prepared::existing`].
    pub(crate) async fn read(&self) -> Result<Option<Entry<L>>, LoadError> {
        let permit = self.permit();
        let (engine, key) = (&permit.engine, L::key(&permit.key));
        get::existing(&OwnLoad { engine, hash: permit.hash, key, deadline: permit.deadline }).await
    }

    /// The same as a call of its own, part of those of `scope`.
    #[cfg(feature = "tokio")]
    pub(crate) fn reading(&self, scope: Option<Scope>) -> get::Existing<L> {
        let Permit { engine, hash, key, deadline, .. } = self.permit();
        get::Existing { engine: Arc::clone(engine), hash: *hash, key: Arc::clone(key), deadline: *deadline, scope }
    }

    /// How long the permit still holds.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.permit().deadline.since(self.permit().engine.clock.now())
    }

    /// The key under which the write should go out.
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        self.permit().idempotency_key
    }

    /// Gives the turn back. Nothing has happened.
    pub fn abort(self) {
        drop(self);
    }

    /// Says that the write leaves now. From here on, nothing but a definite answer makes it certain.
    ///
    /// # Errors
    /// The permit's deadline passed, or the cache was closed: nothing may be sent.
    pub fn send(self) -> Result<Sent<L>, NotSent> {
        self.send_as(None, None)
    }

    /// `replays`: the write in doubt that this is another send of.
    pub(crate) fn send_as(
        mut self,
        condition: Option<Condition>,
        replays: Option<&Doubted<L>>,
    ) -> Result<Sent<L>, NotSent> {
        let permit = self.0.take().expect("present until consumed");
        let engine = &permit.engine;
        let running = engine.tags.begins();
        let sent = engine.at_key(permit.hash, permit.key(), |at| {
            if engine.is_closed() && !permit.is_pending {
                at.abort(permit.id);
                return Err(NotSent::Closed);
            }
            Leaving::now(at, (permit.id, engine.clock.now()), condition, replays, running)
        });
        let leaving = sent?;
        Ok(Sent::new(permit, leaving))
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn deadline(&self) -> Tick {
        self.permit().deadline
    }

    pub(crate) fn hash(&self) -> u64 {
        self.permit().hash
    }

    /// How long the key stays in doubt, if it is.
    pub(crate) fn in_doubt_for(&self) -> Option<Duration> {
        let permit = self.permit();
        let now = permit.engine.clock.now();
        permit.engine.at_key(permit.hash, permit.key(), |at| {
            at.cell().and_then(|cell| cell.slot.doubt()).map(|doubt| doubt.until.since(now))
        })
    }

    pub(crate) fn is_resident(&self) -> bool {
        let permit = self.permit();
        permit.engine.at_key(permit.hash, permit.key(), |at| at.fresh().is_some())
    }

    fn permit(&self) -> &Permit<L> {
        self.0.as_ref().expect("present until consumed")
    }
}

impl<L: Layout> Drop for Prepared<L> {
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            permit.engine.at_key(permit.hash, permit.key(), |at| at.abort(permit.id));
        }
    }
}

/// What a write is sent with.
pub(crate) struct Leaving<L: Layout> {
    since: Tick,
    replaced: Option<L::Stored>,
    running: Running,
}

impl<L: Layout> Leaving<L> {
    /// The write counts as sent from now on. `since` is now, and so is what `running` counts, or a little earlier.
    pub(crate) fn now(
        at: &mut AtKey<'_, L>,
        (permit, since): (PermitId, Tick),
        condition: Option<Condition>,
        replays: Option<&Doubted<L>>,
        running: Running,
    ) -> Result<Self, NotSent> {
        let late = if at.engine().is_closed() { NotSent::Closed } else { NotSent::Deadline };
        let replaced = at.send(permit, condition, replays.map(|write| write.permit)).ok_or(late)?;
        at.engine().open_sends.fetch_add(1, Ordering::AcqRel);
        // What a replay is told may be as old as the first send.
        let since = replays.map_or(since, |write| write.since);
        Ok(Self { since, replaced, running })
    }
}

/// A write that may have left. At its deadline the key is in doubt, and a later commit or reject counts as the late answer.
#[must_use = "dropping it leaves the key in doubt"]
pub struct Sent<L: Layout> {
    permit: Option<Permit<L>>,
    since: Tick,
    replaced: Option<Entry<L>>,
    /// For the tags that were invalidated since.
    running: Running,
}

impl<L: Layout> Sent<L> {
    pub(crate) fn new(permit: Permit<L>, leaving: Leaving<L>) -> Self {
        let Leaving { since, replaced, running } = leaving;
        Self { permit: Some(permit), since, replaced: replaced.and_then(Entry::of), running }
    }

    /// A write that was sent alone, and that somebody has met since.
    pub(crate) fn met(permit: Permit<L>, since: Tick, replaced: Option<Entry<L>>, running: Running) -> Self {
        Self { permit: Some(permit), since, replaced, running }
    }

    /// The origin applied a put. With its record, that is what the cache shows from now on; without, the next read asks.
    pub fn commit(self, record: Option<Record<L::Value>>) -> Written<L> {
        self.applied(record, false)
    }

    /// The origin applied a delete.
    pub fn commit_deleted(self) -> Written<L> {
        self.deleted(false)
    }

    /// The origin certainly did not apply the write, and will not. `stale_base`: its refusal proves that the cache's entry
    /// is out of date.
    pub fn reject(self, stale_base: bool) {
        let _ = self.refused(stale_base, false);
    }

    /// Nobody can know whether the origin applied the write, for the reason given. Only the program can send it again; with the
    /// handle it says what came of that.
    pub fn in_doubt(self, cause: SourceError) -> InDoubt<L> {
        self.doubted(cause, None, None)
    }

    /// Ends unknown; `sending` under `condition` is what it sent, if the cache did it.
    pub(crate) fn doubted(
        mut self,
        cause: SourceError,
        sending: Option<Sending<L>>,
        condition: Option<Condition>,
    ) -> InDoubt<L> {
        let (permit, since) = (self.take(), self.since);
        let ticket = unknown(&permit);
        let Permit { engine, hash, key, id, idempotency_key, .. } = permit;
        InDoubt::new(
            ticket,
            cause,
            Arc::new(Doubted::new((&engine, hash, key), (id, since, idempotency_key), condition, sending)),
        )
    }

    /// A replay of `write` ends unknown.
    pub(crate) fn doubted_again(mut self, cause: SourceError, write: &Arc<Doubted<L>>) -> InDoubt<L> {
        let permit = self.take();
        InDoubt::new(unknown(&permit), cause, Arc::clone(write))
    }

    /// A replay of `write` was turned away: of its earlier sends nothing is known.
    pub(crate) fn turned_away(self, rejection: Rejection, write: &Arc<Doubted<L>>) -> InDoubt<L> {
        let engine = Arc::clone(&self.permit().engine);
        let ticket = self.refused(rejection.stale_base, false);
        let ticket = ticket.unwrap_or_else(|| no_doubt(&engine, engine.clock.now()));
        InDoubt::new(ticket, rejection.error, Arc::clone(write))
    }

    /// Gives the doubt that the key is in afterwards.
    pub(crate) fn refused(mut self, stale_base: bool, all_sends: bool) -> Option<Arc<DoubtTicket>> {
        let permit = self.take();
        let engine = &permit.engine;
        engine.counters.count(Event::Rejected);
        let ticket = engine.at_key(permit.hash, permit.key(), |at| at.rejected(permit.id, stale_base, all_sends));
        end_send(engine);
        ticket
    }

    pub(crate) fn replaced(&self) -> Option<&Entry<L>> {
        self.replaced.as_ref()
    }

    /// `stray`: an earlier send of this write may still land.
    pub(crate) fn applied(mut self, record: Option<Record<L::Value>>, stray: bool) -> Written<L> {
        let record = record.filter(can_hold::<L>);
        // The record is made while the permit is armed: should that unwind, the key is in doubt.
        let made = record.map(|mut record| {
            let permit = self.permit();
            record.lifetime.fill(&permit.lifetime);
            permit.engine.record(permit.hash, permit.key(), record, self.since)
        });
        self.ends_applied(made, stray, |kept| EventKind::Put { kept })
    }

    /// The same with the record made, and no stray.
    pub(crate) fn applied_as(mut self, made: Option<(L::Stored, bool)>) -> Written<L> {
        self.ends_applied(made, false, |kept| EventKind::Put { kept })
    }

    pub(crate) fn deleted(mut self, stray: bool) -> Written<L> {
        let permit = self.permit();
        let made = permit
            .engine
            .absent_after_delete
            .then(|| permit.engine.absent(permit.hash, permit.key(), Lifetime::Default, self.since));
        self.ends_applied(made, stray, |kept| EventKind::Deleted { kept })
    }

    fn ends_applied(
        &mut self,
        made: Option<(L::Stored, bool)>,
        stray: bool,
        event: fn(bool) -> EventKind,
    ) -> Written<L> {
        let permit = self.take();
        let engine = &permit.engine;
        engine.counters.count(Event::Applied);
        let (stored, keep) = made.map_or((None, false), |(stored, keep)| (Some(stored), keep));
        let stray_until = stray.then(|| engine.clock.now().after(engine.rules.settle_window));
        let kept = engine.at_key(permit.hash, permit.key(), |at| {
            let kept = at.applied(permit.id, stored.as_ref(), keep, stray_until, self.running);
            at.note(event(kept));
            kept
        });
        end_send(engine);
        Written { entry: stored.and_then(Entry::of), kept }
    }

    pub(crate) fn idempotency_key(&self) -> IdempotencyKey {
        self.permit().idempotency_key
    }

    pub(crate) fn own_load(&self) -> OwnLoad<'_, L> {
        let permit = self.permit();
        OwnLoad { engine: &permit.engine, hash: permit.hash, key: L::key(&permit.key), deadline: permit.deadline }
    }

    fn permit(&self) -> &Permit<L> {
        self.permit.as_ref().expect("present until consumed")
    }

    fn take(&mut self) -> Permit<L> {
        self.permit.take().expect("present until consumed")
    }
}

impl<L: Layout> Drop for Sent<L> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let _ = unknown(&permit);
        }
    }
}

/// An entry can hold the record. One that none can is as good as unseen.
pub(crate) fn can_hold<L: Layout>(record: &Record<L::Value>) -> bool {
    u32::try_from(L::value_len(&record.value)).is_ok()
}

fn unknown<L: Layout>(permit: &Permit<L>) -> Arc<DoubtTicket> {
    let engine = &permit.engine;
    engine.counters.count(Event::Unknown);
    let window = engine.rules.settle_window / if bugs::has(Bug::WindowTooShort) { 4 } else { 1 };
    let until = engine.clock.now().after(window);
    let ticket = engine.at_key(permit.hash, permit.key(), |at| at.unknown(permit.id, until));
    end_send(engine);
    ticket.unwrap_or_else(|| no_doubt(engine, until))
}

/// The doubt of a write of which the cache keeps no account: it is over already, or ends with `until` where the cache is closed.
pub(crate) fn no_doubt<L: Layout>(engine: &Engine<L>, until: Tick) -> Arc<DoubtTicket> {
    let ticket = DoubtTicket::new(Arc::clone(&engine.clock), engine.clock.now(), until);
    if !engine.is_closed() {
        let _nobody_waits = ticket.settle();
    }
    Arc::new(ticket)
}

/// The key is in doubt about the write with this permit.
pub(crate) fn is_in_doubt<L: Layout>(engine: &Engine<L>, hash: u64, key: &L::Key, id: PermitId) -> bool {
    engine.at_key(hash, key, |at| {
        at.cell().and_then(|cell| cell.slot.doubt()).is_some_and(|doubt| doubt.may_be_about(id))
    })
}

/// The doubt about a write whose call was dropped half-way, as its permit left it. There is none any more where the write was not sent.
pub(crate) fn lost<L: Layout>(
    (engine, hash, key): (&Arc<Engine<L>>, u64, &SharedKey<L>),
    (id, idempotency_key): (PermitId, IdempotencyKey),
    cause: SourceError,
) -> InDoubt<L> {
    let now = engine.clock.now();
    let ticket = engine.at_key(hash, L::key(key), |at| at.doubt()).unwrap_or_else(|| no_doubt(engine, now));
    let write = (engine, hash, Arc::clone(key));
    InDoubt::new(ticket, cause, Arc::new(Doubted::new(write, (id, now, idempotency_key), None, None)))
}

/// Counts a send as ended, and wakes a `close` that waits for the last one.
pub(crate) fn end_send<L: Layout>(engine: &Engine<L>) {
    // SeqCst: counted first and the mark looked for then, while `close` sets the mark first and counts then: one sees the other.
    if engine.open_sends.fetch_sub(1, Ordering::SeqCst) == 1 {
        engine.wake_closers();
    }
}
