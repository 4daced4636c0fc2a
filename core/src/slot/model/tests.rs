//! The configurations that are searched, and the wrong rules that must be found.

use wtcache_testkit::explore::{Explored, explore};

use super::*;
use Op::{Create, Delete, Get, NestedGet, Outside, OutsideThenTold, Put, PutIfExists, Replay, Update};

const NOTHING: Limits = Limits {
    lost: 0,
    overdue: 0,
    aborted: 0,
    refused: 0,
    resent: 0,
    turned_away: 0,
    settled: 0,
    unkept: 0,
    loads_lost: 0,
    evicted: 0,
    invalidated: 0,
    crashed: 0,
};

fn config(name: &'static str, programs: &[&[Op]], limits: Limits) -> Config {
    Config {
        name,
        programs: programs.iter().map(|program| program.to_vec()).collect(),
        limits,
        honours_conditions: false,
        honours_idempotency: false,
        in_doubt_writes_wait: false,
        absent_after_delete: false,
        wrong: None,
    }
}

fn honouring(config: Config) -> Config {
    Config { honours_conditions: true, ..config }
}

fn remembering(config: Config) -> Config {
    Config { honours_idempotency: true, ..config }
}

fn waiting(config: Config) -> Config {
    Config { in_doubt_writes_wait: true, ..config }
}

/// What the default test run searches.
fn short() -> Vec<Config> {
    let lost = Limits { lost: 1, ..NOTHING };
    let replays = Limits { lost: 2, turned_away: 1, refused: 1, ..NOTHING };
    let loads = Limits { loads_lost: 1, evicted: 1, ..NOTHING };
    vec![
        config("a write, loads that fail or are taken over", &[&[Put], &[Get, Get], &[Get, Get]], loads),
        config("three writers in turn", &[&[Put], &[Put], &[Delete], &[Get, Get]], Limits { evicted: 1, ..NOTHING }),
        config("an unknown write, two readers", &[&[Put], &[Get, Get], &[Get, Get]], Limits { evicted: 1, ..lost }),
        config("two unknown writes", &[&[Put], &[Put], &[Get, Get]], Limits { lost: 2, ..NOTHING }),
        config("an overdue permit, late answers", &[&[Put, Put], &[Put], &[Get, Get]], Limits { overdue: 1, ..lost }),
        config("invalidated meanwhile", &[&[Put], &[Put], &[Get, Get]], Limits { invalidated: 1, evicted: 1, ..lost }),
        config("an outsider who tells at once", &[&[Put], &[Outside], &[Get, Get], &[Get]], lost),
        config("an outsider who tells later", &[&[Put], &[OutsideThenTold], &[Get, Get], &[Get]], lost),
        config("updates, conditions not honoured", &[&[Update], &[Update], &[Get, Get]], lost),
        honouring(config("updates, honoured", &[&[Update], &[Update], &[Get, Get]], Limits { lost: 2, ..NOTHING })),
        honouring(config("an update and a put, honoured", &[&[Update], &[Put], &[Update], &[Get]], lost)),
        honouring(config(
            "records made and deleted, honoured",
            &[&[Delete, Update], &[Delete], &[Put], &[Get, Get]],
            lost,
        )),
        waiting(config(
            "writes wait for doubts",
            &[&[Put], &[Put], &[Get, Get]],
            Limits { lost: 2, aborted: 1, ..NOTHING },
        )),
        honouring(waiting(config(
            "unconditional writes wait",
            &[&[Put], &[Update], &[Put], &[Get]],
            Limits { aborted: 1, ..lost },
        ))),
        config("a write sent twice", &[&[Put], &[Put], &[Get, Get]], Limits { resent: 1, overdue: 1, ..lost }),
        remembering(config(
            "a write sent twice, keys honoured",
            &[&[Put], &[Put], &[Get, Get]],
            Limits { resent: 1, refused: 1, ..lost },
        )),
        config("refusals", &[&[Put], &[Put], &[Get, Get]], Limits { refused: 1, aborted: 1, resent: 1, ..NOTHING }),
        Config {
            absent_after_delete: true,
            ..config("absent after delete", &[&[Delete], &[Put], &[Get, Get]], Limits { unkept: 1, ..lost })
        },
        config("records not seen, or not kept", &[&[Put], &[Put], &[Get, Get]], Limits { unkept: 2, ..lost }),
        config("nested reads", &[&[Put], &[Put], &[NestedGet, NestedGet], &[Get, Get]], lost),
        config("a replay", &[&[Put, Replay], &[Put], &[Get, Get]], replays),
        remembering(config("a replay, keys honoured", &[&[Put, Replay], &[Put], &[Get, Get]], replays)),
        remembering(config(
            "two writes replayed, keys honoured",
            &[&[Put, Replay], &[Put, Replay], &[Get]],
            Limits { lost: 2, ..NOTHING },
        )),
        remembering(config(
            "a late replay, keys honoured",
            &[&[Put, Replay], &[Put], &[Get]],
            Limits { lost: 1, overdue: 1, ..NOTHING },
        )),
        remembering(config(
            "a replay and an outsider, keys honoured",
            &[&[Put, Replay], &[Outside], &[Get, Get]],
            Limits { evicted: 1, ..lost },
        )),
        honouring(remembering(config(
            "updates replayed, all honoured",
            &[&[Update, Replay], &[Update], &[Get, Get]],
            Limits { lost: 2, ..NOTHING },
        ))),
        config("settled by hand", &[&[Put], &[Put], &[Get, Get]], Limits { lost: 2, settled: 1, ..NOTHING }),
        remembering(config(
            "settled by hand beside a replay, keys honoured",
            &[&[Put, Replay], &[Put], &[Get, Get]],
            Limits { settled: 1, ..lost },
        )),
        config("writes if there is a record", &[&[PutIfExists], &[Delete], &[Get, Get]], lost),
        honouring(config(
            "writes if there is a record, honoured",
            &[&[PutIfExists, Update], &[Delete], &[Get, Get]],
            Limits { lost: 2, ..NOTHING },
        )),
        config("a crash", &[&[Put], &[Put], &[Get, Get, Get]], Limits { crashed: 1, ..lost }),
        remembering(config(
            "a crash, a replay, keys honoured",
            &[&[Put], &[Put, Replay], &[Get, Get]],
            Limits { crashed: 1, ..lost },
        )),
        honouring(config("a crash, an update", &[&[Put], &[Update], &[Get, Get]], Limits { crashed: 1, ..NOTHING })),
        config("two creates, a write", &[&[Create], &[Create], &[Put], &[Get, Get]], NOTHING),
        config(
            "a create, an unknown write",
            &[&[Create, Create], &[Put], &[Get, Get]],
            Limits { evicted: 1, unkept: 1, ..lost },
        ),
        config(
            "a create and an outsider, nested reads",
            &[&[Create], &[Put], &[Outside], &[NestedGet], &[Get, Get]],
            NOTHING,
        ),
        config("a crash, a create", &[&[Create], &[Put], &[Get, Get]], Limits { crashed: 1, ..lost }),
    ]
}

