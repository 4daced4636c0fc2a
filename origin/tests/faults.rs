//! Each fault strikes at its moment: what the client sees, what the log says, what the records hold.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Response, ask, origin};
use serde_json::{Value, json};
use wtcache_origin::{Answer, Entry, Fault, FaultKind, Method, Origin, Target};

const SOME: Duration = Duration::from_millis(30);

/// Puts `{"n":1}` over a seeded `{"n":0}` with a fault in the way.
fn put_with(kind: FaultKind) -> (Origin, std::io::Result<Response>) {
    let origin = origin();
    origin.seed("a", json!({"n": 0}));
    origin.fault(Fault::on(Method::Put, "a").kind(kind));
    let answer = ask(&origin, "PUT", "/items/a", "{\"n\":1}");
    assert_eq!(origin.faults_waiting(), 0);
    (origin, answer)
}

fn n(origin: &Origin) -> Value {
    origin.record("a").unwrap()["n"].clone()
}

fn only_entry(origin: &Origin) -> Entry {
    let mut log = origin.log();
    assert_eq!(log.len(), 1);
    log.pop().unwrap()
}

#[test]
fn a_delay_before_apply_ends_in_the_usual_answer() {
    let timed = Instant::now();
    let (origin, answer) = put_with(FaultKind::DelayBeforeApply(SOME));
    assert_eq!((answer.unwrap().status, n(&origin)), (200, json!(1)));
    assert!(timed.elapsed() >= SOME);
}

#[test]
fn a_delay_before_apply_has_not_applied_yet() {
    let origin = origin();
    origin.fault(Fault::on(Method::Put, Target::Any).kind(FaultKind::DelayBeforeApply(PATIENCE * 100)));
    let mut client = Client::of(&origin);
    client.send("PUT", "/items/a", &[], "{}");
    assert!(origin.wait_for(|log| log.len() == 1, PATIENCE));
    origin.stop();
    assert_eq!((origin.record("a"), only_entry(&origin).applied), (None, false));
    assert!(client.receive().is_err());
}

#[test]
fn a_delay_after_apply_has_applied_already() {
    let origin = origin();
    origin.fault(Fault::on(Method::Put, Target::Any).kind(FaultKind::DelayAfterApply(PATIENCE * 100)));
    let mut client = Client::of(&origin);
    client.send("PUT", "/items/a", &[], "{}");
    assert!(origin.wait_for(|log| log.iter().any(|e| e.applied), PATIENCE));
    assert!(origin.record("a").is_some());
    assert_eq!(only_entry(&origin).elapsed, None);
    origin.stop();
    assert!(client.receive().is_err());
    assert_eq!(only_entry(&origin).status, None);
    let (_, answer) = put_with(FaultKind::DelayAfterApply(SOME));
    assert_eq!(answer.unwrap().status, 200);
}

#[test]
fn an_answer_without_apply_changes_nothing() {
    let busy = Answer::new(503).header("Retry-After", "2").body("later");
    let (origin, answer) = put_with(FaultKind::Answer(busy));
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.header("retry-after"), answer.body.as_str()), (503, Some("2"), "later"));
    let entry = only_entry(&origin);
    assert_eq!((n(&origin), entry.applied, entry.status), (json!(0), false, Some(503)));
}

#[test]
fn apply_then_answer_changes_the_record_whatever_it_says() {
    for instead in [
        Answer::new(204),
        Answer::new(200).header("Content-Type", "application/json").body("<garbage"),
        Answer::new(202),
        Answer::new(207),
        Answer::new(303).header("Location", "/items/b"),
        Answer::new(408),
        Answer::new(500).body("oops"),
    ] {
        let (origin, answer) = put_with(FaultKind::ApplyThenAnswer(instead.clone()));
        let answer = answer.unwrap();
        assert_eq!(answer.status, instead.status());
        assert_eq!(answer.header("content-length").is_none(), answer.status == 204);
        let entry = only_entry(&origin);
        assert_eq!((n(&origin), entry.applied, entry.status), (json!(1), true, Some(instead.status())));
        assert_eq!(entry.applied_seq, Some(2), "after the seed");
    }
}

