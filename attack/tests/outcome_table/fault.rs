//! What goes wrong, by the words of the table's first column.
//!
//! Owns: the words. Never: arranges anything (that is `stage.rs`, and `relay.rs` on the wire). Invariant: a word that is not
//! known is an error, so that no row runs without its fault.

use std::time::Duration;

use serde_json::json;
use wtcache_origin::{Answer, FaultKind};

use crate::relay::Strike;

/// What the origin holds before, and what a case writes.
pub(crate) const OLD: u64 = 1;
pub(crate) const NEW: u64 = 2;

/// A delay that ends well within any deadline.
const MOMENT: Duration = Duration::from_millis(5);

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    None,
    /// Between the cache and the origin.
    Wire(Strike),
    /// The name of the origin's host does not resolve.
    NoName,
    Origin(Kind),
    Status(Status),
    Here(Here),
    Hand(Hand),
}

/// A fault of the sample origin.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) kind: FaultKind,
    /// The request is held at a gate of the fault's moment, beyond its deadline.
    pub(crate) held: Option<wtcache_origin::When>,
    /// The call ends by its deadline.
    pub(crate) ends_late: bool,
}

/// The origin answers with this status, whatever it did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) status: u16,
    body: StatusBody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusBody {
    /// An error's, or none where the status has none.
    Usual,
    Record,
    Empty,
    Garbage,
    RetryAfter,
}

/// What the cache itself refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    NoTime,
    TooManyDoubts,
    HeldBack,
}

/// How a program ends its permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    Aborted,
    DroppedUnsent,
    OverdueUnsent,
    DroppedSent,
    LateCommit,
    LateReject,
}

impl Fault {
    /// # Errors
    /// The text names no fault.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        if let Some(strike) = Strike::of(text) {
            return Ok(Self::Wire(strike));
        }
        if let Some(status) = text.strip_prefix("status ") {
            return Status::of(status).map(Self::Status);
        }
        Ok(match text {
            "none" => Self::None,
            "no such name" => Self::NoName,
            "no time left" => Self::Here(Here::NoTime),
            "too many doubts" => Self::Here(Here::TooManyDoubts),
            "in_doubt_writes = wait" => Self::Here(Here::HeldBack),
            "aborted" => Self::Hand(Hand::Aborted),
            "dropped unsent" => Self::Hand(Hand::DroppedUnsent),
            "overdue unsent" => Self::Hand(Hand::OverdueUnsent),
            "dropped sent" => Self::Hand(Hand::DroppedSent),
            "overdue sent, then commit" => Self::Hand(Hand::LateCommit),
            "overdue sent, then reject" => Self::Hand(Hand::LateReject),
            _ => Self::Origin(Kind::of(text)?),
        })
    }

    /// The call has to end by its deadline, since nothing else ends it.
    pub(crate) fn ends_late(&self) -> bool {
        match self {
            Self::Wire(strike) => strike.ends_late(),
            Self::Origin(kind) => kind.ends_late,
            // An interim answer, and nothing after it. (A 100 with headers, as the origin sends it, is taken for a broken one.)
            Self::Status(status) => (102..200).contains(&status.status),
            _ => false,
        }
    }
}

impl Kind {
    fn of(text: &str) -> Result<Self, String> {
        use wtcache_origin::When::{AfterApply, BeforeApply};
        let (name, beyond) = match text.strip_suffix(" beyond") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let kind = match name {
            "delay-before-apply" => FaultKind::DelayBeforeApply(MOMENT),
            "delay-after-apply" => FaultKind::DelayAfterApply(MOMENT),
            "reset-on-head" => FaultKind::ResetOnHead,
            "reset-before-apply" => FaultKind::ResetBeforeApply,
            "reset-after-apply" => FaultKind::ResetAfterApply,
            "close-before-apply" => FaultKind::CloseBeforeApply,
            "close-after-apply" => FaultKind::CloseAfterApply,
            "hang-before-apply" => FaultKind::HangBeforeApply,
            "hang-after-apply" => FaultKind::HangAfterApply,
            "truncated-body" => FaultKind::TruncatedBody,
            "slow-body" if beyond => FaultKind::SlowBody(Duration::from_millis(100)),
            "slow-body" => FaultKind::SlowBody(Duration::from_micros(200)),
            "broken-chunked" => FaultKind::BrokenChunked,
            "close-after-answer" => FaultKind::CloseAfterAnswer,
            "close-after-answer-announced" => FaultKind::CloseAfterAnswerAnnounced,
            "oversize-body" => FaultKind::OversizeBody(2 << 20),
            "stray-reset" => FaultKind::StrayReset(Duration::ZERO),
            "stray-hang" => FaultKind::StrayHang(Duration::ZERO),
            _ => return Err(format!("there is no fault {text:?}")),
        };
        debug_assert_eq!(kind.name(), name);
        let held = match &kind {
            FaultKind::DelayBeforeApply(_) if beyond => Some(BeforeApply),
            FaultKind::DelayAfterApply(_) if beyond => Some(AfterApply),
            FaultKind::StrayReset(_) | FaultKind::StrayHang(_) => Some(BeforeApply),
            _ => None,
        };
        let hangs = matches!(kind, FaultKind::HangBeforeApply | FaultKind::HangAfterApply | FaultKind::StrayHang(_));
        Ok(Self { kind, held, ends_late: beyond || hangs })
    }
}

impl Status {
    fn of(text: &str) -> Result<Self, String> {
        let (number, body) = text.split_once(' ').unwrap_or((text, ""));
        let status = number.parse().map_err(|_| format!("{number:?} is no status"))?;
        let body = match body {
            "" => StatusBody::Usual,
            "record" => StatusBody::Record,
            "empty" => StatusBody::Empty,
            "garbage" => StatusBody::Garbage,
            "retry-after" => StatusBody::RetryAfter,
            _ => return Err(format!("there is no body {body:?}")),
        };
        Ok(Self { status, body })
    }

    /// `value`: of the record that it may carry.
    pub(crate) fn answer(self, value: u64) -> Answer {
        let answer = Answer::new(self.status);
        match self.body {
            StatusBody::Usual if self.status < 200 || matches!(self.status, 204 | 205 | 304) => answer,
            StatusBody::Usual => answer.json(&json!({ "error": "so it is" })),
            StatusBody::Record => answer.json(&json!({ "value": value })),
            StatusBody::Empty => answer,
            StatusBody::Garbage => answer.header("Content-Type", "application/json").body("<html>"),
            StatusBody::RetryAfter => answer.header("Retry-After", "7").body("later"),
        }
    }

    /// The record is gone at the origin: no status says so of one that is there.
    pub(crate) fn is_gone(self) -> bool {
        matches!(self.status, 404 | 410)
    }
}
