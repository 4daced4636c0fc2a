//! What happens: the transactions' steps, the readers', and the origin.

use super::*;

/// What a compensation writes.
const UNDONE: Value = 3;

/// Added to the number of a transaction: its compensation.
const COMPENSATION: usize = 2;

/// A reader of both keys that was moved more often is told that they are contended.
const MOST_ROUNDS: u8 = 2;

impl State {
    pub(crate) fn happens(&mut self, config: &Config, act: Act) {
        match act {
            Act::Begin { transaction } => self.begins(config, transaction),
            Act::TakeNext { transaction } => {
                self.keys[Config::key_of(transaction, 1)].turns.push(transaction as u8);
                self.transactions[transaction].phase = Phase::Queued(2);
                self.promote();
            }
            Act::Send { transaction } => self.sends(transaction),
            Act::OriginWrites { transaction } => {
                let (key, value) = self.sent(transaction);
                self.keys[key].truth = value;
                let phase = &mut self.transactions[transaction].phase;
                *phase = match *phase {
                    Phase::Sent(step, _) => Phase::Sent(step, AtOrigin::Applied),
                    _ => Phase::Compensating(AtOrigin::Applied),
                };
            }
            Act::OriginRefuses { transaction } => {
                self.left.refused -= 1;
                self.is_refused(config, transaction);
            }
            Act::Answer { transaction } => self.is_answered(config, transaction),
            Act::AnswerLost { transaction } => {
                self.left.lost -= 1;
                self.is_unknown(config, transaction);
            }
            Act::Read { reader } => {
                for key in config.reads(reader, self).expect("there is something to read").iter().copied() {
                    self.histories[key].read_begins(reader);
                }
                self.pairs.read_begins(reader);
                self.takes(config, reader, Round::default());
            }
            Act::Load { reader, key } => self.loads(config, reader, key),
            Act::OriginReads { reader } => {
                let (key, _) = self.round(reader).leads.expect("its load is out");
                let truth = self.keys[key].truth;
                self.round(reader).leads = Some((key, Some(truth)));
            }
            Act::LoadEnds { reader } => self.load_ends(config, reader),
            Act::StrayLands(number) => {
                let (key, value) = self.strays.remove(number);
                self.keys[key].truth = value;
            }
            Act::StrayLost(number) => {
                self.strays.remove(number);
            }
            Act::WindowEnds { key } => {
                self.keys[key].doubt = false;
                self.keys[key].base = None;
                self.moves_fence(key);
                if let Some(holder) = self.keys[key].turns.first() {
                    self.transactions[usize::from(*holder)].dirty[key] = true;
                }
            }
            Act::Evict { key } => {
                self.left.evicted -= 1;
                self.keys[key].base = None;
            }
        }
    }

    // --- transactions

    fn begins(&mut self, config: &Config, transaction: usize) {
        let own = &mut self.transactions[transaction];
        if config.is(Wrong::TurnsOneByOne) {
            own.phase = Phase::Queued(1);
            self.keys[Config::key_of(transaction, 0)].turns.push(transaction as u8);
        } else {
            own.phase = Phase::Queued(2);
            for key in &mut self.keys {
                key.turns.push(transaction as u8);
            }
            self.promote();
        }
    }

    /// Who has all its turns may send.
    fn promote(&mut self) {
        for transaction in 0..self.transactions.len() {
            let ready = self.keys.iter().all(|key| key.turns.first() == Some(&(transaction as u8)));
            if ready && self.transactions[transaction].phase == Phase::Queued(2) {
                self.transactions[transaction].phase = Phase::Ready(0);
            }
        }
    }

    pub(crate) fn has_turn(&self, transaction: usize, step: u8) -> bool {
        self.keys[Config::key_of(transaction, step)].turns.first() == Some(&(transaction as u8))
    }

    /// A transaction that holds the key's turn has all its turns.
    pub(crate) fn runs_on(&self, key: usize) -> bool {
        let holder = self.keys[key].turns.first().map(|holder| self.transactions[usize::from(*holder)].phase);
        holder.is_some_and(|phase| !matches!(phase, Phase::Queued(_)))
    }

    /// What is on its way for a transaction: key and value.
    fn sent(&self, transaction: usize) -> (usize, Value) {
        match self.transactions[transaction].phase {
            Phase::Sent(step, _) => (Config::key_of(transaction, step), Config::value_of(transaction)),
            Phase::Compensating(_) => (Config::key_of(transaction, 0), UNDONE),
            phase => unreachable!("nothing is on its way in {phase:?}"),
        }
    }

    fn sends(&mut self, transaction: usize) {
        let Phase::Ready(step) = self.transactions[transaction].phase else { unreachable!("who sends is ready") };
        let (key, value) = (Config::key_of(transaction, step), Config::value_of(transaction));
        self.transactions[transaction].phase = Phase::Sent(step, AtOrigin::OnItsWay);
        self.transactions[transaction].dirty[key] = false;
        self.histories[key].write_begins(transaction, value, None);
        if step == 0 {
            self.pairs.write_begins(transaction, value | value << 2, None);
        }
    }

