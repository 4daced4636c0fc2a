//! `GET /-/openapi.json`: what this front serves, as OpenAPI 3.1, made of the tables' schemas.
//!
//! Owns the description of each request and of what it can come to. Invariant: a status that a request can be answered with by this
//! front is listed with it; what an origin refuses in its own words is `4XX`.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, json as json_answer};
use crate::own;
use crate::record::MAX_KEY_BYTES;
use crate::schema::{Attribute, Bounds, Scalar, Table};
use crate::served::Tables;
use crate::table::ServedTable;

/// The formats of records, for reading.
const READ: [&str; 5] =
    ["application/json", "application/cbor", "application/msgpack", "application/x-msgpack", "text/csv"];

const WRITTEN: [&str; 4] = ["application/json", "application/cbor", "application/msgpack", "application/x-msgpack"];

/// A list of entity tags, of which a condition of a write is made.
const TAGS: &str = r#"^(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*$"#;

/// What may come to any request is said once.
const ABOUT: &str = "Records of tables, cached before their origins. A write is answered once the origin has confirmed it. Any request may be answered \
                     with 400, 408, 414 or 431 if its head cannot be read, is late or too large, and with 503 where there are too many connections.";

/// `nameless`: whether who does not say who he is may do something; `None` where nobody is asked.
pub(crate) fn answer(tables: &Tables, nameless: Option<bool>) -> Answer {
    let can = |table: &ServedTable| Can { create: table.creates, list: table.passthrough.is_some() };
    let tables: Vec<(&Table, Can)> = tables.values().map(|table| (&*table.schema, can(table))).collect();
    let mut document = document(&tables);
    if let Some(nameless) = nameless {
        guard(&mut document, nameless);
    }
    Answer::local(json_answer(document.to_string().into_bytes()), "description")
}

/// Says how to say who one is, and what is answered to who does not, or may not.
fn guard(document: &mut Value, nameless: bool) {
    let scheme = |name: &str| json!({ "type": "http", "scheme": name });
    document["components"]["securitySchemes"] = json!({ "token": scheme("bearer"), "password": scheme("basic") });
    // The last: some may be asked for by who says nothing.
    document["security"] = match nameless {
        true => json!([{ "token": [] }, { "password": [] }, {}]),
        false => json!([{ "token": [] }, { "password": [] }]),
    };
    let refusals = responses(None, &[401, 403]);
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (name, path) in paths {
        for (_, operation) in path.as_object_mut().into_iter().flatten() {
            if own::is_open(name) {
                operation["security"] = json!([]);
            } else if let Some(all) = operation.get_mut("responses").and_then(Value::as_object_mut) {
                all.extend(refusals.clone());
            }
        }
    }
}

/// What not every origin can do.
#[derive(Clone, Copy)]
struct Can {
    /// Make records whose keys it names.
    create: bool,
    /// List records by queries of its own.
    list: bool,
}

