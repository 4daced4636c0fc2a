//! What is attempted again, when, and what the cache is told of the sends before: chapters 1 and 4 of the contract.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use support::*;
use wtcache::{ByteCache, Clock, Expect, Failure, Loaded, Tick, WriteError};
use wtcache_http_source::{HttpSource, HttpSourceBuilder, Retries};
use wtcache_origin::{Answer, Entry, Fault, FaultKind, Method, Origin, OriginOptions};
use wtcache_testkit::{ManualClock, spawn};

const INSTANT: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

/// Retries without pauses of their own.
fn at_once(retries: Retries) -> Retries {
    retries.backoff(Duration::ZERO, Duration::ZERO).budget(100, 100)
}

/// Answers the first requests so, and all others with a record.
fn failing(first: impl IntoIterator<Item = String>) -> Server {
    let first: Mutex<Vec<String>> = Mutex::new(first.into_iter().collect());
    Server::new(move |_, conn| {
        while conn.request().is_some() {
            let mut left = first.lock().unwrap();
            conn.write(if left.is_empty() { answer(200, "", "{}") } else { left.remove(0) });
        }
    })
}

fn loads(server: &Server, retries: Retries) -> HttpSource {
    HttpSource::builder(server.url()).timeout(AMPLE).retries(retries).build().unwrap()
}

#[test]
fn a_load_is_attempted_again_after_what_passes() {
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        let server = failing([answer(status, "", "no")]);
        let source = loads(&server, at_once(Retries::new().loads(1)));
        assert!(matches!(get(&source, b"k"), Ok(Loaded::Found(_))), "{status}");
        assert_eq!(server.seen().len(), 2, "{status}");
        let stats = source.stats();
        assert_eq!((stats.attempts, stats.retries, stats.answered), (2, 1, 1), "{status}");
        assert_eq!(stats.refused + stats.failed, 1, "{status}");
    }
    for status in [301, 400, 401, 403, 409, 422, 600] {
        let server = failing([answer(status, "", "no")]);
        let error = get(&loads(&server, at_once(Retries::new())), b"k").unwrap_err();
        assert_eq!((error.code(), server.seen().len()), (Some(status.into()), 1));
    }
}

#[test]
fn a_load_whose_connection_breaks_is_attempted_again() {
    let server = Server::new(|n, conn| {
        conn.request();
        if n > 0 {
            conn.write(answer(200, "", "{}"));
        }
    });
    let source = loads(&server, at_once(Retries::new()));
    assert!(matches!(get(&source, b"k"), Ok(Loaded::Found(_))));
    let stats = source.stats();
    assert_eq!((stats.broken, stats.answered, server.seen().len()), (1, 1, 2));
}

#[test]
fn a_load_fails_with_the_last_answer_once_its_attempts_are_used_up() {
    let server = failing((500..=509).map(|status| answer(status, "", "no")));
    let error = get(&loads(&server, at_once(Retries::new().loads(3))), b"k").unwrap_err();
    assert_eq!((error.code(), server.seen().len()), (Some(503), 4));
}

#[test]
fn by_default_loads_are_attempted_three_times_and_writes_once() {
    let server = Server::answering(answer(503, "", "no"));
    let source = HttpSource::builder(server.url()).timeout(AMPLE).build().unwrap();
    assert_eq!(get(&source, b"k").unwrap_err().code(), Some(503));
    assert_eq!(server.seen().len(), 3);
    let _ = unknown(put(&source, b"k", b"{}"), Failure::Failed);
    let _ = unknown(delete(&source, b"k"), Failure::Failed);
    assert_eq!(server.seen().len(), 5);
    assert_eq!(server.seen()[3].header("idempotency-key"), None);
}

/// A server that notes the time of each request by the source's clock.
fn noting(clock: &ManualClock, first: String) -> (Server, Arc<Mutex<Vec<Tick>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let (clock, noted) = (clock.clone(), Arc::clone(&times));
    let server = Server::new(move |_, conn| {
        while conn.request().is_some() {
            let number = {
                let mut noted = noted.lock().unwrap();
                noted.push(clock.now());
                noted.len()
            };
            conn.write(if number == 1 { first.clone() } else { answer(200, "", "{}") });
        }
    });
    (server, times)
}

#[test]
fn a_retry_waits_for_as_long_as_the_origin_said() {
    let clock = ManualClock::new();
    let (server, times) = noting(&clock, answer(503, "Retry-After: 7\r\n", ""));
    let source = HttpSource::builder(server.url())
        .timeout(AMPLE)
        .clock(clock.shared())
        .retries(Retries::new().backoff(SECOND, SECOND))
        .build()
        .unwrap();
    let start = clock.now();
    let loading = spawn(move || get(&source, b"k").map(|_| source));
    assert!(clock.wait_for_alarms(1), "it waits");
    clock.advance(7 * SECOND - INSTANT);
    assert!(!loading.has_ended());
    clock.advance(SECOND + INSTANT);
    loading.join().unwrap();
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 2);
    assert!(times[1].since(start) >= 7 * SECOND);
}

