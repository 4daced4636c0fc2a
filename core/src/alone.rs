//! The short way of a write that meets nobody: turn, source and commit in the caller's thread, with nothing taken that nobody will ask for.
//!
//! It holds no permit, and borrows the cache and its key, which it lends to its note. Whatever is not the plain end (somebody met it, it is late, it was not applied, the source
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
use crate::memory::lent::lend;
use crate::memory::table::Place;
use crate::nesting::{self, Nesting};
use crate::options::Call;
use crate::put::{self, Done, NoUpdate, Put, Write};
use crate::shard::{Laid, NotedKey, Shard};
use crate::slot::PermitId;
use crate::source::{Existing, IdempotencyKey, Outcome, Record, Source, WriteCx, caught};
use crate::store::Left;
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
    match key.as_key() {
        Some(plain) => lend(plain, |lent| write(engine, (hash, plain, None), NotedKey::Plain(lent), sending, call)),
        None => {
            let owned = Arc::new(key.to_key());
            let key = (hash, L::key(&owned), Some(&owned));
            lend(&owned, |lent| write(engine, key, NotedKey::Shared(lent), sending, call))
        }
    }
}

/// A key, its hash, and the key as one to be held, if it was made.
type Keyed<'a, L> = (u64, &'a <L as Layout>::Key, Option<&'a SharedKey<L>>);

#[inline]
fn write<L: Layout>(
    engine: &Arc<Engine<L>>,
    (hash, key, shared): Keyed<'_, L>,
    noted: NotedKey<L>,
    sending: Sending<L>,
    call: &Call,
) -> Result<Written<L>, WriteError<L>> {
    let is_too_large = matches!(&sending, Sending::Put(value) if put::too_large::<L>(value).is_some());
    // Whatever is to be said of it, the whole way says.
    if let Some(source) = engine.source.blocking().filter(|_| !is_too_large)
        && let Some((mut alone, laid)) = Alone::send(engine, (hash, key, shared), noted, call)
    {
        let _inside = nesting::enter(engine.frame(hash), call.scope.as_ref());
        // The last handle of an absent mark may go with this, and run code of the program's: as part of the write, which ends should that unwind.
        alone.replaced = laid.and_then(|(place, stored)| Some((place, Entry::of(stored)?)));
        return match sending {
            Sending::Put(value) => alone.put(source, value),
            Sending::Delete => alone.delete(source),
        };
    }
    the_whole_way(engine, (hash, key, shared), sending, call)
}

/// Apart: it wants a large frame.
#[cold]
#[inline(never)]
fn the_whole_way<L: Layout>(
    engine: &Arc<Engine<L>>,
    (hash, key, shared): Keyed<'_, L>,
    sending: Sending<L>,
    call: &Call,
) -> Result<Written<L>, WriteError<L>> {
    let shared = shared.map_or_else(|| Arc::new(L::own(key)), Arc::clone);
    let write: Write<L, NoUpdate<L>> = Write::Send(sending);
    block_on(Put::new(engine, hash, shared, write, call), &*engine.clock, engine.source.runtime())
}

/// A write that was sent, and that nobody had met then.
struct Alone<'a, L: Layout> {
    engine: &'a Arc<Engine<L>>,
    shard: &'a Shard<L>,
    hash: u64,
    key: &'a L::Key,
    /// The key as one to be held, if it was made.
    shared: Option<&'a SharedKey<L>>,
    permit: PermitId,
    since: Tick,
    deadline: Tick,
    /// For the tags that were invalidated since.
    running: Running,
    /// What was resident, and where it lay.
    replaced: Option<(Place, Entry<L>)>,
    call: &'a Call,
    ended: bool,
}

impl<'a, L: Layout> Alone<'a, L> {
    /// Takes the turn of a key with nothing going on for an unconditional write, whose source is called in the same breath: it counts
    /// as sent. With what is resident, and where it lies. `None`: there is more to say or to do, and nothing was done.
    #[inline]
    fn send(
        engine: &'a Arc<Engine<L>>,
        (hash, key, shared): Keyed<'a, L>,
        noted: NotedKey<L>,
        call: &'a Call,
    ) -> Option<(Self, Option<Laid<L>>)> {
        let same_key = Nesting::of(engine.frame(hash), call.scope.as_ref()).same_key;
        if same_key || engine.listener.is_some() || engine.too_long(key).is_some() {
            return None;
        }
        let since = engine.clock.now();
        let deadline = engine.deadline_of(call, since);
        if deadline <= since {
            return None;
        }
        let (running, shard) = (engine.tags.begins(), engine.shard(hash));
        let (permit, laid) = {
            let mut state = shard.write();
            if engine.is_closed() {
                return None;
            }
            state.send_lone(engine, (hash, key), noted, deadline)?
        };
        let (replaced, ended) = (None, false);
        Some((Self { engine, shard, hash, key, shared, permit, since, deadline, running, replaced, call, ended }, laid))
    }

