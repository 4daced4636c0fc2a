//! Serving a front: the listener, the end by signal, and the order in which things end.
//!
//! At the end no connection is accepted any more, requests under way are answered, and then the caches are closed, so that writes that
//! were sent or are pending run to their outcome.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use wtcache::CloseReport;
use wtcache::tokio::Pool;

use crate::config::{Admin, Config};
use crate::connections;
use crate::front::Front;
use crate::own::Side;
use crate::schema::Schema;
use crate::table::{Earlier, ServedTable, origin_of};
use crate::trace;

/// Origin calls at once, of one table: an origin that hangs takes no places from another's.
const CALLS_AT_ONCE: usize = 64;

/// Origin calls of one table that may wait for a place.
const CALLS_WAITING: usize = 1024;

/// How long requests under way, and then writes that were sent or are pending, get at the end.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// The same of the admin address.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// A pool for the origin calls of a table. They are part of the trace that the client's request names, and a [rule](crate::hook) in them is told who asks.
#[must_use]
pub fn pool() -> Pool {
    trace::passed_on(Pool::new(CALLS_AT_ONCE, CALLS_WAITING))
}

/// The front of a configuration: each exported table over its HTTP origin.
///
/// # Errors
/// A table's origin or cache cannot be made of its configuration; the message names the table.
pub fn front_of(schema: &Schema, config: &Config) -> Result<Front, String> {
    let mut front = Front::new().limits_of(config.limits.clone()).compress(config.compression);
    if let Some(auth) = &config.auth {
        front = front.auth(auth)?;
    }
    if let Some(tls) = &config.tls {
        front = front.tls(tls)?;
    }
    if let Some(access_log) = &config.access_log {
        front = front.access_log(access_log, config.log)?;
    }
    if let Some(telemetry) = &config.telemetry {
        front = front.telemetry(telemetry)?;
    }
    for table in schema.tables.iter().filter(|table| table.exported) {
        let Some(config) = config.table(&table.name) else { continue };
        let named = |error: &dyn Display| format!("{}: {error}", table.name);
        let origin = Arc::new(origin_of(table, &config.origin).map_err(|error| named(&error))?);
        let served = ServedTable::over(table, config, &origin, Earlier::default()).map_err(|error| named(&error))?;
        served.subscribe(&origin, config).map_err(|error| named(&error))?;
        front = front.table(served);
    }
    Ok(front)
}

/// A front that listens.
pub struct Listening {
    listener: TcpListener,
    admin: Option<TcpListener>,
    side: Side,
    front: Arc<Front>,
    address: SocketAddr,
}

impl Listening {
    /// Binds the address, and serves everything there. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound; the message names it.
    pub async fn bind(front: Front, address: SocketAddr) -> io::Result<Self> {
        let (listener, address) = listen(address).await?;
        Ok(Self { listener, admin: None, side: Side::All, front: Arc::new(front), address })
    }

    /// Serves what this server is asked of itself elsewhere, or nowhere: see [`Admin`]. Of that, health, readiness and what became of
    /// writes stay where the records are.
    ///
    /// # Errors
    /// As [`Listening::bind`].
    pub async fn admin(mut self, admin: Admin) -> io::Result<Self> {
        (self.admin, self.side) = match admin {
            Admin::Same => (None, Side::All),
            Admin::Off => (None, Side::Public),
            Admin::At(address) => (Some(listen(address).await?.0), Side::Public),
        };
        Ok(self)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for what it is asked of itself, if that is another address.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// The front.
    #[must_use]
    pub fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// Serves until `end` is ready, then drains and closes. Gives a line for each thing that was left unfinished. While it drains, who asks at
    /// the admin address is told that it is not ready any more.
    ///
    /// # Errors
    /// A thread of it failed.
    pub async fn until(self, end: impl Future<Output = ()> + Send + 'static) -> io::Result<Vec<String>> {
        let Self { listener, admin, side, front, .. } = self;
        let (told, ending) = watch::channel(false);
        let (told_admin, ending_admin) = watch::channel(false);
        let serving = tokio::spawn(connections::serve(listener, Arc::clone(&front), side, ending));
        let admin =
            admin.map(|admin| tokio::spawn(connections::serve(admin, Arc::clone(&front), Side::Admin, ending_admin)));
        end.await;
        front.ends();
        told.send_replace(true);
        let abort = serving.abort_handle();
        let mut left = Vec::new();
        match tokio::time::timeout(DRAIN, serving).await {
            Ok(result) => result.map_err(io::Error::other)?,
            Err(_) => {
                abort.abort();
                left.push(format!("connections were still busy after {} s and were dropped", DRAIN.as_secs()));
            }
        }
        let reports = tokio::task::spawn_blocking(move || front.close(DRAIN)).await.map_err(io::Error::other)?;
        told_admin.send_replace(true);
        if let Some(admin) = admin {
            let abort = admin.abort_handle();
            if tokio::time::timeout(ADMIN_DRAIN, admin).await.is_err() {
                abort.abort();
            }
        }
        left.extend(reports.iter().flat_map(|(table, report)| left_of(table, report)));
        Ok(left)
    }
}

/// A line for each thing that was left unfinished when a table's cache was closed.
pub(crate) fn left_of(table: &str, report: &CloseReport<Box<[u8]>>) -> Vec<String> {
    let told = [
        (&report.unfinished, "sent, without an outcome"),
        (&report.in_doubt, "in doubt"),
        (&report.rolled_back, "pending, not sent, rolled back"),
    ];
    let tell = |(keys, what): (&Vec<Box<[u8]>>, &str)| {
        let names: Vec<String> = keys.iter().map(|key| format!("{}", key.escape_ascii())).collect();
        format!("{table}: {what}: {}", names.join(", "))
    };
    told.into_iter().filter(|(keys, _)| !keys.is_empty()).map(tell).collect()
}

async fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(named)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Ready once the process is asked to end, by Ctrl-C or SIGTERM.
///
/// # Errors
/// The signals cannot be listened for.
pub fn asked_to_end() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
