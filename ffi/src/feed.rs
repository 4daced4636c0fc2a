//! The feed of the origin that a cache follows, for as long as a handle on it is there and it is not closed.
//!
//! Invariant: what frees a handle does not wait for the feed's thread, which may be in a callback of the program's; what closes the cache waits no
//! longer than it was told.

use std::ffi::c_char;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use wtcache::ByteCache;
use wtcache_http_source::{
    BuildError, ChangeForm, HttpSource, Subscribe, Subscription, SubscriptionState, SubscriptionStats, WhileCutOff,
};

use crate::arguments::{Growing, Refused, fill, optional_output, output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::error::wtcache_error;
use crate::stats::give_json;
use crate::status::{WTCACHE_ERR_CONFIG, WTCACHE_NOT_FOUND, WTCACHE_OK};

/// It has not been connected yet.
pub const WTCACHE_FEED_CONNECTING: i32 = 1;
/// The origin tells of its changes.
pub const WTCACHE_FEED_LIVE: i32 = 2;
/// It does not: what is held may be out of date.
pub const WTCACHE_FEED_CUT_OFF: i32 = 3;
/// The cache was closed: nobody reads it any more.
pub const WTCACHE_FEED_STOPPED: i32 = 4;

/// What the origin's feed, `http.subscribe`, did so far. Set `struct_size` to its `sizeof`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct wtcache_feed {
    /// `sizeof(wtcache_feed)`.
    pub struct_size: usize,
    /// One of `WTCACHE_FEED_*`.
    pub state: i32,
    /// Zero.
    pub reserved: i32,
    /// For how long it has been that.
    pub state_for_ms: u64,
    /// Connections that were made; of a poll, answers.
    pub connections: u64,
    /// How often all was forgotten, since something may have been missed.
    pub gaps: u64,
    /// Changes that were read.
    pub changes: u64,
    /// Of these, records and absences that became resident.
    pub taken: u64,
    /// Those that were not news.
    pub passed_over: u64,
    /// Those that made a key or more be forgotten.
    pub invalidated: u64,
    /// Events and changes that could not be read. Each is a gap.
    pub unreadable: u64,
    /// Panics while it was read or a change applied. Each is a gap.
    pub panics: u64,
}

// SAFETY: `repr(C)`, begins with its size, and integers may be zero.
unsafe impl Growing for wtcache_feed {
    const NAME: &'static str = "feed";
    const LEAST: usize = size_of::<usize>();
}

impl wtcache_feed {
    fn of(told: &SubscriptionStats) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            state: match told.state {
                SubscriptionState::Connecting => WTCACHE_FEED_CONNECTING,
                SubscriptionState::Live => WTCACHE_FEED_LIVE,
                SubscriptionState::CutOff => WTCACHE_FEED_CUT_OFF,
                _ => WTCACHE_FEED_STOPPED,
            },
            reserved: 0,
            state_for_ms: u64::try_from(told.state_for.as_millis()).unwrap_or(u64::MAX),
            connections: told.connections,
            gaps: told.gaps,
            changes: told.changes,
            taken: told.taken,
            passed_over: told.passed_over,
            invalidated: told.invalidated,
            unreadable: told.unreadable,
            panics: told.panics,
        }
    }

    fn state(&self) -> &'static str {
        match self.state {
            WTCACHE_FEED_CONNECTING => "connecting",
            WTCACHE_FEED_LIVE => "live",
            WTCACHE_FEED_CUT_OFF => "cut-off",
            _ => "stopped",
        }
    }

    fn members(&self) -> [(&'static str, Value); 10] {
        [
            ("state", self.state().into()),
            ("state_for_ms", self.state_for_ms.into()),
            ("connections", self.connections.into()),
            ("gaps", self.gaps.into()),
            ("changes", self.changes.into()),
            ("taken", self.taken.into()),
            ("passed_over", self.passed_over.into()),
            ("invalidated", self.invalidated.into()),
            ("unreadable", self.unreadable.into()),
            ("panics", self.panics.into()),
        ]
    }
}

/// Writes into `feed`, as far as its `struct_size` says, where the feed that the cache follows stands, and what it did. Gives `WTCACHE_NOT_FOUND`, and
/// zeros, where it follows none. Never waits. Also after `wtcache_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_feed(
    cache: *const wtcache_cache,
    feed: *mut wtcache_feed,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            fill(feed, &wtcache_feed::default())?;
            let Some(told) = wtcache_cache::opened(cache)?.told() else { return Ok(WTCACHE_NOT_FOUND) };
            fill(feed, &wtcache_feed::of(&told))?;
            Ok(WTCACHE_OK)
        })
    }
}

