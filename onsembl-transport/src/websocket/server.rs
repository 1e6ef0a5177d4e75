//! Taking WebSocket links in: over a raw stream, and from a TCP port of our own.
//!
//! No HTTP service hides in here: path, query and token of the request are not looked at. Where
//! callers must prove who they are before they get in, put an HTTP service in front, which answers
//! 101 with [`accept_key`] and hands the stream to [`upgraded`](super::upgraded).

use super::upgraded;
use crate::limits::LinkLimits;
use crate::link::{Link, Listener, log_line};
use crate::sockets::no_delay;
use crate::tls::ServerTls;
use async_trait::async_trait;
use std::io;
use std::net::SocketAddr;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, handshake::derive_accept_key};

/// Handshakes that a listener carries on at once. More callers wait in the backlog of the port;
/// each handshake ends by its deadline, so their turn comes.
const HANDSHAKES: usize = 256;

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
pub fn accept_key(sec_websocket_key: &str) -> String {
    derive_accept_key(sec_websocket_key.trim().as_bytes())
}

/// Why a stream did not become a link.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The peer did not finish its handshake within [`LinkLimits::handshake`].
    #[error("the peer did not finish its handshake in time")]
    TimedOut,
    /// The peer sent something else than a WebSocket upgrade, and got HTTP 400.
    #[error("the peer did not request a WebSocket: {0}")]
    NotAnUpgrade(String),
    /// The connection or its TLS handshake failed.
    #[error("the connection failed during the handshake: {0}")]
    Io(#[from] io::Error),
}

/// Answers the upgrade request on `stream`, and makes it a link.
///
/// A client must await the answer before it sends (RFC 6455, section 4.1); one that does not is
/// refused here. A service that wants to be lenient uses [`upgraded`](super::upgraded).
///
/// # Errors
/// The peer was too slow, did not ask for a WebSocket, or left.
pub async fn accept_websocket<S>(
    mut stream: S,
    peer: impl Into<String> + Send,
    limits: LinkLimits,
) -> Result<Link, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = async {
        // Over a borrowed stream, so that a refusal can still be written to it.
        // It needs no buffers for frames: it reads none.
        let config = WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0);
        match accept_async_with_config(&mut stream, Some(config)).await {
            Ok(_) => Ok(()),
            Err(WebSocketError::Io(error)) => Err(AcceptError::Io(error)),
            Err(error) => {
                let why = log_line(&error.to_string());
                refuse(&mut stream, &why).await?;
                Err(AcceptError::NotAnUpgrade(why))
            }
        }
    };
    timeout(limits.handshake, handshake).await.map_err(|_| AcceptError::TimedOut)??;
    Ok(upgraded(stream, Vec::new(), peer, limits).await)
}

async fn refuse(stream: &mut (impl AsyncWrite + Unpin), why: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{why}\n",
        why.len() + 1
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// A TCP port that takes WebSocket links in, with or without TLS. Handshakes continue side by side,
/// so that a slow caller delays no other.
#[derive(Debug)]
pub struct WebSocketListener {
    tcp: TcpListener,
    tls: Option<ServerTls>,
    limits: LinkLimits,
    handshakes: JoinSet<Result<Link, AcceptError>>,
}

impl WebSocketListener {
    /// Takes links in from `tcp`; with TLS if there is one.
    pub fn new(tcp: TcpListener, tls: Option<ServerTls>, limits: LinkLimits) -> Self {
        Self { tcp, tls, limits, handshakes: JoinSet::new() }
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

#[async_trait]
impl Listener for WebSocketListener {
    async fn accept(&mut self) -> io::Result<Link> {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(link)) => return Ok(link),
                    Ok(Err(error)) => tracing::debug!(%error, "a client failed the handshake"),
                    Err(error) => tracing::error!(%error, "a handshake failed because of an internal error"),
                },
                caller = self.tcp.accept(), if self.handshakes.len() < HANDSHAKES => {
                    let (stream, peer) = caller?;
                    no_delay(&stream);
                    self.handshakes.spawn(handshake(stream, peer, self.tls.clone(), self.limits));
                }
            }
        }
    }
}

async fn handshake(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<ServerTls>,
    limits: LinkLimits,
) -> Result<Link, AcceptError> {
    let peer = peer.to_string();
    let work = async {
        match tls {
            None => accept_websocket(stream, peer, limits).await,
            Some(tls) => accept_websocket(tls.accept(stream).await?, peer, limits).await,
        }
    };
    timeout(limits.handshake, work).await.map_err(|_| AcceptError::TimedOut)?
}
