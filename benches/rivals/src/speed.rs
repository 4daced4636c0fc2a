//! The run that measures time and memory.

use wtcache_benches::Table;

use crate::cache::Kind;
use crate::measure::{Clock, Effort, Measured, empty, measure};
use crate::memory::taken;
use crate::workload::Workload;
use crate::{Asked, machine, write_docs};
use wtcache_benches::svg::Chart;

/// The name that the lines of memory go by.
const MEMORY: &str = "memory";

pub(crate) fn run(asked: &Asked) -> Result<(), String> {
    let effort = Effort {
        rounds: if asked.quick { 5 } else { 7 },
        before: if asked.quick { 5_000 } else { 100_000 },
        operations: if asked.quick { 10_000 } else { 500_000 },
        drawn: if asked.quick { 50_000 } else { 1 << 20 },
        clock: asked.clock,
    };
    let at = format!("`{}`; {}", asked.command, machine());
    let names = Kind::TIMED.map(Kind::name);
    let mut times = Table::new(["time over wtcache's (ns an operation)"].into_iter().chain(names).chain(["spread"]));
    let mut hits = Table::new(["hits, %"].into_iter().chain(names));
    let mut chart = Chart::new("Time of an operation over wtcache's; shorter is faster", &names);
    let all = Workload::all(asked.quick);
    // The line of just that name, if there is one; else those that have it in their names.
    let is_one = all.iter().any(|line| line.name() == asked.only);
    let is_asked = |name: &str| if is_one { name == asked.only } else { name.contains(&asked.only) };
    let workloads: Vec<_> = all.into_iter().filter(|line| is_asked(&line.name())).collect();
    if workloads.is_empty() && !is_asked(MEMORY) {
        return Err(format!("no line has {:?} in its name", asked.only));
    }
    let empty = empty(effort);
    eprintln!("rivals: an operation that does nothing: {empty:.1} ns");
    for workload in workloads {
        let measured = measure(workload, &Kind::TIMED, effort);
        let name = workload.name();
        eprintln!("rivals: {name}: {}", measured.iter().map(cell).collect::<Vec<_>>().join(", "));
        let spread = measured.iter().flatten().map(|measured| measured.spread).fold(0.0, f64::max);
        let row =
            [name.clone()].into_iter().chain(measured.iter().map(cell)).chain([format!("{:.0} %", spread * 100.0)]);
        times.rows.push(row.collect());
        if measured.iter().flatten().any(|measured| measured.hits < 1.0) {
            let share = |m: &Option<Measured>| m.map_or("–".to_owned(), |m| format!("{:.1}", m.hits * 100.0));
            hits.rows.push([name.clone()].into_iter().chain(measured.iter().map(share)).collect());
        }
        chart.group(name, measured.iter().map(|measured| measured.map(|measured| measured.ratio)));
    }
    let memory = match is_asked(MEMORY) {
        true => memory(if asked.quick { 20_000 } else { 1_000_000 })?.markdown(),
        false => "not asked for".to_owned(),
    };
    let clock = match asked.clock {
        Clock::Wall => "of the clock on the wall",
        Clock::Processor => {
            "that threads were on a processor (`--processor-time`: provisional, the machine had other work)"
        }
    };
    let text = format!(
        "<!-- Written by the command below. -->\n\
         {at}; at the end: {}. Times are those {clock}, medians of {} rounds of {} operations a thread, after {} that no clock \
         sees. An operation that does nothing takes {empty:.1} ns, which are in each figure.\n\n\
         ![times](rivals.svg)\n\n{}\n\
         Reads that needed no load, where not all were hits:\n\n{}\n\
         Resident memory, the entry's 280 bytes of key and value included:\n\n{}",
        machine(),
        effort.rounds,
        effort.operations,
        effort.before,
        times.markdown(),
        hits.markdown(),
        memory,
    );
    println!("{text}");
    if asked.write {
        write_docs("rivals.md", &format!("# wtcache beside other caches: time and memory\n{text}"))?;
        write_docs("rivals.svg", &chart.svg())?;
    }
    Ok(())
}

fn cell(measured: &Option<Measured>) -> String {
    measured.map_or("–".to_owned(), |Measured { ns, ratio, .. }| format!("{ratio:.2} ({ns:.0})"))
}

fn memory(keys: usize) -> Result<Table, String> {
    let all: Vec<_> = Kind::WEIGHED.into_iter().map(|kind| taken(kind, keys)).collect::<Result<_, _>>()?;
    let mut table =
        Table::new(["memory over wtcache's (bytes an entry)"].into_iter().chain(Kind::WEIGHED.map(Kind::name)));
    let mut row = |name: String, of: &dyn Fn(usize) -> f64| {
        let cells = (0..all.len()).map(|n| format!("{:.2} ({:.0})", of(n) / of(0), of(n)));
        table.rows.push([name].into_iter().chain(cells).collect());
    };
    row(format!("{}k entries, filled once", keys / 1_000), &|n| all[n].filled);
    row("then as many others put".to_owned(), &|n| all[n].used);
    Ok(table)
}
