//! json-server 0.17, from npm. It answers 404 to a PUT of what it does not have, looks at no condition, gives weak ETags, and says
//! `Cache-Control: no-cache` of everything.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::process::{Folder, Front, Origin, skip};
use crate::{NOTHING, is_cached, killed_with_a_write_under_way, says};

/// The command: where the environment says, else where `.ci/run` installs it.
fn installed() -> Option<PathBuf> {
    let of_ci =
        || Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("foreign/node_modules/.bin/json-server");
    let command = std::env::var_os("WTCACHE_JSON_SERVER").map_or_else(of_ci, PathBuf::from);
    let found =
        command.is_file() && Command::new(&command).arg("--version").output().is_ok_and(|out| out.status.success());
    found.then_some(command)
}

/// With the records `a` and `b`.
fn started() -> Option<Origin> {
    let Some(command) = installed() else {
        skip("there is no json-server here: npm install --prefix target/foreign json-server@0.17.4");
        return None;
    };
    let folder = Folder::new();
    let records = json!({ "items": [
        { "id": "a", "sku": "WB-100", "name": "Widget", "quantity": 1 },
        { "id": "b", "sku": "WB-200", "quantity": 2 },
    ] });
    folder.write("db.json", &records.to_string());
    Some(Origin::start(folder, "stdout", move |_, port| {
        let mut run = Command::new(&command);
        run.args(["--host", "127.0.0.1", "--port", &port.to_string(), "db.json"]);
        run
    }))
}

/// F1: its `no-cache` does not count, and G1: a hit asks nobody.
#[test]
fn f1_json_server_is_cached_although_it_says_no_cache() {
    let Some(mut origin) = started() else { return };
    assert_eq!(origin.ask("GET", "/items/a", "").header("cache-control"), Some("no-cache"));
    origin.saw();
    let front = Front::before(&origin, &[]);
    is_cached(&mut origin, &front);
}

/// F1: with `freshness: origin` it counts, and what is held is only offered.
#[test]
fn f1_json_server_is_asked_each_time_where_its_own_word_on_freshness_counts() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &["freshness: origin"]);
    for why in ["miss", "stale"] {
        says(&front.get("a").expect(200), &format!("fwd={why}; fwd-status=200; stored"));
    }
    assert_eq!(origin.saw(), ["GET /items/a 200", "GET /items/a 304"]);
}

/// P1, P4, P6, G5.
#[test]
fn p1_what_json_server_confirms_is_served() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    let put = front.put("a", "{\"sku\":\"WB-100\",\"name\":\"Widget\",\"quantity\":5}").expect_outcome(200, "applied");
    says(&put, "fwd=method; stored");
    assert_eq!(
        (says(&front.get("a"), "hit").json(), origin.ask("GET", "/items/a", "").json()),
        (put.json(), put.json())
    );
    origin.saw();

    let patched = front.patch("a", "{\"quantity\":6,\"name\":null}").expect_outcome(200, "applied");
    assert_eq!(patched.json(), json!({ "id": "a", "sku": "WB-100", "quantity": 6 }));
    assert_eq!(origin.saw(), ["PUT /items/a 200"], "resident: one call");
    assert_eq!(origin.ask("GET", "/items/a", "").json(), patched.json());
    origin.saw();
    front.patch("b", "{\"quantity\":7}").expect(200);
    assert_eq!(origin.saw(), ["GET /items/b 200", "PUT /items/b 200"], "loaded first");
    front.patch("none", "{\"quantity\":7}").expect_outcome(404, "rejected");
    assert_eq!(origin.saw(), ["GET /items/none 404"]);

    front.delete("b").expect_outcome(204, "applied");
    origin.ask("GET", "/items/b", "").expect(404);
    says(&front.get("b").expect(404), "fwd=miss; fwd-status=404; stored");
    front.delete("b").expect_outcome(204, "applied");
    assert_eq!(origin.saw(), ["DELETE /items/b 200", "GET /items/b 404", "GET /items/b 404", "DELETE /items/b 404"]);
}

/// P2: its 404 to a PUT reaches the client in its words, and nothing is cached.
#[test]
fn p2_a_put_of_what_json_server_does_not_have_is_404_and_caches_nothing() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    let refused = front.put("none", "{\"quantity\":5}").expect_outcome(404, "rejected");
    assert_eq!(
        (refused.body.as_str(), says(&refused, "fwd=method; fwd-status=404").header("content-type")),
        ("{}", Some("application/json; charset=utf-8"))
    );
    says(&front.get("none").expect(404), "fwd=miss; fwd-status=404; stored");
    assert_eq!(origin.saw(), ["PUT /items/none 404", "GET /items/none 404"]);
    origin.ask("GET", "/items/none", "").expect(404);
}

/// P6: it looks at no condition, so that conditions are checked here only: by the tag of what is held, within the turn.
#[test]
fn p6_conditions_are_checked_before_json_server_which_knows_none() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    let old = front.get("a").expect(200).header("etag").unwrap().to_owned();
    let put =
        |tag: &str, quantity: u32| front.ask("PUT", "a", &[("If-Match", tag)], &format!("{{\"quantity\":{quantity}}}"));
    let new = put(&old, 5).expect_outcome(200, "applied").header("etag").unwrap().to_owned();
    origin.saw();
    let stale = put(&old, 6).expect_outcome(412, "rejected");
    assert_eq!((stale.header("etag"), &stale.json()["current_etag"]), (Some(new.as_str()), &json!(new)));
    front.ask("DELETE", "a", &[("If-Match", &old)], "").expect_outcome(412, "rejected");
    front.ask("PUT", "a", &[("If-None-Match", "*")], "{\"quantity\":6}").expect_outcome(412, "rejected");
    assert_eq!(origin.saw(), NOTHING);
    says(&front.get("a"), "hit");
    // What somebody else wrote is not seen here, and not looked at there: the documentation says so.
    origin.ask("PUT", "/items/a", "{\"quantity\":9}").expect(200);
    put(&new, 7).expect_outcome(200, "applied");
    assert_eq!(origin.ask("GET", "/items/a", "").json()["quantity"], 7);
    let tag = front.get("a").header("etag").unwrap().to_owned();
    front.ask("DELETE", "a", &[("If-Match", &tag)], "").expect_outcome(204, "applied");
    origin.ask("GET", "/items/a", "").expect(404);
}

/// I1: a change past the front is seen once the front is told.
#[test]
fn i1_a_change_past_the_front_is_seen_once_it_is_told() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    front.get("a").expect(200);
    origin.ask("PUT", "/items/a", "{\"quantity\":9}").expect(200);
    origin.saw();
    assert_eq!(says(&front.get("a").expect(200), "hit").json()["quantity"], 1, "nobody told the front");
    assert_eq!(
        front.invalidate("a").expect(200).json(),
        json!({ "table": "InventoryItem", "forgotten": 1, "scanned": false })
    );
    assert_eq!(origin.saw(), NOTHING);
    let get = front.get("a").expect(200);
    assert_eq!(says(&get, "fwd=miss; fwd-status=200; stored").json()["quantity"], 9);
    assert_eq!(origin.saw(), ["GET /items/a 200"]);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "what arrived is read from /proc")]
fn d1_json_server_killed_with_a_write_under_way_leaves_it_in_doubt() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    killed_with_a_write_under_way(&mut origin, &front);
}
