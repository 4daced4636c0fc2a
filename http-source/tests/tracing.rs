//! What a source tells by `tracing`, and the trace that its requests are part of. One test a process: a subscriber is of all its threads.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::*;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use wtcache::{ByteCache, Failure};
use wtcache_http_source::{BatchGet, Breaker, HttpSource, ListGet, Retries, Secret, TraceContext};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// Those since it was asked last.
    fn taken(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[track_caller]
fn has(lines: &[String], parts: &[&str]) {
    assert!(lines.iter().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?} in {lines:#?}");
}

#[test]
fn calls_are_spans_and_what_happens_in_them_events_without_a_secret() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_span_events(FmtSpan::CLOSE)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    // A load that is attempted again, as part of a trace.
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = Server::new(move |_, conn| {
        while conn.request().is_some() {
            let is_first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
            conn.write(if is_first { answer(503, "", "") } else { answer(200, "", "{}") });
        }
    });
    let source = HttpSource::builder(format!("http://{}/s3cret/{{id}}?token=s3cret", server.address))
        .timeout(AMPLE)
        .retries(Retries::new().loads(1).backoff(Duration::ZERO, Duration::ZERO))
        .header("X-Key", "s3cret")
        .name("inventory")
        .build()
        .unwrap();
    let came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    {
        let _entered = came.parse::<TraceContext>().unwrap().with_state("a=1").enter();
        get(&source, b"s3cret-key").unwrap();
    }
    let told = lines.taken();
    let span = "origin{origin=\"inventory\" method=\"GET\"";
    has(&told, &["the call is attempted again", span, "after=1"]);
    has(&told, &["close", span, "attempts=2", "outcome=\"found\"", "trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\""]);
    let parents: Vec<_> = server.seen().iter().map(|seen| seen.header("traceparent").unwrap().to_owned()).collect();
    assert!(parents.iter().all(|parent| parent.starts_with(&came[..36]) && parent.ends_with("-01")), "{parents:?}");
    assert!(parents[0] != parents[1] && !parents.contains(&came.to_owned()), "each a parent of its own: {parents:?}");
    assert_eq!(server.seen()[1].header("tracestate"), Some("a=1"));

    // Outside of the trace; writes.
    applied(put(&source, b"s3cret-key", b"{\"s3cret\":1}"));
    assert_eq!(server.seen()[2].header("traceparent"), None);
    let told = [told, lines.taken()].concat();
    has(&told, &["close", "method=\"PUT\" attempts=1 outcome=\"applied\""]);

    // A breaker that opens, and closes again; credentials that are taken up.
    let token = std::env::temp_dir().join(format!("wtcache-tracing-{}", std::process::id()));
    std::fs::write(&token, "s3cret-old").unwrap();
    let clock = wtcache_testkit::ManualClock::new();
    let answers = [answer(500, "", "s3cret"), answer(500, "", ""), answer(401, "", ""), answer(200, "", "{}")];
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::new(move |_, conn| {
        while conn.request().is_some() {
            conn.write(&answers[turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst)]);
        }
    });
    let source = server
        .builder()
        .breaker(Breaker::new().calls(1).failures_percent(1).open_for(Duration::from_secs(1)))
        .clock(clock.shared())
        .bearer(Secret::file(&token))
        .build()
        .unwrap();
    let _ = unknown(put(&source, b"k", b"{}"), Failure::Failed);
    let opened = lines.taken();
    has(&opened, &["WARN", "method=\"PUT\"", "the origin fails too often", "failures=1 attempts=1"]);
    has(&opened, &["close", "outcome=\"unknown\" status=500"]);
    rejected(put(&source, b"k", b"{}"), Failure::Unreachable);
    has(&lines.taken(), &["close", "method=\"PUT\" outcome=\"rejected\""]);
    clock.advance(Duration::from_secs(1));
    let _ = unknown(put(&source, b"k", b"{}"), Failure::Failed);
    has(&lines.taken(), &["fails still"]);
    clock.advance(Duration::from_secs(1));
    std::fs::write(&token, "s3cret-new").unwrap();
    applied(put(&source, b"k", b"{}"));
    std::fs::remove_file(token).unwrap();
    let closed = lines.taken();
    has(&closed, &["INFO", "the credentials are others now"]);
    has(&closed, &["INFO", "the origin answers again"]);

    let listed = lists_are_spans(&lines);

    let all = [told, opened, closed, listed].concat().join("\n");
    assert!(!all.contains("s3cret"), "{all}");
}

