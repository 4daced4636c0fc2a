//! What a client asks by Cache-Control (RFC 9111 §5.2.1, RFC 5861), and what a read says of its answer: Age, Cache-Status, Server-Timing.

use std::time::Duration;

use serde_json::json;
use wtcache_origin::{Answer, Fault, FaultKind, Method};

use crate::NOTHING;
use crate::common::{Response, Stage, setup, stage};

fn read(stage: &Stage, directives: &str) -> Response {
    stage.ask("GET", "/InventoryItem/a", &[("Cache-Control", directives)], "")
}

/// Served from here: how many seconds ago the origin confirmed it, and for how many it is fresh yet.
#[track_caller]
fn hit(stage: &Stage, response: Response, quantity: i64, age: &str, ttl: &str) {
    let response = response.expect(200);
    assert_eq!((response.quantity(), stage.saw()), (quantity, vec![]), "{response:?}");
    assert_eq!(response.header("age"), Some(age), "{response:?}");
    assert_eq!(response.header("cache-status"), Some(format!("wtcache; hit; ttl={ttl}").as_str()));
}

/// Loaded for this read.
#[track_caller]
fn loaded(stage: &Stage, response: Response, quantity: i64, status: &str) {
    let response = response.expect(200);
    assert_eq!((response.quantity(), stage.saw()), (quantity, vec!["GET a".to_owned()]), "{response:?}");
    assert_eq!(response.header("age"), None, "the origin was asked just now: {response:?}");
    assert_eq!(response.header("cache-status"), Some(format!("wtcache; {status}").as_str()));
}

/// "a" is resident and `seconds` old, and the origin has a newer record.
fn outdated(seconds: u64) -> Stage {
    let stage = setup().start();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage.get("a").expect(200);
    stage.origin.seed("a", json!({ "quantity": 2 }));
    stage.clock.advance(Duration::from_secs(seconds));
    stage.saw();
    stage
}

fn fails(stage: &Stage) {
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(503))));
}

const ANEW: &str = "fwd=request; fwd-status=200; stored; ttl=300";

#[test]
fn f5_a_record_older_than_max_age_is_loaded_anew() {
    let stage = outdated(30);
    hit(&stage, read(&stage, "max-age=30"), 1, "30", "270");
    loaded(&stage, read(&stage, "max-age=29"), 2, ANEW);
    hit(&stage, read(&stage, "max-age=29"), 2, "0", "300");
    loaded(&stage, read(&stage, "max-age=soon"), 2, ANEW);
    loaded(&stage, read(&stage, "max-age=0"), 2, ANEW);
}

#[test]
fn f5_no_cache_asks_the_origin_which_may_say_that_nothing_changed() {
    let stage = outdated(30);
    loaded(&stage, read(&stage, "no-cache"), 2, ANEW);
    hit(&stage, stage.get("a"), 2, "0", "300");
    stage.clock.advance(Duration::from_secs(5));
    loaded(&stage, read(&stage, "x=1, No-Cache"), 2, ANEW);
    read(&stage, "no-cache").expect(200);
    let log = stage.origin.log();
    assert!(log[0].if_none_match.is_some() && log[0].status == Some(304), "{log:?}");
    stage.saw();
    hit(&stage, stage.get("a"), 2, "0", "300");
    let refresh = stage.ask("GET", "/InventoryItem/a?confirmed", &[("Cache-Control", "no-cache")], "");
    loaded(&stage, refresh, 2, ANEW);
}

#[test]
fn f5_no_store_serves_what_is_here_and_keeps_nothing() {
    let stage = outdated(30);
    hit(&stage, read(&stage, "no-store"), 1, "30", "270");
    stage.clock.advance(Duration::from_secs(300));
    loaded(&stage, read(&stage, "no-store"), 2, "fwd=stale; fwd-status=200");
    loaded(&stage, read(&stage, "no-store"), 2, "fwd=miss; fwd-status=200");
    loaded(&stage, stage.get("a"), 2, "fwd=miss; fwd-status=200; stored; ttl=300");
}

