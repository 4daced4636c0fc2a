//! Where a request comes in and its answer goes out: the format of the answer, and the tags that belong to it.
//!
//! Behind the door there is one representation of a record, its JSON, with one tag. Invariants: a tag that leaves in another format says
//! so, and comes in again as the record's own where it is this format's; whoever makes a write conditional may use the tag of any.

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::Value;

use super::coding::{self, Codings};
use super::{Format, OFFERS, Offer, accept, csv, encode};
use crate::etag;
use crate::problem::Problem;

/// With a response whose body is what was asked of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct One;

/// The way of one request.
pub(crate) struct Door {
    offer: Offer,
    /// It is about records, which come in several formats; what the server says of itself does not.
    varies: bool,
    reads: bool,
    codings: Codings,
}

impl Door {
    /// Finds out what the client wants, and takes its tags to those of the records.
    ///
    /// # Errors
    /// 406: it wants none of the formats.
    pub(crate) fn enter(request: &mut Parts, compress: Option<usize>) -> Result<Self, Problem> {
        let codings = Codings::enter(request, compress);
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        if request.uri.path().starts_with("/-/") {
            return Ok(Self { offer: OFFERS[0], varies: false, reads, codings });
        }
        let offer = accept::chosen(&request.headers).map_err(|problem| problem.header(VARY, ACCEPT))?;
        if reads && offer.format != Format::Json {
            take(&mut request.headers, &IF_NONE_MATCH, |tag| bare(tag, offer.format).into_iter().collect());
        }
        if reads {
            // A condition is of the record, whatever it is shown as.
            take_formats(&mut request.headers, &IF_MATCH);
        } else {
            take_conditions(&mut request.headers);
        }
        Ok(Self { offer, varies: true, reads, codings })
    }

    /// The answer as the client wants it.
    pub(crate) async fn leave(self, mut response: Response<Body>) -> Response<Body> {
        self.vary(response.headers_mut());
        let response = self.formatted(response).await;
        self.codings.leave(response).await
    }

    /// Whether answers leave as they are, but for [`vary`](Self::vary).
    pub(crate) fn is_plain(&self) -> bool {
        self.offer.format == Format::Json && !self.codings.are_taken()
    }

    /// Says what the answer would be another by.
    pub(crate) fn vary(&self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, ACCEPT);
        }
        if self.codings.vary() {
            headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        }
    }

    async fn formatted(&self, mut response: Response<Body>) -> Response<Body> {
        if !self.varies || self.offer.format == Format::Json {
            return response;
        }
        if response.status() == StatusCode::NOT_MODIFIED {
            response.headers_mut().remove(CONTENT_LENGTH);
            self.tag(response.headers_mut());
            return response;
        }
        let is_record = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == OFFERS[0].kind);
        if !response.status().is_success() || !is_record {
            return response;
        }
        let (mut head, body) = response.into_parts();
        // It was made here, whole.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        match self.encoded(&body, head.extensions.get::<One>().is_some()) {
            Ok((body, kind)) => {
                head.headers.remove(CONTENT_LENGTH);
                head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                self.tag(&mut head.headers);
                Response::from_parts(head, Body::from(body))
            }
            Err(why) if self.reads => {
                let detail = format!("this cannot be had as {}: {why}; ask for application/json", self.offer.kind);
                let mut response = Problem::new(StatusCode::NOT_ACCEPTABLE, detail).response();
                self.vary(response.headers_mut());
                response
            }
            // A write stands as it ended, and its answer says that it is JSON.
            Err(_) => Response::from_parts(head, Body::from(body)),
        }
    }

    fn encoded(&self, json: &[u8], one: bool) -> Result<(Vec<u8>, &'static str), String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let kind = self.offer.kind;
        match self.offer.format {
            Format::Json => Ok((json.to_vec(), kind)),
            Format::Cbor => Ok((encode::cbor(&value)?, kind)),
            Format::MessagePack => Ok((encode::message_pack(&value)?, kind)),
            Format::Csv => Ok(match csv::text(&value, one) {
                (text, true) => (text, "text/csv; charset=utf-8; header=present"),
                (text, false) => (text, "text/csv; charset=utf-8; header=absent"),
            }),
        }
    }

    /// Says of the tag that it is one of this format.
    fn tag(&self, headers: &mut HeaderMap) {
        let Some(inner) = headers.get(ETAG).and_then(|tag| tag.as_bytes().strip_suffix(b"\"")) else { return };
        let tag = [inner, self.offer.format.suffix()].concat();
        if let Ok(tag) = HeaderValue::from_bytes(&tag) {
            headers.insert(ETAG, tag);
        }
    }
}

const ACCEPT: HeaderValue = HeaderValue::from_static("accept");

/// Takes the tags of a write's conditions, which may be of any format, to those of the records.
pub(crate) fn take_conditions(headers: &mut HeaderMap) {
    for name in [IF_MATCH, IF_NONE_MATCH] {
        take_formats(headers, &name);
    }
}

fn take_formats(headers: &mut HeaderMap, name: &HeaderName) {
    take(headers, name, |tag| {
        let formats = |tag: &[u8]| {
            let own = [Format::Cbor, Format::MessagePack, Format::Csv].into_iter();
            own.filter_map(|format| bare(tag, format)).chain([tag.to_vec()]).collect::<Vec<_>>()
        };
        let uncoded = coding::bare(tag);
        uncoded.iter().flat_map(|tag| formats(tag)).chain(formats(tag)).collect()
    });
}

/// The record's tag, if this is one of the format.
fn bare(tag: &[u8], format: Format) -> Option<Vec<u8>> {
    tag.strip_suffix(format.suffix()).map(|inner| [inner, b"\""].concat())
}

/// Puts other tags in the place of each in these lines; a `*` stays. What is no list of tags stays too, to be refused.
pub(super) fn take(headers: &mut HeaderMap, name: &HeaderName, others: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    let tags: Vec<&[u8]> = lines.iter().flat_map(|line| etag::list(line.as_bytes())).collect();
    if tags.is_empty() || !tags.iter().all(|tag| etag::is_tag(tag)) {
        return;
    }
    let taken: Vec<Vec<u8>> = tags.into_iter().flat_map(others).collect();
    match HeaderValue::from_bytes(&taken.join(b", ".as_slice())) {
        Ok(line) if !taken.is_empty() => headers.insert(name, line),
        _ => headers.remove(name),
    };
}
