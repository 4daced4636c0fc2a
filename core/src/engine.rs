//! What all calls on one cache share: the source, the shards, the clock, the counts, and how records are made.
//!
//! Invariant: the program's code (source, weigher, extractor, hash, drops of keys and values) is run from here and from the
//! stories, never from a room that holds a lock.

use std::hash::{BuildHasher, RandomState as SystemRandom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Duration;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use crate::audit::Auditor;
use crate::background::Background;
use crate::bugs::{self, Bug};
use crate::clock::{self, Clock, Tick};
use crate::coalesce::Flight;
use crate::doubt::{DoubtPlace, DoubtPlaces};
use crate::entry::sealed::Stored;
use crate::entry::{Header, Layout, Lookup, Times, Version};
use crate::freshness::Lifetimes;
use crate::index::{Index, Rows};
use crate::key_index::{KeyIndex, ToBytes};
use crate::layers::PendingPlaces;
use crate::listener::Listener;
use crate::metrics::{Counters, Event, Stats};
use crate::moves::Moves;
use crate::nesting::Frame;
use crate::options::{Call, InDoubtWrites, LONGEST_DEADLINE, Options};
use crate::settler::Settler;
use crate::shard::{After, AtKey, AtKeys, Shard};
use crate::slot::{Fence, PermitId, Rules};
use crate::source::{AnySource, Declared, IdempotencyKey, Lifetime, Record};
use crate::store::{Budget, Left, Store};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, PlainU64, Weak};
use crate::tags::{TagMemory, Tags};

pub(crate) type Weigher<L> = Box<dyn Fn(&<L as Layout>::Key, Option<&<L as Layout>::View>) -> u64 + Send + Sync>;
pub(crate) type Tagger<L> = Box<dyn Fn(&<L as Layout>::Key, &<L as Layout>::View, &mut Tags<'_>) + Send + Sync>;
pub(crate) type OwnEnd<L> = Box<dyn Fn(&<L as Layout>::Key, &<L as Layout>::View) -> Option<Duration> + Send + Sync>;
pub(crate) type Extractor<L> = Box<dyn Fn(&<L as Layout>::Key, &<L as Layout>::View, &mut Rows) + Send + Sync>;

/// What the options bring beside plain values.
pub(crate) struct Extras<L: Layout> {
    pub(crate) weigher: Option<Weigher<L>>,
    pub(crate) extractor: Option<Extractor<L>>,
    pub(crate) tagger: Option<Tagger<L>>,
    pub(crate) own_end: Option<OwnEnd<L>>,
    pub(crate) key_index: Option<ToBytes<L>>,
    pub(crate) listener: Option<Listener<L>>,
    pub(crate) auditor: Option<Auditor>,
}

pub(crate) struct Engine<L: Layout> {
    id: u64,
    pub(crate) source: AnySource<L>,
    pub(crate) declared: Declared,
    pub(crate) rules: Rules,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Counters,
    pub(crate) budget: Budget,
    pub(crate) turn_queue: usize,
    pub(crate) load_queue: usize,
    pub(crate) in_doubt_writes: InDoubtWrites,
    pub(crate) absent_after_delete: bool,
    pub(crate) indexes: Vec<String>,
    pub(crate) ordered_indexes: bool,
    /// What a star in a pattern of keys does not match.
    pub(crate) separator: u8,
    /// Entries are kept in the order of their keys.
    pub(crate) key_index: bool,
    pub(crate) tags: TagMemory,
    /// For creates, whose keys nobody knows before their answers.
    pub(crate) moves: Moves,
    tagger: Option<Tagger<L>>,
    own_end: Option<OwnEnd<L>>,
    /// Sends that have not ended, and those who wait for them in `close`.
    pub(crate) open_sends: AtomicUsize,
    pub(crate) closers: Mutex<Vec<Waker>>,
    pub(crate) closed: AtomicBool,
    /// Detached loads that somebody waits for to their end: `close` has no other way to them.
    lingering: Mutex<Vec<Weak<Flight<L>>>>,
    longest_key: usize,
    /// In nanoseconds.
    deadline: AtomicU64,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) background: Background,
    /// How much may be pending.
    pub(crate) pending: Arc<PendingPlaces>,
    /// Where pending writes are settled.
    pub(crate) settler: Settler,
    /// For a pending write to have its turn and be sent, in nanoseconds.
    settle_deadline: AtomicU64,
    weigher: Option<Weigher<L>>,
    extractor: Option<Extractor<L>>,
    pub(crate) listener: Option<Listener<L>>,
    /// Ends with the engine.
    pub(crate) auditor: Option<Auditor>,
    hasher: SeedableRandomState,
    shards: Box<[Shard<L>]>,
    places: Arc<DoubtPlaces>,
    /// No sweep for overdue permits and settled doubts finds one before this tick.
    next_sweep: AtomicU64,
    /// One sweep at a time.
    sweep: Mutex<()>,
    next_id: AtomicU64,
    chance: AtomicU64,
    idempotency: (u64, u64),
}

