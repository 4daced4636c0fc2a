//! What happens: the steps of `shard.rs`, `put.rs` and `prepare.rs` in miniature, each as atomic as it is there, and the
//! origin. Those of loads are in `loads.rs`.
//!
//! Where a step of the product only widens the time that an operation takes (a waiter that is woken and polls later, a look-up that
//! misses before the look under the lock), it is taken together with the one before or after: what is then judged is stricter.

use super::*;

const NOW: Tick = Tick::from_nanos(1);
const LATER: Tick = Tick::from_nanos(1_000_000);

/// Added to the number of a write: the second effect that a write sent twice may have.
const AGAIN: usize = 6;

impl State {
    pub(super) fn happens(&mut self, config: &Config, act: Act) {
        match act {
            Act::Begin(c) => self.begins(config, c),
            Act::Look(c) => self.looks(config, c),
            Act::OriginReads(c) => match &mut self.clients[usize::from(c)].phase {
                Phase::Leading(load) => load.found = Some(self.truth),
                Phase::Alone { found } => *found = Some(self.truth),
                other => unreachable!("{other:?} reads nothing"),
            },
            Act::LoadEnds(c, record) => {
                self.left.unkept -= u8::from(record != Record::Kept);
                self.load_ends(config, c, record == Record::Kept, false);
            }
            Act::LoadFails(c) => {
                self.left.loads_lost -= 1;
                self.load_ends(config, c, false, true);
            }
            Act::LeaderGone(c) => {
                self.left.loads_lost -= 1;
                self.give_up(config, c);
                self.read_ends(c, None);
            }
            Act::TakenOver(c) => {
                self.left.loads_lost -= 1;
                self.give_up(config, c);
            }
            Act::HeldBack(c) => {
                self.left.aborted -= 1;
                self.next_op(c);
            }
            Act::LeavesQueue(c) => {
                self.left.aborted -= 1;
                self.queue.retain(|other| *other != c);
                self.next_op(c);
            }
            Act::Abort(c) => {
                self.left.aborted -= 1;
                self.aborts(config, c);
            }
            Act::Existing(c) => self.asks_for_existing(c),
            Act::AloneEnds(c) => self.alone_ends(config, c),
            Act::Send(c) => self.sends(config, c),
            Act::SendAgain(c) => self.sends_again(config, c),
            Act::OriginWrites(c) => {
                let (write, mut sent) = (config.write_of(usize::from(c), self), self.sent(c));
                let applied = self.origin_writes(config, write, sent.condition);
                sent.at_origin = if applied { AtOrigin::Applied } else { AtOrigin::Refused };
                self.clients[usize::from(c)].phase = Phase::Sent(sent);
            }
            Act::OriginRefuses(c) => {
                self.left.refused -= 1;
                let write = config.write_of(usize::from(c), self);
                self.refused |= u16::from(config.honours_idempotency) << write;
                self.is_rejected(config, c, self.sent(c), false, config.honours_idempotency);
            }
            Act::TurnedAway(c) => {
                self.left.turned_away -= 1;
                let all_sends = wrong::believes_who_turns_away(config);
                self.is_rejected(config, c, self.sent(c), false, all_sends);
            }
            Act::Answer(c, record) => self.is_answered(config, c, record),
            Act::AnswerLost(c) => {
                self.left.lost -= 1;
                let sent = self.sent(c);
                if sent.at_origin == AtOrigin::OnItsWay {
                    self.leaves_stray(config.write_of(usize::from(c), self), sent.condition);
                }
                self.is_unknown(config, c);
            }
            Act::OriginMakes(c) => {
                self.truth = config.value_of(config.write_of(usize::from(c), self));
                let making = Making { made: true, ..self.making(c) };
                self.clients[usize::from(c)].phase = Phase::Making(making);
            }
            Act::Made(c, record) => self.is_made(config, c, record),
            Act::Tell(c) => {
                if config.op(usize::from(c), self) == Some(Op::OutsideThenTold) {
                    // A read that is under way may hold what it found before.
                    let busy = |c: &u8| self.clients[usize::from(*c)].phase != Phase::Rest;
                    self.excused = (0..self.clients.len() as u8).filter(busy).map(|c| 1 << c).sum();
                }
                self.invalidated(config);
                self.history.write_applied(usize::from(config.write_of(usize::from(c), self)));
                self.next_op(c);
            }
            Act::PermitOverdue => {
                self.left.overdue -= 1;
                self.permit_overdue(config);
            }
            Act::StrayLands(number) => {
                let stray = self.strays.remove(usize::from(number));
                self.origin_writes(config, stray.write, stray.condition);
            }
            Act::StrayLost(number) => {
                self.strays.remove(usize::from(number));
            }
            Act::WindowEnds => self.window_ends(config),
            Act::Settle(write) => {
                self.left.settled -= 1;
                let before = self.slot.clone();
                let write = write.map(|write| PermitId(write.into()));
                let mut change = self.slot.settled_by_hand(write);
                wrong::after_hand(config, self, &before, &mut change);
                self.apply(config, change);
            }
            Act::Evict => {
                self.left.evicted -= 1;
                self.base = None;
            }
            Act::Invalidate => {
                self.left.invalidated -= 1;
                self.invalidated(config);
            }
            Act::Crash => self.crashes(config),
            Act::FirstWindowEnds => {
                self.unsure = false;
                self.base = self.base.filter(|base| !base.suspect);
            }
        }
    }

