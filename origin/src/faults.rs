//! The faults: which request fares badly, and how.
//!
//! Owns: the queue of rules. Never: carries a fault out (that is `exchange.rs`, where each has its exact moment).
//! Invariant: a request takes at most one rule, the first that matches and has uses left, when its head was read.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use crate::answer::Answer;
use crate::http::Method;
use crate::locked;

/// So many rules may wait; a script gone wild must not fill the memory.
pub(crate) const RULE_LIMIT: usize = 10_000;

/// Which requests a rule or a gate is for: those under `/items`, all or of one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every item, and the list of all.
    Any,
    /// The item with this id.
    Id(String),
}

impl Target {
    pub(crate) fn matches(&self, id: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Id(wanted) => id == Some(wanted),
        }
    }
}

impl From<&str> for Target {
    fn from(id: &str) -> Self {
        Self::Id(id.to_owned())
    }
}

impl From<String> for Target {
    fn from(id: String) -> Self {
        Self::Id(id)
    }
}

/// What goes wrong, and when. "Apply" is the change of a write in the records, or a GET's reading of a record.
///
/// A gate [`BeforeApply`](crate::When::BeforeApply) comes before a fault of that moment, and likewise after apply. Where a
/// fault answers after apply, it does so whether or not the origin itself refused the request; the log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Waits, then applies and answers.
    DelayBeforeApply(Duration),
    /// Applies, waits, then answers.
    DelayAfterApply(Duration),
    /// Answers this, without applying.
    Answer(Answer),
    /// Applies, then answers this.
    ApplyThenAnswer(Answer),
    /// Resets the connection when the head was read; the body is not read, nothing applied.
    ResetOnHead,
    /// Resets the connection when the request was read; nothing applied.
    ResetBeforeApply,
    /// Applies, then resets the connection.
    ResetAfterApply,
    /// Closes the connection in order, without an answer; nothing applied.
    CloseBeforeApply,
    /// Applies, then closes the connection in order, without an answer.
    CloseAfterApply,
    /// Neither applies nor answers, until [`release_hangs`](crate::Origin::release_hangs), the origin's stop or the
    /// client's leaving; then closes.
    HangBeforeApply,
    /// Applies, then hangs likewise.
    HangAfterApply,
    /// Applies, promises the whole body, sends the first half and closes.
    TruncatedBody,
    /// Applies, and sends the body byte by byte with this between two.
    SlowBody(Duration),
    /// Applies, and sends half of the body as a chunk, then a chunk that is none, and closes.
    BrokenChunked,
    /// Applies, answers as if the connection stayed, then closes it.
    CloseAfterAnswer,
    /// Applies, answers with `Connection: close`, then closes.
    CloseAfterAnswerAnnounced,
    /// Applies, and answers with a JSON object of so many bytes (at least 14) in place of the record.
    OversizeBody(u64),
    /// A stray: resets the connection at once, and only then waits so long (and at a gate before apply, if there is one),
    /// and applies, with nobody there to be told.
    StrayReset(Duration),
    /// A stray on a connection that stays silent: waits so long (and at a gate before apply), applies, then hangs.
    StrayHang(Duration),
}

impl FaultKind {
    /// The names of all kinds, so that a test can ask whether it has them all.
    pub const NAMES: [&'static str; 19] = [
        "delay-before-apply",
        "delay-after-apply",
        "answer",
        "apply-then-answer",
        "reset-on-head",
        "reset-before-apply",
        "reset-after-apply",
        "close-before-apply",
        "close-after-apply",
        "hang-before-apply",
        "hang-after-apply",
        "truncated-body",
        "slow-body",
        "broken-chunked",
        "close-after-answer",
        "close-after-answer-announced",
        "oversize-body",
        "stray-reset",
        "stray-hang",
    ];

