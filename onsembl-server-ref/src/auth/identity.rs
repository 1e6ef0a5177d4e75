//! What is known of a peer that was admitted.

use onsembl_protocol::id::UserId;
use onsembl_protocol::time::WallTime;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a token lets its bearer be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// A dashboard, a script, a person.
    Dashboard,
    /// An agent.
    Agent,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dashboard => "dashboard",
            Self::Agent => "agent",
        })
    }
}

/// Whose token it is, and what it is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The user. Users reach only their own agents.
    pub user: UserId,
    /// What the bearer may be.
    pub kind: TokenKind,
    /// Names the token for [`Auth::is_revoked`](super::Auth::is_revoked). Not secret.
    pub token_id: String,
    /// When sessions with it end; `None`: never.
    pub expires: Option<WallTime>,
}

impl Identity {
    /// An identity that does not expire.
    #[must_use]
    pub fn new(user: UserId, kind: TokenKind, token_id: impl Into<String>) -> Self {
        Self { user, kind, token_id: token_id.into(), expires: None }
    }

    /// The same, until that time.
    #[must_use]
    pub fn expiring_at(self, at: WallTime) -> Self {
        Self { expires: Some(at), ..self }
    }

    /// Whether its time is over.
    #[must_use]
    pub fn has_expired(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}
