//! I3 on random histories: an origin that others write to, whose feed comes late, twice and out of order, between the phases of loads
//! and writes.
//!
//! One thread plays all: what comes between the phases of a call is played from inside the source. Judged: no read goes back behind
//! what was applied or told before it (G5), and at rest, each change having been told once at least, what is held is the origin's.

#![allow(clippy::unwrap_used, reason = "a test's helper fails its test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use wtcache::{
    Cache, Call, Confirmed, Declared, Failure, LoadCx, Loaded, Outcome, Pushed, Record, Sent, Settlement, Source,
    SourceError, Typed, Version, VersionOrder, WriteCx,
};
use wtcache_testkit::{Dice, ManualClock};

type Numbers = Typed<u32, u64>;

const KEYS: u64 = 2;

/// The record of a key: its number, which each change moves, and whether there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Truth {
    number: u64,
    exists: bool,
}

#[derive(Default)]
struct Play {
    truth: BTreeMap<u32, Truth>,
    /// All changes, in their order.
    changes: Vec<(u32, Truth)>,
    /// How many of them were told.
    untold: Vec<usize>,
    /// What was told or applied: a read may not go back behind it.
    floor: BTreeMap<u32, u64>,
    dice: Option<Dice>,
    depth: usize,
}

struct Origin {
    play: Mutex<Play>,
    cache: Mutex<Weak<Cache<u32, u64>>>,
}

fn record(number: u64) -> Record<u64> {
    Record::new(number).version(Version::new(format!("\"{number}\"")).unwrap())
}

impl Origin {
    fn play(&self) -> MutexGuard<'_, Play> {
        self.play.lock().unwrap()
    }

    fn below(&self, bound: u64) -> u64 {
        self.play().dice.as_mut().unwrap().below(bound)
    }

    fn truth(&self, key: u32) -> Truth {
        self.play().truth.get(&key).copied().unwrap_or_default()
    }

    /// A change takes effect at the origin, and will be told.
    fn change(&self, key: u32, exists: bool) -> Truth {
        let mut play = self.play();
        let before = play.truth.get(&key).copied().unwrap_or_default();
        let truth = Truth { number: before.number + 1, exists };
        play.truth.insert(key, truth);
        let place = play.changes.len();
        play.changes.push((key, truth));
        play.untold.push(place);
        truth
    }

    /// Tells a change of the past, or one that was not told yet.
    fn tell(&self, again: bool) {
        let (key, truth) = {
            let mut play = self.play();
            let (changes, untold) = (play.changes.len(), play.untold.len());
            let dice = play.dice.as_mut().unwrap();
            let place = match (again, changes, untold) {
                (true, 1.., _) => dice.index(changes),
                (false, _, 1..) => {
                    let at = dice.index(untold);
                    play.untold.swap_remove(at)
                }
                _ => return,
            };
            play.changes[place]
        };
        let said = Some(Version::new(format!("\"{}\"", truth.number)).unwrap());
        let pushed = match (self.below(8), truth.exists) {
            (0, _) => Pushed::Changed(None),
            (1, _) => Pushed::Changed(said),
            (_, true) => Pushed::Put(record(truth.number)),
            (_, false) => Pushed::Delete(said),
        };
        let cache = self.cache.lock().unwrap().upgrade();
        if let Some(cache) = cache {
            cache.pushed(&key, pushed);
            self.is_known(key, truth.number);
        }
    }

    /// What happens between two phases of a call.
    fn meanwhile(&self) {
        if self.play().depth > 2 {
            return;
        }
        self.play().depth += 1;
        for _ in 0..self.below(4) {
            match self.below(16) {
                0..=4 => drop(self.change(self.key(), true)),
                5 => drop(self.change(self.key(), false)),
                6..=12 => self.tell(false),
                13..=14 => self.tell(true),
                _ => {
                    let cache = self.cache.lock().unwrap().upgrade();
                    if let Some(cache) = cache {
                        self.read(&cache, self.key());
                    }
                }
            }
        }
        self.play().depth -= 1;
    }

    fn key(&self) -> u32 {
        self.below(KEYS) as u32
    }

    /// No read that begins from here on gives what is older.
    fn is_known(&self, key: u32, number: u64) {
        let mut play = self.play();
        let floor = play.floor.entry(key).or_default();
        *floor = number.max(*floor);
    }

    /// A read, judged by what was told or applied before it began.
    fn read(&self, cache: &Cache<u32, u64>, key: u32) {
        let floor = self.play().floor.get(&key).copied().unwrap_or(0);
        let found = cache.get(&key).expect("the origin always answers").map(|entry| *entry);
        let play = self.play();
        let seen = match found {
            Some(number) => number,
            // The earliest absence that it can have been.
            None => {
                let absences = play.changes.iter().filter(|(of, truth)| *of == key && !truth.exists);
                let mut numbers = absences.map(|(_, truth)| truth.number).chain([0]).filter(|number| *number >= floor);
                let first = numbers.by_ref().min();
                first.unwrap_or_else(|| panic!("key {key} is absent, which was not so since {floor}"))
            }
        };
        assert!(seen >= floor, "key {key}: read {seen} after {floor}");
    }
}

