//! What a scenario plays with: an origin that misbehaves as the schedule's dice say, clients whose calls are noted, and the check
//! at rest.
//!
//! Invariant: no write takes effect at the origin later than the settle window after its send, as every source declares.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::thread;
use wtcache::{
    Builder, Cache, Call, Change, Clock, Condition, Confirmed, CreateCx, Declared, Failure, LoadCx, Loaded, Made,
    Outcome, Pushed, Record, Rejection, Source, SourceError, Tick, Typed, Version, WriteCx, WriteError, Written,
};
use wtcache_testkit::{History, ManualClock, Value};

pub(crate) type Ints = Typed<u64, u64>;

pub(crate) const KEY: u64 = 7;
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// A place where the schedule may turn to another thread. Not a yield: that would make whoever comes by the last in line, and
/// all schedules alike.
pub(crate) fn pause() {
    shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
}

/// What the origin may do beside answering well.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) loads_fail: bool,
    pub(crate) loads_panic: bool,
    /// Now and then much happens before a load reaches the origin.
    pub(crate) loads_linger: bool,
    /// A load may have no answer before its deadline.
    pub(crate) loads_hang: bool,
    pub(crate) writes_panic: bool,
    /// A write may have no answer before its deadline; it lands before that, or not.
    pub(crate) writes_hang: bool,
    pub(crate) writes_refused: bool,
    pub(crate) writes_unseen: bool,
    pub(crate) writes_unknown: bool,
    /// An unknown write may land after its answer.
    pub(crate) strays: bool,
    /// Every write does.
    pub(crate) all_stray: bool,
    /// A write may be sent twice and be refused the second time, while the first may still land.
    pub(crate) resends: bool,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        loads_fail: false,
        loads_panic: false,
        loads_linger: false,
        loads_hang: false,
        writes_panic: false,
        writes_hang: false,
        writes_refused: false,
        writes_unseen: false,
        writes_unknown: false,
        strays: false,
        all_stray: false,
        resends: false,
    };
    pub(crate) const ALL: Self = Self {
        loads_fail: true,
        loads_panic: true,
        loads_linger: false,
        loads_hang: false,
        writes_panic: false,
        writes_hang: false,
        writes_refused: true,
        writes_unseen: true,
        writes_unknown: true,
        strays: true,
        all_stray: false,
        resends: true,
    };
}

/// The origin of one key.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Inner>);

struct Inner {
    record: Mutex<(Value, u64)>,
    clock: ManualClock,
    faults: Faults,
    declared: Declared,
    /// It hangs no more: time does not flow any longer.
    at_rest: AtomicBool,
}

impl Origin {
    pub(crate) fn new(clock: &ManualClock, faults: Faults, declared: Declared) -> Self {
        let record = Mutex::new((Some(0), 1));
        Self(Arc::new(Inner { record, clock: clock.clone(), faults, declared, at_rest: AtomicBool::new(false) }))
    }

    pub(crate) fn value(&self) -> Value {
        self.0.record.lock().expect("nobody panics with it").0
    }

    /// Applies a write that was sent at `sent`, if it is not too late for that and its condition holds.
    pub(crate) fn apply(&self, value: Value, sent: Tick, expected: Option<u64>) -> Result<u64, Refusal> {
        pause();
        let mut record = self.0.record.lock().expect("nobody panics with it");
        if self.0.clock.now() >= sent.after(self.0.declared.settle_window) {
            return Err(Refusal::Late);
        }
        if expected.is_some_and(|expected| expected != record.1) {
            return Err(Refusal::Condition);
        }
        *record = (value, record.1 + 1);
        Ok(record.1)
    }

    /// A send that lands some time later, if at all.
    fn strays(&self, value: Value, sent: Tick, expected: Option<u64>) {
        let origin = self.clone();
        thread::spawn(move || {
            for _ in 0..thread_rng().gen_range(0..12) {
                pause();
            }
            let _ = origin.apply(value, sent, expected);
        });
    }

