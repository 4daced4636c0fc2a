//! What Harper 4.7.29 was seen to do, and what a write-through cache must do instead: a test a row, over real sockets.
//!
//! Some rows are held by tests of `front`, and some by commands: docs/testing.md has the list.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, Response, Stage, setup, stage};
use serde_json::json;
use wtcache_origin::{Answer, Fault, FaultKind, Method, When};

const ROUNDS: usize = 5;
const NOTHING: [&str; 0] = [];

/// `count` threads do the same at once; what each came to.
fn all_at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(count);
    thread::scope(|scope| {
        let run = |n| {
            start.wait();
            work(n)
        };
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || run(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The value is in the cache: it is served, and the origin's log stays as it is.
#[track_caller]
fn resident(stage: &Stage, key: &str) -> Response {
    stage.saw();
    let answer = stage.get(key);
    assert_eq!(stage.saw(), NOTHING, "{answer:?}");
    answer
}

/// G4, G5: the load has the old record in hand when the write is confirmed.
#[test]
fn harper_a_slow_put_while_a_get_refills_keeps_the_acknowledged_write() {
    let stage = stage();
    for round in 0..ROUNDS {
        let key = format!("item-{round}");
        stage.origin.seed(&key, json!({ "quantity": 1 }));
        let gate = stage.origin.gate(Method::Get, key.as_str(), When::AfterApply);
        let refilled = thread::scope(|scope| {
            let refill = scope.spawn(|| stage.get(&key));
            assert!(gate.wait_arrived(PATIENCE), "the load has the old record in hand");
            stage.put_quantity(&key, 2).expect(200);
            gate.release();
            refill.join().unwrap()
        });
        assert_eq!(refilled.expect(200).quantity(), 2, "G4: a detached load's old record is not returned");
        assert_eq!(stage.saw(), [format!("GET {key}"), format!("PUT {key}")]);
        assert_eq!(resident(&stage, &key).expect(200).quantity(), 2, "G5: nor retained");
    }
}

/// G4, G5, G6: the refill begins and ends while the write is at the origin.
#[test]
fn harper_a_refill_within_a_slow_put_does_not_outlive_it() {
    let stage = stage();
    for round in 0..ROUNDS {
        let key = format!("item-{round}");
        stage.origin.seed(&key, json!({ "quantity": 1 }));
        // Whether it reads before or after the origin applied.
        let when = if round % 2 == 0 { When::BeforeApply } else { When::AfterApply };
        let gate = stage.origin.gate(Method::Put, key.as_str(), when);
        let refilled = thread::scope(|scope| {
            let put = scope.spawn(|| stage.put_quantity(&key, 2));
            assert!(gate.wait_arrived(PATIENCE));
            let refilled = stage.get(&key).expect(200).quantity();
            gate.release();
            assert_eq!(put.join().unwrap().expect(200).quantity(), 2);
            refilled
        });
        assert_eq!(refilled, if when == When::BeforeApply { 1 } else { 2 });
        assert_eq!(stage.saw(), [format!("PUT {key}"), format!("GET {key}")]);
        assert_eq!(resident(&stage, &key).expect(200).quantity(), 2);
    }
}

/// G4, G5, P4: the same for a delete, the load in hand before it or made within it.
#[test]
fn harper_a_refill_around_a_slow_delete_does_not_bring_the_record_back() {
    let stage = stage();
    for round in 0..ROUNDS {
        let key = format!("item-{round}");
        stage.origin.seed(&key, json!({ "quantity": 1 }));
        let load = stage.origin.gate(Method::Get, key.as_str(), When::AfterApply);
        let refilled = thread::scope(|scope| {
            let refill = scope.spawn(|| stage.get(&key));
            assert!(load.wait_arrived(PATIENCE));
            stage.delete(&key).expect(204);
            load.release();
            refill.join().unwrap()
        });
        assert_eq!(refilled.status, 404, "the reader that was moved asks again");
        assert_eq!(stage.saw(), [format!("GET {key}"), format!("DELETE {key}"), format!("GET {key}")]);

        let key = format!("slow-{round}");
        stage.origin.seed(&key, json!({ "quantity": 1 }));
        let gate = stage.origin.gate(Method::Delete, key.as_str(), When::BeforeApply);
        thread::scope(|scope| {
            let delete = scope.spawn(|| stage.delete(&key));
            assert!(gate.wait_arrived(PATIENCE));
            assert_eq!(stage.get(&key).expect(200).quantity(), 1, "G6: not deleted yet");
            gate.release();
            delete.join().unwrap().expect(204);
        });
        stage.get(&key).expect(404);
        assert_eq!(stage.saw(), [format!("DELETE {key}"), format!("GET {key}"), format!("GET {key}")]);
    }
}

/// P3: the last value in the cache is the last value at the origin.
#[test]
fn harper_concurrent_puts_of_a_key_leave_cache_and_origin_the_same() {
    let stage = stage();
    let mut seed = 7_u64;
    for (round, writers) in [2, 3, 5, 8, 10, 20, 30, 50, 50].into_iter().enumerate() {
        let key = format!("item-{round}");
        for _ in 0..writers {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let jitter = Duration::from_micros((seed >> 33) % 6_000);
            stage.origin.fault(Fault::on(Method::Put, key.as_str()).kind(FaultKind::DelayBeforeApply(jitter)));
        }
        let statuses = all_at_once(writers, |n| stage.put_quantity(&key, n as i64).status);
        assert_eq!(statuses, vec![200; writers]);
        assert_eq!(stage.saw().len(), writers);
        let served = resident(&stage, &key).expect(200).json();
        assert_eq!(Some(served), stage.origin.record(&key), "{writers} writers");
    }
}

/// A1, D1, D2, D3: in doubt, the old value is not served, and nothing is retained before the doubt is settled.
#[test]
fn harper_applied_and_then_an_error_is_in_doubt_and_the_old_value_is_gone() {
    for (lost, origin_status) in [
        (FaultKind::ResetAfterApply, None),
        (FaultKind::CloseAfterApply, None),
        (FaultKind::ApplyThenAnswer(Answer::new(500).body("oops")), Some(500)),
        (FaultKind::ApplyThenAnswer(Answer::new(503)), Some(503)),
    ] {
        let stage = stage();
        stage.put_quantity("a", 1).expect(200);
        stage.saw();
        stage.origin.fault(Fault::on(Method::Put, "a").kind(lost.clone()));
        let answer = stage.put_quantity("a", 2).expect_outcome(502, "in-doubt").json();
        assert_eq!(answer["origin_status"], json!(origin_status), "{lost:?}");
        assert_eq!(stage.saw(), ["PUT a"], "sent once");
        for _ in 0..3 {
            assert_eq!(stage.get("a").expect(200).quantity(), 2, "{lost:?}");
            assert_eq!(stage.saw(), ["GET a"], "{lost:?}");
        }
        stage.clock.advance(Duration::from_secs(10));
        assert_eq!(stage.get("a").expect(200).quantity(), 2);
        assert_eq!(stage.saw(), ["GET a"], "settled, the origin is asked once more");
        assert_eq!(resident(&stage, "a").expect(200).quantity(), 2);
    }
}

/// A2, P1: the origin applied it, but what it stored is not known.
#[test]
fn harper_an_applied_write_with_an_unreadable_answer_drops_the_entry() {
    let json = |body: &str| Answer::new(200).header("Content-Type", "application/json").body(body);
    for unreadable in [
        FaultKind::ApplyThenAnswer(json("<html>it worked</html>")),
        FaultKind::ApplyThenAnswer(json("[1, 2]")),
        FaultKind::ApplyThenAnswer(json("{\"quantity\":\"five\"}")),
        FaultKind::ApplyThenAnswer(json("{\"id\":\"b\",\"quantity\":2}")),
        FaultKind::ApplyThenAnswer(json("{\"quantity\":2}").header("Content-Encoding", "gzip")),
        FaultKind::TruncatedBody,
        FaultKind::BrokenChunked,
        FaultKind::OversizeBody(2 * 1024 * 1024),
    ] {
        let stage = stage();
        stage.put_quantity("a", 1).expect(200);
        stage.origin.fault(Fault::on(Method::Put, "a").kind(unreadable.clone()));
        let answer = stage.put_quantity("a", 2).expect_outcome(204, "applied");
        assert_eq!((answer.header("etag"), answer.body.as_str()), (None, ""), "{unreadable:?}");
        stage.saw();
        assert_eq!(stage.get("a").expect(200).quantity(), 2, "{unreadable:?}");
        assert_eq!(stage.saw(), ["GET a"], "{unreadable:?}");
        assert_eq!(resident(&stage, "a").expect(200).quantity(), 2, "no doubt: it is retained");
    }
}

/// A1: an origin that answers a put with 204 confirmed it.
#[test]
fn harper_a_put_that_the_origin_answers_with_204_is_applied() {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ApplyThenAnswer(Answer::new(204))));
    let answer = stage.put_quantity("a", 2).expect_outcome(204, "applied");
    assert_eq!(answer.header("etag"), None);
    stage.saw();
    assert_eq!(stage.get("a").expect(200).quantity(), 2);
    assert_eq!(stage.saw(), ["GET a"]);
    assert_eq!(resident(&stage, "a").expect(200).quantity(), 2);
}

/// P1: what the origin made itself is what is served.
#[test]
fn harper_the_fields_that_the_origin_made_are_served_from_the_cache() {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    let put = stage.put_quantity("a", 2).expect(200);
    let record = stage.origin.record("a").unwrap();
    assert_eq!(put.json(), record);
    assert!(record["updatedAt"].is_string() && record["revision"] == 2, "{record}");
    let get = resident(&stage, "a").expect(200);
    assert_eq!((get.json(), get.header("etag")), (record, Some("\"r2\"")));
    assert_eq!(put.header("etag"), Some("\"r2\""));
}

/// G2: 100 cold reads, whatever the origin answers, are one call.
#[test]
fn harper_a_hundred_cold_gets_make_one_origin_call() {
    for (status, expected) in [(200, 200), (500, 502), (404, 404)] {
        let stage = stage();
        if status == 200 {
            stage.origin.seed("a", json!({ "quantity": 1 }));
        }
        if status == 500 {
            stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(500))).times(1000));
        }
        let gate = stage.origin.gate_all(Method::Get, "a", When::AfterApply);
        let early = stage.origin.gate_all(Method::Get, "a", When::BeforeApply);
        let answers = thread::scope(|scope| {
            let readers: Vec<_> = (0..100).map(|_| scope.spawn(|| stage.get("a"))).collect();
            stage.wait_for_stats("InventoryItem", |stats| stats.joined == 99);
            early.release();
            gate.release();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(stage.saw(), ["GET a"], "{status}");
        assert!(answers.iter().all(|answer| answer.status == expected), "{status}: {answers:?}");
        assert!(answers.windows(2).all(|pair| pair[0].body == pair[1].body), "{status}: they share the answer");
    }
}

