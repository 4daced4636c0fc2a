//! Where every lock, condition variable, atomic and thread handle of this crate comes from.
//!
//! One door, so that a scheduler that explores interleavings can take the place of the real primitives: with
//! `--cfg wtcache_shuttle`, everything here is shuttle's. Nothing here holds state of its own, but for the threads' numbers.

/// A counter that is part of no protocol, and so is never explored.
pub(crate) use std::sync::atomic::AtomicU64 as PlainU64;
pub(crate) use std::sync::{Arc, Weak};

/// A gate, and how often it had been turned when somebody looked whether to sleep there.
pub(crate) struct Door<'a> {
    pub(crate) gate: &'a Gate,
    pub(crate) turn: u64,
}

/// What a gate knows.
#[derive(Default)]
struct AtGate {
    /// How often it was turned.
    turn: u64,
    /// Threads that sleep there, or are about to, or are about to leave.
    sleepers: usize,
}

impl AtGate {
    /// Turns it, and says whether anyone has to be woken: who comes to sleep later sees that it was turned.
    fn turned(&mut self) -> bool {
        self.turn += 1;
        self.sleepers > 0
    }
}

#[cfg(not(wtcache_shuttle))]
mod real {
    use super::AtGate;

    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use std::thread::{Thread, current, park, park_timeout};
    pub(crate) use std::thread_local;

    pub(crate) use parking_lot::{Mutex, MutexGuard};

    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(parking_lot::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut guard);
            guard
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// What a crowd of threads sleeps at. The standard library's, for its word to all is one call of the kernel; it is one also where
    /// nobody sleeps, so that those who do are counted.
    pub(crate) struct Gate {
        state: std::sync::Mutex<AtGate>,
        turned: std::sync::Condvar,
    }

    impl Gate {
        pub(crate) fn new() -> Self {
            Self { state: std::sync::Mutex::new(AtGate::default()), turned: std::sync::Condvar::new() }
        }

        /// How often it was turned.
        pub(crate) fn turn(&self) -> u64 {
            self.state().turn
        }

        /// Sleeps until it was turned since it stood at `turn`, for this long at most.
        pub(crate) fn sleep(&self, turn: u64, most: std::time::Duration) {
            let mut state = self.state();
            state.sleepers += 1;
            let woken = self.turned.wait_timeout_while(state, most, |state| state.turn == turn);
            woken.unwrap_or_else(std::sync::PoisonError::into_inner).0.sleepers -= 1;
        }

        /// Wakes all who sleep.
        pub(crate) fn open(&self) {
            if self.state().turned() {
                self.turned.notify_all();
            }
        }

        fn state(&self) -> std::sync::MutexGuard<'_, AtGate> {
            self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    /// What the driver for tasks takes from its runtime.
    #[cfg(feature = "tokio")]
    pub(crate) mod task {
        use std::any::Any;

        pub(crate) use ::tokio::runtime::Handle as Runtime;
        pub(crate) use ::tokio::time::{Sleep, sleep};

        /// Runs `work` in this thread. Panics where the thread runs tasks itself, before `work` is polled.
        pub(crate) fn block_on<T>(runtime: &Runtime, work: impl Future<Output = T>) -> T {
            runtime.block_on(work)
        }

        /// Runs `work` as a task. It runs to its end if this future is dropped after it was first polled. Fails with the work's panic, or
        /// with nothing if it was dropped before its end.
        pub(crate) async fn on_runtime<T: Send + 'static>(
            runtime: &Runtime,
            work: impl Future<Output = T> + Send + 'static,
        ) -> Result<T, Option<Box<dyn Any + Send>>> {
            runtime.spawn(work).await.map_err(|error| error.try_into_panic().ok())
        }

        /// Runs `work` where it may block. It runs to its end if this future is dropped after it was first polled. Fails with
        /// the work's panic, or with nothing if it was dropped without being run.
        pub(crate) async fn on_a_thread<T: Send + 'static>(
            work: impl FnOnce() -> T + Send + 'static,
        ) -> Result<T, Option<Box<dyn Any + Send>>> {
            ::tokio::task::spawn_blocking(work).await.map_err(|error| error.try_into_panic().ok())
        }
    }

    /// Without a runtime there is none to wait on.
    #[cfg(not(feature = "tokio"))]
    pub(crate) mod task {
        pub(crate) enum Runtime {}

        pub(crate) fn block_on<T>(runtime: &Runtime, _: impl Future<Output = T>) -> T {
            match *runtime {}
        }
    }

    /// Starts a thread that ends by itself.
    pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
    }
}

