//! The state table of `slot.rs`, row by row.

use super::*;
use crate::entry::Version;

const RULES: Rules = Rules { settle_window: Duration::from_nanos(100), conditions_settle: false, keys_settle: false };
const SETTLING: Rules = Rules { conditions_settle: true, ..RULES };
const KEYED: Rules = Rules { keys_settle: true, ..RULES };
const A: PermitId = PermitId(1);
const B: PermitId = PermitId(2);

fn at(nanos: u64) -> Tick {
    Tick::from_nanos(nanos)
}

fn sent(permit: PermitId, deadline: u64) -> Slot {
    let mut slot = Slot::default();
    slot.prepare(permit, at(deadline));
    assert!(slot.send(permit, None, None));
    slot
}

fn sent_if(slot: &mut Slot, permit: PermitId, version: &str) {
    slot.prepare(permit, at(50));
    assert!(slot.send(permit, Version::new(version).map(Condition::Version), None));
}

#[test]
fn an_applied_write_detaches_the_load_that_began_before_it() {
    let mut slot = sent(A, 50);
    slot.load_begins(Fence(1));
    let change = slot.applied(A, true, None, &RULES);
    assert_eq!(change, Change { base: Base::Take, detached: true, passed: true, ..Change::default() });
    assert_eq!(slot.load_ends(Fence(1), Answer::Absent, &RULES).0, LoadEnd::Detached);
    assert!(slot.is_idle());
}

#[test]
fn a_plain_rejection_leaves_the_load_attached() {
    let mut slot = sent(A, 50);
    slot.load_begins(Fence(1));
    assert_eq!(slot.rejected(A, false, false, &RULES), Change { passed: true, ..Change::default() });
    assert_eq!(slot.load_ends(Fence(1), Answer::Absent, &RULES).0, LoadEnd::Kept);
}

#[test]
fn an_invalidated_write_commits_as_unknown_base() {
    let mut slot = sent(A, 50);
    let _ = slot.invalidated();
    assert_eq!(slot.applied(A, true, None, &RULES).base, Base::Forget);
}

#[test]
fn a_doubt_that_settles_makes_the_write_in_flight_dirty() {
    let mut slot = sent(A, 50);
    assert!(slot.unknown(A, at(150)).doubted);
    slot.prepare(B, at(400));
    assert!(slot.send(B, None, None));
    assert!(slot.tick(at(150), &RULES).settled);
    assert_eq!(slot.applied(B, true, None, &RULES).base, Base::Forget);
}

#[test]
fn an_applied_write_does_not_end_an_earlier_doubt() {
    let mut slot = sent(A, 50);
    let _ = slot.unknown(A, at(150));
    slot.prepare(B, at(90));
    assert!(slot.send(B, None, None));
    assert_eq!(slot.applied(B, true, None, &RULES).base, Base::Forget);
    assert!(slot.doubt().is_some());
}

#[test]
fn an_overdue_send_is_in_doubt_from_its_deadline() {
    let mut slot = sent(A, 50);
    assert_eq!(slot.tick(at(49), &RULES), Change::default());
    let change = slot.tick(at(120), &RULES);
    assert!(change.doubted && change.passed && change.base == Base::Forget);
    assert_eq!(slot.next_tick(), at(150));
    assert!(slot.tick(at(150), &RULES).settled);
    assert!(slot.is_idle());
}

#[test]
fn an_overdue_send_prolongs_a_doubt_that_was_due_later() {
    let mut slot = sent(A, 50);
    let _ = slot.unknown(A, at(100));
    slot.prepare(B, at(60));
    assert!(slot.send(B, None, None));
    let change = slot.tick(at(110), &RULES);
    assert!(change.doubted && !change.settled);
    assert_eq!(slot.next_tick(), at(160));
}

#[test]
fn a_doubt_that_ended_before_a_deadline_is_told_before_the_new_one() {
    let mut slot = sent(A, 50);
    let _ = slot.unknown(A, at(100));
    slot.prepare(B, at(120));
    assert!(slot.send(B, None, None));
    let change = slot.tick(at(130), &RULES);
    assert!(change.settled && change.doubted);
    assert_eq!(slot.next_tick(), at(220));
}

#[test]
fn a_late_answer_settles_its_own_send_only() {
    let mut slot = sent(A, 50);
    let _ = slot.tick(at(60), &RULES);
    slot.prepare(B, at(70));
    assert!(slot.send(B, None, None));
    let _ = slot.tick(at(80), &RULES);
    assert!(!slot.applied(A, true, None, &RULES).settled);
    let change = slot.rejected(B, false, false, &RULES);
    assert!(change.settled && change.base == Base::Forget);
    assert!(slot.is_idle());
}

#[test]
fn a_conditional_write_settles_conditional_doubts_only_where_declared() {
    for (rules, first_conditional, settles) in [(SETTLING, true, true), (RULES, true, false), (SETTLING, false, false)]
    {
        let mut slot = Slot::default();
        if first_conditional {
            sent_if(&mut slot, A, "v1")
        } else {
            slot = sent(A, 50)
        }
        let _ = slot.unknown(A, at(150));
        sent_if(&mut slot, B, "v1");
        let change = slot.applied(B, true, None, &rules);
        assert_eq!(change.settled, settles, "{rules:?} {first_conditional}");
        assert_eq!(change.base, if settles { Base::Take } else { Base::Forget });
    }
}

