//! What happens to loads: the steps of `get.rs` and `coalesce.rs` in miniature.

use super::*;

impl State {
    pub(super) fn looks(&mut self, config: &Config, c: u8) {
        let client = usize::from(c);
        let Phase::Look { moved } = self.clients[client].phase else { unreachable!("who looks is looking") };
        if let Some(base) = self.base {
            return self.read_ends(c, Some(base.value));
        }
        let load = Load { moved, has_moved_reader: moved, suspect: self.unsure, ..Load::default() };
        let Some(leader) = self.flight else {
            self.slot.load_begins(Fence(u64::from(c)));
            self.flight = Some(c);
            self.clients[client].phase = Phase::Leading(load);
            return;
        };
        if wrong::leads_another(config, self) {
            self.clients[client].phase = Phase::Leading(Load { retained_all_the_same: true, ..load });
            return;
        }
        if moved && let Phase::Leading(load) = &mut self.clients[usize::from(leader)].phase {
            load.has_moved_reader = true;
        }
        self.clients[client].phase = Phase::Waiting { leader, moved };
    }

    pub(super) fn load_ends(&mut self, config: &Config, c: u8, keep: bool, failed: bool) {
        let client = usize::from(c);
        let Phase::Leading(load) = self.clients[client].phase else { unreachable!("a leader ends its load") };
        let version = load.found.map(version_of);
        let answer = match (failed, load.found) {
            (true, _) => Answer::Failed,
            (false, Some(ABSENT)) => Answer::Absent,
            (false, _) => Answer::Version(version.as_ref().map(<[u8; 1]>::as_slice)),
        };
        let fence = Fence(u64::from(c));
        wrong::before_load_ends(config, self);
        let mut end = LoadEnd::Detached;
        let mut change = self.event(config, |slot| {
            let (how, change) = slot.load_ends(fence, answer, &config.rules());
            end = how;
            change
        });
        wrong::after_load_ends(config, &load, failed, (&mut end, &mut change));
        match end {
            LoadEnd::Detached if !failed && self.has_moved_reader(c) && !wrong::keeps_what_is_here(config) => {
                self.event(config, Slot::returned_unretained);
                self.forget();
            }
            LoadEnd::Detached => {}
            LoadEnd::Kept | LoadEnd::Returned => self.flight = self.flight.filter(|leader| *leader != c),
        }
        let found = load.found.filter(|_| !failed);
        if found.is_some() {
            self.given_out(config);
        }
        if change.base == Base::Take
            && let Some(value) = found
        {
            self.take(config, value, keep, load.suspect);
        }
        // Those that still wait are given the answer; with a detached load, only those moved before are left.
        for waiter in 0..self.clients.len() {
            if matches!(self.clients[waiter].phase, Phase::Waiting { leader, .. } if leader == c) {
                self.read_ends(waiter as u8, found);
            }
        }
        if end == LoadEnd::Detached && !load.moved && !wrong::returns_detached(config) {
            self.clients[client].phase = Phase::Look { moved: true };
        } else {
            self.read_ends(c, found);
        }
    }

    fn has_moved_reader(&self, c: u8) -> bool {
        matches!(self.clients[usize::from(c)].phase, Phase::Leading(load) if load.has_moved_reader)
    }

    /// The load is taken over: its waiters look again, and its leader is left alone with it.
    pub(super) fn give_up(&mut self, config: &Config, c: u8) {
        if self.slot.load_taken_over(Fence(u64::from(c))) {
            self.flight = None;
        }
        for client in &mut self.clients {
            if let Phase::Waiting { leader, moved } = client.phase
                && leader == c
            {
                client.phase = Phase::Look { moved };
            }
        }
        if let Phase::Leading(load) = &mut self.clients[usize::from(c)].phase {
            load.given_up = true;
            load.retained_all_the_same |= wrong::retains_late_load(config);
        }
    }

    /// The attached load is detached: those who wait for it look again, but who was moved before waits on.
    pub(super) fn detached(&mut self) {
        let Some(leader) = self.flight.take() else { return };
        for client in &mut self.clients {
            if client.phase == (Phase::Waiting { leader, moved: false }) {
                client.phase = Phase::Look { moved: true };
            }
        }
    }

    fn given_out(&mut self, config: &Config) {
        let making = self.clients.iter().any(|client| matches!(client.phase, Phase::Making(_)));
        let newer = self.unsure && !wrong::commits_all_the_same(config)
            || making && !wrong::commits_beside_creates_all_the_same(config);
        if newer {
            self.slot.mark_dirty();
        }
    }

    pub(super) fn asks_for_existing(&mut self, c: u8) {
        let client = usize::from(c);
        self.history.read_begins(client);
        match self.base {
            Some(base) => {
                self.judge(c, Some(base.value));
                self.clients[client].phase = Phase::Prepared { existing: Some(base.value) };
            }
            None => self.clients[client].phase = Phase::Alone { found: None },
        }
    }

    pub(super) fn alone_ends(&mut self, config: &Config, c: u8) {
        let Phase::Alone { found: Some(value) } = self.clients[usize::from(c)].phase else {
            unreachable!("a load of its own ends")
        };
        if !wrong::keeps_what_is_here(config) {
            self.event(config, Slot::returned_unretained);
            self.forget();
        }
        self.given_out(config);
        if config.op(usize::from(c), self).is_some_and(Op::asks) {
            self.judge(c, Some(value));
            self.clients[usize::from(c)].phase = Phase::Prepared { existing: Some(value) };
        } else {
            self.read_ends(c, Some(value));
        }
    }
}

/// The version of a record at the origin.
pub(super) fn version_of(value: Value) -> [u8; 1] {
    [b'a' + value]
}
