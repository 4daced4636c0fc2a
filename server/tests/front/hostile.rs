//! Clients that mean harm: what has no end, is taken by nobody, or is hidden where a parser may not look.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use wtcache_server::config::Limits;

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, setup, stage};

const CHUNKED: &str =
    "PUT /InventoryItem/a HTTP/1.1\r\nHost: f\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

fn connect(stage: &Stage) -> TcpStream {
    let stream = TcpStream::connect(stage.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends this again and again until the front takes no more, or `most` bytes are sent; how many were.
fn flood(stream: &mut TcpStream, part: &[u8], most: usize) -> usize {
    let mut sent = 0;
    while sent < most && stream.write_all(part).is_ok() {
        sent += part.len();
    }
    sent
}

/// The first answer, if the flood left one to be read.
fn answered(stream: &mut TcpStream) -> Option<Response> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    (!bytes.is_empty()).then(|| Response::parse(&bytes).checked())
}

/// B2: ten gibibytes that nobody announced: so much is taken as lets a client that has ended see its answer, and no more.
#[test]
fn a_body_without_an_end_is_refused_and_not_taken() {
    const MANY: usize = 10 << 30;
    let stage = stage();
    let part = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    for path in ["/InventoryItem/a", "/-/invalidate"] {
        let method = if path.starts_with("/-/") { "POST" } else { "PUT" };
        let mut stream = connect(&stage);
        stream
            .write_all(format!("{method} {path} HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())
            .unwrap();
        let begun = Instant::now();
        let sent = flood(&mut stream, &part, MANY);
        assert!(sent < 64 << 20, "{path}: it took {sent} bytes");
        assert!(begun.elapsed() < PATIENCE, "{path}");
        assert!(answered(&mut stream).is_none_or(|answer| answer.status == 413), "{path}");
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// Nothing is kept of the extensions of chunks, and nothing is gathered of trailers without a bound.
#[test]
fn extensions_and_trailers_without_an_end_are_refused() {
    let stage = stage();
    for (begins, part) in [("2;", "x".repeat(1024)), ("2\r\n{}\r\n0\r\n", format!("X: {}\r\n", "x".repeat(1024)))] {
        let mut stream = connect(&stage);
        stream.write_all(format!("{CHUNKED}{begins}").as_bytes()).unwrap();
        let sent = flood(&mut stream, part.as_bytes(), 1 << 30);
        assert!(sent < 64 << 20, "{begins:?}: it took {sent} bytes");
        assert!(answered(&mut stream).is_none_or(|answer| answer.status == 400), "{begins:?}");
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// B2: answers that are asked for and never taken hold no more than their connection's buffers, and that not for long.
#[test]
fn who_takes_nothing_of_his_answers_is_sent_away() {
    const ASKED: usize = 100;
    let limits = Limits { keep_alive: Duration::from_millis(150), ..Limits::default() };
    let stage = setup().limits(limits).start();
    stage.origin.seed("a", json!({ "sku": "x".repeat(900_000) }));
    stage.get("a").expect(200);
    let mut stream = connect(&stage);
    stream.write_all("GET /InventoryItem/a HTTP/1.1\r\nHost: f\r\n\r\n".repeat(ASKED).as_bytes()).unwrap();
    let begun = Instant::now();
    let late = || {
        let metrics = stage.ask("GET", "/-/metrics", &[], "").expect(200).body;
        metrics.lines().find_map(|line| line.strip_prefix("wtcache_connections_late_total ")?.parse::<u64>().ok())
    };
    while late() != Some(1) {
        assert!(begun.elapsed() < PATIENCE, "it is waited for");
        std::thread::yield_now();
    }
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.len() < ASKED * 900_000, "all was sent");
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// A body is JSON, which is UTF-8, down to the names of members.
#[test]
fn bytes_that_are_no_utf_8_are_refused_in_a_body() {
    let stage = stage();
    let bodies: [&[u8]; 5] = [
        b"{\"sku\":\"\xff\"}",
        b"{\"sku\":\"\xc3\"}",
        b"{\"\xed\xa0\x80\":1}",
        b"\xff\xfe{\0}\0",
        b"{\"sku\":\"\xf0\x28\x8c\xbc\"}",
    ];
    for (method, path) in [
        ("PUT", "/InventoryItem/a"),
        ("PATCH", "/InventoryItem/a"),
        ("POST", "/-/invalidate"),
        ("POST", "/-/transaction"),
    ] {
        for body in bodies {
            let mut stream = connect(&stage);
            let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: f\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
            let answer = answered(&mut stream).expect("an answer");
            assert_eq!(answer.status, 400, "{method} {path} {body:?}: {answer:?}");
        }
    }
    assert_eq!(stage.saw(), NOTHING);
}
