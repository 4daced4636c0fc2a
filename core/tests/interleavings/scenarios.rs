//! Readers, writers and what goes wrong at the origin, on one key.

use wtcache::{Declared, InDoubtWrites};

use super::explore;
use super::world::{Faults, KEY, WINDOW, World, client, pause, play};

fn honoured() -> Declared {
    let mut declared = Declared::default();
    declared.settle_window = WINDOW;
    declared.honours_preconditions = true;
    declared.versions_never_reused = true;
    declared
}

#[test]
fn g4_g5_readers_and_writers_of_a_well_behaved_origin() {
    explore(|| {
        let world = World::new(Faults::NONE, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| world.delete(2)),
                client(|world| (0..3).for_each(|_| world.get(3))),
                client(|world| (0..3).for_each(|_| world.get(4))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn d1_d2_d3_unknown_writes_and_strays() {
    explore(|| {
        let world = World::new(Faults::ALL, |builder| builder);
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| world.put(2)),
                client(|world| (0..3).for_each(|_| world.get(3))),
                client(|world| (0..2).for_each(|_| world.get(4))),
                client(|world| world.time_passes(4)),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn d2_writes_wait_for_the_end_of_a_doubt() {
    explore(|| {
        let world =
            World::new(Faults::ALL, |builder| builder.in_doubt_writes(InDoubtWrites::Wait).deadline(WINDOW + WINDOW));
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| world.delete(2)),
                client(|world| (0..3).for_each(|_| world.get(3))),
                client(|world| world.time_passes(12)),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn p6_updates_lose_nothing() {
    explore(|| {
        let world = World::new(Faults::NONE, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.update(1))),
                client(|world| (0..2).for_each(|_| world.update(2))),
                client(|world| (0..2).for_each(|_| world.get(3))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn d3_conditional_updates_settle_doubts_where_declared() {
    explore(|| {
        let world = World::declaring(honoured(), Faults { loads_fail: false, ..Faults::ALL }, |builder| builder);
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.update(1))),
                client(|world| (0..2).for_each(|_| world.update(2))),
                client(|world| (0..3).for_each(|_| world.get(3))),
                client(|world| world.time_passes(3)),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn d3_a_doubt_settles_while_a_later_write_is_out() {
    explore(|| {
        let mut declared = Declared::default();
        declared.settle_window = WINDOW / 10;
        let faults = Faults { strays: true, writes_refused: true, ..Faults::NONE };
        let world = World::declaring(declared, faults, |builder| builder.deadline(WINDOW * 10));
        play(
            &world,
            // Nobody waits for time here: a window that passes once is likely to pass in the middle of a write.
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| world.put(2)),
                client(|world| (0..2).for_each(|_| world.get(3))),
                client(|world| world.window_passes()),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn p7_explicit_permits_end_in_every_way() {
    explore(|| {
        let world = World::new(Faults::NONE, |builder| builder);
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.permit(1))),
                client(|world| world.permit(2)),
                client(|world| (0..3).for_each(|_| world.get(3))),
                client(|world| world.time_passes(4)),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn i1_b3_invalidation_eviction_and_expiry_in_every_gap() {
    explore(|| {
        let world = World::new(Faults { writes_unknown: true, strays: true, ..Faults::NONE }, |builder| {
            builder.capacity(1).lifetime(WINDOW / 2).negative_lifetime(WINDOW / 5)
        });
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| (0..3).for_each(|_| world.get(2))),
                client(|world| (0..2).for_each(|_| world.cache.invalidate(&KEY))),
                // Another key takes the only place.
                client(|world| {
                    let _ = world.cache.get(&(KEY + 1));
                }),
                client(|world| world.time_passes(3)),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn g7_leaders_panic_and_are_late() {
    explore(|| {
        let world = World::new(Faults { loads_panic: true, loads_fail: true, ..Faults::NONE }, |builder| builder);
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.get(1))),
                client(|world| (0..2).for_each(|_| world.get(2))),
                client(|world| (0..2).for_each(|_| world.get(3))),
                client(|world| world.put(4)),
                client(|world| world.time_passes(2)),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn b4_close_during_everything() {
    explore(|| {
        let world = World::new(Faults::ALL, |builder| builder);
        play(
            &world,
            true,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| (0..2).for_each(|_| world.get(2))),
                client(|world| world.permit(3)),
                client(|world| {
                    let _ = world.cache.close(WINDOW);
                }),
                client(|world| world.time_passes(8)),
            ],
        );
        assert!(world.history.is_linearizable(), "not linearizable:\n{}", world.history);
        assert!(world.cache.get(&KEY).is_err());
        assert_eq!(world.cache.stats().entries, 0, "a closed cache holds nothing");
    });
}

#[test]
fn i1_g3_writes_from_outside_that_are_told() {
    explore(|| {
        let world = World::new(Faults { loads_fail: true, ..Faults::NONE }, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.write_outside(1))),
                client(|world| world.write_outside(2)),
                client(|world| (0..3).for_each(|_| world.get(3))),
                client(|world| (0..3).for_each(|_| world.get(4))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn p1_a_write_from_outside_beside_one_in_flight() {
    explore(|| {
        let world = World::new(Faults::NONE, |builder| builder);
        play(
            &world,
            false,
            // Nobody reads: the order of the two is the origin's to know, until the cache is told. Only the rest is checked.
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| (0..2).for_each(|_| world.write_outside(2))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn d3_late_answers_settle_their_own_send_only() {
    explore(|| {
        let world = World::new(Faults { all_stray: true, ..Faults::NONE }, |builder| builder.deadline(WINDOW * 10));
        play(
            &world,
            // What time does must happen here and there, not all the while.
            false,
            vec![
                client(|world| world.overdue_permit(1)),
                client(|world| {
                    world.put(2);
                    (0..2).for_each(|_| world.get(2));
                }),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn d3_no_condition_settles_an_unconditional_stray() {
    explore(|| {
        let faults = Faults { strays: true, ..Faults::NONE };
        let world = World::declaring(honoured(), faults, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| (0..2).for_each(|_| world.update(2))),
                client(|world| (0..3).for_each(|_| world.get(3))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn b1_values_too_heavy_to_keep() {
    explore(|| {
        let world = World::new(Faults::NONE, |builder| {
            builder.capacity(10).weigher(|_, value| if value.is_some_and(|value| value % 2 == 0) { 11 } else { 1 })
        });
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| (0..2).for_each(|_| world.put(2))),
                client(|world| (0..3).for_each(|_| world.get(3))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn g4_readers_moved_while_a_write_is_not_yet_told() {
    explore(|| {
        let world = World::new(Faults { loads_linger: true, ..Faults::NONE }, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.get(1))),
                client(|world| {
                    world.cache.invalidate(&KEY);
                    (0..12).for_each(|_| pause());
                    world.cache.invalidate(&KEY);
                    world.get(2);
                    // Until it is told, hits are of the old value, and moved readers have the new one.
                    world.write_outside(2);
                }),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn d2_strays_land_while_others_write() {
    explore(|| {
        let world = World::new(Faults { strays: true, ..Faults::NONE }, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.put(1))),
                client(|world| world.put(2)),
                client(|world| (0..3).for_each(|_| world.get(3))),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn d3_a_doubt_settles_while_a_load_is_out() {
    explore(|| {
        let world = World::new(Faults { all_stray: true, ..Faults::NONE }, |builder| {
            // The load is not late when the window has passed.
            builder.deadline(WINDOW * 10)
        });
        play(
            &world,
            // What time does must happen here and there, not all the while.
            false,
            vec![
                client(|world| {
                    world.put(1);
                    (0..2).for_each(|_| world.get(1));
                }),
                client(|world| world.window_passes()),
            ],
        );
        world.check_at_rest();
    });
}

#[test]
fn p9_creates_beside_readers_and_writers_of_the_key_that_the_origin_names() {
    explore(|| {
        let world = World::new(Faults::NONE, |builder| builder);
        play(
            &world,
            false,
            vec![
                client(|world| (0..2).for_each(|_| world.create(1))),
                client(|world| world.create(2)),
                client(|world| world.put(3)),
                client(|world| (0..3).for_each(|_| world.get(4))),
                client(|world| (0..3).for_each(|_| world.get(5))),
                client(|world| world.cache.invalidate(&KEY)),
            ],
        );
        world.check_at_rest();
    });
}
