//! The `wtcache` command.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wtcache_origin::{Origin, OriginOptions};
use wtcache_server::config::{Admin, Config, LogFormat};
use wtcache_server::front::Front;
use wtcache_server::notify::{State, notify};
use wtcache_server::reload::{Reloaded, Reloading};
use wtcache_server::schema::Schema;
use wtcache_server::serve::{Listening, asked_to_end, front_of};
use wtcache_server::{config, demo, folder, log, secret};

/// A write-through cache in front of a REST API.
#[derive(Parser)]
#[command(name = "wtcache", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a sample origin and the REST front before it, and prints what to try with curl
    Demo {
        /// Goes through the whole tutorial by itself, and exits with 0 only if every step did what it should
        #[arg(long)]
        walk: bool,
        /// Keeps the sample origin's records in this SQLite file (default: in memory, gone at the end)
        #[arg(long, value_name = "FILE")]
        db: Option<PathBuf>,
        /// The front's port on 127.0.0.1; 0 takes any (default: 9926, with --walk 0)
        #[arg(long)]
        port: Option<u16>,
        /// The sample origin's port on 127.0.0.1; 0 takes any (default: 9925, with --walk 0)
        #[arg(long)]
        origin_port: Option<u16>,
    },
    /// Serves the tables of a folder with schema.graphql and config.yaml
    Serve {
        /// The folder
        #[arg(long, value_name = "DIR")]
        config: PathBuf,
        /// Listens here instead of where config.yaml says
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
        /// Is asked of itself (/-/stats and so on) here instead of where config.yaml says; none: nowhere, same: where it listens
        #[arg(long, value_name = "ADDRESS:PORT")]
        admin: Option<Admin>,
        /// Prints a line per request
        #[arg(long)]
        log: bool,
    },
    /// Says what is wrong with a folder, without serving it: exit code 0 nothing, 1 something
    Check {
        /// The folder
        #[arg(long, value_name = "DIR")]
        config: PathBuf,
    },
    /// Writes a schema.graphql and a config.yaml to begin with into a folder, and overwrites nothing
    Init {
        /// The folder
        dir: PathBuf,
    },
    /// Makes a token, or hashes a password, for the auth of a config.yaml
    Hash {
        /// token: prints a new random one, and the line that knows it; password: reads one from standard input
        what: Hashed,
    },
    /// Runs the sample origin alone, on 127.0.0.1
    Origin {
        /// The port; 0 takes any
        #[arg(long, default_value_t = 9925)]
        port: u16,
        /// Keeps the records in this SQLite file (default: in memory, gone at the end)
        #[arg(long, value_name = "FILE")]
        db: Option<PathBuf>,
        /// Waits so long before it answers
        #[arg(long, value_name = "N", default_value_t = 0)]
        latency_ms: u64,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Hashed {
    Token,
    Password,
}

fn main() -> ExitCode {
    let Some(command) = Cli::parse().command else {
        return match Cli::command().print_long_help() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    };
    let result = match command {
        Command::Demo { walk: true, db, port, origin_port } => {
            demo::walk(demo::Options { db, port: port.unwrap_or(0), origin_port: origin_port.unwrap_or(0) })
        }
        Command::Demo { walk: false, db, port, origin_port } => {
            demo::run(demo::Options { db, port: port.unwrap_or(9926), origin_port: origin_port.unwrap_or(9925) })
        }
        Command::Serve { config, listen, admin, log } => serve(&config, listen, admin, log),
        Command::Check { config } => check(&config),
        Command::Init { dir } => init(&dir),
        Command::Hash { what: Hashed::Token } => secret::token().map(|(token, known_by)| {
            demo::line(&format!("the token, which is not shown again: {token}\n{known_by}"));
        }),
        Command::Hash { what: Hashed::Password } => {
            secret::password(std::io::stdin()).map(|known_by| demo::line(&known_by))
        }
        Command::Origin { port, db, latency_ms } => origin(port, db, latency_ms),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                eprintln!("wtcache: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(directory: &Path, listen: Option<SocketAddr>, admin: Option<Admin>, lines: bool) -> Result<(), String> {
    let environment = |name: &str| std::env::var(name).ok();
    let (schema, config) = config::load(directory, &environment).map_err(|errors| errors.to_string())?;
    log::start(config.log).map_err(|error| error.to_string())?;
    let format = config.log;
    let served = serve_folder(directory, schema, config, listen, admin, lines);
    let served = match (served, format) {
        // Who reads JSON can read nothing else.
        (Err(why), LogFormat::Json) => {
            tracing::error!(name: "failed", why);
            Err(String::new())
        }
        (served, _) => served,
    };
    log::flush();
    served
}

fn serve_folder(
    directory: &Path,
    schema: Schema,
    config: Config,
    listen: Option<SocketAddr>,
    admin: Option<Admin>,
    lines: bool,
) -> Result<(), String> {
    let (version, folder) = (env!("CARGO_PKG_VERSION"), directory.display().to_string());
    tracing::info!(name: "starting", version, folder);
    let (listen, admin) = (listen.unwrap_or(config.listen), admin.unwrap_or(config.admin));
    let is_local = listen.ip().is_loopback() && admin.is_loopback();
    if !(config.public || is_local) {
        let hint = "if that is meant, write in config.yaml: public: true";
        let asks = if config.auth.is_some() { "" } else { ", and it asks nobody who they are" };
        return Err(format!("others than this machine would reach it{asks}\nhint: {hint}"));
    }
    let mut front = front_of(&schema, &config)?;
    if lines {
        front = front.observer(demo::say);
    }
    demo::runtime()?.block_on(async {
        // Before the line that says it is there: who reads that may send any.
        let end = asked_to_end().map_err(|error| error.to_string())?;
        let hangup = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
        let listening = Listening::bind(front, listen).await.map_err(|error| error.to_string())?;
        let listening = listening.admin(admin).await.map_err(|error| error.to_string())?;
        let names = listening.front().table_names();
        let scheme = if listening.front().has_tls() { "https" } else { "http" };
        demo::line(&format!("serving {} on {scheme}://{}", names.join(", "), listening.address()));
        let admin = listening.admin_address().map(|address| format!("{scheme}://{address}"));
        if let Some(admin) = &admin {
            demo::line(&format!("asked of itself on {admin}/-/stats"));
        }
        let (at, tables) = (format!("{scheme}://{}", listening.address()), names.join(","));
        let reloading = Reloading::new(directory, Arc::clone(listening.front()), schema, config);
        reload_on_hangup(hangup, reloading);
        reopen_on_user_signal(Arc::clone(listening.front())).map_err(|error| error.to_string())?;
        tracing::info!(name: "ready", at, admin, tables);
        notify(State::Ready);
        let ends = async {
            end.await;
            tracing::info!(name: "ending", "what is under way is answered");
            notify(State::Stopping);
        };
        for left in listening.until(ends).await.map_err(|error| error.to_string())? {
            tracing::warn!(name: "left", what = left);
        }
        tracing::info!(name: "ended", "everything is closed");
        Ok(())
    })
}

/// Reads the folder again at each SIGHUP, and says what came of it.
fn reload_on_hangup(mut hangup: Signal, reloading: Reloading) {
    let reloading = Arc::new(reloading);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let reloading = Arc::clone(&reloading);
            let again = move || {
                notify(State::Reloading);
                reload(&reloading);
                notify(State::Ready);
            };
            let _ = tokio::task::spawn_blocking(again).await;
        }
    });
}

