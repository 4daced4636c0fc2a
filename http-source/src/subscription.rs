//! What the origin tells of its changes by itself: a stream of Server-Sent Events, or a long poll, read by a thread and applied to a cache.
//!
//! Owns: the connection, what is known of its gaps, and the state that is shown. Never: decides what a change does (that is
//! [`OriginChange::apply`]).
//! Invariants: what was held before the origin began to tell is forgotten, in this order: connected, forgotten, applied; a change that was
//! told and not understood, or may have been missed, makes all be forgotten; the thread ends with its handle, and not by a panic.

mod feed;
mod sse;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderName, Uri};
use wtcache::{ByteCache, PushEnd};

use crate::builder::BuildError;
use crate::changes::{ChangeEnd, ChangeForm};
use crate::exchange::Exchanges;
use crate::retry::Retries;
use crate::source::HttpSource;

use feed::Feed;

const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What becomes of what is held while the origin cannot tell of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileCutOff {
    /// It is served for its lifetime. On the next connection all is forgotten, unless the origin goes on where it was cut off.
    #[default]
    Serve,
    /// All is forgotten once nothing was heard for so long, and again each time as much has passed: so nothing that is served was
    /// loaded longer ago than this, and what one attempt to connect takes.
    Forget {
        /// So long.
        after: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sse,
    Poll,
}

/// The options of a subscription; from [`HttpSource::subscribe_sse`] and [`HttpSource::subscribe_poll`].
#[must_use = "nothing is read before it is started"]
pub struct Subscribe {
    kind: Kind,
    exchanges: Arc<Exchanges>,
    /// Of every request of the source.
    headers: HeaderMap,
    is_configured: Box<dyn Fn(&HeaderName) -> bool + Send>,
    url: Result<Uri, BuildError>,
    form: ChangeForm,
    resumes: bool,
    silence: Duration,
    timeout: Duration,
    while_cut_off: WhileCutOff,
    backoff: (Duration, Duration),
    most_bytes: usize,
    cursor: String,
    poll_every: Duration,
}

impl HttpSource {
    /// The options of a subscription to changes that the origin tells as Server-Sent Events at `url`: a path such as `/items/_changes`,
    /// or a whole URL of the source's own host. It is asked with the source's headers, over connections like the source's.
    ///
    /// The data of each event is a change or an array of them, in the form of [`ChangeForm`], whatever the event is named; but
    /// one named `reset` says that anything may have changed, and those named `ping`, `heartbeat`, `keepalive` or `keep-alive` say
    /// nothing. The origin must tell of each change after it took effect, to all who had their 200 before.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use wtcache::{ByteCache, VersionOrder};
    /// use wtcache_http_source::HttpSource;
    ///
    /// let source = HttpSource::builder("http://inventory.internal:8080/items/{id}").version_order(VersionOrder::Number).build()?;
    /// let source = Arc::new(source);
    /// let cache = ByteCache::builder(Arc::clone(&source)).build()?;
    /// let subscription = source.subscribe_sse("/items/_changes").resumes(true).start(&cache)?;
    /// println!("{:?}", subscription.stats().state);
    /// subscription.stop();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe_sse(&self, url: impl AsRef<str>) -> Subscribe {
        self.subscribe(Kind::Sse, url.as_ref())
    }

    /// The same of changes that are asked for again and again at `url`. The answer is a JSON object with `changes`, an array, and `cursor`, a text or
    /// a whole number, which the next request has in its query: `?cursor=17`. The first request has none, and is told the present one. The
    /// origin may wait with its answer until there is a change, for less than [`Subscribe::silence`]. That it cannot go on from a
    /// cursor, it says by 410, or with `"reset": true` beside a new one.
    pub fn subscribe_poll(&self, url: impl AsRef<str>) -> Subscribe {
        self.subscribe(Kind::Poll, url.as_ref())
    }

    fn subscribe(&self, kind: Kind, url: &str) -> Subscribe {
        let refuse = |why: &str| BuildError::Option { option: "subscribe.url", message: why.to_owned() };
        let url = self.template.beside(url).map_err(|why| refuse(&why));
        let headers = self.headers.clone();
        Subscribe {
            kind,
            exchanges: Arc::clone(&self.exchanges),
            headers: headers.bare(),
            is_configured: Box::new(move |name| headers.is_constant(name)),
            url,
            form: ChangeForm::default().with_check(Arc::clone(&self.answers.check)),
            resumes: false,
            silence: Duration::from_secs(30),
            timeout: self.limits.timeout,
            while_cut_off: WhileCutOff::Serve,
            backoff: (Duration::from_millis(500), Duration::from_secs(30)),
            most_bytes: 1024 * 1024,
            cursor: "cursor".to_owned(),
            poll_every: Duration::from_secs(1),
        }
    }
}

