//! Small sources for the tests of this folder: a map behind a mutex, and a source of closures.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its own part")]

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wtcache::{
    Confirmed, Declared, Failure, Layout, Lifetime, LoadCx, Loaded, Outcome, Record, Rejection, Source, SourceError,
    Typed, WriteCx,
};

pub const SECOND: Duration = Duration::from_secs(1);

/// What a shelf makes of the next write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    #[default]
    Apply,
    /// Applies it, and says that the record was not seen.
    ApplyUnseen,
    Reject,
    /// Refuses, and says that this proves the cache out of date.
    RejectStale,
    /// Does not know, and did not apply it.
    UnknownLost,
}

/// An origin in memory. Clones are the same origin.
pub struct Shelf<K, V>(Arc<Mutex<ShelfState<K, V>>>);

pub struct ShelfState<K, V> {
    pub records: HashMap<K, V>,
    pub lifetime: Lifetime,
    pub answer: Answer,
    pub gets: usize,
    pub writes: usize,
}

impl<K, V> Clone for Shelf<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Hash + Eq, V> Shelf<K, V> {
    pub fn new() -> Self {
        Self::of([])
    }

    pub fn of(records: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(Arc::new(Mutex::new(ShelfState {
            records: records.into_iter().collect(),
            lifetime: Lifetime::Default,
            answer: Answer::Apply,
            gets: 0,
            writes: 0,
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, ShelfState<K, V>> {
        self.0.lock().unwrap()
    }

    /// Changes a record behind the cache's back.
    pub fn set(&self, key: K, value: V) {
        self.state().records.insert(key, value);
    }

    pub fn answer(&self, answer: Answer) {
        self.state().answer = answer;
    }

    pub fn lifetime(&self, lifetime: Lifetime) {
        self.state().lifetime = lifetime;
    }

    pub fn gets(&self) -> usize {
        self.state().gets
    }
}

impl<K, V> Source<Typed<K, V>> for Shelf<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn get(&self, key: &K, _: &LoadCx<'_, Typed<K, V>>) -> Result<Loaded<V>, SourceError> {
        let mut state = self.state();
        state.gets += 1;
        let lifetime = state.lifetime;
        Ok(match state.records.get(key) {
            Some(value) => Loaded::Found(Record::new(value.clone()).lifetime(lifetime)),
            None => Loaded::Absent,
        })
    }

    fn put(&self, key: &K, value: &V, _: &WriteCx<'_, Typed<K, V>>) -> Outcome<Confirmed<V>> {
        let mut state = self.state();
        state.writes += 1;
        let record = Record::new(value.clone()).lifetime(state.lifetime);
        match state.answer {
            Answer::Apply => {
                state.records.insert(key.clone(), value.clone());
                Outcome::Applied(Confirmed::Record(record))
            }
            Answer::ApplyUnseen => {
                state.records.insert(key.clone(), value.clone());
                Outcome::Applied(Confirmed::Unseen)
            }
            Answer::Reject => Outcome::Rejected(Rejection::new(refused())),
            Answer::RejectStale => Outcome::Rejected(Rejection::stale(refused())),
            Answer::UnknownLost => Outcome::Unknown(broken()),
        }
    }

    fn delete(&self, key: &K, _: &WriteCx<'_, Typed<K, V>>) -> Outcome<()> {
        let mut state = self.state();
        state.writes += 1;
        match state.answer {
            Answer::Apply | Answer::ApplyUnseen => {
                state.records.remove(key);
                Outcome::Applied(())
            }
            Answer::Reject => Outcome::Rejected(Rejection::new(refused())),
            Answer::RejectStale => Outcome::Rejected(Rejection::stale(refused())),
            Answer::UnknownLost => Outcome::Unknown(broken()),
        }
    }
}

pub fn refused() -> SourceError {
    SourceError::new(Failure::Refused, "the origin refuses")
}

pub fn broken() -> SourceError {
    SourceError::new(Failure::Broken, "the connection broke")
}

type Get<L> =
    Box<dyn Fn(&<L as Layout>::Key, &LoadCx<'_, L>) -> Result<Loaded<<L as Layout>::Value>, SourceError> + Send + Sync>;
type Put<L> = Box<
    dyn Fn(&<L as Layout>::Key, &<L as Layout>::View, &WriteCx<'_, L>) -> Outcome<Confirmed<<L as Layout>::Value>>
        + Send
        + Sync,
>;
type Delete<L> = Box<dyn Fn(&<L as Layout>::Key, &WriteCx<'_, L>) -> Outcome<()> + Send + Sync>;

/// A source of closures. Without others, a put is applied unseen and a delete is applied.
pub struct Fns<L: Layout> {
    get: Get<L>,
    put: Put<L>,
    delete: Delete<L>,
    declared: Declared,
}

impl<L: Layout> Fns<L> {
    pub fn get(
        get: impl Fn(&L::Key, &LoadCx<'_, L>) -> Result<Loaded<L::Value>, SourceError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            get: Box::new(get),
            put: Box::new(|_, _, _| Outcome::Applied(Confirmed::Unseen)),
            delete: Box::new(|_, _| Outcome::Applied(())),
            declared: Declared::default(),
        }
    }

    pub fn put(
        mut self,
        put: impl Fn(&L::Key, &L::View, &WriteCx<'_, L>) -> Outcome<Confirmed<L::Value>> + Send + Sync + 'static,
    ) -> Self {
        self.put = Box::new(put);
        self
    }

    pub fn delete(mut self, delete: impl Fn(&L::Key, &WriteCx<'_, L>) -> Outcome<()> + Send + Sync + 'static) -> Self {
        self.delete = Box::new(delete);
        self
    }

    pub fn declared(mut self, change: impl FnOnce(&mut Declared)) -> Self {
        change(&mut self.declared);
        self
    }
}

impl<L: Layout> Source<L> for Fns<L> {
    fn get(&self, key: &L::Key, cx: &LoadCx<'_, L>) -> Result<Loaded<L::Value>, SourceError> {
        (self.get)(key, cx)
    }

    fn put(&self, key: &L::Key, value: &L::View, cx: &WriteCx<'_, L>) -> Outcome<Confirmed<L::Value>> {
        (self.put)(key, value, cx)
    }

    fn delete(&self, key: &L::Key, cx: &WriteCx<'_, L>) -> Outcome<()> {
        (self.delete)(key, cx)
    }

    fn declared(&self) -> Declared {
        self.declared.clone()
    }
}

/// Runs `work` in a thread of its own; a deadlock fails the test instead of hanging it.
pub fn within_ten_seconds<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    let thread = std::thread::spawn(move || {
        let _ = done.send(work());
    });
    match result.recv_timeout(Duration::from_secs(10)) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("deadlock: still at work after ten seconds"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("the result is sent before the end"),
        },
    }
}

/// A seed that differs from run to run, unless `WTCACHE_SEED` gives one.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    match std::env::var("WTCACHE_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => RandomState::new().hash_one(0u64),
    }
}
