//! Which calls of the source this thread is inside of, so that nested calls never wait for themselves.
//!
//! A frame is pushed around every source call and every closure of the program that runs within a turn. A nested call
//! is known by its thread, or by the [`Scope`] that a source passed on to another thread.
//! Invariant: frames are popped in the order they were pushed, also when the source panics.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;

use crate::sync::{Arc, thread_local};

/// Calls of one cache within its own source, nested deeper than this, are refused: each has a frame on the stack.
pub(crate) const DEEPEST: usize = 16;

/// A key whose load or write is being served. Keys are known by their seeded 64-bit hash: a false match refuses a nested
/// write with probability 2^-64, and never lets one through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    cache: u64,
    hash: u64,
    /// Served by the same call as the frame before it, so no level of its own.
    beside: bool,
}

impl Frame {
    pub(crate) fn new(cache: u64, hash: u64) -> Self {
        Self { cache, hash, beside: false }
    }

    fn is_of_key(self, other: Self) -> bool {
        (self.cache, self.hash) == (other.cache, other.hash)
    }
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// The source calls that some work is part of, to be handed to another thread with [`Call::within`](crate::Call::within).
#[derive(Clone, Debug)]
pub struct Scope(Arc<[Frame]>);

impl Scope {
    /// Those of `within` and those of this thread, for work that goes on in another; `None` if there are none.
    #[cfg(feature = "tokio")]
    pub(crate) fn carried(within: Option<&Self>) -> Option<Self> {
        let mut frames = within.map_or_else(Vec::new, |scope| scope.0.to_vec());
        FRAMES.with(|here| frames.extend_from_slice(&here.borrow()));
        (!frames.is_empty()).then(|| Self(frames.into()))
    }

    /// Those that are not of this thread: where the scope was taken here, they would count twice.
    fn beyond(&self, here: &[Frame]) -> &[Frame] {
        self.0.strip_suffix(here).unwrap_or(&self.0)
    }

    /// The calls that this thread is inside of.
    #[must_use]
    pub fn current() -> Self {
        Self(FRAMES.with(|frames| Arc::from(&frames.borrow()[..])))
    }
}

/// How a call stands to the calls it is nested in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nesting {
    /// How many calls of the same cache it is inside of.
    pub(crate) depth: usize,
    /// One of them serves the same key.
    pub(crate) same_key: bool,
}

impl Nesting {
    #[inline]
    pub(crate) fn of(frame: Frame, within: Option<&Scope>) -> Self {
        // Most calls are inside of none.
        if within.is_none() && FRAMES.with(|frames| frames.borrow().is_empty()) {
            return Self { depth: 0, same_key: false };
        }
        Self::among(frame, within)
    }

    #[cold]
    fn among(frame: Frame, within: Option<&Scope>) -> Self {
        let count = |frames: &[Frame]| Self {
            depth: frames.iter().filter(|f| f.cache == frame.cache && !f.beside).count(),
            same_key: frames.iter().any(|f| f.is_of_key(frame)),
        };
        FRAMES.with(|frames| {
            let frames = frames.borrow();
            let here = count(&frames);
            let passed = count(within.map_or(&[], |scope| scope.beyond(&frames)));
            Self { depth: here.depth + passed.depth, same_key: here.same_key || passed.same_key }
        })
    }

    pub(crate) fn is_nested(self) -> bool {
        self.depth > 0
    }
}

/// Pops its frames when dropped.
pub(crate) struct Inside {
    before: usize,
}

/// Marks that this thread now serves `frame`, on behalf of `within` where the call came from another thread.
#[inline]
pub(crate) fn enter(frame: Frame, within: Option<&Scope>) -> Inside {
    if within.is_some() {
        return enter_all([frame], within);
    }
    FRAMES.with(|frames| {
        let mut frames = frames.borrow_mut();
        frames.push(frame);
        Inside { before: frames.len() - 1 }
    })
}

/// Marks that one call of this thread now serves all these.
pub(crate) fn enter_all(served: impl IntoIterator<Item = Frame>, within: Option<&Scope>) -> Inside {
    FRAMES.with(|frames| {
        let mut frames = frames.borrow_mut();
        let before = frames.len();
        if let Some(scope) = within {
            let beyond = scope.beyond(&frames).to_vec();
            frames.extend(beyond);
        }
        frames.extend(served.into_iter().enumerate().map(|(number, frame)| Frame { beside: number > 0, ..frame }));
        Inside { before }
    })
}

/// Awaits `work` as a call that serves these. Whatever thread polls it is inside of the call while it does, and only then.
pub(crate) async fn within<T>(served: &[Frame], scope: Option<&Scope>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let _inside = enter_all(served.iter().copied(), scope);
        work.as_mut().poll(cx)
    })
    .await
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        FRAMES.with(|frames| frames.borrow_mut().truncate(self.before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_seen_by_thread_and_by_scope_and_end_with_the_call() {
        let (a, b, other_cache) = (Frame::new(1, 7), Frame::new(1, 8), Frame::new(2, 7));
        let inside = enter(a, None);
        assert_eq!(Nesting::of(a, None), Nesting { depth: 1, same_key: true });
        assert_eq!(Nesting::of(b, None), Nesting { depth: 1, same_key: false });
        assert!(!Nesting::of(other_cache, None).is_nested());
        let scope = Scope::current();
        drop(inside);
        assert!(!Nesting::of(a, None).is_nested());
        assert_eq!(Nesting::of(a, Some(&scope)), Nesting { depth: 1, same_key: true });
    }

    #[test]
    fn keys_served_by_one_call_are_one_level() {
        let (a, b) = (Frame::new(1, 7), Frame::new(1, 8));
        let _inside = enter_all([a, b], None);
        for frame in [a, b] {
            assert_eq!(Nesting::of(frame, None), Nesting { depth: 1, same_key: true });
        }
        // A scope that was taken here says nothing more.
        let scope = Scope::current();
        assert_eq!(Nesting::of(b, Some(&scope)).depth, 1);
        let _deeper = enter(b, Some(&scope));
        assert_eq!(Nesting::of(b, None).depth, 2);
    }
}
