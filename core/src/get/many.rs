//! Many reads in one call: what is resident in one step, one load for each key that is not, and an answer for each key.
//!
//! Each key that is missing is a read of its own, stepped beside the others, so that it joins, leads and is moved as any. Where the
//! source loads many keys with one request, those that lead at the same time do it together. Invariant: whatever becomes of one
//! key's load, the others' answers are their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use hashbrown::HashTable;

use super::load::{Leading, LoadCall, LoadReply, OwnLoad, Role};
use super::{Get, How, Read, counted, refresh};
use crate::bugs::{self, Bug};
use crate::clock::Tick;
#[cfg(feature = "tokio")]
use crate::drive::Spawned;
use crate::drive::{SourceCall, Step, Story};
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout, Lookup};
use crate::error::LoadError;
use crate::metrics::Event;
use crate::nesting;
use crate::options::Call;
use crate::source::{Batch, Failure, SourceError, panic_message};
use crate::store::Store;
use crate::sync::Arc;

/// A key's answer.
type Answer<L> = Result<Read<L>, LoadError>;

/// A read of many keys.
pub(crate) struct GetMany<L: Layout> {
    engine: Arc<Engine<L>>,
    /// In the order of the keys.
    places: Vec<Place<L>>,
    reads: Vec<Missing<L>>,
    /// Those of `reads` whose calls the driver has.
    out: Vec<usize>,
}

enum Place<L: Layout> {
    Hit(Option<Entry<L>>),
    /// The answer is that of this one of the reads.
    Missing(usize),
}

/// A key that was not resident.
struct Missing<L: Layout> {
    story: Get<L>,
    answer: Option<Answer<L>>,
}

impl<L: Layout> GetMany<L> {
    /// Takes what is resident; the rest is left to the steps.
    pub(crate) fn new<'q, Q: Lookup<L> + ?Sized + 'q>(
        engine: &Arc<Engine<L>>,
        keys: impl IntoIterator<Item = &'q Q>,
        call: &Call,
    ) -> Self {
        let keys: Vec<(u64, &Q)> = keys.into_iter().map(|key| (engine.hash(key), key)).collect();
        let hits = if engine.is_closed() { keys.iter().map(|_| None).collect() } else { hits(engine, &keys) };
        let mut reads: Vec<Missing<L>> = Vec::new();
        // Each key once, by its place in `reads`.
        let mut known: HashTable<usize> = HashTable::new();
        let mut places = Vec::with_capacity(keys.len());
        for ((hash, key), hit) in keys.into_iter().zip(hits) {
            places.push(match hit {
                Some(entry) => Place::Hit(entry),
                None => {
                    let is_key = |read: &usize| key.is_key(L::key(&reads[*read].story.key));
                    let number = known.find(hash, is_key).copied().unwrap_or_else(|| {
                        let number = reads.len();
                        reads.push(Missing {
                            story: Get::new(engine, hash, Arc::new(key.to_key()), call),
                            answer: None,
                        });
                        known.insert_unique(hash, number, |read| reads[*read].story.hash);
                        number
                    });
                    Place::Missing(number)
                }
            });
        }
        Self { engine: Arc::clone(engine), places, reads, out: Vec::new() }
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
            Ok(read) => Ok(Read { entry: read.entry.clone(), how: read.how }),
            Err(error) => Err(error.clone()),
        };
        let answer = |place| match place {
            Place::Hit(entry) => Ok(Read { entry, how: How::Hit }),
            Place::Missing(number) => same(&answers[number]),
        };
        self.places.drain(..).map(answer).collect()
    }
}

/// The answers of what is resident and fresh, in one step: all shards concerned are locked for reading, in their order.
fn hits<L: Layout, Q: Lookup<L> + ?Sized>(
    engine: &Arc<Engine<L>>,
    keys: &[(u64, &Q)],
) -> Vec<Option<Option<Entry<L>>>> {
    if bugs::has(Bug::ManyTakenOneByOne) {
        return keys.iter().map(|(hash, key)| super::hit(engine, *hash, *key)).collect();
    }
    let mut numbers: Vec<usize> = keys.iter().map(|(hash, _)| engine.shard_number(*hash)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let states: Vec<_> = numbers.iter().map(|number| engine.shards()[*number].read()).collect();
    let find = |(hash, key): &(u64, &Q)| {
        let place = numbers.binary_search(&engine.shard_number(*hash)).expect("the shard of each key is here");
        let stored = states[place].store.find(*hash, |other| key.is_key(other))?;
        if engine.has_come(stored.header().serve_until()) {
            return None;
        }
        Store::<L>::touch(&stored);
        Some(stored.clone())
    };
    let found: Vec<Option<L::Stored>> = keys.iter().map(find).collect();
    drop(states);
    let answer = |(stored, (hash, key)): (Option<L::Stored>, &(u64, &Q))| {
        stored.map(|stored| {
            refresh::ask(engine, *hash, &stored, || Arc::new(key.to_key()));
            counted(engine, stored)
        })
    };
    found.into_iter().zip(keys).map(answer).collect()
}

impl<L: Layout> Story for GetMany<L> {
    type Call = LoadCalls<L>;
    type Output = Vec<Answer<L>>;

    fn step(&mut self, waker: &Waker) -> Step<LoadCalls<L>, Self::Output> {
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
            (true, false) => Step::Done(self.answers()),
        }
    }

    fn resume(&mut self, replies: Vec<LoadReply<L>>) {
        for (number, reply) in self.out.drain(..).zip(replies) {
            self.reads[number].story.resume(reply);
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
            let own = OwnLoad { engine: &call.engine, hash: call.hash, key: &call.key, deadline: call.deadline };
            leads.push((Leading { call, flight }, own, replaced.as_ref(), *moved));
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
    for (_, own, replaced, _) in &leads {
        batch.add(L::key(own.key), *replaced);
    }
    // To the end of this function: see `OwnLoad::ask`.
    let _inside = nesting::enter_all(leads.iter().map(|(_, own, ..)| engine.frame(own.hash)), scope);
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
    for ((guard, own, replaced, moved), answer) in leads.into_iter().zip(answers) {
        let answer = match &panic {
            Some(message) => Err(LoadError::Panicked(message.clone())),
            None => answer.map_err(LoadError::Source),
        };
        let made = own.made(answer, replaced, since, running);
        replies.push(guard.ends(&own, moved, made));
    }
    replies
}
