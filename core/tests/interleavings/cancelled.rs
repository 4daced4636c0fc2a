//! Calls that are dropped half-way: the futures of the driver for tasks, at each place where they wait.
//!
//! The pool has one place, so that calls of the source wait for it and are dropped there too. Each scenario is played over a blocking
//! source and over an async one, whose own futures are dropped at their deadlines.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use wtcache::tokio::{AsyncCache, Pool};
use wtcache::{Call, Change};

use super::explore;
use super::world::{Client, Faults, Ints, World, client, pause, play};

/// Polls so often at most, and drops it then.
fn half_way<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..thread_rng().gen_range(1..8) {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        (0..thread_rng().gen_range(1..6)).for_each(|_| pause());
    }
    None
}

/// A client that has an async handle.
fn task(pool: &Pool, work: impl FnOnce(&World, &AsyncCache<Ints>) + Send + 'static) -> Client {
    let pool = pool.clone();
    client(move |world| work(world, &world.cache.on_tokio(&pool)))
}

fn get(world: &World, cache: &AsyncCache<Ints>, number: usize, ends: bool) {
    let begun = world.history.begins(number);
    let read = cache.get(&world.key);
    if let Some(Ok(entry)) = if ends { Some(block_on(read)) } else { half_way(read) } {
        begun.read(entry.map(|entry| *entry));
    }
}

fn put(world: &World, cache: &AsyncCache<Ints>, number: usize, ends: bool) {
    let (value, call) = (world.fresh(), Call::new());
    let begun = world.history.begins(number);
    let write = cache.put(&world.key, value, &call);
    match if ends { Some(block_on(write)) } else { half_way(write) } {
        Some(Ok(_)) => begun.wrote(Some(value)),
        Some(Err(error)) if !error.may_be_applied() => {}
        // Dropped before it was sent, it is not sent; after that, it runs on.
        Some(Err(_)) | None => begun.may_write(Some(value)),
    }
}

fn update(world: &World, cache: &AsyncCache<Ints>, number: usize) {
    let (value, call) = (world.fresh(), Call::new());
    let begun = world.history.begins(number);
    match half_way(cache.update(&world.key, move |_| Ok(Change::Put(value)), &call)) {
        Some(Ok(_)) => begun.wrote(Some(value)),
        Some(Err(error)) if !error.may_be_applied() => {}
        Some(Err(_)) | None => begun.may_write(Some(value)),
    }
}

fn readers_are_dropped(world: &World) {
    let pool = Pool::new(1, 4);
    play(
        world,
        // Whoever waits is woken by another, not by time.
        false,
        vec![
            task(&pool, |world, cache| (0..3).for_each(|_| get(world, cache, 1, false))),
            task(&pool, |world, cache| (0..3).for_each(|_| get(world, cache, 2, false))),
            task(&pool, |world, cache| (0..2).for_each(|_| get(world, cache, 3, true))),
            client(|world| {
                world.get(4);
                world.cache.invalidate(&world.key);
                world.get(4);
            }),
        ],
    );
    world.check_at_rest();
}

const READS: Faults = Faults { loads_fail: true, ..Faults::NONE };

#[test]
fn g7_readers_dropped_half_way_are_missed_by_nobody() {
    explore(|| readers_are_dropped(&World::new(READS, |builder| builder)));
}

#[test]
fn g7_readers_dropped_half_way_over_an_async_source() {
    explore(|| readers_are_dropped(&World::awaited(READS)));
}

fn writers_are_dropped(world: &World) {
    let pool = Pool::new(1, 4);
    play(
        world,
        false,
        vec![
            task(&pool, |world, cache| (0..2).for_each(|_| put(world, cache, 1, false))),
            task(&pool, |world, cache| update(world, cache, 2)),
            task(&pool, |world, cache| put(world, cache, 3, true)),
            client(|world| world.put(4)),
            client(|world| (0..3).for_each(|_| world.get(5))),
        ],
    );
    world.check_at_rest();
}

const WRITES: Faults = Faults { writes_refused: true, writes_unknown: true, ..Faults::NONE };

#[test]
fn a2_writers_dropped_half_way_pass_the_turn_or_run_on() {
    explore(|| writers_are_dropped(&World::new(WRITES, |builder| builder)));
}

#[test]
fn a2_writers_dropped_half_way_over_an_async_source() {
    explore(|| writers_are_dropped(&World::awaited(WRITES)));
}

fn tasks_are_dropped_while_time_passes(world: &World) {
    let pool = Pool::new(1, 1);
    play(
        world,
        true,
        vec![
            task(&pool, |world, cache| {
                put(world, cache, 1, false);
                get(world, cache, 1, true);
            }),
            task(&pool, |world, cache| {
                get(world, cache, 2, false);
                update(world, cache, 2);
            }),
            client(|world| {
                world.put(3);
                world.get(3);
            }),
            client(|world| world.time_passes(3)),
        ],
    );
    world.check_at_rest();
}

#[test]
fn a2_g7_tasks_dropped_half_way_while_time_passes() {
    let faults = Faults { loads_linger: true, ..Faults::ALL };
    explore(move || tasks_are_dropped_while_time_passes(&World::new(faults, |builder| builder)));
}

#[test]
fn d1_g7_an_async_source_hangs_while_time_passes() {
    let faults = Faults { loads_hang: true, writes_hang: true, ..Faults::ALL };
    explore(move || tasks_are_dropped_while_time_passes(&World::awaited(faults)));
}
