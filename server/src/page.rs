//! The page for people at `/-/`, and what it asks beside the metrics: what is resident, and which keys are in doubt.
//!
//! The page is three files that are part of the program: it needs nothing of the network but this server. Invariant: looking on changes nothing of
//! what is held: no load, no hit counted. What is pending is not shown, but what the origin confirmed below it.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use form_urlencoded::parse;
use serde_json::{Map, Value, json};
use wtcache::{Bytes, Entry, KeyInDoubt, Tick};

use crate::answer::{Answer, json as as_json};
use crate::diagnostic::nearest;
use crate::etag;
use crate::problem::Problem;
use crate::served::Tables;
use crate::table::ServedTable;

/// Records that are listed where the client does not say how many, and at most.
const LIMIT: usize = 50;
const MOST: usize = 1000;

/// Keys in doubt of a table that are told at most.
const MOST_DOUBTS: usize = 1000;

/// A file of the page.
#[derive(Clone, Copy)]
pub(crate) enum File {
    Html,
    Script,
    Style,
}

impl File {
    /// By its path below `/-/`.
    pub(crate) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "" => Self::Html,
            "page.js" => Self::Script,
            "page.css" => Self::Style,
            _ => return None,
        })
    }

    pub(crate) fn answer(self) -> Answer {
        let (text, kind) = match self {
            Self::Html => (include_str!("page/index.html"), "text/html; charset=utf-8"),
            Self::Script => (include_str!("page/page.js"), "text/javascript; charset=utf-8"),
            Self::Style => (include_str!("page/page.css"), "text/css; charset=utf-8"),
        };
        let mut response = Response::new(Body::from(text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        // Of this server alone, in no other page's frame.
        let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // It is of the version that runs.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Answer::local(response, "page")
    }
}

/// `/-/records?table=T`, with `prefix=` and `limit=`: some of what is resident. With `key=`: one record, and where it stands.
pub(crate) async fn records(tables: &Tables, query: Option<&str>) -> Answer {
    let asked = match Asked::read(tables, query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(problem) => return Answer::refused(&Method::GET, problem),
    };
    // Off the threads that serve: it may look at all that is resident.
    match tokio::task::spawn_blocking(move || asked.answer()).await {
        Ok(told) => Answer::local(as_json(told.into_bytes()), "records"),
        Err(_) => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending");
            Answer::refused(&Method::GET, problem)
        }
    }
}

/// `/-/doubts`: the keys of each table of which nobody knows whether their last writes were, or will be, applied.
pub(crate) fn doubts(tables: &Tables) -> Answer {
    let mut doubts = Vec::new();
    for (name, table) in tables {
        let now = table.cache().now();
        let all = table.cache().doubts(MOST_DOUBTS);
        doubts.extend(all.iter().map(|doubt| {
            let mut told = of_doubt(doubt, now);
            told.insert("table".to_owned(), name.as_str().into());
            told.insert("key".to_owned(), String::from_utf8_lossy(&doubt.key).into());
            Value::Object(told)
        }));
    }
    Answer::local(as_json(json!({ "doubts": doubts }).to_string().into_bytes()), "doubts")
}

/// Since when a key is in doubt and until when, and by how many sends.
fn of_doubt(doubt: &KeyInDoubt<Box<[u8]>>, now: Tick) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("for_ms".to_owned(), millis(now, doubt.since));
    told.insert("settles_in_ms".to_owned(), millis(doubt.until, now));
    told.insert("unsettled".to_owned(), doubt.unsettled.into());
    told
}

fn millis(later: Tick, earlier: Tick) -> Value {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX).into()
}

/// What is asked of a table's records.
struct Asked {
    table: ServedTable,
    what: What,
}

enum What {
    Some { prefix: String, limit: usize },
    One(String),
}

