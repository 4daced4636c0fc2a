//! What becomes of each table, and all that has to be read and made for it before anything is changed.
//!
//! Invariant: an option that is not named here as one that leaves a table's records what they are has the table opened anew.

use std::sync::Arc;

use wtcache_http_source::HttpSource;

use super::Reloaded;
use crate::auth::Auth;
use crate::config::{Config, OriginConfig, TableConfig};
use crate::schema::{Schema, Table};
use crate::served::Served;
use crate::table::{ServedTable, tried};
use crate::tls::NewPair;

/// What a configuration is to be, ready to be carried out.
pub(super) struct Plan<'c> {
    pub(super) auth: Option<Arc<Auth>>,
    pub(super) pair: Option<NewPair>,
    pub(super) tables: Vec<Planned<'c>>,
    /// They are served no more.
    pub(super) closed: Vec<ServedTable>,
    /// They are not of the folder, but of the program that serves it: they stay.
    pub(super) others: Vec<ServedTable>,
    /// What there will be to tell.
    pub(super) reloaded: Reloaded,
}

pub(super) struct Planned<'c> {
    pub(super) schema: &'c Table,
    pub(super) config: &'c TableConfig,
    pub(super) fate: Fate,
}

/// What becomes of a table.
pub(super) enum Fate {
    /// It is as it was.
    Stays(ServedTable),
    /// It keeps its cache. What asks the origin is another, if there is one here.
    Taken { table: ServedTable, origin: Option<Arc<HttpSource>>, subscribes: bool },
    /// It was not served.
    Opened { origin: Arc<HttpSource> },
    /// It has another cache, with nothing in it.
    Anew { earlier: ServedTable, origin: Arc<HttpSource> },
}

impl Fate {
    pub(super) fn origin(&self) -> Option<&Arc<HttpSource>> {
        match self {
            Self::Stays(_) => None,
            Self::Taken { origin, .. } => origin.as_ref(),
            Self::Opened { origin } | Self::Anew { origin, .. } => Some(origin),
        }
    }

    /// Its subscription begins anew, or ends where there is none.
    pub(super) fn subscribes(&self) -> bool {
        match self {
            Self::Stays(_) => false,
            Self::Taken { subscribes, .. } => *subscribes,
            Self::Opened { .. } | Self::Anew { .. } => true,
        }
    }
}

type Folder<'c> = (&'c Schema, &'c Config);

impl<'c> Plan<'c> {
    /// # Errors
    /// What of the configuration cannot be.
    pub(super) fn of(served: &Served, before: Folder<'_>, now: Folder<'c>) -> Result<Self, String> {
        let (old, new) = (before.1, now.1);
        let mut reloaded = Reloaded { waits: waits(old, new), ..Reloaded::default() };
        let mut taken = |name: &str, is: bool| reloaded.taken.extend(is.then(|| name.to_owned()));
        let pair = new.tls.as_ref().filter(|_| old.tls.is_some()).map(NewPair::read).transpose()?;
        taken("tls", pair.is_some());
        let same_auth = old.auth == new.auth;
        taken("auth", !same_auth);
        let auth = match &new.auth {
            // It knows who was right.
            _ if same_auth => served.auth.clone(),
            Some(auth) => Some(Auth::new(auth)?),
            None => None,
        };
        taken("limits", old.limits != new.limits);
        taken("compression", old.compression != new.compression);
        let mut tables = Vec::new();
        for schema in now.0.tables.iter().filter(|table| table.exported) {
            let Some(config) = new.table(&schema.name) else { continue };
            let named = format!("tables.{}", schema.name);
            let was = before.0.table(&schema.name).zip(old.table(&schema.name));
            let fate = fate(served, was, (schema, config)).map_err(|why| format!("{}: {why}", schema.name))?;
            match &fate {
                Fate::Stays(_) => {}
                Fate::Taken { .. } => reloaded.taken.push(named),
                Fate::Opened { .. } => reloaded.opened.push(named),
                Fate::Anew { .. } => reloaded.opened_anew.push(named),
            }
            tables.push(Planned { schema, config, fate });
        }
        let is_served = |name: &str| tables.iter().any(|table| table.schema.name == name);
        let was_of_the_folder = |name: &str| before.0.table(name).is_some_and(|table| table.exported);
        let gone = served.tables.values().filter(|table| !is_served(&table.schema.name)).cloned();
        let (closed, others): (Vec<_>, Vec<_>) = gone.partition(|table| was_of_the_folder(&table.schema.name));
        reloaded.closed = closed.iter().map(|table| format!("tables.{}", table.schema.name)).collect();
        Ok(Self { auth, pair, tables, closed, others, reloaded })
    }
}

