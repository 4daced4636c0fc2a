//! That the attack runs clean, and that it bites.

use wtcache_attack::{Lie, Oracle, Script, play, shrink};

#[test]
fn twenty_rounds_are_clean() {
    let mut counted = 0;
    for seed in 0..20 {
        let script = Script::of_seed(seed, None);
        let report = play(&script, Lie::None);
        let found: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "seed {seed}:\n{}\n{script}", found.join("\n"));
        counted += report.counts.rounds - report.counts.discarded;
    }
    assert!(counted > 0, "each round was discarded: this machine stalls for longer than the settle window");
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

#[test]
fn a_failing_script_gets_smaller_and_still_fails() {
    let script = Script::of_seed(1, None);
    let shrunk = shrink(&script, Lie::OldRecord, std::time::Duration::from_secs(15));
    assert!(shrunk.recurs);
    assert!(shrunk.script.len() < script.len() / 2, "{}", shrunk.script);
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
    for bad in ["get", "get x", "fly 1", "fault put 0 nothing 1", "options capacity=1", "thread 1 2 3"] {
        let text = format!("# a remark\n{good}{bad}\n");
        let error = Script::parse(&text).expect_err(bad);
        assert!(error.contains(&format!("line {}", good.lines().count() + 2)), "{error}");
    }
    assert!(Script::parse("get 0\n").is_err(), "an operation without a thread");
    assert!(Script::parse("thread\n").is_err(), "no options");
}
