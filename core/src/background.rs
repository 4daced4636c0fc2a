//! A few threads that run what may be done later: refreshes.
//!
//! They begin with the first work and end with the cache: at `close`, or when its last handle is dropped. Each runs one piece of
//! work at a time, with no lock held. Lock rank: a leaf; no other lock is taken inside. Invariant: no more work waits, and no more
//! threads run, than was said.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::{Arc, Condvar, Mutex, spawn};

type Work = Box<dyn FnOnce() + Send>;

/// Threads of a cache. Dropped, they end with the work that they are in; what waits is dropped.
pub(crate) struct Background {
    most_threads: usize,
    most_waiting: usize,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
    ended: bool,
}

impl Background {
    pub(crate) fn new(most_threads: usize, most_waiting: usize) -> Self {
        let shared = Shared { state: Mutex::new(State::default()), changed: Condvar::new() };
        Self { most_threads, most_waiting, shared: Arc::new(shared) }
    }

    /// Gives it back where as much waits as may, where there is no thread to run it, or after the end.
    pub(crate) fn run(&self, work: Work) -> Result<(), Work> {
        let mut state = self.shared.state.lock();
        if state.ended || state.waiting.len() >= self.most_waiting {
            return Err(work);
        }
        let another = state.waiting.len() >= state.idle && state.threads < self.most_threads;
        if another {
            state.threads += 1;
        }
        state.waiting.push_back(work);
        drop(state);
        self.shared.changed.notify_one();
        let shared = Arc::clone(&self.shared);
        if another && spawn("wtcache-refresh", move || shared.work()).is_err() {
            let mut state = self.shared.state.lock();
            state.threads -= 1;
            if state.threads == 0
                && let Some(work) = state.waiting.pop_back()
            {
                return Err(work);
            }
        }
        Ok(())
    }

    /// Nothing more begins.
    pub(crate) fn end(&self) {
        let waiting = {
            let mut state = self.shared.state.lock();
            state.ended = true;
            std::mem::take(&mut state.waiting)
        };
        self.shared.changed.notify_all();
        // What waits holds keys of the program's.
        drop(waiting);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(work) = self.next() {
            // What panics has given up what it was at by unwinding; the next piece is another's.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(work) = state.waiting.pop_front() {
                return Some(work);
            }
            state.idle += 1;
            state = self.changed.wait(state);
            state.idle -= 1;
        }
    }
}
