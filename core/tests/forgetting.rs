//! Chapter 7 of the contract, for prefixes, patterns and tags.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::*;
use wtcache::{Builder, ByteCache, Cache, Call, Forgotten, How, LoadCx, Loaded, Record, Source, SourceError};
use wtcache_testkit::{Does, Op, Script, When};

/// With and without an index of keys.
fn worlds() -> [World; 2] {
    [world_with(Script::new(), |b| b.shards(4)), world_with(Script::new(), |b| b.shards(4).key_index(true))]
}

/// Values are "tag tag: what it is"; the words before the colon are the tags.
fn tagging(builder: Builder<Texts>) -> Builder<Texts> {
    builder.tags(|_, value, tags| {
        let words = value.split_once(':').map_or("", |(words, _)| words);
        words.split_whitespace().for_each(|word| tags.add(word));
    })
}

fn tagged_world() -> World {
    world_with(Script::new(), tagging)
}

const KEYS: [&str; 7] = ["", "user", "user:1", "user:1:cart", "user:2", "user:2:cart", "uses:1"];

fn resident(w: &World) -> Vec<&'static str> {
    KEYS.into_iter().filter(|key| w.peek(key).is_some()).collect()
}

fn load_all(w: &World) {
    for key in KEYS {
        w.script.set(key, "here");
        assert_eq!(w.get(key).as_deref(), Some("here"));
    }
}

#[test]
fn i1_a_prefix_takes_the_keys_that_begin_with_it_and_no_others() {
    for w in worlds() {
        for (prefix, stays) in [
            ("user:1", vec!["", "user", "user:2", "user:2:cart", "uses:1"]),
            ("user", vec!["", "uses:1"]),
            ("user:1:cart:x", KEYS.to_vec()),
            ("", vec![]),
        ] {
            load_all(&w);
            let forgotten = w.cache.invalidate_prefix(prefix);
            assert_eq!(resident(&w), stays, "{prefix:?}");
            assert_eq!(forgotten.entries as usize, KEYS.len() - stays.len(), "{prefix:?}");
        }
        assert_eq!((w.cache.stats().invalidated, w.cache.stats().entries), (4, 0));
    }
}

#[test]
fn i1_a_pattern_takes_the_keys_that_match_it_and_no_others() {
    for w in worlds() {
        for (pattern, goes) in [
            ("user:*", vec!["user:1", "user:1:cart", "user:2", "user:2:cart"]),
            ("user:*:cart", vec!["user:1:cart", "user:2:cart"]),
            ("*:1", vec!["user:1", "uses:1"]),
            ("user:1", vec!["user:1"]),
            ("use*:1*", vec!["user:1", "user:1:cart", "uses:1"]),
            (r"user:\*", vec![]),
            ("*", KEYS.to_vec()),
        ] {
            load_all(&w);
            let forgotten = w.cache.invalidate_pattern(pattern).expect("a pattern");
            let stays: Vec<_> = KEYS.into_iter().filter(|key| !goes.contains(key)).collect();
            assert_eq!((resident(&w), forgotten.entries as usize), (stays, goes.len()), "{pattern:?}");
        }
    }
}

