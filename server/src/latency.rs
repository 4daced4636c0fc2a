//! How long requests took: a histogram for each table, method and class of status.
//!
//! Invariant: counting a request takes no lock, and how much is kept does not depend on what is asked; what is read while
//! requests are counted may lack the latest of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};

/// The ends of the buckets, as they are told, in seconds, and in microseconds. One more has no end.
pub(crate) const BUCKETS: [(&str, u64); 16] = [
    ("0.0001", 100),
    ("0.00025", 250),
    ("0.0005", 500),
    ("0.001", 1_000),
    ("0.0025", 2_500),
    ("0.005", 5_000),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("1", 1_000_000),
    ("2.5", 2_500_000),
    ("5", 5_000_000),
    ("10", 10_000_000),
];

const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS", "other"];

/// What a read came to, as far as the origin is concerned: answered from what was here, or after a load.
const READS: [(&str, &[&str]); 3] = [("", &[]), ("hit", &["hit", "stale"]), ("load", &["loaded", "joined"])];

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The requests of one table.
#[derive(Debug, Default)]
pub(crate) struct Latency([[[Histogram; CLASSES.len()]; READS.len()]; METHODS.len()]);

#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
}

/// What was counted of one method, kind of read and class of status.
pub(crate) struct Counted {
    pub(crate) method: &'static str,
    /// `hit` or `load`; empty where it is no such read.
    pub(crate) cache: &'static str,
    pub(crate) class: &'static str,
    /// In each bucket and all before it; the last is of all requests.
    pub(crate) up_to: [u64; BUCKETS.len() + 1],
    pub(crate) seconds: f64,
}

impl Latency {
    /// `what`: the word for what the request came to.
    pub(crate) fn count(&self, method: &Method, what: &str, status: StatusCode, took: Duration) {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let read = READS.iter().position(|(_, words)| reads && words.contains(&what)).unwrap_or(0);
        let other = METHODS.len() - 1;
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(other);
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        let histogram = &self.0[method][read][class];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // A bucket's end belongs to it.
        let bucket = BUCKETS.iter().position(|(_, end)| micros <= *end).unwrap_or(BUCKETS.len());
        // Relaxed: counters that guard no other memory.
        histogram.counts[bucket].fetch_add(1, Ordering::Relaxed);
        histogram.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted, without what never came.
    pub(crate) fn counted(&self) -> impl Iterator<Item = Counted> {
        let all = METHODS.iter().zip(&self.0).flat_map(|(method, reads)| {
            READS.iter().zip(reads).flat_map(move |((cache, _), classes)| {
                CLASSES.iter().zip(classes).map(move |(class, histogram)| histogram.counted(method, cache, class))
            })
        });
        all.filter(|counted| counted.up_to[BUCKETS.len()] > 0)
    }
}

impl Histogram {
    fn counted(&self, method: &'static str, cache: &'static str, class: &'static str) -> Counted {
        let mut sum = 0;
        let up_to = std::array::from_fn(|bucket| {
            sum += self.counts[bucket].load(Ordering::Relaxed);
            sum
        });
        Counted {
            method,
            cache,
            class,
            up_to,
            seconds: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_in_its_bucket_and_all_above() {
        let latency = Latency::default();
        let count = |method: &Method, status: u16, micros| {
            latency.count(method, "", StatusCode::from_u16(status).unwrap_or_default(), Duration::from_micros(micros));
        };
        for micros in [0, 100, 101, 10_000_000, 10_000_001] {
            count(&Method::GET, 204, micros);
        }
        count(&Method::from_bytes(b"BREW").unwrap_or_default(), 599, 1);
        let counted: Vec<_> =
            latency.counted().map(|c| (c.method, c.class, c.up_to[0], c.up_to[1], c.up_to[15], c.up_to[16])).collect();
        assert_eq!(counted, [("GET", "2xx", 2, 3, 4, 5), ("other", "5xx", 1, 1, 1, 1)]);
        let seconds = latency.counted().next().map(|counted| counted.seconds);
        assert_eq!(seconds, Some(20.000202));
    }

    #[test]
    fn a_read_is_counted_as_what_it_came_to() {
        let latency = Latency::default();
        for (method, what) in [
            (Method::GET, "hit"),
            (Method::HEAD, "stale"),
            (Method::GET, "joined"),
            (Method::GET, "query"),
            (Method::PUT, "hit"),
        ] {
            latency.count(&method, what, StatusCode::OK, Duration::ZERO);
        }
        let counted: Vec<_> = latency.counted().map(|c| (c.method, c.cache, c.up_to[0])).collect();
        assert_eq!(
            counted,
            [("GET", "", 1), ("GET", "hit", 1), ("GET", "load", 1), ("HEAD", "hit", 1), ("PUT", "", 1)]
        );
    }
}
