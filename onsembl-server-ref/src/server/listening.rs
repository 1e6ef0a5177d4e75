//! Where a server listens by itself.

use onsembl_transport::tls::ServerTls;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

/// An address at which a server takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    address: SocketAddr,
    scheme: &'static str,
}

impl Listening {
    pub(super) fn new(address: SocketAddr, tls: Option<&ServerTls>) -> Self {
        Self { address, scheme: if tls.is_some() { "https" } else { "http" } }
    }

    /// The address, with the port that port 0 became.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to reach it by.
    #[must_use]
    pub fn url(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.address)
    }
}

/// Connections that the operating system accepts for us before we take them: as many as it allows (`somaxconn`). A
/// fleet that returns, or an attacker, comes faster than one thread can take connections, and what finds no room is
/// tried again by its own system after 1 s, 3 s and 7 s only.
const BACKLOG: u32 = 65_535;

/// A listener with room for a fleet that returns at one moment.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart finds its address free although old connections of it are still remembered.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Why a server cannot listen. It runs on without.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ListenError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        address: SocketAddr,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// The listener is not usable.
    #[error("cannot find out the address of a listener: {0}")]
    Address(#[source] io::Error),
}
