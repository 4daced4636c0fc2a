//! A configuration read again while it is served: what of it is taken at once, which tables are opened and closed, and what waits for a restart.
//!
//! `plan.rs` says what becomes of each table, this file does it. All that can be wrong with a folder is found before anything is changed. Then the
//! tables that are to be left let nothing in that changes something, and what is inside comes to its end, while they are read as before; then other
//! caches are opened; and then, in one step, requests that begin go by the new configuration. Invariants: a folder in which anything is wrong
//! changes nothing; no cache of a table is opened while a write that was made through an earlier one is on its way.

mod plan;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::plan::{Fate, Plan, Planned};
use crate::config::{self, Config, Environment};
use crate::front::{Ending, Front};
use crate::pending::Outcomes;
use crate::schema::Schema;
use crate::serve::{DRAIN, left_of};
use crate::served::{Served, Tables};
use crate::table::{Earlier, ServedTable};

/// How often it is looked whether what is waited for is so.
const LOOK: Duration = Duration::from_millis(2);

/// So long requests that began before are waited for. Their deadlines end them before.
const REQUESTS: Duration = Duration::from_secs(180);

/// The folder that a front serves, and what of it is in force.
pub struct Reloading {
    directory: PathBuf,
    front: Arc<Front>,
    now: Mutex<Now>,
}

struct Now {
    schema: Schema,
    config: Config,
}

/// What came of reading a folder again. Each part is named as the files have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What is another, and holds from now on. A table's cache holds what it held.
    pub taken: Vec<String>,
    /// The tables that are served now, and were not.
    pub opened: Vec<String>,
    /// The tables whose caches began anew, with nothing in them.
    pub opened_anew: Vec<String>,
    /// The tables that are served no more.
    pub closed: Vec<String>,
    /// What is another than in force, and waits for the next start.
    pub waits: Vec<String>,
    /// A line for each thing that the caches which were closed left unfinished.
    pub left: Vec<String>,
}

impl fmt::Display for Reloaded {
    /// In one line, without what was left.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        write!(f, "reloaded: {}", names(&self.taken))?;
        for (what, tables) in [("opened", &self.opened), ("opened anew", &self.opened_anew), ("closed", &self.closed)] {
            if !tables.is_empty() {
                write!(f, "; {what}: {}", names(tables))?;
            }
        }
        write!(f, "; needs a restart: {}", names(&self.waits))
    }
}

impl Reloading {
    /// `front` was made of what was read in `directory`: `schema` and `config`.
    #[must_use]
    pub fn new(directory: &Path, front: Arc<Front>, schema: Schema, config: Config) -> Self {
        Self { directory: directory.to_owned(), front, now: Mutex::new(Now { schema, config }) }
    }

    /// Reads the folder again, and serves by it. Blocks until writes in the tables that are opened anew or served no more have ended, and
    /// requests that began before. One at a time.
    ///
    /// # Errors
    /// What is wrong with the folder, or that the front was asked to end meanwhile; then all is as before.
    pub fn again(&self, environment: Environment<'_>) -> Result<Reloaded, String> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (schema, config) = config::load(&self.directory, environment).map_err(|errors| errors.to_string())?;
        let served = self.front.served();
        let plan = Plan::of(&served, (&now.schema, &now.config), (&schema, &config))?;
        // It would wait for itself.
        drop(served);
        let reloaded = carry_out(&self.front, plan, &now.config, &config)?;
        // What waits for a restart is as it was.
        let Config { listen, public, admin, log, access_log, telemetry, tls, .. } = now.config.clone();
        let tls = if tls.is_some() { config.tls.clone().or(tls) } else { None };
        *now = Now { schema, config: Config { listen, public, admin, log, access_log, telemetry, tls, ..config } };
        Ok(reloaded)
    }
}

