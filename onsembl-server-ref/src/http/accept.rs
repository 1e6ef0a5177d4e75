//! Takes connections in: bounded in number, in time and in bytes until they are authenticated.

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use onsembl_transport::counters::Counters;
use onsembl_transport::tls::ServerTls;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

/// Bounds on connections that are not upgraded yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptLimits {
    /// Connections that may be in their TLS handshake or request at a time. Others wait in the
    /// operating system's queue.
    pub(crate) waiting: usize,
    /// Longest wait for a request head: 10 s. A slow-loris client ends here.
    pub(crate) head: Duration,
    /// Largest request head in bytes.
    pub(crate) head_bytes: usize,
    /// Pause after the operating system refused to accept (out of file descriptors, say).
    pub(crate) pause: Duration,
}

impl AcceptLimits {
    pub(crate) const DEFAULT: Self = Self {
        waiting: 4096,
        head: Duration::from_secs(10),
        head_bytes: 16 * 1024,
        pause: Duration::from_millis(100),
    };
}

/// Accepts until `stop`.
pub(crate) async fn accept(
    tcp: TcpListener,
    tls: Option<ServerTls>,
    router: Router,
    limits: AcceptLimits,
    counters: Counters,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.waiting));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = tcp.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                counters.count("accept_failures");
                warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(limits.pause).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            counters.count("connections_refused");
            debug!(%peer, "too many connections without a request; refused");
            continue;
        };
        let (tls, router, counters) = (tls.clone(), router.clone(), counters.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            let serve = connection(stream, peer, tls, router, limits, &counters);
            tokio::select! {
                () = serve => {}
                () = stop.cancelled() => {}
            }
            drop(slot);
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<ServerTls>,
    router: Router,
    limits: AcceptLimits,
    counters: &Counters,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    match tls {
        None => http(stream, peer, router, limits, counters).await,
        Some(tls) => match tokio::time::timeout(limits.head, tls.accept(stream)).await {
            Ok(Ok(stream)) => http(stream, peer, router, limits, counters).await,
            Ok(Err(error)) => {
                counters.count("tls_failures");
                debug!(%peer, %error, "TLS handshake failed");
            }
            Err(_) => {
                counters.count("tls_timeouts");
                debug!(%peer, "TLS handshake took too long");
            }
        },
    }
}

async fn http<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    limits: AcceptLimits,
    counters: &Counters,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        let _ = request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        counters.count("http_failures");
        debug!(%peer, %error, "HTTP connection ended");
    }
}
