//! What is resident in one shard: the table of entries, with its indexes and its eviction policy.
//!
//! No protocol here: what may be shown is decided elsewhere. All changes happen under the shard's exclusive lock. What leaves goes
//! into [`Left`], which the caller drops once no lock is held, since keys and values are the program's.
//! Invariant: table, indexes and policy hold the same entries, and the budget counts their weight.

use crate::bugs::{self, Bug};
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout};
use crate::eviction::{Entries, MOST_TOUCHES, S3Fifo};
use crate::index::Index;
use crate::key_index::KeyIndex;
use crate::memory::table::{Held, Place, Table};
use crate::pattern::Keys;
use crate::sync::{AtomicU64, Ordering};

/// How far below its share a shard may be and still make room among its own entries, as a divisor of the share.
const SLACK: u64 = 8;

/// The capacity of the whole cache, the weight that its shards hold together, and what each of them holds of that.
pub(crate) struct Budget {
    capacity: u64,
    used: AtomicU64,
    shards: Box<[Share]>,
}

/// What a shard holds; changed under its exclusive lock, read without. On a cache line of its own.
#[repr(align(64))]
struct Share(AtomicU64);

impl Budget {
    pub(crate) fn new(capacity: u64, shards: usize) -> Self {
        let shards = (0..shards).map(|_| Share(AtomicU64::new(0))).collect();
        Self { capacity, used: AtomicU64::new(0), shards }
    }

    pub(crate) fn used(&self) -> u64 {
        // Acquire: pairs with `add`. Who sees a weight here sees in which shard it is.
        self.used.load(Ordering::Acquire)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.capacity
    }

    /// The shard that holds most, if the cache is over its capacity. In its own shard the newcomer does not count: it is to stay.
    pub(crate) fn richest(&self, own: usize, newcomer: u64) -> Option<usize> {
        if !self.is_over() {
            return None;
        }
        let others = |shard: usize| self.held(shard).saturating_sub(if shard == own { newcomer } else { 0 });
        let (held, richest) = (0..self.shards.len()).map(|shard| (others(shard), shard)).max()?;
        (held > 0).then_some(richest)
    }

    fn held(&self, shard: usize) -> u64 {
        self.shards[shard].0.load(Ordering::Relaxed)
    }

    fn share(&self) -> u64 {
        self.used() / self.shards.len() as u64
    }

    /// The shard holds so little that others have to make room for what comes to it.
    fn is_poor(&self, shard: usize) -> bool {
        let share = self.share();
        self.held(shard) < share - share / SLACK
    }

    /// The shard holds more than its share.
    fn is_rich(&self, shard: usize) -> bool {
        self.held(shard) > self.share()
    }

    // Under the shard's exclusive lock, so that nobody else changes what it holds.

    fn add(&self, shard: usize, weight: u64) {
        self.shards[shard].0.store(self.held(shard) + weight, Ordering::Relaxed);
        self.used.fetch_add(weight, Ordering::Release);
    }

    fn subtract(&self, shard: usize, weight: u64) {
        self.shards[shard].0.store(self.held(shard) - weight, Ordering::Relaxed);
        self.used.fetch_sub(weight, Ordering::Relaxed);
    }
}

/// Things to be dropped once no lock is held: mostly one, which then needs no allocation.
pub(crate) enum Few<T> {
    None,
    One(T),
    More(Vec<T>),
}

impl<T> Few<T> {
    #[inline]
    pub(crate) fn push(&mut self, one: T) {
        match self {
            Self::None => *self = Self::One(one),
            _ => self.push_more(one),
        }
    }

    fn push_more(&mut self, one: T) {
        let mut all = match std::mem::replace(self, Self::None) {
            Self::None => Vec::new(),
            Self::One(first) => vec![first],
            Self::More(all) => all,
        };
        all.push(one);
        *self = Self::More(all);
    }

