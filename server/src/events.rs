//! `GET /-/events`: what happens to the keys of a table, as it happens, as Server-Sent Events.
//!
//! Owns: the way from a cache's listener to whoever reads. Invariant: a reader is told of each event from its connection on, in one order for all
//! readers, or of how many it missed; one that does not read holds no more than its share of the latest events, and delays nobody.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes as Data, HttpBody};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use wtcache::{Bytes, EventKind, KeyEvent};
use wtcache_http_source::{BreakerState, SubscriptionState};

use crate::answer::Answer;
use crate::feeds::state_name;
use crate::problem::Problem;
use crate::table::ServedTable;

pub(crate) const STREAM: &str = "text/event-stream";

/// So many of the latest events are held for readers that are behind.
const HELD: usize = 4_096;

/// So many go out at once.
const AT_ONCE: usize = 128;

/// How often the breaker and the subscription are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A stream is never silent for longer.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What is said then has so many bytes: those that nobody reads fill what the system holds for a connection, until it takes no more.
const HEARTBEAT_BYTES: usize = 2_048;

/// Where a table's events come together.
pub(crate) struct Hub {
    /// The number of the last event that somebody was told.
    told: Mutex<u64>,
    sender: broadcast::Sender<Arc<str>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self { told: Mutex::new(0), sender: broadcast::Sender::new(HELD) }
    }

    /// Called by the cache's listener: in whatever thread, and with no lock held.
    pub(crate) fn tell(&self, event: &KeyEvent<'_, Bytes>) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        let (kind, data) = described(event);
        // Under the lock, so that the numbers have the order of the stream.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told += 1;
        // That nobody reads any more is no failure.
        let _ = self.sender.send(format!("id: {told}\nevent: {kind}\ndata: {data}\n\n").into());
    }
}

/// The name of an event, and what is told beside it.
fn described(event: &KeyEvent<'_, Bytes>) -> (&'static str, Value) {
    let mut data = Map::new();
    data.insert("key".to_owned(), String::from_utf8_lossy(event.key).into());
    data.insert("sequence".to_owned(), event.sequence.into());
    let mut say = |name: &str, value: Value| drop(data.insert(name.to_owned(), value));
    let kind = match event.kind {
        EventKind::Retained { absent } => {
            say("absent", absent.into());
            "retained"
        }
        EventKind::Pushed { absent } => {
            say("absent", absent.into());
            "pushed"
        }
        EventKind::Put { kept } => {
            say("kept", kept.into());
            "put"
        }
        EventKind::Deleted { kept } => {
            say("kept", kept.into());
            "deleted"
        }
        EventKind::Differs { longer_than } => {
            say("longer_than_s", longer_than.as_secs().into());
            "differs"
        }
        EventKind::Pending => "pending",
        EventKind::RolledBack => "rolled-back",
        EventKind::RefusedStale => "refused-stale",
        EventKind::Invalidated => "invalidated",
        EventKind::Dropped => "dropped",
        EventKind::Evicted => "evicted",
        EventKind::Expired => "expired",
        EventKind::TooHeavy => "too-heavy",
        EventKind::InDoubt { .. } => "in-doubt",
        EventKind::Settled => "settled",
        _ => "other",
    };
    (kind, data.into())
}

