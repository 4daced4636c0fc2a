//! What a caller is told when a call does not give what it asked for.
//!
//! Every error of a write says which of two things is now true: the origin certainly did not apply it, or nobody can
//! know. There is no third kind.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::doubt::InDoubt;
use crate::entry::{Entry, Layout};
use crate::source::{Failure, Outcome, Rejection, SourceError};

/// Why a read gave no answer. Nothing was changed anywhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The source could not load it. All who waited for the same load are given the same error.
    Source(SourceError),
    /// The source panicked while it loaded; its message. Only the caller that led the load is told so.
    Panicked(String),
    /// The call's deadline passed.
    Deadline,
    /// The cache is closed.
    Closed,
    /// The queue before the origin is full; the call was never made.
    Overloaded,
    /// Of a read of many keys: whenever this one had been loaded, a transaction had changed some of them meanwhile, so that the answers
    /// might have shown a part of it. Those of the other keys were taken in one step.
    Contended,
    /// Reads within reads of this cache, nested deeper than its bound: a source that asks for itself.
    TooDeep,
    /// The key is longer than the cache takes; its bytes.
    KeyTooLong(usize),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "the origin gave no record: {error}"),
            Self::Panicked(message) => write!(f, "the source panicked in a load: {message}"),
            Self::Deadline => f.write_str("the deadline passed before the record was loaded"),
            Self::Closed => f.write_str("the cache is closed"),
            Self::Overloaded => f.write_str("too many calls wait for the origin already"),
            Self::Contended => f.write_str("transactions changed the keys whenever they had been loaded"),
            Self::TooDeep => f.write_str("reads of this cache are nested too deeply in its own source"),
            Self::KeyTooLong(len) => write!(f, "a key of {len} bytes is longer than the cache takes"),
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a write did not end Applied.
#[non_exhaustive]
pub enum WriteError<L: Layout> {
    /// Not applied: the source or the origin refused, with its own error unchanged.
    Rejected(Rejection),
    /// Not applied: the cache itself did not send it.
    NotSent(NotSent),
    /// Not applied: what the program expected of the existing record does not hold, and nothing was sent.
    Unmet(Unmet<L>),
    /// Unknown: it may have been applied, or may still be. The cache shows nothing of the key without asking the origin
    /// until the doubt is settled.
    InDoubt(InDoubt<L>),
}

impl<L: Layout> WriteError<L> {
    /// True where the origin may have applied the write, or still may; false where it certainly did not and will not.
    #[must_use]
    pub fn may_be_applied(&self) -> bool {
        matches!(self, Self::InDoubt(_))
    }

    /// What it says of the write, where that was a part of something larger: a step of another cache's transaction. What was not sent, or
    /// not applied for any other reason, is [`Outcome::Rejected`]; it says nothing of that other cache's keys.
    pub fn into_outcome<T>(self) -> Outcome<T> {
        let unsent = |message: String| SourceError::new(Failure::Invalid, message);
        match self {
            Self::Rejected(rejection) => Outcome::Rejected(Rejection { stale_base: false, ..rejection }),
            Self::NotSent(why) => Outcome::Rejected(Rejection::new(unsent(why.to_string()).with_cause(why))),
            Self::Unmet(unmet) => Outcome::Rejected(Rejection::new(unsent(unmet.to_string()))),
            Self::InDoubt(doubt) => Outcome::Unknown(doubt.cause().clone()),
        }
    }
}

impl<L: Layout> fmt::Debug for WriteError<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => f.debug_tuple("Rejected").field(rejection).finish(),
            Self::NotSent(why) => f.debug_tuple("NotSent").field(why).finish(),
            Self::Unmet(unmet) => f.debug_tuple("Unmet").field(unmet).finish(),
            Self::InDoubt(doubt) => f.debug_tuple("InDoubt").field(doubt).finish(),
        }
    }
}

impl<L: Layout> fmt::Display for WriteError<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => write!(f, "not applied: {}", rejection.error),
            Self::NotSent(why) => write!(f, "not applied: {why}"),
            Self::Unmet(unmet) => write!(f, "not applied: {unmet}"),
            Self::InDoubt(doubt) => write!(f, "in doubt: {}", doubt.cause()),
        }
    }
}

impl<L: Layout> Error for WriteError<L> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(&rejection.error),
            Self::NotSent(why) => Some(why),
            Self::Unmet(unmet) => Some(unmet),
            Self::InDoubt(doubt) => Some(doubt.cause()),
        }
    }
}

impl<L: Layout> From<NotSent> for WriteError<L> {
    fn from(why: NotSent) -> Self {
        Self::NotSent(why)
    }
}

/// What the program expected of the existing record does not hold. With the record that is there, it can try again.
#[non_exhaustive]
pub struct Unmet<L: Layout> {
    /// The record as the cache holds it, or as the origin gave it just now; `None` where there is none.
    pub existing: Option<Entry<L>>,
}

impl<L: Layout> fmt::Debug for Unmet<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version =
            self.existing.as_ref().map(|entry| entry.version().map(|version| version.escape_ascii().to_string()));
        f.debug_struct("Unmet").field("existing_version", &version).finish()
    }
}

