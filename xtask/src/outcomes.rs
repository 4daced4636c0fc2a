//! The table of outcomes as a chapter of the contract: rendered from `attack/outcomes.tsv`, and held against what stands there.
//!
//! Owns: the chapter between the two marks. Never: judges a row; `attack/tests/outcome_table` runs them and refuses what is no
//! table. Invariant: what is shown is what the file says, row by row and in its order.

use std::fmt::Write;
use std::path::Path;

const FILE: &str = "attack/outcomes.tsv";
const CHAPTER: &str = "docs/CONTRACT.md";
const BEGIN: &str = "<!-- outcomes: written by `cargo xtask outcomes` from attack/outcomes.tsv -->";
const END: &str = "<!-- outcomes: end -->";

/// Writes the chapter.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    let (now, wanted) = both(root)?;
    if now == wanted {
        println!("outcomes: {CHAPTER} is as {FILE} says");
        return Ok(());
    }
    std::fs::write(root.join(CHAPTER), wanted).map_err(|error| format!("{CHAPTER}: {error}"))?;
    println!("outcomes: {CHAPTER} is written anew from {FILE}");
    Ok(())
}

/// What is wrong with the chapter as it stands, if anything.
pub(crate) fn drift(root: &Path) -> Option<String> {
    match both(root) {
        Ok((now, wanted)) if now == wanted => None,
        Ok(_) => Some(format!("{CHAPTER}: its table of outcomes is not what {FILE} says; run `cargo xtask outcomes`")),
        Err(why) => Some(why),
    }
}

/// The document as it is, and as it should be.
fn both(root: &Path) -> Result<(String, String), String> {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"));
    let now = read(CHAPTER)?;
    let wanted = placed(&now, &rendered(&read(FILE)?)?)?;
    Ok((now, wanted))
}

/// `document` with `chapter` between its marks.
fn placed(document: &str, chapter: &str) -> Result<String, String> {
    let marks = document.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = marks.ok_or_else(|| format!("{CHAPTER}: the marks {BEGIN} and {END} are not there"))?;
    Ok(format!("{before}{BEGIN}\n{chapter}{END}{after}"))
}

/// A part a phase, a line a row.
fn rendered(table: &str) -> Result<String, String> {
    let mut groups = String::new();
    let mut out = String::new();
    for (number, line) in (1..).zip(table.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = line.split('\t').collect();
        // Writing to a String cannot fail.
        let _ = match columns[..] {
            ["@operations", name, list] => writeln!(groups, "- *{name}*: {list}"),
            ["@phase", name, _, _, text] => {
                let head = "| fault | operation | from | outcome | the caller gets | at the origin | key afterwards | next read |";
                writeln!(out, "\n### {name}\n{text}\n\n{head}\n|---|---|---|---|---|---|---|---|")
            }
            [faults, operations, from, outcome, caller, origin, key, next] => {
                let (faults, from) = (shortened(faults), from.replace(' ', ", "));
                let operations = operations.replace(' ', ", ");
                writeln!(out, "| {faults} | {operations} | {from} | {outcome} | {caller} | {origin} | {key} | {next} |")
            }
            _ => return Err(format!("{FILE}:{number}: neither a row nor a phase")),
        };
    }
    Ok(format!("{groups}{out}"))
}

/// `status 200; status 204` is `status 200, 204`, and `*` is in words.
fn shortened(faults: &str) -> String {
    let mut text = String::new();
    let mut in_status = false;
    for fault in faults.split("; ") {
        let status = fault.strip_prefix("status ");
        let shown = status.filter(|_| in_status).unwrap_or(if fault == "*" { "any" } else { fault });
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(shown);
        in_status = status.is_some();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# a remark\n@operations\tputs\tput put-if\n@phase\tFirst\twire\tputs\tWhat it is.\n\
        status 200; status 204\tputs\tcold doubt\tApplied\tno record\tapplied\tnothing\tasks\n";

    #[test]
    fn a_changed_row_is_drift_and_writing_ends_it() {
        let chapter = rendered(TABLE).expect("a table");
        assert!(chapter.contains("| status 200, 204 | puts | cold, doubt | Applied |"), "{chapter}");
        let document = placed(&format!("before\n{BEGIN}\n{END}\nafter\n"), &chapter).expect("marks");
        assert_eq!(placed(&document, &chapter).as_ref(), Ok(&document));
        let changed = rendered(&TABLE.replace("Applied", "Unknown")).expect("a table");
        assert_ne!(placed(&document, &changed).expect("marks"), document);
        assert!(document.starts_with("before\n") && document.ends_with("\nafter\n"));
    }

    #[test]
    fn a_document_without_marks_and_a_line_that_is_none_are_refused() {
        assert!(placed("nothing", "chapter").is_err());
        assert!(rendered("a\tb\n").is_err());
    }
}
