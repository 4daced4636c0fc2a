//! A configuration read again while it is served: what takes effect at once, and what waits for a restart.
//!
//! Invariant: a folder in which anything is wrong changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config, Environment};
use crate::front::Front;
use crate::schema::{Schema, Table};

/// The folder that a front serves, and what was read of it when it began.
pub struct Reloading {
    directory: PathBuf,
    front: Arc<Front>,
    schema: Schema,
    config: Config,
}

/// What came of reading a folder again. Each part is named as the files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// What holds from now on.
    pub taken: Vec<String>,
    /// What is another than it was at the start, and waits for the next one.
    pub waits: Vec<String>,
}

impl Reloading {
    /// `front` was made of what was read in `directory`: `schema` and `config`.
    #[must_use]
    pub fn new(directory: &Path, front: Arc<Front>, schema: Schema, config: Config) -> Self {
        Self { directory: directory.to_owned(), front, schema, config }
    }

    /// Reads the folder again: who may ask for what, and the certificate with its key, are taken at once, for requests and handshakes that
    /// begin from now on. Blocks while files are read.
    ///
    /// # Errors
    /// What is wrong with the folder; then all is as before.
    pub fn again(&self, environment: Environment<'_>) -> Result<Reloaded, String> {
        let (schema, config) = config::load(&self.directory, environment).map_err(|errors| errors.to_string())?;
        let mut taken = Vec::new();
        if self.front.renew(&config)? {
            taken.push("tls".to_owned());
        }
        if config.auth.is_some() || self.config.auth.is_some() {
            taken.push("auth".to_owned());
        }
        Ok(Reloaded { taken, waits: self.waits(&schema, &config) })
    }

    fn waits(&self, schema: &Schema, config: &Config) -> Vec<String> {
        let Config { listen, public, admin, limits, compression, tls, auth: _, log, access_log, telemetry, tables } =
            &self.config;
        let mut waits = Vec::new();
        let mut differs = |name: &str, differs: bool| {
            if differs {
                waits.push(name.to_owned());
            }
        };
        differs("listen", *listen != config.listen);
        differs("public", *public != config.public);
        differs("admin", *admin != config.admin);
        differs("limits", *limits != config.limits);
        differs("compression", *compression != config.compression);
        differs("tls", tls.is_some() != config.tls.is_some());
        differs("log", *log != config.log);
        differs("access_log", *access_log != config.access_log);
        differs("telemetry", *telemetry != config.telemetry);
        let names = tables.iter().chain(&config.tables).map(|table| table.name.as_str());
        let mut seen = Vec::new();
        for name in names {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            differs(&format!("tables.{name}"), self.config.table(name) != config.table(name));
            let of = |schema: &Schema| -> Option<Table> { schema.table(name).cloned() };
            differs(&format!("type {name} of the schema"), of(&self.schema) != of(schema));
        }
        waits
    }
}
