//! A folder read again at SIGHUP, by the command, while it is served: what is kept, what begins anew, and what waits.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::serving::{Folder, PATIENCE, Serving, address_in, warnings, wtcache};
use common::{Response, request_at};
use serde_json::{Value, json};
use wtcache_origin::{Fault, FaultKind, Gate, Method, Origin, OriginOptions, When};

/// An origin, a folder and a server that was begun with it.
struct Server {
    origin: Origin,
    folder: Folder,
    serving: Serving,
    address: SocketAddr,
}

const ITEM: &str =
    "type Item @table(expiration: 7200) @export { id: ID @primaryKey quantity: Int sku: String @indexed }";
const OTHER: &str = "type Other @table @export { id: ID @primaryKey }";

/// A table's line of the configuration; `origin` and `more` begin with a comma, or are empty.
fn table(name: &str, origin: &str, more: &str) -> String {
    format!(
        "  {name}: {{ clean_start: true, origin: {{ url: '${{ORIGIN}}/items/{{id}}', retries: {{ loads: 0 }}, \
         breaker: {{ enabled: false }}{origin} }}{more} }}\n"
    )
}

fn config(top: &str, tables: &[String]) -> String {
    format!("{top}\ntables:\n{}", tables.concat())
}

const NONE: &str = "";

const BRIEF: &str = "type Brief @table @export { id: ID @primaryKey }";

/// A table whose calls have little time: that it is shut is told soon.
fn brief(capacity: &str) -> String {
    table("Brief", ", timeout: 400ms", &format!(", capacity: {capacity}"))
}

impl Server {
    fn start(name: &str, schema: &str, config: &str) -> Self {
        let origin = Origin::start(OriginOptions::new()).unwrap();
        let folder = Folder::new(&format!("reload-{name}"));
        folder.write("schema.graphql", schema);
        folder.write("config.yaml", config);
        let mut command = wtcache(&["serve", "--config", folder.name(), "--listen", "127.0.0.1:0", "--admin", "same"]);
        command.env("ORIGIN", origin.url());
        let mut serving = Serving::start(command);
        let address = address_in(&serving.line());
        Self { origin, folder, serving, address }
    }

    /// Reads the folder with these files again: what it says of that.
    fn reload(&mut self, schema: &str, config: &str) -> String {
        self.begin_to_reload(schema, config);
        self.serving.line()
    }

    fn begin_to_reload(&self, schema: &str, config: &str) {
        self.folder.write("schema.graphql", schema);
        self.folder.write("config.yaml", config);
        self.serving.signal("-HUP");
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        request_at(self.address, method, path, headers, body)
    }

    fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[], "")
    }

    fn put(&self, path: &str, quantity: i64) -> Response {
        self.ask("PUT", path, &[], &json!({ "quantity": quantity }).to_string())
    }

    #[track_caller]
    fn is_hit(&self, path: &str) -> bool {
        self.get(path).expect(200).header("cache-status").unwrap().starts_with("wtcache; hit")
    }

    /// What the origin saw of writes of this key.
    fn puts(&self, key: &str) -> usize {
        self.origin.log().iter().filter(|e| e.method == Method::Put && e.id.as_deref() == Some(key)).count()
    }

    /// A write of `key` that is answered at once, and is at the origin until the gate is released: the path of its status.
    fn pending(&self, table: &str, key: &str) -> (Gate, String) {
        let gate = self.origin.gate(Method::Put, key, When::BeforeApply);
        let path = format!("/{table}/{key}");
        let shown = self.ask("PUT", &path, &[("Prefer", "respond-async")], "{\"quantity\":9}").expect(202);
        assert!(gate.wait_arrived(PATIENCE));
        (gate, shown.header("location").unwrap().to_owned())
    }

    /// A barrier: [`brief`], and each table of an earlier name that is left, lets no writes in any more.
    fn wait_until_shut(&self) -> Response {
        let end = Instant::now() + PATIENCE;
        loop {
            let put = self.put("/Brief/barrier", 1);
            if put.status != 200 {
                return put;
            }
            assert!(Instant::now() < end, "the barrier was not reached");
        }
    }

    /// Asks until the answer is this: the place of the connection before is free a moment after it was closed.
    fn until(&self, status: u16, headers: &[(&str, &str)]) {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("GET", "/-/healthz", headers, "");
            if answer.status == status {
                return;
            }
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(Instant::now() < end, "there is never a place");
        }
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.get("/-/metrics").expect(200).body;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    fn ends_well(self) {
        self.serving.signal("-TERM");
        self.origin.stop();
        let (status, _, err) = self.serving.end();
        let mut told = warnings(&err);
        told.retain(|line| !line.contains(" connections_refused "));
        assert_eq!((status.code(), told), (Some(0), vec![]));
    }
}

