//! What stands around the GraphQL parser: a look at the text before it, plain words for its errors after it.
//!
//! Owns the bound on nesting: the parser is recursive, in brackets and in list types, so that a text of brackets alone
//! could exhaust the stack. Invariant: what [`inspect`] lets pass nests no deeper than [`MAX_DEPTH`] wherever the
//! parser can get to; behind a lexical error it may count wrongly, but there the parser does not get to.

use crate::diagnostic::Position;

/// A schema needs three: a type's braces, a directive's parentheses, a value's brackets.
const MAX_DEPTH: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing but space and comments.
    Empty,
    TooDeep(Position),
    Parse,
}

/// Whether the text is worth parsing, and safe to.
pub(super) fn inspect(source: &str) -> Verdict {
    let mut verdict = Verdict::Empty;
    let mut depth = 0usize;
    let mut at = Position::START;
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let token = match c {
            '#' => &rest[..rest.find(['\n', '\r']).unwrap_or(rest.len())],
            '"' => string(rest),
            _ => &rest[..c.len_utf8()],
        };
        match c {
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Verdict::TooDeep(at);
        }
        if !matches!(c, '#' | ' ' | ',' | '\t' | '\n' | '\r' | '\u{feff}') {
            verdict = Verdict::Parse;
        }
        for c in token.chars() {
            at = if c == '\n' {
                Position { line: at.line + 1, column: 1 }
            } else {
                Position { column: at.column + 1, ..at }
            };
        }
        rest = &rest[token.len()..];
    }
    verdict
}

/// The string at the start of `rest`, with its quotes; one that is not closed ends with its line, or with the text.
fn string(rest: &str) -> &str {
    if let Some(body) = rest.strip_prefix("\"\"\"") {
        let mut from = 0;
        while let Some(found) = body[from..].find("\"\"\"") {
            let end = from + found;
            if !body[..end].ends_with('\\') {
                return &rest[..3 + end + 3];
            }
            from = end + 3;
        }
        return rest;
    }
    let mut escaped = false;
    for (offset, c) in rest.char_indices().skip(1) {
        match c {
            '\n' | '\r' => return &rest[..offset],
            '"' if !escaped => return &rest[..=offset],
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest
}

/// The parser's words for what it waited for, in those of somebody who writes a schema.
pub(super) fn in_words(message: &str) -> String {
    let mut words = message.to_owned();
    for (rule, meaning) in [
        ("type_system_definition", "a type definition"),
        ("implements_interfaces", "implements"),
        ("const_directives", "a directive"),
        ("const_directive", "a directive"),
        ("const_arguments", "arguments"),
        ("const_argument", "an argument"),
        ("const_value", "a value"),
        ("fields_definition", "fields in braces"),
        ("field_definition", "a field"),
        // Of the two things that may follow a field's name, the parser names the one that no table has.
        ("arguments_definition", "a colon and a type"),
        ("type_", "a type"),
        ("name_start", "a name"),
        ("EOI", "the end of the file"),
    ] {
        words = words.replace(rule, meaning);
    }
    words.replace('_', " ")
}
