//! Threads that settle what is pending: they step its stories, and none waits for the turn of a key.
//!
//! A story that waits is a waker in its key's queue and a tick in the list of times; whoever comes first makes it ready, and
//! one of the threads goes on with it. They begin with the first story, and end once the cache is closed or gone and no story is left.
//! Lock ranks: a task's, then the list's, and no other inside. Invariant: a story is stepped by one thread at a time, and a wake that comes
//! meanwhile is not lost.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Wake, Waker};

use crate::clock::{Clock, Tick};
use crate::drive::Parker;
use crate::sync::{Arc, Mutex, spawn};

/// Something that goes on in steps. It contains its own panics.
pub(crate) trait Work: Send {
    /// Goes on as far as it can. `None`: it is over. Else it waits for its waker, or until that tick.
    fn go_on(&mut self, waker: &Waker) -> Option<Tick>;
}

/// The threads of a cache. Dropped, they end with the stories that are left.
pub(crate) struct Settler(Arc<Shared>);

struct Shared {
    most_threads: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of those that have stories here; known with the first.
    clock: Option<Arc<dyn Clock>>,
    ready: VecDeque<Arc<Task>>,
    /// Who is to be looked at, and when. The number tells those of one tick apart.
    times: BTreeMap<(Tick, u64), Arc<Task>>,
    next_number: u64,
    threads: usize,
    /// Of these, those that have not looked yet what there is to do.
    coming: usize,
    /// Those that sleep, and until when.
    idle: Vec<(Waker, Tick)>,
    /// How many there are, also of those that nobody is at and nobody has to look at yet.
    tasks: usize,
    ended: bool,
}

impl State {
    /// Nobody who sleeps wakes by the next time: those that are at work may be long at their sources.
    fn is_unwatched(&self) -> bool {
        let next = self.times.first_key_value().map(|(time, _)| time.0);
        next.is_some_and(|next| self.idle.iter().all(|(_, until)| *until > next))
    }
}

/// A story between its steps.
pub(crate) struct Task {
    shared: Arc<Shared>,
    state: Mutex<TaskState>,
}

#[derive(Default)]
struct TaskState {
    /// Not here while a thread is at it.
    work: Option<Box<dyn Work>>,
    /// It is among the ready.
    ready: bool,
    /// It was woken while a thread was at it.
    woken: bool,
    time: Option<(Tick, u64)>,
}

impl Settler {
    pub(crate) fn new(most_threads: usize) -> Self {
        Self(Arc::new(Shared { most_threads, state: Mutex::new(State::default()) }))
    }

    /// A task that has no work yet: the caller makes the first step itself, with the task as its waker. Gives the system's error where
    /// there is no thread to go on with it.
    pub(crate) fn task(&self, clock: &Arc<dyn Clock>) -> io::Result<Arc<Task>> {
        let shared = &self.0;
        let first = {
            let mut state = shared.state.lock();
            state.clock.get_or_insert_with(|| Arc::clone(clock));
            state.tasks += 1;
            let first = state.threads == 0;
            state.threads += usize::from(first);
            state.coming += usize::from(first);
            first
        };
        let task = Arc::new(Task { shared: Arc::clone(shared), state: Mutex::new(TaskState::default()) });
        if first {
            shared.spawn()?;
        }
        Ok(task)
    }

    /// The threads end once no story is left.
    pub(crate) fn end(&self) {
        let idle = {
            let mut state = self.0.state.lock();
            state.ended = true;
            std::mem::take(&mut state.idle)
        };
        idle.into_iter().for_each(|(waker, _)| waker.wake());
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.end();
    }
}

impl Task {
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// It goes on with `work`: at once, or when it is woken, at `until` at the latest.
    pub(crate) fn goes_on(self: &Arc<Self>, work: Box<dyn Work>, until: Option<Tick>) {
        if let Some(until) = until {
            self.wait(until);
        }
        let ready = {
            let mut state = self.state.lock();
            state.work = Some(work);
            let ready = until.is_none() || std::mem::take(&mut state.woken);
            state.ready |= ready;
            ready
        };
        if ready {
            self.shared.push(Arc::clone(self));
        }
    }

