//! The answers of a source that is written in C: which calls wait for one, and the functions that give it.
//!
//! A `wtcache_reply *` is no address but the number of a call, never given twice. The table below knows the calls that still wait.
//! So an answer can come at any time and from any thread, a second one finds nothing, and a reply that is forgotten costs
//! nothing once its call is over. Invariant: who takes a call out of the table decides it; a source's call that finds itself
//! taken out at its deadline has an answer on its way.

use std::collections::HashMap;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wtcache::{Failure, Lifetime, Record, Rejection, SourceError, Version, Windows, Wrote};

use crate::arguments::{Growing, Refused, bytes, flag, growing};
use crate::border;
use crate::call::wtcache_bytes;
use crate::error::{Entrusted, Foreign, wtcache_error};
use crate::fork::Process;
use crate::many::all;
use crate::status::{WTCACHE_ERR_ANSWERED, WTCACHE_OK};

/// One call of a source that waits for its answer. Answer it once, with one of the `wtcache_reply_*` functions that suits the call, from
/// any thread, inside the callback or later. There is nothing to free, and it may be used at any time: once it was answered, or its deadline has
/// passed, a further answer is refused with `WTCACHE_ERR_ANSWERED`. A call that has no answer by its deadline ends: a read
/// with an error, a write in doubt.
pub struct wtcache_reply(());

/// The lifetime of a record: that of the cache's configuration.
pub const WTCACHE_LIFETIME_DEFAULT: i64 = 0;
/// The lifetime of a record: it is given to whoever asked, and not kept.
pub const WTCACHE_LIFETIME_NOT_KEPT: i64 = -1;
/// The lifetime of a record that is unchanged, and of no other: as long as it was given last time, less `age_ms`, with the windows that it
/// was given. Where the configuration said how long, it says so again.
pub const WTCACHE_LIFETIME_AS_BEFORE: i64 = -2;
/// The lifetime of a record: it has expired from the start. It is kept only where it has a version, to be offered to the origin, or a window.
pub const WTCACHE_LIFETIME_EXPIRED: i64 = -3;

/// The length of a window in which an expired record may be served: there is no such window.
pub const WTCACHE_WINDOW_NONE: i64 = -1;

/// What the origin said about a record. Set `struct_size` to its `sizeof`, and the rest to zero where nothing is known.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_record {
    /// `sizeof(wtcache_record)`.
    pub struct_size: usize,
    /// The origin's version of it (HTTP: the ETag), 65,535 bytes at most; NULL where it has none.
    pub version: *const c_void,
    /// The bytes of `version`.
    pub version_len: usize,
    /// How long it may be served, in milliseconds, or one of `WTCACHE_LIFETIME_*`.
    pub lifetime_ms: i64,
    /// Of a record: by what it is forgotten together with others, see `wtcache_invalidate_tag`; NULL for nothing.
    pub tags: *const wtcache_bytes,
    /// How many tags there are.
    pub tag_count: usize,
    /// For how long after its lifetime it may be served while it is refreshed, in milliseconds. Zero: as the cache is configured;
    /// `WTCACHE_WINDOW_NONE`: not at all, whatever a call says.
    pub while_revalidate_ms: i64,
    /// The same: for how long it may be served in place of an error.
    pub if_error_ms: i64,
    /// Of `WTCACHE_LIFETIME_AS_BEFORE` only: how old the origin's answer is, in milliseconds.
    pub age_ms: u64,
}

// SAFETY: `repr(C)`, begins with its size, and integers and pointers may be zero.
unsafe impl Growing for wtcache_record {
    const NAME: &'static str = "record";
    const LEAST: usize = size_of::<usize>();
}

/// Of a write: nobody can know whether the origin applied it, or still will. When in doubt, this. For a read the verdict says
/// nothing.
pub const WTCACHE_VERDICT_UNKNOWN: i32 = 0;
/// Of a write: the origin certainly did not apply it, and never will: nothing was sent, or it answered that it refuses.
pub const WTCACHE_VERDICT_REJECTED: i32 = 1;
/// As `WTCACHE_VERDICT_REJECTED`, and the refusal proves that what is cached is not the origin's record any more.
pub const WTCACHE_VERDICT_CONFLICT: i32 = 2;

