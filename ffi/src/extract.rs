//! What the program says of entries: what they weigh, which tags they have, and their values in the indexes that they are found by.
//!
//! Core calls all of it once an entry, with no lock held. Invariant: what a callback does not say is known as such, and its entry is not
//! kept; it never counts as a weight of zero, or as having no tags.

use std::ffi::c_void;
use std::panic::resume_unwind;
use std::ptr;
use std::sync::Arc;

use wtcache::{Builder, Bytes};

use crate::arguments::{Refused, bytes, optional_output, output, required, text};
use crate::border;
use crate::cache::wtcache_cache;
use crate::config::wtcache_config;
use crate::error::{Entrusted, wtcache_error};
use crate::many::wtcache_results;
use crate::status::WTCACHE_OK;

/// Says in `*weight` what an entry weighs; `value` is NULL for a remembered absence, and else never. It is called once an entry, before that is
/// kept, and for a pending write; for threads and the rest see `wtcache_extract_call`.
///
/// One that weighs zero takes no room; one of 2^32 or more is not kept. `*weight` is `UINT64_MAX` before: where it stays so, the entry could
/// not be weighed. It is not kept then, and counted in `extracts_failed`; a pending write is refused with `WTCACHE_ERR_OVERLOADED`.
pub type wtcache_weigh_call = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        key: *const c_void,
        key_len: usize,
        value: *const c_void,
        value_len: usize,
        weight: *mut u64,
    ),
>;

/// Says with `wtcache_extract_add` which tags a record has, or its values in an index: none, one or several; the same twice counts once.
/// Then it says with `wtcache_extract_done` that this was all. Without that they could not be found: the record is not kept then, and counted
/// in `extracts_failed`; whoever reads or writes it is given it all the same. It is called once an entry, before that is kept, never for
/// an absence. `value` is never NULL.
///
/// It is called from any thread, from many at once: by the one that loads or writes the record, and where that is in the background, by
/// one of the library's. No lock is held, but others wait for the same load, or for the turn of the key: it must not call the
/// cache, which could wait for itself. Key, value and `to` are valid until it returns. No exception may leave it.
pub type wtcache_extract_call = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        key: *const c_void,
        key_len: usize,
        value: *const c_void,
        value_len: usize,
        to: *mut wtcache_extract,
    ),
>;

/// Takes what is extracted of one record. It is the library's, belongs to the thread of the callback, and is valid until that returns.
pub struct wtcache_extract {
    values: Vec<Box<[u8]>>,
    done: bool,
}

/// Adds a tag, or a value in the index, of `len` bytes, which are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_extract_add(
    to: *mut wtcache_extract,
    value: *const c_void,
    len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            required("to", to)?;
            let value = bytes("value", value, len)?.into();
            (*to).values.push(value);
            Ok(WTCACHE_OK)
        })
    }
}

/// Says that what was added is all there is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_extract_done(to: *mut wtcache_extract, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            required("to", to)?;
            (*to).done = true;
            Ok(WTCACHE_OK)
        })
    }
}

/// The caches that are opened with this configuration ask `weigh` what an entry weighs, in place of the bytes of key, value and header; it
/// takes the place of one that was set before. The capacity (`wtcache_config_set_capacity_bytes`) and
/// `wtcache_config_set_optimistic_weight_bytes` are in its unit then.
///
/// `destroy`, which may be NULL, is called exactly once with `user_data`: after the last callback returned, when configuration and caches
/// are gone, or here if this is refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_weigher(
    config: *mut wtcache_config,
    weigh: wtcache_weigh_call,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    err: *mut *mut wtcache_error,
) -> i32 {
    let user_data = Entrusted { pointer: user_data, release: destroy };
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            required("config", config)?;
            let call = weigh.ok_or_else(|| Refused::argument("weigh is NULL"))?;
            (*config).extracts.weigher = Some(Arc::new(Weigher { call, user_data }));
            Ok(WTCACHE_OK)
        })
    }
}

/// The caches that are opened with this configuration ask `tags` which tags a record has, beside those that the source gives it: by a tag,
/// `wtcache_invalidate_tag` forgets all records that have it. It takes the place of one that was set before.
///
/// `destroy` as of `wtcache_config_set_weigher`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_tags(
    config: *mut wtcache_config,
    tags: wtcache_extract_call,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    err: *mut *mut wtcache_error,
) -> i32 {
    let user_data = Entrusted { pointer: user_data, release: destroy };
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            required("config", config)?;
            let call = tags.ok_or_else(|| Refused::argument("tags is NULL"))?;
            (*config).extracts.tags = Some(Arc::new(Extractor { call, user_data }));
            Ok(WTCACHE_OK)
        })
    }
}

