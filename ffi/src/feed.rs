//! The feed of the origin that a cache follows, for as long as a handle on it is there and it is not closed.
//!
//! Invariant: what frees a handle does not wait for the feed's thread, which may be in a callback of the program's; what closes the cache waits no
//! longer than it was told.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wtcache::ByteCache;
use wtcache_http_source::{BuildError, ChangeForm, HttpSource, Subscribe, Subscription, WhileCutOff};

use crate::arguments::Refused;
use crate::status::WTCACHE_ERR_CONFIG;

/// What was set of a subscription.
#[derive(Clone, Default)]
pub(crate) struct HttpSubscribe {
    pub(crate) url: Option<String>,
    pub(crate) poll: Option<bool>,
    pub(crate) resumes: Option<bool>,
    pub(crate) silence: Option<Duration>,
    pub(crate) while_cut_off: Option<WhileCutOff>,
    pub(crate) max_event_bytes: Option<usize>,
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
        Ok(subscribe)
    }
}

/// A subscription that runs; the same for all handles on a cache.
pub(crate) struct Feed(Mutex<Option<Subscription>>);

impl Feed {
    pub(crate) fn start(subscribe: Subscribe, cache: &ByteCache) -> Result<Self, Refused> {
        let subscription = subscribe.start(cache).map_err(|error| match error {
            BuildError::Option { option, message } => refuse(format!("http.{}: {message}", member(option))),
            other => refuse(format!("http.subscribe: {other}")),
        })?;
        Ok(Self(Mutex::new(Some(subscription))))
    }

    /// Ends it, and waits for that so long at most.
    pub(crate) fn stop(&self, timeout: Duration) {
        // No call is made under the lock: of two that end it, the second does not wait.
        let subscription = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(subscription) = subscription {
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
        "subscribe.most_bytes" => "subscribe.max_event_bytes",
        other => other,
    }
}

fn refuse(message: impl Into<String>) -> Refused {
    Refused::new(WTCACHE_ERR_CONFIG, message)
}