    fn is_answered(&mut self, config: &Config, transaction: usize) {
        let (key, value) = self.sent(transaction);
        self.transactions[transaction].confirmed[key] = Some(value);
        match self.transactions[transaction].phase {
            Phase::Sent(0, _) => {
                self.transactions[transaction].phase = Phase::Ready(1);
                if config.is(Wrong::KeysShownOneByOne) {
                    self.keys[key].base = Some(value);
                    self.moves_fence(key);
                }
            }
            Phase::Sent(..) => {
                self.pairs.write_applied(transaction);
                self.histories.iter_mut().for_each(|history| history.write_applied(transaction));
                self.ends(config, transaction);
            }
            _ => {
                self.pairs.write_rejected(transaction);
                self.pairs.write_applied(transaction + COMPENSATION);
                self.histories[key].write_applied(transaction);
                self.histories[key].write_applied(transaction + COMPENSATION);
                self.ends(config, transaction);
            }
        }
    }

    fn is_refused(&mut self, config: &Config, transaction: usize) {
        let Phase::Sent(step, _) = self.transactions[transaction].phase else { unreachable!("only a step is refused") };
        self.histories[Config::key_of(transaction, step)].write_rejected(transaction);
        let first = Config::key_of(transaction, 0);
        if step == 1 && config.compensated {
            self.transactions[transaction].phase = Phase::Compensating(AtOrigin::OnItsWay);
            self.histories[first].write_begins(transaction + COMPENSATION, UNDONE, None);
            let at = 2 * first;
            self.pairs.part_begins(transaction + COMPENSATION, 0b11 << at, UNDONE << at);
            // Visible from its begin, it is seen to leave; the pair is then one of old and compensated.
            self.pairs_excused |= config.optimistic;
            return;
        }
        if step == 1 {
            self.histories[first].write_applied(transaction);
            self.pairs_excused = true;
            if config.is(Wrong::OldValuesRestored) {
                self.transactions[transaction].confirmed = [None; 2];
            }
        } else {
            self.pairs.write_rejected(transaction);
        }
        self.ends(config, transaction);
    }

    fn is_unknown(&mut self, config: &Config, transaction: usize) {
        let (key, value) = self.sent(transaction);
        let phase = self.transactions[transaction].phase;
        if matches!(phase, Phase::Sent(_, AtOrigin::OnItsWay) | Phase::Compensating(AtOrigin::OnItsWay)) {
            self.strays.push((key, value));
            self.strays.sort_unstable();
        }
        self.pairs_excused = true;
        if !config.is(Wrong::UnknownIsRejected) {
            self.keys[key].doubt = true;
        }
        // What an earlier step confirmed is the truth of its key still, but the transaction as a whole is in doubt.
        let first = Config::key_of(transaction, 0);
        if !matches!(phase, Phase::Sent(0, _)) {
            self.histories[first].write_applied(transaction);
            self.transactions[transaction].dirty[first] = true;
        }
        self.transactions[transaction].confirmed[key] = None;
        if !config.is(Wrong::UnknownIsRejected) {
            self.keys[key].base = None;
            self.moves_fence(key);
        }
        self.ends(config, transaction);
    }

    /// In one step: its keys take what was confirmed, its pending values leave, its turns pass on.
    fn ends(&mut self, config: &Config, transaction: usize) {
        let Transaction { confirmed, dirty, .. } = self.transactions[transaction];
        for key in 0..self.keys.len() {
            let own = &mut self.keys[key];
            own.turns.retain(|other| usize::from(*other) != transaction);
            if let Some(value) = confirmed[key] {
                own.base = Some(value).filter(|_| !own.doubt && !dirty[key]);
            }
            // What nothing has written is as it was: a load that began before brings no more and no less than one that begins now.
            if confirmed[key].is_some() && !config.is(Wrong::EndKeepsFence) {
                self.moves_fence(key);
            }
        }
        self.counts();
        let done = Transaction { phase: Phase::Done, confirmed: [None; 2], dirty: [false; 2] };
        self.transactions[transaction] = done;
        self.promote();
    }

    // --- readers

    fn round(&mut self, reader: usize) -> &mut Round {
        let Reading::Round(round) = &mut self.readers[reader].phase else { unreachable!("a read is under way") };
        round
    }

    /// What a reader sees: with visible transactions, the latest of them on the key.
    fn view(&self, config: &Config, key: usize) -> Option<Value> {
        let pending = self.keys[key].turns.last().filter(|_| config.optimistic);
        pending.map(|last| Config::value_of(usize::from(*last))).or(self.keys[key].base)
    }

    fn takes(&mut self, config: &Config, reader: usize, mut round: Round) {
        let keys = config.reads(reader, self).expect("there is something to read");
        let at_once = if config.is(Wrong::TakesOneByOne) { 1 } else { keys.len() };
        for key in keys[..at_once].iter().copied() {
            round.taken[key] = self.view(config, key);
        }
        self.readers[reader].phase = Reading::Round(round);
        self.ends_if_all(config, reader);
    }

