//! Reading: a pinned view of a record, or a copy of it in the caller's buffer.

use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use wtcache::{Bytes, Entry, Tick};

use crate::arguments::{Refused, bytes, optional_output, output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::wtcache_call;
use crate::error::{rounded_up_ms, wtcache_error};
use crate::status::{WTCACHE_NOT_FOUND, WTCACHE_OK, WTCACHE_TOO_SMALL};

/// A record that the cache handed out: key, value and version, which stay valid and unchanged until it is freed, also
/// after the cache dropped it or is gone. It may be read from any thread.
pub struct wtcache_entry(Entry<Bytes>);

/// Reads the record of a key: from the cache, else from the origin. Waits to the deadline at most; a hit never waits.
///
/// `*entry` is the record, to be freed with `wtcache_entry_free`, or NULL. `call` may be NULL. Gives `WTCACHE_OK`,
/// `WTCACHE_NOT_FOUND` where the origin has none, or why it could not be read; then nothing was changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    call: *const wtcache_call,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let entry = output("entry", entry, ptr::null_mut())?;
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            Ok(deliver(wtcache_call::of_read(call)?.read(cache, key)?, entry))
        })
    }
}

/// As `wtcache_get`, with the value copied into `buffer` of `buffer_len` bytes. `*value_len` is the value's length.
///
/// Where the buffer is too small, nothing is copied, `*value_len` is told, and the status is `WTCACHE_TOO_SMALL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_into(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    call: *const wtcache_call,
    buffer: *mut c_void,
    buffer_len: usize,
    value_len: *mut usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let value_len = output("value_len", value_len, 0)?;
            if buffer.is_null() && buffer_len != 0 {
                return Err(Refused::argument("buffer is NULL, but not empty").into());
            }
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let found = wtcache_call::of_read(call)?.read(cache, key)?;
            let Some(entry) = found else { return Ok(WTCACHE_NOT_FOUND) };
            let value = entry.value();
            *value_len = value.len();
            if value.len() > buffer_len {
                return Ok(WTCACHE_TOO_SMALL);
            }
            if !value.is_empty() {
                ptr::copy_nonoverlapping(value.as_ptr(), buffer.cast(), value.len());
            }
            Ok(WTCACHE_OK)
        })
    }
}

/// Reads the record of a key if it is resident and fresh. Never waits, and never calls the source.
///
/// `*entry` is the record, to be freed with `wtcache_entry_free`, or NULL. Gives `WTCACHE_OK` or `WTCACHE_NOT_FOUND`, also where the
/// absence is known, and once the cache is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_peek(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let entry = output("entry", entry, ptr::null_mut())?;
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            Ok(deliver(cache.peek(key), entry))
        })
    }
}

/// The value, and its length in `*len`, which may be NULL. Valid until the entry is freed. NULL only for no entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_value(entry: *const wtcache_entry, len: *mut usize) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { part(entry, len, |entry| Some(entry.value())) }
}

/// The key, and its length in `*len`, which may be NULL. Valid until the entry is freed. NULL only for no entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_key(entry: *const wtcache_entry, len: *mut usize) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { part(entry, len, |entry| Some(entry.key())) }
}

/// The origin's version, and its length in `*len`, which may be NULL. Valid until the entry is freed. NULL where the
/// origin gave none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_version(entry: *const wtcache_entry, len: *mut usize) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { part(entry, len, Entry::version) }
}

/// 1 if pending writes have a part in it, so that the origin has not confirmed it; else 0, also for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_is_pending(entry: *const wtcache_entry) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { entry.as_ref() }.is_some_and(|entry| entry.0.pending_since().is_some()).into()
}

/// How long it may still be served as fresh, in milliseconds; `UINT64_MAX` without end, 0 where it has expired. `cache` is the one that
/// gave it. 0 for NULL, and in the child of a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_remaining_ms(entry: *const wtcache_entry, cache: *const wtcache_cache) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    let Ok(cache) = (unsafe { wtcache_cache::of(cache) }) else { return 0 };
    // SAFETY: as above.
    let Some(entry) = (unsafe { entry.as_ref() }) else { return 0 };
    if entry.0.expires() == Tick::NEVER { u64::MAX } else { whole_ms(entry.0.remaining(cache.now())) }
}

/// For how long it has been expired, in milliseconds: more than 0 only for what was served stale, in a window that the configuration
/// declares, or has expired since it was given. Otherwise as `wtcache_entry_remaining_ms`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_stale_ms(entry: *const wtcache_entry, cache: *const wtcache_cache) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    let Ok(cache) = (unsafe { wtcache_cache::of(cache) }) else { return 0 };
    // SAFETY: as above. Rounded up, so that what is stale is never said to be fresh.
    unsafe { entry.as_ref() }.map_or(0, |entry| rounded_up_ms(entry.0.stale_for(cache.now())))
}

/// Another handle on the same record, to be freed like the first. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_clone(entry: *const wtcache_entry) -> *mut wtcache_entry {
    // SAFETY: the caller keeps the rules at the header's top.
    let entry = unsafe { entry.as_ref() };
    entry.map_or(ptr::null_mut(), |entry| border::give(wtcache_entry(entry.0.clone())))
}

/// Frees an entry, and with it what it gave pointers to. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_free(entry: *mut wtcache_entry) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(entry) };
}

impl wtcache_entry {
    pub(crate) fn new(entry: Entry<Bytes>) -> Self {
        Self(entry)
    }
}

/// Milliseconds, rounded down.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Hands a record out, and gives the status that says whether there is one.
pub(crate) fn deliver(found: Option<Entry<Bytes>>, entry: &mut *mut wtcache_entry) -> i32 {
    match found {
        Some(found) => {
            *entry = border::give(wtcache_entry(found));
            WTCACHE_OK
        }
        None => WTCACHE_NOT_FOUND,
    }
}

unsafe fn part(
    entry: *const wtcache_entry,
    len: *mut usize,
    part: impl FnOnce(&Entry<Bytes>) -> Option<&[u8]>,
) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    let (entry, len) = unsafe { (entry.as_ref(), optional_output(len, 0)) };
    let Some(part) = entry.and_then(|entry| part(&entry.0)) else { return ptr::null() };
    if let Some(len) = len {
        *len = part.len();
    }
    part.as_ptr().cast()
}
