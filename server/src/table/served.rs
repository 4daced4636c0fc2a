//! A table with the cache that answers for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use serde_json::{Map, Value};
use tracing::Level;
use wtcache::tokio::{AsyncCache, Pool};
use wtcache::{
    Audit, ByteCache, Bytes, Clock, EventKind, KeyEvent, LoadMany, Optimistic, OptionError, Rows, Source, SystemClock,
    Tags,
};
use wtcache_http_source::{
    BuildError, HttpSource, Subscribe, Subscription, SubscriptionState, SubscriptionStats, WhileCutOff,
};

use crate::changes::Told;
use crate::config::{Capacity, FeedKind, InDoubtWrites, OriginConfig, Patches, TableConfig};
use crate::current::Current;
use crate::events::Hub;
use crate::expiry;
use crate::latency::Latency;
use crate::pending::Outcomes;
use crate::problem::Problem;
use crate::query::Passthrough;
use crate::record::NULL;
use crate::schema::{Stamp, Table};
use crate::stamped::Stamped;
use crate::turnstile::Turnstile;

use super::origin::{checked, origin_of};

/// A table with the cache that answers for it. Cloning gives another handle on the same.
#[derive(Clone)]
pub struct ServedTable {
    pub(crate) schema: Arc<Table>,
    pub(crate) cache: AsyncCache<Bytes>,
    pub(crate) max_body_bytes: usize,
    /// How long a call of the origin may take.
    pub(crate) timeout: Duration,
    /// What becomes of writes that were answered before they were settled.
    pub(crate) outcomes: Arc<Outcomes>,
    /// The source has a rule of its own: what a write makes is known in its turn.
    pub(crate) has_rule: bool,
    /// Its origin makes records whose keys it names.
    pub(crate) creates: bool,
    /// Its origin merges patches.
    pub(crate) merges: bool,
    /// How many records its source loads with one request.
    pub(crate) most_together: usize,
    /// Of the requests for it.
    pub(crate) latency: Arc<Latency>,
    /// How changes are told that others made.
    pub(crate) told: Arc<Told>,
    /// Where its own events come together, if they are told.
    pub(crate) hub: Option<Arc<Hub>>,
    /// Its origin, where that is known to be one over HTTP.
    pub(crate) origin: Option<Arc<Current>>,
    /// How clients' queries go to its origin, if it lists records.
    pub(crate) passthrough: Option<Passthrough>,
    /// Where what changes something goes in.
    pub(crate) turnstile: Arc<Turnstile>,
    /// By which its cache counts time.
    pub(crate) clock: Arc<dyn Clock>,
    subscription: Arc<Mutex<Option<Subscription>>>,
}

/// What a table that is opened while others are served takes over from earlier caches.
#[derive(Default)]
pub(crate) struct Earlier {
    /// The table of this name that it takes the place of, if there is one: what is counted of requests, and told of writes, goes on.
    pub(crate) of: Option<ServedTable>,
    /// What became of writes of a table of this name that was served before.
    pub(crate) outcomes: Option<Arc<Outcomes>>,
    /// So long writes may still land that were sent from here, if there are such.
    pub(crate) strays: Option<Duration>,
}

impl ServedTable {
    /// Opens the cache of a table over any source of its records: [`origin_of`] for an HTTP origin, or one of the program's
    /// own around it. Origin calls run in `pool`. Doubts and findings of the auditor are told by `tracing`; doubts only where it has a subscriber by now.
    ///
    /// # Errors
    /// The configuration makes no cache; the error names the option.
    pub fn open(
        schema: &Table,
        config: &TableConfig,
        source: impl Source<Bytes>,
        pool: &Pool,
    ) -> Result<Self, OptionError> {
        Self::open_with_clock(schema, config, source, pool, Arc::new(SystemClock::new()))
    }

