//! What a cache is opened with: a builder with setters, and the options behind it.
//!
//! Invariant: a call that fails leaves the builder as it was.

use std::ffi::c_void;
use std::time::Duration;

use wtcache::{Builder, Bytes};
use wtcache_http_source::{Breaker, BuildError, Freshness, HttpSource, Retries};

use crate::arguments::{Refused, required, text};
use crate::border;
use crate::error::wtcache_error;
use crate::json;
use crate::status::{WTCACHE_ERR_CONFIG, WTCACHE_OK};

/// What a cache is to be opened with. It belongs to one thread at a time.
pub struct wtcache_config(Options);

/// A configuration with all defaults, to be freed with `wtcache_config_free`. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn wtcache_config_new() -> *mut wtcache_config {
    Box::into_raw(Box::new(wtcache_config(Options::default())))
}

/// Frees a configuration. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_free(config: *mut wtcache_config) {
    if !config.is_null() {
        // SAFETY: it came from `Box::into_raw`, and the caller gives it back once.
        border::quietly((), || drop(unsafe { Box::from_raw(config) }));
    }
}

/// Sets what a JSON object names, and leaves the rest as it is:
///
/// ```json
/// {
///   "capacity_bytes": 67108864,
///   "lifetime_ms": 300000,
///   "negative_lifetime_ms": 5000,
///   "deadline_ms": 5000,
///   "http": {
///     "url": "http://inventory.internal:8080/items/{id}",
///     "headers": { "Authorization": "Bearer secret" },
///     "timeout_ms": 5000,
///     "connect_timeout_ms": 1000,
///     "max_in_flight": 64,
///     "max_queued": 1024,
///     "max_idle_connections": 16,
///     "body_limit_bytes": 1048576,
///     "freshness": "table",
///     "settle_window_ms": 10000,
///     "stores_verbatim": false,
///     "honours_preconditions": false,
///     "honours_idempotency": false,
///     "versions_never_reused": false,
///     "idempotency_header": "Idempotency-Key",
///     "retries": {
///       "loads": 2,
///       "writes": 0,
///       "base_ms": 50,
///       "cap_ms": 1000,
///       "budget_percent": 20,
///       "burst": 10
///     },
///     "breaker": {
///       "enabled": true,
///       "window_ms": 10000,
///       "calls": 20,
///       "failures_percent": 50,
///       "open_for_ms": 5000
///     }
///   }
/// }
/// ```
///
/// These are the defaults, but for `lifetime_ms`, which is without end, and url and headers, which have none. `retries` may have
/// `attempt_timeout_ms` too, the longest that an attempt may take which is not the last one; without it, an attempt has all that is left. A member that is not
/// known, or of another type, or given twice, is an error whose message names it; then nothing was set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_load_json(
    config: *mut wtcache_config,
    json: *const c_void,
    json_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let text = text("json", json, json_len)?;
            change(config, |options| json::load(options, text))
        })
    }
}

/// The most that the cache holds, in bytes of keys, values and their headers. Default 64 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_capacity_bytes(
    config: *mut wtcache_config,
    capacity_bytes: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.capacity_bytes, capacity_bytes))) }
}

/// How long a record is served that says nothing else itself. Default: without end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_lifetime_ms(
    config: *mut wtcache_config,
    lifetime_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.lifetime_ms, lifetime_ms))) }
}

/// How long the absence of a record is remembered; 0: not at all. Default 5,000.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_negative_lifetime_ms(
    config: *mut wtcache_config,
    lifetime_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.negative_lifetime_ms, lifetime_ms))) }
}

/// How long a call may take that says nothing else, the source's work included; a day at most. Default 5,000.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_deadline_ms(
    config: *mut wtcache_config,
    deadline_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.deadline_ms, deadline_ms))) }
}

/// The URL of the HTTP origin's records: absolute, http or https, with `{id}` once in its path, where the key is put, percent-encoded. It
/// is checked when the cache is opened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_http_url(
    config: *mut wtcache_config,
    url: *const c_void,
    url_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let url = text("url", url, url_len)?;
            change(config, |options| set(&mut options.http().url, url.to_owned()))
        })
    }
}

/// Adds a header to every request to the HTTP origin. A name that is given twice is sent twice. The value is shown in no
/// error. It is checked when the cache is opened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_add_http_header(
    config: *mut wtcache_config,
    name: *const c_void,
    name_len: usize,
    value: *const c_void,
    value_len: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let header = (text("name", name, name_len)?.to_owned(), text("value", value, value_len)?.to_owned());
            change(config, |options| {
                options.http().headers.push(header);
                Ok(())
            })
        })
    }
}

impl wtcache_config {
    pub(crate) fn options(&self) -> &Options {
        &self.0
    }
}

/// Changes a builder, or leaves it as it was.
///
/// # Safety
/// `config` is NULL or points to one that no other thread uses.
unsafe fn change(
    config: *mut wtcache_config,
    change: impl FnOnce(&mut Options) -> Result<(), Refused>,
) -> Result<i32, wtcache_error> {
    // SAFETY: the caller's promise.
    let mut changed = unsafe { required("config", config) }?.0.clone();
    change(&mut changed)?;
    // SAFETY: the caller's promise; found not to be NULL.
    unsafe { (*config).0 = changed };
    Ok(WTCACHE_OK)
}

