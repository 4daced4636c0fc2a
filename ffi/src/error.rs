//! The error object: what went wrong, in words and numbers, and what is now true. The one file that knows core's errors.
//!
//! Invariant: every error says whether the origin may have applied something.

use std::error::Error;
use std::ffi::{CString, c_char, c_void};
use std::fmt;
use std::ptr;
use std::time::Duration;

use wtcache::{
    Bytes, CreateError, Entry, Failure, InDoubt, LoadError, NotSent, OptionError, PatternError, Rejection, ReplayError,
    SourceError, Version, WriteError,
};
use wtcache_http_source::OriginAnswer;

use crate::arguments::{Refused, optional_output};
use crate::border;
use crate::doubt::wtcache_doubt;
use crate::read::wtcache_entry;
use crate::status::*;

/// Why a call failed. It belongs to whoever was given it: free it with `wtcache_error_free`. It never changes, and may be
/// read from any thread.
#[derive(Clone)]
pub struct wtcache_error {
    status: i32,
    outcome: i32,
    message: CString,
    retryable: bool,
    code: i32,
    retry_after: Duration,
    /// The source's own error, kept for the cause that it carries.
    source: Option<SourceError>,
    /// The write that is in doubt.
    doubt: Option<InDoubt<Bytes>>,
    /// The record that is there in place of what was expected.
    existing: Option<Entry<Bytes>>,
}

/// The status that the call gave, or 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_status(error: *const wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { error.as_ref() }.map_or(WTCACHE_OK, |error| error.status)
}

/// What is now true at the origin: one of `WTCACHE_OUTCOME_*`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_outcome(error: *const wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { error.as_ref() }.map_or(WTCACHE_OUTCOME_NOT_APPLIED, |error| error.outcome)
}

/// What happened, in words for a log: UTF-8 with a NUL at its end. Never NULL. It lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_message(error: *const wtcache_error) -> *const c_char {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { error.as_ref() }.map_or(c"no error".as_ptr(), |error| error.message.as_ptr())
}

/// The length of the message in bytes, without the NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_message_len(error: *const wtcache_error) -> usize {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { error.as_ref() }.map_or(c"no error".count_bytes(), |error| error.message.count_bytes())
}

/// 1 if the same call may succeed later with nothing changed, else 0. Of a write in doubt it says that the origin may
/// answer again, not that it is safe to write twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_retryable(error: *const wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { error.as_ref() }.map_or(0, |error| error.retryable.into())
}

/// When to try again, in milliseconds from when the error was made; 0 where nobody said. For a write in doubt: when the
/// doubt ends by itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_retry_after_ms(error: *const wtcache_error) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { error.as_ref() }.map_or(0, |error| rounded_up_ms(error.retry_after))
}

/// The source's own code, for the HTTP source the status of the answer; 0 where it gave none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_source_code(error: *const wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { error.as_ref() }.map_or(0, |error| error.code)
}

/// What the program's own source put into `wtcache_failure.cause`, else NULL. It is not released before the error is
/// freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_cause(error: *const wtcache_error) -> *mut c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    let error = unsafe { error.as_ref() };
    let foreign = error.and_then(|error| Foreign::of(error.source.as_ref()?));
    foreign.map_or(ptr::null_mut(), |foreign| foreign.cause.pointer)
}

/// Of a write in doubt: the handle to wait for the end of the doubt, send the write again or say what became of it; to be freed with
/// `wtcache_doubt_free`. It outlives the error. NULL where no write is in doubt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_doubt(error: *const wtcache_error) -> *mut wtcache_doubt {
    // SAFETY: the caller keeps the rules at the header's top.
    let doubt = unsafe { error.as_ref() }.and_then(|error| error.doubt.clone());
    doubt.map_or(ptr::null_mut(), |doubt| border::give(wtcache_doubt::new(doubt)))
}

/// Of `WTCACHE_ERR_UNMET`: the record that is there, to be freed with `wtcache_entry_free`. It outlives the error. NULL where there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_existing(error: *const wtcache_error) -> *mut wtcache_entry {
    // SAFETY: the caller keeps the rules at the header's top.
    let existing = unsafe { error.as_ref() }.and_then(|error| error.existing.clone());
    existing.map_or(ptr::null_mut(), wtcache_entry::give)
}

