//! Spans as OTLP has them in JSON (opentelemetry-proto, `ExportTraceServiceRequest`).
//!
//! Names of attributes are those of the semantic conventions for HTTP (1.23 and later); what is this project's begins with `wtcache.`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// A span that has ended.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) trace_id: Box<str>,
    pub(super) span_id: u64,
    pub(super) parent_id: Option<u64>,
    pub(super) state: Option<Box<str>>,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) begun: SystemTime,
    pub(super) elapsed: Duration,
    pub(super) attributes: Vec<(&'static str, Attribute)>,
    pub(super) failed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A client's request is answered.
    Server = 2,
    /// The origin is asked.
    Client = 3,
}

#[derive(Debug)]
pub(super) enum Attribute {
    Text(String),
    Number(u64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// What a failed span has in `status.code`; an unset one is 0, and is left out.
const FAILED: u8 = 2;

/// The body of a request to a collector.
pub(super) fn request(service: &str, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [("service.name", Attribute::from(service)), ("service.version", version.into())];
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes(&resource) },
            "scopeSpans": [{ "scope": { "name": "wtcache", "version": version }, "spans": spans }],
        }],
    })
    .to_string()
    .into_bytes()
}

fn span(span: &Span) -> Value {
    let mut said = Map::new();
    let mut say = |name: &str, value: Value| drop(said.insert(name.to_owned(), value));
    say("traceId", (*span.trace_id).into());
    say("spanId", format!("{:016x}", span.span_id).into());
    if let Some(parent) = span.parent_id {
        say("parentSpanId", format!("{parent:016x}").into());
    }
    if let Some(state) = &span.state {
        say("traceState", (**state).into());
    }
    say("name", (*span.name).into());
    say("kind", (span.kind as u8).into());
    say("startTimeUnixNano", nanos(span.begun).into());
    say("endTimeUnixNano", nanos(span.begun + span.elapsed).into());
    say("attributes", attributes(&span.attributes));
    if span.failed {
        say("status", json!({ "code": FAILED }));
    }
    said.into()
}

/// 64 bits are a text there.
fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn attributes(attributes: &[(&'static str, Attribute)]) -> Value {
    let said = attributes.iter().map(|(name, value)| {
        let value = match value {
            Attribute::Text(text) => json!({ "stringValue": text }),
            Attribute::Number(number) => json!({ "intValue": number.to_string() }),
        };
        json!({ "key": name, "value": value })
    });
    said.collect::<Vec<_>>().into()
}
