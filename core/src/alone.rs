//! The short way of a write that meets nobody: turn, source and commit in the caller's thread, with nothing taken that nobody will ask for.
//!
//! It holds no permit, and borrows the cache and its key. Whatever is not the plain end (somebody met it, it is late, it was not applied, the source
//! panicked) makes it a [`Sent`] first, and goes on as any write. Invariant: an `Alone` ends applied, as a `Sent`, or is dropped, which is in doubt.

#[cfg(feature = "tokio")]
use std::pin::Pin;

use crate::clock::Tick;
use crate::commit::{Permit, Sent, Written, can_hold};
use crate::doubt::Sending;
use crate::drive::{block_on, finish};
use crate::engine::Engine;
use crate::entry::{Entry, Layout, Lookup, SharedKey};
use crate::error::{LoadError, WriteError};
use crate::get::{self, OwnLoad};
use crate::nesting::{self, Nesting};
use crate::options::Call;
use crate::put::{self, Done, NoUpdate, Put, Write};
use crate::slot::PermitId;
use crate::source::{Existing, IdempotencyKey, Outcome, Record, Source, WriteCx};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::tags::Running;

/// Writes from this thread over a blocking source.
pub(crate) fn put_now<L: Layout, Q: Lookup<L> + ?Sized>(
    engine: &Arc<Engine<L>>,
    key: &Q,
    sending: Sending<L>,
    call: &Call,
) -> Result<Written<L>, WriteError<L>> {
    let hash = engine.hash(key);
    let owned;
    let (lent, shared) = match key.as_key() {
        Some(lent) => (lent, None),
        None => {
            owned = Arc::new(key.to_key());
            (L::key(&owned), Some(&owned))
        }
    };
    let is_too_large = matches!(&sending, Sending::Put(value) if put::too_large::<L>(value).is_some());
    let source = engine.source.blocking().filter(|_| !is_too_large);
    match source.and_then(|source| Some((source, Alone::send(engine, (hash, lent), shared, call)?))) {
        Some((source, alone)) => {
            let _inside = nesting::enter(engine.frame(hash), call.scope.as_ref());
            alone.end(source, sending)
        }
        None => {
            let shared = shared.map_or_else(|| Arc::new(key.to_key()), Arc::clone);
            let write: Write<L, NoUpdate<L>> = Write::Send(sending);
            block_on(Put::new(engine, hash, shared, write, call), &*engine.clock, engine.source.runtime())
        }
    }
}

/// A write that was sent, and that nobody had met then.
struct Alone<'a, L: Layout> {
    engine: &'a Arc<Engine<L>>,
    hash: u64,
    key: &'a L::Key,
    /// The key as one to be held, if it was made.
    shared: Option<&'a SharedKey<L>>,
    permit: PermitId,
    since: Tick,
    deadline: Tick,
    /// For the tags that were invalidated since.
    running: Running,
    replaced: Option<Entry<L>>,
    call: &'a Call,
    ended: bool,
}

