//! Many reads in one call: what is resident in one step, one load for each key that is not, and an answer for each key.
//!
//! Each key that is missing is a read of its own, stepped beside the others, so that it joins, leads and is moved as any. Where the
//! source loads many keys with one request, those that lead at the same time do it together. Where a transaction changed some of the keys
//! meanwhile, it begins anew. Invariants: whatever becomes of one key's load, the others' answers are their own; no two answers
//! show different parts of a transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use hashbrown::HashTable;

use super::load::{Leading, LoadCall, LoadReply, OwnLoad, Role};
use super::{Get, How, Read, Wants, counted, refresh, visible};
use crate::bugs::{self, Bug};
use crate::clock::Tick;
#[cfg(feature = "tokio")]
use crate::drive::Spawned;
use crate::drive::{SourceCall, Step, Story};
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Layout, Lookup, SharedKey};
use crate::error::LoadError;
use crate::layers::Shown;
use crate::metrics::Event;
use crate::nesting::{self, Nesting};
use crate::options::Call;
use crate::source::{Batch, Failure, SourceError, panic_message};
use crate::store::Store;
use crate::sync::Arc;

/// A key's answer.
type Answer<L> = Result<Read<L>, LoadError>;

/// How often a read begins anew, since a transaction changed its keys while it loaded some.
const MOST_ROUNDS: usize = 8;

/// A read of many keys.
pub(crate) struct GetMany<L: Layout> {
    engine: Arc<Engine<L>>,
    /// All keys, where not all were here.
    keys: Vec<(u64, SharedKey<L>)>,
    /// In the order of the keys.
    places: Vec<Place<L>>,
    reads: Vec<Missing<L>>,
    /// Those of `reads` whose calls the driver has.
    out: Vec<usize>,
    call: Call,
    /// Of the whole call, where not all were here.
    deadline: Tick,
    /// It is part of a call of the source: it waits for nobody, and sees of transactions what there is.
    nested: bool,
    /// The shards of the keys, and what each had counted of transactions when the resident ones were taken.
    counts: Vec<(usize, u64)>,
    rounds: usize,
}

enum Place<L: Layout> {
    Hit(Read<L>),
    /// The answer is that of this one of the reads.
    Missing(usize),
}

/// A key that was not resident.
struct Missing<L: Layout> {
    story: Get<L>,
    answer: Option<Answer<L>>,
    /// A transaction ran on it when the resident ones were taken: it may have written a part of what it shows together.
    waits: bool,
}

impl<L: Layout> GetMany<L> {
    /// Takes what is resident; the rest is left to the steps.
    pub(crate) fn new<'q, Q: Lookup<L> + ?Sized + 'q>(
        engine: &Arc<Engine<L>>,
        keys: impl IntoIterator<Item = &'q Q>,
        call: &Call,
    ) -> Self {
        let keys: Vec<(u64, &Q)> = keys.into_iter().map(|key| (engine.hash(key), key)).collect();
        let (found, counts) = if engine.is_closed() {
            (keys.iter().map(|_| Found::Nothing { waits: false }).collect(), Vec::new())
        } else {
            let hashes: Vec<u64> = keys.iter().map(|(hash, _)| *hash).collect();
            take(engine, &hashes, &call.wants, |at, other| keys[at].1.is_key(other), |at| Arc::new(keys[at].1.to_key()))
        };
        let mut many = Self {
            engine: Arc::clone(engine),
            keys: Vec::new(),
            places: Vec::new(),
            reads: Vec::new(),
            out: Vec::new(),
            call: call.clone(),
            deadline: Tick::NEVER,
            nested: false,
            counts,
            rounds: 0,
        };
        if found.iter().any(|found| matches!(found, Found::Nothing { .. })) {
            let is_nested = |(hash, _): &(u64, &Q)| Nesting::of(engine.frame(*hash), call.scope.as_ref()).is_nested();
            many.nested = keys.iter().any(is_nested);
            many.keys = keys.into_iter().map(|(hash, key)| (hash, Arc::new(key.to_key()))).collect();
            many.deadline = engine.deadline_of(call, engine.clock.now());
        }
        many.begins(found);
        many
    }

