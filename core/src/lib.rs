//! A write-through cache with a two-phase write contract.
//!
//! Reads come from the cache; a miss is loaded from the origin, once. A write goes to the origin first; what the origin confirms is
//! committed locally and can be read at once; if the origin refuses, nothing changes; if nobody can know whether it was
//! applied, the cache says so and serves nothing it held before without asking the origin.
//!
//! The stories to read first are `get.rs` and `put.rs`. In reading order, each uses what comes after it (but for the
//! engine's and the stories' shared types): `cache`, `options`, `write_through`, `transaction`, `pending`, `settle`, `get`, `put`, `create`, `tokio`,
//! `invalidate`, `pushed`, `audit`, `drive`, `coalesce`, `prepare`, `commit`, `doubt`, `source`, `nesting`, `engine`, `listener`, `shard`, `layers`,
//! `slot`, `store`, `index`, `key_index`, `eviction`, `tags`, `moves`, `pattern`, `settler`, `background`, `entry`, `bytes`, `freshness`, `windows`, `metrics`, `clock`, `error`, `sync`;
//! `bugs` holds the names of those that are seeded to test the tests.

mod alone;
mod audit;
mod background;
mod bugs;
mod cache;
mod clock;
mod coalesce;
mod commit;
mod create;
mod doubt;
mod drive;
mod engine;
mod entry;
mod error;
mod eviction;
mod freshness;
mod get;
mod index;
mod invalidate;
mod key_index;
mod layers;
mod listener;
mod listing;
mod memory;
mod metrics;
mod moves;
mod nesting;
mod options;
mod pattern;
mod pending;
mod prepare;
mod pushed;
mod put;
mod settle;
mod settler;
mod shard;
mod slot;
mod source;
mod store;
mod sync;
mod tags;
#[cfg(feature = "tokio")]
pub mod tokio;
mod transaction;
mod windows;
mod write_through;

pub use audit::Audit;
pub use cache::{ByteCache, Cache, CacheOf, ExpiredKey, Found};
pub use clock::{Alarm, Clock, RECENT_LAG, SystemClock, Tick};
pub use commit::{Prepared, Sent, Written};
pub use create::{CreateError, Created};
pub use doubt::{InDoubt, Settlement};
pub use entry::{Bytes, Entry, Layout, Lookup, Typed, Version};
pub use error::{LoadError, NotSent, OptionError, ReplayError, Unmet, WriteError};
pub use get::{How, Passed, Read};
pub use index::Rows;
pub use invalidate::{CloseReport, Forgotten};
pub use listener::{EventKind, KeyEvent};
pub use listing::{Listed, Listing};
pub use metrics::{Stat, Stats};
pub use nesting::Scope;
pub use options::{Builder, Call, InDoubtWrites, Optimistic};
pub use pattern::{KeyBytes, PatternError};
pub use pending::{Pending, PendingWrite};
pub use pushed::{PushEnd, Pushed, VersionOrder};
pub use put::{Change, Expect};
pub use settle::KeyInDoubt;
pub use source::{
    Batch, Condition, Confirmed, CreateCx, Declared, Failure, IdempotencyKey, Lifetime, LoadCx, LoadMany, Loaded, Made,
    Outcome, Record, Rejection, Source, SourceError, Windows, WriteCx,
};
pub use tags::Tags;
pub use transaction::{Report, Step, StepCx, StepDone, StepEnd, StepValue, Transacted, Transaction, UndoEnd, Wrote};
pub use write_through::{CacheUpdate, Operation, WriteThrough, write_through_cache, write_through_transaction};

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
