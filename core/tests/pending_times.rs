//! What is pending, read while time passes: promises of chapter 5.

mod common;

use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::Duration;

use common::*;
use wtcache::{Alarm, Clock, Optimistic, Tick};
use wtcache_testkit::{ManualClock, Op, Script, When, spawn};

/// A clock by which time passes in the middle of a call: between two looks at the clock.
struct Passing {
    clock: ManualClock,
    by: Duration,
    /// Whose looks are counted, and how many are left.
    left: Mutex<Option<(ThreadId, usize)>>,
}

impl Passing {
    /// Time will pass when this thread looks for the `number`-th time from now on.
    fn at_look(&self, number: usize) {
        *self.left.lock().expect("not poisoned") = Some((thread::current().id(), number));
    }

    /// It has passed. If not, it will not by itself any more.
    fn has_passed(&self) -> bool {
        self.left.lock().expect("not poisoned").take().is_none()
    }

    fn passes_now(&self) -> bool {
        let mut left = self.left.lock().expect("not poisoned");
        match &mut *left {
            Some((thread, looks)) if *thread == thread::current().id() => {
                *looks -= 1;
                if *looks == 0 { left.take().is_some() } else { false }
            }
            _ => false,
        }
    }
}

impl Clock for Passing {
    fn now(&self) -> Tick {
        if self.passes_now() {
            self.clock.advance(self.by);
        }
        self.clock.now()
    }

    fn alarm(&self, at: Tick, waker: &Waker) -> Alarm {
        self.clock.alarm(at, waker)
    }
}

/// Three writes of a key, of which the first two end unsent, one shortly after the other; what the third puts is shown throughout. The
/// first deadline has come when the read begins, so that the read is what ends that write; the second comes at each of its looks at the clock.
#[test]
fn o1_what_is_pending_is_shown_whenever_a_deadline_comes_in_the_middle_of_a_read() {
    let by = Duration::from_millis(100);
    let mut looks = 0;
    loop {
        looks += 1;
        let passing = Arc::new(Passing { clock: ManualClock::new(), by, left: Mutex::new(None) });
        let clock = Arc::clone(&passing);
        let w = world_with(Script::new(), |builder| builder.clock(clock).optimistic(Optimistic::new().threads(1)));
        w.seed("k", "1");
        let begins = |key: &str, value: &str, deadline| {
            w.cache.put_optimistic_with(key, value.to_owned(), &within(deadline)).expect("admitted")
        };
        // Nobody comes by who settles anything of `k`.
        let busy = w.script.hold(Op::Put, "busy", When::Before);
        let other = begins("busy", "1", secs(3_600));
        busy.wait_arrived();
        let prepared = w.cache.prepare("k", &within(secs(10))).expect("free");
        let second = begins("k", "2", secs(10) + by / 2);
        let third = begins("k", "3", secs(3_600));
        passing.clock.advance(secs(10));
        passing.at_look(looks);
        let read = text(w.cache.get("k"));
        let passed = passing.has_passed();
        assert_eq!(read.as_deref(), Some("3"), "it passed at look {looks}");
        busy.release();
        for pending in [other, third] {
            spawn(move || pending.wait()).join().expect("applied");
        }
        assert_eq!((w.peek("k").as_deref(), w.script.truth("k").as_deref()), (Some("3"), Some("3")));
        drop((prepared, second));
        if !passed {
            break;
        }
    }
    assert!(looks > 2, "time passed in no read");
}
