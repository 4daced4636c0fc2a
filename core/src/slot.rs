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
//! | Applied | – | – | Idle; K, or U if dirty, unseen or not kept; fence; pass | – | – | settled by condition, or a replay by its key: as Sent; else Doubt, U; fence; pass |
//! | Rejected | – | – | Idle, base kept; pass | – | – | a replay, of all sends: settled; else Doubt; pass |
//! | Rejected, stale base | – | – | Idle, U; fence; pass | – | – | Doubt; fence; pass |
//! | Unknown, deadline (sent) | – | – | Doubt, U; fence; window starts; pass | – | – | same; window starts anew |
//! | created | K, or U if unseen, not kept or overtaken; fence | same | U, fence, dirty | fence | fence | fence, dirty |
//! | invalidate | U, fence | U, fence | U, fence, dirty | fence | fence | fence, dirty |
//! | newer record pushed | K, fence | K, fence | U, fence; dirty where Applied is not as new | as invalidate | same | same |
//! | older record pushed | – | – | as newer | as invalidate | same | same |
//! | settled, also by hand | – | – | – | Idle, U, fence | Prepared, fence | Sent, fence, dirty |
//!
//! A replay is another send of a write in doubt, in a turn of its own. What it is told may be the first answer over again, so its record
//! is shown only where the doubt is *untouched*: about that write alone, with nothing else applied and no invalidation since its send.
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
    /// Idempotency keys are honoured: an answer to one send of a write is the answer to all of them.
    pub(crate) keys_settle: bool,
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
        /// The write in doubt that is sent again.
        replays: Option<PermitId>,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Doubt {
    pub(crate) until: Tick,
    sends: Vec<Unsettled>,
    /// Sends beyond those that are told apart.
    lost: u32,
    /// The key may have come by a newer record than the write that began it would be told of.
    touched: bool,
}

/// A send that may still land.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Unsettled {
    permit: PermitId,
    /// The write that it is a send of: the permit of its first.
    write: PermitId,
    condition: Option<Condition>,
}

impl Doubt {
    /// A send with this permit may still land. Also true where it cannot be told.
    pub(crate) fn may_be_about(&self, permit: PermitId) -> bool {
        self.lost > 0 || self.sends.iter().any(|send| send.permit == permit)
    }

    /// How many sends may still land.
    pub(crate) fn unsettled(&self) -> usize {
        self.sends.len() + self.lost as usize
    }
}

