//! TLS in a program without the feature `rustls`. No value of these types can be made, so nothing here ever runs: the code
//! around them is the same with and without.

use std::convert::Infallible;
use std::io;

#[cfg(feature = "websocket")]
use super::{TlsConfig, TlsError, TlsFault};
#[cfg(feature = "websocket")]
use std::{sync::Arc, time::SystemTime};

/// TLS of a server, which needs the feature `rustls`.
#[derive(Clone, Debug)]
pub struct ServerTls(Infallible);

impl ServerTls {
    /// Shakes hands with a client.
    ///
    /// # Errors
    /// None: without the feature there is no such value.
    #[allow(clippy::unused_async, reason = "as with the feature")]
    pub async fn accept<S>(&self, _: S) -> io::Result<S> {
        match self.0 {}
    }
}

#[cfg(feature = "websocket")]
pub(crate) struct ClientTls(Infallible);

#[cfg(feature = "websocket")]
impl ClientTls {
    pub(crate) const fn new(_: &TlsConfig) -> Result<Self, TlsError> {
        Err(TlsError::NotBuilt("rustls"))
    }

    #[allow(clippy::unused_async, reason = "as with the feature")]
    pub(crate) async fn connect<S>(self: &Arc<Self>, _: &str, _: S) -> Result<S, TlsFault> {
        match self.0 {}
    }

    pub(crate) const fn certificate_ends(&self) -> Option<SystemTime> {
        match self.0 {}
    }
}

/// Without TLS no certificate has to name the host.
#[cfg(feature = "websocket")]
pub(crate) const fn check_host(_: &str) -> Result<(), TlsError> {
    Ok(())
}

/// There is no alert without TLS.
#[cfg(feature = "websocket")]
pub(crate) const fn alert_behind(_: &(dyn std::error::Error + 'static)) -> Option<TlsFault> {
    None
}
