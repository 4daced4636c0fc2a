//! One case, played over real sockets and told in the words of the table.
//!
//! Owns: the origin, the cache and the wire of a case. Never: looks at what its row expects, but for what the origin is to
//! do, which is arranged and then read back from the origin's log. Invariant: beside what it tells, each case is held
//! against the promises that no row has to spell out; a breach of one is a finding.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use wtcache::{
    ByteCache, Bytes, Call, Change, Confirmed, CreateCx, Declared, Expect, Failure, How, InDoubt, InDoubtWrites,
    LoadCx, LoadError, Loaded, Made, Outcome, Record, Source, SourceError, Version, WriteCx, WriteError, Written,
};
use wtcache_http_source::{CreatePost, HttpSource, Retries};
use wtcache_origin::{Entry as Logged, Fault as Rule, FaultKind, Gate, Method, Origin, OriginOptions, Target};
use wtcache_testkit::ManualClock;

use crate::fault::{Fault, Hand, Here, NEW, OLD};
use crate::relay::{Relay, Strike};
use crate::table::{Case, Claims, Operation, Start};
use crate::words::{
    Told, told, told_created, told_entry, told_how, told_load, told_not_sent, told_nothing, told_read, told_replay,
};

/// The deadline of a request that nothing else ends: long enough for a busy machine to send it in.
const SHORT: Duration = Duration::from_millis(700);
/// Longer than any step takes.
const AMPLE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = AMPLE;
/// What somebody else wrote.
const OTHER: u64 = 3;
/// The credentials of the reads that are not the cache's.
const WITNESS: &str = "Bearer witness";

/// The origin of one worker, and a way to it past the cache.
pub(crate) struct Stage {
    origin: Origin,
    witness: HttpSource,
}

/// The source is the program's as well as the cache's.
#[derive(Clone)]
struct Shared {
    http: Arc<HttpSource>,
    /// The next put is lost before it gets to the wire, and nobody is told so.
    loses: Arc<AtomicBool>,
}

impl Source<Bytes> for Shared {
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        self.http.get(key, cx)
    }

    fn put(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        if self.loses.swap(false, Ordering::Relaxed) {
            return Outcome::Unknown(SourceError::new(Failure::Broken, "an earlier send"));
        }
        self.http.put(key, value, cx)
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        self.http.delete(key, cx)
    }

    fn create(&self, value: &[u8], cx: &CreateCx<'_>) -> Outcome<Made<Bytes>> {
        self.http.create(value, cx)
    }

    fn declared(&self) -> Declared {
        Source::<Bytes>::declared(&*self.http)
    }
}

