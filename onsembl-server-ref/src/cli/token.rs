//! `onsembl-server token` and `revoke`: they work on the data folder, with or without a server.

use super::print;
use crate::auth::{TokenKind, Tokens};
use crate::store::Store;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use onsembl_protocol::id::UserId;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::private;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// [`TokenKind`] as it is written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A dashboard, a script, a person.
    Dashboard,
    /// An agent.
    Agent,
}

impl From<Kind> for TokenKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Dashboard => Self::Dashboard,
            Kind::Agent => Self::Agent,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Token {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Whose token it is. Users see and command only their own agents.
    #[arg(long, env = "ONSEMBL_USER", value_name = "NAME")]
    user: String,
    /// What its bearer may be.
    #[arg(long, env = "ONSEMBL_KIND", value_enum, default_value = "dashboard")]
    kind: Kind,
    /// How long it is valid: 365 days for agents and 24 hours for dashboards, if not said.
    #[arg(long, env = "ONSEMBL_TTL", value_parser = humantime::parse_duration, value_name = "TIME")]
    ttl: Option<Duration>,
    /// Write it into this file, which only you can read, instead of printing it. What is there is replaced.
    #[arg(long, env = "ONSEMBL_OUT", value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let tokens = Tokens::open(&self.data)?;
        let kind = TokenKind::from(self.kind);
        let ttl = self.ttl.unwrap_or(match kind {
            TokenKind::Agent => DAY * 365,
            TokenKind::Dashboard => DAY,
        });
        let now = SystemClock::new().now().wall;
        let user = UserId::new(self.user);
        let (token, _) = tokens.issue(&user, kind, ttl, now)?;
        match &self.out {
            Some(file) => private::replace(file, format!("{token}\n").as_bytes())
                .with_context(|| format!("cannot write the token to {}", file.display())),
            None => writeln!(print::raw(), "{token}").context("cannot write the token"),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The token.
    #[arg(env = "ONSEMBL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: String,
}

impl Revoke {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let tokens = Tokens::open(&self.data)?;
        let id = tokens.id_of(self.token.trim()).context("this is no token of that server")?;
        let now = SystemClock::new().now().wall;
        let (store, _receipts) = Store::open(&self.data, now).await?;
        store.revoke_token(&id, now, "revoked on the command line").await?;
        store.close(Duration::from_secs(5)).await?;
        Ok(())
    }
}
