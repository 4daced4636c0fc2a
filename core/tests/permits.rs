//! Chapter 3 of the contract, P7 and P8: the two permits of a write, and that no lock is held while the program's code
//! runs.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use wtcache::{
    Cache, Call, Confirmed, Failure, Lifetime, LoadCx, Loaded, NotSent, Outcome, Record, Source, SourceError, Typed,
    Version, WriteCx, Written,
};
use wtcache_testkit::{Does, Op, Script, When};

fn record(value: &str) -> Option<Record<String>> {
    Some(Record::new(value.to_owned()))
}

fn broken() -> SourceError {
    SourceError::new(Failure::Broken, "no answer")
}

// --- P7: Prepared

#[test]
fn p7_a_prepared_write_that_is_aborted_or_dropped_leaves_no_trace() {
    let w = world();
    w.seed("k", "old");
    w.cache.prepare("k", &Call::new()).expect("free").abort();
    drop(w.cache.prepare("k", &Call::new()).expect("free again"));
    assert_eq!(w.peek("k").as_deref(), Some("old"));
    let stats = w.cache.stats();
    assert_eq!((stats.in_doubt, stats.writes_open, stats.writes_unknown), (0, 0, 0));
    w.seed("k", "new");
}

#[test]
fn p7_an_unsent_permit_is_aborted_at_its_deadline_and_may_not_send() {
    let w = world();
    w.seed("k", "old");
    let prepared = w.cache.prepare("k", &within(secs(2))).expect("free");
    assert_eq!(prepared.remaining(), secs(2));
    let waiter = w.until_it_waits(|cache| cache.put_with("k", "new".to_owned(), &within(secs(60))).map(drop));
    w.clock.advance(secs(2));
    waiter.join().expect("the turn is free");
    assert!(matches!(prepared.send(), Err(NotSent::Deadline)));
    assert_eq!((w.peek("k").as_deref(), w.cache.stats().in_doubt), (Some("new"), 0));
}

#[test]
fn p7_an_overdue_permit_does_not_abort_the_write_that_came_after_it() {
    let w = world();
    let overdue = w.cache.prepare("k", &within(secs(2))).expect("free");
    w.clock.advance(secs(2));
    let next = w.cache.prepare("k", &Call::new()).expect("the turn is free");
    drop(overdue);
    assert!(next.send().expect("it holds the turn").commit(record("one")).kept);
}

#[test]
fn p7_a_prepared_write_asks_for_the_existing_record() {
    let w = world();
    w.script.set("k", "one");
    let prepared = w.cache.prepare("k", &Call::new()).expect("free");
    assert_eq!(text(prepared.existing()).as_deref(), Some("one"));
    w.script.next(Op::Get, "k", Does::Fail);
    assert!(prepared.existing().is_err(), "it was not retained");
    assert!(prepared.send().expect("the turn is still held").commit(record("two")).kept);
}

#[test]
fn p7_the_existing_record_is_not_given_after_the_permits_deadline() {
    let w = world();
    let prepared = w.cache.prepare("k", &within(secs(2))).expect("free");
    w.clock.advance(secs(2));
    assert!(prepared.existing().is_err());
    assert_eq!(w.loads("k"), 0);
}

// --- P7: Sent

#[test]
fn p7_a_sent_write_is_committed_with_its_record() {
    let w = world();
    let sent = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
    assert_eq!(w.cache.stats().writes_open, 1);
    let confirmed =
        Record::new("one".to_owned()).version(Version::new("w/1").expect("short")).lifetime(Lifetime::For(secs(3)));
    let written: Written<Texts> = sent.commit(Some(confirmed));
    assert!(written.kept);
    let entry = w.cache.peek("k").expect("resident");
    assert_eq!((entry.version(), entry.remaining(w.cache.now())), (Some(&b"w/1"[..]), secs(3)));
    assert_eq!(w.cache.stats().writes_open, 0);
}