/// A case under way.
struct Play<'a> {
    id: &'a str,
    operation: Operation,
    clock: ManualClock,
    http: Shared,
    cache: ByteCache,
    value: Vec<u8>,
    /// What the program expects of the record, where it does.
    expect: Expect,
    /// Of the operation; what comes after it has more time.
    deadline: Duration,
    /// Keys in doubt that the case is not about.
    other_doubts: u64,
    /// The write that is to be sent again.
    doubt: Option<InDoubt<Bytes>>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let origin = Origin::start(OriginOptions::new()).expect("a port of 127.0.0.1 is free");
        let witness = HttpSource::builder(format!("{}/items/{{id}}", origin.url()))
            .header("Authorization", WITNESS)
            .timeout(AMPLE)
            .retries(Retries::none())
            .no_breaker()
            .build()
            .expect("options that make sense");
        Self { origin, witness }
    }

    /// Plays the case on the key `id`, which no other case has.
    ///
    /// # Errors
    /// What is wrong whatever the row says.
    pub(crate) fn play(&self, case: &Case, id: &str) -> Result<Claims, String> {
        let fault = Fault::of(&case.fault)?;
        let (method, letter) = match struck(case.operation) {
            method @ (Method::Put | Method::Post) => (method, b'P'),
            Method::Delete => (Method::Delete, b'D'),
            _ => (Method::Get, b'G'),
        };
        let reaches = !matches!(case.expected.origin.as_str(), "no request");
        let mut relay = match fault {
            Fault::Wire(strike) => {
                Some(Relay::start(strike, letter, reaches, self.origin.addr()).map_err(|error| error.to_string())?)
            }
            _ => None,
        };
        let version = self.origin_begins(case.start, id, &fault);
        let http = source(&self.origin, relay.as_ref(), &fault, case.operation);
        let mut play = Play::new(id, case.operation, http, &fault, &version);
        play.begins(case.start, &version);
        if matches!(fault, Fault::Here(Here::TooManyDoubts)) && case.start != Start::Doubt {
            play.other_doubt();
        }
        if matches!(fault, Fault::Wire(Strike::KeptDies)) {
            // Leaves a connection that has served a request.
            Source::<Bytes>::get(&play.http, b"warm", &LoadCx::alone(AMPLE)).map_err(|error| error.to_string())?;
        }
        let gate = self.arrange(&fault, case.operation, id, &case.expected.origin);

        let told = match &fault {
            Fault::Hand(hand) => play.hand(*hand),
            Fault::Here(Here::NoTime) => play.run(&Call::new().deadline(Duration::ZERO)),
            _ => play.run(&Call::new().deadline(play.deadline)),
        };

        // What comes from here on is not struck; what stands at the gate, or is on its way there, stays.
        let gate = gate.filter(|gate| case.expected.origin != "no request" && gate.wait_arrived(AMPLE));
        self.origin.clear_faults();
        if let Some(relay) = &relay {
            relay.disarm();
        }
        let during = self.origin_did(case, id, method);
        let in_doubt = play.in_doubt();
        let peeked = play.cache.peek(id).map(|entry| number(&entry));
        let served = !matches!(fault, Fault::Wire(strike) if strike.is_outage()) && !matches!(fault, Fault::NoName);
        if in_doubt && served {
            // D2: while what was sent may still be on its way.
            self.reads_unkept(&play, "before anything more lands")?;
        }
        if let Some(relay) = &mut relay {
            relay.release().map_err(|error| error.to_string())?;
        }
        drop(gate);
        self.origin.release_hangs();
        let lands = case.expected.origin == "later";
        let settled = self.origin.wait_for(
            |log| {
                let mut sent = log.iter().filter(|entry| is_of(entry, id, method));
                log.iter().filter(|entry| is_of(entry, id, entry.method)).all(|entry| entry.elapsed.is_some())
                    && (!lands || sent.any(|entry| entry.applied))
            },
            AMPLE,
        );
        if !settled {
            return Err("the origin does not come to rest".to_owned());
        }
        let after = self.origin_has(id, method);
        let did = match (during.as_str(), after.as_str()) {
            (before, "applied") if before != "applied" => "later".to_owned(),
            _ => during,
        };

        let (next, hit_of_none) = self.next(&play, in_doubt)?;
        let key = match peeked {
            _ if in_doubt => "in doubt".to_owned(),
            Some(Some(OLD)) => "old".to_owned(),
            Some(Some(NEW)) => "new".to_owned(),
            Some(other) => format!("the value {other:?}"),
            None if hit_of_none => "absent".to_owned(),
            None => "nothing".to_owned(),
        };
        if told.kept.is_some_and(|kept| kept != (key == "old" || key == "new" || key == "absent")) {
            return Err(format!("the write is said to be kept: {:?}; the key is {key}", told.kept));
        }
        // A1, A2, in no need of a row: refused is never applied, also not later; and a write is sent once.
        if told.outcome == "Rejected" && after == "applied" {
            return Err(format!("{}, and the origin applied it", told.caller));
        }
        // P9: of a create there is no key that could be.
        if told.outcome == "Unknown" && in_doubt == (case.operation == Operation::Create) {
            return Err(format!("the outcome is unknown, and that the key is in doubt is {in_doubt}"));
        }
        let log = self.origin.log();
        let writes = log.iter().filter(|entry| entry.method.is_write() && is_of(entry, id, entry.method)).count();
        if writes > 1 {
            return Err(format!("{writes} writes reached the origin"));
        }
        Ok(Claims { outcome: told.outcome.to_owned(), caller: told.caller, origin: did, key, next })
    }

    /// What the origin holds at first, and the version that the cache will know of it.
    fn origin_begins(&self, start: Start, id: &str, fault: &Fault) -> Version {
        self.origin.clear_log();
        let revision = match start {
            Start::Missing => 0,
            _ => self.origin.seed(id, json!({ "value": OLD })),
        };
        if start == Start::Expired && !matches!(fault, Fault::None) {
            // Another version of the same, so that the answer has a body for the fault to strike; without a fault it is a 304.
            self.origin.seed(id, json!({ "value": OLD }));
        }
        if start == Start::Outdated {
            self.origin.seed(id, json!({ "value": OTHER }));
        }
        let weak = if start == Start::Weak { "W/" } else { "" };
        Version::new(format!("{weak}\"r{revision}\"")).expect("a short one")
    }

    /// `does`: where the fault is an answer, what the origin does with the request that it answers.
    fn arrange(&self, fault: &Fault, operation: Operation, id: &str, does: &str) -> Option<Gate> {
        let method = struck(operation);
        // A POST says in its body only what it is about.
        let target = || if method == Method::Post { Target::Any } else { id.into() };
        let on = Rule::on(method, target());
        match fault {
            Fault::Origin(kind) => {
                let gate = kind.held.map(|when| self.origin.gate(method, target(), when));
                self.origin.fault(on.kind(kind.kind.clone()));
                gate
            }
            Fault::Status(status) => {
                // A record that is expected is there when it is read.
                let expected = matches!(operation, Operation::PutIf | Operation::DeleteIf);
                if status.is_gone() && does != "no request" && !expected {
                    self.origin.remove(id);
                }
                let answer = status.answer(if method == Method::Get { OLD } else { NEW });
                self.origin.fault(on.kind(match does {
                    "applied" => FaultKind::ApplyThenAnswer(answer),
                    _ => FaultKind::Answer(answer),
                }));
                None
            }
            _ => None,
        }
    }

    /// What the origin's log says of the request by now. Waits for what the row says, since a request that was given up may
    /// be on its way still.
    fn origin_did(&self, case: &Case, id: &str, method: Method) -> String {
        let wanted = case.expected.origin.as_str();
        if wanted != "no request" && wanted != "later" {
            self.origin.wait_for(
                |log| log.iter().any(|entry| is_of(entry, id, method) && (entry.applied || wanted != "applied")),
                Duration::from_secs(5),
            );
        }
        self.origin_has(id, method)
    }

    fn origin_has(&self, id: &str, method: Method) -> String {
        let log = self.origin.log();
        let mut sent = log.iter().filter(|entry| is_of(entry, id, method)).peekable();
        let word = match (sent.peek().is_some(), method.is_write()) {
            (false, _) => "no request",
            (true, false) => "asked",
            (true, true) if sent.any(|entry| entry.applied) => "applied",
            (true, true) => "not applied",
        };
        word.to_owned()
    }

    /// The read after the case, once all is over; and, in doubt, what comes after the settle window. True: a hit of none.
    fn next(&self, play: &Play<'_>, in_doubt: bool) -> Result<(String, bool), String> {
        let (next, value) = match play.read() {
            Ok((how, value)) => (told_how(how), value),
            Err(error) => return Ok((format!("fails: {}", told_load(&error)), false)),
        };
        self.is_the_origins(play, value, "the next read")?;
        if in_doubt {
            self.reads_unkept(play, "in doubt")?;
            play.clock.advance(WINDOW);
            let (how, value) = play.read().map_err(|error| error.to_string())?;
            if how != (How::Loaded { kept: true }) || play.in_doubt() {
                return Err(format!("after the settle window the next read is {how:?}"));
            }
            self.is_the_origins(play, value, "a read after the settle window")?;
        }
        if !matches!(next, "asks, keeps not" | "stale") || in_doubt {
            let (how, value) = play.read().map_err(|error| error.to_string())?;
            if how != How::Hit {
                return Err(format!("a read that should hit is {how:?}"));
            }
            self.is_the_origins(play, value, "the hit at the end")?;
        }
        Ok((next.to_owned(), value.is_none() && next == "hit"))
    }

    /// D1, D2: nothing is shown without the origin.
    fn reads_unkept(&self, play: &Play<'_>, when: &str) -> Result<(), String> {
        if play.cache.peek(play.id).is_some() {
            return Err(format!("{when}: an entry in doubt is shown"));
        }
        let (how, value) = play.read().map_err(|error| format!("{when}: {error}"))?;
        if how != (How::Loaded { kept: false }) {
            return Err(format!("{when}: a read in doubt is {how:?}"));
        }
        self.is_the_origins(play, value, when)
    }

    /// Past the cache, over a connection of its own, and past the origin's API too.
    fn is_the_origins(&self, play: &Play<'_>, value: Option<u64>, what: &str) -> Result<(), String> {
        let loaded = Source::<Bytes>::get(&self.witness, play.id.as_bytes(), &LoadCx::alone(AMPLE));
        let direct = match loaded.map_err(|error| error.to_string())? {
            Loaded::Found(record) => number(&record.value),
            _ => None,
        };
        let held = self.origin.record(play.id).and_then(|record| record["value"].as_u64());
        if direct != held {
            return Err(format!("the origin holds {held:?} and answers {direct:?}"));
        }
        if value != direct {
            return Err(format!("{what} gave {value:?}; the origin has {direct:?}"));
        }
        Ok(())
    }
}

