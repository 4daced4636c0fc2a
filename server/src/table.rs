//! A table as it is served: its schema, and the cache over its origin.
//!
//! Invariant: what a cache of a table holds are records that passed the table's check, as compact JSON.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use wtcache::tokio::{AsyncCache, Pool};
use wtcache::{
    Audit, ByteCache, Bytes, Clock, EventKind, KeyEvent, LoadMany, Optimistic, OptionError, Rows, Source, SystemClock,
    Tags,
};
use wtcache_http_source::{BuildError, HttpSource, Subscription, SubscriptionState, SubscriptionStats, WhileCutOff};

use crate::changes::Told;
use crate::config::{
    Capacity, FeedKind, Freshness, Idempotency, InDoubtWrites, OriginConfig, Patches, Preconditions, TableConfig,
};
use crate::events::Hub;
use crate::expiry;
use crate::latency::Latency;
use crate::pending::Outcomes;
use crate::query::Passthrough;
use crate::record::NULL;
use crate::schema::{Stamp, Table};
use crate::stamped::Stamped;

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
    pub(crate) origin: Option<Arc<HttpSource>>,
    /// How clients' queries go to its origin, if it lists records.
    pub(crate) passthrough: Option<Passthrough>,
    subscription: Arc<Mutex<Option<Subscription>>>,
}

