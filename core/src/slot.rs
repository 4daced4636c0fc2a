//! The protocol state of one key that has something going on: a load, a write, a doubt.
//!
//! Pure: no lock, no clock, no I/O, no value. Each event takes the state to the next and says with a [`Change`] what the
//! store has to do in the same step. A key without load, turn and doubt needs no slot, so an idle entry pays nothing.
//!
//! Base K = known (resident), U = unknown. *Dirty*: invalidated, or a doubt settled, since the send; in the first settle window of a
//! process, also a load given out since.
//!
//! | event | Idle | Prepared | Sent | Doubt | Doubt+Prepared | Doubt+Sent |
//! |---|---|---|---|---|---|---|
//! | attached load ends | K, return | same | same | U, return | U, return | U, return |
//! | detached load ends | again; second time: return, U, fence | same | same | same | same | same |
//! | prepare | Prepared | queue | queue | Doubt+Prepared | queue | queue |
//! | send | – | Sent, not dirty | – | – | Doubt+Sent, not dirty | – |
//! | abort, deadline (unsent) | – | Idle; pass | – | – | Doubt; pass | – |
//! | Applied | – | – | Idle; K, or U if dirty, unseen or not kept; fence; pass | – | – | settled by condition: as Sent; else Doubt, U; fence; pass |
//! | Rejected | – | – | Idle, base kept; pass | – | – | Doubt; pass |
//! | Rejected, stale base | – | – | Idle, U; fence; pass | – | – | Doubt; fence; pass |
//! | Unknown, deadline (sent) | – | – | Doubt, U; fence; window starts; pass | – | – | same; window starts anew |
//! | invalidate | U, fence | U, fence | U, fence, dirty | fence | fence | fence, dirty |
//! | settled | – | – | – | Idle, U, fence | Prepared, fence | Sent, fence, dirty |
//!
//! The fence is the identity of the attached load: moving it means that no load is attached any more. Invariants: at most
//! one load is attached; at most one permit holds the turn; a doubt lists every send that may still land, or says that
//! it lost count.

use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::source::Condition;

/// The identity of a load. Never given twice in a cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Fence(pub(crate) u64);

/// The identity of a write. Never given twice in a cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PermitId(pub(crate) u64);

/// How many unsettled sends a doubt tells apart; with more, only time settles it.
const SENDS_TOLD_APART: usize = 16;

/// What is declared of the origin, as far as the state of a key depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Rules {
    pub(crate) settle_window: Duration,
    /// Preconditions are honoured and versions never reused: a conditional write proves what became of others.
    pub(crate) conditions_settle: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Turn {
    #[default]
    Free,
    Prepared {
        permit: PermitId,
        deadline: Tick,
    },
    Sent {
        permit: PermitId,
        deadline: Tick,
        dirty: bool,
        condition: Option<Condition>,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Doubt {
    pub(crate) until: Tick,
    sends: Vec<(PermitId, Option<Condition>)>,
    lost_count: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Slot {
    load: Option<Fence>,
    turn: Turn,
    doubt: Option<Doubt>,
}

/// What becomes of the resident entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Base {
    #[default]
    Keep,
    /// It goes: the base is unknown.
    Forget,
    /// What was just confirmed or loaded takes its place.
    Take,
}

/// What an event asks of the store and of those who wait, in the same step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Change {
    pub(crate) base: Base,
    /// The load in flight was detached.
    pub(crate) detached: bool,
    /// The turn became free.
    pub(crate) passed: bool,
    /// A doubt began, or its end moved.
    pub(crate) doubted: bool,
    /// The doubt ended.
    pub(crate) settled: bool,
}

impl Change {
    fn and(self, later: Self) -> Self {
        Self {
            base: if later.base == Base::Keep { self.base } else { later.base },
            detached: self.detached || later.detached,
            passed: self.passed || later.passed,
            // A doubt that ended and one that began again are told in this order.
            doubted: later.doubted || (self.doubted && !later.settled),
            settled: self.settled || later.settled,
        }
    }
}

/// What a load found, as far as the state depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer<'a> {
    Version(Option<&'a [u8]>),
    Absent,
    Failed,
}

/// What becomes of a load that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LoadEnd {
    /// It may be retained and returned.
    Kept,
    /// It may be returned to those who waited for it, not retained.
    Returned,
    /// It was detached: its readers look again.
    Detached,
}

impl Slot {
    pub(crate) fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    pub(crate) fn turn(&self) -> &Turn {
        &self.turn
    }

    pub(crate) fn turn_is_free(&self) -> bool {
        self.turn == Turn::Free
    }

    /// Nothing is going on: the slot can go.
    pub(crate) fn is_idle(&self) -> bool {
        self.load.is_none() && self.turn_is_free() && self.doubt.is_none()
    }

