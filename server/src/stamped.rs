//! `@createdTime` and `@updatedTime`: times that the server writes into the records that it puts.
//!
//! They are written inside the table's source, in the key's turn, so that whatever makes a put has them: a client's PUT or PATCH, a transaction. Invariant:
//! what is sent has both; the creation time of a record that is there stays what it is.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Number, Value};
use wtcache::{
    Bytes, Confirmed, CreateCx, Declared, Entry, Failure, LoadCx, LoadError, LoadMany, Loaded, Made, Outcome, Record,
    Rejection, Source, SourceError, WriteCx,
};

use crate::schema::{Stamp, Table};

/// A source whose puts have their times in them.
pub(crate) struct Stamped<S> {
    pub(crate) source: S,
    /// The attribute with the time at which a record was created.
    pub(crate) created: Option<String>,
    /// The same of its last put.
    pub(crate) updated: Option<String>,
}

impl<S: Source<Bytes>> Source<Bytes> for Stamped<S> {
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        self.source.get(key, cx)
    }

    fn put(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        let stamped = match self.stamped(value, || cx.existing()) {
            Ok(stamped) => stamped,
            Err(error) => return Outcome::Rejected(Rejection::new(error)),
        };
        match self.source.put(key, &stamped, cx) {
            // What was sent is not what the cache was given.
            Outcome::Applied(Confirmed::AsSent { version, lifetime }) if self.source.declared().stores_verbatim => {
                let mut record = Record::new(stamped).lifetime(lifetime);
                record.version = version;
                Outcome::Applied(Confirmed::Record(record))
            }
            outcome => outcome,
        }
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        self.source.delete(key, cx)
    }

    /// A record that is made has no time of its own yet, but what the client says of it.
    fn create(&self, value: &[u8], cx: &CreateCx<'_>) -> Outcome<Made<Bytes>> {
        let stamped = match self.stamped(value, || Ok(None)) {
            Ok(stamped) => stamped,
            Err(error) => return Outcome::Rejected(Rejection::new(error)),
        };
        self.source.create(&stamped, cx)
    }

    fn load_many(&self) -> Option<&dyn LoadMany<Bytes>> {
        self.source.load_many()
    }

    fn declared(&self) -> Declared {
        self.source.declared()
    }
}

impl<S> Stamped<S> {
    /// `existing`: the record that is there.
    fn stamped(
        &self,
        value: &[u8],
        existing: impl FnOnce() -> Result<Option<Entry<Bytes>>, LoadError>,
    ) -> Result<Vec<u8>, SourceError> {
        let now = Value::Number(Number::from(millis(SystemTime::now())));
        let mut record = parsed(value)?;
        if let Some(name) = &self.created {
            let existing = existing().map_err(|error| {
                let message = format!("the time of its creation could not be read: {error}");
                SourceError::new(Failure::Failed, message).with_cause(error)
            })?;
            // Of a record that is there, its own; of a new one, what the client says.
            let kept = match existing {
                Some(entry) => parsed(entry.value())?.remove(name),
                None => record.get(name).cloned(),
            };
            record.insert(name.clone(), kept.filter(|kept| !kept.is_null()).unwrap_or_else(|| now.clone()));
        }
        if let Some(name) = &self.updated {
            record.insert(name.clone(), now);
        }
        serde_json::to_vec(&record).map_err(|error| SourceError::new(Failure::Invalid, error.to_string()))
    }
}

/// The time of the last put, written into a patch that the origin merges.
pub(crate) fn stamp_patch(schema: &Table, patch: &mut Map<String, Value>) {
    if let Some(name) = schema.stamp(Stamp::Updated) {
        patch.insert(name, Value::Number(Number::from(millis(SystemTime::now()))));
    }
}

fn parsed(value: &[u8]) -> Result<Map<String, Value>, SourceError> {
    serde_json::from_slice(value).map_err(|error| SourceError::new(Failure::Invalid, error.to_string()))
}

fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
