//! TLS of a client: whom it trusts, read again when that changed.

use super::fault::{TlsFault, Witness};
use super::{Stamp, TlsError, TlsRoots, native_roots, pem_roots, provider, unexpected};
use onsembl_protocol::session::DialFault;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::pki_types::ServerName;

/// How often the certificates of the operating system are read again while handshakes fail. They are
/// some hundred files, and a CA that was just installed may wait a minute.
const NATIVE_AGAIN: Duration = Duration::from_secs(60);

/// The certificates that a client trusts.
pub(crate) struct ClientTls {
    roots: TlsRoots,
    loaded: Mutex<Loaded>,
    /// BudgetShare while files are looked at: those of an unreachable file system hold one thread, and not one more
    /// at each handshake.
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Loaded {
    trusted: Trusted,
    stamp: Stamp,
    at: Instant,
    handshakes: Handshakes,
}

/// Whom to trust, and who looks on.
#[derive(Clone)]
struct Trusted {
    config: Arc<ClientConfig>,
    witness: Arc<Witness>,
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
            trusted: trusted(roots)?,
            stamp,
            at: Instant::now(),
            handshakes: Handshakes::Succeed,
        };
        Ok(Self { roots: roots.clone(), loaded: Mutex::new(loaded), looking: Arc::default() })
    }

    /// Shakes hands with the host of this name.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) async fn connect<S>(
        self: &Arc<Self>,
        host: ServerName<'static>,
        stream: S,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>, TlsFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let this = Arc::clone(self);
        let looking = Arc::clone(&self.looking).lock_owned().await;
        let current = tokio::task::spawn_blocking(move || {
            let current = this.current();
            drop(looking);
            current
        })
        .await;
        let Trusted { config, witness } =
            current.map_err(|e| TlsFault { fault: DialFault::TlsFailed, why: e.to_string() })?;
        let shaken = TlsConnector::from(config).connect(host, stream).await;
        self.lock().handshakes = match shaken {
            Ok(_) => Handshakes::Succeed,
            Err(_) => Handshakes::Fail,
        };
        shaken.map_err(|error| witness.told(&error))
    }

    /// When the certificate ends that a server showed last.
    pub(crate) fn certificate_ends(&self) -> Option<SystemTime> {
        self.lock().trusted.witness.ends()
    }

    /// The certificates as they are now; those in use if the new ones cannot be used. Blocks.
    fn current(&self) -> Trusted {
        let loaded = self.lock().clone();
        let stamp = stamp(&self.roots);
        let is_due = match self.roots {
            TlsRoots::Pem(_) => stamp != loaded.stamp,
            TlsRoots::Native => {
                loaded.handshakes == Handshakes::Fail && loaded.at.elapsed() >= NATIVE_AGAIN
            }
        };
        if !is_due {
            return loaded.trusted;
        }
        let trusted = match trusted(&self.roots) {
            Ok(trusted) => {
                tracing::info!(roots = ?self.roots, "the certificates to trust were read again");
                trusted
            }
            Err(error) => {
                tracing::warn!(%error, "the new certificates to trust cannot be used; keeping the old ones");
                loaded.trusted
            }
        };
        let mut now = self.lock();
        *now = Loaded { trusted, stamp, at: Instant::now(), handshakes: now.handshakes };
        now.trusted.clone()
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

fn trusted(roots: &TlsRoots) -> Result<Trusted, TlsError> {
    let store = match roots {
        TlsRoots::Native => native_roots()?,
        TlsRoots::Pem(path) => pem_roots(path)?,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), provider());
    let witness = Arc::new(Witness::new(verifier.build().map_err(unexpected)?));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unexpected)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Witness>::clone(&witness))
        .with_no_client_auth();
    // Links and requests are HTTP/1.1; a front that can choose is not to choose HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Trusted { config: Arc::new(config), witness })
}
