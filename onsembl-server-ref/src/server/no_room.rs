//! A server that cannot open its database because the disk has no room at all, not even the reserve: it listens,
//! answers every request with that, and continues when there is room.

use super::{ListenError, Listening, Server, ServerOptions, StartError, descriptors, listening};
use crate::http::{self, AcceptLimits, Connections, Listener, TrustedProxies};
use crate::hub::Joining;
use axum::Json;
use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse as _;
use onsembl_transport::counters::Counters;
use onsembl_transport::tls::ServerTls;
use rustix::fs::statvfs;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// A disk with less than this has no room.
const NONE: u64 = 1 << 20;

impl Server {
    /// Starts as [`start`](Self::start) and listens as [`listen`](Self::listen) do. On a disk without any room
    /// it listens anyway, answers everything with 503 and the reason, and starts when there is room.
    ///
    /// # Errors
    /// [`StartError`] of any other reason; in the inner result, the address cannot be had.
    pub async fn start_and_listen(
        options: ServerOptions,
        address: SocketAddr,
        tls: Option<ServerTls>,
    ) -> Result<Result<(Self, Listening), ListenError>, StartError> {
        let mut stand_in: Option<StandIn> = None;
        loop {
            let address = stand_in.as_ref().map_or(address, |stand_in| stand_in.address);
            match Self::start(options.clone()).await {
                Ok(mut server) => {
                    if let Some(stand_in) = stand_in {
                        info!("disk space is free again");
                        stand_in.leave().await;
                    }
                    return Ok(match server.listen(address, tls).await {
                        Ok(listening) => Ok((server, listening)),
                        Err(error) => {
                            server.stop().await;
                            Err(error)
                        }
                    });
                }
                Err(error) if is_for_want_of_room(&error, &options.data) => {
                    if stand_in.is_none() {
                        warn!(%error, "the disk is full and has no reserve; the server listens, refuses everything, and starts when space is free");
                        match StandIn::listen(address, tls.clone(), &options, &error).await {
                            Ok(listens) => stand_in = Some(listens),
                            Err(error) => return Ok(Err(error)),
                        }
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The database says in many ways that it has no room; the disk says it in one.
fn is_for_want_of_room(error: &StartError, data: &Path) -> bool {
    let may_be = match error {
        StartError::Store(_)
        | StartError::Secret(_)
        | StartError::Folder { .. }
        | StartError::Lock { .. } => true,
        StartError::InUse(_) | StartError::OpenFolder { .. } => false,
        #[cfg(feature = "otel")]
        StartError::Traces(_) => false,
    };
    may_be && statvfs(data).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < NONE)
}

/// Listens instead of the server.
struct StandIn {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl StandIn {
    async fn listen(
        address: SocketAddr,
        tls: Option<ServerTls>,
        options: &ServerOptions,
        error: &StartError,
    ) -> Result<Self, ListenError> {
        let bound = listening::bind(address);
        let tcp = bound.map_err(|error| ListenError::Bind { address, error })?;
        let address = tcp.local_addr().map_err(ListenError::Address)?;
        let why = format!("the disk of the server is full, and it cannot start: {error}");
        let listener = Listener {
            tcp,
            tls,
            router: router(why),
            connections: Connections::new(
                descriptors::allowed(),
                options.connections,
                Joining::default(),
            ),
            proxies: TrustedProxies::new(&options.trusted_proxies),
            counters: Counters::default(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(http::accept(listener, AcceptLimits::DEFAULT, stop.clone()));
        Ok(Self { address, stop, task })
    }

    async fn leave(self) {
        self.stop.cancel();
        if tokio::time::timeout(AGAIN, self.task).await.is_err() {
            warn!("some requests in the meantime were not answered");
        }
    }
}

fn router(why: String) -> Router {
    Router::new().fallback(move || {
        let body = Json(json!({ "status": "not started", "store": why, "error": why }));
        async move {
            let again = [(header::RETRY_AFTER, HeaderValue::from_static("5"))];
            (StatusCode::SERVICE_UNAVAILABLE, again, body).into_response()
        }
    })
}
