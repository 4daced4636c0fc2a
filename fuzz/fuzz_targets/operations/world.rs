//! The world around a cache: its clock, and a source that does what a script says and tells the truth about it.
//!
//! Everything happens on one thread, or while it waits (`pending.rs`). Invariant: no lock of this file is held while the cache is called.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::Duration;

pub(crate) use wtcache::Bytes;
use wtcache::{
    Alarm, ByteCache, Clock, Condition as OnWrite, Confirmed, Declared, Entry, Failure, IdempotencyKey, InDoubt,
    Lifetime, LoadCx, LoadError, Loaded, Outcome, Record as Stored, Rejection, Source, SourceError, Tick, Version,
    WriteCx,
};

use crate::input::{
    Confirm, DEADLINE, Ends, Inside, KEYS, Lands, Life, LoadAnswer, LoadDoes, Options, WINDOW, What, WriteDoes,
};
use crate::pending::Above;
use crate::truth::{Condition, Ended, PENDING_DEADLINE, Record, Sending, Truth};

/// One unit of time.
pub(crate) const UNIT: Duration = Duration::from_millis(1);

pub(crate) fn units(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos() / UNIT.as_nanos()).expect("no test takes that long")
}

/// A clock on which only waiting takes time: if this thread would sleep until some tick, it is there at once. The threads of the cache
/// sleep until they are woken, for nothing that they wait for comes with time.
pub(crate) struct JumpingClock(AtomicU64, ThreadId);

impl JumpingClock {
    pub(crate) fn advance(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn units(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Tick {
        Tick::ZERO.after(UNIT * u32::try_from(self.units()).expect("no test takes that long"))
    }

    fn alarm(&self, at: Tick, _: &Waker) -> Alarm {
        if thread::current().id() != self.1 {
            return Alarm::Set;
        }
        self.0.fetch_max(units(at.since(Tick::ZERO)), Ordering::Relaxed);
        Alarm::After(Duration::ZERO)
    }
}

/// What the source answered to a write, and what the truth says of it.
#[derive(Debug)]
pub(crate) enum Verdict {
    Applied {
        ended: Ended,
        shown: Record,
        keepable: bool,
    },
    Rejected,
    /// A replay was refused for itself alone.
    TurnedAway,
    Unknown,
}

/// A write that ended unknown.
#[derive(Clone)]
pub(crate) struct Doubted {
    pub(crate) key: usize,
    pub(crate) write: u64,
    pub(crate) handle: InDoubt<Bytes>,
}

/// How often what happened, as the cache should have counted it.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) applied: u64,
    pub(crate) rejected: u64,
    pub(crate) unknown: u64,
    pub(crate) not_sent: u64,
    pub(crate) invalidated: u64,
}

pub(crate) struct State {
    pub(crate) truth: Truth,
    pub(crate) loads: VecDeque<LoadDoes>,
    pub(crate) writes: VecDeque<WriteDoes>,
    pub(crate) verdicts: HashMap<u64, Verdict>,
    /// What the source was first asked to send, by write.
    pub(crate) sent: HashMap<u64, (Record, Option<Condition>)>,
    /// The keys whose loads, writes and updates this thread is inside of.
    pub(crate) inside_of: Vec<usize>,
    pub(crate) counts: Counts,
    pub(crate) doubts: Vec<Doubted>,
    /// The pending writes of each key, and those that were not yet told what becomes of them.
    pub(crate) above: [VecDeque<Above>; KEYS],
    pub(crate) left: HashSet<u64>,
    /// The write of each key that is at the gate, and what it is to do.
    pub(crate) arrived: [Option<u64>; KEYS],
    pub(crate) answers: [Option<WriteDoes>; KEYS],
    /// How many were taken back: the cache counts each some time after that.
    pub(crate) cancelled: u64,
}

pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) clock: Arc<JumpingClock>,
    state: Mutex<State>,
    /// Something at a gate may go on.
    pub(crate) moves: Condvar,
    cache: Mutex<Option<ByteCache>>,
}

/// A value: its number, and some more bytes so that values differ in length.
pub(crate) fn value(number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + usize::try_from(number % 5).expect("small") * 9, 0xA5);
    bytes
}

pub(crate) fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
    assert_eq!(bytes, value(number), "not a value that was ever written");
    number
}

pub(crate) fn weight(record: Record) -> u64 {
    record.map_or(1, |number| 1 + number % 4)
}

pub(crate) fn version(number: u64) -> Version {
    Version::new(number.to_be_bytes()).expect("eight bytes")
}