/// Credentials, connections and bounds of what is written are taken, and what is held stays held.
#[test]
fn what_leaves_the_records_what_they_are_is_taken_without_losing_them() {
    let key = |key: &str| table("Item", &format!(", headers: {{ Authorization: Bearer {key} }}"), NONE);
    let mut server = Server::start("kept", ITEM, &config("", &[key("one")]));
    server.origin.set_api_key(Some("one"));
    server.put("/Item/a", 5).expect(200);
    assert!(server.is_hit("/Item/a"));
    server.origin.set_api_key(Some("two"));
    server.get("/Item/b").expect(502);
    let (hits, attempts) = ("wtcache_hits_total{table=\"Item\"}", "wtcache_origin_attempts_total{table=\"Item\"}");
    let before = (server.metric(hits).unwrap(), server.metric(attempts).unwrap());
    assert_eq!(before, (1.0, 2.0));

    let bounded = ITEM.replace("quantity: Int", "quantity: Int @max(value: 7)");
    assert_eq!(server.reload(&bounded, &config("", &[key("two")])), "reloaded: tables.Item; needs a restart: nothing");
    assert!(server.is_hit("/Item/a"));
    server.get("/Item/b").expect(404);
    assert_eq!(server.put("/Item/a", 8).expect(400).json()["field"], "quantity");
    server.put("/Item/a", 7).expect(200);
    assert!(server.get("/-/openapi.json").body.contains("\"maximum\":7"));
    assert_eq!((server.metric(hits), server.metric(attempts)), (Some(2.0), Some(4.0)), "they go on");
    server.ends_well();
}

/// How long calls may take is of those that begin afterwards, in the cache as at the origin.
#[test]
fn timeouts_are_taken_without_losing_what_is_held() {
    let with = |timeout: &str| config("", &[table("Item", &format!(", timeout: {timeout}"), NONE)]);
    let mut server = Server::start("timeouts", ITEM, &with("1s"));
    server.put("/Item/a", 1).expect(200);
    assert_eq!(server.reload(ITEM, &with("20s")), "reloaded: tables.Item; needs a restart: nothing");
    assert!(server.is_hit("/Item/a"));
    server.origin.set_latency(Duration::from_millis(1500));
    server.get("/Item/b").expect(404);
    assert_eq!(server.reload(ITEM, &with("50ms")), "reloaded: tables.Item; needs a restart: nothing");
    server.get("/Item/c").expect(504);
    assert!(server.is_hit("/Item/a"));
    server.ends_well();
}

/// A subscription goes on with the credentials that are new; it has to begin anew for that.
#[test]
fn a_subscription_is_begun_anew_with_what_asks_the_origin() {
    let with = |key: &str, more: &str| {
        config("", &[table("Item", &format!(", headers: {{ Authorization: Bearer {key} }}"), more)])
    };
    let subscribe = ", subscribe: { url: /items/_changes }";
    let mut server = Server::start("subscription", ITEM, &with("one", subscribe));
    let is = |server: &Server, state: &Value| {
        let end = Instant::now() + PATIENCE;
        while server.get("/-/stats").json()["subscriptions"]["Item"]["state"] != *state {
            assert!(Instant::now() < end, "{}", server.get("/-/stats").body);
        }
    };
    is(&server, &json!("live"));
    server.origin.set_api_key(Some("two"));
    let line = server.reload(ITEM, &with("two", subscribe));
    assert_eq!(line, "reloaded: tables.Item; needs a restart: nothing");
    is(&server, &json!("live"));
    server.put("/Item/a", 1).expect(200);
    server.origin.seed("a", json!({ "quantity": 2 }));
    let end = Instant::now() + PATIENCE;
    while server.get("/Item/a").expect(200).quantity() != 2 {
        assert!(Instant::now() < end, "it is not told of changes");
    }
    assert_eq!(server.reload(ITEM, &with("two", NONE)), "reloaded: tables.Item; needs a restart: nothing");
    is(&server, &Value::Null);
    server.ends_well();
}

