//! Chapter 8 of the contract: what a source says of one record's freshness goes before the cache's options.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

mod shelf;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shelf::{Fns, SECOND};
use wtcache::{
    Builder, Cache, Call, Confirmed, How, Lifetime, LoadError, Loaded, Outcome, Record, SourceError, Step, Typed,
    Version, Windows,
};
use wtcache_testkit::ManualClock;

type Texts = Typed<u32, u64>;
type Answer = Result<Loaded<u64>, SourceError>;

/// A source that gives these answers in turn, and notes of each call whether it was offered a record.
struct World {
    clock: ManualClock,
    cache: Cache<u32, u64>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Receiver<bool>,
}

fn world(options: impl FnOnce(Builder<Texts>) -> Builder<Texts>) -> World {
    let clock = ManualClock::new();
    let answers = Arc::new(Mutex::new(VecDeque::<Answer>::new()));
    let (note, asked) = channel();
    let script = Arc::clone(&answers);
    let source = Fns::<Texts>::get(move |_, cx| {
        let answer = script.lock().unwrap().pop_front().expect("an answer was prepared");
        note.send(cx.replaced().is_some()).unwrap();
        answer
    });
    let builder = Cache::builder(source).clock(clock.shared()).clean_start(true).lifetime(10 * SECOND);
    World { clock, cache: options(builder).build().unwrap(), answers, asked }
}

