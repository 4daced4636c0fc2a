//! A thread that reads for the model, so that a load can be out while other things happen.
//!
//! Invariant: it is at most at one read, and whoever asked for that knows whether it has come to the origin.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use wtcache::{Cache, Call};

use crate::common::text;
use crate::origin::{BOUND, HOLD, Hold, KEYS, Release};

/// Longer than any history takes, by the clock of the cache.
pub(crate) const LONG: Duration = Duration::from_secs(50_000);

type Ask = (Cache<String, String>, usize, bool, Hold);

enum Told {
    Arrived,
    Read(Option<String>),
}

pub(crate) struct Reader {
    asks: Sender<Ask>,
    told: Receiver<Told>,
    tells: Sender<Told>,
}

/// What a read begins with.
pub(crate) enum Begun {
    /// It needed no load.
    Read(Option<String>),
    /// Its load is at the origin.
    Held(Release),
}

impl Reader {
    pub(crate) fn new() -> Self {
        let (asks, asked) = channel::<Ask>();
        let (tells, told) = channel();
        let answers = tells.clone();
        std::thread::spawn(move || {
            for (cache, key, confirmed, hold) in asked {
                HOLD.set(Some(hold));
                let call = Call::new().deadline(LONG);
                let read =
                    if confirmed { cache.read_confirmed(KEYS[key], &call) } else { cache.read(KEYS[key], &call) };
                HOLD.set(None);
                if answers.send(Told::Read(text(read.map(|read| read.entry)))).is_err() {
                    return;
                }
            }
        });
        Self { asks, told, tells }
    }

    fn hears(&self) -> Told {
        self.told.recv_timeout(BOUND).expect("a reader hangs, or failed")
    }

    pub(crate) fn begins(&self, cache: &Cache<String, String>, key: usize, confirmed: bool, reads_late: bool) -> Begun {
        let (lets_go, goes_on) = channel();
        let tells = self.tells.clone();
        let arrives = Box::new(move || drop(tells.send(Told::Arrived)));
        let hold = Hold { arrives, goes_on, reads_late };
        self.asks.send((cache.clone(), key, confirmed, hold)).expect("the reader is there");
        match self.hears() {
            Told::Arrived => Begun::Held(lets_go),
            Told::Read(read) => Begun::Read(read),
        }
    }

    /// What it read, once it was let go.
    pub(crate) fn ends(&self) -> Option<String> {
        match self.hears() {
            Told::Read(read) => read,
            Told::Arrived => unreachable!("one load a read is held"),
        }
    }
}