/// G7, A2: an origin that hangs holds nobody beyond the deadline, and is not called once a reader.
#[test]
fn harper_an_origin_that_hangs_ends_at_the_deadline_for_all() {
    const READERS: usize = 20;
    let stage = setup().timeout("1s").real_time().start();
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::HangBeforeApply).times(1000));
    let begun = Instant::now();
    let answers = all_at_once(READERS, |_| stage.get("a"));
    let took = begun.elapsed();
    assert!(answers.iter().all(|answer| answer.status == 504), "{answers:?}");
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
    let calls = stage.saw();
    assert!(calls.len() < READERS / 2, "{calls:?}");

    stage.origin.fault(Fault::on(Method::Put, "b").kind(FaultKind::HangAfterApply));
    let begun = Instant::now();
    stage.put_quantity("b", 1).expect_outcome(504, "in-doubt");
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&begun.elapsed()));
    assert_eq!(stage.saw(), ["PUT b"]);
}

/// F1, F4: absence is remembered for the negative lifetime, and asked for again after it.
#[test]
fn harper_five_gets_of_a_missing_record_make_one_call() {
    let stage = stage();
    for life in 0..2 {
        for _ in 0..5 {
            stage.get("a").expect(404);
        }
        assert_eq!(stage.saw(), ["GET a"], "negative lifetime {life}");
        stage.clock.advance(Duration::from_secs(5));
    }
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage.get("a").expect(200);
    assert_eq!(stage.saw(), ["GET a"]);
}

