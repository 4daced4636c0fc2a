//! What the front says of itself, `/-/openapi.json`, held against what it does, by schemathesis: of the demo, and of a folder with more.
//!
//! The tool is from the Python package index (`pip install schemathesis`): the one in WTCACHE_SCHEMATHESIS, or else in the PATH.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::{cargo, root, run, target};

/// Whom `server/tests/described/config.yaml` knows.
const TOKEN: &str = "described";

/// Inputs for each operation.
const EXAMPLES: &str = "20";

/// The task: its arguments are none, or `--examples N`.
pub(crate) fn task(args: impl Iterator<Item = String>) -> Result<(), String> {
    let args: Vec<String> = args.collect();
    let examples = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => EXAMPLES,
        ["--examples", examples] if examples.parse::<u32>().is_ok_and(|examples| examples > 0) => examples,
        _ => return Err(format!("schemathesis takes --examples N, not {args:?}")),
    };
    let tool = env::var_os("WTCACHE_SCHEMATHESIS").unwrap_or_else(|| "schemathesis".into());
    let there = Command::new(&tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        return Err(format!("there is no {} (pip install schemathesis)", tool.display()));
    }
    run(cargo(&["build", "--package", "wtcache-server"]))?;
    let wtcache = target().join("debug").join("wtcache");
    let folder = root().join("server/tests/described");
    let against = |front: &Served, headers: &[&str]| {
        let mut check = Command::new(&tool);
        check.arg("--config-file").arg(folder.join("schemathesis.toml")).arg("run");
        check.arg(format!("{}/-/openapi.json", front.url)).args(headers);
        // The stream of events has no end.
        check.args(["--exclude-path", "/-/events", "--seed", "1", "--continue-on-failure", "--max-examples", examples]);
        // It keeps what failed where it runs.
        check.current_dir(target());
        run(check)
    };
    let demo =
        Served::start(Command::new(&wtcache).args(["demo", "--port", "0", "--origin-port", "0"]), "before it at ")?;
    against(&demo, &[])?;
    drop(demo);
    let mut serve = Command::new(&wtcache);
    serve.args(["serve", "--config"]).arg(&folder);
    let mut origins = Vec::new();
    for name in ["ITEMS", "PARTS", "VISITS"] {
        let origin = Served::start(Command::new(&wtcache).args(["origin", "--port", "0"]), "origin is at ")?;
        serve.env(name, origin.url.trim_end_matches("/{id}"));
        origins.push(origin);
    }
    let front = Served::start(&mut serve, " on ")?;
    against(&front, &["--header", &format!("Authorization: Bearer {TOKEN}")])
}

/// A server that runs until this is dropped.
struct Served {
    process: Child,
    url: String,
}

impl Served {
    /// `before`: what stands before its URL in the first line that it prints.
    fn start(command: &mut Command, before: &str) -> Result<Self, String> {
        let name = format!("{command:?}");
        println!("xtask: {name}");
        let mut process = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        // What it prints later, nobody reads; but it has to be taken.
        std::thread::spawn(move || lines.for_each(drop));
        let url = first.split_once(before).and_then(|(_, url)| url.split([' ', ',']).next());
        let url = url.map(|url| url.trim_end_matches('.').to_owned());
        let served = Self { process, url: url.unwrap_or_default() };
        if served.url.starts_with("http://") { Ok(served) } else { Err(format!("{name}: it printed {first:?}")) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
