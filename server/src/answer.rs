//! An answer on its way out: the response, where it came from for the client (Cache-Status), and for whoever looks on.
//!
//! Invariant: no answer leaves without Cache-Status, and a refused write says that it was not applied.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use wtcache::{Bytes, Entry};

use crate::etag;
use crate::format::Door;
use crate::problem::{Outcome, Problem};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

pub(crate) struct Answer {
    response: Response<Body>,
    status: HeaderValue,
    /// What the request came to, in a word.
    pub(crate) what: &'static str,
}

impl Answer {
    pub(crate) fn new(response: Response<Body>, status: HeaderValue, what: &'static str) -> Self {
        Self { response, status, what }
    }

    /// The request is at fault, and the origin was not called. If it was a write, it is told that nothing was applied.
    pub(crate) fn refused(method: &Method, problem: Problem) -> Self {
        let writes = matches!(*method, Method::PUT | Method::PATCH | Method::DELETE);
        let problem = if writes { problem.outcome(Outcome::Rejected) } else { problem };
        Self::new(problem.response(), HeaderValue::from_static("wtcache; detail=invalid-request"), "refused")
    }

    /// Given by this server alone, of what it holds.
    pub(crate) fn local(response: Response<Body>, what: &'static str) -> Self {
        Self::new(response, HeaderValue::from_static("wtcache; detail=local"), what)
    }

    /// What may be asked of this path.
    pub(crate) fn options(methods: &'static str) -> Self {
        Self::local(no_content(), "options").with(ALLOW, HeaderValue::from_static(methods))
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }

    /// Takes the answer to the format that the client wants.
    pub(crate) async fn through(mut self, door: Door) -> Self {
        self.response = door.leave(self.response).await;
        self
    }

    /// The same, of a [plain](Door::is_plain) one.
    pub(crate) fn through_plain(mut self, door: &Door) -> Self {
        door.vary(self.response.headers_mut());
        self
    }

    pub(crate) fn finish(mut self) -> Response<Body> {
        self.response.headers_mut().insert(CACHE_STATUS, self.status);
        self.response
    }
}

/// A header's value made of plain ASCII.
pub(crate) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("made of plain ASCII")
}

/// A header's value that is put together on the stack, of what is known to be plain ASCII and to have room.
pub(crate) struct Line {
    bytes: [u8; 96],
    length: usize,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; 96], length: 0 }
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        let end = self.length + text.len();
        self.bytes[self.length..end].copy_from_slice(text.as_bytes());
        self.length = end;
        self
    }

    pub(crate) fn number(self, number: impl itoa::Integer) -> Self {
        self.text(itoa::Buffer::new().format(number))
    }

    pub(crate) fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.bytes[..self.length]).expect("made of plain ASCII")
    }
}

/// A record and its tag.
pub(crate) fn record(entry: Entry<Bytes>) -> Response<Body> {
    let tag = etag::of(&entry);
    tagged(entry, tag)
}

/// A record and the tag that it was found to have.
pub(crate) fn tagged(entry: Entry<Bytes>, tag: HeaderValue) -> Response<Body> {
    // Not copied: the record stays as long as it is on its way.
    let mut response = json(axum::body::Bytes::from_owner(Held(entry)));
    response.headers_mut().insert(ETAG, tag);
    response
}

/// The bytes of a record.
struct Held(Entry<Bytes>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.value()
    }
}

pub(crate) fn json(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
