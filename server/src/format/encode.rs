//! The values of JSON to CBOR and MessagePack.
//!
//! Invariant: a whole number goes out as one, any other as the 64-bit float nearest to it; one that neither holds is an error.

use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Number, Value};

use crate::diagnostic::shown;

pub(super) fn cbor(value: &Value) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match ciborium::into_writer(&Plain(value), &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(ciborium::ser::Error::Value(why)) => Err(why),
        Err(ciborium::ser::Error::Io(error)) => Err(error.to_string()),
    }
}

pub(super) fn message_pack(value: &Value) -> Result<Vec<u8>, String> {
    rmp_serde::to_vec(&Plain(value)).map_err(|error| error.to_string())
}

/// A value of JSON for formats that have numbers of their own: serde_json hides the digits of its numbers in an object.
struct Plain<'a>(&'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => serialize_number(number, serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(&Plain(item)))?;
                seq.end()
            }
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, &Plain(value)))?;
                map.end()
            }
        }
    }
}

fn serialize_number<S: Serializer>(number: &Number, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(value) = number.as_i64() {
        return serializer.serialize_i64(value);
    }
    if let Some(value) = number.as_u64() {
        return serializer.serialize_u64(value);
    }
    let text = number.as_str();
    let is_whole = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && !is_whole => serializer.serialize_f64(value),
        _ => Err(Error::custom(format!("the number {} has no place in it", shown(text)))),
    }
}
