//! TLS of a client: whom it trusts and who it is, read again when that changed.

use super::config::{Identity, Roots, Source};
use super::fault::{Verifier, Witness};
use super::files::{Stamp, provider, unexpected};
use super::{TlsConfig, TlsError, TlsFault};
use onsembl_protocol::session::DialFault;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How often the certificates of the operating system are read again while handshakes fail. They are
/// some hundred files, and a CA that was just installed may wait a minute.
const NATIVE_AGAIN: Duration = Duration::from_secs(60);

/// WebSockets and requests are HTTP/1.1; a front that can choose is not to choose HTTP/2.
const ALPN: &[u8] = b"http/1.1";

/// What a client trusts and shows.
pub(crate) struct ClientTls {
    config: TlsConfig,
    loaded: Mutex<Loaded>,
    /// BudgetShare while files are looked at: those of an unreachable file system hold one thread, and not one more
    /// at each handshake.
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Loaded {
    trusted: Trusted,
    stamps: Stamps,
    at: Instant,
    handshakes: Handshakes,
}

/// Whom to trust, and who looks on.
#[derive(Clone)]
struct Trusted {
    config: Arc<ClientConfig>,
    witness: Arc<Witness>,
}

/// Of the roots, the certificate and the key.
type Stamps = [Stamp; 3];

/// How the last handshake with these certificates went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshakes {
    Succeed,
    Fail,
}

impl ClientTls {
    /// Reads them. Blocks.
    pub(crate) fn new(config: &TlsConfig) -> Result<Self, TlsError> {
        let stamps = stamps(&config.0);
        let loaded = Loaded {
            trusted: trusted(&config.0)?,
            stamps,
            at: Instant::now(),
            handshakes: Handshakes::Succeed,
        };
        Ok(Self { config: config.clone(), loaded: Mutex::new(loaded), looking: Arc::default() })
    }

    /// Shakes hands with the host of this name.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) async fn connect<S>(
        self: &Arc<Self>,
        host: &str,
        stream: S,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>, TlsFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let failed = |why: String| TlsFault { fault: DialFault::TlsFailed, why };
        let name = server_name(host).map_err(|e| failed(e.to_string()))?;
        let this = Arc::clone(self);
        let looking = Arc::clone(&self.looking).lock_owned().await;
        let current = tokio::task::spawn_blocking(move || {
            let current = this.current();
            drop(looking);
            current
        })
        .await;
        let Trusted { config, witness } = current.map_err(|e| failed(e.to_string()))?;
        let shaken = TlsConnector::from(config).connect(name, stream).await;
        self.lock().handshakes = match shaken {
            Ok(_) => Handshakes::Succeed,
            Err(_) => Handshakes::Fail,
        };
        if let Ok(stream) = &shaken
            && let Some([first, ..]) = stream.get_ref().1.peer_certificates()
        {
            witness.saw(first);
        }
        shaken.map_err(|error| witness.told(&error))
    }

    /// When the certificate ends that a server showed last.
    pub(crate) fn certificate_ends(&self) -> Option<SystemTime> {
        self.lock().trusted.witness.ends()
    }

    /// The certificates as they are now; those in use if the new ones cannot be used. Blocks.
    fn current(&self) -> Trusted {
        let loaded = self.lock().clone();
        let stamps = stamps(&self.config.0);
        let is_due = match &self.config.0 {
            Source::Ours { roots, .. } => {
                let is_native = matches!(roots, Roots::Native);
                let has_failed = loaded.handshakes == Handshakes::Fail;
                stamps != loaded.stamps
                    || is_native && has_failed && loaded.at.elapsed() >= NATIVE_AGAIN
            }
            Source::Rustls(_) => false,
        };
        if !is_due {
            return loaded.trusted;
        }
        let trusted = match trusted(&self.config.0) {
            Ok(trusted) => {
                tracing::info!(tls = ?self.config, "the certificates of this client were read again");
                trusted
            }
            Err(error) => {
                tracing::warn!(%error, "the new certificates of this client cannot be used; keeping the old ones");
                loaded.trusted
            }
        };
        let mut now = self.lock();
        *now = Loaded { trusted, stamps, at: Instant::now(), handshakes: now.handshakes };
        now.trusted.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a certificate can name this host.
pub(crate) fn check_host(host: &str) -> Result<(), TlsError> {
    server_name(host).map(drop)
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::HostName(host.to_owned()))
}

/// Blocks.
fn stamps(source: &Source) -> Stamps {
    let Source::Ours { roots, identity } = source else { return [Stamp::NONE; 3] };
    let roots = match roots {
        Roots::Native => Stamp::NONE,
        Roots::Pem(pem) => pem.stamp(),
    };
    match identity {
        Some(Identity { certificate, key }) => [roots, certificate.stamp(), key.stamp()],
        None => [roots, Stamp::NONE, Stamp::NONE],
    }
}

fn trusted(source: &Source) -> Result<Trusted, TlsError> {
    let witness = Arc::<Witness>::default();
    let mut config = match source {
        Source::Ours { roots, identity } => ours(roots, identity.as_ref(), &witness)?,
        Source::Rustls(config) => ClientConfig::clone(config),
    };
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(Trusted { config: Arc::new(config), witness })
}

fn ours(
    roots: &Roots,
    identity: Option<&Identity>,
    witness: &Arc<Witness>,
) -> Result<ClientConfig, TlsError> {
    let store = match roots {
        Roots::Native => native()?,
        Roots::Pem(pem) => {
            let mut store = RootCertStore::empty();
            for certificate in pem.certificates()? {
                store
                    .add(certificate)
                    .map_err(|e| TlsError::BadRoot { whence: pem.whence(), why: e.into() })?;
            }
            store
        }
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), provider());
    let verifier = Verifier::new(verifier.build().map_err(unexpected)?, witness);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unexpected)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some(Identity { certificate, key }) = identity else {
        return Ok(config.with_no_client_auth());
    };
    config
        .with_client_auth_cert(certificate.certificates()?, key.private_key()?)
        .map_err(|e| TlsError::Identity { why: e.into() })
}

#[cfg(feature = "native-roots")]
fn native() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (_, malformed) = store.add_parsable_certificates(found.certs);
    if malformed > 0 || !found.errors.is_empty() {
        tracing::debug!(malformed, errors = ?found.errors, "some native certificates are unusable");
    }
    if store.is_empty() {
        let first = found.errors.into_iter().next();
        return Err(TlsError::NoNativeRoots(first.map_or("none found".into(), Into::into)));
    }
    Ok(store)
}

#[cfg(not(feature = "native-roots"))]
const fn native() -> Result<RootCertStore, TlsError> {
    Err(TlsError::NotBuilt("native-roots"))
}
