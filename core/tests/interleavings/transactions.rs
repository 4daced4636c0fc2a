//! Transactions that share keys in opposite orders, readers of both in between, and what is shown before it is confirmed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::sync::Mutex;
use shuttle::thread;
use wtcache::{
    Cache, Confirmed, LoadCx, LoadError, Loaded, Optimistic, Outcome, Record, Source, SourceError, Step, Typed, WriteCx,
};
use wtcache_testkit::ManualClock;

use super::explore;
use super::world::pause;

type Texts = Typed<String, u64>;

const KEYS: [&str; 2] = ["a", "b"];

/// An origin of two records.
#[derive(Clone)]
struct Pair(Arc<Mutex<BTreeMap<String, u64>>>);

impl Source<Texts> for Pair {
    fn get(&self, key: &String, _: &LoadCx<'_, Texts>) -> Result<Loaded<u64>, SourceError> {
        pause();
        let value = self.0.lock().expect("nobody panics with it")[key];
        pause();
        Ok(Loaded::Found(Record::new(value)))
    }

    fn put(&self, key: &String, value: &u64, _: &WriteCx<'_, Texts>) -> Outcome<Confirmed<u64>> {
        pause();
        self.0.lock().expect("nobody panics with it").insert(key.clone(), *value);
        pause();
        Outcome::Applied(Confirmed::Record(Record::new(*value)))
    }
}

#[derive(Clone)]
struct Two {
    cache: Cache<String, u64>,
    origin: Pair,
    next: Arc<AtomicU64>,
}

impl Two {
    fn new() -> Self {
        let origin = Pair(Arc::new(Mutex::new(KEYS.map(|key| (key.to_owned(), 0)).into())));
        let cache = Cache::builder(origin.clone()).clock(ManualClock::new().shared()).clean_start(true).seed(1);
        let cache = cache.shards(2).optimistic(Optimistic::new().threads(2)).build().expect("the options make sense");
        Self { cache, origin, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Both records become the same, in this order.
    fn change(&self, keys: [&str; 2], shown_at_once: bool) {
        let value = self.next.fetch_add(1, Ordering::Relaxed);
        let transaction = self.cache.transaction();
        let transaction = keys.into_iter().fold(transaction, |all, key| all.step(Step::put(key, value)));
        let ended = if shown_at_once { transaction.start().expect("admitted").wait() } else { transaction.run() };
        assert!(ended.is_committed(), "{ended:?}");
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
        let truth = self.origin.0.lock().expect("nobody panics with it").clone();
        assert_eq!(truth["a"], truth["b"], "the origin has a part");
        for key in KEYS {
            if let Some(entry) = self.cache.peek(key) {
                assert_eq!((*entry, entry.pending_since()), (truth[key], None), "{key} at rest");
            }
        }
        assert_eq!(self.cache.stats().pending, 0);
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
