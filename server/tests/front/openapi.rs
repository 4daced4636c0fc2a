//! `/-/openapi.json`: the description of the front, against the rules of OpenAPI 3.1 and against what the front does.

use std::collections::BTreeSet;

use serde_json::Value;
use wtcache_origin::{Answer, Fault, FaultKind, Method};

use crate::NOTHING;
use crate::common::{Response, Stage, stage};

fn document(stage: &Stage) -> Value {
    let described = stage.ask("GET", "/-/openapi.json", &[], "").expect(200);
    assert_eq!(described.header("content-type"), Some("application/json"));
    described.json()
}

/// Every `$ref` in the document.
fn references<'d>(value: &'d Value, found: &mut Vec<&'d str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
    const VERBS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            if verb == "parameters" {
                continue;
            }
            assert!(VERBS.contains(&verb.as_str()), "{path} {verb}");
            operations.push((path, verb, operation));
        }
    }
    operations
}

#[test]
fn the_description_keeps_the_rules_of_openapi() {
    let stage = stage();
    let document = document(&stage);
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (path, verb, operation) in operations(&document) {
        let place = format!("{verb} {path}");
        assert!(path.starts_with('/'), "{place}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{place}: its id is another's too");
        let shared = document["paths"][path].get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
        let own = operation["parameters"].as_array().unwrap();
        let parameters: Vec<&Value> = shared.iter().chain(own).collect();
        let mut names = BTreeSet::new();
        for parameter in &parameters {
            let (name, place_of) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
            assert!(names.insert((name, place_of)), "{place}: {name} is given twice");
            assert!(["path", "query", "header"].contains(&place_of), "{place}: {parameter}");
            let required = place_of == "path" || (name, place_of) == ("table", "query");
            assert_eq!(parameter["required"], required, "{place}: {parameter}");
            assert!(parameter["schema"].is_object(), "{place}: {parameter}");
        }
        let in_path: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let named: BTreeSet<&str> = names.iter().filter(|(_, place)| *place == "path").map(|(name, _)| *name).collect();
        assert_eq!(in_path, named, "{place}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(!responses.is_empty(), "{place}");
        for (status, response) in responses {
            let is_status = status.len() == 3 && status.starts_with(['2', '3', '4', '5']);
            assert!(is_status, "{place}: {status}");
            assert!(response["description"].is_string(), "{place}: {status}");
            let content = response.get("content").and_then(Value::as_object);
            assert!(content.is_none_or(|content| content.keys().all(|kind| kind.contains('/'))), "{place}: {status}");
        }
        if let Some(body) = operation.get("requestBody") {
            assert!(!body["content"].as_object().unwrap().is_empty(), "{place}");
            assert!(["put", "post", "patch"].contains(&verb.as_str()), "{place}");
        }
    }
}

#[test]
fn each_table_is_described_as_its_schema_has_it() {
    let stage = stage();
    let document = document(&stage);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    for table in ["InventoryItem", "Part"] {
        for path in [format!("/{table}/"), format!("/{table}/{{key}}")] {
            assert!(paths.contains(&&path), "{path}");
        }
    }
    assert!(!paths.iter().any(|path| path.contains("Hidden")), "it is not served");
    let schemas = &document["components"]["schemas"];
    let part = &schemas["Part"];
    assert_eq!(part["required"], serde_json::json!(["id", "sku"]));
    assert_eq!(schemas["PartToWrite"]["required"], serde_json::json!(["sku"]));
    assert_eq!(schemas["PartPatch"]["required"], serde_json::json!([]));
    assert_eq!(schemas["PartToWrite"]["additionalProperties"], false, "it is sealed");
    assert!(part.get("additionalProperties").is_none(), "the origin may know more");
    assert!(schemas["InventoryItemToWrite"].get("additionalProperties").is_none());
    assert_eq!(part["properties"]["sku"], serde_json::json!({ "type": "string" }));
    let count = &part["properties"]["count"]["anyOf"];
    assert_eq!((&count[0]["type"], &count[1]["type"]), (&"integer".into(), &"null".into()));
    assert_eq!(part["properties"]["marks"]["anyOf"][0]["items"]["type"], "string");
    assert_eq!(schemas["Invalidation"]["properties"]["table"]["enum"], serde_json::json!(["InventoryItem", "Part"]));
    let query = document["paths"]["/Part/"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<&str> = query.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["id", "sku", "count", "weight", "spare", "number", "marks"]);
    stage.ask("PUT", "/-/openapi.json", &[], "").expect(405);
    assert_eq!(stage.saw(), NOTHING);
}

/// What the front was seen to answer is what the description says it can.
#[test]
fn each_answer_is_one_that_the_description_has() {
    let stage = stage();
    let document = document(&stage);
    let mut seen = BTreeSet::new();
    let mut check = |path: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &str| -> Response {
        let answer = stage.ask(method, target, headers, body);
        let operation = &document["paths"][path][method.to_ascii_lowercase()];
        let responses = operation["responses"].as_object().unwrap_or_else(|| panic!("{method} {path}"));
        let status = answer.status.to_string();
        let range = format!("{}XX", &status[..1]);
        let said = responses.get(&status).or_else(|| responses.get(&range));
        let said = said.unwrap_or_else(|| panic!("{method} {target}: {status} is not described"));
        if let Some(kind) = answer.header("content-type").filter(|_| !answer.body.is_empty()) {
            let kind = kind.split(';').next().unwrap();
            let content = said["content"].as_object().unwrap_or_else(|| panic!("{method} {target}: no {kind}"));
            assert!(content.contains_key(kind) || content.contains_key("*/*"), "{method} {target}: {kind}");
        }
        seen.insert(answer.status);
        answer
    };
    let (record, table) = ("/InventoryItem/{key}", "/InventoryItem/");
    let fail = |method, status| stage.origin.fault(Fault::on(method, "f").kind(FaultKind::Answer(Answer::new(status))));
    let a = "/InventoryItem/a";
    check(record, "GET", a, &[], "").expect(404);
    check(record, "PUT", a, &[], "{\"sku\":\"s\"}").expect(200);
    for accept in ["application/json", "application/cbor", "application/msgpack", "text/csv"] {
        check(record, "GET", a, &[("Accept", accept)], "").expect(200);
        check(table, "GET", "/InventoryItem/?sku=s", &[("Accept", accept)], "").expect(200);
    }
    check(record, "GET", a, &[("If-None-Match", "*")], "").expect(304);
    check(record, "GET", "/InventoryItem/a?confirmed=x", &[], "").expect(400);
    check(record, "GET", a, &[("Accept", "x/y")], "").expect(406);
    check(record, "HEAD", a, &[], "").expect(200);
    check(record, "PUT", a, &[("If-Match", "\"x\"")], "{}").expect(412);
    check(record, "PUT", a, &[("Content-Type", "x/y")], "{}").expect(415);
    check(record, "PUT", a, &[], "{\"sku\":1}").expect(400);
    check(record, "PUT", a, &[], &format!("{{\"sku\":\"{}\"}}", "x".repeat(1 << 21))).expect(413);
    check(record, "PUT", a, &[], "{\"quantity\":2000000}").expect(422);
    check(record, "PATCH", a, &[("Content-Type", "application/json")], "{\"quantity\":2}").expect(200);
    let pending = check(record, "PUT", a, &[("Prefer", "respond-async")], "{\"sku\":\"s\"}").expect(202);
    check("/-/pending/{id}", "GET", pending.header("location").unwrap(), &[], "").expect(200);
    check("/-/pending/{id}", "GET", "/-/pending/x", &[], "").expect(404);
    check(record, "DELETE", a, &[], "").expect(204);
    check(table, "GET", "/InventoryItem/?name=s", &[], "").expect(400);
    fail(Method::Get, 500);
    check(table, "GET", "/InventoryItem/?id=f", &[], "").expect(502);
    fail(Method::Get, 451);
    check(record, "GET", "/InventoryItem/f", &[], "").expect(451);
    fail(Method::Put, 500);
    check(record, "PUT", "/InventoryItem/f", &[], "{}").expect(502);
    check("/-/invalidate", "POST", "/-/invalidate", &[], "{\"table\":\"Part\",\"all\":true}").expect(200);
    check("/-/invalidate", "POST", "/-/invalidate", &[], "{}").expect(400);
    check("/-/changes", "POST", "/-/changes?table=Part", &[], "{\"op\":\"reset\"}").expect(200);
    check("/-/changes", "POST", "/-/changes?table=Part", &[], "{}").expect(400);
    check("/-/events", "GET", "/-/events?table=Part", &[], "").expect(404);
    check("/-/events", "GET", "/-/events", &[], "").expect(400);
    check("/-/healthz", "GET", "/-/healthz", &[], "").expect(200);
    check("/-/openapi.json", "GET", "/-/openapi.json", &[], "").expect(200);
    let expected = [200, 202, 204, 304, 400, 404, 406, 412, 413, 415, 422, 451, 502];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}
