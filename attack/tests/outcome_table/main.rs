//! Every fault, at every phase of a request, under every operation: `attack/outcomes.tsv` says what comes of it, and here
//! each of its rows is run over real sockets.
//!
//! Invariant: the table has no gap: each fault of its file meets each operation from each state, each kind of fault of the
//! sample origin and each status that the adapter tells apart has its rows.

mod fault;
mod relay;
mod stage;
mod table;
mod words;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use stage::Stage;
use table::{Operation, Table};
use wtcache_origin::FaultKind;

/// Most of them wait for a deadline most of the time.
const WORKERS: usize = 40;

fn table() -> Table {
    Table::read(table::TEXT).unwrap_or_else(|why| panic!("attack/outcomes.tsv, {why}"))
}

#[test]
fn a1_a2_every_row_is_what_happens() {
    let cases = table().cases;
    assert!(!cases.is_empty());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let stage = Stage::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(case), id) = (cases.get(number), format!("case-{number}")) else { return };
                    let played = catch_unwind(AssertUnwindSafe(|| stage.play(case, &id)))
                        .unwrap_or_else(|_| Err("it panicked".to_owned()));
                    let said = match played {
                        Ok(seen) if seen == case.expected => continue,
                        Ok(seen) => format!("{case}\n  says {}\n  seen {seen}", case.expected),
                        Err(finding) => format!("{case}\n  {finding}"),
                    };
                    wrong.lock().expect("nobody panics with it").push(said);
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().expect("nobody panics with it");
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn nothing_is_said_twice_and_nothing_is_left_out() {
    let gaps = table().gaps();
    assert!(gaps.is_empty(), "{}", gaps.join("\n"));
}

/// A new kind of fault has to say what comes of it.
#[test]
fn every_fault_of_the_origin_has_rows() {
    let table = table();
    let faults = table.faults();
    // These two are the rows of a status: what is answered, and whether it was applied before, are columns there.
    let answers = ["answer", "apply-then-answer"];
    let missing: Vec<_> =
        FaultKind::NAMES.iter().filter(|kind| !faults.contains(*kind) && !answers.contains(kind)).collect();
    assert!(missing.is_empty(), "no row has {missing:?}");
    let applied = |word: &str| {
        let mut statuses = table.cases.iter().filter(|case| case.fault.starts_with("status "));
        statuses.any(|case| case.expected.origin == word)
    };
    assert!(applied("applied") && applied("not applied"), "a status is answered with and without the write applied");
}

/// What the adapter's tables tell apart, read from their text: each status named there is tried with the operations it is
/// named for, and so are the first and the last of each range.
#[test]
fn every_status_of_the_adapters_tables_has_rows() {
    let text = include_str!("../../../http-source/src/classify.rs");
    let code = text.split("#[cfg(test)]").next().expect("a first part");
    let table = table();
    let tried = |operations: &[Operation]| -> BTreeSet<u16> {
        let cases = table.cases.iter().filter(|case| operations.contains(&case.operation));
        let statuses = cases.filter_map(|case| case.fault.strip_prefix("status "));
        statuses.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
    };
    let mut seen = 0;
    for function in code.split("\nfn ").flat_map(|part| part.split("\npub(crate) fn ")).skip(1) {
        let name = function.split('(').next().expect("a name");
        let operations: &[Operation] = match name {
            "get" => &[Operation::Get],
            "put" => &[Operation::Put, Operation::Create],
            "delete" => &[Operation::Delete, Operation::CondDelete],
            "write" | "of_all_sends" => &[Operation::Put, Operation::Delete, Operation::Create],
            "unanswered" => continue,
            _ => panic!("the table knows no operation of classify::{name}"),
        };
        let named = statuses_in(function);
        assert!(!named.is_empty(), "classify::{name} names no status");
        seen += named.len();
        for operation in operations {
            let missing: Vec<_> = named.difference(&tried(&[*operation])).copied().collect();
            assert!(missing.is_empty(), "classify::{name} tells {missing:?} apart; no row of {operation:?} has them");
        }
    }
    assert!(seen > 20, "the tables were not found in classify.rs: {seen} statuses");
}

/// The numbers of three digits in code, without its comments.
fn statuses_in(code: &str) -> BTreeSet<u16> {
    let lines = code.lines().filter_map(|line| line.split("//").next());
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_digit()));
    words.filter(|word| word.len() == 3).filter_map(|word| word.parse().ok()).collect()
}

/// The file itself may not claim what A1 and A2 forbid, whatever its rows were seen to do.
#[test]
fn a2_no_row_claims_a_refusal_of_what_was_applied() {
    for case in &table().cases {
        let (outcome, origin) = (case.expected.outcome.as_str(), case.expected.origin.as_str());
        let may = match outcome {
            "Rejected" => matches!(origin, "no request" | "not applied" | "asked"),
            // P4: what is not there any more counts as deleted. An update whose read is struck writes after it.
            "Applied" => matches!(origin, "applied" | "asked") || is_delete(case.operation) && origin == "not applied",
            // P9: of a create, no key is in doubt.
            "Unknown" => (case.expected.key == "in doubt") != (case.operation == Operation::Create),
            "no write" => matches!(origin, "no request" | "asked"),
            _ => false,
        };
        assert!(may, "{case}: {outcome}, {origin}, {}", case.expected.key);
    }
}

fn is_delete(operation: Operation) -> bool {
    matches!(operation, Operation::Delete | Operation::UpdateDelete | Operation::PermitDelete)
}

#[test]
fn a_line_that_is_none_of_a_table_is_named() {
    let good = table::TEXT;
    for bad in [
        "a row\tof three\tcolumns",
        "@phase\tA phase\tnowhere\tall\ttext",
        "none\tfly\tcold\tApplied\tno record\tapplied\tnothing\thit",
        "none\tput\tafar\tApplied\tno record\tapplied\tnothing\thit",
    ] {
        let text = format!("{good}{bad}\n");
        let Err(error) = Table::read(&text) else { panic!("taken for a table: {bad}") };
        assert!(error.starts_with(&format!("line {}", good.lines().count() + 1)), "{error}");
    }
}
