//! In which process we are: a number that `fork` changes in the child.
//!
//! A handle remembers the number of the process that made it. Invariant: no lock or thread of the parent is waited for in a
//! child.

use std::mem::ManuallyDrop;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::arguments::Refused;
use crate::reply;
use crate::status::WTCACHE_ERR_FORKED;

static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process a handle was made in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process(u32);

impl Process {
    /// This one. The first call has `fork` tell us from then on.
    pub(crate) fn current() -> Self {
        static WATCHED: Once = Once::new();
        WATCHED.call_once(|| {
            // SAFETY: the handler only writes two atomics, which a child may do. It is there for as long as the
            // process is: the library is never unloaded.
            let failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
            assert_eq!(failed, 0, "there is memory for a fork handler");
        });
        // Relaxed: changed only by the one thread that a child begins with.
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// False in a child forked since.
    pub(crate) fn is_current(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    reply::forget_calls();
}

/// What a handle holds. In a child of a fork it is neither used nor dropped: what it would wait for is not there.
pub(crate) struct Owned<T> {
    held: ManuallyDrop<T>,
    made_in: Process,
}

impl<T> Owned<T> {
    pub(crate) fn new(held: T) -> Self {
        Self { held: ManuallyDrop::new(held), made_in: Process::current() }
    }

    pub(crate) fn get(&self) -> Result<&T, Refused> {
        self.is_ours().map(|()| &*self.held)
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut T, Refused> {
        self.is_ours().map(|()| &mut *self.held)
    }

    pub(crate) fn if_ours(&self) -> Option<&T> {
        self.made_in.is_current().then_some(&*self.held)
    }

    fn is_ours(&self) -> Result<(), Refused> {
        if self.made_in.is_current() {
            return Ok(());
        }
        let message = "it and its cache were made before a fork, in the parent: open one after the fork";
        Err(Refused::new(WTCACHE_ERR_FORKED, message))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.made_in.is_current() {
            // SAFETY: dropped here only, and not used again.
            unsafe { ManuallyDrop::drop(&mut self.held) };
        }
    }
}
