//! The options behind a configuration, and the builders that they are set on.

use std::time::Duration;

use wtcache::{Audit, Builder, Bytes, InDoubtWrites, Optimistic, VersionOrder};
use wtcache_http_source::{
    BatchGet, Breaker, BuildError, CreatePost, Freshness, HttpSource, ListGet, Retries, Subscribe,
};

use crate::arguments::Refused;
use crate::feed::HttpSubscribe;
use crate::status::WTCACHE_ERR_CONFIG;
use crate::wire::Wire;

/// What was set; the rest is core's and the HTTP source's own default.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) lifetime_ms: Option<u64>,
    pub(crate) negative_lifetime_ms: Option<u64>,
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) stale_while_revalidate_ms: Option<u64>,
    pub(crate) stale_if_error_ms: Option<u64>,
    pub(crate) keep_expired_ms: Option<u64>,
    pub(crate) refresh_ahead: Option<f64>,
    pub(crate) refresh_threads: Option<usize>,
    pub(crate) refresh_queue: Option<usize>,
    pub(crate) jitter: Option<f64>,
    pub(crate) in_doubt_writes_wait: Option<bool>,
    pub(crate) absent_after_delete: Option<bool>,
    pub(crate) clean_start: Option<bool>,
    pub(crate) stray_window_ms: Option<u64>,
    pub(crate) most_doubts: Option<usize>,
    pub(crate) turn_queue: Option<usize>,
    pub(crate) load_queue: Option<usize>,
    pub(crate) longest_key_bytes: Option<usize>,
    pub(crate) shards: Option<usize>,
    pub(crate) key_index: Option<bool>,
    pub(crate) separator: Option<u8>,
    pub(crate) tag_memory: Option<usize>,
    pub(crate) optimistic_threads: Option<usize>,
    pub(crate) optimistic_most: Option<usize>,
    pub(crate) optimistic_weight_bytes: Option<u64>,
    pub(crate) optimistic_deadline_ms: Option<u64>,
    pub(crate) audit_every_ms: Option<u64>,
    http: Option<Http>,
}

/// What was set of the HTTP source.
#[derive(Clone, Default)]
pub(crate) struct Http {
    pub(crate) url: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) connect_timeout_ms: Option<u64>,
    pub(crate) name_ttl_ms: Option<u64>,
    pub(crate) body_limit_bytes: Option<usize>,
    pub(crate) freshness: Option<Freshness>,
    pub(crate) heuristic_share: Option<f64>,
    pub(crate) heuristic_longest_ms: Option<u64>,
    pub(crate) last_modified: Option<bool>,
    pub(crate) record_at: Option<String>,
    pub(crate) record_in_array: Option<bool>,
    pub(crate) put_at: Option<String>,
    pub(crate) batch: Option<HttpBatch>,
    pub(crate) create: Option<HttpCreate>,
    pub(crate) list: Option<HttpList>,
    pub(crate) versions: Option<VersionOrder>,
    pub(crate) subscribe: Option<HttpSubscribe>,
    pub(crate) settle_window_ms: Option<u64>,
    pub(crate) stores_verbatim: Option<bool>,
    pub(crate) honours_preconditions: Option<bool>,
    pub(crate) honours_idempotency: Option<bool>,
    pub(crate) versions_never_reused: Option<bool>,
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) max_queued: Option<usize>,
    pub(crate) max_idle_connections: Option<usize>,
    pub(crate) max_idle_age_ms: Option<u64>,
    pub(crate) write_max_idle_age_ms: Option<u64>,
    pub(crate) idempotency_header: Option<String>,
    pub(crate) retries: Retries,
    pub(crate) breaker: Breaker,
    pub(crate) no_breaker: bool,
    pub(crate) wire: Wire,
}

/// What was set of its batches.
#[derive(Clone, Default)]
pub(crate) struct HttpBatch {
    pub(crate) url: Option<String>,
    pub(crate) separator: Option<String>,
    pub(crate) most_keys: Option<usize>,
    pub(crate) records_at: Option<String>,
    pub(crate) key_at: Option<String>,
    pub(crate) version_at: Option<String>,
    pub(crate) body_limit_bytes: Option<usize>,
    pub(crate) window_ms: Option<u64>,
}

