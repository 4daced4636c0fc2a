//! The C ABI of wtcache: what `include/wtcache.h` declares.
//!
//! Each file is one theme, and its public functions are the header's, in the header's order: `abi`, `status`, `error`, `config`,
//! `listener`, `extract`, `cache`, `call`, `read`, `many`, `list`, `write`, `create`, `patch`, `update`, `invalidate`, `doubt`, `permit`, `optimistic`, `transaction`,
//! `transacted`, `queue`, `stats`, `origin`, `feed`, `source`, `reply`, `python`. Below them: `options` and `json` are behind a configuration, `pool` runs a
//! queue's calls, `watch` waits for what is pending, `arguments` and `border` stand between the caller's pointers and safe code, `fork` knows
//! in which process we are.
//!
//! Invariants: no panic crosses into C; no pointer is looked at before it was checked for NULL; an output is NULL or zero
//! unless the call gave one; what the program entrusted to us (`user_data`, an owned value, a cause) is given back exactly once.
//!
//! This is the one crate of the workspace where `unsafe` is at home. The documentation of a function is the header's: what each
//! pointer must be is said there, for the whole header at its top.

#![allow(unsafe_code, reason = "the border to C")]
#![allow(non_camel_case_types, reason = "the names are those of the header")]
#![allow(clippy::missing_safety_doc, reason = "the header's top says what holds for every pointer")]

mod abi;
mod arguments;
mod border;
mod cache;
mod call;
mod config;
mod create;
mod doubt;
mod error;
mod extract;
mod feed;
mod fork;
mod invalidate;
mod json;
mod list;
mod listener;
mod many;
mod optimistic;
mod options;
mod origin;
mod patch;
mod permit;
mod pool;
mod python;
mod queue;
mod read;
mod reply;
mod source;
mod stats;
mod status;
mod transacted;
mod transaction;
mod update;
mod watch;
mod wire;
mod write;

pub use abi::*;
pub use cache::*;
pub use call::*;
pub use config::*;
pub use create::*;
pub use doubt::*;
pub use error::*;
pub use extract::*;
pub use feed::*;
pub use invalidate::*;
pub use list::*;
pub use listener::*;
pub use many::*;
pub use optimistic::*;
pub use origin::*;
pub use patch::*;
pub use permit::*;
pub use python::*;
pub use queue::*;
pub use read::*;
pub use reply::*;
pub use source::*;
pub use stats::*;
pub use status::*;
pub use transacted::*;
pub use transaction::*;
pub use update::*;
pub use write::*;
