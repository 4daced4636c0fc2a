//! What the benches are made with: keys that come as they do in practice, the reference to compare with, and what figures are
//! made of.

pub mod figures;
pub mod svg;
mod table;

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foldhash::fast::RandomState;

pub use table::Table;

/// How long a key of the benches is, in bytes.
pub const KEY_BYTES: usize = 24;
/// How long a value of the benches is, in bytes.
pub const VALUE_BYTES: usize = 256;

/// A key of the benches.
pub type Key = [u8; KEY_BYTES];

/// The key of number `n`.
#[must_use]
pub fn key(n: u64) -> Key {
    let mut key = *b"item:0000000000000000000";
    let mut rest = n;
    for digit in key[5..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// `count` keys drawn from `among` with a Zipf distribution of exponent `skew`; the same with the same seed.
#[must_use]
pub fn zipf(among: usize, skew: f64, count: usize, seed: u64) -> Vec<Key> {
    let mut sums = Vec::with_capacity(among);
    let mut sum = 0.0;
    for rank in 1..=among {
        sum += (rank as f64).powf(-skew);
        sums.push(sum);
    }
    let mut state = seed;
    let draw = |_| {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let at = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 * sum;
        let rank = sums.partition_point(|s| *s <= at).min(among - 1);
        // Ranks are spread over the keys, so that the hottest do not lie side by side.
        key((rank as u64).wrapping_mul(0x9E37_79B1) % among as u64)
    };
    (0..count).map(draw).collect()
}

type Part = RwLock<HashMap<Box<[u8]>, Arc<[u8]>, RandomState>>;

/// The reference: a map in parts, each behind a read-write lock. It has no lifetimes, no eviction policy but first in,
/// first out, and no protocol; what a cache does beyond it costs what it costs beyond it.
pub struct ShardedMap {
    parts: Vec<Part>,
    seed: RandomState,
    order: Mutex<VecDeque<Box<[u8]>>>,
    capacity: usize,
}

impl ShardedMap {
    /// A map of `capacity` entries in eight parts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let seed = RandomState::default();
        let parts = (0..8).map(|_| RwLock::new(HashMap::with_hasher(seed.clone()))).collect();
        Self { parts, seed, order: Mutex::default(), capacity }
    }

    fn part(&self, key: &[u8]) -> &Part {
        &self.parts[(self.seed.hash_one(key) >> 40) as usize % self.parts.len()]
    }

    /// How many entries there are.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.parts.iter().map(|part| part.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Arc<[u8]>> {
        self.part(key).read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Sets the value of `key`; beyond the capacity, the oldest key goes.
    pub fn insert(&self, key: &[u8], value: &[u8]) {
        let mut part = self.part(key).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = part.get_mut(key) {
            *old = value.into();
            return;
        }
        part.insert(key.into(), value.into());
        drop(part);
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.push_back(key.into());
        let oldest = if order.len() > self.capacity { order.pop_front() } else { None };
        drop(order);
        if let Some(oldest) = oldest {
            self.part(&oldest).write().unwrap_or_else(PoisonError::into_inner).remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zipf_draw_is_skewed_and_repeats() {
        let drawn = zipf(1_000, 0.99, 10_000, 1);
        assert_eq!(drawn, zipf(1_000, 0.99, 10_000, 1));
        let hottest = drawn.iter().filter(|k| **k == key(0)).count();
        assert!((1_000..1_700).contains(&hottest), "rank one has some 13 %: {hottest}");
    }

    #[test]
    fn the_reference_map_keeps_to_its_capacity() {
        let map = ShardedMap::new(2);
        for n in 0..3 {
            map.insert(&key(n), &[n as u8]);
        }
        assert_eq!(map.entries(), 2);
        assert!(map.get(&key(0)).is_none());
        assert_eq!(map.get(&key(2)).as_deref(), Some(&[2][..]));
    }
}
