//! The feed: what was changed, told to those who ask, as a stream of Server-Sent Events or a long poll.
//!
//! Owns: the latest changes, numbered in the order in which they were applied, and the waiting for more. Never: changes a record. Invariant: a
//! reader that goes on from a place is told all that came after it, or that this is not to be had any more; places of another life of the
//! origin are never taken for its own.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::http::{Head, Method, Wire, percent_decoded};
use crate::locked;
use crate::records::Stored;

/// So many of the latest changes can be told again.
const HISTORY_LIMIT: usize = 10_000;
/// A poll waits for no longer.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Whoever waits looks so often whether its reader is still there.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Changes {
    /// Rank: after the records; nothing is locked under it.
    state: Mutex<State>,
    more: Condvar,
}

struct State {
    /// The life that the numbers are of.
    life: String,
    /// The number of the last change.
    last: u64,
    /// The last ones, in JSON.
    history: VecDeque<String>,
    stopped: bool,
}

impl State {
    fn place(&self, number: u64) -> String {
        format!("{}-{number}", self.life)
    }

    /// The number of a place of this life, if all that came after it is still here.
    fn number(&self, place: &str) -> Option<u64> {
        let (life, number) = place.rsplit_once('-')?;
        let number: u64 = number.parse().ok()?;
        let first = self.last - self.history.len() as u64;
        (life == self.life && (first..=self.last).contains(&number)).then_some(number)
    }

    fn after(&self, number: u64) -> impl Iterator<Item = (u64, &String)> {
        let first = self.last - self.history.len() as u64;
        let skipped = usize::try_from(number - first).unwrap_or(usize::MAX);
        (number + 1..).zip(self.history.iter().skip(skipped))
    }
}

impl Default for Changes {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let state =
            State { life: format!("{:x}", since.as_nanos()), last: 0, history: VecDeque::new(), stopped: false };
        Self { state: Mutex::new(state), more: Condvar::new() }
    }
}

impl Changes {
    /// A change was applied. Called in the order of all of them.
    pub(crate) fn applied(&self, id: &str, revision: u64, stored: Option<&Stored>) {
        let version = format!("\"r{revision}\"");
        let change = match stored {
            Some(stored) => {
                let record = RawValue::from_string(stored.json.clone()).expect("a record is kept as JSON");
                let (key, version) = (Value::from(id), Value::from(version));
                format!("{{\"op\":\"put\",\"key\":{key},\"record\":{record},\"version\":{version}}}")
            }
            None => json!({ "op": "delete", "key": id, "version": version }).to_string(),
        };
        let mut state = locked(&self.state);
        state.last += 1;
        state.history.push_back(change);
        if state.history.len() > HISTORY_LIMIT {
            state.history.pop_front();
        }
        drop(state);
        self.more.notify_all();
    }

    /// Ends every wait, and those that would begin later.
    pub(crate) fn stop(&self) {
        locked(&self.state).stopped = true;
        self.more.notify_all();
    }

    /// Answers a request for the feed. False: the connection is at its end.
    pub(crate) fn answer(&self, wire: &mut Wire, head: &Head, query: &str, heartbeat: Duration) -> bool {
        if head.method != Method::Get {
            let refused = Answer::error(405, "only GET here").header("Allow", "GET");
            return refused.write(wire, head.method == Method::Head, true).is_ok() && head.keep_alive;
        }
        if head.header("accept").is_some_and(|kinds| kinds.contains("text/event-stream")) {
            // The stream ends with the reader, or with the origin.
            let _ = self.stream(wire, head.header("last-event-id").as_deref(), heartbeat);
            return false;
        }
        match self.poll(wire, query) {
            Ok(answer) => answer.write(wire, false, !head.keep_alive).is_ok() && head.keep_alive,
            Err(_) => false,
        }
    }

    fn stream(&self, wire: &mut Wire, from: Option<&str>, heartbeat: Duration) -> io::Result<()> {
        // Before the reader is told that it is one: it counts on all that changes from then on.
        let (mut number, begin) = {
            let state = locked(&self.state);
            let place = state.place(state.last);
            match from.map(|from| state.number(from)) {
                Some(Some(number)) => (number, ": it goes on\n\n".to_owned()),
                // What came after that is not known any more.
                Some(None) => (state.last, format!("event: reset\nid: {place}\ndata: {{\"op\":\"reset\"}}\n\n")),
                None => (state.last, format!("id: {place}\n\n")),
            }
        };
        wire.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
              Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        chunk(wire, &begin)?;
        let mut spoken = Instant::now();
        loop {
            let Some((text, last)) = self.next_events(number, LOOK_EVERY.min(heartbeat)) else {
                return chunk(wire, "");
            };
            if text.is_empty() {
                if spoken.elapsed() < heartbeat {
                    if wire.client_left() {
                        return Ok(());
                    }
                    continue;
                }
                chunk(wire, ":\n\n")?;
            } else {
                chunk(wire, &text)?;
            }
            (number, spoken) = (last, Instant::now());
        }
    }

    /// What came after a number, as events, and the last number of it. `None`: the origin stops.
    fn next_events(&self, number: u64, wait: Duration) -> Option<(String, u64)> {
        let state = self.wait_for_more(number, wait);
        if state.stopped {
            return None;
        }
        let event = |(n, change): (u64, &String)| format!("id: {}\ndata: {change}\n\n", state.place(n));
        // A reader that is slower than the changes has the rest next time.
        let events: Vec<String> = state.after(number).take(100).map(event).collect();
        Some((events.concat(), number + events.len() as u64))
    }

    fn wait_for_more(&self, number: u64, wait: Duration) -> std::sync::MutexGuard<'_, State> {
        let waited =
            self.more.wait_timeout_while(locked(&self.state), wait, |state| !state.stopped && state.last <= number);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn poll(&self, wire: &Wire, query: &str) -> io::Result<Answer> {
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(n, _)| *n == name).find_map(|(_, value)| percent_decoded(value))
        };
        let wait = value("wait").and_then(|seconds| seconds.parse().ok()).map_or(LONGEST_WAIT, Duration::from_secs);
        let until = Instant::now() + wait.min(LONGEST_WAIT);
        let from = value("cursor").map(|cursor| locked(&self.state).number(&cursor));
        let number = match from {
            Some(Some(number)) => number,
            told => {
                let state = locked(&self.state);
                let nothing = json!({ "changes": [], "cursor": state.place(state.last), "reset": told.is_some() });
                return Ok(Answer::new(200).json(&nothing));
            }
        };
        loop {
            let state = self.wait_for_more(number, LOOK_EVERY);
            if state.stopped {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if state.last > number || Instant::now() >= until {
                let changes: Vec<&str> = state.after(number).take(1_000).map(|(_, change)| change.as_str()).collect();
                let cursor = Value::from(state.place(number + changes.len() as u64));
                let body = format!("{{\"changes\":[{}],\"cursor\":{cursor}}}", changes.join(","));
                return Ok(Answer::new(200).header("Content-Type", "application/json").body(body));
            }
            drop(state);
            if wire.client_left() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }
}

/// One chunk of a chunked body; an empty one is its end.
fn chunk(wire: &mut Wire, text: &str) -> io::Result<()> {
    wire.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
}
