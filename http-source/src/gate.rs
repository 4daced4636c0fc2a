//! How many requests of a source are at the origin at once, and how many wait for their turn.
//!
//! Invariants: no more than `most` places are out; nobody overtakes who waits; who leaves the queue, by a place or by the
//! deadline, is in it no more. No lock is held while anyone waits or is woken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use wtcache::{Clock, Tick};

use crate::wait::Parker;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// As many wait as may.
    Full,
    /// The deadline came first.
    TimedOut,
}

pub(crate) struct Gate {
    most: usize,
    most_queued: usize,
    /// Held for moments only.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Places that are taken.
    out: usize,
    queue: VecDeque<Arc<Ticket>>,
}

/// One who waits.
struct Ticket {
    /// A place was handed over. Written under the gate's lock.
    given: AtomicBool,
    waker: Waker,
}

/// The right to send a request; given back when dropped.
pub(crate) struct Place<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new(most: usize, most_queued: usize) -> Self {
        Self { most, most_queued, state: Mutex::default() }
    }

    /// A place, waited for until `end`.
    pub(crate) fn enter(&self, clock: &dyn Clock, end: Tick) -> Result<Place<'_>, NoPlace> {
        let (parker, ticket) = {
            let mut state = self.state();
            if state.out < self.most {
                state.out += 1;
                return Ok(Place(self));
            }
            if state.queue.len() >= self.most_queued {
                return Err(NoPlace::Full);
            }
            let parker = Parker::new();
            let ticket = Arc::new(Ticket { given: AtomicBool::new(false), waker: parker.waker().clone() });
            state.queue.push_back(Arc::clone(&ticket));
            (parker, ticket)
        };
        loop {
            // Acquire: what the one before did with the place comes first; pairs with the release in `leave`.
            if ticket.given.load(Ordering::Acquire) {
                return Ok(Place(self));
            }
            if clock.now() >= end {
                let mut state = self.state();
                let Some(at) = state.queue.iter().position(|other| Arc::ptr_eq(other, &ticket)) else {
                    // It was handed over meanwhile: whoever has it passes it on.
                    return Ok(Place(self));
                };
                state.queue.remove(at);
                return Err(NoPlace::TimedOut);
            }
            parker.wait(clock, end);
        }
    }

    /// How many places are taken, and how many callers wait for one.
    pub(crate) fn crowd(&self) -> (usize, usize) {
        let state = self.state();
        (state.out, state.queue.len())
    }

    fn leave(&self) {
        let next = {
            let mut state = self.state();
            let next = state.queue.pop_front();
            match &next {
                // The place goes from one to the other.
                Some(ticket) => ticket.given.store(true, Ordering::Release),
                None => state.out -= 1,
            }
            next
        };
        if let Some(ticket) = next {
            ticket.waker.wake_by_ref();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wtcache_testkit::{ManualClock, spawn};

    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn b2_places_and_queue_are_bounded() {
        let (gate, clock) = (Arc::new(Gate::new(1, 1)), ManualClock::new());
        let end = clock.now().after(LONG);
        let first = gate.enter(&clock, end).expect("a place is free");
        let waits = {
            let (gate, clock) = (Arc::clone(&gate), clock.clone());
            spawn(move || gate.enter(&clock, end).map(drop))
        };
        assert!(clock.wait_for_alarms(1));
        assert_eq!(gate.crowd(), (1, 1));
        // Who may wait has no time to: it is told so, and not that there is no room.
        assert_eq!(gate.enter(&clock, clock.now()).map(drop), Err(NoPlace::Full));
        drop(first);
        assert_eq!(waits.join(), Ok(()));
        assert_eq!(gate.crowd(), (0, 0));
    }

    #[test]
    fn b2_who_waits_past_the_deadline_leaves_the_queue() {
        let (gate, clock) = (Arc::new(Gate::new(1, 2)), ManualClock::new());
        let (soon, late) = (clock.now().after(LONG), clock.now().after(LONG * 9));
        let first = gate.enter(&clock, soon).expect("a place is free");
        let wait = |end: Tick| {
            let (gate, clock) = (Arc::clone(&gate), clock.clone());
            spawn(move || gate.enter(&clock, end).map(drop))
        };
        let leaves = wait(soon);
        assert!(clock.wait_for_alarms(1));
        let stays = wait(late);
        assert!(clock.wait_for_alarms(2));
        clock.advance(LONG);
        assert_eq!(leaves.join(), Err(NoPlace::TimedOut));
        assert_eq!(gate.crowd(), (1, 1));
        drop(first);
        assert_eq!(stays.join(), Ok(()), "the place went to who still waits");
        assert_eq!(gate.crowd(), (0, 0));
    }

    #[test]
    fn places_are_handed_over_in_the_order_of_arrival() {
        let (gate, clock) = (Arc::new(Gate::new(1, 8)), ManualClock::new());
        let end = clock.now().after(LONG);
        let first = gate.enter(&clock, end).expect("a place is free");
        let order = Arc::new(Mutex::new(Vec::new()));
        let all: Vec<_> = (0..5)
            .map(|n| {
                let (gate, time, order) = (Arc::clone(&gate), clock.clone(), Arc::clone(&order));
                let running = spawn(move || {
                    let _place = gate.enter(&time, end).expect("it is handed one");
                    order.lock().unwrap().push(n);
                });
                assert!(clock.wait_for_alarms(n + 1), "it waits");
                running
            })
            .collect();
        drop(first);
        for running in all {
            let () = running.join();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    }
}
