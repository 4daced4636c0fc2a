//! B5, P5: a listener that calls the cache back, while everything else goes on.

use std::sync::{Arc, Mutex};

use wtcache::{Cache, Call, EventKind, NotSent, WriteError};

use super::explore;
use super::world::{Faults, Ints, KEY, World, play};

type Client = Box<dyn FnOnce(&World) + Send>;

fn client(work: impl FnOnce(&World) + Send + 'static) -> Client {
    Box::new(work)
}

/// What was told of the key, with the way back to the cache. Both locks are held for moments in which no schedule turns.
#[derive(Clone, Default)]
struct Ear {
    told: Arc<Mutex<Vec<(u64, EventKind)>>>,
    back: Arc<Mutex<Option<World>>>,
}

impl Ear {
    fn hear(&self, key: u64, sequence: u64, kind: EventKind) {
        if key == KEY {
            self.told.lock().expect("nobody panics with it").push((sequence, kind));
        }
    }

    fn world(&self) -> Option<World> {
        self.back.lock().expect("nobody panics with it").clone()
    }

    /// The last number says whether something is resident.
    fn check(&self, cache: &Cache<u64, u64>) {
        let mut told = self.told.lock().expect("nobody panics with it").clone();
        told.sort_unstable_by_key(|(sequence, _)| *sequence);
        assert!(told.windows(2).all(|two| two[0].0 < two[1].0), "a number is given twice: {told:?}");
        let resident = told.last().is_some_and(|(_, kind)| match kind {
            EventKind::Put { kept } | EventKind::Deleted { kept } => *kept,
            EventKind::Retained { .. } | EventKind::Differs { .. } => true,
            _ => false,
        });
        let loads = cache.stats().loads;
        let held = cache.peek(&KEY).is_some() || cache.get(&KEY).is_ok() && cache.stats().loads == loads;
        assert_eq!(held, resident, "{told:?}");
    }
}

fn listened(ear: &Ear, faults: Faults, calls_back: bool) -> World {
    let heard = ear.clone();
    let world = World::new(faults, |builder| {
        builder.capacity(2).listener(move |event: &wtcache::KeyEvent<'_, Ints>| {
            heard.hear(*event.key, event.sequence, event.kind);
            if calls_back && let Some(world) = heard.world() {
                call_back(&world, *event.key);
            }
        })
    });
    *ear.back.lock().expect("nobody panics with it") = Some(world.clone());
    world
}

/// A listener's own calls: none of them waits, and none of the key's is sent.
fn call_back(world: &World, key: u64) {
    // As a client of its own.
    if key == KEY {
        world.get(9);
        match world.cache.put(&KEY, 0) {
            Err(WriteError::NotSent(NotSent::Reentrant)) => {}
            Ok(_) => panic!("a write within an event of its own key went out"),
            Err(error) => panic!("refused for another reason: {error}"),
        }
    }
    // Not sent: the origin has one record for all keys.
    match world.cache.prepare(&(KEY + 2), &Call::new()) {
        Ok(prepared) => prepared.abort(),
        Err(NotSent::Busy) => {}
        Err(error) => panic!("refused for another reason: {error}"),
    }
}

#[test]
fn b5_p5_a_listener_that_calls_back() {
    explore(|| {
        let ear = Ear::default();
        let world = listened(&ear, Faults { loads_fail: true, writes_refused: true, ..Faults::NONE }, true);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| (0..2).for_each(|_| world.get(2))),
                client(|world| world.write_outside(3)),
            ],
        );
        // From here on it only listens.
        let _ = ear.back.lock().expect("nobody panics with it").take();
        world.check_at_rest();
        assert_eq!(world.cache.stats().listener_panicked, 0, "the listener's own checks");
    });
}

#[test]
fn b5_numbers_put_the_tellings_in_order() {
    explore(|| {
        let ear = Ear::default();
        let world = listened(&ear, Faults::NONE, false);
        let _ = ear.back.lock().expect("nobody panics with it").take();
        play(
            &world,
            false,
            vec![
                client(|world| world.put(1)),
                client(|world| (0..2).for_each(|_| world.get(2))),
                client(|world| world.cache.invalidate(&KEY)),
                client(|world| world.delete(4)),
            ],
        );
        ear.check(&world.cache);
        world.check_at_rest();
    });
}
