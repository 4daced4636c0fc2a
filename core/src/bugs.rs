//! Seeded bugs: what the tests must notice.
//!
//! Built with RUSTFLAGS="--cfg wtcache_bugs" only, where the environment variable WTCACHE_BUG picks one by name; an ordinary
//! build has none, and compiles the questions to nothing. `cargo xtask bugs` turns each on and demands red.

/// A fault in one place, by the promise that it breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// An applied write leaves the load attached that began before it.
    LoadOutlivesCommit,
    /// An invalidation leaves the load attached that began before it.
    LoadOutlivesInvalidation,
    /// A load that was detached is returned, though not retained.
    DetachedLoadReturned,
    /// A detached load is returned to a reader moved twice, and what is here stays.
    ReturnedLoadLeavesEntry,
    /// The turn passes on with the send; the commit comes later.
    TurnReleasedBeforeCommit,
    /// What nobody can know is told, and kept, as a rejection.
    UnknownTreatedAsRejected,
    /// A write in doubt leaves the older entry, and so does its end.
    UnknownKeepsEntry,
    /// What was loaded in a doubt is retained, also beyond its end.
    DoubtRetainsLoads,
    /// An applied write ends an earlier doubt.
    AppliedEndsDoubt,
    /// A conditional write settles the doubt of an unconditional one.
    ConditionSettlesAnySend,
    /// A doubt ends, and the load that began in it stays attached.
    DoubtEndsWithoutFence,
    /// A doubt settles, and the write in flight commits as if nothing was.
    DoubtSettlesWriteClean,
    /// A write in flight commits though the key was invalidated since its send.
    InvalidatedWriteCommits,
    /// The late answer of one send settles the doubt of another.
    LateAnswerSettlesOthers,
    /// The refusal of a resend counts for the first send too.
    RefusedResendIsRejected,
    /// A pushed record takes the place of a newer one.
    OlderPushIsTaken,
    /// Something newer is pushed while a write is out, which then commits as if nothing was.
    PushLeavesWriteClean,
    /// A pushed record is taken, and the load that began before it stays attached.
    LoadOutlivesPush,
    /// What a create or a list brings is retained, though something came by the key since it was asked for.
    OvertakenIsRetained,
    /// A record is made, and the load that began before it stays attached.
    LoadOutlivesCreate,
    /// A record is made while a write of its key is out, which then commits as if none was.
    CreateLeavesWriteClean,
    /// A value too heavy to keep leaves the older entry.
    TooHeavyLeavesOlder,
    /// An absent mark stays where a record was committed.
    AbsentMarkSurvivesWrite,
    /// An entry goes, and its index rows stay.
    IndexRowLeftBehind,
    /// A rejection that proves the base stale leaves it.
    StaleRejectionKeepsBase,
    /// An entry is served beyond the deadline of the write that is out.
    HitsOutliveDeadline,
    /// A doubt ends before the settle window has passed.
    WindowTooShort,
    /// The answer to a replay settles the doubt, though another write's send is unsettled.
    ReplaySettlesOthers,
    /// A replay that was throttled, or never left, settles the doubt.
    TurnedAwayReplaySettles,
    /// What a replay is told is shown, though another write was applied since the first send.
    ReplayCommitsOldAnswer,
    /// A doubt is settled by hand, and the load that began in it stays attached.
    HandSettlesWithoutFence,
    /// A write goes out, unconditional, although what the program expected does not hold.
    UnmetIsSent,
    /// What a load or write in flight brings is not held against tags invalidated meanwhile.
    TagForgetsCallsInFlight,
    /// What was invalidated stays, as stale.
    StaleServedAfterInvalidation,
    /// A stale record is served beyond the window that was declared.
    StaleWithoutWindow,
    /// What is resident of many keys is taken one key after the other.
    ManyTakenOneByOne,
    /// A prefix or pattern takes what is resident and leaves what is in flight.
    PatternSparesCallsInFlight,
    /// An event takes its number when it is told, not when it comes about.
    EventNumberedLate,
    /// The auditor takes for stale what a write in flight is about to replace.
    AuditForgetsWrites,
    /// A shard that has no room left for an entry gets none from the others.
    OthersMakeNoRoom,
    /// A pending write that leaves puts the base back that it was folded over.
    PendingRestoresOldBase,
    /// A pending write that leaves takes those along that came after it.
    PendingTakesLaterAlong,
    /// A pending write that the origin applied leaves as if it had been refused.
    AppliedPendingRollsBack,
    /// What pending writes make of a base is shown of the next one too.
    FoldOutlivesBase,
    /// A pending write overtakes those that wait for the turn before it.
    PendingOutOfOrder,
    /// A base that pending writes cover stays where a write ends in doubt.
    CoveredBaseOutlivesDoubt,
    /// A pending write that was taken back keeps its place in the queue.
    CancelledIsSent,
    /// A pending write that leaves unapplied keeps its place among those that may be pending.
    PendingPlaceLost,
    /// A cache without an origin remembers that it holds nothing.
    LookAsideMissKept,
    /// A transaction enters the queues of its keys one after the other.
    TurnsTakenOneByOne,
    /// The keys of a transaction show what came of it one after the other.
    TransactionEndsKeyByKey,
    /// What was loaded while a transaction runs on the key is retained.
    LoadKeptInTransaction,
    /// A step of a transaction that nobody knows the end of counts as refused.
    UnknownStepIsRefused,
    /// The steps of a transaction are undone in the order in which they ran.
    UndoneFirstFirst,
    /// A step of a transaction that was refused is undone, as if it had been applied.
    RefusedStepIsUndone,
    /// What a transaction invalidates stays where the only step that may have been applied is unknown.
    PatternsSparedInDoubt,
}

