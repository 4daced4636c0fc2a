//! P5: a rule of the program's own inside each write, through the front. It is the one of `examples/quantity_rule.rs`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[allow(dead_code, reason = "an example is a program")]
#[path = "../examples/quantity_rule.rs"]
mod quantity_rule;

use std::thread;
use std::time::Duration;

use common::{PATIENCE, Response, Stage, setup};
use serde_json::{Map, Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method, When};
use wtcache_server::hook::{RuleCx, hooked};
use wtcache_server::record::BodyError;
use wtcache_server::table::{ServedTable, origin_of};

const NOTHING: [&str; 0] = [];

fn stage() -> Stage {
    setup().start_with(|table, config, pool, clock| {
        let source = hooked(origin_of(table, &config.origin).unwrap(), quantity_rule::rule);
        ServedTable::open_with_clock(table, config, source, pool, clock.shared()).unwrap()
    })
}

fn seeded() -> Stage {
    let stage = stage();
    stage.origin.seed("a", json!({ "sku": "WB-100", "name": "Widget", "quantity": 5 }));
    stage
}

#[track_caller]
fn below_zero(refused: Response) {
    let problem = refused.expect_outcome(422, "rejected").json();
    assert_eq!(problem["field"], "quantity", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("below zero"), "{problem}");
}

/// P5: the existing record is loaded if it is not resident: one GET, then one PUT of the whole record.
#[test]
fn partial_data_is_merged_with_a_record_that_is_loaded_for_it() {
    let stage = seeded();
    let put = stage.put("a", "{\"quantity\":4}").expect(200).json();
    assert_eq!((&put["sku"], &put["name"], &put["quantity"]), (&json!("WB-100"), &json!("Widget"), &json!(4)));
    let sent = stage.origin.log()[1].body.clone().unwrap();
    assert!(sent.contains("\"name\":\"Widget\"") && sent.contains("\"quantity\":4"), "{sent}");
    assert_eq!(stage.saw(), ["GET a", "PUT a"]);
    assert_eq!(stage.get("a").expect(200).json(), put);
    assert_eq!(stage.saw(), NOTHING, "what was confirmed is served");
}

/// P5: a resident record is taken as it is.
#[test]
fn partial_data_is_merged_with_the_resident_record_without_a_load() {
    let stage = seeded();
    stage.get("a").expect(200);
    stage.put("a", "{\"name\":\"Gadget\"}").expect(200);
    assert_eq!(stage.saw(), ["GET a", "PUT a"]);
    let record = stage.origin.record("a").unwrap();
    assert_eq!((&record["name"], &record["quantity"]), (&json!("Gadget"), &json!(5)));
}

/// P5, P6: a patch is a put of the whole record, so that the rule sees it as one.
#[test]
fn the_rule_runs_on_a_patch_as_on_a_put() {
    let stage = seeded();
    stage.get("a").expect(200);
    stage.saw();
    let patch =
        |body: &str| stage.ask("PATCH", "/InventoryItem/a", &[("Content-Type", "application/merge-patch+json")], body);
    below_zero(patch("{\"quantity\":-1}"));
    assert_eq!(stage.saw(), NOTHING);
    let patched = patch("{\"quantity\":4}").expect(200).json();
    assert_eq!((&patched["name"], &patched["quantity"]), (&json!("Widget"), &json!(4)));
    assert_eq!(stage.saw(), ["PUT a"]);
}

/// P5: whether the rule lets a write through is known in its turn: nothing is shown or answered before that, whatever is preferred.
#[test]
fn p5_a_write_with_a_rule_in_it_is_never_answered_before_the_rule() {
    let stage = seeded();
    let write = |method: &str, body: &str| {
        let headers = [("Content-Type", "application/merge-patch+json"), ("Prefer", "respond-async")];
        stage.ask(method, "/InventoryItem/a", &headers, body)
    };
    for method in ["PUT", "PATCH"] {
        below_zero(write(method, "{\"quantity\":-1}"));
    }
    let put = write("PUT", "{\"quantity\":4}").expect_outcome(200, "applied");
    assert_eq!((put.header("preference-applied"), put.header("location")), (None, None));
    assert_eq!(put.json()["name"], "Widget", "merged by the rule");
    write("DELETE", "").expect_outcome(204, "applied");
}

#[test]
fn a_record_that_does_not_exist_yet_is_written_as_sent() {
    let stage = stage();
    stage.put("new", "{\"quantity\":0}").expect(200);
    assert_eq!(stage.saw(), ["GET new", "PUT new"]);
    stage.get("gone").expect(404);
    stage.put("gone", "{\"quantity\":1}").expect(200);
    assert_eq!(stage.saw(), ["GET gone", "PUT gone"], "the remembered absence is the existing record");
}

/// P5: a write that the rule refuses was not sent, and changes nothing.
#[test]
fn a_write_that_the_rule_refuses_is_422_and_not_sent() {
    let stage = seeded();
    below_zero(stage.put("a", "{\"quantity\":-1}"));
    assert_eq!(stage.saw(), ["GET a"], "the existing record was asked for, nothing was written");
    stage.get("a").expect(200);
    stage.saw();
    below_zero(stage.put("a", "{\"quantity\":-1}"));
    assert_eq!(stage.get("a").expect(200).quantity(), 5);
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(stage.ask("PUT", "/InventoryItem/a", &[], "{\"quantity\":\"x\"}").status, 400, "the schema comes first");
}

