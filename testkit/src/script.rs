//! A source that does what a script says, over a truth in memory.
//!
//! What is not scripted is done well: loads read the truth, writes apply and are confirmed with their record, conditions
//! are checked, and where the script declares to honour idempotency keys, it does. Invariants: a call is in the log from the moment it
//! begins; a version is never given twice.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wtcache::{
    Condition, Confirmed, Declared, Failure, Lifetime, LoadCx, Loaded, Outcome, Record, Rejection, Source, SourceError,
    Version, WriteCx,
};

use crate::calls::{Does, Op, Plain, Seen, When};
use crate::gate::{Gate, Held};

/// A scripted source. Clones are the same source.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    declared: Declared,
    truth: HashMap<String, (String, u64)>,
    versions: u64,
    log: Vec<Seen>,
    script: HashMap<(Op, String), VecDeque<Does>>,
    gates: Vec<(Op, String, When, Arc<Held>)>,
    strays: Vec<Write>,
    /// What became of writes, by idempotency key, where those are honoured: the version of the record, or `None` for a refusal.
    remembered: HashMap<String, Option<Option<u64>>>,
}

#[derive(Clone)]
struct Write {
    key: String,
    idempotency_key: String,
    /// `None` is a delete.
    value: Option<String>,
    condition: Option<Condition>,
}

impl State {
    /// The version of the record that it left; `None` if it was not applied. A write that was answered before is answered alike.
    fn answer(&mut self, write: &Write) -> Option<Option<u64>> {
        if let Some(answer) = self.remembered.get(&write.idempotency_key) {
            return *answer;
        }
        let applied = self.apply(write);
        let answer = applied.then(|| self.truth.get(&write.key).map(|(_, version)| *version));
        self.remember(write, answer);
        answer
    }

    fn remember(&mut self, write: &Write, answer: Option<Option<u64>>) {
        if self.declared.honours_idempotency {
            self.remembered.insert(write.idempotency_key.clone(), answer);
        }
    }

    fn apply(&mut self, write: &Write) -> bool {
        let now = self.truth.get(&write.key).map(|(_, version)| version_of(*version));
        let holds = match &write.condition {
            None => true,
            Some(Condition::Version(version)) => now.as_ref() == Some(version),
            Some(Condition::Absent) => now.is_none(),
            Some(Condition::Exists) => now.is_some(),
            Some(other) => panic!("a condition that the script does not know: {other:?}"),
        };
        if holds {
            self.set(&write.key, write.value.as_deref());
        }
        holds
    }

    fn set(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => {
                self.versions += 1;
                self.truth.insert(key.to_owned(), (value.to_owned(), self.versions));
            }
            None => drop(self.truth.remove(key)),
        }
    }
}

fn version_of(number: u64) -> Version {
    Version::new(format!("v{number}")).expect("a short version")
}

fn error(failure: Failure, message: &str) -> SourceError {
    SourceError::new(failure, message)
}

impl Script {
    /// A source with an empty truth that declares nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes what the source declares; before a cache is built on it.
    pub fn declare(&self, change: impl FnOnce(&mut Declared)) {
        change(&mut self.0.lock().declared);
    }

    /// The origin's record of `key` now.
    #[must_use]
    pub fn truth(&self, key: &str) -> Option<String> {
        self.0.lock().truth.get(key).map(|(value, _)| value.clone())
    }

    /// An outside writer puts `value`.
    pub fn set(&self, key: &str, value: &str) {
        self.0.lock().set(key, Some(value));
    }

    /// An outside writer deletes `key`.
    pub fn remove(&self, key: &str) {
        self.0.lock().set(key, None);
    }

    /// The next unscripted call of `op` on `key` does this; several go in order.
    pub fn next(&self, op: Op, key: &str, does: Does) {
        self.0.lock().script.entry((op, key.to_owned())).or_default().push_back(does);
    }

    /// Holds the next call of `op` on `key` that no other gate of that kind holds.
    pub fn hold(&self, op: Op, key: &str, when: When) -> Gate {
        let (gate, held) = Gate::new();
        self.0.lock().gates.push((op, key.to_owned(), when, held));
        gate
    }

