//! The fuzz targets: each runs for so long, from its committed corpus into a scratch one.
//!
//! They are built by cargo-fuzz with the installed compiler; only the instrumentation is unstable. What one finds lies in
//! `target/fuzz/found`, and fails the task.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{cargo, root};

/// By the names in `fuzz/Cargo.toml`.
const TARGETS: [&str; 6] = ["schema", "config", "url_template", "http_answer", "operations", "abi"];

const LEAST_SECONDS: u64 = 3;

/// cargo-fuzz's own choice is one, with which a large crate keeps one core busy and the others idle.
const CODEGEN_UNITS: [&str; 2] = ["--codegen-units", "16"];

/// One input that takes longer than this, in seconds, hangs.
const HANGS_AFTER: &str = "-timeout=25";

/// What the fuzzers did.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Empty where cargo-fuzz is not installed.
    pub(crate) targets: Vec<Ran>,
}

/// What one target did.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) target: &'static str,
    pub(crate) executions: u64,
    /// Edges of the code that were reached.
    pub(crate) coverage: u64,
    /// Inputs that reach them all.
    pub(crate) corpus: u64,
    pub(crate) seconds: u64,
}

impl Summary {
    /// Joins what the same targets did later.
    pub(crate) fn add(&mut self, later: &Self) {
        for ran in &later.targets {
            match self.targets.iter_mut().find(|before| before.target == ran.target) {
                Some(before) => {
                    before.executions += ran.executions;
                    before.coverage = before.coverage.max(ran.coverage);
                    before.corpus = before.corpus.max(ran.corpus);
                    before.seconds += ran.seconds;
                }
                None => self.targets.push(ran.clone()),
            }
        }
    }

