//! Pages of a server, for programs that ask for them: by the same names, proxies and certificates as
//! its WebSockets are dialled.

use super::connect::{Connector, Opened, within};
use super::http::{self, Exchange};
use super::{DialerError, ProxyRule, ServerUrl};
use crate::link::DialError;
use crate::secret::Secret;
use crate::tls::TlsConfig;
use ::http::{HeaderValue, Method, Request, header};
use bytes::Bytes;
use http_body_util::Full;
use onsembl_protocol::session::{
    DialFailure, DialFault, HttpRefusal, NONCE_HEADER, REFUSAL_HEADER,
};
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

/// What a request does if the server takes it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// Nothing more. It is sent again where it is unknown that it came there.
    Harmless,
    /// It has an effect of its own. It is sent again only where it did not go out.
    Harmful,
}

/// Asks one server for pages.
///
/// One address after the other is tried, as by [`WebSocketDialer`](crate::websocket::WebSocketDialer): one that
/// says nothing, or
/// behind which a proxy has no server, hides no other.
///
/// ```no_run
/// use onsembl_transport::secret::Secret;
/// use onsembl_transport::tls::TlsConfig;
/// use onsembl_transport::{HttpClient, ProxyRule};
/// use std::time::Duration;
///
/// # async fn ask(token: Secret) -> Result<(), Box<dyn std::error::Error>> {
/// let (url, proxy) = ("https://control.example".parse()?, ProxyRule::from_env());
/// let patience = Duration::from_secs(10);
/// let client = HttpClient::new(url, TlsConfig::native(), &proxy, token, patience)?;
/// let mut answer = client.get("/api/agents").await?;
/// while let Some(part) = answer.chunk().await? {
///     println!("{} bytes", part.len());
/// }
/// # Ok(())
/// # }
/// ```
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
        tls: impl Into<TlsConfig>,
        proxy: &ProxyRule,
        token: Secret,
        patience: Duration,
    ) -> Result<Self, DialerError> {
        Ok(Self { connector: Connector::new(url, tls.into(), proxy)?, token, patience })
    }

    /// Gets a page of the server, whatever its status. `path` begins with a slash.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn get(&self, path: &str) -> Result<HttpAnswer, DialError> {
        self.ask(Method::GET, path, None, Repetition::Harmless).await
    }

    /// Sends JSON to a page of the server.
    ///
    /// # Errors
    /// There is no answer. Whether the server took it is then not known.
    pub async fn post(
        &self,
        path: &str,
        json: &str,
        repetition: Repetition,
    ) -> Result<HttpAnswer, DialError> {
        self.ask(Method::POST, path, Some(json), repetition).await
    }

    /// Asks the server to delete what a page is about.
    ///
    /// # Errors
    /// There is no answer. Whether the server did it is then not known.
    pub async fn delete(&self, path: &str) -> Result<HttpAnswer, DialError> {
        self.ask(Method::DELETE, path, None, Repetition::Harmless).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        json: Option<&str>,
        repetition: Repetition,
    ) -> Result<HttpAnswer, DialError> {
        let nonce = generate_key();
        let request = self.request(method, path, json, &nonce).map_err(|e| {
            DialError::new(DialFailure::NoToken, e.to_string()).with_fault(DialFault::TokenUnfit)
        })?;
        let by = Instant::now() + self.patience;
        let mut candidates = self.connector.candidates(by).await?;
        loop {
            // What fails in here failed before anything was sent, and continues to the next one by itself.
            let Opened { stream, heard, trial, by } = candidates.open().await?;
            let whom = format!("{} at {}", self.connector.url(), trial.address());
            let late = format!("{whom}: nothing came");
            let answer = within(by, (DialFault::Unanswered, &late), async {
                let sent = http::send(stream, request.clone()).await;
                sent.map_err(|e| http::failure_after(&e, &heard).by(&whom))
            })
            .await
            .map(|exchange| HttpAnswer {
                exchange,
                nonce: nonce.clone(),
                patience: self.patience,
            });
            let is_last = candidates.are_spent() || repetition == Repetition::Harmful;
            let failed = match answer {
                Ok(answer) if is_last || !answer.is_of_a_proxy() => {
                    trial.got_through();
                    return Ok(answer);
                }
                Ok(answer) => {
                    let text = format!("{whom}: answered HTTP {}", answer.status());
                    DialError::new(DialFailure::NotAServer(answer.status()), text)
                }
                Err(error) if is_last => return Err(candidates.ends_with(error)),
                Err(error) => error,
            };
            candidates.next_after(&failed);
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        json: Option<&str>,
        nonce: &str,
    ) -> Result<Request<Full<Bytes>>, ::http::Error> {
        let url = self.connector.url();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.expose()))?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(url.page_path(path))
            .header(header::HOST, url.authority().as_str())
            .header(header::CONNECTION, "close")
            .header(NONCE_HEADER, nonce)
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
    nonce: String,
    patience: Duration,
}

