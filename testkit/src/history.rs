//! What happened to one key, as its clients saw it, and whether it could have happened one after the other.
//!
//! Events are ordered by when they are noted: a call before it is made, an answer after it came. The check is the one of Wing and Gong with
//! Lowe's memory of configurations, by `todc-utils`. A write whose outcome nobody knows is open to the end: it may take effect at any
//! time after its call, and taking effect last of all is the same as never.
//! That search can take exponential time. Where it is known in which order the writes took effect, another check does not: see
//! [`History::holds_in_order`].
//! Invariant: an operation that had no effect and gave no value is no part of the history.

use std::fmt;

use parking_lot::Mutex;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as Actions};
use todc_utils::specifications::Specification;

/// The value of the key: `None` where there is no record.
pub type Value = Option<u64>;

/// Who did it: one client does one thing at a time.
pub type Client = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Read(Value),
    Write(Value),
    /// Read one value and wrote another, in one step.
    Update(Value, Value),
}

struct Register;

impl Specification for Register {
    type State = Value;
    type Operation = Operation;

    fn init() -> Value {
        None
    }

    fn apply(operation: &Operation, state: &Value) -> (bool, Value) {
        match *operation {
            Operation::Read(value) => (value == *state, *state),
            Operation::Write(value) => (true, value),
            Operation::Update(read, wrote) => (read == *state, wrote),
        }
    }
}

enum Event {
    Call(usize),
    Answer(usize),
}

#[derive(Clone, Copy)]
struct Op {
    client: Client,
    /// `None`: no part of the history (yet).
    did: Option<Operation>,
    /// The place of its write in the order in which writes took effect, if that is known.
    place: Option<u64>,
}

/// An operation as the check in a known order sees it: when it may take effect. A moment is the one after the event of that number.
struct Part {
    did: Operation,
    place: Option<u64>,
    from: usize,
    to: usize,
}

#[derive(Default)]
struct Noted {
    events: Vec<Event>,
    ops: Vec<Op>,
}

/// The history of one key. It begins with the key's first value, or none.
#[derive(Default)]
pub struct History(Mutex<Noted>);

/// A call that was noted, on its way to its answer. Dropped without one, it had no effect and gave no value.
#[must_use]
pub struct Begun<'a> {
    history: &'a History,
    op: usize,
}

impl History {
    /// A history that begins with `value`.
    #[must_use]
    pub fn beginning_with(value: Value) -> Self {
        let history = Self::default();
        history.begins(0).wrote(value);
        history
    }