#[test]
fn f5_only_if_cached_never_asks_the_origin() {
    let stage = stage();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    let not_here = |directives: &str| {
        let answer = read(&stage, directives).expect(504);
        assert_eq!(answer.header("cache-status"), Some("wtcache; detail=only-if-cached"));
        assert_eq!(stage.saw(), NOTHING);
    };
    not_here("only-if-cached");
    stage.get("a").expect(200);
    stage.get("b").expect(404);
    stage.saw();
    hit(&stage, read(&stage, "only-if-cached"), 1, "0", "300");
    let absent = stage.ask("GET", "/InventoryItem/b", &[("Cache-Control", "only-if-cached")], "").expect(404);
    assert_eq!((absent.header("cache-status"), stage.saw()), (Some("wtcache; hit"), vec![]));
    stage.clock.advance(Duration::from_secs(10));
    hit(&stage, read(&stage, "only-if-cached, max-age=10"), 1, "10", "290");
    not_here("only-if-cached, max-age=9");
    not_here("only-if-cached, min-fresh=291");
    not_here("no-cache, only-if-cached");
    stage.clock.advance(Duration::from_secs(300));
    not_here("only-if-cached");
    hit(&stage, read(&stage, "only-if-cached, max-stale=11"), 1, "310", "-10");
    not_here("only-if-cached, max-stale=10");
}

/// What is pending is not what was asked for with `?confirmed`.
#[test]
fn o1_only_if_cached_tells_what_is_pending_from_what_is_confirmed() {
    let stage = outdated(0);
    let gate = stage.origin.gate(Method::Put, "a", wtcache_origin::When::BeforeApply);
    stage.ask("PUT", "/InventoryItem/a", &[("Prefer", "respond-async")], "{\"quantity\":5}").expect(202);
    assert_eq!(read(&stage, "only-if-cached").expect(200).quantity(), 5);
    assert_eq!(read(&stage, "no-cache").expect(200).header("age"), None, "nobody has confirmed it");
    stage.ask("GET", "/InventoryItem/a?confirmed", &[("Cache-Control", "only-if-cached")], "").expect(504);
    gate.release();
}

#[test]
fn f5_a_record_must_be_fresh_for_as_long_as_min_fresh_says() {
    let stage = outdated(30);
    hit(&stage, read(&stage, "min-fresh=270"), 1, "30", "270");
    // What is fresh, and not for long enough, is not what has expired.
    stage
        .ask("GET", "/InventoryItem/a", &[("Cache-Control", "min-fresh=271, max-stale, only-if-cached")], "")
        .expect(504);
    loaded(&stage, read(&stage, "min-fresh=271, must-revalidate"), 2, ANEW);
}

#[test]
fn f2_max_stale_takes_what_has_expired_unless_the_origin_is_asked_for() {
    let stage = outdated(310);
    hit(&stage, read(&stage, "max-stale"), 1, "310", "-10");
    hit(&stage, read(&stage, "max-stale=11"), 1, "310", "-10");
    let anew = "fwd=stale; fwd-status=200; stored; ttl=300";
    loaded(&stage, read(&stage, "max-stale=10"), 2, anew);
    for forbids in ["max-stale, must-revalidate", "max-stale, no-cache", "max-stale=x", "max-stale, max-age=309"] {
        stage.clock.advance(Duration::from_secs(310));
        loaded(&stage, read(&stage, forbids), 2, anew);
    }
}

#[test]
fn f2_stale_if_error_stands_in_for_an_error_of_the_origins() {
    let stage = outdated(310);
    let stale = |directives: &str, takes: bool| {
        fails(&stage);
        let answer = read(&stage, directives).expect(if takes { 200 } else { 502 });
        assert_eq!(stage.saw(), ["GET a"], "{directives}");
        assert_eq!(answer.header("age").is_some(), takes, "{answer:?}");
        if takes {
            assert_eq!(answer.header("cache-status"), Some("wtcache; hit; ttl=-10"));
        }
    };
    stale("stale-if-error=11", true);
    stale("stale-if-error", true);
    stale("stale-if-error=10", false);
    stale("stale-if-error=x", false);
    stale("stale-if-error, must-revalidate", false);
    stale("no-cache", false);
    stale("no-cache, stale-if-error=400", true);
    stale("foo", false);
}