impl HttpBatch {
    fn options(&self) -> Result<BatchGet, Refused> {
        let url = self.url.as_ref().ok_or_else(|| refuse("http.batch.url: is missing"))?;
        let mut batch = BatchGet::new(url);
        if let Some(separator) = &self.separator {
            batch = batch.separator(separator);
        }
        if let Some(keys) = self.most_keys {
            batch = batch.most_keys(keys);
        }
        if let Some(pointer) = &self.records_at {
            batch = batch.records_at(pointer);
        }
        if let Some(pointer) = &self.key_at {
            batch = batch.key_at(pointer);
        }
        if let Some(pointer) = &self.version_at {
            batch = batch.version_at(pointer);
        }
        if let Some(bytes) = self.body_limit_bytes {
            batch = batch.body_limit(bytes);
        }
        if let Some(ms) = self.window_ms {
            batch = batch.window(Duration::from_millis(ms));
        }
        Ok(batch)
    }
}

/// What was set of where the origin makes records.
#[derive(Clone, Default)]
pub(crate) struct HttpCreate {
    pub(crate) url: Option<String>,
    pub(crate) key_at: Option<String>,
}

impl HttpCreate {
    fn options(&self) -> Result<CreatePost, Refused> {
        let create = CreatePost::new(self.url.as_ref().ok_or_else(|| refuse("http.create.url: is missing"))?);
        Ok(match &self.key_at {
            Some(pointer) => create.key_at(pointer),
            None => create,
        })
    }
}

/// What was set of its lists.
#[derive(Clone, Default)]
pub(crate) struct HttpList {
    pub(crate) url: Option<String>,
    pub(crate) records_at: Option<String>,
    pub(crate) key_at: Option<String>,
    pub(crate) version_at: Option<String>,
    pub(crate) body_limit_bytes: Option<usize>,
    pub(crate) parts_by: Option<Vec<String>>,
}

impl HttpList {
    fn options(&self) -> Result<ListGet, Refused> {
        let mut list = ListGet::new(self.url.as_ref().ok_or_else(|| refuse("http.list.url: is missing"))?);
        if let Some(pointer) = &self.records_at {
            list = list.records_at(pointer);
        }
        if let Some(pointer) = &self.key_at {
            list = list.key_at(pointer);
        }
        if let Some(pointer) = &self.version_at {
            list = list.version_at(pointer);
        }
        if let Some(bytes) = self.body_limit_bytes {
            list = list.body_limit(bytes);
        }
        if let Some(names) = &self.parts_by {
            list = list.parts_by(names);
        }
        Ok(list)
    }
}

impl Options {
    /// The options of the HTTP source, of which something is about to be set.
    pub(crate) fn http(&mut self) -> &mut Http {
        self.http.get_or_insert_default()
    }

    pub(crate) fn apply(&self, builder: Builder<Bytes>) -> Builder<Bytes> {
        let ms = Duration::from_millis;
        let with = With(builder)
            .set(self.capacity_bytes, Builder::capacity)
            .set(self.lifetime_ms.map(ms), Builder::lifetime)
            .set(self.negative_lifetime_ms.map(ms), Builder::negative_lifetime)
            .set(self.deadline_ms.map(ms), Builder::deadline)
            .set(self.stale_while_revalidate_ms.map(ms), Builder::stale_while_revalidate)
            .set(self.stale_if_error_ms.map(ms), Builder::stale_if_error)
            .set(self.keep_expired_ms.map(ms), Builder::keep_expired)
            .set(self.refresh_ahead, Builder::refresh_ahead)
            .set(self.refreshers(), |builder, (threads, waiting)| builder.refreshers(threads, waiting))
            .set(self.jitter, Builder::jitter)
            .set(self.in_doubt_writes_wait, |builder, wait| {
                builder.in_doubt_writes(if wait { InDoubtWrites::Wait } else { InDoubtWrites::Send })
            })
            .set(self.absent_after_delete, Builder::absent_after_delete)
            .set(self.clean_start, Builder::clean_start)
            .set(self.stray_window_ms.map(ms), Builder::stray_window)
            .set(self.most_doubts, Builder::most_doubts)
            .set(self.turn_queue, Builder::turn_queue)
            .set(self.load_queue, Builder::load_queue)
            .set(self.longest_key_bytes, Builder::longest_key)
            .set(self.shards, Builder::shards)
            .set(self.key_index, Builder::key_index)
            .set(self.separator, Builder::separator)
            .set(self.tag_memory, Builder::tag_memory)
            .set(self.audit_every_ms.map(ms), |builder, every| builder.audit(Audit::new().every(every)));
        with.0.optimistic(self.optimistic())
    }

