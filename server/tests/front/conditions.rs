//! P6: If-Match and If-None-Match on writes.

use std::thread;

use serde_json::json;
use wtcache_origin::{Answer, Fault, FaultKind, Method, When};

use crate::NOTHING;
use crate::common::{PATIENCE, Response, Stage, setup, stage};

const MERGE: (&str, &str) = ("Content-Type", "application/merge-patch+json");

/// The origin does not look at conditions, or does, and is declared to.
fn both() -> [Stage; 2] {
    [stage(), setup().origin("preconditions: honoured").start()]
}

fn write(stage: &Stage, method: &str, key: &str, header: (&str, &str)) -> Response {
    let body = if method == "DELETE" { "" } else { "{\"quantity\":2}" };
    stage.ask(method, &format!("/InventoryItem/{key}"), &[MERGE, header], body)
}

/// The tag of the record `a`, which is resident with quantity 1.
fn resident(stage: &Stage) -> String {
    let tag = stage.put_quantity("a", 1).expect(200).header("etag").unwrap().to_owned();
    stage.saw();
    tag
}

/// 412, with the tag of what is there, and no call of the origin.
#[track_caller]
fn unmet(stage: &Stage, refused: Response, tag: Option<&str>) {
    let refused = refused.expect_outcome(412, "rejected");
    assert_eq!((refused.header("etag"), &refused.json()["current_etag"]), (tag, &json!(tag)), "{refused:?}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.header("cache-status"), Some("wtcache; detail=not-sent"));
    assert_eq!(stage.saw(), NOTHING);
}

/// P6: what holds is sent, what does not is 412 with the tag that is there, and nothing changes.
#[test]
fn p6_a_write_goes_out_only_if_its_condition_holds() {
    for stage in both() {
        for method in ["PUT", "PATCH", "DELETE"] {
            let tag = resident(&stage);
            let (weak, listed, others) = (format!("W/{tag}"), format!("\"x\", {tag}"), "\"x\", \"y\"");
            for header in [
                ("If-Match", others),
                ("If-Match", &weak),
                ("If-None-Match", "*"),
                ("If-None-Match", &listed),
                ("If-None-Match", &weak),
            ] {
                unmet(&stage, write(&stage, method, "a", header), Some(&tag));
            }
            assert_eq!((stage.get("a").expect(200).quantity(), stage.saw().len()), (1, 0), "the entry stayed");
            let (status, sent) = if method == "DELETE" { (204, "DELETE a") } else { (200, "PUT a") };
            for (name, value) in [("If-Match", "\"x\", TAG"), ("If-Match", "*"), ("If-None-Match", others)] {
                let value = value.replace("TAG", &resident(&stage));
                write(&stage, method, "a", (name, &value)).expect_outcome(status, "applied");
                assert_eq!(stage.saw(), [sent], "{method} {name}: {value}");
            }
        }
    }
}

/// P6: the record that is not there has no tag, and creating is what `If-None-Match: *` is for.
#[test]
fn p6_if_none_match_star_creates_and_never_replaces() {
    for stage in both() {
        stage.get("a").expect(404);
        stage.saw();
        for value in ["*", "\"x\""] {
            for method in ["PUT", "DELETE"] {
                unmet(&stage, write(&stage, method, "a", ("If-Match", value)), None);
            }
            // RFC 9110 §13.2.1: what would be 404 without the condition is 404 with it.
            write(&stage, "PATCH", "a", ("If-Match", value)).expect_outcome(404, "rejected");
        }
        write(&stage, "PUT", "a", ("If-None-Match", "*")).expect_outcome(200, "applied");
        assert_eq!(stage.saw(), ["PUT a"]);
        let tag = stage.get("a").header("etag").unwrap().to_owned();
        unmet(&stage, write(&stage, "PUT", "a", ("If-None-Match", "*")), Some(&tag));
        // Not resident: the origin is asked what is there.
        stage.origin.seed("b", json!({ "quantity": 1 }));
        write(&stage, "PUT", "b", ("If-None-Match", "*")).expect_outcome(412, "rejected");
        assert_eq!(stage.saw(), ["GET b"]);
    }
}

/// P6: the condition goes on to an origin that is declared to honour it, and to no other.
#[test]
fn p6_a_condition_goes_on_to_an_origin_that_honours_it() {
    for (stage, honoured) in both().into_iter().zip([false, true]) {
        let asked = |stage: &Stage| {
            let entry = stage.origin.log().into_iter().rev().find(|entry| entry.method != Method::Get).unwrap();
            (entry.if_match, entry.if_none_match)
        };
        let some = |text: &str| honoured.then(|| text.to_owned());
        for method in ["PUT", "PATCH", "DELETE"] {
            let tag = resident(&stage);
            write(&stage, method, "a", ("If-Match", &format!("\"x\", {tag}")))
                .expect_outcome(if method == "DELETE" { 204 } else { 200 }, "applied");
            assert_eq!(asked(&stage), (some(&tag), None), "{method}: of several, the record's own");
        }
        for method in ["PUT", "DELETE"] {
            resident(&stage);
            write(&stage, method, "a", ("If-Match", "*"));
            assert_eq!(asked(&stage), (some("*"), None), "{method}: for just what was asked");
        }
        write(&stage, "PUT", "b", ("If-None-Match", "*")).expect(200);
        assert_eq!(asked(&stage), (None, some("*")));
    }
}

/// P2, P6: an origin that honours conditions sees what this cache cannot; its 412 reaches the client and the entry is dropped.
#[test]
fn p6_what_the_origin_finds_not_to_hold_drops_the_entry() {
    for method in ["PUT", "PATCH", "DELETE"] {
        let stage = setup().origin("preconditions: honoured").start();
        let tag = resident(&stage);
        stage.origin.seed("a", json!({ "quantity": 7 }));
        let refused = write(&stage, method, "a", ("If-Match", &tag)).expect_outcome(412, "rejected");
        let sent = if method == "DELETE" { "DELETE a" } else { "PUT a" };
        assert_eq!(stage.saw(), [sent]);
        let there = stage.get("a").expect(200);
        assert_eq!((there.quantity(), stage.saw()), (7, vec!["GET a".to_owned()]));
        assert_eq!(refused.header("etag"), there.header("etag"), "the tag of what is there");
    }
}

/// P6: of two writers with the same tag, one is told that it came too late.
#[test]
fn p6_of_two_writers_with_one_tag_one_is_refused() {
    for methods in [["PUT", "PUT"], ["PATCH", "PATCH"], ["PUT", "PATCH"], ["DELETE", "PUT"]] {
        for honoured in [false, true] {
            let stage = if honoured { setup().origin("preconditions: honoured").start() } else { stage() };
            let tag = resident(&stage);
            let of = |method: &str| if method == "DELETE" { Method::Delete } else { Method::Put };
            let gate = stage.origin.gate(of(methods[0]), "a", When::BeforeApply);
            let (first, second) = thread::scope(|scope| {
                let first = scope.spawn(|| write(&stage, methods[0], "a", ("If-Match", &tag)));
                assert!(gate.wait_arrived(PATIENCE));
                let alarms = stage.clock.alarms_ever_set();
                let second = scope.spawn(|| write(&stage, methods[1], "a", ("If-Match", &tag)));
                assert!(stage.clock.wait_for_alarms(alarms + 1), "it waits for its turn");
                gate.release();
                (first.join().unwrap(), second.join().unwrap())
            });
            assert!([200, 204].contains(&first.status), "{first:?}");
            second.expect_outcome(412, "rejected");
        }
    }
}

/// An origin without ETags, or with weak ones: the tag is made here, and conditions are checked here.
#[test]
fn p6_a_tag_that_was_made_here_holds_as_one_of_the_origins() {
    for etag in [None, Some("W/\"w1\"")] {
        let stage = stage();
        let answer = |quantity: i64| {
            let answer = Answer::new(200).body(format!("{{\"id\":\"a\",\"quantity\":{quantity}}}"));
            FaultKind::ApplyThenAnswer(match etag {
                Some(tag) => answer.header("ETag", tag),
                None => answer,
            })
        };
        let fault = |quantity| stage.origin.fault(Fault::on(Method::Put, "a").kind(answer(quantity)));
        fault(1);
        let tag = stage.put_quantity("a", 1).expect(200).header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"'), "a strong one: {tag}");
        stage.saw();
        fault(2);
        let next = write(&stage, "PUT", "a", ("If-Match", &tag)).expect(200).header("etag").unwrap().to_owned();
        assert_ne!(next, tag);
        stage.saw();
        for method in ["PUT", "PATCH", "DELETE"] {
            unmet(&stage, write(&stage, method, "a", ("If-Match", &tag)), Some(&next));
        }
        write(&stage, "DELETE", "a", ("If-Match", &next)).expect_outcome(204, "applied");
    }
}

/// P6: an origin that is said to honour conditions, and gives tags that it can honour none of: nothing is sent that would not be checked there.
#[test]
fn p6_a_weak_tag_of_an_origin_that_honours_conditions_takes_none() {
    let stage = setup().origin("preconditions: honoured").start();
    let weak = Answer::new(200).header("ETag", "W/\"w1\"").body("{\"id\":\"a\",\"quantity\":1}");
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ApplyThenAnswer(weak)));
    let tag = resident(&stage);
    for method in ["PUT", "PATCH", "DELETE"] {
        let refused = write(&stage, method, "a", ("If-Match", &tag)).expect_outcome(422, "rejected").json();
        assert!(refused["detail"].as_str().unwrap().contains("weak ETag"), "{refused}");
    }
    assert_eq!(stage.saw(), NOTHING);
    stage.put_quantity("a", 2).expect(200);
}

