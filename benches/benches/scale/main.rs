//! Scale: what an operation and an entry cost as the cache grows, and how long many who wait for one load wait once it has ended.
//!
//! `cargo bench -p wtcache-benches --bench scale` runs all; with `-- --write` the tables go into docs/benchmarks. In reading order:
//! `growth` and `waiters` are the two parts. Invariant: a figure is printed only if what was meant to happen did: every read of `growth`
//! was a hit, and every crowd of `waiters` made one load.

mod growth;
mod waiters;

use std::path::Path;
use std::process::ExitCode;

use wtcache_benches::figures::machine;

const USAGE: &str = "\
Usage: cargo bench -p wtcache-benches --bench scale -- [--largest ENTRIES] [--waiters N] [--write]
       cargo bench -p wtcache-benches --bench scale -- --test

  --largest ENTRIES  no cache of more entries (10000000: some 5 GB)
  --waiters N        how many wait for one load (10000)
  --write            writes the tables into docs/benchmarks/scale.md
  --test             some seconds, to see that it runs; the figures are worth nothing
";

const COMMAND: &str = "cargo bench -p wtcache-benches --bench scale --";

struct Asked {
    largest: usize,
    waiters: usize,
    write: bool,
    test: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // What cargo adds by itself.
    let words: Vec<&str> = args.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    let done = match &words[..] {
        [growth::CHILD, entries, operations] => growth::child(entries, operations),
        ["--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        words => asked(words).and_then(|asked| run(&asked, words)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("scale: {message}");
            ExitCode::FAILURE
        }
    }
}

fn asked(words: &[&str]) -> Result<Asked, String> {
    let mut asked = Asked { largest: 10_000_000, waiters: 10_000, write: false, test: false };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut number = || rest.next().and_then(|n| n.parse().ok()).ok_or(format!("{word} wants a number\n{USAGE}"));
        match *word {
            "--largest" => asked.largest = number()?,
            "--waiters" => asked.waiters = number()?,
            "--write" => asked.write = true,
            "--test" => asked.test = true,
            word => return Err(format!("there is no option {word:?}\n{USAGE}")),
        }
    }
    if asked.write && asked.test {
        return Err("the figures of a test are not for the documentation".to_owned());
    }
    Ok(asked)
}

fn run(asked: &Asked, words: &[&str]) -> Result<(), String> {
    let at = format!("`{}`; {}", [COMMAND].iter().chain(words).copied().collect::<Vec<_>>().join(" "), machine());
    let growth = if asked.test { growth::table(10_000, 20_000) } else { growth::table(asked.largest, 1_000_000) }?;
    // Told before the crowds come, which are a load of their own.
    let between = machine();
    let waiters = if asked.test { waiters::table(200, 3) } else { waiters::table(asked.waiters, 7) }?;
    let text = format!(
        "# Scale\n<!-- Written by the command below. -->\n{at}; between the two: {between}. What is measured and how is told in [the \
         README](README.md).\n\n\
         ## Entries\nNanoseconds an operation takes, and bytes an entry:\n\n{growth}\n\
         ## Waiters\nMilliseconds from the end of what they wait for to the last one's return:\n\n{waiters}"
    );
    println!("{text}");
    if asked.write {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks/scale.md");
        std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
