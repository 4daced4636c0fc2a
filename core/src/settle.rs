//! Doubts by hand: sending a write again, saying what became of it, and listing the keys that are in doubt.
//!
//! What settles a doubt is the slot's to know; here is the way to it. Invariant: a write is sent again in a turn of its key like any
//! other, and only by whoever holds its handle, for the value lives there.

use crate::clock::Tick;
use crate::commit::Written;
use crate::doubt::{InDoubt, Settlement};
use crate::drive::block_on;
use crate::engine::Engine;
use crate::entry::Layout;
use crate::error::{NotSent, ReplayError, WriteError};
use crate::options::Call;
use crate::put::{NoUpdate, Put, Write};
use crate::sync::Arc;

/// A key in doubt, as it stood when it was [listed](crate::CacheOf::doubts).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInDoubt<K> {
    /// The key.
    pub key: K,
    /// Since when, by the cache's clock.
    pub since: Tick,
    /// Until when at the latest, unless another write of it ends unknown.
    pub until: Tick,
    /// How many sends may still land.
    pub unsettled: usize,
}

impl<L: Layout> InDoubt<L> {
    /// Sends the very same write again, with its idempotency key and its condition, in a turn of its key and within the deadline of
    /// `call` (whose own idempotency key does not count). It waits for the writers before it, but never for the doubt.
    ///
    /// Where the source declares [`honours_idempotency`](crate::Declared::honours_idempotency), the answer is the answer to all sends
    /// of the write: they are settled by Applied, and by a refusal [of all sends](crate::Rejection::all_sends). The doubt of the key
    /// ends unless another write of it is unsettled. What the origin confirms is shown if nothing else was applied to the key, and
    /// it was not invalidated, since the first send; else the next read asks the origin, for the answer may be as old as that.
    ///
    /// Elsewhere it is one more send, that may be applied on top of the first: whatever is answered, the first may still land, and
    /// the doubt goes on. It overwrites what was written since.
    ///
    /// # Errors
    /// - [`ReplayError::Rejected`]: the write was not applied, and will not be.
    /// - [`ReplayError::NotSent`]: nothing was sent, and as little is known as before. [`NotSent::Closed`]: the cache was closed, or its
    ///   last handle is gone; [`NotSent::NotOurs`]: the program sent the write itself, with a permit.
    /// - [`ReplayError::InDoubt`]: it was sent, and the write is in doubt as before. Where the replay may have been applied, the
    ///   settle window starts anew.
    ///
    /// # Threads
    /// Blocks the thread while it waits for its turn, and for the origin.
    ///
    /// # Example
    /// ```
    /// # use std::sync::atomic::{AtomicBool, Ordering};
    /// # use wtcache::{Cache, Call, Confirmed, Declared, Failure, LoadCx, Loaded, Outcome, Record, Settlement, Source, SourceError, Typed, WriteCx, WriteError};
    /// # struct Flaky(AtomicBool);
    /// # impl Source<Typed<String, u32>> for Flaky {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Absent)
    /// #     }
    /// #     fn put(&self, _: &String, value: &u32, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<Confirmed<u32>> {
    /// #         if self.0.swap(true, Ordering::Relaxed) {
    /// #             return Outcome::Applied(Confirmed::Record(Record::new(*value)));
    /// #         }
    /// #         Outcome::Unknown(SourceError::new(Failure::Broken, "no answer"))
    /// #     }
    /// #     fn declared(&self) -> Declared {
    /// #         let mut declared = Declared::default();
    /// #         declared.honours_idempotency = true;
    /// #         declared
    /// #     }
    /// # }
    /// # let cache = Cache::builder(Flaky(AtomicBool::new(false))).build()?;
    /// // The origin honours idempotency keys, and its first answer is lost.
    /// let Err(WriteError::InDoubt(doubt)) = cache.put("bolts", 5) else { unreachable!("no answer came") };
    /// assert_eq!(doubt.outcome(), None);
    /// doubt.replay(&Call::new())?;
    /// assert_eq!(doubt.outcome(), Some(Settlement::Applied));
    /// assert_eq!(cache.stats().in_doubt, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay(&self, call: &Call) -> Result<Written<L>, ReplayError<L>> {
        let engine = self.engine()?;
        block_on(self.replay_story(&engine, call), &*engine.clock, engine.source.runtime()).map_err(ReplayError::of)
    }

    /// The cache of the write: closed, if it is gone.
    pub(crate) fn engine(&self) -> Result<Arc<Engine<L>>, ReplayError<L>> {
        self.write().engine().ok_or(ReplayError::NotSent(NotSent::Closed))
    }

    pub(crate) fn replay_story(&self, engine: &Arc<Engine<L>>, call: &Call) -> Put<L, NoUpdate<L>> {
        let write = self.write();
        let call = Call { idempotency_key: Some(write.idempotency_key), ..call.clone() };
        Put::new(engine, write.hash, Arc::clone(&write.key), Write::Replay(Arc::clone(write)), &call)
    }

    /// Says what became of this write, on the word of a program that knows (it asked the origin's operator, its log, another table).
    /// A word that is not true makes the cache serve what is not so.
    ///
    /// The doubt of the key ends, unless another write of it is unsettled; the next read asks the origin, and a write in flight
    /// leaves the record to be asked for. True: the key is no longer in doubt, or its cache is gone. In all cases
    /// [`InDoubt::outcome`] tells that word from now on. It does not keep the program from sending the write again; then
    /// the word is out of date.
    ///
    /// # Threads
    /// Calls no source and waits for nothing.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, Confirmed, Failure, LoadCx, Loaded, Outcome, Settlement, Source, SourceError, Typed, WriteCx, WriteError};
    /// # struct Mute;
    /// # impl Source<Typed<String, u32>> for Mute {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Absent)
    /// #     }
    /// #     fn put(&self, _: &String, _: &u32, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<Confirmed<u32>> {
    /// #         Outcome::Unknown(SourceError::new(Failure::Broken, "no answer"))
    /// #     }
    /// # }
    /// # let cache = Cache::builder(Mute).build()?;
    /// let Err(WriteError::InDoubt(doubt)) = cache.put("bolts", 5) else { unreachable!("no answer came") };
    /// // The origin's log has no such request, and its operator has cut the connection:
    /// assert!(doubt.settle(Settlement::NotApplied));
    /// assert_eq!(doubt.outcome(), Some(Settlement::NotApplied));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settle(&self, settlement: Settlement) -> bool {
        let write = self.write();
        write.became(settlement);
        let Some(engine) = write.engine() else { return true };
        engine.at_key(write.hash, L::key(&write.key), |at| at.settle_write(write.permit))
    }
}

