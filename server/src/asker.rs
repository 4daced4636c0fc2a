//! Who asked for the write that a rule is inside of: from a request's task to the thread of the pool that its origin call runs in.
//!
//! As with a trace (`trace.rs`), the name stands in a task-local, and the pool takes it along. Invariant: a thread has the name of the request that its call is of,
//! for as long as that runs, and no other.

use std::cell::RefCell;
use std::sync::Arc;

type Name = Option<Arc<str>>;

tokio::task_local! {
    static ASKER: Name;
}

thread_local! {
    static HERE: RefCell<Name> = const { RefCell::new(None) };
}

/// Answers a request of this principal; `None`: of somebody without a name.
pub(crate) fn within<F: Future>(name: Name, answer: F) -> impl Future<Output = F::Output> {
    ASKER.scope(name, answer)
}

/// Who this task answers.
pub(crate) fn current() -> Name {
    ASKER.try_with(Clone::clone).ok().flatten()
}

/// Who the call is of that this thread is inside of.
pub(crate) fn here() -> Name {
    HERE.with_borrow(Clone::clone)
}

/// This thread works for somebody, until this is dropped.
pub(crate) struct Entered(Name);

pub(crate) fn enter(name: Name) -> Entered {
    Entered(HERE.replace(name))
}

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.set(self.0.take());
    }
}
