//! How long records are served, where the configuration or the origin says more than one lifetime; and where the origin has them.

use std::time::Duration;

use serde_json::{Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method, Target};

use crate::NOTHING;
use crate::common::{Stage, setup};

const EVER: u32 = 1000;

fn answering(stage: &Stage, method: Method, answer: Answer) {
    stage.origin.fault(Fault::on(method, Target::Any).kind(FaultKind::Answer(answer)).times(EVER));
}

fn status(stage: &Stage) -> (u16, Option<String>) {
    let answer = stage.get("a");
    (answer.status, answer.header("cache-status").map(str::to_owned))
}

fn stale(ttl: i32) -> (u16, Option<String>) {
    (200, Some(format!("wtcache; hit; ttl={ttl}")))
}

/// F2: the table's window, and the origin's own before it.
#[test]
fn f2_a_stale_record_stands_in_for_an_error_for_as_long_as_the_table_or_the_origin_says() {
    for (line, control, window) in [
        ("freshness: table", "max-age=300, must-revalidate", 60),
        ("freshness: origin", "max-age=300", 60),
        ("freshness: origin", "max-age=300, stale-if-error=20", 20),
        ("freshness: origin", "max-age=300, stale-if-error=90", 90),
        ("freshness: origin", "max-age=300, must-revalidate", 0),
    ] {
        let stage = setup().table("stale_if_error: 60s").origin(line).start();
        stage.origin.set_cache_control(Some(control));
        stage.origin.seed("a", json!({ "quantity": 1 }));
        stage.get("a").expect(200);
        answering(&stage, Method::Get, Answer::new(503));
        stage.clock.advance(Duration::from_secs(300 + window) - Duration::from_millis(1));
        let last = if window > 0 {
            stale(-window.try_into().unwrap_or(i32::MAX))
        } else {
            (200, Some("wtcache; hit; ttl=0".into()))
        };
        assert_eq!(status(&stage), last, "{control}");
        stage.clock.advance(Duration::from_millis(1));
        assert_eq!(status(&stage).0, 502, "{control}");
    }
}

/// F2, F3: a stale record is served at once, and asked for again in the background.
#[test]
fn f2_a_stale_record_is_served_while_it_is_refreshed() {
    for (table, origin, control) in [
        ("stale_while_revalidate: 30s", "freshness: table", None),
        ("capacity: 1MiB", "freshness: origin", Some("max-age=300, stale-while-revalidate=30")),
        ("stale_while_revalidate: 1s", "freshness: origin", Some("max-age=0, stale-while-revalidate=330")),
    ] {
        let stage = setup().table(table).origin(origin).start();
        stage.origin.set_cache_control(control);
        stage.origin.seed("a", json!({ "quantity": 1 }));
        stage.get("a").expect(200);
        stage.saw();
        stage.clock.advance(Duration::from_secs(310));
        assert_eq!(stage.get("a").expect(200).quantity(), 1);
        stage.wait_for_stats("InventoryItem", |stats| stats.refreshes == 1);
        assert!(stage.origin.wait_for(|log| log.len() == 1, crate::common::PATIENCE), "asked in the background");
        assert_eq!(stage.origin.log()[0].if_none_match.as_deref(), Some("\"r1\""), "{table} {origin}");
    }
}

/// F3: refreshed in the last share of its lifetime, and not before.
#[test]
fn f3_a_record_is_refreshed_ahead_in_the_share_that_is_configured() {
    let stage = setup().table("refresh_ahead: 20%").start();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage.get("a").expect(200);
    stage.clock.advance(Duration::from_secs(239));
    stage.get("a").expect(200);
    stage.saw();
    stage.clock.advance(Duration::from_secs(1));
    stage.get("a").expect(200);
    assert!(stage.origin.wait_for(|log| log.len() == 1, crate::common::PATIENCE), "a refresh");
}

/// F4: lifetimes end apart, and none later than it would.
#[test]
fn f4_lifetimes_are_shortened_by_the_share_that_is_configured() {
    let stage = setup().table("jitter: 50%").start();
    let mut lives: Vec<i64> = (0..20)
        .map(|n| {
            let key = format!("k{n}");
            stage.origin.seed(&key, json!({ "quantity": 1 }));
            let miss = stage.get(&key).expect(200);
            miss.header("cache-status").unwrap().split("ttl=").nth(1).unwrap().parse().unwrap()
        })
        .collect();
    lives.sort_unstable();
    assert!(lives[0] >= 149 && lives[19] <= 300 && lives[19] - lives[0] > 20, "{lives:?}");
}

/// F1: with no word on freshness, by the last change; revalidated by that where it is asked for.
#[test]
fn f1_the_last_change_says_how_long_where_that_is_configured() {
    let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
    let answer = |body: &Value| Answer::new(200).json(body).header("Last-Modified", modified);
    let lines = ["freshness: origin", "heuristic: 10%", "heuristic_longest: 40s", "last_modified: true"];
    let stage = lines.iter().fold(setup(), |setup, line| setup.origin(line)).start();
    answering(&stage, Method::Get, answer(&json!({ "id": "a", "quantity": 1 })));
    assert_eq!(status(&stage).1.as_deref(), Some("wtcache; fwd=miss; fwd-status=200; stored; ttl=40"));
    stage.clock.advance(Duration::from_secs(39));
    stage.saw();
    stage.get("a").expect(200);
    assert_eq!(stage.saw(), NOTHING);
}

/// Records in arrays inside objects, in both directions.
#[test]
fn records_are_found_and_put_where_the_origin_has_them() {
    let shape = ["record_at: /data", "record_in_array: true", "put_at: /data"];
    let stage = shape.iter().fold(setup(), |setup, line| setup.origin(line)).start();
    let item = |quantity: i64| json!({ "data": [{ "id": "a", "quantity": quantity }], "more": 0 });
    answering(&stage, Method::Get, Answer::new(200).json(&item(1)));
    assert_eq!(stage.get("a").expect(200).json(), json!({ "id": "a", "quantity": 1 }));
    answering(&stage, Method::Put, Answer::new(200).json(&item(2)));
    stage.saw();
    assert_eq!(stage.put("a", "{\"quantity\":2}").expect(200).quantity(), 2);
    let sent: Value = serde_json::from_str(stage.origin.log()[0].body.as_deref().unwrap()).unwrap();
    assert_eq!(sent, json!({ "data": { "id": "a", "quantity": 2 } }));

    let stage = shape.iter().fold(setup(), |setup, line| setup.origin(line)).start();
    answering(&stage, Method::Get, Answer::new(200).json(&json!({ "data": [] })));
    stage.get("a").expect(404);
    let stage = shape.iter().fold(setup(), |setup, line| setup.origin(line)).start();
    answering(&stage, Method::Get, Answer::new(200).json(&json!({ "data": [{ "id": "a" }, { "id": "a" }] })));
    stage.get("a").expect(502);
}
