//! Writes on a condition (P6), replays, doubts that a program settles, and their listing (A3, D3).
//!
//! The program here is honest: it stops what it settles at the origin, and sends again only what it does not know the end of.

use wtcache::{Call, Expect, NotSent, ReplayError, Settlement, Unmet, WriteError};

use crate::input::{Expects, KEYS, What};
use crate::truth::{Condition, Record, Word};
use crate::world::{Doubted, UNIT, Verdict, World, idempotency_key, shown, value, version};

/// What a write is conditional on.
#[derive(Debug)]
enum Wanted {
    Absent,
    Exists,
    OneOf(Vec<u64>),
}

impl Wanted {
    fn holds(&self, record: Record) -> bool {
        match self {
            Self::Absent => record.is_none(),
            Self::Exists => record.is_some(),
            Self::OneOf(numbers) => record.is_some_and(|number| numbers.contains(&number)),
        }
    }

    fn goes_on_as(&self, condition: Option<Condition>) -> bool {
        match condition {
            Some(Condition::IsAbsent) => matches!(self, Self::Absent),
            Some(Condition::Exists) => matches!(self, Self::Exists),
            Some(Condition::Is(number)) => matches!(self, Self::OneOf(numbers) if numbers.contains(&number)),
            None => false,
        }
    }

    fn expect(&self) -> Expect {
        match self {
            Self::Absent => Expect::Absent,
            Self::Exists => Expect::Exists,
            Self::OneOf(numbers) => Expect::AnyOf(numbers.iter().copied().map(version).collect()),
        }
    }
}

impl World {
    fn wanted(&self, key: usize, expects: Expects) -> Wanted {
        let resident = self.peek(key);
        let mut state = self.at();
        let never = state.truth.number();
        let latest = state.truth.record(key);
        match expects {
            Expects::Absent => Wanted::Absent,
            Expects::Exists => Wanted::Exists,
            Expects::Latest => Wanted::OneOf(latest.into_iter().collect()),
            Expects::Resident => Wanted::OneOf(vec![resident.unwrap_or(never)]),
            Expects::Either => Wanted::OneOf(latest.into_iter().chain([never]).chain(resident).collect()),
        }
    }

    pub(crate) fn write_if(&self, key: usize, what: What, expects: Expects) {
        if self.is_pending(key) {
            return;
        }
        let wanted = self.wanted(key, expects);
        let before = self.before(key);
        let call = Call::new().idempotency_key(idempotency_key(before.send));
        let (cache, bytes) = (self.cache(), [key as u8]);
        let result = match what {
            What::Put => cache.put_if_with(&bytes, value(before.number), wanted.expect(), &call),
            What::Delete => cache.delete_if_with(&bytes, wanted.expect(), &call),
        };
        let sent = self.at().sent.get(&before.send).copied();
        if let Some((_, condition)) = sent {
            let state = self.at();
            let held = state.truth.was_ever(key, before.since, |record| wanted.holds(record));
            assert!(held, "P6: key {key} was written on {wanted:?}, which did not hold");
            let passed_on =
                if self.options.honours_preconditions { wanted.goes_on_as(condition) } else { condition.is_none() };
            assert!(passed_on, "P6: key {key} was written on {wanted:?}, and the origin was told {condition:?}");
        }
        match result {
            Err(WriteError::Unmet(Unmet { existing, .. })) => {
                assert!(sent.is_none(), "P6: key {key}: unmet, and sent");
                let record = shown(key, existing.as_ref());
                assert!(!wanted.holds(record), "P6: key {key} is {record:?}, and {wanted:?} holds");
                let mut state = self.at();
                state.truth.was_read(key, record, before.since);
                state.counts.not_sent += 1;
            }
            result => self.wrote(key, &before, what, result),
        }
    }

    fn doubted(&self, number: u8) -> Option<Doubted> {
        let state = self.at();
        let place = usize::from(number) % state.doubts.len().max(1);
        state.doubts.get(place).cloned()
    }

