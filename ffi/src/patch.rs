//! Merge patches, which an HTTP origin merges itself.
//!
//! Invariant: a patch goes out within its key's turn, and the cache knows of it before its first byte leaves.

use std::ffi::c_void;
use std::ptr;

use serde_json::value::RawValue;
use wtcache::{Confirmed, Outcome, WriteError};

use crate::arguments::{Refused, bytes, optional_output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::wtcache_call;
use crate::error::wtcache_error;
use crate::read::wtcache_entry;
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
            let patch = bytes("patch", patch, patch_len)?;
            let origin = opened.origin()?;
            if let Err(error) = serde_json::from_slice::<&RawValue>(patch) {
                return Err(Refused::argument(format!("patch is no JSON: {error}")).into());
            }
            let prepared = opened.cache.prepare(key, &call)?;
            let (left, idempotency_key) = (prepared.remaining(), prepared.idempotency_key());
            let sent = prepared.send()?;
            let written = match origin.patch(key, patch, left, idempotency_key) {
                Outcome::Applied(Confirmed::Record(record)) => sent.commit(Some(record)),
                Outcome::Applied(_) => sent.commit(None),
                Outcome::Rejected(rejection) => {
                    sent.reject(rejection.stale_base);
                    return Err(WriteError::Rejected(rejection).into());
                }
                Outcome::Unknown(cause) => return Err(WriteError::InDoubt(sent.in_doubt(cause)).into()),
            };
            Ok(confirmed(written, entry))
        })
    }
}
