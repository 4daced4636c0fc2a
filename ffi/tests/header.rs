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

/// The themes, in the header's order.
const FILES: [&str; 9] = ["abi", "status", "error", "config", "cache", "read", "write", "stats", "source"];

fn header() -> PathBuf {
    root().join("include/wtcache.h")
}

fn generated() -> String {
    let ffi = root().join("ffi");
    let mut config = cbindgen::Config::from_file(ffi.join("cbindgen.toml")).unwrap();
    config.header = Some(fs::read_to_string(ffi.join("header-top.h")).unwrap().trim_end().to_owned());
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in FILES.iter().chain(&["reply", "python"]) {
        builder = builder.with_src(ffi.join("src").join(file).with_extension("rs"));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
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

#[test]
fn the_header_has_the_functions_of_the_library() {
    let text = fs::read_to_string(header()).unwrap();
    let declared: BTreeSet<&str> = text
        .match_indices("wtcache_")
        .map(|(at, _)| &text[at..])
        .filter_map(|rest| {
            let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?];
            rest[name.len()..].starts_with('(').then_some(name)
        })
        .collect();
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