#[test]
fn p7_the_lifetime_of_a_committed_record_counts_from_the_send() {
    let w = world();
    let sent = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
    w.clock.advance(secs(2));
    let _ = sent.commit(Some(Record::new("one".to_owned()).lifetime(Lifetime::For(secs(3)))));
    w.clock.advance(secs(1));
    assert_eq!(w.peek("k"), None);
}

#[test]
fn p7_a_sent_write_without_a_record_leaves_the_base_unknown() {
    let w = world();
    w.seed("k", "old");
    for deletes in [false, true] {
        let sent = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
        let written = if deletes { sent.commit_deleted() } else { sent.commit(None) };
        assert!(!written.kept && written.entry.is_none());
        assert_eq!((w.peek("k"), w.cache.stats().in_doubt), (None, 0));
        let _ = w.get("k");
    }
}

#[test]
fn p7_a_rejected_permit_keeps_the_base_unless_it_is_stale() {
    let w = world();
    w.seed("k", "old");
    w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time").reject(false);
    assert_eq!(w.peek("k").as_deref(), Some("old"));
    w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time").reject(true);
    assert_eq!((w.peek("k"), w.cache.stats().in_doubt), (None, 0));
}

#[test]
fn p7_a_sent_permit_ends_in_doubt_also_by_its_drop() {
    for dropped in [false, true] {
        let w = world();
        w.seed("k", "old");
        let sent = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
        if dropped {
            drop(sent);
        } else {
            assert_eq!(sent.in_doubt(broken()).settles_in(), WINDOW);
        }
        assert_eq!((w.peek("k"), w.cache.stats().in_doubt), (None, 1));
        w.assert_not_retained("k");
        w.clock.advance(WINDOW);
        w.assert_settled("k");
    }
}

#[test]
fn p7_a_sent_permit_is_in_doubt_from_its_deadline_and_the_turn_passes() {
    let w = world();
    w.seed("k", "old");
    let sent = w.cache.prepare("k", &within(secs(2))).expect("free").send().expect("in time");
    let waiter =
        w.until_it_waits(|cache| cache.put_with("k", "new".to_owned(), &within(secs(60))).map(|written| written.kept));
    w.clock.advance(secs(2));
    assert!(!waiter.join().expect("applied"), "the key is in doubt");
    assert_eq!(w.cache.stats().in_doubt, 1);
    drop(sent);
}

#[test]
fn p7_a_commit_after_the_deadline_is_the_late_answer() {
    let w = world();
    w.seed("k", "old");
    let sent = w.cache.prepare("k", &within(secs(2))).expect("free").send().expect("in time");
    w.clock.advance(secs(3));
    assert!(!sent.commit(record("new")).kept);
    w.script.set("k", "new");
    assert_eq!(w.peek("k"), None);
    w.assert_settled("k");
}

#[test]
fn p7_a_refusal_after_its_doubt_is_over_takes_what_was_loaded_since_only_if_that_is_stale() {
    for stale in [false, true] {
        let w = world();
        let sent = w.cache.prepare("k", &within(secs(2))).expect("free").send().expect("in time");
        w.clock.advance(secs(2) + WINDOW);
        w.script.set("k", "one");
        assert_eq!(w.get("k").as_deref(), Some("one"));
        sent.reject(stale);
        assert_eq!(w.peek("k").is_none(), stale);
    }
}

#[test]
fn p7_a_sent_permit_of_a_closed_cache_ends_without_harm() {
    for end in 0..4 {
        let w = world();
        w.seed("k", "old");
        let prepared = w.cache.prepare("other", &Call::new()).expect("free");
        let sent = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
        let report = w.cache.close(secs(0));
        assert_eq!((report.unfinished, report.in_doubt), (vec!["k".to_owned()], vec![]));
        assert!(matches!(prepared.send(), Err(NotSent::Closed)));
        match end {
            0 => drop(sent.commit(record("new"))),
            1 => sent.reject(true),
            2 => drop(sent.in_doubt(broken())),
            _ => drop(sent),
        }
        assert_eq!(w.cache.stats().entries, 0);
        assert_eq!(w.cache.stats().writes_open, 0);
    }
}

