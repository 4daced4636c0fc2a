//! The page for people, and what it asks: what is resident, and what is in doubt.

use std::time::Duration;

use serde_json::{Value, json};
use wtcache_origin::{Fault, FaultKind, Method};
use wtcache_server::config::Admin;

use crate::NOTHING;
use crate::common::{Stage, request_at, setup, stage};

fn asked(stage: &Stage, path: &str) -> Value {
    stage.ask("GET", path, &[], "").expect(200).json()
}

fn keys(stage: &Stage, query: &str) -> Vec<String> {
    let told = asked(stage, &format!("/-/records?table=InventoryItem{query}"));
    told["records"].as_array().unwrap().iter().map(|record| record["key"].as_str().unwrap().to_owned()).collect()
}

fn record(stage: &Stage, key: &str) -> Value {
    asked(stage, &format!("/-/records?table=InventoryItem&key={key}"))
}

#[test]
fn the_page_and_all_that_it_names_are_served_by_this_server_alone() {
    let stage = setup().admin(Admin::At("127.0.0.1:0".parse().unwrap())).start();
    let admin = stage.admin.unwrap();
    let html = request_at(admin, "GET", "/-/", &[], "").expect(200);
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = html.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'") && policy.contains("frame-ancestors 'none'"));
    let named =
        |mark: &'static str| html.body.split(mark).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    let names: Vec<String> = named("src=\"").chain(named("href=\"")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names.iter().filter(|name| !name.starts_with('#') && *name != "data:,") {
        let kind = request_at(admin, "GET", &format!("/-/{name}"), &[], "").expect(200);
        let kind = kind.header("content-type").unwrap().to_owned();
        assert!(!name.ends_with(".js") || kind.starts_with("text/javascript"), "{name}: {kind}");
        assert!(!name.ends_with(".css") || kind.starts_with("text/css"), "{name}: {kind}");
    }
    for path in ["/-/", "/-/page.js", "/-/records?table=Part", "/-/doubts"] {
        stage.ask("GET", path, &[], "").expect(404);
    }
}

