//! TLS that cannot be set up.

use std::error::Error as StdError;
use std::path::PathBuf;
use thiserror::Error;

/// What another library says, which is the [source](StdError::source) of an error here.
type Cause = Box<dyn StdError + Send + Sync>;

/// TLS that cannot be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("cannot read {what} from {}: {why}; give a readable PEM file", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        why: Cause,
    },
    /// A PEM file without what was looked for.
    #[error("{} holds no {what}; give a PEM file that does", path.display())]
    Missing { what: &'static str, path: PathBuf },
    /// A PEM text that was given is no PEM, or holds nothing of what was looked for.
    #[error("the {what} that was given cannot be used: {why}; give it as PEM")]
    Given {
        what: &'static str,
        #[source]
        why: Cause,
    },
    /// Others can put into the file what they want. The mode is in octal.
    #[error(
        "every user of this machine can write the {what} file {} (mode {mode}), so its contents are not used; run `chmod go-w` on it, and check its contents", path.display()
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
        #[source]
        why: Cause,
    },
    /// The certificate and the key of a client are unusable together.
    #[error(
        "the client certificate and its key cannot be used: {why}; give a chain that begins with the certificate of \
         that key"
    )]
    Identity {
        /// What rustls says.
        #[source]
        why: Cause,
    },
    /// A certificate to trust cannot be: it is malformed.
    #[error("a certificate in {whence} is malformed: {why}; replace it")]
    BadRoot {
        /// The file, or that it was given as a text.
        whence: String,
        /// What rustls says.
        #[source]
        why: Cause,
    },
    /// The operating system has no certificates to trust.
    #[error(
        "the operating system offers no certificates to trust ({0}); install its CA certificates \
         or name a PEM file"
    )]
    NoNativeRoots(#[source] Cause),
    /// The host of the URL can stand in no certificate.
    #[error("no certificate can name the host {0:?}; check the server URL")]
    HostName(String),
    /// The program was built without this feature of this crate.
    #[error(
        "this program was built without the feature `{0}` of onsembl-transport; build it with that feature, or use options that do not need it"
    )]
    NotBuilt(&'static str),
    /// rustls refuses its own provider. Not expected.
    #[error("TLS cannot be set up: {0}; report this as a bug")]
    Provider(#[source] Cause),
}