    pub(crate) fn replay(&self, number: u8) {
        let Some(Doubted { key, write, handle }) = self.doubted(number) else { return };
        if self.is_pending(key) {
            return;
        }
        let is_known = |doubt: &Doubted| {
            let outcome = doubt.handle.outcome();
            doubt.write == write && matches!(outcome, Some(Settlement::Applied | Settlement::NotApplied))
        };
        if self.at().doubts.iter().any(is_known) {
            return;
        }
        let mut before = self.before(key);
        before.send = write;
        let first = self.at().sent.get(&write).copied();
        let result = handle.replay(&Call::new());
        let verdict = self.at().verdicts.remove(&write);
        let keys_settle = self.options.honours_idempotency;
        match (result, verdict) {
            (Ok(written), Some(Verdict::Applied { ended, shown, keepable })) => {
                let what = if first.is_some_and(|(record, _)| record.is_some()) { What::Put } else { What::Delete };
                self.was_applied(key, what, &written, ended, shown, keepable);
                assert!(!keys_settle || handle.outcome() == Some(Settlement::Applied), "D3: key {key}: {handle:?}");
            }
            (Err(ReplayError::Rejected(rejection)), Some(Verdict::Rejected)) => {
                self.at().counts.rejected += 1;
                assert_eq!(handle.outcome(), Some(Settlement::NotApplied), "D3: key {key}: {handle:?}");
                assert!(!rejection.stale_base || self.peek(key).is_none(), "P2: key {key} was proven stale");
            }
            (Err(ReplayError::InDoubt(again)), Some(Verdict::Unknown)) => self.is_unknown(key, again),
            (Err(ReplayError::InDoubt(again)), Some(Verdict::TurnedAway)) => {
                self.at().counts.rejected += 1;
                self.is_in_doubt(key, again);
            }
            (Err(ReplayError::NotSent(NotSent::NotOurs)), None) => {
                assert!(first.is_none(), "A3: the cache sent {write} of key {key}, and does not know it");
                self.at().counts.not_sent += 1;
            }
            (Err(ReplayError::NotSent(why)), None) => self.was_not_sent(key, &before, true, &why),
            (Ok(_), verdict) => panic!("A3: {write} of key {key} was told as applied, and the source said {verdict:?}"),
            (Err(error), verdict) => panic!("A3: {write} of key {key}: {error:?}, and the source said {verdict:?}"),
        }
        self.outcomes();
    }

    pub(crate) fn settle(&self, key: usize) {
        let (certain, perhaps, word) = {
            let mut state = self.at();
            let (certain, perhaps) = (state.truth.is_in_doubt(key), state.truth.is_perhaps_in_doubt(key));
            (certain, perhaps, state.truth.settles_key(key))
        };
        let was = self.cache().settle(&[key as u8], settlement(word));
        assert!((certain..=perhaps).contains(&was), "D3: key {key} was in doubt: {was}");
        assert!(!was || self.peek(key).is_none(), "D3: the next read of key {key} asks the origin");
        self.outcomes();
    }

    pub(crate) fn settle_one(&self, number: u8) {
        let Some(Doubted { key, write, handle }) = self.doubted(number) else { return };
        let (word, certain, perhaps) = {
            let mut state = self.at();
            let word = state.truth.settles_write(key, write);
            (word, state.truth.is_in_doubt(key), state.truth.is_perhaps_in_doubt(key))
        };
        let over = handle.settle(settlement(word));
        assert!((certain..=perhaps).contains(&!over), "D3: key {key} is in doubt no more: {over}");
        assert_eq!(handle.outcome(), Some(settlement(word)), "A3: key {key}: {handle:?}");
        self.outcomes();
    }

    /// What the handles tell of their writes is true.
    pub(crate) fn outcomes(&self) {
        let state = self.at();
        for Doubted { key, write, handle } in &state.doubts {
            let true_now = match handle.outcome() {
                None => state.truth.is_perhaps_in_doubt(*key),
                Some(Settlement::Applied) => state.truth.landed(*write).is_some(),
                Some(Settlement::NotApplied) => state.truth.landed(*write).is_none(),
                Some(Settlement::Over) => true,
            };
            assert!(true_now, "A3: {write} of key {key} became {:?}", handle.outcome());
        }
    }

    /// The listing has all keys in doubt, and of each what is so.
    pub(crate) fn doubts(&self, most: usize) {
        let listed = self.cache().doubts(most);
        let state = self.at();
        let certain = (0..KEYS).filter(|key| state.truth.is_in_doubt(*key)).count();
        assert!((certain.min(most)..=most).contains(&listed.len()), "A3: {certain} keys are in doubt: {listed:?}");
        for (place, of) in listed.iter().enumerate() {
            let key = usize::from(of.key[0]);
            assert!(listed[..place].iter().all(|other| other.key != of.key), "A3: twice: {listed:?}");
            assert!(state.truth.is_perhaps_in_doubt(key), "A3: key {key} is in no doubt: {of:?}");
            if let Some((since, until, unsettled)) = state.truth.told_doubt(key) {
                let tick = |units: u64| wtcache::Tick::ZERO.after(UNIT * u32::try_from(units).expect("small"));
                let told = (of.since, of.until, of.unsettled);
                assert_eq!(told, (tick(since), tick(until), unsettled), "A3: key {key}");
            }
        }
    }
}

fn settlement(word: Word) -> Settlement {
    match word {
        Word::Applied => Settlement::Applied,
        Word::NotApplied => Settlement::NotApplied,
        Word::Mixed => Settlement::Over,
    }
}
