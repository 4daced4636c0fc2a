//! Queries: `/{Table}/?attribute=value`, of resident records by index, `/{Table}/?id=a,b,c`, of the records of these keys,
//! `/{Table}/?…&passthrough`, of the origin's list, and what is asked of one record beside its key.
//!
//! Owns what is answered to them, and what the answer says of what it lacks. Invariant: every record of an answer is as it was asked for
//! and may be served; what should have been looked at and was not is counted in Wtcache-Left-Out, and no failure stands among the records.

mod filter;
mod gather;
mod of_record;
mod parse;
mod passthrough;
mod range;
mod shape;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use wtcache::LoadError;

pub(crate) use self::of_record::OfRecord;
use self::parse::Asked;
pub(crate) use self::passthrough::Passthrough;
use crate::answer::{Answer, header, json};
use crate::asked::Asked as Wants;
use crate::pending::marked;
use crate::problem::{self, Problem};
use crate::table::ServedTable;

const COMPLETE: HeaderName = HeaderName::from_static("wtcache-complete");
const LEFT_OUT: HeaderName = HeaderName::from_static("wtcache-left-out");

pub(crate) async fn answer(table: &ServedTable, query: Option<&str>, wants: &Wants) -> Answer {
    if let Some(query) = query.and_then(passthrough::own) {
        return passthrough::answer(table, query, wants).await;
    }
    let asked = match parse::query(&table.schema, query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(problem) => return Answer::refused(&Method::GET, problem),
    };
    match &asked.of {
        Asked::Nothing => Answer::refused(&Method::GET, no_index(table, "a query has a condition")),
        Asked::Keys(keys) => {
            let batch = gather::by_keys(table, keys, wants, asked.confirmed).await;
            let status = match batch.loaded {
                0 => HeaderValue::from_static("wtcache; hit; detail=batch"),
                _ => HeaderValue::from_static("wtcache; fwd=miss; detail=batch"),
            };
            if batch.entries.is_empty() && batch.absent == 0 {
                return match batch.failure {
                    Some(error) => Answer::new(problem::of_load(&error), status, "failed"),
                    None => not_resident("none of these records is resident, and fresh enough for what was asked"),
                };
            }
            let left_out = format!("absent={}, failed={}", batch.absent, batch.failed);
            let response = shape::response(&asked, batch.entries);
            let answer = Answer::new(told(response, batch.failed == 0, &left_out), status, "batch");
            if batch.pending { marked(answer, None) } else { answer }
        }
        Asked::Filter(filter) => {
            let Some(found) = gather::by_index(table, filter, wants).await else {
                let why = "no condition can be looked up: that is a value, a range or a beginning (=, =gt=, =sw= …) of an \
                           indexed attribute, on each side of a |";
                return Answer::refused(&Method::GET, no_index(table, why));
            };
            let status = match found.loaded {
                0 => HeaderValue::from_static("wtcache; hit; detail=index"),
                _ => HeaderValue::from_static("wtcache; fwd=stale; detail=index"),
            };
            if let Some(error) = found.failure.filter(|_| found.all_failed) {
                return Answer::new(problem::of_load(&error), status, "failed");
            }
            let in_doubt = table.cache().stats().in_doubt;
            let left_out = format!("expired={}, failed={}, in-doubt={in_doubt}", found.not_tried, found.failed);
            let response = shape::response(&asked, found.entries);
            Answer::new(told(response, false, &left_out), status, "index")
        }
    }
}

fn told(body: Vec<u8>, complete: bool, left_out: &str) -> Response<Body> {
    let mut response = json(body);
    let headers = response.headers_mut();
    headers.insert(COMPLETE, HeaderValue::from_static(if complete { "?1" } else { "?0" }));
    headers.insert(LEFT_OUT, header(left_out));
    response
}

/// To a client that takes nothing of the origin.
fn not_resident(why: &str) -> Answer {
    let response = Problem::new(StatusCode::GATEWAY_TIMEOUT, why).response();
    Answer::new(response, HeaderValue::from_static("wtcache; detail=only-if-cached"), "not here")
}

/// The first failure is told where there is nothing else to tell.
type FirstFailure = Option<LoadError>;

/// Nothing is looked for by going through all that is here.
fn no_index(table: &ServedTable, why: &str) -> Problem {
    let schema = &table.schema;
    let indexed: Vec<&str> = schema.attributes.iter().filter(|a| a.indexed).map(|a| a.name.as_str()).collect();
    let (name, key) = (&schema.name, &schema.primary_key);
    let mut detail = match indexed.as_slice() {
        [] => format!("{why}; {name} has no @indexed attribute: name records, by ?{key}=one,other or /{name}/{{key}}"),
        names => format!(
            "{why}; ask by an indexed attribute ({}), or name records, by ?{key}=one,other or /{name}/{{key}}",
            names.join(", ")
        ),
    };
    if table.passthrough.is_some() {
        detail.push_str(", or ask the origin's list, by ?passthrough");
    }
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
