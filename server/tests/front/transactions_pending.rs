//! Transactions that are answered before they are settled: `Prefer: respond-async` on `POST /-/transaction`.

use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method, When};

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Setup, Stage, setup};

const ASYNC: &str = "respond-async";

/// `a` and `b` are here, as the origin has them.
fn seeded(setup: Setup) -> Stage {
    let stage = setup.start();
    for key in ["a", "b"] {
        stage.origin.seed(key, json!({ "sku": "x", "quantity": 1, "count": 1 }));
        stage.get(key).expect(200);
    }
    stage.saw();
    stage
}

fn transact(stage: &Stage, prefer: &str, updates: &Value) -> Response {
    let body = json!({ "updates": updates }).to_string();
    stage.ask("POST", "/-/transaction", &[("Prefer", prefer)], &body)
}

fn put(key: &str, quantity: i64, undo: &str) -> Value {
    json!({ "table": "InventoryItem", "key": key, "put": { "quantity": quantity }, "undo": undo })
}

#[track_caller]
fn accepted(answer: &Response) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("preference-applied"), Some(ASYNC), "{answer:?}");
    assert_eq!(answer.header("wtcache-outcome"), Some("pending"), "{answer:?}");
    assert!(answer.header("wtcache-pending").unwrap().starts_with("?1; since=\"20"), "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

fn told(stage: &Stage, location: &str) -> Value {
    stage.ask("GET", location, &[], "").expect(200).json()
}

#[track_caller]
fn ended(stage: &Stage, location: &str, state: &str) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let told = told(stage, location);
        if told["state"] != "pending" {
            assert_eq!(told["state"], state, "{told}");
            return told;
        }
        assert!(Instant::now() < end, "it did not end: {told}");
        thread::yield_now();
    }
}

/// Outcome and undoing of each update.
fn outcomes(told: &Value) -> Vec<(&str, Option<&str>)> {
    let updates = told["updates"].as_array().unwrap();
    updates.iter().map(|update| (update["outcome"].as_str().unwrap(), update["undo"].as_str())).collect()
}

fn refuse_puts_of(stage: &Stage, key: &str) {
    stage.origin.fault(Fault::on(Method::Put, key).kind(FaultKind::Answer(Answer::new(422).body("too many"))));
}

fn shown(stage: &Stage) -> (Option<i64>, Option<i64>) {
    let quantity = |key: &str| {
        let answer = stage.get(key);
        (answer.status == 200).then(|| answer.quantity())
    };
    (quantity("a"), quantity("b"))
}

/// O1, T1: shown together before the origin has answered, also where it says how it is undone; then what the origin confirmed.
#[test]
fn o1_puts_and_deletes_are_shown_at_once_and_settled_in_the_background() {
    for undo in ["restore", "nothing"] {
        let stage = seeded(setup());
        let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
        let delete = json!({ "table": "InventoryItem", "key": "b", "delete": true, "undo": undo });
        let answer = transact(&stage, ASYNC, &json!([put("a", 2, undo), delete]));
        let location = accepted(&answer);
        let named = json!([{ "table": "InventoryItem", "key": "a" }, { "table": "InventoryItem", "key": "b" }]);
        assert_eq!(answer.json(), json!({ "outcome": "pending", "updates": named }));
        assert!(gate.wait_arrived(PATIENCE));
        assert_eq!(shown(&stage), (Some(2), None), "{undo}");
        assert_eq!(stage.get("a?confirmed").expect(200).quantity(), 1);
        let waits = told(&stage, &location);
        assert_eq!((&waits["state"], &waits["updates"]), (&json!("pending"), &named));
        gate.release();
        let settled = ended(&stage, &location, "settled");
        assert_eq!((&settled["status"], &settled["outcome"]), (&json!(200), &json!("committed")));
        assert_eq!(outcomes(&settled), [("applied", None); 2]);
        assert_eq!(settled["updates"][0]["etag"], stage.get("a").header("etag").unwrap());
        assert!(settled["updates"][0]["record"].is_null(), "records are asked for where they are");
        assert_eq!(stage.get("a").expect(200).header("wtcache-pending"), None);
        assert_eq!((stage.get("a").quantity(), stage.origin.record("b")), (2, None));
    }
}

/// O2, T2: it is as if it had never been.
#[test]
fn o2_what_is_refused_is_rolled_back_here_and_there() {
    let stage = seeded(setup());
    refuse_puts_of(&stage, "b");
    let answer = transact(&stage, ASYNC, &json!([put("a", 2, "restore"), put("b", 2, "restore")]));
    let told = ended(&stage, &accepted(&answer), "rolled-back");
    assert_eq!(
        (&told["status"], &told["detail"], &told["outcome"]),
        (&json!(422), &json!("too many"), &json!("rolled-back"))
    );
    assert_eq!(outcomes(&told), [("applied", Some("applied")), ("rejected", None)]);
    assert_eq!(shown(&stage), (Some(1), Some(1)));
    assert_eq!(stage.origin.record("a").unwrap()["quantity"], 1);
}

/// T2: what stands is told, and shown as it stands.
#[test]
fn t2_what_is_not_undone_is_partial() {
    let stage = seeded(setup());
    refuse_puts_of(&stage, "b");
    let updates = json!([{ "table": "InventoryItem", "key": "a", "put": { "quantity": 2 } }, put("b", 2, "nothing")]);
    let told = ended(&stage, &accepted(&transact(&stage, ASYNC, &updates)), "partial");
    assert_eq!((&told["status"], &told["outcome"]), (&json!(502), &json!("partial")));
    assert_eq!(outcomes(&told), [("applied", Some("not-run")), ("rejected", None)]);
    assert_eq!(shown(&stage), (Some(2), Some(1)));
}