impl Asked {
    fn read(tables: &Tables, query: &str) -> Result<Self, Problem> {
        let bad =
            |name: &str, why: String| Problem::new(StatusCode::BAD_REQUEST, format!("{name}: {why}")).field(Some(name));
        let (mut table, mut prefix, mut key, mut limit) = (None, None, None, LIMIT);
        for (name, value) in parse(query.as_bytes()) {
            match &*name {
                "table" => table = Some(value.into_owned()),
                "prefix" => prefix = Some(value.into_owned()),
                "key" => key = Some(value.into_owned()),
                "limit" => {
                    limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MOST).contains(limit))
                        .ok_or_else(|| bad("limit", format!("{value:?} is no number from 1 to {MOST}")))?;
                }
                other => {
                    let mut why = "there is no such parameter".to_owned();
                    if let Some(near) = nearest(other, ["table", "prefix", "key", "limit"]) {
                        why.push_str(&format!(", did you mean {near}?"));
                    }
                    return Err(bad(other, why));
                }
            }
        }
        let table = table.ok_or_else(|| bad("table", "it is missing".to_owned()))?;
        let table = tables.get(&table).cloned().ok_or_else(|| {
            let known: Vec<&str> = tables.keys().map(String::as_str).collect();
            bad("table", format!("there is no table {table:?}; served here: {}", known.join(", ")))
        })?;
        let what = match (key, prefix) {
            (Some(_), Some(_)) => return Err(bad("prefix", "key is given too".to_owned())),
            (Some(key), None) => What::One(key),
            (None, prefix) => What::Some { prefix: prefix.unwrap_or_default(), limit },
        };
        Ok(Self { table, what })
    }

    fn answer(&self) -> String {
        match &self.what {
            What::Some { prefix, limit } => self.list(prefix, *limit),
            What::One(key) => self.one(key),
        }
    }

    fn list(&self, prefix: &str, limit: usize) -> String {
        let cache = self.table.cache();
        let (now, mut entries) = (cache.now(), cache.resident(prefix, limit + 1));
        let more = entries.len() > limit;
        entries.truncate(limit);
        entries.sort_by(|a, b| a.key().cmp(b.key()));
        let records: Vec<Value> = entries.iter().map(|entry| life(entry, now).into()).collect();
        json!({ "table": self.table.schema.name, "records": records, "more": more }).to_string()
    }

    fn one(&self, key: &str) -> String {
        let cache = self.table.cache();
        let doubt = cache.doubts(usize::MAX).into_iter().find(|doubt| *doubt.key == *key.as_bytes());
        let now = cache.now();
        let entry = cache.resident(key, usize::MAX).into_iter().find(|entry| entry.key() == key.as_bytes());
        let mut told = entry.as_ref().map_or_else(Map::new, |entry| life(entry, now));
        told.insert("table".to_owned(), self.table.schema.name.as_str().into());
        told.insert("key".to_owned(), key.into());
        told.insert("resident".to_owned(), entry.is_some().into());
        told.insert("in_doubt".to_owned(), doubt.map(|doubt| of_doubt(&doubt, now)).into());
        if let Some(entry) = &entry {
            // As text: a script's numbers have fewer digits than a record's may.
            let record: Value = serde_json::from_slice(entry.value()).unwrap_or_default();
            told.insert("record".to_owned(), format!("{record:#}").into());
        }
        Value::Object(told).to_string()
    }
}

/// What is known of an entry beside its value.
fn life(entry: &Entry<Bytes>, now: Tick) -> Map<String, Value> {
    let mut told = Map::new();
    let mut tell = |name: &str, value: Value| told.insert(name.to_owned(), value);
    tell("key", String::from_utf8_lossy(entry.key()).into());
    tell("bytes", entry.value().len().into());
    tell("etag", etag::of(entry).to_str().unwrap_or_default().into());
    tell("confirmed_ms_ago", millis(now, entry.since()));
    // Null: until it is evicted or written.
    let expires = entry.expires();
    tell("fresh_for_ms", if expires == Tick::NEVER { Value::Null } else { millis(expires, now) });
    tell("stale_for_ms", u64::try_from(entry.stale_for(now).as_millis()).unwrap_or(u64::MAX).into());
    told
}