/// Which of an operation's requests the fault strikes.
fn struck(operation: Operation) -> Method {
    use Operation as Op;
    match operation {
        Op::Put
        | Op::PutMany
        | Op::Replay
        | Op::VerbatimPut
        | Op::UpdatePut
        | Op::CondPut
        | Op::PutIf
        | Op::PermitPut => Method::Put,
        Op::Create => Method::Post,
        Op::Delete | Op::UpdateDelete | Op::CondDelete | Op::DeleteIf | Op::PermitDelete => Method::Delete,
        _ => Method::Get,
    }
}

fn source(origin: &Origin, relay: Option<&Relay>, fault: &Fault, operation: Operation) -> Shared {
    use Operation::{CondDelete, CondPut, DeleteIf, PutIf};
    let authority = match (fault, relay) {
        (Fault::NoName, _) => "nonexistent.invalid".to_owned(),
        (_, Some(relay)) => relay.address.to_string(),
        _ => origin.addr().to_string(),
    };
    let full = matches!(fault, Fault::Wire(Strike::BacklogFull));
    let conditional = matches!(operation, CondPut | CondDelete | PutIf | DeleteIf);
    // Where the read is struck, its connection may be closing: whether the write behind it meets that is a race.
    let writes_connect_anew = operation == Operation::UpdateRead;
    let http = HttpSource::builder(format!("http://{authority}/items/{{id}}"))
        .timeout(AMPLE)
        // The table is of one send and its answer.
        .retries(Retries::none())
        .no_breaker()
        .connect_timeout(if full { SHORT } else { AMPLE })
        .write_max_idle_age(if writes_connect_anew { Duration::ZERO } else { AMPLE })
        .settle_window(WINDOW)
        .create(CreatePost::new(format!("http://{authority}/items")))
        .honours_preconditions(conditional)
        .stores_verbatim(operation == Operation::VerbatimPut)
        .record_check(|_, body| match number(&body) {
            Some(value) => Ok(bytes(value)),
            None => Err("it has no value".to_owned()),
        });
    Shared { http: Arc::new(http.build().expect("options that make sense")), loses: Arc::default() }
}