/// The same as a JSON object, its members named as those of `wtcache_feed`, but that `state` is `"connecting"`, `"live"`, `"cut-off"` or `"stopped"`, and with
/// `last_error`: why it was cut off last, or null. `*json` and `*json_len` are as of `wtcache_get_stats_json`. Gives `WTCACHE_NOT_FOUND`, and NULL, where
/// the cache follows no feed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_feed_json(
    cache: *const wtcache_cache,
    json: *mut *mut c_char,
    json_len: *mut usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let json_len = optional_output(json_len, 0);
            let json = output("json", json, ptr::null_mut())?;
            let Some(told) = wtcache_cache::opened(cache)?.told() else { return Ok(WTCACHE_NOT_FOUND) };
            let members = wtcache_feed::of(&told).members().into_iter().map(|(name, value)| (name.to_owned(), value));
            let mut members: Map<String, Value> = members.collect();
            members.insert("last_error".to_owned(), told.last_error.into());
            give_json(members, json, json_len);
            Ok(WTCACHE_OK)
        })
    }
}

/// What was set of a subscription.
#[derive(Clone, Default)]
pub(crate) struct HttpSubscribe {
    pub(crate) url: Option<String>,
    pub(crate) poll: Option<bool>,
    pub(crate) resumes: Option<bool>,
    pub(crate) silence: Option<Duration>,
    pub(crate) while_cut_off: Option<WhileCutOff>,
    pub(crate) max_event_bytes: Option<usize>,
    pub(crate) cursor: Option<String>,
    pub(crate) poll_every: Option<Duration>,
    pub(crate) form: ChangeForm,
}

impl HttpSubscribe {
    /// These, for changes of that source's origin.
    pub(crate) fn options(&self, source: &HttpSource) -> Result<Subscribe, Refused> {
        let url = self.url.as_ref().ok_or_else(|| refuse("http.subscribe.url: is missing"))?;
        let mut subscribe = match self.poll {
            Some(true) if self.resumes == Some(true) => {
                return Err(refuse("http.subscribe.resumes: a poll goes on by its cursor"));
            }
            Some(true) => source.subscribe_poll(url),
            _ if self.cursor.is_some() => return Err(refuse("http.subscribe.cursor: a stream has none")),
            _ if self.poll_every.is_some() => {
                return Err(refuse("http.subscribe.poll_every_ms: a stream is not polled"));
            }
            _ => source.subscribe_sse(url),
        };
        subscribe = subscribe.form(self.form.clone());
        if let Some(resumes) = self.resumes {
            subscribe = subscribe.resumes(resumes);
        }
        if let Some(silence) = self.silence {
            subscribe = subscribe.silence(silence);
        }
        if let Some(what) = self.while_cut_off {
            subscribe = subscribe.while_cut_off(what);
        }
        if let Some(bytes) = self.max_event_bytes {
            subscribe = subscribe.most_bytes(bytes);
        }
        if let Some(name) = &self.cursor {
            subscribe = subscribe.cursor(name);
        }
        if let Some(time) = self.poll_every {
            subscribe = subscribe.poll_every(time);
        }
        Ok(subscribe)
    }
}

/// A subscription that runs; the same for all handles on a cache.
pub(crate) struct Feed(Mutex<Followed>);

enum Followed {
    Runs(Subscription),
    /// With what it had done by then, and when that was.
    Stopped(SubscriptionStats, Instant),
}

impl Feed {
    pub(crate) fn start(subscribe: Subscribe, cache: &ByteCache) -> Result<Self, Refused> {
        let subscription = subscribe.start(cache).map_err(|error| match error {
            BuildError::Option { option, message } => refuse(format!("http.{}: {message}", member(option))),
            other => refuse(format!("http.subscribe: {other}")),
        })?;
        Ok(Self(Mutex::new(Followed::Runs(subscription))))
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands, and what it did.
    pub(crate) fn told(&self) -> SubscriptionStats {
        match &*self.followed() {
            Followed::Runs(subscription) => subscription.stats(),
            Followed::Stopped(told, since) => {
                let mut told = told.clone();
                told.state_for = since.elapsed();
                told
            }
        }
    }

    /// Ends it, and waits for that so long at most.
    pub(crate) fn stop(&self, timeout: Duration) {
        let mut told = self.told();
        told.state = SubscriptionState::Stopped;
        // No call is made under the lock: of two that end it, the second does not wait.
        let mut followed = self.followed();
        if matches!(*followed, Followed::Stopped(..)) {
            return;
        }
        let before = std::mem::replace(&mut *followed, Followed::Stopped(told, Instant::now()));
        drop(followed);
        if let Followed::Runs(subscription) = before {
            subscription.stop_within(timeout);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// What the configuration calls an option.
fn member(option: &str) -> &str {
    match option {
        "subscribe.silence" => "subscribe.silence_ms",
        "subscribe.while_cut_off" => "subscribe.while_cut_off.forget_after_ms",
        "subscribe.poll_every" => "subscribe.poll_every_ms",
        "subscribe.most_bytes" => "subscribe.max_event_bytes",
        other => other,
    }
}

fn refuse(message: impl Into<String>) -> Refused {
    Refused::new(WTCACHE_ERR_CONFIG, message)
}
