//! PATCH: a merge patch (RFC 7396) of the existing record, within the key's turn.

use std::thread;

use serde_json::json;
use wtcache::{Bytes, Call, Confirmed, LoadCx, Loaded, Outcome, Record, Source, SourceError, WriteCx};
use wtcache_origin::{Answer, Fault, FaultKind, Method, When};
use wtcache_server::table::ServedTable;

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, setup, stage};

const PATCHES: &str =
    "application/merge-patch+json, application/json, application/cbor, application/msgpack, application/x-msgpack";

const MERGE: &str = "application/merge-patch+json";

fn patch(stage: &Stage, key: &str, body: &str) -> Response {
    stage.ask("PATCH", &format!("/InventoryItem/{key}"), &[("Content-Type", MERGE)], body)
}

/// A stage whose origin has the record `a`, which is not resident.
fn seeded() -> Stage {
    let stage = stage();
    stage.origin.seed("a", json!({ "sku": "WB-100", "name": "Widget", "quantity": 5, "more": { "x": 1, "y": 2 } }));
    stage
}

/// What the last write that reached the origin had in its body.
fn sent(stage: &Stage) -> serde_json::Value {
    let log = stage.origin.log();
    let body = log.iter().rev().find_map(|entry| entry.body.clone()).unwrap();
    serde_json::from_str(&body).unwrap()
}

/// P6: loaded first where it is not resident; what the patch does not name stays, null removes, objects are merged.
#[test]
fn p6_a_patch_is_merged_with_a_record_that_is_loaded_for_it() {
    let stage = seeded();
    let patched = patch(&stage, "a", "{\"quantity\":4,\"name\":null,\"more\":{\"x\":null,\"z\":[3]}}")
        .expect_outcome(200, "applied");
    assert_eq!(stage.saw().len(), 2);
    let record = patched.json();
    assert_eq!((&record["quantity"], &record["sku"], record.get("name")), (&json!(4), &json!("WB-100"), None));
    assert_eq!(record["more"], json!({ "y": 2, "z": [3] }));
    assert_eq!(stage.origin.record("a").unwrap()["quantity"], 4);
    let get = stage.get("a").expect(200);
    assert_eq!((get.body, get.head.contains(patched.header("etag").unwrap())), (patched.body, true));
    assert_eq!(stage.saw(), NOTHING, "what was confirmed is served");
}

/// P6: a resident record is taken as it is: one call, the write.
#[test]
fn p6_a_patch_of_a_resident_record_is_one_call() {
    let stage = seeded();
    stage.get("a").expect(200);
    stage.saw();
    patch(&stage, "a", "{\"quantity\":4}").expect(200);
    assert_eq!(sent(&stage)["sku"], "WB-100", "the whole record is sent");
    assert_eq!(stage.saw(), ["PUT a"]);
    let put = stage.ask("HEAD", "/InventoryItem/a", &[], "").expect(200);
    assert!(put.header("cache-status").unwrap().starts_with("wtcache; hit"));
}

#[test]
fn p6_a_patch_of_a_missing_record_is_404_and_writes_nothing() {
    let stage = stage();
    let missing = patch(&stage, "a", "{\"quantity\":4}").expect_outcome(404, "rejected");
    assert_eq!(missing.header("cache-status"), Some("wtcache; detail=not-sent"));
    assert_eq!(stage.saw(), ["GET a"]);
    stage.get("b").expect(404);
    stage.saw();
    patch(&stage, "b", "{\"quantity\":4}").expect_outcome(404, "rejected");
    assert_eq!(stage.saw(), NOTHING, "the remembered absence is what is there");
}

