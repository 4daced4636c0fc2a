//! From the parsed text of `schema.graphql` to tables.
//!
//! Owns which definitions, directives, arguments and types there are. It reads the whole document, whatever it finds,
//! so that one run shows all errors.

use std::collections::HashSet;
use std::time::Duration;

use async_graphql_parser::types::{
    BaseType, ConstDirective, FieldDefinition, ObjectType, TypeDefinition, TypeKind, TypeSystemDefinition,
};
use async_graphql_parser::{Error, Pos, Positioned, parse_schema};

use super::{Attribute, Bounds, Scalar, Schema, Stamp, Table, export, guard};
use crate::diagnostic::{Diagnostics, Findings, Position, hint_of_known, nearest, shown, text};

/// Attribute numbers are 16 bits wide; no table comes near.
const MAX_ATTRIBUTES: usize = 1024;

/// Every table has a cache of its own.
const MAX_TABLES: usize = 1024;

/// A table's name is a segment of a URL, an attribute's a key of its query.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// A hundred years: longer than any record lives, and far from the end of any clock.
const MAX_SECONDS: u64 = 100 * 365 * 24 * 60 * 60;

const ON_TYPE: [&str; 3] = ["table", "export", "sealed"];
const ON_FIELD: [&str; 8] =
    ["primaryKey", "indexed", "min", "max", "pattern", "createdTime", "updatedTime", "expiresAt"];
const EXAMPLE: &str = "a table is written: type Item @table @export { id: ID @primaryKey }";

/// Reads a schema.
pub(super) fn schema(file: &str, bytes: &[u8]) -> Result<Schema, Diagnostics> {
    let source = text(file, bytes)?;
    let mut findings = Findings::new(file);
    match guard::inspect(source) {
        guard::Verdict::Empty => {
            return Err(findings.fail(Position::START, "the schema declares no table", Some(EXAMPLE.to_owned())));
        }
        guard::Verdict::TooDeep(at) => {
            return Err(findings.fail(at, "nested too deeply", None));
        }
        guard::Verdict::Parse => {}
    }
    let document = match parse_schema(source) {
        Ok(document) => document,
        Err(error) => {
            let (at, message) = syntax_error(&error);
            return Err(findings.fail(at, message, Some(EXAMPLE.to_owned())));
        }
    };
    if document.definitions.len() > MAX_TABLES {
        let message = format!("the schema has more than {MAX_TABLES} definitions");
        return Err(findings.fail(Position::START, message, None));
    }
    let mut tables: Vec<Table> = Vec::new();
    let mut names = HashSet::new();
    for definition in &document.definitions {
        let Some(definition) = only_type(definition, &mut findings) else {
            continue;
        };
        let name = &definition.name;
        let is_first = names.insert(name.node.as_str());
        if !is_first {
            findings.add(place(name.pos), format!("type {} is declared twice", shown(&name.node)), None);
        }
        let Some(table) = table(definition, &mut findings) else { continue };
        if is_first && tables.iter().any(|other| other.name == table.name) {
            let message = format!("type {}: another table has the name {}", shown(&name.node), shown(&table.name));
            findings.add(place(name.pos), message, Some("give one of them another: @export(name: \"…\")".to_owned()));
        }
        tables.push(table);
    }
    findings.or(Schema { tables })
}

/// The definition if it is one of an object type; anything else is refused by what it is.
fn only_type<'a>(definition: &'a TypeSystemDefinition, findings: &mut Findings<'_>) -> Option<&'a TypeDefinition> {
    let (at, what) = match definition {
        TypeSystemDefinition::Type(definition) => match (&definition.node.kind, definition.node.extend) {
            (TypeKind::Object(_), false) => return Some(&definition.node),
            (_, true) => (definition.pos, "extend"),
            (TypeKind::Scalar, _) => (definition.pos, "scalar"),
            (TypeKind::Interface(_), _) => (definition.pos, "interface"),
            (TypeKind::Union(_), _) => (definition.pos, "union"),
            (TypeKind::Enum(_), _) => (definition.pos, "enum"),
            (TypeKind::InputObject(_), _) => (definition.pos, "input"),
        },
        TypeSystemDefinition::Schema(definition) => (definition.pos, "schema"),
        TypeSystemDefinition::Directive(definition) => (definition.pos, "directive"),
    };
    let message = format!("{what} is not supported, only type definitions are");
    findings.add(place(at), message, Some(EXAMPLE.to_owned()));
    None
}

