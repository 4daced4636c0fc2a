//! Writes that are left pending, and transactions.
//!
//! A write that was left is waited for by a thread of its own, so that its end is noted when it comes. Invariant: what was
//! admitted ends up among what was seen, once.

use std::thread::Scope;
use std::time::SystemTime;

use wtcache::{
    ByteCache, Bytes, InDoubt, NotSent, PendingWrite, Report, Step, StepEnd, StepValue, Transacted, Transaction,
    UndoEnd, Written,
};
use wtcache_testkit::Value;

use super::{Own, Stage, bytes, merged, number, over};
use crate::judge::{Oracle, Seen, What, item};
use crate::script::Do;

/// What undoing a put of a transaction puts in its place: a number that nothing else has.
const UNDONE: u64 = 5_000;
/// Keys of a transaction.
const MOST_KEYS: u64 = 3;

/// Something that was asked for, up to its end.
struct Asked {
    own: Own,
    call: u64,
    called_at: SystemTime,
    admitted: Option<u64>,
}

impl Stage {
    fn asks(&self, own: Own) -> Asked {
        Asked { own, called_at: SystemTime::now(), call: self.stamp(), admitted: None }
    }

    fn ended(&self, asked: &Asked, key: u64, id: u64, what: What) -> Seen {
        let Asked { own, call, called_at, admitted } = *asked;
        let (answer, answered_at) = (self.stamp(), SystemTime::now());
        Seen { client: own.client, key, id, call, admitted, answer, called_at, answered_at, what }
    }

    /// What is known of it at once: it was not admitted, or was taken back.
    pub(super) fn leave<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        own: Own,
        key: u64,
        step: Do,
    ) -> Option<Seen> {
        let mut asked = self.asks(own);
        let Ok(pending) = leave(&self.cache, own, key, step) else {
            return Some(self.ended(&asked, key, own.id, What::NotWritten));
        };
        asked.admitted = Some(self.stamp());
        let value = (!matches!(step, Do::DeletePending(_))).then_some(own.id);
        if matches!(step, Do::TakeBack(_)) && pending.cancel() {
            return Some(self.ended(&asked, key, own.id, self.settled(pending, key, own, value)));
        }
        scope.spawn(move || {
            let what = self.settled(pending, key, own, value);
            let seen = self.ended(&asked, key, own.id, what);
            self.later.lock().expect("nobody panics with it").push(seen);
        });
        None
    }

    fn settled(&self, pending: PendingWrite<Bytes>, key: u64, own: Own, value: Value) -> What {
        match (pending.wait(), value) {
            (Ok(_), None) => What::Wrote(None),
            (Ok(Written { entry, .. }), Some(id)) => {
                let wrote = self.stored(id, entry.as_deref());
                match entry.as_deref().and_then(over) {
                    Some(read) => What::Updated { read, wrote: value },
                    None => wrote,
                }
            }
            (Err(error), value) => self.unwritten(error, key, own, value),
        }
    }

    pub(super) fn transact(&self, own: Own, last: u64) -> Vec<Seen> {
        let asked = self.asks(own);
        let (transaction, keys) = transaction(&self.cache, own, last);
        self.transacted(&asked, &keys, transaction.run())
    }

    pub(super) fn leave_transaction<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        own: Own,
        last: u64,
    ) -> Vec<Seen> {
        let mut asked = self.asks(own);
        let (transaction, keys) = transaction(&self.cache, own, last);
        let Ok(pending) = transaction.start() else {
            return keys.iter().map(|key| self.ended(&asked, *key, own.id, What::NotWritten)).collect();
        };
        asked.admitted = Some(self.stamp());
        scope.spawn(move || {
            let mut seen = self.transacted(&asked, &keys, pending.wait());
            self.later.lock().expect("nobody panics with it").append(&mut seen);
        });
        Vec::new()
    }

    /// To each key it is a write, or two: what it put, and what undoing put.
    fn transacted(&self, asked: &Asked, keys: &[u64], ended: Transacted<Bytes>) -> Vec<Seen> {
        let (own, id) = (asked.own, asked.own.id);
        let mut seen = Vec::new();
        for (key, end) in keys.iter().zip(ended.steps()) {
            let mut was = |id, what| seen.push(self.ended(asked, *key, id, what));
            match end {
                StepEnd::Applied { undo, value } => {
                    if let (StepValue::Entry(entry), UndoEnd::NotRun) = (value, undo) {
                        self.stored(id, Some(entry.value()));
                    }
                    was(id, What::Wrote(Some(id)));
                    match undo {
                        UndoEnd::Applied => was(id + UNDONE, What::Wrote(Some(id + UNDONE))),
                        UndoEnd::Unknown(_) => was(id + UNDONE, What::MayWrite(Some(id + UNDONE))),
                        _ => was(id + UNDONE, What::NotWritten),
                    }
                }
                StepEnd::Unknown { .. } => was(id, What::MayWrite(Some(id))),
                _ => [id, id + UNDONE].into_iter().for_each(|id| was(id, What::NotWritten)),
            }
        }
        if seen.is_empty() && !keys.is_empty() && !matches!(&ended, Transacted::RolledBack(_)) {
            self.found(Oracle::Panic, format!("transaction {id}: {ended:?}"));
        }
        let (Transacted::InDoubt { doubts, .. }
        | Transacted::RolledBack(Report { doubts, .. })
        | Transacted::Partial(Report { doubts, .. })) = ended
        else {
            return seen;
        };
        for doubt in doubts {
            self.may_be_sent_again(own, doubt, &seen);
        }
        seen
    }

    fn may_be_sent_again(&self, own: Own, doubt: InDoubt<Bytes>, seen: &[Seen]) {
        let is_it = |op: &&Seen| matches!(op.what, What::MayWrite(_)) && item(op.key).as_bytes() == doubt.key();
        let Some((key, id)) = seen.iter().find(is_it).map(|op| (op.key, op.id)) else { return };
        self.doubts.lock().expect("nobody panics with it").insert((own.client, key), (doubt, id, Some(id)));
    }
}

fn leave(cache: &ByteCache, own: Own, key: u64, step: Do) -> Result<PendingWrite<Bytes>, NotSent> {
    let (key, call) = (item(key), own.call());
    match step {
        Do::DeletePending(_) => cache.delete_optimistic_with(&key, &call),
        Do::MergePending(_) => {
            let merge = move |old: Option<&[u8]>| Some(merged(own.id, old.and_then(number)));
            cache.merge_optimistic_with(&key, merge, &call)
        }
        _ => cache.put_optimistic_with(&key, bytes(own.id), &call),
    }
}

/// Half of them name their keys in the other order.
fn transaction(cache: &ByteCache, own: Own, last: u64) -> (Transaction<Bytes>, Vec<u64>) {
    let mut keys: Vec<u64> = (last.saturating_sub(MOST_KEYS - 1)..=last).collect();
    if own.id % 2 == 1 {
        keys.reverse();
    }
    let put = |all: Transaction<Bytes>, key: &u64| {
        let key = item(*key);
        all.step(Step::put(&key, bytes(own.id)).undo_put(&key, bytes(own.id + UNDONE)))
    };
    (keys.iter().fold(cache.transaction(), put), keys)
}
