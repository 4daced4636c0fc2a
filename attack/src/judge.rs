//! The oracles: what the clients saw, held against what the origin applied.
//!
//! Owns: the verdicts. Never: runs anything. Invariant: the origin's log is complete when it is asked, so that a write which it
//! does not show as applied had no effect, and is no part of a history.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value as Json;
use wtcache::IdempotencyKey;
use wtcache_origin::Entry;
use wtcache_testkit::{Begun, History, Value};

/// More operations than this, open at once on one key, make the search for an order too long.
const MOST_OPEN: usize = 18;
/// What is left pending has this many deadlines to be settled.
pub(crate) const PENDING_DEADLINES: u32 = 2;
/// A machine that is busy may leave a thread standing for so long.
const STALL: Duration = Duration::from_millis(100);

/// Who found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Oracle {
    /// The history of a key is not linearizable.
    History,
    /// At rest, the cache shows a record that is not the origin's.
    Rest,
    /// A read gave a value that the origin never had.
    Served,
    /// The outcome of a write is not what happened: refused but applied, or applied but not.
    Outcome,
    /// What a write was said to have stored is not what was sent.
    Confirmed,
    /// A record was read although the origin had said that it has another.
    Outdated,
    /// What was shown before it was confirmed was not to be shown, or what was to be shown was not.
    Shown,
    /// A doubt, a pending write or a request did not end.
    Unsettled,
    /// A thread panicked.
    Panic,
}

/// What was found, in words.
#[derive(Clone, Debug)]
pub struct Finding {
    /// By whom.
    pub oracle: Oracle,
    /// The words.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.oracle, self.text)
    }
}

/// What one operation turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It read what is confirmed.
    Read(Value),
    /// It read what is visible. `over`: of a merge, what that was made of. `pending`: it is not confirmed.
    Got {
        value: Value,
        over: Option<Value>,
        pending: bool,
    },
    Wrote(Value),
    Updated {
        read: Value,
        wrote: Value,
    },
    MayWrite(Value),
    /// Another send of a write that may have been applied before, was now, or both.
    Replayed(Value),
    /// It did not write, and read nothing.
    NotWritten,
    /// It did not write: the origin found that it has another record than this, which was expected.
    Outdated(u64),
    /// It read nothing.
    NotRead,
}

/// One operation as its client saw it. Calls and answers are stamped from one count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) client: usize,
    pub(crate) key: u64,
    /// Unique in the round, but for replays; a write's idempotency key, and its value where it puts.
    pub(crate) id: u64,
    pub(crate) call: u64,
    /// Of a write that was left pending: from when on it was.
    pub(crate) admitted: Option<u64>,
    pub(crate) answer: u64,
    /// By the wall clock, as the origin's log.
    pub(crate) called_at: SystemTime,
    pub(crate) answered_at: SystemTime,
    pub(crate) what: What,
}

impl Seen {
    /// It was applied, and answered when its turn may have been over and others may have been sent: until then it was a stray.
    fn outlived(&self, deadline: Duration) -> bool {
        let turn = if self.admitted.is_some() { deadline * PENDING_DEADLINES } else { deadline };
        let is_applied = matches!(self.what, What::Wrote(_) | What::Updated { .. } | What::Replayed(_));
        is_applied && self.answered_at.duration_since(self.called_at).is_ok_and(|took| took >= turn)
    }
}

/// With what all keys begin.
pub(crate) const PREFIX: &str = "k";

pub(crate) fn item(key: u64) -> String {
    format!("{PREFIX}{key}")
}

pub(crate) fn value_of(record: &Json) -> Value {
    record.get("value").and_then(Json::as_u64)
}

/// What a merge says that it was made of; `None`: it is none.
pub(crate) fn over_of(record: &Json) -> Option<Value> {
    record.get("over").map(Json::as_u64)
}

pub(crate) fn idempotency_key(id: u64) -> IdempotencyKey {
    IdempotencyKey::from_bits(id.into())
}

/// The number of the write that goes out under this key; `None`: the key is the cache's own.
fn number_of(idempotency_key: &str) -> Option<u64> {
    u64::try_from(u128::from_str_radix(idempotency_key, 16).ok()?).ok()
}

/// A send that took effect.
#[derive(Clone, Copy, Debug)]
struct Landing {
    at: SystemTime,
    /// Among all of the origin.
    place: u64,
}