    // --- clients

    fn begins(&mut self, config: &Config, c: u8) {
        let client = usize::from(c);
        match config.op(client, self).expect("a client that begins has something to do") {
            Op::Get => {
                self.history.read_begins(client);
                self.clients[client].phase = Phase::Look { moved: false };
                self.looks(config, c);
            }
            Op::NestedGet => {
                self.history.read_begins(client);
                match self.base {
                    Some(base) => self.read_ends(c, Some(base.value)),
                    None => self.clients[client].phase = Phase::Alone { found: None },
                }
            }
            Op::Replay if self.clients[client].in_doubt.is_none() => self.next_op(c),
            Op::Replay => self.arrives(config, c),
            Op::Put | Op::Delete | Op::Update | Op::PutIfExists => {
                self.clients[client].in_doubt = None;
                self.arrives(config, c);
            }
            Op::Create => {
                let write = config.write_of(client, self);
                self.write_begins(config, usize::from(write), write, None);
                self.clients[client].phase =
                    Phase::Making(Making { made: false, overtaken: false, suspect: self.unsure });
            }
            op @ (Op::Outside | Op::OutsideThenTold) => {
                let write = config.write_of(client, self);
                self.history.write_begins(usize::from(write), config.value_of(write), None);
                self.truth = config.value_of(write);
                self.clients[client].phase = Phase::Telling;
                if op == Op::Outside {
                    self.happens(config, Act::Tell(c));
                }
            }
        }
    }

    fn next_op(&mut self, c: u8) {
        let client = &mut self.clients[usize::from(c)];
        *client = Client { op: client.op + 1, phase: Phase::Rest, in_doubt: client.in_doubt };
        self.excused &= !(1 << c);
    }

    /// A reader is given `found`, or an error.
    pub(super) fn read_ends(&mut self, c: u8, found: Option<Value>) {
        self.judge(c, found);
        self.next_op(c);
    }

    pub(super) fn judge(&mut self, c: u8, found: Option<Value>) {
        let telling = self.clients.iter().any(|client| client.phase == Phase::Telling);
        let excused = telling || self.excused & 1 << c != 0;
        match found.filter(|_| !excused) {
            Some(value) => self.history.read_ends(usize::from(c), value),
            None => self.history.read_fails(usize::from(c)),
        }
    }

    // --- writes: prepare.rs, put.rs, commit.rs

    fn arrives(&mut self, config: &Config, c: u8) {
        let client = usize::from(c);
        let op = config.op(client, self).expect("who arrives has something to do");
        let held = self.slot.doubt().is_some() && config.yields(op);
        if self.slot.turn_is_free() && !held {
            let permit = self.permit(config, c);
            self.slot.prepare(permit, LATER);
            self.clients[client].phase = Phase::Prepared { existing: None };
        } else {
            self.queue.push(c);
            self.clients[client].phase = Phase::Queued;
        }
    }

