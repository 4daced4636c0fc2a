//! What stands around the body of every function: no panic gets out, and the error goes where the caller wants it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::wtcache_error;
use crate::status::{WTCACHE_OK, WTCACHE_OUTCOME_IN_DOUBT, WTCACHE_OUTCOME_NOT_APPLIED};

/// Runs the body of a function; a panic of it changed nothing at the origin.
///
/// # Safety
/// `err` is NULL or may be written.
pub(crate) unsafe fn call(err: *mut *mut wtcache_error, body: impl FnOnce() -> Result<i32, wtcache_error>) -> i32 {
    // SAFETY: the caller's promise is ours.
    unsafe { run(err, WTCACHE_OUTCOME_NOT_APPLIED, body) }
}

/// Runs the body of a function that writes: after a panic nobody knows how far the write came.
///
/// # Safety
/// `err` is NULL or may be written.
pub(crate) unsafe fn write(err: *mut *mut wtcache_error, body: impl FnOnce() -> Result<i32, wtcache_error>) -> i32 {
    // SAFETY: the caller's promise is ours.
    unsafe { run(err, WTCACHE_OUTCOME_IN_DOUBT, body) }
}

/// Runs the body of a function that cannot fail: one that frees, or looks into a handle.
pub(crate) fn quietly<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// Hands a value out as a handle.
pub(crate) fn give<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Takes a handle back and drops what it holds. NULL is fine.
///
/// # Safety
/// `handle` is NULL or came from [`give`], and is given back once.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: the caller's promise.
        quietly((), || drop(unsafe { Box::from_raw(handle) }));
    }
}

/// What a function gives that had nothing to say.
///
/// # Safety
/// `err` is NULL or may be written.
pub(crate) unsafe fn fine(err: *mut *mut wtcache_error) -> i32 {
    if !err.is_null() {
        // SAFETY: not NULL, so it may be written.
        unsafe { err.write(std::ptr::null_mut()) };
    }
    WTCACHE_OK
}

unsafe fn run(
    err: *mut *mut wtcache_error,
    after_panic: i32,
    body: impl FnOnce() -> Result<i32, wtcache_error>,
) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(wtcache_error::panicked(&message(&*panic), after_panic)));
    let (status, error) = match result {
        Ok(status) => (status, std::ptr::null_mut()),
        Err(error) if err.is_null() => (error.status(), std::ptr::null_mut()),
        Err(error) => (error.status(), Box::into_raw(Box::new(error))),
    };
    if !err.is_null() {
        // SAFETY: not NULL, so it may be written. What was there is overwritten, not dropped: it may be anything.
        unsafe { err.write(error) };
    }
    status
}

/// The words of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{wtcache_error_free, wtcache_error_outcome};
    use crate::status::WTCACHE_ERR_PANIC;

    #[test]
    fn a_panic_becomes_an_error_and_says_what_may_have_happened() {
        let mut err = std::ptr::null_mut();
        // SAFETY: `err` may be written, and the errors are freed once.
        unsafe {
            assert_eq!(call(&raw mut err, || panic!("in a read")), WTCACHE_ERR_PANIC);
            assert_eq!(wtcache_error_outcome(err), WTCACHE_OUTCOME_NOT_APPLIED);
            wtcache_error_free(err);
            assert_eq!(write(&raw mut err, || panic!("in a {}", "write")), WTCACHE_ERR_PANIC);
            assert_eq!(wtcache_error_outcome(err), WTCACHE_OUTCOME_IN_DOUBT);
            wtcache_error_free(err);
            assert_eq!(write(std::ptr::null_mut(), || panic!("nobody asks")), WTCACHE_ERR_PANIC);
        }
        assert_eq!(quietly(7, || panic!("in a free")), 7);
    }
}
