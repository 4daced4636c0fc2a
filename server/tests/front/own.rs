//! What the front is asked of itself: readiness, statistics, metrics; which methods it takes where; and at which address.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wtcache_origin::{Answer, Fault, FaultKind, Method, When};
use wtcache_server::config::Admin;

use crate::NOTHING;
use crate::common::{PATIENCE, Response, request_at, setup, stage};

const ANY: &str = "127.0.0.1:0";

fn metrics(stage: &crate::common::Stage) -> Vec<Metric> {
    let answer = stage.ask("GET", "/-/metrics", &[], "").expect(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    parse(&answer.body)
}

/// A metric and its samples.
struct Metric {
    name: String,
    kind: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads an exposition, and refuses what the format does not allow.
fn parse(text: &str) -> Vec<Metric> {
    assert!(text.ends_with('\n') && !text.contains("\n\n"));
    let mut metrics: Vec<Metric> = Vec::new();
    let mut help: Option<String> = None;
    let mut series = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').unwrap();
            assert!(!words.trim().is_empty() && help.is_none(), "{line}");
            help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(help.take().as_deref(), Some(name), "HELP before TYPE");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(metrics.iter().all(|metric| metric.name != name), "{name} twice");
            assert!(!name.contains("milli") && !name.contains("micro"), "{name}: time is in seconds");
            metrics.push(Metric { name: name.to_owned(), kind: kind.to_owned(), samples: Vec::new() });
        } else {
            let (labelled, value) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(labelled.to_owned()), "{labelled} twice");
            let (name, labels) = labelled.split_once('{').unwrap_or((labelled, "}"));
            let labels = labels.strip_suffix('}').unwrap();
            let label = |pair: &str| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), value.strip_prefix('"').unwrap().strip_suffix('"').unwrap().to_owned())
            };
            let labels: BTreeMap<_, _> = labels.split(',').filter(|pair| !pair.is_empty()).map(label).collect();
            let metric = metrics.last_mut().unwrap();
            let suffix = name.strip_prefix(metric.name.as_str()).unwrap();
            let known: &[&str] = if metric.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(known.contains(&suffix) && is_name(name), "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(value >= 0.0, "{line}");
            metric.samples.push((suffix.to_owned(), labels, value));
        }
    }
    assert!(help.is_none());
    metrics
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.as_bytes()[0].is_ascii_digit()
}

/// The value of the sample with these labels.
#[track_caller]
fn value(metrics: &[Metric], name: &str, suffix: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let metric = metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"));
    let wanted: BTreeMap<String, String> = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    metric.samples.iter().find(|(s, labels, _)| s == suffix && *labels == wanted).map(|(_, _, value)| *value)
}

#[test]
fn metrics_tell_what_the_caches_have_counted() {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    stage.get("a").expect(200);
    stage.get("a").expect(200);
    stage.get("none").expect(404);
    stage.ask("BREW", "/InventoryItem/a", &[], "").expect(405);
    let metrics = metrics(&stage);
    let of = |name: &str, table: &str| value(&metrics, name, "", &[("table", table)]);
    assert_eq!(of("wtcache_hits_total", "InventoryItem"), Some(2.0));
    assert_eq!(of("wtcache_hits_total", "Part"), Some(0.0));
    assert_eq!(of("wtcache_loads_total", "InventoryItem"), Some(1.0));
    assert_eq!(of("wtcache_writes_applied_total", "InventoryItem"), Some(1.0));
    assert_eq!(of("wtcache_entries", "InventoryItem"), Some(2.0));
    assert_eq!(value(&metrics, "wtcache_connections_accepted_total", "", &[]), Some(6.0));
    let requests = |method: &str, cache: &str, class: &str| {
        let labels = [("table", "InventoryItem"), ("method", method), ("cache", cache), ("status", class)];
        value(&metrics, "wtcache_request_duration_seconds", "_count", &labels)
    };
    assert_eq!(
        (requests("GET", "hit", "2xx"), requests("GET", "load", "4xx"), requests("PUT", "", "2xx")),
        (Some(2.0), Some(1.0), Some(1.0))
    );
    assert_eq!((requests("other", "", "4xx"), requests("HEAD", "hit", "2xx")), (Some(1.0), None));
}