    pub(crate) fn line(&self) -> String {
        match &self.targets[..] {
            [] => "SKIPPED, cargo-fuzz is not installed".to_owned(),
            targets => {
                let executions: u64 = targets.iter().map(|ran| ran.executions).sum();
                let edges: u64 = targets.iter().map(|ran| ran.coverage).sum();
                format!("{} targets, {executions} executions, {edges} edges reached", targets.len())
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.targets.is_empty() {
            return write!(f, "fuzz: SKIPPED, cargo-fuzz is not installed (cargo install cargo-fuzz --locked)");
        }
        write!(f, "{:<14} {:>12} {:>10} {:>8} {:>5}", "fuzz target", "executions", "coverage", "corpus", "s")?;
        for Ran { target, executions, coverage, corpus, seconds } in &self.targets {
            write!(f, "\n{target:<14} {executions:>12} {coverage:>10} {corpus:>8} {seconds:>5}")?;
        }
        Ok(())
    }
}

/// The task: its arguments are none, or `--seconds N`.
pub(crate) fn task(args: impl Iterator<Item = String>) -> Result<(), String> {
    let args: Vec<String> = args.collect();
    let seconds = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => 30,
        ["--seconds", seconds] => seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?,
        _ => return Err(format!("fuzz takes --seconds N, not {args:?}")),
    };
    if seconds == 0 {
        return Err("fuzz: a fuzzer that is given no time never ends".to_owned());
    }
    println!("{}", Fuzzers::build()?.each(seconds)?);
    Ok(())
}

/// Formatting and clippy of the crate, which is none of the workspace's.
pub(crate) fn lint() -> Result<(), String> {
    crate::run(cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    // Beside the workspace's own, so that what both depend on is checked once.
    let mut clippy = cargo(&["clippy", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--all-targets"]);
    clippy.args(["--target-dir", "target", "--", "-D", "warnings"]);
    crate::run(clippy)
}

/// The targets, built.
pub(crate) struct Fuzzers {
    installed: bool,
}

impl Fuzzers {
    /// Without cargo-fuzz there are none; under `WTCACHE_CI` that is an error.
    pub(crate) fn build() -> Result<Self, String> {
        let installed =
            Command::new("cargo-fuzz").arg("--version").output().is_ok_and(|output| output.status.success());
        if !installed {
            println!("xtask: {}", Summary::default());
            let must = std::env::var_os("WTCACHE_CI").is_some();
            return if must {
                Err("WTCACHE_CI is set: nothing may be skipped".to_owned())
            } else {
                Ok(Self { installed })
            };
        }
        let begun = Instant::now();
        crate::run(fuzz("build", None))?;
        println!("xtask: the fuzz targets took {} s to build", begun.elapsed().as_secs());
        Ok(Self { installed })
    }

    /// Runs all targets one after the other, for so long together, but some seconds each.
    ///
    /// # Errors
    /// A target found something, or could not be run. What was found is in the file that the error names.
    pub(crate) fn run(&self, time: Duration) -> Result<Summary, String> {
        self.each((time.as_secs() / TARGETS.len() as u64).max(LEAST_SECONDS))
    }

    fn each(&self, seconds: u64) -> Result<Summary, String> {
        let targets = if self.installed { &TARGETS[..] } else { &[] };
        let targets = targets.iter().map(|target| one(target, seconds)).collect::<Result<_, _>>()?;
        Ok(Summary { targets })
    }
}

fn one(target: &'static str, seconds: u64) -> Result<Ran, String> {
    let dir = root().join("target/fuzz");
    let (scratch, found) = (dir.join("corpus").join(target), dir.join("found"));
    for dir in [&scratch, &found] {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let mut command = fuzz("run", Some(target));
    // What is new goes into the first directory, the other one is only read.
    command.arg(&scratch).arg(root().join("fuzz/corpus").join(target));
    command.args(["--", HANGS_AFTER, "-print_final_stats=1"]).arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/{target}-", found.display()));
    let dictionary = root().join("fuzz/dictionaries").join(target).with_extension("dict");
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    println!("xtask: {command:?}");
    let begun = Instant::now();
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let log = dir.join(target).with_extension("txt");
    fs::write(&log, &*said).map_err(|error| format!("{}: {error}", log.display()))?;
    if !output.status.success() {
        return Err(failure(target, &said, &log));
    }
    let ran = Ran {
        target,
        executions: last_number(&said, "stat::number_of_executed_units:"),
        coverage: last_number(&said, " cov: "),
        corpus: last_number(&said, " corp: "),
        seconds: begun.elapsed().as_secs(),
    };
    if ran.executions == 0 || ran.coverage == 0 {
        return Err(format!("fuzz: {target} did nothing; see {}", log.display()));
    }
    Ok(ran)
}

/// What was found, where its input lies and how to play it again.
fn failure(target: &str, said: &str, log: &Path) -> String {
    let first = said.lines().skip_while(|line| !line.contains("panicked at")).take(2).collect::<Vec<_>>().join("\n  ");
    let what = if first.is_empty() { "it failed without a panic" } else { &first };
    let input =
        said.lines().rev().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path.trim()));
    let again = match input {
        Some(input) => format!("again: {} {input}", replay(target)),
        None => "it left no input".to_owned(),
    };
    format!("fuzz: {target}: {what}\n  {again}\n  all that it said: {}", log.display())
}

fn replay(target: &str) -> String {
    format!("RUSTC_BOOTSTRAP=1 cargo fuzz run {} --target-dir target/fuzz {target}", CODEGEN_UNITS.join(" "))
}

/// The number behind the last `name`; zero if there is none.
fn last_number(said: &str, name: &str) -> u64 {
    let behind = said.rsplit_once(name).map_or("", |(_, behind)| behind.trim_start());
    let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    behind[..digits].parse().unwrap_or(0)
}

/// cargo-fuzz on one target or on all. RUSTC_BOOTSTRAP: sanitizers are unstable flags of the compiler that is installed.
fn fuzz(what: &str, target: Option<&str>) -> Command {
    let dir: PathBuf = root().join("target/fuzz");
    let mut command = cargo(&["fuzz", what]);
    command.args(CODEGEN_UNITS).arg("--target-dir").arg(dir).args(target);
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TERM_COLOR", "never");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fuzzer_says_is_read() {
        let said = "#8\tINITED cov: 12 ft: 13 corp: 1/1b\n#900\tDONE   cov: 345 ft: 600 corp: 67/8Kb lim: 4\n\
                    stat::number_of_executed_units: 900\n";
        assert_eq!(last_number(said, " cov: "), 345);
        assert_eq!(last_number(said, " corp: "), 67);
        assert_eq!(last_number(said, "stat::number_of_executed_units:"), 900);
        assert_eq!(last_number(said, "stat::peak_rss_mb:"), 0);
    }

    #[test]
    fn a_failure_says_what_and_how_to_play_it_again() {
        let said = "thread '<unnamed>' panicked at a.rs:1:2:\nD2: key 1\nstack\n\
                    artifact_prefix='x'; Test unit written to x/operations-crash-12\n";
        let told = failure("operations", said, Path::new("log.txt"));
        assert!(told.contains("D2: key 1") && told.contains("operations x/operations-crash-12"), "{told}");
    }

    #[test]
    fn every_target_has_a_corpus_and_is_known_here() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let named: Vec<_> = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
        assert_eq!(named.len(), TARGETS.len(), "{named:?}");
        for target in TARGETS {
            let corpus = root().join("fuzz/corpus").join(target);
            assert!(fs::read_dir(&corpus).unwrap().count() > 0, "{} is empty", corpus.display());
        }
    }
}
