//! Hits, misses and failed loads, and how long a record is served.

use std::time::Duration;

use serde_json::json;
use wtcache_origin::{Answer, Fault, FaultKind, Method};

use crate::NOTHING;
use crate::common::{Stage, setup, stage};

fn fault(stage: &Stage, kind: FaultKind) {
    stage.origin.fault(Fault::on(Method::Get, "a").kind(kind));
}

/// The If-None-Match headers of the calls since the log was last emptied.
fn validators(stage: &Stage) -> Vec<Option<String>> {
    stage.origin.log().into_iter().map(|entry| entry.if_none_match).collect()
}

#[test]
fn a_miss_is_one_call_and_a_hit_none() {
    let stage = stage();
    let seeded = stage.origin.seed("a", json!({ "quantity": 1 }));
    let miss = stage.get("a").expect(200);
    assert_eq!(stage.saw(), ["GET a"]);
    let hit = stage.get("a").expect(200);
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!((&hit.body, hit.header("etag")), (&miss.body, Some(format!("\"r{seeded}\"").as_str())));
    assert_eq!(miss.header("cache-status"), Some("wtcache; fwd=miss; fwd-status=200; stored; ttl=300"));
    assert_eq!(hit.header("cache-status"), Some("wtcache; hit; ttl=300"));
    stage.get("b").expect(404);
    stage.get("b").expect(404);
    assert_eq!(stage.saw(), ["GET b"]);
}

/// HEAD is GET without the body, also where it is the one that asks the origin.
#[test]
fn a_head_has_the_headers_of_a_get_and_no_body() {
    let stage = stage();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    let plain = |head: &str| {
        let lines = head.lines().filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("date:") && !line.starts_with("server-timing:")
        });
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let cold = stage.ask("HEAD", "/InventoryItem/a", &[], "").expect(200);
    assert_eq!((cold.body.as_str(), stage.saw()), ("", vec!["GET a".to_owned()]));
    stage.get("none").expect(404);
    stage.saw();
    for (path, tag) in [
        ("/InventoryItem/a", None),
        ("/InventoryItem/a", Some("*")),
        ("/InventoryItem/none", None),
        ("/InventoryItem/?sku=WB-100", None),
        ("/InventoryItem/?nothing=1", None),
        ("/Unknown/a", None),
        ("/-/healthz", None),
    ] {
        let headers: Vec<_> = tag.map(|tag| ("If-None-Match", tag)).into_iter().collect();
        let get = stage.ask("GET", path, &headers, "");
        let head = stage.ask("HEAD", path, &headers, "");
        let (mut from_head, from_get) = (plain(&head.head), plain(&get.head));
        if head.status == 304 {
            // RFC 9110 §8.6: where it is given, it is that of the 200.
            let record = stage.get("a").expect(200).body.len();
            from_head.retain(|line| *line != format!("content-length: {record}"));
        }
        assert_eq!(from_head, from_get, "{path}");
        assert_eq!(head.body, "", "{path}");
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// A load that fails is told, leaves nothing, and is made again by the next read.
#[test]
fn a_failed_load_is_told_apart_and_not_remembered() {
    let json = |status: u16| Answer::new(status).header("Content-Type", "text/x").body("no");
    for (kind, status, origin_status) in [
        (FaultKind::Answer(json(400)), 400, None),
        (FaultKind::Answer(json(409)), 409, None),
        (FaultKind::Answer(json(429).header("Retry-After", "3")), 429, None),
        (FaultKind::Answer(json(401)), 502, Some(401)),
        (FaultKind::Answer(json(403)), 502, Some(403)),
        (FaultKind::Answer(json(407)), 502, Some(407)),
        (FaultKind::Answer(json(301).header("Location", "/items/b")), 502, Some(301)),
        (FaultKind::Answer(json(500)), 502, Some(500)),
        (FaultKind::Answer(json(503).header("Retry-After", "3")), 502, Some(503)),
        (FaultKind::Answer(json(204)), 502, Some(204)),
        (FaultKind::Answer(json(200)), 502, Some(200)),
        (FaultKind::Answer(Answer::new(200).body("{\"quantity\":\"x\"}")), 502, Some(200)),
        (FaultKind::Answer(Answer::new(200).body("{\"id\":\"b\"}")), 502, Some(200)),
        (FaultKind::TruncatedBody, 502, Some(200)),
        (FaultKind::BrokenChunked, 502, Some(200)),
        (FaultKind::OversizeBody(2 * 1024 * 1024), 502, Some(200)),
        (FaultKind::ResetAfterApply, 502, None),
        (FaultKind::CloseAfterApply, 502, None),
    ] {
        let stage = stage();
        stage.origin.seed("a", json!({ "quantity": 1 }));
        let retries = matches!(kind, FaultKind::Answer(ref answer) if [429, 503].contains(&answer.status()));
        fault(&stage, kind.clone());
        let failed = stage.get("a").expect(status);
        assert_eq!(stage.saw(), ["GET a"], "{kind:?}");
        if status == 502 {
            let problem = failed.json();
            assert_eq!(problem.get("origin_status").cloned(), origin_status.map(|s: u16| json!(s)), "{kind:?}");
            assert_eq!(problem.get("outcome"), None, "a read has none");
        } else {
            assert_eq!((failed.body.as_str(), failed.header("content-type")), ("no", Some("text/x")), "{kind:?}");
        }
        assert_eq!(failed.header("retry-after"), retries.then_some("3"), "{kind:?}");
        stage.get("a").expect(200);
        assert_eq!(stage.saw(), ["GET a"], "{kind:?}");
    }
}

#[test]
fn a_load_that_hangs_is_a_gateway_timeout() {
    let stage = setup().timeout("300ms").start();
    fault(&stage, FaultKind::HangBeforeApply);
    stage.get("a").expect(504);
    assert_eq!(stage.saw(), ["GET a"]);
}

/// A load is sent again once, where a connection of the pool turned out to be dead.
#[test]
fn an_origin_that_closed_its_idle_connections_is_asked_on_a_new_one() {
    let stage = stage();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage.origin.seed("b", json!({ "quantity": 2 }));
    fault(&stage, FaultKind::CloseAfterAnswer);
    stage.get("a").expect(200);
    stage.get("b").expect(200);
    stage.put_quantity("b", 3).expect(200);
}

/// F1: served until the table's expiration and not beyond; then revalidated by the origin's tag.
#[test]
fn an_expired_record_is_revalidated_by_its_etag() {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    stage.clock.advance(Duration::from_millis(299_500));
    assert_eq!(stage.get("a").expect(200).header("cache-status"), Some("wtcache; hit; ttl=0"));
    stage.clock.advance(Duration::from_millis(500));
    stage.origin.clear_log();
    let renewed = stage.get("a").expect(200);
    assert_eq!(validators(&stage), [Some("\"r1\"".to_owned())]);
    assert_eq!(stage.origin.log()[0].status, Some(304));
    assert_eq!(renewed.quantity(), 1, "the body is served again");
    assert_eq!(stage.saw(), ["GET a"]);
    stage.clock.advance(Duration::from_secs(299));
    stage.get("a").expect(200);
    assert_eq!(stage.saw(), NOTHING, "renewed for as long");

    stage.origin.seed("a", json!({ "quantity": 2 }));
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.get("a").expect(200).quantity(), 2, "not the same any more");
    stage.origin.remove("a");
    stage.clock.advance(Duration::from_secs(300));
    stage.get("a").expect(404);
    assert_eq!(stage.saw(), ["GET a", "GET a"]);
}

