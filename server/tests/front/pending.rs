//! Writes that are answered before they are settled: `Prefer: respond-async`, and what becomes of them.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wtcache::{Call, LoadError};
use wtcache_origin::{Answer, Fault, FaultKind, Method, When};

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, setup, stage};

const ASYNC: (&str, &str) = ("Prefer", "respond-async");
const MERGE: (&str, &str) = ("Content-Type", "application/merge-patch+json");

/// The record `a` is resident with quantity 1, and the origin saw nothing yet.
fn with_a(stage: Stage) -> Stage {
    stage.put_quantity("a", 1).expect(200);
    stage.saw();
    stage
}

fn put(stage: &Stage, key: &str, quantity: i64) -> Response {
    let body = format!("{{\"sku\":\"WB-100\",\"quantity\":{quantity}}}");
    stage.ask("PUT", &format!("/InventoryItem/{key}"), &[ASYNC], &body)
}

fn patch(stage: &Stage, key: &str, body: &str) -> Response {
    stage.ask("PATCH", &format!("/InventoryItem/{key}"), &[MERGE, ASYNC], body)
}

fn confirmed(stage: &Stage, key: &str) -> Response {
    stage.get(&format!("{key}?confirmed"))
}

/// Where to ask what became of it.
#[track_caller]
fn accepted(answer: &Response) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("preference-applied"), Some("respond-async"), "{answer:?}");
    assert_eq!(answer.header("wtcache-outcome"), Some("pending"), "{answer:?}");
    assert_eq!(answer.header("cache-status"), Some("wtcache; detail=pending"), "{answer:?}");
    assert!(answer.header("wtcache-pending").unwrap().starts_with("?1; since=\"20"), "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

#[track_caller]
fn told(stage: &Stage, location: &str) -> Value {
    stage.ask("GET", location, &[], "").expect(200).json()
}

/// What became of it, once it is no longer pending.
#[track_caller]
fn ended(stage: &Stage, location: &str, state: &str) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let told = told(stage, location);
        if told["state"] != "pending" {
            assert_eq!(told["state"], state, "{told}");
            assert!(told["ended"].is_string(), "{told}");
            return told;
        }
        assert!(Instant::now() < end, "it did not end: {told}");
        thread::yield_now();
    }
}

/// What is pending is shown, and marked as what no origin has confirmed.
#[track_caller]
fn expect_pending(answer: Response, status: u16) -> Response {
    let answer = answer.expect(status);
    assert!(answer.header("wtcache-pending").unwrap().starts_with("?1"), "{answer:?}");
    assert_eq!(answer.header("cache-status"), Some("wtcache; detail=pending"), "{answer:?}");
    assert!(answer.header("etag").is_none_or(|tag| tag.starts_with("W/\"pending-")), "{answer:?}");
    answer
}

/// All of an answer but the time of day and how long it took.
fn undated(answer: &Response) -> (Vec<&str>, &str) {
    let is_of_time =
        |line: &str| ["date:", "server-timing:"].iter().any(|name| line.to_ascii_lowercase().starts_with(name));
    (answer.head.lines().filter(|line| !is_of_time(line)).collect(), &answer.body)
}

