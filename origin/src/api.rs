//! The inventory API: which path means what, and what a request does to the records.
//!
//! Owns: the rules of the inventory (what it refuses, what it makes itself). Never: touches a socket or a fault.
//! Invariant: preconditions and rules are decided on the record as it is in the transaction that writes.

use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::http::{Head, Method, percent_decoded, percent_encoded};
use crate::preconditions::Preconditions;
use crate::records::{Applied, Change, Stored};
use crate::server::Shared;

const ID_LIMIT_BYTES: usize = 1024;
/// In one list.
const MOST_IDS: usize = 1000;
const QUANTITY_LIMIT: u32 = 1_000_000;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    /// `/items`
    Items,
    /// `/items/_changes`, with its query
    Changes(String),
    /// `/items/{id}`, decoded
    Item(String),
    /// `/_…`, with its query
    Control(String, String),
    /// Nothing, and the message to say so.
    Nothing(u16, String),
}

impl Route {
    pub(crate) fn of(target: &str) -> Self {
        let (path, query) = path_and_query(target);
        match path {
            "/healthz" => Self::Health,
            "/items" => Self::Items,
            "/items/_changes" => Self::Changes(query.to_owned()),
            _ if path.starts_with("/_") => Self::Control(path.to_owned(), query.to_owned()),
            _ => match path.strip_prefix("/items/") {
                Some(id) if !id.is_empty() && !id.contains('/') => match percent_decoded(id) {
                    None => Self::Nothing(400, "the id is not percent-encoded UTF-8".into()),
                    Some(id) if id.len() > ID_LIMIT_BYTES => {
                        Self::Nothing(400, format!("an id is limited to {ID_LIMIT_BYTES} bytes"))
                    }
                    Some(id) => Self::Item(id),
                },
                _ => Self::Nothing(404, format!("nothing at {path}")),
            },
        }
    }

    /// Whether it is under `/items`, where faults, gates and latency strike.
    pub(crate) fn is_items(&self) -> bool {
        matches!(self, Self::Items | Self::Item(_))
    }

    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Item(id) => Some(id),
            _ => None,
        }
    }
}

/// Splits off the query, and the scheme and authority of an absolute target (RFC 9112 §3.2.2).
fn path_and_query(target: &str) -> (&str, &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = match path.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => path,
    };
    (path, query)
}

/// Carries a request out and answers it. `seq` is its place in the log, which learns of an applied write.
pub(crate) fn answer(shared: &Shared, route: &Route, head: &Head, body: &[u8], seq: u64) -> Answer {
    let answered = match (route, head.method) {
        (Route::Health, Method::Get | Method::Head) => {
            Ok(Answer::new(200).header("Content-Type", "text/plain").body("ok"))
        }
        (Route::Health, _) => Ok(not_allowed("GET, HEAD")),
        (Route::Items, Method::Get | Method::Head) => list(shared, head),
        (Route::Items, Method::Post) => post(shared, body, seq),
        (Route::Items, _) => Ok(not_allowed("GET, HEAD, POST")),
        (Route::Item(id), Method::Get | Method::Head) => get(shared, id, head),
        (Route::Item(id), Method::Put) => once(shared, head, || put(shared, id, head, body, seq)),
        (Route::Item(id), Method::Delete) => once(shared, head, || delete(shared, id, head, seq)),
        (Route::Item(id), Method::Patch) => once(shared, head, || patch(shared, id, head, body, seq)),
        (Route::Item(_), _) => Ok(not_allowed("GET, HEAD, PUT, PATCH, DELETE")),
        (Route::Nothing(status, message), _) => Ok(Answer::error(*status, message)),
        (Route::Control(..) | Route::Changes(_), _) => unreachable!("answered before they are logged"),
    };
    answered.unwrap_or_else(|error| Answer::error(500, format!("the records failed: {error}")))
}

