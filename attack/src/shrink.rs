//! Makes a failing script smaller.
//!
//! Greedy: a part is left out for good if the failure still comes within some repetitions. How many that are follows from how
//! often the whole script failed. A script is played several times at once, each with an origin and a cache of its own: that
//! disturbs its threads in other ways each time. Races of real time do not always come again, so what is left is smaller, not
//! smallest; a script that fails no more is given back as it was.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::judge::Finding;
use crate::round::play;
use crate::script::Script;
use crate::source::Lie;

/// How often the whole script is played to see how often it fails.
const TRIES: u32 = 40;
/// A candidate is clean after as many rounds in which it would have failed so often.
const EXPECTED: u32 = 3;
const FEWEST: u32 = 4;
const MOST: u32 = 200;

/// What came of it.
pub struct Shrunk {
    /// The smallest script that failed.
    pub script: Script,
    /// Whether the failure came again at all.
    pub recurs: bool,
    /// How many rounds that took.
    pub rounds: u32,
    /// How often the smallest script failed in the end, and of how many rounds.
    pub rate: (u32, u32),
}

impl Shrunk {
    /// The script as a file to replay, with what was found in remarks.
    #[must_use]
    pub fn text(&self, seed: u64, findings: &[Finding]) -> String {
        let mut text = format!("# seed {seed}. {}\n", self.how());
        for line in findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").lines() {
            text += &format!("# {line}\n");
        }
        text + &self.script.to_string()
    }

    /// What came of it, in words.
    #[must_use]
    pub fn how(&self) -> String {
        let Self { rounds, rate: (failed, of), .. } = self;
        if self.recurs {
            format!("It failed again; made smaller in {rounds} rounds. What is left failed {failed} of {of} times.")
        } else {
            format!("It did not fail again in {rounds} rounds: this is the whole script.")
        }
    }
}

/// Shrinks `script`, which failed once, for so long at most, so many rounds at once.
#[must_use]
pub fn shrink(script: &Script, lie: Lie, time: Duration, at_once: u32) -> Shrunk {
    let mut search = Search { lie, at_once, until: Instant::now() + time, repetitions: MOST, rounds: 0 };
    let mut script = script.clone();
    let (failed, of) = search.failures(&script, TRIES, false);
    let recurs = failed > 0;
    search.repetitions = (EXPECTED * of).checked_div(failed).unwrap_or(MOST).clamp(FEWEST, MOST);
    let mut smaller = recurs;
    while smaller && Instant::now() < search.until {
        smaller = search.pass(&mut script, |script| &mut script.threads)
            | search.pass(&mut script, |script| &mut script.disturbances)
            | search.pass(&mut script, |script| &mut script.faults);
        for thread in 0..script.threads.len() {
            smaller |= search.pass(&mut script, |script| &mut script.threads[thread]);
        }
    }
    let rounds = search.rounds;
    search.until = Instant::now() + time;
    let rate = if recurs { search.failures(&script, TRIES, false) } else { (0, 0) };
    Shrunk { script, recurs, rounds, rate }
}

/// Plays a script so often, some of it at once, and counts the rounds that failed, and all.
#[must_use]
pub fn replay(script: &Script, lie: Lie, times: u32, at_once: u32, tell: impl Fn(&Finding) + Sync) -> (u32, u32) {
    let (begun, failed) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, times.max(1)) {
            scope.spawn(|| {
                while begun.fetch_add(1, Ordering::Relaxed) < times {
                    let findings = play(script, lie).findings;
                    failed.fetch_add(u32::from(!findings.is_empty()), Ordering::Relaxed);
                    findings.iter().for_each(&tell);
                }
            });
        }
    });
    (failed.into_inner(), times)
}

struct Search {
    lie: Lie,
    at_once: u32,
    until: Instant,
    repetitions: u32,
    rounds: u32,
}

impl Search {
    fn fails(&mut self, script: &Script) -> bool {
        self.failures(script, self.repetitions, true).0 > 0
    }

    /// How many rounds failed, and of how many: all of `times`, or up to the first that failed, while there is time.
    fn failures(&mut self, script: &Script, times: u32, first: bool) -> (u32, u32) {
        let (mut failed, mut played) = (0, 0);
        while played < times && !(first && failed > 0) && Instant::now() < self.until {
            let (more, of) = replay(script, self.lie, self.at_once.min(times - played), self.at_once, |_| {});
            failed += more;
            played += of;
        }
        self.rounds += played;
        (failed, played)
    }

    /// Leaves out parts of a list, large ones first. True: some.
    fn pass<T>(&mut self, script: &mut Script, list: impl Fn(&mut Script) -> &mut Vec<T>) -> bool {
        let mut any = false;
        let mut size = list(script).len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < list(script).len() {
                let mut candidate = script.clone();
                let parts = list(&mut candidate);
                let end = (at + size).min(parts.len());
                parts.drain(at..end);
                if self.fails(&candidate) {
                    *script = candidate;
                    any = true;
                } else {
                    at += size;
                }
                if Instant::now() >= self.until {
                    return any;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        any
    }
}
