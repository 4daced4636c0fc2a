//! `GET /{Table}/?…&passthrough`: the origin's list, whose records are as loads that began before it was asked for.

use serde_json::{Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method, Target, When};

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, setup, stage};

const LIST: &str = "list: { url: \"${ORIGIN}/items\" }";

/// With two records at the origin, of which nothing is known here.
fn listing() -> Stage {
    let stage = setup().origin(LIST).start();
    for (key, quantity) in [("a", 1), ("b", 2)] {
        stage.origin.seed(key, json!({ "sku": "bolt", "quantity": quantity }));
    }
    stage.saw();
    stage
}

fn pass(stage: &Stage, query: &str) -> Response {
    stage.ask("GET", &format!("/InventoryItem/?{query}"), &[], "")
}

/// The next list is answered so.
fn answering(stage: &Stage, answer: Answer) {
    stage.origin.fault(Fault::on(Method::Get, Target::Any).kind(FaultKind::Answer(answer)));
}

fn body_of(records: &Value) -> Answer {
    Answer::new(200).header("Content-Type", "application/json").body(records.to_string())
}

/// What the list says of its records while `meanwhile` happens after the origin took them, and before it answers.
fn meanwhile(stage: &Stage, meanwhile: impl FnOnce()) -> Response {
    let gate = stage.origin.gate(Method::Get, Target::Any, When::AfterApply);
    let mut client = stage.client();
    client.send("GET", "/InventoryItem/?passthrough", &[], "");
    assert!(gate.wait_arrived(PATIENCE));
    meanwhile();
    gate.release();
    client.receive().expect(200)
}

fn quantities(list: &Response) -> Vec<i64> {
    list.json().as_array().unwrap().iter().map(|record| record["quantity"].as_i64().unwrap()).collect()
}

