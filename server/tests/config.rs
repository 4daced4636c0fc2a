//! What a configuration may say: every error with its exact words and place, and no secret in any of them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use wtcache_http_source::{Breaker, Proxy, Retries, Secret};
use wtcache_server::config::{
    AccessLog, Admin, BatchConfig, Capacity, Config, Freshness, HeaderConfig, Idempotency, InDoubtWrites, Limits,
    ListConfig, LogFormat, OriginAuth, OriginConfig, OriginTls, Patches, Preconditions, SubscribeConfig, TableConfig,
    TelemetryConfig, WireConfig, load,
};
use wtcache_server::schema::Schema;

const SECRET: &str = "s3cr3t-value";

const DOCUMENTED: &str = "\
listen: 127.0.0.1:9926          # default; anything but loopback must be written out
tables:
  InventoryItem:
    origin:
      url: ${INVENTORY_API}/items/{id}
      headers:
        Authorization: Bearer ${INVENTORY_API_KEY}
      connect_timeout: 1s        # default 1s
      timeout: 5s                # the deadline of a call, default 5s
      settle_window: 10s         # default 10s
      max_body: 1MiB             # default
      freshness: table           # table (default) | origin
      preconditions: unchecked   # unchecked (default) | honoured
      stores_verbatim: false
      max_in_flight: 64          # default
      max_queued: 1024           # default
      max_idle_connections: 16   # default
      max_idle_age: 15s          # default
      write_max_idle_age: 2s     # default
      name_ttl: 30s              # default
      versions_never_reused: false
      idempotency: unchecked     # unchecked (default) | honoured
      idempotency_header: Idempotency-Key
      retries:
        loads: 2                 # default
        writes: 0                # default
        base: 50ms               # default
        cap: 1s                  # default
        budget: 20%              # default
        burst: 10                # default
      breaker:
        enabled: true            # default
        window: 10s              # default
        calls: 20                # default
        failures: 50%            # default
        open_for: 5s             # default
      heuristic: 0%              # default
      heuristic_longest: 24h     # default
      last_modified: false
      record_at: \"\"              # default: the body
      record_in_array: false
      put_at: \"\"                 # default: the body
      proxy: none                # default
      tls: { system_roots: false } # default
    capacity: 64MiB              # weight bound; default 64MiB; or a count \"10000 entries\"
    negative_lifetime: 5s        # default 5s
    stale_while_revalidate: 0s   # default
    stale_if_error: 0s           # default
    refresh_ahead: 0%            # default
    jitter: 0%                   # default
    in_doubt_writes: send        # send (default) | wait
    absent_after_delete: false
    clean_start: false
    audit: 0                     # default; or checks a second, 1
    optimistic:                  # of writes that are answered before they are settled
      writes: 16384              # default
      weight: 64MiB              # default
      threads: 4                 # default
      outcomes: 10000            # default
      outcomes_for: 10m          # default
";

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "INVENTORY_API" => "http://127.0.0.1:8080",
        "INVENTORY_API_KEY" => SECRET,
        "BROKEN_KEY" => "s3cr3t-value\n",
        "ODD_KEY" => "s3cr3t-value\u{e9}",
        "WITH_PASSWORD" => "http://user:s3cr3t-value@host",
        "NO_URL" => "s3cr3t-value",
        _ => return None,
    };
    Some(value.to_owned())
}

fn schema() -> Schema {
    Schema::parse("s", b"type InventoryItem @table { id: ID @primaryKey }").expect("a good schema")
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse("c", text.as_bytes(), &schema(), &environment).map_err(|errors| errors.to_string())
}

fn documented() -> Config {
    let mut origin = OriginConfig::new("http://127.0.0.1:8080/items/{id}");
    origin.headers = vec![HeaderConfig { name: "Authorization".into(), value: format!("Bearer {SECRET}").into() }];
    Config { tables: vec![TableConfig::new("InventoryItem", origin)], ..Config::default() }
}

/// A table's text with lines of its own in the table and in its origin (line 5 and 6 of the file).
fn with(in_origin: &str, in_table: &str) -> String {
    format!("tables:\n  InventoryItem:\n    origin:\n      url: http://h/{{id}}\n{in_origin}{in_table}")
}

#[test]
fn the_documented_configuration_is_the_default_one() {
    assert_eq!(parse(DOCUMENTED), Ok(documented()));
    let short = "tables:\n  InventoryItem:\n    origin:\n      url: \"${INVENTORY_API}/items/{id}\"\n      headers: { Authorization: \"Bearer ${INVENTORY_API_KEY}\" }\n";
    assert_eq!(parse(short), Ok(documented()));
    assert_eq!(parse(&short.replace('\n', "\r\n")), Ok(documented()));
    let config = documented();
    let table = config.table("InventoryItem").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:9926");
    assert_eq!(table.capacity, Capacity::Bytes(64 << 20));
    assert_eq!(table.negative_lifetime, Duration::from_secs(5));
    assert_eq!(table.origin.connect_timeout, Duration::from_secs(1));
    assert_eq!(table.origin.timeout, Duration::from_secs(5));
    assert_eq!(table.origin.settle_window, Duration::from_secs(10));
    assert_eq!(table.origin.max_body_bytes, 1 << 20);
}

