//! The usual transaction in one call, and a cache beside an origin that it knows no way to.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use wtcache::{
    Cache, CacheUpdate, Failure, NotSent, Outcome, Rejection, SourceError, Transacted, WriteError, WriteThrough,
    write_through_cache, write_through_transaction,
};
use wtcache_testkit::ManualClock;

fn look_aside() -> (Cache<String, String>, ManualClock) {
    let clock = ManualClock::new();
    let cache = Cache::look_aside().clock(clock.shared()).clean_start(true).build().expect("options");
    (cache, clock)
}

fn refused() -> Outcome<()> {
    Outcome::Rejected(Rejection::new(SourceError::new(Failure::Refused, "no funds")))
}

fn unknown() -> Outcome<()> {
    Outcome::Unknown(SourceError::new(Failure::Broken, "no answer"))
}

/// What is called in which order, and what the database answers.
fn write(calls: &Arc<Mutex<Vec<&'static str>>>, database: Outcome<()>, external: Outcome<()>) -> WriteThrough<String> {
    let calls_it = |name, answer: Outcome<()>| {
        let calls = Arc::clone(calls);
        move |_: &wtcache::StepCx<'_>| {
            calls.lock().expect("not poisoned").push(name);
            answer
        }
    };
    let updates = ["org:123", "org:123:name"].map(|key| CacheUpdate {
        key: key.to_owned(),
        data: "new".to_owned(),
        ttl: Some(secs(600)),
    });
    let mut write = WriteThrough::new(updates, calls_it("database", database));
    write.external_operation = Some(Box::new(calls_it("external", external)));
    write.undo_database = Some(Box::new(calls_it("undo", Outcome::Applied(()))));
    write.invalidate_patterns = vec!["org:123:users*".to_owned(), "user:*:orgs".to_owned()];
    write
}

/// A cache that holds the old records, and what was derived from them.
fn holding() -> (Cache<String, String>, ManualClock) {
    let (cache, clock) = look_aside();
    let all = ["org:123", "org:123:name", "org:123:users", "user:7:orgs", "user:7:name"];
    let filled = all.into_iter().fold(cache.transaction(), |all, key| all.update(key, "old".to_owned()));
    assert!(filled.run().is_committed());
    (cache, clock)
}

fn shown(cache: &Cache<String, String>) -> [Option<String>; 5] {
    ["org:123", "org:123:name", "org:123:users", "user:7:orgs", "user:7:name"]
        .map(|key| cache.get(key).expect("never fails").map(|entry| entry.value().clone()))
}

fn some(texts: [Option<&str>; 5]) -> [Option<String>; 5] {
    texts.map(|text| text.map(str::to_owned))
}

#[test]
fn t2_all_that_is_applied_is_shown_for_as_long_as_it_says_and_what_was_derived_is_forgotten() {
    let ((cache, clock), calls) = (holding(), Arc::default());
    let ended = write_through_cache(&cache, write(&calls, Outcome::Applied(()), Outcome::Applied(())));
    assert!(ended.expect("patterns").is_committed());
    assert_eq!(shown(&cache), some([Some("new"), Some("new"), None, None, Some("old")]));
    assert_eq!(*calls.lock().expect("not poisoned"), ["database", "external"]);
    clock.advance(secs(600));
    assert_eq!(shown(&cache), some([None, None, None, None, Some("old")]));
}

#[test]
fn t2_where_the_database_refuses_the_cache_is_as_it_was() {
    let ((cache, _), calls) = (holding(), Arc::default());
    let ended = write_through_cache(&cache, write(&calls, refused(), Outcome::Applied(())));
    assert!(matches!(ended, Ok(Transacted::RolledBack(_))));
    assert_eq!(shown(&cache), [(); 5].map(|()| Some("old".to_owned())));
    assert_eq!(*calls.lock().expect("not poisoned"), ["database"]);
}

/// The database was written twice by then: what it holds, the cache was not told.
#[test]
fn t2_where_the_external_operation_is_refused_the_database_is_undone_and_nothing_is_claimed_of_it() {
    let ((cache, _), calls) = (holding(), Arc::default());
    let ended = write_through_cache(&cache, write(&calls, Outcome::Applied(()), refused()));
    assert!(matches!(ended, Ok(Transacted::RolledBack(_))));
    assert_eq!(shown(&cache), some([None, None, None, None, Some("old")]));
    assert_eq!(*calls.lock().expect("not poisoned"), ["database", "external", "undo"]);
}

#[test]
fn t2_what_is_not_known_is_not_undone_and_not_shown() {
    let ((cache, clock), calls) = (holding(), Arc::default());
    let ended = write_through_cache(&cache, write(&calls, Outcome::Applied(()), unknown()));
    assert!(matches!(ended, Ok(Transacted::InDoubt { ref doubts, .. }) if doubts.is_empty()));
    assert_eq!(shown(&cache), some([None, None, None, None, Some("old")]));
    assert_eq!(*calls.lock().expect("not poisoned"), ["database", "external"]);
    let ended = write_through_cache(&cache, write(&calls, unknown(), Outcome::Applied(())));
    assert!(matches!(ended, Ok(Transacted::InDoubt { ref doubts, .. }) if doubts.len() == 2));
    assert_eq!((cache.stats().in_doubt, shown(&cache)), (2, some([None, None, None, None, Some("old")])));
    clock.advance(WINDOW);
    assert_eq!(cache.stats().in_doubt, 0);
}

#[test]
fn t4_a_pattern_that_is_none_is_an_error_before_anything_is_done() {
    let ((cache, _), calls) = (holding(), Arc::default());
    let mut write = write(&calls, Outcome::Applied(()), Outcome::Applied(()));
    write.invalidate_patterns.push("\\x".to_owned());
    assert!(write_through_cache(&cache, write).is_err());
    assert!(calls.lock().expect("not poisoned").is_empty());
    assert_eq!(shown(&cache), [(); 5].map(|()| Some("old".to_owned())));
}

#[test]
fn o1_the_same_can_be_shown_from_its_begin() {
    let ((cache, _), calls) = (holding(), Arc::default());
    let transaction = write_through_transaction(&cache, write(&calls, refused(), Outcome::Applied(())));
    let pending = transaction.expect("patterns").start().expect("admitted");
    assert!(matches!(wtcache_testkit::spawn(move || pending.wait()).join(), Transacted::RolledBack(_)));
    assert_eq!(shown(&cache), [(); 5].map(|()| Some("old".to_owned())));
}

#[test]
fn without_an_origin_what_is_not_held_is_a_miss_that_is_not_remembered_and_writes_are_refused() {
    let (cache, _) = look_aside();
    assert!(cache.get("k").expect("a miss").is_none());
    assert_eq!(cache.stats().entries, 0);
    assert!(matches!(cache.put("k", "1".to_owned()), Err(WriteError::Rejected(why)) if !why.stale_base));
    assert!(matches!(cache.transaction().update("k", "1".to_owned()).run(), Transacted::Committed(_)));
    assert_eq!(cache.get("k").expect("a hit").map(|entry| entry.value().clone()).as_deref(), Some("1"));
    let _ = cache.close(secs(0));
    let ended = cache.transaction().update("k", "2".to_owned()).run();
    assert!(
        matches!(ended, Transacted::RolledBack(report) if matches!(report.cause, WriteError::NotSent(NotSent::Closed)))
    );
}
