//! Chapter 8 of the contract: stale answers within their windows, and refreshes in the background.

mod common;
mod shelf;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use shelf::Fns;
use wtcache::{
    Builder, Cache, Call, Change, Failure, How, Lifetime, LoadError, Loaded, Read, Record, SourceError, Typed,
};
use wtcache_testkit::{Does, Gate, ManualClock, Op, Script, When};

/// Records live for 10 s; then they may be stale for 5 s.
fn revalidating() -> World {
    world_with(Script::new(), |b| b.lifetime(secs(10)).stale_while_revalidate(secs(5)).refreshers(1, 8))
}

fn if_error() -> World {
    world_with(Script::new(), |b| b.lifetime(secs(10)).stale_if_error(secs(5)))
}

/// Records live for 10 s and are refreshed in the last 3 of them.
fn ahead() -> World {
    world_with(Script::new(), |b| b.lifetime(secs(10)).refresh_ahead(0.3).refreshers(1, 8))
}

/// Makes "k" resident, and a newer record at the origin.
fn outdated(w: &World) {
    w.script.set("k", "old");
    assert_eq!(w.get("k").as_deref(), Some("old"));
    w.script.set("k", "new");
}

#[track_caller]
fn read(w: &World, key: &str) -> (How, Option<String>) {
    let read: Read<Texts> = w.cache.read(key, &Call::new()).expect("an answer");
    (read.how, read.entry.map(|entry| entry.value().clone()))
}

fn old(how: How) -> (How, Option<String>) {
    (how, Some("old".to_owned()))
}

fn new(how: How) -> (How, Option<String>) {
    (how, Some("new".to_owned()))
}

const LED: How = How::Loaded { kept: true };

/// Waits until the one thread that refreshes is done with what it was given before: it takes up another record, which the gate
/// then holds. The clock stands where a read of `hot` asks for its refresh.
fn after_the_refreshes(w: &World, hot: &str) -> Gate {
    let gate = w.script.hold(Op::Get, hot, When::Before);
    assert!(w.cache.get(hot).expect("resident").is_some());
    gate.wait_arrived();
    gate
}

// --- stale while revalidate

#[test]
fn f2_within_the_window_a_stale_record_is_served_marked_and_refreshed_once() {
    let w = revalidating();
    outdated(&w);
    w.clock.advance(secs(10) - Duration::from_nanos(1));
    assert_eq!((read(&w, "k"), w.cache.stats().refreshes), (old(How::Hit), 0));
    w.clock.advance(Duration::from_nanos(1) + secs(2));
    let gate = w.script.hold(Op::Get, "k", When::After);
    let stale = w.cache.read("k", &Call::new()).expect("stale");
    assert_eq!((stale.how, stale.entry.map(|e| e.stale_for(w.cache.now()))), (How::Stale, Some(secs(2))));
    gate.wait_arrived();
    assert_eq!(read(&w, "k"), old(How::Stale), "while it is refreshed");
    assert_eq!((w.loads("k"), w.cache.stats().refreshes, w.cache.stats().stale), (2, 1, 2));
    assert_eq!(w.peek("k"), None, "a peek gives what is fresh only");
    // Beyond the window readers join the refresh.
    w.clock.advance(secs(3));
    let joined = w.until_it_waits(|cache| cache.read("k", &Call::new()).map(|read| read.how));
    gate.release();
    assert_eq!(joined.join().expect("loaded"), How::Joined);
    assert_eq!((read(&w, "k"), w.loads("k")), (new(How::Hit), 2));
}

#[test]
fn f1_nothing_is_served_beyond_the_window() {
    let w = revalidating();
    outdated(&w);
    w.clock.advance(secs(15));
    assert_eq!(read(&w, "k"), new(LED));
    w.clock.advance(secs(15));
    w.script.next(Op::Get, "k", Does::Fail);
    assert!(matches!(w.cache.get("k"), Err(LoadError::Source(_))));
}

#[test]
fn f1_without_windows_nothing_is_stale() {
    let w = world_with(Script::new(), |b| b.lifetime(secs(10)));
    outdated(&w);
    w.clock.advance(secs(10));
    w.script.next(Op::Get, "k", Does::Fail);
    assert!(matches!(w.cache.get("k"), Err(LoadError::Source(_))));
    assert_eq!(read(&w, "k"), new(LED));
    assert_eq!(w.cache.stats().refreshes, 0);
}

