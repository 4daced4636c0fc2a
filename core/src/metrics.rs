//! What a cache counts.
//!
//! Counters are striped by thread, so that threads that hit the same entry do not share a line for them; the first threads have stripes
//! of their own, where counting locks nothing. Invariant: counters only grow; a sum taken while calls run may miss those that have not
//! counted yet.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, OWN_NUMBERS, Ordering, thread_number};

/// Stripes in which one thread counts at a time, that of the same number.
const OWN: usize = 16;
const _: () = assert!(OWN <= OWN_NUMBERS);

/// Stripes for all other threads.
const SHARED: usize = 8;

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
    DoubtSettled,
    DoubtMillis,
}

const EVENTS: usize = Event::DoubtMillis as usize + 1;

type Stripe = CachePadded<[AtomicU64; EVENTS]>;

pub(crate) struct Counters {
    own: [Stripe; OWN],
    shared: [Stripe; SHARED],
}

impl Counters {
    pub(crate) fn new() -> Self {
        let stripe = |_| CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { own: std::array::from_fn(stripe), shared: std::array::from_fn(stripe) }
    }

    pub(crate) fn count(&self, event: Event) {
        self.add(event, 1);
    }

    pub(crate) fn add(&self, event: Event, by: u64) {
        let number = thread_number();
        // Relaxed: counters that guard no other memory.
        match self.own.get(number) {
            Some(own) => {
                // Nobody else writes here: in two steps, which cost a hit less than one that locks.
                let counter = &own[event as usize];
                counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
            }
            None => _ = self.shared[number % SHARED][event as usize].fetch_add(by, Ordering::Relaxed),
        }
    }

