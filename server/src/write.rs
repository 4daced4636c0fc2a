//! The writes of a record: `PUT`, `PATCH` and `DELETE`, each on a condition or not, or shown before they are confirmed.
//!
//! `PATCH` is a JSON merge patch (RFC 7396). It is an `update` of the cache: the record is read, merged and written within the key's
//! turn, so that writers at once lose nothing. What a condition asks is checked in the turn too, so that a write with one is never
//! answered before it. Invariant: what is wrong with a request is said before the origin is called, and a write that the front refuses was not sent.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::{Map, Value};
use wtcache::{
    Bytes, Call, Change, Confirmed, Entry, Failure, How, Outcome, Rejection, SourceError, WriteError, Written,
};
use wtcache_http_source::{HttpSource, TraceContext};

use crate::answer::{Answer, header, no_content, record};
use crate::format::Sent;
use crate::incoming::Incoming;
use crate::pending::Shown;
use crate::precondition::Precondition;
use crate::prefer::RespondAsync;
use crate::problem::{self, OUTCOME, Problem, Refusal};
use crate::record::{BodyError, object};
use crate::schema::Table;
use crate::table::ServedTable;
use crate::{stamped, trace};

pub(crate) async fn put(table: &ServedTable, key: &str, headers: &HeaderMap, body: &mut Incoming) -> Answer {
    let put = async {
        let precondition = Precondition::of(headers)?;
        let sent = Sent::record(headers)?;
        let body = body.read_whole(table.max_body_bytes, &table.schema.name).await?;
        let body = sent.json(body, table.max_body_bytes)?;
        let value = bytes_of(&table.schema.check_body(key, &body).map_err(|error| bad_body(&error))?)?;
        Ok((precondition, value))
    };
    let (precondition, value) = match put.await {
        Ok(put) => put,
        Err(problem) => return Answer::refused(&Method::PUT, problem),
    };
    if let Some(asked) = respond_async(table, headers, &precondition) {
        let admitted = table.cache().put_optimistic(key, value.clone());
        return Shown { table, key, asked, record: Some(value), plain: written }.answer(admitted).await;
    }
    let call = Call::new();
    let result = if precondition.is_none() {
        table.cache.put(key, value, &call).await
    } else if let Some(expect) = precondition.expect() {
        table.cache.put_if(key, value, expect, &call).await
    } else {
        let put = move |existing: Option<&Entry<Bytes>>| {
            precondition.check(existing)?;
            Ok(Change::Put(value))
        };
        table.cache.update(key, put, &call).await
    };
    written(result)
}

pub(crate) async fn patch(table: &ServedTable, key: &str, headers: &HeaderMap, body: &mut Incoming) -> Answer {
    let patch = async {
        let sent = Sent::patch(headers)?;
        let precondition = Precondition::of(headers)?;
        let body = body.read_whole(table.max_body_bytes, &table.schema.name).await?;
        let body = sent.json(body, table.max_body_bytes)?;
        let patch = table.schema.check_patch(key, &body).map_err(|error| bad_body(&error))?;
        Ok((precondition, patch, body))
    };
    let (precondition, patch, body) = match patch.await {
        Ok(patch) => patch,
        Err(problem) => return Answer::refused(&Method::PATCH, problem),
    };
    let patch = Patch { schema: Arc::clone(&table.schema), key: key.to_owned(), most: table.max_body_bytes, patch };
    if let Some(asked) = respond_async(table, headers, &precondition) {
        return patch_optimistic(table, key, asked, patch, &body).await;
    }
    if let Some(origin) = table.origin.as_ref().filter(|_| table.merges && precondition.is_none()) {
        return sent_on(table, origin.get(), patch).await;
    }
    let merge = move |existing: Option<&Entry<Bytes>>| {
        // RFC 9110 §13.2.1: where there is nothing to be patched, a condition is not looked at.
        let existing = existing.ok_or(Refusal::NoRecord)?;
        precondition.check(Some(existing))?;
        Ok(Change::Put(patch.merged_with(Some(existing.value()))?))
    };
    written(table.cache.update(key, merge, &Call::new()).await)
}

/// A patch that the origin merges, in the key's turn.
async fn sent_on(table: &ServedTable, origin: Arc<HttpSource>, patch: Patch) -> Answer {
    let Patch { schema, key, mut patch, .. } = patch;
    stamped::stamp_patch(&schema, &mut patch);
    let body = match bytes_of(&patch) {
        Ok(body) => body,
        Err(problem) => return Answer::refused(&Method::PATCH, problem),
    };
    let prepared = match table.cache.prepare(key.as_str(), &Call::new()).await {
        Ok(prepared) => prepared,
        Err(why) => return failed(&WriteError::NotSent(why)),
    };
    let trace = trace::current();
    // Its client may go away before it is sent.
    let inside = table.turnstile.stay();
    // On a thread of its own: it goes on should the client go away.
    let sent = tokio::task::spawn_blocking(move || {
        let (_trace, _inside) = (TraceContext::enter_if(trace), inside);
        let (left, idempotency_key) = (prepared.remaining(), prepared.idempotency_key());
        let sent = prepared.send().map_err(WriteError::NotSent)?;
        match origin.patch(key.as_bytes(), &body, left, idempotency_key) {
            Outcome::Applied(Confirmed::Record(record)) => Ok(sent.commit(Some(record))),
            Outcome::Applied(_) => Ok(sent.commit(None)),
            Outcome::Rejected(rejection) => {
                sent.reject(rejection.stale_base);
                Err(WriteError::Rejected(rejection))
            }
            Outcome::Unknown(cause) => Err(WriteError::InDoubt(sent.in_doubt(cause))),
        }
    });
    match sent.await {
        Ok(result) => written(result),
        Err(_) => {
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the write broke off within this server");
            let problem = problem.outcome(problem::Outcome::InDoubt);
            Answer::new(problem.response(), HeaderValue::from_static("wtcache; fwd=method"), "in doubt")
        }
    }
}

