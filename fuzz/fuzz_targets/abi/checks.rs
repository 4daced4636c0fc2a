//! What must hold of every call: its status, its error, its outputs, and that what was entrusted comes back once.

use std::ffi::{CStr, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wtcache_ffi::*;

use crate::input::{KEYS, Size};

/// What a pointer is before a call overwrites it: no address that anybody gives.
fn untouched<T>() -> *mut T {
    ptr::without_provenance_mut(8)
}

/// How a call ended. The error is the caller's.
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) error: *mut wtcache_error,
}

impl Ended {
    pub(crate) fn is_ok(&self) -> bool {
        self.status == WTCACHE_OK
    }

    /// Of a call whose error nobody looks at again.
    pub(crate) fn status(self) -> i32 {
        // SAFETY: it is ours, and freed once.
        unsafe { wtcache_error_free(self.error) };
        self.status
    }
}

/// Makes a call, with or without a place for its error.
pub(crate) fn call(with_error: bool, call: impl FnOnce(*mut *mut wtcache_error) -> i32) -> Ended {
    let ended = call_merged(with_error, call);
    assert_ne!(ended.status, WTCACHE_ERR_PANIC, "a panic in the library");
    ended
}

/// The same, where a merge that said nothing may be told as a panic: that of the callback.
pub(crate) fn call_merged(with_error: bool, call: impl FnOnce(*mut *mut wtcache_error) -> i32) -> Ended {
    let mut error = untouched();
    let status = call(if with_error { &raw mut error } else { ptr::null_mut() });
    assert!((WTCACHE_ERR_PARTIAL..=WTCACHE_TOO_LATE).contains(&status), "status {status}");
    assert_ne!(status, WTCACHE_ERR_FORKED);
    if !with_error {
        assert_eq!(error, untouched(), "written where nobody asked");
        return Ended { status, error: ptr::null_mut() };
    }
    assert_ne!(error, untouched(), "err is not overwritten, status {status}");
    assert_eq!(error.is_null(), status >= 0, "an error exactly where the status is negative: {status}");
    if !error.is_null() {
        check_error(error, status);
    }
    Ended { status, error }
}

fn words(error: *const wtcache_error) -> String {
    // SAFETY: it lives, and its message has a NUL at its end.
    unsafe { CStr::from_ptr(wtcache_error_message(error)) }.to_str().expect("UTF-8").to_owned()
}

/// Looks at all of an error that is there.
pub(crate) fn check_error(error: *const wtcache_error, status: i32) {
    // SAFETY: the error lives, and what it gives is freed once.
    unsafe {
        assert_eq!(wtcache_error_status(error), status);
        let outcome = wtcache_error_outcome(error);
        assert!((WTCACHE_OUTCOME_NOT_APPLIED..=WTCACHE_OUTCOME_PARTIAL).contains(&outcome), "outcome {outcome}");
        assert!(status != WTCACHE_ERR_IN_DOUBT || outcome == WTCACHE_OUTCOME_IN_DOUBT);
        assert!(status != WTCACHE_ERR_REJECTED || outcome == WTCACHE_OUTCOME_NOT_APPLIED);
        let words = words(error);
        assert_eq!(words.len(), wtcache_error_message_len(error));
        assert!(!words.is_empty(), "status {status} without words");
        assert!((0..=1).contains(&wtcache_error_retryable(error)));
        let cause = wtcache_error_cause(error).cast::<Ticket>().as_ref();
        assert!(cause.is_none_or(|cause| cause.gone.load(Ordering::SeqCst) == 0), "a cause released too early");
        let existing = wtcache_error_existing(error);
        assert!(existing.is_null() || status == WTCACHE_ERR_UNMET);
        check_entry(existing, None);
        wtcache_entry_free(existing);
    }
}

/// A place for an output.
pub(crate) struct Out<T> {
    there: *mut T,
    asked: bool,
}

impl<T> Out<T> {
    pub(crate) fn new(asked: bool) -> Self {
        Self { there: untouched(), asked }
    }

    pub(crate) fn place(&mut self) -> *mut *mut T {
        if self.asked { &raw mut self.there } else { ptr::null_mut() }
    }

    /// What was given by a call that gave something, or did not.
    pub(crate) fn taken(self, may_give: bool) -> *mut T {
        if !self.asked {
            return ptr::null_mut();
        }
        assert_ne!(self.there, untouched(), "an output is not overwritten");
        assert!(may_give || self.there.is_null(), "an output of a call that gave none");
        self.there
    }

