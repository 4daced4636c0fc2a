//! Chapter 8 through the front: how long what has expired is kept (`eviction`), and records that say when they end (`@expiresAt`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method};

use crate::NOTHING;
use crate::common::{Response, Stage, setup};

const KEPT: &str = "type Kept @table(expiration: 60, eviction: 30) @export { id: ID @primaryKey count: Int @indexed }";
const ENDING: &str =
    "type Ending @table(expiration: 300) @export { id: ID @primaryKey count: Int until: Long @expiresAt }";

fn kept() -> Stage {
    setup().types(KEPT).start()
}

fn ending() -> Stage {
    setup().types(ENDING).start()
}

fn get(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> Response {
    stage.ask("GET", path, headers, "")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The wall clock so many seconds from now, in milliseconds since 1970.
fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    i64::try_from(now).unwrap() + seconds * 1000
}

fn failing(stage: &Stage) {
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(500))));
}

/// F2: until the end of the eviction the origin may confirm it, and a client may take it stale; then it is not there.
#[test]
fn f2_an_expired_record_is_kept_for_the_eviction_and_no_longer() {
    for (late, is_kept) in [(89, true), (90, false)] {
        let stage = kept();
        stage.origin.seed("a", json!({ "count": 1 }));
        get(&stage, "/Kept/a", &[]).expect(200);
        stage.clock.advance(seconds(late));
        failing(&stage);
        let any = [("Cache-Control", "stale-if-error")];
        get(&stage, "/Kept/a", &any).expect(if is_kept { 200 } else { 502 });
        stage.saw();
        get(&stage, "/Kept/a", &[]).expect(200);
        assert_eq!(stage.origin.log()[0].if_none_match.is_some(), is_kept, "{late}");
    }
}

/// A query finds what is kept, and has it loaded again.
#[test]
fn a_query_does_not_find_what_is_not_kept_any_more() {
    for (late, saw) in [(89, vec!["GET a".to_owned()]), (90, vec![])] {
        let stage = kept();
        stage.origin.seed("a", json!({ "count": 1 }));
        get(&stage, "/Kept/a", &[]).expect(200);
        stage.clock.advance(seconds(late));
        stage.saw();
        let found = get(&stage, "/Kept/?count=1", &[]).expect(200).json();
        assert_eq!((found.as_array().unwrap().len(), stage.saw()), (saw.len(), saw));
    }
}

/// F1: the earlier of its own end and the table's; it is counted by the front's clock from when it came.
#[test]
fn f1_a_record_is_served_no_longer_than_it_says() {
    for (until, end) in [(json!(from_now(100)), 100), (json!(from_now(1000)), 300), (Value::Null, 300)] {
        for put in [false, true] {
            let stage = ending();
            let record = json!({ "count": 1, "until": until });
            if put {
                stage.ask("PUT", "/Ending/a", &[], &record.to_string()).expect(200);
            } else {
                stage.origin.seed("a", record);
                get(&stage, "/Ending/a", &[]).expect(200);
            }
            stage.saw();
            // Some of the real time has passed.
            stage.clock.advance(seconds(end - 30));
            get(&stage, "/Ending/a", &[]).expect(200);
            assert_eq!(stage.saw(), NOTHING);
            stage.clock.advance(seconds(30));
            get(&stage, "/Ending/a", &[]).expect(200);
            assert_eq!(stage.saw(), ["GET a"], "{until} {put}");
        }
    }
}

/// F1: whoever asks is given it, and nothing is held.
#[test]
fn f1_a_record_that_has_ended_is_shown_and_not_kept() {
    let stage = ending();
    stage.origin.seed("a", json!({ "until": from_now(-1) }));
    for _ in 0..2 {
        let shown = get(&stage, "/Ending/a", &[]).expect(200);
        assert_eq!(shown.header("cache-status"), Some("wtcache; fwd=miss; fwd-status=200"));
        assert_eq!(stage.saw(), ["GET a"]);
    }
    let put = stage.ask("PUT", "/Ending/b", &[], "{\"until\":5}").expect_outcome(200, "applied");
    assert_eq!(put.header("cache-status"), Some("wtcache; fwd=method"));
    let refused = stage.ask("PUT", "/Ending/b", &[], "{\"until\":\"soon\"}").expect_outcome(400, "rejected").json();
    assert_eq!(refused["field"], "until");
}

/// F1: a 304 does not make it live longer.
#[test]
fn f1_a_record_that_the_origin_confirms_ends_when_it_says() {
    let stage = ending();
    stage.origin.seed("a", json!({ "until": from_now(400) }));
    get(&stage, "/Ending/a", &[]).expect(200);
    stage.clock.advance(seconds(300));
    stage.saw();
    // By the wall clock it has 400 s yet; by the table, 300.
    get(&stage, "/Ending/a", &[]).expect(200);
    assert!(stage.origin.log()[0].if_none_match.is_some());
    let patched = json!({ "until": from_now(50) }).to_string();
    let merge = [("Content-Type", "application/merge-patch+json")];
    stage.ask("PATCH", "/Ending/a", &merge, &patched).expect(200);
    stage.clock.advance(seconds(50));
    stage.saw();
    get(&stage, "/Ending/a", &[]).expect(200);
    assert_eq!(stage.saw(), ["GET a"]);
}

/// F2: whatever the configuration allows, and the client.
#[test]
fn f2_a_record_that_has_ended_is_not_served_stale() {
    for (record, status) in [(json!({ "until": from_now(100) }), 502), (json!({}), 200)] {
        let stage = setup().types(ENDING).table("stale_if_error: 1000s").start();
        stage.origin.seed("a", record);
        get(&stage, "/Ending/a", &[]).expect(200);
        stage.clock.advance(seconds(300));
        for headers in [vec![], vec![("Cache-Control", "max-stale, stale-if-error")]] {
            failing(&stage);
            get(&stage, "/Ending/a", &headers).expect(status);
        }
    }
}

/// F1: also what the origin tells by itself, and what comes in a list.
#[test]
fn f1_records_that_are_told_and_listed_end_when_they_say() {
    for listed in [false, true] {
        let stage =
            setup().types(ENDING).origin("versions: number").origin("list: { url: \"${ORIGIN}/items\" }").start();
        let record = json!({ "id": "a", "count": 2, "until": from_now(100) });
        if listed {
            stage.origin.seed("a", record);
            get(&stage, "/Ending/?passthrough", &[]).expect(200);
        } else {
            stage.origin.seed("a", json!({ "count": 1 }));
            get(&stage, "/Ending/a", &[]).expect(200);
            let change = json!({ "op": "put", "key": "a", "version": "\"r900\"", "record": record });
            stage.ask("POST", "/-/changes?table=Ending", &[], &change.to_string()).expect(200);
        }
        stage.saw();
        for (wait, saw) in [(0, 0), (70, 0), (30, 1)] {
            stage.clock.advance(seconds(wait));
            get(&stage, "/Ending/a", &[]).expect(200);
            assert_eq!(stage.saw().len(), saw, "{wait} {listed}");
        }
    }
}