fn document(tables: &[(&Table, Can)]) -> Value {
    let names: Vec<&str> = tables.iter().map(|(table, _)| table.name.as_str()).collect();
    let mut paths = own_paths(&names);
    let mut schemas = own_schemas(&names);
    for (table, can) in tables.iter().copied() {
        let name = &table.name;
        paths.insert(format!("/{name}/"), table_path(table, can));
        paths.insert(format!("/{name}/{{key}}"), record_path(table));
        schemas.insert(name.clone(), record(table, Use::Served));
        schemas.insert(format!("{name}ToWrite"), record(table, Use::Written));
        schemas.insert(format!("{name}Patch"), record(table, Use::Patch));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "wtcache",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn own_paths(tables: &[&str]) -> Map<String, Value> {
    let reads = |id: &str, summary: &str, ok: Value, statuses: &[u16]| {
        let get = operation(id, summary, vec![], &responses(Some(("200", ok.clone())), statuses));
        let head = operation(&format!("{id}Head"), summary, vec![], &responses(Some(("200", bare(&ok))), statuses));
        (get, head)
    };
    let (get, head) = reads("health", "Whether this server runs", text("It runs."), &[]);
    let mut paths = Map::new();
    paths.insert("/-/healthz".to_owned(), json!({ "get": get, "head": head }));
    let (get, head) = reads("readiness", "Whether this server takes requests", text("It does."), &[503]);
    paths.insert("/-/readyz".to_owned(), json!({ "get": get, "head": head }));
    let (get, head) = reads("description", "This description", object("An OpenAPI document."), &[]);
    paths.insert("/-/openapi.json".to_owned(), json!({ "get": get, "head": head }));
    let (get, head) = reads(
        "outcome",
        "What became of a write that was answered with 202",
        schema_of("The outcome.", "Outcome"),
        &[404],
    );
    let id = parameter("id", "path", json!({ "type": "string" }), "From the Location of the answer.");
    paths.insert("/-/pending/{id}".to_owned(), json!({ "parameters": [id], "get": get, "head": head }));
    let mut invalidate = operation(
        "invalidate",
        "Forgets what was changed at the origin past this server",
        vec![],
        &responses(Some(("200", object("How much went."))), &[400, 408, 413, 415, 503]),
    );
    invalidate["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Invalidation" } } },
    });
    paths.insert("/-/invalidate".to_owned(), json!({ "post": invalidate }));
    let mut transaction = operation(
        "transaction",
        "Updates of several records, made one after the other and undone where one is refused",
        vec![parameter("Prefer", "header", json!({ "type": "string" }), "respond-async, wait=N (RFC 7240).")],
        &responses(
            Some(("200", object("What came of each update."))),
            &[400, 404, 408, 412, 413, 415, 422, 500, 502, 503, 504],
        ),
    );
    transaction["responses"]["202"] = object("Not settled yet; Location tells the outcome.");
    transaction["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Transaction" } } },
    });
    paths.insert("/-/transaction".to_owned(), json!({ "post": transaction }));
    let table = || {
        let mut table = parameter("table", "query", json!({ "enum": tables }), "The table.");
        table["required"] = json!(true);
        table
    };
    let mut changes = operation(
        "changes",
        "Takes changes that the origin, or who writes to it past this server, tells of",
        vec![table()],
        &responses(Some(("200", object("What became of each change."))), &[400, 401, 408, 413, 415, 503]),
    );
    let change = json!({ "$ref": "#/components/schemas/Change" });
    let schema = json!({ "anyOf": [change, { "type": "array", "items": change }] });
    changes["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    paths.insert("/-/changes".to_owned(), json!({ "post": changes }));
    let stream = json!({
        "description": "What happens to keys, until the server ends.",
        "content": { "text/event-stream": { "schema": { "type": "string" } } },
    });
    let events = |id: &str, ok: Value| {
        let summary = "What happens to the keys of a table, as Server-Sent Events";
        operation(id, summary, vec![table()], &responses(Some(("200", ok)), &[400, 404]))
    };
    let (get, head) = (events("events", stream.clone()), events("eventsHead", bare(&stream)));
    paths.insert("/-/events".to_owned(), json!({ "get": get, "head": head }));
    paths
}

