//! What is true: the origin's records with all that they ever were, and of each key who has its turn and whether it is in
//! doubt.
//!
//! Written from `docs/CONTRACT.md`, one unit of time at a time; it shares no code with the cache. Two things the contract leaves
//! open are as the cache has them: how many sends of one doubt it tells apart, and the order of what falls on one instant
//! (what lands, then overdue permits, then doubts that end).
//! Values are numbers that are never used twice, so that what a reader saw tells when it was true.

use std::collections::HashMap;

use crate::input::{KEYS, WINDOW};

/// A record's value; `None` is no record.
pub(crate) type Record = Option<u64>;

/// A pending write has as long, which is longer than all that is done here.
pub(crate) const PENDING_DEADLINE: u64 = 1_000_000;

/// How many sends of one doubt are told apart: with more, only time is sure to end it.
const SENDS_TOLD_APART: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Is(u64),
    IsAbsent,
    Exists,
}

/// One send of a write. The first has the write's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) number: u64,
    pub(crate) write: u64,
}

impl Sending {
    pub(crate) fn first(write: u64) -> Self {
        Self { number: write, write }
    }

    pub(crate) fn is_replay(self) -> bool {
        self.number != self.write
    }
}

/// What a program that asked the origin knows of writes that it has stopped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Applied,
    NotApplied,
    /// Some were.
    Mixed,
}

/// A write that has its turn and was sent, and is not over.
#[derive(Debug)]
struct Open {
    send: Sending,
    deadline: u64,
    condition: Option<Condition>,
    /// Invalidated, or a doubt settled, since the send.
    dirty: bool,
    /// Perhaps so.
    perhaps_dirty: bool,
}

#[derive(Debug)]
struct Doubt {
    since: u64,
    until: u64,
    sends: Vec<(Sending, Option<Condition>)>,
    /// The sends above are certainly those that the doubt is about.
    told_apart: bool,
    /// It may be over already: the contract allows to end it, and does not say when.
    perhaps_over: bool,
}

#[derive(Debug)]
struct OfKey {
    /// Every record that there was, in the origin's order.
    history: Vec<Record>,
    /// No read that begins now may give an older one.
    floor: usize,
    prepared: Option<(u64, u64)>,
    open: Option<Open>,
    doubt: Option<Doubt>,
}

struct Stray {
    at: u64,
    key: usize,
    write: u64,
    record: Record,
    condition: Option<Condition>,
}

/// What the truth says of a write that ended, and so of what the cache may keep of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// What was confirmed must not be served without asking the origin.
    pub(crate) not_kept: bool,
    /// There is no reason not to keep it.
    pub(crate) sound: bool,
}

/// Since when a reader's answer must have been true.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    at_least: usize,
    pub(crate) in_doubt: bool,
    pub(crate) perhaps_in_doubt: bool,
    pub(crate) loads: u64,
}

pub(crate) struct Truth {
    now: u64,
    unsure_until: u64,
    honours_idempotency: bool,
    conditions_settle: bool,
    keys: [OfKey; KEYS],
    strays: Vec<Stray>,
    /// Where in its key's history a write took effect last; where the origin honours idempotency keys, the only time.
    landed: HashMap<u64, usize>,
    /// Calls of the source's `get`, by key.
    loads: [u64; KEYS],
    next: u64,
}

impl Truth {
    pub(crate) fn new(now: u64, unsure: bool, honours_idempotency: bool, conditions_settle: bool) -> Self {
        let of_key = |_| OfKey { history: vec![None], floor: 0, prepared: None, open: None, doubt: None };
        Self {
            now,
            unsure_until: if unsure { now + WINDOW } else { now },
            honours_idempotency,
            conditions_settle,
            keys: std::array::from_fn(of_key),
            strays: Vec::new(),
            landed: HashMap::new(),
            loads: [0; KEYS],
            next: 1,
        }
    }

    /// A number that was not used before.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    // --- time

