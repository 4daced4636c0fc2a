//! Lists of the HTTP origin's by queries of its own, whose records are kept as loads.
//!
//! Invariant: what a list tells counts as loads that began before it was asked for.

use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use wtcache::{Failure, LoadError};

use crate::arguments::{Refused, optional_output, output, text};
use crate::border;
use crate::cache::{Opened, wtcache_cache};
use crate::call::wtcache_call;
use crate::error::wtcache_error;
use crate::many::wtcache_results;
use crate::queue::{Given, Outcome, wtcache_queue};
use crate::status::{WTCACHE_OK, WTCACHE_OUTCOME_NOT_APPLIED};

/// Asks the HTTP origin for its list, `http.list`, with this query as it stands in a URL, percent-encoded and without a question mark, and keeps the
/// records as what loads bring. One whose key moved meanwhile, or is being written or in doubt, is given and not kept; and so are all
/// where the query has one of `parts_by`. What is pending is not in them.
///
/// The cache must be one of `wtcache_open`. Of `call`, which may be NULL, only the deadline counts; the rest is refused. `*results` has an answer for
/// each record, in the origin's order, each with an entry that has the key, to be freed with `wtcache_results_free`, or is NULL. It is all that
/// the origin has for the query only if `*wrong` and `*has_next_page` are 0; either pointer may be NULL. `*wrong`: how many members of the answer are
/// not among the records: they are none, tell no key, are there more than once or are larger than an entry can be. `*has_next_page`: 1 if the answer
/// says in a `Link` that it is one page of several, and not the last.
///
/// Gives `WTCACHE_ERR_ARGUMENT` where there is no `http.list`, or no URL can hold the query, and other errors as `wtcache_get`; nothing was kept then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_list(
    cache: *const wtcache_cache,
    query: *const c_void,
    query_len: usize,
    call: *const wtcache_call,
    results: *mut *mut wtcache_results,
    wrong: *mut usize,
    has_next_page: *mut i32,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let (wrong, has_next_page) = (optional_output(wrong, 0), optional_output(has_next_page, 0));
            let results = output("results", results, ptr::null_mut())?;
            let opened = wtcache_cache::opened(cache)?;
            let (query, deadline) = (text("query", query, query_len)?, wtcache_call::of_list(call)?);
            let listed = listed(opened, query, deadline.unwrap_or(opened.deadline))?;
            listed.tell(wrong, has_next_page);
            *results = border::give(listed.results);
            Ok(WTCACHE_OK)
        })
    }
}

/// As `wtcache_list`, otherwise as `wtcache_get_async`: it completes in `queue`, with `wtcache_completion_listed`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_list_async(
    queue: *const wtcache_queue,
    cache: *const wtcache_cache,
    query: *const c_void,
    query_len: usize,
    call: *const wtcache_call,
    token: *mut c_void,
    id: *mut u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let given = Given::of(queue, cache, token, id)?;
            let (query, deadline) = (text("query", query, query_len)?.to_owned(), wtcache_call::of_list(call)?);
            given.opened.origin()?;
            given.run(None, deadline, WTCACHE_OUTCOME_NOT_APPLIED, move |opened, left| {
                Ok(Outcome::Listed(listed(opened, &query, left)?))
            })
        })
    }
}

/// The records of a list, and what else it says.
pub(crate) struct Listed {
    pub(crate) results: wtcache_results,
    wrong: usize,
    has_next_page: bool,
}

impl Listed {
    pub(crate) fn tell(&self, wrong: Option<&mut usize>, has_next_page: Option<&mut i32>) {
        if let Some(wrong) = wrong {
            *wrong = self.wrong;
        }
        if let Some(has_next_page) = has_next_page {
            *has_next_page = self.has_next_page.into();
        }
    }
}

fn listed(opened: &Opened, query: &str, left: Duration) -> Result<Listed, wtcache_error> {
    let origin = opened.origin()?;
    if opened.cache.is_closed() {
        return Err(LoadError::Closed.into());
    }
    // Before the request, so that what moves meanwhile is known.
    let listing = opened.cache.listing();
    let list = origin.list(query, left).map_err(|error| match error.failure() {
        Failure::Invalid => wtcache_error::from(Refused::argument(format!("query: {}", error.message()))),
        _ => LoadError::Source(error).into(),
    })?;
    let told = list.records.len() + list.wrong.len();
    let records = list.records.into_iter();
    let entries: Vec<_> = records.filter_map(|(key, record)| listing.loaded(key.as_slice(), record).entry).collect();
    let wrong = told - entries.len();
    Ok(Listed { results: wtcache_results::of_found(entries), wrong, has_next_page: list.has_next_page })
}
