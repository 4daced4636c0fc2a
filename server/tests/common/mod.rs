//! The sample origin and a front before it, each on a real socket, and a client as plain as a socket.
//!
//! Invariant: who was called, how often and in which order is read from the origin's own log, by [`Stage::saw`].

#![allow(clippy::unwrap_used, dead_code, reason = "shared by several test crates")]

pub(crate) mod serving;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use wtcache::Stats;
use wtcache_origin::{Origin, OriginOptions};
use wtcache_server::config::{Admin, Config, Limits, TableConfig};
use wtcache_server::front::Front;
use wtcache_server::schema::{Schema, Table};
use wtcache_server::serve::{Listening, front_of, pool};
use wtcache_server::table::{ServedTable, origin_of};
use wtcache_testkit::ManualClock;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The demo's table, one more that is sealed and knows every type, and one that is not exported.
const SCHEMA: &str = concat!(
    include_str!("../../demo/schema.graphql"),
    "type Part @table @export @sealed {
       id: ID @primaryKey
       sku: String! @indexed
       count: Int @indexed
       weight: Float @indexed
       spare: Boolean @indexed
       number: ID @indexed
       marks: [String!] @indexed
     }
     type Hidden @table { id: ID @primaryKey }"
);

/// What a stage is set up with.
pub(crate) struct Setup {
    timeout: String,
    table: Vec<String>,
    origin: Vec<String>,
    expiration: Option<u64>,
    real_time: bool,
    admin: Admin,
    limits: Limits,
    top: String,
    types: String,
    at: Option<String>,
}

/// A deadline that no test meets, a settle window of 10 s, and a clock that stands.
pub(crate) fn setup() -> Setup {
    Setup {
        timeout: "20s".into(),
        table: Vec::new(),
        origin: Vec::new(),
        expiration: None,
        real_time: false,
        admin: Admin::Same,
        limits: Limits::default(),
        top: String::new(),
        types: String::new(),
        at: None,
    }
}

/// A stage with the defaults of [`setup`].
pub(crate) fn stage() -> Stage {
    setup().start()
}

impl Setup {
    /// The deadline of an origin call.
    pub(crate) fn timeout(mut self, timeout: &str) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// A line of the tables' configuration.
    pub(crate) fn table(mut self, line: &str) -> Self {
        self.table.push(line.into());
        self
    }

    /// A line of the tables' origins, in which `${ORIGIN}` is where the sample origin is.
    pub(crate) fn origin(mut self, line: &str) -> Self {
        self.origin.push(line.into());
        self
    }

    /// Another lifetime of records than the schema's.
    pub(crate) fn expiration(mut self, seconds: u64) -> Self {
        self.expiration = Some(seconds);
        self
    }

    /// The front's time is the system's.
    pub(crate) fn real_time(mut self) -> Self {
        self.real_time = true;
        self
    }

    /// Where the front is asked of itself; else where the records are.
    pub(crate) fn admin(mut self, admin: Admin) -> Self {
        self.admin = admin;
        self
    }

    /// Other bounds of its clients.
    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Further lines of the configuration, beside `tables`.
    pub(crate) fn top(mut self, lines: &str) -> Self {
        self.top = lines.into();
        self
    }

    /// Another URL of the tables' records than the sample origin's.
    pub(crate) fn at_origin(mut self, url: &str) -> Self {
        self.at = Some(url.into());
        self
    }

    /// Further types of the schema.
    pub(crate) fn types(mut self, types: &str) -> Self {
        self.types = types.into();
        self
    }

    pub(crate) fn start(self) -> Stage {
        self.start_with(|table, config, pool, clock| {
            let source = Arc::new(origin_of(table, &config.origin).unwrap());
            let served =
                ServedTable::open_with_clock(table, config, Arc::clone(&source), pool, clock.shared()).unwrap();
            served.told_by(&source, config).unwrap()
        })
    }