    /// Notes that a client makes a call now.
    pub fn begins(&self, client: Client) -> Begun<'_> {
        let mut noted = self.0.lock();
        let op = noted.ops.len();
        noted.ops.push(Op { client, did: None, place: None });
        noted.events.push(Event::Call(op));
        Begun { history: self, op }
    }

    /// How many operations are part of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().ops.iter().filter(|op| op.did.is_some()).count()
    }

    /// Nothing has happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the operations could have happened one after the other, each between its call and its answer.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        let noted = self.0.lock();
        let mut actions = Vec::new();
        let mut open = vec![false; noted.ops.len()];
        for event in &noted.events {
            let (Event::Call(op) | Event::Answer(op)) = event;
            let Op { did: Some(did), .. } = noted.ops[*op] else { continue };
            // Each operation is a process of its own: one that never ends must not keep its client from others.
            match event {
                Event::Call(_) => actions.push((*op, Action::Call(did))),
                Event::Answer(_) => actions.push((*op, Action::Response(did))),
            }
            open[*op] = matches!(event, Event::Call(_));
        }
        for (op, _) in open.iter().enumerate().filter(|(_, open)| **open) {
            let did = noted.ops[op].did.expect("only parts of the history are open");
            actions.push((op, Action::Response(did)));
        }
        actions.is_empty() || WGLChecker::<Register>::is_linearizable(Actions::from_actions(actions))
    }

    /// The most operations that are open at one time: the search grows exponentially with it.
    #[must_use]
    pub fn most_open(&self) -> usize {
        let noted = self.0.lock();
        let parts = noted.parts();
        let open_at = |moment| parts.iter().filter(|part| part.from <= moment && moment <= part.to).count();
        parts.iter().map(|part| open_at(part.from)).max().unwrap_or(0)
    }

    /// Whether the operations could have happened one after the other, each between its call and its answer, with the writes in
    /// the order of their places ([`Begun::took_place`]). `None`: a write has none. (One that removes needs none: without, it found nothing to
    /// remove; nor does one that was not answered: without, it has had no effect.) Takes no more than polynomial time.
    ///
    /// The writes are put at their earliest moments. A read that saw a value needs a write that left it, and not another one
    /// before the read began: of those that come before the read's end, the last one keeps the writes after it from coming before the
    /// read's begin. That moves writes to later moments only, and each no later than in any order that holds; when
    /// nothing moves any more, the order holds or none does.
    #[must_use]
    pub fn holds_in_order(&self) -> Option<bool> {
        let (parts, never) = {
            let noted = self.0.lock();
            (noted.parts(), noted.events.len())
        };
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for part in &parts {
            match (part.did, part.place) {
                (Operation::Write(_), None) if part.to == never => {}
                (Operation::Read(value), _) | (Operation::Write(value @ None), None) => reads.push((value, part)),
                (Operation::Write(_) | Operation::Update(..), Some(place)) => writes.push((place, part)),
                (Operation::Write(_) | Operation::Update(..), None) => return None,
            }
        }
        writes.sort_unstable_by_key(|(place, _)| *place);
        // The values in their order, the first one before all writes; and the earliest moment of each.
        let (mut values, mut earliest) = (vec![None], vec![0]);
        for (_, part) in &writes {
            let before = *values.last().expect("there is a first one");
            let (holds, value) = Register::apply(&part.did, &before);
            if !holds {
                return Some(false);
            }
            values.push(value);
            earliest.push(part.from);
        }
        loop {
            let mut moved = false;
            for at in 1..earliest.len() {
                earliest[at] = earliest[at].max(earliest[at - 1]);
                if earliest[at] > writes[at - 1].1.to {
                    return Some(false);
                }
            }
            for (value, read) in &reads {
                let last = (0..values.len()).rev().find(|at| values[*at] == *value && earliest[*at] <= read.to);
                let Some(last) = last else { return Some(false) };
                if let Some(next) = earliest.get_mut(last + 1).filter(|next| **next < read.from) {
                    *next = read.from;
                    moved = true;
                }
            }
            if !moved {
                return Some(true);
            }
        }
    }

    fn ends(&self, op: usize, did: Operation, answered: bool) {
        let mut noted = self.0.lock();
        noted.ops[op].did = Some(did);
        if answered {
            noted.events.push(Event::Answer(op));
        }
    }
}

impl Noted {
    /// The operations that are part of the history.
    fn parts(&self) -> Vec<Part> {
        let part = |op: &Op| Some(Part { did: op.did?, place: op.place, from: 0, to: self.events.len() });
        let mut parts: Vec<Option<Part>> = self.ops.iter().map(part).collect();
        for (number, event) in self.events.iter().enumerate() {
            match event {
                Event::Call(op) => parts[*op].iter_mut().for_each(|part| part.from = number),
                Event::Answer(op) => parts[*op].iter_mut().for_each(|part| part.to = number - 1),
            }
        }
        parts.into_iter().flatten().collect()
    }
}

