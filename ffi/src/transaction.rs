//! Transactions: updates of several keys that are shown together, with the steps that make them so.
//!
//! Invariant: what the program entrusts to a step is given back once, whether the step ran, did not, or was refused.

use std::ffi::{CString, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use wtcache::{Bytes, Outcome, Step, StepCx, StepDone, Transaction};

use crate::arguments::{Growing, Refused, bytes, flag, growing, optional_output, output};
use crate::border;
use crate::cache::{Opened, wtcache_cache};
use crate::call::wtcache_bytes;
use crate::error::{Entrusted, wtcache_error};
use crate::fork::Owned;
use crate::many::all;
use crate::reply::{Answer, Kind, Waiting, lifetime_of};
use crate::source::{Callback, Request, failed, no_answer, wtcache_source_call};
use crate::status::{WTCACHE_ERR_STATE, WTCACHE_OK};
use crate::transacted::{Told, wtcache_started, wtcache_transacted};

/// A transaction that is described, until it is run or started. It belongs to one thread at a time.
pub struct wtcache_transaction(Owned<Described>);

pub(crate) struct Described {
    /// None once it was run.
    transaction: Option<Transaction<Bytes>>,
    pub(crate) opened: Opened,
}

impl wtcache_transaction {
    /// # Safety
    /// `handle` is NULL or points to one that nobody else uses for `'a`.
    pub(crate) unsafe fn described<'a>(handle: *mut Self) -> Result<&'a mut Described, Refused> {
        // SAFETY: the caller's promise.
        let handle = unsafe { handle.as_mut() }.ok_or_else(|| Refused::argument("transaction is NULL"))?;
        handle.0.get_mut()
    }

    /// Describes it further.
    ///
    /// # Safety
    /// As [`Self::described`].
    unsafe fn with(
        handle: *mut Self,
        more: impl FnOnce(Transaction<Bytes>) -> Transaction<Bytes>,
    ) -> Result<i32, wtcache_error> {
        // SAFETY: the caller's promise.
        let described = unsafe { Self::described(handle) }?;
        described.transaction = Some(more(described.take()?));
        Ok(WTCACHE_OK)
    }
}

impl Described {
    /// It is run now, and described no further.
    pub(crate) fn take(&mut self) -> Result<Transaction<Bytes>, Refused> {
        self.transaction.take().ok_or_else(|| Refused::new(WTCACHE_ERR_STATE, "the transaction was run before"))
    }
}

/// Begins to describe a transaction on a cache. Nothing happens before it is run or started.
///
/// `*transaction` is to be freed with `wtcache_transaction_free`, or NULL. It keeps the cache until it is run or freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_new(
    cache: *const wtcache_cache,
    transaction: *mut *mut wtcache_transaction,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let transaction = output("transaction", transaction, ptr::null_mut())?;
            let opened = wtcache_cache::opened(cache)?.clone();
            let described = Described { transaction: Some(opened.cache.transaction()), opened };
            *transaction = border::give(wtcache_transaction(Owned::new(described)));
            Ok(WTCACHE_OK)
        })
    }
}

/// A value is to be shown as the record of a key, for `lifetime_ms` or one of `WTCACHE_LIFETIME_*`. Where no step writes the key, it is
/// kept as it is once all steps have been applied; where a step has the source put it, its record has this lifetime if the source says none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_update(
    transaction: *mut wtcache_transaction,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    lifetime_ms: i64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let (key, value) = (bytes("key", key, key_len)?, bytes("value", value, value_len)?);
            let lifetime = lifetime_of("lifetime_ms", lifetime_ms)?;
            wtcache_transaction::with(transaction, |transaction| transaction.update_for(key, value.to_vec(), lifetime))
        })
    }
}

/// There is to be no record of a key: as `wtcache_transaction_update`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_remove(
    transaction: *mut wtcache_transaction,
    key: *const c_void,
    key_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let key = bytes("key", key, key_len)?;
            wtcache_transaction::with(transaction, |transaction| transaction.remove(key))
        })
    }
}