fn table(definition: &TypeDefinition, findings: &mut Findings<'_>) -> Option<Table> {
    let TypeKind::Object(object) = &definition.kind else {
        return None;
    };
    let name = &definition.name;
    check_name(name.pos, &name.node, findings);
    if let Some(interface) = object.implements.first() {
        findings.add(place(interface.pos), "implements is not supported", None);
    }
    let mut table = Table {
        name: name.node.to_string(),
        expiration: None,
        eviction: None,
        exported: false,
        sealed: false,
        primary_key: String::new(),
        attributes: Vec::new(),
    };
    let (mut is_table, mut own_name) = (false, None);
    for directive in once_each(&definition.directives, findings) {
        match directive.node.name.node.as_str() {
            "table" => {
                is_table = true;
                times(&directive.node, &mut table, findings);
            }
            "export" => {
                table.exported = true;
                own_name = export::own_name(&directive.node, findings);
            }
            "sealed" => {
                table.sealed = true;
                no_arguments(&directive.node, findings);
            }
            other => {
                let at = directive.pos;
                let meant = unknown_directive(at, other, &ON_TYPE, &ON_FIELD, "a field", findings);
                is_table |= meant == Some("table");
            }
        }
    }
    if !is_table {
        let hint = format!("write: type {} @table {{ … }}", shown(&name.node));
        findings.add(place(name.pos), format!("type {} is not a table", shown(&name.node)), Some(hint));
    }
    read_fields(name, object, &mut table, findings);
    // What is wrong with the type was told by the type's name.
    table.name = own_name.unwrap_or(table.name);
    Some(table)
}

fn read_fields(
    name: &Positioned<impl AsRef<str>>,
    object: &ObjectType,
    table: &mut Table,
    findings: &mut Findings<'_>,
) {
    if object.fields.len() > MAX_ATTRIBUTES {
        let message = format!("type {} has more than {MAX_ATTRIBUTES} attributes", shown(name.node.as_ref()));
        findings.add(place(name.pos), message, None);
        return;
    }
    let mut names = HashSet::new();
    for field in &object.fields {
        let field = &field.node;
        if !names.insert(field.name.node.as_str()) {
            let message = format!("attribute {} is declared twice", shown(&field.name.node));
            findings.add(place(field.name.pos), message, None);
        }
        let attribute = attribute(field, table, findings);
        table.attributes.extend(attribute);
    }
    if table.primary_key.is_empty() {
        let message = format!("type {} has no primary key", shown(name.node.as_ref()));
        findings.add(place(name.pos), message, Some("mark one attribute: id: ID @primaryKey".to_owned()));
    }
}

