//! quick_cache: its `sync::Cache`, values behind an `Arc`, since it clones what it gives out. Its feature `stats` is off, as by default.

use std::sync::Arc;

use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::{Origin, Rival, Room, Weigh};

type Inner = Cache<Vec<u8>, Arc<[u8]>, Weigh, RandomState>;

pub(super) struct QuickCache {
    cache: Inner,
    origin: Arc<Origin>,
}

impl Weighter<Vec<u8>, Arc<[u8]>> for Weigh {
    fn weight(&self, key: &Vec<u8>, value: &Arc<[u8]>) -> u64 {
        self.of(key, value)
    }
}

impl QuickCache {
    pub(super) fn open(room: Room, origin: Arc<Origin>) -> Self {
        let (hash, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
        Self { cache: Cache::with(room.entries, room.capacity, room.weigh, hash, lifecycle), origin }
    }
}

impl Rival for QuickCache {
    fn get(&self, key: &[u8]) -> u8 {
        let value = self.cache.get_or_insert_with(key, || Ok::<_, ()>(self.origin.load(key, |value| value.into())));
        value.expect("the origin never fails")[0]
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.cache.insert(key.to_vec(), value.into());
    }

    fn entries(&self) -> u64 {
        self.cache.len() as u64
    }
}
