//! What a read of a key costs that has writes pending above it, and what a caller waits for before a slow origin.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wtcache::{
    ByteCache, Bytes, Call, Confirmed, LoadCx, Loaded, Outcome, PendingWrite, Record, Source, SourceError, WriteCx,
};
use wtcache_benches::VALUE_BYTES;

const HOUR: Duration = Duration::from_secs(3_600);

/// An origin that applies each write after a while, or holds it until it is told to go on.
struct Slow {
    takes: Duration,
    held: Mutex<Option<Receiver<()>>>,
}

impl Source<Bytes> for Slow {
    fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        Ok(Loaded::Found(Record::new(vec![7; VALUE_BYTES])))
    }

    fn put(&self, _: &[u8], value: &[u8], _: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        thread::sleep(self.takes);
        if let Some(held) = self.held.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The end of the bench: it goes on.
            let _ = held.recv();
        }
        Outcome::Applied(Confirmed::Record(Record::new(value.to_vec())))
    }
}

fn cache(takes: Duration) -> (ByteCache, Sender<()>) {
    let (go_on, held) = channel();
    let held = Mutex::new(takes.is_zero().then_some(held));
    let cache = ByteCache::builder(Slow { takes, held }).clean_start(true).build();
    let cache = cache.unwrap_or_else(|error| panic!("{error}"));
    cache.get("k").unwrap_or_else(|error| panic!("{error}"));
    (cache, go_on)
}

fn admitted(write: Result<PendingWrite<Bytes>, wtcache::NotSent>) -> PendingWrite<Bytes> {
    write.unwrap_or_else(|error| panic!("{error}"))
}

/// So many writes wait above the key: the first is at the origin until the sender is dropped.
fn layered(writes: usize, merges: bool) -> (ByteCache, Sender<()>) {
    let (cache, go_on) = cache(Duration::ZERO);
    let call = Call::new().deadline(HOUR);
    for _ in 0..writes {
        let pending = if merges {
            let merge = |old: Option<&[u8]>| Some(old.map_or_else(Vec::new, <[u8]>::to_vec));
            cache.merge_optimistic_with("k", merge, &call)
        } else {
            cache.put_optimistic_with("k", vec![8; VALUE_BYTES], &call)
        };
        drop(admitted(pending));
    }
    (cache, go_on)
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("get beneath pending writes");
    for (name, writes, merges) in
        [("none", 0, false), ("1 put", 1, false), ("8 puts", 8, false), ("1 merge", 1, true), ("8 merges", 8, true)]
    {
        let (cache, _go_on) = layered(writes, merges);
        group.bench_function(name, |b| b.iter(|| black_box(cache.get("k").ok())));
    }
    let (cache, _go_on) = layered(1, false);
    group.bench_function("1 put, confirmed", |b| b.iter(|| black_box(cache.get_confirmed("k").ok())));
    group.finish();
}

/// Until a caller can go on, and a reader sees what was written.
fn perceived(c: &mut Criterion) {
    let mut group = c.benchmark_group("a put before an origin of 50 ms");
    group.sample_size(10);
    let (cache, _) = cache(Duration::from_millis(50));
    group.bench_function("through", |b| {
        b.iter(|| black_box(cache.put("k", vec![8; VALUE_BYTES]).is_ok()));
    });
    group.bench_function("optimistic, admitted and read", |b| {
        b.iter_custom(|rounds| {
            let mut all = Duration::ZERO;
            for _ in 0..rounds {
                let begun = std::time::Instant::now();
                let pending = admitted(cache.put_optimistic("k", vec![8; VALUE_BYTES]));
                black_box(cache.get("k").ok());
                all += begun.elapsed();
                drop(pending.wait());
            }
            all
        });
    });
    group.finish();
}

criterion_group!(benches, read, perceived);
criterion_main!(benches);
