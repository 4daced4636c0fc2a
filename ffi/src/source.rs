//! A source that is written in C: three callbacks and what is declared beside them, seen as a [`Source`].
//!
//! A callback is called in the thread of whoever asks, with no lock held. It answers through its reply, at once or later; this side
//! waits for that to the call's deadline. Invariant: a write without an answer is Unknown, never Rejected.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
use std::mem::offset_of;
use std::ptr;
use std::time::Duration;

use wtcache::{
    Bytes, Condition, Confirmed, Declared, Failure, LoadCx, Loaded, Outcome, Rejection, Source, SourceError, WriteCx,
};

use crate::arguments::{Growing, Refused, flag, growing, output};
use crate::border;
use crate::error::{Entrusted, wtcache_error};
use crate::read::{deliver, wtcache_entry};
use crate::reply::{Answer, Id, Kind, Verdict, Waiting, wtcache_reply};

/// A write without condition.
pub const WTCACHE_CONDITION_NONE: i32 = 0;
/// A write that is to be applied only if the origin has no such record (HTTP: If-None-Match: *).
pub const WTCACHE_CONDITION_ABSENT: i32 = 1;
/// A write that is to be applied only if the origin's record has the version in `condition_version` (HTTP: If-Match).
pub const WTCACHE_CONDITION_VERSION: i32 = 2;

/// A write that is to be applied only if the origin has a record, whatever its version (HTTP: If-Match: *).
pub const WTCACHE_CONDITION_EXISTS: i32 = 3;

/// What a source is asked. It is the library's, with all that it points to, and valid until the callback returns: what
/// is needed later is to be copied. Members may be added at its end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_request {
    /// How many bytes of this struct there are.
    pub struct_size: usize,
    /// The key; of a step of a transaction NULL.
    pub key: *const c_void,
    /// The bytes of `key`.
    pub key_len: usize,
    /// Of a put: the value. Else NULL.
    pub value: *const c_void,
    /// The bytes of `value`.
    pub value_len: usize,
    /// How long the source may still take, in milliseconds. After that nothing may be sent to the origin any more.
    pub remaining_ms: u64,
    /// Of a read: the version of the record that is here, which has expired, or does not do for whoever asks, to be offered to the origin. If it
    /// is still the origin's, answer `wtcache_reply_unchanged`. NULL where there is none.
    pub version: *const c_void,
    /// The bytes of `version`.
    pub version_len: usize,
    /// Of a write or a step: the key under which every send of it is to go out, 32 hexadecimal digits and a NUL. Else NULL.
    pub idempotency_key: *const c_char,
    /// Of a write: one of `WTCACHE_CONDITION_*`. Set only for a source that declares `honours_preconditions`.
    pub condition: i32,
    /// Zero.
    pub reserved: i32,
    /// The version of `WTCACHE_CONDITION_VERSION`, else NULL.
    pub condition_version: *const c_void,
    /// The bytes of `condition_version`.
    pub condition_version_len: usize,
}

/// One of a source's callbacks: does what `request` asks, and answers through `reply`, exactly once, from any thread, now or later.
///
/// It is called from many threads at once; of one key at most one write is under way, and reads may overlap it. It may
/// read the cache; what would wait for itself is refused with `WTCACHE_ERR_REENTRANT`. That is known by the thread: a call of the
/// cache from another thread, on behalf of this one, may wait to its deadline. No exception may leave it.
pub type wtcache_source_call =
    Option<unsafe extern "C" fn(user_data: *mut c_void, request: *const wtcache_request, reply: *mut wtcache_reply)>;

