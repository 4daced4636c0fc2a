//! Queries over resident records: `/{Table}/?attribute=value`, by index.
//!
//! Invariant: every record of an answer has the asked values and may be served; the answer says that it may be incomplete, and how
//! many records were left out.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use percent_encoding::percent_decode_str;
use wtcache::{Bytes, Entry};

use crate::problem::Problem;
use crate::table::ServedTable;

const COMPLETE: HeaderName = HeaderName::from_static("wtcache-complete");
const LEFT_OUT: HeaderName = HeaderName::from_static("wtcache-left-out");

pub(crate) fn answer(table: &ServedTable, query: Option<&str>) -> Result<Response<Body>, Problem> {
    let conditions = conditions(table, query.unwrap_or_default())?;
    let mut rows: Option<BTreeMap<Vec<u8>, Entry<Bytes>>> = None;
    let mut expired: Option<usize> = None;
    for (attribute, value) in conditions {
        let found = table.cache().find(attribute, &value);
        let Some(found) = found else { continue };
        // What all conditions would find is at most what the narrowest of them finds.
        expired = Some(expired.map_or(found.expired, |before| before.min(found.expired)));
        let mut these: BTreeMap<_, _> = found.entries.into_iter().map(|entry| (entry.key().to_vec(), entry)).collect();
        if let Some(before) = &rows {
            // The same entry by each condition: one that was replaced in between may not have the earlier value any more.
            these.retain(|key, entry| before.get(key).is_some_and(|other| std::ptr::eq(other.value(), entry.value())));
        }
        rows = Some(these);
    }
    let in_doubt = table.cache().stats().in_doubt;
    let mut body = vec![b'['];
    for (n, entry) in rows.unwrap_or_default().values().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(entry.value());
    }
    body.push(b']');
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(COMPLETE, HeaderValue::from_static("?0"));
    let left_out = format!("expired={}, in-doubt={in_doubt}", expired.unwrap_or(0));
    headers.insert(LEFT_OUT, HeaderValue::from_str(&left_out).expect("made of plain ASCII"));
    Ok(response)
}

/// The conditions of a query string: indexed attributes and the canonical bytes that their values must have.
fn conditions<'t>(table: &'t ServedTable, query: &str) -> Result<Vec<(&'t str, Vec<u8>)>, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let mut conditions = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned())
        };
        let not_utf8 = |_| bad("the query is not UTF-8 once its percent signs are decoded".to_owned());
        let (name, value) = (decode(name).map_err(not_utf8)?, decode(value).map_err(not_utf8)?);
        let Some((_, attribute)) = table.schema.attribute(&name) else {
            return Err(bad(format!("{} has no attribute {name:?}", table.schema.name)).field(Some(&name)));
        };
        if !attribute.indexed {
            let detail = format!("{name} is not @indexed, so that records cannot be found by it");
            return Err(bad(detail).field(Some(&name)));
        }
        let value = attribute.query_value(&value).map_err(|why| bad(why).field(Some(&name)))?;
        conditions.push((attribute.name.as_str(), value));
    }
    if conditions.is_empty() {
        let indexed: Vec<&str> =
            table.schema.attributes.iter().filter(|a| a.indexed).map(|a| a.name.as_str()).collect();
        let detail = match indexed.as_slice() {
            [] => format!("{} has no @indexed attribute to ask by; name a record: /{0}/{{key}}", table.schema.name),
            names => format!(
                "ask by an indexed attribute ({}), or name a record: /{}/{{key}}",
                names.join(", "),
                table.schema.name
            ),
        };
        return Err(bad(detail));
    }
    Ok(conditions)
}
