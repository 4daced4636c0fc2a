//! An exhaustive check of the protocol of one key.
//!
//! The state is a real [`Slot`], and around it, in miniature, what `shard.rs`, `get.rs`, `put.rs` and `prepare.rs` do with it
//! (`loads.rs`, `steps.rs`): the resident entry, the load in flight and its waiters, the queue of writers; beyond those the origin's
//! truth, the messages on their way, and clients with short programs. Whatever can happen next is an [`Act`]; the search
//! tries all of them in every state. Time is abstract: a deadline may pass whenever the configuration still allows one to, a settle window
//! when none of its strays is left. `wrong.rs` has the rules that must fail, `tests.rs` the configurations.

mod loads;
mod steps;
mod tests;
mod wrong;

use std::fmt;

use wtcache_testkit::explore::Model;
use wtcache_testkit::register::{Register, Value};

use super::*;
use wrong::Wrong;

/// The absent record. The record at the start is 1, each write makes another.
const ABSENT: Value = 0;
const AT_START: Value = 1;
/// As a condition: any record.
const ANY: Value = 15;

/// What a client does, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Get,
    /// A read from inside a call of the source: it waits for nobody and is not retained.
    NestedGet,
    Put,
    Delete,
    /// Reads the existing record and writes on the condition that it is still there.
    Update,
    /// Writes on the condition that there is a record.
    PutIfExists,
    /// Sends the write before it again, if that ended unknown.
    Replay,
    /// Has the origin make a record, which takes no turn: the origin names this key.
    Create,
    /// Another program changes the record at the origin and tells the cache in the same moment.
    Outside,
    /// The same, but the cache is told later.
    OutsideThenTold,
}

impl Op {
    fn takes_turn(self) -> bool {
        matches!(self, Self::Put | Self::Delete | Self::Update | Self::PutIfExists | Self::Replay)
    }

    /// It makes a record of its own.
    fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::NestedGet | Self::Replay)
    }

    /// It asks for the existing record in its turn.
    fn asks(self) -> bool {
        matches!(self, Self::Update | Self::PutIfExists)
    }
}

/// What can happen, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Limits {
    /// Answers of writes that are lost.
    lost: u8,
    /// Permits whose deadline passes.
    overdue: u8,
    /// Writes given up before they are sent, or held back.
    aborted: u8,
    /// Writes that the origin refuses, or that prove not sent.
    refused: u8,
    /// Writes that the source sends again.
    resent: u8,
    /// Replays that are throttled, or never leave.
    turned_away: u8,
    /// Doubts, and writes in doubt, that are settled by hand.
    settled: u8,
    /// Confirmed records that are not seen, or not kept.
    unkept: u8,
    /// Loads that fail, whose leader goes, or that are taken over.
    loads_lost: u8,
    evicted: u8,
    invalidated: u8,
    crashed: u8,
}

