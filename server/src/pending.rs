//! Writes and transactions that are answered before they are settled: the answer, and `GET /-/pending/{id}` for what became of them.
//!
//! The outcome of one that has ended is kept for a while, in the words of the plain answer. Its id is drawn at random: one that counts
//! would be another write's after a restart, and would let anybody list the keys that are written. Invariant: what is kept of ended
//! writes is bounded in number, size and time; what is pending is bounded by the cache, and of transactions, whose cache does not count all that they
//! hold, here. A transaction counts for as many writes as it has updates.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};
use wtcache::{Bytes, Clock, NotSent, PendingWrite, Tick, WriteError, Written};

use crate::answer::{Answer, header, json};
use crate::config::OptimisticConfig;
use crate::etag;
use crate::prefer::{APPLIED, RespondAsync};
use crate::problem::{OUTCOME, Problem, SETTLES_IN, told_later};
use crate::served::Served;
use crate::table::ServedTable;
use crate::write::failed;

/// Before the id of a pending write.
const PATH: &str = "/-/pending/";

/// The header that says that an answer shows what the origin has not confirmed.
const PENDING: HeaderName = HeaderName::from_static("wtcache-pending");

/// What it says: that it is so and, where it is known, since when.
pub(crate) fn marked(answer: Answer, since: Option<String>) -> Answer {
    let value = match since {
        Some(since) => header(&format!("?1; since=\"{since}\"")),
        None => HeaderValue::from_static("?1"),
    };
    answer.with(PENDING, value)
}

/// A write that is to be shown before it is settled.
pub(crate) struct Shown<'a> {
    pub(crate) table: &'a ServedTable,
    pub(crate) key: &'a str,
    pub(crate) asked: RespondAsync,
    /// The record that it makes of what was shown before, where that is here.
    pub(crate) record: Option<Vec<u8>>,
    /// The plain answer to what becomes of it.
    pub(crate) plain: fn(Result<Written<Bytes>, WriteError<Bytes>>) -> Answer,
}

impl Shown<'_> {
    /// The answer at once, or the plain one if it comes while the client waits for it.
    pub(crate) async fn answer(self, admitted: Result<PendingWrite<Bytes>, NotSent>) -> Answer {
        let Self { table, key, asked, record, plain } = self;
        let outcomes = &table.outcomes;
        let since = outcomes.wall(table.cache().now());
        let mut pending = match admitted {
            Ok(pending) => pending,
            Err(why) => return failed(&why.into()),
        };
        if let Some(wait) = asked.wait()
            && let Ok(result) = tokio::time::timeout(wait, &mut pending).await
        {
            return plain(result).with(APPLIED, header(&format!("wait={}", asked.wait_seconds)));
        }
        let about = vec![("table", outcomes.table.as_str().into()), ("key", key.into())];
        let id = outcomes.begins(about, &since, Held { writes: 1, bytes: None });
        let keeps = Arc::clone(outcomes);
        tokio::spawn(async move { keeps.ended(id, Told::of(&pending.await)) });
        let tag = record.as_deref().map(etag::of_pending);
        let mut response = record.map_or_else(|| Response::new(Body::empty()), json);
        response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
        accepted(response, id, asked, since)
    }
}

/// The answer before the outcome: where that will be told.
pub(crate) fn accepted(mut response: Response<Body>, id: u128, asked: RespondAsync, since: String) -> Answer {
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(LOCATION, header(&format!("{PATH}{id:032x}")));
    headers.insert(APPLIED, header(&asked.to_string()));
    headers.insert(OUTCOME, HeaderValue::from_static("pending"));
    let answer = Answer::new(response, HeaderValue::from_static("wtcache; detail=pending"), "pending");
    marked(answer, Some(since))
}

/// What became of the write with this id.
pub(crate) fn answer(served: &Served, id: &str) -> Answer {
    let mut all = served.tables.values().map(|table| &table.outcomes).chain(&served.past);
    let told = number(id).and_then(|id| all.find_map(|outcomes| outcomes.tell(id)));
    let response = match told {
        Some(told) => json(Value::Object(told).to_string().into_bytes()),
        None => {
            let detail = "no such write was answered before it was settled, or its outcome is not kept any more";
            Problem::new(StatusCode::NOT_FOUND, detail).response()
        }
    };
    Answer::local(response, "outcome")
}

