//! The thread that sends spans to a collector.
//!
//! Invariants: who hands in a span never waits; how many wait is bounded, and what finds no room, or is not taken by the collector, is counted; the
//! thread ends when it is told to, after one attempt to send what is left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use super::otlp::{self, Span};
use crate::config::TelemetryConfig;

/// So many spans wait to be sent.
const MOST_WAITING: usize = 4_096;

/// So many go with one request.
const MOST_TOGETHER: usize = 512;

/// A span waits so long for others to go with it.
const DELAY: Duration = Duration::from_secs(1);

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long one may take at the end, of several.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after the first request that was not answered; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Spans are sent again for so long, and then dropped.
const GIVES_UP_AFTER: Duration = Duration::from_secs(60);

/// What of a collector's answer is read.
const MOST_ANSWER_BYTES: u64 = 64 * 1024;

pub(super) struct Exporter {
    sender: SyncSender<Job>,
    shared: Arc<Shared>,
}

enum Job {
    Span(Box<Span>),
    Wake,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    dropped: AtomicU64,
    /// It is to end.
    ending: AtomicBool,
    /// It has ended.
    ended: Mutex<bool>,
    turned: Condvar,
}

/// The headers of a request.
///
/// # Errors
/// One cannot be read; the words name it, and not what it holds.
pub(super) fn headers(config: &TelemetryConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for given in &config.headers {
        let refuse = |why: &str| format!("telemetry: header {}: {why}", given.name);
        let name = HeaderName::from_bytes(given.name.as_bytes()).map_err(|_| refuse("it is no name"))?;
        let text = given.value.read().map_err(|why| refuse(&why))?;
        let mut value = HeaderValue::from_str(&text).map_err(|_| refuse("its value cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}

impl Exporter {
    /// # Errors
    /// A header cannot be read, or there is no thread to be had.
    pub(super) fn start(config: &TelemetryConfig) -> Result<Self, String> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("wtcache/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let (sender, receiver) = sync_channel(MOST_WAITING);
        let shared = Arc::new(Shared::default());
        let thread = Thread {
            agent,
            url: config.traces.clone(),
            headers: headers(config)?,
            service: config.service.clone(),
            receiver,
            shared: Arc::clone(&shared),
            is_away: false,
        };
        let spawned = thread::Builder::new().name("wtcache-traces".into()).spawn(move || thread.run());
        spawned.map_err(|error| format!("telemetry: {error}"))?;
        Ok(Self { sender, shared })
    }

    pub(super) fn put(&self, span: Span) {
        if self.sender.try_send(Job::Span(Box::new(span))).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many spans a collector took, and how many none did.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.shared.sent.load(Ordering::Relaxed), self.shared.dropped.load(Ordering::Relaxed))
    }

    /// Ends it, and waits for that for so long.
    pub(super) fn end(&self, timeout: Duration) {
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Release: pairs with the acquire of the thread. Under the lock, so that no wait misses it.
        self.shared.ending.store(true, Ordering::Release);
        self.shared.turned.notify_all();
        // If the queue is full, it looks anyway.
        let _ = self.sender.try_send(Job::Wake);
        drop(self.shared.turned.wait_timeout_while(ended, timeout, |ended| !*ended));
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

struct Thread {
    agent: Agent,
    url: String,
    headers: HeaderMap,
    service: String,
    receiver: Receiver<Job>,
    shared: Arc<Shared>,
    /// The last request came to nothing, and that was told.
    is_away: bool,
}

/// What became of a request.
enum Sent {
    /// All but so many were taken.
    Taken { refused: u64 },
    /// It may be taken later, not before this.
    Later(String, Option<Duration>),
    /// It will never be.
    Refused(String),
}

impl Thread {
    fn run(mut self) {
        // Also by a panic.
        let ends = Ends(Arc::clone(&self.shared));
        while !self.is_ending() {
            let spans = self.collected();
            if !spans.is_empty() {
                self.send(&spans);
            }
        }
        let left: Vec<Span> = self.receiver.try_iter().filter_map(Job::span).collect();
        let end = Instant::now() + LAST_TIMEOUT;
        for spans in left.chunks(MOST_TOGETHER) {
            self.attempt_last(spans, end);
        }
        drop(ends);
    }

    fn is_ending(&self) -> bool {
        self.shared.ending.load(Ordering::Acquire)
    }

    /// The spans of the next request: the first one, and those that come soon after it.
    fn collected(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        let Ok(first) = self.receiver.recv() else { return spans };
        spans.extend(first.span());
        let until = Instant::now() + DELAY;
        while spans.len() < MOST_TOGETHER && !self.is_ending() {
            match self.receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(job) => spans.extend(job.span()),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        spans
    }

    /// Sends spans until they are taken, or refused, or have waited for too long.
    fn send(&mut self, spans: &[Span]) {
        let body = otlp::request(&self.service, spans);
        let (count, begun, mut pause) = (spans.len() as u64, Instant::now(), FIRST_PAUSE);
        loop {
            match self.post(&body, TIMEOUT) {
                Sent::Taken { refused } => return self.taken(count, refused),
                Sent::Refused(why) => return self.lost(count, &why),
                Sent::Later(why, after) => {
                    let pause_now = pause.max(after.unwrap_or_default().min(LONGEST_PAUSE));
                    if self.is_ending() || begun.elapsed() + pause_now > GIVES_UP_AFTER {
                        return self.lost(count, &why);
                    }
                    self.is_away(&why);
                    self.wait(pause_now);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn attempt_last(&mut self, spans: &[Span], end: Instant) {
        let (count, left) = (spans.len() as u64, end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return self.lost(count, "this server ends");
        }
        match self.post(&otlp::request(&self.service, spans), left) {
            Sent::Taken { refused } => self.taken(count, refused),
            Sent::Later(why, _) | Sent::Refused(why) => self.lost(count, &why),
        }
    }

    fn taken(&mut self, count: u64, refused: u64) {
        let refused = refused.min(count);
        self.shared.sent.fetch_add(count - refused, Ordering::Relaxed);
        self.shared.dropped.fetch_add(refused, Ordering::Relaxed);
        if std::mem::take(&mut self.is_away) {
            tracing::info!(name: "traces_sent_again", "the collector takes traces again");
        }
    }

    fn lost(&mut self, count: u64, why: &str) {
        self.shared.dropped.fetch_add(count, Ordering::Relaxed);
        self.is_away(why);
    }

    /// Told once, until it is over.
    fn is_away(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(name: "traces_not_sent", why, "the collector takes no traces");
        }
    }

    /// Waits for so long, or until it is to end.
    fn wait(&self, time: Duration) {
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.shared.turned.wait_timeout_while(ended, time, |_| !self.is_ending()));
    }

    fn post(&self, body: &[u8], timeout: Duration) -> Sent {
        let mut request = Request::post(&self.url);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
        }
        let request = match request.body(body) {
            Ok(request) => self.agent.configure_request(request).timeout_global(Some(timeout)).build(),
            Err(error) => return Sent::Refused(error.to_string()),
        };
        let mut response = match self.agent.run(request) {
            Ok(response) => response,
            Err(error) => return Sent::Later(error.to_string(), None),
        };
        let status = response.status().as_u16();
        let why = format!("the collector answered {status}");
        match status {
            200..=299 => {
                let told = response.body_mut().with_config().limit(MOST_ANSWER_BYTES).read_to_vec().unwrap_or_default();
                Sent::Taken { refused: refused(&told) }
            }
            // Those that OTLP has sent again.
            429 | 502 | 503 | 504 => {
                let after = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok());
                Sent::Later(why, after.and_then(|after| after.parse().ok()).map(Duration::from_secs))
            }
            _ => Sent::Refused(why),
        }
    }
}

/// How many spans of a request were not taken, by the collector's word. 64 bits may be a text or a number there.
fn refused(answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let refused = &answer["partialSuccess"]["rejectedSpans"];
    refused.as_u64().or_else(|| refused.as_str()?.parse().ok()).unwrap_or(0)
}

impl Job {
    fn span(self) -> Option<Span> {
        match self {
            Self::Span(span) => Some(*span),
            Self::Wake => None,
        }
    }
}

/// Says that the thread has ended.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.turned.notify_all();
    }
}
