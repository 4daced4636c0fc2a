//! Running the steps of a transaction within its turns, undoing them, and the one step in which its keys take what came of it.
//!
//! What a step wrote is kept aside until the end: nothing of it is shown before. Invariants: a key that was written takes what was
//! confirmed of it last, or is asked for, and never what was here before; one that nothing wrote is as if the transaction had never been.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Forget;
use super::report::{Report, StepEnd, StepValue, Transacted, UndoEnd};
use super::step::{Action, Does, Makes, Planned, StepCx, StepDone, Undo, Unmakes, Wrote};
use super::turns::{Seat, Seats};
use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::commit::no_doubt;
use crate::doubt::{Doubted, InDoubt, Sending};
use crate::engine::Engine;
use crate::entry::{Entry, Layout};
use crate::error::{NotSent, WriteError};
use crate::get::{self, OwnLoad};
use crate::listener::EventKind;
use crate::metrics::Event;
use crate::put::{Change, Done, Told, condition_on, proves_nothing, too_large};
use crate::shard::AtKey;
use crate::source::{
    Condition, Failure, IdempotencyKey, Lifetime, Outcome, Record, Rejection, SourceError, panic_message,
};
use crate::sync::Arc;
use crate::tags::Running;

/// What was last said of a key.
enum Last<L: Layout> {
    /// No write of it was sent.
    Untouched,
    /// Writes of it were sent, and refused.
    Refused {
        stale_base: bool,
        all_sends: bool,
    },
    /// A write of it was applied, in a request that began then. `None`: what it left is not known.
    Put(Option<Record<L::Value>>, Tick),
    Deleted(Tick),
    Unknown(Unsettled<L>),
}

/// A send that may still land.
struct Unsettled<L: Layout> {
    cause: SourceError,
    since: Tick,
    idempotency_key: IdempotencyKey,
    /// What was sent, if the cache did it.
    sending: Option<Sending<L>>,
    condition: Option<Condition>,
}

/// What is known of a key while the steps run.
struct KeyRun<L: Layout> {
    last: Last<L>,
    /// An earlier send of the source's may still land.
    stray: bool,
}

/// A transaction that runs.
pub(super) struct Run<L: Layout> {
    engine: Arc<Engine<L>>,
    seats: Seats<L>,
    keys: Vec<KeyRun<L>>,
    /// What was to be shown of the keys.
    updates: Vec<Option<Wrote<L::Value>>>,
    /// Until when a step may begin; undoing may take until the turns end.
    deadline: Tick,
    /// What tags were invalidated since.
    running: Running,
    /// The record that the last update was given, until its step takes it.
    given: Option<Option<Entry<L>>>,
}

/// Keys, by their places among those of the transaction.
type Keys = [usize];

/// What a step, or undoing one, came to.
enum Ran<L: Layout> {
    Applied(StepValue<L>),
    /// Applied as it is: nothing had to be written.
    Kept,
    Rejected(Rejection),
    NotSent(NotSent),
    Unknown(SourceError),
}

/// What is sent by the source, and on what condition.
struct Write<L: Layout> {
    sending: Sending<L>,
    condition: Option<Condition>,
}

impl<L: Layout> From<Sending<L>> for Write<L> {
    fn from(sending: Sending<L>) -> Self {
        Self { sending, condition: None }
    }
}

impl<L: Layout> Run<L> {
    pub(super) fn new(seats: Seats<L>, updates: Vec<Option<Wrote<L::Value>>>, deadline: Tick) -> Self {
        let engine = Arc::clone(&seats.engine);
        let keys = seats.list.iter().map(|_| KeyRun { last: Last::Untouched, stray: false }).collect();
        let running = engine.tags.begins();
        Self { engine, seats, keys, updates, deadline, running, given: None }
    }