#[test]
fn a_pause_that_outlasts_the_deadline_is_not_begun() {
    let server = Server::answering(answer(503, "Retry-After: 31\r\n", ""));
    for timeout in [AMPLE, 3600 * SECOND] {
        // The clock stands: who begins to wait has no end of it.
        let source = HttpSource::builder(server.url()).timeout(timeout).clock(ManualClock::new().shared());
        let source = source.retries(at_once(Retries::new())).build().unwrap();
        let error = spawn(move || get(&source, b"k").unwrap_err()).join();
        assert_eq!((error.code(), error.retry_after()), (Some(503), Some(31 * SECOND)), "{timeout:?}");
    }
    assert_eq!(server.seen().len(), 2, "the source's deadline counts, and the caller's");
}

#[test]
fn an_attempt_that_may_be_followed_by_another_is_cut_short() {
    let server = Server::new(|n, conn| {
        conn.request();
        if n == 0 {
            conn.hold();
        }
        conn.write(answer(200, "", "{}"));
    });
    let retries = at_once(Retries::new().loads(1)).attempt_timeout(Duration::from_millis(200));
    let source = loads(&server, retries);
    assert!(matches!(get(&source, b"k"), Ok(Loaded::Found(_))));
    assert_eq!((source.stats().timed_out, server.seen().len()), (1, 2));
}

#[test]
fn the_last_attempt_has_all_the_time_that_is_left() {
    let server = Server::new(|_, conn| {
        conn.request();
        std::thread::sleep(Duration::from_millis(300));
        conn.write(answer(200, "", "{}"));
    });
    let source = loads(&server, at_once(Retries::none()).attempt_timeout(Duration::from_millis(20)));
    assert!(matches!(get(&source, b"k"), Ok(Loaded::Found(_))));
}

#[test]
fn b2_retries_end_where_their_budget_does() {
    let server = Server::answering(answer(503, "", "no"));
    let source = HttpSource::builder(server.url())
        .timeout(AMPLE)
        .retries(Retries::new().loads(2).backoff(Duration::ZERO, Duration::ZERO).budget(20, 3))
        .no_breaker()
        .build()
        .unwrap();
    for _ in 0..100 {
        get(&source, b"k").unwrap_err();
    }
    let stats = source.stats();
    // A fifth of 100 calls, and three beside.
    assert!((20..=23).contains(&stats.retries), "{stats:?}");
    assert_eq!(stats.attempts, 100 + stats.retries);
    assert_eq!(server.seen().len() as u64, stats.attempts);
    assert!(stats.retries_over_budget >= 77, "{stats:?}");
}

/// A cache over the sample origin. Time stands still.
struct Setup {
    origin: Origin,
    cache: ByteCache,
    source: Arc<HttpSource>,
    clock: ManualClock,
}

fn over_origin(change: impl FnOnce(HttpSourceBuilder) -> HttpSourceBuilder) -> Setup {
    let (origin, clock) = (Origin::start(OriginOptions::new()).unwrap(), ManualClock::new());
    origin.seed("k", json!({ "sku": "A", "quantity": 1, "warehouseId": "w" }));
    let builder = HttpSource::builder(format!("{}/items/{{id}}", origin.url()))
        .timeout(AMPLE)
        .clock(clock.shared())
        .write_max_idle_age(Duration::ZERO)
        .retries(at_once(Retries::new().writes(2)));
    let source = Arc::new(change(builder).build().unwrap());
    let cache = ByteCache::builder(Arc::clone(&source))
        .clock(clock.shared())
        .clean_start(true)
        .deadline(AMPLE)
        .lifetime(3600 * SECOND)
        .build()
        .unwrap();
    Setup { origin, cache, source, clock }
}

fn value(quantity: u64) -> Vec<u8> {
    json!({ "sku": "A", "quantity": quantity, "warehouseId": "w" }).to_string().into_bytes()
}

impl Setup {
    fn fault(&self, method: Method, kind: FaultKind) {
        self.origin.fault(Fault::on(method, "k").kind(kind));
    }

    fn writes(&self) -> Vec<Entry> {
        self.origin.log().into_iter().filter(|entry| entry.method != Method::Get).collect()
    }

    fn in_doubt(&self) -> u64 {
        self.cache.stats().in_doubt
    }

