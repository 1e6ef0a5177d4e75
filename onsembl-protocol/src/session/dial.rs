//! Why a dial attempt failed.

use crate::liveness::RETRY_AFTER_LIMIT;
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The failure of one attempt to open a link, as far as it decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DialFailure {
    /// Name resolution or connecting failed.
    Unreachable,
    /// The attempt exceeded its time limit.
    TimedOut,
    /// No token: its source is missing or unreadable. No server was asked.
    NoToken,
    /// The TLS handshake failed.
    Tls,
    /// The answer was not a WebSocket upgrade, and not a refusal of our server either (HTTP status in
    /// it; 0 when it was no HTTP at all).
    NotAServer(u16),
    /// Our server refused the token as invalid, missing or expired (HTTP 401).
    Unauthorized,
    /// Our server refused the dial because the token was revoked or the agent deleted (HTTP 403). Permanent.
    Forbidden,
    /// HTTP 429 or 503, with its `Retry-After` if it named one.
    Busy {
        /// The wait requested by the server.
        retry_after: Option<Duration>,
    },
}

impl DialFailure {
    /// One of each kind, and one more where what it carries decides: for tables and for tests.
    pub const SAMPLES: &'static [Self] = &[
        Self::Unreachable,
        Self::TimedOut,
        Self::NoToken,
        Self::Tls,
        Self::NotAServer(404),
        Self::NotAServer(403),
        Self::Unauthorized,
        Self::Forbidden,
        Self::Busy { retry_after: None },
        Self::Busy { retry_after: Some(Duration::from_secs(60)) },
    ];

    /// Whether the token was refused, so that only another one helps.
    pub const fn is_about_the_token(self) -> bool {
        match self {
            Self::Unauthorized | Self::Forbidden => true,
            Self::Unreachable
            | Self::TimedOut
            | Self::NoToken
            | Self::Tls
            | Self::NotAServer(_)
            | Self::Busy { .. } => false,
        }
    }
}

/// What happened, as far as it decides; [`DialFault`](super::DialFault) has the particulars.
impl fmt::Display for DialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no connection to the server"),
            Self::TimedOut => f.write_str("the dial timed out"),
            Self::NoToken => f.write_str("no token"),
            Self::Tls => f.write_str("the TLS handshake failed"),
            Self::NotAServer(0) => {
                f.write_str("the reply is not HTTP (is this a TLS port? use https:// or wss://)")
            }
            Self::NotAServer(status @ (401 | 403)) => {
                write!(f, "the dial was refused, but not provably by the server (HTTP {status})")
            }
            Self::NotAServer(407) => f.write_str("a proxy requires credentials (HTTP 407)"),
            Self::NotAServer(status) => {
                write!(f, "the peer refused the WebSocket upgrade (HTTP {status})")
            }
            Self::Unauthorized => f.write_str("the server refused the token (HTTP 401)"),
            Self::Forbidden => f.write_str(
                "the server refuses this token or agent permanently (HTTP 403: revoked or deleted)",
            ),
            Self::Busy { retry_after: Some(asked) } => {
                write!(f, "the peer is busy and asks to wait {}s", asked.as_secs())?;
                match *asked > RETRY_AFTER_LIMIT {
                    true => write!(f, "; waiting {}s", RETRY_AFTER_LIMIT.as_secs()),
                    false => Ok(()),
                }
            }
            Self::Busy { retry_after: None } => f.write_str("the peer is busy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DialFailure;

    #[test]
    fn each_kind_has_a_sample() {
        macro_rules! each {
            ($($kind:pat,)+) => {
                let _is_exhaustive = |failure| match failure { $($kind => {})+ };
                $(assert!(
                    DialFailure::SAMPLES.iter().any(|sample| matches!(sample, $kind)),
                    "{}",
                    stringify!($kind),
                );)+
            };
        }
        each! {
            DialFailure::Unreachable,
            DialFailure::TimedOut,
            DialFailure::NoToken,
            DialFailure::Tls,
            DialFailure::NotAServer(_),
            DialFailure::Unauthorized,
            DialFailure::Forbidden,
            DialFailure::Busy { retry_after: None },
            DialFailure::Busy { retry_after: Some(_) },
        }
    }
}
