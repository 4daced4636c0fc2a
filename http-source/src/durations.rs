//! How long attempts took: a histogram.
//!
//! Invariant: counting takes no lock; what is read while attempts are counted may lack the latest of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The ends of the buckets. One more has no end.
const ENDS: [Duration; 14] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

#[derive(Debug, Default)]
pub(crate) struct Durations {
    counts: [AtomicU64; ENDS.len() + 1],
    nanos: AtomicU64,
}

/// How long attempts took, from before their first byte, or connection, to the end of the answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptDurations {
    /// For each bucket its end, which belongs to it, and how many attempts took so long or less.
    pub up_to: Vec<(Duration, u64)>,
    /// All attempts that have ended.
    pub all: u64,
    /// How long they took together.
    pub total: Duration,
}

impl AttemptDurations {
    /// Both together. The buckets are the same for all sources.
    pub(crate) fn and(self, other: Self) -> Self {
        let both = self.up_to.into_iter().zip(other.up_to);
        let up_to = both.map(|((end, one), (_, another))| (end, one + another)).collect();
        Self { up_to, all: self.all + other.all, total: self.total + other.total }
    }
}

impl Durations {
    pub(crate) fn count(&self, took: Duration) {
        let bucket = ENDS.iter().position(|end| took <= *end).unwrap_or(ENDS.len());
        // Relaxed: counters that guard no other memory.
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn seen(&self) -> AttemptDurations {
        let mut all = 0;
        let mut more = |counter: &AtomicU64| {
            all += counter.load(Ordering::Relaxed);
            all
        };
        let up_to = ENDS.iter().zip(&self.counts).map(|(end, counter)| (*end, more(counter))).collect();
        more(&self.counts[ENDS.len()]);
        AttemptDurations { up_to, all, total: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_its_bucket_and_all_above() {
        let durations = Durations::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001] {
            durations.count(Duration::from_micros(micros));
        }
        let seen = durations.seen();
        let counts: Vec<u64> = seen.up_to.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts[0], counts[1], counts[12], counts[13], seen.all), (2, 3, 3, 4, 5));
        assert_eq!(seen.total, Duration::from_micros(20_001_002));
    }
}
