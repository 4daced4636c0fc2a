//! Where origins have their records: in a path or a query, and in the body, alone, in an array, inside an object.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wtcache::{Confirmed, Failure, Loaded, Record};
use wtcache_http_source::{BuildError, HttpSource, HttpSourceBuilder};

fn of_query(server: &Server) -> HttpSourceBuilder {
    let url = format!("http://{}/v1/items?id=eq.{{id}}&select=*", server.address);
    HttpSource::builder(url).timeout(AMPLE).record_in_array(true)
}

#[test]
fn a_key_is_one_value_of_the_query_and_changes_nothing_else() {
    let server = Server::answering(answer(200, "", "[{}]"));
    let source = of_query(&server).build().unwrap();
    for (key, encoded) in [
        ("a", "a"),
        ("..", ".."),
        ("a&b=c", "a%26b%3Dc"),
        ("x y+z", "x%20y%2Bz"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("%41", "%2541"),
        ("ä", "%C3%A4"),
    ] {
        get(&source, key.as_bytes()).unwrap();
        let target = format!("/v1/items?id=eq.{encoded}&select=*");
        assert_eq!(server.seen().last().unwrap().line, format!("GET {target} HTTP/1.1"));
        assert_eq!(source.url_of(key.as_bytes()).unwrap(), format!("http://{}{target}", server.address));
        applied(put(&source, key.as_bytes(), b"{}"));
        assert_eq!(server.seen().last().unwrap().line, format!("PUT {target} HTTP/1.1"));
    }
    assert_eq!(get(&source, b"").unwrap_err().failure(), Failure::Invalid);
}

#[test]
fn an_array_of_one_is_the_record_an_empty_one_is_absent_and_more_are_an_error() {
    let load = |body: &str| {
        let server = Server::answering(answer(200, "ETag: \"1\"\r\n", body));
        get(&of_query(&server).build().unwrap(), b"k")
    };
    let record = Record::new(b"{\"n\": 1.0}".to_vec()).version(version("\"1\""));
    assert_eq!(load(" [ {\"n\": 1.0} ] ").unwrap(), Loaded::Found(record));
    assert_eq!(load("[]").unwrap(), Loaded::Absent);
    for body in ["[{},{}]", "{}", "[{}", "null", "[null]", "\"[]\""] {
        let error = load(body).unwrap_err();
        assert_eq!((error.failure(), error.code()), (Failure::Broken, Some(200)), "{body}");
    }
}

/// A1: a put is confirmed by the record in the array; where there is none, it is applied, unseen.
#[test]
fn a1_a_put_is_confirmed_by_an_array_of_one() {
    let confirmed = |body: &str| {
        let server = Server::answering(answer(200, "", body));
        applied(put(&of_query(&server).build().unwrap(), b"k", b"{\"n\":2}"))
    };
    assert_eq!(confirmed("[{\"n\":2}]"), Confirmed::Record(Record::new(b"{\"n\":2}".to_vec())));
    for body in ["[]", "[{},{}]", "{}", "what"] {
        assert_eq!(confirmed(body), Confirmed::Unseen, "{body}");
    }
}

#[test]
fn a_record_inside_an_object_is_found_by_its_pointer() {
    let load = |pointer: &str, in_array, body: &str| {
        let server = Server::answering(answer(200, "", body));
        get(&server.builder().record_at(pointer).record_in_array(in_array).build().unwrap(), b"k")
    };
    let found = |value: &str| Loaded::Found(Record::new(value.as_bytes().to_vec()));
    assert_eq!(load("/data", false, "{\"data\": {\"n\":1} , \"meta\":{}}").unwrap(), found("{\"n\":1}"));
    assert_eq!(load("/data/0/a~1b", false, "{\"data\":[{\"a/b\":[7]}]}").unwrap(), found("[7]"));
    assert_eq!(load("/data", true, "{\"data\":[7]}").unwrap(), found("7"));
    assert_eq!(load("/data", true, "{\"data\":[]}").unwrap(), Loaded::Absent);
    for body in ["{\"errors\":[]}", "{\"data\":null}", "[]", "7", "{\"data\":{}"] {
        assert_eq!(load("/data", false, body).unwrap_err().failure(), Failure::Broken, "{body}");
    }
}

#[test]
fn a_put_has_its_record_where_the_origin_wants_it() {
    let server = Server::answering(answer(200, "", "{\"data\":{\"n\":2}}"));
    let source = server.builder().record_at("/data").put_at("/data").build().unwrap();
    let confirmed = applied(put(&source, b"k", b"{\"n\":1}"));
    assert_eq!(confirmed, Confirmed::Record(Record::new(b"{\"n\":2}".to_vec())));
    let seen = server.seen().pop().unwrap();
    assert_eq!((&*seen.body, seen.header("content-length")), (&b"{\"data\":{\"n\":1}}"[..], Some("16")));
    assert_eq!(server.builder().build().unwrap().url_of(b"k").unwrap(), format!("http://{}/items/k", server.address));
}

/// The check of records sees the record, not what is around it.
#[test]
fn a_record_is_checked_without_what_is_around_it() {
    let server = Server::answering(answer(200, "", "{\"data\":{}}"));
    let source = server
        .builder()
        .record_at("/data")
        .record_check(|_, record| if record == b"{}" { Ok(record) } else { Err("no".into()) });
    assert!(get(&source.build().unwrap(), b"k").is_ok());
}

#[test]
fn shapes_that_make_no_sense_are_refused() {
    let builder = || HttpSource::builder("http://h/{id}");
    for (builder, named) in [
        (builder().record_at("data"), "record_at"),
        (builder().record_at("/a~"), "record_at"),
        (builder().put_at("data"), "put_at"),
        (builder().heuristic_lifetime(1.5, AMPLE), "heuristic_lifetime"),
        (builder().heuristic_lifetime(f64::NAN, AMPLE), "heuristic_lifetime"),
    ] {
        match builder.build().unwrap_err() {
            BuildError::Option { option, .. } => assert_eq!(option, named),
            other => panic!("{named}: {other}"),
        }
    }
}
