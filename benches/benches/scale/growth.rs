//! What an operation and an entry cost in caches of ten thousand to ten million small entries, each in a process of its own, so that
//! the memory of one is not that of another.
//!
//! Keys are of 24 bytes, values too; the source costs nothing.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use wtcache::{
    ByteCache, Bytes, Confirmed, Declared, Lifetime, LoadCx, Loaded, Outcome, Record, Source, SourceError, WriteCx,
};
use wtcache_benches::figures::{available, middle, resident, sorted};
use wtcache_benches::{Key, Table, key, zipf};

/// The first argument of the process that measures one size.
pub(crate) const CHILD: &str = "--entries";

const SIZES: [usize; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const VALUE: [u8; 24] = [7; 24];
/// More than an entry was ever seen to take, with its share of tables and ghosts, and of the keys that are drawn.
const AN_ENTRY_NEEDS: u64 = 500;
/// What is to be left for others.
const SPARE: u64 = 1 << 30;
const ROUNDS: usize = 5;
/// Room beyond the entries that are read: so none of them is evicted, however the parts of the cache share it.
const ROOM_BEYOND: usize = 8;

/// The table of all sizes up to `largest`.
///
/// # Errors
/// There is too little memory, or something else happened than was meant to.
pub(crate) fn table(largest: usize, operations: usize) -> Result<String, String> {
    let sizes: Vec<usize> = SIZES.into_iter().filter(|size| *size <= largest).collect();
    let need = sizes.iter().max().ok_or(format!("{largest} entries are fewer than the smallest size, {}", SIZES[0]))?;
    let (need, there) = (*need as u64 * AN_ENTRY_NEEDS + SPARE, available()?);
    if need > there {
        return Err(format!(
            "{} MB of memory are needed and {} MB are free; fewer entries: --largest N",
            need >> 20,
            there >> 20
        ));
    }
    let head = ["entries", "hit, Zipf 0.99", "hit, uniform", "overwriting put", "put of a new key, full", "bytes"];
    let mut table = Table::new(head);
    for size in sizes {
        let figures = measured(size, operations)?;
        eprintln!("scale: {size} entries: {}", figures.join(", "));
        table.rows.push([size.to_string()].into_iter().chain(figures).collect());
    }
    Ok(table.markdown())
}

/// The figures of one size, by a process of its own.
fn measured(size: usize, operations: usize) -> Result<Vec<String>, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut child = Command::new(program);
    child.args([CHILD, &size.to_string(), &operations.to_string()]);
    let output = child.output().map_err(|error| format!("{child:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{child:?}: {} {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let figures: Vec<String> = String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect();
    if figures.len() == 5 { Ok(figures) } else { Err(format!("{child:?} said something else: {figures:?}")) }
}

/// An origin that costs nothing: it has every record, applies every write and counts the loads.
struct Free(Arc<AtomicU64>);

impl Source<Bytes> for Free {
    fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        // Relaxed: a counter that guards no other memory.
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Loaded::Found(Record::new(VALUE.to_vec())))
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

/// The process that measures one size. Prints the five figures.
pub(crate) fn child(entries: &str, operations: &str) -> Result<(), String> {
    let number = |word: &str| word.parse::<usize>().map_err(|_| format!("{word:?} is no number"));
    let (entries, operations) = (number(entries)?, number(operations)?);
    let loads = Arc::new(AtomicU64::new(0));
    let capacity = entries + entries / ROOM_BEYOND;
    let before = resident()?;
    let cache = ByteCache::builder(Free(Arc::clone(&loads))).capacity(capacity as u64).weigher(|_, _| 1);
    let cache = cache.clean_start(true).build().map_err(|error| error.to_string())?;
    let put = |key: &Key| cache.put(key, VALUE.to_vec()).map(drop).map_err(|error| error.to_string());
    for n in 0..entries as u64 {
        put(&key(n))?;
    }
    let bytes = resident()?.saturating_sub(before) as f64 / entries as f64;
    let held = cache.stats().entries;
    if held != entries as u64 {
        return Err(format!("{held} entries are resident, not {entries}"));
    }
    let hit = |key: &Key| black_box(cache.get(key)).map(drop).map_err(|error| error.to_string());

    let drawn = zipf(entries, 0.99, operations, 1);
    let hits = median_ns(&drawn, hit)?;
    let puts = median_ns(&drawn, put)?;
    // Without a skew, every key is as likely as any other.
    let uniform = median_ns(&zipf(entries, 0.0, operations, 2), hit)?;
    match loads.load(Ordering::Relaxed) {
        0 => {}
        loads => return Err(format!("{loads} reads were no hits")),
    }

    // As many new keys as there is room for, so that then each new one takes the place of another.
    let mut new = entries as u64;
    let fill = capacity / ROOM_BEYOND + operations;
    for n in new..new + fill as u64 {
        put(&key(n))?;
    }
    new += fill as u64;
    let evicted = cache.stats().evicted;
    let fresh: Vec<Key> = (0..(operations * ROUNDS) as u64).map(|n| key(new + n)).collect();
    let mut times = Vec::new();
    for keys in fresh.chunks(operations) {
        times.push(ns_each(keys, put)?);
    }
    let gone = cache.stats().evicted - evicted;
    if gone < fresh.len() as u64 {
        return Err(format!("{} new keys took the place of {gone} others only", fresh.len()));
    }
    println!("{hits:.0} {uniform:.0} {puts:.0} {:.0} {bytes:.0}", middle(&sorted(times)));
    Ok(())
}

/// Nanoseconds that `operation` takes on each of `keys`: the median of the rounds, after one that warms up.
fn median_ns(keys: &[Key], operation: impl Fn(&Key) -> Result<(), String>) -> Result<f64, String> {
    ns_each(keys, &operation)?;
    let times: Vec<f64> = (0..ROUNDS).map(|_| ns_each(keys, &operation)).collect::<Result<_, _>>()?;
    Ok(middle(&sorted(times)))
}

fn ns_each(keys: &[Key], operation: impl Fn(&Key) -> Result<(), String>) -> Result<f64, String> {
    let begun = Instant::now();
    keys.iter().try_for_each(operation)?;
    Ok(begun.elapsed().as_secs_f64() * 1e9 / keys.len() as f64)
}
