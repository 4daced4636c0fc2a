//! The seeded bugs of core, what each must be noticed by, and the task that demands it.
//!
//! One build of core's tests, one of its interleavings; the bug is picked at run time. A bug counts as noticed only if what panics
//! first is a check of the tests: an assertion inside core would prove nothing about them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::built::{self, Built, Ended};
use crate::interleavings::Explorer;

/// A bug by its name in `core/src/bugs.rs`.
struct Seeded {
    name: &'static str,
    /// The numbers of the contract's promises that it breaks.
    promise: &'static str,
    /// File and name of the tests that stand for the promise.
    tests: &'static [(&'static str, &'static str)],
    history: History,
}

/// The scenarios of `core/tests/interleavings`, where not in `scenarios.rs` with their file, whose checks of the whole history notice it.
enum History {
    By(&'static [&'static str]),
    /// No history can show it, for this reason.
    None(&'static str),
}

use History::{By, None as NoHistory};

const BUGS: &[Seeded] = &[
    Seeded {
        name: "load-outlives-commit",
        promise: "G3, G4",
        tests: &[
            ("reading", "g3_a_load_that_began_while_a_write_was_out_does_not_outlive_its_commit"),
            ("reading", "g3_a_reader_after_an_ended_write_never_gets_a_load_that_began_before_that"),
            ("stale", "f3_a_refresh_never_overwrites_a_newer_write"),
        ],
        history: By(&["g4_g5_readers_and_writers_of_a_well_behaved_origin"]),
    },
    Seeded {
        name: "load-outlives-invalidation",
        promise: "G3, I1",
        tests: &[
            ("reading", "g3_a_reader_after_an_invalidation_never_gets_a_load_that_began_before_it"),
            ("invalidation", "i1_a_load_in_flight_is_neither_returned_nor_retained"),
            ("stale", "f3_a_refresh_in_flight_is_not_retained_after_an_invalidation"),
        ],
        history: By(&["i1_g3_writes_from_outside_that_are_told"]),
    },
    Seeded {
        name: "older-push-is-taken",
        promise: "I3",
        tests: &[("pushed", "i3_a_newer_record_is_taken_and_an_older_one_changes_nothing")],
        history: By(&["pushed::i3_g3_writes_from_outside_that_are_pushed"]),
    },
    Seeded {
        name: "push-leaves-write-clean",
        promise: "I3, P1",
        tests: &[
            ("pushed", "i3_a_push_while_a_write_is_out_leaves_nothing_to_be_shown"),
            ("pushed", "i3_a_load_beside_a_write_may_be_newer_than_it_and_the_push_says_so"),
            ("pushed", "i3_an_unversioned_push_or_record_leaves_nothing_of_a_write"),
        ],
        history: By(&["pushed::i3_p1_a_push_beside_a_write_in_flight"]),
    },
    Seeded {
        name: "load-outlives-push",
        promise: "I3, G4",
        tests: &[("pushed", "i3_a_load_in_flight_does_not_overwrite_what_was_pushed")],
        history: By(&["pushed::i3_a_load_of_what_has_expired_beside_pushes"]),
    },
    Seeded {
        name: "overtaken-is-retained",
        promise: "P9, G4",
        tests: &[
            ("creating", "g5_what_came_by_the_key_since_the_send_may_be_newer"),
            ("listing", "g4_what_came_by_the_key_since_the_listing_began_may_be_newer"),
        ],
        history: By(&["p9_creates_beside_readers_and_writers_of_the_key_that_the_origin_names"]),
    },
    Seeded {
        name: "load-outlives-create",
        promise: "P9, G3",
        tests: &[("creating", "g4_a_load_in_flight_is_detached")],
        history: By(&["p9_creates_beside_readers_and_writers_of_the_key_that_the_origin_names"]),
    },
    Seeded {
        name: "create-leaves-write-clean",
        promise: "P9, P1",
        tests: &[("creating", "p1_beside_a_write_that_is_out_neither_is_retained")],
        history: By(&["p9_creates_beside_readers_and_writers_of_the_key_that_the_origin_names"]),
    },
    Seeded {
        name: "detached-load-returned",
        promise: "G4",
        tests: &[("reading", "g4_a_moved_reader_takes_the_entry_that_is_there_now")],
        history: By(&["g4_readers_moved_while_a_write_is_not_yet_told"]),
    },
    Seeded {
        name: "returned-load-leaves-entry",
        promise: "G4",
        tests: &[("reading", "g4_a_reader_moved_twice_is_given_its_loads_value_and_the_entry_goes_in_the_same_step")],
        history: By(&["g4_readers_moved_while_a_write_is_not_yet_told"]),
    },
    Seeded {
        name: "turn-released-before-commit",
        promise: "P3",
        tests: &[("writing", "p3_a_write_is_not_sent_before_the_one_before_it_has_ended")],
        history: By(&["g4_g5_readers_and_writers_of_a_well_behaved_origin", "p6_updates_lose_nothing"]),
    },
    Seeded {
        name: "unknown-treated-as-rejected",
        promise: "A1, D1",
        tests: &[
            ("outcomes", "a1_an_unknown_write_is_never_told_as_rejected"),
            ("in_doubt", "d1_an_unknown_write_takes_entry_rows_and_absent_mark_at_once"),
        ],
        history: By(&["d1_d2_d3_unknown_writes_and_strays", "pending::d1_o3_doubts_and_strays_beneath_pending_writes"]),
    },
    Seeded {
        name: "unknown-keeps-entry",
        promise: "D1",
        tests: &[("in_doubt", "d1_an_unknown_write_takes_entry_rows_and_absent_mark_at_once")],
        history: By(&["d2_strays_land_while_others_write", "d1_d2_d3_unknown_writes_and_strays"]),
    },
    Seeded {
        name: "doubt-retains-loads",
        promise: "D2",
        tests: &[
            ("in_doubt", "d2_reads_in_doubt_go_to_the_source_coalesced_and_are_not_retained"),
            ("in_doubt", "d2_a_stray_that_lands_in_the_window_is_seen_by_the_next_read"),
        ],
        history: By(&["d2_strays_land_while_others_write"]),
    },
    Seeded {
        name: "applied-ends-doubt",
        promise: "D2",
        tests: &[("in_doubt", "d2_an_applied_write_does_not_end_the_doubt")],
        history: By(&["d2_strays_land_while_others_write"]),
    },
    Seeded {
        name: "condition-settles-any-send",
        promise: "D3",
        tests: &[("in_doubt", "d3_a_conditional_write_settles_doubts_of_conditional_sends_only")],
        history: By(&["d3_no_condition_settles_an_unconditional_stray"]),
    },
    Seeded {
        name: "doubt-ends-without-fence",
        promise: "D3",
        tests: &[("in_doubt", "d3_a_load_that_began_in_the_doubt_is_not_retained_after_it")],
        history: By(&["d3_a_doubt_settles_while_a_load_is_out"]),
    },
    Seeded {
        name: "doubt-settles-write-clean",
        promise: "P1, D3",
        tests: &[("writing", "p1_a_write_in_flight_while_a_doubt_settles_commits_as_unknown")],
        history: By(&["d3_a_doubt_settles_while_a_later_write_is_out"]),
    },
    Seeded {
        name: "invalidated-write-commits",
        promise: "P1, I1",
        tests: &[
            ("writing", "p1_an_invalidated_write_commits_as_unknown"),
            ("invalidation", "i1_a_write_in_flight_is_applied_and_not_retained"),
        ],
        history: By(&["p1_a_write_from_outside_beside_one_in_flight"]),
    },
    Seeded {
        name: "late-answer-settles-others",
        promise: "D3",
        tests: &[("in_doubt", "d3_a_late_answer_does_not_settle_the_doubt_of_another_send")],
        history: By(&["d3_late_answers_settle_their_own_send_only"]),
    },
    Seeded {
        name: "refused-resend-is-rejected",
        promise: "A2, D4",
        tests: &[("outcomes", "a2_a_write_that_left_a_stray_is_rejected_by_no_refusal")],
        history: By(&["d1_d2_d3_unknown_writes_and_strays"]),
    },
    Seeded {
        name: "too-heavy-leaves-older",
        promise: "B1, G5",
        tests: &[
            ("bounds", "b1_a_value_too_heavy_to_keep_removes_the_older_entry"),
            ("reading", "g5_a_value_too_heavy_to_keep_does_not_leave_the_older_one"),
        ],
        history: By(&["b1_values_too_heavy_to_keep"]),
    },
    Seeded {
        name: "absent-mark-survives-write",
        promise: "P1",
        tests: &[("writing", "p1_a_commit_moves_index_rows_and_absent_marks_with_the_value")],
        history: By(&["g4_g5_readers_and_writers_of_a_well_behaved_origin"]),
    },
    Seeded {
        name: "index-row-left-behind",
        promise: "P1",
        tests: &[
            ("index", "p1_the_index_forgets_with_the_entry"),
            ("index", "p1_find_equals_a_model_after_every_operation"),
        ],
        history: By(&["p1_what_an_index_finds_is_of_the_same_step_as_the_entry"]),
    },
    Seeded {
        name: "stale-rejection-keeps-base",
        promise: "P2",
        tests: &[("writing", "p2_a_rejection_that_proves_the_base_stale_drops_it")],
        history: NoHistory(
            "the base is stale only where a writer told nobody, which is outside what any history is promised",
        ),
    },
    Seeded {
        name: "hits-outlive-deadline",
        promise: "G6, D1",
        tests: &[
            ("reading", "g6_a_load_retained_beside_a_write_is_served_to_the_writes_deadline_only"),
            ("index", "d1_an_overdue_write_hides_its_entry_from_the_index"),
        ],
        history: NoHistory("a write that has not returned may take effect after any hit of the old value"),
    },
    Seeded {
        name: "window-too-short",
        promise: "D3",
        tests: &[("in_doubt", "d3_a_doubt_ends_with_the_settle_window_and_not_before")],
        history: By(&["d1_d2_d3_unknown_writes_and_strays"]),
    },
    Seeded {
        name: "replay-settles-others",
        promise: "D3",
        tests: &[("by_hand", "d3_a_replay_settles_its_own_write_only")],
        history: By(&["replay::d3_replays_settle_their_own_write_only"]),
    },
    Seeded {
        name: "turned-away-replay-settles",
        promise: "D3",
        tests: &[("by_hand", "d3_a_replay_that_was_throttled_settles_nothing")],
        history: By(&["replay::d3_replays_settle_their_own_write_only"]),
    },
    Seeded {
        name: "replay-commits-old-answer",
        promise: "D3",
        tests: &[
            ("by_hand", "d3_an_old_answer_is_not_shown"),
            ("by_hand", "d3_an_old_answer_is_not_shown_after_an_invalidation_either"),
        ],
        history: By(&["replay::d3_replays_settle_their_own_write_only"]),
    },
    Seeded {
        name: "hand-settles-without-fence",
        promise: "D3",
        tests: &[("by_hand", "d3_a_doubt_settled_by_hand_moves_the_fence")],
        history: By(&["replay::d3_doubts_are_settled_by_who_knows"]),
    },
    Seeded {
        name: "unmet-is-sent",
        promise: "P6",
        tests: &[
            ("conditions", "p6_a_condition_that_does_not_hold_shows_the_record_and_sends_nothing"),
            ("conditions", "p6_a_conditional_write_is_checked_after_the_writer_before_it"),
        ],
        history: By(&["replay::p6_writes_on_a_condition_lose_nothing"]),
    },
    Seeded {
        name: "tag-forgets-calls-in-flight",
        promise: "I1, G3",
        tests: &[
            ("forgetting", "i1_a_load_in_flight_that_matches_is_neither_returned_nor_retained"),
            ("forgetting", "i1_a_write_in_flight_that_matches_is_applied_and_not_retained"),
        ],
        history: By(&["many::i1_what_a_tag_forgets_is_not_seen_again"]),
    },
    Seeded {
        name: "pattern-spares-calls-in-flight",
        promise: "I1, G3",
        tests: &[
            ("forgetting", "i1_a_load_in_flight_that_matches_is_neither_returned_nor_retained"),
            ("forgetting", "i1_a_write_in_flight_that_matches_is_applied_and_not_retained"),
        ],
        history: By(&["many::i1_what_a_prefix_or_a_pattern_forgets_is_not_seen_again"]),
    },
    Seeded {
        name: "many-taken-one-by-one",
        promise: "G10",
        tests: &[],
        history: By(&["many::g10_what_is_resident_of_many_keys_is_taken_in_one_step"]),
    },
    Seeded {
        name: "stale-served-after-invalidation",
        promise: "F2, I1",
        tests: &[("stale", "f2_a_stale_record_is_gone_after_an_invalidation")],
        history: By(&["many::f2_f3_stale_records_and_refreshes_beside_writers"]),
    },
    Seeded {
        name: "stale-without-window",
        promise: "F1, F2",
        tests: &[
            ("stale", "f1_nothing_is_served_beyond_the_window"),
            ("stale", "f2_a_stale_record_stands_in_for_an_error_within_its_window_only"),
        ],
        history: NoHistory("a history knows no time, and the base is stale only where a writer told nobody"),
    },
    Seeded {
        name: "event-numbered-late",
        promise: "B5",
        tests: &[("listener", "b5_numbers_say_what_came_first_not_what_was_told_first")],
        history: By(&["b5_numbers_put_the_tellings_in_order"]),
    },
    Seeded {
        name: "audit-forgets-writes",
        promise: "audit",
        tests: &[
            ("auditing", "audit_a_write_in_flight_is_no_finding"),
            ("auditing", "audit_a_write_that_begins_meanwhile_is_no_finding"),
        ],
        history: NoHistory("a history is of what callers are given, and the auditor gives nobody anything"),
    },
    Seeded {
        name: "others-make-no-room",
        promise: "B1",
        tests: &[
            ("bounds", "b1_weight_is_within_capacity_when_a_call_has_returned"),
            ("room", "b1_a_record_heavier_than_its_parts_share_takes_the_room_of_the_others"),
        ],
        history: By(&["room::b1_b5_shards_make_room_for_each_other"]),
    },
    Seeded {
        name: "pending-restores-old-base",
        promise: "O2",
        tests: &[("optimistic", "o2_a_refused_merge_leaves_the_base_that_has_come_meanwhile")],
        history: By(&["pending::o1_o2_o3_merges_of_which_some_are_refused_and_some_are_unknown"]),
    },
    Seeded {
        name: "pending-takes-later-along",
        promise: "O2",
        tests: &[("optimistic", "o2_a_rejected_write_leaves_what_was_written_above_it")],
        history: By(&["pending::o1_o2_o3_merges_of_which_some_are_refused_and_some_are_unknown"]),
    },
    Seeded {
        name: "applied-pending-rolls-back",
        promise: "O3, G5",
        tests: &[("optimistic", "o1_a_pending_value_is_shown_at_once_and_marked_and_confirmed_reads_do_not_show_it")],
        history: By(&["pending::o1_o2_o3_merges_of_which_some_are_refused_and_some_are_unknown"]),
    },
    Seeded {
        name: "fold-outlives-base",
        promise: "O1, O5",
        tests: &[("optimistic", "o5_a_merge_is_folded_anew_where_the_base_has_changed")],
        history: By(&["pending::o5_o2_merges_above_a_base_that_moves_and_some_that_are_taken_back"]),
    },
    Seeded {
        name: "pending-out-of-order",
        promise: "O2, P3",
        tests: &[("optimistic", "o2_pending_and_other_writes_take_turns_in_the_order_they_came")],
        history: By(&["pending::o2_p3_pending_puts_of_a_key_go_out_in_the_order_they_came"]),
    },
    Seeded {
        name: "covered-base-outlives-doubt",
        promise: "D1, O3",
        tests: &[("optimistic", "o3_an_unknown_write_leaves_a_doubt_and_a_put_above_it_is_shown")],
        history: By(&["pending::o1_o2_o3_merges_of_which_some_are_refused_and_some_are_unknown"]),
    },
    Seeded {
        name: "cancelled-is-sent",
        promise: "O2",
        tests: &[("optimistic", "o2_of_two_pending_puts_the_later_leaves_and_the_earlier_is_shown")],
        history: By(&["pending::o5_o2_merges_above_a_base_that_moves_and_some_that_are_taken_back"]),
    },
    Seeded {
        name: "pending-place-lost",
        promise: "O4",
        tests: &[("transactions", "t1_one_that_is_started_is_shown_at_once_and_whole_and_leaves_so")],
        history: By(&["pending::o1_o2_o3_merges_of_which_some_are_refused_and_some_are_unknown"]),
    },
    Seeded {
        name: "look-aside-miss-kept",
        promise: "T2",
        tests: &[(
            "write_through",
            "without_an_origin_what_is_not_held_is_a_miss_that_is_not_remembered_and_writes_are_refused",
        )],
        history: NoHistory(
            "an absence that is remembered and one that is asked for again are the same answer, and a commit ends both",
        ),
    },
    Seeded {
        name: "turns-taken-one-by-one",
        promise: "T3",
        tests: &[],
        history: By(&["transactions::t1_t3_transactions_in_opposite_orders_and_readers_of_both"]),
    },
    Seeded {
        name: "transaction-ends-key-by-key",
        promise: "T1",
        tests: &[],
        history: By(&[
            "transactions::t1_t3_transactions_in_opposite_orders_and_readers_of_both",
            "transactions::t1_o2_transactions_that_are_shown_at_once_come_and_go_whole",
        ]),
    },
    Seeded {
        name: "load-kept-in-transaction",
        promise: "T1",
        tests: &[("transactions", "t1_get_many_waits_for_a_transaction_on_a_key_that_it_must_load")],
        history: By(&["transactions::t1_single_reads_in_a_transaction_show_no_part_to_readers_of_both"]),
    },
    Seeded {
        name: "unknown-step-is-refused",
        promise: "A1, T2",
        tests: &[("transactions", "t2_an_unknown_write_of_the_source_can_be_sent_again")],
        history: By(&["transactions::t2_d1_each_key_of_transactions_is_as_if_written_alone_whatever_goes_wrong"]),
    },
    Seeded {
        name: "undone-first-first",
        promise: "T2",
        tests: &[("transactions", "t2_steps_are_undone_last_first")],
        history: By(&["transactions::t1_t2_steps_that_are_refused_are_undone_the_last_first_and_nobody_sees_a_part"]),
    },
    Seeded {
        name: "refused-step-is-undone",
        promise: "T2",
        tests: &[("transactions", "t2_a_step_that_is_refused_before_any_was_applied_leaves_all_as_it_was")],
        history: By(&["transactions::t1_t2_steps_that_are_refused_are_undone_the_last_first_and_nobody_sees_a_part"]),
    },
    Seeded {
        name: "patterns-spared-in-doubt",
        promise: "T4",
        tests: &[(
            "transactions",
            "t4_patterns_and_tags_take_effect_when_steps_were_applied_or_may_have_been_and_not_when_refused",
        )],
        history: By(&[
            "transactions::t4_what_is_derived_from_a_key_is_forgotten_though_nobody_knows_whether_that_was_written",
        ]),
    },
];

