//! What may come by a key while an answer is awaited that tells of it: of a create, which names the key, or of a list.

use wtcache::{PushEnd, Pushed};
use wtcache_testkit::{Does, Op};

use super::{WINDOW, World, rejected};

/// What it is called, what happens to the key `k`, and whether what the answer brings of it may be retained after that.
pub type Meanwhile = (&'static str, fn(&World), bool);

pub const MEANWHILE: [Meanwhile; 15] = [
    ("g5: put", |w| w.put("k", "newer").expect("applied"), false),
    (
        "g5: put, and evicted from sight",
        |w| {
            w.put("k", "newer").expect("applied");
            w.cache.invalidate("k");
        },
        false,
    ),
    ("deleted", |w| drop(w.cache.delete("k").expect("applied")), false),
    (
        "refused, with a stale base",
        |w| {
            w.script.next(Op::Put, "k", Does::RejectStale);
            rejected(w.put("k", "x"));
        },
        false,
    ),
    (
        "refused",
        |w| {
            w.script.next(Op::Put, "k", Does::Reject);
            rejected(w.put("k", "x"));
        },
        true,
    ),
    ("read", |w| drop(w.get("k")), false),
    ("d2: doubted", |w| drop(w.doubt("k", "stray", Does::Stray)), false),
    (
        "d3: doubted and settled",
        |w| {
            w.doubt("k", "stray", Does::Stray);
            w.script.land();
            w.clock.advance(WINDOW);
            w.get("k");
        },
        false,
    ),
    (
        "d3: doubted and settled, by nobody's look",
        |w| {
            w.doubt("k", "stray", Does::Stray);
            w.script.land();
            w.clock.advance(WINDOW);
        },
        false,
    ),
    ("i3: told of a change", |w| assert_eq!(w.cache.pushed("k", Pushed::Changed(None)), PushEnd::Invalidated), false),
    ("i1: invalidated", |w| w.cache.invalidate("k"), false),
    ("i1: by prefix", |w| assert_eq!(w.cache.invalidate_prefix("k").entries, 0), false),
    ("i1: by pattern", |w| assert_eq!(w.cache.invalidate_pattern("*").expect("a pattern").entries, 0), false),
    (
        "another key",
        |w| {
            w.put("other", "x").expect("applied");
            w.cache.invalidate("other");
            w.get("more");
        },
        true,
    ),
    ("nothing", |_| {}, true),
];
