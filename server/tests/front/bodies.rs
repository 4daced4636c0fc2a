//! Bodies with a Content-Encoding: RFC 9110 §8.4, §15.5.16.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::NOTHING;
use crate::common::{Response, Stage, setup, stage};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn brotli(mut body: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    brotli::BrotliCompress(&mut body, &mut coded, &brotli::enc::BrotliEncoderParams::default()).unwrap();
    coded
}

fn send(stage: &Stage, method: &str, path: &str, (coding, kind): (&str, &str), body: &[u8]) -> Response {
    let mut client = stage.client();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: front\r\nConnection: close\r\nContent-Encoding: {coding}\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    client.raw(&[head.as_bytes(), body].concat());
    client.receive()
}

const JSON: &str = "application/json";

fn put(stage: &Stage, coding: &str, body: &[u8]) -> Response {
    send(stage, "PUT", "/InventoryItem/a", (coding, JSON), body)
}

fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}

#[test]
fn whatever_takes_a_body_takes_it_compressed() {
    let stage = stage();
    let record = bytes(&json!({ "quantity": 1, "name": "n" }));
    for (coding, body) in
        [("gzip", gzip(&record)), ("X-Gzip", gzip(&record)), ("br", brotli(&record)), ("identity, br", brotli(&record))]
    {
        let kept = put(&stage, coding, &body).expect(200).json();
        assert_eq!((&kept["name"], &kept["quantity"]), (&json!("n"), &json!(1)), "{coding}");
    }
    put(&stage, "Identity", &record).expect(200);
    let merge = ("gzip", "application/merge-patch+json");
    let patched = send(&stage, "PATCH", "/InventoryItem/a", merge, &gzip(b"{\"quantity\":2}")).expect(200);
    assert_eq!((patched.quantity(), &patched.json()["name"]), (2, &json!("n")));
    let cbor = send(&stage, "PUT", "/InventoryItem/b", ("br", "application/cbor"), &brotli(b"\xa1hquantity\x07"));
    assert_eq!(cbor.expect(200).quantity(), 7);
    let updates = json!({ "updates": [{ "table": "InventoryItem", "key": "a", "patch": { "quantity": 3 } }] });
    send(&stage, "POST", "/-/transaction", ("br", JSON), &brotli(&bytes(&updates))).expect(200);
    assert_eq!(stage.get("a").quantity(), 3);
    let forget = json!({ "table": "InventoryItem", "key": "a" });
    let told = send(&stage, "POST", "/-/invalidate", ("gzip", JSON), &gzip(&bytes(&forget))).expect(200).json();
    assert_eq!(told["forgotten"], 1);
}

/// What would be taken is said; nothing reaches the origin.
#[test]
fn another_coding_is_415_with_what_is_taken() {
    let stage = stage();
    for coding in ["deflate", "zstd", "gzip, br"] {
        let refused = put(&stage, coding, b"{\"quantity\":1}").expect_outcome(415, "rejected");
        assert_eq!(refused.header("accept-encoding"), Some("gzip, br"), "{coding}");
    }
    for path in ["/-/invalidate", "/-/transaction"] {
        let refused = send(&stage, "POST", path, ("deflate", JSON), b"{}").expect(415);
        assert_eq!(refused.header("accept-encoding"), Some("gzip, br"), "{path}");
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// B: what a body says, decoded, is bounded as one that is not compressed is.
#[test]
fn what_is_longer_decoded_than_the_bound_is_413() {
    let stage = setup().origin("max_body: 1KiB").start();
    let record = |length: usize| bytes(&json!({ "name": "x".repeat(length) }));
    let fits = 1024 - record(0).len();
    for coded in [gzip, brotli] {
        let coding = if coded(b"x").starts_with(&[0x1f, 0x8b]) { "gzip" } else { "br" };
        // The origin's answer is longer, and so not seen.
        put(&stage, coding, &coded(&record(fits))).expect_outcome(204, "applied");
        let refused = put(&stage, coding, &coded(&record(fits + 1))).expect_outcome(413, "rejected").json();
        assert!(refused["detail"].as_str().unwrap().contains("decoded"), "{refused}");
        let bomb = coded(&vec![b' '; 5 * 1024 * 1024]);
        assert!(bomb.len() < 128 * 1024);
        assert_eq!(stage.saw(), ["PUT a"]);
        send(&stage, "POST", "/-/transaction", (coding, JSON), &bomb).expect(413);
        put(&stage, coding, &bomb).expect_outcome(413, "rejected");
    }
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn a_body_that_is_not_what_it_says_is_400() {
    let stage = stage();
    let record = b"{\"quantity\":1}";
    let (zipped, squeezed) = (gzip(record), brotli(record));
    for (coding, body) in [
        ("gzip", record.to_vec()),
        ("br", record.to_vec()),
        ("gzip", zipped[..zipped.len() - 1].to_vec()),
        ("br", squeezed[..squeezed.len() - 1].to_vec()),
        ("br", [&squeezed[..], b"x"].concat()),
        ("gzip", [&zipped[..], b"x"].concat()),
        ("gzip", Vec::new()),
        ("gzip", gzip(b"{")),
    ] {
        put(&stage, coding, &body).expect_outcome(400, "rejected");
    }
    assert_eq!(stage.saw(), NOTHING);
}
