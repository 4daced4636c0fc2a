//! Mutants of core: changes that a compiler accepts, one at a time, against core's tests.
//!
//! cargo-mutants makes and runs them, each with a build of its own; all take hours, so this is no part of CI. Who wants fewer
//! says which.

use std::path::Path;

use crate::{cargo, root, run};

const INSTALL: &str = "cargo install cargo-mutants --locked";

/// The task: all arguments are cargo-mutants' own.
pub(crate) fn task(args: &[String]) -> Result<(), String> {
    let installed = cargo(&["mutants", "--version"]).output().is_ok_and(|output| output.status.success());
    if !installed {
        return Err(format!("mutants: cargo-mutants is not installed ({INSTALL})"));
    }
    let told = root().join("target/mutants");
    std::fs::create_dir_all(&told).map_err(|error| format!("{}: {error}", told.display()))?;
    let mut mutants = cargo(&["mutants", "--package", "wtcache", "--features", "tokio", "--output"]);
    mutants.arg(&told);
    for test in tests(&root().join("core/tests"))? {
        mutants.arg(format!("--cargo-test-arg={test}"));
    }
    mutants.args(args);
    run(mutants).map_err(|error| format!("{error}\n  what was told of each is in target/mutants/mutants.out"))
}

/// The unit tests and every file of tests. The folders beside them hold searches, which take longer than all the others.
fn tests(folder: &Path) -> Result<Vec<String>, String> {
    let mut tests = vec!["--lib".to_owned()];
    let files = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for file in files {
        let path = file.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            tests.push(format!("--test={name}"));
        }
    }
    tests.sort();
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_tests_is_left_out() {
        let tests = tests(&root().join("core/tests")).unwrap();
        assert_eq!(tests[0], "--lib");
        assert!(tests.iter().any(|test| test == "--test=writing"), "{tests:?}");
        let searches = ["--test=interleavings", "--test=transactions_model", "--test=shelf", "--test=main"];
        assert!(!tests.iter().any(|test| searches.contains(&test.as_str())), "{tests:?}");
    }
}
