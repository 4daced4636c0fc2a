//! B1, B5: entries of several shards that make room for each other, while others write and forget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use wtcache::{EventKind, KeyEvent};

use super::explore;
use super::world::{Faults, Ints, KEY, World, client, play};

const CAPACITY: u64 = 10;

/// What was told of each key last, by its number. The lock is held for moments in which no schedule turns.
type Last = Arc<Mutex<HashMap<u64, (u64, EventKind)>>>;

/// Two shards, and keys in both. A key weighs what it is; one fills half of the cache, and one all of it.
fn world(last: &Last) -> World {
    let last = Arc::clone(last);
    World::new(Faults::NONE, |builder| {
        let builder = builder.shards(2).capacity(CAPACITY).weigher(|key, _| *key);
        builder.listener(move |event: &KeyEvent<'_, Ints>| {
            let mut last = last.lock().expect("nobody panics with it");
            let told = last.entry(*event.key).or_insert((event.sequence, event.kind));
            if event.sequence > told.0 {
                *told = (event.sequence, event.kind);
            }
        })
    })
}

/// All calls have returned: the cache holds what it may, as much as it says, and what was told last of each key.
fn check_at_rest(world: &World, last: &Last) {
    let keys = 1..=CAPACITY;
    let resident: Vec<u64> = keys.clone().filter(|key| world.cache.peek(key).is_some()).collect();
    let stats = world.cache.stats();
    assert_eq!((stats.weight, stats.entries), (resident.iter().sum(), resident.len() as u64), "{resident:?}");
    assert!(stats.weight <= CAPACITY, "{resident:?} are resident");
    let last = last.lock().expect("nobody panics with it").clone();
    for key in keys {
        let told = last.get(&key).is_some_and(|(_, kind)| match kind {
            EventKind::Put { kept } => *kept,
            EventKind::Retained { .. } => true,
            _ => false,
        });
        assert_eq!(resident.contains(&key), told, "{key} of {resident:?}: {last:?}");
    }
    world.check_at_rest();
}

#[test]
fn b1_b5_shards_make_room_for_each_other() {
    explore(|| {
        let last = Last::default();
        let world = world(&last);
        play(
            &world,
            false,
            vec![
                client(|world| {
                    world.put(1);
                    let _ = world.cache.get(&5);
                    world.get(1);
                }),
                client(|world| {
                    let _ = world.cache.get(&CAPACITY);
                    let _ = world.cache.get(&4);
                }),
                client(|world| [2, 3, 6].iter().for_each(|key| drop(world.cache.get(key)))),
                client(|world| [5, KEY].iter().for_each(|key| world.cache.invalidate(key))),
            ],
        );
        check_at_rest(&world, &last);
    });
}