    /// Applies the strays, oldest first, where their conditions hold and they were not answered before. Gives how many were
    /// applied.
    pub fn land(&self) -> usize {
        let mut state = self.0.lock();
        let strays = mem::take(&mut state.strays);
        let is_new = |state: &State, stray: &Write| !state.remembered.contains_key(&stray.idempotency_key);
        strays.iter().filter(|stray| is_new(&state, stray) && state.answer(stray).is_some()).count()
    }

    /// All calls so far.
    #[must_use]
    pub fn log(&self) -> Vec<Seen> {
        self.0.lock().log.clone()
    }

    /// How many calls of `op` on `key` began.
    #[must_use]
    pub fn calls(&self, op: Op, key: &str) -> usize {
        self.0.lock().log.iter().filter(|seen| seen.op == op && seen.key == key).count()
    }

    /// The values that were put under `key` and applied by their calls, in the order in which the calls began.
    #[must_use]
    pub fn applied(&self, key: &str) -> Vec<String> {
        let applied = |seen: &&Seen| seen.key == key && seen.applied;
        self.0.lock().log.iter().filter(applied).filter_map(|seen| seen.value.clone()).collect()
    }

    /// Logs the call, and takes what it does.
    fn begin(&self, seen: Seen) -> Doing {
        let mut state = self.0.lock();
        let (op, key) = (seen.op, seen.key.clone());
        let index = state.log.len();
        state.log.push(seen);
        let does = state.script.get_mut(&(op, key.clone())).and_then(VecDeque::pop_front).unwrap_or(Does::Well);
        let mut gate = |at: When| {
            let found = state.gates.iter().position(|(o, k, when, _)| *o == op && *k == key && *when == at)?;
            Some(state.gates.remove(found).3)
        };
        let (before, after) = (gate(When::Before), gate(When::After));
        Doing { index, does, before, after }
    }

    fn write<L: Plain>(&self, op: Op, write: Write, cx: &WriteCx<'_, L>) -> Outcome<Confirmed<L::Value>> {
        let doing = self.begin(Seen {
            op,
            key: write.key.clone(),
            value: write.value.clone(),
            applied: false,
            remaining: cx.remaining(),
            condition: write.condition.clone(),
            idempotency_key: Some(write.idempotency_key.clone()),
            replaced: version_text(cx.replaced().and_then(|entry| entry.version())),
            existing: None,
        });
        doing.pass_before();
        let mut does = doing.does;
        if let Does::AfterStray(then) = does {
            cx.leaves_stray();
            self.0.lock().strays.push(write.clone());
            does = *then;
        }
        match does {
            Does::Run(work) => {
                work();
                does = Does::Well;
            }
            Does::AskExisting => {
                let existing = cx.existing().expect("the script's loads of it do well");
                self.0.lock().log[doing.index].existing = Some(existing.map(|entry| L::text(entry.value())));
                does = Does::Well;
            }
            _ => {}
        }
        let mut state = self.0.lock();
        let answer = match does {
            Does::Reject | Does::RejectStale => {
                state.remember(&write, None);
                None
            }
            Does::Stray => {
                state.strays.push(write.clone());
                None
            }
            Does::Throttle | Does::Unknown | Does::Panic => None,
            _ => state.answer(&write),
        };
        state.log[doing.index].applied = answer.is_some();
        drop(state);
        if let Some(gate) = doing.after {
            gate.pass();
        }
        let refused = |rejection: Rejection| Outcome::Rejected(rejection.of_all_sends());
        let version = answer.flatten().map(version_of);
        match does {
            Does::Reject => refused(Rejection::new(error(Failure::Refused, "refused").with_code(422))),
            Does::RejectStale => refused(Rejection::stale(error(Failure::Refused, "conflict").with_code(409))),
            Does::Throttle => Outcome::Rejected(Rejection::new(
                error(Failure::Refused, "busy").with_code(429).with_retry_after(Duration::from_secs(1)),
            )),
            Does::Unknown | Does::ApplyThenUnknown | Does::Stray => Outcome::Unknown(error(Failure::Broken, "unknown")),
            Does::Panic => panic!("scripted"),
            _ if answer.is_none() => refused(Rejection::stale(error(Failure::Refused, "the condition does not hold"))),
            Does::Unseen => Outcome::Applied(Confirmed::Unseen),
            Does::AsSent => Outcome::Applied(Confirmed::AsSent { version, lifetime: Lifetime::Default }),
            Does::For(lifetime) => confirmed::<L>(&write, version, lifetime),
            _ => confirmed::<L>(&write, version, Lifetime::Default),
        }
    }
}

