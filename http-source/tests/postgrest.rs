//! An origin of PostgREST's shape: a record is a row that a query picks, and comes in an array.
//!
//! It does what PostgREST documents of single rows: `GET /items?id=eq.K` gives an array; `PUT` writes the row whose key both the query and
//! the body name, and says nothing of it (204, or 201 for a new one) unless `Prefer: return=representation` asks for it;
//! `DELETE` is 204 whether or not there was a row, or 200 and those that went; `Accept: application/vnd.pgrst.object+json` asks for one
//! object, and is 406 where the query picks another number of rows.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::*;
use wtcache::{ByteCache, Confirmed, Failure, Loaded, Record};
use wtcache_http_source::{HttpSource, HttpSourceBuilder};

type Rows = Arc<Mutex<BTreeMap<String, Value>>>;

fn started() -> (Server, Rows) {
    let rows = Rows::default();
    let shared = Arc::clone(&rows);
    let server = Server::new(move |_, conn| {
        while let Some(request) = conn.request() {
            let answer = answered(&request, &mut shared.lock().unwrap());
            conn.write(answer);
        }
    });
    (server, rows)
}

fn answered(request: &Seen, rows: &mut BTreeMap<String, Value>) -> String {
    let error = |status, code: &str| answer(status, JSON, &json!({ "code": code }).to_string());
    let (path, query) = request.target().split_once('?').unwrap();
    assert_eq!(path, "/items");
    let key = query.strip_prefix("id=eq.").unwrap().to_owned();
    // The column is a number, and says so.
    if key.parse::<i64>().is_err() {
        return error(400, "22P02");
    }
    let shown = request.header("prefer").is_some_and(|prefer| prefer.contains("return=representation"));
    let single = request.header("accept") == Some("application/vnd.pgrst.object+json");
    let represented = |status, rows: &[Value]| match (single, rows) {
        (false, rows) => answer(status, JSON, &json!(rows).to_string()),
        (true, [row]) => answer(status, JSON, &row.to_string()),
        (true, _) => error(406, "PGRST116"),
    };
    match request.line.split(' ').next().unwrap() {
        "GET" => represented(200, rows.get(&key).cloned().as_slice()),
        "PUT" => {
            let row: Value = serde_json::from_slice(&request.body).unwrap();
            if row["id"].as_i64() != key.parse().ok() {
                return error(400, "PGRST115");
            }
            let mut stored = row;
            // A trigger of the table's.
            stored["version"] = json!(rows.get(&key).map_or(0, |row| row["version"].as_u64().unwrap()) + 1);
            let new = rows.insert(key, stored.clone()).is_none();
            match (shown, new) {
                (true, new) => represented(if new { 201 } else { 200 }, &[stored]),
                (false, true) => answer(201, "", ""),
                (false, false) => bare(204, ""),
            }
        }
        "DELETE" => {
            let gone: Vec<Value> = rows.remove(&key).into_iter().collect();
            if shown { represented(200, &gone) } else { bare(204, "") }
        }
        _ => error(405, "PGRST117"),
    }
}

const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

fn source(server: &Server) -> HttpSourceBuilder {
    HttpSource::builder(format!("http://{}/items?id=eq.{{id}}", server.address)).timeout(AMPLE).record_in_array(true)
}

fn with_representation(server: &Server) -> HttpSource {
    source(server).header("Prefer", "return=representation").build().unwrap()
}

fn shows(entry: Option<wtcache::Entry<wtcache::Bytes>>) -> Value {
    serde_json::from_slice(entry.unwrap().value()).unwrap()
}

/// G1, P1, P4: told what was stored, trigger and all, the cache serves it.
#[test]
fn p1_a_row_is_written_through_and_shown_as_the_origin_stored_it() {
    let (server, rows) = started();
    let cache = ByteCache::builder(with_representation(&server)).clean_start(true).build().unwrap();
    assert!(cache.get("7").unwrap().is_none(), "an empty array is an absence");
    for version in 1..3 {
        let written = cache.put("7", br#"{"id":7,"n":1}"#.to_vec()).unwrap();
        assert_eq!(shows(written.entry), json!({ "id": 7, "n": 1, "version": version }));
        assert_eq!(shows(cache.get("7").unwrap()), rows.lock().unwrap()["7"]);
    }
    assert_eq!(server.seen().len(), 3, "a load, two writes, and hits");
    cache.delete("7").unwrap();
    assert!(rows.lock().unwrap().is_empty());
    assert!(cache.get("7").unwrap().is_none());
    // P4: what is gone is gone, also where the array of what went is empty.
    cache.delete("7").unwrap();
}

/// A1: without the header it says nothing of the row. That is applied, unseen: the next read asks.
#[test]
fn a1_a_row_that_is_not_represented_is_applied_and_asked_for() {
    let (server, rows) = started();
    let cache = ByteCache::builder(source(&server).build().unwrap()).clean_start(true).build().unwrap();
    for version in 1..3 {
        let written = cache.put("7", br#"{"id":7,"n":1}"#.to_vec()).unwrap();
        assert!(written.entry.is_none());
        let before = server.seen().len();
        assert_eq!(shows(cache.get("7").unwrap()), json!({ "id": 7, "n": 1, "version": version }));
        assert_eq!(server.seen().len(), before + 1);
        assert_eq!(shows(cache.get("7").unwrap()), rows.lock().unwrap()["7"]);
        assert_eq!(server.seen().len(), before + 1, "a hit");
    }
    cache.delete("7").unwrap();
    cache.delete("7").unwrap();
}

/// A2: a key that is none of the column's, or another than the body's, is refused.
#[test]
fn a2_what_it_refuses_is_rejected() {
    let (server, rows) = started();
    let source = with_representation(&server);
    assert_eq!(get(&source, b"seven").unwrap_err().failure(), Failure::Refused);
    assert_eq!(rejected(put(&source, b"seven", b"{\"id\":7}"), Failure::Refused).error.code(), Some(400));
    assert!(!rejected(put(&source, b"8", b"{\"id\":7}"), Failure::Refused).stale_base);
    assert!(rows.lock().unwrap().is_empty());
    // Nothing of a key goes into the query as anything but its value.
    assert_eq!(get(&source, b"7&select=n").unwrap_err().failure(), Failure::Refused);
    assert_eq!(server.seen().pop().unwrap().target(), "/items?id=eq.7%26select%3Dn");
}

/// Asked for one object, it has 406 for none: an error, not an absence. So an array is what to ask for.
#[test]
fn a_single_object_that_is_not_there_is_an_error_and_no_absence() {
    let (server, _) = started();
    let single = source(&server)
        .record_in_array(false)
        .header("Accept", "application/vnd.pgrst.object+json")
        .header("Prefer", "return=representation")
        .build()
        .unwrap();
    let error = get(&single, b"7").unwrap_err();
    assert_eq!((error.failure(), error.code()), (Failure::Refused, Some(406)));
    let row = br#"{"id":7,"n":1,"version":1}"#;
    assert_eq!(applied(put(&single, b"7", br#"{"id":7,"n":1}"#)), Confirmed::Record(Record::new(row.to_vec())));
    assert_eq!(get(&single, b"7").unwrap(), Loaded::Found(Record::new(row.to_vec())));
    // 406 to a delete says that there was no such row.
    assert_eq!(applied(delete(&single, b"7")), ());
    assert_eq!(rejected(delete(&single, b"7"), Failure::Refused).error.code(), Some(406));
}
