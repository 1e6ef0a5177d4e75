//! WebSocket links: client, server, and streams that were upgraded elsewhere.
//!
//! The frames are read and written here (`header.rs`, `inbound.rs`, `outbound.rs`; no I/O), because no library
//! gives the buffers of an idle link back: `docs/ARCHITECTURE.md`, section 9. A test holds them against tungstenite, which does
//! the handshakes.

#[cfg(test)]
mod agreement_tests;
mod client;
mod fault;
mod halves;
mod header;
mod inbound;
mod outbound;
mod server;
mod upgrade;

pub use crate::dial::{DialerError, InvalidUrl};
pub use crate::limits::DIAL_TIMEOUT;
pub use client::WebSocketDialer;
pub use server::{AcceptError, WebSocketListener, accept_key, accept_websocket};

use crate::limits::LinkLimits;
use crate::link::Link;
use bytes::Bytes;
use header::Role;
use tokio::io::{AsyncRead, AsyncWrite};

/// Makes a link of a stream that has been upgraded already, by an HTTP service that answered 101
/// (see [`accept_key`]).
///
/// `already_read` is what the service read beyond the request: a client may send its first frame
/// right behind it.
pub async fn upgraded<S>(
    stream: S,
    already_read: impl Into<Bytes> + Send,
    peer: impl Into<String> + Send,
    limits: LinkLimits,
) -> Link
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    halves::link(stream, already_read.into(), Role::Server, peer.into(), limits)
}