    /// A round with what was found of each key.
    fn begins(&mut self, found: Vec<Found<L>>) {
        let Self { engine, keys, reads, call, deadline, .. } = self;
        reads.clear();
        // Each key once, by its place in `reads`.
        let mut known: HashTable<usize> = HashTable::new();
        let mut places = Vec::with_capacity(found.len());
        for (at, found) in found.into_iter().enumerate() {
            let waits = match found {
                Found::Read(read) => {
                    places.push(Place::Hit(read));
                    continue;
                }
                Found::Nothing { waits } => waits,
            };
            let (hash, key) = &keys[at];
            let is_key = |read: &usize| L::same_key(L::key(&reads[*read].story.key), L::key(key));
            let number = known.find(*hash, is_key).copied().unwrap_or_else(|| {
                let number = reads.len();
                let mut story = Get::new(engine, *hash, Arc::clone(key), call, false);
                story.deadline = *deadline;
                reads.push(Missing { story, answer: None, waits });
                known.insert_unique(*hash, number, |read| reads[*read].story.hash);
                number
            });
            places.push(Place::Missing(number));
        }
        self.places = places;
    }

    /// Begins anew, with what is resident now.
    fn again(&mut self) {
        let (engine, keys) = (&self.engine, &self.keys);
        let hashes: Vec<u64> = keys.iter().map(|(hash, _)| *hash).collect();
        let is_key = |at: usize, other: &L::Key| L::same_key(L::key(&keys[at].1), other);
        let (found, counts) = take(engine, &hashes, &self.call.wants, is_key, |at| Arc::clone(&keys[at].1));
        self.counts = counts;
        self.begins(found);
    }

    /// A transaction has changed some of the keys, or begun to, since the resident ones were taken. What was all taken in one step is
    /// one picture.
    fn is_overtaken(&self) -> bool {
        let moved = |(shard, count): &(usize, u64)| self.engine.shards()[*shard].read().transactions != *count;
        !self.nested && !self.reads.is_empty() && self.counts.iter().any(moved)
    }

    /// Until when it waits for transactions on keys that it has to load.
    fn held_up(&mut self, waker: &Waker) -> Option<Tick> {
        let engine = &self.engine;
        let held = self.reads.iter().filter(|read| read.waits).filter_map(|read| {
            engine.at_key(read.story.hash, L::key(&read.story.key), |at| at.wait_for_transaction(waker))
        });
        held.min()
    }

    /// The driver could not run the call that it was given.
    #[cfg(feature = "tokio")]
    pub(crate) fn refused(&mut self, error: &LoadError) {
        for number in self.out.drain(..) {
            self.reads[number].answer = Some(Err(error.clone()));
        }
    }

    fn answers(&mut self) -> Vec<Answer<L>> {
        let answers: Vec<Answer<L>> =
            self.reads.iter_mut().map(|read| read.answer.take().expect("every read has ended")).collect();
        let same = |answer: &Answer<L>| match answer {
            Ok(read) => Ok(Read { entry: read.entry.clone(), how: read.how, passed: read.passed }),
            Err(error) => Err(error.clone()),
        };
        let answer = |place| match place {
            Place::Hit(read) => Ok(read),
            Place::Missing(number) => same(&answers[number]),
        };
        self.places.drain(..).map(answer).collect()
    }
}

/// What is here of a key.
enum Taken<L: Layout> {
    Fresh(L::Stored),
    Shown(Shown<L>),
    Nothing { waits: bool },
}

/// What can be said of a key at once.
enum Found<L: Layout> {
    Read(Read<L>),
    Nothing { waits: bool },
}

