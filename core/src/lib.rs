//! A write-through cache with a two-phase write contract.
mod bytes;
mod clock;
mod doubt;
mod drive;
mod entry;
mod error;
mod index;
mod nesting;
mod source;
mod sync;

pub use clock::{Alarm, Clock, SystemClock, Tick};
pub use doubt::InDoubt;
pub use entry::{Bytes, Entry, Layout, Lookup, Typed, Version};
pub use error::{LoadError, NotSent, OptionError, WriteError};
pub use index::Rows;
pub use nesting::Scope;
pub use source::{
    Condition, Confirmed, Declared, Failure, IdempotencyKey, Lifetime, LoadCx, Loaded, Outcome, Record, Rejection,
    Source, SourceError, WriteCx,
};