impl Subscribe {
    /// How the origin writes its changes. The check of the source's records stays, where the form has none.
    pub fn form(mut self, form: ChangeForm) -> Self {
        self.form = form.or_check(&self.form);
        self
    }

    /// Declares that the origin, asked with `Last-Event-ID`, tells all that came after that event, or says `reset` first. Then a short
    /// break forgets nothing. Default false: each new connection forgets all. A poll goes on by its cursor without this.
    pub fn resumes(mut self, resumes: bool) -> Self {
        self.resumes = resumes;
        self
    }

    /// How long the origin may say nothing before it counts as cut off; it is to send comments meanwhile. Of a poll, how long an answer may
    /// take. Default 30 s.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// What becomes of what is held while the origin cannot tell. Default [`WhileCutOff::Serve`].
    pub fn while_cut_off(mut self, what: WhileCutOff) -> Self {
        self.while_cut_off = what;
        self
    }

    /// The pause before the n-th attempt to connect is picked at random from zero to `base` · 2ⁿ⁻¹, but no more than `cap`. A `retry` of the
    /// stream comes on top, up to `cap`. Default 500 ms and 30 s.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff = (base, cap);
        self
    }

    /// The longest event, or answer of a poll, in bytes. One that is longer counts as a gap. Default 1 MiB.
    pub fn most_bytes(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// The name of the cursor in the query of a poll. Default `cursor`.
    pub fn cursor(mut self, name: impl Into<String>) -> Self {
        self.cursor = name.into();
        self
    }

    /// The shortest time from one poll to the next after an answer without changes. Default 1 s.
    pub fn poll_every(mut self, time: Duration) -> Self {
        self.poll_every = time;
        self
    }

    /// Whether it could be started, as far as its options say.
    ///
    /// # Errors
    /// An option makes no sense; the words say which.
    pub fn check(&self) -> Result<(), BuildError> {
        self.url.as_ref().map_err(Clone::clone)?;
        let refuse = |option, message: String| Err(BuildError::Option { option, message });
        let mut times = vec![
            ("subscribe.silence", self.silence),
            ("subscribe.backoff", self.backoff.0),
            ("subscribe.backoff", self.backoff.1),
            ("subscribe.poll_every", self.poll_every),
        ];
        if let WhileCutOff::Forget { after } = self.while_cut_off {
            times.push(("subscribe.while_cut_off", after));
        }
        for (option, time) in times {
            if time.is_zero() || time > MAX_TIME {
                return refuse(option, format!("{time:?} is not between 1 ns and {MAX_TIME:?}"));
            }
        }
        if self.backoff.0 > self.backoff.1 {
            return refuse("subscribe.backoff", "the cap is less than the base".to_owned());
        }
        if self.most_bytes < 1024 {
            return refuse("subscribe.most_bytes", "1,024 are the least".to_owned());
        }
        let is_plain =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        if !is_plain(&self.cursor) {
            return refuse("subscribe.cursor", "letters, digits and - . _ ~ are taken".to_owned());
        }
        if self.form.version_as.matches("{version}").count() != 1 {
            return refuse("subscribe.form.version_as", "it has {version} once".to_owned());
        }
        Ok(())
    }

    /// Starts a thread that reads what the origin tells, and does to `cache` what that says. The thread holds a handle on the cache.
    ///
    /// # Errors
    /// As [`Subscribe::check`]; or there is no thread to be had. Nothing was started.
    pub fn start(self, cache: &ByteCache) -> Result<Subscription, BuildError> {
        self.check()?;
        let shared = Arc::new(Shared {
            stopped: Arc::new(AtomicBool::new(false)),
            ended: AtomicBool::new(false),
            told: Mutex::new(Told { stats: SubscriptionStats::default(), since: Instant::now() }),
            changed: Condvar::new(),
        });
        let feed = Feed::new(self, cache.clone(), Arc::clone(&shared))?;
        let ends = Ends(Arc::clone(&shared));
        let spawned = thread::Builder::new().name("wtcache-feed".into()).spawn(move || {
            // Dropped last, also by a panic.
            let _ends = ends;
            feed.run();
        });
        match spawned {
            Ok(thread) => Ok(Subscription { shared, thread: Some(thread) }),
            Err(error) => Err(BuildError::Option { option: "subscribe", message: no_thread(&error) }),
        }
    }
}

