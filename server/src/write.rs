//! The writes of a record: `PUT`, `PATCH` and `DELETE`, each on a condition or not.
//!
//! `PATCH` is a JSON merge patch (RFC 7396). It is an `update` of the cache: the record is read, merged and written within the key's turn, so
//! that writers at once lose nothing. What a condition asks is checked in the turn too. Invariant: what is wrong with a request is
//! said before the origin is called, and a write that the front refuses was not sent.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::{Map, Value};
use wtcache::{Bytes, Call, Change, Entry, Failure, SourceError, WriteError, Written};

use crate::answer::{Answer, header, no_content, record};
use crate::incoming::Incoming;
use crate::precondition::Precondition;
use crate::problem::{self, OUTCOME, Problem, Refusal};
use crate::record::{BodyError, object};
use crate::schema::Table;
use crate::table::ServedTable;

/// The media types of a patch. Both mean a merge patch: plain JSON is what most clients call it.
const PATCHES: &str = "application/merge-patch+json, application/json";

pub(crate) async fn put(table: &ServedTable, key: &str, headers: &HeaderMap, body: &mut Incoming) -> Answer {
    let put = async {
        let precondition = Precondition::of(headers)?;
        let body = body.read_whole(table.max_body_bytes, &table.schema.name).await?;
        let value = bytes_of(&table.schema.check_body(key, &body).map_err(|error| bad_body(&error))?)?;
        Ok((precondition, value))
    };
    let (precondition, value) = match put.await {
        Ok(put) => put,
        Err(problem) => return Answer::refused(&Method::PUT, problem),
    };
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
        if !is_patch(headers) {
            let detail = format!("a patch is a JSON merge patch; its Content-Type is one of {PATCHES}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).accept_patch(PATCHES));
        }
        let precondition = Precondition::of(headers)?;
        let body = body.read_whole(table.max_body_bytes, &table.schema.name).await?;
        let patch = table.schema.check_patch(key, &body).map_err(|error| bad_body(&error))?;
        Ok((precondition, patch))
    };
    let (precondition, patch) = match patch.await {
        Ok(patch) => patch,
        Err(problem) => return Answer::refused(&Method::PATCH, problem),
    };
    let (schema, owned, most) = (Arc::clone(&table.schema), key.to_owned(), table.max_body_bytes);
    let merge = move |existing: Option<&Entry<Bytes>>| {
        // RFC 9110 §13.2.1: where there is nothing to be patched, a condition is not looked at.
        let existing = existing.ok_or(Refusal::NoRecord)?;
        precondition.check(Some(existing))?;
        let value = merged(&schema, &owned, existing, &patch)?;
        if value.len() > most { Err(Refusal::TooLarge { most }.into()) } else { Ok(Change::Put(value)) }
    };
    written(table.cache.update(key, merge, &Call::new()).await)
}

pub(crate) async fn delete(table: &ServedTable, key: &str, headers: &HeaderMap) -> Answer {
    let precondition = match Precondition::of(headers) {
        Ok(precondition) => precondition,
        Err(problem) => return Answer::refused(&Method::DELETE, problem),
    };
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
    match result {
        Ok(_) => Answer::new(applied(no_content()), HeaderValue::from_static("wtcache; fwd=method"), "deleted"),
        Err(error) => failed(&error),
    }
}

/// The record with the patch in it, checked like the body of a `PUT`: a source of the program's own may hold what needs the patch to
/// become a record of the table.
fn merged(
    schema: &Table,
    key: &str,
    existing: &Entry<Bytes>,
    patch: &Map<String, Value>,
) -> Result<Vec<u8>, SourceError> {
    let failed = |why: &dyn Display| SourceError::new(Failure::Failed, format!("the existing record: {why}"));
    let record = object(existing.value()).map_err(|error| failed(&error))?;
    let record = schema.patched(key, record, patch).map_err(Refusal::Invalid)?;
    serde_json::to_vec(&record).map_err(|error| failed(&error))
}

fn is_patch(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    PATCHES.split(", ").any(|known| essence.eq_ignore_ascii_case(known))
}

fn bad_body(error: &BodyError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error.to_string()).field(error.field.as_deref())
}

fn bytes_of(record: &Map<String, Value>) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(record).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))
}

fn written(result: Result<Written<Bytes>, WriteError<Bytes>>) -> Answer {
    match result {
        Ok(written) => {
            let status = if written.kept { "wtcache; fwd=method; stored" } else { "wtcache; fwd=method" };
            let response = written.entry.as_ref().map_or_else(no_content, record);
            Answer::new(applied(response), HeaderValue::from_static(status), "written")
        }
        Err(error) => failed(&error),
    }
}

fn applied(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(OUTCOME, HeaderValue::from_static("applied"));
    response
}

fn failed(error: &WriteError<Bytes>) -> Answer {
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