/// What the HTTP origin answered in place of what was asked for: the body, decoded, of at most 64 KiB, and its length in `*len`, which may be NULL.
/// `wtcache_error_source_code` is its status. Of `WTCACHE_ERR_CONFLICT` it is the record as it stands there, where the origin sends that. Valid as
/// long as the error. NULL where the origin answered nothing; not NULL where its answer has no body.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_answer(error: *const wtcache_error, len: *mut usize) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { part_of_answer(error, len, |answer| Some(&answer.body)) }
}

/// The content type of that answer, as `wtcache_error_answer` gives its body. NULL where the origin named none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_answer_type(error: *const wtcache_error, len: *mut usize) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { part_of_answer(error, len, |answer| answer.content_type.as_deref().map(str::as_bytes)) }
}

/// The ETag of that answer, the same way: of `WTCACHE_ERR_CONFLICT` the version that the record has now, where the origin says so, for another
/// `wtcache_put_if`. NULL where it gave none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_answer_version(error: *const wtcache_error, len: *mut usize) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { part_of_answer(error, len, |answer| answer.version.as_ref().map(Version::as_bytes)) }
}

/// 1 if the body of that answer is longer than what is kept of it, or ended early, or could not be decoded; else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_answer_truncated(error: *const wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { error.as_ref() }.and_then(wtcache_error::answer).map_or(0, |answer| answer.truncated.into())
}

/// # Safety
/// As of the functions above.
unsafe fn part_of_answer(
    error: *const wtcache_error,
    len: *mut usize,
    part: impl FnOnce(&OriginAnswer) -> Option<&[u8]>,
) -> *const c_void {
    // SAFETY: the caller's promise.
    let (error, len) = unsafe { (error.as_ref(), optional_output(len, 0)) };
    let Some(part) = error.and_then(wtcache_error::answer).and_then(part) else { return ptr::null() };
    if let Some(len) = len {
        *len = part.len();
    }
    part.as_ptr().cast()
}

/// Frees an error, and releases its cause if no other error has it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_error_free(error: *mut wtcache_error) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(error) };
}

impl wtcache_error {
    pub(crate) fn status(&self) -> i32 {
        self.status
    }

    pub(crate) fn panicked(message: &str, outcome: i32) -> Self {
        Self { outcome, ..Self::plain(WTCACHE_ERR_PANIC, format!("a fault of libwtcache was contained: {message}")) }
    }

    fn plain(status: i32, message: String) -> Self {
        let message = without_nul(&message);
        let outcome = WTCACHE_OUTCOME_NOT_APPLIED;
        Self {
            status,
            outcome,
            message,
            retryable: false,
            code: 0,
            retry_after: Duration::ZERO,
            source: None,
            doubt: None,
            existing: None,
        }
    }

    /// A transaction that stands in part, for this reason.
    pub(crate) fn partial(cause: Self) -> Self {
        Self { status: WTCACHE_ERR_PARTIAL, outcome: WTCACHE_OUTCOME_PARTIAL, ..cause }
    }

    /// Of a transaction: a step's outcome is not known.
    pub(crate) fn unknown(cause: &SourceError, doubt: Option<&InDoubt<Bytes>>) -> Self {
        let (message, doubt) = (format!("in doubt: {cause}"), doubt.cloned());
        Self { outcome: WTCACHE_OUTCOME_IN_DOUBT, doubt, ..Self::of_source(WTCACHE_ERR_IN_DOUBT, message, cause) }
    }

    fn answer(&self) -> Option<&OriginAnswer> {
        self.source.as_ref()?.source()?.downcast_ref()
    }

    fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }

    fn of_source(status: i32, message: String, error: &SourceError) -> Self {
        let retryable = match Foreign::of(error) {
            Some(foreign) => foreign.retryable,
            None => may_pass(error),
        };
        Self {
            retryable,
            code: error.code().unwrap_or(0),
            retry_after: error.retry_after().unwrap_or_default(),
            source: Some(error.clone()),
            ..Self::plain(status, message)
        }
    }
}

