//! A table's HTTP origin, made of its configuration.

use wtcache_http_source::{BuildError, HttpSource};

use crate::config::{Freshness, Idempotency, OriginConfig, Preconditions};
use crate::schema::Table;

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
        .max_idle_age(config.max_idle_age)
        .write_max_idle_age(config.write_max_idle_age)
        .name_ttl(config.name_ttl)
        .retries(config.retries.clone())
        .honours_idempotency(config.idempotency == Idempotency::Honoured)
        .idempotency_header(&config.idempotency_header)
        .last_modified(config.last_modified)
        .record_at(&config.record_at)
        .record_in_array(config.record_in_array)
        .put_at(&config.put_at)
        .version_order(config.versions)
        .versions_never_reused(config.versions_never_reused)
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

/// What is kept of a record that came from elsewhere.
pub(super) fn checked(schema: &Table, key: &[u8], body: &[u8]) -> Result<Vec<u8>, String> {
    let key = std::str::from_utf8(key).map_err(|_| "the key is not UTF-8".to_owned())?;
    let record = schema.check_record(key, body).map_err(|error| error.to_string())?;
    serde_json::to_vec(&record).map_err(|error| error.to_string())
}
