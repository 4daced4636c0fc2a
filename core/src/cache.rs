//! The public handle: one line an operation. What an operation does, its story tells.

mod finding;
mod life;

use std::time::Duration;

pub use self::finding::{ExpiredKey, Found};

use crate::alone;
use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::commit::{Prepared, Written};
use crate::doubt::{Sending, Settlement};
use crate::drive::{Story, block_on};
use crate::engine::Engine;
use crate::entry::{Bytes, Entry, Layout, Lookup, Typed};
use crate::error::{LoadError, NotSent, WriteError};
use crate::get::{self, GetMany, Read, Wants};
use crate::invalidate::{self, Forgotten};
use crate::metrics::Stats;
use crate::options::{Builder, Call, PLAIN};
use crate::pattern::{KeyBytes, Keys, Pattern, PatternError};
use crate::prepare::TakeTurn;
use crate::put::{Change, Expect, NoUpdate, Put, Write};
use crate::settle::{self, KeyInDoubt};
use crate::source::{AnySource, LoadCx, Loaded, Source, SourceError};
use crate::sync::Arc;

/// A write-through cache of Rust values.
pub type Cache<K, V> = CacheOf<Typed<K, V>>;

/// A write-through cache of bytes.
pub type ByteCache = CacheOf<Bytes>;

/// A write-through cache over a [`Source`], for either layout of records: see [`Cache`] and [`ByteCache`].
///
/// Reads come from the cache; a miss is loaded from the origin, once. A write goes to the origin first; what the origin
/// confirms can be read at once, if it refuses nothing changes, and if nobody can know, the cache says so and asks the
/// origin from then on.
///
/// What it assumes: every writer of a key comes through this cache or tells it ([`CacheOf::invalidate`]); the origin's
/// operations on a key are atomic; no write takes effect later than the source's settle window after its send.
///
/// # Threads
/// All methods may be called from any thread at once. Cloning gives another handle on the same cache. Calls block the
/// thread while they wait; a hit never waits. Over an async source (feature `tokio`) those that call it panic in a thread that runs
/// tasks, before anything has happened: tasks have a handle of their own, by `on_tokio`.
pub struct CacheOf<L: Layout>(Arc<Engine<L>>);

impl<L: Layout> Clone for CacheOf<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The source of a cache that knows no way to its origin.
struct Nowhere;

impl<L: Layout> Source<L> for Nowhere {
    fn get(&self, _: &L::Key, _: &LoadCx<'_, L>) -> Result<Loaded<L::Value>, SourceError> {
        Ok(Loaded::Absent)
    }
}

impl<L: Layout> CacheOf<L> {
    /// Begins to build a cache over `source`.
    pub fn builder(source: impl Source<L>) -> Builder<L> {
        Builder::new(AnySource::Blocking(Arc::new(source)))
    }

    /// Begins to build a cache beside an origin that it knows no way to: it holds what transactions leave there
    /// ([`Transaction::update`](crate::Transaction::update), [`write_through_cache`](crate::write_through_cache)). What it does not hold is
    /// a miss: `get` gives `None`, and remembers nothing of that. [`CacheOf::put`] and its kin are refused.
    ///
    /// As everywhere, what is written within the first settle window (10 s) is forgotten at its end, for a write of an earlier process might
    /// still land after it; see [`Builder::clean_start`].
    pub fn look_aside() -> Builder<L> {
        let remembered = if bugs::has(Bug::LookAsideMissKept) { Duration::from_secs(5) } else { Duration::ZERO };
        Self::builder(Nowhere).negative_lifetime(remembered)
    }

    pub(crate) fn from_engine(engine: Arc<Engine<L>>) -> Self {
        Self(engine)
    }

    pub(crate) fn engine(&self) -> &Arc<Engine<L>> {
        &self.0
    }

    /// The record of `key`: from the cache, else from the origin. `None` where the origin has none.
    ///
    /// # Errors
    /// It is not resident and could not be loaded. Nothing is changed.
    pub fn get<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> Result<Option<Entry<L>>, LoadError> {
        let hash = self.0.hash(key);
        match self.hit((hash, key), &Wants::default())? {
            Some(read) => Ok(read.entry),
            None => self.miss((hash, key), &Call::new(), false).map(|read| read.entry),
        }
    }

