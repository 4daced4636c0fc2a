//! Writes in doubt that are sent again or settled by hand, and writes on a condition.
//!
//! An origin of its own, which remembers what it answered to which idempotency key and knows what became of each write. Invariant: no
//! write takes effect later than the settle window after its send.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::thread;
use wtcache::{
    Cache, Call, Clock, Confirmed, Declared, Expect, Failure, LoadCx, Loaded, Outcome, Record, Rejection, ReplayError,
    Settlement, Source, SourceError, Tick, Unmet, Version, WriteCx, WriteError,
};
use wtcache_testkit::{History, ManualClock};

use super::explore;
use super::world::{DEADLINE, Ints, KEY, WINDOW, pause};

#[derive(Clone)]
struct Origin(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: ManualClock,
    loses_answers: bool,
}

struct State {
    value: u64,
    version: u64,
    /// What was answered to each idempotency key: the value and version that it made, or `None` for a refusal.
    remembered: HashMap<String, Option<(u64, u64)>>,
    /// Sends that are out, by key.
    out: HashMap<String, u32>,
}

impl Origin {
    fn apply(&self, key: &str, value: u64, sent: Tick, expected: Option<u64>) -> Option<(u64, u64)> {
        pause();
        let mut state = self.0.state.lock().expect("nobody panics with it");
        if let Some(answer) = state.remembered.get(key) {
            return *answer;
        }
        let late = self.0.clock.now() >= sent.after(WINDOW);
        let holds = !late && expected.is_none_or(|expected| expected == state.version);
        if holds {
            state.value = value;
            state.version += 1;
        }
        let answer = holds.then_some((state.value, state.version));
        state.remembered.insert(key.to_owned(), answer);
        answer
    }

    /// What became of a write of which no send is out any more.
    fn knows(&self, key: &str) -> Option<Settlement> {
        let state = self.0.state.lock().expect("nobody panics with it");
        let ended = state.out.get(key) == Some(&0);
        let applied = state.remembered.get(key).is_some_and(Option::is_some);
        ended.then_some(if applied { Settlement::Applied } else { Settlement::NotApplied })
    }

    fn sends(&self, key: &str, more: bool) {
        let mut state = self.0.state.lock().expect("nobody panics with it");
        let out = state.out.entry(key.to_owned()).or_default();
        *out = if more { *out + 1 } else { *out - 1 };
    }

    fn value(&self) -> u64 {
        self.0.state.lock().expect("nobody panics with it").value
    }
}

fn error(failure: Failure, text: &str) -> SourceError {
    SourceError::new(failure, text)
}

fn record((value, version): (u64, u64)) -> Record<u64> {
    Record::new(value).version(Version::new(version.to_be_bytes()).expect("eight bytes"))
}

impl Source<Ints> for Origin {
    fn get(&self, _: &u64, _: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        pause();
        let found = {
            let state = self.0.state.lock().expect("nobody panics with it");
            (state.value, state.version)
        };
        pause();
        Ok(Loaded::Found(record(found)))
    }

    fn put(&self, _: &u64, value: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        let (value, sent, key) = (*value, self.0.clock.now(), cx.idempotency_key().to_string());
        let expected = cx.condition().and_then(|condition| match condition {
            wtcache::Condition::Version(version) => version.as_bytes().try_into().ok().map(u64::from_be_bytes),
            _ => None,
        });
        pause();
        self.sends(&key, true);
        let dice = if self.0.loses_answers { thread_rng().gen_range(0..8) } else { 7 };
        let lost = || Outcome::Unknown(error(Failure::Broken, "the connection broke"));
        if dice < 3 {
            // It lands some time later.
            let origin = self.clone();
            thread::spawn(move || {
                (0..thread_rng().gen_range(0..16)).for_each(|_| pause());
                let _ = origin.apply(&key, value, sent, expected);
                origin.sends(&key, false);
            });
            return lost();
        }
        let answer = if dice == 3 { None } else { self.apply(&key, value, sent, expected) };
        self.sends(&key, false);
        pause();
        match answer {
            _ if dice == 3 => Outcome::Rejected(Rejection::new(error(Failure::Refused, "busy"))),
            _ if dice == 4 => lost(),
            Some(made) => Outcome::Applied(Confirmed::Record(record(made))),
            None => Outcome::Rejected(Rejection::stale(error(Failure::Refused, "another version")).of_all_sends()),
        }
    }

    fn declared(&self) -> Declared {
        let mut declared = Declared::default();
        declared.settle_window = WINDOW;
        declared.honours_idempotency = true;
        declared
    }
}

#[derive(Clone)]
struct World {
    cache: Cache<u64, u64>,
    origin: Origin,
    clock: ManualClock,
    history: Arc<History>,
    next: Arc<AtomicU64>,
}

