//! The records that a query is about: by one index, or by their keys.
//!
//! Owns which index is asked, and the loads of what it found that has expired. Invariants: a query looks at what an index has of it, and never at all that is resident;
//! what is loaded meets the whole filter before it is taken; no request has more loads under way than [`AT_ONCE`], nor begins
//! more than [`MOST_LOADS`] of expired records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Map, Value};
use tokio::task::JoinSet;
use wtcache::{Bytes, Call, Entry, Found, How, LoadError, Read};

use super::FirstFailure;
use super::filter::{Filter, Operator};
use super::range::Range;
use crate::asked::Asked;
use crate::schema::Attribute;
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

/// The resident records that a filter finds, `None` where no index can tell. What has expired, or does not do for what the client takes, is loaded
/// again.
pub(super) async fn by_index(table: &ServedTable, filter: &Filter<'_>, wants: &Asked) -> Option<ByIndex> {
    let call = wants.call();
    let mut found = candidates(table, filter)?;
    if wants.is_of_freshness() {
        found.only_those_that_do(table, wants, &call);
    }
    let Candidates { entries, expired } = found;
    let seen = entries.len();
    let mut found: BTreeMap<Vec<u8>, Entry<Bytes>> =
        entries.into_iter().filter(|(_, entry)| holds(filter, entry)).collect();
    let mut keys: Vec<String> = expired.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect();
    let most = if wants.only_if_cached { 0 } else { MOST_LOADS };
    let not_tried = keys.len().saturating_sub(most);
    keys.truncate(most);
    let tried = keys.len();
    let (mut failed, mut failure) = (0, None);
    let mut answers = load(table, &keys, &call).await;
    // Queries are about what the origin confirmed, and what is pending may lie above it.
    confirm(table, &keys, &mut answers, &call).await;
    for (key, loaded) in keys.iter().zip(answers) {
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
    fn of(found: Found<Bytes>) -> Self {
        let entries = found.entries.into_iter().map(|entry| (entry.key().to_vec(), entry)).collect();
        let expired = found.expired_keys.iter().map(|expired| expired.key().to_vec()).collect();
        Self { entries, expired }
    }

    fn count(&self) -> usize {
        self.entries.len() + self.expired.len()
    }

    /// What a read of each would not be given by these words of the client's counts as expired, and what it would be given, though expired, does not.
    fn only_those_that_do(&mut self, table: &ServedTable, wants: &Asked, call: &Call) {
        let keys: Vec<Vec<u8>> = self.entries.keys().chain(&self.expired).cloned().collect();
        for key in keys {
            match table.cache().read_resident(key.as_slice(), call) {
                // What lies beneath is what was found; how old that is, a load has to tell.
                Some(read) if read.how == How::Pending && wants.only_if_cached => {}
                Some(Read { how, entry: Some(entry), .. }) if how != How::Pending => {
                    self.expired.remove(&key);
                    self.entries.insert(key, entry);
                }
                _ => {
                    self.entries.remove(&key);
                    self.expired.insert(key);
                }
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.expired.extend(other.expired);
    }
}

/// All that can hold of the filter. Of conditions that must all hold: what the equality with the fewest hits finds; without one, the range with
/// the fewest.
fn candidates(table: &ServedTable, filter: &Filter<'_>) -> Option<Candidates> {
    match filter {
        Filter::Is(condition) if condition.operator == Operator::Equal => {
            let found = table.cache().find(&condition.attribute.name, &condition.operand)?;
            condition.attribute.indexed.then(|| Candidates::of(found))
        }
        Filter::Is(condition) => between(table, condition.attribute, Range::of(condition)?),
        Filter::All(filters) => {
            let (exact, others): (Vec<_>, Vec<_>) = filters.iter().partition(|filter| is_exact(filter));
            let of = |filters: Vec<&Filter<'_>>| {
                filters.into_iter().filter_map(|filter| candidates(table, filter)).min_by_key(Candidates::count)
            };
            if !exact.is_empty() {
                return of(exact);
            }
            let ranges = ranges(&others).into_iter();
            let ranges = ranges.filter_map(|(attribute, range)| between(table, attribute, range));
            let groups = others.into_iter().filter(|filter| !matches!(filter, Filter::Is(_))).collect();
            ranges.chain(of(groups)).min_by_key(Candidates::count)
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

/// Whether equality alone finds what can hold of the filter.
fn is_exact(filter: &Filter<'_>) -> bool {
    match filter {
        Filter::Is(condition) => condition.operator == Operator::Equal && condition.attribute.indexed,
        Filter::All(filters) => filters.iter().any(is_exact),
        Filter::Any(filters) => filters.iter().all(is_exact),
    }
}

/// The ranges of conditions that must all hold: of each attribute one, but of a list, of which another member may be meant by each.
fn ranges<'t>(filters: &[&Filter<'t>]) -> Vec<(&'t Attribute, Range)> {
    let mut ranges: Vec<(&Attribute, Range)> = Vec::new();
    for filter in filters {
        let Filter::Is(condition) = filter else { continue };
        let Some(range) = Range::of(condition) else { continue };
        let attribute = condition.attribute;
        match ranges.iter().position(|(known, _)| known.name == attribute.name && !attribute.list) {
            Some(at) => {
                let (attribute, known) = ranges.swap_remove(at);
                ranges.push((attribute, known.within(range)));
            }
            None => ranges.push((attribute, range)),
        }
    }
    ranges
}

fn between(table: &ServedTable, attribute: &Attribute, range: Range) -> Option<Candidates> {
    let (from, to) = (range.from.as_ref().map(Vec::as_slice), range.to.as_ref().map(Vec::as_slice));
    table.cache().find_between(&attribute.name, from, to).map(Candidates::of)
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

/// The records of these keys, as `GET` would show each, or what the origin `confirmed` of them.
pub(super) async fn by_keys(table: &ServedTable, keys: &[String], wants: &Asked, confirmed: bool) -> ByKeys {
    let mut batch = ByKeys { entries: Vec::new(), loaded: 0, absent: 0, failed: 0, failure: None, pending: false };
    let call = wants.call();
    let answers: Vec<Option<Loaded>> = if wants.only_if_cached {
        let does = |read: &Read<Bytes>| !confirmed || read.how != How::Pending;
        let resident = |key: &String| table.cache().read_resident(key.as_str(), &call).filter(does).map(Ok);
        keys.iter().map(resident).collect()
    } else {
        let mut answers = load(table, keys, &call).await;
        if confirmed {
            confirm(table, keys, &mut answers, &call).await;
        }
        answers.into_iter().map(Some).collect()
    };
    for loaded in answers {
        // It is not here, and nothing else is taken.
        let Some(loaded) = loaded else {
            batch.failed += 1;
            continue;
        };
        batch.loaded +=
            usize::from(!matches!(&loaded, Ok(read) if matches!(read.how, How::Hit | How::Stale | How::Pending)));
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

/// Puts in the place of each answer that shows what is pending what the origin confirmed of its key, within one call's time for all of them.
async fn confirm(table: &ServedTable, keys: &[String], answers: &mut [Loaded], call: &Call) {
    let is_pending = |loaded: &Loaded| matches!(loaded, Ok(read) if read.how == How::Pending);
    let pending: Vec<usize> = (0..answers.len()).filter(|at| is_pending(&answers[*at])).collect();
    let end = Instant::now() + table.timeout;
    let mut lanes = JoinSet::new();
    for places in pending.chunks(pending.len().div_ceil(AT_ONCE).max(1)) {
        let keys: Vec<(usize, String)> = places.iter().map(|at| (*at, keys[*at].clone())).collect();
        let (cache, call) = (table.cache.clone(), call.clone());
        lanes.spawn(async move {
            let mut confirmed: Vec<(usize, Loaded)> = Vec::new();
            for (at, key) in keys {
                let call = call.clone().deadline(end.saturating_duration_since(Instant::now()));
                confirmed.push((at, cache.read_confirmed(key.as_str(), &call).await));
            }
            confirmed
        });
    }
    while let Some(lane) = lanes.join_next().await {
        // A panic of the cache's is the request's.
        for (at, loaded) in lane.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            answers[at] = loaded;
        }
    }
}

/// The answer for each key. They are split among a few calls, no more than it takes where the source loads several together; what it
/// cannot load so, each loads one after the other. Ended with the request.
async fn load(table: &ServedTable, keys: &[String], call: &Call) -> Vec<Loaded> {
    let mut lanes = JoinSet::new();
    let length = keys.len().div_ceil(AT_ONCE).max(table.most_together);
    for (lane, keys) in keys.chunks(length).enumerate() {
        let (cache, keys, call) = (table.cache.clone(), keys.to_vec(), call.clone());
        lanes.spawn(async move { (lane, cache.get_many(keys.iter().map(String::as_str), &call).await) });
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