#[test]
fn every_setting_is_read() {
    let text = with(
        "      headers: { X-A: 0123, X-B: 'true', X-C: \"a$$b\", X-D: { file: key } }\n      connect_timeout: 250ms\n      timeout: 2m\n      \
         settle_window: 0s\n      max_body: 512 KiB\n      freshness: origin\n      preconditions: honoured\n      patch: merge\n      \
         stores_verbatim: true\n      max_in_flight: 3\n      max_queued: 0\n      max_idle_connections: 0\n      \
         max_idle_age: 0s\n      write_max_idle_age: 5s\n      name_ttl: 1m\n      versions_never_reused: true\n      \
         idempotency: honoured\n      idempotency_header: X-Key\n      \
         retries: { loads: 0, writes: 4, base: 0ms, cap: 2s, budget: 0%, burst: 0, attempt_timeout: 1s }\n      \
         breaker: { window: 1m, calls: 5, failures: 75%, open_for: 2s }\n      \
         heuristic: 10%\n      heuristic_longest: 1h\n      record_at: /data/a~1b\n      \
         record_in_array: true\n      put_at: /data\n      compression: true\n      proxy: http://p:3128\n      \
         tls: { roots: ca.pem, system_roots: true, certificate: me.pem, key: /me.key }\n      \
         auth: { basic: { user: me, password: { file: /run/secrets/pw } } }\n      \
         versions: number\n      \
         batch: { url: \"http://h/items?ids={ids}\", separator: \";\", most_keys: 7, records_at: /data, key_at: /no, \
         version_at: /tag, max_body: 2MiB, window: 3ms }\n      \
         list: { url: \"http://h/items?all\", records_at: /data, key_at: /no, version_at: /tag, max_body: 3MiB, \
         parts_by: \"only, $$select\" }\n      create: { url: \"http://h/items\", key_at: /no }\n",
        "    capacity: 10000 entries\n    negative_lifetime: 1h\n    stale_while_revalidate: 2s\n    stale_if_error: 3m\n    \
         refresh_ahead: 25 %\n    jitter: 100%\n    in_doubt_writes: wait\n    \
         absent_after_delete: true\n    clean_start: true\n    audit: 0.5\n    \
         optimistic: { writes: 5, threads: 1, timeout: 1m, outcomes: 7, outcomes_for: 0s }\n    events: true\n    \
         subscribe: { url: /feed, kind: sse, resumes: true, silence: 5s, while_cut_off: 2s, max_event: 64KiB }\n    \
         changes: { op: type, key: id, record: item, version: rev, version_as: 'r{version}', secret: 0123456789abcdef, \
         signature_header: X-Sig }\npublic: true\nadmin: same\n\
         limits: { connections: 7, head: 4KiB, head_timeout: 1s, body_timeout: 2s, keep_alive: 3s }\nlisten: \"[::]:80\"\n\
         log: json\naccess_log: /var/log/access.log\n\
         telemetry: { traces: \"https://c/v1/traces?key=s3cr3t-value\", service: shop, sample: 7%, headers: { X-Key: s3cr3t-value } }\n",
    );
    let config = parse(&text).unwrap();
    let table = &config.tables[0];
    assert_eq!(config.listen.to_string(), "[::]:80");
    assert_eq!((config.public, config.admin), (true, Admin::Same));
    assert_eq!(
        (config.log, &config.access_log),
        (LogFormat::Json, &Some(AccessLog::File("/var/log/access.log".into())))
    );
    let mut telemetry = TelemetryConfig::new(format!("https://c/v1/traces?key={SECRET}"));
    (telemetry.service, telemetry.sample_percent) = ("shop".to_owned(), 7);
    telemetry.headers = vec![HeaderConfig { name: "X-Key".to_owned(), value: SECRET.into() }];
    assert_eq!(config.telemetry, Some(telemetry));
    assert!(!format!("{:?}", config.telemetry).contains(SECRET), "neither a query nor a header is for logs");
    assert_eq!((table.events, table.origin.versions), (true, wtcache::VersionOrder::Number));
    let mut subscribe = SubscribeConfig::new("/feed");
    (subscribe.resumes, subscribe.silence, subscribe.max_event_bytes) = (true, Duration::from_secs(5), 64 << 10);
    subscribe.forget_after = Some(Duration::from_secs(2));
    assert_eq!(table.subscribe, Some(subscribe));
    let changes = &table.changes;
    let text = with("", "    subscribe: { url: /feed, kind: poll, cursor: since, poll_every: 50ms }\n");
    let polled = parse(&text).unwrap().tables.remove(0).subscribe.unwrap();
    assert_eq!((&*polled.cursor, polled.poll_every), ("since", Duration::from_millis(50)));
    let names = [&changes.op, &changes.key, &changes.record, &changes.version, &changes.version_as];
    assert_eq!(names, ["type", "id", "item", "rev", "r{version}"]);
    assert_eq!(changes.secret.as_ref().map(|secret| secret.0.as_str()), Some("0123456789abcdef"));
    assert_eq!(changes.signature_header, "X-Sig");
    assert!(!format!("{config:?}").contains("0123456789abcdef"), "a secret is not for logs");
    let secs = Duration::from_secs;
    let limits =
        Limits { connections: 7, head_bytes: 4096, head_timeout: secs(1), body_timeout: secs(2), keep_alive: secs(3) };
    assert_eq!(config.limits, limits);
    let header = |name: &str, value| HeaderConfig { name: name.to_owned(), value };
    let texts = [("X-A", "0123"), ("X-B", "true"), ("X-C", "a$b")].map(|(name, text)| header(name, Secret::text(text)));
    assert_eq!(table.origin.headers[..3], texts);
    assert_eq!(table.origin.headers[3..], [header("X-D", Secret::file("key"))]);
    let wire = WireConfig {
        compression: Some(true),
        tls: OriginTls {
            roots: Some("ca.pem".into()),
            system_roots: true,
            client: Some(("me.pem".into(), "/me.key".into())),
        },
        proxy: Proxy::at("http://p:3128"),
        auth: Some(OriginAuth::Basic { user: "me".to_owned(), password: Secret::file("/run/secrets/pw") }),
    };
    assert_eq!(table.origin.wire, wire);
    assert_eq!(table.origin.connect_timeout, Duration::from_millis(250));
    assert_eq!(table.origin.timeout, Duration::from_secs(120));
    assert_eq!(table.origin.settle_window, Duration::ZERO);
    assert_eq!(table.origin.max_body_bytes, 512 << 10);
    assert_eq!(table.origin.freshness, Freshness::Origin);
    assert_eq!((table.origin.preconditions, table.origin.patch), (Preconditions::Honoured, Patches::Merge));
    let origin = &table.origin;
    assert_eq!((origin.max_in_flight, origin.max_queued, origin.max_idle_connections), (3, 0, 0));
    let ages = [origin.max_idle_age, origin.write_max_idle_age, origin.name_ttl];
    assert_eq!(ages, [0, 5, 60].map(Duration::from_secs));
    assert!(origin.versions_never_reused);
    assert_eq!((origin.idempotency, origin.idempotency_header.as_str()), (Idempotency::Honoured, "X-Key"));
    let seconds = Duration::from_secs;
    let retries = Retries::new().loads(0).writes(4).backoff(Duration::ZERO, seconds(2)).budget(0, 0);
    assert_eq!(origin.retries, retries.attempt_timeout(seconds(1)));
    let breaker = Breaker::new().window(seconds(60)).calls(5).failures_percent(75).open_for(seconds(2));
    assert_eq!(origin.breaker, Some(breaker));
    assert!(table.origin.stores_verbatim && table.absent_after_delete && table.clean_start);
    assert_eq!(table.capacity, Capacity::Entries(10_000));
    assert_eq!(table.negative_lifetime, Duration::from_secs(3600));
    assert_eq!(table.stale_while_revalidate, Duration::from_secs(2));
    assert_eq!(table.stale_if_error, Duration::from_secs(180));
    assert_eq!((table.refresh_ahead_percent, table.jitter_percent), (25, 100));
    let origin = &table.origin;
    assert_eq!((origin.heuristic_percent, origin.heuristic_longest), (10, Duration::from_secs(3600)));
    assert_eq!((&*origin.record_at, origin.record_in_array, &*origin.put_at), ("/data/a~1b", true, "/data"));
    let mut batch = BatchConfig::new("http://h/items?ids={ids}");
    (batch.separator, batch.most_keys, batch.records_at) = (";".into(), 7, "/data".into());
    (batch.key_at, batch.version_at) = (Some("/no".into()), Some("/tag".into()));
    (batch.max_body_bytes, batch.window) = (2 << 20, Duration::from_millis(3));
    assert_eq!(origin.batch, Some(batch));
    let mut list = ListConfig::new("http://h/items?all");
    (list.records_at, list.max_body_bytes) = ("/data".into(), 3 << 20);
    (list.key_at, list.version_at) = (Some("/no".into()), Some("/tag".into()));
    list.parts_by = vec!["only".into(), "$select".into()];
    assert!(!format!("{list:?}").contains("all"), "a query may hold a secret");
    assert_eq!(origin.list, Some(list));
    let create = origin.create.as_ref().unwrap();
    assert_eq!((&*create.url, create.key_at.as_deref()), ("http://h/items", Some("/no")));
    assert!(parse(&with("      last_modified: true\n", "")).unwrap().tables[0].origin.last_modified);
    assert_eq!(table.in_doubt_writes, InDoubtWrites::Wait);
    assert_eq!(table.audit_every, Some(Duration::from_secs(2)));
    let optimistic = &table.optimistic;
    assert_eq!((optimistic.writes, optimistic.threads, optimistic.outcomes), (5, 1, 7));
    assert_eq!((optimistic.timeout, optimistic.outcomes_for), (Some(Duration::from_secs(60)), Duration::ZERO));
    let text = with("      breaker: { enabled: false, calls: 5 }\n", "");
    assert_eq!(parse(&text).unwrap().tables[0].origin.breaker, None);
    let text = with("", "    optimistic: { weight: 1KiB }\n");
    assert_eq!(parse(&text).unwrap().tables[0].optimistic.weight_bytes, 1024);
}