    /// Where there is mostly one.
    #[inline]
    pub(crate) fn drop_all(self) {
        match self {
            Self::None => {}
            Self::One(one) => drop(one),
            Self::More(all) => drop(all),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all().iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    fn all(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::More(all) => all,
        }
    }
}

/// Records that left a store, kept until they can be dropped.
pub(crate) struct Left<L: Layout> {
    pub(crate) records: Few<L::Stored>,
    /// Those that left for room.
    pub(crate) evicted: Few<L::Stored>,
}

impl<L: Layout> Default for Left<L> {
    fn default() -> Self {
        Self { records: Few::None, evicted: Few::None }
    }
}

pub(crate) struct Store<L: Layout> {
    /// The number of its shard.
    shard: usize,
    table: Table<L::Stored>,
    index: Index<L>,
    /// In the order of their keys, where the options ask for it.
    keys: Option<KeyIndex<L>>,
    policy: S3Fifo,
}

impl<L: Layout> Store<L> {
    pub(crate) fn new(shard: usize, index: Index<L>, keys: Option<KeyIndex<L>>) -> Self {
        Self { shard, table: Table::new(), index, keys, policy: S3Fifo::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn index(&self) -> &Index<L> {
        &self.index
    }

    /// The resident record of a key, fresh or not.
    pub(crate) fn find(&self, hash: u64, mut is_key: impl FnMut(&L::Key) -> bool) -> Option<Held<'_, L::Stored>> {
        self.table.find(hash, |stored| is_key(stored.key()))
    }

    /// The same, and where it lies until the store changes.
    pub(crate) fn look_up(
        &self,
        hash: u64,
        mut is_key: impl FnMut(&L::Key) -> bool,
    ) -> Option<(Place, Held<'_, L::Stored>)> {
        self.table.look_up(hash, |stored| is_key(stored.key()))
    }

    /// Resident records from a random place on, expired ones and absent marks included, after a look at `looks` places
    /// at most: many of these are empty where much went lately.
    pub(crate) fn sample(&self, random: u64, looks: usize) -> impl Iterator<Item = Held<'_, L::Stored>> {
        let places = self.policy.places();
        let start = usize::try_from(random % (places.max(1) as u64)).expect("less than a length");
        (start..places).chain(0..start).take(looks).filter_map(|place| {
            let (node, place) = self.policy.node(place);
            self.table.get(Place::numbered(place)).filter(|stored| stored.header().node() == node)
        })
    }

    /// Counts a hit for the policy.
    pub(crate) fn touch(stored: &L::Stored) {
        stored.header().touch(MOST_TOUCHES);
    }

    /// Makes `stored` the record of its key, in one step with index and policy. What is too heavy for the whole cache is
    /// not kept; the older record goes all the same. True if it is resident now. If the cache is over its capacity then,
    /// [`Store::give_room`] of other shards is to follow.
    pub(crate) fn admit(&mut self, stored: &L::Stored, budget: &Budget, left: &mut Left<L>) -> bool {
        self.admit_at(None, (stored, stored.clone()), budget, left)
    }

    /// The same of who knows where the record of its key lay, and which that was. `handle` is the one that the store is to have.
    pub(crate) fn admit_at(
        &mut self,
        known: Option<(Place, &L::Stored)>,
        (stored, handle): (&L::Stored, L::Stored),
        budget: &Budget,
        left: &mut Left<L>,
    ) -> bool {
        let header = stored.header();
        let (hash, weight) = (header.hash, header.weight());
        if weight > budget.capacity {
            if !bugs::has(Bug::TooHeavyLeavesOlder) {
                self.remove(hash, |key| L::same_key(key, stored.key()), budget, left);
            }
            return false;
        }
        let there = known.and_then(|(place, before)| {
            let now = self.table.get(place).filter(|now| now.same(before))?;
            Some((place, now))
        });
        match there.or_else(|| self.look_up(hash, |key| L::same_key(key, stored.key()))) {
            Some((place, old)) => {
                if old.same(stored) {
                    return true;
                }
                let node = old.header().node();
                header.set_node(node);
                header.set_touched(old.header().touched());
                let old = self.table.replace(place, handle);
                self.index.remove(&old);
                let before = old.header().weight();
                if before != weight {
                    self.policy.reweigh(node, before, weight);
                    budget.add(self.shard, weight);
                    budget.subtract(self.shard, before);
                }
                left.records.push(old);
            }
            None => {
                let node = self.policy.insert(hash, weight);
                let policy = &mut self.policy;
                header.set_node(node);
                let place =
                    self.table.insert(handle, |other, place| policy.moved(other.header().node(), place.number()));
                policy.moved(node, place.number());
                budget.add(self.shard, weight);
            }
        }
        self.index.add(stored);
        if let Some(keys) = &mut self.keys {
            keys.add(stored);
        }
        while budget.is_over() && !budget.is_poor(self.shard) && self.evict(Some(header.node()), budget, left) {}
        true
    }

