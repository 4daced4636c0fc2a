//! That the attack runs clean, and that it bites.

use std::sync::Mutex;

use wtcache_attack::{Counts, Feeds, Lie, Oracle, Script, play, replay, shrink};

#[test]
fn twenty_rounds_are_clean() {
    let mut counts = Counts::default();
    for seed in 0..20 {
        let script = Script::of_seed(seed, None);
        let report = play(&script, Lie::None);
        let found: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "seed {seed}:\n{}\n{script}", found.join("\n"));
        counts.add(&report.counts);
    }
    // A feed that nobody hears would find nothing.
    assert!(counts.told_by_feed > 0 && counts.pushed_taken > 0, "{counts:?}");
    assert!(
        counts.rounds > counts.discarded,
        "each round was discarded: this machine stalls for longer than the settle window"
    );
}

/// Within so many rounds a lie of the source is found out by this oracle.
fn is_found_out(lie: Lie, oracle: Oracle) {
    for seed in 0..40 {
        let report = play(&Script::of_seed(seed, None), lie);
        if report.findings.iter().any(|finding| finding.oracle == oracle) {
            return;
        }
    }
    panic!("{lie:?} was not found out by {oracle:?}");
}

#[test]
fn an_unknown_write_called_refused_is_found_out_by_the_history() {
    is_found_out(Lie::UnknownIsRejected, Oracle::History);
}

#[test]
fn an_unknown_write_called_refused_is_found_out_by_the_log() {
    is_found_out(Lie::UnknownIsRejected, Oracle::Outcome);
}

#[test]
fn an_unknown_write_called_applied_is_found_out_by_the_history() {
    is_found_out(Lie::UnknownIsApplied, Oracle::History);
}

#[test]
fn an_old_record_confirmed_is_found_out() {
    is_found_out(Lie::OldRecord, Oracle::Confirmed);
}

#[test]
fn an_old_record_loaded_is_found_out_at_rest() {
    is_found_out(Lie::OldLoad, Oracle::Rest);
}

/// A script in which a lie about writes shows nearly always: its keys are written by its own threads.
fn of_many_writes() -> Script {
    let fits = |script: &Script| script.options.feed == Feeds::None && script.len() > 100;
    (0..).map(|seed| Script::of_seed(seed, None)).find(fits).expect("seeds do not end")
}

#[test]
fn a_failing_script_gets_smaller_and_still_fails() {
    let script = of_many_writes();
    let shrunk = shrink(&script, Lie::OldRecord, std::time::Duration::from_secs(15), 4);
    assert!(shrunk.recurs);
    assert!(shrunk.script.len() < script.len() / 2, "{}", shrunk.script);
    let (failed, of) = shrunk.rate;
    assert!(failed > 0 && of > 0, "{failed} of {of}");
    // What is kept of it can be played again, remarks and all.
    let findings = play(&script, Lie::OldRecord).findings;
    assert_eq!(Script::parse(&shrunk.text(1, &findings)), Ok(shrunk.script));
}

#[test]
fn a_script_is_played_again_as_often_as_told_and_at_once() {
    let script = of_many_writes();
    let told = Mutex::new(0);
    let (failed, of) = replay(&script, Lie::OldRecord, 7, 3, |_| *told.lock().expect("nobody panics with it") += 1);
    assert_eq!(of, 7);
    assert!(failed > 0 && told.into_inner().expect("nobody panicked with it") >= failed);
    assert_eq!(replay(&script, Lie::None, 3, 3, |finding| panic!("{finding}")), (0, 3));
}

#[test]
fn no_history_of_a_key_is_too_long_to_be_searched() {
    for (seed, threads) in (0..200).flat_map(|seed| [None, Some(1), Some(64)].map(|threads| (seed, threads))) {
        let script = Script::of_seed(seed, threads);
        assert!(script.len() < 4_000, "seed {seed}: {} operations", script.len());
    }
}

#[test]
fn a_script_is_read_back_from_its_text() {
    for seed in 0..200 {
        let script = Script::of_seed(seed, None);
        assert_eq!(Script::parse(&script.to_string()), Ok(script));
    }
}

#[test]
fn a_line_that_is_none_of_a_script_is_named() {
    let good = Script::of_seed(3, None).to_string();
    for bad in [
        "get",
        "get x",
        "fly 1",
        "fault k0: PUT nothing",
        "fault k0: PUT 503; fault",
        "options capacity=1",
        "thread 1 2 3",
    ] {
        let text = format!("# a remark\n{good}{bad}\n");
        let error = Script::parse(&text).expect_err(bad);
        assert!(error.contains(&format!("line {}", good.lines().count() + 2)), "{error}");
    }
    assert!(Script::parse("get 0\n").is_err(), "an operation without a thread");
    assert!(Script::parse("thread\n").is_err(), "no options");
}
