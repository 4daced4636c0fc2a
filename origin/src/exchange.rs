//! The story of one exchange: from the first byte of a request to the last of its answer, with every fault at its moment.
//!
//! Owns: the order of things. Never: keeps state between exchanges. Invariant: the log is told before the world is.
//!
//! | moment              | what may strike                                                     |
//! | ------------------- | ------------------------------------------------------------------- |
//! | head read           | the rule is taken; reset-on-head                                    |
//! | request read        | logged; stray-reset; latency; gate BeforeApply; the kinds before apply |
//! | applied, or read    | logged; gate AfterApply; the kinds after apply                      |
//! | answering           | logged; the kinds that spoil a body or the connection               |

use std::time::Duration;

use crate::answer::Answer;
use crate::api::{self, Route};
use crate::control;
use crate::faults::FaultKind;
use crate::hold::{Go, When};
use crate::http::{Head, Method, Unread, Wire};
use crate::idempotency::key_of;
use crate::log::Entry;
use crate::server::Shared;

/// Whether the connection can carry another exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Then {
    Next,
    Close,
}

/// Reads one request and deals with it.
pub(crate) fn exchange(shared: &Shared, wire: &mut Wire, connection: u64) -> Then {
    let head = match wire.read_head() {
        Ok(head) => head,
        Err(Unread::Gone) => return Then::Close,
        Err(Unread::Refused(answer)) => return refuse(wire, &answer),
    };
    let route = Route::of(&head.target);
    if let Route::Control(path, query) = &route {
        return control(shared, wire, &head, path, query);
    }
    if let Route::Changes(query) = &route {
        return changes(shared, wire, &head, query);
    }
    let authorised = route == Route::Health || is_authorised(shared, &head);
    let fault = if authorised && route.is_items() { shared.faults.take(head.method, route.id()) } else { None };
    let mut entry = entry_of(&head, &route, connection);
    if fault == Some(FaultKind::ResetOnHead) {
        let seq = shared.log.arrive(entry);
        shared.log.complete(seq, None);
        wire.reset();
        return Then::Close;
    }
    let body = match wire.read_body(&head) {
        Ok(body) => body,
        Err(Unread::Gone) => return Then::Close,
        Err(Unread::Refused(answer)) => {
            let seq = shared.log.arrive(entry);
            shared.log.complete(seq, Some(answer.status()));
            return refuse(wire, &answer);
        }
    };
    entry.body = head.method.is_write().then(|| String::from_utf8_lossy(&body).into_owned());
    // Before the arrival shows: who sees it and then changes a setting or releases the hangs must find this request on the
    // earlier side.
    let latency = shared.settings().latency;
    let release = shared.holds.release();
    let seq = shared.log.arrive(entry);
    let mut exchange = Exchange { latency, release, shared, wire, head: &head, route: &route, fault, seq };
    if !authorised {
        exchange.send(unauthorised())
    } else if !route.is_items() {
        let answer = api::answer(shared, &route, &head, &body, seq);
        exchange.send(answer)
    } else {
        match exchange.item(&body) {
            Ok(answer) => exchange.send(answer),
            Err(then) => then,
        }
    }
}

/// An exchange whose request was read and logged.
struct Exchange<'a> {
    shared: &'a Shared,
    wire: &'a mut Wire,
    head: &'a Head,
    route: &'a Route,
    fault: Option<FaultKind>,
    latency: Duration,
    /// The last release of hangs before this request.
    release: u64,
    seq: u64,
}

