//! The caches, behind one small trait.
//!
//! What is the same for all: they read through (a miss is loaded from [`Origin`] and kept), keys are bytes of any length, the
//! room is the same, values begin as borrowed bytes, and what a cache's API needs is made of them within the measured
//! time. The hash function is foldhash's fast one everywhere, which is wtcache's own; shards are as many as each cache takes
//! by itself. For what is each one's own choice see the files.
//!
//! What is not the same: wtcache has a lifetime, counts, coalesces loads and gives each write its turn and its outcome; quick_cache and
//! moka coalesce loads; moka is measured without and with a lifetime; foyer's loads coalesce in async programs only, which this
//! is none; the map does nothing of it.

mod foyer;
mod map;
mod moka;
mod quick_cache;
mod wtcache;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wtcache_benches::VALUE_BYTES;

/// The lifetime, where a cache has one. It never ends while something is measured.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// A cache that is measured.
pub(crate) trait Rival: Send + Sync {
    /// The first byte of the value of `key`: resident, or else loaded from the origin and kept.
    fn get(&self, key: &[u8]) -> u8;
    /// Sets the value of `key`.
    fn put(&self, key: &[u8], value: &[u8]);
    /// How many entries are resident.
    fn entries(&self) -> u64;
}

/// Which cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Wtcache,
    KeyIndex,
    QuickCache,
    Moka,
    MokaLifetime,
    Foyer,
    Map,
}

impl Kind {
    /// Those whose time is measured. Ratios are against the first.
    pub(crate) const TIMED: [Self; 6] =
        [Self::Wtcache, Self::QuickCache, Self::Moka, Self::MokaLifetime, Self::Foyer, Self::Map];

    /// Those whose memory is measured.
    pub(crate) const WEIGHED: [Self; 7] =
        [Self::Wtcache, Self::KeyIndex, Self::QuickCache, Self::Moka, Self::MokaLifetime, Self::Foyer, Self::Map];

    /// Those whose hit ratio is measured: a lifetime that never ends changes none.
    pub(crate) const JUDGED: [Self; 5] = [Self::Wtcache, Self::QuickCache, Self::Moka, Self::Foyer, Self::Map];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wtcache => "wtcache",
            Self::KeyIndex => "wtcache, key_index",
            Self::QuickCache => "quick_cache",
            Self::Moka => "moka",
            Self::MokaLifetime => "moka, lifetime",
            Self::Foyer => "foyer",
            Self::Map => "map",
        }
    }

    /// The cache, empty; `None` where it cannot keep to such room (the map counts entries only).
    pub(crate) fn open(self, room: Room, origin: &Arc<Origin>) -> Option<Box<dyn Rival>> {
        let origin = Arc::clone(origin);
        Some(match self {
            Self::Wtcache => Box::new(wtcache::Wtcache::open(room, origin, false)),
            Self::KeyIndex => Box::new(wtcache::Wtcache::open(room, origin, true)),
            Self::QuickCache => Box::new(quick_cache::QuickCache::open(room, origin)),
            Self::Moka => Box::new(moka::Moka::open(room, origin, None)),
            Self::MokaLifetime => Box::new(moka::Moka::open(room, origin, Some(LIFETIME))),
            Self::Foyer => Box::new(foyer::Foyer::open(room, origin)),
            Self::Map if room.weigh == Weigh::One => Box::new(map::Map::open(room, origin)),
            Self::Map => return None,
        })
    }
}

/// How much a cache may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// In units of `weigh`.
    pub(crate) capacity: u64,
    pub(crate) weigh: Weigh,
    /// How many entries that is about: quick_cache asks for it.
    pub(crate) entries: usize,
}

impl Room {
    /// Room for so many entries.
    pub(crate) fn entries(entries: usize) -> Self {
        Self { capacity: entries as u64, weigh: Weigh::One, entries }
    }
}

/// What an entry weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weigh {
    One,
    /// The bytes of key and value.
    Bytes,
    /// What the value says in its first four bytes: for runs that need no real values.
    Told,
}

