//! A fast origin: it answers every GET and PUT with one record, and does nothing else.
//!
//! Blocking, a thread a connection. Invariant: while it is out, no request is answered, and each that reaches it is counted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How long a record is, in bytes.
pub(crate) const RECORD: usize = 256;

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    out: AtomicBool,
    requests: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Origin {
    /// Starts it on a free port. It ends with the process.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, state) = (listener.local_addr()?, Arc::<State>::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                if let Ok(clone) = stream.try_clone() {
                    state.open().push(clone);
                }
                thread::spawn(move || state.serve(stream));
            }
        });
        Ok(Self { address, state })
    }

    /// Requests that came so far.
    pub(crate) fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// From now on it closes every connection, at once and when a request comes, or answers again.
    pub(crate) fn is_out(&self, out: bool) {
        self.state.out.store(out, Ordering::SeqCst);
        let open = std::mem::take(&mut *self.state.open());
        if out {
            for stream in open {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl State {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let body = format!("{{\"text\":\"{}\"}}", "x".repeat(RECORD - 11));
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = head + &body;
        let (mut buffer, mut filled) = (vec![0; 64 * 1024], 0);
        while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]) {
            filled += read;
            while let Some(length) = request(&buffer[..filled]) {
                self.requests.fetch_add(1, Ordering::SeqCst);
                if self.out.load(Ordering::SeqCst) {
                    // There is another handle on it.
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                buffer.copy_within(length..filled, 0);
                filled -= length;
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

/// The length of the first request, once it is there whole.
fn request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let lines = std::str::from_utf8(&bytes[..head]).ok()?.lines();
    let length =
        lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let whole = head + length.map_or(Some(0), |(_, length)| length.trim().parse().ok())?;
    (bytes.len() >= whole).then_some(whole)
}
