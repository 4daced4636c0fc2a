//! Reading, changing and writing a record within one turn, by a callback of the program's.
//!
//! Invariant: a callback that says nothing changes nothing; its silence is an error and never a success.

use std::ffi::c_void;
use std::ptr;

use wtcache::{Bytes, Change, Entry, Failure, SourceError};

use crate::arguments::{Refused, bytes, optional_output, required};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::wtcache_call;
use crate::error::wtcache_error;
use crate::read::wtcache_entry;
use crate::reply::{failure_of, wtcache_failure};
use crate::status::{WTCACHE_ERR_ANSWERED, WTCACHE_OK};
use crate::write::confirmed;

/// Where a callback says what is to become of a record. It is valid until the callback returns, in its thread. One of the
/// `wtcache_change_*` functions is called on it, once; a further one is refused with `WTCACHE_ERR_ANSWERED`.
pub struct wtcache_change {
    said: Option<Said>,
    /// It may refuse.
    may_refuse: bool,
}

/// What a callback said.
pub(crate) enum Said {
    Put(Vec<u8>),
    Delete,
    Keep,
    Refuse(SourceError),
}

impl wtcache_change {
    /// Calls `ask` with a place for its answer.
    pub(crate) fn asked(may_refuse: bool, ask: impl FnOnce(*mut Self)) -> Option<Said> {
        let mut change = Self { said: None, may_refuse };
        ask(&raw mut change);
        change.said
    }

    /// # Safety
    /// `change` is NULL or one whose callback has not returned.
    unsafe fn say(change: *mut Self, said: Said) -> Result<i32, wtcache_error> {
        // SAFETY: the caller's promise.
        let refuses = unsafe { required("change", change) }?;
        if refuses.said.is_some() {
            return Err(Refused::new(WTCACHE_ERR_ANSWERED, "the callback said before what is to change").into());
        }
        if matches!(said, Said::Refuse(_)) && !refuses.may_refuse {
            return Err(Refused::argument("a merge cannot refuse").into());
        }
        // SAFETY: found not to be NULL; the caller's promise.
        unsafe { (*change).said = Some(said) };
        Ok(WTCACHE_OK)
    }
}

/// This becomes the record. `value`, of `value_len` bytes, is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_change_put(
    change: *mut wtcache_change,
    value: *const c_void,
    value_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || wtcache_change::say(change, Said::Put(bytes("value", value, value_len)?.to_vec()))) }
}

/// The record goes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_change_delete(change: *mut wtcache_change, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || wtcache_change::say(change, Said::Delete)) }
}

/// Everything stays as it is; nothing is sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_change_keep(change: *mut wtcache_change, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || wtcache_change::say(change, Said::Keep)) }
}

/// The update is not to be made: the call that asked for it fails with `WTCACHE_ERR_REJECTED` and this failure, whose verdict says nothing, for
/// nothing is sent. Of a merge it is refused. If this is refused, `release_cause` was called, as by `wtcache_reply_error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_change_refuse(
    change: *mut wtcache_change,
    failure: *const wtcache_failure,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let (_, error) = failure_of(failure)?;
            wtcache_change::say(change, Said::Refuse(error))
        })
    }
}

/// Says through `change` what is to become of the record that is there: `existing`, or NULL where there is none. It is the library's and
/// valid until the callback returns. Reads of the cache from here never wait, and a write of the same key is refused with
/// `WTCACHE_ERR_REENTRANT`. No exception may leave it.
pub type wtcache_update_call =
    Option<unsafe extern "C" fn(user_data: *mut c_void, existing: *const wtcache_entry, change: *mut wtcache_change)>;

/// Reads the record of a key, has `update` say what becomes of it, and writes that, all in one turn: between writers of this process no
/// update is lost. `update` is called once at most, in this thread, before this returns. What is pending is not shown to it.
///
/// `entry` and `call` may be NULL. Gives `WTCACHE_OK` once it was applied, with `*entry` as by `wtcache_put`, or kept, with the record
/// that is there; and errors as `wtcache_put`. A callback that says nothing is `WTCACHE_ERR_REJECTED`: nothing was sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_update(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    update: wtcache_update_call,
    user_data: *mut c_void,
    call: *const wtcache_call,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let entry = optional_output(entry, ptr::null_mut());
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let update = update.ok_or_else(|| Refused::argument("update is NULL"))?;
            let call = wtcache_call::of_write(call)?;
            let change = |existing: Option<&Entry<Bytes>>| {
                let existing = existing.map_or(ptr::null(), wtcache_entry::lend);
                // The header asks of a callback that it may be called so; the entry lives until it returns.
                match wtcache_change::asked(true, |change| update(user_data, existing, change)) {
                    Some(Said::Put(value)) => Ok(Change::Put(value)),
                    Some(Said::Delete) => Ok(Change::Delete),
                    Some(Said::Keep) => Ok(Change::Keep),
                    Some(Said::Refuse(error)) => Err(error),
                    None => Err(SourceError::new(Failure::Invalid, "the callback did not say what is to change")),
                }
            };
            Ok(confirmed(cache.update_with(key, change, &call)?, entry))
        })
    }
}
