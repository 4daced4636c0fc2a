//! Reads and writes of the core, each beside a plain map in parts behind read-write locks, in the same run.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wtcache::{
    ByteCache, Bytes, Confirmed, Declared, Lifetime, LoadCx, Loaded, Outcome, Record, Source, SourceError, WriteCx,
};
use wtcache_benches::{Key, ShardedMap, VALUE_BYTES, key, zipf};

const KEYS: usize = 100_000;
const DRAWN: usize = 1 << 20;

/// An origin that costs nothing: it has every record, and applies every write.
struct Free;

impl Source<Bytes> for Free {
    fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        Ok(Loaded::Found(Record::new(vec![7; VALUE_BYTES])))
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

/// A cache of as many entries as there are keys, full.
fn full() -> ByteCache {
    let cache = ByteCache::builder(Free).capacity(KEYS as u64).weigher(|_, _| 1).clean_start(true).build();
    let cache = cache.unwrap_or_else(|error| panic!("{error}"));
    for n in 0..KEYS as u64 {
        cache.put(&key(n), vec![7; VALUE_BYTES]).unwrap_or_else(|error| panic!("{error}"));
    }
    cache
}

fn full_map() -> ShardedMap {
    let map = ShardedMap::new(KEYS);
    for n in 0..KEYS as u64 {
        map.insert(&key(n), &[7; VALUE_BYTES]);
    }
    map
}

/// One key after the other, and from the start again.
fn round(keys: &[Key]) -> impl FnMut() -> Key {
    let mut at = 0;
    move || {
        at = (at + 1) % keys.len();
        keys[at]
    }
}

/// Keys that were never there before.
fn new_keys() -> impl FnMut() -> Key {
    let mut n = 1 << 40;
    move || {
        n += 1;
        key(n)
    }
}

fn benches(c: &mut Criterion) {
    let drawn = zipf(KEYS, 0.99, DRAWN, 1);
    let hot = [key(5)];
    // Two sets: what misses and new keys put into one would spoil the reads of the other.
    let (cache, map) = (full(), full_map());
    for (name, keys) in [("get hit, hot key", &hot[..]), ("get hit, zipf 0.99", &drawn)] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        let mut next = round(keys);
        group.bench_function("wtcache", |b| b.iter(|| black_box(cache.get(&next()).is_ok_and(|e| e.is_some()))));
        let mut next = round(keys);
        group.bench_function("map", |b| b.iter(|| black_box(map.get(&next()).is_some())));
    }
    {
        let mut group = c.benchmark_group("put, overwrite, zipf 0.99");
        let mut next = round(&drawn);
        group.bench_function("wtcache", |b| b.iter(|| cache.put(&next(), vec![8; VALUE_BYTES]).is_ok()));
        let mut next = round(&drawn);
        group.bench_function("map", |b| b.iter(|| map.insert(&next(), &vec![8; VALUE_BYTES])));
    }
    {
        let mut group = c.benchmark_group("put, new key at capacity");
        let mut next = new_keys();
        group.bench_function("wtcache", |b| b.iter(|| cache.put(&next(), vec![8; VALUE_BYTES]).is_ok()));
        let mut next = new_keys();
        group.bench_function("map", |b| b.iter(|| map.insert(&next(), &vec![8; VALUE_BYTES])));
    }
    {
        let (cache, map) = (full(), full_map());
        let mut group = c.benchmark_group("get miss at capacity, free source");
        let mut next = new_keys();
        group.bench_function("wtcache", |b| b.iter(|| black_box(cache.get(&next()).is_ok())));
        let mut next = new_keys();
        group.bench_function("map", |b| {
            b.iter(|| {
                let key = next();
                if map.get(&key).is_none() {
                    map.insert(&key, &vec![7; VALUE_BYTES]);
                }
            });
        });
    }
}

criterion_group!(core, benches);
criterion_main!(core);
