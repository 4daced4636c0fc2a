//! Access lines of a front, as they stand in a file.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::{Stage, setup};

const CAME: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A file of a test's own, removed at its end.
struct Log(PathBuf);

impl Log {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wtcache-access-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn stage(&self, top: &str) -> Stage {
        setup().real_time().top(&format!("access_log: '{}'\n{top}", self.0.display())).start()
    }

    /// The lines of a stage that has ended.
    fn lines(&self, mut stage: Stage) -> Vec<String> {
        stage.ended();
        fs::read_to_string(&self.0).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn each_request_is_a_line() {
    let log = Log::new("json");
    let stage = log.stage("log: json\n");
    stage.origin.seed("a b", json!({ "quantity": 1 }));
    for _ in 0..2 {
        stage.ask("GET", "/InventoryItem/a%20b?confirmed", &[("traceparent", CAME)], "").expect(200);
    }
    let head = stage.ask("HEAD", "/InventoryItem/a%20b", &[], "").expect(200);
    stage.ask("GET", "/InventoryItem/?sku=x", &[], "").expect(200);
    let put = stage.put("a%20b", "{\"quantity\":2}").expect(200);
    stage.ask("GET", "/-/pending/7", &[], "").expect(404);
    stage.ask("GET", "/nowhere/7", &[], "").expect(404);
    stage.ask("BREW", "/InventoryItem/a", &[], "").expect(405);
    stage.ask("OPTIONS", "*", &[], "").expect(204);
    let lines: Vec<Value> = log.lines(stage).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |at: usize| {
        let mut line = lines[at].as_object().unwrap().clone();
        assert!(line.remove("time").unwrap().as_str().unwrap().ends_with('Z'));
        assert!(line.remove("micros").unwrap().is_u64());
        assert_eq!((line.remove("level"), line.remove("event")), (Some(json!("info")), Some(json!("request"))));
        Value::from(line)
    };
    let (path, key, trace_id) = ("/InventoryItem/{key}", "a b", "4bf92f3577b34da6a3ce929d0e0e4736");
    let bytes = |response: &crate::common::Response| response.bytes.len();
    let loaded = of(0);
    assert_eq!((&loaded["method"], &loaded["path"], &loaded["key"]), (&json!("GET"), &json!(path), &json!(key)));
    assert_eq!(
        (&loaded["status"], &loaded["outcome"], &loaded["trace_id"]),
        (&json!(200), &json!("loaded"), &json!(trace_id))
    );
    assert!(loaded["cache"].as_str().unwrap().starts_with("wtcache; fwd=miss; fwd-status=200; stored"), "{loaded}");
    assert_eq!(of(1)["outcome"], "hit");
    assert!(of(1)["cache"].as_str().unwrap().starts_with("wtcache; hit"), "{}", of(1));
    assert_eq!(of(1)["bytes"], loaded["bytes"]);
    assert_eq!((&of(2)["bytes"], bytes(&head)), (&json!(0), 0));
    assert_eq!(
        (&of(3)["path"], &of(3)["key"], &of(3)["outcome"]),
        (&json!("/InventoryItem/"), &Value::Null, &json!("index"))
    );
    assert_eq!(
        (&of(4)["method"], &of(4)["outcome"], &of(4)["bytes"]),
        (&json!("PUT"), &json!("written"), &json!(bytes(&put)))
    );
    assert_eq!(of(4).get("trace_id"), None);
    assert_eq!((&of(5)["path"], &of(5)["status"]), (&json!("/-/pending/{id}"), &json!(404)));
    assert_eq!((of(6).get("path"), &of(6)["status"]), (None, &json!(404)));
    assert_eq!((&of(7)["method"], &of(7)["status"], &of(7)["key"]), (&json!("BREW"), &json!(405), &json!("a")));
    assert_eq!((&of(8)["path"], &of(8)["status"], &of(8)["bytes"]), (&json!("*"), &json!(204), &json!(0)));
    assert_eq!(lines.len(), 9);
}

#[test]
fn a_line_says_who_asked_and_a_refusal_is_one_too() {
    let log = Log::new("text");
    let hash = ring::digest::digest(&ring::digest::SHA256, b"token");
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let stage = log.stage(&format!(
        "auth: {{ principals: {{ shop: {{ token_sha256: '{hash}', tables: {{ InventoryItem: read }} }} }} }}\n"
    ));
    let shop = [("Authorization", "Bearer token")];
    stage.ask("GET", "/InventoryItem/a", &shop, "").expect(404);
    stage.ask("GET", "/InventoryItem/a", &[], "").expect(401);
    stage.ask("DELETE", "/InventoryItem/a", &shop, "").expect(403);
    let lines = log.lines(stage);
    let ends = |at: usize| lines[at].rsplit_once(" outcome=").unwrap().1;
    assert!(
        lines[0].contains(" INFO  request method=GET path=/InventoryItem/{key} key=a status=404 bytes="),
        "{lines:?}"
    );
    assert_eq!((ends(0), ends(1), ends(2)), ("loaded principal=shop", "refused", "refused principal=shop"));
    assert!(lines[1].contains("path=/InventoryItem/{key} key=a status=401"), "{lines:?}");
    assert_eq!(lines.len(), 3);
}
