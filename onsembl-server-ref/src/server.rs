//! A whole server, to run or to embed.

use crate::auth::{SecretError, Tokens};
use crate::board::Boards;
use crate::dashboard::Dashboard;
use crate::http::{self, AcceptLimits, App};
pub use crate::hub::{BeatHop, BeatSeen};
use crate::hub::{Hub, HubHandle, HubParts, Request};
use crate::retention::{self, Retention};
use crate::store::{Store, StoreError};
use onsembl_protocol::id::ServerInstanceId;
use onsembl_protocol::session::ServerConfig;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::tls::{ServerTls, TlsError};
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long links may take to end when the server does.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a server needs to know.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder with the database and the signing secret; made if it is missing.
    pub data: PathBuf,
    /// The rules for agents.
    pub agents: ServerConfig,
    /// Certificate chain and key, as PEM files, for `wss` and `https`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Bytes in which the inputs of all connections are kept for `export`; none with zero.
    pub recording: usize,
    /// How much stored output is kept.
    pub retention: Retention,
    /// Who wants to watch heartbeats. Not bounded: whoever asks to watch must read.
    pub observer: Option<mpsc::UnboundedSender<BeatSeen>>,
}

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The signing secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Another server uses the data folder.
    #[error("another onsembl-server runs on {0}; stop it, or name another folder with --data")]
    InUse(PathBuf),
    /// The lock file of the data folder cannot be used.
    #[error("cannot lock {path}: {error}")]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The address.
    #[error("cannot listen on {address}: {error}; name another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        error: std::io::Error,
    },
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tls: bool,
    tokens: Tokens,
    counters: Counters,
    store: Store,
    hub: HubHandle,
    stop: CancellationToken,
    links: TaskTracker,
    hub_task: JoinHandle<()>,
    accept_task: JoinHandle<()>,
    /// Held until this server is gone, so that no second one writes the same database.
    _lock: File,
}

impl Server {
    /// Opens the database, recovers what an earlier run left, and listens.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    pub async fn start(options: ServerOptions) -> Result<Self, StartError> {
        let tokens = Tokens::open(&options.data)?;
        let lock = lock(&options.data)?;
        let tls = match &options.tls {
            Some((certificate, key)) => Some(ServerTls::from_pem_files(certificate, key)?),
            None => None,
        };
        let (store, receipts) = Store::open(&options.data, SystemClock::new().now().wall).await?;
        let tcp = TcpListener::bind(options.listen)
            .await
            .map_err(|error| StartError::Listen { address: options.listen, error })?;
        let address = tcp
            .local_addr()
            .map_err(|error| StartError::Listen { address: options.listen, error })?;
        let stop = CancellationToken::new();
        let instance = ServerInstanceId::new(uuid::Uuid::now_v7().to_string());
        let counters = Counters::default();
        let boards = Boards::default();
        let parts = HubParts {
            store: store.clone(),
            receipts,
            boards: boards.clone(),
            counters: counters.clone(),
            config: options.agents,
            instance: instance.clone(),
            recording: options.recording,
            observer: options.observer,
        };
        let (hub_loop, hub) = Hub::open(parts).await?;
        let dashboard = Dashboard {
            hub: hub.clone(),
            boards: boards.clone(),
            store: store.clone(),
            tokens: tokens.clone(),
            counters: counters.clone(),
            instance,
            stop: stop.clone(),
        };
        let links = TaskTracker::new();
        let app = App {
            tokens: tokens.clone(),
            boards,
            store: store.clone(),
            hub: hub.clone(),
            counters: counters.clone(),
            dashboard: Arc::new(dashboard),
            exports: Arc::new(Semaphore::new(http::EXPORTS)),
            readers: Arc::new(Semaphore::new(http::READERS)),
            links: links.clone(),
        };
        let accept = http::accept(
            tcp,
            tls.clone(),
            http::router(app),
            AcceptLimits::DEFAULT,
            counters.clone(),
            stop.clone(),
        );
        drop(links.spawn(retention::keep(store.clone(), options.retention, stop.clone())));
        info!(%address, tls = tls.is_some(), data = %options.data.display(), "listening");
        Ok(Self {
            address,
            tls: tls.is_some(),
            tokens,
            counters,
            store,
            hub,
            stop,
            links,
            hub_task: tokio::spawn(hub_loop.run()),
            accept_task: tokio::spawn(accept),
            _lock: lock,
        })
    }

    /// The address it really listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to reach it by.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Makes and checks its tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// What went wrong or was borne.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes no more connections, says goodbye to every peer with a code that asks to come back,
    /// writes what is open, and ends.
    pub async fn stop(self) {
        info!("stopping");
        self.stop.cancel();
        let (done, finished) = oneshot::channel();
        if self.hub.ask(Request::Shutdown(done)).await {
            // An error means that the hub ended first, which is what is waited for.
            let _ = tokio::time::timeout(GOODBYE, finished).await;
        }
        self.links.close();
        if tokio::time::timeout(GOODBYE, self.links.wait()).await.is_err() {
            warn!("some links did not end in time");
        }
        for (what, task) in [("hub", self.hub_task), ("accept loop", self.accept_task)] {
            if tokio::time::timeout(GOODBYE, task).await.is_err() {
                warn!(what, "did not end in time");
            }
        }
        if let Err(error) = self.store.close(GOODBYE).await {
            warn!(%error, "the database was not closed in order");
        }
    }
}

fn lock(data: &Path) -> Result<File, StartError> {
    let path = data.join("server.lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(|error| StartError::Lock { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(StartError::Lock { path, error }),
    }
}