/// P3, P6: patches at once, each of another attribute, and none is lost.
#[test]
fn p6_patches_at_once_lose_nothing() {
    for resident in [true, false] {
        let stage = seeded();
        if resident {
            stage.get("a").expect(200);
        }
        let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
        thread::scope(|scope| {
            let writers = ["sku", "name", "warehouseId"].map(|name| {
                let stage = &stage;
                scope.spawn(move || patch(stage, "a", &format!("{{\"{name}\":\"new\"}}")))
            });
            assert!(gate.wait_arrived(PATIENCE));
            // The others are in the queue, or on their way to it; whoever comes sees what those before it made.
            gate.release();
            for writer in writers {
                writer.join().unwrap().expect(200);
            }
        });
        let record = stage.origin.record("a").unwrap();
        for name in ["sku", "name", "warehouseId"] {
            assert_eq!(record[name], "new", "{record}");
        }
        assert_eq!(record["quantity"], 5);
        stage.saw();
        assert_eq!((stage.get("a").expect(200).json(), stage.saw().len()), (record, 0));
    }
}

#[test]
fn a_patch_that_is_wrong_is_refused_before_the_origin_is_called() {
    let stage = seeded();
    for (path, body, field, words) in [
        ("/InventoryItem/a", "{\"quantity\":\"five\"}", Some("quantity"), "expected Int"),
        ("/InventoryItem/a", "{\"quantity\":1,\"quantity\":2}", Some("quantity"), "given twice"),
        ("/InventoryItem/a", "{\"id\":\"b\"}", Some("id"), "the path decides the primary key"),
        ("/InventoryItem/a", "{\"id\":null}", Some("id"), "the path decides the primary key"),
        ("/InventoryItem/a", "[{\"op\":\"remove\",\"path\":\"/sku\"}]", None, "expected a JSON object, got an array"),
        ("/InventoryItem/a", "null", None, "expected a JSON object, got null"),
        ("/InventoryItem/a", "", None, "got nothing"),
        ("/Part/a", "{\"colour\":1}", Some("colour"), "unknown attribute; Part is sealed"),
        ("/Part/a", "{\"colour\":null}", Some("colour"), "unknown attribute; Part is sealed"),
        ("/Part/a", "{\"sku\":null}", Some("sku"), "required, but null"),
    ] {
        let refused = stage.ask("PATCH", path, &[("Content-Type", MERGE)], body).expect_outcome(400, "rejected").json();
        assert_eq!(refused.get("field").cloned(), field.map(|field| json!(field)), "{body}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(words), "{body}: {refused}");
    }
    let large = format!("{{\"sku\":\"{}\"}}", "x".repeat(1024 * 1024));
    patch(&stage, "a", &large).expect_outcome(413, "rejected");
    assert_eq!(stage.saw(), NOTHING);
}

/// The origin's own fields stay in the record, sealed or not: the patch did not name them.
#[test]
fn a_patch_of_a_sealed_type_keeps_the_origins_own_fields() {
    let stage = stage();
    stage.ask("PUT", "/Part/a", &[], "{\"sku\":\"x\",\"count\":1}").expect(200);
    let patched = stage.ask("PATCH", "/Part/a", &[("Content-Type", MERGE)], "{\"count\":2}").expect(200).json();
    assert_eq!((&patched["sku"], &patched["count"], &patched["revision"]), (&json!("x"), &json!(2), &json!(2)));
}

/// The record with the patch in it is bounded as the body of a PUT is.
#[test]
fn a_patch_that_makes_the_record_too_large_is_413_and_not_sent() {
    let stage = setup().origin("max_body: 200B").start();
    stage.origin.seed("a", json!({ "sku": "x".repeat(60) }));
    let refused = patch(&stage, "a", &format!("{{\"name\":\"{}\"}}", "y".repeat(150))).expect_outcome(413, "rejected");
    assert!(refused.json()["detail"].as_str().unwrap().contains("200 bytes"), "{refused:?}");
    assert_eq!(stage.saw(), ["GET a"]);
}

/// A source of the program's own, which looks at no schema: its records lack what the table requires.
struct Loose;

impl Source<Bytes> for Loose {
    fn get(&self, key: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        let record: &[u8] = if key == b"broken" { b"[1]" } else { b"{\"count\":1}" };
        Ok(Loaded::Found(Record::new(record.to_vec())))
    }

    fn put(&self, _: &[u8], value: &[u8], _: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        Outcome::Applied(Confirmed::Record(Record::new(value.to_vec())))
    }
}

/// What comes of a patch is checked as the body of a PUT is.
#[test]
fn what_comes_of_a_patch_must_be_a_record_of_the_table() {
    let stage = setup().start_with(|table, config, pool, clock| {
        ServedTable::open_with_clock(table, config, Loose, pool, clock.shared()).unwrap()
    });
    let patch = |key: &str, body: &str| stage.ask("PATCH", &format!("/Part/{key}"), &[("Content-Type", MERGE)], body);
    let refused = patch("a", "{\"count\":2}").expect_outcome(400, "rejected");
    assert_eq!(
        (&refused.json()["field"], refused.header("cache-status")),
        (&json!("sku"), Some("wtcache; detail=not-sent"))
    );
    assert_eq!(patch("a", "{\"sku\":\"x\"}").expect(200).json(), json!({ "id": "a", "count": 1, "sku": "x" }));
    patch("broken", "{\"sku\":\"x\"}").expect_outcome(502, "rejected");
}

#[test]
fn a_patch_of_another_kind_is_415_with_what_is_taken() {
    let stage = seeded();
    for kind in
        ["application/json-patch+json", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""]
    {
        let headers: Vec<_> = Some(("Content-Type", kind)).filter(|_| !kind.is_empty()).into_iter().collect();
        let refused =
            stage.ask("PATCH", "/InventoryItem/a", &headers, "{\"quantity\":4}").expect_outcome(415, "rejected");
        assert_eq!(refused.header("accept-patch"), Some(PATCHES), "{kind}");
    }
    assert_eq!(stage.saw(), NOTHING);
    for kind in [MERGE, "application/json", "Application/JSON; charset=utf-8"] {
        stage.ask("PATCH", "/InventoryItem/a", &[("Content-Type", kind)], "{\"quantity\":4}").expect(200);
    }
}

/// P2, A1, D1: what becomes of a patch is what becomes of its write.
#[test]
fn a_patch_has_the_outcomes_of_a_write() {
    let stage = seeded();
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::Answer(Answer::new(422).body("no"))));
    assert_eq!(patch(&stage, "a", "{\"quantity\":4}").expect_outcome(422, "rejected").body, "no");
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    let doubt = patch(&stage, "a", "{\"quantity\":4}").expect_outcome(502, "in-doubt").json();
    assert_eq!(doubt["settles_in_ms"], 10_000);
    stage.saw();
    assert_eq!(
        patch(&stage, "a", "{\"name\":\"Gadget\"}").expect(200).quantity(),
        4,
        "what was applied is what is patched"
    );
    assert_eq!(stage.saw(), ["GET a", "PUT a"], "in doubt, the origin is asked what the record is");
}

