//! What a read is shown of a key with pending writes: the list of operations folded over the base that is here, or that was loaded.
//!
//! Base and list are taken in one step under the shard's lock; merge functions run after it. Invariant: what is kept of a fold is
//! of the list and the base as they still are.

use super::{How, Read, counted};
use crate::coalesce::Based;
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout, Lookup, SharedKey};
use crate::layers::{Over, Shown, fold};
use crate::sync::Arc;

/// The answer of a key with pending writes, if it needs no load. Takes no exclusive lock but to keep a fold.
pub(super) fn hit<L: Layout, Q: Lookup<L> + ?Sized>(engine: &Engine<L>, hash: u64, key: &Q) -> Option<Read<L>> {
    if engine.pending.writes() == 0 {
        return None;
    }
    let shown = engine.shard(hash).read().shown(hash, |other| key.is_key(other), |at| engine.has_come(at))?;
    answer(engine, hash, || Arc::new(key.to_key()), shown)
}

/// `None`: a base is needed that is not here, or the key's state is of the past.
pub(super) fn answer<L: Layout>(
    engine: &Engine<L>,
    hash: u64,
    key: impl FnOnce() -> SharedKey<L>,
    shown: Shown<L>,
) -> Option<Read<L>> {
    let (over, base) = match shown {
        Shown::Is(stored) => return Some(Read::new(counted(engine, stored), How::Pending)),
        Shown::Fold(over, base) => (over, base),
        Shown::Load | Shown::Late => return None,
    };
    let key = key();
    let Some(shows) = fold(engine, (hash, &key), &over, base.value()) else {
        return Some(Read::new(counted(engine, base), How::Hit));
    };
    let kept = shows.clone();
    engine.at_key(hash, L::key(&key), |at| at.keep_fold(&over, base, kept));
    Some(Read::new(counted(engine, shows), How::Pending))
}

/// The answer where a load brought the base.
pub(super) fn over_load<L: Layout>(
    engine: &Engine<L>,
    (hash, key): (u64, &L::OwnedKey),
    based: Based<L>,
    how: How,
) -> Read<L> {
    let Based { entry, over } = based;
    let view = entry.as_ref().map(Entry::value);
    let shows = over.as_deref().and_then(|over: &Over<L>| fold(engine, (hash, key), over, view));
    match shows {
        Some(shows) => Read::new(Entry::of(shows), How::Pending),
        None => Read::new(entry, how),
    }
}
