//! Transactions that share keys in opposite orders, readers of both in between, and what is shown before it is confirmed; steps that are
//! refused and undone, steps that nobody knows the end of, and what is derived from what they write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::thread;
use wtcache::{
    Cache, Confirmed, Declared, Failure, LoadCx, LoadError, Loaded, Optimistic, Outcome, Record, Rejection, Source,
    SourceError, Step, StepDone, StepEnd, Transacted, Typed, UndoEnd, WriteCx,
};
use wtcache_testkit::ManualClock;

use super::explore;
use super::many::client;
use super::world::{Faults, Ints, KEY, Origin, WINDOW, World, pause, play as play_world};

type Texts = Typed<String, u64>;

const KEYS: [&str; 2] = ["a", "b"];
/// What the origin makes of `a`.
const DERIVED: &str = "a:derived";

/// An origin of two records.
#[derive(Clone)]
struct Pair {
    records: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Of some writes nobody hears what became of them.
    loses_answers: bool,
}

impl Pair {
    fn truth(&self) -> BTreeMap<String, u64> {
        self.records.lock().expect("nobody panics with it").clone()
    }
}

impl Source<Texts> for Pair {
    fn get(&self, key: &String, _: &LoadCx<'_, Texts>) -> Result<Loaded<u64>, SourceError> {
        pause();
        let value = self.truth()[key.split(':').next().expect("there is a first part")];
        pause();
        Ok(Loaded::Found(Record::new(value)))
    }

    fn put(&self, key: &String, value: &u64, _: &WriteCx<'_, Texts>) -> Outcome<Confirmed<u64>> {
        let lost = || Outcome::Unknown(SourceError::new(Failure::Broken, "the connection broke"));
        pause();
        let dice = if self.loses_answers { thread_rng().gen_range(0..4) } else { 3 };
        if dice == 0 {
            return lost();
        }
        self.records.lock().expect("nobody panics with it").insert(key.clone(), *value);
        pause();
        if dice == 1 {
            return lost();
        }
        Outcome::Applied(Confirmed::Record(Record::new(*value)))
    }
}

#[derive(Clone)]
struct Two {
    cache: Cache<String, u64>,
    origin: Pair,
    next: Arc<AtomicU64>,
    /// A step was undone that had not been applied.
    wrongly_undone: Arc<AtomicBool>,
}

impl Two {
    fn new() -> Self {
        Self::over(false)
    }

    fn over(loses_answers: bool) -> Self {
        let records = Arc::new(Mutex::new(KEYS.map(|key| (key.to_owned(), 0)).into()));
        let origin = Pair { records, loses_answers };
        let cache = Cache::builder(origin.clone()).clock(ManualClock::new().shared()).clean_start(true).seed(1);
        let cache = cache.shards(2).optimistic(Optimistic::new().threads(2)).build().expect("the options make sense");
        Self { cache, origin, next: Arc::new(AtomicU64::new(1)), wrongly_undone: Arc::default() }
    }

    fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Both records become the same, in this order.
    fn change(&self, keys: [&str; 2], shown_at_once: bool) {
        let value = self.fresh();
        let transaction = self.cache.transaction();
        let transaction = keys.into_iter().fold(transaction, |all, key| all.step(Step::put(key, value)));
        let ended = if shown_at_once { transaction.start().expect("admitted").wait() } else { transaction.run() };
        assert!(ended.is_committed(), "{ended:?}");
    }

    /// A step of neither key, refused or not. `never_undone`: there will be no reason to.
    fn other_step(&self, refused: bool, never_undone: bool) -> Step<Texts> {
        let wrongly = Arc::clone(&self.wrongly_undone);
        let step = Step::call(move |_| match refused {
            true => Outcome::Rejected(Rejection::new(SourceError::new(Failure::Refused, "no"))),
            false => Outcome::Applied(StepDone::new()),
        });
        step.undo(move |_| {
            wrongly.fetch_or(never_undone, Ordering::Relaxed);
            Outcome::Applied(StepDone::new())
        })
    }

