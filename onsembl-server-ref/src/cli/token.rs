//! `onsembl-server token` and `revoke`: they work on the data folder, with or without a server.

use super::print;
use crate::auth::{
    MakeError, NewToken, TokenKind, TokenOrder, Tokens, make_token, parse_random, renew_token,
};
use crate::store::{AgentRow, Store};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use onsembl_protocol::id::{TokenId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::private;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the last write may take.
const CLOSE: Duration = Duration::from_secs(5);
/// How long a database that is held by another program is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// [`TokenKind`] as it is written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A dashboard, a script, a person.
    Dashboard,
    /// An agent.
    Agent,
    /// A program that reads /metrics, which are of all users: for the operator of the server.
    Metrics,
}

impl From<Kind> for TokenKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Dashboard => Self::Dashboard,
            Kind::Agent => Self::Agent,
            Kind::Metrics => Self::Metrics,
        }
    }
}

const TOKEN_EXAMPLES: &str = "Examples:
  For one agent; its first use binds it to the key of that agent:
    onsembl-server token --user me --agent build-7 --out agent.token
  For any number of agents that no other token holds:
    onsembl-server token --user me --kind agent --out fleet.token
  For a person or a script, for a day:
    onsembl-server token --user me --out me.token
  For Prometheus, which reads it from a file (`authorization: credentials_file`):
    onsembl-server token --user ops --kind metrics --out metrics.token
  A newer one for the same, before the older one expires:
    onsembl-server token --renew 5f0c8a91d2b3e476 --out agent.token";

#[derive(Debug, Args)]
#[command(after_help = TOKEN_EXAMPLES)]
pub(super) struct Token {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Whose token it is. Users see and command only their own agents.
    #[arg(long, env = "ONSEMBL_USER", value_name = "NAME", required_unless_present = "renew")]
    user: Option<String>,
    /// What its bearer may be: a dashboard, unless it is for an agent.
    #[arg(long, env = "ONSEMBL_KIND", value_enum)]
    kind: Option<Kind>,
    /// The one agent that it is for, by its name, or its id. An agent that exists is taken over with the first
    /// use; what held it before ends then.
    #[arg(long, env = "ONSEMBL_AGENT", value_name = "AGENT")]
    agent: Option<String>,
    /// Make a newer token of the lineage of this one, for the same: by its id, or itself.
    #[arg(long, env = "ONSEMBL_RENEW", hide_env_values = true, value_name = "TOKEN")]
    renew: Option<String>,
    /// How long it is valid: 365 days for agents and metrics, 24 hours for dashboards, if not said.
    #[arg(long, env = "ONSEMBL_TTL", value_parser = humantime::parse_duration, value_name = "TIME")]
    ttl: Option<Duration>,
    /// Write it into this file, which only you can read, instead of printing it. What is there is replaced.
    #[arg(long, env = "ONSEMBL_OUT", value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Token {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (store, now) = open(&self.data).await?;
        let made = tokio::time::timeout(PATIENCE, self.make(&store, now)).await;
        let made = made.map_err(|_| anyhow::anyhow!("another program holds the database"))??;
        store.close(CLOSE).await?;
        match &self.out {
            Some(file) => private::replace(file, format!("{}\n", made.text).as_bytes())
                .with_context(|| format!("cannot write the token to {}", file.display()))?,
            None => writeln!(print::raw(), "{}", made.text).context("cannot write the token")?,
        }
        Ok(say(&made)?)
    }

    async fn make(&self, store: &Store, now: WallTime) -> Result<NewToken, MakeOrSecret> {
        if let Some(wanted) = &self.renew {
            let signed = Tokens::open(&self.data)?;
            return Ok(renew_token(store, &signed, wanted.trim(), self.ttl, now).await?);
        }
        let kind = match (self.kind, &self.agent) {
            (Some(kind), _) => kind.into(),
            (None, Some(_)) => TokenKind::Agent,
            (None, None) => TokenKind::Dashboard,
        };
        let order = TokenOrder {
            user: UserId::new(self.user.as_deref().unwrap_or_default()),
            kind,
            agent: self.agent.clone(),
            ttl: self.ttl.unwrap_or(kind.lifetime()),
        };
        Ok(make_token(store, order, now).await?)
    }
}

