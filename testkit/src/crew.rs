//! Threads of a test: started here, joined within a bound of real time, so that a deadlock is a failure and not a hang.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};

use crate::gate::BOUND;

/// Work on a thread of its own.
#[must_use = "a thread that nobody joins may fail unseen"]
pub struct Running<T> {
    thread: JoinHandle<()>,
    result: Receiver<T>,
}

/// Starts `work` on a thread of its own.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (send, result) = sync_channel(1);
    let thread = thread::spawn(move || {
        // Nobody listens any more where the test failed already.
        let _ = send.send(work());
    });
    Running { thread, result }
}

impl<T> Running<T> {
    /// What the work came to.
    ///
    /// # Panics
    /// With the work's own panic, or if it has not ended after ten seconds of real time.
    #[track_caller]
    #[must_use]
    pub fn join(self) -> T {
        match self.result.recv_timeout(BOUND) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => panic!("a thread of the test has not ended"),
            Err(RecvTimeoutError::Disconnected) => match self.thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => unreachable!("it sends before it ends"),
            },
        }
    }

    /// It has ended. Says nothing of one that is about to: only for what must not have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}