fn own_schemas(tables: &[&str]) -> Map<String, Value> {
    let text = json!({ "type": "string" });
    let (table, key) = (json!({ "enum": tables }), key());
    let problem = json!({
        "description": "Problem details (RFC 9457).",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": text, "title": text, "detail": text,
            "status": { "type": "integer" },
            "field": { "type": "string", "description": "The attribute, member or condition at fault." },
            "position": { "type": "integer", "description": "Where in the query, in characters from 1." },
            "outcome": { "enum": ["rejected", "in-doubt", "unknown", "rolled-back", "partial"] },
            "updates": { "type": "array", "description": "Of a transaction: what came of each update." },
            "settles_in_ms": { "type": "integer" },
            "origin_status": { "type": "integer" },
            "current_etag": { "type": ["string", "null"] },
        },
    });
    let outcome = json!({
        "type": "object",
        "required": ["state", "since"],
        "properties": {
            "state": { "enum": ["pending", "settled", "rolled-back", "partial", "in-doubt"] },
            "outcome": text,
            "updates": { "type": "array", "description": "Of a transaction: what came of each update." },
            "table": text, "key": text, "since": text, "ended": text, "etag": text, "detail": text,
            "status": { "type": "integer" },
        },
    });
    let one_of = ["key", "keys", "prefix", "pattern", "tag", "all"].map(|name| json!({ "required": [name] })).to_vec();
    let invalidation = json!({
        "type": "object",
        "required": ["table"],
        "additionalProperties": false,
        "properties": {
            "table": table, "key": key, "prefix": text, "pattern": text, "tag": text,
            "keys": { "type": "array", "items": key },
            "all": { "const": true },
        },
        "oneOf": one_of,
    });
    let undo = json!({
        "oneOf": [
            { "enum": ["restore", "delete", "nothing"] },
            { "type": "object", "required": ["put"], "properties": { "put": { "type": "object" } } },
        ],
    });
    let one_of = ["put", "patch", "delete"].map(|name| json!({ "required": [name] })).to_vec();
    let update = json!({
        "type": "object",
        "required": ["table", "key"],
        "additionalProperties": false,
        "properties": {
            "table": table, "key": key,
            "put": { "type": "object" }, "patch": { "type": "object" }, "delete": { "const": true },
            "if_match": tags(), "if_none_match": tags(),
            "undo": undo, "undo_in_doubt": { "type": "boolean" },
        },
        "oneOf": one_of,
    });
    let forgets = json!({ "$ref": "#/components/schemas/Invalidation" });
    let transaction = json!({
        "type": "object",
        "required": ["updates"],
        "additionalProperties": false,
        "properties": {
            "updates": { "type": "array", "items": update, "minItems": 1, "maxItems": 100 },
            "invalidate": { "type": "array", "items": forgets, "maxItems": 100 },
        },
    });
    let word = json!({ "type": ["string", "integer"] });
    let change = json!({
        "description": "With the names of members that the table's configuration says.",
        "type": "object",
        "required": ["op"],
        "properties": {
            "op": { "enum": ["put", "delete", "invalidate", "reset"] },
            "key": word, "version": word, "prefix": text, "record": {},
        },
    });
    [
        ("Problem", problem),
        ("Outcome", outcome),
        ("Invalidation", invalidation),
        ("Transaction", transaction),
        ("Change", change),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect()
}

fn table_path(table: &Table, can: Can) -> Value {
    let name = &table.name;
    let keys = json!({ "type": "array", "items": key(), "minItems": 1, "maxItems": 1000 });
    let mut keys =
        parameter(&table.primary_key, "query", keys, "The records of these keys, loaded where they are not here.");
    keys["explode"] = json!(false);
    let mut parameters = vec![keys];
    for attribute in table.attributes.iter().filter(|a| a.indexed && a.name != table.primary_key) {
        let about =
            "A condition, by index. Operators, groups and the calls select(), sort() and limit() are in the manual.";
        parameters.push(parameter(
            &attribute.name,
            "query",
            json!({ "anyOf": [scalar(attribute.scalar), { "const": "null" }] }),
            about,
        ));
    }
    if can.list {
        let about = "All else in the query goes to the origin as it stands; the answer is its list, whose records are kept as loaded.";
        let mut passthrough = parameter("passthrough", "query", json!({ "enum": [""] }), about);
        passthrough["allowEmptyValue"] = json!(true);
        parameters.push(passthrough);
    }
    let statuses = [400, 406, 422, 500, 502, 503, 504];
    let rows = json!({ "type": "array" });
    let ok = records(
        "The records, or what select() makes of them. Wtcache-Complete and Wtcache-Left-Out say what is lacking.",
        &rows,
    );
    let summary = format!("Records of {name}: resident ones by index, or those of keys");
    let get = operation(
        &format!("query{name}"),
        &summary,
        parameters.clone(),
        &responses(Some(("200", ok.clone())), &statuses),
    );
    let head = responses(Some(("200", bare(&ok))), &statuses);
    let head = operation(&format!("query{name}Head"), &summary, parameters, &head);
    if !can.create {
        return json!({ "get": get, "head": head });
    }
    let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
    let made = records("Made; Location has its key. Without one, Wtcache-Key says that it is unknown.", &schema);
    let statuses = [400, 406, 408, 413, 415, 422, 500, 502, 503, 504];
    let answers = responses(Some(("201", made)), &statuses);
    let mut post = operation(&format!("create{name}"), "Has the origin make a record, and name it", vec![], &answers);
    // The key may be in it, as the origin wants.
    let body = json!({ "schema": { "$ref": format!("#/components/schemas/{name}ToWrite") } });
    post["requestBody"] = json!({ "required": true, "content": content(&WRITTEN, &body) });
    json!({ "get": get, "head": head, "post": post })
}

