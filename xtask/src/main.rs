//! What CI runs, by name: `cargo xtask`.
//!
//! Each task prints the commands that it runs and stops at the first that fails.

mod bindings;
mod bugs;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "\
Usage: cargo xtask TASK

  ci         all of the below, the tests, the walk and the benches' self-check
  lint       formatting, clippy and rustdoc, warnings denied
  tidy       house rules that no compiler checks
  sanitize   core's tests under AddressSanitizer
  interleavings [N]
             core's code under a scheduler that explores interleavings, N schedules a
             scenario (2,000)
  attack [--minutes N]
             random histories of real threads over real sockets (1 minute)
  bindings   libwtcache as it is shipped: the C suite, also under valgrind, and the
             Python package as pip installs it
  header     writes include/wtcache.h anew
  bugs       each bug seeded in core, and the tests and histories that must notice it
";

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let result = match task.as_deref() {
        Some("ci") => ci(),
        Some("lint") => lint(),
        Some("tidy") => tidy::check(&root()),
        Some("sanitize") => sanitize(),
        Some("interleavings") => interleavings(std::env::args().nth(2).as_deref().unwrap_or("2000")),
        Some("attack") => attack(std::env::args().skip(2)),
        Some("bindings") => bindings::check(),
        Some("header") => bindings::write_header(),
        Some("bugs") => bugs::check(),
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
    bindings::check()?;
    interleavings("2000")?;
    bugs::check()?;
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

/// The real code with shuttle's locks and threads in the place of the system's: see `core/tests/interleavings`.
fn interleavings(schedules: &str) -> Result<(), String> {
    if schedules.parse::<usize>().is_err() {
        return Err(format!("interleavings takes a number of schedules, not {schedules:?}"));
    }
    let mut tests = cargo(&["test", "--profile", "explore", "--package", "wtcache", "--test", "interleavings"]);
    tests.env("RUSTFLAGS", "--cfg wtcache_shuttle").env("WTCACHE_SCHEDULES", schedules).env("RUST_BACKTRACE", "0");
    tests.env("CARGO_TARGET_DIR", root().join("target/interleavings"));
    run(tests)
}

/// With the arguments of `wtcache-attack`: see `docs/testing.md`.
fn attack(args: impl Iterator<Item = String>) -> Result<(), String> {
    let args: Vec<String> = args.collect();
    let mut rounds = cargo(&["run", "--release", "--package", "wtcache-attack", "--"]);
    rounds.args(if args.is_empty() { vec!["--minutes".to_owned(), "1".to_owned()] } else { args });
    run(rounds)
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
