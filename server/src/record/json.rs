//! JSON as records need it: every number with its digits, every key in its place, no name twice.
//!
//! Owns the reading of bytes into an object. It never looks at a schema.
//! Invariant: what [`object`] returns holds no object with a name twice, and, serialized, reads as the same values.
//!
//! serde_json's `arbitrary_precision` is on, because a cache stands between two programs that agreed on their numbers
//! without it: 0.10, 12345678901234567890123 and 1e400 pass as they came (only an exponent's spelling is made one: 1E5
//! becomes 1e+5). The alternative, to keep the body's bytes beside the values, would have two truths of one record. Its
//! price is an allocation a number, and that serde_json hands a number that no 64-bit integer holds to a visitor as an
//! object with one reserved name. A client could send that very object and have it taken for a number; such a body is
//! refused.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{BodyError, describe};

/// The name under which serde_json hides a number.
const NUMBER: &str = "$serde_json::private::Number";

/// The object that `bytes` hold.
///
/// # Errors
/// Broken JSON, nesting deeper than serde_json's 128, a name twice in one object, or something else than an object.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, BodyError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(BodyError::whole("expected a JSON object, got nothing"));
    }
    // Unescaped, the name can stand only between quotes; escaped, the visitor can tell it from serde_json's own.
    if holds(bytes, b"\"$serde_json::private::Number\"") {
        return Err(BodyError::whole(format!("the name {NUMBER} is reserved")));
    }
    let twice = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Exact { twice: &twice }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(BodyError::whole(format!("expected a JSON object, got {}", describe(&other)))),
        Err(error) => Err(match twice.take() {
            Some(name) => BodyError::of(
                &name,
                format!("given twice in one object, at line {} column {}", error.line(), error.column()),
            ),
            None => BodyError::whole(format!("not JSON: {error}")),
        }),
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    // Bodies without a dollar sign, nearly all, cost one quick pass.
    bytes.contains(&b'$') && bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Reads one value; `twice` takes the name that made it fail, if one did.
#[derive(Clone, Copy)]
struct Exact<'a> {
    twice: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Exact<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Exact<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key_seed(Name)? {
            let name = match name {
                Found::Number => {
                    let digits: String = entries.next_value()?;
                    let number = digits.parse::<Number>().map_err(Error::custom)?;
                    return Ok(Value::Number(number));
                }
                Found::Name(name) if name == NUMBER => {
                    return Err(Error::custom(format!("the name {NUMBER} is reserved")));
                }
                Found::Name(name) => name,
            };
            if object.contains_key(&name) {
                *self.twice.borrow_mut() = Some(name);
                return Err(Error::custom("given twice"));
            }
            let value = entries.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// A name of an object, or serde_json's sign that it is a number.
enum Found {
    Number,
    Name(String),
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Found, E> {
        Ok(Found::Name(name.to_owned()))
    }

    // Borrowed are names without an escape, and serde_json's own; the former were looked for before.
    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Found, E> {
        if name == NUMBER { Ok(Found::Number) } else { Ok(Found::Name(name.to_owned())) }
    }
}