#[test]
fn every_error_names_its_place() {
    let origin = |line: &str| with(&format!("      {line}\n"), "");
    let table = |line: &str| with("", &format!("    {line}\n"));
    let top = |line: &str| with("", &format!("{line}\n"));
    let duration = "hint: write a whole number and a unit: 500ms, 5s, 2m, 1h";
    let audit = "hint: write how many a second: 1, 10, 0.1 for one in ten seconds; 0 for none";
    let size = "hint: write a whole number and a unit: 512B, 64KiB, 64MiB, 1GiB";
    let dollar = "hint: write ${NAME} for a variable of the environment, $$ for a dollar sign";
    let auth = "hint: write one: auth: { bearer: \"${TOKEN}\" }, or auth: { basic: { user: me, password: { file: /run/secrets/pw } } }";
    let example = "hint: a table is written: tables: { Item: { origin: { url: \"http://host/items/{id}\" } } }";
    let cases = [
        // Keys.
        (origin("timeuot: 5s"), "5:7: unknown key timeuot\n  hint: did you mean timeout?".to_owned()),
        (table("expiration: 5"), "5:5: unknown key expiration\n  hint: known: origin, capacity, negative_lifetime, stale_while_revalidate, stale_if_error, refresh_ahead, jitter, in_doubt_writes, absent_after_delete, clean_start, audit, optimistic, subscribe, changes, events".into()),
        (format!("{}lissten: 5\n", with("", "")), "5:1: unknown key lissten\n  hint: did you mean listen?".into()),
        (top("log: xml"), "5:6: log: unknown value \"xml\"\n  hint: known: text, json".into()),
        (top("access_log: ''"), "5:13: access_log: \"\" is not a file's name\n  hint: write a path, from the folder of this file".into()),
        (top("telemetry: {}"), "5:1: telemetry lacks traces\n  hint: write: traces: http://127.0.0.1:4318/v1/traces".into()),
        (top("telemetry: { trace: x }"), "5:1: telemetry lacks traces\n  hint: write: traces: http://127.0.0.1:4318/v1/traces\nc:5:14: unknown key trace\n  hint: did you mean traces?".into()),
        (top("telemetry: { traces: localhost }"), "5:22: traces: not an absolute URL\n  hint: write: http://host:port/path".into()),
        (top("telemetry: { traces: 'http://c/', sample: 101% }"), "5:43: sample: \"101%\" is not a share from 0% to 100%\n  hint: write a whole number and a percent sign: 20%".into()),
        (top("telemetry: { traces: 'http://c/', service: ' ' }"), "5:44: service: a service without a name\n  hint: write what this server is called: inventory-cache".into()),
        (top("telemetry: { traces: 'http://c/', headers: { content-type: x } }"), "5:35: headers: Content-Type is application/json, and no other\n  hint: leave it out".into()),
        (origin("timeout: 5s\n      timeout: 6s"), "6:7: key timeout stands here twice, first in line 5".into()),
        (origin("\"url\": http://h/{id}"), "5:7: key url stands here twice, first in line 4".into()),
        (origin("? [a]\n      : b"), "5:9: a key must be a text".into()),
        // Shapes.
        (String::new(), format!("1:1: the file is empty\n  {example}")),
        ("# nothing\n---\n".into(), format!("1:1: the file is empty\n  {example}")),
        ("{}".into(), format!("1:1: the configuration lacks tables\n  {example}")),
        ("- a".into(), "1:1: the configuration: expected a map, got a list".into()),
        ("tables:\n  InventoryItem: 5".into(), "2:18: InventoryItem: expected a map, got a text".into()),
        ("tables: {InventoryItem: {capacity: 1KiB}}".into(), "1:10: table InventoryItem lacks an origin\n  hint: add: origin: { url: \"http://host/items/{id}\" }".into()),
        ("tables: {InventoryItem: {origin: {timeout: 5s}}}".into(), "1:26: origin lacks a url\n  hint: write: url: \"http://host:port/path/{id}\"".into()),
        (origin("timeout: [5s]"), "5:16: timeout: expected a value, got a list".into()),
        (origin("timeout:"), "5:14: timeout: expected a value, got nothing".into()),
        (origin("headers: Bearer"), "5:16: headers: expected a map, got a text".into()),
        // Tables.
        (with("", "  InventoryItems: {origin: {url: 'http://h/{id}'}}\n"), "5:3: table InventoryItems is not in the schema\n  hint: did you mean InventoryItem?".into()),
        (with("", "  Warehouse: {origin: {url: 'http://h/{id}'}}\n"), "5:3: table Warehouse is not in the schema\n  hint: declare it: type Warehouse @table { … }".into()),
        ("listen: 127.0.0.1:1\ntables: {}".into(), "2:1: table InventoryItem of the schema is not configured\n  hint: add InventoryItem below tables, with an origin".into()),
        // Values.
        ("listen: 0.0.0.0:80\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:9: listen: others than this machine reach that address, and this server asks nobody who they are\n  hint: if that is meant, write: public: true".into()),
        ("tls: {key: a}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:6: tls lacks certificate\n  hint: write: tls: { certificate: FILE, key: FILE }".into()),
        ("auth: {principal: {}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:8: unknown key principal\n  hint: did you mean principals?".into()),
        ("auth: {anonymous: {Item: read}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:20: table Item is not in the schema\n  hint: write \"*\" for all tables that are not named".into()),
        ("auth: {anonymous: {\"*\": reed}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:25: *: \"reed\" is not a list of what may be asked\n  hint: did you mean read?".into()),
        ("auth: {anonymous: {\"*\": [read]}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:25: *: expected a text, got a list\n  hint: write the words in one text: read, put".into()),
        ("auth: {principals: {\"a:b\": {token_sha256: abababababababababababababababababababababababababababababababab}}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:21: \"a:b\" is no name of a principal\n  hint: 1 to 128 bytes, without a colon and without control characters".into()),
        ("auth: {principals: {a: {}}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:21: a lacks token_sha256, or password\n  hint: wtcache hash token, or wtcache hash password, prints one".into()),
        ("auth: {principals: {a: {token_sha256: secret}}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:39: token_sha256: not the SHA-256 of a token, 64 hexadecimal digits\n  hint: write what wtcache hash prints".into()),
        ("auth: {principals: {a: {password: \"$$argon2id$$v=19\"}}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:35: password: not the Argon2 hash of a password\n  hint: write what wtcache hash prints".into()),
        ("auth: {principals: {a: {token_sha256: abababababababababababababababababababababababababababababababab}, b: {token_sha256: abababababababababababababababababababababababababababababababab}}}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:109: b: another principal has the same token\n  hint: each has a token of its own: wtcache hash token".into()),
        ("admin: '[2001:db8::1]:80'\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:8: admin: others than this machine reach that address, and this server asks nobody who they are\n  hint: if that is meant, write: public: true".into()),
        ("admin: nowhere\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:8: admin: \"nowhere\" is not an address and a port\n  hint: write an IP address and a port, none, or same (as listen)".into()),
        ("limits: {head: 1B}\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:16: head: \"1B\" is not from 1KiB to 1MiB\n  hint: write a size such as 16KiB".into()),
        ("listen: localhost:80\ntables: {InventoryItem: {origin: {url: 'http://h/{id}'}}}".into(), "1:9: listen: \"localhost:80\" is not an address and a port\n  hint: write an IP address and a port: 127.0.0.1:9926".into()),
        (table("subscribe: { url: /c, cursor: since }"), "5:27: cursor: a stream is not polled\n  hint: leave it out, or write kind: poll".into()),
        (table("subscribe: { url: /c, kind: poll, cursor: a&b }"), "5:47: cursor: letters, digits and - . _ ~ are taken\n  hint: write a name: cursor".into()),
        (table("subscribe: { url: /c, kind: poll, poll_every: 0s }"), "5:51: poll_every: a deadline cannot be zero\n  hint: write a whole number and a unit: 500ms, 5s".into()),
        (origin("timeout: 5"), format!("5:16: timeout: \"5\" is not a duration\n  {duration}")),
        (origin("timeout: 1.5s"), format!("5:16: timeout: \"1.5s\" is not a duration\n  {duration}")),
        (origin("timeout: -5s"), format!("5:16: timeout: \"-5s\" is not a duration\n  {duration}")),
        (origin("timeout: 5 parsecs"), format!("5:16: timeout: \"5 parsecs\" is not a duration\n  {duration}")),
        (origin("timeout: 99999999999999999999s"), format!("5:16: timeout: \"99999999999999999999s\" is not a duration\n  {duration}")),
        (origin("timeout: 9999999999h"), "5:16: timeout: \"9999999999h\" is more than a year\n  hint: at most 8760h".into()),
        (origin("timeout: 0s"), "5:16: timeout: a deadline cannot be zero\n  hint: write a whole number and a unit: 500ms, 5s".into()),
        (origin("connect_timeout: 0ms"), "5:24: connect_timeout: a deadline cannot be zero\n  hint: write a whole number and a unit: 500ms, 5s".into()),
        (origin("max_body: 5"), format!("5:17: max_body: \"5\" is not a size\n  {size}")),
        (origin("max_body: 1MB"), format!("5:17: max_body: \"1MB\" is not a size\n  {size}")),
        (origin("max_body: 99999999999GiB"), format!("5:17: max_body: \"99999999999GiB\" is not a size\n  {size}")),
        (origin("max_body: 0B"), format!("5:17: max_body: a size cannot be zero\n  {size}")),
        (table("capacity: many entries"), "5:15: capacity: \"many entries\" is not a count of entries\n  hint: write a size, 64MiB, or a count, 10000 entries".into()),
        (table("capacity: 0 entries"), "5:15: capacity: a count cannot be zero\n  hint: write a size, 64MiB, or a count, 10000 entries".into()),
        (table("audit: often"), format!("5:12: audit: \"often\" is not a number\n  {audit}")),
        (table("audit: -1"), format!("5:12: audit: \"-1\" is not a number\n  {audit}")),
        (table("audit: inf"), format!("5:12: audit: \"inf\" is not a number\n  {audit}")),
        (table("audit: 1e3"), format!("5:12: audit: \"1e3\" is not a number\n  {audit}")),
        (table("audit: 1001"), format!("5:12: audit: \"1001\" is not from 0.001 to 1000\n  {audit}")),
        (table("audit: 0.0001"), format!("5:12: audit: \"0.0001\" is not from 0.001 to 1000\n  {audit}")),
        (table("capacity: 64"), "5:15: capacity: \"64\" is not a size\n  hint: write a size, 64MiB, or a count, 10000 entries".into()),
        (table("optimistic: true"), "5:17: optimistic: expected a map, got a text".into()),
        (origin("heuristic: 0.1"), "5:18: heuristic: \"0.1\" is not a share from 0% to 100%\n  hint: write a whole number and a percent sign: 20%".into()),
        (origin("record_at: data"), "5:18: record_at: \"data\" is not a JSON pointer\n  hint: write: /data, or /a/b; ~1 is a slash, ~0 a tilde".into()),
        (origin("put_at: /a~2"), "5:15: put_at: \"/a~2\" is not a JSON pointer\n  hint: write: /data, or /a/b; ~1 is a slash, ~0 a tilde".into()),
        (origin("last_modified: true\n      preconditions: honoured"), "5:7: last_modified: no write can be conditional on a date\n  hint: with preconditions: honoured, leave last_modified out".into()),
        (table("refresh_ahead: 100%"), "5:20: refresh_ahead: \"100%\" is not a share from 0% to 99%\n  hint: write a whole number and a percent sign: 20%".into()),
        (table("jitter: 101%"), "5:13: jitter: \"101%\" is not a share from 0% to 100%\n  hint: write a whole number and a percent sign: 20%".into()),
        (table("optimistic: { write: 5 }"), "5:19: unknown key write\n  hint: did you mean writes?".into()),
        (table("optimistic: { writes: 0 }"), "5:27: writes: \"0\" is not a whole number from 1 to 10000000\n  hint: write a number: 16".into()),
        (table("optimistic: { threads: +4 }"), "5:28: threads: \"+4\" is not a whole number from 1 to 1024\n  hint: write a number: 16".into()),
        (table("optimistic: { threads: 1025 }"), "5:28: threads: \"1025\" is not a whole number from 1 to 1024\n  hint: write a number: 16".into()),
        (table("optimistic: { outcomes: many }"), "5:29: outcomes: \"many\" is not a whole number from 1 to 10000000\n  hint: write a number: 16".into()),
        (table("optimistic: { timeout: 0s }"), "5:28: timeout: a deadline cannot be zero\n  hint: write a whole number and a unit: 500ms, 5s".into()),
        (table("optimistic: { weight: 5 entries }"), format!("5:27: weight: \"5 entries\" is not a size\n  {size}")),
        (table("capacity: 5 entries\n    optimistic: { weight: 1KiB }"), "6:19: weight: where capacity is a number of entries, writes have no weight in bytes\n  hint: leave weight out, and bound the number: writes: 1000".into()),
        (origin("freshness: tabel"), "5:18: freshness: unknown value \"tabel\"\n  hint: did you mean table?".into()),
        (origin("idempotency: yes"), "5:20: idempotency: unknown value \"yes\"\n  hint: known: unchecked, honoured".into()),
        (origin("idempotency_header: a b"), "5:27: idempotency_header: \"a b\" is no header for it\n  hint: letters, digits and hyphens, as in X-Api-Key".into()),
        (origin("max_in_flight: 0"), "5:22: max_in_flight: \"0\" is not a whole number from 1 to 1000000\n  hint: write a number: 16".into()),
        (origin("batch: { most_keys: 5 }"), "5:7: batch lacks a url\n  hint: write: url: \"http://host:port/path?ids={ids}\"".into()),
        (origin("batch: { url: \"http://h/items/{id}\" }"), "5:21: url: the URL lacks the placeholder {ids}\n  hint: write: http://host:port/path?ids={ids}".into()),
        (origin("batch: { url: \"http://h/{ids}\", most_keys: 0 }"), "5:50: most_keys: \"0\" is not a whole number from 1 to 10000\n  hint: write a number: 16".into()),
        (origin("batch: { url: \"http://h/{ids}\", window: 2s }"), "5:47: window: \"2s\" is more than a second\n  hint: write a short time: 2ms".into()),
        (origin("batch: { url: \"http://h/{ids}\", urls: 1 }"), "5:39: unknown key urls\n  hint: did you mean url?".into()),
        (origin("list: { key_at: /id }"), "5:7: list lacks a url\n  hint: write: url: \"http://host:port/path\"".into()),
        (origin("list: { url: \"http://h/{id}\" }"), "5:20: url: a URL without a placeholder is wanted\n  hint: write: http://host:port/path".into()),
        (origin("list: { url: \"http://h/\", parts_by: \"a,,b\" }"), "5:43: parts_by: \"a,,b\" is not a list of names\n  hint: write: select, fields".into()),
        (origin("create: { key_at: /id }"), "5:7: create lacks a url\n  hint: write: url: \"http://host:port/path\"".into()),
        (origin("create: { url: \"http://h/{id}\" }"), "5:22: url: a URL without a placeholder is wanted\n  hint: write: http://host:port/path".into()),
        (origin("create: { url: \"/items\" }"), "5:22: url: not an absolute URL\n  hint: write: http://host:port/path".into()),
        (origin("max_queued: -1"), "5:19: max_queued: \"-1\" is not a whole number from 0 to 1000000\n  hint: write a number: 2".into()),
        (origin("retries: 3"), "5:16: retries: expected a map, got a text".into()),
        (origin("retries: { reads: 3 }"), "5:18: unknown key reads\n  hint: known: loads, writes, base, cap, budget, burst, attempt_timeout".into()),
        (origin("retries: { loads: 101 }"), "5:25: loads: \"101\" is not a whole number from 0 to 100\n  hint: write a number: 2".into()),
        (origin("retries: { budget: 20 }"), "5:26: budget: \"20\" is not a share from 0% to 1000%\n  hint: write a whole number and a percent sign: 20%".into()),
        (origin("retries: { base: 2s }"), "5:18: retries: base is longer than cap\n  hint: no pause is longer than cap: write base: 50ms, cap: 1s".into()),
        (origin("breaker: { failures: 0% }"), "5:28: failures: \"0%\" is not a share from 1% to 100%\n  hint: write a whole number and a percent sign: 20%".into()),
        (origin("breaker: { open_for: 0s }"), "5:28: open_for: a deadline cannot be zero\n  hint: write a whole number and a unit: 500ms, 5s".into()),
        (origin("breaker: false"), "5:16: breaker: expected a map, got a text".into()),
        (origin("patch: yes"), "5:14: patch: unknown value \"yes\"\n  hint: known: put, merge".into()),
        (origin("preconditions: no"), "5:22: preconditions: unknown value \"no\"\n  hint: known: unchecked, honoured".into()),
        (table("in_doubt_writes: drop"), "5:22: in_doubt_writes: unknown value \"drop\"\n  hint: known: send, wait".into()),
        (table("clean_start: yes"), "5:18: clean_start: \"yes\" is neither true nor false\n  hint: write true or false".into()),
        // The environment.
        (origin("max_body: ${MAX}"), "5:17: max_body: the environment has no variable MAX\n  hint: export MAX=...".into()),
        (origin("headers: {A: \"é ${INVENTORY_API_KEY} ${NO_SUCH}\"}"), "5:44: A: the environment has no variable NO_SUCH\n  hint: export NO_SUCH=...".into()),
        (origin("headers:\n        A: 'b ${NO_SUCH}'"), "6:15: A: the environment has no variable NO_SUCH\n  hint: export NO_SUCH=...".into()),
        (origin("headers:\n        A: \"\\x41 ${NO_SUCH}\""), "6:12: A: the environment has no variable NO_SUCH\n  hint: export NO_SUCH=...".into()),
        (origin("headers:\n        A: b\n         ${NO_SUCH}"), "6:12: A: the environment has no variable NO_SUCH\n  hint: export NO_SUCH=...".into()),
        (origin("max_body: $MAX"), format!("5:17: max_body: a dollar sign that begins no variable\n  {dollar}")),
        (origin("max_body: 1${}"), format!("5:18: max_body: a dollar sign that begins no variable\n  {dollar}")),
        (origin("max_body: ${A-b}"), format!("5:17: max_body: a dollar sign that begins no variable\n  {dollar}")),
        (origin("max_body: ${MAX"), format!("5:17: max_body: a dollar sign that begins no variable\n  {dollar}")),
        (origin("timeout: ${NO_URL}"), format!("5:16: timeout: \"${{NO_URL}}\" is not a duration\n  {duration}")),
        // Headers.
        (origin("headers: {\"A B\": c}"), "5:17: \"A B\" is not a header's name\n  hint: letters, digits and hyphens, as in X-Api-Key".into()),
        (origin("headers: {\"\": c}"), "5:17: \"\" is not a header's name\n  hint: letters, digits and hyphens, as in X-Api-Key".into()),
        (origin("headers: {content-length: 5}"), "5:17: header content-length is written by the HTTP client\n  hint: leave it out".into()),
        (origin("headers: {A: b, a: c}"), "5:23: header a is given twice\n  hint: the case of a header's name does not matter".into()),
        (origin("headers: {A: \"${BROKEN_KEY}\"}"), "5:20: A: the value holds a line break\n  hint: check the end of the variable's value, if it is one".into()),
        (origin("headers: {A: \"b\\r\\nC: d\"}"), "5:20: A: the value holds a line break\n  hint: check the end of the variable's value, if it is one".into()),
        (origin("headers: {A: \"${ODD_KEY}\"}"), "5:20: A: the value holds a character that a header cannot carry\n  hint: only visible ASCII and spaces".into()),
        (origin("headers:\n        A:"), "6:10: A: expected a value, got nothing".into()),
        // How an origin is reached.
        (origin("compression: gzip"), "5:20: compression: \"gzip\" is neither true nor false\n  hint: write true or false".into()),
        (origin("tls: /ca.pem"), "5:12: tls: expected a map, got a text".into()),
        (origin("tls: { root: x }"), "5:14: unknown key root\n  hint: did you mean roots?".into()),
        (origin("tls: { roots: '' }"), "5:21: roots: the path is empty\n  hint: write the path of a file".into()),
        (origin("tls: { certificate: x }"), "5:14: tls: certificate and key go together\n  hint: both may be the same file".into()),
        (origin("tls: { key: x }"), "5:14: tls: certificate and key go together\n  hint: both may be the same file".into()),
        (origin("proxy: maybe"), "5:14: proxy: \"maybe\" is no proxy\n  hint: write none, environment, or a URL: http://proxy.internal:3128".into()),
        (origin("auth: { token: x }"), format!("5:7: auth: one of bearer and basic is expected\n  {auth}\nc:5:15: unknown key token\n  hint: known: bearer, basic")),
        (origin("auth: { bearer: x, basic: { user: a, password: b } }"), format!("5:7: auth: one of bearer and basic is expected\n  {auth}")),
        (origin("auth: { basic: { user: a } }"), format!("5:15: basic lacks a user or a password\n  {auth}")),
        (origin("auth: { basic: { user: 'a:b', password: c } }"), "5:30: user: a user's name has no colon".into()),
        (origin("auth: { bearer: {} }"), "5:23: bearer lacks a file\n  hint: write: { file: /run/secrets/token }".into()),
        (origin("headers: { authorization: x }\n      auth: { bearer: x }"), "6:7: auth: headers hold Authorization already\n  hint: leave out one of both".into()),
        (origin("headers: { A: { path: x } }"), "5:21: A lacks a file\n  hint: write: { file: /run/secrets/token }\nc:5:23: unknown key path\n  hint: known: file".into()),
        // YAML.
        (origin("timeout: &a 5s"), "5:19: anchors (&) are not supported\n  hint: write the value out where it is used".into()),
        (origin("timeout: !str 5s"), "5:21: tags (!) are not supported\n  hint: leave the tag out".into()),
        (format!("{}---\na: b\n", with("", "")), "5:1: a second document\n  hint: a configuration is one YAML document".into()),
        ((0..20).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(), "17:17: nested too deeply".into()),
        ("[".repeat(1000), "1:256: YAML syntax error: recursion limit exceeded".into()),
        ("a: b: c".into(), "1:5: YAML syntax error: mapping values are not allowed in this context".into()),
        ("a: \"b".into(), "1:4: YAML syntax error: unclosed quote".into()),
        ("a: *b".into(), "1:4: YAML syntax error: while parsing node, found unknown anchor".into()),
        ("a:\n\t- b".into(), "2:2: YAML syntax error: tabs disallowed within this context (block indentation)".into()),
        ("@".into(), "1:1: YAML syntax error: unexpected character: `@'".into()),
    ];
    let mut failed = 0;
    for (text, expected) in cases {
        let found = parse(&text).expect_err(&text);
        if found != format!("c:{expected}") {
            failed += 1;
            eprintln!("--- {}\nexpected c:{expected}\n   found {found}", &text[..text.len().min(200)]);
        }
    }
    assert_eq!(failed, 0);
}

