//! What a server needs to know, and why it cannot start.

use crate::auth::SecretError;
pub use crate::http::{CorsOrigin, NoOrigin};
pub use crate::hub::{BeatHop, BeatSeen};
use crate::retention::Retention;
use crate::store::{StoreError, StoreLimits};
pub use ipnet::IpNet;
pub use onsembl_protocol::fleet::KeptFor;
use onsembl_protocol::session::ServerConfig;
use onsembl_transport::server::RECORDING;
#[cfg(feature = "otel")]
pub use onsembl_transport::traces::{TraceSettings, TracesError};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// What a server needs to know. Where it listens is not in it: see
/// [`Server::listen`](super::Server::listen) and [`Server::router`](super::Server::router).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The folder with the database; made if it is missing. One server at a time uses it.
    pub data: PathBuf,
    /// The rules for agents; [`ServerConfig::DEFAULT`] unless set.
    pub agents: ServerConfig,
    /// Bytes in which the inputs of all connections are kept for `export`; none with zero. 8 MiB
    /// ([`RECORDING`]) unless set.
    pub recording: usize,
    /// How much stored output is kept; [`Retention::DEFAULT`] unless set.
    pub retention: Retention,
    /// How long agents that are away are kept before they are forgotten: permanently unless set, and ephemeral ones for
    /// [`KeptFor::EPHEMERAL`].
    pub kept: KeptFor,
    /// Connections with a good token at a time; as many as the limit on file descriptors allows, and
    /// [`CONNECTIONS`] at most, unless set.
    pub connections: usize,
    /// How much the database may hold; [`StoreLimits::DEFAULT`] unless set.
    pub store: StoreLimits,
    /// The networks of proxies that are trusted to say for whom they connect, by `X-Forwarded-For` or
    /// the PROXY protocol; none unless set. Counts only for [`Server::listen`](super::Server::listen)
    /// and [`Server::serve`](super::Server::serve).
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may use the API from a browser; none unless set.
    pub cors_origins: Vec<CorsOrigin>,
    /// Where the spans of commands go; nowhere unless set.
    #[cfg(feature = "otel")]
    pub traces: Option<TraceSettings>,
    /// Is called with each hop of each heartbeat; nothing unless set. If it does not keep up, it misses some, which the
    /// counter `observations_dropped` counts.
    pub observer: Option<BeatObserver>,
}

/// Connections with a good token at a time, unless it is said otherwise: 16,384, four times what a server of two
/// processors was measured with.
pub const CONNECTIONS: usize = 16_384;

impl ServerOptions {
    /// The defaults, with the database in this folder.
    ///
    /// ```
    /// use onsembl_protocol::session::ServerConfig;
    /// use onsembl_server_ref::server::ServerOptions;
    /// use std::time::Duration;
    ///
    /// let mut options = ServerOptions::new("/var/lib/onsembl");
    /// options.agents = ServerConfig::DEFAULT.with_resume_window(Duration::from_secs(600));
    /// ```
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            agents: ServerConfig::DEFAULT,
            recording: RECORDING,
            retention: Retention::DEFAULT,
            kept: KeptFor { ephemeral: KeptFor::EPHEMERAL, others: None },
            connections: CONNECTIONS,
            store: StoreLimits::DEFAULT,
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            #[cfg(feature = "otel")]
            traces: None,
            observer: None,
        }
    }
}

/// Watches heartbeats. It is called from a task of its own, for one hop at a time. What waits for it
/// is not bounded, so it must return at once.
#[derive(Clone)]
pub struct BeatObserver(Arc<dyn Fn(BeatSeen) + Send + Sync>);

impl BeatObserver {
    /// Calls this function.
    pub fn new(see: impl Fn(BeatSeen) + Send + Sync + 'static) -> Self {
        Self(Arc::new(see))
    }

    pub(super) fn see(&self, beat: BeatSeen) {
        (self.0)(beat);
    }
}

impl fmt::Debug for BeatObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeatObserver")
    }
}

/// Why a server cannot start. Nothing runs then.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum StartError {
    /// The signing secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another server uses the data folder.
    #[error(
        "another onsembl-server runs on {0}, or some program holds the lock server.lock in it (`fuser` shows which); \
         stop it, or name another folder with --data"
    )]
    InUse(PathBuf),
    /// The data folder cannot be made or looked at.
    #[error(
        "cannot use the data folder {path}: {error}; name one that this user may write with --data"
    )]
    Folder {
        path: PathBuf,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// Others can replace what is in the data folder.
    #[error(
        "every user of this machine can write in the data folder {path} (mode {mode}), and so replace the signing \
         secret; run `chmod 700 {path}`, and if others may have been there, check its contents"
    )]
    OpenFolder {
        path: PathBuf,
        /// In octal.
        mode: String,
    },
    /// The export of traces.
    #[cfg(feature = "otel")]
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The lock file of the data folder cannot be used.
    #[error("cannot lock {path}: {error}")]
    Lock {
        path: PathBuf,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
}

impl StartError {
    /// Whether the next start would fail as well, until a person has done something about the data folder. What else
    /// fails may pass: another server ends, a disk answers again.
    pub(crate) const fn needs_a_person(&self) -> bool {
        match self {
            Self::Secret(error) => match error {
                SecretError::Exposed { .. }
                | SecretError::Lost { .. }
                | SecretError::TooShort { .. } => true,
                SecretError::Io { .. } => false,
            },
            Self::Store(error) => error.needs_a_person(),
            Self::OpenFolder { .. } => true,
            #[cfg(feature = "otel")]
            Self::Traces(_) => false,
            Self::InUse(_) | Self::Folder { .. } | Self::Lock { .. } => false,
        }
    }
}
