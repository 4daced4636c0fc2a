//! Writing through, and forgetting.

use std::ffi::c_void;
use std::ptr;

use crate::arguments::{bytes, optional_output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::error::wtcache_error;
use crate::read::{deliver, wtcache_call, wtcache_entry};
use crate::status::WTCACHE_OK;

/// Writes a value to the origin as the record of a key, and keeps what the origin confirmed. Waits for its turn among the writers
/// of the key, and for the origin, to the deadline at most.
///
/// `entry` may be NULL; else `*entry` is the record that the origin confirmed, to be freed with `wtcache_entry_free`, or NULL where the
/// write was applied and its record was not seen. `call` may be NULL. Gives `WTCACHE_OK` once it was applied. Any error but
/// `WTCACHE_ERR_IN_DOUBT` and `WTCACHE_ERR_PANIC` says that it was not, and never will be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_put(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    call: *const wtcache_call,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let entry = optional_output(entry, ptr::null_mut());
            let (cache, key, call) =
                (wtcache_cache::of(cache)?, bytes("key", key, key_len)?, wtcache_call::read(call)?);
            let value = bytes("value", value, value_len)?;
            let written = cache.put_with(key, value.to_vec(), &call)?;
            if let Some(entry) = entry {
                deliver(written.entry, entry);
            }
            Ok(WTCACHE_OK)
        })
    }
}

/// Removes the record of a key at the origin and here. What the origin does not have counts as removed. `call` may be NULL.
///
/// Gives `WTCACHE_OK` once it was applied, and errors as `wtcache_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_delete(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    call: *const wtcache_call,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let (cache, key, call) =
                (wtcache_cache::of(cache)?, bytes("key", key, key_len)?, wtcache_call::read(call)?);
            cache.delete_with(key, &call)?;
            Ok(WTCACHE_OK)
        })
    }
}

/// Forgets what is held of a key; the origin is not asked. No read that starts after this returned gives what was cached
/// before it, and nothing that is under way now is kept. It never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_invalidate(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            wtcache_cache::of(cache)?.invalidate(bytes("key", key, key_len)?);
            Ok(WTCACHE_OK)
        })
    }
}