    /// Runs the steps, undoes what has to be, and ends the transaction.
    pub(super) async fn finish(mut self, steps: Vec<Planned<L>>, forgets: Vec<Forget<L>>) -> Transacted<L> {
        if let Err(why) = self.seats.begin() {
            self.engine.counters.count(Event::NotSent);
            return Transacted::RolledBack(Report::not_run(WriteError::NotSent(why), steps.len()));
        }
        let mut ends: Vec<StepEnd<L>> = Vec::with_capacity(steps.len());
        let mut ran = Vec::with_capacity(steps.len());
        // What stopped it: a refusal, or what is not known.
        let mut stopped: Option<Result<WriteError<L>, SourceError>> = None;
        for step in steps {
            if stopped.is_some() {
                ends.push(StepEnd::NotRun);
                continue;
            }
            let Planned { action, mut undo, undo_unknown, deadline, keys } = step;
            let puts = matches!(action, Action::Put(_) | Action::Update(_)).then(|| keys[0]);
            let deadline = deadline.map_or(self.deadline, |own| self.engine.clock.now().after(own).min(self.deadline));
            ends.push(match self.run(action, &keys, deadline).await {
                Ran::Applied(value) => StepEnd::Applied { value, undo: UndoEnd::NotRun },
                Ran::Kept => {
                    undo = Some(Undo::Nothing);
                    StepEnd::Applied { value: StepValue::Nothing, undo: UndoEnd::NotRun }
                }
                Ran::Rejected(rejection) => {
                    stopped = Some(Ok(WriteError::Rejected(rejection.clone())));
                    StepEnd::Rejected(rejection)
                }
                Ran::NotSent(why) => {
                    stopped = Some(Ok(WriteError::NotSent(why.clone())));
                    StepEnd::NotSent(why)
                }
                Ran::Unknown(cause) => {
                    stopped = Some(Err(cause.clone()));
                    StepEnd::Unknown { cause, undo: UndoEnd::NotRun }
                }
            });
            let given = self.given.take();
            ran.push(StepRan { undo, undo_unknown, puts, given, keys });
        }
        let written = ends.iter().any(|end| match end {
            StepEnd::Applied { .. } => true,
            StepEnd::Unknown { .. } => !bugs::has(Bug::PatternsSparedInDoubt),
            _ => false,
        });
        let is_unknown = matches!(stopped, Some(Err(_)));
        let puts: Vec<Option<usize>> = ran.iter().map(|ran| ran.puts).collect();
        let all_undone = stopped.is_none() || self.undo(&mut ends, ran, is_unknown).await;
        if written || stopped.is_none() {
            // Before its keys are shown: who sees them does not see what was derived from what they were.
            forgets.into_iter().for_each(|forget| forget(&self.engine));
        }
        let (doubts, entries) = self.end(stopped.is_none(), is_unknown);
        for (end, puts) in ends.iter_mut().zip(puts) {
            if let (StepEnd::Applied { value, .. }, Some(number)) = (end, puts)
                && let Some(entry) = entries[number].clone()
            {
                *value = StepValue::Entry(entry);
            }
        }
        match stopped {
            None => Transacted::Committed(ends),
            Some(Err(cause)) => Transacted::InDoubt { cause, steps: ends, doubts },
            Some(Ok(cause)) => {
                let undone = all_undone && doubts.is_empty();
                let report = Report { cause, steps: ends, doubts };
                if undone { Transacted::RolledBack(report) } else { Transacted::Partial(report) }
            }
        }
    }

