//! Writing through: put and delete, as they are or on a condition.

use std::ffi::c_void;
use std::ptr;

use wtcache::{Bytes, Expect, Version, Written};

use crate::arguments::{Growing, Refused, array, bytes, growing, optional_output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::{wtcache_bytes, wtcache_call};
use crate::error::wtcache_error;
use crate::read::{deliver, wtcache_entry};
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
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let call = wtcache_call::of_write(call)?;
            let value = bytes("value", value, value_len)?;
            Ok(confirmed(cache.put_with(key, value.to_vec(), &call)?, entry))
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
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            cache.delete_with(key, &wtcache_call::of_write(call)?)?;
            Ok(WTCACHE_OK)
        })
    }
}

/// There is no record.
pub const WTCACHE_EXPECT_ABSENT: i32 = 1;
/// There is a record, whatever its version.
pub const WTCACHE_EXPECT_EXISTS: i32 = 2;
/// The record has one of `versions`. A record without a version has none of them.
pub const WTCACHE_EXPECT_VERSION: i32 = 3;

/// What a write expects of the existing record. Set `struct_size` to its `sizeof`, and to zero what is not used.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_expect {
    /// `sizeof(wtcache_expect)`.
    pub struct_size: usize,
    /// One of `WTCACHE_EXPECT_*`. Zero is none of them: a write that expects nothing is a `wtcache_put`.
    pub kind: i32,
    /// Zero.
    pub reserved: i32,
    /// Of `WTCACHE_EXPECT_VERSION`: the versions, each 65,535 bytes at most.
    pub versions: *const wtcache_bytes,
    /// How many they are.
    pub version_count: usize,
}

// SAFETY: `repr(C)`, begins with its size, and integers and pointers may be zero.
unsafe impl Growing for wtcache_expect {
    const NAME: &'static str = "expect";
    const LEAST: usize = size_of::<Self>();
}

impl wtcache_expect {
    /// # Safety
    /// `expect` is NULL or points to one, whose versions may be read.
    pub(crate) unsafe fn read(expect: *const Self) -> Result<Expect, Refused> {
        // SAFETY: the caller's promise.
        let expect = unsafe { growing(expect) }?.all()?;
        // SAFETY: as above.
        let versions = unsafe { array("expect.versions", expect.versions, expect.version_count) }?;
        match expect.kind {
            WTCACHE_EXPECT_VERSION if !versions.is_empty() => {
                let version = |bytes: &wtcache_bytes| {
                    // SAFETY: the caller's promise.
                    let bytes = unsafe { bytes.read("expect.versions") }?;
                    let long = || Refused::argument(format!("a version of {} bytes: 65535 at most", bytes.len()));
                    Version::new(bytes).ok_or_else(long)
                };
                Ok(Expect::AnyOf(versions.iter().map(version).collect::<Result<_, _>>()?))
            }
            WTCACHE_EXPECT_VERSION => Err(Refused::argument("expect.versions: there are none")),
            _ if !versions.is_empty() => Err(Refused::argument("expect.versions: are of WTCACHE_EXPECT_VERSION only")),
            WTCACHE_EXPECT_ABSENT => Ok(Expect::Absent),
            WTCACHE_EXPECT_EXISTS => Ok(Expect::Exists),
            other => Err(Refused::argument(format!("expect.kind is {other}, which is no WTCACHE_EXPECT"))),
        }
    }
}

/// As `wtcache_put`, if what is expected holds of the existing record: the resident one, else the origin's, asked now. It is checked in
/// the write's turn, so that no other writer of this process comes between, and goes on to an origin that is declared to honour
/// preconditions; else it is checked here only, and a writer elsewhere may come between.
///
/// Gives `WTCACHE_ERR_UNMET` where it does not hold: nothing was sent, nothing has changed, and `wtcache_error_existing` is the record
/// that is there. `WTCACHE_ERR_CONFLICT` where the origin found so: what was cached was dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_put_if(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    expect: *const wtcache_expect,
    call: *const wtcache_call,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let entry = optional_output(entry, ptr::null_mut());
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let value = bytes("value", value, value_len)?;
            let (expect, call) = (wtcache_expect::read(expect)?, wtcache_call::of_write(call)?);
            Ok(confirmed(cache.put_if_with(key, value.to_vec(), expect, &call)?, entry))
        })
    }
}

/// As `wtcache_delete`, if what is expected holds of the existing record: see `wtcache_put_if`. What the origin no longer has is a
/// conflict here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_delete_if(
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    expect: *const wtcache_expect,
    call: *const wtcache_call,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let (cache, key) = (wtcache_cache::of(cache)?, bytes("key", key, key_len)?);
            let (expect, call) = (wtcache_expect::read(expect)?, wtcache_call::of_write(call)?);
            cache.delete_if_with(key, expect, &call)?;
            Ok(WTCACHE_OK)
        })
    }
}

/// Hands out what an applied write left, where somebody asks for it.
pub(crate) fn confirmed(written: Written<Bytes>, entry: Option<&mut *mut wtcache_entry>) -> i32 {
    if let Some(entry) = entry {
        deliver(written.entry, entry);
    }
    WTCACHE_OK
}
