//! `POST /{Table}/`: a record that the origin makes, and whose key it names.
//!
//! The front adds no key, and takes none away: with or without one, the body goes to the origin as it is, and its answer decides. Invariant: what is
//! wrong with a request is said before the origin is called; an answer says whether a record was made, certainly not, or nobody can know.

use axum::body::Body;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use wtcache::{Bytes, Call, CreateError, Created, Failure, SourceError, WriteError};

use crate::answer::{Answer, header, no_content, record};
use crate::format::Sent;
use crate::incoming::Incoming;
use crate::problem::{OUTCOME, Outcome, Problem};
use crate::table::ServedTable;
use crate::write::{bad_body, bytes_of, failed};

/// Says that a record was made, and that the origin's answer did not tell its key.
const KEY: HeaderName = HeaderName::from_static("wtcache-key");

/// What stands in a path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) async fn create(table: &ServedTable, headers: &HeaderMap, body: &mut Incoming) -> Answer {
    let value = async {
        if headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH) {
            let detail =
                "a record that the origin names cannot be made on a condition; put it under a key: PUT /{Table}/{key}";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let sent = Sent::record(headers)?;
        let body = body.read_whole(table.max_body_bytes, &table.schema.name).await?;
        let body = sent.json(body, table.max_body_bytes)?;
        bytes_of(&table.schema.check_new(&body).map_err(|error| bad_body(&error))?)
    };
    let value = match value.await {
        Ok(value) => value,
        Err(problem) => return Answer::refused(&Method::POST, problem.outcome(Outcome::Rejected)),
    };
    match table.cache.create(value, &Call::new()).await {
        Ok(created) => made(&table.schema.name, &created),
        Err(CreateError::Rejected(rejection)) => failed(&WriteError::Rejected(rejection)),
        Err(CreateError::NotSent(why)) => failed(&WriteError::NotSent(why)),
        Err(CreateError::Unknown(cause)) => unknown(&cause),
        Err(other) => {
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, other.to_string());
            Answer::new(problem.response(), HeaderValue::from_static("wtcache; fwd=method"), "failed")
        }
    }
}

fn made(table: &str, created: &Created<Bytes>) -> Answer {
    let mut response: Response<Body> = created.entry.clone().map_or_else(no_content, record);
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(OUTCOME, HeaderValue::from_static("applied"));
    // A key that is no text has no path here.
    match created.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) {
        Some(key) => {
            headers.insert(LOCATION, header(&format!("/{table}/{}", utf8_percent_encode(key, SEGMENT))));
        }
        None => {
            headers.insert(KEY, HeaderValue::from_static("unknown"));
        }
    }
    let status = if created.kept { "wtcache; fwd=method; stored" } else { "wtcache; fwd=method" };
    Answer::new(response, HeaderValue::from_static(status), "created")
}

fn unknown(cause: &SourceError) -> Answer {
    let status = match cause.failure() {
        Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let detail = format!(
        "nobody can know whether the origin made a record, and no key is in doubt, since none is known: {}",
        cause.message()
    );
    let forwarded = match cause.code() {
        Some(code) => header(&format!("wtcache; fwd=method; fwd-status={code}")),
        None => HeaderValue::from_static("wtcache; fwd=method"),
    };
    let problem = Problem::new(status, detail).outcome(Outcome::Unknown).origin_status(cause.code());
    Answer::new(problem.response(), forwarded, "unknown")
}
