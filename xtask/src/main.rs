//! What CI runs, by name: `cargo xtask`.
//!
//! Each task prints the commands that it runs and stops at the first that fails.

mod attack;
mod bugs;
mod built;
mod interleavings;
mod outcomes;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const USAGE: &str = "\
Usage: cargo xtask TASK

  ci         all checks below, the tests, the walk and the benches' self-check
  lint       formatting, clippy and rustdoc, warnings denied
  tidy       house rules that no compiler checks
  sanitize   core's tests under AddressSanitizer
  interleavings [N] [--seed S]
             core's code under a scheduler that explores interleavings, N schedules a
             scenario (2,000)
  interleavings --replay FILE
             the one schedule in the output of a scenario that failed
  outcomes   writes the table of outcomes into the contract (tidy says if it is out of date)
  bugs       each bug seeded in core, and the tests and histories that must notice it
  attack [--minutes N] [--seed S]
             the bugs, then interleavings, histories over real sockets and fuzzers in
             turn, ever new ones, for so long (10 minutes)
  attack --replay FILE [--times N] [--at-once N]
             a history that failed
";

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let result = match task.as_deref() {
        Some("ci") => ci(),
        Some("lint") => lint(),
        Some("tidy") => tidy::check(&root()),
        Some("sanitize") => sanitize(),
        Some("interleavings") => interleavings::task(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("attack") => attack::task(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("outcomes") => outcomes::write(&root()),
        Some("bugs") => interleavings::Explorer::build().and_then(|explorer| bugs::check(&explorer)).map(|_| ()),
        None | Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprint!("xtask: there is no task {other:?}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn ci() -> Result<(), String> {
    tidy::check(&root())?;
    lint()?;
    run(cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    run(cargo(&["run", "--release", "--quiet", "--", "demo", "--walk"]))?;
    // Each bench once, so that none rots; no figure is taken from it.
    run(cargo(&["bench", "--package", "wtcache-benches", "--", "--test"]))?;
    attack::run(Duration::from_secs(600), attack::CI_SEED)?;
    sanitize()
}

fn lint() -> Result<(), String> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    run(cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // Core without its features compiles too, for those who want no runtime.
    run(cargo(&["clippy", "--package", "wtcache", "--", "-D", "warnings"]))?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc)
}

/// The unsafe code of core under AddressSanitizer. The sanitizer is an unstable flag of the compiler that is installed.
fn sanitize() -> Result<(), String> {
    let mut tests = cargo(&["test", "--package", "wtcache", "--features", "tokio", "--lib", "--tests"]);
    tests.args(["--target", "x86_64-unknown-linux-gnu"]);
    // The models walk millions of states in safe code; the sanitizer has nothing to find there.
    tests.args(["--", "--skip", "model", "--skip", "hold_in_every_state", "--skip", "holds_in_every_state"]);
    tests.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    // Some tests make a source own the cache that owns it, to call it from within: that cycle is no leak of core's.
    tests.env("ASAN_OPTIONS", "detect_leaks=0");
    tests.env("CARGO_TARGET_DIR", root().join("target/sanitize"));
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("SKIPPED: AddressSanitizer runs on x86_64 Linux only");
        return Ok(());
    }
    run(tests)
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_owned()
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

fn run(mut command: Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    println!("xtask: {shown}");
    let begun = Instant::now();
    let status = command.status().map_err(|error| format!("{shown}: {error}"))?;
    println!("xtask: took {} s", begun.elapsed().as_secs());
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}
