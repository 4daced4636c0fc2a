//! The run that takes hit ratios: every cache over every trace, on one thread, in three sizes, for entries that weigh the same and for
//! such that do not.
//!
//! The caches are as in the other run, locks, shards and all. Where weights differ, the traces know none: a key's size is made from its hash.
//! The values then are four bytes that tell it, so that no run copies gigabytes.

use std::path::Path;

use wtcache_benches::{Key, Table, key};

use crate::cache::{Kind, Origin, Room, Values, Weigh, told_weight};
use crate::policy::{lru, opt};
use crate::traces::Trace;
use crate::{Asked, machine, write_docs};
use wtcache_benches::svg::Chart;

/// The folder with the traces.
const FOLDER: &str = "WTCACHE_TRACES";

/// Room, in per cent of what all keys need.
const SIZES: [u64; 3] = [1, 5, 20];

pub(crate) fn run(asked: &Asked) -> Result<(), String> {
    let at = format!("`{}`; {}", asked.command, machine());
    let most = if asked.quick { 50_000 } else { usize::MAX };
    let mut traces = vec![Trace::zipf(100_000, most.min(2_000_000))];
    match std::env::var_os(FOLDER).filter(|folder| Path::new(folder).is_dir()) {
        Some(folder) => traces.extend(Trace::of_folder(Path::new(&folder), most)?),
        None => println!("rivals: {FOLDER} names no folder: SKIPPED the traces, only Zipf is run\n"),
    }
    let even = judge(&traces, false);
    let weighed = judge(&traces, true);
    let mut requests = Table::new(["trace", "requests", "keys"]);
    for trace in &traces {
        requests.rows.push(vec![trace.name.clone(), trace.requests.len().to_string(), trace.keys.to_string()]);
    }
    let text = format!(
        "<!-- Written by the command below. -->\n{at}.\n\n{}\n\
         Per cent of the requests that were hits. Room in per cent of all keys:\n\n![hits](hit-ratio.svg)\n\n{}\n\
         Entries of 16 bytes to 64 KiB, room in per cent of the bytes of all:\n\n![hits](hit-ratio-bytes.svg)\n\n{}",
        requests.markdown(),
        even.0.markdown(),
        weighed.0.markdown(),
    );
    println!("{text}");
    if asked.write {
        write_docs("hit-ratio.md", &format!("# wtcache beside other caches: hit ratio\n{text}"))?;
        write_docs("hit-ratio.svg", &even.1.svg())?;
        write_docs("hit-ratio-bytes.svg", &weighed.1.svg())?;
    }
    Ok(())
}

fn judge(traces: &[Trace], weighed: bool) -> (Table, Chart) {
    let kinds = Kind::JUDGED.into_iter().filter(|kind| !(weighed && *kind == Kind::Map));
    let kinds: Vec<Kind> = kinds.collect();
    let mut names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    names.extend(if weighed { &["LRU"][..] } else { &["LRU", "OPT"] });
    let mut table = Table::new(["hits, %"].into_iter().chain(names.iter().copied()));
    let title = if weighed { "Hits, %: room by bytes" } else { "Hits, %: room by entries" };
    let mut chart = Chart::new(title, &names);
    for trace in traces {
        let keys: Vec<Key> = (0..trace.keys as u64).map(key).collect();
        let weights: Vec<u32> = keys.iter().map(|key| if weighed { told_weight(key) } else { 1 }).collect();
        let all: u64 = weights.iter().copied().map(u64::from).sum();
        for size in SIZES {
            let (capacity, entries) = ((all * size / 100).max(1), (trace.keys * size as usize / 100).max(1));
            let weigh = if weighed { Weigh::Told } else { Weigh::One };
            let room = Room { capacity, weigh, entries };
            let mut hits: Vec<u64> = kinds.iter().map(|kind| hits(*kind, room, trace, &keys)).collect();
            hits.push(lru(trace, &weights, capacity));
            if !weighed {
                hits.push(opt(trace, entries));
            }
            let shares: Vec<f64> = hits.iter().map(|hits| 100.0 * *hits as f64 / trace.requests.len() as f64).collect();
            let name = format!("{}, {size} %", trace.name);
            let cells = shares.iter().map(|share| format!("{share:.2}"));
            table.rows.push([name.clone()].into_iter().chain(cells).collect());
            eprintln!("rivals: {}", table.rows.last().map_or(String::new(), |row| row.join(", ")));
            chart.group(name, shares.into_iter().map(Some));
        }
    }
    (table, chart)
}

/// How many requests of `trace` needed no load.
fn hits(kind: Kind, room: Room, trace: &Trace, keys: &[Key]) -> u64 {
    // The values are the same four bytes either way; only `Weigh::Told` reads them.
    let origin = Origin::new(Values::Sizes);
    let cache = kind.open(room, &origin).expect("only those that can weigh are asked to");
    for &request in &trace.requests {
        cache.get(&keys[request as usize]);
    }
    trace.requests.len() as u64 - origin.loads()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cache_beats_opt_and_none_is_far_from_it() {
        let trace = Trace::zipf(5_000, 100_000);
        let keys: Vec<Key> = (0..trace.keys as u64).map(key).collect();
        let room = Room::entries(trace.keys / 5);
        let most = opt(&trace, room.entries);
        for kind in Kind::JUDGED {
            let hits = hits(kind, room, &trace, &keys);
            assert!(hits <= most && hits > most / 2, "{} {hits} of {most}", kind.name());
        }
    }
}