/// What somebody else wrote at the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elsewhere {
    pub(crate) key: u64,
    /// Its value.
    pub(crate) id: u64,
    /// When it had taken effect.
    pub(crate) at: SystemTime,
    /// Its place among all writes of the origin.
    pub(crate) place: u64,
}

impl Elsewhere {
    /// Whether that is how it was seen.
    pub(crate) fn is(&self, op: &Seen) -> bool {
        (self.key, self.id) == (op.key, op.id)
    }
}

/// What the origin did.
pub(crate) struct Done {
    /// By key and number: each send that took effect, in their order. A put says its number by its value, a delete by its idempotency key.
    writes: HashMap<(String, u64), Vec<Landing>>,
    /// Key and value of every put that was applied.
    values: HashSet<(String, u64)>,
}

impl Done {
    /// `elsewhere`: what was written past the log.
    pub(crate) fn new(log: &[Entry], elsewhere: &[Elsewhere]) -> Self {
        let mut done = Self { writes: HashMap::new(), values: HashSet::new() };
        for write in elsewhere {
            done.values.insert((item(write.key), write.id));
            done.writes.insert((item(write.key), write.id), vec![Landing { at: write.at, place: write.place }]);
        }
        for entry in log.iter().filter(|entry| entry.applied) {
            let Some(key) = &entry.id else { continue };
            let body = entry.body.as_deref().and_then(|body| serde_json::from_str::<Json>(body).ok());
            let put = body.as_ref().and_then(value_of);
            done.values.extend(put.map(|value| (key.clone(), value)));
            if let Some(number) = put.or_else(|| number_of(entry.idempotency_key.as_deref()?)) {
                let at = entry.received_at + entry.applied_after.unwrap_or_default();
                let landing = Landing { at, place: entry.applied_seq.unwrap_or(u64::MAX) };
                done.writes.entry((key.clone(), number)).or_default().push(landing);
            }
        }
        done.writes.values_mut().for_each(|landings| landings.sort_unstable_by_key(|landing| landing.place));
        done
    }