#[test]
fn f2_a_stale_record_is_gone_after_an_invalidation() {
    let ways: [fn(&Cache<String, String>); 4] = [
        |cache| cache.invalidate("k"),
        |cache| assert_eq!(cache.invalidate_prefix("k").entries, 1),
        |cache| assert_eq!(cache.invalidate_pattern("k").map(|forgotten| forgotten.entries), Ok(1)),
        |cache| assert_eq!(cache.invalidate_tag("t").entries, 1),
    ];
    for forget in ways {
        let w = world_with(Script::new(), |b| {
            b.lifetime(secs(10))
                .stale_while_revalidate(secs(5))
                .stale_if_error(secs(5))
                .tags(|_, _, tags| tags.add("t"))
        });
        outdated(&w);
        w.clock.advance(secs(11));
        forget(&w.cache);
        w.script.next(Op::Get, "k", Does::Fail);
        assert!(w.cache.get("k").is_err());
        assert_eq!(read(&w, "k"), new(LED));
    }
}

#[test]
fn f2_nothing_is_stale_in_doubt_or_after_it() {
    let w =
        world_with(Script::new(), |b| b.lifetime(secs(10)).stale_while_revalidate(secs(50)).stale_if_error(secs(50)));
    w.seed("k", "old");
    w.clock.advance(secs(11));
    w.doubt("k", "lost", Does::Unknown);
    for _ in 0..2 {
        w.script.next(Op::Get, "k", Does::Fail);
        assert!(matches!(w.cache.get("k"), Err(LoadError::Source(_))));
        w.clock.advance(WINDOW);
    }
    assert_eq!(read(&w, "k"), old(LED));
}

#[test]
fn f2_a_write_takes_the_place_of_what_was_stale() {
    let w = revalidating();
    outdated(&w);
    w.clock.advance(secs(11));
    // While it is out, the stale record is the base.
    let sending = w.script.hold(Op::Put, "k", When::After);
    let writer = w.start(|cache| cache.put("k", "mine".to_owned()).map(|written| written.kept));
    sending.wait_arrived();
    let refresh = w.script.hold(Op::Get, "k", When::After);
    assert_eq!(read(&w, "k"), old(How::Stale));
    refresh.wait_arrived();
    sending.release();
    assert!(writer.join().expect("applied"));
    assert_eq!(read(&w, "k"), (How::Hit, Some("mine".to_owned())));
    refresh.release();
}

#[test]
fn f2_a_write_whose_record_is_not_seen_leaves_nothing_stale() {
    let w = revalidating();
    outdated(&w);
    w.clock.advance(secs(11));
    w.script.next(Op::Put, "k", Does::Unseen);
    w.put("k", "mine").expect("applied");
    assert_eq!(read(&w, "k"), (LED, Some("mine".to_owned())));
}

#[test]
fn f2_an_absence_is_never_stale() {
    let w = world_with(Script::new(), |b| {
        b.negative_lifetime(secs(1)).stale_while_revalidate(secs(50)).stale_if_error(secs(50))
    });
    assert_eq!(w.get("k"), None);
    w.clock.advance(secs(1));
    w.script.next(Op::Get, "k", Does::Fail);
    assert!(w.cache.get("k").is_err());
    w.script.set("k", "made");
    assert_eq!(read(&w, "k"), (LED, Some("made".to_owned())));
}

#[test]
fn c0_what_was_loaded_when_strays_may_land_is_not_stale_after_that() {
    let w = world_with(Script::new(), |b| {
        b.clean_start(false).stale_while_revalidate(secs(50)).stale_if_error(secs(50)).lifetime(secs(10))
    });
    outdated(&w);
    w.clock.advance(WINDOW);
    w.script.next(Op::Get, "k", Does::Fail);
    assert!(w.cache.get("k").is_err());
    assert_eq!(read(&w, "k"), new(LED));
    w.clock.advance(secs(10));
    assert_eq!(read(&w, "k"), new(How::Stale));
}

#[test]
fn f2_what_is_written_on_is_never_stale() {
    let w = revalidating();
    outdated(&w);
    w.clock.advance(secs(11));
    let mut seen = None;
    let updated = w.cache.update("k", |entry| {
        seen = entry.map(|entry| entry.value().clone());
        Ok(Change::Keep)
    });
    updated.expect("kept");
    assert_eq!(seen.as_deref(), Some("new"));
}