    /// Hits are served until this tick at most: a sent write is in doubt from its deadline on.
    pub(crate) fn hits_end(&self) -> Tick {
        match self.turn {
            Turn::Sent { deadline, .. } if !bugs::has(Bug::HitsOutliveDeadline) => deadline,
            _ => Tick::NEVER,
        }
    }

    /// When time alone will next change the state.
    pub(crate) fn next_tick(&self) -> Tick {
        let turn = match self.turn {
            Turn::Free => Tick::NEVER,
            Turn::Prepared { deadline, .. } | Turn::Sent { deadline, .. } => deadline,
        };
        self.doubt.as_ref().map_or(turn, |doubt| turn.min(doubt.until))
    }

    // --- loads

    pub(crate) fn is_attached(&self, fence: Fence) -> bool {
        self.load == Some(fence)
    }

    /// A reader begins to lead a load. No other may be attached.
    pub(crate) fn load_begins(&mut self, fence: Fence) {
        debug_assert!(self.load.is_none(), "a reader joins the attached load");
        self.load = Some(fence);
    }

    /// The source answered a load.
    pub(crate) fn load_ends(&mut self, fence: Fence, answer: Answer<'_>, rules: &Rules) -> (LoadEnd, Change) {
        if !self.is_attached(fence) {
            return (LoadEnd::Detached, Change::default());
        }
        self.load = None;
        if answer == Answer::Failed {
            return (LoadEnd::Returned, Change::default());
        }
        if self.doubt.is_none() || bugs::has(Bug::DoubtRetainsLoads) {
            return (LoadEnd::Kept, Change { base: Base::Take, ..Change::default() });
        }
        if self.shows_that_none_can_land(answer, rules) {
            return (LoadEnd::Returned, self.settled());
        }
        (LoadEnd::Returned, Change::default())
    }

    /// A load is given up for a later one: its leader is late, or gone.
    pub(crate) fn load_taken_over(&mut self, fence: Fence) -> bool {
        let attached = self.is_attached(fence);
        if attached {
            self.load = None;
        }
        attached
    }

    /// A value is returned that is not retained: what is here may be older than it.
    pub(crate) fn returned_unretained(&mut self) -> Change {
        Change { base: Base::Forget, detached: self.move_fence(), ..Change::default() }
    }

    // --- writes

    /// A write takes the free turn.
    pub(crate) fn prepare(&mut self, permit: PermitId, deadline: Tick) {
        debug_assert!(self.turn_is_free(), "writers take turns");
        self.turn = Turn::Prepared { permit, deadline };
    }

    /// The write is about to leave. False if its deadline took the turn away: then nothing may be sent.
    #[must_use]
    pub(crate) fn send(&mut self, permit: PermitId, sent: Option<Condition>) -> bool {
        match self.turn {
            Turn::Prepared { permit: holder, deadline } if holder == permit => {
                self.turn = Turn::Sent { permit, deadline, dirty: false, condition: sent };
                true
            }
            _ => false,
        }
    }

    /// The write is given up before it was sent.
    pub(crate) fn abort(&mut self, permit: PermitId) -> Change {
        match self.turn {
            Turn::Prepared { permit: holder, .. } if holder == permit => {
                self.turn = Turn::Free;
                Change { passed: true, ..Change::default() }
            }
            _ => Change::default(),
        }
    }

    /// The origin applied the write. `seen`: its record is known. `stray_until`: an earlier send of it may still land,
    /// until then.
    pub(crate) fn applied(&mut self, permit: PermitId, seen: bool, stray_until: Option<Tick>, rules: &Rules) -> Change {
        let Some((dirty, condition)) = self.end_turn(permit) else {
            return self.late_answer(permit, true, stray_until);
        };
        let detached = !bugs::has(Bug::LoadOutlivesCommit) && self.move_fence();
        let mut change = Change { base: Base::Forget, passed: true, detached, ..Change::default() };
        let settles = condition.is_some() && rules.conditions_settle && self.all_sends_on_versions();
        if settles || bugs::has(Bug::AppliedEndsDoubt) {
            self.doubt = None;
            change.settled = true;
        }
        if let Some(until) = stray_until {
            return change.and(self.doubts(permit, condition, until));
        }
        if self.doubt.is_none() && seen && !dirty {
            change.base = Base::Take;
        }
        change
    }

    /// The origin certainly did not apply the write.
    pub(crate) fn rejected(&mut self, permit: PermitId, stale_base: bool) -> Change {
        if self.end_turn(permit).is_none() {
            return self.late_answer(permit, stale_base, None);
        }
        let mut change = Change { passed: true, ..Change::default() };
        if stale_base && !bugs::has(Bug::StaleRejectionKeepsBase) {
            change.base = Base::Forget;
            change.detached = self.move_fence();
        }
        change
    }

