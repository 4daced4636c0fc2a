#![no_main]
//! The configuration parser on arbitrary bytes, with a schema of two tables.
//!
//! It never panics; an error has a place inside the text, and nothing of what the environment holds; a configuration that was
//! read has the schema's tables and, written out again, reads as the same configuration; its `Debug` output has no header's
//! value; opening its tables' sources ends with a source or an error.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use wtcache_fuzz::check_places;
use wtcache_http_source::{Proxy, Secret};
use wtcache_server::config::{
    Capacity, Config, Freshness, InDoubtWrites, OriginAuth, OriginConfig, Patches, Preconditions, TableConfig,
    WireConfig,
};
use wtcache_server::schema::Schema;
use wtcache_server::table::origin_of;

/// What the environment's one secret holds: it is in no text that anyone writes by chance.
const SECRET: &str = "k9#vQ\u{7}-7!x";
/// What is left of it where control characters are escaped.
const OF_THE_SECRET: [&str; 2] = ["k9#vQ", "-7!x"];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let text = b"type Item @table { id: ID @primaryKey } type Part @table { id: String! @primaryKey n: Int @indexed }";
    Schema::parse("schema.graphql", text).expect("it is one")
});

fuzz_target!(|bytes: &[u8]| {
    let read = parse(bytes);
    assert_eq!(read, parse(bytes), "the same text reads differently the second time");
    match read {
        Ok(mut config) => {
            has_the_tables(&config);
            let shown = format!("{config:?}");
            for table in &config.tables {
                let values = table.origin.headers.iter().filter_map(|header| text_of(&header.value));
                // A short value may stand there by chance.
                for value in values.filter(|value| value.len() > 60) {
                    assert!(!shown.contains(value.as_str()), "{value:?} is shown in {shown}");
                }
                let schema = SCHEMA.table(&table.name).expect("checked above");
                let _source_or_error = origin_of(schema, &without_files(&table.origin));
            }
            // Nothing tells a proxy's URL.
            for table in &mut config.tables {
                table.origin.wire.proxy = Proxy::none();
            }
            let written = written(&config);
            let again = Config::parse("c", written.as_bytes(), &SCHEMA, &|_| None);
            assert_eq!(again.as_ref(), Ok(&config), "written out as:\n{written}");
        }
        Err(errors) => {
            check_places(bytes, &errors);
            let shown = format!("{errors}{errors:?}");
            let given = String::from_utf8_lossy(bytes);
            for part in OF_THE_SECRET {
                assert!(given.contains(part) || !shown.contains(part), "a secret is shown: {shown}");
            }
        }
    }
});

fn parse(bytes: &[u8]) -> Result<Config, wtcache_server::diagnostic::Diagnostics> {
    let environment = |name: &str| match name {
        "S" => Some(SECRET.to_owned()),
        "API" => Some("http://127.0.0.1:8080".to_owned()),
        "T" => Some("5s".to_owned()),
        "L" => Some("x".repeat(4096)),
        _ => None,
    };
    Config::parse("c", bytes, &SCHEMA, &environment)
}