/// A source of the program's own. Set `struct_size` to its `sizeof`, and to zero what is not used.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_source {
    /// `sizeof(wtcache_source)`.
    pub struct_size: usize,
    /// Handed to every callback. It is used from any thread.
    pub user_data: *mut c_void,
    /// Called exactly once with `user_data`, after the last callback returned, also if opening failed. May be NULL.
    pub destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    /// Asks the origin for the record of `request->key`. Answer with a value, absent, unchanged or an error. Required.
    pub get: wtcache_source_call,
    /// Writes `request->value` to the origin as the record of `request->key`. Answer with the record as it now stands there,
    /// applied, stored or an error. NULL: every put is refused.
    pub put: wtcache_source_call,
    /// Removes the record of `request->key` at the origin; what is not there counts as removed. Answer with applied or an error.
    /// NULL: every delete is refused.
    pub remove: wtcache_source_call,
    /// How long after its send a write may still take effect at the origin, in milliseconds. Zero: 10,000.
    pub settle_window_ms: u64,
    /// 1: the origin keeps exactly what it was sent, so that `wtcache_reply_stored` may be believed.
    pub stores_verbatim: i32,
    /// 1: the origin checks the condition of a write in one step with applying it.
    pub honours_preconditions: i32,
    /// 1: the origin applies two sends with one idempotency key at most once, and answers both alike.
    pub honours_idempotency: i32,
    /// 1: the origin never gives a version twice to one key, also not after a delete.
    pub versions_never_reused: i32,
}

// SAFETY: `repr(C)`, begins with its size, and integers, pointers and functions may be zero.
unsafe impl Growing for wtcache_source {
    const NAME: &'static str = "source";
    const LEAST: usize = offset_of!(Self, put);
}

/// Within a callback of a put or a remove, and in its thread: the existing record of the key, the resident one, else asked of the
/// source now, within the write's turn and deadline.
///
/// `*entry` is the record, to be freed with `wtcache_entry_free`, or NULL. Gives `WTCACHE_OK`, `WTCACHE_NOT_FOUND`, or why it could
/// not be read. The write is not answered by this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_existing(
    reply: *const wtcache_reply,
    entry: *mut *mut wtcache_entry,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let entry = output("entry", entry, ptr::null_mut())?;
            let id = Id::of(reply)?;
            let outside = || Refused::argument("asked outside of a callback that writes, or in another thread");
            let cx =
                WRITES.with_borrow(|writes| writes.iter().rev().find(|(other, _)| *other == id).map(|(_, cx)| *cx));
            let cx = cx.ok_or_else(outside)?;
            // The context is on this thread's stack, below us, for as long as it is in the list.
            Ok(deliver((*cx).existing()?, entry))
        })
    }
}