/// What `WTCACHE_MODEL=long` searches besides: more clients, or more that goes wrong at once.
fn long() -> Vec<Config> {
    let rough = Limits { lost: 2, overdue: 1, evicted: 1, invalidated: 1, ..NOTHING };
    vec![
        config("two writers, all goes wrong", &[&[Put], &[Put], &[Get, Get]], rough),
        config(
            "three writers, two readers",
            &[&[Put], &[Put], &[Delete], &[Get, Get], &[Get, Get]],
            Limits { lost: 1, ..NOTHING },
        ),
        config(
            "two writes each, two readers",
            &[&[Put, Put], &[Put, Put], &[Get, Get], &[Get]],
            Limits { lost: 2, ..NOTHING },
        ),
        honouring(config(
            "three updates, honoured, all goes wrong",
            &[&[Update], &[Update], &[Update], &[Get, Get]],
            Limits { lost: 2, overdue: 1, evicted: 1, ..NOTHING },
        )),
        honouring(config(
            "made and deleted, honoured, two readers",
            &[&[Delete, Update], &[Delete], &[Put], &[Get, Get], &[Get]],
            Limits { lost: 1, ..NOTHING },
        )),
        config(
            "sent twice, two readers",
            &[&[Put], &[Put], &[Get, Get], &[Get]],
            Limits { lost: 1, overdue: 1, resent: 1, ..NOTHING },
        ),
        honouring(config(
            "updates sent twice, honoured",
            &[&[Update], &[Update], &[Put], &[Get]],
            Limits { lost: 1, overdue: 1, resent: 1, ..NOTHING },
        )),
        config(
            "loads lost, two writers, two readers, a nested one",
            &[&[Put], &[Put], &[NestedGet], &[Get, Get], &[Get, Get]],
            Limits { lost: 1, loads_lost: 1, ..NOTHING },
        ),
        waiting(config(
            "writes wait, all goes wrong",
            &[&[Put], &[Put], &[Update], &[Get]],
            Limits { lost: 2, overdue: 1, aborted: 1, ..NOTHING },
        )),
        config(
            "outsiders of both kinds",
            &[&[Put], &[Outside], &[OutsideThenTold], &[Get, Get], &[Get]],
            Limits { lost: 1, ..NOTHING },
        ),
        honouring(config(
            "a crash, three writers, two readers",
            &[&[Put], &[Put], &[Update], &[Get, Get], &[Get]],
            Limits { crashed: 1, ..NOTHING },
        )),
    ]
}

