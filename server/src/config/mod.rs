//! The configuration of the REST front, `config.yaml`: where each table's origin is and how its cache behaves.
//!
//! Owns the settings, their defaults and the reading of both files. It opens no connection and never reads the
//! process's environment itself: the caller hands in a lookup.
//! Invariant: a [`Config`] read with a schema has exactly the schema's tables; headers' values reach no error and no
//! `Debug` output.

mod auth;
mod batch;
mod changes;
mod listening;
mod read;
mod telling;
mod value;
mod wire;
mod yaml;

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use wtcache::VersionOrder;
use wtcache_http_source::{Breaker, Retries, Secret};

use crate::diagnostic::{Diagnostics, Findings, MAX_FILE_BYTES, Position};
use crate::schema::Schema;

pub use auth::{AuthConfig, Credential, PrincipalConfig, Rights, Verbs};
pub use batch::{BatchConfig, CreateConfig, ListConfig};
pub use changes::{ChangesConfig, FeedKind, SharedSecret, SubscribeConfig};
pub use listening::{Admin, Limits, TlsConfig};
pub use telling::{AccessLog, LogFormat, TelemetryConfig};
pub use wire::{OriginAuth, OriginTls, WireConfig};

/// Looks up a variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the front serves, and from where.
///
/// ```
/// use wtcache_server::{config::Config, schema::Schema};
///
/// let schema = Schema::parse("schema.graphql", b"type Item @table { id: ID @primaryKey }").unwrap();
/// let text = b"tables: { Item: { origin: { url: \"${API}/items/{id}\" } } }";
/// let environment = |name: &str| (name == "API").then(|| "http://127.0.0.1:8080".to_owned());
/// let config = Config::parse("config.yaml", text, &schema, &environment).unwrap();
/// assert_eq!(config.table("Item").unwrap().origin.url, "http://127.0.0.1:8080/items/{id}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The address to serve at; by default 127.0.0.1:9926. Anything but loopback is somebody's written decision: `public`.
    pub listen: SocketAddr,
    /// Whether an address may be any other than loopback; by default not.
    pub public: bool,
    /// Where this server is asked of itself; by default at 127.0.0.1:9927.
    pub admin: Admin,
    /// What clients may ask of it at once, and how long they may take.
    pub limits: Limits,
    /// Answers to reads of so many bytes are compressed; by default none are.
    pub compression: Option<usize>,
    /// What both addresses speak TLS with; without it, they speak plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Who may ask for what; without it, everybody for everything.
    pub auth: Option<AuthConfig>,
    /// The shape of the lines that tell what happens, and of access lines.
    pub log: LogFormat,
    /// Where a line for each request goes; by default there is none.
    pub access_log: Option<AccessLog>,
    /// Where traces go, and which; by default none do.
    pub telemetry: Option<TelemetryConfig>,
    /// The tables, in the order of the file.
    pub tables: Vec<TableConfig>,
}

/// A table's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// The table's name in the schema.
    pub name: String,
    /// The remote system that owns its records.
    pub origin: OriginConfig,
    /// What the cache may hold; by default 64 MiB.
    pub capacity: Capacity,
    /// How long the origin's "no such record" is served; by default 5 s, zero for not at all.
    pub negative_lifetime: Duration,
    /// For how long after it expired a record is served while it is refreshed, where its origin says nothing; by default not at all.
    pub stale_while_revalidate: Duration,
    /// For how long after it expired a record is served in place of an error, where its origin says nothing; by default not at all.
    pub stale_if_error: Duration,
    /// In this last share of its lifetime, from 0 to 99 percent, a record that is read is refreshed ahead; by default not at all.
    pub refresh_ahead_percent: u8,
    /// By up to this share of itself, from 0 to 100 percent, a lifetime is shortened at random; by default not at all.
    pub jitter_percent: u8,
    /// What becomes of a write whose key is in doubt.
    pub in_doubt_writes: InDoubtWrites,
    /// Whether a key is absent at once after an applied delete; by default the next read asks the origin.
    pub absent_after_delete: bool,
    /// The promise that no write of an earlier process was in flight at the start; by default it is not given, and what
    /// is loaded in the first settle window lives no longer than that window.
    pub clean_start: bool,
    /// One record in each interval of this length is compared with the origin, by the auditor; by default none is.
    pub audit_every: Option<Duration>,
    /// The bounds of writes that are answered before they are settled.
    pub optimistic: OptimisticConfig,
    /// Where the origin tells of its changes; by default nowhere.
    pub subscribe: Option<SubscribeConfig>,
    /// How changes are written that the origin tells, over a subscription or a webhook.
    pub changes: ChangesConfig,
    /// Whether what happens to keys is told at `/-/events`; by default not.
    pub events: bool,
}

