//! What the cache counted, as a struct and as JSON.

use std::ffi::{CString, c_char};
use std::ptr;

use serde_json::{Map, Value};
use wtcache::Stats;

use crate::arguments::{Growing, fill, optional_output, output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::error::wtcache_error;
use crate::status::WTCACHE_OK;

/// The counts of a cache since it was opened, and what it holds now. Set `struct_size` to its `sizeof`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct wtcache_stats {
    /// `sizeof(wtcache_stats)`.
    pub struct_size: usize,
    /// Reads answered from a resident record.
    pub hits: u64,
    /// Reads answered from a remembered absence.
    pub absent_hits: u64,
    /// Calls of the source's `get`.
    pub loads: u64,
    /// Those that gave no answer.
    pub loads_failed: u64,
    /// Reads that waited for another's load.
    pub joined: u64,
    /// Loads whose result was not kept, since the key was written or invalidated meanwhile.
    pub loads_detached: u64,
    /// Loads that a waiter took over from a late leader.
    pub loads_taken_over: u64,
    /// Writes that were applied.
    pub writes_applied: u64,
    /// Writes that the source or the origin refused.
    pub writes_rejected: u64,
    /// Writes that ended in doubt.
    pub writes_unknown: u64,
    /// Writes that the cache did not send.
    pub writes_not_sent: u64,
    /// Entries that went for room.
    pub evicted: u64,
    /// Calls of `wtcache_invalidate`.
    pub invalidated: u64,
    /// Entries resident now, expired ones and remembered absences included.
    pub entries: u64,
    /// Their weight in bytes, or in the unit of the weigher.
    pub weight_bytes: u64,
    /// Keys in doubt now.
    pub in_doubt: u64,
    /// Writes sent and not ended now.
    pub writes_open: u64,
    /// Reads answered with an expired record, within the windows that were declared.
    pub stale: u64,
    /// Loads that refreshed a record in the background, or tried to.
    pub refreshes: u64,
    /// Refreshes that were not begun, since as many waited already as may.
    pub refreshes_refused: u64,
    /// Events that no listener was told, since they came about in calls of listeners nested too deeply.
    pub events_untold: u64,
    /// Calls of the source's `get` by the auditor; they are not counted as loads.
    pub audits: u64,
    /// Those that gave no answer in time.
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
    /// Merge callbacks that said nothing in a read: what was shown was as if their write were not pending.
    pub merges_failed: u64,
    /// Writes pending now.
    pub pending: u64,
    /// Entries that were not kept, and pending writes that were refused, since a weigher or extractor could not say what it was asked.
    pub extracts_failed: u64,
    /// Doubts of keys that are over.
    pub doubts_settled: u64,
    /// How long these lasted, added up, in milliseconds.
    pub doubt_millis: u64,
}

// SAFETY: `repr(C)`, begins with its size, and integers may be zero.
unsafe impl Growing for wtcache_stats {
    const NAME: &'static str = "stats";
    const LEAST: usize = size_of::<usize>();
}

/// Writes the counts into `stats`, as far as its `struct_size` says. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_stats(
    cache: *const wtcache_cache,
    stats: *mut wtcache_stats,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            fill(stats, &wtcache_stats::default())?;
            fill(stats, &wtcache_stats::of(&wtcache_cache::of(cache)?.stats()))?;
            Ok(WTCACHE_OK)
        })
    }
}

/// The same as a JSON object, its members named as those of `wtcache_stats`. `*json` ends with a NUL and is to be freed with
/// `wtcache_string_free`; `*json_len`, which may be NULL, is its length without the NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_stats_json(
    cache: *const wtcache_cache,
    json: *mut *mut c_char,
    json_len: *mut usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let json_len = optional_output(json_len, 0);
            let json = output("json", json, ptr::null_mut())?;
            let stats = wtcache_stats::of(&wtcache_cache::of(cache)?.stats());
            let members: Map<String, Value> =
                stats.members().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
            give_json(members, json, json_len);
            Ok(WTCACHE_OK)
        })
    }
}

/// Hands out an object, as a string that the program frees.
pub(crate) fn give_json(members: Map<String, Value>, json: &mut *mut c_char, json_len: Option<&mut usize>) {
    let text = CString::new(Value::Object(members).to_string()).expect("JSON has no NUL");
    if let Some(json_len) = json_len {
        *json_len = text.count_bytes();
    }
    *json = text.into_raw();
}

/// Frees a string of this library. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_string_free(string: *mut c_char) {
    if !string.is_null() {
        // SAFETY: it came from `CString::into_raw`, and the caller gives it back once, unchanged.
        border::quietly((), || drop(unsafe { CString::from_raw(string) }));
    }
}

impl wtcache_stats {
    fn of(stats: &Stats) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            hits: stats.hits,
            absent_hits: stats.absent_hits,
            loads: stats.loads,
            loads_failed: stats.loads_failed,
            joined: stats.joined,
            loads_detached: stats.loads_detached,
            loads_taken_over: stats.loads_taken_over,
            writes_applied: stats.writes_applied,
            writes_rejected: stats.writes_rejected,
            writes_unknown: stats.writes_unknown,
            writes_not_sent: stats.writes_not_sent,
            evicted: stats.evicted,
            invalidated: stats.invalidated,
            entries: stats.entries,
            weight_bytes: stats.weight,
            in_doubt: stats.in_doubt,
            writes_open: stats.writes_open,
            stale: stats.stale,
            refreshes: stats.refreshes,
            refreshes_refused: stats.refreshes_refused,
            events_untold: stats.events_untold,
            audits: stats.audits,
            audits_failed: stats.audits_failed,
            audits_unfollowed: stats.audits_unfollowed,
            differs_1s: stats.differs_1s,
            differs_10s: stats.differs_10s,
            differs_60s: stats.differs_60s,
            rolled_back: stats.rolled_back,
            merges_failed: stats.merges_panicked,
            pending: stats.pending,
            extracts_failed: stats.extractors_panicked,
            doubts_settled: stats.doubts_settled,
            doubt_millis: stats.doubt_millis,
        }
    }

    fn members(&self) -> [(&'static str, u64); 33] {
        [
            ("hits", self.hits),
            ("absent_hits", self.absent_hits),
            ("loads", self.loads),
            ("loads_failed", self.loads_failed),
            ("joined", self.joined),
            ("loads_detached", self.loads_detached),
            ("loads_taken_over", self.loads_taken_over),
            ("writes_applied", self.writes_applied),
            ("writes_rejected", self.writes_rejected),
            ("writes_unknown", self.writes_unknown),
            ("writes_not_sent", self.writes_not_sent),
            ("evicted", self.evicted),
            ("invalidated", self.invalidated),
            ("entries", self.entries),
            ("weight_bytes", self.weight_bytes),
            ("in_doubt", self.in_doubt),
            ("writes_open", self.writes_open),
            ("stale", self.stale),
            ("refreshes", self.refreshes),
            ("refreshes_refused", self.refreshes_refused),
            ("events_untold", self.events_untold),
            ("audits", self.audits),
            ("audits_failed", self.audits_failed),
            ("audits_unfollowed", self.audits_unfollowed),
            ("differs_1s", self.differs_1s),
            ("differs_10s", self.differs_10s),
            ("differs_60s", self.differs_60s),
            ("rolled_back", self.rolled_back),
            ("merges_failed", self.merges_failed),
            ("pending", self.pending),
            ("extracts_failed", self.extracts_failed),
            ("doubts_settled", self.doubts_settled),
            ("doubt_millis", self.doubt_millis),
        ]
    }
}