    /// The kind with this name, as far as the name says it.
    pub(crate) fn named(name: &str) -> Option<Named> {
        Some(match name {
            "delay-before-apply" => Named::Delay(Self::DelayBeforeApply),
            "delay-after-apply" => Named::Delay(Self::DelayAfterApply),
            "answer" => Named::Answer(Self::Answer),
            "apply-then-answer" => Named::Answer(Self::ApplyThenAnswer),
            "reset-on-head" => Named::Whole(Self::ResetOnHead),
            "reset-before-apply" => Named::Whole(Self::ResetBeforeApply),
            "reset-after-apply" => Named::Whole(Self::ResetAfterApply),
            "close-before-apply" => Named::Whole(Self::CloseBeforeApply),
            "close-after-apply" => Named::Whole(Self::CloseAfterApply),
            "hang-before-apply" => Named::Whole(Self::HangBeforeApply),
            "hang-after-apply" => Named::Whole(Self::HangAfterApply),
            "truncated-body" => Named::Whole(Self::TruncatedBody),
            "slow-body" => Named::Delay(Self::SlowBody),
            "broken-chunked" => Named::Whole(Self::BrokenChunked),
            "close-after-answer" => Named::Whole(Self::CloseAfterAnswer),
            "close-after-answer-announced" => Named::Whole(Self::CloseAfterAnswerAnnounced),
            "oversize-body" => Named::Bytes(Self::OversizeBody),
            "stray-reset" => Named::Delay(Self::StrayReset),
            "stray-hang" => Named::Delay(Self::StrayHang),
            _ => return None,
        })
    }

    /// The name over HTTP and in scripts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        // A new kind needs an arm, and an arm needs its place in the list: the compiler asks for both.
        match self {
            Self::DelayBeforeApply(_) => Self::NAMES[0],
            Self::DelayAfterApply(_) => Self::NAMES[1],
            Self::Answer(_) => Self::NAMES[2],
            Self::ApplyThenAnswer(_) => Self::NAMES[3],
            Self::ResetOnHead => Self::NAMES[4],
            Self::ResetBeforeApply => Self::NAMES[5],
            Self::ResetAfterApply => Self::NAMES[6],
            Self::CloseBeforeApply => Self::NAMES[7],
            Self::CloseAfterApply => Self::NAMES[8],
            Self::HangBeforeApply => Self::NAMES[9],
            Self::HangAfterApply => Self::NAMES[10],
            Self::TruncatedBody => Self::NAMES[11],
            Self::SlowBody(_) => Self::NAMES[12],
            Self::BrokenChunked => Self::NAMES[13],
            Self::CloseAfterAnswer => Self::NAMES[14],
            Self::CloseAfterAnswerAnnounced => Self::NAMES[15],
            Self::OversizeBody(_) => Self::NAMES[16],
            Self::StrayReset(_) => Self::NAMES[17],
            Self::StrayHang(_) => Self::NAMES[18],
        }
    }
}

/// A kind that has its name, and what it may lack.
pub(crate) enum Named {
    Whole(FaultKind),
    Delay(fn(Duration) -> FaultKind),
    Bytes(fn(u64) -> FaultKind),
    Answer(fn(Answer) -> FaultKind),
}

/// A rule: these requests fare this way, so many times. As text it is a line of a [`Script`](crate::Script).
///
/// ```
/// use wtcache_origin::{Answer, Fault, FaultKind, Method, Target};
/// let lost = Fault::on(Method::Put, "item-001").kind(FaultKind::ResetAfterApply);
/// let down = Fault::on(Method::Get, Target::Any).kind(FaultKind::Answer(Answer::new(503))).times(3);
/// # let _ = (lost, down);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) method: Method,
    pub(crate) target: Target,
    /// None: they fare well.
    pub(crate) kind: Option<FaultKind>,
    /// None: for as long as the rule waits.
    pub(crate) left: Option<u32>,
}

/// A [`Fault`] that still lacks its kind.
#[derive(Debug, Clone)]
#[must_use]
pub struct FaultOn {
    method: Method,
    target: Target,
}

impl Fault {
    /// Begins a rule for requests of `method` on `target`: an id, or [`Target::Any`].
    pub fn on(method: Method, target: impl Into<Target>) -> FaultOn {
        FaultOn { method, target: target.into() }
    }

    /// For so many requests instead of one.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// For every such request from then on, until the rules are dropped.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.left = None;
        self
    }

    /// For how many requests it is; `None`: for all.
    #[must_use]
    pub fn uses(&self) -> Option<u32> {
        self.left
    }

    /// The method of the requests that it is for.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Which requests of that method it is for.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What happens to them; `None`: nothing.
    #[must_use]
    pub fn what(&self) -> Option<&FaultKind> {
        self.kind.as_ref()
    }
}

