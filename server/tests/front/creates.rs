//! `POST /{Table}/`: records that the origin makes and names.

use serde_json::{Map, Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method, Target};
use wtcache_server::hook::{RuleCx, hooked};
use wtcache_server::record::BodyError;
use wtcache_server::table::{ServedTable, origin_of};

use crate::NOTHING;
use crate::common::{Response, Stage, setup, stage};

const CREATE: &str = "create: { url: \"${ORIGIN}/items\" }";

fn making() -> Stage {
    setup().origin(CREATE).start()
}

fn post(stage: &Stage, body: &str) -> Response {
    stage.ask("POST", "/InventoryItem/", &[], body)
}

/// The next create at the origin is answered so.
fn answering(stage: &Stage, kind: FaultKind) {
    stage.origin.fault(Fault::on(Method::Post, Target::Any).kind(kind));
}

#[test]
fn p9_a_record_is_made_and_named_by_the_origin_and_is_resident() {
    let stage = making();
    let made = post(&stage, r#"{"sku":"nut","quantity":3}"#).expect(201);
    assert_eq!(made.header("location"), Some("/InventoryItem/item-001"));
    assert_eq!((made.header("etag"), made.header("wtcache-outcome")), (Some("\"r1\""), Some("applied")));
    assert_eq!(made.header("cache-status"), Some("wtcache; fwd=method; stored"));
    assert_eq!((&made.json()["id"], &made.json()["quantity"]), (&json!("item-001"), &json!(3)));
    assert_eq!(stage.saw(), ["POST /items"]);
    assert_eq!(stage.get("item-001").expect(200).json(), made.json());
    let found = stage.ask("GET", "/InventoryItem/?sku=nut", &[], "").expect(200);
    assert_eq!(found.json().as_array().unwrap().len(), 1, "its index rows are there");
    assert_eq!(stage.saw(), NOTHING);
    // With a key of the client's, and where the path has no slash at its end; the origin's answer decides.
    let own = stage.ask("POST", "/InventoryItem", &[], r#"{"id":"a/b ä","quantity":1}"#).expect(201);
    assert_eq!(own.header("location"), Some("/InventoryItem/a%2Fb%20%C3%A4"));
    assert_eq!(stage.ask("GET", "/InventoryItem/a%2Fb%20%C3%A4", &[], "").expect(200).quantity(), 1);
    assert_eq!(stage.saw(), ["POST /items"]);
    let taken = post(&stage, r#"{"id":"a/b ä"}"#).expect(409);
    assert_eq!(taken.header("wtcache-outcome"), Some("rejected"));
}

#[test]
fn a_record_may_come_and_go_in_another_format() {
    let stage = making();
    let body = "{\"sku\":\"nut\"}";
    let made = stage.ask("POST", "/InventoryItem/", &[("Accept", "application/cbor")], body).expect(201);
    assert_eq!(made.header("content-type"), Some("application/cbor"));
    stage.ask("POST", "/InventoryItem/", &[("Content-Type", "text/csv")], body).expect(415);
}

#[test]
fn a1_what_is_not_known_says_so_and_leaves_no_key_in_doubt() {
    let stage = making();
    for (kind, status) in [
        (FaultKind::ResetAfterApply, 502),
        (FaultKind::ApplyThenAnswer(Answer::new(500)), 502),
        (FaultKind::Answer(Answer::new(202)), 502),
    ] {
        answering(&stage, kind);
        let unknown = post(&stage, "{}").expect(status);
        assert_eq!(unknown.header("wtcache-outcome"), Some("unknown"));
        assert_eq!(unknown.json()["outcome"], "unknown");
        assert!(unknown.json()["detail"].as_str().unwrap().contains("no key is in doubt"));
    }
    let stats = stage.front.caches().next().unwrap().1.stats();
    assert_eq!((stats.in_doubt, stats.writes_unknown), (0, 3));
    // Made, and nobody knows under which key.
    answering(&stage, FaultKind::ApplyThenAnswer(Answer::new(201)));
    let made = post(&stage, "{}").expect(201);
    assert_eq!((made.header("wtcache-key"), made.header("location")), (Some("unknown"), None));
    assert_eq!(made.header("wtcache-outcome"), Some("applied"));
    // Made under a key that the answer tells, and the record is not seen.
    answering(&stage, FaultKind::ApplyThenAnswer(Answer::new(201).header("Location", "/items/item-004")));
    let made = post(&stage, "{}").expect(201);
    assert_eq!((made.header("location"), made.header("etag")), (Some("/InventoryItem/item-004"), None));
    stage.saw();
    stage.get("item-004").expect(200);
    assert_eq!(stage.saw(), ["GET item-004"]);
}

#[test]
fn what_is_wrong_with_a_request_is_said_before_the_origin_is_called() {
    let stage = making();
    for (headers, body, status, words) in [
        (&[][..], "[]", 400, "object"),
        (&[], r#"{"quantity":"many"}"#, 400, "quantity"),
        (&[], r#"{"id":null}"#, 400, "leave it out"),
        (&[], r#"{"id":true}"#, 400, "id"),
        (&[], r#"{"id":""}"#, 400, "the key is empty"),
        (&[], r#"{"id":".."}"#, 400, "the key is . or .."),
        (&[], r#"{"id":"a\u0007"}"#, 400, "control character"),
        (&[("If-None-Match", "*")], "{}", 400, "on a condition"),
        (&[("If-Match", "\"r1\"")], "{}", 400, "on a condition"),
        (&[("Content-Type", "text/csv")], "{}", 415, ""),
    ] {
        let refused = stage.ask("POST", "/InventoryItem/", headers, body).expect(status);
        assert_eq!(refused.header("wtcache-outcome"), Some("rejected"), "{body}");
        assert!(refused.json()["detail"].as_str().unwrap().contains(words), "{}", refused.json());
    }
    let sealed = stage.ask("POST", "/Part/", &[], r#"{"sku":"a","colour":"red"}"#).expect(400);
    assert_eq!(sealed.json()["field"], "colour");
    let required = stage.ask("POST", "/Part/", &[], "{}").expect(400);
    assert_eq!(required.json()["field"], "sku");
    let dry = stage.ask("POST", "/InventoryItem/?dry_run=true", &[], "{}").expect(400);
    assert_eq!(dry.header("wtcache-outcome"), Some("rejected"));
    assert!(dry.json()["detail"].as_str().unwrap().contains("takes no query"), "{}", dry.json());
    assert_eq!(stage.saw(), NOTHING);
    // The origin's own refusal goes through.
    assert_eq!(post(&stage, r#"{"quantity":1000001}"#).expect(422).header("wtcache-outcome"), Some("rejected"));
}

#[test]
fn a_table_says_whether_its_origin_makes_records() {
    let making = making();
    let options = making.ask("OPTIONS", "/InventoryItem/", &[], "").expect(204);
    assert_eq!(options.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
    assert_eq!(
        making.ask("POST", "/InventoryItem/a", &[], "{}").expect(405).header("allow"),
        Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS")
    );
    let document = making.ask("GET", "/-/openapi.json", &[], "").expect(200).json();
    assert!(document["paths"]["/InventoryItem/"]["post"]["responses"]["201"].is_object());
    let stage = stage();
    let refused = post(&stage, "{}").expect(405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS"));
    let document = stage.ask("GET", "/-/openapi.json", &[], "").expect(200).json();
    assert!(document["paths"]["/InventoryItem/"]["post"].is_null());
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn a_rule_of_the_table_runs_before_a_create() {
    let rule = |cx: &RuleCx<'_>, mut sent: Map<String, Value>| {
        assert!(cx.existing().is_none());
        if sent.get("quantity").and_then(Value::as_i64).is_none_or(|quantity| quantity < 0) {
            return Err(BodyError { field: None, message: "quantity is not to be negative".into() });
        }
        sent.insert("sku".into(), "by the rule".into());
        Ok(sent)
    };
    let stage = setup().origin(CREATE).start_with(|table, config, pool, clock| {
        let source = hooked(origin_of(table, &config.origin).unwrap(), rule);
        ServedTable::open_with_clock(table, config, source, pool, clock.shared()).unwrap()
    });
    post(&stage, r#"{"quantity":-1}"#).expect(422);
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(post(&stage, r#"{"quantity":1}"#).expect(201).json()["sku"], "by the rule");
}
