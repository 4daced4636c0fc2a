//! Chapter 8 of the contract with `freshness = origin`: what the headers of an answer make of a record in the cache (RFC 9111, RFC 5861).
//! Time is a clock that is moved by hand.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use support::*;
use wtcache::{Builder, ByteCache, Bytes, Call, Failure, How, LoadError, WriteError};
use wtcache_http_source::{BuildError, Freshness, HttpSource, HttpSourceBuilder};
use wtcache_testkit::ManualClock;

/// A cache over an origin that gives prepared answers in turn.
struct World {
    clock: ManualClock,
    cache: ByteCache,
    answers: Arc<Mutex<VecDeque<String>>>,
    server: Server,
    /// One for each request, once it has been answered.
    answered: Receiver<()>,
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Records live for 1000 s where the origin says nothing.
fn world(
    source: impl FnOnce(HttpSourceBuilder) -> HttpSourceBuilder,
    options: impl FnOnce(Builder<Bytes>) -> Builder<Bytes>,
) -> World {
    let clock = ManualClock::new();
    let answers = Arc::new(Mutex::new(VecDeque::<String>::new()));
    let script = Arc::clone(&answers);
    let (tell, answered) = channel();
    let server = Server::new(move |_, conn| {
        while conn.request().is_some() {
            let Some(answer) = script.lock().unwrap().pop_front() else { return };
            conn.write(&answer);
            // The test may be over.
            let _ = tell.send(());
            if answer.is_empty() {
                return;
            }
        }
    });
    let source = source(server.builder().freshness(Freshness::Origin)).build().unwrap();
    let builder = ByteCache::builder(source).clock(clock.shared()).clean_start(true).lifetime(seconds(1000));
    World { clock, cache: options(builder).build().unwrap(), answers, server, answered }
}

fn plain() -> World {
    world(|s| s, |b| b)
}

impl World {
    fn says(&self, answer: impl Into<String>) {
        self.answers.lock().unwrap().push_back(answer.into());
    }

    fn read(&self) -> Result<(How, Option<String>), LoadError> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        self.cache.read("k", &Call::new()).map(|read| (read.how, read.entry.map(|entry| text(entry.value()))))
    }

    /// The value that a read gives which the origin answers so; and that request.
    fn load(&self, answer: impl Into<String>) -> (Option<String>, Seen) {
        let before = self.server.seen().len();
        self.says(answer);
        let value = self.read().unwrap().1;
        let mut seen = self.server.seen();
        assert_eq!(seen.len(), before + 1, "one request");
        (value, seen.pop().unwrap())
    }

    /// It is a hit to the last nanosecond of this time, and then no more.
    fn is_fresh_for(&self, n: u64) {
        self.clock.advance(seconds(n).saturating_sub(Duration::from_nanos(1)));
        assert_eq!(self.cache.peek("k").is_some(), n > 0, "within {n} s");
        self.clock.advance(Duration::from_nanos(u64::from(n > 0)));
        assert!(self.cache.peek("k").is_none(), "after {n} s");
    }
}

/// An answer with the record `{}` and these headers.
fn record(headers: &str) -> String {
    answer(200, &lines(headers), "{}")
}

fn unchanged(headers: &str) -> String {
    bare(304, &lines(headers))
}

/// Header lines, from those parted by a bar.
fn lines(headers: &str) -> String {
    headers.split('|').filter(|line| !line.is_empty()).map(|line| format!("{}\r\n", line.trim())).collect()
}

fn date(ago: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() - seconds(ago))
}

const SOME: Option<&str> = Some("{}");

#[test]
fn f1_a_record_is_fresh_for_as_long_as_the_origin_says() {
    for (headers, fresh) in [
        ("Cache-Control: max-age=60", 60),
        ("Cache-Control: public, max-age=60, s-maxage=5", 60),
        ("Cache-Control: max-age=60 | Age: 20", 40),
        ("Cache-Control: max-age=60 | Expires: 0", 60),
        ("Expires: Sun, 06 Nov 1994 08:50:37 GMT | Date: Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Cache-Control: max-age=3600 | Date: Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Cache-Control: max-age=60 | Age: 60", 0),
        ("Cache-Control: max-age=60, max-age=20", 20),
        ("Cache-Control: max-age=60 | Cache-Control: no-cache", 0),
        ("Cache-Control: max-age=sixty", 0),
        ("Cache-Control: max-age =60", 0),
        ("Expires: soon", 0),
        ("", 1000),
    ] {
        let w = plain();
        assert_eq!(w.load(record(headers)).0.as_deref(), SOME, "{headers}");
        w.is_fresh_for(fresh);
    }
    let w = plain();
    w.load(record(&format!(
        "Date: {} | Expires: {}",
        date(0),
        httpdate::fmt_http_date(SystemTime::now() + seconds(60))
    )));
    let left = w.cache.peek("k").unwrap().remaining(w.cache.now());
    assert!(left > seconds(30) && left <= seconds(61), "by Expires: {left:?}");
}

