//! What is resident: the entry handle, its header, and the two ways to lay a record out in memory.
//!
//! The store works on any [`Layout`]; there are two, and the trait is sealed. [`Typed`] keeps Rust values of the
//! program's own types; [`Bytes`] keeps header, key and value in one allocation, for programs that cross a border.
//! Invariant: what a handle shows (key, value, version) never changes while the handle lives; only the times in the
//! header move.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use crate::clock::{Clock, Tick, has_come};
use crate::index::Rows;
use crate::sync::{Arc, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::windows::OwnWindows;

/// The version that an origin gives a record, as opaque bytes (for HTTP: the ETag as it was sent).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(Box<[u8]>);

impl Version {
    /// A version of these bytes; `None` if they are more than 65,535.
    #[must_use]
    pub fn new(bytes: impl AsRef<[u8]>) -> Option<Self> {
        let bytes = bytes.as_ref();
        (bytes.len() <= usize::from(u16::MAX)).then(|| Self(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0.escape_ascii())
    }
}

/// The times of an entry, all of the cache's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// Start of the request that brought or confirmed it.
    pub(crate) since: Tick,
    /// From here on it is expired.
    pub(crate) expires: Tick,
    /// From here on a read has it refreshed.
    pub(crate) refresh: Tick,
    /// For how long after that it may be served stale.
    pub(crate) windows: OwnWindows,
    /// Its source said how long it may be served, not the cache's options.
    pub(crate) own: bool,
}

impl Times {
    /// Of what is not refreshed, and stale for as long as the cache's options say.
    pub(crate) const fn until(since: Tick, expires: Tick) -> Self {
        Self { since, expires, refresh: Tick::NEVER, windows: OwnWindows::UNSAID, own: false }
    }
}

const NEVER: u64 = Tick::NEVER.as_nanos();

/// The end of hits of a covered record. No other ends there: what expires does so after its request began.
const COVERED: u64 = Tick::ZERO.as_nanos();

/// What the cache keeps with every record. What a hit reads comes last, so that it lies beside the key, and beside the count, where the
/// layout has these behind the header.
#[repr(C)]
pub(crate) struct Header {
    since: AtomicU64,
    expires: AtomicU64,
    /// An [`OwnWindows`].
    windows: AtomicU32,
    weight: u32,
    pub(crate) hash: u64,
    /// A hit serves the entry before this tick: `expires`, or earlier while a write of the key is out; [`COVERED`] while writes are
    /// pending above it.
    serve_until: AtomicU64,
    /// From here on a read has it refreshed: never, while a refresh waits or runs.
    refresh: AtomicU64,
    /// Place in the shard's eviction policy, and above it two marks: [`EXPIRY_TOLD`], [`OWN`]. Written under the shard's exclusive lock.
    node: AtomicU32,
    /// Hits since the policy last looked, up to its own ceiling; above them [`PENDING`], which never changes.
    touched: AtomicU8,
    /// The layout's own, beside which they would begin a word: what a byte record tells of its parts.
    pub(crate) parts: [u8; 3],
}

/// Of `node`: a listener was told that the lifetime has passed.
const EXPIRY_TOLD: u32 = 1 << 31;
/// Of `node`: see [`Times::own`].
const OWN: u32 = 1 << 30;
/// Of `touched`: the origin has not confirmed it. Pending writes made it, and `since` is when the oldest of them was admitted.
const PENDING: u8 = 1 << 7;

// An entry costs this much beside what its program stores.
#[cfg(not(wtcache_shuttle))]
const _: () = assert!(size_of::<Header>() == 56);

impl Header {
    pub(crate) fn new(hash: u64, times: Times, weight: u32) -> Self {
        Self {
            hash,
            serve_until: AtomicU64::new(times.expires.as_nanos()),
            expires: AtomicU64::new(times.expires.as_nanos()),
            since: AtomicU64::new(times.since.as_nanos()),
            refresh: AtomicU64::new(times.refresh.as_nanos()),
            windows: AtomicU32::new(times.windows.to_bits()),
            weight,
            node: AtomicU32::new(if times.own { OWN } else { 0 }),
            touched: AtomicU8::new(0),
            parts: [0; 3],
        }
    }

    /// The header of what pending writes make, the oldest of which was admitted at `since`. It is in no store.
    pub(crate) fn pending(hash: u64, since: Tick) -> Self {
        Self { touched: AtomicU8::new(PENDING), ..Self::new(hash, Times::until(since, Tick::NEVER), 0) }
    }

    // Relaxed throughout: a hit reads these under the shard's lock, and they are written under it too; a handle
    // outside the lock shows times for information only.

    pub(crate) fn serve_until(&self) -> Tick {
        Tick::from_nanos(self.serve_until.load(Ordering::Relaxed))
    }

    pub(crate) fn expires(&self) -> Tick {
        Tick::from_nanos(self.expires.load(Ordering::Relaxed))
    }

    pub(crate) fn since(&self) -> Tick {
        Tick::from_nanos(self.since.load(Ordering::Relaxed))
    }

    pub(crate) fn windows(&self) -> OwnWindows {
        OwnWindows::from_bits(self.windows.load(Ordering::Relaxed))
    }

    pub(crate) fn times(&self) -> Times {
        Times {
            since: self.since(),
            expires: self.expires(),
            refresh: Tick::from_nanos(self.refresh.load(Ordering::Relaxed)),
            windows: self.windows(),
            own: self.node.load(Ordering::Relaxed) & OWN != 0,
        }
    }

    /// The origin said again that this is its record.
    pub(crate) fn renew(&self, times: Times) {
        self.since.store(times.since.as_nanos(), Ordering::Relaxed);
        self.expires.store(times.expires.as_nanos(), Ordering::Relaxed);
        self.serve_until.store(times.expires.as_nanos(), Ordering::Relaxed);
        self.refresh.store(times.refresh.as_nanos(), Ordering::Relaxed);
        self.windows.store(times.windows.to_bits(), Ordering::Relaxed);
        self.node.store(self.node() | if times.own { OWN } else { 0 }, Ordering::Relaxed);
    }

    /// From here on it is time for a refresh, which nobody has begun.
    pub(crate) fn refresh(&self) -> Tick {
        Tick::from_nanos(self.refresh.load(Ordering::Relaxed))
    }

    /// True for one caller, where it is time for a refresh.
    pub(crate) fn claim_refresh(&self, clock: &dyn Clock) -> bool {
        let from = self.refresh.load(Ordering::Relaxed);
        let claim = || self.refresh.compare_exchange(from, NEVER, Ordering::Relaxed, Ordering::Relaxed);
        has_come(clock, Tick::from_nanos(from)) && claim().is_ok()
    }

    pub(crate) fn is_refresh_claimed(&self) -> bool {
        self.refresh.load(Ordering::Relaxed) == NEVER
    }

    /// The refresh is over. What was renewed by it, or meanwhile, has its own time.
    pub(crate) fn refresh_from(&self, at: Tick) {
        let _ = self.refresh.compare_exchange(NEVER, at.as_nanos(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The lifetime has passed at `now`, and this is the first call to say so. Called under the shard's exclusive lock.
    pub(crate) fn expires_now(&self, now: Tick) -> bool {
        let marked = self.node.load(Ordering::Relaxed);
        let is_first = self.expires() <= now && marked & EXPIRY_TOLD == 0;
        if is_first {
            self.node.store(marked | EXPIRY_TOLD, Ordering::Relaxed);
        }
        is_first
    }

    /// Hits end at `at`, or when it expires.
    pub(crate) fn cap(&self, at: Tick) {
        let until = self.expires().min(at);
        self.serve_until.store(until.as_nanos(), Ordering::Relaxed);
    }

    /// Writes are pending above it: no hit serves it as it is, and whoever wants it looks at its key's cell.
    pub(crate) fn cover(&self) {
        self.serve_until.store(COVERED, Ordering::Relaxed);
    }

    pub(crate) fn is_covered(&self) -> bool {
        self.serve_until.load(Ordering::Relaxed) == COVERED
    }

    pub(crate) fn weight(&self) -> u64 {
        u64::from(self.weight)
    }

    /// The record weighs as much as can be told, or more.
    pub(crate) fn is_beyond_weight(&self) -> bool {
        self.weight == u32::MAX
    }

    pub(crate) fn node(&self) -> u32 {
        self.node.load(Ordering::Relaxed) & !(EXPIRY_TOLD | OWN)
    }

    /// A node of the policy leaves room for the marks.
    pub(crate) fn set_node(&self, node: u32) {
        let marks = self.node.load(Ordering::Relaxed) & (EXPIRY_TOLD | OWN);
        self.node.store(node | marks, Ordering::Relaxed);
    }

    /// Counts a hit for the eviction policy. Stores nothing once the ceiling is met, so that hot entries stay shared.
    pub(crate) fn touch(&self, ceiling: u8) {
        let touched = self.touched.load(Ordering::Relaxed);
        if touched & !PENDING < ceiling {
            self.touched.store(touched + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn touched(&self) -> u8 {
        self.touched.load(Ordering::Relaxed) & !PENDING
    }

    /// Of what is or comes to be in a store, which is never pending.
    pub(crate) fn set_touched(&self, touched: u8) {
        self.touched.store(touched, Ordering::Relaxed);
    }

    fn is_pending(&self) -> bool {
        self.touched.load(Ordering::Relaxed) & PENDING != 0
    }
}

/// A key that a call, its permit and its slot share.
pub(crate) type SharedKey<L> = Arc<<L as Layout>::OwnedKey>;

/// How records lie in memory. Sealed: [`Typed`] and [`Bytes`].
pub trait Layout: sealed::Sealed + Sized + Send + Sync + 'static {
    /// The key as a source sees it.
    type Key: ?Sized + Send + Sync;
    /// A key of its own.
    type OwnedKey: Clone + Send + Sync + 'static;
    /// The value as a reader sees it.
    type View: ?Sized + Send + Sync;
    /// The value as a source or a writer gives it.
    type Value: Send + Sync + 'static;
    /// The shared allocation.
    #[doc(hidden)]
    type Stored: sealed::Stored<Self>;

    #[doc(hidden)]
    const CAPACITY: u64;

    #[doc(hidden)]
    fn key_len(key: &Self::Key) -> usize;
    #[doc(hidden)]
    fn value_len(value: &Self::Value) -> usize;
    #[doc(hidden)]
    fn key(owned: &Self::OwnedKey) -> &Self::Key;
    /// A key of its own from one. Where [`Lookup::as_key`] gives keys, it runs no code of the program's.
    #[doc(hidden)]
    fn own(key: &Self::Key) -> Self::OwnedKey;
    #[doc(hidden)]
    fn view(value: &Self::Value) -> &Self::View;
    #[doc(hidden)]
    fn same_key(a: &Self::Key, b: &Self::Key) -> bool;
    /// The hash of all that looks it up.
    #[doc(hidden)]
    fn hash_key<S: BuildHasher>(key: &Self::Key, state: &S) -> u64;
    /// Weight of an entry where no weigher is set.
    #[doc(hidden)]
    fn weigh(key: &Self::Key, value: Option<&Self::View>, version: Option<&Version>) -> u64;
}

pub(crate) mod sealed {
    use super::{Header, Layout, Version};
    use crate::index::Rows;
    use crate::memory::table::Handle;

    pub trait Sealed {}

    /// The allocation behind an entry or an absent mark (`value` is `None`).
    pub trait Stored<L: Layout>: Handle + Clone + Send + Sync + 'static {
        #[allow(private_interfaces)]
        fn store(
            header: Header,
            rows: Option<Box<Rows>>,
            key: &L::Key,
            value: Option<L::Value>,
            version: Option<Version>,
        ) -> Self;
        #[allow(private_interfaces)]
        fn header(&self) -> &Header;
        fn key(&self) -> &L::Key;
        /// It has no value.
        fn is_absent(&self) -> bool;
        fn value(&self) -> Option<&L::View>;
        fn version(&self) -> Option<&[u8]>;
        /// Index rows that move with the entry.
        fn rows(&self) -> Option<&Rows>;
        fn same(&self, other: &Self) -> bool;
        /// Another handle on it: a clone, which may cost less where this is the only one there is.
        fn twin(&mut self) -> Self {
            self.clone()
        }
    }
}

/// Anything by which an entry of a layout can be looked up: for [`Typed`], `K` and what it borrows as (`str` for
/// `String`); for [`Bytes`], anything that is bytes.
pub trait Lookup<L: Layout> {
    #[doc(hidden)]
    fn hash_with<S: BuildHasher>(&self, state: &S) -> u64;
    #[doc(hidden)]
    fn is_key(&self, key: &L::Key) -> bool;
    #[doc(hidden)]
    fn to_key(&self) -> L::OwnedKey;
    /// The key itself, where it is one, and needs no code of the program's to be owned ([`Layout::own`]).
    #[doc(hidden)]
    fn as_key(&self) -> Option<&L::Key>;
}

/// Records of Rust types: the key, the value and the header share one reference-counted allocation.
pub struct Typed<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> sealed::Sealed for Typed<K, V> {}

impl<K, V> Layout for Typed<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    type Key = K;
    type OwnedKey = K;
    type View = V;
    type Value = V;
    type Stored = TypedRecord<K, V>;

    const CAPACITY: u64 = 100_000;

    fn key_len(_: &K) -> usize {
        0
    }
    fn value_len(_: &V) -> usize {
        0
    }

    fn key(owned: &K) -> &K {
        owned
    }
    fn own(key: &K) -> K {
        key.clone()
    }
    fn view(value: &V) -> &V {
        value
    }
    fn same_key(a: &K, b: &K) -> bool {
        a == b
    }
    fn hash_key<S: BuildHasher>(key: &K, state: &S) -> u64 {
        state.hash_one(key)
    }
    fn weigh(_: &K, _: Option<&V>, _: Option<&Version>) -> u64 {
        1
    }
}

impl<K, V, Q> Lookup<Typed<K, V>> for Q
where
    K: Hash + Eq + Clone + Send + Sync + Borrow<Q> + 'static,
    V: Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    fn hash_with<S: BuildHasher>(&self, state: &S) -> u64 {
        state.hash_one(self)
    }
    fn is_key(&self, key: &K) -> bool {
        self == key.borrow()
    }
    fn to_key(&self) -> K {
        self.to_owned()
    }
    fn as_key(&self) -> Option<&K> {
        None
    }
}

#[doc(hidden)]
pub struct TypedRecord<K, V>(pub(crate) Arc<TypedInner<K, V>>);

pub(crate) struct TypedInner<K, V> {
    pub(crate) header: Header,
    rows: Option<Box<Rows>>,
    key: K,
    value: Option<V>,
    version: Option<Version>,
}

impl<K, V> Clone for TypedRecord<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> sealed::Stored<Typed<K, V>> for TypedRecord<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    #[allow(private_interfaces)]
    fn store(header: Header, rows: Option<Box<Rows>>, key: &K, value: Option<V>, version: Option<Version>) -> Self {
        Self(Arc::new(TypedInner { header, rows, key: key.clone(), value, version }))
    }
    #[allow(private_interfaces)]
    fn header(&self) -> &Header {
        &self.0.header
    }
    fn key(&self) -> &K {
        &self.0.key
    }
    fn is_absent(&self) -> bool {
        self.0.value.is_none()
    }
    fn value(&self) -> Option<&V> {
        self.0.value.as_ref()
    }
    fn version(&self) -> Option<&[u8]> {
        self.0.version.as_ref().map(Version::as_bytes)
    }
    fn rows(&self) -> Option<&Rows> {
        self.0.rows.as_deref()
    }
    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Records of plain bytes: header, key, version and value lie in one allocation.
pub struct Bytes(());

impl sealed::Sealed for Bytes {}

impl Layout for Bytes {
    type Key = [u8];
    type OwnedKey = Box<[u8]>;
    type View = [u8];
    type Value = Vec<u8>;
    type Stored = crate::memory::bytes::ByteRecord;

    const CAPACITY: u64 = 64 << 20;

    fn key_len(key: &[u8]) -> usize {
        key.len()
    }
    fn value_len(value: &Vec<u8>) -> usize {
        value.len()
    }

    fn key(owned: &Box<[u8]>) -> &[u8] {
        owned
    }
    fn own(key: &[u8]) -> Box<[u8]> {
        key.into()
    }
    fn view(value: &Vec<u8>) -> &[u8] {
        value
    }
    fn same_key(a: &[u8], b: &[u8]) -> bool {
        a == b
    }
    fn hash_key<S: BuildHasher>(key: &[u8], state: &S) -> u64 {
        state.hash_one(key)
    }
    fn weigh(key: &[u8], value: Option<&[u8]>, version: Option<&Version>) -> u64 {
        let version_len = version.map(|version| version.as_bytes().len());
        crate::memory::bytes::footprint(key.len(), version_len, value.map_or(0, <[u8]>::len)) as u64
    }
}

impl<Q: AsRef<[u8]> + ?Sized> Lookup<Bytes> for Q {
    fn hash_with<S: BuildHasher>(&self, state: &S) -> u64 {
        state.hash_one(self.as_ref())
    }
    fn is_key(&self, key: &[u8]) -> bool {
        self.as_ref() == key
    }
    fn to_key(&self) -> Box<[u8]> {
        self.as_ref().into()
    }
    fn as_key(&self) -> Option<&[u8]> {
        Some(self.as_ref())
    }
}

/// A record that the cache handed out. It stays valid and unchanged for as long as it is held, also after the cache
/// dropped it, and after the cache is closed. Cloning it costs a reference count.
pub struct Entry<L: Layout>(L::Stored);

impl<L: Layout> Entry<L> {
    /// The handle of a stored record; `None` for an absent mark.
    #[inline]
    pub(crate) fn of(stored: L::Stored) -> Option<Self> {
        (!sealed::Stored::is_absent(&stored)).then_some(Self(stored))
    }

    /// The handle of a stored record that is no absent mark.
    pub(crate) fn with_value(stored: L::Stored) -> Self {
        debug_assert!(!sealed::Stored::is_absent(&stored), "an absent mark is no entry");
        Self(stored)
    }

    pub(crate) fn stored(&self) -> &L::Stored {
        &self.0
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &L::Key {
        sealed::Stored::key(&self.0)
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &L::View {
        sealed::Stored::value(&self.0).expect("a handle is made of records with a value only")
    }

    /// The origin's version, where it gave one.
    #[must_use]
    pub fn version(&self) -> Option<&[u8]> {
        sealed::Stored::version(&self.0)
    }

    /// When the request began that brought this record, or confirmed it last; of a pending one, see
    /// [`pending_since`](Self::pending_since).
    #[must_use]
    pub fn since(&self) -> Tick {
        self.header().since()
    }

    /// From when on the cache no longer serves it; [`Tick::NEVER`] where it has no lifetime.
    #[must_use]
    pub fn expires(&self) -> Tick {
        self.header().expires()
    }

    /// Where pending writes made it, when the oldest of those was admitted that it shows; the origin has confirmed no such record. `None`
    /// for a record of the origin's.
    #[must_use]
    pub fn pending_since(&self) -> Option<Tick> {
        self.header().is_pending().then(|| self.since())
    }

    /// How long it may still be served at tick `now`.
    #[must_use]
    pub fn remaining(&self, now: Tick) -> Duration {
        self.expires().since(now)
    }

    /// For how long it has been expired at tick `now`; zero while it is fresh. A stale answer is told by it.
    #[must_use]
    pub fn stale_for(&self, now: Tick) -> Duration {
        now.since(self.expires())
    }

    fn header(&self) -> &Header {
        sealed::Stored::header(&self.0)
    }
}

impl<L: Layout> Clone for Entry<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Layout> Deref for Entry<L> {
    type Target = L::View;

    fn deref(&self) -> &L::View {
        self.value()
    }
}

impl<L: Layout> fmt::Debug for Entry<L>
where
    L::Key: fmt::Debug,
    L::View: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key())
            .field("value", &self.value())
            .field("version", &self.version().map(<[u8]>::escape_ascii).map(|v| v.to_string()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn hits_are_counted_up_to_the_ceiling() {
        let header = Header::new(0, Times::until(Tick::ZERO, Tick::NEVER), 1);
        let counted: Vec<u8> = std::iter::repeat_with(|| {
            header.touch(3);
            header.touched()
        })
        .take(5)
        .collect();
        assert_eq!(counted, [1, 2, 3, 3, 3]);
    }

    /// No two keys of bytes are known whose hashes are the same, so that no test can come here through a cache.
    #[test]
    fn keys_of_bytes_are_told_apart_by_more_than_their_hash() {
        assert!(Bytes::same_key(b"one", b"one") && !Bytes::same_key(b"one", b"two"));
        let is_key = |key: &str| Lookup::<Bytes>::is_key("one", key.as_bytes());
        assert!(is_key("one") && !is_key("two"));
        let (seed, other) = (RandomState::new(), RandomState::new());
        let hash = |key: &str, seed: &RandomState| Lookup::<Bytes>::hash_with(key, seed);
        assert_eq!(hash("one", &seed), hash("one", &seed));
        assert_ne!(hash("one", &seed), hash("two", &seed));
        assert_ne!(hash("one", &seed), hash("one", &other));
    }
}
