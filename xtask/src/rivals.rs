//! wtcache beside others: `benches/rivals` (caches) and `benches/http` (HTTP clients), crates of their own, so that nothing else compiles them.

use crate::cargo;

const CACHES: &str = "benches/rivals/Cargo.toml";
const CLIENTS: &str = "benches/http/Cargo.toml";

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

/// Formatting only: clippy would compile the rivals.
pub(crate) fn lint() -> Result<(), String> {
    [CACHES, CLIENTS]
        .iter()
        .try_for_each(|manifest| crate::run(cargo(&["fmt", "--manifest-path", manifest, "--check"])))
}
