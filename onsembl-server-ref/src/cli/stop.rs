//! `onsembl-server stop` and `release`.

use super::print;
use super::remote::{NOT_OURS, Remote};
use crate::http::Order;
use anyhow::Context as _;
use clap::Args;
use onsembl_protocol::fleet::{ReleaseReport, StopReport, StopState};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::shown::Shown;
use onsembl_transport::Repetition;
use std::time::Duration;

/// The server answers when it is durable, which a held database delays.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["agent", "all"])]
struct Whom {
    /// The agent, by its name or its id.
    agent: Option<String>,
    /// All agents of the token's user, also those that come later.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    whom: Whom,
    /// Print what the server answers, as JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
    /// Why, for people; shown to callers that are refused.
    #[arg(long, env = "ONSEMBL_REASON", value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    whom: Whom,
}

/// What the server takes of a reason.
const LONGEST_REASON: usize = Limits::DEFAULT.name_bytes;

impl Whom {
    fn order(self, remote: &Remote) -> anyhow::Result<String> {
        let agent = self.agent.map(|wanted| remote.find_agent(&wanted)).transpose()?;
        let order = Order { agent: agent.map(String::from), all: self.all, reason: None };
        Ok(serde_json::to_string(&order)?)
    }

    /// An order for each agent that is meant. A name that several go by is no reason to let any of them work on: one of
    /// them may have taken it to be spared.
    fn stops(self, remote: &Remote, reason: Option<&str>) -> anyhow::Result<Vec<String>> {
        let agents = match self.agent {
            None => vec![None],
            Some(wanted) => {
                remote.find_agents(&wanted)?.into_iter().map(|id| Some(String::from(id))).collect()
            }
        };
        // A stop is not refused for what is said about it.
        let reason = reason.map(|text| within(text, LONGEST_REASON));
        let orders = agents.into_iter().map(|agent| {
            let order = Order { agent, all: self.all, reason: reason.clone() };
            Ok(serde_json::to_string(&order)?)
        });
        orders.collect()
    }
}

/// The beginning of a text that is too long, with a mark that something is missing.
fn within(text: &str, bytes: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes - CUT.len());
    format!("{}{CUT}", text.get(..end).unwrap_or_default())
}

fn post(remote: &Remote, path: &str, body: &str) -> anyhow::Result<String> {
    let mut answer = remote.post(path, body, Repetition::Harmless, PATIENCE)?;
    answer.text()
}

impl Stop {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.json;
        let answers = tokio::task::spawn_blocking(move || {
            let orders = self.whom.stops(&self.remote, self.reason.as_deref())?;
            let posted = orders.iter().map(|order| post(&self.remote, "/api/stop", order));
            // All of them go out, whatever becomes of one.
            Ok::<_, anyhow::Error>(posted.collect::<Vec<_>>())
        })
        .await??;
        let mut reports = Vec::new();
        for answer in answers {
            let answer = answer?;
            if json {
                print::json(&answer)?;
            }
            reports.push(serde_json::from_str::<StopReport>(&answer).context(NOT_OURS)?);
        }
        let Some(report) = reports.into_iter().reduce(together) else { return Ok(()) };
        if !json {
            print::lines(shown(&report))?;
        }
        Ok(())
    }
}

impl Release {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let answer = tokio::task::spawn_blocking(move || {
            let body = self.whom.order(&self.remote)?;
            post(&self.remote, "/api/release", &body)
        })
        .await??;
        let ReleaseReport { released } = serde_json::from_str(&answer)
            .context("what answers there is no onsembl-server, or another version of it")?;
        match released {
            0 => print::line("no stop was in force"),
            1 => print::line("released"),
            more => print::line(format_args!("released {more} stops")),
        }?;
        Ok(())
    }
}

/// What two stops did, of agents that go by one name.
fn together(mut first: StopReport, other: StopReport) -> StopReport {
    first.agents.extend(other.agents);
    first.commands += other.commands;
    first.notified += other.notified;
    first
}

/// How far an agent is with a stop.
pub(super) const fn describe(state: StopState) -> &'static str {
    match state {
        StopState::Verified => "everything killed, and seen to have ended",
        StopState::Acted => "everything killed, but something is still seen; asked again every 2s",
        StopState::Received => "starts nothing any more; not killed yet",
        StopState::Told => "told, but has not answered yet; told again every 2s",
        StopState::NotConfirmed => "told, but this kind of agent cannot confirm anything",
        StopState::Away => "away, and starts nothing when it returns",
    }
}

fn shown(report: &StopReport) -> Vec<String> {
    let mut lines = Vec::new();
    for state in [
        StopState::Verified,
        StopState::Acted,
        StopState::Received,
        StopState::Told,
        StopState::NotConfirmed,
        StopState::Away,
    ] {
        let names = report.agents.iter().filter(|a| a.state == state);
        let names: Vec<String> = names.map(|a| Shown::new(&a.name).into()).collect();
        if !names.is_empty() {
            lines.push(format!("{}: {}", describe(state), names.join(", ")));
        }
    }
    if report.notified > 0 {
        lines.push(format!(
            "{} open commands are of agents that cannot confirm: notified, not confirmed",
            report.notified
        ));
    }
    lines.push(format!(
        "{} open commands were stopped; see `onsembl-server commands`",
        report.commands
    ));
    lines.push("nothing starts until `onsembl-server release`".to_owned());
    lines
}