/// What the origin answered, how long that took, and what was not sent at all.
#[test]
fn metrics_tell_what_the_origins_did() {
    let stage = setup().origin("breaker: { calls: 2, failures: 50% }").start();
    stage.put_quantity("a", 1).expect(200);
    stage.get("none").expect(404);
    stage.origin.fault(Fault::on(Method::Get, "b").kind(FaultKind::Answer(Answer::new(500))));
    stage.origin.fault(Fault::on(Method::Get, "b").kind(FaultKind::Answer(Answer::new(500))));
    stage.get("b").expect(502);
    stage.get("b").expect(502);
    stage.put_quantity("a", 2).expect(503);
    let metrics = metrics(&stage);
    let of = |name: &str| value(&metrics, &format!("wtcache_origin_{name}"), "", &[("table", "InventoryItem")]);
    assert_eq!((of("attempts_total"), of("retries_total"), of("in_flight")), (Some(4.0), Some(0.0), Some(0.0)));
    assert_eq!((of("connections_made_total"), of("connections")), (Some(1.0), Some(1.0)));
    assert_eq!((of("breaker_open"), of("breaker_openings_total"), of("breaker_refused_total")), {
        (Some(1.0), Some(1.0), Some(1.0))
    });
    let outcome = |outcome| {
        let labels = [("table", "InventoryItem"), ("outcome", outcome)];
        value(&metrics, "wtcache_origin_outcomes_total", "", &labels)
    };
    assert_eq!(["2xx", "3xx", "4xx", "5xx", "broken"].map(outcome), [1.0, 0.0, 1.0, 2.0, 0.0].map(Some));
    let durations = |suffix, labels: &[(&str, &str)]| {
        let labels = [&[("table", "InventoryItem")], labels].concat();
        value(&metrics, "wtcache_origin_attempt_duration_seconds", suffix, &labels)
    };
    assert_eq!((durations("_count", &[]), durations("_bucket", &[("le", "+Inf")])), (Some(4.0), Some(4.0)));
    assert!(durations("_bucket", &[("le", "0.0005")]) <= durations("_bucket", &[("le", "10")]));
    assert!(durations("_sum", &[]) > Some(0.0));
    let told = stage.ask("GET", "/-/stats", &[], "").expect(200).json();
    let told = &told["origins"]["InventoryItem"];
    assert_eq!((&told["attempts"], &told["outcomes"]["5xx"], &told["breaker_open"]), (&4.into(), &2.into(), &1.into()));
}

/// Those that have ended are no longer counted as open.
#[test]
fn connections_are_counted_while_they_live() {
    let stage = stage();
    let open = || value(&metrics(&stage), "wtcache_connections", "", &[]).unwrap();
    let held = stage.client();
    let begun = std::time::Instant::now();
    // Itself, and the one that is held; and at first those that have just ended.
    while open() != 2.0 {
        assert!(begun.elapsed() < PATIENCE, "{}", open());
    }
    drop(held);
    while open() > 1.0 {
        assert!(begun.elapsed() < PATIENCE, "{}", open());
    }
}

#[test]
fn histograms_add_up() {
    let stage = stage();
    for _ in 0..3 {
        stage.get("none").expect(404);
    }
    stage.ask("GET", "/-/healthz", &[], "").expect(200);
    let metrics = metrics(&stage);
    let histogram = metrics.iter().find(|metric| metric.name == "wtcache_request_duration_seconds").unwrap();
    let mut series: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    let mut ends: BTreeMap<_, Vec<(String, f64)>> = BTreeMap::new();
    for (suffix, labels, value) in &histogram.samples {
        let mut labels = labels.clone();
        let le = labels.remove("le");
        match le {
            Some(end) => series.entry(labels).or_default().push((end.parse().unwrap(), *value)),
            None => ends.entry(labels).or_default().push((suffix.clone(), *value)),
        }
    }
    assert_eq!(series.len(), 3, "of no table, hits, loads");
    for (labels, buckets) in &series {
        assert!(buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1), "{buckets:?}");
        let (last, all) = *buckets.last().unwrap();
        assert!(last.is_infinite());
        assert_eq!(buckets.len(), 17);
        let [(_, sum), (_, count)] = ends[labels].as_slice() else { panic!("a sum and a count") };
        assert_eq!(all, *count);
        assert!(*sum > 0.0 && *sum < 3.0 * PATIENCE.as_secs_f64());
    }
    let counts: Vec<f64> = series.values().map(|buckets| buckets.last().unwrap().1).collect();
    assert_eq!(counts, [1.0, 2.0, 1.0]);
}

/// What a dashboard is built on is written down.
#[test]
fn every_metric_is_in_the_documentation() {
    let documentation = include_str!("../../../docs/server.md");
    for metric in metrics(&stage()) {
        assert!(documentation.contains(&format!("`{}`", metric.name)), "{}", metric.name);
    }
}

#[test]
fn stats_are_those_of_the_caches_by_their_names() {
    let stage = stage();
    stage.put_quantity("a", 1).expect(200);
    stage.get("a").expect(200);
    let gate = stage.origin.gate(Method::Put, "b", When::BeforeApply);
    stage.ask("PUT", "/InventoryItem/b", &[("Prefer", "respond-async")], "{\"quantity\":5}").expect(202);
    assert!(gate.wait_arrived(PATIENCE), "the pending write reaches the origin");
    let told = stage.ask("GET", "/-/stats", &[], "").expect(200).json();
    for (name, cache) in stage.front.caches() {
        for stat in cache.stats().named() {
            assert_eq!(told["tables"][&name][stat.name], stat.value, "{name} {}", stat.name);
        }
    }
    let of = |name: &str| told["tables"]["InventoryItem"][name].as_u64();
    assert_eq!((of("hits"), of("pending"), of("in_doubt")), (Some(1), Some(1), Some(0)));
    gate.release();
}

