//! A stream to the server: through a proxy or not, with TLS or not.

use super::addresses::Memory;
use super::heard::{Heard, Listening};
use super::lookup::{asked_of, is_without_descriptors, look_up};
use super::proxy::{InvalidProxy, Proxy};
use super::race::race;
use super::url::{Scheme, ServerUrl};
use super::{DialerError, ProxyRule, http};
use crate::link::DialError;
use crate::sockets::no_delay;
use crate::tls::{ClientTls, TlsConfig, TlsFault, check_host};
use ::http::{HeaderValue, Method, Request, header};
use bytes::Bytes;
use http_body_util::Full;
use onsembl_protocol::session::{DialFailure, DialFault, HttpRefusal};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// How long one address may take while there are others. Half of what a dial may take in all; a request may take
/// longer,
/// but a person who waits for an emergency stop is not to wait longer for an address that says nothing.
const ONE_ADDRESS: Duration = Duration::from_secs(5);

/// What links and requests are made over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A stream of any kind.
pub(crate) type Stream = Box<dyn Io>;

/// Opens streams to one server.
pub(crate) struct Connector {
    url: ServerUrl,
    config: TlsConfig,
    tls: Option<Arc<ClientTls>>,
    proxy: Result<Option<Proxy>, InvalidProxy>,
    addresses: Option<Vec<SocketAddr>>,
    memory: Memory,
}

impl Connector {
    /// A connector to the server of `url`. The certificates of `config` are read now if anything needs TLS.
    pub(crate) fn new(
        url: ServerUrl,
        config: TlsConfig,
        rule: &ProxyRule,
    ) -> Result<Self, DialerError> {
        let proxy = rule.proxy_for(&url);
        let over_tls = matches!(&proxy, Ok(Some(proxy)) if proxy.scheme == Scheme::Tls);
        let tls = match url.scheme() {
            Scheme::Plain if !over_tls => None,
            Scheme::Plain | Scheme::Tls => Some(Arc::new(ClientTls::new(&config)?)),
        };
        if url.scheme() == Scheme::Tls {
            check_host(url.certified_host())?;
        }
        Ok(Self { url, config, tls, proxy, addresses: None, memory: Memory::default() })
    }

    /// The same with another rule for proxies.
    pub(crate) fn with_proxy(self, rule: &ProxyRule) -> Result<Self, DialerError> {
        let addresses = self.addresses;
        Ok(Self { addresses, ..Self::new(self.url, self.config, rule)? })
    }

    /// Dials these addresses, whatever the name of the server or of the proxy stands for.
    pub(crate) fn set_addresses(&mut self, addresses: Vec<SocketAddr>) {
        self.addresses = Some(addresses);
    }

    pub(crate) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// When the certificate ends that was shown last.
    pub(crate) fn certificate_ends(&self) -> Option<SystemTime> {
        self.tls.as_ref()?.certificate_ends()
    }

    /// The proxy that is gone through.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref().ok()?.as_ref()
    }

    /// The stream that was opened last was of no use after all.
    pub(crate) fn last_was_of_no_use(&self) {
        self.memory.last_was_of_no_use();
    }

    /// The addresses to try, the most promising first.
    pub(crate) async fn candidates(&self, by: Instant) -> Result<Candidates<'_>, DialError> {
        let unusable = |error: &InvalidProxy| {
            let text = error.to_string();
            DialError::new(DialFailure::Unreachable, text).with_fault(DialFault::ProxyUnusable)
        };
        let proxy = self.proxy.as_ref().map_err(unusable)?.as_ref();
        let (host, port) = match proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (self.url.host(), self.url.port()),
        };
        let whose = proxy.map_or_else(String::new, |proxy| format!(", the host of {proxy}"));
        let found = match &self.addresses {
            Some(addresses) => addresses.clone(),
            None => match timeout_at(by, look_up(host, port, &whose)).await {
                Ok(found) => found?,
                Err(_) => {
                    let text = format!("{host}{whose}: no answer in time{}", asked_of());
                    return Err(DialError::new(DialFailure::TimedOut, text)
                        .with_fault(DialFault::NameUnanswered));
                }
            },
        };
        let left = self.memory.order(found);
        if left.is_empty() {
            let text = format!("{host}{whose}");
            return Err(DialError::new(DialFailure::Unreachable, text)
                .with_fault(DialFault::NameWithoutAddress));
        }
        Ok(Candidates { connector: self, proxy, left, failed: Vec::new(), by })
    }
}

