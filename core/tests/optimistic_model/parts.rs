//! Transactions: how one is made of its parts, and what has to come of it.
//!
//! Invariant: the calls of a course are those that come to the origin, in their order.

use wtcache::{Cache, Outcome, Step, StepDone, StepEnd, Transacted, Transaction, UndoEnd, Wrote};

use crate::act::Part;
use crate::common::Texts;
use crate::origin::{KEYS, Origin, Verdict};
use crate::reader::LONG;
use crate::run::{Checked, check};

/// A call that comes to the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToOrigin {
    pub(crate) key: usize,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Committed,
    RolledBack,
    Partial,
    InDoubt,
}

/// What becomes of a step, or of undoing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Came {
    NotRun,
    Applied,
    Rejected,
    Unknown,
    /// Something that does not come about here.
    Else,
}

impl Came {
    fn of(verdict: Verdict) -> Self {
        match verdict {
            verdict if verdict.applies() => Self::Applied,
            verdict if verdict.refuses() => Self::Rejected,
            _ => Self::Unknown,
        }
    }
}

/// How a transaction goes.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) calls: Vec<ToOrigin>,
    /// The step that stopped it, and whether that is unknown.
    pub(crate) stopped: Option<(usize, bool)>,
    /// Something was undone.
    pub(crate) is_undone: bool,
    end: End,
    steps: Vec<(Came, Came)>,
}

impl Course {
    pub(crate) fn of(parts: &[Part]) -> Self {
        let mut calls = Vec::new();
        let mut steps = vec![(Came::NotRun, Came::NotRun); parts.len()];
        let mut stopped = None;
        for (place, part) in parts.iter().enumerate() {
            calls.push(ToOrigin { key: part.key, verdict: part.verdict });
            steps[place].0 = Came::of(part.verdict);
            if steps[place].0 != Came::Applied {
                stopped = Some((place, steps[place].0 == Came::Unknown));
                break;
            }
        }
        let is_unknown = matches!(stopped, Some((_, true)));
        let (mut all_undone, mut is_undone) = (true, false);
        for (place, part) in parts.iter().enumerate().rev().filter(|_| stopped.is_some()) {
            if !matches!(steps[place].0, Came::Applied | Came::Unknown) {
                continue;
            }
            if let Some(verdict) = part.undo.filter(|_| !is_unknown || part.undo_unknown) {
                calls.push(ToOrigin { key: part.key, verdict });
                steps[place].1 = Came::of(verdict);
            }
            all_undone &= steps[place].1 == Came::Applied;
            is_undone |= steps[place].1 == Came::Applied;
        }
        let end = match stopped {
            None => End::Committed,
            Some((_, true)) => End::InDoubt,
            Some(_) if all_undone => End::RolledBack,
            Some(_) => End::Partial,
        };
        Self { calls, stopped, is_undone, end, steps }
    }

    pub(crate) fn check(&self, ended: &Transacted<Texts>) -> Checked {
        let end = match ended {
            Transacted::Committed(_) => End::Committed,
            Transacted::RolledBack(_) => End::RolledBack,
            Transacted::Partial(_) => End::Partial,
            _ => End::InDoubt,
        };
        let steps: Vec<(Came, Came)> = ended.steps().iter().map(came).collect();
        check!(end == self.end && steps == self.steps, "it ended as {ended:?}, and not as {self:?}");
        Ok(())
    }
}

fn came(end: &StepEnd<Texts>) -> (Came, Came) {
    let undone = |undo: &UndoEnd| match undo {
        UndoEnd::NotRun => Came::NotRun,
        UndoEnd::Applied => Came::Applied,
        UndoEnd::Rejected(_) => Came::Rejected,
        UndoEnd::Unknown(_) => Came::Unknown,
        _ => Came::Else,
    };
    match end {
        StepEnd::NotRun => (Came::NotRun, Came::NotRun),
        StepEnd::Applied { undo, .. } => (Came::Applied, undone(undo)),
        StepEnd::Rejected(_) => (Came::Rejected, Came::NotRun),
        StepEnd::Unknown { undo, .. } => (Came::Unknown, undone(undo)),
        _ => (Came::Else, Came::Else),
    }
}

pub(crate) fn transaction(
    cache: &Cache<String, String>,
    origin: &Origin,
    parts: &[Part],
    texts: &[String],
) -> Transaction<Texts> {
    let mut all = cache.transaction().deadline(LONG).undo_deadline(LONG);
    for (part, text) in parts.iter().zip(texts) {
        let (key, name) = (part.key, KEYS[part.key]);
        // All steps of a key are of one kind, so that the last of them says what is shown of it.
        let own = parts.iter().rfind(|other| other.key == key).is_some_and(|last| last.own);
        let is_only = parts.iter().filter(|other| other.key == key).count() == 1;
        let value = (!part.deletes).then(|| text.clone());
        let undone = (part.deletes || key == 0).then(|| format!("{text}undone."));
        let mut step = match (own, &value) {
            (true, _) => writes(origin, key, value.clone(), is_only).writes(name),
            (false, Some(value)) => Step::put(name, value.clone()),
            (false, None) => Step::delete(name),
        };
        if part.undo.is_some() {
            step = match (own, undone) {
                (true, undone) => {
                    let origin = origin.clone();
                    step.undo(move |_| write(&origin, key, undone, false))
                }
                (false, Some(undone)) => step.undo_put(name, undone),
                (false, None) => step.undo_delete(name),
            };
        }
        if part.undo_unknown {
            step = step.undo_if_unknown();
        }
        all = match (own, value) {
            (true, Some(value)) => all.update_for(name, value, origin.lifetime()),
            (true, None) => all.remove(name),
            (false, _) => all,
        };
        all = all.step(step);
    }
    all
}

/// A step of the program's own that writes a key.
fn writes(origin: &Origin, key: usize, value: Option<String>, as_sent: bool) -> Step<Texts> {
    let origin = origin.clone();
    Step::call(move |_| write(&origin, key, value, as_sent))
}

fn write(origin: &Origin, key: usize, value: Option<String>, as_sent: bool) -> Outcome<StepDone<Texts>> {
    let wrote = match &value {
        _ if as_sent => Wrote::AsSent,
        Some(value) => Wrote::Record(origin.record(value.clone())),
        None => Wrote::Deleted,
    };
    let done = |seen| if seen { StepDone::new().wrote(KEYS[key], wrote) } else { StepDone::new() };
    origin.write(key, value).map(done)
}
