//! Reads at a steady rate while the origin is out for a while: what is served, and what the origin sees.
//!
//! The load is open: read number n begins when its time comes, whatever became of those before. Invariant: what is judged is
//! every read, and every request that reached the origin.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wtcache::{ByteCache, Call, How};
use wtcache_benches::figures::{machine, sorted};
use wtcache_benches::svg::Lines;
use wtcache_benches::{Key, zipf};
use wtcache_http_source::{Breaker, HttpSource};

use crate::origin::Origin;
use crate::{Asked, write_docs};

const RATE: u64 = 1_000;
const KEYS: usize = 2_000;
/// Enough that a slow read holds up none that comes later.
const THREADS: usize = 64;
const LIFETIME: Duration = Duration::from_secs(5);
const OPEN_FOR: Duration = Duration::from_secs(1);

/// What was seen in a second.
#[derive(Default)]
struct Second {
    fresh: AtomicU64,
    loaded: AtomicU64,
    stale: AtomicU64,
    failed: AtomicU64,
    origin: AtomicU64,
}

struct Plan {
    whole: u64,
    out_from: u64,
    out_to: u64,
}

pub(crate) fn run(asked: &Asked) -> Result<(), Box<dyn std::error::Error>> {
    let plan = if asked.quick {
        Plan { whole: 12, out_from: 4, out_to: 8 }
    } else {
        Plan { whole: 80, out_from: 25, out_to: 55 }
    };
    let before = machine();
    let origin = Origin::start()?;
    let breaker = Breaker::new().window(Duration::from_secs(2)).open_for(OPEN_FOR);
    let source = HttpSource::builder(format!("http://{}/items/{{id}}", origin.address)).breaker(breaker).build()?;
    let source = std::sync::Arc::new(source);
    let cache = ByteCache::builder(std::sync::Arc::clone(&source))
        .clean_start(true)
        .lifetime(LIFETIME)
        .stale_if_error(Duration::from_secs(plan.whole + 10))
        .build()?;
    let keys = zipf(KEYS, 0.99, (RATE * plan.whole) as usize, 1);
    let seconds: Vec<Second> = (0..plan.whole + 6).map(|_| Second::default()).collect();
    let seen = Seen { kept: Mutex::default(), lost: AtomicU64::new(0), took: Mutex::default() };
    let next = AtomicUsize::new(0);
    let (at_begin, at_open) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut at_end = 0;
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(key) = keys.get(number) else { break };
                    let due = Duration::from_micros(number as u64 * 1_000_000 / RATE);
                    thread::sleep(due.saturating_sub(begun.elapsed()));
                    seen.read(&cache, key, &seconds[due.as_secs() as usize]);
                    seen.took(begun.elapsed().saturating_sub(due));
                }
            });
        }
        scope.spawn(|| {
            // What the origin saw, second by second; and in the outage, up to the first opening of the breaker.
            let mut before = 0;
            for (number, second) in seconds.iter().enumerate() {
                while begun.elapsed() < Duration::from_secs(number as u64 + 1) {
                    thread::sleep(Duration::from_millis(5));
                    let opened = source.stats().breaker.is_some_and(|breaker| breaker.openings > 0);
                    if opened && at_open.load(Ordering::Relaxed) == 0 {
                        at_open.store(origin.requests().max(1), Ordering::Relaxed);
                    }
                }
                let now = origin.requests();
                second.origin.store(now - before, Ordering::Relaxed);
                before = now;
            }
        });
        let at = |second| thread::sleep(Duration::from_secs(second).saturating_sub(begun.elapsed()));
        at(plan.out_from);
        at_begin.store(origin.requests(), Ordering::Relaxed);
        origin.is_out(true);
        at(plan.out_to);
        at_end = origin.requests();
        origin.is_out(false);
    });
    let (at_begin, at_open) = (at_begin.into_inner(), at_open.into_inner());
    let before_opening = at_open.saturating_sub(at_begin);
    let after_opening = at_end.saturating_sub(at_open.max(at_begin));
    let probes = (plan.out_to - plan.out_from) / OPEN_FOR.as_secs() + 1;
    let lost = seen.lost.into_inner();
    let took = sorted(seen.took.into_inner().map_err(|_| "a reader panicked")?);
    let share = |of: f64| took[((took.len() - 1) as f64 * of) as usize] * 1e3;
    let sum = |from: u64, to: u64, count: fn(&Second) -> &AtomicU64| -> u64 {
        seconds[from as usize..to as usize].iter().map(|second| count(second).load(Ordering::Relaxed)).sum()
    };
    let (out, whole) = ((plan.out_from, plan.out_to), (0, plan.whole));
    let of = |(from, to): (u64, u64)| {
        format!(
            "{} fresh from the cache, {} loaded, {} stale, {} errors",
            sum(from, to, |s| &s.fresh),
            sum(from, to, |s| &s.loaded),
            sum(from, to, |s| &s.stale),
            sum(from, to, |s| &s.failed)
        )
    };
    let text = format!(
        "`{}`; {before}; at the end: {}.\n\n- In all: {}.\n- While the origin is out: {}.\n- Errors of keys that had been given before, whose stale record may be served: {lost}.\n\
         - The origin saw {before_opening} requests from the begin of the outage to the opening of the breaker, and {after_opening} from then to its end ({probes} probes are allowed).\n\
         - Behind the time at which a read was due, it was answered after {:.2} ms in the median, 99 % within {:.1} ms, the latest after {:.0} ms.\n",
        asked.command,
        machine(),
        of(whole),
        of(out),
        share(0.5),
        share(0.99),
        share(1.0),
    );
    println!("{text}");
    if asked.write {
        let line = |count: fn(&Second) -> &AtomicU64| {
            seconds[..plan.whole as usize]
                .iter()
                .map(move |second| count(second).load(Ordering::Relaxed) as f64)
                .collect()
        };
        let mut chart = Lines::new("1,000 reads a second; the origin is out for 30 s", "s");
        chart.shade(plan.out_from as f64, plan.out_to as f64);
        chart.line("fresh from the cache", line(|s| &s.fresh));
        chart.line("loaded", line(|s| &s.loaded));
        chart.line("stale", line(|s| &s.stale));
        chart.line("errors", line(|s| &s.failed));
        chart.line("requests at the origin", line(|s| &s.origin));
        write_docs("outage.svg", &chart.svg())?;
        write_docs(
            "outage.md",
            &format!(
                "# Through an outage\n<!-- Written by the command below. -->\n{text}\n![each second](outage.svg)\n"
            ),
        )?;
    }
    if lost > 0 {
        return Err(format!("{lost} reads failed that could have been served").into());
    }
    if after_opening > probes {
        return Err(
            format!("the open breaker let {after_opening} requests through, and {probes} are its probes").into()
        );
    }
    if at_open == 0 {
        return Err("the breaker did not open".into());
    }
    Ok(())
}

struct Seen {
    /// Keys whose record was given once.
    kept: Mutex<HashSet<Key>>,
    /// Reads of those that failed.
    lost: AtomicU64,
    /// In seconds.
    took: Mutex<Vec<f64>>,
}

impl Seen {
    fn read(&self, cache: &ByteCache, key: &Key, second: &Second) {
        let was_kept = self.kept.lock().expect("no reader panics").contains(key);
        let count = match cache.read(&key[..], &Call::new()) {
            Ok(read) => {
                if !was_kept {
                    self.kept.lock().expect("no reader panics").insert(*key);
                }
                match read.how {
                    How::Hit => &second.fresh,
                    How::Stale => &second.stale,
                    _ => &second.loaded,
                }
            }
            Err(_) => {
                self.lost.fetch_add(u64::from(was_kept), Ordering::Relaxed);
                &second.failed
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn took(&self, time: Duration) {
        self.took.lock().expect("no reader panics").push(time.as_secs_f64());
    }
}
