//! From the tree of `config.yaml` to the settings.
//!
//! Owns which keys there are, and the wording around what [`value`](super::value) finds wrong with a text. It reads the
//! whole tree, whatever it finds, so that one run shows all errors.

mod changes;
mod telling;
mod wire;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use wtcache::VersionOrder;
use wtcache_http_source::{Breaker, Retries};

use super::value::{self, Value, Wrong};
use super::yaml::{self, Kind, Node, Text};
use super::{
    Admin, BatchConfig, Capacity, Config, CreateConfig, Environment, Freshness, HeaderConfig, Idempotency,
    InDoubtWrites, Limits, ListConfig, OptimisticConfig, OriginConfig, Patches, Preconditions, TableConfig, TlsConfig,
};
use crate::diagnostic::{Diagnostics, Findings, Position, hint_of_known, nearest, shown, text};
use crate::schema::Schema;

const EXAMPLE: &str = "a table is written: tables: { Item: { origin: { url: \"http://host/items/{id}\" } } }";

/// More pending writes, or outcomes, of one table than this are a slip of the pen.
const MOST_PENDING: usize = 10_000_000;

/// Likewise of attempts of one call.
const MOST_RETRIES: u32 = 100;

/// More requests to an origin, or connections, or calls that wait for it, likewise.
const MOST_REQUESTS: usize = 1_000_000;

/// Likewise of keys in one request.
const MOST_KEYS: usize = 10_000;

/// Likewise of connections.
const MOST_CONNECTIONS: usize = 1_000_000;

/// Likewise of threads.
const MOST_THREADS: usize = 1024;

/// Reads a configuration; without a schema, its tables' names are taken as they are.
pub(super) fn config(
    file: &str,
    bytes: &[u8],
    schema: Option<&Schema>,
    environment: Environment<'_>,
) -> Result<Config, Diagnostics> {
    let source = text(file, bytes)?;
    let (root, repeated) = yaml::parse(file, source)?;
    let mut reader = Reader { findings: Findings::new(file), environment };
    let Some(root) = root else {
        return Err(reader.findings.fail(Position::START, "the file is empty", Some(EXAMPLE.to_owned())));
    };
    for again in repeated {
        let message = format!("key {} stands here twice, first in line {}", shown(&again.key), again.first_line);
        reader.findings.add(again.at, message, None);
    }
    let config = reader.root(&root, schema);
    reader.findings.or(config)
}

pub(super) struct Reader<'a> {
    findings: Findings<'a>,
    environment: Environment<'a>,
}

/// The entries of a map whose keys are all known.
#[derive(Clone, Copy)]
pub(super) struct Fields<'t>(&'t [(Text, Node)]);

impl<'t> Fields<'t> {
    pub(super) fn get(self, key: &str) -> Option<&'t (Text, Node)> {
        self.0.iter().find(|(name, _)| name.raw == key)
    }
}

