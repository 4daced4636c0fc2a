//! The connection: a TCP transport held to the call's deadline, and the counting transport around the finished one.
//!
//! The chain is TCP, to the origin or through a proxy, then TLS where the scheme asks for it, then the count. The count sits above TLS and sees
//! plaintext: a handshake that fails counts nothing.
//! Invariants: bytes are counted before they are offered, so a count of zero proves that nothing left; no wait begins
//! after the deadline, and none outlasts it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use ureq::unversioned::transport::{
    Buffers, ChainedConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, RustlsConnector,
    Transport,
};
use ureq::{Error, Timeout};

use crate::call::{self, Reuse};
use crate::proxy::Route;
use crate::tunnel;

/// Buffer of a connection in each direction. Bounds the head of an answer too.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

type Chain = ChainedConnector<(), ChainedConnector<(), ChainedConnector<(), (), Tcp>, RustlsConnector>, Count>;

/// The connections of a source.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) made: AtomicU64,
    pub(crate) open: AtomicUsize,
}

/// One of them, while it lives.
struct Counting(Arc<Connections>);

impl Counting {
    fn new(connections: &Arc<Connections>) -> Self {
        // Relaxed: counts for information.
        connections.made.fetch_add(1, Ordering::Relaxed);
        connections.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connectors of a source; `proxy`: the way to its origin.
pub(crate) fn connector(connect_timeout: Duration, proxy: Option<Route>, connections: &Arc<Connections>) -> Chain {
    ().chain(Tcp { connect_timeout, proxy, connections: Arc::clone(connections) })
        .chain(RustlsConnector::default())
        .chain(Count)
}

fn out_of_time() -> Error {
    Error::Timeout(Timeout::Global)
}

#[derive(Debug)]
pub(crate) struct Tcp {
    connect_timeout: Duration,
    proxy: Option<Route>,
    connections: Arc<Connections>,
}

impl Tcp {
    /// What is made of a connection that stands.
    fn ready(&self, stream: TcpStream, details: &ConnectionDetails<'_>, end: Instant) -> Result<TcpTransport, Error> {
        stream.set_nodelay(true)?;
        let mut transport = TcpTransport::new(stream, Counting::new(&self.connections));
        match &self.proxy {
            Some(route) if route.is_tunnel => tunnel::open(&transport.stream, route, details.uri, end)?,
            Some(_) => {
                let authority = details.uri.authority().ok_or(Error::HostNotFound)?;
                transport.absolute = Some(Absolute { prefix: format!("http://{authority}").into(), begun: 0 });
            }
            None => {}
        }
        Ok(transport)
    }
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, TcpTransport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let left = call::remaining().ok_or_else(out_of_time)?;
        let end = Instant::now() + left.min(self.connect_timeout);
        let mut last = Error::HostNotFound;
        for (tried, address) in details.addrs.iter().enumerate() {
            // What is left is shared out among the addresses left.
            let share = end.saturating_duration_since(Instant::now()) / (details.addrs.len() - tried) as u32;
            if share.is_zero() {
                return Err(Error::Timeout(Timeout::Connect));
            }
            match TcpStream::connect_timeout(address, share) {
                Ok(stream) => return Ok(Some(Either::B(self.ready(stream, details, end)?))),
                Err(e) if timed_out(&e) => last = Error::Timeout(Timeout::Connect),
                Err(e) => last = Error::Io(e),
            }
        }
        Err(last)
    }
}

/// A socket whose every wait ends by the deadline of the call it serves.
pub(crate) struct TcpTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
    /// What the socket's own timeouts are set to.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// It leads to a proxy that is told whole URLs.
    absolute: Option<Absolute>,
    _counting: Counting,
}

/// What goes before the path in the first line of a request.
struct Absolute {
    prefix: Arc<str>,
    /// The call whose first line has gone out.
    begun: u64,
}

impl Absolute {
    /// `output` as it is sent: the first of a call begins with the request's line, whose second word is the path.
    fn of(&mut self, output: &[u8]) -> Option<Vec<u8>> {
        let call = call::current()?.id;
        if std::mem::replace(&mut self.begun, call) == call {
            return None;
        }
        let path = output.iter().position(|b| *b == b' ')? + 1;
        Some([&output[..path], self.prefix.as_bytes(), &output[path..]].concat())
    }
}

