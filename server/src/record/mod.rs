//! What a record of a table may hold, what its index sees of it, and what a key may be.
//!
//! Owns the check of a body before it is written, the check of a record that the origin served, and the bytes under
//! which the values of an `@indexed` attribute meet. It never changes a value: numbers keep their digits, keys their
//! order; all it adds is a missing primary key, in front.
//! Invariant: a stored value and a query value are equal exactly if their canonical bytes are.

mod json;
#[cfg(feature = "serve")]
mod patch;

use std::error::Error;
use std::fmt;

use serde_json::{Map, Number, Value};

use crate::diagnostic::{nearest, shown};
use crate::schema::{Attribute, Scalar, Table};

pub(crate) use json::object;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The canonical bytes of null, which no value of any type has: no text holds this byte.
pub const NULL: &[u8] = &[0xff];

/// Why a body or record is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyError {
    /// The attribute at fault; `None`: the body as a whole.
    pub field: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

impl BodyError {
    fn whole(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into() }
    }

    fn of(field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), message: message.into() }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}: {}", shown(field), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Error for BodyError {}

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// It has no characters.
    Empty,
    /// It is `.` or `..`, which on the way to the origin would turn into another path.
    Dots,
    /// It is longer than [`MAX_KEY_BYTES`].
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It contains this control character.
    Control(char),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the key is empty"),
            Self::Dots => f.write_str("the key is . or .., which a URL takes for a folder"),
            Self::TooLong { bytes } => {
                write!(f, "the key has {bytes} bytes; at most {MAX_KEY_BYTES} are allowed")
            }
            Self::Control(c) => write!(f, "the key contains the control character U+{:04X}", u32::from(*c)),
        }
    }
}

impl Error for KeyError {}

/// Whether `key`, already decoded from its URL, may name a record.
///
/// # Errors
/// See [`KeyError`].
///
/// ```
/// use wtcache_server::record::{KeyError, check_key};
///
/// assert_eq!(check_key("WB-100"), Ok(()));
/// assert_eq!(check_key(".."), Err(KeyError::Dots));
/// ```
pub fn check_key(key: &str) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key == "." || key == ".." {
        return Err(KeyError::Dots);
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLong { bytes: key.len() });
    }
    key.chars().find(|c| c.is_control()).map_or(Ok(()), |c| Err(KeyError::Control(c)))
}

impl Table {
    /// Checks the body of a write of `key` before it is sent, and adds the primary key if the body leaves it out.
    ///
    /// # Errors
    /// Not JSON, not an object, a name twice in one object, another primary key than `key`, a value of the wrong type,
    /// a required attribute that is missing or null, a value beyond the attribute's bounds, or an unknown attribute if the table is
    /// sealed. Nothing was sent.
    ///
    /// ```
    /// # use wtcache_server::schema::Schema;
    /// # let schema = Schema::parse("s", b"type Item @table { id: ID @primaryKey quantity: Int }").unwrap();
    /// let table = schema.table("Item").unwrap();
    /// assert_eq!(table.check_body("WB-100", br#"{"quantity": 5}"#).unwrap()["id"], "WB-100");
    /// assert_eq!(
    ///     table.check_body("WB-100", br#"{"quantity": "5"}"#).unwrap_err().to_string(),
    ///     r#"quantity: expected Int, got string "5""#
    /// );
    /// ```
    pub fn check_body(&self, key: &str, body: &[u8]) -> Result<Map<String, Value>, BodyError> {
        let record = self.check_record(key, body)?;
        self.check_for_a_write(&record)?;
        Ok(record)
    }

    /// What holds of a record that is written, and need not of one that the origin serves.
    fn check_for_a_write(&self, record: &Map<String, Value>) -> Result<(), BodyError> {
        for attribute in &self.attributes {
            attribute.check_bounds(record.get(&attribute.name))?;
        }
        let unknown = record.keys().find(|name| self.sealed && self.attribute(name).is_none());
        unknown.map_or(Ok(()), |name| Err(self.unknown_attribute(name)))
    }

    /// Checks the body of a record whose key the origin names. It may have one of its own; none is added.
    ///
    /// # Errors
    /// As [`Table::check_body`], but for the primary key, which may be missing; and if it is there, what [`check_key`] refuses.
    pub fn check_new(&self, body: &[u8]) -> Result<Map<String, Value>, BodyError> {
        let record = object(body)?;
        for attribute in &self.attributes {
            let value = record.get(&attribute.name);
            if attribute.name == self.primary_key {
                match value {
                    None => {}
                    Some(Value::Null) => {
                        return Err(BodyError::of(&attribute.name, "a key cannot be null; leave it out"));
                    }
                    Some(value) => {
                        attribute.check(Some(value))?;
                        // A record of such a key could be asked for by nobody.
                        let is_one = value.as_str().map_or(Ok(()), check_key);
                        is_one.map_err(|error| BodyError::of(&attribute.name, error.to_string()))?;
                    }
                }
            } else {
                attribute.check(value)?;
            }
        }
        self.check_for_a_write(&record)?;
        Ok(record)
    }