#[cfg(not(wtcache_bugs))]
pub(crate) const fn has(_: Bug) -> bool {
    false
}

#[cfg(wtcache_bugs)]
pub(crate) fn has(bug: Bug) -> bool {
    // Not explored by any scheduler: read once, the same in every schedule.
    static PICKED: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *PICKED.get_or_init(|| std::env::var("WTCACHE_BUG").ok().map(|name| by_name(&name))) == Some(bug)
}

#[cfg(wtcache_bugs)]
fn by_name(name: &str) -> Bug {
    match name {
        "load-outlives-commit" => Bug::LoadOutlivesCommit,
        "load-outlives-invalidation" => Bug::LoadOutlivesInvalidation,
        "detached-load-returned" => Bug::DetachedLoadReturned,
        "returned-load-leaves-entry" => Bug::ReturnedLoadLeavesEntry,
        "turn-released-before-commit" => Bug::TurnReleasedBeforeCommit,
        "unknown-treated-as-rejected" => Bug::UnknownTreatedAsRejected,
        "unknown-keeps-entry" => Bug::UnknownKeepsEntry,
        "doubt-retains-loads" => Bug::DoubtRetainsLoads,
        "applied-ends-doubt" => Bug::AppliedEndsDoubt,
        "condition-settles-any-send" => Bug::ConditionSettlesAnySend,
        "doubt-ends-without-fence" => Bug::DoubtEndsWithoutFence,
        "doubt-settles-write-clean" => Bug::DoubtSettlesWriteClean,
        "invalidated-write-commits" => Bug::InvalidatedWriteCommits,
        "late-answer-settles-others" => Bug::LateAnswerSettlesOthers,
        "refused-resend-is-rejected" => Bug::RefusedResendIsRejected,
        "older-push-is-taken" => Bug::OlderPushIsTaken,
        "push-leaves-write-clean" => Bug::PushLeavesWriteClean,
        "load-outlives-push" => Bug::LoadOutlivesPush,
        "overtaken-is-retained" => Bug::OvertakenIsRetained,
        "load-outlives-create" => Bug::LoadOutlivesCreate,
        "create-leaves-write-clean" => Bug::CreateLeavesWriteClean,
        "too-heavy-leaves-older" => Bug::TooHeavyLeavesOlder,
        "absent-mark-survives-write" => Bug::AbsentMarkSurvivesWrite,
        "index-row-left-behind" => Bug::IndexRowLeftBehind,
        "stale-rejection-keeps-base" => Bug::StaleRejectionKeepsBase,
        "hits-outlive-deadline" => Bug::HitsOutliveDeadline,
        "window-too-short" => Bug::WindowTooShort,
        "replay-settles-others" => Bug::ReplaySettlesOthers,
        "turned-away-replay-settles" => Bug::TurnedAwayReplaySettles,
        "replay-commits-old-answer" => Bug::ReplayCommitsOldAnswer,
        "hand-settles-without-fence" => Bug::HandSettlesWithoutFence,
        "unmet-is-sent" => Bug::UnmetIsSent,
        "tag-forgets-calls-in-flight" => Bug::TagForgetsCallsInFlight,
        "stale-served-after-invalidation" => Bug::StaleServedAfterInvalidation,
        "stale-without-window" => Bug::StaleWithoutWindow,
        "many-taken-one-by-one" => Bug::ManyTakenOneByOne,
        "pattern-spares-calls-in-flight" => Bug::PatternSparesCallsInFlight,
        "event-numbered-late" => Bug::EventNumberedLate,
        "audit-forgets-writes" => Bug::AuditForgetsWrites,
        "others-make-no-room" => Bug::OthersMakeNoRoom,
        "pending-restores-old-base" => Bug::PendingRestoresOldBase,
        "pending-takes-later-along" => Bug::PendingTakesLaterAlong,
        "applied-pending-rolls-back" => Bug::AppliedPendingRollsBack,
        "fold-outlives-base" => Bug::FoldOutlivesBase,
        "pending-out-of-order" => Bug::PendingOutOfOrder,
        "covered-base-outlives-doubt" => Bug::CoveredBaseOutlivesDoubt,
        "cancelled-is-sent" => Bug::CancelledIsSent,
        "pending-place-lost" => Bug::PendingPlaceLost,
        "look-aside-miss-kept" => Bug::LookAsideMissKept,
        "turns-taken-one-by-one" => Bug::TurnsTakenOneByOne,
        "transaction-ends-key-by-key" => Bug::TransactionEndsKeyByKey,
        "load-kept-in-transaction" => Bug::LoadKeptInTransaction,
        "unknown-step-is-refused" => Bug::UnknownStepIsRefused,
        "undone-first-first" => Bug::UndoneFirstFirst,
        "refused-step-is-undone" => Bug::RefusedStepIsUndone,
        "patterns-spared-in-doubt" => Bug::PatternsSparedInDoubt,
        // A bug that is not there would be survived by all tests, or killed by none.
        _ => {
            eprintln!("there is no bug {name:?}");
            std::process::exit(86)
        }
    }
}
