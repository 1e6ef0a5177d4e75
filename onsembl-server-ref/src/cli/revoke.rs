//! `onsembl-server token revoke` and `revoke`: on the data folder, with or without a server.

use super::find::by_short_id;
use super::print;
use super::token::{CLOSE, open, within};
use super::tokens::unknown;
use super::view::View;
use crate::auth::{Tokens, parse_random};
use crate::store::{AgentRow, Store};
use anyhow::{Context as _, bail};
use clap::Args;
use onsembl_protocol::id::{TokenId, UserId};
use onsembl_protocol::time::WallTime;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

const REVOKE_EXAMPLES: &str = "\
Examples:
  onsembl-server token revoke 5f0c8a91d2b3e476                   one, by its id
  onsembl-server token revoke --user me --agent build-7          all tokens that hold an agent
  onsembl-server token revoke --user me --all                    all of a user
  onsembl-server token revoke --expired                          forget those that have expired";

#[derive(Debug, Args)]
#[group(id = "which", multiple = false)]
pub(super) struct Which {
    /// Every token of the lineage that holds this agent, by its name or id. The agent stays bound to it until
    /// `token --agent` passes it on.
    #[arg(long, value_name = "AGENT", requires = "user")]
    agent: Option<String>,
    /// Every token of the user made until now.
    #[arg(long, requires = "user")]
    all: bool,
    /// Forget expired tokens, of the user or of all users; they are invalid in any case.
    #[arg(long)]
    expired: bool,
}

#[derive(Debug, Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub(super) struct Revoke {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The user whose agent or tokens are meant.
    #[arg(long, env = "ONSEMBL_USER", value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    which: Which,
    /// The token, by its id or in full. The variable ONSEMBL_TOKEN is not read: it holds the caller's own token.
    #[arg(value_name = "ID|TOKEN")]
    token: Option<String>,
    /// Revoke all tokens of a user even if the clock of this machine differs from the time the server last observed.
    #[arg(long, env = "ONSEMBL_FORCE")]
    force: bool,
}

/// How far the clock of this machine may be from the time that the server has observed, before all signed tokens of a
/// user that were made until now are revoked: those that an issuer makes later would be refused too, or earlier ones
/// would stay good, and nothing takes that back.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(3600);

/// Refuses what depends on a clock that may be wrong.
fn trust_clock(now: WallTime, observed: WallTime) -> anyhow::Result<()> {
    let apart = Duration::from_millis(now.unix_millis().abs_diff(observed.unix_millis()));
    if apart > CLOCK_DIFFERENCE {
        bail!(
            "the clock of this machine shows {now}, but the server last observed {observed}: if the clock is right and no server ran for a while, use --force; nothing was revoked"
        );
    }
    Ok(())
}

impl Revoke {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let (store, now) = open(&self.data).await?;
        let done = within(self.revoke(&store, now)).await;
        store.close(CLOSE).await?;
        let Done { json, name, text } = done??;
        // On standard error, where it always was.
        view.one(json, &name, || Ok(print::note(text)?))
    }

    async fn revoke(&self, store: &Store, now: WallTime) -> anyhow::Result<Done> {
        const NOTE: &str = "revoked on the command line";
        let user = self.user.as_deref().map(UserId::new);
        match (&self.which, &user, &self.token) {
            (Which { expired: true, .. }, user, _) => {
                // A clock that is ahead takes good tokens for expired, and what is forgotten is lost.
                let at = now.min(store.retention().ages_by());
                let count = store.tokens().forget_expired(user.as_ref(), at).await?;
                Ok(Done::counted(count, "that had expired forgotten"))
            }
            (Which { all: true, .. }, Some(user), _) => {
                if !self.force {
                    trust_clock(now, store.retention().ages_by())?;
                }
                Ok(Done::counted(store.tokens().revoke_user(user, now, NOTE).await?, "revoked"))
            }
            (Which { agent: Some(wanted), .. }, Some(user), _) => {
                let agents = store.agents().list(Some(user)).await?;
                let agent = find(&agents, wanted)?;
                let Some(claim) = &agent.claim else {
                    bail!("no token holds {wanted:?}: it had no session with this version yet");
                };
                let count = store.tokens().revoke_lineage(user, &claim.lineage, now, NOTE).await?;
                let of_it = |other: &&AgentRow| {
                    other.agent != agent.agent
                        && other.claim.as_ref().is_some_and(|c| c.lineage == claim.lineage)
                };
                let others = agents.iter().filter(of_it).map(|agent| agent.name.as_str());
                let others: Vec<&str> = others.collect();
                let mut done = Done::counted(count, "revoked");
                if !others.is_empty() {
                    done.text.push_str(&format!("; they also held: {}", others.join(", ")));
                }
                Ok(done)
            }
            (_, _, Some(token)) => {
                let id = self.id_of(store, token.trim()).await?;
                let listed = store.tokens().get(&TokenId::new(&id)).await?;
                store.tokens().revoke(&id, now, NOTE).await?;
                let user = listed.as_ref().map(|row| row.user.as_str().to_owned());
                let was = match listed.as_ref().and_then(|row| row.revoked.as_ref()) {
                    Some((at, _)) => format!(", which was revoked at {at} already"),
                    None => String::new(),
                };
                let of = match &listed {
                    Some(row) => {
                        let what = row.made_for.as_deref().map(|name| format!(" for {name}"));
                        format!(" of {} ({}{})", row.user, row.kind, what.unwrap_or_default())
                    }
                    None => ", which no server has seen".to_owned(),
                };
                Ok(Done {
                    json: json!({ "revoked": 1, "token_id": id, "user": user }),
                    text: format!("revoked the token {id}{of}{was}"),
                    name: id,
                })
            }
            (_, _, None) => bail!(
                "name the token by its id, or use --agent, --all or --expired; `onsembl-server tokens` lists them"
            ),
        }
    }

    /// The id of a token that is given by it, or as a whole.
    async fn id_of(&self, store: &Store, token: &str) -> anyhow::Result<String> {
        if let Some(shown) = parse_random(token) {
            return Ok(shown.id.to_string());
        }
        let signed = Tokens::open(&self.data)?;
        if let Some(id) = signed.id_of(token) {
            return Ok(id);
        }
        if let Some(row) = store.tokens().get(&TokenId::new(token)).await? {
            return Ok(row.token.as_str().to_owned());
        }
        let rows = store.tokens().list(self.user.as_deref().map(UserId::new).as_ref()).await?;
        let ids = rows.iter().map(|row| row.token.as_str());
        Ok(by_short_id(token, ids, "tokens")?.with_context(|| unknown(token))?.to_owned())
    }
}

/// What was revoked.
struct Done {
    json: serde_json::Value,
    name: String,
    text: String,
}

impl Done {
    fn counted(count: usize, what: &str) -> Self {
        let tokens = if count == 1 { "token" } else { "tokens" };
        let text = format!("{count} {tokens} {what}");
        Self { json: json!({ "revoked": count }), name: count.to_string(), text }
    }
}

fn find<'a>(agents: &'a [AgentRow], wanted: &str) -> anyhow::Result<&'a AgentRow> {
    if let Some(agent) = agents.iter().find(|agent| agent.agent.as_str() == wanted) {
        return Ok(agent);
    }
    let mut named = agents.iter().filter(|agent| agent.name == wanted);
    match (named.next(), named.count()) {
        (Some(agent), 0) => Ok(agent),
        (Some(_), more) => {
            bail!("{} agents are called {wanted:?}; name one by its id", more + 1)
        }
        (None, _) => bail!("no agent of this user is called {wanted:?}"),
    }
}
