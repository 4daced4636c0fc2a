//! The table of entries: open addressing over words, each a handle's pointer with 16 bits of its hash above it.
//!
//! A lookup reads a run of neighbouring words, mostly within one cache line, and then the one entry whose bits agree: there is
//! nothing else to read between the hash and the entry. Probing is linear, with marks where an entry went out of the middle of a run.
//!
//! Invariants: a word is `EMPTY`, `GONE`, or made by [`word`] of a handle that the table owns; the number of words is a power of two, and at
//! least one in four is `EMPTY`, so that every probe ends; an entry lies between its home (the low bits of its hash) and the next `EMPTY`.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::entry::{TypedInner, TypedRecord};
use crate::eviction::PLACES;
use crate::sync::Arc;

/// A handle that is one pointer, to something that knows its hash.
pub trait Handle {
    fn hash(&self) -> u64;
    fn into_raw(self) -> NonNull<()>;
    /// # Safety
    /// `raw` came from `into_raw`, and is made a handle once, unless the others are never dropped.
    unsafe fn from_raw(raw: NonNull<()>) -> Self;
}

impl<K, V> Handle for TypedRecord<K, V> {
    fn hash(&self) -> u64 {
        self.0.header.hash
    }

    fn into_raw(self) -> NonNull<()> {
        NonNull::new(Arc::into_raw(self.0).cast_mut()).expect("an Arc is not null").cast()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: by this function's own terms.
        Self(unsafe { Arc::from_raw(raw.as_ptr().cast::<TypedInner<K, V>>()) })
    }
}

const EMPTY: u64 = 0;
/// An entry was here, and others may lie behind it.
const GONE: u64 = 1;
const POINTER_BITS: u32 = 48;
const POINTER: u64 = (1 << POINTER_BITS) - 1;
/// Words of the smallest table that holds anything.
const FEWEST: usize = 8;

/// The hash's upper bits, which no choice of a place or of a shard uses.
fn tag(hash: u64) -> u64 {
    hash & !POINTER
}

fn word<S: Handle>(stored: S) -> u64 {
    let tag = tag(stored.hash());
    let address = stored.into_raw().as_ptr().expose_provenance() as u64;
    // On the systems that this runs on, addresses of user space have 48 bits at most, unless a program asks for more.
    assert!(address <= POINTER && address > GONE, "an allocation lies where no pointer of 48 bits reaches");
    tag | address
}

/// A handle that the table still owns.
///
/// # Safety
/// The word is an entry's, and the table keeps it for as long as the handle lives.
unsafe fn handle<S: Handle>(word: u64) -> ManuallyDrop<S> {
    let address = usize::try_from(word & POINTER).expect("it was a pointer");
    let raw = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).expect("an entry's address is not zero");
    // SAFETY: by this function's own terms the word came from `word`, and thus its address from `into_raw`; and the handle made here is
    // not dropped, unless the word was taken out of the table.
    ManuallyDrop::new(unsafe { S::from_raw(raw) })
}

/// An entry in the table, for as long as the table does not change.
pub(crate) struct Held<'a, S> {
    stored: ManuallyDrop<S>,
    table: PhantomData<&'a S>,
}

impl<S> Deref for Held<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.stored
    }
}

/// Where an entry lies, until it leaves or the table says that it moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(usize);

impl Place {
    /// The place of this number.
    pub(crate) fn numbered(number: u32) -> Self {
        Self(number as usize)
    }

    pub(crate) fn number(self) -> u32 {
        u32::try_from(self.0).ok().filter(|number| *number < PLACES).expect("a table has fewer than 2^31 words")
    }
}

pub(crate) struct Table<S: Handle> {
    words: Box<[u64]>,
    /// Entries.
    len: usize,
    /// Words that are not `EMPTY`.
    taken: usize,
    owns: PhantomData<S>,
}

