//! TLS of a server: one certificate chain and its key, read again when they were renewed.

use super::TlsError;
use super::files::{Stamp, begin_of, certificates, end_of, private_key, provider, unexpected};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// TLS of a server: one certificate chain and its key. All clones share them.
///
/// ```no_run
/// use onsembl_transport::LinkLimits;
/// use onsembl_transport::tls::ServerTls;
/// use onsembl_transport::websocket::WebSocketListener;
/// use tokio::net::TcpListener;
///
/// # async fn listen() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = ServerTls::from_pem_files("/etc/onsembl/server.pem", "/etc/onsembl/server.key")?;
/// let tcp = TcpListener::bind("0.0.0.0:8443").await?;
/// let listener = WebSocketListener::new(tcp, Some(tls), LinkLimits::DEFAULT);
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServerTls {
    shared: Arc<Shared>,
}

struct Shared {
    certificate: PathBuf,
    key: PathBuf,
    pair: Mutex<Pair>,
}

struct Pair {
    acceptor: TlsAcceptor,
    /// When the first certificate of the chain ends; `None` if that cannot be read from it.
    ends: Option<SystemTime>,
    /// From when on all of the chain is valid; `None` likewise.
    begins: Option<SystemTime>,
    /// Of the certificate and of the key, when they were last read.
    stamps: [Stamp; 2],
}

/// What became of a look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// They are as they were.
    Unchanged,
    /// The new pair is in use, for handshakes from now on.
    Renewed,
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
        let (certificate, key) = (certificate.as_ref().to_owned(), key.as_ref().to_owned());
        let stamps = [Stamp::of(&certificate), Stamp::of(&key)];
        let (acceptor, begins, ends) = acceptor(&certificate, &key)?;
        let pair = Pair { acceptor, ends, begins, stamps };
        Ok(Self { shared: Arc::new(Shared { certificate, key, pair: Mutex::new(pair) }) })
    }

    /// Reads the files again if one of them changed since they were last read. Blocks while it reads.
    ///
    /// # Errors
    /// As for [`from_pem_files`](Self::from_pem_files). The pair in use stays in use, and the files
    /// are not read again before one of them changes: a renewal writes them one after the other.
    pub fn reload_if_changed(&self) -> Result<Reloaded, TlsError> {
        let Shared { certificate, key, .. } = &*self.shared;
        let stamps = [Stamp::of(certificate), Stamp::of(key)];
        if self.pair().stamps == stamps {
            return Ok(Reloaded::Unchanged);
        }
        self.reload()?;
        Ok(Reloaded::Renewed)
    }

    /// Reads the files again, changed or not. Blocks while it reads.
    ///
    /// # Errors
    /// As for [`from_pem_files`](Self::from_pem_files). The pair in use stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Shared { certificate, key, .. } = &*self.shared;
        let stamps = [Stamp::of(certificate), Stamp::of(key)];
        let renewed = acceptor(certificate, key);
        let mut pair = self.pair();
        pair.stamps = stamps;
        (pair.acceptor, pair.begins, pair.ends) = renewed?;
        Ok(())
    }

    /// Until when clients accept what is in use: the end of the first certificate in the chain that ends. `None` if
    /// none says so in a way that can be read.
    #[must_use]
    pub fn ends(&self) -> Option<SystemTime> {
        self.pair().ends
    }

    /// From when on clients accept it: the latest begin in the chain. `None` if none says so in a way that can be read.
    #[must_use]
    pub fn begins(&self) -> Option<SystemTime> {
        self.pair().begins
    }

    /// The file of the chain.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.shared.certificate
    }

    /// The file of the private key.
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.shared.key
    }

    /// Shakes hands with a client. Waits for as long as it takes; give it a deadline
    /// ([`LinkLimits::handshake`](crate::limits::LinkLimits::handshake)).
    ///
    /// # Errors
    /// The client left, or does not offer acceptable TLS.
    pub async fn accept<S>(
        &self,
        stream: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let acceptor = self.pair().acceptor.clone();
        acceptor.accept(stream).await
    }

    fn pair(&self) -> MutexGuard<'_, Pair> {
        self.shared.pair.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What shakes hands with this pair, and from when until when clients accept it.
type Acceptor = (TlsAcceptor, Option<SystemTime>, Option<SystemTime>);

fn acceptor(certificate: &Path, key: &Path) -> Result<Acceptor, TlsError> {
    let chain = certificates(certificate)?;
    let begins = chain.iter().filter_map(begin_of).max();
    let ends = chain.iter().filter_map(end_of).min();
    let secret = private_key(key)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unexpected)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|e| TlsError::Pair {
            certificate: certificate.into(),
            key: key.into(),
            why: e.into(),
        })?;
    Ok((Arc::new(config).into(), begins, ends))
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}
