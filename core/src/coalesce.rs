//! A load in flight: one leader, many waiters.
//!
//! Whether a load is attached is the slot's to know. This file hands its result to those who wait, or tells them to
//! look again. Lock rank: below the shard's lock; inside, that of its gate alone.
//! Invariant: a flight ends once; who polls after its end is told so at once.

use std::task::{Wake, Waker};

use crate::clock::Tick;
use crate::entry::{Entry, Layout};
use crate::error::LoadError;
use crate::layers::Over;
use crate::slot::Fence;
use crate::sync::{Arc, AtomicBool, Door, Gate, Mutex, Ordering};

/// What a load found, as readers get it.
pub(crate) type Answer<L> = Result<Based<L>, LoadError>;

/// What the origin said, and what was pending above that in the step in which its load ended: it shows nothing that those writes did.
pub(crate) struct Based<L: Layout> {
    pub(crate) entry: Option<Entry<L>>,
    pub(crate) over: Option<Arc<Over<L>>>,
}

impl<L: Layout> Clone for Based<L> {
    fn clone(&self) -> Self {
        Self { entry: self.entry.clone(), over: self.over.clone() }
    }
}

/// How many others wakes who was woken by the end of a load.
const HELPS: usize = 2;

pub(crate) struct Flight<L: Layout> {
    pub(crate) fence: Fence,
    /// The source was not asked before.
    pub(crate) began: Tick,
    /// The leader's deadline: from then on a waiter takes over.
    pub(crate) deadline: Tick,
    /// Some reader of it was moved once already: if it is detached, its value is returned all the same.
    has_moved_reader: AtomicBool,
    /// Writes were pending above the base when it began.
    is_beneath_pending: AtomicBool,
    state: Mutex<State<L>>,
    /// Where threads sleep that wait: opened after each change of its end, beside their wakers.
    crowd: Arc<Crowd>,
}

struct Crowd(Gate);

impl Wake for Crowd {
    fn wake(self: Arc<Self>) {
        self.0.open();
    }
}

struct State<L: Layout> {
    end: End<L>,
    wakers: Vec<Waker>,
    /// Places in `wakers` whose waiter left.
    free: Vec<usize>,
    /// How often the wakers were taken out.
    epoch: u64,
}

/// Where a waiter's waker is kept, so that asking again replaces it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    epoch: u64,
    index: usize,
    /// How often the gate had been turned when its waiter asked last.
    turn: u64,
}

enum End<L: Layout> {
    Running,
    /// The fence moved while it ran.
    Detached,
    /// Detached, and ended since.
    EndedDetached(Answer<L>),
    Ended(Answer<L>),
    /// It has no result that others may use.
    GivenUp,
    Closed,
}

/// What a waiter learns.
pub(crate) enum News<L: Layout> {
    Answer(Answer<L>),
    /// The load was detached: look again, as one who was moved.
    Moved,
    /// The load was given up: look again.
    GivenUp,
    Closed,
    /// As many wait already as may.
    Full,
    Wait,
}

impl<L: Layout> Flight<L> {
    pub(crate) fn new(fence: Fence, began: Tick, deadline: Tick) -> Self {
        let state = Mutex::new(State { end: End::Running, wakers: Vec::new(), free: Vec::new(), epoch: 0 });
        let (has_moved_reader, is_beneath_pending) = (AtomicBool::new(false), AtomicBool::new(false));
        let crowd = Arc::new(Crowd(Gate::new()));
        Self { fence, began, deadline, has_moved_reader, is_beneath_pending, state, crowd }
    }

    // Relaxed for all: set under the shard's exclusive lock, and read under it, or by who joined or led the load under it after that.

