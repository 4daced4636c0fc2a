//! The adapter to the origin: what a source must offer, what it is told, and the outcomes it answers with.
//!
//! A source is called with no lock held, from the caller's thread or a driver's pool. It must end by the
//! deadline in its context; the cache cannot interrupt it. What it answers decides what the cache may show, so
//! the three outcomes of a write are kept apart here and never folded into a plain `Result`.

mod any;
#[cfg(feature = "tokio")]
mod awaited;
mod batch;
mod create;

use std::error::Error;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Tick};
use crate::entry::{Entry, Layout, Version};
use crate::error::LoadError;
use crate::nesting::Scope;
use crate::pushed::VersionOrder;
use crate::sync::{Arc, AtomicBool, Ordering};

pub(crate) use any::{AnySource, NoAnswer, caught, load_now, panic_message};
#[cfg(feature = "tokio")]
pub use awaited::{AsyncSource, AsyncWriteCx};
#[cfg(feature = "tokio")]
pub(crate) use awaited::{Awaited, ErasedSource};
pub use batch::{Batch, LoadMany};
pub use create::{CreateCx, Made};

/// The adapter that speaks to an origin for one cache.
///
/// `get` is required; a source that does not write keeps the default `put`, `delete` and `create`, which refuse.
///
/// # Threads
/// Called from many threads at once. For one key, at most one write is under way; loads may overlap it.
///
/// # Example
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use wtcache::{Cache, Confirmed, LoadCx, Loaded, Outcome, Record, Source, SourceError, Typed, WriteCx};
///
/// #[derive(Default)]
/// struct Shelf(Mutex<HashMap<String, u32>>);
///
/// impl Source<Typed<String, u32>> for Shelf {
///     fn get(&self, key: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
///         let shelf = self.0.lock().expect("never poisoned");
///         Ok(shelf.get(key).map_or(Loaded::Absent, |n| Loaded::Found(Record::new(*n))))
///     }
///     fn put(&self, key: &String, value: &u32, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<Confirmed<u32>> {
///         self.0.lock().expect("never poisoned").insert(key.clone(), *value);
///         Outcome::Applied(Confirmed::Record(Record::new(*value)))
///     }
/// }
///
/// let cache = Cache::builder(Shelf::default()).build()?;
/// cache.put("bolts", 5)?;
/// assert_eq!(cache.get("bolts")?.map(|e| *e.value()), Some(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Source<L: Layout>: Send + Sync + 'static {
    /// Asks the origin for the record of `key`.
    ///
    /// # Errors
    /// The origin could not be asked, or gave no usable answer. Nothing is cached then.
    fn get(&self, key: &L::Key, cx: &LoadCx<'_, L>) -> Result<Loaded<L::Value>, SourceError>;

    /// Sends `value` to the origin as the record of `key`.
    ///
    /// [`Outcome::Rejected`] is a claim that the origin did not apply it and never will: see the type.
    fn put(&self, _key: &L::Key, _value: &L::View, _cx: &WriteCx<'_, L>) -> Outcome<Confirmed<L::Value>> {
        Outcome::never_put()
    }

    /// Removes the record of `key` at the origin. What is not there any more counts as removed, unless
    /// [`WriteCx::condition`] says otherwise.
    fn delete(&self, _key: &L::Key, _cx: &WriteCx<'_, L>) -> Outcome<()> {
        Outcome::never_deleted()
    }

    /// Has the origin make a record whose key it names itself: see [`CacheOf::create`](crate::CacheOf::create).
    ///
    /// The outcomes are those of a put.
    fn create(&self, _value: &L::View, _cx: &CreateCx<'_>) -> Outcome<Made<L>> {
        Outcome::never_created()
    }

    /// How it loads many records with one request, if it can. Without, [`CacheOf::get_many`](crate::CacheOf::get_many) loads
    /// one record after the other; a single key is always loaded with `get`.
    fn load_many(&self) -> Option<&dyn LoadMany<L>> {
        None
    }

    /// What is known of the origin. Asked once, when the cache is built.
    fn declared(&self) -> Declared {
        Declared::default()
    }
}

