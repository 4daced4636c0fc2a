//! The handle: one line an operation.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::answer::{Answer, header_is_sound};
use crate::faults::{Fault, FaultKind, Target};
use crate::hold::{Gate, When};
use crate::http::Method;
use crate::log::Entry;
use crate::options::OriginOptions;
use crate::records::{Change, Records};
use crate::server::{Server, Shared, bind};

/// A running inventory origin. Dropping it stops it.
///
/// ```
/// use wtcache_origin::{Origin, OriginOptions};
/// let origin = Origin::start(OriginOptions::new())?;
/// origin.seed("item-001", serde_json::json!({ "name": "bolt", "quantity": 4 }));
/// println!("curl {}/items/item-001", origin.url());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Origin {
    shared: Arc<Shared>,
    server: Server,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

impl Origin {
    /// Opens the records, takes the port and begins to answer.
    ///
    /// # Errors
    /// `AddrInUse`: the port is taken. `InvalidData`: the file is not a database of the origin. Other kinds: the port or the
    /// file cannot be had. The message names which. Nothing is left behind then, but a missing file may have been made.
    pub fn start(options: OriginOptions) -> io::Result<Self> {
        let listener = bind(options.port)?;
        let records = Records::open(options.db.as_deref())?;
        let shared = Arc::new(Shared::new(options, records));
        let server = Server::start(Arc::clone(&shared), listener)?;
        Ok(Self { shared, server })
    }

    /// `http://127.0.0.1:<port>`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Stops: from now on nothing is applied, what is held at a gate or hangs is neither applied nor answered, every
    /// connection closes and every thread has ended. The log and the records stay readable. Also done on drop.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Closes the listener, so that new connections are refused; those that are open stay.
    pub fn pause_accept(&self) {
        self.server.pause_accept();
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// The port was taken meanwhile, or the origin is stopped.
    pub fn resume_accept(&self) -> io::Result<()> {
        self.server.resume_accept()
    }

    /// Closes every connection that is open now, idle or at work. A write that was received may still be applied.
    pub fn drop_connections(&self) {
        self.server.drop_connections();
    }

    /// The entries of the log, oldest first: the last 100,000, fewer when they have large bodies.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.shared.log.entries()
    }

    /// How many requests arrived since the start, or since [`clear_log`](Self::clear_log).
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.log.calls()
    }

    /// Empties the log and begins the count of calls anew. `seq` goes on.
    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Waits until the log satisfies `holds`; false when `timeout` passed first. `holds` runs with the log locked: it must
    /// not call the origin.
    pub fn wait_for(&self, holds: impl FnMut(&[Entry]) -> bool, timeout: Duration) -> bool {
        self.shared.log.wait_for(holds, timeout)
    }

    /// Appends a rule to the queue of faults.
    ///
    /// # Panics
    /// If 10,000 rules wait already.
    pub fn fault(&self, fault: Fault) {
        self.faults([fault]);
    }

    /// Appends rules to the queue of faults, such as those of a [`Script`](crate::Script).
    ///
    /// # Panics
    /// If 10,000 rules would wait.
    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        assert!(self.shared.faults.push(faults), "too many faults wait");
    }

    /// The rules that were not used up yet.
    #[must_use]
    pub fn faults_waiting(&self) -> usize {
        self.shared.faults.waiting().len()
    }

    /// Drops the rules that were not used up yet.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// A gate for the next request of `method` on `target` that comes to this moment, one only. With several gates in
    /// line, each request stands at the first one that still wants one.
    pub fn gate(&self, method: Method, target: impl Into<Target>, when: When) -> Gate {
        self.shared.holds.gate(method, target.into(), when, 1)
    }

    /// A gate for every such request until it is released.
    pub fn gate_all(&self, method: Method, target: impl Into<Target>, when: When) -> Gate {
        self.shared.holds.gate(method, target.into(), when, usize::MAX)
    }

    /// The next write of `method` on `id` becomes a stray: its connection is reset at once, and it is applied when the
    /// gate is released.
    ///
    /// # Panics
    /// If 10,000 rules wait already.
    pub fn stray(&self, method: Method, id: &str) -> Gate {
        let gate = self.gate(method, id, When::BeforeApply);
        self.fault(Fault::on(method, id).kind(FaultKind::StrayReset(Duration::ZERO)));
        gate
    }

    /// Ends the hangs of all requests that arrived, by the log, before this: their connections close. Later ones hang.
    pub fn release_hangs(&self) {
        self.shared.holds.release_hangs();
    }

    /// The record as it is now, whatever anyone was told.
    ///
    /// # Panics
    /// If SQLite fails.
    #[must_use]
    pub fn record(&self, id: &str) -> Option<Value> {
        let stored = self.shared.records.get(id).expect("the records can be read");
        stored.map(|stored| serde_json::from_str(&stored.json).expect("a record is kept as JSON"))
    }

    /// Writes a record past the API: no rules, no log entry. Answers its revision, which moves as for any write.
    ///
    /// # Panics
    /// If `record` is not an object, or SQLite fails.
    pub fn seed(&self, id: &str, record: Value) -> u64 {
        self.seed_in_order(id, record).0
    }

    /// The same. Answers its revision, and its place among all writes that were applied ([`Entry::applied_seq`]).
    ///
    /// # Panics
    /// If `record` is not an object, or SQLite fails.
    pub fn seed_in_order(&self, id: &str, record: Value) -> (u64, u64) {
        let Value::Object(record) = record else { panic!("a record is a JSON object, not {record}") };
        let put = |_: Option<&_>| Ok::<_, Answer>(Change::Put(record));
        let mut place = 0;
        let applied = self.shared.records.change(id, put, |seq| place = seq).expect("the records can be written");
        let stored = applied.ok().and_then(|applied| applied.stored).expect("a put is not refused here");
        (stored.revision, place)
    }

    /// Deletes a record past the API. False: there was none.
    ///
    /// # Panics
    /// If SQLite fails.
    pub fn remove(&self, id: &str) -> bool {
        let delete = |current: Option<&_>| current.map(|_| Change::Delete).ok_or(());
        self.shared.records.change(id, delete, |_| {}).expect("the records can be written").is_ok()
    }

    /// Sets or ends the `Cache-Control` of answers to GETs under `/items`.
    ///
    /// # Panics
    /// If `directives` has control characters.
    pub fn set_cache_control(&self, directives: Option<&str>) {
        assert!(directives.is_none_or(|value| header_is_sound("Cache-Control", value)), "not a header value");
        self.shared.settings().cache_control = directives.map(str::to_owned);
    }

    /// Sets the latency of requests that arrive, by the log, from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.settings().latency = latency;
    }

    /// Sets or ends the API key.
    pub fn set_api_key(&self, key: Option<&str>) {
        self.shared.settings().api_key = key.map(str::to_owned);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}