    fn sum(&self, event: Event) -> u64 {
        self.own.iter().chain(&self.shared).map(|stripe| stripe[event as usize].load(Ordering::Relaxed)).sum()
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
            doubts_settled: self.sum(Event::DoubtSettled),
            doubt_millis: self.sum(Event::DoubtMillis),
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
    /// Doubts of keys that are over.
    pub doubts_settled: u64,
    /// How long these lasted, added up, in milliseconds.
    pub doubt_millis: u64,
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

/// One of [`Stats`], for a program that tells them all on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// The name of its field.
    pub name: &'static str,
    /// What it is now.
    pub value: u64,
    /// It is a count since the cache was opened; else it is of now.
    pub only_grows: bool,
    /// What it counts, in a sentence.
    pub help: &'static str,
}

/// How many there are.
const STATS: usize = 34;

impl Stats {
    /// All of them, by name, in the order of the fields. A later version may have more.
    #[must_use]
    pub fn named(&self) -> impl ExactSizeIterator<Item = Stat> + use<> {
        let counted = |name, value, help| Stat { name, value, only_grows: true, help };
        let now = |name, value, help| Stat { name, value, only_grows: false, help };
        // Each field by its name: none is left out.
        let Self {
            hits,
            absent_hits,
            loads,
            loads_failed,
            joined,
            stale,
            refreshes,
            refreshes_refused,
            loads_detached,
            loads_taken_over,
            writes_applied,
            writes_rejected,
            writes_unknown,
            writes_not_sent,
            evicted,
            invalidated,
            extractors_panicked,
            listener_panicked,
            events_untold,
            audits,
            audits_failed,
            audits_unfollowed,
            differs_1s,
            differs_10s,
            differs_60s,
            rolled_back,
            merges_panicked,
            doubts_settled,
            doubt_millis,
            entries,
            weight,
            in_doubt,
            writes_open,
            pending,
        } = *self;
        let all: [Stat; STATS] = [
            counted("hits", hits, "Reads answered from a resident record."),
            counted("absent_hits", absent_hits, "Reads answered from a remembered absence."),
            counted("loads", loads, "Calls of the source's `get`, but for the auditor's, and keys of its `get_many`."),
            counted("loads_failed", loads_failed, "Loads that gave no answer."),
            counted("joined", joined, "Reads that waited for another's load."),
            counted("stale", stale, "Reads answered with an expired record, within the windows that were declared."),
            counted("refreshes", refreshes, "Loads that refreshed a record in the background, or tried to."),
            counted(
                "refreshes_refused",
                refreshes_refused,
                "Refreshes that were not begun, since as many waited already as may.",
            ),
            counted(
                "loads_detached",
                loads_detached,
                "Loads whose result was not retained, since the key was written or invalidated meanwhile.",
            ),
            counted("loads_taken_over", loads_taken_over, "Loads that a waiter took over from a late leader."),
            counted("writes_applied", writes_applied, "Writes that ended Applied."),
            counted("writes_rejected", writes_rejected, "Writes that the source or the origin refused."),
            counted("writes_unknown", writes_unknown, "Writes that ended Unknown."),
            counted("writes_not_sent", writes_not_sent, "Writes that the cache did not send."),
            counted("evicted", evicted, "Entries that went for room."),
            counted("invalidated", invalidated, "Calls that invalidated a key, a prefix, a pattern or a tag."),
            counted(
                "extractors_panicked",
                extractors_panicked,
                "Panics of a weigher, an index extractor or the function that finds tags; the entry concerned was not kept.",
            ),
            counted("listener_panicked", listener_panicked, "Panics of the listener."),
            counted(
                "events_untold",
                events_untold,
                "Events that no listener was told, since they came about in calls of listeners nested deeper than 16.",
            ),
            counted("audits", audits, "Calls of the source's `get` by the auditor. They are not counted as loads."),
            counted("audits_failed", audits_failed, "Calls of the auditor that gave no answer in time, or panicked."),
            counted(
                "audits_unfollowed",
                audits_unfollowed,
                "Differences that the auditor did not follow up, since it follows as many as it can already.",
            ),
            counted(
                "differs_1s",
                differs_1s,
                "Resident entries of which the auditor found that they differ from the origin for longer than 1 s.",
            ),
            counted(
                "differs_10s",
                differs_10s,
                "Resident entries of which the auditor found that they differ from the origin for longer than 10 s.",
            ),
            counted(
                "differs_60s",
                differs_60s,
                "Resident entries of which the auditor found that they differ from the origin for longer than 60 s.",
            ),
            counted("rolled_back", rolled_back, "Pending writes that left without having been applied."),
            counted(
                "merges_panicked",
                merges_panicked,
                "Panics of a merge function in a read: what was shown was as if its write were not pending.",
            ),
            counted("doubts_settled", doubts_settled, "Doubts of keys that are over."),
            counted("doubt_millis", doubt_millis, "How long these lasted, added up, in milliseconds."),
            now("entries", entries, "Entries resident now, expired ones and absent marks included."),
            now("weight", weight, "The weight of the entries that are resident now."),
            now("in_doubt", in_doubt, "Keys in doubt now."),
            now("writes_open", writes_open, "Writes sent and not ended now."),
            now("pending", pending, "Pending writes now."),
        ];
        all.into_iter()
    }
}

#[cfg(all(test, not(wtcache_shuttle)))]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn nothing_is_lost_where_more_threads_count_than_have_stripes_of_their_own() {
        const EACH: u64 = 50_000;
        let threads = 3 * OWN;
        let (counters, together) = (Counters::new(), Barrier::new(threads));
        // Twice, so that numbers are given again.
        for round in 1..=2 {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        // Each has its number before the first gives one back.
                        counters.add(Event::DoubtMillis, 7);
                        together.wait();
                        (0..EACH).for_each(|_| counters.count(Event::Hit));
                    });
                }
            });
            let (threads, stats) = (threads as u64, counters.stats());
            assert_eq!((stats.hits, stats.doubt_millis), (round * threads * EACH, round * threads * 7));
            assert_eq!(stats.loads, 0);
        }
    }
}