/// A patch that is shown at once, above whatever is there. What can be told of a record that is here and confirmed is told at once.
async fn patch_optimistic(table: &ServedTable, key: &str, asked: RespondAsync, patch: Patch, body: &[u8]) -> Answer {
    // With no time for a load, what is here is the answer, or nothing.
    let here = table.cache.read(key, &Call::new().deadline(Duration::ZERO)).await.ok();
    let shows = match here.map(|read| (patch.merged_with(read.entry.as_ref().map(Entry::value)), read.how)) {
        Some((Err(error), How::Hit)) => return failed(&WriteError::Rejected(Rejection::new(error))),
        Some((shows, _)) => shows.ok(),
        None => None,
    };
    let merge = move |existing: Option<&[u8]>| patch.merged_with(existing).map(Some);
    let admitted = table.cache().try_merge_optimistic_with(key, merge, Some(body), &Call::new());
    Shown { table, key, asked, record: shows, plain: written }.answer(admitted).await
}

pub(crate) async fn delete(table: &ServedTable, key: &str, headers: &HeaderMap) -> Answer {
    let precondition = match Precondition::of(headers) {
        Ok(precondition) => precondition,
        Err(problem) => return Answer::refused(&Method::DELETE, problem),
    };
    if let Some(asked) = respond_async(table, headers, &precondition) {
        let admitted = table.cache().delete_optimistic(key);
        return Shown { table, key, asked, record: None, plain: deleted }.answer(admitted).await;
    }
    let call = Call::new();
    let result = if precondition.is_none() {
        table.cache.delete(key, &call).await
    } else if let Some(expect) = precondition.expect() {
        table.cache.delete_if(key, expect, &call).await
    } else {
        let delete = move |existing: Option<&Entry<Bytes>>| {
            precondition.check(existing)?;
            Ok(Change::Delete)
        };
        table.cache.update(key, delete, &call).await
    };
    deleted(result)
}

/// What the client prefers, where that can be: a condition, and a rule of the table's source, have to hold before a write may be shown,
/// and that is known in its turn.
fn respond_async(table: &ServedTable, headers: &HeaderMap, precondition: &Precondition) -> Option<RespondAsync> {
    RespondAsync::of(headers).filter(|_| precondition.is_none() && !table.has_rule)
}

/// A checked patch of a record.
pub(crate) struct Patch {
    pub(crate) schema: Arc<Table>,
    pub(crate) key: String,
    /// The bytes that a record may have.
    pub(crate) most: usize,
    pub(crate) patch: Map<String, Value>,
}

impl Patch {
    /// The record with the patch in it, checked like the body of a `PUT`: a source of the program's own may hold what needs the patch to
    /// become a record of the table.
    pub(crate) fn merged_with(&self, existing: Option<&[u8]>) -> Result<Vec<u8>, SourceError> {
        let failed = |why: &dyn Display| SourceError::new(Failure::Failed, format!("the existing record: {why}"));
        let record = object(existing.ok_or(Refusal::NoRecord)?).map_err(|error| failed(&error))?;
        let record = self.schema.patched(&self.key, record, &self.patch).map_err(Refusal::Invalid)?;
        let value = serde_json::to_vec(&record).map_err(|error| failed(&error))?;
        if value.len() > self.most { Err(Refusal::TooLarge { most: self.most }.into()) } else { Ok(value) }
    }
}

pub(crate) fn bad_body(error: &BodyError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error.to_string()).field(error.field.as_deref())
}

pub(crate) fn bytes_of(record: &Map<String, Value>) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(record).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))
}

fn written(result: Result<Written<Bytes>, WriteError<Bytes>>) -> Answer {
    match result {
        Ok(written) => {
            let status = if written.kept { "wtcache; fwd=method; stored" } else { "wtcache; fwd=method" };
            let response = written.entry.map_or_else(no_content, record);
            Answer::new(applied(response), HeaderValue::from_static(status), "written")
        }
        Err(error) => failed(&error),
    }
}

fn deleted(result: Result<Written<Bytes>, WriteError<Bytes>>) -> Answer {
    match result {
        Ok(_) => Answer::new(applied(no_content()), HeaderValue::from_static("wtcache; fwd=method"), "deleted"),
        Err(error) => failed(&error),
    }
}

fn applied(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(OUTCOME, HeaderValue::from_static("applied"));
    response
}

pub(crate) fn failed(error: &WriteError<Bytes>) -> Answer {
    let (code, what) = match error {
        WriteError::Rejected(rejection) if Refusal::of(&rejection.error).is_some() => (None, "not sent"),
        WriteError::Rejected(rejection) => (rejection.error.code(), "rejected"),
        WriteError::InDoubt(doubt) => (doubt.cause().code(), "in doubt"),
        _ => (None, "not sent"),
    };
    let status = match code {
        Some(code) => header(&format!("wtcache; fwd=method; fwd-status={code}")),
        None if what == "not sent" => HeaderValue::from_static("wtcache; detail=not-sent"),
        None => HeaderValue::from_static("wtcache; fwd=method"),
    };
    Answer::new(problem::of_write(error), status, what)
}