    /// Both records become the same, by a step more for the first of them; or nothing of it happens, or all of it is undone.
    fn change_unless_refused(&self) {
        let (first, last, undone) = (self.fresh(), self.fresh(), self.fresh());
        let refused = thread_rng().gen_range(0..3);
        let transaction = self
            .cache
            .transaction()
            .step(self.other_step(refused == 0, refused == 0))
            .step(Step::put("a", first).undo_put("a", undone))
            .step(Step::put("a", last).undo_put("a", first))
            .step(Step::put("b", last).undo_put("b", undone))
            .step(self.other_step(refused == 1, true));
        let shown_at_once = thread_rng().gen_bool(0.5);
        let ended = if shown_at_once { transaction.start().expect("admitted").wait() } else { transaction.run() };
        assert!(
            if refused < 2 { matches!(ended, Transacted::RolledBack(_)) } else { ended.is_committed() },
            "T2: {refused}: {ended:?}"
        );
    }

    /// Changes the first record, and says that what is derived from it is out of date.
    fn change_what_is_derived_from(&self) {
        let transaction = self.cache.transaction().step(Step::put("a", self.fresh()));
        let ended = transaction.invalidate_pattern("a:*").expect("a pattern").run();
        assert!(matches!(ended, Transacted::Committed(_) | Transacted::InDoubt { .. }), "{ended:?}");
    }

    fn get_many(&self) {
        let answers = self.cache.get_many(KEYS);
        match &answers[..] {
            [Ok(Some(a)), Ok(Some(b))] => assert_eq!(**a, **b, "a transaction was seen in part"),
            answers => assert!(
                answers.iter().all(|answer| matches!(answer, Ok(Some(_)) | Err(LoadError::Contended))),
                "no load fails"
            ),
        }
    }

    fn check_at_rest(&self) {
        let truth = self.origin.truth();
        assert_eq!(truth["a"], truth["b"], "the origin has a part");
        for key in KEYS {
            if let Some(entry) = self.cache.peek(key) {
                assert_eq!((*entry, entry.pending_since()), (truth[key], None), "{key} at rest");
            }
        }
        assert_eq!(self.cache.stats().pending, 0);
        assert!(!self.wrongly_undone.load(Ordering::Relaxed), "T2: undone, and never applied");
    }
}

type Client = fn(&Two);

fn play(two: &Two, clients: &[Client]) {
    let threads: Vec<_> = clients
        .iter()
        .map(|client| {
            let (two, client) = (two.clone(), *client);
            thread::spawn(move || client(&two))
        })
        .collect();
    for thread in threads {
        thread.join().expect("a client panicked");
    }
}

#[test]
fn t1_t3_transactions_in_opposite_orders_and_readers_of_both() {
    explore(|| {
        let two = Two::new();
        play(
            &two,
            &[
                |two| two.change(["a", "b"], false),
                |two| two.change(["b", "a"], false),
                |two| (0..2).for_each(|_| two.get_many()),
                |two| KEYS.iter().for_each(|key| two.cache.invalidate(*key)),
            ],
        );
        two.check_at_rest();
    });
}

#[test]
fn t1_o2_transactions_that_are_shown_at_once_come_and_go_whole() {
    explore(|| {
        let two = Two::new();
        let _ = two.cache.get_many(KEYS);
        play(
            &two,
            &[
                |two| two.change(["a", "b"], true),
                |two| two.change(["b", "a"], false),
                |two| (0..3).for_each(|_| two.get_many()),
                |two| two.cache.invalidate("b"),
            ],
        );
        two.check_at_rest();
    });
}

#[test]
fn t1_t2_steps_that_are_refused_are_undone_the_last_first_and_nobody_sees_a_part() {
    explore(|| {
        let two = Two::new();
        let _ = two.cache.get_many(KEYS);
        play(
            &two,
            &[
                |two| (0..2).for_each(|_| two.change_unless_refused()),
                |two| two.change(["b", "a"], false),
                |two| (0..3).for_each(|_| two.get_many()),
                |two| two.cache.invalidate("b"),
            ],
        );
        two.check_at_rest();
    });
}

