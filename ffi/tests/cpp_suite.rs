//! The C++ header: its suite, in C++17 and C++20, with exceptions and without, plain and under valgrind; and the example.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Kind, artifact, library_path, output_of, root, sanitized, scratch, skipped};

/// Compiles a C++ program against the shared library; `None` where there is no compiler.
fn compiled(source: &Path, name: &str, flags: &[&str]) -> Option<PathBuf> {
    if skipped("g++") {
        return None;
    }
    let program = scratch("cpp").join(name);
    let mut gxx = Command::new("g++");
    gxx.args(["-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-pthread", "-o"]);
    gxx.arg(&program).args(flags).arg("-I").arg(root().join("include")).arg(source).arg(artifact(Kind::Shared));
    if sanitized() {
        gxx.arg("-fsanitize=address,undefined");
    }
    output_of(&mut gxx);
    Some(program)
}

fn suite_runs(name: &str, flags: &[&str]) {
    let Some(program) = compiled(&root().join("ffi/tests/cpp/suite.cpp"), name, flags) else { return };
    let runs = |command: &mut Command| {
        let told = output_of(command.env("LD_LIBRARY_PATH", library_path()));
        assert_eq!(told, "all well\n");
    };
    runs(Command::new(&program).env("ASAN_OPTIONS", "detect_leaks=0"));
    if !sanitized() && !skipped("valgrind") {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
        runs(valgrind.args(["--show-leak-kinds=definite", "--fair-sched=try"]).arg(&program));
    }
}

#[test]
fn the_suite_holds_in_cpp17() {
    suite_runs("suite-17", &["-std=c++17"]);
}

#[test]
fn the_suite_holds_in_cpp20() {
    suite_runs("suite-20", &["-std=c++20"]);
}

#[test]
fn the_suite_holds_without_exceptions_and_type_information() {
    suite_runs("suite-bare", &["-std=c++17", "-fno-exceptions", "-fno-rtti"]);
}

/// The header at the head of a file, twice, and the example that stands on its top.
#[test]
fn the_header_compiles_alone_and_so_does_its_example() {
    let text = std::fs::read_to_string(root().join("include/wtcache.hpp")).unwrap();
    let top = text.lines().take_while(|line| *line != " */");
    let lines: Vec<&str> = top.filter_map(|line| line.strip_prefix(" *     ")).collect();
    assert!(lines.contains(&"int main() {"), "the example is there");
    let file = scratch("cpp").join("example.cpp");
    let again = "#include <wtcache.hpp>\n#include <wtcache.hpp>\n";
    std::fs::write(&file, format!("{again}{}\n", lines.join("\n"))).unwrap();
    for standard in ["-std=c++17", "-std=c++20"] {
        compiled(&file, "example", &[standard]);
    }
}

#[test]
fn the_example_runs() {
    let Some(program) = compiled(&root().join("examples/cpp/inventory.cpp"), "inventory", &["-std=c++17"]) else {
        return;
    };
    let told = output_of(Command::new(program).env("LD_LIBRARY_PATH", library_path()));
    let said: Vec<&str> = told.lines().collect();
    let after_refusal = said.get(2).copied().unwrap_or_default();
    assert!(
        after_refusal.contains("an item says what it is") && after_refusal.ends_with("(nothing changed)"),
        "{told}"
    );
    assert_eq!(
        said[..2],
        ["put: M6, 40 of them, counted", "get: M6, 40 of them, counted"],
        "the get was a hit: {told}"
    );
    assert_eq!(said[3..], ["  asked for bolts", "removed, then: no such item"], "{told}");
}
