//! The model beside the cache: the origin's truth, and the list of what is pending on each key.
//!
//! The model keeps no value but the origin's own: what is visible is folded anew from that each time. Invariant: whatever is here
//! without asking anybody is what the model says, after every act.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wtcache::{
    Cache, Call, How, Lifetime, LoadError, NotSent, Optimistic, Pending, PendingWrite, Transacted, Windows, WriteError,
};
use wtcache_testkit::ManualClock;

use crate::act::{Act, Case, Kind, Part};
use crate::common::{Texts, secs, text};
use crate::origin::{BOUND, FAILS, KEYS, Origin, Release, Verdict};
use crate::parts::{self, Course};
use crate::reader::{Begun, LONG, Reader};

/// What the model finds wrong.
pub(crate) type Checked = Result<(), String>;

macro_rules! check {
    ($holds:expr, $($told:tt)+) => {
        if !$holds {
            return Err(format!($($told)+));
        }
    };
}
pub(crate) use check;

/// Deadline of what is to be overdue once time has passed.
const SHORT: u64 = 5;

/// What time passes at once: more than the settle window.
const WAIT: u64 = 11;

const LIFETIME: u64 = 30;

/// What was done, so that a test can say that it was.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    /// How often what is here was compared: of what is visible, of what is confirmed, of what a load brought.
    pub(crate) visible: u64,
    pub(crate) confirmed: u64,
    pub(crate) loaded: u64,
    /// Transactions that were stopped, by the place of the step, whether it is unknown, and whether they were shown.
    pub(crate) stopped: [[[u64; 2]; 2]; 4],
    pub(crate) undone: u64,
    /// How often something stale was given.
    pub(crate) stale: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.visible += other.visible;
        self.confirmed += other.confirmed;
        self.loaded += other.loaded;
        self.undone += other.undone;
        self.stale += other.stale;
        let counts = self.stopped.iter_mut().flatten().flatten();
        counts.zip(other.stopped.iter().flatten().flatten()).for_each(|(count, more)| *count += more);
    }
}

/// Something pending, in the model.
struct Above {
    kind: Kind,
    text: String,
    what: What,
}

enum What {
    Write { short: bool, handle: PendingWrite<Texts> },
    Part(usize),
}

/// A transaction that is shown.
struct Going {
    course: Course,
    handle: Pending<Transacted<Texts>>,
    /// How many of its calls the origin has answered.
    answered: usize,
    /// What the origin had before the first of these, of each key that they wrote: a hit gives that.
    before: BTreeMap<usize, Option<String>>,
}

/// A load that is held.
struct Load {
    key: usize,
    confirmed: bool,
    late: bool,
    release: Release,
    reader: Reader,
    truth: Option<String>,
    /// The truth has changed since, and nobody told the cache.
    landed: bool,
}

pub(crate) struct Run {
    keys: usize,
    pub(crate) origin: Origin,
    pub(crate) clock: ManualClock,
    pub(crate) cache: Cache<String, String>,
    above: [VecDeque<Above>; KEYS.len()],
    going: BTreeMap<usize, Going>,
    loads: Vec<Load>,
    readers: Vec<Reader>,
    written: usize,
    /// For how long a record may be served after it was asked for, the time in which it is stale included.
    served: Duration,
    /// How many acts were begun.
    pub(crate) at: usize,
    pub(crate) tally: Tally,
}

pub(crate) fn applied_to(kind: Kind, text: &str, old: Option<String>) -> Option<String> {
    match kind {
        Kind::Put => Some(text.to_owned()),
        Kind::Delete => None,
        // No longer than it takes to tell one order from another.
        Kind::Merge => Some(old.filter(|old| old.len() < 40).unwrap_or_default() + text),
        Kind::Toggle => {
            if old.is_some() {
                None
            } else {
                Some(text.to_owned())
            }
        }
    }
}

