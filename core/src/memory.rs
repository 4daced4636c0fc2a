//! The one room of this crate with unsafe code: how a byte record lies in memory, the table of entries, the lock over a shard, and
//! what a caller lends it.
//!
//! Everything above it is safe Rust. What is unsafe here, and why it holds, is said at the top of each file and at each block;
//! the sanitizers run over all, and the interleavings over the lock.

pub(crate) mod bytes;
pub(crate) mod lent;
pub(crate) mod lock;
pub(crate) mod table;
