//! libwtcache as it is shipped: built in release, and held against the C suite and the Python package in a fresh environment.
//!
//! The tests are picked by name among those of the whole workspace, not by their package: alone, it would have features of its
//! own, and all that it uses would be compiled once more.

use std::path::PathBuf;
use std::process::Command;

use crate::{cargo, root, run, target};

/// What checks the types of the Python package. A newer one finds other faults, which is no reason for CI to fail.
const MYPY: &str = "mypy==2.4.1";

/// Builds the libraries in release, runs the tests of the C ABI against them, with no tool skipped, and the Python package
/// as `pip` installs it.
pub(crate) fn check() -> Result<(), String> {
    let Some(shipped) = Shipped::build()? else { return Ok(()) };
    let mut tests = cargo(&["test", "--workspace", "--test", "header", "--test", "c_suite", "--test", "cpp_suite"]);
    shipped.is_tested_by(&mut tests);
    run(tests)?;
    shipped.check_python()?;
    crate::install::check()
}

/// The folder of the libraries.
pub(crate) struct Shipped(PathBuf);

impl Shipped {
    /// Builds them. `None`, visibly, on machines that they are not shipped for.
    pub(crate) fn build() -> Result<Option<Self>, String> {
        if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
            println!("SKIPPED: libwtcache is shipped for Linux on x86_64 and aarch64 only");
            return Ok(None);
        }
        run(cargo(&["build", "--release", "--package", "libwtcache"]))?;
        Ok(Some(Self(target().join("release"))))
    }

    /// Has the tests of the C ABI take these libraries in place of their own, and skip no tool.
    pub(crate) fn is_tested_by(&self, tests: &mut Command) {
        tests.env("WTCACHE_ARTIFACTS", &self.0).env("WTCACHE_ALL_TOOLS", "1");
    }

    /// The Python package as `pip` installs it.
    pub(crate) fn check_python(&self) -> Result<(), String> {
        let python = installed("python-venv")?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", MYPY]);
        // The test of the types says that it is skipped, or, in CI, that it is missing.
        if let Err(message) = run(install) {
            println!("xtask: {message}");
        }
        let mut tests = cargo(&["test", "--workspace", "--test", "python"]);
        tests.env("WTCACHE_PYTHON", &python).env_remove("WTCACHE_LIBRARY").env_remove("PYTHONPATH");
        run(tests)
    }
}

/// A hit of the Python package beside other caches, in an environment that has those of them that can be had.
pub(crate) fn rivals(args: impl Iterator<Item = String>) -> Result<(), String> {
    let python = installed("python-rivals")?;
    for rival in ["moka-py", "cachetools", "diskcache"] {
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", rival]);
        // The bench says SKIPPED.
        if let Err(message) = run(install) {
            println!("xtask: {message}");
        }
    }
    let mut bench = Command::new(&python);
    bench.arg("bindings/python/bench.py").args(args).current_dir(root());
    run(bench)
}

/// A hit through the C ABI, of the libraries as they are shipped, beside one in Rust.
pub(crate) fn hits() -> Result<(), String> {
    let Some(shipped) = Shipped::build()? else { return Ok(()) };
    let mut bench = cargo(&["bench", "--package", "wtcache-benches", "--bench", "c"]);
    bench.env("WTCACHE_ARTIFACTS", &shipped.0);
    run(bench)
}

/// A fresh environment with the package: its interpreter.
fn installed(name: &str) -> Result<PathBuf, String> {
    let target = target();
    let venv = target.join(name);
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
    Ok(python)
}

/// Writes the header that the tests compare with.
pub(crate) fn write_header() -> Result<(), String> {
    let mut test = cargo(&["test", "--quiet", "--package", "wtcache-ffi", "--test", "header", "the_committed_header"]);
    test.env("WTCACHE_WRITE_HEADER", "1");
    run(test)
}