#[test]
fn o1_a_put_is_answered_and_shown_before_the_origin_has_answered() {
    let stage = with_a(stage());
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    let answer = put(&stage, "a", 2);
    let location = accepted(&answer);
    assert_eq!(answer.json(), json!({ "id": "a", "sku": "WB-100", "quantity": 2 }));
    assert!(gate.wait_arrived(PATIENCE));

    let shown = expect_pending(stage.get("a"), 200);
    assert_eq!((&shown.body, shown.header("etag")), (&answer.body, answer.header("etag")), "as it was answered");
    let before = confirmed(&stage, "a").expect(200);
    assert_eq!((before.quantity(), before.header("etag"), before.header("wtcache-pending")), (1, Some("\"r1\""), None));
    assert!(before.header("cache-status").unwrap().starts_with("wtcache; hit"), "{before:?}");
    let waits = told(&stage, &location);
    let since = waits["since"].as_str().unwrap();
    assert!(since.len() == 24 && since.starts_with("20") && since.ends_with('Z'), "{since}");
    assert_eq!(waits, json!({ "state": "pending", "table": "InventoryItem", "key": "a", "since": since }));
    assert_eq!(stage.saw(), ["PUT a"]);

    gate.release();
    let settled = ended(&stage, &location, "settled");
    assert_eq!((&settled["status"], &settled["etag"]), (&json!(200), &json!("\"r2\"")));
    let after = stage.get("a").expect(200);
    assert_eq!((after.quantity(), after.json()["revision"].clone()), (2, json!(2)), "the origin's own record");
    assert_eq!((after.header("wtcache-pending"), after.header("etag")), (None, Some("\"r2\"")));
    assert_eq!(confirmed(&stage, "a").body, after.body);
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn o1_a_delete_is_shown_before_the_origin_has_answered() {
    let stage = with_a(stage());
    let gate = stage.origin.gate(Method::Delete, "a", When::BeforeApply);
    let answer = stage.ask("DELETE", "/InventoryItem/a", &[ASYNC], "");
    let location = accepted(&answer);
    assert_eq!((answer.body.as_str(), answer.header("content-type")), ("", None));
    assert!(gate.wait_arrived(PATIENCE));
    let gone = expect_pending(stage.get("a"), 404);
    assert!(gone.json()["detail"].as_str().unwrap().contains("pending"), "{gone:?}");
    assert_eq!(confirmed(&stage, "a").expect(200).quantity(), 1);
    gate.release();
    assert_eq!(ended(&stage, &location, "settled")["status"], 204);
    assert_eq!(stage.get("a").expect(404).header("wtcache-pending"), None);
    assert_eq!(stage.saw(), ["DELETE a", "GET a"]);
}

/// O1: records are found by what is confirmed of them.
#[test]
fn o1_queries_see_what_is_confirmed() {
    let stage = with_a(stage());
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    let body = "{\"sku\":\"other\",\"quantity\":2}";
    let location = accepted(&stage.ask("PUT", "/InventoryItem/a", &[ASYNC], body));
    let find = |sku: &str| stage.ask("GET", &format!("/InventoryItem/?sku={sku}"), &[], "").expect(200).json();
    assert_eq!((find("WB-100")[0]["quantity"].clone(), find("other")), (json!(1), json!([])));
    gate.release();
    ended(&stage, &location, "settled");
    assert_eq!((find("WB-100"), find("other")[0]["quantity"].clone()), (json!([]), json!(2)));
}

/// O1: the tag of what is pending tells a client whether it has seen it, and makes no write conditional.
#[test]
fn o1_the_tag_of_what_is_pending_is_no_version() {
    let stage = with_a(stage());
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    let answer = put(&stage, "a", 2);
    let (location, tag) = (accepted(&answer), answer.header("etag").unwrap().to_owned());
    let seen = stage.ask("GET", "/InventoryItem/a", &[("If-None-Match", &tag)], "");
    expect_pending(seen, 304);
    stage.ask("GET", "/InventoryItem/a?confirmed", &[("If-None-Match", &tag)], "").expect(200);
    stage.ask("GET", "/InventoryItem/a", &[("If-Match", &tag)], "").expect(412);
    gate.release();
    ended(&stage, &location, "settled");
    stage.saw();
    for tag in [tag.as_str(), tag.trim_start_matches("W/")] {
        stage.ask("PUT", "/InventoryItem/a", &[("If-Match", tag)], "{\"quantity\":3}").expect_outcome(412, "rejected");
    }
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(stage.get("a").quantity(), 2);
}

/// O2: refused, a write leaves no trace, and its URL says what the plain answer would have said.
#[test]
fn o2_a_refused_write_leaves_everything_as_it_was() {
    for (method, on) in [("PUT", Method::Put), ("PATCH", Method::Put), ("DELETE", Method::Delete)] {
        let stage = with_a(stage());
        let before = stage.get("a").expect(200);
        let gate = stage.origin.gate(on, "a", When::BeforeApply);
        stage.origin.fault(Fault::on(on, "a").kind(FaultKind::Answer(Answer::new(422).body("{\"error\":\"no\"}"))));
        let body = if method == "DELETE" { "" } else { "{\"quantity\":2}" };
        let location = accepted(&stage.ask(method, "/InventoryItem/a", &[MERGE, ASYNC], body));
        expect_pending(stage.get("a"), if method == "DELETE" { 404 } else { 200 });
        gate.release();
        let refused = ended(&stage, &location, "rolled-back");
        let (status, detail, outcome) = (&refused["status"], &refused["detail"], &refused["outcome"]);
        assert_eq!((status, detail, outcome), (&json!(422), &json!("{\"error\":\"no\"}"), &json!("rejected")));
        assert_eq!(refused["origin_status"], 422);
        stage.saw();
        assert_eq!(undated(&stage.get("a")), undated(&before), "{method}");
        assert_eq!(stage.saw(), NOTHING);
    }
}

/// O2: refused credentials are this server's, and of long words so many are kept (O4).
#[test]
fn o2_what_a_refusal_said_is_what_the_plain_answer_would_have_said() {
    let stage = with_a(stage());
    let words = "é".repeat(5_000);
    for (status, body, told_status, detail) in [
        (401, "no", 502, "PUT: the origin answered 401"),
        (409, "", 409, "PUT: the origin answered 409"),
        (422, &words, 422, &words[..2_048]),
    ] {
        stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::Answer(Answer::new(status).body(body))));
        let refused = ended(&stage, &accepted(&put(&stage, "a", 2)), "rolled-back");
        assert_eq!((&refused["status"], &refused["detail"]), (&json!(told_status), &json!(detail)), "{status}");
        assert_eq!((&refused["origin_status"], &refused["outcome"]), (&json!(status), &json!("rejected")));
    }
}

