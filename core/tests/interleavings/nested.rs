//! Sources that call caches: the one they serve, and one another.
//!
//! A nested call waits for nobody, so these scenarios need no time to pass; but where two caches wait for each other, only
//! their deadlines end that.

use std::sync::{Arc, Mutex, PoisonError};

use shuttle::rand::{Rng, thread_rng};
use wtcache::{
    Call, Confirmed, Declared, Failure, LoadCx, LoadError, Loaded, NotSent, Outcome, Record, Rejection, Source,
    SourceError, WriteCx, WriteError,
};
use wtcache_testkit::ManualClock;

use super::explore;
use super::world::{Faults, Ints, KEY, Origin, WINDOW, World, client, play};

const OTHER: u64 = KEY + 1;
/// Whoever calls from inside a source.
const NESTED: usize = 90;

/// A place for what a source calls. Emptied at the end, for the source and the cache own each other.
struct Shared<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Shared<T> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    fn set(&self, to: Option<T>) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), to);
        drop(before);
    }

    fn get(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().expect("it is set before any call")
    }
}

fn one_in(count: u32) -> bool {
    thread_rng().gen_range(0..count) == 0
}

/// The turn of a key is refused to whoever is called from within it.
fn must_be_reentrant<T>(result: Result<T, WriteError>) {
    match result {
        Err(WriteError::NotSent(NotSent::Reentrant)) => {}
        Ok(_) => panic!("a write from within the turn of its key was sent"),
        Err(error) => panic!("a write from within the turn of its key: {error}"),
    }
}

/// Of two keys, each with an origin; it calls the cache that it serves.
struct Caller {
    origins: [Origin; 2],
    keys: Shared<[World; 2]>,
}

impl Caller {
    fn number(key: u64) -> usize {
        usize::from(key == OTHER)
    }
}

impl Source<Ints> for Caller {
    fn get(&self, key: &u64, cx: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        let (keys, this) = (self.keys.get(), Self::number(*key));
        if one_in(3) {
            keys[this].get(NESTED);
        }
        if one_in(3) {
            keys[1 - this].get(NESTED);
        }
        self.origins[this].get(key, cx)
    }

    fn put(&self, key: &u64, value: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        let (keys, this) = (self.keys.get(), Self::number(*key));
        if one_in(2) {
            let begun = keys[this].history.begins(NESTED);
            if let Ok(entry) = cx.existing() {
                begun.read(entry.map(|entry| *entry));
            }
        }
        if one_in(2) {
            // Its source may read this key back, and write it, which is refused.
            let written = keys[1 - this].put_value(NESTED, keys[1 - this].fresh(), &Call::new());
            if let Err(WriteError::NotSent(why)) = written {
                assert!(matches!(why, NotSent::Busy | NotSent::Reentrant), "a nested write waits: {why}");
            }
        }
        if one_in(2) {
            must_be_reentrant(keys[this].put_value(NESTED, keys[this].fresh(), &Call::new()));
        }
        let outcome = self.origins[this].put(key, value, cx);
        if one_in(2) {
            keys[this].get(NESTED);
        }
        outcome
    }
}

/// Two keys of one cache whose source calls it back.
fn two_keys() -> ([World; 2], Shared<[World; 2]>) {
    let clock = ManualClock::new();
    let origins = [(); 2].map(|()| Origin::new(&clock, Faults::NONE, Declared::default()));
    let keys = Shared::new();
    let source = Caller { origins: origins.clone(), keys: keys.clone() };
    let first = World::over(source, &origins[0], &clock, |builder| builder);
    let second = World::of(OTHER, first.cache.clone(), &origins[1], &clock);
    let worlds = [first, second];
    keys.set(Some(worlds.clone()));
    (worlds, keys)
}

#[test]
fn p5_a_source_that_calls_its_own_cache() {
    explore(|| {
        let ([world, other], keys) = two_keys();
        let both = other.clone();
        play(
            &world,
            // Nothing nested waits: with no time to help, a wait in a circle would be seen.
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(move |_| both.put(2)),
                client(|world| (0..2).for_each(|_| world.get(3))),
                client(|world| {
                    world.cache.invalidate(&KEY);
                    world.cache.invalidate(&OTHER);
                }),
            ],
        );
        world.check_at_rest();
        other.check_at_rest();
        keys.set(None);
    });
}

/// Serves one cache from another.
struct Through(World);

