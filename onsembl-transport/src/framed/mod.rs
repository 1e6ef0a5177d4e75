//! Links over any byte stream: TCP, a Unix socket, the standard streams of a child process.
//!
//! Each frame is a length (four bytes, big-endian), a kind (one byte, counted in the length) and a
//! payload:
//!
//! | kind | payload |
//! |---|---|
//! | 1 text | UTF-8 |
//! | 8 close | code (two bytes, big-endian), then UTF-8; or nothing |
//! | 9 ping | nothing (ignored if there is any) |
//! | 10 pong | nothing (ignored if there is any) |
//!
//! The kinds are the opcodes of WebSocket (RFC 6455, section 11.8), and so are the rules: a ping is
//! answered with a pong, a close with a close, broken framing with code 1002, a message over the
//! limit with 1009. Nothing is encrypted here, and no peer is authenticated.

mod codec;
mod halves;
mod net;

pub use net::{FramedDialer, FramedListener};

use crate::limits::LinkLimits;
use crate::link::Link;
use tokio::io::{AsyncRead, AsyncWrite};

/// A link that reads frames from `read` and writes frames to `write`.
pub fn link<R, W>(read: R, write: W, peer: impl Into<String>, limits: LinkLimits) -> Link
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    halves::link(read, write, peer.into(), limits)
}
