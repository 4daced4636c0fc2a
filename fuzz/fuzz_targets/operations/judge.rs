//! The operations, each with what the contract says of its answer.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use wtcache::{
    Bytes, Call, Change, Entry, Failure, How, InDoubt, LoadError, NotSent, SourceError, WriteError, Written,
};

use crate::input::{Edit, Inside, KEYS, Life, What};
use crate::truth::{Ended, Record, Since};
use crate::world::{Doubted, UNIT, Verdict, World, idempotency_key, shown, units, value, weight, write_of};

/// What stood before a write was asked for.
pub(crate) struct Before {
    pub(crate) send: u64,
    pub(crate) number: u64,
    pub(crate) since: Since,
    nested: bool,
    reentrant: bool,
    turn_held: bool,
    loads_scripted: bool,
}

impl World {
    /// What is confirmed and here. Of a key with pending writes nobody can say that by `peek`; what is shown is judged.
    pub(crate) fn peek(&self, key: usize) -> Record {
        if self.is_pending(key) {
            self.shows(key);
            return None;
        }
        let since = self.at().truth.reader_begins(key);
        let entry = self.cache().peek(&[key as u8]);
        let mut state = self.at();
        let entry = entry?;
        assert!(!since.in_doubt, "D2: key {key} is in doubt, and peek shows it");
        let record = shown(key, Some(&entry));
        state.truth.was_read(key, record, since);
        record
    }

    pub(crate) fn get(&self, key: usize) {
        let (since, nested, scripted) = {
            let state = self.at();
            (state.truth.reader_begins(key), !state.inside_of.is_empty(), !state.loads.is_empty())
        };
        let answer = self.cache().read_confirmed(&[key as u8], &Call::new());
        let read = match answer {
            Ok(read) => read,
            Err(LoadError::TooDeep) if nested => return,
            Err(LoadError::Source(_) | LoadError::Panicked(_) | LoadError::Deadline) if scripted => return,
            Err(error) => panic!("key {key} could not be read for no reason: {error}"),
        };
        let record = shown(key, read.entry.as_ref());
        let kept = {
            let mut state = self.at();
            state.truth.was_read(key, record, since);
            let asked = state.truth.was_asked(key, since);
            match read.how {
                How::Hit => {
                    assert!(!since.in_doubt || asked, "D2: key {key} is in doubt, and get was a hit");
                    None
                }
                How::Loaded { kept } => {
                    assert!(asked, "key {key} was loaded without its source");
                    assert!(!kept || !state.truth.is_in_doubt(key), "D2: key {key} is in doubt, and a load was kept");
                    let plain = !scripted && !nested && !since.perhaps_in_doubt && !state.truth.is_unsure();
                    let now = state.truth.now();
                    let sound = plain && self.is_keepable(record, Life::Default, now);
                    assert!(kept || !sound, "a load of key {key} was not kept for no reason");
                    Some(kept)
                }
                how => panic!("one thread never waits for its own load: {how:?}"),
            }
        };
        if kept == Some(true) && !self.is_pending(key) {
            assert_eq!(self.peek(key), record, "G9: what was kept is resident");
        }
    }

    pub(crate) fn before(&self, key: usize) -> Before {
        let mut state = self.at();
        Before {
            send: state.truth.number(),
            number: state.truth.number(),
            since: state.truth.reader_begins(key),
            nested: !state.inside_of.is_empty(),
            reentrant: state.inside_of.contains(&key),
            turn_held: state.truth.turn_is_held(key),
            loads_scripted: !state.loads.is_empty(),
        }
    }

    pub(crate) fn put(&self, key: usize) {
        if self.is_pending(key) {
            // It would wait for what is at the gate.
            return;
        }
        let before = self.before(key);
        let call = Call::new().idempotency_key(idempotency_key(before.send));
        let result = self.cache().put_with(&[key as u8], value(before.number), &call);
        self.wrote(key, &before, What::Put, result);
    }

