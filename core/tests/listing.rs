//! Records that a list of the origin's brings: each is as a load that began before the list was asked for.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::meanwhile::MEANWHILE;
use common::*;
use wtcache::{Call, EventKind, How, Lifetime, Listing, Outcome, Pushed, Record, Step, StepDone, Transacted, Wrote};
use wtcache_testkit::{Does, Op, Script, When, spawn};

fn record(value: &str) -> Record<String> {
    Record::new(value.to_owned())
}

/// Hands the list's record of k over, which is returned, kept or not.
#[track_caller]
fn kept(w: &World, listing: &Listing<'_, Texts>, record: Record<String>) -> bool {
    let value = record.value.clone();
    let listed = listing.loaded("k", record);
    assert_eq!(listed.entry.unwrap().value(), &value);
    assert_eq!(listed.kept, w.peek("k").is_some(), "what is not kept leaves nothing that may be older");
    listed.kept
}

#[test]
fn g4_a_record_that_nothing_overtook_is_retained_as_a_load_is() {
    let w = world_with(Script::new(), |builder| builder.lifetime(secs(60)));
    w.seed("k", "old");
    w.script.set("k", "listed");
    let listing = w.cache.listing();
    w.clock.advance(secs(20));
    assert!(kept(&w, &listing, record("listed")), "what was resident before is older");
    assert_eq!((w.peek("k").as_deref(), w.loads("k")), (Some("listed"), 0));
    w.clock.advance(secs(40));
    assert_eq!(w.peek("k"), None, "its lifetime counts from when the list was asked for");
}

/// A load may have brought what is older or newer than the list has, so that nobody knows.
#[test]
fn g4_what_came_by_the_key_since_the_listing_began_may_be_newer() {
    for (what, meanwhile, keeps) in MEANWHILE {
        let w = world();
        w.script.set("k", "listed");
        let listing = w.cache.listing();
        meanwhile(&w);
        assert_eq!(kept(&w, &listing, record("listed")), keeps, "{what}");
        drop(listing);
        w.clock.advance(WINDOW);
        assert_eq!(w.get("k"), w.script.truth("k"), "{what}");
        w.assert_settled("k");
        // It is over: the next one is not concerned.
        let next = w.cache.listing();
        assert!(kept(&w, &next, record(&w.script.truth("k").unwrap_or_default())), "{what}");
    }
}

/// Joined after the list was given out, it would show what was before.
#[test]
fn g4_a_load_in_flight_is_detached_whether_the_record_is_kept_or_not() {
    for keeps in [true, false] {
        let w = world();
        w.script.set("k", "old");
        let gate = w.script.hold(Op::Get, "k", When::After);
        let reads = w.start(|cache| text(cache.get("k")));
        gate.wait_arrived();
        let listing = w.cache.listing();
        w.script.set("k", "listed");
        if !keeps {
            w.cache.pushed("k", Pushed::Changed(None));
        }
        assert_eq!(kept(&w, &listing, record("listed")), keeps);
        gate.release();
        assert_eq!(reads.join().as_deref(), Some("listed"), "it looked again");
    }
}

/// The write's answer decides what is resident; of the list's record nobody knows whether it is from before it.
#[test]
fn g6_beside_a_write_that_is_out_it_is_not_retained_and_the_write_is() {
    let w = world();
    w.seed("k", "old");
    let gate = w.script.hold(Op::Put, "k", When::After);
    let puts = w.start(|cache| cache.put("k", "put".to_owned()).unwrap().kept);
    gate.wait_arrived();
    let listing = w.cache.listing();
    assert!(!kept(&w, &listing, record("put")), "nor is what was before: the list showed the write");
    gate.release();
    assert!(puts.join());
    assert_eq!(w.peek("k").as_deref(), Some("put"));
}

#[test]
fn i1_a_tag_that_was_invalidated_since_is_held_against_the_record() {
    for (told, keeps) in [("red", false), ("blue", true)] {
        let w = world();
        let listing = w.cache.listing();
        w.cache.invalidate_tag(told);
        assert_eq!(kept(&w, &listing, record("listed").tags(["red"])), keeps, "{told}");
    }
}

