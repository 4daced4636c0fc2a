//! What is known of histories besides their order: writes that were sent again under a key that counts, writes of somebody else, and what the
//! origin said of a record.
//!
//! Invariant: what the contract leaves open is not judged, so that whatever is found here is a fault.

use std::collections::HashMap;

use crate::judge::{Done, Elsewhere, Finding, Oracle, Seen, What};

/// Where the origin honours idempotency keys, all sends of a write are one write: it took effect between its call and the first answer that
/// was definite.
pub(crate) fn as_one_write(seen: &[Seen]) -> Vec<Seen> {
    let mut in_order: Vec<Seen> = seen.to_vec();
    in_order.sort_unstable_by_key(|op| op.call);
    let mut places: HashMap<(u64, u64), usize> = HashMap::new();
    let mut all: Vec<Seen> = Vec::new();
    for op in in_order {
        let is_send = matches!(op.what, What::MayWrite(_) | What::Replayed(_) | What::NotWritten | What::Wrote(_));
        let Some(first) = places.get(&(op.key, op.id)).map(|at| &mut all[*at]).filter(|_| is_send) else {
            if is_send {
                places.insert((op.key, op.id), all.len());
            }
            all.push(op);
            continue;
        };
        if let (What::MayWrite(value), What::Replayed(_) | What::NotWritten) = (first.what, op.what) {
            first.what = if op.what == What::NotWritten { What::NotWritten } else { What::Wrote(value) };
            (first.answer, first.answered_at) = (op.answer, op.answered_at);
        }
    }
    all
}

/// Until somebody else's write is told, nothing is promised of what is read: those reads are left out, and of an update what it read.
pub(crate) fn without_untold(seen: &[Seen], elsewhere: &[Elsewhere]) -> Vec<Seen> {
    let untold: Vec<&Seen> = seen.iter().filter(|op| elsewhere.iter().any(|write| write.is(op))).collect();
    let mut told = seen.to_vec();
    for op in &mut told {
        if untold.iter().any(|other| other.key == op.key && other.call < op.answer && op.call < other.answer) {
            op.what = match op.what {
                What::Read(_) | What::Got { .. } => What::NotRead,
                What::Updated { wrote, .. } => What::Wrote(wrote),
                other => other,
            };
        }
    }
    told
}

/// P2: what the origin found not to be its record any more is dropped, and so read by nobody who comes later.
pub(crate) fn judge(seen: &[Seen], done: &Done, found: &mut Vec<Finding>) {
    for refused in seen {
        let What::Outdated(old) = refused.what else { continue };
        if !done.had_once(refused.key, old) {
            continue;
        }
        let is_read = |op: &&Seen| match op.what {
            What::Read(value) | What::Got { value, pending: false, .. } => value == Some(old),
            _ => false,
        };
        let later = seen.iter().filter(|op| op.key == refused.key && op.call > refused.answer);
        for read in later.filter(is_read) {
            let text = format!(
                "read {} of key {} gave {old}, though write {} had been refused since that is not the record any more",
                read.id, read.key, refused.id
            );
            found.push(Finding { oracle: Oracle::Outdated, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn op(id: u64, (call, answer): (u64, u64), what: What) -> Seen {
        let at = |stamp| SystemTime::UNIX_EPOCH + Duration::from_secs(stamp);
        Seen { client: 0, key: 0, id, call, admitted: None, answer, called_at: at(call), answered_at: at(answer), what }
    }

    #[test]
    fn all_sends_of_a_write_are_one() {
        let (first, again) = (op(1, (1, 2), What::MayWrite(Some(1))), op(1, (5, 6), What::MayWrite(Some(1))));
        let ended = |what| {
            let all = as_one_write(&[op(1, (8, 9), what), again, first, op(2, (3, 4), What::Read(None))]);
            let [one, other] = all[..] else { panic!("{all:?}") };
            assert_eq!((one.call, other.id), (1, 2));
            (one.what, one.answer)
        };
        assert_eq!(ended(What::Replayed(Some(1))), (What::Wrote(Some(1)), 9));
        assert_eq!(ended(What::NotWritten), (What::NotWritten, 9));
        assert_eq!(ended(What::MayWrite(Some(1))), (What::MayWrite(Some(1)), 2));
    }

    #[test]
    fn reads_count_once_somebody_elses_write_is_told() {
        let write = Elsewhere { key: 0, id: 9, at: SystemTime::UNIX_EPOCH, place: 1 };
        let read = |at| op(at, (at, at + 1), What::Read(Some(1)));
        let update = op(5, (3, 5), What::Updated { read: Some(1), wrote: Some(5) });
        let all = without_untold(
            &[op(9, (2, 4), What::Wrote(Some(9))), read(1), read(0), read(4), read(5), update],
            &[write],
        );
        let whats: Vec<What> = all.iter().skip(1).map(|op| op.what).collect();
        let told = What::Read(Some(1));
        assert_eq!(whats, [told, told, told, told, What::Wrote(Some(5))]);
        assert_eq!(without_untold(&[all[0], op(7, (1, 3), told)], &[write])[1].what, What::NotRead);
    }

    #[test]
    fn what_the_origin_denied_is_read_by_nobody_later() {
        let write = Elsewhere { key: 0, id: 1, at: SystemTime::UNIX_EPOCH, place: 1 };
        let refused = op(2, (3, 4), What::Outdated(1));
        let judged = |read: Seen, elsewhere: &[Elsewhere]| {
            let mut found = Vec::new();
            judge(&[refused, read], &Done::new(&[], elsewhere), &mut found);
            found.len()
        };
        let read = |at, value| op(9, (at, at + 1), What::Read(Some(value)));
        assert_eq!(judged(read(5, 1), &[write]), 1);
        assert_eq!(judged(read(3, 1), &[write]), 0, "it began before that was said");
        assert_eq!(judged(read(5, 7), &[write]), 0, "another record");
        assert_eq!(judged(read(5, 1), &[]), 0, "it may have come again");
    }
}
