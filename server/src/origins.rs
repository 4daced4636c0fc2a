//! What the HTTP sources of the tables have counted: for `/-/metrics`, and as JSON.
//!
//! Invariant: each metric has its HELP and TYPE once, before its samples, and none without samples.

use serde_json::{Map, Value, json};
use wtcache_http_source::{BreakerState, SourceStats};

use crate::exposition::{head, line};
use crate::served::Tables;

/// A metric of one value a table: its name, kind and help, and how it is read.
type Single = (&'static str, &'static str, &'static str, fn(&SourceStats) -> Option<u64>);

const SINGLES: [Single; 12] = [
    ("attempts_total", "counter", "Attempts begun: requests to the origin, retries among them.", |s| Some(s.attempts)),
    ("retries_total", "counter", "Attempts that were retries.", |s| Some(s.retries)),
    ("retries_over_budget_total", "counter", "Retries that were not made, since the budget had none left.", |s| {
        Some(s.retries_over_budget)
    }),
    ("credentials_renewed_total", "counter", "Times that credentials in files were others after a 401.", |s| {
        Some(s.credentials_renewed)
    }),
    ("connections_made_total", "counter", "Connections made, those to a proxy among them.", |s| {
        Some(s.connections_made)
    }),
    ("connections", "gauge", "Connections open now, in use or kept.", |s| Some(s.connections as u64)),
    ("in_flight", "gauge", "Attempts under way now.", |s| Some(s.in_flight as u64)),
    ("queued", "gauge", "Calls that wait for others to end now.", |s| Some(s.queued as u64)),
    (
        "breaker_open",
        "gauge",
        "1 while the breaker keeps calls from the origin, else 0; none without a breaker.",
        |s| s.breaker.as_ref().map(|breaker| u64::from(breaker.state != BreakerState::Closed)),
    ),
    ("breaker_openings_total", "counter", "Times that the breaker opened, failed probes not counted.", |s| {
        s.breaker.as_ref().map(|breaker| breaker.openings)
    }),
    ("breaker_probes_total", "counter", "Probes that the breaker let through.", |s| {
        s.breaker.as_ref().map(|breaker| breaker.probes)
    }),
    ("breaker_refused_total", "counter", "Calls that the breaker refused: nothing was sent.", |s| {
        s.breaker.as_ref().map(|_| s.breaker_refused)
    }),
];

/// Each way that an attempt may end.
fn outcomes(stats: &SourceStats) -> [(&'static str, u64); 7] {
    [
        ("2xx", stats.answered.saturating_sub(stats.redirected)),
        ("3xx", stats.redirected),
        ("4xx", stats.refused),
        ("5xx", stats.failed),
        ("broken", stats.broken),
        ("timed_out", stats.timed_out),
        ("unreachable", stats.unreachable),
    ]
}

/// Calls that ended in the queue.
fn queue(stats: &SourceStats) -> [(&'static str, u64); 2] {
    [("full", stats.queue_full), ("timed_out", stats.queue_timed_out)]
}

fn read(tables: &Tables) -> Vec<(&str, SourceStats)> {
    tables.iter().filter_map(|(name, table)| Some((name.as_str(), table.origin.as_ref()?.stats()))).collect()
}

/// By table, without those that nothing is known of.
pub(crate) fn stats(tables: &Tables) -> Value {
    let of = |stats: &SourceStats| -> Value {
        let mut all: Map<String, Value> = SINGLES
            .iter()
            .filter_map(|(name, _, _, value)| {
                Some((name.strip_suffix("_total").unwrap_or(name).to_owned(), value(stats)?.into()))
            })
            .collect();
        let by_name = |pairs: &[(&str, u64)]| -> Value {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), Value::from(*count))).collect::<Map<_, _>>().into()
        };
        all.insert("outcomes".to_owned(), by_name(&outcomes(stats)));
        all.insert("queue_refused".to_owned(), by_name(&queue(stats)));
        let durations = &stats.durations;
        all.insert(
            "attempt_seconds".to_owned(),
            json!({ "count": durations.all, "sum": durations.total.as_secs_f64() }),
        );
        all.into()
    };
    read(tables).iter().map(|(name, stats)| ((*name).to_owned(), of(stats))).collect::<Map<_, _>>().into()
}

pub(crate) fn metrics(tables: &Tables, out: &mut String) {
    let read = read(tables);
    if read.is_empty() {
        return;
    }
    for (name, kind, help, value) in SINGLES {
        let samples: Vec<_> = read.iter().filter_map(|(table, stats)| Some((table, value(stats)?))).collect();
        if !samples.is_empty() {
            let name = format!("wtcache_origin_{name}");
            head(out, &name, kind, help);
            for (table, value) in samples {
                line(out, format_args!("{name}{{table=\"{table}\"}} {value}"));
            }
        }
    }
    let name = "wtcache_origin_outcomes_total";
    head(out, name, "counter", "Attempts that ended, by class of status, or by why there was no answer.");
    for (table, stats) in &read {
        for (outcome, count) in outcomes(stats) {
            line(out, format_args!("{name}{{table=\"{table}\",outcome=\"{outcome}\"}} {count}"));
        }
    }
    let name = "wtcache_origin_queue_refused_total";
    head(out, name, "counter", "Calls that waited for others in vain: the queue was full, or their time was up.");
    for (table, stats) in &read {
        for (why, count) in queue(stats) {
            line(out, format_args!("{name}{{table=\"{table}\",why=\"{why}\"}} {count}"));
        }
    }
    let name = "wtcache_origin_attempt_duration_seconds";
    head(out, name, "histogram", "From before an attempt's first byte, or connection, to the end of its answer.");
    for (table, stats) in &read {
        let durations = &stats.durations;
        let ends = durations.up_to.iter().map(|(end, count)| (end.as_secs_f64().to_string(), *count));
        for (end, count) in ends.chain([("+Inf".to_owned(), durations.all)]) {
            line(out, format_args!("{name}_bucket{{table=\"{table}\",le=\"{end}\"}} {count}"));
        }
        line(out, format_args!("{name}_sum{{table=\"{table}\"}} {}", durations.total.as_secs_f64()));
        line(out, format_args!("{name}_count{{table=\"{table}\"}} {}", durations.all));
    }
}