/// How the turn of a sent write ended.
struct Ended {
    dirty: bool,
    condition: Option<Condition>,
    replays: Option<PermitId>,
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

/// [`Slot::hits_end`] of a write that is sent.
pub(crate) fn sent_hits_end(deadline: Tick) -> Tick {
    if bugs::has(Bug::HitsOutliveDeadline) { Tick::NEVER } else { deadline }
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
            Turn::Sent { deadline, .. } => sent_hits_end(deadline),
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
    pub(crate) fn send(&mut self, permit: PermitId, condition: Option<Condition>, replays: Option<PermitId>) -> bool {
        match self.turn {
            Turn::Prepared { permit: holder, deadline } if holder == permit => {
                self.turn = Turn::Sent { permit, deadline, dirty: false, condition, replays };
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
        let Some(ended) = self.end_turn(permit) else {
            return self.late_answer(permit, true, stray_until, rules.keys_settle);
        };
        let detached = !bugs::has(Bug::LoadOutlivesCommit) && self.move_fence();
        let mut change = Change { base: Base::Forget, passed: true, detached, ..Change::default() };
        let mut newest = !ended.dirty;
        if let Some(write) = ended.replays {
            let untouched = self.doubt.as_ref().is_some_and(|doubt| !doubt.touched);
            newest = newest && (untouched || bugs::has(Bug::ReplayCommitsOldAnswer));
            change = change.and(self.replay_answered(write, true, rules));
        } else {
            let settles = ended.condition.is_some() && rules.conditions_settle && self.all_sends_on_versions();
            if settles || bugs::has(Bug::AppliedEndsDoubt) {
                self.doubt = None;
                change.settled = true;
            }
        }
        self.touch_doubt();
        if let Some(until) = stray_until {
            return change.and(self.doubts(permit, ended, until));
        }
        if self.doubt.is_none() && seen && newest {
            change.base = Base::Take;
        }
        change
    }

    /// The origin certainly did not apply the write. `all_sends`: it would answer the same to any send of it.
    pub(crate) fn rejected(&mut self, permit: PermitId, stale_base: bool, all_sends: bool, rules: &Rules) -> Change {
        let Some(ended) = self.end_turn(permit) else {
            return self.late_answer(permit, stale_base, None, all_sends && rules.keys_settle);
        };
        let mut change = Change { passed: true, ..Change::default() };
        if let Some(write) = ended.replays {
            change = change.and(self.replay_answered(write, all_sends, rules));
        }
        if stale_base && !bugs::has(Bug::StaleRejectionKeepsBase) {
            self.touch_doubt();
            change.base = Base::Forget;
            change.detached |= self.move_fence();
        }
        change
    }

    /// Nobody can know what became of the write; `until`: when it can no longer take effect.
    pub(crate) fn unknown(&mut self, permit: PermitId, until: Tick) -> Change {
        let Some(ended) = self.end_turn(permit) else { return Change::default() };
        Change { passed: true, ..Change::default() }.and(self.doubts(permit, ended, until))
    }

    /// A write that had no turn made the key's record: the origin named the key only in its answer. `seen`: the record is known. `newest`: nothing
    /// came by the key since its send. Which of it and a write in flight is the later one, nobody knows.
    pub(crate) fn created(&mut self, seen: bool, newest: bool) -> Change {
        let quiet = self.doubt.is_none() && !matches!(self.turn, Turn::Sent { .. });
        if !bugs::has(Bug::CreateLeavesWriteClean) {
            self.mark_dirty();
        }
        let base = if seen && newest && quiet { Base::Take } else { Base::Forget };
        let detached = !bugs::has(Bug::LoadOutlivesCreate) && self.move_fence();
        Change { base, detached, ..Change::default() }
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

    /// What the origin pushed may take the place of an older record: no write is out that it may be older than, and none in doubt.
    pub(crate) fn takes_pushed(&self) -> bool {
        !matches!(self.turn, Turn::Sent { .. }) && self.doubt.is_none()
    }

    /// A record that was pushed takes the place of an older one. A load under way may bring that again.
    pub(crate) fn pushed(&mut self) -> Change {
        let detached = !bugs::has(Bug::LoadOutlivesPush) && self.move_fence();
        Change { base: Base::Take, detached, ..Change::default() }
    }

    /// A program knows that no send of this write, or of any write in doubt, can land any more.
    pub(crate) fn settled_by_hand(&mut self, write: Option<PermitId>) -> Change {
        let over = match write {
            Some(write) => self.was_the_last(|send| send.write == write),
            None => self.doubt.is_some(),
        };
        if !over {
            // A write that is known to have been applied is newer than what a load may bring that began before that was said.
            let detached = self.doubt.is_some() && self.move_fence();
            return Change { detached, ..Change::default() };
        }
        let load = self.load;
        let change = self.settled();
        if bugs::has(Bug::HandSettlesWithoutFence) {
            self.load = load;
            return Change { detached: false, ..change };
        }
        change
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

    /// A replay had a definite answer. `all_sends`: it is about the write, not about this send of it alone.
    fn replay_answered(&mut self, write: PermitId, all_sends: bool, rules: &Rules) -> Change {
        let about_the_write = all_sends || bugs::has(Bug::TurnedAwayReplaySettles);
        let settles = rules.keys_settle && about_the_write && self.was_the_last(|send| send.write == write);
        let others = bugs::has(Bug::ReplaySettlesOthers) && self.doubt.is_some();
        if settles || others { self.settled() } else { Change::default() }
    }

    /// Takes those sends out of the doubt. True: it has no others.
    fn was_the_last(&mut self, settled: impl Fn(&Unsettled) -> bool) -> bool {
        let Some(doubt) = &mut self.doubt else { return false };
        doubt.sends.retain(|send| !settled(send));
        doubt.sends.is_empty() && doubt.lost == 0
    }

    /// A definite answer for a write that lost its turn at its deadline: it is settled by it, unless an earlier send of the
    /// same write may still land. `all_sends`: and so is every other send of it.
    fn late_answer(
        &mut self,
        permit: PermitId,
        moves_base: bool,
        stray_until: Option<Tick>,
        all_sends: bool,
    ) -> Change {
        let mut change = Change::default();
        if let Some(doubt) = &mut self.doubt {
            if let Some(until) = stray_until {
                doubt.until = doubt.until.max(until);
                change.doubted = true;
            } else {
                let write = doubt.sends.iter().find(|send| send.permit == permit).map(|send| send.write);
                let settled = |send: &Unsettled| send.permit == permit || (all_sends && Some(send.write) == write);
                if self.was_the_last(settled) || bugs::has(Bug::LateAnswerSettlesOthers) {
                    change = self.settled();
                }
            }
        }
        // What it applied is newer than anything loaded since, if the doubt was over before the answer came.
        if moves_base { change.and(self.invalidated()) } else { change }
    }

    fn doubts(&mut self, permit: PermitId, ended: Ended, until: Tick) -> Change {
        let write = ended.replays.unwrap_or(permit);
        let begun = Doubt { until, sends: Vec::new(), lost: 0, touched: ended.replays.is_some() };
        let doubt = self.doubt.get_or_insert(begun);
        doubt.until = doubt.until.max(until);
        doubt.touched |= ended.dirty || doubt.lost > 0 || doubt.sends.iter().any(|send| send.write != write);
        if doubt.sends.len() < SENDS_TOLD_APART {
            doubt.sends.push(Unsettled { permit, write, condition: ended.condition });
        } else {
            doubt.lost += 1;
        }
        let base = if bugs::has(Bug::UnknownKeepsEntry) { Base::Keep } else { Base::Forget };
        Change { base, detached: self.move_fence(), doubted: true, ..Change::default() }
    }

    /// Ends the turn of a sent write.
    fn end_turn(&mut self, permit: PermitId) -> Option<Ended> {
        if !matches!(self.turn, Turn::Sent { permit: holder, .. } if holder == permit) {
            return None;
        }
        let Turn::Sent { dirty, condition, replays, .. } = std::mem::take(&mut self.turn) else {
            unreachable!("checked above");
        };
        Some(Ended { dirty, condition, replays })
    }

    /// Something newer than the write in flight, or one in doubt, may have been seen: it must not be shown.
    pub(crate) fn mark_dirty(&mut self) {
        if let Turn::Sent { dirty, .. } = &mut self.turn {
            *dirty = true;
        }
        self.touch_doubt();
    }

    fn touch_doubt(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.touched = true;
        }
    }

    fn move_fence(&mut self) -> bool {
        self.load.take().is_some()
    }

    /// Each send in doubt can be applied to one version only, which never comes again once it is gone. Absence and existence come
    /// again, so a send that is conditional on one of them counts as unconditional.
    fn all_sends_on_versions(&self) -> bool {
        let on_version = |send: &Unsettled| {
            matches!(send.condition, Some(Condition::Version(_))) || bugs::has(Bug::ConditionSettlesAnySend)
        };
        self.doubt.as_ref().is_some_and(|doubt| doubt.lost == 0 && doubt.sends.iter().all(on_version))
    }

    /// The answer shows a record that none of the sends in doubt was made for: each was applied before it, or never can be.
    fn shows_that_none_can_land(&self, answer: Answer<'_>, rules: &Rules) -> bool {
        let Some(doubt) = self.doubt.as_ref() else { return false };
        rules.conditions_settle
            && self.all_sends_on_versions()
            && doubt.sends.iter().all(|send| match (&send.condition, answer) {
                (Some(Condition::Version(expected)), Answer::Version(Some(shown))) => expected.as_bytes() != shown,
                (Some(Condition::Version(_)), Answer::Absent) => true,
                _ => false,
            })
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests;
