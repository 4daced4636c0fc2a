//! The REST front of wtcache and its command line.
//!
//! A front serves tables: [`schema`] and [`config`] say which, [`table`] opens a cache over each table's origin, [`front`] answers
//! requests, [`serve`] listens. A program of its own can put a rule inside each write ([`hook`]) or any
//! other source behind a table.
//!
//! Without the feature `serve`, which is on by default, there is only what reads the files of a folder: [`schema`], [`config`], what a
//! [`record`] may be, and the origin of a [`table`].

#[cfg(feature = "serve")]
mod access;
#[cfg(feature = "serve")]
mod answer;
#[cfg(feature = "serve")]
mod asked;
#[cfg(feature = "serve")]
mod asker;
#[cfg(feature = "serve")]
mod auth;
#[cfg(feature = "serve")]
mod changes;
pub mod config;
#[cfg(feature = "serve")]
mod connections;
#[cfg(feature = "serve")]
mod create;
#[cfg(feature = "serve")]
mod current;
#[cfg(feature = "serve")]
pub mod demo;
pub mod diagnostic;
#[cfg(feature = "serve")]
mod etag;
#[cfg(feature = "serve")]
mod events;
#[cfg(feature = "serve")]
mod expiry;
#[cfg(feature = "serve")]
mod exposition;
#[cfg(feature = "serve")]
mod feeds;
#[cfg(feature = "serve")]
pub mod folder;
#[cfg(feature = "serve")]
mod foreign;
#[cfg(feature = "serve")]
mod format;
#[cfg(feature = "serve")]
pub mod front;
#[cfg(feature = "serve")]
pub mod hook;
#[cfg(feature = "serve")]
mod incoming;
#[cfg(feature = "serve")]
mod invalidate;
#[cfg(feature = "serve")]
mod latency;
#[cfg(feature = "serve")]
mod lines;
#[cfg(feature = "serve")]
pub mod log;
#[cfg(feature = "serve")]
pub mod notify;
#[cfg(feature = "serve")]
mod openapi;
#[cfg(feature = "serve")]
mod origins;
#[cfg(feature = "serve")]
mod own;
#[cfg(feature = "serve")]
mod page;
#[cfg(feature = "serve")]
mod pending;
#[cfg(feature = "serve")]
mod precondition;
#[cfg(feature = "serve")]
mod prefer;
#[cfg(feature = "serve")]
mod problem;
#[cfg(feature = "serve")]
mod query;
#[cfg(feature = "serve")]
mod read;
pub mod record;
#[cfg(feature = "serve")]
pub mod reload;
pub mod schema;
#[cfg(feature = "serve")]
pub mod secret;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "serve")]
mod served;
#[cfg(feature = "serve")]
mod stamped;
pub mod table;
#[cfg(feature = "serve")]
mod telemetry;
#[cfg(feature = "serve")]
mod tellers;
#[cfg(feature = "serve")]
mod timing;
#[cfg(feature = "serve")]
mod tls;
#[cfg(feature = "serve")]
mod trace;
#[cfg(feature = "serve")]
mod transaction;
#[cfg(feature = "serve")]
mod turnstile;
#[cfg(feature = "serve")]
pub mod walk;
#[cfg(feature = "serve")]
mod write;