/// D1: how long the doubt lasts yet is told anew each time.
#[test]
fn d1_what_nobody_can_know_is_in_doubt_for_so_long() {
    let stage = seeded(setup());
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    let location = accepted(&transact(&stage, ASYNC, &json!([put("a", 2, "nothing"), put("b", 2, "nothing")])));
    let doubtful = ended(&stage, &location, "in-doubt");
    assert_eq!(outcomes(&doubtful), [("in-doubt", Some("not-run")), ("not-run", None)]);
    assert_eq!((&doubtful["outcome"], &doubtful["settles_in_ms"]), (&json!("in-doubt"), &json!(10_000)));
    stage.clock.advance(std::time::Duration::from_secs(4));
    assert_eq!(told(&stage, &location)["settles_in_ms"], 6_000);
}

/// What an update makes of the record that is there, and records of other tables, are shown when they are known.
#[test]
fn patches_and_other_tables_are_shown_once_they_are_applied() {
    let stage = seeded(setup());
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    let part = json!({ "table": "Part", "key": "p", "put": { "sku": "x", "count": 5 } });
    let patch = json!({ "table": "InventoryItem", "key": "a", "patch": { "quantity": 2 } });
    let location = accepted(&transact(&stage, ASYNC, &json!([patch, put("b", 2, "restore"), part])));
    assert!(gate.wait_arrived(PATIENCE));
    assert_eq!(stage.get("a?confirmed").quantity(), 1);
    assert_eq!(stage.get("b").quantity(), 2);
    gate.release();
    let settled = ended(&stage, &location, "settled");
    assert_eq!(outcomes(&settled), [("applied", None); 3]);
    assert_eq!(shown(&stage), (Some(2), Some(2)));
    stage.saw();
    assert_eq!(stage.ask("GET", "/Part/p", &[], "").expect(200).json()["count"], 5);
    assert_eq!(stage.saw(), NOTHING);
}

/// What it forgets of other tables is forgotten, whoever waits.
#[test]
fn what_it_invalidates_elsewhere_is_forgotten() {
    let stage = seeded(setup());
    stage.ask("GET", "/Part/a", &[], "").expect(200);
    let body = json!({
        "updates": [put("b", 2, "nothing")],
        "invalidate": [{ "table": "Part", "key": "a" }],
    });
    let answer = stage.ask("POST", "/-/transaction", &[("Prefer", ASYNC)], &body.to_string());
    ended(&stage, &accepted(&answer), "settled");
    stage.saw();
    stage.ask("GET", "/Part/a", &[], "").expect(200);
    assert_eq!(stage.saw(), ["GET a"]);
}

#[test]
fn who_waits_has_the_plain_answer_and_a_condition_is_never_answered_early() {
    let stage = seeded(setup());
    let plain = transact(&stage, "respond-async, wait=20", &json!([put("a", 2, "restore")])).expect(200);
    assert_eq!((plain.header("preference-applied"), plain.header("location")), (Some("wait=20"), None));
    assert_eq!((&plain.json()["outcome"], plain.header("wtcache-outcome")), (&json!("committed"), Some("committed")));
    assert_eq!(plain.json()["updates"][0]["record"]["quantity"], 2);
    let mut conditional = put("a", 3, "restore");
    conditional["if_match"] = json!("*");
    let plain = transact(&stage, ASYNC, &json!([conditional])).expect(200);
    assert_eq!((plain.header("preference-applied"), plain.header("location")), (None, None));
    let wrong = transact(&stage, ASYNC, &json!([put("a", 3, "never")])).expect_outcome(400, "rolled-back");
    assert_eq!(wrong.header("preference-applied"), None);
}

/// B: as many as are configured, each counted by its updates; what has ended is forgotten likewise.
#[test]
fn what_is_pending_and_what_is_kept_of_it_is_bounded() {
    let stage = seeded(setup().table("optimistic: { writes: 3, outcomes: 2 }"));
    let [gate, later] = ["a", "b"].map(|key| stage.origin.gate(Method::Put, key, When::BeforeApply));
    let patch = |key: &str| json!({ "table": "InventoryItem", "key": key, "patch": { "quantity": 2 } });
    stage.origin.seed("n", json!({ "quantity": 1 }));
    let first = accepted(&transact(&stage, ASYNC, &json!([patch("a"), patch("n")])));
    assert!(gate.wait_arrived(PATIENCE));
    let refused = transact(&stage, ASYNC, &json!([patch("c"), patch("d")])).expect_outcome(503, "rolled-back");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let second = accepted(&transact(&stage, ASYNC, &json!([patch("b")])));
    gate.release();
    ended(&stage, &first, "settled");
    later.release();
    // With its one update there are three.
    let end = Instant::now() + PATIENCE;
    while stage.ask("GET", &first, &[], "").status != 404 {
        assert!(Instant::now() < end, "it is still told");
        thread::yield_now();
    }
    ended(&stage, &second, "settled");
    let third = accepted(&transact(&stage, ASYNC, &json!([patch("a"), patch("b"), patch("n")])));
    ended(&stage, &third, "settled");
}
