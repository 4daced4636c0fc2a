//! A table's HTTP origin, which another one can take the place of: the same records, asked for otherwise.
//!
//! Invariant: a call that has begun ends with the source that it began with; what was counted of a source goes on where another has taken its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use wtcache::{
    Batch, Bytes, Confirmed, CreateCx, Declared, LoadCx, LoadMany, Loaded, Made, Outcome, Source, SourceError, WriteCx,
};
use wtcache_http_source::{HttpSource, SourceStats};

/// The source that is in use now.
pub(crate) struct Current {
    now: RwLock<Arc<HttpSource>>,
    before: Mutex<Before>,
}

/// Those that were.
#[derive(Default)]
struct Before {
    /// What those did that are gone.
    counted: Option<SourceStats>,
    /// They have calls under way, or had when they were last looked at.
    ending: Vec<Arc<HttpSource>>,
}

impl Current {
    pub(crate) fn new(source: Arc<HttpSource>) -> Self {
        Self { now: RwLock::new(source), before: Mutex::default() }
    }

    pub(crate) fn get(&self) -> Arc<HttpSource> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls that begin from now on are this one's.
    pub(crate) fn set(&self, source: Arc<HttpSource>) {
        let mut before = self.before();
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        before.ending.push(std::mem::replace(&mut now, source));
    }

    /// What all of them did, and what is under way.
    pub(crate) fn stats(&self) -> SourceStats {
        // Held throughout, so that none is counted twice.
        let mut before = self.before();
        before.let_go();
        let now = self.get().stats();
        let ending = before.ending.iter().map(|source| source.stats());
        let earlier = before.counted.clone().into_iter().chain(ending).reduce(SourceStats::followed_by);
        match earlier {
            Some(earlier) => earlier.followed_by(now),
            None => now,
        }
    }

    /// Lets go of those that nobody uses any more, with their connections.
    pub(crate) fn let_go(&self) {
        self.before().let_go();
    }

    fn before(&self) -> MutexGuard<'_, Before> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Before {
    fn let_go(&mut self) {
        for source in std::mem::take(&mut self.ending) {
            if Arc::strong_count(&source) > 1 {
                self.ending.push(source);
                continue;
            }
            let ended = source.stats().ended();
            self.counted = Some(match self.counted.take() {
                Some(counted) => counted.followed_by(ended),
                None => ended,
            });
        }
    }
}

impl Source<Bytes> for Current {
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        Source::get(&*Current::get(self), key, cx)
    }

    fn put(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        Current::get(self).put(key, value, cx)
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        Current::get(self).delete(key, cx)
    }

    fn create(&self, value: &[u8], cx: &CreateCx<'_>) -> Outcome<Made<Bytes>> {
        Source::create(&*Current::get(self), value, cx)
    }

    fn load_many(&self) -> Option<&dyn LoadMany<Bytes>> {
        // Whether it can does not change: a table with another batch is opened anew.
        Current::get(self).load_many().is_some().then_some(self)
    }

    fn declared(&self) -> Declared {
        Current::get(self).declared()
    }
}

impl LoadMany<Bytes> for Current {
    fn get_many(&self, batch: &mut Batch<'_, Bytes>) -> Result<(), SourceError> {
        let source = Current::get(self);
        match source.load_many() {
            Some(many) => many.get_many(batch),
            // Each key then has an error that says so.
            None => Ok(()),
        }
    }

    fn most_keys(&self) -> usize {
        Current::get(self).load_many().map_or(1, LoadMany::most_keys)
    }
}
