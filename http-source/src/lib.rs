//! The HTTP origin adapter of wtcache: a [`Source`](wtcache::Source) of byte records behind one URL template.
//!
//! `GET`, `PUT` and `DELETE` of one resource a key, `GET` of several with one request ([`BatchGet`]), and `POST` of records that the origin names ([`CreatePost`]), and `GET` of lists by queries of the origin's ([`ListGet`]). What the source answers is proved, never guessed: a write is
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
//! # When the origin is slow, overloaded or gone
//! Each call has one deadline: the earlier of the caller's and [`timeout`](HttpSourceBuilder::timeout). Queue, name, connection, TLS, all
//! attempts and the pauses between them come out of it; nothing is sent after it.
//!
//! - [`max_in_flight`](HttpSourceBuilder::max_in_flight) requests are at the origin at once, and
//!   [`max_queued`](HttpSourceBuilder::max_queued) calls wait for one of them to end; more are refused: [`NotTried::QueueFull`].
//! - [`Retries`]: loads are attempted again by default, writes where the program says so and only where that is safe; within a
//!   budget, so that an origin in trouble is not asked many times as much.
//! - [`Breaker`]: an origin that fails too often is left alone for a while, but for single probes: [`NotTried::BreakerOpen`].
//!
//! A write that was refused for one of these is Rejected: nothing was sent. A load fails as if the origin were out of reach, so that a
//! cache may serve what is stale. [`HttpSource::stats`] shows what goes on.
//!
//! # Seen from outside
//! With a subscriber of [`tracing`], each call is a span `origin` (level debug), with its `method`, the [name](HttpSourceBuilder::name) of the origin,
//! how many `attempts` it took, and its `outcome`; retries and credentials that were taken up are events of it, and a breaker that opens or closes is one (`breaker_opened`, `breaker_closed`), as is a
//! subscription that is cut off or live again (`feed_cut_off`, `feed_live`). No
//! key, no path and no header is shown. A [`TraceContext`] that the thread has entered goes along with the requests, and can be [told](TraceContext::telling)
//! of each.
//!
//! # When others write to the origin
//! It can tell of that by itself: [`HttpSource::subscribe_sse`] and [`HttpSource::subscribe_poll`] read what it tells and do that to a cache;
//! [`ChangeForm`] says how a change is written.
//!
//! What it does not do: follow redirects, or keep cookies.

mod answer;
mod attempt;
mod batch;
mod breaker;
mod builder;
mod cache_control;
mod call;
mod changes;
mod classify;
mod coding;
mod create;
mod credentials;
mod durations;
mod exchange;
mod freshness;
mod gate;
mod gather;
mod headers;
mod list;
mod patch;
mod proxy;
mod report;
mod resolve;
mod retry;
mod secret;
mod shape;
mod source;
mod stats;
mod subscription;
mod template;
mod tls;
mod trace;
mod transport;
mod tunnel;
mod wait;

#[cfg(test)]
mod revalidation_tests;

pub use answer::OriginAnswer;
pub use attempt::NotTried;
pub use batch::BatchGet;
pub use breaker::{Breaker, BreakerState};
pub use builder::{BuildError, HttpSourceBuilder};
pub use changes::{ChangeEnd, ChangeForm, OriginChange};
pub use coding::{Coding, Undecoded};
pub use create::CreatePost;
pub use durations::AttemptDurations;
pub use freshness::Freshness;
pub use list::{ListGet, OriginList};
pub use proxy::Proxy;
pub use retry::Retries;
pub use secret::Secret;
pub use source::HttpSource;
pub use stats::{BreakerStats, SourceStats};
pub use subscription::{Subscribe, Subscription, SubscriptionState, SubscriptionStats, WhileCutOff};
pub use trace::{Entered, NoTraceContext, SentRequest, TraceContext};
