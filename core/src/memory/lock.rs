//! A lock whose readers do not meet: each thread reads under a count of its own, and a writer waits until all counts are zero.
//!
//! Two threads that read what one lock guards would else pass its word back and forth with every read. A reader counts itself in its stripe, and then
//! looks whether somebody writes; a writer says that it writes, and then looks at the stripes. So one of the two sees the other: the reader then
//! leaves again and waits for its turn at the word, the writer waits for those who read. Where nobody waits, writing costs two steps that lock the bus, however many stripes
//! there are, and reading two.
//!
//! Invariants: the value is changed only by who has the word while all stripes are zero; whoever reads is counted in a stripe since before it saw the
//! word free, or while it had the word itself. All steps on word and stripes are `SeqCst`, for what each side does first is to be seen by the other.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use crossbeam_utils::{Backoff, CachePadded};

use crate::sync::{AtomicU32, AtomicUsize, Condvar, Mutex, Ordering, thread_number};

/// Stripes of a lock at most.
const MOST: usize = 4;

/// Of the word: somebody writes, or is about to.
const HELD: u32 = 1;
/// Somebody sleeps until the word is free, or did.
const AWAITED: u32 = 1 << 1;
/// Who has the word sleeps until the readers have left.
const DRAINS: u32 = 1 << 2;

pub(crate) struct StripedLock<T> {
    word: AtomicU32,
    /// A power of two of them: how many read.
    stripes: Box<[Stripe]>,
    value: UnsafeCell<T>,
    /// Held by who goes to sleep, from before the last look, and by who wakes.
    sleep: Mutex<()>,
    freed: Condvar,
    drained: Condvar,
}

type Stripe = CachePadded<AtomicUsize>;

// SAFETY: the value is reached through guards only, which are given out as an `RwLock<T>` gives out its own: many for reading, or one
// for writing, which may be another thread's than the value's maker.
unsafe impl<T: Send + Sync> Sync for StripedLock<T> {}

impl<T> StripedLock<T> {
    /// A lock for so many threads at once.
    pub(crate) fn new(value: T, threads: usize) -> Self {
        let stripes = threads.clamp(1, MOST).next_power_of_two();
        let stripes = (0..stripes).map(|_| CachePadded::new(AtomicUsize::new(0))).collect();
        let (sleep, freed, drained) = (Mutex::new(()), Condvar::new(), Condvar::new());
        Self { word: AtomicU32::new(0), stripes, value: UnsafeCell::new(value), sleep, freed, drained }
    }

    /// A call of its own, so that all else of a hit is one.
    #[inline(never)]
    pub(crate) fn read(&self) -> Reading<'_, T> {
        let stripe = self.stripe();
        stripe.fetch_add(1, Ordering::SeqCst);
        if self.word.load(Ordering::SeqCst) & HELD != 0 {
            self.wait_to_read(stripe);
        }
        Reading { lock: self, stripe }
    }

    /// The same, if nobody has to be waited for.
    pub(crate) fn try_read(&self) -> Option<Reading<'_, T>> {
        // A look, so that whoever tries again and again does not keep a writer from seeing nobody read.
        if self.word.load(Ordering::Relaxed) & HELD != 0 {
            return None;
        }
        let stripe = self.stripe();
        stripe.fetch_add(1, Ordering::SeqCst);
        if self.word.load(Ordering::SeqCst) & HELD != 0 {
            self.leave(stripe);
            return None;
        }
        Some(Reading { lock: self, stripe })
    }

    #[inline]
    pub(crate) fn write(&self) -> Writing<'_, T> {
        self.take();
        if self.is_read() {
            self.drain();
        }
        Writing { lock: self }
    }

    fn stripe(&self) -> &Stripe {
        &self.stripes[thread_number() & (self.stripes.len() - 1)]
    }

    fn is_read(&self) -> bool {
        self.stripes.iter().any(|stripe| stripe.load(Ordering::SeqCst) != 0)
    }

    /// Takes the word.
    #[inline]
    fn take(&self) {
        if !self.take_at_once(HELD) {
            self.wait();
        }
    }

    #[inline]
    fn take_at_once(&self, held: u32) -> bool {
        self.word.compare_exchange(0, held, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    #[inline]
    fn give_back(&self) {
        if self.word.swap(0, Ordering::SeqCst) & AWAITED != 0 {
            self.wake(&self.freed);
        }
    }

    /// A reader has left, or found that somebody writes.
    #[inline]
    fn leave(&self, stripe: &Stripe) {
        stripe.fetch_sub(1, Ordering::SeqCst);
        if self.word.load(Ordering::SeqCst) & DRAINS != 0 {
            self.wake(&self.drained);
        }
    }

    // Those who wait.

    #[cold]
    fn wait_to_read(&self, stripe: &Stripe) {
        self.leave(stripe);
        let backoff = Backoff::new();
        while !backoff.is_completed() {
            backoff.snooze();
            if self.word.load(Ordering::Relaxed) & HELD != 0 {
                continue;
            }
            stripe.fetch_add(1, Ordering::SeqCst);
            if self.word.load(Ordering::SeqCst) & HELD == 0 {
                return;
            }
            self.leave(stripe);
        }
        // In its turn, among those who write.
        self.take();
        stripe.fetch_add(1, Ordering::SeqCst);
        self.give_back();
    }

    #[cold]
    fn wait(&self) {
        let mut held = HELD;
        loop {
            let backoff = Backoff::new();
            while !backoff.is_completed() {
                if self.word.load(Ordering::Relaxed) == 0 && self.take_at_once(held) {
                    return;
                }
                backoff.snooze();
            }
            // One at a time is woken, who does not know whether others sleep: it leaves the mark that has the next one woken after it.
            held = HELD | AWAITED;
            let sleep = self.sleep.lock();
            if self.word.fetch_or(held, Ordering::SeqCst) & HELD == 0 {
                return;
            }
            drop(self.freed.wait(sleep));
        }
    }

    /// Waits for those who read.
    #[cold]
    fn drain(&self) {
        let backoff = Backoff::new();
        while !backoff.is_completed() {
            if !self.is_read() {
                return;
            }
            backoff.snooze();
        }
        let mut sleep = self.sleep.lock();
        self.word.fetch_or(DRAINS, Ordering::SeqCst);
        while self.is_read() {
            sleep = self.drained.wait(sleep);
        }
        self.word.fetch_and(!DRAINS, Ordering::SeqCst);
    }

    /// Who is to be woken sleeps, or has yet to take a last look, once the mutex was free.
    #[cold]
    fn wake(&self, who: &Condvar) {
        drop(self.sleep.lock());
        who.notify_one();
    }
}

/// Given to those who read.
pub(crate) struct Reading<'a, T> {
    lock: &'a StripedLock<T>,
    stripe: &'a Stripe,
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this reader is counted, so that no writer gets beyond looking at the stripes, and only a writer makes a mutable reference.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Drop for Reading<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.leave(self.stripe);
    }
}

/// Given to the one who writes.
pub(crate) struct Writing<'a, T> {
    lock: &'a StripedLock<T>,
}

impl<T> Deref for Writing<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: as in `deref_mut`.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Writing<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard has the word, of which there is one, and saw all stripes at zero since. Who counts itself in one after that sees the word
        // taken, and leaves without a look at the value. So nobody else has a reference.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Writing<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.give_back();
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
