//! A gate: a place in a source call where it waits until the test lets it go on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// No wait of a test is longer, in real time: then something else is wrong.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    arrived: bool,
    released: bool,
}

/// Holds one call of a [`Script`](crate::Script). Dropping it lets the call go on.
#[must_use = "dropping it opens the gate"]
pub struct Gate(Arc<Held>);

/// The side of the call that is held.
#[derive(Default)]
pub(crate) struct Held {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn new() -> (Self, Arc<Held>) {
        let held = Arc::new(Held::default());
        (Self(Arc::clone(&held)), held)
    }

    /// Waits until the call stands at the gate.
    ///
    /// # Panics
    /// If it does not come within ten seconds of real time.
    #[track_caller]
    pub fn wait_arrived(&self) {
        let mut state = self.0.state.lock();
        let late = self.0.changed.wait_while_for(&mut state, |state| !state.arrived, BOUND).timed_out();
        assert!(!late || state.arrived, "no call came to the gate");
    }

    /// The call stands at the gate, or has passed it.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        self.0.state.lock().arrived
    }

    /// Lets the call go on.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.state.lock().released = true;
        self.0.changed.notify_all();
    }
}

impl Held {
    /// Waits until the gate is opened.
    ///
    /// # Panics
    /// If it is not within ten seconds of real time.
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock();
        state.arrived = true;
        self.changed.notify_all();
        let late = self.changed.wait_while_for(&mut state, |state| !state.released, BOUND).timed_out();
        assert!(!late || state.released, "nobody opened the gate");
    }
}
