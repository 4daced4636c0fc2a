//! What came of a transaction: how it ended, what became of each step, and the handle on one that runs in the background.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use wtcache::{Bytes, Entry, Failure, InDoubt, Pending, Report, SourceError, StepEnd, StepValue, Transacted, UndoEnd};

use crate::arguments::{Refused, optional_output, required};
use crate::border;
use crate::doubt::wtcache_doubt;
use crate::error::wtcache_error;
use crate::fork::Owned;
use crate::read::wtcache_entry;
use crate::status::{WTCACHE_OK, WTCACHE_PENDING};
use crate::watch::Watched;

/// All steps were applied: the keys show what they confirmed.
pub const WTCACHE_COMMITTED: i32 = 0;
/// Nothing of it stands: no step was applied, or all that were are undone. Keys that nothing wrote are as they were.
pub const WTCACHE_ROLLED_BACK: i32 = 1;
/// A step was refused after others had been applied that are not all undone. Written keys show what was confirmed of them last, or are asked
/// for; never what the cache held before.
pub const WTCACHE_PARTIAL: i32 = 2;
/// The outcome of a step is not known. The keys that it writes are in doubt.
pub const WTCACHE_IN_DOUBT: i32 = 3;

/// A step, or undoing it, was not run.
pub const WTCACHE_STEP_NOT_RUN: i32 = 0;
/// It was applied.
pub const WTCACHE_STEP_APPLIED: i32 = 1;
/// It certainly was not applied, and will not be.
pub const WTCACHE_STEP_REJECTED: i32 = 2;
/// It was not begun: the error says why.
pub const WTCACHE_STEP_NOT_SENT: i32 = 3;
/// Nobody can know.
pub const WTCACHE_STEP_UNKNOWN: i32 = 4;

/// What came of a transaction. It never changes, and may be read from any thread. What it gives pointers to is valid until it is freed.
pub struct wtcache_transacted(Arc<Told>);

/// The same, shared by those who ask.
pub(crate) struct Told {
    end: i32,
    /// Why it did not commit.
    error: Option<wtcache_error>,
    steps: Vec<Step>,
    doubts: Vec<InDoubt<Bytes>>,
}

struct Step {
    end: i32,
    error: Option<wtcache_error>,
    undo: i32,
    undo_error: Option<wtcache_error>,
    entry: Option<Entry<Bytes>>,
    value: Option<Vec<u8>>,
}

impl wtcache_transacted {
    pub(crate) fn of(told: Arc<Told>) -> Self {
        Self(told)
    }
}

impl Told {
    pub(crate) fn error(&self) -> Option<&wtcache_error> {
        self.error.as_ref()
    }

    pub(crate) fn of(ended: Transacted<Bytes>) -> Arc<Self> {
        let (end, error, steps, doubts) = match ended {
            Transacted::Committed(steps) => (WTCACHE_COMMITTED, None, steps, Vec::new()),
            Transacted::RolledBack(Report { cause, steps, doubts, .. }) => {
                (WTCACHE_ROLLED_BACK, Some(wtcache_error::from(cause)), steps, doubts)
            }
            Transacted::Partial(Report { cause, steps, doubts, .. }) => {
                (WTCACHE_PARTIAL, Some(wtcache_error::partial(cause.into())), steps, doubts)
            }
            Transacted::InDoubt { cause, steps, doubts, .. } => {
                (WTCACHE_IN_DOUBT, Some(wtcache_error::unknown(&cause, doubts.first())), steps, doubts)
            }
            // A way to end that this file does not know: nothing may be called certain.
            _ => {
                let cause = SourceError::new(Failure::Broken, "the transaction ended in an unknown way");
                (WTCACHE_IN_DOUBT, Some(wtcache_error::unknown(&cause, None)), Vec::new(), Vec::new())
            }
        };
        Arc::new(Self { end, error, steps: steps.into_iter().map(Step::of).collect(), doubts })
    }

