//! Pages of a server, for programs that ask for them: by the same names, proxies and certificates as
//! its WebSockets are dialled.

use super::connect::{Connector, within};
use super::http::{self, Exchange};
use super::{DialerError, ProxyRule, ServerUrl};
use crate::link::DialError;
use crate::secret::Secret;
use crate::tls::TlsRoots;
use ::http::{HeaderValue, Method, Request, header};
use bytes::Bytes;
use http_body_util::Full;
use onsembl_protocol::session::{DialFailure, DialFault};
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Asks one server for pages.
pub struct HttpClient {
    connector: Connector,
    token: Secret,
    patience: Duration,
}

impl HttpClient {
    /// A client that shows `token`. `patience` is for the head of an answer, and for each part of it.
    ///
    /// # Errors
    /// There are no certificates to trust.
    pub fn new(
        url: ServerUrl,
        roots: &TlsRoots,
        proxy: &ProxyRule,
        token: Secret,
        patience: Duration,
    ) -> Result<Self, DialerError> {
        Ok(Self { connector: Connector::new(url, roots, proxy)?, token, patience })
    }

    /// Gets a page of the server, whatever its status. `path` begins with a slash.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn get(&self, path: &str) -> Result<HttpAnswer, DialError> {
        self.ask(Method::GET, path, None).await
    }

    /// Sends JSON to a page of the server.
    ///
    /// # Errors
    /// There is no answer. Whether the server took it is then not known.
    pub async fn post(&self, path: &str, json: &str) -> Result<HttpAnswer, DialError> {
        self.ask(Method::POST, path, Some(json)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        json: Option<&str>,
    ) -> Result<HttpAnswer, DialError> {
        let request = self.request(method, path, json).map_err(|e| {
            DialError::new(DialFailure::NoToken, e.to_string()).with_fault(DialFault::TokenUnfit)
        })?;
        let by = Instant::now() + self.patience;
        let opened = self.connector.candidates(by).await?.open().await?;
        let whom = format!("{} at {}", self.connector.url(), opened.trial.address());
        let heard = opened.heard;
        let late = format!("{whom}: nothing came");
        let exchange = within(by, (DialFault::Unanswered, &late), async {
            let sent = http::send(opened.stream, request).await;
            sent.map_err(|e| http::failure_after(&e, &heard).by(&whom))
        })
        .await?;
        opened.trial.got_through();
        Ok(HttpAnswer { exchange, patience: self.patience })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        json: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, ::http::Error> {
        let url = self.connector.url();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.expose()))?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(url.page_path(path))
            .header(header::HOST, url.authority().as_str())
            .header(header::CONNECTION, "close")
            .header(header::AUTHORIZATION, bearer);
        match json {
            None => request.body(Full::new(Bytes::new())),
            Some(json) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::copy_from_slice(json.as_bytes()))),
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("url", self.connector.url()).finish_non_exhaustive()
    }
}

/// An answer whose body is still to be read.
pub struct HttpAnswer {
    exchange: Exchange,
    patience: Duration,
}

impl HttpAnswer {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.exchange.response.status().as_u16()
    }

    /// Where a redirection points to. It is not followed: the token is for the server that was named.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.exchange.response.headers().get(header::LOCATION)?.to_str().ok()
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// It broke off, or nothing came for as long as the client is patient.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        match timeout(self.patience, self.exchange.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(io::Error::other(http::told(&error))),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing came for {} s", self.patience.as_secs()),
            )),
        }
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer").field("status", &self.status()).finish_non_exhaustive()
    }
}
