//! What the body of a transaction means.
//!
//! Invariant: what is understood is checked whole: tables, keys, records, patches, conditions. Nothing has been sent then.

use std::collections::HashSet;
use std::sync::Arc;

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::diagnostic::nearest;
use crate::format::take_conditions;
use crate::invalidate::{Selector, bad, key, selector, table_of, text};
use crate::precondition::Precondition;
use crate::problem::Problem;
use crate::record::object;
use crate::served::Tables;
use crate::table::ServedTable;
use crate::write::{Patch, bytes_of};

/// So many updates, and likewise what is to be forgotten: each update is a request to an origin, one after the other.
pub(super) const MOST: usize = 100;

const MEMBERS: [&str; 2] = ["updates", "invalidate"];
const OF_AN_UPDATE: [&str; 9] =
    ["table", "key", "put", "patch", "delete", "if_match", "if_none_match", "undo", "undo_in_doubt"];

/// What a transaction is to do.
pub(super) struct Asked {
    /// At least one, no two of one record.
    pub(super) updates: Vec<Update>,
    pub(super) forgets: Vec<Forgets>,
}

impl Asked {
    /// The tables that it changes something in.
    pub(super) fn tables(&self) -> impl Iterator<Item = &ServedTable> {
        let updated = self.updates.iter().map(|update| &update.table);
        updated.chain(self.forgets.iter().map(|forgets| &forgets.table))
    }

    /// What it writes may be shown before its turn: no condition has to hold for it, and no rule of a table's source.
    pub(super) fn may_be_shown(&self) -> bool {
        self.updates.iter().all(|update| update.precondition.is_none() && !update.table.has_rule)
    }
}

/// What is to be forgotten of a table.
pub(super) struct Forgets {
    pub(super) table: ServedTable,
    pub(super) selector: Selector,
}

pub(super) struct Update {
    pub(super) table: ServedTable,
    pub(super) key: String,
    pub(super) does: Does,
    pub(super) precondition: Precondition,
    pub(super) undo: Option<Undo>,
    /// It is undone also where the outcome of a step is not known.
    pub(super) undo_in_doubt: bool,
}

impl Update {
    /// It has to see the record that is there.
    pub(super) fn reads(&self) -> bool {
        matches!(self.does, Does::Patch(_)) || !self.precondition.is_none() || matches!(self.undo, Some(Undo::Restore))
    }
}

pub(super) enum Does {
    Put(Vec<u8>),
    Patch(Patch),
    Delete,
}

/// How an update is undone.
#[derive(Clone)]
pub(super) enum Undo {
    /// What was there is put, or deleted, again.
    Restore,
    Put(Vec<u8>),
    Delete,
    /// There is nothing to undo.
    Nothing,
}

/// Reads a body. The problem names the member that is at fault.
pub(super) fn asked(tables: &Tables, body: &[u8]) -> Result<Asked, Problem> {
    let asked = object(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()).field(error.field.as_deref()))?;
    known("", &asked, &MEMBERS)?;
    let listed = list("updates", &asked)?;
    if listed.is_empty() {
        return Err(bad("updates", "expected an array of at least one update"));
    }
    let mut updates: Vec<Update> = Vec::with_capacity(listed.len());
    let mut records = HashSet::new();
    for (number, value) in listed.iter().enumerate() {
        let at = format!("updates[{number}]");
        let update = update(tables, &at, object_at(&at, value)?)?;
        if !records.insert((update.table.schema.name.clone(), update.key.clone())) {
            return Err(bad(&format!("{at}.key"), "an earlier update is of this record too"));
        }
        updates.push(update);
    }
    let mut forgets = Vec::new();
    for (number, value) in list("invalidate", &asked)?.iter().enumerate() {
        let at = format!("invalidate[{number}]");
        let (table, selector) = selector(tables, object_at(&at, value)?).map_err(|problem| problem.within(&at))?;
        forgets.push(Forgets { table: table.clone(), selector });
    }
    Ok(Asked { updates, forgets })
}

fn list<'a>(name: &str, asked: &'a Map<String, Value>) -> Result<&'a [Value], Problem> {
    match asked.get(name) {
        None => Ok(&[]),
        Some(Value::Array(list)) if list.len() <= MOST => Ok(list),
        Some(Value::Array(_)) => Err(bad(name, &format!("there are more than {MOST}"))),
        Some(_) => Err(bad(name, "expected an array")),
    }
}

fn object_at<'a>(at: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Problem> {
    value.as_object().ok_or_else(|| bad(at, "expected an object"))
}

