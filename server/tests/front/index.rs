//! `/{Table}/?attribute=value`: resident records by index, what has expired among them, and what is left out of the answer.

use std::time::{Duration, Instant};

use serde_json::json;
use wtcache_origin::{Answer, Fault, FaultKind, Method, Target, When};

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, setup, stage};

pub(crate) fn find(stage: &Stage, query: &str) -> Response {
    let found = stage.ask("GET", &format!("/InventoryItem/?{query}"), &[], "").expect(200);
    assert_eq!(found.header("wtcache-complete"), Some("?0"), "{found:?}");
    assert_eq!(found.header("content-type"), Some("application/json"));
    found
}

pub(crate) fn ids(found: &Response) -> Vec<String> {
    let json = found.json();
    let rows = json.as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn expect(stage: &Stage, query: &str, expected: &[&str], left_out: &str) {
    let found = find(stage, query);
    assert_eq!(ids(&found), expected, "{query}: {found:?}");
    assert_eq!(found.header("wtcache-left-out"), Some(left_out), "{query}");
}

const NONE_LEFT: &str = "expired=0, failed=0, in-doubt=0";

fn put(stage: &Stage, key: &str, sku: &str, warehouse: &str) {
    stage.put(key, &format!("{{\"sku\":\"{sku}\",\"warehouseId\":\"{warehouse}\"}}")).expect(200);
}

#[test]
fn resident_records_are_found_by_index_without_a_call() {
    let stage = stage();
    stage.origin.seed("d", json!({ "sku": "s1", "warehouseId": "east" }));
    stage.origin.seed("not-loaded", json!({ "sku": "s1" }));
    stage.get("d").expect(200);
    put(&stage, "b", "s1", "west");
    put(&stage, "a", "s1", "east");
    put(&stage, "c", "s2", "east");
    stage.saw();
    expect(&stage, "sku=s1", &["a", "b", "d"], NONE_LEFT);
    expect(&stage, "sku=s1&warehouseId=east", &["a", "d"], NONE_LEFT);
    expect(&stage, "warehouseId=east&sku=s2", &["c"], NONE_LEFT);
    expect(&stage, "sku=s1&sku=s2", &[], NONE_LEFT);
    expect(&stage, "sku=s3", &[], NONE_LEFT);
    assert_eq!(find(&stage, "sku=s3").body, "[]");
    assert_eq!(stage.saw(), NOTHING);
    let record = find(&stage, "sku=s2").json()[0].clone();
    assert_eq!(Some(record), stage.origin.record("c"), "the record whole, as the origin confirmed it");
    assert_eq!(stage.ask("GET", "/InventoryItem?sku=s2", &[], "").expect(200).json().as_array().unwrap().len(), 1);
}

#[test]
fn values_are_compared_by_their_type() {
    let stage = stage();
    let part = |key: &str, body: &str| {
        stage.ask("PUT", &format!("/Part/{key}"), &[], body).expect(200);
    };
    part("a", "{\"sku\":\"5\",\"count\":5,\"weight\":0.5,\"spare\":true,\"number\":5}");
    part("b", "{\"sku\":\"5 %&\",\"count\":-5,\"weight\":5e-1,\"spare\":false,\"number\":\"5\"}");
    part("c", "{\"sku\":\"\",\"count\":null}");
    for (query, expected) in [
        ("sku=5", vec!["a"]),
        ("sku=5+%25%26", vec!["b"]),
        ("sku=5%20%25%26", vec!["b"]),
        ("sku=", vec!["c"]),
        ("count=5", vec!["a"]),
        ("count=-5", vec!["b"]),
        ("weight=0.50", vec!["a", "b"]),
        ("spare=true", vec!["a"]),
        ("number=5", vec!["a", "b"]),
        ("%73ku=5", vec!["a"]),
    ] {
        let found = stage.ask("GET", &format!("/Part/?{query}"), &[], "").expect(200);
        assert_eq!(ids(&found), expected, "{query}");
    }
    for (query, field, words) in [
        ("count=five", Some("count"), "expected Int, got \"five\""),
        ("count=5.0", Some("count"), "expected Int"),
        ("count=", Some("count"), "expected Int"),
        ("spare=yes", Some("spare"), "expected Boolean"),
        ("colour=red", Some("colour"), "no attribute \"colour\""),
        ("sku=%ff", None, "not UTF-8"),
        ("", None, "ask by an indexed attribute (sku, count, weight, spare, number, marks)"),
        ("&", None, "expected a condition"),
        ("sku=a&", None, "expected a condition"),
    ] {
        let refused = stage.ask("GET", &format!("/Part/?{query}"), &[], "").expect(400).json();
        assert_eq!(refused.get("field").cloned(), field.map(|field| json!(field)), "{query}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(words), "{query}: {refused}");
    }
    stage.ask("GET", "/InventoryItem/?quantity=5", &[], "").expect(400);
}

/// P1: rows move with the record.
#[test]
fn a_replaced_or_deleted_record_is_not_found_by_what_it_was() {
    let stage = stage();
    put(&stage, "a", "old", "east");
    put(&stage, "a", "new", "east");
    expect(&stage, "sku=old", &[], NONE_LEFT);
    expect(&stage, "sku=new", &["a"], NONE_LEFT);
    stage.origin.seed("a", json!({ "sku": "newer" }));
    stage.delete("a").expect(204);
    expect(&stage, "sku=new", &[], NONE_LEFT);
    expect(&stage, "warehouseId=east", &[], NONE_LEFT);
}

/// F1: an expired row is loaded again, and taken if it is still what was asked for.
#[test]
fn f1_expired_rows_are_loaded_again_and_looked_at_again() {
    let stage = setup().expiration(60).start();
    for (key, warehouse) in [("a", "east"), ("b", "west"), ("c", "east"), ("d", "east")] {
        put(&stage, key, "s", warehouse);
    }
    stage.clock.advance(Duration::from_secs(30));
    put(&stage, "e", "s", "east");
    stage.clock.advance(Duration::from_secs(30));
    stage.origin.seed("c", json!({ "sku": "s", "warehouseId": "west" }));
    stage.origin.seed("d", json!({ "sku": "other", "warehouseId": "east" }));
    stage.origin.remove("b");
    stage.saw();
    let found = find(&stage, "sku=s&warehouseId=east");
    assert_eq!(ids(&found), ["a", "e"], "what changed or went is not found any more: {found:?}");
    assert_eq!(found.header("wtcache-left-out"), Some(NONE_LEFT));
    assert_eq!(found.header("cache-status"), Some("wtcache; fwd=stale; detail=index"));
    let mut saw = stage.saw();
    saw.sort();
    assert_eq!(
        saw,
        ["GET a", "GET c", "GET d"],
        "of the two indexes the one that finds less; of that, what is not fresh"
    );
    expect(&stage, "sku=s", &["a", "c", "e"], NONE_LEFT);
    assert_eq!(stage.saw(), ["GET b"], "the others are resident again");
    expect(&stage, "sku=s", &["a", "c", "e"], NONE_LEFT);
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(find(&stage, "sku=s").header("cache-status"), Some("wtcache; hit; detail=index"));
}

/// G2: two queries that need the same record ask the origin once.
#[test]
fn g2_the_loads_of_queries_at_once_are_one() {
    let stage = setup().expiration(60).start();
    put(&stage, "a", "s", "east");
    stage.clock.advance(Duration::from_secs(60));
    stage.saw();
    let gate = stage.origin.gate_all(Method::Get, "a", When::BeforeApply);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| ids(&find(&stage, "sku=s")))).collect();
        stage.wait_for_stats("InventoryItem", |stats| stats.joined == 7);
        gate.release();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), ["a"]);
        }
    });
    assert_eq!(stage.saw(), ["GET a"]);
}

