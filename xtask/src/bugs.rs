//! The seeded bugs of core, what each must be noticed by, and the task that demands it.
//!
//! One build of core's tests, one of its interleavings; the bug is picked at run time. A bug counts as noticed only if what panics
//! first is a check of the tests: an assertion inside core would prove nothing about them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{cargo, root};

/// A bug by its name in `core/src/bugs.rs`.
struct Seeded {
    name: &'static str,
    /// The numbers of the contract's promises that it breaks.
    promise: &'static str,
    /// File and name of the tests that stand for the promise.
    tests: &'static [(&'static str, &'static str)],
    history: History,
}

/// The scenarios of `core/tests/interleavings` whose checks of the whole history notice it.
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
        history: By(&["d1_d2_d3_unknown_writes_and_strays"]),
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
        history: NoHistory("a history is of keys; what an index finds is checked against a model instead"),
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
];

/// A test that runs longer than this hangs.
const TEST_LIMIT: Duration = Duration::from_secs(30);
const SCENARIO_LIMIT: Duration = Duration::from_secs(60);
/// Schedules a scenario gets to notice a bug, and without any bug.
const SCHEDULES: &str = "100000";
const CLEAN_SCHEDULES: &str = "100";
/// How a test ended.
enum Ended {
    Green,
    /// A check of the tests failed, here.
    Red(String),
    Hung,
    /// By something else than a check of the tests.
    Otherwise(String),
}

/// The programs that hold the tests, by file, and the directory for what they say.
struct Built {
    programs: BTreeMap<String, PathBuf>,
    said: PathBuf,
}

/// Each bug alone, against the tests and the histories that must notice it.
pub(crate) fn check() -> Result<(), String> {
    let tests = build("bugs", "--cfg wtcache_bugs", &["--features", "tokio", "--tests"])?;
    let both = "--cfg wtcache_bugs --cfg wtcache_shuttle";
    let explorer = build("interleavings-bugs", both, &["--profile", "explore", "--test", "interleavings"])?;
    let begun = Instant::now();
    let test = |(file, name): &(&str, &str), bug| tests.run(file, name, bug, "", TEST_LIMIT);
    let scenario = |name: &&str, bug: Option<&str>| {
        let schedules = if bug.is_some() { SCHEDULES } else { CLEAN_SCHEDULES };
        // Most are of the one file.
        let name = if name.contains("::") { (*name).to_owned() } else { format!("scenarios::{name}") };
        explorer.run("interleavings", &name, bug, schedules, SCENARIO_LIMIT)
    };
    for bug in BUGS {
        for named in bug.tests {
            must_be_green(named.1, test(named, None)?)?;
        }
        for name in bug.history.scenarios() {
            must_be_green(name, scenario(name, None)?)?;
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
            seen.note(name, scenario(name, Some(bug.name))?);
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
        }
        if !seen.missed.is_empty() {
            survivors.push(bug.name);
        }
    }
    println!("xtask: {} bugs took {} s", BUGS.len(), begun.elapsed().as_secs());
    if survivors.is_empty() { Ok(()) } else { Err(format!("survived: {}", survivors.join(", "))) }
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

/// Builds tests of core without running them.
fn build(dir: &str, flags: &str, args: &[&str]) -> Result<Built, String> {
    let dir = root().join("target").join(dir);
    let mut command = cargo(&["test", "--no-run", "--package", "wtcache"]);
    command.args(args).env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", &dir).env("CARGO_TERM_COLOR", "never");
    println!("xtask: {command:?}");
    let begun = Instant::now();
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{said}", output.status));
    }
    println!("xtask: took {} s", begun.elapsed().as_secs());
    // "  Executable tests/bounds.rs (target/bugs/debug/deps/bounds-0123)"; a test in a folder is called main.rs.
    let program = |line: &str| {
        let (source, program) = line.trim().strip_prefix("Executable ")?.split_once(" (")?;
        let name = source.strip_prefix("tests/")?.strip_suffix(".rs")?;
        let name = name.strip_suffix("/main").unwrap_or(name);
        Some((name.to_owned(), root().join(program.strip_suffix(')')?)))
    };
    Ok(Built { programs: said.lines().filter_map(program).collect(), said: dir })
}

impl Built {
    /// Runs one test by its exact name.
    fn run(
        &self,
        file: &str,
        name: &str,
        bug: Option<&str>,
        schedules: &str,
        limit: Duration,
    ) -> Result<Ended, String> {
        let program = self.programs.get(file).ok_or_else(|| format!("no tests were built from {file}"))?;
        let said = self.said.join("said.txt");
        let failed = |error: std::io::Error| format!("{}: {error}", program.display());
        let out = File::create(&said).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]).current_dir(root().join("core"));
        command.stdout(out.try_clone().map_err(failed)?).stderr(out).stdin(Stdio::null());
        // Always the same schedules, so that a bug that is found stays found.
        command
            .env("SHUTTLE_RANDOM_SEED", "1")
            .env("WTCACHE_SCHEDULES", schedules)
            .env("RUST_BACKTRACE", "0")
            .env_remove("WTCACHE_BUG");
        if let Some(bug) = bug {
            command.env("WTCACHE_BUG", bug);
        }
        let begun = Instant::now();
        let mut child = command.spawn().map_err(failed)?;
        let status = loop {
            match child.try_wait().map_err(failed)? {
                Some(status) => break status,
                None if begun.elapsed() >= limit => {
                    child.kill().and_then(|()| child.wait()).map_err(failed)?;
                    return Ok(Ended::Hung);
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let said = fs::read(&said).map_err(failed)?;
        Ok(verdict(status.code(), &String::from_utf8_lossy(&said)))
    }
}

fn verdict(code: Option<i32>, said: &str) -> Ended {
    if code == Some(0) {
        // A name that no test has is green too.
        let ran = said.contains("test result: ok. 1 passed");
        return if ran { Ended::Green } else { Ended::Otherwise("there is no such test".to_owned()) };
    }
    // A panic that a test means to happen comes before, so it is the last one in the tests' own files that failed it.
    let places = said.lines().filter_map(|line| line.split_once(" panicked at ")).map(|(_, place)| place);
    let places: Vec<_> = places.map(|place| place.trim_end_matches(':')).collect();
    if let Some(inside) = places.iter().find(|place| place.starts_with("core/src/")) {
        return Ended::Otherwise(format!("an assertion of core itself, at {inside}"));
    }
    match places.iter().rev().find(|place| place.starts_with("core/tests/")) {
        Some(place) => Ended::Red(place.trim_start_matches("core/tests/").to_owned()),
        None => Ended::Otherwise(format!("it ends with {code:?}, no check of the tests failed")),
    }
}