impl Exchange<'_> {
    /// A request under `/items`, up to its answer. Err: it ended without one.
    fn item(&mut self, body: &[u8]) -> Result<Answer, Then> {
        if matches!(self.fault, Some(FaultKind::StrayReset(_))) {
            self.wire.reset();
        }
        self.go_on(self.shared.holds.pause(self.latency))?;
        if let Some(FaultKind::StrayReset(wait) | FaultKind::StrayHang(wait)) = self.fault {
            self.go_on(self.shared.holds.pause(wait))?;
        }
        self.gate(When::BeforeApply)?;
        if let Some(answer) = self.strike_before()? {
            return Ok(answer);
        }
        let answer = api::answer(self.shared, self.route, self.head, body, self.seq);
        self.gate(When::AfterApply)?;
        self.strike_after(answer)
    }

    fn gate(&mut self, when: When) -> Result<(), Then> {
        self.go_on(self.shared.holds.pass(self.head.method, self.route.id(), when))
    }

    /// The faults before apply. An answer: this is it, and nothing is applied.
    fn strike_before(&mut self) -> Result<Option<Answer>, Then> {
        match self.fault.clone() {
            Some(FaultKind::DelayBeforeApply(wait)) => self.go_on(self.shared.holds.pause(wait))?,
            Some(FaultKind::Answer(answer)) => return Ok(Some(answer)),
            Some(FaultKind::ResetBeforeApply) => return Err(self.reset()),
            Some(FaultKind::CloseBeforeApply) => return Err(self.close()),
            Some(FaultKind::HangBeforeApply) => return Err(self.hang()),
            _ => {}
        }
        Ok(None)
    }

    /// The faults between apply and answer.
    fn strike_after(&mut self, answer: Answer) -> Result<Answer, Then> {
        match self.fault.clone() {
            Some(FaultKind::DelayAfterApply(wait)) => self.go_on(self.shared.holds.pause(wait))?,
            Some(FaultKind::ApplyThenAnswer(instead)) => return Ok(instead),
            Some(FaultKind::ResetAfterApply) => return Err(self.reset()),
            // The stray's connection was reset before: nothing is left to close.
            Some(FaultKind::CloseAfterApply | FaultKind::StrayReset(_)) => return Err(self.close()),
            Some(FaultKind::HangAfterApply | FaultKind::StrayHang(_)) => return Err(self.hang()),
            Some(
                FaultKind::TruncatedBody
                | FaultKind::SlowBody(_)
                | FaultKind::BrokenChunked
                | FaultKind::OversizeBody(_),
            ) => return Ok(answer.with_room_for_body()),
            _ => {}
        }
        Ok(answer)
    }

    /// Answers, in the way the fault has it.
    fn send(&mut self, answer: Answer) -> Then {
        let head_only = self.head.method == Method::Head;
        let close = !self.head.keep_alive || self.fault == Some(FaultKind::CloseAfterAnswerAnnounced);
        self.shared.log.complete(self.seq, Some(answer.status()));
        let (written, then) = match self.fault {
            Some(FaultKind::TruncatedBody) if !head_only => (answer.write_truncated(self.wire), Then::Close),
            Some(FaultKind::BrokenChunked) if !head_only => (answer.write_broken_chunked(self.wire), Then::Close),
            Some(FaultKind::SlowBody(wait)) if !head_only => {
                let pause = || self.shared.holds.pause(wait) == Go::On;
                (answer.write_slowly(self.wire, close, pause), Then::Next)
            }
            Some(FaultKind::OversizeBody(bytes)) if !head_only => {
                (answer.write_oversize(self.wire, bytes, close), Then::Next)
            }
            Some(FaultKind::CloseAfterAnswer) => (answer.write(self.wire, head_only, close), Then::Close),
            _ => (answer.write(self.wire, head_only, close), Then::Next),
        };
        if written.is_err() {
            self.shared.log.unanswered(self.seq);
            return Then::Close;
        }
        if close { Then::Close } else { then }
    }

    fn reset(&mut self) -> Then {
        self.shared.log.complete(self.seq, None);
        self.wire.reset();
        Then::Close
    }

    fn close(&mut self) -> Then {
        self.shared.log.complete(self.seq, None);
        Then::Close
    }

    fn hang(&mut self) -> Then {
        self.shared.holds.hang(self.wire, self.release);
        self.close()
    }

    fn go_on(&mut self, go: Go) -> Result<(), Then> {
        match go {
            Go::On => Ok(()),
            Go::Stopped => Err(self.close()),
        }
    }
}

/// A control request: answered, but neither logged nor struck.
fn control(shared: &Shared, wire: &mut Wire, head: &Head, path: &str, query: &str) -> Then {
    let body = match wire.read_body(head) {
        Ok(body) => body,
        Err(Unread::Gone) => return Then::Close,
        Err(Unread::Refused(answer)) => return refuse(wire, &answer),
    };
    let answer = if is_authorised(shared, head) {
        control::answer(shared, head.method, path, query, &body)
    } else {
        unauthorised()
    };
    let written = answer.write(wire, head.method == Method::Head, !head.keep_alive);
    if written.is_ok() && head.keep_alive { Then::Next } else { Then::Close }
}

/// The feed: neither logged nor struck.
fn changes(shared: &Shared, wire: &mut Wire, head: &Head, query: &str) -> Then {
    match wire.read_body(head) {
        Ok(_) if is_authorised(shared, head) => {
            let heartbeat = shared.options.feed_heartbeat;
            if shared.records.changes().answer(wire, head, query, heartbeat) { Then::Next } else { Then::Close }
        }
        Ok(_) => {
            let written = unauthorised().write(wire, head.method == Method::Head, !head.keep_alive);
            if written.is_ok() && head.keep_alive { Then::Next } else { Then::Close }
        }
        Err(Unread::Gone) => Then::Close,
        Err(Unread::Refused(answer)) => refuse(wire, &answer),
    }
}

/// Answers bytes that are no request one can go on from.
fn refuse(wire: &mut Wire, answer: &Answer) -> Then {
    if answer.write(wire, false, true).is_ok() {
        wire.close_gently();
    }
    Then::Close
}

fn entry_of(head: &Head, route: &Route, connection: u64) -> Entry {
    let mut entry = Entry::new(head.method, head.target.clone(), connection);
    entry.id = route.id().map(str::to_owned);
    entry.authorization = head.header("authorization");
    entry.if_match = head.header("if-match");
    entry.if_none_match = head.header("if-none-match");
    entry.idempotency_key = key_of(head);
    entry
}

fn is_authorised(shared: &Shared, head: &Head) -> bool {
    let Some(key) = shared.settings().api_key.clone() else {
        return true;
    };
    let authorization = head.header("authorization").unwrap_or_default();
    authorization
        .split_once(' ')
        .is_some_and(|(scheme, given)| scheme.eq_ignore_ascii_case("bearer") && given.trim() == key)
}

fn unauthorised() -> Answer {
    Answer::error(401, "the API key is missing or wrong").header("WWW-Authenticate", "Bearer realm=\"inventory\"")
}
