//! How times are taken: caches in turn, several rounds, medians.
//!
//! Each round gives every cache the same work, one after the other (A B C A B C …), so that a slower minute of the machine meets all. A ratio
//! is the median of the rounds' ratios, each of two neighbours in time; not the ratio of two medians.
//!
//! All caches are open at once, so whoever's turn it is finds the processor's caches full of what the others touched. It brings its own
//! back before the clock runs: what is measured is a program that has one cache and keeps using it.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use wtcache_benches::Key;
use wtcache_benches::figures::{middle, sorted, spread};

use crate::cache::{Kind, Origin, Rival};
use crate::workload::{What, Workload};

/// Which time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Wall,
    /// The time for which the thread was on a processor.
    Processor,
}

impl Clock {
    /// Nanoseconds that `work` took this thread.
    fn time(self, work: impl FnOnce()) -> f64 {
        let on_processor = || {
            let now = clock_gettime(ClockId::ThreadCPUTime);
            now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
        };
        let (begun, before) = (Instant::now(), on_processor());
        work();
        match self {
            Self::Wall => begun.elapsed().as_secs_f64() * 1e9,
            Self::Processor => on_processor() - before,
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds that count; one more before them warms up.
    pub(crate) rounds: usize,
    /// Operations of each thread before a round's clock runs.
    pub(crate) before: usize,
    /// Operations of each thread in a round.
    pub(crate) operations: usize,
    /// Keys that are drawn; who comes to the last goes on with the first.
    pub(crate) drawn: usize,
    pub(crate) clock: Clock,
}

impl Effort {
    /// Operations of each thread, for each round.
    fn played(self) -> usize {
        self.before + self.operations
    }
}

/// What was measured of one cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    /// Nanoseconds an operation takes a thread: the median of the rounds.
    pub(crate) ns: f64,
    /// Time over that of the first cache: the median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// How far the middle half of the rounds' ratios spreads, as a share of the median.
    pub(crate) spread: f64,
    /// Which share of the reads needed no load, over all rounds.
    pub(crate) hits: f64,
}

/// Measures the caches of `kinds` in turn. `None` stands for one that cannot do this work.
pub(crate) fn measure(workload: Workload, kinds: &[Kind], effort: Effort) -> Vec<Option<Measured>> {
    let drawn = workload.drawn(effort.drawn);
    let opened: Vec<Option<_>> = kinds.iter().map(|kind| workload.open(*kind, &drawn)).collect();
    let mut times = vec![Vec::new(); kinds.len()];
    let loads = |origin: &Origin| origin.loads();
    let mut begun = vec![0; kinds.len()];
    for round in 0..=effort.rounds {
        for (n, cache) in opened.iter().enumerate() {
            let Some((cache, origin)) = cache else { continue };
            let time = self::round(workload, &**cache, &drawn, round, effort);
            if round == 0 {
                begun[n] = loads(origin);
            } else {
                times[n].push(time);
            }
        }
    }
    let operations = (effort.rounds * effort.played() * workload.threads) as f64;
    let first = times[0].clone();
    let measured = times.into_iter().zip(&opened).zip(begun).map(|((times, opened), begun)| {
        let (_, origin) = opened.as_ref()?;
        let ratios = sorted(times.iter().zip(&first).map(|(time, first)| time / first));
        Some(Measured {
            ns: middle(&sorted(times)),
            ratio: middle(&ratios),
            spread: spread(&ratios),
            hits: 1.0 - (loads(origin) - begun) as f64 / operations,
        })
    });
    measured.collect()
}

/// Nanoseconds that an operation takes which does nothing: what of each figure is the loop, its keys and the call.
pub(crate) fn empty(effort: Effort) -> f64 {
    let workload = Workload { what: What::Hits, keys: 100_000, threads: 1 };
    let drawn = workload.drawn(effort.drawn);
    middle(&sorted((0..effort.rounds).map(|round| self::round(workload, &Nothing, &drawn, round, effort))))
}

struct Nothing;

impl Rival for Nothing {
    fn get(&self, key: &[u8]) -> u8 {
        black_box(key)[0]
    }

    fn put(&self, _: &[u8], _: &[u8]) {}

    fn entries(&self) -> u64 {
        0
    }
}

/// One round on one cache: nanoseconds an operation took a thread, on average over its threads.
fn round(workload: Workload, cache: &dyn Rival, drawn: &[Key], round: usize, effort: Effort) -> f64 {
    let together = Barrier::new(workload.threads);
    let one = |thread: usize| {
        // Each thread and round begins elsewhere, and goes round.
        let from = (round * workload.threads + thread) * effort.played() % drawn.len();
        let mut keys = drawn[from..].iter().chain(drawn.iter().cycle()).take(effort.played()).copied();
        black_box(workload.play(cache, keys.by_ref().take(effort.before)));
        together.wait();
        effort.clock.time(|| {
            black_box(workload.play(cache, keys));
        })
    };
    let time: f64 = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..workload.threads).map(|thread| scope.spawn(move || one(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the work does not panic")).sum()
    });
    time / (workload.threads * effort.operations) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cache_is_measured_against_the_first() {
        let effort = Effort { rounds: 5, before: 1_000, operations: 2_000, drawn: 50_000, clock: Clock::Processor };
        let workload = Workload { what: What::Tenth, keys: 2_000, threads: 2 };
        let measured = measure(workload, &Kind::TIMED, effort);
        for (kind, measured) in Kind::TIMED.iter().zip(&measured) {
            let measured = measured.unwrap();
            assert!(measured.ns > 1.0 && measured.ratio > 0.0, "{kind:?} {measured:?}");
            assert!((0.5..0.9).contains(&measured.hits), "{kind:?} {measured:?}");
        }
        assert_eq!(measured[0].unwrap().ratio, 1.0);
        let bytes = measure(Workload { what: What::Bytes, ..workload }, &Kind::TIMED, effort);
        assert!(bytes[0].is_some() && bytes[5].is_none(), "the map knows no bytes");
    }
}
