//! Telling the program what happens to its keys.
//!
//! An event is noted under the shard's lock, with its number, in the step that makes it true. It is told once the lock is
//! released, by the thread that caused it. Invariant: the numbers of one key's events grow in the order in which they came
//! about, whoever tells them when; and no event is told before it holds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::engine::Engine;
use crate::entry::Layout;
use crate::entry::sealed::Stored;
use crate::metrics::Event;
use crate::nesting::{self, DEEPEST, Nesting};
use crate::sync::Arc;

/// What the program was given to [`Builder::listener`](crate::Builder::listener).
pub(crate) type Listener<L> = Box<dyn Fn(&KeyEvent<'_, L>) + Send + Sync>;

/// Something that happened to a key, as a listener is told: see [`Builder::listener`](crate::Builder::listener).
#[non_exhaustive]
pub struct KeyEvent<'a, L: Layout> {
    /// The key.
    pub key: &'a L::Key,
    /// Grows along the events of one key, in the order in which they came about: of two events of a key that different
    /// threads tell, the one with the larger number is the later one. It starts anew with each cache, has gaps, and says
    /// nothing across keys.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// What a load brought is resident now. Also where the origin confirmed what was resident.
    Retained {
        /// It is the absence of a record.
        absent: bool,
    },
    /// What the origin pushed is resident now, and is newer than what was: see [`CacheOf::pushed`](crate::CacheOf::pushed).
    Pushed {
        /// It is the absence of a record.
        absent: bool,
    },
    /// The origin applied a put.
    Put {
        /// Its record is resident now. Else nothing is: the next read asks the origin.
        kept: bool,
    },
    /// The origin applied a delete.
    Deleted {
        /// The absence is resident now. Else nothing is: the next read asks the origin.
        kept: bool,
    },
    /// A pending write was admitted: what reads are shown has changed, and the origin has not confirmed it. It ends with `Put`,
    /// `Deleted`, `RolledBack` or `InDoubt`.
    Pending,
    /// A pending write left without having been applied: refused, given up, or never sent. What reads are shown is as if it had never
    /// been.
    RolledBack,
    /// The origin refused a write, and that proved out of date what was held of the key: nothing is any more.
    RefusedStale,
    /// The key was invalidated, alone or with others, by [`CacheOf::invalidate`](crate::CacheOf::invalidate) or one of its kin, or by
    /// a change that was [pushed](crate::CacheOf::pushed) and not taken.
    /// Nothing is held any more. Of a tag, this is told for the resident records that have it, and later, when they end,
    /// for loads that began before and brought one.
    Invalidated,
    /// What was resident went, since a reader was given a later answer of the origin that is not retained.
    Dropped,
    /// What was resident went for room.
    Evicted,
    /// What is resident has passed its lifetime. No thread watches for that: it is noticed by the first call after it that
    /// is more than a hit (a read that misses, a write, an invalidation), once for each lifetime. Of what nobody asks for
    /// any more, only the eviction is told.
    Expired,
    /// A record is too heavy to be resident; the older one, if any, is not either. The load or write that brought it is
    /// told apart from this, where it is told.
    TooHeavy,
    /// Nobody can know whether a write of the key was applied. Nothing is held, and nothing retained, until it is settled.
    /// Told again where a further write prolongs the doubt.
    InDoubt {
        /// When it ends at the latest, if nothing prolongs it.
        until: Tick,
    },
    /// The key is in doubt no more. Noticed by the first call after a settle window has passed, not by a thread.
    Settled,
    /// The auditor finds that what is resident has differed from the origin's record for longer than this; for one
    /// resident entry, told once for 1, 10 and 60 s each. See [`Builder::audit`](crate::Builder::audit).
    Differs {
        /// 1, 10 or 60 s.
        longer_than: Duration,
    },
}

/// An event that waits to be told.
pub(crate) struct Noted<L: Layout> {
    pub(crate) hash: u64,
    pub(crate) whose: Whose<L>,
    pub(crate) sequence: u64,
    pub(crate) kind: EventKind,
}

/// How an event's key is reached once the lock is released: a clone of it is the program's code.
pub(crate) enum Whose<L: Layout> {
    /// The key of the call.
    Asked,
    Record(L::Stored),
    Slot(Arc<L::OwnedKey>),
}

/// Tells what was noted in one critical section. No lock may be held. `asked`: the key of the call, if it has one.
pub(crate) fn tell<L: Layout>(engine: &Engine<L>, events: Vec<Noted<L>>, asked: Option<&L::Key>) {
    let Some(listener) = &engine.listener else { return };
    for noted in events {
        let frame = engine.frame(noted.hash);
        if Nesting::of(frame, None).depth >= DEEPEST {
            // A listener that makes an event of every event would never come back.
            engine.counters.count(Event::Untold);
            continue;
        }
        let key = match &noted.whose {
            Whose::Asked => asked.expect("only a call with a key notes events of that"),
            Whose::Record(stored) => stored.key(),
            Whose::Slot(key) => L::key(key),
        };
        let sequence =
            if bugs::has(Bug::EventNumberedLate) { engine.shard(noted.hash).next_event() } else { noted.sequence };
        let event = KeyEvent { key, sequence, kind: noted.kind };
        // What it calls back is nested in this: it waits for nobody.
        let _inside = nesting::enter(frame, None);
        if catch_unwind(AssertUnwindSafe(|| listener(&event))).is_err() {
            engine.counters.count(Event::ListenerPanicked);
        }
    }
}
