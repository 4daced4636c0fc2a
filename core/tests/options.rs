//! What a cache refuses to be built with: each refusal names the option and says what is wrong.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::time::Duration;

use shelf::Shelf;
use wtcache::{Audit, Builder, Cache, Optimistic, Typed};

type Options = Builder<Typed<u32, u64>>;

#[track_caller]
fn refused(option: &str, message: &str, change: impl FnOnce(Options) -> Options) {
    let built = change(Cache::builder(Shelf::new())).build();
    let Err(error) = built else { panic!("{option} was accepted") };
    assert_eq!((error.option, error.message.as_str()), (option, message));
    assert_eq!(error.to_string(), format!("option {option}: {message}"));
}

#[track_caller]
fn accepted(change: impl FnOnce(Options) -> Options) {
    let cache = change(Cache::builder(Shelf::of([(1, 2)]))).build().unwrap();
    assert_eq!(cache.get(&1).unwrap().map(|e| *e), Some(2));
}

#[test]
fn a_capacity_of_nothing_is_refused() {
    refused("capacity", "a cache of no capacity holds nothing; one is the least", |o| o.capacity(0));
    accepted(|o| o.capacity(1));
    accepted(|o| o.capacity(u64::MAX));
}

#[test]
fn a_jitter_that_is_no_share_is_refused() {
    for jitter in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        refused("jitter", "is a share from 0 to 1", |o| o.jitter(jitter));
    }
    accepted(|o| o.jitter(1.0));
}

#[test]
fn a_deadline_of_nothing_or_beyond_a_day_is_refused() {
    let day = Duration::from_secs(86_400);
    refused("deadline", "is more than zero and a day at most", |o| o.deadline(Duration::ZERO));
    refused("deadline", "is more than zero and a day at most", |o| o.deadline(day + Duration::from_nanos(1)));
    accepted(|o| o.deadline(day));
}

#[test]
fn shards_are_one_to_1024() {
    refused("shards", "is 1 to 1024", |o| o.shards(0));
    refused("shards", "is 1 to 1024", |o| o.shards(1025));
    for shards in [1, 3, 1024] {
        accepted(|o| o.shards(shards));
    }
}

#[test]
fn places_for_doubts_and_waiting_writes_are_one_at_least() {
    refused("most_doubts", "every write needs a place for a doubt; one is the least", |o| o.most_doubts(0));
    refused("turn_queue", "one waiting write a key is the least", |o| o.turn_queue(0));
    accepted(|o| o.most_doubts(1).turn_queue(1));
}

#[test]
fn the_longest_key_is_a_byte_to_a_mebibyte() {
    refused("longest_key", "is 1 byte to 1 MiB", |o| o.longest_key(0));
    refused("longest_key", "is 1 byte to 1 MiB", |o| o.longest_key((1 << 20) + 1));
    accepted(|o| o.longest_key(1 << 20));
}

#[test]
fn more_indexes_than_rows_can_number_are_refused() {
    let names = |n: usize| (0..n).map(|i| i.to_string());
    refused("indexes", "there are 65,535 indexes at most", |o| o.indexes(names(65_536), |_, _, _| {}));
    accepted(|o| o.indexes(names(65_535), |_, _, _| {}));
}

#[test]
fn an_audit_checks_every_millisecond_to_every_day() {
    let message = "one check every 1 ms is the most, one a day the least";
    for every in [Duration::ZERO, Duration::from_micros(999), Duration::from_secs(86_401)] {
        refused("audit", message, |o| o.audit(Audit::new().every(every)));
    }
    accepted(|o| o.audit(Audit::new().every(Duration::from_millis(1))));
    accepted(|o| o.audit(Audit::new().every(Duration::from_secs(86_400))));
}

#[test]
fn an_index_named_twice_is_refused() {
    refused("indexes", "the name \"size\" is given twice", |o| o.indexes(["size", "hue", "size"], |_, _, _| {}));
}

#[test]
fn b2_what_bounds_pending_writes_is_more_than_nothing() {
    let new = Optimistic::new;
    let message = "one thread, one pending write and a weight of one are the least";
    for optimistic in [new().threads(0), new().most(0), new().weight(0)] {
        refused("optimistic", message, |o| o.optimistic(optimistic));
    }
    for deadline in [Duration::ZERO, Duration::from_secs(86_401)] {
        refused("optimistic", "its deadline is more than zero and a day at most", |o| {
            o.optimistic(new().deadline(deadline))
        });
    }
    accepted(|o| o.optimistic(new().threads(1).most(1).weight(1).deadline(Duration::from_secs(86_400))));
}
