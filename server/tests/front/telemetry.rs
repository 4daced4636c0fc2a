//! Traces of a front, as a collector gets them: read with the types of OTLP's own definition.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use wtcache_origin::{Answer, Fault, FaultKind, Method};

use crate::common::{PATIENCE, Stage, setup};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CAME: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// What came in one request.
struct Came {
    head: String,
    resource: HashMap<String, Value>,
    spans: Vec<Span>,
}

/// A collector that answers its first requests with these, and all others with 200.
struct Collector {
    address: SocketAddr,
    came: Receiver<Came>,
}

impl Collector {
    fn start(first: &[(u16, &str)]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), first)
    }

    fn on(listener: TcpListener, first: &[(u16, &str)]) -> Self {
        let address = listener.local_addr().unwrap();
        let (told, came) = mpsc::channel();
        let mut answers: Vec<(u16, String)> =
            first.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        answers.reverse();
        let answers = Arc::new(Mutex::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, told, answers) = (stream.unwrap(), told.clone(), Arc::clone(&answers));
                std::thread::spawn(move || {
                    while let Some(request) = read(&mut stream) {
                        let (status, body) = answers.lock().unwrap().pop().unwrap_or_else(|| (200, "{}".to_owned()));
                        // Before the answer: what was answered has come.
                        let _ = told.send(request);
                        let length = body.len();
                        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
                    }
                });
            }
        });
        Self { address, came }
    }

    fn url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    fn next(&self) -> Came {
        self.came.recv_timeout(PATIENCE).expect("the collector is sent something")
    }

    /// So many spans, and no others.
    fn spans(&self, count: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        while spans.len() < count {
            spans.extend(self.next().spans);
        }
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

fn read(stream: &mut TcpStream) -> Option<Came> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let request: ExportTraceServiceRequest = serde_json::from_slice(&body).unwrap();
    let [of_resource] = &request.resource_spans[..] else { panic!("{request:?}") };
    let [of_scope] = &of_resource.scope_spans[..] else { panic!("{request:?}") };
    let resource = values(&of_resource.resource.as_ref().unwrap().attributes);
    Some(Came { head, resource, spans: of_scope.spans.clone() })
}