#[test]
fn f1_the_time_that_the_answer_took_counts() {
    let clock = ManualClock::new();
    let in_server = clock.clone();
    let server = Server::new(move |_, conn| {
        conn.request();
        in_server.advance(seconds(10));
        conn.write(record("Cache-Control: max-age=60 | Age: 20"));
    });
    let source = server.builder().freshness(Freshness::Origin).build().unwrap();
    let cache =
        ByteCache::builder(source).clock(clock.shared()).clean_start(true).deadline(seconds(20)).build().unwrap();
    assert_eq!(cache.get("k").unwrap().unwrap().remaining(cache.now()), seconds(30));
}

#[test]
fn f1_what_is_expired_is_revalidated_by_its_etag_and_renewed() {
    for tag in ["\"1\"", "W/\"1\""] {
        let w = plain();
        assert_eq!(w.load(record(&format!("ETag: {tag} | Cache-Control: max-age=60"))).1.header("if-none-match"), None);
        w.is_fresh_for(60);
        let (value, seen) = w.load(unchanged(&format!("ETag: {tag} | Cache-Control: max-age=30")));
        assert_eq!((value.as_deref(), seen.header("if-none-match")), (SOME, Some(tag)));
        w.is_fresh_for(30);
        let (value, _) = w.load(answer(200, "ETag: \"2\"\r\n", "[2]"));
        assert_eq!(value.as_deref(), Some("[2]"));
    }
}

#[test]
fn f1_a_304_that_says_nothing_of_freshness_leaves_it_as_it_was() {
    let w = plain();
    w.load(record("ETag: \"1\" | Cache-Control: max-age=60, stale-if-error=5"));
    for age in ["", "Age: 10"] {
        w.is_fresh_for(60);
        w.load(unchanged(age));
    }
    w.is_fresh_for(50);
    w.says(answer(503, "", "no"));
    assert_eq!(w.read().unwrap().0, How::Stale, "its window is as it was");
}

#[test]
fn f1_a_304_of_another_version_is_not_used() {
    let w = plain();
    w.load(record("ETag: \"1\" | Cache-Control: max-age=60"));
    w.is_fresh_for(60);
    w.says(unchanged("ETag: \"2\" | Cache-Control: max-age=60"));
    w.says(answer(200, "ETag: \"2\"\r\n", "[2]"));
    assert_eq!(w.read().unwrap().1.as_deref(), Some("[2]"));
    assert_eq!(w.server.seen().last().unwrap().header("if-none-match"), None);
}

#[test]
fn f1_no_cache_is_asked_for_each_time_and_its_record_not_sent_again() {
    for control in ["no-cache", "no-cache, max-age=60, stale-if-error=60", "max-age=0", "No-Cache=\"set-cookie\""] {
        let w = plain();
        let headers = format!("ETag: \"1\" | Cache-Control: {control}");
        w.load(record(&headers));
        for _ in 0..3 {
            assert!(w.cache.peek("k").is_none());
            let (value, seen) = w.load(unchanged(&headers));
            assert_eq!((value.as_deref(), seen.header("if-none-match")), (SOME, Some("\"1\"")), "{control}");
        }
    }
    let w = plain();
    w.load(record("Cache-Control: no-cache"));
    assert_eq!(w.cache.stats().entries, 0, "without a validator it is of no use");
}

#[test]
fn f1_no_store_is_not_retained() {
    let w = plain();
    w.load(record("ETag: \"1\" | Cache-Control: max-age=60"));
    w.is_fresh_for(60);
    for _ in 0..2 {
        w.load(record("ETag: \"2\" | Cache-Control: no-store, max-age=60, stale-while-revalidate=60"));
        assert_eq!(w.cache.stats().entries, 0, "nor what was there before");
    }
    assert_eq!(w.server.seen().last().unwrap().header("if-none-match"), None);
}

#[test]
fn f1_what_varies_is_fresh_where_all_requests_have_that_in_common() {
    for (vary, kept) in [
        ("Accept", true),
        ("user-agent, Accept-Encoding, X-TENANT", true),
        ("Host", true),
        ("*", false),
        ("Accept, X-Other", false),
        ("If-None-Match", false),
    ] {
        let w = world(|s| s.header("X-Tenant", "7"), |b| b);
        w.load(record(&format!("Cache-Control: max-age=60, stale-if-error=60 | Vary: {vary}")));
        w.is_fresh_for(if kept { 60 } else { 0 });
        assert_eq!(w.cache.stats().entries, u64::from(kept), "{vary}");
        let headers = format!("ETag: \"1\" | Cache-Control: max-age=60 | Vary: {vary}");
        w.load(record(&headers));
        w.is_fresh_for(if kept { 60 } else { 0 });
        assert_eq!(w.load(unchanged(&headers)).0.as_deref(), SOME, "revalidated: {vary}");
        w.is_fresh_for(if kept { 60 } else { 0 });
    }
}