/// D2: where writes wait for doubts, one that would wait for too long is refused at once, with the time to come again.
#[test]
fn d2_a_write_that_is_held_back_by_a_doubt_is_never_pending() {
    let stage = setup().table("in_doubt_writes: wait").table("optimistic: { timeout: 5s }").start();
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetBeforeApply));
    ended(&stage, &accepted(&put(&stage, "a", 1)), "in-doubt");
    let held = put(&stage, "a", 2).expect_outcome(503, "rejected");
    assert_eq!((held.header("retry-after"), held.header("location")), (Some("10"), None));
    stage.clock.advance(Duration::from_secs(6));
    let waits = accepted(&put(&stage, "a", 3));
    assert_eq!(expect_pending(stage.get("a"), 200).quantity(), 3);
    stage.clock.advance(Duration::from_secs(4));
    ended(&stage, &waits, "settled");
    assert_eq!(stage.origin.record("a").unwrap()["quantity"], 3);
}

/// O2: of two patches the first is refused, and what the second makes of the record does not know of it.
#[test]
fn o2_of_two_patches_the_first_is_refused_and_the_other_stays() {
    let stage = with_a(stage());
    let gates = [(); 2].map(|()| stage.origin.gate(Method::Put, "a", When::BeforeApply));
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::Answer(Answer::new(422))));
    let first = patch(&stage, "a", "{\"quantity\":7,\"name\":\"Widget\"}");
    let second = patch(&stage, "a", "{\"warehouseId\":\"east\"}");
    let member = |answer: &Response, name: &str| answer.json().get(name).cloned().unwrap_or_default();
    assert_eq!((member(&second, "quantity"), member(&second, "warehouseId")), (json!(7), json!("east")));
    assert_eq!(expect_pending(stage.get("a"), 200).body, second.body, "both, one above the other");
    assert!(gates[0].wait_arrived(PATIENCE));
    gates[0].release();
    ended(&stage, &accepted(&first), "rolled-back");
    assert!(gates[1].wait_arrived(PATIENCE));
    let alone = expect_pending(stage.get("a"), 200);
    assert_eq!(
        (alone.quantity(), member(&alone, "name"), member(&alone, "warehouseId")),
        (1, Value::Null, json!("east"))
    );
    gates[1].release();
    ended(&stage, &accepted(&second), "settled");
    let record = stage.origin.record("a").unwrap();
    assert_eq!((&record["quantity"], record.get("name"), &record["warehouseId"]), (&json!(1), None, &json!("east")));
    stage.saw();
    assert_eq!((stage.get("a").json(), stage.saw().len()), (record, 0));
}