    /// How many reads of the key reach the origin out of two: none, one or both.
    fn asks(&self) -> usize {
        let loads = || self.origin.log().iter().filter(|entry| entry.method == Method::Get).count();
        let before = loads();
        for _ in 0..2 {
            self.cache.get("k").unwrap();
        }
        loads() - before
    }
}

#[test]
fn d4_a_write_that_nobody_answered_is_not_sent_again_undeclared() {
    for kind in [FaultKind::ResetBeforeApply, FaultKind::ResetAfterApply, FaultKind::Answer(Answer::new(503))] {
        let setup = over_origin(|builder| builder);
        setup.fault(Method::Put, kind.clone());
        assert!(matches!(setup.cache.put("k", value(2)), Err(WriteError::InDoubt(_))), "{kind:?}");
        assert_eq!((setup.writes().len(), setup.in_doubt()), (1, 1), "{kind:?}");
        setup.fault(Method::Delete, kind.clone());
        assert!(matches!(setup.cache.delete("k"), Err(WriteError::InDoubt(_))), "{kind:?}");
        assert_eq!((setup.writes().len(), setup.source.stats().retries), (2, 0), "{kind:?}");
    }
}

#[test]
fn d4_a_resend_to_an_origin_that_honours_the_key_leaves_no_doubt() {
    for kind in [FaultKind::ResetBeforeApply, FaultKind::ResetAfterApply, FaultKind::Answer(Answer::new(503))] {
        let setup = over_origin(|builder| builder.honours_idempotency(true));
        setup.fault(Method::Put, kind.clone());
        setup.cache.put("k", value(2)).unwrap();
        let writes = setup.writes();
        assert_eq!(writes.len(), 2, "{kind:?}");
        assert!(writes[0].idempotency_key.is_some());
        assert_eq!(writes[0].idempotency_key, writes[1].idempotency_key, "one key for all attempts");
        assert_eq!((setup.in_doubt(), setup.asks()), (0, 0), "{kind:?}");
        setup.fault(Method::Delete, kind.clone());
        setup.cache.delete("k").unwrap();
        let writes = setup.writes();
        assert_eq!(writes.len(), 4, "{kind:?}");
        assert_eq!(writes[2].idempotency_key, writes[3].idempotency_key);
        assert_ne!(writes[1].idempotency_key, writes[2].idempotency_key, "another write has another");
        assert_eq!(setup.in_doubt(), 0, "{kind:?}");
    }
}

/// An origin that is declared to check conditions, and never to reuse a version.
fn checking(builder: HttpSourceBuilder) -> HttpSourceBuilder {
    builder.honours_preconditions(true).versions_never_reused(true)
}

#[test]
fn d4_a_resend_on_a_version_is_applied_and_the_key_stays_in_doubt() {
    let setup = over_origin(checking);
    let version = setup.cache.get("k").unwrap().unwrap().version().map(|v| wtcache::Version::new(v).unwrap()).unwrap();
    setup.fault(Method::Put, FaultKind::ResetBeforeApply);
    setup.cache.put_if("k", value(2), Expect::version(version)).unwrap();
    let writes = setup.writes();
    assert_eq!(writes.len(), 2);
    assert!(writes[0].if_match.is_some() && writes[0].if_match == writes[1].if_match);
    assert_eq!((setup.in_doubt(), setup.asks()), (1, 2), "the send before may still land");
}

#[test]
fn a2_a_resend_that_is_refused_after_an_unanswered_send_proves_nothing() {
    let setup = over_origin(checking);
    let version = setup.cache.get("k").unwrap().unwrap().version().map(|v| wtcache::Version::new(v).unwrap()).unwrap();
    // Applied, and the resend meets the version that it made.
    setup.fault(Method::Put, FaultKind::ResetAfterApply);
    let error = setup.cache.put_if("k", value(2), Expect::version(version)).map(drop).unwrap_err();
    let WriteError::InDoubt(doubt) = &error else { panic!("{error:?}") };
    assert_eq!(doubt.cause().code(), Some(412));
    assert_eq!(setup.origin.record("k").unwrap()["quantity"], 2, "it was applied");
    assert_eq!(setup.in_doubt(), 1);
}

#[test]
fn d4_a_write_on_absence_is_not_sent_again() {
    let setup = over_origin(checking);
    assert!(setup.origin.remove("k"));
    setup.fault(Method::Put, FaultKind::ResetAfterApply);
    let error = setup.cache.put_if("k", value(2), Expect::Absent).map(drop).unwrap_err();
    assert!(matches!(error, WriteError::InDoubt(_)), "{error:?}");
    assert_eq!(setup.writes().len(), 1);
}

