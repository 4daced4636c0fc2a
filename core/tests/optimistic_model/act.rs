//! What can happen, and how a history of it is made up from a number.

use crate::origin::{KEYS, Verdict};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Put,
    Delete,
    /// Appends.
    Merge,
    /// Deletes what is there, or makes a record where there is none.
    Toggle,
}

/// A step of a transaction, and what becomes of it if it comes to that.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) key: usize,
    pub(crate) deletes: bool,
    /// By the program's own step, not by the source.
    pub(crate) own: bool,
    pub(crate) verdict: Verdict,
    /// It says how it is undone, which ends so.
    pub(crate) undo: Option<Verdict>,
    pub(crate) undo_unknown: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// `short`: its deadline has come when time has passed.
    Optimistic {
        key: usize,
        kind: Kind,
        short: bool,
    },
    /// Where nothing is pending: it would wait.
    Through {
        key: usize,
        kind: Kind,
        verdict: Verdict,
    },
    /// The origin answers the write of the key that it has; of a transaction, its next step.
    Settle {
        key: usize,
        verdict: Verdict,
    },
    /// Takes back the pending write of that place.
    Cancel {
        key: usize,
        place: usize,
    },
    /// `shown`: visible from its begin; else only where nothing is pending.
    Transact {
        parts: Vec<Part>,
        shown: bool,
    },
    /// A read comes to the origin and stays there. `late`: what it says is read when it is let go.
    LoadBegins {
        key: usize,
        confirmed: bool,
        late: bool,
    },
    /// Of those, one is let go.
    LoadEnds {
        place: usize,
    },
    Invalidate {
        key: usize,
    },
    /// Another writer, who tells.
    Outside {
        key: usize,
        deletes: bool,
    },
    /// What may still land on the key does.
    Lands {
        key: usize,
    },
    /// A settle window passes, and what may still land does not. Writes that are out beyond their deadlines end so.
    Wait {
        late: Verdict,
    },
    Read {
        key: usize,
    },
    ReadConfirmed {
        key: usize,
    },
    /// A read, while loads fail: what is here may be given though it is stale.
    ReadInTrouble {
        key: usize,
        confirmed: bool,
    },
    /// All keys that nobody loads, in one call.
    ReadAll,
}

/// What happens next, drawn from a seed.
pub(crate) struct Dice(pub(crate) wtcache_testkit::Dice);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.index(bound)
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *self.0.pick(of)
    }

    fn verdict(&mut self) -> Verdict {
        use Verdict::{Applied, LostApplied, LostBefore, LostStray, Refused, RefusedAsStale, Unseen};
        let all = [
            Applied,
            Applied,
            Applied,
            Applied,
            Unseen,
            Refused,
            Refused,
            Refused,
            RefusedAsStale,
            LostApplied,
            LostBefore,
            LostStray,
        ];
        self.pick(&all)
    }

    /// Mostly well: most transactions get beyond their first step.
    fn part_verdict(&mut self) -> Verdict {
        if self.below(10) < 7 { Verdict::Applied } else { self.verdict() }
    }

    fn kind(&mut self) -> Kind {
        self.pick(&[Kind::Put, Kind::Put, Kind::Delete, Kind::Merge, Kind::Merge, Kind::Merge, Kind::Toggle])
    }

    fn part(&mut self, keys: usize) -> Part {
        Part {
            key: self.below(keys),
            deletes: self.one_in(3),
            own: self.one_in(2),
            verdict: self.part_verdict(),
            undo: self.one_in(2).then(|| self.part_verdict()),
            undo_unknown: self.one_in(3),
        }
    }

    fn act(&mut self, keys: usize) -> Act {
        let key = self.below(keys);
        match self.below(46) {
            0..10 => Act::Optimistic { key, kind: self.kind(), short: self.one_in(8) },
            10..20 => Act::Settle { key, verdict: self.verdict() },
            20..23 => Act::Through { key, kind: self.kind(), verdict: self.verdict() },
            23..25 => Act::Cancel { key, place: self.below(4) },
            25..28 => {
                let parts = (0..=self.below(4)).map(|_| self.part(keys)).collect();
                Act::Transact { parts, shown: self.one_in(2) }
            }
            28 => Act::LoadBegins { key, confirmed: self.one_in(2), late: self.one_in(2) },
            29 => Act::LoadEnds { place: self.below(2) },
            30 => Act::Invalidate { key },
            31 => Act::Outside { key, deletes: self.one_in(3) },
            32 => Act::Lands { key },
            33 => Act::Wait { late: self.verdict() },
            34..36 => Act::Read { key },
            36..38 => Act::ReadConfirmed { key },
            38..44 => Act::ReadInTrouble { key, confirmed: self.one_in(2) },
            _ => Act::ReadAll,
        }
    }
}

/// A history, and the cache that it is played on.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) keys: usize,
    pub(crate) capacity: u64,
    pub(crate) absent_after_delete: bool,
    /// For how long a record is fresh, and may then be served in place of an error, in seconds: as it says itself, if it does.
    pub(crate) own: [Option<u64>; 2],
    /// The latter, as the cache's options say.
    pub(crate) window: u64,
    pub(crate) acts: Vec<Act>,
}

impl Case {
    pub(crate) fn of(seed: u64, most_acts: usize) -> Self {
        let mut dice = Dice(wtcache_testkit::Dice::new(seed));
        let keys = 1 + dice.below(KEYS.len());
        let (capacity, absent_after_delete) = (1 + dice.below(KEYS.len() + 1) as u64, dice.one_in(2));
        let acts = (0..=dice.below(most_acts)).map(|_| dice.act(keys)).collect();
        let own = [dice.pick(&[None, Some(7), Some(7), Some(40)]), dice.pick(&[None, Some(0), Some(20), Some(200)])];
        let window = dice.pick(&[0, 20, 200]);
        Self { keys, capacity, absent_after_delete, own, window, acts }
    }
}
