//! Takes connections in: bounded in number, in time and in bytes until they are authenticated.

use super::connection::{Connection, Connections};
use super::paths;
use super::patient_io::PatientIo;
use super::proxies::{TrustedProxies, begins_with_header, take_header};
use super::waiting_room::Source;
use crate::bounds::LogLimit;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use onsembl_transport::counters::Counters;
use onsembl_transport::tls::ServerTls;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

/// Bounds on one connection, besides those of the [waiting room](super::waiting_room).
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptLimits {
    /// Longest wait for a TLS handshake and for a request head: 10 s. A slow-loris client ends here.
    pub(crate) head: Duration,
    /// Largest request head in bytes.
    pub(crate) head_bytes: usize,
    /// Pause after the operating system refused to accept (out of file descriptors, say).
    pub(crate) pause: Duration,
}

impl AcceptLimits {
    pub(crate) const DEFAULT: Self = Self {
        head: Duration::from_secs(10),
        head_bytes: 16 * 1024,
        pause: Duration::from_millis(100),
    };
}

/// How often it is logged that connections cannot be accepted.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What is listened on, and who takes what comes.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) router: Router,
    pub(crate) connections: Connections,
    pub(crate) proxies: TrustedProxies,
    pub(crate) counters: Counters,
}

/// Connections that are accepted before other tasks get a turn. Those that find the queue of the operating system full
/// try again after 1 s.
const ACCEPTED_AT_ONCE: usize = 256;
/// Connections that are accepted after a moment in which none of many that came before got any further.
const ACCEPTED_WHEN_BUSY: u64 = 64;

/// Accepts until `stop`.
pub(crate) async fn accept(listener: Listener, limits: AcceptLimits, stop: CancellationToken) {
    // The runtime's own budget is 128 at once, and as many new tasks run before the next: in a burst of thousands
    // the queue would be full.
    tokio::task::unconstrained(accept_in_turns(listener, limits, stop)).await;
}

