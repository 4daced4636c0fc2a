//! I1: `POST /-/invalidate`.

use std::thread;

use serde_json::{Value, json};
use wtcache_origin::{Method, When};

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, stage};

fn invalidate(stage: &Stage, body: &str) -> Response {
    stage.ask("POST", "/-/invalidate", &[], body)
}

#[track_caller]
fn forgets(stage: &Stage, what: Value, forgotten: u64, scanned: bool) {
    let mut body = json!({ "table": "InventoryItem" });
    body.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    let told = invalidate(stage, &body.to_string()).expect(200);
    assert_eq!(told.json(), json!({ "table": "InventoryItem", "forgotten": forgotten, "scanned": scanned }), "{body}");
    assert_eq!(told.header("cache-status"), Some("wtcache; detail=local"));
    assert_eq!(stage.saw(), NOTHING, "no call of the origin");
}

/// Records of two shops, all resident; those named were changed at the origin since, and nobody told the cache.
fn shops() -> Stage {
    let stage = stage();
    for (n, key) in ["shop:1:nuts", "shop:1:bolts", "shop:2:nuts", "other"].into_iter().enumerate() {
        let warehouse = if n % 2 == 0 { "east" } else { "west" };
        stage.origin.seed(key, json!({ "quantity": 1, "warehouseId": warehouse }));
        stage.get(key).expect(200);
        stage.origin.seed(key, json!({ "quantity": 2, "warehouseId": warehouse }));
    }
    stage.saw();
    stage
}

/// The keys whose change is seen now.
#[track_caller]
fn expect_changed(stage: &Stage, changed: &[&str]) {
    for key in ["shop:1:nuts", "shop:1:bolts", "shop:2:nuts", "other"] {
        let quantity = if changed.contains(&key) { 2 } else { 1 };
        assert_eq!(stage.get(key).expect(200).quantity(), quantity, "{key}");
    }
    let asked: Vec<_> = changed.iter().map(|key| format!("GET {key}")).collect();
    let mut saw = stage.saw();
    saw.sort();
    let mut asked = asked;
    asked.sort();
    assert_eq!(saw, asked);
}

#[test]
fn i1_a_key_that_was_changed_elsewhere_is_asked_for_again() {
    let stage = shops();
    forgets(&stage, json!({ "key": "other" }), 1, false);
    expect_changed(&stage, &["other"]);
}

#[test]
fn i1_keys_are_forgotten_together() {
    let stage = shops();
    forgets(&stage, json!({ "keys": ["shop:1:nuts", "other", "other", "not here"] }), 2, false);
    expect_changed(&stage, &["shop:1:nuts", "other"]);
    forgets(&stage, json!({ "keys": [] }), 0, false);
}

#[test]
fn i1_a_prefix_a_pattern_a_tag_and_all() {
    let stage = shops();
    forgets(&stage, json!({ "prefix": "shop:1:" }), 2, true);
    expect_changed(&stage, &["shop:1:nuts", "shop:1:bolts"]);
    let stage = shops();
    forgets(&stage, json!({ "pattern": "shop:*:nuts" }), 2, true);
    expect_changed(&stage, &["shop:1:nuts", "shop:2:nuts"]);
    let stage = shops();
    forgets(&stage, json!({ "tag": "warehouseId=west" }), 2, false);
    expect_changed(&stage, &["shop:1:bolts", "other"]);
    let stage = shops();
    forgets(&stage, json!({ "all": true }), 4, true);
    expect_changed(&stage, &["shop:1:nuts", "shop:1:bolts", "shop:2:nuts", "other"]);
}

/// A tag is a value of an indexed attribute, of its type; the other table has none of it.
#[test]
fn i1_a_tag_is_the_value_of_an_indexed_attribute_of_any_type() {
    let stage = stage();
    let part = "{\"sku\":\"a=b\",\"count\":7,\"weight\":1.50,\"spare\":true}";
    for (tag, forgotten) in
        [("sku=a=b", 1), ("count=7", 1), ("count=8", 0), ("weight=1.5", 1), ("spare=true", 1), ("spare=false", 0)]
    {
        stage.ask("PUT", "/Part/p", &[], part).expect(200);
        let told = invalidate(&stage, &json!({ "table": "Part", "tag": tag }).to_string()).expect(200).json();
        assert_eq!(told["forgotten"], forgotten, "{tag}");
    }
}

