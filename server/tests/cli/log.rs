//! What `wtcache serve` tells its operator: a line for each event, and for each request where that is asked for.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use wtcache_origin::{Answer, Fault, FaultKind, Method, Origin, OriginOptions};

use super::common::ask_at;
use super::{Folder, Serving, address_in, run, warnings, wtcache};

const SECRET: &str = "s3cret";

/// The demo's table, of an origin that fails at once where it fails.
fn folder(name: &str, top: &str, table: &str) -> Folder {
    let folder = Folder::of_demo(name);
    let origin = "      retries: { loads: 0 }\n      breaker: { calls: 1, failures: 1%, open_for: 100ms }\n";
    let config = include_str!("../../demo/config.yaml")
        .replace("settle_window: 3s", "settle_window: 200ms")
        .replace("      versions: number\n", &format!("      versions: number\n{origin}"));
    folder.write("config.yaml", &format!("{top}{config}{table}"));
    folder
}

fn serve(folder: &Folder, origin: &str) -> Serving {
    let mut command =
        wtcache(&["serve", "--config", folder.name(), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("INVENTORY_API", origin).env("INVENTORY_API_KEY", "k");
    Serving::start(command)
}

fn event(line: &str) -> Value {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(line.is_object(), "{line}");
    line
}

/// The next event of this name.
fn next(front: &mut Serving, name: &str) -> Value {
    loop {
        let line = front.stderr_line();
        assert!(!line.is_empty(), "its log ended before {name}");
        let event = event(&line);
        if event["event"] == name {
            return event;
        }
    }
}

#[test]
fn each_event_is_an_object_of_json() {
    let origin = Origin::start(OriginOptions::new().api_key("k")).unwrap();
    origin.seed("b", json!({ "quantity": 1 }));
    let folder = folder("json", "log: json\n", "");
    let mut front = serve(&folder, &origin.url());
    let (told, told_admin) = (front.line(), front.line());
    let address = address_in(&told);

    let starting = event(&front.stderr_line());
    assert_eq!((&starting["event"], &starting["level"]), (&json!("starting"), &json!("info")));
    assert_eq!(starting["folder"], folder.name());
    let time = starting["time"].as_str().unwrap();
    assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z') && &time[10..11] == "T", "{time}");
    let ready = event(&front.stderr_line());
    assert_eq!((&ready["event"], &ready["tables"]), (&json!("ready"), &json!("InventoryItem")));
    assert!(told.ends_with(ready["at"].as_str().unwrap()), "{told} {ready}");
    assert!(told_admin.contains(ready["admin"].as_str().unwrap()), "{told_admin} {ready}");

    // A breaker opens, and closes once the origin answers again.
    origin.fault(Fault::on(Method::Get, "b").kind(FaultKind::Answer(Answer::new(500))));
    assert_eq!(ask_at(address, "GET", "/InventoryItem/b", "").0, 502);
    let opened = next(&mut front, "breaker_opened");
    assert_eq!(
        (&opened["level"], &opened["origin"], &opened["failures"]),
        (&json!("warn"), &json!("InventoryItem"), &json!(1))
    );
    while ask_at(address, "GET", "/InventoryItem/b", "").0 != 200 {}
    assert_eq!(next(&mut front, "breaker_closed")["origin"], "InventoryItem");

    // A write whose outcome nobody knows, and the end of the doubt.
    origin.fault(Fault::on(Method::Put, "a {").kind(FaultKind::ResetAfterApply));
    assert_eq!(ask_at(address, "PUT", "/InventoryItem/a%20%7B", "{}").0, 502);
    let doubt = next(&mut front, "in_doubt");
    assert_eq!(
        (&doubt["table"], &doubt["key"], &doubt["level"]),
        (&json!("InventoryItem"), &json!("a {"), &json!("warn"))
    );
    // What notices the end of a doubt is a call after it.
    let (told, settled) = mpsc::channel::<()>();
    let asking = thread::spawn(move || {
        while settled.try_recv() == Err(mpsc::TryRecvError::Empty) {
            ask_at(address, "GET", "/InventoryItem/a%20%7B", "");
        }
    });
    assert_eq!(next(&mut front, "settled")["key"], "a {");
    drop(told);
    asking.join().unwrap();

    // Another folder, and one that is none.
    let file = Path::new(folder.name()).join("config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("log: json", "log: text\nauth: {}")).unwrap();
    front.signal("-HUP");
    let reloaded = next(&mut front, "reloaded");
    assert_eq!((&reloaded["taken"], &reloaded["waits"]), (&json!("auth"), &json!("log")));
    fs::write(&file, "tables: 1\n2").unwrap();
    front.signal("-HUP");
    let why = next(&mut front, "not_reloaded");
    assert!(why["level"] == "error" && why["why"].as_str().unwrap().contains("config.yaml:"), "{why}");

    front.signal("-TERM");
    let (status, _, err) = front.end();
    assert!(status.success(), "{err}");
    let last: Vec<Value> = err.lines().map(|line| event(line)["event"].clone()).collect();
    assert_eq!(last[last.len() - 2..], ["ending", "ended"]);
}

/// Who reads the log as JSON reads why it does not serve, too.
#[test]
fn a_server_that_cannot_serve_says_so_in_the_logs_own_words() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder("json-fails", "log: json\n", "");
    let listen = taken.local_addr().unwrap().to_string();
    let mut command = wtcache(&["serve", "--config", folder.name(), "--listen", &listen, "--admin", "none"]);
    command.env("INVENTORY_API", "http://127.0.0.1:1").env("INVENTORY_API_KEY", "k");
    let (code, out, err) = run(command);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let told: Vec<Value> = err.lines().map(event).collect();
    assert_eq!(told.last().unwrap()["event"], "failed");
    assert!(told.last().unwrap()["why"].as_str().unwrap().contains(&listen), "{err}");
}

#[test]
fn connections_beyond_the_limit_are_told_of_once_in_a_while() {
    let folder = folder("refused", "limits: { connections: 1 }\n", "");
    let mut front = serve(&folder, "http://127.0.0.1:1");
    let address = address_in(&front.line());
    let held = TcpStream::connect(address).unwrap();
    for _ in 0..3 {
        assert_eq!(ask_at(address, "GET", "/-/healthz", "").0, 503);
    }
    drop(held);
    front.signal("-TERM");
    let (_, _, err) = front.end();
    let told = warnings(&err);
    assert!(told.len() == 1 && told[0].ends_with(" refused=1 most=1"), "{err}");
}

#[test]
fn a_feed_that_is_cut_off_is_told_of_and_so_is_its_return() {
    let origin = Origin::start(OriginOptions::new().api_key("k")).unwrap();
    let port = origin.url().rsplit(':').next().unwrap().parse().unwrap();
    let folder = folder("feed", "log: json\n", "    subscribe: { url: /items/_changes, kind: sse }\n");
    let mut front = serve(&folder, &origin.url());
    assert_eq!(next(&mut front, "feed_live")["origin"], "InventoryItem");
    origin.stop();
    drop(origin);
    let cut = next(&mut front, "feed_cut_off");
    assert!(cut["level"] == "warn" && cut["why"].is_string(), "{cut}");
    // However often it is tried in vain, that is told once.
    let nobody = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for _ in 0..2 {
        drop(nobody.accept().unwrap());
    }
    drop(nobody);
    let _again = Origin::start(OriginOptions::new().api_key("k").port(port)).unwrap();
    let mut names = vec![];
    while names.last().is_none_or(|name| name != "feed_live") {
        names.push(event(&front.stderr_line())["event"].as_str().unwrap().to_owned());
    }
    names.retain(|name| name.starts_with("feed_"));
    assert_eq!(names, ["feed_live"]);
    front.signal("-TERM");
    assert!(front.end().0.success());
}

/// A rotation moves the file away, and asks for a new one.
#[test]
fn access_lines_go_to_a_file_which_can_be_moved_away() {
    let origin = Origin::start(OriginOptions::new().api_key("k")).unwrap();
    origin.seed("a", json!({ "quantity": 1 }));
    let folder = folder("access", "access_log: access.log\n", "");
    let mut front = serve(&folder, &origin.url());
    let address = address_in(&front.line());
    assert_eq!(ask_at(address, "GET", "/InventoryItem/a", "").0, 200);
    let (file, moved) = (folder.0.join("access.log"), folder.0.join("access.log.1"));
    while fs::read_to_string(&file).unwrap().is_empty() {
        thread::yield_now();
    }
    fs::rename(&file, &moved).unwrap();
    front.signal("-USR1");
    assert!(front.stderr_line_with("access_log_reopened").contains("/access.log"));
    assert_eq!(ask_at(address, "GET", "/InventoryItem/a", "").0, 200);
    front.signal("-TERM");
    let (status, _, err) = front.end();
    assert_eq!((status.code(), warnings(&err)), (Some(0), vec![]));
    let (old, new) = (fs::read_to_string(&moved).unwrap(), fs::read_to_string(&file).unwrap());
    assert!(old.lines().count() == 1 && old.contains(" outcome=loaded"), "{old}");
    assert!(new.lines().count() == 1 && new.contains(" outcome=hit"), "{new}");
}

/// Headers of the origin, of clients and of the collector, queries, bodies, records, ids of writes, paths that lead nowhere.
#[test]
fn no_line_shows_a_secret_or_a_record() {
    let origin = Origin::start(OriginOptions::new().api_key(SECRET)).unwrap();
    origin.seed("a", json!({ "sku": SECRET, "quantity": 1 }));
    for format in ["text", "json"] {
        let token = ring::digest::digest(&ring::digest::SHA256, SECRET.as_bytes());
        let hash: String = token.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let top = format!(
            "log: {format}\naccess_log: access.log\n\
             telemetry: {{ traces: 'http://127.0.0.1:1/{SECRET}?key={SECRET}', sample: 100%, headers: {{ X-Key: {SECRET} }} }}\n\
             auth: {{ anonymous: {{ InventoryItem: read, write }}, principals: {{ ops: {{ token_sha256: '{hash}', admin: true, \
             tables: {{ '*': 'read, write' }} }} }} }}\n"
        )
        .replace("InventoryItem: read, write", "InventoryItem: 'read, write'");
        let folder = folder(&format!("secret-{format}"), &top, "");
        let mut command =
            wtcache(&["serve", "--config", folder.name(), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.env("INVENTORY_API", origin.url()).env("INVENTORY_API_KEY", SECRET);
        let mut front = Serving::start(command);
        let (address, admin) = (address_in(&front.line()), address_in(&front.line()));
        assert_eq!(ask_at(address, "GET", "/InventoryItem/a", "").0, 200);
        let broken = Fault::on(Method::Put, "b").kind(FaultKind::ResetAfterApply);
        origin.fault(broken);
        for (method, path, body) in [
            ("GET", "/InventoryItem/?sku=s3cret", ""),
            ("GET", "/InventoryItem/a?confirmed=s3cret", ""),
            ("GET", "/s3cret/s3cret", ""),
            ("GET", "/InventoryItem/s3cret/s3cret", ""),
            ("GET", "/-/s3cret", ""),
            ("GET", "/-/pending/s3cret", ""),
            ("PUT", "/InventoryItem/a", "{\"sku\":\"s3cret\"}"),
            ("PUT", "/InventoryItem/a", "{\"s3cret"),
            ("PUT", "/InventoryItem/b", "{\"sku\":\"s3cret\"}"),
            ("POST", "/-/s3cret?s3cret", "s3cret"),
        ] {
            ask_at(address, method, path, body);
            ask_at(admin, method, path, body);
        }
        for credentials in ["Bearer s3cret", "Bearer s3cret-wrong", "Basic czNjcmV0OnMzY3JldA==", "s3cret"] {
            let traced = format!("{credentials}\r\ntracestate: s3cret=s3cret\r\ncookie: s3cret\r\nuser-agent: s3cret");
            ask_with(address, "/InventoryItem/a", &traced);
        }
        let mut log = String::new();
        while !log.contains("traces_not_sent") {
            log += &front.stderr_line();
            log.push('\n');
        }
        front.signal("-TERM");
        let (status, out, err) = front.end();
        log += &err;
        let lines = fs::read_to_string(folder.0.join("access.log")).unwrap();
        assert!(status.success() && err.contains("ended") && lines.contains("principal") && lines.lines().count() > 20);
        for (what, text) in [("stdout", &out), ("the log", &log), ("the access log", &lines)] {
            assert!(!text.contains(SECRET) && !text.contains("czNjcmV0"), "{what}: {text}");
        }
    }
}

/// A GET with these credentials, and whatever headers follow them.
fn ask_with(address: std::net::SocketAddr, path: &str, credentials: &str) {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: f\r\nConnection: close\r\nAuthorization: {credentials}\r\n\r\n")
        .unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
}

#[test]
fn check_says_what_access_lines_and_traces_lack() {
    let top = "access_log: none-such/access.log\n\
               telemetry: { traces: 'http://c/', headers: { X-Key: { file: /none/such } } }\n";
    let folder = folder("lacks", top, "");
    let (code, out, err) = super::check(&folder);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let expected = [
        format!("wtcache: access_log: there is no folder {}/none-such", folder.name()),
        "wtcache: telemetry: header X-Key: /none/such cannot be read: No such file or directory (os error 2)"
            .to_owned(),
    ];
    assert_eq!(err.lines().collect::<Vec<_>>(), expected);
}
