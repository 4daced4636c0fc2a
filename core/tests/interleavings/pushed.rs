//! What the origin tells by itself, beside loads and writes.

use std::time::Duration;

use wtcache::{Builder, Declared, Typed, VersionOrder};

use super::explorer::explore;
use super::world::{Faults, WINDOW, World, client, play};

type Numbers = Typed<u64, u64>;

/// A world whose versions have an order.
fn ordered(faults: Faults, options: fn(Builder<Numbers>) -> Builder<Numbers>) -> World {
    let mut declared = Declared::default();
    declared.settle_window = WINDOW;
    declared.version_order = VersionOrder::Bytes;
    World::declaring(declared, faults, options)
}

#[test]
fn i3_g3_writes_from_outside_that_are_pushed() {
    explore(|| {
        let world = ordered(Faults { loads_fail: true, ..Faults::NONE }, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.write_pushed(1))),
                client(|world| world.write_pushed(2)),
                client(|world| (0..3).for_each(|_| world.get(3))),
                client(|world| (0..3).for_each(|_| world.get(4))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn i3_a_load_of_what_has_expired_beside_pushes() {
    explore(|| {
        let world = ordered(Faults::NONE, |builder| builder.lifetime(Duration::from_secs(1)).stale_if_error(WINDOW));
        world.get(1);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.write_pushed(1))),
                client(|world| {
                    world.clock.advance(Duration::from_secs(1));
                    (0..2).for_each(|_| world.get(2));
                }),
                client(|world| world.get(3)),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn i3_p1_a_push_beside_a_write_in_flight() {
    explore(|| {
        let world = ordered(Faults::NONE, |builder| builder);
        play(
            &world,
            false,
            // Nobody reads: the order of the two is the origin's to know, until the cache is told. Only the rest is checked.
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| (0..2).for_each(|_| world.write_pushed(2))),
            ],
        );
        world.check_at_rest();
    });
}
