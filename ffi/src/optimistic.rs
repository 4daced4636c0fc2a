//! Writes that are shown before the origin has confirmed them, and the handle that tells how they ended.

use std::ffi::c_void;
use std::panic::resume_unwind;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use wtcache::{Bytes, NotSent, PendingWrite, WriteError, Written};

use crate::arguments::{Refused, bytes, optional_output, required};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::wtcache_call;
use crate::error::{Entrusted, wtcache_error};
use crate::fork::Owned;
use crate::read::{deliver, wtcache_entry};
use crate::status::{WTCACHE_OK, WTCACHE_PENDING, WTCACHE_TOO_LATE};
use crate::update::{Said, wtcache_change};
use crate::watch::Watched;

/// A pending write: shown, and not settled yet, or how it ended. It may be used from any thread. The write is settled though nobody holds
/// its handle.
pub struct wtcache_pending(Owned<Arc<WatchedWrite>>);

/// How a pending write ended.
pub(crate) type Settled = Result<Written<Bytes>, WriteError<Bytes>>;

pub(crate) type WatchedWrite = Watched<Settled, Settled>;

impl wtcache_pending {
    /// # Safety
    /// `handle` is NULL or points to one that is not freed for `'a`.
    pub(crate) unsafe fn of<'a>(handle: *const Self) -> Result<&'a Arc<WatchedWrite>, Refused> {
        // SAFETY: the caller's promise.
        unsafe { required("pending", handle) }?.0.get()
    }

    fn hand_out(
        admitted: Result<PendingWrite<Bytes>, NotSent>,
        pending: Option<&mut *mut Self>,
    ) -> Result<i32, wtcache_error> {
        let admitted = admitted?;
        if let Some(pending) = pending {
            *pending = border::give(Self(Owned::new(Watched::new(admitted, |settled| settled))));
        }
        Ok(WTCACHE_OK)
    }
}

/// Shows a value as the record of a key at once, marked pending, and writes it to the origin in the background, in its turn among all
/// writes of the key. If the origin refuses it, it is as if it had never been, and later writes of anyone stay. Never waits, and calls
/// no source in this thread.
///
/// `pending` may be NULL; else `*pending` tells how it ended, to be freed with `wtcache_pending_free`, or is NULL. The deadline of `call`,
/// which may be NULL, is that of the write: its wait for the turn, and the source's work. After an error it was not admitted, and nothing
/// has changed; `WTCACHE_ERR_OVERLOADED` says that too much is pending.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_put_optimistic(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    call: *const wtcache_call,
    pending: *mut *mut wtcache_pending,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let pending = optional_output(pending, ptr::null_mut());
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let value = bytes("value", value, value_len)?.to_vec();
            let call = wtcache_call::of_write(call)?;
            wtcache_pending::hand_out(cache.put_optimistic_with(key, value, &call), pending)
        })
    }
}

/// Shows at once that there is no record of a key, and deletes it at the origin in the background: otherwise as `wtcache_put_optimistic`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_delete_optimistic(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    call: *const wtcache_call,
    pending: *mut *mut wtcache_pending,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let pending = optional_output(pending, ptr::null_mut());
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let call = wtcache_call::of_write(call)?;
            wtcache_pending::hand_out(cache.delete_optimistic_with(key, &call), pending)
        })
    }
}

/// Says through `change` what becomes of a value: `value`, of `value_len` bytes, valid until the callback returns, or NULL where there is
/// no record. It has to be pure: it is called again whenever what is beneath it has changed, from any thread. `wtcache_change_refuse` is
/// not for it. One that says nothing counts for nothing in a read, and ends its write unsent, with `WTCACHE_ERR_PANIC`. No exception may
/// leave it.
pub type wtcache_merge_call = Option<
    unsafe extern "C" fn(user_data: *mut c_void, value: *const c_void, value_len: usize, change: *mut wtcache_change),
>;

/// Shows at once what `merge` makes of the record of a key; in the background, in the write's turn, `merge` is given what the origin
/// confirmed, and what it makes of that is sent. Otherwise as `wtcache_put_optimistic`.
///
/// `destroy`, which may be NULL, is called exactly once with `user_data`, from any thread, after the last call of `merge` returned, also
/// after an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_merge_optimistic(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    merge: wtcache_merge_call,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    call: *const wtcache_call,
    pending: *mut *mut wtcache_pending,
    err: *mut *mut wtcache_error,
) -> i32 {
    let user_data = Entrusted { pointer: user_data, release: destroy };
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, move || {
            let pending = optional_output(pending, ptr::null_mut());
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let call = wtcache_call::of_write(call)?;
            let merge = merge.ok_or_else(|| Refused::argument("merge is NULL"))?;
            let merges = move |value: Option<&[u8]>| {
                let (there, len) = value.map_or((ptr::null(), 0), |value| (value.as_ptr().cast(), value.len()));
                let user_data: &Entrusted = &user_data;
                // The header asks of a callback that it may be called so; the value lives until it returns.
                match wtcache_change::asked(false, |change| merge(user_data.pointer, there, len, change)) {
                    Some(Said::Put(value)) => Some(value),
                    Some(Said::Delete) => None,
                    Some(Said::Keep) => value.map(<[u8]>::to_vec),
                    // As if it had panicked: core contains that, and counts it. Nothing is printed.
                    Some(Said::Refuse(_)) | None => resume_unwind(Box::new("the merge said nothing")),
                }
            };
            wtcache_pending::hand_out(cache.merge_optimistic_with(key, merges, &call), pending)
        })
    }
}

/// Waits for the outcome, for `timeout_ms` at most. Gives `WTCACHE_PENDING` if it has not ended by then; else the same as `wtcache_put` or
/// `wtcache_delete` would have: `WTCACHE_OK` where it was applied, or why it was not, whoever asks and how often.
///
/// `entry` may be NULL; else as by `wtcache_put`. From inside a callback that the write waits for, let the timeout be 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_pending_wait(
    pending: *const wtcache_pending,
    timeout_ms: u64,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let entry = optional_output(entry, ptr::null_mut());
            match wtcache_pending::of(pending)?.wait(Duration::from_millis(timeout_ms)) {
                None => Ok(WTCACHE_PENDING),
                Some(Ok(written)) => {
                    if let Some(entry) = entry {
                        deliver(written.entry.clone(), entry);
                    }
                    Ok(WTCACHE_OK)
                }
                Some(Err(error)) => Err(error.into()),
            }
        })
    }
}

/// 1 if its outcome is there, else 0, also for NULL and in the child of a fork. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_pending_has_ended(pending: *const wtcache_pending) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { wtcache_pending::of(pending) }.is_ok_and(|pending| pending.has_ended()).into()
}

/// Takes it back while it waits for its turn, so that it is as if it had never been: its outcome is `WTCACHE_ERR_CANCELLED`. Gives
/// `WTCACHE_TOO_LATE` where it has its turn already, or has ended, and goes on as it would. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_pending_cancel(pending: *const wtcache_pending, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || Ok(if wtcache_pending::of(pending)?.cancel() { WTCACHE_OK } else { WTCACHE_TOO_LATE }))
    }
}

/// Frees a handle; the write goes on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_pending_free(pending: *mut wtcache_pending) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(pending) };
}
