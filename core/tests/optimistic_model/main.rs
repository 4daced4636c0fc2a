//! Chapters 5 and 6 against a model by brute force: a base, and a list of operations above it.
//!
//! Optimistic writes, other writes, transactions of both kinds, loads that are out meanwhile or fail, with records that say themselves how long
//! they may be served, and be stale, invalidations, evictions, expiries, cancels and settlements come in random orders on a few keys; after each the cache is asked, and has to say what the model says.
//! The origin answers each write when the test says so, and how. So a write that left and is still seen, or is missed though it is pending
//! (invariant 3), shows; and so does a confirmed read of what the origin did not have (invariant 1), and a base that is
//! not the origin's at rest (invariant 4). WTCACHE_SEED gives the first history, WTCACHE_STEPS how many steps there are.

#[path = "../common/mod.rs"]
mod common;

mod act;
mod origin;
mod parts;
mod reader;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use act::Case;
use run::{Run, Tally};

/// How long a failing history is made smaller.
const SMALLER: Duration = Duration::from_secs(60);

/// Histories of a few acts begin with an empty cache, those of many meet what came long before.
const MOST_ACTS: [usize; 2] = [40, 800];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().expect("a number"))
}

/// A seed that differs from run to run, unless one is given.
fn first_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    number("WTCACHE_SEED").unwrap_or_else(|| RandomState::new().hash_one("histories"))
}

fn played(case: &Case) -> Result<Tally, String> {
    let mut run = Run::new(case);
    let play = catch_unwind(AssertUnwindSafe(|| run.play(case)));
    match play {
        Ok(checked) => checked.map(|()| run.tally),
        Err(panic) => {
            let told = panic.downcast_ref::<&str>().map(|told| (*told).to_owned());
            let told = told.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("at act {}: {}", run.at, told.unwrap_or_else(|| "a panic".to_owned())))
        }
    }
}

/// Leaves out whatever the failure does not need.
fn smaller(mut case: Case, mut fault: String) -> (Case, String) {
    let began = Instant::now();
    let mut take = case.acts.len();
    while take > 0 {
        let mut at = 0;
        while at < case.acts.len() && began.elapsed() < SMALLER {
            let mut without = case.clone();
            without.acts.drain(at..(at + take).min(case.acts.len()));
            match played(&without) {
                Err(same) => (case, fault) = (without, same),
                Ok(_) => at += take,
            }
        }
        take /= 2;
    }
    (case, fault)
}

/// Plays histories, by seeds of its own, until there were so many steps.
fn many(first_seed: u64, steps: u64) -> Tally {
    let mut all = Tally::default();
    for seed in (0..).map(|nth| first_seed.wrapping_add(nth)) {
        if all.steps >= steps {
            break;
        }
        let case = Case::of(seed, MOST_ACTS[(seed % 2) as usize]);
        match played(&case) {
            Ok(tally) => all.add(&tally),
            Err(fault) => {
                let (case, fault) = smaller(case, fault);
                panic!("seed {seed}: {fault}\n{case:#?}");
            }
        }
    }
    all
}

#[test]
fn o2_o3_t1_t2_what_is_shown_is_the_base_with_what_is_pending_above_it() {
    let (seed, steps) = (first_seed(), number("WTCACHE_STEPS").unwrap_or(1_000_000));
    eprintln!("WTCACHE_SEED={seed}");
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8) as u64;
    let far_apart = u64::MAX / threads;
    let works: Vec<_> = (0..threads)
        .map(|nth| std::thread::spawn(move || many(seed.wrapping_add(nth * far_apart), steps.div_ceil(threads))))
        .collect();
    let mut all = Tally::default();
    for work in works {
        match work.join() {
            Ok(tally) => all.add(&tally),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    eprintln!("{all:?}, {:.1} s", began.elapsed().as_secs_f32());
    assert!(all.steps >= steps, "{all:?}");
    // They were about something.
    assert!(all.visible > steps / 2 && all.confirmed > steps / 4 && all.loaded > steps / 1_000, "{all:?}");
    if steps >= 100_000 {
        let each = all.stopped.iter().flatten().flatten();
        assert!(each.into_iter().all(|count| *count > 0) && all.undone > 0 && all.stale > 0, "{all:?}");
    }
}
