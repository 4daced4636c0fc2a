//! Chapter 3 of the contract, P6: writes on a condition, checked in the turn.

mod common;

use common::*;
use wtcache::{
    Cache, Call, Change, Condition, Confirmed, Entry, Expect, InDoubtWrites, LoadCx, Loaded, NotSent, Outcome, Record,
    Source, SourceError, Typed, Unmet, Version, WriteCx, WriteError,
};
use wtcache_testkit::{Does, ManualClock, Op, Script, When};

fn v(text: &str) -> Version {
    Version::new(text).expect("short")
}

/// The version of the resident record.
fn version(w: &World) -> Version {
    let entry = w.cache.peek("k").expect("resident");
    Version::new(entry.version().expect("the script gives versions")).expect("short")
}

#[track_caller]
fn unmet<T>(result: Result<T, WriteError<Texts>>) -> Option<String> {
    match result {
        Err(WriteError::Unmet(Unmet { existing, .. })) => existing.map(|entry: Entry<Texts>| entry.value().clone()),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("applied"),
    }
}

fn honouring(script: &Script) {
    script.declare(|declared| declared.honours_preconditions = true);
}

/// The conditions of all puts and deletes so far.
fn conditions(w: &World) -> Vec<Option<Condition>> {
    w.script.log().into_iter().filter(|seen| seen.op != Op::Get).map(|seen| seen.condition).collect()
}

#[test]
fn p6_a_condition_that_does_not_hold_shows_the_record_and_sends_nothing() {
    let w = world();
    w.seed("k", "one");
    assert_eq!(unmet(w.cache.put_if("k", "two".to_owned(), Expect::Absent)).as_deref(), Some("one"));
    assert_eq!(unmet(w.cache.put_if("k", "two".to_owned(), Expect::version(v("v9")))).as_deref(), Some("one"));
    assert_eq!(unmet(w.cache.put_if("k", "two".to_owned(), Expect::AnyOf(Vec::new()))).as_deref(), Some("one"));
    assert_eq!(unmet(w.cache.delete_if("k", Expect::Absent)).as_deref(), Some("one"));
    assert_eq!(unmet(w.cache.put_if("none", "two".to_owned(), Expect::Exists)), None);
    assert_eq!(unmet(w.cache.delete_if("none", Expect::version(v("v1")))), None);
    assert_eq!((w.script.calls(Op::Put, "k"), w.script.calls(Op::Delete, "k")), (1, 0));
    assert_eq!((w.script.calls(Op::Put, "none"), w.script.calls(Op::Delete, "none")), (0, 0));
    assert_eq!(w.peek("k").as_deref(), Some("one"), "the base is as it was");
    let stats = w.cache.stats();
    assert_eq!((stats.writes_not_sent, stats.writes_open, stats.in_doubt), (6, 0, 0));
}

#[test]
fn p6_with_the_record_of_the_error_the_next_try_goes_through() {
    let w = conditional_world();
    w.seed("k", "one");
    let stale = version(&w);
    w.seed("k", "two");
    let Err(WriteError::Unmet(Unmet { existing: Some(entry), .. })) =
        w.cache.put_if("k", "three".to_owned(), Expect::version(stale))
    else {
        panic!("the record has another version")
    };
    let now = Version::new(entry.version().expect("it has one")).expect("short");
    let written = w.cache.put_if("k", format!("{} and three", entry.value()), Expect::version(now)).expect("applied");
    assert!(written.kept);
    assert_eq!(w.peek("k").as_deref(), Some("two and three"));
}

#[test]
fn p6_a_condition_is_checked_on_the_record_that_is_loaded_in_the_turn() {
    let w = world();
    w.script.set("k", "one");
    w.cache.put_if("k", "two".to_owned(), Expect::AnyOf(vec![v("v7"), v("v1")])).map(drop).expect("it is v1");
    assert_eq!((w.loads("k"), w.peek("k").as_deref()), (1, Some("two")));
    w.cache.invalidate("k");
    assert_eq!(unmet(w.cache.put_if("k", "three".to_owned(), Expect::version(v("v1")))).as_deref(), Some("two"));
    w.script.next(Op::Get, "k", Does::Fail);
    let unread = not_sent(w.cache.put_if("k", "three".to_owned(), Expect::Exists));
    assert!(matches!(unread, NotSent::Unread(_)), "{unread}");
    assert_eq!(w.script.calls(Op::Put, "k"), 1);
}