impl Reader<'_> {
    fn root(&mut self, root: &Node, schema: Option<&Schema>) -> Config {
        let mut config = Config::default();
        let Some(fields) = self.fields(
            "the configuration",
            root,
            &[&["listen", "public", "admin", "limits", "compression", "tls", "auth", "tables"][..], &telling::KNOWN]
                .concat(),
        ) else {
            return config;
        };
        self.set(fields, "listen", &mut config.listen, |value| -> Result<SocketAddr, Wrong> { value::address(value) });
        self.set(fields, "public", &mut config.public, value::flag);
        self.set(fields, "admin", &mut config.admin, value::admin);
        if let Some((_, node)) = fields.get("limits") {
            self.limits(node, &mut config.limits);
        }
        self.set(fields, "compression", &mut config.compression, value::size_or_none);
        if let Some((_, node)) = fields.get("tls") {
            config.tls = self.tls(node);
        }
        if let Some((_, node)) = fields.get("auth") {
            config.auth = Some(self.auth(node, schema));
        }
        self.telling(fields, &mut config);
        if !config.public {
            self.only_loopback(fields, &config);
        }
        let Some((key, tables)) = fields.get("tables") else {
            self.add(root.at, "the configuration lacks tables", Some(EXAMPLE));
            return config;
        };
        if let Some(entries) = self.map("tables", tables) {
            config.tables = entries.iter().filter_map(|(name, node)| self.table(name, node, schema)).collect();
            if let Some(schema) = schema {
                self.missing_tables(key.at, entries, schema);
            } else if entries.is_empty() {
                self.add(key.at, "tables holds no table", Some(EXAMPLE));
            }
        }
        config
    }

    /// Whoever reaches an address may read and write, and forget.
    fn only_loopback(&mut self, fields: Fields<'_>, config: &Config) {
        let admin = if let Admin::At(address) = config.admin { Some(address) } else { None };
        for (key, address) in [("listen", Some(config.listen)), ("admin", admin)] {
            if let (Some((_, node)), Some(address)) = (fields.get(key), address)
                && !address.ip().is_loopback()
            {
                let mut message = format!("{key}: others than this machine reach that address");
                if config.auth.is_none() {
                    message.push_str(", and this server asks nobody who they are");
                }
                self.add(node.at, &message, Some("if that is meant, write: public: true"));
            }
        }
    }

    fn limits(&mut self, node: &Node, limits: &mut Limits) {
        let known = ["connections", "head", "head_timeout", "body_timeout", "keep_alive"];
        let Some(fields) = self.fields("limits", node, &known) else { return };
        self.set(fields, "connections", &mut limits.connections, |value| value::count(value, MOST_CONNECTIONS));
        self.set(fields, "head", &mut limits.head_bytes, value::head_size);
        self.set(fields, "head_timeout", &mut limits.head_timeout, value::deadline);
        self.set(fields, "body_timeout", &mut limits.body_timeout, value::deadline);
        self.set(fields, "keep_alive", &mut limits.keep_alive, value::deadline);
    }

    fn tls(&mut self, node: &Node) -> Option<TlsConfig> {
        let fields = self.fields("tls", node, &["certificate", "key"])?;
        let mut tls = TlsConfig { certificate: "".into(), key: "".into() };
        for (key, target) in [("certificate", &mut tls.certificate), ("key", &mut tls.key)] {
            if fields.get(key).is_none() {
                self.add(node.at, &format!("tls lacks {key}"), Some("write: tls: { certificate: FILE, key: FILE }"));
            }
            self.set(fields, key, target, value::file);
        }
        Some(tls)
    }

    fn missing_tables(&mut self, at: Position, entries: &[(Text, Node)], schema: &Schema) {
        let configured: HashSet<_> = entries.iter().map(|(name, _)| name.raw.as_str()).collect();
        for table in schema.tables.iter().filter(|table| !configured.contains(table.name.as_str())) {
            let message = format!("table {} of the schema is not configured", shown(&table.name));
            let hint = format!("add {} below tables, with an origin", shown(&table.name));
            self.findings.add(at, message, Some(hint));
        }
    }

    fn table(&mut self, name: &Text, node: &Node, schema: Option<&Schema>) -> Option<TableConfig> {
        if let Some(schema) = schema
            && schema.table(&name.raw).is_none()
        {
            let names = schema.tables.iter().map(|table| table.name.as_str());
            let hint = match nearest(&name.raw, names) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("declare it: type {} @table {{ … }}", shown(&name.raw)),
            };
            self.findings.add(name.at, format!("table {} is not in the schema", shown(&name.raw)), Some(hint));
        }
        let known = [
            "origin",
            "capacity",
            "negative_lifetime",
            "stale_while_revalidate",
            "stale_if_error",
            "refresh_ahead",
            "jitter",
            "in_doubt_writes",
            "absent_after_delete",
            "clean_start",
            "audit",
            "optimistic",
            "subscribe",
            "changes",
            "events",
        ];
        let fields = self.fields(&shown(&name.raw), node, &known)?;
        let origin = match fields.get("origin") {
            Some((key, node)) => self.origin(key.at, node),
            None => {
                let message = format!("table {} lacks an origin", shown(&name.raw));
                self.add(name.at, &message, Some("add: origin: { url: \"http://host/items/{id}\" }"));
                None
            }
        };
        let mut table = TableConfig::new(&name.raw, origin.unwrap_or_else(|| OriginConfig::new("")));
        self.set(fields, "capacity", &mut table.capacity, value::capacity);
        self.set(fields, "negative_lifetime", &mut table.negative_lifetime, value::duration);
        self.set(fields, "stale_while_revalidate", &mut table.stale_while_revalidate, value::duration);
        self.set(fields, "stale_if_error", &mut table.stale_if_error, value::duration);
        if let Some(eviction) = schema.and_then(|schema| schema.table(&name.raw)?.eviction) {
            self.within_eviction(fields, eviction, &table);
        }
        self.set(fields, "refresh_ahead", &mut table.refresh_ahead_percent, |value| value::percent(value, 0..=99));
        self.set(fields, "jitter", &mut table.jitter_percent, |value| value::percent(value, 0..=100));
        self.set(fields, "in_doubt_writes", &mut table.in_doubt_writes, |value| {
            choice(value, &[("send", InDoubtWrites::Send), ("wait", InDoubtWrites::Wait)])
        });
        self.set(fields, "absent_after_delete", &mut table.absent_after_delete, value::flag);
        self.set(fields, "clean_start", &mut table.clean_start, value::flag);
        self.set(fields, "audit", &mut table.audit_every, value::per_second);
        if let Some((_, node)) = fields.get("optimistic") {
            self.optimistic(node, table.capacity, &mut table.optimistic);
        }
        if let Some((key, node)) = fields.get("subscribe") {
            self.subscribe(key.at, node, &mut table.subscribe);
        }
        if let Some((_, node)) = fields.get("changes") {
            self.changes(node, &mut table.changes);
        }
        self.set(fields, "events", &mut table.events, value::flag);
        Some(table)
    }

    /// What is not kept any more cannot be served stale.
    fn within_eviction(&mut self, fields: Fields<'_>, eviction: Duration, table: &TableConfig) {
        let windows =
            [("stale_while_revalidate", table.stale_while_revalidate), ("stale_if_error", table.stale_if_error)];
        for (key, window) in windows {
            if let Some((_, node)) = fields.get(key)
                && window > eviction
            {
                let seconds = eviction.as_secs();
                let message = format!("{key}: longer than the eviction of {seconds} s that the schema says");
                self.add(node.at, &message, Some("what has expired is not kept for so long: make eviction longer"));
            }
        }
    }

    fn optimistic(&mut self, node: &Node, capacity: Capacity, optimistic: &mut OptimisticConfig) {
        let known = ["writes", "weight", "threads", "timeout", "outcomes", "outcomes_for"];
        let Some(fields) = self.fields("optimistic", node, &known) else { return };
        self.set(fields, "writes", &mut optimistic.writes, |value| value::count(value, MOST_PENDING));
        self.set(fields, "weight", &mut optimistic.weight_bytes, |value| value::size(value).map(|size| size as u64));
        if let (Some((key, _)), Capacity::Entries(_)) = (fields.get("weight"), capacity) {
            let hint = "leave weight out, and bound the number: writes: 1000";
            self.add(
                key.at,
                "weight: where capacity is a number of entries, writes have no weight in bytes",
                Some(hint),
            );
        }
        self.set(fields, "threads", &mut optimistic.threads, |value| value::count(value, MOST_THREADS));
        self.set(fields, "timeout", &mut optimistic.timeout, |value| value::deadline(value).map(Some));
        self.set(fields, "outcomes", &mut optimistic.outcomes, |value| value::count(value, MOST_PENDING));
        self.set(fields, "outcomes_for", &mut optimistic.outcomes_for, value::duration);
    }

    fn origin(&mut self, at: Position, node: &Node) -> Option<OriginConfig> {
        let known = [
            "url",
            "headers",
            "connect_timeout",
            "timeout",
            "settle_window",
            "max_body",
            "freshness",
            "heuristic",
            "heuristic_longest",
            "last_modified",
            "record_at",
            "record_in_array",
            "put_at",
            "batch",
            "list",
            "create",
            "patch",
            "preconditions",
            "stores_verbatim",
            "versions",
            "versions_never_reused",
            "max_in_flight",
            "max_queued",
            "max_idle_connections",
            "max_idle_age",
            "write_max_idle_age",
            "name_ttl",
            "idempotency",
            "idempotency_header",
            "retries",
            "breaker",
        ];
        let fields = self.fields("origin", node, &[&known[..], &wire::KNOWN].concat())?;
        let mut origin = OriginConfig::new("");
        if fields.get("url").is_none() {
            self.add(at, "origin lacks a url", Some("write: url: \"http://host:port/path/{id}\""));
        }
        self.set(fields, "url", &mut origin.url, value::url);
        if let Some((_, node)) = fields.get("headers") {
            origin.headers = self.headers(node);
        }
        self.set(fields, "connect_timeout", &mut origin.connect_timeout, value::deadline);
        self.set(fields, "timeout", &mut origin.timeout, value::deadline);
        self.set(fields, "settle_window", &mut origin.settle_window, value::duration);
        self.set(fields, "max_body", &mut origin.max_body_bytes, value::size);
        self.set(fields, "freshness", &mut origin.freshness, |value| {
            choice(value, &[("table", Freshness::Table), ("origin", Freshness::Origin)])
        });
        self.set(fields, "heuristic", &mut origin.heuristic_percent, |value| value::percent(value, 0..=100));
        self.set(fields, "heuristic_longest", &mut origin.heuristic_longest, value::duration);
        self.set(fields, "last_modified", &mut origin.last_modified, value::flag);
        self.set(fields, "record_at", &mut origin.record_at, value::pointer);
        self.set(fields, "record_in_array", &mut origin.record_in_array, value::flag);
        self.set(fields, "put_at", &mut origin.put_at, value::pointer);
        if let Some((key, node)) = fields.get("batch") {
            self.batch(key.at, node, &mut origin.batch);
        }
        if let Some((key, node)) = fields.get("list") {
            self.list(key.at, node, &mut origin.list);
        }
        if let Some((key, node)) = fields.get("create") {
            self.create(key.at, node, &mut origin.create);
        }
        self.set(fields, "patch", &mut origin.patch, |value| {
            choice(value, &[("put", Patches::Put), ("merge", Patches::Merge)])
        });
        self.set(fields, "preconditions", &mut origin.preconditions, |value| {
            choice(value, &[("unchecked", Preconditions::Unchecked), ("honoured", Preconditions::Honoured)])
        });
        self.set(fields, "stores_verbatim", &mut origin.stores_verbatim, value::flag);
        self.set(fields, "versions", &mut origin.versions, |value| {
            choice(
                value,
                &[("opaque", VersionOrder::None), ("number", VersionOrder::Number), ("bytes", VersionOrder::Bytes)],
            )
        });
        self.set(fields, "versions_never_reused", &mut origin.versions_never_reused, value::flag);
        self.set(fields, "max_in_flight", &mut origin.max_in_flight, |value| value::count(value, MOST_REQUESTS));
        let up_to = |value: &Value| value::whole(value, MOST_REQUESTS);
        self.set(fields, "max_queued", &mut origin.max_queued, up_to);
        self.set(fields, "max_idle_connections", &mut origin.max_idle_connections, up_to);
        self.set(fields, "max_idle_age", &mut origin.max_idle_age, value::duration);
        self.set(fields, "write_max_idle_age", &mut origin.write_max_idle_age, value::duration);
        self.set(fields, "name_ttl", &mut origin.name_ttl, value::duration);
        self.set(fields, "idempotency", &mut origin.idempotency, |value| {
            choice(value, &[("unchecked", Idempotency::Unchecked), ("honoured", Idempotency::Honoured)])
        });
        self.set(fields, "idempotency_header", &mut origin.idempotency_header, value::header);
        if let Some((_, node)) = fields.get("retries") {
            self.retries(node, &mut origin.retries);
        }
        if let Some((_, node)) = fields.get("breaker") {
            self.breaker(node, &mut origin.breaker);
        }
        self.wire(fields, &mut origin.wire);
        if let (Some((key, _)), true) = (fields.get("auth"), origin.has_header("Authorization")) {
            self.add(key.at, "auth: headers hold Authorization already", Some("leave out one of both"));
        }
        if let Some((key, _)) = fields.get("last_modified")
            && origin.last_modified
            && origin.preconditions == Preconditions::Honoured
        {
            let hint = "with preconditions: honoured, leave last_modified out";
            self.add(key.at, "last_modified: no write can be conditional on a date", Some(hint));
        }
        Some(origin)
    }

    fn batch(&mut self, at: Position, node: &Node, batch: &mut Option<BatchConfig>) {
        let known = ["url", "separator", "most_keys", "records_at", "key_at", "version_at", "max_body", "window"];
        let Some(fields) = self.fields("batch", node, &known) else { return };
        let mut options = BatchConfig::new("");
        if fields.get("url").is_none() {
            self.add(at, "batch lacks a url", Some("write: url: \"http://host:port/path?ids={ids}\""));
        }
        self.set(fields, "url", &mut options.url, value::list_url);
        self.set(fields, "separator", &mut options.separator, value::as_written);
        self.set(fields, "most_keys", &mut options.most_keys, |value| value::count(value, MOST_KEYS));
        self.set(fields, "records_at", &mut options.records_at, value::pointer);
        self.set(fields, "key_at", &mut options.key_at, |value| value::pointer(value).map(Some));
        self.set(fields, "version_at", &mut options.version_at, |value| value::pointer(value).map(Some));
        self.set(fields, "max_body", &mut options.max_body_bytes, value::size);
        self.set(fields, "window", &mut options.window, value::window);
        *batch = Some(options);
    }

    fn list(&mut self, at: Position, node: &Node, list: &mut Option<ListConfig>) {
        let known = ["url", "records_at", "key_at", "version_at", "max_body", "parts_by"];
        let Some(fields) = self.fields("list", node, &known) else { return };
        let mut options = ListConfig::new("");
        if fields.get("url").is_none() {
            self.add(at, "list lacks a url", Some("write: url: \"http://host:port/path\""));
        }
        self.set(fields, "url", &mut options.url, value::fixed_url);
        self.set(fields, "records_at", &mut options.records_at, value::pointer);
        self.set(fields, "key_at", &mut options.key_at, |value| value::pointer(value).map(Some));
        self.set(fields, "version_at", &mut options.version_at, |value| value::pointer(value).map(Some));
        self.set(fields, "max_body", &mut options.max_body_bytes, value::size);
        self.set(fields, "parts_by", &mut options.parts_by, value::words);
        *list = Some(options);
    }

    fn create(&mut self, at: Position, node: &Node, create: &mut Option<CreateConfig>) {
        let Some(fields) = self.fields("create", node, &["url", "key_at"]) else { return };
        let mut options = CreateConfig::new("");
        if fields.get("url").is_none() {
            self.add(at, "create lacks a url", Some("write: url: \"http://host:port/path\""));
        }
        self.set(fields, "url", &mut options.url, value::fixed_url);
        self.set(fields, "key_at", &mut options.key_at, |value| value::pointer(value).map(Some));
        *create = Some(options);
    }

    fn retries(&mut self, node: &Node, retries: &mut Retries) {
        let known = ["loads", "writes", "base", "cap", "budget", "burst", "attempt_timeout"];
        let Some(fields) = self.fields("retries", node, &known) else { return };
        let times = |value: &Value| value::whole(value, MOST_RETRIES);
        self.set(fields, "loads", &mut retries.loads, times);
        self.set(fields, "writes", &mut retries.writes, times);
        self.set(fields, "base", &mut retries.base, value::duration);
        self.set(fields, "cap", &mut retries.cap, value::duration);
        self.set(fields, "budget", &mut retries.budget_percent, |value| value::percent(value, 0..=1000));
        self.set(fields, "burst", &mut retries.burst, |value| value::whole(value, MOST_REQUESTS as u32));
        self.set(fields, "attempt_timeout", &mut retries.attempt_timeout, |value| value::deadline(value).map(Some));
        if let (Some((key, _)), true) = (fields.get("cap").or(fields.get("base")), retries.base > retries.cap) {
            self.add(
                key.at,
                "retries: base is longer than cap",
                Some("no pause is longer than cap: write base: 50ms, cap: 1s"),
            );
        }
    }

    fn breaker(&mut self, node: &Node, breaker: &mut Option<Breaker>) {
        let known = ["enabled", "window", "calls", "failures", "open_for"];
        let Some(fields) = self.fields("breaker", node, &known) else { return };
        let (mut options, mut enabled) = (Breaker::default(), true);
        self.set(fields, "enabled", &mut enabled, value::flag);
        self.set(fields, "window", &mut options.window, value::deadline);
        self.set(fields, "calls", &mut options.calls, |value| {
            value::count(value, MOST_REQUESTS).map(|calls| calls as u32)
        });
        self.set(fields, "failures", &mut options.failures_percent, |value| value::percent(value, 1..=100));
        self.set(fields, "open_for", &mut options.open_for, value::deadline);
        *breaker = enabled.then_some(options);
    }

    fn headers(&mut self, node: &Node) -> Vec<HeaderConfig> {
        let mut headers: Vec<HeaderConfig> = Vec::new();
        let mut names = HashSet::new();
        for (name, node) in self.map("headers", node).unwrap_or_default() {
            if let Err(wrong) = value::header_name(&name.raw) {
                self.findings.add(name.at, wrong.message, wrong.hint);
                continue;
            }
            if !names.insert(name.raw.to_ascii_lowercase()) {
                let message = format!("header {} is given twice", shown(&name.raw));
                self.add(name.at, &message, Some("the case of a header's name does not matter"));
            }
            if let Some(value) = self.secret(&shown(&name.raw), node, value::header_value) {
                headers.push(HeaderConfig { name: name.raw.clone(), value });
            }
        }
        headers
    }

    /// The entries of a map, after an error for every key that is not known.
    pub(super) fn fields<'t>(&mut self, what: &str, node: &'t Node, known: &[&str]) -> Option<Fields<'t>> {
        let entries = self.map(what, node)?;
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.raw.as_str())) {
            let hint = hint_of_known(&key.raw, "", known);
            self.findings.add(key.at, format!("unknown key {}", shown(&key.raw)), Some(hint));
        }
        Some(Fields(entries))
    }

    pub(super) fn map<'t>(&mut self, what: &str, node: &'t Node) -> Option<&'t [(Text, Node)]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            other => {
                self.add(node.at, &format!("{what}: expected a map, got {}", name_of(other)), None);
                None
            }
        }
    }

    /// Sets `target` from a key that may be left out.
    pub(super) fn set<T>(
        &mut self,
        fields: Fields<'_>,
        key: &str,
        target: &mut T,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) {
        if let Some((_, node)) = fields.get(key) {
            self.text(key, node, target, read);
        }
    }

    pub(super) fn text<T>(
        &mut self,
        key: &str,
        node: &Node,
        target: &mut T,
        read: impl Fn(&Value) -> Result<T, Wrong>,
    ) {
        let text = match &node.kind {
            Kind::Text(text) => text,
            other => {
                self.add(node.at, &format!("{key}: expected a value, got {}", name_of(other)), None);
                return;
            }
        };
        let value = match value::expand(text, self.environment) {
            Ok(value) => value,
            Err(errors) => {
                for (at, wrong) in errors {
                    self.findings.add(at, format!("{key}: {}", wrong.message), wrong.hint);
                }
                return;
            }
        };
        match read(&value) {
            Ok(value) => *target = value,
            Err(wrong) => self.findings.add(node.at, format!("{key}: {}", wrong.message), wrong.hint),
        }
    }

    pub(super) fn add(&mut self, at: Position, message: &str, hint: Option<&str>) {
        self.findings.add(at, message, hint.map(str::to_owned));
    }
}

fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, Wrong> {
    if let Some((_, chosen)) = choices.iter().find(|(name, _)| *name == value.text) {
        return Ok(*chosen);
    }
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    // The hint is looked up by what is shown, not by what the environment put there.
    Err(Wrong {
        message: format!("unknown value \"{}\"", value.shown),
        hint: Some(hint_of_known(&value.shown, "", &names)),
    })
}

pub(super) fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Null => "nothing",
        Kind::Text(_) => "a text",
        Kind::List => "a list",
        Kind::Map(_) => "a map",
    }
}