/// A stream of what happens to a table's keys, read to its end.
fn events(address: SocketAddr, table: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /-/events?table={table} HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n").unwrap();
    let mut read = String::new();
    while !read.contains(": events of") {
        let mut block = [0; 1024];
        let length = stream.read(&mut block).unwrap();
        assert!(length > 0, "{read}");
        read.push_str(std::str::from_utf8(&block[..length]).unwrap());
    }
    stream
}

#[test]
fn a_table_that_is_new_is_served_and_one_that_is_gone_is_not() {
    let told = ", events: true";
    let mut server = Server::start("tables", ITEM, &config("", &[table("Item", NONE, told)]));
    server.put("/Item/a", 1).expect(200);
    let (gate, status) = server.pending("Item", "b");
    let mut stream = events(server.address, "Item");
    server.begin_to_reload(OTHER, &config("", &[table("Other", NONE, told)]));
    // Until its writes have ended, it is served.
    assert!(server.is_hit("/Item/a"));
    assert_eq!(server.get(&status).json()["state"], "pending");
    gate.release();
    let line = server.serving.line();
    assert_eq!(line, "reloaded: nothing; opened: tables.Other; closed: tables.Item; needs a restart: nothing");
    assert!(server.get("/Item/a").expect(404).json()["detail"].as_str().unwrap().ends_with("served here: Other"));
    server.get("/Other/a").expect(200);
    assert_eq!(server.get(&status).json()["state"], "settled", "what became of a write is still told");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream has its end: {rest:?}");
    let metrics = server.get("/-/metrics").body;
    assert!(!metrics.contains("table=\"Item\"") && metrics.contains("table=\"Other\""));
    let paths = server.get("/-/openapi.json").json()["paths"].clone();
    assert!(paths.get("/Item/{key}").is_none() && paths.get("/Other/{key}").is_some());
    server.get("/-/events?table=Item").expect(400);
    let both = r#"{"updates":[{"table":"Other","key":"x","put":{}},{"table":"Item","key":"x","put":{}}]}"#;
    assert_eq!(server.ask("POST", "/-/transaction", &[], both).expect(400).json()["field"], "updates[1].table");

    // It comes back, with nothing in it.
    let both = [table("Item", NONE, told), table("Other", NONE, told)];
    let line = server.reload(&format!("{ITEM} {OTHER}"), &config("", &both));
    assert_eq!(line, "reloaded: nothing; opened: tables.Item; needs a restart: nothing");
    assert!(server.is_hit("/Other/a") && !server.is_hit("/Item/a"));
    assert_eq!(server.get(&status).json()["state"], "settled");
    server.ends_well();
}