    /// Makes room for a newcomer, of another shard mostly: evicts as long as the cache is over its capacity and this
    /// shard holds more than its share, but one entry at least.
    pub(crate) fn give_room(&mut self, newcomer: &L::Stored, budget: &Budget, left: &mut Left<L>) {
        let here = self.table.find(newcomer.header().hash, |stored| stored.same(newcomer));
        let spared = here.map(|stored| stored.header().node());
        while self.evict(spared, budget, left) && budget.is_over() && budget.is_rich(self.shard) {}
    }

    /// Takes the record of a key out, in one step with index and policy.
    pub(crate) fn remove(
        &mut self,
        hash: u64,
        mut is_key: impl FnMut(&L::Key) -> bool,
        budget: &Budget,
        left: &mut Left<L>,
    ) {
        let Some(place) = self.table.place(hash, |stored| is_key(stored.key())) else { return };
        let stored = self.table.remove(place);
        self.policy.remove(stored.header().node(), stored.header().weight());
        self.forget(&stored, budget);
        left.records.push(stored);
    }

    /// Takes this record out, if it is still here.
    pub(crate) fn remove_stored(&mut self, stored: &L::Stored, budget: &Budget, left: &mut Left<L>) {
        let Some(place) = self.table.place(stored.header().hash, |other| other.same(stored)) else { return };
        let stored = self.table.remove(place);
        self.policy.remove(stored.header().node(), stored.header().weight());
        self.forget(&stored, budget);
        left.records.push(stored);
    }

    /// The records of the keys that are meant. With an index of keys it looks at those with the same head only.
    pub(crate) fn of_keys(&self, meant: &Keys<'_, L>) -> Vec<L::Stored> {
        let is_meant = |stored: &L::Stored| meant.has(stored.key());
        match &self.keys {
            Some(keys) => keys.with_head(meant.head()).filter(|stored| is_meant(stored)).cloned().collect(),
            None => self.table.iter().filter(|stored| is_meant(stored)).map(|stored| stored.clone()).collect(),
        }
    }

    /// Entries of the keys that are meant, no absent marks, so many at most: it looks no further then.
    pub(crate) fn some_of_keys(&self, meant: &Keys<'_, L>, most: usize) -> Vec<Entry<L>> {
        let entry = |stored: &L::Stored| if meant.has(stored.key()) { Entry::of(stored.clone()) } else { None };
        match &self.keys {
            Some(keys) => keys.with_head(meant.head()).filter_map(entry).take(most).collect(),
            None => self.table.iter().filter_map(|stored| entry(&stored)).take(most).collect(),
        }
    }

    /// Empties the store.
    pub(crate) fn clear(&mut self, budget: &Budget, left: &mut Left<L>) {
        for stored in self.table.drain() {
            self.policy.remove(stored.header().node(), stored.header().weight());
            self.forget(&stored, budget);
            left.records.push(stored);
        }
    }

    /// Evicts an entry, if there is one other than `spared`.
    fn evict(&mut self, spared: Option<u32>, budget: &Budget, left: &mut Left<L>) -> bool {
        let Some(place) = self.policy.evict(spared, &Resident::<L> { table: &self.table }) else { return false };
        let stored = self.table.remove(Place::numbered(place));
        self.forget(&stored, budget);
        left.evicted.push(stored);
        true
    }

    /// The last step of every leave: index and weight. The record goes out of the lock's reach.
    fn forget(&mut self, stored: &L::Stored, budget: &Budget) {
        if !bugs::has(Bug::IndexRowLeftBehind) {
            self.index.remove(stored);
        }
        if let Some(keys) = &mut self.keys {
            keys.remove(stored);
        }
        budget.subtract(self.shard, stored.header().weight());
    }
}

/// The policy's view of resident entries.
struct Resident<'a, L: Layout> {
    table: &'a Table<L::Stored>,
}

impl<L: Layout> Entries for Resident<'_, L> {
    fn hash(&self, place: u32) -> u64 {
        self.table.at(Place::numbered(place)).header().hash
    }

    fn weight(&self, place: u32) -> u64 {
        self.table.at(Place::numbered(place)).header().weight()
    }

    fn take_hits(&self, place: u32) -> u8 {
        let stored = self.table.at(Place::numbered(place));
        let hits = stored.header().touched();
        stored.header().set_touched(0);
        hits
    }
}
