//! The oracles: what the clients saw, held against what the origin applied.
//!
//! Owns: the verdicts. Never: runs anything. Invariant: the origin's log is complete when it is asked, so that a write which it
//! does not show as applied had no effect, and is no part of a history.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value as Json;
use wtcache::IdempotencyKey;
use wtcache_origin::Entry;
use wtcache_testkit::{Begun, History, Value};

/// More writes than this that nobody knows the outcome of, on one key, make the search for an order too long.
const MOST_OPEN: usize = 16;

/// Who found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Oracle {
    /// The history of a key is not linearizable.
    History,
    /// At rest, the cache shows a record that is not the origin's.
    Rest,
    /// A read gave a value that the origin never had.
    Served,
    /// The outcome of a write is not what happened: refused but applied, or applied but not.
    Outcome,
    /// What a write was said to have stored is not what was sent.
    Confirmed,
    /// A doubt or a request did not end.
    Unsettled,
    /// A thread panicked.
    Panic,
}

/// What was found, in words.
#[derive(Clone, Debug)]
pub struct Finding {
    /// By whom.
    pub oracle: Oracle,
    /// The words.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.oracle, self.text)
    }
}

/// What one operation turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Read(Value),
    Wrote(Value),
    Updated {
        read: Value,
        wrote: Value,
    },
    MayWrite(Value),
    /// Another send of a write that may have been applied before, was now, or both.
    Replayed(Value),
    /// It did not write, and read nothing.
    NotWritten,
    /// It read nothing.
    NotRead,
}

/// One operation as its client saw it. Calls and answers are stamped from one count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) client: usize,
    pub(crate) key: u64,
    /// Unique in the round, but for replays; a write's idempotency key, and its value where it puts.
    pub(crate) id: u64,
    pub(crate) call: u64,
    pub(crate) answer: u64,
    pub(crate) what: What,
}

pub(crate) fn item(key: u64) -> String {
    format!("k{key}")
}

pub(crate) fn value_of(record: &Json) -> Value {
    record.get("value").and_then(Json::as_u64)
}

pub(crate) fn idempotency_key(id: u64) -> IdempotencyKey {
    IdempotencyKey::from_bits(id.into())
}

/// What the origin did.
pub(crate) struct Done {
    /// How often each was applied, by idempotency key.
    writes: HashMap<String, usize>,
    /// Key and value of every put that was applied.
    values: std::collections::HashSet<(String, u64)>,
}

impl Done {
    pub(crate) fn new(log: &[Entry]) -> Self {
        let mut done = Self { writes: HashMap::new(), values: std::collections::HashSet::new() };
        for entry in log {
            if let Some(key) = &entry.idempotency_key {
                *done.writes.entry(key.clone()).or_default() += usize::from(entry.applied);
            }
            let body = entry.body.as_deref().and_then(|body| serde_json::from_str::<Json>(body).ok());
            if let (true, Some(id), Some(value)) = (entry.applied, &entry.id, body.as_ref().and_then(value_of)) {
                done.values.insert((id.clone(), value));
            }
        }
        done
    }

    fn times(&self, id: u64) -> usize {
        self.writes.get(&idempotency_key(id).to_string()).copied().unwrap_or(0)
    }

    fn applied(&self, id: u64) -> bool {
        self.times(id) > 0
    }

    /// A send of the write that was not answered took effect: more did than replays of it were answered as applied. (A delete is so
    /// answered also where there was nothing, so that a replay of it says nothing of the sends before.)
    fn is_open(&self, id: u64, seen: &[Seen]) -> bool {
        let answered = seen.iter().filter(|op| op.id == id && matches!(op.what, What::Replayed(Some(_)))).count();
        self.times(id) > answered
    }
}

/// Judges the history of one key. `strict`: an update is one step at the origin too, whatever strays there are.
/// True: it was too open to be searched.
pub(crate) fn key(key: u64, seen: &[Seen], done: &Done, strict: bool, log: &[Entry], found: &mut Vec<Finding>) -> bool {
    let mut add = |oracle, text| found.push(Finding { oracle, text });
    let seen: Vec<Seen> = seen.iter().filter(|op| op.key == key).copied().collect();
    for op in &seen {
        let applied = done.applied(op.id);
        let id = op.id;
        match op.what {
            What::NotWritten if applied => {
                add(Oracle::Outcome, format!("write {id} is said not to be applied, and was"))
            }
            // A delete of what is not there is applied without the origin's doing anything.
            What::Wrote(Some(_)) | What::Replayed(Some(_)) | What::Updated { wrote: Some(_), .. } if !applied => {
                add(Oracle::Outcome, format!("write {id} is said to be applied, and was not"));
            }
            _ => {}
        }
        if let What::Read(Some(value)) | What::Updated { read: Some(value), .. } = op.what
            && !done.values.contains(&(item(key), value))
        {
            add(Oracle::Served, format!("operation {id} of key {key} read {value}, which the origin never had"));
        }
    }
    // A stray write may land between the two steps of an update that the origin knows nothing of.
    let open = seen.iter().filter(|op| matches!(op.what, What::MayWrite(_)) && done.is_open(op.id, &seen)).count();
    if open > MOST_OPEN {
        return true;
    }
    let history = history(&seen, done, strict || open == 0);
    if !history.is_linearizable() {
        let mut text = format!("key {key} is not linearizable:\n{history}at the origin:\n");
        for entry in log.iter().filter(|entry| entry.id.as_deref() == Some(&item(key))) {
            let Entry { seq, method, status, applied_seq, body, .. } = entry;
            text += &format!("{seq} {method:?} status {status:?} applied {applied_seq:?} {body:?}\n");
        }
        add(Oracle::History, text);
    }
    false
}