#[derive(Clone, Debug)]
struct Config {
    name: &'static str,
    programs: Vec<Vec<Op>>,
    limits: Limits,
    /// The origin honours conditions and never reuses a version; this is declared.
    honours_conditions: bool,
    /// The origin honours idempotency keys; this is declared.
    honours_idempotency: bool,
    in_doubt_writes_wait: bool,
    absent_after_delete: bool,
    wrong: Option<Wrong>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    slot: Slot,
    /// Who leads the load that is attached to the cell.
    flight: Option<u8>,
    queue: Vec<u8>,
    base: Option<Resident>,
    truth: Value,
    clients: Vec<Client>,
    strays: Vec<Stray>,
    /// Writes that took effect, where the origin remembers them.
    applied: u16,
    /// Writes that it refused.
    refused: u16,
    /// Some sends of an earlier process may still land.
    unsure: bool,
    left: Limits,
    history: Register,
    /// Readers of which nothing is asked: an outsider has changed the record and not yet told.
    excused: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Resident {
    value: Value,
    /// It was asked for before the first settle window was over, and ends with it.
    suspect: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Client {
    op: u8,
    phase: Phase,
    /// Its last write ended unknown, and it may send that again.
    in_doubt: Option<Resend>,
}

/// What it takes to send a write again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Resend {
    condition: Option<Value>,
    /// Its first send was before the first settle window was over.
    suspect: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    /// Between two operations.
    Rest,
    Look {
        moved: bool,
    },
    Leading(Load),
    Waiting {
        leader: u8,
        moved: bool,
    },
    /// A load of its own, that nobody joins.
    Alone {
        found: Option<Value>,
    },
    Queued,
    Prepared {
        existing: Option<Value>,
    },
    Sent(Sent),
    Making(Making),
    /// Has changed the record and not yet told.
    Telling,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Load {
    moved: bool,
    has_moved_reader: bool,
    given_up: bool,
    found: Option<Value>,
    suspect: bool,
    /// A wrong rule lets it be retained, although it is not the attached one.
    retained_all_the_same: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Sent {
    condition: Option<Value>,
    at_origin: AtOrigin,
    /// An earlier send of it is not settled.
    stray: bool,
    suspect: bool,
}

/// A create that is out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Making {
    /// The origin has made the record, and named the key.
    made: bool,
    /// Something came by the key since its send.
    overtaken: bool,
    suspect: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum AtOrigin {
    OnItsWay,
    Applied,
    Refused,
}

/// A send that nobody waits for any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Stray {
    /// Its number, which is that of the write.
    write: u8,
    condition: Option<Value>,
    /// It was sent by a process that has crashed since.
    of_old: bool,
}

/// How a confirmed record comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    Kept,
    NotKept,
    Unseen,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Begins its next operation, or goes on with it: a look for a reader, the turn for a writer.
    Begin(u8),
    Look(u8),
    OriginReads(u8),
    LoadEnds(u8, Record),
    LoadFails(u8),
    LeaderGone(u8),
    TakenOver(u8),
    HeldBack(u8),
    LeavesQueue(u8),
    Abort(u8),
    Existing(u8),
    AloneEnds(u8),
    Send(u8),
    SendAgain(u8),
    OriginWrites(u8),
    OriginRefuses(u8),
    TurnedAway(u8),
    Answer(u8, Record),
    AnswerLost(u8),
    OriginMakes(u8),
    Made(u8, Record),
    Tell(u8),
    PermitOverdue,
    StrayLands(u8),
    StrayLost(u8),
    WindowEnds,
    /// A program that knows settles one write, or all that are in doubt.
    Settle(Option<u8>),
    Evict,
    Invalidate,
    Crash,
    FirstWindowEnds,
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = |c: u8| char::from(b'A' + c);
        match *self {
            Self::Begin(c) => write!(f, "{} begins", client(c)),
            Self::Look(c) => write!(f, "{} looks again", client(c)),
            Self::OriginReads(c) => write!(f, "the origin answers {}'s load", client(c)),
            Self::LoadEnds(c, record) => write!(f, "{}'s load ends ({record:?})", client(c)),
            Self::LoadFails(c) => write!(f, "{}'s load fails", client(c)),
            Self::LeaderGone(c) => write!(f, "{} gives its load up", client(c)),
            Self::TakenOver(c) => write!(f, "{}'s load is taken over", client(c)),
            Self::HeldBack(c) => write!(f, "{} is held back", client(c)),
            Self::LeavesQueue(c) => write!(f, "{} leaves the queue", client(c)),
            Self::Abort(c) => write!(f, "{} aborts", client(c)),
            Self::Existing(c) => write!(f, "{} asks for the existing record", client(c)),
            Self::AloneEnds(c) => write!(f, "{}'s own load ends", client(c)),
            Self::Send(c) => write!(f, "{} sends", client(c)),
            Self::SendAgain(c) => write!(f, "{} sends again", client(c)),
            Self::OriginWrites(c) => write!(f, "the origin takes {}'s write", client(c)),
            Self::OriginRefuses(c) => write!(f, "the origin refuses {}'s write", client(c)),
            Self::TurnedAway(c) => write!(f, "{}'s replay is turned away", client(c)),
            Self::Answer(c, record) => write!(f, "{} is answered ({record:?})", client(c)),
            Self::AnswerLost(c) => write!(f, "{} gets no answer", client(c)),
            Self::OriginMakes(c) => write!(f, "the origin makes {}'s record", client(c)),
            Self::Made(c, record) => write!(f, "{}'s record is made ({record:?})", client(c)),
            Self::Tell(c) => write!(f, "{} tells the cache", client(c)),
            Self::PermitOverdue => write!(f, "the permit's deadline passes"),
            Self::StrayLands(i) => write!(f, "stray {i} lands"),
            Self::StrayLost(i) => write!(f, "stray {i} is lost"),
            Self::WindowEnds => write!(f, "the settle window ends"),
            Self::Settle(None) => write!(f, "the doubt is settled by hand"),
            Self::Settle(Some(number)) => write!(f, "write {number} is settled by hand"),
            Self::Evict => write!(f, "the entry is evicted"),
            Self::Invalidate => write!(f, "the key is invalidated"),
            Self::Crash => write!(f, "the process crashes"),
            Self::FirstWindowEnds => write!(f, "the first settle window ends"),
        }
    }
}

