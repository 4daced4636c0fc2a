//! Waiting in this thread for a tick of the source's clock, or for a wake.
//!
//! A thread has one thing to wait for at a time: a pause between two attempts, or a place at the gate.
//! Invariant: a wake that came before the wait is not lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use wtcache::{Alarm, Clock, Tick};

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: what the waker's thread did comes before the wake; pairs with the acquire in `wait`.
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// This thread, as one that can be woken.
pub(crate) struct Parker {
    unpark: Arc<Unpark>,
    waker: Waker,
}

impl Parker {
    pub(crate) fn new() -> Self {
        let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
        Self { waker: Waker::from(Arc::clone(&unpark)), unpark }
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Returns once it was woken or the tick has come, or earlier: the caller looks again.
    pub(crate) fn wait(&self, clock: &dyn Clock, until: Tick) {
        let alarm = clock.alarm(until, &self.waker);
        // Acquire: pairs with the release in `wake_by_ref`.
        while !self.unpark.woken.swap(false, Ordering::Acquire) {
            match alarm {
                Alarm::Set => thread::park(),
                Alarm::After(duration) => {
                    thread::park_timeout(duration);
                    return;
                }
            }
        }
    }
}

/// Waits in this thread until `at`.
pub(crate) fn until(clock: &dyn Clock, at: Tick) {
    if clock.now() >= at {
        return;
    }
    let parker = Parker::new();
    while clock.now() < at {
        parker.wait(clock, at);
    }
}
