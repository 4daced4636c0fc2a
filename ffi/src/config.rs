//! What a cache is opened with: a builder with setters.
//!
//! Invariant: a call that fails leaves the builder as it was.

use std::ffi::c_void;

use crate::arguments::{Refused, flag, required, text};
use crate::border;
use crate::error::wtcache_error;
use crate::extract::Extracts;
use crate::json;
use crate::listener::Listener;
use crate::options::Options;
use crate::status::WTCACHE_OK;

/// What a cache is to be opened with. It belongs to one thread at a time.
pub struct wtcache_config {
    options: Options,
    pub(crate) listener: Option<Listener>,
    pub(crate) extracts: Extracts,
}

/// A configuration with all defaults, to be freed with `wtcache_config_free`. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn wtcache_config_new() -> *mut wtcache_config {
    border::give(wtcache_config { options: Options::default(), listener: None, extracts: Extracts::default() })
}

/// Frees a configuration. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_free(config: *mut wtcache_config) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(config) };
}

/// Sets what a JSON object names, and leaves the rest as it is:
///
/// ```json
/// {
///   "capacity_bytes": 67108864,
///   "lifetime_ms": 300000,
///   "negative_lifetime_ms": 5000,
///   "deadline_ms": 5000,
///   "stale_while_revalidate_ms": 0,
///   "stale_if_error_ms": 0,
///   "keep_expired_ms": 86400000,
///   "refresh_ahead": 0.0,
///   "refresh_threads": 2,
///   "refresh_queue": 1024,
///   "jitter": 0.0,
///   "in_doubt_writes_wait": false,
///   "absent_after_delete": false,
///   "clean_start": false,
///   "stray_window_ms": 0,
///   "most_doubts": 65536,
///   "turn_queue": 1024,
///   "load_queue": 65536,
///   "longest_key_bytes": 1024,
///   "shards": 8,
///   "key_index": false,
///   "separator": ":",
///   "tag_memory": 1024,
///   "optimistic_threads": 4,
///   "optimistic_most": 16384,
///   "optimistic_weight_bytes": 67108864,
///   "optimistic_deadline_ms": 5000,
///   "audit_every_ms": 1000,
///   "http": {
///     "url": "http://inventory.internal:8080/items/{id}",
///     "headers": { "Authorization": "Bearer secret" },
///     "timeout_ms": 5000,
///     "connect_timeout_ms": 1000,
///     "name_ttl_ms": 30000,
///     "max_in_flight": 64,
///     "max_queued": 1024,
///     "max_idle_connections": 16,
///     "max_idle_age_ms": 15000,
///     "write_max_idle_age_ms": 2000,
///     "body_limit_bytes": 1048576,
///     "freshness": "table",
///     "heuristic_share": 0.0,
///     "heuristic_longest_ms": 86400000,
///     "last_modified": false,
///     "record_at": "",
///     "record_in_array": false,
///     "put_at": "",
///     "settle_window_ms": 10000,
///     "stores_verbatim": false,
///     "honours_preconditions": false,
///     "honours_idempotency": false,
///     "versions_never_reused": false,
///     "versions": "opaque",
///     "idempotency_header": "Idempotency-Key",
///     "compression": true,
///     "proxy": "none",
///     "tls": { "system_roots": false },
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
/// These are the defaults, but for `lifetime_ms`, which is without end, `keep_expired_ms`, which is not set, `shards`, which depend on the machine, `audit_every_ms`, which is off,
/// and url and headers, which have none. What a member means, its setter says; of those that have none:
///
/// - `heuristic_share`, from 0 to 1: with `freshness` of the origin, an answer that says when its record was last modified, and nothing of how
///   long it is fresh, is so for this share of the time that it had then been as it is, `heuristic_longest_ms` at most. 0: no guess is made.
/// - `last_modified`: an answer without an ETag has its Last-Modified for a version. Not together with `honours_preconditions`.
/// - `record_at`: where in the body of an answer the record is, a JSON pointer such as `/data`. `record_in_array`: there is an array with the
///   record as its one member; an empty one says that there is none. `put_at`: where in the body of a put the record stands.
/// - `batch`, which is not there by default: the origin gives several records with one request, whose URL has `{ids}` once, of the same host as `url`. Its
///   members, with their defaults: `separator` `","`, `most_keys` 100, `records_at` `""` (where in the answer the array of records is), `key_at` `"/id"`
///   (where in a record its key is), `version_at` (where its version is; without, it has none), `body_limit_bytes` 16 MiB, and
///   `window_ms` 0: loads of single records that begin within so long go out together. Then `wtcache_get_many` asks once for many keys. What an
///   answer lacks is absent; so it must never be one page of several.
/// - `create`, which is not there by default: where `wtcache_create` sends a record, with `POST`. Its members: `url`, of the same host as `url`, and `key_at`, by
///   default `"/id"`: where in the record that is answered its key is. Without one there, it is taken from `Location`.
/// - `list`, which is not there by default: where the origin lists records by queries of its own, for `wtcache_list`. Its members: `url`, of the same host as `url`, which
///   the query is added to; `records_at`, `key_at`, `version_at` and `body_limit_bytes`, as of `batch`; and `parts_by` `["select", "fields"]`: what in a
///   query may have the origin answer with parts of records, which are not kept then.
/// - `versions`: how the ETags of a record stand to each other: `opaque`; `number`, each has one number in it, which grows; or `bytes`, the later one is greater
///   byte by byte.
/// - `subscribe`, which is not there by default: the origin tells of its changes, and a thread of the cache's own does to it what they say, from
///   `wtcache_open` until the cache is closed, or gone with its last handle. Its members, with their defaults: `url`, a path or a whole URL of the origin's own host; `kind`
///   `"sse"`, a stream of Server-Sent Events, or `"poll"`, asked again and again; `resumes` false: whether the stream goes on after a `Last-Event-ID` or says
///   reset; `silence_ms` 30,000: if it says nothing for so long, it is cut off; `while_cut_off` `"serve"`: what is held is served for its lifetime, or
///   `{"forget_after_ms": 5000}`: all is forgotten once it is cut off for so long; `max_event_bytes` 1 MiB; of a poll, `cursor` `"cursor"`, the name that
///   it has in the query, and `poll_every_ms` 1,000, from one to the next after an answer without changes; and `form`, how a change is written, the names of its members: `op`,
///   `key`, `record`, `version`, and `version_as` `"{version}"`, how an ETag is made of that. A record that is told is taken where one is held and `versions` says that it is
///   newer; else its key is forgotten. Whenever something may have been missed, all is.
/// - `name_ttl_ms`: how long the addresses of the origin's name are kept. `max_idle_connections` are kept, each for `max_idle_age_ms` without a request;
///   one that had none for `write_max_idle_age_ms` is not used for a write, which would be in doubt where the origin closes it just then. Have both
///   below the time after which the origin closes what is idle.
/// - `max_in_flight` requests are at the origin at once, and `max_queued` calls wait for one of them to end; what is more is refused.
/// - `retries`: a load is attempted so many times more, a write only where that is safe. `attempt_timeout_ms`, which is not set by default, is the
///   longest that an attempt may take which is not the last one; without it, an attempt has all the time that is left.
/// - `breaker`: where so much of at least so many calls within the window failed, the origin is left alone for a while.
/// - `headers`: a value is a text, or `{"file": "/run/secrets/key"}`, or `{"environment": "KEY"}`.
/// - `auth`: `{"bearer": VALUE}` or `{"basic": {"user": "me", "password": VALUE}}`, with such values; not set by default. What stands in a file is read when the
///   cache is opened, and again where the origin answers 401: if it is another value then, the request is sent again with that, once.
/// - `compression`: answers are asked for compressed. With `honours_preconditions`, the default is false.
/// - `tls`: `roots` is a file in PEM with the certificates that an https origin's is checked against, instead of the public ones built in;
///   `system_roots`: those of the system, beside these or alone; `certificate` and `key`: files in PEM, shown to an origin that asks for them.
/// - `proxy`: `none`; `environment`, for what `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say when this is called; or the URL of an http one.
///
/// A member that is not
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