fn record_path(table: &Table) -> Value {
    let name = &table.name;
    let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
    let key = parameter("key", "path", key(), "The primary key, percent-encoded; 1024 bytes at most.");
    let about = "* or a list of entity tags.";
    let known = parameter("If-None-Match", "header", json!({ "type": "string" }), about);
    let condition = |header: &str| parameter(header, "header", tags(), about);
    let prefer = parameter("Prefer", "header", json!({ "type": "string" }), "respond-async, wait=N (RFC 7240).");
    let confirmed = json!({ "enum": ["", "true", "false"] });
    let mut confirmed = parameter("confirmed", "query", confirmed, "What the origin confirmed, whatever is pending.");
    confirmed["allowEmptyValue"] = json!(true);
    let conditions = vec![condition("If-Match"), condition("If-None-Match"), prefer];

    let found = records("The record, or what select() makes of it in a read.", &schema);
    let reads = [400, 404, 406, 412, 422, 500, 502, 503, 504];
    let read = |id: &str, ok: Value| {
        let mut answers = responses(Some(("200", ok)), &reads);
        answers.insert("304".to_owned(), json!({ "description": "As the client has it." }));
        operation(
            id,
            &format!("A record of {name}"),
            vec![confirmed.clone(), condition("If-Match"), known.clone()],
            &answers,
        )
    };
    let write = |id: &str, summary: &str, statuses: &[u16], has_record: bool| {
        let mut answers = responses(has_record.then(|| ("200", found.clone())), statuses);
        let shown = records("Shown, and not settled yet; Location tells the outcome.", &schema);
        answers.insert("202".to_owned(), shown);
        answers.insert("204".to_owned(), json!({ "description": "Applied." }));
        operation(id, summary, conditions.clone(), &answers)
    };
    let body = |kinds: &[&str], schema: &str| {
        let schema = json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } });
        json!({ "required": true, "content": content(kinds, &schema) })
    };
    let bodied = [400, 404, 406, 408, 412, 413, 415, 422, 500, 502, 503, 504];
    let mut put = write(&format!("put{name}"), &format!("Creates or replaces a record of {name}"), &bodied, true);
    put["requestBody"] = body(&WRITTEN, &format!("{name}ToWrite"));
    let mut patch = write(&format!("patch{name}"), "Merges into a record (RFC 7396)", &bodied, true);
    let kinds: Vec<&str> = std::iter::once("application/merge-patch+json").chain(WRITTEN).collect();
    patch["requestBody"] = body(&kinds, &format!("{name}Patch"));
    let statuses = [400, 404, 406, 412, 422, 500, 502, 503, 504];
    let delete = write(&format!("delete{name}"), "Removes a record", &statuses, false);
    json!({
        "parameters": [key],
        "get": read(&format!("get{name}"), found.clone()),
        "head": read(&format!("get{name}Head"), bare(&found)),
        "put": put,
        "patch": patch,
        "delete": delete,
    })
}

/// What a record is described for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Served,
    Written,
    Patch,
}

