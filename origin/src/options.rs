//! What can be asked of an origin before it starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::header_is_sound;
use crate::log::{Entry, Observer};

/// Options of [`Origin::start`](crate::Origin::start). The defaults: any free port, records in memory, no latency, no API
/// key, no faults over HTTP, 512 connections.
///
/// ```
/// use std::time::Duration;
/// let options = wtcache_origin::OriginOptions::new().latency(Duration::from_millis(20)).api_key("secret");
/// # let _ = options;
/// ```
#[derive(Clone)]
#[must_use]
pub struct OriginOptions {
    pub(crate) port: u16,
    pub(crate) db: Option<PathBuf>,
    pub(crate) latency: Duration,
    pub(crate) api_key: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) faults_over_http: bool,
    pub(crate) honours_idempotency: bool,
    pub(crate) max_connections: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) feed_heartbeat: Duration,
    pub(crate) observer: Option<Observer>,
}

impl Default for OriginOptions {
    fn default() -> Self {
        Self {
            port: 0,
            db: None,
            latency: Duration::ZERO,
            api_key: None,
            cache_control: None,
            faults_over_http: false,
            honours_idempotency: false,
            max_connections: 512,
            idle_timeout: Duration::from_secs(60),
            feed_heartbeat: Duration::from_secs(10),
            observer: None,
        }
    }
}

impl OriginOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the stream of changes is silent at most: then comes a comment. Default 10 s.
    pub fn feed_heartbeat(mut self, every: Duration) -> Self {
        self.feed_heartbeat = every;
        self
    }

    /// The port on 127.0.0.1; 0 takes any that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The SQLite file with the records, made if missing. Without one they are in memory and end with the origin.
    pub fn db(mut self, file: impl Into<PathBuf>) -> Self {
        self.db = Some(file.into());
        self
    }

    /// How long every request under `/items` takes at least, before it is applied.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Refuses requests without `Authorization: Bearer <key>` (all but `/healthz`).
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// The `Cache-Control` header of every answer to a GET under `/items`.
    ///
    /// # Panics
    /// If `directives` has control characters.
    pub fn cache_control(mut self, directives: impl Into<String>) -> Self {
        let directives = directives.into();
        assert!(header_is_sound("Cache-Control", &directives), "not a header value: {directives:?}");
        self.cache_control = Some(directives);
        self
    }

    /// Enables `/_faults`. Anyone who can reach the port can then make the origin misbehave.
    pub fn faults_over_http(mut self, enabled: bool) -> Self {
        self.faults_over_http = enabled;
        self
    }

    /// A write that comes again with the `Idempotency-Key` of one that was carried out or refused is answered as that was, and not
    /// applied again. The answers of the newest 10,000 are kept, as long as the origin runs. Default: the header is logged only.
    pub fn honours_idempotency(mut self, honours: bool) -> Self {
        self.honours_idempotency = honours;
        self
    }

    /// So many connections at a time; more are answered 503.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.max_connections = limit;
        self
    }

    /// A connection on which nothing moves for so long is closed. Zero counts as one millisecond.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// Called with the entry of every request when it is complete: just before its answer leaves, or when it is decided
    /// that none will. It runs on the request's thread.
    pub fn observer(mut self, observer: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl std::fmt::Debug for OriginOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginOptions")
            .field("port", &self.port)
            .field("db", &self.db)
            .field("latency", &self.latency)
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .field("cache_control", &self.cache_control)
            .field("faults_over_http", &self.faults_over_http)
            .field("honours_idempotency", &self.honours_idempotency)
            .field("max_connections", &self.max_connections)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}
