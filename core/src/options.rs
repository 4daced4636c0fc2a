//! Every bound and policy of a cache, validated when it is built.
//!
//! Lower rooms are handed the plain values that they need, never this struct. Invariant: a cache that was built has options
//! that make sense together.

mod call;
mod ends;

use std::collections::HashSet;
use std::time::Duration;

use crate::audit::{self, Audit, Auditor, Same};
use crate::cache::CacheOf;
use crate::clock::{Clock, SystemClock};
use crate::engine::{Engine, Extras};
use crate::entry::Layout;
use crate::error::OptionError;
use crate::index::Rows;
use crate::key_index::ToBytes;
use crate::listener::KeyEvent;
use crate::pattern::KeyBytes;
use crate::source::AnySource;
use crate::sync::Arc;
use crate::tags::Tags;

pub use call::Call;
pub(crate) use call::PLAIN;

/// What becomes of an unconditional write of a key that is in doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubtWrites {
    /// It goes out in its turn. Applied, it is returned as such, but the key stays in doubt.
    #[default]
    Send,
    /// It waits for the end of the doubt if that comes within its deadline, and is refused with the time to wait else.
    Wait,
}

/// The plain values that a cache is opened with.
pub(crate) struct Options {
    pub(crate) capacity: u64,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) negative_lifetime: Duration,
    pub(crate) jitter: f64,
    pub(crate) deadline: Duration,
    pub(crate) shards: Option<usize>,
    pub(crate) most_doubts: usize,
    pub(crate) turn_queue: usize,
    pub(crate) load_queue: usize,
    pub(crate) longest_key: usize,
    pub(crate) in_doubt_writes: InDoubtWrites,
    pub(crate) absent_after_delete: bool,
    pub(crate) clean_start: bool,
    pub(crate) stray_window: Duration,
    pub(crate) seed: Option<u64>,
    pub(crate) indexes: Vec<String>,
    pub(crate) ordered_indexes: bool,
    pub(crate) separator: u8,
    pub(crate) tag_memory: usize,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) keep_expired: Option<Duration>,
    pub(crate) refresh_ahead: f64,
    pub(crate) refresh_threads: usize,
    pub(crate) refresh_queue: usize,
    pub(crate) optimistic: Optimistic,
}

/// The bounds of pending writes and of how they are settled: see [`Builder::optimistic`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Optimistic {
    pub(crate) threads: usize,
    pub(crate) most: usize,
    pub(crate) weight: Option<u64>,
    pub(crate) deadline: Option<Duration>,
}

impl Default for Optimistic {
    fn default() -> Self {
        Self { threads: 4, most: 16_384, weight: None, deadline: None }
    }
}

impl Optimistic {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many threads of the cache's own settle: so many pending writes are at the origin at once. A write that waits for its turn
    /// takes none, but where all are busy, one whose deadline passes is rolled back when the next of them is not. They begin with the first
    /// pending write and end with the cache. Default 4.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How many writes may be pending at once, in the whole cache; what is more is refused. Of one key there may be as many as may wait
    /// for its turn ([`Builder::turn_queue`]). Default 16,384.
    pub fn most(mut self, writes: usize) -> Self {
        self.most = writes;
        self
    }

    /// How much all pending writes may weigh together, weighed as entries are. Default: what [`Builder::capacity`] is by default,
    /// 64 MiB of bytes or 100,000 values.
    pub fn weight(mut self, weight: u64) -> Self {
        self.weight = Some(weight);
        self
    }

