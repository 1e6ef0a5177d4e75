//! `onsembl-server why`: of an agent, of a command, or of all agents. What is told is decided by the server; here it
//! becomes lines, at most ten for an agent or a command, and a screen for all.

mod agent;
mod command;
mod fleet;
#[cfg(test)]
mod planted;

pub(super) use agent::{Judged, SHOWN};

use super::print;
use super::remote::{NOT_OURS, PATIENCE, Remote, escape};
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

/// For example: `why coder --since 7d`, `why --all`, or `why` and the id of a command.
#[derive(Debug, Args)]
pub(super) struct Why {
    #[command(flatten)]
    remote: Remote,
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
    /// Print what the server answers, as JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

/// What the server said, and of what.
enum Said {
    Agent(String),
    Command(String),
    Fleet(String),
}

impl Said {
    fn body(&self) -> &str {
        match self {
            Self::Agent(body) | Self::Command(body) | Self::Fleet(body) => body,
        }
    }

    fn lines(&self, since: &str) -> anyhow::Result<Vec<String>> {
        Ok(match self {
            Self::Agent(body) => read::<agent::AgentAnswer>(body)?.lines(since),
            Self::Command(body) => read::<command::CommandAnswer>(body)?.lines(),
            Self::Fleet(body) => read::<fleet::FleetAnswer>(body)?.lines(since),
        })
    }
}

fn read<T: DeserializeOwned>(body: &str) -> anyhow::Result<T> {
    serde_json::from_str(body).context(NOT_OURS)
}

impl Why {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.json;
        let since = humantime::format_duration(self.since).to_string();
        let said = tokio::task::spawn_blocking(move || self.ask()).await??;
        // Read in any case: what is no answer of ours is not passed on as one.
        let lines = said.lines(&since)?;
        if json {
            print::json(said.body())?;
        } else {
            print::lines(lines)?;
        }
        Ok(())
    }

    fn ask(&self) -> anyhow::Result<Said> {
        if self.all {
            return self.page("/api/why").map(Said::Fleet);
        }
        if let Some(id) = &self.command {
            let said = self.command(id)?;
            return said.with_context(|| format!("no command of yours has the id {id:?}"));
        }
        let default = std::env::var(AGENT).ok();
        let Some(of) = self.of.as_ref().or(default.as_ref()) else {
            bail!("name an agent or a command, or say --all; see `onsembl-server agents`");
        };
        let agent = self.remote.look_for_agent(of)?;
        // What is an agent's id is nobody's name.
        if let Ok(agent) = &agent
            && agent.as_str() == of
        {
            return self.agent(agent.as_str());
        }
        match (agent, self.command(of)?) {
            (Ok(agent), Some(_)) => bail!(
                "{of:?} is the name of an agent and the id of a command; say `why {agent}` for the agent, or \
                 `why --command {of}` for the command"
            ),
            (Ok(agent), None) => self.agent(agent.as_str()),
            (Err(_), Some(said)) => Ok(said),
            (Err(why), None) => bail!("{why}; and no command of yours has this id"),
        }
    }

    fn agent(&self, id: &str) -> anyhow::Result<Said> {
        self.page(&format!("/api/agents/{}/why", escape(id))).map(Said::Agent)
    }

    fn command(&self, id: &str) -> anyhow::Result<Option<Said>> {
        let page = format!("/api/commands/{}/why", escape(id));
        let Some(mut answer) = self.remote.find(&page, PATIENCE)? else { return Ok(None) };
        answer.text().map(|body| Some(Said::Command(body)))
    }

    fn page(&self, page: &str) -> anyhow::Result<String> {
        let back = i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX);
        let from = SystemClock::new().now().wall.unix_millis().saturating_sub(back);
        self.remote.get(&format!("{page}?since={from}"), PATIENCE)?.text()
    }
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