/// Of undoing a step: nothing was declared. Where a later step is refused, one that was applied and cannot be undone makes the transaction
/// end in part.
pub const WTCACHE_DO_UNDECLARED: i32 = 0;
/// The cache's source puts a value.
pub const WTCACHE_DO_PUT: i32 = 1;
/// The cache's source removes a record.
pub const WTCACHE_DO_DELETE: i32 = 2;
/// A callback of the program's does it.
pub const WTCACHE_DO_CALL: i32 = 3;
/// Of undoing a step: it leaves nothing that would have to be undone.
pub const WTCACHE_DO_NOTHING: i32 = 4;

/// A step of a transaction, and how it is undone where a later one is refused. Set `struct_size` to its `sizeof`, and to zero what
/// is not used.
///
/// `call` and `undo_call` answer through their reply as a source does: `wtcache_reply_applied`, or `wtcache_reply_value` with a value for
/// `wtcache_transacted_value`, after `wtcache_reply_wrote` for what they wrote; or `wtcache_reply_error`, whose verdict says whether
/// anything of it was done, or may still be. No answer by the deadline is unknown. Their request has no key; what it has is the
/// time that remains and an idempotency key, one for the step and another for undoing it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_step {
    /// `sizeof(wtcache_step)`.
    pub struct_size: usize,
    /// `WTCACHE_DO_PUT`, `WTCACHE_DO_DELETE` or `WTCACHE_DO_CALL`.
    pub does: i32,
    /// How it is undone: one of `WTCACHE_DO_*`.
    pub undo: i32,
    /// Of PUT and DELETE: the key.
    pub key: wtcache_bytes,
    /// Of PUT: the value.
    pub value: wtcache_bytes,
    /// Of CALL: what it does.
    pub call: wtcache_source_call,
    /// Of CALL: the keys that it writes, or undoing it does.
    pub writes: *const wtcache_bytes,
    /// How many they are.
    pub write_count: usize,
    /// Where `undo` is PUT or DELETE: the key.
    pub undo_key: wtcache_bytes,
    /// Where `undo` is PUT: the value.
    pub undo_value: wtcache_bytes,
    /// Where `undo` is CALL: what it does.
    pub undo_call: wtcache_source_call,
    /// Handed to `call` and `undo_call`. They are called by the thread that runs the transaction, or by one of the cache's where it is
    /// started.
    pub user_data: *mut c_void,
    /// Called exactly once with `user_data`, from any thread: when neither can be called any more, or here if the step is refused. May be
    /// NULL.
    pub destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    /// How long it may take in milliseconds; the transaction's deadline holds as well. Zero: that alone.
    pub deadline_ms: u64,
    /// 1: it is undone also where the outcome of a step, this one or a later one, is not known.
    pub undo_if_unknown: i32,
    /// Zero.
    pub reserved: i32,
}

// SAFETY: `repr(C)`, begins with its size, and integers, pointers and functions may be zero.
unsafe impl Growing for wtcache_step {
    const NAME: &'static str = "step";
    const LEAST: usize = offset_of!(Self, deadline_ms);
}

/// Adds a step: they are run in the order in which they were added. What a put or delete by the source writes is an update, too.
///
/// `step` is copied, with what it points to; its `destroy` is called once, whatever this gives, unless `step` is NULL or its
/// `struct_size` wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_step(
    transaction: *mut wtcache_transaction,
    step: *const wtcache_step,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let known = growing(step)?;
            let user = Arc::new(Entrusted { pointer: known.members.user_data, release: known.members.destroy });
            let step = wtcache_step::read(&known.all()?, &user)?;
            wtcache_transaction::with(transaction, |transaction| transaction.step(step))
        })
    }
}