    /// The same with another clock than the system's: lifetimes, doubts and deadlines of the cache are counted by it. A
    /// source keeps its own time.
    ///
    /// # Errors
    /// As [`ServedTable::open`].
    pub fn open_with_clock(
        schema: &Table,
        config: &TableConfig,
        source: impl Source<Bytes>,
        pool: &Pool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OptionError> {
        Self::open_after(schema, config, source, pool, (clock, Earlier::default()))
    }

    fn open_after(
        schema: &Table,
        config: &TableConfig,
        source: impl Source<Bytes>,
        pool: &Pool,
        (clock, earlier): (Arc<dyn Clock>, Earlier),
    ) -> Result<Self, OptionError> {
        let schema = Arc::new(schema.clone());
        let (rows_of, tags_of) = (Arc::clone(&schema), Arc::clone(&schema));
        let before = earlier.of.as_ref().map(|table| Arc::clone(&table.outcomes));
        let outcomes = match before.or(earlier.outcomes) {
            Some(outcomes) => outcomes.bounded(&config.optimistic),
            None => Outcomes::new(&schema.name, &config.optimistic, Arc::clone(&clock)),
        };
        let (has_rule, creates) = (source.declared().has_rule, source.declared().creates);
        let most_together = source.load_many().map_or(1, LoadMany::most_keys);
        let (created, updated) = (schema.stamp(Stamp::Created), schema.stamp(Stamp::Updated));
        let builder = if created.is_none() && updated.is_none() {
            ByteCache::builder(source)
        } else {
            ByteCache::builder(Stamped { source, created, updated })
        };
        let mut builder = builder
            .clock(Arc::clone(&clock))
            .negative_lifetime(config.negative_lifetime)
            .stale_while_revalidate(config.stale_while_revalidate)
            .stale_if_error(config.stale_if_error)
            .refresh_ahead(f64::from(config.refresh_ahead_percent) / 100.0)
            .jitter(f64::from(config.jitter_percent) / 100.0)
            .deadline(config.origin.timeout)
            .absent_after_delete(config.absent_after_delete)
            .clean_start(config.clean_start && earlier.strays.is_none())
            .stray_window(earlier.strays.unwrap_or_default())
            .in_doubt_writes(match config.in_doubt_writes {
                InDoubtWrites::Send => wtcache::InDoubtWrites::Send,
                InDoubtWrites::Wait => wtcache::InDoubtWrites::Wait,
            })
            .indexes(schema.attributes.iter().map(|attribute| attribute.name.clone()), move |_, value, rows| {
                add_rows(&rows_of, value, rows);
            })
            .ordered_indexes(true)
            .tags(move |_, value, tags| add_tags(&tags_of, value, tags));
        let optimistic = &config.optimistic;
        let mut bounds =
            Optimistic::new().threads(optimistic.threads).most(optimistic.writes).weight(optimistic.weight_bytes);
        if let Some(timeout) = optimistic.timeout {
            bounds = bounds.deadline(timeout);
        }
        builder = builder.optimistic(bounds);
        builder = match config.capacity {
            Capacity::Bytes(bytes) => builder.capacity(bytes),
            Capacity::Entries(entries) => builder.capacity(entries).weigher(|_, _| 1),
        };
        if let Some(expiration) = schema.expiration {
            builder = builder.lifetime(expiration);
        }
        if let Some(eviction) = schema.eviction {
            builder = builder.keep_expired(eviction);
        }
        if let Some(name) = schema.expires_at() {
            let name = name.to_owned();
            builder = builder.own_end(move |_, value| expiry::left(&name, value, SystemTime::now()));
        }
        if let Some(every) = config.audit_every {
            builder = builder.audit(Audit::new().every(every));
        }
        let hub = config.events.then(|| Arc::new(Hub::new()));
        // Without a need there is none: it costs each write.
        if config.audit_every.is_some() || hub.is_some() || tracing::enabled!(Level::WARN) {
            let (table, hub) = (schema.name.clone(), hub.clone());
            builder = builder.listener(move |event| {
                tell(&table, event);
                if let Some(hub) = &hub {
                    hub.tell(event);
                }
            });
        }
        let cache = builder.build()?.on_tokio(pool);
        let latency = earlier.of.map(|table| table.latency).unwrap_or_default();
        let OriginConfig { max_body_bytes, timeout, .. } = config.origin;
        Ok(Self {
            cache,
            max_body_bytes,
            timeout,
            outcomes,
            has_rule,
            creates,
            merges: config.origin.patch == Patches::Merge && !has_rule,
            most_together,
            latency,
            told: told(&schema, config),
            schema,
            hub,
            origin: None,
            passthrough: None,
            turnstile: Arc::default(),
            clock,
            subscription: Arc::default(),
        })
    }

    /// The same with what its origin tells: lists, for queries that are passed through; a subscription, where the configuration has one, and the breaker's state among its events.
    /// `origin` is what its cache is over, or what the source of that asks.
    ///
    /// # Errors
    /// The subscription cannot be started; the error names the option.
    pub fn told_by(mut self, origin: &Arc<HttpSource>, config: &TableConfig) -> Result<Self, BuildError> {
        self.origin = Some(Arc::new(Current::new(Arc::clone(origin))));
        self.passthrough = passthrough(origin, config);
        self.subscribe(origin, config)?;
        Ok(self)
    }

    /// Opens the cache of a table over its HTTP origin, after what there was. [`ServedTable::subscribe`] is left to be done.
    ///
    /// # Errors
    /// As [`ServedTable::open`].
    pub(crate) fn over(
        schema: &Table,
        config: &TableConfig,
        origin: &Arc<HttpSource>,
        earlier: Earlier,
    ) -> Result<Self, OptionError> {
        let current = Arc::new(Current::new(Arc::clone(origin)));
        // By the same clock: the times of writes that are told of are its.
        let clock = earlier.of.as_ref().map(|table| Arc::clone(&table.clock));
        let clock = clock.or_else(|| earlier.outcomes.as_ref().map(|outcomes| outcomes.clock()));
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let mut table =
            Self::open_after(schema, config, Arc::clone(&current), &crate::serve::pool(), (clock, earlier))?;
        table.origin = Some(current);
        table.passthrough = passthrough(origin, config);
        Ok(table)
    }

    /// The same cache, served with what another configuration says that leaves its records what they are: see [`crate::reload`]. `origin`: what asks
    /// for them from then on, where that is another. [`ServedTable::goes_on`] is left to be done.
    pub(crate) fn with(&self, schema: &Table, config: &TableConfig, origin: Option<&Arc<HttpSource>>) -> Self {
        let schema = Arc::new(schema.clone());
        let mut table = Self {
            max_body_bytes: config.origin.max_body_bytes,
            timeout: config.origin.timeout,
            merges: config.origin.patch == Patches::Merge && !self.has_rule,
            told: told(&schema, config),
            schema,
            subscription: Arc::clone(&self.subscription),
            ..self.clone()
        };
        if let Some(origin) = origin {
            table.creates = origin.declared().creates;
            table.passthrough = passthrough(origin, config);
        }
        table
    }

    /// What asks for its records from now on, how long that may take, and how many outcomes are kept. Given by [`ServedTable::with`].
    pub(crate) fn goes_on(&self, config: &TableConfig, origin: Option<&Arc<HttpSource>>) {
        let _ = Arc::clone(&self.outcomes).bounded(&config.optimistic);
        let timeout = config.origin.timeout;
        // A cache could be opened with them: they are none that it refuses.
        let _ = self.cache().set_deadlines(timeout, config.optimistic.timeout.unwrap_or(timeout));
        if let (Some(current), Some(origin)) = (&self.origin, origin) {
            current.set(Arc::clone(origin));
        }
    }

    /// What asked for its records before and is not in use any more goes, with its connections.
    pub(crate) fn let_go(&self) {
        if let Some(current) = &self.origin {
            current.let_go();
        }
    }

    /// Starts its subscription, where the configuration has one, in the place of the one that it has.
    ///
    /// # Errors
    /// It cannot be started; the error names the option.
    pub(crate) fn subscribe(&self, origin: &HttpSource, config: &TableConfig) -> Result<(), BuildError> {
        let begun = feed_of(origin, config, &self.told).map(|feed| feed.start(self.cache())).transpose()?;
        let before = std::mem::replace(&mut *self.feed(), begun);
        // It ends without the lock.
        drop(before);
        Ok(())
    }

    /// What a write is told that waited in vain to get in.
    pub(crate) fn is_shut(&self) -> Problem {
        let detail = format!("{} is being opened anew: its earlier writes have not ended yet", self.schema.name);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_in_a_second()
    }

    fn feed(&self) -> MutexGuard<'_, Option<Subscription>> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its subscription did, if it has one.
    #[must_use]
    pub fn subscription(&self) -> Option<SubscriptionStats> {
        self.feed().as_ref().map(Subscription::stats)
    }

    /// Waits until its subscription is connected, if it has one. Says what it was cut off by last where it is not in time.
    pub(crate) fn wait_for_feed(&self, timeout: Duration) -> Result<(), String> {
        let feed = self.feed();
        let Some(subscription) = feed.as_ref() else { return Ok(()) };
        match subscription.wait_for(|told| told.state == SubscriptionState::Live, timeout) {
            true => Ok(()),
            false => Err(subscription.stats().last_error.unwrap_or_else(|| "it did not answer".to_owned())),
        }
    }

    /// Ends its subscription. Blocks for that.
    pub(crate) fn unsubscribe(&self) {
        let subscription = self.feed().take();
        drop(subscription);
    }

    /// The tag that `text` names: `attribute=value`, which all records with that value of an indexed attribute have.
    pub(crate) fn tag(&self, text: &str) -> Result<Vec<u8>, String> {
        let (name, value) = text.split_once('=').ok_or("a tag is attribute=value")?;
        let table = &self.schema.name;
        let (_, attribute) = self.schema.attribute(name).ok_or_else(|| format!("{table} has no attribute {name:?}"))?;
        if !attribute.indexed {
            return Err(format!("{name} is not @indexed, so that records have no tag of it"));
        }
        Ok(tag(name, &attribute.query_value(value)?))
    }

    /// The blocking handle on the table's cache.
    #[must_use]
    pub fn cache(&self) -> &ByteCache {
        self.cache.blocking()
    }
}

/// How changes of a table are told, checked against its schema.
fn told(schema: &Arc<Table>, config: &TableConfig) -> Arc<Told> {
    let of_table = Arc::clone(schema);
    let form = config.changes.form().checked(move |key, body| checked(&of_table, key, &body));
    Arc::new(Told::new(&config.changes, form))
}

fn passthrough(origin: &Arc<HttpSource>, config: &TableConfig) -> Option<Passthrough> {
    config.origin.list.as_ref().map(|_| Passthrough::new(origin, config.origin.max_in_flight))
}

/// The subscription to what its origin tells, not yet started.
fn feed_of(origin: &HttpSource, config: &TableConfig, told: &Told) -> Option<Subscribe> {
    let subscribe = config.subscribe.as_ref()?;
    let feed = match subscribe.kind {
        FeedKind::Sse => origin.subscribe_sse(&subscribe.url).resumes(subscribe.resumes),
        FeedKind::Poll => {
            origin.subscribe_poll(&subscribe.url).cursor(&subscribe.cursor).poll_every(subscribe.poll_every)
        }
    };
    let while_cut_off = subscribe.forget_after.map_or(WhileCutOff::Serve, |after| WhileCutOff::Forget { after });
    Some(
        feed.form(told.form.clone())
            .silence(subscribe.silence)
            .while_cut_off(while_cut_off)
            .most_bytes(subscribe.max_event_bytes),
    )
}

/// The HTTP origin of a table, from which its subscription could be started, and its cache be opened over it. Nothing is asked of it.
///
/// # Errors
/// What of the table's configuration cannot be.
pub(crate) fn tried(schema: &Table, config: &TableConfig) -> Result<Arc<HttpSource>, String> {
    let origin = origin_of(schema, &config.origin).map_err(|error| error.to_string())?;
    let origin = Arc::new(origin);
    if let Some(feed) = feed_of(&origin, config, &told(&Arc::new(schema.clone()), config)) {
        feed.check().map_err(|error| error.to_string())?;
    }
    // An auditor would ask the origin.
    let quiet = TableConfig { audit_every: None, ..config.clone() };
    ServedTable::over(schema, &quiet, &origin, Earlier::default()).map_err(|error| error.to_string())?;
    Ok(origin)
}

/// Tells who runs this of what he may want to look into.
fn tell(table: &str, event: &KeyEvent<'_, Bytes>) {
    let key = || String::from_utf8_lossy(event.key).into_owned();
    match event.kind {
        EventKind::Differs { longer_than } => {
            let (key, longer_than_s) = (key(), longer_than.as_secs());
            tracing::warn!(name: "differs", table, key, longer_than_s, "the record differs from the origin's");
        }
        EventKind::InDoubt { .. } => {
            tracing::warn!(name: "in_doubt", table, key = key(), "nobody can know whether a write was applied");
        }
        EventKind::Settled => tracing::info!(name: "settled", table, key = key(), "the doubt is over"),
        _ => {}
    }
}

fn add_rows(schema: &Table, value: &[u8], rows: &mut Rows) {
    for (attribute, value) in index_values(schema, value) {
        rows.add(attribute, &value);
    }
}

/// A record has a tag for each value that it has in the indexes; that it has none is no tag.
fn add_tags(schema: &Table, value: &[u8], tags: &mut Tags<'_>) {
    for (number, value) in index_values(schema, value).into_iter().filter(|(_, value)| value != NULL) {
        tags.add(tag(&schema.attributes[usize::from(number)].name, &value));
    }
}

/// The values of a record in the indexes. Where there are none, it is not read.
fn index_values(schema: &Table, value: &[u8]) -> Vec<(u16, Vec<u8>)> {
    if !schema.attributes.iter().any(|attribute| attribute.indexed) {
        return Vec::new();
    }
    // What was checked on its way in is JSON; should it not be, it has no values.
    let record = serde_json::from_slice::<Map<String, Value>>(value);
    record.map_or_else(|_| Vec::new(), |record| schema.index_values(&record))
}

/// An attribute's name, which has no `=` in it, and the canonical bytes of its value.
fn tag(attribute: &str, value: &[u8]) -> Vec<u8> {
    [attribute.as_bytes(), b"=", value].concat()
}
