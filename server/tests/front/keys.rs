//! What a key may be, and how it goes to the origin.

use serde_json::json;

use crate::NOTHING;
use crate::common::{setup, stage};

/// A key is decoded here, checked, and encoded again for the origin: what names a record there is what was asked for.
#[test]
fn a_key_names_the_same_record_at_the_origin() {
    let stage = stage();
    let longest = "k".repeat(1024);
    let wide = "%C3%A9".repeat(512);
    for (sent, key) in [
        ("a%2Fb", "a/b"),
        ("..%2F..%2Fadmin", "../../admin"),
        ("a%3Fb%23c", "a?b#c"),
        ("a%20b+c", "a b+c"),
        ("100%25", "100%"),
        ("%252e%252e", "%2e%2e"),
        ("...", "..."),
        (".a", ".a"),
        ("%7Bid%7D", "{id}"),
        ("%C3%BC", "ü"),
        ("a:b@c,d;e=f&g", "a:b@c,d;e=f&g"),
        (longest.as_str(), longest.as_str()),
        (wide.as_str(), &"é".repeat(512)),
    ] {
        stage.put(sent, "{\"quantity\":1}").expect(200);
        assert_eq!(stage.saw(), [format!("PUT {key}")], "{sent}");
        assert_eq!(stage.get(sent).expect(200).json()["id"], key, "{sent}");
        assert_eq!(stage.saw(), NOTHING, "{sent}");
        stage.delete(sent).expect(204);
        stage.get(sent).expect(404);
        assert_eq!(stage.saw(), [format!("DELETE {key}"), format!("GET {key}")], "{sent}");
    }
}

#[test]
fn a_slash_within_a_key_goes_to_the_origin_encoded() {
    let stage = stage();
    stage.get("a%2Fb").expect(404);
    assert_eq!(stage.origin.log()[0].path, "/items/a%2Fb");
}

/// However a key is spelt, it is one record here.
#[test]
fn two_spellings_of_a_key_are_one_entry() {
    let stage = stage();
    stage.put("item-1", "{\"quantity\":1}").expect(200);
    stage.saw();
    stage.get("%69tem%2D1").expect(200);
    stage.ask("GET", "/%49nventoryItem/item-1", &[], "").expect(200);
    stage.ask("GET", "http://front/InventoryItem/item-1", &[], "").expect(200);
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn keys_that_cannot_name_a_record_are_400_and_never_sent() {
    let stage = stage();
    let too_long = "k".repeat(1025);
    let too_wide = "%C3%A9".repeat(513);
    for (key, words) in [
        (".", "the key is . or .."),
        ("..", "the key is . or .."),
        ("%2e", "the key is . or .."),
        ("%2E%2e", "the key is . or .."),
        (".%2e", "the key is . or .."),
        (too_long.as_str(), "1025 bytes; at most 1024"),
        (too_wide.as_str(), "1026 bytes; at most 1024"),
        ("a%00b", "control character U+0000"),
        ("a%0d%0aHost:%20x", "control character U+000D"),
        ("%7f", "control character U+007F"),
        ("%C2%85", "control character U+0085"),
        ("%ff", "not UTF-8"),
        ("a%C3", "not UTF-8"),
    ] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let body = if method == "PUT" { "{}" } else { "" };
            let refused = stage.ask(method, &format!("/InventoryItem/{key}"), &[], body).expect(400);
            if method != "HEAD" {
                assert!(refused.json()["detail"].as_str().unwrap().contains(words), "{method} {key}: {refused:?}");
            }
            if ["PUT", "DELETE"].contains(&method) {
                refused.expect_outcome(400, "rejected");
            }
        }
    }
    for path in ["/InventoryItem/", "/InventoryItem"] {
        stage.ask("PUT", path, &[], "{}").expect_outcome(405, "rejected");
        stage.ask("DELETE", path, &[], "").expect_outcome(405, "rejected");
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// A table has one name everywhere: its type's, or that of its export.
#[test]
fn a_table_is_called_as_its_export_says() {
    let types = "type SparePart @table(expiration: 60) @export(name: \"spare-parts\") { id: ID @primaryKey sku: String @indexed }";
    let stage = setup().types(types).start();
    stage.origin.seed("a", json!({ "sku": "S1" }));
    stage.ask("GET", "/spare-parts/a", &[], "").expect(200);
    let unknown = stage.ask("GET", "/SparePart/a", &[], "").expect(404).json();
    let detail = unknown["detail"].as_str().unwrap();
    assert!(detail.contains("served here: InventoryItem, Part, spare-parts"), "{detail}");
    assert_eq!(stage.ask("GET", "/spare-parts/?sku=S1", &[], "").expect(200).json()[0]["id"], "a");
    let update = r#"{"updates":[{"table":"spare-parts","key":"a","put":{"sku":"S2"}}]}"#;
    stage.ask("POST", "/-/transaction", &[], update).expect(200);
    let forget = r#"{"table":"spare-parts","key":"a"}"#;
    assert_eq!(stage.ask("POST", "/-/invalidate", &[], forget).expect(200).json()["forgotten"], 1);
    let described = stage.ask("GET", "/-/openapi.json", &[], "").expect(200).json();
    assert!(
        described["paths"].get("/spare-parts/{key}").is_some(),
        "{:?}",
        described["paths"].as_object().unwrap().keys()
    );
    let metrics = stage.ask("GET", "/-/metrics", &[], "").expect(200);
    assert!(metrics.body.contains("table=\"spare-parts\""));
}
