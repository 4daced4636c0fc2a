//! The ABI that the header declares, held against the one that was released: abidiff of Debian's abigail-tools compares two descriptions.
//!
//! Described is a small library of pointers to each function of the header, with what they take and give, compiled for its debug
//! information: the one that Rust writes describes its own types, and changes with the compiler. Invariant: it is one of x86_64; elsewhere
//! nothing is compared, and that is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::{SYMBOLS, is_there, read, write};
use crate::{root, run, target};

/// The description that programs were compiled by.
const RELEASED: &str = "ffi/packaging/abi.xml";

/// Compares the header with the released description.
///
/// # Errors
/// Something changed that is not a new function, or abidiff is missing where nothing may be.
pub(crate) fn check() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        println!("SKIPPED: the ABI is described for x86_64");
        return Ok(());
    }
    if !is_there("abidiff")? {
        return Ok(());
    }
    let now = described()?;
    let mut diff = Command::new("abidiff");
    diff.arg("--no-added-syms").arg(root().join(RELEASED)).arg(now);
    let output = diff.output().map_err(|error| format!("{diff:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "include/wtcache.h is not the ABI in {RELEASED}: what programs were compiled with may change only with a new \
         WTCACHE_ABI_VERSION, but for a struct that begins with its size and grows at its end; `cargo xtask symbols` writes \
         the description.\n{}",
        String::from_utf8_lossy(&output.stdout)
    ))
}

/// Writes the description that the header is held against.
pub(crate) fn write_description() -> Result<(), String> {
    let now = described()?;
    let released = root().join(RELEASED);
    fs::copy(&now, &released).map(drop).map_err(|error| format!("{}: {error}", released.display()))
}

fn described() -> Result<PathBuf, String> {
    let dir = target().join("abi");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let (source, library, description) = (dir.join("abi.c"), dir.join("libabi.so"), dir.join("abi.xml"));
    let symbols = read(&root().join(SYMBOLS))?;
    let pointers: String = symbols.lines().map(|name| format!("__typeof__({name}) *abi_{name};\n")).collect();
    write(&source, &format!("#include <wtcache.h>\n{pointers}"))?;
    let mut cc = Command::new("cc");
    cc.args(["-g", "-shared", "-fPIC", "-I"]).arg(root().join("include")).arg("abi.c").arg("-o").arg(&library);
    run(in_dir(cc, &dir))?;
    let mut describe = Command::new("abidw");
    describe.args(["--no-show-locs", "--no-corpus-path", "--no-comp-dir-path", "--out-file"]);
    describe.arg(&description).arg(&library);
    run(in_dir(describe, &dir))?;
    Ok(description)
}

fn in_dir(mut command: Command, dir: &Path) -> Command {
    command.current_dir(dir);
    command
}