impl Run {
    pub(crate) fn new(case: &Case) -> Self {
        let [fresh, if_error] = case.own.map(|own| own.map(secs));
        let own = Windows { fresh, if_error, ..Windows::default() };
        let (origin, clock) = (Origin::saying(Lifetime::With(own)), ManualClock::new());
        // One for what each key has at the origin, in time and beyond its deadline.
        let optimistic = Optimistic::new().threads(2 * KEYS.len()).deadline(LONG);
        let builder = Cache::builder(origin.clone()).clock(clock.shared()).clean_start(true);
        let builder = builder.capacity(case.capacity).shards(1).lifetime(secs(LIFETIME)).optimistic(optimistic);
        let builder = builder.absent_after_delete(case.absent_after_delete).stale_if_error(secs(case.window));
        // Finds what is confirmed without asking for it.
        let builder = builder.indexes(["all"], |_, _, rows| rows.add(0, b""));
        Self {
            keys: case.keys,
            origin,
            clock,
            cache: builder.build().expect("options"),
            above: Default::default(),
            going: BTreeMap::new(),
            loads: Vec::new(),
            readers: Vec::new(),
            written: 0,
            served: fresh.unwrap_or(secs(LIFETIME)) + if_error.unwrap_or(secs(case.window)),
            at: 0,
            tally: Tally::default(),
        }
    }

    /// Plays a history, and brings it to its end.
    pub(crate) fn play(&mut self, case: &Case) -> Checked {
        for (at, act) in case.acts.iter().enumerate() {
            self.at = at;
            let told = |fault| format!("at act {at}, {act:?}: {fault}");
            if self.act(act).map_err(told)? {
                self.tally.steps += 1;
                self.check().map_err(told)?;
            }
        }
        self.at = case.acts.len();
        self.ends().map_err(|fault| format!("at the end: {fault}"))
    }

    pub(crate) fn text(&mut self) -> String {
        self.written += 1;
        format!("{}.", self.written)
    }

    pub(crate) fn visible(&self, key: usize) -> Option<String> {
        self.shown_above(key, self.origin.truth(key))
    }

    fn shown_above(&self, key: usize, base: Option<String>) -> Option<String> {
        self.above[key].iter().fold(base, |old, above| applied_to(above.kind, &above.text, old))
    }

    /// What is confirmed of the key by what is here.
    fn may_be_here(&self, key: usize, value: Option<&String>) -> bool {
        let before = self.running(key).and_then(|going| going.before.get(&key));
        self.origin.truth(key).as_ref() == value || before.is_some_and(|before| before.as_ref() == value)
    }

    /// The transaction that has the key's turn.
    fn running(&self, key: usize) -> Option<&Going> {
        match self.above[key].front()?.what {
            What::Part(number) => self.going.get(&number),
            What::Write { .. } => None,
        }
    }

    fn is_loaded(&self, key: usize) -> bool {
        self.loads.iter().any(|load| load.key == key)
    }

    /// False: there was nothing to do.
    fn act(&mut self, act: &Act) -> Result<bool, String> {
        match act {
            Act::Optimistic { key, kind, short } => self.optimistic(*key, *kind, *short),
            Act::Through { key, kind, verdict } => return self.through(*key, *kind, *verdict),
            Act::Settle { key, verdict } => return self.settle(*key, *verdict),
            Act::Cancel { key, place } => return self.cancel(*key, *place),
            Act::Transact { parts, shown: false } => return self.transact(parts),
            Act::Transact { parts, shown: true } => self.start(parts),
            Act::LoadBegins { key, confirmed, late } => return self.load_begins(*key, *confirmed, *late),
            Act::LoadEnds { place } => return self.load_ends(*place),
            Act::Invalidate { key } => self.invalidate(*key),
            Act::Outside { key, deletes } => {
                let text = self.text();
                self.origin.set(*key, (!deletes).then_some(text));
                self.invalidate(*key);
            }
            Act::Lands { key } => {
                if !self.origin.lands(*key) {
                    return Ok(false);
                }
                self.loads.iter_mut().filter(|load| load.key == *key).for_each(|load| load.landed = true);
            }
            Act::Wait { late } => self.wait(*late)?,
            Act::Read { key } => {
                if self.is_loaded(*key) {
                    return Ok(false);
                }
                let (read, visible) = (text(self.cache.get(KEYS[*key])), self.visible(*key));
                check!(read == visible, "read {read:?}, and {visible:?} is visible");
            }
            Act::ReadConfirmed { key } => {
                if self.is_loaded(*key) {
                    return Ok(false);
                }
                let read = text(self.cache.get_confirmed(KEYS[*key]));
                check!(self.may_be_here(*key, read.as_ref()), "read {read:?} as confirmed: {}", self.told(*key));
            }
            Act::ReadInTrouble { key, confirmed } => return self.read_in_trouble(*key, *confirmed),
            Act::ReadAll => return self.read_all(),
        }
        Ok(true)
    }