/// What waits for a restart, by name.
fn waits(old: &Config, new: &Config) -> Vec<String> {
    let parts = [
        ("listen", old.listen != new.listen),
        ("public", old.public != new.public),
        ("admin", old.admin != new.admin),
        ("tls", old.tls.is_some() != new.tls.is_some()),
        ("log", old.log != new.log),
        ("access_log", old.access_log != new.access_log),
        ("telemetry", old.telemetry != new.telemetry),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}

fn fate(
    served: &Served,
    was: Option<(&Table, &TableConfig)>,
    (schema, config): (&Table, &TableConfig),
) -> Result<Fate, String> {
    let (table, (old_schema, old)) = match (served.tables.get(&schema.name), was) {
        (Some(table), Some(was)) => (table.clone(), was),
        (Some(earlier), None) => return Ok(Fate::Anew { earlier: earlier.clone(), origin: tried(schema, config)? }),
        (None, _) => return Ok(Fate::Opened { origin: tried(schema, config)? }),
    };
    if (old_schema, old) == (schema, config) {
        return Ok(Fate::Stays(table));
    }
    let origin = tried(schema, config)?;
    if !(leaves_schema(old_schema, schema) && leaves_records(old, config)) {
        return Ok(Fate::Anew { earlier: table, origin });
    }
    let another_origin = old.origin != config.origin;
    let is_told = old.subscribe.is_some() || config.subscribe.is_some();
    let subscribes = is_told && (another_origin || old.subscribe != config.subscribe || old.changes != config.changes);
    Ok(Fate::Taken { table, origin: (another_origin || subscribes).then_some(origin), subscribes })
}

/// The same records, found by the same indexes, for the same time: what may be written is all that differs.
fn leaves_schema(old: &Table, new: &Table) -> bool {
    let mut as_new = Table { sealed: new.sealed, exported: new.exported, ..old.clone() };
    for (attribute, new) in as_new.attributes.iter_mut().zip(&new.attributes) {
        attribute.bounds = new.bounds.clone();
    }
    as_new == *new
}

/// What differs does not say what the records are, nor how the cache holds them.
fn leaves_records(old: &TableConfig, new: &TableConfig) -> bool {
    let mut as_new = TableConfig {
        origin: asked_otherwise(&old.origin, &new.origin),
        subscribe: new.subscribe.clone(),
        changes: new.changes.clone(),
        clean_start: new.clean_start,
        ..old.clone()
    };
    as_new.optimistic.timeout = new.optimistic.timeout;
    as_new.optimistic.outcomes = new.optimistic.outcomes;
    as_new.optimistic.outcomes_for = new.optimistic.outcomes_for;
    as_new == *new
}

/// The old origin, asked as the new one is.
fn asked_otherwise(old: &OriginConfig, new: &OriginConfig) -> OriginConfig {
    OriginConfig {
        headers: new.headers.clone(),
        wire: new.wire.clone(),
        connect_timeout: new.connect_timeout,
        timeout: new.timeout,
        max_in_flight: new.max_in_flight,
        max_queued: new.max_queued,
        max_idle_connections: new.max_idle_connections,
        max_idle_age: new.max_idle_age,
        write_max_idle_age: new.write_max_idle_age,
        name_ttl: new.name_ttl,
        retries: new.retries.clone(),
        breaker: new.breaker.clone(),
        idempotency_header: new.idempotency_header.clone(),
        max_body_bytes: new.max_body_bytes,
        list: new.list.clone(),
        create: new.create.clone(),
        patch: new.patch,
        ..old.clone()
    }
}