impl Config {
    fn op(&self, client: usize, state: &State) -> Option<Op> {
        self.programs[client].get(usize::from(state.clients[client].op)).copied()
    }

    /// The number of the write that a client is at: how many stand before it in all programs.
    fn write_of(&self, client: usize, state: &State) -> u8 {
        let own = &self.programs[client][..usize::from(state.clients[client].op)];
        let before = self.programs[..client].iter().flatten().chain(own);
        let before = before.filter(|op| op.is_write()).count() as u8;
        // A replay is another send of the one before.
        if self.op(client, state) == Some(Op::Replay) { before - 1 } else { before }
    }

    /// The permit of a client's send. That of a first send is the number of its write.
    fn permit(&self, client: usize, state: &State) -> PermitId {
        let again = self.op(client, state) == Some(Op::Replay);
        let nth = if again { u64::from(state.clients[client].op) } else { 0 };
        PermitId(u64::from(self.write_of(client, state)) + 16 * nth)
    }

    /// The record that a write makes.
    fn value_of(&self, write: u8) -> Value {
        let mut writes = self.programs.iter().flatten().filter(|op| op.is_write());
        let op = writes.nth(usize::from(write)).expect("a write has its place");
        if *op == Op::Delete { ABSENT } else { write + 2 }
    }

    /// A write of the client yields to a doubt.
    fn yields(&self, op: Op) -> bool {
        self.in_doubt_writes_wait && op != Op::Replay && !(op.asks() && self.honours_conditions)
    }

    fn rules(&self) -> Rules {
        Rules {
            settle_window: Duration::from_nanos(10),
            conditions_settle: self.honours_conditions,
            keys_settle: self.honours_idempotency || wrong::believes_any_replay(self),
        }
    }
}

impl Model for Config {
    type State = State;
    type Action = Act;

    fn start(&self) -> State {
        State {
            slot: Slot::default(),
            flight: None,
            queue: Vec::new(),
            base: None,
            truth: AT_START,
            clients: vec![Client { op: 0, phase: Phase::Rest, in_doubt: None }; self.programs.len()],
            strays: Vec::new(),
            applied: 0,
            refused: 0,
            unsure: false,
            left: self.limits,
            history: Register::new(AT_START),
            excused: 0,
        }
    }

