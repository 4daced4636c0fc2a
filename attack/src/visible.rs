//! What readers of the visible saw, held against how the writes ended that it was made of.
//!
//! Two rules, of one key each: what is shown as pending is pending; and a write that was applied is shown from its admission on, so that
//! nobody sees past it what is older. A third, of several keys: nobody who reads them in one call sees a part of a transaction.
//! Invariant: what the contract leaves open is not judged, so that whatever is found here is a fault.

use std::collections::HashMap;
use std::time::Duration;

use wtcache_testkit::Value;

use crate::judge::{Done, Finding, Oracle, Seen, What};

/// What is known of a write, whose number is its value.
#[derive(Clone, Copy)]
struct Write {
    call: u64,
    /// From when on it has its place among the writes of the key: since its admission, or else since its end.
    placed: u64,
    answer: u64,
    is_pending: bool,
    /// It was applied once, in its time, and cannot land again.
    applied: bool,
    /// It cannot land after its end.
    certain: bool,
}

pub(crate) fn judge(seen: &[Seen], done: &Done, writes_wait: bool, deadline: Duration, found: &mut Vec<Finding>) {
    let mut add = |text| found.push(Finding { oracle: Oracle::Shown, text });
    let writes = writes(seen, deadline);
    let is_older = |older: &Write, newer: &Write| {
        // A write on a condition may go before those that a doubt holds back.
        let in_order = !(writes_wait && older.is_pending && !newer.is_pending);
        in_order && older.certain && older.placed < newer.call
    };
    for read in seen {
        let What::Got { value, over, pending } = read.what else { continue };
        let key = read.key;
        let write = |value: Value| value.and_then(|value| writes.get(&(key, value)));
        let is_pending = |write: &Write| write.is_pending && write.call < read.answer && write.answer > read.call;
        if pending && value.is_some() && !write(value).is_some_and(is_pending) {
            add(format!("read {} of key {key}: {value:?} is shown as pending, and is not", read.id));
        }
        if let Some(Some(base)) = over
            && !done.had(key, base)
            && !write(Some(base)).is_some_and(is_pending)
        {
            add(format!("read {} of key {key}: {value:?} is shown above {base}, which is not there", read.id));
        }
        for ((_, number), newer) in writes.iter().filter(|((of, _), write)| *of == key && write.applied) {
            let told = |text: &str| format!("read {} of key {key} {text}, though {number} was applied", read.id);
            if newer.placed < read.call && write(value).is_some_and(|older| is_older(older, newer)) {
                add(told(&format!("shows {value:?}")));
            }
            if pending && newer.answer < read.call && write(over.flatten()).is_some_and(|older| is_older(older, newer))
            {
                add(told(&format!("shows {value:?} above {over:?}")));
            }
        }
    }
    parts(seen, &writes, is_older, add);
}

fn writes(seen: &[Seen], deadline: Duration) -> HashMap<(u64, u64), Write> {
    let mut writes: HashMap<(u64, u64), Write> = HashMap::new();
    let mut in_order: Vec<&Seen> = seen.iter().collect();
    in_order.sort_unstable_by_key(|op| op.call);
    for op in in_order {
        let (applied, certain) = match op.what {
            What::Wrote(Some(_)) | What::Updated { wrote: Some(_), .. } => (true, true),
            What::NotWritten | What::Outdated(_) => (false, true),
            What::MayWrite(Some(_)) | What::Replayed(Some(_)) => (false, false),
            _ => continue,
        };
        // One that was out at its deadline was in doubt for a while, and not shown.
        let in_time = op.answered_at.duration_since(op.called_at).is_ok_and(|took| took < deadline);
        let Seen { call, admitted, answer, .. } = *op;
        let (placed, is_pending, applied) = (admitted.unwrap_or(answer), admitted.is_some(), applied && in_time);
        let write = Write { call, placed, answer, is_pending, applied, certain };
        let first = writes.entry((op.key, op.id)).or_insert(write);
        if first.call != call {
            // It was sent again: nobody knows when it took effect, or how often.
            (first.applied, first.certain) = (false, false);
        }
    }
    writes
}

