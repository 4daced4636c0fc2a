//! Lists by queries of the origin's: where a query goes, and what of an answer is a record.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::*;
use wtcache::{Failure, Lifetime};
use wtcache_http_source::{BuildError, Freshness, HttpSource, HttpSourceBuilder, ListGet, OriginList};

fn url(server: &Server) -> String {
    format!("http://{}/items", server.address)
}

fn source(server: &Server, change: impl FnOnce(ListGet) -> ListGet) -> HttpSource {
    server.builder().list(change(ListGet::new(url(server)))).build().unwrap()
}

fn list(headers: &str, body: &str) -> OriginList {
    let server = Server::answering(answer(200, headers, body));
    source(&server, |list| list.version_at("/tag")).list("", AMPLE).unwrap()
}

#[test]
fn a_query_goes_out_as_it_stands() {
    for (own, query, target) in [
        ("", "", "/items"),
        ("", "a=1&sort(-b)|c==%20*", "/items?a=1&sort(-b)|c==%20*"),
        ("?key=of", "a=1", "/items?key=of&a=1"),
        ("?key=of", "", "/items?key=of"),
        ("?", "a", "/items?a"),
    ] {
        let server = Server::answering(answer(200, "", "[]"));
        let options = ListGet::new(url(&server) + own);
        let source = server.builder().list(options).build().unwrap();
        assert!(source.list(query, AMPLE).unwrap().records.is_empty());
        assert_eq!(server.seen()[0].target(), target);
    }
}

#[test]
fn a_query_that_no_url_can_carry_is_not_sent() {
    let server = Server::answering(answer(200, "", "[]"));
    let source = source(&server, |list| list);
    for (query, why) in [("a b", "byte 1"), ("a#b", "byte 1"), ("ä", "byte 0"), (&*"x".repeat(9000), "9000 bytes")] {
        let error = source.list(query, AMPLE).unwrap_err();
        assert_eq!(error.failure(), Failure::Invalid);
        assert!(error.message().contains(why), "{error}");
    }
    assert!(server.seen().is_empty());
    let without = server.source().list("", AMPLE).unwrap_err();
    assert_eq!(without.failure(), Failure::Invalid);
}

#[test]
fn each_record_is_by_itself_and_what_is_wrong_is_told() {
    let list = list(
        "Link: </items?page=2>; rel=\"next\"\r\n",
        r#"[{"id":"a","tag":1},{"id":7},{},{"id":"twice"},"text",{"id":"twice"},{"id":"b","tag":[]},{"id":""},{"id":"c"}]"#,
    );
    let keys: Vec<&[u8]> = list.records.iter().map(|(key, _)| key.as_slice()).collect();
    assert_eq!(keys, [&b"a"[..], b"7", b"c"]);
    assert_eq!(list.records[0].1.version, Some(version("\"1\"")));
    assert_eq!(list.records[1].1.value, br#"{"id":7}"#);
    for (wrong, why) in list.wrong.iter().zip([
        "number 2 of the answer: it is no record with a key",
        "number 3 of the answer: the answer has more than one record of its key",
        "number 4 of the answer: it is no record with a key",
        "number 5 of the answer: the answer has more than one record of its key",
        "number 6 of the answer: the record's version is neither",
        "number 7 of the answer: it is no record with a key",
    ]) {
        assert!(wrong.starts_with(why), "{wrong}");
    }
    assert_eq!((list.wrong.len(), list.has_next_page), (6, true));
}

#[test]
fn what_the_check_refuses_is_wrong_and_the_lifetime_is_the_lists() {
    let server = Server::answering(answer(200, "Cache-Control: max-age=7\r\n", r#"{"data":[{"id":"a"},{"id":"b"}]}"#));
    let check = |key: &[u8], body: Vec<u8>| if key == b"a" { Err("no".to_owned()) } else { Ok(body) };
    let list = ListGet::new(url(&server)).records_at("/data");
    let source = server.builder().freshness(Freshness::Origin).record_check(check).list(list).build().unwrap();
    let list = source.list("", AMPLE).unwrap();
    assert_eq!(list.wrong, ["number 0 of the answer: no"]);
    let [(_, record)] = &list.records[..] else { panic!("{list:?}") };
    assert_ne!(record.lifetime, Lifetime::Default, "{record:?}");
    assert!(!list.has_next_page);
}

#[test]
fn what_may_be_parts_of_records_is_not_kept() {
    let server = Server::answering(answer(200, "Cache-Control: max-age=7\r\n", r#"[{"id":"a"}]"#));
    let lifetime = |source: &HttpSource, query| source.list(query, AMPLE).unwrap().records[0].1.lifetime;
    let by_default = source(&server, |list| list);
    for query in ["select=id", "a=1&fields[items]=id", "select(id)", "s%65lect=id", "select"] {
        assert_eq!(lifetime(&by_default, query), Lifetime::NotKept, "{query}");
    }
    for query in ["", "selected=1", "a=select"] {
        assert_ne!(lifetime(&by_default, query), Lifetime::NotKept, "{query}");
    }
    let of_its_own = source(&server, |list| list.parts_by(["only"]));
    assert_eq!(lifetime(&of_its_own, "only=id"), Lifetime::NotKept);
    assert_ne!(lifetime(&of_its_own, "select=id"), Lifetime::NotKept);
}

#[test]
fn another_answer_is_an_error_as_of_a_load() {
    for (status, body, failure, why) in [
        (404, "{}", Failure::Refused, ""),
        (400, "{}", Failure::Refused, ""),
        (503, "", Failure::Failed, ""),
        (200, "{}", Failure::Broken, "no array"),
        (200, "[{},", Failure::Broken, "no JSON"),
        (200, "[\"more than the limit of bytes that is said below\"]", Failure::Broken, "larger than the limit"),
    ] {
        let server = Server::answering(answer(status, "", body));
        let source = one_attempt(&server.url()).list(ListGet::new(url(&server)).body_limit(40)).build().unwrap();
        let error = source.list("", AMPLE).unwrap_err();
        assert_eq!((error.failure(), error.code()), (failure, Some(i32::from(status))), "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    let server = Server::new(|_, conn| conn.hold());
    let source = one_attempt(&server.url()).list(ListGet::new(url(&server))).build().unwrap();
    assert_eq!(source.list("", Duration::from_millis(50)).unwrap_err().failure(), Failure::TimedOut);
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    let refused = |list: ListGet| match HttpSourceBuilder::build(HttpSource::builder("http://h/{id}").list(list)) {
        Err(BuildError::Option { option, .. }) => option,
        other => panic!("{:?}", other.map(drop)),
    };
    assert_eq!(refused(ListGet::new("http://other/items")), "list.url");
    assert_eq!(refused(ListGet::new("http://h/{ids}")), "list.url");
    assert_eq!(refused(ListGet::new("http://h/").key_at("")), "list.key_at");
    assert_eq!(refused(ListGet::new("http://h/").records_at("x")), "list.records_at");
    assert_eq!(refused(ListGet::new("http://h/").version_at("x")), "list.version_at");
    assert_eq!(refused(ListGet::new("http://h/").body_limit(0)), "list.body_limit");
}