    pub(crate) fn note_moved_reader(&self) {
        self.has_moved_reader.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_moved_reader(&self) -> bool {
        self.has_moved_reader.load(Ordering::Relaxed)
    }

    pub(crate) fn note_pending(&self) {
        self.is_beneath_pending.store(true, Ordering::Relaxed);
    }

    /// If it is detached, what it found may lack a write that was shown when it began and has been applied since.
    pub(crate) fn is_beneath_pending(&self) -> bool {
        self.is_beneath_pending.load(Ordering::Relaxed)
    }

    /// Asks for news, on behalf of a waiter that was `moved` before. A new waiter finds a seat if fewer than `most` wait. Who learns that the
    /// load has ended helps to wake the others: no lock may be held.
    pub(crate) fn poll(&self, moved: bool, most: usize, waker: &Waker, seat: &mut Option<Seat>) -> News<L> {
        let mut state = self.state.lock();
        let news = match &state.end {
            End::Ended(answer) => Some(News::Answer(answer.clone())),
            End::EndedDetached(answer) if moved => Some(News::Answer(answer.clone())),
            End::EndedDetached(_) => Some(News::Moved),
            End::Detached if !moved => Some(News::Moved),
            End::GivenUp => Some(News::GivenUp),
            End::Closed => Some(News::Closed),
            End::Running | End::Detached => None,
        };
        if let Some(news) = news {
            if seat.is_some_and(|seat| seat.epoch != state.epoch) {
                *seat = None;
            }
            if matches!(state.end, End::Ended(_) | End::EndedDetached(_)) {
                let others = [(); HELPS].map(|()| state.wakers.pop());
                drop(state);
                others.into_iter().flatten().for_each(Waker::wake);
            }
            return news;
        }
        let mut mine = waker.clone();
        // Before the lock is released, and so before the gate is opened for a change that was not seen here.
        let turn = self.crowd.0.turn();
        match seat.as_mut().filter(|seat| seat.epoch == state.epoch) {
            Some(seat) => {
                seat.turn = turn;
                std::mem::swap(&mut state.wakers[seat.index], &mut mine);
            }
            None => {
                let index = match state.free.pop() {
                    Some(index) => {
                        std::mem::swap(&mut state.wakers[index], &mut mine);
                        index
                    }
                    None if state.wakers.len() >= most => return News::Full,
                    None => {
                        state.wakers.push(mine.clone());
                        state.wakers.len() - 1
                    }
                };
                *seat = Some(Seat { epoch: state.epoch, index, turn });
            }
        }
        // A waker's drop is somebody else's code.
        drop(state);
        drop(mine);
        News::Wait
    }

    /// Where a thread sleeps that has this seat.
    pub(crate) fn door(&self, seat: &Seat) -> Door<'_> {
        Door { gate: &self.crowd.0, turn: seat.turn }
    }

    /// A waiter leaves its seat before it had news.
    pub(crate) fn leave(&self, seat: Seat) {
        let mut state = self.state.lock();
        if seat.epoch == state.epoch {
            let left = std::mem::replace(&mut state.wakers[seat.index], Waker::noop().clone());
            state.free.push(seat.index);
            drop(state);
            drop(left);
        }
    }

    /// The fence moved. Wakers are given back, to be woken once no lock is held; so below.
    pub(crate) fn detach(&self) -> Vec<Waker> {
        self.leaves(End::Detached)
    }

    /// Ends it, and wakes those who wait: threads that sleep at the gate with one call of the kernel, for whom their wakers are cheap then, and
    /// the others by their wakers. Whom it has woken helps, and none depends on that. No lock may be held.
    pub(crate) fn end(&self, answer: Answer<L>, detached: bool) {
        self.state.lock().turn_to(if detached { End::EndedDetached(answer) } else { End::Ended(answer) });
        self.crowd.0.open();
        let next = || self.state.lock().wakers.pop();
        while let Some(waker) = next() {
            waker.wake();
        }
    }

    pub(crate) fn give_up(&self) -> Vec<Waker> {
        self.leaves(End::GivenUp)
    }

    pub(crate) fn close(&self) -> Vec<Waker> {
        self.leaves(End::Closed)
    }

    fn leaves(&self, end: End<L>) -> Vec<Waker> {
        let mut state = self.state.lock();
        state.turn_to(end);
        let mut wakers = std::mem::take(&mut state.wakers);
        if !wakers.is_empty() {
            wakers.push(Waker::from(Arc::clone(&self.crowd)));
        }
        wakers
    }
}

impl<L: Layout> State<L> {
    /// All seats are given up with it.
    fn turn_to(&mut self, end: End<L>) {
        if matches!(self.end, End::Running | End::Detached) {
            self.end = end;
        }
        self.epoch += 1;
        self.free.clear();
    }
}
