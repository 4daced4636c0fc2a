//! `POST /-/invalidate`: what somebody else changed at the origin is forgotten here.
//!
//! The body is a JSON object with a table and one way to say what of it. Invariant: a body that is not understood whole forgets nothing.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::diagnostic::{nearest, shown};
use crate::incoming::Incoming;
use crate::problem::Problem;
use crate::record::{check_key, object};
use crate::table::ServedTable;

pub(crate) const PATH: &str = "/-/invalidate";

/// The largest body: some 20,000 keys of 50 bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The members that say what of the table, of which a body has one.
const SELECTORS: [&str; 2] = ["key", "keys"];

pub(crate) async fn answer(tables: &BTreeMap<String, ServedTable>, method: &Method, body: &mut Incoming) -> Answer {
    if *method != Method::POST {
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "invalidation is asked for with POST").allow("POST");
        return Answer::refused(method, problem);
    }
    let asked = match body.read_whole(MAX_BODY_BYTES, "an invalidation").await {
        Ok(body) => read(tables, &body),
        Err(problem) => Err(problem),
    };
    match asked {
        Ok((table, selector)) => forget(table, selector),
        Err(problem) => Answer::refused(method, problem),
    }
}

/// What of a table is to be forgotten.
enum Selector {
    Keys(Vec<String>),
}

fn forget(table: &ServedTable, selector: Selector) -> Answer {
    let cache = table.cache();
    let (forgotten, scanned) = match selector {
        Selector::Keys(keys) => {
            let mut forgotten = 0_u64;
            for key in &keys {
                forgotten += u64::from(cache.peek(key.as_str()).is_some());
                cache.invalidate(key.as_str());
            }
            (forgotten, false)
        }
    };
    let told = json!({ "table": table.schema.name, "forgotten": forgotten, "scanned": scanned });
    Answer::local(answer::json(told.to_string().into_bytes()), "forgotten")
}

/// Reads a body. The problem names the member that is at fault.
fn read<'t>(tables: &'t BTreeMap<String, ServedTable>, body: &[u8]) -> Result<(&'t ServedTable, Selector), Problem> {
    let asked = object(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()).field(error.field.as_deref()))?;
    for name in asked.keys() {
        if name != "table" && !SELECTORS.contains(&name.as_str()) {
            let mut why = "there is no such member".to_owned();
            if let Some(near) = nearest(name, SELECTORS.into_iter().chain(["table"])) {
                why.push_str(&format!(", did you mean {near}?"));
            }
            return Err(bad(name, &why));
        }
    }
    let table = text(&asked, "table")?.ok_or_else(|| bad("table", "it is missing"))?;
    let table = tables.get(table).ok_or_else(|| {
        let known: Vec<&str> = tables.keys().map(String::as_str).collect();
        bad("table", &format!("there is no table {table:?}; served here: {}", known.join(", ")))
    })?;
    let mut given = SELECTORS.into_iter().filter(|name| asked.contains_key(*name));
    let one_of = || format!("say what of the table, by one of {}", SELECTORS.join(", "));
    let Some(first) = given.next() else { return Err(Problem::new(StatusCode::BAD_REQUEST, one_of())) };
    if let Some(second) = given.next() {
        return Err(bad(second, &format!("{first} is given too; {}", one_of())));
    }
    let selector = match first {
        "key" => Selector::Keys(vec![key("key", asked.get("key"))?]),
        _ => {
            let Some(Value::Array(keys)) = asked.get("keys") else {
                return Err(bad("keys", "expected an array of strings"));
            };
            let keys = keys.iter().enumerate().map(|(n, value)| key(&format!("keys[{n}]"), Some(value)));
            Selector::Keys(keys.collect::<Result<_, _>>()?)
        }
    };
    Ok((table, selector))
}

fn text<'a>(asked: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Problem> {
    match asked.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(name, "expected a string")),
    }
}

fn key(member: &str, value: Option<&Value>) -> Result<String, Problem> {
    let Some(Value::String(key)) = value else { return Err(bad(member, "expected a string")) };
    check_key(key).map_err(|error| bad(member, &error.to_string()))?;
    Ok(key.clone())
}

fn bad(member: &str, why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{}: {why}", shown(member))).field(Some(member))
}
