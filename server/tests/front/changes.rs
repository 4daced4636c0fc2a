//! I3: what others changed is told by the origin's feed, or by `POST /-/changes`.

use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Setup, Stage, setup};

const SECRET: &str = "a secret of some length";

fn ordered() -> Setup {
    setup().origin("versions: number")
}

fn tell(stage: &Stage, body: &str) -> Response {
    stage.ask("POST", "/-/changes?table=InventoryItem", &[], body)
}

fn quantity(stage: &Stage, key: &str) -> Value {
    stage.get(key).expect(200).json()["quantity"].clone()
}

/// A change that the sample origin would tell.
fn put(key: &str, quantity: i64, revision: u64) -> Value {
    let record = json!({ "id": key, "sku": "WB-100", "quantity": quantity });
    json!({ "op": "put", "key": key, "record": record, "version": format!("\"r{revision}\"") })
}

#[test]
fn i3_a_change_that_is_told_is_held_at_once() {
    let stage = ordered().start();
    stage.origin.seed("a", json!({ "sku": "WB-100", "quantity": 1 }));
    assert_eq!(quantity(&stage, "a"), 1);
    stage.saw();
    let told = tell(&stage, &put("a", 2, 2).to_string()).expect(200);
    assert_eq!(told.json(), json!({ "table": "InventoryItem", "outcomes": ["taken"] }));
    assert_eq!(told.header("cache-status"), Some("wtcache; detail=local"));
    assert_eq!(quantity(&stage, "a"), 2);
    assert_eq!(stage.saw(), NOTHING, "no call of the origin");
    // In their order, each for itself.
    let changes = json!([
        put("a", 1, 1),
        put("a", 3, 3),
        { "op": "delete", "key": "b" },
        { "op": "invalidate", "prefix": "c" },
        { "op": "put", "key": "a", "record": { "sku": 7 }, "version": "\"r9\"" },
        { "op": "reset" },
    ]);
    let told = tell(&stage, &changes.to_string()).expect(200).json();
    let want = json!(["passed-over", "taken", "invalidated", { "forgotten": 0 }, "invalidated", { "forgotten": 0 }]);
    assert_eq!(told["outcomes"], want, "a record that is none of the table is only known to have changed");
}

