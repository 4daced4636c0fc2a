//! What tests of wtcache are made with: a clock that is moved by hand, a source that does what a script says, gates that
//! hold its calls, threads that are joined within a bound, a search of all states of a model, dice, and judges of histories.

mod calls;
mod clock;
mod crew;
mod dice;
pub mod explore;
mod gate;
mod history;
pub mod register;
mod script;

pub use calls::{Does, Op, Plain, Seen, When};
pub use clock::{HourlyClock, ManualClock};
pub use crew::{Running, spawn};
pub use dice::Dice;
pub use gate::Gate;
pub use history::{Begun, Client, History, Value};
pub use script::Script;
