//! Forgetting what the cache holds of a key, and closing it.
//!
//! Both act on every shard or key under its lock, so that nothing cached before is given to a read that starts after they
//! returned.

use std::time::Duration;

use crate::drive::Parker;
use crate::engine::Engine;
use crate::entry::Layout;
use crate::metrics::Event;
use crate::shard::After;
use crate::sync::{Ordering, fence};

/// What `close` left unfinished, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport<K> {
    /// Writes that were sent and had not ended when the time for closing was over. They run on; nobody shows their result.
    pub unfinished: Vec<K>,
    /// Keys of which nobody knows whether their last writes were, or will be, applied.
    pub in_doubt: Vec<K>,
}

pub(crate) fn invalidate<L: Layout>(engine: &Engine<L>, hash: u64, key: &L::Key) {
    engine.counters.count(Event::Invalidated);
    engine.at_key(hash, key, |at| at.invalidate());
}

pub(crate) fn close<L: Layout>(engine: &Engine<L>, timeout: Duration) -> CloseReport<L::OwnedKey> {
    let end = engine.clock.now().after(timeout);
    // Release: pairs with the acquire in `is_closed`. What took a shard's lock before us is ended below; what takes it after
    // us sees the mark.
    engine.closed.store(true, Ordering::Release);
    for shard in engine.shards() {
        let mut after = After::default();
        shard.write().close_all(engine, &mut after);
        after.finish(&engine.counters);
    }
    let parker = Parker::new();
    while engine.clock.now() < end {
        engine.closers.lock().push(parker.waker().clone());
        // Pairs with the fence in `end_send`: mark and waker are there before the sends are counted, so no end is missed.
        fence(Ordering::SeqCst);
        // Acquire: pairs with the release of the last send's end.
        if engine.open_sends.load(Ordering::Acquire) == 0 {
            break;
        }
        parker.park_until(&*engine.clock, end);
    }
    // What time settled that nobody came by since is in doubt no more.
    engine.sweep_doubts();
    let mut report = CloseReport { unfinished: Vec::new(), in_doubt: Vec::new() };
    for shard in engine.shards() {
        let cells = shard.write().drain_cells();
        for cell in cells {
            if cell.is_sent() {
                report.unfinished.push(cell.key);
            } else if cell.is_in_doubt() {
                report.in_doubt.push(cell.key);
            }
        }
    }
    report
}
