//! The feed of a round: what the origin tells of its changes by itself, taken by the cache.
//!
//! Invariant: changes are read in the order in which they were made, each once at most, and it is live before the first is made. So the
//! n-th was told once n were; one that was skipped in a cut was forgotten before what came after it was read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use wtcache::ByteCache;
use wtcache_http_source::{ChangeForm, HttpSource, Subscription, SubscriptionState};

use super::{Counts, REST, build, number};
use crate::script::{Feeds, Script};

/// Where it has told nothing of a change for so long, it may have been cut when that was made.
const PATIENCE: Duration = Duration::from_millis(60);
/// One change of so many is slow, so that those behind it are told late.
const SLOW_OF: u64 = 8;
const SLOW: Duration = Duration::from_millis(3);
/// Between two polls, and two attempts to connect.
const PAUSE: Duration = Duration::from_millis(2);

pub(super) struct Feed {
    subscription: Subscription,
    /// Changes that somebody else made, and that it told of in time.
    told: AtomicU64,
}

impl Feed {
    /// It is live, or the error says that it never was. `None`: the round has none.
    pub(super) fn start(script: &Script, http: &HttpSource, cache: &ByteCache) -> Result<Option<Self>, String> {
        const URL: &str = "/items/_changes";
        let subscribe = match script.options.feed {
            Feeds::None => return Ok(None),
            Feeds::Resumed => http.subscribe_sse(URL).resumes(true),
            Feeds::Anew => http.subscribe_sse(URL),
            Feeds::Polled => http.subscribe_poll(URL).poll_every(PAUSE),
        };
        let form = ChangeForm::default().checked(|_, record| {
            if number(&record).is_some_and(|value| value % SLOW_OF == 0) {
                thread::sleep(SLOW);
            }
            build::checked(&record)
        });
        let subscription = subscribe.form(form).backoff(PAUSE, PAUSE * 2).start(cache);
        let subscription = subscription.expect("the options of the feed make sense");
        if !subscription.wait_for(|told| told.state == SubscriptionState::Live, REST) {
            return Err(format!("the feed does not begin: {:?}", subscription.stats()));
        }
        Ok(Some(Self { subscription, told: AtomicU64::new(0) }))
    }

    /// Waits until it told of the change with this place among all of the origin. False: it may never.
    pub(super) fn tells(&self, place: u64) -> bool {
        let told = self.subscription.wait_for(|told| told.changes >= place, PATIENCE);
        self.told.fetch_add(u64::from(told), Ordering::Relaxed);
        told
    }

    pub(super) fn count(&self, counts: &mut Counts) {
        let stats = self.subscription.stats();
        counts.fed = 1;
        counts.pushed = stats.changes;
        counts.pushed_taken = stats.taken;
        counts.told_by_feed = self.told.load(Ordering::Relaxed);
    }
}