#[test]
fn resets_reset_and_closes_close() {
    for (kind, error, applied) in [
        (FaultKind::ResetOnHead, ErrorKind::ConnectionReset, false),
        (FaultKind::ResetBeforeApply, ErrorKind::ConnectionReset, false),
        (FaultKind::ResetAfterApply, ErrorKind::ConnectionReset, true),
        (FaultKind::CloseBeforeApply, ErrorKind::UnexpectedEof, false),
        (FaultKind::CloseAfterApply, ErrorKind::UnexpectedEof, true),
    ] {
        let (origin, answer) = put_with(kind.clone());
        assert_eq!(answer.unwrap_err().kind(), error, "{kind:?}");
        let entry = only_entry(&origin);
        assert_eq!((n(&origin), entry.applied, entry.status), (json!(u8::from(applied)), applied, None), "{kind:?}");
        assert!(entry.elapsed.is_some());
        assert_eq!(ask(&origin, "GET", "/items/a", "").unwrap().status, 200, "{kind:?}: the next one is well");
    }
}

#[test]
fn reset_on_head_does_not_wait_for_the_body() {
    let origin = origin();
    origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetOnHead));
    let mut client = Client::of(&origin);
    client.raw("PUT /items/a HTTP/1.1\r\nHost: o\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(only_entry(&origin).body, None);
}

#[test]
fn hangs_neither_answer_nor_end_by_themselves() {
    for (kind, applied) in [(FaultKind::HangBeforeApply, false), (FaultKind::HangAfterApply, true)] {
        let origin = origin();
        origin.fault(Fault::on(Method::Put, "a").kind(kind));
        let mut client = Client::of(&origin);
        client.send("PUT", "/items/a", &[], "{}");
        assert!(origin.wait_for(|log| log.iter().any(|e| e.applied == applied), PATIENCE));
        client.stream.set_read_timeout(Some(SOME)).unwrap();
        let error = client.receive().unwrap_err().kind();
        assert!(matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error:?}");
        assert_eq!(only_entry(&origin).elapsed, None);
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        origin.release_hangs();
        assert_eq!(client.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let entry = only_entry(&origin);
        assert_eq!((entry.applied, entry.status, origin.record("a").is_some()), (applied, None, applied));
    }
}

#[test]
fn a_release_frees_every_hang_whose_request_has_arrived() {
    let origin = origin();
    for round in 1..=200 {
        origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::HangBeforeApply));
        let mut client = Client::of(&origin);
        client.send("GET", "/items/a", &[], "");
        assert!(origin.wait_for(|log| log.len() == round, PATIENCE));
        origin.release_hangs();
        assert_eq!(client.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_hang_ends_when_its_client_leaves() {
    let origin = origin();
    origin.fault(Fault::on(Method::Get, Target::Any).kind(FaultKind::HangBeforeApply));
    let mut client = Client::of(&origin);
    client.send("GET", "/items", &[], "");
    assert!(origin.wait_for(|log| log.len() == 1, PATIENCE));
    drop(client);
    assert!(origin.wait_for(|log| log[0].elapsed.is_some(), PATIENCE));
}

#[test]
fn a_truncated_body_promises_more_than_it_sends() {
    let (origin, answer) = put_with(FaultKind::TruncatedBody);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!((n(&origin), only_entry(&origin).status), (json!(1), Some(200)));

    origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::TruncatedBody));
    let mut client = Client::of(&origin);
    client.send("GET", "/items/a", &[], "");
    let text = client.rest().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length: usize = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && body.len() == length / 2 && !body.is_empty(), "{text}");

    origin.fault(Fault::on(Method::Delete, "a").kind(FaultKind::TruncatedBody));
    assert_eq!(ask(&origin, "DELETE", "/items/a", "").unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(origin.record("a"), None);
}

#[test]
fn a_slow_body_comes_byte_by_byte() {
    let timed = Instant::now();
    let (origin, answer) = put_with(FaultKind::SlowBody(Duration::from_millis(1)));
    let answer = answer.unwrap();
    assert_eq!(answer.json(), origin.record("a").unwrap());
    assert!(timed.elapsed().as_millis() >= answer.body.len() as u128);
}