/// A source that the program keeps a hand on, to ask it what it counts, say.
impl<L: Layout, S: Source<L> + ?Sized> Source<L> for Arc<S> {
    fn get(&self, key: &L::Key, cx: &LoadCx<'_, L>) -> Result<Loaded<L::Value>, SourceError> {
        (**self).get(key, cx)
    }

    fn put(&self, key: &L::Key, value: &L::View, cx: &WriteCx<'_, L>) -> Outcome<Confirmed<L::Value>> {
        (**self).put(key, value, cx)
    }

    fn delete(&self, key: &L::Key, cx: &WriteCx<'_, L>) -> Outcome<()> {
        (**self).delete(key, cx)
    }

    fn create(&self, value: &L::View, cx: &CreateCx<'_>) -> Outcome<Made<L>> {
        (**self).create(value, cx)
    }

    fn load_many(&self) -> Option<&dyn LoadMany<L>> {
        (**self).load_many()
    }

    fn declared(&self) -> Declared {
        (**self).declared()
    }
}

/// What a source declares about its origin. Everything is the careful answer by default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Declared {
    /// How long after its send a write may still take effect. Default 10 s.
    pub settle_window: Duration,
    /// The origin keeps exactly what it was sent, so that [`Confirmed::AsSent`] may be believed.
    pub stores_verbatim: bool,
    /// The origin checks the condition that a write carries, in one step with applying it.
    pub honours_preconditions: bool,
    /// The origin applies two sends with the same idempotency key at most once and answers both alike, also where it refused:
    /// what one of them is told of the write holds for the other, however long it is under way.
    pub honours_idempotency: bool,
    /// The origin never gives a version twice to one key, also not after a delete.
    pub versions_never_reused: bool,
    /// How the origin's versions of a key stand to each other: the later record has the greater one, also after a delete. By it, what
    /// the origin pushes is known to be news: see [`CacheOf::pushed`](crate::CacheOf::pushed). Default: they have no order.
    pub version_order: VersionOrder,
    /// A rule of the source's own changes or refuses what is put, before it is sent: nobody knows what a put would show until the rule
    /// has run in its turn. To the cache it is one; who lets others write pending values (the REST front) goes by it.
    pub has_rule: bool,
    /// The source makes records whose keys the origin names ([`Source::create`]). To the cache a create is one in any case; who offers it to others
    /// (the REST front) goes by it.
    pub creates: bool,
}

impl Default for Declared {
    fn default() -> Self {
        Self {
            settle_window: Duration::from_secs(10),
            stores_verbatim: false,
            honours_preconditions: false,
            honours_idempotency: false,
            versions_never_reused: false,
            version_order: VersionOrder::None,
            has_rule: false,
            creates: false,
        }
    }
}

/// A value as the origin gave it, with what it said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<V> {
    /// The value.
    pub value: V,
    /// The origin's version of it (for HTTP the ETag), where it has one.
    pub version: Option<Version>,
    /// How long it may be served.
    pub lifetime: Lifetime,
    /// By what it is invalidated together with others, beside the tags of [`Builder::tags`](crate::Builder::tags).
    pub tags: Vec<Box<[u8]>>,
}

impl<V> Record<V> {
    /// A record without version, served for the cache's own lifetime.
    pub fn new(value: V) -> Self {
        Self { value, version: None, lifetime: Lifetime::Default, tags: Vec::new() }
    }

    /// The same with the origin's version.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// The same with a lifetime of its own.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The same with these tags, beside those that it has: see [`CacheOf::invalidate_tag`](crate::CacheOf::invalidate_tag).
    #[must_use]
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(|tag| tag.as_ref().into()));
        self
    }
}

