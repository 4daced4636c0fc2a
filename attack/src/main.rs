//! The command: round after round, until the time is up or one fails.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use wtcache_attack::{Counts, Lie, Report, Script, play, replay, shrink};

const USAGE: &str = "\
Usage: wtcache-attack (--minutes N | --seconds N | --rounds N) [--seed S] [--threads T]
                      [--at-once R] [--failures DIR]
       wtcache-attack --replay FILE [--times N] [--at-once R]

  --seed S       the first seed; each round takes the next (the time)
  --threads T    the threads of a round (2 to 6, by seed)
  --at-once R    rounds side by side (2)
  --failures DIR where a script that failed is kept (here)
";

/// How long a failing script is made smaller.
const SHRINK: Duration = Duration::from_secs(30);
const AT_ONCE: u32 = 2;
const PROGRESS: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Args {
    seconds: Option<u64>,
    rounds: Option<u64>,
    seed: Option<u64>,
    threads: Option<u64>,
    at_once: Option<u32>,
    failures: Option<String>,
    replay: Option<String>,
    times: Option<u32>,
}

fn main() -> ExitCode {
    let args = match Args::parse() {
        Ok(args) => args,
        Err(message) => {
            eprint!("wtcache-attack: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = match &args.replay {
        Some(file) => again(Path::new(file), &args),
        None => attack(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("wtcache-attack: {message}");
            ExitCode::from(2)
        }
    }
}

impl Args {
    fn parse() -> Result<Self, String> {
        let mut args = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} wants a number, not {value:?}"));
            match word.as_str() {
                "--minutes" => args.seconds = Some(number()?.saturating_mul(60)),
                "--seconds" => args.seconds = Some(number()?),
                "--rounds" => args.rounds = Some(number()?),
                "--seed" => args.seed = Some(number()?),
                "--threads" => args.threads = Some(number()?.clamp(1, 64)),
                "--at-once" => args.at_once = u32::try_from(number()?.clamp(1, 64)).ok(),
                "--times" => args.times = u32::try_from(number()?).ok(),
                "--failures" => args.failures = Some(value),
                "--replay" => args.replay = Some(value),
                _ => return Err(format!("there is no option {word:?}")),
            }
        }
        if args.replay.is_none() && args.seconds.is_none() && args.rounds.is_none() {
            return Err("it wants --minutes, --seconds, --rounds or --replay".into());
        }
        Ok(args)
    }
}

fn again(file: &Path, args: &Args) -> Result<bool, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let script = Script::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let (times, at_once) = (args.times.unwrap_or(20), args.at_once.unwrap_or(AT_ONCE));
    let (failed, times) = replay(&script, Lie::None, times, at_once, |finding| println!("{finding}"));
    println!("{failed} of {times} times it failed");
    Ok(failed == 0)
}

/// What the workers share.
struct State {
    counts: Counts,
    /// When progress was last shown.
    shown: Instant,
    /// The first.
    failure: Option<(u64, Report)>,
}

/// True: nothing was found.
fn attack(args: &Args) -> Result<bool, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let first = args.seed.unwrap_or(now.as_secs());
    let threads = args.threads.and_then(|threads| usize::try_from(threads).ok());
    let begun = Instant::now();
    let time = args.seconds.map(Duration::from_secs);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let state = Mutex::new(State { counts: Counts::default(), shown: begun, failure: None });
    println!("from seed {first}");
    thread::scope(|scope| {
        for _ in 0..args.at_once.unwrap_or(AT_ONCE) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && time.is_none_or(|time| begun.elapsed() < time) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if args.rounds.is_some_and(|rounds| number >= rounds) {
                        break;
                    }
                    let seed = first.wrapping_add(number);
                    let report = play(&Script::of_seed(seed, threads), Lie::None);
                    let mut state = state.lock().expect("nobody panics with it");
                    state.counts.add(&report.counts);
                    if !report.findings.is_empty() {
                        stop.store(true, Ordering::Relaxed);
                        state.failure.get_or_insert((seed, report));
                    } else if state.shown.elapsed() >= PROGRESS {
                        state.shown = Instant::now();
                        println!("{:4} s  {}", begun.elapsed().as_secs(), line(&state.counts));
                    }
                }
            });
        }
    });
    let State { counts, failure, .. } = state.into_inner().expect("nobody panicked with it");
    println!("in all, {} s: {}", begun.elapsed().as_secs(), line(&counts));
    println!("faults that struck: {}", faults(&counts));
    println!("{}", for_programs(&counts));
    let Some((seed, report)) = failure else {
        println!("clean");
        return Ok(true);
    };
    println!("seed {seed} failed:");
    for finding in &report.findings {
        println!("{finding}");
    }
    failed(seed, &Script::of_seed(seed, threads), &report, args)?;
    Ok(false)
}

fn failed(seed: u64, script: &Script, report: &Report, args: &Args) -> Result<(), String> {
    println!("making it smaller, {} s at most", SHRINK.as_secs());
    let shrunk = shrink(script, Lie::None, SHRINK, args.at_once.unwrap_or(AT_ONCE));
    let script = &shrunk.script;
    println!("{} {} operations, {} faults:\n{script}", shrunk.how(), script.len(), script.faults.len());
    let file = Path::new(args.failures.as_deref().unwrap_or(".")).join(format!("histories-{seed}.script"));
    let file = file.display();
    std::fs::write(file.to_string(), shrunk.text(seed, &report.findings))
        .map_err(|error| format!("{file}: {error}"))?;
    println!("written to {file}; again with: cargo xtask attack --replay {file} --times 100 --at-once 4");
    Ok(())
}

fn line(counts: &Counts) -> String {
    let c = counts;
    format!(
        "{} rounds ({} discarded), {} operations; reads {} ({} of what was pending, {} failed), left pending {}, applied {}, rejected {} ({} since the record was another), not sent {}, unknown {} ({} \
         landed); loads {} ({} detached); {} rounds with a feed, which told {} changes ({} taken, {} of others told by nobody else); retries {}, {} refused by breakers; faults {}; longest history {}, not searched {}",
        c.rounds,
        c.discarded,
        c.operations,
        c.reads,
        c.reads_pending,
        c.reads_failed,
        c.left_pending,
        c.applied,
        c.rejected,
        c.outdated,
        c.not_sent,
        c.unknown,
        c.unknown_applied,
        c.loads,
        c.loads_detached,
        c.fed,
        c.pushed,
        c.pushed_taken,
        c.told_by_feed,
        c.retries,
        c.breaker_refused,
        c.faults.values().sum::<u64>(),
        c.longest,
        c.too_open,
    )
}

/// The counts by name, for a program to add up.
fn for_programs(counts: &Counts) -> String {
    let c = counts;
    let faults = c.faults.values().sum::<u64>();
    format!(
        "counts rounds={} discarded={} operations={} unknown={} landed={} faults={faults} not-searched={}",
        c.rounds, c.discarded, c.operations, c.unknown, c.unknown_applied, c.too_open,
    )
}

fn faults(counts: &Counts) -> String {
    let list: Vec<_> = counts.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    list.join(", ")
}
