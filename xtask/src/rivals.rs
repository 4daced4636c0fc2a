//! wtcache beside other caches: `benches/rivals`, a crate of its own, so that nothing else compiles them.

use crate::cargo;

const MANIFEST: &str = "benches/rivals/Cargo.toml";

/// Builds it for release and runs it; what it understands, it says itself.
pub(crate) fn measure(args: impl Iterator<Item = String>) -> Result<(), String> {
    let mut command = cargo(&["run", "--release", "--locked", "--quiet", "--manifest-path", MANIFEST]);
    // Beside the workspace's own, unless somebody says where.
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.args(["--target-dir", "target/rivals"]);
    }
    command.arg("--").args(args);
    crate::run(command)
}

/// Formatting only: clippy would compile the rivals.
pub(crate) fn lint() -> Result<(), String> {
    crate::run(cargo(&["fmt", "--manifest-path", MANIFEST, "--check"]))
}