    /// How long a pending write may take that says nothing else, the wait for its turn included; then it is rolled back, or if it was
    /// sent, in doubt. Default: [`Builder::deadline`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// Builds a cache over a source.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use wtcache::{ByteCache, Bytes, LoadCx, Loaded, Record, Source, SourceError};
///
/// struct Greeting;
/// impl Source<Bytes> for Greeting {
///     fn get(&self, key: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
///         Ok(Loaded::Found(Record::new([b"hello ", key].concat())))
///     }
/// }
///
/// let cache = ByteCache::builder(Greeting).capacity(64 << 20).lifetime(Duration::from_secs(300)).build()?;
/// assert_eq!(cache.get("world")?.expect("the source has all").value(), b"hello world");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Builder<L: Layout> {
    source: AnySource<L>,
    clock: Option<Arc<dyn Clock>>,
    extras: Extras<L>,
    audit: Option<(Audit, Same<L>)>,
    options: Options,
}

impl<L: Layout> Builder<L> {
    pub(crate) fn new(source: AnySource<L>) -> Self {
        Self {
            source,
            clock: None,
            audit: None,
            options: Options {
                capacity: L::CAPACITY,
                lifetime: None,
                negative_lifetime: Duration::from_secs(5),
                jitter: 0.0,
                deadline: Duration::from_secs(5),
                shards: None,
                most_doubts: 65_536,
                turn_queue: 1_024,
                load_queue: 65_536,
                longest_key: 1_024,
                in_doubt_writes: InDoubtWrites::Send,
                absent_after_delete: false,
                clean_start: false,
                stray_window: Duration::ZERO,
                seed: None,
                indexes: Vec::new(),
                ordered_indexes: false,
                separator: b':',
                tag_memory: 1_024,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                keep_expired: None,
                refresh_ahead: 0.0,
                refresh_threads: 2,
                refresh_queue: 1_024,
                optimistic: Optimistic::new(),
            },
            extras: Extras {
                weigher: None,
                extractor: None,
                tagger: None,
                own_end: None,
                key_index: None,
                listener: None,
                auditor: None,
            },
        }
    }

    /// The most weight that the cache holds once calls have returned; each call under way may be putting in one entry beyond
    /// it. Without a weigher, an entry of Rust types weighs one, and an entry of bytes the bytes of its allocation: header, key,
    /// version and value. The tables and index rows beside the entries are not weighed. Default: 100,000 entries, or 64 MiB of
    /// bytes.
    pub fn capacity(mut self, weight: u64) -> Self {
        self.options.capacity = weight;
        self
    }

    /// What an entry weighs; the value is `None` for a remembered absence. Called once an entry, with no lock held. One that
    /// weighs zero takes no room; one that weighs 2^32 or more is not kept, nor is one whose weigher panics. Where weights
    /// differ, light entries stay for fewer hits than heavy ones.
    pub fn weigher(mut self, weigh: impl Fn(&L::Key, Option<&L::View>) -> u64 + Send + Sync + 'static) -> Self {
        self.extras.weigher = Some(Box::new(weigh));
        self
    }