#[test]
fn f2_many_reads_give_stale_records_too() {
    let w = revalidating();
    outdated(&w);
    w.clock.advance(secs(11));
    w.script.set("other", "here");
    let hows: Vec<How> =
        w.cache.read_many(["k", "other"], &Call::new()).into_iter().map(|read| read.expect("an answer").how).collect();
    assert_eq!(hows, [How::Stale, LED]);
}

#[test]
fn f2_the_index_finds_nothing_stale() {
    let w = world_with(Script::new(), |b| {
        b.lifetime(secs(10)).stale_while_revalidate(secs(5)).indexes(["all"], |_, _, rows| rows.add(0, b""))
    });
    outdated(&w);
    w.clock.advance(secs(11));
    assert_eq!(w.cache.find("all", b"").map(|found| (found.entries.len(), found.expired)), Some((0, 1)));
}

// --- stale if error

#[test]
fn f2_a_stale_record_stands_in_for_an_error_within_its_window_only() {
    let w = if_error();
    outdated(&w);
    w.clock.advance(secs(12));
    w.script.next(Op::Get, "k", Does::Fail);
    let gate = w.script.hold(Op::Get, "k", When::Before);
    let leader = w.start(|cache| cache.read("k", &Call::new()).map(|read| read.how));
    gate.wait_arrived();
    let waiter = w.until_it_waits(|cache| cache.read("k", &Call::new()).map(|read| read.how));
    gate.release();
    assert_eq!(leader.join().expect("stale"), How::Stale);
    assert_eq!(waiter.join().expect("stale"), How::Stale, "who joined is answered as its leader");
    for does in [Does::Fail, Does::Panic] {
        w.script.next(Op::Get, "k", does);
        let read = w.cache.read("k", &Call::new()).expect("stale");
        assert_eq!((read.how, read.entry.map(|e| e.stale_for(w.cache.now()))), (How::Stale, Some(secs(2))));
    }
    w.clock.advance(secs(3));
    w.script.next(Op::Get, "k", Does::Fail);
    assert!(matches!(w.cache.get("k"), Err(LoadError::Source(_))));
    assert_eq!(read(&w, "k"), new(LED), "where the origin answers, that is the answer");
    assert_eq!((w.cache.stats().stale, w.cache.stats().refreshes), (4, 0));
}

#[test]
fn f2_a_load_that_is_late_is_an_error_that_a_stale_record_stands_in_for() {
    let w = if_error();
    outdated(&w);
    w.clock.advance(secs(10));
    let clock = w.clock.clone();
    w.script.next(Op::Get, "k", Does::Run(Box::new(move || clock.advance(secs(3)))));
    let read = w.cache.read("k", &within(secs(3))).expect("stale");
    assert_eq!((read.how, read.entry.map(|e| e.stale_for(w.cache.now()))), (How::Stale, Some(secs(3))));
}

#[test]
fn f2_a_refusal_of_the_origin_is_its_answer() {
    for (failure, is_stale) in [
        (Failure::Invalid, false),
        (Failure::Refused, false),
        (Failure::Unreachable, true),
        (Failure::TimedOut, true),
        (Failure::Broken, true),
        (Failure::Failed, true),
    ] {
        let (clock, calls) = (ManualClock::new(), AtomicU32::new(0));
        let source = Fns::<Typed<u32, u64>>::get(move |_, _| match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Loaded::Found(Record::new(1).lifetime(Lifetime::For(secs(1))))),
            _ => Err(SourceError::new(failure, "no")),
        });
        let cache = Cache::builder(source).clock(clock.shared()).clean_start(true).stale_if_error(secs(5));
        let cache = cache.build().expect("options");
        cache.get(&1).expect("loaded");
        clock.advance(secs(1));
        assert_eq!(cache.get(&1).is_ok(), is_stale, "{failure:?}");
    }
}