    /// Checks a record that the origin served for `key`, and adds the primary key if the record leaves it out.
    /// Attributes that the schema does not know pass, sealed or not: the origin may know more than the schema.
    ///
    /// # Errors
    /// As [`Table::check_body`], but for unknown attributes and bounds.
    pub fn check_record(&self, key: &str, bytes: &[u8]) -> Result<Map<String, Value>, BodyError> {
        let mut record = object(bytes)?;
        self.settle_primary_key(key, &mut record)?;
        for attribute in &self.attributes {
            attribute.check(record.get(&attribute.name))?;
        }
        Ok(record)
    }

    /// The rows of a checked record in the indexes: an attribute's number and the canonical bytes of a value that it has. See
    /// [`Attribute::values`].
    pub fn index_values(&self, record: &Map<String, Value>) -> Vec<(u16, Vec<u8>)> {
        let indexed = self.numbered().filter(|(_, attribute)| attribute.indexed);
        indexed
            .flat_map(|(number, attribute)| {
                attribute.values(record.get(&attribute.name)).into_iter().map(move |value| (number, value))
            })
            .collect()
    }

    fn settle_primary_key(&self, key: &str, record: &mut Map<String, Value>) -> Result<(), BodyError> {
        let Some(held) = record.get(&self.primary_key) else {
            record.shift_insert(0, self.primary_key.clone(), Value::String(key.to_owned()));
            return Ok(());
        };
        let scalar = self.attribute(&self.primary_key).map_or(Scalar::Id, |(_, attribute)| attribute.scalar);
        if canonical(scalar, held).is_some_and(|held| held == key.as_bytes()) {
            return Ok(());
        }
        let message = format!("the path decides the primary key: it is \"{}\", not {}", shown(key), describe(held));
        Err(BodyError::of(&self.primary_key, message))
    }

    fn unknown_attribute(&self, name: &str) -> BodyError {
        let names = self.attributes.iter().map(|attribute| attribute.name.as_str());
        let mut message = format!("unknown attribute; {} is sealed", self.name);
        if let Some(near) = nearest(name, names) {
            message.push_str(&format!(", did you mean {near}?"));
        }
        BodyError::of(name, message)
    }
}

impl Attribute {
    /// The canonical bytes by which a record that holds `value` is found: those of the value, of each member where it is a list, and
    /// [`NULL`] where it is null or missing. A value of the wrong type has none.
    pub fn values(&self, value: Option<&Value>) -> Vec<Vec<u8>> {
        match value {
            None | Some(Value::Null) => vec![NULL.to_vec()],
            Some(Value::Array(members)) if self.list => {
                members.iter().filter_map(|member| canonical(self.scalar, member)).collect()
            }
            Some(value) => canonical(self.scalar, value).into_iter().collect(),
        }
    }

    /// The canonical bytes of a condition's operand. `null` is null; the text `null` is written `string:null`, and so can be any other. Before a
    /// number may stand `number:`, before `true` and `false` `boolean:`.
    ///
    /// # Errors
    /// As [`Attribute::query_value`].
    pub fn operand(&self, text: &str) -> Result<Vec<u8>, String> {
        if text == "null" {
            return Ok(NULL.to_vec());
        }
        let kind = match self.scalar {
            Scalar::Id | Scalar::String => "string:",
            Scalar::Int | Scalar::Long | Scalar::Float => "number:",
            Scalar::Boolean => "boolean:",
        };
        self.query_value(text.strip_prefix(kind).unwrap_or(text))
    }