/// What a single read loads in the midst of a transaction is a part of it.
#[test]
fn t1_single_reads_in_a_transaction_show_no_part_to_readers_of_both() {
    explore(|| {
        let two = Two::new();
        play(
            &two,
            &[
                |two| two.change(["a", "b"], false),
                |two| KEYS.iter().for_each(|key| drop(two.cache.get(*key).expect("no load fails"))),
                |two| (0..3).for_each(|_| two.get_many()),
                |two| two.cache.invalidate("a"),
            ],
        );
        two.check_at_rest();
    });
}

#[test]
fn t4_what_is_derived_from_a_key_is_forgotten_though_nobody_knows_whether_that_was_written() {
    explore(|| {
        let two = Two::over(true);
        play(
            &two,
            &[
                |two| (0..2).for_each(|_| two.change_what_is_derived_from()),
                |two| (0..3).for_each(|_| drop(two.cache.get(DERIVED).expect("no load fails"))),
            ],
        );
        let truth = two.origin.truth()["a"];
        for key in ["a", DERIVED] {
            if let Some(entry) = two.cache.peek(key) {
                assert_eq!(*entry, truth, "T4, D1: {key} at rest");
            }
        }
    });
}

/// Two keys of one cache, each with an origin of its own.
struct Both([Origin; 2]);

impl Both {
    fn of(&self, key: u64) -> &Origin {
        &self.0[usize::from(key != KEY)]
    }
}

impl Source<Ints> for Both {
    fn get(&self, key: &u64, cx: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        self.of(*key).get(key, cx)
    }

    fn put(&self, key: &u64, value: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        self.of(*key).put(key, value, cx)
    }

    fn declared(&self) -> Declared {
        Source::declared(&self.0[0])
    }
}

fn both(faults: Faults) -> [World; 2] {
    let clock = ManualClock::new();
    let mut declared = Declared::default();
    declared.settle_window = WINDOW;
    let origins = [(); 2].map(|()| Origin::new(&clock, faults, declared.clone()));
    let first = World::over(Both(origins.clone()), &origins[0], &clock, |builder| builder);
    let second = World::of(KEY + 1, first.cache.clone(), &origins[1], &clock);
    [first, second]
}

/// Writes both keys, in this order, and says how each is undone. To each key's readers that is one write, or two.
fn transact(worlds: &[World; 2], client: usize, order: [usize; 2]) {
    let values = order.map(|at| (worlds[at].fresh(), worlds[at].fresh()));
    let begun = order.map(|at| [(); 2].map(|()| worlds[at].history.begins(client)));
    let mut transaction = worlds[0].cache.transaction();
    for (at, (value, undone)) in order.into_iter().zip(values) {
        let key = worlds[at].key;
        transaction = transaction.step(Step::put(&key, value).undo_put(&key, undone));
    }
    let ended = transaction.run();
    for ((end, (value, undone)), [write, undo]) in ended.steps().iter().zip(values).zip(begun) {
        match end {
            StepEnd::Applied { undo: told, .. } => {
                write.wrote(Some(value));
                match told {
                    UndoEnd::Applied => undo.wrote(Some(undone)),
                    UndoEnd::Unknown(_) => undo.may_write(Some(undone)),
                    _ => {}
                }
            }
            StepEnd::Unknown { .. } => write.may_write(Some(value)),
            _ => {}
        }
    }
}

#[test]
fn t2_d1_each_key_of_transactions_is_as_if_written_alone_whatever_goes_wrong() {
    explore(|| {
        let worlds = both(Faults { loads_fail: false, loads_panic: false, ..Faults::ALL });
        let [one, other] = [worlds.clone(), worlds.clone()];
        let second = worlds[1].clone();
        play_world(
            &worlds[0],
            // Of what is waited for, nothing needs time to pass; where much does, most steps are too late to be sent.
            false,
            vec![
                client(move |_: &World| (0..2).for_each(|_| transact(&one, 1, [0, 1]))),
                client(move |_: &World| transact(&other, 2, [1, 0])),
                client(|world: &World| (0..3).for_each(|_| world.get(3))),
                client(move |_: &World| {
                    second.put(4);
                    (0..3).for_each(|_| second.get(4));
                }),
                client(|world: &World| world.time_passes(2)),
            ],
        );
        worlds.iter().for_each(World::check_at_rest);
    });
}