#[test]
fn f2_inside_a_source_call_nothing_is_stale() {
    let w = world_with(Script::new(), |b| b.lifetime(secs(10)).stale_while_revalidate(secs(5)).stale_if_error(secs(5)));
    outdated(&w);
    w.clock.advance(secs(11));
    let (cache, seen) = (w.cache.clone(), Arc::new(Mutex::new(Vec::new())));
    let inside = Arc::clone(&seen);
    w.script.next(Op::Get, "k", Does::Fail);
    let nested = move || {
        let how = || cache.read("k", &Call::new()).ok().map(|read| read.how);
        inside.lock().expect("no panic with it").extend([how(), how()]);
    };
    w.script.next(Op::Get, "outer", Does::Run(Box::new(nested)));
    let _ = w.get("outer");
    assert_eq!(*seen.lock().expect("no panic with it"), [None, Some(How::Loaded { kept: false })]);
}

// --- refresh ahead

#[test]
fn f3_a_record_read_in_the_last_share_of_its_lifetime_is_refreshed_once_before_it_expires() {
    let w = ahead();
    outdated(&w);
    w.clock.advance(secs(7) - Duration::from_nanos(1));
    assert_eq!((read(&w, "k"), w.cache.stats().refreshes), (old(How::Hit), 0));
    w.clock.advance(Duration::from_nanos(1));
    assert_eq!((w.peek("k").as_deref(), w.cache.stats().refreshes), (Some("old"), 0), "a peek asks for nothing");
    let gate = w.script.hold(Op::Get, "k", When::After);
    assert_eq!(read(&w, "k"), old(How::Hit));
    gate.wait_arrived();
    assert_eq!(read(&w, "k"), old(How::Hit), "hits go on, and ask for no other");
    // It expires meanwhile: readers join the refresh.
    w.clock.advance(secs(3));
    let joined = w.until_it_waits(|cache| cache.read("k", &Call::new()).map(|read| read.how));
    gate.release();
    assert_eq!(joined.join().expect("loaded"), How::Joined);
    assert_eq!((read(&w, "k"), w.loads("k")), (new(How::Hit), 2));
}

#[test]
fn f3_a_refresh_never_overwrites_a_newer_write() {
    let w = ahead();
    outdated(&w);
    w.seed("hot", "here");
    w.clock.advance(secs(7));
    let gate = w.script.hold(Op::Get, "k", When::After);
    assert_eq!(read(&w, "k"), old(How::Hit));
    gate.wait_arrived();
    w.put("k", "newer").expect("applied");
    let after = w.script.hold(Op::Get, "hot", When::Before);
    assert_eq!(w.get("hot").as_deref(), Some("here"));
    gate.release();
    after.wait_arrived();
    assert_eq!(read(&w, "k"), (How::Hit, Some("newer".to_owned())));
    assert_eq!((w.cache.stats().loads_detached, w.cache.stats().refreshes), (1, 2));
}

#[test]
fn f3_a_refresh_in_flight_is_not_retained_after_an_invalidation() {
    let ways: [fn(&Cache<String, String>); 2] =
        [|cache| cache.invalidate("k"), |cache| assert_eq!(cache.invalidate_prefix("k").entries, 1)];
    for forget in ways {
        let w = ahead();
        outdated(&w);
        w.seed("hot", "here");
        w.clock.advance(secs(7));
        let gate = w.script.hold(Op::Get, "k", When::After);
        assert_eq!(read(&w, "k"), old(How::Hit));
        gate.wait_arrived();
        forget(&w.cache);
        gate.release();
        let _gate = after_the_refreshes(&w, "hot");
        assert_eq!(w.peek("k"), None);
    }
}

#[test]
fn f3_a_refresh_that_fails_leaves_the_record_and_is_tried_again_after_a_pause() {
    let w = world_with(Script::new(), |b| b.lifetime(secs(100)).refresh_ahead(0.5).refreshers(1, 8));
    for key in ["k", "hot", "hotter", "hottest"] {
        w.seed(key, "old");
    }
    w.clock.advance(secs(50));
    w.script.next(Op::Get, "k", Does::Fail);
    assert_eq!(read(&w, "k"), old(How::Hit));
    drop(after_the_refreshes(&w, "hot"));
    w.script.set("k", "new");
    w.clock.advance(secs(1) - Duration::from_nanos(1));
    assert_eq!(read(&w, "k"), old(How::Hit));
    drop(after_the_refreshes(&w, "hotter"));
    assert_eq!(w.loads("k"), 1, "not yet");
    w.clock.advance(Duration::from_nanos(1));
    assert_eq!(read(&w, "k"), old(How::Hit));
    drop(after_the_refreshes(&w, "hottest"));
    assert_eq!((read(&w, "k"), w.loads("k")), (new(How::Hit), 2));
}

