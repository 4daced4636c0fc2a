//! Chapter 6 through the front: `POST /-/transaction`.

use serde_json::{Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method, When};
use wtcache_server::config::Admin;

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, request_at, setup, stage};

const ITEM: &str = "InventoryItem";

fn transact(stage: &Stage, body: &Value) -> Response {
    stage.ask("POST", "/-/transaction", &[], &body.to_string())
}

fn put(table: &str, key: &str, quantity: i64) -> Value {
    let record =
        if table == "Part" { json!({ "sku": "x", "count": quantity }) } else { json!({ "quantity": quantity }) };
    json!({ "table": table, "key": key, "put": record })
}

fn with(mut update: Value, member: &str, value: Value) -> Value {
    update[member] = value;
    update
}

fn restored(update: Value) -> Value {
    with(update, "undo", json!("restore"))
}

/// `a` and `b` are here, as the origin has them.
fn seeded() -> Stage {
    let stage = stage();
    for key in ["a", "b"] {
        stage.origin.seed(key, json!({ "sku": "x", "quantity": 1, "count": 1 }));
        stage.get(key).expect(200);
    }
    stage.saw();
    stage
}

fn refuse_puts_of(stage: &Stage, key: &str) {
    stage.origin.fault(Fault::on(Method::Put, key).kind(FaultKind::Answer(Answer::new(422).body("too many"))));
}

/// Outcome and undoing of each update.
fn outcomes(answer: &Response) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let updates = answer.json()["updates"].as_array().unwrap().clone();
    updates.iter().map(|update| (text(&update["outcome"]).unwrap(), text(&update["undo"]))).collect()
}

fn pair(outcome: &str, undo: Option<&str>) -> (String, Option<String>) {
    (outcome.to_owned(), undo.map(str::to_owned))
}

fn of_origin(stage: &Stage, key: &str) -> i64 {
    let record = stage.origin.record(key).unwrap();
    record["quantity"].as_i64().or(record["count"].as_i64()).unwrap()
}

/// T1, T2: in order, and shown together once all was applied.
#[test]
fn t1_what_was_committed_is_shown_together_with_what_the_origin_confirmed() {
    let stage = seeded();
    let gate = stage.origin.gate(Method::Put, "b", When::AfterApply);
    let body = json!({ "updates": [put(ITEM, "a", 2), put(ITEM, "b", 2)] });
    let answer = std::thread::scope(|scope| {
        let running = scope.spawn(|| transact(&stage, &body));
        assert!(gate.wait_arrived(PATIENCE));
        assert_eq!((of_origin(&stage, "a"), of_origin(&stage, "b")), (2, 2));
        assert_eq!(
            (stage.get("a").quantity(), stage.get("b").quantity()),
            (1, 1),
            "the origin has both, nobody is told"
        );
        gate.release();
        running.join().unwrap().expect(200)
    });
    assert_eq!(answer.header("wtcache-outcome"), Some("committed"));
    let told = answer.json();
    assert_eq!(told["outcome"], "committed");
    assert_eq!(outcomes(&answer), [pair("applied", None), pair("applied", None)]);
    assert_eq!(stage.saw(), ["PUT a", "PUT b"]);
    let a = stage.get("a").expect(200);
    assert_eq!(
        (a.json(), a.header("etag")),
        (told["updates"][0]["record"].clone(), told["updates"][0]["etag"].as_str())
    );
    assert_eq!((stage.get("b").quantity(), stage.saw().len()), (2, 0));
}

#[test]
fn t2_where_one_is_refused_those_before_it_are_undone_and_all_is_told() {
    let stage = seeded();
    refuse_puts_of(&stage, "c");
    let updates =
        json!([restored(put(ITEM, "a", 2)), restored(put(ITEM, "n", 2)), put(ITEM, "c", 2), put(ITEM, "d", 2)]);
    let answer = transact(&stage, &json!({ "updates": updates })).expect_outcome(422, "rolled-back");
    let applied = pair("applied", Some("applied"));
    assert_eq!(outcomes(&answer), [applied.clone(), applied, pair("rejected", None), pair("not-run", None)]);
    let told = answer.json();
    assert_eq!((&told["detail"], &told["updates"][2]["status"]), (&json!("too many"), &json!(422)));
    assert_eq!(stage.saw(), ["PUT a", "GET n", "PUT n", "PUT c", "DELETE n", "PUT a"]);
    assert_eq!((of_origin(&stage, "a"), stage.origin.record("n")), (1, None));
    assert_eq!(stage.get("a").quantity(), 1);
}

