//! `@min`, `@max` and `@pattern`: what the values of an attribute must be, beyond their type.
//!
//! They bind what is written here. What the origin has is shown as it is: a record is not lost since a bound was added later.

use async_graphql_parser::types::ConstDirective;
use async_graphql_parser::{Pos, Positioned};
use regex::Regex;
use serde_json::{Number, Value};

use super::Scalar;
use super::read::place;
use crate::diagnostic::{Findings, hint_of_known, shown};

/// What the values of an attribute must be; of a list, its members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The least.
    pub min: Option<Number>,
    /// The greatest.
    pub max: Option<Number>,
    /// A regular expression that is found in each.
    pub pattern: Option<Pattern>,
}

/// A regular expression of the `regex` crate.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl Bounds {
    /// What is wrong with a value of the attribute's type.
    ///
    /// # Errors
    /// In words: a bound that it does not keep.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        match value {
            Value::Array(members) => members.iter().try_for_each(|member| self.check(member)),
            Value::Number(number) => {
                if let Some(min) = self.min.as_ref().filter(|min| float(number) < float(min)) {
                    return Err(format!("{number} is less than {min}"));
                }
                match self.max.as_ref().filter(|max| float(number) > float(max)) {
                    Some(max) => Err(format!("{} is more than {max}", shown(&number.to_string()))),
                    None => Ok(()),
                }
            }
            Value::String(text) => match self.pattern.as_ref().filter(|pattern| !pattern.0.is_match(text)) {
                Some(pattern) => Err(format!("\"{}\" does not match {}", shown(text), shown(pattern.as_str()))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Takes what a directive says.
    pub(super) fn read(
        &mut self,
        directive: &Positioned<ConstDirective>,
        scalar: Option<Scalar>,
        findings: &mut Findings<'_>,
    ) {
        let name = directive.node.name.node.as_str();
        let (argument, example) = match name {
            "pattern" => ("regex", "write: @pattern(regex: \"^[A-Z]+$\")"),
            "min" => ("value", "write: @min(value: 0)"),
            _ => ("value", "write: @max(value: 100)"),
        };
        let is_of = |scalar: &Scalar| match name {
            "pattern" => matches!(scalar, Scalar::Id | Scalar::String),
            _ => matches!(scalar, Scalar::Int | Scalar::Long | Scalar::Float),
        };
        if let Some(other) = scalar.filter(|scalar| !is_of(scalar)) {
            let what = if name == "pattern" { "texts" } else { "numbers" };
            findings.add(place(directive.pos), format!("@{name} is for {what}, not for {other}"), None);
            return;
        }
        let mut given = None;
        for (argument_name, value) in &directive.node.arguments {
            if argument_name.node != argument {
                let message = format!("unknown argument {} of @{name}", shown(&argument_name.node));
                findings.add(
                    place(argument_name.pos),
                    message,
                    Some(hint_of_known(&argument_name.node, "", &[argument])),
                );
            } else if given.is_some() {
                findings.add(place(argument_name.pos), format!("argument {argument} of @{name} is given twice"), None);
            } else {
                given = Some(value);
            }
        }
        let Some(value) = given else {
            if directive.node.arguments.is_empty() {
                findings.add(place(directive.pos), format!("@{name} lacks {argument}"), Some(example.to_owned()));
            }
            return;
        };
        let json = value.node.clone().into_json().unwrap_or_default();
        let wrong =
            |why: String, findings: &mut Findings<'_>| findings.add(place(value.pos), why, Some(example.to_owned()));
        match (name, json) {
            ("pattern", Value::String(text)) => match Regex::new(&text) {
                Ok(regex) => self.pattern = Some(Pattern(regex)),
                Err(error) => {
                    let why = error.to_string();
                    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    wrong(format!("regex: not a regular expression: {}", shown(&why)), findings);
                }
            },
            ("min", Value::Number(number)) => self.min = Some(number),
            ("max", Value::Number(number)) => self.max = Some(number),
            ("pattern", other) => wrong(format!("regex: expected a text, got {}", shown(&other.to_string())), findings),
            (_, other) => wrong(format!("value: expected a number, got {}", shown(&other.to_string())), findings),
        }
    }

    /// Looks at both ends together.
    pub(super) fn settle(&self, name: &str, at: Pos, findings: &mut Findings<'_>) {
        if let (Some(min), Some(max)) = (&self.min, &self.max)
            && float(min) > float(max)
        {
            findings.add(place(at), format!("{}: @min is more than @max", shown(name)), None);
        }
    }
}

/// Whole numbers of the types that there are have a float of their own.
fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}