fn context(number: u8) -> TraceContext {
    format!("00-{number:032x}-00f067aa0ba902b7-01").parse().unwrap()
}

/// Lists, and loads of several records with one request, are calls too: their attempts are in spans of their own.
fn lists_are_spans(lines: &Lines) -> Vec<String> {
    let server = Server::new(move |_, conn| {
        while let Some(seen) = conn.request() {
            match seen.target() {
                target if target.contains("broken") => conn.write(answer(500, "", "s3cret")),
                target if target.contains("ids=") => conn.write(answer(200, "", r#"[{"id":"a"},{"id":"b"}]"#)),
                target if target.contains('?') => conn.write(answer(200, "", r#"[{"id":"s3cret"}]"#)),
                _ => conn.write(answer(200, "", r#"{"id":"c,c"}"#)),
            }
        }
    });
    let source = |most_keys: usize, window: Duration| {
        let url = format!("http://{}", server.address);
        let lists = BatchGet::new(format!("{url}/s3cret?ids={{ids}}")).most_keys(most_keys).window(window);
        let list = ListGet::new(format!("{url}/s3cret"));
        let builder = HttpSource::builder(format!("{url}/s3cret/{{id}}")).name("lists").timeout(AMPLE);
        let builder = builder.retries(Retries::new().loads(0));
        Arc::new(builder.batch(lists).list(list).build().unwrap())
    };
    let span = "origin{origin=\"lists\" method=\"GET\"";
    let last_trace = || server.seen().last().unwrap().header("traceparent").map(|parent| parent[3..35].to_owned());

    // A query, well and not.
    let single = source(3, Duration::ZERO);
    {
        let _entered = context(1).enter();
        single.list("sku=s3cret", AMPLE).unwrap();
    }
    assert_eq!(last_trace(), Some(format!("{:032x}", 1)));
    let mut told = lines.taken();
    has(&told, &["close", span, "attempts=1 outcome=\"listed\"", &format!("trace_id=\"{:032x}\"", 1)]);
    single.list("sku=broken", AMPLE).unwrap_err();
    told.extend(lines.taken());
    has(&told, &["close", span, "attempts=1 outcome=\"failed\" status=500"]);

    // Many keys of one call: two go together, and the one that cannot goes alone.
    let cache = ByteCache::builder(Arc::clone(&single)).clean_start(true).build().unwrap();
    {
        let _entered = context(2).enter();
        for read in cache.get_many(["a", "b", "c,c"]) {
            read.unwrap().unwrap();
        }
    }
    assert_eq!(last_trace(), Some(format!("{:032x}", 2)));
    let many = lines.taken();
    has(&many, &["close", span, "keys=2 attempts=1 outcome=\"listed\"", &format!("trace_id=\"{:032x}\"", 2)]);
    has(&many, &["close", span, "attempts=1 outcome=\"found\"", &format!("trace_id=\"{:032x}\"", 2)]);

    // Loads of two callers that go together: as part of the trace of the one who leads.
    let gathering = source(2, Duration::from_secs(1));
    let together = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        for (number, key) in [(3, b"a"), (4, b"b")] {
            let (together, gathering) = (&together, &gathering);
            scope.spawn(move || {
                let _entered = context(number).enter();
                together.wait();
                get(gathering, key).unwrap();
            });
        }
    });
    let leads = last_trace().unwrap();
    let gathered = lines.taken();
    has(&gathered, &["close", span, "keys=2 attempts=1 outcome=\"listed\"", &format!("trace_id=\"{leads}\"")]);
    for number in [3, 4] {
        has(&gathered, &["close", span, &format!("method=\"GET\" trace_id=\"{number:032x}\" outcome=\"found\"")]);
    }
    [told, many, gathered].concat()
}
