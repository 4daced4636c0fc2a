//! Content codings (RFC 9110 §8.4.1): large answers to reads, compressed for clients that take it.
//!
//! Outermost at the door: what is compressed is a representation of its own, whose tag says so behind the format's. Invariants: a tag that left with a
//! coding comes in again as the one without, for clients that take it now; what is not compressed has no trace of this but Vary.

use std::io::Write;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::accept::thousandths;
use super::door::take;
use crate::etag;

/// What the tag of a compressed answer ends in.
const SUFFIX: &[u8] = b";gzip\"";

/// Fast: an answer is compressed for one client, and not kept.
const LEVEL: Compression = Compression::fast();

/// So many bytes are compressed on the thread that serves; more elsewhere.
const AT_ONCE: usize = 32 * 1024;

/// What may be done with the body of one answer.
pub(super) struct Coding {
    /// The answer is to a read, and compression is on: it varies.
    varies: bool,
    /// Bodies of so many bytes are compressed; `None`: none are, for this client.
    least: Option<usize>,
    /// Tags of compressed answers that the client has, as it wrote them.
    held: Vec<Vec<u8>>,
}

impl Coding {
    /// `least`: how large a body has to be, where compression is on.
    pub(super) fn enter(request: &mut Parts, least: Option<usize>) -> Self {
        let varies = least.is_some() && matches!(request.method, Method::GET | Method::HEAD);
        let least = least.filter(|_| varies && takes_gzip(&request.headers));
        let mut held = Vec::new();
        if least.is_some() {
            let lines = request.headers.get_all(IF_NONE_MATCH).iter();
            held = lines
                .flat_map(|line| etag::list(line.as_bytes()))
                .filter(|tag| bare(tag).is_some())
                .map(<[u8]>::to_vec)
                .collect();
            if !held.is_empty() {
                take(&mut request.headers, &IF_NONE_MATCH, |tag| vec![bare(tag).unwrap_or_else(|| tag.to_vec())]);
            }
        }
        Self { varies, least, held }
    }

    pub(super) async fn leave(self, mut response: Response<Body>) -> Response<Body> {
        if !self.varies {
            return response;
        }
        response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
        let Some(least) = self.least else { return response };
        if response.status() == StatusCode::NOT_MODIFIED {
            // What the client has stays what it has.
            let coded = response.headers().get(ETAG).and_then(coded);
            if let Some(coded) = coded.filter(|coded| self.held.iter().any(|tag| etag::is_weakly(tag, coded))) {
                response.headers_mut().insert(ETAG, coded);
                response.headers_mut().remove(CONTENT_LENGTH);
            }
            return response;
        }
        let is_large = response.body().size_hint().exact().is_some_and(|length| length >= least as u64);
        if response.status() != StatusCode::OK || !is_large || !response.headers().contains_key(CONTENT_TYPE) {
            return response;
        }
        let (mut head, body) = response.into_parts();
        // It was made here, whole.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let zipped = if body.len() <= AT_ONCE {
            gzip(&body)
        } else {
            let body = body.clone();
            tokio::task::spawn_blocking(move || gzip(&body)).await.unwrap_or_default()
        };
        if zipped.is_empty() || zipped.len() >= body.len() {
            return Response::from_parts(head, Body::from(body));
        }
        if let Some(tag) = head.headers.get(ETAG).and_then(coded) {
            head.headers.insert(ETAG, tag);
        }
        head.headers.remove(CONTENT_LENGTH);
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Response::from_parts(head, Body::from(zipped))
    }
}

/// Compressed; empty where that failed.
fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), LEVEL);
    encoder.write_all(body).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// The tag without the coding, if it is that of a compressed answer.
pub(super) fn bare(tag: &[u8]) -> Option<Vec<u8>> {
    tag.strip_suffix(SUFFIX).map(|inner| [inner, b"\""].concat())
}

fn coded(tag: &HeaderValue) -> Option<HeaderValue> {
    let inner = tag.as_bytes().strip_suffix(b"\"")?;
    HeaderValue::from_bytes(&[inner, SUFFIX].concat()).ok()
}

/// Whether the client would have gzip no less than the answer as it is (§12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for line in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok()) {
        for member in line.split(',') {
            let (name, weight) = member.split_once(';').unwrap_or((member, ""));
            let (key, value) = weight.split_once('=').unwrap_or((weight, ""));
            let worth = match key.trim() {
                "" => Some(1000),
                "q" | "Q" => thousandths(value.trim()),
                _ => None,
            };
            let Some(worth) = worth else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(worth),
                "identity" => identity = Some(worth),
                "*" => any = Some(worth),
                _ => {}
            }
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    // Not named, it is always good, and never better.
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_as_the_rfc_says() {
        for (line, taken) in [
            ("gzip", true),
            ("GZIP, deflate, br", true),
            ("x-gzip;q=0.1", true),
            ("br;q=1.0, gzip; q=0.8, *;q=0.1", true),
            ("*", true),
            ("gzip, identity", true),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=0, *", false),
            ("*;q=0", false),
            ("identity", false),
            ("br", false),
            ("gzip;q=2", false),
            ("gzip;level=9", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(line));
            assert_eq!(takes_gzip(&headers), taken, "{line}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
