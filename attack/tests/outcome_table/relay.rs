//! The wire between source and origin, where the origin itself cannot break it.
//!
//! A listener of its own that passes requests on to the origin and answers back, but for one request, of the method that
//! the case is about: that one meets the strike. Owns: its sockets. Never: knows the cache. Invariant: one request is struck
//! at most; all others pass unchanged, so that what comes after shows the cache and not the wire.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use socket2::{Domain, Socket, Type};

/// What befalls the request, or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The port is nobody's.
    Refused,
    /// Somebody listens, and takes no more connections.
    BacklogFull,
    /// The connection stands and nobody takes it.
    NeverAccepted,
    /// A reset, with the first byte of the request there and not read.
    ResetUnread,
    /// The request, too large for the buffers between, is read no further than its first byte.
    HalfSent,
    /// The connection served a request before and closes now, without an answer.
    KeptDies,
    CutInStatusLine,
    CutInHeaders,
    NoStatusLine,
    TwoLengths,
    LengthTooShort,
    LengthTooLong,
    HeadersWithoutEnd,
    Interim100,
    Interim103,
}

impl Strike {
    const NAMES: [(&'static str, Self); 15] = [
        ("connection refused", Self::Refused),
        ("backlog full", Self::BacklogFull),
        ("never accepted", Self::NeverAccepted),
        ("reset unread", Self::ResetUnread),
        ("half sent", Self::HalfSent),
        ("kept connection dies", Self::KeptDies),
        ("cut in the status line", Self::CutInStatusLine),
        ("cut in the headers", Self::CutInHeaders),
        ("no status line", Self::NoStatusLine),
        ("two lengths", Self::TwoLengths),
        ("length too short", Self::LengthTooShort),
        ("length too long", Self::LengthTooLong),
        ("headers without end", Self::HeadersWithoutEnd),
        ("100 first", Self::Interim100),
        ("103 first", Self::Interim103),
    ];

    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, strike)| *strike)
    }

    pub(crate) fn ends_late(self) -> bool {
        matches!(self, Self::NeverAccepted | Self::HalfSent)
    }

    /// Nothing passes at all until [`Relay::release`].
    pub(crate) fn is_outage(self) -> bool {
        matches!(self, Self::Refused | Self::BacklogFull | Self::NeverAccepted)
    }
}

/// A running relay. Dropped, it stops to listen; connections end with their clients.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    way: Arc<Way>,
    /// Not yet listened on, or not yet accepted from.
    waiting: Option<Socket>,
    /// Keeps the backlog full.
    filler: Option<TcpStream>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the connections share.
struct Way {
    strike: Strike,
    /// The first letter of the method that is struck.
    method: u8,
    /// The struck request reaches the origin.
    forwards: bool,
    origin: SocketAddr,
    struck: AtomicBool,
    stopped: AtomicBool,
    held: Mutex<bool>,
    let_go: Condvar,
}

impl Relay {
    pub(crate) fn start(strike: Strike, method: u8, forwards: bool, origin: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket().expect("bound to an address of IPv4");
        let way = Arc::new(Way {
            strike,
            method,
            forwards,
            origin,
            struck: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            held: Mutex::new(true),
            let_go: Condvar::new(),
        });
        let mut relay = Self { address, way, waiting: None, filler: None, acceptor: None };
        match strike {
            Strike::Refused => relay.waiting = Some(socket),
            Strike::BacklogFull => {
                socket.listen(0)?;
                relay.filler = Some(TcpStream::connect(address)?);
                relay.waiting = Some(socket);
            }
            Strike::NeverAccepted => {
                socket.listen(16)?;
                relay.waiting = Some(socket);
            }
            _ => {
                socket.listen(16)?;
                relay.accept(socket);
            }
        }
        Ok(relay)
    }

    /// Strikes nothing from now on.
    pub(crate) fn disarm(&self) {
        self.way.struck.store(true, Ordering::Release);
    }

