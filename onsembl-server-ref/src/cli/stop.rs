//! `stop` and `release`.

use super::connect::ServerArgs;
use super::remote::{NOT_OURS, Remote};
use super::view::{Format, View};
use super::{finish, print};
use crate::http::Order;
use anyhow::Context as _;
use clap::Args;
use onsembl_protocol::fleet::{ReleaseReport, StopReport, StopState};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::shown::Shown;
use onsembl_transport::Repetition;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// The server answers when it is durable, which a held database delays.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["agent", "all"])]
struct Whom {
    /// The agent, by its name or its id.
    agent: Option<String>,
    /// All agents of the token's user, including those that connect later.
    #[arg(long)]
    all: bool,
}

const STOP_EXAMPLES: &str = "\
Examples:
  onsembl stop mine --reason 'it deletes files'
  onsembl stop --all && echo 'every agent has verified that nothing runs'

Exit codes:
  0  every agent has verified that nothing runs
  3  in force, but an agent that is online has not verified it yet
  4  in force, but an agent is away (it starts nothing when it returns) or cannot confirm
  1  anything else; retry, since it may not be in force
  2  the command line is wrong";

#[derive(Debug, Args)]
#[command(after_help = STOP_EXAMPLES)]
pub(super) struct Stop {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    whom: Whom,
    /// The reason, shown to people and to refused callers.
    #[arg(long, env = "ONSEMBL_REASON", value_name = "TEXT")]
    reason: Option<String>,
}

const RELEASE_EXAMPLES: &str = "\
Examples:
  onsembl release mine
  onsembl release --all";

#[derive(Debug, Args)]
#[command(after_help = RELEASE_EXAMPLES)]
pub(super) struct Release {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    whom: Whom,
}

/// What the server takes of a reason.
const LONGEST_REASON: usize = Limits::DEFAULT.name_bytes;

impl Whom {
    fn order(self, remote: &Remote) -> anyhow::Result<Order> {
        let agent = self.agent.map(|wanted| remote.find_agent(&wanted)).transpose()?;
        Ok(Order { agent: agent.map(String::from), all: self.all, reason: None })
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

/// It is in force, and an agent that is there has not verified it.
const NOT_VERIFIED: u8 = 3;
/// It is in force, and all have verified it but those that are away or cannot confirm anything.
const NOT_HEARD: u8 = 4;

/// The exit code that says how far a stop is.
fn code(report: &StopReport) -> ExitCode {
    let of = |state: StopState| match state {
        StopState::Verified => 0,
        StopState::Acted | StopState::Received | StopState::Told => NOT_VERIFIED,
        StopState::NotConfirmed | StopState::Away => NOT_HEARD,
    };
    let codes: Vec<u8> = report.agents.iter().map(|agent| of(agent.state)).collect();
    let first = [NOT_VERIFIED, NOT_HEARD].into_iter().find(|code| codes.contains(code));
    ExitCode::from(first.unwrap_or(0))
}

impl Stop {
    pub(super) async fn run(self, view: View) -> ExitCode {
        match self.order(view).await {
            Ok(report) => code(&report),
            Err(error) => finish(Err(error)),
        }
    }

    async fn order(self, view: View) -> anyhow::Result<StopReport> {
        let remote = self.server.connect()?;
        let answers = tokio::task::spawn_blocking(move || {
            let orders = self.whom.stops(&remote, self.reason.as_deref())?;
            let posted = orders.iter().map(|order| post(&remote, "/api/stop", order));
            // All of them go out, whatever becomes of one.
            Ok::<_, anyhow::Error>(posted.collect::<Vec<_>>())
        })
        .await??;
        let mut reports = Vec::new();
        for answer in answers {
            let answer = answer?;
            if view.is_json() {
                print::json(&answer)?;
            }
            reports.push(serde_json::from_str::<StopReport>(&answer).context(NOT_OURS)?);
        }
        let report = reports.into_iter().reduce(together).context("there was nothing to stop")?;
        match view.format {
            Format::Json | Format::Jsonl => {}
            Format::Name => print::lines(report.agents.iter().map(|agent| &agent.name))?,
            Format::Table | Format::Wide => print::lines(shown(&report))?,
        }
        Ok(report)
    }
}

impl Release {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.connect()?;
        let (answer, of) = tokio::task::spawn_blocking(move || {
            let body = self.whom.order(&remote)?;
            let of = match &body.agent {
                Some(agent) => agent.clone(),
                None => "all".to_owned(),
            };
            let answer = post(&remote, "/api/release", &serde_json::to_string(&body)?)?;
            anyhow::Ok((answer, of))
        })
        .await??;
        let ReleaseReport { released } = serde_json::from_str(&answer).context(NOT_OURS)?;
        let text = match released {
            0 => "no stop was in force".to_owned(),
            1 => "released".to_owned(),
            more => format!("released {more} stops"),
        };
        view.done(&json!({ "of": of, "released": released }), &of, text)
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
        StopState::Verified => "everything killed; verified",
        StopState::Acted => {
            "everything killed, but some process is, or may be, still running; checked every 2s"
        }
        StopState::Received => "starts nothing; kill pending",
        StopState::Told => "notified, but has not answered yet; repeated every 2s",
        StopState::NotConfirmed => "notified, but this agent cannot confirm",
        StopState::Away => "away; starts nothing when it returns",
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
    lines.push(match report.commands {
        0 => "no open command".to_owned(),
        1 => "1 open command was stopped; see `onsembl commands`".to_owned(),
        more => format!("{more} open commands were stopped; see `onsembl commands`"),
    });
    lines.push("nothing starts until `onsembl release`".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::fleet::StoppedAgent;

    #[test]
    fn only_what_every_agent_has_verified_is_a_success() {
        use StopState::{Acted, Away, NotConfirmed, Received, Told, Verified};
        for (states, expected) in [
            (&[Verified, Verified][..], 0),
            (&[], 0),
            (&[Verified, Acted], NOT_VERIFIED),
            (&[Received], NOT_VERIFIED),
            (&[Told], NOT_VERIFIED),
            (&[Verified, Away], NOT_HEARD),
            (&[NotConfirmed], NOT_HEARD),
            (&[Away, Acted, Verified], NOT_VERIFIED),
        ] {
            let agent = |state: &StopState| StoppedAgent {
                agent_id: String::new(),
                name: String::new(),
                state: *state,
            };
            let agents = states.iter().map(agent).collect();
            let stop_id = String::new();
            let report = StopReport { stop_id, agents, commands: 0, notified: 0 };
            let (is, expected) = (code(&report), ExitCode::from(expected));
            assert_eq!(format!("{is:?}"), format!("{expected:?}"), "{states:?}");
        }
    }
}
