//! G9, the part about `glance`: what it gives, and that it waits for nothing.

mod common;

use std::hash::{Hash, Hasher};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use common::*;
use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
use wtcache_testkit::{Op, Script, When, spawn};

impl World {
    fn glance(&self, key: &str) -> Option<String> {
        self.cache.glance(key).map(|entry| entry.value().clone())
    }
}

#[test]
fn g9_glance_gives_a_fresh_record_and_counts_it_as_a_hit() {
    let w = world_with(Script::new(), |b| b.lifetime(secs(10)));
    w.script.set("k", "one");
    assert_eq!((w.glance("k"), w.loads("k")), (None, 0), "it asks nobody");
    assert_eq!(w.get("k").as_deref(), Some("one"));
    assert_eq!(w.glance("k").as_deref(), Some("one"));
    assert_eq!(w.cache.stats().hits, 1);
    w.clock.advance(secs(10));
    assert_eq!(w.glance("k"), None, "it has expired");
    assert_eq!(w.get("k").as_deref(), Some("one"));
    let _ = w.cache.close(secs(0));
    assert_eq!(w.glance("k"), None);
}

#[test]
fn g9_glance_gives_no_absence() {
    let w = world();
    assert_eq!(w.get("none"), None);
    assert_eq!(w.glance("none"), None);
    assert_eq!((w.cache.stats().hits, w.cache.stats().absent_hits), (0, 0));
}

#[test]
fn g9_glance_leaves_a_refresh_that_is_due_to_a_read() {
    let w = world_with(Script::new(), |b| b.lifetime(secs(10)).refresh_ahead(0.3).refreshers(1, 8));
    w.script.set("k", "one");
    assert_eq!(w.get("k").as_deref(), Some("one"));
    let gate = w.script.hold(Op::Get, "k", When::Before);
    w.clock.advance(secs(8));
    assert_eq!(w.glance("k"), None);
    assert!(!gate.has_arrived());
    assert_eq!(w.get("k").as_deref(), Some("one"), "a hit, which has it refreshed");
    gate.wait_arrived();
    assert_eq!(w.glance("k").as_deref(), Some("one"), "somebody does it already");
    gate.release();
}

#[test]
fn g9_glance_gives_nothing_beneath_or_of_a_pending_write() {
    let w = world();
    w.seed("k", "one");
    let gate = w.script.hold(Op::Put, "k", When::Before);
    let pending = w.cache.put_optimistic("k", "two".to_owned()).expect("admitted");
    gate.wait_arrived();
    assert_eq!(w.glance("k"), None);
    assert_eq!(w.get("k").as_deref(), Some("two"));
    gate.release();
    assert!(spawn(move || pending.wait().is_ok()).join());
    assert_eq!(w.glance("k").as_deref(), Some("two"));
}

/// A key whose comparison, once it is armed, says so and waits to be told.
#[derive(Clone)]
struct Slow(Arc<Mutex<Option<Armed>>>);

type Armed = (Sender<()>, Receiver<()>);

impl PartialEq for Slow {
    fn eq(&self, _: &Self) -> bool {
        let armed = self.0.lock().expect("no panic inside").take();
        if let Some((inside, leave)) = armed {
            inside.send(()).expect("the test listens");
            leave.recv().expect("the test tells");
        }
        true
    }
}

impl Eq for Slow {}

impl Hash for Slow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        0.hash(state);
    }
}

struct One;

impl Source<Typed<Slow, u32>> for One {
    fn get(&self, _: &Slow, _: &LoadCx<'_, Typed<Slow, u32>>) -> Result<Loaded<u32>, SourceError> {
        Ok(Loaded::Found(Record::new(1)))
    }
}

#[test]
fn g9_glance_does_not_wait_for_whoever_changes_its_shard() {
    let cache: Cache<Slow, u32> = Cache::builder(One).shards(1).build().expect("defaults");
    let key = Slow(Arc::default());
    let _ = cache.get(&key).expect("loaded");
    assert!(cache.glance(&key).is_some());
    let (inside, is_inside) = channel();
    let (leave, may_leave) = channel();
    *key.0.lock().expect("no panic inside") = Some((inside, may_leave));
    let forgetting = spawn({
        let (cache, key) = (cache.clone(), key.clone());
        move || cache.invalidate(&key)
    });
    is_inside.recv().expect("it compares under its lock");
    let glance = spawn({
        let (cache, key) = (cache.clone(), key.clone());
        move || cache.glance(&key).is_some()
    });
    assert!(!glance.join(), "and it has come back while the lock is held");
    leave.send(()).expect("it waits");
    let () = forgetting.join();
}