/// How long a record may be served, counted from the start of the request that brought it.
///
/// A record that is expired from the start is retained only where that is of use: it has a version, so that it can be offered to the
/// origin, or a window in which it may be served stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the cache's options say.
    #[default]
    Default,
    /// This long.
    For(Duration),
    /// With windows of its own in which it may be served stale.
    With(Windows),
    /// Of [`Loaded::Unchanged`]: as long as it was given last time, less this (the age of the answer), with the windows that it was
    /// given. Where the cache's options said how long, and of anything else, the same as [`Lifetime::Default`].
    AsBefore(Duration),
    /// Not retained at all; it still takes the place of what was there.
    NotKept,
}

impl Lifetime {
    /// What it leaves open is as `other` says.
    #[inline]
    pub(crate) fn fill(&mut self, other: &Self) {
        // Which mostly says nothing.
        if !matches!(other, Self::Default) {
            *self = self.or(*other);
        }
    }

    /// This one; and what it leaves open, as `other` says.
    pub(crate) fn or(self, other: Self) -> Self {
        let own = match self {
            Self::Default | Self::AsBefore(_) => return other,
            Self::With(own) => own,
            Self::For(_) | Self::NotKept => return self,
        };
        match other {
            Self::NotKept if own.fresh.is_none() => Self::NotKept,
            Self::Default | Self::AsBefore(_) | Self::NotKept => self,
            Self::For(fresh) => Self::With(Windows { fresh: own.fresh.or(Some(fresh)), ..own }),
            Self::With(other) => Self::With(Windows {
                fresh: own.fresh.or(other.fresh),
                while_revalidate: own.while_revalidate.or(other.while_revalidate),
                if_error: own.if_error.or(other.if_error),
            }),
        }
    }
}

/// How long a record is fresh and for how long after that it may be served stale, where its source says so; `None` is what the
/// cache's options say.
///
/// A window is rounded down: to milliseconds, from half a minute on to seconds, and from half an hour on by up to one part in a thousand.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use wtcache::{Lifetime, Record, Windows};
///
/// let minute = Duration::from_secs(60);
/// let windows = Windows { fresh: Some(minute), while_revalidate: Some(10 * minute), ..Windows::default() };
/// let record = Record::new("bolts").lifetime(Lifetime::With(windows));
/// # drop(record);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// How long it may be served.
    pub fresh: Option<Duration>,
    /// For how long after that it may be served while it is refreshed; zero: not at all.
    pub while_revalidate: Option<Duration>,
    /// For how long after that it may be served in place of an error; zero: not at all.
    pub if_error: Option<Duration>,
}

/// What a load found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded<V> {
    /// The origin's record.
    Found(Record<V>),
    /// The origin said that there is none. That is remembered for the negative lifetime.
    Absent,
    /// The same, and how long that holds. It is remembered for no longer than the negative lifetime.
    AbsentFor(Lifetime),
    /// The record of [`LoadCx::replaced`] is still the origin's; its lifetime starts anew.
    ///
    /// Answered without one, it is taken for a failure of the source.
    Unchanged(Lifetime),
}

/// How a write ended.
///
/// The difference between `Rejected` and `Unknown` is the difference between "nothing has happened" and "anything
/// may have happened". When in doubt, it is `Unknown`. A panic of the source is taken for `Unknown` too.
#[derive(Clone, Debug)]
#[must_use]
pub enum Outcome<T> {
    /// The origin confirmed that it applied the write.
    Applied(T),
    /// The origin certainly did not apply it, and will not: nothing of it was offered to the wire, or the origin
    /// answered that it refuses. A write sent more than once is rejected only if every send is proven not applied.
    Rejected(Rejection),
    /// Nobody can know: it may have been applied, or may still be.
    Unknown(SourceError),
}

impl<T> Outcome<T> {
    /// The answer of a source that puts nothing.
    fn never_put() -> Self {
        Self::Rejected(Rejection::new(SourceError::new(Failure::Invalid, "this source does not put")))
    }

    /// The answer of a source that deletes nothing.
    fn never_deleted() -> Self {
        Self::Rejected(Rejection::new(SourceError::new(Failure::Invalid, "this source does not delete")))
    }

    /// The answer of a source that makes nothing.
    fn never_created() -> Self {
        Self::Rejected(Rejection::new(SourceError::new(Failure::Invalid, "this source does not create")))
    }