/// Why a source could not do what it was asked. Set `struct_size` to its `sizeof`, and the rest to zero where there is
/// nothing to say.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_failure {
    /// `sizeof(wtcache_failure)`.
    pub struct_size: usize,
    /// One of `WTCACHE_VERDICT_*`.
    pub verdict: i32,
    /// 1 if the same call may succeed later with nothing changed, else 0.
    pub retryable: i32,
    /// The source's own code; 0 for none.
    pub code: i32,
    /// Zero.
    pub reserved: i32,
    /// When the origin may be asked again, in milliseconds; 0 where nobody said.
    pub retry_after_ms: u64,
    /// What happened, in words, UTF-8; NULL for none. It is copied.
    pub message: *const c_char,
    /// The bytes of `message`.
    pub message_len: usize,
    /// Anything of the program's, found again with `wtcache_error_cause` in every error that comes of this failure.
    pub cause: *mut c_void,
    /// Called once with `cause`, from any thread, when no error has it any more, or at once if this reply is refused. May be
    /// NULL.
    pub release_cause: Option<unsafe extern "C" fn(cause: *mut c_void)>,
}

// SAFETY: `repr(C)`, begins with its size, and integers, pointers and functions may be zero.
unsafe impl Growing for wtcache_failure {
    const NAME: &'static str = "failure";
    const LEAST: usize = size_of::<Self>();
}

/// Answers a read: this is the record. Answers a put: it was applied, and this is the record as it now stands at the origin. Answers a
/// step of a transaction: it was applied, and this is its value, which is no key's, and of which `record` says nothing.
///
/// `value`, of `value_len` bytes, is copied. `record` says what is known about it, and may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_value(
    reply: *mut wtcache_reply,
    value: *const c_void,
    value_len: usize,
    record: *const wtcache_record,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let value = bytes("value", value, value_len)?;
            let said = Said::of(record)?;
            answer(reply, Answer::Record(said.record(value)))
        })
    }
}

/// As `wtcache_reply_value`, for a value that the program made for this: `release` is called once with `owner`, when the value
/// is not needed any more, and also if this reply is refused. `release` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_value_owned(
    reply: *mut wtcache_reply,
    value: *const c_void,
    value_len: usize,
    release: Option<unsafe extern "C" fn(owner: *mut c_void)>,
    owner: *mut c_void,
    record: *const wtcache_record,
    err: *mut *mut wtcache_error,
) -> i32 {
    let owned = Entrusted { pointer: owner, release };
    // SAFETY: the caller keeps the rules at the header's top, and the value lives until its owner is released.
    let status = unsafe { wtcache_reply_value(reply, value, value_len, record, err) };
    border::quietly((), || drop(owned));
    status
}

/// Answers a read: the origin says that there is no such record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_absent(reply: *mut wtcache_reply, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || answer(reply, Answer::Absent(Lifetime::Default))) }
}

/// As `wtcache_reply_absent`, and for how long that holds, in milliseconds, or one of `WTCACHE_LIFETIME_*`. It is remembered for no longer than
/// the configuration says (`negative_lifetime_ms`); `WTCACHE_LIFETIME_NOT_KEPT`: not at all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_absent_for(
    reply: *mut wtcache_reply,
    lifetime_ms: i64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || answer(reply, Answer::Absent(lifetime_of("lifetime_ms", lifetime_ms)?))) }
}

/// Answers a read whose request has a `version`: the record with that version is still the origin's, and lives anew. Of `record`, which may
/// be NULL, only the lifetime and the windows count; `WTCACHE_LIFETIME_AS_BEFORE` gives it those that it had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_unchanged(
    reply: *mut wtcache_reply,
    record: *const wtcache_record,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let said = Said::of_unchanged(record)?;
            answer(reply, Answer::Unchanged(said.lifetime))
        })
    }
}

/// Answers a put, a remove or a step of a transaction: it was applied. Of a put, what the record is now, the next read asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_applied(reply: *mut wtcache_reply, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || answer(reply, Answer::Applied)) }
}