    /// Undoes the steps that may have been applied, the last one first. True: nothing of them is left.
    async fn undo(&mut self, ends: &mut [StepEnd<L>], ran: Vec<StepRan<L>>, is_unknown: bool) -> bool {
        let mut all = true;
        let mut order: Vec<_> = ends.iter_mut().zip(ran).rev().collect();
        if bugs::has(Bug::UndoneFirstFirst) {
            order.reverse();
        }
        for (end, ran) in order {
            let mut untold = UndoEnd::NotRun;
            let told = match end {
                StepEnd::Applied { undo, .. } | StepEnd::Unknown { undo, .. } => undo,
                StepEnd::Rejected(_) if bugs::has(Bug::RefusedStepIsUndone) => &mut untold,
                _ => continue,
            };
            let declared = ran.undo.filter(|_| !is_unknown || ran.undo_unknown);
            let declared = match (declared, ran.given) {
                (Some(Undo::Of(undo)), Some(given)) => Some(undone(undo, given.as_ref(), ran.keys)),
                (Some(Undo::Of(_)), None) => None,
                (declared, _) => declared,
            };
            *told = match declared {
                None => UndoEnd::NotRun,
                Some(Undo::Nothing | Undo::Of(_)) => UndoEnd::Applied,
                Some(Undo::By(action, keys)) => match self.run(action, &keys, self.seats.holds_until).await {
                    Ran::Applied(_) | Ran::Kept => UndoEnd::Applied,
                    Ran::Rejected(rejection) => UndoEnd::Rejected(rejection),
                    Ran::NotSent(why) => UndoEnd::NotSent(why),
                    Ran::Unknown(cause) => UndoEnd::Unknown(cause),
                },
            };
            all &= matches!(told, UndoEnd::Applied);
        }
        all
    }

    async fn run(&mut self, action: Action<L>, keys: &Keys, deadline: Tick) -> Ran<L> {
        let since = self.engine.clock.now();
        if since >= deadline {
            return Ran::NotSent(NotSent::Deadline);
        }
        let action = match action {
            Action::Update(f) => match self.change(keys, f, deadline).await {
                Ok(write) => Work::Write(write),
                Err(ran) => return ran,
            },
            Action::Put(value) => Work::Write(Sending::Put(value).into()),
            Action::Delete => Work::Write(Sending::Delete.into()),
            Action::Call(call) => Work::Call(call),
        };
        // With the first step, also what is shown and no step writes: what is invalidated from now on is not to be kept.
        let shown = (0..self.updates.len()).filter(|number| self.updates[*number].is_some());
        for number in keys.iter().copied().chain(shown) {
            if let Err(why) = self.seats.send(number) {
                return Ran::NotSent(why);
            }
        }
        let key = self.engine.idempotency_key(self.engine.new_permit());
        match action {
            Work::Write(write) => self.write(keys, write, deadline, since, key).await,
            Work::Call(call) => self.call(keys, call, deadline, since, key),
        }
    }

    /// What an update makes of the record that is there. Nothing is sent yet.
    async fn change(&mut self, keys: &Keys, f: Makes<L>, deadline: Tick) -> Result<Write<L>, Ran<L>> {
        let number = *keys.first().expect("an update is of one key");
        let seat = &self.seats.list[number];
        let own = OwnLoad { engine: &self.engine, hash: seat.hash, key: L::key(&seat.key), deadline };
        let existing = match self.keys[number].last {
            Last::Untouched | Last::Refused { .. } => get::existing(&own).await,
            // What is resident is from before the transaction.
            _ => own.anew().await,
        };
        let existing = existing.map_err(|error| Ran::NotSent(NotSent::Unread(error)))?;
        let change = catch_unwind(AssertUnwindSafe(|| f(existing.as_ref())))
            .map_err(|panic| Ran::NotSent(NotSent::Panicked(panic_message(&*panic).to_owned())))?
            .map_err(|error| Ran::Rejected(Rejection::new(error)))?;
        let honoured = self.engine.declared.honours_preconditions;
        let condition = if honoured { condition_on(existing.as_ref()) } else { None };
        let sending = match change {
            Change::Keep => return Err(Ran::Kept),
            Change::Delete => Sending::Delete,
            Change::Put(value) => match too_large::<L>(&value) {
                Some(len) => return Err(Ran::NotSent(NotSent::ValueTooLarge(len))),
                None => Sending::Put(value),
            },
        };
        self.given = Some(existing);
        Ok(Write { sending, condition })
    }