#[test]
fn a2_a_refusal_of_all_sends_holds_where_the_key_is_honoured_and_others_do_not() {
    for (second, known) in [(422, true), (400, true), (403, false), (409, false)] {
        let setup = over_origin(|builder| builder.honours_idempotency(true));
        setup.fault(Method::Put, FaultKind::Answer(Answer::new(503)));
        setup.fault(Method::Put, FaultKind::Answer(Answer::new(second)));
        let error = setup.cache.put("k", value(2)).map(drop).unwrap_err();
        assert_eq!(matches!(error, WriteError::Rejected(_)), known, "{second}: {error:?}");
        assert_eq!((setup.in_doubt(), setup.writes().len()), (u64::from(!known), 2), "{second}");
    }
}

#[test]
fn a2_a_write_that_was_turned_away_at_last_is_unknown_after_an_unanswered_send() {
    let setup = over_origin(|builder| builder.honours_idempotency(true));
    setup.fault(Method::Put, FaultKind::ResetAfterApply);
    setup.origin.fault(Fault::on(Method::Put, "k").kind(FaultKind::Answer(Answer::new(429))).times(2));
    let error = setup.cache.put("k", value(2)).map(drop).unwrap_err();
    assert!(matches!(error, WriteError::InDoubt(_)), "{error:?}");
    assert_eq!(setup.writes().len(), 3);
}

#[test]
fn a_write_that_was_turned_away_may_always_be_sent_again() {
    for status in [425, 429] {
        let setup = over_origin(|builder| builder);
        setup.fault(Method::Put, FaultKind::Answer(Answer::new(status)));
        setup.cache.put("k", value(2)).unwrap();
        assert_eq!((setup.writes().len(), setup.in_doubt(), setup.asks()), (2, 0, 0), "{status}");
    }
    let setup = over_origin(|builder| builder);
    setup.origin.fault(Fault::on(Method::Put, "k").kind(FaultKind::Answer(Answer::new(429))).times(3));
    assert!(matches!(setup.cache.put("k", value(2)), Err(WriteError::Rejected(_))));
    assert_eq!((setup.writes().len(), setup.in_doubt()), (3, 0));
}

#[test]
fn a2_a_write_of_which_nothing_was_sent_may_always_be_sent_again() {
    let setup = over_origin(|builder| builder.retries(Retries::new().writes(1).backoff(SECOND, SECOND)));
    setup.origin.pause_accept();
    let (cache, clock) = (setup.cache.clone(), setup.clock.clone());
    let writing = spawn(move || cache.put("k", value(2)).map(drop));
    assert!(clock.wait_for_alarms(1), "it waits for another attempt");
    setup.origin.resume_accept().unwrap();
    clock.advance(SECOND);
    writing.join().unwrap();
    assert_eq!((setup.writes().len(), setup.in_doubt(), setup.asks()), (1, 0, 0));
    let stats = setup.source.stats();
    assert_eq!((stats.unreachable, stats.answered, stats.retries), (1, 1, 1));
}

#[test]
fn a2_a_write_that_could_not_be_sent_at_last_is_unknown_after_an_unanswered_send() {
    let change = |builder: HttpSourceBuilder| {
        builder.honours_idempotency(true).retries(Retries::new().writes(1).backoff(SECOND, SECOND))
    };
    let setup = over_origin(change);
    setup.fault(Method::Put, FaultKind::ResetAfterApply);
    let (cache, clock) = (setup.cache.clone(), setup.clock.clone());
    let writing = spawn(move || cache.put("k", value(2)).map(drop));
    assert!(clock.wait_for_alarms(1));
    setup.origin.pause_accept();
    clock.advance(SECOND);
    let error = writing.join().unwrap_err();
    setup.origin.resume_accept().unwrap();
    let WriteError::InDoubt(doubt) = &error else { panic!("{error:?}") };
    assert_eq!(doubt.cause().failure(), Failure::Unreachable);
    assert_eq!(setup.in_doubt(), 1);
}

#[test]
fn the_header_with_the_key_has_the_name_that_was_configured() {
    let server = failing([answer(429, "", "")]);
    let source = HttpSource::builder(server.url())
        .timeout(AMPLE)
        .retries(at_once(Retries::new().writes(1)))
        .idempotency_header("X-Request-Id")
        .build()
        .unwrap();
    applied(put(&source, b"k", b"{}"));
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("x-request-id").unwrap().len(), 32);
    assert_eq!(seen[0].header("x-request-id"), seen[1].header("x-request-id"));
    assert_eq!(seen[0].header("idempotency-key"), None);
    applied(put(&source, b"k", b"{}"));
    get(&source, b"k").unwrap();
    assert_eq!(server.seen()[3].header("x-request-id"), None, "a load needs none");
}
