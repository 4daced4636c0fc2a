//! Typed and byte caches behave alike, and handles stay what they are.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;

use shelf::{Fns, SECOND, seed};
use wtcache::{
    ByteCache, Bytes, Cache, CacheOf, Call, Change, Confirmed, Entry, Failure, Layout, Lookup, NotSent, Outcome,
    Record, Rejection, SourceError, Typed, Version, WriteError,
};
use wtcache::{Condition, Loaded};
use wtcache_testkit::{Dice, ManualClock};

type Boxed = Typed<Vec<u8>, Vec<u8>>;

/// An origin of bytes for either layout, with a version that counts.
fn origin<L>() -> Fns<L>
where
    L: Layout<Value = Vec<u8>>,
    L::Key: AsRef<[u8]>,
    L::View: AsRef<[u8]>,
{
    type Records = Arc<Mutex<(u64, HashMap<Vec<u8>, (Vec<u8>, u64)>)>>;
    let records = Records::default();
    let (get, put, delete) = (Arc::clone(&records), Arc::clone(&records), records);
    let record = |value: &[u8], version: u64| {
        // Every third record has no version, every third an empty one.
        let record = Record::new(value.to_vec());
        match version % 3 {
            0 => record,
            1 => record.version(Version::new([]).unwrap()),
            _ => record.version(Version::new(version.to_be_bytes()).unwrap()),
        }
    };
    Fns::get(move |key: &L::Key, _| {
        let records = get.lock().unwrap();
        Ok(match records.1.get(key.as_ref()) {
            Some((value, version)) => Loaded::Found(record(value, *version)),
            None => Loaded::Absent,
        })
    })
    .put(move |key: &L::Key, value: &L::View, cx| {
        let mut records = put.lock().unwrap();
        if cx.condition() == Some(&Condition::Absent) && records.1.contains_key(key.as_ref()) {
            return Outcome::Rejected(Rejection::stale(SourceError::new(Failure::Refused, "it is there")));
        }
        records.0 += 1;
        let version = records.0;
        records.1.insert(key.as_ref().to_vec(), (value.as_ref().to_vec(), version));
        match version % 5 {
            0 => Outcome::Unknown(shelf::broken()),
            1 => Outcome::Applied(Confirmed::Unseen),
            _ => Outcome::Applied(Confirmed::Record(record(value.as_ref(), version))),
        }
    })
    .delete(move |key: &L::Key, _| {
        delete.lock().unwrap().1.remove(key.as_ref());
        Outcome::Applied(())
    })
}

fn told<L: Layout>(entry: Option<Entry<L>>) -> String
where
    L::Key: AsRef<[u8]>,
    L::View: AsRef<[u8]>,
{
    entry.map_or("none".to_owned(), |e| format!("{:?}={:?}@{:?}", e.key().as_ref(), e.value().as_ref(), e.version()))
}

/// What a seeded run of operations shows.
fn story<L>(cache: &CacheOf<L>, clock: &ManualClock, seed: u64) -> Vec<String>
where
    L: Layout<Value = Vec<u8>>,
    L::Key: AsRef<[u8]>,
    L::View: AsRef<[u8]>,
    [u8]: Lookup<L>,
{
    let mut dice = Dice::new(seed);
    let keys: [&[u8]; 4] = [b"", b"a", b"ab", &[0xFF; 100]];
    (0..400)
        .map(|_| {
            let key = keys[dice.below(4) as usize];
            match dice.below(8) {
                0 => format!("get {}", told(cache.get(key).unwrap())),
                1 => format!("peek {}", told(cache.peek(key))),
                2 => format!("delete {:?}", cache.delete(key).map(|w| w.kept).is_ok()),
                3 => {
                    cache.invalidate(key);
                    String::new()
                }
                4 => {
                    clock.advance(SECOND);
                    String::new()
                }
                5 => {
                    let found = cache.find("len", &[3]).unwrap();
                    let mut entries: Vec<_> = found.entries.into_iter().map(|e| told(Some(e))).collect();
                    entries.sort();
                    format!("find {entries:?} {}", found.expired)
                }
                _ => {
                    let value = vec![7; dice.below(5) as usize];
                    match cache.put(key, value) {
                        Ok(written) => format!("put {} {}", told(written.entry), written.kept),
                        Err(error) => format!("put {error}"),
                    }
                }
            }
        })
        .collect()
}

#[test]
fn typed_and_byte_caches_tell_the_same_story() {
    let seed = seed();
    println!("WTCACHE_SEED={seed}");
    for round in 0..20 {
        let (one, two) = (ManualClock::new(), ManualClock::new());
        let typed: Cache<Vec<u8>, Vec<u8>> = Cache::builder(origin::<Boxed>())
            .clock(one.shared())
            .lifetime(3 * SECOND)
            .clean_start(true)
            .indexes(["len"], |_, value, rows| rows.add(0, &[value.len() as u8]))
            .build()
            .unwrap();
        let bytes = ByteCache::builder(origin::<Bytes>())
            .clock(two.shared())
            .lifetime(3 * SECOND)
            .clean_start(true)
            .indexes(["len"], |_, value, rows| rows.add(0, &[value.len() as u8]))
            .build()
            .unwrap();
        let stories = (story(&typed, &one, seed + round), story(&bytes, &two, seed + round));
        assert_eq!(stories.0, stories.1);
        let (mut a, mut b) = (typed.stats(), bytes.stats());
        (a.weight, b.weight) = (0, 0);
        assert_eq!(a, b);
    }
}