    /// Is to be looked at at `until`, and not before unless it is woken.
    fn wait(self: &Arc<Self>, until: Tick) {
        let first = {
            let mut own = self.state.lock();
            let mut state = self.shared.state.lock();
            if let Some(before) = own.time.take() {
                state.times.remove(&before);
            }
            state.next_number += 1;
            let time = (until, state.next_number);
            own.time = Some(time);
            state.times.insert(time, Arc::clone(self));
            state.times.first_key_value().is_some_and(|(first, _)| *first == time)
        };
        if first {
            // Who sleeps for longer has to know.
            self.shared.call_one();
        }
    }

    fn run(self: &Arc<Self>) {
        let work = {
            let mut state = self.state.lock();
            state.ready = false;
            // Without it, another thread is at it, and has to look again.
            state.woken = state.work.is_none();
            state.work.take()
        };
        let Some(mut work) = work else { return };
        match work.go_on(&self.waker()) {
            Some(until) => self.goes_on(work, Some(until)),
            None => {
                let mut own = self.state.lock();
                if let Some(time) = own.time.take() {
                    self.shared.state.lock().times.remove(&time);
                }
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let idle = {
            let mut state = self.shared.state.lock();
            state.tasks -= 1;
            if state.ended && state.tasks == 0 { std::mem::take(&mut state.idle) } else { Vec::new() }
        };
        idle.into_iter().for_each(|(waker, _)| waker.wake());
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        {
            let mut state = self.state.lock();
            if state.ready {
                return;
            }
            if state.work.is_none() {
                state.woken = true;
                return;
            }
            state.ready = true;
        }
        let shared = Arc::clone(&self.shared);
        shared.push(self);
    }
}

impl Shared {
    fn push(self: &Arc<Self>, task: Arc<Task>) {
        self.state.lock().ready.push_back(task);
        self.call_one();
    }

    /// There is something to do: one that sleeps looks, else a further thread, if there may be one.
    fn call_one(self: &Arc<Self>) {
        let (idle, another) = {
            let mut state = self.state.lock();
            let idle = state.idle.pop();
            let another = idle.is_none() && state.coming == 0 && state.threads < self.most_threads;
            state.threads += usize::from(another);
            state.coming += usize::from(another);
            (idle, another)
        };
        idle.into_iter().for_each(|(waker, _)| waker.wake());
        if another {
            // Without it, those that are busy look when they are done.
            let _ = self.spawn();
        }
    }

    /// Starts a thread that is counted already.
    fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let shared = Arc::clone(self);
        spawn("wtcache-settle", move || shared.run()).inspect_err(|_| {
            let mut state = self.state.lock();
            (state.threads, state.coming) = (state.threads - 1, state.coming - 1);
        })
    }

    fn run(self: &Arc<Self>) {
        let parker = Parker::new();
        let clock = {
            let mut state = self.state.lock();
            state.coming -= 1;
            state.clock.clone().expect("there was a story before there was a thread")
        };
        while let Some((task, more)) = self.next(&parker, &*clock) {
            if more {
                // Who made them ready may have counted on this thread for all of them, and who waits on it for the time.
                self.call_one();
            }
            // A drop of the program's may panic: what it was about is over, and the next is another's.
            let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
        }
    }

    /// The next that can go on, and whether another thread has to look after the others; `None` once all is over.
    fn next(&self, parker: &Parker, clock: &dyn Clock) -> Option<(Arc<Task>, bool)> {
        loop {
            let now = clock.now();
            let until = {
                let mut state = self.state.lock();
                state.idle.retain(|(waker, _)| !waker.will_wake(parker.waker()));
                if let Some(task) = state.ready.pop_front() {
                    return Some((task, !state.ready.is_empty() || state.is_unwatched()));
                }
                let first = state.times.first_key_value().map(|(time, _)| time.0);
                match first {
                    Some(first) if first <= now => {
                        let (_, task) = state.times.pop_first()?;
                        return Some((task, state.is_unwatched()));
                    }
                    None if state.ended && state.tasks == 0 => {
                        state.threads -= 1;
                        return None;
                    }
                    _ => {}
                }
                let until = first.unwrap_or(Tick::NEVER);
                state.idle.push((parker.waker().clone(), until));
                until
            };
            parker.park_until(clock, until);
        }
    }
}
