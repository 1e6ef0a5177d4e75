//! TLS for links: rustls with ring, told so explicitly, so that no process-wide provider matters.
//!
//! The one place that chooses the crypto provider and reads certificates. rustls types stay here.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Which certificates a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsRoots {
    /// Those of the operating system.
    Native,
    /// Those in this PEM file, and no others.
    Pem(PathBuf),
}

/// TLS that cannot be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("cannot read {what} from {}: {why}; give a readable PEM file", path.display())]
    File {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// A PEM file without what was looked for.
    #[error("{} holds no {what}; give a PEM file that does", path.display())]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key of a server are unusable together.
    #[error(
        "the certificate {} and the key {} cannot be used: {why}; give a chain that begins with \
         the certificate of that key",
        certificate.display(), key.display()
    )]
    Pair {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        why: String,
    },
    /// A certificate in the file cannot be trusted, as it is malformed.
    #[error("a certificate in {} is malformed: {why}; replace it", path.display())]
    BadRoot {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        why: String,
    },
    /// The operating system has no certificates to trust.
    #[error(
        "the operating system offers no certificates to trust ({0}); install its CA certificates \
         or name a PEM file"
    )]
    NoNativeRoots(String),
    /// The host of the URL can stand in no certificate.
    #[error("no certificate can name the host {0:?}; check the server URL")]
    HostName(String),
    /// rustls refuses its own provider. Not expected.
    #[error("TLS cannot be set up: {0}; report this as a fault of the program")]
    Provider(String),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn unexpected(error: impl fmt::Display) -> TlsError {
    TlsError::Provider(error.to_string())
}

/// TLS of a client towards one host.
#[derive(Clone)]
pub(crate) struct ClientTls {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl ClientTls {
    pub(crate) fn new(roots: &TlsRoots, host: &str) -> Result<Self, TlsError> {
        let host = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::HostName(host.to_owned()))?;
        let store = match roots {
            TlsRoots::Native => native_roots()?,
            TlsRoots::Pem(path) => pem_roots(path)?,
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unexpected)?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self { connector: Arc::new(config).into(), host })
    }

    pub(crate) async fn connect<S>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.connector.connect(self.host.clone(), stream).await
    }
}

fn native_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (_, malformed) = store.add_parsable_certificates(found.certs);
    if malformed > 0 || !found.errors.is_empty() {
        tracing::debug!(malformed, errors = ?found.errors, "some native certificates are unusable");
    }
    if store.is_empty() {
        let why = found.errors.first().map_or("none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoNativeRoots(why));
    }
    Ok(store)
}

fn pem_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|e| TlsError::BadRoot { path: path.into(), why: e.to_string() })?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificate";
    let failed = |e| file_error(what, path, e);
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::Missing { what, path: path.into() });
    }
    Ok(found)
}

fn file_error(what: &'static str, path: &Path, error: PemError) -> TlsError {
    let path = path.into();
    match error {
        PemError::NoItemsFound => TlsError::Missing { what, path },
        PemError::Io(error) => TlsError::File { what, path, why: error.to_string() },
        error => TlsError::File { what, path, why: error.to_string() },
    }
}

/// TLS of a server: one certificate chain and its key.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
}

impl ServerTls {
    /// Reads the chain (the server's own certificate first) and the private key. Blocks while it
    /// reads.
    ///
    /// # Errors
    /// A file is unreadable or lacks what it should hold, or the two do not belong together. Each
    /// error names the file.
    pub fn from_pem_files(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let chain = certificates(certificate)?;
        let secret =
            PrivateKeyDer::from_pem_file(key).map_err(|e| file_error("private key", key, e))?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unexpected)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(|e| TlsError::Pair {
                certificate: certificate.into(),
                key: key.into(),
                why: e.to_string(),
            })?;
        Ok(Self { acceptor: Arc::new(config).into() })
    }

    /// Shakes hands with a client. Waits for as long as it takes; give it a deadline
    /// ([`LinkLimits::handshake`](crate::limits::LinkLimits::handshake)).
    ///
    /// # Errors
    /// The client left, or speaks no TLS that is acceptable.
    pub async fn accept<S>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.acceptor.accept(stream).await
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}