    /// The free turn goes to the first writer that may have it.
    fn grant(&mut self, config: &Config) {
        if !self.slot.turn_is_free() {
            return;
        }
        let in_doubt = self.slot.doubt().is_some();
        let may = |c: &u8| {
            let op = config.op(usize::from(*c), self).expect("who waits has something to do");
            !(in_doubt && config.yields(op))
        };
        let Some(place) = self.queue.iter().position(may) else { return };
        let c = self.queue.remove(place);
        let permit = self.permit(config, c);
        self.slot.prepare(permit, LATER);
        self.clients[usize::from(c)].phase = Phase::Prepared { existing: None };
    }

    fn permit(&self, config: &Config, c: u8) -> PermitId {
        config.permit(usize::from(c), self)
    }

    fn aborts(&mut self, config: &Config, c: u8) {
        let permit = self.permit(config, c);
        self.event(config, |slot| slot.abort(permit));
        self.next_op(c);
    }

    fn sends(&mut self, config: &Config, c: u8) {
        let client = usize::from(c);
        let Phase::Prepared { existing } = self.clients[client].phase else { unreachable!("who sends is prepared") };
        let op = config.op(client, self);
        let again = self.clients[client].in_doubt;
        let (write, permit) = (config.write_of(client, self), self.permit(config, c));
        let (expects, replays) = match op {
            Some(Op::PutIfExists) if existing == Some(ABSENT) => return self.aborts(config, c),
            Some(Op::PutIfExists) => (config.honours_conditions.then_some(ANY), None),
            Some(Op::Replay) => (again.and_then(|again| again.condition), Some(PermitId(write.into()))),
            _ => (existing.filter(|_| config.honours_conditions), None),
        };
        if !self.slot.send(permit, expects.map(condition_on), replays) {
            return self.next_op(c);
        }
        if replays.is_none() {
            self.write_begins(config, usize::from(write), write, expects);
        } else if !config.honours_idempotency {
            self.write_begins(config, usize::from(write) + AGAIN, write, expects);
        }
        let again = again.filter(|_| replays.is_some() && !wrong::counts_from_the_replay(config));
        let suspect = again.map_or(self.unsure, |again| again.suspect);
        let sent = Sent { condition: expects, at_origin: AtOrigin::OnItsWay, stray: false, suspect };
        self.clients[client].phase = Phase::Sent(sent);
    }

    fn sent(&self, c: u8) -> Sent {
        let Phase::Sent(sent) = self.clients[usize::from(c)].phase else { unreachable!("who is answered has sent") };
        sent
    }

    /// The source gives a send up and makes another.
    fn sends_again(&mut self, config: &Config, c: u8) {
        self.left.resent -= 1;
        let (write, mut sent) = (config.write_of(usize::from(c), self), self.sent(c));
        if sent.at_origin == AtOrigin::OnItsWay {
            self.leaves_stray(write, sent.condition);
        }
        if !config.honours_idempotency && !sent.stray {
            self.write_begins(config, usize::from(write) + AGAIN, write, sent.condition);
        }
        sent.stray = !config.honours_idempotency;
        sent.at_origin = AtOrigin::OnItsWay;
        self.clients[usize::from(c)].phase = Phase::Sent(sent);
    }

    fn write_begins(&mut self, config: &Config, effect: usize, write: u8, condition: Option<Value>) {
        let value = config.value_of(write);
        match condition {
            Some(ANY) => self.history.write_begins_unless(effect, value, ABSENT),
            condition => self.history.write_begins(effect, value, condition),
        }
    }

    /// The effect that an answer to the client is about: a replay has one of its own, unless the origin honours the key.
    fn effect(&self, config: &Config, c: u8) -> usize {
        let client = usize::from(c);
        let own = config.op(client, self) == Some(Op::Replay) && !config.honours_idempotency;
        usize::from(config.write_of(client, self)) + if own { AGAIN } else { 0 }
    }