#[test]
fn p7_closing_tells_those_who_wait_and_lets_the_sent_write_end() {
    let w = world();
    let gate = w.script.hold(Op::Put, "k", When::After);
    let writer = w.start(|cache| cache.put("k", "one".to_owned()).map(|written| written.kept));
    gate.wait_arrived();
    let waiter = w.until_it_waits(|cache| cache.put("k", "two".to_owned()).map(drop));
    let get = w.script.hold(Op::Get, "other", When::After);
    let leader = w.start(|cache| cache.get("other"));
    get.wait_arrived();
    let joined = w.until_it_waits(|cache| cache.get("other"));
    let closer = w.until_it_waits(|cache| cache.close(secs(5)));
    assert!(matches!(not_sent(waiter.join()), NotSent::Closed));
    assert!(matches!(joined.join().err(), Some(wtcache::LoadError::Closed)));
    gate.release();
    assert!(!writer.join().expect("applied, and said so"));
    let report = closer.join();
    assert_eq!((report.unfinished, report.in_doubt), (vec![], vec![]));
    get.release();
    assert!(matches!(leader.join().err(), Some(wtcache::LoadError::Closed)));
    assert!(matches!(not_sent(w.put("k", "three")), NotSent::Closed));
    assert_eq!(w.cache.stats().entries, 0);
}

#[test]
fn b4_a_waiter_of_a_detached_load_is_told_of_the_close() {
    let w = world();
    w.script.set("k", "one");
    let gates = [(); 2].map(|()| w.script.hold(Op::Get, "k", When::After));
    let [first, second] = gates;
    let moved = w.start(|cache| cache.get("k"));
    first.wait_arrived();
    w.cache.invalidate("k");
    let leader = w.start(|cache| cache.get("k"));
    second.wait_arrived();
    // Moved once, the first reader joins the second load, and waits for it to its end although it is detached.
    let alarms = w.clock.alarms_ever_set();
    first.release();
    assert!(w.clock.wait_for_alarms(alarms + 1));
    w.cache.invalidate("k");
    w.cache.close(secs(0));
    assert!(matches!(moved.join().err(), Some(wtcache::LoadError::Closed)), "while its load still runs");
    second.release();
    assert!(leader.join().is_err());
}

#[test]
fn b2_as_many_reads_wait_for_a_load_as_the_options_allow() {
    let w = world_with(Script::new(), |builder| builder.load_queue(1));
    w.script.set("k", "one");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    let waiter = w.until_it_waits(|cache| cache.get("k"));
    assert!(matches!(w.cache.get("k").err(), Some(wtcache::LoadError::Overloaded)));
    gate.release();
    assert_eq!(text(leader.join()).as_deref(), Some("one"));
    assert_eq!(text(waiter.join()).as_deref(), Some("one"));
}

#[test]
fn b2_a_read_that_waits_no_more_gives_its_place_back() {
    let w = world_with(Script::new(), |builder| builder.load_queue(1));
    w.script.set("k", "one");
    let gate = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    let late = w.until_it_waits(|cache| cache.read("k", &within(secs(2))).map(drop));
    w.clock.advance(secs(2));
    assert!(matches!(late.join(), Err(wtcache::LoadError::Deadline)));
    let waiter = w.until_it_waits(|cache| cache.get("k"));
    gate.release();
    assert_eq!(text(leader.join()).as_deref(), Some("one"));
    assert_eq!(text(waiter.join()).as_deref(), Some("one"));
}

#[test]
fn b4_a_close_that_gives_up_leaves_another_waiting_for_the_write() {
    let w = world();
    let sent = w.cache.prepare("k", &Call::new()).expect("free").send().expect("in time");
    let patient = w.until_it_waits(|cache| cache.close(secs(60)).unfinished);
    assert_eq!(w.cache.close(secs(0)).unfinished, ["k"]);
    let _nothing_kept = sent.commit(record("one"));
    assert_eq!(patient.join(), [""; 0], "it was woken by the end of the write");
}