/// O2: a write that still waits for its turn when its time is over was not sent.
#[test]
fn o2_a_write_that_waits_for_too_long_is_rolled_back() {
    let stage = with_a(setup().timeout("1h").table("optimistic: { timeout: 30s }").start());
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    accepted(&put(&stage, "a", 2));
    assert!(gate.wait_arrived(PATIENCE));
    let location = accepted(&put(&stage, "a", 3));
    assert_eq!(stage.get("a").quantity(), 3);
    stage.clock.advance(Duration::from_secs(30));
    let late = ended(&stage, &location, "rolled-back");
    assert_eq!((&late["status"], &late["outcome"]), (&json!(504), &json!("rejected")));
    gate.release();
    stage.wait_for_stats("InventoryItem", |stats| stats.pending == 0);
    assert_eq!(stage.saw(), ["PUT a"], "the other was not sent");
}

/// O3: nobody knows, the URL says so, and reads ask the origin.
#[test]
fn o3_in_doubt_the_outcome_says_so_and_reads_ask_the_origin() {
    let stage = with_a(stage());
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    let location = accepted(&put(&stage, "a", 2));
    let doubt = ended(&stage, &location, "in-doubt");
    let (status, outcome, left) = (&doubt["status"], &doubt["outcome"], &doubt["settles_in_ms"]);
    assert_eq!((status, outcome, left), (&json!(502), &json!("in-doubt"), &json!(10_000)));
    assert!(doubt["detail"].is_string(), "{doubt}");
    stage.saw();
    for _ in 0..2 {
        let get = stage.get("a").expect(200);
        assert_eq!((get.quantity(), get.header("wtcache-pending")), (2, None));
        assert_eq!(stage.saw(), ["GET a"]);
    }
    stage.clock.advance(Duration::from_secs(4));
    assert_eq!(told(&stage, &location)["settles_in_ms"], 6_000);
    stage.clock.advance(Duration::from_secs(40));
    assert_eq!(told(&stage, &location)["settles_in_ms"], 0);
}

/// O3: what is pending above a write in doubt is still shown, and is written.
#[test]
fn o3_what_is_pending_above_a_doubt_stays() {
    let stage = with_a(stage());
    let gates = [(); 2].map(|()| stage.origin.gate(Method::Put, "a", When::BeforeApply));
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetBeforeApply));
    let first = accepted(&put(&stage, "a", 2));
    let second = accepted(&patch(&stage, "a", "{\"name\":\"Gadget\"}"));
    assert!(gates[0].wait_arrived(PATIENCE));
    gates[0].release();
    ended(&stage, &first, "in-doubt");
    assert!(gates[1].wait_arrived(PATIENCE));
    let shown = expect_pending(stage.get("a"), 200);
    assert_eq!((shown.quantity(), &shown.json()["name"]), (1, &json!("Gadget")));
    gates[1].release();
    ended(&stage, &second, "settled");
    assert_eq!(stage.origin.record("a").unwrap()["name"], "Gadget");
}

/// O4, B2: what is too much is refused at once, with the time to come again.
#[test]
fn o4_the_number_of_pending_writes_is_bounded() {
    let stage = setup().table("optimistic: { writes: 2 }").start();
    let gate = stage.origin.gate_all(Method::Put, wtcache_origin::Target::Any, When::BeforeApply);
    let locations = ["a", "b"].map(|key| accepted(&put(&stage, key, 1)));
    let third = put(&stage, "c", 1).expect_outcome(503, "rejected");
    assert_eq!((third.header("retry-after"), third.header("preference-applied")), (Some("1"), None));
    assert!(third.json()["detail"].as_str().unwrap().contains("too many writes are pending"), "{third:?}");
    assert!(gate.wait_arrivals(2, PATIENCE));
    gate.release();
    for location in &locations {
        ended(&stage, location, "settled");
    }
    ended(&stage, &accepted(&put(&stage, "c", 1)), "settled");
    assert_eq!(stage.saw().len(), 3);
}