    fn write(&self, value: Value, cx: &impl Told) -> Outcome<Confirmed<u64>> {
        // As a source must: nothing leaves once the deadline has passed.
        let sent = self.0.clock.now();
        if cx.remaining().is_zero() {
            return Outcome::Rejected(Rejection::new(SourceError::new(Failure::TimedOut, "too late to send")));
        }
        let expected = cx.condition().map(|condition| match condition {
            Condition::Version(version) => {
                u64::from_be_bytes(version.as_bytes().try_into().expect("versions here are eight bytes"))
            }
            // The record is never absent where conditions on absence are used.
            _ => 0,
        });
        let faults = self.0.faults;
        pause();
        let dice = if faults.all_stray { 3 } else { thread_rng().gen_range(0..8) };
        let lost = || SourceError::new(Failure::Broken, "the connection broke");
        match dice {
            0 if faults.writes_refused => return Outcome::Rejected(Rejection::new(refused())),
            1 if faults.writes_unknown => return Outcome::Unknown(lost()),
            2 if faults.writes_unknown => {
                let _ = self.apply(value, sent, expected);
                return Outcome::Unknown(lost());
            }
            3 if faults.strays || faults.all_stray => {
                self.strays(value, sent, expected);
                return Outcome::Unknown(lost());
            }
            5 if faults.resends => {
                self.strays(value, sent, expected);
                cx.leaves_stray();
                return Outcome::Rejected(Rejection::new(refused()));
            }
            _ => {}
        }
        let applied = self.apply(value, sent, expected);
        pause();
        match dice {
            6 if faults.writes_panic => resume_unwind(Box::new("a write that panics")),
            7 if faults.writes_hang => {
                until_late(|| cx.remaining());
                return Outcome::Unknown(lost());
            }
            _ => {}
        }
        match applied {
            Err(Refusal::Late) => Outcome::Unknown(lost()),
            Err(Refusal::Condition) => Outcome::Rejected(Rejection::stale(refused())),
            Ok(_) if dice == 4 && faults.writes_unseen => Outcome::Applied(Confirmed::Unseen),
            Ok(version) => match value {
                Some(value) => Outcome::Applied(Confirmed::Record(record(value, version))),
                None => Outcome::Applied(Confirmed::Unseen),
            },
        }
    }
}

/// What the origin is told of a write, by the context of either kind of source.
trait Told {
    fn remaining(&self) -> Duration;
    fn condition(&self) -> Option<&Condition>;
    fn leaves_stray(&self);
}

impl Told for WriteCx<'_, Ints> {
    fn remaining(&self) -> Duration {
        self.remaining()
    }
    fn condition(&self) -> Option<&Condition> {
        self.condition()
    }
    fn leaves_stray(&self) {
        self.leaves_stray();
    }
}

/// The origin behind an async source. Where it hangs, its future never ends.
#[cfg(feature = "tokio")]
mod awaited {
    use std::future::pending;
    use std::sync::LazyLock;

    use ::tokio::runtime::{Builder as RuntimeBuilder, Handle, Runtime};
    use wtcache::tokio::{AsyncSource, AsyncWriteCx};

    use super::*;

