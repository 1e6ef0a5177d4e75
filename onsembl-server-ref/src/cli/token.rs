//! `onsembl-server token`: makes tokens, on the data folder, with or without a server.

use super::print;
use super::revoke::Revoke;
use super::tokens::{ListTokens, find};
use super::view::{Format, View};
use crate::auth::{MakeError, NewToken, TokenKind, TokenOrder, Tokens, make_token, renew_token};
use crate::store::Store;
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use onsembl_protocol::id::UserId;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::private;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the last write may take.
pub(super) const CLOSE: Duration = Duration::from_secs(5);
/// How long a database that is held by another program is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// [`TokenKind`] as it is written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A dashboard, a script, a person.
    Dashboard,
    /// An agent.
    Agent,
    /// A program that reads /metrics, which cover all users: for the operator of the server.
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

const TOKEN_EXAMPLES: &str = "\
Examples:
  onsembl-server token --user me --agent build-7 --out agent.token
      for one agent; its first use binds it to the key of that agent
  onsembl-server token --user me --kind agent --out fleet.token
      for any number of agents that no other token holds
  onsembl-server token --user me --out me.token
      for a person or a script, for a day
  onsembl-server token --user ops --kind metrics --out metrics.token
      for Prometheus, which reads it from a file (`authorization: credentials_file`)
  onsembl-server token list --user me
  onsembl-server token rotate 5f0c8a91d2b3e476 --out agent.token
      its successor, before it expires
  onsembl-server token revoke 5f0c8a91d2b3e476";

/// The token is for who can do anything on the data folder: the operator.
#[derive(Debug, Args)]
#[command(
    after_help = TOKEN_EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(super) struct Token {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List tokens: user and kind, which agents they hold, when and from where they were last used.
    List(ListTokens),
    /// Revoke a token, those of an agent, or all of a user.
    Revoke(Revoke),
    /// Create a successor of a token, for the same user and agent.
    Rotate(Rotate),
}

impl Token {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        match self.action {
            None => self.make.run(view).await,
            Some(Action::List(list)) => list.run(view).await,
            Some(Action::Revoke(revoke)) => revoke.run(view).await,
            Some(Action::Rotate(rotate)) => rotate.run(view).await,
        }
    }
}

#[derive(Debug, Args)]
struct Make {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR", required = true)]
    data: Option<PathBuf>,
    /// The user of the token. Users see and command only their own agents.
    #[arg(long, env = "ONSEMBL_USER", value_name = "NAME", required_unless_present = "renew")]
    user: Option<String>,
    /// The role the token grants: dashboard, unless it is for an agent.
    #[arg(long, env = "ONSEMBL_KIND", value_enum)]
    kind: Option<Kind>,
    /// The one agent that it is for, by its name or its id. An existing agent is taken over with the first use,
    /// which ends the sessions of its earlier tokens.
    #[arg(long, env = "ONSEMBL_AGENT", value_name = "AGENT")]
    agent: Option<String>,
    /// Create a successor of this token, given by its id or in full, for the same user and agent.
    #[arg(long, env = "ONSEMBL_RENEW", hide_env_values = true, value_name = "TOKEN")]
    renew: Option<String>,
    /// How long it is valid [default: 365 days for agents and metrics, 24 hours for dashboards].
    #[arg(long, env = "ONSEMBL_TTL", value_parser = humantime::parse_duration, value_name = "TIME")]
    ttl: Option<Duration>,
    /// Write it to this file, readable only by you, instead of printing it. An existing file is replaced.
    #[arg(long, env = "ONSEMBL_OUT", value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Make {
    async fn run(self, view: View) -> anyhow::Result<()> {
        let data = self.data.as_deref().context("name the data folder with --data")?;
        let (store, now) = open(data).await?;
        let made = within(self.make(&store, data, now)).await??;
        store.close(CLOSE).await?;
        hand_over(&made, self.out.as_deref(), view)
    }

    async fn make(
        &self,
        store: &Store,
        data: &Path,
        now: WallTime,
    ) -> Result<NewToken, MakeOrSecret> {
        if let Some(wanted) = &self.renew {
            let signed = Tokens::open(data)?;
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

const ROTATE_EXAMPLES: &str = "\
Examples:
  onsembl-server token rotate 5f0c8a91d2b3e476 --out agent.token
      the old token stays valid until it expires, so nothing is interrupted
  onsembl-server token rotate 5f0c8a91d2b3e476 --out agent.token --revoke-old
      the old token and its sessions end at once";

#[derive(Debug, Args)]
#[command(after_help = ROTATE_EXAMPLES)]
pub(super) struct Rotate {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The older token, by its id.
    #[arg(value_name = "ID")]
    token: String,
    /// How long the new token is valid [default: 365 days for agents and metrics, 24 hours for dashboards].
    #[arg(long, env = "ONSEMBL_TTL", value_parser = humantime::parse_duration, value_name = "TIME")]
    ttl: Option<Duration>,
    /// Write it to this file, readable only by you, instead of printing it. An existing file is replaced.
    #[arg(long, env = "ONSEMBL_OUT", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Revoke the older token once the new one is written.
    #[arg(long)]
    revoke_old: bool,
}

impl Rotate {
    async fn run(self, view: View) -> anyhow::Result<()> {
        let (store, now) = open(&self.data).await?;
        let done = within(self.rotate(&store, view, now)).await;
        store.close(CLOSE).await?;
        done?
    }

    async fn rotate(&self, store: &Store, view: View, now: WallTime) -> anyhow::Result<()> {
        let old = find(store, self.token.trim()).await?;
        let signed = Tokens::open(&self.data)?;
        let made = renew_token(store, &signed, old.as_str(), self.ttl, now).await?;
        hand_over(&made, self.out.as_deref(), view)?;
        if self.revoke_old {
            store.tokens().revoke(old.as_str(), now, "rotated on the command line").await?;
            print::note(format_args!("revoked the token {old}"))?;
        } else if !view.quiet {
            print::note(format_args!(
                "the token {old} stays valid until it expires; end it with `onsembl-server token revoke {old}`"
            ))?;
        }
        Ok(())
    }
}

/// Waits for the database as long as people do.
pub(super) async fn within<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.map_err(|_| anyhow::anyhow!("another program holds the database"))
}

/// Writes a new token to where it is to be.
fn hand_over(made: &NewToken, out: Option<&Path>, view: View) -> anyhow::Result<()> {
    match out {
        Some(file) => private::replace(file, format!("{}\n", made.text).as_bytes())
            .with_context(|| format!("cannot write the token to {}", file.display()))?,
        None => match view.format {
            Format::Json | Format::Jsonl | Format::Name => {}
            Format::Table | Format::Wide => {
                writeln!(print::raw(), "{}", made.text).context("cannot write the token")?;
            }
        },
    }
    let json = json!({
        "token_id": made.id,
        "token": out.is_none().then_some(&made.text),
        "out": out,
        "takes": made.takes,
    });
    view.one(json, made.id.as_ref(), || Ok(say(made)?))
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

/// The database of a data folder, and the time.
pub(super) async fn open(data: &Path) -> anyhow::Result<(Store, WallTime)> {
    let now = SystemClock::new().now().wall;
    // A new folder gets its secret with its database, or the secret would seem lost at the first start.
    let _secret = Tokens::open(data)?;
    let (store, _receipts) = Store::open(data, now).await?;
    Ok((store, now))
}
