//! The C++ header: its suite, plain and under valgrind; what of it is a template, without exceptions and in C++20; and the examples.
//!
//! A file of C++ takes seconds to compile. So each is compiled once, not optimised, beside another; all that is run is one program.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Kind, artifact, library_path, output_of, root, sanitized, scratch, skipped, skipped_outside_ci};

const CPP17: &[&str] = &["-std=c++17"];

/// A compiler, with what every file is compiled with.
fn cxx(compiler: &str, flags: &[&str]) -> Command {
    let mut cxx = Command::new(compiler);
    cxx.args(["-g1", "-O0", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-pthread"]);
    cxx.args(flags).arg("-I").arg(root().join("include"));
    if sanitized() {
        cxx.arg("-fsanitize=address,undefined");
    }
    cxx
}

/// A file to compile: the object's name, and the flags.
struct Unit {
    source: PathBuf,
    object: String,
    flags: &'static [&'static str],
}

/// Compiles files, two at a time, and links them in their order to one program, with the shared library.
fn linked(compiler: &str, units: &[Unit], program: &str) -> PathBuf {
    let dir = scratch(compiler);
    let object = |unit: &Unit| dir.join(&unit.object).with_extension("o");
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                    output_of(cxx(compiler, unit.flags).arg("-c").arg(&unit.source).arg("-o").arg(object(unit)));
                }
            });
        }
    });
    let program = dir.join(program);
    output_of(cxx(compiler, &[]).arg("-o").arg(&program).args(units.iter().map(object)).arg(artifact(Kind::Shared)));
    program
}

/// The files of a folder, by their names.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// What the suite consists of. The surface comes first: where files that were compiled in different ways have a function of one name in
/// common, the linker takes the first one.
fn suite() -> Vec<Unit> {
    let surface = root().join("ffi/tests/cpp/surface.cpp");
    let as_bare =
        &["-std=c++17", "-fno-exceptions", "-fno-rtti", "-DSURFACE=surface_without_exceptions", "-DSURFACE_THROWS=0"];
    // Optimised: some warnings need that.
    let as_cpp20 = &["-std=c++20", "-O2", "-DSURFACE=surface_of_cpp20", "-DSURFACE_THROWS=1"];
    let mut units = vec![
        Unit { source: surface.clone(), object: "surface-bare".to_owned(), flags: as_bare },
        Unit { source: surface.clone(), object: "surface-20".to_owned(), flags: as_cpp20 },
    ];
    for source in files(&root().join("ffi/tests/cpp")) {
        if source.extension().is_some_and(|name| name == "cpp") && source != surface {
            let object = source.file_stem().unwrap().to_str().unwrap().to_owned();
            units.push(Unit { source, object, flags: CPP17 });
        }
    }
    units
}

fn runs(command: &mut Command) {
    let told = output_of(command.env("LD_LIBRARY_PATH", library_path()));
    assert_eq!(told, "all well\n");
}

#[test]
fn the_suite_holds() {
    if skipped("g++") {
        return;
    }
    let program = linked("g++", &suite(), "suite");
    runs(Command::new(&program).env("ASAN_OPTIONS", "detect_leaks=0"));
    if !sanitized() && !skipped("valgrind") {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
        runs(valgrind.args(["--show-leak-kinds=definite", "--fair-sched=try"]).arg(&program));
    }
}

/// Its warnings are others than g++'s, and so is what it makes of templates.
#[test]
fn the_suite_holds_compiled_by_clang() {
    if !skipped_outside_ci("clang++") {
        runs(&mut Command::new(linked("clang++", &suite(), "suite")));
    }
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
    if skipped("g++") {
        return;
    }
    for standard in ["-std=c++17", "-std=c++20"] {
        output_of(cxx("g++", &[standard]).arg("-fsyntax-only").arg(&file));
    }
}

/// All of the C ABI has its form in C++, but for what C++ has no use for.
#[test]
fn the_header_uses_every_function_of_the_library() {
    let text_of = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let header = text_of("include/wtcache.hpp");
    // Comments name functions, too.
    let code = header.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, code)| code));
    let words = code.flat_map(|code| code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_'));
    let used: BTreeSet<&str> = words.collect();
    let symbols = text_of("ffi/packaging/symbols.txt");
    let unused: Vec<&str> = symbols.lines().filter(|name| !used.contains(name)).collect();
    // The number of the ABI is compared by `check_abi`; an answer of many is an entry, an error or neither; Python has its own package.
    assert_eq!(unused, ["wtcache_abi_version", "wtcache_python_hits", "wtcache_results_status"]);
}

#[test]
fn every_example_is_run() {
    let files = files(&root().join("examples/cpp"));
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
    assert_eq!(names, ["billing.cpp", "inventory.cpp"]);
}

/// What an example prints, line by line; `None` where there is no compiler.
fn told_by(name: &str) -> Option<Vec<String>> {
    let source = root().join("examples/cpp").join(name).with_extension("cpp");
    if skipped("g++") {
        return None;
    }
    let unit = Unit { source, object: name.to_owned(), flags: CPP17 };
    let program = linked("g++", &[unit], name);
    let told = output_of(Command::new(program).env("LD_LIBRARY_PATH", library_path()));
    Some(told.lines().map(str::to_owned).collect())
}

#[test]
fn the_inventory_is_read_from_the_cache() {
    let Some(said) = told_by("inventory") else { return };
    assert_eq!(
        said[..2],
        ["put: M6, 40 of them, counted", "get: M6, 40 of them, counted"],
        "the get was a hit: {said:?}"
    );
    assert!(said[2].contains("an item says what it is") && said[2].ends_with("(nothing changed)"), "{said:?}");
    assert_eq!(said[3..], ["  asked for bolts", "removed, then: no such item"], "{said:?}");
}

#[test]
fn a_payment_that_is_refused_takes_the_plan_back() {
    let Some(said) = told_by("billing") else { return };
    assert_eq!(said[..4], ["before: free", "at once: team (pending)", "committed: receipt 1", "in the end: team"]);
    assert_eq!(said[4], "at once: enterprise (pending)");
    assert_eq!(said[5], "not applied: the card was declined (code 402, undone)");
    assert_eq!(said[6..], ["in the end: team", "the database was written 3 times"]);
}