/// The record that an entry shows.
pub(crate) fn shown(key: usize, entry: Option<&Entry<Bytes>>) -> Record {
    entry.map(|entry| {
        let number = number(entry.value());
        assert_eq!(entry.key(), [key as u8], "an entry of another key");
        assert_eq!(entry.version(), Some(version(number).as_bytes()), "the version of another record");
        number
    })
}

fn lifetime(life: Life) -> Lifetime {
    match life {
        Life::Default => Lifetime::Default,
        Life::For(units) => Lifetime::For(UNIT * u32::from(units.max(1))),
        Life::NotKept => Lifetime::NotKept,
    }
}

fn stored(number: u64, life: Life) -> Stored<Vec<u8>> {
    Stored::new(value(number)).version(version(number)).lifetime(lifetime(life))
}

fn error(failure: Failure) -> SourceError {
    SourceError::new(failure, "as the script says")
}

impl World {
    pub(crate) fn new(options: &Options) -> Self {
        let clock = Arc::new(JumpingClock(AtomicU64::new(1000), thread::current().id()));
        let conditions_settle = options.honours_preconditions && options.versions_never_reused;
        let mut truth =
            Truth::new(clock.units(), options.early.is_some(), options.honours_idempotency, conditions_settle);
        for (key, after) in options.early.iter().flatten() {
            let (send, number) = (truth.number(), truth.number());
            truth.lands_after(u64::from(*after) % (WINDOW + 1), key.number(), send, Some(number), None);
        }
        let state = State {
            truth,
            loads: VecDeque::new(),
            writes: VecDeque::new(),
            verdicts: HashMap::new(),
            sent: HashMap::new(),
            inside_of: Vec::new(),
            counts: Counts::default(),
            doubts: Vec::new(),
            above: Default::default(),
            left: HashSet::new(),
            arrived: Default::default(),
            answers: Default::default(),
            cancelled: 0,
        };
        let (state, moves, cache) = (Mutex::new(state), Condvar::new(), Mutex::new(None));
        Self { options: options.clone(), clock, state, moves, cache }
    }

    pub(crate) fn set_cache(&self, cache: Option<ByteCache>) {
        let old = std::mem::replace(&mut *self.cache.lock().expect("never poisoned"), cache);
        drop(old);
    }

    pub(crate) fn cache(&self) -> ByteCache {
        self.cache.lock().expect("never poisoned").clone().expect("set while operations run")
    }

    /// The state at the present time.
    pub(crate) fn at(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("never poisoned");
        state.truth.catch_up(self.clock.units());
        state
    }

    /// Whether the cache may keep a record whose request began at `since`.
    pub(crate) fn is_keepable(&self, record: Record, life: Life, since: u64) -> bool {
        let units = match (record, life) {
            (None, _) => Some(u64::from(self.options.negative_lifetime)),
            (_, Life::Default) => self.options.lifetime.map(|units| u64::from(units.max(1))),
            (_, Life::For(units)) => Some(u64::from(units.max(1))),
            (_, Life::NotKept) => return false,
        };
        units.is_none_or(|units| since + units > self.clock.units()) && weight(record) <= self.capacity()
    }

    pub(crate) fn capacity(&self) -> u64 {
        1 + u64::from(self.options.capacity) % 16
    }

    /// A send that the origin may take in now or later.
    pub(crate) fn lands(&self, lands: Lands, key: usize, write: u64, record: Record, condition: Option<Condition>) {
        let mut state = self.at();
        match lands {
            Lands::Now => {
                let _refused = state.truth.apply(key, write, record, condition);
            }
            Lands::Later(units) => {
                let units = u64::from(units) % (WINDOW + 1);
                state.truth.lands_after(units, key, write, record, condition);
            }
            Lands::Never => {}
        }
    }

