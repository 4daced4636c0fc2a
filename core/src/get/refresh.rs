//! Refreshing a record in the background: before it expires, or while it is served stale.
//!
//! A refresh is a load as any: it is attached to its key, readers join it, and what it brings is retained only if the fence held.
//! Invariant: for one record, one refresh at most waits or runs.

use std::time::Duration;

use super::load::{LoadCall, Role};
use crate::coalesce::Flight;
use crate::drive::{SourceCall, finish};
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout, SharedKey};
use crate::metrics::Event;
use crate::options::Call;
use crate::sync::Arc;

/// After a refresh that brought nothing, the next of that record is not begun before this has passed.
const PAUSE: Duration = Duration::from_secs(1);

/// Has the record refreshed if it is time for that and nobody does it already. Neither waits nor calls the source.
pub(super) fn ask<L: Layout>(
    engine: &Arc<Engine<L>>,
    hash: u64,
    stored: &L::Stored,
    key: impl FnOnce() -> SharedKey<L>,
) {
    if stored.header().claim_refresh(&*engine.clock) {
        have_refreshed(engine, hash, stored, key());
    }
}

/// Apart from the question, which each hit asks.
#[cold]
fn have_refreshed<L: Layout>(engine: &Arc<Engine<L>>, hash: u64, stored: &L::Stored, key: SharedKey<L>) {
    // Not the cache itself: what waits must not keep it open.
    let (weak, mine) = (Arc::downgrade(engine), stored.clone());
    let work = move || {
        if let Some(engine) = weak.upgrade() {
            refresh(&engine, hash, key, &mine);
            mine.header().refresh_from(engine.clock.now().after(PAUSE));
        }
    };
    if engine.background.run(Box::new(work)).is_err() {
        engine.counters.count(Event::RefreshRefused);
        stored.header().refresh_from(engine.clock.now().after(PAUSE));
    }
}

fn refresh<L: Layout>(engine: &Arc<Engine<L>>, hash: u64, key: SharedKey<L>, stored: &L::Stored) {
    let began = engine.clock.now();
    let deadline = engine.deadline_of(&Call::new(), began);
    let flight = Arc::new(Flight::new(engine.new_fence(), began, deadline));
    let begins = engine.at_key(hash, L::key(&key), |at| {
        let is_here = at.resident().is_some_and(|other| other.same(stored));
        // Meanwhile the key may have been written, forgotten, or loaded by a reader.
        let begins =
            is_here && stored.header().is_refresh_claimed() && at.attached_flight().is_none() && !engine.is_closed();
        if begins {
            at.load_begins(Arc::clone(&flight), &key);
        }
        begins
    });
    if begins {
        engine.counters.count(Event::Refresh);
        let role = Role::Leader { flight, replaced: Entry::of(stored.clone()), moved: false };
        let call =
            LoadCall { engine: Arc::clone(engine), hash, key, deadline, scope: None, keep: true, role: Some(role) };
        let _reply = finish(call.run(), engine.source.runtime());
    }
}