    /// When sends of the write took effect.
    fn landings(&self, op: &Seen) -> &[Landing] {
        self.writes.get(&(item(op.key), op.id)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn applied(&self, op: &Seen) -> bool {
        !self.landings(op).is_empty()
    }

    /// The origin had this record of the key once, and never again.
    pub(crate) fn had_once(&self, key: u64, value: u64) -> bool {
        self.writes.get(&(item(key), value)).is_some_and(|landings| landings.len() == 1)
    }

    /// The origin had this record of the key at some time.
    pub(crate) fn had(&self, key: u64, value: u64) -> bool {
        self.values.contains(&(item(key), value))
    }

    /// A send of the write that was not answered took effect: more did than replays of it were answered as applied. (A delete is so
    /// answered also where there was nothing, so that a replay of it says nothing of the sends before.)
    fn is_open(&self, op: &Seen, seen: &[Seen]) -> bool {
        let is_answer = |other: &&Seen| other.id == op.id && matches!(other.what, What::Replayed(Some(_)));
        self.landings(op).len() > seen.iter().filter(is_answer).count()
    }

    /// From when on no read may miss an unknown write; `None` if nobody can tell which of its sends took effect. Until its
    /// verdict, hits are of the older value; then there are none, and a load that began before it landed ends by the load's
    /// deadline.
    fn seen_by_all(&self, op: &Seen, seen: &[Seen], deadline: Duration) -> Option<SystemTime> {
        let is_send = |other: &&Seen| other.id == op.id && matches!(other.what, What::MayWrite(_) | What::Replayed(_));
        let landings = self.landings(op);
        let all_did = landings.len() >= seen.iter().filter(is_send).count();
        let last = landings.iter().map(|landing| landing.at).max().filter(|_| all_did)?;
        Some(op.answered_at.max(last) + deadline + STALL)
    }

    /// Where among the origin's writes those of this key took place, by the number of the operation. Empty if that cannot be told of
    /// all: a write that was sent several times may have landed in another one's time.
    fn places(&self, seen: &[Seen]) -> HashMap<usize, u64> {
        let mut places = HashMap::new();
        let mut left: HashMap<u64, Vec<Landing>> = HashMap::new();
        for op in seen {
            left.entry(op.id).or_insert_with(|| self.landings(op).to_vec());
        }
        // Those that were answered landed before that; what is left landed for those that were not.
        let is_answered = |op: &Seen| matches!(op.what, What::Wrote(_) | What::Updated { .. } | What::Replayed(_));
        let is_unknown = |op: &Seen| matches!(op.what, What::MayWrite(_));
        for (number, op) in seen.iter().enumerate().filter(|(_, op)| is_answered(op)) {
            let landings = left.get_mut(&op.id).expect("each has some or none");
            let own = |landing: &Landing| op.called_at <= landing.at && landing.at <= op.answered_at;
            places.extend(landings.iter().rposition(own).map(|at| (number, landings.remove(at).place)));
        }
        for (number, op) in seen.iter().enumerate().filter(|(_, op)| is_unknown(op)) {
            let landings = left.get_mut(&op.id).expect("each has some or none");
            let own = |landing: &Landing| op.called_at <= landing.at;
            places.extend(landings.iter().position(own).map(|at| (number, landings.remove(at).place)));
        }
        if left.values().any(|landings| !landings.is_empty()) {
            places.clear();
        }
        places
    }
}

/// What is known of updates: at the origin, others may come between what they read and what they write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Updates {
    /// They are one step at the origin too, whoever else writes, and whatever strays there are.
    pub(crate) strict: bool,
    /// Nobody else writes the key.
    pub(crate) alone: bool,
}

/// Judges the history of one key. `deadline`: that of every load. True: it was too open to be searched.
pub(crate) fn key(
    key: u64,
    seen: &[Seen],
    done: &Done,
    updates: Updates,
    deadline: Duration,
    log: &[Entry],
    found: &mut Vec<Finding>,
) -> bool {
    let mut add = |oracle, text| found.push(Finding { oracle, text });
    let seen: Vec<Seen> = seen.iter().filter(|op| op.key == key).copied().collect();
    for op in &seen {
        let applied = done.applied(op);
        let id = op.id;
        match op.what {
            What::NotWritten | What::Outdated(_) if applied => {
                add(Oracle::Outcome, format!("write {id} is said not to be applied, and was"))
            }
            // A delete of what is not there is applied without the origin's doing anything.
            What::Wrote(Some(_)) | What::Replayed(Some(_)) | What::Updated { wrote: Some(_), .. } if !applied => {
                add(Oracle::Outcome, format!("write {id} is said to be applied, and was not"));
            }
            _ => {}
        }
        if let What::Read(Some(value))
        | What::Got { value: Some(value), pending: false, .. }
        | What::Updated { read: Some(value), .. } = op.what
            && !done.had(key, value)
        {
            add(Oracle::Served, format!("operation {id} of key {key} read {value}, which the origin never had"));
        }
    }
    // A stray write may land between the two steps of an update that the origin knows nothing of.
    let is_open = |op: &Seen| matches!(op.what, What::MayWrite(_)) && done.is_open(op, &seen);
    let one_step = updates.strict || updates.alone && !seen.iter().any(|op| is_open(op) || op.outlived(deadline));
    let history = Moments::of(&seen, done, deadline).play(&seen, done, one_step);
    // In the origin's order, which does not take long; else in any.
    if history.holds_in_order() == Some(true) {
        return false;
    }
    if history.most_open() > MOST_OPEN {
        return true;
    }
    if !history.is_linearizable() {
        let begun = seen.iter().map(|op| op.called_at).min().unwrap_or(SystemTime::UNIX_EPOCH);
        let mut text = format!("key {key} is not linearizable:\n{history}by time:\n");
        for op in &seen {
            let after = |at: SystemTime| at.duration_since(begun).unwrap_or_default();
            let (called, answered) = (after(op.called_at), after(op.answered_at));
            text += &format!("{called:?} to {answered:?} client {} write {} {:?}\n", op.client, op.id, op.what);
        }
        text += "at the origin:\n";
        for entry in log.iter().filter(|entry| entry.id.as_deref() == Some(&item(key))) {
            let Entry { seq, method, status, applied_seq, applied_after, elapsed, received_at, body, .. } = entry;
            let at = received_at.duration_since(begun).unwrap_or_default();
            text += &format!(
                "{seq} at {at:?} {method:?} status {status:?} applied {applied_seq:?} after {applied_after:?}, answered after {elapsed:?} {body:?}\n"
            );
        }
        add(Oracle::History, text);
    }
    false
}

/// The parts of an operation that a history has, begun and not yet ended.
struct Parts<'a>(Begun<'a>, Option<Begun<'a>>);

/// The calls and answers of a key in their order.
struct Moments {
    /// Twice the stamp, and which operation. Between two stamps an unknown write ends that all must have seen.
    order: Vec<(u64, usize)>,
}

impl Moments {
    fn of(seen: &[Seen], done: &Done, deadline: Duration) -> Self {
        let mut order = Vec::new();
        for (at, op) in seen.iter().enumerate() {
            order.push((op.call * 2, at));
            match op.what {
                What::MayWrite(_) if done.is_open(op, seen) => {
                    let by = done.seen_by_all(op, seen, deadline);
                    // Before the first call from then on.
                    let calls = seen.iter().filter(|other| by.is_some_and(|by| other.called_at >= by));
                    let later = calls.map(|other| other.call * 2 - 1).min();
                    order.extend(later.map(|end| (end, at)));
                }
                _ => order.push((op.answer * 2, at)),
            }
        }
        order.sort_unstable();
        Self { order }
    }