#[test]
fn i3_an_array_that_is_not_understood_whole_changes_nothing() {
    let stage = ordered().start();
    stage.origin.seed("a", json!({ "sku": "WB-100", "quantity": 1 }));
    quantity(&stage, "a");
    stage.saw();
    let rows = [
        (json!([put("a", 2, 2), { "op": "move", "key": "a" }]), Some("[1]"), "\"move\""),
        (json!([put("a", 2, 2), { "op": "delete" }, 7]), Some("[1]"), "no key"),
        (json!([{ "op": "delete", "key": "x".repeat(2000) }, put("a", 2, 2)]), Some("[0]"), "key"),
        (json!({ "op": 7.5 }), None, "op is neither"),
        (json!(7), None, "no JSON object"),
    ];
    for (body, field, words) in rows {
        let problem = tell(&stage, &body.to_string()).expect(400).json();
        assert_eq!(problem["field"].as_str(), field, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    for query in ["", "?table=Elsewhere", "?table=Part&x=1", "?table=%ff"] {
        stage.ask("POST", &format!("/-/changes{query}"), &[], "{\"op\":\"reset\"}").expect(400);
    }
    stage.ask("GET", "/-/changes?table=Part", &[], "").expect(405);
    assert_eq!(quantity(&stage, "a"), 1);
    assert_eq!(stage.saw(), NOTHING, "it is still held");
}

fn signed(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Services that call webhooks sign, and show no other credentials.
#[test]
fn i3_a_signature_says_who_tells_and_without_a_secret_an_admin_tells() {
    let hash = ring::digest::digest(&ring::digest::SHA256, b"ops-token");
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let auth = format!(
        "auth:\n  anonymous: {{ \"*\": read }}\n  principals:\n    ops: {{ token_sha256: {hash}, admin: true }}"
    );
    let stage = ordered().table(&format!("changes: {{ secret: {SECRET:?} }}")).top(&auth).start();
    stage.origin.seed("a", json!({ "sku": "WB-100", "quantity": 1 }));
    quantity(&stage, "a");
    let body = put("a", 2, 2).to_string();
    let good = signed(SECRET, &body);
    let (good, bad) = (("X-Signature-256", good.as_str()), ("X-Signature-256", "00"));
    let (ops, nobody) = (("Authorization", "Bearer ops-token"), ("Authorization", "Bearer nobody"));
    let item = "/-/changes?table=InventoryItem";
    for (path, headers, status) in [
        (item, vec![], 401),
        (item, vec![bad], 401),
        (item, vec![ops], 401),
        (item, vec![ops, bad], 401),
        // Credentials that are not right are never taken for none.
        (item, vec![nobody, good], 401),
        // Of no table, a signature says nothing.
        ("/-/changes?table=Nothing", vec![good], 401),
        ("/-/changes", vec![good], 401),
        // And it is for nothing else.
        ("/-/invalidate?table=InventoryItem", vec![good], 401),
    ] {
        assert_eq!(stage.ask("POST", path, &headers, &body).status, status, "{path} {headers:?}");
        assert_eq!(quantity(&stage, "a"), 1, "{path} {headers:?}");
    }
    stage.ask("POST", item, &[good], &body).expect(200);
    assert_eq!(quantity(&stage, "a"), 2);
    let body = json!({ "op": "reset" }).to_string();
    stage.ask("POST", item, &[ops, ("X-Signature-256", &signed(SECRET, &body))], &body).expect(200);
    // Of a table without a secret neither.
    let stage = ordered().top(&auth).start();
    stage.ask("POST", item, &[("X-Signature-256", &signed(SECRET, &body))], &body).expect(401);
    stage.ask("POST", item, &[ops], &body).expect(200);
}

#[test]
fn i3_a_webhook_with_a_secret_has_to_be_signed() {
    let stage = ordered().table(&format!("changes: {{ secret: {SECRET:?} }}")).start();
    stage.origin.seed("a", json!({ "sku": "WB-100", "quantity": 1 }));
    quantity(&stage, "a");
    let body = put("a", 2, 2).to_string();
    let ask = |headers: &[(&str, &str)]| stage.ask("POST", "/-/changes?table=InventoryItem", headers, &body);
    let good = signed(SECRET, &body);
    let wrong = [
        signed("another secret of some length", &body),
        signed(SECRET, "another body"),
        good[..62].to_owned(),
        format!("{good}00"),
        "nonsense".to_owned(),
        String::new(),
    ];
    for wrong in &wrong {
        let problem = ask(&[("X-Signature-256", wrong)]).expect(401);
        assert!(!problem.body.contains(&good), "what it should have been is nobody's business");
    }
    ask(&[]).expect(401);
    ask(&[("X-Signature-256", &good), ("X-Signature-256", &good)]).expect(401);
    assert_eq!(quantity(&stage, "a"), 1);
    ask(&[("X-Signature-256", &format!("sha256={good}"))]).expect(200);
    assert_eq!(quantity(&stage, "a"), 2);
    ask(&[("x-signature-256", &good.to_uppercase())]).expect(200);
}

#[test]
fn i3_the_origins_feed_is_held_and_is_ended_with_the_server() {
    for kind in ["sse", "poll"] {
        let subscribe = format!("subscribe: {{ url: /items/_changes, kind: {kind} }}");
        let mut stage = ordered().table(&subscribe).real_time().start();
        stage.front.wait_for_feeds(PATIENCE).unwrap();
        stage.put_quantity("a", 1).expect(200);
        quantity(&stage, "a");
        stage.origin.seed("a", json!({ "sku": "WB-100", "quantity": 2 }));
        let end = Instant::now() + PATIENCE;
        while quantity(&stage, "a") != 2 {
            assert!(Instant::now() < end, "{kind}: nobody told the cache");
        }
        let stats = stage.ask("GET", "/-/stats", &[], "").expect(200).json()["subscriptions"]["InventoryItem"].clone();
        assert_eq!((&stats["state"], &stats["panics"]), (&json!("live"), &json!(0)), "{stats}");
        let metrics = stage.ask("GET", "/-/metrics", &[], "").expect(200).body;
        for metric in [
            "live{table=\"InventoryItem\"} 1",
            "gaps_total{table=\"InventoryItem\"} 1",
            "panics_total{table=\"InventoryItem\"} 0",
        ] {
            assert!(metrics.contains(&format!("\nwtcache_subscription_{metric}\n")), "{metric} in {metrics}");
        }
        stage.ended();
    }
}

#[test]
fn a_subscription_that_cannot_be_is_refused_by_table_and_option() {
    let refused = std::panic::catch_unwind(|| {
        setup().table("subscribe: { url: \"http://elsewhere/changes\" }").real_time().start();
    });
    let words = refused.unwrap_err();
    let words = words.downcast_ref::<String>().unwrap();
    assert!(words.contains("InventoryItem") && words.contains("subscribe.url"), "{words}");
}