#[test]
fn p7_closing_reports_the_keys_in_doubt_but_not_those_that_settled() {
    let w = world();
    let _settled = w.doubt("settled", "one", Does::Unknown);
    w.clock.advance(secs(9));
    let _doubt = w.doubt("k", "one", Does::Unknown);
    w.clock.advance(secs(1));
    let report = w.cache.close(secs(0));
    assert_eq!((report.unfinished, report.in_doubt), (vec![], vec!["k".to_owned()]));
}

// --- P8

/// A value whose drop uses the cache that it was in.
struct Busy(Arc<Mutex<Option<Cache<u32, Busy>>>>);

impl Drop for Busy {
    fn drop(&mut self) {
        let cache = self.0.lock().expect("no panic inside").clone();
        if let Some(cache) = cache {
            cache.invalidate(&99);
            let _ = (cache.peek(&1), cache.stats());
        }
    }
}

struct BusySource(Arc<Mutex<Option<Cache<u32, Busy>>>>);

type BusyLayout = Typed<u32, Busy>;

impl Source<BusyLayout> for BusySource {
    fn get(&self, _: &u32, _: &LoadCx<'_, BusyLayout>) -> Result<Loaded<Busy>, SourceError> {
        Ok(Loaded::Found(Record::new(Busy(Arc::clone(&self.0)))))
    }

    fn put(&self, key: &u32, _: &Busy, _: &WriteCx<'_, BusyLayout>) -> Outcome<Confirmed<Busy>> {
        match key {
            7 => Outcome::Unknown(broken()),
            _ => Outcome::Applied(Confirmed::Record(Record::new(Busy(Arc::clone(&self.0))))),
        }
    }
}

#[test]
fn p8_values_are_dropped_with_no_lock_held() {
    let place = Arc::new(Mutex::new(None));
    let source = BusySource(Arc::clone(&place));
    let uses_cache = Arc::clone(&place);
    let weigh = move |_: &u32, _: Option<&Busy>| {
        let cache = uses_cache.lock().expect("no panic inside").clone();
        let _ = cache.map(|cache| cache.stats());
        1
    };
    let cache: Cache<u32, Busy> =
        Cache::builder(source).shards(1).capacity(2).weigher(weigh).build().expect("sensible");
    *place.lock().expect("no panic inside") = Some(cache.clone());
    let value = || Busy(Arc::clone(&place));
    let work = {
        let values = [(); 4].map(|()| value());
        let cache = cache.clone();
        wtcache_testkit::spawn(move || {
            let [a, b, c, d] = values;
            drop(cache.put(&1, a).expect("applied"));
            drop(cache.put(&1, b).expect("replaced"));
            for key in 2..6 {
                drop(cache.get(&key).expect("loaded; another is evicted"));
            }
            drop(cache.put(&7, c).map(drop).expect_err("unknown"));
            drop(cache.get(&7).expect("loaded in doubt"));
            cache.invalidate(&5);
            drop(cache.put(&4, d).expect("applied"));
            drop(cache.close(secs(0)));
        })
    };
    let () = work.join();
    *place.lock().expect("no panic inside") = None;
}

#[test]
fn p8_the_extractor_may_use_the_cache() {
    let place: Arc<Mutex<Option<Cache<String, String>>>> = Arc::default();
    let uses = Arc::clone(&place);
    let extract = move |_: &String, value: &String, rows: &mut wtcache::Rows| {
        let cache = uses.lock().expect("no panic inside").clone();
        rows.add(0, value.as_bytes());
        let _ = cache.map(|cache| (cache.peek("k").is_some(), cache.find("value", b"one").is_some()));
    };
    let w = world_with(Script::new(), |b| b.shards(1).indexes(["value"], extract));
    *place.lock().expect("no panic inside") = Some(w.cache.clone());
    w.seed("k", "one");
    w.start(|cache| cache.put("k", "two".to_owned()).map(drop)).join().expect("applied");
    *place.lock().expect("no panic inside") = None;
}