impl<'a> Play<'a> {
    /// `version`: the one that the program knows of the record.
    fn new(id: &'a str, operation: Operation, http: Shared, fault: &Fault, version: &Version) -> Self {
        let clock = ManualClock::new();
        let mut builder = ByteCache::builder(http.clone())
            .clock(clock.shared())
            .clean_start(true)
            .shards(1)
            .deadline(DEADLINE)
            .lifetime(LIFETIME)
            .negative_lifetime(LIFETIME)
            .tags(|key, _, tags| tags.add(key));
        if operation == Operation::GetOrStale {
            builder = builder.stale_if_error(LIFETIME);
        }
        match fault {
            Fault::Here(Here::TooManyDoubts) => builder = builder.most_doubts(1),
            Fault::Here(Here::HeldBack) => builder = builder.in_doubt_writes(InDoubtWrites::Wait),
            _ => {}
        }
        let mut value = match operation {
            // The sample origin names a record as it says of itself.
            Operation::Create => json!({ "id": id, "value": NEW }).to_string().into_bytes(),
            _ => bytes(NEW),
        };
        if matches!(fault, Fault::Wire(Strike::HalfSent)) {
            // More than the sockets' buffers take.
            value.pop();
            value.extend_from_slice(b",\"padding\":\"");
            value.resize(value.len() + (16 << 20), b'x');
            value.extend_from_slice(b"\"}");
        }
        let cache = builder.build().expect("options that make sense");
        let deadline = if fault.ends_late() { SHORT } else { DEADLINE };
        let expect = match fault {
            Fault::Here(Here::ExpectsOther) => Expect::version(Version::new("\"another\"").expect("a short one")),
            _ => Expect::version(version.clone()),
        };
        Self { id, operation, clock, http, cache, value, expect, deadline, other_doubts: 0, doubt: None }
    }

