//! A lock whose readers do not meet: each thread reads under a stripe of its own, and a writer takes all stripes.
//!
//! Two threads that read what one lock guards would else pass its word back and forth with every read. It costs a writer as many
//! locks as there are stripes, which are few: at most one a core, and never more than [`MOST`].
//!
//! Invariants: whoever looks at the value holds at least one stripe for reading, or all for writing; all take stripes in their order, so that two
//! writers never wait for each other crosswise. The order of memory is that of the stripes' own locks.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use crossbeam_utils::CachePadded;

use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, thread_number};

/// Stripes of a lock at most.
const MOST: usize = 4;

pub(crate) struct StripedLock<T> {
    /// A power of two of them.
    stripes: Box<[CachePadded<RwLock<()>>]>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through guards only, which are given out as an `RwLock<T>` gives out its own: many for reading, or one
// for writing, which may be another thread's than the value's maker.
unsafe impl<T: Send + Sync> Sync for StripedLock<T> {}

impl<T> StripedLock<T> {
    /// A lock for so many threads at once.
    pub(crate) fn new(value: T, threads: usize) -> Self {
        let stripes = threads.clamp(1, MOST).next_power_of_two();
        let stripes = (0..stripes).map(|_| CachePadded::new(RwLock::new(()))).collect();
        Self { stripes, value: UnsafeCell::new(value) }
    }

    pub(crate) fn read(&self) -> Reading<'_, T> {
        let stripe = self.stripes[thread_number() & (self.stripes.len() - 1)].read();
        // SAFETY: while a stripe is held for reading, no writer holds all of them, and only a writer makes a mutable reference.
        Reading { value: unsafe { &*self.value.get() }, _stripe: stripe }
    }

    /// The same, if nobody has to be waited for.
    pub(crate) fn try_read(&self) -> Option<Reading<'_, T>> {
        let stripe = self.stripes[thread_number() & (self.stripes.len() - 1)].try_read()?;
        // SAFETY: as in `read`.
        Some(Reading { value: unsafe { &*self.value.get() }, _stripe: stripe })
    }

    pub(crate) fn write(&self) -> Writing<'_, T> {
        let mut stripes = self.stripes.iter();
        let mut next = || stripes.next().map(|stripe| stripe.write());
        let first = (next(), next());
        // By branches: a loop costs a machine of few cores as much as its locks do.
        let rest = if self.stripes.len() > 2 { Some((next(), next())) } else { None };
        // SAFETY: all stripes are held for writing, there being four at most, so that nobody else holds any: no other reference to the
        // value exists, and none is made before this one is gone with its guard.
        Writing { value: unsafe { &mut *self.value.get() }, _stripes: (first, rest) }
    }
}

/// Given to those who read.
pub(crate) struct Reading<'a, T> {
    value: &'a T,
    _stripe: RwLockReadGuard<'a, ()>,
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

type Two<'a> = (Option<RwLockWriteGuard<'a, ()>>, Option<RwLockWriteGuard<'a, ()>>);

const _: () = assert!(MOST == 4, "a writer takes two and two");

/// Given to the one who writes.
pub(crate) struct Writing<'a, T> {
    value: &'a mut T,
    _stripes: (Two<'a>, Option<Two<'a>>),
}

impl<T> Deref for Writing<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> DerefMut for Writing<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
    }
}

#[cfg(all(test, not(wtcache_shuttle)))]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread::yield_now;

    use super::*;

    #[test]
    fn writers_are_alone_and_readers_see_whole_writes() {
        for threads in [1, 2, 3, 16] {
            // Atomics, so that a lock that lets two in is a failure and no undefined behaviour.
            let lock = StripedLock::new([AtomicU64::new(0), AtomicU64::new(0)], threads);
            assert!(lock.stripes.len() <= MOST && lock.stripes.len().is_power_of_two());
            let both = |one: &[AtomicU64; 2]| {
                let first = one[0].load(Ordering::Relaxed);
                yield_now();
                assert_eq!(first, one[1].load(Ordering::Relaxed));
                first
            };
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for _ in 0..1_000 {
                            let one = lock.write();
                            let next = both(&one) + 1;
                            one[0].store(next, Ordering::Relaxed);
                            yield_now();
                            one[1].store(next, Ordering::Relaxed);
                        }
                    });
                    scope.spawn(|| (0..1_000).for_each(|_| _ = both(&lock.read())));
                }
            });
            assert_eq!(both(&lock.read()), 3_000);
            {
                let _reading = lock.read();
                assert!(lock.try_read().is_some(), "readers do not meet");
            }
            let _writing = lock.write();
            assert!(lock.try_read().is_none());
        }
    }
}
