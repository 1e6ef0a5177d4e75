//! `why`: of an agent, of a command, or of all agents. What is told is decided by the server; here it
//! becomes lines, at most ten for an agent or a command, and a screen for all.

mod agent;
mod command;
mod fleet;
#[cfg(test)]
mod planted;

pub(super) use agent::{Judged, SHOWN};

use super::connect::ServerArgs;
use super::print;
use super::remote::{NOT_OURS, PATIENCE, Remote, escape};
use super::view::View;
use anyhow::{Context as _, bail};
use clap::Args;
use onsembl_protocol::model::{Cause, Evidence};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The agent that is meant where none is named.
const AGENT: &str = "ONSEMBL_AGENT";

const EXAMPLES: &str = "\
Examples:
  onsembl why coder --since 7d     why it is where it is, and why it was away
  onsembl why ffff0001             what a command waits for, or what became of it
  onsembl why --all                incidents, and the agents that are not well";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Why {
    #[command(flatten)]
    server: ServerArgs,
    /// The agent, by its name or its id; else the command with this id [default: the agent in ONSEMBL_AGENT].
    #[arg(value_name = "AGENT|COMMAND")]
    of: Option<String>,
    /// All agents of the token's user: what many have in common first, then those that are away or unwell.
    #[arg(long, conflicts_with_all = ["of", "command"])]
    all: bool,
    /// The command with this id, also if an agent is called so.
    #[arg(long, value_name = "COMMAND", conflicts_with = "of")]
    command: Option<String>,
    /// How far to look back; a command is told of from its beginning.
    #[arg(long, env = "ONSEMBL_SINCE", default_value = "24h", value_parser = humantime::parse_duration, value_name = "TIME")]
    since: Duration,
}

/// What the server said, and of what.
enum Said {
    Agent { id: String, body: String },
    Command { id: String, body: String },
    Fleet(String),
}

impl Said {
    fn body(&self) -> &str {
        match self {
            Self::Agent { body, .. } | Self::Command { body, .. } | Self::Fleet(body) => body,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Agent { id, .. } | Self::Command { id, .. } => id,
            Self::Fleet(_) => "all",
        }
    }

    fn lines(&self, since: &str) -> anyhow::Result<Vec<String>> {
        Ok(match self {
            Self::Agent { body, .. } => read::<agent::AgentAnswer>(body)?.lines(since),
            Self::Command { body, .. } => read::<command::CommandAnswer>(body)?.lines(),
            Self::Fleet(body) => read::<fleet::FleetAnswer>(body)?.lines(since),
        })
    }
}

fn read<T: DeserializeOwned>(body: &str) -> anyhow::Result<T> {
    serde_json::from_str(body).context(NOT_OURS)
}

impl Why {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.clone().connect()?;
        let since = humantime::format_duration(self.since).to_string();
        let said = tokio::task::spawn_blocking(move || self.ask(&remote)).await??;
        // Read in any case: what is no answer of ours is not passed on as one.
        let lines = said.lines(&since)?;
        view.one(said.body(), said.name(), || Ok(print::lines(lines)?))
    }

    fn ask(&self, remote: &Remote) -> anyhow::Result<Said> {
        if self.all {
            return self.page(remote, "/api/why").map(Said::Fleet);
        }
        if let Some(id) = &self.command {
            let said = command(remote, id)?;
            return said.with_context(|| format!("no command of yours has the id {id:?}"));
        }
        let default = std::env::var(AGENT).ok();
        let Some(of) = self.of.as_ref().or(default.as_ref()) else {
            bail!("name an agent or a command, or say --all; see `onsembl agents`");
        };
        let agent = remote.look_for_agent(of)?;
        // What is an agent's id is nobody's name.
        if let Ok(agent) = &agent
            && agent.as_str() == of
        {
            return self.agent(remote, agent.as_str());
        }
        match (agent, command(remote, of)?) {
            (Ok(agent), Some(_)) => bail!(
                "{of:?} is the name of an agent and the id of a command; say `why {agent}` for the agent, or \
                 `why --command {of}` for the command"
            ),
            (Ok(agent), None) => self.agent(remote, agent.as_str()),
            (Err(_), Some(said)) => Ok(said),
            (Err(why), None) => match remote.look_for_command(of)? {
                Some(id) => command(remote, id.as_str())?.context(NOT_OURS),
                None => bail!("{why}; and no command of yours has this id"),
            },
        }
    }

    fn agent(&self, remote: &Remote, id: &str) -> anyhow::Result<Said> {
        let body = self.page(remote, &format!("/api/agents/{}/why", escape(id)))?;
        Ok(Said::Agent { id: id.to_owned(), body })
    }

    fn page(&self, remote: &Remote, page: &str) -> anyhow::Result<String> {
        let back = i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX);
        let from = SystemClock::new().now().wall.unix_millis().saturating_sub(back);
        remote.get(&format!("{page}?since={from}"), PATIENCE)?.text()
    }
}

fn command(remote: &Remote, id: &str) -> anyhow::Result<Option<Said>> {
    let page = format!("/api/commands/{}/why", escape(id));
    let Some(mut answer) = remote.find(&page, PATIENCE)? else { return Ok(None) };
    answer.text().map(|body| Some(Said::Command { id: id.to_owned(), body }))
}

/// A statement of the server: what happened, how sure that is, and on what evidence.
#[derive(Debug, Deserialize)]
struct Finding {
    /// A later version of the server may know more of them.
    cause: String,
    confidence: String,
    #[serde(default)]
    evidence: Evidence,
}

impl Finding {
    fn sentence(&self) -> String {
        let Self { cause, confidence, evidence } = self;
        let text = Cause::parse(cause).text();
        match evidence.is_empty() {
            true => format!("{cause} (confidence {confidence}): {text}"),
            false => format!("{cause} (confidence {confidence}): {text}; {evidence}"),
        }
    }

    fn action(&self) -> &'static str {
        Cause::parse(&self.cause).action()
    }
}

/// How long a time between two moments is, for people; nothing if they cannot be read.
fn apart(from: &str, until: &str) -> Option<String> {
    let (from, until) = (WallTime::parse_rfc3339(from)?, WallTime::parse_rfc3339(until)?);
    let seconds = u64::try_from(until.unix_millis() - from.unix_millis()).ok()? / 1000;
    Some(humantime::format_duration(Duration::from_secs(seconds)).to_string())
}