/// Why no token comes of an order.
#[derive(Debug, thiserror::Error)]
enum MakeOrSecret {
    #[error(transparent)]
    Make(#[from] MakeError),
    #[error(transparent)]
    Secret(#[from] crate::auth::SecretError),
}

/// What a person is to know of a token that is not in it.
fn say(made: &NewToken) -> std::io::Result<()> {
    print::note(format_args!("token {}", made.id))?;
    if let Some(agent) = &made.takes {
        let from = made.from.as_ref().map(|from| format!(", from the token {from}"));
        let from = from.unwrap_or_default();
        let text = format_args!("it takes over the agent {agent} with its first use{from}");
        print::note(text)?;
    }
    Ok(())
}

const REVOKE_EXAMPLES: &str = "Examples:
  One token, by its id; `onsembl-server tokens` lists them:
    onsembl-server revoke 5f0c8a91d2b3e476
  Whatever holds an agent:
    onsembl-server revoke --user me --agent build-7
  All tokens of a user:
    onsembl-server revoke --user me --all
  Forget those that have expired:
    onsembl-server revoke --expired";

#[derive(Debug, Args)]
#[group(id = "which", multiple = false)]
pub(super) struct Which {
    /// Every token of the lineage that holds this agent, by its name or id. The agent stays with it until
    /// `token --agent` passes it on.
    #[arg(long, value_name = "AGENT", requires = "user")]
    agent: Option<String>,
    /// Every token of the user that was made until now.
    #[arg(long, requires = "user")]
    all: bool,
    /// Forget the tokens that have expired, of the user or of all users; they are no good in any case.
    #[arg(long)]
    expired: bool,
}

#[derive(Debug, Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub(super) struct Revoke {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Whose agent or tokens.
    #[arg(long, env = "ONSEMBL_USER", value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    which: Which,
    /// The token: by its id, or itself.
    #[arg(env = "ONSEMBL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Revoke all tokens of a user although the clock of this machine is not where the server saw it last.
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
            "the clock of this machine says {now}, and the time that the server has observed is {observed}: if the \
             clock is right, and no server ran for a while, say --force; nothing was revoked"
        );
    }
    Ok(())
}

impl Revoke {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (store, now) = open(&self.data).await?;
        let done = tokio::time::timeout(PATIENCE, self.revoke(&store, now)).await;
        done.map_err(|_| anyhow::anyhow!("another program holds the database"))??;
        store.close(CLOSE).await?;
        Ok(())
    }

    async fn revoke(&self, store: &Store, now: WallTime) -> anyhow::Result<()> {
        const NOTE: &str = "revoked on the command line";
        let user = self.user.as_deref().map(UserId::new);
        match (&self.which, &user, &self.token) {
            (Which { expired: true, .. }, user, _) => {
                // A clock that is ahead takes good tokens for expired, and what is forgotten is lost.
                let at = now.min(store.ages_by());
                let count = store.forget_expired_tokens(user.as_ref(), at).await?;
                say_count(count, "that had expired forgotten")?;
            }
            (Which { all: true, .. }, Some(user), _) => {
                if !self.force {
                    trust_clock(now, store.ages_by())?;
                }
                say_count(store.revoke_user(user, now, NOTE).await?, "revoked")?;
            }
            (Which { agent: Some(wanted), .. }, Some(user), _) => {
                let agents = store.agents(Some(user)).await?;
                let agent = find(&agents, wanted)?;
                let Some(claim) = &agent.claim else {
                    bail!("no token holds {wanted:?}: it was in no session with this version yet");
                };
                say_count(store.revoke_lineage(user, &claim.lineage, now, NOTE).await?, "revoked")?;
                let of_it = |other: &&AgentRow| {
                    other.agent != agent.agent
                        && other.claim.as_ref().is_some_and(|c| c.lineage == claim.lineage)
                };
                say_others(agents.iter().filter(of_it))?;
            }
            (_, _, Some(token)) => {
                store.revoke_token(&self.id_of(store, token.trim()).await?, now, NOTE).await?;
            }
            (_, _, None) => bail!(
                "name the token by its id, or say --agent, --all or --expired; `onsembl-server tokens` lists them"
            ),
        }
        Ok(())
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
        let listed = store.token(&TokenId::new(token)).await?;
        listed.map(|row| row.token.to_string()).with_context(|| {
            format!("no token {token:?} is known there; `onsembl-server tokens` lists them")
        })
    }
}

fn say_count(count: usize, what: &str) -> std::io::Result<()> {
    print::note(format_args!("{count} tokens {what}"))
}

fn say_others<'a>(others: impl Iterator<Item = &'a AgentRow>) -> std::io::Result<()> {
    let names: Vec<&str> = others.map(|agent| agent.name.as_str()).collect();
    if !names.is_empty() {
        print::note(format_args!("they held also: {}", names.join(", ")))?;
    }
    Ok(())
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

/// The database of a data folder, and the time.
pub(super) async fn open(data: &Path) -> anyhow::Result<(Store, WallTime)> {
    let now = SystemClock::new().now().wall;
    // A new folder gets its secret with its database, or the secret would seem lost at the first start.
    let _secret = Tokens::open(data)?;
    let (store, _receipts) = Store::open(data, now).await?;
    Ok((store, now))
}
