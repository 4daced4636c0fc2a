//! The REST front from outside: its page in a headless Chromium, with pictures for somebody to look at; and the front under load, with kills.

use std::fs;
use std::process::Command;

use crate::{cargo, root, run, target};

/// By these names it is installed.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Ten thousand connections; the origin killed, and the front. `args`: those of `load.py`.
pub(crate) fn load(args: impl Iterator<Item = String>) -> Result<(), String> {
    run(cargo(&["build", "--release", "--package", "wtcache-server"]))?;
    let mut load = Command::new("python3");
    load.arg(root().join("server/tests/load/load.py")).arg(target().join("release").join("wtcache")).args(args);
    run(load)
}

/// The page.
pub(crate) fn page() -> Result<(), String> {
    let is_there =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let browser = BROWSERS.into_iter().find(is_there).ok_or_else(|| format!("page: there is none of {BROWSERS:?}"))?;
    run(cargo(&["build", "--package", "wtcache-server"]))?;
    let folder = target().join("page");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut check = Command::new("python3");
    check.arg(root().join("server/tests/browser/page.py"));
    check.arg(target().join("debug").join("wtcache")).arg(browser).arg(&folder);
    run(check)?;
    println!("xtask: pictures of the page are in {}", folder.display());
    Ok(())
}