/// T2: what comes behind a refused write is not sent, and both keys stay what they were, here and at the origin.
#[test]
fn harper_of_two_keys_in_one_request_the_other_is_not_written_if_the_first_is_refused() {
    let stage = stage();
    for key in ["a", "b"] {
        stage.put_quantity(key, 1).expect(200);
    }
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::Answer(Answer::new(422).body("no"))));
    stage.saw();
    let put = |key: &str| json!({ "table": "InventoryItem", "key": key, "put": { "quantity": 2 }, "undo": "restore" });
    let body = json!({ "updates": [put("a"), put("b")] }).to_string();
    let answer = stage.ask("POST", "/-/transaction", &[], &body).expect_outcome(422, "rolled-back").json();
    let outcomes: Vec<_> = answer["updates"].as_array().unwrap().iter().map(|update| &update["outcome"]).collect();
    assert_eq!(outcomes, ["rejected", "not-run"], "{answer}");
    assert_eq!(stage.saw(), ["PUT a"]);
    for key in ["a", "b"] {
        assert_eq!(stage.origin.record(key).unwrap()["quantity"], 1, "{key}");
        assert_eq!(resident(&stage, key).expect(200).quantity(), 1, "{key}");
    }
}

/// RFC 9110 §13.1.2: lists, `*` and weak tags, and a 304 that carries the tag.
#[test]
fn harper_if_none_match_is_understood_as_the_rfc_has_it() {
    let stage = stage();
    let put = stage.put_quantity("a", 1).expect(200);
    let tag = put.header("etag").expect("a put returns its ETag").to_owned();
    stage.saw();
    let ask = |method: &str, tags: &str| stage.ask(method, "/InventoryItem/a", &[("If-None-Match", tags)], "");
    let listed = format!("\"x\", {tag}");
    let weak = format!("W/{tag}");
    for same in [tag.as_str(), "*", &listed, &weak, &format!("\"a,b\" , W/\"c\",{weak}")] {
        for method in ["GET", "HEAD"] {
            let answer = ask(method, same).expect(304);
            assert_eq!((answer.header("etag"), answer.body.as_str()), (Some(tag.as_str()), ""), "{same}");
        }
    }
    for other in ["\"x\"", "\"x\", \"y\"", tag.trim_matches('"')] {
        assert_eq!(ask("GET", other).expect(200).header("etag"), Some(tag.as_str()), "{other}");
    }
    let two_lines = [("If-None-Match", "\"x\""), ("If-None-Match", tag.as_str())];
    stage.ask("GET", "/InventoryItem/a", &two_lines, "").expect(304);
    assert_eq!(stage.saw(), NOTHING);
    stage.put_quantity("a", 2).expect(200);
    assert_eq!(ask("GET", &tag).expect(200).quantity(), 2, "the tag of what was replaced");
}
