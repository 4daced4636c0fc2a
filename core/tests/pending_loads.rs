//! What is pending above a base that has to be loaded, while the write itself and others move the load.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use wtcache::PendingWrite;
use wtcache_testkit::{Does, Op, When, spawn};

/// A pending write that appends `b` to what the origin has, in its turn and not sent yet.
fn append(w: &World) -> (PendingWrite<Texts>, wtcache_testkit::Gate) {
    w.script.set("k", "a");
    let held = w.script.hold(Op::Put, "k", When::Before);
    let merge = |old: Option<&String>| Some(old.map_or(String::new(), String::clone) + "b");
    let pending = w.cache.merge_optimistic("k", merge).expect("admitted");
    held.wait_arrived();
    (pending, held)
}

/// G4: what the second of its loads found is older than the write, and is not folded with it any more.
#[test]
fn o1_a_reader_moved_twice_misses_no_write_that_was_pending_when_it_began() {
    let w = world();
    let (pending, held) = append(&w);
    let first = w.script.hold(Op::Get, "k", When::After);
    let reads = w.start(|cache| text(cache.get("k")));
    first.wait_arrived();
    let second = w.script.hold(Op::Get, "k", When::After);
    w.cache.invalidate("k");
    first.release();
    second.wait_arrived();
    held.release();
    assert!(spawn(move || pending.wait()).join().is_ok());
    second.release();
    assert_eq!(reads.join().as_deref(), Some("ab"));
    assert_eq!(w.peek("k").as_deref(), Some("ab"), "and what was confirmed stays");
}

/// P5: nobody tells it that the fence moved, for its load is its own.
#[test]
fn o1_a_nested_reader_misses_no_write_that_was_pending_when_it_began() {
    let w = world();
    let (pending, held) = append(&w);
    let load = w.script.hold(Op::Get, "k", When::After);
    let (cache, read) = (w.cache.clone(), Arc::new(Mutex::new(None)));
    let reads = Arc::clone(&read);
    let work = move || *reads.lock().expect("not poisoned") = text(cache.get("k"));
    w.script.next(Op::Put, "other", Does::Run(Box::new(work)));
    let writes = w.start(|cache| cache.put("other", "1".to_owned()).is_ok());
    load.wait_arrived();
    held.release();
    assert!(spawn(move || pending.wait()).join().is_ok());
    load.release();
    assert!(writes.join());
    assert_eq!(read.lock().expect("not poisoned").as_deref(), Some("ab"));
}