impl World {
    fn new(loses_answers: bool) -> Self {
        let clock = ManualClock::new();
        let state = State { value: 0, version: 1, remembered: HashMap::new(), out: HashMap::new() };
        let origin = Origin(Arc::new(Inner { state: Mutex::new(state), clock: clock.clone(), loses_answers }));
        let builder = Cache::builder(origin.clone()).clock(clock.shared()).clean_start(true).seed(1).shards(1);
        let cache = builder.deadline(DEADLINE).build().expect("the options make sense");
        let history = Arc::new(History::beginning_with(Some(0)));
        Self { cache, origin, clock, history, next: Arc::new(AtomicU64::new(1)) }
    }

    fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn get(&self, client: usize) {
        let begun = self.history.begins(client);
        if let Ok(entry) = self.cache.get(&KEY) {
            begun.read(entry.map(|entry| *entry));
        }
    }

    /// Puts, and if nobody knows what became of it, sends it again. The origin takes both for one write.
    fn put_and_replay(&self, client: usize) {
        let value = self.fresh();
        let begun = self.history.begins(client);
        let doubt = match self.cache.put(&KEY, value) {
            Ok(_) => return begun.wrote(Some(value)),
            Err(WriteError::InDoubt(doubt)) => doubt,
            Err(_) => return,
        };
        (0..thread_rng().gen_range(0..8)).for_each(|_| pause());
        match doubt.replay(&Call::new()) {
            Ok(_) => begun.wrote(Some(value)),
            Err(ReplayError::Rejected(_)) => {}
            Err(_) => begun.may_write(Some(value)),
        }
    }

    /// Puts, and if nobody knows what became of it, asks the origin until that knows, and tells the cache.
    fn put_and_settle(&self, client: usize) {
        let value = self.fresh();
        let begun = self.history.begins(client);
        let doubt = match self.cache.put(&KEY, value) {
            Ok(_) => return begun.wrote(Some(value)),
            Err(WriteError::InDoubt(doubt)) => doubt,
            Err(_) => return,
        };
        let key = doubt.idempotency_key().to_string();
        for _ in 0..40 {
            pause();
            let Some(settlement) = self.origin.knows(&key) else { continue };
            doubt.settle(settlement);
            if settlement == Settlement::Applied {
                begun.wrote(Some(value));
            }
            return;
        }
        begun.may_write(Some(value));
    }

    /// Writes on the condition that the record is still the one that it read.
    fn put_if_unchanged(&self, client: usize) {
        let Ok(Some(entry)) = self.cache.get(&KEY) else { return };
        let version = entry.version().and_then(Version::new).expect("the origin gives versions");
        let (value, begun) = (self.fresh(), self.history.begins(client));
        match self.cache.put_if(&KEY, value, Expect::version(version)) {
            Ok(_) => begun.updated(Some(*entry), Some(value)),
            Err(WriteError::Unmet(Unmet { existing, .. })) => begun.read(existing.map(|entry| *entry)),
            Err(error) => assert!(!error.may_be_applied()),
        }
    }

    fn check_at_rest(&self) {
        assert!(self.history.is_linearizable(), "not linearizable:\n{}", self.history);
        self.clock.advance(WINDOW + DEADLINE);
        let stats = self.cache.stats();
        assert_eq!((stats.in_doubt, stats.writes_open), (0, 0), "every doubt ends with its window");
        let truth = Some(self.origin.value());
        if let Some(entry) = self.cache.peek(&KEY) {
            assert_eq!(Some(*entry), truth, "cache and origin differ at rest:\n{}", self.history);
        }
        let read = self.cache.get(&KEY).expect("loads do well");
        assert_eq!(read.map(|entry| *entry), truth, "at rest:\n{}", self.history);
    }
}

type Client = fn(&World, usize);

fn play(world: &World, clients: &[(Client, usize)]) {
    let run = |(number, (work, times)): (usize, &(Client, usize))| {
        let (world, work, times) = (world.clone(), *work, *times);
        thread::spawn(move || {
            (0..thread_rng().gen_range(0..24)).for_each(|_| pause());
            (0..times).for_each(|_| work(&world, number));
        })
    };
    let threads: Vec<_> = clients.iter().enumerate().map(run).collect();
    for thread in threads {
        thread.join().expect("no client panics");
    }
}

#[test]
fn d3_replays_settle_their_own_write_only() {
    explore(|| {
        let world = World::new(true);
        play(&world, &[(World::put_and_replay, 2), (World::put_and_replay, 2), (World::get, 3), (World::get, 2)]);
        world.check_at_rest();
    });
}

#[test]
fn d3_doubts_are_settled_by_who_knows() {
    explore(|| {
        let world = World::new(true);
        play(&world, &[(World::put_and_settle, 2), (World::put_and_settle, 1), (World::get, 3), (World::get, 3)]);
        world.check_at_rest();
    });
}

#[test]
fn p6_writes_on_a_condition_lose_nothing() {
    explore(|| {
        let world = World::new(false);
        play(&world, &[(World::put_if_unchanged, 2), (World::put_if_unchanged, 2), (World::get, 2)]);
        world.check_at_rest();
    });
}
