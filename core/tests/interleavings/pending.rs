//! Writes that are shown before they are confirmed: merges, refusals, what nobody knows the end of, and what is taken back.
//!
//! In most scenarios a record is a set of bits, and each write adds one: then what a reader was shown says exactly which writes it is
//! made of, in whatever order they came. Invariant: the origin here never loses a bit, so whoever computes a write on anything but
//! the base in its turn is found out.

use std::sync::Arc;
use std::sync::Mutex as Notes;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use wtcache::{
    Cache, Call, Change, Confirmed, Failure, How, LoadCx, Loaded, Optimistic, Outcome, PendingWrite, Record, Rejection,
    Source, SourceError, WriteCx, WriteError,
};
use wtcache_testkit::ManualClock;

use super::explore;
use super::many::{client, run_all};
use super::world::{Faults, Ints, KEY, World, pause, play};

/// An origin of one record, and all that was written to it.
#[derive(Clone)]
struct Origin {
    written: Arc<Mutex<Vec<u64>>>,
    /// It refuses some writes, and of some says nothing.
    faulty: bool,
}

impl Origin {
    fn new(faulty: bool) -> Self {
        Self { written: Arc::new(Mutex::new(vec![0])), faulty }
    }

    fn written(&self) -> Vec<u64> {
        self.written.lock().expect("nobody panics with it").clone()
    }

    fn value(&self) -> u64 {
        *self.written().last().expect("it begins with one")
    }

    fn write(&self, value: u64) -> Outcome<Confirmed<u64>> {
        let lost = || Outcome::Unknown(SourceError::new(Failure::Broken, "the connection broke"));
        pause();
        let dice = if self.faulty { thread_rng().gen_range(0..6) } else { 5 };
        match dice {
            0 => return Outcome::Rejected(Rejection::new(SourceError::new(Failure::Refused, "no"))),
            1 => return lost(),
            _ => {}
        }
        self.written.lock().expect("nobody panics with it").push(value);
        pause();
        match dice {
            2 => lost(),
            3 => Outcome::Applied(Confirmed::Unseen),
            _ => Outcome::Applied(Confirmed::Record(Record::new(value))),
        }
    }
}

impl Source<Ints> for Origin {
    fn get(&self, _: &u64, _: &LoadCx<'_, Ints>) -> Result<Loaded<u64>, SourceError> {
        pause();
        let value = self.value();
        pause();
        Ok(Loaded::Found(Record::new(value)))
    }

    fn put(&self, _: &u64, value: &u64, _: &WriteCx<'_, Ints>) -> Outcome<Confirmed<u64>> {
        self.write(*value)
    }
}

/// What a reader saw, and what it knew of the writes when it began. Each a set of bits.
struct Seen {
    value: u64,
    /// It asked for what is pending, too; and that had a part in the answer.
    asks_for_pending: bool,
    is_pending: bool,
    /// Those that had been admitted by then.
    admitted: u64,
    /// Those whose ends had been told by then.
    ended: u64,
    /// Those that somebody had begun to admit when it had its answer.
    begun: u64,
}

#[derive(Default)]
struct Noted {
    begun: u64,
    admitted: u64,
    ended: u64,
    /// Said to be applied, and said not to be.
    applied: u64,
    refused: u64,
    seen: Vec<Seen>,
}

/// A key of a cache, and what its clients did and saw.
#[derive(Clone)]
struct Bits {
    cache: Cache<u64, u64>,
    origin: Origin,
    noted: Arc<Notes<Noted>>,
}

impl Bits {
    fn new(faulty: bool) -> Self {
        let origin = Origin::new(faulty);
        Self { cache: cache(&origin), origin, noted: Arc::default() }
    }

    fn note<T>(&self, note: impl FnOnce(&mut Noted) -> T) -> T {
        note(&mut self.noted.lock().expect("nobody panics with it"))
    }

    fn merge(&self, bit: u64) -> PendingWrite<Ints> {
        self.note(|noted| noted.begun |= bit);
        let pending = self.cache.merge_optimistic(&KEY, move |old| Some(old.copied().unwrap_or(0) | bit));
        let pending = pending.expect("there is room");
        self.note(|noted| noted.admitted |= bit);
        pending
    }

