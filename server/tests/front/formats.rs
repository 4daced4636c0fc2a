//! Records in the formats that clients ask for and send.

use ciborium::cbor;
use serde_json::{Value, json};

use crate::NOTHING;
use crate::common::{Response, Stage, setup, stage};

const RECORD: &str = r#"{"sku":"a, \"b\"","quantity":-5,"warehouseId":null,"price":0.5,"big":18446744073709551615,"tags":["x",1],"empty":""}"#;

fn ask(stage: &Stage, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut client = stage.client();
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: front\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n", body.len());
    client.raw(&[text.as_bytes(), body].concat());
    client.receive()
}

fn get(stage: &Stage, path: &str, accept: &str) -> Response {
    ask(stage, "GET", path, &[("Accept", accept)], b"")
}

fn from_cbor(response: &Response) -> Value {
    ciborium::from_reader(response.bytes.as_slice()).unwrap()
}

fn from_message_pack(response: &Response) -> Value {
    rmp_serde::from_slice(&response.bytes).unwrap()
}

/// A stage with one record, resident.
fn stocked() -> Stage {
    let stage = stage();
    stage.put("a", RECORD).expect(200);
    stage.saw();
    stage
}

#[test]
fn a_record_is_had_in_each_format() {
    let stage = stocked();
    let record = stage.get("a").expect(200).json();
    for path in ["/InventoryItem/a", "/InventoryItem/?id=a"] {
        let expected = if path.contains('?') { json!([record]) } else { record.clone() };
        let cbor = get(&stage, path, "application/cbor").expect(200);
        assert_eq!(cbor.header("content-type"), Some("application/cbor"));
        assert_eq!(from_cbor(&cbor), expected);
        for kind in ["application/msgpack", "application/x-msgpack"] {
            let packed = get(&stage, path, kind).expect(200);
            assert_eq!(packed.header("content-type"), Some(kind));
            assert_eq!(from_message_pack(&packed), expected);
        }
        let csv = get(&stage, path, "text/csv").expect(200);
        assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
        let mut rows = csv::Reader::from_reader(csv.bytes.as_slice());
        let names: Vec<String> = rows.headers().unwrap().iter().map(str::to_owned).collect();
        let row = rows.records().next().unwrap().unwrap();
        let field = |name: &str| row[names.iter().position(|n| n == name).unwrap()].to_owned();
        assert_eq!(field("id"), "a");
        assert_eq!(field("sku"), "a, \"b\"");
        assert_eq!(field("quantity"), "-5");
        assert_eq!(field("warehouseId"), "");
        assert_eq!(field("tags"), "[\"x\",1]");
        for answer in [cbor, csv, get(&stage, path, "*/*")] {
            assert_eq!(answer.header("vary"), Some("accept"), "{answer:?}");
        }
    }
    let head = ask(&stage, "HEAD", "/InventoryItem/a", &[("Accept", "application/cbor")], b"").expect(200);
    let length = get(&stage, "/InventoryItem/a", "application/cbor").bytes.len();
    assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn csv_has_a_column_for_each_member_that_comes_up() {
    let stage = stage();
    let part = |key: &str, body: &str| {
        stage.ask("PUT", &format!("/Part/{key}"), &[], body).expect(200);
    };
    part("a", r#"{"sku":"s","count":1}"#);
    part("b", r#"{"sku":"","spare":true,"marks":["x","y"]}"#);
    part("c", "{\"sku\":\"two\\nlines\"}");
    let text = |query: &str| get(&stage, &format!("/Part/?id=a,b,c&{query}"), "text/csv").expect(200);
    let found = text("select(id,sku,count,spare,marks)");
    assert_eq!(
        found.body,
        "id,sku,count,spare,marks\r\na,s,1,,\r\nb,\"\",,true,\"[\"\"x\"\",\"\"y\"\"]\"\r\nc,\"two\nlines\",,,\r\n"
    );
    let bare = text("select([id,count])");
    assert_eq!(bare.header("content-type"), Some("text/csv; charset=utf-8; header=absent"));
    assert_eq!(bare.body, "a,1\r\nb,\r\nc,\r\n");
    assert_eq!(text("select(count)").body, "1\r\n\r\n\r\n");
    assert_eq!(text("limit(0)").body, "");
}

#[test]
fn what_no_format_is_for_is_406_before_anything_is_sent() {
    let stage = stage();
    for (method, path) in [("GET", "/InventoryItem/a"), ("GET", "/InventoryItem/?sku=a"), ("PUT", "/InventoryItem/a")] {
        let refused = ask(&stage, method, path, &[("Accept", "text/html, image/*")], b"{}").expect(406);
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        for kind in ["application/json", "application/cbor", "application/msgpack", "text/csv"] {
            assert!(detail.contains(kind), "{detail}");
        }
        assert_eq!(refused.header("vary"), Some("accept"));
        if method == "PUT" {
            refused.expect_outcome(406, "rejected");
        }
    }
    assert_eq!(stage.saw(), NOTHING);
    ask(&stage, "GET", "/-/healthz", &[("Accept", "text/html")], b"").expect(200);
    let missing = get(&stage, "/InventoryItem/nobody", "application/cbor").expect(404);
    assert_eq!(missing.header("content-type"), Some("application/problem+json"), "a problem is JSON");
}

#[test]
fn each_format_has_a_tag_of_its_own_and_conditions_know_them_all() {
    let stage = stocked();
    let tag = |accept: &str| get(&stage, "/InventoryItem/a", accept).expect(200).header("etag").unwrap().to_owned();
    let kinds = ["application/json", "application/cbor", "application/msgpack", "text/csv"];
    let tags = kinds.map(tag);
    assert_eq!(tags[1], tags[0].replace("\"r1\"", "\"r1;cbor\""));
    for (n, mine) in tags.iter().enumerate() {
        assert!(mine.starts_with('"'), "strong: {mine}");
        for (m, kind) in kinds.iter().enumerate() {
            let headers = [("Accept", *kind), ("If-None-Match", mine.as_str())];
            let answer = ask(&stage, "GET", "/InventoryItem/a", &headers, b"");
            assert_eq!(answer.status, if n == m { 304 } else { 200 }, "{mine} for {kind}");
            assert_eq!(answer.header("etag"), Some(tags[m].as_str()));
        }
    }
    let any = [("Accept", "application/cbor"), ("If-None-Match", "*")];
    ask(&stage, "GET", "/InventoryItem/a", &any, b"").expect(304);
    for mine in &tags {
        let stage = stocked();
        let none = [("If-None-Match", mine.as_str())];
        ask(&stage, "PUT", "/InventoryItem/a", &none, b"{\"quantity\":7}").expect(412);
        let here = [("If-Match", mine.as_str()), ("Accept", "application/cbor")];
        let written = ask(&stage, "PUT", "/InventoryItem/a", &here, b"{\"quantity\":7}").expect(200);
        assert_eq!(from_cbor(&written)["quantity"], 7);
        assert_eq!(written.header("etag"), Some("\"r2;cbor\""));
        let late = ask(&stage, "PUT", "/InventoryItem/a", &here, b"{\"quantity\":8}");
        late.expect_outcome(412, "rejected");
    }
}

#[test]
fn a_record_is_sent_in_each_format_that_has_types() {
    let stage = stage();
    let record =
        cbor!({ "sku" => "s", "quantity" => 5, "price" => 0.5, "more" => [null, true, { "x" => -1 }] }).unwrap();
    let mut cbor = Vec::new();
    ciborium::into_writer(&record, &mut cbor).unwrap();
    let packed = rmp_serde::to_vec(&record).unwrap();
    let expected = "{\"id\":\"a\",\"sku\":\"s\",\"quantity\":5,\"price\":0.5,\"more\":[null,true,{\"x\":-1}]}";
    for (kind, body) in [
        ("application/cbor", &cbor),
        ("Application/CBOR; x=y", &cbor),
        ("application/msgpack", &packed),
        ("application/x-msgpack", &packed),
    ] {
        stage.origin.clear_log();
        ask(&stage, "PUT", "/InventoryItem/a", &[("Content-Type", kind)], body).expect(200);
        assert_eq!(stage.origin.log()[0].body.as_deref(), Some(expected), "{kind}");
        let patched = ask(&stage, "PATCH", "/InventoryItem/a", &[("Content-Type", kind)], body).expect(200);
        assert_eq!(patched.quantity(), 5, "{kind}");
    }
    for kind in ["application/json", "text/plain", "application/vnd.x+json", "application/x-www-form-urlencoded"] {
        ask(&stage, "PUT", "/InventoryItem/a", &[("Content-Type", kind)], b"{\"quantity\":5}").expect(200);
    }
    stage.saw();
    for kind in ["text/csv", "application/xml", "image/png", "application/cbor-seq"] {
        let refused = ask(&stage, "PUT", "/InventoryItem/a", &[("Content-Type", kind)], &cbor);
        let refused = refused.expect_outcome(415, "rejected");
        assert!(refused.header("accept").unwrap().contains("application/cbor"), "{refused:?}");
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// A stack or a memory that a few bytes could exhaust, and what JSON has no word for.
#[test]
fn a_binary_body_that_is_no_record_is_refused_and_nothing_is_sent() {
    let stage = stage();
    let deep_array = vec![0x81; 1_000_000];
    let deep_map = b"\xa1\x61a".repeat(300_000);
    let packed_deep = vec![0x91; 1_000_000];
    let packed_map = b"\x81\xa1a".repeat(300_000);
    let (cbor, packed) = ("application/cbor", "application/msgpack");
    for (kind, body, words) in [
        (cbor, deep_array.as_slice(), "nested too deeply"),
        (cbor, &deep_map, "nested too deeply"),
        (cbor, &[0xc1; 1000], "tag"),
        (cbor, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "ends before its end"),
        (cbor, b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", "ends before its end"),
        (cbor, b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", "ends before its end"),
        (cbor, b"", "ends before its end"),
        (cbor, b"\xa1\x61a\x1b\x00", "ends before its end"),
        (cbor, b"\xa0\xa0", "something follows"),
        (cbor, b"\xa1\x01\x02", "no text"),
        (cbor, b"\xa1\x61a\x41a", "no place for bytes"),
        (cbor, b"\xa1\x61a\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00", "more than 64 bits"),
        (cbor, b"\xa1\x61a\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "more than 64 bits"),
        (cbor, b"\xa1\x61a\xf9\x7c\x00", "no number of JSON"),
        (cbor, b"\xa1\x61a\xf9\x7e\x00", "no number of JSON"),
        (cbor, b"\xa1\x61a\xc0\x61x", "tag"),
        (cbor, b"\xa2\x61a\x01\x61a\x02", "a is given twice"),
        (cbor, b"\xa1\x78\x1c$serde_json::private::Number\x611", "reserved"),
        (cbor, b"\x80", "expected a JSON object, got an array"),
        (cbor, b"\xa1\x61a\x1c", "no meaning"),
        (packed, &packed_deep, "nested too deeply"),
        (packed, &packed_map, "nested too deeply"),
        (packed, b"\xdd\xff\xff\xff\xff", "ends before its end"),
        (packed, b"\xdf\xff\xff\xff\xff", "ends before its end"),
        (packed, b"\xdb\xff\xff\xff\xff", "ends before its end"),
        (packed, b"", "ends before its end"),
        (packed, b"\x80\x80", "something follows"),
        (packed, b"\x81\x01\x02", "no text"),
        (packed, b"\x81\xa1a\xc4\x01a", "no place for bytes"),
        (packed, b"\x81\xa1a\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "no number of JSON"),
        (packed, b"\x81\xa1a\xd4\x01\x01", "an extension"),
        (packed, b"\x82\xa1a\x01\xa1a\x02", "a is given twice"),
        (packed, b"\x90", "expected a JSON object, got an array"),
    ] {
        let headers = [("Content-Type", kind)];
        let refused = ask(&stage, "PUT", "/InventoryItem/a", &headers, body).expect_outcome(400, "rejected").json();
        let shown = body.escape_ascii().to_string().chars().take(60).collect::<String>();
        assert!(refused["detail"].as_str().unwrap().contains(words), "{kind} {shown}: {refused}");
    }
    assert_eq!(stage.saw(), NOTHING);
    let deep = [b"\xa1\x61a".as_slice(), &[0x81; 126], b"\x01"].concat();
    ask(&stage, "PUT", "/InventoryItem/a", &[("Content-Type", cbor)], &deep).expect(200);
}

/// A byte of CBOR can be several of JSON.
#[test]
fn a_binary_body_is_bounded_as_the_json_that_it_becomes() {
    let stage = setup().origin("max_body: 200B").start();
    let body = [b"\xa1\x61a\x98\x64".as_slice(), &[0xf5; 100]].concat();
    let refused = ask(&stage, "PUT", "/InventoryItem/a", &[("Content-Type", "application/cbor")], &body);
    refused.expect_outcome(413, "rejected");
    assert_eq!(stage.saw(), NOTHING);
}

/// What has no place in a format is not bent to fit.
#[test]
fn a_number_that_a_format_cannot_hold_is_not_served_in_it() {
    let stage = stage();
    for number in ["12345678901234567890123", "1e400", "-9223372036854775809"] {
        let body = format!("{{\"big\":{number}}}");
        stage.put("a", &body).expect(200);
        for kind in ["application/cbor", "application/msgpack"] {
            let refused = get(&stage, "/InventoryItem/a", kind).expect(406).json();
            assert!(refused["detail"].as_str().unwrap().contains("has no place in it"), "{refused}");
            let headers = [("Accept", kind)];
            let written = ask(&stage, "PUT", "/InventoryItem/a", &headers, body.as_bytes()).expect(200);
            assert_eq!(written.header("content-type"), Some("application/json"), "a write stands as it ended");
        }
        get(&stage, "/InventoryItem/a", "text/csv").expect(200);
    }
}