#[test]
fn t2_what_is_not_undone_stands_and_is_told_as_partial() {
    let stage = seeded();
    refuse_puts_of(&stage, "b");
    let answer = transact(&stage, &json!({ "updates": [put(ITEM, "a", 2), put(ITEM, "b", 2)] }));
    let answer = answer.expect_outcome(502, "partial");
    assert_eq!(outcomes(&answer), [pair("applied", Some("not-run")), pair("rejected", None)]);
    assert_eq!((stage.get("a").quantity(), of_origin(&stage, "a")), (2, 2), "what was confirmed, not what was here");
    // Undoing that the origin refuses leaves it standing, too.
    stage.saw();
    refuse_puts_of(&stage, "b");
    refuse_puts_of(&stage, "a");
    let undo = with(
        json!({ "table": ITEM, "key": "n", "put": { "quantity": 1 } }),
        "undo",
        json!({ "put": { "quantity": 9 } }),
    );
    stage.origin.fault(Fault::on(Method::Put, "n").kind(FaultKind::DelayBeforeApply(std::time::Duration::ZERO)));
    refuse_puts_of(&stage, "n");
    let answer = transact(&stage, &json!({ "updates": [undo, put(ITEM, "b", 2)] })).expect_outcome(502, "partial");
    assert_eq!(outcomes(&answer), [pair("applied", Some("rejected")), pair("rejected", None)]);
}

#[test]
fn t2_where_an_outcome_is_not_known_it_stops_and_undoes_only_what_says_so() {
    let stage = seeded();
    stage.origin.fault(Fault::on(Method::Put, "c").kind(FaultKind::ResetAfterApply));
    let updates = json!([
        restored(put(ITEM, "a", 2)),
        with(restored(put(ITEM, "b", 2)), "undo_in_doubt", json!(true)),
        put(ITEM, "c", 2),
        put(ITEM, "d", 2),
    ]);
    let answer = transact(&stage, &json!({ "updates": updates })).expect_outcome(502, "in-doubt");
    let told = [
        pair("applied", Some("not-run")),
        pair("applied", Some("applied")),
        pair("in-doubt", Some("not-run")),
        pair("not-run", None),
    ];
    assert_eq!(outcomes(&answer), told);
    assert_eq!(answer.json()["settles_in_ms"], 10_000);
    assert_eq!((of_origin(&stage, "a"), of_origin(&stage, "b"), of_origin(&stage, "c")), (2, 1, 2));
    stage.saw();
    stage.get("c").expect(200);
    stage.get("c").expect(200);
    assert_eq!(stage.saw(), ["GET c", "GET c"], "D2");
}

/// T2: a step of another table shows its record by itself, and is undone there.
#[test]
fn t2_updates_of_several_tables_are_steps_of_one_transaction() {
    let stage = seeded();
    let updates = json!([put("Part", "p", 1), put(ITEM, "a", 2), put(ITEM, "b", 2)]);
    let answer = transact(&stage, &json!({ "updates": updates })).expect_outcome(200, "committed");
    assert_eq!((&answer.json()["updates"][0]["record"]["count"], stage.saw().len()), (&json!(1), 3));
    let part = || stage.ask("GET", "/Part/p", &[], "").expect(200).json()["count"].clone();
    assert_eq!((part(), stage.get("a").quantity(), stage.saw().len()), (json!(1), 2, 0));

    refuse_puts_of(&stage, "b");
    let updates = json!([restored(put("Part", "p", 3)), restored(put(ITEM, "a", 3)), put(ITEM, "b", 3)]);
    let answer = transact(&stage, &json!({ "updates": updates })).expect_outcome(422, "rolled-back");
    assert_eq!(outcomes(&answer)[0], pair("applied", Some("applied")));
    assert_eq!(stage.saw(), ["PUT p", "PUT a", "PUT b", "PUT a", "PUT p"]);
    assert_eq!((part(), of_origin(&stage, "p"), stage.get("a").quantity()), (json!(1), 1, 2));

    // What another table refuses is told in the words of a plain write.
    let part_if = with(put("Part", "p", 4), "if_match", json!("\"seen\""));
    let answer = transact(&stage, &json!({ "updates": [restored(put(ITEM, "a", 3)), put(ITEM, "b", 3), part_if] }));
    let told = answer.expect_outcome(502, "partial").json();
    assert_eq!((&told["updates"][2]["status"], &told["updates"][1]["undo"]), (&json!(412), &json!("not-run")));
    stage.origin.fault(Fault::on(Method::Put, "p").kind(FaultKind::ResetAfterApply));
    let updates = json!([put("Part", "p", 5), put(ITEM, "a", 4), put(ITEM, "b", 4)]);
    let told = transact(&stage, &json!({ "updates": updates })).expect_outcome(502, "in-doubt").json();
    assert_eq!((&told["updates"][0]["settles_in_ms"], of_origin(&stage, "a")), (&json!(10_000), 2));
}

