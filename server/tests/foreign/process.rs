//! Origins and fronts as processes: started on free ports, awaited by what they answer, and ended with the test, also where it panics.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, Response, request_at};

/// A process that does not outlive its owner.
struct Process(Child);

impl Process {
    fn end(&mut self) {
        // By its own id. Where it has ended by itself there is nothing to be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A folder of one test's own, removed at its end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("foreign-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Says that an origin is not installed. Where nothing may be skipped it fails instead.
pub(crate) fn skip(what: &str) {
    assert!(std::env::var_os("WTCACHE_CI").is_none(), "{what}, and WTCACHE_CI is set");
    eprintln!("SKIPPED: {what}");
}

/// What runs an origin in a folder, on a port.
type MakeCommand = dyn Fn(&Folder, u16) -> Command;

/// An origin in a process of its own.
pub(crate) struct Origin {
    // Before the folder: what runs in it ends first.
    process: Process,
    pub(crate) address: SocketAddr,
    command: Box<MakeCommand>,
    /// The file in the folder in which it logs: `METHOD /path STATUS …` a line.
    log: &'static str,
    /// Lines of it that were told already.
    told: usize,
    folder: Folder,
}

impl Origin {
    /// Starts what `command` makes for a folder and a port, and waits until it answers. Between its being chosen and taken, a port may
    /// go to somebody else: then the origin ends at once, and another is tried.
    pub(crate) fn start(
        folder: Folder,
        log: &'static str,
        command: impl Fn(&Folder, u16) -> Command + 'static,
    ) -> Self {
        for _ in 0..5 {
            let address = free_address();
            let mut process = spawn(&folder, command(&folder, address.port()));
            if answers(&mut process, address) {
                let command = Box::new(command);
                let mut origin = Self { process, address, command, log, told: 0, folder };
                origin.saw();
                return origin;
            }
        }
        panic!("the origin does not start: {}", folder.read("stderr"));
    }

    /// Starts it again where it was, with what it had stored.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.folder, (self.command)(&self.folder, self.address.port()));
        assert!(answers(&mut self.process, self.address), "it does not start again: {}", self.folder.read("stderr"));
        self.told = 0;
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.process.end();
    }

    /// Once this returned it does nothing, and its connections stay open.
    pub(crate) fn freeze(&self) {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
        // The signal is sent; each thread stops when it gets to it.
        let stands = || {
            let mut threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            threads.all(|thread| {
                let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
                status.lines().any(|line| line.starts_with("State:\tT"))
            })
        };
        wait(stands, "the origin does not stop");
    }

    /// Waits until bytes lie at its port that it has not read. It must be frozen.
    pub(crate) fn wait_until_something_arrived(&self) {
        let port = format!(":{:04X}", self.address.port());
        let arrived = || {
            let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
            // Columns: number, local address, remote address, state, send queue:receive queue, …
            sockets.lines().skip(1).any(|line| {
                let columns: Vec<_> = line.split_whitespace().collect();
                let is_open = columns[3] == "01";
                columns[1].ends_with(&port) && is_open && !columns[4].ends_with(":00000000")
            })
        };
        wait(arrived, "nothing arrived at the origin");
    }

    /// A request past the front.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let json = [("Content-Type", "application/json")];
        request_at(self.address, method, path, if body.is_empty() { &[] } else { &json }, body)
    }

    /// What it logged since this was last asked: `GET /items/a 200`.
    pub(crate) fn saw(&mut self) -> Vec<String> {
        // It logs in the order in which it answers, and after it answered: once this is in the log, so is all before it.
        let lines = || self.folder.read(self.log).lines().filter_map(logged).collect::<Vec<_>>();
        let marks = |lines: &[String]| lines.iter().filter(|line| line.contains("/mark")).count();
        let before = marks(&lines());
        self.ask("GET", "/mark", "");
        wait(|| marks(&lines()) > before, "the origin does not log");
        let lines = lines();
        let new: Vec<_> = lines[self.told..].iter().filter(|line| !line.contains("/mark")).cloned().collect();
        self.told = lines.len();
        new
    }
}

/// An address that no other test of this program was given: one that was just let go may be given out again, and whoever answers there
/// would be taken for the origin.
fn free_address() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        if GIVEN.lock().unwrap().insert(address.port()) {
            return address;
        }
    }
}

fn spawn(folder: &Folder, mut command: Command) -> Process {
    let file = |name: &str| File::create(folder.0.join(name)).unwrap();
    command.current_dir(&folder.0).stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
    Process(command.spawn().unwrap())
}

/// Whether it accepts connections; false where it ended instead.
fn answers(process: &mut Process, address: SocketAddr) -> bool {
    let end = Instant::now() + PATIENCE;
    while process.0.try_wait().unwrap().is_none() {
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        assert!(Instant::now() < end, "the origin did not answer in time");
        pause();
    }
    false
}

fn wait(mut holds: impl FnMut() -> bool, otherwise: &str) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{otherwise}");
        pause();
    }
}

/// Between two looks at another process: to look all the time would take its processor.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(2));
}

/// Method, path and status of a whole line of a log, without colours; `None` for other lines.
fn logged(line: &str) -> Option<String> {
    let mut text = String::new();
    let mut coloured = false;
    for c in line.chars() {
        match c {
            '\u{1b}' => coloured = true,
            'm' if coloured => coloured = false,
            c if !coloured => text.push(c),
            _ => {}
        }
    }
    let words: Vec<_> = text.split_whitespace().take(3).collect();
    let is_request = words.len() == 3 && words[1].starts_with('/') && words[2].parse::<u16>().is_ok();
    is_request.then(|| words.join(" "))
}

/// The `wtcache` command before an origin, with the demo's schema.
pub(crate) struct Front {
    _process: Process,
    address: SocketAddr,
    _folder: Folder,
}

impl Front {
    /// `origin_options` are lines of the origin's configuration.
    pub(crate) fn before(origin: &Origin, origin_options: &[&str]) -> Self {
        let folder = Folder::new();
        folder.write("schema.graphql", include_str!("../../demo/schema.graphql"));
        let mut config = "tables:\n  InventoryItem:\n    clean_start: true\n    origin:\n".to_owned();
        config += &format!(
            "      url: http://{}/items/{{id}}\n      timeout: 20s\n      settle_window: 1h\n",
            origin.address
        );
        for line in origin_options {
            config += &format!("      {line}\n");
        }
        folder.write("config.yaml", &config);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wtcache"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "same", "--config"]).arg(&folder.0);
        let mut process = Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().parse().unwrap();
        Self { _process: process, address, _folder: folder }
    }

    pub(crate) fn ask(&self, method: &str, key: &str, headers: &[(&str, &str)], body: &str) -> Response {
        request_at(self.address, method, &format!("/InventoryItem/{key}"), headers, body).checked()
    }

    pub(crate) fn get(&self, key: &str) -> Response {
        self.ask("GET", key, &[], "")
    }

    pub(crate) fn put(&self, key: &str, body: &str) -> Response {
        self.ask("PUT", key, &[], body)
    }

    pub(crate) fn patch(&self, key: &str, body: &str) -> Response {
        self.ask("PATCH", key, &[("Content-Type", "application/merge-patch+json")], body)
    }

    pub(crate) fn delete(&self, key: &str) -> Response {
        self.ask("DELETE", key, &[], "")
    }

    /// Tells the front that somebody changed a record.
    pub(crate) fn invalidate(&self, key: &str) -> Response {
        let body = format!("{{\"table\":\"InventoryItem\",\"key\":\"{key}\"}}");
        request_at(self.address, "POST", "/-/invalidate", &[], &body).checked()
    }
}
