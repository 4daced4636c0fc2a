//! An answer, and the ways it can be put on the wire.
//!
//! Owns: status, headers and body of one answer, and the bytes they become, also the deliberately wrong ones.
//! Never: decides what to answer, or reads.
//! Invariant: unless a fault asks for it, the framing is right: a body exactly as long as its Content-Length, and none at
//! all after 1xx, 204 and 304 or for HEAD.

use std::io::{self, Write};
use std::time::SystemTime;

use serde_json::{Value, json};

/// What the origin answers: a status, headers and a body.
///
/// ```
/// use wtcache_origin::Answer;
/// let overloaded = Answer::new(503).header("Retry-After", "2").body("come back later");
/// assert_eq!(overloaded.status(), 503);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// An answer with this status, no headers of its own and no body.
    ///
    /// # Panics
    /// If the status does not have three digits.
    #[must_use]
    pub fn new(status: u16) -> Self {
        assert!((100..=999).contains(&status), "a status has three digits, not {status}");
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header. A `Content-Length` or `Transfer-Encoding` given here replaces the one that would be written.
    ///
    /// # Panics
    /// If the name is not a token or the value has control characters.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        assert!(header_is_sound(&name, &value), "not a header: {name:?}: {value:?}");
        self.headers.push((name, value));
        self
    }

    /// Sets the body, as is: no Content-Type is added. Not sent with a status that has no body (204, 304).
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body and its Content-Type.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.header("Content-Type", "application/json").body(value.to_string())
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body, where it is text.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok().filter(|text| !text.is_empty())
    }

    /// The origin's own refusals: `{"error": …}`.
    pub(crate) fn error(status: u16, message: impl AsRef<str>) -> Self {
        Self::new(status).json(&json!({ "error": message.as_ref() }))
    }

    fn may_have_body(&self) -> bool {
        self.status >= 200 && self.status != 204 && self.status != 304
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// The status line and the headers, with `framing` in place of the headers that tell where the body ends.
    fn head(&self, framing: &str, close: bool) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nDate: {}\r\n",
            self.status,
            reason(self.status),
            httpdate::fmt_http_date(SystemTime::now())
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(framing);
        if close && !self.has_header("connection") {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The answer as it should be, in one write.
    pub(crate) fn write(&self, out: &mut impl Write, head_only: bool, close: bool) -> io::Result<()> {
        let framed = self.has_header("content-length") || self.has_header("transfer-encoding");
        let framing = if framed || !self.may_have_body() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", self.body.len())
        };
        let mut bytes = self.head(&framing, close);
        if !head_only && self.may_have_body() {
            bytes.extend_from_slice(&self.body);
        }
        out.write_all(&bytes)
    }

    /// The same with a status that has a body, for a fault that needs one to bite: 204 and 304 become 200.
    pub(crate) fn with_room_for_body(mut self) -> Self {
        if !self.may_have_body() {
            self.status = 200;
        }
        self
    }

    /// Promises the whole body and sends the first half. The caller closes.
    pub(crate) fn write_truncated(&self, out: &mut impl Write) -> io::Result<()> {
        let promised = self.body.len().max(2);
        let mut bytes = self.head(&format!("Content-Length: {promised}\r\n"), false);
        bytes.extend_from_slice(&self.body[..self.body.len() / 2]);
        out.write_all(&bytes)
    }

    /// Sends the body byte by byte; `pause` waits between two bytes and says whether to go on.
    pub(crate) fn write_slowly(
        &self,
        out: &mut impl Write,
        close: bool,
        mut pause: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let framing = format!("Content-Length: {}\r\n", self.body.len());
        out.write_all(&self.head(&framing, close))?;
        for byte in &self.body {
            if !pause() {
                return Err(io::Error::other("the origin stopped in the middle of a body"));
            }
            out.write_all(std::slice::from_ref(byte))?;
        }
        Ok(())
    }

    /// One good chunk with the first half of the body, then a size line that is none. The caller closes.
    pub(crate) fn write_broken_chunked(&self, out: &mut impl Write) -> io::Result<()> {
        let mut bytes = self.head("Transfer-Encoding: chunked\r\n", false);
        let half = &self.body[..self.body.len() / 2];
        if !half.is_empty() {
            bytes.extend_from_slice(format!("{:x}\r\n", half.len()).as_bytes());
            bytes.extend_from_slice(half);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"not-a-size\r\n");
        out.write_all(&bytes)
    }

    /// A well-formed JSON object of exactly `length` bytes (at least 14) in place of the body.
    pub(crate) fn write_oversize(&self, out: &mut impl Write, length: u64, close: bool) -> io::Result<()> {
        const OPENING: &[u8] = b"{\"padding\":\"";
        const CLOSING: &[u8] = b"\"}";
        let length = length.max(OVERSIZE_MIN);
        let framing = format!("Content-Length: {length}\r\n");
        out.write_all(&self.head(&framing, close))?;
        out.write_all(OPENING)?;
        let block = [b'x'; 16 * 1024];
        let mut left = length - OVERSIZE_MIN;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            out.write_all(&block[..now])?;
            left -= now as u64;
        }
        out.write_all(CLOSING)
    }
}

/// The length of the smallest object that [`Answer::write_oversize`] can make.
const OVERSIZE_MIN: u64 = 14;

/// RFC 9110 §5.1 and §5.5: a token, and a value without control characters (which would split the answer).
pub(crate) fn header_is_sound(name: &str, value: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token) && value.bytes().all(|b| b == b'\t' || !b.is_ascii_control())
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        207 => "Multi-Status",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_204_has_neither_length_nor_body() {
        let text = written(|out| Answer::new(204).body("x").write(out, false, false));
        assert!(text.starts_with("HTTP/1.1 204 No Content\r\n"));
        assert!(!text.contains("Content-Length") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn an_oversize_body_is_json_of_the_length_asked_for() {
        for length in [14_u64, 15, 100_000] {
            let text = written(|out| Answer::new(200).write_oversize(out, length, false));
            let body = text.split_once("\r\n\r\n").unwrap().1;
            assert_eq!(body.len() as u64, length);
            assert!(serde_json::from_str::<Value>(body).is_ok());
        }
    }

    #[test]
    fn a_header_cannot_split_the_answer() {
        assert!(header_is_sound("Retry-After", "2"));
        assert!(!header_is_sound("Retry-After", "2\r\nX: y"));
        assert!(!header_is_sound("Retry After", "2"));
    }
}
