//! A folder to serve: made anew, and checked without serving it.
//!
//! Invariant: neither opens a connection nor listens, and what is there already is never overwritten.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::config::{AccessLog, Config};
use crate::schema::Schema;
use crate::table::tried;
use crate::telemetry;
use crate::tls::Tls;

/// The files of a new folder.
const FILES: [(&str, &str); 2] =
    [("schema.graphql", include_str!("../init/schema.graphql")), ("config.yaml", include_str!("../init/config.yaml"))];

/// Writes a schema and a configuration that can be served, with comments, into `directory`, which is made where it is missing.
///
/// # Errors
/// One of the files is there already, and then none is written; or the system refuses, and the message says what was not written.
pub fn init(directory: &Path) -> Result<(), String> {
    let refuse = |path: &Path, why: &str| Err(format!("{}: {why}; nothing was written", path.display()));
    for (name, _) in FILES {
        let path = directory.join(name);
        // Also a link that leads nowhere: it is somebody's.
        if path.symlink_metadata().is_ok() {
            return refuse(&path, "is there already");
        }
    }
    if let Err(error) = fs::create_dir_all(directory) {
        return refuse(directory, &error.to_string());
    }
    for (name, text) in FILES {
        let path = directory.join(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| format!("{} was not written: {error}", path.display()))?;
    }
    Ok(())
}

/// Makes of each exported table, of the certificate and of what traces are sent with, what [`front_of`](crate::serve::front_of) would, and lets it go.
///
/// # Errors
/// What is wrong with these, and with each table that cannot be served, a line each.
pub fn check(schema: &Schema, config: &Config) -> Result<(), String> {
    let mut wrong: Vec<String> = config.tls.iter().filter_map(|tls| Tls::load(tls).err()).collect();
    if let Some(AccessLog::File(path)) = &config.access_log
        && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
    {
        wrong.push(format!("access_log: there is no folder {}", folder.display()));
    }
    wrong.extend(config.telemetry.iter().filter_map(|telemetry| telemetry::check(telemetry).err()));
    for table in schema.tables.iter().filter(|table| table.exported) {
        let Some(config) = config.table(&table.name) else { continue };
        if let Err(error) = tried(table, config) {
            wrong.push(format!("{}: {error}", table.name));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
