//! One call for the usual case: some records, the operation that changes the database, and one elsewhere that must go with it.
//!
//! Nothing but a [`Transaction`] in the shape in which it is asked for most. Invariant: whatever fails, the cache shows nothing that was
//! not applied.

use std::time::Duration;

use crate::cache::CacheOf;
use crate::entry::Lookup;
use crate::pattern::{KeyBytes, PatternError};
use crate::source::{Lifetime, Outcome};
use crate::transaction::{Step, StepCx, StepDone, Transacted, Transaction, Wrote};

/// A record as the cache is to show it once all is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUpdate<V> {
    /// The key.
    pub key: String,
    /// The record.
    pub data: V,
    /// How long it may be served; `None`: as long as the cache's options say.
    pub ttl: Option<Duration>,
}

/// An operation of the program's. It answers as a source does: rejected only where it certainly did nothing, and unknown where nobody can
/// know.
pub type Operation = Box<dyn FnOnce(&StepCx<'_>) -> Outcome<()> + Send>;

/// What [`write_through_cache`] does.
pub struct WriteThrough<V> {
    /// What the cache is to show: what the database operation writes.
    pub cache_updates: Vec<CacheUpdate<V>>,
    /// Changes the database. First of all.
    pub database_operation: Operation,
    /// Takes that back, where the external operation is refused.
    pub undo_database: Option<Operation>,
    /// Does what has to go with it elsewhere: a payment, a message.
    pub external_operation: Option<Operation>,
    /// Which keys are forgotten once the database may have been changed: see
    /// [`CacheOf::invalidate_pattern`](crate::CacheOf::invalidate_pattern).
    pub invalidate_patterns: Vec<String>,
    /// How long all of it may take; `None`: as long as a write.
    pub deadline: Option<Duration>,
}

impl<V> WriteThrough<V> {
    /// Updates, and the operation that makes them so.
    pub fn new(
        cache_updates: impl IntoIterator<Item = CacheUpdate<V>>,
        database_operation: impl FnOnce(&StepCx<'_>) -> Outcome<()> + Send + 'static,
    ) -> Self {
        Self {
            cache_updates: cache_updates.into_iter().collect(),
            database_operation: Box::new(database_operation),
            undo_database: None,
            external_operation: None,
            invalidate_patterns: Vec::new(),
            deadline: None,
        }
    }
}

/// Changes the database, does what goes with it, and shows the updates once both are done, all in one step; it blocks this thread
/// meanwhile. Readers see what was here before until then.
///
/// - Committed: the updates are shown, and the patterns forgotten.
/// - The database operation was refused: the cache is as it was.
/// - The external operation was refused: `undo_database` is run. The keys of the updates are asked for again, since
///   the database has been written twice; without it, or where it fails, that is [`Transacted::Partial`], and they are asked for as well.
///   The cache never shows the old records on the strength of having held them.
/// - What became of an operation is not known: [`Transacted::InDoubt`], nothing is undone, and the keys of the updates are asked for. Of the
///   database operation, they are in doubt until its settle window is over.
///
/// In a cache [without an origin](CacheOf::look_aside), to be asked for is a miss.
///
/// # Errors
/// A pattern is none. Nothing was done.
///
/// # Example
/// ```
/// # use std::time::Duration;
/// # use wtcache::{ByteCache, CacheUpdate, Outcome, WriteThrough, write_through_cache};
/// let cache = ByteCache::look_aside().build()?;
/// let update = CacheUpdate { key: "org:123".into(), data: b"{\"plan\":\"team\"}".to_vec(), ttl: Some(Duration::from_secs(600)) };
/// let mut write = WriteThrough::new([update], |_| Outcome::Applied(()));
/// write.external_operation = Some(Box::new(|cx| {
///     // … the payment, under cx.idempotency_key() …
///     Outcome::Applied(())
/// }));
/// write.invalidate_patterns = vec!["org:123:*".into(), "user:*:orgs".into()];
/// assert!(write_through_cache(&cache, write)?.is_committed());
/// assert!(cache.peek("org:123").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_through_cache<L>(
    context: &CacheOf<L>,
    write: WriteThrough<L::Value>,
) -> Result<Transacted<L>, PatternError>
where
    L: KeyBytes,
    str: Lookup<L>,
{
    Ok(write_through_transaction(context, write)?.run())
}

/// The transaction that [`write_through_cache`] runs, to be run by other means: shown from its begin, or by a task.
///
/// # Errors
/// A pattern is none. Nothing was done.
pub fn write_through_transaction<L>(
    context: &CacheOf<L>,
    write: WriteThrough<L::Value>,
) -> Result<Transaction<L>, PatternError>
where
    L: KeyBytes,
    str: Lookup<L>,
{
    let WriteThrough { cache_updates, database_operation, undo_database, external_operation, .. } = write;
    let mut transaction = context.transaction();
    if let Some(deadline) = write.deadline {
        transaction = transaction.deadline(deadline);
    }
    for pattern in &write.invalidate_patterns {
        transaction = transaction.invalidate_pattern(pattern)?;
    }
    let keys: Vec<String> = cache_updates.iter().map(|update| update.key.clone()).collect();
    for CacheUpdate { key, data, ttl } in cache_updates {
        transaction = transaction.update_for(key.as_str(), data, ttl.map_or(Lifetime::Default, Lifetime::For));
    }
    let written = keys.clone();
    let mut database = Step::call(move |cx| {
        database_operation(cx)
            .map(|()| written.iter().fold(StepDone::new(), |done, key| done.wrote(key.as_str(), Wrote::AsSent)))
    });
    for key in &keys {
        database = database.writes(key.as_str());
    }
    if let Some(undo) = undo_database {
        // What the database has then, nobody here was told.
        database = database.undo(move |cx| undo(cx).map(|()| StepDone::new()));
    }
    transaction = transaction.step(database);
    if let Some(external) = external_operation {
        transaction = transaction.step(Step::call(move |cx| external(cx).map(|()| StepDone::new())));
    }
    Ok(transaction)
}
