//! A request's body: read up to a bound and decoded, or let go in a way that the client gets to see its answer.
//!
//! Invariant: no more of a body is held than its limit, decoded or not (but for what a coding adds to what it cannot shorten, and its window), and no more
//! is read past it than [`DRAINED_BYTES`].

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use wtcache_http_source::{Coding, Undecoded};

use crate::diagnostic::shown;
use crate::problem::Problem;

/// What is read of a body that nobody wants: a connection that is closed with bytes unread is reset, and a client that
/// sends all before it reads would see the reset instead of the answer.
const DRAINED_BYTES: usize = 8 * 1024 * 1024;

/// The codings that are decoded here (RFC 9110 §15.5.16).
const TAKEN: &str = "gzip, br";

/// How long that may take.
const DRAINED_FOR: Duration = Duration::from_secs(5);

/// Why a body was not read whole.
enum BodyFailure {
    TooLarge,
    Late,
    Broken(String),
}

/// A body on its way in.
pub(crate) struct Incoming {
    body: Body,
    announced: Option<usize>,
    /// How long it may take to come whole.
    limit: Duration,
    /// The client sends it only once it is asked to, which is done by the first read.
    waits: bool,
    coding: Coding,
}

impl Incoming {
    pub(crate) fn new(headers: &HeaderMap, body: Body, limit: Duration) -> Self {
        let coding = Coding::of(headers);
        if body.is_end_stream() {
            return Self { body, announced: None, limit, waits: false, coding };
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let announced = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        Self { body, announced, limit, waits: headers.contains_key(EXPECT), coding }
    }

    /// The whole body, of `limit` bytes at most.
    async fn read(&mut self, limit: usize) -> Result<Vec<u8>, BodyFailure> {
        if self.announced.is_some_and(|length| length > limit) {
            return Err(BodyFailure::TooLarge);
        }
        self.waits = false;
        let mut whole = Vec::with_capacity(self.announced.unwrap_or(0));
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| BodyFailure::Broken(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > limit - whole.len() {
                return Err(BodyFailure::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    }

    /// The whole body, decoded, or the problem for the client. `taker` is who takes no more than `limit` bytes.
    pub(crate) async fn read_whole(&mut self, limit: usize, taker: &str) -> Result<Vec<u8>, Problem> {
        if let Coding::Other(name) = &self.coding {
            let detail =
                format!("a body is taken as it is or with the Content-Encoding gzip or br, not with {}", shown(name));
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
            return Err(problem.header(ACCEPT_ENCODING, HeaderValue::from_static(TAKEN)));
        }
        let too_large = |what: &str| {
            let detail = format!("the body{what} is larger than the {limit} bytes that {taker} takes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        };
        let (most, longest) = (self.limit, self.coding.longest(limit));
        let read = tokio::time::timeout(most, self.read(longest)).await.unwrap_or(Err(BodyFailure::Late));
        let body = read.map_err(|failure| match failure {
            BodyFailure::Late => {
                let detail = format!("the body took longer than {} ms", most.as_millis());
                Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
            }
            BodyFailure::TooLarge => too_large(""),
            BodyFailure::Broken(why) => Problem::new(StatusCode::BAD_REQUEST, format!("the body broke off: {why}")),
        })?;
        if self.coding == Coding::Identity {
            return Ok(body);
        }
        let coding = self.coding.clone();
        // Off the threads that serve: a few bytes may say as much as the limit allows.
        let decoded = tokio::task::spawn_blocking(move || coding.decode(body, limit)).await;
        let decoded = decoded.map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending"))?;
        decoded.map_err(|why| match why {
            Undecoded::TooLarge => too_large(", decoded,"),
            Undecoded::Broken(why) => Problem::new(StatusCode::BAD_REQUEST, format!("the body: {why}")),
        })
    }

    /// Whether there is none, or nothing of it is left.
    pub(crate) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Lets go of what was not read.
    pub(crate) async fn end(&mut self) {
        if self.waits || self.body.is_end_stream() || self.announced.is_some_and(|length| length > DRAINED_BYTES) {
            return;
        }
        let drain = async {
            let mut left = DRAINED_BYTES;
            while let Some(Ok(frame)) = self.body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len()));
                if left == 0 {
                    return;
                }
            }
        };
        // Late or not: the answer is sent now.
        let _ = tokio::time::timeout(DRAINED_FOR.min(self.limit), drain).await;
    }
}
