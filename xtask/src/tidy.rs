//! House rules that no compiler checks: a header on every file, no huge file, no unfinished work, no path of somebody's machine,
//! no table of outcomes that is out of date.

use std::path::Path;
use std::process::Command;

/// Lines that a source file may have before it must be two.
const LONGEST_FILE: usize = 700;

/// Marks of unfinished work, spelled apart so that this file does not bear them.
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];

/// Where things lie on somebody's machine only.
const MACHINE_PATHS: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];

pub(crate) fn check(root: &Path) -> Result<(), String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    if !listed.status.success() {
        return Err("git ls-files failed: tidy runs in a git checkout".to_owned());
    }
    let mut faults = Vec::new();
    let mut files = 0;
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        if name.ends_with(".lock") {
            continue;
        }
        // What is no text, or was removed and not yet committed, has no lines to look at.
        let Ok(text) = std::fs::read_to_string(root.join(name)) else { continue };
        files += 1;
        faults.extend(of_file(name, &text));
    }
    faults.extend(crate::outcomes::drift(root));
    if faults.is_empty() {
        println!("tidy: {files} files in order");
        return Ok(());
    }
    Err(format!("tidy:\n  {}", faults.join("\n  ")))
}

fn of_file(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let rust = name.ends_with(".rs");
    if rust && !text.starts_with("//!") && !text.starts_with("#![") {
        faults.push(format!("{name}: does not begin with what it is for (//!)"));
    }
    let lines = text.lines().count();
    if rust && lines > LONGEST_FILE {
        faults.push(format!("{name}: {lines} lines; a file of more than {LONGEST_FILE} is two"));
    }
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{name}:{}", number + 1);
        if let Some(mark) = UNFINISHED.iter().find(|mark| line.contains(**mark)).filter(|_| rust) {
            faults.push(format!("{}: unfinished ({mark})", place()));
        }
        if let Some(path) = MACHINE_PATHS.iter().find(|path| names(line, path)) {
            faults.push(format!("{}: a path of one machine ({path})", place()));
        }
    }
    faults
}

/// The line has `path` where a path begins, not in the middle of a URL or a longer name.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '}' | '>'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_fault() {
        assert!(of_file("a.rs", "//! Is for something.\n").is_empty());
        assert_eq!(of_file("a.rs", "fn main() {}\n").len(), 1);
        assert_eq!(of_file("a.rs", &format!("//! A.\n{}", "\n".repeat(LONGEST_FILE))).len(), 1);
        assert_eq!(of_file("a.rs", &format!("//! A.\n// {}: later\n", UNFINISHED[0])).len(), 1);
        assert_eq!(of_file("a.md", &format!("see {}someone/x\n", MACHINE_PATHS[0])).len(), 1);
        assert!(of_file("a.md", &format!("see example.org{}someone\n", MACHINE_PATHS[0])).is_empty());
    }
}
