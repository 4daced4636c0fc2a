//! What the service manager is told (`sd_notify`): that this server is ready, reads its configuration again, or ends.
//!
//! A datagram to the socket that `NOTIFY_SOCKET` names; without it, nothing. That nobody hears it is no reason to end.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes requests; also once it has read its configuration again.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It was asked to end.
    Stopping,
}

/// Tells the service manager, if there is one.
pub fn notify(state: State) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = match state {
        State::Ready => "READY=1",
        State::Reloading => "RELOADING=1",
        State::Stopping => "STOPPING=1",
    };
    let name = socket.as_encoded_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    let _ = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(told.as_bytes(), &address));
}
