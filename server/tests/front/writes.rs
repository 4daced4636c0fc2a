//! What becomes of a write, by what the origin answers or does not answer.

use std::thread;
use std::time::Duration;

use serde_json::json;
use wtcache_origin::{Answer, Fault, FaultKind, Method, When};

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, setup, stage};

/// A stage whose record `a` is resident with quantity 1, and which saw nothing yet.
fn resident() -> Stage {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    stage.saw();
    stage
}

fn fault(stage: &Stage, method: Method, kind: FaultKind) {
    stage.origin.fault(Fault::on(method, "a").kind(kind));
}

fn answer(status: u16) -> Answer {
    Answer::new(status).header("Content-Type", "application/json; x=y").body("{\"error\":\"no\",\"why\":[1]}")
}

fn write(stage: &Stage, method: Method) -> Response {
    match method {
        Method::Put => stage.put_quantity("a", 2),
        _ => stage.delete("a"),
    }
}

#[track_caller]
fn expect_get(stage: &Stage, quantity: i64, saw: &[&str]) {
    stage.saw();
    let get = stage.get("a").expect(200);
    assert_eq!((get.quantity(), stage.saw()), (quantity, saw.iter().map(|s| (*s).to_owned()).collect()), "{get:?}");
}

#[test]
fn a_put_calls_the_origin_first_and_the_next_get_does_not() {
    let stage = stage();
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    thread::scope(|scope| {
        let put = scope.spawn(|| stage.put_quantity("a", 5));
        assert!(gate.wait_arrived(PATIENCE));
        stage.get("a").expect(404);
        gate.release();
        let put = put.join().unwrap().expect(200);
        assert_eq!(
            put.json(),
            json!({"id": "a", "sku": "WB-100", "quantity": 5, "revision": 1, "updatedAt": put.json()["updatedAt"]})
        );
        assert_eq!(put.header("etag"), Some("\"r1\""));
        assert_eq!(put.header("content-type"), Some("application/json"));
        assert_eq!(put.header("wtcache-outcome"), Some("applied"));
        assert_eq!(stage.saw(), ["PUT a", "GET a"]);
        let get = stage.get("a").expect(200);
        assert_eq!((get.body, get.head.contains("\"r1\"")), (put.body, true));
        assert_eq!(stage.saw(), NOTHING);
    });
    assert_eq!(stage.origin.record("a").unwrap()["quantity"], 5);
}

/// P2, A2: the origin's status and words reach the client, and nothing changes here.
#[test]
fn a_refusal_goes_through_and_changes_nothing() {
    for method in [Method::Put, Method::Delete] {
        for status in [400, 402, 405, 411, 413, 415, 418, 422, 428, 451] {
            let stage = resident();
            fault(&stage, method, FaultKind::Answer(answer(status)));
            let refused = write(&stage, method).expect_outcome(status, "rejected");
            assert_eq!(refused.body, "{\"error\":\"no\",\"why\":[1]}");
            assert_eq!(refused.header("content-type"), Some("application/json; x=y"));
            assert_eq!(stage.saw(), [format!("{} a", method.name())]);
            expect_get(&stage, 1, &[]);
        }
    }
}

/// P2: a refusal that proves the base stale drops it.
#[test]
fn a_refusal_that_proves_the_entry_stale_drops_it() {
    let on_put = [404, 409, 410, 412].map(|status| (Method::Put, status));
    let on_delete = [409, 412].map(|status| (Method::Delete, status));
    for (method, status) in on_put.into_iter().chain(on_delete) {
        let stage = resident();
        fault(&stage, method, FaultKind::Answer(answer(status)));
        let refused = write(&stage, method).expect_outcome(status, "rejected");
        assert_eq!(refused.body, "{\"error\":\"no\",\"why\":[1]}");
        expect_get(&stage, 1, &["GET a"]);
        expect_get(&stage, 1, &[]);
    }
}

/// A2: the origin refused this server, not its client.
#[test]
fn refused_credentials_are_a_bad_gateway() {
    for method in [Method::Put, Method::Delete] {
        for status in [401, 403, 407] {
            let stage = resident();
            fault(&stage, method, FaultKind::Answer(answer(status)));
            let refused = write(&stage, method).expect_outcome(502, "rejected");
            assert_eq!(refused.json()["origin_status"], status);
            assert_eq!(refused.header("content-type"), Some("application/problem+json"));
            expect_get(&stage, 1, &[]);
        }
    }
    let stage = stage();
    stage.origin.set_api_key(Some("another"));
    assert_eq!(stage.put_quantity("a", 1).expect_outcome(502, "rejected").json()["origin_status"], 401);
    assert_eq!(stage.get("a").expect(502).json()["origin_status"], 401);
    assert_eq!(stage.origin.record("a"), None);
}

#[test]
fn retry_after_of_the_origin_goes_through() {
    let stage = resident();
    fault(&stage, Method::Put, FaultKind::Answer(answer(429).header("Retry-After", "7")));
    let refused = stage.put_quantity("a", 2).expect_outcome(429, "rejected");
    assert_eq!(refused.header("retry-after"), Some("7"));
    expect_get(&stage, 1, &[]);
}

