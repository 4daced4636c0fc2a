//! Forgetting what the cache holds of one key or many, and closing it.
//!
//! Both act on every shard or key under its lock, so that nothing cached before is given to a read that starts after they
//! returned.

use std::time::Duration;

use crate::clock::Tick;
use crate::drive::Parker;
use crate::engine::Engine;
use crate::entry::Layout;
use crate::metrics::Event;
use crate::pattern::Keys;
use crate::shard::{After, State};
use crate::sync::{Arc, Ordering};

/// What `close` left unfinished, by key. Where a cache is closed more than once, each key is reported once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport<K> {
    /// Writes that were sent and had not ended when the time for closing was over, whether their key was in doubt before or
    /// not. They run on; nobody shows their result.
    pub unfinished: Vec<K>,
    /// Keys of which nobody knows whether their last writes were, or will be, applied.
    pub in_doubt: Vec<K>,
    /// Keys of pending writes that still waited for their turns when the time for closing was over: they were rolled back. The
    /// handle of each tells [`NotSent::Closed`](crate::NotSent::Closed).
    pub rolled_back: Vec<K>,
}

pub(crate) fn invalidate<L: Layout>(engine: &Engine<L>, hash: u64, key: &L::Key) {
    engine.counters.count(Event::Invalidated);
    engine.at_key(hash, key, |at| at.invalidate());
}

/// What an invalidation of many keys came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// How many resident entries went, expired ones and absent marks included.
    pub entries: u64,
    /// It had to look at entries that it did not mean: the cost grows with what is resident, and each shard was locked for as
    /// long as it was looked through.
    pub scanned: bool,
}

pub(crate) fn invalidate_keys<L: Layout>(engine: &Engine<L>, keys: &Keys<'_, L>) -> Forgotten {
    // First this: what is retained in a shard after its turn below was held against it.
    engine.moves.many_moved();
    let entries = in_all_shards(engine, |state, now, after| state.invalidate_keys(engine, keys, now, after));
    Forgotten { entries, scanned: !(engine.key_index && keys.are_all_with_head()) }
}

pub(crate) fn invalidate_tag<L: Layout>(engine: &Engine<L>, tag: &[u8]) -> Forgotten {
    // First this: what becomes resident in a shard after its turn below was held against the tag.
    engine.tags.invalidated(tag);
    let entries = in_all_shards(engine, |state, now, after| state.invalidate_tag(engine, tag, now, after));
    Forgotten { entries, scanned: false }
}

/// Runs `forget` on each shard under its lock, one after the other, and adds up what it says.
fn in_all_shards<L: Layout>(engine: &Engine<L>, forget: impl Fn(&mut State<L>, Tick, &mut After<L>) -> usize) -> u64 {
    engine.counters.count(Event::Invalidated);
    let now = engine.clock.now();
    let mut entries = 0;
    for shard in engine.shards() {
        let mut after = After::default();
        entries += forget(&mut shard.write(), now, &mut after) as u64;
        after.finish(engine, None);
    }
    entries
}

/// How often [`drain`] looks for writes whose end wakes nobody.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until no write is out or pending. False: it was not so within `timeout`.
pub(crate) fn drain<L: Layout>(engine: &Engine<L>, timeout: Duration) -> bool {
    let end = engine.clock.now().after(timeout);
    let parker = Parker::new();
    let is_quiet = loop {
        engine.closers.lock().push(parker.waker().clone());
        // SeqCst: as in `close`.
        let counted = engine.open_sends.load(Ordering::SeqCst) > 0 || engine.pending.writes() > 0;
        // What nobody has met is counted nowhere, and wakes nobody.
        let unmet = engine.shards().iter().any(|shard| shard.read().sent() > 0);
        if !counted && !unmet {
            break true;
        }
        let now = engine.clock.now();
        if now >= end {
            break false;
        }
        parker.park_until(&*engine.clock, if counted { end } else { end.min(now.after(LOOK)) });
    };
    engine.closers.lock().retain(|closer| !closer.will_wake(parker.waker()));
    is_quiet
}

pub(crate) fn close<L: Layout>(engine: &Engine<L>, timeout: Duration) -> CloseReport<L::OwnedKey> {
    let end = engine.clock.now().after(timeout);
    // SeqCst: pairs with `is_closed`, and with the count of open sends, see `end_send`. What took a shard's lock before us is
    // ended below; what takes it after us sees the mark.
    engine.closed.store(true, Ordering::SeqCst);
    engine.background.end();
    for shard in engine.shards() {
        let mut after = After::default();
        shard.write().close_all(engine, &mut after);
        after.finish(engine, None);
    }
    engine.close_lingering();
    if let Some(auditor) = &engine.auditor {
        auditor.end();
    }
    let parker = Parker::new();
    while engine.clock.now() < end {
        engine.closers.lock().push(parker.waker().clone());
        // SeqCst: as the mark above. Read after the waker was left, so that no end is missed.
        if engine.open_sends.load(Ordering::SeqCst) == 0 && engine.pending.writes() == 0 {
            break;
        }
        parker.park_until(&*engine.clock, end);
    }
    let mut rolled_back = Vec::new();
    for shard in engine.shards() {
        let mut after = After::default();
        rolled_back.append(&mut shard.write().close_pending(engine, &mut after));
        after.finish(engine, None);
    }
    engine.settler.end();
    // What time settled that nobody came by since is in doubt no more.
    engine.sweep_doubts();
    engine.closers.lock().retain(|closer| !closer.will_wake(parker.waker()));
    // The program's clones of keys run under no lock.
    let rolled_back = rolled_back.into_iter().map(Arc::unwrap_or_clone).collect();
    let mut report = CloseReport { unfinished: Vec::new(), in_doubt: Vec::new(), rolled_back };
    for shard in engine.shards() {
        let cells = shard.write().drain_cells(engine);
        for cell in cells {
            if cell.is_sent() {
                report.unfinished.push(Arc::unwrap_or_clone(cell.key));
            } else if cell.is_in_doubt() {
                report.in_doubt.push(Arc::unwrap_or_clone(cell.key));
            }
        }
    }
    report
}
