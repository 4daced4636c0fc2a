//! What a record must hold to be found: conditions on attributes, joined by `&` and `|`.
//!
//! Owns what an operator means. Values are compared by their canonical bytes, which sort as the values of their type do. Invariant: a
//! condition holds of a list if it holds of one of its members; of null hold `==` null and `!=` of anything else, and nothing besides.

use serde_json::{Map, Value};

use crate::record::NULL;
use crate::schema::Attribute;

/// A condition, or several of them.
#[derive(Debug)]
pub(super) enum Filter<'t> {
    /// All of these hold.
    All(Vec<Filter<'t>>),
    /// One of these holds.
    Any(Vec<Filter<'t>>),
    Is(Condition<'t>),
}

impl Filter<'_> {
    pub(super) fn holds(&self, record: &Map<String, Value>) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.holds(record)),
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(record)),
            Self::Is(condition) => condition.holds(record),
        }
    }
}

/// What is asked of one attribute.
#[derive(Debug)]
pub(super) struct Condition<'t> {
    pub(super) attribute: &'t Attribute,
    pub(super) operator: Operator,
    /// Canonical bytes; of the three that look into a text, the text.
    pub(super) operand: Vec<u8>,
}

impl Condition<'_> {
    fn holds(&self, record: &Map<String, Value>) -> bool {
        let values = self.attribute.values(record.get(&self.attribute.name));
        let operand = self.operand.as_slice();
        let any = |test: fn(&[u8], &[u8]) -> bool| {
            values.iter().any(|value| value != NULL && test(value.as_slice(), operand))
        };
        match self.operator {
            Operator::Equal => values.iter().any(|value| value == operand),
            Operator::NotEqual => !values.iter().any(|value| value == operand),
            Operator::Less => any(|value, than| value < than),
            Operator::AtMost => any(|value, than| value <= than),
            Operator::More => any(|value, than| value > than),
            Operator::AtLeast => any(|value, than| value >= than),
            Operator::Contains => any(contains),
            Operator::Begins => any(<[u8]>::starts_with),
            Operator::Ends => any(<[u8]>::ends_with),
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    Contains,
    Begins,
    Ends,
}

impl Operator {
    /// The operator of this name, as it stands between two `=`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "lt" => Self::Less,
            "le" => Self::AtMost,
            "gt" => Self::More,
            "ge" => Self::AtLeast,
            "ct" => Self::Contains,
            "sw" => Self::Begins,
            "ew" => Self::Ends,
            _ => return None,
        })
    }

    /// It looks into a text.
    pub(super) fn is_of_text(self) -> bool {
        matches!(self, Self::Contains | Self::Begins | Self::Ends)
    }

    /// It bounds a range from below or, `false`, from above.
    pub(super) fn bounds_below(self) -> Option<bool> {
        match self {
            Self::More | Self::AtLeast => Some(true),
            Self::Less | Self::AtMost => Some(false),
            _ => None,
        }
    }
}
