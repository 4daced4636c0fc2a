//! Loads of single records that begin within a short window, and go out with one request.
//!
//! The first to come leads: it waits for the window, or until there is no more room, and then asks for all, in its own thread and by its own
//! deadline. The others wait for its answer, each to its own deadline. Invariants: who joined before the request began is in it, and
//! nobody else; a leader's lateness or panic is nobody's but its own: the others then ask for themselves.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use wtcache::{Clock, Failure, Loaded, SourceError, Tick};

use crate::batch::{Listed, Lists};
use crate::source::HttpSource;
use crate::template;
use crate::wait::Parker;

pub(crate) struct Gatherer {
    window: Duration,
    /// Held for moments only.
    open: Mutex<Option<Open>>,
}

/// A round that takes more keys.
struct Open {
    round: Arc<Round>,
    keys: Vec<Vec<u8>>,
    /// Of the keys, as they stand in a URL.
    bytes: usize,
}

/// Keys that go out together.
struct Round {
    leader: Waker,
    /// Held for moments only; after the gatherer's lock where both are.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The keys, once no more are taken and until they are asked for.
    closed: Option<Vec<Vec<u8>>>,
    ended: Option<Ended>,
    waiters: Vec<Waker>,
}

#[derive(Clone)]
enum Ended {
    Listed(Arc<Listed>),
    Failed(SourceError),
    /// Nobody asks, or nobody did to the end.
    GivenUp,
}

enum Role<'a> {
    Leads(Leading<'a>),
    /// With its number in the round.
    Waits(Arc<Round>, usize),
}

impl Gatherer {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, open: Mutex::new(None) }
    }

    fn join(&self, lists: &Lists, key: &[u8], parker: &Parker) -> Role<'_> {
        let length = template::encoded(key).len();
        let mut open = self.open();
        if let Some(round) = open.as_mut() {
            if let Some(at) = round.keys.iter().position(|other| other == key) {
                return Role::Waits(Arc::clone(&round.round), at);
            }
            if lists.has_room(round.keys.len() + 1, round.bytes + length) {
                round.keys.push(key.to_vec());
                round.bytes += length;
                let (joined, at) = (Arc::clone(&round.round), round.keys.len() - 1);
                if !lists.has_room(round.keys.len() + 1, round.bytes) {
                    close(open);
                }
                return Role::Waits(joined, at);
            }
        }
        let round = Arc::new(Round { leader: parker.waker().clone(), state: Mutex::default() });
        let fresh = Open { round: Arc::clone(&round), keys: vec![key.to_vec()], bytes: length };
        let full = open.replace(fresh);
        drop(open);
        if let Some(full) = full {
            full.close();
        }
        Role::Leads(Leading { gatherer: self, round })
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        // Nothing panics while it is held.
        self.open.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn close(mut open: MutexGuard<'_, Option<Open>>) {
    let taken = open.take();
    drop(open);
    if let Some(round) = taken {
        round.close();
    }
}

impl Open {
    /// No more keys: the leader goes on.
    fn close(self) {
        self.round.state().closed = Some(self.keys);
        self.round.leader.wake_by_ref();
    }
}

impl Round {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn end(&self, ended: Ended) {
        let waiters = {
            let mut state = self.state();
            if state.ended.is_none() {
                state.ended = Some(ended);
            }
            std::mem::take(&mut state.waiters)
        };
        waiters.iter().for_each(Waker::wake_by_ref);
    }

    /// How it ended, waited for until `end`.
    fn wait(&self, clock: &dyn Clock, end: Tick, parker: &Parker) -> Option<Ended> {
        self.state().waiters.push(parker.waker().clone());
        loop {
            if let Some(ended) = self.state().ended.clone() {
                return Some(ended);
            }
            if clock.now() >= end {
                return None;
            }
            parker.wait(clock, end);
        }
    }
}

/// The round of a leader. Dropped before it ended, it is given up.
struct Leading<'a> {
    gatherer: &'a Gatherer,
    round: Arc<Round>,
}

impl Leading<'_> {
    /// The keys, once the window is over or the round is full: its own is the first.
    fn keys(&self, clock: &dyn Clock, parker: &Parker) -> Vec<Vec<u8>> {
        let at = clock.now().after(self.gatherer.window);
        loop {
            if let Some(keys) = self.round.state().closed.take() {
                return keys;
            }
            if clock.now() >= at
                && let Some(open) = self.gatherer.open().take_if(|open| Arc::ptr_eq(&open.round, &self.round))
            {
                return open.keys;
            }
            parker.wait(clock, at);
        }
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        drop(self.gatherer.open().take_if(|open| Arc::ptr_eq(&open.round, &self.round)));
        self.round.end(Ended::GivenUp);
    }
}

impl HttpSource {
    /// A load of one record, together with others that begin within the window.
    pub(crate) fn gathered(
        &self,
        lists: &Lists,
        gatherer: &Gatherer,
        key: &[u8],
        version: Option<&[u8]>,
        left: Duration,
    ) -> Result<Loaded<Vec<u8>>, SourceError> {
        let clock = &*self.traffic.clock;
        let end = clock.now().after(left.min(self.limits.timeout));
        if end.since(clock.now()) <= gatherer.window || !lists.has_room(1, template::encoded(key).len()) {
            return self.load(key, version, left);
        }
        let parker = Parker::new();
        let (ended, at) = match gatherer.join(lists, key, &parker) {
            Role::Leads(leading) => {
                let keys = leading.keys(clock, &parker);
                if keys.len() == 1 {
                    return self.load(key, version, end.since(clock.now()));
                }
                let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let ended = match self.ask_for(lists, &asked, end.since(clock.now())) {
                    Ok(listed) => Ended::Listed(Arc::new(listed)),
                    // Its own lateness: dropped, the round is given up.
                    Err(error) if error.failure() == Failure::TimedOut => return Err(error),
                    Err(error) => Ended::Failed(error),
                };
                leading.round.end(ended.clone());
                (ended, 0)
            }
            Role::Waits(round, at) => {
                let ended = round.wait(clock, end, &parker).ok_or_else(|| {
                    let words = "the deadline passed while another caller's request was to bring the record";
                    SourceError::new(Failure::TimedOut, words)
                })?;
                (ended, at)
            }
        };
        match ended {
            Ended::Listed(listed) => self.listed(key, &listed, at),
            Ended::Failed(error) => Err(error),
            Ended::GivenUp => self.load(key, version, end.since(clock.now())),
        }
    }
}
