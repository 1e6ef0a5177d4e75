//! TLS of a client: whom it trusts, read again when that changed.

use super::{Stamp, TlsError, TlsRoots, native_roots, pem_roots, provider, unexpected};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// How often the certificates of the operating system are read again while handshakes fail. They are
/// some hundred files, and a CA that was just installed may wait a minute.
const NATIVE_AGAIN: Duration = Duration::from_secs(60);

/// The certificates that a client trusts.
pub(crate) struct ClientTls {
    roots: TlsRoots,
    loaded: Mutex<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    config: Arc<ClientConfig>,
    stamp: Stamp,
    at: Instant,
    handshakes: Handshakes,
}

/// How the last handshake with these certificates went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshakes {
    Succeed,
    Fail,
}

impl ClientTls {
    /// Reads them. Blocks.
    pub(crate) fn new(roots: &TlsRoots) -> Result<Self, TlsError> {
        let stamp = stamp(roots);
        let loaded = Loaded {
            config: config(roots)?,
            stamp,
            at: Instant::now(),
            handshakes: Handshakes::Succeed,
        };
        Ok(Self { roots: roots.clone(), loaded: Mutex::new(loaded) })
    }

    /// Shakes hands with the host of this name.
    pub(crate) async fn connect<S>(
        self: &Arc<Self>,
        host: ServerName<'static>,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let this = Arc::clone(self);
        let current = tokio::task::spawn_blocking(move || this.current()).await;
        let connector = TlsConnector::from(current.map_err(io::Error::other)?);
        let shaken = connector.connect(host, stream).await;
        self.lock().handshakes = match shaken {
            Ok(_) => Handshakes::Succeed,
            Err(_) => Handshakes::Fail,
        };
        shaken
    }

    /// The certificates as they are now; those in use if the new ones cannot be used. Blocks.
    fn current(&self) -> Arc<ClientConfig> {
        let loaded = self.lock().clone();
        let stamp = stamp(&self.roots);
        let is_due = match self.roots {
            TlsRoots::Pem(_) => stamp != loaded.stamp,
            TlsRoots::Native => {
                loaded.handshakes == Handshakes::Fail && loaded.at.elapsed() >= NATIVE_AGAIN
            }
        };
        if !is_due {
            return loaded.config;
        }
        let config = match config(&self.roots) {
            Ok(config) => {
                tracing::info!(roots = ?self.roots, "the certificates to trust were read again");
                config
            }
            Err(error) => {
                tracing::warn!(%error, "the new certificates to trust cannot be used; keeping the old ones");
                loaded.config
            }
        };
        let mut now = self.lock();
        *now = Loaded { config, stamp, at: Instant::now(), handshakes: now.handshakes };
        Arc::clone(&now.config)
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(roots: &TlsRoots) -> Stamp {
    match roots {
        TlsRoots::Native => Stamp(None),
        TlsRoots::Pem(path) => Stamp::of(path),
    }
}

fn config(roots: &TlsRoots) -> Result<Arc<ClientConfig>, TlsError> {
    let store = match roots {
        TlsRoots::Native => native_roots()?,
        TlsRoots::Pem(path) => pem_roots(path)?,
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unexpected)?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