/// What is read of several keys at once is of one side of each transaction. With a doubt on one of the keys nothing is promised.
fn parts(
    seen: &[Seen],
    writes: &HashMap<(u64, u64), Write>,
    is_older: impl Fn(&Write, &Write) -> bool,
    mut add: impl FnMut(String),
) {
    let mut reads: HashMap<u64, Vec<&Seen>> = HashMap::new();
    for read in seen.iter().filter(|read| matches!(read.what, What::Got { .. })) {
        reads.entry(read.id).or_default().push(read);
    }
    for (id, read) in reads.into_iter().filter(|(_, read)| read.len() > 1) {
        let doubted = |key: u64| {
            let is_unknown = |op: &&Seen| matches!(op.what, What::MayWrite(_) | What::Replayed(_)) && op.key == key;
            seen.iter().filter(is_unknown).any(|op| op.call < read[0].answer)
        };
        for (one, other) in read.iter().flat_map(|one| read.iter().map(move |other| (one, other))) {
            let (What::Got { value: Some(new), .. }, What::Got { value: Some(old), .. }) = (one.what, other.what)
            else {
                continue;
            };
            let of_both = [one.key, other.key].map(|key| writes.get(&(key, new)).filter(|write| write.applied));
            if let [Some(_), Some(there)] = of_both
                && writes.get(&(other.key, old)).is_some_and(|older| is_older(older, there))
                && ![one.key, other.key].into_iter().any(doubted)
            {
                add(format!("read {id} shows {new} of key {}, and {old} of key {}", one.key, other.key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(1_000);

    fn op(key: u64, id: u64, (call, answer): (u64, u64), what: What) -> Seen {
        let at = |stamp| SystemTime::UNIX_EPOCH + Duration::from_secs(stamp);
        Seen { client: 0, key, id, call, admitted: None, answer, called_at: at(call), answered_at: at(answer), what }
    }

    /// Admitted in the stamp after its call.
    fn left(id: u64, (call, answer): (u64, u64), what: What) -> Seen {
        Seen { admitted: Some(call + 1), ..op(0, id, (call, answer), what) }
    }

    fn read(at: u64, value: Value, pending: bool) -> Seen {
        op(0, at + 1_000, (at, at + 1), What::Got { value, over: None, pending })
    }

    fn judged(seen: &[Seen]) -> usize {
        let mut found = Vec::new();
        judge(seen, &Done::new(&[], &[]), false, DEADLINE, &mut found);
        found.len()
    }

    #[test]
    fn what_is_shown_as_pending_is_pending() {
        let refused = left(1, (10, 20), What::NotWritten);
        assert_eq!(judged(&[refused, read(12, Some(1), true), read(19, Some(1), true)]), 0);
        assert_eq!(judged(&[refused, read(21, Some(1), true)]), 1, "it has been told as refused");
        assert_eq!(judged(&[refused, read(5, Some(1), true)]), 1, "nobody had asked for it");
        let again = op(0, 1, (30, 31), What::Replayed(Some(1)));
        assert_eq!(judged(&[again, left(1, (10, 20), What::MayWrite(Some(1))), read(12, Some(1), true)]), 0);
        assert_eq!(judged(&[op(0, 1, (10, 20), What::Wrote(Some(1))), read(12, Some(1), true)]), 1, "never pending");
        let merge = |over| op(0, 9, (12, 13), What::Got { value: Some(1), over: Some(Some(over)), pending: true });
        assert_eq!(judged(&[refused, merge(7)]), 1, "made of nothing that ever was");
        assert_eq!(judged(&[refused, left(7, (8, 14), What::NotWritten), merge(7)]), 0);
    }

    #[test]
    fn what_was_applied_is_not_missed_from_its_admission_on() {
        let (old, new) = (op(0, 1, (1, 2), What::Wrote(Some(1))), left(2, (10, 20), What::Wrote(Some(2))));
        assert_eq!(judged(&[old, new, read(9, Some(1), false)]), 0, "it began before");
        assert_eq!(judged(&[old, new, read(12, Some(1), false)]), 1, "while it is pending");
        assert_eq!(judged(&[old, new, read(21, Some(1), false)]), 1, "once it is applied");
        assert_eq!(judged(&[old, left(2, (10, 20), What::NotWritten), read(21, Some(1), false)]), 0, "it is refused");
        assert_eq!(
            judged(&[left(1, (11, 22), What::Wrote(Some(1))), new, read(23, Some(1), false)]),
            0,
            "in any order"
        );
        let stray = op(0, 1, (1, 2), What::MayWrite(Some(1)));
        assert_eq!(judged(&[stray, new, read(21, Some(1), false)]), 0, "it may have landed after that");
        let merge = left(3, (11, 30), What::NotWritten);
        let above = |over| op(0, 9, (22, 23), What::Got { value: Some(3), over: Some(Some(over)), pending: true });
        assert_eq!(
            judged(&[old, new, merge, above(1)]),
            2,
            "the base is older; and the origin has no such record here"
        );
    }

    #[test]
    fn a_transaction_is_read_whole() {
        let both = |id, at| [0, 1].map(|key| op(key, id, at, What::Wrote(Some(id))));
        let get = |a, b| {
            [(0, a), (1, b)]
                .map(|(key, value)| op(key, 9, (4, 7), What::Got { value: Some(value), over: None, pending: false }))
        };
        let all = |a, b| [both(1, (1, 2)), both(2, (3, 6)), get(a, b)].concat();
        assert_eq!((judged(&all(1, 1)), judged(&all(2, 2))), (0, 0));
        assert_eq!((judged(&all(1, 2)), judged(&all(2, 1))), (1, 1));
        let doubt = [all(1, 2), vec![op(1, 5, (3, 4), What::MayWrite(Some(5)))]].concat();
        assert_eq!(judged(&doubt), 0);
    }
}
