//! Where calls of a source run: a bounded number at once, and a bounded number that wait for a place.
//!
//! A call of a blocking source runs on a thread of the runtime's blocking pool, one of an async source as a task of its runtime. Invariant: a call
//! that has begun runs to its end, whoever drops the future that waits for it.

use std::any::Any;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use ::tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::{Clock, Tick, Timer};
use crate::drive::{Spawned, at_once};
use crate::error::LoadError;
use crate::source::{Failure, SourceError, panic_message};
use crate::sync::task::{Runtime, on_a_thread, on_runtime};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering};

/// Where calls of a source run: so many at once, so many waiting. Shared by the caches that it is given to.
///
/// Its threads are those of the runtime's blocking pool.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<PoolInner>,
    carry: Option<Arc<Carry>>,
}

/// What a call takes along: called on its thread, before it, it gives what is dropped there after it.
pub type Carried = Box<dyn FnOnce() -> Box<dyn Any> + Send>;

type Carry = dyn Fn() -> Carried + Send + Sync;

struct PoolInner {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Pool {
    /// A pool that runs up to `at_once` calls and lets `most_waiting` more wait for a place.
    ///
    /// # Panics
    /// If `at_once` is zero or larger than a semaphore takes.
    #[must_use]
    pub fn new(at_once: usize, most_waiting: usize) -> Self {
        assert!(at_once > 0, "a pool of no places runs nothing");
        let inner = PoolInner { places: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0), most_waiting };
        Self { inner: Arc::new(inner), carry: None }
    }

    /// The same places, with something that each call takes along from the task that asked for it to the thread where it runs, such as the
    /// trace that a request is part of. `take` is called in the task; what it gives, on the thread, before the call; what that gives is dropped there
    /// once the call has ended. A call that leads a load takes what its own task has. Calls of an async source take nothing.
    ///
    /// Neither may panic.
    #[must_use]
    pub fn carrying(self, take: impl Fn() -> Carried + Send + Sync + 'static) -> Self {
        Self { carry: Some(Arc::new(take)), ..self }
    }

    /// Runs a call of the source to its end, on a thread or as a task of `runtime`. One that finds the queue full, that gets no place before its
    /// deadline, or whose future is dropped while it waits, is dropped without being run.
    pub(super) async fn run<C: Spawned>(
        &self,
        call: C,
        clock: &dyn Clock,
        runtime: Option<&Runtime>,
    ) -> Result<C::Reply, Refused> {
        // What a nested call is part of has a place, and would wait for itself.
        let place = if call.is_nested() { None } else { Some(self.place(call.deadline(), clock).await?) };
        let begun = Arc::new(AtomicBool::new(false));
        let ended = match runtime {
            None => {
                let carried = self.carry.as_ref().map(|take| take());
                on_a_thread(move || {
                    let kept = carried.map(|enter| enter());
                    let reply = at_once(pin!(call.run()));
                    drop(kept);
                    drop(place);
                    reply
                })
                .await
            }
            Some(runtime) => {
                let begins = Arc::clone(&begun);
                on_runtime(runtime, async move {
                    // Relaxed: the end of the task orders it.
                    begins.store(true, Ordering::Relaxed);
                    let reply = call.spawned().await;
                    drop(place);
                    reply
                })
                .await
            }
        };
        ended.map_err(|panic| match panic {
            Some(panic) => Refused::Panicked(panic_message(&*panic)),
            None if begun.load(Ordering::Relaxed) => Refused::Lost,
            // The runtime is being shut down, and the call was dropped without being run.
            None => Refused::Full,
        })
    }

    async fn place(&self, until: Tick, clock: &dyn Clock) -> Result<OwnedSemaphorePermit, Refused> {
        if let Ok(place) = Arc::clone(&self.inner.places).try_acquire_owned() {
            return Ok(place);
        }
        let _seat = Seat::take(&self.inner).ok_or(Refused::Full)?;
        let mut free = pin!(Arc::clone(&self.inner.places).acquire_owned());
        let mut timer = Timer::new();
        poll_fn(|cx| match free.as_mut().poll(cx) {
            Poll::Ready(place) => Poll::Ready(place.map_err(|_| Refused::Full)),
            Poll::Pending if clock.now() >= until => Poll::Ready(Err(Refused::Late)),
            Poll::Pending => timer.wait(clock, until, cx),
        })
        .await
    }
}

/// Why a call has no reply.
pub(super) enum Refused {
    Full,
    Late,
    Panicked(String),
    /// Its runtime was shut down when it had begun.
    Lost,
}

impl From<Refused> for LoadError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Overloaded,
            Refused::Late => Self::Deadline,
            Refused::Panicked(message) => Self::Panicked(message),
            Refused::Lost => {
                let message = "the source's runtime dropped the load: it was shut down";
                Self::Source(SourceError::new(Failure::Broken, message))
            }
        }
    }
}

/// A place in the pool's queue.
struct Seat<'a>(&'a PoolInner);

impl<'a> Seat<'a> {
    fn take(pool: &'a PoolInner) -> Option<Self> {
        // Relaxed: a counter that guards no other memory.
        let more = |waiting| (waiting < pool.most_waiting).then_some(waiting + 1);
        pool.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(pool))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
