//! Calls that do not wait, for programs with an event loop: they complete in a queue whose descriptor can be polled.
//!
//! Invariant: every call that was taken completes once, and no callback of the program's is needed to learn it.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wtcache::{Bytes, Entry, NotSent};

use crate::arguments::{Refused, bytes, optional_output, output, required};
use crate::border;
use crate::cache::{Opened, wtcache_cache};
use crate::call::{wtcache_bytes, wtcache_call};
use crate::create::wtcache_created;
use crate::error::wtcache_error;
use crate::fork::Owned;
use crate::list::Listed;
use crate::many::{all, wtcache_results};
use crate::optimistic::{WatchedWrite, wtcache_pending};
use crate::pool::{Full, Lane, Pool};
use crate::read::wtcache_entry;
use crate::status::{
    WTCACHE_ERR_CONFIG, WTCACHE_ERR_OVERLOADED, WTCACHE_NOT_FOUND, WTCACHE_OK, WTCACHE_OUTCOME_IN_DOUBT,
    WTCACHE_OUTCOME_NOT_APPLIED, WTCACHE_TOO_LATE,
};
use crate::transacted::{Told, wtcache_transacted};
use crate::transaction::wtcache_transaction;
use crate::write::wtcache_expect;

/// A queue of completions, with a few threads of its own. It may be used from any thread.
pub struct wtcache_queue(Owned<Closing>);

/// Closes the pool with the handle.
struct Closing(Arc<Pool<wtcache_completion>>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl wtcache_queue {
    /// # Safety
    /// `handle` is NULL or points to one that is not freed for `'a`.
    unsafe fn of<'a>(handle: *const Self) -> Result<&'a Arc<Pool<wtcache_completion>>, Refused> {
        // SAFETY: the caller's promise.
        Ok(&unsafe { required("queue", handle) }?.0.get()?.0)
    }
}

/// What became of a call. It never changes, and may be read from any thread. What it gives pointers to is valid until it is freed.
pub struct wtcache_completion {
    id: u64,
    token: Token,
    outcome: Outcome,
}

/// What the program knows a call by. It is never looked into.
#[derive(Clone, Copy)]
struct Token(*mut c_void);

// SAFETY: handed back as it came, and used for nothing.
unsafe impl Send for Token {}

pub(crate) enum Outcome {
    /// Of a pending write that has ended; its outcome is asked for when the completion is taken out.
    Settled(Arc<WatchedWrite>),
    Ended(Result<(i32, Option<Entry<Bytes>>), wtcache_error>),
    Many(wtcache_results),
    Created(wtcache_created),
    Listed(Listed),
    Transacted(Arc<Told>, wtcache_transacted),
}

impl wtcache_completion {
    fn looked_up(self) -> Self {
        match self.outcome {
            Outcome::Settled(watched) => Self { outcome: outcome_of(&watched), ..self },
            outcome => Self { outcome, ..self },
        }
    }

    fn status(&self) -> i32 {
        match &self.outcome {
            Outcome::Ended(Ok((status, _))) => *status,
            _ => self.error().map_or(WTCACHE_OK, wtcache_error::status),
        }
    }

    fn error(&self) -> Option<&wtcache_error> {
        match &self.outcome {
            Outcome::Ended(ended) => ended.as_ref().err(),
            Outcome::Many(_) | Outcome::Created(_) | Outcome::Listed(_) | Outcome::Settled(_) => None,
            Outcome::Transacted(told, _) => told.error(),
        }
    }
}

/// Makes a queue. `threads`, 1 at the least, is how many calls that are no hits are under way at once; the threads begin with the first, and
/// end after the queue is freed. `most`, 1 at the least, is how many calls may be under way or complete and not taken out; further ones
/// are refused with `WTCACHE_ERR_OVERLOADED`.
///
/// `*queue` is to be freed with `wtcache_queue_free`, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_queue_new(
    threads: usize,
    most: usize,
    queue: *mut *mut wtcache_queue,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let queue = output("queue", queue, ptr::null_mut())?;
            if threads == 0 || most == 0 {
                return Err(Refused::argument("threads and most are 1 at the least").into());
            }
            let none = |error| Refused::new(WTCACHE_ERR_CONFIG, format!("the queue has no descriptor: {error}"));
            *queue = border::give(wtcache_queue(Owned::new(Closing(Pool::new(threads, most).map_err(none)?))));
            Ok(WTCACHE_OK)
        })
    }
}

