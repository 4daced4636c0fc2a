//! foyer: its in-memory cache with S3-FIFO. Values are boxed, not behind an `Arc`: it gives out handles on its entries, which are
//! shared already. A miss is a `get` and an `insert`, as in a program that is not async.

use std::sync::Arc;

use foldhash::fast::RandomState;
use foyer_memory::{Cache, CacheBuilder, S3FifoConfig};

use super::{Origin, Rival, Room};

pub(super) struct Foyer {
    cache: Cache<Vec<u8>, Box<[u8]>, RandomState>,
    origin: Arc<Origin>,
}

impl Foyer {
    pub(super) fn open(room: Room, origin: Arc<Origin>) -> Self {
        let capacity = usize::try_from(room.capacity).expect("the room fits into memory");
        let builder = CacheBuilder::<Vec<u8>, Box<[u8]>, _>::new(capacity)
            .with_eviction_config(S3FifoConfig::default())
            .with_weighter(move |key, value| room.weigh.of(key, value) as usize)
            .with_hash_builder(RandomState::default());
        Self { cache: builder.build(), origin }
    }
}

impl Rival for Foyer {
    fn get(&self, key: &[u8]) -> u8 {
        let entry = self.cache.get(key);
        entry.unwrap_or_else(|| self.cache.insert(key.to_vec(), self.origin.load(key, |value| value.into()))).value()[0]
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.cache.insert(key.to_vec(), value.into());
    }

    fn entries(&self) -> u64 {
        self.cache.entries() as u64
    }
}
