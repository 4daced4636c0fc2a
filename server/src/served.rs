//! What is served: the tables, and what else of a configuration a request goes by.
//!
//! Each request takes it once, so that what it sees is of one configuration. Invariant: it is never changed once requests can see it; another one takes its place
//! whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::Auth;
use crate::config::Limits;
use crate::pending::Outcomes;
use crate::problem::Problem;
use crate::table::ServedTable;
use crate::turnstile::{Barred, Inside};

pub(crate) type Tables = BTreeMap<String, ServedTable>;

#[derive(Clone, Default)]
pub(crate) struct Served {
    pub(crate) tables: Tables,
    pub(crate) limits: Limits,
    /// Who may ask for what; else everybody for everything.
    pub(crate) auth: Option<Arc<Auth>>,
    /// Answers to reads of so many bytes are compressed; `None`: none are.
    pub(crate) compress: Option<usize>,
    /// What became of writes in tables that are served no more.
    pub(crate) past: Vec<Arc<Outcomes>>,
}

/// Goes into all of these tables, so that none is left before it is over: those that are named twice, once.
///
/// # Errors
/// `Err(None)`: one was left, and the set that it is of is served no more. A problem: one was shut for as long as its calls may take.
pub(crate) async fn enter_all<'t>(
    tables: impl IntoIterator<Item = &'t ServedTable>,
) -> Result<Vec<Inside>, Option<Problem>> {
    // In the order in which they are shut: nobody who waits for one is within a later one.
    let tables: BTreeMap<&str, &ServedTable> =
        tables.into_iter().map(|table| (table.schema.name.as_str(), table)).collect();
    let mut inside = Vec::with_capacity(tables.len());
    for table in tables.into_values() {
        match table.turnstile.enter(table.timeout).await {
            Ok(entered) => inside.push(entered),
            Err(Barred::Left) => return Err(None),
            Err(Barred::Late) => return Err(Some(table.is_shut())),
        }
    }
    Ok(inside)
}