impl From<Refused> for wtcache_error {
    fn from(refused: Refused) -> Self {
        Self::plain(refused.status, refused.message)
    }
}

impl From<OptionError> for wtcache_error {
    fn from(error: OptionError) -> Self {
        // The names of options, as they are in a configuration.
        let member = match error.option {
            "capacity" => "capacity_bytes",
            "deadline" => "deadline_ms",
            "longest_key" => "longest_key_bytes",
            "audit" => "audit_every_ms",
            other => other,
        };
        Self::plain(WTCACHE_ERR_CONFIG, format!("{member}: {}", error.message))
    }
}

impl From<PatternError> for wtcache_error {
    fn from(error: PatternError) -> Self {
        Self::plain(WTCACHE_ERR_ARGUMENT, error.to_string())
    }
}

impl From<LoadError> for wtcache_error {
    fn from(error: LoadError) -> Self {
        let message = error.to_string();
        match error {
            LoadError::Source(source) => Self::of_source(WTCACHE_ERR_SOURCE, message, &source),
            LoadError::Panicked(_) => Self::plain(WTCACHE_ERR_PANIC, message),
            LoadError::Deadline => Self::plain(WTCACHE_ERR_DEADLINE, message).retryable(),
            LoadError::Closed => Self::plain(WTCACHE_ERR_CLOSED, message),
            LoadError::Overloaded => Self::plain(WTCACHE_ERR_OVERLOADED, message).retryable(),
            LoadError::Contended => Self::plain(WTCACHE_ERR_BUSY, message).retryable(),
            LoadError::TooDeep => Self::plain(WTCACHE_ERR_REENTRANT, message),
            LoadError::KeyTooLong(_) => Self::plain(WTCACHE_ERR_TOO_LARGE, message),
            // An error that core has and this file does not know yet: the read failed in the source's part.
            _ => Self::plain(WTCACHE_ERR_SOURCE, message),
        }
    }
}

impl From<&WriteError<Bytes>> for wtcache_error {
    fn from(error: &WriteError<Bytes>) -> Self {
        let message = error.to_string();
        match error {
            WriteError::Rejected(rejection) => Self::rejected(rejection, message),
            WriteError::NotSent(why) => Self::not_sent(why.clone(), message),
            WriteError::Unmet(unmet) => {
                Self { existing: unmet.existing.clone(), ..Self::plain(WTCACHE_ERR_UNMET, message) }
            }
            WriteError::InDoubt(doubt) => Self::in_doubt(doubt.clone(), message),
            // Nothing may be called certain of an outcome that this file does not know yet.
            _ => Self { outcome: WTCACHE_OUTCOME_IN_DOUBT, ..Self::plain(WTCACHE_ERR_IN_DOUBT, message) },
        }
    }
}

impl From<WriteError<Bytes>> for wtcache_error {
    fn from(error: WriteError<Bytes>) -> Self {
        Self::from(&error)
    }
}

impl From<NotSent> for wtcache_error {
    fn from(why: NotSent) -> Self {
        Self::from(WriteError::from(why))
    }
}

impl From<CreateError> for wtcache_error {
    fn from(error: CreateError) -> Self {
        let message = error.to_string();
        match error {
            CreateError::NotSent(why) => Self::not_sent(why, message),
            CreateError::Rejected(rejection) => Self::rejected(&rejection, message),
            CreateError::Unknown(cause) => {
                let outcome = WTCACHE_OUTCOME_IN_DOUBT;
                Self { outcome, ..Self::of_source(WTCACHE_ERR_IN_DOUBT, message, &cause) }
            }
            // Nothing may be called certain of an outcome that this file does not know yet.
            _ => Self { outcome: WTCACHE_OUTCOME_IN_DOUBT, ..Self::plain(WTCACHE_ERR_IN_DOUBT, message) },
        }
    }
}

impl From<&Rejection> for wtcache_error {
    fn from(rejection: &Rejection) -> Self {
        Self::rejected(rejection, format!("not applied: {}", rejection.error))
    }
}