fn confirmed<L: Plain>(write: &Write, version: Option<Version>, lifetime: Lifetime) -> Outcome<Confirmed<L::Value>> {
    let Some(value) = &write.value else { return Outcome::Applied(Confirmed::Unseen) };
    Outcome::Applied(Confirmed::Record(record::<L>(value, version, lifetime)))
}

fn record<L: Plain>(value: &str, version: Option<Version>, lifetime: Lifetime) -> Record<L::Value> {
    let record = Record::new(L::value_of(value)).lifetime(lifetime);
    match version {
        Some(version) => record.version(version),
        None => record,
    }
}

fn version_text(version: Option<&[u8]>) -> Option<String> {
    version.map(|version| String::from_utf8_lossy(version).into_owned())
}

/// A call that has begun.
struct Doing {
    index: usize,
    does: Does,
    before: Option<Arc<Held>>,
    after: Option<Arc<Held>>,
}

impl Doing {
    fn pass_before(&self) {
        if let Some(gate) = &self.before {
            gate.pass();
        }
    }
}

impl<L: Plain> Source<L> for Script {
    fn get(&self, key: &L::Key, cx: &LoadCx<'_, L>) -> Result<Loaded<L::Value>, SourceError> {
        let key = L::key_text(key);
        let doing = self.begin(Seen {
            op: Op::Get,
            key: key.clone(),
            value: None,
            applied: false,
            remaining: cx.remaining(),
            condition: None,
            idempotency_key: None,
            replaced: version_text(cx.replaced().and_then(|entry| entry.version())),
            existing: None,
        });
        doing.pass_before();
        let mut does = doing.does;
        if let Does::Run(work) = does {
            work();
            does = Does::Well;
        }
        let truth = self.0.lock().truth.get(&key).cloned();
        if let Some(gate) = doing.after {
            gate.pass();
        }
        let lifetime = match does {
            Does::Fail => return Err(error(Failure::Failed, "the load failed").with_code(500)),
            Does::Panic => panic!("scripted"),
            Does::Absent => return Ok(Loaded::Absent),
            Does::Unchanged => return Ok(Loaded::Unchanged(Lifetime::Default)),
            Does::For(lifetime) => lifetime,
            _ => Lifetime::Default,
        };
        Ok(match truth {
            Some((value, version)) => Loaded::Found(record::<L>(&value, Some(version_of(version)), lifetime)),
            None => Loaded::Absent,
        })
    }

    fn put(&self, key: &L::Key, value: &L::View, cx: &WriteCx<'_, L>) -> Outcome<Confirmed<L::Value>> {
        let (key, value) = (L::key_text(key), Some(L::text(value)));
        self.write(
            Op::Put,
            Write { key, idempotency_key: cx.idempotency_key().to_string(), value, condition: cx.condition().cloned() },
            cx,
        )
    }

    fn delete(&self, key: &L::Key, cx: &WriteCx<'_, L>) -> Outcome<()> {
        let key = L::key_text(key);
        match self.write(
            Op::Delete,
            Write {
                key,
                idempotency_key: cx.idempotency_key().to_string(),
                value: None,
                condition: cx.condition().cloned(),
            },
            cx,
        ) {
            Outcome::Applied(_) => Outcome::Applied(()),
            Outcome::Rejected(rejection) => Outcome::Rejected(rejection),
            Outcome::Unknown(error) => Outcome::Unknown(error),
        }
    }

    fn declared(&self) -> Declared {
        self.0.lock().declared.clone()
    }
}