fn record(table: &Table, used: Use) -> Value {
    let is_key = |attribute: &Attribute| attribute.name == table.primary_key;
    let mut properties = Map::new();
    for attribute in &table.attributes {
        let mut of = scalar(attribute.scalar);
        if used != Use::Served {
            // Of what is written: what the origin has is shown as it is.
            let Bounds { min, max, pattern } = &attribute.bounds;
            let members = [
                ("minimum", min.clone().map(Value::Number)),
                ("maximum", max.clone().map(Value::Number)),
                ("pattern", pattern.as_ref().map(|pattern| pattern.as_str().into())),
            ];
            for (name, value) in members.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                of[name] = value;
            }
            if is_key(attribute) {
                // Its own pattern is the narrower one.
                for name in ["minLength", "maxLength", "pattern"] {
                    if of.get(name).is_none() {
                        of[name] = key()[name].clone();
                    }
                }
            }
        }
        if attribute.expires_at {
            of["description"] = "When the record ends, in milliseconds since 1970.".into();
        }
        if attribute.list {
            of = json!({ "type": "array", "items": of });
        }
        if !attribute.required && !is_key(attribute) {
            of = json!({ "anyOf": [of, { "type": "null" }] });
        }
        properties.insert(attribute.name.clone(), of);
    }
    let required = |attribute: &&Attribute| match used {
        Use::Served => is_key(attribute) || attribute.required,
        // The path has the key.
        Use::Written => !is_key(attribute) && attribute.required,
        Use::Patch => false,
    };
    let required: Vec<&str> = table.attributes.iter().filter(required).map(|a| a.name.as_str()).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "required": required });
    if table.sealed && used != Use::Served {
        schema["additionalProperties"] = json!(false);
    }
    schema
}

/// A key of a record. Its bytes are counted, which no schema can say.
fn key() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES, "pattern": r"^(?!\.{1,2}$)[^\x00-\x1f\x7f-\x9f]+$" })
}

fn tags() -> Value {
    json!({ "anyOf": [{ "const": "*" }, { "type": "string", "pattern": TAGS }] })
}

fn scalar(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Id => json!({ "type": ["string", "integer"] }),
        Scalar::String => json!({ "type": "string" }),
        Scalar::Int => json!({ "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX }),
        Scalar::Long => {
            json!({ "type": "integer", "format": "int64", "minimum": -Scalar::LONGEST, "maximum": Scalar::LONGEST })
        }
        Scalar::Float => json!({ "type": "number", "format": "double" }),
        Scalar::Boolean => json!({ "type": "boolean" }),
    }
}

fn parameter(name: &str, place: &str, schema: Value, description: &str) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "schema": schema, "description": description })
}

fn operation(id: &str, summary: &str, parameters: Vec<Value>, responses: &Map<String, Value>) -> Value {
    json!({ "operationId": id, "summary": summary, "parameters": parameters, "responses": responses })
}

/// The good answer, and what else there can be.
fn responses(good: Option<(&str, Value)>, statuses: &[u16]) -> Map<String, Value> {
    let mut all: Map<String, Value> = good.into_iter().map(|(status, answer)| (status.to_owned(), answer)).collect();
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    for status in statuses {
        let reason = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        let answer = json!({
            "description": reason.unwrap_or("Error"),
            "content": { "application/problem+json": problem, "*/*": {} },
        });
        all.insert(status.to_string(), answer);
    }
    if statuses.contains(&502) {
        let refusal = "The origin's own refusal, with its status and body.";
        all.insert("4XX".to_owned(), json!({ "description": refusal, "content": { "*/*": {} } }));
    }
    all
}

fn records(description: &str, schema: &Value) -> Value {
    let mut content = content(&READ, &json!({ "schema": schema }));
    content.insert("text/csv".to_owned(), json!({ "schema": { "type": "string" } }));
    json!({ "description": description, "content": content })
}

fn content(kinds: &[&str], of: &Value) -> Map<String, Value> {
    kinds.iter().map(|kind| ((*kind).to_owned(), of.clone())).collect()
}

fn text(description: &str) -> Value {
    json!({ "description": description, "content": { "text/plain": { "schema": { "type": "string" } } } })
}

fn object(description: &str) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": { "type": "object" } } } })
}

fn schema_of(description: &str, schema: &str) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// The same answer to a HEAD.
fn bare(answer: &Value) -> Value {
    json!({ "description": answer["description"] })
}