/// A write, unless it was carried out before and the origin honours its key.
fn once(shared: &Shared, head: &Head, write: impl FnOnce() -> rusqlite::Result<Answer>) -> rusqlite::Result<Answer> {
    match &shared.answered {
        Some(answered) => answered.once(head, write),
        None => write(),
    }
}

/// All items; with `?ids=a,b`, those of them that there are.
fn list(shared: &Shared, head: &Head) -> rusqlite::Result<Answer> {
    let query = path_and_query(&head.target).1;
    let all = match query.split('&').find_map(|parameter| parameter.strip_prefix("ids=")) {
        None => shared.records.list()?,
        Some(ids) => {
            let Some(ids) = ids.split(',').map(percent_decoded).collect::<Option<Vec<String>>>() else {
                return Ok(Answer::error(400, "the ids are not percent-encoded UTF-8"));
            };
            if ids.len() > MOST_IDS {
                return Ok(Answer::error(400, format!("no more than {MOST_IDS} ids")));
            }
            shared.records.list_of(&ids)?
        }
    };
    Ok(with_cache_control(shared, Answer::new(200).header("Content-Type", "application/json").body(all)))
}

fn get(shared: &Shared, id: &str, head: &Head) -> rusqlite::Result<Answer> {
    let preconditions = match Preconditions::of(head) {
        Ok(preconditions) => preconditions,
        Err(refused) => return Ok(refused),
    };
    let current = shared.records.get(id)?;
    let Some(stored) = &current else {
        return Ok(with_cache_control(shared, missing(id)));
    };
    if !preconditions.matched(Some(stored)) {
        return Ok(failed(current.as_ref()));
    }
    let answer = if preconditions.none_matched(Some(stored)) {
        record(200, stored)
    } else {
        Answer::new(304).header("ETag", stored.etag())
    };
    Ok(with_cache_control(shared, answer))
}

fn put(shared: &Shared, id: &str, head: &Head, body: &[u8], seq: u64) -> rusqlite::Result<Answer> {
    let change = |current: Option<&Stored>| {
        let preconditions = Preconditions::of(head)?;
        if !preconditions.matched(current) || !preconditions.none_matched(current) {
            return Err(failed(current));
        }
        item(body).map(Change::Put)
    };
    let applied = shared.records.change(id, change, |applied_seq| shared.log.applied(seq, applied_seq))?;
    Ok(match applied {
        Ok(Applied { stored: Some(stored), created }) => record(if created { 201 } else { 200 }, &stored),
        Ok(Applied { stored: None, .. }) => unreachable!("a put leaves a record"),
        Err(refused) => refused,
    })
}

/// Merges a patch (RFC 7396) into an item that is there.
fn patch(shared: &Shared, id: &str, head: &Head, body: &[u8], seq: u64) -> rusqlite::Result<Answer> {
    let change = |current: Option<&Stored>| {
        let Some(stored) = current else { return Err(missing(id)) };
        let preconditions = Preconditions::of(head)?;
        if !preconditions.matched(current) || !preconditions.none_matched(current) {
            return Err(failed(current));
        }
        let patch = item(body)?;
        let mut merged = serde_json::from_str(&stored.json).unwrap_or_default();
        merge(&mut merged, patch);
        Ok(Change::Put(merged))
    };
    let applied = shared.records.change(id, change, |applied_seq| shared.log.applied(seq, applied_seq))?;
    Ok(match applied {
        Ok(Applied { stored: Some(stored), .. }) => record(200, &stored),
        Ok(Applied { stored: None, .. }) => unreachable!("a patch leaves a record"),
        Err(refused) => refused,
    })
}

fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.remove(&name)),
            Value::Object(patch) => {
                let mut inner = match target.remove(&name) {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                merge(&mut inner, patch);
                target.insert(name, Value::Object(inner));
            }
            value => drop(target.insert(name, value)),
        }
    }
}

