//! What came of a case, in the words of the table.

use wtcache::{
    Bytes, CreateError, Created, Entry, How, LoadError, NotSent, Read, ReplayError, SourceError, WriteError, Written,
};

use crate::fault::{NEW, OLD};
use crate::stage::number;

/// What an operation came to, and whether the cache says that it serves the result.
pub(crate) struct Told {
    pub(crate) outcome: &'static str,
    pub(crate) caller: String,
    pub(crate) kept: Option<bool>,
}

pub(crate) fn told_read(result: Result<Read<Bytes>, LoadError>) -> Told {
    let caller = match result {
        Ok(read) => told_entry(read.entry.as_ref(), "none"),
        Err(error) => told_load(&error),
    };
    Told { outcome: "no write", caller, kept: None }
}

pub(crate) fn told_nothing() -> Told {
    Told { outcome: "no write", caller: "nothing".to_owned(), kept: None }
}

pub(crate) fn told(result: Result<Written<Bytes>, WriteError<Bytes>>) -> Told {
    let (outcome, caller, kept) = match result {
        Ok(written) => ("Applied", told_entry(written.entry.as_ref(), "no record"), Some(written.kept)),
        Err(error) => {
            let outcome = if error.may_be_applied() { "Unknown" } else { "Rejected" };
            (outcome, told_write(&error), None)
        }
    };
    Told { outcome, caller, kept }
}

/// A replay that was not sent leaves the write as it was: nobody knows.
pub(crate) fn told_replay(error: &ReplayError<Bytes>) -> Told {
    let (outcome, caller) = match error {
        ReplayError::Rejected(rejection) => ("Rejected", format!("Rejected: {}", told_source(&rejection.error))),
        ReplayError::NotSent(why) => ("Unknown", told_not_sent(why)),
        ReplayError::InDoubt(doubt) => ("Unknown", format!("InDoubt: {}", told_source(doubt.cause()))),
        other => ("Unknown", format!("{other:?}")),
    };
    Told { outcome, caller, kept: None }
}

pub(crate) fn told_entry(entry: Option<&Entry<Bytes>>, none: &str) -> String {
    match entry.map(|entry| number(entry)) {
        None => none.to_owned(),
        Some(Some(OLD)) => "the old record".to_owned(),
        Some(Some(NEW)) => "the new record".to_owned(),
        Some(other) => format!("the value {other:?}"),
    }
}

pub(crate) fn told_write(error: &WriteError<Bytes>) -> String {
    match error {
        WriteError::Rejected(rejection) => format!("Rejected: {}", told_source(&rejection.error)),
        WriteError::NotSent(why) => told_not_sent(why),
        WriteError::Unmet(unmet) => format!("Unmet: {}", told_entry(unmet.existing.as_ref(), "none")),
        WriteError::InDoubt(doubt) => format!("InDoubt: {}", told_source(doubt.cause())),
        other => format!("{other:?}"),
    }
}

pub(crate) fn told_not_sent(why: &NotSent) -> String {
    match why {
        NotSent::Unread(error) => format!("NotSent: Unread, {}", told_load(error)),
        NotSent::HeldBack { retry_after } => format!("NotSent: HeldBack, again after {} s", retry_after.as_secs()),
        other => format!("NotSent: {other:?}"),
    }
}

pub(crate) fn told_load(error: &LoadError) -> String {
    match error {
        LoadError::Source(error) => told_source(error),
        other => format!("{other:?}"),
    }
}

pub(crate) fn told_source(error: &SourceError) -> String {
    let mut text = format!("{:?}", error.failure());
    if let Some(code) = error.code() {
        text.push_str(&format!(" {code}"));
    }
    if let Some(after) = error.retry_after() {
        text.push_str(&format!(", again after {} s", after.as_secs()));
    }
    text
}

pub(crate) fn told_how(how: How) -> &'static str {
    match how {
        How::Hit => "hit",
        How::Loaded { kept: true } => "asks, keeps",
        How::Loaded { kept: false } => "asks, keeps not",
        How::Stale => "stale",
        _ => "joins",
    }
}

pub(crate) fn told_created(id: &str, result: Result<Created<Bytes>, CreateError>) -> Told {
    let (outcome, caller, kept) = match result {
        Ok(Created { key: None, entry, kept, .. }) => {
            assert!(entry.is_none(), "a record without a key");
            ("Applied", "no key".to_owned(), Some(kept))
        }
        Ok(Created { key: Some(key), entry, kept, .. }) => {
            assert_eq!(*key, *id.as_bytes(), "another key");
            ("Applied", told_entry(entry.as_ref(), "no record"), Some(kept))
        }
        Err(CreateError::NotSent(why)) => ("Rejected", told_not_sent(&why), None),
        Err(CreateError::Rejected(rejection)) => {
            ("Rejected", format!("Rejected: {}", told_source(&rejection.error)), None)
        }
        Err(CreateError::Unknown(error)) => ("Unknown", format!("Unknown: {}", told_source(&error)), None),
        Err(other) => ("Unknown", format!("{other:?}"), None),
    };
    Told { outcome, caller, kept }
}