fn carry_out(front: &Front, plan: Plan<'_>, before: &Config, config: &Config) -> Result<Reloaded, String> {
    let ending = |Ending| "the server is ending".to_owned();
    let Plan { auth, pair, tables, closed, others, mut reloaded } = plan;
    let anew = tables.iter().filter_map(|table| match &table.fate {
        Fate::Anew { earlier, .. } => Some(earlier.clone()),
        _ => None,
    });
    let shut = Shut::all_of(anew.chain(closed.iter().cloned()).collect());
    shut.wait(front).map_err(ending)?;

    let past = front.served().past.clone();
    let strays = |name: &str| {
        // A table that is gone may be served by another name now.
        let earlier = shut.0.iter().filter(|table| {
            table.schema.name == name || closed.iter().any(|closed| closed.schema.name == table.schema.name)
        });
        let windows = earlier.filter_map(|table| {
            let config = before.table(&table.schema.name)?;
            let unsure = !config.clean_start || table.cache().stats().in_doubt > 0;
            unsure.then_some(config.origin.settle_window)
        });
        windows.max()
    };
    let mut serves: Tables = others.into_iter().map(|table| (table.schema.name.clone(), table)).collect();
    for table in &tables {
        serves.insert(table.schema.name.clone(), open(table, &past, &strays)?);
    }
    // Last, since one forgets what is held as soon as it is connected.
    for Planned { schema, config, fate } in &tables {
        let (Some(origin), true) = (fate.origin(), fate.subscribes()) else { continue };
        serves[&schema.name].subscribe(origin, config).map_err(|error| format!("{}: {error}", schema.name))?;
    }
    let past = still_told(past, &closed, &serves);
    let served = Served { tables: serves, limits: config.limits.clone(), auth, compress: config.compression, past };
    let taken: Vec<ServedTable> = tables
        .iter()
        .filter(|table| matches!(table.fate, Fate::Taken { .. }))
        .map(|table| served.tables[&table.schema.name].clone())
        .collect();
    let was = front.serves(served, &shut.0).map_err(ending)?;
    front.renews(pair);
    for (table, planned) in taken.iter().zip(tables.iter().filter(|table| matches!(table.fate, Fate::Taken { .. }))) {
        table.goes_on(planned.config, planned.fate.origin());
    }
    let left = shut.left();

    let was_held = Arc::downgrade(&was);
    drop(was);
    let end = Instant::now() + REQUESTS;
    while was_held.strong_count() > 0 && Instant::now() < end && !front.is_ending() {
        thread::sleep(LOOK);
    }
    for table in &taken {
        table.let_go();
    }
    // At the end, the front closes them.
    if !front.is_ending() {
        for table in &left {
            table.unsubscribe();
            reloaded.left.extend(left_of(&table.schema.name, &table.cache().close(DRAIN)));
        }
        front.parted(&left);
    }
    Ok(reloaded)
}

/// The table as it is to be served.
fn open(
    planned: &Planned<'_>,
    past: &[Arc<Outcomes>],
    strays: &impl Fn(&str) -> Option<Duration>,
) -> Result<ServedTable, String> {
    let Planned { schema, config, fate } = planned;
    let outcomes = || past.iter().find(|outcomes| outcomes.table() == schema.name).cloned();
    let (origin, earlier) = match fate {
        Fate::Stays(table) => return Ok(table.clone()),
        Fate::Taken { table, origin, .. } => return Ok(table.with(schema, config, origin.as_ref())),
        Fate::Opened { origin } => (origin, Earlier { of: None, outcomes: outcomes(), strays: strays(&schema.name) }),
        Fate::Anew { earlier, origin } => {
            (origin, Earlier { of: Some(earlier.clone()), outcomes: None, strays: strays(&schema.name) })
        }
    };
    ServedTable::over(schema, config, origin, earlier).map_err(|error| format!("{}: {error}", schema.name))
}

/// What became of writes in tables that are served no more, as far as anybody may still ask.
fn still_told(past: Vec<Arc<Outcomes>>, closed: &[ServedTable], serves: &Tables) -> Vec<Arc<Outcomes>> {
    let all = past.into_iter().chain(closed.iter().map(|table| Arc::clone(&table.outcomes)));
    all.filter(|outcomes| !serves.contains_key(outcomes.table()) && !outcomes.is_empty()).collect()
}

/// Tables that are to let nothing in that changes something. Dropped, they do again.
struct Shut(Vec<ServedTable>);

impl Shut {
    fn all_of(mut tables: Vec<ServedTable>) -> Self {
        tables.sort_by(|a, b| a.schema.name.cmp(&b.schema.name));
        Self(tables)
    }

    /// Shuts them, and waits until nobody is inside any of them and no write is on its way.
    fn wait(&self, front: &Front) -> Result<(), Ending> {
        for table in &self.0 {
            // One after the other, in the order in which those go in who need several: he who is in this one finds the next one open.
            table.turnstile.shut();
            if !table.turnstile.wait_until_empty(|| front.is_ending()) {
                return Err(Ending);
            }
        }
        for table in &self.0 {
            while !table.cache().drain(10 * LOOK) {
                if front.is_ending() {
                    return Err(Ending);
                }
            }
        }
        Ok(())
    }

    /// Others have taken their place.
    fn left(mut self) -> Vec<ServedTable> {
        let tables = std::mem::take(&mut self.0);
        tables.iter().for_each(|table| table.turnstile.leave());
        tables
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        self.0.iter().for_each(|table| table.turnstile.open());
    }
}