    /// The same, with tables opened by the test.
    pub(crate) fn start_with(
        self,
        open: impl Fn(&Table, &TableConfig, &wtcache::tokio::Pool, &ManualClock) -> ServedTable,
    ) -> Stage {
        let origin = Origin::start(OriginOptions::new().api_key("secret")).unwrap();
        let (schema, config) = self.read(&origin.url());
        let clock = ManualClock::new();
        if self.real_time {
            return Stage::serve(origin, clock, front_of(&schema, &config).unwrap(), self.admin);
        }
        let mut front = Front::new().limits_of(self.limits.clone()).compress(config.compression);
        if let Some(auth) = &config.auth {
            front = front.auth(auth).unwrap();
        }
        if let Some(tls) = &config.tls {
            front = front.tls(tls).unwrap();
        }
        for table in schema.tables.iter().filter(|table| table.exported) {
            front = front.table(open(table, config.table(&table.name).unwrap(), &pool(), &clock));
        }
        Stage::serve(origin, clock, front, self.admin)
    }

    fn read(&self, url: &str) -> (Schema, Config) {
        let schema = match self.expiration {
            Some(seconds) => SCHEMA.replace("expiration: 300", &format!("expiration: {seconds}")),
            None => SCHEMA.to_owned(),
        };
        let schema = Schema::parse("schema.graphql", format!("{schema}\n{}", self.types).as_bytes()).unwrap();
        let mut text = format!("{}\ntables:\n", self.top);
        for table in &schema.tables {
            text += &format!("  {}:\n    clean_start: true\n", table.name);
            for line in &self.table {
                text += &format!("    {line}\n");
            }
            let at = self.at.clone().unwrap_or_else(|| format!("{url}/items/{{id}}"));
            text += &format!("    origin:\n      url: {at}\n      timeout: {}\n", self.timeout);
            text += "      headers:\n        Authorization: Bearer ${KEY}\n";
            // A test is of one exchange with the origin, unless it says otherwise.
            for (key, none) in [("retries", "{ loads: 0 }"), ("breaker", "{ enabled: false }")] {
                if !self.origin.iter().any(|line| line.starts_with(key)) {
                    text += &format!("      {key}: {none}\n");
                }
            }
            for line in &self.origin {
                text += &format!("      {line}\n");
            }
        }
        let environment = |name: &str| match name {
            "KEY" => Some("secret".to_owned()),
            "ORIGIN" => Some(url.to_owned()),
            _ => None,
        };
        let config = match Config::parse("config.yaml", text.as_bytes(), &schema, &environment) {
            Ok(config) => config,
            Err(errors) => panic!("{errors}\n{text}"),
        };
        (schema, config)
    }
}

/// An origin and a front, serving.
pub(crate) struct Stage {
    pub(crate) origin: Origin,
    /// The front's clock, unless it runs in real time.
    pub(crate) clock: ManualClock,
    pub(crate) front: Arc<Front>,
    pub(crate) address: SocketAddr,
    /// Where it is asked of itself, if that is another address.
    pub(crate) admin: Option<SocketAddr>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    serving: Option<JoinHandle<Vec<String>>>,
}