/// Of a deadline: a day at most.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl<L: Layout> Engine<L> {
    pub(crate) fn open(source: AnySource<L>, options: Options, clock: Arc<dyn Clock>, extras: Extras<L>) -> Arc<Self> {
        static CACHES: PlainU64 = PlainU64::new(1);
        let declared = source.declared();
        let hasher = match options.seed {
            Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            None => SeedableRandomState::random(),
        };
        let count = options.shards.unwrap_or_else(|| shards_for(options.capacity, cores()));
        let count = count.next_power_of_two();
        let ordered = if options.ordered_indexes { options.indexes.len() } else { 0 };
        let index = || Index::new(hasher.clone(), ordered);
        let store = |shard| Store::new(shard, index(), extras.key_index.map(KeyIndex::new));
        let shards = (0..count).map(|shard| Shard::new(store(shard), cores())).collect();
        let strays = declared.settle_window.max(options.stray_window);
        let unsure_until = if options.clean_start { Tick::ZERO } else { clock.now().after(strays) };
        Arc::new(Self {
            id: CACHES.fetch_add(1, Ordering::Relaxed),
            rules: Rules {
                settle_window: declared.settle_window,
                conditions_settle: declared.honours_preconditions && declared.versions_never_reused,
                keys_settle: declared.honours_idempotency,
            },
            declared,
            source,
            clock,
            counters: Counters::new(),
            budget: Budget::new(options.capacity, count),
            turn_queue: options.turn_queue,
            load_queue: options.load_queue,
            in_doubt_writes: options.in_doubt_writes,
            absent_after_delete: options.absent_after_delete,
            indexes: options.indexes,
            ordered_indexes: options.ordered_indexes,
            separator: options.separator,
            key_index: extras.key_index.is_some(),
            tags: TagMemory::new(options.tag_memory),
            moves: Moves::new(),
            tagger: extras.tagger,
            own_end: extras.own_end,
            open_sends: AtomicUsize::new(0),
            closers: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
            lingering: Mutex::new(Vec::new()),
            longest_key: options.longest_key,
            deadline: AtomicU64::new(nanos(options.deadline)),
            lifetimes: Lifetimes {
                default: options.lifetime,
                negative: options.negative_lifetime,
                jitter: options.jitter,
                unsure_until,
                refresh_ahead: options.refresh_ahead,
                stale_while_revalidate: options.stale_while_revalidate,
                stale_if_error: options.stale_if_error,
                keep_expired: options.keep_expired,
            },
            background: Background::new(options.refresh_threads, options.refresh_queue),
            pending: PendingPlaces::new(options.optimistic.most, options.optimistic.weight.unwrap_or(L::CAPACITY)),
            settler: Settler::new(options.optimistic.threads),
            settle_deadline: AtomicU64::new(nanos(options.optimistic.deadline.unwrap_or(options.deadline))),
            weigher: extras.weigher,
            extractor: extras.extractor,
            listener: extras.listener,
            auditor: extras.auditor,
            hasher,
            shards,
            places: DoubtPlaces::new(options.most_doubts),
            next_sweep: AtomicU64::new(0),
            sweep: Mutex::new(()),
            next_id: AtomicU64::new(1),
            chance: AtomicU64::new(options.seed.unwrap_or_else(random_bits)),
            idempotency: (random_bits(), random_bits()),
        })
    }

    // --- keys

    pub(crate) fn hash<Q: Lookup<L> + ?Sized>(&self, key: &Q) -> u64 {
        key.hash_with(&self.hasher)
    }

    pub(crate) fn hash_key(&self, key: &L::Key) -> u64 {
        L::hash_key(key, &self.hasher)
    }

    pub(crate) fn frame(&self, hash: u64) -> Frame {
        Frame::new(self.id, hash)
    }

    /// The bytes of a key that is too long.
    pub(crate) fn too_long(&self, key: &L::Key) -> Option<usize> {
        let len = L::key_len(key);
        (len > self.longest_key).then_some(len)
    }

    pub(crate) fn shards(&self) -> &[Shard<L>] {
        &self.shards
    }

    pub(crate) fn shard(&self, hash: u64) -> &Shard<L> {
        &self.shards[self.shard_number(hash)]
    }

    pub(crate) fn shard_number(&self, hash: u64) -> usize {
        // The table takes the low bits and the top seven; the shard is chosen by those between.
        (hash >> 40) as usize & (self.shards.len() - 1)
    }

    /// Runs `work` on what the shard knows of a key, under its exclusive lock and brought up to the present time. Wakers
    /// are woken and records dropped after the lock is released, and room made in other shards.
    pub(crate) fn at_key<T>(&self, hash: u64, key: &L::Key, work: impl FnOnce(&mut AtKey<'_, L>) -> T) -> T {
        let mut after = After::default();
        let result = {
            let mut state = self.shard(hash).write();
            let mut at = AtKey::new(self, &mut state, hash, key, &mut after);
            at.tick();
            let result = work(&mut at);
            at.leave();
            result
        };
        self.finish(&mut after, key);
        result
    }

    /// What is left to do for a key after a step that met nobody, and of which nobody is told, once no lock is held: `kept` is its
    /// record now.
    pub(crate) fn finish_alone(&self, key: &L::Key, left: Left<L>, kept: Option<&L::Stored>) {
        if let Some(newcomer) = kept.filter(|_| self.budget.is_over()) {
            self.finish(&mut After::of(left, newcomer.clone()), key);
            return;
        }
        let evicted = left.evicted.len() as u64;
        if evicted > 0 {
            self.counters.add(Event::Evicted, evicted);
        }
        // Mostly one: what was replaced, or went.
        left.records.drop_all();
    }

    /// The same on what the shards know of many keys, each given once, in one step: under the locks of all their shards.
    pub(crate) fn at_keys<T>(&self, keys: &[(u64, &L::Key)], work: impl FnOnce(&mut AtKeys<'_, L>) -> T) -> T {
        let mut afters: Vec<After<L>> = keys.iter().map(|_| After::default()).collect();
        let mut at_keys = AtKeys::new(self, keys, &mut afters);
        let result = work(&mut at_keys);
        at_keys.leave();
        for (mut after, (_, key)) in afters.into_iter().zip(keys) {
            self.finish(&mut after, key);
        }
        result
    }

    /// What is left to do for a key once no lock is held.
    fn finish(&self, after: &mut After<L>, key: &L::Key) {
        if let Some(newcomer) = after.newcomer.take()
            && !bugs::has(Bug::OthersMakeNoRoom)
        {
            self.make_room(&newcomer, after);
        }
        after.finish(self, Some(key));
    }

    /// Brings the cache back to its capacity: the shard that holds most makes room, one at a time. No lock is held.
    ///
    /// Who added weight last sees all of it, and goes on to the end; so the capacity holds once all calls have returned.
    fn make_room(&self, newcomer: &L::Stored, after: &mut After<L>) {
        let header = newcomer.header();
        let own = self.shard_number(header.hash);
        while let Some(richest) = self.budget.richest(own, header.weight()) {
            self.shards[richest].write().give_room(newcomer, self, after);
        }
    }

    // --- time and identity

    /// Whether `at` has come.
    pub(crate) fn has_come(&self, at: Tick) -> bool {
        clock::has_come(&*self.clock, at)
    }

    /// The deadline of a call that begins at `now`.
    pub(crate) fn deadline_of(&self, call: &Call, now: Tick) -> Tick {
        match call.deadline {
            Some(deadline) => now.after(deadline.min(LONGEST_DEADLINE)),
            // A day at most, as the options are checked. Relaxed: it guards no other memory.
            None => now.after_nanos(self.deadline.load(Ordering::Relaxed)),
        }
    }

    /// How long a call may take that says nothing else.
    pub(crate) fn deadline(&self) -> Duration {
        // Relaxed: it guards no other memory.
        Duration::from_nanos(self.deadline.load(Ordering::Relaxed))
    }

    /// By when a pending write that begins at `now` has to have ended.
    pub(crate) fn settle_deadline_of(&self, call: &Call, now: Tick) -> Tick {
        let settle = || Duration::from_nanos(self.settle_deadline.load(Ordering::Relaxed));
        now.after(call.deadline.unwrap_or_else(settle).min(LONGEST_DEADLINE))
    }

    /// Of calls, and pending writes, that begin from now on.
    pub(crate) fn set_deadlines(&self, deadline: Duration, settle: Duration) {
        self.deadline.store(nanos(deadline), Ordering::Relaxed);
        self.settle_deadline.store(nanos(settle), Ordering::Relaxed);
    }

    /// By when the source has to have answered an auditor that asks now.
    pub(crate) fn audit_deadline(&self) -> Tick {
        self.clock.now().after(self.deadline())
    }

    pub(crate) fn is_closed(&self) -> bool {
        // SeqCst: pairs with the store in `close`, see `end_send`; as cheap as acquire. The shards' locks order the rest.
        self.closed.load(Ordering::SeqCst)
    }

    /// A `close` that waits looks again.
    pub(crate) fn wake_closers(&self) {
        if self.is_closed() {
            let closers = std::mem::take(&mut *self.closers.lock());
            closers.into_iter().for_each(Waker::wake);
        }
    }

    pub(crate) fn new_fence(&self) -> Fence {
        Fence(self.next_id())
    }

    pub(crate) fn new_permit(&self) -> PermitId {
        PermitId(self.next_id())
    }

    /// The key of a write that was given none.
    pub(crate) fn idempotency_key(&self, permit: PermitId) -> IdempotencyKey {
        let (high, low) = self.idempotency;
        let low = mix(low.wrapping_add(permit.0));
        IdempotencyKey::from_bits(u128::from(high) << 64 | u128::from(low))
    }

    /// A number for a list of pending writes as it is now. Never given twice.
    pub(crate) fn new_number(&self) -> u64 {
        self.next_id()
    }

    fn next_id(&self) -> u64 {
        self.next_ids(1)
    }

    /// So many numbers in a row; gives the first.
    pub(crate) fn next_ids(&self, count: u64) -> u64 {
        // Relaxed: only uniqueness matters.
        self.next_id.fetch_add(count, Ordering::Relaxed)
    }

    /// A number from 0 to 1, for jitter.
    fn chance(&self) -> f64 {
        if self.lifetimes.jitter == 0.0 {
            return 0.0;
        }
        (self.random() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Random bits, the same in every run with the same seed.
    pub(crate) fn random(&self) -> u64 {
        mix(self.chance.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed))
    }

    // --- doubts

    /// A place for the doubt that a write may leave, or `None` when all are taken.
    pub(crate) fn take_place(&self) -> Option<DoubtPlace> {
        self.places.take().or_else(|| {
            self.sweep_doubts();
            for shard in &self.shards {
                let spare = shard.write().take_spare_place();
                drop(spare);
            }
            self.places.take()
        })
    }

    /// The same, if one is free now.
    pub(crate) fn place_at_once(&self) -> Option<DoubtPlace> {
        self.places.take()
    }

    /// Ends the permits whose deadline has passed, and settles the doubts whose window has, that no call has come by since.
    pub(crate) fn sweep_doubts(&self) {
        let now = self.clock.now();
        let mut after = After::default();
        {
            // Who finds a sweep under way waits for what it frees.
            let _sweep = self.sweep.lock();
            if now.as_nanos() < self.next_sweep.load(Ordering::Relaxed) {
                return;
            }
            // Before the walk, so that what is noted while it runs stays noted. Relaxed, here and below: the shards' locks order
            // it, since notes are made under them.
            self.next_sweep.store(u64::MAX, Ordering::Relaxed);
            for shard in &self.shards {
                let next = shard.write().tick_all(self, now, &mut after);
                self.next_sweep.fetch_min(next.as_nanos(), Ordering::Relaxed);
            }
        }
        after.finish(self, None);
    }

    /// At `tick`, time changes the state of a slot: the next sweep must not come later. Called under the lock of its shard.
    pub(crate) fn note_tick(&self, tick: Tick) {
        if tick.as_nanos() < self.next_sweep.load(Ordering::Relaxed) {
            self.next_sweep.fetch_min(tick.as_nanos(), Ordering::Relaxed);
        }
    }

    /// A load was detached that readers still wait for. Called under the shard's exclusive lock.
    pub(crate) fn note_lingering(&self, flight: &Arc<Flight<L>>) {
        let mut lingering = self.lingering.lock();
        lingering.retain(|other| other.strong_count() > 0);
        lingering.push(Arc::downgrade(flight));
    }

    /// Tells those who wait for detached loads that the cache is closed.
    pub(crate) fn close_lingering(&self) {
        let lingering = std::mem::take(&mut *self.lingering.lock());
        for waker in lingering.iter().filter_map(Weak::upgrade).flat_map(|flight| flight.close()) {
            waker.wake();
        }
    }

    /// The counts, and what is here now.
    pub(crate) fn stats(&self) -> Stats {
        self.sweep_doubts();
        let mut stats = self.counters.stats();
        for shard in &self.shards {
            let state = shard.read();
            stats.entries += state.store.len() as u64;
            stats.in_doubt += state.cells().filter(|cell| cell.is_in_doubt()).count() as u64;
            stats.writes_applied += state.applied_alone();
            stats.writes_open += state.sent() as u64;
        }
        stats.weight = self.budget.used();
        stats.pending = self.pending.writes() as u64;
        stats
    }

    // --- records

    /// Makes the allocation of a record, and says whether it may be kept. Runs the weigher and the extractor: no lock is
    /// held. A panic of theirs is counted, and the record is not kept.
    pub(crate) fn record(&self, hash: u64, key: &L::Key, record: Record<L::Value>, since: Tick) -> (L::Stored, bool) {
        let Record { value, version, lifetime, tags } = record;
        let mut times = self.lifetimes.of_record(since, lifetime, self.chance());
        let mut extracted = (0, Rows::default());
        let called = catch_unwind(AssertUnwindSafe(|| {
            let view = L::view(&value);
            let (weight, rows) = &mut extracted;
            if self.own_end.is_some() {
                times = self.cut(times, key, view);
            }
            if let Some(extract) = &self.extractor {
                extract(key, view, rows);
            }
            if let Some(tagger) = &self.tagger {
                tagger(key, view, &mut Tags::new(rows));
            }
            tags.iter().for_each(|tag| rows.add_tag(tag));
            *weight = self.weigh(key, Some(view), version.as_ref());
        }));
        let (weight, rows) = extracted;
        let rows = (!rows.is_empty()).then(|| Box::new(rows));
        self.make(hash, key, Some(value), version, times, since, called.is_ok().then_some((weight, rows)))
    }

    /// Makes what pending writes show, or the absence that they show. The key's clone is the program's code: no lock is held.
    pub(crate) fn pending_record(&self, hash: u64, key: &L::Key, value: Option<L::Value>, since: Tick) -> L::Stored {
        L::Stored::store(Header::pending(hash, since), None, key, value, None)
    }

    /// What a pending write of this weighs; `None` where the weigher panicked. No lock is held.
    pub(crate) fn pending_weight(&self, key: &L::Key, value: Option<&L::View>) -> Option<u64> {
        let weight = catch_unwind(AssertUnwindSafe(|| self.weigh(key, value, None)));
        if weight.is_err() {
            self.counters.count(Event::ExtractorPanicked);
        }
        weight.ok()
    }

    /// Makes an absent mark.
    pub(crate) fn absent(&self, hash: u64, key: &L::Key, lifetime: Lifetime, since: Tick) -> (L::Stored, bool) {
        let times = self.lifetimes.of_absent(since, lifetime, self.chance());
        let extracted = catch_unwind(AssertUnwindSafe(|| (self.weigh(key, None, None), None)));
        self.make(hash, key, None, None, times, since, extracted.ok())
    }

    /// The times of a record that the origin confirmed unchanged.
    pub(crate) fn renewed(&self, since: Tick, lifetime: Lifetime, stored: &L::Stored) -> Option<Times> {
        let times = self.lifetimes.of_unchanged(since, lifetime, stored.header().times(), self.chance());
        let Some(view) = stored.value() else { return times };
        let cut = catch_unwind(AssertUnwindSafe(|| self.cut(times, stored.key(), view)));
        cut.unwrap_or_else(|_| {
            self.counters.count(Event::ExtractorPanicked);
            None
        })
    }

    /// The times of a record that may say itself when it ends.
    fn cut(&self, times: Option<Times>, key: &L::Key, view: &L::View) -> Option<Times> {
        let (times, own_end) = (times?, self.own_end.as_ref());
        match own_end.and_then(|own_end| own_end(key, view)) {
            Some(left) => self.lifetimes.ended(times, self.clock.now().after(left)),
            None => Some(times),
        }
    }

    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn make(
        &self,
        hash: u64,
        key: &L::Key,
        value: Option<L::Value>,
        version: Option<Version>,
        times: Option<Times>,
        since: Tick,
        extracted: Option<(u64, Option<Box<Rows>>)>,
    ) -> (L::Stored, bool) {
        if extracted.is_none() {
            self.counters.count(Event::ExtractorPanicked);
        }
        let keep = times.is_some() && extracted.is_some();
        let times = times.unwrap_or(Times::until(since, since));
        let (weight, rows) = extracted.unwrap_or_default();
        // What weighs more than a header can tell is not kept: it would be counted for less than it is.
        let weight = u32::try_from(weight).ok();
        let keep = keep && weight.is_some();
        let weight = weight.unwrap_or(u32::MAX);
        (L::Stored::store(Header::new(hash, times, weight), rows, key, value, version), keep)
    }

    fn weigh(&self, key: &L::Key, value: Option<&L::View>, version: Option<&Version>) -> u64 {
        match &self.weigher {
            Some(weigh) => weigh(key, value),
            None => L::weigh(key, value, version),
        }
    }
}

/// Four shards a core, but few where few entries fit: many small queues evict worse than one.
fn shards_for(capacity: u64, cores: usize) -> usize {
    // So large a capacity is taken for bytes, of entries of some 256; also where the program weighs, since that is what it mostly
    // weighs.
    let entries = if capacity >= 1 << 20 { capacity / 256 } else { capacity };
    let by_capacity = usize::try_from(entries / 512).unwrap_or(usize::MAX).max(1);
    (cores * 4).min(by_capacity).min(256).next_power_of_two()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(4, usize::from)
}

fn random_bits() -> u64 {
    SystemRandom::new().hash_one(0u64)
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection, so that distinct inputs stay distinct.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coalesce::News;
    use crate::entry::Typed;
    use crate::source::{LoadCx, Loaded, Source, SourceError};

    struct Nothing;

    impl Source<Typed<u32, u32>> for Nothing {
        fn get(&self, _: &u32, _: &LoadCx<'_, Typed<u32, u32>>) -> Result<Loaded<u32>, SourceError> {
            Ok(Loaded::Absent)
        }
    }

    #[test]
    fn b4_detached_loads_are_told_of_the_close_and_forgotten_when_nobody_waits() {
        let cache = crate::Cache::builder(Nothing).build().expect("the defaults make sense");
        let engine = cache.engine();
        let waited = Arc::new(Flight::new(Fence(0), Tick::ZERO, Tick::NEVER));
        engine.note_lingering(&waited);
        for fence in 1..100 {
            engine.note_lingering(&Arc::new(Flight::new(Fence(fence), Tick::ZERO, Tick::NEVER)));
        }
        assert_eq!(engine.lingering.lock().len(), 2, "the one that is waited for, and the last");
        engine.close_lingering();
        assert!(matches!(waited.poll(true, 1, Waker::noop(), &mut None), News::Closed));
    }

    /// Small queues evict worse than one, and a shard costs memory.
    #[test]
    fn few_entries_get_few_shards() {
        let shards = |cores| [1, 1_023, 2_048, (1 << 20) - 1, 1 << 20, u64::MAX].map(|room| shards_for(room, cores));
        assert_eq!(shards(1), [1, 1, 4, 4, 4, 4]);
        // A MiB of bytes is some 4,096 entries.
        assert_eq!(shards(12), [1, 1, 4, 64, 8, 64]);
        assert_eq!(shards(1_000), [1, 1, 4, 256, 8, 256]);
    }

    /// The first numbers of SplitMix64 from seed 0, as its authors' code gives them.
    #[test]
    fn mixing_is_what_it_says() {
        let first = (1..=3u64).map(|n| mix(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let published = [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F];
        assert!(first.eq(published));
    }
}
