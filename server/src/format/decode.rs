//! CBOR and MessagePack to the values of JSON.
//!
//! Owns what of them a record may hold: what JSON can say. Invariants: nothing nests deeper than [`MOST_DEPTH`], whatever the bytes say, no
//! memory is taken for a length that is only announced, and nothing may follow the value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::diagnostic::shown;

/// As serde_json has it.
const MOST_DEPTH: usize = 128;

const TOO_DEEP: &str = "it is nested too deeply";
const TOO_SHORT: &str = "it ends before its end";
const TOO_LONG: &str = "something follows the value";

pub(super) fn cbor(bytes: &[u8]) -> Result<Value, String> {
    use ciborium::de::Error;

    let mut rest = bytes;
    let Plain(value) =
        ciborium::de::from_reader_with_recursion_limit(&mut rest, MOST_DEPTH).map_err(|error| match error {
            Error::Io(_) => TOO_SHORT.to_owned(),
            Error::Syntax(at) => format!("the byte at {at} has no meaning"),
            Error::Semantic(_, why) => why,
            Error::RecursionLimitExceeded => TOO_DEEP.to_owned(),
        })?;
    if rest.is_empty() { Ok(value) } else { Err(TOO_LONG.to_owned()) }
}

pub(super) fn message_pack(bytes: &[u8]) -> Result<Value, String> {
    use rmp_serde::decode::Error;

    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(MOST_DEPTH);
    let Plain(value) = Plain::deserialize(&mut reader).map_err(|error| match error {
        Error::DepthLimitExceeded => TOO_DEEP.to_owned(),
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => TOO_SHORT.to_owned(),
        Error::Syntax(why) => why,
        other => other.to_string(),
    })?;
    match IgnoredAny::deserialize(&mut reader) {
        Err(Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(TOO_LONG.to_owned()),
    }
}

/// A value that JSON can say.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what JSON can say")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        Err(E::custom("a whole number has more than 64 bits"))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        Err(E::custom("a whole number has more than 64 bits"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom(format!("{value} is no number of JSON")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Value, E> {
        Err(E::custom("a record has no place for bytes; send text"))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(Error::custom("a tag has no meaning in a record"))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<Value, D::Error> {
        Err(Error::custom("an extension has no meaning in a record"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Plain(value)) = items.next_element()? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(Plain(name)) = entries.next_key()? {
            let Value::String(name) = name else { return Err(Error::custom("a name of a map is no text")) };
            if object.contains_key(&name) {
                return Err(Error::custom(format!("{} is given twice in one map", shown(&name))));
            }
            let Plain(value) = entries.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