    /// Brings the key into the state, by hand: nothing goes over the wire.
    fn begins(&mut self, start: Start, version: &Version) {
        let sent = || self.cache.prepare(self.id, &Call::new()).and_then(wtcache::Prepared::send).expect("a free turn");
        match start {
            Start::Resident | Start::Outdated | Start::Weak | Start::Expired => {
                sent().commit(Some(Record::new(bytes(OLD)).version(version.clone())));
            }
            Start::Doubt if self.operation == Operation::Replay => {
                self.http.loses.store(true, Ordering::Relaxed);
                match self.cache.put(self.id, self.value.clone()) {
                    Err(WriteError::InDoubt(doubt)) => self.doubt = Some(doubt),
                    _ => panic!("the first send is lost"),
                }
            }
            Start::Doubt => drop(sent().in_doubt(SourceError::new(Failure::Broken, "an earlier write"))),
            Start::Cold | Start::Missing => {}
        }
        if start == Start::Expired {
            self.clock.advance(LIFETIME);
        }
    }

    fn other_doubt(&mut self) {
        let sent = self.cache.prepare("another", &Call::new()).and_then(wtcache::Prepared::send).expect("a free turn");
        drop(sent.in_doubt(SourceError::new(Failure::Broken, "another write")));
        self.other_doubts += 1;
    }

    fn in_doubt(&self) -> bool {
        self.cache.stats().in_doubt > self.other_doubts
    }

    fn read(&self) -> Result<(How, Option<u64>), LoadError> {
        let read = self.cache.read(self.id, &Call::new())?;
        Ok((read.how, read.entry.map(|entry| number(&entry).unwrap_or(u64::MAX))))
    }

    fn run(&self, call: &Call) -> Told {
        use Operation as Op;
        let (cache, id) = (&self.cache, self.id);
        let update = |change: Change<Vec<u8>>| cache.update_with(id, |_| Ok(change), call);
        match self.operation {
            Op::Get | Op::GetOrStale => told_read(cache.read(id, call)),
            Op::GetMany => {
                let mut answers = cache.read_many([id, id], call).into_iter().map(told_read);
                let (Some(first), Some(second), None) = (answers.next(), answers.next(), answers.next()) else {
                    panic!("two keys have two answers");
                };
                assert_eq!(first.caller, second.caller, "one key has one answer");
                first
            }
            Op::Peek => {
                let caller = told_entry(cache.peek(id).as_ref(), "nothing");
                Told { outcome: "no write", caller, kept: None }
            }
            Op::Invalidate => {
                cache.invalidate(id);
                told_nothing()
            }
            Op::InvalidatePrefix => {
                cache.invalidate_prefix(id);
                told_nothing()
            }
            Op::InvalidatePattern => {
                cache.invalidate_pattern("*").expect("a pattern");
                told_nothing()
            }
            Op::InvalidateTag => {
                cache.invalidate_tag(id);
                told_nothing()
            }
            Op::PutMany => {
                let mut written = cache.put_many_with([(id, self.value.clone())], call);
                told(written.pop().expect("one record has one outcome"))
            }
            Op::Put | Op::VerbatimPut => told(cache.put_with(id, self.value.clone(), call)),
            Op::Create => told_created(id, cache.create_with(self.value.clone(), call)),
            Op::Delete => told(cache.delete_with(id, call)),
            Op::PutIf => told(cache.put_if_with(id, self.value.clone(), self.expect.clone(), call)),
            Op::DeleteIf => told(cache.delete_if_with(id, self.expect.clone(), call)),
            Op::UpdatePut | Op::CondPut | Op::UpdateRead => told(update(Change::Put(self.value.clone()))),
            Op::UpdateDelete | Op::CondDelete => told(update(Change::Delete)),
            Op::UpdateKeep => match update(Change::Keep) {
                Ok(written) => Told { outcome: "no write", ..told(Ok(written)) },
                failed => told(failed),
            },
            Op::PermitPut | Op::PermitDelete => told(self.by_hand(call)),
            Op::Replay => match self.doubt.as_ref().expect("the case begins with it").replay(call) {
                Ok(written) => told(Ok(written)),
                Err(error) => told_replay(&error),
            },
        }
    }