impl World {
    fn says(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn read(&self) -> Result<(How, Option<u64>), LoadError> {
        self.cache.read(&1, &Call::new()).map(|read| (read.how, read.entry.map(|entry| *entry)))
    }

    /// A load that the source answers so.
    fn load(&self, answer: Answer) -> (How, Option<u64>) {
        self.says(answer);
        let read = self.read().unwrap();
        self.asked.try_recv().expect("the source was asked");
        read
    }

    /// The last nanosecond for which something holds that begins now, and the one after it.
    fn holds_for(&self, time: Duration, holds: impl Fn() -> bool) {
        self.clock.advance(time - Duration::from_nanos(1));
        assert!(holds(), "{time:?} had not passed");
        self.clock.advance(Duration::from_nanos(1));
        assert!(!holds(), "{time:?} had passed");
    }
}

fn found(lifetime: Lifetime) -> Answer {
    Ok(Loaded::Found(Record::new(7).lifetime(lifetime)))
}

fn versioned(lifetime: Lifetime) -> Answer {
    Ok(Loaded::Found(Record::new(7).version(Version::new("v").unwrap()).lifetime(lifetime)))
}

fn with(fresh: u32, while_revalidate: Option<u32>, if_error: Option<u32>) -> Lifetime {
    let seconds = |n: u32| n * SECOND;
    Lifetime::With(Windows {
        fresh: Some(seconds(fresh)),
        while_revalidate: while_revalidate.map(seconds),
        if_error: if_error.map(seconds),
    })
}

const LED: How = How::Loaded { kept: true };

#[test]
fn f2_the_records_window_while_it_is_refreshed_goes_before_the_caches() {
    for (caches, own, window) in [(5, None, 5), (5, Some(20), 20), (5, Some(2), 2), (0, Some(3), 3)] {
        for (nanos, stale) in [(1, true), (0, false)] {
            let w = world(|b| b.stale_while_revalidate(caches * SECOND));
            w.load(found(with(4, own, None)));
            w.clock.advance((4 + window) * SECOND - Duration::from_nanos(nanos));
            w.says(found(Lifetime::Default));
            assert_eq!(w.read().unwrap().0, if stale { How::Stale } else { LED }, "{caches} {own:?}");
        }
    }
}

#[test]
fn f2_the_records_window_in_place_of_an_error_goes_before_the_caches() {
    for (caches, own, window) in [(5, None, 5), (5, Some(20), 20), (5, Some(2), 2), (0, Some(3), 3)] {
        let w = world(|b| b.stale_if_error(caches * SECOND));
        w.load(found(with(4, None, own)));
        w.clock.advance(4 * SECOND);
        w.holds_for(window * SECOND, || {
            w.says(Err(shelf::broken()));
            w.read().is_ok_and(|read| read == (How::Stale, Some(7)))
        });
    }
}

#[test]
fn f2_a_record_that_forbids_it_is_never_stale() {
    let w = world(|b| b.stale_while_revalidate(50 * SECOND).stale_if_error(50 * SECOND));
    w.load(found(with(4, Some(0), Some(0))));
    w.clock.advance(4 * SECOND);
    w.says(Err(shelf::broken()));
    assert!(matches!(w.read(), Err(LoadError::Source(_))));
    assert_eq!(w.cache.stats().refreshes, 0);
}

#[test]
fn f2_what_is_expired_from_the_start_is_stale_within_its_windows() {
    let w = world(|b| b.refreshers(1, 8));
    assert_eq!(w.load(found(with(0, Some(5), None))), (LED, Some(7)));
    assert!(w.cache.peek(&1).is_none(), "never fresh");
    w.says(found(Lifetime::For(60 * SECOND)));
    assert_eq!(w.read().unwrap(), (How::Stale, Some(7)));
    assert!(w.asked.recv().unwrap(), "it is refreshed, and offered to the source");
}

#[test]
fn f1_what_is_expired_from_the_start_and_of_no_use_is_not_kept() {
    for (lifetime, window) in [(Lifetime::For(Duration::ZERO), Duration::ZERO), (with(0, Some(0), Some(0)), SECOND)] {
        let w = world(|b| b.stale_while_revalidate(window).stale_if_error(window));
        assert_eq!(w.load(found(lifetime)), (How::Loaded { kept: false }, Some(7)));
        assert_eq!(w.cache.stats().entries, 0);
    }
}

#[test]
fn f1_what_is_expired_from_the_start_and_has_a_version_is_offered_to_the_source_and_never_served() {
    let w = world(|b| b);
    w.load(versioned(Lifetime::For(Duration::ZERO)));
    for lifetime in [Lifetime::For(Duration::ZERO), Lifetime::AsBefore(Duration::ZERO), Lifetime::For(3 * SECOND)] {
        assert!(w.cache.peek(&1).is_none());
        w.says(Ok(Loaded::Unchanged(lifetime)));
        assert_eq!(w.read().unwrap(), (LED, Some(7)));
        assert!(w.asked.recv().unwrap(), "it is offered");
    }
    w.holds_for(3 * SECOND, || w.cache.peek(&1).is_some());
    w.says(Ok(Loaded::Unchanged(Lifetime::NotKept)));
    assert_eq!(w.read().unwrap(), (How::Loaded { kept: false }, Some(7)));
    assert_eq!(w.cache.stats().entries, 0);
}

#[test]
fn f1_unchanged_as_before_gives_the_records_own_lifetime_and_windows_again() {
    let w = world(|b| b.stale_if_error(50 * SECOND));
    w.load(found(with(4, None, Some(2))));
    for _ in 0..3 {
        w.clock.advance(5 * SECOND);
        w.load(Ok(Loaded::Unchanged(Lifetime::AsBefore(Duration::ZERO))));
        w.holds_for(4 * SECOND, || w.cache.peek(&1).is_some());
        w.holds_for(2 * SECOND, || {
            w.says(Err(shelf::broken()));
            w.read().is_ok()
        });
        w.answers.lock().unwrap().clear();
        while w.asked.try_recv().is_ok() {}
    }
}

#[test]
fn f1_unchanged_as_before_is_the_caches_lifetime_where_that_was_given() {
    let w = world(|b| b);
    w.load(found(Lifetime::Default));
    for _ in 0..3 {
        // Later than its end: the time between must not count.
        w.clock.advance(13 * SECOND);
        w.load(Ok(Loaded::Unchanged(Lifetime::AsBefore(SECOND))));
        w.holds_for(10 * SECOND, || w.cache.peek(&1).is_some());
    }
    // Whose it is goes by what was said last.
    w.load(Ok(Loaded::Unchanged(Lifetime::For(4 * SECOND))));
    for (lifetime, seconds) in
        [(Lifetime::AsBefore(SECOND), 3), (Lifetime::Default, 10), (Lifetime::AsBefore(SECOND), 10)]
    {
        w.clock.advance(20 * SECOND);
        w.load(Ok(Loaded::Unchanged(lifetime)));
        w.holds_for(seconds * SECOND, || w.cache.peek(&1).is_some());
    }
}

#[test]
fn f1_unchanged_as_before_is_shorter_by_the_age_of_the_answer() {
    let w = world(|b| b);
    w.load(versioned(Lifetime::For(4 * SECOND)));
    w.clock.advance(4 * SECOND);
    w.load(Ok(Loaded::Unchanged(Lifetime::AsBefore(SECOND))));
    w.holds_for(3 * SECOND, || w.cache.peek(&1).is_some());
    // Nothing is left of it: the next load is of the whole record, and says how long that lives.
    let read = w.load(Ok(Loaded::Unchanged(Lifetime::AsBefore(3 * SECOND))));
    assert_eq!(read, (How::Loaded { kept: false }, Some(7)));
    assert_eq!(w.cache.stats().entries, 0);
}

#[test]
fn f1_unchanged_with_windows_gives_the_record_those() {
    let w = world(|b| b);
    w.load(found(with(4, None, Some(50))));
    w.clock.advance(4 * SECOND);
    w.load(Ok(Loaded::Unchanged(with(1, None, Some(2)))));
    w.clock.advance(SECOND);
    w.holds_for(2 * SECOND, || {
        w.says(Err(shelf::broken()));
        w.read().is_ok()
    });
}

#[test]
fn f4_a_lifetime_given_again_is_not_shortened_again() {
    let w = world(|b| b.jitter(0.5).seed(3));
    let remaining = || w.cache.peek(&1).unwrap().remaining(w.cache.now());
    w.load(found(Lifetime::For(100 * SECOND)));
    let first = remaining();
    assert!(first < 100 * SECOND);
    for _ in 0..5 {
        w.clock.advance(100 * SECOND);
        w.load(Ok(Loaded::Unchanged(Lifetime::AsBefore(Duration::ZERO))));
        assert_eq!(remaining(), first);
    }
}

/// What was cut short by the first settle window is not that short for ever.
#[test]
fn c0_a_lifetime_that_the_first_window_cut_is_not_given_again() {
    let w = world(|b| b.clean_start(false));
    w.clock.advance(9 * SECOND);
    w.load(versioned(Lifetime::For(60 * SECOND)));
    w.clock.advance(SECOND);
    assert!(w.cache.peek(&1).is_none());
    assert_eq!(
        w.load(Ok(Loaded::Unchanged(Lifetime::AsBefore(Duration::ZERO)))),
        (How::Loaded { kept: false }, Some(7))
    );
    w.load(versioned(Lifetime::For(60 * SECOND)));
    w.holds_for(60 * SECOND, || w.cache.peek(&1).is_some());
}

#[test]
fn f1_an_absence_holds_for_as_long_as_was_said_and_no_longer_than_the_negative_lifetime() {
    for (lifetime, seconds) in [
        (Lifetime::For(3 * SECOND), 3),
        (with(3, Some(9), Some(9)), 3),
        (Lifetime::For(30 * SECOND), 5),
        (Lifetime::Default, 5),
        (Lifetime::AsBefore(Duration::ZERO), 5),
    ] {
        let w = world(|b| b.negative_lifetime(5 * SECOND));
        assert_eq!(w.load(Ok(Loaded::AbsentFor(lifetime))), (LED, None));
        w.holds_for(seconds * SECOND, || {
            w.says(Err(shelf::broken()));
            w.read().is_ok()
        });
    }
    for lifetime in [Lifetime::NotKept, Lifetime::For(Duration::ZERO)] {
        let w = world(|b| b.negative_lifetime(5 * SECOND));
        assert_eq!(w.load(Ok(Loaded::AbsentFor(lifetime))), (How::Loaded { kept: false }, None));
    }
}

#[test]
fn f1_what_a_record_leaves_open_its_write_says_and_its_own_windows_stand() {
    type Writes = fn(&Cache<u32, u64>, Lifetime) -> bool;
    let written: Writes = |cache, says| cache.put_with(&1, 7, &Call::new().lifetime(says)).unwrap().kept;
    let in_a_transaction: Writes =
        |cache, says| cache.transaction().update_for(&1, 7, says).step(Step::put(&1, 7)).run().is_committed();
    let own = |fresh: Option<u32>| {
        let fresh = fresh.map(|n| n * SECOND);
        Lifetime::With(Windows { fresh, if_error: Some(2 * SECOND), ..Windows::default() })
    };
    for (record, write, fresh) in [
        (own(None), Lifetime::For(5 * SECOND), 5),
        (own(Some(9)), Lifetime::For(5 * SECOND), 9),
        (own(Some(9)), Lifetime::NotKept, 9),
        (own(None), Lifetime::Default, 60),
        (own(None), with(5, Some(1), Some(40)), 5),
        (with(9, Some(0), None), own(Some(5)), 9),
        (Lifetime::AsBefore(SECOND), with(5, None, Some(2)), 5),
    ] {
        for writes in [written, in_a_transaction] {
            let clock = ManualClock::new();
            let source = Fns::<Texts>::get(|_, _| Err(shelf::broken()))
                .put(move |_, value, _| Outcome::Applied(Confirmed::Record(Record::new(*value).lifetime(record))));
            let builder = Cache::builder(source).clock(clock.shared()).clean_start(true);
            let cache = builder.lifetime(60 * SECOND).build().unwrap();
            assert!(writes(&cache, write));
            clock.advance(fresh * SECOND - Duration::from_nanos(1));
            assert!(cache.peek(&1).is_some(), "{record:?}, {write:?}");
            clock.advance(SECOND + Duration::from_nanos(1));
            assert!(cache.peek(&1).is_none(), "{record:?}, {write:?}");
            clock.advance(SECOND - Duration::from_nanos(1));
            assert!(cache.read(&1, &Call::new()).is_ok_and(|read| read.how == How::Stale), "{record:?}, {write:?}");
            clock.advance(Duration::from_nanos(1));
            assert!(cache.read(&1, &Call::new()).is_err(), "{record:?}, {write:?}");
        }
    }
}

#[test]
fn f1_a_write_that_is_not_to_be_kept_is_not_where_its_record_says_windows_alone() {
    let windows = Windows { if_error: Some(2 * SECOND), ..Windows::default() };
    let record = Lifetime::With(windows);
    let source = Fns::<Texts>::get(|_, _| Ok(Loaded::Absent))
        .put(move |_, value, _| Outcome::Applied(Confirmed::Record(Record::new(*value).lifetime(record))));
    let cache = Cache::builder(source).build().unwrap();
    assert!(!cache.put_with(&1, 7, &Call::new().lifetime(Lifetime::NotKept)).unwrap().kept);
    assert_eq!(cache.stats().entries, 0);
}
