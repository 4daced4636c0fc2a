//! A tunnel through a proxy (RFC 9110, 9.3.6): what is said before the connection is the origin's.
//!
//! Invariant: nothing of a request is in what is sent here, so that a tunnel that is refused proves that nothing was sent; no wait outlasts
//! the end that is given.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::{Error, Timeout};

use crate::proxy::Route;

/// The head of the proxy's answer.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Asks the proxy for a connection to the origin of `uri`, which is https.
pub(crate) fn open(stream: &TcpStream, route: &Route, uri: &Uri, end: Instant) -> Result<(), Error> {
    let host = uri.host().ok_or(Error::HostNotFound)?;
    let target = format!("{host}:{}", uri.port_u16().unwrap_or(443));
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(value) = &route.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    send(stream, &request, end)?;
    let head = head(stream, end)?;
    let outcome = match status(&head) {
        Some(200..=299) => return reset(stream),
        Some(status) => format!("answered {status} to CONNECT"),
        None => "did not answer CONNECT".to_owned(),
    };
    Err(io::Error::other(format!("the proxy {route:?} {outcome}")).into())
}

/// The transport sets its own from here on.
fn reset(stream: &TcpStream) -> Result<(), Error> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(())
}

fn left(end: Instant) -> Result<Duration, Error> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Error::Timeout(Timeout::Connect)) } else { Ok(left.max(Duration::from_micros(1))) }
}

fn is_passing(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn send(mut stream: &TcpStream, mut request: &[u8], end: Instant) -> Result<(), Error> {
    while !request.is_empty() {
        stream.set_write_timeout(Some(left(end)?))?;
        match stream.write(request) {
            Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
            Ok(n) => request = &request[n..],
            Err(e) if is_passing(&e) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// The head of the answer, byte by byte: what follows it is the origin's.
fn head(mut stream: &TcpStream, end: Instant) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        stream.set_read_timeout(Some(left(end)?))?;
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.push(byte[0]),
            Err(e) if is_passing(&e) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(head)
}

/// The status of a whole head.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_suffix(b"\r\n\r\n")?.strip_prefix(b"HTTP/1.")?;
    let digits = std::str::from_utf8(line.get(2..5)?).ok()?;
    digits.parse().ok().filter(|_| matches!(line.get(5), None | Some(b' ' | b'\r')))
}
