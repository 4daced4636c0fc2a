//! Compressed answers: RFC 9110 §8.4, §8.8.3.3, §12.5.3.

use std::io::Read;

use serde_json::{Value, json};

use crate::common::{Response, Stage, setup};

const GZIP: (&str, &str) = ("Accept-Encoding", "deflate, gzip");
const BROTLI: (&str, &str) = ("Accept-Encoding", "br, gzip;q=0.9");

/// `large` is compressed, `small` is not.
fn compressing() -> Stage {
    let stage = setup().top("compression: 1KiB").start();
    stage.origin.seed("large", json!({ "sku": "x".repeat(2000), "name": "n", "quantity": 1 }));
    stage.origin.seed("small", json!({ "quantity": 1 }));
    stage
}

fn get(stage: &Stage, key: &str, headers: &[(&str, &str)]) -> Response {
    stage.ask("GET", &format!("/InventoryItem/{key}"), headers, "")
}

fn unzipped(answer: &Response) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(answer.bytes.as_slice()).read_to_end(&mut out).unwrap();
    out
}

fn unsqueezed(answer: &Response) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::Decompressor::new(answer.bytes.as_slice(), 4096).read_to_end(&mut out).unwrap();
    out
}

fn varies(answer: &Response) -> bool {
    answer.head.to_ascii_lowercase().lines().any(|line| line == "vary: accept-encoding")
}

#[test]
fn a_large_answer_is_compressed_for_who_takes_it() {
    let stage = compressing();
    let plain = get(&stage, "large", &[]).expect(200);
    assert!(plain.header("content-encoding").is_none() && varies(&plain), "{plain:?}");
    for _ in 0..2 {
        let zipped = get(&stage, "large", &[GZIP]).expect(200);
        assert_eq!(zipped.header("content-encoding"), Some("gzip"));
        assert!(varies(&zipped) && zipped.bytes.len() < 500);
        assert_eq!(zipped.header("content-length"), Some(zipped.bytes.len().to_string().as_str()));
        assert_eq!(unzipped(&zipped), plain.bytes);
        let head = stage.ask("HEAD", "/InventoryItem/large", &[GZIP], "").expect(200);
        for name in ["etag", "content-encoding", "content-length", "content-type"] {
            assert_eq!(head.header(name), zipped.header(name), "{name}");
        }
    }
    for (key, headers) in [("small", vec![GZIP]), ("large", vec![("Accept-Encoding", "gzip;q=0, br;q=0, *")])] {
        let answer = get(&stage, key, &headers).expect(200);
        assert!(answer.header("content-encoding").is_none() && varies(&answer), "{answer:?}");
    }
    let query = stage.ask("GET", "/InventoryItem/?id=large,small", &[GZIP], "").expect(200);
    let rows: Value = serde_json::from_slice(&unzipped(&query)).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let written =
        stage.ask("PUT", "/InventoryItem/w", &[GZIP], &json!({ "sku": "y".repeat(2000) }).to_string()).expect(200);
    assert!(written.header("content-encoding").is_none() && !varies(&written), "answers to writes are as they are");
}

#[test]
fn brotli_is_given_to_who_would_rather_have_it() {
    let stage = compressing();
    let plain = get(&stage, "large", &[]).expect(200);
    let squeezed = get(&stage, "large", &[BROTLI]).expect(200);
    assert_eq!(squeezed.header("content-encoding"), Some("br"));
    assert!(varies(&squeezed) && squeezed.bytes.len() < 500);
    assert_eq!(unsqueezed(&squeezed), plain.bytes);
    let tag = squeezed.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("{};br\"", plain.header("etag").unwrap().strip_suffix('"').unwrap()));
    // Who holds one that he still takes has what there is, also where the other would be sent now.
    for accepted in ["br", "br, gzip", "br;q=0.1, gzip"] {
        let same = get(&stage, "large", &[("Accept-Encoding", accepted), ("If-None-Match", &tag)]).expect(304);
        assert_eq!(same.header("etag"), Some(tag.as_str()), "{accepted}");
    }
    let other = get(&stage, "large", &[("Accept-Encoding", "gzip"), ("If-None-Match", &tag)]).expect(200);
    assert_eq!(other.header("content-encoding"), Some("gzip"));
    let put = stage.ask("PUT", "/InventoryItem/large", &[("If-None-Match", &tag)], "{\"quantity\":2}");
    put.expect_outcome(412, "rejected");
    let small = get(&stage, "small", &[BROTLI]).expect(200);
    assert!(small.header("content-encoding").is_none());
}

/// What cannot become smaller is sent as it is; what is larger than is compressed on the spot comes whole.
#[test]
fn a_very_large_answer_comes_whole() {
    let stage = compressing();
    let text: String =
        (0..100_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 28) as u8)).collect();
    stage.origin.seed("huge", json!({ "sku": text }));
    for decoded in
        [unzipped(&get(&stage, "huge", &[GZIP]).expect(200)), unsqueezed(&get(&stage, "huge", &[BROTLI]).expect(200))]
    {
        let record: Value = serde_json::from_slice(&decoded).unwrap();
        assert_eq!(record["sku"], text);
    }
}

#[test]
fn each_coding_has_a_tag_of_its_own_and_conditions_take_it() {
    let stage = compressing();
    let plain = get(&stage, "large", &[]).expect(200).header("etag").unwrap().to_owned();
    let zipped = get(&stage, "large", &[GZIP]).expect(200).header("etag").unwrap().to_owned();
    assert_eq!(zipped, format!("{};gzip\"", plain.strip_suffix('"').unwrap()));
    let cbor = ("Accept", "application/cbor");
    let both = get(&stage, "large", &[GZIP, cbor]).expect(200).header("etag").unwrap().to_owned();
    assert_eq!(both, format!("{};cbor;gzip\"", plain.strip_suffix('"').unwrap()));
    // A 304 has the tag that the client holds.
    let same = get(&stage, "large", &[GZIP, ("If-None-Match", &zipped)]).expect(304);
    assert_eq!((same.header("etag"), same.header("content-length")), (Some(zipped.as_str()), None));
    let same = get(&stage, "large", &[GZIP, cbor, ("If-None-Match", &format!("\"other\", {both}"))]).expect(304);
    assert_eq!(same.header("etag"), Some(both.as_str()));
    assert_eq!(get(&stage, "large", &[("If-None-Match", &plain)]).expect(304).header("etag"), Some(plain.as_str()));
    // Who does not take it any more has something else.
    get(&stage, "large", &[("If-None-Match", &zipped)]).expect(200);
    get(&stage, "large", &[GZIP, ("If-None-Match", &both)]).expect(200);
    // Of a write, any will do.
    for tag in [&zipped, &both] {
        let put = stage.ask("PUT", "/InventoryItem/large", &[("If-None-Match", tag)], "{\"quantity\":2}");
        put.expect_outcome(412, "rejected");
    }
    stage.ask("PUT", "/InventoryItem/large", &[("If-Match", &both)], "{\"quantity\":2}").expect(200);
}

#[test]
fn without_the_configuration_nothing_is_compressed() {
    let stage = crate::common::stage();
    stage.origin.seed("large", json!({ "sku": "x".repeat(2000) }));
    let answer = get(&stage, "large", &[GZIP]).expect(200);
    assert!(answer.header("content-encoding").is_none() && !varies(&answer), "{answer:?}");
}
