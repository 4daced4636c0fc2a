//! The two phases of a write as calls of their own, for a program that does its own I/O.
//!
//! One handle goes the whole way: it holds the key's turn, then says that the write left, then how that ended. Invariant: it ends once,
//! and freed before its end it is aborted if it was not sent, and in doubt if it was.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use wtcache::{Bytes, Prepared, Sent};

use crate::arguments::{Refused, bytes, flag, optional_output, output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::wtcache_call;
use crate::doubt::wtcache_doubt;
use crate::error::wtcache_error;
use crate::fork::Owned;
use crate::read::{deliver, whole_ms, wtcache_entry};
use crate::reply::{Said, failure_of, wtcache_failure, wtcache_record};
use crate::status::{WTCACHE_ERR_STATE, WTCACHE_OK};
use crate::write::confirmed;

/// A key's turn, held by a program that writes to the origin itself: prepare → send → commit, reject or in doubt; before the send, abort.
/// It belongs to one thread at a time. Until its end or its deadline no other write of the key goes out.
///
/// A call that does not fit its state gives `WTCACHE_ERR_STATE`, and nothing was done.
pub struct wtcache_permit(Owned<Held>);

struct Held {
    state: State,
    idempotency_key: CString,
}

enum State {
    Prepared(Prepared<Bytes>),
    Sent(Sent<Bytes>),
    Ended,
}

impl wtcache_permit {
    /// # Safety
    /// `handle` is NULL or points to one that nobody else uses for `'a`.
    unsafe fn held<'a>(handle: *mut Self) -> Result<&'a mut Held, Refused> {
        // SAFETY: the caller's promise.
        let handle = unsafe { handle.as_mut() }.ok_or_else(|| Refused::argument("permit is NULL"))?;
        handle.0.get_mut()
    }

    /// The permit that was not sent yet.
    ///
    /// # Safety
    /// As [`Self::held`].
    unsafe fn take_prepared(handle: *mut Self) -> Result<Prepared<Bytes>, Refused> {
        // SAFETY: the caller's promise.
        let state = &mut unsafe { Self::held(handle) }?.state;
        match std::mem::replace(state, State::Ended) {
            State::Prepared(prepared) => Ok(prepared),
            other => {
                *state = other;
                Err(Refused::new(WTCACHE_ERR_STATE, "the write was sent already, or has ended"))
            }
        }
    }

    /// The permit that was sent and has not ended.
    ///
    /// # Safety
    /// As [`Self::held`].
    unsafe fn take_sent(handle: *mut Self) -> Result<Sent<Bytes>, Refused> {
        // SAFETY: the caller's promise.
        let state = &mut unsafe { Self::held(handle) }?.state;
        match std::mem::replace(state, State::Ended) {
            State::Sent(sent) => Ok(sent),
            other => {
                *state = other;
                Err(Refused::new(WTCACHE_ERR_STATE, "the write was not sent yet, or has ended"))
            }
        }
    }
}

/// Takes the turn of a key. Waits for it to the deadline of the call, which is also the permit's: a permit that was not sent by then is
/// aborted, one that was is in doubt, and a later commit or reject counts as its late answer.
///
/// `*permit` is to be freed with `wtcache_permit_free`, or NULL. `call` may be NULL. After an error nothing has happened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_prepare(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    call: *const wtcache_call,
    permit: *mut *mut wtcache_permit,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let permit = output("permit", permit, ptr::null_mut())?;
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let prepared = cache.prepare(key, &wtcache_call::of_write(call)?)?;
            let idempotency_key = CString::new(prepared.idempotency_key().to_string()).expect("hexadecimal digits");
            let state = State::Prepared(prepared);
            *permit = border::give(wtcache_permit(Owned::new(Held { state, idempotency_key })));
            Ok(WTCACHE_OK)
        })
    }
}

/// Before the send: the existing record, the resident one or else asked of the source now. The turn is held on, whatever this gives.
///
/// `*entry` is the record, to be freed with `wtcache_entry_free`, or NULL. Gives `WTCACHE_OK`, `WTCACHE_NOT_FOUND`, or why it could not be
/// read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_existing(
    permit: *mut wtcache_permit,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let entry = output("entry", entry, ptr::null_mut())?;
            match &wtcache_permit::held(permit)?.state {
                State::Prepared(prepared) => Ok(deliver(prepared.existing()?, entry)),
                _ => Err(Refused::new(WTCACHE_ERR_STATE, "the write was sent already, or has ended").into()),
            }
        })
    }
}