#[test]
fn f1_an_absence_is_remembered_for_no_longer_than_the_origin_says() {
    for (status, headers, seconds_kept) in [
        (404, "", 5),
        (404, "Cache-Control: max-age=2", 2),
        (410, "Cache-Control: max-age=60", 5),
        (404, "Cache-Control: no-store", 0),
        (410, "Cache-Control: no-cache", 0),
        (404, "Vary: *", 0),
    ] {
        let w = plain();
        assert_eq!(w.load(answer(status, &lines(headers), "none")).0, None);
        if seconds_kept > 0 {
            w.clock.advance(seconds(seconds_kept) - Duration::from_nanos(1));
            assert_eq!(w.read().unwrap(), (How::Hit, None), "{headers}");
            w.clock.advance(Duration::from_nanos(1));
        }
        assert_eq!(w.load(record("")).0.as_deref(), SOME, "{headers}");
    }
}

#[test]
fn f1_by_default_no_header_counts() {
    let w = world(|s| s.freshness(Freshness::Table), |b| b);
    w.load(record("Cache-Control: no-store, must-revalidate, max-age=0 | Vary: * | Age: 100 | Expires: 0"));
    w.is_fresh_for(1000);
    let w = world(|s| s.freshness(Freshness::Table), |b| b);
    w.load(answer(404, "Cache-Control: no-store\r\n", ""));
    assert_eq!(w.read().unwrap(), (How::Hit, None));
}

#[test]
fn f1_a_lifetime_is_guessed_from_the_last_change_only_where_asked_for() {
    let headers = format!("Last-Modified: {} | Date: {}", date(1000), date(0));
    let left = |w: &World| w.cache.peek("k").unwrap().remaining(w.cache.now());
    let w = plain();
    w.load(record(&headers));
    assert_eq!(left(&w), seconds(1000), "the table's");
    let w = world(|s| s.heuristic_lifetime(0.1, seconds(500)), |b| b);
    w.load(record(&headers));
    assert!(left(&w) > seconds(60) && left(&w) <= seconds(101), "{:?}", left(&w));
    let w = world(|s| s.heuristic_lifetime(0.1, seconds(7)), |b| b);
    w.load(record(&headers));
    assert!(left(&w) > seconds(0) && left(&w) <= seconds(7), "the longest: {:?}", left(&w));
}

#[test]
fn f1_a_last_modified_is_a_validator_where_asked_for() {
    let (modified, control) = (date(100), "Cache-Control: max-age=60");
    let headers = format!("Last-Modified: {modified} | Date: {} | {control}", date(0));
    let by_date = || world(|s| s.last_modified(true), |b| b);
    let w = by_date();
    w.load(record(&headers));
    w.clock.advance(seconds(60));
    let (value, seen) = w.load(unchanged(control));
    assert_eq!((value.as_deref(), seen.header("if-modified-since")), (SOME, Some(&*modified)));
    assert_eq!(seen.header("if-none-match"), None);
    w.is_fresh_for(60);
    assert_eq!(w.load(answer(200, "", "[2]")).0.as_deref(), Some("[2]"));

    let with_tag = by_date();
    with_tag.load(record(&format!("{headers} | ETag: \"1\"")));
    let same_second = by_date();
    same_second.load(record(&format!("Last-Modified: {modified} | Date: {modified} | Cache-Control: max-age=1000")));
    let not_asked = plain();
    not_asked.load(record(&headers));
    for (w, tag) in [(with_tag, Some("\"1\"")), (same_second, None), (not_asked, None)] {
        w.clock.advance(seconds(1000));
        let seen = w.load(record("")).1;
        assert_eq!((seen.header("if-modified-since"), seen.header("if-none-match")), (None, tag));
    }
}

#[test]
fn p6_no_write_is_conditional_on_a_date() {
    let builder = HttpSource::builder("http://h/{id}").last_modified(true).honours_preconditions(true);
    assert!(matches!(builder.build().unwrap_err(), BuildError::Option { option: "last_modified", .. }));
}

