//! Records by the values of their attributes: what the secondary indexes of the shards hold together.

use std::ops::Bound;

use super::CacheOf;
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout};
use crate::shard::State;

/// What an index knows of a value.
#[non_exhaustive]
pub struct Found<L: Layout> {
    /// The resident records with that value, in no order. Records that are not resident are not here.
    pub entries: Vec<Entry<L>>,
    /// Resident records with that value that may no longer be served.
    pub expired: usize,
    /// Their keys, in no order, for a program that loads them again. What comes of that may have another value.
    pub expired_keys: Vec<ExpiredKey<L>>,
}

/// The key of a record that was found and may no longer be served.
pub struct ExpiredKey<L: Layout>(L::Stored);

impl<L: Layout> ExpiredKey<L> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &L::Key {
        Stored::key(&self.0)
    }
}

impl<L: Layout> CacheOf<L> {
    /// The resident records whose extracted attributes have `value` in the index of that name. It is no list of what the
    /// origin has: what was never loaded, has expired or is in doubt is not here. Of a key with pending writes, it is what the origin
    /// confirmed last.
    ///
    /// `None` where no index has that name.
    #[must_use]
    pub fn find(&self, index: &str, value: &[u8]) -> Option<Found<L>> {
        let number = self.number_of(index)?;
        let mut found = Found { entries: Vec::new(), expired: 0, expired_keys: Vec::new() };
        for shard in self.0.shards() {
            let state = shard.read();
            self.take(&mut found, &state, state.store.index().find(number, value));
        }
        Some(found)
    }

    /// As [`CacheOf::find`], of the values between two, compared byte by byte. A record that has several of them is there once for each.
    /// Costs what it finds.
    ///
    /// `None` where no index has that name, or the cache was built without [`Builder::ordered_indexes`](crate::Builder::ordered_indexes).
    ///
    /// # Example
    /// ```
    /// use std::ops::Bound::{Excluded, Unbounded};
    /// # use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    /// # struct Stock;
    /// # impl Source<Typed<String, u32>> for Stock {
    /// #     fn get(&self, key: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(if key == "bolts" { 700 } else { 7 })))
    /// #     }
    /// # }
    /// let cache = Cache::builder(Stock)
    ///     .indexes(["quantity"], |_, quantity: &u32, rows| rows.add(0, &quantity.to_be_bytes()))
    ///     .ordered_indexes(true)
    ///     .build()?;
    /// cache.get("bolts")?;
    /// cache.get("nuts")?;
    /// let many = cache.find_between("quantity", Excluded(&100_u32.to_be_bytes()), Unbounded).unwrap();
    /// assert_eq!(many.entries[0].key(), "bolts");
    /// assert_eq!(many.entries.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn find_between(&self, index: &str, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Option<Found<L>> {
        let number = self.number_of(index).filter(|_| self.0.ordered_indexes)?;
        let mut found = Found { entries: Vec::new(), expired: 0, expired_keys: Vec::new() };
        for shard in self.0.shards() {
            let state = shard.read();
            self.take(&mut found, &state, state.store.index().find_between(number, from, to));
        }
        Some(found)
    }

    fn number_of(&self, index: &str) -> Option<u16> {
        let number = self.0.indexes.iter().position(|name| name == index)?;
        u16::try_from(number).ok()
    }

    /// Of what the index of a shard gave: what may be served, and what has expired.
    fn take<'s>(&self, found: &mut Found<L>, state: &State<L>, all: impl Iterator<Item = &'s L::Stored>)
    where
        L::Stored: 's,
    {
        let now = self.0.clock.now();
        for stored in all {
            match Entry::of(stored.clone()).filter(|_| state.fresh_until(stored) > now) {
                Some(entry) => found.entries.push(entry),
                None if self.0.lifetimes.gone(stored.header().expires()) <= now => {}
                None => {
                    found.expired += 1;
                    found.expired_keys.push(ExpiredKey(stored.clone()));
                }
            }
        }
    }
}
