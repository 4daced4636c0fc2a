//! Histories of real threads over real sockets.
//!
//! A seed gives a [`Script`]: threads with their operations, faults at the origin, outages. [`play`] runs it on a cache over
//! the HTTP source and the sample origin, and holds what was seen against what the origin applied. What fails is made
//! smaller by [`shrink()`] and can be run again from its text. It is a race of real time: a script fixes what is done, not when.

mod judge;
mod outdated;
mod round;
mod script;
mod shrink;
mod source;
mod visible;

pub use judge::{Finding, Oracle};
pub use round::{Counts, Report, play};
pub use script::{Disturbance, Do, Feeds, Options, Script};
pub use shrink::{Shrunk, replay, shrink};
pub use source::Lie;