    pub(crate) fn delete(&self, key: usize) {
        if self.is_pending(key) {
            // It would wait for what is at the gate.
            return;
        }
        let before = self.before(key);
        let call = Call::new().idempotency_key(idempotency_key(before.send));
        let result = self.cache().delete_with(&[key as u8], &call);
        self.wrote(key, &before, What::Delete, result);
    }

    pub(crate) fn update(&self, key: usize, edit: Edit, inside: Inside) {
        if self.is_pending(key) {
            // It would wait for what is at the gate.
            return;
        }
        let before = self.before(key);
        let call = Call::new().idempotency_key(idempotency_key(before.send));
        let apply = |existing: Option<&Entry<Bytes>>| {
            {
                let mut state = self.at();
                state.truth.was_read(key, shown(key, existing), before.since);
                state.inside_of.push(key);
            }
            self.inside(inside, key, None);
            self.at().inside_of.pop();
            match edit {
                Edit::Put => Ok(Change::Put(value(before.number))),
                Edit::Delete => Ok(Change::Delete),
                Edit::Keep => Ok(Change::Keep),
                Edit::Refuse => Err(SourceError::new(Failure::Invalid, "as the closure says")),
                // Not by `panic!`: the fuzzer takes every such panic for a finding.
                Edit::Panic => resume_unwind(Box::new("as the closure says")),
            }
        };
        let cache = self.cache();
        let result = catch_unwind(AssertUnwindSafe(|| cache.update_with(&[key as u8], apply, &call)));
        let Ok(result) = result else {
            assert_eq!(edit, Edit::Panic, "nobody else panics");
            assert!(!self.at().verdicts.contains_key(&before.send), "a closure panicked, and its write was sent");
            return;
        };
        match (edit, result) {
            (Edit::Put, result) => self.wrote(key, &before, What::Put, result),
            (Edit::Delete, result) => self.wrote(key, &before, What::Delete, result),
            (Edit::Keep, Ok(_)) | (Edit::Refuse, Err(WriteError::Rejected(_))) => {
                assert!(!self.at().verdicts.contains_key(&before.send), "nothing was to be sent");
            }
            (_, Err(WriteError::NotSent(why))) => self.was_not_sent(key, &before, true, &why),
            (_, Ok(_)) => panic!("{edit:?} of key {key} was written"),
            (_, Err(error)) => panic!("{edit:?} of key {key}: {error}"),
        }
    }

    /// A1: what the caller is told is what the source answered.
    pub(crate) fn wrote(
        &self,
        key: usize,
        before: &Before,
        what: What,
        result: Result<Written<Bytes>, WriteError<Bytes>>,
    ) {
        let verdict = self.at().verdicts.remove(&before.send);
        match (result, verdict) {
            (Ok(written), Some(Verdict::Applied { ended, shown, keepable })) => {
                self.was_applied(key, what, &written, ended, shown, keepable);
            }
            (Err(WriteError::Rejected(rejection)), Some(Verdict::Rejected)) => {
                self.at().counts.rejected += 1;
                assert!(!rejection.stale_base || self.peek(key).is_none(), "P2: key {key} was proven stale");
            }
            (Err(WriteError::InDoubt(doubt)), Some(Verdict::Unknown)) => self.is_unknown(key, doubt),
            (Err(WriteError::NotSent(why)), None) => self.was_not_sent(key, before, true, &why),
            (Ok(_), verdict) => panic!("A1: key {key} was told as applied, and the source said {verdict:?}"),
            (Err(error), verdict) => panic!("A1: key {key} was told as {error:?}, and the source said {verdict:?}"),
        }
    }

