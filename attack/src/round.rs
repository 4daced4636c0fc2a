//! A round: a script is played on a cache over the HTTP source and the sample origin, and judged.
//!
//! Owns: threads, origin and cache of one round, and their end. Never: decides what is right (that is `judge.rs`).
//! Invariant: where a write landed later than the settle window after its send, or the origin lost its port, the round says
//! nothing: the machine broke the assumptions of the contract, not the cache.

mod build;
mod feed;
mod pending;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, Scope};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value as Json, json};
use wtcache::{
    ByteCache, Bytes, Call, Change, Expect, How, InDoubt, LoadError, Read, Rejection, ReplayError, Unmet, Version,
    WriteError, Written,
};
use wtcache_http_source::HttpSource;
use wtcache_origin::{Entry, Method, Origin, OriginOptions, Target};
use wtcache_testkit::Value;

use crate::judge::{
    self, Done, Elsewhere, Finding, Oracle, PREFIX, Seen, What, idempotency_key, item, over_of, value_of,
};
use crate::outdated;
use crate::script::{Disturbance, Do, Script};
use crate::source::{Lie, Sends};
use crate::visible;
use feed::Feed;

/// How long a round may take to come to rest before that is a finding.
const REST: Duration = Duration::from_secs(10);
/// All records have it.
const TAG: &str = "all";

/// What was done in a round, or in many.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Rounds played.
    pub rounds: u64,
    /// Those that say nothing: a write landed too late, or the port was lost.
    pub discarded: u64,
    /// Operations of the scripts.
    pub operations: u64,
    /// Reads that gave an answer.
    pub reads: u64,
    /// Those of them that showed what was pending.
    pub reads_pending: u64,
    /// Reads that failed.
    pub reads_failed: u64,
    /// Writes that were left pending, those of transactions among them.
    pub left_pending: u64,
    /// Writes that ended Applied.
    pub applied: u64,
    /// Writes that the origin refused since the record is another.
    pub outdated: u64,
    /// Attempts of the source after the first of a call.
    pub retries: u64,
    /// Attempts that its breaker refused.
    pub breaker_refused: u64,
    /// Writes that were refused.
    pub rejected: u64,
    /// Writes that the cache did not send.
    pub not_sent: u64,
    /// Writes that ended in doubt.
    pub unknown: u64,
    /// Those of them that took effect.
    pub unknown_applied: u64,
    /// Loads by the cache.
    pub loads: u64,
    /// Loads whose result was not retained.
    pub loads_detached: u64,
    /// Rounds in which the origin's feed was on.
    pub fed: u64,
    /// Changes that it told.
    pub pushed: u64,
    /// Those of them that became resident.
    pub pushed_taken: u64,
    /// Writes of somebody else that nobody had to tell of beside it.
    pub told_by_feed: u64,
    /// Histories of a key that had too many open writes to be searched.
    pub too_open: u64,
    /// The longest history of a key.
    pub longest: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Adds those of other rounds.
    pub fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.discarded += other.discarded;
        self.operations += other.operations;
        self.reads += other.reads;
        self.reads_pending += other.reads_pending;
        self.reads_failed += other.reads_failed;
        self.left_pending += other.left_pending;
        self.applied += other.applied;
        self.outdated += other.outdated;
        self.retries += other.retries;
        self.breaker_refused += other.breaker_refused;
        self.rejected += other.rejected;
        self.not_sent += other.not_sent;
        self.unknown += other.unknown;
        self.unknown_applied += other.unknown_applied;
        self.loads += other.loads;
        self.loads_detached += other.loads_detached;
        self.fed += other.fed;
        self.pushed += other.pushed;
        self.pushed_taken += other.pushed_taken;
        self.told_by_feed += other.told_by_feed;
        self.too_open += other.too_open;
        self.longest = self.longest.max(other.longest);
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

/// What came of a round.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was done.
    pub counts: Counts,
    /// What is wrong. Empty: clean, or discarded.
    pub findings: Vec<Finding>,
}

