//! Certificates and keys from PEM, in files or given; and whether files changed.

use super::TlsError;
#[cfg(feature = "websocket")]
use super::config::Pem;
use crate::private::Mode;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(super) fn unexpected(error: impl Error + Send + Sync + 'static) -> TlsError {
    TlsError::Provider(error.into())
}

/// Who can write a file of certificates or a key decides whom the program trusts, or for whom it is taken. One that
/// every user of the machine can write is not used; of a group it is said, since volumes of containers belong to one.
fn check_writers(what: &'static str, path: &Path) -> Result<(), TlsError> {
    // What cannot be looked at cannot be read either, and that names the fault.
    let Ok(mode) = Mode::at(path) else { return Ok(()) };
    if mode.others_write() {
        return Err(TlsError::OpenToWrite { what, path: path.into(), mode: mode.to_string() });
    }
    if mode.group_writes() {
        tracing::warn!(path = %path.display(), %mode, "a group of this machine can write the {what} file; run `chmod g-w` on it unless intended");
    }
    Ok(())
}

/// At least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    check_writers(CERTIFICATE, path)?;
    let failed = |e| file_error(CERTIFICATE, path, e);
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::Missing { what: CERTIFICATE, path: path.into() });
    }
    Ok(found)
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    check_writers(KEY, path)?;
    PrivateKeyDer::from_pem_file(path).map_err(|e| file_error(KEY, path, e))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
fn file_error(what: &'static str, path: &Path, error: PemError) -> TlsError {
    let path = path.into();
    match error {
        PemError::NoItemsFound => TlsError::Missing { what, path },
        PemError::Io(error) => TlsError::File { what, path, why: error.into() },
        error => TlsError::File { what, path, why: error.into() },
    }
}

#[cfg(feature = "websocket")]
impl Pem {
    /// At least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = match self {
            Self::File(path) => return certificates(path),
            Self::Given(text) => text,
        };
        let unusable = |why| TlsError::Given { what: CERTIFICATE, why };
        let found: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(|e| unusable(e.into()))?;
        if found.is_empty() {
            return Err(unusable("there is none in it".into()));
        }
        Ok(found)
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        match self {
            Self::File(path) => private_key(path),
            Self::Given(text) => PrivateKeyDer::from_pem_slice(text)
                .map_err(|e| TlsError::Given { what: KEY, why: e.into() }),
        }
    }

    /// Blocks.
    pub(super) fn stamp(&self) -> Stamp {
        match self {
            Self::File(path) => Stamp::of(path),
            Self::Given(_) => Stamp::NONE,
        }
    }

    /// Where it is, for people.
    pub(super) fn whence(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Given(_) => "what was given".to_owned(),
        }
    }
}

/// From when on a certificate is valid.
pub(super) fn begin_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let since = u64::try_from(read.validity().not_before.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

/// When a certificate ends.
pub(super) fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let since = u64::try_from(read.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

/// Which file it is, when it was last written and how long it is: enough to see that it was replaced, also by one
/// of the same length whose time was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, SystemTime, u64)>);

impl Stamp {
    /// Of what is in no file, or in one that cannot be looked at.
    #[cfg(feature = "websocket")]
    pub(super) const NONE: Self = Self(None);

    /// Blocks.
    pub(super) fn of(path: &Path) -> Self {
        let found = std::fs::metadata(path).and_then(|m| Ok((inode(&m), m.modified()?, m.len())));
        Self(found.ok())
    }
}

#[cfg(unix)]
fn inode(found: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

/// Nothing of the kind is known here.
#[cfg(not(unix))]
const fn inode(_: &std::fs::Metadata) -> u64 {
    0
}