fn has_the_tables(config: &Config) {
    let mut names: Vec<_> = config.tables.iter().map(|table| table.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Item", "Part"]);
    for table in &config.tables {
        let origin = &table.origin;
        assert_eq!(origin.url.matches("{id}").count(), 1, "{}", origin.url);
        assert!(!origin.timeout.is_zero() && !origin.connect_timeout.is_zero() && origin.max_body_bytes > 0);
        assert!(!matches!(table.capacity, Capacity::Bytes(0) | Capacity::Entries(0)));
        for header in &origin.headers {
            let text = text_of(&header.value).unwrap_or_default();
            assert!(!text.contains(['\r', '\n', '\0']), "{header:?} can end its line");
        }
    }
}

/// What is read from disk is not this target's.
fn without_files(origin: &OriginConfig) -> OriginConfig {
    let mut origin = origin.clone();
    origin.headers.retain(|header| text_of(&header.value).is_some());
    origin.wire = WireConfig { proxy: origin.wire.proxy, ..WireConfig::default() };
    origin
}

/// The text that is the value itself; one in a file is none.
fn text_of(secret: &Secret) -> Option<String> {
    if format!("{secret:?}") == "Secret([redacted])" { secret.read().ok() } else { None }
}

fn secret(secret: &Secret) -> String {
    if let Some(text) = text_of(secret) {
        return quoted(&text);
    }
    let shown = format!("{secret:?}");
    let path = shown.strip_prefix("Secret(file ").and_then(|rest| rest.strip_suffix(')')).expect("it is a file's");
    format!("{{ file: {} }}", quoted(path))
}

/// The configuration in its own language: all settings, also where they are the defaults.
fn written(config: &Config) -> String {
    let limits = &config.limits;
    let mut out = format!(
        "listen: {}\npublic: {}\nadmin: {}\nlimits: {{ connections: {}, head: {}B, head_timeout: {}, body_timeout: {}, \
         keep_alive: {} }}\ntables:\n",
        quoted(&config.listen.to_string()),
        config.public,
        quoted(&config.admin.to_string()),
        limits.connections,
        limits.head_bytes,
        millis(limits.head_timeout),
        millis(limits.body_timeout),
        millis(limits.keep_alive)
    );
    for table in &config.tables {
        written_table(table, &mut out).expect("a string takes all that is written");
    }
    out
}

fn written_wire(wire: &WireConfig, out: &mut String) -> std::fmt::Result {
    if let Some(asked_for) = wire.compression {
        writeln!(out, "      compression: {asked_for}")?;
    }
    writeln!(out, "      tls:\n        system_roots: {}", wire.tls.system_roots)?;
    let client = wire.tls.client.as_ref();
    let files = [
        ("roots", wire.tls.roots.as_ref()),
        ("certificate", client.map(|(certificate, _)| certificate)),
        ("key", client.map(|(_, key)| key)),
    ];
    for (name, path) in files {
        if let Some(path) = path {
            writeln!(out, "        {name}: {}", quoted(&path.display().to_string()))?;
        }
    }
    match &wire.auth {
        None => Ok(()),
        Some(OriginAuth::Bearer(token)) => writeln!(out, "      auth: {{ bearer: {} }}", secret(token)),
        Some(OriginAuth::Basic { user, password }) => {
            let (user, password) = (quoted(user), secret(password));
            writeln!(out, "      auth: {{ basic: {{ user: {user}, password: {password} }} }}")
        }
    }
}

fn written_table(table: &TableConfig, out: &mut String) -> std::fmt::Result {
    let origin = &table.origin;
    writeln!(out, "  {}:", quoted(&table.name))?;
    writeln!(out, "    origin:")?;
    writeln!(out, "      url: {}", quoted(&origin.url))?;
    if !origin.headers.is_empty() {
        writeln!(out, "      headers:")?;
    }
    for header in &origin.headers {
        // A key is no place for the environment: its dollar signs are its own.
        writeln!(out, "        \"{}\": {}", header.name, secret(&header.value))?;
    }
    writeln!(out, "      connect_timeout: {}", millis(origin.connect_timeout))?;
    writeln!(out, "      timeout: {}", millis(origin.timeout))?;
    writeln!(out, "      settle_window: {}", millis(origin.settle_window))?;
    writeln!(out, "      max_body: {}B", origin.max_body_bytes)?;
    let freshness = match origin.freshness {
        Freshness::Table => "table",
        Freshness::Origin => "origin",
    };
    writeln!(out, "      freshness: {freshness}")?;
    let patch = match origin.patch {
        Patches::Put => "put",
        Patches::Merge => "merge",
    };
    writeln!(out, "      patch: {patch}")?;
    let preconditions = match origin.preconditions {
        Preconditions::Unchecked => "unchecked",
        Preconditions::Honoured => "honoured",
    };
    writeln!(out, "      preconditions: {preconditions}")?;
    writeln!(out, "      stores_verbatim: {}", origin.stores_verbatim)?;
    written_wire(&origin.wire, out)?;
    writeln!(out, "      heuristic: {}%", origin.heuristic_percent)?;
    writeln!(out, "      heuristic_longest: {}", millis(origin.heuristic_longest))?;
    writeln!(out, "      last_modified: {}", origin.last_modified)?;
    writeln!(out, "      record_at: {}", quoted(&origin.record_at))?;
    writeln!(out, "      record_in_array: {}", origin.record_in_array)?;
    writeln!(out, "      put_at: {}", quoted(&origin.put_at))?;
    if let Some(batch) = &origin.batch {
        writeln!(out, "      batch:")?;
        writeln!(out, "        url: {}", quoted(&batch.url))?;
        writeln!(out, "        separator: {}", quoted(&batch.separator))?;
        writeln!(out, "        most_keys: {}", batch.most_keys)?;
        writeln!(out, "        records_at: {}", quoted(&batch.records_at))?;
        for (name, pointer) in [("key_at", &batch.key_at), ("version_at", &batch.version_at)] {
            if let Some(pointer) = pointer {
                writeln!(out, "        {name}: {}", quoted(pointer))?;
            }
        }
        writeln!(out, "        max_body: {}B", batch.max_body_bytes)?;
        writeln!(out, "        window: {}", millis(batch.window))?;
    }
    if let Some(list) = &origin.list {
        writeln!(out, "      list:")?;
        writeln!(out, "        url: {}", quoted(&list.url))?;
        writeln!(out, "        records_at: {}", quoted(&list.records_at))?;
        for (name, pointer) in [("key_at", &list.key_at), ("version_at", &list.version_at)] {
            if let Some(pointer) = pointer {
                writeln!(out, "        {name}: {}", quoted(pointer))?;
            }
        }
        writeln!(out, "        max_body: {}B", list.max_body_bytes)?;
        writeln!(out, "        parts_by: {}", quoted(&list.parts_by.join(",")))?;
    }
    if let Some(create) = &origin.create {
        writeln!(out, "      create:")?;
        writeln!(out, "        url: {}", quoted(&create.url))?;
        if let Some(pointer) = &create.key_at {
            writeln!(out, "        key_at: {}", quoted(pointer))?;
        }
    }
    match table.capacity {
        Capacity::Bytes(bytes) => writeln!(out, "    capacity: {bytes}B")?,
        Capacity::Entries(entries) => writeln!(out, "    capacity: {entries} entries")?,
    }
    writeln!(out, "    negative_lifetime: {}", millis(table.negative_lifetime))?;
    writeln!(out, "    stale_while_revalidate: {}", millis(table.stale_while_revalidate))?;
    writeln!(out, "    stale_if_error: {}", millis(table.stale_if_error))?;
    writeln!(out, "    refresh_ahead: {}%", table.refresh_ahead_percent)?;
    writeln!(out, "    jitter: {}%", table.jitter_percent)?;
    let in_doubt_writes = match table.in_doubt_writes {
        InDoubtWrites::Send => "send",
        InDoubtWrites::Wait => "wait",
    };
    writeln!(out, "    in_doubt_writes: {in_doubt_writes}")?;
    writeln!(out, "    absent_after_delete: {}", table.absent_after_delete)?;
    writeln!(out, "    clean_start: {}", table.clean_start)
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// A text in double quotes, as YAML has it, with its dollar signs doubled.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' => out.push_str("$$"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
