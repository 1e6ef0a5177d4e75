//! A token as it is shown: by the API to its user, and on the command line to the operator. Never the token itself.

use crate::store::{AgentRow, TokenForm, TokenRow, TokenSession};
use onsembl_protocol::time::WallTime;
use serde::{Deserialize, Serialize};

/// A token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenView {
    pub(crate) token_id: String,
    pub(crate) user: String,
    pub(crate) kind: String,
    /// `random` or `signed`.
    pub(crate) form: String,
    pub(crate) lineage: String,
    pub(crate) made_for: Option<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) state: TokenState,
    /// The names of the agents that its lineage holds.
    pub(crate) holds: Vec<String>,
    pub(crate) made_at: String,
    pub(crate) shown_at: Option<String>,
    pub(crate) shown_from: Option<String>,
    pub(crate) expires_at: Option<String>,
    pub(crate) revoked_at: Option<String>,
    pub(crate) revoked_because: Option<String>,
    /// Whether it is the one that asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) current: bool,
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenState {
    /// It is accepted, and was shown.
    Good,
    /// It is accepted, and was never shown.
    Unused,
    Expired,
    Revoked,
}

impl TokenState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unused => "unused",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    fn of(row: &TokenRow, now: WallTime) -> Self {
        match (&row.revoked, row.expires_at, row.shown_at) {
            (Some(_), _, _) => Self::Revoked,
            (None, Some(at), _) if at <= now => Self::Expired,
            (None, _, None) => Self::Unused,
            (None, _, Some(_)) => Self::Good,
        }
    }
}

impl TokenView {
    /// `agents` are those of its user, and may be more.
    pub(crate) fn of(row: &TokenRow, agents: &[AgentRow], now: WallTime) -> Self {
        let form = match row.form {
            TokenForm::Random(_) => "random",
            TokenForm::Signed => "signed",
        };
        let is_held = |agent: &&AgentRow| {
            let claim = agent.claim.as_ref();
            agent.user == row.user && claim.is_some_and(|claim| claim.lineage == row.lineage)
        };
        Self {
            token_id: row.token.as_str().to_owned(),
            user: row.user.as_str().to_owned(),
            kind: row.kind.clone(),
            form: form.to_owned(),
            lineage: row.lineage.as_str().to_owned(),
            made_for: row.made_for.clone(),
            agent_id: row.agent.as_ref().map(|agent| agent.as_str().to_owned()),
            state: TokenState::of(row, now),
            holds: agents.iter().filter(is_held).map(|agent| agent.name.clone()).collect(),
            made_at: row.made_at.to_string(),
            shown_at: row.shown_at.map(|at| at.to_string()),
            shown_from: row.shown_from.clone(),
            expires_at: row.expires_at.map(|at| at.to_string()),
            revoked_at: row.revoked.as_ref().map(|(at, _)| at.to_string()),
            revoked_because: row.revoked.as_ref().map(|(_, why)| why.clone()),
            current: false,
        }
    }

    /// What it may be used for.
    pub(crate) fn purpose(&self) -> &str {
        match (&self.made_for, self.kind.as_str()) {
            (Some(name), _) => name,
            (None, "agent") => "any agent",
            (None, kind) => kind,
        }
    }
}

/// A session that a token opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenSessionView {
    pub(crate) agent_id: String,
    pub(crate) name: String,
    pub(crate) peer: String,
    pub(crate) opened_at: String,
    pub(crate) closed_at: Option<String>,
    pub(crate) because: Option<String>,
}

impl From<TokenSession> for TokenSessionView {
    fn from(session: TokenSession) -> Self {
        Self {
            agent_id: session.agent.as_str().to_owned(),
            name: session.name,
            peer: session.peer,
            opened_at: session.opened_at.to_string(),
            closed_at: session.closed_at.map(|at| at.to_string()),
            because: session.because,
        }
    }
}
