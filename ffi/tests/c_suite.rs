//! The C suite, against the shared and the static library, plain and under valgrind; and the tutorial in C, against the sample
//! origin.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Kind, compiled, is_the_tutorial, library_path, output_of, root, sanitized, skipped};
use wtcache_origin::{Origin, OriginOptions};

fn suite() -> std::path::PathBuf {
    root().join("ffi/tests/c/suite.c")
}

fn runs(command: &mut Command) {
    let told = output_of(command.env("LD_LIBRARY_PATH", library_path()));
    assert!(told.ends_with("15 cases\n"), "{told}");
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
    let program = compiled(&suite(), Kind::Shared);
    runs(&mut Command::new(&program));
    if !skipped("valgrind") {
        under_valgrind(&program);
    }
}

#[test]
fn the_suite_holds_with_the_static_library() {
    let program = compiled(&suite(), Kind::Static);
    // Leaks are valgrind's to find: the sanitizer takes what a child of a fork leaves as it is for one.
    runs(Command::new(&program).env("ASAN_OPTIONS", "detect_leaks=0"));
    if !sanitized() && !skipped("valgrind") {
        under_valgrind(&program);
    }
}

#[test]
fn the_tutorial_runs_against_the_sample_origin() {
    let origin = Origin::start(OriginOptions::new().api_key("sample-key")).unwrap();
    let program = compiled(&root().join("examples/c/tutorial.c"), Kind::Shared);
    let told = output_of(Command::new(program).arg(origin.url()).env("LD_LIBRARY_PATH", library_path()));
    is_the_tutorial(&told, &origin);
}
