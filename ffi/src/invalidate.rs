//! Forgetting what is held, of one key or of many.

use std::ffi::c_void;

use wtcache::Forgotten;

use crate::arguments::{Growing, bytes, fill};
use crate::border;
use crate::cache::wtcache_cache;
use crate::error::wtcache_error;
use crate::status::WTCACHE_OK;

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

/// What forgetting many keys came to. Set `struct_size` to its `sizeof`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_forgotten {
    /// `sizeof(wtcache_forgotten)`.
    pub struct_size: usize,
    /// How many resident entries went, expired ones and remembered absences included.
    pub entries: u64,
    /// 1 if it had to look at entries that it did not mean, so that its cost grows with what is resident; else 0.
    pub scanned: i32,
    /// Zero.
    pub reserved: i32,
}

// SAFETY: `repr(C)`, begins with its size, and integers may be zero.
unsafe impl Growing for wtcache_forgotten {
    const NAME: &'static str = "forgotten";
    const LEAST: usize = size_of::<usize>();
}

/// Forgets all keys that begin with `prefix`, as `wtcache_invalidate` forgets one; with an empty one, all there are. Costs what it
/// matches where `wtcache_config_set_key_index` is on; else it looks at all entries. It never waits for the source.
///
/// `forgotten` may be NULL; else it is told what it came to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_invalidate_prefix(
    cache: *const wtcache_cache,
    prefix: *const c_void,
    prefix_len: usize,
    forgotten: *mut wtcache_forgotten,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            tell(forgotten, None)?;
            let (cache, prefix) = (wtcache_cache::of(cache)?, bytes("prefix", prefix, prefix_len)?);
            tell(forgotten, Some(cache.invalidate_prefix(prefix)))
        })
    }
}

/// Forgets all keys that match `pattern`: in it, `*` is anything but a separator (`:`, unless configured otherwise), a `*` at the end
/// is the whole rest, and `\*` is a star. Otherwise as `wtcache_invalidate_prefix`; the key index helps with what comes before the
/// first star.
///
/// A backslash before something else than a star is refused with `WTCACHE_ERR_ARGUMENT`; nothing was forgotten then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_invalidate_pattern(
    cache: *const wtcache_cache,
    pattern: *const c_void,
    pattern_len: usize,
    forgotten: *mut wtcache_forgotten,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            tell(forgotten, None)?;
            let (cache, pattern) = (wtcache_cache::of(cache)?, bytes("pattern", pattern, pattern_len)?);
            tell(forgotten, Some(cache.invalidate_pattern(pattern)?))
        })
    }
}

/// Forgets all records that have `tag`; a source gives tags with `wtcache_record.tags`. What is under way now is not kept if it has it.
/// A remembered absence has no tags. Costs what it matches.
///
/// `forgotten` may be NULL; else it is told what it came to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_invalidate_tag(
    cache: *const wtcache_cache,
    tag: *const c_void,
    tag_len: usize,
    forgotten: *mut wtcache_forgotten,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            tell(forgotten, None)?;
            let (cache, tag) = (wtcache_cache::of(cache)?, bytes("tag", tag, tag_len)?);
            tell(forgotten, Some(cache.invalidate_tag(tag)))
        })
    }
}

/// Tells what it came to, or sets it to nothing, where somebody asks.
///
/// # Safety
/// `there` is NULL or points to one of the size that it says.
unsafe fn tell(there: *mut wtcache_forgotten, came_to: Option<Forgotten>) -> Result<i32, wtcache_error> {
    if !there.is_null() {
        let (entries, scanned) = came_to.map_or((0, false), |came_to| (came_to.entries, came_to.scanned));
        let struct_size = size_of::<wtcache_forgotten>();
        // SAFETY: the caller's promise.
        unsafe { fill(there, &wtcache_forgotten { struct_size, entries, scanned: scanned.into(), reserved: 0 }) }?;
    }
    Ok(WTCACHE_OK)
}
