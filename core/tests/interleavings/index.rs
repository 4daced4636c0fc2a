//! An index that is asked while its entries are written, invalidated, evicted and expire: what it finds is read.

use super::explore;
use super::world::{Client, Faults, Ints, KEY, WINDOW, World, client, play};

const PARITY: &str = "parity";

fn indexed(builder: wtcache::Builder<Ints>) -> wtcache::Builder<Ints> {
    builder.indexes([PARITY], |_, value, rows| rows.add(0, &[u8::from(value % 2 == 1)]))
}

/// Asks for even and odd records in turn.
fn finder(number: usize, times: usize) -> Client {
    client(move |world| (0..times).for_each(|time| find(world, number, time % 2 == 1)))
}

fn find(world: &World, number: usize, odd: bool) {
    world.find(number, PARITY, &[u8::from(odd)], |value| (value % 2 == 1) == odd);
}

/// As much is found as is resident.
fn check_at_rest(world: &World) {
    world.check_at_rest();
    let found = [0, 1].map(|row| world.cache.find(PARITY, &[row]).expect("there is such an index").entries);
    let found: Vec<u64> = found.iter().flatten().filter(|entry| *entry.key() == KEY).map(|entry| **entry).collect();
    let resident: Vec<u64> = world.cache.peek(&KEY).iter().map(|entry| **entry).collect();
    assert_eq!(found, resident, "index and store differ at rest");
}

#[test]
fn p1_what_an_index_finds_is_of_the_same_step_as_the_entry() {
    explore(|| {
        let world = World::new(Faults { writes_refused: true, ..Faults::NONE }, indexed);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| world.delete(2)),
                client(|world| (0..2).for_each(|_| world.get(3))),
                finder(4, 4),
                finder(5, 2),
            ],
        );
        check_at_rest(&world);
    });
}

#[test]
fn d1_i1_b3_an_index_shows_nothing_in_doubt_forgotten_evicted_or_expired() {
    explore(|| {
        let faults = Faults { writes_unknown: true, strays: true, ..Faults::NONE };
        let world = World::new(faults, |builder| indexed(builder).capacity(1).lifetime(WINDOW / 2));
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| {
                    world.get(2);
                    // Another key takes the only place.
                    let _ = world.cache.get(&(KEY + 1));
                    world.get(2);
                }),
                client(|world| world.cache.invalidate(&KEY)),
                finder(4, 4),
                client(|world| world.time_passes(3)),
            ],
        );
        check_at_rest(&world);
    });
}
