//! The server: the port, the connections and their threads.
//!
//! Owns: the listener, a thread for each connection, and their end. Never: looks into a request. Invariant: no more
//! connections than the limit, each with one thread that holds the only strong reference to its socket, so that the
//! thread's end is the socket's; after `stop` no thread of this origin runs.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::answer::Answer;
use crate::exchange::{Then, exchange};
use crate::faults::Faults;
use crate::hold::Holds;
use crate::http::Wire;
use crate::idempotency::Answered;
use crate::locked;
use crate::log::Log;
use crate::options::OriginOptions;
use crate::records::Records;

/// What every connection works with.
pub(crate) struct Shared {
    pub(crate) options: OriginOptions,
    pub(crate) records: Records,
    pub(crate) log: Log,
    pub(crate) faults: Faults,
    /// None: idempotency keys are not honoured.
    pub(crate) answered: Option<Answered>,
    pub(crate) holds: Holds,
    /// Rank: alone; nothing is locked under it.
    settings: Mutex<Settings>,
}

/// What can change while the origin runs.
pub(crate) struct Settings {
    pub(crate) latency: Duration,
    pub(crate) cache_control: Option<String>,
    pub(crate) api_key: Option<String>,
}

impl Shared {
    pub(crate) fn new(options: OriginOptions, records: Records) -> Self {
        let settings = Settings {
            latency: options.latency,
            cache_control: options.cache_control.clone(),
            api_key: options.api_key.clone(),
        };
        Self {
            log: Log::new(options.observer.clone()),
            records,
            faults: Faults::default(),
            answered: options.honours_idempotency.then(Answered::default),
            holds: Holds::default(),
            settings: Mutex::new(settings),
            options,
        }
    }

    /// Held for a line only.
    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        locked(&self.settings)
    }
}

/// Takes a port of 127.0.0.1; on Unix also one that connections of an earlier life linger on (std sets SO_REUSEADDR).
pub(crate) fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => "is already in use".to_owned(),
            io::ErrorKind::PermissionDenied => "may not be used by this user".to_owned(),
            _ => format!("cannot be used: {error}"),
        };
        io::Error::new(error.kind(), format!("port {port} of 127.0.0.1 {why}"))
    })
}

pub(crate) struct Server {
    shared: Arc<Shared>,
    addr: SocketAddr,
    connections: Arc<Connections>,
    /// Rank: before the connections.
    door: Mutex<Door>,
}

enum Door {
    Open(Acceptor),
    Paused,
    Stopped,
}

struct Acceptor {
    open: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(shared: Arc<Shared>, listener: TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let connections = Arc::new(Connections::default());
        let acceptor = Acceptor::start(Arc::clone(&shared), Arc::clone(&connections), listener)?;
        Ok(Self { shared, addr, connections, door: Mutex::new(Door::Open(acceptor)) })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn pause_accept(&self) {
        let mut door = locked(&self.door);
        if matches!(*door, Door::Open(_))
            && let Door::Open(acceptor) = std::mem::replace(&mut *door, Door::Paused)
        {
            acceptor.stop(self.addr);
        }
    }

    pub(crate) fn resume_accept(&self) -> io::Result<()> {
        let mut door = locked(&self.door);
        match *door {
            Door::Open(_) => {}
            Door::Stopped => return Err(io::Error::other("the origin was stopped")),
            Door::Paused => {
                let listener = bind(self.addr.port())?;
                let acceptor = Acceptor::start(Arc::clone(&self.shared), Arc::clone(&self.connections), listener)?;
                *door = Door::Open(acceptor);
            }
        }
        Ok(())
    }

    pub(crate) fn drop_connections(&self) {
        self.connections.shut_down();
    }

    pub(crate) fn stop(&self) {
        // First, so that from here on nothing more is applied while the rest winds down.
        self.shared.holds.stop();
        self.shared.records.changes().stop();
        if let Door::Open(acceptor) = std::mem::replace(&mut *locked(&self.door), Door::Stopped) {
            acceptor.stop(self.addr);
        }
        self.connections.shut_down();
        self.connections.join();
    }
}

impl Acceptor {
    fn start(shared: Arc<Shared>, connections: Arc<Connections>, listener: TcpListener) -> io::Result<Self> {
        let open = Arc::new(AtomicBool::new(true));
        let still_open = Arc::clone(&open);
        let thread = thread::Builder::new().name("origin-accept".into()).spawn(move || {
            loop {
                let accepted = listener.accept();
                // Acquire: pairs with the release in `stop`.
                if !still_open.load(Ordering::Acquire) {
                    return;
                }
                match accepted {
                    Ok((stream, _)) => connections.admit(&shared, stream),
                    // Out of descriptors, most likely: let some close.
                    Err(_) => thread::sleep(Duration::from_millis(10)),
                }
            }
        })?;
        Ok(Self { open, thread })
    }

    /// Closes the listener. A connection to ourselves wakes the thread that waits for one.
    fn stop(self, addr: SocketAddr) {
        self.open.store(false, Ordering::Release);
        while !self.thread.is_finished() {
            let _ = TcpStream::connect_timeout(&addr, Duration::from_millis(100));
            thread::sleep(Duration::from_millis(1));
        }
        let _ = self.thread.join();
    }
}

#[derive(Default)]
struct Connections {
    /// Rank: nothing is locked under it.
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    open: HashMap<u64, Connection>,
    last: u64,
}

struct Connection {
    stream: Weak<TcpStream>,
    thread: JoinHandle<()>,
}

impl Connections {
    /// Gives the connection a thread, or a 503. Never blocks for long: it runs on the thread that accepts.
    fn admit(&self, shared: &Arc<Shared>, stream: TcpStream) {
        let mut list = locked(&self.list);
        let ended: Vec<u64> =
            list.open.iter().filter(|(_, open)| open.thread.is_finished()).map(|(id, _)| *id).collect();
        for id in ended {
            // A panic of the thread was reported by the panic hook; the connection is closed all the same.
            let _ = list.open.remove(&id).map(|open| open.thread.join());
        }
        if list.open.len() >= shared.options.max_connections {
            return turn_away(&stream);
        }
        list.last += 1;
        let id = list.last;
        let stream = Arc::new(stream);
        let watched = Arc::downgrade(&stream);
        let shared = Arc::clone(shared);
        let spawned = thread::Builder::new().name(format!("origin-{id}")).spawn(move || {
            if let Ok(mut wire) = Wire::new(stream, shared.options.idle_timeout) {
                while exchange(&shared, &mut wire, id) == Then::Next {}
            }
        });
        if let Ok(thread) = spawned {
            list.open.insert(id, Connection { stream: watched, thread });
        }
    }

    fn shut_down(&self) {
        for open in locked(&self.list).open.values() {
            if let Some(stream) = open.stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn join(&self) {
        let open = std::mem::take(&mut locked(&self.list).open);
        for connection in open.into_values() {
            // An observer may stop its origin: a thread cannot wait for itself.
            if connection.thread.thread().id() != thread::current().id() {
                let _ = connection.thread.join();
            }
        }
    }
}

/// The answer fits into the socket's buffer, so that this does not block.
fn turn_away(mut stream: &TcpStream) {
    let busy = Answer::error(503, "too many connections").header("Retry-After", "1");
    let _ = busy.write(&mut stream, false, true);
    let _ = stream.shutdown(Shutdown::Write);
}
