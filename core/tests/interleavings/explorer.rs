//! Runs a scenario under many schedules, and says how many different ones there were.
//!
//! Three schedulers share the schedules: a random one, and PCT of depth 3 and 5. What they do follows from the seed, so that a
//! run can be made again, and a later one made different. Invariant: two executions count as one schedule if the same threads
//! were chosen wherever there was a choice.

use std::any::type_name;
use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, Runner};

/// Schedules a scenario gets where nobody says otherwise.
const SCHEDULES: usize = 2_000;
/// The seed where nobody says otherwise: in CI a failure must come from the change that is looked at.
const SEED: u64 = 1;

/// Explores a scenario, or plays the one schedule in the file that WTCACHE_REPLAY names.
///
/// Prints a line for each scheduler and one for all, which `cargo xtask` reads:
/// `explored SCENARIO by SCHEDULER: S schedules, D different, N of them new in the last quarter, longest L`.
pub(crate) fn explore<F: Fn() + Copy + Send + Sync + 'static>(scenario: F) {
    let name = name_of::<F>();
    if let Ok(file) = std::env::var("WTCACHE_REPLAY") {
        println!("plays the schedule of {file} again");
        Runner::new(ReplayScheduler::new_from_encoded(&schedule_in(&file)), config()).run(scenario);
        return;
    }
    let schedules = number("WTCACHE_SCHEDULES").map_or(SCHEDULES, |n| usize::try_from(n).expect("a count"));
    let seed = number("WTCACHE_SEED").unwrap_or(SEED);
    let mut all = HashSet::new();
    let (mut run, mut late, mut longest) = (0, 0, 0);
    let random = |seed| RandomScheduler::new_from_seed(seed, schedules / 4);
    let pct = |depth, share| move |seed| PctScheduler::new_from_seed(seed, depth, share);
    let mut by = |scheduler: &str, tally: Tally| {
        let Tally { schedules, seen, new_late, longest: steps, .. } = tally;
        println!("{}", Line { name, scheduler, schedules, different: seen.len(), late: new_late, longest: steps });
        (run, late, longest) = (run + schedules, late + new_late, longest.max(steps));
        all.extend(seen);
    };
    by("random", schedule(name, "random", seed, schedules / 4, random, scenario));
    by("pct-3", schedule(name, "pct-3", seed, schedules / 2, pct(3, schedules / 2), scenario));
    by("pct-5", schedule(name, "pct-5", seed, schedules / 4, pct(5, schedules / 4), scenario));
    println!("{}", Line { name, scheduler: "all", schedules: run, different: all.len(), late, longest });
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    config
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} wants a number, not {text:?}")))
}

/// The test that a closure stands in: `interleavings::scenarios::g4_readers::{{closure}}` without both ends.
fn name_of<F>() -> &'static str {
    let name = type_name::<F>().trim_end_matches("::{{closure}}");
    name.split_once("::").map_or(name, |(_, name)| name)
}

/// The schedule that shuttle printed when a test failed, in whatever else was printed.
fn schedule_in(file: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let printed = text.split_once("failing schedule:\n\"\n").and_then(|(_, rest)| rest.split_once("\n\""));
    printed.map_or(text.as_str(), |(schedule, _)| schedule).to_owned()
}

fn schedule<S: Scheduler + 'static>(
    name: &str,
    scheduler: &str,
    seed: u64,
    schedules: usize,
    make: impl FnOnce(u64) -> S,
    scenario: impl Fn() + Send + Sync + 'static,
) -> Tally {
    let mut own = Fnv::default();
    for byte in name.bytes().chain(scheduler.bytes()).chain(seed.to_le_bytes()) {
        own.add(byte);
    }
    let tally = Rc::new(RefCell::new(Tally { planned: schedules, ..Tally::default() }));
    let counted = Counted { scheduler: make(own.0), tally: Rc::clone(&tally), chosen: Fnv::default(), choices: None };
    let ended = catch_unwind(AssertUnwindSafe(|| Runner::new(counted, config()).run(scenario)));
    if let Err(panic) = ended {
        eprintln!("FAILED {name} by {scheduler}, schedule {} of seed {seed}", tally.borrow().schedules + 1);
        eprintln!("again, with this output in a file: cargo xtask interleavings --replay FILE");
        resume_unwind(panic);
    }
    tally.take()
}

/// What a scheduler tried.
#[derive(Default)]
struct Tally {
    planned: usize,
    schedules: usize,
    seen: HashSet<u64>,
    /// Different from all before, in the last quarter of those planned.
    new_late: usize,
    /// Choices of the longest schedule.
    longest: usize,
}

/// A scheduler whose choices are counted.
struct Counted<S> {
    scheduler: S,
    tally: Rc<RefCell<Tally>>,
    /// The choices of this execution.
    chosen: Fnv,
    /// How many. None: no execution has begun.
    choices: Option<usize>,
}

impl<S: Scheduler> Scheduler for Counted<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        if let Some(choices) = self.choices.take() {
            let mut tally = self.tally.borrow_mut();
            tally.schedules += 1;
            tally.longest = tally.longest.max(choices);
            let is_late = tally.schedules * 4 > tally.planned * 3;
            let is_new = tally.seen.insert(self.chosen.0);
            tally.new_late += usize::from(is_new && is_late);
        }
        self.chosen = Fnv::default();
        let schedule = self.scheduler.new_execution()?;
        self.choices = Some(0);
        Some(schedule)
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let next = self.scheduler.next_task(runnable, current, is_yielding)?;
        if let (Some(choices), true) = (&mut self.choices, runnable.len() > 1) {
            *choices += 1;
            usize::from(next).to_le_bytes().into_iter().for_each(|byte| self.chosen.add(byte));
        }
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        self.scheduler.next_u64()
    }
}

/// FNV-1a, which is the same on every machine and in every release.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

struct Line<'a> {
    name: &'a str,
    scheduler: &'a str,
    schedules: usize,
    different: usize,
    late: usize,
    longest: usize,
}

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, scheduler, schedules, different, late, longest } = self;
        write!(f, "explored {name} by {scheduler}: {schedules} schedules, {different} different, ")?;
        write!(f, "{late} of them new in the last quarter, longest {longest}")
    }
}
