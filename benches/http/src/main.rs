//! wtcache over HTTP beside bare HTTP clients in the same run, and through an outage of its origin. `cargo xtask http-rivals` builds and
//! runs it.

mod clients;
mod origin;
mod outage;
mod traffic;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask http-rivals [--outage] [--quick] [--write]

  --outage   1,000 reads a second for 80 s, of which the origin is out for 30: what is served,
             and what the origin sees; fails where that is not what was promised
  --quick    some seconds, to see that it runs; the figures are worth nothing
  --write    writes table or chart into docs/benchmarks
";

/// What the command line asked for.
struct Asked {
    outage: bool,
    quick: bool,
    write: bool,
    /// The command, as it is to be told beside its figures.
    command: String,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut asked = Asked {
        outage: false,
        quick: false,
        write: false,
        command: ["cargo xtask http-rivals"]
            .into_iter()
            .chain(words.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" "),
    };
    for word in &words {
        match word.as_str() {
            "--outage" => asked.outage = true,
            "--quick" => asked.quick = true,
            "--write" => asked.write = true,
            "--help" | "-h" => {
                print!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprint!("http-rivals: there is no option {word:?}\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let done = if asked.outage { outage::run(&asked) } else { traffic::run(&asked) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http-rivals: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_docs(file: &str, text: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks").join(file);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}
