//! Reading: a pinned view of a record, or a copy of it in the caller's buffer.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::slice;
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
// Of this type there is nothing but pointers: they are the record's own address, so that a hit allocates nothing.
pub struct wtcache_entry(());

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
        if !entry.is_null()
            && let Some(hit) = glance(cache, (key, key_len), call)
        {
            entry.write(wtcache_entry::give(hit));
            return border::fine(err);
        }
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
        if !value_len.is_null()
            && !buffer.is_null()
            && let Some(hit) = glance(cache, (key, key_len), call)
            && hit.len() <= buffer_len
        {
            value_len.write(hit.len());
            ptr::copy_nonoverlapping(hit.as_ptr(), buffer.cast(), hit.len());
            return border::fine(err);
        }
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
    unsafe { seen(entry) }.is_some_and(|entry| entry.pending_since().is_some()).into()
}

/// How long it may still be served as fresh, in milliseconds; `UINT64_MAX` without end, 0 where it has expired. `cache` is the one that
/// gave it. 0 for NULL, and in the child of a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_remaining_ms(entry: *const wtcache_entry, cache: *const wtcache_cache) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    let Ok(cache) = (unsafe { wtcache_cache::of(cache) }) else { return 0 };
    // SAFETY: as above.
    let Some(entry) = (unsafe { seen(entry) }) else { return 0 };
    if entry.expires() == Tick::NEVER { u64::MAX } else { whole_ms(entry.remaining(cache.now())) }
}

/// For how long it has been expired, in milliseconds: more than 0 only for what was served stale, in a window that its source, the
/// configuration or the call declares, or has expired since it was given. Otherwise as `wtcache_entry_remaining_ms`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_stale_ms(entry: *const wtcache_entry, cache: *const wtcache_cache) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    let Ok(cache) = (unsafe { wtcache_cache::of(cache) }) else { return 0 };
    // SAFETY: as above. Rounded up, so that what is stale is never said to be fresh.
    unsafe { seen(entry) }.map_or(0, |entry| rounded_up_ms(entry.stale_for(cache.now())))
}

/// How long ago the request began that brought it, or confirmed it last, in milliseconds, rounded up; of a pending one, how long ago the oldest
/// of the writes was admitted that it shows. Otherwise as `wtcache_entry_remaining_ms`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_age_ms(entry: *const wtcache_entry, cache: *const wtcache_cache) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    let Ok(cache) = (unsafe { wtcache_cache::of(cache) }) else { return 0 };
    // SAFETY: as above.
    unsafe { seen(entry) }.map_or(0, |entry| rounded_up_ms(cache.now().since(entry.since())))
}

/// Another handle on the same record, to be freed like the first. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_clone(entry: *const wtcache_entry) -> *mut wtcache_entry {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { seen(entry) }.map_or(ptr::null_mut(), |entry| wtcache_entry::give(Entry::clone(&entry)))
}

/// Frees an entry, and with it what it gave pointers to. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_free(entry: *mut wtcache_entry) {
    let Some(entry) = NonNull::new(entry) else { return };
    // SAFETY: the caller gives it back once.
    drop(unsafe { Entry::<Bytes>::from_raw(entry.cast()) });
}

impl wtcache_entry {
    /// Hands a record out, to be freed with `wtcache_entry_free`.
    pub(crate) fn give(entry: Entry<Bytes>) -> *mut Self {
        entry.into_raw().as_ptr().cast()
    }

    /// Shows a record for as long as `entry` is held.
    pub(crate) fn lend(entry: &Entry<Bytes>) -> *const Self {
        entry.as_raw().as_ptr().cast()
    }
}

/// The record behind a pointer, which keeps it; `None` for NULL.
///
/// # Safety
/// `entry` is NULL or what [`wtcache_entry::give`] or [`wtcache_entry::lend`] gave, and the record is held meanwhile.
unsafe fn seen(entry: *const wtcache_entry) -> Option<ManuallyDrop<Entry<Bytes>>> {
    let entry = NonNull::new(entry.cast_mut())?;
    // SAFETY: the caller's promise, and it is not dropped.
    Some(ManuallyDrop::new(unsafe { Entry::from_raw(entry.cast()) }))
}

/// A hit that asks for nothing in particular: no call options, nothing to be refused, no error to be told. It runs no code that
/// could panic.
///
/// # Safety
/// The rules at the header's top.
unsafe fn glance(
    cache: *const wtcache_cache,
    (key, key_len): (*const c_void, usize),
    call: *const wtcache_call,
) -> Option<Entry<Bytes>> {
    if !call.is_null() || key.is_null() || key_len > isize::MAX as usize {
        return None;
    }
    // SAFETY: the caller's promise; not NULL, and no longer than memory is.
    let (cache, key) = unsafe { (cache.as_ref()?.cache()?, slice::from_raw_parts(key.cast(), key_len)) };
    cache.glance::<[u8]>(key)
}

/// Milliseconds, rounded down.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Hands a record out, and gives the status that says whether there is one.
pub(crate) fn deliver(found: Option<Entry<Bytes>>, entry: &mut *mut wtcache_entry) -> i32 {
    match found {
        Some(found) => {
            *entry = wtcache_entry::give(found);
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
    let (entry, len) = unsafe { (seen(entry), optional_output(len, 0)) };
    let Some(entry) = entry else { return ptr::null() };
    let Some(part) = part(&entry) else { return ptr::null() };
    if let Some(len) = len {
        *len = part.len();
    }
    part.as_ptr().cast()
}