impl Stage {
    fn serve(origin: Origin, clock: ManualClock, front: Front, admin: Admin) -> Self {
        let (end, ended) = tokio::sync::oneshot::channel();
        let (told, bound) = mpsc::channel();
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listening = Listening::bind(front, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
                let listening = listening.admin(admin).await.unwrap();
                let addresses = (listening.address(), listening.admin_address());
                told.send((Arc::clone(listening.front()), addresses)).unwrap();
                let end = async {
                    let _ = ended.await;
                };
                listening.until(end).await.unwrap()
            })
        });
        let (front, (address, admin)) = bound.recv().unwrap();
        Self { origin, clock, front, address, admin, end: Some(end), serving: Some(serving) }
    }

    pub(crate) fn get(&self, key: &str) -> Response {
        self.ask("GET", &format!("/InventoryItem/{key}"), &[], "")
    }

    pub(crate) fn put(&self, key: &str, body: &str) -> Response {
        self.ask("PUT", &format!("/InventoryItem/{key}"), &[], body)
    }

    /// Puts a record that holds this quantity.
    pub(crate) fn put_quantity(&self, key: &str, quantity: i64) -> Response {
        self.put(key, &format!("{{\"sku\":\"WB-100\",\"quantity\":{quantity}}}"))
    }

    pub(crate) fn delete(&self, key: &str) -> Response {
        self.ask("DELETE", &format!("/InventoryItem/{key}"), &[], "")
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut client = self.client();
        client.send(method, path, headers, body);
        client.receive()
    }

    /// What a GET that was 200 brought; `None` where the front has no room for its connection.
    pub(crate) fn ask_in_a_crowd(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200 ").then_some(answer)
    }

    pub(crate) fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream }
    }

    /// What reached the origin since this was last asked, in the order of arrival: `GET item-001`.
    pub(crate) fn saw(&self) -> Vec<String> {
        let log = self.origin.log();
        self.origin.clear_log();
        log.iter()
            .map(|entry| format!("{} {}", entry.method.name(), entry.id.as_deref().unwrap_or(&entry.path)))
            .collect()
    }

    /// Waits until a cache's counters satisfy `holds`: a barrier, never what a test asserts.
    pub(crate) fn wait_for_stats(&self, table: &str, holds: impl Fn(&Stats) -> bool) {
        let (_, cache) = self.front.caches().find(|(name, _)| *name == table).unwrap();
        let end = Instant::now() + PATIENCE;
        while !holds(&cache.stats()) {
            assert!(Instant::now() < end, "the barrier was not reached: {:?}", cache.stats());
            std::thread::yield_now();
        }
    }

    /// Asks the front to end; what is under way goes on.
    pub(crate) fn ask_to_end(&mut self) {
        drop(self.end.take());
    }

    /// Waits for the end: what was left.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        self.ask_to_end();
        self.serving.take().unwrap().join().unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Before the front: what hangs at the origin is let go.
        self.origin.stop();
        self.ask_to_end();
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// A connection to a front, for one request.
pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: front\r\nConnection: close\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        self.raw(format!("{text}\r\n{body}").as_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The answer: all that comes until the front closes.
    pub(crate) fn receive(&mut self) -> Response {
        self.receive_any().checked()
    }

    /// The answer of any server.
    fn receive_any(&mut self) -> Response {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        Response::parse(&bytes)
    }
}

/// An answer. One of a front, whatever it is, says so in Cache-Status.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

impl Response {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer with a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let bytes = bytes[end + 4..].to_vec();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body, bytes }
    }

    /// It is one of a front.
    pub(crate) fn checked(self) -> Self {
        let says = self.header("cache-status");
        assert!(says.is_some_and(|says| says.starts_with("wtcache")), "Cache-Status: {self:?}");
        if self.header("content-type") == Some("application/problem+json") && !self.body.is_empty() {
            let problem = self.json();
            assert_eq!(problem["status"], self.status, "RFC 9457: {self:?}");
            assert!(problem["title"].is_string() && problem["detail"].is_string(), "RFC 9457: {self:?}");
        }
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn quantity(&self) -> i64 {
        self.json()["quantity"].as_i64().unwrap()
    }

    /// It has this status, or the test ends here.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A write that did not end Applied: its status, and the outcome in body and header.
    #[track_caller]
    pub(crate) fn expect_outcome(self, status: u16, outcome: &str) -> Self {
        let this = self.expect(status);
        assert_eq!(this.header("wtcache-outcome"), Some(outcome), "{this:?}");
        if this.header("content-type") == Some("application/problem+json") {
            assert_eq!(this.json()["outcome"], outcome, "{this:?}");
        }
        this
    }
}

/// One request on a connection of its own to any server: the answer's status and body.
pub(crate) fn ask_at(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let answer = request_at(address, method, path, &[], body);
    (answer.status, answer.body)
}

/// One request on a connection of its own to any server.
pub(crate) fn request_at(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client { stream };
    client.send(method, path, headers, body);
    client.receive_any()
}