    fn is_answered(&mut self, config: &Config, c: u8, record: Record) {
        let sent = self.sent(c);
        if sent.at_origin == AtOrigin::Refused {
            return self.is_rejected(config, c, sent, true, config.honours_idempotency);
        }
        let write = config.write_of(usize::from(c), self);
        let seen = record != Record::Unseen;
        if config.absent_after_delete || config.value_of(write) != ABSENT {
            self.left.unkept -= u8::from(record != Record::Kept);
        }
        let stray_until = sent.stray.then_some(LATER);
        let before = wrong::before_applied(config, self);
        let permit = self.permit(config, c);
        let mut change = Change::default();
        if self.has_cell() {
            change = self.slot.applied(permit, seen, stray_until, &config.rules());
            wrong::after_applied(config, self, &before, permit, seen, &mut change);
            self.apply(config, change);
        } else {
            self.forget();
        }
        if change.base == Base::Take {
            self.take(config, config.value_of(write), record == Record::Kept, sent.suspect);
        }
        self.history.write_applied(self.effect(config, c));
        if config.honours_idempotency {
            self.clients[usize::from(c)].in_doubt = None;
        }
        self.next_op(c);
    }

    // --- creates: create.rs

    fn making(&self, c: u8) -> Making {
        let Phase::Making(making) = self.clients[usize::from(c)].phase else {
            unreachable!("who is answered has sent")
        };
        making
    }

    fn is_made(&mut self, config: &Config, c: u8, record: Record) {
        self.left.unkept -= u8::from(record != Record::Kept);
        let Making { overtaken, suspect, .. } = self.making(c);
        let newest = !overtaken || wrong::retains_what_was_overtaken(config);
        let seen = record != Record::Unseen;
        let takes = if self.has_cell() {
            let before = self.slot.clone();
            let mut change = self.slot.created(seen, newest);
            wrong::after_created(config, self, &before, &mut change);
            self.apply(config, change);
            change.base == Base::Take
        } else {
            newest
        };
        let write = config.write_of(usize::from(c), self);
        if takes && seen {
            self.take(config, config.value_of(write), record == Record::Kept, suspect);
        } else {
            self.forget();
        }
        self.history.write_applied(usize::from(write));
        self.next_op(c);
    }

    /// `all_sends`: whoever refused it would refuse any send of it.
    fn is_rejected(&mut self, config: &Config, c: u8, sent: Sent, stale_base: bool, all_sends: bool) {
        if sent.stray && !wrong::believes_refused_resend(config) {
            return self.is_unknown(config, c);
        }
        let permit = self.permit(config, c);
        if !self.has_cell() && stale_base {
            self.forget();
        }
        self.event(config, |slot| slot.rejected(permit, stale_base, all_sends, &config.rules()));
        let replay = config.op(usize::from(c), self) == Some(Op::Replay);
        let effect = self.effect(config, c);
        let is_about_all = config.honours_idempotency && all_sends && !wrong::believes_who_turns_away(config);
        if !replay || is_about_all || effect >= AGAIN {
            self.history.write_rejected(effect);
        }
        if is_about_all {
            self.clients[usize::from(c)].in_doubt = None;
        }
        self.next_op(c);
    }

    fn is_unknown(&mut self, config: &Config, c: u8) {
        let permit = self.permit(config, c);
        let mut change = self.slot.unknown(permit, LATER);
        wrong::after_unknown(config, self, &mut change);
        self.apply(config, change);
        let client = usize::from(c);
        let Sent { condition, suspect, .. } = self.sent(c);
        let later = &config.programs[client][usize::from(self.clients[client].op)..];
        self.clients[client].in_doubt = later.contains(&Op::Replay).then_some(Resend { condition, suspect });
        self.next_op(c);
    }

    fn permit_overdue(&mut self, config: &Config) {
        match &mut self.slot.turn {
            Turn::Prepared { deadline, .. } | Turn::Sent { deadline, .. } => *deadline = NOW,
            Turn::Free => unreachable!("a free turn has no deadline"),
        }
        let mut change = self.slot.tick(NOW, &config.rules());
        if let Some(doubt) = &mut self.slot.doubt {
            doubt.until = LATER;
        }
        if change.doubted {
            wrong::after_unknown(config, self, &mut change);
        }
        self.apply(config, change);
    }