    /// Brings everything up to `now`: strays land, permits run out, doubts settle.
    pub(crate) fn catch_up(&mut self, now: u64) {
        while self.now < now {
            self.now += 1;
            let now = self.now;
            let (due, later) = std::mem::take(&mut self.strays).into_iter().partition(|stray: &Stray| stray.at <= now);
            self.strays = later;
            let due: Vec<Stray> = due;
            for stray in due {
                self.apply(stray.key, stray.write, stray.record, stray.condition);
            }
            for of in &mut self.keys {
                if of.prepared.is_some_and(|(_, deadline)| deadline <= now) {
                    of.prepared = None;
                }
                if let Some(open) = of.open.take_if(|open| open.deadline <= now) {
                    of.doubts(open.send, open.condition, now + WINDOW);
                }
                if of.doubt.as_ref().is_some_and(|doubt| doubt.until <= now) {
                    of.settles();
                }
            }
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Writes of an earlier process may still land.
    pub(crate) fn is_unsure(&self) -> bool {
        self.now < self.unsure_until
    }

    // --- the origin

    pub(crate) fn record(&self, key: usize) -> Record {
        *self.keys[key].history.last().expect("it begins with one")
    }

    fn holds(&self, key: usize, condition: Option<Condition>) -> bool {
        match condition {
            None => true,
            Some(Condition::Is(value)) => self.record(key) == Some(value),
            Some(Condition::IsAbsent) => self.record(key).is_none(),
            Some(Condition::Exists) => self.record(key).is_some(),
        }
    }

    /// The origin takes a write in, unless its condition does not hold, or it knows the write already. Where in the key's history
    /// it stands then.
    pub(crate) fn apply(
        &mut self,
        key: usize,
        write: u64,
        record: Record,
        condition: Option<Condition>,
    ) -> Option<usize> {
        if self.honours_idempotency
            && let Some(at) = self.landed.get(&write)
        {
            return Some(*at);
        }
        if !self.holds(key, condition) {
            return None;
        }
        let history = &mut self.keys[key].history;
        history.push(record);
        self.landed.insert(write, history.len() - 1);
        Some(history.len() - 1)
    }

    /// A write whose answer is lost lands after so many units.
    pub(crate) fn lands_after(
        &mut self,
        units: u64,
        key: usize,
        write: u64,
        record: Record,
        condition: Option<Condition>,
    ) {
        assert!(units <= WINDOW, "the source declares when nothing can land any more");
        self.strays.push(Stray { at: self.now + units, key, write, record, condition });
    }

    /// The origin refused a write for good.
    pub(crate) fn will_not_land(&mut self, write: u64) {
        self.strays.retain(|stray| stray.write != write);
    }

    pub(crate) fn landed(&self, write: u64) -> Option<usize> {
        self.landed.get(&write).copied()
    }

    // --- turns

    /// P3: a turn that is held is nobody else's.
    pub(crate) fn prepares(&mut self, key: usize, permit: u64, deadline: u64) {
        let of = &mut self.keys[key];
        assert!(of.prepared.is_none() && of.open.is_none(), "P3: two writes of key {key} have the turn: {of:?}");
        of.prepared = Some((permit, deadline));
    }

    /// Somebody holds the key's turn now.
    pub(crate) fn turn_is_held(&self, key: usize) -> bool {
        self.keys[key].prepared.is_some() || self.keys[key].open.is_some()
    }

    pub(crate) fn aborts(&mut self, key: usize, permit: u64) {
        self.keys[key].prepared.take_if(|(holder, _)| *holder == permit);
    }

    /// P3: what has not the turn is not sent.
    pub(crate) fn sends(
        &mut self,
        key: usize,
        send: Sending,
        (deadline, longest): (u64, u64),
        condition: Option<Condition>,
    ) {
        assert!(deadline > self.now && deadline <= self.now + longest, "sent with {deadline} at {}", self.now);
        // C0: what began in the first window is served to its end at the latest.
        let unsure = self.is_unsure();
        let of = &mut self.keys[key];
        of.prepared.take_if(|(holder, _)| *holder == send.number);
        assert!(of.prepared.is_none() && of.open.is_none(), "P3: sent key {key} out of turn: {of:?}");
        let perhaps_dirty = unsure || of.doubt.as_ref().is_some_and(|doubt| doubt.perhaps_over);
        of.open = Some(Open { send, deadline, condition, dirty: false, perhaps_dirty });
    }

    fn ended(&mut self, key: usize, send: Sending) -> Option<Open> {
        self.keys[key].open.take_if(|open| open.send == send)
    }

    /// Applied. `stray`: an earlier send by the source may still land.
    pub(crate) fn ends_applied(&mut self, key: usize, send: Sending, at: usize, stray: bool) -> Ended {
        let until = self.now + WINDOW;
        let (keys_settle, conditions_settle) = (self.honours_idempotency, self.conditions_settle);
        let open = self.ended(key, send);
        let of = &mut self.keys[key];
        of.floor = of.floor.max(at);
        let Some(open) = open else {
            if stray {
                of.prolong(until);
            } else {
                of.answers_late(send, keys_settle);
            }
            return Ended { not_kept: true, sound: false };
        };
        // D3: the answer to a replay may be an old one, and is shown only where the doubt was about that write alone.
        let old = send.is_replay() && !(keys_settle && of.doubt.is_some());
        if send.is_replay() {
            if keys_settle {
                of.is_answered(send.write);
            }
        } else if open.condition.is_some() {
            of.may_end_by_condition(conditions_settle);
        }
        if stray {
            of.doubts(send, open.condition, until);
        }
        let perhaps = of.doubt.as_ref().map(|doubt| doubt.perhaps_over);
        Ended {
            not_kept: old || open.dirty || perhaps == Some(false),
            sound: !send.is_replay() && !open.dirty && !open.perhaps_dirty && perhaps.is_none(),
        }
    }

    /// Certainly not applied. `all_sends`: and no other send of the write was, or will be.
    pub(crate) fn ends_rejected(&mut self, key: usize, send: Sending, all_sends: bool) {
        let of_the_write = all_sends && self.honours_idempotency;
        let honest = self.landed(send.write).is_none() || send.is_replay() && !of_the_write;
        assert!(honest, "the script is honest");
        if self.ended(key, send).is_none() {
            self.keys[key].answers_late(send, of_the_write);
        } else if send.is_replay() && of_the_write {
            self.keys[key].is_answered(send.write);
        }
    }

    /// Nobody can know.
    pub(crate) fn ends_unknown(&mut self, key: usize, send: Sending) {
        let until = self.now + WINDOW;
        if let Some(open) = self.ended(key, send) {
            self.keys[key].doubts(send, open.condition, until);
        }
    }

    /// A program stops all writes of the key that are in doubt, and says what became of them.
    pub(crate) fn settles_key(&mut self, key: usize) -> Word {
        let of = &mut self.keys[key];
        let writes: Vec<u64> = of.doubt.iter().flat_map(|doubt| &doubt.sends).map(|(send, _)| send.write).collect();
        of.settles_by_hand();
        self.stops(&writes)
    }

    /// A program stops one write, and says what became of it.
    pub(crate) fn settles_write(&mut self, key: usize, write: u64) -> Word {
        let of = &mut self.keys[key];
        if let Some(doubt) = &mut of.doubt {
            doubt.sends.retain(|(send, _)| send.write != write);
            if !doubt.told_apart {
                of.is_perhaps_over();
            } else if doubt.sends.is_empty() {
                of.settles_by_hand();
            }
        }
        self.stops(&[write])
    }

    fn stops(&mut self, writes: &[u64]) -> Word {
        self.strays.retain(|stray| !writes.contains(&stray.write));
        let applied = writes.iter().filter(|write| self.landed.contains_key(write)).count();
        match applied {
            0 => Word::NotApplied,
            all if all == writes.len() => Word::Applied,
            _ => Word::Mixed,
        }
    }

    pub(crate) fn invalidated(&mut self, key: usize) {
        let of = &mut self.keys[key];
        of.floor = of.history.len() - 1;
        if let Some(open) = &mut of.open {
            open.dirty = true;
        }
    }

    // --- what may be read

    /// D2: until the doubt is settled, the key is not served from the cache.
    pub(crate) fn is_in_doubt(&self, key: usize) -> bool {
        self.keys[key].doubt.as_ref().is_some_and(|doubt| !doubt.perhaps_over)
    }

    pub(crate) fn is_perhaps_in_doubt(&self, key: usize) -> bool {
        self.keys[key].doubt.is_some()
    }

    /// How long the key is in doubt, by time.
    pub(crate) fn settles_in(&self, key: usize) -> u64 {
        self.keys[key].doubt.as_ref().map_or(0, |doubt| doubt.until - self.now)
    }

    /// Since when the key is in doubt, until when, and how many sends that is about, where this is certain.
    pub(crate) fn told_doubt(&self, key: usize) -> Option<(u64, u64, usize)> {
        let doubt = self.keys[key].doubt.as_ref()?;
        (doubt.told_apart && !doubt.perhaps_over).then_some((doubt.since, doubt.until, doubt.sends.len()))
    }

    pub(crate) fn writes_open(&self) -> usize {
        self.keys.iter().filter(|of| of.open.is_some()).count()
    }

    pub(crate) fn count_load(&mut self, key: usize) {
        self.loads[key] += 1;
        // A loaded answer may show that none of a doubt's conditional sends can land any more.
        self.keys[key].may_end_by_condition(self.conditions_settle);
    }

    pub(crate) fn loads(&self) -> u64 {
        self.loads.iter().sum()
    }

    /// What a reader that begins now may be given: while a write is out, an older record than the origin's latest; and in the
    /// first window of a process one that a stray of an earlier one has replaced.
    pub(crate) fn reader_begins(&self, key: usize) -> Since {
        let of = &self.keys[key];
        let older = of.open.is_some() || self.is_unsure();
        Since {
            at_least: if older { of.floor } else { of.history.len() - 1 },
            in_doubt: self.is_in_doubt(key),
            perhaps_in_doubt: self.is_perhaps_in_doubt(key),
            loads: self.loads[key],
        }
    }

    /// The source was asked for the key since then.
    pub(crate) fn was_asked(&self, key: usize, since: Since) -> bool {
        self.loads[key] > since.loads
    }

    /// The key had such a record at some time since then.
    pub(crate) fn was_ever(&self, key: usize, since: Since, such: impl Fn(Record) -> bool) -> bool {
        self.keys[key].history.iter().skip(since.at_least).any(|record| such(*record))
    }

    /// G5 and the histories' invariants 1 and 2: a reader was given `record`.
    pub(crate) fn was_read(&mut self, key: usize, record: Record, since: Since) {
        let of = &mut self.keys[key];
        let from = since.at_least;
        let at = of.history.iter().skip(from).position(|was| *was == record).map(|at| at + from);
        let Some(at) = at else {
            panic!("key {key} was read as {record:?}, which it was not since {from}: {of:?}");
        };
        of.floor = of.floor.max(at);
    }
}

impl OfKey {
    fn doubts(&mut self, send: Sending, condition: Option<Condition>, until: u64) {
        let since = until - WINDOW;
        let fresh = || Doubt { since, until, sends: Vec::new(), told_apart: true, perhaps_over: false };
        let doubt = self.doubt.get_or_insert_with(fresh);
        doubt.until = doubt.until.max(until);
        doubt.sends.push((send, condition));
        // Where the doubt may have been over, one begins now, of this send alone or of all.
        doubt.told_apart &= !doubt.perhaps_over && doubt.sends.len() <= SENDS_TOLD_APART;
        doubt.perhaps_over = false;
    }

    fn prolong(&mut self, until: u64) {
        if let Some(doubt) = &mut self.doubt {
            doubt.until = doubt.until.max(until);
        }
    }

    /// A definite answer came after the deadline: it settles its own send. `all_sends`: and all others of the same write.
    fn answers_late(&mut self, send: Sending, all_sends: bool) {
        self.settles_sends(|other| other == send || all_sends && other.write == send.write);
        // What it applied may be newer than the write that is out.
        if let Some(open) = &mut self.open {
            open.perhaps_dirty = true;
        }
    }

    /// The answer to a replay is the answer to all sends of the write.
    fn is_answered(&mut self, write: u64) {
        self.settles_sends(|send| send.write == write);
    }

    fn settles_sends(&mut self, settled: impl Fn(Sending) -> bool) {
        if let Some(doubt) = &mut self.doubt {
            let before = doubt.sends.len();
            doubt.sends.retain(|(send, _)| !settled(*send));
            let last = doubt.sends.len() < before && doubt.sends.is_empty();
            if !doubt.told_apart {
                self.is_perhaps_over();
            } else if last {
                self.settles();
            }
        }
    }

    fn settles(&mut self) {
        if let Some(doubt) = self.doubt.take()
            && let Some(open) = &mut self.open
        {
            open.dirty |= !doubt.perhaps_over;
            open.perhaps_dirty = true;
        }
    }

    /// What a reader is given after that, the origin says after it; unless the doubt was over before.
    fn settles_by_hand(&mut self) {
        if self.doubt.as_ref().is_some_and(|doubt| !doubt.perhaps_over) {
            self.floor = self.history.len() - 1;
        }
        self.settles();
    }

    fn is_perhaps_over(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.perhaps_over = true;
        }
        if let Some(open) = &mut self.open {
            open.perhaps_dirty = true;
        }
    }

    /// D3: every unsettled send was conditional on a version, and such versions never come again.
    fn may_end_by_condition(&mut self, declared: bool) {
        let Some(doubt) = &self.doubt else { return };
        let on_version = |(_, condition): &(Sending, Option<Condition>)| matches!(condition, Some(Condition::Is(_)));
        if declared && (!doubt.told_apart || doubt.sends.iter().all(on_version)) {
            self.is_perhaps_over();
        }
    }
}