    /// A write by the source.
    async fn write(
        &mut self,
        keys: &Keys,
        write: Write<L>,
        deadline: Tick,
        since: Tick,
        idempotency_key: IdempotencyKey,
    ) -> Ran<L> {
        let Write { sending, condition } = write;
        let number = *keys.first().expect("a write is of one key");
        let seat = &self.seats.list[number];
        let own = OwnLoad { engine: &self.engine, hash: seat.hash, key: L::key(&seat.key), deadline };
        let told = Told { own, idempotency_key, condition: condition.clone(), replaced: None };
        let (outcome, stray) = told.call_source(&sending).await;
        let unsettled = |cause, sending| Unsettled { cause, since, idempotency_key, sending, condition };
        match outcome {
            Outcome::Applied(Done::Deleted) => self.applied(number, Last::Deleted(since), stray),
            Outcome::Applied(done) => {
                let value = if let Sending::Put(value) = sending { Some(value) } else { None };
                let record = done.record(&self.engine, value).map(|record| self.lived(number, record));
                self.applied(number, Last::Put(record, since), stray);
            }
            Outcome::Rejected(rejection) if proves_nothing(&self.engine, &rejection, stray) => {
                let cause = rejection.error;
                self.unknown(number, unsettled(cause.clone(), Some(sending)));
                return Ran::Unknown(cause);
            }
            Outcome::Rejected(rejection) => {
                self.refused(number, &rejection);
                return Ran::Rejected(rejection);
            }
            Outcome::Unknown(cause) if bugs::has(Bug::UnknownStepIsRefused) => {
                let rejection = Rejection::new(cause);
                self.refused(number, &rejection);
                return Ran::Rejected(rejection);
            }
            Outcome::Unknown(cause) => {
                self.unknown(number, unsettled(cause.clone(), Some(sending)));
                return Ran::Unknown(cause);
            }
        }
        Ran::Applied(StepValue::Nothing)
    }

    /// What a record of the source's does not say of its lifetime, it takes from the key's update.
    fn lived(&self, number: usize, record: Record<L::Value>) -> Record<L::Value> {
        match &self.updates[number] {
            Some(Wrote::Record(update)) => {
                let lifetime = record.lifetime.or(update.lifetime);
                record.lifetime(lifetime)
            }
            _ => record,
        }
    }

    /// A step of the program's own. Its panic is as that of a source: nobody knows what it has done.
    fn call(
        &mut self,
        keys: &Keys,
        call: Does<L>,
        deadline: Tick,
        since: Tick,
        idempotency_key: IdempotencyKey,
    ) -> Ran<L> {
        let cx = StepCx { clock: &*self.engine.clock, deadline, idempotency_key };
        let outcome = catch_unwind(AssertUnwindSafe(|| call(&cx))).unwrap_or_else(|panic| {
            let message = format!("the step panicked: {}", panic_message(&*panic));
            Outcome::Unknown(SourceError::new(Failure::Failed, message))
        });
        match outcome {
            Outcome::Applied(StepDone { records, value }) => {
                let mut told: Vec<(usize, Wrote<L::Value>)> = Vec::with_capacity(records.len());
                for (key, wrote) in records {
                    let is_key = |number: &&usize| L::same_key(L::key(&self.seats.list[**number].key), L::key(&key));
                    match keys.iter().find(is_key).copied() {
                        Some(number) => told.push((number, wrote)),
                        // Nobody has its turn: all that can be said is that what is here is out of date.
                        None => self.invalidate(&key),
                    }
                }
                for number in keys {
                    let place = told.iter().rposition(|(other, _)| other == number);
                    let wrote = place.map_or(Wrote::Unseen, |place| told.swap_remove(place).1);
                    let last = self.last_of(*number, wrote, since);
                    self.applied(*number, last, false);
                }
                Ran::Applied(value.map_or(StepValue::Nothing, StepValue::Value))
            }
            Outcome::Rejected(rejection) => {
                keys.iter().for_each(|number| self.refused(*number, &rejection));
                Ran::Rejected(rejection)
            }
            Outcome::Unknown(cause) => {
                for number in keys {
                    self.unknown(
                        *number,
                        Unsettled { cause: cause.clone(), since, idempotency_key, sending: None, condition: None },
                    );
                }
                Ran::Unknown(cause)
            }
        }
    }

    fn invalidate(&self, key: &L::OwnedKey) {
        let key = L::key(key);
        self.engine.at_key(self.engine.hash_key(key), key, |at| at.invalidate());
    }

