//! How a transaction ended, in the words of an answer: an outcome for the whole, and one for each update.
//!
//! Invariant: 200 is Committed and nothing else is; an update that is said to be rejected, or not run, was certainly not applied.

use std::sync::PoisonError;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use wtcache::{Bytes, Entry, InDoubt, Report, StepEnd, StepValue, Transacted, UndoEnd, WriteError};

use super::Named;
use crate::answer::{self, Answer};
use crate::etag;
use crate::pending::Told;
use crate::problem::{self, OUTCOME, Outcome, Problem, SETTLES_IN};

/// The plain answer.
pub(super) fn answer(named: &[Named], ended: &Transacted<Bytes>) -> Answer {
    let (response, what) = match ended {
        Transacted::Committed(steps) => (committed(named, steps), "committed"),
        other => {
            let (problem, state, _) = not_committed(named, other);
            (problem.response(), state)
        }
    };
    let what = match what {
        "rolled-back" => "rolled back",
        "in-doubt" => "in doubt",
        what => what,
    };
    Answer::new(response, HeaderValue::from_static("wtcache; fwd=method"), what)
}

/// The same for who asks later, without the records.
pub(super) fn later(named: &[Named], ended: &Transacted<Bytes>) -> Told {
    if let Transacted::Committed(steps) = ended {
        let updates: Vec<Value> = updates(named, steps)
            .map(|mut update| {
                update.remove("record");
                Value::Object(update)
            })
            .collect();
        let members = [("status", 200.into()), ("outcome", "committed".into()), ("updates", Value::from(updates))];
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        return Told { state: "settled", members, settles_in: None };
    }
    let (problem, state, settles_in) = not_committed(named, ended);
    Told { state, members: problem.members().collect(), settles_in }
}

/// What is told of one that was not committed: as what it ended, and how long its doubts last.
fn not_committed(named: &[Named], ended: &Transacted<Bytes>) -> (Problem, &'static str, Option<Duration>) {
    match ended {
        Transacted::RolledBack(Report { cause, steps, .. }) => {
            (stopped(named, steps, Outcome::RolledBack, || problem::in_words(cause)), "rolled-back", None)
        }
        Transacted::Partial(Report { cause, steps, .. }) => {
            let problem = stopped(named, steps, Outcome::Partial, || problem::in_words(cause));
            // The refusal alone would say that nothing was done.
            (problem.status(StatusCode::BAD_GATEWAY), "partial", None)
        }
        Transacted::InDoubt { cause, steps, doubts, .. } => {
            let problem = stopped(named, steps, Outcome::InDoubt, || problem::unknown(cause));
            let settles_in = doubts.iter().map(InDoubt::settles_in).max();
            let problem = match settles_in {
                Some(left) => {
                    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                    problem.and(SETTLES_IN, millis.into())
                }
                None => problem,
            };
            (problem, "in-doubt", settles_in)
        }
        _ => {
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it ended in an unknown way");
            (problem.outcome(Outcome::InDoubt), "in-doubt", None)
        }
    }
}

/// What came of each update of a transaction that was committed.
fn updates(named: &[Named], steps: &[StepEnd<Bytes>]) -> impl Iterator<Item = Map<String, Value>> {
    named.iter().zip(steps).map(|(named, end)| told(named, end, false).0)
}

fn committed(named: &[Named], steps: &[StepEnd<Bytes>]) -> Response<Body> {
    let updates: Vec<Value> = updates(named, steps).map(Value::Object).collect();
    let body = json!({ "outcome": "committed", "updates": updates });
    let mut response = answer::json(body.to_string().into_bytes());
    response.headers_mut().insert(OUTCOME, HeaderValue::from_static("committed"));
    response
}

/// The problem of what stopped it, with all that came of the updates.
fn stopped(
    named: &[Named],
    steps: &[StepEnd<Bytes>],
    outcome: Outcome,
    otherwise: impl FnOnce() -> Problem,
) -> Problem {
    let mut why = None;
    let mut updates = Vec::with_capacity(named.len());
    for (number, named) in named.iter().enumerate() {
        let (update, problem) = told(named, steps.get(number).unwrap_or(&StepEnd::NotRun), true);
        updates.push(Value::Object(update));
        why = why.or(problem);
    }
    let why = why.unwrap_or_else(otherwise);
    why.of_several().outcome(outcome).and("updates", updates.into())
}

/// What came of an update, and the problem that it met.
fn told(named: &Named, end: &StepEnd<Bytes>, stopped: bool) -> (Map<String, Value>, Option<Problem>) {
    let mut told = Map::new();
    told.insert("table".to_owned(), named.table.as_str().into());
    told.insert("key".to_owned(), named.key.as_str().into());
    let words = || named.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (problem, undo) = match end {
        StepEnd::Applied { value, undo } => {
            told.insert("outcome".to_owned(), "applied".into());
            if !stopped && let Some(entry) = entry(value) {
                told.insert("etag".to_owned(), String::from_utf8_lossy(etag::of(entry).as_bytes()).into());
                if let Ok(record) = serde_json::from_slice::<Value>(entry.value()) {
                    told.insert("record".to_owned(), record);
                }
            }
            (None, stopped.then_some(undo))
        }
        StepEnd::Rejected(rejection) => {
            let own = || problem::in_words(&WriteError::Rejected(rejection.clone()));
            (Some(words().unwrap_or_else(own)), None)
        }
        StepEnd::NotSent(why) => (Some(problem::in_words(&WriteError::NotSent(why.clone()))), None),
        StepEnd::Unknown { cause, undo } => (Some(words().unwrap_or_else(|| problem::unknown(cause))), Some(undo)),
        _ => {
            told.insert("outcome".to_owned(), "not-run".into());
            (None, None)
        }
    };
    if let Some(problem) = &problem {
        told.extend(problem.members());
    }
    if let Some(undo) = undo {
        let (word, why) = match undo {
            UndoEnd::NotRun => ("not-run", None),
            UndoEnd::Applied => ("applied", None),
            UndoEnd::Rejected(rejection) => ("rejected", Some(rejection.error.to_string())),
            UndoEnd::NotSent(why) => ("rejected", Some(why.to_string())),
            UndoEnd::Unknown(cause) => ("in-doubt", Some(cause.to_string())),
            _ => ("in-doubt", None),
        };
        told.insert("undo".to_owned(), word.into());
        if let Some(why) = why {
            told.insert("undo_detail".to_owned(), why.into());
        }
    }
    (told, problem)
}

/// The record that a step left.
fn entry(value: &StepValue<Bytes>) -> Option<&Entry<Bytes>> {
    match value {
        StepValue::Entry(entry) => Some(entry),
        // Of another table: see `step_elsewhere`.
        StepValue::Value(value) => value.downcast_ref::<Option<Entry<Bytes>>>()?.as_ref(),
        _ => None,
    }
}