    /// Nobody can know what became of the write; `until`: when it can no longer take effect.
    pub(crate) fn unknown(&mut self, permit: PermitId, until: Tick) -> Change {
        let Some((_, condition)) = self.end_turn(permit) else { return Change::default() };
        Change { passed: true, ..Change::default() }.and(self.doubts(permit, condition, until))
    }

    // --- from outside

    /// The key is to be forgotten.
    pub(crate) fn invalidated(&mut self) -> Change {
        if !bugs::has(Bug::InvalidatedWriteCommits) {
            self.mark_dirty();
        }
        let detached = !bugs::has(Bug::LoadOutlivesInvalidation) && self.move_fence();
        Change { base: Base::Forget, detached, ..Change::default() }
    }

    /// Brings the state up to `now`: overdue permits end, and doubts whose window has passed are settled, in the order in
    /// which that came about.
    pub(crate) fn tick(&mut self, now: Tick, rules: &Rules) -> Change {
        let mut change = Change::default();
        loop {
            let turn_due = match self.turn {
                Turn::Prepared { deadline, .. } | Turn::Sent { deadline, .. } if deadline <= now => Some(deadline),
                _ => None,
            };
            let doubt_due = self.doubt.as_ref().map(|doubt| doubt.until).filter(|until| *until <= now);
            change = change.and(match (turn_due, doubt_due) {
                (None, None) => return change,
                (Some(turn), Some(doubt)) if doubt < turn => self.settled(),
                (Some(deadline), _) => match self.turn {
                    Turn::Prepared { permit, .. } => self.abort(permit),
                    Turn::Sent { permit, .. } => self.unknown(permit, deadline.after(rules.settle_window)),
                    Turn::Free => unreachable!("a free turn is never due"),
                },
                (None, Some(_)) => self.settled(),
            });
        }
    }

    // --- steps

    /// The doubt is over: no send of the past can land any more.
    fn settled(&mut self) -> Change {
        self.doubt = None;
        if !bugs::has(Bug::DoubtSettlesWriteClean) {
            self.mark_dirty();
        }
        let detached = !bugs::has(Bug::DoubtEndsWithoutFence) && self.move_fence();
        let kept = bugs::has(Bug::UnknownKeepsEntry) || bugs::has(Bug::DoubtRetainsLoads);
        let base = if kept { Base::Keep } else { Base::Forget };
        Change { base, detached, settled: true, ..Change::default() }
    }

    /// A definite answer for a write that lost its turn at its deadline: it is settled by it, unless an earlier send of the
    /// same write may still land.
    fn late_answer(&mut self, permit: PermitId, moves_base: bool, stray_until: Option<Tick>) -> Change {
        let mut change = Change::default();
        if let Some(doubt) = &mut self.doubt {
            if let Some(until) = stray_until {
                doubt.until = doubt.until.max(until);
                change.doubted = true;
            } else {
                doubt.sends.retain(|(send, _)| *send != permit);
                if (doubt.sends.is_empty() && !doubt.lost_count) || bugs::has(Bug::LateAnswerSettlesOthers) {
                    change = self.settled();
                }
            }
        }
        // What it applied is newer than anything loaded since, if the doubt was over before the answer came.
        if moves_base { change.and(self.invalidated()) } else { change }
    }

    fn doubts(&mut self, permit: PermitId, condition: Option<Condition>, until: Tick) -> Change {
        let doubt = self.doubt.get_or_insert(Doubt { until, sends: Vec::new(), lost_count: false });
        doubt.until = doubt.until.max(until);
        if doubt.sends.len() < SENDS_TOLD_APART {
            doubt.sends.push((permit, condition));
        } else {
            doubt.lost_count = true;
        }
        let base = if bugs::has(Bug::UnknownKeepsEntry) { Base::Keep } else { Base::Forget };
        Change { base, detached: self.move_fence(), doubted: true, ..Change::default() }
    }

    /// Ends the turn of a sent write: whether it is dirty, and its condition.
    fn end_turn(&mut self, permit: PermitId) -> Option<(bool, Option<Condition>)> {
        if !matches!(self.turn, Turn::Sent { permit: holder, .. } if holder == permit) {
            return None;
        }
        let Turn::Sent { dirty, condition, .. } = std::mem::take(&mut self.turn) else {
            unreachable!("checked above");
        };
        Some((dirty, condition))
    }

    /// Something newer than the write in flight may have been seen: it must not be shown.
    pub(crate) fn mark_dirty(&mut self) {
        if let Turn::Sent { dirty, .. } = &mut self.turn {
            *dirty = true;
        }
    }

