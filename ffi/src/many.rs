//! Many keys in one call: one handle owns all answers.

use std::ptr;

use wtcache::{Bytes, Entry, LoadError, Read, WriteError, Written};

use crate::arguments::{Refused, array, output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::call::{wtcache_bytes, wtcache_call};
use crate::error::wtcache_error;
use crate::read::wtcache_entry;
use crate::status::{WTCACHE_ERR_ARGUMENT, WTCACHE_NOT_FOUND, WTCACHE_OK};

/// The answers of a call for many keys, in the order of the keys; or what `wtcache_find` or `wtcache_list` found. It never changes, and may be read from any thread. What it gives
/// pointers to is valid until it is freed.
pub struct wtcache_results(Vec<Answer>);

/// The status of what went well, with the record if there is one.
type Answer = Result<(i32, Option<Entry<Bytes>>), wtcache_error>;

impl wtcache_results {
    pub(crate) fn of_reads(answers: Vec<Result<Read<Bytes>, LoadError>>) -> Self {
        let status = |entry: &Option<_>| if entry.is_some() { WTCACHE_OK } else { WTCACHE_NOT_FOUND };
        let answer =
            |answer: Result<Read<Bytes>, _>| answer.map(|read| (status(&read.entry), read.entry)).map_err(Into::into);
        Self(answers.into_iter().map(answer).collect())
    }

    pub(crate) fn of_found(entries: Vec<Entry<Bytes>>) -> Self {
        Self(entries.into_iter().map(|entry| Ok((WTCACHE_OK, Some(entry)))).collect())
    }

    fn of_writes(answers: Vec<Result<Written<Bytes>, WriteError<Bytes>>>) -> Self {
        let answer =
            |answer: Result<Written<Bytes>, _>| answer.map(|written| (WTCACHE_OK, written.entry)).map_err(Into::into);
        Self(answers.into_iter().map(answer).collect())
    }
}

/// Reads the records of many keys: an answer for each, as `wtcache_get` gives it. What is resident is taken in one step, so that no part
/// of a transaction is seen. Waits to the deadline at most, which is that of the whole call.
///
/// `keys` are `count` keys, of which some may be alike. `*results` has an answer for each, to be freed with `wtcache_results_free`, or is
/// NULL. `call` may be NULL. Gives `WTCACHE_OK` also where some keys could not be read: `wtcache_results_status` says so of each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_many(
    cache: *const wtcache_cache,
    keys: *const wtcache_bytes,
    count: usize,
    call: *const wtcache_call,
    results: *mut *mut wtcache_results,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let results = output("results", results, ptr::null_mut())?;
            let (cache, keys, call) =
                (wtcache_cache::of(cache)?, all("keys", keys, count)?, wtcache_call::of_reads(call)?.0);
            *results = border::give(wtcache_results::of_reads(cache.read_many(keys, &call)));
            Ok(WTCACHE_OK)
        })
    }
}

/// Writes many records, one after the other in the order given, each as `wtcache_put` does. It is no transaction: a write that fails stops
/// none of the others. Waits to the deadline at most, which is that of the whole call; what was not sent by then is not sent.
///
/// `keys` and `values` are `count` each. `*results` has an answer for each, to be freed with `wtcache_results_free`, or is NULL. `call` may be
/// NULL. Gives `WTCACHE_OK` also where some were not applied: `wtcache_results_status` says so of each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_put_many(
    cache: *const wtcache_cache,
    keys: *const wtcache_bytes,
    values: *const wtcache_bytes,
    count: usize,
    call: *const wtcache_call,
    results: *mut *mut wtcache_results,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::write(err, || {
            let results = output("results", results, ptr::null_mut())?;
            let (cache, keys) = (wtcache_cache::of(cache)?, all("keys", keys, count)?);
            let (values, call) = (all("values", values, count)?, wtcache_call::of_write(call)?);
            let records = keys.into_iter().zip(values.into_iter().map(<[u8]>::to_vec));
            *results = border::give(wtcache_results::of_writes(cache.put_many_with(records, &call)));
            Ok(WTCACHE_OK)
        })
    }
}

/// How many answers there are; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_results_count(results: *const wtcache_results) -> usize {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { results.as_ref() }.map_or(0, |results| results.0.len())
}

/// The status of one answer, as `wtcache_get` or `wtcache_put` would have given it. `WTCACHE_ERR_ARGUMENT` where there is no answer of that
/// index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_results_status(results: *const wtcache_results, index: usize) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { answer(results, index) } {
        None => WTCACHE_ERR_ARGUMENT,
        Some(Ok((status, _))) => *status,
        Some(Err(error)) => error.status(),
    }
}

/// The record of one answer, which is the results': not to be freed; `wtcache_entry_clone` makes a handle that outlives them. NULL where
/// there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_results_entry(results: *const wtcache_results, index: usize) -> *const wtcache_entry {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { answer(results, index) } {
        Some(Ok((_, Some(entry)))) => wtcache_entry::lend(entry),
        _ => ptr::null(),
    }
}

/// The error of one answer, which is the results': not to be freed. NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_results_error(results: *const wtcache_results, index: usize) -> *const wtcache_error {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { answer(results, index) } {
        Some(Err(error)) => error,
        _ => ptr::null(),
    }
}

/// Frees results, with all entries and errors in them. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_results_free(results: *mut wtcache_results) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(results) };
}

unsafe fn answer<'a>(results: *const wtcache_results, index: usize) -> Option<&'a Answer> {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { results.as_ref() }?.0.get(index)
}

/// A list of the caller's.
///
/// # Safety
/// `list` is NULL or has `count` members, and what they name may be read for `'a`.
pub(crate) unsafe fn all<'a>(name: &str, list: *const wtcache_bytes, count: usize) -> Result<Vec<&'a [u8]>, Refused> {
    // SAFETY: the caller's promise.
    unsafe { array(name, list, count) }?.iter().map(|bytes| unsafe { bytes.read(name) }).collect()
}
