//! Chapter 5 against a model by brute force: a base, and a list of operations above it.
//!
//! Optimistic writes, other writes, loads, invalidations, evictions and settlements come in random orders on a few keys; after each
//! the cache is asked, and has to say what the model says. The origin answers each write when the test says so, and how. The model keeps no value but the
//! origin's own: what is visible is folded anew from that each time. So a write that left and is still seen, or is missed though it is pending
//! (invariant 3), shows; and so does a confirmed read of what the origin did not have (invariant 1), and a base that is
//! not the origin's at rest (invariant 4).

mod common;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use wtcache::{
    Cache, Confirmed, Failure, LoadCx, Loaded, Optimistic, Outcome, PendingWrite, Record, Rejection, Source,
    SourceError, WriteCx, WriteError,
};
use wtcache_testkit::ManualClock;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const LONG: Duration = Duration::from_secs(1_000_000);

/// What the origin does with a write.
#[derive(Clone, Copy, Debug)]
enum Verdict {
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

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Delete,
    /// Appends.
    Merge,
}

#[derive(Clone, Debug)]
enum Act {
    Optimistic(usize, Kind),
    /// Where nothing is pending: it would wait.
    Through(usize, Kind, Verdict),
    /// The origin answers the write of the key that it has.
    Settle(usize, Verdict),
    /// Takes back the pending write of that place, counted from the second.
    Cancel(usize, usize),
    Invalidate(usize),
    /// Another writer, who tells. Where nothing is pending.
    Outside(usize),
    /// What may still land on the key does.
    Land(usize),
    /// The settle window passes, and what may still land does not.
    Wait,
    Read(usize),
    ReadConfirmed(usize),
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    use Verdict::*;
    prop_oneof![
        4 => Just(Applied), 1 => Just(Unseen), 3 => Just(Refused), 1 => Just(RefusedAsStale),
        1 => Just(LostApplied), 1 => Just(LostBefore), 1 => Just(LostStray),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let key = 0..KEYS.len();
    let kind = prop_oneof![2 => Just(Kind::Put), 1 => Just(Kind::Delete), 3 => Just(Kind::Merge)];
    let act = prop_oneof![
        6 => (key.clone(), kind.clone()).prop_map(|(key, kind)| Act::Optimistic(key, kind)),
        2 => (key.clone(), kind, verdicts()).prop_map(|(key, kind, verdict)| Act::Through(key, kind, verdict)),
        6 => (key.clone(), verdicts()).prop_map(|(key, verdict)| Act::Settle(key, verdict)),
        1 => (key.clone(), 0..3_usize).prop_map(|(key, place)| Act::Cancel(key, place)),
        1 => key.clone().prop_map(Act::Invalidate),
        1 => key.clone().prop_map(Act::Outside),
        1 => key.clone().prop_map(Act::Land),
        1 => Just(Act::Wait),
        2 => key.clone().prop_map(Act::Read),
        2 => key.prop_map(Act::ReadConfirmed),
    ];
    prop::collection::vec(act, 1..60)
}

/// An origin that answers writes when it is told how.
#[derive(Clone, Default)]
struct Origin(Arc<(Mutex<OriginState>, Condvar)>);

#[derive(Default)]
struct OriginState {
    truth: HashMap<String, String>,
    verdicts: HashMap<String, VecDeque<Verdict>>,
    strays: Vec<(String, Option<String>)>,
}

impl OriginState {
    fn set(&mut self, key: &str, value: Option<String>) {
        match value {
            Some(value) => drop(self.truth.insert(key.to_owned(), value)),
            None => drop(self.truth.remove(key)),
        }
    }
}

impl Origin {
    fn with<T>(&self, work: impl FnOnce(&mut OriginState) -> T) -> T {
        work(&mut self.0.0.lock().expect("not poisoned"))
    }

    fn says(&self, key: &str, verdict: Verdict) {
        self.with(|state| state.verdicts.entry(key.to_owned()).or_default().push_back(verdict));
        self.0.1.notify_all();
    }

    fn truth(&self, key: &str) -> Option<String> {
        self.with(|state| state.truth.get(key).cloned())
    }