    fn idempotency_key(&self) -> IdempotencyKey {
        self.call.idempotency_key.unwrap_or_else(|| self.engine.idempotency_key(self.permit))
    }

    fn shared(&self) -> SharedKey<L> {
        self.shared.map_or_else(|| Arc::new(L::own(self.key)), Arc::clone)
    }

    /// Sends a value, and ends by the answer.
    #[inline]
    fn put(&mut self, source: &dyn Source<L>, value: L::Value) -> Result<Written<L>, WriteError<L>> {
        let (answer, stray);
        {
            let cx = self.told();
            answer = caught(|| source.put(self.key, L::view(&value), &cx));
            stray = cx.stray.load(Ordering::Relaxed);
        }
        match answer {
            // The plain end, without a look at what else there may be.
            Ok(Outcome::Applied(confirmed)) if !stray => {
                let record = put::confirmed(self.engine, confirmed, value);
                Ok(self.applied(record))
            }
            answer => self.conclude(put::outcome(answer).map(Done::Put), Sending::Put(value), stray),
        }
    }

    fn delete(&mut self, source: &dyn Source<L>) -> Result<Written<L>, WriteError<L>> {
        let (answer, stray);
        {
            let cx = self.told();
            answer = caught(|| source.delete(self.key, &cx));
            stray = cx.stray.load(Ordering::Relaxed);
        }
        self.conclude(put::outcome(answer).map(|()| Done::Deleted), Sending::Delete, stray)
    }

    /// What the source is told.
    #[inline]
    fn told(&self) -> WriteCx<'_, L> {
        WriteCx {
            clock: &*self.engine.clock,
            deadline: self.deadline,
            idempotency_key: self.idempotency_key(),
            condition: None,
            replaced: self.replaced.as_ref().map(|(_, entry)| entry),
            existing: Some(self),
            stray: AtomicBool::new(false),
        }
    }

    #[cold]
    fn conclude(
        &mut self,
        outcome: Outcome<Done<L::Value>>,
        sending: Sending<L>,
        stray: bool,
    ) -> Result<Written<L>, WriteError<L>> {
        let (outcome, stray) = put::judged(self.engine, outcome, stray);
        put::conclude(self.engine, self.sent(), sending, None, outcome, stray)
    }

    /// The origin applied the put, and nothing of it is under way any more.
    #[inline]
    fn applied(&mut self, record: Option<Record<L::Value>>) -> Written<L> {
        let engine = self.engine;
        // The record is made while the write is open: should that unwind, the key is in doubt.
        let mut made = match record {
            Some(mut record) if can_hold::<L>(&record) => {
                record.lifetime.fill(&self.call.lifetime);
                Some(engine.record(self.hash, self.key, record, self.since))
            }
            _ => None,
        };
        if let Some((stored, true)) = &mut made {
            let known = self.replaced.as_ref().map(|(place, entry)| (*place, entry.stored()));
            let mut left = Left::default();
            let kept = self.shard.write().lone_applied(engine, self.permit, known, stored, &mut left);
            if let Some(kept) = kept {
                // Before what goes with it, which may run code of the program's: should that unwind, the write has ended all the same.
                self.ended = true;
                engine.finish_alone(self.key, left, kept.then_some(&*stored));
                return Written { entry: made.map(|(stored, _)| Entry::with_value(stored)), kept };
            }
        }
        self.sent().applied_as(made)
    }

    /// The same as a write that others know of.
    fn sent(&mut self) -> Sent<L> {
        self.ended = true;
        self.as_sent()
    }

    fn as_sent(&mut self) -> Sent<L> {
        self.shard.write().meet(self.engine, self.hash);
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
        let replaced = self.replaced.take().map(|(_, entry)| entry);
        Sent::met(permit, self.since, replaced, self.running)
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