/// Before the send: how long the permit still holds, in milliseconds. 0 once it was sent or has ended, for NULL, and in the child of a
/// fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_remaining_ms(permit: *mut wtcache_permit) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { wtcache_permit::held(permit) } {
        Ok(Held { state: State::Prepared(prepared), .. }) => whole_ms(prepared.remaining()),
        _ => 0,
    }
}

/// The key under which every send of the write should go out: 32 hexadecimal digits and a NUL. Valid until the permit is freed. NULL for
/// NULL, and in the child of a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_idempotency_key(permit: *mut wtcache_permit) -> *const c_char {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { wtcache_permit::held(permit) }.map_or(ptr::null(), |held| held.idempotency_key.as_ptr())
}

/// Gives the turn back before the send. Nothing has happened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_abort(permit: *mut wtcache_permit, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            wtcache_permit::take_prepared(permit)?.abort();
            Ok(WTCACHE_OK)
        })
    }
}

/// Says that the write leaves now: to be called before its first byte does. From here on, only a definite answer makes it certain.
///
/// After `WTCACHE_ERR_DEADLINE` or `WTCACHE_ERR_CLOSED` nothing may be sent: the permit has ended, and nothing has happened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_send(permit: *mut wtcache_permit, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let sent = wtcache_permit::take_prepared(permit)?.send()?;
            wtcache_permit::held(permit)?.state = State::Sent(sent);
            Ok(WTCACHE_OK)
        })
    }
}

/// The origin applied a put, and this is the record as it now stands there: reads are given it from now on. `record` says what is known
/// about it, and may be NULL. `entry` as by `wtcache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_commit(
    permit: *mut wtcache_permit,
    value: *const c_void,
    value_len: usize,
    record: *const wtcache_record,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let entry = optional_output(entry, ptr::null_mut());
            let record = Said::of(record)?.record(bytes("value", value, value_len)?);
            Ok(confirmed(wtcache_permit::take_sent(permit)?.commit(Some(record)), entry))
        })
    }
}

/// The origin applied a put, and its record is not known: the next read asks for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_commit_unseen(
    permit: *mut wtcache_permit,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            wtcache_permit::take_sent(permit)?.commit(None);
            Ok(WTCACHE_OK)
        })
    }
}

/// The origin applied a delete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_commit_deleted(
    permit: *mut wtcache_permit,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            wtcache_permit::take_sent(permit)?.commit_deleted();
            Ok(WTCACHE_OK)
        })
    }
}

/// The origin certainly did not apply the write, and never will. `stale_base`, 0 or 1: its refusal proves that what is cached is not the
/// origin's record any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_reject(
    permit: *mut wtcache_permit,
    stale_base: i32,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let stale_base = flag("stale_base", stale_base)?;
            wtcache_permit::take_sent(permit)?.reject(stale_base);
            Ok(WTCACHE_OK)
        })
    }
}

/// Nobody can know whether the origin applied the write, for the reason in `failure`, whose verdict does not count: the key is in doubt.
///
/// `doubt` may be NULL; else `*doubt` is the handle on it, to be freed with `wtcache_doubt_free`: only the program can send that write again,
/// and tells with `wtcache_doubt_settle` what came of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_in_doubt(
    permit: *mut wtcache_permit,
    failure: *const wtcache_failure,
    doubt: *mut *mut wtcache_doubt,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let doubt = optional_output(doubt, ptr::null_mut());
            let (_, cause) = failure_of(failure)?;
            let in_doubt = wtcache_permit::take_sent(permit)?.in_doubt(cause);
            if let Some(doubt) = doubt {
                *doubt = border::give(wtcache_doubt::new(in_doubt));
            }
            Ok(WTCACHE_OK)
        })
    }
}

/// Frees a permit: one that was not sent is aborted, one that was sent and has not ended leaves the key in doubt. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_permit_free(permit: *mut wtcache_permit) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(permit) };
}
