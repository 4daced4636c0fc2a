//! Core's interleavings: built once, each scenario in a process of its own, as many at once as there are cores.
//!
//! The seeded bugs are compiled in and none is picked, so that one build serves them too. Invariant: what a scenario that
//! failed said is kept in a file, from which its schedule can be played again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::attack::failures;
use crate::built::{self, Built, Ended};

const FILE: &str = "interleavings";
/// Schedules a scenario gets where nobody says otherwise.
const SCHEDULES: u64 = 2_000;
/// The slowest scenario does more in a second, on a shared machine.
const SLOWEST: u64 = 100;

pub(crate) struct Explorer {
    built: Built,
    scenarios: Vec<String>,
}

/// What was explored of a scenario.
#[derive(Default)]
pub(crate) struct Explored {
    schedules: u64,
    /// Counted within each run; two runs of different seeds may have some in common.
    different: u64,
    new_late: u64,
    longest: u64,
}

impl Explored {
    /// From the line that a scenario prints of all its schedulers.
    fn read(said: &str) -> Option<Self> {
        let line = said.lines().find_map(|line| line.split_once(" by all: ")).map(|(_, line)| line)?;
        let numbers: Vec<u64> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        let [schedules, different, new_late, longest] = numbers[..] else { return None };
        Some(Self { schedules, different, new_late, longest })
    }

    fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.different += other.different;
        self.new_late += other.new_late;
        self.longest = self.longest.max(other.longest);
    }

    /// Few different ones: either there are no more, or the schedulers do not find them.
    fn remark(&self) -> &'static str {
        match (self.different * 4 < self.schedules, self.new_late) {
            (false, _) => "",
            (true, 0) => "  exhausted",
            (true, _) => "  EXPLORES BADLY: few are different",
        }
    }
}

/// By scenario.
#[derive(Default)]
pub(crate) struct Summary(BTreeMap<String, Explored>);

impl Summary {
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, explored) in &other.0 {
            self.0.entry(name.clone()).or_default().add(explored);
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let sum = |of: fn(&Explored) -> u64| self.0.values().map(of).sum::<u64>();
        let (schedules, different) = (sum(|e| e.schedules), sum(|e| e.different));
        format!("{} scenarios, {schedules} schedules, {different} different", self.0.len())
    }

    pub(crate) fn print(&self) {
        println!("{:<86} {:>10} {:>10} {:>7}", "scenario", "schedules", "different", "longest");
        for (name, explored) in &self.0 {
            let Explored { schedules, different, longest, .. } = explored;
            println!("{name:<86} {schedules:>10} {different:>10} {longest:>7}{}", explored.remark());
        }
    }
}

pub(crate) fn task(args: &[String]) -> Result<(), String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse().map_err(|_| format!("interleavings takes a number, not {word:?}"));
    let (schedules, seed) = match words[..] {
        ["--replay", file] => return replay(Path::new(file)),
        [] => (SCHEDULES, 1),
        [schedules] => (number(schedules)?, 1),
        ["--seed", seed] => (SCHEDULES, number(seed)?),
        [schedules, "--seed", seed] => (number(schedules)?, number(seed)?),
        _ => return Err(format!("interleavings does not take {}", words.join(" "))),
    };
    let explorer = Explorer::build()?;
    let begun = Instant::now();
    let summary = explorer.explore(schedules, seed, None)?;
    summary.print();
    println!("xtask: seed {seed}: {}, took {} s", summary.line(), begun.elapsed().as_secs());
    Ok(())
}