impl Source<Ints> for Through {
    fn get(&self, _: &u64, cx: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        let begun = self.0.history.begins(NESTED);
        match self.0.cache.read(&self.0.key, &Call::new().deadline(cx.remaining())) {
            Ok(read) => {
                let value = read.entry.map(|entry| *entry);
                begun.read(value);
                Ok(value.map_or(Loaded::Absent, |value| Loaded::Found(Record::new(value))))
            }
            Err(LoadError::Source(error)) => Err(error),
            Err(error) => Err(SourceError::new(Failure::Failed, error.to_string())),
        }
    }

    fn put(&self, _: &u64, value: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        match self.0.put_value(NESTED, *value, &Call::new().deadline(cx.remaining())) {
            Ok(written) => Outcome::Applied(match written.entry {
                Some(entry) => Confirmed::Record(Record::new(*entry)),
                None => Confirmed::Unseen,
            }),
            Err(error) => {
                let told = SourceError::new(Failure::Failed, error.to_string());
                if error.may_be_applied() { Outcome::Unknown(told) } else { Outcome::Rejected(Rejection::new(told)) }
            }
        }
    }
}

/// The origin of the cache below, which calls the one above.
struct Under {
    origin: Origin,
    above: Shared<World>,
}

impl Source<Ints> for Under {
    fn get(&self, key: &u64, cx: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        if one_in(3) {
            self.above.get().get(NESTED + 1);
        }
        self.origin.get(key, cx)
    }

    fn put(&self, key: &u64, value: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        let above = self.above.get();
        if one_in(2) {
            above.get(NESTED + 1);
        }
        if one_in(2) {
            must_be_reentrant(above.put_value(NESTED + 1, above.fresh(), &Call::new()));
        }
        let outcome = self.origin.put(key, value, cx);
        if one_in(2) {
            above.get(NESTED + 1);
        }
        outcome
    }
}

#[test]
fn p5_g5_a_cache_over_a_cache_that_reads_it_back() {
    explore(|| {
        let clock = ManualClock::new();
        let faults = Faults { writes_unknown: true, strays: true, writes_refused: true, ..Faults::NONE };
        let origin = Origin::new(&clock, faults, Declared::default());
        let shared = Shared::new();
        let below =
            World::over(Under { origin: origin.clone(), above: shared.clone() }, &origin, &clock, |builder| builder);
        let above = World::over(Through(below.clone()), &origin, &clock, |builder| builder);
        shared.set(Some(above.clone()));
        let reader = below.clone();
        play(
            &above,
            true,
            vec![
                client(|above| (0..2).for_each(|_| above.put(1))),
                client(|above| above.put(2)),
                client(|above| (0..3).for_each(|_| above.get(3))),
                client(move |_| (0..2).for_each(|_| reader.get(4))),
            ],
        );
        below.check_at_rest();
        above.check_at_rest();
        shared.set(None);
    });
}

/// A write of one cache writes the other too.
struct Crossed {
    origin: Origin,
    other: Shared<World>,
}

impl Source<Ints> for Crossed {
    fn get(&self, key: &u64, cx: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        if one_in(2) {
            self.other.get().get(NESTED);
        }
        self.origin.get(key, cx)
    }

    fn put(&self, key: &u64, value: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        self.other.get().put(NESTED);
        self.origin.put(key, value, cx)
    }
}

#[test]
fn p5_two_caches_that_write_each_other_are_parted_by_their_deadlines() {
    explore(|| {
        let clock = ManualClock::new();
        let shared = [(); 2].map(|()| Shared::new());
        let [one, two] = [0, 1].map(|this: usize| {
            let origin = Origin::new(&clock, Faults::NONE, Declared::default());
            let source = Crossed { origin: origin.clone(), other: shared[1 - this].clone() };
            World::over(source, &origin, &clock, |builder| builder.deadline(WINDOW / 5))
        });
        shared[0].set(Some(one.clone()));
        shared[1].set(Some(two.clone()));
        let (writer, reader) = (two.clone(), two.clone());
        play(
            &one,
            true,
            vec![
                client(|one| one.put(1)),
                client(move |_| writer.put(2)),
                client(|one| (0..2).for_each(|_| one.get(3))),
                client(move |_| (0..2).for_each(|_| reader.get(4))),
            ],
        );
        one.check_at_rest();
        two.check_at_rest();
        shared.iter().for_each(|shared| shared.set(None));
    });
}
