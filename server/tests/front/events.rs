//! `GET /-/events`: what happens to keys, told as it happens.

use std::io::Read;
use std::net::TcpStream;

use serde_json::{Value, json};
use wtcache_origin::{Fault, FaultKind, Method};

use crate::common::{PATIENCE, Stage, setup};

/// A reader of events.
struct Events {
    stream: TcpStream,
    read: String,
}

impl Events {
    fn of(stage: &Stage, table: &str) -> Self {
        use std::io::Write;
        let mut stream = TcpStream::connect(stage.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /-/events?table={table} HTTP/1.1\r\nHost: f\r\n\r\n").unwrap();
        let mut events = Self { stream, read: String::new() };
        events.until(&format!(": events of {table}\n\n"));
        events
    }

    /// Reads on until this was said; gives what was, up to there.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.read.find(text) {
                let rest = self.read.split_off(at + text.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let mut block = [0; 4096];
            let read = self.stream.read(&mut block).unwrap();
            assert!(read > 0, "it ended before {text:?}: {}", self.read);
            self.read.push_str(std::str::from_utf8(&block[..read]).unwrap());
        }
    }

    /// The next event of this name: its id and data.
    #[track_caller]
    fn next(&mut self, name: &str) -> (Option<u64>, Value) {
        let before = self.until(&format!("event: {name}\ndata: "));
        let id = before.rsplit("id: ").next().and_then(|rest| rest.lines().next()?.parse().ok());
        let data = self.until("\n\n");
        (id.filter(|_| before.contains("id: ")), serde_json::from_str(&data).unwrap())
    }
}

#[test]
fn b5_what_happens_to_a_key_is_told_in_order() {
    let stage = setup().table("events: true").start();
    let mut events = Events::of(&stage, "InventoryItem");
    stage.put_quantity("a", 1).expect(200);
    let (first, put) = events.next("put");
    assert_eq!((&put["key"], &put["kept"]), (&json!("a"), &json!(true)));
    stage.ask("POST", "/-/invalidate", &[], r#"{"table":"InventoryItem","key":"a"}"#).expect(200);
    let (second, invalidated) = events.next("invalidated");
    assert_eq!(invalidated["key"], "a");
    assert!(invalidated["sequence"].as_u64() > put["sequence"].as_u64());
    stage.get("a").expect(200);
    let (third, retained) = events.next("retained");
    assert_eq!(retained["absent"], false);
    assert_eq!([first, second, third], [Some(1), Some(2), Some(3)]);
    // Of another table, nothing.
    let mut others = Events::of(&stage, "Part");
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    stage.put_quantity("a", 2).expect(502);
    assert_eq!(events.next("in-doubt").1["key"], "a");
    stage.ask("PUT", "/Part/b", &[], r#"{"sku":"x"}"#).expect(200);
    assert_eq!(others.next("put").1["key"], "b");
}

#[test]
fn who_reads_too_slowly_is_told_how_much_was_missed() {
    let stage = setup().table("events: true").start();
    let mut events = Events::of(&stage, "InventoryItem");
    // More than sockets and the events held take, and nobody reads.
    let keys: Vec<String> =
        (0..20_000).map(|n| format!("a-rather-long-key-of-a-record-{n}-{}", "x".repeat(400))).collect();
    for keys in keys.chunks(1_000) {
        let body = json!({ "table": "InventoryItem", "keys": keys }).to_string();
        stage.ask("POST", "/-/invalidate", &[], &body).expect(200);
    }
    let (_, gap) = events.next("gap");
    assert!(gap["missed"].as_u64().unwrap() > 0, "{gap}");
}

#[test]
fn the_breaker_is_told() {
    let stage = setup()
        .table("events: true")
        .origin("breaker: { calls: 1, failures: 1%, window: 1m, open_for: 1h }")
        .real_time()
        .start();
    let mut events = Events::of(&stage, "InventoryItem");
    assert_eq!(events.next("breaker").1["state"], "closed");
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::ResetBeforeApply));
    stage.get("a").expect(502);
    assert_eq!(events.next("breaker").1["state"], "open");
}

#[test]
fn b4_a_reader_does_not_hold_the_end_up() {
    let mut stage = setup().table("events: true").start();
    let mut events = Events::of(&stage, "InventoryItem");
    let begun = std::time::Instant::now();
    stage.ended();
    assert!(begun.elapsed() < std::time::Duration::from_secs(8), "{:?}", begun.elapsed());
    let mut rest = String::new();
    events.stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the body has its end: {rest:?}");
}

#[test]
fn events_are_told_where_they_are_asked_for_only() {
    let stage = setup().start();
    let problem = stage.ask("GET", "/-/events?table=InventoryItem", &[], "").expect(404).json();
    assert!(problem["detail"].as_str().unwrap().contains("events: true"), "{problem}");
    stage.ask("GET", "/-/events?table=Elsewhere", &[], "").expect(400);
    stage.ask("POST", "/-/events?table=InventoryItem", &[], "{}").expect(405);
}