    /// The same outcome, with another account of what was applied.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Applied(confirmed) => Outcome::Applied(change(confirmed)),
            Self::Rejected(rejection) => Outcome::Rejected(rejection),
            Self::Unknown(error) => Outcome::Unknown(error),
        }
    }
}

/// What the origin confirmed of an applied put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed<V> {
    /// The record as it now stands at the origin.
    Record(Record<V>),
    /// Exactly what was sent. Believed only of a source that declares [`Declared::stores_verbatim`]; else it counts as
    /// [`Confirmed::Unseen`].
    AsSent {
        /// The version it was given, where the origin said so.
        version: Option<Version>,
        /// How long it may be served.
        lifetime: Lifetime,
    },
    /// Applied, but the record is not known: the next read asks for it.
    Unseen,
}

/// Why a write was certainly not applied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rejection {
    /// The reason, handed to the caller unchanged.
    pub error: SourceError,
    /// The refusal proves that what the cache holds is no longer the origin's record (HTTP: 404 on put, 409, 410,
    /// 412): the entry is dropped.
    pub stale_base: bool,
    /// The refusal is about what was asked for, not about this one send: an origin that honours idempotency keys would give it
    /// to any send of the write. False for a send that never left, that was throttled, or turned away before the origin looked
    /// at it: such a refusal says nothing of an earlier send.
    pub all_sends: bool,
}

impl Rejection {
    /// A refusal of this send that says nothing about what the cache holds.
    pub fn new(error: SourceError) -> Self {
        Self { error, stale_base: false, all_sends: false }
    }

    /// A refusal of this send that proves the cache's entry out of date.
    pub fn stale(error: SourceError) -> Self {
        Self { stale_base: true, ..Self::new(error) }
    }

    /// The same, about every send of the write: see [`Rejection::all_sends`].
    #[must_use]
    pub fn of_all_sends(mut self) -> Self {
        self.all_sends = true;
        self
    }
}

/// What kind of failure a source met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// The source's own check refused before anything was sent.
    Invalid,
    /// The origin answered that it refuses.
    Refused,
    /// The origin could not be reached; nothing was sent.
    Unreachable,
    /// The deadline passed.
    TimedOut,
    /// The connection broke, or the answer cannot be used.
    Broken,
    /// The origin answered that it failed, or the source did.
    Failed,
}

/// A failure as a source reports it. Cheap to clone, since all waiters of a load get the same one.
#[derive(Clone)]
pub struct SourceError(Arc<SourceErrorInner>);

#[derive(Clone)]
struct SourceErrorInner {
    failure: Failure,
    message: Box<str>,
    code: Option<i32>,
    retry_after: Option<Duration>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// A failure of this kind, in words for whoever reads a log.
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self(Arc::new(SourceErrorInner {
            failure,
            message: message.into().into_boxed_str(),
            code: None,
            retry_after: None,
            cause: None,
        }))
    }

    /// The same with the source's own code (for HTTP the status).
    #[must_use]
    pub fn with_code(mut self, code: i32) -> Self {
        Arc::make_mut(&mut self.0).code = Some(code);
        self
    }

    /// The same with the time after which the origin may be asked again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        Arc::make_mut(&mut self.0).retry_after = Some(after);
        self
    }

    /// The same with what caused it, found again by `source()` and a downcast.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).cause = Some(Arc::new(cause));
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn failure(&self) -> Failure {
        self.0.failure
    }

    /// The words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The source's own code, if it has one.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.0.code
    }

    /// When the origin said that it may be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceError")
            .field("failure", &self.0.failure)
            .field("message", &self.0.message)
            .field("code", &self.0.code)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// What must hold at the origin for a write to be applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Condition {
    /// The record has this version (HTTP: If-Match).
    Version(Version),
    /// There is no record (HTTP: If-None-Match: *).
    Absent,
    /// There is a record, whatever its version (HTTP: If-Match: *).
    Exists,
}

