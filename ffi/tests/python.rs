//! The Python package over the library that was just built: its own tests, and the tutorial, against the sample origin over a real socket.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::Command;

use common::{Kind, artifact, output_of, root, run};
use wtcache_origin::{Method, Origin, OriginOptions};

fn origin() -> Origin {
    Origin::start(OriginOptions::new().api_key("sample-key")).unwrap()
}

/// Python with the package as it lies in the repository; where `WTCACHE_PYTHON` names an interpreter, with the package that is
/// installed there.
fn python(origin: &Origin) -> Command {
    let mut command;
    match std::env::var_os("WTCACHE_PYTHON") {
        Some(interpreter) => command = Command::new(interpreter),
        None => {
            command = Command::new("python3");
            command.env("PYTHONPATH", root().join("bindings/python/src")).env("WTCACHE_LIBRARY", artifact(Kind::Shared));
        }
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("WTCACHE_TEST_ORIGIN", origin.url()).current_dir(root());
    command
}

#[test]
fn the_tests_of_the_package_hold() {
    let origin = origin();
    let output = run(python(&origin).args(["-W", "error", "-m", "unittest", "discover", "-s", "bindings/python/tests"]));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.trim_end().ends_with("OK"), "some were skipped: {told}");
}

#[test]
fn the_tutorial_runs_against_the_sample_origin() {
    let origin = origin();
    let told = output_of(python(&origin).args(["examples/python/tutorial.py", &origin.url()]));
    let said: Vec<&str> = told.lines().collect();
    assert_eq!(said.len(), 5, "{told}");
    assert!(said[0].starts_with("put: {\"id\":\"item-001\"") && said[0].contains("\"quantity\":5"), "{told}");
    assert_eq!(said[1].strip_prefix("get: "), said[0].strip_prefix("put: "));
    assert!(said[2].starts_with("refused, not applied: ") && said[2].contains("422"), "{told}");
    assert_eq!(said[3], "deleted, then: no such item");
    assert_eq!(said[4], "hits 1, loads 1, writes 2, refused 1");
    let methods: Vec<Method> = origin.log().iter().map(|entry| entry.method.clone()).collect();
    assert_eq!(methods, [Method::Put, Method::Put, Method::Delete, Method::Get], "the first get was a hit");
}