/// The answers of what is resident and fresh, or pending, in one step: all shards concerned are locked for reading, in their order. Gives
/// what each of these has counted of transactions, too.
fn take<L: Layout>(
    engine: &Arc<Engine<L>>,
    hashes: &[u64],
    wants: &Wants,
    is_key: impl Fn(usize, &L::Key) -> bool,
    to_key: impl Fn(usize) -> SharedKey<L>,
) -> (Vec<Found<L>>, Vec<(usize, u64)>) {
    let mut numbers: Vec<usize> = hashes.iter().map(|hash| engine.shard_number(*hash)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let one_by_one = bugs::has(Bug::ManyTakenOneByOne);
    let read = |number: &usize| engine.shards()[*number].read();
    let states: Vec<_> = if one_by_one { Vec::new() } else { numbers.iter().map(read).collect() };
    let counts: Vec<u64> = states.iter().map(|state| state.transactions).collect();
    // None of the keys needs a look at its cell where nothing is pending anywhere.
    let layered = engine.pending.writes() > 0;
    let now = if wants.takes_any() { Tick::ZERO } else { engine.clock.now() };
    let does = |stored: &L::Stored| wants.takes_any() || wants.takes(stored.header(), wants.oldest(now), now);
    let find = |(at, hash): (usize, &u64)| {
        let alone;
        let place = numbers.binary_search(&engine.shard_number(*hash)).expect("the shard of each key is here");
        let state = match states.get(place) {
            Some(state) => state,
            None => {
                alone = engine.shard(*hash).read();
                &alone
            }
        };
        let stored = state.store.find(*hash, |other| is_key(at, other));
        if let Some(stored) = stored.filter(|stored| !engine.has_come(stored.header().serve_until()) && does(stored)) {
            Store::<L>::touch(&stored);
            return Taken::Fresh(stored.clone());
        }
        let has_come = |tick| engine.has_come(tick);
        let shown = if layered { state.shown(*hash, |other| is_key(at, other), has_come) } else { None };
        let nothing = || Taken::Nothing { waits: state.is_in_transaction(*hash, |other| is_key(at, other)) };
        match shown {
            Some(shown @ (Shown::Is(_) | Shown::Fold(..))) => Taken::Shown(shown),
            _ => nothing(),
        }
    };
    let found: Vec<Taken<L>> = hashes.iter().enumerate().map(find).collect();
    drop(states);
    let answer = |(at, (taken, hash)): (usize, (Taken<L>, &u64))| match taken {
        Taken::Fresh(stored) => {
            refresh::ask(engine, *hash, &stored, || to_key(at));
            Found::Read(Read::new(counted(engine, stored), How::Hit))
        }
        Taken::Shown(shown) => {
            let read = visible::answer(engine, *hash, || to_key(at), shown);
            Found::Read(read.expect("no load is needed for it"))
        }
        Taken::Nothing { waits } => Found::Nothing { waits },
    };
    let found = found.into_iter().zip(hashes).enumerate().map(answer).collect();
    (found, numbers.into_iter().zip(counts).collect())
}

impl<L: Layout> Story for GetMany<L> {
    type Call = LoadCalls<L>;
    type Output = Vec<Answer<L>>;

    fn step(&mut self, waker: &Waker) -> Step<LoadCalls<L>, Self::Output> {
        loop {
            match self.round(waker) {
                Step::Done(()) => {}
                Step::Wait(until) => return Step::Wait(until),
                Step::Call(calls) => return Step::Call(calls),
            }
            if !self.is_overtaken() {
                return Step::Done(self.answers());
            }
            self.rounds += 1;
            if self.rounds > MOST_ROUNDS {
                self.reads.iter_mut().for_each(|read| read.answer = Some(Err(LoadError::Contended)));
                return Step::Done(self.answers());
            }
            self.again();
        }
    }

    fn resume(&mut self, replies: Vec<LoadReply<L>>) {
        for (number, reply) in self.out.drain(..).zip(replies) {
            self.reads[number].story.resume(reply);
        }
    }
}

impl<L: Layout> GetMany<L> {
    /// Goes on with the keys that are to be loaded. Done: all have their answers.
    fn round(&mut self, waker: &Waker) -> Step<LoadCalls<L>, ()> {
        while !self.nested && self.reads.iter().any(|read| read.waits) {
            match self.held_up(waker) {
                Some(_) if self.engine.clock.now() >= self.deadline => {
                    // Each read ends with the deadline by itself.
                    self.reads.iter_mut().for_each(|read| read.waits = false);
                }
                Some(until) => return Step::Wait(until.min(self.deadline)),
                None => self.again(),
            }
        }
        let most = self.engine.source.load_many().map_or(1, |many| many.most_keys().max(1));
        let (mut calls, mut until, mut waits) = (Vec::new(), Tick::NEVER, false);
        for (number, read) in self.reads.iter_mut().enumerate().filter(|(_, read)| read.answer.is_none()) {
            match read.story.step(waker) {
                Step::Done(answer) => read.answer = Some(answer),
                Step::Wait(at) => (until, waits) = (until.min(at), true),
                Step::Call(call) => {
                    // What is nested is not led, and goes alone.
                    let is_full = !call.is_led() || calls.len() + 1 == most;
                    calls.push(call);
                    self.out.push(number);
                    if is_full {
                        break;
                    }
                }
            }
        }
        match (calls.is_empty(), waits) {
            (false, _) => Step::Call(LoadCalls(calls)),
            (true, true) => Step::Wait(until),
            (true, false) => Step::Done(()),
        }
    }
}

/// Loads that begin together. Dropped without being run, they let others lead.
pub(crate) struct LoadCalls<L: Layout>(Vec<LoadCall<L>>);

impl<L: Layout> SourceCall for LoadCalls<L> {
    type Reply = Vec<LoadReply<L>>;

    async fn run(self) -> Self::Reply {
        if self.0.len() > 1 {
            return together(self.0);
        }
        let mut replies = Vec::with_capacity(self.0.len());
        for call in self.0 {
            replies.push(call.run().await);
        }
        replies
    }

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick {
        self.0.iter().map(|call| call.deadline).min().unwrap_or(Tick::NEVER)
    }

    #[cfg(feature = "tokio")]
    fn is_nested(&self) -> bool {
        self.0.iter().any(SourceCall::is_nested)
    }
}

#[cfg(feature = "tokio")]
impl<L: Layout> Spawned for LoadCalls<L> {
    fn spawned(self) -> impl Future<Output = Self::Reply> + Send + 'static {
        self.run()
    }
}