    fn ended(&self, bit: u64, result: Result<(), &WriteError<Ints>>) {
        self.note(|noted| {
            noted.ended |= bit;
            match result {
                Ok(()) => noted.applied |= bit,
                Err(error) if !error.may_be_applied() => noted.refused |= bit,
                Err(_) => {}
            }
        });
    }

    fn wait(&self, bit: u64, pending: PendingWrite<Ints>) {
        let ended = pending.wait();
        self.ended(bit, ended.as_ref().map(drop));
    }

    /// True: it is as if it had never been.
    fn cancel(&self, bit: u64, pending: PendingWrite<Ints>) {
        if pending.cancel() {
            self.note(|noted| (noted.ended, noted.refused) = (noted.ended | bit, noted.refused | bit));
        }
        self.wait(bit, pending);
    }

    fn update(&self, bit: u64) {
        self.note(|noted| noted.begun |= bit);
        let add = |old: Option<&wtcache::Entry<Ints>>| Ok(Change::Put(old.map_or(0, |entry| **entry) | bit));
        let result = self.cache.update(&KEY, add);
        self.ended(bit, result.as_ref().map(drop));
    }

    fn read(&self, confirmed: bool) {
        let (admitted, ended) = self.note(|noted| (noted.admitted, noted.ended));
        let call = Call::new();
        let read = if confirmed { self.cache.read_confirmed(&KEY, &call) } else { self.cache.read(&KEY, &call) };
        let read = read.expect("no load fails");
        let value = read.entry.map_or(0, |entry| *entry);
        let (asks_for_pending, is_pending) = (!confirmed, read.how == How::Pending);
        self.note(|noted| {
            let begun = noted.begun;
            noted.seen.push(Seen { value, asks_for_pending, is_pending, admitted, ended, begun });
        });
    }

    /// With nothing under way.
    fn check(&self) {
        let landed = self.origin.value();
        let noted = self.noted.lock().expect("nobody panicked with it");
        assert_eq!((noted.applied & !landed, noted.refused & landed), (0, 0), "A1: the origin has {landed:#b}");
        for pair in self.origin.written().windows(2) {
            assert_eq!(pair[0] & !pair[1], 0, "O5: {:#b} was not made of {:#b}", pair[1], pair[0]);
        }
        for seen in &noted.seen {
            let Seen { value, asks_for_pending, is_pending, admitted, ended, begun } = *seen;
            assert!(asks_for_pending || !is_pending, "O1: {value:#b} is pending");
            // Shown from its admission on, and of the base in the same step in which it is pending no more.
            let must = landed & if asks_for_pending { ended | admitted } else { ended };
            assert_eq!(must & !value, 0, "O1, O3, G5: {value:#b} lacks a write of {must:#b}");
            let may = landed | if is_pending { begun & !ended } else { 0 };
            assert_eq!(value & !may, 0, "O2: {value:#b} has a write that leaves no trace; {may:#b} may be there");
        }
        assert_eq!(self.cache.stats().pending, 0, "O4: a place was not given back");
        if let Some(entry) = self.cache.peek(&KEY) {
            assert_eq!((*entry, entry.pending_since()), (landed, None), "at rest");
        }
        assert_eq!(self.cache.get(&KEY).expect("no load fails").map(|entry| *entry), Some(landed), "at rest");
    }
}

fn cache(origin: &Origin) -> Cache<u64, u64> {
    let cache = Cache::builder(origin.clone()).clock(ManualClock::new().shared()).clean_start(true).seed(1).shards(1);
    cache.optimistic(Optimistic::new().threads(2)).build().expect("the options make sense")
}

#[test]
fn o1_o2_o3_merges_of_which_some_are_refused_and_some_are_unknown() {
    explore(|| {
        let bits = Bits::new(true);
        run_all(
            &bits,
            vec![
                client(|bits: &Bits| {
                    let pending = [1, 2].map(|bit| (bit, bits.merge(bit)));
                    bits.read(false);
                    pending.into_iter().for_each(|(bit, pending)| bits.wait(bit, pending));
                    bits.read(false);
                }),
                client(|bits: &Bits| {
                    let pending = bits.merge(4);
                    bits.read(false);
                    bits.wait(4, pending);
                    bits.update(8);
                    bits.read(true);
                }),
                client(|bits: &Bits| [false, true, false, true].into_iter().for_each(|confirmed| bits.read(confirmed))),
                client(|bits: &Bits| bits.update(16)),
            ],
        );
        bits.check();
    });
}

