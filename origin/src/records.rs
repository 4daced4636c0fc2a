//! The records: what is true, in SQLite.
//!
//! Owns: the database, each record's revision and the order of applied writes. Never: knows HTTP. Invariant: a change
//! decides and writes in one transaction under one lock; a revision is used once per id, also across a delete, whose row
//! stays behind for that.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Transaction, TransactionBehavior, params};
use serde_json::{Map, Value};

use crate::changes::Changes;
use crate::locked;

/// `wtOR`: tells our files from other SQLite databases.
const APPLICATION_ID: i32 = 0x7774_4f52;
/// `GET /items` without ids lists this many.
const LIST_LIMIT: u32 = 1000;

pub(crate) struct Records {
    /// Told under the lock of the state, so that it has the order of what was applied.
    changes: Changes,
    /// Rank: before the log. Guards the connection and the order of what was applied through it.
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    applied: u64,
}

/// A record as it is kept and served.
pub(crate) struct Stored {
    pub(crate) json: String,
    pub(crate) revision: u64,
}

impl Stored {
    pub(crate) fn etag(&self) -> String {
        format!("\"r{}\"", self.revision)
    }
}

pub(crate) enum Change {
    Put(Map<String, Value>),
    Delete,
}

/// What a change did: the record it left (None: deleted) and whether there was none before.
pub(crate) struct Applied {
    pub(crate) stored: Option<Stored>,
    pub(crate) created: bool,
}

impl Records {
    /// Opens the file, or a database in memory.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a database that this origin made.
    pub(crate) fn open(file: Option<&Path>) -> io::Result<Self> {
        let opened = match file {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        };
        let connection = opened
            .and_then(|mut connection| prepare(&mut connection).map(|ours| (connection, ours)))
            .map_err(|error| open_error(file, &error))
            .and_then(|(connection, ours)| if ours { Ok(connection) } else { Err(not_ours(file)) })?;
        Ok(Self { changes: Changes::default(), state: Mutex::new(State { connection, applied: 0 }) })
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn get(&self, id: &str) -> rusqlite::Result<Option<Stored>> {
        let state = locked(&self.state);
        current(&state.connection, id).map(|(stored, _)| stored)
    }

    /// All records by id, as a JSON array.
    pub(crate) fn list(&self) -> rusqlite::Result<String> {
        let state = locked(&self.state);
        let mut select =
            state.connection.prepare_cached("SELECT record FROM items WHERE deleted = 0 ORDER BY id LIMIT ?1")?;
        let records: Vec<String> = select.query_map([LIST_LIMIT], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(format!("[{}]", records.join(",")))
    }

    /// Those of these records that there are, as a JSON array, in the order of the ids.
    pub(crate) fn list_of(&self, ids: &[String]) -> rusqlite::Result<String> {
        let state = locked(&self.state);
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            records.extend(current(&state.connection, id)?.0.map(|stored| stored.json));
        }
        Ok(format!("[{}]", records.join(",")))
    }

    /// Lets `decide` choose a change with the current record in sight, and applies it. `on_applied` gets the change's
    /// place in the order of all, while no one can read the records yet.
    pub(crate) fn change<E>(
        &self,
        id: &str,
        decide: impl FnOnce(Option<&Stored>) -> Result<Change, E>,
        on_applied: impl FnOnce(u64),
    ) -> rusqlite::Result<Result<Applied, E>> {
        let mut guard = locked(&self.state);
        let state = &mut *guard;
        let transaction = state.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (before, last_revision) = current(&transaction, id)?;
        let change = match decide(before.as_ref()) {
            Ok(change) => change,
            Err(refused) => return Ok(Err(refused)),
        };
        let stored = write(&transaction, id, last_revision + 1, change)?;
        transaction.commit()?;
        state.applied += 1;
        on_applied(state.applied);
        self.changes.applied(id, last_revision + 1, stored.as_ref());
        Ok(Ok(Applied { stored, created: before.is_none() }))
    }
}

impl Records {
    /// Makes a record of this id, or of a new one. `None`: there is one. `on_applied` as of [`Records::change`].
    pub(crate) fn make(
        &self,
        id: Option<String>,
        record: Map<String, Value>,
        on_applied: impl FnOnce(u64),
    ) -> rusqlite::Result<Option<(String, Stored)>> {
        let mut guard = locked(&self.state);
        let state = &mut *guard;
        let transaction = state.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let id = match id {
            Some(id) => id,
            None => free_id(&transaction)?,
        };
        let (before, last_revision) = current(&transaction, &id)?;
        if before.is_some() {
            return Ok(None);
        }
        let stored = write(&transaction, &id, last_revision + 1, Change::Put(record))?;
        transaction.commit()?;
        state.applied += 1;
        on_applied(state.applied);
        Ok(stored.map(|stored| (id, stored)))
    }
}

/// An id that no record has had: `item-` and a number.
fn free_id(connection: &Connection) -> rusqlite::Result<String> {
    let used = connection.query_row("SELECT count(*) FROM items", [], |row| row.get::<_, u64>(0))?;
    let mut number = used + 1;
    loop {
        let id = format!("item-{number:03}");
        // A deleted one has its row, too.
        if current(connection, &id)?.1 == 0 {
            return Ok(id);
        }
        number += 1;
    }
}

/// Makes the table in an empty database. False: someone else's database.
fn prepare(connection: &mut Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i32>(0));
    let known = number("PRAGMA application_id")? == APPLICATION_ID;
    if !known && number("SELECT count(*) FROM sqlite_schema")? > 0 {
        return Ok(false);
    }
    transaction.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID};
         CREATE TABLE IF NOT EXISTS items(
             id TEXT PRIMARY KEY,
             record TEXT NOT NULL,
             revision INTEGER NOT NULL,
             deleted INTEGER NOT NULL
         );"
    ))?;
    transaction.commit()?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(true)
}

