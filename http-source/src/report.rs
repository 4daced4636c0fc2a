//! What is told to whoever listens by `tracing`: a span for each call, events within.
//!
//! Invariant: neither a key, nor a path, query or header of a request is in any of it.

use std::time::Duration;

use tracing::field::Empty;
use tracing::{Span, debug, debug_span, error, info, warn};
use wtcache::{Loaded, Outcome, SourceError};

use crate::trace::TraceContext;

fn span(origin: &str, method: &str) -> Span {
    let span = debug_span!(
        "origin",
        origin,
        method,
        keys = Empty,
        attempts = Empty,
        outcome = Empty,
        status = Empty,
        trace_id = Empty
    );
    if !span.is_disabled()
        && let Some(context) = TraceContext::current()
    {
        span.record("trace_id", context.trace_id());
    }
    span
}

fn ended(span: &Span, outcome: &str, error: Option<&SourceError>) {
    span.record("outcome", outcome);
    if let Some(status) = error.and_then(SourceError::code) {
        span.record("status", status);
    }
}

/// A load, in a span.
pub(crate) fn load(
    origin: &str,
    call: impl FnOnce() -> Result<Loaded<Vec<u8>>, SourceError>,
) -> Result<Loaded<Vec<u8>>, SourceError> {
    let span = span(origin, "GET");
    let loaded = span.in_scope(call);
    match &loaded {
        Ok(Loaded::Found(_)) => ended(&span, "found", None),
        Ok(Loaded::Absent | Loaded::AbsentFor(_)) => ended(&span, "absent", None),
        Ok(Loaded::Unchanged(_)) => ended(&span, "unchanged", None),
        Err(error) => ended(&span, "failed", Some(error)),
    }
    loaded
}

/// A list, in a span: one that is asked for by a query, or that of so many keys.
pub(crate) fn list<T>(
    origin: &str,
    keys: Option<usize>,
    call: impl FnOnce() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let span = span(origin, "GET");
    if let Some(keys) = keys {
        span.record("keys", keys);
    }
    let listed = span.in_scope(call);
    match &listed {
        Ok(_) => ended(&span, "listed", None),
        Err(error) => ended(&span, "failed", Some(error)),
    }
    listed
}

/// A write, in a span.
pub(crate) fn write<T>(origin: &str, method: &str, call: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let span = span(origin, method);
    let outcome = span.in_scope(call);
    match &outcome {
        Outcome::Applied(_) => ended(&span, "applied", None),
        Outcome::Rejected(rejection) => ended(&span, "rejected", Some(&rejection.error)),
        Outcome::Unknown(error) => ended(&span, "unknown", Some(error)),
    }
    outcome
}

/// The attempt of this number, from 1, begins within the innermost call.
pub(crate) fn attempt(number: u32) {
    let span = Span::current();
    // Where ours is not listened to, it is the program's.
    if span.metadata().is_some_and(|metadata| metadata.target() == module_path!()) {
        span.record("attempts", number);
    }
}

/// The next attempt follows the one of this number after this pause.
pub(crate) fn retry(after: u32, pause: Duration) {
    debug!(after, pause_ms = pause.as_millis() as u64, "the call is attempted again");
}

/// Another attempt was due, and the budget has none left.
pub(crate) fn over_budget() {
    debug!("the call is not attempted again: the budget for retries is spent");
}

/// The credentials in files became others.
pub(crate) fn renewed(origin: &str) {
    info!(name: "credentials_renewed", origin, "the origin answered 401, and the credentials are others now: they are taken up");
}

/// The breaker opened, after this many failures of so many attempts.
pub(crate) fn opened(origin: &str, failures: u64, attempts: u64) {
    warn!(name: "breaker_opened", origin, failures, attempts, "the origin fails too often: it is left alone for a while");
}

/// A probe failed.
pub(crate) fn still_open(origin: &str) {
    debug!(name: "breaker_probe_failed", origin, "the origin fails still: it is left alone for a while longer");
}

/// A probe was answered.
pub(crate) fn closed(origin: &str) {
    info!(name: "breaker_closed", origin, "the origin answers again");
}

/// A subscription cannot read what the origin tells any more.
pub(crate) fn cut_off(origin: &str, why: &str) {
    warn!(name: "feed_cut_off", origin, why, "the origin does not tell of its changes");
}

/// It can, for the first time or again.
pub(crate) fn live(origin: &str) {
    info!(name: "feed_live", origin, "the origin tells of its changes");
}

/// The thread of a subscription panicked, and goes on.
pub(crate) fn feed_panicked(origin: &str) {
    error!(origin, "a panic while the origin's changes were read or applied: all that was held is forgotten");
}