/// O2, P3: what was written through the earlier cache has ended before there is another; who writes meanwhile waits, and writes through that.
#[test]
fn a_table_is_opened_anew_once_its_writes_have_ended() {
    let tables = |capacity: &str| {
        let patient = |name: &str| table(name, ", timeout: 20s", &format!(", capacity: {capacity}"));
        [patient("Item"), patient("Aside"), brief(capacity), table("Other", NONE, NONE)]
    };
    let schema = format!("{ITEM} {OTHER} {BRIEF} type Aside @table @export {{ id: ID @primaryKey }}");
    let mut server = Server::start("anew", &schema, &config("", &tables("1MiB")));
    for path in ["/Item/a", "/Aside/a", "/Other/a"] {
        server.put(path, 1).expect(200);
    }
    let (gate, status) = server.pending("Item", "b");
    server.begin_to_reload(&schema, &config("", &tables("2MiB")));
    let refused = server.wait_until_shut().expect_outcome(503, "rejected");
    assert!(refused.json()["detail"].as_str().unwrap().contains("opened anew"), "{refused:?}");
    // Reads are answered as before, pending writes shown; a table that stays is not concerned.
    assert!(server.is_hit("/Item/a"));
    assert_eq!(server.get("/Item/b").expect(200).header("wtcache-pending").map(|p| &p[..2]), Some("?1"));
    server.put("/Other/a", 2).expect(200);
    thread::scope(|scope| {
        let write = scope.spawn(|| server.put("/Aside/x", 1));
        let transaction = scope.spawn(|| {
            let body = r#"{"updates":[{"table":"Aside","key":"y","put":{}},{"table":"Item","key":"y","put":{}}]}"#;
            server.ask("POST", "/-/transaction", &[], body)
        });
        let forget = scope.spawn(|| server.ask("POST", "/-/invalidate", &[], r#"{"table":"Aside","key":"none"}"#));
        // They have had time enough to come through, if they did.
        server.wait_until_shut();
        assert_eq!((server.puts("x"), server.puts("y")), (0, 0));
        assert!(!write.is_finished() && !transaction.is_finished() && !forget.is_finished());
        gate.release();
        write.join().unwrap().expect(200);
        transaction.join().unwrap().expect(200);
        forget.join().unwrap().expect(200);
    });
    let line = server.serving.line();
    assert_eq!(
        line,
        "reloaded: nothing; opened anew: tables.Item, tables.Brief, tables.Aside; needs a restart: nothing"
    );
    let told = server.get(&status).json();
    assert_eq!((&told["state"], &told["key"]), (&json!("settled"), &json!("b")));
    assert!(!server.is_hit("/Item/a") && server.is_hit("/Other/a"));
    assert!(server.is_hit("/Aside/x") && server.is_hit("/Item/y"), "what waited was written through the new caches");
    assert_eq!((server.puts("x"), server.puts("y")), (1, 2));
    server.ends_well();
}

/// C0: a write in doubt may land for as long as the settle window that it was sent with, whatever the new one says.
#[test]
fn what_was_in_doubt_is_told_and_the_new_cache_begins_as_after_a_restart() {
    let windows = |window: &str| [table("Item", &format!(", settle_window: {window}"), NONE)];
    let mut server = Server::start("doubt", ITEM, &config("", &windows("1h")));
    server.origin.seed("b", json!({ "quantity": 1 }));
    server.origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
    server.put("/Item/a", 1).expect_outcome(502, "in-doubt");
    let line = server.reload(ITEM, &config("", &windows("1s")));
    assert_eq!(line, "reloaded: nothing; opened anew: tables.Item; needs a restart: nothing");
    let left = server.serving.stderr_line_with(" left ");
    assert!(left.contains(" WARN ") && left.ends_with("what=\"Item: in doubt: a\""), "{left}");
    server.get("/Item/b").expect(200);
    let hit = server.get("/Item/b").expect(200);
    let says = hit.header("cache-status").unwrap();
    let ttl: u64 = says.rsplit("ttl=").next().unwrap().parse().unwrap();
    assert!(says.starts_with("wtcache; hit") && ttl > 60 && ttl < 3600, "{says}");
    server.ends_well();
}

#[test]
fn what_is_wrong_with_a_folder_changes_nothing() {
    let good = [table("Item", NONE, NONE), table("Other", NONE, NONE)];
    let schema = format!("{ITEM} {OTHER}");
    let mut server = Server::start("wrong", &schema, &config("", &good));
    server.put("/Item/a", 1).expect(200);
    for (wrong, says) in [
        (table("Other", ", tls: { roots: /nowhere.pem }", NONE), "/nowhere.pem"),
        (table("Other", NONE, ", capacity: much"), "config.yaml:"),
        (table("Other", NONE, ", subscribe: { url: 'http://elsewhere/feed' }"), "subscribe"),
    ] {
        // The first table is to go, and who may ask to change.
        server.begin_to_reload(OTHER, &config("auth: {}\nlimits: { connections: 1 }", &[wrong]));
        let why = server.serving.stderr_line_with(" not_reloaded ");
        assert!(why.contains(says) && why.contains("all is as before"), "{why}");
        assert!(server.is_hit("/Item/a"));
        server.put("/Other/b", 2).expect(200);
    }
    let line = server.reload(&schema, &config("", &good));
    assert_eq!(line, "reloaded: nothing; needs a restart: nothing");
    server.ends_well();
}

#[test]
fn limits_are_of_what_begins_from_now_on() {
    let with = |limits: &str| config(&format!("limits: {{ {limits} }}"), &[table("Item", NONE, NONE)]);
    let mut server = Server::start("limits", ITEM, &with("connections: 1"));
    // Kept open: its place is taken.
    let mut first = TcpStream::connect(server.address).unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /-/healthz HTTP/1.1\r\nHost: f\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "{answer:?}");
            answer.push(byte[0]);
        }
    };
    ask(&mut first);
    server.get("/-/healthz").expect(503);
    assert_eq!(server.reload(ITEM, &with("connections: 2, head: 1KiB")), "reloaded: limits; needs a restart: nothing");
    let long = "x".repeat(2000);
    server.until(431, &[("X-Long", &long)]);
    // What was open stays, though it is one too many now.
    assert_eq!(server.reload(ITEM, &with("connections: 1")), "reloaded: limits; needs a restart: nothing");
    ask(&mut first);
    server.get("/-/healthz").expect(503);
    drop(first);
    server.until(200, &[]);
    server.ends_well();
}