/// O4: a patch weighs what its body does, though it is no record.
#[test]
fn o4_the_weight_of_pending_writes_is_bounded() {
    let stage = with_a(setup().table("optimistic: { weight: 4KiB }").start());
    let gate = stage.origin.gate_all(Method::Put, "a", When::BeforeApply);
    let body = format!("{{\"name\":\"{}\"}}", "x".repeat(3 * 1024));
    let first = accepted(&patch(&stage, "a", &body));
    for method in ["PUT", "PATCH"] {
        let refused = stage.ask(method, "/InventoryItem/a", &[MERGE, ASYNC], &body).expect_outcome(503, "rejected");
        assert_eq!(refused.header("retry-after"), Some("1"), "{method}");
    }
    gate.release();
    ended(&stage, &first, "settled");
    ended(&stage, &accepted(&patch(&stage, "a", &body)), "settled");
}

/// O4, B2: outcomes are kept by number and for a time; what is pending stays known.
#[test]
fn o4_outcomes_are_kept_within_bounds() {
    let stage = setup().timeout("24h").table("optimistic: { outcomes: 2, outcomes_for: 1m }").start();
    let gate = stage.origin.gate(Method::Put, "waits", When::BeforeApply);
    let waits = accepted(&put(&stage, "waits", 1));
    let locations = ["a", "b", "c"].map(|key| {
        let location = accepted(&put(&stage, key, 1));
        ended(&stage, &location, "settled");
        location
    });
    let is_known = |location: &str| stage.ask("GET", location, &[], "").status;
    assert_eq!(locations.each_ref().map(|location| is_known(location)), [404, 200, 200]);
    stage.clock.advance(Duration::from_millis(59_999));
    assert_eq!(is_known(&locations[2]), 200);
    stage.clock.advance(Duration::from_millis(1));
    assert_eq!(locations.each_ref().map(|location| is_known(location)), [404; 3]);
    assert_eq!(told(&stage, &waits)["state"], "pending");
    gate.release();
    ended(&stage, &waits, "settled");
}

#[test]
fn an_outcome_is_only_asked_for_and_never_guessed() {
    let stage = stage();
    let location = accepted(&put(&stage, "a", 1));
    let id = location.strip_prefix("/-/pending/").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    ended(&stage, &location, "settled");
    let next = accepted(&put(&stage, "a", 2));
    assert!(next.bytes().zip(location.bytes()).filter(|(one, other)| one != other).count() > 8, "{next} {location}");
    let head = stage.ask("HEAD", &location, &[], "").expect(200);
    assert_eq!((head.body.as_str(), head.header("content-type")), ("", Some("application/json")));
    for unknown in ["/-/pending/", "/-/pending/1", "/-/pending/00000000000000000000000000000000"] {
        assert!(stage.ask("GET", unknown, &[], "").expect(404).json()["detail"].is_string());
    }
    assert_eq!(stage.ask("POST", &location, &[], "").expect(405).header("allow"), Some("GET, HEAD, OPTIONS"));
}

/// RFC 7240: the preference is one of a list, in any case, on any line; others are passed over.
#[test]
fn a_preference_is_found_wherever_it_stands() {
    let stage = stage();
    let ask = |headers: &[(&str, &str)]| stage.ask("PUT", "/InventoryItem/a", headers, "{\"quantity\":1}");
    accepted(&ask(&[("prefer", "return=minimal, Respond-Async; x=\"a,b\"")]));
    accepted(&ask(&[("Prefer", "handling=lenient"), ("Prefer", "respond-async")]));
    for plain in ["return=minimal", "wait=10", "x=\"respond-async\"", "respond-asynchronously"] {
        let answer = ask(&[("Prefer", plain)]).expect_outcome(200, "applied");
        assert_eq!((answer.header("preference-applied"), answer.header("location")), (None, None), "{plain}");
    }
}

