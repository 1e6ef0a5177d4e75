//! Dialling a WebSocket server: resolve, connect, TLS, upgrade, each within the dial's time-out.

use super::request::{self, Extra};
use super::target::{InvalidUrl, Target};
use super::{accept_key, over, response};
use crate::limits::LinkLimits;
use crate::link::{DialError, Dialer, Link};
use crate::secret::{Secret, TokenSource};
use crate::tls::{ClientTls, TlsError, TlsRoots};
use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use onsembl_protocol::session::DialFailure;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How long a dial may take in all. 10 s: several retransmissions of a lost first packet, and
/// still well below the time after which a person thinks that nothing happens.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A dialer that cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialerError {
    /// The server URL is unusable.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The certificates to trust cannot be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A header that cannot be sent. Names the header, never its value.
    #[error("the header {0:?} has a name or a value that HTTP cannot carry")]
    Header(String),
}

type QueryValue = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Dials one server. A `wss` or `https` URL is dialled with TLS or not at all.
pub struct WebSocketDialer {
    target: Target,
    tls: Option<ClientTls>,
    token: Option<Arc<dyn TokenSource>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    query: Vec<(String, QueryValue)>,
    limits: LinkLimits,
    timeout: Duration,
}

impl WebSocketDialer {
    /// A dialer for `url` (`ws`, `wss`, `http` or `https`), which asks for `default_path` if the
    /// URL has no path. `roots` matter for the secure schemes only, and are read now.
    ///
    /// # Errors
    /// The URL is unusable, or there are no certificates to trust.
    pub fn new(url: &str, default_path: &str, roots: &TlsRoots) -> Result<Self, DialerError> {
        let target = Target::parse(url, default_path)?;
        let tls = if target.secure { Some(ClientTls::new(roots, &target.host)?) } else { None };
        Ok(Self {
            target,
            tls,
            token: None,
            headers: Vec::new(),
            query: Vec::new(),
            limits: LinkLimits::DEFAULT,
            timeout: DIAL_TIMEOUT,
        })
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

    async fn token(&self) -> Result<Option<Secret>, DialError> {
        let Some(source) = self.token.clone() else { return Ok(None) };
        let refused = |e: &dyn fmt::Display| {
            DialError::new(DialFailure::Unauthorized, format!("there is no token to show: {e}"))
        };
        match tokio::task::spawn_blocking(move || source.token()).await {
            Ok(Ok(token)) => Ok(Some(token)),
            Ok(Err(error)) => Err(refused(&error)),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Connects to the first address that answers. Each gets an equal share of the time that is
    /// left, so that one that swallows packets does not keep the others from being tried.
    async fn connect(&self, by: Instant) -> Result<TcpStream, DialError> {
        let Target { host, port, .. } = &self.target;
        let unreachable = |text: String| DialError::new(DialFailure::Unreachable, text);
        let addresses: Vec<_> = within(by, "looking up the server's name", async {
            let found = lookup_host((host.as_str(), *port)).await;
            found.map_err(|e| unreachable(format!("cannot resolve {host}: {e}")))
        })
        .await?
        .collect();
        let mut last = unreachable(format!("{host} has no address"));
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            let now = Instant::now();
            let share = now + by.saturating_duration_since(now) / left.max(1);
            left = left.saturating_sub(1);
            let attempt = within(share, "connecting", async {
                let stream = TcpStream::connect(address).await;
                stream.map_err(|e| unreachable(format!("cannot connect to {address}: {e}")))
            });
            match attempt.await {
                Ok(stream) => {
                    no_delay(&stream);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn upgrade<S>(&self, mut stream: S, token: Option<&Secret>) -> Result<Link, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let query: Vec<_> = self
            .query
            .iter()
            .filter_map(|(key, value)| value().map(|value| (key.clone(), value)))
            .collect();
        let extra = Extra { token, headers: &self.headers, query: &query };
        let key = generate_key();
        let request = request::upgrade(&self.target, &key, &extra).map_err(|_| {
            let detail = "the token holds characters that no header can carry, or none at all";
            DialError::new(DialFailure::Unauthorized, detail)
        })?;
        let lost = |e| {
            DialError::new(DialFailure::Unreachable, format!("cannot ask for the upgrade: {e}"))
        };
        stream.write_all(&request).await.map_err(lost)?;
        stream.flush().await.map_err(lost)?;
        let rest = response::read(&mut stream, &accept_key(&key)).await?;
        Ok(over(stream, rest, Role::Client, self.target.shown(), self.limits).await)
    }
}

#[async_trait]
impl Dialer for WebSocketDialer {
    async fn dial(&self) -> Result<Link, DialError> {
        let by = Instant::now() + self.timeout;
        let token = within(by, "getting the token", self.token()).await?;
        let stream = self.connect(by).await?;
        match &self.tls {
            None => within(by, "upgrading", self.upgrade(stream, token.as_ref())).await,
            Some(tls) => {
                let stream = within(by, "shaking hands by TLS", async {
                    let refused =
                        |e: std::io::Error| DialError::new(DialFailure::Tls, e.to_string());
                    tls.connect(stream).await.map_err(refused)
                })
                .await?;
                within(by, "upgrading", self.upgrade(stream, token.as_ref())).await
            }
        }
    }
}

impl fmt::Debug for WebSocketDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketDialer")
            .field("target", &self.target.shown())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

async fn within<T>(
    by: Instant,
    step: &str,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    match timeout_at(by, work).await {
        Ok(result) => result,
        Err(_) => Err(DialError::new(DialFailure::TimedOut, format!("while {step}"))),
    }
}

/// Small frames are not to wait for acknowledgements of earlier ones. A socket that refuses this
/// is as good as gone, and its next use will say so.
pub(crate) fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}
