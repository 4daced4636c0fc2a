//! Simpler rules that must fail: each bends what the slot said, or what the cell does with it, in one place.
//!
//! A model that finds nothing proves nothing until it is shown to find these.

use super::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// A write that ends Applied does not detach the load in flight.
    FenceMovesAtAdmissionOnly,
    /// Readers of a detached load get its value.
    DetachedLoadReturned,
    /// The reader moved twice gets its load's value, and what is here stays.
    ReturnedUnretainedKeepsEntry,
    /// A reader leads a load of its own while a write is out.
    SeveralLoads,
    /// A leader that is late retains its result.
    LateLoadRetained,
    /// An unknown outcome leaves everything as it is.
    TimeoutKeepsEntry,
    /// An unknown outcome drops the entry, and it is loaded again freely.
    TimeoutRefills,
    /// What is loaded in a doubt is retained.
    LoadInDoubtRetained,
    /// Applied ends an earlier doubt.
    AppliedEndsDoubt,
    /// A conditional write settles a doubt that an unconditional one left.
    ConditionalSettlesUnconditional,
    /// A write on the condition that there is no record counts as one on a version.
    AbsenceCountsAsVersion,
    /// A write on the condition that there is a record counts as one on a version.
    ExistenceCountsAsVersion,
    /// A replay that was turned away settles as a refusal by the origin does.
    TurnedAwayReplaySettles,
    /// The answer to a replay settles the doubt, though another write's send is unsettled.
    ReplaySettlesOthers,
    /// The answer to a replay settles its write, though the origin does not honour the key.
    ReplaySettlesUnhonoured,
    /// What a replay is told is shown, whatever happened since the first send.
    ReplayCommitsOldAnswer,
    /// A conditional replay that is Applied settles what a conditional write settles.
    ReplaySettlesByCondition,
    /// What a replay is told counts as said when it was sent again.
    ReplayCountsFromItself,
    /// A doubt is settled by hand without detaching the load in flight.
    HandKeepsFence,
    /// A doubt is settled by hand, and the write then in flight commits as if nothing was.
    HandLeavesClean,
    /// A late answer settles the doubt, although an earlier send of the write is out.
    LateAnswerOverlooksStray,
    /// A send that is refused, after one that nobody knows of, is Rejected.
    RefusedResendRejected,
    /// The settle window is that of the first unknown write.
    WindowOfTheFirst,
    /// A doubt ends without detaching the load in flight.
    SettledKeepsFence,
    /// A doubt ends, and the write then in flight commits as if nothing was.
    SettledLeavesClean,
    /// The key is invalidated, and the write then in flight commits as if nothing was.
    InvalidatedLeavesClean,
    /// A value that is not kept leaves the older entry.
    UnkeptLeavesOlder,
    /// A write whose record was not seen leaves the older entry.
    UnseenLeavesOlder,
    /// After a crash, everything is as on the first day.
    CrashForgotten,
    /// In the first settle window after a crash, a write commits although a load was given out since its send.
    LoadWhileUnsureForgotten,
    /// What a create brings is retained, whatever came by the key since its send.
    OvertakenCreateRetained,
    /// A record is made without detaching the load in flight.
    CreateKeepsFence,
    /// A record is made, and the write then in flight commits as if nothing was.
    CreateLeavesClean,
    /// While a create is out, a write commits although a load was given out since its send.
    LoadBesideCreateForgotten,
}

pub(super) fn leads_another(config: &Config, state: &State) -> bool {
    config.wrong == Some(Wrong::SeveralLoads) && matches!(state.slot.turn, Turn::Sent { .. })
}

pub(super) fn returns_detached(config: &Config) -> bool {
    config.wrong == Some(Wrong::DetachedLoadReturned)
}

pub(super) fn keeps_what_is_here(config: &Config) -> bool {
    matches!(config.wrong, Some(Wrong::ReturnedUnretainedKeepsEntry | Wrong::DetachedLoadReturned))
}

pub(super) fn retains_late_load(config: &Config) -> bool {
    config.wrong == Some(Wrong::LateLoadRetained)
}

pub(super) fn believes_refused_resend(config: &Config) -> bool {
    config.wrong == Some(Wrong::RefusedResendRejected)
}

pub(super) fn unkept_leaves_older(config: &Config) -> bool {
    config.wrong == Some(Wrong::UnkeptLeavesOlder)
}

pub(super) fn starts_clean(config: &Config) -> bool {
    config.wrong == Some(Wrong::CrashForgotten)
}

pub(super) fn commits_all_the_same(config: &Config) -> bool {
    config.wrong == Some(Wrong::LoadWhileUnsureForgotten)
}

pub(super) fn commits_beside_creates_all_the_same(config: &Config) -> bool {
    config.wrong == Some(Wrong::LoadBesideCreateForgotten)
}

pub(super) fn retains_what_was_overtaken(config: &Config) -> bool {
    config.wrong == Some(Wrong::OvertakenCreateRetained)
}

pub(super) fn believes_who_turns_away(config: &Config) -> bool {
    config.wrong == Some(Wrong::TurnedAwayReplaySettles)
}

pub(super) fn counts_from_the_replay(config: &Config) -> bool {
    config.wrong == Some(Wrong::ReplayCountsFromItself)
}

pub(super) fn believes_any_replay(config: &Config) -> bool {
    config.wrong == Some(Wrong::ReplaySettlesUnhonoured)
}

pub(super) fn before_load_ends(config: &Config, state: &mut State) {
    bend_conditions(config, state);
}