    /// Nothing runs on it: tasks are shuttle's.
    pub(super) fn runtime() -> &'static Handle {
        static RUNTIME: LazyLock<Runtime> =
            LazyLock::new(|| RuntimeBuilder::new_current_thread().build().expect("a runtime"));
        RUNTIME.handle()
    }

    pub(super) struct Awaited(pub(super) Origin);

    impl Told for AsyncWriteCx<'_, Ints> {
        fn remaining(&self) -> Duration {
            self.remaining()
        }
        fn condition(&self) -> Option<&Condition> {
            self.condition()
        }
        fn leaves_stray(&self) {
            self.leaves_stray();
        }
    }

    impl Awaited {
        /// Some waits, the last of which may have no end.
        async fn waits(&self, hangs: bool) {
            for _ in 0..thread_rng().gen_range(0..3) {
                shuttle::future::yield_now().await;
            }
            if hangs && !self.0.0.at_rest.load(Ordering::Relaxed) && thread_rng().gen_bool(0.2) {
                pending::<()>().await;
            }
        }

        async fn write(&self, value: Value, cx: &AsyncWriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
            let hangs = self.0.0.faults.writes_hang;
            self.waits(hangs).await;
            let outcome = self.0.write(value, cx);
            self.waits(hangs).await;
            outcome
        }
    }

    impl AsyncSource<Ints> for Awaited {
        async fn get(&self, key: &u64, cx: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
            let hangs = self.0.0.faults.loads_hang;
            self.waits(hangs).await;
            let loaded = Source::get(&self.0, key, cx);
            self.waits(hangs).await;
            loaded
        }

        async fn put(&self, _: &u64, value: &u64, cx: &AsyncWriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
            self.write(Some(*value), cx).await
        }

        async fn delete(&self, _: &u64, cx: &AsyncWriteCx<'_, Ints>) -> Outcome<()> {
            match self.write(None, cx).await {
                Outcome::Applied(_) => Outcome::Applied(()),
                Outcome::Rejected(rejection) => Outcome::Rejected(rejection),
                Outcome::Unknown(error) => Outcome::Unknown(error),
            }
        }

        fn declared(&self) -> Declared {
            Source::declared(&self.0)
        }
    }
}

/// Where time flows, it takes its time.
fn until_late(remaining: impl Fn() -> Duration) {
    while !remaining().is_zero() {
        thread::yield_now();
    }
}

#[derive(Debug)]
pub(crate) enum Refusal {
    Late,
    Condition,
}

fn refused() -> SourceError {
    SourceError::new(Failure::Refused, "no")
}

pub(crate) fn record(value: u64, version: u64) -> Record<u64> {
    Record::new(value).version(Version::new(version.to_be_bytes()).expect("eight bytes"))
}

impl Source<Ints> for Origin {
    fn get(&self, _: &u64, cx: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        pause();
        if self.0.faults.loads_linger && thread_rng().gen_bool(0.4) {
            (0..thread_rng().gen_range(10..40)).for_each(|_| pause());
        }
        let (value, version) = *self.0.record.lock().expect("nobody panics with it");
        pause();
        match thread_rng().gen_range(0..8) {
            0 if self.0.faults.loads_fail => Err(SourceError::new(Failure::Failed, "out of order")),
            // Without the hook: nothing is to be told of it.
            1 if self.0.faults.loads_panic => resume_unwind(Box::new("a load that panics")),
            2 if self.0.faults.loads_hang && !self.0.at_rest.load(Ordering::Relaxed) => {
                until_late(|| cx.remaining());
                Err(SourceError::new(Failure::TimedOut, "no answer"))
            }
            _ => Ok(value.map_or(Loaded::Absent, |value| Loaded::Found(record(value, version)))),
        }
    }

    fn put(&self, _: &u64, value: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        self.write(Some(*value), cx)
    }

    fn delete(&self, _: &u64, cx: &WriteCx<'_, Ints>) -> Outcome<()> {
        match self.write(None, cx) {
            Outcome::Applied(_) => Outcome::Applied(()),
            Outcome::Rejected(rejection) => Outcome::Rejected(rejection),
            Outcome::Unknown(error) => Outcome::Unknown(error),
        }
    }

