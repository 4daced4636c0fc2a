//! A scripted server on a raw socket: it reads what came and writes exactly the bytes that a test gives it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wtcache::{
    Bytes, Condition, Confirmed, Failure, LoadCx, Loaded, Outcome, Rejection, Source, SourceError, Version, WriteCx,
};
use wtcache_http_source::{HttpSource, HttpSourceBuilder, Retries};

/// Long enough never to matter.
pub const AMPLE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "{name} came twice");
        value
    }

    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

#[derive(Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

/// One connection as the script sees it.
pub struct Conn {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    log: Arc<Log>,
}

impl Conn {
    fn more(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(n) if n > 0 => {
                self.log.bytes.fetch_add(n, Ordering::SeqCst);
                self.buffer.extend_from_slice(&chunk[..n]);
                true
            }
            _ => false,
        }
    }

    /// The next request, noted; `None` once the client closed.
    pub fn request(&mut self) -> Option<Seen> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let headers: Vec<_> =
            lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let mut seen = Seen { line, headers, body: Vec::new() };
        let length = seen.header("content-length").map_or(0, |v| v.parse().unwrap());
        while self.buffer.len() < end + length {
            if !self.more() {
                return None;
            }
        }
        seen.body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        self.log.seen.lock().unwrap().push(seen.clone());
        Some(seen)
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Reads one byte, so that closing with the rest unread resets the connection.
    pub fn first_byte(&mut self) {
        let _ = self.stream.read_exact(&mut [0]);
        self.log.bytes.fetch_add(1, Ordering::SeqCst);
    }

    /// Says nothing more, until the client closes.
    pub fn hold(&mut self) {
        while self.more() {}
    }
}

pub struct Server {
    pub address: SocketAddr,
    log: Arc<Log>,
}

impl Server {
    /// Runs `script` for each connection, in a thread of its own, with the connection's number from 0; then closes.
    pub fn new(script: impl Fn(usize, &mut Conn) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let script = Arc::new(script);
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let n = shared.connections.fetch_add(1, Ordering::SeqCst);
                let mut conn = Conn { stream, buffer: Vec::new(), log: Arc::clone(&shared) };
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(n, &mut conn));
            }
        });
        Self { address, log }
    }

    /// Answers every request with the same bytes and keeps the connection.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |_, conn| {
            while conn.request().is_some() {
                conn.write(&answer);
            }
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}/items/{{id}}", self.address)
    }

    /// For tests of a single exchange: each call is one attempt, whatever became of those before.
    pub fn builder(&self) -> HttpSourceBuilder {
        one_attempt(&self.url())
    }

    pub fn source(&self) -> HttpSource {
        self.builder().build().unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }

    pub fn bytes(&self) -> usize {
        self.log.bytes.load(Ordering::SeqCst)
    }
}

pub fn one_attempt(url: &str) -> HttpSourceBuilder {
    HttpSource::builder(url).timeout(AMPLE).retries(Retries::none()).no_breaker()
}

/// An answer with a body of known length.
pub fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// An answer that has no body by its status.
pub fn bare(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} Whatever\r\n{headers}\r\n")
}

pub fn get(source: &HttpSource, key: &[u8]) -> Result<Loaded<Vec<u8>>, SourceError> {
    Source::<Bytes>::get(source, key, &LoadCx::alone(AMPLE))
}

pub fn put(source: &HttpSource, key: &[u8], value: &[u8]) -> Outcome<Confirmed<Vec<u8>>> {
    put_within(source, key, value, AMPLE)
}

pub fn put_within(source: &HttpSource, key: &[u8], value: &[u8], left: Duration) -> Outcome<Confirmed<Vec<u8>>> {
    Source::<Bytes>::put(source, key, value, &WriteCx::alone(left, None))
}

pub fn put_if(source: &HttpSource, condition: Condition) -> Outcome<Confirmed<Vec<u8>>> {
    Source::<Bytes>::put(source, b"k", b"{}", &WriteCx::alone(AMPLE, Some(condition)))
}

pub fn delete(source: &HttpSource, key: &[u8]) -> Outcome<()> {
    Source::<Bytes>::delete(source, key, &WriteCx::alone(AMPLE, None))
}

pub fn delete_if(source: &HttpSource, condition: Condition) -> Outcome<()> {
    Source::<Bytes>::delete(source, b"k", &WriteCx::alone(AMPLE, Some(condition)))
}

pub fn version(tag: &str) -> Version {
    Version::new(tag).unwrap()
}

#[track_caller]
pub fn applied<T: std::fmt::Debug>(outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Applied(value) => value,
        other => panic!("not applied: {other:?}"),
    }
}

#[track_caller]
pub fn rejected<T: std::fmt::Debug>(outcome: Outcome<T>, failure: Failure) -> Rejection {
    match outcome {
        Outcome::Rejected(rejection) => {
            assert_eq!(rejection.error.failure(), failure, "{rejection:?}");
            rejection
        }
        other => panic!("not rejected: {other:?}"),
    }
}

#[track_caller]
pub fn unknown<T: std::fmt::Debug>(outcome: Outcome<T>, failure: Failure) -> SourceError {
    match outcome {
        Outcome::Unknown(error) => {
            assert_eq!(error.failure(), failure, "{error:?}");
            error
        }
        other => panic!("not unknown: {other:?}"),
    }
}
