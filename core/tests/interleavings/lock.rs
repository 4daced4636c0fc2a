//! The lock of a shard by itself, with more who wait for it than the other scenarios bring together: it is compiled in here, for nothing of it is public.
//!
//! That nobody waits for ever, shuttle says by itself: it fails where all threads are blocked.

use std::sync::Arc;

use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

use super::explore;

#[path = "../../src/memory/lock.rs"]
mod real;

use real::StripedLock;

/// Two halves, which a writer moves one after the other.
type Halves = [AtomicU64; 2];

fn read(halves: &Halves) -> u64 {
    let [one, other] = [0, 1].map(|half| halves[half].load(Ordering::SeqCst));
    assert_eq!(one, other, "somebody writes beside it");
    one
}

fn write(halves: &Halves) {
    let next = read(halves) + 1;
    halves.iter().for_each(|half| half.store(next, Ordering::SeqCst));
}

/// So many readers and writers, each twice, under a lock for so many threads.
fn crowd(threads: usize, readers: usize, writers: usize) {
    let lock = Arc::new(StripedLock::new([AtomicU64::new(0), AtomicU64::new(0)], threads));
    let start = |work: fn(&StripedLock<Halves>)| {
        let lock = Arc::clone(&lock);
        thread::spawn(move || (0..2).for_each(|_| work(&lock)))
    };
    let reading = (0..readers).map(|_| start(|lock| _ = read(&lock.read())));
    let mut all: Vec<_> = reading.collect();
    all.extend((0..writers).map(|_| start(|lock| write(&lock.write()))));
    all.push(start(|lock| _ = lock.try_read().map(|halves| read(&halves))));
    all.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(read(&lock.read()), 2 * writers as u64, "each write came after those before it");
}

#[test]
fn a_writer_is_alone_and_nobody_waits_for_ever() {
    explore(|| crowd(2, 2, 2));
}

#[test]
fn so_it_is_with_many_writers() {
    explore(|| crowd(4, 1, 4));
}

#[test]
fn so_it_is_with_many_readers_of_one_stripe() {
    explore(|| crowd(1, 4, 1));
}
