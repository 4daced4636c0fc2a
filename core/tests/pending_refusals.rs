//! Merges that refuse what is there, what they weigh, and how many pending writes a key may have: promises of chapters 5 and 9.

mod common;

use common::*;
use wtcache::{Cache, Call, Failure, How, NotSent, Optimistic, PendingWrite, SourceError};
use wtcache_testkit::{Op, Script, When, spawn};

/// Appends to what is there, but not to nothing and not to what ends already so.
fn append(cache: &Cache<String, String>, key: &str, text: &'static str) -> PendingWrite<Texts> {
    let merge = move |old: Option<&String>| match old {
        Some(old) if !old.ends_with(text) => Ok(Some(old.clone() + text)),
        _ => Err(SourceError::new(Failure::Invalid, "not to this")),
    };
    cache.try_merge_optimistic_with(key, merge, None, &Call::new()).expect("admitted")
}

#[test]
fn o5_a_merge_that_refuses_counts_for_nothing_in_a_read_and_its_write_is_rejected_unsent() {
    let w = world();
    w.seed("k", "1");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let (first, refused, last) = (append(&w.cache, "k", "x"), append(&w.cache, "k", "x"), append(&w.cache, "k", "y"));
    assert_eq!(w.get("k").as_deref(), Some("1xy"));
    held.release();
    assert!(spawn(move || first.wait()).join().is_ok());
    let rejection = rejected(spawn(move || refused.wait()).join());
    assert_eq!((rejection.error.message(), rejection.stale_base), ("not to this", false));
    assert_eq!(spawn(move || last.wait()).join().expect("applied").entry.expect("a record").value(), "1xy");
    assert_eq!(w.script.applied("k"), ["1", "1x", "1xy"]);
    assert_eq!((w.get("k").as_deref(), w.cache.stats().merges_panicked), (Some("1xy"), 0));
}

/// What a read is given is the base itself, and says so: nothing of it is pending.
#[test]
fn o5_beneath_a_merge_that_refuses_the_base_is_shown_as_what_it_is() {
    let w = world();
    w.seed("k", "1");
    let turn = w.cache.prepare("k", &Call::new()).expect("nobody else writes");
    let before = w.script.calls(Op::Put, "k");
    let refused = append(&w.cache, "k", "1");
    let read = w.cache.read("k", &Call::new()).expect("resident");
    assert_eq!((read.how, read.entry.expect("a record").pending_since()), (How::Hit, None));
    assert!(!refused.has_ended());
    turn.abort();
    rejected(spawn(move || refused.wait()).join());
    assert_eq!(w.script.calls(Op::Put, "k"), before);
}

#[test]
fn o4_a_merge_weighs_as_it_is_told_to() {
    let w = world_with(Script::new(), |builder| {
        builder.weigher(|_, value| value.map_or(1, |text| text.len() as u64)).optimistic(Optimistic::new().weight(10))
    });
    let held = w.script.hold(Op::Put, "k", When::Before);
    let merge = |as_much_as: &str| {
        let merge = |_: Option<&String>| Ok(Some("2".to_owned()));
        w.cache.try_merge_optimistic_with("k", merge, Some(&as_much_as.to_owned()), &Call::new())
    };
    assert!(matches!(merge("eleven char"), Err(NotSent::TooManyPending)));
    let six = merge("is six").expect("admitted");
    assert!(matches!(merge("five."), Err(NotSent::TooManyPending)));
    held.release();
    assert!(spawn(move || six.wait()).join().is_ok());
    let eight = merge("is eight").expect("the weight was given back");
    assert!(spawn(move || eight.wait()).join().is_ok());
}

#[test]
fn b2_of_one_key_as_many_are_pending_as_may_wait_for_its_turn() {
    let w = world_with(Script::new(), |builder| builder.turn_queue(1));
    let held = w.script.hold(Op::Put, "k", When::Before);
    let pending = ["1", "2"].map(|value| w.cache.put_optimistic("k", value.to_owned()).expect("admitted"));
    assert!(matches!(w.cache.put_optimistic("k", "3".to_owned()), Err(NotSent::QueueFull)));
    assert_eq!((w.peek("k").as_deref(), w.cache.stats().pending), (Some("2"), 2));
    held.release();
    pending.into_iter().for_each(|pending| _ = spawn(move || pending.wait()).join().expect("applied"));
}
