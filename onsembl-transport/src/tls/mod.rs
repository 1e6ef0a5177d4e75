//! TLS of links: rustls with ring, told so explicitly, so that no process-wide provider matters.
//!
//! The one place that chooses the crypto provider and reads certificates. Certificates are renewed on disk while
//! programs run: both ends read them again when they changed, and keep what they have if the new ones cannot be used.
//!
//! | file | idea |
//! | --- | --- |
//! | `config` | what a client is told: whom it trusts, and who it is |
//! | `error` | what cannot be set up |
//! | `files` | certificates and keys from PEM |
//! | `client`, `server` | the two ends of a handshake |
//! | `fault`, `name` | why a handshake failed, for people |
//! | `absent` | the same types without the feature `rustls`, of which no value can be had |

#[cfg(not(feature = "rustls"))]
mod absent;
#[cfg(all(feature = "rustls", feature = "websocket"))]
mod client;
#[cfg_attr(
    not(all(feature = "rustls", feature = "websocket")),
    allow(dead_code, reason = "read by a client only")
)]
mod config;
mod error;
#[cfg(all(feature = "rustls", feature = "websocket"))]
mod fault;
#[cfg(feature = "rustls")]
mod files;
#[cfg(all(feature = "rustls", feature = "websocket"))]
mod name;
#[cfg(feature = "rustls")]
mod server;

#[cfg(not(feature = "rustls"))]
pub use absent::ServerTls;
#[cfg(all(not(feature = "rustls"), feature = "websocket"))]
pub(crate) use absent::{ClientTls, alert_behind, check_host};
#[cfg(all(feature = "rustls", feature = "websocket"))]
pub(crate) use client::{ClientTls, check_host};
pub use config::{TlsConfig, TlsRoots};
pub use error::TlsError;
#[cfg(all(feature = "rustls", feature = "websocket"))]
pub(crate) use fault::alert_behind;
#[cfg(feature = "rustls")]
pub use server::{Reloaded, ServerTls};
/// The version whose `ClientConfig` a [`TlsConfig`] takes.
#[cfg(feature = "rustls")]
pub use tokio_rustls::rustls;

/// What was wrong with a handshake.
#[cfg(feature = "websocket")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFault {
    pub(crate) fault: onsembl_protocol::session::DialFault,
    /// May be empty.
    pub(crate) why: String,
}