    fn loads(&mut self, config: &Config, reader: usize, key: usize) {
        let (view, leader) = (self.view(config, key), self.keys[key].load);
        let round = self.round(reader);
        round.loaded[key] = true;
        if view.is_some() {
            round.taken[key] = view;
            self.ends_if_all(config, reader);
        } else if let Some(leader) = leader {
            round.joined = Some((key, leader));
        } else {
            round.leads = Some((key, None));
            self.keys[key].load = Some(reader as u8);
        }
    }

    fn load_ends(&mut self, config: &Config, reader: usize) {
        let round = *self.round(reader);
        let Some((key, Some(value))) = round.leads else { unreachable!("its load was answered") };
        let next = Round { leads: None, ..round };
        self.readers[reader].phase = Reading::Round(next);
        if self.keys[key].load != Some(reader as u8) {
            if round.moved == 0 || config.reads(reader, self).is_some_and(|keys| keys.len() > 1) {
                return self.again(config, reader);
            }
            // Moved twice, a single reader is given what its load brought.
            self.keys[key].base = None;
            self.moves_fence(key);
            self.is_given(config, reader, key, value);
            return;
        }
        self.keys[key].load = None;
        let retained = !self.runs_on(key) || config.is(Wrong::LoadRetainedDuringTransaction);
        if retained && !self.keys[key].doubt {
            self.keys[key].base = Some(value);
        }
        self.is_given(config, reader, key, value);
        for waiter in 0..self.readers.len() {
            if matches!(self.readers[waiter].phase, Reading::Round(round) if round.joined == Some((key, reader as u8)))
            {
                self.round(waiter).joined = None;
                self.is_given(config, waiter, key, value);
            }
        }
    }

    fn is_given(&mut self, config: &Config, reader: usize, key: usize, value: Value) {
        self.round(reader).taken[key] = Some(value);
        self.ends_if_all(config, reader);
    }

    /// Starts again, or says that the keys are contended.
    fn again(&mut self, config: &Config, reader: usize) {
        let moved = self.round(reader).moved + 1;
        let keys = config.reads(reader, self).expect("a read is under way");
        if keys.len() > 1 && moved > MOST_ROUNDS {
            return self.is_answered_with(config, reader, None);
        }
        self.takes(config, reader, Round { moved, ..Round::default() });
    }

    /// The check after loads: no fence has moved, and no transaction runs on what was loaded.
    fn ends_if_all(&mut self, config: &Config, reader: usize) {
        let round = *self.round(reader);
        let keys = config.reads(reader, self).expect("a read is under way");
        if keys.iter().any(|key| round.taken[*key].is_none()) {
            return;
        }
        let runs = keys.iter().any(|key| round.loaded[*key] && self.runs_on(*key));
        let loaded = round.loaded.contains(&true) && keys.len() > 1 && !config.is(Wrong::NoCheckAfterLoads);
        let optional = config.is(Wrong::ChecksFencesOnly) || config.is(Wrong::LoadsWithoutWaiting);
        let checked = !config.is(Wrong::TakesOneByOne) && loaded;
        if checked && (round.moves || runs && !optional) {
            return self.again(config, reader);
        }
        self.is_answered_with(config, reader, Some(round.taken));
    }

    fn is_answered_with(&mut self, config: &Config, reader: usize, answer: Option<[Option<Value>; 2]>) {
        let keys = config.reads(reader, self).expect("a read is under way");
        for key in keys.iter().copied() {
            match answer.and_then(|taken| taken[key]).filter(|_| !config.optimistic) {
                Some(value) => self.histories[key].read_ends(reader, value),
                None => self.histories[key].read_fails(reader),
            }
        }
        match answer {
            Some([Some(first), Some(second)]) if !self.pairs_excused && config.optimistic => {
                self.torn |= first != second;
                self.pairs.read_fails(reader);
            }
            Some([Some(first), Some(second)]) if !self.pairs_excused => {
                self.pairs.read_ends(reader, first | second << 2);
            }
            _ => self.pairs.read_fails(reader),
        }
        let own = &mut self.readers[reader];
        *own = Reader { done: own.done + 1, phase: Reading::Rest };
    }

    /// A transaction has ended, however it did: who reads both keys must not show one from before and one from after.
    fn counts(&mut self) {
        for reader in &mut self.readers {
            if let Reading::Round(round) = &mut reader.phase {
                round.moves = true;
            }
        }
    }

    /// Detaches the key's load, and tells every reader of the key.
    fn moves_fence(&mut self, key: usize) {
        self.keys[key].load = None;
        self.counts();
        for reader in &mut self.readers {
            if let Reading::Round(round) = &mut reader.phase
                && round.joined.is_some_and(|(joined, _)| joined == key)
            {
                round.joined = None;
                round.moved = 1;
            }
        }
    }
}