#[test]
fn a_url_is_absolute_and_holds_its_placeholder_once() {
    let write = "hint: write: http://host:port/path/{id}, or http://host/path?key={id}";
    let cases = [
        ("h/{id}", format!("not an absolute URL\n  {write}")),
        ("/items/{id}", format!("not an absolute URL\n  {write}")),
        ("", format!("not an absolute URL\n  {write}")),
        ("ftp://h/{id}", format!("not an http or https URL\n  {write}")),
        ("{id}://h/{id}", format!("not an http or https URL\n  {write}")),
        ("http://u:p@h/{id}", "a URL must not hold credentials\n  hint: send them as a header: headers: { Authorization: \"Basic ${NAME}\" }".into()),
        ("http://{id}/a", format!("{{id}} stands outside the URL's path and query\n  {write}")),
        ("http://h/{id}?b={id}", format!("the placeholder {{id}} stands in the URL twice\n  {write}")),
        ("http:///{id}", format!("the URL's host or port is malformed\n  {write}")),
        ("http://h:0/{id}", format!("the URL's host or port is malformed\n  {write}")),
        ("http://h:99999/{id}", format!("the URL's host or port is malformed\n  {write}")),
        ("http://h:/{id}", format!("the URL's host or port is malformed\n  {write}")),
        ("http://h:+80/{id}", format!("the URL's host or port is malformed\n  {write}")),
        ("http://[::1/{id}", format!("the URL's host or port is malformed\n  {write}")),
        ("http://[h]/{id}", format!("the URL's host or port is malformed\n  {write}")),
        ("http://h\\i/{id}", format!("the URL's host or port is malformed\n  {write}")),
        ("http://h/{id}#a", "a URL of an origin has no fragment (#)\n  hint: write %23 for a # in a path".into()),
        ("http://h/items", format!("the URL lacks the placeholder {{id}}\n  {write}")),
        ("http://h", format!("the URL lacks the placeholder {{id}}\n  {write}")),
        ("http://h/{id}/{id}", format!("the placeholder {{id}} stands in the URL twice\n  {write}")),
        ("http://h/{id}/{name}", format!("a placeholder other than {{id}}\n  {write}")),
        ("http://h/{id}/a b", "a character that a URL cannot hold\n  hint: percent-encode it".into()),
        ("http://h/{id}/\u{e9}", "a character that a URL cannot hold\n  hint: percent-encode it".into()),
    ];
    for (url, expected) in cases {
        let text = format!("tables:\n  InventoryItem:\n    origin:\n      url: '{url}'\n");
        assert_eq!(parse(&text).expect_err(url), format!("c:4:12: url: {expected}"), "{url}");
    }
    for url in [
        "https://h.example:8443/a/{id}.json?x=1",
        "http://h/items?id=eq.{id}&select=*",
        "http://[::1]:80/{id}",
        "HTTP://h/%20/{id}/b",
    ] {
        let text = format!("tables:\n  InventoryItem:\n    origin:\n      url: '{url}'\n");
        assert_eq!(parse(&text).unwrap().tables[0].origin.url, url);
    }
}