/// I1: a load that is under way now is not retained.
#[test]
fn i1_a_load_under_way_is_not_retained() {
    for what in
        [json!({ "key": "a" }), json!({ "prefix": "a" }), json!({ "tag": "warehouseId=east" }), json!({ "all": true })]
    {
        let stage = stage();
        stage.origin.seed("a", json!({ "quantity": 1, "warehouseId": "east" }));
        let gate = stage.origin.gate(Method::Get, "a", When::AfterApply);
        thread::scope(|scope| {
            let reader = scope.spawn(|| stage.get("a"));
            assert!(gate.wait_arrived(PATIENCE));
            stage.origin.seed("a", json!({ "quantity": 2, "warehouseId": "east" }));
            let mut body = json!({ "table": "InventoryItem" });
            body.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
            invalidate(&stage, &body.to_string()).expect(200);
            gate.release();
            reader.join().unwrap().expect(200);
        });
        assert_eq!(stage.get("a").expect(200).quantity(), 2, "{what}");
    }
}

#[test]
fn a_request_that_is_wrong_names_its_member_and_forgets_nothing() {
    let stage = shops();
    for (body, field, words) in [
        ("", None, "got nothing"),
        ("[]", None, "expected a JSON object"),
        ("{\"key\":\"other\"}", Some("table"), "missing"),
        ("{\"table\":7,\"key\":\"other\"}", Some("table"), "expected a string"),
        ("{\"table\":\"Items\",\"key\":\"other\"}", Some("table"), "served here: InventoryItem, Part"),
        ("{\"table\":\"Hidden\",\"all\":true}", Some("table"), "there is no table"),
        ("{\"table\":\"InventoryItem\"}", None, "key, keys, prefix, pattern, tag, all"),
        ("{\"table\":\"InventoryItem\",\"kyes\":[\"other\"]}", Some("kyes"), "did you mean keys?"),
        ("{\"table\":\"InventoryItem\",\"key\":\"other\",\"all\":true}", Some("all"), "key is given too"),
        ("{\"table\":\"InventoryItem\",\"key\":\"other\",\"key\":\"a\"}", Some("key"), "given twice"),
        ("{\"table\":\"InventoryItem\",\"key\":7}", Some("key"), "expected a string"),
        ("{\"table\":\"InventoryItem\",\"key\":\"..\"}", Some("key"), "folder"),
        ("{\"table\":\"InventoryItem\",\"keys\":\"other\"}", Some("keys"), "expected an array"),
        ("{\"table\":\"InventoryItem\",\"keys\":[\"other\",\"\"]}", Some("keys[1]"), "the key is empty"),
        ("{\"table\":\"InventoryItem\",\"keys\":[\"other\",7]}", Some("keys[1]"), "expected a string"),
        ("{\"table\":\"InventoryItem\",\"prefix\":\"\"}", Some("prefix"), "\"all\": true"),
        ("{\"table\":\"InventoryItem\",\"prefix\":null}", Some("prefix"), "expected a string"),
        ("{\"table\":\"InventoryItem\",\"pattern\":\"a\\\\b\"}", Some("pattern"), "byte 1"),
        ("{\"table\":\"InventoryItem\",\"tag\":\"east\"}", Some("tag"), "attribute=value"),
        ("{\"table\":\"InventoryItem\",\"tag\":\"colour=red\"}", Some("tag"), "no attribute"),
        ("{\"table\":\"InventoryItem\",\"tag\":\"quantity=1\"}", Some("tag"), "not @indexed"),
        ("{\"table\":\"Part\",\"tag\":\"count=many\"}", Some("tag"), "expected Int"),
        ("{\"table\":\"InventoryItem\",\"all\":false}", Some("all"), "expected true"),
        ("{\"table\":\"InventoryItem\",\"all\":1}", Some("all"), "expected true"),
    ] {
        let refused = invalidate(&stage, body).expect(400);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        let refused = refused.json();
        assert_eq!(refused.get("field").cloned(), field.map(|field| json!(field)), "{body}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(words), "{body}: {refused}");
    }
    let large = format!("{{\"table\":\"InventoryItem\",\"key\":\"{}\"}}", "x".repeat(1024 * 1024));
    invalidate(&stage, &large).expect(413);
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD"] {
        assert_eq!(stage.ask(method, "/-/invalidate", &[], "").expect(405).header("allow"), Some("POST, OPTIONS"));
    }
    expect_changed(&stage, &[]);
}