impl wtcache_step {
    /// # Safety
    /// What it points to may be read.
    unsafe fn read(&self, user: &Arc<Entrusted>) -> Result<Step<Bytes>, Refused> {
        // SAFETY: the caller's promise, here and below.
        let writes = unsafe { all("step.writes", self.writes, self.write_count) }?;
        if self.does != WTCACHE_DO_CALL && !writes.is_empty() {
            return Err(Refused::argument("step.writes: are of WTCACHE_DO_CALL only"));
        }
        // SAFETY: as above.
        let read = |name, bytes: &wtcache_bytes| unsafe { bytes.read(name) };
        let mut step = match self.does {
            WTCACHE_DO_PUT => Step::put(read("step.key", &self.key)?, read("step.value", &self.value)?.to_vec()),
            WTCACHE_DO_DELETE => Step::delete(read("step.key", &self.key)?),
            WTCACHE_DO_CALL => Step::call(calls("step.call", self.call, user)?),
            other => return Err(Refused::argument(format!("step.does is {other}, which no step does"))),
        };
        for key in writes {
            step = step.writes(key);
        }
        step = match self.undo {
            WTCACHE_DO_UNDECLARED => step,
            WTCACHE_DO_NOTHING => step.undo_nothing(),
            WTCACHE_DO_PUT => {
                let (key, value) = (read("step.undo_key", &self.undo_key)?, read("step.undo_value", &self.undo_value)?);
                step.undo_put(key, value.to_vec())
            }
            WTCACHE_DO_DELETE => step.undo_delete(read("step.undo_key", &self.undo_key)?),
            WTCACHE_DO_CALL => step.undo(calls("step.undo_call", self.undo_call, user)?),
            other => return Err(Refused::argument(format!("step.undo is {other}, which is no WTCACHE_DO"))),
        };
        if flag("step.undo_if_unknown", self.undo_if_unknown)? {
            step = step.undo_if_unknown();
        }
        if self.deadline_ms != 0 {
            step = step.deadline(Duration::from_millis(self.deadline_ms));
        }
        Ok(step)
    }
}

/// A callback of the program's as what a step does.
fn calls(
    name: &str,
    callback: wtcache_source_call,
    user: &Arc<Entrusted>,
) -> Result<impl FnOnce(&StepCx<'_>) -> Outcome<StepDone<Bytes>> + Send + 'static, Refused> {
    let callback = callback.ok_or_else(|| Refused::argument(format!("{name} is NULL")))?;
    let user = Arc::clone(user);
    Ok(move |cx: &StepCx<'_>| call(callback, &user, cx))
}

fn call(callback: Callback, user: &Entrusted, cx: &StepCx<'_>) -> Outcome<StepDone<Bytes>> {
    let idempotency_key = CString::new(cx.idempotency_key().to_string()).expect("hexadecimal digits");
    let waiting = Waiting::begin(Kind::Step);
    let request = Request::of_step(cx.remaining(), &idempotency_key);
    // SAFETY: the header asks of a callback that it may be called so; the request lives until it returns.
    unsafe { callback(user.pointer, &raw const request, waiting.handle()) };
    let done = match waiting.wait(cx.remaining()) {
        Some(Answer::Applied) => StepDone::new(),
        Some(Answer::Record(record)) => StepDone::new().value(record.value),
        Some(Answer::Failed(verdict, error)) => return failed(verdict, error),
        Some(Answer::Absent(_) | Answer::Unchanged(_) | Answer::AsSent { .. }) => {
            unreachable!("an answer that does not suit its call is refused when it is given")
        }
        None => return Outcome::Unknown(no_answer()),
    };
    Outcome::Applied(waiting.wrote().into_iter().fold(done, |done, (key, wrote)| done.wrote(&key, wrote)))
}

/// Once the steps have been applied, or may have been, all keys that begin with `prefix` are forgotten. If nothing was, they stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_invalidate_prefix(
    transaction: *mut wtcache_transaction,
    prefix: *const c_void,
    prefix_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let prefix = bytes("prefix", prefix, prefix_len)?;
            wtcache_transaction::with(transaction, |transaction| transaction.invalidate_prefix(prefix))
        })
    }
}

