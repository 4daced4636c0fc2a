//! What tests of wtcache are made with: a clock that is moved by hand.

mod clock;

pub use clock::ManualClock;