/// Makes an item: with the id that it has, if there is none of that, or else with one of the inventory's own.
fn post(shared: &Shared, body: &[u8], seq: u64) -> rusqlite::Result<Answer> {
    let new = match item(body) {
        Ok(new) => new,
        Err(refused) => return Ok(refused),
    };
    let id = match new.get("id") {
        None => None,
        Some(Value::String(id)) if !id.is_empty() && id.len() <= ID_LIMIT_BYTES => Some(id.clone()),
        Some(_) => return Ok(Answer::error(400, format!("an id is a text of 1 to {ID_LIMIT_BYTES} bytes"))),
    };
    let made = shared.records.make(id, new, |applied_seq| shared.log.applied(seq, applied_seq))?;
    Ok(match made {
        Some((id, stored)) => record(201, &stored).header("Location", format!("/items/{}", percent_encoded(&id))),
        None => Answer::error(409, "there is an item of that id"),
    })
}

fn delete(shared: &Shared, id: &str, head: &Head, seq: u64) -> rusqlite::Result<Answer> {
    let change = |current: Option<&Stored>| {
        let preconditions = Preconditions::of(head)?;
        if current.is_none() {
            // Before the preconditions: RFC 9110 §13.2.1 has them ignored where the answer is an error without them.
            return Err(missing(id));
        }
        if !preconditions.matched(current) || !preconditions.none_matched(current) {
            return Err(failed(current));
        }
        Ok(Change::Delete)
    };
    let applied = shared.records.change(id, change, |applied_seq| shared.log.applied(seq, applied_seq))?;
    Ok(match applied {
        Ok(_) => Answer::new(204),
        Err(refused) => refused,
    })
}

/// The item in a body, or the inventory's refusal. A negative quantity is not its business.
fn item(body: &[u8]) -> Result<Map<String, Value>, Answer> {
    let item = match serde_json::from_slice(body) {
        Ok(Value::Object(item)) => item,
        Ok(_) => return Err(Answer::error(400, "an item is a JSON object")),
        Err(error) => return Err(Answer::error(400, format!("not JSON: {error}"))),
    };
    match item.get("quantity").and_then(Value::as_f64) {
        Some(quantity) if quantity > f64::from(QUANTITY_LIMIT) => {
            Err(Answer::error(422, format!("quantity is limited to {QUANTITY_LIMIT}")))
        }
        _ => Ok(item),
    }
}

fn record(status: u16, stored: &Stored) -> Answer {
    Answer::new(status)
        .header("Content-Type", "application/json")
        .header("ETag", stored.etag())
        .body(stored.json.as_str())
}

fn missing(id: &str) -> Answer {
    Answer::error(404, format!("no item {id}"))
}

fn failed(current: Option<&Stored>) -> Answer {
    let answer = Answer::error(412, "the precondition does not hold");
    match current {
        Some(stored) => answer.header("ETag", stored.etag()),
        None => answer,
    }
}

fn not_allowed(allowed: &str) -> Answer {
    Answer::error(405, format!("only {allowed} here")).header("Allow", allowed)
}

fn with_cache_control(shared: &Shared, answer: Answer) -> Answer {
    match shared.settings().cache_control.clone() {
        Some(directives) => answer.header("Cache-Control", directives),
        None => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_item_a_list_or_nothing() {
        assert_eq!(Route::of("/items?x=1"), Route::Items);
        assert_eq!(Route::of("/items/a%2Fb?x"), Route::Item("a/b".into()));
        assert_eq!(Route::of("http://127.0.0.1:1/items/a"), Route::Item("a".into()));
        assert_eq!(Route::of("/_log?last=3"), Route::Control("/_log".into(), "last=3".into()));
        assert_eq!(Route::of(&format!("/items/{}", "a".repeat(1024))).id().map(str::len), Some(1024));
        for (path, status) in
            [("/", 404), ("/items/", 404), ("/items/a/b", 404), ("/itemsx", 404), ("/items/%zz", 400), ("*", 404)]
        {
            assert!(matches!(Route::of(path), Route::Nothing(s, _) if s == status), "{path}");
        }
        assert!(matches!(Route::of(&format!("/items/{}", "a".repeat(1025))), Route::Nothing(400, _)));
    }
}