/// P6: conditions and patches are of the record that is there in the turn; what does not hold was not sent.
#[test]
fn p6_conditions_and_patches_are_checked_in_the_turns() {
    let stage = seeded();
    let tag = stage.get("a").header("etag").unwrap().to_owned();
    let unmet = with(put(ITEM, "a", 2), "if_match", json!("\"seen\""));
    let told = transact(&stage, &json!({ "updates": [unmet, put(ITEM, "b", 2)] })).expect_outcome(412, "rolled-back");
    assert_eq!((&told.json()["current_etag"], told.header("etag"), stage.saw().len()), (&json!(tag), None, 0));
    let exists = with(put(ITEM, "b", 2), "if_none_match", json!("*"));
    transact(&stage, &json!({ "updates": [exists] })).expect_outcome(412, "rolled-back");
    let gone = json!({ "table": ITEM, "key": "gone", "patch": { "quantity": 2 } });
    transact(&stage, &json!({ "updates": [gone] })).expect_outcome(404, "rolled-back");
    assert_eq!(stage.saw(), ["GET gone"]);

    let tag = tag.strip_suffix('"').unwrap().to_owned() + ";cbor\"";
    let met = json!({ "table": ITEM, "key": "a", "patch": { "quantity": 5, "name": "n" }, "if_match": tag });
    let deleted = json!({ "table": ITEM, "key": "b", "delete": true, "if_match": "*" });
    let told = transact(&stage, &json!({ "updates": [met, deleted] })).expect_outcome(200, "committed").json();
    assert_eq!(told["updates"][0]["record"]["sku"], "x", "merged");
    assert_eq!((of_origin(&stage, "a"), stage.origin.record("b")), (5, None));
    assert_eq!(stage.saw(), ["PUT a", "DELETE b"]);
}

/// T4: here and in other tables, where something was applied, and else not.
#[test]
fn t4_what_is_to_be_forgotten_goes_with_what_was_applied_only() {
    let stage = stage();
    for key in ["of:1", "of:*", "other", "a"] {
        stage.origin.seed(key, json!({ "sku": "x", "quantity": 1 }));
    }
    stage.origin.seed("p", json!({ "sku": "x", "count": 1 }));
    let held = || {
        for key in ["of:1", "of:*", "other"] {
            stage.get(key).expect(200);
        }
        stage.ask("GET", "/Part/p", &[], "").expect(200);
        stage.saw()
    };
    held();
    let forget = |selectors: Value| json!({ "updates": [put(ITEM, "a", 2)], "invalidate": selectors });
    let all = json!([{ "table": ITEM, "pattern": "of:*" }, { "table": "Part", "tag": "sku=x" }]);
    refuse_puts_of(&stage, "a");
    transact(&stage, &forget(all.clone())).expect_outcome(422, "rolled-back");
    assert_eq!(stage.saw(), ["PUT a"]);
    assert_eq!(held(), NOTHING);
    transact(&stage, &forget(all.clone())).expect_outcome(200, "committed");
    assert_eq!(held(), ["PUT a", "GET of:1", "GET of:*", "GET p"]);
    transact(&stage, &forget(json!([{ "table": ITEM, "key": "of:*" }]))).expect_outcome(200, "committed");
    assert_eq!(held(), ["PUT a", "GET of:*"], "a key is no pattern");
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    transact(&stage, &forget(all)).expect_outcome(502, "in-doubt");
    assert_eq!(held(), ["PUT a", "GET of:1", "GET of:*", "GET p"]);
}

