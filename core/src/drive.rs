//! How a story is driven: steps, and the blocking driver that runs them in the caller's thread.
//!
//! `get` and `put` are written once, as steps that say what they need next. A driver does it: it waits, or it runs
//! the call of the source. It knows nothing of the cache; the stories know nothing of threads or tasks.

#[cfg(feature = "tokio")]
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

#[cfg(feature = "tokio")]
use crate::clock::Timer;
use crate::clock::{Alarm, Clock, Tick};
use crate::sync::task::{self, Runtime};
use crate::sync::{Arc, AtomicBool, Door, Ordering, Thread, current, park, park_timeout};

/// What a story needs next.
pub(crate) enum Step<C, O> {
    /// It is over.
    Done(O),
    /// Nothing can be done until the waker given to the step is woken, or this tick has come.
    Wait(Tick),
    /// The source has to be called; the reply is handed back with [`Story::resume`].
    Call(C),
}

/// A resumable operation.
pub(crate) trait Story {
    type Call: SourceCall;
    type Output;

    /// Goes on as far as it can. `waker` replaces that of the step before.
    fn step(&mut self, waker: &Waker) -> Step<Self::Call, Self::Output>;

    /// Takes the reply of the call that the last step asked for.
    fn resume(&mut self, reply: <Self::Call as SourceCall>::Reply);

    /// Where a thread may sleep after a step that waits: it is let through there whenever the step's waker is woken.
    fn door(&self) -> Option<Door<'_>> {
        None
    }
}

/// Work that may be run as a task of its own.
#[cfg(feature = "tokio")]
pub(crate) trait Spawned: SourceCall<Reply: Send> + Send + 'static {
    /// [`SourceCall::run`], known to go from thread to thread.
    fn spawned(self) -> impl Future<Output = Self::Reply> + Send + 'static;
}

/// Work that calls the source: it owns all it needs, so that it can run on any thread and to its end without the story.
pub(crate) trait SourceCall {
    type Reply;

    /// Waits for nothing but the source. Dropped half-way, it leaves what its permits and guards leave.
    fn run(self) -> impl Future<Output = Self::Reply>;

    /// Until when it has to be run.
    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick;

    /// It is part of other calls, which wait for it.
    #[cfg(feature = "tokio")]
    fn is_nested(&self) -> bool;
}

/// Runs a story to its end in this thread. With a `runtime`, the source's calls are awaited on it, and so is all else.
///
/// # Panics
/// This thread runs the tasks of a runtime. No step of the story was taken then.
pub(crate) fn block_on<S: Story>(mut story: S, clock: &dyn Clock, runtime: Option<&Runtime>) -> S::Output {
    match runtime {
        None => {}
        #[cfg(feature = "tokio")]
        Some(runtime) => return task::block_on(runtime, to_end(story, clock)),
        #[cfg(not(feature = "tokio"))]
        Some(runtime) => match *runtime {},
    }
    // Most stories end at their first step and never wait: a waker of this thread is made when one does.
    let mut parker = None;
    loop {
        let step = match &parker {
            None => story.step(Waker::noop()),
            Some(parker) => story.step(Parker::waker(parker)),
        };
        match (step, &parker) {
            (Step::Done(output), _) => return output,
            // Pinned here: what a future holds is not to be moved about.
            (Step::Call(call), _) => story.resume(at_once(pin!(call.run()))),
            (Step::Wait(_), None) => parker = Some(Parker::new()),
            (Step::Wait(until), Some(parker)) => parker.sleep_until(clock, until, story.door()),
        }
    }
}

/// Runs a call of the source to its end in this thread: see [`block_on`].
pub(crate) fn finish<T>(call: impl Future<Output = T>, runtime: Option<&Runtime>) -> T {
    match runtime {
        None => at_once(call),
        Some(runtime) => task::block_on(runtime, call),
    }
}

/// Awaits a story, calls of the source among the rest.
#[cfg(feature = "tokio")]
async fn to_end<S: Story>(mut story: S, clock: &dyn Clock) -> S::Output {
    loop {
        match next(&mut story, clock).await {
            Next::Done(output) => return output,
            Next::Call(call) => story.resume(call.run().await),
        }
    }
}

/// Steps a story until it does not wait.
#[cfg(feature = "tokio")]
pub(crate) async fn next<S: Story>(story: &mut S, clock: &dyn Clock) -> Next<S::Call, S::Output> {
    let mut timer = Timer::new();
    poll_fn(|cx| match story.step(cx.waker()) {
        Step::Done(output) => Poll::Ready(Next::Done(output)),
        Step::Call(call) => Poll::Ready(Next::Call(call)),
        Step::Wait(until) => timer.wait(clock, until, cx),
    })
    .await
}

/// What a story comes to when it does not wait.
#[cfg(feature = "tokio")]
pub(crate) enum Next<C, O> {
    Done(O),
    Call(C),
}

/// Runs a call of a blocking source, in which nothing waits but the thread.
pub(crate) fn at_once<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reply) => reply,
        Poll::Pending => unreachable!("a blocking source answers before it returns"),
    }
}

/// Parks this thread until it is woken.
pub(crate) struct Parker {
    unpark: Arc<Unpark>,
    waker: Waker,
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: what the waker's thread did comes before the wake; pairs with the acquire in `park_until`.
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Parker {
    pub(crate) fn new() -> Self {
        let unpark = Arc::new(Unpark { thread: current(), woken: AtomicBool::new(false) });
        Self { waker: Waker::from(Arc::clone(&unpark)), unpark }
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Returns once the waker was woken or the tick has come, or earlier: the caller looks again.
    pub(crate) fn park_until(&self, clock: &dyn Clock, until: Tick) {
        self.sleep_until(clock, until, None);
    }

    /// The same, with a door to sleep at: a waker costs no call of the kernel then.
    fn sleep_until(&self, clock: &dyn Clock, until: Tick, door: Option<Door<'_>>) {
        let alarm = clock.alarm(until, &self.waker);
        // Acquire: pairs with the release in `wake_by_ref`.
        while !self.unpark.woken.swap(false, Ordering::Acquire) {
            match alarm {
                Alarm::Set => park(),
                Alarm::After(duration) => {
                    match door {
                        Some(Door { gate, turn }) => gate.sleep(turn, duration),
                        None => park_timeout(duration),
                    }
                    return;
                }
            }
        }
    }
}