    /// The canonical bytes of a value from a URL's query, to be compared with those of [`Table::index_values`].
    ///
    /// # Errors
    /// The text is not of the attribute's type; the message names the attribute.
    ///
    /// ```
    /// # use wtcache_server::schema::Schema;
    /// # let schema = Schema::parse("s", b"type I @table { id: ID @primaryKey n: Int @indexed }").unwrap();
    /// let table = schema.table("I").unwrap();
    /// let record = table.check_body("a", br#"{"n": 5}"#).unwrap();
    /// assert_eq!(table.index_values(&record), [(1, table.attributes[1].query_value("5").unwrap())]);
    /// ```
    pub fn query_value(&self, text: &str) -> Result<Vec<u8>, String> {
        let value = match self.scalar {
            Scalar::Id | Scalar::String => Some(Value::String(text.to_owned())),
            Scalar::Boolean => text.parse().ok().map(Value::Bool),
            Scalar::Int | Scalar::Long | Scalar::Float => text.parse::<Number>().ok().map(Value::Number),
        };
        value
            .and_then(|value| canonical(self.scalar, &value))
            .ok_or_else(|| format!("{}: expected {}, got \"{}\"", self.name, self.scalar, shown(text)))
    }

    fn check(&self, value: Option<&Value>) -> Result<(), BodyError> {
        match value {
            None if self.required => Err(BodyError::of(&self.name, "required, but missing")),
            Some(Value::Null) if self.required => Err(BodyError::of(&self.name, "required, but null")),
            None | Some(Value::Null) => Ok(()),
            Some(Value::Array(members)) if self.list => members.iter().try_for_each(|member| self.check_one(member)),
            Some(value) if self.list => {
                let message = format!("expected a list of {}, got {}", self.scalar, describe(value));
                Err(BodyError::of(&self.name, message))
            }
            Some(value) => self.check_one(value),
        }
    }

    /// What is written keeps the attribute's bounds.
    fn check_bounds(&self, value: Option<&Value>) -> Result<(), BodyError> {
        value.map_or(Ok(()), |value| self.bounds.check(value)).map_err(|why| BodyError::of(&self.name, why))
    }

    fn check_one(&self, value: &Value) -> Result<(), BodyError> {
        match value {
            value if is_of(self.scalar, value) => Ok(()),
            _ => {
                let range = match (self.scalar, value) {
                    (Scalar::Int, Value::Number(number)) if is_whole(number) => {
                        format!(", out of its range of {} to {}", i32::MIN, i32::MAX)
                    }
                    (Scalar::Long, Value::Number(number)) if is_whole(number) => {
                        format!(", out of its range of -{0} to {0}", Scalar::LONGEST)
                    }
                    (Scalar::Float, Value::Number(_)) => ", out of its range".to_owned(),
                    _ => String::new(),
                };
                let message = format!("expected {}, got {}{range}", self.scalar, describe(value));
                Err(BodyError::of(&self.name, message))
            }
        }
    }
}

/// The bytes of a value under its type, `None` if it is not of that type. Numbers are big-endian with the sign turned,
/// so that bytes sort as numbers do.
///
/// An ID may be a whole number, as GraphQL has it: then its digits are its text. An Int is written without point or
/// exponent.
fn canonical(scalar: Scalar, value: &Value) -> Option<Vec<u8>> {
    match (scalar, value) {
        (Scalar::Id | Scalar::String, Value::String(text)) => Some(text.as_bytes().to_vec()),
        (Scalar::Id, Value::Number(number)) if is_whole(number) => Some(number.as_str().as_bytes().to_vec()),
        (Scalar::Boolean, Value::Bool(value)) => Some(vec![u8::from(*value)]),
        (Scalar::Int, Value::Number(number)) if is_whole(number) => {
            let value: i32 = number.as_str().parse().ok()?;
            Some((value ^ i32::MIN).to_be_bytes().to_vec())
        }
        (Scalar::Long, Value::Number(number)) if is_whole(number) => {
            let in_range = |value: &i64| value.unsigned_abs() <= Scalar::LONGEST.unsigned_abs();
            let value = number.as_str().parse().ok().filter(in_range)?;
            Some((value ^ i64::MIN).to_be_bytes().to_vec())
        }
        (Scalar::Float, Value::Number(number)) => {
            let value: f64 = number.as_str().parse().ok().filter(|value: &f64| value.is_finite())?;
            let bits = if value == 0.0 { 0 } else { value.to_bits() };
            let turned = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
            Some(turned.to_be_bytes().to_vec())
        }
        _ => None,
    }
}

/// Whether the value is of the type, without a copy of a text.
fn is_of(scalar: Scalar, value: &Value) -> bool {
    match (scalar, value) {
        (Scalar::Id | Scalar::String, Value::String(_)) => true,
        _ => canonical(scalar, value).is_some(),
    }
}

/// Whether the number is written without point and exponent.
fn is_whole(number: &Number) -> bool {
    number.as_str().bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
}

/// A value as an error tells it.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("boolean {value}"),
        Value::Number(number) => format!("number {}", shown(number.as_str())),
        Value::String(text) => format!("string \"{}\"", shown(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