thread_local! {
    /// The writes whose callbacks this thread is inside of, with their contexts.
    static WRITES: RefCell<Vec<(Id, *const WriteCx<'static, Bytes>)>> = const { RefCell::new(Vec::new()) };
}

/// This thread is inside the callback of a write, until it is dropped.
struct InWrite;

impl InWrite {
    fn enter(id: Id, cx: &WriteCx<'_, Bytes>) -> Self {
        // The lifetime goes; the list holds it no longer than `cx` is borrowed here.
        WRITES.with_borrow_mut(|writes| writes.push((id, ptr::from_ref(cx).cast())));
        Self
    }
}

impl Drop for InWrite {
    fn drop(&mut self) {
        WRITES.with_borrow_mut(Vec::pop);
    }
}

pub(crate) type Callback = unsafe extern "C" fn(*mut c_void, *const wtcache_request, *mut wtcache_reply);

/// The program's source.
pub(crate) struct CallbackSource {
    user_data: Entrusted,
    get: Callback,
    put: Option<Callback>,
    remove: Option<Callback>,
    declared: Declared,
}

impl CallbackSource {
    /// Takes the program's source over. From here on its `destroy` is called once, also when this fails, unless the
    /// struct cannot be read at all.
    ///
    /// # Safety
    /// `source` is NULL or points to one, of the size that it says.
    pub(crate) unsafe fn take(source: *const wtcache_source) -> Result<Self, wtcache_error> {
        // SAFETY: the caller's promise.
        let known = unsafe { growing(source) }?;
        let user_data = Entrusted { pointer: known.members.user_data, release: known.members.destroy };
        let source = known.all()?;
        let get = source.get.ok_or_else(|| Refused::argument("source.get is NULL"))?;
        let mut declared = Declared::default();
        if source.settle_window_ms != 0 {
            declared.settle_window = Duration::from_millis(source.settle_window_ms);
        }
        declared.stores_verbatim = flag("source.stores_verbatim", source.stores_verbatim)?;
        declared.honours_preconditions = flag("source.honours_preconditions", source.honours_preconditions)?;
        declared.honours_idempotency = flag("source.honours_idempotency", source.honours_idempotency)?;
        declared.versions_never_reused = flag("source.versions_never_reused", source.versions_never_reused)?;
        Ok(Self { user_data, get, put: source.put, remove: source.remove, declared })
    }

    fn call(&self, callback: Callback, request: &wtcache_request, waiting: &Waiting) {
        // SAFETY: the header asks of a callback that it may be called so; the request lives until it returns.
        unsafe { callback(self.user_data.pointer, request, waiting.handle()) };
    }

    fn write(&self, callback: Callback, kind: Kind, request: &Request<'_>, cx: &WriteCx<'_, Bytes>) -> Option<Answer> {
        let idempotency_key = CString::new(cx.idempotency_key().to_string()).expect("hexadecimal digits");
        let waiting = Waiting::begin(kind);
        let inside = InWrite::enter(waiting.id(), cx);
        let mut request = request.to_c(cx.remaining());
        request.idempotency_key = idempotency_key.as_ptr();
        match cx.condition() {
            None => {}
            Some(Condition::Absent) => request.condition = WTCACHE_CONDITION_ABSENT,
            Some(Condition::Exists) => request.condition = WTCACHE_CONDITION_EXISTS,
            Some(Condition::Version(version)) => {
                request.condition = WTCACHE_CONDITION_VERSION;
                request.condition_version = version.as_bytes().as_ptr().cast();
                request.condition_version_len = version.as_bytes().len();
            }
            Some(_) => {
                let error = SourceError::new(Failure::Invalid, "a condition that a source in C cannot be told");
                return Some(Answer::Failed(Verdict::Rejected, error));
            }
        }
        self.call(callback, &request, &waiting);
        // Who answers later asks for the existing record no more.
        drop(inside);
        let answer = waiting.wait(cx.remaining());
        if waiting.leaves_stray() {
            cx.leaves_stray();
        }
        answer
    }
}

/// What is asked, before it is laid out for C.
pub(crate) struct Request<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
}

impl Request<'_> {
    /// The request of a step, which is about no key.
    pub(crate) fn of_step(remaining: Duration, idempotency_key: &CString) -> wtcache_request {
        let mut request = Request { key: &[], value: None, version: None }.to_c(remaining);
        (request.key, request.idempotency_key) = (ptr::null(), idempotency_key.as_ptr());
        request
    }

    fn to_c(&self, remaining: Duration) -> wtcache_request {
        let (value, value_len) = parts(self.value);
        let (version, version_len) = parts(self.version);
        wtcache_request {
            struct_size: size_of::<wtcache_request>(),
            key: self.key.as_ptr().cast(),
            key_len: self.key.len(),
            value,
            value_len,
            remaining_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
            version,
            version_len,
            idempotency_key: ptr::null(),
            condition: WTCACHE_CONDITION_NONE,
            reserved: 0,
            condition_version: ptr::null(),
            condition_version_len: 0,
        }
    }
}

fn parts(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr().cast(), bytes.len()))
}

/// Kinds of answers are held against the kind of the call when they are given.
const SUITS: &str = "an answer that does not suit its call is refused when it is given";

