//! How a transaction ended, in the words of an answer: an outcome for the whole, and one for each update.
//!
//! Invariant: 200 is Committed and nothing else is; an update that is said to be rejected, or not run, was certainly not applied.

use std::sync::PoisonError;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use wtcache::{Bytes, Entry, Report, StepEnd, StepValue, Transacted, UndoEnd, WriteError};

use super::Named;
use crate::answer::{self, Answer};
use crate::etag;
use crate::problem::{self, OUTCOME, Outcome, Problem, SETTLES_IN};

pub(super) fn answer(named: &[Named], ended: Transacted<Bytes>) -> Answer {
    let (response, what) = match ended {
        Transacted::Committed(steps) => (committed(named, &steps), "committed"),
        Transacted::RolledBack(Report { cause, steps, .. }) => {
            (stopped(named, &steps, Outcome::RolledBack, || problem::in_words(&cause)).response(), "rolled back")
        }
        Transacted::Partial(Report { cause, steps, .. }) => {
            let problem = stopped(named, &steps, Outcome::Partial, || problem::in_words(&cause));
            // The refusal alone would say that nothing was done.
            (problem.status(StatusCode::BAD_GATEWAY).response(), "partial")
        }
        Transacted::InDoubt { cause, steps, doubts, .. } => {
            let problem = stopped(named, &steps, Outcome::InDoubt, || problem::unknown(&cause));
            let settles = doubts.iter().map(|doubt| doubt.settles_in().as_millis()).max();
            let problem = match settles {
                Some(millis) => problem.and(SETTLES_IN, u64::try_from(millis).unwrap_or(u64::MAX).into()),
                None => problem,
            };
            (problem.response(), "in doubt")
        }
        _ => (Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it ended in an unknown way").response(), "in doubt"),
    };
    Answer::new(response, HeaderValue::from_static("wtcache; fwd=method"), what)
}

fn committed(named: &[Named], steps: &[StepEnd<Bytes>]) -> Response<Body> {
    let updates: Vec<Value> = named.iter().zip(steps).map(|(named, end)| told(named, end, false).0).collect();
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
        updates.push(update);
        why = why.or(problem);
    }
    let why = why.unwrap_or_else(otherwise);
    why.of_several().outcome(outcome).and("updates", updates.into())
}

/// What came of an update, and the problem that it met.
fn told(named: &Named, end: &StepEnd<Bytes>, stopped: bool) -> (Value, Option<Problem>) {
    let mut told = Map::new();
    told.insert("table".to_owned(), named.table.as_str().into());
    told.insert("key".to_owned(), named.key.as_str().into());
    let words = || named.words.lock().unwrap_or_else(PoisonError::into_inner).take();
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
    (Value::Object(told), problem)
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
