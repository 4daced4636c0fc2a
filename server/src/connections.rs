//! Connections: how many there may be, and how long one may keep this server waiting.
//!
//! Each connection is a task; one timer of its own watches what it waits for. Invariant: a connection that waits for its client ends, by
//! its [`Limits`]; what is more than they allow is told so and closed, and no task is begun for what is more than that.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::config::Limits;
use crate::events;
use crate::front::{Answering, Front};
use crate::own::Side;
use crate::tls::Tls;

/// So many at once are told that there are too many; others are closed without a word.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// How long that may take.
const TURNED_AWAY_FOR: Duration = Duration::from_secs(1);

/// What the system may hold of an answer that has no end, in bytes, twice that with its own: what it holds counts as taken.
const HELD_OF_STREAM: usize = 32 * 1024;

/// That connections are refused is told no more often than so.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Where the system has no more connections, it is asked again after so long.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    late: AtomicU64,
    no_tls: AtomicU64,
    /// When it was told last that there are too many, and how many had been refused then.
    told: Mutex<Option<(Instant, u64)>>,
}

impl Connections {
    /// One more is beyond what is allowed. That is told at once, and then no more than now and again.
    fn refuse(&self, most: usize) {
        let all = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match *told {
            Some((at, _)) if at.elapsed() < TELL_EVERY => return,
            Some((_, before)) => before,
            None => 0,
        };
        *told = Some((Instant::now(), all));
        drop(told);
        let refused = all.saturating_sub(before);
        tracing::warn!(name: "connections_refused", refused, most, "more connections than limits.connections");
    }

    /// Name, kind, help and value of each count.
    pub(crate) fn metrics(&self) -> [(&'static str, &'static str, &'static str, u64); 5] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("wtcache_connections", "gauge", "Connections of clients now.", of(&self.open)),
            (
                "wtcache_connections_accepted_total",
                "counter",
                "Connections of clients that were served.",
                of(&self.accepted),
            ),
            (
                "wtcache_connections_refused_total",
                "counter",
                "Connections beyond limits.connections.",
                of(&self.refused),
            ),
            (
                "wtcache_connections_late_total",
                "counter",
                "Connections closed since the client was too slow, or idle for too long.",
                of(&self.late),
            ),
            (
                "wtcache_connections_without_tls_total",
                "counter",
                "Connections closed since their handshake failed, or was none.",
                of(&self.no_tls),
            ),
        ]
    }
}

/// One of a listener's connections, while it lives. Only the listener makes more of them.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<Front>);