/// The bounds of a table's writes that are answered before they are settled (`Prefer: respond-async`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptimisticConfig {
    /// How many may be pending at once; by default 16,384. What is more is 503.
    pub writes: usize,
    /// How much they may weigh together, in bytes; by default 64 MiB. Without a meaning where the table's capacity is a number of
    /// entries.
    pub weight_bytes: u64,
    /// How many are at the origin at once; by default 4.
    pub threads: usize,
    /// How long one may take, the wait for its turn included; by default the origin's `timeout`.
    pub timeout: Option<Duration>,
    /// Of how many that have ended the outcome is kept; by default 10,000. Each takes what its key does, and up to some 4 KiB where it was
    /// not applied.
    pub outcomes: usize,
    /// For how long; by default 10 minutes.
    pub outcomes_for: Duration,
}

/// How to speak to a table's origin.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginConfig {
    /// A record's URL, http or https, with the key in place of its one `{id}`.
    pub url: String,
    /// Headers of every request, in the order of the file.
    pub headers: Vec<HeaderConfig>,
    /// By default 1 s; not zero.
    pub connect_timeout: Duration,
    /// The deadline of a whole call, all attempts included; by default 5 s, not zero.
    pub timeout: Duration,
    /// How many requests are at the origin at once; by default 64, not zero.
    pub max_in_flight: usize,
    /// How many calls may wait for one of them to end; by default 1,024.
    pub max_queued: usize,
    /// How many idle connections are kept; by default 16.
    pub max_idle_connections: usize,
    /// How long an idle connection is kept; by default 15 s.
    pub max_idle_age: Duration,
    /// The idle age from which on a connection is not used for a write; by default 2 s.
    pub write_max_idle_age: Duration,
    /// How long the addresses of the origin's name are kept; by default 30 s.
    pub name_ttl: Duration,
    /// When calls are attempted again; by default loads twice and writes never.
    pub retries: Retries,
    /// When an origin that fails is left alone; `None` for never.
    pub breaker: Option<Breaker>,
    /// Whether the origin honours the key of a write that is sent again.
    pub idempotency: Idempotency,
    /// The name of the header with that key; by default `Idempotency-Key`.
    pub idempotency_header: String,
    /// How long a write already sent may still take effect; by default 10 s.
    pub settle_window: Duration,
    /// The longest body of an answer, in bytes; by default 1 MiB, not zero.
    pub max_body_bytes: usize,
    /// Who says how long a record is fresh.
    pub freshness: Freshness,
    /// With [`Freshness::Origin`], the share in percent of the time since its last change that a record is fresh of which the origin
    /// says no more; by default 0: the table's `expiration`.
    pub heuristic_percent: u8,
    /// The longest that this can be; by default 24 h.
    pub heuristic_longest: Duration,
    /// Whether records without an ETag are revalidated by their `Last-Modified`; by default not.
    pub last_modified: bool,
    /// Where in an answer the record is: a JSON pointer; by default it is the answer.
    pub record_at: String,
    /// Whether it is there the one member of an array; by default not.
    pub record_in_array: bool,
    /// Where in a put the record is to stand: a JSON pointer; by default it is the body.
    pub put_at: String,
    /// How the origin gives several records with one request; by default it does not.
    pub batch: Option<BatchConfig>,
    /// Where the origin lists records by queries of its own; by default it does not.
    pub list: Option<ListConfig>,
    /// Where the origin makes records whose keys it names; by default it does not.
    pub create: Option<CreateConfig>,
    /// What becomes of a `PATCH`; by default it is merged here.
    pub patch: Patches,
    /// Whether the origin honours preconditions of writes.
    pub preconditions: Preconditions,
    /// How the origin's ETags of a record stand to each other, so that what it tells of changes is known to be news; by default they
    /// have no order.
    pub versions: VersionOrder,
    /// Whether no ETag of a record ever comes back for it, also not after a delete; by default one may.
    pub versions_never_reused: bool,
    /// Whether the origin stores exactly what it is sent, so that a write's body is the record; by default not.
    pub stores_verbatim: bool,
    /// How it is reached.
    pub wire: WireConfig,
}