/// Answers a put: it was applied, and the origin keeps exactly what it was sent. Believed only of a source that declares
/// `stores_verbatim`; else as `wtcache_reply_applied`. `record` says what is known about it, and may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_stored(
    reply: *mut wtcache_reply,
    record: *const wtcache_record,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let said = Said::of(record)?;
            answer(reply, Answer::AsSent { version: said.version, lifetime: said.lifetime })
        })
    }
}

/// Answers any call: it failed. Of a write, `failure->verdict` says whether it may have been applied.
///
/// If the call is refused, `release_cause` was called, unless `failure` is NULL or its `struct_size` wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_error(
    reply: *mut wtcache_reply,
    failure: *const wtcache_failure,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let (verdict, error) = failure_of(failure)?;
            answer(reply, Answer::Failed(verdict, error))
        })
    }
}

/// Says of a write that an earlier send of it ended without a definite answer, so that it may still land: for a source that
/// sends again. Whatever is answered then, the key stays in doubt for the settle window, unless the source declares
/// `honours_idempotency` and sends with the request's key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_leaves_stray(reply: *mut wtcache_reply, err: *mut *mut wtcache_error) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let id = Id::of(reply)?;
            let calls = calls(id);
            let pending = calls.get(&id).ok_or_else(answered)?;
            match pending.kind {
                Kind::Put | Kind::Remove => {}
                Kind::Get => return Err(Refused::argument("a read leaves nothing that may land").into()),
                Kind::Step => return Err(Refused::argument("a step that may still land is unknown").into()),
            }
            // Release: pairs with the acquire in `Waiting::leaves_stray`.
            pending.notes.stray.store(true, Ordering::Release);
            Ok(WTCACHE_OK)
        })
    }
}

/// Of a key that a step writes: something that is not known; the next read asks. So it is of keys that a step declares and says nothing of.
pub const WTCACHE_WROTE_UNSEEN: i32 = 0;
/// The value that is given with it, as it now stands at the origin.
pub const WTCACHE_WROTE_VALUE: i32 = 1;
/// Exactly what the transaction shows of the key.
pub const WTCACHE_WROTE_AS_SENT: i32 = 2;
/// No record.
pub const WTCACHE_WROTE_DELETED: i32 = 3;

/// Says of a step of a transaction what it has left of a key, before its answer, once a key: `wrote` is one of `WTCACHE_WROTE_*`. `value`, of
/// `value_len` bytes, and `record`, which may be NULL, are those of `WTCACHE_WROTE_VALUE`. It counts only if the step is answered as
/// applied; a key that the step did not declare is invalidated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_reply_wrote(
    reply: *mut wtcache_reply,
    key: *const c_void,
    key_len: usize,
    wrote: i32,
    value: *const c_void,
    value_len: usize,
    record: *const wtcache_record,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let id = Id::of(reply)?;
            let (key, value) = (bytes("key", key, key_len)?, bytes("value", value, value_len)?);
            let said = Said::of(record)?;
            let wrote = match wrote {
                WTCACHE_WROTE_VALUE => Wrote::Record(said.record(value)),
                _ if !value.is_empty() || !record.is_null() => {
                    return Err(Refused::argument("value and record are of WTCACHE_WROTE_VALUE only").into());
                }
                WTCACHE_WROTE_UNSEEN => Wrote::Unseen,
                WTCACHE_WROTE_AS_SENT => Wrote::AsSent,
                WTCACHE_WROTE_DELETED => Wrote::Deleted,
                other => return Err(Refused::argument(format!("wrote is {other}, which is no WTCACHE_WROTE")).into()),
            };
            let calls = calls(id);
            let pending = calls.get(&id).ok_or_else(answered)?;
            if pending.kind != Kind::Step {
                return Err(Refused::argument("only a step says so what it wrote").into());
            }
            let mut told = pending.notes.wrote.lock().unwrap_or_else(PoisonError::into_inner);
            told.push((key.into(), wrote));
            Ok(WTCACHE_OK)
        })
    }
}

