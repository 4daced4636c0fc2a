//! Merge patches, which an HTTP origin merges itself.
//!
//! Invariant: a patch goes out within its key's turn, and the cache knows of it before its first byte leaves.

use std::ffi::c_void;
use std::ptr;

use serde_json::value::RawValue;
use wtcache::{Bytes, Call, Confirmed, Outcome, WriteError, Written};

use crate::arguments::{Refused, bytes, optional_output};
use crate::border;
use crate::cache::{Opened, wtcache_cache};
use crate::call::wtcache_call;
use crate::error::wtcache_error;
use crate::queue::{self, Given, wtcache_queue};
use crate::read::wtcache_entry;
use crate::status::{WTCACHE_OK, WTCACHE_OUTCOME_IN_DOUBT};
use crate::write::confirmed;

/// Sends a JSON merge patch (RFC 7396) of a key's record to the HTTP origin, which merges it, and keeps the record that it answers with. It is a
/// write of the key: it waits for its turn, as `wtcache_put` does. The record is not loaded for it. The origin has to take `PATCH`.
///
/// The cache must be one of `wtcache_open`; one over a source of the program's own gives `WTCACHE_ERR_ARGUMENT`, as what is no JSON does. Nothing
/// else of the patch is checked here. `call`, `entry` and what is given are as of `wtcache_put`. `*entry` is NULL too where the origin answered
/// without the record: the next read asks for it. A patch in doubt cannot be sent again by `wtcache_error_doubt`, only settled or waited for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_patch(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    patch: *const c_void,
    patch_len: usize,
    call: *const wtcache_call,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let entry = optional_output(entry, ptr::null_mut());
            let (opened, key) = (wtcache_cache::opened(cache)?, bytes("key", key, key_len)?);
            let call = wtcache_call::of_write(call)?;
            let patch = json(patch, patch_len)?;
            let written = patched(opened, key, patch, &call)?;
            Ok(confirmed(written, entry))
        })
    }
}

/// As `wtcache_patch`, otherwise as `wtcache_put_async`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_patch_async(
    queue: *const wtcache_queue,
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    patch: *const c_void,
    patch_len: usize,
    call: *const wtcache_call,
    token: *mut c_void,
    id: *mut u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let given = Given::of(queue, cache, token, id)?;
            let (call, deadline) = wtcache_call::of_late_write(call)?;
            let key = bytes("key", key, key_len)?.to_vec();
            given.opened.origin()?;
            let patch = json(patch, patch_len)?.to_vec();
            let lane = given.lane(&key);
            given.run(Some(lane), deadline, WTCACHE_OUTCOME_IN_DOUBT, move |opened, left| {
                let written = patched(opened, &key, &patch, &call.deadline(left))?;
                Ok(queue::Outcome::Ended(Ok((WTCACHE_OK, written.entry))))
            })
        })
    }
}

/// # Safety
/// The patch is NULL or may be read for `'a`.
unsafe fn json<'a>(patch: *const c_void, patch_len: usize) -> Result<&'a [u8], Refused> {
    // SAFETY: the caller's promise.
    let patch = unsafe { bytes("patch", patch, patch_len) }?;
    match serde_json::from_slice::<&RawValue>(patch) {
        Ok(_) => Ok(patch),
        Err(error) => Err(Refused::argument(format!("patch is no JSON: {error}"))),
    }
}

fn patched(opened: &Opened, key: &[u8], patch: &[u8], call: &Call) -> Result<Written<Bytes>, wtcache_error> {
    let origin = opened.origin()?;
    let prepared = opened.cache.prepare(key, call)?;
    let (left, idempotency_key) = (prepared.remaining(), prepared.idempotency_key());
    let sent = prepared.send()?;
    match origin.patch(key, patch, left, idempotency_key) {
        Outcome::Applied(Confirmed::Record(record)) => Ok(sent.commit(Some(record))),
        Outcome::Applied(_) => Ok(sent.commit(None)),
        Outcome::Rejected(rejection) => {
            sent.reject(rejection.stale_base);
            Err(WriteError::Rejected(rejection).into())
        }
        Outcome::Unknown(cause) => Err(WriteError::InDoubt(sent.in_doubt(cause)).into()),
    }
}