/// RFC 7240 §4.3: the plain answer, if it comes in time.
#[test]
fn a_client_that_waits_is_given_the_plain_answer() {
    let stage = stage();
    let ask = |method: &str, wait: &str, body: &str| {
        stage.ask(method, "/InventoryItem/a", &[MERGE, ASYNC, ("Prefer", wait)], body)
    };
    let put = ask("PUT", "wait=20", "{\"quantity\":5}").expect_outcome(200, "applied");
    assert_eq!((put.header("preference-applied"), put.header("etag")), (Some("wait=20"), Some("\"r1\"")));
    assert_eq!((put.header("location"), put.json()["revision"].clone()), (None, json!(1)));
    assert_eq!(ask("PATCH", "wait=20", "{\"quantity\":4}").expect_outcome(200, "applied").quantity(), 4);
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::Answer(Answer::new(422).body("no"))));
    let refused = ask("PUT", "wait=20", "{\"quantity\":3}").expect_outcome(422, "rejected");
    assert_eq!((refused.body.as_str(), stage.get("a").quantity()), ("no", 4));
    ask("DELETE", "wait=20", "").expect_outcome(204, "applied");

    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    let late = ask("PUT", "wait=1", "{\"quantity\":2}").expect(202);
    assert_eq!(late.header("preference-applied"), Some("respond-async, wait=1"));
    gate.release();
    ended(&stage, late.header("location").unwrap(), "settled");
}

/// P6: whether a condition holds is known in the turn: such a write is answered as if nothing were preferred.
#[test]
fn p6_a_write_on_a_condition_is_never_answered_before_it() {
    let stage = with_a(stage());
    for condition in [("If-Match", "\"r1\""), ("If-None-Match", "\"x\""), ("If-Match", "*")] {
        let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
        thread::scope(|scope| {
            let put = scope.spawn(|| stage.ask("PUT", "/InventoryItem/a", &[ASYNC, condition], "{\"quantity\":2}"));
            assert!(gate.wait_arrived(PATIENCE));
            assert_eq!(stage.get("a").quantity(), if condition.1 == "\"r1\"" { 1 } else { 2 }, "it is not shown");
            gate.release();
            let put = put.join().unwrap().expect_outcome(200, "applied");
            assert_eq!((put.header("preference-applied"), put.header("location")), (None, None));
        });
    }
    let unmet = stage.ask("DELETE", "/InventoryItem/a", &[ASYNC, ("If-Match", "\"r1\"")], "");
    assert_eq!(unmet.expect_outcome(412, "rejected").header("preference-applied"), None);
}

/// What is wrong with a request is said at once, whatever is preferred.
#[test]
fn a_request_that_is_wrong_is_never_pending() {
    let stage = stage();
    put(&stage, "a", 1).expect(202);
    stage.ask("PUT", "/InventoryItem/b", &[ASYNC], "{\"quantity\":\"x\"}").expect_outcome(400, "rejected");
    stage.ask("PATCH", "/InventoryItem/b", &[ASYNC], "{\"quantity\":2}").expect_outcome(415, "rejected");
    patch(&stage, "b", "{\"id\":null}").expect_outcome(400, "rejected");
    stage.wait_for_stats("InventoryItem", |stats| stats.pending == 0);
    assert_eq!(stage.saw(), ["PUT a"]);
    stage.ask("GET", "/InventoryItem/a?confirmed=perhaps", &[], "").expect(400);
    assert_eq!(stage.get("a?confirmed=true").quantity(), 1);
    assert_eq!(stage.get("a?confirmed=false").quantity(), 1);
}

/// O2: where it is known that there is nothing to be patched, that is said at once; else the URL tells it.
#[test]
fn o2_a_patch_of_what_is_not_there_is_404_at_once_or_later() {
    let stage = stage();
    stage.get("a").expect(404);
    stage.saw();
    let missing = patch(&stage, "a", "{\"quantity\":2}").expect_outcome(404, "rejected");
    assert_eq!((missing.header("location"), missing.header("cache-status")), (None, Some("wtcache; detail=not-sent")));
    assert_eq!(stage.saw(), NOTHING);

    let answer = patch(&stage, "b", "{\"quantity\":2}");
    assert_eq!(answer.body, "", "nobody knows here what it makes");
    let missing = ended(&stage, &accepted(&answer), "rolled-back");
    assert_eq!((&missing["status"], &missing["outcome"]), (&json!(404), &json!("rejected")));
    assert!(missing["detail"].as_str().unwrap().contains("no record to be patched"), "{missing}");
    assert_eq!(stage.saw(), ["GET b"], "nothing was written");

    // Above a delete that may yet be refused.
    let stage = with_a(stage);
    let gate = stage.origin.gate(Method::Delete, "a", When::BeforeApply);
    stage.origin.fault(Fault::on(Method::Delete, "a").kind(FaultKind::Answer(Answer::new(422))));
    let deleted = accepted(&stage.ask("DELETE", "/InventoryItem/a", &[ASYNC], ""));
    let patched = patch(&stage, "a", "{\"quantity\":2}");
    assert_eq!(patched.body, "");
    expect_pending(stage.get("a"), 404);
    gate.release();
    ended(&stage, &deleted, "rolled-back");
    ended(&stage, &accepted(&patched), "settled");
    assert_eq!(stage.get("a").quantity(), 2);
}

