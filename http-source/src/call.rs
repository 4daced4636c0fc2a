//! The call that this thread is in: its deadline, and what the transport saw of it.
//!
//! ureq runs a request in the thread that asked for it, so the transport finds the call of its bytes in a thread-local,
//! whether the connection is new or pooled. One absolute deadline, read here before every wait, bounds all phases.
//! Invariant: counts belong to the call whose guard is the innermost one alive in this thread; a call within another
//! (a record check that uses a cache) has counts of its own.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Which idle connections the call may take from the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Any that the pool holds.
    Any,
    /// Those idle for less than this.
    IdleFor(Duration),
    /// None.
    Never,
}

/// What the transport knows and notes of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) id: u64,
    pub(crate) deadline: Instant,
    pub(crate) reuse: Reuse,
    /// Plaintext bytes of the request, counted before they were offered to the wire.
    pub(crate) offered: u64,
    /// Any byte of an answer came.
    pub(crate) answered: bool,
    /// The connection had served an earlier call.
    pub(crate) reused: bool,
}

impl Current {
    fn new(deadline: Instant, reuse: Reuse) -> Self {
        // Relaxed: only uniqueness matters. Zero is no call.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, deadline, reuse, offered: 0, answered: false, reused: false }
    }
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
    /// Ends all calls of this thread, once it is set.
    static END: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Whoever waits so long on a socket looks whether its thread is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// From here on no call of this thread waits for input once `end` is set.
pub(crate) fn end_with(end: Arc<AtomicBool>) {
    END.set(Some(end));
}

/// How much of `left` may be waited on a socket in one go; `None` where the thread is to end.
pub(crate) fn in_one_go(left: Duration) -> Option<Duration> {
    END.with_borrow(|end| match end {
        None => Some(left),
        // Acquire: pairs with the release of whoever ends it.
        Some(end) => (!end.load(Ordering::Acquire)).then(|| left.min(LOOK_EVERY)),
    })
}

/// A call under way; ends with its guard.
pub(crate) struct Call {
    outer: Option<Current>,
    /// The guard ends the call of the thread that began it.
    not_send: PhantomData<*const ()>,
}

impl Call {
    pub(crate) fn begin(deadline: Instant, reuse: Reuse) -> Self {
        Self { outer: CURRENT.replace(Some(Current::new(deadline, reuse))), not_send: PhantomData }
    }

    /// From here on it is another call, with the same deadline, of which nothing was seen yet.
    pub(crate) fn anew(&mut self, reuse: Reuse) {
        CURRENT.set(Some(Current::new(self.seen().deadline, reuse)));
    }

    pub(crate) fn seen(&self) -> Current {
        CURRENT.get().expect("set by begin, and unset only when this guard is dropped")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// The innermost call of this thread.
pub(crate) fn current() -> Option<Current> {
    CURRENT.get()
}

/// Notes something of the innermost call.
pub(crate) fn note(f: impl FnOnce(&mut Current)) {
    if let Some(mut call) = CURRENT.get() {
        f(&mut call);
        CURRENT.set(Some(call));
    }
}

/// What follows in the innermost call is an exchange of its own, of which nothing was seen yet. What went before is proved not applied.
pub(crate) fn next_exchange() {
    if let Some(call) = CURRENT.get() {
        CURRENT.set(Some(Current::new(call.deadline, call.reuse)));
    }
}

/// Time left to the innermost call; `None` once its deadline has passed, or outside any call.
pub(crate) fn remaining() -> Option<Duration> {
    let left = CURRENT.get()?.deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_within_a_call_counts_for_itself() {
        let far = Instant::now() + Duration::from_secs(60);
        let outer = Call::begin(far, Reuse::Any);
        note(|c| c.offered += 3);
        {
            let inner = Call::begin(far, Reuse::Never);
            assert_eq!(inner.seen().offered, 0);
            note(|c| c.offered += 5);
            assert_eq!(inner.seen().offered, 5);
            assert_ne!(inner.seen().id, outer.outer.map_or(0, |c| c.id));
        }
        assert_eq!(outer.seen().offered, 3);
        drop(outer);
        assert!(current().is_none());
        assert!(remaining().is_none(), "outside a call there is no time");
    }
}
