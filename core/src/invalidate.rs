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
}

pub(crate) fn invalidate<L: Layout>(engine: &Engine<L>, hash: u64, key: &L::Key) {
    engine.counters.count(Event::Invalidated);
    engine.at_key(hash, key, |at| at.invalidate());
}

pub(crate) fn close<L: Layout>(engine: &Engine<L>, timeout: Duration) -> CloseReport<L::OwnedKey> {
    let end = engine.clock.now().after(timeout);
    // SeqCst: pairs with `is_closed`, and with the count of open sends, see `end_send`. What took a shard's lock before us is
    // ended below; what takes it after us sees the mark.
    engine.closed.store(true, Ordering::SeqCst);
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
        if engine.open_sends.load(Ordering::SeqCst) == 0 {
            break;
        }
        parker.park_until(&*engine.clock, end);
    }
    // What time settled that nobody came by since is in doubt no more.
    engine.sweep_doubts();
    engine.closers.lock().retain(|closer| !closer.will_wake(parker.waker()));
    let mut report = CloseReport { unfinished: Vec::new(), in_doubt: Vec::new() };
    for shard in engine.shards() {
        let cells = shard.write().drain_cells();
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