/// F1 with `freshness: origin`.
#[test]
fn an_origin_that_is_asked_to_decides_how_long_its_records_are_fresh() {
    let stage = setup().origin("freshness: origin").start();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage.origin.set_cache_control(Some("max-age=20"));
    assert_eq!(
        stage.get("a").expect(200).header("cache-status"),
        Some("wtcache; fwd=miss; fwd-status=200; stored; ttl=20")
    );
    stage.clock.advance(Duration::from_secs(19));
    assert_eq!(stage.get("a").expect(200).header("cache-status"), Some("wtcache; hit; ttl=1"));
    stage.saw();
    stage.clock.advance(Duration::from_secs(1));
    stage.get("a").expect(200);
    assert_eq!(validators(&stage), [Some("\"r1\"".to_owned())]);
    assert_eq!(stage.saw(), ["GET a"]);
    stage.clock.advance(Duration::from_secs(19));
    stage.get("a").expect(200);
    assert_eq!(stage.saw(), NOTHING, "304 renewed it");
    for directives in ["no-store", "no-cache", "max-age=0"] {
        stage.origin.set_cache_control(Some(directives));
        let key = format!("b-{directives}");
        stage.origin.seed(&key, json!({ "quantity": 1 }));
        let key = key.replace('=', "%3D");
        stage.get(&key).expect(200);
        stage.get(&key).expect(200);
        assert_eq!(stage.saw().len(), 2, "{directives}");
    }
    stage.origin.set_cache_control(None);
    stage.origin.seed("c", json!({ "quantity": 1 }));
    stage.get("c").expect(200);
    stage.clock.advance(Duration::from_secs(299));
    stage.get("c").expect(200);
    assert_eq!(stage.saw(), ["GET c"], "the table's, where the origin says nothing");
}

/// F1: without it, what the origin says of caching is not looked at.
#[test]
fn an_origin_that_is_not_asked_does_not_decide() {
    let stage = setup().expiration(60).start();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage.origin.set_cache_control(Some("no-store, max-age=0"));
    stage.get("a").expect(200);
    stage.clock.advance(Duration::from_secs(59));
    stage.get("a").expect(200);
    assert_eq!(stage.saw(), ["GET a"]);
    stage.clock.advance(Duration::from_secs(1));
    stage.get("a").expect(200);
    assert_eq!(stage.saw(), ["GET a"]);
}

/// F4: zero means that absence is not remembered.
#[test]
fn absence_is_remembered_only_for_its_own_lifetime() {
    for (lifetime, calls) in [("0s", 3), ("2s", 2), ("1h", 1)] {
        let stage = setup().table(&format!("negative_lifetime: {lifetime}")).start();
        stage.get("a").expect(404);
        stage.get("a").expect(404);
        stage.clock.advance(Duration::from_secs(2));
        stage.get("a").expect(404);
        assert_eq!(stage.saw().len(), calls, "{lifetime}");
        stage.put_quantity("a", 1).expect(200);
        stage.saw();
        stage.get("a").expect(200);
        assert_eq!(stage.saw(), NOTHING, "a write takes the place of an absence");
    }
}
