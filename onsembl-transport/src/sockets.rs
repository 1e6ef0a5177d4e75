//! What is set on every TCP socket.

use tokio::net::TcpStream;

/// Small frames are not to wait for acknowledgements of earlier ones. A socket that refuses this
/// counts as closed, and its next use will report it.
pub(crate) fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}
