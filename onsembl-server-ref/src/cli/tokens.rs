//! `onsembl-server tokens`: which tokens there are, and what was done with one.

use super::print;
use super::table::table;
use super::token::open;
use crate::store::{AgentRow, TokenForm, TokenRow, TokenSession};
use anyhow::Context as _;
use clap::Args;
use onsembl_protocol::id::{TokenId, UserId};
use onsembl_protocol::time::WallTime;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  All tokens of a user, the newest first:
    onsembl-server tokens --user me
  Every session that one of them opened:
    onsembl-server tokens 5f0c8a91d2b3e476";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListTokens {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Only those of this user.
    #[arg(long, env = "ONSEMBL_USER", value_name = "NAME")]
    user: Option<String>,
    /// Show what was done with this token instead, by its id.
    #[arg(value_name = "ID")]
    token: Option<String>,
    /// Print it as JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

impl ListTokens {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (store, now) = open(&self.data).await?;
        let user = self.user.as_deref().map(UserId::new);
        let agents = store.agents(user.as_ref()).await?;
        let lines = match &self.token {
            Some(id) => {
                let id = TokenId::new(id);
                let row = store.token(&id).await?.with_context(|| {
                    format!("no token {id} is known there; `onsembl-server tokens` lists them")
                })?;
                let sessions = store.sessions_of_token(&id).await?;
                match self.json {
                    true => vec![detail(&row, &agents, &sessions, now).to_string()],
                    false => [list(&[row], &agents, now), history(&sessions)].concat(),
                }
            }
            None => {
                let rows = store.tokens(user.as_ref()).await?;
                match self.json {
                    true => {
                        let all: Vec<_> = rows.iter().map(|row| of(row, &agents, now)).collect();
                        vec![json!({ "tokens": all }).to_string()]
                    }
                    false => list(&rows, &agents, now),
                }
            }
        };
        store.close(Duration::from_secs(5)).await?;
        match self.json {
            true => lines.iter().try_for_each(|line| print::json(line))?,
            false => print::lines(lines)?,
        }
        Ok(())
    }
}

/// Whether a token is good now.
fn state(row: &TokenRow, now: WallTime) -> &'static str {
    match (&row.revoked, row.expires_at, row.shown_at) {
        (Some(_), _, _) => "revoked",
        (None, Some(at), _) if at <= now => "expired",
        (None, _, None) => "unused",
        (None, _, Some(_)) => "good",
    }
}

/// What a token may be used for.
fn purpose(row: &TokenRow) -> String {
    match (&row.made_for, row.kind.as_str()) {
        (Some(name), _) => name.clone(),
        (None, "agent") => "any agent".to_owned(),
        (None, kind) => kind.to_owned(),
    }
}

/// The agents that its lineage holds.
fn holds(row: &TokenRow, agents: &[AgentRow]) -> Vec<String> {
    let is_held = |agent: &&AgentRow| {
        let claim = agent.claim.as_ref();
        agent.user == row.user && claim.is_some_and(|claim| claim.lineage == row.lineage)
    };
    agents.iter().filter(is_held).map(|agent| agent.name.clone()).collect()
}

fn list(rows: &[TokenRow], agents: &[AgentRow], now: WallTime) -> Vec<String> {
    if rows.is_empty() {
        return vec!["no tokens yet; make one with `onsembl-server token`".to_owned()];
    }
    let or_none = |at: Option<WallTime>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let rows = rows.iter().map(|row| {
        let holds = holds(row, agents);
        [
            row.token.to_string(),
            row.user.to_string(),
            purpose(row),
            state(row, now).to_owned(),
            if holds.is_empty() { "-".to_owned() } else { holds.join(", ") },
            row.made_at.to_string(),
            or_none(row.shown_at),
            row.shown_from.clone().unwrap_or_else(|| "-".to_owned()),
            or_none(row.expires_at),
            row.revoked.as_ref().map(|(at, why)| format!("{at}: {why}")).unwrap_or_default(),
        ]
    });
    let head =
        ["ID", "USER", "FOR", "STATE", "HOLDS", "MADE", "LAST SHOWN", "FROM", "EXPIRES", "REVOKED"];
    table(head, rows)
}

fn history(sessions: &[TokenSession]) -> Vec<String> {
    if sessions.is_empty() {
        return vec!["it has opened no session".to_owned()];
    }
    let rows = sessions.iter().map(|session| {
        [
            session.name.clone(),
            session.agent.to_string(),
            session.peer.clone(),
            session.opened_at.to_string(),
            session.closed_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            session.because.clone().unwrap_or_default(),
        ]
    });
    let table = table(["AGENT", "ID", "FROM", "OPENED", "CLOSED", "BECAUSE"], rows);
    [vec![String::new()], table].concat()
}

fn of(row: &TokenRow, agents: &[AgentRow], now: WallTime) -> Value {
    let form = match row.form {
        TokenForm::Random(_) => "random",
        TokenForm::Signed => "signed",
    };
    json!({
        "token_id": row.token,
        "user": row.user,
        "kind": row.kind,
        "form": form,
        "lineage": row.lineage,
        "made_for": row.made_for,
        "agent_id": row.agent,
        "state": state(row, now),
        "holds": holds(row, agents),
        "made_at": row.made_at.to_string(),
        "shown_at": row.shown_at.map(|at| at.to_string()),
        "shown_from": row.shown_from,
        "expires_at": row.expires_at.map(|at| at.to_string()),
        "revoked_at": row.revoked.as_ref().map(|(at, _)| at.to_string()),
        "revoked_because": row.revoked.as_ref().map(|(_, why)| why),
    })
}

fn detail(row: &TokenRow, agents: &[AgentRow], sessions: &[TokenSession], now: WallTime) -> Value {
    let mut all = of(row, agents, now);
    let sessions: Vec<_> = sessions
        .iter()
        .map(|session| {
            json!({
                "agent_id": session.agent,
                "name": session.name,
                "peer": session.peer,
                "opened_at": session.opened_at.to_string(),
                "closed_at": session.closed_at.map(|at| at.to_string()),
                "because": session.because,
            })
        })
        .collect();
    if let Some(fields) = all.as_object_mut() {
        let _ = fields.insert("sessions".to_owned(), json!(sessions));
    }
    all
}