// By its path, for the interleavings have this file by its own.
#[cfg(not(wtcache_shuttle))]
#[path = "sync/number.rs"]
mod number;

#[cfg(not(wtcache_shuttle))]
pub(crate) use number::{OWN_NUMBERS, thread_number};
#[cfg(not(wtcache_shuttle))]
pub(crate) use real::*;

#[cfg(wtcache_shuttle)]
mod explored {
    //! Shuttle's primitives in the shape of the real ones. Its waits have no time-outs: time comes from the manual clock,
    //! which wakes who is due.

    use std::time::Duration;

    use super::AtGate;

    pub(crate) use shuttle::sync::MutexGuard;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use shuttle::thread::{Thread, current, park};
    pub(crate) use shuttle::thread_local;

    /// A wait that ends with real time has none to end with: it looks again at once.
    pub(crate) fn park_timeout(_: Duration) {
        shuttle::thread::yield_now();
    }

    pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        shuttle::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
    }

    /// Tasks never have each other's.
    pub(crate) const OWN_NUMBERS: usize = usize::MAX;

    /// The same in every run of a schedule.
    pub(crate) fn thread_number() -> usize {
        current().id().into()
    }

    pub(crate) struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(shuttle::sync::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// Who sleeps at it for a while sleeps until it is opened.
    pub(crate) struct Gate {
        state: Mutex<AtGate>,
        turned: Condvar,
    }

    impl Gate {
        pub(crate) fn new() -> Self {
            Self { state: Mutex::new(AtGate::default()), turned: Condvar::new() }
        }

        pub(crate) fn turn(&self) -> u64 {
            self.state.lock().turn
        }

        pub(crate) fn sleep(&self, turn: u64, most: Duration) {
            let mut state = self.state.lock();
            state.sleepers += 1;
            while state.turn == turn && !most.is_zero() {
                state = self.turned.wait(state);
            }
            state.sleepers -= 1;
        }

        pub(crate) fn open(&self) {
            let sleep = self.state.lock().turned();
            if sleep {
                self.turned.notify_all();
            }
        }
    }

    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    #[cfg(not(feature = "tokio"))]
    pub(crate) mod task {
        pub(crate) enum Runtime {}

        pub(crate) fn block_on<T>(runtime: &Runtime, _: impl Future<Output = T>) -> T {
            match *runtime {}
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) mod task {
        use std::any::Any;
        use std::future::{Ready, poll_fn, ready};
        use std::panic::{AssertUnwindSafe, catch_unwind};
        use std::pin::pin;
        use std::task::Poll;
        use std::time::Duration;

        pub(crate) use ::tokio::runtime::Handle as Runtime;

        pub(crate) type Sleep = Ready<()>;

        /// Shuttle is the runtime, whatever handle there is.
        pub(crate) fn block_on<T>(_: &Runtime, work: impl Future<Output = T>) -> T {
            shuttle::future::block_on(work)
        }

        pub(crate) async fn on_runtime<T: Send + 'static>(
            _: &Runtime,
            work: impl Future<Output = T> + Send + 'static,
        ) -> Result<T, Option<Box<dyn Any + Send>>> {
            let job = shuttle::future::spawn(async move {
                let mut work = pin!(work);
                poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
                    Err(panic) => Poll::Ready(Err(Some(panic))),
                })
                .await
            });
            job.await.unwrap_or_else(|_| unreachable!("nobody aborts it"))
        }

        /// As `park_timeout`: it looks again at once.
        pub(crate) fn sleep(_: Duration) -> Sleep {
            ready(())
        }

        /// Every task of shuttle's may block.
        pub(crate) async fn on_a_thread<T: Send + 'static>(
            work: impl FnOnce() -> T + Send + 'static,
        ) -> Result<T, Option<Box<dyn Any + Send>>> {
            let job = shuttle::future::spawn(async move { catch_unwind(AssertUnwindSafe(work)) });
            job.await.unwrap_or_else(|_| unreachable!("nobody aborts it")).map_err(Some)
        }
    }
}

#[cfg(wtcache_shuttle)]
pub(crate) use explored::*;
