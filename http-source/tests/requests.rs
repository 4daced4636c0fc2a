//! What goes out: keys, headers, options.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::LazyLock;

use proptest::prelude::*;
use support::*;
use wtcache::{Bytes, Failure, Source};
use wtcache_http_source::{Breaker, BuildError, HttpSource, Retries};

fn decode(segment: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = segment.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            out.push(b);
        }
    }
    out
}

static SERVER: LazyLock<Server> = LazyLock::new(|| Server::answering(answer(200, "", "{}")));

fn check_key(source: &HttpSource, key: &[u8]) {
    let server = &*SERVER;
    applied(put(source, key, b"{}"));
    let seen = server.seen().pop().unwrap();
    let segment = seen.target().strip_prefix("/v1/items/").unwrap().strip_suffix("?full=1").unwrap();
    assert!(!segment.contains(['/', '?', '#', ';', '\\']), "{segment}");
    assert_eq!(decode(segment), key);
    assert_eq!(source.url_of(key).unwrap(), format!("http://{}{}", server.address, seen.target()));
    assert_eq!(seen.line, format!("PUT /v1/items/{segment}?full=1 HTTP/1.1"));
    assert_eq!(seen.header("host").unwrap(), server.address.to_string());
    assert_eq!(seen.headers.len(), 6, "{:?}", seen.headers);
}

#[test]
fn any_key_is_one_segment_and_changes_nothing_else() {
    let source = HttpSource::builder(format!("http://{}/v1/items/{{id}}?full=1", SERVER.address)).build().unwrap();
    for key in [
        "...",
        "%2e%2e",
        "a/../b",
        "//evil.example/",
        "@evil.example",
        "a b\r\nHost: evil",
        "ä",
        "?x=1",
        "#x",
        "\0",
        "{id}",
    ] {
        check_key(&source, key.as_bytes());
    }
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..200),
        proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'/'), Just(b'%'), Just(b'2'), Just(b'e')], 1..12),
    ];
    let keys = bytes.prop_filter("refused", |key| !matches!(key.as_slice(), b"." | b".."));
    runner
        .run(&keys, |key| {
            check_key(&source, &key);
            Ok(())
        })
        .unwrap();
}

