//! A patch of a record: a JSON merge patch (RFC 7396), checked against the schema.
//!
//! Owns what a patch may name, and the merge. Invariant: what comes of a patch is a record of the table with the same primary key; members
//! that the patch does not name, the origin's own among them, stay as they are, in their places.

use serde_json::{Map, Value};

use super::{BodyError, json};
use crate::schema::Table;

impl Table {
    /// Checks what can be told of a patch of `key` without the record: that it is an object, and what it says of attributes.
    ///
    /// # Errors
    /// As [`Table::check_body`], but that attributes may be missing; null, which removes, is refused of required ones and of the
    /// primary key.
    pub(crate) fn check_patch(&self, key: &str, body: &[u8]) -> Result<Map<String, Value>, BodyError> {
        let mut patch = json::object(body)?;
        if patch.contains_key(&self.primary_key) {
            self.settle_primary_key(key, &mut patch)?;
        }
        for (name, value) in &patch {
            match self.attribute(name) {
                Some((_, attribute)) => {
                    attribute.check(Some(value))?;
                    attribute.check_bounds(Some(value))?;
                }
                None if self.sealed => return Err(self.unknown_attribute(name)),
                None => {}
            }
        }
        Ok(patch)
    }

    /// The record of `key` with a checked patch in it.
    ///
    /// # Errors
    /// What comes of it is no record of the table.
    pub(crate) fn patched(
        &self,
        key: &str,
        mut record: Map<String, Value>,
        patch: &Map<String, Value>,
    ) -> Result<Map<String, Value>, BodyError> {
        merge(&mut record, patch);
        self.settle_primary_key(key, &mut record)?;
        for attribute in &self.attributes {
            attribute.check(record.get(&attribute.name))?;
        }
        Ok(record)
    }
}

/// `MergePatch` of RFC 7396 §2. It nests no deeper than JSON is read.
fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.shift_remove(name);
            }
            Value::Object(patch) => {
                let mut inner = match target.get_mut(name).map(Value::take) {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                merge(&mut inner, patch);
                target.insert(name.clone(), Value::Object(inner));
            }
            value => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7396, Appendix A, whose target and patch are objects.
    #[test]
    fn a_merge_does_what_the_rfc_shows() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
            (r#"{"a":1,"b":{"x":1,"y":2},"c":3}"#, r#"{"b":{"x":null}}"#, r#"{"a":1,"b":{"y":2},"c":3}"#),
        ] {
            let read = |text: &str| json::object(text.as_bytes()).unwrap();
            let mut target = read(target);
            merge(&mut target, &read(patch));
            assert_eq!(serde_json::to_string(&target).unwrap(), result, "{patch}");
        }
    }
}
