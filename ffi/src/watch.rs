//! Waiting for what is pending, by any number of threads, with its outcome kept for all of them.
//!
//! Core hands an outcome out once. Here it is taken by whoever asks first, and kept. Invariants: no lock is held while core is asked or
//! others are told; the outcome, once there, never changes.

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use wtcache::Pending;

/// Something pending, shared by those who wait for it.
pub(crate) struct Watched<P, T> {
    /// Until its outcome was taken.
    pending: RwLock<Option<Pending<P>>>,
    /// What is kept of the outcome.
    keep: fn(P) -> T,
    outcome: OnceLock<T>,
    signal: Arc<Signal>,
}

/// That it has ended, and who is to be told. Its lock is a leaf.
#[derive(Default)]
struct Signal {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    tell: Vec<Box<dyn FnOnce() + Send>>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.ends();
    }
}

impl Signal {
    fn ends(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended = true;
        let tell = std::mem::take(&mut state.tell);
        drop(state);
        self.moved.notify_all();
        tell.into_iter().for_each(|tell| tell());
    }
}

impl<P, T> Watched<P, T> {
    pub(crate) fn new(mut pending: Pending<P>, keep: fn(P) -> T) -> Arc<Self> {
        let signal = Arc::new(Signal::default());
        let outcome = OnceLock::new();
        let mut left = None;
        match Pin::new(&mut pending).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&signal)))) {
            Poll::Ready(ended) => {
                let _first = outcome.set(keep(ended));
                signal.ends();
            }
            Poll::Pending => left = Some(pending),
        }
        Arc::new(Self { pending: RwLock::new(left), keep, outcome, signal })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.signal.state.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// The outcome, waited for, for `timeout` at most.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<&T> {
        let end = Instant::now().checked_add(timeout);
        let mut state = self.signal.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.ended {
            let left = match end {
                Some(end) => end.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(86_400),
            };
            if left.is_zero() {
                return None;
            }
            state = self.signal.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        Some(self.ended())
    }

    /// Takes it back, if it still waits for its turn.
    pub(crate) fn cancel(&self) -> bool {
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        pending.as_ref().is_some_and(Pending::cancel)
    }

    /// Calls `tell` once it has ended, in the thread that ends it, or now.
    pub(crate) fn when_ended(&self, tell: impl FnOnce() + Send + 'static) {
        let mut state = self.signal.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            drop(state);
            tell();
        } else {
            state.tell.push(Box::new(tell));
        }
    }

    /// The outcome of what has ended.
    pub(crate) fn ended(&self) -> &T {
        // Whoever comes second waits for the first here.
        self.outcome.get_or_init(|| {
            let pending = self.pending.write().unwrap_or_else(PoisonError::into_inner).take();
            (self.keep)(pending.expect("taken once").wait())
        })
    }
}