    fn last_of(&mut self, number: usize, wrote: Wrote<L::Value>, since: Tick) -> Last<L> {
        match wrote {
            Wrote::Record(record) => Last::Put(Some(record), since),
            Wrote::Deleted => Last::Deleted(since),
            Wrote::Unseen => Last::Put(None, since),
            // Of what is not shown, nothing is known.
            Wrote::AsSent => match self.updates[number].take() {
                Some(Wrote::AsSent) | None => Last::Put(None, since),
                Some(update) => self.last_of(number, update, since),
            },
        }
    }

    fn applied(&mut self, number: usize, last: Last<L>, stray: bool) {
        self.engine.counters.count(Event::Applied);
        let key = &mut self.keys[number];
        key.stray |= stray;
        // What may still land does not become known by what was applied after it.
        if !matches!(key.last, Last::Unknown(_)) {
            key.last = last;
        }
    }

    fn refused(&mut self, number: usize, rejection: &Rejection) {
        self.engine.counters.count(Event::Rejected);
        let last = &mut self.keys[number].last;
        match last {
            Last::Untouched => {
                *last = Last::Refused { stale_base: rejection.stale_base, all_sends: rejection.all_sends };
            }
            Last::Refused { stale_base, .. } => *stale_base |= rejection.stale_base,
            Last::Put(_, since) | Last::Deleted(since) if rejection.stale_base => *last = Last::Put(None, *since),
            _ => {}
        }
    }

    fn unknown(&mut self, number: usize, unsettled: Unsettled<L>) {
        self.engine.counters.count(Event::Unknown);
        let last = &mut self.keys[number].last;
        if !matches!(last, Last::Unknown(_)) {
            *last = Last::Unknown(unsettled);
        }
    }

    /// In one step: each key takes what came of it, what was shown leaves, the turns pass on. Gives the doubts that it left, and the
    /// records of the keys.
    fn end(mut self, committed: bool, is_unknown: bool) -> (Vec<InDoubt<L>>, Vec<Option<Entry<L>>>) {
        let engine = Arc::clone(&self.engine);
        let now = engine.clock.now();
        let until = now.after(engine.rules.settle_window);
        // First the program's code, under no lock: weigher, extractor, clones of keys.
        let keys = std::mem::take(&mut self.keys);
        let mut made = Vec::with_capacity(keys.len());
        for (number, KeyRun { last, stray }) in keys.into_iter().enumerate() {
            let last = match last {
                Last::Untouched if committed => match self.updates[number].take() {
                    Some(update) => self.last_of(number, update, now),
                    None => Last::Untouched,
                },
                // What was written is known, but not whether it will stand.
                Last::Put(_, since) | Last::Deleted(since) if is_unknown => Last::Put(None, since),
                last => last,
            };
            made.push(KeyEnd::of(&engine, &self.seats.list[number], last, stray));
        }
        let (running, mut tickets) = (self.running, Vec::new());
        let mut end_key = |number: usize, seat: &Seat<L>, at: &mut AtKey<'_, L>| {
            let end = &made[number];
            match &end.what {
                What::Untouched => at.abort(seat.permit),
                What::Refused { stale_base, all_sends } => {
                    let _ = at.rejected(seat.permit, *stale_base, *all_sends);
                }
                What::Applied { stored, keep, event } => {
                    if !seat.sent {
                        let _ = at.send(seat.permit, None, None);
                    }
                    let stray_until = end.stray.then_some(until);
                    let kept = at.applied(seat.permit, stored.as_ref(), *keep, stray_until, running);
                    at.note(event(kept));
                }
                What::Unknown => {
                    let ticket = at.unknown(seat.permit, until);
                    tickets.push((number, ticket.unwrap_or_else(|| no_doubt(&engine, until))));
                }
            }
        };
        let one_by_one = bugs::has(Bug::TransactionEndsKeyByKey);
        if one_by_one {
            for (number, seat) in self.seats.list.iter().enumerate() {
                engine.at_key(seat.hash, L::key(&seat.key), |at| end_key(number, seat, at));
            }
        }
        self.seats.at_all(|list, at| {
            if !one_by_one {
                at.each(|number, at| end_key(number, &list[number], at));
            }
            at.count_transaction();
        });
        self.seats.ended();
        let mut doubts = Vec::with_capacity(tickets.len());
        for (number, ticket) in tickets {
            let seat = &self.seats.list[number];
            let unsettled = made[number].unsettled.take().expect("what is unknown is unsettled");
            let write = (&engine, seat.hash, Arc::clone(&seat.key));
            let send = (seat.permit, unsettled.since, unsettled.idempotency_key);
            let doubted = Doubted::new(write, send, unsettled.condition, unsettled.sending);
            doubts.push(InDoubt::new(ticket, unsettled.cause, Arc::new(doubted)));
        }
        let entry = |end: KeyEnd<L>| match end.what {
            What::Applied { stored, .. } => stored.and_then(Entry::of),
            _ => None,
        };
        (doubts, made.into_iter().map(entry).collect())
    }
}

