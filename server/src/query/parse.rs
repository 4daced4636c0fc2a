//! From the text of a query to what is asked for: conditions with operators, groups, and the calls `select`, `sort` and `limit`.
//!
//! Owns the grammar. What is data is percent-decoded after the text was taken apart, so that any character can be part of a value.
//! Invariant: what is not understood is refused, with the place, and never passed over; groups nest no deeper than [`MOST_DEPTH`].

use std::ops::Range;

use axum::http::StatusCode;
use percent_encoding::percent_decode_str;

use super::filter::{Condition, Filter, Operator};
use crate::diagnostic::{hint_of_known, nearest, shown};
use crate::problem::Problem;
use crate::record::{NULL, check_key};
use crate::schema::{Attribute, Scalar, Table};

const MOST_DEPTH: usize = 16;

/// Each condition may cost a look at an index.
const MOST_CONDITIONS: usize = 64;

/// As many records may be named in one request.
const MOST_KEYS: usize = 1000;

/// The word by which what is pending is left out.
pub(super) const CONFIRMED: &str = "confirmed";

const CALLS: [&str; 3] = ["select", "sort", "limit"];

/// What a query asks for.
#[derive(Debug)]
pub(super) struct Query<'t> {
    pub(super) of: Asked<'t>,
    pub(super) select: Option<Select<'t>>,
    /// Attributes, and whether the greatest come first.
    pub(super) sort: Vec<(&'t Attribute, bool)>,
    pub(super) limit: Option<Range<usize>>,
    /// Nothing that is pending is asked for: of a condition that goes without saying.
    pub(super) confirmed: bool,
}

/// Which records.
#[derive(Debug)]
pub(super) enum Asked<'t> {
    /// The query has no condition.
    Nothing,
    /// Those of these keys.
    Keys(Vec<String>),
    Filter(Filter<'t>),
}

/// What of each record is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Select<'t> {
    /// One value itself.
    Value(&'t str),
    /// An object of these members.
    Members(Vec<&'t str>),
    /// A list of these values.
    Values(Vec<&'t str>),
}

/// Reads the text after the `?`.
pub(super) fn query<'t>(table: &'t Table, text: &str) -> Result<Query<'t>, Problem> {
    let mut parser = Parser {
        text,
        at: 0,
        table,
        conditions: 0,
        query: Query { of: Asked::Nothing, select: None, sort: Vec::new(), limit: None, confirmed: false },
    };
    let result = if text.is_empty() { Ok(None) } else { parser.list(&mut Vec::new()) };
    match result {
        Ok(None) => Ok(parser.query),
        Ok(Some(filter)) => Ok(Query { of: Asked::Filter(filter), ..parser.query }),
        Err(wrong) => Err(wrong.told(text)),
    }
}

/// Reads what stands between the brackets of a `select` at this place of a query.
pub(super) fn select<'t>(table: &'t Table, arguments: &str, at: usize) -> Parsed<Select<'t>> {
    if let Some(brace) = arguments.find('{') {
        return wrong(at + brace, "what is within an attribute cannot be selected");
    }
    if let Some(inner) = arguments.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        return Ok(Select::Values(names(table, inner, at + 1)?));
    }
    if let Some(first) = arguments.strip_suffix(',').filter(|first| !first.is_empty()) {
        return Ok(Select::Members(names(table, first, at)?));
    }
    let names = names(table, arguments, at)?;
    Ok(if let [name] = names.as_slice() { Select::Value(name) } else { Select::Members(names) })
}

/// What is not understood, and the byte of the query where it stands.
pub(super) struct Wrong {
    at: usize,
    field: Option<String>,
    why: String,
}

impl Wrong {
    pub(super) fn told(self, query: &str) -> Problem {
        let place = query[..self.at].chars().count() + 1;
        let detail = format!("{}, at character {place} of the query", self.why);
        Problem::new(StatusCode::BAD_REQUEST, detail).field(self.field.as_deref()).position(place)
    }
}

pub(super) type Parsed<T> = Result<T, Wrong>;

pub(super) fn wrong<T>(at: usize, why: impl Into<String>) -> Parsed<T> {
    Err(Wrong { at, field: None, why: why.into() })
}

struct Parser<'q, 't> {
    text: &'q str,
    at: usize,
    table: &'t Table,
    conditions: usize,
    query: Query<'t>,
}

