//! What is asked of one record beside its key: `?confirmed`, and `select(…)` as in a query.
//!
//! Invariant: what is not understood is refused, with the place, and never passed over.

use axum::body::Body;
use axum::http::header::ETAG;
use axum::http::{HeaderValue, Response, StatusCode};
use wtcache::{Bytes, Entry};

use super::parse::{CONFIRMED, Parsed, Select, select, wrong};
use super::shape;
use crate::answer::{json, tagged};
use crate::diagnostic::{nearest, shown};
use crate::format::One;
use crate::problem::Problem;
use crate::schema::Table;

/// What of a record is asked for; by default all of it, as it is shown.
#[derive(Debug, Default)]
pub(crate) struct OfRecord<'t> {
    /// What the origin confirmed, whatever is pending above it.
    pub(crate) confirmed: Option<bool>,
    pub(crate) select: Option<Select<'t>>,
}

impl<'t> OfRecord<'t> {
    /// Reads the text after the `?`.
    ///
    /// # Errors
    /// 400: something else is asked for.
    pub(crate) fn read(table: &'t Table, query: Option<&str>) -> Result<Self, Problem> {
        let mut asked = Self::default();
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(asked) };
        let mut at = 0;
        for part in query.split('&') {
            let value = part.strip_prefix(CONFIRMED).and_then(|rest| rest.strip_prefix('='));
            if value.is_some_and(|value| !["", "true", "false"].contains(&value)) {
                let problem = Problem::new(StatusCode::BAD_REQUEST, "confirmed is true or false");
                return Err(problem.field(Some(CONFIRMED)));
            }
            asked.add(table, part, at).map_err(|wrong| wrong.told(query))?;
            at += part.len() + 1;
        }
        Ok(asked)
    }

    fn add(&mut self, table: &'t Table, part: &str, at: usize) -> Parsed<()> {
        match part {
            "confirmed" | "confirmed=" | "confirmed=true" | "confirmed=false" if self.confirmed.is_some() => {
                wrong(at, "confirmed is given twice")
            }
            "confirmed" | "confirmed=" | "confirmed=true" => {
                self.confirmed = Some(true);
                Ok(())
            }
            "confirmed=false" => {
                self.confirmed = Some(false);
                Ok(())
            }
            _ => match part.strip_prefix("select(") {
                Some(_) if self.select.is_some() => wrong(at, "select is given twice"),
                Some(rest) => {
                    let Some(arguments) = rest.strip_suffix(')') else {
                        return wrong(at, "select( is not closed: expected )");
                    };
                    self.select = Some(select(table, arguments, at + "select(".len())?);
                    Ok(())
                }
                None => wrong(at, none_of_these(table, part)),
            },
        }
    }

    /// The record as it is asked for. Its tag is the record's: what is shown of it is another whenever the record is.
    pub(crate) fn response(&self, entry: Entry<Bytes>, tag: HeaderValue) -> Response<Body> {
        match &self.select {
            None => tagged(entry, tag),
            Some(select) => {
                let mut response = json(shape::part(select, &entry));
                response.headers_mut().insert(ETAG, tag);
                response.extensions_mut().insert(One);
                response
            }
        }
    }
}

fn none_of_these(table: &Table, part: &str) -> String {
    let name = part.split(['=', '(', '!']).next().unwrap_or_default();
    let all = "of one record are asked confirmed and select(attribute,attribute)";
    if part.starts_with("sort(") || part.starts_with("limit(") {
        return format!("{name} is of queries; {all}");
    }
    if table.attribute(name).is_some() {
        return format!("{all}; a condition is asked of the table: /{}/?{name}=…", table.name);
    }
    match nearest(name, [CONFIRMED, "select"]) {
        Some(near) => format!("{all}, and not {}; did you mean {near}?", shown(name)),
        None => format!("{all}, and not \"{}\"", shown(name)),
    }
}
