//! Doubts: the handle on a write that is in doubt, the list of keys that are, and what became of them on the program's word.

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::time::Duration;

use wtcache::{Bytes, InDoubt, KeyInDoubt, Settlement};

use crate::arguments::{Growing, Refused, bytes, fill, optional_output, output, required};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::wtcache_call;
use crate::error::{rounded_up_ms, wtcache_error};
use crate::fork::Owned;
use crate::read::{whole_ms, wtcache_entry};
use crate::status::{WTCACHE_NOT_FOUND, WTCACHE_OK, WTCACHE_PENDING};
use crate::write::confirmed;

/// Nothing is known yet of a write in doubt: it may still be under way.
pub const WTCACHE_SETTLEMENT_NONE: i32 = 0;
/// It was applied, and nothing of it is under way any more.
pub const WTCACHE_SETTLEMENT_APPLIED: i32 = 1;
/// It was not applied, and never will be.
pub const WTCACHE_SETTLEMENT_NOT_APPLIED: i32 = 2;
/// Nothing of it is under way any more. Whether it was applied is not known: a read shows what is there.
pub const WTCACHE_SETTLEMENT_OVER: i32 = 3;

/// A write in doubt, from `wtcache_error_doubt` and its like. It keeps the value that was to be written, but not the cache: once that is
/// gone, nothing is sent again. It may be used from any thread.
pub struct wtcache_doubt(Owned<Held>);

struct Held {
    doubt: InDoubt<Bytes>,
    idempotency_key: CString,
}

impl wtcache_doubt {
    pub(crate) fn new(doubt: InDoubt<Bytes>) -> Self {
        let idempotency_key = CString::new(doubt.idempotency_key().to_string()).expect("hexadecimal digits");
        Self(Owned::new(Held { doubt, idempotency_key }))
    }

    /// # Safety
    /// `handle` is NULL or points to one that is not freed for `'a`.
    unsafe fn of<'a>(handle: *const Self) -> Result<&'a InDoubt<Bytes>, Refused> {
        // SAFETY: the caller's promise.
        Ok(&unsafe { required("doubt", handle) }?.0.get()?.doubt)
    }
}

/// The key of the write, and its length in `*len`, which may be NULL. Valid until the handle is freed. NULL for NULL, and in the child of
/// a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_key(doubt: *const wtcache_doubt, len: *mut usize) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    let (doubt, len) = unsafe { (wtcache_doubt::of(doubt), optional_output(len, 0)) };
    let Ok(doubt) = doubt else { return ptr::null() };
    if let Some(len) = len {
        *len = doubt.key().len();
    }
    doubt.key().as_ptr().cast()
}

/// The key under which every send of the write goes out: 32 hexadecimal digits and a NUL. Valid until the handle is freed. NULL for NULL,
/// and in the child of a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_idempotency_key(doubt: *const wtcache_doubt) -> *const c_char {
    // SAFETY: the caller keeps the rules at the header's top.
    let held = unsafe { doubt.as_ref() }.and_then(|doubt| doubt.0.get().ok());
    held.map_or(ptr::null(), |held| held.idempotency_key.as_ptr())
}

/// In how many milliseconds the doubt of the key ends by itself, unless a later write prolongs it; 0 where it has ended, for NULL, and in
/// the child of a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_remaining_ms(doubt: *const wtcache_doubt) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { wtcache_doubt::of(doubt) }.map_or(0, |doubt| rounded_up_ms(doubt.settles_in()))
}

/// What became of the write, one of `WTCACHE_SETTLEMENT_*`. Never waits. `WTCACHE_SETTLEMENT_NONE` for NULL, and in the child of a
/// fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_outcome(doubt: *const wtcache_doubt) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { wtcache_doubt::of(doubt) }.ok().and_then(InDoubt::outcome) {
        None => WTCACHE_SETTLEMENT_NONE,
        Some(Settlement::Applied) => WTCACHE_SETTLEMENT_APPLIED,
        Some(Settlement::NotApplied) => WTCACHE_SETTLEMENT_NOT_APPLIED,
        Some(Settlement::Over) => WTCACHE_SETTLEMENT_OVER,
    }
}

/// Waits until the doubt of the key has ended, for `timeout_ms` at most. Gives `WTCACHE_OK` where it has, and `wtcache_doubt_outcome` says
/// what is known; else `WTCACHE_PENDING`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_wait(
    doubt: *const wtcache_doubt,
    timeout_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let settled = wtcache_doubt::of(doubt)?.wait(Duration::from_millis(timeout_ms));
            Ok(if settled { WTCACHE_OK } else { WTCACHE_PENDING })
        })
    }
}

/// Sends the very same write again, with its idempotency key and its condition, in a turn of its key; the idempotency key of `call`, which
/// may be NULL, does not count. Where the source declares `honours_idempotency`, the answer settles the doubt; elsewhere it is
/// one more send, which may be applied on top of the first and on what was written since, and the doubt goes on.
///
/// `entry` as by `wtcache_put`. Gives `WTCACHE_OK` once it was applied. `WTCACHE_ERR_REJECTED`: the write was not applied, and will not be.
/// `WTCACHE_ERR_IN_DOUBT`: as before. Other errors say why nothing was sent; their outcome says that the write is in doubt as before:
/// `WTCACHE_ERR_CLOSED` also where the cache is gone, `WTCACHE_ERR_STATE` where the program sent the write itself, with a permit or in a
/// step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_replay(
    doubt: *const wtcache_doubt,
    call: *const wtcache_call,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let entry = optional_output(entry, ptr::null_mut());
            let (doubt, call) = (wtcache_doubt::of(doubt)?, wtcache_call::of_write(call)?);
            Ok(confirmed(doubt.replay(&call)?, entry))
        })
    }
}