impl Source<Bytes> for CallbackSource {
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        let request = Request { key, value: None, version: cx.replaced().and_then(|entry| entry.version()) };
        let waiting = Waiting::begin(Kind::Get);
        self.call(self.get, &request.to_c(cx.remaining()), &waiting);
        match waiting.wait(cx.remaining()) {
            Some(Answer::Record(record)) => Ok(Loaded::Found(record)),
            Some(Answer::Absent(lifetime)) => Ok(Loaded::AbsentFor(lifetime)),
            Some(Answer::Unchanged(lifetime)) => Ok(Loaded::Unchanged(lifetime)),
            Some(Answer::Failed(_, error)) => Err(error),
            Some(Answer::Applied | Answer::AsSent { .. }) => unreachable!("{SUITS}"),
            None => Err(no_answer()),
        }
    }

    fn put(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        let Some(put) = self.put else { return missing("put") };
        match self.write(put, Kind::Put, &Request { key, value: Some(value), version: None }, cx) {
            Some(Answer::Record(record)) => Outcome::Applied(Confirmed::Record(record)),
            Some(Answer::AsSent { version, lifetime }) => Outcome::Applied(Confirmed::AsSent { version, lifetime }),
            Some(Answer::Applied) => Outcome::Applied(Confirmed::Unseen),
            Some(Answer::Failed(verdict, error)) => failed(verdict, error),
            Some(Answer::Absent(_) | Answer::Unchanged(_)) => unreachable!("{SUITS}"),
            None => Outcome::Unknown(no_answer()),
        }
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        let Some(remove) = self.remove else { return missing("delete") };
        match self.write(remove, Kind::Remove, &Request { key, value: None, version: None }, cx) {
            Some(Answer::Applied) => Outcome::Applied(()),
            Some(Answer::Failed(verdict, error)) => failed(verdict, error),
            Some(Answer::Record(_) | Answer::AsSent { .. } | Answer::Absent(_) | Answer::Unchanged(_)) => {
                unreachable!("{SUITS}")
            }
            None => Outcome::Unknown(no_answer()),
        }
    }

    fn declared(&self) -> Declared {
        self.declared.clone()
    }
}

pub(crate) fn failed<T>(verdict: Verdict, error: SourceError) -> Outcome<T> {
    match verdict.rejection(error.clone()) {
        Some(rejection) => Outcome::Rejected(rejection),
        None => Outcome::Unknown(error),
    }
}

fn missing<T>(what: &str) -> Outcome<T> {
    let message = format!("this source has no callback for a {what}");
    Outcome::Rejected(Rejection::new(SourceError::new(Failure::Invalid, message)))
}

pub(crate) fn no_answer() -> SourceError {
    SourceError::new(Failure::TimedOut, "the source gave no answer by the deadline")
}

#[cfg(test)]
mod tests {
    use wtcache::Version;

    use super::*;
    use crate::reply::{wtcache_reply_applied, wtcache_reply_value};
    use crate::status::WTCACHE_OK;

    /// Answers with what it was told of the condition.
    unsafe extern "C" fn tell(_: *mut c_void, request: *const wtcache_request, reply: *mut wtcache_reply) {
        // SAFETY: the request is valid while we are called.
        let request = unsafe { &*request };
        // SAFETY: as above.
        let version = unsafe { crate::arguments::bytes("", request.condition_version, request.condition_version_len) };
        let told = format!("{} {}", request.condition, version.expect("a version of its length").escape_ascii());
        // SAFETY: the reply is ours to answer.
        let status =
            unsafe { wtcache_reply_value(reply, told.as_ptr().cast(), told.len(), ptr::null(), ptr::null_mut()) };
        assert_eq!(status, WTCACHE_OK);
    }

    unsafe extern "C" fn applied(_: *mut c_void, _: *const wtcache_request, reply: *mut wtcache_reply) {
        // SAFETY: the reply is ours to answer.
        assert_eq!(unsafe { wtcache_reply_applied(reply, ptr::null_mut()) }, WTCACHE_OK);
    }

    #[test]
    fn a_source_is_told_the_condition_of_a_write() {
        let source = CallbackSource {
            user_data: Entrusted { pointer: ptr::null_mut(), release: None },
            get: tell,
            put: Some(tell),
            remove: Some(applied),
            declared: Declared::default(),
        };
        let version = Version::new("r\0 7").expect("short");
        for (condition, told) in [
            (None, "0 "),
            (Some(Condition::Absent), "1 "),
            (Some(Condition::Exists), "3 "),
            (Some(Condition::Version(version)), "2 r\\x00 7"),
        ] {
            let cx = WriteCx::alone(Duration::from_secs(5), condition);
            let Outcome::Applied(Confirmed::Record(record)) = source.put(b"k", b"v", &cx) else {
                panic!("it answered with a record")
            };
            assert_eq!(String::from_utf8_lossy(&record.value), told);
            assert!(matches!(source.delete(b"k", &cx), Outcome::Applied(())));
        }
    }
}