/// The descriptor to poll: it can be read (POLLIN) exactly while there are completions to take out. It is the queue's: neither to be read nor
/// closed. -1 for NULL, and in the child of a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_queue_descriptor(queue: *const wtcache_queue) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { wtcache_queue::of(queue) }.map_or(-1, |pool| pool.descriptor())
}

/// Takes a completion out. Never waits. `*completion` is to be freed with `wtcache_completion_free`, or NULL. Gives `WTCACHE_OK`, or
/// `WTCACHE_NOT_FOUND` where there is none now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_queue_next(
    queue: *const wtcache_queue,
    completion: *mut *mut wtcache_completion,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let completion = output("completion", completion, ptr::null_mut())?;
            let Some(next) = wtcache_queue::of(queue)?.next() else { return Ok(WTCACHE_NOT_FOUND) };
            *completion = border::give(next.looked_up());
            Ok(WTCACHE_OK)
        })
    }
}

/// Takes a call back that has not begun: it completes with `WTCACHE_ERR_CANCELLED`, and nothing was done for it. Gives `WTCACHE_TOO_LATE`
/// where it is under way, and completes with its own outcome, or has completed. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_queue_cancel(
    queue: *const wtcache_queue,
    id: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || Ok(if wtcache_queue::of(queue)?.cancel(id) { WTCACHE_OK } else { WTCACHE_TOO_LATE }))
    }
}

/// Frees a queue, without waiting: calls that have not begun never do, those under way run to their end, and nobody learns it. No
/// other thread may use the queue then. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_queue_free(queue: *mut wtcache_queue) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(queue) };
}

/// The number that the call was given; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_id(completion: *const wtcache_completion) -> u64 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { completion.as_ref() }.map_or(0, |completion| completion.id)
}

/// The token that was given with the call; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_token(completion: *const wtcache_completion) -> *mut c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { completion.as_ref() }.map_or(ptr::null_mut(), |completion| completion.token.0)
}

/// The status that the call which waits would have given; `WTCACHE_OK` for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_status(completion: *const wtcache_completion) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { completion.as_ref() }.map_or(WTCACHE_OK, wtcache_completion::status)
}

/// The record that was read or written. It is the completion's, and not to be freed: `wtcache_entry_clone` makes a handle that outlives
/// it. NULL where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_entry(completion: *const wtcache_completion) -> *const wtcache_entry {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { completion.as_ref() }.map(|completion| &completion.outcome) {
        Some(Outcome::Ended(Ok((_, Some(entry))))) => wtcache_entry::lend(entry),
        _ => ptr::null(),
    }
}

/// Why the call failed. It is the completion's, and not to be freed. NULL where it did not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_error(completion: *const wtcache_completion) -> *const wtcache_error {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { completion.as_ref() }.and_then(wtcache_completion::error).map_or(ptr::null(), ptr::from_ref)
}

/// Of a call for many keys: the answers. They are the completion's, and not to be freed. Else NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_results(completion: *const wtcache_completion) -> *const wtcache_results {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { completion.as_ref() }.map(|completion| &completion.outcome) {
        Some(Outcome::Many(results)) => results,
        _ => ptr::null(),
    }
}

/// Of a create: what came of it. It is the completion's, and not to be freed. Else NULL, also where no record was made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_created(completion: *const wtcache_completion) -> *const wtcache_created {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { completion.as_ref() }.map(|completion| &completion.outcome) {
        Some(Outcome::Created(created)) => created,
        _ => ptr::null(),
    }
}

/// Of a list: its records, with `*wrong` and `*has_next_page` as of `wtcache_list`; either pointer may be NULL. They are the completion's, and not to
/// be freed. Else NULL, and both are 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_listed(
    completion: *const wtcache_completion,
    wrong: *mut usize,
    has_next_page: *mut i32,
) -> *const wtcache_results {
    // SAFETY: the caller keeps the rules at the header's top.
    let (completion, wrong, has_next_page) =
        unsafe { (completion.as_ref(), optional_output(wrong, 0), optional_output(has_next_page, 0)) };
    let Some(Outcome::Listed(listed)) = completion.map(|completion| &completion.outcome) else { return ptr::null() };
    listed.tell(wrong, has_next_page);
    &raw const listed.results
}

/// Of a transaction: what came of it. It is the completion's, and not to be freed. Else NULL, also where it was not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_transacted(
    completion: *const wtcache_completion,
) -> *const wtcache_transacted {
    // SAFETY: the caller keeps the rules at the header's top.
    match unsafe { completion.as_ref() }.map(|completion| &completion.outcome) {
        Some(Outcome::Transacted(_, transacted)) => transacted,
        _ => ptr::null(),
    }
}