#[test]
fn p6_a_condition_goes_on_to_the_origin_where_it_is_honoured_only() {
    for honoured in [false, true] {
        let script = Script::new();
        if honoured {
            honouring(&script);
        }
        let w = world_with(script, |b| b);
        w.cache.put_if("k", "one".to_owned(), Expect::Absent).map(drop).expect("applied");
        w.cache.put_if("k", "two".to_owned(), Expect::Exists).map(drop).expect("applied");
        // Of several, the record's own: the others may be yet to come.
        let several = Expect::AnyOf(vec![v("v1"), v("v2"), v("v3")]);
        w.cache.put_if("k", "three".to_owned(), several).map(drop).expect("applied");
        w.cache.delete_if("k", Expect::version(v("v3"))).map(drop).expect("applied");
        let sent = [Condition::Absent, Condition::Exists, Condition::Version(v("v2")), Condition::Version(v("v3"))];
        assert_eq!(conditions(&w), sent.map(|condition| honoured.then_some(condition)));
        assert_eq!(w.script.truth("k"), None);
    }
}

#[test]
fn p6_what_the_origin_finds_not_to_hold_is_rejected_and_drops_the_entry() {
    let w = conditional_world();
    w.seed("k", "one");
    let mine = version(&w);
    w.script.set("k", "outside");
    let refused = rejected(w.cache.put_if("k", "two".to_owned(), Expect::version(mine.clone())));
    assert!(refused.stale_base);
    assert_eq!((w.peek("k"), w.script.truth("k").as_deref()), (None, Some("outside")));
    assert_eq!(unmet(w.cache.put_if("k", "two".to_owned(), Expect::version(mine))).as_deref(), Some("outside"));
}

#[test]
fn p6_a_conditional_delete_of_what_the_origin_no_longer_has_is_a_conflict() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.remove("k");
    assert!(rejected(w.cache.delete_if("k", Expect::Exists)).stale_base);
    assert_eq!(unmet(w.cache.delete_if("k", Expect::Exists)), None);
    w.cache.delete("k").map(drop).expect("P4: unconditional, it counts as removed");
}

#[test]
fn p6_a_conditional_write_is_checked_after_the_writer_before_it() {
    let w = world();
    w.seed("k", "one");
    let mine = version(&w);
    let gate = w.script.hold(Op::Put, "k", When::Before);
    let first = w.start(|cache| cache.put("k", "two".to_owned()).map(drop));
    gate.wait_arrived();
    let second = w.until_it_waits(move |cache| cache.put_if("k", "three".to_owned(), Expect::version(mine)).map(drop));
    gate.release();
    first.join().expect("applied");
    assert_eq!(unmet(second.join()).as_deref(), Some("two"));
    assert_eq!(w.script.truth("k").as_deref(), Some("two"));
}

/// Gives no versions.
struct Plain;

impl Source<Typed<u8, u8>> for Plain {
    fn get(&self, _: &u8, _: &LoadCx<'_, Typed<u8, u8>>) -> Result<Loaded<u8>, SourceError> {
        Ok(Loaded::Found(Record::new(1)))
    }
    fn put(&self, _: &u8, value: &u8, _: &WriteCx<'_, Typed<u8, u8>>) -> Outcome<Confirmed<u8>> {
        Outcome::Applied(Confirmed::Record(Record::new(*value)))
    }
}

#[test]
fn p6_a_record_without_a_version_has_none_of_those_expected() {
    let cache = Cache::builder(Plain).build().expect("the options make sense");
    for expect in [Expect::version(v("")), Expect::AnyOf(vec![v("v1"), v("*")])] {
        let refused = cache.put_if(&1, 2, expect);
        assert!(matches!(refused, Err(WriteError::Unmet(Unmet { existing: Some(_), .. }))));
    }
    assert!(cache.put_if(&1, 2, Expect::Exists).is_ok());
}