/// Plays the schedule again that the output of a failed scenario tells of.
fn replay(file: &Path) -> Result<(), String> {
    let file = fs::canonicalize(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let said = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let failed = said.lines().find_map(|line| line.split_once("FAILED ")).map(|(_, rest)| rest);
    let name = failed.and_then(|rest| rest.split_once(" by ")).map(|(name, _)| name);
    let name = name.ok_or_else(|| format!("{} does not say which scenario failed", file.display()))?;
    let explorer = Explorer::build()?;
    let again = failures()?.join("replayed.txt");
    let picked = std::env::var("WTCACHE_BUG").ok();
    let path = file.to_string_lossy();
    let mut variables = vec![("WTCACHE_REPLAY", &*path)];
    variables.extend(picked.as_deref().map(|bug| ("WTCACHE_BUG", bug)));
    let ended = explorer.once(name, &variables, &again, Duration::from_secs(60))?;
    print!("{}", fs::read_to_string(&again).unwrap_or_default());
    match ended {
        Ended::Green => {
            println!("xtask: {name} does not fail with this schedule");
            Ok(())
        }
        ended => Err(format!("{name} fails again: {}", told(&ended))),
    }
}

fn told(ended: &Ended) -> String {
    match ended {
        Ended::Green => "green".to_owned(),
        Ended::Red(place) => format!("red at {place}"),
        Ended::Hung => "it hangs".to_owned(),
        Ended::Otherwise(how) => how.clone(),
    }
}

impl Explorer {
    pub(crate) fn build() -> Result<Self, String> {
        let flags = "--cfg wtcache_shuttle --cfg wtcache_bugs";
        let built = built::build("explorer", flags, &["--profile", "explore", "--test", FILE])?;
        let scenarios = built.names(FILE)?;
        Ok(Self { built, scenarios })
    }

    /// Runs one scenario, by its name with or without that of its file.
    pub(crate) fn once(
        &self,
        name: &str,
        variables: &[(&str, &str)],
        said: &Path,
        limit: Duration,
    ) -> Result<Ended, String> {
        let is_it = |full: &&String| *full == name || full.ends_with(&format!("::{name}"));
        let full = self.scenarios.iter().find(is_it).ok_or_else(|| format!("there is no scenario {name}"))?;
        self.built.run(FILE, full, variables, said, limit)
    }

    /// Every scenario, until each had its schedules or, if `until` is given, until then, but each once at least.
    pub(crate) fn explore(&self, schedules: u64, seed: u64, until: Option<Instant>) -> Result<Summary, String> {
        let (next, summary, failure) = (AtomicUsize::new(0), Mutex::new(Summary::default()), Mutex::new(None));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let work = |worker: usize| -> Result<(), String> {
            let said = failures()?.join(format!("interleavings-{worker}.txt"));
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (pass, scenario) = (number / self.scenarios.len(), number % self.scenarios.len());
                let is_over = until.map_or(pass > 0, |until| pass > 0 && Instant::now() >= until);
                if is_over || failure.lock().is_ok_and(|failure| failure.is_some()) {
                    return fs::remove_file(&said).or(Ok(()));
                }
                // Each pass its own seed: never the same schedules twice.
                let seed = (seed + pass as u64).to_string();
                let (name, count) = (&self.scenarios[scenario], schedules.to_string());
                let limit = Duration::from_secs(60 + schedules / SLOWEST);
                let variables = [("WTCACHE_SCHEDULES", &*count), ("WTCACHE_SEED", &*seed)];
                let ended = self.built.run(FILE, name, &variables, &said, limit)?;
                let text = fs::read_to_string(&said).map_err(|error| format!("{}: {error}", said.display()))?;
                match (ended, Explored::read(&text)) {
                    (Ended::Green, Some(explored)) => {
                        let mut summary = summary.lock().expect("nobody panics with it");
                        summary.0.entry(name.clone()).or_default().add(&explored);
                    }
                    (Ended::Green, None) => return Err(format!("{name} does not say what it explored")),
                    (ended, _) => {
                        let kept = failures()?.join(format!("interleavings-{}-{seed}.txt", name.replace("::", "-")));
                        fs::rename(&said, &kept).map_err(|error| format!("{}: {error}", kept.display()))?;
                        let (told, file) = (told(&ended), kept.display());
                        return Err(format!(
                            "{name}, seed {seed}: {told}\n  all it said: {file}\n  again: cargo xtask interleavings --replay {file}"
                        ));
                    }
                }
            }
        };
        thread::scope(|scope| {
            for worker in 0..cores {
                let (work, failure) = (&work, &failure);
                scope.spawn(move || {
                    if let Err(error) = work(worker) {
                        failure.lock().expect("nobody panics with it").get_or_insert(error);
                    }
                });
            }
        });
        match failure.into_inner().expect("nobody panicked with it") {
            Some(error) => Err(error),
            None => Ok(summary.into_inner().expect("nobody panicked with it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_prints_is_read() {
        let said = "test a::b ... explored a::b by random: 1 schedules, 1 different, 0 of them new in the last quarter, longest 9\n\
                    explored a::b by all: 4000 schedules, 800 different, 0 of them new in the last quarter, longest 12\nok";
        let read = Explored::read(said).expect("it is the line that scenarios print");
        assert_eq!((read.schedules, read.different, read.new_late, read.longest), (4000, 800, 0, 12));
        assert_eq!(read.remark(), "  exhausted");
        assert!(Explored::read("explored a::b by all: nothing").is_none());
    }
}
