//! Looking on at what is resident, which is no read.

mod common;

use std::collections::BTreeMap;

use common::*;
use wtcache_testkit::{Does, Op, Script, When, spawn};

fn worlds() -> [World; 2] {
    let with = |index| world_with(Script::new(), |b| b.shards(4).lifetime(secs(60)).key_index(index));
    [with(false), with(true)]
}

fn listed(w: &World, prefix: &str, most: usize) -> BTreeMap<String, String> {
    let entries = w.cache.resident(prefix, most);
    let listed: BTreeMap<_, _> = entries.iter().map(|e| (e.key().clone(), e.value().clone())).collect();
    assert_eq!(listed.len(), entries.len(), "no key is given twice");
    listed
}

fn keys(w: &World, prefix: &str) -> Vec<String> {
    listed(w, prefix, 100).into_keys().collect()
}

#[test]
fn b2_what_is_listed_is_resident_begins_so_and_is_no_more_than_was_asked_for() {
    for w in worlds() {
        for n in 0..40 {
            w.seed(&format!("{}:{n}", if n < 10 { "few" } else { "many" }), &n.to_string());
        }
        assert_eq!(keys(&w, "few:").len(), 10);
        assert_eq!(keys(&w, "few:3"), ["few:3"]);
        assert_eq!(keys(&w, "").len(), 40);
        assert_eq!(keys(&w, "none"), [""; 0]);
        for most in [0, 1, 17, 40, 41] {
            assert_eq!(listed(&w, "", most).len(), most.min(40));
        }
        assert!(listed(&w, "many:", 9).keys().all(|key| key.starts_with("many:")));
        w.cache.invalidate_prefix("few:");
        assert_eq!(keys(&w, "few:"), [""; 0]);
    }
}

#[test]
fn g9_listing_calls_no_source_and_counts_no_hit() {
    for w in worlds() {
        w.seed("one", "1");
        let before = (w.cache.stats(), w.loads("one"));
        assert_eq!(keys(&w, "o"), ["one"]);
        assert_eq!((w.cache.stats(), w.loads("one")), before);
    }
}

#[test]
fn d1_f1_what_expired_is_listed_and_what_is_absent_or_in_doubt_is_not() {
    for w in worlds() {
        w.seed("short", "1");
        w.clock.advance(secs(59));
        w.seed("doubted", "1");
        w.doubt("doubted", "2", Does::Unknown);
        w.seed("stays", "1");
        assert_eq!(w.get("absent"), None);
        w.clock.advance(secs(2));
        let now = w.cache.now();
        let left =
            |key| w.cache.resident(key, 9).iter().map(|e| (e.remaining(now), e.stale_for(now))).collect::<Vec<_>>();
        assert_eq!(keys(&w, ""), ["short", "stays"]);
        assert_eq!(left("short"), [(secs(0), secs(1))]);
        assert_eq!(left("stays"), [(secs(58), secs(0))]);
    }
}

#[test]
fn o2_what_is_pending_is_not_listed_as_confirmed() {
    for w in worlds() {
        w.seed("key", "base");
        let gate = w.script.hold(Op::Put, "key", When::Before);
        let pending = w.cache.put_optimistic("key", "shown".to_owned()).expect("admitted");
        assert_eq!(w.peek("key").as_deref(), Some("shown"));
        assert_eq!(listed(&w, "", 9)["key"], "base");
        gate.release();
        spawn(move || pending.wait()).join().expect("applied");
        assert_eq!(listed(&w, "", 9)["key"], "shown");
    }
}