/// No query has more than 8 loads at the origin at once.
#[test]
fn the_loads_of_a_query_are_bounded() {
    let stage = setup().expiration(60).start();
    for n in 0..40 {
        put(&stage, &format!("k{n:02}"), "s", "east");
    }
    stage.clock.advance(Duration::from_secs(60));
    stage.saw();
    let gate = stage.origin.gate_all(Method::Get, Target::Any, When::BeforeApply);
    std::thread::scope(|scope| {
        let query = scope.spawn(|| find(&stage, "sku=s"));
        let end = Instant::now() + PATIENCE;
        while stage.origin.log().len() < 8 {
            assert!(Instant::now() < end, "8 loads reach the origin");
            std::thread::yield_now();
        }
        // What the query would begin beside them it has begun by the time that another request went all its way.
        stage.get("k00?confirmed=neither").expect(400);
        assert_eq!(stage.origin.log().len(), 8);
        gate.release();
        assert_eq!(ids(&query.join().unwrap()).len(), 40);
    });
    assert_eq!(stage.saw().len(), 40);
}

/// A load that fails is counted, and no error stands among the records; where all is lost, the answer is an error.
#[test]
fn a_row_whose_load_fails_makes_the_answer_incomplete() {
    let stage = setup().expiration(60).start();
    put(&stage, "a", "s", "east");
    put(&stage, "b", "s", "west");
    stage.clock.advance(Duration::from_secs(60));
    let fail = || stage.origin.fault(Fault::on(Method::Get, "b").kind(FaultKind::Answer(Answer::new(500))));
    fail();
    expect(&stage, "sku=s", &["a"], "expired=0, failed=1, in-doubt=0");
    fail();
    let refused = stage.ask("GET", "/InventoryItem/?warehouseId=west", &[], "").expect(502).json();
    assert_eq!(refused["origin_status"], 500, "{refused}");
    expect(&stage, "warehouseId=west", &["b"], NONE_LEFT);
}

/// D1, D2: nobody knows what a record in doubt would be found by: it is left out, and counted.
#[test]
fn records_in_doubt_are_left_out_and_counted() {
    let stage = stage();
    put(&stage, "a", "s", "east");
    put(&stage, "b", "s", "east");
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    stage.put("a", "{\"sku\":\"t\"}").expect(502);
    expect(&stage, "sku=s", &["b"], "expired=0, failed=0, in-doubt=1");
    expect(&stage, "sku=t", &[], "expired=0, failed=0, in-doubt=1");
    stage.get("a").expect(200);
    expect(&stage, "sku=t", &[], "expired=0, failed=0, in-doubt=1");
    stage.clock.advance(Duration::from_secs(10));
    expect(&stage, "sku=t", &[], NONE_LEFT);
    stage.get("a").expect(200);
    expect(&stage, "sku=t", &["a"], NONE_LEFT);
}
