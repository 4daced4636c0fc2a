//! A query that goes to the origin's list as it stands, and whose records are retained as loads.
//!
//! Invariant: what is told of the records counts as loads that began before the list was asked for; no part of a record is retained.

use std::sync::Arc;
use std::time::Instant;

use axum::http::{HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;
use wtcache::{Bytes, Entry, LoadError, SourceError};
use wtcache_http_source::{HttpSource, TraceContext};

use super::parse::{Asked, Query};
use super::{not_resident, shape, told};
use crate::answer::{Answer, header};
use crate::asked::Asked as Wants;
use crate::problem::{self, Problem};
use crate::table::ServedTable;
use crate::trace;

const WORD: &str = "passthrough";

/// How queries go to a table's origin.
#[derive(Clone)]
pub(crate) struct Passthrough {
    origin: Arc<HttpSource>,
    /// Each list under way holds a thread.
    places: Arc<Semaphore>,
}

impl Passthrough {
    /// `at_once`: how many lists are asked for at once.
    pub(crate) fn new(origin: &Arc<HttpSource>, at_once: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_once.min(MOST_AT_ONCE)));
        Self { origin: Arc::clone(origin), places }
    }
}

/// Threads are of the whole server: a table with a slow list leaves some to the others.
const MOST_AT_ONCE: usize = 64;

/// The query without the word that passes it through; `None` where it has none.
pub(super) fn own(query: &str) -> Option<String> {
    let rest: Vec<&str> = query.split('&').filter(|part| *part != WORD).collect();
    (rest.len() < query.split('&').count()).then(|| rest.join("&"))
}

/// What a list came to.
struct Told {
    entries: Vec<Entry<Bytes>>,
    wrong: usize,
    has_next_page: bool,
    all_kept: bool,
}

pub(super) async fn answer(table: &ServedTable, query: String, wants: &Wants) -> Answer {
    let Some(passthrough) = table.passthrough.clone() else {
        let name = &table.schema.name;
        let detail = format!("the origin of {name} has no list that queries are passed to (origin.list)");
        return Answer::refused(&Method::GET, Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    if wants.only_if_cached {
        return not_resident("a list is the origin's alone");
    }
    let begun = Instant::now();
    let waits = tokio::time::timeout(table.timeout, Arc::clone(&passthrough.places).acquire_owned());
    let Ok(Ok(place)) = waits.await else { return failed(&LoadError::Overloaded) };
    let (cache, timeout, context) = (table.cache().clone(), table.timeout, trace::current());
    let list = move || {
        let _place = place;
        let _entered = TraceContext::enter_if(context);
        // Before the request, so that what moves meanwhile is known.
        let listing = cache.listing();
        let list = passthrough.origin.list(&query, timeout.saturating_sub(begun.elapsed()))?;
        let mut told = Told {
            entries: Vec::with_capacity(list.records.len()),
            wrong: list.wrong.len(),
            has_next_page: list.has_next_page,
            all_kept: !list.records.is_empty(),
        };
        for (key, record) in list.records {
            let listed = listing.loaded(key.as_slice(), record);
            told.all_kept &= listed.kept;
            told.wrong += usize::from(listed.entry.is_none());
            told.entries.extend(listed.entry);
        }
        Ok::<Told, SourceError>(told)
    };
    // A client that goes away changes nothing: what the origin tells is retained all the same.
    match tokio::task::spawn_blocking(list).await {
        Ok(Ok(list)) => {
            let complete = list.wrong == 0 && !list.has_next_page;
            let all = Query { of: Asked::Nothing, select: None, sort: Vec::new(), limit: None, confirmed: false };
            let status = match list.all_kept {
                true => "wtcache; fwd=request; stored; detail=passthrough",
                false => "wtcache; fwd=request; detail=passthrough",
            };
            let body = shape::response(&all, list.entries);
            let response = told(body, complete, &format!("failed={}", list.wrong));
            Answer::new(response, HeaderValue::from_static(status), WORD)
        }
        Ok(Err(error)) => failed(&LoadError::Source(error)),
        Err(_) => failed(&LoadError::Closed),
    }
}

fn failed(error: &LoadError) -> Answer {
    let status = match error {
        LoadError::Source(error) => error.code(),
        _ => None,
    };
    let forwarded = match status {
        Some(code) => header(&format!("wtcache; fwd=request; fwd-status={code}; detail=passthrough")),
        None => HeaderValue::from_static("wtcache; fwd=request; detail=passthrough"),
    };
    Answer::new(problem::of_load(error), forwarded, "failed")
}