/// Plays a script once.
///
/// # Panics
/// If no port or no memory is to be had.
#[must_use]
pub fn play(script: &Script, lie: Lie) -> Report {
    static ROUND: AtomicU64 = AtomicU64::new(0);
    // While an origin refuses connections, its port may be another's: that one must not know us.
    let pass = format!("round-{}-{}", std::process::id(), ROUND.fetch_add(1, Ordering::Relaxed));
    let options = OriginOptions::new().api_key(&pass).honours_idempotency(script.options.honours_keys);
    let origin = Origin::start(options).expect("a port of 127.0.0.1 is free");
    let sends = Sends::default();
    let http = Arc::new(build::http(script, &origin, &pass));
    let cache = build::cache(script, Arc::clone(&http), sends.clone(), lie);
    let (feed, unfed) = match Feed::start(script, &http, &cache) {
        Ok(feed) => (feed, None),
        Err(why) => (None, Some(why)),
    };
    let stage = Stage {
        origin,
        feed,
        cache,
        http,
        doubts: Mutex::default(),
        stamp: AtomicU64::new(1),
        found: Mutex::default(),
        later: Mutex::default(),
        elsewhere: Mutex::default(),
        honours_keys: script.options.honours_keys,
    };
    if let Some(why) = unfed {
        stage.found(Oracle::Unsettled, why);
    }
    stage.origin.faults(script.faults.iter().cloned());
    let (mut seen, mut lost_port) = (Vec::new(), false);
    let barrier = Barrier::new(script.threads.len() + 1);
    thread::scope(|scope| {
        let (stage, barrier) = (&stage, &barrier);
        let clients: Vec<_> = (script.threads.iter().enumerate())
            .map(|(client, steps)| {
                scope.spawn(move || {
                    barrier.wait();
                    let step = |(step, number): (&Do, u64)| stage.step(scope, client, number, *step);
                    steps.iter().zip(1..).flat_map(step).collect()
                })
            })
            .collect();
        barrier.wait();
        lost_port = stage.disturb(&script.disturbances).is_err();
        for client in clients {
            let done: thread::Result<Vec<Seen>> = client.join();
            match done {
                Ok(done) => seen.extend(done),
                Err(_) => stage.found(Oracle::Panic, "a client panicked".to_owned()),
            }
        }
    });
    seen.append(&mut stage.later.lock().expect("nobody panics with it"));
    let mut report = Report::default();
    stage.origin.clear_faults();
    if !lost_port {
        stage.rests(script.keys(), &mut seen);
    }
    let log = stage.origin.log();
    let late = is_late(&log, &sends, script);
    let elsewhere = std::mem::take(&mut *stage.elsewhere.lock().expect("nobody panics with it"));
    let done = Done::new(&log, &elsewhere);
    report.counts = stage.counts(script, &seen, &log, &done);
    if late || lost_port {
        report.counts.discarded = 1;
        return report;
    }
    report.findings = std::mem::take(&mut stage.found.lock().expect("nobody panics with it"));
    if script.options.honoured {
        // Else a 412 says nothing: scripts make them up.
        outdated::judge(&seen, &done, &mut report.findings);
    }
    let seen = outdated::without_untold(&seen, &elsewhere);
    let writes = if script.options.honours_keys { outdated::as_one_write(&seen) } else { seen.clone() };
    for key in 0..script.keys() {
        // Of somebody else's writes the cache alone knows nothing.
        let strict = script.options.honoured;
        let alone = !elsewhere.iter().any(|write| write.key == key);
        let deadline = Duration::from_millis(script.options.deadline_ms);
        let too_open =
            judge::key(key, &writes, &done, judge::Updates { strict, alone }, deadline, &log, &mut report.findings);
        report.counts.too_open += u64::from(too_open);
    }
    let deadline = Duration::from_millis(script.options.deadline_ms);
    // Somebody else's writes have no place in the order of turns.
    let own: Vec<Seen> = seen.into_iter().filter(|op| !elsewhere.iter().any(|write| write.is(op))).collect();
    visible::judge(&own, &done, script.options.writes_wait, deadline, &mut report.findings);
    report
}

fn bytes(value: u64) -> Vec<u8> {
    json!({ "value": value }).to_string().into_bytes()
}

/// What counts of a record, whatever else the origin says with it.
fn normal(record: &Json) -> Option<Vec<u8>> {
    let value = value_of(record)?;
    Some(over_of(record).map_or_else(|| bytes(value), |over| merged(value, over)))
}

/// A record that a merge made, of a record with that value.
fn merged(value: u64, over: Value) -> Vec<u8> {
    json!({ "value": value, "over": over }).to_string().into_bytes()
}

