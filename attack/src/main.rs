//! The command: round after round, until the time is up or one fails.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use wtcache_attack::{Counts, Lie, Report, Script, play, shrink};

const USAGE: &str = "\
Usage: wtcache-attack (--minutes N | --rounds N) [--seed S] [--threads T] [--at-once R]
       wtcache-attack --replay FILE [--times N]

  --seed S       the first seed; each round takes the next (the time)
  --threads T    the threads of a round (2 to 6, by seed)
  --at-once R    rounds side by side (2)
";

/// How long a failing script is made smaller.
const SHRINK: Duration = Duration::from_secs(30);
const PROGRESS: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Args {
    minutes: Option<u64>,
    rounds: Option<u64>,
    seed: Option<u64>,
    threads: Option<u64>,
    at_once: Option<u64>,
    replay: Option<String>,
    times: Option<u64>,
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
        Some(file) => replay(Path::new(file), args.times.unwrap_or(20)),
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
                "--minutes" => args.minutes = Some(number()?),
                "--rounds" => args.rounds = Some(number()?),
                "--seed" => args.seed = Some(number()?),
                "--threads" => args.threads = Some(number()?.clamp(1, 64)),
                "--at-once" => args.at_once = Some(number()?.clamp(1, 64)),
                "--times" => args.times = Some(number()?),
                "--replay" => args.replay = Some(value),
                _ => return Err(format!("there is no option {word:?}")),
            }
        }
        if args.replay.is_none() && args.minutes.is_none() && args.rounds.is_none() {
            return Err("it wants --minutes, --rounds or --replay".into());
        }
        Ok(args)
    }
}

fn replay(file: &Path, times: u64) -> Result<bool, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let script = Script::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut failed = 0;
    for time in 1..=times {
        let report = play(&script, Lie::None);
        failed += u64::from(!report.findings.is_empty());
        for finding in &report.findings {
            println!("time {time}: {finding}");
        }
    }
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
    let time = args.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let state = Mutex::new(State { counts: Counts::default(), shown: begun, failure: None });
    println!("from seed {first}");
    thread::scope(|scope| {
        for _ in 0..args.at_once.unwrap_or(2) {
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
    let Some((seed, report)) = failure else {
        println!("clean");
        return Ok(true);
    };
    println!("seed {seed} failed:");
    for finding in &report.findings {
        println!("{finding}");
    }
    failed(seed, &Script::of_seed(seed, threads), &report)?;
    Ok(false)
}

fn failed(seed: u64, script: &Script, report: &Report) -> Result<(), String> {
    println!("making it smaller, {} s at most", SHRINK.as_secs());
    let shrunk = shrink(script, Lie::None, SHRINK);
    let how = if shrunk.recurs {
        format!("It failed again; made smaller in {} rounds.", shrunk.rounds)
    } else {
        format!("It did not fail again in {} rounds: this is the whole script.", shrunk.rounds)
    };
    let script = &shrunk.script;
    println!("{how} {} operations, {} faults:\n{script}", script.len(), script.faults.len());
    let file = format!("attack-failure-{seed}.txt");
    let mut text = format!("# seed {seed}. {how}\n");
    for finding in &report.findings {
        for line in finding.to_string().lines() {
            text += &format!("# {line}\n");
        }
    }
    text += &script.to_string();
    std::fs::write(&file, text).map_err(|error| format!("{file}: {error}"))?;
    println!("written to {file}; again with: wtcache-attack --replay {file} --times 100");
    Ok(())
}

fn line(counts: &Counts) -> String {
    let c = counts;
    format!(
        "{} rounds ({} discarded), {} operations; reads {} ({} failed), applied {}, rejected {}, not sent {}, unknown {} ({} \
         landed); loads {} ({} detached); faults {}; longest history {}, not searched {}",
        c.rounds,
        c.discarded,
        c.operations,
        c.reads,
        c.reads_failed,
        c.applied,
        c.rejected,
        c.not_sent,
        c.unknown,
        c.unknown_applied,
        c.loads,
        c.loads_detached,
        c.faults.values().sum::<u64>(),
        c.longest,
        c.too_open,
    )
}

fn faults(counts: &Counts) -> String {
    let list: Vec<_> = counts.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    list.join(", ")
}
