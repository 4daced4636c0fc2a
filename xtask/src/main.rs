//! What CI runs, by name: `cargo xtask`.
//!
//! Each task prints the commands that it runs and stops at the first that fails.

mod abi;
mod attack;
mod bindings;
mod bugs;
mod built;
mod fuzz;
mod install;
mod interleavings;
mod mutants;
mod outcomes;
mod outside;
mod rivals;
mod sanitize;
mod schemathesis;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const USAGE: &str = "\
Usage: cargo xtask TASK

  ci         the checks below but for the mutants, the tests, the walk and the benches' self-check
  lint       formatting, clippy and rustdoc, warnings denied; the fuzz targets too
  tidy       house rules that no compiler checks
  sanitize   tests of core and the HTTP source under AddressSanitizer, and ThreadSanitizer
             where the standard library's source is installed
  interleavings [N] [--seed S]
             core's code under a scheduler that explores interleavings, N schedules a
             scenario (2,000)
  interleavings --replay FILE
             the one schedule in the output of a scenario that failed
  outcomes   writes the table of outcomes into the contract (tidy says if it is out of date)
  fuzz [--seconds N]
             each fuzz target for N seconds from its committed corpus (30)
  bindings   libwtcache as it is shipped: the suites in C and C++, also under valgrind, the
             Python package as pip installs it, and all as it is installed
  header     writes include/wtcache.h anew
  install --prefix DIR
             libwtcache to a folder, with headers and what pkg-config and CMake find it by; programs
             in C are built against that, and run
  symbols    writes the list of what the libraries show, and the description of their ABI
  bugs       each bug seeded in core, and the tests and histories that must notice it
  mutants [ARGUMENTS OF CARGO-MUTANTS]
             changes to core, one at a time, and the tests that must notice them; hours, unless
             --re or --shard picks some. Not part of ci
  rivals [--hit-ratio] [--quick] [--write] [--processor-time] [--only PATTERN]
             wtcache beside other caches: time and memory, or hit ratios (over Zipf and the traces in
             WTCACHE_TRACES). Not part of ci, which does not compile them
  http-rivals [--outage] [--quick] [--write]
             wtcache over HTTP beside bare HTTP clients, or through an outage of its origin. Not
             part of ci, which does not compile them
  python-rivals [--quick]
             a hit in Python beside other caches for it. Not part of ci
  front-rivals [--rounds N] [--seconds N] [--write] [--harper FOLDER]
             the REST front beside nginx, Varnish and Harper. Not part of ci
  load [--rounds N]
             the REST front under load: ten thousand connections, the origin killed and
             started again, the front killed and started again. Not part of ci
  schemathesis [--examples N]
             the front held against what it says of itself, with N inputs for each operation (20): two
             minutes; wants schemathesis, by pip. Not part of ci
  page       the front's page in a headless Chromium, and pictures of it. Not part of ci
  c-hits     a hit through the C ABI beside one in Rust. Not part of ci
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
        Some("sanitize") => sanitize::check(),
        Some("interleavings") => interleavings::task(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("attack") => attack::task(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("fuzz") => fuzz::task(std::env::args().skip(2)),
        Some("mutants") => mutants::task(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("rivals") => rivals::measure(std::env::args().skip(2)),
        Some("http-rivals") => rivals::measure_http(std::env::args().skip(2)),
        Some("outcomes") => outcomes::write(&root()),
        Some("bindings") => bindings::check(),
        Some("python-rivals") => bindings::rivals(std::env::args().skip(2)),
        Some("front-rivals") => rivals::front(std::env::args().skip(2)),
        Some("load") => outside::load(std::env::args().skip(2)),
        Some("schemathesis") => schemathesis::task(std::env::args().skip(2)),
        Some("page") => outside::page(),
        Some("c-hits") => bindings::hits(),
        Some("install") => install::task(std::env::args().skip(2)),
        Some("symbols") => install::write_symbols(),
        Some("header") => bindings::write_header(),
        Some("bugs") => seeded_bugs(),
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
    // Before the tests, which take them in place of libraries of their own.
    let shipped = bindings::Shipped::build()?;
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if let Some(shipped) = &shipped {
        shipped.is_tested_by(&mut tests);
    }
    run(tests)?;
    if let Some(shipped) = &shipped {
        shipped.check_python()?;
    }
    install::check()?;
    // As the tests have built it: a build for release takes minutes, and would be used for seconds.
    let mut walk = Command::new(target().join("debug").join("wtcache"));
    walk.args(["demo", "--walk"]).current_dir(root());
    run(walk)?;
    // Each bench once, so that none rots; no figure is taken from it.
    run(cargo(&["bench", "--workspace", "--bench", "core", "--bench", "scale", "--", "--test"]))?;
    attack::run(Duration::from_secs(300), attack::CI_SEED)?;
    sanitize::check()
}

fn seeded_bugs() -> Result<(), String> {
    bugs::check(&bugs::build()?, &interleavings::Explorer::build()?).map(|_| ())
}

fn lint() -> Result<(), String> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    run(cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // Core without its features compiles too, for those who want no runtime.
    run(cargo(&["clippy", "--package", "wtcache", "--", "-D", "warnings"]))?;
    // And the server's parsers without the server: all that the fuzzers build of it.
    run(cargo(&["clippy", "--package", "wtcache-server", "--no-default-features", "--", "-D", "warnings"]))?;
    fuzz::lint()?;
    rivals::lint()?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc)
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_owned()
}

/// Where the workspace is built.
fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new("target").to_owned(), Into::into);
    root().join(target)
}

/// A program of the workspace in release, built. As one of the workspace, not of its package: so all of them, and the benches,
/// have their dependencies in common.
fn program(name: &str) -> Result<PathBuf, String> {
    run(cargo(&["build", "--release", "--quiet", "--workspace", "--bin", name]))?;
    Ok(target().join("release").join(name))
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