    fn told(&self, key: usize) -> String {
        let before = self.running(key).map(|going| &going.before);
        format!("the origin has {:?}, visible is {:?}, before {before:?}", self.origin.truth(key), self.visible(key))
    }

    // --- writes

    fn optimistic(&mut self, key: usize, kind: Kind, short: bool) {
        let (name, text) = (KEYS[key], self.text());
        let own = text.clone();
        let call = Call::new().deadline(if short { secs(SHORT) } else { LONG });
        let handle = match kind {
            Kind::Put => self.cache.put_optimistic_with(name, text.clone(), &call),
            Kind::Delete => self.cache.delete_optimistic_with(name, &call),
            _ => self.cache.merge_optimistic_with(name, move |old| applied_to(kind, &own, old.cloned()), &call),
        };
        let what = What::Write { short, handle: handle.expect("admitted") };
        self.above[key].push_back(Above { kind, text, what });
    }

    fn through(&mut self, key: usize, kind: Kind, verdict: Verdict) -> Result<bool, String> {
        if !self.above[key].is_empty() {
            return Ok(false);
        }
        let (name, text, before) = (KEYS[key], self.text(), self.origin.truth(key));
        self.origin.says(key, verdict);
        let ended = match kind {
            Kind::Put => self.cache.put(name, text.clone()),
            Kind::Delete => self.cache.delete(name),
            _ => self.cache.update(name, |old| {
                let made = applied_to(kind, &text, old.map(|entry| entry.value().clone()));
                Ok(made.map_or(wtcache::Change::Delete, wtcache::Change::Put))
            }),
        };
        ended_as(verdict, ended.as_ref().map(drop))?;
        if verdict.applies() || verdict == Verdict::LostApplied {
            let (truth, right) = (self.origin.truth(key), applied_to(kind, &text, before));
            check!(truth == right, "it made {truth:?}, and not {right:?}");
        }
        Ok(true)
    }

    /// The origin answers what it has of the key.
    fn settle(&mut self, key: usize, verdict: Verdict) -> Result<bool, String> {
        match self.above[key].front().map(|above| &above.what) {
            None => Ok(false),
            Some(What::Part(number)) => self.answer(*number),
            Some(What::Write { .. }) => {
                let What::Write { handle, .. } = self.above[key].pop_front().expect("it is there").what else {
                    unreachable!("seen above");
                };
                self.origin.says(key, verdict);
                ended_as(verdict, ended(handle).as_ref().map(drop)).map(|()| true)
            }
        }
    }

    fn cancel(&mut self, key: usize, place: usize) -> Result<bool, String> {
        let Some(Above { what: What::Write { handle, .. }, .. }) = self.above[key].get(place) else { return Ok(false) };
        check!(handle.cancel() == (place > 0), "it waits for its turn, or has it");
        if place > 0 {
            let Some(Above { what: What::Write { handle, .. }, .. }) = self.above[key].remove(place) else {
                unreachable!("seen above");
            };
            let outcome = ended(handle);
            check!(
                matches!(outcome, Err(WriteError::NotSent(NotSent::Cancelled))),
                "cancelled, it ended as {:?}",
                outcome.map(drop)
            );
        }
        Ok(true)
    }

    fn invalidate(&mut self, key: usize) {
        self.cache.invalidate(KEYS[key]);
        self.going.values_mut().for_each(|going| drop(going.before.remove(&key)));
    }