impl<S: Handle> Table<S> {
    pub(crate) fn new() -> Self {
        Self { words: Box::default(), len: 0, taken: 0, owns: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entry that has this hash and is meant, and where it lies.
    #[inline]
    pub(crate) fn look_up(&self, hash: u64, mut is_meant: impl FnMut(&S) -> bool) -> Option<(Place, Held<'_, S>)> {
        let last = self.words.len().checked_sub(1)?;
        let mut at = hash as usize & last;
        loop {
            let word = self.words[at];
            if word == EMPTY {
                return None;
            }
            if word != GONE && tag(word) == tag(hash) {
                // SAFETY: it is an entry's word, and the table is borrowed while `stored` lives.
                let stored = unsafe { handle::<S>(word) };
                if stored.hash() == hash && is_meant(&stored) {
                    return Some((Place(at), Held { stored, table: PhantomData }));
                }
            }
            at = (at + 1) & last;
        }
    }

    /// Where the entry lies that has this hash and is meant.
    pub(crate) fn place(&self, hash: u64, is_meant: impl FnMut(&S) -> bool) -> Option<Place> {
        self.look_up(hash, is_meant).map(|(place, _)| place)
    }

    pub(crate) fn at(&self, place: Place) -> Held<'_, S> {
        self.get(place).expect("an entry lies there")
    }

    /// What lies there, if anything does.
    pub(crate) fn get(&self, place: Place) -> Option<Held<'_, S>> {
        let word = self.words.get(place.0).copied().filter(|word| *word > GONE)?;
        // SAFETY: it is an entry's word, and the table is borrowed while the handle lives.
        Some(Held { stored: unsafe { handle(word) }, table: PhantomData })
    }

    pub(crate) fn find(&self, hash: u64, is_meant: impl FnMut(&S) -> bool) -> Option<Held<'_, S>> {
        self.look_up(hash, is_meant).map(|(_, held)| held)
    }

    /// Adds what is not here yet; gives its place. `moved` is told of those that lie elsewhere now.
    pub(crate) fn insert(&mut self, stored: S, moved: impl FnMut(&S, Place)) -> Place {
        if (self.taken + 1) * 4 > self.words.len() * 3 {
            self.grow(moved);
        }
        let last = self.words.len() - 1;
        let mut at = stored.hash() as usize & last;
        while self.words[at] > GONE {
            at = (at + 1) & last;
        }
        self.taken += usize::from(self.words[at] == EMPTY);
        self.len += 1;
        self.words[at] = word(stored);
        Place(at)
    }

    /// Puts `stored`, which has the same hash, in the place of another.
    #[inline]
    pub(crate) fn replace(&mut self, place: Place, stored: S) -> S {
        assert!(self.words[place.0] > GONE, "an entry lies there");
        let before = std::mem::replace(&mut self.words[place.0], word(stored));
        // SAFETY: it was an entry's word, and has just left the table, which thus owns it no more.
        ManuallyDrop::into_inner(unsafe { handle(before) })
    }

    pub(crate) fn remove(&mut self, place: Place) -> S {
        let last = self.words.len() - 1;
        let mut at = place.0;
        assert!(self.words[at] > GONE, "an entry lies there");
        let before = std::mem::replace(&mut self.words[at], GONE);
        self.len -= 1;
        // Marks at the end of a run keep nothing together.
        if self.words[(at + 1) & last] == EMPTY {
            while self.words[at] == GONE {
                self.words[at] = EMPTY;
                self.taken -= 1;
                at = at.wrapping_sub(1) & last;
            }
        }
        // SAFETY: as in `replace`.
        ManuallyDrop::into_inner(unsafe { handle(before) })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Held<'_, S>> {
        let entries = self.words.iter().filter(|word| **word > GONE);
        // SAFETY: they are entries' words, and the table is borrowed while the handles live.
        entries.map(|word| Held { stored: unsafe { handle(*word) }, table: PhantomData })
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = S> + use<S> {
        let words = std::mem::take(&mut self.words);
        (self.len, self.taken) = (0, 0);
        // SAFETY: as in `replace`. What is not asked for is leaked.
        words.into_iter().filter(|word| *word > GONE).map(|word| ManuallyDrop::into_inner(unsafe { handle(word) }))
    }

    /// Makes room: for more entries, or, where marks take it, for as many.
    fn grow(&mut self, mut moved: impl FnMut(&S, Place)) {
        let words = if self.len * 2 >= self.words.len() { self.words.len() * 2 } else { self.words.len() };
        let words = words.max(FEWEST);
        let before = std::mem::replace(&mut self.words, vec![EMPTY; words].into_boxed_slice());
        self.taken = self.len;
        for word in before.into_iter().filter(|word| *word > GONE) {
            // SAFETY: it is an entry's word; it goes from one place to another while the handle lives.
            let stored = unsafe { handle::<S>(word) };
            let mut at = stored.hash() as usize & (words - 1);
            while self.words[at] != EMPTY {
                at = (at + 1) & (words - 1);
            }
            self.words[at] = word;
            moved(&stored, Place(at));
        }
    }
}

