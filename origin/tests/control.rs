//! The control requests, as a person with curl has them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::ErrorKind;

use common::{ask, origin};
use serde_json::json;
use wtcache_origin::{Origin, OriginOptions};

fn with_faults() -> Origin {
    Origin::start(OriginOptions::new().faults_over_http(true)).unwrap()
}

#[test]
fn the_log_and_the_calls_can_be_read_and_do_not_count() {
    let origin = origin();
    ask(&origin, "PUT", "/items/a", "{}").unwrap();
    ask(&origin, "GET", "/items/a", "").unwrap();
    assert_eq!(ask(&origin, "GET", "/_calls", "").unwrap().json(), json!({"calls": 2}));
    let log = ask(&origin, "GET", "/_log", "").unwrap().json();
    assert_eq!(log.as_array().unwrap().len(), 2);
    assert_eq!((&log[0]["method"], &log[0]["status"], &log[0]["applied"]), (&json!("PUT"), &json!(201), &json!(true)));
    assert_eq!(ask(&origin, "GET", "/_log?last=1", "").unwrap().json()[0]["method"], "GET");
    assert_eq!(ask(&origin, "GET", "/_log?last=x", "").unwrap().status, 400);
    assert_eq!(ask(&origin, "DELETE", "/_log", "").unwrap().status, 405);
    assert_eq!(ask(&origin, "GET", "/_other", "").unwrap().status, 404);
    assert_eq!(origin.calls(), 2);
}

#[test]
fn faults_over_http_are_off_by_default() {
    assert_eq!(ask(&origin(), "POST", "/_faults", "{}").unwrap().status, 404);
}

