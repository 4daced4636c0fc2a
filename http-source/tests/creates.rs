//! Records that the origin makes with a `POST`, and where it names them.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use wtcache::{ByteCache, Bytes, Confirmed, CreateCx, CreateError, Failure, Made, Outcome, Record, Source};
use wtcache_http_source::{BuildError, CreatePost, HttpSource, HttpSourceBuilder, Retries};

fn making(server: &Server) -> HttpSourceBuilder {
    server.builder().create(CreatePost::new(format!("http://{}/items?for=all", server.address)))
}

fn create(source: &HttpSource) -> Outcome<Made<Bytes>> {
    Source::<Bytes>::create(source, br#"{"n":1}"#, &CreateCx::alone(AMPLE))
}

/// The key and what was confirmed; `None`: the key is unknown.
fn made(source: &HttpSource) -> Option<(String, Confirmed<Vec<u8>>)> {
    match create(source) {
        Outcome::Applied(Made::Known { key, confirmed }) => Some((String::from_utf8(key.into()).unwrap(), confirmed)),
        Outcome::Applied(Made::KeyUnknown) => None,
        Outcome::Rejected(rejection) => panic!("{rejection:?}"),
        Outcome::Unknown(error) => panic!("{error:?}"),
    }
}

fn record(body: &str) -> Confirmed<Vec<u8>> {
    Confirmed::Record(Record::new(body.as_bytes().to_vec()))
}

#[test]
fn a_record_is_posted_as_it_is_and_named_by_the_body_of_the_answer() {
    let server = Server::answering(answer(201, "ETag: \"1\"\r\n", r#"{ "id":"a b", "n":1 }"#));
    let source = making(&server).honours_idempotency(true).build().unwrap();
    let body = br#"{ "id":"a b", "n":1 }"#.to_vec();
    let confirmed = Confirmed::Record(Record::new(body).version(version("\"1\"")));
    assert_eq!(made(&source), Some(("a b".to_owned(), confirmed)));
    let seen = server.seen().remove(0);
    assert_eq!((seen.line.as_str(), &*seen.body), ("POST /items?for=all HTTP/1.1", &br#"{"n":1}"#[..]));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("idempotency-key").map(str::len), Some(34));
    assert_eq!((seen.header("if-match"), seen.header("if-none-match")), (None, None));
}

#[test]
fn a_key_is_where_the_answer_has_it() {
    for (status, headers, body, key, confirmed) in [
        (200, "", r#"{"id":7}"#, Some("7"), record(r#"{"id":7}"#)),
        (201, "Location: /items/a%20b\r\n", "", Some("a b"), Confirmed::Unseen),
        (201, "Location: /items/x\r\n", r#"{"n":1}"#, Some("x"), record(r#"{"n":1}"#)),
        (201, "Location: /items/x\r\n", r#"{"id":"x"}"#, Some("x"), record(r#"{"id":"x"}"#)),
        (201, "Location: /items/x\r\n", "no json", Some("x"), record("no json")),
        (226, "Location: /items/x\r\n", r#"{"id":"x"}"#, Some("x"), Confirmed::Unseen),
        (201, "Location: /items/x\r\n", r#"{"id":"y"}"#, None, Confirmed::Unseen),
        (201, "Location: /items/x\r\nLocation: /items/y\r\n", "", None, Confirmed::Unseen),
        (201, "Location: /other/x\r\n", "", None, Confirmed::Unseen),
        (201, "Location: /items/x/y\r\n", "", None, Confirmed::Unseen),
        (201, "Location: /items/\r\n", "", None, Confirmed::Unseen),
        (201, "Location: /items/%zz\r\n", "", None, Confirmed::Unseen),
        (201, "Location: http://elsewhere:1/items/x\r\n", "", None, Confirmed::Unseen),
        (201, "Location: //elsewhere:1/items/x\r\n", "", None, Confirmed::Unseen),
        (201, "Location: items/a%2Fb\r\n", "", Some("a/b"), Confirmed::Unseen),
        (201, "Location: ./other/../items/x\r\n", "", Some("x"), Confirmed::Unseen),
        (201, "Location: ../../items/x\r\n", "", Some("x"), Confirmed::Unseen),
        (201, "Location: items/x/..\r\n", "", None, Confirmed::Unseen),
        (201, "Location: x\r\n", "", None, Confirmed::Unseen),
        (201, "Location: items/x?for=all\r\n", "", None, Confirmed::Unseen),
        (201, "Location: items:x\r\n", "", None, Confirmed::Unseen),
        (201, "", r#"{"id":""}"#, None, Confirmed::Unseen),
        (201, "", r#"{"id":null}"#, None, Confirmed::Unseen),
        (201, "", r#"{"id":1.5}"#, None, Confirmed::Unseen),
        (200, "", "[]", None, Confirmed::Unseen),
        (201, "", "", None, Confirmed::Unseen),
    ] {
        let server = Server::answering(answer(status, headers, body));
        let made = made(&making(&server).build().unwrap());
        let wanted = key.map(|key| (key.to_owned(), confirmed));
        assert_eq!(made, wanted, "{status} {headers} {body}");
    }
    let server = Server::answering(bare(204, "Location: /items/x\r\n"));
    assert_eq!(made(&making(&server).build().unwrap()), Some(("x".to_owned(), Confirmed::Unseen)));
    // A URL, too, and in a query.
    let server = Server::new(|_, conn| {
        while conn.request().is_some() {
            let address = conn.stream.local_addr().unwrap();
            conn.write(answer(201, &format!("Location: HTTP://{address}/items?id=eq.a%26b\r\n"), ""));
        }
    });
    let builder = one_attempt(&format!("http://{}/items?id=eq.{{id}}", server.address));
    let source = builder.create(CreatePost::new(format!("http://{}/items", server.address))).build().unwrap();
    assert_eq!(made(&source), Some(("a&b".to_owned(), Confirmed::Unseen)));
    // As it stands to where the record was sent to; and without the query that all records' URLs have.
    for (one, all, location, key) in [
        ("/items/{id}", "/items/", "7", Some("7")),
        ("/items/{id}", "/items", "7", None),
        ("/v1/items/{id}.json", "/v1/items?for=all", "items/a%20b.json", Some("a b")),
        ("/items/{id}?full=1", "/items", "/items/7", Some("7")),
        ("/items/{id}?full=1", "/items", "/items/7?full=1", Some("7")),
        ("/items/{id}?full=1", "/items", "/items/7?full=0", None),
        ("/items?id=eq.{id}", "/items", "?id=eq.7", Some("7")),
        ("/items?id=eq.{id}&full=1", "/items", "?id=eq.7", None),
    ] {
        let server = Server::answering(answer(201, &format!("Location: {location}\r\n"), ""));
        let builder = one_attempt(&format!("http://{}{one}", server.address));
        let source = builder.create(CreatePost::new(format!("http://{}{all}", server.address))).build().unwrap();
        let wanted = key.map(|key| (key.to_owned(), Confirmed::Unseen));
        assert_eq!(made(&source), wanted, "{one} {all} {location}");
    }
    let server = Server::new(|_, conn| {
        while conn.request().is_some() {
            let address = conn.stream.local_addr().unwrap();
            conn.write(answer(201, &format!("Location: //{address}/items/x\r\n"), ""));
        }
    });
    assert_eq!(made(&making(&server).build().unwrap()), Some(("x".to_owned(), Confirmed::Unseen)));
}

#[test]
fn records_keys_and_bodies_are_where_they_are_said_to_be() {
    let server = Server::answering(answer(201, "", r#"{"data":[{"no":{"n":"k"}}]}"#));
    let create = CreatePost::new(format!("http://{}/items", server.address)).key_at("/no/n");
    let builder = server.builder().create(create).record_at("/data").record_in_array(true).put_at("/data");
    assert_eq!(made(&builder.build().unwrap()), Some(("k".to_owned(), record(r#"{"no":{"n":"k"}}"#))));
    assert_eq!(server.seen()[0].body, br#"{"data":{"n":1}}"#);
    // What is no record of the table is made all the same, and not seen.
    let server = Server::answering(answer(201, "", r#"{"id":"k"}"#));
    let source = making(&server).record_check(|key, _| Err(format!("{key:?}"))).build().unwrap();
    assert_eq!(made(&source), Some(("k".to_owned(), Confirmed::Unseen)));
}

#[test]
fn a2_a_status_says_whether_a_record_was_made() {
    for status in [202, 207, 303, 408, 500, 503] {
        let server = Server::answering(answer(status, "Location: /items/x\r\n", "{}"));
        match create(&making(&server).build().unwrap()) {
            Outcome::Unknown(error) => assert_eq!(error.code(), Some(status.into())),
            _ => panic!("{status}"),
        }
    }
    for status in [301, 400, 401, 404, 409, 412, 422, 429] {
        let server = Server::answering(answer(status, "Location: /items/x\r\n", "{}"));
        match create(&making(&server).build().unwrap()) {
            Outcome::Rejected(rejection) => {
                assert_eq!((rejection.error.code(), rejection.stale_base), (Some(status.into()), false));
            }
            _ => panic!("{status}"),
        }
    }
    let server = Server::new(|_, conn| conn.first_byte());
    assert!(matches!(create(&making(&server).build().unwrap()), Outcome::Unknown(_)), "the connection broke");
    let nowhere = one_attempt("http://127.0.0.1:1/items/{id}").create(CreatePost::new("http://127.0.0.1:1/items"));
    assert!(matches!(create(&nowhere.build().unwrap()), Outcome::Rejected(_)), "nothing was sent");
    let server = Server::answering(answer(201, "", "{}"));
    match create(&server.source()) {
        Outcome::Rejected(rejection) => assert_eq!(rejection.error.failure(), Failure::Invalid),
        _ => panic!("it has nowhere to send it"),
    }
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn d4_a_create_is_sent_again_only_where_that_makes_no_second_record() {
    let failing_first = |status: u16| {
        Server::new(move |n, conn| {
            while conn.request().is_some() {
                conn.write(match n {
                    0 => answer(status, "Connection: close\r\n", ""),
                    _ => answer(201, "", r#"{"id":"k"}"#),
                });
                if n == 0 {
                    return;
                }
            }
        })
    };
    for (status, honoured, sends) in [(503, false, 1), (503, true, 2), (429, false, 2)] {
        let server = failing_first(status);
        let builder = making(&server).retries(Retries::new().writes(1)).honours_idempotency(honoured);
        let cache = ByteCache::builder(builder.build().unwrap()).build().unwrap();
        let created = cache.create(br#"{"n":1}"#.to_vec());
        assert_eq!(server.seen().len(), sends, "{status} {honoured}");
        match created {
            Ok(created) => assert_eq!((created.key.as_deref(), created.kept, sends), (Some(&b"k"[..]), true, 2)),
            Err(error) => assert!(matches!(error, CreateError::Unknown(_)) && sends == 1, "{error}"),
        }
        let keys: Vec<_> =
            server.seen().iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]));
    }
}

#[test]
fn options_of_a_create_that_are_refused_say_which_and_why() {
    let good = || CreatePost::new("http://127.0.0.1:1/items");
    for (create, option, why) in [
        (CreatePost::new("/items"), "create.url", "absolute"),
        (CreatePost::new("http://127.0.0.1:2/items"), "create.url", "another scheme, host or port"),
        (CreatePost::new("http://127.0.0.1:1/items/{id}"), "create.url", "it has a brace"),
        (CreatePost::new("http://{id}/items"), "create.url", "a brace must be in the path"),
        (good().key_at(""), "create.key_at", "is an object"),
        (good().key_at("id"), "create.key_at", "no JSON pointer"),
    ] {
        let shown = format!("{create:?}");
        match HttpSource::builder("http://127.0.0.1:1/items/{id}").create(create).build() {
            Err(BuildError::Option { option: named, message }) => {
                assert_eq!(named, option, "{shown}");
                assert!(message.contains(why), "{shown}: {message}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
}