/// What a `wtcache_failure` of the program's says. If it is refused, its cause was released, unless the struct cannot be read at all.
///
/// # Safety
/// `failure` is NULL or points to one whose message may be read.
pub(crate) unsafe fn failure_of(failure: *const wtcache_failure) -> Result<(Verdict, SourceError), Refused> {
    // SAFETY: the caller's promise.
    let known = unsafe { growing(failure) }?;
    let cause = Entrusted { pointer: known.members.cause, release: known.members.release_cause };
    let failure = known.all()?;
    let retryable = flag("failure.retryable", failure.retryable)?;
    // SAFETY: the caller's promise.
    let message = unsafe { bytes("failure.message", failure.message.cast(), failure.message_len) }?;
    let message = if message.is_empty() { "no message".into() } else { String::from_utf8_lossy(message) };
    let verdict = Verdict::of(failure.verdict)?;
    let kind = if verdict == Verdict::Unknown { Failure::Failed } else { Failure::Refused };
    let mut error = SourceError::new(kind, message);
    if failure.code != 0 {
        error = error.with_code(failure.code);
    }
    if failure.retry_after_ms != 0 {
        error = error.with_retry_after(Duration::from_millis(failure.retry_after_ms));
    }
    Ok((verdict, error.with_cause(Foreign { retryable, cause })))
}

/// What a `wtcache_record` of the program's says.
pub(crate) struct Said {
    version: Option<Version>,
    pub(crate) lifetime: Lifetime,
    tags: Vec<Box<[u8]>>,
}

impl Said {
    /// # Safety
    /// `record` is NULL or points to one whose version and tags may be read.
    pub(crate) unsafe fn of(record: *const wtcache_record) -> Result<Self, Refused> {
        // SAFETY: the caller's promise.
        let said = unsafe { Self::of_unchanged(record) }?;
        if matches!(said.lifetime, Lifetime::AsBefore(_)) {
            return Err(only_unchanged("record.lifetime_ms"));
        }
        Ok(said)
    }

    /// The same of a record that may be unchanged, so that its lifetime may be, too.
    ///
    /// # Safety
    /// As [`Self::of`].
    unsafe fn of_unchanged(record: *const wtcache_record) -> Result<Self, Refused> {
        if record.is_null() {
            return Ok(Self { version: None, lifetime: Lifetime::Default, tags: Vec::new() });
        }
        // SAFETY: the caller's promise.
        let record = unsafe { growing(record) }?.all()?;
        // SAFETY: the caller's promise.
        let version = unsafe { bytes("record.version", record.version, record.version_len) }?;
        let version = if record.version.is_null() {
            None
        } else {
            let long = || Refused::argument(format!("record.version has {} bytes, 65535 at most", version.len()));
            Some(Version::new(version).ok_or_else(long)?)
        };
        // SAFETY: the caller's promise.
        let tags = unsafe { all("record.tags", record.tags, record.tag_count) }?;
        Ok(Self { version, lifetime: record.lifetime()?, tags: tags.into_iter().map(Into::into).collect() })
    }

    pub(crate) fn record(self, value: &[u8]) -> Record<Vec<u8>> {
        let record = Record::new(value.to_vec()).lifetime(self.lifetime).tags(self.tags);
        match self.version {
            Some(version) => record.version(version),
            None => record,
        }
    }
}

impl wtcache_record {
    fn lifetime(&self) -> Result<Lifetime, Refused> {
        let while_revalidate = window_of("record.while_revalidate_ms", self.while_revalidate_ms)?;
        let if_error = window_of("record.if_error_ms", self.if_error_ms)?;
        let as_before = self.lifetime_ms == WTCACHE_LIFETIME_AS_BEFORE;
        if self.age_ms != 0 && !as_before {
            return Err(Refused::argument("record.age_ms is of WTCACHE_LIFETIME_AS_BEFORE only"));
        }
        let lifetime = if as_before {
            Lifetime::AsBefore(Duration::from_millis(self.age_ms))
        } else {
            lifetime_of("record.lifetime_ms", self.lifetime_ms)?
        };
        let window = match (while_revalidate, if_error) {
            (None, None) => return Ok(lifetime),
            (Some(_), _) => "while_revalidate_ms",
            (None, Some(_)) => "if_error_ms",
        };
        let fresh = match lifetime {
            Lifetime::Default => None,
            Lifetime::For(fresh) => Some(fresh),
            // As before, it has the windows that it had; not kept, it has none.
            _ => return Err(Refused::argument(format!("record.{window} contradicts record.lifetime_ms"))),
        };
        Ok(Lifetime::With(Windows { fresh, while_revalidate, if_error }))
    }
}

