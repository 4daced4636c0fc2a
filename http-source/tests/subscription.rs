//! I3: what the origin tells by itself, over real sockets: connected, cut off, gone on with, and lost.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod support;

use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{AMPLE, Conn, Server, answer};
use wtcache::{ByteCache, Bytes, KeyEvent, VersionOrder};
use wtcache_http_source::{
    ChangeForm, HttpSource, Subscribe, Subscription, SubscriptionState, SubscriptionStats, WhileCutOff,
};
use wtcache_origin::{Origin, OriginOptions};

const FEED: &str = "/items/_changes";
const QUICK: Duration = Duration::from_millis(5);

fn source(address: SocketAddr) -> Arc<HttpSource> {
    let builder =
        HttpSource::builder(format!("http://{address}/items/{{id}}")).header("Authorization", "Bearer secret");
    Arc::new(builder.version_order(VersionOrder::Number).timeout(AMPLE).build().unwrap())
}

fn cache_over(source: &Arc<HttpSource>) -> ByteCache {
    ByteCache::builder(Arc::clone(source)).clean_start(true).build().unwrap()
}

fn quantity(cache: &ByteCache, key: &str) -> Option<i64> {
    let entry = cache.peek(key)?;
    serde_json::from_slice::<serde_json::Value>(&entry).unwrap()["quantity"].as_i64()
}

fn load(cache: &ByteCache, key: &str) {
    cache.get(key).unwrap();
    assert!(cache.peek(key).is_some());
}

#[track_caller]
fn until(subscription: &Subscription, holds: impl Fn(&SubscriptionStats) -> bool) {
    assert!(subscription.wait_for(&holds, AMPLE), "{:?}", subscription.stats());
}

#[track_caller]
fn live(subscribe: Subscribe, cache: &ByteCache) -> Subscription {
    let subscription = subscribe.backoff(QUICK, 4 * QUICK).start(cache).unwrap();
    until(&subscription, |told| told.state == SubscriptionState::Live);
    subscription
}

/// The sample origin, and a cache before it.
fn stage() -> (Origin, Arc<HttpSource>, ByteCache) {
    let origin = Origin::start(OriginOptions::new().api_key("secret")).unwrap();
    let source = source(origin.addr());
    let cache = cache_over(&source);
    (origin, source, cache)
}