fn over(record: &[u8]) -> Option<Value> {
    serde_json::from_slice(record).ok().as_ref().and_then(over_of)
}

fn got(result: Result<Read<Bytes>, LoadError>) -> What {
    let Ok(Read { entry, how, .. }) = result else { return What::NotRead };
    let entry = entry.as_deref();
    What::Got { value: entry.and_then(number), over: entry.and_then(over), pending: how == How::Pending }
}

fn number(record: &[u8]) -> Value {
    serde_json::from_slice(record).ok().as_ref().and_then(value_of)
}

/// Whether a write took effect later after its send than the source declares.
fn is_late(log: &[Entry], sends: &Sends, script: &Script) -> bool {
    let window = Duration::from_millis(script.options.window_ms);
    // When a request of a write last reached the origin.
    let mut reached: HashMap<&str, SystemTime> = HashMap::new();
    log.iter().any(|entry| {
        let Some(key) = &entry.idempotency_key else { return false };
        // The source sends again what it was given once: not before the send before had got so far.
        let before = reached.insert(key, entry.received_at).filter(|before| *before <= entry.received_at);
        let Some(after) = entry.applied_after else { return false };
        match sends.of(key, entry.received_at).max(before) {
            // The wall clock may be set back: then nothing is known of it.
            Some(sent) => entry.received_at.duration_since(sent).map_or(true, |took| took + after >= window),
            None => true,
        }
    })
}

/// The origin found that its record is not the one that was expected.
fn is_outdated(error: &WriteError<Bytes>) -> bool {
    matches!(error, WriteError::Rejected(Rejection { error, .. }) if error.code() == Some(412))
}

fn outdated(expected: Value) -> What {
    expected.map_or(What::NotWritten, What::Outdated)
}

/// A write in doubt, by who may send it again: its client and its key.
type Doubts = HashMap<(usize, u64), (InDoubt<Bytes>, u64, Value)>;

struct Stage {
    /// Ends first, so that the feed need not be waited for.
    origin: Origin,
    feed: Option<Feed>,
    http: Arc<HttpSource>,
    cache: ByteCache,
    doubts: Mutex<Doubts>,
    stamp: AtomicU64,
    found: Mutex<Vec<Finding>>,
    /// What came of writes that were left pending.
    later: Mutex<Vec<Seen>>,
    /// What somebody else wrote.
    elsewhere: Mutex<Vec<Elsewhere>>,
    honours_keys: bool,
}

impl Stage {
    fn found(&self, oracle: Oracle, text: String) {
        self.found.lock().expect("nobody panics with it").push(Finding { oracle, text });
    }

    fn stamp(&self) -> u64 {
        self.stamp.fetch_add(1, Ordering::SeqCst)
    }

