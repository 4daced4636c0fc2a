//! What the inventory promises to those who call it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Client, PATIENCE, ask, ask_with, origin};
use serde_json::json;
use wtcache_origin::{Method, Origin, OriginOptions};

#[test]
fn a_put_answers_with_the_record_as_stored() {
    let origin = origin();
    let created =
        ask(&origin, "PUT", "/items/a", r#"{"name":"bolt","quantity":-4,"revision":99,"updatedAt":"x","id":"b"}"#);
    let created = created.unwrap();
    assert_eq!(created.status, 201);
    assert_eq!(created.header("etag"), Some("\"r1\""));
    assert_eq!(created.header("content-type"), Some("application/json"));
    let record = created.json();
    assert_eq!((&record["id"], &record["revision"], &record["quantity"]), (&json!("a"), &json!(1), &json!(-4)));
    let updated_at = record["updatedAt"].as_str().unwrap();
    assert!(updated_at.len() == 24 && updated_at.ends_with('Z') && updated_at.starts_with("20"), "{updated_at}");
    assert_eq!(origin.record("a"), Some(record.clone()));

    let read = ask(&origin, "GET", "/items/a", "").unwrap();
    assert_eq!((read.status, read.header("etag"), read.json()), (200, Some("\"r1\""), record));
    assert_eq!(ask(&origin, "PUT", "/items/a", "{}").unwrap().status, 200);
}

#[test]
fn a_revision_is_never_used_twice() {
    let origin = origin();
    let revision = |body: &str| ask(&origin, "PUT", "/items/a", body).unwrap().json()["revision"].clone();
    assert_eq!(revision("{}"), 1);
    assert_eq!(revision("{}"), 2);
    assert_eq!(ask(&origin, "DELETE", "/items/a", "").unwrap().status, 204);
    assert_eq!(ask(&origin, "DELETE", "/items/a", "").unwrap().status, 404);
    assert_eq!(revision("{}"), 4);
    assert_eq!(origin.seed("a", json!({"n": 1})), 5);
    assert!(origin.remove("a"));
    assert!(!origin.remove("a"));
    assert_eq!(origin.record("a"), None);
    assert_eq!(revision("{}"), 7);
}

#[test]
fn a_missing_item_is_a_404_with_its_name() {
    let origin = origin();
    let missing = ask(&origin, "GET", "/items/item-009", "").unwrap();
    assert_eq!((missing.status, missing.json()), (404, json!({"error": "no item item-009"})));
}

#[test]
fn the_inventory_refuses_what_is_no_item() {
    let origin = origin();
    for (body, status) in [("[1]", 400), ("nonsense", 400), ("", 400), (r#"{"quantity":1000000}"#, 201)] {
        assert_eq!(ask(&origin, "PUT", "/items/a", body).unwrap().status, status, "{body}");
    }
    let refused = ask(&origin, "PUT", "/items/a", r#"{"quantity":1000001}"#).unwrap();
    assert_eq!((refused.status, refused.json()), (422, json!({"error": "quantity is limited to 1000000"})));
    assert_eq!(origin.record("a").unwrap()["quantity"], 1_000_000);
    let log = origin.log();
    assert_eq!(log.iter().map(|e| e.applied).collect::<Vec<_>>(), [false, false, false, true, false]);
    assert_eq!(log[3].applied_seq, Some(1));
}

#[test]
fn preconditions_are_honoured() {
    let origin = origin();
    let put = |name: &str, value: &str| ask_with(&origin, "PUT", "/items/a", &[(name, value)], "{}").unwrap().status;
    assert_eq!(put("If-Match", "*"), 412);
    assert_eq!(put("If-None-Match", "*"), 201);
    assert_eq!(put("If-None-Match", "*"), 412);
    assert_eq!(put("If-Match", "\"x\", \"r1\""), 200);
    assert_eq!(put("If-Match", "\"r1\""), 412);
    assert_eq!(put("If-Match", "W/\"r2\""), 412);
    assert_eq!(put("If-Match", "r2"), 400);

    let get = |value: &str| ask_with(&origin, "GET", "/items/a", &[("If-None-Match", value)], "").unwrap();
    for list in ["\"r2\"", "W/\"r2\"", "\"r1\",\"r2\"", "*"] {
        let same = get(list);
        assert_eq!((same.status, same.header("etag"), same.body.as_str()), (304, Some("\"r2\""), ""), "{list}");
    }
    assert_eq!(get("\"r1\"").status, 200);

    let delete = |value: &str| ask_with(&origin, "DELETE", "/items/a", &[("If-Match", value)], "").unwrap().status;
    assert_eq!(delete("\"r1\""), 412);
    assert_eq!(delete("\"r2\""), 204);
    assert_eq!(delete("\"r2\""), 404);
    let entry = origin.log().pop().unwrap();
    assert_eq!((entry.method, entry.if_match.as_deref()), (Method::Delete, Some("\"r2\"")));
}

#[test]
fn a_list_has_all_records() {
    let origin = origin();
    assert_eq!(ask(&origin, "GET", "/items", "").unwrap().json(), json!([]));
    origin.seed("b", json!({}));
    origin.seed("a", json!({}));
    origin.seed("c", json!({}));
    origin.remove("c");
    let all = ask(&origin, "GET", "/items?x=1", "").unwrap().json();
    assert_eq!((&all[0]["id"], &all[1]["id"], all.as_array().unwrap().len()), (&json!("a"), &json!("b"), 2));
    let some = |ids: &str| ask(&origin, "GET", &format!("/items?x=1&ids={ids}"), "").unwrap();
    let ids =
        |ids: &str| some(ids).json().as_array().unwrap().iter().map(|item| item["id"].to_string()).collect::<String>();
    assert_eq!((ids("b,c,x,%61"), ids("")), ("\"b\"\"a\"".into(), String::new()));
    assert_eq!((some("%zz").status, some(&"a,".repeat(1000)).status), (400, 400));
    for id in 0..1001 {
        origin.seed(&format!("n{id}"), json!({}));
    }
    assert_eq!(ask(&origin, "GET", "/items", "").unwrap().json().as_array().unwrap().len(), 1000);
}

#[test]
fn an_item_that_is_posted_has_its_own_id_or_a_new_one() {
    let origin = origin();
    origin.seed("item-002", json!({}));
    origin.seed("item-003", json!({}));
    origin.remove("item-003");
    let post = |body: &str| ask(&origin, "POST", "/items", body).unwrap();
    let made = post("{\"quantity\":1}");
    assert_eq!((made.status, made.header("location")), (201, Some("/items/item-004")));
    assert_eq!((&made.json()["id"], made.header("etag")), (&json!("item-004"), Some("\"r1\"")));
    let own = post("{\"id\":\"a b\"}");
    assert_eq!((own.status, own.header("location")), (201, Some("/items/a%20b")));
    assert_eq!(post("{\"id\":\"a b\"}").status, 409);
    assert_eq!((post("{\"id\":7}").status, post("[]").status, post("{\"quantity\":1e9}").status), (400, 400, 422));
    assert_eq!(origin.record("item-004").unwrap()["quantity"], 1);
    assert!(origin.log()[0].applied_seq.is_some());
}

#[test]
fn an_id_is_decoded_once() {
    let origin = origin();
    for (path, id) in [("/items/a%2Fb%20%C3%A4", "a/b ä"), ("/items/%2525", "%25")] {
        assert_eq!(ask(&origin, "PUT", path, "{}").unwrap().json()["id"], id);
        assert_eq!(origin.log().pop().unwrap().id.as_deref(), Some(id));
        assert!(origin.record(id).is_some());
    }
    assert_eq!(ask(&origin, "GET", "/items/%zz", "").unwrap().status, 400);
}

#[test]
fn a_patch_is_merged_into_an_item_that_is_there() {
    let origin = origin();
    origin.seed("a", json!({ "n": 1, "gone": 1, "in": { "x": 1, "y": 2 }, "was": 3 }));
    let patched =
        ask(&origin, "PATCH", "/items/a", r#"{"n":2,"gone":null,"in":{"x":null,"z":3},"was":{"now":4}}"#).unwrap();
    assert_eq!((patched.status, patched.header("etag")), (200, Some("\"r2\"")));
    let record = origin.record("a").unwrap();
    assert_eq!((&record["n"], record.get("gone"), &record["was"]), (&json!(2), None, &json!({ "now": 4 })));
    assert_eq!(record["in"], json!({ "y": 2, "z": 3 }));
    assert_eq!(ask(&origin, "PATCH", "/items/none", "{}").unwrap().status, 404);
    assert_eq!(ask(&origin, "PATCH", "/items/a", "[]").unwrap().status, 400);
    assert_eq!(ask(&origin, "PATCH", "/items/a", r#"{"quantity":1000001}"#).unwrap().status, 422);
    assert_eq!(origin.record("a").unwrap(), record);
}

#[test]
fn other_paths_and_methods_are_refused() {
    let origin = origin();
    let health = ask(&origin, "GET", "/healthz", "").unwrap();
    assert_eq!((health.status, health.body.as_str()), (200, "ok"));
    assert_eq!(ask(&origin, "GET", "/nowhere", "").unwrap().status, 404);
    for (method, path, allow) in [
        ("PATCH", "/items", "GET, HEAD, POST"),
        ("BREW", "/items/a", "GET, HEAD, PUT, PATCH, DELETE"),
        ("PUT", "/items", "GET, HEAD, POST"),
        ("PUT", "/healthz", "GET, HEAD"),
    ] {
        let refused = ask(&origin, method, path, "").unwrap();
        assert_eq!((refused.status, refused.header("allow")), (405, Some(allow)), "{method} {path}");
    }
}

#[test]
fn a_head_is_a_get_without_its_body() {
    let origin = origin();
    origin.seed("a", json!({}));
    let mut client = Client::of(&origin);
    client.send("HEAD", "/items/a", &[], "");
    let head = client.receive().unwrap();
    client.send("GET", "/items/a", &[], "");
    let get = client.receive().unwrap();
    assert_eq!(head.header("etag"), get.header("etag"));
    assert_eq!(head.header("content-length"), get.header("content-length"));
}

#[test]
fn an_api_key_is_asked_for_everywhere_but_for_health() {
    let origin = Origin::start(OriginOptions::new().api_key("secret")).unwrap();
    let asked = |path: &str, value: &str| ask_with(&origin, "GET", path, &[("Authorization", value)], "").unwrap();
    let refused = ask(&origin, "PUT", "/items/a", "{}").unwrap();
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(origin.record("a"), None);
    assert_eq!(asked("/items", "Bearer wrong").status, 401);
    assert_eq!(asked("/_log", "Basic secret").status, 401);
    assert_eq!(asked("/items", "bearer secret").status, 200);
    assert_eq!(ask(&origin, "GET", "/healthz", "").unwrap().status, 200);
    assert_eq!(origin.log()[2].authorization.as_deref(), Some("bearer secret"));
    let log = asked("/_log", "Bearer secret").body;
    assert!(log.contains("bearer ***") && !log.contains("secret"), "{log}");
    origin.set_api_key(Some("rotated"));
    assert_eq!(asked("/items", "Bearer secret").status, 401);
    origin.set_api_key(None);
    assert_eq!(ask(&origin, "GET", "/items", "").unwrap().status, 200);
}

#[test]
fn cache_control_can_change_while_the_origin_runs() {
    let origin = Origin::start(OriginOptions::new().cache_control("max-age=60")).unwrap();
    origin.seed("a", json!({}));
    let header =
        |method: &str, path: &str| ask(&origin, method, path, "").unwrap().header("cache-control").map(str::to_owned);
    assert_eq!(header("GET", "/items/a").as_deref(), Some("max-age=60"));
    assert_eq!(header("GET", "/items/missing").as_deref(), Some("max-age=60"));
    assert_eq!(header("DELETE", "/items/a"), None);
    origin.set_cache_control(Some("no-store"));
    assert_eq!(header("GET", "/items/a").as_deref(), Some("no-store"));
    origin.set_cache_control(None);
    assert_eq!(header("GET", "/items/a"), None);
}

#[test]
fn latency_comes_before_apply() {
    let origin = Origin::start(OriginOptions::new().latency(PATIENCE * 100)).unwrap();
    let mut client = Client::of(&origin);
    client.send("PUT", "/items/a", &[], "{}");
    assert!(origin.wait_for(|log| log.len() == 1, PATIENCE));
    assert_eq!(origin.record("a"), None);
    origin.set_latency(std::time::Duration::from_millis(30));
    let timed = std::time::Instant::now();
    assert_eq!(ask(&origin, "PUT", "/items/b", "{}").unwrap().status, 201);
    assert!(timed.elapsed().as_millis() >= 30);
    assert!(origin.log()[1].elapsed.unwrap().as_millis() >= 30);
    // The first one still waits; the stop that ends it does not apply it.
    origin.stop();
    assert_eq!(origin.record("a"), None);
}

#[test]
fn the_log_has_every_request_with_its_connection_and_body() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&seen);
    let observer = move |entry: &wtcache_origin::Entry| sink.lock().unwrap().push((entry.seq, entry.status));
    let origin = Origin::start(OriginOptions::new().observer(observer)).unwrap();
    let mut client = Client::of(&origin);
    client.send("PUT", "/items/a", &[("Idempotency-Key", "k1")], "{\"n\":1}");
    client.receive().unwrap();
    client.send("GET", "/items/a?q", &[("If-None-Match", "\"x\"")], "");
    client.receive().unwrap();
    // In quotes, as the IETF's draft has it.
    let mut other = Client::of(&origin);
    other.send("DELETE", "/items/a", &[("Idempotency-Key", r#""k\"2""#)], "");
    other.receive().unwrap();
    let log = origin.log();
    assert_eq!(log.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log.iter().map(|e| e.connection).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(log.iter().map(|e| e.status).collect::<Vec<_>>(), [Some(201), Some(200), Some(204)]);
    assert_eq!(log.iter().map(|e| e.applied_seq).collect::<Vec<_>>(), [Some(1), None, Some(2)]);
    assert_eq!((log[0].body.as_deref(), log[0].idempotency_key.as_deref()), (Some("{\"n\":1}"), Some("k1")));
    assert_eq!(log[2].idempotency_key.as_deref(), Some("k\"2"));
    assert_eq!((log[1].path.as_str(), log[1].if_none_match.as_deref()), ("/items/a?q", Some("\"x\"")));
    assert_eq!(*seen.lock().unwrap(), [(1, Some(201)), (2, Some(200)), (3, Some(204))]);
    assert_eq!(origin.calls(), 3);
    origin.clear_log();
    assert_eq!((origin.calls(), origin.log().len()), (0, 0));
}

#[test]
fn concurrent_writes_are_applied_one_after_the_other() {
    let origin = origin();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let origin = &origin;
            scope.spawn(move || {
                let mut client = Client::of(origin);
                for n in 0..20 {
                    client.send("PUT", "/items/a", &[], &format!("{{\"by\":\"{writer}-{n}\"}}"));
                    client.receive().unwrap();
                }
            });
        }
    });
    assert_eq!(origin.record("a").unwrap()["revision"], 160);
    let log = origin.log();
    let last = log.iter().max_by_key(|entry| entry.applied_seq).unwrap();
    assert_eq!(last.applied_seq, Some(160));
    let by = origin.record("a").unwrap()["by"].as_str().unwrap().to_owned();
    assert!(last.body.as_deref().unwrap().contains(&by), "the last applied write is the truth");
}

#[test]
fn a_write_that_comes_again_under_its_key_is_applied_once_where_keys_are_honoured() {
    let origin = Origin::start(OriginOptions::new().honours_idempotency(true)).unwrap();
    let send = |method: &str, path: &str, key: &str, more: (&str, &str), body: &str| {
        let answer = ask_with(&origin, method, path, &[("Idempotency-Key", key), more], body).unwrap();
        (answer.status, answer.body)
    };
    let plain = ("X-A", "b");
    let first = send("PUT", "/items/a", "k", plain, "{\"n\":1}");
    assert_eq!(first.0, 201);
    assert_eq!(send("PUT", "/items/a", "k2", plain, "{\"n\":2}").0, 200);
    assert_eq!(send("PUT", "/items/a", "k", plain, "{\"n\":1}"), first, "answered as it was");
    assert_eq!(origin.record("a").unwrap()["n"], 2, "and not applied again");
    assert_eq!(send("PUT", "/items/b", "k", plain, "{\"n\":1}").0, 201, "the key of another request");
    let refused = send("PUT", "/items/a", "k3", ("If-Match", "\"r9\""), "{}");
    assert_eq!((refused.0, send("PUT", "/items/a", "k3", ("If-Match", "\"r2\""), "{}")), (412, refused));
    assert_eq!([0; 2].map(|_| send("DELETE", "/items/a", "k", plain, "").0), [204, 204]);
    let log = origin.log();
    let applied: Vec<_> = log.iter().filter(|entry| entry.applied).map(|entry| entry.seq).collect();
    assert_eq!(applied, [1, 2, 4, 7]);
}

#[test]
fn of_two_sends_of_a_write_at_once_one_is_applied() {
    for honours in [true, false] {
        let origin = Origin::start(OriginOptions::new().honours_idempotency(honours)).unwrap();
        let gate = origin.gate_all(Method::Put, "a", wtcache_origin::When::BeforeApply);
        std::thread::scope(|scope| {
            let sends = [0; 2].map(|_| {
                scope.spawn(|| ask_with(&origin, "PUT", "/items/a", &[("Idempotency-Key", "k")], "{}").unwrap())
            });
            assert!(gate.wait_arrivals(2, PATIENCE));
            gate.release();
            for send in sends {
                assert!(send.join().unwrap().status < 300);
            }
        });
        let applied = origin.log().iter().filter(|entry| entry.applied).count();
        assert_eq!(applied, if honours { 1 } else { 2 });
    }
}
