//! One request to the collector, over the same names, proxies and certificates as links are dialled by.

use super::settings::{TraceSettings, TracesError};
use crate::dial::{Connector, ProxyRule, ServerUrl, http as exchange};
use crate::tls::TlsConfig;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use opentelemetry_http::{HttpClient, HttpError, ResponseBodyTooLarge};
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest answer that is read: it says how many spans were refused, and why.
const ANSWER: usize = 64 * 1024;

/// A collector, as the library of the exporter wants it.
pub(super) struct Collector {
    connector: Connector,
    timeout: Duration,
}

impl Collector {
    /// The one that these settings name.
    ///
    /// # Errors
    /// Its URL cannot be used, or there are no certificates to trust.
    pub(super) fn new(settings: &TraceSettings) -> Result<Self, TracesError> {
        let endpoint = &settings.endpoint;
        let unusable = |why: &str| TracesError::endpoint(endpoint, why);
        let uri: Uri = endpoint.parse().map_err(|_| unusable("it is not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(unusable("it has no scheme, or no host"));
        };
        let url: ServerUrl = format!("{scheme}://{authority}")
            .parse()
            .map_err(|error| TracesError::endpoint(endpoint, error))?;
        let tls = match &settings.certificate {
            Some(path) => TlsConfig::pem_file(path),
            None => TlsConfig::native(),
        };
        let connector = Connector::new(url, tls, &ProxyRule::from_env())
            .map_err(|error| TracesError::endpoint(endpoint, error))?;
        Ok(Self { connector, timeout: settings.timeout })
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        by: Instant,
    ) -> Result<Response<Bytes>, HttpError> {
        let (mut parts, body) = request.into_parts();
        let authority = self.connector.url().authority().as_str();
        let _ = parts.headers.insert(header::HOST, HeaderValue::from_str(authority)?);
        let _ = parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        parts.uri = match parts.uri.path_and_query() {
            Some(path) => path.as_str().parse()?,
            None => Uri::from_static("/"),
        };
        let opened = self.connector.candidates(by).await?.open().await?;
        let request = Request::from_parts(parts, Full::new(body));
        let mut answer = exchange::send(opened.stream, request).await?;
        opened.trial.got_through();
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > ANSWER {
                return Err(Box::new(ResponseBodyTooLarge::new()));
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.response.status();
        // The library waits as long as `Retry-After` says, and 30 s at most.
        *response.headers_mut() = std::mem::take(answer.response.headers_mut());
        Ok(response)
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let by = Instant::now() + self.timeout;
        timeout_at(by, self.exchange(request, by)).await?
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("url", self.connector.url()).finish_non_exhaustive()
    }
}