impl<'a, L: Layout> Alone<'a, L> {
    /// Takes the turn of a key with nothing going on for an unconditional write, whose source is called in the same breath: it counts
    /// as sent. `None`: there is more to say or to do, and nothing was done.
    fn send(
        engine: &'a Arc<Engine<L>>,
        (hash, key): (u64, &'a L::Key),
        shared: Option<&'a SharedKey<L>>,
        call: &'a Call,
    ) -> Option<Self> {
        let same_key = Nesting::of(engine.frame(hash), call.scope.as_ref()).same_key;
        if same_key || engine.listener.is_some() || engine.too_long(key).is_some() {
            return None;
        }
        let since = engine.clock.now();
        let deadline = engine.deadline_of(call, since);
        if deadline <= since {
            return None;
        }
        let running = engine.tags.begins();
        let (permit, replaced) = {
            let mut state = engine.shard(hash).write();
            if engine.is_closed() {
                return None;
            }
            state.send_lone(engine, (hash, key), shared, deadline)?
        };
        let replaced = replaced.and_then(Entry::of);
        Some(Self { engine, hash, key, shared, permit, since, deadline, running, replaced, call, ended: false })
    }

    fn idempotency_key(&self) -> IdempotencyKey {
        self.call.idempotency_key.unwrap_or_else(|| self.engine.idempotency_key(self.permit))
    }

    fn shared(&self) -> SharedKey<L> {
        self.shared.map_or_else(|| Arc::new(L::own(self.key)), Arc::clone)
    }

    /// Calls the source, and ends it by the answer.
    fn end(self, source: &dyn Source<L>, sending: Sending<L>) -> Result<Written<L>, WriteError<L>> {
        let (outcome, stray) = {
            let cx = WriteCx {
                clock: &*self.engine.clock,
                deadline: self.deadline,
                idempotency_key: self.idempotency_key(),
                condition: None,
                replaced: self.replaced.as_ref(),
                existing: Some(&self),
                stray: AtomicBool::new(false),
            };
            let outcome = match &sending {
                Sending::Put(value) => {
                    put::answered(source, |source| source.put(self.key, L::view(value), &cx)).map(Done::Put)
                }
                Sending::Delete => put::answered(source, |source| source.delete(self.key, &cx)).map(|()| Done::Deleted),
            };
            put::judged(self.engine, outcome, cx.stray.load(Ordering::Relaxed))
        };
        match outcome {
            Outcome::Applied(Done::Put(confirmed)) if !stray => {
                let Sending::Put(value) = sending else { unreachable!("a delete is answered as one") };
                let record = Done::Put(confirmed).record(self.engine, Some(value));
                Ok(self.applied(record))
            }
            outcome => put::conclude(self.engine, self.sent(), sending, None, outcome, stray),
        }
    }

    /// The origin applied the put, and nothing of it is under way any more.
    fn applied(mut self, record: Option<Record<L::Value>>) -> Written<L> {
        let engine = self.engine;
        // The record is made while the write is open: should that unwind, the key is in doubt.
        let made = record.filter(can_hold::<L>).map(|record| {
            let lifetime = record.lifetime.or(self.call.lifetime);
            engine.record(self.hash, self.key, record.lifetime(lifetime), self.since)
        });
        if let Some((stored, true)) = &made
            && let Some(kept) = engine.lone_applied((self.hash, self.key), self.permit, stored)
        {
            self.ended = true;
            return Written { entry: made.and_then(|(stored, _)| Entry::of(stored)), kept };
        }
        self.sent().applied_as(made)
    }

    /// The same as a write that others know of.
    fn sent(mut self) -> Sent<L> {
        self.ended = true;
        self.as_sent()
    }

    fn as_sent(&mut self) -> Sent<L> {
        self.engine.shard(self.hash).write().meet(self.engine, self.hash);
        let permit = Permit {
            engine: Arc::clone(self.engine),
            hash: self.hash,
            key: self.shared(),
            id: self.permit,
            deadline: self.deadline,
            idempotency_key: self.idempotency_key(),
            lifetime: self.call.lifetime,
            is_pending: false,
        };
        Sent::met(permit, self.since, self.replaced.take(), self.running)
    }
}

impl<L: Layout> Drop for Alone<'_, L> {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.as_sent());
        }
    }
}

impl<L: Layout> Existing<L> for Alone<'_, L> {
    fn existing(&self) -> Result<Option<Entry<L>>, LoadError> {
        let Self { engine, hash, deadline, .. } = *self;
        finish(get::existing(&OwnLoad { engine, hash, key: self.key, deadline }), engine.source.runtime())
    }

    #[cfg(feature = "tokio")]
    fn awaited(&self) -> Pin<Box<dyn Future<Output = Result<Option<Entry<L>>, LoadError>> + Send + '_>> {
        let Self { engine, hash, deadline, .. } = *self;
        Box::pin(async move { get::existing(&OwnLoad { engine, hash, key: self.key, deadline }).await })
    }
}