#[test]
fn f3_a_record_confirmed_unchanged_lives_anew_and_is_refreshed_anew() {
    let w = ahead();
    w.seed("k", "old");
    w.seed("hot", "here");
    w.clock.advance(secs(7));
    w.script.next(Op::Get, "k", Does::Unchanged);
    assert_eq!(read(&w, "k"), old(How::Hit));
    drop(after_the_refreshes(&w, "hot"));
    assert_eq!(w.cache.peek("k").map(|entry| entry.remaining(w.cache.now())), Some(secs(10)));
    w.clock.advance(secs(7));
    let gate = w.script.hold(Op::Get, "k", When::Before);
    assert_eq!(read(&w, "k"), old(How::Hit));
    gate.wait_arrived();
}

#[test]
fn b2_refreshes_beyond_the_queue_are_counted_and_not_done() {
    let w = world_with(Script::new(), |b| b.lifetime(secs(10)).refresh_ahead(0.5).refreshers(1, 1));
    for key in ["a", "b", "c"] {
        w.seed(key, "old");
    }
    w.clock.advance(secs(5));
    let gates = ["a", "b"].map(|key| w.script.hold(Op::Get, key, When::Before));
    assert_eq!(read(&w, "a"), old(How::Hit));
    gates[0].wait_arrived();
    for key in ["b", "c", "c"] {
        assert_eq!(read(&w, key), old(How::Hit));
    }
    assert_eq!(w.cache.stats().refreshes_refused, 1, "and not asked for again at once");
    let [first, second] = gates;
    first.release();
    second.wait_arrived();
    assert_eq!((w.loads("c"), w.cache.stats().refreshes), (0, 2));
}

thread_local! {
    static TELLS: std::cell::RefCell<Option<Ends>> = const { std::cell::RefCell::new(None) };
}

/// Tells when its thread ends.
struct Ends(Sender<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn b4_the_threads_end_with_the_cache_whether_closed_or_dropped() {
    for closes in [true, false] {
        let (send, ended) = channel();
        let w = ahead();
        for key in ["k", "hot"] {
            w.seed(key, "old");
        }
        w.clock.advance(secs(7));
        w.script.next(Op::Get, "k", Does::Run(Box::new(move || TELLS.set(Some(Ends(send))))));
        assert_eq!(read(&w, "k"), old(How::Hit));
        drop(after_the_refreshes(&w, "hot"));
        assert!(ended.try_recv().is_err(), "it waits for more");
        let closed = closes.then(|| w.cache.close(Duration::ZERO));
        let still_here = closed.map(|_| w);
        ended.recv_timeout(secs(10)).expect("its thread ends");
        drop(still_here);
    }
}

#[test]
fn b4_what_waits_to_be_refreshed_is_not_begun_after_close() {
    let w = ahead();
    for key in ["k", "waits"] {
        w.seed(key, "old");
    }
    w.clock.advance(secs(7));
    let (send, ended) = channel();
    let gate = w.script.hold(Op::Get, "k", When::Before);
    w.script.next(Op::Get, "k", Does::Run(Box::new(move || TELLS.set(Some(Ends(send))))));
    for key in ["k", "waits"] {
        assert_eq!(read(&w, key), old(How::Hit));
    }
    gate.wait_arrived();
    w.cache.close(Duration::ZERO);
    gate.release();
    ended.recv_timeout(secs(10)).expect("its thread ends");
    assert_eq!(w.loads("waits"), 0);
}

#[test]
fn options_of_freshness_that_make_no_sense_are_refused() {
    fn refused(change: impl FnOnce(Builder<Texts>) -> Builder<Texts>) -> Option<&'static str> {
        change(Cache::builder(Script::new())).build().err().map(|error| error.option)
    }
    for share in [-0.1, 1.0, f64::NAN] {
        assert_eq!(refused(|b| b.refresh_ahead(share)), Some("refresh_ahead"));
    }
    assert_eq!(refused(|b| b.refreshers(0, 1)), Some("refreshers"));
    assert_eq!(refused(|b| b.refreshers(1, 0)), Some("refreshers"));
    assert_eq!(refused(|b| b.refresh_ahead(0.99).refreshers(1, 1).stale_if_error(Duration::MAX)), None);
}
