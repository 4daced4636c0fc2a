//! Several records with one request: a list of keys, and what of its answer is whose (G10); and loads of several callers that go out together.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::*;
use wtcache::{Batch, ByteCache, Bytes, Failure, Lifetime, LoadCx, Loaded, Record, Source, SourceError};
use wtcache_http_source::{BatchGet, BuildError, Freshness, HttpSource, HttpSourceBuilder};
use wtcache_testkit::{ManualClock, spawn};

type Answers = Vec<Result<Loaded<Vec<u8>>, SourceError>>;

fn list(server: &Server) -> BatchGet {
    BatchGet::new(format!("http://{}/items?ids={{ids}}", server.address))
}

fn get_many(source: &HttpSource, keys: &[&[u8]]) -> Answers {
    let mut batch = Batch::alone(AMPLE, keys.iter().copied());
    let asked = Source::<Bytes>::load_many(source).unwrap().get_many(&mut batch);
    batch.into_answers(asked).collect()
}

/// What a list with this body gives for the keys a, b and c.
fn of_abc(change: impl FnOnce(BatchGet) -> BatchGet, headers: &str, body: &str) -> (Server, Answers) {
    let server = Server::answering(answer(200, headers, body));
    let source = server.builder().batch(change(list(&server))).build().unwrap();
    let answers = get_many(&source, &[b"a", b"b", b"c"]);
    (server, answers)
}

fn found(body: &str) -> Loaded<Vec<u8>> {
    Loaded::Found(Record::new(body.as_bytes().to_vec()))
}

fn is_broken(answer: &Result<Loaded<Vec<u8>>, SourceError>, why: &str) {
    let error = answer.as_ref().unwrap_err();
    assert_eq!((error.failure(), error.code()), (Failure::Broken, Some(200)), "{error}");
    assert!(error.message().contains(why), "{error}");
}

/// Answers each list with a record of each key in it, and a request for one record with that.
fn echoing() -> Server {
    Server::new(|_, conn| {
        while let Some(seen) = conn.request() {
            let target = seen.target();
            let record = |key: &str| format!("{{\"id\":\"{key}\"}}");
            let body = match target.split_once("?ids=") {
                Some((_, ids)) => format!("[{}]", ids.split(',').map(record).collect::<Vec<_>>().join(",")),
                None => record(target.rsplit('/').next().unwrap()),
            };
            conn.write(answer(200, "", &body));
        }
    })
}

fn targets(server: &Server) -> Vec<String> {
    server.seen().iter().map(|seen| seen.target().to_owned()).collect()
}

