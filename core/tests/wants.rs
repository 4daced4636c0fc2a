//! Chapter 8 of the contract, F5: what a read asks of its record beyond that it may be served.

mod common;

use std::time::Duration;

use common::*;
use wtcache::{Call, How, LoadError, Passed, Read};
use wtcache_testkit::{Does, Op, Script, When};

/// Records live for 10 s.
fn ten() -> World {
    world_with(Script::new(), |b| b.lifetime(secs(10)))
}

/// Makes "k" resident, and a newer record at the origin.
fn outdated(w: &World) {
    w.script.set("k", "old");
    assert_eq!(w.get("k").as_deref(), Some("old"));
    w.script.set("k", "new");
}

fn seen(read: Read<Texts>) -> (How, Passed, Option<String>) {
    (read.how, read.passed, read.entry.map(|entry| entry.value().clone()))
}

#[track_caller]
fn read(w: &World, call: &Call) -> (How, Passed, Option<String>) {
    seen(w.cache.read("k", call).expect("an answer"))
}

fn is(how: How, passed: Passed, value: &str) -> (How, Passed, Option<String>) {
    (how, passed, Some(value.to_owned()))
}

const LED: How = How::Loaded { kept: true };
const HIT: (How, Passed) = (How::Hit, Passed::Nothing);

fn anew() -> Call {
    Call::new().max_age(Duration::ZERO)
}

#[test]
fn f5_a_record_older_than_the_call_takes_is_loaded_anew_and_kept() {
    let w = ten();
    outdated(&w);
    w.clock.advance(secs(3));
    assert_eq!(read(&w, &Call::new().max_age(secs(3))), is(HIT.0, HIT.1, "old"));
    assert_eq!(read(&w, &Call::new().max_age(secs(2))), is(LED, Passed::Fresh, "new"));
    assert_eq!(read(&w, &Call::new().max_age(secs(2))), is(HIT.0, HIT.1, "new"));
    w.clock.advance(secs(10));
    assert_eq!(read(&w, &Call::new().max_age(secs(60))), is(LED, Passed::Expired, "new"), "an age makes nothing fresh");
}

#[test]
fn f5_no_age_at_all_asks_the_origin_each_time() {
    let w = ten();
    outdated(&w);
    assert_eq!(read(&w, &anew()), is(LED, Passed::Fresh, "new"));
    assert_eq!(read(&w, &anew()), is(LED, Passed::Fresh, "new"));
    w.script.next(Op::Get, "k", Does::Unchanged);
    assert_eq!(read(&w, &anew()), is(LED, Passed::Fresh, "new"), "it may say that this is its record still");
    assert_eq!((w.loads("k"), w.peek("k").as_deref()), (4, Some("new")));
    assert_eq!(seen(w.cache.read("none", &anew()).expect("absent")), (LED, Passed::Nothing, None));
    assert_eq!(seen(w.cache.read("none", &anew()).expect("absent")).1, Passed::Fresh, "of an absence, too");
}

#[test]
fn f5_a_record_must_be_fresh_for_as_long_as_the_call_says() {
    let w = ten();
    outdated(&w);
    w.clock.advance(secs(4));
    assert_eq!(read(&w, &Call::new().min_fresh(secs(6))), is(HIT.0, HIT.1, "old"));
    assert_eq!(read(&w, &Call::new().min_fresh(secs(7))), is(LED, Passed::Fresh, "new"));
    assert_eq!(read(&w, &Call::new().min_fresh(secs(60))), is(LED, Passed::Fresh, "new"), "as good as it gets");
}

/// A load that began before the call is no answer to it, and no reason for a second one beside it.
#[test]
fn f5_a_load_that_began_too_early_is_waited_for_and_the_next_is_joined() {
    let w = ten();
    outdated(&w);
    w.cache.invalidate("k");
    let first = w.script.hold(Op::Get, "k", When::After);
    let early = w.start(|cache| cache.read("k", &Call::new()).map(seen));
    first.wait_arrived();
    w.script.set("k", "newer");
    w.clock.advance(secs(1));
    let second = w.script.hold(Op::Get, "k", When::After);
    let anew_1 = w.until_it_waits(|cache| cache.read("k", &anew()).map(seen));
    let young = w.until_it_waits(|cache| cache.read("k", &Call::new().max_age(secs(1))).map(seen));
    w.clock.advance(secs(1));
    assert_eq!(w.loads("k"), 2, "it is not asked beside the load that is under way");
    first.release();
    assert_eq!(early.join().expect("loaded"), is(LED, Passed::Nothing, "new"));
    assert_eq!(
        young.join().expect("joined"),
        is(How::Joined, Passed::Nothing, "new"),
        "that is no older than it takes"
    );
    second.wait_arrived();
    let anew_2 = w.until_it_waits(|cache| cache.read("k", &Call::new().max_age(secs(1))).map(seen));
    second.release();
    assert_eq!(anew_1.join().expect("loaded"), is(LED, Passed::Fresh, "newer"));
    assert_eq!(anew_2.join().expect("joined").2.as_deref(), Some("newer"));
    assert_eq!(w.loads("k"), 3);
}

#[test]
fn f5_what_is_not_to_be_kept_is_loaded_and_takes_nothing_older_along() {
    let w = ten();
    outdated(&w);
    let call = Call::new().not_kept();
    assert_eq!(read(&w, &call), is(HIT.0, HIT.1, "old"), "a hit is one");
    w.clock.advance(secs(10));
    let passing = How::Loaded { kept: false };
    assert_eq!(read(&w, &call), is(passing, Passed::Expired, "new"));
    assert_eq!(read(&w, &call), is(passing, Passed::Nothing, "new"), "B1: nothing is here");
    assert_eq!(read(&w, &Call::new()), is(LED, Passed::Nothing, "new"));
    w.script.next(Op::Get, "k", Does::Unchanged);
    assert_eq!(read(&w, &anew().not_kept()), is(passing, Passed::Fresh, "new"));
    assert_eq!(w.peek("k"), None);
}