fn bend_conditions(config: &Config, state: &mut State) {
    let slot = &mut state.slot;
    match config.wrong {
        Some(Wrong::ConditionalSettlesUnconditional) => all_conditional(slot, |_| true),
        Some(Wrong::AbsenceCountsAsVersion) => {
            all_conditional(slot, |condition| matches!(condition, Some(Condition::Absent)));
        }
        Some(Wrong::ExistenceCountsAsVersion) => {
            all_conditional(slot, |condition| matches!(condition, Some(Condition::Exists)));
        }
        _ => {}
    }
}

pub(super) fn after_load_ends(config: &Config, load: &Load, failed: bool, (end, change): (&mut LoadEnd, &mut Change)) {
    if failed {
        return;
    }
    if *end == LoadEnd::Detached && load.retained_all_the_same {
        *end = LoadEnd::Kept;
        change.base = Base::Take;
    }
    if *end == LoadEnd::Returned && config.wrong == Some(Wrong::LoadInDoubtRetained) {
        change.base = Base::Take;
    }
}

/// The slot as it was, for what comes after.
pub(super) fn before_applied(config: &Config, state: &mut State) -> Slot {
    bend_conditions(config, state);
    if config.wrong == Some(Wrong::ReplayCommitsOldAnswer)
        && let Some(doubt) = &mut state.slot.doubt
    {
        doubt.touched = false;
    }
    state.slot.clone()
}

pub(super) fn after_applied(
    config: &Config,
    state: &mut State,
    before: &Slot,
    permit: PermitId,
    seen: bool,
    change: &mut Change,
) {
    let slot = &mut state.slot;
    match config.wrong {
        Some(Wrong::FenceMovesAtAdmissionOnly) => {
            slot.load = before.load;
            change.detached = false;
        }
        Some(Wrong::UnseenLeavesOlder) if !seen => change.base = Base::Keep,
        Some(Wrong::AppliedEndsDoubt) if slot.doubt.take().is_some() => {
            *change = Change { settled: true, doubted: false, ..*change };
            if seen && matches!(before.turn, Turn::Sent { dirty: false, .. }) {
                change.base = Base::Take;
            }
        }
        Some(Wrong::LateAnswerOverlooksStray)
            if !before.holds(permit) && slot.was_the_last(|send| send.permit == permit) =>
        {
            *change = change.and(slot.settled());
        }
        Some(Wrong::ReplaySettlesOthers) if before.replays() && slot.doubt.is_some() => {
            *change = change.and(slot.settled());
        }
        Some(Wrong::ReplaySettlesByCondition) if before.replays() && before.all_sends_on_versions() => {
            *change = change.and(slot.settled());
        }
        _ => {}
    }
}

pub(super) fn after_unknown(config: &Config, state: &mut State, change: &mut Change) {
    match config.wrong {
        Some(Wrong::TimeoutKeepsEntry) => {
            state.slot.doubt = None;
            *change = Change { base: Base::Keep, doubted: false, ..*change };
        }
        Some(Wrong::TimeoutRefills) => {
            state.slot.doubt = None;
            change.doubted = false;
        }
        _ => {}
    }
}

pub(super) fn after_hand(config: &Config, state: &mut State, before: &Slot, change: &mut Change) {
    match config.wrong {
        Some(Wrong::HandKeepsFence) => {
            state.slot.load = before.load;
            change.detached = false;
        }
        Some(Wrong::HandLeavesClean) => state.slot.turn = before.turn.clone(),
        _ => {}
    }
}

pub(super) fn after_settled(config: &Config, state: &mut State, before: &Slot, change: &mut Change) {
    match config.wrong {
        Some(Wrong::SettledKeepsFence) => {
            state.slot.load = before.load;
            change.detached = false;
        }
        Some(Wrong::SettledLeavesClean) => state.slot.turn = before.turn.clone(),
        _ => {}
    }
}

pub(super) fn after_invalidated(config: &Config, state: &mut State, before: &Slot) {
    if config.wrong == Some(Wrong::InvalidatedLeavesClean) {
        state.slot.turn = before.turn.clone();
    }
}

pub(super) fn after_created(config: &Config, state: &mut State, before: &Slot, change: &mut Change) {
    match config.wrong {
        Some(Wrong::CreateKeepsFence) => {
            state.slot.load = before.load;
            change.detached = false;
        }
        Some(Wrong::CreateLeavesClean) => state.slot.turn = before.turn.clone(),
        _ => {}
    }
}

/// What moves the fence moves it for every load, also those that only a wrong rule allows.
pub(super) fn after_change(config: &Config, state: &mut State, change: Change) {
    if config.wrong == Some(Wrong::SeveralLoads) && (change.detached || change.base == Base::Forget) {
        for client in &mut state.clients {
            if let Phase::Leading(load) = &mut client.phase {
                load.retained_all_the_same = false;
            }
        }
    }
}

/// Makes sends in doubt look as if they had been conditional on a version that is long gone.
fn all_conditional(slot: &mut Slot, which: impl Fn(&Option<Condition>) -> bool) {
    let Some(doubt) = &mut slot.doubt else { return };
    for send in doubt.sends.iter_mut().filter(|send| which(&send.condition)) {
        send.condition = crate::entry::Version::new("gone").map(Condition::Version);
    }
}

impl Slot {
    fn replays(&self) -> bool {
        matches!(self.turn, Turn::Sent { replays: Some(_), .. })
    }

    fn holds(&self, own: PermitId) -> bool {
        matches!(self.turn, Turn::Prepared { permit, .. } | Turn::Sent { permit, .. } if permit == own)
    }
}
