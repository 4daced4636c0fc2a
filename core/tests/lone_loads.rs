//! Loads that nobody comes by, and those that somebody does: the reader is not to know which his was.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use wtcache::{Call, How};
use wtcache_testkit::{Op, Script, When};

/// How a read of `k` ended that was a miss.
fn read(cache: &wtcache::Cache<String, String>, key: &str) -> (Option<String>, How) {
    let read = cache.read(key, &Call::new()).unwrap();
    (read.entry.map(|entry| entry.value().clone()), read.how)
}

/// More than a shard notes.
#[test]
fn g2_each_of_many_loads_at_once_is_joined() {
    const KEYS: usize = 80;
    let w = world_with(Script::new(), |builder| builder.shards(1));
    let keys: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
    let mut gates = Vec::new();
    let leaders: Vec<_> = keys
        .iter()
        .map(|key| {
            w.script.set(key, key);
            let (gate, mine) = (w.script.hold(Op::Get, key, When::After), key.clone());
            let leader = w.start(move |cache| read(&cache, &mine));
            gate.wait_arrived();
            gates.push(gate);
            leader
        })
        .collect();
    let joiners: Vec<_> = keys
        .iter()
        .map(|key| {
            let mine = key.clone();
            w.until_it_waits(move |cache| read(&cache, &mine))
        })
        .collect();
    gates.into_iter().for_each(wtcache_testkit::Gate::release);
    for ((key, leader), joiner) in keys.iter().zip(leaders).zip(joiners) {
        assert_eq!(leader.join(), (Some(key.clone()), How::Loaded { kept: true }));
        assert_eq!(joiner.join(), (Some(key.clone()), How::Joined));
        assert_eq!(w.loads(key), 1);
    }
    let stats = w.cache.stats();
    assert_eq!((stats.loads, stats.joined, stats.entries), (KEYS as u64, KEYS as u64, KEYS as u64));
}

/// The older one, whose fence has moved, is out beside the younger one, of which nobody knows yet.
#[test]
fn g4_two_loads_of_one_key_end_each_for_itself() {
    for older_first in [true, false] {
        let w = world_with(Script::new(), |builder| builder.shards(1));
        w.script.set("k", "old");
        let older = w.script.hold(Op::Get, "k", When::After);
        let first = w.start(|cache| read(&cache, "k"));
        older.wait_arrived();
        w.script.set("k", "new");
        w.cache.invalidate("k");
        let younger = w.script.hold(Op::Get, "k", When::After);
        let second = w.start(|cache| read(&cache, "k"));
        younger.wait_arrived();
        let new = Some("new".to_owned());
        if older_first {
            older.release();
            assert!(w.clock.wait_for_alarms(1), "it looks again, and joins the younger one");
            younger.release();
        } else {
            younger.release();
            assert_eq!(w.start(|cache| text(cache.get("k"))).join(), new);
            older.release();
        }
        assert_eq!(second.join(), (new.clone(), How::Loaded { kept: true }));
        assert_eq!(first.join(), (new, if older_first { How::Joined } else { How::Hit }));
        assert_eq!((w.loads("k"), w.cache.stats().loads_detached), (2, 1));
    }
}

/// In a cache that is full, each load takes the place of an entry, and counts that.
#[test]
fn b1_what_loads_brought_takes_no_more_room_than_there_is_and_each_that_went_is_counted() {
    for shards in [1, 8] {
        let w = world_with(Script::new(), |builder| builder.capacity(100).shards(shards));
        for n in 0..1_000 {
            let key = format!("k{n}");
            w.script.set(&key, "v");
            assert_eq!(read(&w.cache, &key), (Some("v".to_owned()), How::Loaded { kept: true }));
        }
        let stats = w.cache.stats();
        assert_eq!((stats.loads, stats.entries, stats.weight, stats.evicted), (1_000, 100, 100, 900), "{shards}");
    }
}
