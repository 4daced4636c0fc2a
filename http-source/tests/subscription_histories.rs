//! I3 over real sockets: writers through the cache and past it at once, while the feed is cut, and the cache at rest against the origin.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use wtcache::{ByteCache, VersionOrder};
use wtcache_http_source::{HttpSource, SubscriptionState};
use wtcache_origin::{Origin, OriginOptions};
use wtcache_testkit::Dice;

const AMPLE: Duration = Duration::from_secs(30);
const QUICK: Duration = Duration::from_millis(2);
const KEYS: u64 = 4;

fn key(number: u64) -> String {
    format!("k{number}")
}

/// One round: its feed is of this kind, and goes on after a cut or not.
fn round(seed: u64) {
    let origin = Origin::start(OriginOptions::new()).unwrap();
    let builder = HttpSource::builder(format!("{}/items/{{id}}", origin.url())).version_order(VersionOrder::Number);
    // A write that meets a cut is in doubt for so long.
    let source =
        Arc::new(builder.timeout(AMPLE).settle_window(Duration::from_millis(100)).no_breaker().build().unwrap());
    let cache = ByteCache::builder(Arc::clone(&source)).clean_start(true).absent_after_delete(seed.is_multiple_of(2));
    let cache = cache.build().unwrap();
    let subscribe = match seed % 3 {
        0 => source.subscribe_sse("/items/_changes").resumes(true),
        1 => source.subscribe_sse("/items/_changes"),
        _ => source.subscribe_poll("/items/_changes").poll_every(QUICK),
    };
    let subscription = subscribe.backoff(QUICK, QUICK * 2).start(&cache).unwrap();
    assert!(subscription.wait_for(|told| told.state == SubscriptionState::Live, AMPLE));
    let at_work = AtomicUsize::new(4);
    let play = |seed: u64, work: &(dyn Fn(&mut Dice, &str) + Sync)| {
        let mut dice = Dice::new(seed);
        for _ in 0..60 {
            let key = key(dice.below(KEYS));
            work(&mut dice, &key);
        }
        at_work.fetch_sub(1, Ordering::SeqCst);
    };
    let through = |dice: &mut Dice, key: &str| {
        // Errors are part of it: the connection may be cut.
        if dice.percent(25) {
            let _ = cache.delete(key);
        } else {
            let _ = cache.put(key, json!({ "n": dice.below(1_000_000) }).to_string().into_bytes());
        }
    };
    let past = |dice: &mut Dice, key: &str| {
        if dice.percent(25) {
            origin.remove(key);
        } else {
            origin.seed(key, json!({ "n": dice.below(1_000_000) }));
        }
        thread::yield_now();
    };
    let reads = |_: &mut Dice, key: &str| {
        let _ = cache.get(key);
    };
    let (play, through, past, reads) = (&play, &through, &past, &reads);
    thread::scope(|scope| {
        scope.spawn(move || play(seed * 8, through));
        scope.spawn(move || play(seed * 8 + 1, past));
        scope.spawn(move || play(seed * 8 + 2, reads));
        scope.spawn(move || play(seed * 8 + 3, reads));
        let mut dice = Dice::new(seed * 8 + 4);
        while at_work.load(Ordering::SeqCst) > 0 {
            if dice.percent(5) {
                origin.drop_connections();
            }
            thread::yield_now();
        }
    });
    // All that was changed before this was told, or all was forgotten after it.
    let first = origin.seed("last", json!({ "n": 0 }));
    let is_first =
        || cache.peek("last").is_some_and(|entry| entry.version() == Some(format!("\"r{first}\"").as_bytes()));
    let end = Instant::now() + AMPLE;
    let wait = |holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(Instant::now() < end, "seed {seed}: {:?}", subscription.stats());
            thread::yield_now();
        }
    };
    wait(&|| {
        let _ = cache.get("last");
        is_first()
    });
    origin.seed("last", json!({ "n": 1 }));
    wait(&|| !is_first());
    while cache.stats().in_doubt > 0 {
        thread::yield_now();
    }
    for number in 0..KEYS {
        let key = key(number);
        let truth = origin.record(&key);
        let read = cache.get(&key).unwrap();
        let held = read.map(|entry| serde_json::from_slice::<serde_json::Value>(&entry).unwrap());
        assert_eq!(held, truth, "seed {seed}, {key}: {:?}", subscription.stats());
    }
}

#[test]
fn i3_at_rest_nothing_that_is_held_is_out_of_date() {
    (0..24).for_each(round);
}