/// A milliseconds' number behind each name.
fn durations(response: &Response) -> Vec<(String, f64)> {
    let value = response.header("server-timing").expect("each read says it");
    let metric = |part: &str| {
        let (name, dur) = part.trim().split_once(";dur=").expect("a metric with a duration");
        (name.to_owned(), dur.parse().expect("a number"))
    };
    value.split(',').map(metric).collect()
}

#[test]
fn server_timing_tells_the_origins_time_from_the_caches() {
    let stage = setup().real_time().start();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::DelayBeforeApply(Duration::from_millis(50))));
    let miss = durations(&stage.get("a").expect(200));
    assert_eq!(miss.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["cache", "origin"]);
    assert!(miss[1].1 >= 50.0 && miss[0].1 < miss[1].1, "{miss:?}");
    let hit = durations(&stage.get("a").expect(200));
    assert_eq!(hit.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["cache"]);
    let unasked = durations(&stage.ask("GET", "/InventoryItem/b", &[("Cache-Control", "only-if-cached")], ""));
    assert_eq!(unasked.len(), 1, "{unasked:?}");
}

fn several(stage: &Stage, query: &str, directives: &str) -> Response {
    stage.ask("GET", &format!("/InventoryItem/?{query}"), &[("Cache-Control", directives)], "")
}

fn quantities(found: &Response) -> Vec<i64> {
    found.json().as_array().unwrap().iter().map(|record| record["quantity"].as_i64().unwrap()).collect()
}

/// Of several records that are named, each is as a read of it with the same directives.
#[test]
fn f5_records_that_are_named_together_are_as_fresh_as_is_asked() {
    let stage = outdated(30);
    assert_eq!(quantities(&several(&stage, "id=a", "max-age=30").expect(200)), [1]);
    let only = several(&stage, "id=a,b", "only-if-cached").expect(200);
    assert_eq!((quantities(&only), stage.saw()), (vec![1], vec![]));
    assert_eq!(only.header("wtcache-left-out"), Some("absent=0, failed=1"));
    assert_eq!(only.header("wtcache-complete"), Some("?0"));
    let none = several(&stage, "id=b", "only-if-cached").expect(504);
    assert_eq!(none.header("cache-status"), Some("wtcache; detail=only-if-cached"));
    several(&stage, "id=a", "only-if-cached, max-age=29").expect(504);
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(quantities(&several(&stage, "id=a", "max-age=29").expect(200)), [2]);
    assert_eq!(stage.saw(), ["GET a"]);
    stage.origin.seed("c", json!({ "quantity": 3 }));
    assert_eq!(quantities(&several(&stage, "id=c", "no-store").expect(200)), [3]);
    several(&stage, "id=c", "only-if-cached").expect(504);
}

/// What a query finds by its index is as fresh as is asked.
#[test]
fn f5_what_an_index_finds_is_as_fresh_as_is_asked() {
    let stage = setup().start();
    for (key, quantity) in [("a", 1), ("b", 2)] {
        stage.origin.seed(key, json!({ "sku": "nut", "quantity": quantity }));
        stage.get(key).expect(200);
        stage.clock.advance(Duration::from_secs(20));
    }
    stage.origin.seed("a", json!({ "sku": "nut", "quantity": 7 }));
    stage.saw();
    let find = |directives: &str| several(&stage, "sku=nut", directives).expect(200);
    assert_eq!(quantities(&find("max-age=40")), [1, 2]);
    let only = find("only-if-cached, max-age=30");
    assert_eq!(quantities(&only), [2]);
    assert_eq!(only.header("wtcache-left-out"), Some("expired=1, failed=0, in-doubt=0"));
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(quantities(&find("max-age=30")), [7, 2]);
    assert_eq!(stage.saw(), ["GET a"]);
    find("no-cache").expect(200);
    assert_eq!(stage.saw().len(), 2);
    stage.clock.advance(Duration::from_secs(301));
    let expired = find("only-if-cached");
    assert_eq!(
        (quantities(&expired), expired.header("wtcache-left-out")),
        (vec![], Some("expired=2, failed=0, in-doubt=0"))
    );
    assert_eq!(quantities(&find("only-if-cached, max-stale=400")), [7, 2]);
    assert_eq!(quantities(&find("max-stale=400")), [7, 2]);
    assert_eq!(stage.saw(), NOTHING);
}