    /// How long a record is served, counted from the start of the request that brought it, unless the record says
    /// otherwise. Default: without end.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.options.lifetime = Some(lifetime);
        self
    }

    /// How long the absence of a record is remembered. Zero: not at all. Default 5 s.
    pub fn negative_lifetime(mut self, lifetime: Duration) -> Self {
        self.options.negative_lifetime = lifetime;
        self
    }

    /// Shortens each lifetime at random by up to this share, 0 to 1, so that what was loaded together does not expire
    /// together. Default 0.
    pub fn jitter(mut self, share: f64) -> Self {
        self.options.jitter = share;
        self
    }

    /// How long a call may take that says nothing else, the source's work included. Default 5 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Into how many parts the cache is divided, each with a lock of its own; rounded up to a power of two. Default: four a
    /// core, fewer where there is room for few entries. For that, a capacity of 2^20 or more is taken for bytes, 256 an entry.
    pub fn shards(mut self, shards: usize) -> Self {
        self.options.shards = Some(shards);
        self
    }

    /// How many keys in doubt and writes on their way, those that wait for their turn included, there may be at once. When it
    /// is met, writes are refused. Default 65,536.
    pub fn most_doubts(mut self, keys: usize) -> Self {
        self.options.most_doubts = keys;
        self
    }

    /// How many writes of one key may wait for their turn. Default 1,024.
    pub fn turn_queue(mut self, writes: usize) -> Self {
        self.options.turn_queue = writes;
        self
    }

    /// How many reads may wait for one load; further ones are told [`LoadError::Overloaded`](crate::LoadError::Overloaded).
    /// Default 65,536.
    pub fn load_queue(mut self, reads: usize) -> Self {
        self.options.load_queue = reads;
        self
    }

    /// The longest key of a byte cache, in bytes. Default 1,024.
    pub fn longest_key(mut self, bytes: usize) -> Self {
        self.options.longest_key = bytes;
        self
    }

    /// What becomes of writes of a key in doubt. Default: they are sent.
    pub fn in_doubt_writes(mut self, writes: InDoubtWrites) -> Self {
        self.options.in_doubt_writes = writes;
        self
    }

    /// After an applied delete, remembers the absence at once instead of asking the origin at the next read. Default no.
    pub fn absent_after_delete(mut self, yes: bool) -> Self {
        self.options.absent_after_delete = yes;
        self
    }

    /// Asserts that no write of an earlier process can still be under way at the origin. Without it, what is loaded
    /// within the first settle window lives no longer than that window.
    pub fn clean_start(mut self, yes: bool) -> Self {
        self.options.clean_start = yes;
        self
    }

    /// How long after the opening writes of an earlier cache of the same origin may still land, where that is longer than the source's
    /// settle window: it had a longer one, say. Without a meaning with [`clean_start`](Self::clean_start). Default zero: the settle window.
    pub fn stray_window(mut self, window: Duration) -> Self {
        self.options.stray_window = window;
        self
    }

    /// The clock. Default: the system's monotonic one.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Fixes the hash seed and the jitter, for runs that are to be repeated. Never in front of keys that others choose.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Names the secondary indexes and how an entry's values in them are found. The extractor is called once an entry,
    /// with no lock held, and adds a row for each index (by its number in `names`) and value. An entry whose extractor
    /// panics is not kept.
    pub fn indexes<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
        extract: impl Fn(&L::Key, &L::View, &mut Rows) + Send + Sync + 'static,
    ) -> Self {
        self.options.indexes = names.into_iter().map(Into::into).collect();
        self.extras.extractor = Some(Box::new(extract));
        self
    }

    /// Keeps the values of each index in order, too, for [`CacheOf::find_between`]. It takes the value's bytes and some 30 more for each value that is
    /// in a shard, and a search in that order whenever one comes or goes. Default no.
    pub fn ordered_indexes(mut self, yes: bool) -> Self {
        self.options.ordered_indexes = yes;
        self
    }

    /// Finds the tags of a record, beside those that the source gives it ([`Record::tags`](crate::Record::tags)): by a tag, all
    /// records that have it are invalidated together. Called once an entry, with no lock held. An entry whose tags could not be
    /// found because of a panic is not kept.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    /// # struct Prices;
    /// # impl Source<Typed<String, u32>> for Prices {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(7)))
    /// #     }
    /// # }
    /// let cache = Cache::builder(Prices).tags(|_, price, tags| tags.add(if *price < 10 { "cheap" } else { "dear" })).build()?;
    /// cache.get("bolts")?;
    /// assert_eq!(cache.invalidate_tag("dear").entries, 0);
    /// assert_eq!(cache.invalidate_tag("cheap").entries, 1);
    /// assert!(cache.peek("bolts").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tags(mut self, tag: impl Fn(&L::Key, &L::View, &mut Tags<'_>) + Send + Sync + 'static) -> Self {
        self.extras.tagger = Some(Box::new(tag));
        self
    }

    /// How many of the latest invalidations of tags are remembered. Where more than these were told while a load or write ran, nothing
    /// with a tag that it brings is retained. Default 1,024.
    pub fn tag_memory(mut self, invalidations: usize) -> Self {
        self.options.tag_memory = invalidations;
        self
    }

    /// For this long after it expired, a record is served stale while it is refreshed in the background: see
    /// [`How::Stale`](crate::How::Stale). Never one that was invalidated or is in doubt, never an absence, and none of those that
    /// [`clean_start`](Self::clean_start) is about. Default zero: not at all.
    ///
    /// # Example
    /// ```
    /// # use std::time::Duration;
    /// # use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    /// # struct Prices;
    /// # impl Source<Typed<String, u32>> for Prices {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(7)))
    /// #     }
    /// # }
    /// let minute = Duration::from_secs(60);
    /// let cache = Cache::builder(Prices).lifetime(minute).stale_while_revalidate(minute).stale_if_error(10 * minute).build()?;
    /// let price = cache.get("bolts")?.expect("the source has all");
    /// assert!(price.stale_for(cache.now()).is_zero());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.options.stale_while_revalidate = window;
        self
    }

    /// For this long after it expired, a record is served stale where its load fails, is late or panics; not where the origin
    /// answered that it refuses. Otherwise as [`stale_while_revalidate`](Self::stale_while_revalidate). Default zero: not at all.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.options.stale_if_error = window;
        self
    }

    /// In this last share of its lifetime, from 0 to less than 1, a record that is read is refreshed in the background before it
    /// expires. Default 0: not at all.
    pub fn refresh_ahead(mut self, share: f64) -> Self {
        self.options.refresh_ahead = share;
        self
    }

    /// How many threads of the cache's own refresh records, and how many refreshes may wait for one; what is more is counted
    /// and not done. The threads begin with the first refresh and end with the cache. Default 2 and 1,024.
    pub fn refreshers(mut self, threads: usize, waiting: usize) -> Self {
        (self.options.refresh_threads, self.options.refresh_queue) = (threads, waiting);
        self
    }

    /// The bounds of writes that are shown before the origin has confirmed them: see [`CacheOf::put_optimistic`].
    pub fn optimistic(mut self, optimistic: Optimistic) -> Self {
        self.options.optimistic = optimistic;
        self
    }

    /// Tells `listener` what happens to keys: what is retained, written, dropped, in doubt. Default: nobody is told.
    ///
    /// It is called with no lock held, after what it is told became true, by the thread that caused it, before that
    /// thread's own call returns and before others who wait for the same load are answered. So a slow listener makes calls
    /// slow; under the tokio driver, some events are told on the runtime's own threads. Two threads may tell two events of a
    /// key at once, or the wrong way round: [`KeyEvent::sequence`] puts them in order. By the time an event is told, more may
    /// have happened.
    ///
    /// It may call the cache. What it calls is nested, as in a call of the source for the event's key: a read never waits
    /// (it takes what is resident, or makes a load of its own that is not retained), a write of the same key is refused with
    /// [`NotSent::Reentrant`](crate::NotSent::Reentrant), and one of another key is tried once. Events that come of such calls are
    /// told within; nested deeper than 16, they are counted and not told. A listener that owns a handle on its cache keeps
    /// the cache alive.
    ///
    /// A panic is contained and counted in [`Stats::listener_panicked`](crate::Stats::listener_panicked).
    ///
    /// [`CacheOf::close`] tells nothing of the entries that it lets go. Writes that were sent before are told when they
    /// are applied, also later; a doubt that begins after `close` returned is not told.
    ///
    /// # Example
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use std::sync::Arc;
    /// use wtcache::{ByteCache, Bytes, EventKind, LoadCx, Loaded, Record, Source, SourceError};
    ///
    /// struct Greeting;
    /// impl Source<Bytes> for Greeting {
    ///     fn get(&self, key: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
    ///         Ok(Loaded::Found(Record::new([b"hello ", key].concat())))
    ///     }
    /// }
    ///
    /// let loaded = Arc::new(AtomicU32::new(0));
    /// let counted = Arc::clone(&loaded);
    /// let cache = ByteCache::builder(Greeting)
    ///     .listener(move |event| {
    ///         if event.key == b"world" && event.kind == (EventKind::Retained { absent: false }) {
    ///             counted.fetch_add(1, Ordering::Relaxed);
    ///         }
    ///     })
    ///     .build()?;
    /// cache.get("world")?;
    /// cache.get("world")?;
    /// assert_eq!(loaded.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listener(mut self, listener: impl Fn(&KeyEvent<'_, L>) + Send + Sync + 'static) -> Self {
        self.extras.listener = Some(Box::new(listener));
        self
    }

    /// Turns the auditor on: for an origin that others write to without telling this cache. Default: off.
    ///
    /// In a thread of its own, it picks fresh entries and remembered absences at random, asks the source about them again,
    /// and compares the values; versions alone decide that a record is the same where they are equal and the source declares
    /// [`versions_never_reused`](crate::Declared::versions_never_reused). What differs is asked about again 1, 10 and 60 s
    /// later. If then the same entry is still resident, no write of its key is out and no doubt is open, and the
    /// origin still has something else, that is counted ([`Stats::differs_1s`](crate::Stats::differs_1s) and so on) and told
    /// to the listener ([`EventKind::Differs`](crate::EventKind::Differs)). It changes nothing: no reader is given what it
    /// saw, and the entry stays. What to do about it (a shorter lifetime, an [`invalidate`](CacheOf::invalidate)) is the
    /// program's.
    ///
    /// It makes one call at a time, in the budget of `audit`, with the cache's deadline, and takes no place in a pool of the
    /// tokio driver; the entry is offered as
    /// [`LoadCx::replaced`](crate::LoadCx::replaced), so that a conditional request can answer
    /// [`Loaded::Unchanged`](crate::Loaded::Unchanged). A failure or panic of the source is counted in
    /// [`Stats::audits_failed`](crate::Stats::audits_failed) and is no finding. Up to 1,024 differences are followed up at once;
    /// their entries stay in memory meanwhile. The thread ends with [`CacheOf::close`] or the last handle; a call that is under
    /// way then runs to its end, and counts for nothing.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// use wtcache::{Audit, ByteCache, Bytes, LoadCx, Loaded, Record, Source, SourceError};
    ///
    /// struct Greeting;
    /// impl Source<Bytes> for Greeting {
    ///     fn get(&self, key: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
    ///         Ok(Loaded::Found(Record::new([b"hello ", key].concat())))
    ///     }
    /// }
    ///
    /// let cache = ByteCache::builder(Greeting).audit(Audit::new().every(Duration::from_millis(100))).build()?;
    /// // … some minutes later:
    /// let stats = cache.stats();
    /// println!("of {} checks, {} found a record out of date for longer than 1 s", stats.audits, stats.differs_1s);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn audit(self, audit: Audit) -> Self
    where
        L::View: PartialEq,
    {
        self.audit_by(audit, |resident, answered| resident == answered)
    }

    /// [`Builder::audit`] where values are the same if `same` says so; it is given the resident one and the origin's, with no
    /// lock held.
    pub fn audit_by(mut self, audit: Audit, same: impl Fn(&L::View, &L::View) -> bool + Send + Sync + 'static) -> Self {
        self.audit = Some((audit, Box::new(same)));
        self
    }

    /// Opens the cache.
    ///
    /// # Errors
    /// An option makes no sense; the error names it.
    pub fn build(self) -> Result<CacheOf<L>, OptionError> {
        let o = &self.options;
        let refuse = |option, message: &str| Err(OptionError { option, message: message.to_owned() });
        if o.capacity == 0 {
            return refuse("capacity", "a cache of no capacity holds nothing; one is the least");
        }
        if !(0.0..=1.0).contains(&o.jitter) {
            return refuse("jitter", "is a share from 0 to 1");
        }
        check_deadlines(o.deadline, o.optimistic.deadline)?;
        if o.shards.is_some_and(|shards| shards == 0 || shards > 1024) {
            return refuse("shards", "is 1 to 1024");
        }
        if o.most_doubts == 0 {
            return refuse("most_doubts", "every write needs a place for a doubt; one is the least");
        }
        if o.turn_queue == 0 {
            return refuse("turn_queue", "one waiting write a key is the least");
        }
        if o.longest_key == 0 || o.longest_key > 1 << 20 {
            return refuse("longest_key", "is 1 byte to 1 MiB");
        }
        if o.indexes.len() > usize::from(u16::MAX) {
            return refuse("indexes", "there are 65,535 indexes at most");
        }
        if !(0.0..1.0).contains(&o.refresh_ahead) {
            return refuse("refresh_ahead", "is a share from 0 to less than 1");
        }
        if o.refresh_threads == 0 || o.refresh_queue == 0 {
            return refuse("refreshers", "one thread and one waiting refresh are the least");
        }
        if o.optimistic.threads == 0 || o.optimistic.most == 0 || o.optimistic.weight == Some(0) {
            return refuse("optimistic", "one thread, one pending write and a weight of one are the least");
        }
        if matches!(o.separator, b'*' | b'\\') {
            return refuse("separator", "is no star and no backslash, which mean something else in a pattern");
        }
        let mut names = HashSet::new();
        if let Some(twice) = o.indexes.iter().find(|name| !names.insert(name.as_str())) {
            return refuse("indexes", &format!("the name {twice:?} is given twice"));
        }
        if let Some((audit, _)) = &self.audit
            && !(Duration::from_millis(1)..=LONGEST_DEADLINE).contains(&audit.every)
        {
            return refuse("audit", "one check every 1 ms is the most, one a day the least");
        }
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let mut extras = self.extras;
        extras.auditor = self.audit.is_some().then(Auditor::new);
        let engine = Engine::open(self.source, self.options, clock, extras);
        if let Some((audit, same)) = self.audit {
            let none = |error| OptionError { option: "audit", message: format!("the auditor has no thread: {error}") };
            audit::start(&engine, audit, same).map_err(none)?;
        }
        Ok(CacheOf::from_engine(engine))
    }
}

