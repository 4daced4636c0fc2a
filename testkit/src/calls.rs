//! The words of a script: what a call may do, what was seen of it, and keys and values as text.

use std::time::Duration;

use wtcache::{Bytes, Condition, Layout, Lifetime, Typed};

/// The operations of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `Source::get`
    Get,
    /// `Source::put`
    Put,
    /// `Source::delete`
    Delete,
}

/// Where a gate holds a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the truth is read or changed.
    Before,
    /// After that, before the cache is answered.
    After,
}

/// What one call does, in place of what it is asked for.
pub enum Does {
    /// Refuses: nothing is applied.
    Reject,
    /// Refuses, and says that what the cache holds is out of date.
    RejectStale,
    /// Turns this send away, as an origin does that is busy: nothing is applied, and it says nothing of other sends.
    Throttle,
    /// Ends unknown; nothing is applied.
    Unknown,
    /// Ends unknown; it was applied.
    ApplyThenUnknown,
    /// Ends unknown; it is applied at [`Script::land`](crate::Script::land).
    Stray,
    /// Applies; the record is not seen.
    Unseen,
    /// Applies; confirms what was sent.
    AsSent,
    /// Panics; nothing is applied.
    Panic,
    /// A load that fails.
    Fail,
    /// A load that finds none, whatever the truth.
    Absent,
    /// A load that confirms what it was offered.
    Unchanged,
    /// Does it well, with this lifetime of the record.
    For(Lifetime),
    /// Tells the cache that an earlier send of the write may still land, at [`Script::land`](crate::Script::land); then this.
    AfterStray(Box<Does>),
    /// Asks for the existing record first, and logs it; then does it well.
    AskExisting,
    /// Runs this first, inside the call; then does it well.
    Run(Box<dyn FnOnce() + Send>),
    /// Does it well.
    Well,
}

/// One call, as the source saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Which operation.
    pub op: Op,
    /// Of which key.
    pub key: String,
    /// The value to be put.
    pub value: Option<String>,
    /// The write was applied by the call itself.
    pub applied: bool,
    /// What was left of the deadline when the call began.
    pub remaining: Duration,
    /// The condition of the write.
    pub condition: Option<Condition>,
    /// The idempotency key of the write.
    pub idempotency_key: Option<String>,
    /// The version of the entry that the cache said is replaced.
    pub replaced: Option<String>,
    /// The value of the existing record, where it was asked for.
    pub existing: Option<Option<String>>,
}

/// A layout whose keys and values can be written as text.
pub trait Plain: Layout {
    /// The key as text.
    fn key_text(key: &Self::Key) -> String;
    /// The value as text.
    fn text(view: &Self::View) -> String;
    /// The value of a text.
    fn value_of(text: &str) -> Self::Value;
}

impl Plain for Typed<String, String> {
    fn key_text(key: &String) -> String {
        key.clone()
    }
    fn text(view: &String) -> String {
        view.clone()
    }
    fn value_of(text: &str) -> String {
        text.to_owned()
    }
}

impl Plain for Bytes {
    fn key_text(key: &[u8]) -> String {
        String::from_utf8_lossy(key).into_owned()
    }
    fn text(view: &[u8]) -> String {
        String::from_utf8_lossy(view).into_owned()
    }
    fn value_of(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }
}
