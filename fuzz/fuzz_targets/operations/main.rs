#![no_main]
//! Sequences of operations on a real `ByteCache`, over an origin that does what it should not, on one thread.
//!
//! What the cache answers is judged by what `docs/CONTRACT.md` promises: outcomes (A1, A2), what may be read (G5, G6, G9), turns
//! (P3), conditions (P6), what is kept of a write (P1, B1), doubts and their handles (A3, D1 to D3), nesting (P5), invalidation
//! (I1), the start (C0), the index, the counts, and that at rest every entry is the origin's record. Waiting takes the clock's time
//! only, so that nothing hangs.

mod by_hand;
mod input;
mod judge;
mod pending;
mod truth;
mod world;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use wtcache::{ByteCache, Bytes, Clock, Failure, InDoubtWrites, Optimistic, Prepared, Sent, SourceError};

use crate::input::{Confirm, DEADLINE, Input, Inside, Lands, Operation, PendingOperation, Step, What, WriteDoes};
use crate::truth::{PENDING_DEADLINE, Record, Sending};
use crate::world::{Scripted, UNIT, World, confirmed, weight};

/// More operations find nothing that as many do not find.
const MOST_OPERATIONS: usize = 64;
const MOST_PERMITS: usize = 8;

fuzz_target!(|input: Input| run(&input));

fn run(input: &Input) {
    let world = Arc::new(World::new(&input.options));
    let options = &input.options;
    let clock: Arc<dyn Clock> = world.clock.clone();
    let number = |value: Option<&[u8]>| value.map(world::number);
    let mut builder = ByteCache::builder(Scripted(Arc::clone(&world)))
        .clock(clock)
        .capacity(world.capacity())
        .weigher(move |_, value| weight(number(value)))
        .negative_lifetime(UNIT * u32::from(options.negative_lifetime))
        .deadline(UNIT * u32::try_from(DEADLINE).expect("small"))
        .shards(1)
        .seed(7)
        .absent_after_delete(options.absent_after_delete)
        .in_doubt_writes(if options.writes_wait { InDoubtWrites::Wait } else { InDoubtWrites::Send })
        .clean_start(options.early.is_none())
        // Nothing that is pending is ended by time.
        .optimistic(Optimistic::new().deadline(UNIT * u32::try_from(PENDING_DEADLINE).expect("small")))
        .indexes(["group"], |_, value, rows| rows.add(0, &[(world::number(value) % 3) as u8]));
    if let Some(lifetime) = options.lifetime {
        builder = builder.lifetime(UNIT * u32::from(lifetime.max(1)));
    }
    world.set_cache(Some(builder.build().expect("the options make sense")));
    let mut permits = Permits { world: &world, all: Vec::new() };
    for step in input.operations.iter().take(MOST_OPERATIONS) {
        match step {
            Step::Do(operation) => permits.run(operation),
            Step::Pending(operation) => pending(&world, operation),
        }
    }
    while !permits.all.is_empty() {
        permits.drop(0);
    }
    world.settle_all();
    world.rest();
    // The source owns the world, and the world the cache: the circle ends here.
    world.set_cache(None);
}

fn pending(world: &World, operation: &PendingOperation) {
    match operation {
        PendingOperation::Leave(key, left) => world.leave(key.number(), *left),
        PendingOperation::Settle(key, does) => {
            // It is on another thread, from which nothing may be asked of the world in between.
            let does = WriteDoes { inside: Inside::Nothing, ..does.clone() };
            world.settle_pending(key.number(), does);
        }
        PendingOperation::Cancel(key, place) => world.cancel(key.number(), *place),
        PendingOperation::Get(key) if world.is_pending(key.number()) => world.get_pending(key.number()),
        PendingOperation::Get(key) => world.get(key.number()),
    }
}

/// A write of the program's own.
struct Permit {
    key: usize,
    send: u64,
    deadline: u64,
    at: At,
}

enum At {
    Prepared(Prepared<Bytes>),
    Sent { sent: Sent<Bytes>, record: Record, since: u64 },
}

struct Permits<'w> {
    world: &'w World,
    all: Vec<Permit>,
}