impl Open {
    fn new(front: &Arc<Front>) -> Self {
        front.connections().open.fetch_add(1, Ordering::Relaxed);
        front.connections().accepted.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(front))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections().open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves what comes in at `listener` until `ending` says so; then closes it, and waits for the requests under way. Dropped, it drops them.
pub(crate) async fn serve(listener: TcpListener, front: Arc<Front>, side: Side, mut ending: watch::Receiver<bool>) {
    let open = Arc::new(AtomicUsize::new(0));
    let turning_away = Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = ending.wait_for(|ending| *ending) => break,
            accepted = listener.accept() => accepted,
        };
        while tasks.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        // An answer is one small write: nothing is gained by waiting for more of it.
        let _ = stream.set_nodelay(true);
        // How many there may be is what holds now; those that are more than that stay.
        if open.load(Ordering::Relaxed) < front.served().limits.connections {
            let place = Place::new(&open);
            let (front, ending) = (Arc::clone(&front), ending.clone());
            tasks.spawn(async move {
                accepted_one(stream, front, side, ending).await;
                drop(place);
            });
            continue;
        }
        front.connections().refuse(front.served().limits.connections);
        // What is said in the clear is nothing to who speaks TLS.
        if front.speaks().is_none()
            && let Ok(place) = Arc::clone(&turning_away).try_acquire_owned()
        {
            tasks.spawn(async move {
                let detail = "this server has as many connections as it takes";
                let words = last_words(StatusCode::SERVICE_UNAVAILABLE, "retry-after: 1\r\n", detail);
                let _ = timeout(TURNED_AWAY_FOR, turn_away(stream, &words)).await;
                drop(place);
            });
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Says these last words, and hears the client out: closed with something unread, the connection would be reset, and the answer lost.
async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin, words: &[u8]) -> io::Result<()> {
    stream.write_all(words).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// The answer of a connection that is closed after it.
fn last_words(status: StatusCode, header: &str, detail: &str) -> Vec<u8> {
    let title = status.canonical_reason().unwrap_or_default();
    let body =
        serde_json::json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {} {title}\r\ncontent-type: application/problem+json\r\ncache-status: wtcache; detail=invalid-request\r\n\
         connection: close\r\n{header}content-length: {}\r\n\r\n",
        status.as_u16(),
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

async fn accepted_one(stream: TcpStream, front: Arc<Front>, side: Side, mut ending: watch::Receiver<bool>) {
    let _open = Open::new(&front);
    let Some(tls) = front.speaks() else { return connection(stream, front, side, ending).await };
    let handshake = Box::pin(timeout(front.served().limits.head_timeout, handshake(stream, tls)));
    let shaken = tokio::select! {
        _ = ending.wait_for(|ending| *ending) => return,
        shaken = handshake => shaken,
    };
    match shaken {
        // Its room is its own: one in the clear, which most are, needs no room for it.
        Ok(Ok(stream)) => Box::pin(connection(stream, front, side, ending)).await,
        Ok(Err(_)) => {
            front.connections().no_tls.fetch_add(1, Ordering::Relaxed);
        }
        Err(_) => {
            front.connections().late.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The first byte of each handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// The stream within; who does not speak TLS is told so.
async fn handshake(stream: TcpStream, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE] {
        let detail = "this address speaks TLS: ask for https://";
        let _ = timeout(TURNED_AWAY_FOR, turn_away(stream, &last_words(StatusCode::BAD_REQUEST, "", detail))).await;
        return Err(io::ErrorKind::InvalidData.into());
    }
    tls.acceptor().accept(stream).await
}

async fn connection<S>(stream: S, front: Arc<Front>, side: Side, mut ending: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + OverTcp,
{
    // It ends by those that it began with.
    let limits = front.served().limits.clone();
    let limits = &limits;
    let progress = Arc::new(Progress::new());
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answering = front.answer(side, request.map(body_of));
        let progress = Arc::clone(&progress);
        match &answering {
            Answering::AtOnce(_, at) => progress.answered((*at).into(), false),
            Answering::Later(_) => progress.is(Waits::Us),
        }
        async move {
            let answer = match answering {
                Answering::AtOnce(response, _) => return Ok(response),
                Answering::Later(answer) => answer,
            };
            let response = answer.await;
            let is_endless = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == events::STREAM);
            if is_endless {
                progress.streams();
            }
            progress.answered(Instant::now(), is_endless);
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(Watched { stream, progress: Arc::clone(&progress), unread: None });
    let mut builder = http1::Builder::new();
    // The head's time is counted here, apart from that of a connection on which nothing happens.
    builder.header_read_timeout(None).max_header_size(limits.head_bytes).max_buf_size(limits.head_bytes.max(8192));
    let mut serving = builder.serve_connection(io, service);
    // What it waits for changes without a word: it is looked at again before the shortest wait could have passed.
    let look = limits.head_timeout.min(limits.keep_alive);
    let mut late = std::pin::pin!(sleep(look));
    let mut is_ending = false;
    let ended = loop {
        tokio::select! {
            ended = &mut serving => break Some(ended),
            _ = ending.wait_for(|ending| *ending), if !is_ending => {
                is_ending = true;
                Pin::new(&mut serving).graceful_shutdown();
            }
            () = &mut late => {
                let (now, until) = (Instant::now(), progress.until(limits));
                if until <= now {
                    break None;
                }
                late.as_mut().reset(until.min(now + look));
            }
        }
    };
    match ended {
        None => {
            front.connections().late.fetch_add(1, Ordering::Relaxed);
            if progress.waits() == Waits::Head {
                let mut stream = serving.into_parts().io.into_inner().stream;
                let detail = format!("the head of the request took longer than {} ms", limits.head_timeout.as_millis());
                let words = last_words(StatusCode::REQUEST_TIMEOUT, "", &detail);
                let _ = timeout(TURNED_AWAY_FOR, stream.write_all(&words)).await;
            }
        }
        Some(Err(error)) => {
            let Watched { stream, unread, .. } = serving.into_parts().io.into_inner();
            // Any other error is the client's affair: there is nobody left to be told.
            let Some(status) = unread else { return };
            let words = last_words(status, "", &why_unread(status, &error, limits));
            let _ = timeout(TURNED_AWAY_FOR, turn_away(stream, &words)).await;
        }
        Some(Ok(())) => {}
    }
}

/// A request's body, without room of its own where there is none.
fn body_of(body: hyper::body::Incoming) -> Body {
    if body.is_end_stream() { Body::empty() } else { Body::new(body) }
}

/// Why the head of a request cannot be read.
fn why_unread(status: StatusCode, error: &hyper::Error, limits: &Limits) -> String {
    match status {
        StatusCode::BAD_REQUEST => format!("the head of the request cannot be read: {error}"),
        StatusCode::URI_TOO_LONG => "the target of the request is longer than any may be".to_owned(),
        _ => format!("the head of the request has more than {} bytes, or more than 100 headers", limits.head_bytes),
    }
}

/// The status, if this is hyper's own answer to a head that it cannot read. It has no body, and hyper takes none for it; each answer of the
/// front has a Cache-Status.
fn of_unread(answer: &[u8]) -> Option<StatusCode> {
    let head = answer.strip_prefix(b"HTTP/1.1 ")?.strip_suffix(b"\r\n\r\n")?;
    let status = StatusCode::from_bytes(head.get(..3)?).ok()?;
    let head = str::from_utf8(head).ok()?;
    let empty = head.lines().any(|line| line.eq_ignore_ascii_case("content-length: 0"));
    let ours = head.lines().any(|line| line.starts_with("cache-status:"));
    matches!(status.as_u16(), 400 | 414 | 431).then_some(status).filter(|_| empty && !ours)
}

/// Whom a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The client, to take the answer and to begin with another request.
    Next,
    /// The same, and nothing of the answer was written yet: it was made just now.
    Answered,
    /// The client, who has begun with a request's head.
    Head,
    /// The request is being answered; its body has a time of its own.
    Us,
}

/// A stream over a connection of TCP.
trait OverTcp {
    fn tcp(&self) -> &TcpStream;
}

impl OverTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl OverTcp for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// How far a connection is. Its task alone changes it.
struct Progress {
    began: Instant,
    /// An answer without an end is about to be written, and the system still holds as much of it as it likes.
    streams: AtomicBool,
    /// Some of the answer may be on its way yet: always, where it has no end.
    writes: AtomicBool,
    is_endless: AtomicBool,
    /// The client began with the next request meanwhile.
    early: AtomicBool,
    waits: AtomicU8,
    /// In nanoseconds from when it began.
    since: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            streams: AtomicBool::new(false),
            writes: AtomicBool::new(false),
            is_endless: AtomicBool::new(false),
            early: AtomicBool::new(false),
            waits: AtomicU8::new(Waits::Next as u8),
            since: AtomicU64::new(0),
        }
    }

    fn streams(&self) {
        self.streams.store(true, Ordering::Relaxed);
    }

    fn is(&self, waits: Waits) {
        self.is_since(waits, Instant::now());
    }

    /// There is an answer, since just now.
    fn answered(&self, now: Instant, is_endless: bool) {
        self.writes.store(true, Ordering::Relaxed);
        self.is_endless.store(is_endless, Ordering::Relaxed);
        self.early.store(false, Ordering::Relaxed);
        self.is_since(Waits::Answered, now);
    }

    /// The client sent something. The time of a head does not begin while its client has an answer to take: nor is there a word about it, which would be
    /// taken for a part of that.
    fn came(&self) {
        if matches!(self.waits(), Waits::Next | Waits::Answered) {
            match self.writes.load(Ordering::Relaxed) {
                true => self.early.store(true, Ordering::Relaxed),
                false => self.is(Waits::Head),
            }
        }
    }

    /// The system has all that there was to write.
    fn flushed(&self) {
        if !self.is_endless.load(Ordering::Relaxed) && self.waits() != Waits::Us {
            self.writes.store(false, Ordering::Relaxed);
            if self.early.swap(false, Ordering::Relaxed) {
                self.is(Waits::Head);
            }
        }
    }

    fn is_since(&self, waits: Waits, since: Instant) {
        let since = since.saturating_duration_since(self.began).as_nanos();
        self.since.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.waits.store(waits as u8, Ordering::Relaxed);
    }

    /// Some of an answer was written, or none could be. A client that takes its answer slowly is not idle.
    fn wrote(&self, any: bool) {
        match self.waits() {
            // In the same turn of the task as the answer was made: it is that time still.
            Waits::Answered => self.waits.store(Waits::Next as u8, Ordering::Relaxed),
            Waits::Next if any => self.is(Waits::Next),
            Waits::Next | Waits::Head | Waits::Us => {}
        }
    }

    fn waits(&self) -> Waits {
        match self.waits.load(Ordering::Relaxed) {
            waits if waits == Waits::Next as u8 => Waits::Next,
            waits if waits == Waits::Answered as u8 => Waits::Answered,
            waits if waits == Waits::Head as u8 => Waits::Head,
            _ => Waits::Us,
        }
    }

    /// Until when it may wait so.
    fn until(&self, limits: &Limits) -> Instant {
        let since = self.began + Duration::from_nanos(self.since.load(Ordering::Relaxed));
        match self.waits() {
            Waits::Next | Waits::Answered => since + limits.keep_alive,
            Waits::Head => since + limits.head_timeout,
            // The body's time and the caches' deadlines end it.
            Waits::Us => Instant::now() + limits.keep_alive,
        }
    }
}

/// A stream that notes what the client does. It keeps hyper's own answers to itself, and with them the stream open, for an answer that says more.
struct Watched<S> {
    stream: S,
    progress: Arc<Progress>,
    /// What hyper would have answered to a head that it cannot read.
    unread: Option<StatusCode>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.progress.came();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin + OverTcp> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.keeps(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.before_write();
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.progress.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices
            && self.keeps(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        self.before_write();
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: OverTcp> Watched<S> {
    fn before_write(&self) {
        if self.progress.streams.swap(false, Ordering::Relaxed) {
            // Where the system does not, a reader that has stopped is seen later.
            let _ = SockRef::from(self.stream.tcp()).set_send_buffer_size(HELD_OF_STREAM);
        }
    }
}

impl<S> Watched<S> {
    /// Whether this is not to be sent.
    fn keeps(&mut self, bytes: &[u8]) -> bool {
        // While we answer, what goes out is ours.
        if self.progress.waits() != Waits::Us {
            self.unread = self.unread.or_else(|| of_unread(bytes));
        }
        self.unread.is_some()
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.progress.wrote(matches!(written, Poll::Ready(Ok(1..))));
        written
    }
}