#[test]
fn p6_a_condition_that_is_checked_here_only_is_held_back_in_a_doubt_as_none() {
    for honoured in [false, true] {
        let script = Script::new();
        if honoured {
            honouring(&script);
        }
        let w = world_with(script, |b| b.in_doubt_writes(InDoubtWrites::Wait));
        w.seed("k", "one");
        let _doubt = w.doubt("k", "lost", Does::Unknown);
        let result = w.cache.put_if("k", "two".to_owned(), Expect::Exists);
        if honoured {
            result.map(drop).expect("it goes first");
        } else {
            let held = not_sent(result);
            assert!(matches!(held, NotSent::HeldBack { .. }), "{held}");
        }
    }
}

#[test]
fn p6_in_a_doubt_a_condition_is_checked_on_what_the_origin_says_now() {
    let w = world();
    w.seed("k", "one");
    let _doubt = w.doubt("k", "stray", Does::Stray);
    assert_eq!(w.script.land(), 1);
    assert_eq!(unmet(w.cache.put_if("k", "two".to_owned(), Expect::version(v("v1")))).as_deref(), Some("stray"));
    assert_eq!(w.cache.stats().in_doubt, 1);
}

#[test]
fn p6_a_conditional_write_that_comes_after_its_deadline_begins_nothing() {
    let w = world();
    w.script.set("k", "one");
    let call = Call::new().deadline(secs(0));
    // Not that its record could not be read: it never had the turn to do that in.
    let late = not_sent(w.cache.put_if_with("k", "two".to_owned(), Expect::Exists, &call));
    assert!(matches!(late, NotSent::Deadline), "{late:?}");
    let late = not_sent(w.cache.delete_if_with("k", Expect::Exists, &call));
    assert!(matches!(late, NotSent::Deadline), "{late:?}");
    assert_eq!(w.script.truth("k").as_deref(), Some("one"));
}

/// The record was there in time, and then the program's weigher took too long.
#[test]
fn p6_a_conditional_write_whose_deadline_passes_after_its_check_is_not_sent() {
    let (script, clock) = (Script::new(), ManualClock::new());
    script.set("k", "one");
    let slow = clock.clone();
    let weigher = move |_: &String, _: Option<&String>| {
        slow.advance(secs(2));
        1
    };
    let builder = Cache::builder(script.clone()).clock(clock.shared()).clean_start(true);
    let cache = builder.weigher(weigher).build().expect("the options make sense");
    let late = not_sent(cache.put_if_with("k", "two".to_owned(), Expect::Exists, &within(secs(1))));
    assert!(matches!(late, NotSent::Deadline), "{late:?}");
    let late = not_sent(cache.delete_if_with("k", Expect::Exists, &within(secs(1))));
    assert!(matches!(late, NotSent::Deadline), "{late:?}");
    assert_eq!((script.calls(Op::Get, "k"), script.truth("k").as_deref()), (2, Some("one")));
    assert_eq!(cache.stats().writes_open, 0);
}

#[test]
fn d3_a_condition_on_existence_settles_nothing_that_it_left_in_doubt() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::Stray);
    let _doubt = in_doubt(w.cache.put_if("k", "stray".to_owned(), Expect::Exists));
    // Applied on a version, and then another version is shown: both would settle a doubt on a version.
    w.cache.update("k", |_| Ok(Change::Put("two".to_owned()))).map(drop).expect("applied");
    assert_eq!(w.get("k").as_deref(), Some("two"));
    assert_eq!(w.cache.stats().in_doubt, 1);
    assert_eq!(w.script.land(), 1);
    assert_eq!(w.get("k").as_deref(), Some("stray"), "a record is there again, and the stray lands");
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

#[test]
fn d3_an_applied_write_on_existence_settles_doubts_on_versions() {
    let w = conditional_world();
    w.seed("k", "one");
    w.script.next(Op::Put, "k", Does::Stray);
    let _doubt = in_doubt(w.cache.put_if("k", "stray".to_owned(), Expect::version(v("v1"))));
    let written = w.cache.put_if("k", "two".to_owned(), Expect::Exists).expect("applied");
    assert!(written.kept, "the version that the stray waits for never comes again");
    assert_eq!(w.script.land(), 0);
    w.assert_settled("k");
}