#[test]
fn a_broken_chunk_ends_the_connection() {
    let origin = origin();
    origin.seed("a", json!({"n": 0}));
    origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::BrokenChunked));
    let mut client = Client::of(&origin);
    client.send("PUT", "/items/a", &[], "{\"n\":1}");
    let text = client.rest().unwrap();
    assert!(text.contains("Transfer-Encoding: chunked\r\n") && !text.contains("Content-Length"), "{text}");
    assert!(text.ends_with("\r\nnot-a-size\r\n"), "{text}");
    assert_eq!(n(&origin), 1);
}

#[test]
fn a_connection_closes_after_the_answer_announced_or_not() {
    for (kind, announced) in
        [(FaultKind::CloseAfterAnswer, None), (FaultKind::CloseAfterAnswerAnnounced, Some("close"))]
    {
        let origin = origin();
        origin.fault(Fault::on(Method::Put, "a").kind(kind));
        let mut client = Client::of(&origin);
        client.send("PUT", "/items/a", &[], "{}");
        let answer = client.receive().unwrap();
        assert_eq!((answer.status, answer.header("connection")), (201, announced));
        assert_eq!(client.rest().unwrap(), "");
    }
}

#[test]
fn an_oversize_body_has_the_length_asked_for() {
    let (origin, answer) = put_with(FaultKind::OversizeBody(3_000_000));
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 3_000_000));
    assert_eq!(answer.header("etag"), Some("\"r2\""));
    assert!(answer.json()["padding"].is_string());
    assert_eq!(n(&origin), 1);
}

#[test]
fn a_stray_is_applied_after_its_client_was_reset() {
    let origin = origin();
    origin.seed("a", json!({"n": 0}));
    let stray = origin.stray(Method::Put, "a");
    assert_eq!(ask(&origin, "PUT", "/items/a", "{\"n\":1}").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(stray.wait_arrived(PATIENCE));
    // A later write overtakes it.
    assert_eq!(ask(&origin, "PUT", "/items/a", "{\"n\":2}").unwrap().status, 200);
    assert_eq!(n(&origin), 2);
    stray.release();
    assert!(origin.wait_for(|log| log[0].applied && log[0].elapsed.is_some(), PATIENCE));
    assert_eq!(n(&origin), 1);
    let log = origin.log();
    assert_eq!((log[0].status, log[0].applied_seq, log[1].applied_seq), (None, Some(3), Some(2)));
}

#[test]
fn a_silent_stray_is_applied_though_its_client_left() {
    let origin = origin();
    let gate = origin.gate(Method::Put, "a", wtcache_origin::When::BeforeApply);
    origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::StrayHang(Duration::ZERO)));
    let mut client = Client::of(&origin);
    client.send("PUT", "/items/a", &[], "{}");
    assert!(gate.wait_arrived(PATIENCE));
    drop(client);
    assert_eq!(origin.record("a"), None);
    drop(gate);
    assert!(origin.wait_for(|log| log[0].applied && log[0].elapsed.is_some(), PATIENCE));
    assert_eq!(only_entry(&origin).status, None);
}

#[test]
fn rules_are_taken_in_order_and_used_up() {
    let origin = origin();
    origin.fault(Fault::on(Method::Get, Target::Any).kind(FaultKind::Answer(Answer::new(500))).times(2));
    origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(502))));
    let statuses: Vec<u16> = (0..4).map(|_| ask(&origin, "GET", "/items/a", "").unwrap().status).collect();
    assert_eq!(statuses, [500, 500, 502, 404]);
    origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(502))));
    assert_eq!(ask(&origin, "GET", "/healthz", "").unwrap().status, 200);
    assert_eq!(ask(&origin, "GET", "/items/b", "").unwrap().status, 404);
    origin.clear_faults();
    assert_eq!(ask(&origin, "GET", "/items/a", "").unwrap().status, 404);
}
