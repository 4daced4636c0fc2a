//! Reading what the origin answered, within bounds, and keeping its refusals for the caller.
//!
//! Invariant: no body is read or decoded past its limit, and a body that was cut short is never taken for a whole one.

use std::error::Error;
use std::fmt;
use std::io::Read;
use std::time::{Duration, SystemTime};

use ureq::Body;
use ureq::http::{Response, header};
use wtcache::{Failure, SourceError, Version};

use crate::coding::{Coding, Undecoded};
use crate::{freshness, headers};

/// As much of an answer that is no record as is kept for the caller.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// What the origin answered where it gave no record: the cause of the [`SourceError`], unchanged.
///
/// ```
/// use std::error::Error;
/// use wtcache::SourceError;
/// use wtcache_http_source::OriginAnswer;
///
/// fn status_of(error: &SourceError) -> Option<u16> {
///     error.source()?.downcast_ref::<OriginAnswer>().map(|answer| answer.status)
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginAnswer {
    /// The status.
    pub status: u16,
    /// The body's type, as the origin named it.
    pub content_type: Option<String>,
    /// The body, decoded: its first 64 KiB, or as much of them as came.
    pub body: Vec<u8>,
    /// The body is longer than what is kept of it, or ended early, or could not be decoded.
    pub truncated: bool,
    /// When the origin may be asked again.
    pub retry_after: Option<Duration>,
    /// The ETag. Of a 409 or 412 whose body is the record as it stands at the origin, that record's.
    pub version: Option<Version>,
}

impl fmt::Display for OriginAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the origin answered {}", self.status)
    }
}

impl fmt::Debug for OriginAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginAnswer")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("body_bytes", &self.body.len())
            .field("truncated", &self.truncated)
            .field("retry_after", &self.retry_after)
            .field("version", &self.version)
            .finish()
    }
}

impl Error for OriginAnswer {}

/// Why a body is not a whole one.
#[derive(Debug)]
pub(crate) enum Unread {
    TooLarge,
    /// It is so only decoded: it may be a decompression bomb.
    TooLargeDecoded,
    /// Its coding; what is wrong with it.
    Coded(String),
    Broken(std::io::Error),
}

/// The whole body, decoded, where that is at most `limit` bytes.
pub(crate) fn read_whole(response: &mut Response<Body>, limit: usize) -> Result<Vec<u8>, Unread> {
    let coding = Coding::of(response.headers());
    let longest = coding.longest(limit);
    let length = response.body().content_length().map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    if length.is_some_and(|length| length > longest) {
        return Err(Unread::TooLarge);
    }
    let mut body = Vec::with_capacity(length.unwrap_or(0));
    // One byte more than the limit tells a body that is too large; read to its end, the connection can be used again.
    let mut reader = response.body_mut().as_reader().take((longest as u64).saturating_add(1));
    reader.read_to_end(&mut body).map_err(Unread::Broken)?;
    if body.len() > longest {
        return Err(Unread::TooLarge);
    }
    coding.decode(body, limit).map_err(|why| match why {
        Undecoded::TooLarge => Unread::TooLargeDecoded,
        Undecoded::Broken(why) => Unread::Coded(why),
    })
}

/// Reads a body that nobody wants, so that the connection can be used again, where it is short.
pub(crate) fn drain(response: &mut Response<Body>) {
    let _ = read_some(response);
}

/// The error that hands an answer to the caller. `operation` is the method.
pub(crate) fn into_error(failure: Failure, operation: &str, mut response: Response<Body>) -> SourceError {
    let status = response.status().as_u16();
    let headers = response.headers();
    let retry_after = freshness::retry_after(headers, SystemTime::now());
    let version = headers::etag(headers);
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (body, truncated) = read_kept(&mut response);
    let mut error =
        SourceError::new(failure, format!("{operation}: the origin answered {status}")).with_code(status.into());
    if let Some(after) = retry_after {
        error = error.with_retry_after(after);
    }
    error.with_cause(OriginAnswer { status, content_type, body, truncated, retry_after, version })
}

fn read_kept(response: &mut Response<Body>) -> (Vec<u8>, bool) {
    let (body, cut) = read_some(response);
    let (mut body, undecoded) = match Coding::of(response.headers()) {
        Coding::Identity => (body, None),
        // Servers name a coding of bodies that are empty, too.
        _ if body.is_empty() => (body, None),
        coding => coding.begin(&body, MAX_KEPT_BYTES),
    };
    let truncated = cut || undecoded.is_some() || body.len() > MAX_KEPT_BYTES;
    body.truncate(MAX_KEPT_BYTES);
    (body, truncated)
}

/// As it came: as many bytes as are kept and one more, and whether there is more, or it broke.
fn read_some(response: &mut Response<Body>) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    let mut reader = response.body_mut().as_reader().take(MAX_KEPT_BYTES as u64 + 1);
    let broken = reader.read_to_end(&mut body).is_err();
    let longer = body.len() > MAX_KEPT_BYTES;
    (body, broken || longer)
}