impl FaultOn {
    /// What happens to them. Once, if [`Fault::times`] does not say otherwise.
    #[must_use]
    pub fn kind(self, kind: FaultKind) -> Fault {
        Fault { method: self.method, target: self.target, kind: Some(kind), left: Some(1) }
    }

    /// They fare well: a place in the row between others that do not.
    #[must_use]
    pub fn fares_well(self) -> Fault {
        Fault { method: self.method, target: self.target, kind: None, left: Some(1) }
    }
}

/// The queue.
#[derive(Default)]
pub(crate) struct Faults {
    /// Rank: alone; nothing is locked under it.
    rules: Mutex<VecDeque<Fault>>,
}

impl Faults {
    /// Appends rules, all or none. False: the queue has no room for them.
    pub(crate) fn push(&self, faults: impl IntoIterator<Item = Fault>) -> bool {
        let mut faults: Vec<Fault> = faults.into_iter().collect();
        faults.retain(|fault| fault.left != Some(0));
        let mut rules = locked(&self.rules);
        if rules.len() + faults.len() > RULE_LIMIT {
            return false;
        }
        rules.extend(faults);
        true
    }

    /// Uses up the first rule that matches, once.
    pub(crate) fn take(&self, method: Method, id: Option<&str>) -> Option<FaultKind> {
        let mut rules = locked(&self.rules);
        let index = rules.iter().position(|rule| rule.method == method && rule.target.matches(id))?;
        let rule = &mut rules[index];
        let Some(left) = &mut rule.left else { return rule.kind.clone() };
        *left -= 1;
        if *left == 0 {
            return rules.remove(index).and_then(|rule| rule.kind);
        }
        rule.kind.clone()
    }

    /// The rules with uses left.
    pub(crate) fn waiting(&self) -> Vec<Fault> {
        locked(&self.rules).iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        locked(&self.rules).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_rule_is_used_up_before_the_next() {
        let faults = Faults::default();
        faults.push([Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply).times(2)]);
        faults.push([Fault::on(Method::Put, Target::Any).kind(FaultKind::ResetBeforeApply)]);
        assert_eq!(faults.take(Method::Get, Some("a")), None);
        assert_eq!(faults.take(Method::Put, Some("a")), Some(FaultKind::ResetAfterApply));
        assert_eq!(faults.take(Method::Put, Some("b")), Some(FaultKind::ResetBeforeApply));
        assert_eq!(faults.take(Method::Put, Some("a")), Some(FaultKind::ResetAfterApply));
        assert_eq!(faults.take(Method::Put, Some("a")), None);
        assert!(faults.waiting().is_empty());
    }

    #[test]
    fn a_rule_for_always_is_never_used_up() {
        let faults = Faults::default();
        faults.push([
            Fault::on(Method::Put, "a").fares_well(),
            Fault::on(Method::Put, "a").kind(FaultKind::ResetOnHead).always(),
            Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply),
        ]);
        assert_eq!(faults.take(Method::Put, Some("a")), None);
        for _ in 0..3 {
            assert_eq!(faults.take(Method::Put, Some("a")), Some(FaultKind::ResetOnHead));
        }
    }

    #[test]
    fn rules_go_in_together_or_not_at_all() {
        let faults = Faults::default();
        let many = |count| (0..count).map(|_| Fault::on(Method::Put, "a").fares_well());
        assert!(!faults.push(many(RULE_LIMIT + 1)));
        assert!(faults.waiting().is_empty());
        assert!(faults.push(many(RULE_LIMIT)) && !faults.push(many(1)));
    }

    #[test]
    fn every_name_leads_to_its_kind() {
        for name in FaultKind::NAMES {
            let kind = match FaultKind::named(name) {
                Some(Named::Whole(kind)) => kind,
                Some(Named::Delay(make)) => make(Duration::ZERO),
                Some(Named::Bytes(make)) => make(14),
                Some(Named::Answer(make)) => make(Answer::new(500)),
                None => panic!("{name} is unknown"),
            };
            assert_eq!(kind.name(), name);
        }
    }
}