/// The same for all keys that match `pattern`: see `wtcache_invalidate_pattern`. What is no pattern is refused with
/// `WTCACHE_ERR_ARGUMENT`, and the transaction is as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_invalidate_pattern(
    transaction: *mut wtcache_transaction,
    pattern: *const c_void,
    pattern_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let pattern = bytes("pattern", pattern, pattern_len)?;
            let described = wtcache_transaction::described(transaction)?;
            // What is no pattern takes a transaction with it that is there for that alone.
            drop(described.opened.cache.transaction().invalidate_pattern(pattern)?);
            described.transaction = Some(described.take()?.invalidate_pattern(pattern)?);
            Ok(WTCACHE_OK)
        })
    }
}

/// The same for all records that have `tag`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_invalidate_tag(
    transaction: *mut wtcache_transaction,
    tag: *const c_void,
    tag_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let tag = bytes("tag", tag, tag_len)?;
            wtcache_transaction::with(transaction, |transaction| transaction.invalidate_tag(tag))
        })
    }
}

/// How long it may take in milliseconds, the wait for the turns of its keys included; a day at most. Undoing has a time of its own. Default:
/// that of a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_set_deadline_ms(
    transaction: *mut wtcache_transaction,
    deadline_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let deadline = Duration::from_millis(deadline_ms);
            wtcache_transaction::with(transaction, |transaction| transaction.deadline(deadline))
        })
    }
}

/// How long undoing may take beyond the deadline, in milliseconds: for so long the turns are held. Default: the deadline of the cache's
/// calls where a step says how it is undone, else nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_set_undo_deadline_ms(
    transaction: *mut wtcache_transaction,
    deadline_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let deadline = Duration::from_millis(deadline_ms);
            wtcache_transaction::with(transaction, |transaction| transaction.undo_deadline(deadline))
        })
    }
}

/// Runs it in this thread: takes the turns of all its keys at once, runs its steps one after the other, and shows its updates, all in one
/// step, once all were applied. Where a step is refused, those before it are undone, the last one first, as far as they say how.
///
/// It is run once: then it is only to be freed, and other calls give `WTCACHE_ERR_STATE`. `result` may be NULL; else `*result` is what came of
/// each step, also after an error, to be freed with `wtcache_transacted_free`; NULL where it was not run. Gives `WTCACHE_OK` where it is
/// committed: all steps were applied. `WTCACHE_ERR_PARTIAL` and `WTCACHE_ERR_IN_DOUBT`: see there. Any other error is that of the step which
/// was refused, and says that nothing of the transaction stands: no step was applied, or all that were are undone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_run(
    transaction: *mut wtcache_transaction,
    result: *mut *mut wtcache_transacted,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let result = optional_output(result, ptr::null_mut());
            let transaction = wtcache_transaction::described(transaction)?.take()?;
            Told::of(transaction.run()).hand_out(result)
        })
    }
}

/// Shows its updates at once, all in one step, and runs it in the background: what it shows leaves as it came. A step that only declares a
/// key shows nothing of it. Never waits, and calls nothing of the program's in this thread. Otherwise as `wtcache_transaction_run`.
///
/// `started` may be NULL; else `*started` tells how it ended, to be freed with `wtcache_started_free`, or is NULL. After an error it was not
/// admitted, nothing has changed, and it is only to be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_start(
    transaction: *mut wtcache_transaction,
    started: *mut *mut wtcache_started,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let started = optional_output(started, ptr::null_mut());
            let pending = wtcache_transaction::described(transaction)?.take()?.start()?;
            if let Some(started) = started {
                *started = border::give(wtcache_started::new(pending));
            }
            Ok(WTCACHE_OK)
        })
    }
}

/// Frees a transaction; one that was started runs on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_free(transaction: *mut wtcache_transaction) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(transaction) };
}