    /// One write, from its send to the source's answer.
    fn write(&self, key: usize, record: Record, cx: &WriteCx<'_, Bytes>) -> Outcome<Confirm> {
        let write = write_of(cx.idempotency_key());
        let condition = cx.condition().map(|condition| match condition {
            OnWrite::Version(version) => {
                Condition::Is(u64::from_be_bytes(version.as_bytes().try_into().expect("eight bytes")))
            }
            OnWrite::Absent => Condition::IsAbsent,
            OnWrite::Exists => Condition::Exists,
            _ => unreachable!("there are no others"),
        });
        let (since, deadline, send) = {
            let mut state = self.at();
            let since = state.truth.now();
            let send = match state.sent.insert(write, (record, condition)) {
                None => Sending::first(write),
                Some(before) => {
                    assert_eq!((record, condition), before, "D3: {write} of key {key} is not sent again as it was");
                    Sending { number: state.truth.number(), write }
                }
            };
            let deadline = since + units(cx.remaining());
            let longest = if state.left.contains(&write) { PENDING_DEADLINE } else { DEADLINE };
            state.truth.sends(key, send, (deadline, longest), condition);
            (since, deadline, send)
        };
        let told = self.stands_at_the_gate(key, write);
        let does = told.unwrap_or_else(|| self.at().writes.pop_front().unwrap_or(WriteDoes::HONEST));
        self.at().inside_of.push(key);
        if let Some(lands) = does.stray {
            cx.leaves_stray();
            self.lands(lands, key, write, record, condition);
        }
        self.inside(does.inside, key, Some(&|| cx.existing()));
        let (strayed, keys_settle) = (does.stray.is_some(), self.options.honours_idempotency);
        let ends = self.sent(does.ends, strayed, deadline, key, send, record, condition);
        self.clock.advance(u64::from(does.takes % 10));
        let mut state = self.at();
        state.inside_of.pop();
        let (verdict, outcome) = match ends {
            Ends::Applied(confirm) => {
                let at = state.truth.landed(write).expect("it was applied");
                let (seen, life) = match confirm {
                    Confirm::Record(life) => (true, life),
                    // The value of a replay stays with its handle.
                    Confirm::AsSent(life) => (self.options.stores_verbatim && !send.is_replay(), life),
                    Confirm::Unseen => (false, Life::NotKept),
                };
                let ended = state.truth.ends_applied(key, send, at, strayed && !keys_settle);
                let seen = if record.is_some() { seen } else { self.options.absent_after_delete };
                let keepable = seen && self.is_keepable(record, life, since);
                let verdict = Verdict::Applied { ended, shown: record.filter(|_| seen), keepable };
                (verdict, Some(Outcome::Applied(confirm)))
            }
            Ends::Rejected { stale, all_sends } => {
                let rejection = if stale { Rejection::stale } else { Rejection::new }(error(Failure::Refused));
                let rejection = if all_sends { rejection.of_all_sends() } else { rejection };
                // A2: with an earlier send unsettled, a refusal has to be about that one too.
                let of_the_write = keys_settle && all_sends;
                let verdict = if strayed && !of_the_write {
                    state.truth.ends_unknown(key, send);
                    Verdict::Unknown
                } else {
                    state.truth.ends_rejected(key, send, all_sends);
                    if send.is_replay() && !of_the_write { Verdict::TurnedAway } else { Verdict::Rejected }
                };
                (verdict, Some(Outcome::Rejected(rejection)))
            }
            Ends::Unknown(_) => {
                state.truth.ends_unknown(key, send);
                (Verdict::Unknown, Some(Outcome::Unknown(error(Failure::Broken))))
            }
            Ends::Panics(_) => {
                state.truth.ends_unknown(key, send);
                (Verdict::Unknown, None)
            }
        };
        state.verdicts.insert(write, verdict);
        drop(state);
        // Not by `panic!`: the fuzzer takes every such panic for a finding.
        outcome.unwrap_or_else(|| resume_unwind(Box::new("as the script says")))
    }

    /// The last send of a write: what the origin does with it, and so what the source may honestly answer.
    #[allow(clippy::too_many_arguments)]
    fn sent(
        &self,
        ends: Ends,
        strayed: bool,
        deadline: u64,
        key: usize,
        send: Sending,
        record: Record,
        condition: Option<Condition>,
    ) -> Ends {
        let write = send.write;
        // The origin answers all sends alike.
        let one_write = self.options.honours_idempotency && (strayed || send.is_replay());
        if self.at().truth.now() >= deadline {
            // Nothing may be sent any more. What became of the stray, the source does not know.
            return if strayed {
                Ends::Unknown(Lands::Never)
            } else {
                Ends::Rejected { stale: false, all_sends: false }
            };
        }
        match ends {
            Ends::Applied(_) => {
                let mut state = self.at();
                let applied = state.truth.apply(key, write, record, condition).is_some();
                if one_write {
                    state.truth.will_not_land(write);
                }
                if applied { ends } else { Ends::Rejected { stale: true, all_sends: true } }
            }
            Ends::Rejected { all_sends: true, .. } if one_write => {
                let mut state = self.at();
                state.truth.will_not_land(write);
                if state.truth.landed(write).is_some() { Ends::Applied(Confirm::Unseen) } else { ends }
            }
            Ends::Rejected { .. } => ends,
            Ends::Unknown(lands) | Ends::Panics(lands) => {
                self.lands(lands, key, write, record, condition);
                ends
            }
        }
    }

