//! Clients that go away, and the end of a front.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use wtcache_origin::{Fault, FaultKind, Method, Target, When};

use crate::NOTHING;
use crate::common::{PATIENCE, setup, stage};

/// A2: after the send, a caller that goes away changes nothing.
#[test]
fn a_write_whose_client_went_away_runs_on_and_is_committed() {
    for when in [When::BeforeApply, When::AfterApply] {
        let stage = stage();
        let gate = stage.origin.gate(Method::Put, "a", when);
        let mut client = stage.client();
        client.send("PUT", "/InventoryItem/a", &[], "{\"quantity\":2}");
        assert!(gate.wait_arrived(PATIENCE));
        drop(client);
        // The front has seen the client go once it answers others on the same runtime; the write is at the origin still.
        stage.ask("GET", "/-/healthz", &[], "").expect(200);
        gate.release();
        stage.wait_for_stats("InventoryItem", |stats| stats.writes_applied == 1);
        assert_eq!(stage.saw(), ["PUT a"]);
        let get = stage.get("a").expect(200);
        assert_eq!((get.quantity(), stage.saw()), (2, vec![]), "committed: it is served without a call");
    }
}

/// A load goes on for those who wait for it.
#[test]
fn a_reader_that_goes_away_takes_nobody_along() {
    let stage = stage();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    let gate = stage.origin.gate(Method::Get, "a", When::AfterApply);
    let mut leader = stage.client();
    leader.send("GET", "/InventoryItem/a", &[], "");
    assert!(gate.wait_arrived(PATIENCE));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| stage.get("a"));
        stage.wait_for_stats("InventoryItem", |stats| stats.joined == 1);
        drop(leader);
        stage.ask("GET", "/-/healthz", &[], "").expect(200);
        gate.release();
        assert_eq!(waiter.join().unwrap().expect(200).quantity(), 1);
    });
    assert_eq!(stage.saw(), ["GET a"]);
}

/// A body that never came whole was no write.
#[test]
fn a_client_that_goes_away_within_its_body_has_written_nothing() {
    let mut stage = stage();
    for (framing, part) in
        [("Content-Length: 14", "{\"quantity\":2"), ("Transfer-Encoding: chunked", "e\r\n{\"quantity\":2}\r\n")]
    {
        let mut client = stage.client();
        client.raw(format!("PUT /InventoryItem/a HTTP/1.1\r\nHost: f\r\n{framing}\r\n\r\n{part}").as_bytes());
        drop(client);
    }
    assert_eq!(stage.ended(), NOTHING, "all connections have ended");
    assert_eq!(stage.saw(), NOTHING);
}

/// B4: what is under way is answered, and nobody is let in any more.
#[test]
fn at_the_end_requests_under_way_are_answered() {
    let mut stage = stage();
    stage.origin.seed("b", json!({ "quantity": 7 }));
    let put = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    let get = stage.origin.gate(Method::Get, "b", When::BeforeApply);
    let mut writer = stage.client();
    writer.send("PUT", "/InventoryItem/a", &[], "{\"quantity\":2}");
    let mut reader = stage.client();
    reader.send("GET", "/InventoryItem/b", &[], "");
    assert!(put.wait_arrived(PATIENCE) && get.wait_arrived(PATIENCE));
    stage.ask_to_end();
    while std::net::TcpStream::connect(stage.address).is_ok() {
        thread::yield_now();
    }
    put.release();
    get.release();
    assert_eq!(writer.receive().expect(200).quantity(), 2);
    assert_eq!(reader.receive().expect(200).quantity(), 7);
    assert_eq!(stage.ended(), NOTHING);
}

/// B4: a write whose client has left is still waited for.
#[test]
fn at_the_end_writes_that_were_sent_run_to_their_outcome() {
    let mut stage = stage();
    let gate = stage.origin.gate(Method::Put, "a", When::BeforeApply);
    let mut client = stage.client();
    client.send("PUT", "/InventoryItem/a", &[], "{\"quantity\":2}");
    assert!(gate.wait_arrived(PATIENCE));
    drop(client);
    stage.ask_to_end();
    while std::net::TcpStream::connect(stage.address).is_ok() {
        thread::yield_now();
    }
    gate.release();
    assert_eq!(stage.ended(), NOTHING);
    let log = stage.origin.log();
    assert!(log[0].applied && log[0].status == Some(201), "{log:?}");
}

/// B4: what is left is reported by key.
#[test]
fn at_the_end_what_is_in_doubt_is_told() {
    let mut stage = setup().timeout("300ms").origin("settle_window: 1h").start();
    stage.origin.fault(Fault::on(Method::Put, "item 1").kind(FaultKind::HangAfterApply));
    stage.put_quantity("item%201", 1).expect_outcome(504, "in-doubt");
    stage.origin.fault(Fault::on(Method::Delete, "b").kind(FaultKind::ResetAfterApply));
    stage.delete("b").expect_outcome(502, "in-doubt");
    let mut left = stage.ended();
    left.sort();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with("InventoryItem: in doubt: ") && left[0].contains("item 1") && left[0].contains('b'));
}

/// The end does not wait for connections on which nothing happens.
#[test]
fn at_the_end_idle_connections_are_closed() {
    let mut stage = stage();
    let idle = stage.client();
    let mut served = stage.client();
    served.raw(b"GET /-/healthz HTTP/1.1\r\nHost: f\r\n\r\n");
    let begun = Instant::now();
    assert_eq!(stage.ended(), NOTHING);
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(idle);
}

/// B2, G8: limits are per origin: one that hangs takes no places from another table's.
#[test]
fn a_table_whose_origin_hangs_does_not_hold_up_another() {
    let stage = setup().real_time().start();
    stage.origin.fault(Fault::on(Method::Get, Target::Any).kind(FaultKind::HangBeforeApply).times(64));
    thread::scope(|scope| {
        for n in 0..70 {
            let stage = &stage;
            scope.spawn(move || stage.ask("GET", &format!("/Part/{n}"), &[], ""));
        }
        let all = stage.origin.wait_for(|log| log.len() == 64, PATIENCE);
        assert!(all, "as many calls as there are places: {}", stage.origin.calls());
        let begun = Instant::now();
        let other = stage.get("a").status;
        let took = begun.elapsed();
        stage.origin.release_hangs();
        assert_eq!(other, 404);
        assert!(took < Duration::from_secs(10), "it waited {took:?} for a place");
    });
}