/// O5: the patch of a record that is not here is shown above what the origin has.
#[test]
fn o5_a_patch_is_shown_above_a_record_that_is_loaded_for_the_reader() {
    let stage = stage();
    stage.origin.seed("a", json!({ "sku": "WB-100", "quantity": 1 }));
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    let answer = patch(&stage, "a", "{\"quantity\":2,\"sku\":null}");
    let location = accepted(&answer);
    assert_eq!((answer.body.as_str(), answer.header("etag")), ("", None));
    assert!(gate.wait_arrived(PATIENCE));
    let shown = expect_pending(stage.get("a"), 200);
    assert_eq!((shown.quantity(), shown.json().get("sku").cloned()), (2, None));
    assert_eq!(confirmed(&stage, "a").quantity(), 1);
    gate.release();
    ended(&stage, &location, "settled");
}

/// What comes of a patch is bounded as the body of a `PUT` is, and that is told at once where the record is here.
#[test]
fn o4_a_patch_that_makes_the_record_too_large_is_told_at_once_or_later() {
    let stage = setup().origin("max_body: 200B").start();
    stage.origin.seed("a", json!({ "sku": "x".repeat(60) }));
    let body = format!("{{\"name\":\"{}\"}}", "y".repeat(150));
    let later = ended(&stage, &accepted(&patch(&stage, "a", &body)), "rolled-back");
    assert_eq!((&later["status"], later["detail"].as_str().unwrap().contains("200 bytes")), (&json!(413), true));
    stage.get("a").expect(200);
    patch(&stage, "a", &body).expect_outcome(413, "rejected");
    assert_eq!(stage.saw(), ["GET a", "GET a"]);
}

/// B4: at the end, what is pending is settled.
#[test]
fn b4_at_the_end_pending_writes_are_settled() {
    let mut stage = with_a(stage());
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    for quantity in [2, 3] {
        accepted(&put(&stage, "a", quantity));
    }
    assert!(gate.wait_arrived(PATIENCE));
    stage.ask_to_end();
    while std::net::TcpStream::connect(stage.address).is_ok() {
        thread::yield_now();
    }
    gate.release();
    assert_eq!(stage.ended(), NOTHING);
    assert_eq!(stage.origin.record("a").unwrap()["quantity"], 3);
}

/// B4: what could not be settled in the time for it is told by key: what was sent, and what was rolled back.
#[test]
fn b4_at_the_end_pending_writes_that_are_left_are_told() {
    let mut stage = setup().timeout("1h").start();
    let gate = stage.origin.gate_all(Method::Put, "item 1", When::BeforeApply);
    for quantity in [2, 3] {
        accepted(&put(&stage, "item%201", quantity));
    }
    assert!(gate.wait_arrived(PATIENCE));
    stage.ask_to_end();
    let cache = stage.front.caches().find(|(name, _)| *name == "InventoryItem").unwrap().1.clone();
    let is_closed = || matches!(cache.read("x", &Call::new().deadline(Duration::ZERO)), Err(LoadError::Closed));
    while !is_closed() {
        thread::yield_now();
    }
    stage.clock.advance(Duration::from_secs(11));
    let mut left = stage.ended();
    left.sort();
    assert_eq!(
        left,
        ["InventoryItem: pending, not sent, rolled back: item 1", "InventoryItem: sent, without an outcome: item 1"]
    );
}