#[test]
fn f2_a_call_says_how_stale_its_record_may_be() {
    let w = ten();
    outdated(&w);
    w.clock.advance(secs(12));
    assert_eq!(read(&w, &Call::new().max_stale(secs(3))), is(How::Stale, Passed::Nothing, "old"));
    let too_old = Call::new().max_stale(secs(3)).max_age(secs(11));
    assert_eq!(read(&w, &too_old), is(LED, Passed::Expired, "new"));
    w.clock.advance(secs(12));
    assert_eq!(read(&w, &Call::new().max_stale(secs(2))), is(LED, Passed::Expired, "new"));
    // The cache's own window is the call's to close.
    let w = world_with(Script::new(), |b| b.lifetime(secs(10)).stale_while_revalidate(secs(60)));
    outdated(&w);
    w.clock.advance(secs(12));
    assert_eq!(read(&w, &Call::new().max_stale(Duration::ZERO)), is(LED, Passed::Expired, "new"));
}

#[test]
fn f2_a_call_says_for_how_long_a_record_stands_in_for_an_error() {
    let fails = |w: &World, call: &Call| {
        w.script.next(Op::Get, "k", Does::Fail);
        w.cache.read("k", call).map(seen)
    };
    let w = ten();
    outdated(&w);
    w.clock.advance(secs(4));
    let stale = is(How::Stale, Passed::Nothing, "old");
    assert!(matches!(fails(&w, &anew()), Err(LoadError::Source(_))), "fresh, but not what was asked for");
    assert_eq!(fails(&w, &anew().stale_if_error(secs(5))).expect("in place of it"), stale);
    assert!(fails(&w, &anew().stale_if_error(secs(4))).is_err());
    assert_eq!(fails(&w, &Call::new().min_fresh(secs(7)).stale_if_error(secs(2))).expect("in place of it"), stale);
    w.clock.advance(secs(8));
    assert!(fails(&w, &Call::new()).is_err());
    assert!(fails(&w, &Call::new().stale_if_error(secs(2))).is_err());
    assert_eq!(fails(&w, &Call::new().stale_if_error(secs(3))).expect("in place of it"), stale);
    let w = world_with(Script::new(), |b| b.lifetime(secs(10)).stale_if_error(secs(60)));
    outdated(&w);
    w.clock.advance(secs(12));
    assert!(fails(&w, &Call::new().stale_if_error(Duration::ZERO)).is_err(), "the cache's own is the call's to close");
    assert_eq!(fails(&w, &Call::new()).expect("in place of it"), stale);
}

#[test]
fn g9_what_is_resident_is_told_as_a_read_would_without_a_call() {
    let w = ten();
    let resident = |key: &str, call: &Call| w.cache.read_resident(key, call).map(seen);
    assert_eq!(resident("k", &Call::new()), None);
    outdated(&w);
    assert_eq!(resident("k", &Call::new()), Some(is(HIT.0, HIT.1, "old")));
    assert_eq!(resident("k", &anew()), None);
    let soon = Call::new().min_fresh(secs(11));
    assert_eq!(resident("k", &soon), None);
    assert_eq!(resident("k", &soon.max_stale(secs(3))), None, "it is fresh, and not for long enough");
    assert_eq!(w.get("none"), None);
    assert_eq!(resident("none", &Call::new()), Some((HIT.0, HIT.1, None)), "a remembered absence");
    w.clock.advance(secs(12));
    assert_eq!(resident("k", &Call::new()), None);
    assert_eq!(resident("k", &Call::new().max_stale(secs(2))), None);
    assert_eq!(resident("k", &Call::new().max_stale(secs(3))), Some(is(How::Stale, Passed::Nothing, "old")));
    assert_eq!(w.loads("k"), 1);
    w.cache.close(Duration::ZERO);
    assert_eq!(resident("k", &Call::new().max_stale(secs(3))), None);
}

/// What is taken stale without a call is refreshed in the background, as what a read takes so.
#[test]
fn g9_what_is_resident_and_stale_is_refreshed_where_the_cache_does_that() {
    let w = world_with(Script::new(), |b| b.lifetime(secs(10)).stale_while_revalidate(secs(1)));
    outdated(&w);
    w.clock.advance(secs(12));
    let gate = w.script.hold(Op::Get, "k", When::Before);
    let read = w.cache.read_resident("k", &Call::new().max_stale(secs(3))).map(seen);
    assert_eq!(read, Some(is(How::Stale, Passed::Nothing, "old")));
    gate.wait_arrived();
    assert_eq!(w.cache.stats().refreshes, 1);
}

/// G10: of many keys as of one.
#[test]
fn f5_many_keys_are_asked_for_as_one_is() {
    let w = ten();
    outdated(&w);
    w.script.set("b", "old");
    w.clock.advance(secs(5));
    assert_eq!(w.get("b").as_deref(), Some("old"));
    w.script.set("b", "new");
    let many = w.cache.read_many(["k", "b"], &Call::new().max_age(secs(4)));
    let many: Vec<_> = many.into_iter().map(|read| seen(read.expect("an answer"))).collect();
    assert_eq!(many, [is(LED, Passed::Fresh, "new"), is(HIT.0, HIT.1, "old")]);
}
