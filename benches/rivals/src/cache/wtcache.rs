//! wtcache: `ByteCache` as a program would open it, the contract on: a lifetime, counts, fences, turns. Only what is public.
//!
//! The source costs nothing: it has every record, and applies every write as it was sent.

use std::sync::Arc;

use wtcache::{
    ByteCache, Bytes, Confirmed, Declared, Lifetime, LoadCx, Loaded, Outcome, Record, Source, SourceError, WriteCx,
};

use super::{LIFETIME, Origin, Rival, Room};

pub(super) struct Wtcache(ByteCache);

struct Free(Arc<Origin>);

impl Source<Bytes> for Free {
    fn get(&self, key: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        Ok(Loaded::Found(Record::new(self.0.load(key, <[u8]>::to_vec))))
    }

    fn put(&self, _: &[u8], _: &[u8], _: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        Outcome::Applied(Confirmed::AsSent { version: None, lifetime: Lifetime::Default })
    }

    fn declared(&self) -> Declared {
        let mut declared = Declared::default();
        declared.stores_verbatim = true;
        declared
    }
}

impl Wtcache {
    pub(super) fn open(room: Room, origin: Arc<Origin>, key_index: bool) -> Self {
        let weigh = move |key: &[u8], value: Option<&[u8]>| value.map_or(1, |value| room.weigh.of(key, value));
        // A clean start: else what is loaded in the first minute would live no longer than that.
        let cache = ByteCache::builder(Free(origin)).capacity(room.capacity).weigher(weigh).lifetime(LIFETIME);
        Self(cache.key_index(key_index).clean_start(true).build().expect("the options make sense"))
    }
}

impl Rival for Wtcache {
    fn get(&self, key: &[u8]) -> u8 {
        let entry = self.0.get(key).expect("the source never fails").expect("it has every record");
        entry.value()[0]
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.put(key, value.to_vec()).expect("the source applies every write");
    }

    fn entries(&self) -> u64 {
        self.0.stats().entries
    }
}
