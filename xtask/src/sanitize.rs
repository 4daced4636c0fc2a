//! The tests of the crates that have or lean on unsafe code, and the C suite, under the compilers' sanitizers.
//!
//! AddressSanitizer finds memory that is used after it was freed or beyond its end; ThreadSanitizer finds data races. Both are
//! unstable flags of the compiler that is installed. ThreadSanitizer needs a standard library that was built with it, and so its
//! source.

use std::path::PathBuf;
use std::process::Command;

use crate::{cargo, root, run};

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The models walk millions of states in safe code on one thread; a sanitizer has nothing to find there.
const SKIPPED: [&str; 7] = ["--", "--skip", "model", "--skip", "hold_in_every_state", "--skip", "holds_in_every_state"];

pub(crate) fn check() -> Result<(), String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("SKIPPED: the sanitizers run on x86_64 Linux only");
        return Ok(());
    }
    let mut address = tests("address", "target/sanitize");
    // Some tests make a source own the cache that owns it, to call it from within: that cycle is no leak of core's.
    address.env("ASAN_OPTIONS", "detect_leaks=0").args(SKIPPED);
    run(address)?;
    // The byte record frees its own memory, and its unit tests make no cache: of them leaks are looked for.
    let mut leaks = tests("address", "target/sanitize");
    leaks.env("ASAN_OPTIONS", "detect_leaks=1").args(["--", "memory::"]);
    run(leaks)?;
    border()?;
    let library = library_source()?;
    if !library.exists() {
        println!("SKIPPED: ThreadSanitizer needs the standard library's source (rustup component add rust-src)");
        return Ok(());
    }
    let mut thread = tests("thread", "target/sanitize-thread");
    thread.arg("-Zbuild-std").args(SKIPPED);
    run(thread)
}

/// The C suite on both sides of the border: AddressSanitizer in the static library, and with UndefinedBehaviorSanitizer in the
/// program, whose compiler brings the runtime of both.
fn border() -> Result<(), String> {
    const DIR: &str = "target/sanitize";
    run(sanitized(cargo(&["build", "--package", "libwtcache", "--target", TRIPLE]), "address", DIR))?;
    let mut suite = cargo(&["test", "--package", "wtcache-ffi", "--test", "c_suite", "static"]);
    suite.env("WTCACHE_ARTIFACTS", root().join(DIR).join(TRIPLE).join("debug")).env("WTCACHE_SANITIZED", "1");
    run(suite)
}

/// The tests of core and of the HTTP source under a sanitizer.
fn tests(sanitizer: &str, dir: &str) -> Command {
    let mut tests = cargo(&["test", "--package", "wtcache", "--package", "wtcache-http-source"]);
    tests.args(["--features", "wtcache/tokio", "--lib", "--tests", "--target", TRIPLE]);
    // What it is for is memory: a part of the histories will do.
    tests.env("WTCACHE_STEPS", "50000");
    sanitized(tests, sanitizer, dir)
}

fn sanitized(mut command: Command, sanitizer: &str, dir: &str) -> Command {
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"));
    command.env("CARGO_TARGET_DIR", root().join(dir));
    command
}

fn library_source() -> Result<PathBuf, String> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "sysroot"]).current_dir(root());
    let output = rustc.output().map_err(|error| format!("{rustc:?}: {error}"))?;
    let sysroot = String::from_utf8_lossy(&output.stdout);
    Ok(PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library"))
}