    /// [`CacheOf::get`] with options of its own, and with where the answer came from.
    ///
    /// # Errors
    /// As `get`.
    pub fn read<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Read<L>, LoadError> {
        let hash = self.0.hash(key);
        match self.hit((hash, key), &call.wants)? {
            Some(read) => Ok(read),
            None => self.miss((hash, key), call, false),
        }
    }

    /// Apart from those above, so that a hit makes no room for what only a miss needs.
    #[inline(never)]
    pub(crate) fn miss<Q: Lookup<L> + ?Sized>(
        &self,
        key: (u64, &Q),
        call: &Call,
        confirmed: bool,
    ) -> Result<Read<L>, LoadError> {
        get::get_now(&self.0, key, call, confirmed)
    }

    /// The records of many keys: an answer for each, in the order of the keys, as [`CacheOf::get`] gives it. Those that are
    /// resident are taken in one step; for each other key there is one load, which joins and is joined as any. Where the source
    /// [loads many](Source::load_many) with one request, those that this call leads go together; else one after the other. A key
    /// that is given twice is answered alike.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    /// # struct Lengths;
    /// # impl Source<Typed<String, usize>> for Lengths {
    /// #     fn get(&self, key: &String, _: &LoadCx<'_, Typed<String, usize>>) -> Result<Loaded<usize>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(key.len())))
    /// #     }
    /// # }
    /// let cache = Cache::builder(Lengths).build()?;
    /// for answer in cache.get_many(["nut", "bolt"]) {
    ///     assert!(answer?.is_some());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many<'q, Q: Lookup<L> + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
    ) -> Vec<Result<Option<Entry<L>>, LoadError>> {
        self.read_many(keys, &Call::new()).into_iter().map(|answer| answer.map(|read| read.entry)).collect()
    }

    /// [`CacheOf::get_many`] with options of its own, and with where each answer came from. The deadline is that of the whole
    /// call: keys that were not answered by then end with [`LoadError::Deadline`].
    pub fn read_many<'q, Q: Lookup<L> + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
        call: &Call,
    ) -> Vec<Result<Read<L>, LoadError>> {
        self.run(self.get_many_story(keys, call))
    }

    /// The record of `key` if it is resident and fresh. Never waits, and never calls the source, nor has it called.
    #[must_use]
    pub fn peek<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> Option<Entry<L>> {
        if self.0.is_closed() {
            return None;
        }
        get::peek(&self.0, self.0.hash(key), key)?
    }

    /// What [`CacheOf::read`] with this call would give if it asked no source: also that there is no record, where that is remembered, or what
    /// is pending; and what has expired, as [`Call::max_stale`] says. `None`: it would ask. Never waits; where a refresh is due, it is asked
    /// for in the background.
    #[must_use]
    pub fn read_resident<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Option<Read<L>> {
        let found = self.hit((self.0.hash(key), key), &call.wants).ok()?;
        found.or_else(|| get::stale(&self.0, self.0.hash(key), Arc::new(key.to_key()), &call.wants))
    }

    /// The record of `key` if [`CacheOf::get`] would give it without doing or waiting for anything: not for a lock either, so that a thread may
    /// call it that holds one others need to get on (an interpreter's, say). Runs nothing of the program's but `Hash` and `Eq` of the key.
    ///
    /// `None` says nothing: that there is no such entry, that its key has pending writes or its refresh is due, that another
    /// thread changes its shard just now.
    #[must_use]
    pub fn glance<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> Option<Entry<L>> {
        if self.0.is_closed() {
            return None;
        }
        get::glance(&self.0, self.0.hash(key), key)
    }

    /// Writes `value` to the origin as the record of `key`, and keeps what the origin confirmed.
    ///
    /// # Errors
    /// [`WriteError::Rejected`] and [`WriteError::NotSent`]: not applied, nothing changed here (but for an entry that the
    /// refusal proved out of date). [`WriteError::InDoubt`]: it may have been applied.
    pub fn put<Q: Lookup<L> + ?Sized>(&self, key: &Q, value: L::Value) -> Result<Written<L>, WriteError<L>> {
        self.put_with(key, value, &PLAIN)
    }

    /// [`CacheOf::put`] with options of its own.
    ///
    /// # Errors
    /// As `put`.
    pub fn put_with<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        value: L::Value,
        call: &Call,
    ) -> Result<Written<L>, WriteError<L>> {
        self.send(key, Sending::Put(value), call)
    }

    /// Writes many records, one after the other in the order given, each as [`CacheOf::put`] does; gives an outcome for each, in
    /// that order. It is no transaction: a write that fails stops none of the others.
    pub fn put_many<'q, Q: Lookup<L> + ?Sized + 'q>(
        &self,
        records: impl IntoIterator<Item = (&'q Q, L::Value)>,
    ) -> Vec<Result<Written<L>, WriteError<L>>> {
        self.put_many_with(records, &Call::new())
    }

    /// [`CacheOf::put_many`] with options of its own. The deadline is that of the whole call: writes that were not sent by then
    /// end with [`NotSent::Deadline`]. Each write has an idempotency key of its own; one in `call` is not used.
    pub fn put_many_with<'q, Q: Lookup<L> + ?Sized + 'q>(
        &self,
        records: impl IntoIterator<Item = (&'q Q, L::Value)>,
        call: &Call,
    ) -> Vec<Result<Written<L>, WriteError<L>>> {
        self.put_stories(records, call).into_iter().map(|story| self.write(story)).collect()
    }

    /// Removes the record of `key` at the origin and here. What the origin does not have counts as removed.
    ///
    /// # Errors
    /// As [`CacheOf::put`].
    pub fn delete<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> Result<Written<L>, WriteError<L>> {
        self.delete_with(key, &PLAIN)
    }

    /// [`CacheOf::delete`] with options of its own.
    ///
    /// # Errors
    /// As `put`.
    pub fn delete_with<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Written<L>, WriteError<L>> {
        self.send(key, Sending::Delete, call)
    }

    /// Writes `value` if what is expected holds of the existing record: the resident one, else the origin's, loaded now. Checked
    /// within the turn, so that no other writer of this process comes between. The condition goes on to the origin where the
    /// source declares [`honours_preconditions`](crate::Declared::honours_preconditions); else it is checked here only: a writer
    /// elsewhere may come between, and to a doubt the write counts as unconditional.
    ///
    /// # Errors
    /// [`WriteError::Unmet`], with the record that is there: it does not hold, nothing was sent and nothing has changed. What the
    /// origin finds not to hold is [`WriteError::Rejected`], and the entry is dropped. Else as [`CacheOf::put`].
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, Confirmed, Expect, LoadCx, Loaded, Outcome, Record, Source, SourceError, Typed, WriteCx, WriteError};
    /// # struct Empty;
    /// # impl Source<Typed<String, u32>> for Empty {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Absent)
    /// #     }
    /// #     fn put(&self, _: &String, value: &u32, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<Confirmed<u32>> {
    /// #         Outcome::Applied(Confirmed::Record(Record::new(*value)))
    /// #     }
    /// # }
    /// # let cache = Cache::builder(Empty).build()?;
    /// cache.put_if("bolts", 5, Expect::Absent)?;
    /// match cache.put_if("bolts", 7, Expect::Absent) {
    ///     Err(WriteError::Unmet(unmet)) => assert_eq!(unmet.existing.map(|entry| *entry), Some(5)),
    ///     _ => unreachable!("there are bolts"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_if<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        value: L::Value,
        expect: Expect,
    ) -> Result<Written<L>, WriteError<L>> {
        self.put_if_with(key, value, expect, &Call::new())
    }

    /// [`CacheOf::put_if`] with options of its own.
    ///
    /// # Errors
    /// As `put_if`.
    pub fn put_if_with<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        value: L::Value,
        expect: Expect,
        call: &Call,
    ) -> Result<Written<L>, WriteError<L>> {
        self.write(self.put_story::<Q, NoUpdate<L>>(key, Write::SendIf(Sending::Put(value), expect), call))
    }

    /// Removes the record of `key` if what is expected holds of it: see [`CacheOf::put_if`].
    ///
    /// # Errors
    /// As `put_if`; a record that the origin no longer has is a conflict: [`WriteError::Rejected`].
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, Expect, LoadCx, Loaded, Outcome, Record, Source, SourceError, Typed, Version, WriteCx, WriteError};
    /// # struct Stock;
    /// # impl Source<Typed<String, u32>> for Stock {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(5).version(Version::new("v2").expect("short"))))
    /// #     }
    /// #     fn delete(&self, _: &String, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<()> {
    /// #         Outcome::Applied(())
    /// #     }
    /// # }
    /// # let cache = Cache::builder(Stock).build()?;
    /// let seen = Version::new("v1").expect("short enough");
    /// let changed = cache.delete_if("bolts", Expect::version(seen));
    /// assert!(matches!(changed, Err(WriteError::Unmet(_))), "it has version v2 by now");
    /// cache.delete_if("bolts", Expect::Exists)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_if<Q: Lookup<L> + ?Sized>(&self, key: &Q, expect: Expect) -> Result<Written<L>, WriteError<L>> {
        self.delete_if_with(key, expect, &Call::new())
    }

    /// [`CacheOf::delete_if`] with options of its own.
    ///
    /// # Errors
    /// As `delete_if`.
    pub fn delete_if_with<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        expect: Expect,
        call: &Call,
    ) -> Result<Written<L>, WriteError<L>> {
        self.write(self.put_story::<Q, NoUpdate<L>>(key, Write::SendIf(Sending::Delete, expect), call))
    }

    /// Reads the record of `key`, gives it to `f` and writes what `f` makes of it, within one turn: between writers of this
    /// process no update is lost. Against writers elsewhere it is protected only where the source declares
    /// [`honours_preconditions`](crate::Declared::honours_preconditions); else the record is checked here only.
    ///
    /// `f` is called once at most. In it, reads of this cache never wait, and a write of the same key is refused.
    ///
    /// # Errors
    /// As [`CacheOf::put`]; an error of `f` comes back as [`WriteError::Rejected`].
    ///
    /// # Panics
    /// A panic of `f` goes through to the caller; nothing was sent.
    pub fn update<Q, F>(&self, key: &Q, f: F) -> Result<Written<L>, WriteError<L>>
    where
        Q: Lookup<L> + ?Sized,
        F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError>,
    {
        self.update_with(key, f, &Call::new())
    }

    /// [`CacheOf::update`] with options of its own.
    ///
    /// # Errors
    /// As `update`.
    pub fn update_with<Q, F>(&self, key: &Q, f: F, call: &Call) -> Result<Written<L>, WriteError<L>>
    where
        Q: Lookup<L> + ?Sized,
        F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError>,
    {
        self.write(self.put_story(key, Write::Update(f), call))
    }

    /// Takes the turn of `key` for a program that does its own I/O: see [`Prepared`]. Waits for the turn, to the call's
    /// deadline, which is also the permit's.
    ///
    /// # Errors
    /// The turn was not to be had; nothing has happened.
    pub fn prepare<Q: Lookup<L> + ?Sized>(&self, key: &Q, call: &Call) -> Result<Prepared<L>, NotSent> {
        let hash = self.0.hash(key);
        block_on(TakeTurn::new(&self.0, hash, Arc::new(key.to_key()), call, false), &*self.0.clock, None)
    }

    /// The keys of which nobody knows whether their last writes were, or will be, applied: `most` of them at most, in no order.
    /// [`Stats::in_doubt`] counts them all. It looks at one shard after the other, so that it is no picture of one instant.
    ///
    /// # Threads
    /// Calls no source and waits for nothing but short locks.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, Confirmed, Failure, LoadCx, Loaded, Outcome, Settlement, Source, SourceError, Typed, WriteCx};
    /// # struct Mute;
    /// # impl Source<Typed<String, u32>> for Mute {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Absent)
    /// #     }
    /// #     fn put(&self, _: &String, _: &u32, _: &WriteCx<'_, Typed<String, u32>>) -> Outcome<Confirmed<u32>> {
    /// #         Outcome::Unknown(SourceError::new(Failure::Broken, "no answer"))
    /// #     }
    /// # }
    /// # let cache = Cache::builder(Mute).build()?;
    /// let _in_doubt = cache.put("bolts", 5);
    /// for doubt in cache.doubts(100) {
    ///     let left = doubt.until.since(cache.now());
    ///     println!("{}: {} sends may still land, for {left:?} at most", doubt.key, doubt.unsettled);
    ///     // The program has asked the origin's operator.
    ///     assert!(cache.settle(&doubt.key, Settlement::NotApplied));
    /// }
    /// assert!(cache.doubts(100).is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn doubts(&self, most: usize) -> Vec<KeyInDoubt<L::OwnedKey>> {
        settle::doubts(&self.0, most)
    }

    /// Ends the doubt of `key`, on the word of a program that knows that none of its writes in doubt can land any more, and perhaps
    /// what became of them all. A word that is not true makes the cache serve what is not so. For one write of several, see
    /// [`InDoubt::settle`](crate::InDoubt::settle).
    ///
    /// Those who wait for the end of the doubt are told. The next read asks the origin; a write in flight leaves the record to be
    /// asked for, since what was in doubt may have landed after it. False: the key is not in doubt, and nothing has changed.
    ///
    /// # Threads
    /// Calls no source and waits for nothing. For an example, see [`CacheOf::doubts`].
    pub fn settle<Q: Lookup<L> + ?Sized>(&self, key: &Q, settlement: Settlement) -> bool {
        let owned = key.to_key();
        self.0.at_key(self.0.hash(key), L::key(&owned), |at| at.settle(settlement))
    }

    /// Forgets what is held of `key`. No read that starts after this returned gives what was cached before it, and nothing
    /// that is under way now is retained. A doubt stays.
    pub fn invalidate<Q: Lookup<L> + ?Sized>(&self, key: &Q) {
        let owned = key.to_key();
        invalidate::invalidate(&self.0, self.0.hash(key), L::key(&owned));
    }

    /// Forgets all records that have `tag`, as [`CacheOf::invalidate`] forgets one. A load or write that is under way now is
    /// held against it: what it brings is not retained if it has the tag. A remembered absence has no tags.
    ///
    /// Tags come from [`Builder::tags`] and [`Record::tags`](crate::Record::tags). Costs what it matches, beside what is under way.
    pub fn invalidate_tag(&self, tag: impl AsRef<[u8]>) -> Forgotten {
        invalidate::invalidate_tag(&self.0, tag.as_ref())
    }

    /// What the cache has counted since it was opened, and what it holds now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// The present time of the cache's clock, to compare an entry's times with.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.0.clock.now()
    }

    /// A hit, or nothing.
    #[inline]
    pub(crate) fn hit<Q: Lookup<L> + ?Sized>(
        &self,
        (hash, key): (u64, &Q),
        wants: &Wants,
    ) -> Result<Option<Read<L>>, LoadError> {
        if self.0.is_closed() {
            return Err(LoadError::Closed);
        }
        Ok(get::hit(&self.0, hash, key, false, wants))
    }

    /// The same, whatever is pending.
    pub(crate) fn confirmed_hit<Q: Lookup<L> + ?Sized>(
        &self,
        (hash, key): (u64, &Q),
        wants: &Wants,
    ) -> Result<Option<Read<L>>, LoadError> {
        if self.0.is_closed() {
            return Err(LoadError::Closed);
        }
        Ok(get::hit(&self.0, hash, key, true, wants))
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn get_story<Q: Lookup<L> + ?Sized>(
        &self,
        (hash, key): (u64, &Q),
        call: &Call,
        confirmed: bool,
    ) -> get::Get<L> {
        get::Get::new(&self.0, hash, Arc::new(key.to_key()), call, confirmed)
    }

    pub(crate) fn get_many_story<'q, Q: Lookup<L> + ?Sized + 'q>(
        &self,
        keys: impl IntoIterator<Item = &'q Q>,
        call: &Call,
    ) -> GetMany<L> {
        GetMany::new(&self.0, keys, call)
    }

    /// Writes that have not begun, with one deadline.
    pub(crate) fn put_stories<'q, Q: Lookup<L> + ?Sized + 'q>(
        &self,
        records: impl IntoIterator<Item = (&'q Q, L::Value)>,
        call: &Call,
    ) -> Vec<Put<L, NoUpdate<L>>> {
        let call = Call { idempotency_key: None, ..call.clone() };
        records.into_iter().map(|(key, value)| self.put_story(key, Write::Send(Sending::Put(value)), &call)).collect()
    }

    pub(crate) fn put_story<Q: Lookup<L> + ?Sized, F>(&self, key: &Q, write: Write<L, F>, call: &Call) -> Put<L, F> {
        Put::new(&self.0, self.0.hash(key), Arc::new(key.to_key()), write, call)
    }

    fn write<F>(&self, story: Put<L, F>) -> Result<Written<L>, WriteError<L>>
    where
        F: FnOnce(Option<&Entry<L>>) -> Result<Change<L::Value>, SourceError>,
    {
        self.run(story)
    }

    /// A write without a condition.
    fn send<Q: Lookup<L> + ?Sized>(
        &self,
        key: &Q,
        sending: Sending<L>,
        call: &Call,
    ) -> Result<Written<L>, WriteError<L>> {
        match self.0.source.runtime() {
            None => alone::put_now(&self.0, key, sending, call),
            // A runtime may be away between the step that takes the turn and the call.
            Some(_) => self.write(self.put_story::<Q, NoUpdate<L>>(key, Write::Send(sending), call)),
        }
    }

    pub(crate) fn run<S: Story>(&self, story: S) -> S::Output {
        block_on(story, &*self.0.clock, self.0.source.runtime())
    }
}

impl<L: KeyBytes> CacheOf<L> {
    /// Some of what is resident, for somebody who looks on: entries whose keys begin with `prefix`, `most` of them or all
    /// there are. No read: nothing is loaded or counted, and it does not keep an entry from being evicted. It gives entries that have
    /// expired, too, and of a key with pending writes what the origin confirmed last; what the origin said is absent is left out.
    ///
    /// With [`Builder::key_index`] it looks at those with that prefix only, else at all entries until it has enough. No two shards are
    /// looked at in the same moment.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    /// # struct Stock;
    /// # impl Source<Typed<String, u32>> for Stock {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(7)))
    /// #     }
    /// # }
    /// let cache = Cache::builder(Stock).build()?;
    /// for key in ["shop:1:bolts", "shop:1:nuts", "shop:2:nuts"] {
    ///     cache.get(key)?;
    /// }
    /// assert_eq!(cache.resident("shop:1:", 100).len(), 2);
    /// assert_eq!(cache.resident("", 1).len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn resident(&self, prefix: impl AsRef<[u8]>, most: usize) -> Vec<Entry<L>> {
        let keys = Keys::with_prefix(prefix.as_ref());
        let mut entries = Vec::new();
        for shard in self.0.shards() {
            if entries.len() == most {
                break;
            }
            entries.append(&mut shard.read().store.some_of_keys(&keys, most - entries.len()));
        }
        entries
    }

    /// Forgets all keys that begin with `prefix`, as [`CacheOf::invalidate`] forgets one; with an empty one, all there are.
    ///
    /// Costs what it matches, beside what is under way, with [`Builder::key_index`]; else it looks at all entries.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    /// # struct Stock;
    /// # impl Source<Typed<String, u32>> for Stock {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(7)))
    /// #     }
    /// # }
    /// let cache = Cache::builder(Stock).key_index(true).build()?;
    /// for key in ["shop:1:bolts", "shop:1:nuts", "shop:2:nuts"] {
    ///     cache.get(key)?;
    /// }
    /// let forgotten = cache.invalidate_prefix("shop:1:");
    /// assert_eq!((forgotten.entries, forgotten.scanned), (2, false));
    /// assert!(cache.peek("shop:2:nuts").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn invalidate_prefix(&self, prefix: impl AsRef<[u8]>) -> Forgotten {
        invalidate::invalidate_keys(&self.0, &Keys::with_prefix(prefix.as_ref()))
    }

    /// Forgets all keys that match `pattern`, as [`CacheOf::invalidate`] forgets one. In it, `*` matches anything but a
    /// [separator](Builder::separator), also nothing; a `*` at the end matches the whole rest; `\*` is a star.
    ///
    /// Looks at all entries; with [`Builder::key_index`], at those that begin with what comes before the first star.
    ///
    /// # Errors
    /// A backslash stands before something else than a star; the error says where. Nothing was forgotten.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    /// # struct Stock;
    /// # impl Source<Typed<String, u32>> for Stock {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(7)))
    /// #     }
    /// # }
    /// let cache = Cache::builder(Stock).build()?;
    /// for key in ["shop:1:bolts", "shop:1:nuts", "shop:2:nuts"] {
    ///     cache.get(key)?;
    /// }
    /// let forgotten = cache.invalidate_pattern("shop:*:nuts")?;
    /// assert_eq!((forgotten.entries, forgotten.scanned), (2, true));
    /// assert!(cache.peek("shop:1:bolts").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn invalidate_pattern(&self, pattern: impl AsRef<[u8]>) -> Result<Forgotten, PatternError> {
        let pattern = Pattern::parse(pattern.as_ref())?;
        Ok(invalidate::invalidate_keys(&self.0, &Keys::matching(&pattern, self.0.separator)))
    }
}