/// A patch whose record cannot be read was not sent.
#[test]
fn a_patch_whose_record_cannot_be_read_is_not_sent() {
    let stage = seeded();
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(500))));
    let problem = patch(&stage, "a", "{\"quantity\":4}").expect_outcome(502, "rejected").json();
    assert_eq!(problem["origin_status"], 500);
    assert_eq!(stage.saw(), ["GET a"]);
}

/// A stage whose origin merges patches, and has the record `a`, which is not resident.
fn merging(lines: &[&str]) -> Stage {
    let setup = lines.iter().fold(setup().origin("patch: merge"), |setup, line| setup.origin(line));
    let stage = setup.start();
    stage.origin.seed("a", json!({ "sku": "WB-100", "name": "Widget", "quantity": 5, "more": { "x": 1, "y": 2 } }));
    stage
}

/// P1: nothing is loaded for it, and what the origin made of it is served.
#[test]
fn p1_a_patch_that_the_origin_merges_is_one_call_and_its_record_is_served() {
    let stage = merging(&[]);
    let body = "{\"quantity\":4,\"name\":null,\"more\":{\"x\":null,\"z\":[3]}}";
    let patched = patch(&stage, "a", body).expect_outcome(200, "applied");
    assert_eq!(sent(&stage), serde_json::from_str::<serde_json::Value>(body).unwrap(), "it is sent as it is");
    assert_eq!(stage.saw(), ["PATCH a"]);
    assert_eq!(patched.json()["more"], json!({ "y": 2, "z": [3] }));
    let get = stage.get("a").expect(200);
    assert_eq!((&get.body, get.header("etag")), (&patched.body, patched.header("etag")));
    assert_eq!(stage.saw(), NOTHING);
    patch(&stage, "a", "{\"quantity\":3}").expect(200);
    assert_eq!((stage.get("a").quantity(), stage.saw()), (3, vec!["PATCH a".to_owned()]));
}

