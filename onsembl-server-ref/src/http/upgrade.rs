//! From an HTTP request to a link: who asks is settled before the upgrade.

use super::App;
use super::connection::Connection;
use super::large_messages::{LargeMessages, MeteredIo};
use super::patient_io::PatientIo;
use super::signed_in::{SignedIn, TokenQuery, admit, refused, too_many};
use crate::auth::{Credentials, OpenRequest, Refusal, TokenKind};
use crate::dashboard;
use crate::hub::Request as HubRequest;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use onsembl_protocol::fleet::{Door, OpenKind};
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::model::TraceContext;
use onsembl_transport::server::{Lane, LinkTicket};
use onsembl_transport::{BudgetShare, BufferSizes, Link, LinkLimits, websocket};
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tracing::{debug, info, warn};

/// An HTTP/1.0 request cannot be upgraded, and nginx speaks that to the servers behind it by default.
const NEEDS_HTTP_11: &str = "a WebSocket needs HTTP/1.1, and this request came over HTTP/1.0: a proxy is misconfigured; for nginx set `proxy_http_version 1.1`, and pass the headers Upgrade and \
    Connection on\n";

pub(super) async fn agent(
    State(app): State<App>,
    Query(query): Query<TokenQuery>,
    request: Request,
) -> Response<Body> {
    let (headers, extensions) = (request.headers(), request.extensions());
    let identity = match admit(&app, TokenKind::Agent, headers, extensions, &query).await {
        Ok(identity) => identity,
        Err(page) => return page,
    };
    let named = query.agent_id.as_deref().map(AgentId::new);
    let credentials = Credentials::of_request(TokenKind::Agent, headers, extensions, None);
    let turned_away = |why, agent| refused(&app, &why, &credentials, Some(agent));
    if let Some(agent) = &named {
        // An error is no answer; what the store says when the session is opened counts.
        if let Ok(true) = app.store.agents().is_deleted(&identity.user, agent).await {
            let why = "the agent was deleted; stay away".to_owned();
            return turned_away(Refusal::Forbidden(why), agent);
        }
    }
    let mut share = BudgetShare::default();
    if let Some(named) = &named {
        let bearer = identity.bearer();
        let door = app.dashboard.fleet_views.of(&identity.user).look().door(named, bearer.as_ref());
        let door = match door {
            Door::Beside { agent, room } => {
                match app.doorways.take_below(&(identity.user.clone(), agent), room) {
                    Some(place) => {
                        share = BudgetShare::new(place);
                        Door::Open
                    }
                    // Let in now, it would be closed in ten seconds, and a wrapper would take that for its session's end.
                    None => Door::Full,
                }
            }
            door @ (Door::Open | Door::Full | Door::Denied(_)) => door,
        };
        match door {
            Door::Open | Door::Beside { .. } => {}
            Door::Full => {
                app.counters.count("refused_links");
                let (user, peer) = (&identity.user, peer(extensions));
                if let Some(more) = app.refusals.allow(address(extensions), named.to_string()) {
                    warn!(%user, peer, agent = %named, more, "a legacy agent has too many open links; the newest is refused");
                }
                let why = "this agent is in session, and too many more of its links are open; close some\n";
                return plain(StatusCode::SERVICE_UNAVAILABLE, why);
            }
            Door::Denied(why) => {
                app.counters.count("denied_links");
                return turned_away(Refusal::Unauthorized(why), named);
            }
        }
    }
    let limits = LinkLimits::DEFAULT;
    let open = app.opens.open(OpenKind::AgentLink, identity);
    upgrade(app.clone(), request, open, limits, move |link, open| async move {
        let lane = Lane::new(open.identity().user.as_str());
        let ticket = LinkTicket::new(link, open, lane).with_named(named).with_share(share);
        if !app.hub.ask(HubRequest::AgentLink(ticket)).await {
            debug!("an agent connected while the server was shutting down");
        }
    })
}

pub(super) async fn dashboard(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    request: Request,
) -> Response<Body> {
    let limits = LinkLimits::DEFAULT.with_buffers(BufferSizes::LARGE);
    let shared = (*app.dashboard).clone();
    let open = app.opens.open(OpenKind::Dashboard, identity);
    // All that is asked for over this link is part of the trace that it was opened in.
    let trace = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = trace.and_then(TraceContext::parse);
    upgrade(app, request, open, limits, move |link, open| {
        dashboard::serve(link, open, trace, shared)
    })
}