/// P3, P5: the rule runs in the key's turn, so that partial writes at once lose nothing.
#[test]
fn partial_writes_at_once_lose_nothing() {
    for round in 0..10 {
        let stage = stage();
        stage.origin.seed("a", json!({ "quantity": 5 }));
        if round % 2 == 0 {
            stage.get("a").expect(200);
        }
        let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
        thread::scope(|scope| {
            for body in ["{\"name\":\"Widget\"}", "{\"sku\":\"WB-100\"}", "{\"warehouseId\":\"east\"}"] {
                let stage = &stage;
                scope.spawn(move || stage.put("a", body).expect(200));
            }
            assert!(gate.wait_arrived(PATIENCE));
            gate.release();
        });
        let record = stage.origin.record("a").unwrap();
        for (name, value) in [("name", "Widget"), ("sku", "WB-100"), ("warehouseId", "east")] {
            assert_eq!(record[name], value, "{record}");
        }
        assert_eq!(record["quantity"], 5);
        stage.saw();
        assert_eq!((stage.get("a").expect(200).json(), stage.saw().len()), (record, 0));
    }
}

/// P5: where the existing record cannot be had, nothing is sent.
#[test]
fn a_write_whose_existing_record_cannot_be_read_is_not_sent() {
    let stage = seeded();
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(500))));
    let problem = stage.put("a", "{\"quantity\":4}").expect_outcome(502, "rejected").json();
    assert_eq!(problem["origin_status"], 500);
    assert_eq!(stage.saw(), ["GET a"]);
    assert_eq!(stage.origin.record("a").unwrap()["quantity"], 5);
}

/// A2: a rule that panics was not sent, so that nothing is in doubt.
#[test]
fn a_write_whose_rule_panics_is_not_sent() {
    let stage = setup().start_with(|table, config, pool, clock| {
        let source = hooked(origin_of(table, &config.origin).unwrap(), |_, _| panic!("a rule that panics"));
        ServedTable::open_with_clock(table, config, source, pool, clock.shared()).unwrap()
    });
    stage.put("a", "{\"quantity\":4}").expect_outcome(502, "rejected");
    assert_eq!(stage.saw(), ["GET a"]);
}

/// D2, P5: in doubt, the origin is asked what the existing record is.
#[test]
fn in_doubt_the_existing_record_is_asked_for() {
    let stage = seeded();
    stage.put("a", "{\"quantity\":4}").expect(200);
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    stage.put("a", "{\"quantity\":3}").expect_outcome(502, "in-doubt");
    stage.saw();
    let put = stage.put("a", "{\"name\":\"Gadget\"}").expect(200).json();
    assert_eq!((&put["name"], &put["quantity"]), (&json!("Gadget"), &json!(3)));
    assert_eq!(stage.saw(), ["GET a", "PUT a"]);
    stage.clock.advance(Duration::from_secs(10));
    assert_eq!(stage.get("a").expect(200).quantity(), 3);
}

/// Writes down who asks, and what was there.
fn signs(cx: &RuleCx<'_>, mut sent: Map<String, Value>) -> Result<Map<String, Value>, BodyError> {
    sent.insert("by".to_owned(), cx.principal().into());
    sent.insert("was".to_owned(), cx.existing().and_then(|record| record.get("quantity").cloned()).unwrap_or_default());
    Ok(sent)
}

/// P5: with its name of the configuration, whichever way a write goes; nobody's name is taken for another's.
#[test]
fn the_rule_is_told_who_asks_and_what_was_there() {
    let hash = ring::digest::digest(&ring::digest::SHA256, b"a-token");
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let auth = format!(
        "auth:\n  anonymous: {{ \"*\": \"read, write\" }}\n  principals:\n    \
         shop: {{ token_sha256: {hash}, tables: {{ \"*\": \"read, write\" }} }}"
    );
    let stage = setup().top(&auth).start_with(|table, config, pool, clock| {
        let source = hooked(origin_of(table, &config.origin).unwrap(), signs);
        ServedTable::open_with_clock(table, config, source, pool, clock.shared()).unwrap()
    });
    let shop = ("Authorization", "Bearer a-token");
    let merge = ("Content-Type", "application/merge-patch+json");
    let ask = |method: &str, headers: &[(&str, &str)], quantity: i64| {
        let body = json!({ "quantity": quantity }).to_string();
        stage.ask(method, "/InventoryItem/a", headers, &body).expect(200).json()
    };
    let signed = |record: &Value| (record["by"].clone(), record["was"].clone());
    for round in 0..3 {
        let was = if round == 0 { Value::Null } else { json!(4) };
        assert_eq!(signed(&ask("PUT", &[shop], 1)), (json!("shop"), was));
        assert_eq!(signed(&ask("PUT", &[], 2)), (Value::Null, json!(1)));
        assert_eq!(signed(&ask("PATCH", &[shop, merge], 3)), (json!("shop"), json!(2)));
        // A step of the transaction's own table, and one of another.
        let update = |table: &str, key: &str| json!({ "table": table, "key": key, "put": { "quantity": 4 } });
        let part = json!({ "table": "Part", "key": "c", "put": { "sku": "x" } });
        let updates = [update("InventoryItem", "a"), update("InventoryItem", "b"), part];
        let body = json!({ "updates": updates }).to_string();
        for headers in [&[shop][..], &[]] {
            let done = stage.ask("POST", "/-/transaction", headers, &body).expect(200).json();
            let name = if headers.is_empty() { Value::Null } else { json!("shop") };
            for update in done["updates"].as_array().unwrap() {
                assert_eq!(update["record"]["by"], name, "{update}");
            }
        }
    }
}