impl TcpTransport {
    fn new(stream: TcpStream, counting: Counting) -> Self {
        let buffers = LazyBuffers::new(BUFFER_BYTES, BUFFER_BYTES);
        Self { stream, buffers, read_timeout: None, write_timeout: None, absolute: None, _counting: counting }
    }
}

/// Time left for a wait that began at `start`: the call's, and `limit`'s (set by ureq for a TLS handshake only).
fn left(start: Instant, limit: NextTimeout) -> Result<Duration, Error> {
    let left = call::remaining().ok_or_else(out_of_time)?;
    if limit.after.is_not_happening() {
        return Ok(left);
    }
    let limited = limit.after.saturating_sub(start.elapsed());
    if limited.is_zero() { Err(Error::Timeout(limit.reason)) } else { Ok(left.min(limited)) }
}

/// The timeout to set for a wait with `left` to go; `None` where the one set before will do.
///
/// A socket timeout that is too short costs another round of the loop around the wait; one that is too long would
/// break the deadline. So it is set short, and kept while it is not much too short: calls with like deadlines need no
/// system call for it.
fn socket_timeout(set: Option<Duration>, left: Duration) -> Option<Duration> {
    match set {
        Some(set) if set <= left && set >= left / 4 => None,
        _ if left <= Duration::from_millis(10) => Some(left.max(Duration::from_micros(1))),
        _ => Some(left / 4 * 3),
    }
}

fn timed_out(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let start = Instant::now();
        let changed = self.absolute.as_mut().and_then(|absolute| absolute.of(&self.buffers.output()[..amount]));
        let output = changed.as_deref().unwrap_or(&self.buffers.output()[..amount]);
        let mut sent = 0;
        while sent < output.len() {
            if let Some(set) = socket_timeout(self.write_timeout, left(start, timeout)?) {
                self.stream.set_write_timeout(Some(set))?;
                self.write_timeout = Some(set);
            }
            match self.stream.write(&output[sent..]) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(n) => sent += n,
                Err(e) if timed_out(&e) || e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let start = Instant::now();
        loop {
            let left = call::in_one_go(left(start, timeout)?).ok_or_else(out_of_time)?;
            if let Some(set) = socket_timeout(self.read_timeout, left) {
                self.stream.set_read_timeout(Some(set))?;
                self.read_timeout = Some(set);
            }
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(n) => {
                    self.buffers.input_appended(n);
                    return Ok(n > 0);
                }
                Err(e) if timed_out(&e) || e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Open means: the peer has neither closed it nor sent anything that nobody asked for.
    fn is_open(&mut self) -> bool {
        let mut first = [0];
        loop {
            match recv(&self.stream, &mut first, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                looked => return looked == Err(Errno::WOULDBLOCK),
            }
        }
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("peer", &self.stream.peer_addr().ok()).finish_non_exhaustive()
    }
}

/// Wraps what the chain before it made.
#[derive(Debug)]
pub(crate) struct Count;

impl<In: Transport> Connector<In> for Count {
    type Out = Counted<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| Counted { inner, served: 0, last_used: Instant::now() }))
    }
}

/// Counts what is offered for the call of this thread, and decides whether that call may use a pooled connection.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    inner: T,
    /// The call that used it last; zero for none.
    served: u64,
    last_used: Instant,
}