#[test]
fn a_transaction_that_is_not_understood_whole_sends_nothing() {
    let stage = seeded();
    let of = |update: Value| json!({ "updates": [put(ITEM, "a", 2), update] });
    let many: Vec<Value> = (0..101).map(|n| put(ITEM, &format!("k{n}"), 1)).collect();
    for (body, field, words) in [
        (json!([]), Value::Null, "expected a JSON object"),
        (json!({}), json!("updates"), "at least one"),
        (json!({ "updates": {} }), json!("updates"), "expected an array"),
        (json!({ "updates": many }), json!("updates"), "more than 100"),
        (json!({ "update": [] }), json!("update"), "did you mean updates?"),
        (of(json!(1)), json!("updates[1]"), "expected an object"),
        (of(put("Item", "b", 2)), json!("updates[1].table"), "there is no table"),
        (of(put(ITEM, "..", 2)), json!("updates[1].key"), "a folder"),
        (of(json!({ "table": ITEM, "put": {} })), json!("updates[1].key"), "expected a string"),
        (of(put(ITEM, "a", 3)), json!("updates[1].key"), "an earlier update"),
        (of(json!({ "table": ITEM, "key": "b" })), json!("updates[1]"), "one of put, patch, delete"),
        (of(with(put(ITEM, "b", 2), "delete", json!(true))), json!("updates[1].delete"), "put is given too"),
        (of(json!({ "table": ITEM, "key": "b", "delete": false })), json!("updates[1].delete"), "expected true"),
        (
            of(json!({ "table": ITEM, "key": "b", "put": { "quantity": "x" } })),
            json!("updates[1].put.quantity"),
            "expected Int",
        ),
        (of(json!({ "table": ITEM, "key": "b", "patch": { "id": "c" } })), json!("updates[1].patch.id"), "primary key"),
        (of(with(put(ITEM, "b", 2), "undo", json!("redo"))), json!("updates[1].undo"), "\"restore\""),
        (
            of(with(put(ITEM, "b", 2), "undo", json!({ "put": { "quantity": "x" } }))),
            json!("updates[1].undo.put.quantity"),
            "expected Int",
        ),
        (
            of(with(put(ITEM, "b", 2), "undo_in_doubt", json!(true))),
            json!("updates[1].undo_in_doubt"),
            "does not say how",
        ),
        (of(with(put(ITEM, "b", 2), "if_match", json!("r1"))), json!("updates[1].if_match"), "double quotes"),
        (of(with(put(ITEM, "b", 2), "ifmatch", json!("*"))), json!("updates[1].ifmatch"), "did you mean if_match?"),
        (
            json!({ "updates": [put(ITEM, "a", 2)], "invalidate": [{ "table": ITEM, "pattern": "a\\b" }] }),
            json!("invalidate[0].pattern"),
            "invalidate[0].pattern",
        ),
        (
            json!({ "updates": [put(ITEM, "a", 2)], "invalidate": [{ "table": "Part", "pattern": "a\\b" }] }),
            json!("invalidate[0].pattern"),
            "invalidate[0].pattern",
        ),
        (
            json!({ "updates": [put(ITEM, "a", 2)], "invalidate": [{ "table": ITEM }] }),
            json!("invalidate[0]"),
            "one of",
        ),
    ] {
        let refused = transact(&stage, &body).expect_outcome(400, "rolled-back").json();
        assert_eq!(refused["field"], field, "{body}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(words), "{body}: {refused}");
    }
    let large = json!({ "updates": [{ "table": ITEM, "key": "b", "put": { "sku": "x".repeat(1024 * 1024) } }] });
    transact(&stage, &large).expect_outcome(413, "rolled-back");
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(stage.ask("GET", "/-/transaction", &[], "").expect(405).header("allow"), Some("POST, OPTIONS"));
}

#[test]
fn a_transaction_is_a_write_of_records_and_stands_where_they_do() {
    let stage = setup().admin(Admin::At(([127, 0, 0, 1], 0).into())).start();
    let body = json!({ "updates": [put(ITEM, "a", 2)] });
    transact(&stage, &body).expect(200);
    assert_eq!(request_at(stage.admin.unwrap(), "POST", "/-/transaction", &[], &body.to_string()).status, 404);
    assert_eq!(stage.saw(), ["PUT a"]);
}