/// A step that ran, as far as undoing it goes.
struct StepRan<L: Layout> {
    undo: Option<Undo<L>>,
    undo_unknown: bool,
    /// The key of which it is a put by the source.
    puts: Option<usize>,
    /// The record that its update was given.
    given: Option<Option<Entry<L>>>,
    keys: Vec<usize>,
}

/// What a step does, once it is known.
enum Work<L: Layout> {
    Write(Write<L>),
    Call(Does<L>),
}

/// What undoes an update that was given this record. One that panics undoes nothing, and says so.
fn undone<L: Layout>(undo: Unmakes<L>, given: Option<&Entry<L>>, keys: Vec<usize>) -> Undo<L> {
    let action = match catch_unwind(AssertUnwindSafe(|| undo(given))) {
        Ok(Change::Put(value)) => Action::Put(value),
        Ok(Change::Delete) => Action::Delete,
        Ok(Change::Keep) => return Undo::Nothing,
        Err(panic) => {
            let error = SourceError::new(Failure::Failed, format!("undoing panicked: {}", panic_message(&*panic)));
            Action::Update(Box::new(move |_| Err(error)))
        }
    };
    Undo::By(action, keys)
}

/// How a key ends, made ready for the one step in which it does.
struct KeyEnd<L: Layout> {
    what: What<L>,
    /// An earlier send may still land.
    stray: bool,
    unsettled: Option<Unsettled<L>>,
}

enum What<L: Layout> {
    Untouched,
    Refused { stale_base: bool, all_sends: bool },
    Applied { stored: Option<L::Stored>, keep: bool, event: fn(bool) -> EventKind },
    Unknown,
}

impl<L: Layout> KeyEnd<L> {
    fn of(engine: &Engine<L>, seat: &Seat<L>, last: Last<L>, stray: bool) -> Self {
        let mut unsettled = None;
        let applied = |made: Option<(L::Stored, bool)>, event| {
            let (stored, keep) = made.map_or((None, false), |(stored, keep)| (Some(stored), keep));
            What::Applied { stored, keep, event }
        };
        let what = match last {
            // Its turn says that a write is out.
            Last::Untouched if seat.sent => What::Refused { stale_base: false, all_sends: false },
            Last::Untouched => What::Untouched,
            Last::Refused { stale_base, all_sends } => What::Refused { stale_base, all_sends },
            Last::Put(record, since) => {
                // A record that no entry can hold is as good as unseen.
                let record = record.filter(|record| u32::try_from(L::value_len(&record.value)).is_ok());
                let made = record.map(|record| engine.record(seat.hash, L::key(&seat.key), record, since));
                applied(made, |kept| EventKind::Put { kept })
            }
            Last::Deleted(since) => {
                let made = engine
                    .absent_after_delete
                    .then(|| engine.absent(seat.hash, L::key(&seat.key), Lifetime::Default, since));
                applied(made, |kept| EventKind::Deleted { kept })
            }
            Last::Unknown(send) => {
                unsettled = Some(send);
                What::Unknown
            }
        };
        Self { what, stray, unsettled }
    }
}