struct Handle(Arc<Origin>);

impl Source<Numbers> for Handle {
    fn get(&self, key: &u32, _: &LoadCx<'_, Numbers>) -> Result<Loaded<u64>, SourceError> {
        self.0.meanwhile();
        let truth = self.0.truth(*key);
        self.0.meanwhile();
        Ok(if truth.exists { Loaded::Found(record(truth.number)) } else { Loaded::Absent })
    }

    fn put(&self, key: &u32, _: &u64, _: &WriteCx<'_, Numbers>) -> Outcome<Confirmed<u64>> {
        self.0.meanwhile();
        let applied = self.0.change(*key, true);
        self.0.meanwhile();
        Outcome::Applied(Confirmed::Record(record(applied.number)))
    }

    fn delete(&self, key: &u32, _: &WriteCx<'_, Numbers>) -> Outcome<()> {
        self.0.meanwhile();
        self.0.change(*key, false);
        self.0.meanwhile();
        Outcome::Applied(())
    }

    fn declared(&self) -> Declared {
        let mut declared = Declared::default();
        declared.version_order = VersionOrder::Number;
        declared
    }
}

/// A write of the program's own that is out.
struct Out {
    key: u32,
    sent: Sent<Numbers>,
    applied: Option<Truth>,
}

fn history(seed: u64) {
    let origin = Arc::new(Origin { play: Mutex::default(), cache: Mutex::default() });
    origin.play().dice = Some(Dice::new(seed));
    let clock = ManualClock::new();
    // What has expired stays, so that there are loads beside a record that is held.
    let minute = Duration::from_secs(60);
    let builder = Cache::builder(Handle(Arc::clone(&origin))).clock(clock.shared()).clean_start(true);
    let builder = builder.lifetime(Duration::from_millis(1 + seed % 5)).stale_if_error(minute);
    let cache = Arc::new(builder.absent_after_delete(seed.is_multiple_of(2)).shards(1).build().unwrap());
    *origin.cache.lock().unwrap() = Arc::downgrade(&cache);
    let mut out: Vec<Out> = Vec::new();
    let free = |out: &[Out], key| out.iter().all(|other| other.key != key);
    for _ in 0..32 {
        let key = origin.key();
        match origin.below(20) {
            0..=6 => origin.read(&cache, key),
            7 => drop(origin.change(key, origin.below(4) > 0)),
            8..=9 => origin.tell(false),
            10 => origin.tell(true),
            11 if free(&out, key) && cache.stats().in_doubt == 0 => {
                let applied = if origin.below(3) == 0 {
                    cache.delete(&key).map(drop)
                } else {
                    cache.put(&key, 0).map(|written| {
                        origin.is_known(key, written.entry.map_or(0, |entry| *entry));
                    })
                };
                applied.expect("the origin refuses nothing");
            }
            12 if free(&out, key) => {
                let sent = cache.prepare(&key, &Call::new()).unwrap().send().unwrap();
                out.push(Out { key, sent, applied: None });
            }
            13 => {
                if let Some(write) = out.last_mut().filter(|write| write.applied.is_none()) {
                    write.applied = Some(origin.change(write.key, true));
                }
            }
            14 => ends(&origin, &cache, &mut out),
            _ => clock.advance(Duration::from_millis(1)),
        }
    }
    while !out.is_empty() {
        ends(&origin, &cache, &mut out);
    }
    while !origin.play().untold.is_empty() {
        origin.tell(false);
        if origin.below(2) == 0 {
            origin.tell(true);
        }
    }
    // Nothing happens any more but these reads.
    origin.play().depth = 9;
    for key in 0..KEYS as u32 {
        let truth = origin.truth(key);
        let want = truth.exists.then_some(truth.number);
        assert_eq!(cache.get(&key).unwrap().map(|entry| *entry), want, "key {key} at rest");
    }
}

/// The oldest write that is out ends: as applied, or unknown, and then it lands or not, and that is settled.
fn ends(origin: &Origin, cache: &Cache<u32, u64>, out: &mut Vec<Out>) {
    if out.is_empty() {
        return;
    }
    let Out { key, sent, applied } = out.remove(0);
    match applied {
        Some(truth) if origin.below(4) > 0 => {
            sent.commit(Some(record(truth.number)));
            origin.is_known(key, truth.number);
        }
        applied => {
            let _doubt = sent.in_doubt(SourceError::new(Failure::Broken, "no answer"));
            origin.tell(true);
            origin.read(cache, key);
            if applied.is_none() && origin.below(2) == 0 {
                origin.change(key, true);
                origin.tell(false);
            }
            assert!(cache.settle(&key, Settlement::Over));
        }
    }
}

#[test]
fn i3_g5_no_read_goes_back_and_at_rest_all_is_the_origins() {
    for seed in 0..4_000 {
        let played = std::panic::catch_unwind(|| history(seed));
        if let Err(panic) = played {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