/// The answer to a request for the events of a table.
///
/// `keep_alive`: a connection that takes nothing for so long is closed, so that something is said within it.
pub(crate) fn answer(
    table: &ServedTable,
    method: &Method,
    ending: watch::Receiver<bool>,
    keep_alive: Duration,
) -> Answer {
    let Some(hub) = &table.hub else {
        let name = &table.schema.name;
        let detail = format!("events of {name} are not told; write events: true in its configuration");
        return Answer::refused(method, Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let reader = Reader {
        receiver: hub.sender.subscribe(),
        table: table.clone(),
        ending: Box::pin(ends(ending, table.turnstile.left())),
        heartbeat: HEARTBEAT.min(keep_alive / 3).max(Duration::from_millis(1)),
        breaker: None,
        feed: None,
        spoken: Instant::now(),
    };
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => Body::new(UnsyncBoxBody::new(Stream { next: Box::pin(reader.begins()) })),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(STREAM));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Answer::local(response, "events")
}

/// One who reads.
struct Reader {
    receiver: broadcast::Receiver<Arc<str>>,
    table: ServedTable,
    /// Ready once the server ends, or the table is served no more.
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    heartbeat: Duration,
    /// As they were told last.
    breaker: Option<BreakerState>,
    /// Where it stands, its gaps and its panics.
    feed: Option<(SubscriptionState, u64, u64)>,
    spoken: Instant,
}

async fn ends(mut ending: watch::Receiver<bool>, left: impl Future<Output = ()>) {
    tokio::select! {
        _ = ending.wait_for(|ending| *ending) => {}
        () = left => {}
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(String, Reader)>> + Send>>;

impl Reader {
    /// A comment, so that the reader knows that it is one, and how things stand.
    async fn begins(mut self) -> Option<(String, Self)> {
        let states = self.states();
        Some((format!(": events of {}\n\n{states}", self.table.schema.name), self))
    }

    /// What is to be said next; `None` at the end.
    async fn next(mut self) -> Option<(String, Self)> {
        let mut looks = tokio::time::interval(LOOK_EVERY.min(self.heartbeat));
        loop {
            // `Some` of what came, or it is time to look.
            let told = tokio::select! {
                biased;
                () = &mut self.ending => return None,
                told = self.receiver.recv() => Some(told),
                _ = looks.tick() => None,
            };
            let text = match told {
                Some(Ok(first)) => self.with_more(&first),
                Some(Err(RecvError::Lagged(missed))) => gap(missed),
                Some(Err(RecvError::Closed)) => return None,
                None => self.states(),
            };
            if text.is_empty() {
                if self.spoken.elapsed() < self.heartbeat {
                    continue;
                }
                self.spoken = Instant::now();
                return Some((format!(":{:HEARTBEAT_BYTES$}\n\n", ""), self));
            }
            self.spoken = Instant::now();
            return Some((text, self));
        }
    }

    /// The first of what waits, with what waits behind it.
    fn with_more(&mut self, first: &str) -> String {
        let mut text = first.to_owned();
        for _ in 1..AT_ONCE {
            match self.receiver.try_recv() {
                Ok(event) => text.push_str(&event),
                Err(TryRecvError::Lagged(missed)) => text.push_str(&gap(missed)),
                Err(_) => break,
            }
        }
        text
    }

    /// What has changed of the breaker and the subscription since they were told last.
    fn states(&mut self) -> String {
        let mut text = String::new();
        let breaker = self.table.origin.as_ref().and_then(|origin| origin.stats().breaker).map(|breaker| breaker.state);
        if breaker != self.breaker {
            self.breaker = breaker;
            let state = match breaker {
                Some(BreakerState::Open) => "open",
                Some(BreakerState::Closed) => "closed",
                _ => "probing",
            };
            text.push_str(&format!("event: breaker\ndata: {}\n\n", json!({ "state": state })));
        }
        let feed = self.table.subscription().map(|told| (told.state, told.gaps, told.panics));
        if feed != self.feed {
            self.feed = feed;
            let data = match feed {
                Some((state, gaps, panics)) => json!({ "state": state_name(state), "gaps": gaps, "panics": panics }),
                None => json!({ "state": state_name(SubscriptionState::Stopped) }),
            };
            text.push_str(&format!("event: feed\ndata: {data}\n\n"));
        }
        text
    }
}

fn gap(missed: u64) -> String {
    format!("event: gap\ndata: {}\n\n", json!({ "missed": missed }))
}

/// The body of the answer.
struct Stream {
    next: Next,
}

impl HttpBody for Stream {
    type Data = Data;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Data>, Infallible>>> {
        let Some((text, reader)) = ready!(self.next.as_mut().poll(cx)) else { return Poll::Ready(None) };
        self.next = Box::pin(reader.next());
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}
