//! The table as data: `attack/outcomes.tsv`, read, and unfolded into the cases to run.
//!
//! Owns: the file's form. Never: runs anything, or knows what a fault does. Invariant: what a case expects is said by its
//! row, in the words in which the stage tells what it saw; only `as before` and a start in doubt are unfolded here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// The file.
pub(crate) const TEXT: &str = include_str!("../../outcomes.tsv");

/// A state of the key that a case begins in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Start {
    /// The origin's record is resident.
    Resident,
    /// It is not.
    Cold,
    /// A write of the key ended unknown before.
    Doubt,
    /// It is resident and may no longer be served.
    Expired,
    /// Neither here nor at the origin.
    Missing,
    /// Resident is what the origin has no longer: somebody wrote past the cache.
    Outdated,
    /// Resident under a version on which no write can be conditional.
    Weak,
}

impl Start {
    const NAMES: [(&'static str, Self); 7] = [
        ("resident", Self::Resident),
        ("cold", Self::Cold),
        ("doubt", Self::Doubt),
        ("expired", Self::Expired),
        ("missing", Self::Missing),
        ("outdated", Self::Outdated),
        ("weak", Self::Weak),
    ];

    fn is_resident(self) -> bool {
        matches!(self, Self::Resident | Self::Outdated | Self::Weak)
    }
}

/// What a program calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    Get,
    /// `read_many`, of the same key twice.
    GetMany,
    /// `get` where a record that has expired may stand in for an error.
    GetOrStale,
    Peek,
    Invalidate,
    InvalidatePrefix,
    InvalidatePattern,
    InvalidateTag,
    Put,
    /// `put_many` of one record.
    PutMany,
    /// `put` over a source that stores verbatim.
    VerbatimPut,
    /// `update` that puts; the fault strikes the write.
    UpdatePut,
    /// The same where preconditions are honoured.
    CondPut,
    /// `put_if` on the version that the program knows, where preconditions are honoured.
    PutIf,
    /// `prepare`, `send`, and the program's own I/O.
    PermitPut,
    Delete,
    UpdateDelete,
    CondDelete,
    /// As `PutIf`.
    DeleteIf,
    PermitDelete,
    /// `update` that puts; the fault strikes its read.
    UpdateRead,
    /// `update` that keeps what is there; the fault strikes its read.
    UpdateKeep,
    /// `create` of a record that the origin names.
    Create,
    /// `replay` of a put that nobody knows the outcome of, where the origin counts no idempotency keys.
    Replay,
}

impl Operation {
    pub(crate) const NAMES: [(&'static str, Self); 24] = [
        ("get", Self::Get),
        ("get-many", Self::GetMany),
        ("get-or-stale", Self::GetOrStale),
        ("peek", Self::Peek),
        ("invalidate", Self::Invalidate),
        ("invalidate-prefix", Self::InvalidatePrefix),
        ("invalidate-pattern", Self::InvalidatePattern),
        ("invalidate-tag", Self::InvalidateTag),
        ("put", Self::Put),
        ("put-many", Self::PutMany),
        ("verbatim-put", Self::VerbatimPut),
        ("update-put", Self::UpdatePut),
        ("cond-put", Self::CondPut),
        ("put-if", Self::PutIf),
        ("permit-put", Self::PermitPut),
        ("delete", Self::Delete),
        ("update-delete", Self::UpdateDelete),
        ("cond-delete", Self::CondDelete),
        ("delete-if", Self::DeleteIf),
        ("permit-delete", Self::PermitDelete),
        ("update-read", Self::UpdateRead),
        ("update-keep", Self::UpdateKeep),
        ("create", Self::Create),
        ("replay", Self::Replay),
    ];

    /// From where every fault is met.
    fn starts(self) -> &'static [Start] {
        match self {
            Self::Get | Self::GetMany => &[Start::Resident, Start::Cold, Start::Doubt, Start::Expired],
            // Elsewhere it is a `get`.
            Self::GetOrStale => &[Start::Expired],
            Self::Replay => &[Start::Doubt],
            // There is no key before the answer, and none of which the record is there.
            Self::Create => &[Start::Missing],
            // With the record resident it reads nothing at the origin.
            Self::UpdateRead => &[Start::Cold, Start::Doubt],
            _ => &[Start::Resident, Start::Cold, Start::Doubt],
        }
    }
}

/// The columns that a case is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) outcome: String,
    pub(crate) caller: String,
    pub(crate) origin: String,
    pub(crate) key: String,
    pub(crate) next: String,
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outcome, caller, origin, key, next } = self;
        write!(f, "{outcome}\t{caller}\t{origin}\t{key}\t{next}")
    }
}

/// A row of the file for one fault, one operation, one start, and one of the things the origin may have done.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) fault: String,
    pub(crate) operation: Operation,
    pub(crate) start: Start,
    pub(crate) expected: Claims,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}\t{:?}\t{:?}", self.line, self.fault, self.operation, self.start)
    }
}

/// A part of the table.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) name: String,
    /// Those for which the part must have rows.
    operations: Vec<Operation>,
    /// Its faults are met on the wire, so that rows of any fault (`*`) count for it.
    on_the_wire: bool,
    /// In the order of the file.
    faults: Vec<String>,
}

/// The file, read.
pub(crate) struct Table {
    pub(crate) phases: Vec<Phase>,
    pub(crate) cases: Vec<Case>,
}

struct Row<'a> {
    line: usize,
    faults: Vec<&'a str>,
    operations: Vec<Operation>,
    from: Vec<Start>,
    claims: Claims,
}

/// A fault that never ends has rows of its own: in them the next read fails too.
const ENDLESS: [&str; 1] = ["no such name"];