/// Opens the access log anew at each SIGUSR1: a rotation moved the file away.
fn reopen_on_user_signal(front: Arc<Front>) -> std::io::Result<()> {
    let mut asked = signal(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            front.reopen_access_log();
        }
    });
    Ok(())
}

fn reload(reloading: &Reloading) {
    let environment = |name: &str| std::env::var(name).ok();
    match reloading.again(&environment) {
        Ok(reloaded) => {
            demo::line(&reloaded.to_string());
            let Reloaded { taken, opened, opened_anew, closed, waits, left } = reloaded;
            let names = |names: Vec<String>| (!names.is_empty()).then(|| names.join(", "));
            tracing::info!(
                name: "reloaded",
                taken = names(taken),
                opened = names(opened),
                opened_anew = names(opened_anew),
                closed = names(closed),
                waits = names(waits)
            );
            for what in left {
                tracing::warn!(name: "left", what);
            }
        }
        Err(why) => tracing::error!(name: "not_reloaded", why, "all is as before"),
    }
}

fn check(directory: &Path) -> Result<(), String> {
    let environment = |name: &str| std::env::var(name).ok();
    let (schema, config) = config::load(directory, &environment).map_err(|errors| errors.to_string())?;
    folder::check(&schema, &config)?;
    let names: Vec<&str> =
        schema.tables.iter().filter(|table| table.exported).map(|table| table.name.as_str()).collect();
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    demo::line(&format!("nothing is wrong with it; it serves {} on {scheme}://{}", names.join(", "), config.listen));
    Ok(())
}

fn init(directory: &Path) -> Result<(), String> {
    folder::init(directory)?;
    let name = directory.display();
    demo::line(&format!("wrote {name}/schema.graphql and {name}/config.yaml; next: wtcache serve --config {name}"));
    Ok(())
}

fn origin(port: u16, db: Option<PathBuf>, latency_ms: u64) -> Result<(), String> {
    let mut options = OriginOptions::new()
        .port(port)
        .latency(Duration::from_millis(latency_ms))
        .faults_over_http(true)
        .observer(|entry| demo::line(&demo::origin_line(entry)));
    if let Some(db) = db {
        options = options.db(db);
    }
    let origin = demo::runtime()?.block_on(async {
        // Before the line that says it is there: who reads that may end it at once.
        let end = asked_to_end().map_err(|error| error.to_string())?;
        let origin = Origin::start(options).map_err(|error| error.to_string())?;
        demo::line(&format!("the sample origin is at {}/items/{{id}}", origin.url()));
        end.await;
        Ok::<_, String>(origin)
    })?;
    origin.stop();
    Ok(())
}