/// A header sent to the origin.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderConfig {
    /// The name, a token.
    pub name: String,
    /// The value, with the environment's secrets in it, or the file that it stands in.
    pub value: Secret,
}

/// The bound of a table's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// So many bytes of weight.
    Bytes(u64),
    /// So many entries.
    Entries(u64),
}

/// Who says how long a record is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// The table's `expiration`.
    #[default]
    Table,
    /// The origin's answer.
    Origin,
}

/// What becomes of a `PATCH` of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patches {
    /// The record is loaded where it is not here, merged, and put to the origin as a whole.
    #[default]
    Put,
    /// The origin takes merge patches (RFC 7396): it is sent to it, and nothing is loaded for it.
    Merge,
}

/// What the origin does with a precondition of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preconditions {
    /// It may ignore it: the precondition is checked by the cache only.
    #[default]
    Unchecked,
    /// It refuses the write if the precondition does not hold.
    Honoured,
}

/// What the origin does with the key of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idempotency {
    /// It may apply two sends with the same key as two writes.
    #[default]
    Unchecked,
    /// It applies them at most once, and answers both alike.
    Honoured,
}

/// What becomes of a write whose key is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InDoubtWrites {
    /// It is sent in its turn.
    #[default]
    Send,
    /// Unless it is conditional, it is rejected with a time to retry if the doubt outlasts its deadline.
    Wait,
}

impl Config {
    /// Reads a configuration for `schema`; `file` is what its errors call it.
    ///
    /// # Errors
    /// All errors of meaning that the file holds, or its first syntax error.
    pub fn parse(file: &str, bytes: &[u8], schema: &Schema, environment: Environment<'_>) -> Result<Self, Diagnostics> {
        read::config(file, bytes, Some(schema), environment)
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&TableConfig> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl Default for Config {
    /// No table yet, at the default address.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9926)),
            public: false,
            admin: Admin::default(),
            limits: Limits::default(),
            compression: None,
            tls: None,
            auth: None,
            log: LogFormat::default(),
            access_log: None,
            telemetry: None,
            tables: Vec::new(),
        }
    }
}

impl Default for OptimisticConfig {
    fn default() -> Self {
        Self {
            writes: 16_384,
            weight_bytes: 64 * 1024 * 1024,
            threads: 4,
            timeout: None,
            outcomes: 10_000,
            outcomes_for: Duration::from_secs(600),
        }
    }
}

impl OriginConfig {
    /// The defaults of everything but the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            max_in_flight: 64,
            max_queued: 1024,
            max_idle_connections: 16,
            max_idle_age: Duration::from_secs(15),
            write_max_idle_age: Duration::from_secs(2),
            name_ttl: Duration::from_secs(30),
            retries: Retries::default(),
            breaker: Some(Breaker::default()),
            idempotency: Idempotency::default(),
            idempotency_header: "Idempotency-Key".to_owned(),
            timeout: Duration::from_secs(5),
            settle_window: Duration::from_secs(10),
            max_body_bytes: 1024 * 1024,
            freshness: Freshness::default(),
            heuristic_percent: 0,
            heuristic_longest: Duration::from_secs(24 * 60 * 60),
            last_modified: false,
            record_at: String::new(),
            record_in_array: false,
            put_at: String::new(),
            batch: None,
            list: None,
            create: None,
            patch: Patches::default(),
            preconditions: Preconditions::default(),
            stores_verbatim: false,
            versions: VersionOrder::None,
            versions_never_reused: false,
            wire: WireConfig::default(),
        }
    }
}

impl OriginConfig {
    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
    }
}