fn attribute(field: &FieldDefinition, table: &mut Table, findings: &mut Findings<'_>) -> Option<Attribute> {
    let name = field.name.node.to_string();
    check_name(field.name.pos, &name, findings);
    if let Some(argument) = field.arguments.first() {
        findings.add(place(argument.pos), format!("attribute {} takes no argument", shown(&name)), None);
    }
    let (list, of) = match &field.ty.node.base {
        BaseType::Named(_) => (false, &field.ty.node.base),
        BaseType::List(members) => (true, &members.base),
    };
    let scalar = match of {
        BaseType::Named(scalar) => Scalar::from_name(scalar),
        BaseType::List(_) => None,
    };
    if scalar.is_none() {
        let message = format!("{}: type {} is not supported", shown(&name), shown(&field.ty.node.to_string()));
        let hint = match of {
            BaseType::Named(name) if name == "BigInt" => {
                "a Long has whole numbers to 2^53; write more digits as a String".to_owned()
            }
            BaseType::Named(name) if name == "Date" => {
                "write a time as a Long, in milliseconds since 1970, or as a String".to_owned()
            }
            BaseType::Named(name) if name == "Bytes" || name == "Blob" => {
                "JSON has no bytes; write them as a String, in base64".to_owned()
            }
            BaseType::Named(name) if name == "Any" => {
                "leave the attribute out: what is not listed may be anything".to_owned()
            }
            BaseType::Named(unknown) => hint_of_known(unknown, "", &Scalar::NAMES),
            BaseType::List(_) => format!("known: {}, and lists of these", Scalar::NAMES.join(", ")),
        };
        findings.add(place(field.ty.pos), message, Some(hint));
    }
    let (mut indexed, mut bounds, mut stamp, mut expires_at) = (false, Bounds::default(), None, false);
    for directive in once_each(&field.directives, findings) {
        match directive.node.name.node.as_str() {
            "primaryKey" => {
                no_arguments(&directive.node, findings);
                primary_key(directive.pos, &name, scalar, table, findings);
            }
            "indexed" => {
                indexed = true;
                no_arguments(&directive.node, findings);
            }
            "min" | "max" | "pattern" => bounds.read(directive, scalar, findings),
            "createdTime" | "updatedTime" => {
                no_arguments(&directive.node, findings);
                let nullable = field.ty.node.nullable;
                let which = stamped(directive, &name, scalar.filter(|_| !list), nullable, table, findings);
                if which.is_some() && stamp.is_some() {
                    let message = format!("{}: @createdTime and @updatedTime are two attributes", shown(&name));
                    findings.add(place(directive.pos), message, None);
                }
                stamp = which.or(stamp);
            }
            "expiresAt" => {
                no_arguments(&directive.node, findings);
                expires_at = true;
                own_end(directive.pos, &name, scalar.filter(|_| !list), table, findings);
            }
            other => {
                let at = directive.pos;
                let meant = unknown_directive(at, other, &ON_FIELD, &ON_TYPE, "the type", findings);
                if meant == Some("primaryKey") && table.primary_key.is_empty() {
                    table.primary_key.clone_from(&name);
                }
            }
        }
    }
    if list && table.primary_key == name {
        findings.add(place(field.ty.pos), format!("{}: a primary key is no list", shown(&name)), None);
    }
    if stamp.is_some() && expires_at {
        let message = format!("{}: who writes a record says when it ends, not this server", shown(&name));
        findings.add(place(field.name.pos), message, None);
    }
    bounds.settle(&name, field.name.pos, findings);
    let required = !field.ty.node.nullable;
    Some(Attribute { name, scalar: scalar?, list, required, indexed, bounds, stamp, expires_at })
}

/// Which time an attribute is to have. `scalar`: its type, if that is known and it is no list.
fn stamped(
    directive: &Positioned<ConstDirective>,
    name: &str,
    scalar: Option<Scalar>,
    nullable: bool,
    table: &Table,
    findings: &mut Findings<'_>,
) -> Option<Stamp> {
    let own = directive.node.name.node.as_str();
    let stamp = if own == "createdTime" { Stamp::Created } else { Stamp::Updated };
    let at = place(directive.pos);
    if !matches!(scalar, Some(Scalar::Long | Scalar::Float)) {
        let message = format!("{}: @{own} is for a Long or a Float: milliseconds since 1970", shown(name));
        findings.add(at, message, None);
    }
    if !nullable {
        let message = format!("{}: this server writes it, so that no client has to", shown(name));
        findings.add(at, message, Some("leave out the !".to_owned()));
    }
    if let Some(other) = table.stamp(stamp) {
        findings.add(at, format!("{} has @{own} already", shown(&other)), None);
    }
    Some(stamp)
}

/// `scalar`: the attribute's type, if that is known and it is no list.
fn own_end(at: Pos, name: &str, scalar: Option<Scalar>, table: &Table, findings: &mut Findings<'_>) {
    if !matches!(scalar, Some(Scalar::Long | Scalar::Float)) {
        let message = format!("{}: @expiresAt is for a Long or a Float: milliseconds since 1970", shown(name));
        findings.add(place(at), message, None);
    }
    if let Some(other) = table.expires_at() {
        findings.add(place(at), format!("{} has @expiresAt already", shown(other)), None);
    }
}

fn primary_key(at: Pos, name: &str, scalar: Option<Scalar>, table: &mut Table, findings: &mut Findings<'_>) {
    if !table.primary_key.is_empty() {
        let message = format!(
            "type {} has two primary keys, {} and {}",
            shown(&table.name),
            shown(&table.primary_key),
            shown(name)
        );
        findings.add(place(at), message, None);
        return;
    }
    name.clone_into(&mut table.primary_key);
    if let Some(scalar) = scalar.filter(|scalar| !matches!(scalar, Scalar::Id | Scalar::String)) {
        let message = format!("{}: a primary key is an ID or a String, not {scalar}", shown(name));
        findings.add(place(at), message, None);
    }
}

