//! Merge patches that the origin merges itself.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wtcache::{Confirmed, IdempotencyKey, Outcome, Record};
use wtcache_http_source::HttpSource;

const KEY: IdempotencyKey = IdempotencyKey::from_bits(7);

fn patch(source: &HttpSource) -> Outcome<Confirmed<Vec<u8>>> {
    source.patch(b"a b", br#"{"n":1}"#, AMPLE, KEY)
}

fn applied(source: &HttpSource) -> Confirmed<Vec<u8>> {
    match patch(source) {
        Outcome::Applied(confirmed) => confirmed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_patch_goes_out_as_one_under_its_key_and_its_record_comes_back() {
    let server = Server::answering(answer(200, "ETag: \"2\"\r\n", r#"{"id":"a b","n":1}"#));
    let source = server.builder().honours_idempotency(true).build().unwrap();
    let record = Record::new(br#"{"id":"a b","n":1}"#.to_vec()).version(version("\"2\""));
    assert_eq!(applied(&source), Confirmed::Record(record));
    let seen = server.seen().remove(0);
    assert_eq!((seen.line.as_str(), &*seen.body), ("PATCH /items/a%20b HTTP/1.1", &br#"{"n":1}"#[..]));
    assert_eq!(seen.header("content-type"), Some("application/merge-patch+json"));
    assert_eq!(seen.header("idempotency-key"), Some("\"00000000000000000000000000000007\""));
    assert_eq!((seen.header("if-match"), seen.header("if-none-match")), (None, None));
}

/// Also of an origin that keeps what it is sent: it was sent a part.
#[test]
fn a1_what_was_merged_is_not_known_where_it_does_not_come_back() {
    for verbatim in [false, true] {
        let server = Server::answering(answer(204, "ETag: \"2\"\r\n", ""));
        let source = server.builder().stores_verbatim(verbatim).build().unwrap();
        assert_eq!(applied(&source), Confirmed::Unseen);
    }
}

#[test]
fn a2_a_refusal_is_one_and_a_failure_proves_nothing() {
    for (status, stale) in [(400, false), (403, false), (404, true), (409, true), (412, true), (415, false)] {
        let server = Server::answering(answer(status, "", ""));
        match patch(&server.builder().build().unwrap()) {
            Outcome::Rejected(rejection) => assert_eq!(rejection.stale_base, stale, "{status}"),
            other => panic!("{status}: {other:?}"),
        }
    }
    for status in [202, 207, 408, 500, 503] {
        let server = Server::answering(answer(status, "", ""));
        assert!(matches!(patch(&server.builder().build().unwrap()), Outcome::Unknown(_)), "{status}");
    }
}
