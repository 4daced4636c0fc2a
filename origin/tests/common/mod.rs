//! A client as plain as a socket, for the tests of the origin.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by several test crates")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use wtcache_origin::{Origin, OriginOptions};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn origin() -> Origin {
    Origin::start(OriginOptions::new()).unwrap()
}

/// One request on a connection of its own.
pub(crate) fn ask(origin: &Origin, method: &str, path: &str, body: &str) -> io::Result<Response> {
    ask_with(origin, method, path, &[], body)
}

pub(crate) fn ask_with(
    origin: &Origin,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Response> {
    let mut client = Client::of(origin);
    client.send(method, path, headers, body);
    client.receive()
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
    head_only: bool,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn of(origin: &Origin) -> Self {
        let stream = TcpStream::connect(origin.addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, ahead: Vec::new(), head_only: false }
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: origin\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.head_only = method == "HEAD";
        self.raw(&format!("{text}\r\n{body}"));
    }

    pub(crate) fn raw(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The next answer. An end in the middle of it is `UnexpectedEof`.
    pub(crate) fn receive(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.ahead.drain(..end + 4).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Response { status, head, body: String::new() };
        let length = match response.header("content-length") {
            Some(length) if !self.head_only => length.parse().unwrap(),
            _ => 0,
        };
        while self.ahead.len() < length {
            self.more()?;
        }
        response.body = String::from_utf8(self.ahead.drain(..length).collect()).unwrap();
        Ok(response)
    }

    /// Everything until the origin closes.
    pub(crate) fn rest(&mut self) -> io::Result<String> {
        let mut bytes = std::mem::take(&mut self.ahead);
        self.stream.read_to_end(&mut bytes)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn more(&mut self) -> io::Result<()> {
        let mut block = [0; 4096];
        match self.stream.read(&mut block)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.ahead.extend_from_slice(&block[..read]);
                Ok(())
            }
        }
    }
}