impl Begun<'_> {
    /// Its write took effect at this place in the order of all.
    pub fn took_place(&self, place: u64) {
        self.history.0.lock().ops[self.op].place = Some(place);
    }

    /// It read this.
    pub fn read(self, value: Value) {
        self.history.ends(self.op, Operation::Read(value), true);
    }

    /// It wrote this, and was told so.
    pub fn wrote(self, value: Value) {
        self.history.ends(self.op, Operation::Write(value), true);
    }

    /// It read one value and wrote another in one step, and was told so.
    pub fn updated(self, read: Value, wrote: Value) {
        self.history.ends(self.op, Operation::Update(read, wrote), true);
    }

    /// It may have written this, or may still; nobody knows.
    pub fn may_write(self, value: Value) {
        self.history.ends(self.op, Operation::Write(value), false);
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noted = self.0.lock();
        for event in &noted.events {
            let (Event::Call(op) | Event::Answer(op)) = event;
            let Op { client, did, .. } = &noted.ops[*op];
            let arrow = if matches!(event, Event::Call(_)) { ">" } else { "<" };
            match did {
                Some(did) => writeln!(f, "client {client} {arrow} #{op} {did:?}")?,
                None => writeln!(f, "client {client} {arrow} #{op} without effect")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_then_old_is_not_linearizable() {
        let history = History::beginning_with(Some(1));
        let write = history.begins(1);
        history.begins(2).read(Some(2));
        history.begins(2).read(Some(1));
        write.wrote(Some(2));
        assert!(!history.is_linearizable(), "{history}");
    }

    #[test]
    fn old_then_new_during_a_write_is() {
        let history = History::beginning_with(Some(1));
        let write = history.begins(1);
        history.begins(2).read(Some(1));
        history.begins(2).read(Some(2));
        write.wrote(Some(2));
        assert!(history.is_linearizable(), "{history}");
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_or_never_but_not_twice() {
        let history = History::beginning_with(Some(1));
        history.begins(1).may_write(Some(2));
        history.begins(2).read(Some(1));
        assert!(history.is_linearizable(), "{history}");
        history.begins(2).read(Some(2));
        assert!(history.is_linearizable(), "{history}");
        history.begins(2).read(Some(1));
        assert!(!history.is_linearizable(), "{history}");
    }

    #[test]
    fn a_refused_write_is_no_part_of_it() {
        let history = History::beginning_with(None);
        drop(history.begins(1));
        history.begins(2).read(None);
        assert_eq!(history.len(), 2);
        assert!(history.is_linearizable());
    }

    fn in_order(writes: &[(Value, u64)], reads: &[Value]) -> History {
        let history = History::default();
        let begun: Vec<_> = writes.iter().map(|_| history.begins(1)).collect();
        for (begun, (value, place)) in begun.into_iter().zip(writes) {
            begun.took_place(*place);
            begun.wrote(*value);
        }
        reads.iter().for_each(|value| history.begins(2).read(*value));
        history
    }

    #[test]
    fn in_a_known_order_the_last_write_is_what_is_read() {
        let writes = [(Some(1), 7), (Some(2), 9), (None, 8)];
        assert_eq!(in_order(&writes, &[Some(2)]).holds_in_order(), Some(true));
        for other in [Some(1), None] {
            let history = in_order(&writes, &[other]);
            assert!(history.is_linearizable(), "in some order: {history}");
            assert_eq!(history.holds_in_order(), Some(false), "{history}");
        }
    }

    #[test]
    fn in_a_known_order_a_write_is_not_before_its_call() {
        let history = History::beginning_with(Some(1));
        history.0.lock().ops[0].place = Some(1);
        let late = history.begins(1);
        let read = history.begins(2);
        let first = history.begins(3);
        late.took_place(3);
        first.took_place(2);
        // What was written last was read before the other write was called.
        read.read(Some(2));
        first.wrote(Some(3));
        late.wrote(Some(2));
        assert_eq!(history.holds_in_order(), Some(true), "{history}");
        let early = History::default();
        let (late, read) = (early.begins(1), early.begins(2));
        read.read(Some(2));
        let first = early.begins(3);
        late.took_place(3);
        first.took_place(2);
        first.wrote(Some(3));
        late.wrote(Some(2));
        assert_eq!(early.holds_in_order(), Some(false), "{early}");
        assert!(early.is_linearizable(), "in the other order: {early}");
    }

    #[test]
    fn in_a_known_order_a_value_that_comes_back_may_be_read_at_either_time() {
        let history = History::default();
        let writes = |place, value| {
            let begun = history.begins(1);
            begun.took_place(place);
            begun.wrote(value);
        };
        let first = history.begins(9);
        writes(1, Some(1));
        let second = history.begins(8);
        writes(2, None);
        second.read(None);
        assert_eq!(history.holds_in_order(), Some(true), "{history}");
        writes(3, Some(2));
        first.read(None);
        assert_eq!(history.holds_in_order(), Some(true), "{history}");
        history.begins(9).read(None);
        assert_eq!(history.holds_in_order(), Some(false), "{history}");
    }

    #[test]
    fn in_a_known_order_an_update_reads_what_the_write_before_it_left() {
        for (place, holds) in [(3, true), (1, false)] {
            let history = History::default();
            let (update, write) = (history.begins(1), history.begins(2));
            update.took_place(place);
            update.updated(Some(1), Some(2));
            write.took_place(2);
            write.wrote(Some(1));
            assert_eq!(history.holds_in_order(), Some(holds), "{history}");
        }
    }

    #[test]
    fn without_the_place_of_a_put_there_is_no_known_order() {
        let history = History::beginning_with(None);
        history.begins(1).wrote(None);
        assert_eq!(history.holds_in_order(), Some(true), "it found nothing to remove");
        history.begins(1).may_write(Some(1));
        assert_eq!(history.holds_in_order(), Some(true), "it has had no effect");
        history.begins(2).read(Some(1));
        assert_eq!(history.holds_in_order(), Some(false), "so nobody read it");
        history.begins(1).wrote(Some(1));
        assert_eq!(history.holds_in_order(), None);
    }

    #[test]
    fn the_check_in_a_known_order_agrees_with_the_search() {
        let mut dice = crate::Dice::new(7);
        let (mut holds, mut fails) = (0, 0);
        for _ in 0..3_000 {
            // The writes of two clients, one after the other in time or not; each order that they can have had is asked for.
            let history = History::default();
            let mut open: Vec<Begun<'_>> = Vec::new();
            let mut wrote = 0;
            for _ in 0..10 {
                if open.len() < 3 && dice.percent(60) {
                    open.push(history.begins(open.len()));
                } else if !open.is_empty() {
                    let begun = open.swap_remove(dice.index(open.len()));
                    if dice.percent(50) && wrote < 4 {
                        wrote += 1;
                        begun.wrote(Some(wrote));
                    } else {
                        begun.read(Some(dice.between(0, wrote)).filter(|value| *value > 0));
                    }
                }
            }
            drop(open);
            let puts: Vec<usize> = {
                let noted = history.0.lock();
                let is_put = |op: &usize| matches!(noted.ops[*op].did, Some(Operation::Write(_)));
                (0..noted.ops.len()).filter(is_put).collect()
            };
            let mut any = false;
            for order in orders(puts.len()) {
                for (put, place) in puts.iter().zip(&order) {
                    history.0.lock().ops[*put].place = Some(*place);
                }
                any |= history.holds_in_order().expect("all have places");
            }
            assert_eq!(any, history.is_linearizable(), "{history}");
            if any { holds += 1 } else { fails += 1 }
        }
        assert!(holds > 300 && fails > 300, "{holds} hold, {fails} do not");
    }

    /// All orders of so many.
    fn orders(count: usize) -> Vec<Vec<u64>> {
        if count == 0 {
            return vec![Vec::new()];
        }
        let last = count as u64;
        let shorter = orders(count - 1);
        let with =
            |order: &Vec<u64>| (0..count).map(|at| [&order[..at], &[last], &order[at..]].concat()).collect::<Vec<_>>();
        shorter.iter().flat_map(with).collect()
    }

    #[test]
    fn two_updates_of_the_same_value_lose_one() {
        let history = History::beginning_with(Some(1));
        history.begins(1).updated(Some(1), Some(2));
        history.begins(2).updated(Some(1), Some(3));
        assert!(!history.is_linearizable(), "{history}");
    }
}