fn values(attributes: &[KeyValue]) -> HashMap<String, Value> {
    let value = |attribute: &KeyValue| attribute.value.clone().unwrap().value.unwrap();
    attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stage(url: &str, sample: u8) -> Stage {
    stage_with(url, sample, "{ loads: 0 }")
}

fn stage_with(url: &str, sample: u8, retries: &str) -> Stage {
    let top = format!("telemetry: {{ traces: '{url}', service: shop, sample: {sample}%, headers: {{ X-Key: k3y }} }}");
    setup().real_time().top(&top).origin(&format!("retries: {retries}")).start()
}

/// The value of a metric.
fn metric(stage: &Stage, name: &str) -> Option<u64> {
    let metrics = stage.ask("GET", "/-/metrics", &[("traceparent", NOT_RECORDED)], "").expect(200).body;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Waits until a metric is so much.
fn wait_for(stage: &Stage, name: &str, value: u64) {
    let end = Instant::now() + PATIENCE;
    while metric(stage, name).unwrap() < value {
        assert!(Instant::now() < end, "{name} is not {value}");
        std::thread::yield_now();
    }
}

/// A client's trace goes on with the request, and from there to the origin, whose spans hang beneath the attempt that it was sent.
#[test]
fn a_request_is_a_span_of_its_clients_trace_and_the_attempts_hang_beneath_it() {
    let collector = Collector::start(&[]);
    let stage = stage_with(&collector.url(), 0, "{ loads: 1, base: 0ms, cap: 0ms, budget: 100%, burst: 10 }");
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage.origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(503))));
    stage.ask("GET", "/InventoryItem/a?confirmed", &[("traceparent", CAME), ("tracestate", "v=1")], "").expect(200);
    let came = collector.next();
    assert!(
        came.head.starts_with("post /v1/traces http/1.1\r\n") && came.head.contains("x-key: k3y\r\n"),
        "{}",
        came.head
    );
    assert!(came.head.contains("content-type: application/json\r\n"), "{}", came.head);
    assert_eq!(came.resource["service.name"], text("shop"));
    assert_eq!(came.resource["service.version"], text(env!("CARGO_PKG_VERSION")));

    let mut spans = came.spans;
    while spans.len() < 3 {
        spans.extend(collector.next().spans);
    }
    spans.sort_by_key(|span| (span.kind, span.start_time_unix_nano));
    let [request, first, second] = &spans[..] else { panic!("{spans:#?}") };
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.trace_state == "v=1"), "{spans:#?}");
    assert!(
        spans.iter().all(|span| span.start_time_unix_nano <= span.end_time_unix_nano && span.start_time_unix_nano > 0)
    );
    assert_eq!(
        (hex(&request.parent_span_id), request.kind, &*request.name),
        ("00f067aa0ba902b7".to_owned(), SERVER, "GET /InventoryItem/{key}")
    );
    let attributes = values(&request.attributes);
    for (name, value) in [
        ("http.request.method", text("GET")),
        ("http.response.status_code", Value::IntValue(200)),
        ("http.route", text("/InventoryItem/{key}")),
        ("url.path", text("/InventoryItem/a")),
        ("url.scheme", text("http")),
        ("wtcache.outcome", text("loaded")),
    ] {
        assert_eq!(attributes.get(name), Some(&value), "{name}");
    }
    assert!(!format!("{attributes:?}").contains("confirmed"), "a query is not shown: {attributes:?}");
    for (attempt, status) in [(first, 503), (second, 200)] {
        assert_eq!((attempt.kind, &attempt.parent_span_id, &*attempt.name), (CLIENT, &request.span_id, "GET"));
        let attributes = values(&attempt.attributes);
        assert_eq!(attributes["http.response.status_code"], Value::IntValue(status));
        assert_eq!(attributes["server.address"], text("127.0.0.1"));
        let port = stage.origin.url().rsplit(':').next().unwrap().parse().unwrap();
        assert_eq!(attributes["server.port"], Value::IntValue(port));
        assert_eq!(attributes["wtcache.origin"], text("InventoryItem"));
        assert_eq!(attributes.get("error.type"), (status == 503).then(|| text("503")).as_ref());
        assert_eq!(attempt.status.as_ref().map_or(0, |status| status.code), if status == 503 { 2 } else { 0 });
    }
    assert!(first.span_id != second.span_id && first.span_id != request.span_id);

    // A hit has no attempt; a write that is refused by the origin, one that failed.
    stage.ask("GET", "/InventoryItem/a", &[("traceparent", CAME)], "").expect(200);
    let hits = collector.spans(1);
    let [hit] = &hits[..] else { panic!() };
    let Value::StringValue(cache_status) = &values(&hit.attributes)["wtcache.cache_status"] else { panic!("{hit:?}") };
    assert!(cache_status.starts_with("wtcache; hit; ttl="), "{cache_status}");
    assert_eq!(hit.status.as_ref().map_or(0, |status| status.code), 0);
}

#[test]
fn the_origin_is_sent_the_id_of_the_attempts_span() {
    let collector = Collector::start(&[]);
    let (origin, heads) = super::trace::noting();
    let top = format!("telemetry: {{ traces: '{}', sample: 100% }}", collector.url());
    let stage = setup().real_time().top(&top).at_origin(&format!("http://{origin}/items/{{id}}")).start();
    for headers in [&[("traceparent", CAME)][..], &[]] {
        stage.ask("GET", "/InventoryItem/a", &[headers, &[("cache-control", "no-cache")][..]].concat(), "").expect(200);
        let mut spans = collector.spans(2);
        spans.sort_by_key(|span| span.kind);
        let [request, attempt] = &spans[..] else { panic!() };
        let sent = super::trace::header(&heads, "traceparent").unwrap();
        assert_eq!(sent, format!("00-{}-{}-01", hex(&request.trace_id), hex(&attempt.span_id)));
        assert_eq!((attempt.parent_span_id == request.span_id, &attempt.trace_id), (true, &request.trace_id));
        match headers {
            // Without a trace of the client's one is begun.
            [] => assert!(request.parent_span_id.is_empty() && hex(&request.trace_id) != TRACE, "{request:?}"),
            _ => assert_eq!(hex(&request.trace_id), TRACE),
        }
    }
}