impl<'q, 't> Parser<'q, 't> {
    /// Conditions and groups up to the bracket that closes the innermost of `open`, or to the end. Calls stand outside of groups, each with
    /// `&` beside it.
    fn list(&mut self, open: &mut Vec<char>) -> Parsed<Option<Filter<'t>>> {
        let mut filters = Vec::new();
        let mut joined: Option<char> = None;
        let mut separator: Option<(usize, char)> = None;
        let mut after_call = false;
        loop {
            let begun = self.at;
            let is_call = if open.is_empty() { self.call()? } else { false };
            if let Some((place, '|')) = separator.filter(|_| is_call || after_call) {
                return wrong(place, "a call is set apart by &, not by |");
            }
            if !is_call {
                if let Some((place, separator)) = separator.filter(|_| !filters.is_empty()) {
                    if joined.is_some_and(|joined| joined != separator) {
                        return wrong(place, "& and | are mixed: say by ( ) or [ ] which belong together");
                    }
                    joined = Some(separator);
                }
                let before = filters.last().filter(|_| joined == Some('&'));
                match self.rest().chars().next() {
                    Some(bracket @ ('(' | '[')) => filters.extend(self.group(bracket, open)?),
                    _ => filters.extend(self.condition(before, open)?),
                }
                if matches!(self.query.of, Asked::Keys(_)) && (!open.is_empty() || !filters.is_empty()) {
                    let key = &self.table.primary_key;
                    return wrong(begun, format!("{key}=… names records, and stands without conditions"));
                }
            }
            after_call = is_call;
            match self.rest().chars().next() {
                None if open.is_empty() => break,
                None => return wrong(self.at, format!("a group is not closed: expected {}", open[open.len() - 1])),
                Some(c) if open.last() == Some(&c) => break,
                Some(c @ ('&' | '|')) => {
                    separator = Some((self.at, c));
                    self.at += 1;
                }
                Some(c) => return wrong(self.at, format!("expected & or |, got {c}")),
            }
        }
        Ok(match (filters.len(), joined) {
            (0 | 1, _) => filters.pop(),
            (_, Some('|')) => Some(Filter::Any(filters)),
            _ => Some(Filter::All(filters)),
        })
    }

    fn group(&mut self, bracket: char, open: &mut Vec<char>) -> Parsed<Option<Filter<'t>>> {
        if open.len() == MOST_DEPTH {
            return wrong(self.at, format!("groups nest deeper than {MOST_DEPTH}"));
        }
        self.at += 1;
        open.push(if bracket == '(' { ')' } else { ']' });
        let filter = self.list(open)?;
        open.pop();
        self.at += 1;
        Ok(filter)
    }

    /// One condition; of keys of records, nothing is left to be told. `before` is what stands before it, if both must hold.
    fn condition(&mut self, before: Option<&Filter<'t>>, open: &[char]) -> Parsed<Option<Filter<'t>>> {
        let begun = self.at;
        let name = self.take_until(&['=', '!', '&', '|', '(', ')', '[', ']']);
        let name = decoded(name, begun)?;
        if name.is_empty() {
            return wrong(begun, "expected a condition: attribute=value");
        }
        let known = self.table.attribute(&name).map(|(_, attribute)| attribute);
        let place = self.at;
        let (mut operator, spelled) = self.operator(&name)?;
        let attribute = match (known, before) {
            (Some(attribute), _) => attribute,
            (None, Some(Filter::Is(before))) if spelled == "=" && chains(before.operator, &name) => {
                operator = Operator::named(&name).unwrap_or(operator);
                before.attribute
            }
            (None, _) => return Err(unknown(self.table, begun, &name)),
        };
        let of = |why: String| Wrong { at: place, field: Some(attribute.name.clone()), why };
        if attribute.name == self.table.primary_key && spelled == "=" {
            self.keys(open)?;
            return Ok(None);
        }
        self.conditions += 1;
        if self.conditions > MOST_CONDITIONS {
            return wrong(begun, format!("more than {MOST_CONDITIONS} conditions"));
        }
        let begun = self.at;
        let mut value = self.value(open)?;
        if let Some(start) = value.strip_suffix('*').filter(|_| spelled == "==") {
            (operator, value) = (Operator::Begins, start);
        }
        let value = decoded(value, begun)?;
        let is_text = matches!(attribute.scalar, Scalar::Id | Scalar::String);
        // `=`, `===` and `!==` take a text as it stands; to the others, the tutorial system lets it say its type.
        let kind =
            value.split_once(':').map(|(kind, _)| kind).filter(|kind| ["number", "boolean", "date"].contains(kind));
        if let Some(kind) = kind.filter(|_| is_text && !["=", "===", "!=="].contains(&spelled)) {
            let why = format!("{} is of type {}, and no {kind}", attribute.name, attribute.scalar);
            let why = format!("{why}; this text is written string:{}", shown(&value));
            return Err(Wrong { at: begun, ..of(why) });
        }
        if operator.is_of_text() {
            if !is_text {
                return Err(of(format!("{} is of type {}, and no text", attribute.name, attribute.scalar)));
            }
            let operand = value.strip_prefix("string:").unwrap_or(&value).as_bytes().to_vec();
            return Ok(Some(Filter::Is(Condition { attribute, operator, operand })));
        }
        let operand = attribute.operand(&value).map_err(|why| Wrong { at: begun, ..of(why) })?;
        if operand == NULL && operator.bounds_below().is_some() {
            return Err(of(format!("{}: nothing is less or more than null", attribute.name)));
        }
        Ok(Some(Filter::Is(Condition { attribute, operator, operand })))
    }

    /// The operator here, and how it is written.
    fn operator(&mut self, name: &str) -> Parsed<(Operator, &'q str)> {
        let rest = self.rest();
        for (spelled, operator) in
            [("===", Operator::Equal), ("!==", Operator::NotEqual), ("==", Operator::Equal), ("!=", Operator::NotEqual)]
        {
            if rest.starts_with(spelled) {
                self.at += spelled.len();
                return Ok((operator, &rest[..spelled.len()]));
            }
        }
        let Some(inner) = rest.strip_prefix('=') else {
            return wrong(self.at, format!("expected an operator after {}, as in {0}=value", shown(name)));
        };
        let letters = inner.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(inner.len());
        if letters > 0 && inner[letters..].starts_with('=') {
            let named = &inner[..letters];
            let Some(operator) = Operator::named(named) else {
                if named == "in" {
                    let name = shown(name);
                    return wrong(
                        self.at,
                        format!("there is no operator =in=; one of several is [{name}=one|{name}=other]"),
                    );
                }
                let known = ["eq", "ne", "lt", "le", "gt", "ge", "ct", "sw", "ew"];
                let why = format!("there is no operator ={}=; {}", shown(named), hint_of_known(named, "", &known));
                return wrong(self.at, why);
            };
            self.at += letters + 2;
            return Ok((operator, &rest[..letters + 2]));
        }
        self.at += 1;
        Ok((Operator::Equal, &rest[..1]))
    }

    /// A value as it is written. Within a group of one kind of bracket, the other kind's round one is a character like any.
    fn value(&mut self, open: &[char]) -> Parsed<&'q str> {
        let value = match open.last() {
            Some(')') => self.take_until(&['&', '|', '=', '[', ']', ')']),
            _ => self.take_until(&['&', '|', '=', '[', ']']),
        };
        match self.rest().chars().next() {
            Some('=') => wrong(self.at, "a = within a value is written %3D"),
            Some('[') => wrong(self.at, "a [ within a value is written %5B"),
            Some(']') if open.last() != Some(&']') => wrong(self.at, "a ] within a value is written %5D"),
            _ => Ok(value),
        }
    }

    /// The keys of records, with commas between them.
    fn keys(&mut self, open: &[char]) -> Parsed<()> {
        if matches!(self.query.of, Asked::Keys(_)) {
            return wrong(self.at, format!("{} is given twice", self.table.primary_key));
        }
        let mut at = self.at;
        let mut keys = Vec::new();
        for key in self.value(open)?.split(',') {
            let text = decoded(key, at)?;
            check_key(&text).map_err(|error| {
                let field = Some(self.table.primary_key.clone());
                Wrong { at, field, why: error.to_string() }
            })?;
            keys.push(text);
            if keys.len() > MOST_KEYS {
                return wrong(at, format!("more than {MOST_KEYS} keys"));
            }
            at += key.len() + 1;
        }
        self.query.of = Asked::Keys(keys);
        Ok(())
    }

    /// Reads a call, or the word `confirmed`, if one is here.
    fn call(&mut self) -> Parsed<bool> {
        let rest = self.rest();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        if &rest[..letters] == CONFIRMED && matches!(rest.as_bytes().get(letters), None | Some(b'&' | b'|')) {
            self.query.confirmed = true;
            self.at += letters;
            return Ok(true);
        }
        if letters == 0 || !rest[letters..].starts_with('(') {
            return Ok(false);
        }
        let (name, begun) = (&rest[..letters], self.at);
        let Some(end) = rest.find(')') else { return wrong(begun, format!("{name}( is not closed: expected )")) };
        let arguments = &rest[letters + 1..end];
        let at = begun + letters + 1;
        self.at = begun + end + 1;
        let twice = || wrong(begun, format!("{name} is given twice"));
        match name {
            "select" if self.query.select.is_some() => return twice(),
            "select" => self.query.select = Some(select(self.table, arguments, at)?),
            "sort" if !self.query.sort.is_empty() => return twice(),
            "sort" => self.query.sort = self.sort(arguments, at)?,
            "limit" if self.query.limit.is_some() => return twice(),
            "limit" => self.query.limit = Some(limit(arguments, at)?),
            _ => return wrong(begun, format!("there is no call {}; {}", shown(name), hint_of_known(name, "", &CALLS))),
        }
        Ok(true)
    }

    fn sort(&self, list: &str, mut at: usize) -> Parsed<Vec<(&'t Attribute, bool)>> {
        let mut sort = Vec::new();
        for name in list.split(',') {
            let descends = name.starts_with('-');
            let bare = ["+", "-", "%2B", "%2b"].iter().find_map(|sign| name.strip_prefix(sign)).unwrap_or(name);
            sort.push((named(self.table, bare, at + name.len() - bare.len())?, descends));
            at += name.len() + 1;
        }
        Ok(sort)
    }

    fn rest(&self) -> &'q str {
        &self.text[self.at..]
    }

    fn take_until(&mut self, ends: &[char]) -> &'q str {
        let rest = self.rest();
        let taken = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }
}

