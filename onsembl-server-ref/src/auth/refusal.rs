//! Why a peer is not admitted, and why that is unknown.

use super::TokenError;
use onsembl_protocol::session::{RefusalReason, TokenFault};
use std::fmt;
use thiserror::Error;

/// Why a peer is not admitted.
///
/// Each holds a sentence that is sent to the peer: what failed, and what to do. Agents write it to
/// their log, so it must not repeat the credentials.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The credentials are missing or not valid: HTTP 401. An agent dials again after 30 to 60 s, or
    /// as soon as its token source has another token.
    #[error("{0}")]
    Unauthorized(String),
    /// As [`Unauthorized`](Self::Unauthorized), and what is wrong with the credentials: peers are told it in a
    /// header too, so that an agent can say it.
    #[error("{1}")]
    Unfit(TokenFault, String),
    /// The peer is known and is to stay away: HTTP 403. An agent stops permanently.
    #[error("{0}")]
    Forbidden(String),
    /// Not known now: HTTP 503. A peer comes back after 5 s.
    #[error("{0}")]
    Unavailable(String),
}

impl Refusal {
    /// The reason as the refusal's header gives it.
    pub(crate) const fn reason(&self) -> RefusalReason {
        match self {
            Self::Unauthorized(_) | Self::Unfit(..) => RefusalReason::Unauthorized,
            Self::Forbidden(_) => RefusalReason::Forbidden,
            Self::Unavailable(_) => RefusalReason::Unavailable,
        }
    }

    /// What is wrong with the token, where that is known.
    pub(crate) const fn token_fault(&self) -> Option<TokenFault> {
        match self {
            Self::Unfit(fault, _) => Some(*fault),
            Self::Unauthorized(_) | Self::Forbidden(_) | Self::Unavailable(_) => None,
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let why = error.to_string();
        match error {
            TokenError::Expired => Self::Unfit(TokenFault::Expired, why),
            TokenError::WrongKind(_) => Self::Unfit(TokenFault::WrongKind, why),
            TokenError::Foreign | TokenError::Unknown | TokenError::Malformed => {
                Self::Unfit(TokenFault::Unknown, why)
            }
            TokenError::Missing => Self::Unauthorized(why),
        }
    }
}

/// Why it is unknown whether a token was revoked. For the log of the server; peers do not see it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct LookupError(String);

impl LookupError {
    /// The cause, usually the error of a database.
    #[must_use]
    pub fn new(cause: impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}