#[test]
fn g9_listing_shows_what_is_resident_and_asks_nobody() {
    let stage = stage();
    for (key, quantity) in [("a-1", 1), ("a-2", 2), ("b-1", 3)] {
        stage.put_quantity(key, quantity).expect(200);
    }
    let stats = asked(&stage, "/-/stats");
    stage.saw();
    assert_eq!(keys(&stage, ""), ["a-1", "a-2", "b-1"]);
    assert_eq!(keys(&stage, "&prefix=a-"), ["a-1", "a-2"]);
    assert_eq!(keys(&stage, "&prefix=c"), [""; 0]);
    let some = asked(&stage, "/-/records?table=InventoryItem&limit=2");
    assert_eq!((some["records"].as_array().unwrap().len(), &some["more"]), (2, &json!(true)));
    assert_eq!(asked(&stage, "/-/records?table=InventoryItem&limit=3")["more"], false);
    assert_eq!(record(&stage, "a-2")["resident"], true);
    assert_eq!(asked(&stage, "/-/stats"), stats, "looking on counts nothing");
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn what_cannot_be_listed_is_told_by_name() {
    let stage = stage();
    for (query, field, words) in [
        ("", "table", "it is missing"),
        ("?table=Nothing", "table", "there is no table \"Nothing\"; served here: InventoryItem, Part"),
        ("?table=Part&limit=0", "limit", "\"0\" is no number from 1 to 1000"),
        ("?table=Part&limit=many", "limit", "\"many\" is no number from 1 to 1000"),
        ("?table=Part&prefx=a", "prefx", "did you mean prefix?"),
        ("?table=Part&key=a&prefix=b", "prefix", "key is given too"),
    ] {
        let told = stage.ask("GET", &format!("/-/records{query}"), &[], "").expect(400).json();
        assert_eq!(told["field"], field, "{told}");
        assert!(told["detail"].as_str().unwrap().contains(words), "{told}");
    }
}

/// Its numbers keep their digits, whatever reads them.
#[test]
fn the_life_of_a_record_is_told_from_its_load_to_its_end() {
    let stage = setup().expiration(60).start();
    assert_eq!(record(&stage, "a"), json!({"table": "InventoryItem", "key": "a", "resident": false, "in_doubt": null}));
    let tag = stage
        .put("a", "{\"sku\":\"WB\",\"big\":12345678901234567890123}")
        .expect(200)
        .header("etag")
        .unwrap()
        .to_owned();
    stage.clock.advance(Duration::from_millis(20_500));
    let told = record(&stage, "a");
    assert_eq!(
        (&told["resident"], &told["confirmed_ms_ago"], &told["fresh_for_ms"], &told["stale_for_ms"]),
        (&json!(true), &json!(20_500), &json!(39_500), &json!(0)),
        "{told}"
    );
    assert_eq!(told["etag"], tag.as_str());
    assert!(told["record"].as_str().unwrap().contains("12345678901234567890123"), "{told}");
    stage.clock.advance(Duration::from_secs(40));
    let told = record(&stage, "a");
    assert_eq!(
        (&told["resident"], &told["fresh_for_ms"], &told["stale_for_ms"]),
        (&json!(true), &json!(0), &json!(500))
    );
}

#[test]
fn d1_keys_in_doubt_are_listed_with_when_they_settle() {
    let stage = stage();
    assert_eq!(asked(&stage, "/-/doubts"), json!({"doubts": []}));
    stage.put_quantity("a", 1).expect(200);
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    stage.put_quantity("a", 2).expect_outcome(502, "in-doubt");
    stage.clock.advance(Duration::from_secs(3));
    let doubt = json!({"for_ms": 3_000, "settles_in_ms": 7_000, "unsettled": 1});
    let mut listed = doubt.clone();
    listed["table"] = "InventoryItem".into();
    listed["key"] = "a".into();
    assert_eq!(asked(&stage, "/-/doubts"), json!({"doubts": [listed]}));
    assert_eq!(
        record(&stage, "a"),
        json!({"table": "InventoryItem", "key": "a", "resident": false, "in_doubt": doubt})
    );
    stage.clock.advance(Duration::from_secs(8));
    assert_eq!(asked(&stage, "/-/doubts"), json!({"doubts": []}));
}

/// Any page may have its reader's browser send a plain POST to an address of that machine.
#[test]
fn what_a_page_of_another_site_asks_changes_nothing() {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    stage.saw();
    let forget = "{\"table\":\"InventoryItem\",\"key\":\"a\"}";
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://elsewhere.example"),
        ("Origin", "http://front.example"),
        ("Origin", "null"),
    ] {
        let foreign = [(name, value)];
        stage.ask("POST", "/-/invalidate", &foreign, forget).expect(403);
        stage
            .ask("PUT", "/InventoryItem/a", &foreign, "{\"sku\":\"WB\",\"quantity\":2}")
            .expect_outcome(403, "rejected");
        stage.ask("DELETE", "/InventoryItem/a", &foreign, "").expect_outcome(403, "rejected");
        assert_eq!(stage.ask("GET", "/InventoryItem/a", &foreign, "").expect(200).quantity(), 1);
    }
    assert_eq!(stage.saw(), NOTHING);
    for (name, value) in [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none"), ("Origin", "http://front")] {
        let told = stage.ask("POST", "/-/invalidate", &[(name, value)], forget).expect(200).json();
        assert_eq!(told["table"], "InventoryItem");
    }
    let both = [("Sec-Fetch-Site", "cross-site"), ("Origin", "http://front")];
    stage.ask("POST", "/-/invalidate", &both, forget).expect(403);
}

/// Who types the address alone finds the page.
#[test]
fn the_root_leads_to_the_page_where_that_is() {
    let stage = setup().admin(Admin::At("127.0.0.1:0".parse().unwrap())).start();
    for path in ["/", "/-"] {
        let led = request_at(stage.admin.unwrap(), "GET", path, &[], "");
        assert_eq!((led.status, led.header("location")), (308, Some("/-/")), "{led:?}");
        stage.ask("GET", path, &[], "").expect(404);
        request_at(stage.admin.unwrap(), "POST", path, &[], "").expect(404);
    }
}
