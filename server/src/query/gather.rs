//! The records that a query is about: by one index, or by their keys.
//!
//! Owns which index is asked, and the loads of what it found that has expired. Invariants: no query goes through all that is resident;
//! what is loaded meets the whole filter before it is taken; no request has more loads under way than [`AT_ONCE`], nor begins
//! more than [`MOST_LOADS`] of expired records.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tokio::task::JoinSet;
use wtcache::{Bytes, Call, Entry, How, LoadError, Read};

use super::FirstFailure;
use super::filter::{Filter, Operator};
use crate::table::ServedTable;

/// Loads of one request at once: a part of the calls that a table's origin gets, so that a query holds up nobody.
const AT_ONCE: usize = 8;

/// Expired records that one query loads again; more are left out.
const MOST_LOADS: usize = 256;

type Loaded = Result<Read<Bytes>, LoadError>;

/// What an index gave for a filter.
pub(super) struct ByIndex {
    /// In the order of their keys.
    pub(super) entries: Vec<Entry<Bytes>>,
    /// Expired records that were loaded again, or could not be.
    pub(super) loaded: usize,
    pub(super) failed: usize,
    /// Expired records beyond the bound.
    pub(super) not_tried: usize,
    pub(super) failure: FirstFailure,
    /// There was something to be looked at, and all of it had to be loaded and could not be.
    pub(super) all_failed: bool,
}

/// The resident records that a filter finds, `None` where no index can tell. What has expired is loaded again.
pub(super) async fn by_index(table: &ServedTable, filter: &Filter<'_>) -> Option<ByIndex> {
    let Candidates { entries, expired } = candidates(table, filter)?;
    let seen = entries.len();
    let mut found: BTreeMap<Vec<u8>, Entry<Bytes>> =
        entries.into_iter().filter(|(_, entry)| holds(filter, entry)).collect();
    let mut keys: Vec<String> = expired.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect();
    let not_tried = keys.len().saturating_sub(MOST_LOADS);
    keys.truncate(MOST_LOADS);
    let tried = keys.len();
    let (mut failed, mut failure) = (0, None);
    for (key, loaded) in keys.iter().zip(load(table, &keys).await) {
        // Queries are about what the origin confirmed, and what is pending may lie above it.
        let loaded = match loaded {
            Ok(read) if read.how == How::Pending => table.cache.read_confirmed(key.as_str(), &Call::new()).await,
            loaded => loaded,
        };
        match loaded {
            Ok(read) => found
                .extend(read.entry.filter(|entry| holds(filter, entry)).map(|entry| (key.as_bytes().to_vec(), entry))),
            Err(error) => {
                failed += 1;
                failure.get_or_insert(error);
            }
        }
    }
    let all_failed = seen == 0 && tried > 0 && failed == tried;
    let entries = found.into_values().collect();
    Some(ByIndex { entries, loaded: tried, failed, not_tried, failure, all_failed })
}

fn holds(filter: &Filter<'_>, entry: &Entry<Bytes>) -> bool {
    // What was checked on its way in is JSON; should it not be, it is not found.
    serde_json::from_slice::<Map<String, Value>>(entry.value()).is_ok_and(|record| filter.holds(&record))
}

/// What an index holds for a condition, by key.
#[derive(Default)]
struct Candidates {
    entries: BTreeMap<Vec<u8>, Entry<Bytes>>,
    expired: BTreeSet<Vec<u8>>,
}

impl Candidates {
    fn count(&self) -> usize {
        self.entries.len() + self.expired.len()
    }

    fn add(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.expired.extend(other.expired);
    }
}

/// All that can hold of the filter: of conditions that must all hold, what the one with the fewest hits finds.
fn candidates(table: &ServedTable, filter: &Filter<'_>) -> Option<Candidates> {
    match filter {
        Filter::Is(condition) => {
            if condition.operator != Operator::Equal || !condition.attribute.indexed {
                return None;
            }
            let found = table.cache().find(&condition.attribute.name, &condition.operand)?;
            let entries = found.entries.into_iter().map(|entry| (entry.key().to_vec(), entry)).collect();
            let expired = found.expired_keys.iter().map(|expired| expired.key().to_vec()).collect();
            Some(Candidates { entries, expired })
        }
        Filter::All(filters) => {
            filters.iter().filter_map(|filter| candidates(table, filter)).min_by_key(Candidates::count)
        }
        Filter::Any(filters) => {
            let mut all = Candidates::default();
            for filter in filters {
                all.add(candidates(table, filter)?);
            }
            // A record may have been replaced between two looks.
            all.expired.retain(|key| !all.entries.contains_key(key));
            Some(all)
        }
    }
}

/// What there is of the named records.
pub(super) struct ByKeys {
    /// In the order in which they were named.
    pub(super) entries: Vec<Entry<Bytes>>,
    /// Keys of which there was no answer here.
    pub(super) loaded: usize,
    pub(super) absent: usize,
    pub(super) failed: usize,
    pub(super) failure: FirstFailure,
    /// Some show what the origin has not confirmed.
    pub(super) pending: bool,
}

/// The records of these keys, as `GET` would show each.
pub(super) async fn by_keys(table: &ServedTable, keys: &[String]) -> ByKeys {
    let mut batch = ByKeys { entries: Vec::new(), loaded: 0, absent: 0, failed: 0, failure: None, pending: false };
    for loaded in load(table, keys).await {
        batch.loaded += usize::from(!matches!(&loaded, Ok(read) if matches!(read.how, How::Hit | How::Pending)));
        match loaded {
            Ok(read) => {
                batch.pending |= read.how == How::Pending;
                match read.entry {
                    Some(entry) => batch.entries.push(entry),
                    None => batch.absent += 1,
                }
            }
            Err(error) => {
                batch.failed += 1;
                batch.failure.get_or_insert(error);
            }
        }
    }
    batch
}

/// The answer for each key. They are split among a few calls, no more than it takes where the source loads several together; what it
/// cannot load so, each loads one after the other. Ended with the request.
async fn load(table: &ServedTable, keys: &[String]) -> Vec<Loaded> {
    let mut lanes = JoinSet::new();
    let length = keys.len().div_ceil(AT_ONCE).max(table.most_together);
    for (lane, keys) in keys.chunks(length).enumerate() {
        let (cache, keys) = (table.cache.clone(), keys.to_vec());
        lanes.spawn(async move { (lane, cache.get_many(keys.iter().map(String::as_str), &Call::new()).await) });
    }
    let mut loaded: BTreeMap<usize, Vec<Loaded>> = BTreeMap::new();
    while let Some(lane) = lanes.join_next().await {
        match lane {
            Ok((lane, answers)) => {
                loaded.insert(lane, answers);
            }
            // A panic of the cache's is the request's.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    loaded.into_values().flatten().collect()
}
