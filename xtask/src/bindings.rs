//! libwtcache as it is shipped: built in release, and held against the C suite and the Python package in a fresh environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{cargo, root, run};

/// Builds the libraries in release, runs the tests of the C ABI against them, with no tool skipped, and the Python package
/// as `pip` installs it.
pub(crate) fn check() -> Result<(), String> {
    if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        println!("SKIPPED: libwtcache is shipped for Linux on x86_64 and aarch64 only");
        return Ok(());
    }
    run(cargo(&["build", "--release", "--package", "libwtcache"]))?;
    let target = target();
    let mut tests = cargo(&["test", "--package", "wtcache-ffi", "--test", "header", "--test", "c_suite"]);
    tests.env("WTCACHE_ARTIFACTS", target.join("release")).env("WTCACHE_ALL_TOOLS", "1");
    run(tests)?;

    let venv = target.join("python-venv");
    if venv.exists() {
        std::fs::remove_dir_all(&venv).map_err(|error| format!("{}: {error}", venv.display()))?;
    }
    let mut made = Command::new("python3");
    made.args(["-m", "venv"]).arg(&venv);
    run(made)?;
    let python = venv.join("bin/python");
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "./bindings/python"]).current_dir(root());
    install.env_remove("WTCACHE_LIBRARY").env("CARGO_TARGET_DIR", &target);
    run(install)?;
    let mut tests = cargo(&["test", "--package", "wtcache-ffi", "--test", "python"]);
    tests.env("WTCACHE_PYTHON", &python).env_remove("WTCACHE_LIBRARY").env_remove("PYTHONPATH");
    run(tests)
}

/// Writes the header that the tests compare with.
pub(crate) fn write_header() -> Result<(), String> {
    let mut test = cargo(&["test", "--quiet", "--package", "wtcache-ffi", "--test", "header", "the_committed_header"]);
    test.env("WTCACHE_WRITE_HEADER", "1");
    run(test)
}

fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new("target").to_owned(), Into::into);
    root().join(target)
}