/// Nothing is loaded twice because of a doubt: what the fold was made of moves by other writers and by invalidations only.
#[test]
fn o5_o2_merges_above_a_base_that_moves_and_some_that_are_taken_back() {
    explore(|| {
        let bits = Bits::new(false);
        bits.read(false);
        run_all(
            &bits,
            vec![
                client(|bits: &Bits| {
                    bits.update(1);
                    bits.read(false);
                    bits.update(2);
                    bits.read(false);
                }),
                client(|bits: &Bits| {
                    let first = bits.merge(4);
                    let second = bits.merge(8);
                    bits.read(false);
                    bits.cancel(8, second);
                    bits.read(false);
                    bits.wait(4, first);
                }),
                client(|bits: &Bits| {
                    bits.read(false);
                    bits.cache.invalidate(&KEY);
                    (0..2).for_each(|_| bits.read(false));
                }),
            ],
        );
        bits.check();
    });
}

/// One client's values grow, and nobody else's are between them.
#[test]
fn o2_p3_pending_puts_of_a_key_go_out_in_the_order_they_came() {
    explore(|| {
        let origin = Origin::new(false);
        let two = (cache(&origin), origin);
        run_all(
            &two,
            vec![
                client(|(cache, _): &(Cache<u64, u64>, Origin)| {
                    let mut pending = Vec::new();
                    for value in 1..4 {
                        pending.push(cache.put_optimistic(&KEY, value).expect("there is room"));
                        let shown = cache.get(&KEY).expect("no load fails").map_or(0, |entry| *entry);
                        assert!(shown >= value, "O1: {shown} is shown after {value}");
                    }
                    pending.into_iter().for_each(|pending| drop(pending.wait().expect("applied")));
                }),
                client(|(cache, _): &(Cache<u64, u64>, Origin)| {
                    for value in [11, 12] {
                        cache.put(&KEY, value).expect("applied");
                        pause();
                    }
                }),
            ],
        );
        let (cache, origin) = two;
        let written = origin.written();
        for below in [1..4, 11..13] {
            let own: Vec<u64> = written.iter().copied().filter(|value| below.contains(value)).collect();
            assert_eq!(own, below.collect::<Vec<_>>(), "P3, O2: {written:?}");
        }
        assert_eq!(cache.get(&KEY).expect("no load fails").map(|entry| *entry), Some(origin.value()), "at rest");
    });
}

impl World {
    /// A pending write from its admission to its end: to those who read what is confirmed, a write like any.
    fn put_pending(&self, client: usize) {
        let value = self.fresh();
        let begun = self.history.begins(client);
        let Ok(pending) = self.cache.put_optimistic(&self.key, value) else { return };
        match pending.wait() {
            Ok(_) => begun.wrote(Some(value)),
            Err(error) if error.may_be_applied() => begun.may_write(Some(value)),
            Err(_) => {}
        }
    }

    fn get_confirmed(&self, client: usize) {
        let begun = self.history.begins(client);
        if let Ok(entry) = self.cache.get_confirmed(&self.key) {
            begun.read(entry.map(|entry| *entry));
        }
    }
}

#[test]
fn d1_o3_doubts_and_strays_beneath_pending_writes() {
    explore(|| {
        let world = World::new(Faults { loads_fail: false, ..Faults::ALL }, |builder| {
            builder.optimistic(Optimistic::new().threads(2))
        });
        play(
            &world,
            // Of what is waited for, nothing needs time to pass; where much does, most writes are too late to be sent.
            false,
            vec![
                client(|world: &World| (0..2).for_each(|_| world.put_pending(1))),
                client(|world: &World| (0..2).for_each(|_| world.put_pending(2))),
                client(|world: &World| (0..4).for_each(|_| world.get_confirmed(3))),
                client(|world: &World| world.put(4)),
                client(|world: &World| world.time_passes(3)),
            ],
        );
        world.check_at_rest();
        assert_eq!(world.cache.stats().pending, 0);
    });
}
