//! The wire: reads requests of HTTP/1.1 from a socket.
//!
//! Hand-rolled, on httparse, because the faults need control of the socket: which byte is read before a reset, which is
//! written before a close. Owns: the socket of one connection and the bytes read ahead from it. Never: knows a route, a
//! record or a fault. Invariant: after a request was read in full, the buffer starts at the next one; after any error the
//! connection is not used again.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answer::Answer;

const HEAD_LIMIT_BYTES: usize = 64 * 1024;
const HEADER_LIMIT: usize = 100;
/// A body may have this many bytes; more is refused with 413.
pub(crate) const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// A request method, as far as the origin tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// POST
    Post,
    /// PATCH
    Patch,
    /// Any other
    Other,
}

impl Method {
    /// The method with this name; names are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// The name, `OTHER` for those without one here.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
        }
    }

    /// PUT, DELETE and the others that ask for a change.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Delete | Self::Post | Self::Patch)
    }
}

/// A request line and its headers.
pub(crate) struct Head {
    pub(crate) method: Method,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) keep_alive: bool,
    headers: Vec<(String, String)>,
}

impl Head {
    /// All values of a header, joined as a list (RFC 9110 §5.3).
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.header(name).is_some_and(|list| list.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    }

    fn framing(&self) -> Result<Framing, Unread> {
        let bad = |message| Err(Unread::Refused(Answer::error(400, message)));
        match (self.header("transfer-encoding"), self.header("content-length")) {
            (Some(_), Some(_)) => bad("both Transfer-Encoding and Content-Length"),
            (Some(coding), None) if coding.trim().eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (Some(_), None) => Err(Unread::Refused(Answer::error(501, "chunked is the only transfer coding here"))),
            (None, None) => Ok(Framing::Length(0)),
            (None, Some(list)) => {
                let mut lengths = list.split(',').map(str::trim);
                let first = lengths.next().unwrap_or_default();
                if lengths.any(|other| other != first) || !first.bytes().all(|b| b.is_ascii_digit()) {
                    return bad("Content-Length is not one number");
                }
                match first.parse() {
                    Ok(length) => Ok(Framing::Length(length)),
                    Err(_) if first.is_empty() => bad("Content-Length is empty"),
                    Err(_) => Ok(Framing::Length(usize::MAX)),
                }
            }
        }
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

/// Why there is no request.
pub(crate) enum Unread {
    /// The client left, was idle for too long, or the socket failed: nothing to say, nobody to say it to.
    Gone,
    /// The bytes are refused with this answer; the connection closes after it.
    Refused(Answer),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// One connection.
pub(crate) struct Wire {
    /// None once reset. The only strong reference, so that dropping it closes the socket.
    stream: Option<Arc<TcpStream>>,
    ahead: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: Arc<TcpStream>, idle_timeout: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(idle_timeout))?;
        stream.set_write_timeout(Some(idle_timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Some(stream), ahead: Vec::new() })
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.as_deref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Reads more bytes behind `ahead`. An end of the stream is an error here: callers want more.
    fn read_more(&mut self) -> io::Result<()> {
        let mut block = [0_u8; 8 * 1024];
        let read = self.stream()?.read(&mut block)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.ahead.extend_from_slice(&block[..read]);
        Ok(())
    }

    /// Reads up to the end of a request head.
    pub(crate) fn read_head(&mut self) -> Result<Head, Unread> {
        loop {
            if let Some((head, length)) = parse_head(&self.ahead)? {
                self.ahead.drain(..length);
                return Ok(head);
            }
            if self.ahead.len() >= HEAD_LIMIT_BYTES {
                return Err(Unread::Refused(Answer::error(431, "the request head is limited to 64 KiB")));
            }
            self.read_more()?;
        }
    }

    /// Reads the body that `head` announces, after `100 Continue` if the client waits for it.
    pub(crate) fn read_body(&mut self, head: &Head) -> Result<Vec<u8>, Unread> {
        let too_large = || Unread::Refused(Answer::error(413, "a body is limited to 1 MiB"));
        let framing = head.framing()?;
        if matches!(framing, Framing::Length(length) if length > BODY_LIMIT_BYTES) {
            return Err(too_large());
        }
        let some = !matches!(framing, Framing::Length(0));
        if some && self.ahead.is_empty() && head.lists("expect", "100-continue") {
            self.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        match framing {
            Framing::Length(length) => {
                while self.ahead.len() < length {
                    self.read_more()?;
                }
                Ok(self.ahead.drain(..length).collect())
            }
            Framing::Chunked => self.read_chunks()?.ok_or_else(too_large),
        }
    }

    /// Reads a chunked body with its trailers (dropped). None: larger than the limit.
    fn read_chunks(&mut self) -> Result<Option<Vec<u8>>, Unread> {
        let bad = || Unread::Refused(Answer::error(400, "a chunk is malformed"));
        let mut body = Vec::new();
        loop {
            let (start, size) = loop {
                match httparse::parse_chunk_size(&self.ahead) {
                    Ok(httparse::Status::Complete(line)) => break line,
                    Ok(httparse::Status::Partial) if self.ahead.len() < 1024 => self.read_more()?,
                    _ => return Err(bad()),
                }
            };
            self.ahead.drain(..start);
            if size == 0 {
                break;
            }
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > BODY_LIMIT_BYTES - body.len() {
                return Ok(None);
            }
            while self.ahead.len() < size + 2 {
                self.read_more()?;
            }
            body.extend(self.ahead.drain(..size));
            if !self.ahead.starts_with(b"\r\n") {
                return Err(bad());
            }
            self.ahead.drain(..2);
        }
        loop {
            let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") else {
                if self.ahead.len() > HEAD_LIMIT_BYTES {
                    return Err(bad());
                }
                self.read_more()?;
                continue;
            };
            self.ahead.drain(..end + 2);
            if end == 0 {
                return Ok(Some(body));
            }
        }
    }

    /// Closes at once with a reset: the client gets ECONNRESET, and bytes not yet sent are thrown away.
    pub(crate) fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            // If the option cannot be set, the close below is an ordinary one: still no answer.
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Ends the sending side and reads what the client is still sending, for a moment: a close with unread bytes would
    /// be a reset, and could overtake the answer.
    pub(crate) fn close_gently(&mut self) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        let until = Instant::now() + Duration::from_secs(1);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let mut block = [0_u8; 16 * 1024];
        while Instant::now() < until && matches!((&*stream).read(&mut block), Ok(read) if read > 0) {}
    }

    /// Whether the client closed its side.
    pub(crate) fn client_left(&self) -> bool {
        let Ok(stream) = self.stream() else {
            return true;
        };
        if stream.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = stream.peek(&mut [0]);
        let restored = stream.set_nonblocking(false);
        match peeked {
            Ok(0) => true,
            Ok(_) => restored.is_err(),
            Err(error) => error.kind() != io::ErrorKind::WouldBlock || restored.is_err(),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A head and its length in bytes; None while incomplete.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Unread> {
    let refused = |status, message: &str| Err(Unread::Refused(Answer::error(status, message)));
    let mut headers = [httparse::EMPTY_HEADER; HEADER_LIMIT];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return refused(431, "a request is limited to 100 headers");
        }
        Err(httparse::Error::Version) => {
            return refused(505, "HTTP/1.1 and HTTP/1.0 are spoken here");
        }
        Err(_) => return refused(400, "the request head is malformed"),
    };
    let mut head = Head {
        method: Method::of(request.method.unwrap_or_default()),
        target: request.path.unwrap_or_default().to_owned(),
        keep_alive: true,
        headers: request
            .headers
            .iter()
            .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned()))
            .collect(),
    };
    if request.version == Some(1) {
        head.keep_alive = !head.lists("connection", "close");
        if head.header("host").is_none() {
            return refused(400, "the Host header is missing");
        }
    } else {
        head.keep_alive = head.lists("connection", "keep-alive");
    }
    Ok(Some((head, length)))
}

/// Decodes `%XX` once (RFC 3986 §2.1). None: a broken escape, or not UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// The text as one segment of a path.
pub(crate) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_decoded_once() {
        assert_eq!(percent_decoded("a%2Fb").as_deref(), Some("a/b"));
        assert_eq!(percent_decoded("%2525").as_deref(), Some("%25"));
        assert_eq!(percent_decoded("%C3%A4").as_deref(), Some("ä"));
        for broken in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(percent_decoded(broken), None, "{broken}");
        }
    }
}
