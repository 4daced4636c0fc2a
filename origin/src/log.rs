//! The log: what reached the origin, what it did and what it said.
//!
//! Owns: the entries, their order and the waiting for them. Never: changes a record or an answer. Invariant: an entry is
//! there before the origin acts on its request, `applied` is there before anyone can read the new record, and `status`
//! before the answer's first byte leaves; so whatever a client can know, the log knows already.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::http::Method;
use crate::locked;

const ENTRY_LIMIT: usize = 100_000;
/// Bodies are kept whole, so that many large ones push out old entries earlier than [`ENTRY_LIMIT`] does.
const BODY_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// One request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry {
    /// The order of arrival, from 1, without gaps.
    pub seq: u64,
    /// The request's method.
    pub method: Method,
    /// Path and query as sent.
    pub path: String,
    /// The item's id, decoded, if the path names one.
    pub id: Option<String>,
    /// The status that was sent. None: not answered yet, or never.
    pub status: Option<u16>,
    /// Whether the write took effect in the records.
    pub applied: bool,
    /// The place of this write among all that were applied since the start.
    pub applied_seq: Option<u64>,
    /// When the write took effect, counted from `received_at`.
    pub applied_after: Option<Duration>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `If-Match` header.
    pub if_match: Option<String>,
    /// The `If-None-Match` header.
    pub if_none_match: Option<String>,
    /// The `Idempotency-Key` header, without its quotes.
    pub idempotency_key: Option<String>,
    /// Which TCP connection it came on, counted from 1.
    pub connection: u64,
    /// The body of a write.
    pub body: Option<String>,
    /// When head and body had been received.
    pub received_at: SystemTime,
    /// From then to the answer, or to the decision not to answer. None: still at work, or held.
    pub elapsed: Option<Duration>,
    received: Instant,
}

impl Entry {
    /// An entry for a request that was received now.
    pub(crate) fn new(method: Method, path: String, connection: u64) -> Self {
        Self {
            seq: 0,
            method,
            path,
            id: None,
            status: None,
            applied: false,
            applied_seq: None,
            applied_after: None,
            authorization: None,
            if_match: None,
            if_none_match: None,
            idempotency_key: None,
            connection,
            body: None,
            received_at: SystemTime::now(),
            elapsed: None,
            received: Instant::now(),
        }
    }

    /// For `GET /_log`. Of credentials only the scheme is shown.
    pub(crate) fn to_json(&self) -> Value {
        let since_epoch = self.received_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let scheme = self.authorization.as_deref().map(|a| match a.split_once(' ') {
            Some((scheme, _)) => format!("{scheme} ***"),
            None => "***".to_owned(),
        });
        json!({
            "seq": self.seq,
            "method": self.method.name(),
            "path": self.path,
            "id": self.id,
            "status": self.status,
            "applied": self.applied,
            "appliedSeq": self.applied_seq,
            "appliedAfterMs": self.applied_after.map(|e| e.as_secs_f64() * 1e3),
            "authorization": scheme,
            "ifMatch": self.if_match,
            "ifNoneMatch": self.if_none_match,
            "idempotencyKey": self.idempotency_key,
            "connection": self.connection,
            "body": self.body,
            "receivedAtMs": u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            "elapsedMs": self.elapsed.map(|e| e.as_secs_f64() * 1e3),
        })
    }

    fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, String::len)
    }
}

/// Called with every completed entry, just before the answer leaves.
pub(crate) type Observer = Arc<dyn Fn(&Entry) + Send + Sync>;

pub(crate) struct Log {
    /// Rank: last. Nothing else is locked while this is held.
    state: Mutex<State>,
    changed: Condvar,
    observer: Option<Observer>,
}

#[derive(Default)]
struct State {
    /// Consecutive `seq`s, so that a seq is an index.
    entries: VecDeque<Entry>,
    last_seq: u64,
    calls: u64,
    body_bytes: usize,
}

impl State {
    /// None: the entry was cleared or pushed out.
    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let first = self.entries.front()?.seq;
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.entries.get_mut(index)
    }
}