#[test]
fn g4_the_records_of_the_origins_list_are_shown_and_are_resident() {
    let stage = listing();
    let list = pass(&stage, "a=1&passthrough&sort(-b)&limit(5)").expect(200);
    assert_eq!(stage.origin.log().last().unwrap().path, "/items?a=1&sort(-b)&limit(5)");
    assert_eq!(quantities(&list), [1, 2]);
    assert_eq!(list.header("cache-status"), Some("wtcache; fwd=request; stored; detail=passthrough"));
    assert_eq!((list.header("wtcache-complete"), list.header("wtcache-left-out")), (Some("?1"), Some("failed=0")));
    stage.saw();
    assert_eq!(stage.get("a").expect(200).quantity(), 1);
    let found = stage.ask("GET", "/InventoryItem/?sku=bolt", &[], "").expect(200);
    assert_eq!(quantities(&found), [1, 2], "their index rows are there");
    assert_eq!(stage.saw(), NOTHING);
    // Asked again, the origin is asked again.
    stage.origin.seed("a", json!({ "sku": "nut", "quantity": 7 }));
    assert_eq!(quantities(&pass(&stage, "passthrough").expect(200)), [7, 2]);
    stage.saw();
    assert_eq!(stage.get("a").expect(200).quantity(), 7);
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn g5_a_write_that_was_applied_meanwhile_stands() {
    let stage = listing();
    let list = meanwhile(&stage, || drop(stage.put_quantity("a", 9).expect(200)));
    assert_eq!(quantities(&list), [1, 2], "the list as the origin made it");
    assert_eq!(list.header("cache-status"), Some("wtcache; fwd=request; detail=passthrough"));
    assert_eq!(stage.get("a").expect(200).quantity(), 9);
    stage.saw();
    assert_eq!(stage.get("b").expect(200).quantity(), 2);
    assert_eq!(stage.saw(), NOTHING, "the other one is retained");
}

#[test]
fn i1_what_was_invalidated_meanwhile_is_not_retained() {
    for selector in
        [json!({ "key": "a" }), json!({ "prefix": "a" }), json!({ "pattern": "*" }), json!({ "tag": "sku=bolt" })]
    {
        let stage = listing();
        let mut body = selector.clone();
        body["table"] = json!("InventoryItem");
        let list = meanwhile(&stage, || drop(stage.ask("POST", "/-/invalidate", &[], &body.to_string()).expect(200)));
        assert_eq!(quantities(&list), [1, 2]);
        stage.saw();
        stage.get("a").expect(200);
        assert_eq!(stage.saw(), ["GET a"], "{selector}");
    }
}

#[test]
fn d2_a_key_in_doubt_is_shown_and_not_retained() {
    let stage = listing();
    stage.origin.fault(Fault::on(Method::Put, Target::Any).kind(FaultKind::ResetAfterApply));
    stage.put_quantity("a", 9).expect_outcome(502, "in-doubt");
    assert_eq!(quantities(&pass(&stage, "passthrough").expect(200)), [9, 2]);
    stage.saw();
    stage.get("a").expect(200);
    stage.get("a").expect(200);
    stage.get("b").expect(200);
    assert_eq!(stage.saw(), ["GET a", "GET a"]);
}

/// Parts of records would be served as whole ones.
#[test]
fn a_query_for_parts_of_records_retains_nothing() {
    for query in ["select(id,quantity)", "fields=id", "fields[items]=id", "%73elect=id"] {
        let stage = listing();
        stage.get("a").expect(200);
        let list = pass(&stage, &format!("passthrough&{query}")).expect(200);
        assert_eq!(quantities(&list), [1, 2], "{query}");
        stage.saw();
        stage.get("a").expect(200);
        assert_eq!(stage.saw(), ["GET a"], "{query}: nor is what may be older than what was shown");
    }
    let stage = setup().origin("list: { url: \"${ORIGIN}/items\", parts_by: \"only\" }").start();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    pass(&stage, "passthrough&select=id").expect(200);
    stage.saw();
    stage.get("a").expect(200);
    assert_eq!(stage.saw(), NOTHING, "as it is configured");
}

#[test]
fn what_is_no_record_of_the_table_is_left_out_and_counted() {
    let stage = listing();
    let records = json!([{ "id": "a", "quantity": "many" }, { "id": "b", "quantity": 5 }, { "quantity": 6 }]);
    answering(&stage, body_of(&records).header("Link", "</items?page=2>; rel=next"));
    let list = pass(&stage, "passthrough").expect(200);
    assert_eq!(quantities(&list), [5]);
    assert_eq!((list.header("wtcache-complete"), list.header("wtcache-left-out")), (Some("?0"), Some("failed=2")));
    answering(&stage, body_of(&json!([{ "id": "b" }])).header("Link", "</items?page=2>; rel=next"));
    let page = pass(&stage, "passthrough").expect(200);
    assert_eq!((page.header("wtcache-complete"), page.header("wtcache-left-out")), (Some("?0"), Some("failed=0")));
}

#[test]
fn the_origins_refusals_and_failures_are_those_of_loads() {
    let stage = listing();
    for (origin, status) in [(422, 422), (400, 400), (503, 502), (401, 502)] {
        answering(&stage, Answer::new(origin).header("Content-Type", "application/json").body("{}"));
        let load = stage.get("nowhere");
        assert_eq!(load.status, status, "a load: {load:?}");
        answering(&stage, Answer::new(origin).header("Content-Type", "application/json").body("{}"));
        let list = pass(&stage, "passthrough").expect(status);
        let says = format!("wtcache; fwd=request; fwd-status={origin}; detail=passthrough");
        assert_eq!(list.header("cache-status"), Some(&*says));
    }
    answering(&stage, Answer::new(200).body("{}"));
    let broken = pass(&stage, "passthrough").expect(502);
    assert!(broken.json()["detail"].as_str().unwrap().contains("no array of records"), "{}", broken.json());
    let head = stage.ask("HEAD", "/InventoryItem/?passthrough", &[], "").expect(200);
    assert_eq!(head.body, "");
}

#[test]
fn without_a_list_at_the_origin_the_word_is_refused() {
    let stage = stage();
    let refused = pass(&stage, "sku=bolt&passthrough").expect(400);
    assert!(refused.json()["detail"].as_str().unwrap().contains("origin.list"));
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn it_is_described_where_it_can_be_asked() {
    for (stage, described) in [(listing(), true), (stage(), false)] {
        let document = stage.ask("GET", "/-/openapi.json", &[], "").expect(200).json();
        let parameters = document["paths"]["/InventoryItem/"]["get"]["parameters"].as_array().unwrap();
        assert_eq!(parameters.iter().any(|parameter| parameter["name"] == "passthrough"), described);
    }
}

/// F5: who takes nothing of the origin gets nothing of its list; and who asks for nothing is told of the word.
#[test]
fn f5_a_list_is_not_asked_for_where_only_what_is_cached_is_taken() {
    let stage = listing();
    let asked = stage.ask("GET", "/InventoryItem/?passthrough", &[("Cache-Control", "only-if-cached")], "").expect(504);
    assert_eq!(asked.header("cache-status"), Some("wtcache; detail=only-if-cached"));
    assert_eq!(stage.saw(), NOTHING);
    let told = pass(&stage, "").expect(400).json();
    assert!(told["detail"].as_str().unwrap().contains("?passthrough"), "{told}");
}
