//! Numbers of threads, by which they are spread over what is striped.
//!
//! A thread has its number from when it first asks until it ends. Invariant: a number below [`OWN_NUMBERS`] is one thread's at a time,
//! and what that thread did comes before what the next one does that has it. Who finds none left has one above, which others may share
//! with it once numbers are taken modulo anything.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many numbers are one thread's alone.
pub(crate) const OWN_NUMBERS: usize = u64::BITS as usize;

const UNASKED: usize = usize::MAX;

thread_local! {
    // Apart from what gives it back: it is read with every hit, and also while the thread ends.
    static MINE: Cell<usize> = const { Cell::new(UNASKED) };
    static GIVES_BACK: GivesBack = const { GivesBack };
}

static NUMBERS: Numbers = Numbers::new();

struct Numbers {
    /// A bit for each number that is a thread's own.
    taken: AtomicU64,
    /// The next of the others.
    next: AtomicUsize,
}

impl Numbers {
    const fn new() -> Self {
        Self { taken: AtomicU64::new(0), next: AtomicUsize::new(OWN_NUMBERS) }
    }

    fn take(&self) -> usize {
        // Acquire: pairs with `give_back`. What the last thread of that number did comes before what this one does.
        let lowest = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        match self.taken.fetch_update(Ordering::Acquire, Ordering::Relaxed, lowest) {
            Ok(before) => before.trailing_ones() as usize,
            Err(_) => self.shared(),
        }
    }

    fn shared(&self) -> usize {
        // Relaxed: a counter that guards no other memory.
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn give_back(&self, number: usize) {
        if number < OWN_NUMBERS {
            self.taken.fetch_and(!(1 << number), Ordering::Release);
        }
    }
}

struct GivesBack;

impl Drop for GivesBack {
    fn drop(&mut self) {
        // What else ends with the thread may still ask.
        NUMBERS.give_back(MINE.replace(NUMBERS.shared()));
    }
}

/// This thread's number: the lowest that no other has, if that is below [`OWN_NUMBERS`].
#[inline]
pub(crate) fn thread_number() -> usize {
    let mine = MINE.get();
    if mine == UNASKED { first() } else { mine }
}

#[cold]
fn first() -> usize {
    let taken = NUMBERS.take();
    // A thread that is about to end gives nothing back any more.
    let number = if GIVES_BACK.try_with(|_| ()).is_ok() {
        taken
    } else {
        NUMBERS.give_back(taken);
        NUMBERS.shared()
    };
    MINE.set(number);
    number
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn the_lowest_that_is_free_is_given_and_each_once() {
        let numbers = Numbers::new();
        let all: Vec<usize> = (0..OWN_NUMBERS + 2).map(|_| numbers.take()).collect();
        assert!(all.iter().copied().eq(0..OWN_NUMBERS + 2));
        for back in [7, OWN_NUMBERS, 3] {
            numbers.give_back(back);
        }
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [3, 7, OWN_NUMBERS + 2]);
    }

    #[test]
    fn threads_at_once_have_different_ones_and_those_of_ended_threads_are_given_again() {
        let (crowd, together) = (OWN_NUMBERS + 10, Barrier::new(OWN_NUMBERS + 10));
        let at_once: HashSet<usize> = std::thread::scope(|scope| {
            let one = || {
                let number = thread_number();
                together.wait();
                assert_eq!(thread_number(), number);
                number
            };
            let threads: Vec<_> = (0..crowd).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        assert_eq!(at_once.len(), crowd);
        let in_turn = (0..crowd).map(|_| std::thread::spawn(thread_number).join().expect("it does not panic"));
        assert!(in_turn.collect::<HashSet<usize>>().len() < crowd);
    }

    #[test]
    fn who_asks_while_its_thread_ends_has_one_that_is_no_others_own() {
        use std::sync::mpsc::{Sender, channel};

        struct Asks(Sender<usize>);
        impl Drop for Asks {
            fn drop(&mut self) {
                self.0.send(thread_number()).expect("the test waits");
            }
        }
        thread_local!(static LAST: Cell<Option<Asks>> = const { Cell::new(None) });
        let (sender, receiver) = channel();
        // What a thread set first goes last: here, after the number.
        let thread = std::thread::spawn(move || {
            LAST.set(Some(Asks(sender)));
            _ = thread_number();
        });
        thread.join().expect("it does not panic");
        assert!(receiver.recv().expect("it asks") >= OWN_NUMBERS);
    }
}
