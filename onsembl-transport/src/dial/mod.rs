//! Getting from a server URL to a stream: names, addresses, proxies, TLS, and HTTP over it.
//!
//! | file | idea |
//! | --- | --- |
//! | `url` | the URL of a server, taken apart once |
//! | `proxy` | which proxy a dial goes through |
//! | `exceptions` | which servers are reached without one |
//! | `this_machine` | which names and addresses are the machine itself |
//! | `addresses` | in which order addresses are tried, and which of them failed lately |
//! | `race` | connections to several addresses, a moment apart |
//! | `lookup` | from a host name to addresses, and what the resolver's refusal means |
//! | `heard` | how what a host says begins, when it is not what was asked for |
//! | `connect` | a stream to the server: through a proxy or not, with TLS or not |
//! | `http` | one HTTP request over a stream |
//! | `client` | pages of a server, for programs that ask for them |

mod addresses;
mod client;
mod connect;
mod exceptions;
mod heard;
pub(crate) mod http;
mod lookup;
mod proxy;
mod race;
mod this_machine;
mod url;

pub use client::{HttpAnswer, HttpClient, Repetition};
pub(crate) use connect::{Connector, Opened, unconnected, within};
pub use heard::Clocks;
pub(crate) use heard::Heard;
#[cfg(test)]
pub(crate) use heard::Listening;
pub use proxy::{InvalidProxy, ProxyRule};
pub(crate) use url::Scheme;
pub use url::{InvalidUrl, ServerUrl};

use crate::tls::TlsError;
use thiserror::Error;

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
    #[error("the header {0:?} has a name or value that is invalid in HTTP")]
    Header(String),
}
