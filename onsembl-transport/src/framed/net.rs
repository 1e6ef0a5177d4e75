//! Framed links over TCP and Unix sockets: dialling and listening.

use super::link;
use crate::limits::{DIAL_TIMEOUT, LinkLimits};
use crate::link::{DialError, Dialer, Link, Listener};
use crate::sockets::no_delay;
use async_trait::async_trait;
use onsembl_protocol::session::{DialFailure, DialFault};
use std::io;
#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

#[derive(Clone, Debug)]
enum Address {
    Tcp(String),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// Dials one address for framed links.
///
/// ```no_run
/// use onsembl_transport::Dialer;
/// use onsembl_transport::framed::FramedDialer;
///
/// # async fn dial() -> Result<(), Box<dyn std::error::Error>> {
/// let link = FramedDialer::unix("/run/onsembl.sock").dial().await?;
/// # drop(link);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FramedDialer {
    address: Address,
    limits: LinkLimits,
    timeout: Duration,
}

impl FramedDialer {
    /// Dials `host:port` by TCP.
    pub fn tcp(address: impl Into<String>) -> Self {
        Self::new(Address::Tcp(address.into()))
    }

    /// Dials the Unix socket at `path`.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Address::Unix(path.into()))
    }

    fn new(address: Address) -> Self {
        Self { address, limits: LinkLimits::DEFAULT, timeout: DIAL_TIMEOUT }
    }

    /// Other limits than [`LinkLimits::DEFAULT`] for the links.
    #[must_use]
    pub fn with_limits(mut self, limits: LinkLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Another time-out than [`DIAL_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn connect(&self) -> io::Result<Link> {
        match &self.address {
            Address::Tcp(address) => {
                Ok(over_tcp(TcpStream::connect(address).await?, address.clone(), self.limits))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                Ok(over_unix(stream, path.display().to_string(), self.limits))
            }
        }
    }
}

#[async_trait]
impl Dialer for FramedDialer {
    async fn dial(&self) -> Result<Link, DialError> {
        match timeout(self.timeout, self.connect()).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(DialError::new(DialFailure::Unreachable, error.to_string())),
            Err(_) => {
                Err(DialError::new(DialFailure::TimedOut, "").with_fault(DialFault::ConnectTimeout))
            }
        }
    }
}

#[derive(Debug)]
enum Port {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// Takes framed links in.
#[derive(Debug)]
pub struct FramedListener {
    port: Port,
    limits: LinkLimits,
}

impl FramedListener {
    /// Takes links in from a TCP port.
    pub fn tcp(listener: TcpListener, limits: LinkLimits) -> Self {
        Self { port: Port::Tcp(listener), limits }
    }

    /// Takes links in from a Unix socket.
    #[cfg(unix)]
    pub fn unix(listener: UnixListener, limits: LinkLimits) -> Self {
        Self { port: Port::Unix(listener), limits }
    }
}

#[async_trait]
impl Listener for FramedListener {
    async fn accept(&mut self) -> io::Result<Link> {
        match &self.port {
            Port::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(over_tcp(stream, peer.to_string(), self.limits))
            }
            #[cfg(unix)]
            Port::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = match stream.peer_cred().ok().and_then(|cred| cred.pid()) {
                    Some(pid) => format!("process {pid}"),
                    None => "a local process".to_owned(),
                };
                Ok(over_unix(stream, peer, self.limits))
            }
        }
    }
}

fn over_tcp(stream: TcpStream, peer: String, limits: LinkLimits) -> Link {
    no_delay(&stream);
    let (read, write) = stream.into_split();
    link(read, write, peer, limits)
}

#[cfg(unix)]
fn over_unix(stream: UnixStream, peer: String, limits: LinkLimits) -> Link {
    let (read, write) = stream.into_split();
    link(read, write, peer, limits)
}