    /// The origin names the one key that there is. Its answer is never lost: then no key would be in doubt.
    fn create(&self, value: &u64, _: &CreateCx<'_>) -> Outcome<Made<Ints>> {
        let sent = self.0.clock.now();
        pause();
        let applied = self.apply(Some(*value), sent, None);
        (0..thread_rng().gen_range(0..12)).for_each(|_| pause());
        match applied {
            Ok(version) => {
                let seen = thread_rng().gen_bool(0.8);
                let confirmed = if seen { Confirmed::Record(record(*value, version)) } else { Confirmed::Unseen };
                Outcome::Applied(Made::Known { key: KEY, confirmed })
            }
            Err(_) => Outcome::Rejected(Rejection::new(refused())),
        }
    }

    fn declared(&self) -> Declared {
        self.0.declared.clone()
    }
}

/// A key of a cache over an origin, and what the key's clients saw.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) key: u64,
    pub(crate) cache: Cache<u64, u64>,
    pub(crate) origin: Origin,
    pub(crate) clock: ManualClock,
    pub(crate) history: Arc<History>,
    next: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new(faults: Faults, build: impl FnOnce(Builder<Ints>) -> Builder<Ints>) -> Self {
        let mut declared = Declared::default();
        declared.settle_window = WINDOW;
        Self::declaring(declared, faults, build)
    }

    pub(crate) fn declaring(
        declared: Declared,
        faults: Faults,
        build: impl FnOnce(Builder<Ints>) -> Builder<Ints>,
    ) -> Self {
        let clock = ManualClock::new();
        let origin = Origin::new(&clock, faults, declared);
        Self::over(origin.clone(), &origin, &clock, build)
    }

    /// A cache over a source of the scenario's own, whose truth is in `origin`.
    pub(crate) fn over(
        source: impl Source<Ints>,
        origin: &Origin,
        clock: &ManualClock,
        build: impl FnOnce(Builder<Ints>) -> Builder<Ints>,
    ) -> Self {
        Self::built(Cache::builder(source), origin, clock, build)
    }

    /// As [`World::new`], over an async source.
    #[cfg(feature = "tokio")]
    pub(crate) fn awaited(faults: Faults) -> Self {
        let mut declared = Declared::default();
        declared.settle_window = WINDOW;
        let clock = ManualClock::new();
        let origin = Origin::new(&clock, faults, declared);
        let builder = Cache::builder_async(awaited::Awaited(origin.clone()), awaited::runtime());
        Self::built(builder, &origin, &clock, |builder| builder)
    }

    fn built(
        builder: Builder<Ints>,
        origin: &Origin,
        clock: &ManualClock,
        build: impl FnOnce(Builder<Ints>) -> Builder<Ints>,
    ) -> Self {
        let builder = builder.clock(clock.shared()).clean_start(true).seed(1).shards(1).deadline(DEADLINE);
        let cache = build(builder).build().expect("the options make sense");
        Self::of(KEY, cache, origin, clock)
    }

    /// Another key of the same cache, whose truth is in `origin`.
    pub(crate) fn of(key: u64, cache: Cache<u64, u64>, origin: &Origin, clock: &ManualClock) -> Self {
        let history = Arc::new(History::beginning_with(Some(0)));
        let (origin, clock) = (origin.clone(), clock.clone());
        Self { key, cache, origin, clock, history, next: Arc::new(AtomicU64::new(1)) }
    }

    /// A value that nobody wrote before.
    pub(crate) fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self, client: usize) {
        let begun = self.history.begins(client);
        if let Ok(entry) = self.cache.get(&self.key) {
            begun.read(entry.map(|entry| *entry));
        }
    }

    pub(crate) fn put(&self, client: usize) {
        let _ = self.put_value(client, self.fresh(), &Call::new());
    }

    /// `value` is one that nobody wrote before.
    pub(crate) fn put_value(&self, client: usize, value: u64, call: &Call) -> Result<Written<Ints>, WriteError<Ints>> {
        let begun = self.history.begins(client);
        let result = self.cache.put_with(&self.key, value, call);
        match &result {
            Ok(written) => {
                if let Some(entry) = &written.entry {
                    assert_eq!(**entry, value, "the origin confirms what was sent");
                }
                begun.wrote(Some(value));
            }
            Err(error) if error.may_be_applied() => begun.may_write(Some(value)),
            Err(_) => {}
        }
        result
    }

    pub(crate) fn create(&self, client: usize) {
        let value = self.fresh();
        let begun = self.history.begins(client);
        if self.cache.create(value).is_ok() {
            begun.wrote(Some(value));
        }
    }

    pub(crate) fn delete(&self, client: usize) {
        let begun = self.history.begins(client);
        match self.cache.delete(&self.key) {
            Ok(_) => begun.wrote(None),
            Err(error) if error.may_be_applied() => begun.may_write(None),
            Err(_) => {}
        }
    }

    pub(crate) fn update(&self, client: usize) {
        let value = self.fresh();
        let mut read = None;
        let begun = self.history.begins(client);
        let result = self.cache.update(&self.key, |entry| {
            read = entry.map(|entry| **entry);
            Ok(Change::Put(value))
        });
        match result {
            Ok(_) => begun.updated(read, Some(value)),
            Err(WriteError::InDoubt(_)) => begun.may_write(Some(value)),
            Err(_) => {}
        }
    }

    /// An update whose closure panics: nothing is sent.
    pub(crate) fn update_that_panics(&self) {
        let update = || self.cache.update(&self.key, |_| resume_unwind(Box::new("an update that panics")));
        let ended = catch_unwind(AssertUnwindSafe(update));
        assert!(!matches!(ended, Ok(Ok(_))), "an update without a change is written");
    }

    /// What an index finds was read. The index has the record under `row`, if it is the right one.
    pub(crate) fn find(&self, client: usize, index: &str, row: &[u8], is_right: impl Fn(u64) -> bool) {
        let begun = self.history.begins(client);
        let found = self.cache.find(index, row).expect("there is such an index");
        assert!(found.entries.iter().all(|entry| is_right(**entry)), "a row leads to another record");
        let mut values = found.entries.iter().filter(|entry| *entry.key() == self.key).map(|entry| **entry);
        if let Some(value) = values.next() {
            begun.read(Some(value));
        }
        assert_eq!(values.next(), None, "a key has one record");
    }

    /// A permit of the explicit kind, that ends as the dice say.
    pub(crate) fn permit(&self, client: usize) {
        let value = self.fresh();
        let begun = self.history.begins(client);
        let Ok(prepared) = self.cache.prepare(&self.key, &Call::new().deadline(DEADLINE)) else { return };
        if thread_rng().gen_bool(0.2) {
            return prepared.abort();
        }
        let at = self.clock.now();
        let Ok(sent) = prepared.send() else { return };
        let applied = self.origin.apply(Some(value), at, None);
        // The answer may come after the permit's deadline.
        pause();
        match (applied, thread_rng().gen_range(0..3)) {
            (Ok(version), 0 | 1) => {
                sent.commit(Some(record(value, version)));
                begun.wrote(Some(value));
            }
            (Err(Refusal::Condition), _) => sent.reject(false),
            _ => {
                drop(sent);
                begun.may_write(Some(value));
            }
        }
    }

    /// A permit whose deadline passes once it was sent; its answer comes some time after that.
    pub(crate) fn overdue_permit(&self, client: usize) {
        let value = self.fresh();
        let begun = self.history.begins(client);
        let Ok(prepared) = self.cache.prepare(&self.key, &Call::new().deadline(DEADLINE)) else { return };
        let at = self.clock.now();
        let Ok(sent) = prepared.send() else { return };
        let version = self.origin.apply(Some(value), at, None).expect("it is in time, and asks for nothing");
        self.clock.advance(DEADLINE);
        (0..thread_rng().gen_range(0..24)).for_each(|_| pause());
        sent.commit(Some(record(value, version)));
        begun.wrote(Some(value));
    }

    /// A writer that does not come through the cache, and tells it.
    pub(crate) fn write_outside(&self, client: usize) {
        let value = self.fresh();
        let begun = self.history.begins(client);
        if self.origin.apply(Some(value), self.clock.now(), None).is_ok() {
            (0..thread_rng().gen_range(0..12)).for_each(|_| pause());
            self.cache.invalidate(&self.key);
            begun.wrote(Some(value));
        }
    }

    /// The same, of whom the origin tells, once or twice.
    pub(crate) fn write_pushed(&self, client: usize) {
        let value = self.fresh();
        let begun = self.history.begins(client);
        if let Ok(version) = self.origin.apply(Some(value), self.clock.now(), None) {
            (0..thread_rng().gen_range(0..12)).for_each(|_| pause());
            let push = || self.cache.pushed(&self.key, Pushed::Put(record(value, version)));
            push();
            begun.wrote(Some(value));
            if thread_rng().gen_bool(0.5) {
                (0..thread_rng().gen_range(0..12)).for_each(|_| pause());
                push();
            }
        }
    }

    /// Time goes on in steps that reach deadlines and windows.
    pub(crate) fn time_passes(&self, steps: usize) {
        for _ in 0..steps {
            pause();
            let seconds = [1, 5, 10][thread_rng().gen_range(0..3)];
            self.clock.advance(Duration::from_secs(seconds));
        }
    }

    /// The settle window passes, some time.
    pub(crate) fn window_passes(&self) {
        for _ in 0..thread_rng().gen_range(0..20) {
            pause();
        }
        self.clock.advance(self.origin.0.declared.settle_window);
    }

    /// Everything has ended but doubts: the history holds together, and what the cache holds is the origin's.
    pub(crate) fn check_at_rest(&self) {
        assert!(self.history.is_linearizable(), "not linearizable:\n{}", self.history);
        self.origin.0.at_rest.store(true, Ordering::Relaxed);
        self.clock.advance(WINDOW + DEADLINE);
        let stats = self.cache.stats();
        assert_eq!((stats.in_doubt, stats.writes_open), (0, 0), "every doubt ends with its window");
        if let Some(entry) = self.cache.peek(&self.key) {
            assert_eq!(Some(*entry), self.origin.value(), "cache and origin differ at rest:\n{}", self.history);
        }
        // Until the load does not fail.
        for _ in 0..64 {
            if let Ok(entry) = self.cache.get(&self.key) {
                assert_eq!(entry.map(|entry| *entry), self.origin.value(), "at rest:\n{}", self.history);
                return;
            }
        }
    }
}

