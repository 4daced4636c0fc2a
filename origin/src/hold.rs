//! What holds a request: gates, hangs and delays.
//!
//! Owns: the waiting, and its end. Never: decides whether a request is answered. Invariant: every wait here ends with the
//! origin, and a request that was held when the origin stopped is told so, so that it does nothing more.
//!
//! Ranks: the list of gates before a gate's own state; nothing else is locked under either.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::faults::Target;
use crate::http::{Method, Wire};
use crate::locked;

/// The moment at which a [`Gate`] holds a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Received and logged, but nothing done yet: a write is not applied, a record not read.
    BeforeApply,
    /// A write is applied, a record read; the answer is not sent yet. For a GET: the old value is in hand.
    AfterApply,
}

/// A barrier for tests: holds requests at a moment, until released. Made by [`Origin::gate`](crate::Origin::gate).
///
/// The release is for good, and dropping the gate releases it. While the origin stops, what stands at a gate is neither
/// applied nor answered.
#[derive(Debug)]
#[must_use = "a dropped gate holds nothing"]
pub struct Gate {
    post: Arc<Post>,
}

impl Gate {
    /// Waits until a request stands at the gate, or has passed it; false when `timeout` went by first.
    pub fn wait_arrived(&self, timeout: Duration) -> bool {
        self.wait_arrivals(1, timeout)
    }

    /// Waits until `count` requests have come to the gate; false when `timeout` went by first.
    pub fn wait_arrivals(&self, count: usize, timeout: Duration) -> bool {
        let state = locked(&self.post.state);
        let waited = self.post.changed.wait_timeout_while(state, timeout, |state| state.arrived < count);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// How many requests have come to the gate.
    #[must_use]
    pub fn arrived(&self) -> usize {
        locked(&self.post.state).arrived
    }

    /// Lets go whatever stands at the gate, and holds nothing from now on.
    pub fn release(&self) {
        locked(&self.post.state).open = true;
        self.post.changed.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}

#[derive(Debug)]
struct Post {
    method: Method,
    target: Target,
    when: When,
    capacity: usize,
    state: Mutex<PostState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PostState {
    arrived: usize,
    open: bool,
    stopped: bool,
}

impl Post {
    /// Counts the request in if this gate holds it.
    fn admits(&self, method: Method, id: Option<&str>, when: When) -> bool {
        let mut state = locked(&self.state);
        let admits = !state.open
            && state.arrived < self.capacity
            && self.when == when
            && self.method == method
            && self.target.matches(id);
        if admits {
            state.arrived += 1;
            self.changed.notify_all();
        }
        admits
    }

    fn stand(&self) -> Go {
        let state = locked(&self.state);
        let state = wait_while(&self.changed, state, |state| !state.open && !state.stopped);
        if state.stopped { Go::Stopped } else { Go::On }
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Go {
    On,
    /// The origin stops: do nothing more.
    Stopped,
}

/// All that can hold the requests of one origin.
#[derive(Default)]
pub(crate) struct Holds {
    gates: Mutex<GateList>,
    waits: Mutex<Waits>,
    changed: Condvar,
}

#[derive(Default)]
struct GateList {
    posts: Vec<Arc<Post>>,
    stopped: bool,
}

#[derive(Default)]
struct Waits {
    stopped: bool,
    /// Counts the releases, so that one frees the hangs before it and none after.
    releases: u64,
}

impl Holds {
    /// A gate for the next `capacity` requests that match and that no earlier gate takes.
    pub(crate) fn gate(&self, method: Method, target: Target, when: When, capacity: usize) -> Gate {
        let post = Arc::new(Post { method, target, when, capacity, state: Mutex::default(), changed: Condvar::new() });
        let mut gates = locked(&self.gates);
        gates.posts.retain(|post| !locked(&post.state).open);
        gates.posts.push(Arc::clone(&post));
        Gate { post }
    }

    /// Stands at the first gate that takes the request, if one does.
    pub(crate) fn pass(&self, method: Method, id: Option<&str>, when: When) -> Go {
        let post = {
            let gates = locked(&self.gates);
            if gates.stopped {
                return Go::Stopped;
            }
            gates.posts.iter().find(|post| post.admits(method, id, when)).cloned()
        };
        post.map_or(Go::On, |post| post.stand())
    }

    /// Waits `length`.
    pub(crate) fn pause(&self, length: Duration) -> Go {
        if length.is_zero() {
            return Go::On;
        }
        let waited = self.changed.wait_timeout_while(locked(&self.waits), length, |waits| !waits.stopped);
        let (waits, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waits.stopped { Go::Stopped } else { Go::On }
    }

    /// How often hangs were released so far.
    pub(crate) fn release(&self) -> u64 {
        locked(&self.waits).releases
    }

    /// Waits until hangs are released after `release`, the origin stops, or the client left: a hang that nobody waits for
    /// must not occupy a connection.
    pub(crate) fn hang(&self, wire: &Wire, release: u64) {
        const LOOK_EVERY: Duration = Duration::from_millis(50);
        let mut waits = locked(&self.waits);
        while !waits.stopped && waits.releases == release {
            let looked_at = Instant::now();
            let waited = self.changed.wait_timeout(waits, LOOK_EVERY);
            waits = waited.unwrap_or_else(PoisonError::into_inner).0;
            if looked_at.elapsed() >= LOOK_EVERY {
                drop(waits);
                if wire.client_left() {
                    return;
                }
                waits = locked(&self.waits);
            }
        }
    }

    pub(crate) fn release_hangs(&self) {
        locked(&self.waits).releases += 1;
        self.changed.notify_all();
    }

    /// Ends every wait, and those that would begin later.
    pub(crate) fn stop(&self) {
        locked(&self.waits).stopped = true;
        self.changed.notify_all();
        let mut gates = locked(&self.gates);
        gates.stopped = true;
        for post in gates.posts.drain(..) {
            locked(&post.state).stopped = true;
            post.changed.notify_all();
        }
    }
}

fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    waits: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    condvar.wait_while(guard, waits).unwrap_or_else(PoisonError::into_inner)
}