    /// Time passes. What is short is overdue: what waits for its turn is given up, and what is out is in doubt until it is answered.
    fn wait(&mut self, late: Verdict) -> Checked {
        let is_short = |above: &Above| matches!(above.what, What::Write { short: true, .. });
        for key in 0..self.keys {
            if self.above[key].front().is_some_and(is_short) {
                self.origin.has_write(key);
            }
        }
        self.origin.forgets_strays();
        self.clock.advance(secs(WAIT));
        let mut out = Vec::new();
        for (key, name) in KEYS.iter().enumerate().take(self.keys) {
            let had_turn = self.above[key].front().is_some_and(is_short);
            let (short, left): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut self.above[key]).into_iter().partition(is_short);
            self.above[key] = left;
            for (place, above) in short.into_iter().enumerate() {
                let What::Write { handle, .. } = above.what else { unreachable!("only writes are short") };
                if place == 0 && had_turn {
                    out.push((key, handle));
                    continue;
                }
                let outcome = ended(handle);
                // Given its turn by the same passing of time, it may have been about to read the record.
                let late = matches!(
                    &outcome,
                    Err(WriteError::NotSent(NotSent::Deadline | NotSent::Unread(LoadError::Deadline)))
                );
                check!(late, "overdue, place {place} of {} ended as {:?}", name, outcome.map(drop));
            }
        }
        self.check()?;
        for (key, handle) in out {
            self.origin.says(key, late);
            ended_as(late, ended(handle).as_ref().map(drop))?;
        }
        Ok(())
    }

    // --- transactions

    /// One that is shown once it has been applied.
    fn transact(&mut self, parts: &[Part]) -> Result<bool, String> {
        if parts.iter().any(|part| !self.above[part.key].is_empty()) {
            return Ok(false);
        }
        let texts: Vec<String> = parts.iter().map(|_| self.text()).collect();
        let course = Course::of(parts);
        for call in &course.calls {
            self.origin.says(call.key, call.verdict);
        }
        let ended = parts::transaction(&self.cache, &self.origin, parts, &texts).run();
        self.has_ended(&course, &ended, false)?;
        self.read_all()
    }

    /// One that is shown from its begin.
    fn start(&mut self, parts: &[Part]) {
        let texts: Vec<String> = parts.iter().map(|_| self.text()).collect();
        let handle = parts::transaction(&self.cache, &self.origin, parts, &texts).start().expect("admitted");
        let number = self.written;
        for key in 0..self.keys {
            // The last step of a key says what is shown of it.
            if let Some((part, text)) = parts.iter().zip(texts.iter()).rfind(|(part, _)| part.key == key) {
                let kind = if part.deletes { Kind::Delete } else { Kind::Put };
                self.above[key].push_back(Above { kind, text: text.clone(), what: What::Part(number) });
            }
        }
        let course = Course::of(parts);
        self.going.insert(number, Going { course, handle, answered: 0, before: BTreeMap::new() });
    }

    /// The origin answers the next call of a transaction, if it has all its turns.
    fn answer(&mut self, number: usize) -> Result<bool, String> {
        let is_first = |above: &Above| matches!(above.what, What::Part(other) if other == number);
        let is_any = |above: &VecDeque<Above>| above.iter().any(is_first);
        if self.above.iter().any(|above| is_any(above) && !above.front().is_some_and(is_first)) {
            return Ok(false);
        }
        let going = self.going.get_mut(&number).expect("it goes on");
        let call = going.course.calls[going.answered];
        // It is there, or on its way.
        self.origin.has_write(call.key);
        let before = self.origin.truth(call.key);
        going.before.entry(call.key).or_insert(before);
        going.answered += 1;
        self.origin.says(call.key, call.verdict);
        self.origin.has_answered(call.key);
        if let Some(next) = going.course.calls.get(going.answered) {
            self.origin.has_write(next.key);
            return Ok(true);
        }
        let Going { course, handle, .. } = self.going.remove(&number).expect("it goes on");
        for above in &mut self.above {
            above.retain(|above| !is_first(above));
        }
        self.has_ended(&course, &ended(handle), true)?;
        self.read_all()
    }

    fn has_ended(&mut self, course: &Course, ended: &Transacted<Texts>, shown: bool) -> Checked {
        course.check(ended)?;
        if let Some((place, is_unknown)) = course.stopped {
            self.tally.stopped[place][usize::from(is_unknown)][usize::from(shown)] += 1;
        }
        self.tally.undone += u64::from(course.is_undone);
        Ok(())
    }

    // --- reads

    fn read_all(&mut self) -> Result<bool, String> {
        let keys: Vec<usize> = (0..self.keys).filter(|key| !self.is_loaded(*key)).collect();
        let reads = self.cache.get_many(keys.iter().map(|key| KEYS[*key]));
        for (key, read) in keys.into_iter().zip(reads) {
            let (read, visible) = (text(read), self.visible(key));
            check!(read == visible, "of all, {} is {read:?}, and {visible:?} is visible", KEYS[key]);
        }
        Ok(true)
    }

    /// Loads fail. What is given is right all the same, and stale only within its window and with nothing pending above it.
    fn read_in_trouble(&mut self, key: usize, confirmed: bool) -> Result<bool, String> {
        if self.is_loaded(key) {
            return Ok(false);
        }
        FAILS.set(true);
        let (name, call) = (KEYS[key], Call::new());
        let read = if confirmed { self.cache.read_confirmed(name, &call) } else { self.cache.read(name, &call) };
        FAILS.set(false);
        let Ok(read) = read else { return Ok(true) };
        let value = read.entry.as_ref().map(|entry| entry.value().clone());
        let right = if confirmed { self.may_be_here(key, value.as_ref()) } else { value == self.visible(key) };
        check!(right, "read {value:?}, confirmed: {confirmed}; {}", self.told(key));
        let Some(entry) = read.entry.filter(|_| read.how == How::Stale) else { return Ok(true) };
        self.tally.stale += 1;
        let over = entry.since().after(self.served);
        check!(self.cache.now() < over, "it was to be served until {over:?}, and it is {:?}", self.cache.now());
        check!(confirmed || self.above[key].is_empty(), "something stale beneath what is pending");
        check!(
            self.cache.doubts(KEYS.len()).iter().all(|doubt| doubt.key != name),
            "something stale of a key in doubt"
        );
        Ok(true)
    }

    fn load_begins(&mut self, key: usize, confirmed: bool, late: bool) -> Result<bool, String> {
        if self.is_loaded(key) {
            return Ok(false);
        }
        let reader = self.readers.pop().unwrap_or_else(Reader::new);
        let truth = self.origin.truth(key);
        match reader.begins(&self.cache, key, confirmed, late) {
            Begun::Held(release) => {
                self.loads.push(Load { key, confirmed, late, release, reader, truth, landed: false });
            }
            Begun::Read(read) => {
                self.readers.push(reader);
                let right = if confirmed { self.may_be_here(key, read.as_ref()) } else { read == self.visible(key) };
                check!(right, "read {read:?}, confirmed: {confirmed}; {}", self.told(key));
            }
        }
        Ok(true)
    }

    fn load_ends(&mut self, place: usize) -> Result<bool, String> {
        if place >= self.loads.len() {
            return Ok(false);
        }
        let Load { key, confirmed, late, release, reader, truth, landed } = self.loads.swap_remove(place);
        release.send(()).expect("it is held");
        let read = reader.ends();
        self.readers.push(reader);
        self.tally.loaded += 1;
        // What it brought may be what was there when it began, as long as nothing told the cache of anything newer.
        let steps = self.running(key).is_some_and(|going| going.before.contains_key(&key));
        let old = if !late && (landed || steps) { truth } else { self.origin.truth(key) };
        let right = if confirmed {
            self.may_be_here(key, read.as_ref()) || read == old
        } else {
            read == self.visible(key) || read == self.shown_above(key, old)
        };
        check!(right, "loaded {read:?}, confirmed: {confirmed}; {}", self.told(key));
        Ok(true)
    }

    // --- the judge

    /// What is here without asking anybody is right, and what is pending is marked.
    fn check(&mut self) -> Checked {
        for (key, name) in KEYS[..self.keys].iter().enumerate() {
            // Where time has changed what is pending, a peek gives nothing until somebody brings the key up to the present.
            let here = self.cache.peek(*name).or_else(|| (self.cache.stats(), self.cache.peek(*name)).1);
            let visible = self.visible(key);
            let needs_base = !self.above[key].iter().any(|above| matches!(above.kind, Kind::Put | Kind::Delete));
            if let Some(entry) = &here {
                let is_marked = entry.pending_since().is_some();
                check!(is_marked != self.above[key].is_empty(), "{name} is marked as pending: {is_marked}");
            }
            let value = here.map(|entry| entry.value().clone());
            // Nothing here may also be a record that is not here.
            check!(value == visible || value.is_none() && needs_base, "{name} is {value:?} here: {}", self.told(key));
            self.tally.visible += u64::from(value.is_some());
        }
        for entry in self.cache.find("all", b"").expect("an index").entries {
            let key = KEYS.iter().position(|name| name == entry.key()).expect("a key of the model");
            check!(self.may_be_here(key, Some(entry.value())), "{:?} is confirmed: {}", *entry, self.told(key));
            check!(entry.pending_since().is_none(), "{} is confirmed, and marked as pending", entry.key());
            self.tally.confirmed += 1;
        }
        // The place of one that time has ended is given back by whoever noticed that, a moment after it left.
        let (pending, began) = (self.above.iter().map(VecDeque::len).sum::<usize>() as u64, Instant::now());
        while self.cache.stats().pending != pending {
            check!(began.elapsed() < BOUND, "{} are pending, and not {pending}", self.cache.stats().pending);
            thread::yield_now();
        }
        Ok(())
    }

    /// All that is left is applied; then nothing is in flight, and nothing in doubt.
    fn ends(&mut self) -> Checked {
        while let Some(key) = (0..self.keys).find(|key| !self.above[*key].is_empty()) {
            // A transaction that waits for another of its keys goes on with that.
            for key in (key..self.keys).chain(0..key) {
                if self.settle(key, Verdict::Applied)? {
                    self.check()?;
                }
            }
        }
        while !self.loads.is_empty() {
            self.load_ends(0)?;
            self.check()?;
        }
        // What was late is in doubt for longer.
        for _ in 0..2 {
            self.wait(Verdict::Applied)?;
            self.check()?;
        }
        let stats = self.cache.stats();
        check!((stats.in_doubt, stats.writes_open) == (0, 0), "at rest, {stats:?}");
        for (key, name) in KEYS.iter().enumerate().take(self.keys) {
            let truth = self.origin.truth(key);
            for read in [self.cache.get(*name), self.cache.get_confirmed(*name)] {
                let read = text(read);
                check!(read == truth, "at rest, {} is {read:?}, and {truth:?} at the origin", name);
            }
            check!(truth.is_none() || self.cache.peek(*name).is_some(), "at rest, {} is not kept", name);
        }
        Ok(())
    }
}

/// Wakes a thread that waits for a handle.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The outcome, waited for within a bound of real time.
pub(crate) fn ended<T>(handle: Pending<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut handle, began) = (pin!(handle), Instant::now());
    loop {
        if let Poll::Ready(outcome) = handle.as_mut().poll(&mut Context::from_waker(&waker)) {
            return outcome;
        }
        assert!(began.elapsed() < BOUND, "what is pending does not end: {handle:?}");
        thread::park_timeout(BOUND);
    }
}

pub(crate) fn ended_as(verdict: Verdict, ended: Result<(), &WriteError<Texts>>) -> Checked {
    let right = match verdict {
        verdict if verdict.applies() => ended.is_ok(),
        verdict if verdict.refuses() => matches!(ended, Err(WriteError::Rejected(_))),
        _ => matches!(ended, Err(WriteError::InDoubt(_))),
    };
    check!(right, "{verdict:?} ended as {ended:?}");
    Ok(())
}
