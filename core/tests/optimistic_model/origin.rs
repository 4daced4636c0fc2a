//! An origin that answers each write when it is told how, and holds loads as long as it is told.
//!
//! Invariant: of the writes of a key that are here, the one that came first takes the next verdict.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use wtcache::{Confirmed, Failure, Lifetime, LoadCx, Loaded, Outcome, Record, Rejection, Source, SourceError, WriteCx};

use crate::common::Texts;

pub(crate) const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// How long anything may take before something else is wrong.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// What the origin does with a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Applied,
    /// Applied, but its record is not told.
    Unseen,
    Refused,
    RefusedAsStale,
    /// The answer is lost, and it was applied.
    LostApplied,
    /// The answer is lost, and it never was.
    LostBefore,
    /// The answer is lost, and it lands when the test says so.
    LostStray,
}

impl Verdict {
    pub(crate) fn applies(self) -> bool {
        matches!(self, Self::Applied | Self::Unseen)
    }

    pub(crate) fn refuses(self) -> bool {
        matches!(self, Self::Refused | Self::RefusedAsStale)
    }
}

/// A load that is to be held: how it says that it is here, what lets it go, and whether it reads only then.
pub(crate) struct Hold {
    pub(crate) arrives: Box<dyn FnOnce() + Send>,
    pub(crate) goes_on: Receiver<()>,
    pub(crate) reads_late: bool,
}

thread_local! {
    /// The next load of this thread is held so.
    pub(crate) static HOLD: RefCell<Option<Hold>> = const { RefCell::new(None) };
    /// Loads of this thread fail.
    pub(crate) static FAILS: Cell<bool> = const { Cell::new(false) };
}

/// What lets a held load go.
pub(crate) type Release = Sender<()>;

#[derive(Clone, Default)]
pub(crate) struct Origin(Arc<Inner>);

#[derive(Default)]
struct Inner {
    keys: [Key; KEYS.len()],
    /// What it says of how long each record may be served.
    lifetime: OnceLock<Lifetime>,
}

#[derive(Default)]
struct Key {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    truth: Option<String>,
    verdicts: VecDeque<Verdict>,
    /// Writes that are here, in the order in which they came.
    waiting: VecDeque<u64>,
    came: u64,
    strays: Vec<Option<String>>,
}

fn number(key: &str) -> usize {
    KEYS.iter().position(|name| *name == key).expect("a key of the model")
}

impl Origin {
    fn with<T>(&self, key: usize, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.keys[key].state.lock().expect("not poisoned"))
    }

    /// One that says this of each record.
    pub(crate) fn saying(lifetime: Lifetime) -> Self {
        let origin = Self::default();
        origin.0.lifetime.get_or_init(|| lifetime);
        origin
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        self.0.lifetime.get().copied().unwrap_or_default()
    }

    pub(crate) fn record(&self, value: String) -> Record<String> {
        Record::new(value).lifetime(self.lifetime())
    }

    pub(crate) fn truth(&self, key: usize) -> Option<String> {
        self.with(key, |state| state.truth.clone())
    }

    pub(crate) fn set(&self, key: usize, value: Option<String>) {
        self.with(key, |state| state.truth = value);
    }

    /// The first write of the key that is here, or the next that comes, ends so.
    pub(crate) fn says(&self, key: usize, verdict: Verdict) {
        self.with(key, |state| state.verdicts.push_back(verdict));
        self.0.keys[key].changed.notify_all();
    }

    /// Waits until a write of the key is here.
    pub(crate) fn has_write(&self, key: usize) {
        let Key { state, changed } = &self.0.keys[key];
        let none = |state: &mut State| state.waiting.is_empty();
        let state = state.lock().expect("not poisoned");
        let (_state, late) = changed.wait_timeout_while(state, BOUND, none).expect("not poisoned");
        assert!(!late.timed_out(), "no write of {} comes", KEYS[key]);
    }

    /// Waits until all that was said of the key has been told to who writes.
    pub(crate) fn has_answered(&self, key: usize) {
        let Key { state, changed } = &self.0.keys[key];
        let some = |state: &mut State| !state.verdicts.is_empty();
        let state = state.lock().expect("not poisoned");
        let (_state, late) = changed.wait_timeout_while(state, BOUND, some).expect("not poisoned");
        assert!(!late.timed_out(), "no write of {} takes its answer", KEYS[key]);
    }

    /// The oldest stray of the key lands. False: there is none.
    pub(crate) fn lands(&self, key: usize) -> bool {
        self.with(key, |state| {
            let lands = !state.strays.is_empty();
            if lands {
                state.truth = state.strays.remove(0);
            }
            lands
        })
    }

    /// No stray lands any more.
    pub(crate) fn forgets_strays(&self) {
        (0..KEYS.len()).for_each(|key| self.with(key, |state| state.strays.clear()));
    }

    /// A write: true where it was applied and what it left is told.
    pub(crate) fn write(&self, key: usize, value: Option<String>) -> Outcome<bool> {
        let Key { state, changed } = &self.0.keys[key];
        let mut state = state.lock().expect("not poisoned");
        state.came += 1;
        let own = state.came;
        state.waiting.push_back(own);
        changed.notify_all();
        let waits = |state: &mut State| state.waiting.front() != Some(&own) || state.verdicts.is_empty();
        let (mut state, late) = changed.wait_timeout_while(state, BOUND, waits).expect("not poisoned");
        assert!(!late.timed_out(), "nobody says what becomes of it");
        state.waiting.pop_front();
        let verdict = state.verdicts.pop_front().expect("waited for");
        match verdict {
            Verdict::Applied | Verdict::Unseen | Verdict::LostApplied => state.truth = value,
            Verdict::LostStray => state.strays.push(value),
            Verdict::Refused | Verdict::RefusedAsStale | Verdict::LostBefore => {}
        }
        drop(state);
        changed.notify_all();
        let error = |message: &str| SourceError::new(Failure::Refused, message);
        match verdict {
            Verdict::Applied => Outcome::Applied(true),
            Verdict::Unseen => Outcome::Applied(false),
            Verdict::Refused => Outcome::Rejected(Rejection::new(error("refused"))),
            Verdict::RefusedAsStale => Outcome::Rejected(Rejection::stale(error("stale"))),
            Verdict::LostApplied | Verdict::LostBefore | Verdict::LostStray => Outcome::Unknown(error("lost")),
        }
    }
}

impl Source<Texts> for Origin {
    fn get(&self, key: &String, _: &LoadCx<'_, Texts>) -> Result<Loaded<String>, SourceError> {
        if FAILS.get() {
            return Err(SourceError::new(Failure::Failed, "it is in trouble"));
        }
        let key = number(key);
        let mut truth = self.truth(key);
        if let Some(hold) = HOLD.take() {
            (hold.arrives)();
            hold.goes_on.recv_timeout(BOUND).expect("somebody lets it go");
            if hold.reads_late {
                truth = self.truth(key);
            }
        }
        Ok(truth.map_or(Loaded::Absent, |value| Loaded::Found(self.record(value))))
    }

    fn put(&self, key: &String, value: &String, _: &WriteCx<'_, Texts>) -> Outcome<Confirmed<String>> {
        let seen = |seen| if seen { Confirmed::Record(self.record(value.clone())) } else { Confirmed::Unseen };
        self.write(number(key), Some(value.clone())).map(seen)
    }

    fn delete(&self, key: &String, _: &WriteCx<'_, Texts>) -> Outcome<()> {
        self.write(number(key), None).map(drop)
    }
}
