//! Tests of core that are built once and run many times, each by name and in a process of its own.
//!
//! Invariant: a test counts as red only if a check of the tests themselves failed. An assertion inside core would prove nothing
//! about them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{cargo, root};

/// How a test ended.
pub(crate) enum Ended {
    Green,
    /// A check of the tests failed, here.
    Red(String),
    /// It ran longer than it may.
    Hung,
    /// By something else than a check of the tests.
    Otherwise(String),
}

/// The programs that hold the tests, by file.
pub(crate) struct Built {
    programs: BTreeMap<String, PathBuf>,
    /// Where the build lies, and what is said may.
    pub(crate) dir: PathBuf,
}

/// Builds tests of core without running them.
pub(crate) fn build(dir: &str, flags: &str, args: &[&str]) -> Result<Built, String> {
    let dir = root().join("target").join(dir);
    let mut command = cargo(&["test", "--no-run", "--package", "wtcache", "--features", "tokio"]);
    command.args(args).env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", &dir).env("CARGO_TERM_COLOR", "never");
    println!("xtask: {command:?}");
    let begun = Instant::now();
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{said}", output.status));
    }
    println!("xtask: took {} s", begun.elapsed().as_secs());
    // "  Executable tests/bounds.rs (target/bugs/debug/deps/bounds-0123)"; a test in a folder is called main.rs.
    let program = |line: &str| {
        let (source, program) = line.trim().strip_prefix("Executable ")?.split_once(" (")?;
        let name = source.strip_prefix("tests/")?.strip_suffix(".rs")?;
        let name = name.strip_suffix("/main").unwrap_or(name);
        Some((name.to_owned(), root().join(program.strip_suffix(')')?)))
    };
    Ok(Built { programs: said.lines().filter_map(program).collect(), dir })
}

impl Built {
    /// The full names of the tests in a file.
    pub(crate) fn names(&self, file: &str) -> Result<Vec<String>, String> {
        let program = self.program(file)?;
        let output = Command::new(program).arg("--list").output().map_err(failed(program))?;
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(said.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Runs one test by its exact name. What it says goes to the file `said`.
    pub(crate) fn run(
        &self,
        file: &str,
        name: &str,
        variables: &[(&str, &str)],
        said: &Path,
        limit: Duration,
    ) -> Result<Ended, String> {
        let program = self.program(file)?;
        let out = File::create(said).map_err(failed(said))?;
        let mut command = Command::new(program);
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]).current_dir(root().join("core"));
        command.stdout(out.try_clone().map_err(failed(said))?).stderr(out).stdin(Stdio::null());
        command.env("RUST_BACKTRACE", "0").env_remove("SHUTTLE_RANDOM_SEED");
        for variable in ["WTCACHE_BUG", "WTCACHE_REPLAY", "WTCACHE_SCHEDULES", "WTCACHE_SEED"] {
            command.env_remove(variable);
        }
        command.envs(variables.iter().copied());
        let begun = Instant::now();
        let mut child = command.spawn().map_err(failed(program))?;
        let status = loop {
            match child.try_wait().map_err(failed(program))? {
                Some(status) => break status,
                None if begun.elapsed() >= limit => {
                    child.kill().and_then(|()| child.wait()).map_err(failed(program))?;
                    return Ok(Ended::Hung);
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let said = fs::read(said).map_err(failed(said))?;
        Ok(verdict(status.code(), &String::from_utf8_lossy(&said)))
    }

    fn program(&self, file: &str) -> Result<&Path, String> {
        self.programs.get(file).map(PathBuf::as_path).ok_or_else(|| format!("no tests were built from {file}"))
    }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

fn verdict(code: Option<i32>, said: &str) -> Ended {
    if code == Some(0) {
        // A name that no test has is green too.
        let ran = said.contains("test result: ok. 1 passed");
        return if ran { Ended::Green } else { Ended::Otherwise("there is no such test".to_owned()) };
    }
    // A panic that a test means to happen comes before, so it is the last one in the tests' own files that failed it.
    let places = said.lines().filter_map(|line| line.split_once(" panicked at ")).map(|(_, place)| place);
    let places: Vec<_> = places.map(|place| place.trim_end_matches(':')).collect();
    if let Some(inside) = places.iter().find(|place| place.starts_with("core/src/")) {
        return Ended::Otherwise(format!("an assertion of core itself, at {inside}"));
    }
    if let Some(place) = places.iter().rev().find(|place| place.starts_with("core/tests/")) {
        return Ended::Red(place.trim_start_matches("core/tests/").to_owned());
    }
    // The scheduler's own word: all threads wait, and none of them for time.
    if said.contains("deadlock!") {
        return Ended::Red("all wait for ever".to_owned());
    }
    Ended::Otherwise(format!("it ends with {code:?}, no check of the tests failed"))
}