/// What is not to be recorded goes on as it came, and leads to no span.
#[test]
fn what_is_recorded_is_for_the_client_to_say_and_else_for_chance() {
    let collector = Collector::start(&[]);
    let all = stage(&collector.url(), 100);
    for _ in 0..5 {
        all.ask("GET", "/-/healthz", &[("traceparent", NOT_RECORDED)], "").expect(200);
    }
    all.ask("GET", "/-/pending/s3cret", &[], "").expect(404);
    all.ask("BREW", "/nowhere", &[], "").expect(404);
    let spans = collector.spans(2);
    assert_eq!((&*spans[0].name, &*spans[1].name), ("GET /-/pending/{id}", "HTTP"));
    assert_eq!(values(&spans[0].attributes)["url.path"], text("/-/pending/{id}"));
    assert_eq!(values(&spans[1].attributes)["http.request.method"], text("_OTHER"));
    drop(all);

    let none = stage(&collector.url(), 0);
    for _ in 0..200 {
        none.ask("GET", "/-/healthz", &[], "").expect(200);
    }
    none.ask("GET", "/-/healthz", &[("traceparent", CAME)], "").expect(200);
    assert_eq!(hex(&collector.spans(1)[0].trace_id), TRACE);
    drop(none);

    let some = stage(&collector.url(), 50);
    let mut client = some.client();
    client.raw("GET /-/healthz HTTP/1.1\r\nHost: f\r\n\r\n".repeat(399).as_bytes());
    client.send("GET", "/-/healthz", &[("traceparent", CAME)], "");
    client.receive();
    drop(some);
    let picked = collector.came.try_iter().map(|came| came.spans.len()).sum::<usize>();
    assert!((120..280).contains(&picked), "{picked} of 400");
}

#[test]
fn at_the_end_what_was_recorded_is_sent() {
    let collector = Collector::start(&[]);
    let mut stage = stage(&collector.url(), 100);
    stage.ask("GET", "/-/healthz", &[], "").expect(200);
    stage.ended();
    // It was sent before that came back.
    assert_eq!(collector.came.try_iter().map(|came| came.spans.len()).sum::<usize>(), 1);
}

/// A collector that is away holds up nobody; what it is owed waits for it, and comes.
#[test]
fn a_collector_that_is_away_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let stage = stage(&format!("http://{address}/v1/traces"), 100);
    for _ in 0..20 {
        stage.get("a").expect(404);
    }
    assert_eq!(metric(&stage, "wtcache_trace_spans_sent_total"), Some(0));
    let collector = Collector::on(TcpListener::bind(address).unwrap(), &[(503, "")]);
    // Once in vain, and then for good.
    let [first, second] = [collector.next(), collector.next()];
    assert!(!first.spans.is_empty() && first.spans == second.spans);
    wait_for(&stage, "wtcache_trace_spans_sent_total", first.spans.len() as u64);
    assert_eq!(metric(&stage, "wtcache_trace_spans_dropped_total"), Some(0));
}

/// What a collector refuses is not sent again, and counted; so is what it says that it left out, and what waits in vain for room.
#[test]
fn what_the_collector_does_not_take_is_counted() {
    let some = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}"#;
    let collector = Collector::start(&[(400, ""), (200, some)]);
    let stage = stage(&collector.url(), 0);
    for dropped in [1, 2] {
        stage.ask("GET", "/-/healthz", &[("traceparent", CAME)], "").expect(200);
        collector.spans(1);
        wait_for(&stage, "wtcache_trace_spans_dropped_total", dropped);
    }
    assert_eq!(metric(&stage, "wtcache_trace_spans_sent_total"), Some(0));
    drop(stage);

    // Nobody answers it.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let stage = setup()
        .real_time()
        .top(&format!("telemetry: {{ traces: 'http://{}', sample: 0% }}", hangs.local_addr().unwrap()))
        .start();
    let request = format!("GET /-/healthz HTTP/1.1\r\nHost: f\r\ntraceparent: {CAME}\r\n\r\n");
    let end = Instant::now() + PATIENCE;
    while metric(&stage, "wtcache_trace_spans_dropped_total") == Some(0) {
        assert!(Instant::now() < end, "there is room without end");
        let mut client = stage.client();
        client.raw(request.repeat(299).as_bytes());
        client.send("GET", "/-/healthz", &[("traceparent", CAME)], "");
        client.receive();
    }
    let begun = Instant::now();
    drop(stage);
    assert!(begun.elapsed() < Duration::from_secs(10), "the end waits for no collector");
}