impl Weigh {
    pub(crate) fn of(self, key: &[u8], value: &[u8]) -> u64 {
        match self {
            Self::One => 1,
            Self::Bytes => (key.len() + value.len()) as u64,
            Self::Told => u32::from_le_bytes(value[..4].try_into().expect("four bytes")).into(),
        }
    }
}

/// Where misses are loaded from. It costs next to nothing, has every record and counts its calls.
pub(crate) struct Origin {
    values: Values,
    loads: AtomicU64,
}

/// What the origin's values are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// 256 bytes.
    Even,
    /// 16 bytes to 64 KiB, by key: see [`spread_size`].
    Spread,
    /// The four bytes of [`Weigh::Told`], which say what `Spread` would weigh.
    Sizes,
}

static BYTES: [u8; LARGEST] = [7; LARGEST];
const SMALLEST: usize = 16;
const LARGEST: usize = 64 << 10;

impl Origin {
    pub(crate) fn new(values: Values) -> Arc<Self> {
        Arc::new(Self { values, loads: AtomicU64::new(0) })
    }

    /// Calls of `load` since it was opened.
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    fn load<T>(&self, key: &[u8], make: impl FnOnce(&[u8]) -> T) -> T {
        // Relaxed: a counter that guards no other memory.
        self.loads.fetch_add(1, Ordering::Relaxed);
        match self.values {
            Values::Even => make(&BYTES[..VALUE_BYTES]),
            Values::Spread => make(&BYTES[..spread_size(key)]),
            Values::Sizes => make(&told_weight(key).to_le_bytes()),
        }
    }
}

/// The size of the value of `key`, in bytes: 16 to 65,536, its logarithm evenly distributed, always the same for a key.
pub(crate) fn spread_size(key: &[u8]) -> usize {
    // FNV-1a, and SplitMix64's finaliser for the high bits.
    let fnv = key.iter().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3));
    let z = (fnv ^ (fnv >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let share = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
    let octaves = (LARGEST / SMALLEST).ilog2();
    ((SMALLEST as f64 * (share * f64::from(octaves)).exp2()) as usize).min(LARGEST)
}

/// What the entry of `key` weighs where values are spread.
pub(crate) fn told_weight(key: &[u8]) -> u32 {
    (key.len() + spread_size(key)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use wtcache_benches::key;

    #[test]
    fn sizes_are_spread_over_all_orders() {
        let sizes: Vec<usize> = (0..10_000).map(|n| spread_size(&key(n))).collect();
        assert!(sizes.iter().all(|size| (SMALLEST..=LARGEST).contains(size)));
        let below = sizes.iter().filter(|size| **size < 1024).count();
        assert!((4_500..5_500).contains(&below), "1 KiB lies in the middle of the octaves: {below}");
    }

    #[test]
    fn every_cache_reads_through_keeps_and_evicts() {
        for kind in Kind::WEIGHED {
            for (room, values) in [
                (Room::entries(1_000), Values::Even),
                (Room { capacity: 4 << 20, weigh: Weigh::Bytes, entries: 500 }, Values::Spread),
                (Room { capacity: 4 << 20, weigh: Weigh::Told, entries: 500 }, Values::Sizes),
            ] {
                let origin = Origin::new(values);
                let Some(cache) = kind.open(room, &origin) else { continue };
                let name = format!("{} {room:?}", kind.name());
                cache.get(&key(1));
                cache.get(&key(1));
                assert_eq!(origin.loads(), 1, "{name}: the second read is a hit");
                if values == Values::Even {
                    cache.put(&key(1), &[9; 256]);
                    assert_eq!(cache.get(&key(1)), 9, "{name}: what was put is read");
                    assert_eq!(origin.loads(), 1, "{name}");
                }
                for n in 0..20_000 {
                    cache.get(&key(n));
                }
                let held = cache.entries();
                // Some 500 where sizes do not matter; moka keeps many small ones in place of few large ones.
                assert!((50..8_000).contains(&held), "{name}: holds {held}");
            }
        }
    }
}
