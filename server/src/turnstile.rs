//! The way into a table for what changes something there: a write, a transaction, what is told or to be forgotten. It can be shut, so that what
//! is inside comes to its end before another cache takes the table's place.
//!
//! Invariant: once a turnstile was shut and is empty, nobody goes in before it is open again; and nobody once the table was left.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// How often who waits for the last to leave is asked whether he still would.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    Shut,
    /// Another has taken the table's place, or none.
    Left,
}

#[derive(Default)]
pub(crate) struct Turnstile {
    state: Mutex<State>,
    emptied: Condvar,
    told: watch::Sender<Phase>,
}

#[derive(Default)]
struct State {
    inside: usize,
    phase: Phase,
}

/// Why one does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// The table is served no more: look for the one in its place.
    Left,
    /// It was shut for all of his time.
    Late,
}

/// One who is inside, until it is dropped.
pub(crate) struct Inside(Arc<Turnstile>);

impl Drop for Inside {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.inside -= 1;
        if state.inside == 0 && state.phase != Phase::Open {
            self.0.emptied.notify_all();
        }
    }
}

impl Turnstile {
    /// Goes in, or waits for so long where it is shut.
    pub(crate) async fn enter(self: &Arc<Self>, wait: Duration) -> Result<Inside, Barred> {
        match self.try_enter() {
            Ok(inside) => return Ok(inside),
            Err(Phase::Left) => return Err(Barred::Left),
            Err(_) => {}
        }
        let mut told = self.told.subscribe();
        let waits = async {
            loop {
                // Its sender is in the turnstile.
                let _ = told.wait_for(|phase| *phase != Phase::Shut).await;
                match self.try_enter() {
                    Ok(inside) => return Ok(inside),
                    Err(Phase::Left) => return Err(Barred::Left),
                    Err(_) => {}
                }
            }
        };
        tokio::time::timeout(wait, waits).await.unwrap_or(Err(Barred::Late))
    }

    /// For one who is inside already, to stay when he goes.
    pub(crate) fn stay(self: &Arc<Self>) -> Inside {
        self.state().inside += 1;
        Inside(Arc::clone(self))
    }

    fn try_enter(self: &Arc<Self>) -> Result<Inside, Phase> {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return Err(state.phase);
        }
        state.inside += 1;
        Ok(Inside(Arc::clone(self)))
    }

    /// Who comes now waits.
    pub(crate) fn shut(&self) {
        self.turn(Phase::Shut);
    }

    /// Who waits goes in.
    pub(crate) fn open(&self) {
        self.turn(Phase::Open);
    }

    /// Who waits is told to look elsewhere.
    pub(crate) fn leave(&self) {
        self.turn(Phase::Left);
    }

    fn turn(&self, phase: Phase) {
        // Under the lock, so that what is told last is what is so.
        let mut state = self.state();
        state.phase = phase;
        self.told.send_replace(phase);
    }

    /// Blocks until nobody is inside. False: `gives_up` said so before that.
    pub(crate) fn wait_until_empty(&self, gives_up: impl Fn() -> bool) -> bool {
        let mut state = self.state();
        while state.inside > 0 {
            if gives_up() {
                return false;
            }
            state = self.emptied.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Ready once the table was left.
    pub(crate) fn left(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut told = self.told.subscribe();
        async move {
            // A turnstile that is gone was left, too.
            let _ = told.wait_for(|phase| *phase == Phase::Left).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