/// A test that runs longer than this hangs.
const TEST_LIMIT: Duration = Duration::from_secs(30);
const SCENARIO_LIMIT: Duration = Duration::from_secs(60);
/// Schedules a scenario gets to notice a bug, and without any bug.
const SCHEDULES: &str = "100000";
const CLEAN_SCHEDULES: &str = "100";

/// The files of core's tests that are named above, with the bugs compiled in.
pub(crate) fn build() -> Result<Built, String> {
    let files: BTreeSet<&str> = BUGS.iter().flat_map(|bug| bug.tests).map(|(file, _)| *file).collect();
    let picked: Vec<&str> = files.into_iter().flat_map(|file| ["--test", file]).collect();
    built::build("bugs", "--cfg wtcache_bugs", &picked)
}

/// Each bug alone, against the tests and the histories that must notice it. Gives the number of bugs.
pub(crate) fn check(tests: &Built, explorer: &Explorer) -> Result<usize, String> {
    let begun = Instant::now();
    let said = tests.dir.join("said.txt");
    let test = |(file, name): &(&str, &str), bug: Option<&'static str>| {
        let variables: Vec<_> = bug.map(|bug| ("WTCACHE_BUG", bug)).into_iter().collect();
        tests.run(file, name, &variables, &said, TEST_LIMIT)
    };
    for bug in BUGS {
        for named in bug.tests {
            must_be_green(named.1, test(named, None)?)?;
        }
        for name in bug.history.scenarios() {
            must_be_green(
                name,
                explorer.once(name, &[("WTCACHE_SCHEDULES", CLEAN_SCHEDULES)], &said, SCENARIO_LIMIT)?,
            )?;
        }
    }
    println!("xtask: without a bug all are green, after {} s", begun.elapsed().as_secs());
    println!("{:<28} {:<7} {:<5} {:<9} {:>5}  first noticed at", "bug", "promise", "tests", "histories", "s");
    let mut survivors = Vec::new();
    for bug in BUGS {
        let begun = Instant::now();
        let mut seen = Verdicts::default();
        for named in bug.tests {
            seen.note(named.1, test(named, Some(bug.name))?);
        }
        let red_tests = seen.places.len();
        for name in bug.history.scenarios() {
            let picked = ("WTCACHE_BUG", bug.name);
            // Always the same seed, so that a bug that is found stays found.
            let ended = explorer.once(name, &[picked, ("WTCACHE_SCHEDULES", SCHEDULES)], &said, SCENARIO_LIMIT)?;
            // What was found can be looked at again: the schedule that was printed fails too.
            if let Ended::Red(_) = ended {
                let schedule = said.to_string_lossy();
                let again = tests.dir.join("said-again.txt");
                let replayed = explorer.once(name, &[picked, ("WTCACHE_REPLAY", &schedule)], &again, TEST_LIMIT)?;
                if !matches!(replayed, Ended::Red(_)) {
                    seen.missed.push(format!("{name}: its schedule, played again, does not fail"));
                }
            }
            seen.note(name, ended);
        }
        let tests = format!("{red_tests}/{}", bug.tests.len());
        let histories = match bug.history {
            By(names) => format!("{}/{}", seen.places.len() - red_tests, names.len()),
            NoHistory(_) => "none".to_owned(),
        };
        let (took, places) = (begun.elapsed().as_secs_f64(), seen.places.join(", "));
        println!("{:<28} {:<7} {tests:<5} {histories:<9} {took:>5.1}  {places}", bug.name, bug.promise);
        if let NoHistory(why) = bug.history {
            println!("    no history: {why}");
        }
        for what in &seen.missed {
            println!("    SURVIVED: {what}");
            survivors.push(format!("{}: {what}", bug.name));
        }
    }
    println!("xtask: {} bugs took {} s", BUGS.len(), begun.elapsed().as_secs());
    if survivors.is_empty() { Ok(BUGS.len()) } else { Err(format!("survived:\n  {}", survivors.join("\n  "))) }
}

/// What became of one bug.
#[derive(Default)]
struct Verdicts {
    places: Vec<String>,
    missed: Vec<String>,
}

impl Verdicts {
    fn note(&mut self, what: &str, ended: Ended) {
        match ended {
            Ended::Red(place) => self.places.push(place),
            Ended::Hung => self.places.push("(it hangs)".to_owned()),
            Ended::Green => self.missed.push(format!("{what} stays green")),
            Ended::Otherwise(how) => self.missed.push(format!("{what}: {how}")),
        }
    }
}

impl History {
    fn scenarios(&self) -> &'static [&'static str] {
        match self {
            By(names) => names,
            NoHistory(_) => &[],
        }
    }
}

fn must_be_green(what: &str, ended: Ended) -> Result<(), String> {
    match ended {
        Ended::Green => Ok(()),
        Ended::Red(place) => Err(format!("{what} is red without any bug: {place}")),
        Ended::Hung => Err(format!("{what} hangs without any bug")),
        Ended::Otherwise(how) => Err(format!("{what}, without any bug: {how}")),
    }
}
