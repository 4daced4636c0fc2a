//! Records that the origin gives in a list, whose keys nobody knows before the answer.
//!
//! The program asks for the list by itself, and tells what it brought. Invariant: what is retained of it is retained only where nothing that
//! could be newer came by its key since the listing began; of what is not, nothing older stays here that a later read could be given.

use crate::cache::CacheOf;
use crate::clock::Tick;
use crate::engine::Engine;
use crate::entry::{Entry, Layout, Lookup};
use crate::moves::Watching;
use crate::source::Record;
use crate::sync::Arc;
use crate::tags::Running;

/// A list that the program asks the origin for: see [`CacheOf::listing`].
#[must_use]
pub struct Listing<'c, L: Layout> {
    engine: &'c Arc<Engine<L>>,
    watching: Watching<'c>,
    /// When it began, for the lifetimes of its records.
    since: Tick,
    /// For the tags that were invalidated since.
    running: Running,
}

/// What became of a record of a list: see [`Listing::loaded`].
#[non_exhaustive]
pub struct Listed<L: Layout> {
    /// The record as the list has it. `None`: its value is larger than an entry can be.
    pub entry: Option<Entry<L>>,
    /// The cache serves it now.
    pub kept: bool,
}

impl<L: Layout> CacheOf<L> {
    /// Begins a listing: the program is about to ask the origin for records by something else than their keys, and will hand what comes to
    /// the cache with [`Listing::loaded`]. Each record counts as a load that began now; so this is called before the request is sent.
    ///
    /// To be dropped when the answer was handed over: until then the cache remembers which keys move.
    ///
    /// # Example
    /// ```
    /// use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    ///
    /// struct Stock;
    /// impl Stock {
    ///     fn cheap(&self) -> Vec<(String, u32)> {
    ///         vec![("bolts".to_owned(), 4), ("nuts".to_owned(), 3)]
    ///     }
    /// }
    /// impl Source<Typed<String, u32>> for Stock {
    ///     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    ///         unreachable!("the list has brought the record")
    ///     }
    /// }
    ///
    /// let cache = Cache::builder(Stock).build()?;
    /// let listing = cache.listing();
    /// for (key, price) in Stock.cheap() {
    ///     assert!(listing.loaded(&key, Record::new(price)).kept);
    /// }
    /// drop(listing);
    /// assert_eq!(cache.get("nuts")?.map(|price| *price), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listing(&self) -> Listing<'_, L> {
        let engine = self.engine();
        let watching = engine.moves.begins();
        Listing { engine, watching, since: engine.clock.now(), running: engine.tags.begins() }
    }
}

impl<L: Layout> Listing<'_, L> {
    /// The origin told this record of the key, in answer to a request that was sent after the listing began.
    ///
    /// It is retained as what a load brings. Where something of the key was loaded, written, pushed, invalidated or settled since the listing began,
    /// a write of it is out or in doubt, or a transaction runs on it, the record is returned and not retained: nobody knows which is newer.
    /// Then what is resident of the key goes, so that no reader who was given the record is given an older one later. A load under way
    /// is detached. What is pending stays above it, and is not in the entry that is returned. With more than 4,096 moves of keys since the
    /// listing began, nothing is retained.
    ///
    /// # Threads
    /// Calls no source and waits for nothing but short locks. It may be called in a task, and from inside a call of the source.
    pub fn loaded<Q: Lookup<L> + ?Sized>(&self, key: &Q, record: Record<L::Value>) -> Listed<L> {
        let engine = self.engine;
        let (hash, key) = (engine.hash(key), key.to_key());
        let key = L::key(&key);
        if u32::try_from(L::value_len(&record.value)).is_err() {
            engine.at_key(hash, key, |at| at.returned_unretained());
            return Listed { entry: None, kept: false };
        }
        // The program's weigher and extractors run under no lock.
        let (stored, keep) = engine.record(hash, key, record, self.since);
        let keep = keep && engine.too_long(key).is_none();
        let kept = engine.at_key(hash, key, |at| at.listed(&stored, keep, &self.watching, self.running));
        Listed { entry: Entry::of(stored), kept }
    }
}