    /// The same, of a call that always gives something if it is well.
    pub(crate) fn given(self, gave: bool) -> *mut T {
        let asked = self.asked;
        let there = self.taken(gave);
        assert_eq!(there.is_null(), !(gave && asked), "no output of a call that was well");
        there
    }
}

/// A struct with room behind it, as a newer header would have.
#[repr(C)]
pub(crate) struct Sized<T> {
    known: T,
    beyond: [u64; 2],
}

impl<T: Copy> Sized<T> {
    /// # Safety
    /// A `T` begins with its size.
    pub(crate) unsafe fn new(known: T, size: Size) -> Self {
        let mut sized = Self { known, beyond: [0, u64::from(size == Size::Beyond)] };
        let says = match size {
            Size::Right => size_of::<T>(),
            Size::Zero => 0,
            Size::Longer | Size::Beyond => size_of::<Self>(),
        };
        const { assert!(offset_of!(Self, known) == 0) };
        // SAFETY: the caller's promise.
        unsafe { (&raw mut sized).cast::<usize>().write(says) };
        sized
    }

    pub(crate) fn place(&self) -> *const T {
        ptr::from_ref(self).cast()
    }
}

pub(crate) unsafe fn slice<'a>(data: *const c_void, len: usize) -> &'a [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: the caller promises that there are as many.
    unsafe { std::slice::from_raw_parts(data.cast(), len) }
}

/// The value of an entry, copied; `None` for NULL. It is of the key that it should be of, and so is the entry.
pub(crate) fn check_entry(entry: *const wtcache_entry, key: Option<usize>) -> Option<Vec<u8>> {
    let mut len = 0;
    // SAFETY: the entry lives.
    let (value, own) = unsafe {
        let value = wtcache_entry_value(entry, &raw mut len);
        if entry.is_null() {
            assert!(value.is_null() && len == 0);
            return None;
        }
        let value = slice(value, len).to_vec();
        let own = slice(wtcache_entry_key(entry, &raw mut len), len);
        let version = wtcache_entry_version(entry, &raw mut len);
        assert!(version.is_null() || slice(version, len) == value, "the version of another record");
        assert!((0..=1).contains(&wtcache_entry_is_pending(entry)));
        (value, own)
    };
    let number = usize::from(value[0]);
    assert_eq!(own, KEYS[number], "the value of another key");
    assert!(key.is_none_or(|key| key == number), "the record of another key");
    Some(value)
}

/// Something that is entrusted to the library: it comes back once, when nobody uses it.
pub(crate) struct Ticket {
    gone: AtomicUsize,
    inside: AtomicUsize,
}

impl Ticket {
    pub(crate) fn new() -> Self {
        Self { gone: AtomicUsize::new(0), inside: AtomicUsize::new(0) }
    }

    /// A callback begins that uses it.
    pub(crate) fn enter(&self) -> InUse<'_> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        assert_eq!(self.gone.load(Ordering::SeqCst), 0, "used after it was given back");
        InUse(self)
    }

    fn comes_back(&self) {
        assert_eq!(self.inside.load(Ordering::SeqCst), 0, "given back while it is used");
        assert_eq!(self.gone.fetch_add(1, Ordering::SeqCst), 0, "given back twice");
    }
}

pub(crate) struct InUse<'a>(&'a Ticket);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The destructor of whatever has its ticket first.
pub(crate) unsafe extern "C" fn give_back(ticket: *mut c_void) {
    // SAFETY: it is kept until the end of the run.
    unsafe { &*ticket.cast::<Ticket>() }.comes_back();
}

/// All that was entrusted in a run, with whether it has to come back.
#[derive(Default)]
pub(crate) struct Tickets(Vec<(Kept, bool)>);

/// What begins with a ticket.
pub(crate) type Kept = Arc<dyn AsRef<Ticket> + Send + Sync>;

impl AsRef<Ticket> for Ticket {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Tickets {
    pub(crate) fn keep(&mut self, kept: Kept, comes_back: bool) {
        self.0.push((kept, comes_back));
    }

    /// Waits until all has come back, for threads of the library's may have some of it.
    pub(crate) fn all_come_back(&self) {
        let begun = Instant::now();
        for (kept, comes_back) in &self.0 {
            let ticket: &Ticket = (**kept).as_ref();
            while *comes_back && ticket.gone.load(Ordering::SeqCst) == 0 {
                assert!(begun.elapsed() < Duration::from_secs(10), "a destructor was never called");
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        for (kept, comes_back) in &self.0 {
            let ticket: &Ticket = (**kept).as_ref();
            assert_eq!(ticket.gone.load(Ordering::SeqCst), usize::from(*comes_back));
        }
    }
}