/// A lifetime in milliseconds, or one of `WTCACHE_LIFETIME_*` that any record may have.
pub(crate) fn lifetime_of(name: &str, lifetime_ms: i64) -> Result<Lifetime, Refused> {
    match lifetime_ms {
        WTCACHE_LIFETIME_DEFAULT => Ok(Lifetime::Default),
        WTCACHE_LIFETIME_NOT_KEPT => Ok(Lifetime::NotKept),
        WTCACHE_LIFETIME_AS_BEFORE => Err(only_unchanged(name)),
        WTCACHE_LIFETIME_EXPIRED => Ok(Lifetime::For(Duration::ZERO)),
        ms => duration_of(name, ms).map(Lifetime::For),
    }
}

fn only_unchanged(name: &str) -> Refused {
    Refused::argument(format!("{name} is WTCACHE_LIFETIME_AS_BEFORE, which is of wtcache_reply_unchanged only"))
}

/// A window in milliseconds, or `WTCACHE_WINDOW_NONE`; `None` where nothing is said of it.
pub(crate) fn window_of(name: &str, window_ms: i64) -> Result<Option<Duration>, Refused> {
    match window_ms {
        0 => Ok(None),
        WTCACHE_WINDOW_NONE => Ok(Some(Duration::ZERO)),
        ms => duration_of(name, ms).map(Some),
    }
}

fn duration_of(name: &str, ms: i64) -> Result<Duration, Refused> {
    u64::try_from(ms).map(Duration::from_millis).map_err(|_| Refused::argument(format!("{name} is {ms}")))
}

/// What kind of call waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Get,
    Put,
    Remove,
    Step,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Unknown,
    Rejected,
    Conflict,
}

impl Verdict {
    fn of(number: i32) -> Result<Self, Refused> {
        match number {
            WTCACHE_VERDICT_UNKNOWN => Ok(Self::Unknown),
            WTCACHE_VERDICT_REJECTED => Ok(Self::Rejected),
            WTCACHE_VERDICT_CONFLICT => Ok(Self::Conflict),
            other => Err(Refused::argument(format!("failure.verdict is {other}, which is no WTCACHE_VERDICT"))),
        }
    }

    pub(crate) fn rejection(self, error: SourceError) -> Option<Rejection> {
        match self {
            Self::Unknown => None,
            Self::Rejected => Some(Rejection::new(error)),
            Self::Conflict => Some(Rejection::stale(error)),
        }
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Record(Record<Vec<u8>>),
    Absent(Lifetime),
    Unchanged(Lifetime),
    Applied,
    AsSent { version: Option<Version>, lifetime: Lifetime },
    Failed(Verdict, SourceError),
}

impl Answer {
    fn suits(&self, kind: Kind) -> bool {
        match self {
            Self::Record(_) => kind != Kind::Remove,
            Self::Absent(_) | Self::Unchanged(_) => kind == Kind::Get,
            Self::Applied => kind != Kind::Get,
            Self::AsSent { .. } => kind == Kind::Put,
            Self::Failed(..) => true,
        }
    }
}

/// The number of a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Id(usize);

impl Id {
    pub(crate) fn of(reply: *const wtcache_reply) -> Result<Self, Refused> {
        if reply.is_null() { Err(Refused::argument("reply is NULL")) } else { Ok(Self(reply.addr())) }
    }
}

/// A call that waits, in the table.
struct Pending {
    kind: Kind,
    answer: SyncSender<Answer>,
    notes: Arc<Notes>,
}

/// A key, and what a step has left of it.
pub(crate) type WroteKey = (Box<[u8]>, Wrote<Vec<u8>>);

/// What is said of a call beside its answer, and before it.
#[derive(Default)]
struct Notes {
    stray: AtomicBool,
    /// What a step has left of keys. Its lock is a leaf.
    wrote: Mutex<Vec<WroteKey>>,
}

type Calls = HashMap<Id, Pending>;

/// The table has parts, so that calls that have nothing to do with each other seldom meet at a lock.
const PARTS: usize = 16;

type Table = [Mutex<Calls>; PARTS];

/// The part of the table that has this call. A lock of it is held for a look-up, and never while code of the program runs.
fn calls(id: Id) -> MutexGuard<'static, Calls> {
    // A lock is poisoned by a panic; a look-up leaves nothing half done.
    table()[id.0 % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
}

static TABLE: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());

