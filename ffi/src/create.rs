//! Records that the origin makes, and whose keys it names.

use std::ffi::c_void;
use std::ptr;

use wtcache::{Bytes, Created};

use crate::arguments::{bytes, optional_output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::wtcache_call;
use crate::error::wtcache_error;
use crate::queue::{Given, Outcome, wtcache_queue};
use crate::read::wtcache_entry;
use crate::status::{WTCACHE_OK, WTCACHE_OUTCOME_IN_DOUBT};

/// What came of a record that the origin made. It never changes, and may be read from any thread.
pub struct wtcache_created(Created<Bytes>);

/// Has the origin make a record whose key it names itself, and keeps it under that key. It takes no turn, for there is no key before the
/// answer. Over HTTP it needs `http.create`; a source of the program's own refuses it.
///
/// `created` may be NULL; else `*created` says what came of it, to be freed with `wtcache_created_free`, or is NULL. `call` may be NULL. Gives
/// `WTCACHE_OK` once the record was made. After `WTCACHE_ERR_IN_DOUBT` nobody knows whether it was, or still will be: no key is in doubt, since none is
/// known, and `wtcache_error_doubt` gives NULL. After any other error but `WTCACHE_ERR_PANIC` it was not made, and never will be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_create(
    cache: *const wtcache_cache,
    value: *const c_void,
    value_len: usize,
    call: *const wtcache_call,
    created: *mut *mut wtcache_created,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let created = optional_output(created, ptr::null_mut());
            let cache = wtcache_cache::of(cache)?;
            let call = wtcache_call::of_write(call)?;
            let made = cache.create_with(bytes("value", value, value_len)?.to_vec(), &call)?;
            if let Some(created) = created {
                *created = border::give(wtcache_created(made));
            }
            Ok(WTCACHE_OK)
        })
    }
}

/// As `wtcache_create`, otherwise as `wtcache_get_async`: it completes in `queue`, with `wtcache_completion_created`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_create_async(
    queue: *const wtcache_queue,
    cache: *const wtcache_cache,
    value: *const c_void,
    value_len: usize,
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
            let value = bytes("value", value, value_len)?.to_vec();
            given.run(None, deadline, WTCACHE_OUTCOME_IN_DOUBT, move |opened, left| {
                Ok(Outcome::Created(wtcache_created(opened.cache.create_with(value, &call.deadline(left))?)))
            })
        })
    }
}

/// The key that the origin gave the record, and its length in `*len`, which may be NULL. Valid until it is freed. NULL where the record was made and
/// its key could not be told from the answer; then nothing is kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_created_key(created: *const wtcache_created, len: *mut usize) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    let (created, len) = unsafe { (created.as_ref(), optional_output(len, 0)) };
    let Some(key) = created.and_then(|created| created.0.key.as_ref()) else { return ptr::null() };
    if let Some(len) = len {
        *len = key.len();
    }
    key.as_ptr().cast()
}

/// The record that the origin confirmed. It is lent, and not to be freed: `wtcache_entry_clone` makes a handle that outlives `created`. NULL
/// where it was not seen: the next read of the key asks for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_created_entry(created: *const wtcache_created) -> *const wtcache_entry {
    // SAFETY: the caller keeps the rules at the header's top.
    let entry = unsafe { created.as_ref() }.and_then(|created| created.0.entry.as_ref());
    entry.map_or(ptr::null(), wtcache_entry::lend)
}

/// 1 if the cache serves the record now. 0 where the next read asks the origin: it is too heavy, has no lifetime, or something that may be newer
/// came by its key since it was sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_created_is_kept(created: *const wtcache_created) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { created.as_ref() }.map_or(0, |created| created.0.kept.into())
}

/// Frees what came of it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_created_free(created: *mut wtcache_created) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(created) };
}