    /// What user code does with the cache that called it. `existing`: how it asks for the record of its own key.
    pub(crate) fn inside(
        &self,
        inside: Inside,
        own: usize,
        existing: Option<&dyn Fn() -> Result<Option<Entry<Bytes>>, LoadError>>,
    ) {
        let of = |key: u8| usize::from(key) % crate::input::KEYS;
        match inside {
            Inside::Nothing => {}
            Inside::Invalidate(key) => self.invalidate(of(key)),
            Inside::Outside(key) => self.outside(of(key), What::Put),
            Inside::Get(key) => self.get(of(key)),
            Inside::Put(key) => self.put(of(key)),
            Inside::Existing => {
                let Some(existing) = existing else { return };
                let since = self.at().truth.reader_begins(own);
                if let Ok(entry) = existing() {
                    self.at().truth.was_read(own, shown(own, entry.as_ref()), since);
                }
            }
        }
    }
}

impl WriteDoes {
    pub(crate) const HONEST: Self =
        Self { stray: None, inside: Inside::Nothing, ends: Ends::Applied(Confirm::Record(Life::Default)), takes: 0 };
}

/// The source of one world.
pub(crate) struct Scripted(pub(crate) Arc<World>);

impl Source<Bytes> for Scripted {
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        let (world, key) = (&*self.0, usize::from(key[0]));
        let (first, does) = {
            let mut state = world.at();
            state.truth.count_load(key);
            state.inside_of.push(key);
            (state.truth.record(key), state.loads.pop_front())
        };
        let honest = LoadDoes {
            inside: Inside::Nothing,
            looks_last: false,
            takes: 0,
            answer: LoadAnswer::Record(Life::Default),
        };
        let does = does.unwrap_or(honest);
        world.inside(does.inside, key, None);
        world.clock.advance(u64::from(does.takes % 10));
        let mut state = world.at();
        let record = if does.looks_last { state.truth.record(key) } else { first };
        state.inside_of.pop();
        drop(state);
        match (does.answer, record) {
            (LoadAnswer::Fails, _) => Err(error(Failure::Failed)),
            (LoadAnswer::Panics, _) => resume_unwind(Box::new("as the script says")),
            (_, None) => Ok(Loaded::Absent),
            (LoadAnswer::Record(life), Some(number)) => Ok(Loaded::Found(stored(number, life))),
            (LoadAnswer::Unchanged, Some(number)) => {
                let same = shown(key, cx.replaced()) == Some(number);
                Ok(if same {
                    Loaded::Unchanged(Lifetime::Default)
                } else {
                    Loaded::Found(stored(number, Life::Default))
                })
            }
        }
    }

    fn put(&self, key: &[u8], bytes: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        let sent = number(bytes);
        match self.0.write(usize::from(key[0]), Some(sent), cx) {
            Outcome::Applied(confirm) => Outcome::Applied(match confirm {
                Confirm::Record(life) => Confirmed::Record(stored(sent, life)),
                Confirm::AsSent(life) => Confirmed::AsSent { version: Some(version(sent)), lifetime: lifetime(life) },
                Confirm::Unseen => Confirmed::Unseen,
            }),
            Outcome::Rejected(rejection) => Outcome::Rejected(rejection),
            Outcome::Unknown(error) => Outcome::Unknown(error),
        }
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        match self.0.write(usize::from(key[0]), None, cx) {
            Outcome::Applied(_) => Outcome::Applied(()),
            Outcome::Rejected(rejection) => Outcome::Rejected(rejection),
            Outcome::Unknown(error) => Outcome::Unknown(error),
        }
    }

    fn declared(&self) -> Declared {
        let options = &self.0.options;
        let mut declared = Declared::default();
        declared.settle_window = UNIT * u32::try_from(WINDOW).expect("small");
        declared.stores_verbatim = options.stores_verbatim;
        declared.honours_preconditions = options.honours_preconditions;
        declared.versions_never_reused = options.versions_never_reused;
        declared.honours_idempotency = options.honours_idempotency;
        declared
    }
}

/// The key under which a send goes out.
pub(crate) fn idempotency_key(send: u64) -> IdempotencyKey {
    IdempotencyKey::from_bits(send.into())
}

/// The write that goes out under that key.
pub(crate) fn write_of(key: IdempotencyKey) -> u64 {
    u64::from_str_radix(&key.to_string(), 16).expect("a number that the test gave")
}

/// What a permit's own write tells the cache that it stored.
pub(crate) fn confirmed(record: Record, confirm: Confirm) -> Option<Stored<Vec<u8>>> {
    match (record, confirm) {
        (Some(number), Confirm::Record(life) | Confirm::AsSent(life)) => Some(stored(number, life)),
        _ => None,
    }
}
