//! `POST /-/invalidate`: what somebody else changed at the origin is forgotten here.
//!
//! The body is a JSON object with a table and one way to say what of it. Invariant: a body that is not understood whole forgets nothing.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use wtcache::Forgotten;

use crate::answer::{self, Answer};
use crate::diagnostic::{nearest, shown};
use crate::front::Front;
use crate::incoming::Incoming;
use crate::problem::Problem;
use crate::record::{check_key, object};
use crate::served::{Served, Tables, enter_all};
use crate::table::ServedTable;

/// The largest body: some 20,000 keys of 50 bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The members that say what of the table, of which a body has one.
const SELECTORS: [&str; 6] = ["key", "keys", "prefix", "pattern", "tag", "all"];

pub(crate) async fn answer(front: &Front, served: &Arc<Served>, method: &Method, body: &mut Incoming) -> Answer {
    let forgotten = match body.read_whole(MAX_BODY_BYTES, "an invalidation").await {
        Ok(body) => forgotten(front, Arc::clone(served), &body).await,
        Err(problem) => Err(problem),
    };
    match forgotten {
        Ok(told) => Answer::local(answer::json(told.to_string().into_bytes()), "forgotten"),
        Err(problem) => Answer::refused(method, problem),
    }
}

async fn forgotten(front: &Front, mut served: Arc<Served>, body: &[u8]) -> Result<Value, Problem> {
    loop {
        let (table, selector) = read(&served.tables, body)?;
        let inside = match enter_all([table]).await {
            Ok(inside) => inside,
            Err(Some(problem)) => return Err(problem),
            Err(None) => {
                served = front.served();
                continue;
            }
        };
        let table = table.clone();
        // Only a runtime that ends does not run it.
        let ended = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending");
        // It may look at all that is resident: off the threads that serve.
        let forgets = move || {
            let _inside = inside;
            forget(&table, selector)
        };
        return tokio::task::spawn_blocking(forgets).await.map_err(ended).flatten();
    }
}

/// What of a table is to be forgotten.
pub(crate) enum Selector {
    Keys(Vec<String>),
    Prefix(String),
    Pattern(String),
    Tag(Vec<u8>),
    All,
}

/// Forgets, and says how much. It may look at all that is resident.
pub(crate) fn forget(table: &ServedTable, selector: Selector) -> Result<Value, Problem> {
    let cache = table.cache();
    let (forgotten, scanned) = match selector {
        Selector::Keys(keys) => {
            let held = |key: &&String| {
                let held = cache.peek(key.as_str()).is_some();
                cache.invalidate(key.as_str());
                held
            };
            (keys.iter().filter(held).count() as u64, false)
        }
        Selector::Prefix(prefix) => told(cache.invalidate_prefix(prefix)),
        Selector::Pattern(pattern) => {
            told(cache.invalidate_pattern(pattern).map_err(|error| bad("pattern", &error.to_string()))?)
        }
        Selector::Tag(tag) => told(cache.invalidate_tag(tag)),
        Selector::All => told(cache.invalidate_prefix("")),
    };
    Ok(json!({ "table": table.schema.name, "forgotten": forgotten, "scanned": scanned }))
}

fn told(forgotten: Forgotten) -> (u64, bool) {
    (forgotten.entries, forgotten.scanned)
}

/// Reads a body. The problem names the member that is at fault.
fn read<'t>(tables: &'t Tables, body: &[u8]) -> Result<(&'t ServedTable, Selector), Problem> {
    let asked = object(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()).field(error.field.as_deref()))?;
    selector(tables, &asked)
}

/// The same of what has been parsed.
pub(crate) fn selector<'t>(
    tables: &'t Tables,
    asked: &Map<String, Value>,
) -> Result<(&'t ServedTable, Selector), Problem> {
    for name in asked.keys() {
        if name != "table" && !SELECTORS.contains(&name.as_str()) {
            let mut why = "there is no such member".to_owned();
            if let Some(near) = nearest(name, SELECTORS.into_iter().chain(["table"])) {
                why.push_str(&format!(", did you mean {near}?"));
            }
            return Err(bad(name, &why));
        }
    }
    let table = table_of(tables, asked)?;
    let mut given = SELECTORS.into_iter().filter(|name| asked.contains_key(*name));
    let one_of = || format!("say what of the table, by one of {}", SELECTORS.join(", "));
    let Some(first) = given.next() else { return Err(Problem::new(StatusCode::BAD_REQUEST, one_of())) };
    if let Some(second) = given.next() {
        return Err(bad(second, &format!("{first} is given too; {}", one_of())));
    }
    let value = &asked[first];
    let selector = match (first, value) {
        ("key", value) => Selector::Keys(vec![key("key", value)?]),
        ("keys", Value::Array(keys)) => {
            let keys = keys.iter().enumerate().map(|(n, value)| key(&format!("keys[{n}]"), value));
            Selector::Keys(keys.collect::<Result<_, _>>()?)
        }
        ("keys", _) => return Err(bad("keys", "expected an array of strings")),
        ("prefix", Value::String(prefix)) if prefix.is_empty() => {
            return Err(bad("prefix", "every key begins with nothing; for all of the table say \"all\": true"));
        }
        ("prefix", Value::String(prefix)) => Selector::Prefix(prefix.clone()),
        ("pattern", Value::String(pattern)) => Selector::Pattern(pattern.clone()),
        ("tag", Value::String(tag)) => Selector::Tag(table.tag(tag).map_err(|why| bad("tag", &why))?),
        ("all", Value::Bool(true)) => Selector::All,
        ("all", _) => return Err(bad("all", "expected true")),
        (name, _) => return Err(bad(name, "expected a string")),
    };
    Ok((table, selector))
}

/// The table that an object names.
pub(crate) fn table_of<'t>(tables: &'t Tables, asked: &Map<String, Value>) -> Result<&'t ServedTable, Problem> {
    let table = text(asked, "table")?.ok_or_else(|| bad("table", "it is missing"))?;
    tables.get(table).ok_or_else(|| {
        let known: Vec<&str> = tables.keys().map(String::as_str).collect();
        bad("table", &format!("there is no table {table:?}; served here: {}", known.join(", ")))
    })
}

pub(crate) fn text<'a>(asked: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Problem> {
    match asked.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(name, "expected a string")),
    }
}

pub(crate) fn key(member: &str, value: &Value) -> Result<String, Problem> {
    let Value::String(key) = value else { return Err(bad(member, "expected a string")) };
    check_key(key).map_err(|error| bad(member, &error.to_string()))?;
    Ok(key.clone())
}

pub(crate) fn bad(member: &str, why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{}: {why}", shown(member))).field(Some(member))
}
