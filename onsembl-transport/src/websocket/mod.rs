//! WebSocket links over tokio-tungstenite: client, server, and streams that were upgraded elsewhere.
//!
//! The library's types stay inside this folder. Limits and buffers are ours ([`LinkLimits`]): the
//! library's defaults cost 135 KiB a link and bound neither the write buffer nor a message as the
//! wire does.

mod client;
mod halves;
mod server;
mod upgrade;

pub use crate::dial::{DialerError, InvalidUrl};
pub use client::{DIAL_TIMEOUT, WebSocketDialer};
pub use server::{AcceptError, WebSocketListener, accept_key, accept_websocket};

use crate::limits::LinkLimits;
use crate::link::Link;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

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
    over(stream, already_read.into(), Role::Server, peer.into(), limits).await
}

/// A link over a stream whose handshake is done.
async fn over<S>(stream: S, rest: Bytes, role: Role, peer: String, limits: LinkLimits) -> Link
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = Some(config(&limits));
    let socket = WebSocketStream::from_partially_read(stream, rest.into(), role, config).await;
    halves::link(socket, peer, limits)
}

fn config(limits: &LinkLimits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits.buffers.read)
        .write_buffer_size(limits.write_buffer())
        .max_write_buffer_size(limits.write_bound())
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes))
}