/// A2: redirects are not followed on a write.
#[test]
fn a_redirected_write_is_rejected() {
    for status in [301, 302, 307, 308] {
        let stage = resident();
        let elsewhere = Answer::new(status).header("Location", format!("{}/items/b", stage.origin.url()));
        fault(&stage, Method::Put, FaultKind::Answer(elsewhere));
        assert_eq!(stage.put_quantity("a", 2).expect_outcome(502, "rejected").json()["origin_status"], status);
        assert_eq!(stage.saw(), ["PUT a"]);
        expect_get(&stage, 1, &[]);
    }
}

/// A1, A2, D1: nobody can know, applied or not.
#[test]
fn what_proves_nothing_is_in_doubt() {
    for method in [Method::Put, Method::Delete] {
        for status in [202, 207, 303, 408, 500, 501, 502, 503, 504, 599] {
            let stage = resident();
            fault(&stage, method, FaultKind::Answer(answer(status)));
            let doubt = write(&stage, method).expect_outcome(502, "in-doubt").json();
            assert_eq!((&doubt["origin_status"], &doubt["settles_in_ms"]), (&json!(status), &json!(10_000)));
            assert_eq!(stage.saw(), [format!("{} a", method.name())], "sent once");
            expect_get(&stage, 1, &["GET a"]);
            expect_get(&stage, 1, &["GET a"]);
        }
    }
}

/// A2, D1, D3: also where the connection broke before the origin applied; the old record is asked for, and not retained.
#[test]
fn a_write_whose_connection_breaks_is_in_doubt_until_its_window_has_passed() {
    let breaks = [FaultKind::ResetOnHead, FaultKind::ResetBeforeApply, FaultKind::CloseBeforeApply];
    for kind in breaks {
        let stage = resident();
        fault(&stage, Method::Put, kind);
        stage.put_quantity("a", 2).expect_outcome(502, "in-doubt");
        assert_eq!(stage.saw(), ["PUT a"], "a write is not sent twice");
        stage.clock.advance(Duration::from_millis(9_999));
        expect_get(&stage, 1, &["GET a"]);
        stage.clock.advance(Duration::from_millis(1));
        expect_get(&stage, 1, &["GET a"]);
        expect_get(&stage, 1, &[]);
    }
}

/// D2, D3: the write lands while the doubt lasts. Whatever the origin has at the moment is shown, and never kept.
#[test]
fn a_stray_that_lands_late_is_seen_at_once() {
    let stage = resident();
    let stray = stage.origin.stray(Method::Put, "a");
    stage.put_quantity("a", 2).expect_outcome(502, "in-doubt");
    assert_eq!(stage.get("a").expect(200).quantity(), 1);
    stray.release();
    assert!(stage.origin.wait_for(|log| log[0].applied, PATIENCE));
    expect_get(&stage, 2, &["GET a"]);
    stage.clock.advance(Duration::from_secs(10));
    expect_get(&stage, 2, &["GET a"]);
    expect_get(&stage, 2, &[]);
}

/// D1, D3: a load that began in the doubt and ends after it is not retained.
#[test]
fn a_load_of_the_doubt_does_not_outlive_it() {
    let stage = resident();
    fault(&stage, Method::Put, FaultKind::ResetBeforeApply);
    stage.put_quantity("a", 2).expect_outcome(502, "in-doubt");
    let gate = stage.origin.gate(Method::Get, "a", When::AfterApply);
    thread::scope(|scope| {
        let load = scope.spawn(|| stage.get("a"));
        assert!(gate.wait_arrived(PATIENCE));
        stage.origin.seed("a", json!({ "quantity": 3 }));
        stage.clock.advance(Duration::from_secs(10));
        assert_eq!(stage.get("a").expect(200).quantity(), 3, "another load, as the doubt is settled");
        gate.release();
        assert_eq!(load.join().unwrap().expect(200).quantity(), 3, "moved to what is here now");
    });
    expect_get(&stage, 3, &[]);
}

/// D2: a write in the doubt is sent and may be Applied, but nothing is retained.
#[test]
fn a_write_within_a_doubt_is_sent_and_does_not_end_it() {
    let stage = resident();
    fault(&stage, Method::Put, FaultKind::ResetBeforeApply);
    stage.put_quantity("a", 2).expect_outcome(502, "in-doubt");
    stage.put_quantity("a", 3).expect_outcome(200, "applied");
    expect_get(&stage, 3, &["GET a"]);
    expect_get(&stage, 3, &["GET a"]);
    stage.delete("a").expect_outcome(204, "applied");
    stage.saw();
    stage.get("a").expect(404);
    stage.get("a").expect(404);
    assert_eq!(stage.saw(), ["GET a", "GET a"], "absence is not retained either");
}