/// The most that the cache holds, in bytes of keys, values and their headers, or in the unit of `wtcache_config_set_weigher`. Default 64 MiB.
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

/// For this long after it expired, a record is served stale while it is refreshed in the background: `wtcache_entry_stale_ms` says so. Never
/// an absence, and never what was invalidated, written or is in doubt. Default 0: not at all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_stale_while_revalidate_ms(
    config: *mut wtcache_config,
    window_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.stale_while_revalidate_ms, window_ms))) }
}

/// For this long after it expired, a record is served stale where its load fails or is late; not where the origin answered that it
/// refuses. Otherwise as `wtcache_config_set_stale_while_revalidate_ms`. Default 0: not at all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_stale_if_error_ms(
    config: *mut wtcache_config,
    window_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.stale_if_error_ms, window_ms))) }
}

/// For this long after it expired, a record is kept at most: to be offered to the origin, and to be served stale, whatever the windows and calls
/// say. After that it is as if it were not there; the room that it takes is given back at the next call of its key, or where room is wanted.
/// Default: until room is wanted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_keep_expired_ms(
    config: *mut wtcache_config,
    time_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.keep_expired_ms, time_ms))) }
}

/// In this last share of its lifetime, from 0 to less than 1, a record that is read is refreshed in the background before it expires. Default
/// 0: not at all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_refresh_ahead(
    config: *mut wtcache_config,
    share: f64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.refresh_ahead, share))) }
}

/// How many threads of the cache's own refresh records. They begin with the first refresh and end with the cache. Default 2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_refresh_threads(
    config: *mut wtcache_config,
    threads: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.refresh_threads, threads))) }
}

/// How many refreshes may wait for a thread; what is more is counted and not done. Default 1,024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_refresh_queue(
    config: *mut wtcache_config,
    waiting: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.refresh_queue, waiting))) }
}

/// Shortens each lifetime at random by up to this share, 0 to 1, so that what was loaded together does not expire together. Default 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_jitter(
    config: *mut wtcache_config,
    share: f64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.jitter, share))) }
}

