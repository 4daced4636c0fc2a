//! A rule of the program's own inside each write of a table: validation, and merging with the existing record.
//!
//! The rule runs within the key's turn, before anything is sent. The existing record is the resident one, else it is loaded from
//! the origin then. Invariant: a write that the rule refuses, or panics in, was not sent.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value};
use wtcache::{
    Bytes, Confirmed, CreateCx, Declared, Failure, LoadCx, LoadError, LoadMany, Loaded, Made, Outcome, Rejection,
    Source, SourceError, WriteCx,
};

use crate::asker;
use crate::record::BodyError;

/// What a rule is told of the write that it is inside of.
#[derive(Clone, Copy, Debug)]
pub struct RuleCx<'a> {
    existing: Option<&'a Map<String, Value>>,
    principal: Option<&'a str>,
}

impl<'a> RuleCx<'a> {
    /// The existing record; `None`: there is none. Of a transaction, which has one update of a record at most, it is what was there before the transaction;
    /// where such an update is undone, it is what the update made.
    #[must_use]
    pub fn existing(&self) -> Option<&'a Map<String, Value>> {
        self.existing
    }

    /// The name of who asks, as `auth` of the configuration has it. `None`: nobody was asked who he is, he has not said, or the write is of no
    /// request. It is known where the table's origin calls run in a [pool of the front's](crate::serve::pool).
    #[must_use]
    pub fn principal(&self) -> Option<&'a str> {
        self.principal
    }
}

/// A source with a rule before its `put`.
pub struct Hooked<S, F> {
    source: S,
    rule: F,
}

/// Puts `rule` before each put of `source`, and before each create, for which there is no existing record. It is told what there is and who asks ([`RuleCx`]), and given the record that
/// the client sent, and makes the record that goes to the origin, or refuses: the client is told 422 with the reason. A write of such a
/// table is never answered before the rule has run: what a client prefers (`respond-async`) is passed over.
///
/// # Example
/// ```
/// use serde_json::{Map, Value};
/// use wtcache_server::hook::{RuleCx, hooked};
/// use wtcache_server::record::BodyError;
///
/// /// What is not sent stays as it is, and only `ops` changes a price.
/// fn merge(cx: &RuleCx<'_>, sent: Map<String, Value>) -> Result<Map<String, Value>, BodyError> {
///     let mut merged = cx.existing().cloned().unwrap_or_default();
///     if sent.get("price").is_some_and(|price| merged.get("price") != Some(price)) && cx.principal() != Some("ops") {
///         return Err(BodyError { field: Some("price".to_owned()), message: "is for ops to change".to_owned() });
///     }
///     merged.extend(sent);
///     Ok(merged)
/// }
/// # fn example<S: wtcache::Source<wtcache::Bytes>>(source: S) -> impl wtcache::Source<wtcache::Bytes> {
/// hooked(source, merge)
/// # }
/// ```
pub fn hooked<S, F>(source: S, rule: F) -> Hooked<S, F>
where
    S: Source<Bytes>,
    F: Fn(&RuleCx<'_>, Map<String, Value>) -> Result<Map<String, Value>, BodyError> + Send + Sync + 'static,
{
    Hooked { source, rule }
}

impl<S, F> Source<Bytes> for Hooked<S, F>
where
    S: Source<Bytes>,
    F: Fn(&RuleCx<'_>, Map<String, Value>) -> Result<Map<String, Value>, BodyError> + Send + Sync + 'static,
{
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        self.source.get(key, cx)
    }

    fn put(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        let ruled = match self.ruled(value, cx) {
            Ok(ruled) => ruled,
            Err(error) => return Outcome::Rejected(Rejection::new(error)),
        };
        match self.source.put(key, &ruled, cx) {
            // What was sent is what the rule made, not what the client sent.
            Outcome::Applied(Confirmed::AsSent { version, lifetime }) if self.source.declared().stores_verbatim => {
                let mut record = wtcache::Record::new(ruled).lifetime(lifetime);
                record.version = version;
                Outcome::Applied(Confirmed::Record(record))
            }
            outcome => outcome,
        }
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        self.source.delete(key, cx)
    }

    fn create(&self, value: &[u8], cx: &CreateCx<'_>) -> Outcome<Made<Bytes>> {
        match parsed(value).and_then(|sent| self.applied(None, sent)) {
            Ok(ruled) => self.source.create(&ruled, cx),
            Err(error) => Outcome::Rejected(Rejection::new(error)),
        }
    }

    fn load_many(&self) -> Option<&dyn LoadMany<Bytes>> {
        self.source.load_many()
    }

    fn declared(&self) -> Declared {
        let mut declared = self.source.declared();
        declared.has_rule = true;
        declared
    }
}

impl<S, F> Hooked<S, F>
where
    F: Fn(&RuleCx<'_>, Map<String, Value>) -> Result<Map<String, Value>, BodyError>,
{
    fn ruled(&self, value: &[u8], cx: &WriteCx<'_, Bytes>) -> Result<Vec<u8>, SourceError> {
        let existing = cx.existing().map_err(|error| match error {
            LoadError::Source(error) => error,
            LoadError::Deadline => SourceError::new(Failure::TimedOut, "no time was left to read the existing record"),
            other => SourceError::new(Failure::Failed, format!("the existing record could not be read: {other}")),
        })?;
        let existing = existing.map(|entry| parsed(entry.value())).transpose()?;
        self.applied(existing.as_ref(), parsed(value)?)
    }

    fn applied(&self, existing: Option<&Map<String, Value>>, sent: Map<String, Value>) -> Result<Vec<u8>, SourceError> {
        // Nothing was sent yet, so that a panic of the rule is no doubt.
        let asker = asker::here();
        let cx = RuleCx { existing, principal: asker.as_deref() };
        let made = catch_unwind(AssertUnwindSafe(|| (self.rule)(&cx, sent)))
            .map_err(|_| SourceError::new(Failure::Failed, "the table's rule panicked"))?
            .map_err(|error| SourceError::new(Failure::Invalid, error.to_string()).with_cause(error))?;
        serde_json::to_vec(&made).map_err(|error| SourceError::new(Failure::Invalid, error.to_string()))
    }
}

fn parsed(value: &[u8]) -> Result<Map<String, Value>, SourceError> {
    serde_json::from_slice(value).map_err(|error| SourceError::new(Failure::Invalid, error.to_string()))
}