/// What one thread does.
pub(crate) type Client = Box<dyn FnOnce(&World) + Send>;

pub(crate) fn client(work: impl FnOnce(&World) + Send + 'static) -> Client {
    Box::new(work)
}

/// Runs the clients, each in a thread of its own, to their ends. Where one of them may wait for time to pass, `flows` moves
/// it on for as long as any of them runs.
pub(crate) fn play(world: &World, flows: bool, clients: Vec<Client>) {
    let running = Arc::new(AtomicU64::new(clients.len() as u64));
    let run = |client: Client| {
        let (world, running) = (world.clone(), Arc::clone(&running));
        thread::spawn(move || {
            // Or else a schedule that is fair to all would begin all calls together, and end the shorter ones first.
            if thread_rng().gen_bool(0.5) {
                (0..thread_rng().gen_range(0..24)).for_each(|_| pause());
            }
            client(&world);
            running.fetch_sub(1, Ordering::Relaxed);
        })
    };
    let threads: Vec<_> = clients.into_iter().map(run).collect();
    while flows && running.load(Ordering::Relaxed) > 0 {
        // To yield is to come last: the others go on first.
        thread::yield_now();
        world.clock.advance(Duration::from_secs(1));
    }
    for thread in threads {
        thread.join().expect("no client panics");
    }
}
