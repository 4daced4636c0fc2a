//! Requests that are wrong: said before the origin is called, with the field named.

use serde_json::json;

use crate::NOTHING;
use crate::common::{Stage, setup, stage};

/// A stage whose tables take bodies of 200 bytes.
fn narrow() -> Stage {
    setup().origin("max_body: 200B").start()
}

#[test]
fn a_body_that_breaks_the_schema_is_refused_with_the_field_named() {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    stage.saw();
    for (path, body, field, words) in [
        ("/InventoryItem/a", "{\"quantity\":\"five\"}", Some("quantity"), "expected Int, got string \"five\""),
        ("/InventoryItem/a", "{\"quantity\":1.5}", Some("quantity"), "expected Int"),
        ("/InventoryItem/a", "{\"quantity\":2147483648}", Some("quantity"), "out of its range"),
        ("/InventoryItem/a", "{\"sku\":7}", Some("sku"), "expected String, got number 7"),
        ("/InventoryItem/a", "{\"quantity\":1,\"quantity\":2}", Some("quantity"), "given twice"),
        ("/InventoryItem/a", "{\"x\":{\"y\":1,\"y\":1}}", Some("y"), "given twice"),
        ("/InventoryItem/a", "{\"id\":\"b\",\"quantity\":1}", Some("id"), "the path decides the primary key"),
        ("/InventoryItem/a", "{\"id\":null}", Some("id"), "the path decides the primary key"),
        ("/InventoryItem/a", "{\"quantity\":", None, "not JSON"),
        ("/InventoryItem/a", "{\"quantity\":1} x", None, "not JSON"),
        ("/InventoryItem/a", "[]", None, "expected a JSON object, got an array"),
        ("/InventoryItem/a", "null", None, "expected a JSON object, got null"),
        ("/InventoryItem/a", "", None, "got nothing"),
        ("/InventoryItem/a", " ", None, "got nothing"),
        ("/Part/a", "{\"sku\":\"x\",\"colour\":1}", Some("colour"), "unknown attribute; Part is sealed"),
        ("/Part/a", "{\"sku\":\"x\",\"wieght\":1}", Some("wieght"), "did you mean weight?"),
        ("/Part/a", "{}", Some("sku"), "required, but missing"),
        ("/Part/a", "{\"sku\":null}", Some("sku"), "required, but null"),
        ("/Part/a", "{\"sku\":\"x\",\"spare\":\"true\"}", Some("spare"), "expected Boolean"),
        ("/Part/a", "{\"sku\":\"x\",\"weight\":1e999}", Some("weight"), "out of its range"),
    ] {
        let refused = stage.ask("PUT", path, &[], body).expect_outcome(400, "rejected").json();
        assert_eq!(refused.get("field").cloned(), field.map(|field| json!(field)), "{body}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(words), "{body}: {refused}");
    }
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(stage.get("a").expect(200).quantity(), 1);
    assert_eq!(stage.saw(), NOTHING, "and the entry stayed");
}

/// A sealed type refuses a client's unknown fields, not those that the origin made.
#[test]
fn the_origins_own_fields_pass_a_sealed_type() {
    let stage = stage();
    let put = stage.ask("PUT", "/Part/a", &[], "{\"sku\":\"x\"}").expect(200);
    assert_eq!(put.json()["revision"], 1);
}

/// The path decides the primary key, and is written into the record where the body leaves it out.
#[test]
fn the_path_is_the_primary_key() {
    let stage = stage();
    stage.put("a", "{\"quantity\":1}").expect(200);
    assert_eq!(stage.origin.log()[0].body.as_deref(), Some("{\"id\":\"a\",\"quantity\":1}"));
    stage.put("7", "{\"quantity\":1,\"id\":7}").expect(200);
    stage.put("b%20c", "{\"id\":\"b c\"}").expect(200);
    assert_eq!(stage.saw(), ["PUT a", "PUT 7", "PUT b c"]);
}

/// Numbers keep their digits and members their order on the way to the origin.
#[test]
fn a_body_goes_to_the_origin_as_it_was_meant() {
    let stage = stage();
    stage
        .put("a", "{ \"z\": 0.10, \"id\": \"a\", \"y\": 12345678901234567890123, \"x\": {\"b\": [1, null]} }")
        .expect(200);
    let sent = "{\"z\":0.10,\"id\":\"a\",\"y\":12345678901234567890123,\"x\":{\"b\":[1,null]}}";
    assert_eq!(stage.origin.log()[0].body.as_deref(), Some(sent));
}

fn chunked(path: &str, chunks: &[&str]) -> Vec<u8> {
    let mut text = format!("PUT {path} HTTP/1.1\r\nHost: f\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in chunks {
        text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    (text + "0\r\n\r\n").into_bytes()
}

#[test]
fn a_chunked_body_is_read_whole() {
    let stage = stage();
    let mut client = stage.client();
    client.raw(&chunked("/InventoryItem/a", &["{\"quan", "tity\":", "3}"]));
    assert_eq!(client.receive().expect(200).quantity(), 3);
    assert_eq!(stage.saw(), ["PUT a"]);
}

#[test]
fn a_body_that_is_too_large_is_413_however_it_comes() {
    let stage = narrow();
    let body = |bytes: usize| format!("{{\"sku\":\"{}\"}}", "x".repeat(bytes - 10));
    let most = body(200);
    let over = body(201);
    stage.origin.fault(
        wtcache_origin::Fault::on(wtcache_origin::Method::Put, "a")
            .kind(wtcache_origin::FaultKind::ApplyThenAnswer(wtcache_origin::Answer::new(204)))
            .times(2),
    );
    stage.put("a", &most).expect(204);
    let mut client = stage.client();
    client.raw(&chunked("/InventoryItem/a", &[&most[..50], &most[50..]]));
    client.receive().expect(204);
    assert_eq!(stage.saw(), ["PUT a", "PUT a"]);

    let refused = stage.put("a", &over).expect_outcome(413, "rejected").json();
    assert!(refused["detail"].as_str().unwrap().contains("200 bytes"), "{refused}");
    for chunks in [vec![over.as_str()], vec![&most[..], "xx"], vec!["{}", &over, &over]] {
        let mut client = stage.client();
        client.raw(&chunked("/InventoryItem/a", &chunks));
        client.receive().expect_outcome(413, "rejected");
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// Refused by what it announces: the client that waits for 100 Continue need not send it.
#[test]
fn an_announced_body_that_is_too_large_is_refused_before_it_comes() {
    let stage = narrow();
    let mut client = stage.client();
    let head = "PUT /InventoryItem/a HTTP/1.1\r\nHost: f\r\nConnection: close\r\nExpect: 100-continue\r\n";
    client.raw(format!("{head}Content-Length: 5000000000\r\n\r\n").as_bytes());
    client.receive().expect_outcome(413, "rejected");
    assert_eq!(stage.saw(), NOTHING);
}

/// A client that sends all before it reads must get to see the 413, not a reset.
#[test]
fn a_client_that_sends_a_large_body_to_its_end_is_told_413() {
    for round in 0..10 {
        let stage = stage();
        let large = format!("{{\"sku\":\"{}\"}}", "x".repeat(3 * 1024 * 1024));
        stage.put("a", &large).expect_outcome(413, "rejected");
        let mut client = stage.client();
        client.raw(&chunked("/InventoryItem/a", &[&large]));
        client.receive().expect_outcome(413, "rejected");
        assert_eq!(stage.saw(), NOTHING, "round {round}");
    }
}

#[test]
fn a_body_with_broken_framing_is_refused_and_not_sent() {
    let stage = stage();
    let mut client = stage.client();
    let head = "PUT /InventoryItem/a HTTP/1.1\r\nHost: f\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.raw(format!("{head}5\r\n{{\"a\":\r\nxyz\r\n").as_bytes());
    client.receive().expect_outcome(400, "rejected");
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn unknown_tables_and_paths_are_404() {
    let stage = stage();
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS"] {
        for path in ["/Inventory/a", "/inventoryitem/a", "/Hidden/a", "//a", "/-/other", "/InventoryItem/a/b"] {
            let body = if method == "PUT" { "{}" } else { "" };
            let unknown = stage.ask(method, path, &[], body).expect(404);
            if ["PUT", "PATCH", "DELETE"].contains(&method) {
                unknown.expect_outcome(404, "rejected");
            }
        }
    }
    let unknown = stage.ask("GET", "/Inventory/a", &[], "").json();
    assert_eq!(unknown["detail"], "there is no table \"Inventory\"; served here: InventoryItem, Part");
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn methods_that_are_not_served_are_405_with_what_is() {
    let stage = stage();
    for method in ["POST", "BREW"] {
        stage.ask(method, "/InventoryItem/a?confirmed", &[], "").expect(405);
        let record = stage.ask(method, "/InventoryItem/a", &[], "").expect(405);
        assert_eq!(record.header("allow"), Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS"));
        for path in ["/InventoryItem", "/InventoryItem/"] {
            assert_eq!(stage.ask(method, path, &[], "").expect(405).header("allow"), Some("GET, HEAD, OPTIONS"));
        }
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        let table = stage.ask(method, "/InventoryItem/", &[], "{}").expect_outcome(405, "rejected");
        assert_eq!(table.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    for method in ["POST", "PUT", "DELETE"] {
        let health = stage.ask(method, "/-/healthz", &[], "").expect(405);
        assert_eq!(health.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn healthz_asks_nobody() {
    let stage = stage();
    assert_eq!(stage.ask("GET", "/-/healthz", &[], "").expect(200).body, "ok\n");
    stage.origin.stop();
    assert_eq!(stage.ask("GET", "/-/healthz?x", &[], "").expect(200).body, "ok\n");
    assert_eq!(stage.saw(), NOTHING);
}
