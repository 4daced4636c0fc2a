//! Where the front listens for what it is asked of itself, and the bounds of its clients.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where this server is asked of itself: its statistics, and what to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// At an address of its own.
    At(SocketAddr),
    /// Where the records are.
    Same,
    /// Nowhere.
    Off,
}

impl Admin {
    /// Only this machine reaches it, or who reaches the records.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        match self {
            Self::At(address) => address.ip().is_loopback(),
            Self::Same | Self::Off => true,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self::At(SocketAddr::from((Ipv4Addr::LOCALHOST, 9927)))
    }
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Off),
            "same" => Ok(Self::Same),
            address => {
                address.parse().map(Self::At).map_err(|_| "write an address and a port, none, or same".to_owned())
            }
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Same => f.write_str("same"),
            Self::Off => f.write_str("none"),
        }
    }
}

/// What the listeners speak TLS with. Both files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The file of the certificate, with those between it and the root behind it.
    pub certificate: PathBuf,
    /// The file of its private key, without a passphrase.
    pub key: PathBuf,
}

/// What clients may ask of the front at once, and how long they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, of each address; by default 512. What is more is 503.
    pub connections: usize,
    /// The bytes of a request's head; by default 16 KiB. What is more is 431.
    pub head_bytes: usize,
    /// How long the head may take from its first byte; by default 10 s. Later is 408. With TLS, a handshake likewise.
    pub head_timeout: Duration,
    /// How long the body may take; by default 30 s. Later is 408.
    pub body_timeout: Duration,
    /// How long a connection may wait for its next request, or for its client to take more of an answer; by default 60 s.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            head_bytes: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(60),
        }
    }
}
