//! A thread that panics is told of, without what the panic may show. A process of its own: its panics, and its log, are all of it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use serde_json::Value;
use wtcache_server::config::LogFormat;
use wtcache_server::log;

/// Is run by the other test.
#[test]
#[ignore = "its standard error is what the other test looks at"]
fn threads_panic() {
    log::start(LogFormat::Json).unwrap();
    assert!(log::start(LogFormat::Json).is_err(), "it tells already");
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let record = std::env::args().count().to_string();
    named("one").spawn(|| panic!("words of the code")).unwrap().join().unwrap_err();
    named("two").spawn(move || panic!("s3cret record {record}")).unwrap().join().unwrap_err();
    log::flush();
}

#[test]
fn a_thread_that_panics_is_told_of_by_where_it_did() {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).args(["--ignored", "--exact", "threads_panic", "--nocapture"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let err = String::from_utf8(output.stderr).unwrap();
    let told: Vec<Value> = err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let said = |at: usize, name: &str| told[at][name].as_str().unwrap().to_owned();
    assert_eq!(
        (said(0, "event"), said(0, "level"), said(0, "thread")),
        ("panicked".into(), "error".into(), "one".into())
    );
    assert_eq!(said(0, "message"), "words of the code");
    assert_eq!(said(1, "thread"), "two");
    assert!((0..2).all(|at| said(at, "at").contains("panics.rs:")), "{err}");
    assert!(told.len() == 2 && !err.contains("s3cret"), "{err}");
}