fn no_thread(error: &io::Error) -> String {
    format!("there is no thread to read with: {error}")
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionState {
    /// It has not been connected yet.
    #[default]
    Connecting,
    /// The origin tells of its changes.
    Live,
    /// It does not: what is held may be out of date.
    CutOff,
    /// It was stopped.
    Stopped,
}

/// What a subscription did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionStats {
    /// Where it stands.
    pub state: SubscriptionState,
    /// For how long it has stood there.
    pub state_for: Duration,
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
    /// Panics while it was read or a change applied, as of the source's [record check](crate::HttpSourceBuilder::record_check). Each is a gap,
    /// and the end of a connection; the next one begins from the present.
    pub panics: u64,
    /// Why it was cut off last.
    pub last_error: Option<String>,
}

/// A subscription that runs. Dropping it stops it.
///
/// # Threads
/// All methods may be called from any thread.
pub struct Subscription {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Subscription {
    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.shared.told().stats()
    }

    /// Waits until what it did is as `holds` says; false where `timeout` passed first.
    pub fn wait_for(&self, mut holds: impl FnMut(&SubscriptionStats) -> bool, timeout: Duration) -> bool {
        let told = self.shared.told();
        let waited = self.shared.changed.wait_timeout_while(told, timeout, |told| !holds(&told.stats()));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Ends it, and waits for that: for a tenth of a second, or where it connects just now, for as long as connecting may take. What is
    /// held stays, and nobody tells of changes any more.
    pub fn stop(mut self) {
        self.end();
    }

    /// The same, but waits no longer than so long; not at all in a call of the thread itself, such as that of a listener. False where it has not
    /// ended by then: it will, and may still do to the cache what it had begun.
    pub fn stop_within(mut self, timeout: Duration) -> bool {
        self.shared.stop();
        let Some(thread) = self.thread.take() else { return true };
        let timeout = if thread.thread().id() == thread::current().id() { Duration::ZERO } else { timeout };
        // Acquire: pairs with the release of the thread, of which all is done then.
        let runs = |_: &mut Told| !self.shared.ended.load(Ordering::Acquire);
        let waited = self.shared.changed.wait_timeout_while(self.shared.told(), timeout, runs);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn end(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // Its panics are contained, and counted.
            let _ = thread.join();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What the thread and the handle share.
struct Shared {
    stopped: Arc<AtomicBool>,
    /// The thread has nothing of the cache any more.
    ended: AtomicBool,
    told: Mutex<Told>,
    changed: Condvar,
}

/// What is told of a subscription, but for how long it has stood where it does: that is counted when it is asked for.
struct Told {
    stats: SubscriptionStats,
    since: Instant,
}

impl Told {
    fn stats(&self) -> SubscriptionStats {
        SubscriptionStats { state_for: self.since.elapsed(), ..self.stats.clone() }
    }

    fn change(&mut self, change: impl FnOnce(&mut SubscriptionStats)) {
        let before = self.stats.state;
        change(&mut self.stats);
        if self.stats.state != before {
            self.since = Instant::now();
        }
    }
}

/// Says that the thread has ended.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        // Under the lock of those who wait, so that no wait misses it.
        let told = self.0.told();
        self.0.ended.store(true, Ordering::Release);
        drop(told);
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        // What is counted here is whole after each line.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut SubscriptionStats)) {
        self.told().change(change);
        self.changed.notify_all();
    }

    fn count(&self, end: ChangeEnd) {
        self.tell(|told| {
            told.changes += 1;
            match end {
                ChangeEnd::Key(PushEnd::Taken) => told.taken += 1,
                ChangeEnd::Key(PushEnd::PassedOver) => told.passed_over += 1,
                ChangeEnd::Key(_) | ChangeEnd::Forgotten(_) => told.invalidated += 1,
            }
        });
    }

    fn is_stopped(&self) -> bool {
        // Acquire: pairs with the release in `stop`.
        self.stopped.load(Ordering::Acquire)
    }

    fn stop(&self) {
        // Under the lock of those who wait, so that no wait misses it.
        let mut told = self.told();
        self.stopped.store(true, Ordering::Release);
        told.change(|told| told.state = SubscriptionState::Stopped);
        drop(told);
        self.changed.notify_all();
    }

    /// Waits for so long, or until it is stopped.
    fn pause(&self, time: Duration) {
        let told = self.told();
        drop(self.changed.wait_timeout_while(told, time, |_| !self.is_stopped()));
    }
}

/// The pause after so many attempts in a row that came to nothing.
fn pause(backoff: (Duration, Duration), attempt: u32, chance: u64) -> Duration {
    Retries::new().backoff(backoff.0, backoff.1).pause(attempt, chance)
}