fn known(at: &str, asked: &Map<String, Value>, known: &[&'static str]) -> Result<(), Problem> {
    let Some(name) = asked.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
    let mut why = "there is no such member".to_owned();
    if let Some(near) = nearest(name, known.iter().copied()) {
        why.push_str(&format!(", did you mean {near}?"));
    }
    Err(bad(&format!("{at}{}{name}", if at.is_empty() { "" } else { "." }), &why))
}

fn update(tables: &Tables, at: &str, asked: &Map<String, Value>) -> Result<Update, Problem> {
    known(at, asked, &OF_AN_UPDATE)?;
    let table = table_of(tables, asked).map_err(|problem| problem.within(at))?;
    let own = |name: &str| format!("{at}.{name}");
    let key = key(&own("key"), asked.get("key").unwrap_or(&Value::Null))?;
    let mut given = ["put", "patch", "delete"].into_iter().filter(|name| asked.contains_key(*name));
    let one_of = "say what becomes of the record, by one of put, patch, delete";
    let Some(verb) = given.next() else { return Err(bad(at, one_of)) };
    if let Some(second) = given.next() {
        return Err(bad(&own(second), &format!("{verb} is given too; {one_of}")));
    }
    let does = match verb {
        "put" => Does::Put(record(table, &key, &own("put"), &asked["put"])?),
        "patch" => {
            let body = bytes_of(object_at(&own("patch"), &asked["patch"])?)?;
            let patch = table.schema.check_patch(&key, &body);
            let patch = patch.map_err(|error| crate::write::bad_body(&error).within(&own("patch")))?;
            let schema = Arc::clone(&table.schema);
            Does::Patch(Patch { schema, key: key.clone(), most: table.max_body_bytes, patch })
        }
        _ if asked["delete"] == true => Does::Delete,
        _ => return Err(bad(&own("delete"), "expected true")),
    };
    let undo = match asked.get("undo") {
        None => None,
        Some(undo) => Some(undoing(table, &key, &own("undo"), undo)?),
    };
    let undo_in_doubt = match asked.get("undo_in_doubt") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) if undo.is_some() => true,
        Some(Value::Bool(true)) => return Err(bad(&own("undo_in_doubt"), "undo does not say how")),
        Some(_) => return Err(bad(&own("undo_in_doubt"), "expected true or false")),
    };
    let precondition = condition(at, asked)?;
    Ok(Update { table: table.clone(), key, does, precondition, undo, undo_in_doubt })
}

/// A checked record.
fn record(table: &ServedTable, key: &str, at: &str, value: &Value) -> Result<Vec<u8>, Problem> {
    let body = bytes_of(object_at(at, value)?)?;
    let checked = table.schema.check_body(key, &body);
    let record = bytes_of(&checked.map_err(|error| crate::write::bad_body(&error).within(at))?)?;
    let most = table.max_body_bytes;
    if record.len() > most {
        let detail = format!("{at}: the record is larger than the {most} bytes that {} takes", table.schema.name);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).field(Some(at)));
    }
    Ok(record)
}

fn undoing(table: &ServedTable, key: &str, at: &str, value: &Value) -> Result<Undo, Problem> {
    Ok(match value {
        Value::String(text) if text == "restore" => Undo::Restore,
        Value::String(text) if text == "delete" => Undo::Delete,
        Value::String(text) if text == "nothing" => Undo::Nothing,
        Value::Object(object) => {
            known(at, object, &["put"])?;
            let value = object.get("put").ok_or_else(|| bad(at, "put is missing"))?;
            Undo::Put(record(table, key, &format!("{at}.put"), value)?)
        }
        _ => return Err(bad(at, "expected \"restore\", \"delete\", \"nothing\", or an object with put")),
    })
}

/// The conditions, as the headers of a single write would say them.
fn condition(at: &str, asked: &Map<String, Value>) -> Result<Precondition, Problem> {
    let mut headers = HeaderMap::new();
    let names: [(&str, HeaderName); 2] = [("if_match", IF_MATCH), ("if_none_match", IF_NONE_MATCH)];
    for (name, header) in names {
        let Some(tags) = text(asked, name).map_err(|problem| problem.within(at))? else { continue };
        let member = format!("{at}.{name}");
        let wrong = || bad(&member, "expected * or a list of entity tags, each in double quotes");
        let value = HeaderValue::from_bytes(tags.as_bytes()).map_err(|_| wrong())?;
        let mut lines = HeaderMap::new();
        lines.insert(header.clone(), value.clone());
        Precondition::of(&lines).map_err(|_| wrong())?;
        headers.insert(header, value);
    }
    take_conditions(&mut headers);
    Precondition::of(&headers)
}
