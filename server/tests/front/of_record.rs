//! What is asked of one record beside its key: `select(…)`, `?confirmed`, and what is none of these.

use serde_json::{Value, json};

use crate::NOTHING;
use crate::common::{Response, Stage, stage};

/// The record `a` is resident.
fn with_a() -> Stage {
    let stage = stage();
    stage.put("a", r#"{"sku":"WB-100","quantity":5,"warehouseId":"east"}"#).expect(200);
    stage.saw();
    stage
}

fn ask(stage: &Stage, query: &str) -> Response {
    stage.get(&format!("a?{query}"))
}

#[test]
fn a_record_is_shown_in_part() {
    let stage = with_a();
    let tag = stage.get("a").header("etag").unwrap().to_owned();
    for (query, expected) in [
        ("select(sku)", json!("WB-100")),
        ("select(name)", Value::Null),
        ("select(quantity,sku)", json!({ "quantity": 5, "sku": "WB-100" })),
        ("select(sku,)", json!({ "sku": "WB-100" })),
        ("select([sku,name,quantity])", json!(["WB-100", null, 5])),
        ("confirmed&select(quantity)", json!(5)),
        ("select(quantity)&confirmed=false", json!(5)),
    ] {
        let part = ask(&stage, query).expect(200);
        assert_eq!(part.json(), expected, "{query}");
        assert_eq!(part.header("etag"), Some(tag.as_str()), "it is another whenever the record is: {query}");
    }
    let known = stage.ask("GET", "/InventoryItem/a?select(sku)", &[("If-None-Match", &tag)], "").expect(304);
    assert_eq!(known.header("content-length"), None, "{known:?}");
    let csv = stage.ask("GET", "/InventoryItem/a?select(sku,quantity)", &[("Accept", "text/csv")], "").expect(200);
    assert_eq!(csv.body, "sku,quantity\r\nWB-100,5\r\n");
    let csv = stage.ask("GET", "/InventoryItem/a?select([sku,quantity])", &[("Accept", "text/csv")], "").expect(200);
    assert_eq!(csv.body, "WB-100,5\r\n");
    assert_eq!(
        stage.ask("HEAD", "/InventoryItem/a?select(sku)", &[], "").expect(200).header("content-length"),
        Some("8")
    );
    assert_eq!(stage.saw(), NOTHING);
    ask(&stage, "select(sku)").expect(200);
    stage.get("b?select(sku)").expect(404);
}

#[test]
fn what_is_not_asked_of_a_record_is_told_with_its_place() {
    let stage = with_a();
    for (query, position, words) in [
        ("sku=WB-100", 1, "/InventoryItem/?sku=…"),
        ("confimed", 1, "did you mean confirmed?"),
        ("confirmed&foo=bar", 11, "confirmed and select("),
        ("é=1&confirmed", 1, "confirmed and select("),
        ("select(sku)&limit(1)", 13, "of queries"),
        ("sort(sku)", 1, "of queries"),
        ("select(sku", 1, "not closed"),
        ("select(sku)&select(sku)", 13, "given twice"),
        ("select(colour)", 8, "no attribute \"colour\""),
        ("confirmed&confirmed", 11, "given twice"),
        ("confirmed&", 11, "confirmed and select("),
    ] {
        let query = query.replace('é', "%C3%A9");
        let refused = ask(&stage, &query).expect(400).json();
        assert_eq!(refused["position"], position, "{query}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(words), "{query}: {refused}");
    }
    ask(&stage, "confirmed=perhaps").expect(400);
    ask(&stage, "").expect(200);
    assert_eq!(stage.saw(), NOTHING);
}

/// A1: what a write was given beside its record is not passed over: nothing is sent.
#[test]
fn a1_a_write_takes_no_query() {
    let stage = with_a();
    for method in ["PUT", "PATCH", "DELETE"] {
        let path = "/InventoryItem/a?version=3";
        let refused = stage.ask(method, path, &[("Content-Type", "application/json")], r#"{"quantity":1}"#);
        let refused = refused.expect_outcome(400, "rejected").json();
        assert!(refused["detail"].as_str().unwrap().contains("takes no query"), "{refused}");
    }
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(stage.get("a").expect(200).quantity(), 5);
}

/// As the tutorial system has it, `/{Table}/{key}.{attribute}` is one attribute: here a key may have a dot.
#[test]
fn who_asks_for_an_attribute_by_a_dot_is_told_how() {
    let stage = with_a();
    let told = |key: &str| stage.get(key).expect(404).json()["detail"].as_str().unwrap().to_owned();
    assert!(told("a.sku").contains("/InventoryItem/{key}?select(sku)"), "{}", told("a.sku"));
    assert!(!told("a.colour").contains("select"), "{}", told("a.colour"));
    assert!(stage.get("a/").expect(404).json()["detail"].as_str().unwrap().contains("does not end in a slash"));
}