#[test]
fn keys_that_a_url_cannot_carry_are_refused_and_nothing_is_sent() {
    let server = Server::answering(answer(200, "", "{}"));
    let source = server.source();
    for key in [&b""[..], b".", b"..", &[0xff; 10_000]] {
        let _ = rejected(put(&source, key, b"{}"), Failure::Invalid);
        let _ = rejected(delete(&source, key), Failure::Invalid);
        assert_eq!(get(&source, key).unwrap_err().failure(), Failure::Invalid);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn configured_headers_are_sent_on_each_request_and_replace_the_defaults() {
    let server = Server::answering(answer(200, "", "{}"));
    let source = server
        .builder()
        .header("Authorization", "Bearer s3cret")
        .header("X-Tenant", "a")
        .header("accept", "application/vnd.x+json")
        .header("User-Agent", "me")
        .header("Content-Type", "application/merge-patch+json")
        .build()
        .unwrap();
    get(&source, b"k").unwrap();
    applied(put(&source, b"k", b"{}"));
    applied(delete(&source, b"k"));
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for seen in &seen {
        assert_eq!(seen.header("authorization"), Some("Bearer s3cret"));
        assert_eq!(seen.header("x-tenant"), Some("a"));
        assert_eq!(seen.header("accept"), Some("application/vnd.x+json"));
        assert_eq!(seen.header("user-agent"), Some("me"));
        assert_eq!(seen.header("accept-encoding"), Some("gzip, br"));
    }
    assert_eq!(seen[1].header("content-type"), Some("application/merge-patch+json"));
    assert_eq!(seen[0].header("content-type"), None);
}

#[test]
fn headers_that_could_change_a_request_are_refused_without_their_value() {
    let rows = [
        ("X", "a\r\nEvil: s3cret"),
        ("X", "s3cret\n"),
        ("X", "s3cret\0"),
        ("X", "s3cret\x7f"),
        ("X: y\r\nZ", "s3cret"),
        ("X Y", "s3cret"),
        ("", "s3cret"),
        ("Host", "s3cret"),
        ("content-length", "s3cret"),
        ("Transfer-Encoding", "s3cret"),
        ("CONNECTION", "s3cret"),
        ("Expect", "100-continue"),
        ("If-Match", "s3cret"),
        ("Idempotency-Key", "s3cret"),
        ("Range", "s3cret"),
        ("Accept-Encoding", "s3cret"),
    ];
    for (name, value) in rows {
        let builder = HttpSource::builder("http://h/{id}").header(name, value);
        assert!(!format!("{builder:?}").contains("s3cret"));
        let error = builder.build().unwrap_err();
        assert!(matches!(error, BuildError::Header { .. }), "{name:?} {error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
    let long = HttpSource::builder("http://h/{id}").header("X", "x".repeat(9000)).build().unwrap_err();
    assert!(matches!(long, BuildError::Option { option: "header", .. }));
}

#[test]
fn secrets_show_in_no_debug_output_and_no_error() {
    let server = Server::answering(answer(401, "", "s3cret"));
    let source = server.builder().header("Authorization", "s3cret").build().unwrap();
    let error = get(&source, b"k").unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    let shown = format!("{source:?} {error:?} {error} {cause:?} {cause}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains(&server.address.to_string()));
}

#[test]
fn options_are_checked_when_the_source_is_built() {
    use std::time::Duration;
    let builder = || HttpSource::builder("http://h/{id}");
    let option = |result: Result<HttpSource, BuildError>| match result.unwrap_err() {
        BuildError::Option { option, .. } => option,
        other => panic!("{other}"),
    };
    assert_eq!(option(builder().timeout(Duration::ZERO).build()), "timeout");
    assert_eq!(option(builder().timeout(Duration::MAX).build()), "timeout");
    assert_eq!(option(builder().connect_timeout(Duration::ZERO).build()), "connect_timeout");
    assert_eq!(option(builder().name_ttl(Duration::MAX).build()), "name_ttl");
    assert_eq!(option(builder().max_idle_age(Duration::MAX).build()), "max_idle_age");
    assert_eq!(option(builder().write_max_idle_age(Duration::MAX).build()), "write_max_idle_age");
    assert_eq!(option(builder().body_limit(0).build()), "body_limit");
    assert_eq!(option(builder().root_certificates_pem("nothing").build()), "root_certificates");
    assert!(matches!(HttpSource::builder("http://h/x").build().unwrap_err(), BuildError::Url(_)));
    let ms = Duration::from_millis;
    assert_eq!(option(builder().max_in_flight(0).build()), "max_in_flight");
    let retries = |retries| option(builder().retries(retries).build());
    assert_eq!(retries(Retries::new().loads(101)), "retries.loads");
    assert_eq!(retries(Retries::new().writes(101)), "retries.writes");
    assert_eq!(retries(Retries::new().backoff(ms(2), ms(1))), "retries.cap");
    assert_eq!(retries(Retries::new().backoff(ms(2), Duration::MAX)), "retries.cap");
    assert_eq!(retries(Retries::new().budget(10_001, 1)), "retries.budget_percent");
    assert_eq!(retries(Retries::new().attempt_timeout(Duration::ZERO)), "retries.attempt_timeout");
    let breaker = |breaker| option(builder().breaker(breaker).build());
    assert_eq!(breaker(Breaker::new().window(Duration::ZERO)), "breaker.window");
    assert_eq!(breaker(Breaker::new().open_for(Duration::MAX)), "breaker.open_for");
    assert_eq!(breaker(Breaker::new().calls(0)), "breaker.calls");
    assert_eq!(breaker(Breaker::new().failures_percent(0)), "breaker.failures_percent");
    assert_eq!(breaker(Breaker::new().failures_percent(101)), "breaker.failures_percent");
    for name in ["", "a b", "Host", "If-Match", "Accept", "Content-Type", "X-Own"] {
        let built = builder().header("X-Own", "1").idempotency_header(name).build();
        assert_eq!(option(built), "idempotency_header", "{name:?}");
    }
}

#[test]
fn what_is_declared_is_what_was_configured() {
    let declared = |source: &HttpSource| Source::<Bytes>::declared(source);
    let plain = HttpSource::builder("http://h/{id}").build().unwrap();
    assert_eq!(declared(&plain), wtcache::Declared::default());
    let all = HttpSource::builder("http://h/{id}")
        .settle_window(AMPLE)
        .stores_verbatim(true)
        .honours_preconditions(true)
        .honours_idempotency(true)
        .versions_never_reused(true)
        .build()
        .unwrap();
    let d = declared(&all);
    assert_eq!(d.settle_window, AMPLE);
    assert!(d.stores_verbatim && d.honours_preconditions && d.honours_idempotency && d.versions_never_reused);
}

#[test]
fn no_proxy_is_taken_from_the_environment() {
    // Set for this whole process only in a child, since the environment is shared by the tests.
    if std::env::var_os("WTCACHE_TEST_PROXY_CHILD").is_some() {
        let server = Server::answering(answer(200, "", "{}"));
        applied(put(&server.source(), b"k", b"{}"));
        assert_eq!(server.seen()[0].line, "PUT /items/k HTTP/1.1");
        return;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_proxy_is_taken_from_the_environment"])
        .env("WTCACHE_TEST_PROXY_CHILD", "1")
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("http_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}
