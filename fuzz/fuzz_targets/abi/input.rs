//! What the fuzzer makes up: sources with what they say, and calls with what is odd about them.

use arbitrary::Arbitrary;

pub(crate) const KEYS: [&[u8]; 4] = [b"a:1", b"a:2", b"b:1", b""];

#[derive(Arbitrary, Debug)]
pub(crate) struct Input {
    pub(crate) opening: Opening,
    pub(crate) steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Step {
    pub(crate) odd: Odd,
    pub(crate) call: Option<CallInput>,
    pub(crate) operation: Operation,
}

/// A place in `KEYS`.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) struct Key(u8);

impl Key {
    pub(crate) fn number(self) -> usize {
        usize::from(self.0) % KEYS.len()
    }
}

/// What is odd about a call: one thing in two at most, so that calls get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    Nothing,
    NullHandle,
    NullKey,
    NullOutput,
    NullError,
    Struct(Size),
}

impl<'a> Arbitrary<'a> for Odd {
    fn arbitrary(bytes: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u8::arbitrary(bytes)? % 32 {
            1 => Self::NullHandle,
            2 => Self::NullKey,
            3 => Self::NullOutput,
            4 | 5 => Self::NullError,
            6 => Self::Struct(Size::Zero),
            7 => Self::Struct(Size::Longer),
            8 => Self::Struct(Size::Beyond),
            _ => Self::Nothing,
        })
    }
}

/// What a struct says of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Right,
    Zero,
    /// Of a newer header, with nothing in the new members.
    Longer,
    /// With something in them.
    Beyond,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) struct CallInput {
    pub(crate) deadline: u8,
    pub(crate) idempotency_key: bool,
    pub(crate) mode: u8,
    pub(crate) lifetime: Lives,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) enum Lives {
    Default,
    NotKept,
    For(u8),
    NoSuch,
}

impl Lives {
    pub(crate) fn ms(self) -> i64 {
        match self {
            Self::Default => wtcache_ffi::WTCACHE_LIFETIME_DEFAULT,
            Self::NotKept => wtcache_ffi::WTCACHE_LIFETIME_NOT_KEPT,
            Self::For(ms) => i64::from(ms % 8),
            Self::NoSuch => -4,
        }
    }
}

/// How a cache is opened: a bit each of what is on, and small numbers.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) declares: u8,
    pub(crate) options: u16,
    pub(crate) capacity: u8,
    pub(crate) deadline: u8,
    pub(crate) window: u8,
    pub(crate) without: u8,
    pub(crate) config: bool,
    pub(crate) listens: Option<Inside>,
    pub(crate) tells: Tells,
}

/// What callbacks say of the entries of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tells {
    pub(crate) weighs: bool,
    pub(crate) tags: bool,
    pub(crate) indexes: bool,
    /// Some say nothing of some values.
    pub(crate) failing: bool,
    /// The index is added twice.
    pub(crate) twice: bool,
}

impl Tells {
    pub(crate) const NOTHING: Self = Self { weighs: false, tags: false, indexes: false, failing: false, twice: false };
}

impl<'a> Arbitrary<'a> for Tells {
    fn arbitrary(bytes: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let bits = u8::arbitrary(bytes)?;
        let on = |bit: u8| bits >> bit & 1 != 0;
        Ok(Self { weighs: on(0), tags: on(1), indexes: on(2), failing: on(3), twice: bits >> 4 == 9 })
    }
}

/// What a source says when it is asked next.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) struct Says {
    pub(crate) answer: Answer,
    pub(crate) twice: bool,
    pub(crate) stray: bool,
    pub(crate) owned: bool,
    pub(crate) size: u8,
    pub(crate) lifetime: Lives,
    pub(crate) tag: bool,
    pub(crate) inside: Inside,
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With the record as it is at the origin, or that there is none.
    Record,
    /// Of a load: as it was before. Of a write: the origin keeps what it was sent.
    Same,
    /// Of a write: it was applied.
    Applied,
    Rejected,
    Conflict,
    /// Nobody knows; whether it was applied.
    Unknown(bool),
    /// None; whether it was applied.
    Never(bool),
    /// One that is for another kind of call first, which is refused.
    Unsuitable,
}

/// What a callback calls before it answers.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) enum Inside {
    Nothing,
    Get(Key),
    Peek(Key),
    Put(Key),
    Existing,
    Invalidate(Key),
    Stats,
    Close,
}

/// What a callback for a change says, the bits of it: put, delete, keep, refuse; any number of them, one after the other.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) struct Changes(pub(crate) u8);

#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) struct Expects {
    pub(crate) kind: u8,
    /// The resident version, or one that never was.
    pub(crate) version: bool,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) struct StepInput {
    pub(crate) does: u8,
    pub(crate) undo: u8,
    pub(crate) key: Key,
    pub(crate) undo_key: Key,
    pub(crate) writes: bool,
    pub(crate) wrote: u8,
    pub(crate) says: Says,
    pub(crate) deadline: u8,
    pub(crate) undo_if_unknown: u8,
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Operation {
    Open(Opening),
    CloneCache(u8),
    FreeCache(u8),
    Close(u8),
    NextLoad(Says),
    NextWrite(Says),
    Late(u8),
    Get(Key),
    GetInto(Key, u8),
    Peek(Key),
    GetMany(Vec<Key>),
    Put(Key),
    Delete(Key),
    PutIf(Key, Expects),
    DeleteIf(Key, Expects),
    Update(Key, Changes, Inside),
    PutMany(Vec<Key>),
    Invalidate(Key),
    InvalidatePrefix(u8),
    InvalidatePattern(u8),
    InvalidateTag,
    CloneEntry(u8),
    FreeEntry(u8),
    FreeError(u8),
    DoubtOf(u8),
    WaitDoubt(u8),
    Replay(u8),
    SettleDoubt(u8, u8),
    FreeDoubt(u8),
    Settle(Key, u8),
    ListDoubts(u8),
    Prepare(Key),
    Existing(u8),
    Abort(u8),
    Send(u8),
    Commit(u8, u8),
    Reject(u8, u8),
    InDoubt(u8),
    FreePermit(u8),
    PutOptimistic(Key),
    DeleteOptimistic(Key),
    MergeOptimistic(Key, Changes),
    WaitPending(u8, u8),
    CancelPending(u8),
    FreePending(u8),
    Transaction,
    UpdateIn(u8, Key, Lives),
    RemoveIn(u8, Key),
    StepIn(u8, StepInput),
    InvalidateIn(u8, u8),
    DeadlinesIn(u8, u8),
    RunTransaction(u8),
    StartTransaction(u8),
    FreeTransaction(u8),
    WaitStarted(u8, u8),
    FreeStarted(u8),
    Queue(u8, u8),
    GetAsync(u8, Key),
    GetManyAsync(u8, Vec<Key>),
    PutAsync(u8, Key, Option<Expects>),
    DeleteAsync(u8, Key, Option<Expects>),
    TransactionAsync(u8, u8),
    PendingAsync(u8, u8),
    Next(u8),
    Cancel(u8, u8),
    FreeQueue(u8),
    Stats,
    StatsJson,
    Find(u8),
    ForgetForGood(u8, Key),
}
