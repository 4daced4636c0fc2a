//! The source under attack: the HTTP adapter, with the time of every send noted, and, where the attack itself is on trial, a lie.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use wtcache::{Bytes, Confirmed, Declared, LoadCx, Loaded, Outcome, Rejection, Source, SourceError, WriteCx};
use wtcache_http_source::HttpSource;

/// How a source breaks its word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    /// It does not.
    #[default]
    None,
    /// Nobody knows whether a write was applied: it says that it was refused.
    UnknownIsRejected,
    /// Nobody knows whether a write was applied: it says that it was, without its record.
    UnknownIsApplied,
    /// What a put confirms is the record that the key's put before it confirmed.
    OldRecord,
    /// A load answers what the key's load before it found.
    OldLoad,
}

/// When each write was given to the source, by the idempotency key it carries: once, and again with each replay.
#[derive(Clone, Default)]
pub(crate) struct Sends(Arc<Mutex<HashMap<String, Vec<SystemTime>>>>);

impl Sends {
    fn note(&self, cx: &WriteCx<'_, Bytes>) {
        let mut sends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sends.entry(cx.idempotency_key().to_string()).or_default().push(SystemTime::now());
    }

    /// The send that reached the origin at `received`, as far as it can be told: the last before. None: it never got so far.
    pub(crate) fn of(&self, idempotency_key: &str, received: SystemTime) -> Option<SystemTime> {
        let sends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sends.get(idempotency_key)?.iter().rfind(|sent| **sent <= received).copied()
    }
}

pub(crate) struct Watched {
    pub(crate) http: Arc<HttpSource>,
    pub(crate) sends: Sends,
    pub(crate) lie: Lie,
    pub(crate) before: Mutex<HashMap<Vec<u8>, Loaded<Vec<u8>>>>,
}

impl Watched {
    fn told<T>(&self, outcome: Outcome<T>, unseen: T) -> Outcome<T> {
        match (self.lie, outcome) {
            (Lie::UnknownIsRejected, Outcome::Unknown(error)) => Outcome::Rejected(Rejection::new(error)),
            (Lie::UnknownIsApplied, Outcome::Unknown(_)) => Outcome::Applied(unseen),
            (_, outcome) => outcome,
        }
    }

    /// What was found before, `now` in its place.
    fn swap(&self, key: &[u8], now: Loaded<Vec<u8>>) -> Option<Loaded<Vec<u8>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_vec(), now)
    }
}

impl Source<Bytes> for Watched {
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        let loaded = self.http.get(key, cx)?;
        if self.lie == Lie::OldLoad && !matches!(loaded, Loaded::Unchanged(_)) {
            return Ok(self.swap(key, loaded.clone()).unwrap_or(loaded));
        }
        Ok(loaded)
    }

    fn put(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        self.sends.note(cx);
        let outcome = self.told(self.http.put(key, value, cx), Confirmed::Unseen);
        if self.lie == Lie::OldRecord
            && let Outcome::Applied(Confirmed::Record(record)) = &outcome
            && let Some(Loaded::Found(old)) = self.swap(key, Loaded::Found(record.clone()))
        {
            return Outcome::Applied(Confirmed::Record(old));
        }
        outcome
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        self.sends.note(cx);
        self.told(self.http.delete(key, cx), ())
    }

    fn declared(&self) -> Declared {
        self.http.declared()
    }
}
