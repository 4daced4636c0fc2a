//! The HTTP origin adapter of wtcache: a [`Source`](wtcache::Source) of byte records behind one URL template.
//!
//! `GET`, `PUT` and `DELETE` of one resource a key. What the source answers is proved, never guessed: a write is
//! [`Rejected`](wtcache::Outcome::Rejected) only if not one byte of the request was offered to the wire, or the origin
//! answered that it refuses; else it is [`Unknown`](wtcache::Outcome::Unknown).
//!
//! ```no_run
//! use std::time::Duration;
//! use wtcache_http_source::{Freshness, HttpSource};
//!
//! let source = HttpSource::builder("http://inventory.internal:8080/items/{id}")
//!     .header("Authorization", "Bearer secret")
//!     .timeout(Duration::from_secs(2))
//!     .freshness(Freshness::Origin)
//!     .honours_preconditions(true)
//!     .build()?;
//! # drop(source);
//! # Ok::<(), wtcache_http_source::BuildError>(())
//! ```
//!
//! What it does not do: follow redirects, keep cookies, use a proxy, decode compressed bodies, or send a write twice.

mod answer;
mod builder;
mod cache_control;
mod call;
mod classify;
mod freshness;
mod headers;
mod resolve;
mod shape;
mod source;
mod template;
mod transport;

#[cfg(test)]
mod revalidation_tests;

pub use answer::OriginAnswer;
pub use builder::{BuildError, HttpSourceBuilder};
pub use freshness::Freshness;
pub use source::HttpSource;