/// The addresses that are left in one dial.
pub(crate) struct Candidates<'a> {
    connector: &'a Connector,
    proxy: Option<&'a Proxy>,
    left: Vec<SocketAddr>,
    /// What went wrong with those that were tried, for people.
    failed: Vec<String>,
    by: Instant,
}

/// A stream that is ready for a request.
pub(crate) struct Opened<'a> {
    pub(crate) stream: Stream,
    /// How what comes over it begins.
    pub(crate) heard: Heard,
    pub(crate) trial: Trial<'a>,
    /// Until when the request is to be answered.
    pub(crate) by: Instant,
}

impl<'a> Candidates<'a> {
    /// The addresses, in the order in which they are tried.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.left
    }

    /// Whether there is no other address to try.
    pub(crate) fn are_spent(&self) -> bool {
        self.left.is_empty()
    }

    /// Opens a stream to the first address where that succeeds. While others are left, half of the
    /// time is kept for them, and all but five seconds.
    pub(crate) async fn open(&mut self) -> Result<Opened<'a>, DialError> {
        loop {
            match self.open_one().await {
                Err(error) if !self.are_spent() && Instant::now() < self.by => {
                    self.next_after(&error);
                }
                Err(error) => return Err(self.ends_with(error)),
                Ok(opened) => return Ok(opened),
            }
        }
    }

    /// One address is of no use, and there are others.
    pub(crate) fn next_after(&mut self, error: &DialError) {
        tracing::info!(%error, "trying the next address");
        self.failed.push(error.detail.clone());
    }

    /// The dial ends with this error, of the last address, which was the least promising one: what was wrong
    /// with the others is said too.
    pub(crate) fn ends_with(&mut self, error: DialError) -> DialError {
        let before = std::mem::take(&mut self.failed);
        match before.is_empty() {
            true => error,
            false => {
                let text = format!("{}; before that: {}", error.detail, before.join("; "));
                DialError { detail: crate::link::log_line(&text), ..error }
            }
        }
    }

    async fn open_one(&mut self) -> Result<Opened<'a>, DialError> {
        let memory = &self.connector.memory;
        let finish = race(&self.left, self.by, TcpStream::connect).await;
        let tried = std::mem::replace(&mut self.left, finish.open);
        let through = self.proxy.map_or_else(String::new, |proxy| format!(", {proxy}"));
        let mut refused = Vec::new();
        for (address, error) in &finish.failed {
            memory.failed(*address);
            refused.push(format!("{address}{through}: {error}"));
        }
        let Some((stream, address)) = finish.won else {
            for address in self.left.drain(..) {
                memory.failed(address);
            }
            let last = finish.failed.last();
            let (failure, fault, text) = match last {
                Some((_, error)) => {
                    (DialFailure::Unreachable, unconnected(error), refused.join("; "))
                }
                None => {
                    let text =
                        format!("{}{through}: no answer to any attempt to connect", list(&tried));
                    (DialFailure::TimedOut, DialFault::ConnectTimeout, text)
                }
            };
            let fault = if self.proxy.is_some() { DialFault::ProxyUnreachable } else { fault };
            return Err(DialError {
                address: last.map(|(address, _)| *address).or(tried.first().copied()),
                os_error: last.and_then(|(_, error)| error.raw_os_error()),
                ..DialError::new(failure, text).with_fault(fault)
            });
        };
        self.failed.append(&mut refused);
        // A socket that does not tell where it is may be at any address.
        let local = stream.local_addr().ok().map(|local| local.ip());
        let trial = Trial { memory, address, local, outcome: Outcome::Open };
        no_delay(&stream);
        let now = Instant::now();
        let by = match self.left.is_empty() {
            true => self.by,
            false => now + (self.by.saturating_duration_since(now) / 2).min(ONE_ADDRESS),
        };
        let through = self.connector.through(self.proxy, Box::new(stream), address, by).await;
        let stream = through.map_err(|error| DialError { address: Some(address), ..error })?;
        let (stream, heard) = Listening::new(stream);
        Ok(Opened { stream: Box::new(stream), heard, trial, by })
    }
}