    /// How long a call takes at most that says nothing itself.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline_ms.map_or(Duration::from_secs(5), Duration::from_millis)
    }

    /// Both are set by one call of core's.
    fn refreshers(&self) -> Option<(usize, usize)> {
        let set = self.refresh_threads.is_some() || self.refresh_queue.is_some();
        set.then(|| (self.refresh_threads.unwrap_or(2), self.refresh_queue.unwrap_or(1_024)))
    }

    fn optimistic(&self) -> Optimistic {
        let mut optimistic = Optimistic::new();
        if let Some(threads) = self.optimistic_threads {
            optimistic = optimistic.threads(threads);
        }
        if let Some(most) = self.optimistic_most {
            optimistic = optimistic.most(most);
        }
        if let Some(weight) = self.optimistic_weight_bytes {
            optimistic = optimistic.weight(weight);
        }
        if let Some(ms) = self.optimistic_deadline_ms {
            optimistic = optimistic.deadline(Duration::from_millis(ms));
        }
        optimistic
    }

    /// The feed to be followed, if there is one.
    pub(crate) fn subscribe(&self, source: &HttpSource) -> Result<Option<Subscribe>, Refused> {
        let subscribe = self.http.as_ref().and_then(|http| http.subscribe.as_ref());
        subscribe.map(|subscribe| subscribe.options(source)).transpose()
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
        if let Some(ms) = http.name_ttl_ms {
            source = source.name_ttl(Duration::from_millis(ms));
        }
        if let Some(bytes) = http.body_limit_bytes {
            source = source.body_limit(bytes);
        }
        if let Some(freshness) = http.freshness {
            source = source.freshness(freshness);
        }
        // Zero is the default, and no guess.
        if let Some(share) = http.heuristic_share.filter(|share| *share != 0.0) {
            let longest = http.heuristic_longest_ms.map_or(Duration::from_secs(24 * 3600), Duration::from_millis);
            source = source.heuristic_lifetime(share, longest);
        }
        if let Some(taken) = http.last_modified {
            source = source.last_modified(taken);
        }
        if let Some(pointer) = &http.record_at {
            source = source.record_at(pointer);
        }
        if let Some(in_array) = http.record_in_array {
            source = source.record_in_array(in_array);
        }
        if let Some(pointer) = &http.put_at {
            source = source.put_at(pointer);
        }
        if let Some(batch) = &http.batch {
            source = source.batch(batch.options()?);
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
        if let Some(create) = &http.create {
            source = source.create(create.options()?);
        }
        if let Some(list) = &http.list {
            source = source.list(list.options()?);
        }
        if let Some(order) = http.versions {
            source = source.version_order(order);
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
        if let Some(ms) = http.max_idle_age_ms {
            source = source.max_idle_age(Duration::from_millis(ms));
        }
        if let Some(ms) = http.write_max_idle_age_ms {
            source = source.write_max_idle_age(Duration::from_millis(ms));
        }
        if let Some(name) = &http.idempotency_header {
            source = source.idempotency_header(name.as_str());
        }
        source = http.wire.apply(source).map_err(|missing| refuse(format!("{missing}: is missing")))?;
        source = source.retries(http.retries.clone());
        source = if http.no_breaker { source.no_breaker() } else { source.breaker(http.breaker.clone()) };
        source.build().map_err(|error| match error {
            BuildError::Url(why) => refuse(format!("http.url: {why}")),
            BuildError::Header { name, why } => match http.wire.member(&name) {
                Some(member) => refuse(format!("{member}: {why}")),
                None => refuse(format!("http.headers.{name}: {why}")),
            },
            BuildError::Option { option, message } => {
                if let Some(member) = http.wire.member(option) {
                    return refuse(format!("{member}: {message}"));
                }
                let unit = match option {
                    "heuristic_lifetime" => return refuse(format!("http.heuristic_share: {message}")),
                    "timeout"
                    | "connect_timeout"
                    | "name_ttl"
                    | "max_idle_age"
                    | "write_max_idle_age"
                    | "retries.cap"
                    | "retries.attempt_timeout"
                    | "breaker.window"
                    | "breaker.open_for"
                    | "batch.window" => "_ms",
                    "body_limit" | "batch.body_limit" | "list.body_limit" => "_bytes",
                    _ => "",
                };
                refuse(format!("http.{option}{unit}: {message}"))
            }
            other => refuse(format!("http: {other}")),
        })
    }
}

/// A builder on its way.
struct With(Builder<Bytes>);

impl With {
    /// What was set; what was not stays as it is.
    fn set<T>(self, option: Option<T>, set: impl FnOnce(Builder<Bytes>, T) -> Builder<Bytes>) -> Self {
        match option {
            Some(value) => Self(set(self.0, value)),
            None => self,
        }
    }
}

fn refuse(message: impl Into<String>) -> Refused {
    Refused::new(WTCACHE_ERR_CONFIG, message)
}