#[test]
fn i3_what_the_origin_tells_is_held_and_what_was_held_before_is_forgotten() {
    let (origin, source, cache) = stage();
    origin.seed("a", json!({ "quantity": 1 }));
    load(&cache, "a");
    for subscribe in [source.subscribe_sse(FEED), source.subscribe_poll(FEED).poll_every(QUICK)] {
        origin.seed("a", json!({ "quantity": 1 }));
        let subscription = live(subscribe, &cache);
        assert_eq!(quantity(&cache, "a"), None, "nobody told of what changed before");
        load(&cache, "a");
        let loads = cache.stats().loads;
        origin.seed("a", json!({ "quantity": 2 }));
        until(&subscription, |told| told.taken == 1);
        assert_eq!(quantity(&cache, "a"), Some(2));
        origin.remove("a");
        until(&subscription, |told| told.taken == 2);
        assert!(cache.get("a").unwrap().is_none());
        assert_eq!(cache.stats().loads, loads, "the absence was told");
        // Of what is not held, nothing is kept.
        origin.seed("b", json!({ "quantity": 3 }));
        until(&subscription, |told| told.invalidated == 1);
        assert_eq!(quantity(&cache, "b"), None);
        // A write through the cache is told, too, and that is no news.
        cache.put("a", br#"{"quantity":4}"#.to_vec()).unwrap();
        until(&subscription, |told| told.changes == 4);
        assert_eq!(subscription.stats().gaps, 1);
        subscription.stop();
    }
}

#[test]
fn i3_a_stream_that_goes_on_misses_nothing_and_forgets_nothing() {
    let (origin, source, cache) = stage();
    for key in ["a", "b"] {
        origin.seed(key, json!({ "quantity": 1 }));
    }
    let subscription = live(source.subscribe_sse(FEED).resumes(true), &cache);
    load(&cache, "a");
    load(&cache, "b");
    origin.pause_accept();
    origin.drop_connections();
    until(&subscription, |told| told.state == SubscriptionState::CutOff);
    origin.seed("a", json!({ "quantity": 2 }));
    assert_eq!(quantity(&cache, "a"), Some(1), "it is served while the origin cannot tell");
    let cut_off = Instant::now();
    let before = subscription.stats().state_for;
    until(&subscription, |told| told.state_for >= before + QUICK && told.state == SubscriptionState::CutOff);
    origin.resume_accept().unwrap();
    until(&subscription, |told| told.taken == 1);
    assert_eq!((quantity(&cache, "a"), quantity(&cache, "b")), (Some(2), Some(1)));
    let told = subscription.stats();
    assert_eq!((told.gaps, told.connections), (1, 2));
    assert!(told.last_error.is_some() && told.state == SubscriptionState::Live);
    assert!(told.state_for < cut_off.elapsed(), "it is live for a shorter time than it was cut off before");
}

#[test]
fn i3_a_stream_that_does_not_go_on_forgets_all() {
    let (origin, source, cache) = stage();
    origin.seed("a", json!({ "quantity": 1 }));
    let subscription = live(source.subscribe_sse(FEED), &cache);
    load(&cache, "a");
    origin.drop_connections();
    until(&subscription, |told| told.connections == 2);
    assert_eq!(quantity(&cache, "a"), None);
    assert_eq!(subscription.stats().gaps, 2);
}

#[test]
fn i3_an_origin_that_has_lost_its_history_says_so() {
    let folder = std::env::temp_dir().join(format!("wtcache-feed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for poll in [false, true] {
        let db = folder.join(format!("{poll}.sqlite"));
        let origin = Origin::start(OriginOptions::new().db(&db)).unwrap();
        origin.seed("a", json!({ "quantity": 1 }));
        let source = source(origin.addr());
        let cache = cache_over(&source);
        let subscribe = if poll { source.subscribe_poll(FEED) } else { source.subscribe_sse(FEED).resumes(true) };
        let subscription = live(subscribe.poll_every(QUICK), &cache);
        load(&cache, "a");
        let port = origin.addr().port();
        origin.stop();
        until(&subscription, |told| told.state == SubscriptionState::CutOff);
        drop(origin);
        let origin = Origin::start(OriginOptions::new().db(&db).port(port)).unwrap();
        until(&subscription, |told| told.gaps == 2);
        assert_eq!(quantity(&cache, "a"), None, "it may have changed in between");
        load(&cache, "a");
        origin.seed("a", json!({ "quantity": 2 }));
        until(&subscription, |told| told.taken == 1);
        drop(subscription);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A stream whose bytes the test gives, connection by connection: each ends when its sender is dropped.
struct Script {
    server: Server,
    next: Mutex<Receiver<Sender<String>>>,
}

impl Script {
    fn new() -> Self {
        let (open, next) = channel();
        let open = Mutex::new(open);
        let server = Server::new(move |_, conn: &mut Conn| {
            let Some(seen) = conn.request() else { return };
            if !seen.target().starts_with(FEED) {
                return conn.write(answer(200, "ETag: \"r5\"\r\n", "{\"quantity\":5}"));
            }
            conn.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n");
            let (say, said) = channel::<String>();
            open.lock().unwrap().send(say).unwrap();
            while let Ok(text) = said.recv() {
                conn.write(text);
            }
            let _ = conn.stream.shutdown(Shutdown::Both);
        });
        Self { server, next: Mutex::new(next) }
    }

    /// The next connection of the subscription.
    fn connection(&self) -> Sender<String> {
        self.next.lock().unwrap().recv_timeout(AMPLE).unwrap()
    }

    /// With which id each connection asked to go on.
    fn asked_from(&self) -> Vec<Option<String>> {
        let feeds = self.server.seen().into_iter().filter(|seen| seen.target().starts_with(FEED));
        feeds.map(|seen| seen.header("last-event-id").map(str::to_owned)).collect()
    }
}

fn put(key: &str, number: u64) -> String {
    format!(
        "data: {{\"op\":\"put\",\"key\":\"{key}\",\"record\":{{\"quantity\":{number}}},\"version\":\"\\\"r{number}\\\"\"}}\n"
    )
}

#[test]
fn i3_an_event_that_is_cut_off_is_none_and_is_told_again() {
    let script = Script::new();
    let source = source(script.server.address);
    let cache = cache_over(&source);
    let subscription = live(source.subscribe_sse(FEED).resumes(true), &cache);
    let first = script.connection();
    load(&cache, "a");
    first.send(format!("id: one\n{}\nid: two\n{}", put("a", 6), put("a", 7))).unwrap();
    until(&subscription, |told| told.taken == 1);
    drop(first);
    let second = script.connection();
    assert_eq!(script.asked_from(), [None, Some("one".to_owned())]);
    assert_eq!(quantity(&cache, "a"), Some(6), "the second event had no end");
    second.send(format!("id: two\n{}\n", put("a", 7))).unwrap();
    until(&subscription, |told| told.taken == 2);
    assert_eq!((quantity(&cache, "a"), subscription.stats().gaps), (Some(7), 1));
    let seen = script.server.seen();
    assert_eq!(seen[0].header("authorization"), Some("Bearer secret"), "as the source's own requests");
    assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
}

#[test]
fn i3_events_that_come_twice_or_late_change_nothing() {
    let script = Script::new();
    let source = source(script.server.address);
    let cache = cache_over(&source);
    let subscription = live(source.subscribe_sse(FEED), &cache);
    let stream = script.connection();
    load(&cache, "a");
    let events: Vec<String> = [8, 6, 8, 5, 7].iter().map(|number| format!("{}\n", put("a", *number))).collect();
    stream.send(events.concat()).unwrap();
    until(&subscription, |told| told.changes == 5);
    let told = subscription.stats();
    assert_eq!((quantity(&cache, "a"), told.taken, told.passed_over, told.gaps), (Some(8), 1, 4, 1));
}

#[test]
fn i3_what_cannot_be_read_makes_all_be_forgotten() {
    let script = Script::new();
    let source = source(script.server.address);
    let cache = cache_over(&source);
    let subscription = live(source.subscribe_sse(FEED).resumes(true).most_bytes(1024), &cache);
    let stream = script.connection();
    let rows = ["data: nonsense\n\n", "event: update\ndata: {\"op\":\"rename\",\"key\":\"a\"}\n\n", "data: [7]\n\n"];
    for (n, event) in rows.into_iter().enumerate() {
        load(&cache, "a");
        stream.send(format!(": a comment\n\nevent: ping\ndata: x\n\n{event}")).unwrap();
        until(&subscription, |told| told.unreadable == n as u64 + 1);
        assert_eq!(quantity(&cache, "a"), None, "{event}");
    }
    assert_eq!(subscription.stats().connections, 1, "and the stream goes on");
    load(&cache, "a");
    stream.send(format!("id: one\n\ndata: {}", "x".repeat(2000))).unwrap();
    let _second = script.connection();
    until(&subscription, |told| told.connections == 2);
    assert_eq!(script.asked_from(), [None, None], "it would be told again, and is too long");
    assert_eq!(quantity(&cache, "a"), None);
    assert!(subscription.stats().last_error.unwrap().contains("longer than 1024 bytes"));
}

/// The check of records panics for the one with this quantity.
fn source_that_panics_at(address: SocketAddr, quantity: &'static str) -> Arc<HttpSource> {
    let check = move |_: &[u8], record: Vec<u8>| {
        assert!(!String::from_utf8_lossy(&record).contains(quantity), "a slip of the program's");
        Ok(record)
    };
    let builder = HttpSource::builder(format!("http://{address}/items/{{id}}")).record_check(check);
    Arc::new(builder.version_order(VersionOrder::Number).timeout(AMPLE).build().unwrap())
}

#[test]
fn i3_a_panic_over_a_stream_forgets_all_and_the_feed_goes_on() {
    let script = Script::new();
    let source = source_that_panics_at(script.server.address, "666");
    let cache = cache_over(&source);
    let subscription = live(source.subscribe_sse(FEED).resumes(true), &cache);
    let first = script.connection();
    load(&cache, "a");
    load(&cache, "b");
    first.send(format!("id: one\n{}\n", put("a", 6))).unwrap();
    until(&subscription, |told| told.taken == 1);
    // That a has changed may not have been told: nothing that is held is known to be right.
    first.send(format!("id: two\n{}\n", put("a", 666))).unwrap();
    until(&subscription, |told| told.panics == 1);
    assert_eq!((quantity(&cache, "a"), quantity(&cache, "b")), (None, None));
    let second = script.connection();
    until(&subscription, |told| told.connections == 2 && told.state == SubscriptionState::Live);
    assert_eq!(script.asked_from(), [None, None], "from the present: the event would panic again");
    let told = subscription.stats();
    assert_eq!(told.gaps, 3, "the first connection, the panic, and the connection after it");
    assert!(told.last_error.unwrap().contains("panic"));
    load(&cache, "a");
    second.send(format!("{}\n", put("a", 7))).unwrap();
    until(&subscription, |told| told.taken == 2);
    assert_eq!(quantity(&cache, "a"), Some(7));
    drop(first);
}

#[test]
fn i3_a_panic_over_a_poll_forgets_all_and_begins_from_the_present() {
    let asked = Mutex::new(0);
    let server = Server::new(move |_, conn: &mut Conn| {
        while let Some(seen) = conn.request() {
            if !seen.target().starts_with(FEED) {
                conn.write(answer(200, "ETag: \"r5\"\r\n", "{\"quantity\":5}"));
                continue;
            }
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let put = r#"{"op":"put","key":"a","record":{"quantity":666},"version":"\"r6\""}"#;
            let changes = if *asked == 2 { put } else { "" };
            let body = format!(r#"{{"changes":[{changes}],"cursor":{asked}}}"#);
            conn.write(answer(200, "", &body));
        }
    });
    let source = source_that_panics_at(server.address, "666");
    let cache = cache_over(&source);
    load(&cache, "b");
    let subscription = live(source.subscribe_poll(FEED).poll_every(QUICK), &cache);
    until(&subscription, |told| told.panics == 1 && told.state == SubscriptionState::Live);
    let feeds = server.seen().into_iter().filter(|seen| seen.target().starts_with(FEED));
    let targets: Vec<String> = feeds.map(|seen| seen.target().to_owned()).take(3).collect();
    assert_eq!(targets, [FEED.to_owned(), format!("{FEED}?cursor=1"), FEED.to_owned()]);
    assert!(subscription.stats().gaps >= 3);
}

#[test]
fn i3_a_change_may_be_of_many_keys() {
    let script = Script::new();
    let source = source(script.server.address);
    let cache = cache_over(&source);
    let subscription = live(source.subscribe_sse(FEED), &cache);
    let stream = script.connection();
    for key in ["shop:1", "shop:2", "a"] {
        load(&cache, key);
    }
    stream
        .send(
            "data: [{\"op\":\"invalidate\",\"prefix\":\"shop:\"},\ndata: {\"op\":\"delete\",\"key\":\"b\"}]\n\n".into(),
        )
        .unwrap();
    until(&subscription, |told| told.changes == 2);
    assert_eq!([quantity(&cache, "shop:1"), quantity(&cache, "shop:2"), quantity(&cache, "a")], [None, None, Some(5)]);
    stream.send("event: reset\ndata: x\n\n".into()).unwrap();
    until(&subscription, |told| told.gaps == 2);
    assert_eq!(quantity(&cache, "a"), None);
}

#[test]
fn i3_a_stream_that_says_nothing_is_cut_off() {
    let script = Script::new();
    let source = source(script.server.address);
    let cache = cache_over(&source);
    let silence = Duration::from_millis(200);
    let subscription = live(source.subscribe_sse(FEED).silence(silence), &cache);
    let _first = script.connection();
    let _second = script.connection();
    until(&subscription, |told| told.gaps >= 2);
    assert!(subscription.stats().last_error.unwrap().contains("said nothing for 200ms"));
}

#[test]
fn i3_what_is_held_while_cut_off_is_forgotten_where_the_options_say_so() {
    let (origin, source, cache) = stage();
    origin.seed("a", json!({ "quantity": 1 }));
    let after = Duration::from_millis(50);
    let subscription = live(source.subscribe_sse(FEED).while_cut_off(WhileCutOff::Forget { after }), &cache);
    load(&cache, "a");
    // Loads keep the connection that they have; new ones are refused.
    let entry = cache.peek("a").unwrap();
    origin.pause_accept();
    origin.drop_connections();
    until(&subscription, |told| told.state == SubscriptionState::CutOff && told.gaps >= 2);
    assert_eq!(quantity(&cache, "a"), None);
    assert!(!entry.is_empty(), "what was handed out stays");
    let gaps = subscription.stats().gaps;
    until(&subscription, |told| told.gaps >= gaps + 2);
    origin.resume_accept().unwrap();
    until(&subscription, |told| told.state == SubscriptionState::Live);
    load(&cache, "a");
}

#[test]
fn b2_a_silent_stream_is_stopped_at_once() {
    let script = Script::new();
    let source = source(script.server.address);
    let cache = cache_over(&source);
    let subscription = live(source.subscribe_sse(FEED), &cache);
    let _stream = script.connection();
    let begun = Instant::now();
    subscription.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Also one that cannot connect, and waits for the next attempt.
    let nobody = HttpSource::builder("http://127.0.0.1:1/items/{id}").build().unwrap();
    let subscription = nobody.subscribe_sse(FEED).backoff(AMPLE, AMPLE).start(&cache).unwrap();
    until(&subscription, |told| told.state == SubscriptionState::CutOff);
    drop(subscription);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn b2_a_stop_waits_no_longer_than_it_was_told() {
    let script = Script::new();
    let source = source(script.server.address);
    let (enters, entered) = channel();
    let (leave, left) = channel::<()>();
    let left = Mutex::new(left);
    let told = move |_: &KeyEvent<'_, Bytes>| {
        enters.send(()).unwrap();
        // Until the sender is gone.
        left.lock().unwrap().recv().unwrap_err();
    };
    let cache = ByteCache::builder(Arc::clone(&source)).clean_start(true).listener(told).build().unwrap();
    let busy = live(source.subscribe_sse(FEED), &cache);
    script.connection().send(put("a", 2) + "\n").unwrap();
    entered.recv_timeout(AMPLE).unwrap();
    assert!(!busy.stop_within(QUICK), "it is in a listener");
    drop(leave);
    let idle = live(source.subscribe_sse(FEED), &cache);
    assert!(idle.stop_within(AMPLE), "it ended");
}

#[test]
fn i3_an_answer_that_is_no_stream_is_no_connection() {
    let refusals = [
        (answer(401, "", ""), "answered 401"),
        (answer(200, "Content-Type: application/json\r\n", "{}"), "application/json"),
        (answer(204, "Content-Type: text/event-stream\r\n", ""), "answered 204"),
        (answer(200, "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n", "x"), "content coding"),
    ];
    for (bytes, words) in refusals {
        let server = Server::answering(bytes);
        let source = source(server.address);
        let cache = cache_over(&source);
        let subscription = source.subscribe_sse(FEED).backoff(QUICK, QUICK).start(&cache).unwrap();
        until(&subscription, |told| told.last_error.as_ref().is_some_and(|error| error.contains(words)));
        let told = subscription.stats();
        assert_eq!((told.connections, told.gaps), (0, 0), "nothing is known to have been missed: {words}");
    }
}

#[test]
fn i3_a_poll_goes_on_by_its_cursor_and_starts_anew_where_that_is_gone() {
    let bodies = [
        (200, r#"{"changes":[],"cursor":17}"#),
        (200, r#"{"changes":[{"type":"put","id":"a","item":{"quantity":6},"revision":6}, 7],"cursor":"1/8"}"#),
        (410, ""),
        (200, r#"{"changes":[],"cursor":19}"#),
        (200, r#"{"changes":[{"type":"delete","id":"a"}],"cursor":20,"reset":true}"#),
        (200, "nonsense"),
        (200, r#"{"changes":[],"cursor":null}"#),
        (500, ""),
        (200, r#"{"changes":[],"cursor":21}"#),
    ];
    let polls = Mutex::new(bodies.into_iter());
    let (done, last) = channel();
    let done = Mutex::new(done);
    let server = Server::new(move |_, conn: &mut Conn| {
        while let Some(seen) = conn.request() {
            if !seen.target().starts_with(FEED) {
                conn.write(answer(200, "ETag: \"r5\"\r\n", "{\"quantity\":5}"));
                continue;
            }
            let next = polls.lock().unwrap().next();
            match next {
                Some((status, body)) => conn.write(answer(status, "", body)),
                None => {
                    done.lock().unwrap().send(()).unwrap();
                    conn.hold();
                }
            }
        }
    });
    let source = source(server.address);
    let cache = cache_over(&source);
    load(&cache, "a");
    let mut form = ChangeForm::default();
    (form.op, form.key, form.record) = ("type".into(), "id".into(), "item".into());
    (form.version, form.version_as) = ("revision".into(), "\"r{version}\"".into());
    let subscription = source
        .subscribe_poll("/items/_changes?table=items")
        .form(form)
        .cursor("since")
        .poll_every(QUICK)
        .backoff(QUICK, QUICK)
        .start(&cache)
        .unwrap();
    last.recv_timeout(AMPLE).unwrap();
    until(&subscription, |told| told.connections == 5);
    let asked: Vec<String> = server.seen().iter().map(|seen| seen.target().to_owned()).collect();
    let asked: Vec<&str> =
        asked.iter().filter_map(|target| target.strip_prefix("/items/_changes?table=items")).collect();
    let want = ["", "&since=17", "&since=1%2F8", "", "&since=19", "&since=20", "", "", "", "&since=21"];
    assert_eq!(asked, want);
    let told = subscription.stats();
    // The start, 7, the 410 and the start after it, the reset, two that could not be read, and the start after those.
    assert_eq!((told.gaps, told.unreadable, told.changes), (8, 3, 2));
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    let (_origin, source, cache) = stage();
    let address = source.url_of(b"k").unwrap();
    let rows: [(Subscribe, &str); 10] = [
        (source.subscribe_sse("http://elsewhere/items/_changes"), "subscribe.url: it is not at http://127.0.0.1"),
        (source.subscribe_sse("https://127.0.0.1/x"), "subscribe.url"),
        (source.subscribe_sse("/a b"), "subscribe.url: ' ' at byte 2"),
        (source.subscribe_sse("nowhere"), "subscribe.url"),
        (source.subscribe_sse(FEED).silence(Duration::ZERO), "subscribe.silence"),
        (source.subscribe_sse(FEED).backoff(AMPLE, QUICK), "subscribe.backoff"),
        (source.subscribe_sse(FEED).most_bytes(10), "subscribe.most_bytes"),
        (source.subscribe_poll(FEED).cursor("a&b"), "subscribe.cursor"),
        (source.subscribe_poll(FEED).poll_every(Duration::ZERO), "subscribe.poll_every"),
        (
            source.subscribe_sse(FEED).while_cut_off(WhileCutOff::Forget { after: Duration::ZERO }),
            "subscribe.while_cut_off",
        ),
    ];
    for (subscribe, words) in rows {
        let error = subscribe.start(&cache).map(drop).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let whole = address.replace("/items/k", FEED);
    source.subscribe_sse(whole).start(&cache).unwrap().stop();
}
