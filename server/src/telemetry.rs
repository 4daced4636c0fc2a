//! The traces of requests: a span for each, with one beneath it for each request to the origin, on their way to a collector.
//!
//! Which requests: of a trace that the client began, those that it says are recorded; of the others a share, picked at random. The span of a request to the
//! origin has the id that the origin was sent as its parent. Invariant: what is not recorded costs a look at its headers.

mod exporter;
mod otlp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};
use wtcache_http_source::{SentRequest, TraceContext};

use crate::access::Request;
use crate::config::TelemetryConfig;
use exporter::Exporter;
use otlp::{Attribute, Kind, Span};

/// How long the end waits for what is to be sent yet.
const END: Duration = Duration::from_secs(3);

type Told = Arc<dyn Fn(&SentRequest<'_>) + Send + Sync>;

pub(crate) struct Telemetry {
    sample_percent: u64,
    chance: AtomicU64,
    random: SystemRandom,
    exporter: Arc<Exporter>,
    told: Told,
}

/// The span of a request under way.
pub(crate) struct Recorded {
    trace_id: Box<str>,
    span_id: u64,
    parent_id: Option<u64>,
    state: Option<Box<str>>,
    begun: SystemTime,
}

/// Whether all can be read that is needed to send traces.
///
/// # Errors
/// What cannot; the words name it.
pub(crate) fn check(config: &TelemetryConfig) -> Result<(), String> {
    exporter::headers(config).map(drop)
}

impl Telemetry {
    /// # Errors
    /// A header cannot be read, or there is no thread to be had.
    pub(crate) fn start(config: &TelemetryConfig) -> Result<Self, String> {
        let exporter = Arc::new(Exporter::start(config)?);
        let of_told = Arc::clone(&exporter);
        Ok(Self {
            sample_percent: config.sample_percent.into(),
            chance: AtomicU64::new(TraceContext::new_span_id()),
            random: SystemRandom::new(),
            exporter,
            told: Arc::new(move |sent| of_told.put(of_origin(sent))),
        })
    }

    /// A request begins, of this trace of its client's. Gives the trace that its calls are part of, and what is recorded of it.
    pub(crate) fn begins(&self, context: Option<TraceContext>) -> (Option<TraceContext>, Option<Recorded>) {
        let span_id = TraceContext::new_span_id();
        let (context, parent_id) = match context {
            Some(context) if context.is_sampled() => {
                let parent_id = context.parent_id();
                (context.within(span_id), Some(parent_id))
            }
            None if self.is_picked() => match self.new_trace(span_id) {
                Some(context) => (context, None),
                None => return (None, None),
            },
            other => return (other, None),
        };
        let recorded = Recorded {
            trace_id: context.trace_id().into(),
            span_id,
            parent_id,
            state: context.state().map(Into::into),
            begun: SystemTime::now(),
        };
        (Some(context.telling(Arc::clone(&self.told))), Some(recorded))
    }

    fn is_picked(&self) -> bool {
        // Relaxed: only chance matters. The upper bits of such a row are well mixed (Weyl and a multiplication).
        let step = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (step ^ (step >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 32) % 100 < self.sample_percent
    }

    fn new_trace(&self, span_id: u64) -> Option<TraceContext> {
        let mut id = [0; 16];
        self.random.fill(&mut id).ok()?;
        format!("00-{:032x}-{span_id:016x}-01", u128::from_ne_bytes(id)).parse().ok()
    }

    /// What was recorded has ended so.
    pub(crate) fn ended(&self, recorded: Recorded, request: &Request<'_>) {
        let Recorded { trace_id, span_id, parent_id, state, begun } = recorded;
        let (method, status) = (known(request.method.as_str()), request.response.status());
        let mut attributes: Vec<(&'static str, Attribute)> = vec![
            ("http.request.method", method.into()),
            ("http.response.status_code", u64::from(status.as_u16()).into()),
            ("url.scheme", request.scheme.into()),
        ];
        let mut name = name_of(method).to_owned();
        if let Some(route) = request.route {
            name = format!("{name} {}", route.template);
            attributes.push(("http.route", (*route.template).into()));
            // What else there is may be secret: the id of a pending write.
            let path = if route.key.is_some() { request.uri.path() } else { &route.template };
            attributes.push(("url.path", path.into()));
        }
        attributes.push(("wtcache.outcome", request.what.into()));
        if let Some(cache_status) = request.cache_status() {
            attributes.push(("wtcache.cache_status", cache_status.into()));
        }
        let failed = status.is_server_error();
        if failed {
            attributes.push(("error.type", status.as_str().into()));
        }
        let kind = Kind::Server;
        let elapsed = request.elapsed;
        self.exporter.put(Span { trace_id, span_id, parent_id, state, name, kind, begun, elapsed, attributes, failed });
    }

    /// Name, kind, help and value of each count.
    pub(crate) fn metrics(&self) -> [(&'static str, &'static str, &'static str, u64); 2] {
        let (sent, dropped) = self.exporter.counts();
        [
            ("wtcache_trace_spans_sent_total", "counter", "Spans that the collector took.", sent),
            (
                "wtcache_trace_spans_dropped_total",
                "counter",
                "Spans that the collector did not take in time, refused, or for which there was no room.",
                dropped,
            ),
        ]
    }

    /// Sends what is left, once.
    pub(crate) fn end(&self) {
        self.exporter.end(END);
    }
}

/// The methods that are told by their names.
const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS"];

/// As the conventions have it: how many names there are does not depend on who asks.
const OTHER: &str = "_OTHER";

fn known(method: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == method).unwrap_or(OTHER)
}

/// What begins the name of a span.
fn name_of(method: &'static str) -> &'static str {
    if method == OTHER { "HTTP" } else { method }
}

/// The span of a request to the origin. Its path is left out: it may hold a token.
fn of_origin(sent: &SentRequest<'_>) -> Span {
    let method = known(sent.method);
    let mut attributes: Vec<(&'static str, Attribute)> = vec![
        ("http.request.method", method.into()),
        ("server.address", sent.host.into()),
        ("server.port", u64::from(sent.port).into()),
        ("wtcache.origin", sent.origin.into()),
    ];
    let error = match sent.answer {
        Ok(status) => {
            attributes.push(("http.response.status_code", u64::from(status).into()));
            (status >= 400).then(|| status.to_string())
        }
        Err(why) => Some(why.to_owned()),
    };
    let failed = error.is_some();
    if let Some(error) = error {
        attributes.push(("error.type", Attribute::Text(error)));
    }
    Span {
        trace_id: sent.trace_id.into(),
        span_id: sent.span_id,
        parent_id: Some(sent.parent_id),
        state: sent.trace_state.map(Into::into),
        name: name_of(method).to_owned(),
        kind: Kind::Client,
        begun: sent.begun,
        elapsed: sent.elapsed,
        attributes,
        failed,
    }
}
