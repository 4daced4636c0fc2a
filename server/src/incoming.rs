//! A request's body: read up to a bound, or let go in a way that the client gets to see its answer.
//!
//! Invariant: no more of a body is held than its limit, and no more is read past it than [`DRAINED_BYTES`].

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;

use crate::problem::Problem;

/// What is read of a body that nobody wants: a connection that is closed with bytes unread is reset, and a client that
/// sends all before it reads would see the reset instead of the answer.
const DRAINED_BYTES: usize = 8 * 1024 * 1024;

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
    /// It is compressed, or the like.
    coded: bool,
}

impl Incoming {
    pub(crate) fn new(headers: &HeaderMap, body: Body, limit: Duration) -> Self {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let announced = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let is_coding = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        let coded = headers.get_all(CONTENT_ENCODING).iter().any(is_coding);
        Self { body, announced, limit, waits: headers.contains_key(EXPECT), coded }
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

    /// The whole body, or the problem for the client. `taker` is who takes no more than `limit` bytes.
    pub(crate) async fn read_whole(&mut self, limit: usize, taker: &str) -> Result<Vec<u8>, Problem> {
        if self.coded {
            let problem =
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a body is taken without a Content-Encoding");
            return Err(problem.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        let most = self.limit;
        let read = tokio::time::timeout(most, self.read(limit)).await.unwrap_or(Err(BodyFailure::Late));
        read.map_err(|failure| match failure {
            BodyFailure::Late => {
                let detail = format!("the body took longer than {} ms", most.as_millis());
                Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
            }
            BodyFailure::TooLarge => {
                let detail = format!("the body is larger than the {limit} bytes that {taker} takes");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            BodyFailure::Broken(why) => Problem::new(StatusCode::BAD_REQUEST, format!("the body broke off: {why}")),
        })
    }

    /// Lets go of what was not read.
    pub(crate) async fn end(mut self) {
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