/// Frees a completion, with all that it gave pointers to. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_completion_free(completion: *mut wtcache_completion) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(completion) };
}

/// As `wtcache_get`, but that it never waits: it completes in `queue`, a hit at once. Everything that is handed in is copied; the cache lives
/// on until it has completed. The deadline counts from now.
///
/// `token` is anything of the program's, found again with `wtcache_completion_token`. `id` may be NULL; else `*id` is the number of the call,
/// for `wtcache_queue_cancel`, and never 0. After an error nothing completes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_async(
    queue: *const wtcache_queue,
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    call: *const wtcache_call,
    token: *mut c_void,
    id: *mut u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let given = Given::of(queue, cache, token, id)?;
            let mut asked = wtcache_call::of_read(call)?;
            let (key, deadline) = (bytes("key", key, key_len)?, asked.deadline);
            if let Some(entry) = asked.hit(&given.opened.cache, key) {
                let (token, outcome) = (given.token, Outcome::Ended(Ok((WTCACHE_OK, Some(entry)))));
                let done = given.pool.done(|id| wtcache_completion { id, token, outcome });
                return took(given.id, done);
            }
            let key = key.to_vec();
            given.run(None, deadline, WTCACHE_OUTCOME_NOT_APPLIED, move |opened, left| {
                asked.call = asked.call.deadline(left);
                let found = asked.read(&opened.cache, &key)?;
                let status = if found.is_some() { WTCACHE_OK } else { WTCACHE_NOT_FOUND };
                Ok(Outcome::Ended(Ok((status, found))))
            })
        })
    }
}

/// As `wtcache_get_many`, otherwise as `wtcache_get_async`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_many_async(
    queue: *const wtcache_queue,
    cache: *const wtcache_cache,
    keys: *const wtcache_bytes,
    count: usize,
    call: *const wtcache_call,
    token: *mut c_void,
    id: *mut u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let given = Given::of(queue, cache, token, id)?;
            let (call, deadline) = wtcache_call::of_reads(call)?;
            let keys: Vec<Vec<u8>> = all("keys", keys, count)?.into_iter().map(<[u8]>::to_vec).collect();
            given.run(None, deadline, WTCACHE_OUTCOME_NOT_APPLIED, move |opened, left| {
                Ok(Outcome::Many(wtcache_results::of_reads(opened.cache.read_many(&keys, &call.deadline(left)))))
            })
        })
    }
}

/// As `wtcache_put`, otherwise as `wtcache_get_async`. Writes of one key that are given to one queue go out in the order in which they were
/// given. `expect` may be NULL; else as by `wtcache_put_if`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_put_async(
    queue: *const wtcache_queue,
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    expect: *const wtcache_expect,
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
            let key = bytes("key", key, key_len)?.to_vec();
            let value = bytes("value", value, value_len)?.to_vec();
            let expect = if expect.is_null() { None } else { Some(wtcache_expect::read(expect)?) };
            let lane = given.lane(&key);
            given.run(Some(lane), deadline, WTCACHE_OUTCOME_IN_DOUBT, move |opened, left| {
                let (cache, call) = (&opened.cache, call.deadline(left));
                let written = match expect {
                    None => cache.put_with(&key, value, &call),
                    Some(expect) => cache.put_if_with(&key, value, expect, &call),
                }?;
                Ok(Outcome::Ended(Ok((WTCACHE_OK, written.entry))))
            })
        })
    }
}

/// As `wtcache_delete`, otherwise as `wtcache_put_async`. `expect` may be NULL; else as by `wtcache_delete_if`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_delete_async(
    queue: *const wtcache_queue,
    cache: *const wtcache_cache,
    key: *const c_void,
    key_len: usize,
    expect: *const wtcache_expect,
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
            let key = bytes("key", key, key_len)?.to_vec();
            let expect = if expect.is_null() { None } else { Some(wtcache_expect::read(expect)?) };
            let lane = given.lane(&key);
            given.run(Some(lane), deadline, WTCACHE_OUTCOME_IN_DOUBT, move |opened, left| {
                let (cache, call) = (&opened.cache, call.deadline(left));
                match expect {
                    None => cache.delete_with(&key, &call),
                    Some(expect) => cache.delete_if_with(&key, expect, &call),
                }?;
                Ok(Outcome::Ended(Ok((WTCACHE_OK, None))))
            })
        })
    }
}