/// The record, if there is one, and the last revision that the id used.
fn current(connection: &Connection, id: &str) -> rusqlite::Result<(Option<Stored>, u64)> {
    let row = connection
        .prepare_cached("SELECT record, revision, deleted FROM items WHERE id = ?1")?
        .query_row([id], |row| Ok((Stored { json: row.get(0)?, revision: row.get(1)? }, row.get::<_, bool>(2)?)))
        .optional()?;
    Ok(match row {
        None => (None, 0),
        Some((stored, true)) => (None, stored.revision),
        Some((stored, false)) => {
            let revision = stored.revision;
            (Some(stored), revision)
        }
    })
}

/// Writes the record with the fields that are the origin's to make, or the trace of a delete.
fn write(transaction: &Transaction<'_>, id: &str, revision: u64, change: Change) -> rusqlite::Result<Option<Stored>> {
    let stored = match change {
        Change::Put(mut record) => {
            let now = transaction
                .prepare_cached("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")?
                .query_row([], |row| row.get::<_, String>(0))?;
            record.insert("id".into(), id.into());
            record.insert("revision".into(), revision.into());
            record.insert("updatedAt".into(), now.into());
            Some(Stored { json: Value::Object(record).to_string(), revision })
        }
        Change::Delete => None,
    };
    let row = match &stored {
        Some(stored) => params![id, stored.json, revision, false],
        None => params![id, "", revision, true],
    };
    upsert(transaction, row)?;
    Ok(stored)
}

fn upsert(transaction: &Transaction<'_>, row: impl Params) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "INSERT INTO items(id, record, revision, deleted) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT(id) DO UPDATE SET record = ?2, revision = ?3, deleted = ?4",
        )?
        .execute(row)
}

fn named(file: Option<&Path>) -> String {
    file.map_or_else(|| "a database in memory".into(), |path| path.display().to_string())
}

fn not_ours(file: Option<&Path>) -> io::Error {
    let message = format!("{} is a SQLite database, but not one of the inventory origin", named(file));
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn open_error(file: Option<&Path>, error: &rusqlite::Error) -> io::Error {
    let (kind, what) = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => (io::ErrorKind::InvalidData, "is not an inventory database"),
        Some(ErrorCode::DatabaseCorrupt) => (io::ErrorKind::InvalidData, "is a damaged database"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (io::ErrorKind::ResourceBusy, "is locked by another process")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (io::ErrorKind::PermissionDenied, "cannot be written")
        }
        _ => (io::ErrorKind::Other, "cannot be opened"),
    };
    io::Error::new(kind, format!("{} {what}: {error}", named(file)))
}
