//! The name that a table has where it is not to be its type's.

use async_graphql_parser::types::ConstDirective;

use super::read::{MAX_NAME_BYTES, place};
use crate::diagnostic::{Findings, hint_of_known, shown};

const EXAMPLE: &str = "write: @export(name: \"parts\")";

/// What `@export(name: "…")` says, if it does.
pub(super) fn own_name(directive: &ConstDirective, findings: &mut Findings<'_>) -> Option<String> {
    let mut given = None;
    for (name, value) in &directive.arguments {
        if name.node != "name" {
            let message = format!("unknown argument {} of @export", shown(&name.node));
            findings.add(place(name.pos), message, Some(hint_of_known(&name.node, "", &["name"])));
        } else if given.is_some() {
            findings.add(place(name.pos), "argument name of @export is given twice", None);
        } else {
            given = Some(value);
        }
    }
    let value = given?;
    let text = match value.node.clone().into_json() {
        Ok(serde_json::Value::String(text)) => text,
        _ => {
            let message = format!("name: expected a text, got {}", shown(&value.node.to_string()));
            findings.add(place(value.pos), message, Some(EXAMPLE.to_owned()));
            return None;
        }
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    // What begins otherwise may be this server's own, as all below /-/ is.
    let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
    if begins && text.bytes().all(is_plain) && text.len() <= MAX_NAME_BYTES {
        return Some(text);
    }
    let message = format!(
        "name: expected a letter, then letters, digits, _ and -, {MAX_NAME_BYTES} at most, got \"{}\"",
        shown(&text)
    );
    findings.add(place(value.pos), message, Some("it is one segment of a path".to_owned()));
    None
}