    /// P1, B1: what the cache keeps of an applied write.
    pub(crate) fn was_applied(
        &self,
        key: usize,
        what: What,
        written: &Written<Bytes>,
        ended: Ended,
        seen: Record,
        keepable: bool,
    ) {
        self.at().counts.applied += 1;
        assert_eq!(shown(key, written.entry.as_ref()), seen, "P1: key {key}: another record than was confirmed");
        let can = keepable && (seen.is_some() || what == What::Delete);
        if written.kept {
            assert!(!ended.not_kept && can, "P1: key {key} was kept: {ended:?}, {seen:?}, {keepable}");
        } else {
            assert!(!(ended.sound && can), "P1: key {key} was not kept for no reason: {seen:?}");
        }
        let expected = if written.kept { seen } else { None };
        assert!(self.is_pending(key) || self.peek(key) == expected, "P1: key {key} after an applied write");
    }

    /// D1: what the cache shows of a write that nobody knows the end of.
    pub(crate) fn is_unknown(&self, key: usize, doubt: InDoubt<Bytes>) {
        self.at().counts.unknown += 1;
        self.is_in_doubt(key, doubt);
    }

    /// The handle tells the doubt's end, and the key shows nothing.
    pub(crate) fn is_in_doubt(&self, key: usize, handle: InDoubt<Bytes>) {
        {
            let mut state = self.at();
            if state.truth.is_in_doubt(key) {
                let (told, true_end) = (units(handle.settles_in()), state.truth.settles_in(key));
                assert_eq!(told, true_end, "D3: key {key} settles at another time");
            }
            assert_eq!(handle.key(), [key as u8], "A3: the handle is of another key");
            state.doubts.push(Doubted { key, write: write_of(handle.idempotency_key()), handle });
        }
        let in_doubt = self.at().truth.is_in_doubt(key);
        let seen = self.peek(key);
        assert!(!in_doubt || seen.is_none(), "D1: key {key} in doubt shows {seen:?}");
    }

    pub(crate) fn was_not_sent(&self, key: usize, before: &Before, counts: bool, why: &NotSent) {
        let mut state = self.at();
        state.counts.not_sent += u64::from(counts);
        let good = match why {
            NotSent::Reentrant => before.reentrant,
            NotSent::Busy => before.nested && before.turn_held,
            NotSent::HeldBack { .. } => self.options.writes_wait && before.since.perhaps_in_doubt || before.turn_held,
            NotSent::Deadline => before.turn_held || before.since.perhaps_in_doubt || before.loads_scripted || counts,
            NotSent::Unread(_) => before.loads_scripted || before.nested,
            _ => false,
        };
        assert!(good, "key {key} was not sent for no reason: {why:?}");
        if before.reentrant {
            assert!(matches!(why, NotSent::Reentrant), "P5: key {key}: {why:?}");
        }
    }

    /// The turn alone. The permit, and when it runs out.
    pub(crate) fn prepare(&self, key: usize) -> Option<(wtcache::Prepared<Bytes>, u64, u64)> {
        if self.is_pending(key) {
            return None;
        }
        let before = self.before(key);
        let call = Call::new().idempotency_key(idempotency_key(before.send));
        match self.cache().prepare(&[key as u8], &call) {
            Ok(prepared) => {
                let mut state = self.at();
                assert!(!before.reentrant, "P5: key {key} was prepared from inside itself");
                let deadline = state.truth.now() + units(prepared.remaining());
                state.truth.prepares(key, before.send, deadline);
                Some((prepared, before.send, deadline))
            }
            Err(why) => {
                self.was_not_sent(key, &before, false, &why);
                None
            }
        }
    }

    pub(crate) fn invalidate(&self, key: usize) {
        {
            let mut state = self.at();
            state.counts.invalidated += 1;
            state.truth.invalidated(key);
        }
        self.cache().invalidate(&[key as u8]);
        assert_eq!(self.peek(key), None, "I1: key {key} was invalidated");
    }

    /// Another writer changes the record past the cache, and says so.
    pub(crate) fn outside(&self, key: usize, what: What) {
        {
            let mut state = self.at();
            let (send, number) = (state.truth.number(), state.truth.number());
            let record = (what == What::Put).then_some(number);
            state.truth.apply(key, send, record, None);
        }
        self.invalidate(key);
    }