/// The later one holds, however close they come.
#[test]
fn two_hangups_in_a_row_come_to_the_second() {
    let with = |capacity: &str| {
        config("", &[table("Item", ", timeout: 20s", &format!(", capacity: {capacity}")), brief(capacity)])
    };
    let schema = format!("{ITEM} {BRIEF}");
    let mut server = Server::start("twice", &schema, &with("1MiB"));
    let (gate, _) = server.pending("Item", "a");
    server.begin_to_reload(&schema, &with("2MiB"));
    server.wait_until_shut();
    server.begin_to_reload(OTHER, &config("", &[table("Other", NONE, NONE)]));
    server.serving.signal("-HUP");
    gate.release();
    let line = server.serving.line();
    assert_eq!(line, "reloaded: nothing; opened anew: tables.Item, tables.Brief; needs a restart: nothing");
    let line = server.serving.line();
    assert_eq!(
        line,
        "reloaded: nothing; opened: tables.Other; closed: tables.Brief, tables.Item; needs a restart: nothing"
    );
    server.get("/Item/a").expect(404);
    server.get("/Other/a").expect(200);
    server.ends_well();
}

/// B4: the end does not wait for the reload, but for the writes that it waits for.
#[test]
fn a_server_that_is_to_end_gives_up_its_reload() {
    let with = |capacity: &str| {
        config("", &[table("Item", ", timeout: 20s", &format!(", capacity: {capacity}")), brief(capacity)])
    };
    let schema = format!("{ITEM} {BRIEF}");
    let server = Server::start("end", &schema, &with("1MiB"));
    let (gate, _) = server.pending("Item", "a");
    server.begin_to_reload(&schema, &with("2MiB"));
    server.wait_until_shut();
    server.serving.signal("-TERM");
    while TcpStream::connect(server.address).is_ok() {
        thread::yield_now();
    }
    gate.release();
    let (status, out, err) = server.serving.end();
    assert_eq!((status.code(), out.as_str()), (Some(0), ""));
    let [told] = warnings(&err)[..] else { panic!("{err}") };
    assert!(told.contains(" ERROR not_reloaded ") && told.ends_with("why=\"the server is ending\""), "{told}");
    assert_eq!(server.origin.record("a").unwrap()["quantity"], 9);
}

/// G5: what was applied is what is read afterwards, whichever cache answers.
#[test]
fn under_load_nobody_is_refused_and_nothing_goes_back() {
    let with = |n: usize| {
        let one = table("Item", &format!(", headers: {{ X-Round: '{n}' }}"), &format!(", capacity: {}MiB", 1 + n % 2));
        config("", &[one, table("Other", &format!(", headers: {{ X-Round: '{n}' }}"), NONE)])
    };
    let schema = format!("{ITEM} {OTHER}");
    let mut server = Server::start("load", &schema, &with(0));
    let done = AtomicBool::new(false);
    let address = server.address;
    thread::scope(|scope| {
        for (at, name) in ["Item", "Item", "Other"].into_iter().enumerate() {
            let done = &done;
            scope.spawn(move || {
                let path = format!("/{name}/key-{at}");
                let mut quantity = 0;
                while !done.load(Ordering::Relaxed) {
                    quantity += 1;
                    let body = json!({ "quantity": quantity }).to_string();
                    request_at(address, "PUT", &path, &[], &body).expect(200);
                    for _ in 0..3 {
                        let read: Value = request_at(address, "GET", &path, &[], "").expect(200).json();
                        assert_eq!(read["quantity"], quantity);
                    }
                }
            });
        }
        for n in 1..=20 {
            let line = server.reload(&schema, &with(n));
            assert_eq!(line, "reloaded: tables.Other; opened anew: tables.Item; needs a restart: nothing");
        }
        done.store(true, Ordering::Relaxed);
    });
    server.ends_well();
}