impl<S: Handle> Drop for Table<S> {
    fn drop(&mut self) {
        self.drain().for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    struct Thing {
        hash: u64,
        name: u32,
    }

    impl Handle for Arc<Thing> {
        fn hash(&self) -> u64 {
            self.hash
        }
        fn into_raw(self) -> NonNull<()> {
            NonNull::new(Arc::into_raw(self).cast_mut()).expect("an Arc is not null").cast()
        }
        unsafe fn from_raw(raw: NonNull<()>) -> Self {
            // SAFETY: by this function's own terms.
            unsafe { Arc::from_raw(raw.as_ptr().cast::<Thing>()) }
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(u32),
        Remove(u32),
        Drain,
    }

    /// Few homes and few tags, so that runs are long and entries look alike.
    fn hash(name: u32) -> u64 {
        u64::from(name % 5) | u64::from(name % 3) << POINTER_BITS
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_a_map_holds(ops in prop::collection::vec(
            prop_oneof![60 => (0..60u32).prop_map(Op::Set), 50 => (0..60u32).prop_map(Op::Remove), 1 => Just(Op::Drain)],
            1..400,
        )) {
            let mut table: Table<Arc<Thing>> = Table::new();
            let mut map: BTreeMap<u32, Arc<Thing>> = BTreeMap::new();
            let mut places: BTreeMap<u32, Place> = BTreeMap::new();
            for op in ops {
                match op {
                    Op::Set(name) => {
                        let thing = Arc::new(Thing { hash: hash(name), name });
                        match table.place(hash(name), |other| other.name == name) {
                            Some(place) => {
                                let before = table.replace(place, Arc::clone(&thing));
                                prop_assert!(Arc::ptr_eq(&before, &map[&name]));
                            }
                            None => {
                                let place = table.insert(Arc::clone(&thing), |thing, place| {
                                    places.insert(thing.name, place);
                                });
                                places.insert(name, place);
                            }
                        }
                        map.insert(name, thing);
                    }
                    Op::Remove(name) => {
                        let removed = table.place(hash(name), |other| other.name == name).map(|place| table.remove(place));
                        prop_assert_eq!(removed.map(|thing| thing.name), map.remove(&name).map(|thing| thing.name));
                    }
                    Op::Drain => {
                        prop_assert_eq!(table.drain().count(), map.len());
                        map.clear();
                    }
                }
                prop_assert_eq!(table.len(), map.len());
                prop_assert_eq!(table.taken, table.words.iter().filter(|word| **word != EMPTY).count());
                prop_assert!(table.words.is_empty() || table.taken * 4 <= table.words.len() * 3);
                for name in 0..60 {
                    let found = table.find(hash(name), |other| other.name == name);
                    prop_assert_eq!(found.map(|thing| thing.name), map.get(&name).map(|thing| thing.name));
                    if map.contains_key(&name) {
                        let known = Place::numbered(places[&name].number());
                        prop_assert_eq!(table.get(known).map(|thing| thing.name), Some(name), "each is told of its moves");
                    }
                }
                let mut names: Vec<u32> = table.iter().map(|thing| thing.name).collect();
                names.sort_unstable();
                prop_assert!(names.iter().eq(map.keys()));
            }
            for name in map.keys() {
                let place = table.place(hash(*name), |other| other.name == *name);
                drop(place.map(|place| table.remove(place)));
            }
            prop_assert_eq!((table.len, table.taken), (0, 0), "marks go with the last that they kept together");
            prop_assert!(map.values().all(|thing| Arc::strong_count(thing) == 1), "it owns each once");
        }
    }

    #[test]
    fn what_it_owns_goes_with_it() {
        let things: Vec<_> = (0..20).map(|name| Arc::new(Thing { hash: hash(name), name })).collect();
        let mut table = Table::new();
        things.iter().for_each(|thing| _ = table.insert(Arc::clone(thing), |_, _| {}));
        drop(table);
        assert!(things.iter().all(|thing| Arc::strong_count(thing) == 1));
    }

    #[test]
    fn entries_that_come_and_go_leave_it_as_large_as_it_was() {
        let mut table: Table<Arc<Thing>> = Table::new();
        for name in 0..10_000u32 {
            let hash = u64::from(name).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            table.insert(Arc::new(Thing { hash, name }), |_, _| {});
            if let Some(old) = name.checked_sub(100) {
                let hash = u64::from(old).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let place = table.place(hash, |other| other.name == old).expect("it is here");
                table.remove(place);
            }
        }
        assert_eq!((table.len(), table.words.len()), (100, 256));
    }
}