impl HttpAnswer {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.exchange.response.status().as_u16()
    }

    /// Whether the server refuses the token. What says so without the nonce of the request may be a proxy, or a server
    /// of an earlier version (P-12).
    #[must_use]
    pub fn refuses_token(&self) -> bool {
        let headers = self.exchange.response.headers();
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let (nonce, reason) = (text(NONCE_HEADER), text(REFUSAL_HEADER));
        let (retry_after, token_fault) = (None, None);
        let answer = HttpRefusal { status: self.status(), retry_after, nonce, reason, token_fault };
        answer.meaning(&self.nonce).is_about_the_token()
    }

    /// Whether a proxy says that it has no server now: our server answers such a status with JSON, or with the nonce.
    #[must_use]
    pub fn is_of_a_proxy(&self) -> bool {
        let headers = self.exchange.response.headers();
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let is_ours = kind.is_some_and(|kind| kind.starts_with("application/json"))
            || headers.contains_key(NONCE_HEADER);
        matches!(self.status(), 502..=504) && !is_ours
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
                format!("nothing was received for {} s", self.patience.as_secs()),
            )),
        }
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(4);

    /// Takes connections and answers each request with this text, in which NONCE stands for what it sent; nothing
    /// if there is no
    /// text. How many requests came.
    async fn at(answer: Option<&'static str>) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let _ = count.fetch_add(1, Ordering::SeqCst);
                let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
                let sent = head.split_once("onsembl-nonce: ").unwrap().1.to_owned();
                match answer {
                    Some(text) => {
                        // Header values keep their case; this nonce was lowered with the rest.
                        let nonce = sent.lines().next().unwrap();
                        let _ = stream.write_all(text.replace("NONCE", nonce).as_bytes()).await;
                    }
                    None => silent.push(stream),
                }
            }
        });
        (address, asked)
    }

    fn client(addresses: &[SocketAddr]) -> HttpClient {
        let url = "http://control.test".parse().unwrap();
        let rule = ProxyRule::direct();
        let token = Secret::new("t");
        let mut client = HttpClient::new(url, TlsConfig::native(), &rule, token, PATIENCE).unwrap();
        client.connector.set_addresses(addresses.to_vec());
        client
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn an_address_that_says_nothing_or_has_no_server_hides_no_other() {
        for first in [None, Some(BAD_GATEWAY), Some("SSH-2.0-x\r\n")] {
            let (first, (second, asked)) = (at(first).await.0, at(Some(GOOD)).await);
            let got = client(&[first, second]).get("/api/agents").await.unwrap();
            assert_eq!(got.status(), 200);
            let post = client(&[first, second]);
            let sent = post.post("/api/stop", "{}", Repetition::Harmless).await.unwrap();
            assert_eq!((sent.status(), asked.load(Ordering::SeqCst)), (200, 2));
        }
    }

    #[tokio::test]
    async fn what_is_harmful_twice_goes_on_only_where_it_did_not_go_out() {
        let (bad, good) = (at(Some(BAD_GATEWAY)).await.0, at(Some(GOOD)).await);
        let order = |to: Vec<SocketAddr>| async move {
            client(&to).post("/api/x", "{}", Repetition::Harmful).await
        };
        assert_eq!(order(vec![bad, good.0]).await.unwrap().status(), 502);
        let silent = at(None).await.0;
        let error = order(vec![silent, good.0]).await.unwrap_err();
        assert_eq!((error.fault, good.1.load(Ordering::SeqCst)), (DialFault::Unanswered, 0));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(order(vec![closed, good.0]).await.unwrap().status(), 200);
    }

    /// An error of the last address says what was wrong with the others.
    #[tokio::test]
    async fn where_no_address_answers_each_is_named() {
        let (bad, silent) = (at(Some(BAD_GATEWAY)).await.0, at(None).await.0);
        let error = client(&[bad, silent]).get("/").await.unwrap_err().to_string();
        assert!(error.contains(&bad.to_string()) && error.contains("502"), "{error}");
        assert!(error.contains(&silent.to_string()), "{error}");
        let answer = client(&[silent, bad]).get("/").await.unwrap();
        assert!(answer.is_of_a_proxy());
    }

    #[tokio::test]
    async fn only_what_repeats_the_nonce_refuses_the_token() {
        let anybody = "HTTP/1.1 403 No\r\nOnsembl-Refusal: forbidden\r\nContent-Length: 0\r\n\r\n";
        let refused = client(&[at(Some(anybody)).await.0]).get("/").await.unwrap();
        assert!(!refused.refuses_token() && !refused.is_of_a_proxy());
        let busy =
            "HTTP/1.1 503 x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        let refused = client(&[at(Some(busy)).await.0]).get("/").await.unwrap();
        assert!(!refused.is_of_a_proxy(), "a server that says why");
    }
}