    fn write<T>(&self, key: &str, value: Option<String>, seen: impl FnOnce() -> T, unseen: T) -> Outcome<T> {
        let waits = |state: &mut OriginState| state.verdicts.get(key).is_none_or(VecDeque::is_empty);
        let state = self.0.0.lock().expect("not poisoned");
        let bound = Duration::from_secs(10);
        let (mut state, late) = self.0.1.wait_timeout_while(state, bound, waits).expect("not poisoned");
        assert!(!late.timed_out(), "nobody says what becomes of it");
        let verdict = state.verdicts.get_mut(key).and_then(VecDeque::pop_front).expect("waited for");
        let error = |message: &str| SourceError::new(Failure::Refused, message);
        match verdict {
            Verdict::Applied | Verdict::Unseen | Verdict::LostApplied => state.set(key, value),
            Verdict::LostStray => state.strays.push((key.to_owned(), value)),
            Verdict::Refused | Verdict::RefusedAsStale | Verdict::LostBefore => {}
        }
        match verdict {
            Verdict::Applied => Outcome::Applied(seen()),
            Verdict::Unseen => Outcome::Applied(unseen),
            Verdict::Refused => Outcome::Rejected(Rejection::new(error("refused"))),
            Verdict::RefusedAsStale => Outcome::Rejected(Rejection::stale(error("stale"))),
            _ => Outcome::Unknown(error("lost")),
        }
    }
}

impl Source<Texts> for Origin {
    fn get(&self, key: &String, _: &LoadCx<'_, Texts>) -> Result<Loaded<String>, SourceError> {
        Ok(self.truth(key).map_or(Loaded::Absent, |value| Loaded::Found(Record::new(value))))
    }

    fn put(&self, key: &String, value: &String, _: &WriteCx<'_, Texts>) -> Outcome<Confirmed<String>> {
        let seen = || Confirmed::Record(Record::new(value.clone()));
        self.write(key, Some(value.clone()), seen, Confirmed::Unseen)
    }

    fn delete(&self, key: &String, _: &WriteCx<'_, Texts>) -> Outcome<()> {
        self.write(key, None, || (), ())
    }
}

/// A pending write, in the model.
struct Above {
    kind: Kind,
    text: String,
    handle: PendingWrite<Texts>,
}

fn applied_to(kind: Kind, text: &str, old: Option<String>) -> Option<String> {
    match kind {
        Kind::Put => Some(text.to_owned()),
        Kind::Delete => None,
        Kind::Merge => Some(old.unwrap_or_default() + text),
    }
}

struct Run {
    origin: Origin,
    clock: ManualClock,
    cache: Cache<String, String>,
    above: [VecDeque<Above>; KEYS.len()],
    written: usize,
}

impl Run {
    fn new(capacity: u64) -> Self {
        let (origin, clock) = (Origin::default(), ManualClock::new());
        let optimistic = Optimistic::new().threads(KEYS.len()).deadline(LONG / 20);
        let builder = Cache::builder(origin.clone()).clock(clock.shared()).clean_start(true);
        let cache = builder.capacity(capacity).shards(1).optimistic(optimistic).build().expect("options");
        Self { origin, clock, cache, above: Default::default(), written: 0 }
    }

    fn text(&mut self) -> String {
        self.written += 1;
        format!("{}.", self.written)
    }

    fn visible(&self, key: usize) -> Option<String> {
        let fold = |old, above: &Above| applied_to(above.kind, &above.text, old);
        self.above[key].iter().fold(self.origin.truth(KEYS[key]), fold)
    }

    fn optimistic(&mut self, key: usize, kind: Kind) {
        let (name, text) = (KEYS[key], self.text());
        let append = text.clone();
        let handle = match kind {
            Kind::Put => self.cache.put_optimistic(name, text.clone()),
            Kind::Delete => self.cache.delete_optimistic(name),
            Kind::Merge => self.cache.merge_optimistic(name, move |old| applied_to(Kind::Merge, &append, old.cloned())),
        };
        self.above[key].push_back(Above { kind, text, handle: handle.expect("admitted") });
    }

    fn through(&mut self, key: usize, kind: Kind, verdict: Verdict) -> Result<(), TestCaseError> {
        if !self.above[key].is_empty() {
            return Ok(());
        }
        let (name, text, before) = (KEYS[key], self.text(), self.origin.truth(KEYS[key]));
        self.origin.says(name, verdict);
        let ended = match kind {
            Kind::Put => self.cache.put(name, text.clone()),
            Kind::Delete => self.cache.delete(name),
            Kind::Merge => self.cache.update(name, |old| {
                let made = applied_to(kind, &text, old.map(|entry| entry.value().clone()));
                Ok(wtcache::Change::Put(made.expect("it appends")))
            }),
        };
        check_outcome(verdict, ended.as_ref().map(drop))?;
        if matches!(verdict, Verdict::Applied | Verdict::Unseen | Verdict::LostApplied) {
            prop_assert_eq!(self.origin.truth(name), applied_to(kind, &text, before));
        }
        Ok(())
    }

