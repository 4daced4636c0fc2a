//! Reading: a pinned view of a record, or a copy of it in the caller's buffer.

use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use wtcache::{Bytes, Call, Entry, IdempotencyKey};

use crate::arguments::{Growing, Refused, bytes, growing, optional_output, output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::error::wtcache_error;
use crate::status::{WTCACHE_NOT_FOUND, WTCACHE_OK, WTCACHE_TOO_SMALL};

/// Options of one call; NULL stands for none. Set `struct_size` to its `sizeof`, and to zero what is not used.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_call {
    /// `sizeof(wtcache_call)`.
    pub struct_size: usize,
    /// How long the call may take in milliseconds, the source's work included; a day at most. Zero: as the cache is
    /// configured.
    pub deadline_ms: u64,
    /// Of a write: 16 bytes under which it goes out to an origin that recognises resends. NULL: a random one.
    pub idempotency_key: *const c_void,
}

// SAFETY: `repr(C)`, begins with its size, and integers and pointers may be zero.
unsafe impl Growing for wtcache_call {
    const NAME: &'static str = "call";
    const LEAST: usize = size_of::<usize>();
}

impl wtcache_call {
    /// # Safety
    /// `call` is NULL or points to one, whose key is NULL or has 16 bytes.
    pub(crate) unsafe fn read(call: *const Self) -> Result<Call, Refused> {
        let mut options = Call::new();
        if call.is_null() {
            return Ok(options);
        }
        // SAFETY: the caller's promise.
        let call = unsafe { growing(call) }?.all()?;
        if call.deadline_ms != 0 {
            options = options.deadline(Duration::from_millis(call.deadline_ms));
        }
        if !call.idempotency_key.is_null() {
            // SAFETY: the caller's promise; an array of bytes is always aligned.
            let bits = unsafe { call.idempotency_key.cast::<[u8; 16]>().read() };
            options = options.idempotency_key(IdempotencyKey::from_bits(u128::from_be_bytes(bits)));
        }
        Ok(options)
    }
}

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
            let (cache, key, call) =
                (wtcache_cache::of(cache)?, bytes("key", key, key_len)?, wtcache_call::read(call)?);
            Ok(deliver(cache.read(key, &call)?.entry, entry))
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
            let (cache, key, call) =
                (wtcache_cache::of(cache)?, bytes("key", key, key_len)?, wtcache_call::read(call)?);
            let Some(entry) = cache.read(key, &call)?.entry else { return Ok(WTCACHE_NOT_FOUND) };
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

/// Another handle on the same record, to be freed like the first. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_clone(entry: *const wtcache_entry) -> *mut wtcache_entry {
    // SAFETY: the caller keeps the rules at the header's top.
    let entry = unsafe { entry.as_ref() };
    entry.map_or(ptr::null_mut(), |entry| Box::into_raw(Box::new(wtcache_entry(entry.0.clone()))))
}

/// Frees an entry, and with it what it gave pointers to. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_entry_free(entry: *mut wtcache_entry) {
    if !entry.is_null() {
        // SAFETY: it came from `Box::into_raw`, and the caller gives it back once.
        border::quietly((), || drop(unsafe { Box::from_raw(entry) }));
    }
}

/// Hands a record out, and gives the status that says whether there is one.
pub(crate) fn deliver(found: Option<Entry<Bytes>>, entry: &mut *mut wtcache_entry) -> i32 {
    match found {
        Some(found) => {
            *entry = Box::into_raw(Box::new(wtcache_entry(found)));
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
