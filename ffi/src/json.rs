//! A configuration in JSON: each member is known, of its type and given once, or the error names its path.

mod feed;
mod wire;

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use wtcache::VersionOrder;
use wtcache_http_source::{Freshness, Retries};

use crate::arguments::Refused;
use crate::options::{Http, HttpBatch, HttpCreate, HttpList, Options};
use crate::status::WTCACHE_ERR_CONFIG;

/// Sets what `text` names. After an error, some of it may be set.
pub(crate) fn load(options: &mut Options, text: &str) -> Result<(), Refused> {
    let whole: Box<RawValue> = serde_json::from_str(text).map_err(|error| refuse(format!("the JSON: {error}")))?;
    for at in (At { path: String::new(), raw: whole }).members()? {
        match at.path.as_str() {
            "capacity_bytes" => options.capacity_bytes = Some(at.whole()?),
            "lifetime_ms" => options.lifetime_ms = Some(at.whole()?),
            "negative_lifetime_ms" => options.negative_lifetime_ms = Some(at.whole()?),
            "deadline_ms" => options.deadline_ms = Some(at.whole()?),
            "stale_while_revalidate_ms" => options.stale_while_revalidate_ms = Some(at.whole()?),
            "stale_if_error_ms" => options.stale_if_error_ms = Some(at.whole()?),
            "keep_expired_ms" => options.keep_expired_ms = Some(at.whole()?),
            "refresh_ahead" => options.refresh_ahead = Some(at.share()?),
            "refresh_threads" => options.refresh_threads = Some(at.whole()?),
            "refresh_queue" => options.refresh_queue = Some(at.whole()?),
            "jitter" => options.jitter = Some(at.share()?),
            "in_doubt_writes_wait" => options.in_doubt_writes_wait = Some(at.flag()?),
            "absent_after_delete" => options.absent_after_delete = Some(at.flag()?),
            "clean_start" => options.clean_start = Some(at.flag()?),
            "stray_window_ms" => options.stray_window_ms = Some(at.whole()?),
            "most_doubts" => options.most_doubts = Some(at.whole()?),
            "turn_queue" => options.turn_queue = Some(at.whole()?),
            "load_queue" => options.load_queue = Some(at.whole()?),
            "longest_key_bytes" => options.longest_key_bytes = Some(at.whole()?),
            "shards" => options.shards = Some(at.whole()?),
            "key_index" => options.key_index = Some(at.flag()?),
            "separator" => options.separator = Some(at.character()?),
            "tag_memory" => options.tag_memory = Some(at.whole()?),
            "optimistic_threads" => options.optimistic_threads = Some(at.whole()?),
            "optimistic_most" => options.optimistic_most = Some(at.whole()?),
            "optimistic_weight_bytes" => options.optimistic_weight_bytes = Some(at.whole()?),
            "optimistic_deadline_ms" => options.optimistic_deadline_ms = Some(at.whole()?),
            "audit_every_ms" => options.audit_every_ms = Some(at.whole()?),
            "http" => load_http(options.http(), &at)?,
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

fn load_http(http: &mut Http, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.url" => http.url = Some(at.text()?),
            "http.headers" => {
                for header in at.members()? {
                    let name = header.path["http.headers.".len()..].to_owned();
                    match header.is_object() {
                        true => http.wire.headers.push((name, header.secret()?)),
                        false => http.headers.push((name, header.text()?)),
                    }
                }
            }
            "http.timeout_ms" => http.timeout_ms = Some(at.whole()?),
            "http.connect_timeout_ms" => http.connect_timeout_ms = Some(at.whole()?),
            "http.name_ttl_ms" => http.name_ttl_ms = Some(at.whole()?),
            "http.body_limit_bytes" => http.body_limit_bytes = Some(at.whole()?),
            "http.freshness" => http.freshness = Some(at.freshness()?),
            "http.heuristic_share" => http.heuristic_share = Some(at.share()?),
            "http.heuristic_longest_ms" => http.heuristic_longest_ms = Some(at.whole()?),
            "http.last_modified" => http.last_modified = Some(at.flag()?),
            "http.record_at" => http.record_at = Some(at.text()?),
            "http.record_in_array" => http.record_in_array = Some(at.flag()?),
            "http.put_at" => http.put_at = Some(at.text()?),
            "http.settle_window_ms" => http.settle_window_ms = Some(at.whole()?),
            "http.stores_verbatim" => http.stores_verbatim = Some(at.flag()?),
            "http.honours_preconditions" => http.honours_preconditions = Some(at.flag()?),
            "http.honours_idempotency" => http.honours_idempotency = Some(at.flag()?),
            "http.versions_never_reused" => http.versions_never_reused = Some(at.flag()?),
            "http.max_in_flight" => http.max_in_flight = Some(at.whole()?),
            "http.max_queued" => http.max_queued = Some(at.whole()?),
            "http.max_idle_connections" => http.max_idle_connections = Some(at.whole()?),
            "http.max_idle_age_ms" => http.max_idle_age_ms = Some(at.whole()?),
            "http.write_max_idle_age_ms" => http.write_max_idle_age_ms = Some(at.whole()?),
            "http.idempotency_header" => http.idempotency_header = Some(at.text()?),
            "http.batch" => load_batch(http.batch.get_or_insert_default(), &at)?,
            "http.create" => load_create(http.create.get_or_insert_default(), &at)?,
            "http.list" => load_list(http.list.get_or_insert_default(), &at)?,
            "http.versions" => http.versions = Some(at.versions()?),
            "http.subscribe" => feed::load(http.subscribe.get_or_insert_default(), &at)?,
            "http.retries" => load_retries(&mut http.retries, &at)?,
            "http.breaker" => load_breaker(http, &at)?,
            _ if wire::load(&mut http.wire, &at)? => {}
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

fn load_batch(batch: &mut HttpBatch, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.batch.url" => batch.url = Some(at.text()?),
            "http.batch.separator" => batch.separator = Some(at.text()?),
            "http.batch.most_keys" => batch.most_keys = Some(at.whole()?),
            "http.batch.records_at" => batch.records_at = Some(at.text()?),
            "http.batch.key_at" => batch.key_at = Some(at.text()?),
            "http.batch.version_at" => batch.version_at = Some(at.text()?),
            "http.batch.body_limit_bytes" => batch.body_limit_bytes = Some(at.whole()?),
            "http.batch.window_ms" => batch.window_ms = Some(at.whole()?),
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

fn load_create(create: &mut HttpCreate, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.create.url" => create.url = Some(at.text()?),
            "http.create.key_at" => create.key_at = Some(at.text()?),
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

fn load_list(list: &mut HttpList, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.list.url" => list.url = Some(at.text()?),
            "http.list.records_at" => list.records_at = Some(at.text()?),
            "http.list.key_at" => list.key_at = Some(at.text()?),
            "http.list.version_at" => list.version_at = Some(at.text()?),
            "http.list.body_limit_bytes" => list.body_limit_bytes = Some(at.whole()?),
            "http.list.parts_by" => list.parts_by = Some(at.texts()?),
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

fn load_retries(retries: &mut Retries, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.retries.loads" => retries.loads = at.whole()?,
            "http.retries.writes" => retries.writes = at.whole()?,
            "http.retries.base_ms" => retries.base = at.millis()?,
            "http.retries.cap_ms" => retries.cap = at.millis()?,
            "http.retries.budget_percent" => retries.budget_percent = at.whole()?,
            "http.retries.burst" => retries.burst = at.whole()?,
            "http.retries.attempt_timeout_ms" => retries.attempt_timeout = Some(at.millis()?),
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

fn load_breaker(http: &mut Http, object: &At) -> Result<(), Refused> {
    for at in object.members()? {
        match at.path.as_str() {
            "http.breaker.enabled" => http.no_breaker = !at.flag()?,
            "http.breaker.window_ms" => http.breaker.window = at.millis()?,
            "http.breaker.calls" => http.breaker.calls = at.whole()?,
            "http.breaker.failures_percent" => http.breaker.failures_percent = at.whole()?,
            "http.breaker.open_for_ms" => http.breaker.open_for = at.millis()?,
            _ => return Err(at.unknown()),
        }
    }
    Ok(())
}

/// A value, and the path that leads to it. Values are never shown: a header's may be a secret.
struct At {
    path: String,
    raw: Box<RawValue>,
}

impl At {
    /// The members of this object, each once.
    fn members(&self) -> Result<Vec<Self>, Refused> {
        if !self.raw.get().starts_with('{') {
            return Err(self.is_not("an object"));
        }
        let Members(members) =
            serde_json::from_str(self.raw.get()).map_err(|error| refuse(format!("the JSON: {error}")))?;
        let mut found: Vec<Self> = Vec::with_capacity(members.len());
        for (name, raw) in members {
            let path = if self.path.is_empty() { name } else { format!("{}.{name}", self.path) };
            if found.iter().any(|other| other.path == path) {
                return Err(refuse(format!("{path}: is given twice")));
            }
            found.push(Self { path, raw });
        }
        Ok(found)
    }

    fn whole<N: TryFrom<u64>>(&self) -> Result<N, Refused> {
        let number = self.value().as_u64().and_then(|number| number.try_into().ok());
        number.ok_or_else(|| self.is_not("a whole number"))
    }

    fn millis(&self) -> Result<Duration, Refused> {
        self.whole().map(Duration::from_millis)
    }

    fn text(&self) -> Result<String, Refused> {
        self.value().as_str().map(str::to_owned).ok_or_else(|| self.is_not("a string"))
    }

    fn texts(&self) -> Result<Vec<String>, Refused> {
        let texts = serde_json::from_str(self.raw.get());
        texts.map_err(|_| match self.raw.get().starts_with('[') {
            true => refuse(format!("{}: is not an array of strings", self.path)),
            false => self.is_not("an array of strings"),
        })
    }

    fn flag(&self) -> Result<bool, Refused> {
        self.value().as_bool().ok_or_else(|| self.is_not("true or false"))
    }

    fn share(&self) -> Result<f64, Refused> {
        self.value().as_f64().ok_or_else(|| self.is_not("a number"))
    }

    /// One ASCII character.
    fn character(&self) -> Result<u8, Refused> {
        match self.value().as_str().map(str::as_bytes) {
            Some([character]) => Ok(*character),
            _ => Err(self.is_no_word("one ASCII character")),
        }
    }

    fn freshness(&self) -> Result<Freshness, Refused> {
        match self.value().as_str() {
            Some("table") => Ok(Freshness::Table),
            Some("origin") => Ok(Freshness::Origin),
            _ => Err(self.is_no_word("\"table\" or \"origin\"")),
        }
    }

    fn versions(&self) -> Result<VersionOrder, Refused> {
        match self.value().as_str() {
            Some("opaque") => Ok(VersionOrder::None),
            Some("number") => Ok(VersionOrder::Number),
            Some("bytes") => Ok(VersionOrder::Bytes),
            _ => Err(self.is_no_word("\"opaque\", \"number\" or \"bytes\"")),
        }
    }

    fn value(&self) -> Value {
        // It was parsed once already, within the whole; what is out of range for a number is no value of ours.
        serde_json::from_str(self.raw.get()).unwrap_or(Value::Null)
    }

    /// As `is_not`, where some strings would do.
    fn is_no_word(&self, wanted: &str) -> Refused {
        match self.raw.get().starts_with('"') {
            true => refuse(format!("{}: is not {wanted}", self.path)),
            false => self.is_not(wanted),
        }
    }

    fn is_not(&self, wanted: &str) -> Refused {
        let found = match self.raw.get().as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        };
        let path = if self.path.is_empty() { "the JSON" } else { &self.path };
        if found == wanted {
            return refuse(format!("{path}: is not {wanted}"));
        }
        refuse(format!("{path}: is {found}, not {wanted}"))
    }

    fn unknown(&self) -> Refused {
        refuse(format!("{}: is no member of a configuration", self.path))
    }
}

fn refuse(message: impl Into<String>) -> Refused {
    Refused::new(WTCACHE_ERR_CONFIG, message)
}

/// The members of an object as they stand there, doubles included, which a map would hide.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