#[test]
fn g10_many_records_are_one_request_and_each_is_its_keys() {
    let body = r#"[ {"id":"c", "n":3} ,{"n":1.0,"id":"a"}]"#;
    let (server, answers) = of_abc(|list| list, "ETag: \"of the list\"\r\nLast-Modified: x\r\n", body);
    assert_eq!(targets(&server), ["/items?ids=a,b,c"]);
    let [a, b, c] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(a.as_ref().unwrap(), &found(r#"{"n":1.0,"id":"a"}"#), "as it stands, without the list's version");
    assert_eq!(b.as_ref().unwrap(), &Loaded::Absent, "what the answer lacks");
    assert_eq!(c.as_ref().unwrap(), &found(r#"{"id":"c", "n":3}"#));
}

#[test]
fn records_keys_and_versions_are_where_they_are_said_to_be() {
    let body =
        r#"{"data":{"list":[{"key":{"n":7},"tag":"x"},{"key":{"n":"b"},"tag":"W/\"y\""},{"key":{"n":"c"},"tag":4}]}}"#;
    let server = Server::answering(answer(200, "", body));
    let options = list(&server).records_at("/data/list").key_at("/key/n").version_at("/tag").separator("&ids=");
    let source = server.builder().batch(options).build().unwrap();
    let answers = get_many(&source, &[b"7", b"b", b"c"]);
    assert_eq!(targets(&server), ["/items?ids=7&ids=b&ids=c"]);
    let versions: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Ok(Loaded::Found(record)) => record.version.clone().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(versions, [version("\"x\""), version("W/\"y\""), version("\"4\"")]);
}

#[test]
fn g10_what_is_wrong_with_one_record_is_an_error_of_its_key() {
    let body = r#"[{"id":"a","v":true},{"id":"b"},{"id":"c"},{"id":"b"}]"#;
    let (_server, answers) = of_abc(|list| list.version_at("/v"), "", body);
    is_broken(&answers[0], "version is neither text nor a number");
    is_broken(&answers[1], "more than one record of this key");
    assert_eq!(answers[2].as_ref().unwrap(), &found(r#"{"id":"c"}"#));

    let server = Server::answering(answer(200, "", r#"[{"id":"a"},{"id":"b"}]"#));
    let check = |key: &[u8], body| if key == b"a" { Err("it is not to be".to_owned()) } else { Ok(body) };
    let source = server.builder().batch(list(&server)).record_check(check).build().unwrap();
    let answers = get_many(&source, &[b"a", b"b"]);
    is_broken(&answers[0], "it is not to be");
    assert_eq!(answers[1].as_ref().unwrap(), &found(r#"{"id":"b"}"#));
}

#[test]
fn g10_an_answer_with_something_doubtful_says_of_no_key_that_it_is_absent() {
    for (headers, body, why) in [
        ("", r#"[{"id":"a"},{"id":"x"}]"#, "number 1 of the answer was not asked for"),
        ("", r#"[{"id":"a"},null]"#, "number 1 of the answer is no record"),
        ("", r#"[{"id":"a"},{"ID":"b"}]"#, "number 1 of the answer is no record"),
        ("", r#"[{"id":"a"},{"id":true}]"#, "number 1 of the answer is no record"),
        ("", r#"[{"id":"a"},{"id":1.5}]"#, "number 1 of the answer is no record"),
        ("Link: </items?page=1>; rel=prev, </items?page=3>; rel=\"last next\"\r\n", r#"[{"id":"a"}]"#, "a next page"),
    ] {
        let (_server, answers) = of_abc(|list| list, headers, body);
        assert_eq!(answers[0].as_ref().unwrap(), &found(r#"{"id":"a"}"#), "{body}");
        is_broken(&answers[1], why);
        is_broken(&answers[2], why);
    }
    let (_server, answers) = of_abc(|list| list, "Link: </items?page=1>; rel=prev\r\n", r#"[{"id":"a"}]"#);
    assert_eq!(answers[1].as_ref().unwrap(), &Loaded::Absent);
}

#[test]
fn an_answer_that_is_no_list_is_an_error_of_all_keys() {
    for (body, why) in [
        ("nothing", "is no JSON"),
        ("{}", "no array of records"),
        ("null", "no array of records"),
        ("[{\"id\":\"a\"}", "is no JSON"),
    ] {
        let (server, answers) = of_abc(|list| list, "", body);
        answers.iter().for_each(|answer| is_broken(answer, why));
        assert_eq!(server.seen().len(), 1, "{body}");
    }
    let (_server, answers) = of_abc(|list| list.records_at("/data"), "", "{}");
    is_broken(&answers[1], "has no \"data\" where the records should be");
    let (_server, answers) = of_abc(|list| list.body_limit(10), "", r#"[{"id":"abcdef"}]"#);
    is_broken(&answers[1], "larger than the limit of 10 bytes");
    for (status, failure) in
        [(404, Failure::Refused), (410, Failure::Refused), (403, Failure::Refused), (206, Failure::Broken)]
    {
        let server = Server::answering(answer(status, "", r#"[{"id":"a"}]"#));
        let source = server.builder().batch(list(&server)).build().unwrap();
        for answer in get_many(&source, &[b"a", b"b"]) {
            let error = answer.unwrap_err();
            assert_eq!((error.failure(), error.code()), (failure, Some(status.into())));
        }
    }
}

#[test]
fn f1_the_lifetime_of_a_list_is_that_of_each_record() {
    let headers = "Cache-Control: max-age=60\r\nAge: 20\r\n";
    let server = Server::answering(answer(200, headers, r#"[{"id":"a"}]"#));
    let builder = server.builder().freshness(Freshness::Origin).batch(list(&server));
    let answers = get_many(&builder.build().unwrap(), &[b"a", b"b"]);
    let lifetime = Lifetime::For(Duration::from_secs(40));
    let record = Record::new(br#"{"id":"a"}"#.to_vec()).lifetime(lifetime);
    assert_eq!(answers[0].as_ref().unwrap(), &Loaded::Found(record));
    assert_eq!(answers[1].as_ref().unwrap(), &Loaded::AbsentFor(lifetime));

    // When the list was last modified is no age of a record in it.
    let headers = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let server = Server::answering(answer(200, headers, r#"[{"id":"a"}]"#));
    let builder = server.builder().freshness(Freshness::Origin).last_modified(true).batch(list(&server));
    let source = builder.heuristic_lifetime(0.1, Duration::from_secs(3600)).build().unwrap();
    assert_eq!(get_many(&source, &[b"a", b"b"])[0].as_ref().unwrap(), &found(r#"{"id":"a"}"#));
}

#[test]
fn g10_keys_that_a_list_cannot_carry_are_loaded_one_by_one() {
    let server = echoing();
    let source = server.builder().batch(list(&server)).build().unwrap();
    let keys: [&[u8]; 6] = [b"a", b"b,c", b"", b"d e", b"\xff", b"f"];
    let answers = get_many(&source, &keys);
    assert_eq!(targets(&server), ["/items/b%2Cc", "/items/%FF", "/items?ids=a,d%20e,f"]);
    assert_eq!(answers[0].as_ref().unwrap(), &found(r#"{"id":"a"}"#));
    assert_eq!(answers[1].as_ref().unwrap(), &found(r#"{"id":"b%2Cc"}"#));
    assert_eq!(answers[2].as_ref().unwrap_err().failure(), Failure::Invalid);
    // This origin tells the key as it stands in the URL: it was not asked for.
    is_broken(&answers[3], "was not asked for");
    // Of what goes in a path, dots are none of a list's.
    let path = BatchGet::new(format!("http://{}/all/{{ids}}", server.address));
    let source = server.builder().batch(path).build().unwrap();
    let _ = get_many(&source, &[b"..", b"a", b"b"]);
    assert_eq!(targets(&server).last().unwrap(), "/all/a,b");
}

#[test]
fn b2_a_request_has_no_more_keys_than_it_may_nor_than_fit_into_a_url() {
    let server = echoing();
    let source = server.builder().batch(list(&server).most_keys(2)).build().unwrap();
    let answers = get_many(&source, &[b"a", b"b", b"c", b"d", b"e"]);
    assert!(answers.iter().all(Result::is_ok));
    // A list of one is a load of that record.
    assert_eq!(targets(&server), ["/items?ids=a,b", "/items?ids=c,d", "/items/e"]);

    let server = echoing();
    let source = server.builder().batch(list(&server)).build().unwrap();
    let keys: Vec<String> = (0..50).map(|n| format!("{n:0>500}")).collect();
    let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    assert!(get_many(&source, &keys).iter().all(Result::is_ok));
    let targets = targets(&server);
    assert_eq!(targets.iter().map(|target| target.matches("00").count() > 0).filter(|is| *is).count(), 5);
    assert!(targets.iter().all(|target| target.len() <= 6 * 1024), "12 of 500 bytes each, with what is around them");
}

#[test]
fn g10_get_many_of_a_cache_asks_for_what_is_not_resident() {
    let server = echoing();
    let cache = ByteCache::builder(server.builder().batch(list(&server)).build().unwrap()).build().unwrap();
    assert!(cache.get(b"b").unwrap().is_some());
    let answers = cache.get_many([&b"a"[..], b"b", b"c", b"a"]);
    let values: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().unwrap().to_vec()).collect();
    assert_eq!(values, [br#"{"id":"a"}"#, br#"{"id":"b"}"#, br#"{"id":"c"}"#, br#"{"id":"a"}"#]);
    assert_eq!(targets(&server), ["/items/b", "/items?ids=a,c"]);
    assert!(cache.get(b"c").unwrap().is_some());
    assert_eq!(server.seen().len(), 2, "what a list brought is resident");
}

#[test]
fn a_list_is_attempted_again_as_a_load_is() {
    let server = Server::new(|n, conn| {
        while conn.request().is_some() {
            conn.write(match n {
                0 => answer(503, "Connection: close\r\n", ""),
                _ => answer(200, "", r#"[{"id":"a"},{"id":"b"}]"#),
            });
            if n == 0 {
                return;
            }
        }
    });
    let source = HttpSource::builder(server.url()).timeout(AMPLE).batch(list(&server)).build().unwrap();
    assert!(get_many(&source, &[b"a", b"b"]).iter().all(Result::is_ok));
    assert_eq!(targets(&server), ["/items?ids=a,b"; 2]);
}

#[test]
fn options_of_a_batch_that_are_refused_say_which_and_why() {
    let base = "http://127.0.0.1:1/items";
    let good = || BatchGet::new(format!("{base}?ids={{ids}}"));
    for (batch, option, why) in [
        (BatchGet::new(base), "batch.url", "no {ids} for the keys"),
        (BatchGet::new(format!("{base}?ids={{id}}")), "batch.url", "no {ids}"),
        (BatchGet::new("http://127.0.0.1:2/items?ids={ids}"), "batch.url", "another scheme, host or port"),
        (BatchGet::new("https://127.0.0.1:1/items?ids={ids}"), "batch.url", "another scheme, host or port"),
        (good().separator(""), "batch.separator", "empty"),
        (good().separator("x"), "batch.separator", "what a key may hold"),
        (good().separator("%41"), "batch.separator", "what a key may hold"),
        (good().separator("%zz"), "batch.separator", "encodes nothing"),
        (good().separator(",,"), "batch.separator", "comes once"),
        (good().separator("+"), "batch.separator", "not allowed"),
        (good().separator(" "), "batch.separator", "not allowed"),
        (BatchGet::new(format!("{base}/{{ids}}")).separator("&id="), "batch.separator", "in no path"),
        (good().most_keys(0), "batch.most_keys", "0 is not from 1"),
        (good().body_limit(0), "batch.body_limit", "0 bytes"),
        (good().records_at("data"), "batch.records_at", "no JSON pointer"),
        (good().key_at(""), "batch.key_at", "is an object"),
        (good().key_at("id"), "batch.key_at", "no JSON pointer"),
        (good().version_at("etag"), "batch.version_at", "no JSON pointer"),
        (good().window(Duration::from_secs(2)), "batch.window", "more than"),
    ] {
        let shown = format!("{batch:?}");
        match HttpSource::builder(format!("{base}/{{id}}")).batch(batch).build() {
            Err(BuildError::Option { option: named, message }) => {
                assert_eq!(named, option, "{shown}");
                assert!(message.contains(why), "{shown}: {message}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
}

const WINDOW: Duration = Duration::from_millis(2);

fn gathering(server: &Server, clock: &ManualClock, most: usize) -> Arc<HttpSource> {
    let options: HttpSourceBuilder = server.builder().clock(clock.shared());
    Arc::new(options.batch(list(server).most_keys(most).window(WINDOW)).build().unwrap())
}

fn load(
    source: &Arc<HttpSource>,
    key: &'static [u8],
    left: Duration,
) -> wtcache_testkit::Running<Result<Loaded<Vec<u8>>, SourceError>> {
    let source = Arc::clone(source);
    spawn(move || Source::<Bytes>::get(&*source, key, &LoadCx::alone(left)))
}

#[test]
fn g2_loads_of_several_callers_within_the_window_are_one_request() {
    let (server, clock) = (echoing(), ManualClock::new());
    let source = gathering(&server, &clock, 100);
    let a = load(&source, b"a", AMPLE);
    assert!(clock.wait_for_alarms(1), "it waits for the window");
    let b = load(&source, b"b", AMPLE);
    assert!(clock.wait_for_alarms(2));
    // Of a key that is asked for already, too; what a list cannot carry goes alone.
    let again = load(&source, b"a", AMPLE);
    assert!(clock.wait_for_alarms(3));
    assert_eq!(load(&source, b"x,y", AMPLE).join().unwrap(), found(r#"{"id":"x%2Cy"}"#));
    assert_eq!(targets(&server), ["/items/x%2Cy"]);
    clock.advance(WINDOW);
    for (load, body) in [(a, r#"{"id":"a"}"#), (b, r#"{"id":"b"}"#), (again, r#"{"id":"a"}"#)] {
        assert_eq!(load.join().unwrap(), found(body));
    }
    assert_eq!(targets(&server)[1..], ["/items?ids=a,b"]);
    // The next one begins a window of its own; alone in it, it asks for its record alone.
    let next = load(&source, b"c", AMPLE);
    assert!(clock.wait_for_alarms(4));
    clock.advance(WINDOW);
    assert_eq!(next.join().unwrap(), found(r#"{"id":"c"}"#));
    assert_eq!(targets(&server)[2..], ["/items/c"]);
}

#[test]
fn b2_a_full_round_does_not_wait_for_its_window() {
    let (server, clock) = (echoing(), ManualClock::new());
    let source = gathering(&server, &clock, 2);
    let a = load(&source, b"a", AMPLE);
    assert!(clock.wait_for_alarms(1));
    let b = load(&source, b"b", AMPLE);
    assert_eq!(a.join().unwrap(), found(r#"{"id":"a"}"#), "no time has passed");
    assert_eq!(b.join().unwrap(), found(r#"{"id":"b"}"#));
    assert_eq!(targets(&server), ["/items?ids=a,b"]);
}

#[test]
fn g10_outcomes_of_gathered_loads_are_each_its_own() {
    let server = Server::answering(answer(200, "", r#"[{"id":"b"},{"id":"c"},{"id":"c"}]"#));
    let clock = ManualClock::new();
    let source = gathering(&server, &clock, 3);
    let a = load(&source, b"a", AMPLE);
    assert!(clock.wait_for_alarms(1));
    let b = load(&source, b"b", AMPLE);
    assert!(clock.wait_for_alarms(2));
    let c = load(&source, b"c", AMPLE);
    assert_eq!(a.join().unwrap(), Loaded::Absent);
    assert_eq!(b.join().unwrap(), found(r#"{"id":"b"}"#));
    is_broken(&c.join(), "more than one record");
    // What fails for all is told to all.
    let server = Server::answering(answer(503, "", ""));
    let source = gathering(&server, &clock, 2);
    let (a, b) = (load(&source, b"a", AMPLE), load(&source, b"b", AMPLE));
    assert_eq!([a.join().unwrap_err().code(), b.join().unwrap_err().code()], [Some(503), Some(503)]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn g7_every_callers_deadline_holds_and_a_leaders_is_not_shared() {
    let (server, clock) = (echoing(), ManualClock::new());
    let source = gathering(&server, &clock, 100);
    // No more time than the window takes: alone, and at once.
    assert_eq!(load(&source, b"a", WINDOW).join().unwrap(), found(r#"{"id":"a"}"#));
    assert_eq!(targets(&server), ["/items/a"]);

    // The leader's time is over when its window is; who waited asks for itself.
    let late = load(&source, b"a", WINDOW * 2);
    assert!(clock.wait_for_alarms(1));
    let patient = load(&source, b"b", AMPLE);
    assert!(clock.wait_for_alarms(2));
    clock.advance(WINDOW * 2);
    assert_eq!(late.join().unwrap_err().failure(), Failure::TimedOut);
    assert_eq!(patient.join().unwrap(), found(r#"{"id":"b"}"#));
    assert_eq!(targets(&server)[1..], ["/items/b"]);
}

#[test]
fn g7_who_waits_for_anothers_request_leaves_by_its_own_deadline() {
    // The origin does not answer a list before this test says so.
    let (open, gate) = std::sync::mpsc::sync_channel::<()>(0);
    let gate = std::sync::Mutex::new(gate);
    let server = Server::new(move |_, conn| {
        while conn.request().is_some() {
            let _ = gate.lock().unwrap().recv();
            conn.write(answer(200, "", r#"[{"id":"a"},{"id":"b"}]"#));
        }
    });
    let clock = ManualClock::new();
    let source = gathering(&server, &clock, 2);
    let a = load(&source, b"a", AMPLE);
    assert!(clock.wait_for_alarms(1));
    let hasty = load(&source, b"b", WINDOW * 2);
    assert!(clock.wait_for_alarms(2));
    clock.advance(WINDOW * 2);
    assert_eq!(hasty.join().unwrap_err().failure(), Failure::TimedOut);
    open.send(()).unwrap();
    assert_eq!(a.join().unwrap(), found(r#"{"id":"a"}"#));
}

#[test]
fn g3_a_load_that_begins_after_an_invalidation_is_in_no_request_sent_before_it() {
    let (open, gate) = std::sync::mpsc::sync_channel::<()>(0);
    let gate = std::sync::Mutex::new(gate);
    let server = Server::new(move |n, conn| {
        while conn.request().is_some() {
            if n == 0 {
                let _ = gate.lock().unwrap().recv();
            }
            conn.write(answer(200, "", &format!(r#"[{{"id":"a","n":{n}}},{{"id":"b","n":{n}}}]"#)));
        }
    });
    let clock = ManualClock::new();
    let source = gathering(&server, &clock, 2);
    let cache = ByteCache::builder(Arc::clone(&source)).clock(clock.shared()).build().unwrap();
    let read = |key: &'static [u8]| {
        let cache = cache.clone();
        spawn(move || cache.get(key).map(|entry| entry.unwrap().to_vec()))
    };
    let before = [read(b"a"), read(b"b")];
    while server.seen().is_empty() {
        std::thread::yield_now();
    }
    cache.invalidate(b"a");
    cache.invalidate(b"b");
    let after = [read(b"a"), read(b"b")];
    for (read, key) in after.into_iter().zip(["a", "b"]) {
        assert_eq!(read.join().unwrap(), format!(r#"{{"id":"{key}","n":1}}"#).as_bytes());
    }
    open.send(()).unwrap();
    for (read, key) in before.into_iter().zip(["a", "b"]) {
        assert_eq!(read.join().unwrap(), format!(r#"{{"id":"{key}","n":1}}"#).as_bytes(), "g4: moved, they look again");
    }
}