    fn actions(&self, state: &State, into: &mut Vec<Act>) {
        for client in 0..self.programs.len() {
            self.client_actions(client, state, into);
        }
        let left = state.left;
        let mut may = |yes: bool, act: Act| into.extend(yes.then_some(act));
        may(left.overdue > 0 && !state.slot.turn_is_free(), Act::PermitOverdue);
        for number in 0..state.strays.len() as u8 {
            may(true, Act::StrayLands(number));
            may(true, Act::StrayLost(number));
        }
        may(self.window_may_end(state), Act::WindowEnds);
        may(left.settled > 0 && self.window_may_end(state), Act::Settle(None));
        for number in self.writes_in_doubt(state) {
            may(left.settled > 0 && !self.may_land(state, |write| write == number), Act::Settle(Some(number)));
        }
        may(left.evicted > 0 && state.base.is_some(), Act::Evict);
        let matters = state.base.is_some() || !state.slot.is_idle();
        may(left.invalidated > 0 && matters, Act::Invalidate);
        may(left.crashed > 0, Act::Crash);
        may(state.unsure && !state.strays.iter().any(|stray| stray.of_old), Act::FirstWindowEnds);
    }

    fn next(&self, state: &State, action: &Act) -> State {
        let mut next = state.clone();
        next.happens(self, *action);
        next
    }

    fn fault(&self, state: &State, last: bool) -> Option<&'static str> {
        if !state.history.holds() {
            return Some("not linearizable");
        }
        if state.slot.doubt().is_some() && state.base.is_some() {
            return Some("an entry while in doubt");
        }
        if state.flight.is_some() != state.slot.load.is_some() {
            return Some("slot and cell disagree about the load");
        }
        let resting = state.clients.iter().all(|client| client.phase == Phase::Rest);
        if resting && (!state.slot.turn_is_free() || state.slot.load.is_some()) {
            return Some("a turn or a load of nobody");
        }
        let settled = state.slot.doubt().is_none() && state.strays.is_empty() && !state.unsure;
        if resting && settled && state.base.is_some_and(|base| base.value != state.truth) {
            return Some("at rest, the entry is not the origin's record");
        }
        let done = (0..self.programs.len()).all(|client| self.op(client, state).is_none());
        if last && !(done && state.slot.is_idle() && state.queue.is_empty()) {
            return Some("somebody is left waiting");
        }
        None
    }
}