#[test]
fn a_fault_can_be_posted_listed_and_dropped() {
    let origin = with_faults();
    let rule = r#"{"method":"PUT","id":"a","kind":"reset-after-apply","times":2}"#;
    let posted = ask(&origin, "POST", "/_faults", rule).unwrap();
    let waiting = json!([{"method": "PUT", "id": "a", "kind": "reset-after-apply", "times": 2}]);
    assert_eq!((posted.status, posted.json()), (201, waiting));
    assert_eq!(ask(&origin, "PUT", "/items/a", "{}").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(origin.record("a").is_some());
    assert_eq!(ask(&origin, "GET", "/_faults", "").unwrap().json()[0]["times"], 1);
    assert_eq!(ask(&origin, "DELETE", "/_faults", "").unwrap().status, 204);
    assert_eq!(ask(&origin, "PUT", "/items/a", "{}").unwrap().status, 200);
}

#[test]
fn an_answer_is_posted_with_status_headers_and_body() {
    let origin = with_faults();
    let rule = r#"{"method":"GET","kind":"answer","status":503,"headers":{"Retry-After":"2"},"body":{"error":"x"}}"#;
    assert_eq!(ask(&origin, "POST", "/_faults", rule).unwrap().status, 201);
    let answer = ask(&origin, "GET", "/items/any", "").unwrap();
    assert_eq!((answer.status, answer.header("retry-after"), answer.json()), (503, Some("2"), json!({"error": "x"})));
}

#[test]
fn every_kind_has_a_name() {
    let origin = with_faults();
    for (kind, more) in [
        ("delay-before-apply", r#","delay_ms":1"#),
        ("delay-after-apply", r#","delay_ms":1"#),
        ("answer", r#","status":500"#),
        ("apply-then-answer", r#","status":204"#),
        ("reset-on-head", ""),
        ("reset-before-apply", ""),
        ("reset-after-apply", ""),
        ("close-before-apply", ""),
        ("close-after-apply", ""),
        ("hang-before-apply", ""),
        ("hang-after-apply", ""),
        ("truncated-body", ""),
        ("slow-body", r#","delay_ms":1"#),
        ("broken-chunked", ""),
        ("close-after-answer", ""),
        ("close-after-answer-announced", ""),
        ("oversize-body", r#","bytes":100"#),
        ("stray-reset", r#","delay_ms":1"#),
        ("stray-hang", r#","delay_ms":0"#),
    ] {
        let rule = format!(r#"{{"method":"PUT","kind":"{kind}"{more}}}"#);
        let posted = ask(&origin, "POST", "/_faults", &rule).unwrap();
        assert_eq!(posted.status, 201, "{}", posted.body);
        let listed = posted.json();
        assert_eq!(listed.as_array().unwrap().last().unwrap()["kind"], kind);
    }
    assert_eq!(origin.faults_waiting(), 19);
}

#[test]
fn what_is_unknown_is_refused_by_name() {
    let origin = with_faults();
    for (rule, named) in [
        ("nonsense", "line 1, column 9: a colon after the id is expected"),
        ("{", "not JSON"),
        ("# a remark\n", "neither"),
        ("a: PUT 503\nb: PUT 700", "line 2, column 8: a status from 200 to 599"),
        ("", "neither"),
        (r#"{"method":"PUT","kind":"reset-on-head","times":"often"}"#, "times"),
        (r#"{"method":"PUT","kind":"ok","status":200}"#, "status: unknown for ok"),
        (r#"{"kind":"answer"}"#, "method"),
        (r#"{"method":"put","kind":"answer"}"#, "method"),
        (r#"{"method":"PUT"}"#, "kind: missing"),
        (r#"{"method":"PUT","kind":"explode"}"#, "\\\"explode\\\" is unknown"),
        (r#"{"method":"PUT","kind":"reset-on-head","tiems":2}"#, "tiems: unknown"),
        (r#"{"method":"PUT","kind":"reset-on-head","times":-1}"#, "times"),
        (r#"{"method":"PUT","kind":"reset-on-head","id":1}"#, "id: a string"),
        (r#"{"method":"PUT","kind":"reset-on-head","delay_ms":1}"#, "delay_ms: unknown"),
        (r#"{"method":"PUT","kind":"slow-body"}"#, "delay_ms: missing"),
        (r#"{"method":"PUT","kind":"oversize-body"}"#, "bytes: missing"),
        (r#"{"method":"PUT","kind":"answer"}"#, "status: missing"),
        (r#"{"method":"PUT","kind":"answer","status":99}"#, "status: 200 to 599"),
        (r#"{"method":"PUT","kind":"answer","status":500,"headers":{"A":"b\r\nC: d"}}"#, "headers"),
    ] {
        let refused = ask(&origin, "POST", "/_faults", rule).unwrap();
        assert_eq!(refused.status, 400, "{rule}: {}", refused.body);
        assert!(refused.body.contains(named), "{rule}: {}", refused.body);
    }
    assert_eq!(origin.faults_waiting(), 0);
}

#[test]
fn a_script_is_posted_as_text_and_struck_in_its_order() {
    let origin = with_faults();
    let script = "a: PUT 503 retry-after=2, ok; GET else 500\n*: PUT 429";
    let posted = ask(&origin, "POST", "/_faults", script).unwrap();
    let rule = |method: &str, id, kind: &str, times| json!({"method": method, "id": id, "kind": kind, "times": times});
    let all = [
        rule("PUT", json!("a"), "answer", json!(1)),
        rule("PUT", json!("a"), "ok", json!(1)),
        rule("GET", json!("a"), "answer", json!("always")),
        rule("PUT", json!(null), "answer", json!(1)),
    ];
    assert_eq!((posted.status, posted.json()), (201, json!(all)));
    let statuses = |method: &str| [0; 4].map(|_| ask(&origin, method, "/items/a", "{}").unwrap().status);
    assert_eq!(statuses("PUT"), [503, 201, 429, 200], "its own row, then that of all");
    assert_eq!(statuses("GET"), [500; 4]);
    assert_eq!(origin.faults_waiting(), 1);
}

#[test]
fn a_rule_may_be_for_always_or_for_none_to_fare_badly() {
    let origin = with_faults();
    for rule in [r#"{"method":"GET","kind":"ok"}"#, r#"{"method":"GET","kind":"answer","status":503,"times":"always"}"#]
    {
        assert_eq!(ask(&origin, "POST", "/_faults", rule).unwrap().status, 201);
    }
    assert_eq!([0; 3].map(|_| ask(&origin, "GET", "/items/a", "").unwrap().status), [404, 503, 503]);
}