fn set<T>(option: &mut Option<T>, value: T) -> Result<(), Refused> {
    *option = Some(value);
    Ok(())
}

/// What was set; the rest is core's and the HTTP source's own default.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) lifetime_ms: Option<u64>,
    pub(crate) negative_lifetime_ms: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
    http: Option<Http>,
}

/// What was set of the HTTP source.
#[derive(Clone, Default)]
pub(crate) struct Http {
    pub(crate) url: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) connect_timeout_ms: Option<u64>,
    pub(crate) body_limit_bytes: Option<usize>,
    pub(crate) freshness: Option<Freshness>,
    pub(crate) settle_window_ms: Option<u64>,
    pub(crate) stores_verbatim: Option<bool>,
    pub(crate) honours_preconditions: Option<bool>,
    pub(crate) honours_idempotency: Option<bool>,
    pub(crate) versions_never_reused: Option<bool>,
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) max_queued: Option<usize>,
    pub(crate) max_idle_connections: Option<usize>,
    pub(crate) idempotency_header: Option<String>,
    pub(crate) retries: Retries,
    pub(crate) breaker: Breaker,
    pub(crate) no_breaker: bool,
}

impl Options {
    /// The options of the HTTP source, of which something is about to be set.
    pub(crate) fn http(&mut self) -> &mut Http {
        self.http.get_or_insert_default()
    }

    pub(crate) fn apply(&self, mut builder: Builder<Bytes>) -> Builder<Bytes> {
        if let Some(capacity) = self.capacity_bytes {
            builder = builder.capacity(capacity);
        }
        if let Some(ms) = self.lifetime_ms {
            builder = builder.lifetime(Duration::from_millis(ms));
        }
        if let Some(ms) = self.negative_lifetime_ms {
            builder = builder.negative_lifetime(Duration::from_millis(ms));
        }
        if let Some(ms) = self.deadline_ms {
            builder = builder.deadline(Duration::from_millis(ms));
        }
        builder
    }

    pub(crate) fn names_no_origin(&self) -> Result<(), Refused> {
        match self.http {
            None => Ok(()),
            Some(_) => Err(refuse("http: is set, and a source of the program's own is given too")),
        }
    }

    pub(crate) fn http_source(&self) -> Result<HttpSource, Refused> {
        let missing = || refuse("http.url: is missing");
        let http = self.http.as_ref().ok_or_else(missing)?;
        let mut source = HttpSource::builder(http.url.as_ref().ok_or_else(missing)?.as_str());
        for (name, value) in &http.headers {
            source = source.header(name.as_str(), value.as_str());
        }
        if let Some(ms) = http.timeout_ms {
            source = source.timeout(Duration::from_millis(ms));
        }
        if let Some(ms) = http.connect_timeout_ms {
            source = source.connect_timeout(Duration::from_millis(ms));
        }
        if let Some(bytes) = http.body_limit_bytes {
            source = source.body_limit(bytes);
        }
        if let Some(freshness) = http.freshness {
            source = source.freshness(freshness);
        }
        if let Some(ms) = http.settle_window_ms {
            source = source.settle_window(Duration::from_millis(ms));
        }
        if let Some(declared) = http.stores_verbatim {
            source = source.stores_verbatim(declared);
        }
        if let Some(declared) = http.honours_preconditions {
            source = source.honours_preconditions(declared);
        }
        if let Some(declared) = http.honours_idempotency {
            source = source.honours_idempotency(declared);
        }
        if let Some(declared) = http.versions_never_reused {
            source = source.versions_never_reused(declared);
        }
        if let Some(requests) = http.max_in_flight {
            source = source.max_in_flight(requests);
        }
        if let Some(calls) = http.max_queued {
            source = source.max_queued(calls);
        }
        if let Some(connections) = http.max_idle_connections {
            source = source.max_idle_connections(connections);
        }
        if let Some(name) = &http.idempotency_header {
            source = source.idempotency_header(name.as_str());
        }
        source = source.retries(http.retries.clone());
        source = if http.no_breaker { source.no_breaker() } else { source.breaker(http.breaker.clone()) };
        source.build().map_err(|error| match error {
            BuildError::Url(why) => refuse(format!("http.url: {why}")),
            BuildError::Header { name, why } => refuse(format!("http.headers.{name}: {why}")),
            BuildError::Option { option, message } => {
                let unit = match option {
                    "timeout"
                    | "connect_timeout"
                    | "retries.cap"
                    | "retries.attempt_timeout"
                    | "breaker.window"
                    | "breaker.open_for" => "_ms",
                    "body_limit" => "_bytes",
                    _ => "",
                };
                refuse(format!("http.{option}{unit}: {message}"))
            }
            other => refuse(format!("http: {other}")),
        })
    }
}

fn refuse(message: impl Into<String>) -> Refused {
    Refused::new(WTCACHE_ERR_CONFIG, message)
}
