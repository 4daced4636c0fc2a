//! Every attack with one command: the seeded bugs, then interleavings, histories over real sockets and fuzzers in turn, for as
//! long as told.
//!
//! Invariant: what failed leaves its output and its seed in `target/attack`, and the command that plays it again is printed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::built::Built;
use crate::fuzz::{Fuzzers, Summary as Fuzzed};
use crate::interleavings::{Explorer, Summary};
use crate::{bugs, root};

/// In CI a failure must come from the change that is looked at.
pub(crate) const CI_SEED: u64 = 1;
const MINUTES: u64 = 10;
/// Each part gets its share of every round.
const ROUND: Duration = Duration::from_secs(240);
const INTERLEAVINGS_PERCENT: u32 = 40;
const HISTORIES_PERCENT: u32 = 35;
const FUZZ_PERCENT: u32 = 25;
/// Schedules of one process: some seconds.
const SCHEDULES: u64 = 5_000;
/// Rounds of histories side by side, a core: most of their threads wait for the origin.
const HISTORIES_A_CORE: usize = 2;
/// Seeds that a round of each part may take from the first: far more than it can play.
const SEEDS: u64 = 1_000_000;

pub(crate) fn task(args: &[String]) -> Result<(), String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["--replay", ..] = words[..] {
        return replay(&words);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (mut minutes, mut seed) = (MINUTES, now.as_secs());
    for option in words.chunks(2) {
        match *option {
            ["--minutes", n] => minutes = n.parse().map_err(|_| format!("--minutes wants a number, not {n:?}"))?,
            ["--seed", n] => seed = n.parse().map_err(|_| format!("--seed wants a number, not {n:?}"))?,
            _ => return Err(format!("attack does not take {}", option.join(" "))),
        }
    }
    run(Duration::from_secs(minutes * 60), seed)
}

