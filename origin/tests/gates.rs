//! Gates: the order of things without sleeping.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Client, PATIENCE, ask, origin};
use serde_json::json;
use wtcache_origin::{Answer, Fault, FaultKind, Method, Target, When};

#[test]
fn a_load_reads_the_old_value_then_waits() {
    let origin = origin();
    origin.seed("a", json!({"n": 1}));
    let gate = origin.gate(Method::Get, "a", When::AfterApply);
    let mut load = Client::of(&origin);
    load.send("GET", "/items/a", &[], "");
    assert!(gate.wait_arrived(PATIENCE));
    assert_eq!(ask(&origin, "PUT", "/items/a", "{\"n\":2}").unwrap().status, 200);
    assert_eq!(ask(&origin, "GET", "/items/a", "").unwrap().json()["n"], 2, "the gate holds one request");
    gate.release();
    assert_eq!(load.receive().unwrap().json()["n"], 1);
}

#[test]
fn a_load_held_before_reading_reads_the_new_value() {
    let origin = origin();
    origin.seed("a", json!({"n": 1}));
    let gate = origin.gate(Method::Get, "a", When::BeforeApply);
    let mut load = Client::of(&origin);
    load.send("GET", "/items/a", &[], "");
    assert!(gate.wait_arrived(PATIENCE));
    origin.seed("a", json!({"n": 2}));
    gate.release();
    assert_eq!(load.receive().unwrap().json()["n"], 2);
}

#[test]
fn a_write_is_held_before_or_after_it_is_applied() {
    let origin = origin();
    let before = origin.gate(Method::Put, "a", When::BeforeApply);
    let after = origin.gate(Method::Put, "a", When::AfterApply);
    let mut client = Client::of(&origin);
    client.send("PUT", "/items/a", &[], "{}");
    assert!(before.wait_arrived(PATIENCE));
    assert_eq!((origin.record("a"), after.arrived()), (None, 0));
    before.release();
    assert!(after.wait_arrived(PATIENCE));
    assert!(origin.record("a").is_some() && origin.log()[0].applied && origin.log()[0].status.is_none());
    drop(after);
    assert_eq!(client.receive().unwrap().status, 201);
}

#[test]
fn two_gates_turn_the_order_of_two_writes_around() {
    let origin = origin();
    let first = origin.gate(Method::Put, "a", When::BeforeApply);
    let second = origin.gate(Method::Put, "a", When::BeforeApply);
    let mut clients = [Client::of(&origin), Client::of(&origin)];
    clients[0].send("PUT", "/items/a", &[], "{\"n\":1}");
    assert!(first.wait_arrived(PATIENCE));
    clients[1].send("PUT", "/items/a", &[], "{\"n\":2}");
    assert!(second.wait_arrived(PATIENCE));
    second.release();
    assert_eq!(clients[1].receive().unwrap().status, 201);
    first.release();
    assert_eq!(clients[0].receive().unwrap().status, 200);
    assert_eq!(origin.record("a").unwrap()["n"], 1);
}

#[test]
fn a_gate_for_all_holds_a_crowd() {
    let origin = origin();
    let gate = origin.gate_all(Method::Get, Target::Any, When::BeforeApply);
    origin.fault(Fault::on(Method::Get, Target::Any).kind(FaultKind::Answer(Answer::new(500))).times(10));
    let mut clients: Vec<Client> = (0..10).map(|_| Client::of(&origin)).collect();
    for client in &mut clients {
        client.send("GET", "/items/a", &[], "");
    }
    assert!(gate.wait_arrivals(10, PATIENCE));
    assert_eq!(gate.arrived(), 10);
    assert!(origin.log().iter().all(|entry| entry.status.is_none()));
    gate.release();
    for client in &mut clients {
        assert_eq!(client.receive().unwrap().status, 500);
    }
    assert_eq!(ask(&origin, "GET", "/items/a", "").unwrap().status, 404, "released for good");
}

#[test]
fn a_gate_that_nobody_reaches_says_so() {
    let origin = origin();
    let gate = origin.gate(Method::Put, "a", When::BeforeApply);
    assert_eq!(ask(&origin, "PUT", "/items/b", "{}").unwrap().status, 201);
    assert_eq!(ask(&origin, "GET", "/items/a", "").unwrap().status, 404);
    assert!(!gate.wait_arrived(Duration::from_millis(10)));
    assert!(!origin.wait_for(|log| log.len() > 2, Duration::from_millis(10)));
    gate.release();
    assert_eq!(ask(&origin, "PUT", "/items/a", "{}").unwrap().status, 201);
}