#[test]
fn f2_stale_while_revalidate_serves_and_asks_in_the_background() {
    for control in ["max-age=10, stale-while-revalidate=5", "max-age=0, stale-while-revalidate=15"] {
        let w = plain();
        w.load(record(&format!("ETag: \"1\" | Cache-Control: {control}")));
        w.answered.recv().unwrap();
        w.clock.advance(seconds(15) - Duration::from_nanos(1));
        w.says(answer(200, "Cache-Control: max-age=60\r\n", "[2]"));
        assert_eq!(w.read().unwrap(), (How::Stale, Some("{}".into())), "{control}");
        w.answered.recv_timeout(AMPLE).unwrap();
        assert_eq!(w.server.seen()[1].header("if-none-match"), Some("\"1\""));
        // Beyond the window a reader waits for the refresh, where it has not ended yet.
        w.clock.advance(Duration::from_nanos(1));
        assert_eq!(w.read().unwrap().1.as_deref(), Some("[2]"), "{control}");
        assert_eq!(w.server.seen().len(), 2);
    }
}

#[test]
fn f2_stale_if_error_serves_where_the_origin_fails_or_cannot_be_reached() {
    for failure in [answer(500, "", "no"), answer(503, "", "no"), answer(504, "", "no"), String::new()] {
        let w = plain();
        w.load(record("Cache-Control: max-age=10, stale-if-error=5"));
        for (at, stale) in [(seconds(15) - Duration::from_nanos(1), true), (Duration::from_nanos(1), false)] {
            w.clock.advance(at);
            // A load whose pooled connection broke is sent again.
            w.says(&*failure);
            w.says(&*failure);
            let read = w.read();
            assert_eq!(read.is_ok_and(|read| read == (How::Stale, Some("{}".into()))), stale, "{failure}");
            w.answers.lock().unwrap().clear();
        }
    }
}

#[test]
fn f2_a_refusal_is_an_answer_that_nothing_stale_stands_in_for() {
    let w = plain();
    w.load(record("Cache-Control: max-age=10, stale-if-error=50"));
    w.clock.advance(seconds(10));
    w.says(answer(403, "", "no"));
    assert!(matches!(w.read(), Err(LoadError::Source(error)) if error.failure() == Failure::Refused));
    assert_eq!(w.load(answer(404, "", "gone")).0, None);
}

#[test]
fn f2_the_origins_windows_go_before_the_options_and_must_revalidate_forbids() {
    let stale = |control: &str| {
        let w = world(|s| s, |b| b.stale_if_error(seconds(20)));
        w.load(record(&format!("ETag: \"1\" | Cache-Control: {control}")));
        w.clock.advance(seconds(20));
        w.says(answer(503, "", "no"));
        w.read().is_ok()
    };
    assert!(stale("max-age=10"), "the options'");
    assert!(!stale("max-age=10, stale-if-error=5"));
    assert!(stale("max-age=10, stale-if-error=15"));
    assert!(!stale("max-age=10, must-revalidate"));
    assert!(!stale("max-age=10, stale-if-error=15, must-revalidate"));
    assert!(!stale("no-cache, stale-if-error=60"));

    let w = world(|s| s, |b| b.stale_while_revalidate(seconds(50)));
    w.load(record("Cache-Control: max-age=10, must-revalidate, stale-while-revalidate=50"));
    w.clock.advance(seconds(10));
    assert_eq!(w.load(answer(200, "", "[2]")).0.as_deref(), Some("[2]"), "readers wait");
}

/// What came late is late for its window too.
#[test]
fn f2_a_window_counts_from_the_end_of_the_lifetime() {
    let w = world(|s| s, |b| b.stale_if_error(seconds(500)));
    w.load(record("Cache-Control: max-age=60, stale-if-error=30 | Age: 70"));
    for (at, stale) in [(seconds(20) - Duration::from_nanos(1), true), (Duration::from_nanos(1), false)] {
        w.clock.advance(at);
        w.says(answer(503, "", "no"));
        assert_eq!(w.read().is_ok(), stale);
    }
}

/// P2, A3: a conflict drops what was here, and gives the caller what the origin has.
#[test]
fn p2_a_conflict_gives_the_record_that_is_there() {
    use std::error::Error;
    use wtcache_http_source::OriginAnswer;
    for status in [409, 412] {
        let w = world(|s| s.honours_preconditions(true), |b| b);
        w.load(record("ETag: \"1\""));
        w.says(answer(status, "ETag: \"2\"\r\nContent-Type: application/json\r\n", "[2]"));
        let Err(WriteError::Rejected(rejection)) = w.cache.put("k", b"{\"n\":3}".to_vec()) else { panic!("{status}") };
        let there = rejection.error.source().unwrap().downcast_ref::<OriginAnswer>().unwrap();
        assert_eq!((there.status, &*there.body, &there.version), (status, &b"[2]"[..], &Some(version("\"2\""))));
        assert!(w.cache.peek("k").is_none(), "{status}");
    }
}