/// Where what failed is kept.
pub(crate) fn failures() -> Result<PathBuf, String> {
    let dir = root().join("target/attack");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

/// Runs all parts for so long, builds not counted, and each once at least.
pub(crate) fn run(time: Duration, seed: u64) -> Result<(), String> {
    // Beside the other builds: it takes about as long as they do together, and none of them keeps all cores busy all the time.
    let fuzzers = thread::spawn(Fuzzers::build);
    let others = build_others();
    let fuzzers = fuzzers.join().expect("a build does not panic")?;
    let (explorer, seeded, histories) = others?;
    let clock = Clock { begun: Instant::now(), time };
    println!("attack: for {}, from seed {seed}", minutes(time));
    let bugs = bugs::check(&seeded, &explorer).map_err(|error| kept("bugs", 1, &error, "cargo xtask bugs"))?;
    clock.progress(0, "bugs", &format!("{bugs} of {bugs} caught"));
    let (mut explored, mut played, mut fuzzed) = (Summary::default(), Played::default(), Fuzzed::default());
    for round in 1.. {
        let length = ROUND.min(time.saturating_sub(clock.begun.elapsed()));
        let seed = seed + (round - 1) * SEEDS;
        let until = Instant::now() + length * INTERLEAVINGS_PERCENT / 100;
        let summary = explorer.explore(SCHEDULES, seed, Some(until))?;
        clock.progress(round, "interleavings", &summary.line());
        explored.add(&summary);
        let counts = histories.play(length * HISTORIES_PERCENT / 100, seed)?;
        clock.progress(round, "histories", &counts.line());
        played.add(&counts);
        let found = fuzzers.run(length * FUZZ_PERCENT / 100)?;
        clock.progress(round, "fuzz", &found.line());
        fuzzed.add(&found);
        if clock.begun.elapsed() >= time {
            break;
        }
    }
    println!("attack: clean after {}, from seed {seed}", minutes(clock.begun.elapsed()));
    explored.print();
    println!("bugs:          {bugs} of {bugs} caught");
    println!("interleavings: {}", explored.line());
    println!("histories:     {}", played.line());
    println!("fuzz:          {}", fuzzed.line());
    println!("{fuzzed}");
    Ok(())
}

fn build_others() -> Result<(Explorer, Built, Histories), String> {
    Ok((Explorer::build()?, bugs::build()?, Histories::build()?))
}

/// Keeps the whole of a failure in a file, and says what failed, where that is, and how to see it again.
fn kept(part: &str, seed: u64, text: &str, again: &str) -> String {
    let file = failures().map(|dir| dir.join(format!("{part}-{seed}.txt")));
    match file.and_then(|file| fs::write(&file, text).map(|()| file).map_err(|error| error.to_string())) {
        Ok(file) => format!("{part}: {text}\n  kept: {}\n  again: {again}", file.display()),
        Err(error) => format!("{part}: {text}\n  not kept: {error}\n  again: {again}"),
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02} min", time.as_secs() / 60, time.as_secs() % 60)
}

struct Clock {
    begun: Instant,
    time: Duration,
}

impl Clock {
    fn progress(&self, round: u64, part: &str, text: &str) {
        let (elapsed, left) = (self.begun.elapsed(), self.time.saturating_sub(self.begun.elapsed()));
        println!("attack: {} gone, {} left; round {round}, {part}: {text}", minutes(elapsed), minutes(left));
    }
}

/// The program that plays histories over real sockets.
struct Histories(PathBuf);

/// What it counted, by the names that it prints.
#[derive(Default)]
struct Played(BTreeMap<String, u64>);

impl Played {
    /// From the line `counts NAME=NUMBER …`.
    fn read(said: &str) -> Option<Self> {
        let line = said.lines().find_map(|line| line.strip_prefix("counts "))?;
        let counts = line.split(' ').map(|count| {
            let (name, number) = count.split_once('=')?;
            Some((name.to_owned(), number.parse().ok()?))
        });
        counts.collect::<Option<_>>().map(Self)
    }

    fn add(&mut self, other: &Self) {
        for (name, number) in &other.0 {
            *self.0.entry(name.clone()).or_default() += number;
        }
    }

    fn line(&self) -> String {
        let of = |name: &str| self.0.get(name).copied().unwrap_or(0);
        format!(
            "{} rounds ({} discarded), {} operations, {} unknown writes ({} landed), {} faults, {} histories not searched",
            of("rounds"),
            of("discarded"),
            of("operations"),
            of("unknown"),
            of("landed"),
            of("faults"),
            of("not-searched"),
        )
    }
}

impl Histories {
    fn build() -> Result<Self, String> {
        crate::program("wtcache-attack").map(Self)
    }

    fn play(&self, time: Duration, seed: u64) -> Result<Played, String> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new(&self.0);
        command.args(["--seconds", &time.as_secs().max(1).to_string(), "--seed", &seed.to_string()]);
        command.args(["--at-once", &(cores * HISTORIES_A_CORE).to_string(), "--failures"]).arg(failures()?);
        let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{command:?}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Played::read(&said).ok_or_else(|| kept("histories", seed, &said, &format!("{command:?}")));
        }
        // The program says itself how a script that failed is played again; if it does not, the seed is all there is.
        let again =
            said.lines().find_map(|line| line.split_once("; again with: ")).map(|(_, command)| command.to_owned());
        Err(kept("histories", seed, &said, &again.unwrap_or_else(|| format!("{command:?}"))))
    }
}

/// A script of a history is played by the program that made it, from several processes at once: a race that came once comes
/// again where its threads are disturbed in other ways.
fn replay(words: &[&str]) -> Result<(), String> {
    let file = words.get(1).ok_or("--replay wants a file")?;
    let file = fs::canonicalize(Path::new(file)).map_err(|error| format!("{file}: {error}"))?;
    let histories = Histories::build()?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut playing = Vec::new();
    for _ in 0..cores {
        let mut command = Command::new(&histories.0);
        command.arg("--replay").arg(&file).args(&words[2..]);
        playing.push(command.spawn().map_err(|error| format!("{command:?}: {error}"))?);
    }
    let mut failed = false;
    for mut process in playing {
        failed |= !process.wait().map_err(|error| error.to_string())?.success();
    }
    if failed { Err(format!("{} fails again", file.display())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_histories_print_is_read() {
        let mut played = Played::read("from seed 1\ncounts rounds=3 operations=70 unknown=2\nclean").expect("a line");
        played.add(&Played::read("counts rounds=2 operations=30 unknown=0").expect("a line"));
        assert_eq!(played.0["operations"], 100);
        assert!(played.line().starts_with("5 rounds (0 discarded), 100 operations, 2 unknown"));
        assert!(Played::read("counts rounds=x").is_none());
    }
}
