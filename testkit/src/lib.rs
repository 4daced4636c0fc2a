//! What tests of wtcache are made with: a clock that is moved by hand.

mod clock;
mod history;

pub use clock::ManualClock;
pub use history::{Begun, Client, History, Value};
