//! wtcache beside others: `benches/rivals` (caches) and `benches/http` (HTTP clients), crates of their own, so that nothing else compiles them.

use std::process::Command;

use crate::{cargo, root, target};

const CACHES: &str = "benches/rivals/Cargo.toml";
const CLIENTS: &str = "benches/http/Cargo.toml";

/// The origin for the REST front's rivals.
const FRONT: &str = "benches/front/Cargo.toml";

/// Builds the one with caches for release and runs it; what it understands, it says itself.
pub(crate) fn measure(args: impl Iterator<Item = String>) -> Result<(), String> {
    run(CACHES, args)
}

/// The same of the one with HTTP clients.
pub(crate) fn measure_http(args: impl Iterator<Item = String>) -> Result<(), String> {
    run(CLIENTS, args)
}

fn run(manifest: &str, args: impl Iterator<Item = String>) -> Result<(), String> {
    let mut command = cargo(&["run", "--release", "--locked", "--quiet", "--manifest-path", manifest]);
    // Beside the workspace's own, unless somebody says where.
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.args(["--target-dir", "target/rivals"]);
    }
    command.arg("--").args(args);
    crate::run(command)
}

/// The REST front beside other HTTP caches, where those are installed. `args`: those of `benches/front/compare.py`, but that `--write` takes no folder.
pub(crate) fn front(args: impl Iterator<Item = String>) -> Result<(), String> {
    crate::run(cargo(&["build", "--release", "--package", "wtcache-server"]))?;
    let mut origin = cargo(&["build", "--release", "--locked", "--manifest-path", FRONT]);
    origin.arg("--target-dir").arg(target().join("front"));
    crate::run(origin)?;
    let mut compare = Command::new("python3");
    compare.arg(root().join("benches/front/compare.py")).arg(target().join("release/wtcache"));
    compare.arg(target().join("front/release/bare-origin"));
    for arg in args {
        let writes = arg == "--write";
        compare.arg(arg);
        if writes {
            compare.arg(root().join("docs/benchmarks"));
        }
    }
    crate::run(compare)
}

/// Formatting, and that the lock file fits what the workspace's crates depend on now: clippy would compile the rivals.
pub(crate) fn lint() -> Result<(), String> {
    for manifest in [CACHES, CLIENTS, FRONT] {
        crate::run(cargo(&["fmt", "--manifest-path", manifest, "--check"]))?;
        crate::run(cargo(&["update", "--quiet", "--workspace", "--locked", "--manifest-path", manifest]))?;
    }
    Ok(())
}
