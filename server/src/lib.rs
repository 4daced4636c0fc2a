//! The REST front of wtcache and its command line.
//!
//! A front serves tables: [`schema`] and [`config`] say which, [`table`] opens a cache over each table's origin, [`front`] answers
//! requests, [`serve`] listens. A program of its own can put a rule inside each write ([`hook`]) or any
//! other source behind a table.

mod answer;
mod asked;
mod asker;
mod auth;
mod changes;
pub mod config;
mod connections;
mod create;
pub mod demo;
pub mod diagnostic;
mod etag;
mod events;
mod expiry;
mod exposition;
pub mod folder;
mod foreign;
mod format;
pub mod front;
pub mod hook;
mod incoming;
mod invalidate;
mod latency;
pub mod notify;
mod openapi;
mod origins;
mod own;
mod page;
mod pending;
mod precondition;
mod prefer;
mod problem;
mod query;
pub mod record;
pub mod reload;
pub mod schema;
pub mod secret;
pub mod serve;
mod stamped;
pub mod table;
mod timing;
mod tls;
mod trace;
mod transaction;
pub mod walk;
mod write;
