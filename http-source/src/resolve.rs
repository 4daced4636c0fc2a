//! The addresses of the origin's host.
//!
//! A source has one host, so there is one cached answer and at most one look-up under way, in a thread that ends with
//! it; all callers wait for that one, each until its own deadline. A literal address is never looked up. This takes the
//! place of ureq's resolver, which starts a thread for each request that has a timeout.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use crate::call;

/// As many as ureq's array holds.
const MAX_ADDRESSES: usize = 16;

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Resolves one host.
#[derive(Debug)]
pub(crate) enum HostResolver {
    Literal(SocketAddr),
    Name(Arc<Name>),
}

pub(crate) struct Name {
    host: String,
    port: u16,
    ttl: Duration,
    lookup: Box<Lookup>,
    /// Held for moments only, never during a look-up.
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// The last answer and when it came.
    known: Option<(Instant, Vec<SocketAddr>)>,
    /// A thread is looking it up.
    busy: bool,
    /// Look-ups that have ended, and how the last one failed.
    ended: u64,
    failed: Option<String>,
}

impl HostResolver {
    /// `host` as it stands in a URL: an IPv6 literal is in brackets.
    pub(crate) fn new(host: &str, port: u16, ttl: Duration) -> Self {
        Self::with_lookup(host, port, ttl, Box::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())))
    }

    fn with_lookup(host: &str, port: u16, ttl: Duration, lookup: Box<Lookup>) -> Self {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(ip) => Self::Literal(SocketAddr::new(ip, port)),
            Err(_) => Self::Name(Arc::new(Name {
                host: bare.to_owned(),
                port,
                ttl,
                lookup,
                state: Mutex::default(),
                done: Condvar::new(),
            })),
        }
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        match self {
            Self::Literal(address) => Ok(vec![*address]),
            Self::Name(name) => name.addresses(),
        }
    }
}

impl Resolver for HostResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut resolved = ResolvedSocketAddrs::from_fn(|_| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        if let Self::Literal(address) = self {
            resolved.push(*address);
            return Ok(resolved);
        }
        for address in self.addresses()?.into_iter().take(MAX_ADDRESSES) {
            resolved.push(address);
        }
        if resolved.is_empty() { Err(Error::HostNotFound) } else { Ok(resolved) }
    }
}

impl Name {
    fn addresses(self: &Arc<Self>) -> Result<Vec<SocketAddr>, Error> {
        let mut state = self.state();
        if let Some((since, known)) = &state.known
            && since.elapsed() < self.ttl
        {
            return Ok(known.clone());
        }
        if !state.busy {
            let name = Arc::clone(self);
            std::thread::Builder::new().name("wtcache-lookup".into()).spawn(move || name.look_up())?;
            state.busy = true;
        }
        let before = state.ended;
        while state.ended == before {
            let left = call::remaining().ok_or(Error::Timeout(Timeout::Resolve))?;
            state = self.done.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
        match (&state.failed, &state.known) {
            (None, Some((_, known))) => Ok(known.clone()),
            (Some(failed), _) => Err(io::Error::other(failed.clone()).into()),
            (None, None) => Err(Error::HostNotFound),
        }
    }

    fn look_up(&self) {
        // A panic in here would leave all later callers waiting; the system's look-up has none to give.
        let answer = (self.lookup)(&self.host, self.port);
        let mut state = self.state();
        state.busy = false;
        state.ended += 1;
        match answer {
            Ok(addresses) => {
                state.known = Some((Instant::now(), addresses.into_iter().take(MAX_ADDRESSES).collect()));
                state.failed = None;
            }
            Err(e) => state.failed = Some(format!("the name {} was not resolved: {e}", self.host)),
        }
        drop(state);
        self.done.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Name").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Call, Reuse};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    fn within(left: Duration) -> Call {
        Call::begin(Instant::now() + left, Reuse::Any)
    }

    fn counting(ttl: Duration, answer: fn() -> io::Result<Vec<SocketAddr>>) -> (HostResolver, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let lookup = move |_: &str, _: u16| {
            counter.fetch_add(1, Ordering::SeqCst);
            answer()
        };
        (HostResolver::with_lookup("name.example", 80, ttl, Box::new(lookup)), asked)
    }

    fn one() -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 80))])
    }

    #[test]
    fn literals_are_not_looked_up() {
        for host in ["127.0.0.1", "[::1]"] {
            assert!(matches!(HostResolver::new(host, 80, Duration::ZERO), HostResolver::Literal(_)), "{host}");
        }
        assert!(matches!(HostResolver::new("localhost", 80, Duration::ZERO), HostResolver::Name(_)));
    }

    #[test]
    fn a_name_is_looked_up_once_in_its_ttl() {
        let _call = within(Duration::from_secs(60));
        let (kept, asked) = counting(Duration::from_secs(60), one);
        for _ in 0..3 {
            assert_eq!(kept.addresses().unwrap().len(), 1);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let (not_kept, asked) = counting(Duration::ZERO, one);
        for _ in 0..3 {
            not_kept.addresses().unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_failed_lookup_is_told_and_not_kept() {
        let _call = within(Duration::from_secs(60));
        let (resolver, asked) = counting(Duration::from_secs(60), || Err(io::Error::other("no such name")));
        for _ in 0..2 {
            assert!(resolver.addresses().unwrap_err().to_string().contains("no such name"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_lookup_that_hangs_holds_a_caller_to_its_deadline_and_one_thread() {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let hang = move |_: &str, _: u16| {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = held.lock().unwrap().recv();
            one()
        };
        let resolver = HostResolver::with_lookup("name.example", 80, Duration::from_secs(60), Box::new(hang));
        for _ in 0..3 {
            let _call = within(Duration::from_millis(20));
            assert!(matches!(resolver.addresses(), Err(Error::Timeout(Timeout::Resolve))));
        }
        drop(release);
        let _call = within(Duration::from_secs(60));
        assert_eq!(resolver.addresses().unwrap().len(), 1);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