impl<L: Layout> LoadCall<L> {
    fn is_led(&self) -> bool {
        matches!(self.role, Some(Role::Leader { .. }))
    }
}

/// One request for the keys of loads that are led by one caller.
fn together<L: Layout>(mut calls: Vec<LoadCall<L>>) -> Vec<LoadReply<L>> {
    let roles: Vec<Role<L>> = calls.iter_mut().map(|call| call.role.take().expect("present until run")).collect();
    let mut leads = Vec::with_capacity(calls.len());
    for (call, role) in calls.iter().zip(&roles) {
        if let Role::Leader { flight, replaced, moved } = role {
            let own =
                OwnLoad { engine: &call.engine, hash: call.hash, key: L::key(&call.key), deadline: call.deadline };
            let leading = Leading { engine: own.engine, hash: own.hash, key: own.key, flight };
            leads.push((leading, call.keep, own, replaced.as_ref(), *moved));
        }
    }
    let (engine, deadline, scope) = (&calls[0].engine, calls[0].deadline, calls[0].scope.as_ref());
    let since = engine.clock.now();
    if since >= deadline {
        return leads.into_iter().map(|_| LoadReply::Done(Err(LoadError::Deadline))).collect();
    }
    engine.counters.add(Event::Load, leads.len() as u64);
    let running = engine.tags.begins();
    let mut batch = Batch::new(&*engine.clock, deadline);
    for (_, _, own, replaced, _) in &leads {
        batch.add(own.key, *replaced);
    }
    // To the end of this function: see `OwnLoad::ask`.
    let _inside = nesting::enter_all(leads.iter().map(|(_, _, own, ..)| engine.frame(own.hash)), scope);
    let asked = catch_unwind(AssertUnwindSafe(|| match engine.source.load_many() {
        Some(many) => many.get_many(&mut batch),
        None => Err(SourceError::new(Failure::Failed, "the source does not load many any more")),
    }));
    let (asked, panic) = match asked {
        Ok(asked) => (asked, None),
        Err(panic) => (Ok(()), Some(panic_message(&*panic))),
    };
    let answers = batch.into_answers(asked);
    let mut replies = Vec::with_capacity(leads.len());
    for ((guard, keep, own, replaced, moved), answer) in leads.into_iter().zip(answers) {
        let answer = match &panic {
            Some(message) => Err(LoadError::Panicked(message.clone())),
            None => answer.map_err(LoadError::Source),
        };
        let made = own.made(answer, replaced, since, running).map(|asked| asked.kept_if(keep));
        replies.push(guard.ends(&own, moved, made));
    }
    replies
}