/// How long a table's records live, and how long they are kept after that.
fn times(directive: &ConstDirective, table: &mut Table, findings: &mut Findings<'_>) {
    const KNOWN: [&str; 2] = ["expiration", "eviction"];
    let mut seen = HashSet::new();
    for (name, value) in &directive.arguments {
        let argument = name.node.as_str();
        if !KNOWN.contains(&argument) {
            let message = format!("unknown argument {} of @table", shown(argument));
            let hint = match argument {
                "scanInterval" => "nothing is scanned: what has expired goes when its key is asked for, or for room; \
                                   leave it out"
                    .to_owned(),
                unknown => hint_of_known(unknown, "", &KNOWN),
            };
            findings.add(place(name.pos), message, Some(hint));
            continue;
        }
        if !seen.insert(argument) {
            findings.add(place(name.pos), format!("argument {argument} of @table is given twice"), None);
            continue;
        }
        let (time, least) =
            if argument == "expiration" { (&mut table.expiration, 1) } else { (&mut table.eviction, 0) };
        let written = shown(&value.node.to_string());
        let number = value.node.clone().into_json().ok().filter(serde_json::Value::is_number);
        match number.as_ref().and_then(serde_json::Value::as_u64) {
            Some(whole) if (least..=MAX_SECONDS).contains(&whole) => *time = Some(Duration::from_secs(whole)),
            _ => {
                let message = format!(
                    "{argument}: expected a whole number of seconds from {least} to {MAX_SECONDS}, got {written}"
                );
                findings.add(place(value.pos), message, Some(format!("write: @table({argument}: 300)")));
            }
        }
    }
}

fn no_arguments(directive: &ConstDirective, findings: &mut Findings<'_>) {
    for (name, _) in &directive.arguments {
        let message = format!("unknown argument {} of @{}", shown(&name.node), directive.name.node);
        let hint = format!("@{} takes no argument", directive.name.node);
        findings.add(place(name.pos), message, Some(hint));
    }
}

/// The directives without the repeated ones, which are errors.
fn once_each<'a>(
    directives: &'a [Positioned<ConstDirective>],
    findings: &mut Findings<'_>,
) -> Vec<&'a Positioned<ConstDirective>> {
    let mut seen = HashSet::new();
    let (first, again): (Vec<_>, Vec<_>) =
        directives.iter().partition(|directive| seen.insert(directive.node.name.node.as_str()));
    for directive in again {
        let message = format!("directive @{} is given twice", shown(&directive.node.name.node));
        findings.add(place(directive.pos), message, None);
    }
    first
}

/// Adds the error, and gives the directive that was likely meant: taken for it, it causes no second error.
fn unknown_directive(
    at: Pos,
    name: &str,
    known_here: &[&'static str],
    known_there: &[&'static str],
    there: &str,
    findings: &mut Findings<'_>,
) -> Option<&'static str> {
    if known_there.contains(&name) {
        let message = format!("directive @{name} does not belong here");
        findings.add(place(at), message, Some(format!("it goes on {there}")));
        return None;
    }
    let near = nearest(name, known_here.iter().chain(known_there).copied());
    let hint = match near {
        Some(near) => format!("did you mean @{near}?"),
        None => hint_of_known(name, "@", known_here),
    };
    findings.add(place(at), format!("unknown directive @{}", shown(name)), Some(hint));
    near
}

/// GraphQL's names are letters, digits and underscores, so that only their length and GraphQL's own prefix can keep
/// them from being a URL's segment or a query's key.
fn check_name(at: Pos, name: &str, findings: &mut Findings<'_>) {
    if name.len() > MAX_NAME_BYTES {
        let message = format!("the name {} is longer than {MAX_NAME_BYTES} bytes", shown(name));
        findings.add(place(at), message, Some("a name is part of a URL".to_owned()));
    } else if name.starts_with("__") {
        let message = format!("the name {} begins with two underscores", shown(name));
        findings.add(place(at), message, Some("GraphQL keeps such names for itself".to_owned()));
    }
}

fn syntax_error(error: &Error) -> (Position, String) {
    let at = error.positions().next().map_or(Position::START, place);
    let message = match error {
        // The parser's message is a picture of several lines; its last line says what it waited for.
        Error::Syntax { message, .. } => {
            let last = message.lines().last().unwrap_or_default();
            guard::in_words(last.trim_start().trim_start_matches("= "))
        }
        other => other.to_string(),
    };
    (at, format!("syntax error: {message}"))
}

pub(super) fn place(pos: Pos) -> Position {
    Position { line: pos.line, column: pos.column }
}