    /// The origin answers the first.
    fn settle(&mut self, key: usize, verdict: Verdict) -> Result<(), TestCaseError> {
        let Some(first) = self.above[key].pop_front() else { return Ok(()) };
        self.origin.says(KEYS[key], verdict);
        let ended = spawned(first.handle);
        check_outcome(verdict, ended.as_ref().map(drop))
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match *act {
            Act::Optimistic(key, kind) => self.optimistic(key, kind),
            Act::Through(key, kind, verdict) => self.through(key, kind, verdict)?,
            Act::Settle(key, verdict) => self.settle(key, verdict)?,
            Act::Cancel(key, place) => {
                if let Some(above) = self.above[key].get(place + 1) {
                    prop_assert!(above.handle.cancel(), "it waits for its turn");
                    let above = self.above[key].remove(place + 1).expect("it is there");
                    prop_assert!(matches!(spawned(above.handle), Err(WriteError::NotSent(_))));
                }
            }
            Act::Invalidate(key) => self.cache.invalidate(KEYS[key]),
            Act::Outside(key) => {
                if self.above[key].is_empty() {
                    let text = self.text();
                    self.origin.with(|state| state.set(KEYS[key], Some(text)));
                    self.cache.invalidate(KEYS[key]);
                }
            }
            Act::Land(key) => self.origin.with(|state| {
                if let Some(place) = state.strays.iter().position(|(other, _)| other == KEYS[key]) {
                    let (other, value) = state.strays.remove(place);
                    state.set(&other, value);
                }
            }),
            Act::Wait => {
                self.origin.with(|state| state.strays.clear());
                self.clock.advance(secs(11));
            }
            Act::Read(key) => prop_assert_eq!(text(self.cache.get(KEYS[key])), self.visible(key), "visible"),
            Act::ReadConfirmed(key) => {
                prop_assert_eq!(text(self.cache.get_confirmed(KEYS[key])), self.origin.truth(KEYS[key]), "confirmed");
            }
        }
        Ok(())
    }

    /// What is here without asking anybody is right, and what is pending is marked.
    fn check(&self) -> Result<(), TestCaseError> {
        for (key, name) in KEYS.iter().enumerate() {
            if let Some(entry) = self.cache.peek(*name) {
                prop_assert_eq!(Some(entry.value().clone()), self.visible(key), "{} as it is here", name);
                prop_assert_eq!(entry.pending_since().is_some(), !self.above[key].is_empty(), "{} marked", name);
            }
        }
        let pending: usize = self.above.iter().map(VecDeque::len).sum();
        prop_assert_eq!(self.cache.stats().pending, pending as u64);
        Ok(())
    }

    /// All that is left is applied.
    fn ends(&mut self) -> Result<(), TestCaseError> {
        for key in 0..KEYS.len() {
            while !self.above[key].is_empty() {
                self.settle(key, Verdict::Applied)?;
                self.check()?;
            }
        }
        self.act(&Act::Wait)?;
        prop_assert_eq!(self.cache.stats().in_doubt, 0);
        for (key, name) in KEYS.iter().enumerate() {
            self.act(&Act::Read(key))?;
            prop_assert_eq!(text(self.cache.get_confirmed(*name)), self.origin.truth(name));
        }
        Ok(())
    }
}

fn spawned(handle: PendingWrite<Texts>) -> Result<wtcache::Written<Texts>, WriteError<Texts>> {
    wtcache_testkit::spawn(move || handle.wait()).join()
}

fn check_outcome(verdict: Verdict, ended: Result<(), &WriteError<Texts>>) -> Result<(), TestCaseError> {
    let right = match verdict {
        Verdict::Applied | Verdict::Unseen => ended.is_ok(),
        Verdict::Refused | Verdict::RefusedAsStale => matches!(ended, Err(WriteError::Rejected(_))),
        _ => matches!(ended, Err(WriteError::InDoubt(_))),
    };
    prop_assert!(right, "{:?} ended as {:?}", verdict, ended);
    Ok(())
}

#[test]
fn o2_o3_what_is_shown_is_the_base_with_the_pending_writes_above_it() {
    let config = Config { cases: 200, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    proptest!(config, |(acts in acts(), capacity in 1..5_u64)| {
        let mut run = Run::new(capacity);
        for act in &acts {
            run.act(act)?;
            run.check()?;
        }
        run.ends()?;
    });
}
