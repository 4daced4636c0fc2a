//! An exhaustive check of the rules for transactions on overlapping keys (chapter 6 of the contract): a model of the
//! rules, to build against.
//!
//! Two keys, two transactions that write both (one names them in the other order), a `get_many` of both, and single reads. The
//! base of a key, its turn, its load and its doubt follow the table of one key; what transactions add is in `steps.rs`, and the
//! rules that must fail are in `rules.rs`. Judged are each key's history, the history of the pair as `get_many` and the
//! transactions see it, and coherence at rest.

mod rules;
mod steps;

use wtcache_testkit::explore::{Explored, Model, explore};
use wtcache_testkit::register::{Register, Value};

use rules::Wrong;

/// What can happen, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Limits {
    refused: u8,
    lost: u8,
    evicted: u8,
}

#[derive(Clone, Debug)]
struct Config {
    name: &'static str,
    /// Of each `get_many` reader, how often it reads.
    many: &'static [u8],
    /// Of each single reader, the keys that it reads.
    single: &'static [&'static [usize]],
    transactions: usize,
    limits: Limits,
    /// A step that was Applied is compensated where a later one is Rejected.
    compensated: bool,
    /// The transactions' values are visible from their begin.
    optimistic: bool,
    wrong: Option<Wrong>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    keys: [Key; 2],
    transactions: Vec<Transaction>,
    readers: Vec<Reader>,
    /// Sends of key and value that may still land.
    strays: Vec<(usize, Value)>,
    left: Limits,
    histories: [Register; 2],
    pairs: Register,
    /// Something is in doubt or was left half done: nothing is promised across keys any more.
    pairs_excused: bool,
    torn: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    truth: Value,
    base: Option<Value>,
    /// Transactions in their turns; the first has it.
    turns: Vec<u8>,
    /// The reader that leads the attached load.
    load: Option<u8>,
    doubt: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Transaction {
    phase: Phase,
    /// The last that a step or compensation confirmed, of each key.
    confirmed: [Option<Value>; 2],
    /// A doubt of the key settled since the send.
    dirty: [bool; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Before,
    /// In the turns of this many of its keys.
    Queued(u8),
    /// At this step; nothing sent.
    Ready(u8),
    Sent(u8, AtOrigin),
    /// The first step is being undone.
    Compensating(AtOrigin),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum AtOrigin {
    OnItsWay,
    Applied,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Reader {
    /// Reads that are over.
    done: u8,
    phase: Reading,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reading {
    Rest,
    Round(Round),
}

/// A read under way: of one key, or of both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Round {
    /// How often it was moved before.
    moved: u8,
    /// The fence of one of its keys moved in this round.
    moves: bool,
    taken: [Option<Value>; 2],
    /// Keys that were not taken, but looked for later.
    loaded: [bool; 2],
    /// The load that it leads, and what the origin said.
    leads: Option<(usize, Option<Value>)>,
    /// The reader whose load of this key it waits for.
    joined: Option<(usize, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Begin {
        transaction: usize,
    },
    /// With a wrong rule: takes the turn of its second key.
    TakeNext {
        transaction: usize,
    },
    Send {
        transaction: usize,
    },
    OriginWrites {
        transaction: usize,
    },
    OriginRefuses {
        transaction: usize,
    },
    Answer {
        transaction: usize,
    },
    AnswerLost {
        transaction: usize,
    },
    /// Begins to read: takes what is here.
    Read {
        reader: usize,
    },
    /// Leads or joins a load of this key.
    Load {
        reader: usize,
        key: usize,
    },
    OriginReads {
        reader: usize,
    },
    LoadEnds {
        reader: usize,
    },
    StrayLands(usize),
    StrayLost(usize),
    WindowEnds {
        key: usize,
    },
    Evict {
        key: usize,
    },
}

impl Config {
    fn readers(&self) -> usize {
        self.many.len() + self.single.len()
    }

    /// The keys that a reader reads now.
    fn reads(&self, reader: usize, state: &State) -> Option<&'static [usize]> {
        let done = usize::from(state.readers[reader].done);
        match reader.checked_sub(self.many.len()) {
            None => (done < usize::from(self.many[reader])).then_some(&[0, 1]),
            Some(single) => self.single[single].get(done..=done),
        }
    }

    /// The key of a step: the second transaction names them in the other order.
    fn key_of(transaction: usize, step: u8) -> usize {
        usize::from(step) ^ transaction
    }

    fn value_of(transaction: usize) -> Value {
        transaction as Value + 1
    }
}

impl Model for Config {
    type State = State;
    type Action = Act;

    fn start(&self) -> State {
        let key = Key { truth: 0, base: Some(0), turns: Vec::new(), load: None, doubt: false };
        let before = Transaction { phase: Phase::Before, confirmed: [None; 2], dirty: [false; 2] };
        State {
            keys: [key.clone(), key],
            transactions: vec![before; self.transactions],
            readers: vec![Reader { done: 0, phase: Reading::Rest }; self.readers()],
            strays: Vec::new(),
            left: self.limits,
            histories: [Register::new(0), Register::new(0)],
            pairs: Register::new(0),
            pairs_excused: false,
            torn: false,
        }
    }

    fn actions(&self, state: &State, into: &mut Vec<Act>) {
        let left = state.left;
        let mut may = |yes: bool, act: Act| into.extend(yes.then_some(act));
        for (transaction, own) in state.transactions.iter().enumerate() {
            match own.phase {
                Phase::Before => may(true, Act::Begin { transaction }),
                Phase::Queued(1) => may(state.has_turn(transaction, 0), Act::TakeNext { transaction }),
                Phase::Queued(_) | Phase::Done => {}
                Phase::Ready(_) => may(true, Act::Send { transaction }),
                Phase::Sent(_, AtOrigin::OnItsWay) => {
                    may(true, Act::OriginWrites { transaction });
                    may(left.refused > 0, Act::OriginRefuses { transaction });
                    may(left.lost > 0, Act::AnswerLost { transaction });
                }
                Phase::Compensating(AtOrigin::OnItsWay) => may(true, Act::OriginWrites { transaction }),
                Phase::Sent(..) | Phase::Compensating(_) => {
                    may(true, Act::Answer { transaction });
                    may(left.lost > 0, Act::AnswerLost { transaction });
                }
            }
        }
        for (reader, own) in state.readers.iter().enumerate() {
            let Some(keys) = self.reads(reader, state) else { continue };
            match own.phase {
                Reading::Rest => may(true, Act::Read { reader }),
                Reading::Round(Round { leads: Some((_, None)), .. }) => may(true, Act::OriginReads { reader }),
                Reading::Round(Round { leads: Some(_), .. }) => may(true, Act::LoadEnds { reader }),
                Reading::Round(Round { joined: Some(_), .. }) => {}
                Reading::Round(round) => {
                    for key in keys.iter().copied().filter(|key| round.taken[*key].is_none()) {
                        may(self.may_load(state, keys, key), Act::Load { reader, key });
                    }
                }
            }
        }
        for number in 0..state.strays.len() {
            may(true, Act::StrayLands(number));
            may(true, Act::StrayLost(number));
        }
        for (key, own) in state.keys.iter().enumerate() {
            let stray = state.strays.iter().any(|stray| stray.0 == key);
            may(own.doubt && !stray, Act::WindowEnds { key });
            may(left.evicted > 0 && own.base.is_some(), Act::Evict { key });
        }
    }

    fn next(&self, state: &State, action: &Act) -> State {
        let mut next = state.clone();
        next.happens(self, *action);
        next
    }

    fn fault(&self, state: &State, last: bool) -> Option<&'static str> {
        if state.torn || !state.pairs.holds() {
            return Some("a transaction was seen in part");
        }
        if !state.histories.iter().all(Register::holds) {
            return Some("a key's history is not linearizable");
        }
        if state.keys.iter().any(|key| key.doubt && key.base.is_some()) {
            return Some("an entry while in doubt");
        }
        let ended = |transaction: &Transaction| matches!(transaction.phase, Phase::Before | Phase::Done);
        let resting = state.transactions.iter().all(ended) && state.readers.iter().all(|r| r.phase == Reading::Rest);
        for key in &state.keys {
            let settled = !key.doubt && state.strays.is_empty();
            if resting && settled && key.base.is_some_and(|base| base != key.truth) {
                return Some("at rest, an entry is not the origin's record");
            }
            if resting && !(key.turns.is_empty() && key.load.is_none()) {
                return Some("a turn or a load of nobody");
            }
        }
        let over = state.transactions.iter().all(|transaction| transaction.phase == Phase::Done);
        let read = (0..self.readers()).all(|reader| self.reads(reader, state).is_none());
        (last && !(over && read)).then_some("somebody is left waiting")
    }
}

fn config(name: &'static str, many: &'static [u8], single: &'static [&'static [usize]], limits: Limits) -> Config {
    Config { name, many, single, transactions: 2, limits, compensated: false, optimistic: false, wrong: None }
}

fn run(config: &Config) -> Explored<Act> {
    let began = std::time::Instant::now();
    let explored = explore(config, 10_000_000);
    let Explored { states, steps, depth, .. } = explored;
    eprintln!("| {} | {states} | {steps} | {depth} | {:.1} s |", config.name, began.elapsed().as_secs_f32());
    explored
}

const NOTHING: Limits = Limits { refused: 0, lost: 0, evicted: 0 };
const EVICTED: Limits = Limits { evicted: 1, ..NOTHING };

#[test]
fn transactions_on_the_same_keys_hold_in_every_state() {
    let compensated = |config| Config { compensated: true, ..config };
    let optimistic = |config| Config { optimistic: true, ..config };
    let refused = Limits { refused: 1, ..EVICTED };
    let lost = Limits { lost: 1, ..EVICTED };
    let configs = [
        config("two get_many", &[2, 1], &[], EVICTED),
        config("get_many and a single read", &[2], &[&[1]], Limits { evicted: 2, ..NOTHING }),
        config("steps refused", &[2], &[&[0]], refused),
        compensated(config("steps refused, compensated", &[2], &[&[0]], refused)),
        config("unknown steps", &[2], &[], lost),
        compensated(config("refused and unknown", &[1], &[], Limits { refused: 1, ..lost })),
        optimistic(config("visible from the begin", &[2, 1], &[], EVICTED)),
        optimistic(config("visible, steps refused", &[2], &[&[0]], refused)),
        optimistic(config("visible, unknown steps", &[2], &[], lost)),
    ];
    for config in configs {
        let explored = run(&config);
        assert!(explored.fault.is_none(), "{config:#?}: {:#?}", explored.fault);
    }
}
