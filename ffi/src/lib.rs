//! The C ABI of wtcache: what `include/wtcache.h` declares.
//!
//! Each file is one theme, and its public functions are the header's, in the header's order: `abi`, `status`, `error`, `config`,
//! `cache`, `read`, `write`, `stats`, `source`, `reply`, `python`. Below them: `json` reads a configuration, `arguments` and `border` stand
//! between the caller's pointers and safe code, `fork` knows in which process we are.
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
mod config;
mod error;
mod fork;
mod json;
mod python;
mod read;
mod reply;
mod source;
mod stats;
mod status;
mod write;

pub use abi::*;
pub use cache::*;
pub use config::*;
pub use error::*;
pub use python::*;
pub use read::*;
pub use reply::*;
pub use source::*;
pub use stats::*;
pub use status::*;
pub use write::*;
