//! What tests of wtcache are made with: a clock that is moved by hand, an exhaustive search of a model's states, and the
//! judge of a key's history.

mod clock;
pub mod explore;
pub mod register;

pub use clock::ManualClock;