impl Table {
    /// # Errors
    /// A line is none of a table; the message names it.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut groups: HashMap<&str, Vec<Operation>> = HashMap::new();
        let mut phases: Vec<Phase> = Vec::new();
        let mut rows = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refuse = |why: &str| format!("line {number}: {why}");
            let columns: Vec<&str> = line.split('\t').collect();
            match columns[..] {
                ["@operations", name, list] => {
                    let list = operations(list, &groups).map_err(|why| refuse(&why))?;
                    groups.insert(name, list);
                }
                ["@phase", name, place, list, _] => {
                    let operations = operations(list, &groups).map_err(|why| refuse(&why))?;
                    let on_the_wire = match place {
                        "wire" => true,
                        "here" => false,
                        _ => return Err(refuse("a phase is met on the wire, or here")),
                    };
                    phases.push(Phase { name: name.to_owned(), operations, on_the_wire, faults: Vec::new() });
                }
                [faults, list, from, outcome, caller, origin, key, next] => {
                    let phase = phases.len().checked_sub(1).ok_or_else(|| refuse("a row before any phase"))?;
                    let faults: Vec<&str> = faults.split("; ").collect();
                    for fault in faults.iter().filter(|fault| **fault != "*") {
                        if !phases[phase].faults.iter().any(|known| known == fault) {
                            phases[phase].faults.push((*fault).to_owned());
                        }
                    }
                    let start = |name: &str| {
                        let found = Start::NAMES.iter().find(|(known, _)| *known == name);
                        found.map(|(_, start)| *start).ok_or_else(|| refuse(&format!("there is no start {name:?}")))
                    };
                    rows.push(Row {
                        line: number,
                        faults,
                        operations: operations(list, &groups).map_err(|why| refuse(&why))?,
                        from: from.split(' ').map(start).collect::<Result<_, _>>()?,
                        claims: Claims {
                            outcome: outcome.to_owned(),
                            caller: caller.to_owned(),
                            origin: origin.to_owned(),
                            key: key.to_owned(),
                            next: next.to_owned(),
                        },
                    });
                }
                _ => return Err(refuse("a row has eight columns")),
            }
        }
        let mut cases = Vec::new();
        for row in &rows {
            let any: Vec<&str> = wire_faults(&phases);
            let faults = if row.faults == ["*"] { &any } else { &row.faults };
            for fault in faults {
                unfold(row, fault, &mut cases);
            }
        }
        Ok(Self { phases, cases })
    }

    /// What is said twice, and what is not said.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let mut said: BTreeMap<(&str, Operation, Start, &str), usize> = BTreeMap::new();
        let mut met: BTreeSet<(&str, Operation, Start)> = BTreeSet::new();
        let mut gaps = Vec::new();
        for case in &self.cases {
            let place = (case.fault.as_str(), case.operation, case.start);
            met.insert(place);
            let place = (place.0, place.1, place.2, case.expected.origin.as_str());
            if let Some(earlier) = said.insert(place, case.line) {
                gaps.push(format!("{case}: line {earlier} says it already"));
            }
        }
        for phase in &self.phases {
            for fault in &phase.faults {
                for operation in &phase.operations {
                    for start in operation.starts() {
                        if !met.contains(&(fault.as_str(), *operation, *start)) {
                            gaps.push(format!("{}: no row has {fault}, {operation:?} from {start:?}", phase.name));
                        }
                    }
                }
            }
        }
        gaps
    }

    /// The faults of the file, each once.
    pub(crate) fn faults(&self) -> BTreeSet<&str> {
        self.phases.iter().flat_map(|phase| &phase.faults).map(String::as_str).collect()
    }
}

fn wire_faults(phases: &[Phase]) -> Vec<&str> {
    let faults = phases.iter().filter(|phase| phase.on_the_wire).flat_map(|phase| &phase.faults);
    faults.map(String::as_str).filter(|fault| !ENDLESS.contains(fault)).collect()
}

fn operations(list: &str, groups: &HashMap<&str, Vec<Operation>>) -> Result<Vec<Operation>, String> {
    let mut found = Vec::new();
    for name in list.split(' ') {
        match (groups.get(name), Operation::NAMES.iter().find(|(known, _)| *known == name)) {
            (Some(group), _) => found.extend(group),
            (None, Some((_, operation))) => found.push(*operation),
            (None, None) => return Err(format!("there is no operation {name:?}")),
        }
    }
    Ok(found)
}

fn unfold(row: &Row<'_>, fault: &str, cases: &mut Vec<Case>) {
    for operation in &row.operations {
        for start in &row.from {
            for origin in row.claims.origin.split(" / ") {
                let mut expected = Claims { origin: origin.to_owned(), ..row.claims.clone() };
                if let Some(status) = fault.strip_prefix("status ").and_then(|rest| rest.split(' ').next()) {
                    expected.caller = expected.caller.replace("{status}", status);
                }
                let before = |known: &'static str, unknown: &'static str| {
                    if start.is_resident() { known.to_owned() } else { unknown.to_owned() }
                };
                if expected.key == "as before" {
                    expected.key = before("old", "nothing");
                }
                if expected.next == "as before" {
                    expected.next = before("hit", "asks, keeps");
                }
                // D2: what began in doubt stays so, whatever the write of this case came to.
                if *start == Start::Doubt && !expected.next.starts_with("fails") {
                    expected.next = "asks, keeps not".to_owned();
                }
                if *start == Start::Doubt {
                    expected.key = "in doubt".to_owned();
                }
                let (operation, start) = (*operation, *start);
                cases.push(Case { line: row.line, fault: fault.to_owned(), operation, start, expected });
            }
        }
    }
}
