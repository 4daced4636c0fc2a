//! The world of a test: a cache over a scripted source, with a clock that is moved by hand.
#![allow(dead_code, unreachable_pub)]

pub mod meanwhile;

use std::time::Duration;

use wtcache::{Builder, Cache, Call, InDoubt, Layout, LoadError, NotSent, Rejection, Typed, WriteError};
use wtcache_testkit::{Does, ManualClock, Op, Running, Script, spawn};

/// The layout of all tests but those that say otherwise.
pub type Texts = Typed<String, String>;

/// The settle window that the scripted source declares by default.
pub const WINDOW: Duration = Duration::from_secs(10);

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub struct World {
    pub script: Script,
    pub clock: ManualClock,
    pub cache: Cache<String, String>,
}

/// A cache with its default options, where no earlier process left anything behind.
pub fn world() -> World {
    world_with(Script::new(), |builder| builder)
}

pub fn world_with(script: Script, options: impl FnOnce(Builder<Texts>) -> Builder<Texts>) -> World {
    let clock = ManualClock::new();
    let builder = Cache::builder(script.clone()).clock(clock.shared()).clean_start(true);
    World { cache: options(builder).build().expect("options that make sense"), script, clock }
}

/// A world whose origin honours preconditions and never gives a version twice.
pub fn conditional_world() -> World {
    let script = Script::new();
    script.declare(|declared| {
        declared.honours_preconditions = true;
        declared.versions_never_reused = true;
    });
    world_with(script, |builder| builder)
}

pub fn within(deadline: Duration) -> Call {
    Call::new().deadline(deadline)
}

impl World {
    /// The value that a read gives.
    #[track_caller]
    pub fn get(&self, key: &str) -> Option<String> {
        text(self.cache.get(key))
    }

    /// The value of a hit; `None` also where an absence is remembered.
    pub fn peek(&self, key: &str) -> Option<String> {
        self.cache.peek(key).map(|entry| entry.value().clone())
    }

    pub fn put(&self, key: &str, value: &str) -> Result<(), WriteError<Texts>> {
        self.cache.put(key, value.to_owned()).map(drop)
    }

    /// Puts `value` at the origin and here.
    #[track_caller]
    pub fn seed(&self, key: &str, value: &str) {
        self.put(key, value).expect("applied");
        assert_eq!(self.peek(key).as_deref(), Some(value), "resident");
    }

    /// Leaves `key` in doubt by a write of `value` that does this.
    #[track_caller]
    pub fn doubt(&self, key: &str, value: &str, does: Does) -> InDoubt<Texts> {
        self.script.next(Op::Put, key, does);
        in_doubt(self.put(key, value))
    }

    pub fn loads(&self, key: &str) -> usize {
        self.script.calls(Op::Get, key)
    }

    /// Runs `work` on a thread of its own, to where it waits with an alarm.
    #[track_caller]
    pub fn until_it_waits<T: Send + 'static>(
        &self,
        work: impl FnOnce(Cache<String, String>) -> T + Send + 'static,
    ) -> Running<T> {
        let (cache, alarms) = (self.cache.clone(), self.clock.alarms_ever_set());
        let running = spawn(move || work(cache));
        assert!(self.clock.wait_for_alarms(alarms + 1), "it does not wait");
        running
    }

    /// Runs `work` on a thread of its own.
    pub fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(Cache<String, String>) -> T + Send + 'static,
    ) -> Running<T> {
        let cache = self.cache.clone();
        spawn(move || work(cache))
    }

    /// No two reads in a row call the source once: what is read is not retained.
    #[track_caller]
    pub fn assert_not_retained(&self, key: &str) {
        let before = self.loads(key);
        let _ = self.cache.get(key);
        let _ = self.cache.get(key);
        assert_eq!(self.loads(key), before + 2, "a read was answered without the source");
    }

    /// The second of two reads is a hit, and gives the truth.
    #[track_caller]
    pub fn assert_settled(&self, key: &str) {
        assert_eq!(self.cache.stats().in_doubt, 0, "a key is in doubt");
        assert_eq!(self.get(key), self.script.truth(key));
        let before = self.loads(key);
        assert_eq!(self.get(key), self.script.truth(key));
        assert_eq!(self.loads(key), before, "the read was not retained");
    }
}

/// What a read that worked gave.
#[track_caller]
pub fn text(read: Result<Option<wtcache::Entry<Texts>>, LoadError>) -> Option<String> {
    read.expect("loaded").map(|entry| entry.value().clone())
}

#[track_caller]
pub fn in_doubt<T, L: Layout>(result: Result<T, WriteError<L>>) -> InDoubt<L> {
    match result {
        Err(WriteError::InDoubt(doubt)) => doubt,
        Err(other) => panic!("not in doubt: {other}"),
        Ok(_) => panic!("not in doubt: applied"),
    }
}

#[track_caller]
pub fn rejected<T, L: Layout>(result: Result<T, WriteError<L>>) -> Rejection {
    match result {
        Err(WriteError::Rejected(rejection)) => rejection,
        Err(other) => panic!("not rejected: {other}"),
        Ok(_) => panic!("not rejected: applied"),
    }
}

#[track_caller]
pub fn not_sent<T, L: Layout>(result: Result<T, WriteError<L>>) -> NotSent {
    match result {
        Err(WriteError::NotSent(why)) => why,
        Err(other) => panic!("sent: {other}"),
        Ok(_) => panic!("sent, and applied"),
    }
}