async fn accept_in_turns(listener: Listener, limits: AcceptLimits, stop: CancellationToken) {
    let Listener { tcp, tls, router, connections, proxies, counters } = listener;
    let tasks = TaskTracker::new();
    let failures = LogLimit::every(LOG_EVERY);
    let faults = Arc::new(LogLimit::new());
    let mut all_the_same = 0;
    for turn in 1_usize.. {
        if turn.is_multiple_of(ACCEPTED_AT_ONCE) {
            tokio::task::yield_now().await;
        }
        if connections.are_busy() {
            if all_the_same == 0 {
                all_the_same = tokio::select! {
                    left = connections.calm() => left.unwrap_or(ACCEPTED_WHEN_BUSY),
                    () = stop.cancelled() => break,
                };
            }
            all_the_same -= 1;
        }
        let accepted = tokio::select! {
            accepted = tcp.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                counters.count("accept_failures");
                if let Some(before) = failures.allow((), ()) {
                    warn!(%error, more = before, "cannot accept connections; trying again");
                }
                tokio::time::sleep(limits.pause).await;
                continue;
            }
        };
        let end = stop.child_token();
        let source = if proxies.trusts(peer.ip()) {
            Source::Proxy(peer.ip())
        } else {
            Source::of(peer.ip())
        };
        let connection = connections.enter(source, end.clone());
        let accepted = Accepted {
            peer,
            connection,
            tls: tls.clone(),
            router: router.clone(),
            proxies: proxies.clone(),
            counters: counters.clone(),
            faults: Arc::clone(&faults),
        };
        let (stop, counters) = (stop.clone(), counters.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = accepted.serve(stream, limits) => {}
                () = end.cancelled() => {
                    if !stop.is_cancelled() {
                        counters.count("connections_ended_for_others");
                    }
                }
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// A connection that has a slot.
struct Accepted {
    peer: SocketAddr,
    connection: Connection,
    tls: Option<ServerTls>,
    router: Router,
    proxies: TrustedProxies,
    counters: Counters,
    /// What was logged lately of what went wrong with whom.
    faults: Arc<LogLimit<IpAddr, Fault>>,
}

/// What keeps a connection from getting as far as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    ProxyHeader,
    StrangersHeader,
    Handshake,
}

/// The answer to a proxy that is not trusted. It sends its header for each connection, so that a peer behind
/// it reads this.
const NOT_TRUSTED: &str = "a proxy on the path begins its connections with a PROXY header, and is not trusted: \
    start the server with --trusted-proxy and the proxy's address, or have the proxy send no such header\n";

impl Accepted {
    async fn serve(mut self, mut stream: TcpStream, limits: AcceptLimits) {
        let peer = self.peer;
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        if self.proxies.trusts(peer.ip()) {
            match timeout(limits.head, take_header(&mut stream))
                .await
                .unwrap_or_else(|_| Err(late()))
            {
                Ok(Some(address)) => {
                    self.connection.comes_from(address);
                    self.peer.set_ip(address);
                }
                Ok(None) => {}
                Err(error) => {
                    self.counters.count("proxy_failures");
                    if let Some(before) = self.faults.allow(peer.ip(), Fault::ProxyHeader) {
                        warn!(%peer, %error, more = before, "a proxy does not name its client");
                    }
                    return;
                }
            }
        } else {
            match timeout(limits.head, begins_with_header(&stream)).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => return Box::pin(self.refuse_header(stream, limits)).await,
                Ok(Err(error)) => {
                    debug!(%peer, %error, "a connection ended before it sent anything");
                    return;
                }
                Err(_) => {
                    self.counters.count("http_failures");
                    debug!(%peer, "a connection sent nothing in time");
                    return;
                }
            }
        }
        let stream = PatientIo::new(stream, self.connection.clone());
        match self.tls.take() {
            None => self.http(stream, limits).await,
            // Several times as large as all else, which a connection without TLS would hold while it is let in.
            Some(tls) => Box::pin(self.over_tls(peer, tls, stream, limits)).await,
        }
    }

    /// `peer` is the other end of the connection, whoever it connects for.
    async fn over_tls(
        self,
        peer: SocketAddr,
        tls: ServerTls,
        stream: PatientIo<TcpStream>,
        limits: AcceptLimits,
    ) {
        match timeout(limits.head, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream, limits).await,
            Ok(Err(error)) => {
                self.counters.count("tls_failures");
                if let Some(before) = self.faults.allow(peer.ip(), Fault::Handshake) {
                    warn!(%peer, %error, more = before, "TLS handshake failed");
                }
            }
            Err(_) => {
                self.counters.count("tls_timeouts");
                debug!(%peer, "TLS handshake took too long");
            }
        }
    }

    /// It comes from a proxy that is not trusted to say for whom it connects.
    async fn refuse_header(self, mut stream: TcpStream, limits: AcceptLimits) {
        let peer = self.peer;
        self.counters.count("proxies_not_trusted");
        if let Some(before) = self.faults.allow(peer.ip(), Fault::StrangersHeader) {
            warn!(%peer, more = before, "a connection begins with a PROXY header, and its address is not one of --trusted-proxy; add it, or have the proxy send no such header");
        }
        if self.tls.is_some() {
            // No peer behind it could read an answer.
            return;
        }
        let length = NOT_TRUSTED.len();
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{NOT_TRUSTED}"
        );
        let answered = async {
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            // Closed with something unread, the connection would be reset, and the answer lost.
            let mut unread = [0; 1024];
            while stream.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        if let Ok(Err(error)) = timeout(limits.head, answered).await {
            debug!(%peer, %error, "a proxy did not read its reply");
        }
    }

    async fn http<S>(self, stream: S, limits: AcceptLimits)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, connection, router, proxies, counters, .. } = self;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            if let Some(tidied) = paths::tidy(request.uri()) {
                *request.uri_mut() = tidied;
            }
            let mut from = peer;
            if proxies.trusts(peer.ip())
                && let Some(address) = proxies.forwarded_for(request.headers())
            {
                connection.comes_from(address);
                from = SocketAddr::new(address, 0);
            }
            let extensions = request.extensions_mut();
            let _ = extensions.insert(ConnectInfo(from));
            let _ = extensions.insert(connection.clone());
            let (answer, connection) = (router.clone().oneshot(request), connection.clone());
            async move {
                connection.asked().await;
                let answer = answer.await;
                connection.answered();
                answer
            }
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
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "nothing arrived in time")
}