impl Connector {
    /// From a connection to a stream that speaks HTTP with the server.
    async fn through(
        &self,
        proxy: Option<&Proxy>,
        mut stream: Stream,
        address: SocketAddr,
        by: Instant,
    ) -> Result<Stream, DialError> {
        if let Some(proxy) = proxy {
            if proxy.scheme == Scheme::Tls {
                let of_proxy = |error: HandshakeError| {
                    let what = error.fault.what().replacen("the server's", "its", 1);
                    let text = format!("{proxy} at {address}: {what}{}", error.why());
                    DialError::new(error.failure, text).with_fault(DialFault::ProxyUnreachable)
                };
                stream = self.shake_hands(&proxy.host, stream, by).await.map_err(of_proxy)?;
            }
            stream = self.tunnel(proxy, stream, address, by).await?;
        }
        match self.url.scheme() {
            Scheme::Plain => Ok(stream),
            Scheme::Tls => {
                let host = self.url.certified_host();
                self.shake_hands(host, stream, by).await.map_err(|error| {
                    let whom = match proxy {
                        Some(proxy) => format!("{host} through {proxy}"),
                        None => format!("{host} at {address}"),
                    };
                    let text = format!("{whom}{}", error.why());
                    DialError::new(error.failure, text).with_fault(error.fault)
                })
            }
        }
    }