impl<L: Layout> ReplayError<L> {
    pub(crate) fn of(error: WriteError<L>) -> Self {
        match error {
            WriteError::Rejected(rejection) => Self::Rejected(rejection),
            WriteError::NotSent(why) => Self::NotSent(why),
            WriteError::InDoubt(doubt) => Self::InDoubt(doubt),
            WriteError::Unmet(_) => unreachable!("a replay expects nothing of the record here"),
        }
    }
}

/// The keys in doubt now, `most` of them at most, in no order.
pub(crate) fn doubts<L: Layout>(engine: &Engine<L>, most: usize) -> Vec<KeyInDoubt<L::OwnedKey>> {
    // What time has settled, or made overdue, that nobody came by since.
    engine.sweep_doubts();
    let mut found = Vec::new();
    for shard in engine.shards() {
        let state = shard.read();
        let of_cell = |cell: &crate::shard::Cell<L>| {
            let (ticket, unsettled) = cell.in_doubt()?;
            Some((Arc::clone(&cell.key), ticket.since, ticket.until(), unsettled))
        };
        found.extend(state.cells().filter_map(of_cell).take(most - found.len()));
        if found.len() == most {
            break;
        }
    }
    // The program's clone of a key runs under no lock.
    let listed =
        |(key, since, until, unsettled)| KeyInDoubt { key: Arc::unwrap_or_clone(key), since, until, unsettled };
    found.into_iter().map(listed).collect()
}
