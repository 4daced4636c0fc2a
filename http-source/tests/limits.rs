//! An origin that is slow, or gone: how many requests are out at once (B2), and when it is left alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use support::*;
use wtcache::{ByteCache, Call, Failure, SourceError, WriteError};
use wtcache_http_source::{Breaker, BreakerState, HttpSource, NotTried, Retries};
use wtcache_origin::{Answer, Fault, FaultKind, Method, Origin, OriginOptions, Target, When};
use wtcache_testkit::{ManualClock, spawn};

const SECOND: Duration = Duration::from_secs(1);

fn why(error: &SourceError) -> Option<NotTried> {
    error.source()?.downcast_ref().copied()
}

fn origin() -> Origin {
    let origin = Origin::start(OriginOptions::new()).unwrap();
    for id in ["a", "b", "c"] {
        origin.seed(id, json!({ "quantity": 1 }));
    }
    origin
}

/// One request at a time, and one call that waits.
fn narrow(origin: &Origin, clock: &ManualClock) -> Arc<HttpSource> {
    let builder = one_attempt(&format!("{}/items/{{id}}", origin.url())).clock(clock.shared());
    Arc::new(builder.max_in_flight(1).max_queued(1).build().unwrap())
}

#[test]
fn b2_as_many_requests_are_out_as_may_be_and_as_many_calls_wait() {
    let (origin, clock) = (origin(), ManualClock::new());
    let source = narrow(&origin, &clock);
    let gate = origin.gate(Method::Get, "a", When::AfterApply);
    let load = |key: &'static [u8]| {
        let source = Arc::clone(&source);
        spawn(move || get(&source, key).map(drop))
    };
    let first = load(b"a");
    assert!(gate.wait_arrived(AMPLE));
    let second = load(b"b");
    assert!(clock.wait_for_alarms(1), "it waits for its turn");
    assert_eq!((source.stats().in_flight, source.stats().queued), (1, 1));
    // On threads of their own: time stands, and who waited would wait for ever.
    let error = load(b"c").join().unwrap_err();
    assert_eq!((error.failure(), why(&error)), (Failure::Unreachable, Some(NotTried::QueueFull)));
    let writing = Arc::clone(&source);
    let rejection = rejected(spawn(move || put(&writing, b"c", b"{}")).join(), Failure::Unreachable);
    assert_eq!(why(&rejection.error), Some(NotTried::QueueFull), "a2: nothing was sent");
    assert!(!rejection.stale_base && !rejection.all_sends);
    assert_eq!(origin.calls(), 1);
    gate.release();
    first.join().unwrap();
    second.join().unwrap();
    let stats = source.stats();
    assert_eq!((stats.attempts, stats.answered, stats.queue_full), (2, 2, 2));
    assert_eq!((stats.in_flight, stats.queued), (0, 0));
    assert_eq!(origin.calls(), 2);
}

#[test]
fn a2_a_deadline_that_passes_in_the_queue_is_rejected() {
    let (origin, clock) = (origin(), ManualClock::new());
    let source = narrow(&origin, &clock);
    let gate = origin.gate(Method::Get, "a", When::AfterApply);
    let first = {
        let source = Arc::clone(&source);
        spawn(move || get(&source, b"a").map(drop))
    };
    assert!(gate.wait_arrived(AMPLE));
    let second = {
        let source = Arc::clone(&source);
        spawn(move || put(&source, b"b", b"{}"))
    };
    assert!(clock.wait_for_alarms(1));
    clock.advance(AMPLE);
    let _ = rejected(second.join(), Failure::TimedOut);
    gate.release();
    first.join().unwrap();
    assert_eq!((origin.calls(), source.stats().queue_timed_out), (1, 1));
}

