//! What the origin answers: each class of status, bodies, versions, lifetimes.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::time::Duration;

use support::*;
use wtcache::{Bytes, Condition, Confirmed, Failure, LoadCx, Loaded, Outcome, Record, Source};
use wtcache_http_source::{Freshness, OriginAnswer};

fn found(source: &wtcache_http_source::HttpSource) -> Record<Vec<u8>> {
    match get(source, b"k").unwrap() {
        Loaded::Found(record) => record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_load_finds_record_and_version() {
    let server = Server::answering(answer(200, "ETag: \"7\"\r\n", "{\"n\":1}"));
    let source = server.source();
    let want = Record::new(b"{\"n\":1}".to_vec()).version(version("\"7\""));
    assert_eq!(found(&source), want);
    assert_eq!(found(&source), want);
    assert_eq!(server.connections(), 1, "the connection is kept");
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "GET /items/k HTTP/1.1");
    assert_eq!(seen.header("host").unwrap(), server.address.to_string());
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert!(seen.header("user-agent").unwrap().starts_with("wtcache/"));
    assert_eq!(seen.header("content-type"), None);
    assert_eq!(seen.header("expect"), None);
    assert_eq!(seen.header("if-none-match"), None);
    assert_eq!(source.requests(), 2);
}

#[test]
fn a_load_of_404_and_410_is_absent() {
    for status in [404, 410] {
        let server = Server::answering(answer(status, "", "gone"));
        let source = server.source();
        assert_eq!(get(&source, b"k").unwrap(), Loaded::Absent);
        assert_eq!(get(&source, b"k").unwrap(), Loaded::Absent);
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn a3_the_origins_answer_reaches_the_caller_unchanged() {
    let headers = "Content-Type: application/problem+json\r\nRetry-After: 7\r\n";
    for status in [400, 401, 403, 422, 429, 500, 503] {
        let server = Server::answering(answer(status, headers, "{\"why\":\"so\"}"));
        let source = server.source();
        let from_put = match put(&source, b"k", b"{}") {
            Outcome::Rejected(rejection) => rejection.error,
            Outcome::Unknown(error) => error,
            Outcome::Applied(_) => panic!("{status}"),
        };
        for error in [get(&source, b"k").unwrap_err(), from_put] {
            assert_eq!(error.code(), Some(status.into()));
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
            assert_eq!(error.failure(), if status < 500 { Failure::Refused } else { Failure::Failed });
            let answer = error.source().unwrap().downcast_ref::<OriginAnswer>().unwrap();
            assert_eq!((answer.status, answer.truncated), (status, false));
            assert_eq!(answer.content_type.as_deref(), Some("application/problem+json"));
            assert_eq!(answer.body, b"{\"why\":\"so\"}");
            assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
        }
    }
}

#[test]
fn b2_a_refusals_body_is_kept_up_to_its_bound() {
    let server = Server::answering(answer(422, "", &"x".repeat(100_000)));
    let rejection = rejected(put(&server.source(), b"k", b"{}"), Failure::Refused);
    let answer = rejection.error.source().unwrap().downcast_ref::<OriginAnswer>().unwrap();
    assert_eq!((answer.body.len(), answer.truncated), (64 * 1024, true));
}

#[test]
fn a_load_that_is_no_whole_record_is_broken() {
    for status in [201, 203, 204, 206, 301, 302, 303, 304, 307, 308, 600] {
        let server =
            Server::answering(answer(status, "Location: /items/other\r\n", if status == 304 { "" } else { "{}" }));
        let error = get(&server.source(), b"k").unwrap_err();
        assert_eq!((error.failure(), error.code()), (Failure::Broken, Some(status.into())), "{status}");
        assert_eq!(server.seen().len(), 1, "{status} is not followed");
    }
}

#[test]
fn a2_every_status_class_of_a_put() {
    for (status, stale) in [
        (400, false),
        (401, false),
        (403, false),
        (404, true),
        (407, false),
        (409, true),
        (410, true),
        (412, true),
        (429, false),
    ] {
        let server = Server::answering(answer(status, "", "no"));
        let rejection = rejected(put(&server.source(), b"k", b"{}"), Failure::Refused);
        assert_eq!((rejection.stale_base, rejection.error.code()), (stale, Some(status.into())));
    }
    for (status, failure) in [
        (202, Failure::Broken),
        (207, Failure::Broken),
        (303, Failure::Broken),
        (408, Failure::Failed),
        (500, Failure::Failed),
        (502, Failure::Failed),
        (503, Failure::Failed),
        (504, Failure::Failed),
        (600, Failure::Broken),
    ] {
        let server = Server::answering(answer(status, "", "eh"));
        assert_eq!(unknown(put(&server.source(), b"k", b"{}"), failure).code(), Some(status.into()));
        assert_eq!(unknown(delete(&server.source(), b"k"), failure).code(), Some(status.into()));
    }
    let server = Server::answering(bare(101, "Upgrade: x\r\nConnection: upgrade\r\n"));
    let _ = unknown(put(&server.source(), b"k", b"{}"), Failure::Broken);
}

#[test]
fn interim_answers_are_skipped() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let server = Server::answering(format!("{interim}{}", answer(409, "", "no")));
    assert!(rejected(put(&server.source(), b"k", b"{}"), Failure::Refused).stale_base);
}

#[test]
fn a2_redirects_of_a_write_are_not_followed() {
    let other = Server::answering(answer(200, "", "{}"));
    for status in [300, 301, 302, 304, 307, 308] {
        let headers = format!("Location: http://{}/items/k\r\n", other.address);
        let server =
            Server::answering(if status == 304 { bare(status, &headers) } else { answer(status, &headers, "") });
        let source = server.source();
        assert!(!rejected(put(&source, b"k", b"{}"), Failure::Refused).stale_base);
        assert!(!rejected(delete(&source, b"k"), Failure::Refused).stale_base);
        assert_eq!(server.seen().len(), 2, "{status}");
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn a1_a_put_is_confirmed_by_its_record() {
    for status in [200, 201] {
        let server = Server::answering(answer(status, "ETag: W/\"7\"\r\n", "{\"n\":2}"));
        let confirmed = applied(put(&server.source(), b"k", b"{\"n\":1}"));
        assert_eq!(confirmed, Confirmed::Record(Record::new(b"{\"n\":2}".to_vec()).version(version("W/\"7\""))));
        let seen = &server.seen()[0];
        assert_eq!((seen.line.as_str(), seen.body.as_slice()), ("PUT /items/k HTTP/1.1", &b"{\"n\":1}"[..]));
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!(seen.header("content-length"), Some("7"));
    }
}

#[test]
fn a2_a_2xx_without_a_readable_record_is_applied_unseen() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let rows = [
        bare(204, ""),
        bare(205, "Content-Length: 0\r\n"),
        answer(200, "", ""),
        answer(201, "", ""),
        answer(200, "", "not a record"),
        answer(203, "", "{}"),
        answer(206, "", "{}"),
        answer(226, "", "{}"),
        answer(200, "Content-Encoding: gzip\r\n", "{}"),
        answer(200, "", &"{".repeat(200)),
        format!("{chunked}c8\r\n{}\r\n0\r\n\r\n", "{".repeat(200)),
        format!("{chunked}zz\r\n"),
    ];
    for row in rows {
        let server = Server::answering(row.clone());
        let builder = server.builder().body_limit(100);
        let source = builder.record_check(|_, b| if b.starts_with(b"{") { Ok(b) } else { Err("no".into()) });
        let confirmed = applied(put(&source.build().unwrap(), b"k", b"{}"));
        assert_eq!(confirmed, Confirmed::Unseen, "{row}");
    }
}

#[test]
fn a1_as_sent_only_of_a_source_that_stores_verbatim_and_only_without_a_body() {
    let tag = "ETag: \"8\"\r\nCache-Control: max-age=60\r\n";
    let empty_205 = bare(205, &format!("{tag}Content-Length: 0\r\n"));
    for row in [bare(204, tag), answer(200, tag, ""), answer(201, tag, ""), empty_205] {
        let server = Server::answering(row.clone());
        let source = server.builder().stores_verbatim(true).freshness(Freshness::Origin);
        match applied(put(&source.build().unwrap(), b"k", b"{}")) {
            Confirmed::AsSent { version: v, lifetime } => {
                assert_eq!(v, Some(version("\"8\"")));
                assert_eq!(lifetime, wtcache::Lifetime::For(Duration::from_secs(60)));
            }
            other => panic!("{row}: {other:?}"),
        }
    }
    let server = Server::answering(answer(200, "", "{}"));
    let confirmed = applied(put(&server.builder().stores_verbatim(true).build().unwrap(), b"k", b"{}"));
    assert!(matches!(confirmed, Confirmed::Record(_)));
}

#[test]
fn p4_deletes() {
    for status in [200, 204, 404, 410] {
        let server = Server::answering(if status == 204 { bare(204, "") } else { answer(status, "", "bye") });
        let source = server.builder().honours_preconditions(true).build().unwrap();
        applied(delete(&source, b"k"));
        let conditional = delete_if(&source, Condition::Version(version("\"1\"")));
        if status < 400 {
            applied(conditional);
        } else {
            assert!(rejected(conditional, Failure::Refused).stale_base);
        }
        let seen = server.seen();
        assert_eq!(seen[0].line, "DELETE /items/k HTTP/1.1");
        assert_eq!((seen[0].header("content-length"), seen[0].header("transfer-encoding")), (None, None));
        assert_eq!((seen[0].header("if-match"), seen[1].header("if-match")), (None, Some("\"1\"")));
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn p6_preconditions_are_passed_on() {
    let server = Server::answering(answer(412, "", ""));
    let source = server.builder().honours_preconditions(true).build().unwrap();
    assert!(rejected(put_if(&source, Condition::Absent), Failure::Refused).stale_base);
    assert!(rejected(put_if(&source, Condition::Version(version("\"3\""))), Failure::Refused).stale_base);
    let seen = server.seen();
    assert_eq!((seen[0].header("if-none-match"), seen[0].header("if-match")), (Some("*"), None));
    assert_eq!((seen[1].header("if-none-match"), seen[1].header("if-match")), (None, Some("\"3\"")));
}

#[test]
fn p6_a_weak_version_is_no_precondition_and_nothing_is_sent() {
    let server = Server::answering(answer(200, "", "{}"));
    let source = server.builder().honours_preconditions(true).build().unwrap();
    for tag in ["W/\"3\"", "*", "a,b", "\"1\"\r\nX: y"] {
        assert!(!rejected(put_if(&source, Condition::Version(version(tag))), Failure::Invalid).stale_base);
        let _ = rejected(delete_if(&source, Condition::Version(version(tag))), Failure::Invalid);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn d4_the_idempotency_key_is_sent_only_where_it_is_honoured() {
    let server = Server::answering(answer(200, "", "{}"));
    applied(put(&server.source(), b"k", b"{}"));
    applied(put(&server.builder().honours_idempotency(true).build().unwrap(), b"k", b"{}"));
    let seen = server.seen();
    assert_eq!(seen[0].header("idempotency-key"), None);
    // A string of structured fields.
    assert_eq!(seen[1].header("idempotency-key"), Some(&*format!("\"{}\"", "0".repeat(32))));
}

#[test]
fn f1_lifetimes_are_the_origins_only_where_asked_for() {
    use wtcache::Lifetime::{Default, For, NotKept};
    for (headers, lifetime) in [
        ("Cache-Control: max-age=60\r\n", For(Duration::from_secs(60))),
        ("Cache-Control: no-store\r\n", NotKept),
        ("Expires: 0\r\n", For(Duration::ZERO)),
        ("", Default),
    ] {
        let server = Server::answering(answer(200, headers, "{}"));
        assert_eq!(found(&server.source()).lifetime, Default, "{headers}");
        let source = server.builder().freshness(Freshness::Origin).build().unwrap();
        assert_eq!(found(&source).lifetime, lifetime, "{headers}");
        match applied(put(&source, b"k", b"{}")) {
            Confirmed::Record(record) => assert_eq!(record.lifetime, lifetime, "{headers}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn b2_a_record_over_the_limit_is_broken() {
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n0\r\n\r\n", "x".repeat(101));
    for row in [answer(200, "", &"x".repeat(101)), chunked] {
        let server = Server::answering(row);
        let error = get(&server.builder().body_limit(100).build().unwrap(), b"k").unwrap_err();
        assert_eq!(error.failure(), Failure::Broken);
        assert!(error.message().contains("100 bytes"), "{error}");
    }
    let server = Server::answering(answer(200, "", &"x".repeat(100)));
    assert_eq!(found(&server.builder().body_limit(100).build().unwrap()).value.len(), 100);
}

#[test]
fn b2_the_declared_length_is_checked_before_the_body_is_read() {
    let server = Server::new(|_, conn| {
        conn.request();
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx");
        conn.hold();
    });
    assert!(get(&server.source(), b"k").unwrap_err().message().contains("limit"));
    assert_eq!(applied(put(&server.source(), b"k", b"{}")), Confirmed::Unseen);
}

#[test]
fn a_body_that_is_no_record_is_broken() {
    for (headers, body) in [("", ""), ("", "[]"), ("Content-Encoding: gzip\r\n", "{}")] {
        let server = Server::answering(answer(200, headers, body));
        let source =
            server.builder().record_check(|_, b| if b.starts_with(b"{") { Ok(b) } else { Err("no object".into()) });
        assert_eq!(get(&source.build().unwrap(), b"k").unwrap_err().failure(), Failure::Broken, "{body}");
    }
}

#[test]
fn the_record_check_gives_what_is_cached() {
    let server = Server::answering(answer(200, "", " {} "));
    let check = |key: &[u8], body: Vec<u8>| Ok([key, body.trim_ascii()].concat());
    let source = server.builder().record_check(check).build().unwrap();
    assert_eq!(found(&source).value, b"k{}");
    assert_eq!(applied(put(&source, b"k", b"{}")), Confirmed::Record(Record::new(b"k{}".to_vec())));
}

#[test]
fn a_large_put_and_an_empty_one_arrive_whole() {
    let server = Server::answering(answer(200, "", "{}"));
    let source = server.source();
    for size in [0, 1, 16 * 1024, 1 << 20] {
        let value: Vec<u8> = (0..size).map(|i| i as u8).collect();
        applied(put(&source, b"k", &value));
        assert!(server.seen().last().unwrap().body == value, "{size}");
    }
}

#[test]
fn a_request_of_any_length_of_time_left_is_taken() {
    let server = Server::answering(answer(200, "", "{}"));
    assert!(Source::<Bytes>::get(&server.source(), b"k", &LoadCx::alone(Duration::MAX)).is_ok());
}