impl TableConfig {
    /// The defaults of everything but the name and the origin.
    pub fn new(name: impl Into<String>, origin: OriginConfig) -> Self {
        Self {
            name: name.into(),
            origin,
            capacity: Capacity::Bytes(64 * 1024 * 1024),
            negative_lifetime: Duration::from_secs(5),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            refresh_ahead_percent: 0,
            jitter_percent: 0,
            in_doubt_writes: InDoubtWrites::default(),
            absent_after_delete: false,
            clean_start: false,
            audit_every: None,
            optimistic: OptimisticConfig::default(),
            subscribe: None,
            changes: ChangesConfig::default(),
            events: false,
        }
    }
}

impl fmt::Debug for OriginConfig {
    /// Without the URL's query, which is where some origins want a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = without_query(&self.url);
        f.debug_struct("OriginConfig")
            .field("url", &url)
            .field("headers", &self.headers)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("settle_window", &self.settle_window)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("freshness", &self.freshness)
            .field("heuristic_percent", &self.heuristic_percent)
            .field("heuristic_longest", &self.heuristic_longest)
            .field("last_modified", &self.last_modified)
            .field("record_at", &self.record_at)
            .field("record_in_array", &self.record_in_array)
            .field("put_at", &self.put_at)
            .field("batch", &self.batch)
            .field("list", &self.list)
            .field("create", &self.create)
            .field("patch", &self.patch)
            .field("preconditions", &self.preconditions)
            .field("stores_verbatim", &self.stores_verbatim)
            .field("max_in_flight", &self.max_in_flight)
            .field("max_queued", &self.max_queued)
            .field("max_idle_connections", &self.max_idle_connections)
            .field("max_idle_age", &self.max_idle_age)
            .field("write_max_idle_age", &self.write_max_idle_age)
            .field("name_ttl", &self.name_ttl)
            .field("retries", &self.retries)
            .field("breaker", &self.breaker)
            .field("idempotency", &self.idempotency)
            .field("idempotency_header", &self.idempotency_header)
            .field("versions", &self.versions)
            .field("versions_never_reused", &self.versions_never_reused)
            .field("wire", &self.wire)
            .finish()
    }
}

/// A URL as it may be shown: its query is where some origins want a secret.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((path, _)) => format!("{path}?[redacted]"),
        None => url.to_owned(),
    }
}

impl fmt::Debug for HeaderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [redacted]", self.name)
    }
}

/// Reads `schema.graphql` and `config.yaml` of a directory.
///
/// # Errors
/// The errors of both files; a table is looked for in the other file only if the schema could be read.
pub fn load(directory: &Path, environment: Environment<'_>) -> Result<(Schema, Config), Diagnostics> {
    let schema = read_file(directory, "schema.graphql").and_then(|(file, bytes)| Schema::parse(&file, &bytes));
    let config = read_file(directory, "config.yaml")
        .and_then(|(file, bytes)| read::config(&file, &bytes, schema.as_ref().ok(), environment));
    match (schema, config) {
        (Ok(schema), Ok(mut config)) => {
            if let Some(tls) = &mut config.tls {
                // As the file names them, they are beside it.
                tls.certificate = directory.join(&tls.certificate);
                tls.key = directory.join(&tls.key);
            }
            if let Some(AccessLog::File(path)) = &mut config.access_log {
                *path = directory.join(&*path);
            }
            Ok((schema, config))
        }
        (Ok(_), Err(errors)) | (Err(errors), Ok(_)) => Err(errors),
        (Err(schema), Err(config)) => Err(schema.and(config)),
    }
}

/// A file's name for errors and its bytes, of which no more are read than it takes to see that they are too many.
fn read_file(directory: &Path, name: &str) -> Result<(String, Vec<u8>), Diagnostics> {
    let path = directory.join(name);
    let file = if directory == Path::new(".") { name.to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|opened| opened.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok((file, bytes)),
        Err(error) => {
            let (message, hint) = match error.kind() {
                ErrorKind::NotFound => {
                    ("the file is missing".to_owned(), Some(format!("create {name}, or name its directory")))
                }
                _ => (format!("the file cannot be read: {error}"), None),
            };
            Err(Findings::new(&file).fail(Position::START, message, hint))
        }
    }
}
