//! Dialling a WebSocket server: a token, a stream, an upgrade, all within the dial's time-out.

use super::halves;
use super::header::Role;
use super::upgrade::{Asked, Upgrade};
use crate::dial::{Clocks, Connector, DialerError, Opened, ProxyRule, Scheme, unconnected, within};
use crate::limits::{DIAL_TIMEOUT, LinkLimits};
use crate::link::{DialError, Dialer, Link};
use crate::secret::{Secret, TokenSource, os_error};
use crate::tls::TlsConfig;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use onsembl_protocol::session::{DialFailure, DialFault};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::time::Instant;

type QueryValue = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Dials one server. A `wss` or `https` URL is dialled with TLS or not at all.
///
/// ```no_run
/// use onsembl_transport::Dialer;
/// use onsembl_transport::secret::TokenFile;
/// use onsembl_transport::tls::TlsConfig;
/// use onsembl_transport::websocket::WebSocketDialer;
///
/// # async fn dial() -> Result<(), Box<dyn std::error::Error>> {
/// let dialer = WebSocketDialer::new("https://control.example", "/ws/agent", TlsConfig::native())?
///     .with_token(TokenFile("/etc/onsembl/agent.token".into())); // read at each dial
/// let link = dialer.dial().await?;
/// println!("connected to {}", link.peer);
/// # Ok(())
/// # }
/// ```
pub struct WebSocketDialer {
    connector: Connector,
    default_path: String,
    token: Option<Arc<dyn TokenSource>>,
    /// BudgetShare while the source is asked. One that hangs (a pipe, an unreachable file system) hangs in one thread,
    /// and not in one more at each dial.
    asking: Arc<tokio::sync::Mutex<()>>,
    /// The last token that the server has judged.
    shown: Mutex<Option<Secret>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    query: Vec<(String, QueryValue)>,
    limits: LinkLimits,
    timeout: Duration,
    /// As of the last answer to an upgrade.
    clocks: Mutex<Option<Clocks>>,
}

impl WebSocketDialer {
    /// A dialer for `url` (`ws`, `wss`, `http` or `https`), which asks for `default_path` below the
    /// URL's path, unless that names a WebSocket itself. `tls` matters for the secure schemes only;
    /// its files are read now, and again when they change. A proxy is used as the environment says.
    ///
    /// # Errors
    /// The URL is unusable, or there are no certificates to trust.
    pub fn new(
        url: &str,
        default_path: &str,
        tls: impl Into<TlsConfig>,
    ) -> Result<Self, DialerError> {
        Ok(Self {
            connector: Connector::new(url.parse()?, tls.into(), &ProxyRule::from_env())?,
            default_path: default_path.to_owned(),
            token: None,
            asking: Arc::default(),
            shown: Mutex::new(None),
            headers: Vec::new(),
            query: Vec::new(),
            limits: LinkLimits::DEFAULT,
            timeout: DIAL_TIMEOUT,
            clocks: Mutex::default(),
        })
    }

    /// Another rule for proxies than [`ProxyRule::from_env`].
    ///
    /// # Errors
    /// The proxy is reached by TLS, and there are no certificates to trust.
    pub fn with_proxy(mut self, rule: &ProxyRule) -> Result<Self, DialerError> {
        self.connector = self.connector.with_proxy(rule)?;
        Ok(self)
    }

    /// Dials these addresses, in this order, whatever the name in the URL stands for.
    #[must_use]
    pub fn with_addresses(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.connector.set_addresses(addresses.into_iter().collect());
        self
    }

    /// Shows the token of `source` at each dial, as `Authorization: Bearer …`.
    #[must_use]
    pub fn with_token(mut self, source: impl TokenSource + 'static) -> Self {
        self.token = Some(Arc::new(source));
        self
    }