impl Permits<'_> {
    fn run(&mut self, operation: &Operation) {
        let world = self.world;
        match operation {
            Operation::Get(key) => world.get(key.number()),
            Operation::Peek(key) => {
                world.peek(key.number());
            }
            Operation::Put(key) => world.put(key.number()),
            Operation::Delete(key) => world.delete(key.number()),
            Operation::Update(key, edit, inside) => world.update(key.number(), *edit, *inside),
            Operation::Invalidate(key) => world.invalidate(key.number()),
            Operation::Outside(key, what) => world.outside(key.number(), *what),
            Operation::Find => world.find(),
            Operation::Stats => world.stats(),
            Operation::Advance(by) => world.clock.advance(u64::from(by % 24)),
            Operation::NextLoad(does) => world.at().loads.push_back(does.clone()),
            Operation::NextWrite(does) => world.at().writes.push_back(does.clone()),
            Operation::Prepare(key) => self.prepare(key.number()),
            Operation::Abort(permit) => {
                if let Some(permit) = self.take(*permit, false)
                    && let At::Prepared(prepared) = permit.at
                {
                    world.at().truth.aborts(permit.key, permit.send);
                    prepared.abort();
                }
            }
            Operation::Existing(permit) => self.existing(*permit),
            Operation::Send(permit, what, lands) => self.send(*permit, *what, *lands),
            Operation::Commit(permit, confirm) => self.commit(*permit, *confirm),
            Operation::Reject(permit, stale) => self.reject(*permit, *stale),
            Operation::InDoubt(permit) => {
                if let Some(permit) = self.take(*permit, true) {
                    self.in_doubt(permit);
                }
            }
            Operation::Drop(permit) => {
                if !self.all.is_empty() {
                    self.drop(usize::from(*permit) % self.all.len());
                }
            }
            Operation::WriteIf(key, what, expects) => world.write_if(key.number(), *what, *expects),
            Operation::Replay(doubt) => world.replay(*doubt),
            Operation::Settle(key) => world.settle(key.number()),
            Operation::SettleOne(doubt) => world.settle_one(*doubt),
            Operation::Doubts(most) => world.doubts(usize::from(*most % 5)),
        }
    }

    fn prepare(&mut self, key: usize) {
        if self.all.len() < MOST_PERMITS
            && let Some((prepared, send, deadline)) = self.world.prepare(key)
        {
            self.all.push(Permit { key, send, deadline, at: At::Prepared(prepared) });
        }
    }

    /// The permit of that number among those that were sent, or were not.
    fn take(&mut self, number: u8, sent: bool) -> Option<Permit> {
        let those: Vec<usize> =
            (0..self.all.len()).filter(|place| matches!(self.all[*place].at, At::Sent { .. }) == sent).collect();
        let place = *those.get(usize::from(number) % those.len().max(1))?;
        Some(self.all.remove(place))
    }

    fn existing(&mut self, number: u8) {
        let Some(permit) = self.take(number, false) else { return };
        if let At::Prepared(prepared) = &permit.at {
            let since = self.world.at().truth.reader_begins(permit.key);
            if let Ok(entry) = prepared.existing() {
                let record = world::shown(permit.key, entry.as_ref());
                self.world.at().truth.was_read(permit.key, record, since);
            }
        }
        self.all.push(permit);
    }

    fn send(&mut self, number: u8, what: What, lands: Lands) {
        let Some(permit) = self.take(number, false) else { return };
        let (world, Permit { key, send, deadline, at }) = (self.world, permit);
        let At::Prepared(prepared) = at else { unreachable!("taken as one that was not sent") };
        let result = prepared.send();
        let mut state = world.at();
        let since = state.truth.now();
        assert_eq!(result.is_ok(), since < deadline, "P7: {:?}", result.err());
        let Ok(sent) = result else { return };
        state.truth.sends(key, Sending::first(send), (deadline, DEADLINE), None);
        let number = state.truth.number();
        drop(state);
        let record = (what == What::Put).then_some(number);
        world.lands(lands, key, send, record, None);
        self.all.push(Permit { key, send, deadline, at: At::Sent { sent, record, since } });
    }

    /// The program is told that its write was applied, if it was, or is now.
    fn commit(&mut self, number: u8, confirm: Confirm) {
        let Some(permit) = self.take(number, true) else { return };
        let world = self.world;
        let mut state = world.at();
        let in_time = state.truth.now() < permit.deadline;
        let At::Sent { record, since, .. } = permit.at else { unreachable!("taken as one that was sent") };
        let landed = state.truth.landed(permit.send);
        let landed = landed.or_else(|| {
            state.truth.will_not_land(permit.send);
            in_time.then(|| state.truth.apply(permit.key, permit.send, record, None)).flatten()
        });
        let Some(at) = landed else {
            drop(state);
            return self.in_doubt(permit);
        };
        let ended = state.truth.ends_applied(permit.key, Sending::first(permit.send), at, false);
        drop(state);
        let At::Sent { sent, .. } = permit.at else { unreachable!("looked at above") };
        let (seen, life) = match confirm {
            Confirm::Record(life) | Confirm::AsSent(life) => (record, life),
            Confirm::Unseen => (None, input::Life::NotKept),
        };
        let (what, written) = match record {
            Some(_) => (What::Put, sent.commit(confirmed(record, confirm))),
            None => (What::Delete, sent.commit_deleted()),
        };
        let keepable = match what {
            What::Put => seen.is_some() && world.is_keepable(seen, life, since),
            What::Delete => world.options.absent_after_delete && world.is_keepable(None, life, since),
        };
        world.was_applied(permit.key, what, &written, ended, seen, keepable);
    }

    /// The program is told that its write was refused, if it was not applied and now never will be.
    fn reject(&mut self, number: u8, stale: bool) {
        let Some(permit) = self.take(number, true) else { return };
        let mut state = self.world.at();
        if state.truth.landed(permit.send).is_some() {
            drop(state);
            return self.in_doubt(permit);
        }
        state.truth.will_not_land(permit.send);
        state.truth.ends_rejected(permit.key, Sending::first(permit.send), false);
        state.counts.rejected += 1;
        drop(state);
        if let At::Sent { sent, .. } = permit.at {
            sent.reject(stale);
        }
        if stale {
            assert_eq!(self.world.peek(permit.key), None, "P2: key {} was proven stale", permit.key);
        }
    }

    fn in_doubt(&mut self, permit: Permit) {
        let At::Sent { sent, .. } = permit.at else { return };
        self.world.at().truth.ends_unknown(permit.key, Sending::first(permit.send));
        let doubt = sent.in_doubt(SourceError::new(Failure::Broken, "as the program says"));
        self.world.is_unknown(permit.key, doubt);
    }

    fn drop(&mut self, place: usize) {
        let Permit { key, send, at, .. } = self.all.remove(place);
        let mut state = self.world.at();
        match &at {
            At::Prepared(_) => state.truth.aborts(key, send),
            At::Sent { .. } => {
                state.truth.ends_unknown(key, Sending::first(send));
                state.counts.unknown += 1;
            }
        }
        drop(state);
        drop(at);
    }
}