    async fn shake_hands(
        &self,
        host: &str,
        stream: Stream,
        by: Instant,
    ) -> Result<Stream, HandshakeError> {
        let failed =
            |TlsFault { fault, why }| HandshakeError { failure: DialFailure::Tls, fault, why };
        let refused = |why: String| failed(TlsFault { fault: DialFault::TlsFailed, why });
        let Some(tls) = &self.tls else { return Err(refused("TLS was not set up".to_owned())) };
        match timeout_at(by, tls.connect(host, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream) as Stream),
            Ok(Err(fault)) => Err(failed(fault)),
            Err(_) => Err(HandshakeError {
                failure: DialFailure::TimedOut,
                fault: DialFault::TlsTimeout,
                why: String::new(),
            }),
        }
    }

    /// Asks a proxy for a connection to the server.
    async fn tunnel(
        &self,
        proxy: &Proxy,
        stream: Stream,
        address: SocketAddr,
        by: Instant,
    ) -> Result<Stream, DialError> {
        let to = self.url.host_and_port();
        let whom = format!("{proxy} at {address}, asked for {to},");
        let unfit = |e: &dyn std::fmt::Display| {
            DialError::new(DialFailure::Unreachable, format!("{whom} cannot be: {e}"))
                .with_fault(DialFault::ProxyUnusable)
        };
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&to)
            .body(Full::new(Bytes::new()))
            .map_err(|e| unfit(&e))?;
        let host = HeaderValue::from_str(&to).map_err(|e| unfit(&e))?;
        let _ = request.headers_mut().insert(header::HOST, host);
        if let Some(credentials) = &proxy.credentials {
            let mut credentials = credentials.clone();
            credentials.set_sensitive(true);
            let _ = request.headers_mut().insert(header::PROXY_AUTHORIZATION, credentials);
        }
        let (stream, heard) = Listening::new(stream);
        let asked = async {
            let failed = |e: &hyper::Error| {
                let broke = || format!("broke off: {}", http::told(e));
                let said = heard.foreign().map_or_else(broke, |(_, how)| how);
                let failure = http::failure(e, "").failure;
                DialError::new(failure, format!("{whom} {said}"))
                    .with_fault(DialFault::ProxyUnanswered)
            };
            let mut exchange = http::send(stream, request).await.map_err(|e| failed(&e))?;
            if exchange.response.status().is_success() {
                let tunnel = exchange.into_stream().await.map_err(|e| failed(&e))?;
                return Ok(Box::new(tunnel) as Stream);
            }
            let retry_after = http::retry_after(exchange.response.headers());
            // Of a proxy both mean that it wants other credentials.
            let (meant, fault) = match exchange.response.status().as_u16() {
                401 | 407 => (407, DialFault::ProxyCredentials),
                other @ 500..=599 => (other, DialFault::ProxyFailed),
                other => (other, DialFault::ProxyRefused),
            };
            // A proxy cannot know a nonce that was not sent, so it cannot send anybody away.
            let answer = HttpRefusal {
                status: meant,
                retry_after,
                nonce: None,
                reason: None,
                token_fault: None,
            };
            let takes_none = fault == DialFault::ProxyCredentials && proxy.credentials.is_some();
            let with = if takes_none { " does not take those of its URL, and" } else { "" };
            let said = exchange.said("", by).await;
            let text = format!("{whom}{with} answered {said}");
            Err(DialError::new(answer.meaning(""), text).with_fault(fault))
        };
        match timeout_at(by, asked).await {
            Ok(tunnel) => tunnel,
            Err(_) => {
                Err(DialError::new(DialFailure::TimedOut, format!("{whom} did not answer in time"))
                    .with_fault(DialFault::ProxyUnanswered))
            }
        }
    }
}

/// A handshake that failed.
struct HandshakeError {
    failure: DialFailure,
    fault: DialFault,
    why: String,
}

impl HandshakeError {
    /// As the end of a sentence.
    fn why(&self) -> String {
        if self.why.is_empty() { String::new() } else { format!(": {}", self.why) }
    }
}

/// What the system's refusal to connect means.
#[allow(clippy::wildcard_enum_match_arm, reason = "the kinds of the standard library are open")]
pub(crate) fn unconnected(error: &io::Error) -> DialFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialFault::ConnectRefused,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => DialFault::NoRoute,
        io::ErrorKind::TimedOut => DialFault::ConnectTimeout,
        _ if is_without_descriptors(error) => DialFault::OutOfDescriptors,
        // The words of the system are in the detail.
        _ => DialFault::ConnectFailed,
    }
}

/// What becomes of one address. One that is dropped without a result has failed.
pub(crate) struct Trial<'a> {
    memory: &'a Memory,
    address: SocketAddr,
    local: Option<IpAddr>,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Open,
    GotThrough,
}

impl Trial<'_> {
    /// The dial got through there.
    pub(crate) fn got_through(mut self) {
        self.outcome = Outcome::GotThrough;
        self.memory.succeeded(self.address);
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// At which address of this machine.
    pub(crate) const fn local(&self) -> Option<IpAddr> {
        self.local
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        match self.outcome {
            Outcome::GotThrough => {}
            Outcome::Open => self.memory.failed(self.address),
        }
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    shown.join(", ")
}

/// Does a step of a dial in its time; `late` says what it means if that is not enough.
pub(crate) async fn within<T>(
    by: Instant,
    late: (DialFault, &str),
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    match timeout_at(by, work).await {
        Ok(result) => result,
        Err(_) => Err(DialError::new(DialFailure::TimedOut, late.1).with_fault(late.0)),
    }
}
