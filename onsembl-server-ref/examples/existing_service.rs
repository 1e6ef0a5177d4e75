//! A service with routes and API keys of its own takes agents and dashboards in.
//!
//! ```text
//! cargo run -p onsembl-server-ref --example existing_service
//! onsembl-agent run --server http://127.0.0.1:3000 --token key-of-anns-laptop --name laptop
//! curl -H 'X-Api-Key: key-of-ann' http://127.0.0.1:3000/report/laptop
//! ```
//!
//! The last line runs `uname -a` on the agent and prints its output.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use onsembl_protocol::id::UserId;
use onsembl_server_ref::auth::{Auth, Credentials, Identity, LookupError, Refusal, TokenKind};
use onsembl_server_ref::client::RemoteCommand;
use onsembl_server_ref::server::{Server, ServerOptions};
use onsembl_transport::secret::Secret;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::RwLock;

/// The API keys that this service has always had, and whose they are. Deleting one revokes it.
#[derive(Clone, Default)]
pub(crate) struct ApiKeys(pub(crate) Arc<RwLock<HashMap<String, Identity>>>);

impl ApiKeys {
    pub(crate) async fn add(&self, key: &str, owner: Identity) {
        let _ = self.0.write().await.insert(key.to_owned(), owner);
    }

    async fn owner(&self, key: &str) -> Result<Identity, Refusal> {
        let unknown = || Refusal::Unauthorized("unknown API key; ask the operator".to_owned());
        self.0.read().await.get(key).cloned().ok_or_else(unknown)
    }
}

impl Auth for ApiKeys {
    async fn identify(&self, credentials: &Credentials<'_>) -> Result<Identity, Refusal> {
        // Agents and command-line clients can send a bearer token only: their key is that.
        let key = credentials.header("x-api-key").or(credentials.token());
        let missing = || Refusal::Unauthorized("no API key; send it as X-Api-Key".to_owned());
        self.owner(key.ok_or_else(missing)?).await
    }

    async fn is_revoked(&self, token_id: &str) -> Result<bool, LookupError> {
        Ok(!self.0.read().await.values().any(|owner| owner.token_id == token_id))
    }
}

#[derive(Clone)]
struct Service {
    keys: ApiKeys,
    url: String,
}

/// A route of the service: what machine an agent runs on.
async fn report(
    State(service): State<Service>,
    Path(agent): Path<String>,
    headers: HeaderMap,
) -> Result<Vec<u8>, (StatusCode, String)> {
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let refused = |refusal: Refusal| (StatusCode::UNAUTHORIZED, refusal.to_string());
    let _owner = service.keys.owner(key).await.map_err(refused)?;
    let (token, limit) = (Secret::new(key), Duration::from_secs(10));
    let command = RemoteCommand::new(service.url, token, agent, "uname -a", limit);
    let mut output = Vec::new();
    let run = command.run(&mut output, tokio::io::sink(), std::future::pending());
    let _ended = run.await.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(output)
}

/// Serves until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    data: PathBuf,
    keys: ApiKeys,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let url = format!("http://{}", listener.local_addr()?);
    let server = Server::start_with_auth(ServerOptions::new(data), keys.clone()).await?;
    let app = Router::new()
        .route("/", get(|| async { "a service that was here before\n" }))
        .route("/report/{agent}", get(report))
        .with_state(Service { keys, url })
        .merge(server.router())
        .into_make_service_with_connect_info::<SocketAddr>();
    // Heartbeats are small and must not wait for more to send; a failure costs only that time.
    let listener = listener.tap_io(|tcp| drop(tcp.set_nodelay(true)));
    let served = axum::serve(listener, app).with_graceful_shutdown(shutdown).await;
    server.stop().await;
    Ok(served?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let keys = ApiKeys::default();
    let ann = |kind, name| Identity::new(UserId::new("ann"), kind, name);
    keys.add("key-of-ann", ann(TokenKind::Dashboard, "ann")).await;
    keys.add("key-of-anns-laptop", ann(TokenKind::Agent, "laptop")).await;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let data = std::env::temp_dir().join("onsembl-existing-service");
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, data, keys, interrupted).await
}
