//! `onsembl-server agents`.

use super::print;
use super::remote::{Remote, read};
use super::stop::describe;
use clap::Args;
use onsembl_protocol::fleet::StopState;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct Agents {
    #[command(flatten)]
    remote: Remote,
    /// Print what the server answers, as JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Agent {
    agent_id: String,
    name: String,
    agent_type: String,
    status: String,
    since: String,
    because: String,
    last_heartbeat: Option<String>,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    program_fault: Option<String>,
    #[serde(default)]
    activity: Option<Activity>,
    #[serde(default)]
    stopped: Option<Stopped>,
}

/// What its program does.
#[derive(Debug, Deserialize)]
struct Activity {
    words: String,
}

/// The emergency stop in force.
#[derive(Debug, Deserialize)]
struct Stopped {
    by: String,
    at: String,
    reason: String,
    state: StopState,
}

impl Agent {
    /// Whether it is there, and what else keeps it from working.
    fn because(&self) -> String {
        let because = match self.paused {
            true => format!(
                "paused: starts nothing until `control {} resume`; {}",
                self.name, self.because
            ),
            false => self.because.clone(),
        };
        let because = match &self.program_fault {
            Some(fault) => format!("{fault}; {because}"),
            None => because,
        };
        let Some(Stopped { by, at, reason, state }) = &self.stopped else {
            return because;
        };
        let state = describe(*state);
        format!("emergency stop by {by} at {at} ({reason}): {state}; {because}")
    }
}

impl Agents {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.json;
        let agents = tokio::task::spawn_blocking(move || {
            self.remote.list("/api/agents", "agents", usize::MAX)
        })
        .await??;
        if json {
            let answer = json!({ "total": agents.len(), "agents": agents });
            return Ok(print::json(&answer.to_string())?);
        }
        Ok(print::lines(table(&read(agents)?))?)
    }
}

fn table(agents: &[Agent]) -> Vec<String> {
    if agents.is_empty() {
        return vec!["no agents yet; start one with `onsembl-agent run`".to_owned()];
    }
    let before = |a: &Agent| {
        let heard = a.last_heartbeat.clone().unwrap_or_else(|| "-".to_owned());
        [
            a.name.clone(),
            a.agent_type.clone(),
            a.status.clone(),
            a.since.clone(),
            heard,
            a.agent_id.clone(),
        ]
    };
    let activity = |a: &Agent| a.activity.as_ref().map(|activity| activity.words.clone());
    // Most fleets have no program that says what it does.
    if agents.iter().all(|a| a.activity.is_none()) {
        let rows = agents.iter().map(|a| {
            let [name, kind, status, since, heard, id] = before(a);
            [name, kind, status, since, heard, id, a.because()]
        });
        let head = ["NAME", "TYPE", "STATUS", "SINCE", "LAST HEARTBEAT", "ID", "BECAUSE"];
        return super::table::table(head, rows);
    }
    let rows = agents.iter().map(|a| {
        let [name, kind, status, since, heard, id] = before(a);
        let doing = activity(a).unwrap_or_else(|| "-".to_owned());
        [name, kind, status, since, heard, id, doing, a.because()]
    });
    let head = ["NAME", "TYPE", "STATUS", "SINCE", "LAST HEARTBEAT", "ID", "ACTIVITY", "BECAUSE"];
    super::table::table(head, rows)
}