impl<T: Transport> Transport for Counted<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        // Before the count: past the deadline nothing is offered.
        call::remaining().ok_or_else(out_of_time)?;
        let served = self.served;
        call::note(|call| {
            call.offered += amount as u64;
            call.reused |= served != 0 && served != call.id;
            self.served = call.id;
        });
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        // What is read into no room looks like the end.
        if self.inner.buffers().input_append_buf().is_empty() {
            let why = format!("the answer's head, or a line between its chunks, is longer than {BUFFER_BYTES} bytes");
            return Err(Error::Io(io::Error::other(why)));
        }
        match self.inner.await_input(timeout) {
            Ok(progress) => {
                self.last_used = Instant::now();
                call::note(|call| call.answered |= progress);
                Ok(progress)
            }
            // ureq takes these three for the end of a body that only the close delimits; a reset is no end.
            Err(Error::Io(e))
                if matches!(
                    e.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::UnexpectedEof
                ) =>
            {
                Err(Error::Io(io::Error::other(e)))
            }
            Err(e) => Err(e),
        }
    }

    fn is_open(&mut self) -> bool {
        let Some(call) = call::current() else { return self.inner.is_open() };
        // On its way back to the pool, the call's own: it is looked at when it is taken out again, and ureq has seen whether the answer was
        // followed by anything that has come already.
        if self.served == call.id {
            return true;
        }
        let allowed = match call.reuse {
            Reuse::Any => true,
            Reuse::IdleFor(limit) => self.last_used.elapsed() < limit,
            Reuse::Never => false,
        };
        allowed && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what it is offered, or fails.
    #[derive(Debug)]
    struct Wire {
        buffers: LazyBuffers,
        offers: usize,
        broken: bool,
    }

    impl Transport for Wire {
        fn buffers(&mut self) -> &mut dyn Buffers {
            &mut self.buffers
        }
        fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), Error> {
            self.offers += 1;
            if self.broken { Err(io::Error::from(ErrorKind::BrokenPipe).into()) } else { Ok(()) }
        }
        fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
            Ok(true)
        }
        fn is_open(&mut self) -> bool {
            true
        }
    }

    fn counted(broken: bool) -> Counted<Wire> {
        let inner = Wire { buffers: LazyBuffers::new(16, 16), offers: 0, broken };
        Counted { inner, served: 0, last_used: Instant::now() }
    }

    fn begin(left: Duration, reuse: Reuse) -> call::Call {
        call::Call::begin(Instant::now() + left, reuse)
    }

    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn a2_past_the_deadline_nothing_is_offered_or_counted() {
        let mut wire = counted(false);
        let call = begin(Duration::ZERO, Reuse::Any);
        assert!(matches!(wire.transmit_output(5, NextTimeout::default()), Err(Error::Timeout(_))));
        assert_eq!((call.seen().offered, wire.inner.offers), (0, 0));
    }

    #[test]
    fn a2_an_offer_that_failed_counts() {
        let mut wire = counted(true);
        let call = begin(AMPLE, Reuse::Any);
        assert!(wire.transmit_output(5, NextTimeout::default()).is_err());
        assert_eq!(call.seen().offered, 5);
    }

    #[test]
    fn a_connection_counts_for_the_call_it_serves() {
        let mut wire = counted(false);
        for reused in [false, true] {
            let call = begin(AMPLE, Reuse::Any);
            wire.transmit_output(2, NextTimeout::default()).unwrap();
            wire.transmit_output(3, NextTimeout::default()).unwrap();
            let seen = call.seen();
            assert_eq!((seen.offered, seen.reused, seen.answered), (5, reused, false));
            wire.await_input(NextTimeout::default()).unwrap();
            assert!(call.seen().answered);
        }
    }

    #[test]
    fn which_calls_may_use_an_idle_connection() {
        let mut wire = counted(false);
        let call = begin(AMPLE, Reuse::Never);
        wire.transmit_output(1, NextTimeout::default()).unwrap();
        assert!(wire.is_open(), "its own goes back to the pool");
        drop(call);
        for (reuse, open) in [
            (Reuse::Any, true),
            (Reuse::IdleFor(AMPLE), true),
            (Reuse::IdleFor(Duration::ZERO), false),
            (Reuse::Never, false),
        ] {
            let _call = begin(AMPLE, reuse);
            assert_eq!(wire.is_open(), open, "{reuse:?}");
        }
    }

    #[test]
    fn a_socket_timeout_never_outlasts_the_deadline() {
        let ms = Duration::from_millis;
        for left in [Duration::from_nanos(1), ms(1), ms(9), ms(11), ms(100), ms(5000)] {
            for set in [None, Some(ms(1)), Some(ms(80)), Some(ms(5000)), Some(ms(60_000))] {
                let used = socket_timeout(set, left).or(set).expect("set, or kept");
                assert!(used <= left.max(Duration::from_micros(1)), "{used:?} of {left:?} after {set:?}");
                assert!(!used.is_zero());
            }
        }
        assert_eq!(socket_timeout(Some(ms(3750)), ms(4990)), None, "like deadlines keep it");
    }
}