/// More states than any configuration has.
const MOST_STATES: usize = 20_000_000;

fn run(config: &Config) -> Explored<Act> {
    let began = std::time::Instant::now();
    let explored = explore(config, MOST_STATES);
    let seconds = began.elapsed().as_secs_f32();
    let Explored { states, steps, depth, .. } = explored;
    eprintln!("| {} | {states} | {steps} | {depth} | {seconds:.1} s |", config.name);
    explored
}

#[test]
fn the_protocol_of_a_key_holds_in_every_state() {
    let mut configs = short();
    if std::env::var("WTCACHE_MODEL").is_ok_and(|size| size == "long") {
        configs.append(&mut long());
    }
    for config in configs {
        let explored = run(&config);
        assert!(explored.fault.is_none(), "{config:#?}: {:#?}", explored.fault);
    }
}

/// Searches with a wrong rule; it must be found, and the way to it have `steps` steps.
fn finds(wrong: Wrong, what: &str, steps: usize, config: Config) {
    let sound = explore(&config, MOST_STATES);
    assert!(sound.fault.is_none(), "the right rule fails too: {:#?}", sound.fault);
    let bent = explore(&Config { wrong: Some(wrong), ..config }, MOST_STATES);
    let fault = bent.fault.unwrap_or_else(|| panic!("{wrong:?} was not found in {} states", bent.states));
    eprintln!("| {wrong:?} | {} | {} | {:?} |", fault.what, fault.way.len(), fault.way);
    assert_eq!((fault.what, fault.way.len()), (what, steps), "{:#?}", fault.way);
}

const STALE: &str = "at rest, the entry is not the origin's record";
const HISTORY: &str = "not linearizable";
const LOST: Limits = Limits { lost: 1, ..NOTHING };

macro_rules! model_finds {
    ($($name:ident: $wrong:ident, $what:expr, $steps:expr, $config:expr;)*) => {
        $(#[test]
        fn $name() {
            finds(Wrong::$wrong, $what, $steps, $config);
        })*
    };
}