#[test]
fn i1_a_pattern_that_is_none_forgets_nothing() {
    for w in worlds() {
        load_all(&w);
        let error = w.cache.invalidate_pattern(r"user:\1").expect_err("no pattern");
        assert_eq!(error.to_string(), r#"pattern, byte 5: a backslash stands before a star only, not before '1'"#);
        assert_eq!(error.at, 5);
        assert_eq!(resident(&w), KEYS);
    }
}

#[test]
fn i1_the_separator_is_an_option() {
    let w = world_with(Script::new(), |b| b.separator(b'/'));
    for key in ["a/b/c", "a/b:x/c", "a:b:c"] {
        w.seed(key, "here");
    }
    assert_eq!(w.cache.invalidate_pattern("a/*/c").expect("a pattern").entries, 2);
    assert!(w.peek("a:b:c").is_some());
    assert_eq!(w.cache.invalidate_pattern("a*c").expect("a pattern").entries, 1);
    for separator in [b'*', b'\\'] {
        let refused = Cache::builder(Script::new()).separator(separator).build();
        let refused: Result<Cache<String, String>, _> = refused;
        assert_eq!(refused.err().map(|error| error.option), Some("separator"));
    }
}

#[test]
fn i1_absences_and_expired_entries_go_too() {
    for key_index in [false, true] {
        let w = world_with(Script::new(), |b| b.lifetime(secs(1)).key_index(key_index));
        w.seed("a:1", "here");
        w.clock.advance(secs(1));
        assert_eq!(w.get("a:2"), None);
        assert_eq!(w.cache.invalidate_prefix("a:").entries, 2);
        w.script.set("a:2", "made");
        assert_eq!(w.get("a:2").as_deref(), Some("made"));
    }
}

#[test]
fn i1_byte_caches_forget_by_prefix_and_pattern() {
    for key_index in [false, true] {
        let script = Script::new();
        let cache = ByteCache::builder(script.clone()).clean_start(true).key_index(key_index).build().expect("options");
        for key in ["a:1", "a:2", "b:1"] {
            script.set(key, "here");
            cache.get(key).expect("loaded");
        }
        assert_eq!(cache.invalidate_prefix([b'a', b':', b'1']).entries, 1);
        assert_eq!(cache.invalidate_pattern("*:1").expect("a pattern").entries, 1);
        assert!(cache.peek("a:1").is_none() && cache.peek("a:2").is_some() && cache.peek("b:1").is_none());
    }
}

/// A call that forgets keys.
type Forget = fn(&Cache<String, String>) -> Forgotten;

/// The ways to forget "k" with others, in a world where values are tagged "t".
fn ways() -> [(&'static str, Forget); 4] {
    [
        ("prefix", |cache| cache.invalidate_prefix("k")),
        ("pattern", |cache| cache.invalidate_pattern("k*").expect("a pattern")),
        ("free pattern", |cache| cache.invalidate_pattern("*k").expect("a pattern")),
        ("tag", |cache| cache.invalidate_tag("t")),
    ]
}

#[test]
fn i1_a_load_in_flight_that_matches_is_neither_returned_nor_retained() {
    for (name, forget) in ways() {
        let w = tagged_world();
        w.script.set("k", "t: old");
        let gate = w.script.hold(Op::Get, "k", When::After);
        let leader = w.start(|cache| cache.get("k"));
        gate.wait_arrived();
        let waiter = w.until_it_waits(|cache| cache.get("k"));
        w.script.set("k", "t: new");
        assert_eq!(forget(&w.cache).entries, 0, "{name}");
        gate.release();
        assert_eq!(text(leader.join()).as_deref(), Some("t: new"), "{name}");
        assert_eq!(text(waiter.join()).as_deref(), Some("t: new"), "{name}");
        assert_eq!(w.peek("k").as_deref(), Some("t: new"), "{name}");
        assert_eq!(w.loads("k"), 2, "{name}");
    }
}

#[test]
fn g3_a_reader_after_the_invalidation_never_gets_a_load_that_began_before_it() {
    for (name, forget) in ways() {
        let w = tagged_world();
        w.script.set("k", "t: old");
        let gate = w.script.hold(Op::Get, "k", When::After);
        let leader = w.start(|cache| cache.get("k"));
        gate.wait_arrived();
        w.script.set("k", "t: new");
        forget(&w.cache);
        // By prefix and pattern the fence has moved, and it leads a load. What the old load has for tags nobody knows yet.
        let reader =
            if name == "tag" { w.until_it_waits(|cache| cache.get("k")) } else { w.start(|cache| cache.get("k")) };
        if name != "tag" {
            assert_eq!(text(reader.join()).as_deref(), Some("t: new"), "{name}");
            gate.release();
        } else {
            gate.release();
            assert_eq!(text(reader.join()).as_deref(), Some("t: new"), "{name}");
        }
        assert_eq!(text(leader.join()).as_deref(), Some("t: new"), "{name}");
    }
}

#[test]
fn i1_a_load_in_flight_that_does_not_match_is_retained() {
    let ways: [Forget; 3] = [
        |cache| cache.invalidate_prefix("kk"),
        |cache| cache.invalidate_pattern("*:k").expect("a pattern"),
        |cache| cache.invalidate_tag("u"),
    ];
    for forget in ways {
        let w = tagged_world();
        w.script.set("k", "t: old");
        let gate = w.script.hold(Op::Get, "k", When::After);
        let leader = w.start(|cache| cache.read("k", &Call::new()));
        gate.wait_arrived();
        forget(&w.cache);
        gate.release();
        assert_eq!(leader.join().expect("loaded").how, How::Loaded { kept: true });
        assert_eq!(w.cache.stats().loads_detached, 0);
    }
}

#[test]
fn i1_a_write_in_flight_that_matches_is_applied_and_not_retained() {
    for (name, forget) in ways() {
        let w = tagged_world();
        let gate = w.script.hold(Op::Put, "k", When::After);
        let writer = w.start(|cache| cache.put("k", "t: mine".to_owned()).map(|written| written.kept));
        gate.wait_arrived();
        forget(&w.cache);
        gate.release();
        assert!(!writer.join().expect("applied"), "{name}");
        assert_eq!(w.peek("k"), None, "{name}");
        w.assert_settled("k");
    }
}

#[test]
fn i1_a_write_that_takes_the_tag_away_is_not_retained_either() {
    // The entry had the tag; somebody says that what has it changed, while a write of it is out.
    let w = tagged_world();
    w.seed("k", "t: old");
    let gate = w.script.hold(Op::Put, "k", When::After);
    let writer = w.start(|cache| cache.put("k", "mine".to_owned()).map(|written| written.kept));
    gate.wait_arrived();
    assert_eq!(w.cache.invalidate_tag("t").entries, 1);
    gate.release();
    assert!(!writer.join().expect("applied"));
    assert_eq!(w.peek("k"), None);
}

#[test]
fn i1_what_begins_after_the_invalidation_is_retained() {
    for (_, forget) in ways() {
        let w = tagged_world();
        w.script.set("slow", "t: slow");
        let gate = w.script.hold(Op::Get, "slow", When::Before);
        let slow = w.start(|cache| cache.read("slow", &Call::new()));
        gate.wait_arrived();
        forget(&w.cache);
        w.seed("k", "t: written");
        w.script.set("k2", "t: loaded");
        assert_eq!(w.get("k2").as_deref(), Some("t: loaded"));
        assert_eq!(w.peek("k2").as_deref(), Some("t: loaded"));
        gate.release();
        slow.join().expect("loaded");
    }
}

#[test]
fn i1_turns_and_doubts_stay() {
    for (name, forget) in ways() {
        let w = tagged_world();
        let prepared = w.cache.prepare("k", &Call::new()).expect("the turn is free");
        forget(&w.cache);
        let kept = prepared.send().expect("still its turn").commit(Some(Record::new("t: one".to_owned()))).kept;
        assert!(kept, "{name}: sent after the invalidation");
        w.doubt("k", "t: lost", Does::Unknown);
        forget(&w.cache);
        assert_eq!(w.cache.stats().in_doubt, 1, "{name}");
        w.assert_not_retained("k");
        w.clock.advance(WINDOW);
        w.assert_settled("k");
    }
}

#[test]
fn i1_a_tag_takes_all_records_that_have_it_and_no_others() {
    let w = tagged_world();
    for (key, value) in [("a", "red: x"), ("b", "red blue: x"), ("c", "blue: x"), ("d", "x"), ("e", "red red: x")] {
        w.seed(key, value);
    }
    assert_eq!(w.get("absent"), None);
    assert_eq!(w.cache.invalidate_tag("re"), Forgotten::default());
    let forgotten = w.cache.invalidate_tag("red");
    assert_eq!((forgotten.entries, forgotten.scanned), (3, false));
    assert_eq!(["a", "b", "c", "d", "e"].map(|key| w.peek(key).is_some()), [false, false, true, true, false]);
    assert_eq!(w.cache.invalidate_tag("red").entries, 0, "no row is left");
    assert_eq!(w.cache.invalidate_tag("blue").entries, 1);
}

#[test]
fn i1_a_record_that_takes_the_place_of_another_has_its_own_tags() {
    let w = tagged_world();
    w.seed("k", "red: x");
    w.seed("k", "blue: x");
    assert_eq!(w.cache.invalidate_tag("red").entries, 0);
    assert_eq!(w.cache.invalidate_tag("blue").entries, 1);
}

/// Gives every record the tags of its origin.
struct Tagged;

impl Source<Texts> for Tagged {
    fn get(&self, key: &String, cx: &LoadCx<'_, Texts>) -> Result<Loaded<String>, SourceError> {
        if cx.replaced().is_some() {
            return Ok(Loaded::Unchanged(wtcache::Lifetime::Default));
        }
        Ok(Loaded::Found(Record::new(key.clone()).tags(["all", key]).tags([b"raw".as_slice()])))
    }
}

#[test]
fn i1_the_source_gives_tags_beside_those_of_the_option() {
    let cache = Cache::builder(Tagged).tags(|key: &String, _: &String, tags| tags.add(&key[..1])).clean_start(true);
    let cache = cache.build().expect("options");
    for (tag, entries) in [("all", 2), ("raw", 2), ("ab", 1), ("a", 1), ("b", 1), ("c", 0)] {
        for key in ["ab", "bc"] {
            cache.get(key).expect("loaded");
        }
        assert_eq!(cache.invalidate_tag(tag).entries, entries, "{tag}");
    }
}

#[test]
fn i1_a_record_confirmed_unchanged_is_held_against_the_tags_that_it_had() {
    let w = world_with(Script::new(), |b| tagging(b).lifetime(secs(1)));
    w.seed("k", "t: old");
    w.clock.advance(secs(1));
    w.script.next(Op::Get, "k", Does::Unchanged);
    let gate = w.script.hold(Op::Get, "k", When::After);
    let leader = w.start(|cache| cache.get("k"));
    gate.wait_arrived();
    w.script.set("k", "t: new");
    w.cache.invalidate_tag("t");
    gate.release();
    assert_eq!(text(leader.join()).as_deref(), Some("t: new"));
}

#[test]
fn i1_with_more_tags_than_are_remembered_nothing_tagged_that_runs_is_retained() {
    let w = world_with(Script::new(), |b| tagging(b).tag_memory(2));
    for (key, value) in [("k", "t: one"), ("plain", "one")] {
        w.script.set(key, value);
    }
    let gates = ["k", "plain"].map(|key| w.script.hold(Op::Get, key, When::Before));
    let loads = ["k", "plain"].map(|key| w.start(move |cache| cache.read(key, &Call::new())));
    gates.iter().for_each(wtcache_testkit::Gate::wait_arrived);
    for tag in ["a", "b", "c"] {
        w.cache.invalidate_tag(tag);
    }
    gates.into_iter().for_each(wtcache_testkit::Gate::release);
    let [tagged, plain] = loads.map(|load| load.join().expect("loaded").how);
    assert_eq!((tagged, w.loads("k")), (How::Loaded { kept: true }, 2), "it was loaded again");
    assert_eq!((plain, w.loads("plain")), (How::Loaded { kept: true }, 1), "what has no tag is held against none");
}

#[test]
fn i2_prefixes_scan_only_without_an_index_of_keys_and_free_patterns_always() {
    for (w, indexed) in worlds().into_iter().zip([false, true]) {
        load_all(&w);
        assert_eq!(w.cache.invalidate_prefix("nobody").scanned, !indexed);
        for (pattern, scans) in [("nobody*", !indexed), ("nobody:*:x", true), ("nobody", true), ("*x", true)] {
            assert_eq!(w.cache.invalidate_pattern(pattern).expect("a pattern").scanned, scans, "{pattern}");
        }
        assert!(!w.cache.invalidate_tag("nobody").scanned);
    }
}

#[test]
fn i2_an_index_of_keys_holds_what_is_resident_after_every_operation() {
    // Puts, deletes, evictions and invalidations; what each prefix takes is what peeks see.
    let w = world_with(Script::new(), |b| b.key_index(true).capacity(40).shards(2).seed(7));
    let mut dice = 7_u64;
    let mut roll = |n: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % n
    };
    let all: Vec<String> = (0..8).flat_map(|a| (0..8).map(move |b| format!("{a}:{b}"))).collect();
    for _ in 0..2_000 {
        let key = &all[roll(64) as usize];
        match roll(10) {
            0 => drop(w.cache.delete(key).expect("applied")),
            1 => w.cache.invalidate(key),
            2 => {
                let prefix = &key[..2];
                let here: BTreeMap<&String, bool> = all.iter().map(|key| (key, w.cache.peek(key).is_some())).collect();
                // An absence that is remembered is resident, too; no delete here leaves one, and no load is made.
                let meant = here.iter().filter(|(key, here)| **here && key.starts_with(prefix)).count();
                assert_eq!(w.cache.invalidate_prefix(prefix).entries as usize, meant);
                for (key, was) in here {
                    assert_eq!(w.cache.peek(key).is_some(), was && !key.starts_with(prefix), "{key}");
                }
            }
            _ => w.put(key, "here").expect("applied"),
        }
    }
    assert!(w.cache.stats().evicted > 0);
    let entries = w.cache.stats().entries;
    assert_eq!(w.cache.invalidate_prefix("").entries, entries);
}

/// Each load makes a value that only the cache holds.
struct Values;

impl Source<wtcache::Typed<String, Arc<()>>> for Values {
    fn get(&self, _: &String, _: &LoadCx<'_, wtcache::Typed<String, Arc<()>>>) -> Result<Loaded<Arc<()>>, SourceError> {
        Ok(Loaded::Found(Record::new(Arc::new(()))))
    }
}

#[test]
fn i2_an_index_of_keys_keeps_no_value_that_has_left() {
    let cache =
        Cache::builder(Values).key_index(true).shards(1).capacity(2).clean_start(true).build().expect("options");
    let loaded = |key: &str| {
        let entry = cache.get(key).expect("loaded").expect("found");
        Arc::downgrade(entry.value())
    };
    let first = loaded("a");
    let second = loaded("b");
    cache.invalidate("a");
    assert!(first.upgrade().is_none() && second.upgrade().is_some(), "it left by itself");
    let prepared = cache.prepare("b", &Call::new()).expect("free").send().expect("in time");
    prepared.commit(Some(Record::new(Arc::new(()))));
    assert!(second.upgrade().is_none(), "another took its place");
    let all = ["c", "d", "e"].map(loaded);
    assert_eq!(all.iter().filter(|value| value.upgrade().is_some()).count(), 2, "one was evicted");
    cache.invalidate_prefix("");
    assert!(all.iter().all(|value| value.upgrade().is_none()));
}

#[test]
fn b5_a_panic_in_what_finds_tags_is_contained_and_counted() {
    let w = world_with(Script::new(), |b| b.tags(|_, value, _| assert!(value != "bad", "no tags for this")));
    w.script.set("k", "bad");
    assert_eq!(w.get("k").as_deref(), Some("bad"));
    assert_eq!((w.peek("k"), w.cache.stats().extractors_panicked), (None, 1));
    w.script.set("k", "good");
    assert_eq!(w.get("k").as_deref(), Some("good"));
    assert_eq!(w.peek("k").as_deref(), Some("good"));
}

#[test]
fn p8_what_finds_tags_runs_without_a_lock() {
    let here = Arc::new(std::sync::OnceLock::<Cache<String, String>>::new());
    let inside = Arc::clone(&here);
    let w = world_with(Script::new(), |b| {
        b.shards(1).tags(move |_, _, tags| {
            tags.add("t");
            let cache = inside.get().expect("set below");
            cache.invalidate_tag("other");
            cache.invalidate_prefix("other");
        })
    });
    here.set(w.cache.clone()).ok().expect("set once");
    w.script.set("k", "here");
    assert_eq!(text(w.start(|cache| cache.get("k")).join()).as_deref(), Some("here"));
    assert_eq!(w.cache.invalidate_tag("t").entries, 1);
}
