//! The real code under a scheduler that explores interleavings: random and PCT schedules, each history checked for
//! linearizability, and the cache at rest against the origin.
//!
//! Built with RUSTFLAGS="--cfg wtcache_shuttle" only; `cargo xtask interleavings` does it. WTCACHE_SCHEDULES sets how many
//! schedules a scenario gets, WTCACHE_SEED which ones, and WTCACHE_REPLAY names a file with the one schedule to play.
#![cfg(wtcache_shuttle)]

#[cfg(feature = "tokio")]
mod cancelled;
mod crowds;
mod explorer;
mod index;
mod life;
mod listener;
mod lock;
mod many;
mod nested;
mod pending;
mod pushed;
mod replay;
mod room;
mod scenarios;
mod transactions;
mod world;

/// What the lock is made of, under the name by which it knows it.
#[path = "../../src/sync.rs"]
#[allow(dead_code, unused_imports)]
mod sync;

use explorer::explore;
