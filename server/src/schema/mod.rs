//! The tables of `schema.graphql`: their attributes, types and directives.
//!
//! Owns what a schema may say and what it means. It never looks at records (see [`record`](crate::record)) nor at where
//! a table's origin is (see [`config`](crate::config)).
//! Invariant: a [`Schema`] has at least one table; a [`Table`] has exactly one primary key, of type `ID` or `String`,
//! and no two attributes, and no two tables, have one name.

mod bounds;
mod export;
mod guard;
mod read;

use std::fmt;
use std::time::Duration;

use crate::diagnostic::Diagnostics;

pub use bounds::{Bounds, Pattern};

/// The tables that `schema.graphql` declares, in its order.
///
/// ```
/// use wtcache_server::schema::Schema;
///
/// let schema = Schema::parse("schema.graphql", b"type Item @table @export { id: ID @primaryKey }").unwrap();
/// assert_eq!(schema.table("Item").unwrap().primary_key, "id");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The tables, in the order of the file.
    pub tables: Vec<Table>,
}

/// One type of the schema: what its records look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The table's name, as the configuration, its path and all else have it: the type's, or that of its `@export(name: "…")`.
    pub name: String,
    /// How long a record is fresh (`@table(expiration: seconds)`); `None`: the table sets no bound.
    pub expiration: Option<Duration>,
    /// How long an expired record is kept at most (`@table(eviction: seconds)`): for the origin to confirm it, and to be served stale; `None`:
    /// until room is wanted.
    pub eviction: Option<Duration>,
    /// Whether the table is served (`@export`).
    pub exported: bool,
    /// Whether a write may hold only the declared attributes (`@sealed`).
    pub sealed: bool,
    /// The name of the attribute marked `@primaryKey`.
    pub primary_key: String,
    /// The attributes, in the order of the file; an attribute's number is its place here.
    pub attributes: Vec<Attribute>,
}

/// One field of a table's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The field's name.
    pub name: String,
    /// The type of its values; of a list, of its members.
    pub scalar: Scalar,
    /// Whether a value is a list (`[String]`).
    pub list: bool,
    /// Whether a record must hold it, not null (`!`).
    pub required: bool,
    /// Whether records can be found by it (`@indexed`).
    pub indexed: bool,
    /// What a value that is written must be besides.
    pub bounds: Bounds,
    /// The time that this server writes into it.
    pub stamp: Option<Stamp>,
    /// Whether its value is when the record ends, in milliseconds since 1970 (`@expiresAt`).
    pub expires_at: bool,
}

/// A time that this server writes into a record, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// When the record was created (`@createdTime`).
    Created,
    /// When it was put last (`@updatedTime`).
    Updated,
}

/// The types an attribute can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// A text, or a whole number whose digits are that text.
    Id,
    /// A text.
    String,
    /// A whole number between -2147483648 and 2147483647.
    Int,
    /// A whole number between -9007199254740992 and 9007199254740992, which a 64-bit float holds exactly.
    Long,
    /// A number that a 64-bit float can hold the magnitude of.
    Float,
    /// `true` or `false`.
    Boolean,
}

impl Scalar {
    /// The names of all scalars.
    const NAMES: [&str; 6] = ["ID", "String", "Int", "Long", "Float", "Boolean"];

    /// The greatest [`Scalar::Long`]; the least is that many below zero.
    pub(crate) const LONGEST: i64 = 1 << 53;

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ID" => Self::Id,
            "String" => Self::String,
            "Int" => Self::Int,
            "Long" => Self::Long,
            "Float" => Self::Float,
            "Boolean" => Self::Boolean,
            _ => return None,
        })
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "ID",
            Self::String => "String",
            Self::Int => "Int",
            Self::Long => "Long",
            Self::Float => "Float",
            Self::Boolean => "Boolean",
        })
    }
}

impl Schema {
    /// Reads a schema; `file` is what its errors call it.
    ///
    /// # Errors
    /// All errors of meaning that the file holds, or its first syntax error.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Diagnostics> {
        read::schema(file, bytes)
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl Table {
    /// The attribute of this name, with its number.
    pub fn attribute(&self, name: &str) -> Option<(u16, &Attribute)> {
        self.numbered().find(|(_, attribute)| attribute.name == name)
    }

    /// The name of the attribute with this time.
    pub(crate) fn stamp(&self, stamp: Stamp) -> Option<String> {
        let has = |attribute: &&Attribute| attribute.stamp == Some(stamp);
        self.attributes.iter().find(has).map(|attribute| attribute.name.clone())
    }

    /// The name of the attribute that says when a record ends.
    pub(crate) fn expires_at(&self) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.expires_at).map(|attribute| attribute.name.as_str())
    }

    /// The attributes with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u16, &Attribute)> {
        (0u16..).zip(&self.attributes)
    }
}