impl From<ReplayError<Bytes>> for wtcache_error {
    fn from(error: ReplayError<Bytes>) -> Self {
        let message = error.to_string();
        match error {
            ReplayError::Rejected(rejection) => Self::rejected(&rejection, message),
            // Of the write, as little is known as before.
            ReplayError::NotSent(why) => Self { outcome: WTCACHE_OUTCOME_IN_DOUBT, ..Self::not_sent(why, message) },
            ReplayError::InDoubt(doubt) => Self::in_doubt(doubt, message),
            _ => Self { outcome: WTCACHE_OUTCOME_IN_DOUBT, ..Self::plain(WTCACHE_ERR_IN_DOUBT, message) },
        }
    }
}

impl wtcache_error {
    fn rejected(rejection: &Rejection, message: String) -> Self {
        let status = if rejection.stale_base { WTCACHE_ERR_CONFLICT } else { WTCACHE_ERR_REJECTED };
        Self::of_source(status, message, &rejection.error)
    }

    fn in_doubt(doubt: InDoubt<Bytes>, message: String) -> Self {
        Self {
            outcome: WTCACHE_OUTCOME_IN_DOUBT,
            retry_after: doubt.settles_in(),
            doubt: Some(doubt.clone()),
            ..Self::of_source(WTCACHE_ERR_IN_DOUBT, message, doubt.cause())
        }
    }

    fn not_sent(why: NotSent, message: String) -> Self {
        match why {
            NotSent::Deadline => Self::plain(WTCACHE_ERR_DEADLINE, message).retryable(),
            NotSent::Closed => Self::plain(WTCACHE_ERR_CLOSED, message),
            NotSent::QueueFull | NotSent::TooManyDoubts | NotSent::TooManyPending | NotSent::Overloaded => {
                Self::plain(WTCACHE_ERR_OVERLOADED, message).retryable()
            }
            NotSent::HeldBack { retry_after } => {
                Self { retry_after, ..Self::plain(WTCACHE_ERR_HELD_BACK, message) }.retryable()
            }
            NotSent::Reentrant => Self::plain(WTCACHE_ERR_REENTRANT, message),
            NotSent::Busy => Self::plain(WTCACHE_ERR_BUSY, message).retryable(),
            NotSent::Unread(error) => Self { message: without_nul(&message), ..Self::from(error) },
            NotSent::Cancelled => Self::plain(WTCACHE_ERR_CANCELLED, message),
            NotSent::NotOurs => Self::plain(WTCACHE_ERR_STATE, message),
            NotSent::KeyTooLong(_) | NotSent::ValueTooLarge(_) => Self::plain(WTCACHE_ERR_TOO_LARGE, message),
            NotSent::Panicked(_) => Self::plain(WTCACHE_ERR_PANIC, message),
            // Not sent, for a reason that this file does not know yet.
            _ => Self::plain(WTCACHE_ERR_REJECTED, message),
        }
    }
}

/// A message of somebody else's may have a NUL in its middle, which C would take for its end.
fn without_nul(message: &str) -> CString {
    CString::new(message.replace('\0', "\u{fffd}")).expect("the NULs were replaced")
}

/// A failure of a source in Rust that a later call may not meet.
fn may_pass(error: &SourceError) -> bool {
    error.retry_after().is_some()
        || matches!(error.failure(), Failure::Unreachable | Failure::TimedOut | Failure::Broken | Failure::Failed)
}

pub(crate) fn rounded_up_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// What the program's own source said of its failure beyond what a [`SourceError`] holds: its cause.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) retryable: bool,
    pub(crate) cause: Entrusted,
}

impl Foreign {
    fn of(error: &SourceError) -> Option<&Self> {
        error.source()?.downcast_ref()
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the program's own source")
    }
}

impl Error for Foreign {}

/// A pointer of the program's, with the function that takes it back; called once, when this is dropped.
#[derive(Debug)]
pub(crate) struct Entrusted {
    pub(crate) pointer: *mut c_void,
    pub(crate) release: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the header asks of what is entrusted that it may be used and released from any thread.
unsafe impl Send for Entrusted {}
// SAFETY: as above.
unsafe impl Sync for Entrusted {}

impl Drop for Entrusted {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the program gave both together, to be called once; and we are called once.
            unsafe { release(self.pointer) };
        }
    }
}
