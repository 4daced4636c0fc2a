//! What the fuzzer makes up: a cache's options and a sequence of operations, with what the origin does wrong.

use arbitrary::{Arbitrary, Unstructured};

/// Units of time: a call's deadline, and how long a write already sent may still land.
pub(crate) const DEADLINE: u64 = 6;
pub(crate) const WINDOW: u64 = 10;

pub(crate) const KEYS: usize = 3;

#[derive(Arbitrary, Debug)]
pub(crate) struct Input {
    pub(crate) options: Options,
    pub(crate) operations: Vec<Step>,
}

/// What comes next. Operations on pending writes begin with a byte of their own, so that older inputs mean what they meant.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Do(Operation),
    Pending(PendingOperation),
}

const PENDING: u8 = 0xa7;

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        if bytes.peek_bytes(1) == Some(&[PENDING]) {
            bytes.bytes(1)?;
            return PendingOperation::arbitrary(bytes).map(Self::Pending);
        }
        Operation::arbitrary(bytes).map(Self::Do)
    }
}

#[derive(Arbitrary, Debug, Clone)]
pub(crate) enum PendingOperation {
    Leave(Key, Left),
    /// The origin answers the first one of the key.
    Settle(Key, WriteDoes),
    Cancel(Key, u8),
    /// Reads what is visible.
    Get(Key),
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Put,
    Delete,
    /// Makes another record of each record.
    Merge,
}

#[derive(Arbitrary, Debug, Clone)]
pub(crate) struct Options {
    /// One to sixteen; a record weighs one to four.
    pub(crate) capacity: u8,
    /// Units; `None` is without end.
    pub(crate) lifetime: Option<u8>,
    pub(crate) negative_lifetime: u8,
    pub(crate) absent_after_delete: bool,
    pub(crate) writes_wait: bool,
    pub(crate) stores_verbatim: bool,
    pub(crate) honours_preconditions: bool,
    pub(crate) versions_never_reused: bool,
    pub(crate) honours_idempotency: bool,
    /// Writes of an earlier process that still land, each after so many units; `None` is a clean start.
    pub(crate) early: Option<[(Key, u8); 2]>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) struct Key(u8);

impl Key {
    pub(crate) fn number(self) -> usize {
        usize::from(self.0) % KEYS
    }
}

#[derive(Arbitrary, Debug, Clone)]
pub(crate) enum Operation {
    Get(Key),
    Peek(Key),
    Put(Key),
    Delete(Key),
    Update(Key, Edit, Inside),
    Invalidate(Key),
    /// Another writer changes the record and says so at once.
    Outside(Key, What),
    Find,
    Stats,
    Advance(u8),
    /// What the source does at its next load, and at its next write; without any it is honest.
    NextLoad(LoadDoes),
    NextWrite(WriteDoes),
    Prepare(Key),
    Abort(u8),
    Existing(u8),
    /// The program sends its own write, which lands then.
    Send(u8, What, Lands),
    Commit(u8, Confirm),
    Reject(u8, bool),
    InDoubt(u8),
    Drop(u8),
    WriteIf(Key, What, Expects),
    /// Sends a write in doubt again.
    Replay(u8),
    /// The program stops what is in doubt of a key, or one write in doubt, and says what became of it.
    Settle(Key),
    SettleOne(u8),
    Doubts(u8),
}

/// What a program expects of the existing record.
#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expects {
    Absent,
    Exists,
    /// The record that the origin has now.
    Latest,
    /// The one that is resident, or one that never was.
    Resident,
    Either,
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Put,
    Delete,
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    Put,
    Delete,
    Keep,
    Refuse,
    Panic,
}

/// What a source or a closure does with the cache that called it.
#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    Nothing,
    Invalidate(u8),
    /// Another writer changes the record meanwhile, and says so.
    Outside(u8),
    Get(u8),
    Put(u8),
    Existing,
}

#[derive(Arbitrary, Debug, Clone)]
pub(crate) struct LoadDoes {
    pub(crate) inside: Inside,
    /// The record is looked at after that, not before.
    pub(crate) looks_last: bool,
    /// Units until the answer comes.
    pub(crate) takes: u8,
    pub(crate) answer: LoadAnswer,
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadAnswer {
    Record(Life),
    /// That the offered version is still the origin's, where that is true.
    Unchanged,
    Fails,
    Panics,
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Default,
    /// So many units, one at least: what is expired from the start is kept only to be offered to the source.
    For(u8),
    NotKept,
}

#[derive(Arbitrary, Debug, Clone)]
pub(crate) struct WriteDoes {
    /// An earlier send of the same write that ended without an answer.
    pub(crate) stray: Option<Lands>,
    pub(crate) inside: Inside,
    pub(crate) ends: Ends,
    /// Units until the answer comes.
    pub(crate) takes: u8,
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Applied(Confirm),
    /// `all_sends`: it is about what was asked for, not about this send alone.
    Rejected {
        stale: bool,
        all_sends: bool,
    },
    Unknown(Lands),
    Panics(Lands),
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirm {
    Record(Life),
    AsSent(Life),
    Unseen,
}

/// When a write whose answer is lost takes effect.
#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lands {
    Now,
    /// After so many units, the settle window at most.
    Later(u8),
    Never,
}
