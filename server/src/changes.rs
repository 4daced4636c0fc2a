//! `POST /-/changes`: the origin, or whoever writes to it past this server, tells of changes.
//!
//! The body is a change or an array of them, in the form that a subscription has. Invariants: a body that is not understood whole, or not
//! signed where it has to be, changes nothing; who neither signs nor is an admin tells nothing.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::Sha256;
use wtcache::PushEnd;
use wtcache_http_source::{ChangeEnd, ChangeForm, OriginChange};

use crate::answer::{self, Answer};
use crate::config::ChangesConfig;
use crate::front::Front;
use crate::incoming::Incoming;
use crate::problem::Problem;
use crate::record::check_key;
use crate::served::{Served, Tables, enter_all};
use crate::table::ServedTable;

const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How changes of a table are told.
pub(crate) struct Told {
    pub(crate) form: ChangeForm,
    secret: Option<Vec<u8>>,
    header: HeaderName,
}

impl Told {
    pub(crate) fn new(config: &ChangesConfig, form: ChangeForm) -> Self {
        let header = HeaderName::from_bytes(config.signature_header.as_bytes());
        Self {
            form,
            secret: config.secret.as_ref().map(|secret| secret.0.clone().into_bytes()),
            header: header.unwrap_or(HeaderName::from_static("x-signature-256")),
        }
    }

    /// Whether the body is signed with the table's secret, if it has one: HMAC-SHA256 in hexadecimal digits, perhaps after `sha256=`.
    fn is_signed(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        let Some(secret) = &self.secret else { return Ok(()) };
        let refuse = |why: &str| Problem::new(StatusCode::UNAUTHORIZED, format!("{}: {why}", self.header));
        let mut given = headers.get_all(&self.header).iter();
        let given = match (given.next(), given.next()) {
            (Some(given), None) => given.to_str().unwrap_or_default(),
            (None, _) => return Err(refuse("the body has to be signed, and is not")),
            (Some(_), Some(_)) => return Err(refuse("there are two signatures")),
        };
        let digits = given.strip_prefix("sha256=").unwrap_or(given);
        let signature = hexadecimal(digits).ok_or_else(|| refuse("64 hexadecimal digits are a signature"))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| refuse("the secret cannot be used"))?;
        mac.update(body);
        // In constant time.
        mac.verify_slice(&signature).map_err(|_| refuse("the signature is not that of this body"))
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

pub(crate) async fn answer(front: &Front, served: &Arc<Served>, request: &Parts, body: &mut Incoming) -> Answer {
    let told = match asked_table(&served.tables, request.uri.query()) {
        Ok(_) => match body.read_whole(MAX_BODY_BYTES, "a webhook").await {
            Ok(body) => told(front, Arc::clone(served), request, &body).await,
            Err(problem) => Err(problem),
        },
        Err(problem) => Err(problem),
    };
    match told {
        Ok(told) => Answer::local(answer::json(told.to_string().into_bytes()), "told"),
        Err(problem) => Answer::refused(&request.method, problem),
    }
}

/// Whether changes of the table that a query names are taken only where they are signed.
pub(crate) fn are_signed(tables: &Tables, query: Option<&str>) -> bool {
    asked_table(tables, query).is_ok_and(|table| table.told.secret.is_some())
}

/// The table that a query names: `?table=…`.
pub(crate) fn asked_table<'t>(tables: &'t Tables, query: Option<&str>) -> Result<&'t ServedTable, Problem> {
    let bad = |why: String| Problem::new(StatusCode::BAD_REQUEST, why).field(Some("table"));
    let mut name = None;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("table", value)) if name.is_none() => {
                let value = percent_decode_str(value).decode_utf8();
                name = Some(value.map_err(|_| bad("table is not UTF-8".to_owned()))?.into_owned());
            }
            _ => {
                let pair: String = pair.chars().take(40).collect();
                return Err(bad(format!("{pair:?}: the query is ?table=NAME, and nothing else")));
            }
        }
    }
    let name = name.ok_or_else(|| bad("say of which table: ?table=NAME".to_owned()))?;
    tables.get(&name).ok_or_else(|| {
        let known: Vec<&str> = tables.keys().map(String::as_str).collect();
        bad(format!("there is no table {name:?}; served here: {}", known.join(", ")))
    })
}

async fn told(front: &Front, mut served: Arc<Served>, request: &Parts, body: &[u8]) -> Result<Value, Problem> {
    loop {
        let table = asked_table(&served.tables, request.uri.query())?;
        let changes = read(table, &request.headers, body)?;
        let inside = match enter_all([table]).await {
            Ok(inside) => inside,
            Err(Some(problem)) => return Err(problem),
            Err(None) => {
                served = front.served();
                continue;
            }
        };
        let cache = table.cache().clone();
        // Off the threads that serve: a reset looks at all that is resident.
        let apply = move || {
            let _inside = inside;
            changes.into_iter().map(|change| outcome(change.apply(&cache))).collect::<Vec<Value>>()
        };
        let ended = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending");
        let outcomes = tokio::task::spawn_blocking(apply).await.map_err(ended)?;
        return Ok(json!({ "table": table.schema.name, "outcomes": outcomes }));
    }
}

fn read(table: &ServedTable, headers: &HeaderMap, body: &[u8]) -> Result<Vec<OriginChange>, Problem> {
    table.told.is_signed(headers, body)?;
    let bad = |why: String| Problem::new(StatusCode::BAD_REQUEST, why);
    let is_array = body.trim_ascii_start().first() == Some(&b'[');
    let read = table.told.form.parse_all(body).map_err(bad)?;
    let mut changes = Vec::with_capacity(read.len());
    for (n, change) in read.into_iter().enumerate() {
        let change = change.and_then(|change| has_key(&change).map(|()| change));
        let place = format!("[{n}]");
        changes.push(change.map_err(|why| match is_array {
            true => bad(format!("{place}: {why}; nothing was changed")).field(Some(&place)),
            false => bad(why),
        })?);
    }
    Ok(changes)
}

fn has_key(change: &OriginChange) -> Result<(), String> {
    let OriginChange::Key { key, .. } = change else { return Ok(()) };
    let key = std::str::from_utf8(key).map_err(|_| "the key is not UTF-8".to_owned())?;
    check_key(key).map_err(|error| error.to_string())
}

fn outcome(end: ChangeEnd) -> Value {
    match end {
        ChangeEnd::Key(PushEnd::Taken) => "taken".into(),
        ChangeEnd::Key(PushEnd::PassedOver) => "passed-over".into(),
        ChangeEnd::Forgotten(entries) => json!({ "forgotten": entries }),
        _ => "invalidated".into(),
    }
}
