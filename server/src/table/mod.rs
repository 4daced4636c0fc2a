//! A table as it is served: its schema, its origin, and the cache over that.
//!
//! Invariant: what a cache of a table holds are records that passed the table's check, as compact JSON.

mod origin;
#[cfg(feature = "serve")]
mod served;

pub use origin::origin_of;
#[cfg(feature = "serve")]
pub use served::ServedTable;
#[cfg(feature = "serve")]
pub(crate) use served::{Earlier, tried};
