//! The origin's HTTP/1.1, byte by byte.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Client, ask, origin};
use serde_json::json;
use wtcache_origin::{Origin, OriginOptions};

#[test]
fn a_chunked_body_is_decoded() {
    let origin = origin();
    let mut client = Client::of(&origin);
    client.raw(
        "PUT /items/a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n\
         4\r\n{\"n\"\r\n3;x=y\r\n:7}\r\n0\r\nTrailer: t\r\n\r\n",
    );
    assert_eq!(client.receive().unwrap().json()["n"], 7);
    client.send("GET", "/items/a", &[], "");
    assert_eq!(client.receive().unwrap().json()["n"], 7);
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    let origin = origin();
    let mut client = Client::of(&origin);
    let put = "PUT /items/a HTTP/1.1\r\nHost: o\r\nContent-Length: 2\r\n\r\n{}";
    client.raw(&format!("{put}{put}GET /items/a HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n"));
    assert_eq!(client.receive().unwrap().status, 201);
    assert_eq!(client.receive().unwrap().status, 200);
    let last = client.receive().unwrap();
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert_eq!(client.rest().unwrap(), "");
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let origin = origin();
    let mut client = Client::of(&origin);
    client.raw("PUT /items/a HTTP/1.1\r\nHost: o\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.receive().unwrap().status, 100);
    client.raw("{}");
    assert_eq!(client.receive().unwrap().status, 201);
}

#[test]
fn a_body_beyond_the_limit_is_refused_unread() {
    let origin = origin();
    let mut client = Client::of(&origin);
    client.raw("PUT /items/a HTTP/1.1\r\nHost: o\r\nContent-Length: 1048577\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.receive().unwrap().status, 413);
    assert_eq!(client.rest().unwrap(), "");
    let mut client = Client::of(&origin);
    client.raw("PUT /items/a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n");
    assert_eq!(client.receive().unwrap().status, 413);
    assert_eq!(origin.log().iter().map(|e| e.status).collect::<Vec<_>>(), [Some(413), Some(413)]);
    let largest = format!("{{\"n\":\"{}\"}}", "x".repeat(1024 * 1024 - 8));
    assert_eq!(largest.len(), 1024 * 1024);
    assert_eq!(ask(&origin, "PUT", "/items/a", &largest).unwrap().status, 201);
}

#[test]
fn malformed_requests_are_refused_and_the_connection_closes() {
    let origin = origin();
    let long = format!("GET /items HTTP/1.1\r\nHost: o\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    for (text, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET /items HTTP/1.1\r\n\r\n", 400),
        ("GET /items HTTP/2.0\r\nHost: o\r\n\r\n", 505),
        ("PUT /items/a HTTP/1.1\r\nHost: o\r\nContent-Length: 2, 3\r\n\r\n{}", 400),
        ("PUT /items/a HTTP/1.1\r\nHost: o\r\nContent-Length: +2\r\n\r\n{}", 400),
        ("PUT /items/a HTTP/1.1\r\nHost: o\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        ("PUT /items/a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: gzip\r\n\r\n{}", 501),
        ("PUT /items/a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("PUT /items/a HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n", 400),
        (long.as_str(), 431),
    ] {
        let mut client = Client::of(&origin);
        client.raw(text);
        let answer = client.receive().unwrap();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{text:.80}");
        assert_eq!(client.rest().unwrap(), "", "{text:.80}");
    }
    assert!(origin.record("a").is_none());
}

#[test]
fn http_1_0_closes_if_not_asked_to_stay() {
    let origin = origin();
    let mut client = Client::of(&origin);
    client.raw("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.receive().unwrap().body, "ok");
    client.raw("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(client.receive().unwrap().body, "ok");
    assert_eq!(client.rest().unwrap(), "");
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin::start(OriginOptions::new().idle_timeout(Duration::from_millis(50))).unwrap();
    let mut client = Client::of(&origin);
    client.send("GET", "/healthz", &[], "");
    assert_eq!(client.receive().unwrap().status, 200);
    assert_eq!(client.rest().unwrap(), "");
}

#[test]
fn connections_beyond_the_limit_get_a_503() {
    let origin = Origin::start(OriginOptions::new().max_connections(2)).unwrap();
    origin.seed("a", json!({}));
    let mut kept: Vec<Client> = (0..2).map(|_| Client::of(&origin)).collect();
    for client in &mut kept {
        client.send("GET", "/items/a", &[], "");
        assert_eq!(client.receive().unwrap().status, 200);
    }
    let turned_away = Client::of(&origin).receive().unwrap();
    assert_eq!((turned_away.status, turned_away.header("connection")), (503, Some("close")));
    for client in &mut kept {
        client.send("GET", "/items/a", &[], "");
        assert_eq!(client.receive().unwrap().status, 200);
    }
}