/// D2 with `in_doubt_writes: wait`.
#[test]
fn writes_can_be_held_back_while_a_key_is_in_doubt() {
    let stage = setup().timeout("2s").table("in_doubt_writes: wait").start();
    fault(&stage, Method::Put, FaultKind::ResetBeforeApply);
    stage.put_quantity("a", 2).expect_outcome(502, "in-doubt");
    stage.saw();
    for method in [Method::Put, Method::Delete] {
        let held = write(&stage, method).expect_outcome(503, "rejected");
        assert_eq!(held.header("retry-after"), Some("10"));
    }
    stage.put_quantity("b", 1).expect(200);
    assert_eq!(stage.saw(), ["PUT b"], "other keys are written");
    // The doubt ends within the deadline: the write waits for it.
    stage.clock.advance(Duration::from_millis(8_500));
    let alarms = stage.clock.alarms_ever_set();
    thread::scope(|scope| {
        let put = scope.spawn(|| stage.put_quantity("a", 3));
        assert!(stage.clock.wait_for_alarms(alarms + 1));
        assert_eq!(stage.saw(), NOTHING);
        stage.clock.advance(Duration::from_millis(1_500));
        put.join().unwrap().expect(200);
    });
    expect_get(&stage, 3, &[]);
}

/// A2: nothing was offered to the wire.
#[test]
fn an_origin_that_cannot_be_reached_rejects_and_keeps_the_entry() {
    let stage = resident();
    stage.origin.pause_accept();
    stage.origin.drop_connections();
    for method in [Method::Put, Method::Delete] {
        write(&stage, method).expect_outcome(502, "rejected");
    }
    let unread = stage.get("other").expect(502).json();
    assert_eq!((unread.get("outcome"), unread.get("origin_status")), (None, None));
    expect_get(&stage, 1, &[]);
    stage.origin.resume_accept().unwrap();
    stage.put_quantity("a", 2).expect(200);
    expect_get(&stage, 2, &[]);
}

/// A2: the deadline passed after the first byte was sent.
#[test]
fn a_write_that_hangs_is_in_doubt_at_its_deadline() {
    let stage = setup().timeout("300ms").start();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    for (method, kind) in [(Method::Put, FaultKind::HangAfterApply), (Method::Delete, FaultKind::HangBeforeApply)] {
        fault(&stage, method, kind);
        write(&stage, method).expect_outcome(504, "in-doubt");
        assert_eq!(stage.saw(), [format!("{} a", method.name())]);
        expect_get(&stage, 2, &["GET a"]);
        expect_get(&stage, 2, &["GET a"]);
    }
}

/// P4: 204 once the origin confirmed it; then the origin is asked.
#[test]
fn a_delete_is_confirmed_by_the_origin_and_the_next_get_asks() {
    let stage = resident();
    let gone = stage.delete("a").expect_outcome(204, "applied");
    assert_eq!(gone.body, "");
    assert_eq!(stage.origin.record("a"), None);
    stage.get("a").expect(404);
    stage.get("a").expect(404);
    assert_eq!(stage.saw(), ["DELETE a", "GET a"]);
    stage.delete("a").expect_outcome(204, "applied");
    stage.delete("never-there").expect_outcome(204, "applied");
    assert_eq!(stage.saw(), ["DELETE a", "DELETE never-there"]);

    let stage = setup().table("absent_after_delete: true").start();
    stage.put_quantity("a", 1).expect(200);
    stage.delete("a").expect(204);
    stage.saw();
    stage.get("a").expect(404);
    assert_eq!(stage.saw(), NOTHING);
}

/// An origin without ETags: the tag is made here, and is the same for the same record.
#[test]
fn a_record_without_an_etag_is_given_one() {
    let stage = stage();
    let plain = |body: &str| FaultKind::ApplyThenAnswer(Answer::new(200).body(body));
    fault(&stage, Method::Put, plain("{\"id\":\"a\",\"quantity\":1}"));
    let put = stage.put_quantity("a", 1).expect(200);
    let tag = put.header("etag").unwrap();
    stage.ask("GET", "/InventoryItem/a", &[("If-None-Match", tag)], "").expect(304);
    fault(&stage, Method::Put, plain("{\"id\":\"a\",\"quantity\":2}"));
    assert_ne!(stage.put_quantity("a", 2).expect(200).header("etag").unwrap(), tag);
}

/// `stores_verbatim`: a 204 to a put confirms what was sent.
#[test]
fn an_origin_that_stores_what_it_is_sent_confirms_it_without_a_body() {
    let stage = setup().origin("stores_verbatim: true").start();
    fault(&stage, Method::Put, FaultKind::ApplyThenAnswer(Answer::new(204).header("ETag", "\"v1\"")));
    let put = stage.put("a", "{\"quantity\": 1}").expect_outcome(200, "applied");
    assert_eq!((put.body.as_str(), put.header("etag")), ("{\"id\":\"a\",\"quantity\":1}", Some("\"v1\"")));
    stage.saw();
    assert_eq!((stage.get("a").expect(200).body, stage.saw().len()), (put.body, 0));
}