    /// The status of the call that ran it; the result goes where somebody asks for it.
    pub(crate) fn hand_out(
        self: &Arc<Self>,
        result: Option<&mut *mut wtcache_transacted>,
    ) -> Result<i32, wtcache_error> {
        if let Some(result) = result {
            *result = border::give(wtcache_transacted(Arc::clone(self)));
        }
        self.error.clone().map_or(Ok(WTCACHE_OK), Err)
    }
}

impl Step {
    fn of(step: StepEnd<Bytes>) -> Self {
        let none = UndoEnd::NotRun;
        let (mut entry, mut bytes) = (None, None);
        let (end, error, undo) = match step {
            StepEnd::NotRun => (WTCACHE_STEP_NOT_RUN, None, none),
            StepEnd::Applied { value, undo, .. } => {
                match value {
                    StepValue::Entry(record) => entry = Some(record),
                    // Steps in C give bytes.
                    StepValue::Value(value) => bytes = value.downcast().ok().map(|value| *value),
                    _ => {}
                }
                (WTCACHE_STEP_APPLIED, None, undo)
            }
            StepEnd::Rejected(rejection) => (WTCACHE_STEP_REJECTED, Some(wtcache_error::from(&rejection)), none),
            StepEnd::NotSent(why) => (WTCACHE_STEP_NOT_SENT, Some(why.into()), none),
            StepEnd::Unknown { cause, undo, .. } => {
                (WTCACHE_STEP_UNKNOWN, Some(wtcache_error::unknown(&cause, None)), undo)
            }
            _ => (WTCACHE_STEP_UNKNOWN, None, none),
        };
        let (undo, undo_error) = match undo {
            UndoEnd::NotRun => (WTCACHE_STEP_NOT_RUN, None),
            UndoEnd::Applied => (WTCACHE_STEP_APPLIED, None),
            UndoEnd::Rejected(rejection) => (WTCACHE_STEP_REJECTED, Some(wtcache_error::from(&rejection))),
            UndoEnd::NotSent(why) => (WTCACHE_STEP_NOT_SENT, Some(why.into())),
            UndoEnd::Unknown(cause) => (WTCACHE_STEP_UNKNOWN, Some(wtcache_error::unknown(&cause, None))),
            _ => (WTCACHE_STEP_UNKNOWN, None),
        };
        Self { end, error, undo, undo_error, entry, value: bytes }
    }
}

/// How it ended: `WTCACHE_COMMITTED`, `WTCACHE_ROLLED_BACK`, `WTCACHE_PARTIAL` or `WTCACHE_IN_DOUBT`; that for NULL, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_end(result: *const wtcache_transacted) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { result.as_ref() }.map_or(WTCACHE_IN_DOUBT, |result| result.0.end)
}

/// Why it did not commit: the error that the call gave which ran it. It is the result's, and not to be freed. NULL where it did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_error(result: *const wtcache_transacted) -> *const wtcache_error {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { result.as_ref() }.and_then(|result| result.0.error.as_ref()).map_or(ptr::null(), ptr::from_ref)
}

/// How many steps it tells of: all, unless the transaction was lost half-way by a fault of this library. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_step_count(result: *const wtcache_transacted) -> usize {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { result.as_ref() }.map_or(0, |result| result.0.steps.len())
}

/// What came of a step, by its place from zero on: one of `WTCACHE_STEP_*`; `WTCACHE_STEP_NOT_RUN` where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_step(result: *const wtcache_transacted, index: usize) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { step(result, index) }.map_or(WTCACHE_STEP_NOT_RUN, |step| step.end)
}

/// Why a step was not applied, or is not known to be. It is the result's, and not to be freed. NULL where there is nothing to say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_step_error(
    result: *const wtcache_transacted,
    index: usize,
) -> *const wtcache_error {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { step(result, index) }.and_then(|step| step.error.as_ref()).map_or(ptr::null(), ptr::from_ref)
}

/// What came of undoing a step: one of `WTCACHE_STEP_*`; `WTCACHE_STEP_NOT_RUN` also where nothing was declared, or there was no need.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_undo(result: *const wtcache_transacted, index: usize) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { step(result, index) }.map_or(WTCACHE_STEP_NOT_RUN, |step| step.undo)
}