#[test]
fn every_path_says_what_it_takes() {
    const RECORD: &str = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";
    const READ: &str = "GET, HEAD, OPTIONS";
    let stage = stage();
    for (path, allow, others) in [
        ("/InventoryItem/a", RECORD, &["POST", "BREW"][..]),
        ("/InventoryItem/", READ, &["POST", "BREW"]),
        ("/InventoryItem", READ, &["POST"]),
        ("/-/healthz", READ, &["POST", "PUT", "DELETE", "PATCH"]),
        ("/-/readyz", READ, &["POST", "DELETE"]),
        ("/-/stats", READ, &["POST"]),
        ("/-/metrics", READ, &["POST"]),
        ("/-/pending/0123456789abcdef0123456789abcdef", READ, &["POST", "DELETE"]),
        ("/-/", READ, &["POST"]),
        ("/-/page.js", READ, &["POST"]),
        ("/-/records", READ, &["POST"]),
        ("/-/doubts", READ, &["POST"]),
        ("/-/invalidate", "POST, OPTIONS", &["GET", "HEAD", "PUT", "BREW"]),
    ] {
        let options = stage.ask("OPTIONS", path, &[], "").expect(204);
        assert_eq!((options.header("allow"), options.body.as_str()), (Some(allow), ""), "{path}");
        for method in others {
            let refused = stage.ask(method, path, &[], "").expect(405);
            assert_eq!(refused.header("allow"), Some(allow), "{method} {path}");
        }
    }
    let all = stage.ask("OPTIONS", "*", &[], "").expect(204);
    assert_eq!(all.header("allow"), Some("GET, HEAD, PUT, PATCH, DELETE, POST, OPTIONS"));
    assert_eq!(stage.saw(), NOTHING);
}

/// Health is that it is there; readiness ends with the wish that it end, while requests are under way.
#[test]
fn it_is_ready_until_it_is_asked_to_end() {
    let mut stage = setup().admin(Admin::At(ANY.parse().unwrap())).start();
    let admin = stage.admin.unwrap();
    let ask = |path: &str| request_at(admin, "GET", path, &[], "").checked();
    assert_eq!(stage.ask("GET", "/-/readyz", &[], "").expect(200).body, "ready\n");
    assert_eq!(ask("/-/readyz").expect(200).body, "ready\n");
    let gate = stage.origin.gate(Method::Get, "a", When::BeforeApply);
    let mut reader = stage.client();
    reader.send("GET", "/InventoryItem/a", &[], "");
    assert!(gate.wait_arrived(PATIENCE));
    stage.ask_to_end();
    while std::net::TcpStream::connect(stage.address).is_ok() {
        std::thread::yield_now();
    }
    let ending = ask("/-/readyz").expect(503);
    assert!(ending.json()["detail"].as_str().unwrap().contains("is ending"));
    ask("/-/healthz").expect(200);
    gate.release();
    reader.receive().expect(404);
    assert_eq!(stage.ended(), NOTHING);
}

fn statuses(ask: impl Fn(&str, &str) -> Response) -> Vec<u16> {
    let invalidation = "{\"table\":\"Part\",\"all\":true}";
    let asked = [("/-/stats", ""), ("/-/metrics", ""), ("/-/invalidate", invalidation)];
    let open = [("/-/healthz", ""), ("/-/readyz", ""), ("/InventoryItem/a", ""), ("/-/other", "")];
    asked.into_iter().chain(open).map(|(path, body)| ask(path, body).status).collect()
}

#[test]
fn what_it_is_asked_of_itself_has_an_address_of_its_own() {
    let method = |body: &str| if body.is_empty() { "GET" } else { "POST" };
    let stage = setup().admin(Admin::At(ANY.parse().unwrap())).start();
    stage.put_quantity("a", 1).expect(200);
    let admin = stage.admin.unwrap();
    assert_eq!(
        statuses(|path, body| stage.ask(method(body), path, &[], body)),
        [404, 404, 404, 200, 200, 200, 404],
        "where the records are"
    );
    assert_eq!(
        statuses(|path, body| request_at(admin, method(body), path, &[], body).checked()),
        [200, 200, 200, 200, 200, 404, 404],
        "at its own"
    );
    // A client is told where to ask what became of its write: that is where it is.
    let accepted = stage.ask("PUT", "/InventoryItem/b", &[("Prefer", "respond-async")], "{}").expect(202);
    stage.ask("GET", accepted.header("location").unwrap(), &[], "").expect(200);
    let nowhere = setup().admin(Admin::Off).start();
    assert_eq!(nowhere.admin, None);
    assert_eq!(statuses(|path, body| nowhere.ask(method(body), path, &[], body)), [404, 404, 404, 200, 200, 404, 404]);
}

#[test]
fn how_long_doubts_lasted_is_told_in_seconds() {
    let stage = stage();
    stage.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::Answer(Answer::new(500))));
    stage.put_quantity("a", 1).expect(502);
    stage.clock.advance(Duration::from_millis(10_500));
    stage.get("a").expect(404);
    let seconds = value(&metrics(&stage), "wtcache_doubt_seconds_total", "", &[("table", "InventoryItem")]).unwrap();
    assert!((10.0..=10.5).contains(&seconds), "{seconds}");
}
