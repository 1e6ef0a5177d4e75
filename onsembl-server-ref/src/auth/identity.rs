//! What is known of a peer that was admitted.

use onsembl_protocol::fleet::{Bearer, TokenScope};
use onsembl_protocol::id::{LineageId, TokenId, UserId};
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
    /// A program that reads the metrics of the server, which are of all users.
    Metrics,
}

impl TokenKind {
    /// Its word on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dashboard => "dashboard",
            Self::Agent => "agent",
            Self::Metrics => "metrics",
        }
    }

    /// The kind of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Dashboard, Self::Agent, Self::Metrics].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    /// The tokens that succeed one another, of which it is one: they hold the agents that come with them, and
    /// no others may speak for those. `None`: the service vouches that the peer may be each agent of the user.
    pub lineage: Option<LineageId>,
    /// Which agents it may speak for, if it has a lineage.
    pub scope: TokenScope,
}

impl Identity {
    /// An identity that does not expire.
    #[must_use]
    pub fn new(user: UserId, kind: TokenKind, token_id: impl Into<String>) -> Self {
        let (token_id, scope) = (token_id.into(), TokenScope::Any);
        Self { user, kind, token_id, expires: None, lineage: None, scope }
    }

    /// The same, until that time.
    #[must_use]
    pub fn expiring_at(self, at: WallTime) -> Self {
        Self { expires: Some(at), ..self }
    }

    /// The same, of this lineage: its agents are held by it.
    #[must_use]
    pub fn in_lineage(self, lineage: LineageId) -> Self {
        Self { lineage: Some(lineage), ..self }
    }

    /// The same, for these agents only. Counts with a lineage.
    #[must_use]
    pub fn for_agents(self, scope: TokenScope) -> Self {
        Self { scope, ..self }
    }

    /// The token as a fleet sees it.
    pub(crate) fn bearer(&self) -> Option<Bearer> {
        let lineage = self.lineage.clone()?;
        Some(Bearer { token: TokenId::new(&self.token_id), lineage, scope: self.scope.clone() })
    }

    /// Whether its time is over.
    #[must_use]
    pub fn has_expired(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}
