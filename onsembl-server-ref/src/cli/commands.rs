//! `onsembl-server commands`.

use super::print;
use super::remote::{NOT_OURS, PATIENCE, Remote, escape};
use super::table::{short, table};
use crate::http::{CommandDetail, CommandSummary};
use anyhow::Context as _;
use clap::Args;
use onsembl_protocol::time::WallTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Characters of a command's text that are shown.
const TEXT: usize = 40;
/// What stands for a text that is not known.
const ADOPTED: &str = "(adopted: not known)";

#[derive(Debug, Args)]
pub(super) struct Commands {
    #[command(flatten)]
    remote: Remote,
    /// Only those of this agent, by its name or its id.
    #[arg(long, env = "ONSEMBL_AGENT", value_name = "AGENT")]
    agent: Option<String>,
    /// How many at most, the newest first.
    #[arg(long, env = "ONSEMBL_LIMIT", default_value_t = 200, value_name = "COUNT")]
    limit: usize,
    /// Show the history of this command instead of a list.
    #[arg(env = "ONSEMBL_COMMAND", value_name = "COMMAND", conflicts_with = "agent")]
    command: Option<String>,
    /// Print what the server answers, as JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

/// What is shown instead of the ids of agents.
type Names = BTreeMap<String, String>;

impl Commands {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (json, one) = (self.json, self.command.is_some());
        let (answer, names) = tokio::task::spawn_blocking(move || {
            let names = if json { Names::new() } else { self.names()? };
            anyhow::Ok((self.ask()?, names))
        })
        .await??;
        if json {
            return Ok(print::json(&answer.to_string())?);
        }
        if one {
            let detail: CommandDetail = serde_json::from_value(answer).context(NOT_OURS)?;
            return Ok(print::lines(describe(&detail, &names))?);
        }
        let mut listing = answer;
        let commands = listing.get_mut("commands").map(Value::take).unwrap_or_default();
        let commands: Vec<_> = serde_json::from_value(commands).context(NOT_OURS)?;
        Ok(print::lines(shown(&commands, &names))?)
    }

    fn names(&self) -> anyhow::Result<Names> {
        let agents = self.remote.agents()?;
        Ok(agents.into_iter().map(|agent| (agent.agent_id.into(), agent.name)).collect())
    }

    /// One command, or a list of them.
    fn ask(&self) -> anyhow::Result<Value> {
        if let Some(id) = &self.command {
            let page = format!("/api/commands/{}", escape(id));
            let body = self.remote.get(&page, PATIENCE)?.text()?;
            return serde_json::from_str(&body).context(NOT_OURS);
        }
        let path = match &self.agent {
            Some(agent) => {
                let agent = self.remote.find_agent(agent)?;
                format!("/api/commands?agent={}", escape(agent.as_str()))
            }
            None => "/api/commands".to_owned(),
        };
        let commands = self.remote.list(&path, "commands", self.limit)?;
        Ok(json!({ "total": commands.len(), "commands": commands }))
    }
}

/// One command and its history.
fn describe(detail: &CommandDetail, names: &Names) -> Vec<String> {
    let rows = detail.history.iter().map(|step| {
        let cause = step.cause.clone().unwrap_or_else(|| "-".to_owned());
        [step.at.clone(), step.status.clone(), cause]
    });
    let mut lines = shown(std::slice::from_ref(&detail.command), names);
    lines.extend(table(["AT", "STATUS", "BECAUSE"], rows));
    if !detail.keyboard.is_empty() {
        let rows = detail.keyboard.iter().map(|hold| {
            let (ended, because) = (hold.ended_at.clone(), hold.because.clone());
            [
                short(&hold.name, TEXT),
                hold.since.clone(),
                ended.unwrap_or_else(|| "-".to_owned()),
                hold.bytes.to_string(),
                because.unwrap_or_else(|| "-".to_owned()),
            ]
        });
        lines.extend(table(["KEYBOARD HELD BY", "SINCE", "UNTIL", "BYTES", "BECAUSE"], rows));
    }
    lines
}

/// The exact times are in the history of each, and in the JSON.
fn shown(commands: &[CommandSummary], names: &Names) -> Vec<String> {
    if commands.is_empty() {
        return vec!["no commands yet; run one with `onsembl-server exec`".to_owned()];
    }
    let rows = commands.iter().map(|c| {
        let exit = match (c.exit_code, c.signal) {
            (_, Some(signal)) => format!("signal {signal}"),
            (Some(code), None) => code.to_string(),
            (None, None) => "-".to_owned(),
        };
        [
            c.command_id.clone(),
            names.get(&c.agent_id).unwrap_or(&c.agent_id).clone(),
            c.status.clone(),
            exit,
            to_seconds(&c.created_at),
            took(&c.created_at, c.ended_at.as_deref()),
            if c.adopted { ADOPTED.to_owned() } else { short(&c.text, TEXT) },
            c.cause.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    table(["ID", "AGENT", "STATUS", "EXIT", "CREATED", "TOOK", "TEXT", "BECAUSE"], rows)
}

fn to_seconds(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => at.to_owned(),
    }
}

/// From its acceptance to its end.
fn took(created: &str, ended: Option<&str>) -> String {
    let between = || {
        let (from, to) = (WallTime::parse_rfc3339(created)?, WallTime::parse_rfc3339(ended?)?);
        u64::try_from(to.unix_millis() - from.unix_millis()).ok()
    };
    between().map_or_else(
        || "-".to_owned(),
        |millis| humantime::format_duration(Duration::from_millis(millis)).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_nothing_is_made_up() {
        assert_eq!(to_seconds("2026-11-25T16:19:14.260Z"), "2026-11-25T16:19:14Z");
        assert_eq!(to_seconds("2026-11-25T16:19:14Z"), "2026-11-25T16:19:14Z");
        let created = "2026-11-25T16:19:14.260Z";
        assert_eq!(took(created, Some("2026-11-25T16:20:14.380Z")), "1m 120ms");
        assert_eq!(took(created, None), "-");
        assert_eq!(took(created, Some("2026-11-25T16:19:14.000Z")), "-", "its clock went back");
    }
}
