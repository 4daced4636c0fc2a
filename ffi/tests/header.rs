//! The committed header is what the source says: it is generated anew and compared, compiled, and held against the library.
//!
//! `cargo xtask header` writes it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Kind, artifact, output_of, root, scratch, skipped};

/// The themes, in the header's order, with what stands above the functions of those that have some.
const THEMES: [(&str, &str); 28] = [
    ("abi", "The number of the ABI"),
    ("status", ""),
    ("error", "Errors"),
    ("config", "Configuration"),
    ("listener", "A listener"),
    ("extract", "Weights, tags and indexes"),
    ("cache", "Open, share, close"),
    ("call", ""),
    ("read", "Read"),
    ("many", "Many keys in one call"),
    ("list", "The origin's lists"),
    ("write", "Write through, also on a condition"),
    ("create", "Records whose keys the origin names"),
    ("patch", "Patches that the origin merges"),
    ("update", "Update: read, change and write in one turn"),
    ("invalidate", "Forget"),
    ("doubt", "Writes in doubt"),
    ("permit", "Two phases, for programs that do their own I/O"),
    ("optimistic", "Optimistic writes: shown before they are confirmed"),
    ("transaction", "Transactions: describe and run"),
    ("transacted", "Transactions: what came of them"),
    ("queue", "Event loops: calls that complete in a queue"),
    ("stats", "Counts"),
    ("origin", "What an HTTP origin was asked"),
    ("feed", "The origin's feed"),
    ("source", "A source of the program's own"),
    ("reply", "Its answers"),
    ("python", "For the Python package"),
];

fn header() -> PathBuf {
    root().join("include/wtcache.h")
}

fn generated() -> String {
    let ffi = root().join("ffi");
    let mut config = cbindgen::Config::from_file(ffi.join("cbindgen.toml")).unwrap();
    config.header = Some(fs::read_to_string(ffi.join("header-top.h")).unwrap().trim_end().to_owned());
    let mut builder = cbindgen::Builder::new().with_config(config);
    let source = |file: &str| ffi.join("src").join(file).with_extension("rs");
    for (file, _) in THEMES {
        builder = builder.with_src(source(file));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    let mut text = String::from_utf8(text).unwrap();
    for (file, title) in THEMES {
        let code = fs::read_to_string(source(file)).unwrap();
        let first = code.split("extern \"C\" fn ").nth(1).filter(|rest| rest.starts_with("wtcache_"));
        let first = first.map(|rest| &rest[..=rest.find('(').unwrap()]);
        assert_eq!(first.is_some(), !title.is_empty(), "{file} has functions, or no title");
        if let Some(first) = first {
            // Not in the example on top.
            let top = text.find("#ifndef WTCACHE_H").unwrap();
            let here = |name: &str| text[top..].find(name).map(|at| top + at);
            let declared = here(&format!(" {first}")).or_else(|| here(&format!("*{first}"))).unwrap();
            let documented = text[..declared].rfind("\n/**\n").unwrap() + 1;
            text.insert_str(documented, &format!("/* ---- {title} ---- */\n\n"));
        }
    }
    text
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let generated = generated();
    if std::env::var_os("WTCACHE_WRITE_HEADER").is_some() {
        fs::write(header(), &generated).unwrap();
    }
    let committed = fs::read_to_string(header()).unwrap();
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "include/wtcache.h is not what ffi/src says, from line {differs:?} (0-based) on: cargo xtask header"
    );
}

/// Names of ours with a parenthesis after them.
fn calls(text: &str) -> BTreeSet<&str> {
    let name_of = |rest: &str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let whole = |at: usize| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices("wtcache_")
        .filter(|(at, _)| whole(*at))
        .filter_map(|(at, _)| {
            let name = &text[at..at + name_of(&text[at..])?];
            text[at + name.len()..].starts_with('(').then_some(name)
        })
        .collect()
}

#[test]
fn the_c_suite_calls_every_function_of_the_header() {
    let text = fs::read_to_string(header()).unwrap();
    let suite: String = fs::read_dir(root().join("ffi/tests/c"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let untested: Vec<&str> = calls(&text).difference(&calls(&suite)).copied().collect();
    assert!(untested.is_empty(), "no case calls {untested:?}");
}

#[test]
fn the_header_has_the_functions_of_the_library() {
    let text = fs::read_to_string(header()).unwrap();
    let declared = calls(&text);
    assert!(declared.len() > 40, "{declared:?}");
    let nm = output_of(Command::new("nm").args(["--dynamic", "--defined-only"]).arg(artifact(Kind::Shared)));
    let exported: BTreeSet<&str> = nm.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let ours: BTreeSet<&str> = exported.iter().copied().filter(|name| name.starts_with("wtcache_")).collect();
    assert_eq!(declared, ours);
    assert_eq!(exported, ours, "the library shows nothing but its own");
}

#[test]
fn the_soname_carries_the_number_of_the_abi_and_the_library_stays() {
    let dynamic = output_of(Command::new("readelf").arg("--dynamic").arg(artifact(Kind::Shared)));
    let soname = format!("libwtcache.so.{}]", wtcache_ffi::WTCACHE_ABI_VERSION);
    assert!(dynamic.contains(&soname), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}

#[test]
fn the_header_compiles_alone_and_twice_in_every_language() {
    let dir = scratch("header");
    for (suffix, compiler, standards) in
        [("c", "gcc", ["c99", "c11", "c17"]), ("cpp", "g++", ["c++11", "c++17", "c++20"])]
    {
        if suffix == "cpp" && skipped(compiler) {
            continue;
        }
        let file = dir.join("twice").with_extension(suffix);
        fs::write(&file, "#include \"wtcache.h\"\n#include \"wtcache.h\"\nint main(void) { return WTCACHE_OK; }\n")
            .unwrap();
        for standard in standards {
            compiles(compiler, standard, &file);
        }
    }
}

#[test]
fn the_example_on_top_of_the_header_compiles() {
    let text = fs::read_to_string(header()).unwrap();
    let top = text.lines().take_while(|line| *line != " */");
    let lines: Vec<&str> = top.filter_map(|line| line.strip_prefix(" *     ")).collect();
    assert!(lines.contains(&"int main(void) {"), "the example is there");
    let file = scratch("header").join("example.c");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    compiles("gcc", "c99", &file);
}

fn compiles(compiler: &str, standard: &str, file: &Path) {
    let mut command = Command::new(compiler);
    command.arg(format!("-std={standard}")).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]);
    output_of(command.arg("-I").arg(root().join("include")).arg(file));
}