    /// Sends one more header with each dial.
    ///
    /// # Errors
    /// The name or the value cannot stand in an HTTP request.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, DialerError> {
        let refused = || DialerError::Header(name.to_owned());
        let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
        value.set_sensitive(true);
        self.headers.push((name.parse().map_err(|_| refused())?, value));
        Ok(self)
    }

    /// Adds a query parameter whose value is asked for at each dial; `None` leaves it out. `value`
    /// must return at once.
    #[must_use]
    pub fn with_query(
        mut self,
        key: impl Into<String>,
        value: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.query.push((key.into(), Arc::new(value)));
        self
    }

    /// Other limits than [`LinkLimits::DEFAULT`] for the links.
    #[must_use]
    pub fn with_limits(mut self, limits: LinkLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Another time-out than [`DIAL_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The addresses that a dial would try, in this order: those of the server, or of the proxy that leads to it.
    ///
    /// # Errors
    /// There are none.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, DialError> {
        let candidates = self.connector.candidates(Instant::now() + self.timeout).await?;
        Ok(candidates.addresses().to_vec())
    }

    /// Connects to one of them, and does no more: how long that takes.
    ///
    /// # Errors
    /// There is no connection to be had.
    pub async fn reach(&self, address: SocketAddr) -> Result<Duration, DialError> {
        let began = Instant::now();
        let failed = |failure, fault, detail: String, os_error| {
            let error = DialError::new(failure, detail).with_fault(fault);
            DialError { address: Some(address), os_error, ..error }
        };
        match tokio::time::timeout(self.timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(began.elapsed()),
            Ok(Err(error)) => {
                let text = format!("{address}: {error}");
                let fault = unconnected(&error);
                Err(failed(DialFailure::Unreachable, fault, text, error.raw_os_error()))
            }
            Err(_) => {
                let text = format!("{address}: no answer");
                Err(failed(DialFailure::TimedOut, DialFault::ConnectTimeout, text, None))
            }
        }
    }

    /// The proxy that dials go through, without its credentials.
    #[must_use]
    pub fn proxy(&self) -> Option<String> {
        self.connector.proxy().map(ToString::to_string)
    }

    /// Whether dials are made with TLS.
    #[must_use]
    pub fn is_with_tls(&self) -> bool {
        self.connector.url().scheme() == Scheme::Tls
    }

    /// When the certificate ends that a server showed last, be it good or not.
    #[must_use]
    pub fn certificate_ends(&self) -> Option<SystemTime> {
        self.connector.certificate_ends()
    }

    /// The clock of what answered the last dial, if it named its time.
    #[must_use]
    pub fn clocks(&self) -> Option<Clocks> {
        *self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown_token(&self) -> MutexGuard<'_, Option<Secret>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn token(&self) -> Result<Option<Secret>, DialError> {
        let Some(source) = self.token.clone() else { return Ok(None) };
        let refused = |e: &dyn fmt::Display| DialError::new(DialFailure::NoToken, e.to_string());
        let asking = Arc::clone(&self.asking).lock_owned().await;
        let asked = tokio::task::spawn_blocking(move || {
            let token = source.token();
            drop(asking);
            token
        });
        match asked.await {
            Ok(Ok(token)) => Ok(Some(token)),
            Ok(Err(error)) => {
                let number = os_error(&error);
                let refused = DialError { os_error: number, ..refused(&error) };
                // The file is there, and could not be opened for want of a descriptor.
                let is_full = matches!(refused.errno(), Some("EMFILE" | "ENFILE"));
                Err(if is_full { refused.with_fault(DialFault::OutOfDescriptors) } else { refused })
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// What is dialled now: the path with the parameters of the URL and those of this moment.
    fn path_and_query(&self) -> String {
        let query: Vec<_> = self
            .query
            .iter()
            .filter_map(|(key, value)| value().map(|value| (key.clone(), value)))
            .collect();
        let url = self.connector.url();
        url.socket_path(&self.default_path) + &url.query_with(&query)
    }

    /// One address after the other, until one of them grants the upgrade or the server itself has
    /// spoken.
    async fn upgrade(&self, token: Option<&Secret>, by: Instant) -> Result<Link, DialError> {
        let mut candidates = self.connector.candidates(by).await?;
        let path_and_query = self.path_and_query();
        loop {
            let Opened { stream, heard, trial, by } = candidates.open().await?;
            let asked = Asked {
                authority: self.connector.url().authority(),
                path_and_query: &path_and_query,
                token,
                headers: &self.headers,
            };
            let address = trial.address();
            let upgrade = Upgrade::new(&asked)?;
            let late = (DialFault::Unanswered, "accepted the connection, and sent nothing");
            let failed = match within(by, late, upgrade.over(stream, heard, &self.clocks, by)).await
            {
                Ok(stream) => {
                    let local = trial.local();
                    trial.got_through();
                    let peer = format!("{} at {address}", self.shown());
                    let rest = Bytes::new();
                    let link = halves::link(stream, rest, Role::Client, peer, self.limits);
                    return Ok(Link { local, ..link });
                }
                Err(error) => error.at(address),
            };
            if failed.failure.is_about_the_token() {
                trial.got_through();
                return Err(failed);
            }
            if candidates.are_spent() {
                return Err(candidates.ends_with(failed));
            }
            candidates.next_after(&failed);
        }
    }

    /// For logs: without the query.
    fn shown(&self) -> String {
        let url = self.connector.url();
        let scheme = match url.scheme() {
            Scheme::Plain => "ws",
            Scheme::Tls => "wss",
        };
        format!("{scheme}://{}{}", url.authority(), url.socket_path(&self.default_path))
    }
}

#[async_trait]
impl Dialer for WebSocketDialer {
    async fn dial(&self) -> Result<Link, DialError> {
        let by = Instant::now() + self.timeout;
        let token = within(by, (DialFault::TokenUnanswered, ""), self.token()).await?;
        let dialled = self.upgrade(token.as_ref(), by).await;
        // One that was not looked at is still new.
        if dialled.as_ref().map_or_else(|e| e.failure.is_about_the_token(), |_| true) {
            *self.shown_token() = token;
        }
        dialled
    }

    async fn has_another_token(&self) -> bool {
        let Ok(Some(there)) = self.token().await else { return false };
        self.shown_token().as_ref() != Some(&there)
    }

    fn hello_failed(&self) {
        self.connector.last_was_of_no_use();
    }
}

impl fmt::Debug for WebSocketDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketDialer")
            .field("target", &self.shown())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