fn number(id: &str) -> Option<u128> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(id, 16).ok().filter(|_| is_id)
}

/// What is pending of a table and was answered, and the outcomes that are kept of it.
pub(crate) struct Outcomes {
    table: String,
    clock: Arc<dyn Clock>,
    /// Their keys are the system's random numbers.
    random: [RandomState; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    most: usize,
    kept_for: Duration,
    begun: u64,
    writes: HashMap<u128, Answered>,
    /// Those that have ended, in that order, with the writes that each counts for.
    ended: VecDeque<(Tick, u128, usize)>,
    ended_writes: usize,
    /// What pending transactions hold: writes, and bytes.
    held: (usize, u64),
    /// What they may hold.
    most_held: (usize, u64),
}

/// What something pending counts for.
#[derive(Clone, Copy)]
struct Held {
    writes: usize,
    /// Of a transaction; the cache counts those of a write.
    bytes: Option<u64>,
}

struct Answered {
    /// What it is about: members of what is told.
    about: Vec<(&'static str, Value)>,
    since: String,
    held: Held,
    ended: Option<Ended>,
}

/// What became of something that was pending, for who asks later.
pub(crate) struct Told {
    pub(crate) state: &'static str,
    /// The status of the plain answer, and what it said.
    pub(crate) members: Map<String, Value>,
    /// How long the doubt lasts yet by itself.
    pub(crate) settles_in: Option<Duration>,
}

struct Ended {
    told: Told,
    at: String,
    settles: Option<Tick>,
}

impl Told {
    fn of(result: &Result<Written<Bytes>, WriteError<Bytes>>) -> Self {
        let (state, settles_in) = match result {
            Ok(_) => ("settled", None),
            Err(WriteError::InDoubt(doubt)) => ("in-doubt", Some(doubt.settles_in())),
            Err(_) => ("rolled-back", None),
        };
        let members = match result {
            Ok(written) => {
                let status = if written.entry.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT };
                let mut told = Map::from_iter([("status".to_owned(), status.as_u16().into())]);
                if let Some(tag) = written.entry.as_ref().map(etag::of) {
                    told.insert("etag".to_owned(), String::from_utf8_lossy(tag.as_bytes()).into());
                }
                told
            }
            Err(error) => told_later(error),
        };
        Self { state, members, settles_in }
    }
}

impl Outcomes {
    pub(crate) fn new(table: &str, config: &OptimisticConfig, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            table: table.to_owned(),
            clock,
            random: [RandomState::new(), RandomState::new()],
            state: Mutex::default(),
        })
        .bounded(config)
    }

    /// With other bounds from now on.
    pub(crate) fn bounded(self: Arc<Self>, config: &OptimisticConfig) -> Arc<Self> {
        let mut state = self.state();
        (state.most, state.kept_for) = (config.outcomes, config.outcomes_for);
        state.most_held = (config.writes, config.weight_bytes);
        drop(state);
        self
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// The table whose writes they are of.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// There is none, and none is kept.
    pub(crate) fn is_empty(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.state();
        state.forget(now);
        state.writes.is_empty()
    }

    /// It is pending: the id that tells what becomes of it.
    fn begins(&self, about: Vec<(&'static str, Value)>, since: &str, held: Held) -> u128 {
        self.begins_in(&mut self.state(), about, since, held)
    }

    fn begins_in(&self, state: &mut State, about: Vec<(&'static str, Value)>, since: &str, held: Held) -> u128 {
        state.begun += 1;
        let [high, low] = self.random.each_ref().map(|random| u128::from(random.hash_one(state.begun)));
        let id = high << 64 | low;
        state.writes.insert(id, Answered { about, since: since.to_owned(), held, ended: None });
        id
    }

    /// The same of a transaction with these updates, whose body had so many bytes.
    ///
    /// # Errors
    /// Too much is pending.
    pub(crate) fn begins_transaction(&self, updates: Vec<Value>, bytes: u64, since: &str) -> Result<u128, NotSent> {
        let mut state = self.state();
        let (writes, held_bytes) = (state.held.0 + updates.len(), state.held.1.saturating_add(bytes));
        if writes > state.most_held.0 || held_bytes > state.most_held.1 {
            return Err(NotSent::TooManyPending);
        }
        state.held = (writes, held_bytes);
        let held = Held { writes: updates.len(), bytes: Some(bytes) };
        Ok(self.begins_in(&mut state, vec![("updates", updates.into())], since, held))
    }

    /// Nobody will ask.
    pub(crate) fn forget(&self, id: u128) {
        let mut state = self.state();
        if let Some(answered) = state.writes.remove(&id)
            && answered.ended.is_none()
        {
            state.gives_back(answered.held);
        }
    }

    pub(crate) fn ended(&self, id: u128, told: Told) {
        let now = self.clock.now();
        let settles = told.settles_in.map(|left| now.after(left));
        let ended = Ended { at: self.wall(now), settles, told };
        let mut state = self.state();
        if let Some(answered) = state.writes.get_mut(&id) {
            answered.ended = Some(ended);
            let held = answered.held;
            state.ended.push_back((now, id, held.writes));
            state.ended_writes += held.writes;
            state.gives_back(held);
        }
        state.forget(now);
    }

    fn tell(&self, id: u128) -> Option<Map<String, Value>> {
        let now = self.clock.now();
        let mut state = self.state();
        state.forget(now);
        let Answered { about, since, ended, .. } = state.writes.get(&id)?;
        let name = ended.as_ref().map_or("pending", |ended| ended.told.state);
        let mut told = Map::new();
        let mut tell = |member: &str, value: Value| told.insert(member.to_owned(), value);
        tell("state", name.into());
        for (member, value) in about {
            tell(member, value.clone());
        }
        tell("since", since.as_str().into());
        if let Some(Ended { at, told: Told { members, .. }, settles }) = ended {
            tell("ended", at.as_str().into());
            for (member, value) in members {
                tell(member, value.clone());
            }
            if let Some(settles) = settles {
                let millis = u64::try_from(settles.since(now).as_millis()).unwrap_or(u64::MAX);
                tell(SETTLES_IN, millis.into());
            }
        }
        Some(told)
    }

    /// A tick of the cache's clock as a time of day.
    pub(crate) fn wall(&self, tick: Tick) -> String {
        let ago = self.clock.now().since(tick);
        stamp(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn gives_back(&mut self, held: Held) {
        if let Some(bytes) = held.bytes {
            self.held = (self.held.0 - held.writes, self.held.1 - bytes);
        }
    }

    /// One that alone counts for more than are kept is kept until another has ended.
    fn forget(&mut self, now: Tick) {
        while let Some((at, id, writes)) = self.ended.front().copied() {
            let fits = self.ended_writes <= self.most || self.ended.len() == 1;
            if fits && now < at.after(self.kept_for) {
                return;
            }
            self.ended.pop_front();
            self.ended_writes -= writes;
            self.writes.remove(&id);
        }
    }
}

/// A time as RFC 3339 writes it, in UTC.
pub(crate) fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Of a calendar whose years begin with March, so that the leap day is the last one; day 0 is 1 March 0000.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second, milli) = (second / 3_600, second / 60 % 60, second % 60, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_the_rfc_has_it() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600_001, "2025-01-01T00:00:00.001Z"),
            (1_680_266_096_000, "2023-03-31T12:34:56.000Z"),
            (1_680_307_200_000, "2023-04-01T00:00:00.000Z"),
            (1_682_812_800_000, "2023-04-30T00:00:00.000Z"),
            (1_682_899_200_000, "2023-05-01T00:00:00.000Z"),
            (1_690_761_600_000, "2023-07-31T00:00:00.000Z"),
            (1_690_848_000_000, "2023-08-01T00:00:00.000Z"),
            (1_727_654_400_000, "2024-09-30T00:00:00.000Z"),
            (1_730_332_800_000, "2024-10-31T00:00:00.000Z"),
            (1_732_924_800_000, "2024-11-30T00:00:00.000Z"),
            (978_220_800_000, "2000-12-31T00:00:00.000Z"),
            (4_107_456_000_000, "2100-02-28T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(stamp(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn an_id_is_taken_as_it_is_given_and_no_other_way() {
        let id = 0x0123_4567_89ab_cdef_0000_0000_0000_00ff;
        let text = format!("{id:032x}");
        assert_eq!(number(&text), Some(id));
        for wrong in [&text[1..], &text.to_uppercase(), &format!("{text}0"), &format!("+{}", &text[1..]), ""] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