/// P1: what is not seen of it is asked for; also from an origin that keeps what it is sent, for it was sent a part.
#[test]
fn p1_a_patch_whose_record_was_not_seen_leaves_nothing_to_serve() {
    for lines in [&[][..], &["stores_verbatim: true"]] {
        let stage = merging(lines);
        stage.get("a").expect(200);
        let unseen = FaultKind::ApplyThenAnswer(Answer::new(204));
        stage.origin.fault(Fault::on(Method::Patch, "a").kind(unseen));
        patch(&stage, "a", "{\"quantity\":4}").expect_outcome(204, "applied");
        stage.saw();
        assert_eq!((stage.get("a").quantity(), stage.saw()), (4, vec!["GET a".to_owned()]));
    }
}

/// P2, A1, D1: refused, the record stays; without an answer, nobody knows, and it is not sent again.
#[test]
fn d1_a_patch_without_an_answer_leaves_its_key_in_doubt() {
    let stage = merging(&["retries: { loads: 0, writes: 3, base: 0ms }"]);
    assert_eq!(stage.get("a").quantity(), 5);
    stage.saw();
    patch(&stage, "a", "{\"quantity\":1000001}").expect_outcome(422, "rejected");
    assert_eq!((stage.get("a").quantity(), stage.saw()), (5, vec!["PATCH a".to_owned()]));
    patch(&stage, "none", "{\"quantity\":1}").expect_outcome(404, "rejected");
    stage.saw();
    stage.origin.fault(Fault::on(Method::Patch, "a").kind(FaultKind::ResetAfterApply));
    patch(&stage, "a", "{\"quantity\":4}").expect_outcome(502, "in-doubt");
    assert_eq!(stage.saw(), ["PATCH a"], "it may have been applied");
    for _ in 0..2 {
        assert_eq!((stage.get("a").quantity(), stage.saw()), (4, vec!["GET a".to_owned()]));
    }
}

/// P6: on a condition it is merged here, so that the condition is checked in the turn; what is wrong with it is said before anything is sent.
#[test]
fn p6_a_patch_on_a_condition_is_merged_here_all_the_same() {
    let stage = merging(&[]);
    let tag = stage.get("a").header("etag").unwrap().to_owned();
    stage.saw();
    let with = [("Content-Type", MERGE), ("If-Match", tag.as_str())];
    stage.ask("PATCH", "/InventoryItem/a", &with, "{\"quantity\":4}").expect(200);
    assert_eq!(stage.saw(), ["PUT a"]);
    stage.ask("PATCH", "/InventoryItem/a", &with, "{\"quantity\":3}").expect_outcome(412, "rejected");
    patch(&stage, "a", "{\"quantity\":\"4\"}").expect_outcome(400, "rejected");
    assert_eq!(stage.saw(), NOTHING);
}

/// P3: it takes its turn as any write.
#[test]
fn p3_a_patch_that_is_sent_on_waits_for_its_turn() {
    let stage = merging(&[]);
    let (_, cache) = stage.front.caches().find(|(name, _)| *name == "InventoryItem").unwrap();
    let turn = cache.prepare("a", &Call::new()).unwrap();
    let alarms = stage.clock.alarms_ever_set();
    thread::scope(|scope| {
        let patched = scope.spawn(|| patch(&stage, "a", "{\"quantity\":4}").expect(200));
        assert!(stage.clock.wait_for_alarms(alarms + 1), "it waits");
        assert_eq!(stage.saw(), NOTHING);
        turn.abort();
        assert_eq!((patched.join().unwrap().quantity(), stage.saw()), (4, vec!["PATCH a".to_owned()]));
    });
}