impl<L: Layout> fmt::Display for Unmet<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.existing.as_ref().map(Entry::version) {
            None => f.write_str("the condition does not hold: there is no record"),
            Some(None) => f.write_str("the condition does not hold: there is a record, without a version"),
            Some(Some(version)) => {
                write!(f, "the condition does not hold: the record has version {}", version.escape_ascii())
            }
        }
    }
}

impl<L: Layout> Error for Unmet<L> {}

/// Why a replay did not end Applied. It says what is now true of the write, not of its last send.
#[non_exhaustive]
pub enum ReplayError<L: Layout> {
    /// The write was not applied, and will not be: the origin honours its idempotency key, and refused it.
    Rejected(Rejection),
    /// The replay was not sent. Of the write, as little is known as before.
    NotSent(NotSent),
    /// The replay was sent and proved nothing: it ended unknown, or was turned away alone, or the origin does not honour the key.
    /// The handle takes the place of the one before; its cause is what this send met.
    InDoubt(InDoubt<L>),
}

impl<L: Layout> ReplayError<L> {
    /// True where the origin may have applied the write, or still may.
    #[must_use]
    pub fn may_be_applied(&self) -> bool {
        !matches!(self, Self::Rejected(_))
    }
}

impl<L: Layout> fmt::Debug for ReplayError<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => f.debug_tuple("Rejected").field(rejection).finish(),
            Self::NotSent(why) => f.debug_tuple("NotSent").field(why).finish(),
            Self::InDoubt(doubt) => f.debug_tuple("InDoubt").field(doubt).finish(),
        }
    }
}

impl<L: Layout> fmt::Display for ReplayError<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => write!(f, "not applied: {}", rejection.error),
            Self::NotSent(why) => write!(f, "still in doubt: {why}"),
            Self::InDoubt(doubt) => write!(f, "still in doubt: {}", doubt.cause()),
        }
    }
}

impl<L: Layout> Error for ReplayError<L> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(&rejection.error),
            Self::NotSent(why) => Some(why),
            Self::InDoubt(doubt) => Some(doubt.cause()),
        }
    }
}

/// Why the cache did not send a write. Nothing has happened, here or at the origin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotSent {
    /// The deadline passed while the write waited for its turn, or before it was sent.
    Deadline,
    /// The cache is closed.
    Closed,
    /// As many writes of this key wait already as the options allow.
    QueueFull,
    /// As many keys are in doubt, or could become so, as the options allow.
    TooManyDoubts,
    /// The key is in doubt, the options say that writes wait, and the doubt lasts beyond the deadline.
    HeldBack {
        /// When the doubt will be over at the latest, from now.
        retry_after: Duration,
    },
    /// The call comes from inside the source's own work on the same key: it would wait for itself.
    Reentrant,
    /// The call comes from inside a source call, and the turn of that other key is taken: such a write never waits.
    Busy,
    /// The existing record was needed and could not be read.
    Unread(LoadError),
    /// The queue before the origin is full.
    Overloaded,
    /// The key is longer than the cache takes; its bytes.
    KeyTooLong(usize),
    /// The value is larger than any entry can be; its bytes.
    ValueTooLarge(usize),
    /// A replay of a write that the program sent itself, with a permit: only it can send that again.
    NotOurs,
    /// The program's own closure panicked in the driver's pool, or where pending writes are settled; its message.
    Panicked(String),
    /// As many writes are pending as the options allow, or as much.
    TooManyPending,
    /// The program took its pending write back before it was sent.
    Cancelled,
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("the deadline passed before the write was sent"),
            Self::Closed => f.write_str("the cache is closed"),
            Self::QueueFull => f.write_str("too many writes of this key wait already"),
            Self::TooManyDoubts => f.write_str("too many keys are in doubt already"),
            Self::HeldBack { retry_after } => {
                write!(f, "the key is in doubt; it is settled in {} ms at the latest", retry_after.as_millis())
            }
            Self::Reentrant => f.write_str("a write of a key from inside the source's own work on that key"),
            Self::Busy => f.write_str("a write from inside a source call found the key's turn taken"),
            Self::Unread(error) => write!(f, "the existing record could not be read: {error}"),
            Self::Overloaded => f.write_str("too many calls wait for the origin already"),
            Self::KeyTooLong(len) => write!(f, "a key of {len} bytes is longer than the cache takes"),
            Self::ValueTooLarge(len) => write!(f, "a value of {len} bytes is larger than an entry can be"),
            Self::NotOurs => f.write_str("the program sent the write itself, and only it can send it again"),
            Self::Panicked(message) => write!(f, "the program's closure panicked: {message}"),
            Self::TooManyPending => f.write_str("too many writes are pending already"),
            Self::Cancelled => f.write_str("the pending write was taken back"),
        }
    }
}

impl Error for NotSent {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unread(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a cache was not built: the option and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionError {
    /// The option's name.
    pub option: &'static str,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {}: {}", self.option, self.message)
    }
}

impl Error for OptionError {}
