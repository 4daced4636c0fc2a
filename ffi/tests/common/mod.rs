//! What the tests of the C ABI share: the libraries, built once, and the tools of the machine.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use wtcache_origin::{Method, Origin};

/// A kind of library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Shared,
    Static,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder of this test's own, kept with the build.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The library: the one in the folder `WTCACHE_ARTIFACTS`, else built now, as the tests are.
pub(crate) fn artifact(kind: Kind) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| std::env::var_os("WTCACHE_ARTIFACTS").map_or_else(build, PathBuf::from));
    let file = folder.join(if kind == Kind::Shared { "libwtcache.so" } else { "libwtcache.a" });
    assert!(file.exists(), "{} was not built", file.display());
    file
}

/// `cargo test` makes no cdylib, so one is built here; cargo has given its lock back by now.
fn build() -> PathBuf {
    // The scratch folder of the tests is target/tmp, wherever target is.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "libwtcache", "--target-dir"]).arg(target).current_dir(root());
    // What cargo tells a test of its package, a build script of a dependency would take for a change, and build anew.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            cargo.env_remove(name);
        }
    }
    output_of(&mut cargo);
    target.join("debug")
}

/// What a command prints that has to succeed.
pub(crate) fn output_of(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Whether a tool is missing that only some machines have. It is said where the tests are run with --nocapture, and by CI, which
/// sets `WTCACHE_ALL_TOOLS` and lets nothing be skipped.
pub(crate) fn skipped(tool: &str) -> bool {
    skipped_unless("WTCACHE_ALL_TOOLS", tool)
}

/// The same of the second compiler, which is needed only where `WTCACHE_CI` is set.
pub(crate) fn skipped_outside_ci(tool: &str) -> bool {
    skipped_unless("WTCACHE_CI", tool)
}

fn skipped_unless(variable: &str, tool: &str) -> bool {
    let missing = Command::new(tool).arg("--version").output().is_err();
    assert!(!(missing && std::env::var_os(variable).is_some()), "{tool} is missing");
    if missing {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    missing
}

/// Whether the libraries of `WTCACHE_ARTIFACTS` were built for AddressSanitizer, so that programs have to be too.
pub(crate) fn sanitized() -> bool {
    std::env::var_os("WTCACHE_SANITIZED").is_some()
}

/// Compiles a C program against a kind of library.
pub(crate) fn compiled(source: &Path, kind: Kind) -> PathBuf {
    built("gcc", source.file_stem().unwrap().to_str().unwrap(), &[source.to_owned()], kind)
}

/// Compiles C sources to one program.
pub(crate) fn built(compiler: &str, name: &str, sources: &[PathBuf], kind: Kind) -> PathBuf {
    let program = scratch("c").join(format!("{name}-{compiler}-{kind:?}"));
    let library = artifact(kind);
    let mut cc = Command::new(compiler);
    cc.args(["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-o"]);
    cc.arg(&program).arg("-I").arg(root().join("include")).args(sources).arg(&library);
    if sanitized() {
        cc.arg("-fsanitize=address,undefined");
    }
    if kind == Kind::Static {
        // What rustc names with `--print native-static-libs`.
        cc.args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"]);
    }
    output_of(&mut cc);
    program
}

/// The way a program finds the shared library under its soname.
pub(crate) fn library_path() -> PathBuf {
    let dir = scratch("lib");
    let soname = format!("libwtcache.so.{}", wtcache_ffi::WTCACHE_ABI_VERSION);
    let link = dir.join(soname);
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(artifact(Kind::Shared), &link).unwrap();
    dir
}

/// What each language's tutorial prints, and what it asked of the origin.
pub(crate) fn is_the_tutorial(told: &str, origin: &Origin) {
    let said: Vec<&str> = told.lines().collect();
    assert_eq!(said.len(), 5, "{told}");
    // In which order a record's members come is a matter of how the origin was built.
    assert!(said[0].starts_with("put: {") && said[0].contains("\"id\":\"item-001\""), "{told}");
    assert!(said[0].contains("\"quantity\":5"), "{told}");
    assert_eq!(said[1].strip_prefix("get: "), said[0].strip_prefix("put: "));
    assert!(said[2].starts_with("refused, not applied: ") && said[2].contains("422"), "{told}");
    assert_eq!(said[3], "deleted, then: no such item");
    assert_eq!(said[4], "hits 1, loads 1, writes 2, refused 1");
    let methods: Vec<Method> = origin.log().iter().map(|entry| entry.method).collect();
    assert_eq!(methods, [Method::Put, Method::Put, Method::Delete, Method::Get], "the first get was a hit");
}
