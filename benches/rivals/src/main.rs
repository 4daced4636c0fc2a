//! wtcache beside other caches in the same run: time, memory and hit ratio. `cargo xtask rivals` builds and runs it.
//!
//! In reading order: `speed` and `hit_ratio` are the two runs, `cache` has the caches behind one trait; `workload` says what is
//! measured, `measure` how, `memory` in child processes; `traces` and `policy` are for hit ratios.
//! Invariant: all caches are given the same keys, values and room, in turn, in the same process (but for memory).

mod cache;
mod hit_ratio;
mod measure;
mod memory;
mod policy;
mod speed;
mod traces;
mod workload;

use std::path::Path;
use std::process::ExitCode;

use measure::Clock;
pub(crate) use wtcache_benches::figures::machine;

const USAGE: &str = "\
Usage: cargo xtask rivals [--hit-ratio] [--quick] [--write] [--processor-time] [--only PATTERN]

  --hit-ratio       hit ratios over Zipf and the traces in WTCACHE_TRACES, instead of time and memory
  --quick           some seconds, to see that it runs; the figures are worth nothing
  --write           writes table and chart into docs/benchmarks
  --processor-time  counts the time that the threads were on a processor, for a machine with
                    other work; waiting for a lock then does not count
  --only PATTERN    of time and memory, only the lines whose name has PATTERN in it, as \"puts\",
                    \"1M keys, 1 thread\" or \"memory\", or whose whole name it is, where there is
                    one; not with --write
";

/// What the command line asked for.
pub(crate) struct Asked {
    pub(crate) quick: bool,
    pub(crate) write: bool,
    pub(crate) clock: Clock,
    /// What the names of the lines that are measured have in them; of all, nothing.
    pub(crate) only: String,
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
    let (asked, hit_ratio) = asked(words)?;
    if hit_ratio { hit_ratio::run(&asked) } else { speed::run(&asked) }
}

/// What the words ask for, and whether that is hit ratios.
fn asked(words: &[&str]) -> Result<(Asked, bool), String> {
    let mut asked = Asked {
        quick: false,
        write: false,
        clock: Clock::Wall,
        only: String::new(),
        command: ["cargo xtask rivals"].iter().chain(words).copied().collect::<Vec<_>>().join(" "),
    };
    let mut hit_ratio = false;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--hit-ratio" => hit_ratio = true,
            "--quick" => asked.quick = true,
            "--write" => asked.write = true,
            "--processor-time" => asked.clock = Clock::Processor,
            "--only" => match rest.next() {
                Some(pattern) if !pattern.is_empty() => asked.only = (*pattern).to_owned(),
                _ => return Err(format!("--only wants what the lines' names have in them\n{USAGE}")),
            },
            word => return Err(format!("there is no option {word:?}\n{USAGE}")),
        }
    }
    if asked.quick && asked.write {
        return Err("the figures of a quick run are not for the documentation".to_owned());
    }
    if !asked.only.is_empty() && (asked.write || hit_ratio) {
        return Err("--only is for time and memory, and some of the lines are not for the documentation".to_owned());
    }
    Ok((asked, hit_ratio))
}

/// Writes a file of the documentation's.
pub(crate) fn write_docs(name: &str, text: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks").join(name);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_takes_a_pattern_and_is_not_written() {
        let only = |words: &[&str]| asked(words).map(|(asked, _)| asked.only);
        assert_eq!(only(&["--quick", "--only", "puts, 1M"]).as_deref(), Ok("puts, 1M"));
        assert_eq!(only(&[]).as_deref(), Ok(""));
        for wrong in [&["--only"][..], &["--only", ""], &["--only", "a", "--write"], &["--only", "a", "--hit-ratio"]] {
            assert!(only(wrong).is_err(), "{wrong:?}");
        }
    }
}