    /// What a program does that has its own I/O: here, over the same source.
    fn by_hand(&self, call: &Call) -> Result<Written<Bytes>, WriteError<Bytes>> {
        let sent = self.cache.prepare(self.id, call)?.send()?;
        match self.exchange() {
            Outcome::Applied(Some(record)) => Ok(sent.commit(Some(record))),
            Outcome::Applied(None) if self.operation == Operation::PermitPut => Ok(sent.commit(None)),
            Outcome::Applied(None) => Ok(sent.commit_deleted()),
            Outcome::Rejected(rejection) => {
                sent.reject(rejection.stale_base);
                Err(WriteError::Rejected(rejection))
            }
            Outcome::Unknown(error) => Err(WriteError::InDoubt(sent.in_doubt(error))),
        }
    }

    fn exchange(&self) -> Outcome<Option<Record<Vec<u8>>>> {
        let (key, cx) = (self.id.as_bytes(), WriteCx::alone(self.deadline, None));
        let outcome = match self.operation {
            Operation::PermitPut => Source::<Bytes>::put(&self.http, key, &self.value, &cx),
            _ => match Source::<Bytes>::delete(&self.http, key, &cx) {
                Outcome::Applied(()) => Outcome::Applied(Confirmed::Unseen),
                Outcome::Rejected(rejection) => Outcome::Rejected(rejection),
                Outcome::Unknown(error) => Outcome::Unknown(error),
            },
        };
        match outcome {
            Outcome::Applied(Confirmed::Record(record)) => Outcome::Applied(Some(record)),
            Outcome::Applied(_) => Outcome::Applied(None),
            Outcome::Rejected(rejection) => Outcome::Rejected(rejection),
            Outcome::Unknown(error) => Outcome::Unknown(error),
        }
    }

    /// The exits of a permit that no answer of the origin brings about.
    fn hand(&self, hand: Hand) -> Told {
        let prepared = self.cache.prepare(self.id, &Call::new()).expect("a free turn");
        let rejected = |caller: &str| Told { outcome: "Rejected", caller: caller.to_owned(), kept: None };
        let unknown = |caller: &str| Told { outcome: "Unknown", caller: caller.to_owned(), kept: None };
        match hand {
            Hand::Aborted => {
                prepared.abort();
                rejected("nothing")
            }
            Hand::DroppedUnsent => {
                drop(prepared);
                rejected("nothing")
            }
            Hand::OverdueUnsent => {
                self.clock.advance(DEADLINE);
                match prepared.send() {
                    Ok(_) => unknown("it was sent"),
                    Err(why) => rejected(&told_not_sent(&why)),
                }
            }
            Hand::DroppedSent => {
                drop(prepared.send().expect("in time"));
                unknown("nothing")
            }
            Hand::LateCommit | Hand::LateReject => {
                let sent = prepared.send().expect("in time");
                if hand == Hand::LateReject {
                    self.clock.advance(DEADLINE);
                    sent.reject(false);
                    return rejected("nothing");
                }
                let Outcome::Applied(record) = self.exchange() else { return rejected("not applied") };
                self.clock.advance(DEADLINE);
                told(Ok(match self.operation {
                    Operation::PermitPut => sent.commit(record),
                    _ => sent.commit_deleted(),
                }))
            }
        }
    }
}

/// An entry of the log about `id` that is the cache's doing. The log does not know what a POST is about: it is of the one case that is played.
fn is_of(entry: &Logged, id: &str, method: Method) -> bool {
    let is_about = entry.id.as_deref() == Some(id) || (method == Method::Post && entry.id.is_none());
    is_about && entry.method == method && entry.authorization.as_deref() != Some(WITNESS)
}

fn bytes(value: u64) -> Vec<u8> {
    json!({ "value": value }).to_string().into_bytes()
}

pub(crate) fn number(record: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Json>(record).ok()?["value"].as_u64()
}