    fn play(&self, seen: &[Seen], done: &Done, updates_are_one_step: bool) -> History {
        let history = History::default();
        let places = done.places(seen);
        let mut begun: HashMap<usize, Parts<'_>> = HashMap::new();
        for (moment, at) in &self.order {
            let op = &seen[*at];
            if *moment == op.call * 2 {
                let second = matches!(op.what, What::Updated { .. }) && !updates_are_one_step;
                let parts = Parts(history.begins(op.client), second.then(|| history.begins(op.client)));
                if let Some(place) = places.get(at) {
                    parts.1.as_ref().unwrap_or(&parts.0).took_place(*place);
                }
                begun.insert(*at, parts);
                continue;
            }
            let Parts(first, second) = begun.remove(at).expect("an answer comes after its call");
            match (op.what, second) {
                (What::Read(value) | What::Got { value, pending: false, .. }, _) => first.read(value),
                (What::Wrote(value) | What::Replayed(value), _) => first.wrote(value),
                (What::Updated { read, wrote }, None) => first.updated(read, wrote),
                (What::Updated { read, wrote }, Some(second)) => {
                    first.read(read);
                    second.wrote(wrote);
                }
                // Seen by all from here on.
                (What::MayWrite(value), _) if done.is_open(op, seen) => first.wrote(value),
                (What::MayWrite(_) | What::NotWritten | What::Outdated(_), _) => {}
                (What::NotRead | What::Got { .. }, _) => {}
            }
        }
        // What is left may take effect at any later time.
        for (at, Parts(first, _)) in begun {
            if let What::MayWrite(value) = seen[at].what {
                first.may_write(value);
            }
        }
        history
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(50);
    const ALONE: Updates = Updates { strict: false, alone: true };

    /// A second a stamp.
    fn at(stamp: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(stamp)
    }

    fn op(id: u64, call: u64, answer: u64, what: What) -> Seen {
        Seen { client: 0, key: 0, id, call, admitted: None, answer, called_at: at(call), answered_at: at(answer), what }
    }

    fn judged(seen: &[Seen], applied: &[u64]) -> Vec<Oracle> {
        let landed: Vec<_> = applied.iter().map(|id| (*id, 0)).collect();
        judged_landed(seen, &landed)
    }

    /// Each write with when it landed.
    fn judged_landed(seen: &[Seen], applied: &[(u64, u64)]) -> Vec<Oracle> {
        let done = Done {
            writes: applied.iter().fold(HashMap::new(), |mut writes, (id, landed)| {
                let landing = Landing { at: at(*landed), place: *landed };
                writes.entry((item(0), *id)).or_insert_with(Vec::new).push(landing);
                writes
            }),
            values: applied.iter().map(|(id, _)| (item(0), *id)).collect(),
        };
        let mut found = Vec::new();
        assert!(!key(0, seen, &done, ALONE, DEADLINE, &[], &mut found));
        found.iter().map(|finding| finding.oracle).collect()
    }

    #[test]
    fn each_oracle_has_its_own_red() {
        let wrote = op(1, 1, 2, What::Wrote(Some(1)));
        assert_eq!(judged(&[wrote, op(2, 3, 4, What::Read(Some(1)))], &[1]), []);
        assert_eq!(judged(&[wrote, op(2, 3, 4, What::Read(None))], &[1]), [Oracle::History]);
        assert_eq!(judged(&[wrote], &[]), [Oracle::Outcome]);
        assert_eq!(judged(&[op(1, 1, 2, What::NotWritten)], &[1]), [Oracle::Outcome]);
        assert_eq!(judged(&[op(2, 3, 4, What::Read(Some(9)))], &[1]), [Oracle::Served, Oracle::History]);
    }

    #[test]
    fn an_unknown_write_that_landed_is_missed_by_no_later_load() {
        let unknown = op(1, 1, 2, What::MayWrite(Some(1)));
        let old = |call| op(call, call, call + 1, What::Read(None));
        assert_eq!(judged_landed(&[unknown, old(3)], &[(1, 3)]), [], "a load that began before it landed");
        assert_eq!(judged_landed(&[unknown, old(4)], &[(1, 3)]), [Oracle::History]);
        assert_eq!(judged_landed(&[unknown, old(4)], &[(1, 9)]), [], "it is to land yet");
        let other = op(8, 5, 6, What::Wrote(Some(8)));
        let (new, first) = (op(9, 7, 8, What::Read(Some(8))), op(7, 7, 8, What::Read(Some(1))));
        assert_eq!(judged_landed(&[unknown, other, new], &[(1, 3), (8, 5)]), []);
        assert_eq!(judged_landed(&[unknown, other, first], &[(1, 3), (8, 5)]), [Oracle::History]);
    }

    #[test]
    fn the_first_send_of_a_replayed_write_counts_only_where_the_origin_applied_both() {
        let (first, again) = (op(1, 0, 1, What::MayWrite(Some(1))), op(1, 4, 5, What::Replayed(Some(1))));
        let early = op(2, 2, 3, What::Read(Some(1)));
        assert_eq!(judged(&[first, early, again], &[1, 1]), []);
        assert_eq!(judged(&[first, early, again], &[1]), [Oracle::History]);
        assert_eq!(judged(&[first, again], &[]), [Oracle::Outcome]);
    }

    #[test]
    fn an_update_is_one_step_unless_a_write_was_out_beyond_its_deadline() {
        let quick = |id, what| {
            let op = op(id, id, 10 + id, what);
            Seen { answered_at: op.called_at + DEADLINE / 2, ..op }
        };
        let late = |op: Seen| Seen { answered_at: op.called_at + DEADLINE, ..op };
        let update = quick(1, What::Updated { read: None, wrote: Some(1) });
        let between = quick(2, What::Wrote(Some(2)));
        // What they left was read after them: the update's record.
        let last = |id| op(id, 20, 21, What::Read(Some(1)));
        assert_eq!(judged(&[update, between, last(3)], &[1, 2]), [Oracle::History]);
        assert_eq!(judged(&[late(update), between, last(3)], &[1, 2]), [], "the update");
        assert_eq!(judged(&[update, late(between), last(3)], &[1, 2]), [], "the other");
        let left = Seen { admitted: Some(3), ..late(between) };
        assert_eq!(judged(&[update, left, last(3)], &[1, 2]), [Oracle::History], "that has more time");
        let refused = Seen { id: 4, what: What::NotWritten, ..late(between) };
        assert_eq!(judged(&[update, between, refused, last(3)], &[1, 2]), [Oracle::History], "and does nothing");
    }

    #[test]
    fn what_is_too_open_to_be_searched_is_judged_in_the_origins_order() {
        let writes = MOST_OPEN as u64 + 2;
        let all = |last| {
            let open = |id| op(id, id, 50 + id, What::Wrote(Some(id)));
            let read = op(99, 98, 99, What::Read(Some(last)));
            (1..=writes).map(open).chain([read]).collect::<Vec<_>>()
        };
        let is_too_open = |seen: &[Seen]| {
            let landing = |id| Landing { at: at(30), place: id };
            let done = Done {
                writes: (1..=writes).map(|id| ((item(0), id), vec![landing(id)])).collect(),
                values: (1..=writes).map(|id| (item(0), id)).collect(),
            };
            let mut found = Vec::new();
            let too_open = key(0, seen, &done, ALONE, DEADLINE, &[], &mut found);
            assert!(found.is_empty(), "{found:?}");
            too_open
        };
        assert!(!is_too_open(&all(writes)), "in the origin's order");
        assert!(is_too_open(&all(1)), "another order would do, and is not looked for");
    }

    #[test]
    fn an_unknown_write_counts_only_where_the_origin_applied_it() {
        let unknown = op(1, 1, 2, What::MayWrite(Some(1)));
        let (old, new) = (op(2, 3, 4, What::Read(None)), op(3, 5, 6, What::Read(Some(1))));
        assert_eq!(judged_landed(&[unknown, old, new], &[(1, 4)]), []);
        assert_eq!(judged(&[unknown, old], &[]), []);
    }
}
