//! The REST front of wtcache and its command line.

pub mod config;
pub mod diagnostic;
pub mod record;
pub mod schema;
