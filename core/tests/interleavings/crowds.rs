//! Many at once, on one key: readers of a cold cache, writers whose sends are slow to arrive, and an origin that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::rand::{Rng, thread_rng};
use wtcache::{Clock, Confirmed, Declared, Failure, LoadCx, Loaded, Outcome, Source, SourceError, WriteCx};
use wtcache_testkit::{HourlyClock, ManualClock};

use super::explore;
use super::world::{Client, Faults, Ints, Origin, WINDOW, World, client, pause, play};

fn readers(count: usize) -> Vec<Client> {
    (1..=count).map(|number| client(move |world| world.get(number))).collect()
}

#[test]
fn g2_cold_readers_make_one_load() {
    explore(|| {
        let world = World::new(Faults { loads_linger: true, ..Faults::NONE }, |builder| builder);
        play(&world, false, readers(6));
        let stats = world.cache.stats();
        assert_eq!((stats.loads, stats.loads_detached), (1, 0), "one load is for all");
        world.check_at_rest();
    });
}

#[test]
fn g2_g4_readers_that_sleep_by_the_systems_time_are_all_woken() {
    explore(|| {
        let clock = ManualClock::new();
        let origin = Origin::new(&clock, Faults { loads_linger: true, ..Faults::NONE }, Declared::default());
        let hourly = Arc::new(HourlyClock(clock.clone()));
        let world = World::over(origin.clone(), &origin, &clock, |builder| builder.clock(hourly));
        let mut clients = readers(5);
        clients.push(client(|world| (0..2).for_each(|_| world.cache.invalidate(&world.key))));
        play(&world, false, clients);
        world.check_at_rest();
    });
}

#[test]
fn g2_readers_of_what_is_absent_make_one_load() {
    explore(|| {
        let world = World::new(Faults { loads_linger: true, ..Faults::NONE }, |builder| builder);
        let deleted = world.history.begins(0);
        assert!(world.origin.apply(None, world.clock.now(), None).is_ok());
        deleted.wrote(None);
        play(&world, false, readers(6));
        assert_eq!(world.cache.stats().loads, 1, "that it is absent is remembered");
        world.check_at_rest();
    });
}

/// A source all of whose loads fail.
struct OutOfOrder(Arc<AtomicU64>);

impl Source<Ints> for OutOfOrder {
    fn get(&self, _: &u64, _: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        (0..thread_rng().gen_range(0..12)).for_each(|_| pause());
        Err(SourceError::new(Failure::Failed, number.to_string()))
    }
}

#[test]
fn g2_readers_share_the_error_of_one_load() {
    explore(|| {
        let (clock, loads) = (ManualClock::new(), Arc::new(AtomicU64::new(0)));
        let origin = Origin::new(&clock, Faults::NONE, Declared::default());
        let world = World::over(OutOfOrder(Arc::clone(&loads)), &origin, &clock, |builder| builder);
        let told = Arc::new(AtomicU64::new(0));
        let reader = |_| {
            let told = Arc::clone(&told);
            client(move |world: &World| {
                let Err(wtcache::LoadError::Source(error)) = world.cache.get(&world.key) else {
                    panic!("a load that fails gives its readers the origin's error")
                };
                told.fetch_add(1 << (8 * error.message().parse::<u64>().expect("its number")), Ordering::Relaxed);
            })
        };
        play(&world, false, (0..6).map(reader).collect());
        let (loads, told, stats) = (loads.load(Ordering::Relaxed), told.load(Ordering::Relaxed), world.cache.stats());
        let each: Vec<u64> = (0..8).map(|load| told >> (8 * load) & 0xff).collect();
        assert_eq!(each.iter().sum::<u64>(), 6, "each reader has one error");
        assert_eq!(each.iter().filter(|readers| **readers > 0).count() as u64, loads, "no load is for nobody");
        assert_eq!(stats.loads + stats.joined, 6, "who does not lead joins");
    });
}

/// Sends that reach the origin late, one more than the other.
struct Jitter(Origin);

impl Source<Ints> for Jitter {
    fn get(&self, key: &u64, cx: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        self.0.get(key, cx)
    }

    fn put(&self, key: &u64, value: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        (0..thread_rng().gen_range(0..16)).for_each(|_| pause());
        self.0.put(key, value, cx)
    }

    fn delete(&self, key: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<()> {
        (0..thread_rng().gen_range(0..16)).for_each(|_| pause());
        self.0.delete(key, cx)
    }
}

#[test]
fn p3_eight_writers_whose_sends_are_slow() {
    explore(|| {
        let clock = ManualClock::new();
        let origin = Origin::new(&clock, Faults::NONE, Declared::default());
        let world = World::over(Jitter(origin.clone()), &origin, &clock, |builder| builder);
        let mut clients: Vec<_> = (1..=7).map(|number| client(move |world| world.put(number))).collect();
        clients.push(client(|world| world.delete(8)));
        clients.push(client(|world| (0..3).for_each(|_| world.get(9))));
        play(&world, false, clients);
        world.check_at_rest();
    });
}

#[test]
fn g5_a_slow_write_and_readers_that_refill_behind_it() {
    explore(|| {
        let clock = ManualClock::new();
        let origin = Origin::new(&clock, Faults { loads_linger: true, ..Faults::NONE }, Declared::default());
        let world = World::over(Jitter(origin.clone()), &origin, &clock, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| {
                    world.put(1);
                    world.get(1);
                    world.delete(1);
                    world.get(1);
                }),
                client(|world| (0..3).for_each(|_| world.get(2))),
                // Makes the readers load again.
                client(|world| (0..2).for_each(|_| world.cache.invalidate(&world.key))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn g7_a2_an_origin_that_hangs_and_a_source_that_panics() {
    explore(|| {
        let faults = Faults { loads_hang: true, writes_hang: true, writes_panic: true, ..Faults::NONE };
        let world = World::new(faults, |builder| builder.deadline(WINDOW / 2));
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| {
                    world.update_that_panics();
                    world.update(2);
                }),
                client(|world| (0..2).for_each(|_| world.get(3))),
                client(|world| (0..2).for_each(|_| world.get(4))),
            ],
        );
        world.check_at_rest();
    });
}
