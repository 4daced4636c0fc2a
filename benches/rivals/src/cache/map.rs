//! The plain map in parts behind read-write locks that the other benches compare with, too. First in, first out, by entries only.

use std::sync::Arc;

use wtcache_benches::ShardedMap;

use super::{Origin, Rival, Room};

pub(super) struct Map {
    map: ShardedMap,
    origin: Arc<Origin>,
}

impl Map {
    pub(super) fn open(room: Room, origin: Arc<Origin>) -> Self {
        Self { map: ShardedMap::new(room.entries), origin }
    }
}

impl Rival for Map {
    fn get(&self, key: &[u8]) -> u8 {
        match self.map.get(key) {
            Some(value) => value[0],
            None => self.origin.load(key, |value| {
                self.map.insert(key, value);
                value[0]
            }),
        }
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.map.insert(key, value);
    }

    fn entries(&self) -> u64 {
        self.map.entries() as u64
    }
}