#[test]
fn a_missing_variable_is_named_where_it_is_used() {
    let errors = Config::parse("config.yaml", DOCUMENTED.as_bytes(), &schema(), &|_| None).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "config.yaml:5:12: url: the environment has no variable INVENTORY_API\n  hint: export INVENTORY_API=...\n\
         config.yaml:7:31: Authorization: the environment has no variable INVENTORY_API_KEY\n  \
         hint: export INVENTORY_API_KEY=..."
    );
}

#[test]
fn no_secret_is_printed() {
    let config = documented();
    let debug = format!("{config:?} {config:#?}");
    assert!(!debug.contains(SECRET), "{debug}");
    assert!(debug.contains("headers: [Authorization: [redacted]]"), "{debug}");
    let held = with("      auth: { bearer: \"${NO_URL}\" }\n      proxy: \"${WITH_PASSWORD}\"\n", "");
    assert!(!format!("{:?}", parse(&held).unwrap()).contains(SECRET));
    let origin = OriginConfig::new(format!("http://h/{{id}}?key={SECRET}"));
    assert!(!format!("{origin:?}").contains(SECRET));
    let lines = [
        "url: ${WITH_PASSWORD}/{id}",
        "url: ${NO_URL}",
        "url: ftp://${NO_URL}/{id}",
        "timeout: ${NO_URL}",
        "max_body: ${NO_URL}",
        "freshness: ${NO_URL}",
        "stores_verbatim: ${NO_URL}",
        "headers: {A: \"${BROKEN_KEY}\"}",
        "headers: {A: \"${ODD_KEY}\"}",
        "headers: [\"s3cr3t-value\"]",
        "headers: s3cr3t-value",
        "headers: {A: {b: [s3cr3t-value]}}",
        "proxy: ${NO_URL}",
        "auth: s3cr3t-value",
        "auth: {bearer: \"${BROKEN_KEY}\"}",
        "auth: {bearer: {file: [s3cr3t-value]}}",
        "auth: {basic: {user: \"a:${NO_URL}\", password: \"${NO_URL}\"}}",
    ];
    for line in lines {
        let text = format!("tables:\n  InventoryItem:\n    origin:\n      {line}\n");
        let error = Config::parse("c", text.as_bytes(), &schema(), &environment).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
    }
    for line in ["listen: ${NO_URL}", "tables: {InventoryItem: {capacity: \"${NO_URL}\"}}"] {
        assert!(!parse(line).unwrap_err().contains(SECRET), "{line}");
    }
}