/// The caches that are opened with this configuration have an index of this name, a text: `wtcache_find` finds their records in it by the
/// values that `extract` says. There are 65,535 at most. A name that is given twice is refused when the cache is opened.
///
/// `destroy` as of `wtcache_config_set_weigher`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_add_index(
    config: *mut wtcache_config,
    name: *const c_void,
    name_len: usize,
    extract: wtcache_extract_call,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    err: *mut *mut wtcache_error,
) -> i32 {
    let user_data = Entrusted { pointer: user_data, release: destroy };
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            required("config", config)?;
            let name = text("name", name, name_len)?.to_owned();
            let call = extract.ok_or_else(|| Refused::argument("extract is NULL"))?;
            (*config).extracts.indexes.push((name, Arc::new(Extractor { call, user_data })));
            Ok(WTCACHE_OK)
        })
    }
}

/// Finds the resident records that have a value in the index of that name. It is no list of what the origin has: what was never loaded,
/// has expired or is in doubt is not there. Of a key with pending writes, it is what the origin confirmed last. Never waits, and calls no
/// source.
///
/// `*results` has an answer for each record, in no order, each with an entry that has the key, to be freed with `wtcache_results_free`, or is
/// NULL. `expired` may be NULL; else `*expired` is how many resident records have the value and may no longer be served. Gives
/// `WTCACHE_OK` also where there is none, and on a closed cache; `WTCACHE_ERR_ARGUMENT` where no index has that name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_find(
    cache: *const wtcache_cache,
    index: *const c_void,
    index_len: usize,
    value: *const c_void,
    value_len: usize,
    results: *mut *mut wtcache_results,
    expired: *mut usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let expired = optional_output(expired, 0);
            let results = output("results", results, ptr::null_mut())?;
            let (cache, index) = (wtcache_cache::of(cache)?, text("index", index, index_len)?);
            let found = cache
                .find(index, bytes("value", value, value_len)?)
                .ok_or_else(|| Refused::argument(format!("no index has the name {index:?}")))?;
            if let Some(expired) = expired {
                *expired = found.expired;
            }
            *results = border::give(wtcache_results::of_found(found.entries));
            Ok(WTCACHE_OK)
        })
    }
}

/// What configuration and caches share.
#[derive(Default)]
pub(crate) struct Extracts {
    weigher: Option<Arc<Weigher>>,
    tags: Option<Arc<Extractor>>,
    indexes: Vec<(String, Arc<Extractor>)>,
}

impl Extracts {
    pub(crate) fn apply(&self, mut builder: Builder<Bytes>) -> Builder<Bytes> {
        if let Some(weigher) = self.weigher.clone() {
            builder = builder.weigher(move |key, value| weigher.weigh(key, value));
        }
        if let Some(tags) = self.tags.clone() {
            builder = builder.tags(move |key, value, to| tags.extract(key, value).iter().for_each(|tag| to.add(tag)));
        }
        if !self.indexes.is_empty() {
            let (names, extractors): (Vec<_>, Vec<_>) = self.indexes.iter().cloned().unzip();
            builder = builder.indexes(names, move |key, value, to| {
                for (index, extractor) in (0..).zip(&extractors) {
                    extractor.extract(key, value).iter().for_each(|value| to.add(index, value));
                }
            });
        }
        builder
    }
}

struct Weigher {
    call: unsafe extern "C" fn(*mut c_void, *const c_void, usize, *const c_void, usize, *mut u64),
    user_data: Entrusted,
}

impl Weigher {
    fn weigh(&self, key: &[u8], value: Option<&[u8]>) -> u64 {
        let (at, len) = value.map_or((ptr::null(), 0), |value| (value.as_ptr().cast(), value.len()));
        let mut weight = u64::MAX;
        // SAFETY: the header asks of a weigher that it may be called so; key and value live until it returns.
        unsafe { (self.call)(self.user_data.pointer, key.as_ptr().cast(), key.len(), at, len, &raw mut weight) };
        if weight == u64::MAX { could_not_say() } else { weight }
    }
}

struct Extractor {
    call: unsafe extern "C" fn(*mut c_void, *const c_void, usize, *const c_void, usize, *mut wtcache_extract),
    user_data: Entrusted,
}

impl Extractor {
    fn extract(&self, key: &[u8], value: &[u8]) -> Vec<Box<[u8]>> {
        let mut extract = wtcache_extract { values: Vec::new(), done: false };
        let (key_at, value_at) = (key.as_ptr().cast(), value.as_ptr().cast());
        // SAFETY: the header asks of an extractor that it may be called so; what it is given lives until it returns.
        unsafe { (self.call)(self.user_data.pointer, key_at, key.len(), value_at, value.len(), &raw mut extract) };
        if extract.done { extract.values } else { could_not_say() }
    }
}

/// Core takes a panic for that, counts it and does not keep the entry. It is no fault, so no hook of panics is told.
fn could_not_say() -> ! {
    resume_unwind(Box::new("a callback of the program's could not say it"))
}
