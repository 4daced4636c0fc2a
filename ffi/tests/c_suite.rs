//! The C suite, against the shared and the static library, plain and under valgrind; and the examples in C, the tutorial against the
//! sample origin.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    Kind, built, compiled, is_the_tutorial, library_path, output_of, root, sanitized, skipped, skipped_outside_ci,
};
use wtcache_origin::{Origin, OriginOptions};

/// The files of the suite.
fn sources() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("ffi/tests/c")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|ending| ending == "c")).collect()
}

/// How many cases they have: lines of the tables, which name each.
fn cases() -> usize {
    let is_case = |line: &&str| line.starts_with("    {\"") && line.ends_with("},");
    let of_file = |file: PathBuf| fs::read_to_string(file).unwrap().lines().filter(is_case).count();
    sources().into_iter().map(of_file).sum()
}

fn suite(kind: Kind) -> PathBuf {
    built("gcc", "suite", &sources(), kind)
}

fn runs(command: &mut Command) {
    let told = output_of(command.env("LD_LIBRARY_PATH", library_path()));
    assert!(told.ends_with(&format!("\n{} cases\n", cases())), "{told}");
}

/// Every byte that was reachable at the end only through nothing is a leak; the table of replies and the like stay reachable.
fn under_valgrind(program: &Path) {
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--quiet",
        "--error-exitcode=9",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite",
        "--show-leak-kinds=definite",
    ]);
    // In the child of a fork, what is the parent's is left as it is.
    // One thread runs at a time; without turns a busy one may keep the others waiting for seconds.
    valgrind.args(["--child-silent-after-fork=yes", "--fair-sched=try"]);
    runs(valgrind.arg(program));
}

#[test]
fn the_suite_holds_with_the_shared_library() {
    let program = suite(Kind::Shared);
    runs(&mut Command::new(&program));
    if !skipped("valgrind") {
        under_valgrind(&program);
    }
}

/// Its warnings are others than gcc's.
#[test]
fn the_suite_holds_compiled_by_clang() {
    if !skipped_outside_ci("clang") {
        runs(&mut Command::new(built("clang", "suite", &sources(), Kind::Shared)));
    }
}

#[test]
fn the_suite_holds_with_the_static_library() {
    let program = suite(Kind::Static);
    // Leaks are valgrind's to find: the sanitizer takes what a child of a fork leaves as it is for one.
    runs(Command::new(&program).env("ASAN_OPTIONS", "detect_leaks=0"));
    if !sanitized() && !skipped("valgrind") {
        under_valgrind(&program);
    }
}

#[test]
fn the_tutorial_runs_against_the_sample_origin() {
    let origin = Origin::start(OriginOptions::new().api_key("sample-key")).unwrap();
    let program = compiled(&root().join("examples/c/http.c"), Kind::Shared);
    let told = output_of(Command::new(program).arg(origin.url()).env("LD_LIBRARY_PATH", library_path()));
    is_the_tutorial(&told, &origin);
}

/// What an example prints that needs no origin but its own.
fn told_by(name: &str) -> String {
    let program = compiled(&root().join("examples/c").join(name), Kind::Shared);
    output_of(Command::new(program).env("LD_LIBRARY_PATH", library_path()))
}

#[test]
fn every_example_is_run() {
    let mut files: Vec<_> =
        fs::read_dir(root().join("examples/c")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["billing.c", "event_loop.c", "http.c", "inventory.c"]);
}

#[test]
fn the_inventory_keeps_its_count() {
    let told = told_by("inventory.c");
    let said: Vec<&str> = told.lines().collect();
    assert_eq!(said[..2], ["read: 7 bolts (r1)", "read: 7 bolts (r1)"]);
    assert_eq!(said[2], "the origin was asked 1 time(s)");
    assert_eq!(said[3], "not applied: a quantity is not negative");
    assert_eq!(said[4], "after two hundred deliveries: 207 bolts (r201)");
    assert_eq!(said[5], "not applied: the condition does not hold: the record has version r201");
}

#[test]
fn the_event_loop_is_free_while_calls_are_under_way() {
    let told = told_by("event_loop.c");
    let said: Vec<&str> = told.lines().collect();
    for name in ["ann", "bob", "eve", "joe"] {
        assert!(said.contains(&format!("{name}: hello {name}").as_str()), "{told}");
    }
    let writes: Vec<&&str> = said.iter().filter(|line| line.starts_with("zoe")).collect();
    assert_eq!(writes, [&"zoe: first", &"zoe: second"]);
    assert_eq!(said[6..], ["the loop was free meanwhile", "a hit is there at once"]);
}

#[test]
fn a_payment_that_is_refused_takes_the_plan_back() {
    let told = told_by("billing.c");
    let said: Vec<&str> = told.lines().collect();
    assert_eq!(said[..4], ["before: free", "at once: team (pending)", "committed: receipt 1", "in the end: team"]);
    assert_eq!(said[4], "at once: enterprise (pending)");
    assert_eq!(said[5], "not applied: the card was declined (code 402)");
    assert_eq!(said[6..], ["in the end: team", "the database was written 3 times"]);
}