/// As `wtcache_transaction_run`, but that it completes in `queue`, with `wtcache_completion_transacted`; its callbacks are called by a thread of
/// the queue's. Otherwise as `wtcache_get_async`; its deadline counts from when it begins. After an
/// error it is only to be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_transaction_async(
    queue: *const wtcache_queue,
    transaction: *mut wtcache_transaction,
    token: *mut c_void,
    id: *mut u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let id = optional_output(id, 0);
            let pool = Arc::clone(wtcache_queue::of(queue)?);
            let described = wtcache_transaction::described(transaction)?;
            let transaction = described.take()?;
            let given = Given { pool, opened: described.opened.clone(), token: Token(token), id };
            given.run(None, None, WTCACHE_OUTCOME_IN_DOUBT, move |_, _| {
                let told = Told::of(transaction.run());
                Ok(Outcome::Transacted(Arc::clone(&told), wtcache_transacted::of(told)))
            })
        })
    }
}

/// Completes in `queue` once a pending write has ended, as by `wtcache_pending_wait`. It cannot be cancelled as a call: `wtcache_pending_cancel`
/// takes the write back, which then completes. Otherwise as `wtcache_get_async`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_pending_async(
    queue: *const wtcache_queue,
    pending: *const wtcache_pending,
    token: *mut c_void,
    id: *mut u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let id = optional_output(id, 0);
            let pool = Arc::clone(wtcache_queue::of(queue)?);
            let watched = Arc::clone(wtcache_pending::of(pending)?);
            let number = pool.reserve().map_err(|Full| full())?;
            if let Some(id) = id {
                *id = number;
            }
            let token = Token(token);
            let again = Arc::clone(&watched);
            watched.when_ended(move || {
                let token = token;
                // Told within the step that ended it: nothing is asked of it here.
                pool.complete(wtcache_completion { id: number, token, outcome: Outcome::Settled(again) });
            });
            Ok(WTCACHE_OK)
        })
    }
}

fn outcome_of(watched: &WatchedWrite) -> Outcome {
    Outcome::Ended(match watched.ended() {
        Ok(written) => Ok((WTCACHE_OK, written.entry.clone())),
        Err(error) => Err(error.into()),
    })
}

fn full() -> Refused {
    Refused::new(WTCACHE_ERR_OVERLOADED, "as many calls are outstanding as the queue takes")
}

/// What every call for a queue is given.
pub(crate) struct Given<'a> {
    pool: Arc<Pool<wtcache_completion>>,
    pub(crate) opened: Opened,
    token: Token,
    id: Option<&'a mut u64>,
}

impl Given<'_> {
    /// # Safety
    /// The handles are NULL or not freed, and `id` is NULL or may be written.
    pub(crate) unsafe fn of(
        queue: *const wtcache_queue,
        cache: *const wtcache_cache,
        token: *mut c_void,
        id: *mut u64,
    ) -> Result<Self, Refused> {
        // SAFETY: the caller's promise.
        unsafe {
            // First of all: an output is overwritten whatever else is wrong.
            let id = optional_output(id, 0);
            let (pool, opened) = (wtcache_queue::of(queue)?, wtcache_cache::opened(cache)?);
            Ok(Self { pool: Arc::clone(pool), opened: opened.clone(), token: Token(token), id })
        }
    }

    pub(crate) fn lane(&self, key: &[u8]) -> Lane {
        (self.opened.number, key.into())
    }

    /// Has a call made by a thread of the queue's; `after_panic` is its outcome where it panics.
    pub(crate) fn run(
        self,
        lane: Option<Lane>,
        deadline: Option<Duration>,
        after_panic: i32,
        call: impl FnOnce(&Opened, Duration) -> Result<Outcome, wtcache_error> + Send + 'static,
    ) -> Result<i32, wtcache_error> {
        let Self { pool, opened, token, id } = self;
        let (begun, whole) = (Instant::now(), deadline.unwrap_or(opened.deadline));
        let given = pool.run(lane, |id| {
            Box::new(move |cancelled| {
                let token = token;
                let outcome = if cancelled {
                    Err(NotSent::Cancelled.into())
                } else {
                    // What waited for a thread has so much less.
                    let left = whole.saturating_sub(begun.elapsed());
                    catch_unwind(AssertUnwindSafe(|| call(&opened, left)))
                        .unwrap_or_else(|panic| Err(wtcache_error::panicked(&border::message(&*panic), after_panic)))
                };
                wtcache_completion { id, token, outcome: outcome.unwrap_or_else(|error| Outcome::Ended(Err(error))) }
            })
        });
        took(id, given)
    }
}

fn took(id: Option<&mut u64>, given: Result<u64, Full>) -> Result<i32, wtcache_error> {
    let number = given.map_err(|Full| full())?;
    if let Some(id) = id {
        *id = number;
    }
    Ok(WTCACHE_OK)
}
