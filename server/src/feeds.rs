//! What the subscriptions of the tables did: for `/-/metrics`, and as JSON.
//!
//! Invariant: each metric has its HELP and TYPE once, before its samples, and none without samples.

use serde_json::{Map, Value};
use wtcache_http_source::{SubscriptionState, SubscriptionStats};

use crate::exposition::{head, line};
use crate::served::Tables;

/// A count of a subscription: its name, its help, and how it is read.
type Count = (&'static str, &'static str, fn(&SubscriptionStats) -> u64);

const COUNTS: [Count; 8] = [
    ("connections", "Connections of the subscription that were made; of a poll, answers.", |told| told.connections),
    ("gaps", "Times that all of the table was forgotten, since a change may have been missed.", |told| told.gaps),
    ("changes", "Changes that the origin told.", |told| told.changes),
    ("taken", "Of these, records and absences that became resident.", |told| told.taken),
    ("passed_over", "Those that were no news.", |told| told.passed_over),
    ("invalidated", "Those that made a key or more be forgotten.", |told| told.invalidated),
    ("unreadable", "Events and changes that could not be read.", |told| told.unreadable),
    ("panics", "Panics while changes were read or applied.", |told| told.panics),
];

/// Where a subscription stands, in a word.
pub(crate) fn state_name(state: SubscriptionState) -> &'static str {
    match state {
        SubscriptionState::Connecting => "connecting",
        SubscriptionState::Live => "live",
        SubscriptionState::CutOff => "cut-off",
        _ => "stopped",
    }
}

fn read(tables: &Tables) -> Vec<(&str, SubscriptionStats)> {
    tables.iter().filter_map(|(name, table)| Some((name.as_str(), table.subscription()?))).collect()
}

/// By table, of those that have one.
pub(crate) fn stats(tables: &Tables) -> Map<String, Value> {
    let of = |told: &SubscriptionStats| -> Value {
        let mut all = Map::new();
        all.insert("state".to_owned(), state_name(told.state).into());
        let state_for = u64::try_from(told.state_for.as_millis()).unwrap_or(u64::MAX);
        all.insert("state_for_ms".to_owned(), state_for.into());
        all.extend(COUNTS.iter().map(|(name, _, count)| ((*name).to_owned(), count(told).into())));
        all.insert("last_error".to_owned(), told.last_error.clone().into());
        all.into()
    };
    read(tables).iter().map(|(name, told)| ((*name).to_owned(), of(told))).collect()
}

pub(crate) fn metrics(tables: &Tables, out: &mut String) {
    let read = read(tables);
    if read.is_empty() {
        return;
    }
    let name = "wtcache_subscription_live";
    head(out, name, "gauge", "1 while the origin tells of its changes, else 0.");
    for (table, told) in &read {
        line(out, format_args!("{name}{{table=\"{table}\"}} {}", u64::from(told.state == SubscriptionState::Live)));
    }
    for (name, help, count) in COUNTS {
        let name = format!("wtcache_subscription_{name}_total");
        head(out, &name, "counter", help);
        for (table, told) in &read {
            line(out, format_args!("{name}{{table=\"{table}\"}} {}", count(told)));
        }
    }
}