/// The key under which an origin may recognise the resends of one write. Unique for each write of a process, and random.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IdempotencyKey(u128);

impl IdempotencyKey {
    /// A key from 128 bits of the program's own.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a source is told about a load.
pub struct LoadCx<'a, L: Layout> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) deadline: Tick,
    pub(crate) replaced: Option<&'a Entry<L>>,
}

impl<L: Layout> LoadCx<'_, L> {
    /// How long the source may still take. Zero when the deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.since(self.clock.now())
    }

    /// The expired entry that this load replaces: its version may be offered to the origin, and
    /// [`Loaded::Unchanged`] answered.
    #[must_use]
    pub fn replaced(&self) -> Option<&Entry<L>> {
        self.replaced
    }

    /// The calls that this one is part of, to be passed on with [`Call::within`](crate::Call::within) by a source that
    /// uses the cache from another thread. Calls from this same thread are known without it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::current()
    }
}

impl<L: Layout> LoadCx<'static, L> {
    /// A context outside any cache, for tests of a source.
    #[must_use]
    pub fn alone(remaining: Duration) -> Self {
        let (clock, deadline) = real_time(remaining);
        Self { clock, deadline, replaced: None }
    }
}

/// How a context reaches the existing record.
pub(crate) trait Existing<L: Layout>: Sync {
    fn existing(&self) -> Result<Option<Entry<L>>, LoadError>;

    #[cfg(feature = "tokio")]
    fn awaited(&self) -> awaited::Boxed<'_, Result<Option<Entry<L>>, LoadError>>;
}

/// What a source is told about a write.
pub struct WriteCx<'a, L: Layout> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) deadline: Tick,
    pub(crate) idempotency_key: IdempotencyKey,
    pub(crate) condition: Option<Condition>,
    pub(crate) replaced: Option<&'a Entry<L>>,
    pub(crate) existing: Option<&'a dyn Existing<L>>,
    pub(crate) stray: AtomicBool,
}

impl<L: Layout> WriteCx<'_, L> {
    /// How long the source may still take. Zero when the deadline has passed: nothing may be sent any more.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.since(self.clock.now())
    }

    /// The key under which every send of this write goes out.
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        self.idempotency_key
    }

    /// What must hold at the origin. Set only for a source that declares [`Declared::honours_preconditions`].
    #[must_use]
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    /// The entry that was resident when the write was sent, if any.
    #[must_use]
    pub fn replaced(&self) -> Option<&Entry<L>> {
        self.replaced
    }

    /// The existing record: the resident one, else loaded from the origin now, within this write's turn and deadline.
    ///
    /// # Errors
    /// The record is not resident and could not be loaded. Nothing has been sent.
    pub fn existing(&self) -> Result<Option<Entry<L>>, LoadError> {
        match self.existing {
            Some(existing) => existing.existing(),
            None => Ok(None),
        }
    }

    /// Says that an earlier send of this write ended without a definite answer, so that it may still land.
    ///
    /// What the source answers in the end is judged with that in mind: Applied is returned as such, but the key stays
    /// in doubt, and Rejected is no proof, unless the origin honours idempotency keys (and the refusal is
    /// [about all sends](Rejection::all_sends)).
    pub fn leaves_stray(&self) {
        // Relaxed: read by the cache after the source returned to the same thread of control.
        self.stray.store(true, Ordering::Relaxed);
    }

    /// The calls that this one is part of: see [`LoadCx::scope`].
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::current()
    }
}

impl<L: Layout> WriteCx<'static, L> {
    /// A context outside any cache, for tests of a source: without an existing record.
    #[must_use]
    pub fn alone(remaining: Duration, condition: Option<Condition>) -> Self {
        let (clock, deadline) = real_time(remaining);
        Self {
            clock,
            deadline,
            idempotency_key: IdempotencyKey(0),
            condition,
            replaced: None,
            existing: None,
            stray: AtomicBool::new(false),
        }
    }
}

fn real_time(remaining: Duration) -> (&'static dyn Clock, Tick) {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
    (&*CLOCK, CLOCK.now().after(remaining))
}
