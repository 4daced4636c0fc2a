//! Who may ask for what: `auth` of a configuration, through the front.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use serde_json::json;
use wtcache_server::config::Admin;

use crate::NOTHING;
use crate::common::{Response, Stage, request_at, setup};

const READER: (&str, &str) = ("Authorization", "Bearer reader-token");
const WRITER: (&str, &str) = ("Authorization", "bearer writer-token");
/// `ops:pass:word`
const OPS: (&str, &str) = ("Authorization", "Basic b3BzOnBhc3M6d29yZA==");

fn sha256(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// With as little work in it as there can be.
fn argon2(password: &str) -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(password.as_bytes());
    hash.unwrap().to_string().replace('$', "$$")
}

fn guarded() -> Stage {
    let auth = format!(
        "auth:
  anonymous: {{ Part: read }}
  principals:
    reader: {{ token_sha256: {}, tables: {{ InventoryItem: read }} }}
    writer: {{ token_sha256: {}, tables: {{ \"*\": \"read, write\", Part: \"put, delete\" }} }}
    ops: {{ password: \"{}\", admin: true }}",
        sha256("reader-token"),
        sha256("writer-token"),
        argon2("pass:word"),
    );
    let stage = setup().top(&auth).admin(Admin::At(([127, 0, 0, 1], 0).into())).start();
    stage.origin.seed("a", json!({ "sku": "x", "quantity": 1 }));
    stage
}

fn ask(stage: &Stage, who: Option<(&str, &str)>, method: &str, path: &str, body: &str) -> Response {
    let mut headers: Vec<_> = who.into_iter().collect();
    headers.push(("Content-Type", "application/json"));
    stage.ask(method, path, &headers, body)
}

#[test]
fn each_may_do_what_is_configured_and_is_told_whether_it_lacks_a_name_or_a_right() {
    let stage = guarded();
    let (item, part, body) = ("/InventoryItem/a", "/Part/a", "{\"sku\":\"x\"}");
    for (who, method, path, status) in [
        (None, "GET", part, 200),
        (None, "HEAD", part, 200),
        (None, "GET", "/Part/?sku=x", 200),
        (None, "PUT", part, 401),
        (None, "GET", item, 401),
        (None, "GET", "/Nothing/a", 401),
        (None, "POST", "/Nothing/a", 401),
        (Some(READER), "GET", item, 200),
        (Some(READER), "GET", "/InventoryItem/?sku=x", 200),
        (Some(READER), "GET", part, 403),
        (Some(READER), "PUT", item, 403),
        (Some(READER), "PATCH", item, 403),
        (Some(READER), "DELETE", item, 403),
        (Some(READER), "GET", "/Nothing/a", 403),
        (Some(WRITER), "PUT", item, 200),
        (Some(WRITER), "PATCH", item, 200),
        (Some(WRITER), "GET", "/Nothing/a", 404),
        (Some(WRITER), "PUT", part, 200),
        (Some(WRITER), "PATCH", part, 403),
        (Some(WRITER), "GET", part, 403),
        (Some(WRITER), "DELETE", part, 204),
        (Some(OPS), "GET", item, 403),
    ] {
        stage.saw();
        let body = if method == "PUT" || method == "PATCH" { body } else { "" };
        let answer = ask(&stage, who, method, path, body);
        assert_eq!(answer.status, status, "{who:?} {method} {path}: {answer:?}");
        let challenge = "Bearer realm=\"wtcache\", Basic realm=\"wtcache\", charset=\"UTF-8\"";
        assert_eq!(answer.header("www-authenticate"), (status == 401).then_some(challenge));
        if status == 401 || status == 403 {
            assert_eq!(stage.saw(), NOTHING, "the origin was not called");
            if method == "PUT" {
                answer.expect_outcome(status, "rejected");
            }
        }
    }
}

/// Where anybody may read, too: who shows credentials wants to be known by them.
#[test]
fn credentials_that_are_none_are_refused_everywhere_but_where_health_is_asked() {
    let stage = guarded();
    for credentials in [
        "Bearer reader-tokem",
        "Bearer reader-token2",
        "Bearer ",
        "Bearer",
        "Token reader-token",
        "Basic reader-token",
        // nobody:pass:word, ops:pass, ops, reader:reader-token
        "Basic bm9ib2R5OnBhc3M6d29yZA==",
        "Basic b3BzOnBhc3M=",
        "Basic b3Bz",
        "Basic cmVhZGVyOnJlYWRlci10b2tlbg==",
    ] {
        let who = Some(("Authorization", credentials));
        ask(&stage, who, "GET", "/Part/a", "").expect(401);
        ask(&stage, who, "GET", "/-/healthz", "").expect(200);
        ask(&stage, who, "GET", "/-/readyz", "").expect(200);
    }
    let twice = [READER, READER];
    stage.ask("GET", "/InventoryItem/a", &twice, "").expect(401);
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn what_the_server_is_asked_of_itself_is_for_who_is_admin() {
    let stage = guarded();
    let admin = stage.admin.unwrap();
    let of = |who: Option<(&str, &str)>, method: &str, path: &str, body: &str| {
        let headers: Vec<_> = who.into_iter().collect();
        request_at(admin, method, path, &headers, body).checked().status
    };
    let forget = "{\"table\":\"InventoryItem\",\"key\":\"a\"}";
    for (method, path, body) in [
        ("GET", "/-/stats", ""),
        ("GET", "/-/metrics", ""),
        ("POST", "/-/invalidate", forget),
        ("OPTIONS", "/-/stats", ""),
        ("GET", "/-/", ""),
        ("GET", "/-/records?table=InventoryItem", ""),
        ("GET", "/-/doubts", ""),
    ] {
        assert_eq!(of(None, method, path, body), 401, "{path}");
        assert_eq!(of(Some(WRITER), method, path, body), 403, "{path}");
        // The first has the password hashed, the others not.
        assert_eq!(of(Some(OPS), method, path, body), if method == "OPTIONS" { 204 } else { 200 }, "{path}");
        assert_eq!(of(Some(("Authorization", "Basic b3BzOnBhc3M=")), method, path, body), 401, "{path}");
    }
    assert_eq!(of(None, "GET", "/-/healthz", ""), 200);
    ask(&stage, None, "GET", "/-/openapi.json", "").expect(200);
}

/// Who may nothing is not told what there is.
#[test]
fn where_nobody_may_anything_nameless_the_description_is_for_those_with_a_name() {
    let auth = format!("auth: {{ principals: {{ reader: {{ token_sha256: {} }} }} }}", sha256("reader-token"));
    let stage = setup().top(&auth).start();
    for (method, path, body) in
        [("GET", "/-/openapi.json", ""), ("GET", "/-/pending/0", ""), ("POST", "/-/transaction", "{}")]
    {
        let refused = ask(&stage, None, method, path, body).expect(401);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"wtcache\""));
    }
    let document = ask(&stage, Some(READER), "GET", "/-/openapi.json", "").expect(200).json();
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let said = |path: &str| {
        let path = document["paths"][path].as_object().unwrap();
        path.values().filter_map(|operation| operation.get("responses")).all(|all| all.get("401").is_some())
    };
    assert_eq!(document["security"], json!([{ "token": [] }, { "password": [] }]));
    assert_eq!(document["paths"]["/-/healthz"]["get"]["security"], json!([]));
    assert!(said("/InventoryItem/{key}") && said("/InventoryItem/") && said("/-/transaction") && !said("/-/healthz"));
    let open = setup().start().ask("GET", "/-/openapi.json", &[], "").expect(200).json();
    assert!(open["components"].get("securitySchemes").is_none() && open.get("security").is_none());
}

#[test]
fn each_update_of_a_transaction_needs_its_right() {
    let stage = guarded();
    let transact = |who, body: serde_json::Value| ask(&stage, who, "POST", "/-/transaction", &body.to_string());
    let put = |table: &str| json!({ "table": table, "key": "a", "put": { "sku": "x" } });
    let patch = json!({ "table": "Part", "key": "b", "patch": { "sku": "x" } });
    transact(None, json!({ "updates": [put("Part")] })).expect_outcome(401, "rolled-back");
    transact(Some(READER), json!({ "updates": [put("InventoryItem")] })).expect_outcome(403, "rolled-back");
    transact(Some(WRITER), json!({ "updates": [put("InventoryItem"), patch] })).expect_outcome(403, "rolled-back");
    let forgets = |table: &str| json!({ "updates": [put("Part")], "invalidate": [{ "table": table, "all": true }] });
    assert_eq!(stage.saw(), NOTHING);
    transact(Some(WRITER), forgets("InventoryItem")).expect_outcome(200, "committed");
    assert_eq!(stage.saw(), ["PUT a"]);
}
