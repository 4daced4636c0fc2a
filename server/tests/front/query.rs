//! The language of queries: operators, groups, calls, and what is said of a query that is wrong.

use std::time::Duration;

use serde_json::{Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method};

use crate::NOTHING;
use crate::common::{Response, Stage, setup, stage};
use crate::index::ids;

/// Four parts, one of which has nothing but its name.
fn parts() -> Stage {
    let stage = stage();
    for (key, body) in [
        ("a", r#"{"sku":"bolt","count":5,"weight":0.5,"spare":true,"number":7,"marks":["new","red"]}"#),
        ("b", r#"{"sku":"nut","count":-3,"weight":12.5,"spare":false,"number":"x","marks":["red"]}"#),
        ("c", r#"{"sku":"bolt","count":10,"weight":2,"spare":false,"marks":[]}"#),
        ("d", r#"{"sku":"bolt (M8)","count":null}"#),
    ] {
        stage.ask("PUT", &format!("/Part/{key}"), &[], body).expect(200);
    }
    stage.saw();
    stage
}

fn ask(stage: &Stage, query: &str) -> Response {
    stage.ask("GET", &format!("/Part/?{query}"), &[], "")
}

#[test]
fn operators_mean_what_the_tutorial_system_means_by_them() {
    let stage = parts();
    // Every one of the records has this beside what is asked, by an index.
    let all = "[sku=bolt|sku=nut|sku=bolt+(M8)]";
    for (query, expected) in [
        ("count==5", "a"),
        ("count===5", "a"),
        ("count=eq=5", "a"),
        ("count=ne=5", "bcd"),
        ("count!=5", "bcd"),
        ("count!==5", "bcd"),
        ("count=gt=5", "c"),
        ("count=ge=5", "ac"),
        ("count=lt=5", "b"),
        ("count=le=5", "ab"),
        ("count=gt=-4&lt=10", "ab"),
        ("count=le=10&gt=5", "c"),
        ("weight=gt=1.5e0", "bc"),
        ("weight=lt=2.0", "a"),
        ("spare=true", "a"),
        ("spare!=true", "bcd"),
        ("sku=ct=ol", "acd"),
        ("sku=sw=bo", "acd"),
        ("sku==bo*", "acd"),
        ("sku==bo%2A", ""),
        ("sku=bo*", ""),
        ("sku=ew=t", "abc"),
        ("sku=ct=(", "d"),
        ("sku=ge=bolt&le=bolt", "ac"),
        ("number=7", "a"),
        ("number==string:7", "a"),
        ("count=null", "d"),
        ("count!=null", "abc"),
        ("marks=red", "ab"),
        ("marks=ne=red", "cd"),
        ("marks=sw=ne", "a"),
        ("marks=null", "d"),
    ] {
        let found = ask(&stage, &format!("{all}&{query}")).expect(200);
        assert_eq!(ids(&found).concat(), expected, "{query}");
    }
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn conditions_are_joined_and_grouped() {
    let stage = parts();
    for (query, expected) in [
        ("sku=bolt&count=5", "a"),
        ("sku=bolt|sku=nut", "abc"),
        ("sku=nut|(sku=bolt&count=gt=5)", "bc"),
        ("sku=nut|[sku=bolt&count=gt=5]", "bc"),
        ("sku=bolt&[count=5|count=10]", "ac"),
        ("sku=bolt&[count=5|[count=10&spare=true]]", "a"),
        ("((sku=nut))", "b"),
        ("sku=bolt (M8)|sku=nut".replace(' ', "%20").as_str(), "bd"),
        ("[sku=bolt%20(M8)]", "d"),
        ("spare=true|marks=red", "ab"),
        ("marks=red", "ab"),
        ("marks=null", "d"),
        ("count=null", "d"),
        ("sku=string:nut", "b"),
    ] {
        assert_eq!(ids(&ask(&stage, query).expect(200)).concat(), expected, "{query}");
    }
}

#[test]
fn calls_say_what_is_shown_in_which_order_and_how_much() {
    let stage = parts();
    let all = "[sku=bolt|sku=nut|sku=bolt+(M8)]";
    for (calls, expected) in [
        ("sort(count)&select(count)", json!([null, -3, 5, 10])),
        ("sort(+count)&select(count)", json!([null, -3, 5, 10])),
        ("sort(-count)&select(count)", json!([10, 5, -3, null])),
        ("sort(-sku,weight)&select(id)", json!(["b", "d", "a", "c"])),
        ("sort(sku,-weight)&select(id)", json!(["c", "a", "d", "b"])),
        ("limit(2)&select(id)", json!(["a", "b"])),
        ("select(id)&limit(1,3)", json!(["b", "c"])),
        ("limit(3,9)&select(id)", json!(["d"])),
        ("limit(9,9)&select(id)", json!([])),
        ("limit(0)", json!([])),
        ("limit(1)&select(sku,count)", json!([{ "sku": "bolt", "count": 5 }])),
        ("limit(3,4)&select(sku,weight)", json!([{ "sku": "bolt (M8)" }])),
        ("limit(1)&select(sku,)", json!([{ "sku": "bolt" }])),
        ("limit(3,4)&select([sku,weight,count])", json!([["bolt (M8)", null, null]])),
        ("limit(1)&select(marks)", json!([["new", "red"]])),
    ] {
        let found = ask(&stage, &format!("{all}&{calls}")).expect(200).json();
        assert_eq!(found, expected, "{calls}");
        let found = ask(&stage, &format!("{calls}&{all}")).expect(200).json();
        assert_eq!(found, expected, "{calls}, before the conditions");
    }
    let union = ask(&stage, "sku=nut|count=10&sort(-count)&select(id)").expect(200).json();
    assert_eq!(union, json!(["c", "b"]), "a call is no part of the union");
    let whole = ask(&stage, "sku=nut&limit(1)").expect(200).body;
    let record = stage.ask("GET", "/Part/b", &[], "").expect(200).body;
    assert_eq!(whole, format!("[{record}]"), "byte by byte");
}

#[test]
fn a_query_without_an_index_is_refused_and_says_which_there_are() {
    let stage = parts();
    for query in [
        "sku!=bolt",
        "sku=ct=bolt",
        "sku=ew=bolt",
        "sku=bolt|count!=1",
        "sku=bolt|(count!=1&sku=ew=t)",
        "id==a",
        "id=sw=a",
        "sort(sku)",
        "",
    ] {
        let refused = ask(&stage, query).expect(400).json();
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.contains("ask by an indexed attribute (sku, count, weight, spare, number, marks)"),
            "{query}: {detail}"
        );
        assert!(detail.contains("?id=one,other"), "{query}: {detail}");
    }
    let refused = stage.ask("GET", "/InventoryItem/?name=Widget", &[], "").expect(400).json();
    assert!(refused["detail"].as_str().unwrap().contains("(sku, warehouseId)"), "{refused}");
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn what_is_wrong_with_a_query_is_told_with_its_place() {
    let stage = parts();
    let deep = format!("{}sku=a{}", "(".repeat(17), ")".repeat(17));
    let many = vec!["sku=a"; 65].join("&");
    let keys = format!("id={}", vec!["a"; 1001].join(","));
    for (query, position, field, words) in [
        ("sku=a&colour=red", 7, Some("colour"), "no attribute \"colour\""),
        ("sku=a&cuont=1", 7, Some("cuont"), "did you mean count?"),
        ("sku=a&count=five", 13, Some("count"), "expected Int, got \"five\""),
        ("sku=a&weight=gt=heavy", 17, Some("weight"), "expected Float"),
        ("sku=a&count=gt=null", 12, Some("count"), "nothing is less or more than null"),
        ("sku=a&count=ct=5", 12, Some("count"), "no text"),
        ("sku=a&count==5*", 12, Some("count"), "no text"),
        ("sku=a&count=lessthan=5", 12, None, "no operator =lessthan="),
        ("sku=a&count", 12, None, "expected an operator"),
        ("sku", 4, None, "expected an operator"),
        ("sku=a=b", 4, None, "no operator =a="),
        ("sku=A=b", 6, None, "written %3D"),
        ("sku=a[b", 6, None, "written %5B"),
        ("sku=a]", 6, None, "written %5D"),
        ("=a", 1, None, "expected a condition"),
        ("&sku=a", 1, None, "expected a condition"),
        ("sku=a&&count=1", 7, None, "expected a condition"),
        ("sku=a|", 7, None, "expected a condition"),
        ("()", 2, None, "expected a condition"),
        ("(sku=a", 7, None, "expected )"),
        ("[sku=a", 7, None, "expected ]"),
        ("(sku=a)b", 8, None, "expected & or |, got b"),
        ("sku=a|count=1&spare=true", 14, None, "& and | are mixed"),
        ("(sku=a|count=1&spare=true)", 15, None, "& and | are mixed"),
        ("sku=a|limit(1)", 6, None, "set apart by &"),
        ("limit(1)|sku=a", 9, None, "set apart by &"),
        ("(limit(1)&sku=a)", 7, None, "expected an operator"),
        ("sku=a&limit=1", 7, Some("limit"), "limit(end)"),
        ("sku=a&limit(-1)", 13, None, "expected limit("),
        ("sku=a&limit(3,2)", 13, None, "behind the end"),
        ("sku=a&limit(1)&limit(1)", 16, None, "given twice"),
        ("sku=a&sort(sku)&sort(sku)", 17, None, "given twice"),
        ("sku=a&select(id)&select(id)", 18, None, "given twice"),
        ("sku=a&select(id,id)", 17, None, "id is given twice"),
        ("sku=a&select()", 14, None, "expected an attribute"),
        ("sku=a&select(colour)", 14, Some("colour"), "no attribute"),
        ("sku=a&select(sku{x})", 17, None, "cannot be selected"),
        ("sku=a&select(sku", 7, None, "not closed"),
        ("sku=a&sort(-colour)", 13, Some("colour"), "no attribute"),
        ("sku=a&group(sku)", 7, None, "no call group"),
        ("lt=5", 1, Some("lt"), "no attribute"),
        ("sku=a|lt=5", 7, Some("lt"), "no attribute"),
        ("count=gt=5&gt=6", 12, Some("gt"), "no attribute"),
        ("sku=%ff", 5, None, "not UTF-8"),
        ("sku=%C3%A9&%ff=1", 12, None, "not UTF-8"),
        (deep.as_str(), 17, None, "nest deeper than 16"),
        (many.as_str(), 385, None, "more than 64 conditions"),
        ("id=a&sku=b", 6, None, "stands without conditions"),
        ("sku=b&id=a", 7, None, "stands without conditions"),
        ("(id=a)", 2, None, "stands without conditions"),
        ("id=a&id=b", 9, None, "given twice"),
        ("id=a,,b", 6, Some("id"), "the key is empty"),
        ("id=", 4, Some("id"), "the key is empty"),
        (keys.as_str(), 2004, None, "more than 1000 keys"),
    ] {
        let refused = ask(&stage, query).expect(400).json();
        assert_eq!(refused["position"], position, "{query}: {refused}");
        assert_eq!(refused.get("field").cloned(), field.map(Value::from), "{query}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(words), "{query}: {refused}");
    }
    assert_eq!(stage.saw(), NOTHING);
}

#[test]
fn records_are_named_several_at_once() {
    let stage = parts();
    stage.origin.seed("e", json!({ "sku": "washer", "count": 1 }));
    stage.origin.seed("with, comma", json!({ "sku": "washer" }));
    let found = ask(&stage, "id=c,e,nobody,a").expect(200);
    assert_eq!(ids(&found), ["c", "e", "a"], "in the order in which they were named");
    assert_eq!(found.header("wtcache-complete"), Some("?1"));
    assert_eq!(found.header("wtcache-left-out"), Some("absent=1, failed=0"));
    assert_eq!(found.header("cache-status"), Some("wtcache; fwd=miss; detail=batch"));
    let mut saw = stage.saw();
    saw.sort();
    assert_eq!(saw, ["GET e", "GET nobody"]);
    let found = ask(&stage, "id=e,a,e&sort(-count)&select(id,count)").expect(200);
    assert_eq!(found.json(), json!([{ "id": "a", "count": 5 }, { "id": "e", "count": 1 }, { "id": "e", "count": 1 }]));
    assert_eq!(found.header("cache-status"), Some("wtcache; hit; detail=batch"));
    assert_eq!(stage.saw(), NOTHING);
    assert_eq!(ids(&ask(&stage, "id=with%2C+comma").expect(200)), ["with, comma"]);
}

/// A record whose load fails is counted, and the others are shown; where none is left, the answer is an error.
#[test]
fn a_named_record_that_cannot_be_loaded_makes_the_answer_incomplete() {
    let stage = parts();
    let fail = || stage.origin.fault(Fault::on(Method::Get, "e").kind(FaultKind::Answer(Answer::new(500))));
    fail();
    let found = ask(&stage, "id=a,e").expect(200);
    assert_eq!(ids(&found), ["a"]);
    assert_eq!(found.header("wtcache-complete"), Some("?0"));
    assert_eq!(found.header("wtcache-left-out"), Some("absent=0, failed=1"));
    fail();
    assert_eq!(ask(&stage, "id=e").expect(502).json()["origin_status"], 500);
}

/// O1: what is pending is shown as `GET` shows it, and marked.
#[test]
fn o1_a_named_record_with_a_pending_write_is_marked() {
    let stage = parts();
    let gate = stage.origin.gate(Method::Put, "a", wtcache_origin::When::BeforeApply);
    let body = r#"{"sku":"pending"}"#;
    stage.ask("PUT", "/Part/a", &[("Prefer", "respond-async")], body).expect(202);
    let found = ask(&stage, "id=a,b").expect(200);
    assert_eq!(found.json()[0]["sku"], "pending");
    assert_eq!(found.header("wtcache-pending"), Some("?1"));
    assert_eq!(ids(&ask(&stage, "sku=pending").expect(200)), Vec::<String>::new(), "a query knows what is confirmed");
    for query in ["id=a,b&confirmed", "confirmed&id=a&select(id,sku)"] {
        let found = ask(&stage, query).expect(200);
        assert_eq!((&found.json()[0]["sku"], found.header("wtcache-pending")), (&json!("bolt"), None), "{query}");
    }
    assert_eq!(ids(&ask(&stage, "sku=bolt&confirmed").expect(200)), ["a", "c"], "as without");
    gate.release();
}

/// G10: an origin with a list by keys is asked once for what several keys need, and for expired records that a query finds.
#[test]
fn g10_keys_and_expired_records_are_loaded_with_one_request() {
    let stage = setup().origin("batch: { url: \"${ORIGIN}/items?ids={ids}\" }").expiration(5).start();
    for key in ["a", "b", "c"] {
        stage.origin.seed(key, json!({ "sku": "nut", "quantity": 1 }));
    }
    let ask = |query: &str| stage.ask("GET", &format!("/InventoryItem/?{query}"), &[], "").expect(200);
    assert_eq!(ids(&ask("id=a,x,b,c")), ["a", "b", "c"]);
    assert_eq!(stage.saw(), ["GET /items?ids=a,x,b,c"]);
    assert_eq!(ids(&ask("id=c,a")), ["c", "a"]);
    stage.get("x").expect(404);
    assert_eq!(stage.saw(), NOTHING, "what a list brought, and what it lacked, is known");
    stage.clock.advance(Duration::from_secs(6));
    assert_eq!(ids(&ask("sku=nut")), ["a", "b", "c"]);
    assert_eq!(stage.saw(), ["GET /items?ids=a,b,c"]);
    // One key alone is asked for as ever.
    stage.clock.advance(Duration::from_secs(6));
    assert_eq!(ids(&ask("id=b")), ["b"]);
    assert_eq!(stage.saw(), ["GET b"]);
}

/// What users of other systems write for the calls is told what it is here.
#[test]
fn what_other_systems_call_it_is_told_by_its_name_here() {
    let stage = parts();
    for (query, words) in [
        ("sku=a&limit=5", "limit(end) or limit(start,end)"),
        ("limit=5", "limit(end) or limit(start,end)"),
        ("sku=a&offset=5", "limit(end) or limit(start,end)"),
        ("sku=a&page=2", "limit(end) or limit(start,end)"),
        ("sku=a&sort=count", "sort(attribute,-attribute)"),
        ("sku=a&order=count", "sort(attribute,-attribute)"),
        ("sku=a&select=count", "select(attribute,attribute)"),
        ("sku=a&fields=count", "select(attribute,attribute)"),
        ("sku=in=a,b", "[sku=one|sku=other]"),
        ("maker.name=a", "neither what is within an attribute nor another table"),
        ("sku=a&select(maker.name)", "neither what is within an attribute nor another table"),
        ("sku==number:5", "string:number:5"),
        ("sku=sw=date:5", "string:date:5"),
        ("sku=a&count==boolean:5", "expected Int"),
    ] {
        let refused = ask(&stage, query).expect(400).json();
        assert!(refused["detail"].as_str().unwrap().contains(words), "{query}: {refused}");
    }
    let refused = stage.ask("DELETE", "/Part/?sku=a", &[], "").expect_outcome(405, "rejected").json();
    assert!(refused["detail"].as_str().unwrap().contains("no records are deleted by a query"), "{refused}");
    assert_eq!(stage.saw(), NOTHING);
}

/// A value may say its type, as in the tutorial system.
#[test]
fn values_may_say_their_type() {
    let stage = parts();
    let all = "[sku=bolt|sku=nut|sku=bolt+(M8)]";
    for (query, expected) in [
        ("count==number:5", "a"),
        ("count=gt=number:5", "c"),
        ("count!=number:5", "bcd"),
        ("weight=number:12.5", "b"),
        ("spare==boolean:true", "a"),
        ("sku==string:nut", "b"),
        ("sku=number:5", ""),
        ("sku===number:5", ""),
        ("number==string:7", "a"),
    ] {
        let found = ask(&stage, &format!("{all}&{query}")).expect(200);
        assert_eq!(ids(&found).concat(), expected, "{query}");
    }
}

/// A range, or a beginning, is looked up in the order of an index's values: no equality is needed.
#[test]
fn ranges_of_indexed_attributes_are_looked_up() {
    let stage = parts();
    for (query, expected) in [
        ("count=gt=5", "c"),
        ("count=ge=5", "ac"),
        ("count=lt=5", "b"),
        ("count=le=5", "ab"),
        ("count=gt=-4&lt=10", "ab"),
        ("count=gt=-4&count=lt=10", "ab"),
        ("count=gt=4&count=gt=9", "c"),
        ("count=gt=5&lt=5", ""),
        ("count=gt=10", ""),
        ("weight=gt=0.5", "bc"),
        ("weight=le=2&count=gt=5", "c"),
        ("sku==bolt*", "acd"),
        ("sku=sw=bolt", "acd"),
        ("sku=sw=", "abcd"),
        ("sku=gt=bolt", "bd"),
        ("sku=lt=c", "acd"),
        ("spare=lt=true", "bc"),
        ("marks=sw=n", "a"),
        ("marks=gt=new&marks=lt=red", "a"),
        ("sku=nut|count=gt=5", "bc"),
        ("sku=nut|(count=ge=5&weight=lt=1)", "ab"),
        ("count=gt=0&[sku=nut|weight=ge=2]", "c"),
        ("count=gt=0&sku!=x", "ac"),
        ("number=ge=7", "ab"),
    ] {
        let found = ask(&stage, query).expect(200);
        assert_eq!(ids(&found).concat(), expected, "{query}");
        assert_eq!(found.header("cache-status"), Some("wtcache; hit; detail=index"));
    }
    stage.ask("DELETE", "/Part/c", &[], "").expect(204);
    assert_eq!(ids(&ask(&stage, "count=ge=5").expect(200)), ["a"]);
}

/// F1: what has expired and lies in a range is loaded again, and asked again.
#[test]
fn f1_expired_records_of_a_range_are_loaded_again() {
    let stage = setup().expiration(5).start();
    for (key, sku) in [("a", "s1"), ("b", "s2"), ("c", "t")] {
        stage.origin.seed(key, json!({ "sku": sku }));
        stage.get(key).expect(200);
    }
    stage.clock.advance(Duration::from_secs(6));
    stage.origin.seed("a", json!({ "sku": "t" }));
    stage.saw();
    let found = stage.ask("GET", "/InventoryItem/?sku=gt=s&lt=t", &[], "").expect(200);
    assert_eq!(ids(&found), ["b"], "a is another now");
    let mut saw = stage.saw();
    saw.sort();
    assert_eq!(saw, ["GET a", "GET b"]);
}