    /// The index finds what peek finds, by each value.
    pub(crate) fn find(&self) {
        let peeked: Vec<(usize, u64)> = (0..KEYS).filter_map(|key| Some((key, self.peek(key)?))).collect();
        let cache = self.cache();
        for group in 0..3u8 {
            let found = cache.find("group", &[group]).expect("the index has that name");
            let mut found: Vec<(usize, u64)> = found
                .entries
                .iter()
                .map(|entry| {
                    let key = usize::from(entry.key()[0]);
                    (key, shown(key, Some(entry)).expect("an entry has a value"))
                })
                .collect();
            found.sort_unstable();
            let expected: Vec<_> =
                peeked.iter().copied().filter(|(_, number)| number % 3 == u64::from(group)).collect();
            found.retain(|(key, _)| !self.is_pending(*key));
            assert_eq!(found, expected, "P1: the index and peek differ on {group}");
        }
        assert!(cache.find("nothing", &[0]).is_none());
    }

    /// B1, and what the cache counts.
    pub(crate) fn stats(&self) {
        let peeked: u64 = (0..KEYS).filter_map(|key| self.peek(key)).map(|number| weight(Some(number))).sum();
        let stats = self.cache().stats();
        let state = self.at();
        assert!(stats.weight <= self.capacity(), "B1: {stats:?}");
        assert!(stats.weight >= peeked && stats.entries <= KEYS as u64, "{stats:?}: {peeked} are resident");
        assert_eq!(stats.loads, state.truth.loads(), "{stats:?}");
        let counts = &state.counts;
        assert_eq!(stats.writes_applied, counts.applied, "{stats:?}");
        assert_eq!(stats.writes_rejected, counts.rejected, "{stats:?}");
        assert_eq!(stats.writes_unknown, counts.unknown, "{stats:?}");
        let not_sent = counts.not_sent..=counts.not_sent + state.cancelled;
        assert!(not_sent.contains(&stats.writes_not_sent), "{stats:?}: {not_sent:?}");
        assert_eq!(stats.pending, state.above.iter().map(VecDeque::len).sum::<usize>() as u64, "O4: {stats:?}");
        assert_eq!(stats.invalidated, counts.invalidated, "{stats:?}");
        assert_eq!(stats.writes_open, state.truth.writes_open() as u64, "{stats:?}");
        let count = |of: &dyn Fn(usize) -> bool| (0..KEYS).filter(|key| of(*key)).count() as u64;
        let certain = count(&|key| state.truth.is_in_doubt(key));
        let perhaps = count(&|key| state.truth.is_perhaps_in_doubt(key));
        assert!((certain..=perhaps).contains(&stats.in_doubt), "{stats:?}: {certain} to {perhaps} are in doubt");
    }

    /// At rest: no write is out, no doubt lasts, and every key is what the origin has.
    pub(crate) fn rest(&self) {
        {
            let mut state = self.at();
            state.loads.clear();
            state.writes.clear();
        }
        self.clock.advance(3 * crate::input::WINDOW);
        self.stats();
        let stats = self.cache().stats();
        assert_eq!((stats.in_doubt, stats.writes_open), (0, 0), "time settles every doubt: {stats:?}");
        self.outcomes();
        for Doubted { handle, .. } in &self.at().doubts {
            let over = handle.wait(Duration::ZERO) && handle.settles_in().is_zero() && handle.outcome().is_some();
            assert!(over, "D3: {handle:?} goes on");
        }
        for key in 0..KEYS {
            // A hit, or a load that is kept; either gives the origin's record.
            self.get(key);
        }
        self.find();
        let closed = self.cache().close(UNIT);
        drop(closed);
        for key in 0..KEYS {
            assert!(self.cache().peek(&[key as u8]).is_none(), "B4: a closed cache shows key {key}");
            assert!(matches!(self.cache().get(&[key as u8]), Err(LoadError::Closed)), "B4: key {key}");
        }
    }
}
