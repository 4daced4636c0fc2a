//! `wtcache demo`: a sample origin and a front before it in one process, for a person with curl.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use wtcache_origin::{Entry, Origin, OriginOptions};

use crate::config::Config;
use crate::front::{Front, Seen};
use crate::schema::Schema;
use crate::serve::{Listening, asked_to_end, front_of};
use crate::walk;

const SCHEMA: &str = include_str!("../demo/schema.graphql");
const CONFIG: &str = include_str!("../demo/config.yaml");

/// The sample origin wants to see it, so that the configured header is there for a reason.
const API_KEY: &str = "sample-key";

/// Where the demo listens and keeps its records.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The origin's SQLite file; `None`: in memory.
    pub db: Option<PathBuf>,
    /// The front's port; 0: any.
    pub port: u16,
    /// The origin's port; 0: any.
    pub origin_port: u16,
}

/// The two servers of the demo, not yet serving.
pub(crate) struct Demo {
    pub(crate) origin: Arc<Origin>,
    pub(crate) front: Front,
    address: SocketAddr,
}

impl Demo {
    fn open(options: &Options) -> Result<Self, String> {
        let mut origin = OriginOptions::new().port(options.origin_port).api_key(API_KEY).faults_over_http(true);
        if let Some(db) = &options.db {
            origin = origin.db(db);
        }
        let hint = |error| format!("{error}\nhint: --origin-port 0 takes any free port");
        let origin = Arc::new(Origin::start(origin).map_err(hint)?);
        let url = origin.url();
        let environment = |name: &str| match name {
            "INVENTORY_API" => Some(url.clone()),
            "INVENTORY_API_KEY" => Some(API_KEY.to_owned()),
            _ => None,
        };
        let schema = Schema::parse("schema.graphql", SCHEMA.as_bytes()).map_err(|errors| errors.to_string())?;
        let config = Config::parse("config.yaml", CONFIG.as_bytes(), &schema, &environment)
            .map_err(|errors| errors.to_string())?;
        let front = front_of(&schema, &config)?;
        Ok(Self { origin, front, address: SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)) })
    }

    async fn listen(self) -> Result<(Arc<Origin>, Listening), String> {
        let hint = |error| format!("{error}\nhint: --port 0 takes any free port");
        let listening = Listening::bind(self.front, self.address).await.map_err(hint)?;
        Ok((self.origin, listening))
    }
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// A port is taken, or the SQLite file cannot be used.
pub fn run(options: Options) -> Result<(), String> {
    let mut demo = Demo::open(&options)?;
    let origin = Arc::clone(&demo.origin);
    demo.front = demo.front.observer(move |seen| line(&format!("{seen}   origin calls: {}", origin.calls())));
    runtime()?.block_on(async {
        let end = asked_to_end().map_err(|error| error.to_string())?;
        let (origin, listening) = demo.listen().await?;
        line(&tutorial(&origin.url(), listening.address()));
        let left = listening.until(end).await.map_err(|error| error.to_string())?;
        origin.stop();
        for left in left {
            eprintln!("wtcache: {left}");
        }
        line("ended");
        Ok(())
    })
}

/// Goes through the tutorial by itself.
///
/// # Errors
/// A step did not do what it should; every step was told on standard output.
pub fn walk(options: Options) -> Result<(), String> {
    let demo = Demo::open(&options)?;
    runtime()?.block_on(async {
        let (origin, listening) = demo.listen().await?;
        let base = format!("http://{}", listening.address());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(listening.until(async {
            let _ = ended.await;
        }));
        let at = Arc::clone(&origin);
        let walked = tokio::task::spawn_blocking(move || walk::walk(&at, &base)).await;
        let _ = end.send(());
        let left = serving.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        origin.stop();
        for left in left {
            line(&format!("left: {left}"));
        }
        walked.map_err(|error| error.to_string())?
    })
}

/// The runtime of the command.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))
}

/// Prints a line. That nobody reads it any more is no reason to end.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Prints what a request came to.
pub fn say(seen: &Seen) {
    line(&seen.to_string());
}

/// What the origin's log says of a request, on one line.
#[must_use]
pub fn origin_line(entry: &Entry) -> String {
    let status = entry.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let applied = if entry.applied { ", applied" } else { "" };
    format!("{} {} → {status}{applied}", entry.method.name(), entry.path)
}

fn tutorial(origin: &str, front: SocketAddr) -> String {
    format!(
        r#"The sample origin is at {origin}/items/{{id}} (Authorization: Bearer {API_KEY}), the cache before it at http://{front}.
Try, in another terminal:

  # written to the origin first, then readable here
  curl -i -X PUT http://{front}/InventoryItem/item-001 -d '{{"sku":"WB-100","name":"Widget","quantity":5,"warehouseId":"east"}}'
  # served from the cache: the origin is not called
  curl -i http://{front}/InventoryItem/item-001
  # not there: asked once, then remembered for 5 s
  curl -i http://{front}/InventoryItem/item-404
  # resident records by index
  curl -i 'http://{front}/InventoryItem/?sku=WB-100'
  # the origin refuses: its status and words come through, nothing changes here
  curl -i -X PUT http://{front}/InventoryItem/item-001 -d '{{"sku":"WB-100","quantity":2000000}}'
  # shown at once, before the origin has confirmed it; Location says where to ask what became of it
  curl -i -X PUT http://{front}/InventoryItem/item-001 -H 'Prefer: respond-async' -d '{{"sku":"WB-100","name":"Widget","quantity":3,"warehouseId":"east"}}'
  # a patch changes what it names; null removes
  curl -i -X PATCH http://{front}/InventoryItem/item-001 -H 'Content-Type: application/merge-patch+json' -d '{{"quantity":6,"name":null}}'
  # only if the record is the one that you have seen: it is not, and nothing is sent
  curl -i -X PUT http://{front}/InventoryItem/item-001 -H 'If-Match: "seen"' -d '{{"sku":"WB-100","quantity":4}}'
  # somebody else changed records of that warehouse: forget what is held of them
  curl -i http://{front}/-/invalidate -d '{{"table":"InventoryItem","tag":"warehouseId=east"}}'
  curl -i http://{front}/InventoryItem/item-001
  # let the origin apply the next write and then break the connection: nobody can know, and the cache says so
  curl -X POST {origin}/_faults -H 'Authorization: Bearer {API_KEY}' -d '{{"method":"PUT","kind":"reset-after-apply"}}'
  curl -i -X PUT http://{front}/InventoryItem/item-001 -d '{{"sku":"WB-100","quantity":7}}'
  curl -i http://{front}/InventoryItem/item-001
  # removed at the origin, then here
  curl -i -X DELETE http://{front}/InventoryItem/item-001

Each request is told below. Ctrl-C ends."#
    )
}
