//! Makes a failing script smaller.
//!
//! Greedy: a part is left out for good if the failure still comes within some repetitions. Races of real time do not always
//! come again, so what is left is smaller, not smallest; a script that fails no more is given back as it was.

use std::time::{Duration, Instant};

use crate::round::play;
use crate::script::Script;
use crate::source::Lie;

/// How often a candidate is played before it counts as clean.
const REPETITIONS: u32 = 20;

/// What came of it.
pub struct Shrunk {
    /// The smallest script that failed.
    pub script: Script,
    /// Whether the failure came again at all.
    pub recurs: bool,
    /// How many rounds that took.
    pub rounds: u32,
}

/// Shrinks `script`, which failed once, for so long at most.
#[must_use]
pub fn shrink(script: &Script, lie: Lie, time: Duration) -> Shrunk {
    let mut search = Search { lie, until: Instant::now() + time, rounds: 0 };
    let mut script = script.clone();
    let recurs = search.fails(&script);
    let mut smaller = recurs;
    while smaller && Instant::now() < search.until {
        smaller = search.pass(&mut script, |script| &mut script.threads)
            | search.pass(&mut script, |script| &mut script.disturbances)
            | search.pass(&mut script, |script| &mut script.faults);
        for thread in 0..script.threads.len() {
            smaller |= search.pass(&mut script, |script| &mut script.threads[thread]);
        }
    }
    Shrunk { script, recurs, rounds: search.rounds }
}

struct Search {
    lie: Lie,
    until: Instant,
    rounds: u32,
}

impl Search {
    fn fails(&mut self, script: &Script) -> bool {
        for _ in 0..REPETITIONS {
            if Instant::now() >= self.until {
                break;
            }
            self.rounds += 1;
            if !play(script, self.lie).findings.is_empty() {
                return true;
            }
        }
        false
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
