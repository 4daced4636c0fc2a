//! Many keys at once: reads of many, invalidations of many, and refreshes beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::thread;
use wtcache::{
    Batch, Cache, Call, Confirmed, How, LoadCx, LoadMany, Loaded, Outcome, Record, Source, SourceError, Typed, WriteCx,
};
use wtcache_testkit::History;

use super::explore;
use super::world::{Faults, World, pause, play};

type Texts = Typed<String, u64>;

const KEYS: [&str; 2] = ["k:a", "k:b"];

/// An origin of two keys, which loads both with one request.
#[derive(Clone)]
struct Pair(Arc<Mutex<BTreeMap<String, u64>>>);

impl Pair {
    fn set(&self, key: &str, value: u64) {
        pause();
        self.0.lock().expect("nobody panics with it").insert(key.to_owned(), value);
        pause();
    }

    fn value(&self, key: &str) -> u64 {
        pause();
        let value = self.0.lock().expect("nobody panics with it")[key];
        pause();
        value
    }
}

fn found(value: u64) -> Result<Loaded<u64>, SourceError> {
    Ok(Loaded::Found(Record::new(value)))
}

impl Source<Texts> for Pair {
    fn get(&self, key: &String, _: &LoadCx<'_, Texts>) -> Result<Loaded<u64>, SourceError> {
        found(self.value(key))
    }
    fn put(&self, key: &String, value: &u64, _: &WriteCx<'_, Texts>) -> Outcome<Confirmed<u64>> {
        self.set(key, *value);
        Outcome::Applied(Confirmed::Record(Record::new(*value)))
    }
    fn load_many(&self) -> Option<&dyn LoadMany<Texts>> {
        Some(self)
    }
}

impl LoadMany<Texts> for Pair {
    fn get_many(&self, batch: &mut Batch<'_, Texts>) -> Result<(), SourceError> {
        let keys: Vec<String> = batch.keys().cloned().collect();
        for (at, key) in keys.iter().enumerate() {
            batch.answer(at, found(self.value(key)));
        }
        Ok(())
    }
}

/// A cache over the pair, and what its clients saw of each key.
#[derive(Clone)]
struct Two {
    cache: Cache<String, u64>,
    origin: Pair,
    histories: Arc<[History; 2]>,
    next: Arc<AtomicU64>,
}

impl Two {
    fn new() -> Self {
        let origin = Pair(Arc::new(Mutex::new(KEYS.map(|key| (key.to_owned(), 0)).into())));
        let cache = Cache::builder(origin.clone()).clean_start(true).seed(1).shards(2).key_index(true);
        let cache = cache.tags(|_, _, tags| tags.add("t")).build().expect("the options make sense");
        let histories = Arc::new([History::beginning_with(Some(0)), History::beginning_with(Some(0))]);
        Self { cache, origin, histories, next: Arc::new(AtomicU64::new(1)) }
    }

    fn get_many(&self, client: usize) {
        let begun = [0, 1].map(|key| self.histories[key].begins(client));
        let answers = self.cache.get_many(KEYS);
        for (begun, answer) in begun.into_iter().zip(answers) {
            begun.read(answer.expect("no load fails").map(|entry| *entry));
        }
    }

    fn get(&self, client: usize, key: usize) {
        let begun = self.histories[key].begins(client);
        begun.read(self.cache.get(KEYS[key]).expect("no load fails").map(|entry| *entry));
    }

    fn put(&self, client: usize, key: usize) {
        let value = self.next.fetch_add(1, Ordering::Relaxed);
        let begun = self.histories[key].begins(client);
        self.cache.put(KEYS[key], value).expect("every write is applied");
        begun.wrote(Some(value));
    }

    /// Both records change, and the cache is told of both at once.
    fn change_outside(&self, client: usize, forget: fn(&Cache<String, u64>)) {
        let begun = [0, 1].map(|key| self.histories[key].begins(client));
        let value = self.next.fetch_add(1, Ordering::Relaxed);
        KEYS.iter().for_each(|key| self.origin.set(key, value));
        forget(&self.cache);
        begun.into_iter().for_each(|begun| begun.wrote(Some(value)));
    }

    fn check_at_rest(&self) {
        for (key, history) in KEYS.iter().zip(&*self.histories) {
            assert!(history.is_linearizable(), "{key} is not linearizable:\n{history}");
            if let Some(entry) = self.cache.peek(*key) {
                assert_eq!(*entry, self.origin.value(key), "{key} at rest:\n{history}");
            }
        }
    }
}

pub(crate) type Client<W> = Box<dyn FnOnce(&W) + Send>;

pub(crate) fn client<W>(work: impl FnOnce(&W) + Send + 'static) -> Client<W> {
    Box::new(work)
}

/// Runs the clients, each in a thread of its own, to their ends.
pub(crate) fn run_all<W: Clone + Send + 'static>(world: &W, clients: Vec<Client<W>>) {
    let start = |client: Client<W>| {
        let world = world.clone();
        thread::spawn(move || {
            (0..thread_rng().gen_range(0..12)).for_each(|_| pause());
            client(&world);
        })
    };
    let threads: Vec<_> = clients.into_iter().map(start).collect();
    for thread in threads {
        thread.join().expect("no client panics");
    }
}