/// The parts of an operation that a history has, begun and not yet ended.
struct Parts<'a>(Begun<'a>, Option<Begun<'a>>);

fn history(seen: &[Seen], done: &Done, updates_are_one_step: bool) -> History {
    let mut moments: Vec<(u64, usize)> = Vec::new();
    for (at, op) in seen.iter().enumerate() {
        moments.extend([(op.call, at), (op.answer, at)]);
    }
    moments.sort_unstable();
    let history = History::default();
    let mut begun: HashMap<usize, Parts<'_>> = HashMap::new();
    for (moment, at) in moments {
        let op = &seen[at];
        if moment == op.call {
            let second = matches!(op.what, What::Updated { .. }) && !updates_are_one_step;
            let parts = Parts(history.begins(op.client), second.then(|| history.begins(op.client)));
            begun.insert(at, parts);
            continue;
        }
        let Parts(first, second) = begun.remove(&at).expect("an answer comes after its call");
        match (op.what, second) {
            (What::Read(value), _) => first.read(value),
            (What::Wrote(value) | What::Replayed(value), _) => first.wrote(value),
            (What::Updated { read, wrote }, None) => first.updated(read, wrote),
            (What::Updated { read, wrote }, Some(second)) => {
                first.read(read);
                second.wrote(wrote);
            }
            (What::MayWrite(value), _) if done.is_open(op.id, seen) => first.may_write(value),
            (What::MayWrite(_) | What::NotWritten | What::NotRead, _) => {}
        }
    }
    drop(begun);
    history
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(id: u64, call: u64, answer: u64, what: What) -> Seen {
        Seen { client: 0, key: 0, id, call, answer, what }
    }

    fn judged(seen: &[Seen], applied: &[u64]) -> Vec<Oracle> {
        let done = Done {
            writes: applied.iter().fold(HashMap::new(), |mut writes, id| {
                *writes.entry(idempotency_key(*id).to_string()).or_default() += 1;
                writes
            }),
            values: applied.iter().map(|id| (item(0), *id)).collect(),
        };
        let mut found = Vec::new();
        assert!(!key(0, seen, &done, false, &[], &mut found));
        found.iter().map(|finding| finding.oracle).collect()
    }

    #[test]
    fn each_oracle_has_its_own_red() {
        let wrote = op(1, 0, 1, What::Wrote(Some(1)));
        assert_eq!(judged(&[wrote, op(2, 2, 3, What::Read(Some(1)))], &[1]), []);
        assert_eq!(judged(&[wrote, op(2, 2, 3, What::Read(None))], &[1]), [Oracle::History]);
        assert_eq!(judged(&[wrote], &[]), [Oracle::Outcome]);
        assert_eq!(judged(&[op(1, 0, 1, What::NotWritten)], &[1]), [Oracle::Outcome]);
        assert_eq!(judged(&[op(2, 2, 3, What::Read(Some(9)))], &[1]), [Oracle::Served, Oracle::History]);
    }

    #[test]
    fn the_first_send_of_a_replayed_write_counts_only_where_the_origin_applied_both() {
        let (first, again) = (op(1, 0, 1, What::MayWrite(Some(1))), op(1, 4, 5, What::Replayed(Some(1))));
        let early = op(2, 2, 3, What::Read(Some(1)));
        assert_eq!(judged(&[first, early, again], &[1, 1]), []);
        assert_eq!(judged(&[first, early, again], &[1]), [Oracle::History]);
        assert_eq!(judged(&[first, again], &[]), [Oracle::Outcome]);
    }

    #[test]
    fn an_unknown_write_counts_only_where_the_origin_applied_it() {
        let unknown = op(1, 0, 1, What::MayWrite(Some(1)));
        let (old, new) = (op(2, 2, 3, What::Read(None)), op(3, 4, 5, What::Read(Some(1))));
        assert_eq!(judged(&[unknown, old, new], &[1]), []);
        assert_eq!(judged(&[unknown, old], &[]), []);
    }
}