/// The table of this process. It is made when it is first needed, and never freed.
fn table() -> &'static Table {
    // Acquire: what is in it was written before the release below.
    let mut table = TABLE.load(Ordering::Acquire);
    if table.is_null() {
        let made = Box::into_raw(Box::new(std::array::from_fn(|_| Mutex::new(HashMap::new()))));
        match TABLE.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => table = made,
            Err(others) => {
                // SAFETY: made a few lines above, and shown to nobody.
                drop(unsafe { Box::from_raw(made) });
                table = others;
            }
        }
    }
    // SAFETY: from `Box::into_raw`, and never freed.
    unsafe { &*table }
}

/// In the child of a `fork`: begins with an empty table, for a thread that is not here any more may hold a lock of the old one, which
/// is left to itself.
pub(crate) fn forget_calls() {
    TABLE.store(ptr::null_mut(), Ordering::Release);
}

/// Gives `answer` to the call that waits for it.
fn answer(reply: *mut wtcache_reply, answer: Answer) -> Result<i32, wtcache_error> {
    let id = Id::of(reply)?;
    let mut calls = calls(id);
    let pending = match calls.get(&id) {
        None => return Err(answered()),
        Some(pending) if !answer.suits(pending.kind) => {
            let kind = pending.kind;
            drop(calls);
            return Err(Refused::argument(format!("a {kind:?} cannot be answered so: {}", answer.name())).into());
        }
        Some(_) => calls.remove(&id).expect("found a line above"),
    };
    drop(calls);
    // It has room for the one answer. The receiver waits for it, since it did not find itself in the table.
    pending.answer.send(answer).map_err(|_| answered())?;
    Ok(WTCACHE_OK)
}

impl Answer {
    fn name(&self) -> &'static str {
        match self {
            Self::Record(_) => "with a value",
            Self::Absent(_) => "as absent",
            Self::Unchanged(_) => "as unchanged",
            Self::Applied => "as applied",
            Self::AsSent { .. } => "as stored",
            Self::Failed(..) => "with an error",
        }
    }
}

fn answered() -> wtcache_error {
    Refused::new(WTCACHE_ERR_ANSWERED, "the call was answered already, or is over").into()
}

/// A call that waits, as the source's own side sees it. Dropped, it waits no more.
pub(crate) struct Waiting {
    id: Id,
    answer: Receiver<Answer>,
    notes: Arc<Notes>,
    process: Process,
}

impl Waiting {
    /// Begins to wait for the answer to a call of this kind.
    pub(crate) fn begin(kind: Kind) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        // Relaxed: each number is given once; what belongs to it is under the table's lock.
        let id = Id(NEXT.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = sync_channel(1);
        let notes = Arc::new(Notes::default());
        calls(id).insert(id, Pending { kind, answer: sender, notes: Arc::clone(&notes) });
        Self { id, answer, notes, process: Process::current() }
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// What the program is given.
    pub(crate) fn handle(&self) -> *mut wtcache_reply {
        ptr::without_provenance_mut(self.id.0)
    }

    /// The answer, or `None` where there is none when the time has passed.
    pub(crate) fn wait(&self, remaining: Duration) -> Option<Answer> {
        match self.answer.recv_timeout(remaining) {
            Ok(answer) => Some(answer),
            // Taken out by nobody else: from now on every answer is refused. In a child forked within the callback, nobody answers.
            Err(RecvTimeoutError::Timeout) if self.leave() || !self.process.is_current() => None,
            // Somebody took it out and is about to send.
            Err(_) => self.answer.recv().ok(),
        }
    }

    /// Whether the program said that an earlier send may still land.
    pub(crate) fn leaves_stray(&self) -> bool {
        // Acquire: pairs with the release in `wtcache_reply_leaves_stray`.
        self.notes.stray.load(Ordering::Acquire)
    }

    /// What a step said that it has left of keys.
    pub(crate) fn wrote(&self) -> Vec<WroteKey> {
        std::mem::take(&mut *self.notes.wrote.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn leave(&self) -> bool {
        calls(self.id).remove(&self.id).is_some()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave();
    }
}