#[test]
fn bounded_and_decodable_input_only() {
    let error = Config::parse("c", &vec![b'#'; (1 << 20) + 1], &schema(), &environment).unwrap_err();
    assert_eq!(error.to_string(), "c:1:1: the file is larger than 1048576 bytes");
    let error = Config::parse("c", b"a: \xff", &schema(), &environment).unwrap_err();
    assert_eq!(error.to_string(), "c:1:4: the file is not UTF-8\n  hint: save it as UTF-8 text");
    let text = format!("listen: {}", "${KIB}".repeat(65));
    let kib = |_: &str| Some("x".repeat(1024));
    let error = Config::parse("c", text.as_bytes(), &schema(), &kib).unwrap_err().to_string();
    assert!(error.contains("c:1:9: listen: longer than 65536 bytes"), "{error}");
    let text = format!("listen: {}", "${NO_SUCH}".repeat(100_000));
    let errors = Config::parse("c", text.as_bytes(), &schema(), &environment).unwrap_err();
    assert_eq!(errors.iter().count(), 9, "eight of the text, one of the lacking tables");
}

/// A directory of this test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wtcache-config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a new directory");
        Self(path)
    }

    fn errors(&self) -> String {
        let text = load(&self.0, &environment).expect_err("errors").to_string();
        text.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_directory_is_loaded_or_all_its_errors_are_told() {
    let directory = Directory::new("load");
    assert_eq!(
        directory.errors(),
        "schema.graphql:1:1: the file is missing\n  hint: create schema.graphql, or name its directory\n\
         config.yaml:1:1: the file is missing\n  hint: create config.yaml, or name its directory"
    );
    fs::write(directory.0.join("schema.graphql"), "type InventoryItem @tabel { id: ID @primaryKey }").unwrap();
    fs::write(directory.0.join("config.yaml"), DOCUMENTED.replace("timeout: 5s", "timeout: 5")).unwrap();
    assert_eq!(
        directory.errors(),
        "schema.graphql:1:20: unknown directive @tabel\n  hint: did you mean @table?\n\
         config.yaml:9:16: timeout: \"5\" is not a duration\n  \
         hint: write a whole number and a unit: 500ms, 5s, 2m, 1h"
    );
    fs::write(directory.0.join("schema.graphql"), "type InventoryItem @table { id: ID @primaryKey }").unwrap();
    fs::write(directory.0.join("config.yaml"), DOCUMENTED).unwrap();
    assert_eq!(load(&directory.0, &environment), Ok((schema(), documented())));
    fs::remove_file(directory.0.join("config.yaml")).unwrap();
    fs::create_dir(directory.0.join("config.yaml")).unwrap();
    assert!(directory.errors().starts_with("config.yaml:1:1: the file cannot be read: "));
}

proptest! {
    #[test]
    fn no_bytes_make_the_configuration_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Config::parse("c", &bytes, &schema(), &environment);
    }

    #[test]
    fn no_tokens_make_the_configuration_panic(
        tokens in proptest::collection::vec(
            prop::sample::select(vec![
                "tables:", "InventoryItem", "origin:", "url:", "headers:", "timeout:", "listen:", ":", ": ", "- ", "? ",
                "{", "}", "[", "]", ",", "'", "\"", "\\", "\\x4", "|", ">", "|-2", "&a", "*a", "!t", "%YAML 1.2", "---",
                "...", "#", "\n", "\n  ", "\n    ", "\n\t", "\r", " ", "~", "é", "\u{85}", "\u{feff}", "<<", "@", "`",
                "${", "$", "$$", "${NO_URL}", "http://h/{id}", "5s", "1MiB", "entries", "\u{2028}", "\0",
            ]),
            0..40,
        )
    ) {
        let _ = Config::parse("c", tokens.concat().as_bytes(), &schema(), &environment);
        let text = with(&format!("      {}\n", tokens.join(" ")), "");
        let _ = Config::parse("c", text.as_bytes(), &schema(), &environment);
    }

    #[test]
    fn no_value_makes_the_configuration_panic(value in "[ -&(-~é]{0,30}") {
        for key in ["url", "timeout", "max_body", "freshness"] {
            let text = format!("tables: {{InventoryItem: {{origin: {{{key}: '{value}'}}}}}}");
            let _ = Config::parse("c", text.as_bytes(), &schema(), &environment);
        }
        let text = format!("listen: '{value}'\ntables: {{InventoryItem: {{capacity: '{value}'}}}}");
        let _ = Config::parse("c", text.as_bytes(), &schema(), &environment);
    }
}

/// What is not kept for so long cannot be served stale.
#[test]
fn no_window_is_longer_than_the_eviction_that_the_schema_says() {
    let schema = Schema::parse("s", b"type I @table(expiration: 5, eviction: 30) { id: ID @primaryKey }").unwrap();
    let parse = |window: &str| {
        let text = format!("tables:\n  I:\n    origin: {{ url: \"http://h/{{id}}\" }}\n    {window}\n");
        Config::parse("c", text.as_bytes(), &schema, &|_| None).map_err(|errors| errors.to_string())
    };
    for key in ["stale_if_error", "stale_while_revalidate"] {
        assert!(parse(&format!("{key}: 30s")).is_ok());
        let column = key.len() + 7;
        let expected = format!(
            "c:4:{column}: {key}: longer than the eviction of 30 s that the schema says\n  \
             hint: what has expired is not kept for so long: make eviction longer"
        );
        assert_eq!(parse(&format!("{key}: 31s")).unwrap_err(), expected);
    }
}