#[test]
fn a_pause_between_attempts_holds_no_place() {
    let (origin, clock) = (origin(), ManualClock::new());
    let url = format!("{}/items/{{id}}", origin.url());
    let retries = Retries::new().loads(1).backoff(SECOND, SECOND);
    let builder = HttpSource::builder(url).timeout(AMPLE).clock(clock.shared()).retries(retries);
    let source = Arc::new(builder.max_in_flight(1).max_queued(0).build().unwrap());
    origin.fault(Fault::on(Method::Get, "a").kind(FaultKind::Answer(Answer::new(503).header("Retry-After", "1"))));
    let pausing = {
        let source = Arc::clone(&source);
        spawn(move || get(&source, b"a").map(drop))
    };
    assert!(clock.wait_for_alarms(1));
    get(&source, b"b").unwrap();
    clock.advance(2 * SECOND);
    pausing.join().unwrap();
}

#[test]
fn a_record_check_that_asks_the_same_source_finds_a_place() {
    let server = Server::answering(answer(200, "", "{}"));
    let own: Arc<OnceLock<Arc<HttpSource>>> = Arc::default();
    let asked = Arc::clone(&own);
    let check = move |key: &[u8], body: Vec<u8>| {
        if key == b"outer" {
            let source = asked.get().ok_or("it is set before the first call")?;
            get(source, b"inner").map_err(|error| error.to_string())?;
        }
        Ok(body)
    };
    let source = Arc::new(server.builder().max_in_flight(1).max_queued(0).record_check(check).build().unwrap());
    assert!(own.set(Arc::clone(&source)).is_ok());
    get(&source, b"outer").unwrap();
    applied(put(&source, b"outer", b"{}"));
    assert_eq!(server.seen().len(), 4);
}

/// A source whose breaker opens after four failures, for five seconds.
fn guarded(origin: &Origin, clock: &ManualClock) -> Arc<HttpSource> {
    let breaker = Breaker::new().calls(4).open_for(5 * SECOND);
    let builder = one_attempt(&format!("{}/items/{{id}}", origin.url())).breaker(breaker);
    Arc::new(builder.clock(clock.shared()).build().unwrap())
}

fn outage(origin: &Origin) {
    for method in [Method::Get, Method::Put, Method::Delete] {
        origin.fault(Fault::on(method, Target::Any).kind(FaultKind::Answer(Answer::new(503))).times(1_000));
    }
}

fn breaker(source: &HttpSource) -> (BreakerState, u64, u64) {
    let breaker = source.stats().breaker.unwrap();
    (breaker.state, breaker.openings, breaker.probes)
}

#[test]
fn in_an_outage_the_origin_sees_only_probes() {
    let (origin, clock) = (origin(), ManualClock::new());
    let source = guarded(&origin, &clock);
    outage(&origin);
    for _ in 0..4 {
        assert_eq!(get(&source, b"a").unwrap_err().code(), Some(503));
    }
    assert_eq!(breaker(&source), (BreakerState::Open, 1, 0));
    for round in 0..3 {
        for _ in 0..20 {
            let error = get(&source, b"a").unwrap_err();
            assert_eq!((error.failure(), why(&error)), (Failure::Unreachable, Some(NotTried::BreakerOpen)));
            assert_eq!(error.retry_after(), Some(5 * SECOND));
            let rejection = rejected(put(&source, b"a", b"{}"), Failure::Unreachable);
            assert_eq!(why(&rejection.error), Some(NotTried::BreakerOpen), "a2: nothing was sent");
            assert!(!rejection.stale_base && !rejection.all_sends);
            let _ = rejected(delete(&source, b"a"), Failure::Unreachable);
        }
        assert_eq!(origin.calls(), 4 + round, "nothing but the probes");
        clock.advance(5 * SECOND);
        assert_eq!(breaker(&source).0, BreakerState::HalfOpen);
        assert_eq!(get(&source, b"a").unwrap_err().code(), Some(503), "the probe");
        assert_eq!(breaker(&source), (BreakerState::Open, 1, round + 1));
    }
    origin.clear_faults();
    clock.advance(5 * SECOND);
    get(&source, b"a").unwrap();
    assert_eq!(breaker(&source), (BreakerState::Closed, 1, 4));
    get(&source, b"b").unwrap();
    let stats = source.stats();
    assert_eq!((stats.attempts, stats.failed, stats.answered, stats.breaker_refused), (9, 7, 2, 180));
    assert_eq!(origin.calls(), 9);
}