    /// The outage is over, and what was held is let go.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        if let Some(socket) = self.waiting.take() {
            if self.way.strike != Strike::Refused && !self.way.forwards {
                // What waits in the backlog reaches nobody. A case that sends nothing has left nothing there.
                socket.set_nonblocking(true)?;
                while socket.accept().is_ok() {}
                socket.set_nonblocking(false)?;
            }
            self.filler = None;
            socket.listen(16)?;
            self.accept(socket);
        }
        *self.way.held.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.way.let_go.notify_all();
        Ok(())
    }

    fn accept(&mut self, socket: Socket) {
        let (listener, way) = (TcpListener::from(socket), Arc::clone(&self.way));
        self.acceptor = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if way.stopped.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), way) = (stream, Arc::clone(&way)) else { continue };
                // An error is the end of the connection, on either side.
                thread::spawn(move || drop(way.serve(stream)));
            }
        }));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.way.stopped.store(true, Ordering::Release);
        *self.way.held.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.way.let_go.notify_all();
        if let Some(acceptor) = self.acceptor.take() {
            // Wakes it; should that fail, it ends with the process.
            if TcpStream::connect(self.address).is_ok() {
                let _ = acceptor.join();
            }
        }
    }
}

impl Way {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        for served in 0.. {
            let mut first = [0];
            if stream.peek(&mut first)? == 0 {
                return Ok(());
            }
            let strikes = !self.strike.is_outage()
                && first[0] == self.method
                && (self.strike != Strike::KeptDies || served > 0)
                && !self.struck.swap(true, Ordering::AcqRel);
            if strikes && self.strike == Strike::ResetUnread {
                // Closed with bytes unread: a reset.
                return Ok(());
            }
            if strikes && self.strike == Strike::HalfSent {
                stream.read_exact(&mut first)?;
                let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                drop(self.let_go.wait_while(held, |held| *held));
                return Ok(());
            }
            let request = Message::read(&mut stream)?;
            if !strikes || self.forwards {
                let mut origin = TcpStream::connect(self.origin)?;
                origin.write_all(&request.bytes())?;
                let answer = Message::read(&mut origin)?;
                if !strikes {
                    stream.write_all(&answer.bytes())?;
                    continue;
                }
                return self.answer(&mut stream, answer);
            }
            let record = b"{\"value\":2}".to_vec();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", record.len());
            return self.answer(&mut stream, Message { head, body: record });
        }
        Ok(())
    }

    /// The answer, spoilt; then the connection closes.
    fn answer(&self, stream: &mut TcpStream, answer: Message) -> io::Result<()> {
        let body = if answer.body.is_empty() { b"{}".to_vec() } else { answer.body.clone() };
        let length = body.len();
        let with_lengths = |lengths: &[usize]| {
            let lengths: String = lengths.iter().map(|length| format!("Content-Length: {length}\r\n")).collect();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{lengths}\r\n");
            [head.as_bytes(), &body].concat()
        };
        let head = answer.head.as_bytes();
        match self.strike {
            Strike::KeptDies => Ok(()),
            Strike::CutInStatusLine => stream.write_all(&head[..10]),
            Strike::CutInHeaders => stream.write_all(&head[..head.len() - 8]),
            Strike::NoStatusLine => stream.write_all(b"so be it\r\n\r\n"),
            Strike::TwoLengths => stream.write_all(&with_lengths(&[length, length - 1])),
            Strike::LengthTooShort => stream.write_all(&with_lengths(&[length - 1])),
            Strike::LengthTooLong => stream.write_all(&with_lengths(&[length + 1])),
            Strike::HeadersWithoutEnd => {
                let filler = "X-Filler: and so on and so on\r\n".repeat(4096);
                stream.write_all(format!("HTTP/1.1 200 OK\r\n{filler}").as_bytes())
            }
            Strike::Interim100 | Strike::Interim103 => {
                let interim = if self.strike == Strike::Interim100 { "100 Continue" } else { "103 Early Hints" };
                let before = format!("HTTP/1.1 {interim}\r\n\r\n");
                stream.write_all(&[before.as_bytes(), &answer.bytes()].concat())
            }
            Strike::Refused | Strike::BacklogFull | Strike::NeverAccepted | Strike::ResetUnread | Strike::HalfSent => {
                unreachable!("these have no answer")
            }
        }
    }
}

/// A request or an answer whose body has a Content-Length, or which has none.
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            more(stream, &mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let length: usize = length.unwrap_or(0);
        while bytes.len() < end + length {
            more(stream, &mut bytes)?;
        }
        Ok(Self { head, body: bytes[end..end + length].to_vec() })
    }

    fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut block = [0; 16 * 1024];
    match stream.read(&mut block)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            bytes.extend_from_slice(&block[..read]);
            Ok(())
        }
    }
}