#[test]
fn keys_and_values_of_no_length_are_keys_and_values() {
    let cache = ByteCache::builder(origin::<Bytes>()).build().unwrap();
    assert!(cache.get("").unwrap().is_none());
    cache.put("", Vec::new()).unwrap();
    let entry = cache.get("").unwrap().unwrap();
    assert_eq!((entry.key(), entry.value()), (&b""[..], &b""[..]));
    cache.delete("").unwrap();
    assert!(cache.get("").unwrap().is_none());
}

#[test]
fn a_value_of_a_mebibyte_comes_back_whole() {
    let value: Vec<u8> = (0..1u32 << 20).map(|i| (i % 251) as u8).collect();
    let cache = ByteCache::builder(origin::<Bytes>()).build().unwrap();
    let stored = cache.put("big", value.clone());
    assert!(stored.is_ok());
    assert_eq!(cache.get("big").unwrap().unwrap().value(), &value[..]);
    cache.invalidate("big");
    assert_eq!(cache.get("big").unwrap().unwrap().value(), &value[..]);
}

/// Committed by hand, it was not checked, and making the record panicked.
#[test]
fn a_value_larger_than_an_entry_can_be_is_refused_or_counts_as_unseen() {
    // Zeroed pages that nobody touches.
    let huge = || vec![0u8; 1 << 32];
    let cache = ByteCache::builder(origin::<Bytes>()).build().unwrap();
    let put = cache.put("big", huge());
    assert!(matches!(put, Err(WriteError::NotSent(NotSent::ValueTooLarge(len))) if len == 1 << 32));
    let update = cache.update("big", |_| Ok(Change::Put(huge())));
    assert!(matches!(update, Err(WriteError::NotSent(NotSent::ValueTooLarge(len))) if len == 1 << 32));
    let sent = cache.prepare("big", &Call::new()).unwrap().send().unwrap();
    let written = sent.commit(Some(Record::new(huge())));
    assert!(written.entry.is_none() && !written.kept);
    assert_eq!(cache.stats().in_doubt, 0);
}

#[test]
fn versions_are_bytes_as_the_origin_gave_them() {
    let versions: [&[u8]; 4] = [b"", b"\0\xFF", b"W/\"1\"", &[9; 65_535]];
    for version in versions {
        let given = Version::new(version).unwrap();
        let (one, two) = (given.clone(), given);
        let bytes = Fns::<Bytes>::get(move |_, _| Ok(Loaded::Found(Record::new(vec![1]).version(one.clone()))));
        let typed = Fns::<Boxed>::get(move |_, _| Ok(Loaded::Found(Record::new(vec![1]).version(two.clone()))));
        let (bytes, typed) = (ByteCache::builder(bytes).build().unwrap(), Cache::builder(typed).build().unwrap());
        assert_eq!(bytes.get("k").unwrap().unwrap().version(), Some(version));
        assert_eq!(typed.get(&b"k"[..]).unwrap().unwrap().version(), Some(version));
    }
    assert!(Version::new([9; 65_536]).is_none());
}

#[test]
fn a_record_is_shown_with_its_parts() {
    let version = Version::new(b"W/\"1\"").unwrap();
    assert_eq!(format!("{version:?}"), r#"Version(W/\"1\")"#);
    let source = Fns::<Typed<u32, u64>>::get(move |_, _| Ok(Loaded::Found(Record::new(7).version(version.clone()))));
    let cache = Cache::builder(source).build().unwrap();
    let shown = format!("{:?}", cache.get(&5).unwrap().unwrap());
    assert!(shown.starts_with("Entry { key: 5, value: 7, version: Some("), "{shown}");
}

#[test]
fn handles_outlive_the_cache_on_other_threads() {
    fn shared<T: Send + Sync + 'static>(handle: T) -> T {
        handle
    }
    let typed = Cache::builder(origin::<Boxed>()).build().unwrap();
    let bytes = ByteCache::builder(origin::<Bytes>()).build().unwrap();
    for _ in 0..2 {
        // The first write's record is unseen.
        typed.put(&b"k"[..], vec![1, 2]).unwrap();
        bytes.put("k", vec![1, 2]).unwrap();
    }
    let one = shared(typed.get(&b"k"[..]).unwrap().unwrap());
    let two = shared(bytes.get("k").unwrap().unwrap());
    drop((shared(typed), shared(bytes)));
    let ends: Vec<_> = (0..2)
        .map(|_| {
            let (one, two) = (one.clone(), two.clone());
            thread::spawn(move || assert_eq!((one.value().as_slice(), two.value()), (&[1, 2][..], &[1, 2][..])))
        })
        .collect();
    drop((one, two));
    ends.into_iter().for_each(|end| end.join().unwrap());
}