/// Why a step was not undone, or is not known to be. It is the result's, and not to be freed. NULL where there is nothing to say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_undo_error(
    result: *const wtcache_transacted,
    index: usize,
) -> *const wtcache_error {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { step(result, index) }.and_then(|step| step.undo_error.as_ref()).map_or(ptr::null(), ptr::from_ref)
}

/// Of a put by the source that was applied: the record of its key, as it was confirmed last in the transaction. It is the result's, and not to
/// be freed. NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_entry(
    result: *const wtcache_transacted,
    index: usize,
) -> *const wtcache_entry {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { step(result, index) }.and_then(|step| step.entry.as_ref()).map_or(ptr::null(), wtcache_entry::lend)
}

/// Of a callback that answered with `wtcache_reply_value`: that value, and its length in `*len`, which may be NULL. NULL where there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_value(
    result: *const wtcache_transacted,
    index: usize,
    len: *mut usize,
) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    let (step, len) = unsafe { (step(result, index), optional_output(len, 0)) };
    let Some(value) = step.and_then(|step| step.value.as_ref()) else { return ptr::null() };
    if let Some(len) = len {
        *len = value.len();
    }
    value.as_ptr().cast()
}

/// How many keys it left in doubt; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_doubt_count(result: *const wtcache_transacted) -> usize {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { result.as_ref() }.map_or(0, |result| result.0.doubts.len())
}

/// The handle on one of them, to be freed with `wtcache_doubt_free`. It outlives the result. NULL where there is none of that index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_doubt(
    result: *const wtcache_transacted,
    index: usize,
) -> *mut wtcache_doubt {
    // SAFETY: the caller keeps the rules at the header's top.
    let doubt = unsafe { result.as_ref() }.and_then(|result| result.0.doubts.get(index));
    doubt.map_or(ptr::null_mut(), |doubt| border::give(wtcache_doubt::new(doubt.clone())))
}

/// Frees a result, with all errors and entries in it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transacted_free(result: *mut wtcache_transacted) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(result) };
}

unsafe fn step<'a>(result: *const wtcache_transacted, index: usize) -> Option<&'a Step> {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { result.as_ref() }?.0.steps.get(index)
}

/// A transaction that runs in the background, or how it ended. It may be used from any thread. It runs on though nobody holds its handle.
pub struct wtcache_started(Owned<Arc<WatchedTransaction>>);

pub(crate) type WatchedTransaction = Watched<Transacted<Bytes>, Arc<Told>>;

impl wtcache_started {
    pub(crate) fn new(pending: Pending<Transacted<Bytes>>) -> Self {
        Self(Owned::new(Watched::new(pending, Told::of)))
    }

    /// # Safety
    /// `handle` is NULL or points to one that is not freed for `'a`.
    pub(crate) unsafe fn of<'a>(handle: *const Self) -> Result<&'a Arc<WatchedTransaction>, Refused> {
        // SAFETY: the caller's promise.
        unsafe { required("started", handle) }?.0.get()
    }
}

/// Waits for the end, for `timeout_ms` at most. Gives `WTCACHE_PENDING` if it has not ended by then; else status, error and `*result` as by
/// `wtcache_transaction_run`, whoever asks and how often. From inside a callback of it, let the timeout be 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_started_wait(
    started: *const wtcache_started,
    timeout_ms: u64,
    result: *mut *mut wtcache_transacted,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let result = optional_output(result, ptr::null_mut());
            match wtcache_started::of(started)?.wait(Duration::from_millis(timeout_ms)) {
                None => Ok(WTCACHE_PENDING),
                Some(told) => told.hand_out(result),
            }
        })
    }
}

/// 1 if it has ended, else 0, also for NULL and in the child of a fork. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_started_has_ended(started: *const wtcache_started) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { wtcache_started::of(started) }.is_ok_and(|started| started.has_ended()).into()
}

/// Frees a handle; the transaction runs on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_started_free(started: *mut wtcache_started) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(started) };
}