fn upgrade<F, Fut>(
    app: App,
    mut request: Request,
    open: OpenRequest,
    limits: LinkLimits,
    then: F,
) -> Response<Body>
where
    F: FnOnce(Link, OpenRequest) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let bearer = open.identity();
    let peer = peer(request.extensions());
    if request.version() < Version::HTTP_11 {
        app.counters.count("upgrades_over_http_1_0");
        if let Some(more) = app.refusals.allow(address(request.extensions()), "1.0".to_owned()) {
            warn!(
                peer,
                more,
                "a WebSocket upgrade came over HTTP/1.0; a proxy on the path is misconfigured"
            );
        }
        return plain(StatusCode::BAD_REQUEST, NEEDS_HTTP_11);
    }
    let accept = match websocket_key(request.headers()) {
        Ok(key) => websocket::accept_key(key),
        Err(why) => {
            app.counters.count("upgrades_malformed");
            let from = address(request.extensions());
            if let Some(more) = app.refusals.allow(from, why.to_owned()) {
                let why = why.trim_end();
                warn!(peer, more, why, "a request to a WebSocket address without an upgrade");
            }
            return plain(StatusCode::BAD_REQUEST, why);
        }
    };
    if request.extensions().get::<OnUpgrade>().is_none() {
        // The peer did nothing wrong: this is another service's way of serving the connection.
        app.counters.count("upgrades_impossible");
        warn!(peer, "the listener does not upgrade connections; serve them `with_upgrades`");
        let why =
            "this service does not pass WebSocket upgrades on; its operator must enable them\n";
        return plain(StatusCode::INTERNAL_SERVER_ERROR, why);
    }
    let connection = match request.extensions().get::<Connection>() {
        Some(connection) => connection.clone(),
        // The link counts anyway, though its connection is that of another listener.
        None => {
            let connection = app.connections.of_another_listener();
            if let Err(full) = connection.belongs_to(&bearer.user) {
                return too_many(&app, bearer, full);
            }
            connection
        }
    };
    if bearer.kind == TokenKind::Agent {
        connection.is_an_agents();
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let links = app.links.clone();
    let user = bearer.user.clone();
    links.spawn(async move {
        match tokio::time::timeout(limits.handshake, upgraded).await {
            Ok(Ok(stream)) => {
                let meter = (user, app.large_messages.clone());
                let link = link_over(stream, connection, meter, peer, limits).await;
                then(link, open).await;
            }
            Ok(Err(error)) => {
                app.counters.count("upgrade_failures");
                info!(peer, %error, "an upgrade failed");
            }
            Err(_) => {
                app.counters.count("upgrade_timeouts");
                info!(peer, "an upgrade took too long");
            }
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    let _ = headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let _ = headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        let _ = headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// A link over a connection whose upgrade was granted. If the connection is one of our own, the link has its socket, and
/// what the HTTP library holds is dropped.
async fn link_over(
    stream: Upgraded,
    connection: Connection,
    meter: (UserId, LargeMessages),
    peer: String,
    limits: LinkLimits,
) -> Link {
    match stream.downcast::<TokioIo<PatientIo<TcpStream>>>() {
        Ok(Parts { io, read_buf, .. }) if read_buf.is_empty() => {
            drop(read_buf);
            metered(io.into_inner(), meter, peer, limits).await
        }
        Ok(Parts { io, read_buf, .. }) => {
            // A client sent something right behind its request.
            let (read, write) = tokio::io::split(io.into_inner());
            let stream = tokio::io::join(Cursor::new(read_buf).chain(read), write);
            metered(stream, meter, peer, limits).await
        }
        Err(stream) => {
            metered(PatientIo::new(TokioIo::new(stream), connection), meter, peer, limits).await
        }
    }
}

async fn metered<S>(
    stream: S,
    (user, slots): (UserId, LargeMessages),
    peer: String,
    limits: LinkLimits,
) -> Link
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, meter) = MeteredIo::new(stream, user, slots);
    meter.over(websocket::upgraded(stream, Vec::new(), peer, limits).await)
}

/// The other end of a connection, for logs and the database.
fn peer(extensions: &Extensions) -> String {
    match extensions.get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(address)) => address.to_string(),
        None => "unknown".to_owned(),
    }
}

fn address(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(address) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip())
}

/// The key of a correct upgrade request (RFC 6455, section 4.2.1), or what is wrong with it.
fn websocket_key(headers: &HeaderMap) -> Result<&str, &'static str> {
    let says = |name: header::HeaderName, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|v| v.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    if !says(header::CONNECTION, "upgrade") || !says(header::UPGRADE, "websocket") {
        return Err(
            "this address accepts WebSocket only; request an upgrade, and configure any proxy to forward the headers Upgrade and Connection\n",
        );
    }
    if !says(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err("only WebSocket version 13 is supported\n");
    }
    headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| key.to_str().ok())
        .filter(|key| key.len() == 24)
        .ok_or("the header Sec-WebSocket-Key is missing or wrong\n")
}

pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        let _ = response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