impl<L: KeyBytes> Builder<L> {
    /// Keeps the entries in the order of their keys, too: then [`CacheOf::invalidate_prefix`] costs what it matches, and
    /// [`CacheOf::invalidate_pattern`] looks at the keys with the pattern's literal head only. It takes some 40 bytes an entry,
    /// and a search in that order whenever an entry comes or goes. Default no.
    pub fn key_index(mut self, yes: bool) -> Self {
        self.extras.key_index = yes.then_some(L::key_bytes as ToBytes<L>);
        self
    }

    /// What parts the sections of a key: a star in a pattern does not match it. Default `:`.
    pub fn separator(mut self, separator: u8) -> Self {
        self.options.separator = separator;
        self
    }
}

/// Whether calls, and pending writes, may take so long.
pub(crate) fn check_deadlines(deadline: Duration, pending: Option<Duration>) -> Result<(), OptionError> {
    let refuse = |option, message: &str| Err(OptionError { option, message: message.to_owned() });
    let is_wrong = |deadline: Duration| deadline.is_zero() || deadline > LONGEST_DEADLINE;
    if is_wrong(deadline) {
        return refuse("deadline", "is more than zero and a day at most");
    }
    if pending.is_some_and(is_wrong) {
        return refuse("optimistic", "its deadline is more than zero and a day at most");
    }
    Ok(())
}

/// No call runs longer: a deadline is always finite.
pub(crate) const LONGEST_DEADLINE: Duration = Duration::from_secs(86_400);