fn names<'t>(table: &'t Table, list: &str, mut at: usize) -> Parsed<Vec<&'t str>> {
    let mut names: Vec<&str> = Vec::new();
    for name in list.split(',') {
        let attribute = named(table, name, at)?;
        if names.contains(&attribute.name.as_str()) {
            return wrong(at, format!("{} is given twice", attribute.name));
        }
        names.push(&attribute.name);
        at += name.len() + 1;
    }
    Ok(names)
}

fn named<'t>(table: &'t Table, name: &str, at: usize) -> Parsed<&'t Attribute> {
    let name = decoded(name, at)?;
    if name.is_empty() {
        return wrong(at, "expected an attribute's name");
    }
    match table.attribute(&name) {
        Some((_, attribute)) => Ok(attribute),
        None => Err(unknown(table, at, &name)),
    }
}

fn unknown(table: &Table, at: usize, name: &str) -> Wrong {
    let mut why = format!("{} has no attribute \"{}\"", table.name, shown(name));
    if let Some(near) = nearest(name, table.attributes.iter().map(|attribute| attribute.name.as_str())) {
        why.push_str(&format!("; did you mean {near}?"));
    } else if let Some(hint) = elsewhere(name) {
        why.push_str("; ");
        why.push_str(hint);
    }
    Wrong { at, field: Some(name.to_owned()), why }
}

