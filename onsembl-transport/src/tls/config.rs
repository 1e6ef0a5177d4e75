//! What a client is told of TLS: whom it trusts, and who it is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "rustls")]
use tokio_rustls::rustls::ClientConfig;

/// Which certificates a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum TlsRoots {
    /// Those of the operating system; needs the feature `native-roots`.
    Native,
    /// Those in this PEM file, and no others.
    Pem(PathBuf),
}

/// TLS of a client: whom it trusts, and with which certificate it says who it is, if with any.
///
/// Files are read when a dialer is made, and again when they changed. All of it needs the feature `rustls`: a program
/// that was built without it can make one, and gets an error when it dials by it.
///
/// ```
/// use onsembl_transport::tls::TlsConfig;
///
/// // A fleet with a CA of its own, whose agents have certificates.
/// let tls = TlsConfig::pem_file("/etc/onsembl/ca.pem")
///     .with_client_certificate_files("/etc/onsembl/agent.pem", "/etc/onsembl/agent.key");
/// ```
#[derive(Clone, Debug)]
pub struct TlsConfig(pub(super) Source);

#[derive(Clone)]
pub(super) enum Source {
    Ours {
        roots: Roots,
        identity: Option<Identity>,
    },
    #[cfg(feature = "rustls")]
    Rustls(Arc<ClientConfig>),
}

#[derive(Clone, Debug)]
pub(super) enum Roots {
    Native,
    Pem(Pem),
}

/// The certificate of a client, and its key.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) certificate: Pem,
    pub(super) key: Pem,
}

/// Where a PEM text is.
#[derive(Clone)]
pub(super) enum Pem {
    File(PathBuf),
    Given(Arc<[u8]>),
}

impl TlsConfig {
    /// Trusts the certificates of the operating system. Needs the feature `native-roots`.
    #[must_use]
    pub const fn native() -> Self {
        Self::trusting(Roots::Native)
    }

    /// Trusts the certificates in this PEM file, and no others.
    #[must_use]
    pub fn pem_file(path: impl Into<PathBuf>) -> Self {
        Self::trusting(Roots::Pem(Pem::File(path.into())))
    }

    /// Trusts the certificates in this PEM text, and no others.
    #[must_use]
    pub fn pem(text: impl Into<Vec<u8>>) -> Self {
        Self::trusting(Roots::Pem(Pem::given(text)))
    }

    /// As this configuration of rustls says, whatever it trusts, shows and speaks. If it names no protocol (ALPN),
    /// `http/1.1` is offered, which WebSockets need.
    ///
    /// It is of the version that this crate uses, [`rustls`](super::rustls); a major version of that is one of this
    /// crate.
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn from_rustls(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self(Source::Rustls(config.into()))
    }

    const fn trusting(roots: Roots) -> Self {
        Self(Source::Ours { roots, identity: None })
    }

    /// Shows this certificate to servers that ask for one (mutual TLS): PEM files of the chain, the client's own
    /// certificate first, and of its private key. A configuration [of rustls](Self::from_rustls) has its own, and stays
    /// as it is.
    #[must_use]
    pub fn with_client_certificate_files(
        self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.with_identity(Pem::File(certificate.into()), Pem::File(key.into()))
    }

    /// The same from PEM texts.
    #[must_use]
    pub fn with_client_certificate(
        self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.with_identity(Pem::given(certificate), Pem::given(key))
    }

    fn with_identity(self, certificate: Pem, key: Pem) -> Self {
        match self.0 {
            Source::Ours { roots, .. } => {
                Self(Source::Ours { roots, identity: Some(Identity { certificate, key }) })
            }
            #[cfg(feature = "rustls")]
            config @ Source::Rustls(_) => Self(config),
        }
    }
}

impl From<TlsRoots> for TlsConfig {
    fn from(roots: TlsRoots) -> Self {
        match roots {
            TlsRoots::Native => Self::native(),
            TlsRoots::Pem(path) => Self::pem_file(path),
        }
    }
}

impl From<&TlsRoots> for TlsConfig {
    fn from(roots: &TlsRoots) -> Self {
        roots.clone().into()
    }
}

impl From<&Self> for TlsConfig {
    fn from(config: &Self) -> Self {
        config.clone()
    }
}

impl Pem {
    fn given(text: impl Into<Vec<u8>>) -> Self {
        Self::Given(text.into().into())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours { roots, identity } => {
                f.debug_struct("Ours").field("roots", roots).field("identity", identity).finish()
            }
            #[cfg(feature = "rustls")]
            Self::Rustls(_) => f.write_str("Rustls(..)"),
        }
    }
}

/// Never the text: it may be a private key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Given(_) => f.write_str("Given(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_shown() {
        let tls = TlsConfig::native().with_client_certificate("-----BEGIN", "swordfish");
        let shown = format!("{tls:?}");
        assert!(!shown.contains("swordfish") && shown.contains("Given(..)"), "{shown}");
    }
}