/// 1: an unconditional write of a key in doubt waits for the end of the doubt if that comes within its deadline, and is refused with
/// `WTCACHE_ERR_HELD_BACK` else. 0, the default: it goes out in its turn.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_in_doubt_writes_wait(
    config: *mut wtcache_config,
    wait: i32,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || change(config, |options| set(&mut options.in_doubt_writes_wait, flag("wait", wait)?)))
    }
}

/// 1: after an applied delete, the absence is remembered at once. 0, the default: the next read asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_absent_after_delete(
    config: *mut wtcache_config,
    yes: i32,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.absent_after_delete, flag("yes", yes)?))) }
}

/// 1 asserts that no write of an earlier process can still be under way at the origin. 0, the default: what is read or written within the
/// first settle window is served no longer than to its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_clean_start(
    config: *mut wtcache_config,
    yes: i32,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.clean_start, flag("yes", yes)?))) }
}

/// How long after the opening writes of an earlier cache of the same origin may still land, where that is longer than the source's settle
/// window: the earlier one had a longer one, say. What is read or written in that time is served no longer than to its end. Without a meaning with
/// `wtcache_config_set_clean_start`. Default 0: the settle window.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_stray_window_ms(
    config: *mut wtcache_config,
    window_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.stray_window_ms, window_ms))) }
}

/// How many keys in doubt and writes on their way there may be at once; when it is met, writes are refused. Default 65,536.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_most_doubts(
    config: *mut wtcache_config,
    keys: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.most_doubts, keys))) }
}

/// How many writes of one key may wait for their turn. Default 1,024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_turn_queue(
    config: *mut wtcache_config,
    writes: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.turn_queue, writes))) }
}

/// How many reads may wait for one load. Default 65,536.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_load_queue(
    config: *mut wtcache_config,
    reads: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.load_queue, reads))) }
}

/// The longest key, in bytes; 1 MiB at most. Default 1,024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_longest_key_bytes(
    config: *mut wtcache_config,
    bytes: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.longest_key_bytes, bytes))) }
}

/// Into how many parts the cache is divided, each with a lock of its own: 1 to 1,024, rounded up to a power of two. Default: four a core,
/// fewer where there is room for few entries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_shards(
    config: *mut wtcache_config,
    shards: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.shards, shards))) }
}

/// 1: the entries are kept in the order of their keys too, so that `wtcache_invalidate_prefix` costs what it matches. It takes some 40 bytes
/// an entry. Default 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_key_index(
    config: *mut wtcache_config,
    yes: i32,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.key_index, flag("yes", yes)?))) }
}

/// What parts the sections of a key: a star in a pattern does not match it. No star and no backslash. Default `:`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_separator(
    config: *mut wtcache_config,
    separator: u8,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.separator, separator))) }
}

/// How many of the latest invalidations of tags are remembered; where more come while a load or write runs, nothing with a tag that it brings
/// is kept. Default 1,024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_tag_memory(
    config: *mut wtcache_config,
    invalidations: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.tag_memory, invalidations))) }
}

/// How many threads of the cache's own settle pending writes: so many are at the origin at once. They begin with the first pending write and
/// end with the cache. Default 4.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_optimistic_threads(
    config: *mut wtcache_config,
    threads: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.optimistic_threads, threads))) }
}

/// How many writes may be pending at once; what is more is refused with `WTCACHE_ERR_OVERLOADED`. Default 16,384.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_optimistic_most(
    config: *mut wtcache_config,
    writes: usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.optimistic_most, writes))) }
}

/// How much all pending writes may weigh together, in bytes of keys, values and headers, or in the unit of
/// `wtcache_config_set_weigher`. Default 64 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_optimistic_weight_bytes(
    config: *mut wtcache_config,
    weight_bytes: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.optimistic_weight_bytes, weight_bytes))) }
}

/// How long a pending write may take that says nothing itself, the wait for its turn included; a day at most. Default: the deadline of
/// calls.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_optimistic_deadline_ms(
    config: *mut wtcache_config,
    deadline_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.optimistic_deadline_ms, deadline_ms))) }
}

/// Turns the auditor on, for an origin that others write to without telling this cache: a thread of the cache's own that asks the source
/// again about entries picked at random, one call in each interval of this length; 1 ms to a day. What differs for longer than 1, 10 and
/// 60 s is counted and told to the listener; nothing is changed. Default: off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_audit_every_ms(
    config: *mut wtcache_config,
    interval_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { border::call(err, || change(config, |options| set(&mut options.audit_every_ms, interval_ms))) }
}

/// The URL of the HTTP origin's records: absolute, http or https, with `{id}` once in its path or query, where the key is put, percent-encoded. It
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
        &self.options
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
    let mut changed = unsafe { required("config", config) }?.options.clone();
    change(&mut changed)?;
    // SAFETY: the caller's promise; found not to be NULL.
    unsafe { (*config).options = changed };
    Ok(WTCACHE_OK)
}

fn set<T>(option: &mut Option<T>, value: T) -> Result<(), Refused> {
    *option = Some(value);
    Ok(())
}