fn forgotten_by(forget: fn(&Cache<String, u64>)) {
    let two = Two::new();
    run_all(
        &two,
        vec![
            client(move |two: &Two| two.change_outside(1, forget)),
            client(|two: &Two| (0..2).for_each(|_| two.get_many(2))),
            client(|two: &Two| (0..2).for_each(|_| two.get_many(3))),
        ],
    );
    two.check_at_rest();
}

#[test]
fn i1_what_a_prefix_or_a_pattern_forgets_is_not_seen_again() {
    explore(|| {
        forgotten_by(|cache| drop(cache.invalidate_pattern("k:*").map(|forgotten| assert!(!forgotten.scanned))));
        forgotten_by(|cache| assert!(cache.invalidate_pattern("*:*").is_ok_and(|forgotten| forgotten.scanned)));
    });
}

#[test]
fn i1_what_a_tag_forgets_is_not_seen_again() {
    explore(|| forgotten_by(|cache| assert!(!cache.invalidate_tag("t").scanned)));
}

/// Writes that nobody has met but who looks through all keys, and each other.
fn written_beside(forget: fn(&Cache<String, u64>)) {
    let two = Two::new();
    run_all(
        &two,
        vec![
            client(move |two: &Two| two.change_outside(1, forget)),
            client(|two: &Two| (0..2).for_each(|_| two.put(2, 0))),
            client(|two: &Two| (0..2).for_each(|key| two.put(3, key))),
        ],
    );
    two.check_at_rest();
}

#[test]
fn i1_p3_lone_writes_are_met_by_who_forgets_many_keys() {
    explore(|| {
        written_beside(|cache| assert!(!cache.invalidate_tag("t").scanned));
        written_beside(|cache| drop(cache.invalidate_pattern("k:*").map(|forgotten| assert!(!forgotten.scanned))));
    });
}

/// Loads that nobody has met but who looks through all keys, a writer, and each other.
fn loaded_beside(forget: fn(&Cache<String, u64>)) {
    let two = Two::new();
    run_all(
        &two,
        vec![
            client(move |two: &Two| two.change_outside(1, forget)),
            client(|two: &Two| (0..2).for_each(|_| two.get(2, 0))),
            client(|two: &Two| (0..2).for_each(|_| two.get(3, 0))),
            client(|two: &Two| (0..2).for_each(|key| two.get(4, key))),
            client(|two: &Two| two.put(5, 1)),
        ],
    );
    two.check_at_rest();
}

#[test]
fn i1_g3_lone_loads_are_met_by_who_forgets_many_keys() {
    explore(|| {
        loaded_beside(|cache| assert!(!cache.invalidate_tag("t").scanned));
        loaded_beside(|cache| drop(cache.invalidate_pattern("k:*").map(|forgotten| assert!(!forgotten.scanned))));
        loaded_beside(|cache| KEYS.iter().for_each(|key| cache.invalidate(*key)));
    });
}

#[test]
fn g5_many_are_read_beside_writers() {
    explore(|| {
        let two = Two::new();
        run_all(
            &two,
            vec![
                client(|two: &Two| (0..2).for_each(|n| two.put(1, n))),
                client(|two: &Two| two.put(2, 0)),
                client(|two: &Two| (0..2).for_each(|_| two.get_many(3))),
                client(|two: &Two| (0..2).for_each(|_| two.get_many(4))),
            ],
        );
        two.check_at_rest();
    });
}

#[test]
fn g10_what_is_resident_of_many_keys_is_taken_in_one_step() {
    explore(|| {
        let two = Two::new();
        two.get_many(0);
        run_all(
            &two,
            vec![
                client(|two: &Two| {
                    for value in 1..3 {
                        KEYS.iter().for_each(|key| drop(two.cache.put(*key, value).expect("applied")));
                    }
                }),
                client(|two: &Two| {
                    for _ in 0..3 {
                        let reads: Vec<_> = two
                            .cache
                            .read_many(KEYS, &Call::new())
                            .into_iter()
                            .map(|read| read.expect("no load fails"))
                            .collect();
                        if reads.iter().all(|read| read.how == How::Hit) {
                            let values: Vec<u64> =
                                reads.iter().filter_map(|read| read.entry.as_deref().copied()).collect();
                            assert!(values[0] >= values[1], "the first is written before the second: {values:?}");
                        }
                    }
                }),
            ],
        );
    });
}

#[test]
fn f2_f3_stale_records_and_refreshes_beside_writers() {
    explore(|| {
        let world = World::new(Faults { loads_fail: true, ..Faults::NONE }, |builder| {
            let lifetime = Duration::from_secs(4);
            builder.lifetime(lifetime).refresh_ahead(0.5).stale_while_revalidate(lifetime).refreshers(1, 2)
        });
        play(
            &world,
            true,
            vec![
                client(|world: &World| (0..2).for_each(|_| world.put(1))),
                client(|world: &World| world.write_outside(2)),
                client(|world: &World| (0..4).for_each(|_| world.get(3))),
                client(|world: &World| (0..4).for_each(|_| world.get(4))),
                client(|world: &World| world.time_passes(2)),
            ],
        );
        world.check_at_rest();
    });
}
