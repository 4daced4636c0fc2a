//! Start, stop, and start again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::PathBuf;

use common::{Client, PATIENCE, ask, origin};
use wtcache_origin::{Fault, FaultKind, Method, Origin, OriginOptions, Target, When};

/// A directory of the test's own, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wtcache-origin-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn records_and_revisions_survive_a_restart_on_the_same_port() {
    let scratch = Scratch::new("restart");
    let db = scratch.file("inventory.db");
    let first = Origin::start(OriginOptions::new().db(&db)).unwrap();
    let mut kept = Client::of(&first);
    for _ in 0..2 {
        kept.send("PUT", "/items/a", &[], "{}");
        kept.receive().unwrap();
    }
    ask(&first, "PUT", "/items/gone", "{}").unwrap();
    ask(&first, "DELETE", "/items/gone", "").unwrap();
    let port = first.addr().port();
    for _ in 0..3 {
        first.stop();
        assert_eq!(kept.rest().unwrap_or_default(), "");
        assert_eq!(first.record("a").unwrap()["revision"], 2, "a stopped origin can still be read");
    }
    let second = Origin::start(OriginOptions::new().db(&db).port(port)).unwrap();
    assert_eq!(second.url(), first.url());
    assert_eq!(ask(&second, "GET", "/items/a", "").unwrap().json()["revision"], 2);
    assert_eq!(ask(&second, "PUT", "/items/gone", "{}").unwrap().json()["revision"], 3);
}

#[test]
fn a_stop_ends_what_is_held_without_applying_it() {
    let origin = origin();
    let gate = origin.gate(Method::Put, "gated", When::BeforeApply);
    let stray = origin.stray(Method::Put, "stray");
    origin.fault(Fault::on(Method::Put, "hung").kind(FaultKind::HangBeforeApply));
    let mut clients: Vec<Client> = (0..3).map(|_| Client::of(&origin)).collect();
    for (client, id) in clients.iter_mut().zip(["gated", "stray", "hung"]) {
        client.send("PUT", &format!("/items/{id}"), &[], "{}");
    }
    assert!(gate.wait_arrived(PATIENCE) && stray.wait_arrived(PATIENCE));
    assert!(origin.wait_for(|log| log.len() == 3, PATIENCE));
    origin.stop();
    drop((gate, stray));
    for (client, id) in clients.iter_mut().zip(["gated", "stray", "hung"]) {
        assert!(client.receive().is_err(), "{id}");
        assert_eq!(origin.record(id), None);
    }
    assert!(origin.log().iter().all(|entry| !entry.applied && entry.status.is_none() && entry.elapsed.is_some()));
    assert!(origin.resume_accept().is_err());
}

#[test]
fn a_paused_origin_refuses_connections_and_comes_back() {
    let origin = origin();
    let mut kept = Client::of(&origin);
    kept.send("GET", "/healthz", &[], "");
    kept.receive().unwrap();
    origin.pause_accept();
    origin.pause_accept();
    assert_eq!(TcpStream::connect(origin.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    kept.send("GET", "/healthz", &[], "");
    assert_eq!(kept.receive().unwrap().status, 200, "an open connection stays");
    origin.drop_connections();
    assert!(kept.receive().is_err());
    origin.resume_accept().unwrap();
    origin.resume_accept().unwrap();
    assert_eq!(ask(&origin, "GET", "/healthz", "").unwrap().status, 200);
}

#[test]
fn a_port_in_use_is_named() {
    let first = origin();
    let port = first.addr().port();
    let error = Origin::start(OriginOptions::new().port(port)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), format!("port {port} of 127.0.0.1 is already in use"));
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let scratch = Scratch::new("foreign");
    let text = scratch.file("notes.txt");
    let content = "not a database ".repeat(1000);
    std::fs::write(&text, &content).unwrap();
    let error = Origin::start(OriginOptions::new().db(&text)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("notes.txt is not an inventory database"), "{error}");
    assert_eq!(std::fs::read_to_string(&text).unwrap(), content);

    let foreign = scratch.file("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE items(x)").unwrap();
    let error = Origin::start(OriginOptions::new().db(&foreign)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("foreign.db is a SQLite database, but not one of"), "{error}");

    let error = Origin::start(OriginOptions::new().db(scratch.file("no/such/dir.db"))).unwrap_err();
    assert!(error.to_string().contains("dir.db cannot be opened"), "{error}");
}

#[test]
fn dropping_an_origin_closes_its_port() {
    let origin = origin();
    let addr = origin.addr();
    let gate = origin.gate_all(Method::Get, Target::Any, When::AfterApply);
    let mut client = Client::of(&origin);
    client.send("GET", "/items", &[], "");
    assert!(gate.wait_arrived(PATIENCE));
    drop(origin);
    assert!(client.receive().is_err());
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