/// Says what became of this write, on the word of a program that knows: `settlement` is one of `WTCACHE_SETTLEMENT_*` but NONE. A word that is
/// not true makes the cache serve what is not so. Never waits, and calls no source.
///
/// Gives `WTCACHE_OK` where the key is no longer in doubt, or its cache is gone; `WTCACHE_PENDING` where other writes of it still are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_settle(
    doubt: *const wtcache_doubt,
    settlement: i32,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let settled = wtcache_doubt::of(doubt)?.settle(settlement_of(settlement)?);
            Ok(if settled { WTCACHE_OK } else { WTCACHE_PENDING })
        })
    }
}

/// Frees a handle; the doubt goes on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_free(doubt: *mut wtcache_doubt) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(doubt) };
}

/// Ends the doubt of a key, on the word of a program that knows that none of its writes in doubt can land any more: `settlement`, as by
/// `wtcache_doubt_settle`, says what became of them all. Gives `WTCACHE_NOT_FOUND` where the key is not in doubt; nothing has changed then.
/// Never waits, and calls no source.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_settle(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    settlement: i32,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let settled = cache.settle(key, settlement_of(settlement)?);
            Ok(if settled { WTCACHE_OK } else { WTCACHE_NOT_FOUND })
        })
    }
}

/// Keys in doubt as they stood when they were listed. It never changes, and may be read from any thread.
pub struct wtcache_doubt_list(Vec<Listed>);

struct Listed {
    key: Box<[u8]>,
    since_ms: u64,
    remaining_ms: u64,
    unsettled: u64,
}

/// A key in doubt. Set `struct_size` to its `sizeof`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_key_in_doubt {
    /// `sizeof(wtcache_key_in_doubt)`.
    pub struct_size: usize,
    /// The key. Valid until the list is freed.
    pub key: *const c_void,
    /// The bytes of `key`.
    pub key_len: usize,
    /// For how long it had been in doubt, in milliseconds, when it was listed.
    pub since_ms: u64,
    /// In how many milliseconds from then the doubt ends by itself, unless another write of the key ends in doubt.
    pub remaining_ms: u64,
    /// How many sends may still land.
    pub unsettled: u64,
}

// SAFETY: `repr(C)`, begins with its size, and integers and pointers may be zero.
unsafe impl Growing for wtcache_key_in_doubt {
    const NAME: &'static str = "key_in_doubt";
    const LEAST: usize = size_of::<usize>();
}

/// Lists the keys of which nobody knows whether their last writes were, or will be, applied: `most` of them at most, in no order. The
/// member `in_doubt` of `wtcache_stats` counts them all. Never waits, and calls no source.
///
/// `*list` is to be freed with `wtcache_doubt_list_free`, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_list_doubts(
    cache: *const wtcache_cache,
    most: usize,
    list: *mut *mut wtcache_doubt_list,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let list = output("list", list, ptr::null_mut())?;
            let cache = wtcache_cache::of(cache)?;
            let (doubts, now) = (cache.doubts(most), cache.now());
            let listed = |doubt: KeyInDoubt<Box<[u8]>>| Listed {
                key: doubt.key,
                since_ms: whole_ms(now.since(doubt.since)),
                remaining_ms: rounded_up_ms(doubt.until.since(now)),
                unsettled: doubt.unsettled as u64,
            };
            *list = border::give(wtcache_doubt_list(doubts.into_iter().map(listed).collect()));
            Ok(WTCACHE_OK)
        })
    }
}

/// How many keys a list has; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_list_count(list: *const wtcache_doubt_list) -> usize {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { list.as_ref() }.map_or(0, |list| list.0.len())
}

/// Tells of one of these keys, as far as `doubt->struct_size` says. `WTCACHE_NOT_FOUND` where there is none of that index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_list_get(
    list: *const wtcache_doubt_list,
    index: usize,
    doubt: *mut wtcache_key_in_doubt,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let list = required("list", list)?;
            let listed = list.0.get(index);
            let (key, key_len) =
                listed.map_or((ptr::null(), 0), |listed| (listed.key.as_ptr().cast(), listed.key.len()));
            let told = wtcache_key_in_doubt {
                struct_size: size_of::<wtcache_key_in_doubt>(),
                key,
                key_len,
                since_ms: listed.map_or(0, |listed| listed.since_ms),
                remaining_ms: listed.map_or(0, |listed| listed.remaining_ms),
                unsettled: listed.map_or(0, |listed| listed.unsettled),
            };
            fill(doubt, &told)?;
            Ok(if listed.is_some() { WTCACHE_OK } else { WTCACHE_NOT_FOUND })
        })
    }
}

/// Frees a list. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_doubt_list_free(list: *mut wtcache_doubt_list) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(list) };
}

pub(crate) fn settlement_of(number: i32) -> Result<Settlement, Refused> {
    match number {
        WTCACHE_SETTLEMENT_APPLIED => Ok(Settlement::Applied),
        WTCACHE_SETTLEMENT_NOT_APPLIED => Ok(Settlement::NotApplied),
        WTCACHE_SETTLEMENT_OVER => Ok(Settlement::Over),
        other => Err(Refused::argument(format!("settlement is {other}, which says nothing of what became of it"))),
    }
}