model_finds! {
    model_finds_a_fence_that_moves_at_admission_only: FenceMovesAtAdmissionOnly, STALE, 7,
        config("", &[&[Put], &[Get]], NOTHING);
    model_finds_a_detached_load_returned: DetachedLoadReturned, HISTORY, 11,
        config("", &[&[Put, Put], &[Get, Get], &[Get]], NOTHING);
    model_finds_an_answer_not_retained_that_leaves_the_entry: ReturnedUnretainedKeepsEntry, HISTORY, 10,
        config("", &[&[Put, Put], &[NestedGet, NestedGet], &[Get]], NOTHING);
    model_finds_several_loads: SeveralLoads, HISTORY, 10,
        config("", &[&[Put], &[Get, Get], &[Get, Get]], Limits { evicted: 1, ..NOTHING });
    model_finds_a_late_load_retained: LateLoadRetained, STALE, 10,
        config("", &[&[Put], &[Get], &[Get]], Limits { loads_lost: 1, ..NOTHING });
    model_finds_a_timeout_that_keeps_the_entry: TimeoutKeepsEntry, STALE, 7, config("", &[&[Put], &[Get]], LOST);
    model_finds_a_timeout_that_refills: TimeoutRefills, STALE, 7, config("", &[&[Put], &[Get]], LOST);
    model_finds_a_load_in_doubt_retained: LoadInDoubtRetained, "an entry while in doubt", 6,
        config("", &[&[Put], &[Get]], LOST);
    model_finds_applied_that_ends_a_doubt: AppliedEndsDoubt, STALE, 8, config("", &[&[Put], &[Put]], LOST);
    model_finds_a_condition_that_settles_an_unconditional_write: ConditionalSettlesUnconditional, STALE, 11,
        honouring(config("", &[&[Put], &[Update]], LOST));
    model_finds_absence_taken_for_a_version: AbsenceCountsAsVersion, STALE, 20,
        Config {
            absent_after_delete: true,
            ..honouring(config("", &[&[Delete, Update], &[Put, Delete], &[Get]], LOST))
        };
    model_finds_existence_taken_for_a_version: ExistenceCountsAsVersion, STALE, 14,
        honouring(config("", &[&[PutIfExists], &[Update]], LOST));
    model_finds_a_replay_turned_away_that_settles: TurnedAwayReplaySettles, STALE, 10,
        remembering(config("", &[&[Put, Replay], &[Get]], Limits { turned_away: 1, ..LOST }));
    model_finds_a_replay_that_settles_another_write: ReplaySettlesOthers, STALE, 15,
        remembering(config("", &[&[Put, Replay], &[Put], &[Get]], Limits { lost: 2, ..NOTHING }));
    model_finds_a_replay_that_settles_without_its_key: ReplaySettlesUnhonoured, STALE, 12,
        config("", &[&[Put, Replay], &[Put], &[Get]], LOST);
    model_finds_an_old_answer_committed: ReplayCommitsOldAnswer, STALE, 12,
        remembering(config("", &[&[Put, Replay], &[Put]], LOST));
    model_finds_a_replay_that_settles_by_its_condition: ReplaySettlesByCondition, STALE, 21,
        honouring(remembering(config("", &[&[Update, Replay], &[Update], &[Get]], Limits { lost: 2, ..NOTHING })));
    model_finds_an_old_answer_counted_from_the_replay: ReplayCountsFromItself, STALE, 13,
        remembering(config("", &[&[Put], &[Put, Replay]], Limits { crashed: 1, ..LOST }));
    model_finds_a_doubt_settled_by_hand_that_keeps_the_fence: HandKeepsFence, STALE, 8,
        config("", &[&[Put], &[Get]], Limits { settled: 1, ..LOST });
    model_finds_a_doubt_settled_by_hand_that_leaves_a_write_clean: HandLeavesClean, STALE, 9,
        config("", &[&[Put], &[Put]], Limits { settled: 1, ..LOST });
    model_finds_a_late_answer_that_overlooks_a_stray: LateAnswerOverlooksStray, STALE, 11,
        config("", &[&[Put], &[Put]], Limits { overdue: 1, resent: 1, ..NOTHING });
    model_finds_a_refused_resend_called_rejected: RefusedResendRejected, HISTORY, 8,
        config("", &[&[Put], &[Get]], Limits { refused: 1, resent: 1, ..NOTHING });
    model_finds_the_window_of_the_first_write: WindowOfTheFirst, STALE, 12,
        config("", &[&[Put], &[Put], &[Get]], Limits { lost: 2, ..NOTHING });
    model_finds_a_settled_doubt_that_keeps_the_fence: SettledKeepsFence, STALE, 8, config("", &[&[Put], &[Get]], LOST);
    model_finds_a_settled_doubt_that_leaves_a_write_clean: SettledLeavesClean, STALE, 9,
        config("", &[&[Put], &[Put]], LOST);
    model_finds_an_invalidation_that_leaves_a_write_clean: InvalidatedLeavesClean, STALE, 5,
        config("", &[&[Put], &[Outside]], NOTHING);
    model_finds_a_record_not_kept_that_leaves_the_older: UnkeptLeavesOlder, STALE, 7,
        config("", &[&[Put], &[Get]], Limits { unkept: 1, ..NOTHING });
    model_finds_a_record_not_seen_that_leaves_the_older: UnseenLeavesOlder, STALE, 7,
        config("", &[&[Put], &[Get]], Limits { unkept: 1, ..NOTHING });
    model_finds_a_forgotten_crash: CrashForgotten, STALE, 7,
        config("", &[&[Put], &[Get]], Limits { crashed: 1, ..NOTHING });
    model_finds_an_overtaken_create_retained: OvertakenCreateRetained, STALE, 7,
        config("", &[&[Create], &[Put]], NOTHING);
    model_finds_a_create_that_keeps_the_fence: CreateKeepsFence, STALE, 6, config("", &[&[Create], &[Get]], NOTHING);
    model_finds_a_create_that_leaves_a_write_clean: CreateLeavesClean, STALE, 7,
        config("", &[&[Create], &[Put]], NOTHING);
    model_finds_a_load_beside_a_create_forgotten: LoadBesideCreateForgotten, HISTORY, 14,
        config("", &[&[Create], &[Put], &[Get, Get, Get]], NOTHING);
    model_finds_a_load_forgotten_while_unsure: LoadWhileUnsureForgotten, HISTORY, 16,
        config("", &[&[Put], &[Put], &[Get, Get, Get]], Limits { crashed: 1, ..NOTHING });
}
