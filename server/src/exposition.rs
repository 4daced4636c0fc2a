//! What this server has counted: as JSON by the cache's own names, and in the text format of Prometheus (0.0.4).
//!
//! Invariant: each metric has its HELP and TYPE once, before its samples; a name that ends in `_total` only grows.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use wtcache::{Stat, Stats};

use crate::connections::Connections;
use crate::feeds;
use crate::latency::{BUCKETS, Counted, Latency};
use crate::origins;
use crate::served::Tables;
use crate::table::ServedTable;
use crate::tellers::Tellers;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What was counted of requests that are no table's.
const OF_NO_TABLE: &str = "";

/// The statistics of every table's cache, and of what speaks to its origin.
pub(crate) fn stats(tables: &Tables) -> Value {
    let of = |table: &ServedTable| -> Value {
        table
            .cache()
            .stats()
            .named()
            .map(|stat| (stat.name.to_owned(), stat.value.into()))
            .collect::<Map<_, _>>()
            .into()
    };
    let origins = origins::stats(tables);
    let subscriptions = feeds::stats(tables);
    let tables: Map<String, Value> = tables.iter().map(|(name, table)| (name.clone(), of(table))).collect();
    let mut stats = json!({ "tables": tables, "origins": origins });
    if !subscriptions.is_empty() {
        stats["subscriptions"] = subscriptions.into();
    }
    stats
}

/// All metrics.
pub(crate) fn metrics(tables: &Tables, others: &Latency, connections: &Connections, tellers: &Tellers) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let read: Vec<(&str, Vec<Stat>)> =
        tables.iter().map(|(name, table)| (name.as_str(), table.cache().stats().named().collect())).collect();
    for (at, stat) in Stats::default().named().enumerate() {
        let (kind, end) = if stat.only_grows { ("counter", "_total") } else { ("gauge", "") };
        // Prometheus has times in seconds.
        let millis = stat.name.strip_suffix("_millis");
        let name = match millis {
            Some(stem) => format!("wtcache_{stem}_seconds{end}"),
            None => format!("wtcache_{}{end}", stat.name),
        };
        head(&mut out, &name, kind, &stat.help.replace("milliseconds", "seconds"));
        for (table, stats) in &read {
            let value = stats[at].value;
            match millis {
                Some(_) => {
                    line(&mut out, format_args!("{name}{{table=\"{table}\"}} {}.{:03}", value / 1000, value % 1000))
                }
                None => line(&mut out, format_args!("{name}{{table=\"{table}\"}} {value}")),
            }
        }
    }
    origins::metrics(tables, &mut out);
    feeds::metrics(tables, &mut out);
    for (name, kind, help, value) in connections.metrics().into_iter().chain(tellers.metrics()) {
        head(&mut out, name, kind, help);
        line(&mut out, format_args!("{name} {value}"));
    }
    let name = "wtcache_request_duration_seconds";
    head(
        &mut out,
        name,
        "histogram",
        "From a request's head to its answer's, by table, method, kind of read and class of status.",
    );
    for (table, latency) in
        tables.iter().map(|(name, table)| (name.as_str(), &*table.latency)).chain([(OF_NO_TABLE, others)])
    {
        for counted in latency.counted() {
            histogram(&mut out, name, table, &counted);
        }
    }
    out
}

fn histogram(out: &mut String, name: &str, table: &str, counted: &Counted) {
    let Counted { method, cache, class, up_to, seconds } = counted;
    let labels = format!("table=\"{table}\",method=\"{method}\",cache=\"{cache}\",status=\"{class}\"");
    let ends = BUCKETS.iter().map(|(end, _)| *end).chain(["+Inf"]);
    for (end, count) in ends.zip(up_to) {
        line(out, format_args!("{name}_bucket{{{labels},le=\"{end}\"}} {count}"));
    }
    line(out, format_args!("{name}_sum{{{labels}}} {seconds}"));
    line(out, format_args!("{name}_count{{{labels}}} {}", up_to[BUCKETS.len()]));
}

pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

/// A table's name is a name of GraphQL: there is nothing to be escaped in it.
pub(crate) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all");
    out.push('\n');
}
