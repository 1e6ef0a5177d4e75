//! A server inside another axum service, or at several listeners.

use crate::fixture::PATIENCE;
use crate::frames::{beat, extended_dashboard_hello, extended_hello};
use crate::peer::{Peer, Request};
use axum::Router;
use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use axum::middleware::{self, Next};
use axum::routing::get;
use onsembl_protocol::id::UserId;
use onsembl_server_ref::auth::{
    Auth, Credentials, Identity, LookupError, Refusal, TokenKind, Tokens,
};
use onsembl_server_ref::server::{BeatHop, BeatObserver, Server, ServerOptions, StartError};
use onsembl_transport::clock::SystemClock;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The user whom a middleware of the service found out.
#[derive(Clone)]
struct LoggedIn(&'static str);

/// Takes what the middleware says, and nothing else.
struct BySession;

impl Auth for BySession {
    async fn identify(&self, credentials: &Credentials<'_>) -> Result<Identity, Refusal> {
        match credentials.extension::<LoggedIn>() {
            Some(LoggedIn(user)) => {
                let peer = credentials.peer().map_or("none".to_owned(), |p| p.ip().to_string());
                let id = format!("session from {peer}");
                Ok(Identity::new(UserId::new(*user), credentials.kind(), id))
            }
            None => Err(Refusal::Forbidden("log in first".into())),
        }
    }

    async fn is_revoked(&self, token_id: &str) -> Result<bool, LookupError> {
        assert_eq!(token_id, "session from 127.0.0.1");
        Ok(false)
    }
}

async fn log_in(mut request: HttpRequest<Body>, next: Next) -> axum::response::Response {
    let _ = request.extensions_mut().insert(LoggedIn("ann"));
    next.run(request).await
}

async fn agent(to: SocketAddr, path: &str, token: Option<&str>) -> Peer {
    let mut agent = Peer::open(to, path, token).await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let _ = agent.expect("ACK").await;
    agent
}

#[tokio::test]
async fn under_a_prefix_and_behind_a_middleware_everything_is_served_until_it_stops() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with_auth(ServerOptions::new(data.path()), BySession).await.unwrap();
    let ours = server.router().merge(server.health_router());
    let app = Router::new()
        .nest("/onsembl", ours.layer(middleware::from_fn(log_in)))
        .nest("/closed", server.router())
        .route("/healthz", get(|| async { "the service's own" }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "the service's own fallback") })
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let to = listener.local_addr().unwrap();
    let service = tokio::spawn(async move { axum::serve(listener, app).await });

    let mut agent = agent(to, "/onsembl/ws/agent", None).await;
    let mut dashboard = Peer::open(to, "/onsembl/ws/dashboard", None).await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    let get = async |path: &str| Request::get(path).send(to).await;
    assert_eq!(get("/onsembl/api/agents").await.json()["total"], 1);
    assert_eq!(get("/onsembl/readyz").await.json()["ready"], true);
    assert_eq!(get("/healthz").await.body, "the service's own");
    assert_eq!(get("/nowhere").await.body, "the service's own fallback");
    let refused = get("/closed/api/agents").await;
    assert_eq!((refused.status, refused.body.as_str()), (403, "log in first"));
    assert!(!data.path().join("token.secret").exists(), "nothing is signed here");

    let ((), agent, dashboard) = tokio::join!(server.stop(), agent.ended(), dashboard.ended());
    assert_eq!((agent.code(), dashboard.code()), (1001, 1001));
    for path in ["/onsembl/api/agents", "/onsembl/ws/agent", "/onsembl/ws/dashboard"] {
        assert_eq!(Request::upgrade(path).send(to).await.status, 503, "{path}");
    }
    assert_eq!(get("/healthz").await.body, "the service's own", "the rest is still served");
    service.abort();
}

#[tokio::test]
async fn a_listener_that_cannot_upgrade_is_named() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(ServerOptions::new(data.path())).await.unwrap();
    let now = SystemClock::new().now().wall;
    let tokens = Tokens::open(data.path()).unwrap();
    let ann = UserId::new("ann");
    let token = tokens.issue(&ann, TokenKind::Agent, PATIENCE, now).unwrap().0;
    let request = HttpRequest::get(format!("/ws/agent?token={token}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Body::empty())
        .unwrap();
    let answer = server.router().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(server.counters().snapshot().get("upgrades_impossible"), Some(&1));
    server.stop().await;
}

#[tokio::test]
async fn a_server_listens_at_several_places_and_shows_heartbeats_to_its_observer() {
    let data = tempfile::tempdir().unwrap();
    let (see, mut seen) = mpsc::unbounded_channel();
    let mut options = ServerOptions::new(data.path());
    options.observer = Some(BeatObserver::new(move |beat| see.send(beat).unwrap()));
    let mut server = Server::start(options).await.unwrap();
    let one = server.listen(ANYWHERE, None).await.unwrap();
    let two = server.serve(TcpListener::bind(ANYWHERE).await.unwrap(), None).unwrap();
    assert_ne!(one.address(), two.address());
    assert_eq!(two.url(), format!("http://{}", two.address()));
    assert!(server.listen(one.address(), None).await.is_err(), "it is taken");

    let now = SystemClock::new().now().wall;
    let tokens = Tokens::open(data.path()).unwrap();
    let ann = UserId::new("ann");
    let token = tokens.issue(&ann, TokenKind::Agent, PATIENCE, now).unwrap().0;
    let mut first = agent(one.address(), "/ws/agent", Some(&token)).await;
    let mut second = agent(two.address(), "/ws/agent", Some(&token)).await;
    let _ = first.ended().await; // the same agent, by a newer link
    second.send(beat(1, 0)).await;
    // The server's own heartbeats are answers too, and come at any time.
    for expected in [BeatHop::Received, BeatHop::Recorded] {
        let seen = async {
            loop {
                let hop = seen.recv().await.unwrap().hop;
                if hop != BeatHop::Answered {
                    return hop;
                }
            }
        };
        assert_eq!(tokio::time::timeout(PATIENCE, seen).await.unwrap(), expected);
    }
    let ((), ended) = tokio::join!(server.stop(), second.ended());
    assert_eq!(ended.code(), 1001);
}

#[tokio::test]
async fn the_data_folder_is_kept_as_long_as_anything_of_a_server_can_write_there() {
    let data = tempfile::tempdir().unwrap();
    let start = || Server::start(ServerOptions::new(data.path()));
    let server = start().await.unwrap();
    let router = server.router();
    drop(server);
    assert!(matches!(start().await, Err(StartError::InUse(_))), "its hub runs");
    drop(router);
    let begin = Instant::now();
    let server = loop {
        match start().await {
            Ok(server) => break server,
            Err(StartError::InUse(_)) => assert!(begin.elapsed() < PATIENCE, "never free"),
            Err(other) => panic!("{other}"),
        }
        tokio::task::yield_now().await;
    };
    server.stop().await;
    start().await.unwrap().stop().await;
}