impl Config {
    /// What a client may do, and what may happen to it.
    fn client_actions(&self, client: usize, state: &State, into: &mut Vec<Act>) {
        let Some(op) = self.op(client, state) else { return };
        let c = client as u8;
        let left = state.left;
        let waits = |client: &Client| matches!(client.phase, Phase::Waiting { leader, .. } if leader == c);
        let is_awaited = state.clients.iter().any(waits);
        let mut may = |yes: bool, act: Act| into.extend(yes.then_some(act));
        match state.clients[client].phase {
            Phase::Rest => {
                may(true, Act::Begin(c));
                let waits = op.takes_turn() && self.yields(op) && state.slot.doubt().is_some();
                may(left.aborted > 0 && waits, Act::HeldBack(c));
            }
            Phase::Look { .. } => may(true, Act::Look(c)),
            Phase::Leading(Load { found: None, given_up, .. }) => {
                may(true, Act::OriginReads(c));
                may(left.loads_lost > 0, Act::LoadFails(c));
                may(left.loads_lost > 0, Act::LeaderGone(c));
                may(left.loads_lost > 0 && !given_up && is_awaited, Act::TakenOver(c));
            }
            Phase::Leading(Load { given_up, .. }) => {
                may(true, Act::LoadEnds(c, Record::Kept));
                may(left.unkept > 0, Act::LoadEnds(c, Record::NotKept));
                may(left.loads_lost > 0 && !given_up && is_awaited, Act::TakenOver(c));
            }
            Phase::Waiting { .. } => {}
            Phase::Alone { found: None } => may(true, Act::OriginReads(c)),
            Phase::Alone { .. } => may(true, Act::AloneEnds(c)),
            Phase::Queued => may(left.aborted > 0, Act::LeavesQueue(c)),
            Phase::Prepared { existing } => {
                let asks = op.asks() && existing.is_none();
                may(asks, Act::Existing(c));
                may(!asks, Act::Send(c));
                may(left.aborted > 0, Act::Abort(c));
            }
            Phase::Sent(Sent { at_origin: AtOrigin::OnItsWay, .. }) => {
                may(true, Act::OriginWrites(c));
                // An origin that remembers what it applied does not refuse that.
                let applied = state.applied & 1 << self.write_of(client, state) != 0;
                may(left.refused > 0 && !applied, Act::OriginRefuses(c));
                may(left.turned_away > 0 && op == Op::Replay, Act::TurnedAway(c));
                may(left.lost > 0, Act::AnswerLost(c));
                may(left.resent > 0 && op != Op::Replay && self.holds_turn(client, state), Act::SendAgain(c));
            }
            Phase::Sent(sent) => {
                let applied = sent.at_origin == AtOrigin::Applied;
                let deletes = self.value_of(self.write_of(client, state)) == ABSENT;
                let seen = !deletes || self.absent_after_delete;
                may(seen || !applied, Act::Answer(c, Record::Kept));
                may(applied && (left.unkept > 0 || !seen), Act::Answer(c, Record::Unseen));
                may(applied && left.unkept > 0 && seen, Act::Answer(c, Record::NotKept));
                may(left.lost > 0, Act::AnswerLost(c));
                may(left.resent > 0 && op != Op::Replay && self.holds_turn(client, state), Act::SendAgain(c));
            }
            // Its answer is not lost: no key would be in doubt, so that nothing is promised of what is here then (P9).
            Phase::Making(Making { made: false, .. }) => may(true, Act::OriginMakes(c)),
            Phase::Making(_) => {
                may(true, Act::Made(c, Record::Kept));
                may(left.unkept > 0, Act::Made(c, Record::Unseen));
                may(left.unkept > 0, Act::Made(c, Record::NotKept));
            }
            Phase::Telling => may(true, Act::Tell(c)),
        }
    }

    fn holds_turn(&self, client: usize, state: &State) -> bool {
        let own = self.permit(client, state);
        matches!(state.slot.turn, Turn::Prepared { permit, .. } | Turn::Sent { permit, .. } if permit == own)
    }

    fn writes_in_doubt(&self, state: &State) -> Vec<u8> {
        let sends = state.slot.doubt().map_or(&[][..], |doubt| &doubt.sends);
        let mut writes: Vec<u8> = sends.iter().map(|send| send.write.0 as u8).collect();
        writes.sort_unstable();
        writes.dedup();
        writes
    }

    /// No send that the doubt is about can land any more.
    fn window_may_end(&self, state: &State) -> bool {
        let Some(doubt) = state.slot.doubt() else { return false };
        let first = doubt.sends.first().map(|send| send.write.0 as u8);
        !self.may_land(state, |write| self.wrong != Some(Wrong::WindowOfTheFirst) || first == Some(write))
    }

    /// A send of one of these writes may still land, other than by the write that has the turn.
    fn may_land(&self, state: &State, which: impl Fn(u8) -> bool) -> bool {
        let holds = |own: PermitId| matches!(state.slot.turn, Turn::Sent { permit, .. } if permit == own);
        let on_its_way = (0..self.programs.len()).any(|client| {
            let phase = state.clients[client].phase;
            let sent = matches!(phase, Phase::Sent(Sent { at_origin: AtOrigin::OnItsWay, .. }));
            sent && which(self.write_of(client, state)) && !holds(self.permit(client, state))
        });
        // What a source sent in the turn before it sent again is the turn's own.
        let stray = |stray: &Stray| !stray.of_old && which(stray.write) && !holds(PermitId(stray.write.into()));
        on_its_way || state.strays.iter().any(stray)
    }
}
