//! What is known of a peer that was admitted.

use super::signing::SecretNumber;
use onsembl_protocol::fleet::{Bearer, TokenScope};
use onsembl_protocol::id::{LineageId, TokenId, UserId};
use onsembl_protocol::time::WallTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

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
    /// When the token was made, if that is known: how long before its end people are warned follows from how long
    /// it lasts in all.
    pub made: Option<WallTime>,
    /// The tokens that succeed one another, of which it is one: they hold the agents that come with them, and
    /// no others may speak for those. `None`: the service vouches that the peer may be each agent of the user.
    pub lineage: Option<LineageId>,
    /// Which agents it may speak for, if it has a lineage.
    pub scope: TokenScope,
    /// Whether it was looked up together with this that the token is not revoked.
    pub(super) is_unrevoked: bool,
    /// Which secret of this server signed it, if one did: it is good as long as that is in use.
    pub(crate) signed_by: Option<SecretNumber>,
}

impl Identity {
    /// An identity that does not expire.
    #[must_use]
    pub fn new(user: UserId, kind: TokenKind, token_id: impl Into<String>) -> Self {
        let (token_id, scope) = (token_id.into(), TokenScope::Any);
        Self {
            user,
            kind,
            token_id,
            expires: None,
            made: None,
            lineage: None,
            scope,
            signed_by: None,
            is_unrevoked: false,
        }
    }

    /// The same, until that time.
    #[must_use]
    pub fn expiring_at(self, at: WallTime) -> Self {
        Self { expires: Some(at), ..self }
    }

    /// The same, of a token that was made then.
    #[must_use]
    pub fn made_at(self, at: WallTime) -> Self {
        Self { made: Some(at), ..self }
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

    /// How long it lasts yet, if its end is so near that people are to be told: less than a week, and less than a
    /// tenth of its time, so that tokens that are made for an hour are not complained of from the start.
    pub(crate) fn ends_soon(&self, now: WallTime) -> Option<Duration> {
        const WEEK: u64 = 7 * 24 * 3600 * 1000;
        let until = |to: WallTime, from: WallTime| {
            u64::try_from(to.unix_millis().saturating_sub(from.unix_millis())).ok()
        };
        let (ends, made) = (self.expires?, self.made?);
        let left = until(ends, now)?;
        let most = WEEK.min(until(ends, made)? / 10);
        (left < most).then(|| Duration::from_millis(left))
    }

    /// Whether its time is over.
    #[must_use]
    pub fn has_expired(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_of_the_end_of_a_token_a_while_before() {
        let hours = |n: i64| WallTime::from_unix_millis(n * 3_600_000);
        let of = |length: i64| {
            Identity::new(UserId::new("ann"), TokenKind::Agent, "t")
                .made_at(hours(0))
                .expiring_at(hours(length))
        };
        let soon = |length: i64, now: i64| {
            of(length).ends_soon(hours(now)).map(|left| left.as_secs() / 3600)
        };
        let year = 365 * 24;
        assert_eq!(soon(year, 0), None);
        assert_eq!(soon(year, year - 8 * 24), None);
        assert_eq!(soon(year, year - 6 * 24), Some(6 * 24));
        assert_eq!(soon(20, 0), None);
        assert_eq!(soon(20, 19), Some(1));
        assert_eq!(soon(20, 21), None, "it is over");
        let unknown =
            Identity::new(UserId::new("ann"), TokenKind::Agent, "t").expiring_at(hours(1));
        assert_eq!(unknown.ends_soon(hours(0)), None);
    }
}
