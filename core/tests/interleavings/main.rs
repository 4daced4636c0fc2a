//! The real code under a scheduler that explores interleavings: random and PCT schedules, each history checked for
//! linearizability, and the cache at rest against the origin.
//!
//! Built with RUSTFLAGS="--cfg wtcache_shuttle" only; `cargo xtask interleavings` does it. WTCACHE_SCHEDULES sets how many
//! schedules a scenario gets.
#![cfg(wtcache_shuttle)]

mod many;
mod scenarios;
mod world;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Schedules a scenario gets where nobody says otherwise.
const SCHEDULES: usize = 2_000;

fn explore(scenario: fn()) {
    let schedules = std::env::var("WTCACHE_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(SCHEDULES);
    run(RandomScheduler::new(schedules / 4), scenario);
    run(PctScheduler::new(3, schedules / 2), scenario);
    run(PctScheduler::new(5, schedules / 4), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    Runner::new(scheduler, config).run(scenario);
}
