//! What happened to one key, as its clients saw it, and whether it could have happened one after the other.
//!
//! Events are ordered by when they are noted: a call before it is made, an answer after it came. The check is the one of Wing and Gong with
//! Lowe's memory of configurations, by `todc-utils`. A write whose outcome nobody knows is open to the end: it may take effect at any
//! time after its call, and taking effect last of all is the same as never.
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
        noted.ops.push(Op { client, did: None });
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
            let Op { client: _, did: Some(did) } = noted.ops[*op] else { continue };
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

    fn ends(&self, op: usize, did: Operation, answered: bool) {
        let mut noted = self.0.lock();
        noted.ops[op].did = Some(did);
        if answered {
            noted.events.push(Event::Answer(op));
        }
    }
}

impl Begun<'_> {
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
            let Op { client, did } = &noted.ops[*op];
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

    #[test]
    fn two_updates_of_the_same_value_lose_one() {
        let history = History::beginning_with(Some(1));
        history.begins(1).updated(Some(1), Some(2));
        history.begins(2).updated(Some(1), Some(3));
        assert!(!history.is_linearizable(), "{history}");
    }
}
