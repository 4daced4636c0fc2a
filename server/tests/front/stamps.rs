//! Times that the server writes, bounds, and whole numbers beyond 32 bits, through the front.

use serde_json::{Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method};

use crate::NOTHING;
use crate::common::{Response, Stage, setup};

const TYPES: &str = "type Dated @table @export {
    id: ID @primaryKey
    made: Long @createdTime @indexed
    changed: Float @updatedTime
    count: Int @min(value: 1) @max(value: 9)
    marks: [String!] @pattern(regex: \"^[a-z]+$\")
    size: Long @indexed
}";

fn dated() -> Stage {
    setup().types(TYPES).start()
}

fn put(stage: &Stage, key: &str, body: &str) -> Response {
    stage.ask("PUT", &format!("/Dated/{key}"), &[], body)
}

fn patch(stage: &Stage, key: &str, body: &str) -> Response {
    stage.ask("PATCH", &format!("/Dated/{key}"), &[("Content-Type", "application/merge-patch+json")], body)
}

fn time(record: &Value, name: &str) -> u64 {
    record[name].as_u64().unwrap_or_else(|| panic!("{name}: {record}"))
}

/// The record as the origin has it now.
fn of_origin(stage: &Stage, key: &str) -> Value {
    stage.origin.record(key).unwrap()
}

/// 1 January 2020.
const LONG_AGO: u64 = 1_577_836_800_000;

#[test]
fn a_new_record_has_both_times_and_a_later_put_keeps_the_first() {
    let stage = dated();
    let new = put(&stage, "a", "{\"count\":1}").expect(200).json();
    assert_eq!(new, of_origin(&stage, "a"), "what was confirmed is shown");
    let made = time(&new, "made");
    assert!(made > LONG_AGO && time(&new, "changed") == made, "{new}");
    assert_eq!(stage.saw(), ["GET a", "PUT a"], "whether it is new had to be asked");
    // Of what is there, the client does not say when it was made, nor when it was changed.
    let changed = put(&stage, "a", "{\"count\":2,\"made\":5,\"changed\":7}").expect(200).json();
    assert_eq!(time(&changed, "made"), made);
    assert!(time(&changed, "changed") >= made);
    assert_eq!(stage.saw(), ["PUT a"]);
    let imported = put(&stage, "b", &format!("{{\"made\":{LONG_AGO}}}")).expect(200).json();
    assert_eq!(time(&imported, "made"), LONG_AGO);
}

#[test]
fn patches_pending_writes_and_transactions_have_them_too() {
    let stage = dated();
    stage.origin.seed("a", json!({ "made": 5, "changed": 5, "count": 1 }));
    let patched = patch(&stage, "a", "{\"count\":2,\"made\":null}").expect(200).json();
    assert_eq!((time(&patched, "made"), time(&patched, "changed") > LONG_AGO), (5, true));
    let update = json!({ "updates": [{ "table": "Dated", "key": "n", "put": { "count": 3 } }] });
    stage.ask("POST", "/-/transaction", &[], &update.to_string()).expect(200);
    assert!(time(&of_origin(&stage, "n"), "made") > LONG_AGO);
    let shown = stage.ask("PUT", "/Dated/p", &[("Prefer", "respond-async, wait=20")], "{\"count\":3}").expect(200);
    assert!(time(&shown.json(), "made") > LONG_AGO);
}

/// What is not known cannot be kept: nothing is sent.
#[test]
fn where_the_time_of_creation_cannot_be_read_nothing_is_sent() {
    let stage = dated();
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(500))));
    put(&stage, "a", "{\"count\":1}").expect_outcome(502, "rejected");
    assert_eq!(stage.saw(), ["GET a"]);
}

/// F1: an origin that keeps what it is sent has been sent the times.
#[test]
fn what_is_kept_verbatim_has_the_times_in_it() {
    let stage = setup().types(TYPES).origin("stores_verbatim: true").start();
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ApplyThenAnswer(Answer::new(204))));
    put(&stage, "a", "{\"count\":1}");
    stage.saw();
    let record = stage.ask("GET", "/Dated/a", &[], "").expect(200).json();
    assert!(time(&record, "made") > LONG_AGO, "{record}");
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn what_is_written_keeps_its_bounds_and_what_is_there_is_shown() {
    let stage = dated();
    for (body, field, words) in [
        ("{\"count\":0}", "count", "0 is less than 1"),
        ("{\"count\":10}", "count", "10 is more than 9"),
        ("{\"marks\":[\"a\",\"B\"]}", "marks", "\"B\" does not match ^[a-z]+$"),
        ("{\"size\":9007199254740993}", "size", "out of its range"),
        ("{\"size\":1.5}", "size", "expected Long"),
    ] {
        for refused in [put(&stage, "a", body), patch(&stage, "a", body)] {
            let refused = refused.expect_outcome(400, "rejected").json();
            assert_eq!(refused["field"], field, "{refused}");
            assert!(refused["detail"].as_str().unwrap().contains(words), "{refused}");
        }
    }
    assert_eq!(stage.saw(), NOTHING);
    stage.origin.seed("a", json!({ "count": 100, "marks": ["B"] }));
    assert_eq!(stage.ask("GET", "/Dated/a", &[], "").expect(200).json()["count"], 100);
    patch(&stage, "a", "{\"marks\":[\"b\"]}").expect(200);
    put(&stage, "b", "{\"count\":9,\"marks\":[],\"size\":-9007199254740992}").expect(200);
    put(&stage, "c", "{\"count\":1,\"size\":9007199254740992}").expect(200);
    let found = stage.ask("GET", "/Dated/?size=-9007199254740992", &[], "").expect(200).json();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &json!("b")));
    let document = stage.ask("GET", "/-/openapi.json", &[], "").expect(200).json();
    let written = &document["components"]["schemas"]["DatedToWrite"]["properties"]["count"];
    assert_eq!(written["anyOf"][0]["maximum"], 9, "{written}");
    assert_eq!(document["components"]["schemas"]["Dated"]["properties"]["count"]["anyOf"][0]["maximum"], i32::MAX);
}