    fn window_ends(&mut self, config: &Config) {
        let before = self.slot.clone();
        if let Some(doubt) = &mut self.slot.doubt {
            doubt.until = NOW;
        }
        let mut change = self.slot.tick(NOW, &config.rules());
        wrong::after_settled(config, self, &before, &mut change);
        self.apply(config, change);
    }

    fn invalidated(&mut self, config: &Config) {
        let before = self.slot.clone();
        let change = self.slot.invalidated();
        wrong::after_invalidated(config, self, &before);
        self.apply(config, change);
        self.forget();
    }

    // --- the cell: shard.rs

    fn has_cell(&self) -> bool {
        !self.slot.is_idle() || !self.queue.is_empty()
    }

    pub(super) fn event(&mut self, config: &Config, event: impl FnOnce(&mut Slot) -> Change) -> Change {
        let change = event(&mut self.slot);
        self.apply(config, change);
        change
    }

    fn apply(&mut self, config: &Config, change: Change) {
        if change.base != Base::Keep || change.settled {
            self.moved();
        }
        if change.base == Base::Forget {
            self.base = None;
        }
        if change.detached {
            self.detached();
        }
        if change.passed || change.settled {
            self.grant(config);
        }
        wrong::after_change(config, self, change);
    }

    pub(super) fn forget(&mut self) {
        self.moved();
        self.base = None;
    }

    /// What moves the key overtakes the creates that are out.
    fn moved(&mut self) {
        for client in &mut self.clients {
            if let Phase::Making(making) = &mut client.phase {
                making.overtaken = true;
            }
        }
    }

    pub(super) fn take(&mut self, config: &Config, value: Value, keep: bool, suspect: bool) {
        self.moved();
        let over = suspect && !self.unsure;
        if keep && !over {
            self.base = Some(Resident { value, suspect });
        } else if !wrong::unkept_leaves_older(config) {
            self.base = None;
        }
    }

    // --- the origin, and the end of the process

    fn origin_writes(&mut self, config: &Config, write: u8, condition: Option<Value>) -> bool {
        let bit = 1u16 << write;
        if config.honours_idempotency && self.applied & bit != 0 {
            return true;
        }
        if config.honours_idempotency && self.refused & bit != 0 {
            return false;
        }
        let holds = match condition {
            None => true,
            Some(ANY) => self.truth != ABSENT,
            Some(expected) => expected == self.truth,
        };
        if !holds {
            self.refused |= u16::from(config.honours_idempotency) << write;
            return false;
        }
        if config.honours_idempotency {
            self.applied |= bit;
        }
        self.truth = config.value_of(write);
        true
    }

    fn leaves_stray(&mut self, write: u8, condition: Option<Value>) {
        self.strays.push(Stray { write, condition, of_old: false });
        self.strays.sort_unstable();
    }

    /// Everything that is local is gone; what was sent may still land.
    fn crashes(&mut self, config: &Config) {
        self.left.crashed -= 1;
        self.slot = Slot::default();
        self.flight = None;
        self.base = None;
        self.queue.clear();
        for client in 0..self.clients.len() {
            let c = client as u8;
            self.clients[client].in_doubt = None;
            let reads = config.op(client, self).is_some_and(|op| !op.is_write());
            match self.clients[client].phase {
                Phase::Rest | Phase::Telling => continue,
                Phase::Sent(Sent { at_origin: AtOrigin::OnItsWay, condition, .. }) => {
                    self.leaves_stray(config.write_of(client, self), condition);
                    self.next_op(c);
                }
                Phase::Making(Making { made: false, .. }) => {
                    self.leaves_stray(config.write_of(client, self), None);
                    self.next_op(c);
                }
                _ if reads => self.read_ends(c, None),
                Phase::Alone { .. } => self.read_ends(c, None),
                _ => self.next_op(c),
            }
        }
        for stray in &mut self.strays {
            stray.of_old = true;
        }
        self.strays.sort_unstable();
        self.unsure = !wrong::starts_clean(config);
    }
}

fn condition_on(value: Value) -> Condition {
    let version = crate::entry::Version::new(loads::version_of(value)).expect("short enough");
    match value {
        ABSENT => Condition::Absent,
        ANY => Condition::Exists,
        _ => Condition::Version(version),
    }
}
