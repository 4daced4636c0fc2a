//! moka: its `sync::Cache` with the default policy (TinyLFU), values behind an `Arc`, since it clones what it gives out. Without a lifetime, and
//! with one (`time_to_live`), for then it reads the clock and keeps the order of writes, as wtcache does the former.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use moka::sync::Cache;

use super::{Origin, Rival, Room, Weigh};

pub(super) struct Moka {
    cache: Cache<Vec<u8>, Arc<[u8]>, RandomState>,
    origin: Arc<Origin>,
}

impl Moka {
    pub(super) fn open(room: Room, origin: Arc<Origin>, lifetime: Option<Duration>) -> Self {
        let mut builder = Cache::builder().max_capacity(room.capacity);
        if room.weigh != Weigh::One {
            // It weighs in 32 bits; nothing here is heavier.
            builder = builder.weigher(move |key: &Vec<u8>, value: &Arc<[u8]>| {
                u32::try_from(room.weigh.of(key, value)).unwrap_or(u32::MAX)
            });
        }
        if let Some(lifetime) = lifetime {
            builder = builder.time_to_live(lifetime);
        }
        Self { cache: builder.build_with_hasher(RandomState::default()), origin }
    }
}

impl Rival for Moka {
    fn get(&self, key: &[u8]) -> u8 {
        self.cache.get_with_by_ref(key, || self.origin.load(key, |value| value.into()))[0]
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.cache.insert(key.to_vec(), value.into());
    }

    fn entries(&self) -> u64 {
        // What was put waits in its buffers until then.
        self.cache.run_pending_tasks();
        self.cache.entry_count()
    }
}
