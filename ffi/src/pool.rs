//! The threads behind a queue of completions: jobs in, completions out, and a descriptor that says when there are some.
//!
//! Jobs of one lane (the writes of one key) run one after the other, in the order in which they were given; all others beside each other, on
//! a few threads. Invariants: a job that was taken gives one completion, whether it ran, was cancelled or panicked; the descriptor can
//! be read exactly while there are completions; no lock is held while a job runs or is dropped.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Which jobs wait for each other: the number of a cache, and a key of it.
pub(crate) type Lane = (u64, Box<[u8]>);

/// A job: told whether it was cancelled, it gives its completion.
pub(crate) type Work<C> = Box<dyn FnOnce(bool) -> C + Send>;

struct Job<C> {
    id: u64,
    lane: Option<Lane>,
    work: Work<C>,
}

/// The jobs and completions of one queue.
pub(crate) struct Pool<C> {
    descriptor: OwnedFd,
    threads: usize,
    /// How many jobs and completions there may be that were not taken out.
    most: usize,
    state: Mutex<State<C>>,
    work: Condvar,
}

struct State<C> {
    last_id: u64,
    /// Jobs and completions that were not taken out.
    outstanding: usize,
    ready: VecDeque<C>,
    waiting: VecDeque<Job<C>>,
    /// Lanes of which a job waits for a thread or runs, with those that wait for it.
    lanes: HashMap<Lane, VecDeque<Job<C>>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// As many jobs and completions are outstanding as may be.
pub(crate) struct Full;

impl<C: Send + 'static> Pool<C> {
    pub(crate) fn new(threads: usize, most: usize) -> io::Result<Arc<Self>> {
        // SAFETY: no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: made a few lines above, and nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let state = State {
            last_id: 0,
            outstanding: 0,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            lanes: HashMap::new(),
            threads: 0,
            idle: 0,
            closed: false,
        };
        Ok(Arc::new(Self { descriptor, threads, most, state: Mutex::new(state), work: Condvar::new() }))
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Gives a completion that is there at once, and its number.
    pub(crate) fn done(&self, completion: impl FnOnce(u64) -> C) -> Result<u64, Full> {
        let id = self.reserve()?;
        self.complete(completion(id));
        Ok(id)
    }

    /// Takes a place for a completion that comes later, by [`Self::complete`]; gives its number.
    pub(crate) fn reserve(&self) -> Result<u64, Full> {
        self.lock().reserve(self.most)
    }

    /// The completion of a place that was taken.
    pub(crate) fn complete(&self, completion: C) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            drop(completion);
            return;
        }
        if state.ready.is_empty() {
            self.signal();
        }
        state.ready.push_back(completion);
    }

    /// Has a job run; `work` is made with its number.
    pub(crate) fn run(self: &Arc<Self>, lane: Option<Lane>, work: impl FnOnce(u64) -> Work<C>) -> Result<u64, Full> {
        let mut state = self.lock();
        let id = state.reserve(self.most)?;
        let job = Job { id, lane, work: work(id) };
        match job.lane.as_ref().and_then(|lane| state.lanes.get_mut(lane)) {
            Some(behind) => {
                behind.push_back(job);
                return Ok(id);
            }
            None => {
                if let Some(lane) = &job.lane {
                    state.lanes.insert(lane.clone(), VecDeque::new());
                }
                state.waiting.push_back(job);
            }
        }
        if state.idle >= state.waiting.len() {
            self.work.notify_one();
        } else if state.threads < self.threads {
            let pool = Arc::clone(self);
            // Without a further thread, those that are there do the work. Without any, nobody would: then it is done here.
            if thread::Builder::new().name("wtcache-queue".into()).spawn(move || pool.serve()).is_ok() {
                state.threads += 1;
            } else if state.threads == 0 {
                drop(state);
                self.serve_what_waits();
            }
        }
        Ok(id)
    }

    /// Takes a job back that has not begun: it completes as cancelled.
    pub(crate) fn cancel(&self, id: u64) -> bool {
        let mut state = self.lock();
        let Some(job) = state.take(id) else { return false };
        let next = state.next_of(job.lane.as_ref());
        drop(state);
        if next {
            self.work.notify_one();
        }
        self.complete((job.work)(true));
        true
    }

    /// The next completion, if there is one.
    pub(crate) fn next(&self) -> Option<C> {
        let mut state = self.lock();
        let completion = state.ready.pop_front()?;
        state.outstanding -= 1;
        if state.ready.is_empty() {
            self.clear();
        }
        Some(completion)
    }

    /// Ends it: what has not begun never does, what runs ends unheard.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let dropped =
            (std::mem::take(&mut state.ready), std::mem::take(&mut state.waiting), std::mem::take(&mut state.lanes));
        drop(state);
        self.work.notify_all();
        drop(dropped);
    }

    /// A thread's life.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                state.threads -= 1;
                return;
            }
            match state.waiting.pop_front() {
                Some(job) => {
                    drop(state);
                    self.run_now(job);
                    state = self.lock();
                }
                None => {
                    state.idle += 1;
                    state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            }
        }
    }

    fn serve_what_waits(&self) {
        loop {
            let Some(job) = self.lock().waiting.pop_front() else { return };
            self.run_now(job);
        }
    }

    fn run_now(&self, job: Job<C>) {
        let Job { lane, work, .. } = job;
        let completion = work(false);
        // First the completion: who waits in the lane comes after it.
        self.complete(completion);
        let next = self.lock().next_of(lane.as_ref());
        if next {
            self.work.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // A panic leaves nothing half done: jobs run under no lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the descriptor readable.
    fn signal(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes, as an eventfd asks for. It cannot be full: it counts one at most.
        let _written = unsafe { libc::write(self.descriptor(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it unreadable again.
    fn clear(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: eight bytes, as an eventfd asks for.
        let _read = unsafe { libc::read(self.descriptor(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl<C> State<C> {
    fn reserve(&mut self, most: usize) -> Result<u64, Full> {
        if self.outstanding >= most {
            return Err(Full);
        }
        self.outstanding += 1;
        self.last_id += 1;
        Ok(self.last_id)
    }

    /// Takes out a job that has not begun.
    fn take(&mut self, id: u64) -> Option<Job<C>> {
        if let Some(place) = self.waiting.iter().position(|job| job.id == id) {
            return self.waiting.remove(place);
        }
        let behind = self.lanes.values_mut().find_map(|behind| {
            let place = behind.iter().position(|job| job.id == id)?;
            behind.remove(place)
        });
        // It had another before it, which passes the lane on; so there is nothing to pass on here.
        behind.map(|job| Job { lane: None, ..job })
    }

    /// The first job of a lane is over: the next one may run, if there is one.
    fn next_of(&mut self, lane: Option<&Lane>) -> bool {
        let Some(lane) = lane else { return false };
        let Some(behind) = self.lanes.get_mut(lane) else { return false };
        match behind.pop_front() {
            Some(next) => {
                self.waiting.push_back(next);
                true
            }
            None => {
                self.lanes.remove(lane);
                false
            }
        }
    }
}