    fn move_fence(&mut self) -> bool {
        self.load.take().is_some()
    }

    /// Each send in doubt can be applied to one version only, which never comes again once it is gone. Absence may come
    /// again, so a send that is conditional on it counts as unconditional.
    fn all_sends_on_versions(&self) -> bool {
        let on_version = |(_, condition): &(_, _)| {
            matches!(condition, Some(Condition::Version(_))) || bugs::has(Bug::ConditionSettlesAnySend)
        };
        self.doubt.as_ref().is_some_and(|doubt| !doubt.lost_count && doubt.sends.iter().all(on_version))
    }

    /// The answer shows a record that none of the sends in doubt was made for: each was applied before it, or never can be.
    fn shows_that_none_can_land(&self, answer: Answer<'_>, rules: &Rules) -> bool {
        let Some(doubt) = self.doubt.as_ref() else { return false };
        rules.conditions_settle
            && self.all_sends_on_versions()
            && doubt.sends.iter().all(|(_, condition)| match (condition, answer) {
                (Some(Condition::Version(expected)), Answer::Version(Some(shown))) => expected.as_bytes() != shown,
                (Some(Condition::Version(_)), Answer::Absent) => true,
                _ => false,
            })
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Version;

    const RULES: Rules = Rules { settle_window: Duration::from_nanos(100), conditions_settle: false };
    const SETTLING: Rules = Rules { conditions_settle: true, ..RULES };
    const A: PermitId = PermitId(1);
    const B: PermitId = PermitId(2);

    fn at(nanos: u64) -> Tick {
        Tick::from_nanos(nanos)
    }

    fn sent(permit: PermitId, deadline: u64) -> Slot {
        let mut slot = Slot::default();
        slot.prepare(permit, at(deadline));
        assert!(slot.send(permit, None));
        slot
    }

    fn sent_if(slot: &mut Slot, permit: PermitId, version: &str) {
        slot.prepare(permit, at(50));
        assert!(slot.send(permit, Version::new(version).map(Condition::Version)));
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
        assert_eq!(slot.rejected(A, false), Change { passed: true, ..Change::default() });
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
        assert!(slot.send(B, None));
        assert!(slot.tick(at(150), &RULES).settled);
        assert_eq!(slot.applied(B, true, None, &RULES).base, Base::Forget);
    }

    #[test]
    fn an_applied_write_does_not_end_an_earlier_doubt() {
        let mut slot = sent(A, 50);
        let _ = slot.unknown(A, at(150));
        slot.prepare(B, at(90));
        assert!(slot.send(B, None));
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
        assert!(slot.send(B, None));
        let change = slot.tick(at(110), &RULES);
        assert!(change.doubted && !change.settled);
        assert_eq!(slot.next_tick(), at(160));
    }

    #[test]
    fn a_doubt_that_ended_before_a_deadline_is_told_before_the_new_one() {
        let mut slot = sent(A, 50);
        let _ = slot.unknown(A, at(100));
        slot.prepare(B, at(120));
        assert!(slot.send(B, None));
        let change = slot.tick(at(130), &RULES);
        assert!(change.settled && change.doubted);
        assert_eq!(slot.next_tick(), at(220));
    }

    #[test]
    fn a_late_answer_settles_its_own_send_only() {
        let mut slot = sent(A, 50);
        let _ = slot.tick(at(60), &RULES);
        slot.prepare(B, at(70));
        assert!(slot.send(B, None));
        let _ = slot.tick(at(80), &RULES);
        assert!(!slot.applied(A, true, None, &RULES).settled);
        let change = slot.rejected(B, false);
        assert!(change.settled && change.base == Base::Forget);
        assert!(slot.is_idle());
    }

    #[test]
    fn a_conditional_write_settles_conditional_doubts_only_where_declared() {
        for (rules, first_conditional, settles) in
            [(SETTLING, true, true), (RULES, true, false), (SETTLING, false, false)]
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
        assert!(slot.send(A, Some(Condition::Absent)));
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
        assert!(!slot.send(A, None));
        slot.prepare(B, at(30));
        assert!(!slot.send(A, None));
        assert_eq!(slot.abort(A), Change::default());
    }

    #[test]
    fn a_doubt_that_lost_count_is_settled_by_time_only() {
        let mut slot = Slot::default();
        for n in 0..=SENDS_TOLD_APART as u64 {
            slot.prepare(PermitId(n), at(50));
            assert!(slot.send(PermitId(n), None));
            let _ = slot.unknown(PermitId(n), at(150));
        }
        for n in 0..=SENDS_TOLD_APART as u64 {
            assert!(!slot.rejected(PermitId(n), false).settled);
        }
        assert!(slot.tick(at(150), &RULES).settled);
    }
}
