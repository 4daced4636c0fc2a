//! How a transaction ended: what came of each step, and of undoing it.
//!
//! Plain data, made by `run` and read by the program. Invariant: a report has one end for each step, in their order.

use std::any::Any;
use std::fmt;

use crate::doubt::InDoubt;
use crate::entry::{Entry, Layout};
use crate::error::{NotSent, WriteError};
use crate::source::{Failure, Rejection, SourceError};

/// What came of a step.
#[non_exhaustive]
pub enum StepEnd<L: Layout> {
    /// An earlier one stopped the transaction.
    NotRun,
    /// It was applied.
    Applied {
        /// What it gave.
        value: StepValue<L>,
        /// What came of undoing it, where a later step stopped the transaction.
        undo: UndoEnd,
    },
    /// It certainly was not applied, and will not be. This stopped the transaction.
    Rejected(Rejection),
    /// It was not begun, for this reason. This stopped the transaction.
    NotSent(NotSent),
    /// Nobody can know. This stopped the transaction.
    Unknown {
        /// Why not.
        cause: SourceError,
        /// What came of undoing it.
        undo: UndoEnd,
    },
}

/// What a step gave that was applied.
#[non_exhaustive]
pub enum StepValue<L: Layout> {
    /// Nothing.
    Nothing,
    /// Of a put by the source: the record of its key, as it was confirmed last in the transaction.
    Entry(Entry<L>),
    /// Of the program's own step: [`StepDone::value`](super::StepDone::value).
    Value(Box<dyn Any + Send>),
}

/// What came of undoing a step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UndoEnd {
    /// It was not undone: nothing was declared for this case, or there was no need.
    NotRun,
    /// It was undone.
    Applied,
    /// It certainly was not undone.
    Rejected(Rejection),
    /// It was not begun, for this reason.
    NotSent(NotSent),
    /// Nobody can know.
    Unknown(SourceError),
}

/// How a transaction was stopped, and what came of each step.
#[non_exhaustive]
pub struct Report<L: Layout> {
    /// What stopped it: a refusal, or [`WriteError::NotSent`].
    pub cause: WriteError<L>,
    /// One for each step, in their order.
    pub steps: Vec<StepEnd<L>>,
    /// Of keys that undoing left in doubt.
    pub doubts: Vec<InDoubt<L>>,
}

impl<L: Layout> Report<L> {
    pub(super) fn not_run(cause: WriteError<L>, steps: usize) -> Self {
        Self { cause, steps: (0..steps).map(|_| StepEnd::NotRun).collect(), doubts: Vec::new() }
    }
}

/// How a transaction ended.
#[must_use = "only one of the four means that it was done"]
#[non_exhaustive]
pub enum Transacted<L: Layout> {
    /// All steps were applied: its keys show what they confirmed.
    Committed(Vec<StepEnd<L>>),
    /// Nothing of it stands: no step was applied, or all that were are undone. Keys that nothing wrote are as they were; the others
    /// show what undoing confirmed.
    RolledBack(Report<L>),
    /// A step was refused after others had been applied that are not all undone. The keys that were written show what was confirmed of
    /// them last, or are asked for; never what the cache held before.
    Partial(Report<L>),
    /// The outcome of a step is not known. The keys that it writes are in doubt, those that other steps wrote are asked for, and the rest
    /// is as it was.
    InDoubt {
        /// Why it is not known.
        cause: SourceError,
        /// One for each step, in their order.
        steps: Vec<StepEnd<L>>,
        /// A handle for each key in doubt.
        doubts: Vec<InDoubt<L>>,
    },
}

impl<L: Layout> Transacted<L> {
    /// All steps were applied.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        matches!(self, Self::Committed(_))
    }

    /// It was not begun.
    #[cfg(feature = "tokio")]
    pub(crate) fn not_sent(why: NotSent) -> Self {
        Self::RolledBack(Report::not_run(WriteError::NotSent(why), 0))
    }

    /// It was dropped half-way; what was sent is in doubt.
    pub(crate) fn lost(message: &str) -> Self {
        let cause = SourceError::new(Failure::Broken, message);
        Self::InDoubt { cause, steps: Vec::new(), doubts: Vec::new() }
    }

    /// What came of each step, in their order.
    #[must_use]
    pub fn steps(&self) -> &[StepEnd<L>] {
        match self {
            Self::Committed(steps) | Self::InDoubt { steps, .. } => steps,
            Self::RolledBack(report) | Self::Partial(report) => &report.steps,
        }
    }
}

impl<L: Layout> fmt::Debug for StepEnd<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun => f.write_str("NotRun"),
            Self::Applied { undo, .. } => f.debug_struct("Applied").field("undo", undo).finish_non_exhaustive(),
            Self::Rejected(rejection) => f.debug_tuple("Rejected").field(rejection).finish(),
            Self::NotSent(why) => f.debug_tuple("NotSent").field(why).finish(),
            Self::Unknown { cause, undo } => {
                f.debug_struct("Unknown").field("cause", cause).field("undo", undo).finish()
            }
        }
    }
}

impl<L: Layout> fmt::Debug for Transacted<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, cause): (_, Option<&dyn fmt::Debug>) = match self {
            Self::Committed(_) => ("Committed", None),
            Self::RolledBack(report) => ("RolledBack", Some(&report.cause)),
            Self::Partial(report) => ("Partial", Some(&report.cause)),
            Self::InDoubt { cause, .. } => ("InDoubt", Some(cause)),
        };
        f.debug_struct(name).field("cause", &cause).field("steps", &self.steps()).finish()
    }
}