    /// What it was seen to do, key by key.
    fn step<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, client: usize, number: u64, step: Do) -> Vec<Seen> {
        let own = Own { client, id: (client as u64 + 1) * 10_000 + number };
        match step {
            Do::PutPending(key) | Do::DeletePending(key) | Do::MergePending(key) | Do::TakeBack(key) => {
                return self.leave(scope, own, key, step).into_iter().collect();
            }
            Do::Transact(last) => return self.transact(own, last),
            Do::TransactPending(last) => return self.leave_transaction(scope, own, last),
            Do::Wait(ms) => thread::sleep(Duration::from_millis(ms)),
            Do::Forget(key) => self.cache.invalidate(&item(key)),
            Do::ForgetMany(how) => {
                match how {
                    0 => self.cache.invalidate_prefix(PREFIX),
                    1 => self.cache.invalidate_pattern("*").expect("a pattern"),
                    _ => self.cache.invalidate_tag(TAG),
                };
            }
            Do::GetMany(last) => return self.get_many(client, number, last),
            _ => return self.on_one_key(client, number, step).into_iter().collect(),
        }
        Vec::new()
    }

    /// To an order of one key after the other it is a read of each at once.
    fn get_many(&self, client: usize, number: u64, last: u64) -> Vec<Seen> {
        let ids: Vec<String> = (0..=last).map(item).collect();
        let (called_at, call) = (SystemTime::now(), self.stamp());
        let answers = self.cache.read_many(ids.iter().map(String::as_str), &Call::new());
        let (answered_at, answer) = (SystemTime::now(), self.stamp());
        let seen = |(key, result)| {
            let id = (client as u64 + 1) * 10_000 + number;
            Seen { client, key, id, call, admitted: None, answer, called_at, answered_at, what: got(result) }
        };
        (0..).zip(answers).map(seen).collect()
    }

    fn on_one_key(&self, client: usize, number: u64, step: Do) -> Option<Seen> {
        let mut id = (client as u64 + 1) * 10_000 + number;
        let own = Own { client, id };
        let (mut called_at, mut call) = (SystemTime::now(), self.stamp());
        let (key, what) = match step {
            Do::Get(key) => (key, got(self.cache.read(&item(key), &Call::new()))),
            Do::GetConfirmed(key) => (key, self.get_confirmed(key)),
            Do::Put(key) => (key, self.put(key, own)),
            Do::Elsewhere(key) => (key, self.elsewhere(key, own)),
            Do::Delete(key) => (key, self.delete(key, own)),
            Do::Update(key) => (key, self.update(key, own, false)),
            Do::Take(key) => (key, self.update(key, own, true)),
            Do::PutIf(key) => {
                // What it reads is not part of the operation, but what it is made on.
                let Ok(entry) = self.cache.get(&item(key)) else { return None };
                (called_at, call) = (SystemTime::now(), self.stamp());
                (key, self.put_if(key, own, entry.as_ref()))
            }
            Do::Replay(key) => {
                let (doubt, first, value) =
                    self.doubts.lock().expect("nobody panics with it").remove(&(client, key))?;
                id = first;
                (key, self.replay(own, key, doubt, (first, value))?)
            }
            _ => return None,
        };
        let (answer, answered_at) = (self.stamp(), SystemTime::now());
        Some(Seen { client, key, id, call, admitted: None, answer, called_at, answered_at, what })
    }

    fn get_confirmed(&self, key: u64) -> What {
        let Ok(Read { entry, how, .. }) = self.cache.read_confirmed(&item(key), &Call::new()) else {
            return What::NotRead;
        };
        self.is_confirmed(key, entry.as_ref());
        if how == How::Pending {
            self.found(Oracle::Shown, format!("a confirmed read of key {key} was given what is pending"));
        }
        What::Read(entry.and_then(|entry| number(&entry)))
    }

    /// What is not meant for those who read what is visible.
    fn is_confirmed(&self, key: u64, entry: Option<&Held>) {
        if let Some(entry) = entry.filter(|entry| entry.pending_since().is_some()) {
            self.found(Oracle::Shown, format!("key {key}: {:?} is pending, and given as confirmed", number(entry)));
        }
    }

    fn put(&self, key: u64, own: Own) -> What {
        match self.cache.put_with(&item(key), bytes(own.id), &own.call()) {
            Ok(written) => self.stored(own.id, written.entry.as_deref()),
            Err(error) => self.unwritten(error, key, own, Some(own.id)),
        }
    }

    fn put_if(&self, key: u64, own: Own, entry: Option<&Held>) -> What {
        let expect = match entry.map(|entry| entry.version().and_then(Version::new)) {
            None => Expect::Absent,
            Some(Some(version)) => Expect::version(version),
            Some(None) => return What::NotWritten,
        };
        match self.cache.put_if_with(&item(key), bytes(own.id), expect, &own.call()) {
            Ok(written) => {
                self.stored(own.id, written.entry.as_deref());
                What::Updated { read: entry.and_then(|entry| number(entry)), wrote: Some(own.id) }
            }
            Err(WriteError::Unmet(Unmet { existing, .. })) => What::Read(existing.and_then(|entry| number(&entry))),
            Err(error) if is_outdated(&error) => outdated(entry.and_then(|entry| number(entry))),
            Err(error) => self.unwritten(error, key, own, Some(own.id)),
        }
    }

    /// Somebody else writes past the cache, and tells so later.
    fn elsewhere(&self, key: u64, own: Own) -> What {
        let (_, place) = self.origin.seed_in_order(&item(key), json!({ "value": own.id }));
        let write = Elsewhere { key, id: own.id, at: SystemTime::now(), place };
        self.elsewhere.lock().expect("nobody panics with it").push(write);
        self.told_of(write);
        What::Wrote(Some(own.id))
    }

    /// The cache is told of a change that it did not make: by the origin's feed; where there is none, or it is cut, by who made it.
    fn told_of(&self, Elsewhere { key, id, place, .. }: Elsewhere) {
        match &self.feed {
            Some(feed) if feed.tells(place) => return,
            Some(_) => {}
            None => thread::sleep(Duration::from_millis(id % 16)),
        }
        self.cache.invalidate(&item(key));
    }

    /// Where the origin does not honour idempotency keys, it is one more send, whatever is answered. `None`: it was not sent.
    fn replay(&self, own: Own, key: u64, doubt: InDoubt<Bytes>, (id, value): (u64, Value)) -> Option<What> {
        let answer = doubt.replay(&Call::new());
        let (what, doubt) = match answer {
            Ok(Written { entry, .. }) => {
                if value.is_some() {
                    self.stored(id, entry.as_deref());
                }
                (Some(What::Replayed(value)), doubt)
            }
            Err(ReplayError::InDoubt(again)) => (Some(What::MayWrite(value)), again),
            Err(ReplayError::NotSent(_)) => (None, doubt),
            Err(ReplayError::Rejected(_)) if self.honours_keys => return Some(What::NotWritten),
            Err(error) => {
                self.found(Oracle::Outcome, format!("a replay of write {id}, whose key counts for nothing: {error}"));
                (None, doubt)
            }
        };
        self.doubts.lock().expect("nobody panics with it").insert((own.client, key), (doubt, id, value));
        what
    }

    /// The origin confirms what was sent, or nothing.
    fn stored(&self, id: u64, record: Option<&[u8]>) -> What {
        if let Some(record) = record
            && number(record) != Some(id)
        {
            self.found(Oracle::Confirmed, format!("write {id} is said to have stored {:?}", number(record)));
        }
        What::Wrote(Some(id))
    }

    fn delete(&self, key: u64, own: Own) -> What {
        match self.cache.delete_with(&item(key), &own.call()) {
            Ok(_) => What::Wrote(None),
            Err(error) => self.unwritten(error, key, own, None),
        }
    }

    fn update(&self, key: u64, own: Own, take: bool) -> What {
        let (id, call) = (own.id, own.call());
        let wrote = (!take).then_some(id);
        let mut read = None;
        let change = |entry: Option<&Held>| {
            self.is_confirmed(key, entry);
            read = entry.and_then(|entry| number(entry));
            Ok(match (take, entry) {
                (false, _) => Change::Put(bytes(id)),
                (true, Some(_)) => Change::Delete,
                (true, None) => Change::Keep,
            })
        };
        let result = self.cache.update_with(&item(key), change, &call);
        match result {
            Ok(_) if take && read.is_none() => What::Read(None),
            Ok(written) => {
                if !take {
                    self.stored(id, written.entry.as_deref());
                }
                What::Updated { read, wrote }
            }
            Err(error) if is_outdated(&error) => outdated(read),
            Err(error) => self.unwritten(error, key, own, wrote),
        }
    }

    fn unwritten(&self, error: WriteError<Bytes>, key: u64, own: Own, value: Value) -> What {
        let WriteError::InDoubt(doubt) = error else { return What::NotWritten };
        self.doubts.lock().expect("nobody panics with it").insert((own.client, key), (doubt, own.id, value));
        What::MayWrite(value)
    }

    /// In the order of their times.
    fn disturb(&self, disturbances: &[Disturbance]) -> std::io::Result<()> {
        let begun = Instant::now();
        let until = |at| thread::sleep(Duration::from_millis(at).saturating_sub(begun.elapsed()));
        let mut disturbances = disturbances.to_vec();
        disturbances.sort_by_key(|disturbance| match disturbance {
            Disturbance::Drop(at) | Disturbance::Outage(at, _) => *at,
        });
        for disturbance in disturbances {
            match disturbance {
                Disturbance::Drop(at) => {
                    until(at);
                    self.origin.drop_connections();
                }
                Disturbance::Outage(at, length) => {
                    until(at);
                    self.origin.pause_accept();
                    until(at + length);
                    self.origin.resume_accept()?;
                }
            }
        }
        Ok(())
    }

    /// Waits until nothing is under way and nothing in doubt; then what the cache holds is the origin's.
    fn rests(&self, keys: u64, seen: &mut Vec<Seen>) {
        let begun = Instant::now();
        loop {
            let stats = self.cache.stats();
            let complete = self.origin.log().iter().all(|entry| entry.elapsed.is_some());
            if stats.in_doubt == 0 && stats.writes_open == 0 && stats.pending == 0 && complete {
                break;
            }
            if begun.elapsed() > REST {
                let (in_doubt, open, pending) = (stats.in_doubt, stats.writes_open, stats.pending);
                let text = format!("{in_doubt} in doubt, {open} open, {pending} pending, log complete: {complete}");
                return self.found(Oracle::Unsettled, text);
            }
            thread::sleep(Duration::from_millis(5));
        }
        for key in 0..keys {
            let truth = self.origin.record(&item(key)).as_ref().and_then(value_of);
            if let Some(entry) = self.cache.peek(&item(key))
                && number(&entry) != truth
            {
                self.found(Oracle::Rest, format!("key {key}: resident {:?}, at the origin {truth:?}", number(&entry)));
            }
            // A busy machine may let a deadline pass.
            for number in 1.. {
                let read = self.on_one_key(usize::MAX >> 40, number + key * 10_000, Do::Get(key));
                let Some(Seen { what: What::Got { value, pending, .. }, .. }) = read else {
                    if begun.elapsed() > REST {
                        return self.found(Oracle::Unsettled, format!("key {key} cannot be read at rest"));
                    }
                    // A breaker may be open yet.
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                seen.extend(read);
                if value != truth || pending {
                    self.found(Oracle::Rest, format!("key {key}: read {value:?}, at the origin {truth:?}"));
                }
                break;
            }
        }
    }

    fn counts(&self, script: &Script, seen: &[Seen], log: &[Entry], done: &Done) -> Counts {
        let stats = self.cache.stats();
        let tried = self.http.stats();
        let mut counts = Counts {
            rounds: 1,
            operations: script.len() as u64,
            loads: stats.loads,
            loads_detached: stats.loads_detached,
            retries: tried.retries,
            breaker_refused: tried.breaker_refused,
            rejected: stats.writes_rejected,
            not_sent: stats.writes_not_sent,
            ..Counts::default()
        };
        if let Some(feed) = &self.feed {
            feed.count(&mut counts);
        }
        let mut lengths: HashMap<u64, u64> = HashMap::new();
        for op in seen {
            *lengths.entry(op.key).or_default() += 1;
            counts.left_pending += u64::from(op.admitted.is_some());
            match op.what {
                What::Read(_) => counts.reads += 1,
                What::Got { pending, .. } => {
                    counts.reads += 1;
                    counts.reads_pending += u64::from(pending);
                }
                What::NotRead => counts.reads_failed += 1,
                What::Wrote(_) | What::Updated { .. } | What::Replayed(_) => counts.applied += 1,
                What::MayWrite(_) => counts.unknown += 1,
                What::Outdated(_) => counts.outdated += 1,
                What::NotWritten => {}
            }
            if matches!(op.what, What::MayWrite(_)) {
                counts.unknown_applied += u64::from(done.applied(op));
            }
        }
        counts.longest = lengths.values().copied().max().unwrap_or(0);
        // Each request of a method on a key took the first fault that waited for it.
        let mut arrived: HashMap<(Method, &str), u32> = HashMap::new();
        for entry in log {
            *arrived.entry((entry.method, entry.id.as_deref().unwrap_or_default())).or_default() += 1;
        }
        for fault in &script.faults {
            let Target::Id(id) = fault.target() else { continue };
            let Some(left) = arrived.get_mut(&(fault.method(), id.as_str())) else { continue };
            let times = fault.uses().unwrap_or(u32::MAX).min(*left);
            *left -= times;
            if let Some(kind) = fault.what().filter(|_| times > 0) {
                *counts.faults.entry(kind.name()).or_default() += u64::from(times);
            }
        }
        counts
    }
}

/// A record of the cache's.
type Held = wtcache::Entry<Bytes>;

/// Who does it, and under which number.
#[derive(Clone, Copy)]
struct Own {
    client: usize,
    id: u64,
}

impl Own {
    fn call(self) -> Call {
        Call::new().idempotency_key(idempotency_key(self.id))
    }
}