/// How it is said here what a name means in the queries of other systems.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "limit" | "offset" | "page" | "page_size" | "per_page" | "skip" | "start" | "top" => {
            "how many are shown, and from where, is said by limit(end) or limit(start,end)"
        }
        "sort" | "sort_by" | "order" | "order_by" | "orderBy" => "the order is said by sort(attribute,-attribute)",
        "select" | "fields" => "what is shown is said by select(attribute,attribute)",
        name if name.contains('.') => "neither what is within an attribute nor another table can be asked for",
        _ => return None,
    })
}

/// Whether `lt=200` after `price=gt=100` is about the price too.
fn chains(before: Operator, name: &str) -> bool {
    let bounds = |operator: Operator| operator.bounds_below();
    match (bounds(before), Operator::named(name).and_then(bounds)) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

fn limit(arguments: &str, at: usize) -> Parsed<Range<usize>> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let range = match arguments.split_once(',') {
        None => number(arguments).map(|end| 0..end),
        Some((start, end)) => number(start).zip(number(end)).map(|(start, end)| start..end),
    };
    match range {
        Some(range) if range.start > range.end => wrong(at, "limit(start,end): the start lies behind the end"),
        Some(range) => Ok(range),
        None => wrong(at, "expected limit(end) or limit(start,end), of whole numbers"),
    }
}

/// Data of the query. A plus is a space, as forms write it.
fn decoded(text: &str, at: usize) -> Parsed<String> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => wrong(at, "this is not UTF-8 once its percent signs are decoded"),
    }
}
