//! Records as CSV (RFC 4180), for tables and spreadsheets.
//!
//! The columns are the members of the records, in the order in which they first come up. Invariant: null and what is missing are nothing
//! at all, the empty text is a pair of quotes, and what is no text, number or boolean stands as its JSON.

use std::collections::HashSet;

use serde_json::Value;

/// The text of records, or of `one`, and whether its first line names the columns: not where the query asked for bare values.
pub(super) fn text(value: &Value, one: bool) -> (Vec<u8>, bool) {
    let alone = std::slice::from_ref(value);
    let rows = if let Value::Array(rows) = value
        && !one
    {
        rows.as_slice()
    } else {
        alone
    };
    let mut seen = HashSet::new();
    let members = rows.iter().filter_map(Value::as_object).flat_map(|record| record.keys());
    let columns: Vec<&str> = members.map(String::as_str).filter(|name| seen.insert(*name)).collect();
    let named = rows.iter().all(Value::is_object);
    let mut text = String::new();
    if named && !columns.is_empty() {
        line(&mut text, columns.iter().map(|name| quoted(name)));
    }
    for row in rows {
        match row {
            Value::Object(record) => {
                line(&mut text, columns.iter().map(|name| record.get(*name).map_or_else(String::new, field)));
            }
            Value::Array(values) => line(&mut text, values.iter().map(field)),
            value => line(&mut text, std::iter::once(field(value))),
        }
    }
    (text.into_bytes(), named)
}

fn line(text: &mut String, fields: impl Iterator<Item = String>) {
    for (n, field) in fields.enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(&field);
    }
    text.push_str("\r\n");
}

fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(_) | Value::Object(_) => quoted(&value.to_string()),
    }
}

/// Space at the ends is quoted too: some readers take it away.
fn quoted(text: &str) -> String {
    let bare = !text.is_empty() && text.trim() == text && !text.contains(['"', ',', '\r', '\n']);
    if bare { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}
