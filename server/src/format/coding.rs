//! Content codings (RFC 9110 §8.4.1): large answers to reads, compressed for clients that take it.
//!
//! Outermost at the door: what is compressed is a representation of its own, whose tag says so behind the format's. Invariants: a tag that left with a
//! coding comes in again as the one without, for clients that take it now; what is not compressed has no trace of this but Vary.

use std::io::Write;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::accept::thousandths;
use super::door::take;
use crate::etag;

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Brotli,
}

/// Of two that a client would have as gladly, the first.
const CODINGS: [Coding; 2] = [Coding::Gzip, Coding::Brotli];

/// Fast: an answer is compressed for one client, and not kept.
const LEVEL: Compression = Compression::fast();

/// Likewise.
const QUALITY: u32 = 1;

/// The window of brotli, as a power of two: most answers are within it.
const WINDOW: u32 = 18;

/// So many bytes are compressed on the thread that serves; more elsewhere.
const AT_ONCE: usize = 32 * 1024;

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }

    /// What the tag of an answer that is compressed so ends in.
    fn suffix(self) -> &'static [u8] {
        match self {
            Self::Gzip => b";gzip\"",
            Self::Brotli => b";br\"",
        }
    }

    /// Compressed; empty where that failed.
    fn compress(self, body: &[u8]) -> Vec<u8> {
        let room = Vec::with_capacity(body.len() / 2);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(room, LEVEL);
                encoder.write_all(body).and_then(|()| encoder.finish()).unwrap_or_default()
            }
            Self::Brotli => {
                let mut encoder = CompressorWriter::new(room, 4096, QUALITY, WINDOW);
                encoder.write_all(body).map_or_else(|_| Vec::new(), |()| encoder.into_inner())
            }
        }
    }

    fn tagged(self, tag: &HeaderValue) -> Option<HeaderValue> {
        let inner = tag.as_bytes().strip_suffix(b"\"")?;
        HeaderValue::from_bytes(&[inner, self.suffix()].concat()).ok()
    }

    /// The tag without the coding, if it is that of an answer that was compressed so.
    fn bare(self, tag: &[u8]) -> Option<Vec<u8>> {
        tag.strip_suffix(self.suffix()).map(|inner| [inner, b"\""].concat())
    }
}

/// What may be done with the body of one answer.
pub(super) struct Codings {
    /// The answer is to a read, and compression is on: it varies.
    varies: bool,
    /// Bodies of so many bytes are compressed.
    least: usize,
    /// Those that this client would have, the best first; none where nothing is compressed.
    taken: Vec<Coding>,
    /// Tags of compressed answers that the client has, as it wrote them.
    held: Vec<Vec<u8>>,
}

impl Codings {
    /// `least`: how large a body has to be, where compression is on.
    pub(super) fn enter(request: &mut Parts, least: Option<usize>) -> Self {
        let varies = least.is_some() && matches!(request.method, Method::GET | Method::HEAD);
        let taken = if varies { taken(&request.headers) } else { Vec::new() };
        let mut held = Vec::new();
        if !taken.is_empty() {
            let bare = |tag: &[u8]| taken.iter().find_map(|coding| coding.bare(tag));
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
        Self { varies, least: least.unwrap_or(0), taken, held }
    }

    /// Whether answers may be compressed for this client.
    pub(super) fn are_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Whether the answer may be another by Accept-Encoding.
    pub(super) fn vary(&self) -> bool {
        self.varies
    }

    pub(super) async fn leave(self, mut response: Response<Body>) -> Response<Body> {
        let Some(best) = self.taken.first().copied() else { return response };
        if response.status() == StatusCode::NOT_MODIFIED {
            // What the client has stays what it has.
            let tag = response.headers().get(ETAG);
            let mut tagged = self.taken.iter().filter_map(|coding| coding.tagged(tag?));
            let is_held = |tagged: &HeaderValue| self.held.iter().any(|tag| etag::is_weakly(tag, tagged));
            if let Some(tagged) = tagged.find(is_held) {
                response.headers_mut().insert(ETAG, tagged);
                response.headers_mut().remove(CONTENT_LENGTH);
            }
            return response;
        }
        let is_large = response.body().size_hint().exact().is_some_and(|length| length >= self.least as u64);
        if response.status() != StatusCode::OK || !is_large || !response.headers().contains_key(CONTENT_TYPE) {
            return response;
        }
        let (mut head, body) = response.into_parts();
        // It was made here, whole.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let compressed = if body.len() <= AT_ONCE {
            best.compress(&body)
        } else {
            let body = body.clone();
            tokio::task::spawn_blocking(move || best.compress(&body)).await.unwrap_or_default()
        };
        if compressed.is_empty() || compressed.len() >= body.len() {
            return Response::from_parts(head, Body::from(body));
        }
        if let Some(tag) = head.headers.get(ETAG).and_then(|tag| best.tagged(tag)) {
            head.headers.insert(ETAG, tag);
        }
        head.headers.remove(CONTENT_LENGTH);
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(best.name()));
        Response::from_parts(head, Body::from(compressed))
    }
}

/// The tag without the coding, if it is that of a compressed answer.
pub(super) fn bare(tag: &[u8]) -> Option<Vec<u8>> {
    CODINGS.into_iter().find_map(|coding| coding.bare(tag))
}

/// The codings that the client would have no less than the answer as it is (§12.5.3), the best first.
fn taken(headers: &HeaderMap) -> Vec<Coding> {
    let (mut named, mut identity, mut any) = ([None; CODINGS.len()], None, None);
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
            let name = name.trim().to_ascii_lowercase();
            let name = if name == "x-gzip" { "gzip" } else { name.as_str() };
            match CODINGS.iter().position(|coding| coding.name() == name) {
                Some(place) => named[place] = Some(worth),
                None if name == "identity" => identity = Some(worth),
                None if name == "*" => any = Some(worth),
                None => {}
            }
        }
    }
    let worth = |place: usize| named[place].or(any).unwrap_or(0);
    let mut places: Vec<usize> = (0..CODINGS.len()).collect();
    // Not named, the answer as it is is always good, and never better.
    places.retain(|place| worth(*place) > 0 && worth(*place) >= identity.unwrap_or(0));
    places.sort_by_key(|place| std::cmp::Reverse(worth(*place)));
    places.into_iter().map(|place| CODINGS[place]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_taken_as_the_rfc_says() {
        for (line, expected) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("GZIP, deflate, BR", "gzip br"),
            ("br, gzip", "gzip br"),
            ("gzip;q=0.9, br", "br gzip"),
            ("x-gzip;q=0.1", "gzip"),
            ("br;q=1.0, gzip; q=0.8, *;q=0.1", "br gzip"),
            ("*", "gzip br"),
            ("*, gzip;q=0", "br"),
            ("gzip, identity", "gzip"),
            ("gzip;q=0.5, identity", ""),
            ("gzip;q=0.5, br, identity;q=0.7", "br"),
            ("gzip;q=0, br;q=0, *", ""),
            ("*;q=0", ""),
            ("identity", ""),
            ("zstd, deflate", ""),
            ("gzip;q=2", ""),
            ("gzip;level=9", ""),
            ("", ""),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(line));
            let names: Vec<&str> = taken(&headers).into_iter().map(Coding::name).collect();
            assert_eq!(names.join(" "), expected, "{line}");
        }
        assert!(taken(&HeaderMap::new()).is_empty());
    }
}
