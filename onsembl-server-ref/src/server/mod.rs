//! A whole server as one value: to run by itself, or inside another axum service.
//!
//! By itself it listens, with bounds on connections that are unknown yet:
//!
//! ```no_run
//! use onsembl_server_ref::server::{Server, ServerOptions};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut server = Server::start(ServerOptions::new("/var/lib/onsembl")).await?;
//! let listening = server.listen("127.0.0.1:8080".parse()?, None).await?;
//! println!("{listening}");
//! tokio::signal::ctrl_c().await?;
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Inside another service it gives a router, to merge or to nest, and asks that service's [`Auth`]
//! who connects:
//!
//! ```no_run
//! use onsembl_server_ref::auth::Auth;
//! use onsembl_server_ref::server::{Server, ServerOptions};
//!
//! # async fn run(accounts: impl Auth, listener: tokio::net::TcpListener)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! let options = ServerOptions::new("/var/lib/my-service/onsembl");
//! let server = Server::start_with_auth(options, accounts).await?;
//! let app = axum::Router::new().nest("/onsembl", server.router());
//! axum::serve(listener, app).with_graceful_shutdown(async { /* until it is to end */ }).await?;
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/existing_service.rs` is a whole service. What belongs to its listener then: TLS, the
//! longest wait for a request head, the number of connections, `TCP_NODELAY`, and HTTP/1.1 (a
//! WebSocket over HTTP/2 is refused).
//!
//! Three foreign types are in this interface: where both services meet, axum's `Router` (0.8) and tokio's
//! `TcpListener` (1); and [`IpNet`] (ipnet 2), a network of trusted proxies.

mod data_folder;
mod data_lock;
mod descriptors;
mod listening;
mod no_room;
mod options;
mod restore;

pub(crate) use restore::{Restored, restore};

pub use descriptors::raise_descriptor_limit;
pub use listening::{ListenError, Listening};
pub use options::{
    BeatHop, BeatObserver, BeatSeen, CONNECTIONS, CorsOrigin, IpNet, NoOrigin, ServerOptions,
    StartError,
};
#[cfg(feature = "otel")]
pub use options::{TraceSettings, TracesError};

use crate::auth::{Auth, Authenticator, KnownTokens, Opens, Signing, Uses, keep_uses};
use crate::bounds::{Shares, TurnLimits, Turns};
use crate::dashboard::{self, Dashboard};
use crate::fleet_view::FleetViews;
use crate::forgetting::Forgetting;
use crate::http::{
    self, AcceptLimits, App, AppParts, Connections, LargeMessages, Listener, RoomLimits,
    TrustedProxies,
};
use crate::hub::{Hub, HubParts, Joining, Request};
use crate::metrics::Metrics;
use crate::own_faults::FaultRecord;
use crate::retention;
use crate::screens::Screens;
use crate::service::Pulse;
use crate::store::{self, Checked, Examined, Receipts, Store, UnreadableRow};
use crate::traces::Traces;
use crate::turned_away::TurnedAwayAgents;
use axum::Router;
use data_lock::DataLock;
use onsembl_protocol::id::{ServerInstanceId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::tls::ServerTls;
#[cfg(feature = "otel")]
use onsembl_transport::traces::Tracer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long the database is looked through for damage before a start. No request is served meanwhile; a disk of a small
/// machine gives some hundred megabytes in it.
const CHECKED_FOR: Duration = Duration::from_secs(3);

/// Agents that were in session this long before a start are expected back.
const AGENTS_OF_MS: i64 = 24 * 3600 * 1000;

/// Descriptors that scrapers of metrics are counted against: a few of them at a time.
const METRICS_DESCRIPTORS: u64 = 256;

/// Hops of heartbeats that an observer has not looked at yet: some seconds of a large fleet.
const OBSERVATIONS: usize = 16 * 1024;

/// How long links may take to end when the server does.
const GOODBYE: Duration = Duration::from_secs(5);

/// A server that runs. End it with [`stop`](Self::stop): one that is dropped instead keeps its data
/// folder, and continues, as long as a listener or a router of it is there.
#[derive(Debug)]
#[must_use = "it runs until it is stopped"]
pub struct Server {
    app: App,
    stop: CancellationToken,
    hub_task: JoinHandle<()>,
    accept_tasks: Vec<JoinHandle<()>>,
    proxies: TrustedProxies,
    lock: DataLock,
    /// What signs tokens, unless another service has the accounts.
    signing: Option<Signing>,
}

impl Server {
    /// Opens the database and recovers what an earlier run left. Peers show tokens that this database knows, which
    /// [`make_token`](crate::auth::make_token) makes, or that are signed with the secret in the data folder.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    pub async fn start(options: ServerOptions) -> Result<Self, StartError> {
        let signing = Signing::open(&options.data)?;
        let counters = Counters::default();
        let data = Data::open(&options, &counters).await?;
        let uses = Uses::new(counters.clone());
        let store = data.store.clone();
        let auth = KnownTokens::new(signing.clone(), store.clone(), uses.clone());
        let mut server = Self::run(options, data, Authenticator::new(auth), counters).await?;
        server.signing = Some(signing);
        drop(server.app.links.spawn(keep_uses(uses, store, server.stop.clone())));
        Ok(server)
    }

    /// The same, with the accounts of another service.
    ///
    /// # Errors
    /// [`StartError`]: nothing runs then.
    pub async fn start_with_auth(
        options: ServerOptions,
        auth: impl Auth,
    ) -> Result<Self, StartError> {
        let counters = Counters::default();
        let data = Data::open(&options, &counters).await?;
        Self::run(options, data, Authenticator::new(auth), counters).await
    }

    /// What a dashboard's session needs.
    #[cfg(test)]
    pub(crate) fn dashboard(&self) -> Dashboard {
        Dashboard::clone(&self.app.dashboard)
    }

    /// Something is opened with this token.
    #[cfg(test)]
    pub(crate) fn open(
        &self,
        kind: onsembl_protocol::fleet::OpenKind,
        identity: crate::auth::Identity,
    ) -> crate::auth::OpenRequest {
        self.app.opens.open(kind, identity)
    }

    async fn run(
        options: ServerOptions,
        data: Data,
        auth: Authenticator,
        counters: Counters,
    ) -> Result<Self, StartError> {
        let Data { lock, store, receipts } = data;
        let rules = options.agents;
        let stop = CancellationToken::new();
        let instance = ServerInstanceId::new(uuid::Uuid::now_v7().to_string());
        let fleet_views = FleetViews::new(rules);
        let metrics = Metrics::new(counters.clone());
        #[cfg(feature = "otel")]
        let traces = traces(options.traces.as_ref(), &counters)?;
        #[cfg(not(feature = "otel"))]
        let traces = Traces::default();
        let own_faults = FaultRecord::resume(&store, SystemClock::new().now().wall).await;
        let (opens, link_ends) = Opens::new(counters.clone());
        let parts = HubParts {
            store: store.clone(),
            receipts,
            link_ends,
            fleet_views: fleet_views.clone(),
            counters: counters.clone(),
            metrics: metrics.clone(),
            own_faults: own_faults.clone(),
            config: rules,
            instance: instance.clone(),
            recording: options.recording,
            traces,
            observer: options.observer.map(observe),
        };
        let (came_from, hub) = tokio::join!(came_from(&store), Hub::open(parts));
        let (hub_loop, hub) = hub?;
        let dashboard = Dashboard {
            hub: hub.clone(),
            fleet_views: fleet_views.clone(),
            store: store.clone(),
            auth: auth.clone(),
            counters: counters.clone(),
            metrics: metrics.clone(),
            instance,
            stop: stop.clone(),
            slots: Shares::new(dashboard::SLOTS, dashboard::SLOTS_WEIGHT),
            turns: Turns::new(TurnLimits::each(dashboard::AT_WORK)),
        };
        let joining = hub.joining().clone();
        let connections = Connections::new(descriptors::allowed(), options.connections, joining);
        let app = App::new(AppParts {
            auth,
            opens,
            fleet_views,
            screens: Screens::new(store.clone()),
            store,
            hub,
            rules,
            counters,
            metrics,
            own_faults,
            dashboard: Arc::new(dashboard),
            connections,
            origins: options.cors_origins.clone().into(),
            exports: Shares::new(http::EXPORTS, 1),
            doorways: Shares::new(usize::MAX, usize::MAX),
            large_messages: LargeMessages::new(http::LARGE_MESSAGES, 1),
            readers: Shares::new(http::READERS, 1),
            pages: Shares::new(http::PAGES, 1),
            refusals: Arc::default(),
            turned_away: TurnedAwayAgents::default(),
            links: TaskTracker::new(),
        });
        remember_agents(&app.connections, came_from);
        drop(app.links.spawn(app.opens.clone().keep(app.auth.clone(), stop.clone())));
        let keep = retention::keep(app.store.clone(), options.retention, stop.clone());
        drop(app.links.spawn(keep));
        drop(app.links.spawn(app.own_faults.clone().keep(app.store.clone(), stop.clone())));
        let forgetting = Forgetting {
            store: app.store.clone(),
            hub: app.hub.downgrade(),
            views: app.fleet_views.clone(),
            rules,
            kept: options.kept,
        };
        drop(app.links.spawn(forgetting.keep(stop.clone())));
        // The hub writes as long as it runs, also when the server was dropped without a stop.
        let (locked, ended) = (lock.clone(), stop.clone());
        let hub_task = tokio::spawn(async move {
            hub_loop.run().await;
            ended.cancel();
            drop(locked);
        });
        info!(data = %options.data.display(), "started");
        let proxies = TrustedProxies::new(&options.trusted_proxies);
        let accept_tasks = Vec::new();
        Ok(Self { app, stop, hub_task, accept_tasks, proxies, lock, signing: None })
    }

    /// Takes connections at this address, with TLS or without; port 0 takes a free one. A server may
    /// listen at several addresses.
    ///
    /// # Errors
    /// The address cannot be had. The server runs on.
    pub async fn listen(
        &mut self,
        address: SocketAddr,
        tls: Option<ServerTls>,
    ) -> Result<Listening, ListenError> {
        let listener =
            listening::bind(address).map_err(|error| ListenError::Bind { address, error })?;
        self.serve(listener, tls)
    }

    /// Shows the metrics at this address under `/metrics`, to everybody who can reach it: an address of this
    /// machine, or of a network of the operator's. Port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be had. The server runs on.
    pub async fn listen_for_metrics(
        &mut self,
        address: SocketAddr,
    ) -> Result<Listening, ListenError> {
        let listener =
            listening::bind(address).map_err(|error| ListenError::Bind { address, error })?;
        if !address.ip().is_loopback() {
            warn!(%address, "this address serves the metrics of all users without authentication; restrict access to it");
        }
        // Apart from those of peers: a flood of them must not hide itself.
        let connections = Connections::new(METRICS_DESCRIPTORS, 1, Joining::default());
        let router = http::open_metrics(self.app.clone());
        let listening = self.accept_from(listener, None, router, connections)?;
        info!(address = %listening.address(), "serving metrics");
        Ok(listening)
    }

    /// Takes connections from a listener that exists already.
    ///
    /// # Errors
    /// The listener does not know its address. The server runs on.
    pub fn serve(
        &mut self,
        listener: TcpListener,
        tls: Option<ServerTls>,
    ) -> Result<Listening, ListenError> {
        let router = http::standalone(self.app.clone());
        self.accept_from(listener, tls, router, self.app.connections.clone())
    }

    fn accept_from(
        &mut self,
        listener: TcpListener,
        tls: Option<ServerTls>,
        router: Router,
        connections: Connections,
    ) -> Result<Listening, ListenError> {
        let address = listener.local_addr().map_err(ListenError::Address)?;
        let with_tls = tls.is_some();
        let listening = Listening::new(address, tls.as_ref());
        let listener = Listener {
            tcp: listener,
            tls,
            router,
            connections,
            proxies: self.proxies.clone(),
            counters: self.app.counters.clone(),
        };
        let accept = http::accept(listener, AcceptLimits::DEFAULT, self.stop.clone());
        self.accept_tasks.push(tokio::spawn(accept));
        info!(%address, tls = with_tls, "listening");
        Ok(listening)
    }

    /// The API (`/api/…`) and the WebSocket paths (`/ws/agent`, `/ws/dashboard` and older ones), for
    /// the listener of another service. It has no fallback. Once the server stops, it answers
    /// everything with 503.
    pub fn router(&self) -> Router {
        http::router(self.app.clone())
    }

    /// `/healthz` and `/readyz`, for a service that has no such pages. They ask for no identity.
    pub fn health_router(&self) -> Router {
        http::health(self.app.clone())
    }

    /// `/metrics`, for a service that guards it itself. It asks for no identity, and shows what is of all users.
    pub fn metrics_router(&self) -> Router {
        http::open_metrics(self.app.clone())
    }

    /// What answers as long as this server lives.
    pub(crate) fn pulse(&self) -> Pulse {
        Pulse::new(self.app.hub.clone(), &self.app.store)
    }

    /// Looks up now whether tokens were revoked under which something is open; otherwise it is done every 5 s.
    pub(crate) fn look_up_tokens(&self) {
        self.app.opens.look_up_soon();
    }

    /// Reads the signing secret again, beside everything else.
    pub(crate) fn reload_secret(&self) {
        let opens = self.app.opens.clone();
        self.beside(move |signing| signing.reload(&opens));
    }

    /// Looks whether the signing secret on the disk is the one in use, beside everything else.
    pub(crate) fn look_at_secret(&self) {
        self.beside(Signing::look);
    }

    /// A disk that does not answer holds up nothing.
    fn beside(&self, work: impl FnOnce(&Signing) + Send + 'static) {
        if let Some(signing) = self.signing.clone() {
            drop(tokio::task::spawn_blocking(move || work(&signing)));
        }
    }

    /// What went wrong or was tolerated.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.app.counters
    }

    /// Takes no more connections, says goodbye to every peer with a code that asks to come back,
    /// writes what is open, and ends. Takes 5 s for each of these at most.
    ///
    /// Another service should end its own listener before: peers come back at once, and would get a
    /// 503 until it has ended.
    pub async fn stop(self) {
        info!("stopping");
        self.stop.cancel();
        let (done, finished) = oneshot::channel();
        if self.app.hub.ask(Request::Shutdown(done)).await {
            // An error means that the hub ended first, which is what is waited for.
            let _ = tokio::time::timeout(GOODBYE, finished).await;
        }
        self.app.links.close();
        if tokio::time::timeout(GOODBYE, self.app.links.wait()).await.is_err() {
            warn!("some links did not end in time");
        }
        let accepting = self.accept_tasks.into_iter().map(|task| ("accept loop", task));
        for (what, task) in std::iter::once(("hub", self.hub_task)).chain(accepting) {
            if tokio::time::timeout(GOODBYE, task).await.is_err() {
                warn!(what, "did not end in time");
            }
        }
        if let Err(error) = self.app.store.clone().close(GOODBYE).await {
            warn!(%error, "the database could not be closed cleanly");
        }
        drop(self.lock);
    }
}

/// The export of traces, if there is one.
#[cfg(feature = "otel")]
fn traces(settings: Option<&TraceSettings>, counters: &Counters) -> Result<Traces, TracesError> {
    let Some(settings) = settings else { return Ok(Traces::default()) };
    let tracer = Tracer::start(settings, counters.clone())?;
    Ok(Traces::new(tracer, counters.clone()))
}

/// An open data folder.
struct Data {
    lock: DataLock,
    store: Store,
    receipts: Receipts,
}

impl Data {
    async fn open(options: &ServerOptions, counters: &Counters) -> Result<Self, StartError> {
        data_folder::make_private(&options.data)?;
        let lock = DataLock::take(&options.data).await?;
        let now = SystemClock::new().now().wall;
        let (store, receipts) = Store::open_within(&options.data, now, options.store).await?;
        let data = options.data.clone();
        match tokio::task::spawn_blocking(move || store::check(&data, CHECKED_FOR)).await {
            Ok(examined) => {
                let Examined { checked, unreadable, others } = examined?;
                match checked {
                    Checked::Whole => {}
                    Checked::InPart => info!(
                        "the database is too large to be checked completely at start; the checked part is undamaged"
                    ),
                }
                for UnreadableRow { table, key, column } in &unreadable {
                    warn!(
                        file = store::FILE_NAME,
                        table,
                        column,
                        ?key,
                        "a stored row holds invalid JSON; this column is ignored, and left unchanged"
                    );
                }
                if others > 0 {
                    warn!(others, "there are more such rows");
                }
                let count = unreadable.len().saturating_add(others);
                (0..count).for_each(|_| counters.count("unreadable_rows"));
            }
            Err(error) => warn!(%error, "the database was not checked"),
        }
        Ok(Self { lock, store, receipts })
    }
}

/// The way of heartbeats to an observer. The hub must not run foreign code: it would wait for it.
fn observe(observer: BeatObserver) -> mpsc::Sender<BeatSeen> {
    let (see, mut seen) = mpsc::channel(OBSERVATIONS);
    drop(tokio::spawn(async move {
        while let Some(beat) = seen.recv().await {
            observer.see(beat);
        }
    }));
    see
}
/// From where agents came before the start: the users and addresses.
async fn came_from(store: &Store) -> Vec<(UserId, String)> {
    let since = store.retention().ages_by().unix_millis().saturating_sub(AGENTS_OF_MS);
    let since = WallTime::from_unix_millis(since);
    match store.sessions().agents_came_from(since, RoomLimits::DEFAULT.remembered).await {
        Ok(from) => from,
        Err(error) => {
            warn!(%error, "the addresses of agents before the start are unknown; no connections are reserved for them");
            Vec::new()
        }
    }
}

/// A fleet returns when its server does, and finds the places that are kept for addresses of agents.
fn remember_agents(connections: &Connections, from: Vec<(UserId, String)>) {
    for (user, peer) in from {
        // What a service of its own let in may have a peer that is no address.
        if let Ok(peer) = peer.parse::<SocketAddr>() {
            connections.remember_agent(&user, peer.ip());
        }
    }
}
