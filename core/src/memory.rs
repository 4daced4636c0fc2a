//! The one room of this crate with unsafe code: how a byte record lies in memory, and the table of entries.
//!
//! Everything above it is safe Rust. What is unsafe here, and why it holds, is said at the top of each file and at each block;
//! the sanitizers run over both.

pub(crate) mod bytes;
pub(crate) mod table;