#[test]
fn one_probe_is_out_at_a_time() {
    let (origin, clock) = (origin(), ManualClock::new());
    let source = guarded(&origin, &clock);
    outage(&origin);
    for _ in 0..4 {
        get(&source, b"a").unwrap_err();
    }
    origin.clear_faults();
    clock.advance(5 * SECOND);
    let gate = origin.gate(Method::Get, "a", When::AfterApply);
    let probe = {
        let source = Arc::clone(&source);
        spawn(move || get(&source, b"a").map(drop))
    };
    assert!(gate.wait_arrived(AMPLE));
    for _ in 0..5 {
        assert_eq!(why(&get(&source, b"b").unwrap_err()), Some(NotTried::BreakerOpen));
    }
    assert_eq!(origin.calls(), 5);
    gate.release();
    probe.join().unwrap();
    get(&source, b"b").unwrap();
}

#[test]
fn an_origin_that_is_gone_opens_the_breaker_and_one_that_refuses_does_not() {
    let (origin, clock) = (origin(), ManualClock::new());
    let source = guarded(&origin, &clock);
    origin.fault(Fault::on(Method::Put, Target::Any).kind(FaultKind::Answer(Answer::new(422))).times(20));
    for _ in 0..20 {
        let _ = rejected(put(&source, b"a", b"{}"), Failure::Refused);
    }
    assert_eq!(breaker(&source), (BreakerState::Closed, 0, 0));
    let source = guarded(&origin, &clock);
    origin.pause_accept();
    for _ in 0..4 {
        let _ = rejected(put(&source, b"a", b"{}"), Failure::Unreachable);
    }
    assert_eq!(breaker(&source), (BreakerState::Open, 1, 0));
    origin.resume_accept().unwrap();
    assert_eq!(source.stats().unreachable, 4);
}

#[test]
fn nobody_pauses_for_a_retry_once_the_breaker_is_open() {
    let (origin, clock) = (origin(), ManualClock::new());
    let breaker_of = Breaker::new().calls(4).open_for(5 * SECOND);
    let builder = HttpSource::builder(format!("{}/items/{{id}}", origin.url())).timeout(AMPLE);
    let retries = Retries::new().backoff(SECOND, SECOND);
    let source = Arc::new(builder.retries(retries).breaker(breaker_of).clock(clock.shared()).build().unwrap());
    outage(&origin);
    for _ in 0..3 {
        let _ = unknown(put(&source, b"a", b"{}"), Failure::Failed);
    }
    let loading = Arc::clone(&source);
    let error = spawn(move || get(&loading, b"a").unwrap_err()).join();
    assert_eq!(error.code(), Some(503), "what the origin said");
    assert_eq!((origin.calls(), breaker(&source).0), (4, BreakerState::Open));
}

#[test]
fn f2_with_the_breaker_open_what_is_stale_is_served_and_writes_are_rejected() {
    let (origin, clock) = (origin(), ManualClock::new());
    let source = guarded(&origin, &clock);
    let cache = ByteCache::builder(Arc::clone(&source))
        .clock(clock.shared())
        .clean_start(true)
        .lifetime(SECOND)
        .stale_if_error(3600 * SECOND)
        .build()
        .unwrap();
    cache.get("a").unwrap().unwrap();
    outage(&origin);
    for _ in 0..4 {
        get(&source, b"b").unwrap_err();
    }
    let calls = origin.calls();
    clock.advance(2 * SECOND);
    let read = cache.read("a", &Call::new()).unwrap();
    assert!(read.entry.is_some(), "the record as it was");
    let error = cache.put("a", b"{}".to_vec()).map(drop).unwrap_err();
    assert!(matches!(error, WriteError::Rejected(_)), "{error:?}");
    assert_eq!((origin.calls(), cache.stats().in_doubt), (calls, 0));
}
