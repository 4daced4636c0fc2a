//! What a cache counts.
//!
//! Counters are striped by thread, so that threads that hit the same entry do not share a line for them. Invariant: counters only
//! grow; a sum taken while calls run may miss those that have not counted yet.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, thread_number};

const STRIPES: usize = 8;

/// The events that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Hit,
    AbsentHit,
    Load,
    LoadFailed,
    Joined,
    Stale,
    Refresh,
    RefreshRefused,
    LoadDetached,
    TakenOver,
    Applied,
    Rejected,
    Unknown,
    NotSent,
    Evicted,
    Invalidated,
    ListenerPanicked,
    Untold,
    Audited,
    AuditFailed,
    AuditUnfollowed,
    Differs1,
    Differs10,
    Differs60,
    ExtractorPanicked,
    RolledBack,
    MergePanicked,
}

const EVENTS: usize = Event::MergePanicked as usize + 1;

pub(crate) struct Counters([CachePadded<[AtomicU64; EVENTS]>; STRIPES]);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)))))
    }

    pub(crate) fn count(&self, event: Event) {
        self.add(event, 1);
    }

    pub(crate) fn add(&self, event: Event, by: u64) {
        // Relaxed: a counter that guards no other memory.
        self.0[thread_number() % STRIPES][event as usize].fetch_add(by, Ordering::Relaxed);
    }

    fn sum(&self, event: Event) -> u64 {
        self.0.iter().map(|stripe| stripe[event as usize].load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            hits: self.sum(Event::Hit),
            absent_hits: self.sum(Event::AbsentHit),
            loads: self.sum(Event::Load),
            loads_failed: self.sum(Event::LoadFailed),
            joined: self.sum(Event::Joined),
            stale: self.sum(Event::Stale),
            refreshes: self.sum(Event::Refresh),
            refreshes_refused: self.sum(Event::RefreshRefused),
            loads_detached: self.sum(Event::LoadDetached),
            loads_taken_over: self.sum(Event::TakenOver),
            writes_applied: self.sum(Event::Applied),
            writes_rejected: self.sum(Event::Rejected),
            writes_unknown: self.sum(Event::Unknown),
            writes_not_sent: self.sum(Event::NotSent),
            evicted: self.sum(Event::Evicted),
            invalidated: self.sum(Event::Invalidated),
            listener_panicked: self.sum(Event::ListenerPanicked),
            events_untold: self.sum(Event::Untold),
            audits: self.sum(Event::Audited),
            audits_failed: self.sum(Event::AuditFailed),
            audits_unfollowed: self.sum(Event::AuditUnfollowed),
            differs_1s: self.sum(Event::Differs1),
            differs_10s: self.sum(Event::Differs10),
            differs_60s: self.sum(Event::Differs60),
            extractors_panicked: self.sum(Event::ExtractorPanicked),
            rolled_back: self.sum(Event::RolledBack),
            merges_panicked: self.sum(Event::MergePanicked),
            ..Stats::default()
        }
    }
}

/// The counts of a cache since it was opened, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads answered from a resident record.
    pub hits: u64,
    /// Reads answered from a remembered absence.
    pub absent_hits: u64,
    /// Calls of the source's `get`, but for the auditor's, and keys of its `get_many`.
    pub loads: u64,
    /// Those that gave no answer.
    pub loads_failed: u64,
    /// Reads that waited for another's load.
    pub joined: u64,
    /// Reads answered with an expired record, within the windows that were declared.
    pub stale: u64,
    /// Loads that refreshed a record in the background, or tried to.
    pub refreshes: u64,
    /// Refreshes that were not begun, since as many waited already as may.
    pub refreshes_refused: u64,
    /// Loads whose result was not retained, since the key was written or invalidated meanwhile.
    pub loads_detached: u64,
    /// Loads that a waiter took over from a late leader.
    pub loads_taken_over: u64,
    /// Writes that ended Applied.
    pub writes_applied: u64,
    /// Writes that the source or the origin refused.
    pub writes_rejected: u64,
    /// Writes that ended Unknown.
    pub writes_unknown: u64,
    /// Writes that the cache did not send.
    pub writes_not_sent: u64,
    /// Entries that went for room.
    pub evicted: u64,
    /// Calls that invalidated a key, a prefix, a pattern or a tag.
    pub invalidated: u64,
    /// Panics of a weigher, an index extractor or the function that finds tags; the entry concerned was not kept.
    pub extractors_panicked: u64,
    /// Panics of the listener.
    pub listener_panicked: u64,
    /// Events that no listener was told, since they came about in calls of listeners nested deeper than 16.
    pub events_untold: u64,
    /// Calls of the source's `get` by the auditor. They are not counted as loads.
    pub audits: u64,
    /// Those that gave no answer in time, or panicked.
    pub audits_failed: u64,
    /// Differences that the auditor did not follow up, since it follows as many as it can already.
    pub audits_unfollowed: u64,
    /// Resident entries of which the auditor found that they differ from the origin for longer than 1 s.
    pub differs_1s: u64,
    /// Of these, those for longer than 10 s.
    pub differs_10s: u64,
    /// Of these, those for longer than 60 s.
    pub differs_60s: u64,
    /// Pending writes that left without having been applied.
    pub rolled_back: u64,
    /// Panics of a merge function in a read: what was shown was as if its write were not pending.
    pub merges_panicked: u64,
    /// Entries resident now, expired ones and absent marks included.
    pub entries: u64,
    /// Their weight.
    pub weight: u64,
    /// Keys in doubt now.
    pub in_doubt: u64,
    /// Writes sent and not ended now.
    pub writes_open: u64,
    /// Pending writes now.
    pub pending: u64,
}
