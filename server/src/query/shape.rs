//! The body of a query's answer: which records, in which order, and what of each.
//!
//! Invariant: without `sort`, records stay in the order they came in; those that compare the same stay so too. A record that is shown whole
//! goes out byte by byte as it is held.

use std::cmp::Ordering;

use serde_json::{Map, Value};
use wtcache::{Bytes, Entry};

use super::parse::{Query, Select};
use crate::record::NULL;
use crate::schema::Attribute;

/// A JSON array of what the query asks to see of `entries`.
pub(super) fn response(query: &Query<'_>, mut entries: Vec<Entry<Bytes>>) -> Vec<u8> {
    if !query.sort.is_empty() {
        // Each record is parsed once, not once a comparison.
        entries.sort_by_cached_key(|entry| Place::of(&query.sort, &members(entry)));
    }
    let range = query.limit.clone().unwrap_or(0..usize::MAX);
    let shown = entries.iter().skip(range.start).take(range.end - range.start);
    let mut body = vec![b'['];
    for (n, entry) in shown.enumerate() {
        if n > 0 {
            body.push(b',');
        }
        match &query.select {
            None => body.extend_from_slice(entry.value()),
            Some(select) => body.extend_from_slice(selected(select, members(entry)).to_string().as_bytes()),
        }
    }
    body.push(b']');
    body
}

/// What is selected of one record.
pub(super) fn part(select: &Select<'_>, entry: &Entry<Bytes>) -> Vec<u8> {
    selected(select, members(entry)).to_string().into_bytes()
}

fn members(entry: &Entry<Bytes>) -> Map<String, Value> {
    serde_json::from_slice(entry.value()).unwrap_or_default()
}

fn selected(select: &Select<'_>, mut record: Map<String, Value>) -> Value {
    let mut value = |name: &str| record.get_mut(name).map(Value::take);
    match select {
        Select::Value(name) => value(name).unwrap_or_default(),
        Select::Values(names) => names.iter().map(|name| value(name).unwrap_or_default()).collect(),
        Select::Members(names) => {
            names.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect::<Map<_, _>>().into()
        }
    }
}

/// Where a record belongs: by the first attribute, among those that are the same there by the second, and so on. Null is least; a list
/// goes by its first member.
#[derive(PartialEq, Eq)]
struct Place(Vec<(Option<Vec<u8>>, bool)>);

impl Place {
    fn of(sort: &[(&Attribute, bool)], record: &Map<String, Value>) -> Self {
        let value = |attribute: &Attribute| {
            attribute.values(record.get(&attribute.name)).into_iter().next().filter(|value| value != NULL)
        };
        Self(sort.iter().map(|(attribute, descends)| (value(attribute), *descends)).collect())
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let mut each = self.0.iter().zip(&other.0).map(|((mine, descends), (theirs, _))| {
            let order = mine.cmp(theirs);
            if *descends { order.reverse() } else { order }
        });
        each.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