#[test]
fn d2_a_key_in_doubt_stays_so() {
    let w = world();
    let doubt = w.doubt("k", "stray", Does::Stray);
    let listing = w.cache.listing();
    assert!(!kept(&w, &listing, record("listed")));
    assert_eq!(w.cache.stats().in_doubt, 1);
    w.assert_not_retained("k");
    assert!(doubt.outcome().is_none());
    w.script.land();
    w.clock.advance(WINDOW);
    w.assert_settled("k");
}

#[test]
fn o1_what_is_pending_stays_above_it() {
    let w = world();
    let permit = w.cache.prepare("k", &Call::new()).unwrap();
    let pending = w.cache.put_optimistic("k", "pending".to_owned()).unwrap();
    let listing = w.cache.listing();
    let listed = listing.loaded("k", record("listed"));
    assert_eq!((listed.kept, listed.entry.unwrap().value().as_str()), (true, "listed"));
    let read = w.cache.read("k", &Call::new()).unwrap();
    assert_eq!((read.how, read.entry.unwrap().value().as_str()), (How::Pending, "pending"));
    let confirmed = w.cache.read_confirmed("k", &Call::new()).unwrap();
    assert_eq!((confirmed.how, confirmed.entry.unwrap().value().as_str()), (How::Hit, "listed"));
    permit.abort();
    assert!(pending.wait().unwrap().kept);
}

/// It may show a part of what the transaction shows together.
#[test]
fn t1_in_a_transaction_on_its_key_it_is_not_retained() {
    let w = world();
    let (cache, seen) = (w.cache.clone(), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&seen);
    let step = Step::call(move |_| {
        let kept = cache.listing().loaded("k", record("listed")).kept;
        *told.lock().unwrap() = Some((kept, cache.peek("k").is_some()));
        Outcome::Applied(StepDone::new().wrote("other", Wrote::Record(record("stepped"))))
    });
    // The key itself is written by a later step: nothing of it is out yet.
    let later = Step::call(|_| Outcome::Applied(StepDone::new().wrote("k", Wrote::Record(record("stepped")))));
    let ended = w.cache.transaction().step(step.writes("other")).step(later.writes("k")).run();
    assert!(matches!(ended, Transacted::Committed(_)), "committed");
    assert_eq!(*seen.lock().unwrap(), Some((false, false)));
}

/// While a create is out, what loads bring makes writes dirty, for the create has no turn; a list is no write.
#[test]
fn p1_a_write_beside_a_load_while_a_listing_is_out_is_retained() {
    let w = world();
    let listing = w.cache.listing();
    let cache = w.cache.clone();
    w.script.next(Op::Put, "k", Does::Run(Box::new(move || drop(spawn(move || cache.get("k").map(drop)).join()))));
    assert!(w.cache.put("k", "put".to_owned()).unwrap().kept);
    drop(listing);
}

#[test]
fn b1_what_has_no_lifetime_or_no_room_is_returned_and_the_older_one_goes() {
    let w = world_with(Script::new(), |builder| {
        builder.capacity(10).weigher(|_, value| value.map_or(1, |v| v.len() as u64))
    });
    for heavy in [record("listed").lifetime(Lifetime::NotKept), record("more than there is room for")] {
        w.seed("k", "old");
        let listing = w.cache.listing();
        assert!(!kept(&w, &listing, heavy));
    }
}

#[test]
fn b4_after_a_close_nothing_is_retained() {
    let w = world();
    let listing = w.cache.listing();
    w.cache.close(secs(1));
    assert!(!kept(&w, &listing, record("listed")));
}

#[test]
fn b5_a_listener_is_told_that_it_was_retained_or_that_what_was_here_went() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let w = world_with(Script::new(), |builder| builder.listener(move |event| told.lock().unwrap().push(event.kind)));
    let listing = w.cache.listing();
    assert!(kept(&w, &listing, record("listed")));
    assert!(!kept(&w, &listing, record("the same key again")), "the first one moved it");
    let told = std::mem::take(&mut *events.lock().unwrap());
    assert_eq!(told, [EventKind::Retained { absent: false }, EventKind::Dropped]);
}