impl ServedTable {
    /// Opens the cache of a table over any source of its records: [`origin_of`] for an HTTP origin, or one of the program's
    /// own around it. Origin calls run in `pool`.
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
        let schema = Arc::new(schema.clone());
        let (rows_of, tags_of) = (Arc::clone(&schema), Arc::clone(&schema));
        let outcomes = Outcomes::new(&schema.name, &config.optimistic, Arc::clone(&clock));
        let (has_rule, creates) = (source.declared().has_rule, source.declared().creates);
        let most_together = source.load_many().map_or(1, LoadMany::most_keys);
        let (created, updated) = (schema.stamp(Stamp::Created), schema.stamp(Stamp::Updated));
        let builder = if created.is_none() && updated.is_none() {
            ByteCache::builder(source)
        } else {
            ByteCache::builder(Stamped { source, created, updated })
        };
        let mut builder = builder
            .clock(clock)
            .negative_lifetime(config.negative_lifetime)
            .stale_while_revalidate(config.stale_while_revalidate)
            .stale_if_error(config.stale_if_error)
            .refresh_ahead(f64::from(config.refresh_ahead_percent) / 100.0)
            .jitter(f64::from(config.jitter_percent) / 100.0)
            .deadline(config.origin.timeout)
            .absent_after_delete(config.absent_after_delete)
            .clean_start(config.clean_start)
            .in_doubt_writes(match config.in_doubt_writes {
                InDoubtWrites::Send => wtcache::InDoubtWrites::Send,
                InDoubtWrites::Wait => wtcache::InDoubtWrites::Wait,
            })
            .indexes(schema.attributes.iter().map(|attribute| attribute.name.clone()), move |_, value, rows| {
                add_rows(&rows_of, value, rows);
            })
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
        if config.audit_every.is_some() || hub.is_some() {
            let (table, hub) = (schema.name.clone(), hub.clone());
            builder = builder.listener(move |event| {
                tell_finding(&table, event);
                if let Some(hub) = &hub {
                    hub.tell(event);
                }
            });
        }
        let cache = builder.build()?.on_tokio(pool);
        let latency = Arc::default();
        let OriginConfig { max_body_bytes, timeout, .. } = config.origin;
        let of_table = Arc::clone(&schema);
        let form = config.changes.form().checked(move |key, body| checked(&of_table, key, &body));
        Ok(Self {
            schema,
            cache,
            max_body_bytes,
            timeout,
            outcomes,
            has_rule,
            creates,
            merges: config.origin.patch == Patches::Merge && !has_rule,
            most_together,
            latency,
            told: Arc::new(Told::new(&config.changes, form)),
            hub,
            origin: None,
            passthrough: None,
            subscription: Arc::default(),
        })
    }

    /// The same with what its origin tells: lists, for queries that are passed through; a subscription, where the configuration has one, and the breaker's state among its events.
    /// `origin` is what its cache is over, or what the source of that asks.
    ///
    /// # Errors
    /// The subscription cannot be started; the error names the option.
    pub fn told_by(mut self, origin: &Arc<HttpSource>, config: &TableConfig) -> Result<Self, BuildError> {
        self.origin = Some(Arc::clone(origin));
        self.passthrough = config.origin.list.as_ref().map(|_| Passthrough::new(origin, config.origin.max_in_flight));
        if let Some(subscribe) = &config.subscribe {
            let feed = match subscribe.kind {
                FeedKind::Sse => origin.subscribe_sse(&subscribe.url).resumes(subscribe.resumes),
                FeedKind::Poll => origin.subscribe_poll(&subscribe.url),
            };
            let while_cut_off =
                subscribe.forget_after.map_or(WhileCutOff::Serve, |after| WhileCutOff::Forget { after });
            let subscription = feed
                .form(self.told.form.clone())
                .silence(subscribe.silence)
                .while_cut_off(while_cut_off)
                .most_bytes(subscribe.max_event_bytes)
                .start(self.cache())?;
            *self.feed() = Some(subscription);
        }
        Ok(self)
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

/// A line on standard error for each finding of the auditor.
fn tell_finding(table: &str, event: &KeyEvent<'_, Bytes>) {
    if let EventKind::Differs { longer_than } = event.kind {
        let (key, seconds) = (event.key.escape_ascii(), longer_than.as_secs());
        // Nobody may read it any more: that is no reason to end.
        let _ = writeln!(io::stderr(), "wtcache: {table}: {key}: differs from the origin for longer than {seconds} s");
    }
}

fn add_rows(schema: &Table, value: &[u8], rows: &mut Rows) {
    // What was checked on its way in is JSON; should it not be, it has no rows.
    let Ok(record) = serde_json::from_slice::<Map<String, Value>>(value) else { return };
    for (attribute, value) in schema.index_values(&record) {
        rows.add(attribute, &value);
    }
}

/// A record has a tag for each value that it has in the indexes; that it has none is no tag.
fn add_tags(schema: &Table, value: &[u8], tags: &mut Tags<'_>) {
    let Ok(record) = serde_json::from_slice::<Map<String, Value>>(value) else { return };
    for (number, value) in schema.index_values(&record).into_iter().filter(|(_, value)| value != NULL) {
        tags.add(tag(&schema.attributes[usize::from(number)].name, &value));
    }
}

/// An attribute's name, which has no `=` in it, and the canonical bytes of its value.
fn tag(attribute: &str, value: &[u8]) -> Vec<u8> {
    [attribute.as_bytes(), b"=", value].concat()
}

/// The HTTP origin of a table, as its configuration says. Its records are checked against the schema, and kept as compact JSON.
///
/// # Errors
/// The URL template, a header or a bound is none that can be used; the error says which and why.
pub fn origin_of(schema: &Table, config: &OriginConfig) -> Result<HttpSource, BuildError> {
    let (schema, own_key) = (schema.clone(), pointer_to(&schema.primary_key));
    let mut builder = HttpSource::builder(&config.url)
        .name(&schema.name)
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        .settle_window(config.settle_window)
        .body_limit(config.max_body_bytes)
        .stores_verbatim(config.stores_verbatim)
        .honours_preconditions(config.preconditions == Preconditions::Honoured)
        .freshness(match config.freshness {
            Freshness::Table => wtcache_http_source::Freshness::Table,
            Freshness::Origin => wtcache_http_source::Freshness::Origin,
        })
        .max_in_flight(config.max_in_flight)
        .max_queued(config.max_queued)
        .max_idle_connections(config.max_idle_connections)
        .retries(config.retries.clone())
        .honours_idempotency(config.idempotency == Idempotency::Honoured)
        .idempotency_header(&config.idempotency_header)
        .last_modified(config.last_modified)
        .record_at(&config.record_at)
        .record_in_array(config.record_in_array)
        .put_at(&config.put_at)
        .version_order(config.versions)
        .record_check(move |key, body| checked(&schema, key, &body));
    builder = match &config.breaker {
        Some(breaker) => builder.breaker(breaker.clone()),
        None => builder.no_breaker(),
    };
    if config.heuristic_percent > 0 {
        builder = builder.heuristic_lifetime(f64::from(config.heuristic_percent) / 100.0, config.heuristic_longest);
    }
    if let Some(batch) = &config.batch {
        builder = builder.batch(batch.options(&own_key));
    }
    if let Some(list) = &config.list {
        builder = builder.list(list.options(&own_key));
    }
    if let Some(create) = &config.create {
        builder = builder.create(create.options(&own_key));
    }
    for header in &config.headers {
        builder = builder.header_from(&header.name, header.value.clone());
    }
    config.wire.apply(builder).build()
}

/// The JSON pointer to a member of a record.
fn pointer_to(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn checked(schema: &Table, key: &[u8], body: &[u8]) -> Result<Vec<u8>, String> {
    let key = std::str::from_utf8(key).map_err(|_| "the key is not UTF-8".to_owned())?;
    let record = schema.check_record(key, body).map_err(|error| error.to_string())?;
    serde_json::to_vec(&record).map_err(|error| error.to_string())
}
