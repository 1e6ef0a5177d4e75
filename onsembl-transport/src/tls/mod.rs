//! TLS for links: rustls with ring, told so explicitly, so that no process-wide provider matters.
//!
//! The one place that chooses the crypto provider and reads certificates. rustls types stay here.
//! Certificates are renewed on disk while programs run: both ends read them again when they changed,
//! and keep what they have if the new ones cannot be used.

mod client;
mod fault;
mod name;
mod server;

pub(crate) use client::ClientTls;
pub(crate) use fault::TlsFault;
pub use server::{Reloaded, ServerTls};

use crate::private::Mode;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Which certificates a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum TlsRoots {
    /// Those of the operating system.
    Native,
    /// Those in this PEM file, and no others.
    Pem(PathBuf),
}

/// TLS that cannot be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("cannot read {what} from {}: {why}; give a readable PEM file", path.display())]
    File { what: &'static str, path: PathBuf, why: String },
    /// A PEM file without what was looked for.
    #[error("{} holds no {what}; give a PEM file that does", path.display())]
    Missing { what: &'static str, path: PathBuf },
    /// Others can put into the file what they want. The mode is in octal.
    #[error(
        "every user of this machine can write the {what} file {} (mode {mode}), so what is in it is not used; run \
         `chmod go-w` on it, and look whether it holds what you put there", path.display()
    )]
    OpenToWrite { what: &'static str, path: PathBuf, mode: String },
    /// The certificate and the key of a server are unusable together.
    #[error(
        "the certificate {} and the key {} cannot be used: {why}; give a chain that begins with \
         the certificate of that key",
        certificate.display(), key.display()
    )]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        /// What rustls says.
        why: String,
    },
    /// A certificate in the file cannot be trusted, as it is malformed.
    #[error("a certificate in {} is malformed: {why}; replace it", path.display())]
    BadRoot {
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

/// Who can write a file of certificates or a key decides whom the program trusts, or for whom it is taken. One that
/// every user of the machine can write is not used; of a group it is said, since volumes of containers belong to one.
fn check_writers(what: &'static str, path: &Path) -> Result<(), TlsError> {
    // What cannot be looked at cannot be read either, and that names the fault.
    let Ok(mode) = Mode::at(path) else { return Ok(()) };
    if mode.others_write() {
        return Err(TlsError::OpenToWrite { what, path: path.into(), mode: mode.to_string() });
    }
    if mode.group_writes() {
        tracing::warn!(path = %path.display(), %mode, "a group of this machine can write the {what} file; run `chmod g-w` on it unless that is meant");
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificate";
    check_writers(what, path)?;
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

#[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
fn file_error(what: &'static str, path: &Path, error: PemError) -> TlsError {
    let path = path.into();
    match error {
        PemError::NoItemsFound => TlsError::Missing { what, path },
        PemError::Io(error) => TlsError::File { what, path, why: error.to_string() },
        error => TlsError::File { what, path, why: error.to_string() },
    }
}

/// From when on a certificate is valid.
fn begin_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let since = u64::try_from(read.validity().not_before.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

/// When a certificate ends.
fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let since = u64::try_from(read.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

/// Which file it is, when it was last written and how long it is: enough to see that it was replaced, also by one
/// of the same length whose time was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(Option<(u64, SystemTime, u64)>);

impl Stamp {
    /// Blocks. A file that cannot be looked at has the stamp of one that is not there.
    fn of(path: &Path) -> Self {
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