impl Log {
    pub(crate) fn new(observer: Option<Observer>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), observer }
    }

    /// A request was received. The answer is its `seq`.
    pub(crate) fn arrive(&self, mut entry: Entry) -> u64 {
        let mut state = locked(&self.state);
        state.last_seq += 1;
        state.calls += 1;
        entry.seq = state.last_seq;
        state.body_bytes += entry.body_bytes();
        state.entries.push_back(entry);
        while state.entries.len() > ENTRY_LIMIT || state.body_bytes > BODY_LIMIT_BYTES {
            let dropped = state.entries.pop_front().expect("an entry was just pushed");
            state.body_bytes -= dropped.body_bytes();
        }
        self.changed.notify_all();
        state.last_seq
    }

    /// The write took effect.
    pub(crate) fn applied(&self, seq: u64, applied_seq: u64) {
        let mut state = locked(&self.state);
        if let Some(entry) = state.entry(seq) {
            entry.applied = true;
            entry.applied_seq = Some(applied_seq);
            entry.applied_after = Some(entry.received.elapsed());
            self.changed.notify_all();
        }
    }

    /// The request is about to be answered with `status`, or, with None, will not be.
    pub(crate) fn complete(&self, seq: u64, status: Option<u16>) {
        let mut state = locked(&self.state);
        let Some(entry) = state.entry(seq) else {
            return;
        };
        entry.status = status;
        entry.elapsed = Some(entry.received.elapsed());
        let completed = self.observer.as_ref().map(|observer| (observer, entry.clone()));
        self.changed.notify_all();
        drop(state);
        if let Some((observer, entry)) = completed {
            observer(&entry);
        }
    }

    /// The answer could not be written after all.
    pub(crate) fn unanswered(&self, seq: u64) {
        let mut state = locked(&self.state);
        if let Some(entry) = state.entry(seq) {
            entry.status = None;
            self.changed.notify_all();
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        locked(&self.state).entries.iter().cloned().collect()
    }

    /// The newest `count` entries, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<Entry> {
        let state = locked(&self.state);
        state.entries.iter().skip(state.entries.len().saturating_sub(count)).cloned().collect()
    }

    pub(crate) fn calls(&self) -> u64 {
        locked(&self.state).calls
    }

    pub(crate) fn clear(&self) {
        let mut state = locked(&self.state);
        state.entries.clear();
        state.calls = 0;
        state.body_bytes = 0;
        self.changed.notify_all();
    }

    /// Waits until the entries satisfy `holds`; false when `timeout` passed first.
    pub(crate) fn wait_for(&self, mut holds: impl FnMut(&[Entry]) -> bool, timeout: Duration) -> bool {
        let state = locked(&self.state);
        let waited = self.changed.wait_timeout_while(state, timeout, |state| !holds(state.entries.make_contiguous()));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_of(bytes: usize) -> Entry {
        let mut entry = Entry::new(Method::Put, "/items/a".into(), 1);
        entry.body = Some("x".repeat(bytes));
        entry
    }

    #[test]
    fn the_log_is_bounded_in_entries_and_in_bytes() {
        let log = Log::new(None);
        for _ in 0..ENTRY_LIMIT + 5 {
            log.arrive(write_of(0));
        }
        assert_eq!(log.entries().len(), ENTRY_LIMIT);
        assert_eq!(log.entries()[0].seq, 6);
        assert_eq!(log.calls(), ENTRY_LIMIT as u64 + 5);
        log.clear();
        for _ in 0..65 {
            log.arrive(write_of(1024 * 1024));
        }
        assert_eq!(log.entries().len(), 64);
    }

    #[test]
    fn an_entry_cleared_while_at_work_stays_cleared() {
        let log = Log::new(None);
        let seq = log.arrive(write_of(0));
        log.clear();
        log.applied(seq, 1);
        log.complete(seq, Some(200));
        assert!(log.entries().is_empty());
        let next = log.arrive(write_of(0));
        log.complete(seq, Some(500));
        log.complete(next, Some(200));
        assert_eq!(log.entries()[0].status, Some(200));
    }
}