#[test]
fn a_record_does_not_settle_a_write_that_expects_none() {
    let mut slot = Slot::default();
    slot.prepare(A, at(50));
    assert!(slot.send(A, Some(Condition::Absent), None));
    let _ = slot.unknown(A, at(150));
    slot.load_begins(Fence(1));
    assert!(!slot.load_ends(Fence(1), Answer::Version(Some(b"v1")), &SETTLING).1.settled);
    sent_if(&mut slot, B, "v1");
    assert!(!slot.applied(B, true, None, &SETTLING).settled);
}

#[test]
fn another_version_settles_a_conditional_doubt() {
    for (shown, settles) in [("v1", false), ("v2", true)] {
        let mut slot = Slot::default();
        sent_if(&mut slot, A, "v1");
        let _ = slot.unknown(A, at(150));
        slot.load_begins(Fence(1));
        let (end, change) = slot.load_ends(Fence(1), Answer::Version(Some(shown.as_bytes())), &SETTLING);
        assert_eq!((end, change.settled), (LoadEnd::Returned, settles));
    }
}

#[test]
fn a_stray_of_an_applied_write_leaves_the_key_in_doubt() {
    let mut slot = sent(A, 50);
    let change = slot.applied(A, true, Some(at(150)), &RULES);
    assert!(change.doubted && change.base == Base::Forget);
}

#[test]
fn a_late_answer_with_a_stray_settles_nothing() {
    let mut slot = sent(A, 50);
    let _ = slot.tick(at(60), &RULES);
    let change = slot.applied(A, true, Some(at(170)), &RULES);
    assert!(!change.settled && change.base == Base::Forget);
    assert_eq!(slot.next_tick(), at(170));
}

#[test]
fn a_permit_that_lost_its_turn_may_not_send() {
    let mut slot = Slot::default();
    slot.prepare(A, at(10));
    assert!(slot.tick(at(10), &RULES).passed);
    assert!(!slot.send(A, None, None));
    slot.prepare(B, at(30));
    assert!(!slot.send(A, None, None));
    assert_eq!(slot.abort(A), Change::default());
}

#[test]
fn a_doubt_that_lost_count_is_settled_by_time_only() {
    let mut slot = Slot::default();
    for n in 0..=SENDS_TOLD_APART as u64 {
        slot.prepare(PermitId(n), at(50));
        assert!(slot.send(PermitId(n), None, None));
        let _ = slot.unknown(PermitId(n), at(150));
    }
    for n in 0..=SENDS_TOLD_APART as u64 {
        assert!(!slot.rejected(PermitId(n), false, false, &RULES).settled);
    }
    assert!(slot.tick(at(150), &RULES).settled);
}

/// `A` is in doubt, and sent again as `B`.
fn replayed() -> Slot {
    let mut slot = sent(A, 50);
    let _ = slot.unknown(A, at(150));
    slot.prepare(B, at(90));
    assert!(slot.send(B, None, Some(A)));
    slot
}

#[test]
fn an_applied_replay_settles_and_is_taken_only_by_an_honoured_key() {
    for (rules, settles, base) in [(KEYED, true, Base::Take), (RULES, false, Base::Forget)] {
        let mut slot = replayed();
        let change = slot.applied(B, true, None, &rules);
        assert_eq!((change.settled, change.base, change.passed), (settles, base, true));
        assert_eq!(slot.is_idle(), settles);
    }
}

#[test]
fn a_refused_replay_settles_only_for_all_sends() {
    for (all_sends, rules, settles) in [(true, KEYED, true), (false, KEYED, false), (true, RULES, false)] {
        let mut slot = replayed();
        assert_eq!(slot.rejected(B, false, all_sends, &rules).settled, settles);
    }
}

#[test]
fn a_replay_is_not_taken_once_something_else_came_to_the_key() {
    let touched: [fn(&mut Slot); 3] = [
        |slot| {
            let _ = slot.invalidated();
        },
        |slot| slot.mark_dirty(),
        |slot| {
            slot.prepare(B, at(90));
            assert!(slot.send(B, None, None));
            let _ = slot.applied(B, true, None, &KEYED);
        },
    ];
    for touch in touched {
        let mut slot = sent(A, 50);
        let _ = slot.unknown(A, at(150));
        touch(&mut slot);
        let again = PermitId(3);
        slot.prepare(again, at(90));
        assert!(slot.send(again, None, Some(A)));
        let change = slot.applied(again, true, None, &KEYED);
        assert!(change.settled && change.base == Base::Forget, "{change:?}");
    }
}

#[test]
fn a_late_answer_to_a_replay_settles_every_send_of_its_write() {
    let mut slot = replayed();
    assert!(slot.tick(at(90), &KEYED).doubted);
    assert_eq!(slot.doubt().map(Doubt::unsettled), Some(2));
    assert!(slot.applied(B, true, None, &KEYED).settled);
}

#[test]
fn settled_by_hand_one_write_at_a_time_or_all() {
    let mut slot = sent(A, 50);
    let _ = slot.unknown(A, at(150));
    slot.prepare(B, at(90));
    assert!(slot.send(B, None, None));
    let _ = slot.unknown(B, at(190));
    let mut all = slot.clone();
    assert!(!slot.settled_by_hand(Some(A)).settled);
    assert!(slot.settled_by_hand(Some(B)).settled && slot.is_idle());
    assert!(all.settled_by_hand(None).settled && all.is_idle());
    assert_eq!(all.settled_by_hand(None), Change::default());
}
