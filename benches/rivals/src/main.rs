//! wtcache beside other caches in the same run: time, memory and hit ratio. `cargo xtask rivals` builds and runs it.
//!
//! In reading order: `speed` and `hit_ratio` are the two runs, `cache` has the caches behind one trait; `workload` says what is
//! measured, `measure` how, `memory` in child processes; `traces` and `policy` are for hit ratios; `table` and `svg` show.
//! Invariant: all caches are given the same keys, values and room, in turn, in the same process (but for memory).

mod cache;
mod hit_ratio;
mod measure;
mod memory;
mod policy;
mod speed;
mod svg;
mod table;
mod traces;
mod workload;

use std::path::Path;
use std::process::ExitCode;

use measure::Clock;

const USAGE: &str = "\
Usage: cargo xtask rivals [--hit-ratio] [--quick] [--write] [--processor-time]

  --hit-ratio       hit ratios over Zipf and the traces in WTCACHE_TRACES, instead of time and memory
  --quick           some seconds, to see that it runs; the figures are worth nothing
  --write           writes table and chart into docs/benchmarks
  --processor-time  counts the time that the threads were on a processor, for a machine with
                    other work; waiting for a lock then does not count
";

/// What the command line asked for.
pub(crate) struct Asked {
    pub(crate) quick: bool,
    pub(crate) write: bool,
    pub(crate) clock: Clock,
    /// The command, as it is to be told beside its figures.
    pub(crate) command: String,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match &words[..] {
        [memory::CHILD, cache, keys] => memory::child(cache, keys),
        ["--help" | "-h" | "help"] => {
            print!("{USAGE}");
            Ok(())
        }
        words => run(words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("rivals: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let known = ["--hit-ratio", "--quick", "--write", "--processor-time"];
    if let Some(word) = words.iter().find(|word| !known.contains(word)) {
        return Err(format!("there is no option {word:?}\n{USAGE}"));
    }
    let has = |word| words.contains(&word);
    let asked = Asked {
        quick: has("--quick"),
        write: has("--write"),
        clock: if has("--processor-time") { Clock::Processor } else { Clock::Wall },
        command: ["cargo xtask rivals"].iter().chain(words).copied().collect::<Vec<_>>().join(" "),
    };
    if asked.quick && asked.write {
        return Err("the figures of a quick run are not for the documentation".to_owned());
    }
    if has("--hit-ratio") { hit_ratio::run(&asked) } else { speed::run(&asked) }
}

/// Writes a file of the documentation's.
pub(crate) fn write_docs(name: &str, text: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks").join(name);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The machine, as far as figures depend on it.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("not known");
    format!("{cores} processors, load average of the last minute {load}")
}