#[test]
fn p6_a_condition_that_is_no_list_of_tags_is_400_and_not_sent() {
    let stage = stage();
    resident(&stage);
    for method in ["PUT", "PATCH", "DELETE"] {
        for name in ["If-Match", "If-None-Match"] {
            for value in ["r1", "*, \"r1\"", "\"r1", ""] {
                let refused = write(&stage, method, "a", (name, value)).expect_outcome(400, "rejected").json();
                assert!(refused["detail"].as_str().unwrap().starts_with(name), "{refused}");
            }
        }
    }
    assert_eq!(stage.saw(), NOTHING);
}

/// RFC 9110 §13.1.1: a read on a condition that does not hold is 412, with the tag that is there.
#[test]
fn a_read_with_if_match_is_answered_where_that_holds() {
    let stage = stage();
    let tag = resident(&stage);
    let read = |method: &str, tag: &str| stage.ask(method, "/InventoryItem/a", &[("If-Match", tag)], "");
    for (value, status) in [
        ("*", 200),
        (tag.as_str(), 200),
        (&format!("\"x\", {tag}"), 200),
        ("\"x\"", 412),
        (&format!("W/{tag}"), 412),
        ("none", 400),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = read(method, value).expect(status);
            let shown = (status != 400).then_some(tag.as_str());
            assert_eq!(answer.header("etag"), shown, "{method} {value}");
        }
    }
    let refused = read("GET", "\"x\"").expect(412);
    assert_eq!(
        (&refused.json()["current_etag"], refused.header("cache-status")),
        (&json!(tag), Some("wtcache; hit; ttl=300"))
    );
    let csv = stage.ask("GET", "/InventoryItem/a", &[("Accept", "text/csv")], "");
    let csv = csv.expect(200).header("etag").unwrap().to_owned();
    let both = [("Accept", "text/csv"), ("If-Match", csv.as_str())];
    stage.ask("GET", "/InventoryItem/a", &both, "").expect(200);
    assert_eq!(stage.saw(), NOTHING);
    stage.ask("GET", "/InventoryItem/none", &[("If-Match", "*")], "").expect(404);
}
