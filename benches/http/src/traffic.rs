//! What a load and a put take through wtcache and through bare clients, one caller and many.

use wtcache_benches::Table;
use wtcache_benches::figures::{machine, middle, sorted, spread};

use crate::clients::{self, Client, NAMES, What};
use crate::origin::Origin;
use crate::{Asked, write_docs};

/// What wtcache is made with.
const BARE: &str = "ureq";
const CALLERS: [usize; 3] = [1, 16, 256];

/// How much is done.
struct Effort {
    rounds: usize,
    /// Operations of a client in a round, of all its callers together.
    operations: u64,
}

pub(crate) fn run(asked: &Asked) -> Result<(), Box<dyn std::error::Error>> {
    let effort =
        if asked.quick { Effort { rounds: 3, operations: 512 } } else { Effort { rounds: 7, operations: 4_096 } };
    let before = machine();
    let origin = Origin::start()?;
    let clients = clients::all(origin.address)?;
    let mut next = 0;
    let mut table = Table::new(["time over bare ureq's (µs an operation)"].into_iter().chain(NAMES).chain(["spread"]));
    for (what, name) in [(What::Get, "load of what is not resident"), (What::Put, "put")] {
        for callers in CALLERS {
            let times = measured(&clients, what, callers, &effort, &mut next)?;
            let medians: Vec<f64> = times.iter().map(|times| middle(times)).collect();
            let bare = medians[NAMES.iter().position(|name| *name == BARE).expect("it is one of them")];
            let widest = times.iter().map(|times| spread(times)).fold(0.0, f64::max);
            let cells = medians.iter().map(|time| format!("{:.2} ({time:.0})", time / bare));
            let name = format!("{name}, {callers} {}", if callers == 1 { "caller" } else { "callers" });
            let row: Vec<String> =
                [name].into_iter().chain(cells).chain([format!("{:.0} %", widest * 100.0)]).collect();
            eprintln!("http-rivals: {}", row.join(", "));
            table.rows.push(row);
        }
    }
    let text = format!(
        "<!-- Written by the command below. -->\n`{}`; {before}; at the end: {}. Medians of {} rounds, in which the clients take turns, of {} operations. \
         One origin on 127.0.0.1 in the same process, which answers at once with a record of {} bytes; connections are kept. A time is that of the round, over its \
         operations: with more callers, its inverse is the throughput. The spread is that of the widest in the line, from the first to the third quarter of its rounds.\n\n{}",
        asked.command,
        machine(),
        effort.rounds,
        effort.operations,
        crate::origin::RECORD,
        table.markdown(),
    );
    println!("{text}");
    if asked.write {
        write_docs(
            "http.md",
            &format!(
                "# wtcache beside bare HTTP clients\n{text}\nWhat it shows, and how it goes through an outage: [README.md](README.md#over-http).\n"
            ),
        )?;
    }
    Ok(())
}

/// Of each client, the microseconds an operation took in each round, sorted.
fn measured(
    clients: &[Client],
    what: What,
    callers: usize,
    effort: &Effort,
    next: &mut u64,
) -> Result<Vec<Vec<f64>>, Box<dyn std::error::Error>> {
    let mut times = vec![Vec::new(); clients.len()];
    // The first round warms up: it connects.
    for round in 0..=effort.rounds {
        for (client, times) in clients.iter().zip(&mut times) {
            let each = effort.operations / callers as u64;
            let took = client.run(what, callers, each, *next)?;
            *next += effort.operations;
            if round > 0 {
                times.push(took.as_secs_f64() * 1e6 / (each * callers as u64) as f64);
            }
        }
    }
    Ok(times.into_iter().map(sorted).collect())
}
